//! SIGHUP: config and sources are read again, and what makes no sense changes nothing.

use std::fs;

use nix::sys::signal::Signal;

use super::node::{assert_ours, on_a_node, spec, wait_for};
use crate::support::daemon::Daemon;
use crate::support::ip;
use crate::support::program::Srsync;

/// Writes the config file and has it read; returns what is said about it.
fn reload(daemon: &Daemon, srsync: &Srsync<'_>, config: &str) -> (String, String) {
    srsync.file(".config", config);
    let before = daemon.events("reloaded").len();
    daemon.signal(Signal::SIGHUP);
    // Shown is what is known after a pass.
    daemon.eventually("the config is read", |_| {
        daemon.events("reloaded").len() > before
    });
    let told = daemon.events("reloaded").pop().unwrap();
    let text = |name: &str| told[name].as_str().unwrap().to_owned();
    (text("level"), text("message"))
}

#[test]
fn a_guard_that_is_added_counts_from_the_reload_on() {
    on_a_node(|srsync| {
        srsync.document("a", &spec(1, 2));
        let daemon = Daemon::start(srsync, "");
        let (level, said) = reload(&daemon, srsync, "protectedSubnets: [198.18.1.128/25]\n");
        assert_eq!(level, "info");
        assert!(said.contains("SIGHUP"), "{said}");
        let said = daemon.wait_for_state("198.18.1.0/24", "Refused");
        assert!(said.contains("198.18.1.128/25"), "{said}");
        assert_eq!(daemon.state_of("2001:db8:1::/64"), "Installed");
        // What is refused is not made worse: what was there stays, but is not put back.
        assert_ours(&[(1, 2)]);
        ip("route del 198.18.1.0/24 proto 83");
        daemon.eventually("that is noticed", |_| daemon.passes("kernel") >= 1);
        assert!(!ip("route show proto 83").contains("198.18.1.0/24"));
        reload(&daemon, srsync, "{}\n");
        daemon.wait_for_state("198.18.1.0/24", "Installed");
        assert_ours(&[(1, 2)]);
        assert_eq!(daemon.metric("srsync_reloads_total"), 2);
    });
}

#[test]
fn a_config_with_mistakes_changes_nothing_and_is_told() {
    on_a_node(|srsync| {
        srsync.document("a", &spec(1, 2));
        srsync.document("b", &spec(2, 2));
        with_broken_configs(srsync);
    });
}

fn with_broken_configs(srsync: &Srsync<'_>) {
    srsync.file(".config", "protectedSubnets: [198.18.2.0/24]\n");
    let daemon = Daemon::start(srsync, "");
    let refused = daemon.state_of("198.18.2.0/24");
    assert!(refused.starts_with("Refused"), "{refused}");
    for broken in [
        "protectedSubnet: []\n",
        "protectedSubnets: [198.18.2.7/24]\n",
        "[\n",
    ] {
        let (level, said) = reload(&daemon, srsync, broken);
        assert_eq!(level, "error");
        assert!(said.contains("the old settings stay"), "{said}");
        // The old guard holds, and the daemon works.
        assert_eq!(daemon.state_of("198.18.2.0/24"), refused);
    }
    fs::remove_file(srsync.directory().join(".config")).unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.eventually("it is told that the file is gone", |_| {
        daemon.events("reloaded").len() == 4
    });
    assert_eq!(daemon.state_of("198.18.2.0/24"), refused);
    srsync.document("c", &spec(3, 2));
    daemon.wait_for_state("198.18.3.0/24", "Installed");
    let (level, _) = reload(&daemon, srsync, "{}\n");
    assert_eq!(level, "info");
    wait_for(&[(1, 2), (2, 2), (3, 2)]);
}

#[test]
fn sources_of_the_config_come_and_go_with_it() {
    on_a_node(|srsync| {
        let other = Srsync::here();
        srsync.document("a", &spec(1, 2));
        other.document("b", &spec(2, 2));
        let (one, two) = (srsync.directory().display(), other.directory().display());
        srsync.file(".config", &format!("sources: [{one}]\n"));
        let daemon = Daemon::on(srsync, &[], "");
        assert_ours(&[(1, 2)]);
        reload(&daemon, srsync, &format!("sources: [{one}, {two}]\n"));
        wait_for(&[(1, 2), (2, 2)]);
        // The new one is watched like the old one.
        other.document("b", &spec(2, 3));
        wait_for(&[(1, 2), (2, 3)]);
        reload(&daemon, srsync, &format!("sources: [{two}]\n"));
        wait_for(&[(2, 3)]);
        // None at all is a mistake, not a wish.
        let (level, said) = reload(&daemon, srsync, "{}\n");
        assert_eq!(level, "error");
        assert!(said.contains("no PATH given"), "{said}");
        assert_ours(&[(2, 3)]);
    });
}

#[test]
fn what_takes_a_restart_is_said_and_waits_for_it() {
    on_a_node(|srsync| {
        srsync.document("a", &spec(1, 2));
        let mut daemon = Daemon::start(srsync, "");
        srsync.file(".config", "protocol: 84\nlisten: 127.0.0.1:9\n");
        daemon.signal(Signal::SIGHUP);
        daemon.eventually("it is told", |_| {
            let told = daemon.messages("reloaded");
            told.iter()
                .any(|said| said == "protocol, listen changed: that takes a restart of the daemon")
        });
        srsync.document("b", &spec(2, 2));
        wait_for(&[(1, 2), (2, 2)]);
        daemon.stop();
    });
}

/// What deletes everything by mistake in one place can be stopped in another.
#[test]
fn more_removals_than_allowed_wait_for_somebody_to_look() {
    on_a_node(|srsync| {
        for n in 1..=10 {
            srsync.document(&format!("d{n}"), &spec(n, 2));
        }
        let daemon = Daemon::start(srsync, "--max-removals 4");
        for n in 2..=10 {
            srsync.without(&format!("d{n}"));
        }
        let withheld = |status: &serde_json::Value| {
            let documents = status["documents"].as_array().unwrap().len();
            documents == 1 && status["removalsWithheld"].is_object()
        };
        let status = daemon.eventually("removals are withheld", withheld);
        let why = status["removalsWithheld"]["message"].as_str().unwrap();
        assert!(why.contains("maxRemovals"), "{why}");
        assert_eq!(daemon.messages("removals").len(), 1);
        let there = super::node::ours().len();
        assert!(there > 2 + 4, "{there} are left");
        // The same again, and again, is not less of a mistake.
        ip("route del 198.18.1.0/24 proto 83");
        daemon.eventually("it is back", |_| {
            daemon.metric("srsync_drift_repaired_total") == 1
        });
        assert_eq!(super::node::ours().len(), there);
    });
}
