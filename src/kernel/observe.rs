//! Reading a node: links, addresses, nexthop objects, routes, and how the kernel would reach an address.
//!
//! Complete or an error; see [`Kernel::observe`]. Must not judge what it reads.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use netlink_packet_core::Parseable;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkFlags, LinkHeader};
use nix::errno::Errno;
use nix::libc;

use super::error::{KernelError, Refusal};
use super::nexthop;
use super::route::{self, Interned};
use super::wire::{Malformed, Writer, attributes, text};
use super::{Kernel, socket::Netlink};
use crate::model::egress::ObservedEgress;
use crate::model::{
    Address, Family, IfIndex, Link, Lookup, NextHopId, NextHopObject, Observed, ObservedRoute,
    Prefix, Protocol, TableId,
};

/// Bytes of `struct ifinfomsg` and `struct ifaddrmsg` (rtnetlink(7)).
const IFINFOMSG: usize = 16;
const IFADDRMSG: usize = 8;

/// Which part of a node is worth reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interest {
    /// Our own number: its routes are read in every table.
    pub protocol: Protocol,
    /// The tables of which everybody's routes are read.
    pub tables: Tables,
    /// Addresses to ask the way to.
    pub lookups: BTreeSet<IpAddr>,
    /// Whether nexthop objects are read, of every owner.
    pub nexthops: NextHops,
}

/// How much nexthop objects matter. On a node where somebody changes thousands of them, a list that is
/// not disturbed may be hard to get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextHops {
    /// They are not read.
    Ignored,
    /// They are read; if they keep changing meanwhile, it is as if the kernel had none.
    Welcome,
    /// Without them the node is not known.
    Needed,
}

/// A choice of routing tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tables {
    /// Every table.
    All,
    /// Just these.
    Only(BTreeSet<TableId>),
}

impl Tables {
    /// No table.
    pub const NONE: Self = Self::Only(BTreeSet::new());

    fn contains(&self, table: TableId) -> bool {
        match self {
            Self::All => true,
            Self::Only(tables) => tables.contains(&table),
        }
    }
}

impl Kernel {
    /// Reads the node. Complete, or an error: a list that was cut off or refused is never taken
    /// for a short one. Routes that `interest` does not ask for are dropped while they are read.
    pub fn observe(&mut self, interest: &Interest) -> Result<Observed, KernelError> {
        let mut links = read_links(&mut self.netlink)?;
        links.sort_unstable_by_key(|link| link.index);
        let addresses = read_addresses(&mut self.netlink)?;
        let nexthops = match interest.nexthops {
            NextHops::Ignored => None,
            NextHops::Welcome => match read_nexthops(&mut self.netlink) {
                Err(KernelError::Interrupted { .. }) => None,
                read => read?,
            },
            NextHops::Needed => read_nexthops(&mut self.netlink)?,
        };
        // Whoever leads by an object of ours is seen, so that it is not taken from under him.
        let ours: BTreeSet<NextHopId> = nexthops
            .iter()
            .flatten()
            .filter(|object| object.protocol == interest.protocol)
            .map(|object| object.id)
            .collect();
        let wanted = |protocol: Protocol, table: TableId, nexthop: Option<NextHopId>| {
            protocol == interest.protocol
                || interest.tables.contains(table)
                || nexthop.is_some_and(|id| ours.contains(&id))
        };
        let mut routes = Vec::new();
        for family in Family::BOTH {
            let of_family = read_routes(&mut self.netlink, family, wanted)?;
            if routes.is_empty() {
                routes = of_family;
            } else {
                routes.extend(of_family);
            }
        }
        let mut lookups = BTreeMap::new();
        for address in &interest.lookups {
            if let Some(lookup) = look_up(&mut self.netlink, *address)? {
                lookups.insert(*address, lookup);
            }
        }
        Ok(Observed {
            links,
            addresses,
            routes,
            lookups,
            nexthop_objects: nexthops.is_some(),
            nexthops: nexthops.unwrap_or_default(),
            egress: ObservedEgress::default(),
        })
    }
}

/// Writes the request for a dump: the bare fixed header, all zero but the family. Strict checking
/// (`NETLINK_GET_STRICT_CHK`) wants it whole.
fn dump_request(kind: u16, header: &[u8]) -> impl Fn(&mut Writer, u32) {
    move |writer, sequence| {
        writer.begin(kind, libc::NLM_F_DUMP, sequence);
        writer.put(header);
        writer.end();
    }
}

fn read_links(netlink: &mut Netlink) -> Result<Vec<Link>, KernelError> {
    let request = dump_request(libc::RTM_GETLINK, &[0; IFINFOMSG]);
    netlink.dump("links", request, |payload, links| {
        links.push(read_link(payload)?);
        Ok(())
    })
}

/// Of a link only its name is read: decoding all the attributes of all kinds of links would make
/// any of them a reason to fail.
fn read_link(payload: &[u8]) -> Result<Link, Malformed> {
    let header = LinkHeader::parse(payload).map_err(|_| Malformed("a link without its header"))?;
    let mut name = String::new();
    for attribute in attributes(payload.get(IFINFOMSG..).unwrap_or_default()) {
        if let (libc::IFLA_IFNAME, value) = attribute? {
            name = text(value);
        }
    }
    Ok(Link {
        index: IfIndex::new(header.index),
        name,
        up: header.flags.contains(LinkFlags::Up),
        // For up to a second after its line is back a link drops all that it is given
        // (`linkwatch_do_dev`, net/core/link_watch.c); only then it counts as running.
        carrier: header
            .flags
            .contains(LinkFlags::LowerUp | LinkFlags::Running),
        loopback: header.flags.contains(LinkFlags::Loopback),
    })
}

fn read_addresses(netlink: &mut Netlink) -> Result<Vec<Address>, KernelError> {
    let request = dump_request(libc::RTM_GETADDR, &[0; IFADDRMSG]);
    netlink.dump("addresses", request, |payload, addresses| {
        addresses.extend(read_address(payload)?);
        Ok(())
    })
}

fn read_address(payload: &[u8]) -> Result<Option<Address>, Malformed> {
    let message = AddressMessage::parse(payload)
        .map_err(|_| Malformed("an address that cannot be decoded"))?;
    let (mut local, mut address) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            _ => {}
        }
    }
    // IFA_ADDRESS is the peer where there is one; IPv6 has no IFA_LOCAL where there is none
    // (linux/if_addr.h).
    let Some(local) = local.or(address) else {
        return Ok(None);
    };
    Ok(Some(Address {
        link: IfIndex::new(message.header.index),
        local,
        length: message.header.prefix_len,
        peer: address.filter(|peer| *peer != local),
    }))
}

/// All nexthop objects by number, or `None` where the kernel has no such thing: before 5.3 it does
/// not know the message (`rtnetlink_rcv_msg`, net/core/rtnetlink.c).
fn read_nexthops(netlink: &mut Netlink) -> Result<Option<Vec<NextHopObject>>, KernelError> {
    let request = dump_request(nexthop::RTM_GETNEXTHOP, &[0; nexthop::NHMSG]);
    let list = netlink.dump("nexthop objects", request, |payload, nexthops| {
        nexthops.push(nexthop::decode(payload)?);
        Ok(())
    });
    match list {
        Ok(mut nexthops) => {
            nexthops.sort_unstable_by_key(|object: &NextHopObject| object.id);
            Ok(Some(nexthops))
        }
        Err(KernelError::Dump { source, .. }) if source.is(Errno::EOPNOTSUPP) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether this kernel tells of each route when the nexthop object that it goes by changes
/// (`net.ipv4.nexthop_compat_mode`, both families), as far as can be told.
pub fn tells_of_routes_by_nexthops() -> bool {
    let mode = std::fs::read("/proc/sys/net/ipv4/nexthop_compat_mode");
    mode.is_ok_and(|mode| mode.trim_ascii() == b"1")
}

impl Kernel {
    /// The nexthop object with this number as it is now, if there is one.
    pub fn nexthop(&mut self, id: NextHopId) -> Result<Option<NextHopObject>, KernelError> {
        let request = |writer: &mut Writer, sequence: u32| {
            nexthop::encode_query(writer, sequence, id);
        };
        let answer = self
            .netlink
            .ask("nexthop object", request, nexthop::decode)?;
        match answer {
            Ok(object) => Ok(Some(object)),
            Err(refusal) if refusal.is(Errno::ENOENT) => Ok(None),
            Err(source) => Err(KernelError::Dump {
                what: "nexthop object",
                source,
            }),
        }
    }
}

fn read_routes(
    netlink: &mut Netlink,
    family: Family,
    wanted: impl Fn(Protocol, TableId, Option<NextHopId>) -> bool,
) -> Result<Vec<ObservedRoute>, KernelError> {
    let mut known = Interned::default();
    let request = |writer: &mut Writer, sequence: u32| {
        writer.begin(libc::RTM_GETROUTE, libc::NLM_F_DUMP, sequence);
        route::encode_query(writer, family, 0, 0);
        writer.end();
    };
    netlink.dump("routes", request, |payload, routes| {
        let route = route::decode(payload, &mut known, &wanted)?;
        // A kernel without IPv6 answers with everything it has, IPv4 again.
        routes.extend(route.filter(|route| route.route.key.prefix.family() == family));
        Ok(())
    })
}

/// How often the way to an IPv6 address is asked for when the kernel says that there is none: for
/// a moment it says so of a route that is just being replaced, though packets find their way
/// (`inet6_rtm_getroute`, net/ipv6/route.c, when `rt->from` is gone).
const LOOKUP_ATTEMPTS: u32 = 3;

/// How the kernel would reach an address, if it would.
pub(super) fn look_up(
    netlink: &mut Netlink,
    address: IpAddr,
) -> Result<Option<Lookup>, KernelError> {
    for _ in 1..LOOKUP_ATTEMPTS {
        match look_up_once(netlink, address)? {
            None if address.is_ipv6() => {}
            found => return Ok(found),
        }
    }
    look_up_once(netlink, address)
}

/// Asks the way to an address. `RTM_F_FIB_MATCH` makes the kernel show the route it found rather
/// than the result, so that its owner is seen; kernels before 4.13 ignore the flag.
fn look_up_once(netlink: &mut Netlink, address: IpAddr) -> Result<Option<Lookup>, KernelError> {
    let host = Prefix::host(address);
    let request = |writer: &mut Writer, sequence: u32| {
        writer.begin(libc::RTM_GETROUTE, 0, sequence);
        let flags = libc::RTM_F_FIB_MATCH;
        route::encode_query(writer, host.family(), host.length(), flags);
        writer.address(libc::RTA_DST, address);
        writer.end();
    };
    let answer = netlink.ask("answer to a lookup", request, |payload| {
        route::decode(payload, &mut Interned::default(), |_, _, _| true)
    })?;
    match answer {
        Ok(route) => Ok(route.as_ref().and_then(way)),
        Err(refusal) if means_unreachable(&refusal) => Ok(None),
        Err(source) => Err(KernelError::Dump {
            what: "way to an address",
            source,
        }),
    }
}

/// The first way out of a route.
fn way(route: &ObservedRoute) -> Option<Lookup> {
    let hop = route.route.attrs.hops().first()?;
    Some(Lookup {
        via: hop.via,
        link: hop.link?,
        protocol: route.protocol,
    })
}

/// The error numbers that routes and missing routes give to a packet (`fib_props`,
/// net/ipv4/fib_semantics.c): no route, unreachable, prohibit, blackhole, and a family that this
/// kernel does not have.
fn means_unreachable(refusal: &Refusal) -> bool {
    [
        Errno::ENETUNREACH,
        Errno::EHOSTUNREACH,
        Errno::EACCES,
        Errno::EINVAL,
        Errno::EAFNOSUPPORT,
        Errno::EOPNOTSUPP,
    ]
    .into_iter()
    .any(|errno| refusal.is(errno))
}
