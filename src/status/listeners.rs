//! The sockets, from before privileges are dropped until the daemon ends.
//!
//! A socket that cannot be had is a [`BindProblem`] to be logged, never a reason to end: routes
//! matter more than being seen.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, UnixAddr};
use nix::unistd::Group;

/// Whose members may use the Unix socket, beside root.
const GROUP: &str = "srsync";
/// Only connecting to it counts, which is writing (unix(7)).
const MODE: u32 = 0o660;

/// Sockets that nobody answers on yet.
#[derive(Debug, Default)]
pub struct Listeners {
    tcp: Option<std::net::TcpListener>,
    unix: Option<UnixListener>,
    guard: Option<SocketGuard>,
}

/// Why a socket cannot be had, what follows, and which setting changes it.
#[derive(Debug, thiserror::Error)]
pub enum BindProblem {
    /// The address of `listen`.
    #[error(
        "cannot listen on {address} ({source}): there is no HTTP for metrics, health and status; \
         choose another address with `listen` (--listen)"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// Somebody answers at the path of `socket`.
    #[error(
        "somebody listens on {} already, perhaps another srsync: `srsync status`, `events` and \
         `reload` do not reach this daemon; choose another path with `socket` (--socket)",
        path.display()
    )]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// The path of `socket` is something else.
    #[error(
        "{} is there and is no socket: `srsync status`, `events` and `reload` do not reach this \
         daemon; remove it, or choose another path with `socket` (--socket)",
        path.display()
    )]
    NoSocket {
        /// The path.
        path: PathBuf,
    },
    /// The socket cannot be made.
    #[error(
        "cannot listen on {} ({source}): `srsync status`, `events` and `reload` do not reach this \
         daemon; choose another path with `socket` (--socket)",
        path.display()
    )]
    Socket {
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The socket is there, but not as it should be.
    #[error(
        "cannot give {} to the group {GROUP} ({source}): only the user that runs this daemon, and \
         root, can use it; choose another path with `socket` (--socket)",
        path.display()
    )]
    Access {
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Removes the file of the Unix socket when it is dropped, unless it is somebody else's by then.
#[derive(Debug)]
#[must_use = "the socket's file is removed when this is dropped"]
pub struct SocketGuard {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl Drop for SocketGuard {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            // The next daemon replaces it if this fails.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

impl Listeners {
    /// Takes what can be taken; each problem is a warning for the log.
    pub fn bind(listen: Option<SocketAddr>, socket: &Path) -> (Self, Vec<BindProblem>) {
        let mut listeners = Self::default();
        let mut problems = Vec::new();
        if let Some(address) = listen {
            match tcp(address) {
                Ok(listener) => listeners.tcp = Some(listener),
                Err(source) => problems.push(BindProblem::Listen { address, source }),
            }
        }
        match unix(socket) {
            Ok(listener) => {
                listeners.unix = Some(listener);
                problems.extend(open_to_group(socket).err());
                listeners.guard = identity(socket).ok().map(|identity| SocketGuard {
                    path: socket.to_owned(),
                    identity,
                });
            }
            Err(problem) => problems.push(problem),
        }
        (listeners, problems)
    }

    /// The address of the HTTP server, with the port that the kernel chose for port 0.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref()?.local_addr().ok()
    }

    /// What removes the socket's file, for who outlives the servers. Without asking, the file goes
    /// with the servers.
    pub fn socket_guard(&mut self) -> Option<SocketGuard> {
        self.guard.take()
    }

    /// The same for a runtime, in whose context this must be called.
    pub(super) fn into_tokio(
        self,
    ) -> (
        Option<tokio::net::TcpListener>,
        Option<tokio::net::UnixListener>,
        Option<SocketGuard>,
    ) {
        let tcp = self.tcp.map(tokio::net::TcpListener::from_std);
        let unix = self.unix.map(tokio::net::UnixListener::from_std);
        let lost = |error: &io::Error| tracing::warn!("a socket cannot be served: {error}");
        (
            tcp.and_then(|listener| listener.inspect_err(lost).ok()),
            unix.and_then(|listener| listener.inspect_err(lost).ok()),
            self.guard,
        )
    }
}

fn tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn unix(path: &Path) -> Result<UnixListener, BindProblem> {
    let failed = |source| BindProblem::Socket {
        path: path.to_owned(),
        source,
    };
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        let mut builder = DirBuilder::new();
        let made = builder.recursive(true).mode(0o755).create(parent);
        made.map_err(failed)?;
    }
    make_way(path)?;
    listen(path).map_err(failed)
}

/// Removes what a daemon left behind that did not end in order.
fn make_way(path: &Path) -> Result<(), BindProblem> {
    let path = path.to_owned();
    match fs::symlink_metadata(&path) {
        Ok(metadata) if !metadata.file_type().is_socket() => Err(BindProblem::NoSocket { path }),
        Ok(_) => match answers(&path) {
            Ok(true) => Err(BindProblem::InUse { path }),
            Ok(false) => {
                fs::remove_file(&path).map_err(|source| BindProblem::Socket { path, source })
            }
            Err(source) => Err(BindProblem::Socket { path, source }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(BindProblem::Socket { path, source }),
    }
}

/// Whether somebody listens. Without waiting: with a full backlog the kernel says `EAGAIN`.
fn answers(path: &Path) -> io::Result<bool> {
    let socket = new_socket()?;
    match socket::connect(socket.as_raw_fd(), &UnixAddr::new(path)?) {
        Ok(()) | Err(Errno::EAGAIN) => Ok(true),
        Err(Errno::ECONNREFUSED | Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    // The file gets the mode of the socket, less the umask (`unix_bind_bsd` in the kernel): at no
    // moment can more people connect than should.
    let socket = File::from(new_socket()?);
    socket.set_permissions(Permissions::from_mode(MODE))?;
    socket::bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    socket::listen(&socket, Backlog::new(128)?)?;
    Ok(UnixListener::from(OwnedFd::from(socket)))
}

fn new_socket() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    Ok(socket)
}

/// The group, where there is one.
fn group() -> Result<Option<Group>, Errno> {
    match Group::from_name(GROUP) {
        // No file of groups at all, as in a container (getgrnam(3)).
        Err(Errno::ENOENT) => Ok(None),
        found => found,
    }
}

/// Lets the group in, where there is one, whatever the umask is.
fn open_to_group(path: &Path) -> Result<(), BindProblem> {
    let open = || {
        if let Some(group) = group()? {
            chown(path, None, Some(group.gid.as_raw()))?;
        }
        fs::set_permissions(path, Permissions::from_mode(MODE))
    };
    open().map_err(|source| BindProblem::Access {
        path: path.to_owned(),
        source,
    })
}
