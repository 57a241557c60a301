//! `kind: ConnectivityCheck`: proof that it works.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::model::document::{DocumentId, Place, Probe};
use crate::model::numbers::InterfaceName;
use crate::model::selector::NodeSelector;

/// What has to be reachable from this node, or must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectivityCheck {
    /// Its name.
    pub id: DocumentId,
    /// Where it begins.
    pub place: Place,
    /// Which nodes it is for.
    pub selector: NodeSelector,
    /// What is asked; never empty. Each counts for itself.
    pub targets: Vec<CheckTarget>,
    /// The address that packets come from; of the family of every target.
    pub source: Option<IpAddr>,
    /// The interface that packets leave by.
    pub interface: Option<InterfaceName>,
    /// What is right.
    pub expect: Expectation,
    /// How often a daemon asks.
    pub interval: Duration,
    /// How long an answer may take; at most `interval`.
    pub timeout: Duration,
    /// So many attempts without an answer make a target unreachable; at least 1.
    pub attempts: u32,
}

/// One target of a check.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckTarget {
    /// Where.
    pub address: IpAddr,
    /// What is sent; never ARP.
    pub probe: Probe,
    /// Where it is written.
    pub place: Place,
}

impl fmt::Display for CheckTarget {
    /// `icmp 192.168.2.10`, `tcp 192.168.2.10:443`, `http://[2001:db8::1]:80/health`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |port: u16| std::net::SocketAddr::new(self.address, port);
        match &self.probe {
            Probe::Icmp => write!(f, "icmp {}", self.address),
            Probe::Arp => write!(f, "arp {}", self.address),
            Probe::Tcp { port } => write!(f, "tcp {}", at(*port)),
            Probe::Http { port, path, .. } => write!(f, "http://{}{path}", at(*port)),
        }
    }
}

/// What a check takes for right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Expectation {
    /// That there is an answer.
    Reachable,
    /// That there is none, for it must not be.
    Unreachable,
}

impl Expectation {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Reachable, Self::Unreachable];

    /// As documents write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reachable => "reachable",
            Self::Unreachable => "unreachable",
        }
    }
}
