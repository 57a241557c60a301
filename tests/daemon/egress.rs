//! Forwarding, translation and rules in a daemon: kept so for years, shown, and put back.

use serde_json::Value;

use crate::support::daemon::Daemon;
use crate::support::egress::{DOCUMENTS, FOREIGN_TABLES, Site};
use crate::support::program::Srsync;
use crate::support::tables::wait_until;

/// Rules beside the rest; what others do is noticed by events alone.
const RULES: &str = "---
apiVersion: srsync.dev/v1alpha1
kind: RoutingRule
metadata: {name: pods}
spec: {from: 10.42.0.0/16, table: main, priority: 1000}
";
const RARELY: &str = "--resync-interval 10m --allow-empty";

fn on_a_site(test: impl FnOnce(&Site, &Srsync<'_>)) {
    let site = Site::new();
    let srsync = Srsync::inside(&site.node);
    srsync.file("egress.yaml", &(DOCUMENTS.to_owned() + RULES));
    test(&site, &srsync);
}

/// What is in place, of all kinds.
fn installed(status: &Value) -> usize {
    let things = status["egress"].as_array().map_or(&[][..], Vec::as_slice);
    things
        .iter()
        .filter(|thing| thing["state"] == "Installed")
        .count()
}

#[test]
fn what_somebody_undoes_is_back_at_once() {
    on_a_site(|site, srsync| {
        site.nft(FOREIGN_TABLES);
        let daemon = Daemon::start(srsync, RARELY);
        site.assert_works();
        let there = site.node_state();
        let undo = |what: &str| match what.split_once(' ') {
            Some(("nft", script)) => site.nft(script),
            Some(("ip", arguments)) => drop(site.node.ip(arguments)),
            _ => site.node.sysctl(what, "0"),
        };
        let undone = [
            "nft delete table inet srsync",
            "nft flush table inet srsync",
            "nft add rule inet srsync postrouting accept",
            "ip rule del pref 1000",
            "ipv4/ip_forward",
            "ipv6/conf/all/forwarding",
        ];
        for (index, what) in undone.into_iter().enumerate() {
            undo(what);
            wait_until(what, || site.node_state() == there);
            daemon.eventually("it is told", |_| {
                daemon.events("egressRestored").len() > index
            });
            let told = daemon.events("egressRestored").pop().unwrap();
            assert_eq!(told["level"], "warn", "{told:#}");
            assert!(
                told["file"].as_str().unwrap().ends_with("egress.yaml"),
                "{told:#}"
            );
        }
        let by_whom = daemon.events("egressRestored").into_iter();
        let mut by_whom = by_whom.map(|told| told["message"].as_str().unwrap().to_owned());
        assert!(
            by_whom.any(|said| said.contains("(nft)")),
            "whoever did it is named"
        );
        site.assert_works();
    });
}

#[test]
fn an_edit_changes_just_that_and_a_mistake_changes_nothing() {
    on_a_site(|site, srsync| {
        let before = site.node_state();
        let daemon = Daemon::start(srsync, RARELY);
        site.assert_works();
        let there = site.node_state();

        let elsewhere = DOCUMENTS.replace("[eth0]", "[pods]") + RULES;
        srsync.file("egress.yaml", &elsewhere);
        let elsewhere = "oifname \"pods\"";
        wait_until("it is changed", || {
            site.table("inet srsync").contains(elsewhere)
        });
        site.assert_cut_off();
        let broken = DOCUMENTS.replace("outInterfaces", "outInterface") + RULES;
        let kept = site.node_state();
        srsync.file("egress.yaml", &broken);
        daemon.eventually("it is told", |_| !daemon.events("sourceInvalid").is_empty());
        assert_eq!(site.node_state(), kept);

        srsync.file("egress.yaml", &(DOCUMENTS.to_owned() + RULES));
        wait_until("it is as it was", || site.node_state() == there);
        site.assert_works();
        srsync.file("egress.yaml", "# nothing any more\n");
        wait_until("nothing is left", || site.node_state() == before);
    });
}

#[test]
fn a_restart_changes_nothing_and_what_was_before_is_still_known() {
    on_a_site(|site, srsync| {
        let before = site.node_state();
        let mut daemon = Daemon::start(srsync, RARELY);
        let there = site.node_state();
        for _ in 0..3 {
            daemon.kill();
            assert_eq!(site.node_state(), there);
            daemon.launch_again(srsync, RARELY);
            daemon.wait_ready();
            assert!(daemon.events("egressAdded").is_empty());
            assert!(daemon.events("egressReplaced").is_empty());
        }
        assert_eq!(site.node_state(), there);
        srsync.file("egress.yaml", "# nothing any more\n");
        wait_until("nothing is left", || site.node_state() == before);
    });
}

#[test]
fn it_is_seen_in_status_metrics_and_events() {
    on_a_site(|site, srsync| {
        let daemon = Daemon::start(srsync, RARELY);
        let status = daemon.status();
        assert_eq!(installed(&status), 5, "{status:#}");
        assert_eq!(
            daemon.metric("srsync_egress{kind=\"Masquerade\",state=\"Installed\"}"),
            2
        );
        assert_eq!(
            daemon.metric("srsync_egress{kind=\"RoutingRule\",state=\"Failed\"}"),
            0
        );
        assert_eq!(daemon.metric("srsync_in_sync"), 1);
        let added: Vec<String> = daemon
            .events("egressAdded")
            .iter()
            .map(|told| told["message"].as_str().unwrap().to_owned())
            .collect();
        let rule = "added rule 1000: from 10.42.0.0/16 lookup main of RoutingRule pods";
        assert!(added.iter().any(|said| said == rule), "{added:#?}");
        let changed = daemon.events("egressReplaced");
        let forward = "changed sysctl net.ipv4.ip_forward = 1 (was 0) of Forwarding pods";
        assert!(
            changed.iter().any(|told| told["message"] == forward),
            "{changed:#?}"
        );
        site.assert_works();
        let mut command = srsync.command("status");
        let output = command
            .arg("--socket")
            .arg(daemon.socket())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.contains("= rule 1000: from 10.42.0.0/16 lookup main"),
            "{text}"
        );
        assert!(
            text.contains("Forwarding, NAT, rules: 5 in place."),
            "{text}"
        );
    });
}

#[test]
fn somebody_who_keeps_undoing_it_is_not_fought() {
    on_a_site(|site, srsync| {
        let daemon = Daemon::start(srsync, RARELY);
        let contested =
            |status: &Value| !status["daemon"]["contested"].as_array().unwrap().is_empty();
        for times in 1..50 {
            site.node.sysctl("ipv4/ip_forward", "0");
            daemon.eventually("that is noticed", |status| {
                contested(status) || daemon.events("egressRestored").len() >= times
            });
            if contested(&daemon.status()) {
                break;
            }
            wait_until("it is back", || site.setting("ipv4/ip_forward") == "1");
        }
        let status = daemon.eventually("it is contested", contested);
        let what = &status["daemon"]["contested"][0]["route"];
        assert_eq!(what, "sysctl net.ipv4.ip_forward = 1", "{status:#}");
        // The first wait is a second.
        wait_until("it is back all the same", || {
            site.setting("ipv4/ip_forward") == "1"
        });
    });
}
