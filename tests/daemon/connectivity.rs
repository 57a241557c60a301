//! Connectivity checks of a running daemon: what it shows and tells of them, and that nothing else hangs on them.

use serde_json::{Value, json};

use super::failover::between_two_gateways;
use crate::support::daemon::Daemon;
use crate::support::program::Srsync;
use crate::support::{Namespace, address, ip};

/// Behind the first gateway.
const FAR: [&str; 2] = ["198.51.100.9", "2001:db8:f::9"];

/// Routes there, a far host that answers, and a check of it.
fn far_host(srsync: &Srsync<'_>, gateway: &Namespace) {
    srsync.document("a", "destinations: [198.51.100.0/24], gateway: 10.0.1.2");
    srsync.document(
        "b",
        "destinations: ['2001:db8:f::/64'], gateway: 'fd00:1::2'",
    );
    appears(gateway);
    check(srsync, "reachable", "");
}

fn appears(gateway: &Namespace) {
    let lengths = [32, 128];
    for (far, length) in FAR.into_iter().zip(lengths) {
        gateway.enter(|| address(&format!("{far}/{length}"), "lo"));
    }
}

fn goes(gateway: &Namespace) {
    for (far, length) in FAR.into_iter().zip([32, 128]) {
        gateway.ip(&format!("addr del {far}/{length} dev lo"));
    }
}

fn check(srsync: &Srsync<'_>, expect: &str, more: &str) {
    let text = format!(
        "apiVersion: srsync.dev/v1alpha1\nkind: ConnectivityCheck\nmetadata: {{name: far}}\nspec:\n  \
         targets:\n  - {}\n  - '{}'\n  expect: {expect}\n  interval: 1s\n  timeout: 1s\n  attempts: 2\n{more}",
        FAR[0], FAR[1]
    );
    srsync.file("check.yaml", &text);
}

/// The verdicts, in the order of targets.
fn verdicts(status: &Value) -> Vec<&str> {
    let checks = status["daemon"]["checks"].as_array().unwrap();
    let verdicts = checks.iter().map(|check| check["verdict"].as_str());
    verdicts.map(Option::unwrap).collect()
}

#[track_caller]
fn wait_for(daemon: &Daemon, verdict: &str) -> Value {
    let both = [verdict; 2];
    daemon.eventually(&format!("both are {verdict}"), |status| {
        verdicts(status) == both
    })
}

fn success(daemon: &Daemon) -> [u64; 2] {
    FAR.map(|far| {
        let labels = format!("{{check=\"far\",target=\"icmp {far}\",expect=\"reachable\"}}");
        daemon.metric(&format!("srsync_check_success{labels}"))
    })
}

#[test]
fn a_verdict_follows_the_far_host() {
    between_two_gateways(|srsync, [gateway, _]| {
        far_host(srsync, gateway);
        let daemon = Daemon::start(srsync, "");
        let status = wait_for(&daemon, "Passed");
        let first = &status["daemon"]["checks"][0];
        assert_eq!(first["target"], "icmp 198.51.100.9");
        assert_eq!(first["expect"], "reachable");
        assert_eq!(first["line"], 6);
        assert!(first["file"].as_str().unwrap().ends_with("/check.yaml"));
        assert!(first["roundTripSeconds"].is_f64());
        let message = first["message"].as_str().unwrap();
        assert!(message.starts_with("answered in "), "{message}");
        assert_eq!(success(&daemon), [1, 1]);
        // That it is as it should be at first is nothing to tell.
        assert_eq!(daemon.messages("checkPassed"), [""; 0]);

        goes(gateway);
        let status = wait_for(&daemon, "Failed");
        assert_eq!(status["inSync"], true);
        assert_eq!(success(&daemon), [0, 0]);
        let told = daemon.events("checkFailed");
        assert_eq!(told.len(), 2);
        // Whichever of the two is noticed first.
        let first = told.iter().find(|told| told["line"] == 6).unwrap();
        assert_eq!(first["level"], "warn");
        let message = first["message"].as_str().unwrap();
        let words =
            "check far (check.yaml:6): icmp 198.51.100.9 should be reachable; that failed: ";
        assert!(message.starts_with(words), "{message}");
        assert!(daemon.log().contains(words), "{}", daemon.log());
        let text = daemon.get("/status?output=text").unwrap();
        assert!(text.contains("\nChecks\n"), "{text}");
        assert!(text.contains("Failed    icmp 198.51.100.9"), "{text}");

        appears(gateway);
        wait_for(&daemon, "Passed");
        assert_eq!(daemon.messages("checkPassed").len(), 2);
        assert_eq!(daemon.messages("checkFailed").len(), 2);
        assert_eq!(success(&daemon), [1, 1]);
    });
}

#[test]
fn what_must_stay_out_of_reach_is_told_when_it_is_not() {
    between_two_gateways(|srsync, [gateway, _]| {
        far_host(srsync, gateway);
        goes(gateway);
        check(srsync, "unreachable", "");
        let daemon = Daemon::start(srsync, "");
        wait_for(&daemon, "Passed");
        appears(gateway);
        wait_for(&daemon, "Failed");
        let told = daemon.messages("checkFailed");
        assert!(
            told[0].contains("should be unreachable; that failed: answered in"),
            "{told:?}"
        );
    });
}

#[test]
fn what_cannot_be_asked_is_told_once_and_passes_when_it_can() {
    between_two_gateways(|srsync, [gateway, _]| {
        far_host(srsync, gateway);
        check(srsync, "reachable", "  interface: late\n");
        let daemon = Daemon::start(srsync, "");
        let asked = |status: &Value| {
            let checks = status["daemon"]["checks"].as_array().unwrap();
            checks.iter().all(|check| check["lastAsked"].is_string())
        };
        let status = daemon.eventually("both were asked", asked);
        assert_eq!(verdicts(&status), ["Unknown"; 2]);
        let told = daemon.messages("checkFailed");
        assert!(
            told[0].contains("is unknown: could not ask: there is no interface late"),
            "{told:?}"
        );
        ip("link set gw1 down");
        ip("link set gw1 name late");
        ip("link set late up");
        // The address of the other family went with it.
        address("fd00:1::1/64", "late");
        wait_for(&daemon, "Passed");
        assert_eq!(daemon.messages("checkPassed").len(), 2);
    });
}

#[test]
fn checks_follow_the_documents_and_the_labels() {
    between_two_gateways(|srsync, [gateway, _]| {
        far_host(srsync, gateway);
        let daemon = Daemon::start(srsync, "");
        let status = wait_for(&daemon, "Passed");
        let since = status["daemon"]["checks"][0]["since"].clone();
        // What stays the same is not asked anew, wherever it is written now.
        let text = std::fs::read_to_string(srsync.directory().join("check.yaml")).unwrap();
        srsync.file("check.yaml", &format!("# Moved down.\n{text}"));
        let status = daemon.eventually("it moved", |status| {
            status["daemon"]["checks"][0]["line"] == 7
        });
        assert_eq!(verdicts(&status), ["Passed"; 2]);
        assert_eq!(status["daemon"]["checks"][0]["since"], since);

        check(
            srsync,
            "reachable",
            "  nodeSelector: {matchLabels: {role: egress}}\n",
        );
        let status = wait_for(&daemon, "NotSelected");
        let message = status["daemon"]["checks"][0]["message"].as_str().unwrap();
        assert!(
            message.contains("nodeSelector wants role=egress"),
            "{message}"
        );
        assert!(
            !daemon
                .get("/metrics")
                .unwrap()
                .contains("srsync_check_success{")
        );
        srsync.file(".config", "node: {labels: {role: egress}}\n");
        daemon.signal(nix::sys::signal::Signal::SIGHUP);
        wait_for(&daemon, "Passed");

        srsync.without("check");
        daemon.eventually("it is gone", |status| {
            status["daemon"]["checks"] == json!([])
        });
        let text = daemon.get("/status?output=text").unwrap();
        assert!(!text.contains("\nChecks\n"), "{text}");
    });
}
