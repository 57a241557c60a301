//! Our table of nftables: what is set is what `nft` shows, and what reads back.

use std::io::Write;
use std::process::{Command, Stdio};

use srsync::kernel::Kernel;
use srsync::model::egress::{Counters, NatObserved, NatRule, NatTable, Translation};
use srsync::model::{Family, InterfaceName, Protocol};

use crate::support::in_namespace;

fn table() -> NatTable {
    NatTable::of(Protocol::SRSYNC)
}

/// Runs `nft ARGS` in the namespace of this thread; returns its output.
fn nft(args: &[&str]) -> String {
    let output = Command::new("nft").args(args).output();
    let output = output.expect("`nft` (nftables) is needed");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "nft {args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `nft -f` with this text.
fn nft_file(text: &str) {
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
fn rule(name: &str, family: Family, [sources, destinations, except]: [&str; 3]) -> NatRule {
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

fn out(mut rule: NatRule, interfaces: &[&str]) -> NatRule {
    let names = interfaces
        .iter()
        .map(|name| InterfaceName::new(name).unwrap());
    rule.out_interfaces = names.collect();
    rule
}

fn snat(mut rule: NatRule, to: &str) -> NatRule {
    rule.translation = Translation::To(to.parse().unwrap());
    rule
}

fn uncounted(rules: Vec<NatRule>) -> Vec<(NatRule, Counters)> {
    let zero = Counters::default();
    rules.into_iter().map(|rule| (rule, zero)).collect()
}

#[track_caller]
fn set(kernel: &mut Kernel, rules: &[(NatRule, Counters)]) {
    assert_eq!(
        kernel.set_nat(&table(), rules).unwrap(),
        Ok(()),
        "{rules:#?}"
    );
}

/// Sets rules, which then are there as they are.
#[track_caller]
fn set_and_read_back(kernel: &mut Kernel, rules: Vec<(NatRule, Counters)>) {
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
