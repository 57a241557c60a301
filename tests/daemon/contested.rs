//! Somebody who keeps undoing a route: no war, but he is named, and the route is back when he stops.

use serde_json::Value;

use super::node::{on_a_node, ours, spec, wait_for};
use crate::support::culprit::Culprit;
use crate::support::daemon::Daemon;
use crate::support::tables::wait_until;

const PREFIX: &str = "198.18.1.0/24";

fn contested(status: &Value) -> &[Value] {
    status["daemon"]["contested"].as_array().unwrap()
}

/// Deletes the route each time it is there, until that is noticed.
fn fight(daemon: &Daemon, culprit: &mut Culprit) -> Value {
    let mut deleted = 0;
    while contested(&daemon.status()).is_empty() {
        assert!(deleted < 50, "it is restored again and again");
        wait_until("the route is there", || ours().contains_key(PREFIX));
        culprit.run(&format!("route del {PREFIX} proto 83"));
        deleted += 1;
        daemon.eventually("that is noticed", |status| {
            let restored = daemon.metric("srsync_drift_repaired_total");
            restored >= deleted || !contested(status).is_empty()
        });
    }
    daemon.status()
}

#[test]
fn somebody_who_keeps_undoing_a_route_is_named_and_the_route_is_restored_later() {
    on_a_node(|srsync| {
        srsync.document("a", &spec(1, 2));
        let daemon = Daemon::start(srsync, "");
        let mut culprit = Culprit::new();
        let status = fight(&daemon, &mut culprit);
        let [one] = contested(&status) else {
            panic!("{status:#}");
        };
        assert_eq!(one["route"], format!("{PREFIX} metric 0 table main"));
        assert_eq!(one["by"], culprit.name());
        assert_eq!(one["undone"], 6);
        let said = daemon.messages("contested").pop().unwrap();
        assert!(said.contains(&culprit.name()), "{said}");
        assert!(said.contains(PREFIX), "{said}");

        // The first wait is a second, and it is shown what it is for.
        wait_for(&[(1, 2)]);
        assert_eq!(daemon.metric("srsync_contested_routes"), 1);
        culprit.run(&format!("route del {PREFIX} proto 83"));
        let said = daemon.wait_for_state(PREFIX, "Failed: contested");
        let by = format!("undone 7 times, last by {}", culprit.name());
        assert!(said.contains(&by), "{said}");
        let status = daemon.status();
        let [one] = contested(&status) else {
            panic!("{status:#}");
        };
        assert!(one["nextAttempt"].is_string(), "{one}");
        assert_eq!(status["inSync"], false);

        // Meanwhile the others are served as ever.
        srsync.document("b", &spec(2, 2));
        daemon.wait_for_state("198.18.2.0/24", "Installed");
        culprit.run("route del 2001:db8:1::/64 proto 83");
        wait_until("the other family is restored at once", || {
            ours().contains_key("2001:db8:1::/64")
        });

        wait_for(&[(1, 2), (2, 2)]);
        daemon.wait_for_state(PREFIX, "Installed");
        assert_eq!(daemon.events("contested").len(), 1);
    });
}

/// It is not worth a fight when nobody wants it any more.
#[test]
fn a_contested_route_whose_document_goes_is_not_restored() {
    on_a_node(|srsync| {
        srsync.document("a", &spec(1, 2));
        srsync.document("b", &spec(2, 2));
        let daemon = Daemon::start(srsync, "");
        fight(&daemon, &mut Culprit::new());
        srsync.without("a");
        wait_for(&[(2, 2)]);
        daemon.eventually("it is in sync", |status| status["inSync"] == true);
    });
}
