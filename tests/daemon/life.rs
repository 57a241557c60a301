//! How a daemon starts, ends and dies, and who may be beside it.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::node::{assert_ours, on_a_changing_node, on_a_node, ours, routes_of, spec, wait_for};
use crate::support::daemon::Daemon;
use crate::support::ip;
use crate::support::program::{Run, Srsync};
use crate::support::random::Random;
use crate::support::tables::foreign;
use crate::support::watch::Changes;

#[test]
fn a_restart_changes_nothing() {
    on_a_node(|srsync| {
        srsync.document("a", &spec(1, 2));
        srsync.document("b", &spec(2, 3));
        let mut daemon = Daemon::start(srsync, "");
        let changes = Changes::watch();
        daemon.stop();
        assert!(daemon.log().contains("stopped; the routes stay"));
        assert!(!daemon.socket().exists());
        daemon.launch_again(srsync, "");
        daemon.wait_ready();
        daemon.kill();
        assert!(daemon.socket().exists());
        daemon.launch_again(srsync, "");
        daemon.wait_ready();
        assert_eq!(changes.count(), 0);
        assert_ours(&[(1, 2), (2, 3)]);
        assert_eq!(daemon.status()["daemon"]["lastPass"]["changes"], 0);
        // What happened meanwhile is done at once.
        daemon.stop();
        srsync.document("a", &spec(1, 4));
        srsync.without("b");
        srsync.document("c", &spec(3, 2));
        daemon.launch_again(srsync, "");
        daemon.wait_ready();
        assert_ours(&[(1, 4), (3, 2)]);
    });
}

/// A pass reads whole tables: one for each thing that happens, not two.
#[test]
fn a_start_and_a_reload_are_one_pass_each() {
    on_a_node(|srsync| {
        srsync.document("a", &spec(1, 2));
        // Long enough for the reload to come first.
        let daemon = Daemon::start(srsync, "--debounce 10s");
        let passes = || ["start", "sources", "reload"].map(|trigger| daemon.passes(trigger));
        // Whatever were to follow would follow at once.
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(passes(), [1, 0, 0]);
        srsync.document("a", &spec(1, 3));
        daemon.signal(Signal::SIGHUP);
        wait_for(&[(1, 3)]);
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(passes(), [1, 0, 1]);
    });
}

#[test]
fn ctrl_c_ends_it_as_well() {
    on_a_node(|srsync| {
        srsync.document("a", &spec(1, 2));
        let mut daemon = Daemon::start(srsync, "");
        daemon.signal(Signal::SIGINT);
        assert!(daemon.wait().success());
        assert!(!daemon.socket().exists());
        assert_ours(&[(1, 2)]);
    });
}

/// At whatever it is just then, with edits before and after its last look at the files. What others
/// have, and what no edit is about, is there all along.
#[test]
fn killed_a_hundred_times_it_leaves_a_node_that_the_next_start_completes() {
    on_a_node(|srsync| {
        let mut random = Random::new(100);
        let mut wanted = vec![(1, 2), (2, 2), (3, 2)];
        let start = Instant::now();
        for (n, gateway) in &wanted {
            srsync.document(&format!("d{n}"), &spec(*n, *gateway));
        }
        let mut daemon = Daemon::start(srsync, "--debounce 5ms");
        let lead = start.elapsed().min(Duration::from_millis(100));
        let before = foreign();
        for death in 0..100 {
            for _ in 0..2 {
                edit(srsync, &mut wanted, &mut random);
                let part = random.below(100) as u32;
                std::thread::sleep(lead * part / 100);
            }
            daemon.kill();
            assert_eq!(foreign(), before, "death {death}");
            let there = ours();
            for (prefix, gateway) in routes_of([(1, 2)]) {
                assert_eq!(there.get(&prefix), Some(&gateway), "death {death}");
            }
            daemon.launch_again(srsync, "--debounce 5ms");
        }
        daemon.wait_ready();
        wait_for(&wanted);
        srsync.plan().exits(0);
        let lives = daemon.log().matches("ready: ").count();
        assert!(lives > 2, "it was always killed before its first pass");
    });
}

/// Changes, deletes or writes one of the documents other than the first.
fn edit(srsync: &Srsync<'_>, wanted: &mut Vec<(u16, u8)>, random: &mut Random) {
    let n = 2 + random.below(4) as u16;
    let name = format!("d{n}");
    let known = wanted.iter().position(|(known, _)| *known == n);
    match known {
        Some(known) if random.one_in(3) => {
            srsync.without(&name);
            wanted.remove(known);
        }
        _ => {
            let gateway = 2 + random.below(6) as u8;
            srsync.document(&name, &spec(n, gateway));
            match known {
                Some(known) => wanted[known].1 = gateway,
                None => wanted.push((n, gateway)),
            }
        }
    }
}

/// A daemon that is to be refused.
fn refused(srsync: &Srsync<'_>, flags: &str) -> Run {
    let socket = srsync.directory().join(".second");
    srsync.on_directory(&format!("daemon --socket {} {flags}", socket.display()))
}

#[test]
fn a_second_one_is_told_who_is_at_work_and_another_number_works_beside_it() {
    on_a_changing_node(|srsync| {
        srsync.document("a", &spec(1, 2));
        let daemon = Daemon::start(srsync, "");
        let changes = Changes::watch();
        let holder = format!("another srsync (pid {}: `", daemon.pid());
        let flush = srsync.run("flush --yes");
        for run in [refused(srsync, ""), srsync.on_directory("apply"), flush] {
            let said = run.exits(1).stderr;
            assert!(said.contains(&holder), "{said}");
            assert!(said.contains("protocol 83"), "{said}");
        }
        // Looking is not changing.
        srsync.plan().exits(0);
        assert_eq!(changes.count(), 0);

        let other = Srsync::here().with("--protocol 84");
        other.document("b", &spec(2, 2));
        let mut beside = Daemon::start(&other, "");
        assert_eq!(beside.state_of("198.18.2.0/24"), "Installed");
        // To each the other is a stranger.
        other.document("a", &spec(1, 2));
        let said = beside.wait_for_state("198.18.1.0/24", "Foreign");
        assert!(said.contains("srsync (83)"), "{said}");
        ip("route del 198.18.2.0/24 proto 84");
        let restored = |_: &_| !beside.events("routeRestored").is_empty();
        beside.eventually("the other repairs what is his", restored);
        beside.stop();
        assert_ours(&[(1, 2)]);
        assert_eq!(daemon.metric("srsync_drift_repaired_total"), 0);
    });
}

/// Who is told to wait gets his turn.
#[test]
fn the_lock_goes_with_the_daemon() {
    on_a_node(|srsync| {
        srsync.document("a", &spec(1, 2));
        let mut daemon = Daemon::start(srsync, "");
        refused(srsync, "").exits(1);
        daemon.kill();
        srsync.converge();
        daemon.launch_again(srsync, "");
        daemon.wait_ready();
        daemon.stop();
        srsync.converge();
    });
}

#[test]
fn what_cannot_be_watched_is_refused_as_a_source() {
    on_a_node(|srsync| {
        let said = srsync.run("daemon -").exits(2).stderr;
        assert!(said.contains("standard input"), "{said}");
        assert!(said.contains("srsync apply -"), "{said}");
        let said = srsync.run("daemon").exits(2).stderr;
        assert!(said.contains("no PATH given"), "{said}");
        assert!(said.contains("SRSYNC_SOURCES"), "{said}");
    });
}

/// Root without a single capability, and root of a user namespace that does not own this network.
#[test]
fn without_the_capability_it_says_what_it_needs() {
    on_a_node(|srsync| {
        srsync.document("a", &spec(1, 2));
        let wrappers: [&[&str]; 2] = [
            &["setpriv", "--bounding-set=-all", "--inh-caps=-all"],
            &["unshare", "--user", "--map-root-user"],
        ];
        for wrapper in wrappers {
            let plain = srsync.command("daemon");
            let mut command = Command::new(wrapper[0]);
            command.args(&wrapper[1..]).arg(plain.get_program());
            command.args(plain.get_args()).arg(srsync.directory());
            command
                .arg("--socket")
                .arg(srsync.directory().join(".socket"));
            let output = command.output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains("CAP_NET_ADMIN"), "{said}");
            assert!(said.contains("AmbientCapabilities"), "{said}");
        }
        assert_ours(&[]);
    });
}

/// A mistake in it, or somebody who finds one, must not have the whole machine.
#[test]
fn it_keeps_no_privilege_that_it_does_not_need() {
    on_a_node(|srsync| {
        srsync.document("a", &spec(1, 2));
        let daemon = Daemon::start(srsync, "");
        let threads = fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
        // A thread of the start (one that looked a name up, say) may end between being listed and being read.
        let threads: Vec<_> = threads
            .filter_map(|thread| fs::read_to_string(thread.unwrap().path().join("status")).ok())
            .collect();
        assert!(threads.len() > 1);
        for status in threads {
            let value = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name));
                line.unwrap_or_else(|| panic!("no {name} in {status}"))
                    .trim()
            };
            // CAP_NET_ADMIN and CAP_NET_RAW (linux/capability.h).
            let network = "0000000000003000";
            assert_eq!(value("CapEff:"), network);
            assert_eq!(value("CapPrm:"), network);
            assert_eq!(value("CapBnd:"), network);
            assert_eq!(value("CapInh:"), "0000000000000000");
            assert_eq!(value("CapAmb:"), "0000000000000000");
            assert_eq!(value("NoNewPrivs:"), "1");
        }
    });
}

/// It has stopped for a while, as a machine that is suspended or short of memory does.
#[test]
fn after_a_long_sleep_it_does_what_it_missed() {
    on_a_node(|srsync| {
        srsync.document("a", &spec(1, 2));
        srsync.document("b", &spec(2, 2));
        let daemon = Daemon::start(srsync, "");
        daemon.while_it_sleeps(|| {
            ip("route del 198.18.1.0/24 proto 83");
            srsync.document("b", &spec(2, 3));
            srsync.document("c", &spec(3, 2));
            std::thread::sleep(Duration::from_millis(300));
        });
        wait_for(&[(1, 2), (2, 3), (3, 2)]);
    });
}
