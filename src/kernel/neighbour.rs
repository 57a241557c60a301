//! The neighbour tables: whether an address answers to ARP or neighbour discovery on a link.
//!
//! Owns asking the kernel what it knows, and making it ask the neighbour. Must not change what the
//! kernel believes: an entry that has a link-layer address keeps it, and how often a neighbour is
//! asked before it is given up stays the kernel's business (`neigh_timer_handler`,
//! net/core/neighbour.c), which otherwise would never look for one that moved to another address.

use std::net::IpAddr;

use nix::errno::Errno;
use nix::libc;

use super::error::{KernelError, Refusal};
use super::observe::look_up;
use super::route::family_number;
use super::socket::{NETLINK_ROUTE, Netlink};
use super::wire::{Malformed, Writer, u16_at};
use crate::model::{Family, IfIndex, Lookup};

/// Where `ndm_state` is in `struct ndmsg` (linux/neighbour.h).
const NDM_STATE: usize = 8;

/// What the kernel knows about a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Neighbour {
    /// There is nothing to ask: a person set it for good, or the link has no such protocol.
    Fixed,
    /// It answered when it was asked last, or something else showed lately that it is there.
    Reachable,
    /// It was there some time ago.
    Stale,
    /// It is being asked.
    Asked,
    /// It did not answer, or was never asked.
    Missing,
}

/// The neighbours of one network namespace, by way of one rtnetlink socket.
#[derive(Debug)]
pub struct Neighbours {
    netlink: Netlink,
}

impl Neighbours {
    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// If there is no socket.
    pub fn open() -> Result<Self, KernelError> {
        Ok(Self {
            netlink: Netlink::open(NETLINK_ROUTE)?,
        })
    }

    /// The link on which an address is a neighbour, or `None` where it is behind a gateway or
    /// cannot be reached.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn link_of(&mut self, address: IpAddr) -> Result<Option<IfIndex>, KernelError> {
        Ok(match look_up(&mut self.netlink, address)? {
            Some(Lookup {
                via: None, link, ..
            }) => Some(link),
            _ => None,
        })
    }

    /// What is known about a neighbour.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn state(&mut self, address: IpAddr, link: IfIndex) -> Result<Neighbour, KernelError> {
        let request = |writer: &mut Writer, sequence: u32| {
            writer.begin(libc::RTM_GETNEIGH, 0, sequence);
            entry(writer, address, link, (0, 0));
        };
        let read = |payload: &[u8]| Ok::<_, Malformed>(meaning(u16_at(payload, NDM_STATE)?));
        match self.netlink.ask("neighbour", request, read)? {
            Ok(known) => Ok(known),
            Err(refusal) if refusal.is(Errno::ENOENT) => Ok(Neighbour::Missing),
            Err(source) => Err(refused(source)),
        }
    }

    /// Has the kernel ask a neighbour whether it is there, at once, unless it is doing so already
    /// or there is nothing to ask. Returns what was known before. Needs CAP_NET_ADMIN.
    ///
    /// One that the kernel takes to be reachable is asked as well: of its own accord it would go on
    /// believing so for up to 45 seconds (`base_reachable_time`, arp(7)), and then for five more.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn ask(&mut self, address: IpAddr, link: IfIndex) -> Result<Neighbour, KernelError> {
        let known = self.state(address, link)?;
        match known {
            Neighbour::Fixed | Neighbour::Asked => {}
            // `ip neigh change ADDRESS dev LINK nud probe`: asks the address that is known, and
            // packets flow meanwhile.
            Neighbour::Reachable | Neighbour::Stale => {
                let asking = (libc::NUD_PROBE, 0);
                self.change(address, link, libc::NLM_F_REPLACE, asking)?;
            }
            // `ip neigh replace ADDRESS dev LINK use`: asks everybody on the link.
            Neighbour::Missing => {
                let using = (libc::NUD_NONE, libc::NTF_USE);
                let flags = libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
                self.change(address, link, flags, using)?;
            }
        }
        Ok(known)
    }

    fn change(
        &mut self,
        address: IpAddr,
        link: IfIndex,
        flags: libc::c_int,
        state_and_flags: (u16, u8),
    ) -> Result<(), KernelError> {
        let sequence = self.netlink.next_sequence();
        let mut writer = Writer::default();
        writer.begin(libc::RTM_NEWNEIGH, flags | libc::NLM_F_ACK, sequence);
        entry(&mut writer, address, link, state_and_flags);
        let mut refusal = None;
        self.netlink.exchange(writer.bytes(), sequence, |_, said| {
            refusal = Some(said);
        })?;
        match refusal {
            // It went in between; the next look tells.
            Some(refusal) if refusal.is(Errno::ENOENT) => Ok(()),
            Some(refusal) => Err(refused(refusal)),
            None => Ok(()),
        }
    }
}

fn refused(source: Refusal) -> KernelError {
    KernelError::Dump {
        what: "neighbour table",
        source,
    }
}

/// Writes `struct ndmsg` and the address, and ends the message.
fn entry(writer: &mut Writer, address: IpAddr, link: IfIndex, (state, flags): (u16, u8)) {
    let family = family_number(Family::of(&address));
    writer.put(&[family, 0, 0, 0]);
    writer.put(&link.get().to_ne_bytes());
    writer.put(&state.to_ne_bytes());
    writer.put(&[flags, 0]);
    writer.address(libc::NDA_DST, address);
    writer.end();
}

/// What a `NUD_*` says.
fn meaning(state: u16) -> Neighbour {
    match state {
        libc::NUD_PERMANENT | libc::NUD_NOARP => Neighbour::Fixed,
        libc::NUD_REACHABLE => Neighbour::Reachable,
        libc::NUD_STALE | libc::NUD_DELAY => Neighbour::Stale,
        libc::NUD_PROBE | libc::NUD_INCOMPLETE => Neighbour::Asked,
        _ => Neighbour::Missing,
    }
}
