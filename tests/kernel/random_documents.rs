//! Documents nobody would write, one round after the other in the same namespace: whatever they
//! ask for, the report tells what the kernel has, a second run has nothing to do, and what belongs
//! to others stays.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::Value;

use crate::support::program::{Run, Srsync};
use crate::support::random::Random;
use crate::support::tables::{foreign, quiet, routes, wait_for_links};
use crate::support::{east_and_west, in_namespace, ip, ip_succeeds};

const ROUNDS: u32 = 40;

const TABLES: [&str; 4] = ["main", "main", "100", "100000"];
const METRICS: [u32; 5] = [0, 0, 50, 100, 1024];

/// What documents are made of, in one family.
struct Words {
    family: &'static str,
    /// Overlapping, nested, one that covers its gateway, the halves of a default route, and the
    /// subnet of a gateway that is not connected otherwise.
    prefixes: [&'static str; 11],
    /// The last two: not connected, and one that the kernel refuses.
    gateways: [&'static str; 7],
    source: &'static str,
}

const V4: Words = Words {
    family: "-4",
    prefixes: [
        "198.18.0.0/15",
        "198.18.0.0/16",
        "198.18.0.0/24",
        "198.18.1.0/24",
        "198.18.1.128/25",
        "198.18.1.7/32",
        "203.0.113.0/24",
        "10.0.1.0/25",
        "0.0.0.0/1",
        "128.0.0.0/1",
        "10.7.7.0/24",
    ],
    gateways: [
        "10.0.1.2",
        "10.0.1.3",
        "10.0.1.4",
        "10.0.2.2",
        "10.0.2.3",
        "10.7.7.7",
        "10.0.1.255",
    ],
    source: "10.0.1.99",
};

const V6: Words = Words {
    family: "-6",
    prefixes: [
        "2001:db8::/32",
        "2001:db8::/48",
        "2001:db8::/64",
        "2001:db8:0:1::/64",
        "2001:db8:0:1:8000::/65",
        "2001:db8:0:1::7/128",
        "2001:db8:f::/48",
        "fd00:1::/65",
        "::/1",
        "8000::/1",
        "fd07::/64",
    ],
    gateways: [
        "fd00:1::2",
        "fd00:1::3",
        "fd00:1::4",
        "fd00:2::2",
        "fd00:2::3",
        "fd07::7",
        "fd00:1::66",
    ],
    source: "fd00:1::99",
};

/// The spec of a document.
fn spec(random: &mut Random) -> String {
    let families: &[&Words] = match random.below(3) {
        0 => &[&V4],
        1 => &[&V6],
        _ => &[&V4, &V6],
    };
    let mut prefixes = BTreeSet::new();
    for words in families {
        for _ in 0..=random.below(3) {
            prefixes.insert(*random.pick(&words.prefixes));
        }
    }
    let quoted: Vec<String> = prefixes
        .iter()
        .map(|prefix| format!("'{prefix}'"))
        .collect();
    let mut spec = format!(
        "destinations: [{}], table: {}",
        quoted.join(", "),
        random.pick(&TABLES)
    );
    let metric = *random.pick(&METRICS);
    if metric != 0 {
        write!(spec, ", metric: {metric}").unwrap();
    }
    match random.below(8) {
        0 => {
            let kind = random.pick(&["blackhole", "unreachable", "prohibit", "throw"]);
            write!(spec, ", type: {kind}").unwrap();
            return spec;
        }
        1 | 2 => {
            let link = random.pick(&["east", "west", "absent"]);
            write!(spec, ", interface: {link}").unwrap();
        }
        _ => gateways(random, families, &mut spec),
    }
    if random.one_in(3) {
        write!(spec, ", mtu: {}", 1300 + random.below(3)).unwrap();
    }
    if random.one_in(4) {
        write!(spec, ", advmss: {}", 1200 + random.below(3)).unwrap();
    }
    if let [only] = families
        && random.one_in(4)
    {
        write!(spec, ", source: '{}'", only.source).unwrap();
    }
    spec
}

fn gateways(random: &mut Random, families: &[&Words], spec: &mut String) {
    let ecmp = random.one_in(2);
    let mut list = Vec::new();
    for words in families {
        let mut addresses = BTreeSet::new();
        for _ in 0..=random.below(3) {
            addresses.insert(*random.pick(&words.gateways));
        }
        for address in addresses {
            let mut entry = format!("address: '{address}'");
            if random.one_in(5) {
                entry += ", interface: west, onLink: true";
            }
            if ecmp {
                write!(entry, ", weight: {}", random.pick(&[1, 1, 2, 255, 256])).unwrap();
            }
            list.push(format!("{{{entry}}}"));
        }
    }
    let mode = if ecmp { ", mode: ecmp" } else { "" };
    write!(spec, "{mode}, gateways: [{}]", list.join(", ")).unwrap();
}

/// Routes of somebody else come and go, and now and then somebody takes one of ours.
fn meddle(random: &mut Random) {
    for words in [&V4, &V6] {
        let slot = format!(
            "{} table {} metric {}",
            random.pick(&words.prefixes),
            random.pick(&TABLES),
            random.pick(&METRICS[2..])
        );
        let family = words.family;
        match random.below(5) {
            0 | 1 => {
                let way = random.pick(&words.gateways[..5]);
                let owner = random.pick(&["static", "bgp", "bird", "84"]);
                // Fails where the slot is occupied.
                ip_succeeds(&format!(
                    "{family} route add {slot} via {way} proto {owner}"
                ));
            }
            2 => drop(ip_succeeds(&format!("{family} route del {slot}"))),
            _ => {}
        }
    }
}

/// A route as one line that is the same for a report's row and for what `ip` shows.
fn line(slot: &str, kind: &Value, mut hops: Vec<String>, rest: [&Value; 3]) -> String {
    hops.sort();
    let kind = kind.as_str().unwrap_or("unicast");
    let [source, mtu, advmss] = rest;
    format!("{slot} {kind} {hops:?} src {source} mtu {mtu} advmss {advmss}")
}

/// What a part of a report's row says is in its slot.
fn reported(row: &Value, attrs: &Value) -> String {
    let hops = attrs["nextHops"].as_array().cloned().unwrap_or_default();
    let alone = hops.len() == 1;
    let hops = hops.iter().map(|hop| {
        let weight = if alone {
            1
        } else {
            hop["weight"].as_u64().unwrap()
        };
        let (via, dev, on_link) = (&hop["via"], &hop["dev"], &hop["onLink"]);
        format!("{via} {dev} {weight} {on_link}")
    });
    let prefix = row["prefix"].as_str().unwrap();
    line(
        &format!("{} {prefix} {}", row["table"], row["metric"]),
        &attrs["type"],
        hops.collect(),
        [&attrs["source"], &attrs["mtu"], &attrs["advmss"]],
    )
}

/// What `ip -j -d route` shows.
fn shown(route: &Value, family: &str) -> String {
    let dst = route["dst"].as_str().unwrap();
    let prefix = match (dst.contains('/'), family) {
        (true, _) => dst.to_owned(),
        (false, "-4") => format!("{dst}/32"),
        (false, _) => format!("{dst}/128"),
    };
    let table = match route["table"].as_str().unwrap() {
        "main" => "254",
        number => number,
    };
    let metric = route["metric"].as_u64().unwrap_or(0);
    let hops = match (route["type"].as_str(), route["nexthops"].as_array()) {
        (Some("unicast"), None) => std::slice::from_ref(route),
        (_, Some(several)) => several.as_slice(),
        (_, None) => &[],
    };
    let hops = hops.iter().map(|hop| {
        let weight = hop["weight"].as_u64().unwrap_or(1);
        let flags = hop["flags"].as_array().cloned().unwrap_or_default();
        let on_link = flags.iter().any(|flag| flag == "onlink");
        format!("{} {} {weight} {on_link}", hop["gateway"], hop["dev"])
    });
    let metrics = &route["metrics"][0];
    line(
        &format!("{table} {prefix} {metric}"),
        &route["type"],
        hops.collect(),
        [&route["prefsrc"], &metrics["mtu"], &metrics["advmss"]],
    )
}

fn in_the_kernel() -> Vec<String> {
    let mut ours = Vec::new();
    for words in [&V4, &V6] {
        let routes = routes(words.family, "proto 83");
        ours.extend(routes.iter().map(|route| shown(route, words.family)));
    }
    ours.sort();
    ours
}

fn rows(report: &Value) -> Vec<Value> {
    report["routes"].as_array().unwrap().clone()
}

/// What the report says that srsync owns now: the installed routes, and those that had to stay
/// because what is to replace them cannot be installed.
fn should_be_there(report: &Value) -> BTreeSet<String> {
    let row = |row: &Value| match row["state"].as_str() {
        Some("Installed") => Some(reported(row, row)),
        Some("Pending" | "Refused" | "Failed") => {
            row.get("occupant").map(|stays| reported(row, stays))
        }
        _ => None,
    };
    rows(report).iter().filter_map(row).collect()
}

/// The state of every wanted route, by document and slot.
fn states(report: &Value) -> BTreeMap<String, String> {
    let wanted = rows(report)
        .into_iter()
        .filter(|row| row.get("document").is_some());
    wanted
        .map(|row| {
            let name = format!(
                "{} {} table {} metric {}",
                row["document"], row["prefix"], row["table"], row["metric"]
            );
            (name, row["state"].as_str().unwrap_or("none").to_owned())
        })
        .collect()
}

/// Holds what must hold of every apply.
fn check(srsync: &Srsync<'_>, run: &Run, foreign_before: &str) {
    let report = run.report();
    let states_now = states(&report);
    assert_eq!(foreign(), foreign_before, "foreign routes changed");
    assert_same(
        in_the_kernel(),
        should_be_there(&report),
        "in the kernel, and reported",
    );
    let installed = states_now.values().all(|state| state == "Installed");
    let expected = if installed { 0 } else { 4 };
    assert_eq!(run.code, Some(expected), "{states_now:#?}");

    let plan = srsync.plan();
    let failed = states_now.values().any(|state| state == "Failed");
    let plan = plan.exits(if failed { 3 } else { 0 });
    // What failed is asked for again; everything else is as the first run said.
    let again = states(&plan.report()).into_iter().map(|(route, state)| {
        let failed = states_now
            .get(&route)
            .is_some_and(|state| state == "Failed");
        (route, if failed { "Failed".to_owned() } else { state })
    });
    assert_same(
        again.map(|(route, state)| format!("{route}: {state}")),
        states_now
            .iter()
            .map(|(route, state)| format!("{route}: {state}")),
        "found by plan, and left by apply",
    );
}

/// Shows only what differs.
#[track_caller]
fn assert_same(
    left: impl IntoIterator<Item = String>,
    right: impl IntoIterator<Item = String>,
    what: &str,
) {
    let (left, right): (BTreeSet<_>, BTreeSet<_>) =
        (left.into_iter().collect(), right.into_iter().collect());
    let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| a - b;
    assert!(
        left == right,
        "{what}\nonly one: {:#?}\nonly the other: {:#?}",
        only(&left, &right),
        only(&right, &left)
    );
}

/// Tells the seed and the documents if the test fails while it lives.
struct Told<'a> {
    seed: u64,
    round: u32,
    documents: &'a BTreeMap<String, String>,
}

impl Drop for Told<'_> {
    #[allow(clippy::print_stderr, reason = "there is no other way to tell")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}, round {}", self.seed, self.round);
            for (name, spec) in self.documents {
                eprintln!("{name}: {spec}");
            }
        }
    }
}

fn rounds(seed: u64) {
    in_namespace(|| {
        quiet();
        east_and_west();
        ip("addr add 10.0.1.99/24 dev east");
        ip("addr add fd00:1::99/64 dev east nodad");
        // Makes the last of the IPv6 gateways one that the kernel refuses.
        ip("-6 route add fd00:1::66 via fd00:1::2 dev east proto static");
        wait_for_links();
        let srsync = Srsync::here();
        let mut random = Random::new(seed);
        let mut documents = BTreeMap::new();
        for round in 0..ROUNDS {
            for _ in 0..=random.below(3) {
                let name = format!("document-{}", random.below(9));
                if random.one_in(4) && documents.len() > 1 && documents.remove(&name).is_some() {
                    srsync.without(&name);
                } else {
                    let spec = spec(&mut random);
                    srsync.document(&name, &spec);
                    documents.insert(name, spec);
                }
            }
            meddle(&mut random);
            let told = Told {
                seed,
                round,
                documents: &documents,
            };
            let before = foreign();
            let run = srsync.apply();
            check(&srsync, &run, &before);
            drop(told);
        }
        let before = foreign();
        srsync.run("flush --yes").exits(0);
        assert_eq!(in_the_kernel(), [""; 0]);
        assert_eq!(foreign(), before);
    });
}

/// Another seed may be tried with `TEST_SEED=…`.
#[test]
fn forty_rounds_of_random_documents() {
    let seed = std::env::var("TEST_SEED").map_or(1, |seed| seed.parse().unwrap());
    rounds(seed);
}

#[test]
fn forty_other_rounds() {
    rounds(20_260_101);
}
