//! A private network namespace for `srsync try`: as any user where the machine allows it.
//!
//! Owns entering it, and explaining why that is forbidden; what is put into it is
//! [`populate`]'s. Must not touch the namespace the process came from:
//! there is no way back out, and none is needed.

use std::fs;
use std::io;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use super::error::KernelError;
use super::{Kernel, scene};

pub use super::scene::populate;

/// What the process has for itself now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sandboxed {
    /// A user and a network namespace; it is root in them, and nobody special outside.
    UserAndNetwork,
    /// A network namespace alone: user namespaces are forbidden, but the process may make this
    /// one (CAP_SYS_ADMIN).
    NetworkOnly,
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The machine does not allow it.
    #[error("cannot make a private network namespace: {}", reasons.join("; "))]
    Forbidden {
        /// Which settings forbid it, each with what allows it.
        reasons: Vec<String>,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A user namespace is for single-threaded processes (user_namespaces(7)).
    #[error("a private network namespace must be entered before any thread is started")]
    Threads,
    /// The process could not become root in its new namespace.
    #[error("cannot write {path} of the new user namespace")]
    Map {
        /// The file.
        path: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The new namespace is there, but netlink does not work in it.
    #[error("cannot set up the private network namespace")]
    Kernel(#[from] KernelError),
}

/// Moves this process, which must have one thread, into a network namespace of its own where it is
/// root, and brings `lo` up there. Read what has to be read before: as root of a user namespace it
/// no longer may read the files of other users.
pub fn enter() -> Result<Sandboxed, SandboxError> {
    let (user, group) = (geteuid(), getegid());
    let sandboxed = match unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET) {
        Ok(()) => {
            // Without CAP_SETGID outside, groups can be mapped only after setgroups(2) is given
            // up (user_namespaces(7)).
            write("/proc/self/setgroups", "deny")?;
            write("/proc/self/uid_map", &format!("0 {user} 1"))?;
            write("/proc/self/gid_map", &format!("0 {group} 1"))?;
            Sandboxed::UserAndNetwork
        }
        Err(Errno::EINVAL) if threads() > 1 => return Err(SandboxError::Threads),
        Err(errno) => match unshare(CloneFlags::CLONE_NEWNET) {
            Ok(()) => Sandboxed::NetworkOnly,
            Err(_) => {
                return Err(SandboxError::Forbidden {
                    reasons: reasons(read),
                    source: errno.into(),
                });
            }
        },
    };
    scene::loopback_up(&mut Kernel::open()?)?;
    Ok(sandboxed)
}

fn write(path: &'static str, text: &str) -> Result<(), SandboxError> {
    fs::write(path, text).map_err(|source| SandboxError::Map { path, source })
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}

/// A file of `/proc` as text.
fn read(path: &str) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// The settings that can forbid user namespaces: file, the value that forbids, what allows.
const SETTINGS: [(&str, &str, &str); 4] = [
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "kernel.unprivileged_userns_clone is 0; allow it with \
         `sysctl -w kernel.unprivileged_userns_clone=1`",
    ),
    (
        "/proc/sys/user/max_user_namespaces",
        "0",
        "user.max_user_namespaces is 0; allow them with `sysctl -w user.max_user_namespaces=1000`",
    ),
    (
        "/proc/sys/user/max_net_namespaces",
        "0",
        "user.max_net_namespaces is 0; allow them with `sysctl -w user.max_net_namespaces=1000`",
    ),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "kernel.apparmor_restrict_unprivileged_userns is 1; allow it with \
         `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`",
    ),
];

/// What forbids it here, by what `read` finds in `/proc`.
fn reasons(read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut reasons: Vec<String> = SETTINGS
        .iter()
        .filter(|(path, forbids, _)| read(path).as_deref() == Some(forbids))
        .map(|(_, _, reason)| (*reason).to_owned())
        .collect();
    // proc_pid_status(5): 2 is filter mode, which container runtimes use.
    let status = read("/proc/self/status").unwrap_or_default();
    let filtered = |line: &str| {
        line.strip_prefix("Seccomp:")
            .is_some_and(|v| v.trim() == "2")
    };
    if status.lines().any(filtered) {
        reasons.push(
            "a seccomp filter is active, as container runtimes set it; run the container with \
             `--security-opt seccomp=unconfined`, or srsync outside of it"
                .to_owned(),
        );
    }
    reasons.push("or run it as root".to_owned());
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_that_forbids_is_named_with_its_remedy() {
        let found = |path: &str, value: &str| {
            reasons(|asked| (asked == path).then(|| value.to_owned())).join("; ")
        };
        for (path, forbids, _) in SETTINGS {
            let name = path.rsplit('/').next().unwrap();
            let text = found(path, forbids);
            assert!(text.contains(&format!("{name} is {forbids}")), "{text}");
            assert!(text.contains("sysctl -w"), "{text}");
            assert_eq!(found(path, "7"), "or run it as root");
        }
        let text = found("/proc/self/status", "Name:\tx\nSeccomp:\t2\n");
        assert!(text.contains("seccomp=unconfined"), "{text}");
        assert_eq!(
            found("/proc/self/status", "Seccomp:\t0"),
            "or run it as root"
        );
    }
}
