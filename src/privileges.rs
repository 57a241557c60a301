//! Giving up every privilege that a daemon does not need (capabilities(7)).
//!
//! Must be asked before threads are started: capabilities belong to a thread, and others inherit
//! what it has then.

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};

/// Changing routes, and raw sockets for health checks where datagram sockets are not allowed.
const NEEDED: [Capability; 2] = [Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW];

/// Privileges could not be given up.
#[derive(Debug, thiserror::Error)]
#[error("cannot give up privileges: {0}")]
pub struct PrivilegeError(String);

impl From<CapsError> for PrivilegeError {
    fn from(error: CapsError) -> Self {
        Self(error.to_string())
    }
}

/// Whether this process has the capability to change routes. Whether it counts in this network
/// namespace, only trying shows.
pub fn may_change_routes() -> bool {
    caps::has_cap(None, CapSet::Effective, Capability::CAP_NET_ADMIN).unwrap_or(false)
}

/// Gives up everything but CAP_NET_ADMIN and CAP_NET_RAW, for good: also what running another
/// program would bring.
///
/// # Errors
/// If the kernel refuses.
pub fn keep_network_only() -> Result<(), PrivilegeError> {
    let set_pcap = caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)?;
    let needed: CapsHashSet = NEEDED.into_iter().collect();
    if set_pcap {
        for capability in caps::read(None, CapSet::Bounding)?.difference(&needed) {
            caps::drop(None, CapSet::Bounding, *capability)?;
        }
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    let kept: CapsHashSet = caps::read(None, CapSet::Permitted)?
        .intersection(&needed)
        .copied()
        .collect();
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    nix::sys::prctl::set_no_new_privs().map_err(|errno| PrivilegeError(errno.to_string()))
}
