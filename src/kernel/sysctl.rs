//! Settings below `/proc/sys/net`: how they are, and writing them.
//!
//! `/proc/sys/net` shows the network namespace of the thread that opens a file there (`net_ctl_header_lookup`,
//! net/sysctl_net.c), whichever mount of `/proc` it goes by. So every call opens its files anew, and none is kept.
//!
//! Must not decide what is written, nor remember what was there: see [`SysctlMemory`](super::SysctlMemory).

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::statvfs::{FsFlags, statvfs};

use crate::model::egress::{SysctlKey, SysctlValue};
use crate::model::{Family, InterfaceName, Link};

/// The kernel's settings, by way of a mounted `/proc/sys`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysctlTree {
    root: PathBuf,
}

/// A setting could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SysctlError {
    /// There is nothing like `/proc/sys`.
    #[error(
        "{root} is not the /proc/sys of a kernel: there is no net/ipv4/conf/all in it. If /proc is mounted elsewhere, \
         that place has to be said"
    )]
    NoTree {
        /// What was taken for it.
        root: String,
    },
    /// A file could not be read.
    #[error("cannot read {path}: {}", in_words(source))]
    Read {
        /// The file.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// A file has no number in it.
    #[error("{path} is not a number, but {text:?}")]
    NotANumber {
        /// The file.
        path: String,
        /// What is in it.
        text: String,
    },
    /// A file could not be written.
    #[error("cannot write {value} to {path}: {}", remedy(source))]
    Write {
        /// The file.
        path: String,
        /// What was to be written.
        value: SysctlValue,
        /// Why not.
        source: io::Error,
    },
}

impl SysctlTree {
    /// Where it is unless somebody says otherwise.
    pub const USUAL: &str = "/proc/sys";

    /// The settings below this directory. A container whose own `/proc/sys` is read-only can have that of the node mounted
    /// somewhere else.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn path(&self, key: &SysctlKey) -> PathBuf {
        self.root.join(key.path())
    }

    /// How everything is that a plan looks at: what is for all interfaces, and what is for each of these. What is not
    /// there is left out: IPv6, where this kernel has none, and an interface that is gone by now.
    ///
    /// # Errors
    /// If anything that is there cannot be read: then nothing is known.
    pub fn read(&self, links: &[Link]) -> Result<BTreeMap<SysctlKey, SysctlValue>, SysctlError> {
        let mut keys = vec![SysctlKey::AcceptRedirectsAll, SysctlKey::RpFilterAll];
        for family in Family::BOTH {
            keys.push(SysctlKey::ForwardAll(family));
            keys.push(SysctlKey::ForwardDefault(family));
        }
        for name in links
            .iter()
            .filter_map(|link| InterfaceName::new(&link.name))
        {
            keys.push(SysctlKey::Forward(Family::V4, name.clone()));
            keys.push(SysctlKey::Forward(Family::V6, name.clone()));
            keys.push(SysctlKey::RpFilter(name.clone()));
            keys.push(SysctlKey::AcceptRa(name));
        }
        let mut values = BTreeMap::new();
        for key in keys {
            if let Some(value) = self.read_one(&key)? {
                values.insert(key, value);
            }
        }
        // A directory in which nothing was found would make all interfaces look gone.
        match values.contains_key(&SysctlKey::ForwardAll(Family::V4)) {
            true => Ok(values),
            false => Err(SysctlError::NoTree {
                root: self.root.display().to_string(),
            }),
        }
    }

    pub(super) fn read_one(&self, key: &SysctlKey) -> Result<Option<SysctlValue>, SysctlError> {
        let path = self.path(key);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            // With its interface goes a file that was open already (`proc_sys_call_handler`).
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(SysctlError::Read {
                    path: path.display().to_string(),
                    source,
                });
            }
        };
        let text = String::from_utf8_lossy(&bytes);
        match text.trim().parse() {
            Ok(number) => Ok(Some(SysctlValue::new(number))),
            Err(_) => Err(SysctlError::NotANumber {
                path: path.display().to_string(),
                text: text.into_owned(),
            }),
        }
    }

    /// Why nothing can be written, if that is known without trying.
    pub fn read_only(&self) -> Option<String> {
        // What cannot be asked will be told by the first write.
        let flags = statvfs(&self.root.join("net")).ok()?.flags();
        let root = self.root.display();
        flags
            .contains(FsFlags::ST_RDONLY)
            .then(|| format!("{root} is {READ_ONLY}"))
    }

    /// Writes a setting. Needs CAP_NET_ADMIN in the user namespace of the network namespace, as routes do, or to be the
    /// owner of the file.
    ///
    /// # Errors
    /// If it was refused.
    pub fn write(&self, key: &SysctlKey, value: SysctlValue) -> Result<(), SysctlError> {
        let path = self.path(key);
        // Not `fs::write`, which would make a file where there is none.
        let file = std::fs::OpenOptions::new().write(true).open(&path);
        let written = file
            .and_then(|mut file| io::Write::write_all(&mut file, format!("{value}\n").as_bytes()));
        written.map_err(|source| SysctlError::Write {
            path: path.display().to_string(),
            value,
            source,
        })
    }
}

/// What it is, and what to do about it.
const READ_ONLY: &str = "mounted read-only, as containers have it. Mount the /proc/sys of the node into the container and \
    say where, or run it privileged";

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw)
}

/// `EACCES: Permission denied`.
fn in_words(error: &io::Error) -> String {
    match errno(error) {
        Some(errno) => errno.to_string(),
        None => error.to_string(),
    }
}

/// What the kernel said to a write, and what can be done about it.
fn remedy(error: &io::Error) -> String {
    let advice = match errno(error) {
        Some(Errno::EROFS) => READ_ONLY,
        Some(Errno::EACCES | Errno::EPERM) => {
            "settings of the network are written by root, or with the capability CAP_NET_ADMIN by the user that owns \
             the network namespace"
        }
        Some(Errno::ENOENT) => "there is no such interface, or no IPv6",
        _ => return in_words(error),
    };
    format!("{advice} ({})", in_words(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_do() {
        let say = |errno: Errno| {
            let error = SysctlError::Write {
                path: "/proc/sys/net/ipv4/conf/all/forwarding".to_owned(),
                value: SysctlValue::new(1),
                source: errno.into(),
            };
            error.to_string()
        };
        let read_only = say(Errno::EROFS);
        assert!(
            read_only.starts_with(
                "cannot write 1 to /proc/sys/net/ipv4/conf/all/forwarding: mounted read-only"
            ),
            "{read_only}"
        );
        assert!(say(Errno::EACCES).contains("CAP_NET_ADMIN"));
        assert!(say(Errno::EINVAL).ends_with(": EINVAL: Invalid argument"));
    }

    #[test]
    fn a_directory_without_settings_is_not_a_node_without_interfaces() {
        let error = SysctlTree::below("/nonexistent").read(&[]).unwrap_err();
        assert!(matches!(error, SysctlError::NoTree { .. }), "{error}");
    }
}
