//! Making a namespace look like a node that was observed, for a rehearsal.
//!
//! Owns the stand-ins: a veth pair for every link, since other kinds need their hardware or their
//! module. Only ever called in a namespace of its own; must not be used on a real node.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use nix::errno::Errno;
use nix::libc;

use super::apply::{ANY_SCOPE, Batch};
use super::error::KernelError;
use super::route::Request;
use super::{Change, Failure, Interest, Kernel, NextHops, Tables};
use crate::model::egress::{FibRule, NatObserved, NatTable};
use crate::model::{
    Address, IfIndex, Link, NextHop, Observed, ObservedRoute, Prefix, Protocol, Route, RouteAttrs,
    TableId,
};

/// How long is waited each time for what the kernel does a moment later.
const PAUSE: Duration = Duration::from_millis(10);

/// Makes the links, addresses, routes, settings and rules of `scene`, and the nftables table of `owner`, in the namespace
/// of `kernel`, which has nothing but `lo`. Returns what could not be made and why, one line each.
pub fn populate(
    kernel: &mut Kernel,
    scene: &Observed,
    owner: Protocol,
) -> Result<Vec<String>, KernelError> {
    quiet_ipv6();
    let links: Vec<&Link> = scene.links.iter().filter(|link| !link.loopback).collect();
    let mut warnings = make_links(kernel, &links)?;
    let here = Places::find(kernel, scene)?;
    warnings.extend(make_addresses(kernel, scene, &here)?);
    await_addresses(kernel, scene)?;
    warnings.extend(make_routes(kernel, scene, &here)?);
    warnings.extend(make_settings(kernel, scene));
    warnings.extend(make_rules(kernel, scene)?);
    if let NatObserved::Present { rules, .. } = &scene.egress.nat {
        let refused = kernel.set_nat(&NatTable::of(owner), rules)?.err();
        warnings.extend(refused.map(|refusal| format!("nftables table: {refusal}")));
    }
    Ok(warnings)
}

/// The settings of the scene. Each that differs: what is for all interfaces comes first and overwrites the others.
fn make_settings(kernel: &mut Kernel, scene: &Observed) -> Vec<String> {
    let settings = &scene.egress.sysctls;
    let mut warnings = Vec::new();
    for (key, value) in &settings.values {
        if kernel.sysctl(key).is_some_and(|now| now != *value) {
            warnings.extend(kernel.write_sysctl(key, *value).err());
        }
    }
    warnings.extend(kernel.remember_sysctls(&settings.remembered).err());
    warnings
}

/// The rules of the scene, but for those that the kernel makes itself.
fn make_rules(kernel: &mut Kernel, scene: &Observed) -> Result<Vec<String>, KernelError> {
    let mut warnings = Vec::new();
    let mut owners: BTreeMap<Protocol, Vec<&FibRule>> = BTreeMap::new();
    for there in &scene.egress.rules {
        match there.extra {
            true => warnings.push(format!(
                "rule {}: it has more to it than a snapshot says",
                there.rule
            )),
            false if there.protocol == Protocol::KERNEL => {}
            false => owners.entry(there.protocol).or_default().push(&there.rule),
        }
    }
    for (owner, rules) in owners {
        let changes: Vec<Change<'_>> = rules.iter().map(|rule| Change::AddRule(rule)).collect();
        let failures = kernel.apply(owner, &changes)?;
        warnings.extend(describe(&failures, |place| {
            rules.get(place).map(|rule| format!("rule {rule}"))
        }));
    }
    Ok(warnings)
}

/// Sets `lo` up.
pub(super) fn loopback_up(kernel: &mut Kernel) -> Result<(), KernelError> {
    let mut batch = Batch::new(&mut kernel.netlink);
    batch.push_message(0, libc::RTM_NEWLINK, 0, &up("lo"))?;
    match batch.finish()?.pop() {
        Some(failure) => Err(KernelError::Dump {
            what: "loopback interface",
            source: failure.error,
        }),
        None => Ok(()),
    }
}

/// Keeps the stand-ins from giving themselves addresses and asking for routers: the scene has its
/// own. Only noise if it fails, so failure is no matter.
fn quiet_ipv6() {
    let settings = [
        ("addr_gen_mode", "1"),
        ("accept_ra", "0"),
        ("router_solicitations", "0"),
        ("accept_dad", "0"),
    ];
    for (name, value) in settings {
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/default/{name}"), value);
    }
}

/// The links, each with a peer that keeps its line alive if the scene's is.
fn make_links(kernel: &mut Kernel, links: &[&Link]) -> Result<Vec<String>, KernelError> {
    let mut batch = Batch::new(&mut kernel.netlink);
    let create = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    let highest = links.iter().map(|link| link.index.get()).max();
    for (place, link) in links.iter().enumerate() {
        // Left to itself the kernel would give the peer a number that a later link wants.
        let peer = highest.unwrap_or(0) + 1 + place as u32;
        let message = pair(link, link.index.get(), peer);
        batch.push_message(place, libc::RTM_NEWLINK, create, &message)?;
    }
    let taken = batch.finish()?;
    let mut batch = Batch::new(&mut kernel.netlink);
    for failure in &taken {
        if let Some(link) = links.get(failure.index) {
            batch.push_message(failure.index, libc::RTM_NEWLINK, create, &pair(link, 0, 0))?;
        }
    }
    let mut failures = batch.finish()?;
    let mut batch = Batch::new(&mut kernel.netlink);
    for (place, link) in links.iter().enumerate() {
        if link.carrier {
            batch.push_message(place, libc::RTM_NEWLINK, 0, &up(&peer_name(link)))?;
        }
        if link.up {
            batch.push_message(place, libc::RTM_NEWLINK, 0, &up(&link.name))?;
        }
    }
    failures.extend(batch.finish()?);
    Ok(describe(&failures, |place| {
        links.get(place).map(|link| format!("link {}", link.name))
    }))
}

/// What failed, once for each thing, in words.
fn describe(failures: &[Failure], name: impl Fn(usize) -> Option<String>) -> Vec<String> {
    let first: BTreeMap<usize, &Failure> = failures.iter().rev().map(|f| (f.index, f)).collect();
    first
        .values()
        .filter_map(|failure| Some(format!("{}: {}", name(failure.index)?, failure.error)))
        .collect()
}

/// Not a name that anybody gives to a link.
fn peer_name(link: &Link) -> String {
    format!("~{}", link.index)
}

/// The request for a veth pair with these indices, 0 for any.
fn pair(link: &Link, index: u32, peer_index: u32) -> LinkMessage {
    let mut peer = LinkMessage::default();
    peer.header.index = peer_index;
    peer.attributes.push(LinkAttribute::IfName(peer_name(link)));
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = vec![
        LinkAttribute::IfName(link.name.clone()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ];
    message
}

/// The request to set the link of this name up.
fn up(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message
        .attributes
        .push(LinkAttribute::IfName(name.to_owned()));
    message
}

/// Which number each link of the scene has here: its own, unless that was taken.
struct Places(BTreeMap<IfIndex, IfIndex>);

impl Places {
    fn find(kernel: &mut Kernel, scene: &Observed) -> Result<Self, KernelError> {
        let here = kernel.observe(&interest(&[]))?;
        let loopback = here.links.iter().find(|link| link.loopback);
        let place = |link: &Link| {
            let stand_in = match link.loopback {
                true => loopback,
                false => here.link_named(&link.name),
            };
            Some((link.index, stand_in?.index))
        };
        Ok(Self(scene.links.iter().filter_map(place).collect()))
    }

    fn of(&self, link: IfIndex) -> IfIndex {
        self.0.get(&link).copied().unwrap_or(link)
    }

    /// The route by way of the links here.
    fn route(&self, route: &Route) -> Route {
        let moved = |hop: &NextHop| NextHop {
            link: hop.link.map(|link| self.of(link)),
            ..*hop
        };
        let old = &route.attrs;
        let mut attrs = RouteAttrs::unicast(old.hops().iter().map(moved).collect());
        attrs.kind = old.kind;
        attrs.source = old.source;
        attrs.mtu = old.mtu;
        attrs.advmss = old.advmss;
        attrs.extra = old.extra;
        Route {
            key: route.key,
            attrs: Arc::new(attrs),
        }
    }
}

/// An interest in everything in some tables.
fn interest(routes: &[ObservedRoute]) -> Interest {
    Interest {
        nexthops: NextHops::Ignored,
        protocol: Protocol::KERNEL,
        tables: Tables::Only(routes.iter().map(|route| route.route.key.table).collect()),
        lookups: BTreeSet::new(),
    }
}

fn make_addresses(
    kernel: &mut Kernel,
    scene: &Observed,
    here: &Places,
) -> Result<Vec<String>, KernelError> {
    let mut batch = Batch::new(&mut kernel.netlink);
    // Those of `lo` are there already; replacing an address with itself is no error.
    let flags = libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
    for (place, address) in scene.addresses.iter().enumerate() {
        let message = address_message(address, here.of(address.link));
        batch.push_message(place, libc::RTM_NEWADDR, flags, &message)?;
    }
    let failures = batch.finish()?;
    Ok(describe(&failures, |place| {
        let address = scene.addresses.get(place)?;
        Some(format!("address {}/{}", address.local, address.length))
    }))
}

/// Waits until the addresses have brought their routes. IPv6 does that a moment later, in a work
/// queue (`addrconf_dad_work`, net/ipv6/addrconf.c): first the address itself in the local table,
/// then the way to its peer (`__ipv6_ifa_notify`). What has not come after a second will not come.
fn await_addresses(kernel: &mut Kernel, scene: &Observed) -> Result<(), KernelError> {
    let alive = |address: &&Address| {
        let link = scene.link(address.link);
        address.local.is_ipv6() && link.is_some_and(|link| link.up && link.carrier)
    };
    let awaited: BTreeSet<(TableId, Prefix)> = scene
        .addresses
        .iter()
        .filter(alive)
        .flat_map(|address| {
            let peer = address
                .peer
                .and_then(|peer| Prefix::containing(peer, address.length));
            let itself = (TableId::LOCAL, Prefix::host(address.local));
            [Some(itself), peer.map(|peer| (TableId::MAIN, peer))]
        })
        .flatten()
        .collect();
    let everywhere = Interest {
        nexthops: NextHops::Ignored,
        protocol: Protocol::KERNEL,
        tables: Tables::Only(BTreeSet::from([TableId::LOCAL, TableId::MAIN])),
        lookups: BTreeSet::new(),
    };
    for _ in 0..100 {
        let routes = kernel.observe(&everywhere)?.routes;
        let there: BTreeSet<(TableId, Prefix)> = routes
            .iter()
            .map(|route| (route.route.key.table, route.route.key.prefix))
            .collect();
        if awaited.is_subset(&there) {
            break;
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

fn address_message(address: &Address, link: IfIndex) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = link.get();
    message.header.prefix_len = address.length;
    match address.local {
        IpAddr::V4(_) => message.header.family = AddressFamily::Inet,
        IpAddr::V6(_) => {
            message.header.family = AddressFamily::Inet6;
            // Usable at once: nobody else is here who could have it.
            message.header.flags = AddressHeaderFlags::Nodad;
        }
    }
    message.attributes = vec![
        AddressAttribute::Local(address.local),
        AddressAttribute::Address(address.peer.unwrap_or(address.local)),
    ];
    message
}

/// The routes of the scene that the addresses did not bring, and none that they brought too much:
/// a network manager gives connected subnets metrics of its own.
fn make_routes(
    kernel: &mut Kernel,
    scene: &Observed,
    here: &Places,
) -> Result<Vec<String>, KernelError> {
    let wanted: Vec<ObservedRoute> = scene
        .routes
        .iter()
        .map(|route| ObservedRoute {
            route: here.route(&route.route),
            ..route.clone()
        })
        .collect();
    let present = kernel.observe(&interest(&wanted))?.routes;
    remove_surplus(kernel, &wanted, &present)?;
    let mut missing: Vec<&ObservedRoute> = wanted
        .iter()
        .filter(|route| !present.contains(route))
        .collect();
    // A gateway must be reachable when its route is made; some are so by other routes with
    // gateways, so that it takes several rounds. An IPv6 address can be the source of a route a
    // moment after it was added only (a work queue, `addrconf_dad_work`), hence the pauses.
    let mut pauses = 5;
    missing.sort_by_key(|route| route.route.attrs.hops().iter().any(|hop| hop.via.is_some()));
    loop {
        let failures = install(kernel, &missing)?;
        let stuck = failures.len() == missing.len();
        if stuck && pauses > 0 && !failures.is_empty() {
            pauses -= 1;
            thread::sleep(PAUSE);
        } else if stuck || failures.is_empty() {
            return Ok(describe(&failures, |place| {
                let key = missing.get(place)?.route.key;
                Some(format!("route {} in table {}", key.prefix, key.table))
            }));
        }
        let again = |failure: &Failure| missing.get(failure.index).copied();
        missing = failures.iter().filter_map(again).collect();
    }
}

fn remove_surplus(
    kernel: &mut Kernel,
    wanted: &[ObservedRoute],
    present: &[ObservedRoute],
) -> Result<(), KernelError> {
    let connected = |route: &&ObservedRoute| {
        route.protocol == Protocol::KERNEL && route.route.key.table == TableId::MAIN
    };
    // A scene without any connected route of a family did not look at them.
    let looked = |family| {
        let of_family = |route: &&ObservedRoute| route.route.key.prefix.family() == family;
        wanted
            .iter()
            .filter(connected)
            .any(|route| of_family(&route))
    };
    let surplus = present
        .iter()
        .filter(connected)
        .filter(|route| !wanted.contains(route) && looked(route.route.key.prefix.family()));
    let mut batch = Batch::new(&mut kernel.netlink);
    for (place, route) in surplus.enumerate() {
        let request = Request {
            kind: libc::RTM_DELROUTE,
            flags: 0,
            scope: ANY_SCOPE,
            ..installation(route)
        };
        batch.push(place, &request)?;
    }
    batch.finish()?;
    Ok(())
}

fn install(kernel: &mut Kernel, routes: &[&ObservedRoute]) -> Result<Vec<Failure>, KernelError> {
    let mut batch = Batch::new(&mut kernel.netlink);
    for (place, route) in routes.iter().enumerate() {
        batch.push(place, &installation(route))?;
    }
    let mut failures = batch.finish()?;
    // When appending, EEXIST says that just this route is there: the kernel made it meanwhile.
    failures.retain(|failure| !failure.error.is(Errno::EEXIST));
    failures.sort_by_key(|failure| failure.index);
    Ok(failures)
}

fn installation(route: &ObservedRoute) -> Request<'_> {
    Request {
        kind: libc::RTM_NEWROUTE,
        flags: libc::NLM_F_CREATE | libc::NLM_F_APPEND,
        route: &route.route,
        hops: route.route.attrs.hops(),
        protocol: route.protocol,
        scope: route.scope,
    }
}
