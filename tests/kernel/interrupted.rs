//! Killed at any moment, srsync leaves a node that the next run completes; and never two at once.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::process::Child;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::program::Srsync;
use crate::support::tables::{count, foreign, quiet, wait_for_links, wait_until};
use crate::support::watch::Changes;
use crate::support::{in_namespace, ip, veth};

/// Half of them of each family.
const ROUTES: usize = 20_000;

fn on_a_node(test: impl FnOnce(&Srsync<'_>) + Send) {
    in_namespace(|| {
        quiet();
        veth("east", "east-peer");
        ip("addr add 10.0.1.1/24 dev east");
        ip("addr add fd00:1::1/64 dev east nodad");
        ip("route add default via 10.0.1.254 proto dhcp");
        ip("route add 20.0.0.0/24 via 10.0.1.9 proto bgp metric 900");
        ip("-6 route add 2001:db8::/64 via fd00:1::9 proto bgp metric 900");
        ip("route add blackhole 20.0.1.0/24 proto bird table 100");
        ip("rule add from 10.9.0.0/16 lookup 100 priority 1000");
        wait_for_links();
        let srsync = Srsync::here();
        let mut ranges = String::new();
        for n in 0..ROUTES / 2 {
            writeln!(ranges, "20.{}.{}.0/24", n / 256, n % 256).unwrap();
            writeln!(ranges, "2001:db8:0:{n:x}::/64").unwrap();
        }
        srsync.file("ranges.txt", &ranges);
        test(&srsync);
    });
}

/// A document that wants all ranges, in a way that no other `variant` does.
fn want(srsync: &Srsync<'_>, variant: usize) {
    // Now and then in other slots: then all are added and the old ones removed.
    let metric = 100 + variant / 4;
    srsync.document(
        "many",
        &format!(
            "destinationsFrom: [{{file: ranges.txt}}], mtu: {}, metric: {metric}, \
             gateways: [{{address: 10.0.1.2}}, {{address: 'fd00:1::2'}}]",
            1300 + variant
        ),
    );
}

fn send(signal: Signal, to: &Child) {
    // One that has just ended does not mind.
    let _ = kill(Pid::from_raw(to.id() as i32), signal);
}

/// Our routes by prefix, and how many are of this variant.
fn ours(variant: usize) -> (BTreeSet<String>, usize) {
    let mut prefixes = BTreeSet::new();
    let mut of_variant = 0;
    let mtu = format!(" mtu {} ", 1300 + variant);
    for family in ["-4", "-6"] {
        for line in ip(&format!("-o {family} route show proto 83")).lines() {
            prefixes.extend(line.split(' ').next().map(str::to_owned));
            of_variant += usize::from(format!("{line} ").contains(&mtu));
        }
    }
    (prefixes, of_variant)
}

/// Applies a new variant and sends `signal` after so many changes. No prefix is without a route
/// then. Says whether it was hit in the middle of its changes.
fn interrupt(srsync: &Srsync<'_>, variant: usize, signal: Signal, after: usize) -> bool {
    want(srsync, variant);
    let changes = Changes::watch();
    let mut child = srsync.start_apply();
    let running = changes.wait_for(after, &mut child);
    send(signal, &child);
    let output = child.wait_with_output().unwrap();
    assert!(running || output.status.success(), "{output:?}");
    let (prefixes, changed) = ours(variant);
    assert_eq!(prefixes.len(), ROUTES, "a prefix lost its route");
    0 < changed && changed < ROUTES
}

/// Whatever was left behind, one run completes it and the next has nothing to do.
fn complete(srsync: &Srsync<'_>, variant: usize) {
    srsync.converge();
    assert_eq!(srsync.apply().exits(0).count("keep"), ROUTES as u64);
    let (prefixes, of_variant) = ours(variant);
    assert_eq!((prefixes.len(), of_variant), (ROUTES, ROUTES));
    assert_eq!(count("proto 83"), ROUTES);
}

#[test]
fn killed_at_fifteen_moments_it_leaves_every_route_and_nothing_foreign_changed() {
    on_a_node(|srsync| {
        want(srsync, 0);
        srsync.converge();
        let before = foreign();
        let in_the_middle = (1..=15)
            .filter(|moment| {
                let after = 1 + (moment - 1) * ROUTES / 15;
                let hit = interrupt(srsync, *moment, Signal::SIGKILL, after);
                assert_eq!(foreign(), before, "after {after} changes");
                hit
            })
            .count();
        assert!(in_the_middle > 0, "no kill hit a run in the middle");
        complete(srsync, 15);
    });
}

#[test]
fn interrupted_from_the_keyboard_it_leaves_the_same() {
    on_a_node(|srsync| {
        want(srsync, 0);
        srsync.converge();
        let before = foreign();
        for moment in 1..=4 {
            interrupt(
                srsync,
                moment,
                Signal::SIGINT,
                1 + (moment - 1) * ROUTES / 4,
            );
            assert_eq!(foreign(), before);
        }
        complete(srsync, 4);
    });
}

/// Before its first change, while it reads documents and tables, there is nothing to leave behind.
#[test]
fn killed_before_its_first_change_it_has_changed_nothing() {
    on_a_node(|srsync| {
        want(srsync, 0);
        let changes = Changes::watch();
        let start = Instant::now();
        let mut child = srsync.start_apply();
        assert!(changes.wait_for(1, &mut child));
        let lead = start.elapsed();
        assert!(child.wait().unwrap().success());
        srsync.run("flush --yes").exits(0);
        let before = foreign();
        for part in 0..5 {
            let mut child = srsync.start_apply();
            // At different moments, whichever they are.
            std::thread::sleep(lead * part / 6);
            send(Signal::SIGKILL, &child);
            child.wait().unwrap();
            assert_eq!(foreign(), before);
        }
        complete(srsync, 0);
    });
}

/// Starts an apply and stops it in the middle of its changes, so that it holds the lock.
fn stopped_in_the_middle(srsync: &Srsync<'_>) -> Child {
    let changes = Changes::watch();
    let mut first = srsync.start_apply();
    assert!(changes.wait_for(1, &mut first), "it ended already");
    send(Signal::SIGSTOP, &first);
    let status = format!("/proc/{}/status", first.id());
    wait_until("the first is stopped", || {
        let status = String::from_utf8(std::fs::read(&status).unwrap()).unwrap();
        status.contains("State:\tT")
    });
    first
}

#[test]
fn the_second_of_two_is_told_who_is_at_work_and_changes_nothing() {
    on_a_node(|srsync| {
        want(srsync, 0);
        let first = stopped_in_the_middle(srsync);
        let (half_done, _) = ours(0);
        assert!(!half_done.is_empty());
        for command in ["apply", "flush --yes"] {
            let second = match command {
                "apply" => srsync.on_directory(command),
                _ => srsync.run(command),
            };
            let said = second.exits(1).stderr;
            let holder = format!("another srsync (pid {}: `", first.id());
            assert!(said.contains(&holder), "{said}");
            assert!(said.contains("protocol 83"), "{said}");
        }
        assert_eq!(ours(0).0, half_done);
        // Looking is not changing, and another number is another srsync.
        srsync.plan().exits(3);
        let other = Srsync::here().with("--protocol 84");
        other.document("other", "destinations: [192.0.2.0/24], type: blackhole");
        other.converge();
        send(Signal::SIGCONT, &first);
        let output = first.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        srsync.plan().exits(0);
        complete(srsync, 0);
    });
}

#[test]
fn the_lock_of_one_that_was_killed_does_not_block() {
    on_a_node(|srsync| {
        want(srsync, 0);
        let mut first = stopped_in_the_middle(srsync);
        srsync.on_directory("apply").exits(1);
        send(Signal::SIGKILL, &first);
        first.wait().unwrap();
        complete(srsync, 0);
    });
}

/// All started at once: each does the whole work, or says who does.
#[test]
fn of_many_at_once_some_work_and_the_others_say_who() {
    on_a_node(|srsync| {
        want(srsync, 0);
        let children: Vec<Child> = (0..6).map(|_| srsync.start_apply()).collect();
        let pids: Vec<u32> = children.iter().map(Child::id).collect();
        let mut worked = 0;
        for child in children {
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            match output.status.code() {
                Some(0) => worked += 1,
                Some(1) => assert!(
                    pids.iter().any(|pid| said.contains(&format!("(pid {pid}")))
                        // It ended between the refusal and the question.
                        || said.contains("a process that cannot be seen from here"),
                    "{said}"
                ),
                other => panic!("{other:?}: {said}"),
            }
        }
        assert!(worked > 0);
        complete(srsync, 0);
    });
}
