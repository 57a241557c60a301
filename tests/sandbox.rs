//! `kernel::sandbox` in a process with one thread.
//!
//! A user namespace can be entered by a single-threaded process only, and the usual test harness
//! runs every test on a thread; hence the small harness of our own at the end of this file.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    dead_code,
    unreachable_pub,
    reason = "a test fails by panicking, and its helpers are for all test binaries"
)]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use srsync::kernel::sandbox::{SandboxError, Sandboxed, enter, populate};
use srsync::kernel::{Change, Interest, Kernel, NextHops, Tables};
use srsync::model::{
    Address, IfIndex, Link, Metric, NextHop, Observed, ObservedRoute, Protocol, Route, RouteAttrs,
    RouteKey, RouteType, Scope, TableId, Weight,
};
use support::ip;

mod support;

const TESTS: [(&str, fn()); 6] = [
    ("root_of_its_own_namespace", root_of_its_own_namespace),
    ("threads_are_refused", threads_are_refused),
    (
        "settings_that_forbid_it_are_named",
        settings_that_forbid_it_are_named,
    ),
    ("a_scene_is_rebuilt", a_scene_is_rebuilt),
    ("fifty_links", fifty_links),
    ("what_cannot_be_made_is_named", what_cannot_be_made_is_named),
];

fn everything() -> Interest {
    Interest {
        nexthops: NextHops::Ignored,
        protocol: Protocol::SRSYNC,
        tables: Tables::Only(BTreeSet::from([TableId::MAIN, TableId::new(1000)])),
        lookups: BTreeSet::new(),
    }
}

fn root_of_its_own_namespace() {
    assert_eq!(enter().unwrap(), Sandboxed::UserAndNetwork);
    let links = ip("-o link show up");
    assert!(
        links.contains("lo:") && links.lines().count() == 1,
        "{links}"
    );
    assert!(nix::unistd::geteuid().is_root());
    let blackhole = blackhole("192.0.2.0/24");
    let mut kernel = Kernel::open().unwrap();
    assert_eq!(
        kernel
            .apply(Protocol::SRSYNC, &[Change::Add(&blackhole)])
            .unwrap(),
        []
    );
}

fn threads_are_refused() {
    std::thread::scope(|scope| {
        let entered = scope.spawn(enter).join().unwrap();
        assert!(matches!(entered, Err(SandboxError::Threads)), "{entered:?}");
    });
}

/// The limits below /proc/sys/user are the user namespace's own, so that one inside another shows
/// what a machine with such settings does.
fn settings_that_forbid_it_are_named() {
    enter().unwrap();
    std::fs::write("/proc/sys/user/max_user_namespaces", "0").unwrap();
    assert_eq!(enter().unwrap(), Sandboxed::NetworkOnly);
    std::fs::write("/proc/sys/user/max_net_namespaces", "0").unwrap();
    let Err(SandboxError::Forbidden { reasons, .. }) = enter() else {
        panic!("entered");
    };
    let text = reasons.join("; ");
    assert!(text.contains("user.max_user_namespaces is 0"), "{text}");
    assert!(text.contains("user.max_net_namespaces is 0"), "{text}");
}

fn blackhole(prefix: &str) -> Route {
    Route {
        key: RouteKey::new(TableId::MAIN, prefix.parse().unwrap(), Metric::new(5)),
        attrs: Arc::new(RouteAttrs::without_hops(RouteType::Blackhole)),
    }
}

fn link(index: u32, name: &str) -> Link {
    Link {
        index: IfIndex::new(index),
        name: name.to_owned(),
        up: true,
        carrier: true,
        loopback: name == "lo",
    }
}

fn address(link: u32, local: &str, length: u8, peer: Option<&str>) -> Address {
    Address {
        link: IfIndex::new(link),
        local: local.parse().unwrap(),
        length,
        peer: peer.map(|peer| peer.parse().unwrap()),
    }
}

struct Way<'a> {
    via: Option<&'a str>,
    link: u32,
}

fn observed(key: (&str, u32, u32), way: &Way<'_>, protocol: u8, scope: Scope) -> ObservedRoute {
    let (prefix, table, metric) = key;
    let hop = NextHop {
        via: way.via.map(|via| via.parse::<IpAddr>().unwrap()),
        link: Some(IfIndex::new(way.link)),
        weight: Weight::ONE,
        on_link: false,
    };
    ObservedRoute {
        route: Route {
            key: RouteKey::new(
                TableId::new(table),
                prefix.parse().unwrap(),
                Metric::new(metric),
            ),
            attrs: Arc::new(RouteAttrs::unicast(vec![hop])),
        },
        protocol: Protocol::new(protocol),
        scope,
    }
}

/// A node as a network manager leaves it: numbers with gaps, a connected subnet with a metric of
/// its own, a default route from DHCP, a link without carrier and one that is down.
fn scene() -> Observed {
    let mut no_carrier = link(9, "wan1");
    no_carrier.carrier = false;
    let mut down = link(3, "spare0");
    (down.up, down.carrier) = (false, false);
    let mut connected = observed(
        ("10.0.0.0/24", 254, 100),
        &Way { via: None, link: 7 },
        2,
        Scope::LINK,
    );
    let mut attrs = RouteAttrs::clone(&connected.route.attrs);
    attrs.source = Some("10.0.0.1".parse().unwrap());
    connected.route.attrs = Arc::new(attrs);
    let via = |via, link| Way {
        via: Some(via),
        link,
    };
    Observed {
        links: vec![link(1, "lo"), down, link(7, "eth0"), no_carrier],
        addresses: vec![
            address(1, "127.0.0.1", 8, None),
            address(1, "::1", 128, None),
            address(7, "10.0.0.1", 24, None),
            address(7, "fd00::1", 64, None),
            address(9, "10.5.0.1", 32, Some("10.5.0.2")),
        ],
        routes: vec![
            // In an order that cannot work: the first needs the second.
            observed(
                ("198.51.100.0/24", 1000, 0),
                &via("10.9.9.9", 7),
                83,
                Scope::UNIVERSE,
            ),
            observed(
                ("10.9.9.9/32", 254, 0),
                &Way { via: None, link: 7 },
                4,
                Scope::LINK,
            ),
            observed(
                ("0.0.0.0/0", 254, 100),
                &via("10.0.0.254", 7),
                16,
                Scope::UNIVERSE,
            ),
            observed(
                ("2001:db8::/32", 254, 10),
                &via("fd00::2", 7),
                12,
                Scope::UNIVERSE,
            ),
            connected,
            ObservedRoute {
                route: blackhole("192.0.2.0/24"),
                protocol: Protocol::SRSYNC,
                scope: Scope::UNIVERSE,
            },
        ],
        ..Observed::default()
    }
}

fn a_scene_is_rebuilt() {
    enter().unwrap();
    let mut kernel = Kernel::open().unwrap();
    let scene = scene();
    assert_eq!(
        populate(&mut kernel, &scene, Protocol::SRSYNC).unwrap(),
        [] as [String; 0]
    );
    let seen = kernel.observe(&everything()).unwrap();
    for link in &scene.links {
        assert_eq!(seen.link(link.index), Some(link));
    }
    for address in &scene.addresses {
        assert!(
            seen.addresses.contains(address),
            "{address:?} in {:?}",
            seen.addresses
        );
    }
    for route in &scene.routes {
        assert!(
            seen.routes.contains(route),
            "{route:?}\n{}",
            ip("route show table all")
        );
    }
    let text = ip("-4 route show");
    let connected = text
        .lines()
        .filter(|line| line.starts_with("10.0.0.0/24"))
        .count();
    assert_eq!(
        connected, 1,
        "without the metric it should not be there: {text}"
    );
}

fn fifty_links() {
    enter().unwrap();
    let links: Vec<Link> = (2..52).map(|n| link(n, &format!("eth{n}"))).collect();
    let addresses = (2..52).map(|n| address(n, &format!("10.{n}.0.1"), 24, None));
    let scene = Observed {
        addresses: addresses.collect(),
        links,
        ..Observed::default()
    };
    let mut kernel = Kernel::open().unwrap();
    assert_eq!(
        populate(&mut kernel, &scene, Protocol::SRSYNC).unwrap(),
        [] as [String; 0]
    );
    let seen = kernel.observe(&everything()).unwrap();
    for link in &scene.links {
        assert_eq!(seen.link(link.index), Some(link));
    }
}

fn what_cannot_be_made_is_named() {
    enter().unwrap();
    let nowhere = Way {
        via: Some("203.0.113.1"),
        link: 1,
    };
    // Number 1 is taken by `lo` here.
    let scene = Observed {
        links: vec![link(1, "odd0")],
        addresses: vec![address(1, "10.0.0.1", 24, None)],
        routes: vec![
            observed(("198.18.0.0/15", 254, 0), &nowhere, 4, Scope::UNIVERSE),
            observed(
                ("10.0.0.0/24", 254, 0),
                &Way { via: None, link: 1 },
                4,
                Scope::LINK,
            ),
        ],
        ..Observed::default()
    };
    let mut kernel = Kernel::open().unwrap();
    let warnings = populate(&mut kernel, &scene, Protocol::SRSYNC).unwrap();
    assert_eq!(
        warnings,
        ["route 198.18.0.0/15 in table 254: \
          Nexthop has invalid gateway (ENETUNREACH: Network is unreachable)"]
    );
    let seen = kernel.observe(&everything()).unwrap();
    let odd = seen.link_named("odd0").unwrap().index;
    assert_ne!(odd, IfIndex::new(1));
    assert!(seen.addresses.iter().any(|address| address.link == odd));
}

/// Runs tests as `cargo nextest` asks for them (`--list`, `--exact NAME`), or each in a process of
/// its own as `cargo test` expects.
fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    if has("--list") {
        // None of them is ignored.
        for (name, _) in TESTS.iter().filter(|_| !has("--ignored")) {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    if has("--exact") {
        TESTS
            .iter()
            .filter(|(name, _)| has(name))
            .for_each(|(_, test)| test());
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let chosen = |name: &str| filters.is_empty() || filters.iter().any(|f| name.contains(*f));
    let mut failed = 0;
    for (name, _) in TESTS.iter().filter(|(name, _)| chosen(name)) {
        let mut child = Command::new(std::env::current_exe().unwrap());
        let passed = child.args(["--exact", name]).status().unwrap().success();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += i32::from(!passed);
    }
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
