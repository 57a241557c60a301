//! One writer per network namespace and protocol number.
//!
//! Two of them would undo each other's routes. The lock is an abstract Unix socket (unix(7)): its
//! name belongs to the network namespace, as routes do, so containers with a mount namespace of
//! their own meet here too; and it vanishes with its process, even after `kill -9`. No file is
//! left behind or needs a place.
//!
//! Must not wait: whoever comes second is told who is there.

use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket, sockopt,
};

use crate::model::Protocol;

/// How often the lock is tried again when its holder ends just while it is asked who it is.
const ATTEMPTS: u32 = 5;

/// Held as long as it lives.
#[derive(Debug)]
#[must_use = "the lock is given up when this is dropped"]
pub struct Lock {
    _socket: UnixListener,
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody has it.
    #[error(
        "another srsync ({holder}) manages protocol {protocol} in this network namespace; {}",
        .holder.advice()
    )]
    Held {
        /// The number that both want.
        protocol: Protocol,
        /// Who has it.
        holder: Holder,
    },
    /// The socket cannot be made.
    #[error("cannot make the socket that keeps a second srsync away")]
    Socket(#[source] io::Error),
}

/// The process that has the lock, as far as it can be seen from here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holder {
    /// Its process number, or `None` if it is in another PID namespace or gone by now.
    pub pid: Option<i32>,
    /// Its user, where it is not root: anyone may take the name of an abstract socket.
    pub user: Option<u32>,
    /// Its command line, shortened.
    pub command: Option<String>,
}

impl Holder {
    /// What to do about it.
    fn advice(&self) -> &'static str {
        let command = self.command.as_deref().unwrap_or_default();
        match command.split(' ').any(|word| word == "daemon") {
            true => {
                "change the files that it reads (`srsync status` names them), or stop it, or use \
                 another --protocol"
            }
            false => "wait for it, stop it, or use another --protocol",
        }
    }
}

impl fmt::Display for Holder {
    /// ``pid 4711: `srsync daemon /etc/srsync/routes` ``.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "pid {pid}")?,
            None => f.write_str("a process that cannot be seen from here")?,
        }
        if let Some(user) = self.user {
            write!(f, ", user {user}")?;
        }
        match &self.command {
            Some(command) => write!(f, ": `{command}`"),
            None => Ok(()),
        }
    }
}

impl Lock {
    /// Takes the lock for a protocol number in the network namespace of this thread.
    pub fn take(protocol: Protocol) -> Result<Self, LockError> {
        let name = format!("srsync/{protocol}");
        let address = SocketAddr::from_abstract_name(&name).map_err(LockError::Socket)?;
        let mut attempts = 0..ATTEMPTS;
        loop {
            match UnixListener::bind_addr(&address) {
                Ok(socket) => return Ok(Self { _socket: socket }),
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                    return Err(LockError::Socket(error));
                }
                Err(_) => {}
            }
            let holder = match holder(&name) {
                // Nobody listens any more: the lock was given up a moment ago.
                Err(Errno::ECONNREFUSED) if attempts.next().is_some() => continue,
                found => found.unwrap_or_default(),
            };
            return Err(LockError::Held { protocol, holder });
        }
    }
}

/// Who listens at this name.
fn holder(name: &str) -> Result<Holder, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let address = UnixAddr::new_abstract(name.as_bytes())?;
    connect(socket.as_raw_fd(), &address)?;
    let credentials = getsockopt(&socket, sockopt::PeerCredentials)?;
    // A process of another PID namespace has number 0 here.
    let pid = Some(credentials.pid()).filter(|pid| *pid > 0);
    Ok(Holder {
        pid,
        user: Some(credentials.uid()).filter(|uid| *uid != 0),
        command: pid.and_then(command_line),
    })
}

/// The command line of a process in one line, at most 200 characters. The process chose it, and
/// it goes to a terminal: control characters are left out.
fn command_line(pid: i32) -> Option<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let text = String::from_utf8_lossy(&bytes).replace('\0', " ");
    let line = text.trim().chars().filter(|c| !c.is_control()).take(200);
    Some(line.collect::<String>()).filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_named() {
        let error = LockError::Held {
            protocol: Protocol::SRSYNC,
            holder: Holder {
                pid: Some(4711),
                user: None,
                command: Some("srsync daemon /etc/srsync/routes".to_owned()),
            },
        };
        assert_eq!(
            error.to_string(),
            "another srsync (pid 4711: `srsync daemon /etc/srsync/routes`) manages protocol 83 in \
             this network namespace; change the files that it reads (`srsync status` names them), \
             or stop it, or use another --protocol"
        );
    }
}
