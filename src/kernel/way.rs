//! The kernel's own answer to "which way would this packet take?".
//!
//! Asked twice: for the route that matches (`RTM_F_FIB_MATCH`), with its owner, and for what comes of it, which is one next
//! hop of possibly several. That the packet would go nowhere is an answer as well, in the kernel's error numbers. Must not
//! judge.

use std::net::IpAddr;

use nix::libc;

use super::Kernel;
use super::error::{KernelError, Refusal};
use super::route::{self, Interned, family_number};
use super::wire::{self, Malformed, Writer, attributes, u32_at};
use crate::model::Packet;
use crate::model::{Family, IfIndex, ObservedRoute, Prefix, RouteType, TableId};

/// Bytes of `struct rtmsg`.
const RTMSG: usize = 12;

/// What the kernel says about a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The route that matches; `None` where this kernel does not say.
    pub matched: Result<Option<ObservedRoute>, Refusal>,
    /// What becomes of the packet.
    pub taken: Result<Taken, Refusal>,
}

/// Where a packet goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// What is done with it: sent on, or delivered here (`local`).
    pub kind: RouteType,
    /// The table that decided.
    pub table: TableId,
    /// The gateway; `None` where the destination is on the link.
    pub via: Option<IpAddr>,
    /// The link that it leaves by.
    pub link: Option<IfIndex>,
    /// The source address that the kernel would choose.
    pub source: Option<IpAddr>,
}

impl Kernel {
    /// Asks about a packet; `iif` is the index of the interface by which it comes in, where it says one.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn way(&mut self, packet: &Packet, iif: Option<IfIndex>) -> Result<Way, KernelError> {
        const WHAT: &str = "answer about a way";
        let request = |flags: u32| {
            move |writer: &mut Writer, sequence: u32| encode(writer, sequence, (packet, iif), flags)
        };
        let matched = self
            .netlink
            .ask(WHAT, request(libc::RTM_F_FIB_MATCH), |payload| {
                route::decode(payload, &mut Interned::default(), |_, _, _| true)
            })?;
        let taken = self.netlink.ask(WHAT, request(0), decode)?;
        Ok(Way { matched, taken })
    }
}

fn encode(
    writer: &mut Writer,
    sequence: u32,
    (packet, iif): (&Packet, Option<IfIndex>),
    flags: u32,
) {
    let family = Family::of(&packet.to);
    let length = Prefix::host(packet.to).length();
    // A length without its address is refused (`inet_validate_rtm_getroute`).
    let from_length = packet.from.map_or(0, |_| length);
    // Without it the kernel calls every table of IPv4 `main` (`inet_rtm_getroute`); in IPv6 it is not taken.
    let flags = match family {
        Family::V4 => flags | libc::RTM_F_LOOKUP_TABLE,
        Family::V6 => flags,
    };
    writer.begin(libc::RTM_GETROUTE, 0, sequence);
    writer.put(&[family_number(family), length, from_length, 0, 0, 0, 0, 0]);
    writer.put(&flags.to_ne_bytes());
    writer.address(libc::RTA_DST, packet.to);
    if let Some(from) = packet.from {
        writer.address(libc::RTA_SRC, from);
    }
    if let Some(iif) = iif {
        writer.number(libc::RTA_IIF, iif.get());
    }
    if packet.mark != 0 {
        writer.number(libc::RTA_MARK, packet.mark);
    }
    writer.end();
}

fn decode(payload: &[u8]) -> Result<Taken, Malformed> {
    let Some(&[_, _, _, _, table, _, _, kind]) = payload.first_chunk() else {
        return Err(Malformed("a route message without its header"));
    };
    let mut taken = Taken {
        kind: route::type_of(kind),
        table: TableId::new(table.into()),
        via: None,
        link: None,
        source: None,
    };
    for attribute in attributes(payload.get(RTMSG..).unwrap_or_default()) {
        match attribute? {
            (libc::RTA_TABLE, value) => taken.table = TableId::new(u32_at(value, 0)?),
            (libc::RTA_OIF, value) => taken.link = Some(IfIndex::new(u32_at(value, 0)?)),
            (libc::RTA_GATEWAY, value) => taken.via = Some(wire::address(value)?),
            // `struct rtvia`: the family, then the address.
            (libc::RTA_VIA, value) => {
                taken.via = Some(wire::address(value.get(2..).unwrap_or_default())?);
            }
            (libc::RTA_PREFSRC, value) => taken.source = Some(wire::address(value)?),
            _ => {}
        }
    }
    Ok(taken)
}
