//! What the kernel's tables hold, as `ip` shows it.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{ip, sysctl};

/// Keeps links that are made from now on from getting addresses and routes of their own: what a
/// test dumps is then what the test made. In the namespace of this thread.
pub fn quiet() {
    at_once();
    for scope in ["all", "default"] {
        sysctl(&format!("ipv6/conf/{scope}/addr_gen_mode"), "1");
    }
}

/// Makes addresses of links that are made from now on usable at once, and lets packets in
/// whichever way they come. In the namespace of this thread.
pub fn at_once() {
    for scope in ["all", "default"] {
        sysctl(&format!("ipv6/conf/{scope}/accept_dad"), "0");
        sysctl(&format!("ipv6/conf/{scope}/accept_ra"), "0");
        sysctl(&format!("ipv4/conf/{scope}/rp_filter"), "0");
    }
}

/// Waits until a condition holds, and fails with what it is about if it does not for long.
#[track_caller]
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "waited in vain: {what}"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Listens where a server of the same test may just have ended. A program that another test is starting can still
/// hold that one's socket: descriptors are closed when it begins (`O_CLOEXEC`), not when it is forked.
pub fn listen(address: (&str, u16)) -> TcpListener {
    let mut bound = None;
    wait_until("the port is free", || {
        bound = TcpListener::bind(address).ok();
        bound.is_some()
    });
    bound.expect("it is bound")
}

/// Waits until the links that are set up are up and the kernel's own routes on them are there. Those
/// of IPv6 come a moment later than links and addresses (a work queue, `addrconf_dad_work`).
pub fn wait_for_links() {
    wait_until("all links are up", || {
        !ip("-o link show up").contains("state DOWN")
            && !dump().contains("linkdown")
            && !ip("addr show").contains("tentative")
            && ipv6_is_there()
    });
}

/// Whether every IPv6 address and every link that carries packets has its route in table `local`.
fn ipv6_is_there() -> bool {
    let local = ip("-6 route show table local");
    let has = |begin: String| local.lines().any(|line| line.starts_with(&begin));
    let addresses = ip("-6 -o addr show");
    let links = ip("-o link show up");
    let address_is_there = |line: &str| {
        let address = line.split_whitespace().nth(3);
        let address = address.and_then(|address| address.split('/').next());
        has(format!("local {} ", address.unwrap_or_default()))
    };
    let link_is_there = |line: &str| {
        let name = line.split_whitespace().nth(1);
        let name = name.and_then(|name| name.split([':', '@']).next());
        let name = name.unwrap_or_default();
        !line.contains("LOWER_UP")
            || line.contains("LOOPBACK")
            || has(format!("multicast ff00::/8 dev {name} "))
    };
    addresses.lines().all(address_is_there) && links.lines().all(link_is_there)
}

/// All routes and rules of both families, one a line, in the kernel's order, without what changes
/// by itself.
fn dump() -> String {
    let mut text = String::new();
    for family in ["-4", "-6"] {
        text += &ip(&format!("-o -d {family} route show table all"));
        text += &ip(&format!("-o -d {family} rule show"));
    }
    text += &ip("-o -d nexthop show");
    text.lines()
        .map(|line| without_expiry(line) + "\n")
        .collect()
}

fn without_expiry(line: &str) -> String {
    let words = line.split(' ');
    let volatile = |word: &&str| !(word.ends_with("sec") && word.len() > 3);
    let kept: Vec<&str> = words.filter(volatile).collect();
    kept.join(" ")
}

/// Everything that does not carry one of these protocol numbers; see [`dump`].
pub fn foreign_to(protocols: &[u8]) -> String {
    let ours: Vec<String> = protocols.iter().map(|p| format!(" proto {p} ")).collect();
    let dump = dump();
    let foreign = dump
        .lines()
        .filter(|line| !ours.iter().any(|ours| line.contains(ours)));
    foreign.map(|line| format!("{line}\n")).collect()
}

/// Everything that is not srsync's.
pub fn foreign() -> String {
    foreign_to(&[83])
}

/// Routes of a family as `ip -j -d` has them, of every table.
pub fn routes(family: &str, selector: &str) -> Vec<Value> {
    let text = ip(&format!("-j -d {family} route show table all {selector}"));
    let parsed: Value = serde_json::from_str(&text).unwrap();
    parsed.as_array().unwrap().clone()
}

/// How many routes of both families there are, of those that a selector of `ip route show` picks.
pub fn count(selector: &str) -> usize {
    ["-4", "-6"]
        .iter()
        .map(|family| {
            ip(&format!("-o {family} route show table all {selector}"))
                .lines()
                .count()
        })
        .sum()
}
