//! Every attribute of a document, by way of the real program, read back with `ip`.

use serde_json::{Value, json};

use crate::support::program::Srsync;
use crate::support::tables::{count, foreign, quiet, routes, wait_for_links};
use crate::support::{east_and_west, in_namespace, ip, veth};

/// What a node and its documents are called in each family.
struct Net {
    family: &'static str,
    prefix: &'static str,
    /// Gateways on the subnets of `east` (twice) and `west`, and one on none.
    one: &'static str,
    two: &'static str,
    west: &'static str,
    off: &'static str,
    /// This node's second address on `east`.
    source: &'static str,
    /// What the kernel has where no metric is given.
    metric: u32,
}

const V4: Net = Net {
    family: "-4",
    prefix: "198.51.100.0/24",
    one: "10.0.1.2",
    two: "10.0.1.3",
    west: "10.0.2.2",
    off: "10.7.7.7",
    source: "10.0.1.99",
    metric: 0,
};
const V6: Net = Net {
    family: "-6",
    prefix: "2001:db8:f::/64",
    one: "fd00:1::2",
    two: "fd00:1::3",
    west: "fd00:2::2",
    off: "fd07::7",
    source: "fd00:1::99",
    metric: 1024,
};

fn in_both_families(test: impl Fn(&Srsync<'_>, &Net) + Send + Sync) {
    for net in [V4, V6] {
        in_namespace(|| {
            quiet();
            east_and_west();
            ip("addr add 10.0.1.99/24 dev east");
            ip("addr add fd00:1::99/64 dev east nodad");
            wait_for_links();
            test(&Srsync::here(), &net);
        });
    }
}

/// A spec, and what `ip -j -d` must say of its route: every attribute but for flags and those of
/// the kernel's own making.
fn every_attribute(net: &Net) -> Vec<(String, Value)> {
    let Net {
        one,
        two,
        west,
        off,
        source,
        ..
    } = net;
    let hop = |gateway: &str, link: &str| json!({"gateway": gateway, "dev": link});
    let weighing = |gateway: &str, link: &str, weight: u32| json!({"gateway": gateway, "dev": link, "weight": weight, "flags": []});
    let gateways = |list: &str| format!("mode: ecmp, gateways: [{list}]");
    let via_one = format!("gateway: '{one}'");
    let with = |base: &Value, name: &str, value: Value| {
        let mut base = base.clone();
        base[name] = value;
        base
    };
    let mut all = vec![
        (via_one.clone(), hop(one, "east")),
        (
            format!("gateways: [{{address: '{west}'}}]"),
            hop(west, "west"),
        ),
        (
            format!("gateways: [{{address: '{two}', interface: east}}]"),
            hop(two, "east"),
        ),
        ("interface: west".to_owned(), json!({"dev": "west"})),
        (
            format!("gateways: [{{address: '{off}', interface: west, onLink: true}}]"),
            with(&hop(off, "west"), "flags", json!(["onlink"])),
        ),
        (
            gateways(&format!("{{address: '{one}'}}, {{address: '{west}'}}")),
            json!({"nexthops": [weighing(one, "east", 1), weighing(west, "west", 1)]}),
        ),
        (
            gateways(&format!(
                "{{address: '{one}', weight: 256}}, {{address: '{two}', weight: 1}}, \
                 {{address: '{west}', weight: 7}}"
            )),
            json!({"nexthops": [
                weighing(one, "east", 256), weighing(two, "east", 1), weighing(west, "west", 7),
            ]}),
        ),
        (
            // One that cannot be used is passed over.
            format!("gateways: [{{address: '{off}'}}, {{address: '{two}'}}]"),
            hop(two, "east"),
        ),
        (format!("gatewayLookup: '{one}'"), hop(one, "east")),
    ];
    for kind in ["blackhole", "unreachable", "prohibit", "throw"] {
        all.push((format!("type: {kind}"), json!({"type": kind})));
    }
    for (attribute, name, value) in [
        ("table: 100000", "table", json!("100000")),
        ("table: default", "table", json!("default")),
        ("metric: 77", "metric", json!(77)),
        ("metric: 4294967295", "metric", json!(4_294_967_295_u32)),
        ("mtu: 1400", "metrics", json!([{"mtu": 1400}])),
        ("advmss: 1300", "metrics", json!([{"advmss": 1300}])),
        (
            "mtu: 1400, advmss: 1300",
            "metrics",
            json!([{"mtu": 1400, "advmss": 1300}]),
        ),
    ] {
        let expected = with(&hop(one, "east"), name, value);
        all.push((format!("{via_one}, {attribute}"), expected));
    }
    all.push((
        format!("{via_one}, source: '{source}'"),
        with(&hop(one, "east"), "prefsrc", json!(source)),
    ));
    all
}

/// The one route of ours in the family, without what every route has.
fn read_back(net: &Net) -> Value {
    let ours = routes(net.family, "proto 83");
    let [only] = ours.as_slice() else {
        panic!("{ours:#?}");
    };
    let mut route = only.clone();
    let fields = route.as_object_mut().unwrap();
    assert_eq!(fields.remove("dst").unwrap(), net.prefix);
    fields.remove("scope");
    fields.remove("pref");
    if fields["table"] == "main" {
        fields.remove("table");
    }
    if fields["type"] == "unicast" {
        fields.remove("type");
    } else if net.family == "-6" {
        // The kernel's stand-in for "nowhere".
        assert_eq!(fields.remove("dev").unwrap(), "lo");
    }
    if fields
        .get("metric")
        .is_none_or(|metric| metric == net.metric)
    {
        fields.remove("metric");
    }
    if fields.get("flags").is_some_and(|flags| *flags == json!([])) {
        fields.remove("flags");
    }
    route
}

fn spec(net: &Net, rest: &str) -> String {
    format!("destinations: ['{}'], {rest}", net.prefix)
}

#[track_caller]
fn assert_reads_back(net: &Net, rest: &str, expected: &Value) {
    let mut seen = read_back(net);
    let mut expected = expected.clone();
    for route in [&mut seen, &mut expected] {
        if let Some(hops) = route["nexthops"].as_array_mut() {
            hops.sort_by_key(Value::to_string);
        } else {
            // Indexing made it.
            route.as_object_mut().unwrap().remove("nexthops");
        }
    }
    assert_eq!(seen, expected, "{rest}");
}

#[test]
fn every_attribute_is_in_the_kernel_as_written_and_a_second_apply_does_nothing() {
    in_both_families(|srsync, net| {
        for (rest, expected) in every_attribute(net) {
            srsync.document("far", &spec(net, &rest));
            assert_eq!(srsync.converge().count("add"), 1, "{rest}");
            assert_reads_back(net, &rest, &expected);
            let again = srsync.apply().exits(0);
            assert_eq!(again.count("keep"), 1, "{rest}: {}", again.stdout);
            srsync.run("flush --yes").exits(0);
            assert_eq!(count("proto 83"), 0, "{rest}");
        }
    });
}

#[test]
fn from_every_attribute_to_every_other() {
    in_both_families(|srsync, net| {
        let all = every_attribute(net);
        let before = foreign();
        // Each after each other one would be hundreds of runs; one round forwards and one in steps
        // of five meet every kind of change.
        let order = (0..all.len()).chain((0..all.len()).map(|n| n * 5 % all.len()));
        for (rest, expected) in order.map(|n| &all[n]) {
            srsync.document("far", &spec(net, rest));
            srsync.converge();
            assert_reads_back(net, rest, expected);
        }
        assert_eq!(foreign(), before);
    });
}

/// The broadcast address of a subnet, and an address of one that somebody sends elsewhere, look
/// like neighbours to everybody but the kernel.
#[test]
fn what_the_kernel_refuses_is_told_in_its_words_and_the_rest_is_in_place() {
    in_both_families(|srsync, net| {
        srsync.document("good", &spec(net, &format!("gateway: '{}'", net.one)));
        let (bad, words) = match net.family {
            "-4" => ("10.0.1.255", "Nexthop has invalid gateway"),
            _ => ("'fd00:1::66'", "EHOSTUNREACH: No route to host"),
        };
        ip("-6 route add fd00:1::66 via fd00:1::2 dev east proto static");
        let prefixes = ["203.0.113.0/24", "2001:db8:bad::/48"];
        let prefix = prefixes[usize::from(net.family == "-6")];
        let bad = format!("destinations: ['{prefix}'], gateway: {bad}");
        srsync.document("bad", &bad);
        for _ in 0..2 {
            let run = srsync.apply().exits(4);
            let state = run.state(prefix);
            assert!(state.starts_with("Failed: the kernel says: "), "{state}");
            assert!(state.contains(words), "{state}");
            assert_eq!(run.state(net.prefix), "Installed");
            assert_eq!(count("proto 83"), 1);
            // It is asked for again every time: the kernel may think better of it.
            srsync.plan().exits(3);
        }
        let text = srsync.on_directory("apply").exits(4).stdout;
        assert!(text.contains(words), "{text}");
        srsync.without("bad");
        srsync.converge();
    });
}

#[test]
fn a_route_waits_for_its_link() {
    in_both_families(|srsync, net| {
        srsync.document("far", &spec(net, &format!("gateway: '{}'", net.west)));
        srsync.document(
            "direct",
            "destinations: [203.0.113.0/24, '2001:db8:d::/48'], interface: west",
        );
        srsync.converge();
        ip("link set west down");
        let run = srsync.apply().exits(4);
        for prefix in [net.prefix, "203.0.113.0/24", "2001:db8:d::/48"] {
            let state = run.state(prefix);
            assert!(state.starts_with("Pending: "), "{state}");
        }
        let direct = run.state("203.0.113.0/24");
        assert!(direct.contains("link west is down"), "{direct}");
        assert_eq!(count("proto 83"), 0);
        srsync.plan().exits(0);
        ip("link set west up");
        // The address of IPv6 went with the link.
        ip("addr replace fd00:2::1/64 dev west nodad");
        wait_for_links();
        let run = srsync.converge();
        assert_eq!(run.state(net.prefix), "Installed");
        assert_eq!(count("proto 83"), 3);
    });
}

#[test]
fn a_link_that_is_not_there_yet_and_one_that_is_made_anew() {
    in_both_families(|srsync, net| {
        srsync.document("far", &spec(net, "interface: late"));
        let state = srsync.apply().exits(4).state(net.prefix);
        assert!(state.contains("there is no interface late"), "{state}");
        for _ in 0..2 {
            veth("late", "late-peer");
            wait_for_links();
            srsync.converge();
            assert_reads_back(net, "late", &json!({"dev": "late"}));
            ip("link del late");
            assert_eq!(count("proto 83"), 0);
            srsync.apply().exits(4);
        }
    });
}

#[test]
fn what_somebody_does_to_ours_is_repaired() {
    in_both_families(|srsync, net| {
        let Net {
            family,
            prefix,
            one,
            two,
            ..
        } = net;
        let original = spec(net, &format!("gateway: '{one}', metric: 50, mtu: 1400"));
        srsync.document("far", &original);
        srsync.converge();
        let intact = routes(family, "proto 83");
        let change = format!("{family} route change {prefix} metric 50 proto 83");
        let append = format!("{family} route append {prefix} metric 50 proto 83");
        for (sabotage, action) in [
            (format!("{family} route del {prefix} metric 50"), "add"),
            (format!("{change} via {two} mtu 1400"), "replace"),
            (format!("{change} via {one}"), "replace"),
            (
                format!("{change} via {one} mtu 1400 advmss 1000"),
                "replace",
            ),
            (format!("{change} via {one} mtu lock 1400"), "replace"),
            (
                format!("{change} via {one} mtu 1400 initcwnd 20"),
                "replace",
            ),
            (format!("{change} dev west"), "replace"),
            (
                format!("{change} nexthop via {one} nexthop via {two}"),
                "replace",
            ),
            (
                format!("{family} route add {prefix} via {two} metric 60 proto 83"),
                "remove",
            ),
            (
                format!("{family} route add {prefix} via {two} table 55 proto 83"),
                "remove",
            ),
            (
                format!("{append} via {two} mtu 1400"),
                if net.family == "-4" {
                    "remove"
                } else {
                    "replace"
                },
            ),
            (format!("{family} route flush proto 83"), "add"),
        ] {
            ip(&sabotage);
            srsync.plan().exits(3);
            let run = srsync.converge();
            assert_eq!(run.count(action), 1, "{sabotage}: {}", run.stdout);
            assert_eq!(routes(family, "proto 83"), intact, "{sabotage}");
        }
    });
}
