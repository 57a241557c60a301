//! Route messages (`RTM_*ROUTE`, rtnetlink(7)) to and from the model.
//!
//! Owns the normalisation that makes "is" comparable with "should be": see [`decode`]. Written by
//! hand because this is the hot path: 100,000 routes are decoded from the receive buffer without
//! an allocation each. Must not talk to a socket or judge what it reads.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use nix::libc;

use super::wire::{self, Malformed, Writer, attributes, u16_at, u32_at};
use crate::model::{
    AdvMss, Family, IfIndex, Metric, Mtu, NextHop, NextHopId, ObservedRoute, Prefix, Protocol,
    Route, RouteAttrs, RouteKey, RouteType, Scope, TableId, Tos, Weight,
};

// From linux/rtnetlink.h, where libc does not have them.
pub(super) const RTNH_F_ONLINK: u32 = 4;
const RTA_NH_ID: u16 = 30;
const RTAX_MTU: u16 = 2;
const RTAX_ADVMSS: u16 = 8;

/// Bytes of `struct rtmsg`.
const RTMSG: usize = 12;
/// Bytes of `struct rtnexthop`.
const RTNEXTHOP: usize = 8;

/// What is asked of the kernel about one route.
pub(super) struct Request<'a> {
    /// `RTM_NEWROUTE` or `RTM_DELROUTE`.
    pub(super) kind: u16,
    /// `NLM_F_*` beside `NLM_F_REQUEST`.
    pub(super) flags: libc::c_int,
    /// Slot and attributes.
    pub(super) route: &'a Route,
    /// The hops to write, which for a removal are not always those of the route; none are written
    /// beside a nexthop object, which excludes them (`rtm_to_fib_config`, net/ipv4/fib_frontend.c).
    pub(super) hops: &'a [NextHop],
    /// Whose it is.
    pub(super) protocol: Protocol,
    /// How far the destination is.
    pub(super) scope: Scope,
}

/// An upper bound for the length of a request, in bytes.
pub(super) fn longest(request: &Request<'_>) -> usize {
    // Headers, slot, source and metrics take 120; a hop is at most a `struct rtnexthop` and an
    // RTA_VIA with an IPv6 address.
    160 + 40 * request.hops.len()
}

/// Appends a request to `writer` as one message.
pub(super) fn encode(writer: &mut Writer, sequence: u32, request: &Request<'_>) {
    let RouteKey {
        table,
        prefix,
        metric,
        tos,
    } = request.route.key;
    let attrs = &request.route.attrs;
    let (kind, hops) = match (attrs.nexthop, request.kind) {
        (None, _) => (type_number(attrs.kind), request.hops),
        // It is shown as a blackhole while its object is one, and kept with the type that it was
        // made with: "whatever its type" is what finds it.
        (Some(_), libc::RTM_DELROUTE) => (libc::RTN_UNSPEC, &[][..]),
        (Some(_), _) => (libc::RTN_UNICAST, &[][..]),
    };
    writer.begin(request.kind, request.flags, sequence);
    let on_link = matches!(hops, [only] if only.on_link);
    writer.put(&[
        family_number(prefix.family()),
        prefix.length(),
        0,
        tos.get(),
        // RTA_TABLE carries the number; this field is too small for it.
        libc::RT_TABLE_UNSPEC,
        request.protocol.get(),
        request.scope.get(),
        kind,
    ]);
    writer.put(&hop_flags(on_link).to_ne_bytes());
    writer.address(libc::RTA_DST, prefix.address());
    writer.number(libc::RTA_TABLE, table.get());
    writer.number(libc::RTA_PRIORITY, metric.get());
    if let Some(id) = attrs.nexthop {
        writer.number(RTA_NH_ID, id.get());
    }
    match hops {
        [] => {}
        [only] => {
            if let Some(link) = only.link {
                writer.number(libc::RTA_OIF, link.get());
            }
            put_gateway(writer, prefix.family(), only);
        }
        several => put_multipath(writer, prefix.family(), several),
    }
    if let Some(source) = attrs.source {
        writer.address(libc::RTA_PREFSRC, source);
    }
    put_metrics(writer, attrs);
    writer.end();
}

fn put_gateway(writer: &mut Writer, family: Family, hop: &NextHop) {
    let Some(via) = hop.via else { return };
    if Family::of(&via) == family {
        writer.address(libc::RTA_GATEWAY, via);
        return;
    }
    // `struct rtvia`: IPv4 by way of an IPv6 next hop (RFC 5549).
    let nest = writer.nest(libc::RTA_VIA);
    let number = u16::from(family_number(Family::of(&via)));
    writer.put(&number.to_ne_bytes());
    match via {
        IpAddr::V4(v4) => writer.put(&v4.octets()),
        IpAddr::V6(v6) => writer.put(&v6.octets()),
    }
    writer.end_nest(nest);
}

fn put_multipath(writer: &mut Writer, family: Family, hops: &[NextHop]) {
    let list = writer.nest(libc::RTA_MULTIPATH);
    for hop in hops {
        let entry = writer.open_next_hop(hop_flags(hop.on_link) as u8, hop.weight.to_hops());
        writer.put(&hop.link.map_or(0, IfIndex::get).to_ne_bytes());
        put_gateway(writer, family, hop);
        writer.end_nest(entry);
    }
    writer.end_nest(list);
}

fn put_metrics(writer: &mut Writer, attrs: &RouteAttrs) {
    if attrs.mtu.is_none() && attrs.advmss.is_none() {
        return;
    }
    let nest = writer.nest(libc::RTA_METRICS);
    if let Some(mtu) = attrs.mtu {
        writer.number(RTAX_MTU, mtu.get());
    }
    if let Some(advmss) = attrs.advmss {
        writer.number(RTAX_ADVMSS, advmss.get());
    }
    writer.end_nest(nest);
}

fn hop_flags(on_link: bool) -> u32 {
    if on_link { RTNH_F_ONLINK } else { 0 }
}

/// The request for a dump of all routes of a family, or for the answer to "how do you reach this
/// address?", by what stands behind it.
pub(super) fn encode_query(writer: &mut Writer, family: Family, length: u8, flags: u32) {
    writer.put(&[family_number(family), length, 0, 0, 0, 0, 0, 0]);
    writer.put(&flags.to_ne_bytes());
}

/// `struct rtmsg` (rtnetlink(7)), as far as it is read.
struct RouteHeader {
    family: Family,
    length: u8,
    source_length: u8,
    tos: u8,
    table: u8,
    protocol: Protocol,
    scope: Scope,
    kind: RouteType,
    flags: u32,
}

impl RouteHeader {
    /// The header, or `None` for a family that is not ours: a kernel without IPv6 answers a
    /// request for its routes with those of every family it has (`rtnl_dump_all`,
    /// net/core/rtnetlink.c).
    fn read(payload: &[u8]) -> Result<Option<Self>, Malformed> {
        let flags = u32_at(payload, 8)?;
        let Some(
            &[
                family,
                length,
                source_length,
                tos,
                table,
                protocol,
                scope,
                kind,
            ],
        ) = payload.first_chunk()
        else {
            return Err(Malformed("a route message without its header"));
        };
        let family = match i32::from(family) {
            libc::AF_INET => Family::V4,
            libc::AF_INET6 => Family::V6,
            _ => return Ok(None),
        };
        Ok(Some(Self {
            family,
            length,
            source_length,
            tos,
            table,
            protocol: Protocol::new(protocol),
            scope: Scope::new(scope),
            kind: type_of(kind),
            flags,
        }))
    }
}

/// Reads an `RTM_NEWROUTE` of a dump, if it is one that `wanted` asks for.
///
/// Normalised so that equal attributes mean equal behaviour: next hops are sorted, the state of a
/// link (dead, linkdown, offload) is left out, an IPv6 blackhole loses the loopback device that
/// the kernel gives it (as does a route whose nexthop object is a blackhole), and everything srsync never sets becomes [`RouteAttrs::extra`].
pub(super) fn decode(
    payload: &[u8],
    known: &mut Interned,
    wanted: impl Fn(Protocol, TableId, Option<NextHopId>) -> bool,
) -> Result<Option<ObservedRoute>, Malformed> {
    let Some(header) = RouteHeader::read(payload)? else {
        return Ok(None);
    };
    // Cached routes are not configuration: path MTU discovery and redirects make them.
    if header.flags & libc::RTM_F_CLONED != 0 {
        return Ok(None);
    }
    let mut address = None;
    let mut table = u32::from(header.table);
    let mut metric = 0;
    let mut nexthop = None;
    known.begin(&header);
    for attribute in attributes(payload.get(RTMSG..).unwrap_or_default()) {
        let attribute = attribute?;
        if let (RTA_NH_ID, value) = attribute {
            nexthop = Some(NextHopId::new(u32_at(value, 0)?));
        }
        match attribute {
            (libc::RTA_DST, value) => address = Some(wire::address(value)?),
            (libc::RTA_TABLE, value) => table = u32_at(value, 0)?,
            (libc::RTA_PRIORITY, value) => metric = u32_at(value, 0)?,
            (libc::RTA_CACHEINFO, value) => known.expires(u32_at(value, 8)? != 0),
            (kind, value) => known.note(kind, value),
        }
    }
    let table = TableId::new(table);
    if !wanted(header.protocol, table, nexthop) {
        return Ok(None);
    }
    let everything = || Prefix::everything(header.family).address();
    let address = address.unwrap_or_else(everything);
    let prefix = Prefix::containing(address, header.length)
        .filter(|prefix| prefix.family() == header.family)
        .ok_or(Malformed("a destination that does not fit its family"))?;
    let key = RouteKey {
        table,
        prefix,
        metric: Metric::new(metric),
        tos: Tos::new(header.tos),
    };
    Ok(Some(ObservedRoute {
        route: Route {
            key,
            attrs: known.attrs(&header)?,
        },
        protocol: header.protocol,
        scope: header.scope,
    }))
}

/// Attributes that were decoded before, by their raw bytes: thousands of routes go the same way,
/// mostly one after the other, and share one [`RouteAttrs`].
#[derive(Default)]
pub(super) struct Interned {
    /// The raw form of the route that is being decoded: [`Interned::PREFIX`] bytes of header, then
    /// the attributes that are not part of its slot.
    raw: Vec<u8>,
    last: Vec<u8>,
    attrs: Option<Arc<RouteAttrs>>,
    all: HashMap<Box<[u8]>, Arc<RouteAttrs>>,
}

impl Interned {
    const PREFIX: usize = 8;
    const EXPIRES: usize = 4;

    fn begin(&mut self, header: &RouteHeader) {
        self.raw.clear();
        self.raw.extend_from_slice(&[
            family_number(header.family),
            type_number(header.kind),
            header.scope.get(),
            (header.flags & RTNH_F_ONLINK) as u8,
            0,
            header.source_length,
            0,
            0,
        ]);
    }

    /// An IPv6 route from a router advertisement or with `expires` goes by itself; how many ticks
    /// are left must not make every such route different.
    fn expires(&mut self, expires: bool) {
        if let Some(byte) = self.raw.get_mut(Self::EXPIRES) {
            *byte = u8::from(expires);
        }
    }

    /// Keeps an attribute in its raw form, as [`attributes`] reads it.
    fn note(&mut self, kind: u16, value: &[u8]) {
        let length = (value.len() + 4) as u16;
        self.raw.extend_from_slice(&length.to_ne_bytes());
        self.raw.extend_from_slice(&kind.to_ne_bytes());
        self.raw.extend_from_slice(value);
        self.raw.resize(wire::align(self.raw.len()), 0);
    }

    fn attrs(&mut self, header: &RouteHeader) -> Result<Arc<RouteAttrs>, Malformed> {
        if let Some(attrs) = &self.attrs
            && self.raw == self.last
        {
            return Ok(Arc::clone(attrs));
        }
        let attrs = match self.all.get(self.raw.as_slice()) {
            Some(attrs) => Arc::clone(attrs),
            None => {
                let expires = self.raw.get(Self::EXPIRES).is_some_and(|byte| *byte != 0);
                let rest = self.raw.get(Self::PREFIX..).unwrap_or_default();
                let mut attrs = read_attrs(header, rest)?;
                attrs.extra |= expires || header.source_length != 0;
                let attrs = Arc::new(attrs);
                self.all
                    .insert(self.raw.as_slice().into(), Arc::clone(&attrs));
                attrs
            }
        };
        std::mem::swap(&mut self.last, &mut self.raw);
        self.attrs = Some(Arc::clone(&attrs));
        Ok(attrs)
    }
}

fn read_attrs(header: &RouteHeader, raw: &[u8]) -> Result<RouteAttrs, Malformed> {
    let mut lone = NextHop {
        via: None,
        link: None,
        weight: Weight::ONE,
        on_link: header.flags & RTNH_F_ONLINK != 0,
    };
    let (mut hops, mut nexthop) = (Vec::new(), None);
    let (mut source, mut metrics, mut extra) = (None, Metrics::default(), false);
    for attribute in attributes(raw) {
        match attribute? {
            (libc::RTA_OIF, value) => lone.link = Some(IfIndex::new(u32_at(value, 0)?)),
            (libc::RTA_GATEWAY, value) => lone.via = Some(wire::address(value)?),
            (libc::RTA_VIA, value) => lone.via = Some(read_via(value)?),
            (libc::RTA_MULTIPATH, value) => extra |= read_multipath(value, &mut hops)?,
            (RTA_NH_ID, value) => nexthop = Some(NextHopId::new(u32_at(value, 0)?)),
            (libc::RTA_PREFSRC, value) => source = Some(wire::address(value)?),
            (libc::RTA_METRICS, value) => metrics = Metrics::read(value)?,
            // Every IPv6 route has a preference (RFC 4191); 0 is the usual "medium".
            (libc::RTA_PREF, [0]) => {}
            _ => extra = true,
        }
    }
    if hops.is_empty() && (lone.link.is_some() || lone.via.is_some()) {
        hops.push(lone);
    }
    let mut attrs = match header.kind {
        RouteType::Unicast | RouteType::Other(_) => RouteAttrs::unicast(hops),
        nowhere => RouteAttrs::without_hops(nowhere),
    };
    attrs.kind = header.kind;
    attrs.nexthop = nexthop;
    attrs.source = source;
    attrs.mtu = metrics.mtu;
    attrs.advmss = metrics.advmss;
    // A scope that srsync would not give makes it another route (`ip route add … scope`).
    let odd_scope =
        !matches!(header.kind, RouteType::Other(_)) && attrs.scope(header.family) != header.scope;
    attrs.extra = extra || metrics.extra || odd_scope;
    Ok(attrs)
}

/// `struct rtvia`: a family and an address of it.
fn read_via(value: &[u8]) -> Result<IpAddr, Malformed> {
    wire::address(value.get(2..).unwrap_or_default())
}

/// Appends the entries of `RTA_MULTIPATH`; says whether one carries what srsync never sets.
fn read_multipath(mut list: &[u8], hops: &mut Vec<NextHop>) -> Result<bool, Malformed> {
    let mut extra = false;
    while !list.is_empty() {
        let length = usize::from(u16_at(list, 0)?);
        let (Some(&[flags, weight]), Some(inner)) = (
            list.get(2..).and_then(|rest| rest.first_chunk()),
            list.get(RTNEXTHOP..length),
        ) else {
            return Err(Malformed("a next hop is longer than its list"));
        };
        let mut hop = NextHop {
            via: None,
            link: Some(IfIndex::new(u32_at(list, 4)?)),
            weight: Weight::from_hops(weight),
            on_link: u32::from(flags) & RTNH_F_ONLINK != 0,
        };
        for attribute in attributes(inner) {
            match attribute? {
                (libc::RTA_GATEWAY, value) => hop.via = Some(wire::address(value)?),
                (libc::RTA_VIA, value) => hop.via = Some(read_via(value)?),
                _ => extra = true,
            }
        }
        hops.push(hop);
        list = list.get(wire::align(length)..).unwrap_or_default();
    }
    Ok(extra)
}

/// `RTA_METRICS`: what of it srsync sets, and whether there is more.
#[derive(Default)]
struct Metrics {
    mtu: Option<Mtu>,
    advmss: Option<AdvMss>,
    extra: bool,
}

impl Metrics {
    fn read(value: &[u8]) -> Result<Self, Malformed> {
        let mut metrics = Self::default();
        for attribute in attributes(value) {
            match attribute? {
                (RTAX_MTU, value) => metrics.mtu = Some(Mtu::new(u32_at(value, 0)?)),
                (RTAX_ADVMSS, value) => metrics.advmss = Some(AdvMss::new(u32_at(value, 0)?)),
                // RTAX_LOCK among them: `mtu lock 1400` is not `mtu 1400`.
                _ => metrics.extra = true,
            }
        }
        Ok(metrics)
    }
}

/// `AF_INET` or `AF_INET6`.
pub(super) fn family_number(family: Family) -> u8 {
    (match family {
        Family::V4 => libc::AF_INET,
        Family::V6 => libc::AF_INET6,
    }) as u8
}

fn type_number(kind: RouteType) -> u8 {
    match kind {
        RouteType::Unicast => libc::RTN_UNICAST,
        RouteType::Blackhole => libc::RTN_BLACKHOLE,
        RouteType::Unreachable => libc::RTN_UNREACHABLE,
        RouteType::Prohibit => libc::RTN_PROHIBIT,
        RouteType::Throw => libc::RTN_THROW,
        RouteType::Other(number) => number,
    }
}

pub(super) fn type_of(number: u8) -> RouteType {
    match number {
        libc::RTN_UNICAST => RouteType::Unicast,
        libc::RTN_BLACKHOLE => RouteType::Blackhole,
        libc::RTN_UNREACHABLE => RouteType::Unreachable,
        libc::RTN_PROHIBIT => RouteType::Prohibit,
        libc::RTN_THROW => RouteType::Throw,
        other => RouteType::Other(other),
    }
}

#[cfg(test)]
mod tests;
