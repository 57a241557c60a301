//! Why a route is in its state: a stable code for machines, a sentence for people.

use std::fmt;

/// A code and a sentence.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Reason {
    /// Stable, for filters and alerts.
    pub code: ReasonCode,
    /// What, why, and what to do; every refusal names the setting that would allow it.
    pub message: String,
}

impl Reason {
    /// A reason with its sentence.
    pub fn new(code: ReasonCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The stable part of a [`Reason`]. Public behaviour: names are only ever added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub enum ReasonCode {
    /// Another document, earlier by name, holds the slot.
    OtherDocument,
    /// Another owner holds the slot.
    OtherOwner,
    /// The destination overlaps a protected subnet.
    ProtectedSubnet,
    /// The destinations cover the whole address space in the main table.
    DefaultRoute,
    /// The destination covers its own gateway.
    SelfCapture,
    /// The interface does not exist.
    NoInterface,
    /// The interface is down.
    LinkDown,
    /// The gateway is not on a connected subnet.
    GatewayNotConnected,
    /// The gateway is an address of this node.
    GatewayIsLocal,
    /// All gateways are down, and the document says that the route goes then.
    AllGatewaysDown,
    /// The gateway does not answer, or somebody took it out of use.
    GatewayDown,
    /// The kernel does not reach the address of `gatewayLookup`.
    LookupUnreachable,
    /// The source address is not on this node.
    NoSourceAddress,
    /// The kernel said no.
    Kernel,
    /// The kernel said nothing, but the route is not there, or not as wanted, when read back.
    NotThere,
    /// The node's labels do not match.
    NodeSelector,
    /// Some of the node's labels are not known yet.
    LabelsUnknown,
    /// Nothing is wanted at all.
    EmptySet,
    /// Too many routes would go at once.
    MaxRemovals,
    /// A source cannot be read, or is not valid.
    Incomplete,
    /// Somebody keeps undoing the route.
    Contested,
    /// A connectivity check passed before the change and not after it, so that the change was taken back.
    RolledBack,
    /// The rule would send every packet nowhere, or where another default route is.
    CatchAllRule,
    /// There is no nftables here, or it may not be used.
    NoNftables,
    /// The setting cannot be changed here.
    ReadOnly,
}
