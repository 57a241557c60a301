//! What comes of a probe, in words for people.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use nix::errno::Errno;

/// What came of one probe of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All its addresses answered.
    Answered {
        /// How long the slowest one took.
        round_trip: Duration,
    },
    /// One did not.
    Lost {
        /// Which one: the first of those that did not, in the order of the document.
        address: IpAddr,
        /// Why not.
        why: Loss,
    },
}

/// Why there is no good answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// None came in time.
    Timeout,
    /// Somebody is there, but nobody listens.
    Refused,
    /// This host, or one on the way, knows no way there.
    Unreachable(String),
    /// The answer is another HTTP status than one of those that are expected.
    Status(u16),
    /// A connection that came about ended without an answer, or with one that is not HTTP.
    Broken(String),
    /// Nothing was sent, for reasons on this node: this says nothing about the gateway.
    Local(String),
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

impl From<io::Error> for Loss {
    fn from(error: io::Error) -> Self {
        let Some(errno) = error.raw_os_error().map(Errno::from_raw) else {
            return Self::Local(error.to_string());
        };
        let words = errno.desc().to_lowercase();
        match errno {
            Errno::ETIMEDOUT => Self::Timeout,
            Errno::ECONNREFUSED => Self::Refused,
            Errno::ECONNRESET | Errno::ECONNABORTED | Errno::EPIPE => Self::Broken(words),
            // What ICMP errors become (`icmp_err_convert`, net/ipv4/icmp.c), and what routes that
            // lead nowhere give.
            Errno::EHOSTUNREACH
            | Errno::ENETUNREACH
            | Errno::ENETDOWN
            | Errno::EHOSTDOWN
            | Errno::ENONET
            | Errno::ENOPROTOOPT
            | Errno::EPROTO
            | Errno::EACCES => Self::Unreachable(words),
            // A packet that was dropped on its way out (`net_xmit_errno`, linux/netdevice.h).
            Errno::ENOBUFS => Self::Unreachable("the link takes no packets".to_owned()),
            Errno::EPERM => Self::Local(format!("cannot send ({words}): a firewall of this node?")),
            _ => Self::Local(format!("cannot probe: {words}")),
        }
    }
}
