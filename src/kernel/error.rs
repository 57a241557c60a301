//! What goes wrong between srsync and the kernel: [`KernelError`] for all of it, [`Refusal`] for
//! one request.

use std::fmt;
use std::io;

use nix::errno::Errno;

use super::wire::Malformed;

/// The kernel cannot be read or written at all. What it says about one route is a [`Refusal`].
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// No socket.
    #[error("cannot open a netlink socket")]
    Open(#[source] io::Error),
    /// `sendmsg` failed.
    #[error("cannot send a request to the kernel")]
    Send(#[source] io::Error),
    /// `recvmsg` failed.
    #[error("cannot receive the kernel's answer")]
    Receive(#[source] io::Error),
    /// Nothing came.
    #[error("the kernel did not answer within {seconds} seconds")]
    Timeout {
        /// How long was waited.
        seconds: u32,
    },
    /// An answer was larger than the buffer, so that its end is missing.
    #[error("an answer of the kernel has {length} bytes, more than srsync can read at once")]
    TooLong {
        /// Its real length in bytes.
        length: usize,
    },
    /// An answer makes no sense.
    #[error("cannot understand the kernel's {what}")]
    Malformed {
        /// What was being read.
        what: &'static str,
        /// Where it went wrong.
        #[source]
        source: Malformed,
    },
    /// The kernel refused to list something.
    #[error("cannot read the kernel's {what}")]
    Dump {
        /// What was being read.
        what: &'static str,
        /// What it said.
        #[source]
        source: Refusal,
    },
    /// What was listed kept changing, so that no list was complete.
    #[error("the kernel's {what} changed during each of {attempts} attempts to read them")]
    Interrupted {
        /// What was being read.
        what: &'static str,
        /// How often it was tried.
        attempts: u32,
    },
}

/// What the kernel said to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It refused.
    Kernel {
        /// The error number, positive, as in errno(3).
        errno: i32,
        /// The kernel's own explanation (extended ACK), where it gave one.
        text: Option<Box<str>>,
    },
    /// Its answer was lost, because the receive buffer was full: the change may or may not have
    /// been made. Reading back tells.
    Lost,
}

impl Refusal {
    /// The error number, or `None` when the answer was lost.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Kernel { errno, .. } => Some(*errno),
            Self::Lost => None,
        }
    }

    /// Whether it is this error.
    pub fn is(&self, errno: Errno) -> bool {
        self.errno() == Some(errno as i32)
    }
}

impl fmt::Display for Refusal {
    /// `Nexthop has invalid gateway (EHOSTUNREACH: No route to host)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, text) = match self {
            Self::Kernel { errno, text } => (*errno, text.as_deref()),
            Self::Lost => return f.write_str("the kernel's answer was lost (ENOBUFS)"),
        };
        let errno = Errno::from_raw(number);
        let text = text.or(match errno {
            Errno::EPERM => Some("changing routes needs the capability CAP_NET_ADMIN"),
            Errno::EEXIST => Some("the slot is taken"),
            _ => None,
        });
        match (text, errno) {
            (Some(text), Errno::UnknownErrno) => write!(f, "{text} (error {number})"),
            (None, Errno::UnknownErrno) => write!(f, "error {number}"),
            (Some(text), errno) => write!(f, "{text} ({errno})"),
            (None, errno) => write!(f, "{errno}"),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_the_kernels_words_and_the_number() {
        let say = |errno: Errno, text: Option<&str>| {
            Refusal::Kernel {
                errno: errno as i32,
                text: text.map(Into::into),
            }
            .to_string()
        };
        assert_eq!(
            say(Errno::EHOSTUNREACH, Some("Nexthop has invalid gateway")),
            "Nexthop has invalid gateway (EHOSTUNREACH: No route to host)"
        );
        assert_eq!(
            say(Errno::EPERM, None),
            "changing routes needs the capability CAP_NET_ADMIN (EPERM: Operation not permitted)"
        );
        assert_eq!(say(Errno::ENODEV, None), "ENODEV: No such device");
    }
}
