//! Forwarding, translations and rules that nobody would ask for, one life after the other on the same node: whatever it
//! was, a second run has nothing to do, what belongs to others stays, and in the end the node is as it was.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::support::egress::{FOREIGN_TABLES, Site};
use crate::support::program::Srsync;
use crate::support::random::Random;

/// Lives of some edits each.
const LIVES: u32 = 4;
const EDITS: u32 = 5;

/// Nested, adjacent, at both ends of the address space, all of it, and single addresses; IPv4, then IPv6.
const PREFIXES: [[&str; 9]; 2] = [
    [
        "10.42.0.0/16",
        "10.43.0.0/16",
        "10.42.7.0/24",
        "192.168.2.10/32",
        "0.0.0.0/1",
        "128.0.0.0/1",
        "255.255.255.0/24",
        "0.0.0.0/8",
        "0.0.0.0/0",
    ],
    [
        "fd00:42::/56",
        "fd00:42:0:100::/56",
        "fd00:42::/64",
        "fd00:2::10/128",
        "::/1",
        "8000::/1",
        "fe00::/9",
        "::/8",
        "::/0",
    ],
];

const INTERFACES: [&str; 4] = ["eth0", "pods", "absent", "lo"];

/// Documents by name, each with its kind.
type Documents = BTreeMap<String, String>;

fn document(kind: &str, name: &str, fields: &[String]) -> String {
    let fields = fields.join(", ");
    format!(
        "apiVersion: srsync.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{fields}}}\n"
    )
}

/// One to three of them, quoted, of these families. The whole of a family only where it may be.
fn some(random: &mut Random, families: &[usize], all: bool) -> String {
    let mut chosen = BTreeSet::new();
    for family in families {
        for _ in 0..=random.below(2) {
            let usual = &PREFIXES[*family][..if all { 9 } else { 8 }];
            chosen.insert(*random.pick(usual));
        }
    }
    let quoted: Vec<String> = chosen.iter().map(|prefix| format!("'{prefix}'")).collect();
    format!("[{}]", quoted.join(", "))
}

fn forwarding(random: &mut Random) -> Vec<String> {
    let mut fields = vec![format!("ipv4: {}", random.one_in(2))];
    if random.one_in(2) {
        fields.push(format!("ipv6: {}", random.one_in(2)));
    }
    if random.one_in(2) {
        let own = random.pick(&[
            "ipv4: true",
            "ipv4: false",
            "ipv6: false, rpFilter: strict",
            "rpFilter: loose",
            "ipv4: true, rpFilter: \"off\"",
        ]);
        let name = random.pick(&INTERFACES);
        fields.push(format!("interfaces: [{{name: {name}, {own}}}]"));
    }
    fields
}

fn masquerade(random: &mut Random) -> Vec<String> {
    let families = *random.pick::<&[usize]>(&[&[0], &[1], &[0, 1]]);
    let mut fields = vec![format!("sources: {}", some(random, families, true))];
    if random.one_in(2) {
        fields.push(format!("destinations: {}", some(random, families, true)));
    } else if random.one_in(2) {
        let few = some(random, &families[..1], false);
        // Both halves would leave nothing.
        if !few.contains("0.0.0.0/1") && !few.contains("'::/1'") {
            fields.push(format!("exceptDestinations: {few}"));
        }
    }
    if random.one_in(2) {
        let names = random.pick(&["eth0", "eth0, pods", "absent"]);
        fields.push(format!("outInterfaces: [{names}]"));
    }
    if let ([family], true) = (families, random.one_in(3)) {
        let address = ["192.168.1.10", "fd00:1::10"][*family];
        fields.push(format!("snatTo: '{address}'"));
    }
    fields
}

fn routing_rule(random: &mut Random) -> Vec<String> {
    let family = random.below(2) as usize;
    let mut fields = vec![format!("priority: {}", 100 + random.below(3))];
    let conditions = [
        format!("from: '{}'", random.pick(&PREFIXES[family])),
        format!("to: '{}'", random.pick(&PREFIXES[family])),
        format!("fwmark: {}", random.pick(&["0x10", "0x10/0xff", "0/0x1"])),
        format!("iif: {}", random.pick(&INTERFACES)),
        format!("oif: {}", random.pick(&INTERFACES)),
        format!(
            "ipProto: tcp, {}",
            random.pick(&["sport: 1000-2000", "dport: 25", "dport: 1-65534"])
        ),
        "ipProto: 47".to_owned(),
    ];
    let mut chosen: BTreeSet<&String> = BTreeSet::new();
    for _ in 0..=random.below(3) {
        chosen.insert(random.pick(&conditions));
    }
    if chosen
        .iter()
        .filter(|field| field.contains("ipProto"))
        .count()
        == 2
    {
        chosen.remove(&conditions[6]);
    }
    fields.extend(chosen.into_iter().cloned());
    if random.one_in(4) {
        fields.push("not: true".to_owned());
    }
    let action = [
        "table: 100",
        "table: 100000, suppressPrefixLength: 0",
        "table: main",
        "action: blackhole",
        "action: prohibit",
    ];
    fields.push((*random.pick(&action)).to_owned());
    fields
}

/// Some documents are written anew, and some go.
fn edit(srsync: &Srsync<'_>, random: &mut Random, documents: &mut Documents) {
    for _ in 0..=random.below(3) {
        let name = format!("document-{}", random.below(7));
        if random.one_in(4) && documents.remove(&name).is_some() {
            srsync.without(&name);
            continue;
        }
        let (kind, fields) = match random.below(3) {
            0 => ("Forwarding", forwarding(random)),
            1 => ("Masquerade", masquerade(random)),
            _ => ("RoutingRule", routing_rule(random)),
        };
        let text = document(kind, &name, &fields);
        srsync.file(&format!("{name}.yaml"), &text);
        documents.insert(name, text);
    }
}

/// Somebody takes of ours what he can.
fn meddle(site: &Site, random: &mut Random) {
    let there = site.table("inet srsync");
    let rule = ours(site, "-4");
    let preference = rule.split(':').next().unwrap_or_default();
    match random.below(4) {
        0 if !there.is_empty() => site.nft("delete table inet srsync"),
        1 if !there.is_empty() => site.nft("flush chain inet srsync postrouting"),
        2 if !there.is_empty() => site.nft("add rule inet srsync postrouting accept"),
        3 if !preference.is_empty() => {
            site.node
                .ip(&format!("rule del pref {preference} proto 83"));
        }
        _ => {}
    }
}

/// Our rules of a family, one a line.
fn ours(site: &Site, family: &str) -> String {
    let rules = site.node.ip(&format!("{family} rule show"));
    let ours = rules.lines().filter(|line| line.contains("proto 83"));
    ours.map(|line| format!("{line}\n")).collect()
}

/// What belongs to others.
fn foreign(site: &Site) -> String {
    let mut text: String = ["ip nat", "ip6 nat", "inet firewall"]
        .map(|table| site.table(table))
        .concat();
    for family in ["-4", "-6"] {
        let rules = site.node.ip(&format!("{family} rule show"));
        let others = rules.lines().filter(|line| !line.contains("proto 83"));
        text.extend(others.map(|line| format!("{line}\n")));
    }
    text
}

/// Applies, with nothing left to do afterwards.
fn converge(srsync: &Srsync<'_>, site: &Site) {
    let before = foreign(site);
    let report = srsync.apply().report();
    let things = report["egress"].as_array().cloned().unwrap_or_default();
    let state = |thing: &Value| thing["state"].as_str().unwrap_or("gone").to_owned();
    for thing in &things {
        assert_ne!(state(thing), "Failed", "{thing:#}");
    }
    assert_eq!(foreign(site), before, "what belongs to others changed");
    let again = srsync.plan().exits(0).report();
    let none = Vec::new();
    for thing in again["egress"].as_array().unwrap_or(&none) {
        let action = thing["action"].as_str();
        assert!(matches!(action, Some("keep" | "none")), "{thing:#}");
    }
    let rules = ["-4", "-6"].map(|family| ours(site, family));
    let installed = things
        .iter()
        .filter(|thing| thing["kind"] == "RoutingRule" && state(thing) == "Installed");
    let in_kernel: usize = rules.iter().map(|rules| rules.lines().count()).sum();
    // One that is refused now stays if it is there.
    assert!(in_kernel >= installed.count(), "{rules:?}");
}

/// Shows only what differs. The kernel makes the anycast routes of an interface anew with its forwarding of IPv6, in any
/// order.
#[track_caller]
fn assert_same(now: &str, before: &str) {
    let lines = |text: &str| -> Vec<String> {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let (has, had) = (lines(now), lines(before));
    let only = |these: &[String], those: &[String]| -> Vec<String> {
        let only = these.iter().filter(|line| !those.contains(line));
        only.cloned().collect()
    };
    let (came, went) = (only(&has, &had), only(&had, &has));
    assert!(has == had, "only now: {came:#?}\nonly before: {went:#?}");
}

/// Tells the seed and the documents if the test fails while it lives.
struct Told<'a> {
    seed: u64,
    documents: &'a Documents,
}

impl Drop for Told<'_> {
    #[allow(clippy::print_stderr, reason = "there is no other way to tell")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}", self.seed);
            for text in self.documents.values() {
                eprintln!("---\n{text}");
            }
        }
    }
}

fn lives(seed: u64) {
    let site = Site::new();
    site.nft(FOREIGN_TABLES);
    let foreign_rule = "rule add pref 101 from 10.42.0.0/16 lookup 100";
    site.node.ip(&format!("{foreign_rule} proto static"));
    let srsync = Srsync::inside(&site.node).with("--allow-empty");
    let mut random = Random::new(seed);
    for _ in 0..LIVES {
        for (path, values) in [
            ("ipv4/ip_forward", 2),
            ("ipv4/conf/all/accept_redirects", 2),
            ("ipv4/conf/default/forwarding", 2),
            ("ipv4/conf/pods/forwarding", 2),
            ("ipv4/conf/pods/rp_filter", 3),
            ("ipv6/conf/all/forwarding", 2),
            ("ipv6/conf/default/forwarding", 2),
            ("ipv6/conf/eth0/forwarding", 2),
        ] {
            site.node.sysctl(path, &random.below(values).to_string());
        }
        let before = site.node_state();
        let mut documents = Documents::new();
        for _ in 0..EDITS {
            edit(&srsync, &mut random, &mut documents);
            let told = Told {
                seed,
                documents: &documents,
            };
            meddle(&site, &mut random);
            converge(&srsync, &site);
            drop(told);
        }
        let told = Told {
            seed,
            documents: &documents,
        };
        let flushes = random.one_in(2);
        if flushes {
            srsync.run("flush --yes").exits(0);
        }
        documents.keys().for_each(|name| srsync.without(name));
        if !flushes {
            srsync.apply().exits(0);
        }
        assert_same(&site.node_state(), &before);
        drop(told);
    }
}

/// Another seed may be tried with `TEST_SEED=…`.
#[test]
fn lives_of_random_documents_leave_the_node_as_it_was() {
    let seed = std::env::var("TEST_SEED").map_or(1, |seed| seed.parse().unwrap());
    lives(seed);
}

#[test]
fn other_lives_of_random_documents() {
    lives(20_260_101);
}
