//! A packet whose way is asked for, and what the kernel says about it.

use std::fmt;
use std::net::IpAddr;

use super::node::ObservedRoute;
use super::numbers::{IfIndex, InterfaceName, TableId};
use super::route::RouteType;

/// As much of a packet as decides about its way. Ports, protocol and who sends it are not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Where it goes.
    pub to: IpAddr,
    /// Where it comes from; `None` while this node has not chosen a source yet. Of the family of `to`.
    pub from: Option<IpAddr>,
    /// Its mark.
    pub mark: u32,
    /// By which interface it comes in; `None` is a packet of this node itself.
    pub iif: Option<InterfaceName>,
}

impl fmt::Display for Packet {
    /// `192.0.2.7 from 10.42.0.5 mark 0x7 iif cni0`, as `ip route get` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to.fmt(f)?;
        if let Some(from) = self.from {
            write!(f, " from {from}")?;
        }
        if self.mark != 0 {
            write!(f, " mark {:#x}", self.mark)?;
        }
        match &self.iif {
            Some(iif) => write!(f, " iif {iif}"),
            None => Ok(()),
        }
    }
}

/// What the kernel says about a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The route that matches; `None` where this kernel does not say.
    pub matched: Result<Option<ObservedRoute>, Refused>,
    /// What becomes of the packet.
    pub taken: Result<Taken, Refused>,
}

/// Where a packet goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// What is done with it: sent on, or delivered here (`local`).
    pub kind: RouteType,
    /// The table that decided.
    pub table: TableId,
    /// The gateway; `None` where the destination is on the link.
    pub via: Option<IpAddr>,
    /// The link that it leaves by.
    pub link: Option<IfIndex>,
    /// The source address that the kernel would choose.
    pub source: Option<IpAddr>,
}

/// The kernel says that a packet goes nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub why: NoWay,
    /// In its words, with the error number.
    pub words: String,
}

/// Why a packet goes nowhere, as error numbers say it (`fib_props`, net/ipv4/fib_semantics.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoWay {
    /// `ENETUNREACH`: no route, or a rule or IPv6 route that says so.
    NoRoute,
    /// `EHOSTUNREACH`: a route says so, or the interface by which it comes in does not forward.
    Unreachable,
    /// `EACCES`: a rule or route prohibits it.
    Prohibited,
    /// `EINVAL`: a rule or route drops it. Of a packet that comes in also: its source cannot be.
    Dropped,
    /// `EXDEV`: the way back to its source leads out of another interface (`rp_filter`).
    WrongInterface,
    /// Anything else.
    Other,
}
