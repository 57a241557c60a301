//! Our table of nftables: what is set is what `nft` shows, and what reads back.

use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use caps::{CapSet, Capability};
use srsync::kernel::{Kernel, KernelError, NatEvent, NatEvents};
use srsync::model::egress::{Counters, NatObserved, NatRule, NatTable, Translation};
use srsync::model::{Family, InterfaceName, Prefix, Protocol};

use crate::support::in_namespace;

pub fn table() -> NatTable {
    NatTable::of(Protocol::SRSYNC)
}

/// Runs `nft ARGS` in the namespace of this thread; returns its output.
pub fn nft(args: &[&str]) -> String {
    let output = Command::new("nft").args(args).output();
    let output = output.expect("`nft` (nftables) is needed");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "nft {args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `nft -f` with this text.
pub fn nft_file(text: &str) {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("`nft` (nftables) is needed");
    let mut input = child.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    drop(input);
    assert!(child.wait().unwrap().success(), "nft -f: {text}");
}

/// A rule, its prefixes separated by spaces.
pub fn rule(name: &str, family: Family, [sources, destinations, except]: [&str; 3]) -> NatRule {
    let prefixes = |text: &str| {
        text.split_whitespace()
            .map(|p| p.parse().unwrap())
            .collect()
    };
    NatRule {
        name: name.to_owned(),
        family,
        sources: prefixes(sources),
        destinations: prefixes(destinations),
        except: prefixes(except),
        out_interfaces: Vec::new(),
        translation: Translation::Masquerade,
    }
}

pub fn out(mut rule: NatRule, interfaces: &[&str]) -> NatRule {
    let names = interfaces
        .iter()
        .map(|name| InterfaceName::new(name).unwrap());
    rule.out_interfaces = names.collect();
    rule
}

pub fn snat(mut rule: NatRule, to: &str) -> NatRule {
    rule.translation = Translation::To(to.parse().unwrap());
    rule
}

pub fn uncounted(rules: Vec<NatRule>) -> Vec<(NatRule, Counters)> {
    let zero = Counters::default();
    rules.into_iter().map(|rule| (rule, zero)).collect()
}

#[track_caller]
pub fn set(kernel: &mut Kernel, rules: &[(NatRule, Counters)]) {
    assert_eq!(
        kernel.set_nat(&table(), rules).unwrap(),
        Ok(()),
        "{rules:#?}"
    );
}

/// Sets rules, which then are there as they are.
#[track_caller]
pub fn set_and_read_back(kernel: &mut Kernel, rules: Vec<(NatRule, Counters)>) {
    set(kernel, &rules);
    let intact = true;
    assert_eq!(
        kernel.nat(&table()).unwrap(),
        NatObserved::Present { rules, intact }
    );
}

/// Rules of every shape.
fn rules() -> Vec<NatRule> {
    let (v4, v6) = (Family::V4, Family::V6);
    vec![
        rule("pods", v4, ["10.42.0.0/16", "192.168.2.0/24", ""]),
        out(
            rule(
                "several",
                v4,
                [
                    "10.0.0.0/24 10.0.1.0/24",
                    "192.0.2.0/25 198.51.100.7",
                    "192.0.2.5 192.0.2.64/26",
                ],
            ),
            &["eth0", "eth1.100"],
        ),
        snat(
            rule("ends", v4, ["0.0.0.0/8 255.255.255.0/24", "", "10.0.0.0/8"]),
            "203.0.113.1",
        ),
        out(rule("everybody", v4, ["0.0.0.0/0", "", ""]), &["eth0"]),
        rule("host", v4, ["10.0.0.7", "10.0.0.8", "10.0.0.9"]),
        rule("pods", v6, ["2001:db8::/32", "fd00::/9", ""]),
        out(
            snat(
                rule(
                    "several",
                    v6,
                    [
                        "fd00::/64 fd00:0:0:1::/64",
                        "2001:db8::1 ffff::/16",
                        "fd02::1",
                    ],
                ),
                "fd00:9::1",
            ),
            &["eth0"],
        ),
    ]
}

const SHOWN: &str = r#"table inet srsync {
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr 10.42.0.0/16 ip daddr 192.168.2.0/24 counter packets 0 bytes 0 masquerade comment "pods"
		ip saddr { 10.0.0.0/24, 10.0.1.0/24 } ip daddr { 192.0.2.0/25, 198.51.100.7 } ip daddr != { 192.0.2.5, 192.0.2.64/26 } oifname { "eth0", "eth1.100" } counter packets 0 bytes 0 masquerade comment "several"
		ip saddr { 0.0.0.0/8, 255.255.255.0/24 } ip daddr != 10.0.0.0/8 counter packets 0 bytes 0 snat ip to 203.0.113.1 comment "ends"
		meta nfproto ipv4 oifname "eth0" counter packets 0 bytes 0 masquerade comment "everybody"
		ip saddr 10.0.0.7 ip daddr 10.0.0.8 ip daddr != 10.0.0.9 counter packets 0 bytes 0 masquerade comment "host"
		ip6 saddr 2001:db8::/32 ip6 daddr fd00::/9 counter packets 0 bytes 0 masquerade comment "pods"
		ip6 saddr { fd00::/64, fd00:0:0:1::/64 } ip6 daddr { 2001:db8::1, ffff::/16 } ip6 daddr != fd02::1 oifname "eth0" counter packets 0 bytes 0 snat ip6 to fd00:9::1 comment "several"
	}
}
"#;

#[test]
fn what_is_set_is_what_nft_shows_and_what_reads_back() {
    in_namespace(|| {
        let mut kernel = Kernel::open().unwrap();
        assert_eq!(kernel.nat(&table()).unwrap(), NatObserved::Absent);
        set_and_read_back(&mut kernel, uncounted(rules()));
        assert_eq!(nft(&["list", "table", "inet", "srsync"]), SHOWN);
    });
}

/// Tables as iptables-nft, kube-proxy and a CNI make them: one accepts before us what is ours, one translates what has a mark.
pub const FOREIGN: &str = r#"
table ip nat {
    chain KUBE-MARK-MASQ {
        counter packets 3 bytes 180 meta mark set mark or 0x4000
    }
    chain KUBE-POSTROUTING {
        meta mark and 0x4000 != 0x4000 counter packets 17 bytes 1020 return
        counter packets 3 bytes 180 meta mark set mark xor 0x4000
        counter packets 3 bytes 180 masquerade fully-random comment "kubernetes service traffic requiring SNAT"
    }
    chain FLANNEL-POSTRTG {
        ip saddr 10.42.0.0/16 ip daddr 10.42.0.0/16 counter packets 1 bytes 84 return
        ip saddr 10.42.0.0/16 counter packets 0 bytes 0 accept
    }
    chain POSTROUTING {
        type nat hook postrouting priority srcnat; policy accept;
        counter packets 20 bytes 1200 jump KUBE-POSTROUTING comment "kubernetes postrouting rules"
        counter packets 0 bytes 0 jump FLANNEL-POSTRTG
    }
}
table ip6 nat {
    chain POSTROUTING {
        type nat hook postrouting priority srcnat; policy accept;
    }
}
table inet other {
    set hosts {
        type ipv4_addr
        flags interval
        elements = { 10.0.0.0/8, 192.0.2.1 }
    }
    counter seen { packets 5 bytes 300 }
    chain postrouting {
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr @hosts ip daddr 198.51.100.0/24 counter packets 5 bytes 300 masquerade
    }
}
"#;

/// All tables but ours, byte for byte, with handles.
pub fn foreign() -> String {
    ["ip nat", "ip6 nat", "inet other"]
        .map(|table| {
            nft(&[
                &["-a", "list", "table"][..],
                &table.split(' ').collect::<Vec<_>>(),
            ]
            .concat())
        })
        .concat()
}

#[test]
fn foreign_tables_are_byte_for_byte_the_same_before_and_after() {
    in_namespace(|| {
        nft_file(FOREIGN);
        let before = foreign();
        let mut kernel = Kernel::open().unwrap();
        assert_eq!(kernel.nat(&table()).unwrap(), NatObserved::Absent);
        set_and_read_back(&mut kernel, uncounted(rules()));
        set_and_read_back(&mut kernel, uncounted(rules()[..2].to_vec()));
        assert_eq!(foreign(), before);
        set(&mut kernel, &[]);
        assert_eq!(foreign(), before);
        assert!(!nft(&["list", "tables"]).contains("srsync"));
    });
}

#[test]
fn another_owner_has_a_table_beside_ours() {
    in_namespace(|| {
        let mut kernel = Kernel::open().unwrap();
        set(&mut kernel, &uncounted(rules()));
        let other = NatTable::of(Protocol::new(84));
        assert_eq!(kernel.nat(&other).unwrap(), NatObserved::Absent);
        let theirs = uncounted(rules()[..1].to_vec());
        assert_eq!(kernel.set_nat(&other, &theirs).unwrap(), Ok(()));
        assert!(nft(&["list", "table", "inet", "srsync-84"]).contains("pods"));
        assert_eq!(kernel.set_nat(&other, &[]).unwrap(), Ok(()));
        assert_eq!(nft(&["list", "table", "inet", "srsync"]), SHOWN);
    });
}

#[test]
fn an_empty_list_removes_the_table_also_where_there_is_none() {
    in_namespace(|| {
        let mut kernel = Kernel::open().unwrap();
        set(&mut kernel, &uncounted(rules()));
        for _ in 0..2 {
            set(&mut kernel, &[]);
            assert_eq!(kernel.nat(&table()).unwrap(), NatObserved::Absent);
            assert_eq!(nft(&["list", "tables"]), "");
        }
    });
}

#[test]
fn counting_goes_on_where_it_is_told_to() {
    in_namespace(|| {
        let mut kernel = Kernel::open().unwrap();
        let counted = |(n, rule): (u64, NatRule)| {
            let (packets, bytes) = (n, u64::MAX / 2 - n);
            (rule, Counters { packets, bytes })
        };
        let counted: Vec<_> = (0..).zip(rules()).map(counted).collect();
        set_and_read_back(&mut kernel, counted.clone());
        let NatObserved::Present { mut rules, .. } = kernel.nat(&table()).unwrap() else {
            panic!("there is no table");
        };
        assert_eq!(rules, counted);
        rules.rotate_left(1);
        set_and_read_back(&mut kernel, rules);
    });
}

/// Each of these makes our table another one.
const MEDDLING: [&str; 13] = [
    "add chain inet srsync other",
    "add chain inet srsync other { type filter hook forward priority 0; }",
    "add set inet srsync other { type ipv4_addr; }",
    "add set inet srsync other { type ipv4_addr; flags constant, interval; elements = { 10.0.0.0/8 }; }",
    "add counter inet srsync other",
    "add table inet srsync { flags dormant; }",
    "chain inet srsync postrouting { policy drop; }",
    "add rule inet srsync postrouting counter",
    "add rule inet srsync postrouting meta nfproto ipv4 ip saddr 10.9.0.0/16 counter masquerade",
    "add rule inet srsync postrouting meta nfproto ipv4 ip saddr 10.9.0.0/16 masquerade comment \"mine\"",
    "insert rule inet srsync postrouting meta nfproto ipv4 ip saddr 10.9.0.0/16 counter masquerade random comment \"mine\"",
    "add rule inet srsync postrouting meta nfproto ipv4 ip saddr 10.9.0.0-10.9.0.2 counter masquerade comment \"mine\"",
    "add rule inet srsync postrouting meta nfproto ipv4 ip protocol tcp ip saddr 10.9.0.0/16 counter \
     snat ip to 192.0.2.1:1000-2000 comment \"mine\"",
];

#[test]
fn a_table_that_somebody_changed_is_not_intact_and_is_made_anew() {
    in_namespace(|| {
        let mut kernel = Kernel::open().unwrap();
        for deed in MEDDLING {
            set_and_read_back(&mut kernel, uncounted(rules()));
            nft_file(deed);
            let rules = uncounted(rules());
            let changed = NatObserved::Present {
                rules,
                intact: false,
            };
            assert_eq!(kernel.nat(&table()).unwrap(), changed, "{deed}");
        }
        set_and_read_back(&mut kernel, uncounted(rules()));
        assert_eq!(nft(&["list", "table", "inet", "srsync"]), SHOWN);
    });
}

/// What somebody writes just as we would is ours as well: the name of the table says so.
#[test]
fn a_rule_that_is_gone_or_more_is_seen_as_such() {
    in_namespace(|| {
        let mut kernel = Kernel::open().unwrap();
        set(&mut kernel, &uncounted(rules()[..1].to_vec()));
        nft_file(
            "add rule inet srsync postrouting meta nfproto ipv4 ip saddr 10.9.0.7 counter masquerade comment \"more\"",
        );
        let more = rule("more", Family::V4, ["10.9.0.7", "", ""]);
        let rules = uncounted(vec![rules().remove(0), more]);
        let intact = true;
        assert_eq!(
            kernel.nat(&table()).unwrap(),
            NatObserved::Present { rules, intact }
        );
        nft_file("flush chain inet srsync postrouting");
        let rules = Vec::new();
        assert_eq!(
            kernel.nat(&table()).unwrap(),
            NatObserved::Present { rules, intact }
        );
    });
}

#[test]
fn a_table_of_this_name_that_is_quite_another_is_replaced() {
    in_namespace(|| {
        let mut kernel = Kernel::open().unwrap();
        nft_file(
            "table inet srsync {
                flags dormant
                set s { type ipv4_addr; elements = { 10.0.0.1 }; }
                counter c { packets 1 bytes 2 }
                chain other { accept; }
                chain postrouting {
                    type filter hook input priority 0; policy drop;
                    ip saddr @s jump other
                }
            }",
        );
        let theirs = NatObserved::Present {
            rules: Vec::new(),
            intact: false,
        };
        assert_eq!(kernel.nat(&table()).unwrap(), theirs);
        set_and_read_back(&mut kernel, uncounted(rules()));
        assert_eq!(nft(&["list", "table", "inet", "srsync"]), SHOWN);
    });
}

#[test]
fn a_refused_batch_changes_nothing_and_names_the_rule() {
    in_namespace(|| {
        let mut kernel = Kernel::open().unwrap();
        // No document comes to prefixes that overlap.
        let bad = rule(
            "overlapping",
            Family::V4,
            ["10.0.0.0/8 10.1.0.0/16", "", ""],
        );
        let with_bad = uncounted([rules(), vec![bad]].concat());
        for before in [vec![], uncounted(rules())] {
            set(&mut kernel, &before);
            let shown = nft(&["-a", "list", "ruleset"]);
            let refusal = kernel.set_nat(&table(), &with_bad).unwrap().unwrap_err();
            assert!(
                refusal.to_string().contains("the rule of `overlapping`"),
                "{refusal}"
            );
            assert_eq!(nft(&["-a", "list", "ruleset"]), shown);
        }
        set_and_read_back(&mut kernel, uncounted(rules()));
    });
}

#[test]
fn without_the_capability_the_reason_names_it() {
    in_namespace(|| {
        let mut kernel = Kernel::open().unwrap();
        caps::drop(None, CapSet::Effective, Capability::CAP_NET_ADMIN).unwrap();
        let NatObserved::Unavailable(why) = kernel.nat(&table()).unwrap() else {
            panic!("it can be read");
        };
        assert!(why.contains("CAP_NET_ADMIN"), "{why}");
        for rules in [vec![], uncounted(rules())] {
            let refusal = kernel.set_nat(&table(), &rules).unwrap().unwrap_err();
            assert!(refusal.to_string().contains("CAP_NET_ADMIN"), "{refusal}");
        }
    });
}

/// So many neighbours.
fn many(family: Family, count: u32) -> Vec<Prefix> {
    let prefix = |n: u32| match family {
        Family::V4 => Prefix::containing(IpAddr::from((0x1400_0000 + (n << 8)).to_be_bytes()), 24),
        Family::V6 => format!("2001:db8:{:x}:{:x}::/64", n >> 16, n & 0xffff)
            .parse()
            .ok(),
    };
    (0..count).map(|n| prefix(n).unwrap()).collect()
}

/// How much a batch may have is a setting, so the size is found that is beyond it.
#[test]
fn a_table_that_is_too_large_is_refused_with_the_setting_that_would_allow_it() {
    in_namespace(|| {
        let mut kernel = Kernel::open().unwrap();
        // With it the setting does not bind.
        caps::drop(None, CapSet::Effective, Capability::CAP_NET_ADMIN).unwrap();
        let beyond = (12..=20).any(|power| {
            let too_many = NatRule {
                sources: many(Family::V4, 1 << power),
                ..rule("many", Family::V4, ["", "", ""])
            };
            let refusal = kernel
                .set_nat(&table(), &uncounted(vec![too_many]))
                .unwrap();
            refusal
                .unwrap_err()
                .to_string()
                .contains("net.core.wmem_max")
        });
        assert!(beyond);
    });
}

/// Several messages for one set, both families, interfaces with a set as well.
#[test]
fn thousands_of_prefixes_are_set_in_one_go() {
    in_namespace(|| {
        let rules = Family::BOTH.map(|family| NatRule {
            sources: many(family, 2000),
            destinations: many(family, 499),
            except: many(family, 501),
            ..rule("many", family, ["", "", ""])
        });
        let mut kernel = Kernel::open().unwrap();
        set_and_read_back(&mut kernel, uncounted(rules.to_vec()));
        let shown = nft(&["list", "table", "inet", "srsync"]);
        assert_eq!(shown.matches("/24").count(), 3000);
        assert_eq!(shown.matches("/64").count(), 3000);
    });
}

/// Somebody replaces the table all the time: what is read is one of the two, whole, or said to be unreadable.
#[test]
fn a_table_that_changes_while_it_is_read_is_never_read_in_parts() {
    in_namespace(|| {
        let tables = [300, 200].map(|count| {
            let few = NatRule {
                sources: many(Family::V4, count),
                ..rule(&format!("{count}"), Family::V4, ["", "", ""])
            };
            uncounted([rules(), vec![few]].concat())
        });
        let mut kernel = Kernel::open().unwrap();
        set(&mut kernel, &tables[0]);
        let mut writer = Kernel::open().unwrap();
        let check = |read: NatObserved| {
            let whole = tables.iter().any(|rules| {
                let (rules, intact) = (rules.clone(), true);
                read == NatObserved::Present { rules, intact }
            });
            assert!(whole, "{read:#?}");
        };
        std::thread::scope(|scope| {
            let writing = scope.spawn(|| {
                for round in 0..200 {
                    set(&mut writer, &tables[round % 2]);
                }
            });
            while !writing.is_finished() {
                match kernel.nat(&table()) {
                    Ok(read) => check(read),
                    Err(error) => {
                        assert!(matches!(error, KernelError::Interrupted { .. }), "{error}")
                    }
                }
            }
        });
        check(kernel.nat(&table()).unwrap());
    });
}

/// Waits for the next thing that happens to our table.
fn next(events: &mut NatEvents) -> NatEvent {
    loop {
        if let Some(event) = events.wait().unwrap().into_iter().next() {
            return event;
        }
    }
}

#[test]
fn others_are_heard_about_our_table_alone_and_we_ourselves_are_not() {
    in_namespace(|| {
        let mut kernel = Kernel::open().unwrap();
        let mut events = NatEvents::open(&mut kernel, &table()).unwrap();
        nft_file(FOREIGN);
        for deed in [
            "add chain inet srsync other",
            "delete table inet srsync",
            "flush ruleset",
            "table inet other {}; flush chain inet srsync postrouting",
        ] {
            set(&mut kernel, &[]);
            set(&mut kernel, &uncounted(rules()));
            nft_file("table ip srsync { chain c {}; }; table inet srsync-84 { chain c {}; }");
            nft_file("delete table ip srsync; delete table inet srsync-84");
            nft_file(deed);
            let NatEvent::Changed { by: Some(by) } = next(&mut events) else {
                panic!("{deed}: nobody is named");
            };
            assert!(
                by.starts_with("pid ") && by.ends_with(" (nft)"),
                "{deed}: {by}"
            );
        }
    });
}
