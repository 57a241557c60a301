//! What the kernel tells is heard, who did it is named, and our own changes are no news.

use std::sync::Arc;

use srsync::kernel::Change::{Add, AddNextHop, Remove, ReplaceNextHop};
use srsync::kernel::{Events, Kernel, KernelEvent, RouteEvent};
use srsync::model::{
    Family, Metric, NextHopId, NextHopKind, Protocol, Route, RouteAttrs, RouteKey, RouteType,
    TableId,
};

use super::build::{OURS, link};
use crate::support::tables::{at_once, quiet, wait_for_links, wait_until};
use crate::support::{in_namespace, ip, ip_batch, sysctl, veth};

fn blackhole(prefix: &str) -> Route {
    Route {
        key: RouteKey::new(TableId::MAIN, prefix.parse().unwrap(), Metric::ZERO),
        attrs: Arc::new(RouteAttrs::without_hops(RouteType::Blackhole)),
    }
}

/// Events up to that of a route of protocol 99, which the test adds as a mark.
fn until_mark(events: &mut Events) -> Vec<KernelEvent> {
    let (mut heard, mark) = through_mark(events);
    heard.truncate(mark);
    heard.retain(|event| !is_mark(event));
    heard
}

fn is_mark(event: &KernelEvent) -> bool {
    matches!(event, KernelEvent::Route(route) if route.protocol == Protocol::new(99))
}

/// All events that were there with the mark, and the place of the mark among them.
fn through_mark(events: &mut Events) -> (Vec<KernelEvent>, usize) {
    ip("route add blackhole 203.0.113.255/32 proto 99");
    ip("route del blackhole 203.0.113.255/32 proto 99");
    let mut heard = Vec::new();
    loop {
        heard.extend(events.wait().unwrap());
        let last = heard.iter().rposition(is_mark);
        if let Some(last) =
            last.filter(|last| matches!(&heard[*last], KernelEvent::Route(r) if r.gone))
        {
            return (heard, last);
        }
    }
}

fn routes(heard: &[KernelEvent]) -> Vec<&RouteEvent> {
    let mut routes = Vec::new();
    for event in heard {
        if let KernelEvent::Route(route) = event {
            routes.push(route);
        }
    }
    routes
}

/// So many routes of ours, for `ip -batch`.
fn blackholes(count: u32) -> String {
    let line = |n| {
        format!(
            "route add blackhole 10.{}.{}.0/24 proto 83\n",
            n / 256,
            n % 256
        )
    };
    (0..count).map(line).collect()
}

/// Whoever did it has a name, or is gone.
#[track_caller]
fn is_named(by: Option<&str>) {
    let by = by.unwrap();
    assert!(
        by.starts_with("pid ") || by.contains("(netlink port "),
        "{by}"
    );
}

#[test]
fn others_are_heard_and_named_and_we_ourselves_are_not() {
    in_namespace(|| {
        let mut kernel = Kernel::open().unwrap();
        let mut events = Events::open(&kernel).unwrap();
        for (prefix, family) in [("192.0.2.0/24", "-4"), ("2001:db8::/64", "-6")] {
            let route = blackhole(prefix);
            assert_eq!(kernel.apply(OURS, &[Add(&route)]).unwrap(), []);
            assert_eq!(kernel.apply(OURS, &[Remove(&route)]).unwrap(), []);
            assert_eq!(
                routes(&until_mark(&mut events)),
                [] as [&RouteEvent; 0],
                "{family}"
            );

            assert_eq!(kernel.apply(OURS, &[Add(&route)]).unwrap(), []);
            ip(&format!("{family} route del blackhole {prefix} proto 83"));
            let heard = until_mark(&mut events);
            let [deleted] = routes(&heard)[..] else {
                panic!("{heard:#?}");
            };
            assert_eq!((deleted.key, deleted.protocol), (route.key, OURS));
            assert!(deleted.gone);
            is_named(deleted.by.as_deref());
        }
    });
}

/// What the kernel tells of the routes that move with an object carries the name of who moved it.
#[test]
fn who_changes_a_nexthop_object_is_named_and_we_ourselves_are_not_heard() {
    in_namespace(|| {
        quiet();
        veth("east", "west");
        let mut kernel = Kernel::open().unwrap();
        let mut events = Events::open(&kernel).unwrap();
        let id = NextHopId::new(7);
        let out_of_east = NextHopKind::Single {
            family: Family::V4,
            via: None,
            link: link("east"),
            on_link: false,
        };
        let mut by_object = blackhole("192.0.2.0/24");
        by_object.attrs = Arc::new(RouteAttrs::by_nexthop(id));
        let nowhere = NextHopKind::Blackhole { family: Family::V4 };
        let ours = [
            AddNextHop(id, &out_of_east),
            Add(&by_object),
            ReplaceNextHop(id, &nowhere),
        ];
        until_mark(&mut events);
        assert_eq!(kernel.apply(OURS, &ours).unwrap(), []);
        let heard = until_mark(&mut events);
        let of_ours = |event: &KernelEvent| match event {
            KernelEvent::NextHop(_) => true,
            KernelEvent::Route(route) => route.protocol == OURS,
            _ => false,
        };
        assert!(!heard.iter().any(of_ours), "{heard:#?}");

        ip("nexthop replace id 7 dev east proto 83");
        ip("nexthop del id 7");
        let mut heard = until_mark(&mut events);
        heard.retain(|event| matches!(event, KernelEvent::NextHop(_)));
        let [KernelEvent::NextHop(changed), KernelEvent::NextHop(removed)] = &heard[..] else {
            panic!("{heard:#?}");
        };
        assert!(!changed.gone && removed.gone);
        for event in [changed, removed] {
            assert_eq!((event.id, event.protocol), (id, OURS));
            is_named(event.by.as_deref());
        }
    });
}

/// A process that is still there when its message is read is named.
#[test]
fn the_command_of_a_culprit_is_named() {
    in_namespace(|| {
        quiet();
        let kernel = Kernel::open().unwrap();
        let mut events = Events::open(&kernel).unwrap();
        let batch = blackholes(20_000);
        let named = std::thread::scope(|scope| {
            let namespace = std::fs::File::open("/proc/thread-self/ns/net").unwrap();
            scope.spawn(move || {
                nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
                ip_batch(&batch);
            });
            loop {
                let heard = events.wait().unwrap();
                if let Some(first) = routes(&heard).first() {
                    break first.by.as_deref().unwrap().to_owned();
                }
            }
        });
        assert!(
            named.starts_with("pid ") && named.ends_with(" (ip)"),
            "{named}"
        );
    });
}

#[test]
fn links_addresses_and_rules_are_heard() {
    in_namespace(|| {
        at_once();
        let kernel = Kernel::open().unwrap();
        let mut events = Events::open(&kernel).unwrap();
        let mut each = |command: &str| {
            ip(command);
            // IPv6 addresses come from a work queue, a little later: it may be just behind the mark.
            wait_until(command, || {
                let (heard, _) = through_mark(&mut events);
                heard.contains(&KernelEvent::Node)
            });
        };
        each("link add name east type veth peer name west");
        each("link set east up");
        each("link set west up");
        each("addr add 10.0.0.1/24 dev east");
        each("addr add fd00::1/64 dev east nodad");
        each("rule add from 10.9.0.0/16 lookup 100");
        each("-6 rule add from fd09::/64 lookup 100");
        each("addr del 10.0.0.1/24 dev east");
        each("link set east down");
        each("link set east name north");
        each("link del north");
    });
}

/// Who turns forwarding off is heard at once, in both families.
#[test]
fn settings_of_interfaces_are_heard() {
    in_namespace(|| {
        quiet();
        veth("east", "west");
        let kernel = Kernel::open().unwrap();
        let mut events = Events::open(&kernel).unwrap();
        // What the links themselves bring comes a little later.
        wait_for_links();
        let settings = [
            ("ipv4/ip_forward", "1"),
            ("ipv4/conf/east/forwarding", "0"),
            ("ipv4/conf/east/rp_filter", "2"),
            ("ipv6/conf/all/forwarding", "1"),
            ("ipv6/conf/east/forwarding", "0"),
        ];
        until_mark(&mut events);
        for (setting, value) in settings {
            assert_eq!(until_mark(&mut events), [], "before {setting}");
            sysctl(setting, value);
            assert!(
                until_mark(&mut events).contains(&KernelEvent::Node),
                "{setting}"
            );
            sysctl(setting, value);
        }
    });
}

#[test]
fn connected_routes_are_told_from_others() {
    in_namespace(|| {
        quiet();
        veth("east", "west");
        let kernel = Kernel::open().unwrap();
        let mut events = Events::open(&kernel).unwrap();
        ip("addr add 10.0.0.1/24 dev east");
        ip("route add 10.5.0.0/16 via 10.0.0.2 proto 17");
        let heard = until_mark(&mut events);
        let routes = routes(&heard);
        let of = |prefix: &str| {
            let prefix = prefix.parse().unwrap();
            routes
                .iter()
                .find(|route| route.key.prefix == prefix)
                .unwrap()
        };
        assert!(of("10.0.0.0/24").direct);
        assert!(!of("10.5.0.0/16").direct);
    });
}

/// Nobody listens for a while, as when the machine is busy: the loss is told, then all is as usual.
#[test]
fn an_overflow_is_told() {
    in_namespace(|| {
        let kernel = Kernel::open().unwrap();
        let mut events = Events::open(&kernel).unwrap();
        let batch = blackholes(60_000);
        ip_batch(&batch);
        assert_eq!(events.wait().unwrap().last(), Some(&KernelEvent::Overflow));
        // Nothing is dropped any more by then.
        ip("link add name east type veth peer name west");
        assert!(until_mark(&mut events).contains(&KernelEvent::Node));
    });
}
