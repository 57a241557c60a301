//! `kind: ConnectivityCheck`: proof that it works.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::model::document::{DocumentId, Place, Probe};
use crate::model::numbers::InterfaceName;
use crate::model::probed::Loss;
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

impl ConnectivityCheck {
    /// Every target of these checks, with its check.
    pub fn targets_of(checks: &[Self]) -> impl Iterator<Item = (&Self, &CheckTarget)> {
        let targets = |check| Self::own_targets(check);
        checks.iter().flat_map(targets)
    }

    fn own_targets(&self) -> impl Iterator<Item = (&Self, &CheckTarget)> {
        self.targets.iter().map(move |target| (self, target))
    }
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "camelCase")]
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

/// What came of asking a target, with as many attempts as its check allows. The first answer ends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The answer that was asked for: an echo, a connection, one of the HTTP statuses.
    Given {
        /// From sending to the answer.
        round_trip: Duration,
        /// Which attempt it answered, from 1.
        attempt: u32,
    },
    /// Another answer, which still proves that packets arrive there: a connection that is refused, another status.
    ///
    /// A refusal may also come from a firewall on the way; nothing in it tells who sent it.
    Other(Loss),
    /// None to any attempt: silence, or somebody on the way (this node's own routes, too) said that there is no way.
    None {
        /// So many attempts were made.
        attempts: u32,
        /// So many of them timed out.
        timed_out: u32,
        /// What became of the last one.
        last: Loss,
    },
    /// Nothing was asked, because of something on this node. That proves nothing about the target.
    NotAsked(Arc<str>),
}

/// What a check says about a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub enum CheckVerdict {
    /// It is as it should be.
    Passed,
    /// It is not.
    Failed,
    /// Nobody knows: this node could not ask, or did not yet.
    Unknown,
    /// The check is not for this node.
    NotSelected,
}

impl CheckVerdict {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Passed, Self::Failed, Self::Unknown, Self::NotSelected];

    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Passed => "Passed",
            Self::Failed => "Failed",
            Self::Unknown => "Unknown",
            Self::NotSelected => "NotSelected",
        }
    }
}

impl Answer {
    /// Whether that is right. `reachable` wants the very answer that was asked for; `unreachable` wants none at all, so
    /// that a refused connection, which may have come from the target itself, is right for neither.
    pub fn verdict(&self, expect: Expectation) -> CheckVerdict {
        match (self, expect) {
            (Self::NotAsked(_), _) => CheckVerdict::Unknown,
            (Self::Given { .. }, Expectation::Reachable)
            | (Self::None { .. }, Expectation::Unreachable) => CheckVerdict::Passed,
            _ => CheckVerdict::Failed,
        }
    }

    /// How long the answer that was asked for took.
    pub fn round_trip(&self) -> Option<Duration> {
        match self {
            Self::Given { round_trip, .. } => Some(*round_trip),
            _ => None,
        }
    }
}
