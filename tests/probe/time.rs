//! When probes are sent.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use srsync::model::document::Probe;
use srsync::probe::{Outcome, Target};

use super::probing::{
    Probing, Server, V4, count_of, every, host, icmp, interface, node_and_gateway, target,
};

/// Addresses that the node has itself: probes that cost nobody else anything.
fn loopback(count: u8, milliseconds: u64) -> Vec<Target> {
    let target = |n| {
        let mut target = every(milliseconds, icmp(&format!("127.0.0.{n}")));
        target.interface = interface("lo");
        target
    };
    (1..=count).map(target).collect()
}

#[test]
fn who_is_slow_or_silent_delays_nobody() {
    let (node, gateway) = node_and_gateway();
    let _server = Server::start(&gateway, V4.port(8080), None);
    let mut targets = vec![every(20, icmp(V4.gateway))];
    // Nobody has these addresses, and the server never answers.
    for n in 100..150 {
        targets.push(every(1000, icmp(&format!("10.0.1.{n}"))));
        targets.push(every(1000, icmp(&format!("fd00:1::{n}"))));
        targets.push(every(1000, target(&format!("10.0.1.{n}"), Probe::Arp)));
    }
    let http = Probe::Http {
        port: 8080,
        path: "/".to_owned(),
        host: None,
        expect_status: (200, 399),
    };
    targets.push(every(1000, target(V4.gateway, http)));
    let probing = Probing::start(&node, targets);
    probing.wait_for_answer();
    let outcomes = probing.during(Duration::from_secs(4));
    let quick: Vec<_> = outcomes
        .iter()
        .filter(|probed| probed.target.check.interval == Duration::from_millis(20))
        .collect();
    // Of 200, on a machine that has other things to do.
    assert!(quick.len() >= 100, "{} in four seconds", quick.len());
    assert!(quick.len() <= 210, "{} in four seconds", quick.len());
    let answered = |outcome: &Outcome| matches!(outcome, Outcome::Answered { .. });
    let answers = quick.iter().filter(|probed| answered(&probed.outcome));
    assert!(answers.count() >= 90);
    assert!(count_of(&outcomes, "10.0.1.100") >= 2);
}

/// A probe that is waited for to the end ends before the next one is due.
#[test]
fn one_that_is_never_answered_keeps_its_pace() {
    let (node, _gateway) = node_and_gateway();
    let probing = Probing::start(&node, [every(20, icmp("10.0.1.99"))]);
    probing.next();
    let outcomes = probing.during(Duration::from_secs(3));
    assert!((75..=160).contains(&outcomes.len()), "{}", outcomes.len());
}

#[test]
fn new_targets_are_spread_in_time() {
    let node = host();
    let start = Instant::now();
    let probing = Probing::start(&node, loopback(100, 2000));
    let mut first = None;
    let mut seen = BTreeSet::new();
    while seen.len() < 100 {
        seen.insert(probing.next().target.gateway);
        first.get_or_insert(start.elapsed());
    }
    let took = start.elapsed() - first.unwrap();
    assert!(took > Duration::from_millis(500), "all within {took:?}");
    assert!(took < Duration::from_secs(30), "{took:?}");
}

#[test]
fn what_is_not_wanted_any_more_is_not_heard_of_again() {
    let node = host();
    let [one, two, three] = loopback(3, 50).try_into().unwrap();
    let probing = Probing::start(&node, [one.clone(), two.clone()]);
    for target in [&one, &two] {
        while *probing.next().target != *target {}
    }
    probing.set([two.clone(), three.clone()]);
    while *probing.next().target != three {}
    let outcomes = probing.during(Duration::from_secs(1));
    assert_eq!(count_of(&outcomes, "127.0.0.1"), 0);
    assert!(count_of(&outcomes, "127.0.0.2") > 5);
    assert!(count_of(&outcomes, "127.0.0.3") > 5);
    probing.set([]);
    // One may have been under way to us.
    probing.during(Duration::from_millis(500));
    assert_eq!(probing.during(Duration::from_millis(500)), []);
    probing.set([one]);
    probing.wait_for_answer();
}

/// By how far apart its probes are: it would start anew at another time.
#[test]
fn a_target_that_stays_is_not_disturbed() {
    let node = host();
    let [steady, other] = loopback(2, 1500).try_into().unwrap();
    let probing = Probing::start(&node, [steady.clone()]);
    probing.next();
    // Each of these is sooner than the next probe; would it start anew, it might never come.
    for round in 0..40 {
        std::thread::sleep(Duration::from_millis(100));
        match round % 2 {
            0 => probing.set([steady.clone(), other.clone()]),
            _ => probing.set([steady.clone()]),
        }
    }
    let outcomes = probing.during(Duration::from_millis(500));
    let steady = count_of(&outcomes, "127.0.0.1");
    assert!(
        (2..=4).contains(&steady),
        "{steady} in four and a half seconds"
    );
}
