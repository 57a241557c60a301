//! What becomes of a probe: what who sends it says, and who judges the gateway is told.
//!
//! Copying an outcome allocates nothing: there are a thousand of them a second.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// What became of one probe of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All its addresses answered as the check wants it.
    Answered {
        /// From sending to the answer; of several addresses, that of the slowest.
        round_trip: Duration,
    },
    /// One did not.
    Lost {
        /// Which one: the first of those that did not, in the order of the document.
        address: IpAddr,
        /// Why not.
        why: Loss,
        /// From sending until that was known.
        waited: Duration,
    },
}

impl Outcome {
    /// Whether it was answered.
    pub fn is_answered(&self) -> bool {
        matches!(self, Self::Answered { .. })
    }

    /// Why it says nothing about the gateway, if it does not: it went wrong on this node.
    pub fn no_evidence(&self) -> Option<&str> {
        match self {
            Self::Lost {
                why: Loss::Local(why),
                ..
            } => Some(why),
            _ => None,
        }
    }
}

/// Why there is no good answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// None came in time.
    Timeout,
    /// Somebody is there, but nobody listens.
    Refused,
    /// This host, or one on the way, knows no way there.
    Unreachable(Arc<str>),
    /// The answer is another HTTP status than one of those that are expected.
    Status(u16),
    /// A connection that came about ended without an answer, or with one that is not HTTP.
    Broken(Arc<str>),
    /// Nothing was sent, for reasons on this node: this says nothing about the gateway.
    Local(Arc<str>),
}

impl fmt::Display for Loss {
    /// As the end of "10.0.0.1 is down: …".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("timed out"),
            Self::Refused => f.write_str("connection refused"),
            Self::Unreachable(why) => write!(f, "unreachable: {why}"),
            Self::Status(status) => write!(f, "HTTP status {status}"),
            Self::Broken(what) | Self::Local(what) => f.write_str(what),
        }
    }
}
