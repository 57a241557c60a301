//! The kernel's own answer to "which way would this packet take?".
//!
//! Asked twice: for the route that matches (`RTM_F_FIB_MATCH`), with its owner, and for what comes of it, which is one next
//! hop of possibly several. That the packet would go nowhere is an answer as well, in the kernel's error numbers. Must not
//! judge.

use nix::errno::Errno;
use nix::libc;

use super::Kernel;
use super::error::{KernelError, Refusal};
use super::route::{self, Interned, family_number};
use super::wire::{self, Malformed, Writer, attributes, u32_at};
use crate::model::{Family, IfIndex, NoWay, Packet, Prefix, Refused, TableId, Taken, Way};

/// Bytes of `struct rtmsg`.
const RTMSG: usize = 12;

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
        Ok(Way {
            matched: matched.map_err(refused),
            taken: taken.map_err(refused),
        })
    }
}

fn refused(refusal: Refusal) -> Refused {
    let why = match refusal.errno().map(Errno::from_raw) {
        Some(Errno::ENETUNREACH) => NoWay::NoRoute,
        Some(Errno::EHOSTUNREACH) => NoWay::Unreachable,
        Some(Errno::EACCES) => NoWay::Prohibited,
        Some(Errno::EINVAL) => NoWay::Dropped,
        Some(Errno::EXDEV) => NoWay::WrongInterface,
        _ => NoWay::Other,
    };
    Refused {
        why,
        words: refusal.to_string(),
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
