//! Gateways that somebody decided about, by hand or in documents: traffic moves at once, comes back
//! when that is over, and is never lost for it.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use srsync::model::Timestamp;

use crate::support::daemon::Daemon;
use crate::support::program::{Run, Srsync};
use crate::support::tables::wait_until;
use crate::support::{Namespace, ip_if_any};

use super::failover::{self, leads_also_to, silence};

const V4: &str = "198.18.1.0/24";
const V6: &str = "2001:db8:1::/48";
/// Without health checks, in both families.
const UNWATCHED: &str = "destinations: [198.18.1.0/24, '2001:db8:1::/48'], gateways: [{address: \
                         10.0.1.2}, {address: 10.0.2.2}, {address: 'fd00:1::2'}, {address: 'fd00:2::2'}]";
const WATCHED: &str = "destinations: [198.18.1.0/24], gateways: [{address: 10.0.1.2}, {address: \
                       10.0.2.2}], healthCheck: {icmp: {}, interval: 50ms, holdDown: 1s}";

/// Two gateways, and `spec` as the only document, `a`.
fn between_two_gateways(spec: &str, test: impl FnOnce(&Srsync<'_>, &[Namespace; 2]) + Send) {
    failover::between_two_gateways(|srsync, gateways| {
        srsync.document("a", spec);
        test(srsync, gateways);
    });
}

/// Whether packets to this prefix go to this gateway.
fn leads(prefix: &str, gateway: &str) -> bool {
    let (network, _) = prefix.split_once('/').unwrap();
    let way = ip_if_any(&format!("route get {network}"));
    way.contains(&format!("via {gateway} "))
}

/// `srsync gateway …`, asked of this daemon.
fn gateway(srsync: &Srsync<'_>, daemon: &Daemon, what: &str) -> Run {
    let socket = daemon.socket();
    srsync.run(&format!("gateway {what} --socket {}", socket.display()))
}

fn declare(srsync: &Srsync<'_>, gateway: &str, more: &str) {
    srsync.file(
        "maintenance.yaml",
        &format!(
            "# Announced.\napiVersion: srsync.dev/v1alpha1\nkind: GatewayOverride\n\
             metadata: {{name: maintenance}}\nspec: {{gateway: '{gateway}', {more}}}\n"
        ),
    );
}

/// The messages of a kind once there are so many: what is told of a pass is shown after it.
fn told(daemon: &Daemon, kind: &str, count: usize) -> Vec<String> {
    wait_until(kind, || daemon.messages(kind).len() >= count);
    daemon.messages(kind)
}

fn after(wait: Duration) -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_millis(0).after(now + wait)
}

fn me() -> String {
    format!("user {}", nix::unistd::getuid())
}

#[test]
fn without_health_checks_a_drain_moves_traffic_and_undrain_brings_it_back() {
    between_two_gateways(UNWATCHED, |srsync, _| {
        let daemon = Daemon::start(srsync, "");
        assert!(leads(V4, "10.0.1.2") && leads(V6, "fd00:1::2"));
        let changes = crate::support::watch::Changes::watch();
        let said = gateway(srsync, &daemon, "drain 10.0.1.2").exits(0).stdout;
        assert_eq!(
            said,
            "gateway 10.0.1.2 is drained\n  a: 1 route now via 10.0.2.2 dev gw2\n"
        );
        // It is so when it is said, and the other family has another gateway.
        assert!(leads(V4, "10.0.2.2") && leads(V6, "fd00:1::2"));
        gateway(srsync, &daemon, "undrain 10.0.1.2").exits(0);
        assert!(leads(V4, "10.0.1.2"));
        let said = gateway(srsync, &daemon, "drain fd00:1::2").exits(0).stdout;
        assert!(said.contains("1 route now via fd00:2::2 dev gw2"), "{said}");
        assert!(leads(V6, "fd00:2::2"));
        let said = gateway(srsync, &daemon, "undrain fd00:1::2")
            .exits(0)
            .stdout;
        assert_eq!(
            said,
            "gateway fd00:1::2 is no longer drained\n  a: 1 route now via fd00:1::2 dev gw1\n"
        );
        assert!(leads(V4, "10.0.1.2") && leads(V6, "fd00:1::2"));
        assert_eq!(changes.count(), 4, "each is one atomic change");
        let by = me();
        let drained = daemon.messages("gatewayDrained");
        assert_eq!(drained[0], format!("gateway 10.0.1.2 is drained by {by}"));
        assert_eq!(
            daemon.messages("gatewayReleased")[0],
            format!("gateway 10.0.1.2 is no longer drained: undrained by {by}")
        );
        assert!(daemon.passes("gateways") >= 4);
        let again = gateway(srsync, &daemon, "undrain 10.0.1.2").exits(0).stdout;
        assert_eq!(again, "gateway 10.0.1.2 is not drained\n");
    });
}

#[test]
fn a_watched_gateway_is_drained_and_returned_to_after_its_hold_down() {
    between_two_gateways(WATCHED, |srsync, _| {
        let daemon = Daemon::start(srsync, "");
        wait_until("both are known to work", || {
            daemon.messages("gatewayUp").len() == 2
        });
        gateway(srsync, &daemon, "drain 10.0.1.2").exits(0);
        wait_until("the second carries", || leads(V4, "10.0.2.2"));
        let shown = daemon.status()["daemon"]["overrides"].clone();
        assert_eq!(shown[0]["gateway"], "10.0.1.2");
        assert_eq!(shown[0]["state"], "Drained");
        assert_eq!(shown[0]["by"], me());
        let said = gateway(srsync, &daemon, "undrain 10.0.1.2").exits(0).stdout;
        assert_eq!(
            said,
            "gateway 10.0.1.2 is no longer drained\n  a: 1 route still via 10.0.2.2 dev gw2: to a \
             gateway that comes first it returns after its hold-down\n"
        );
        wait_until("the first carries again", || leads(V4, "10.0.1.2"));
        let shown = daemon.status()["daemon"]["overrides"].clone();
        assert_eq!(shown, serde_json::json!([]));
    });
}

#[test]
fn a_drain_ends_by_itself_and_draining_again_starts_its_time_anew() {
    between_two_gateways(UNWATCHED, |srsync, _| {
        let daemon = Daemon::start(srsync, "--resync-interval 10m");
        let said = gateway(srsync, &daemon, "drain 10.0.1.2 --for 1h").exits(0);
        assert!(
            said.stdout.contains("is drained, until 20"),
            "{}",
            said.stdout
        );
        let said = gateway(srsync, &daemon, "drain 10.0.1.2 --for 700ms").exits(0);
        assert!(
            said.stdout.contains("is drained again, until 20"),
            "{}",
            said.stdout
        );
        assert!(leads(V4, "10.0.2.2"));
        wait_until("it is over", || leads(V4, "10.0.1.2"));
        assert_eq!(
            told(&daemon, "gatewayReleased", 1),
            ["gateway 10.0.1.2 is no longer drained: its time is over"]
        );
    });
}

#[test]
fn a_drained_gateway_carries_on_until_another_works() {
    between_two_gateways(WATCHED, |srsync, [_, second]| {
        silence(second, true);
        let daemon = Daemon::start(srsync, "");
        wait_until("the second is down", || {
            !daemon.messages("gatewayDown").is_empty()
        });
        let said = gateway(srsync, &daemon, "drain 10.0.1.2").exits(0).stdout;
        assert_eq!(
            said,
            "gateway 10.0.1.2 is drained\n  a: 1 route still via 10.0.1.2 dev gw1: no other gateway is \
             known to work, and it stays in use until one does\n"
        );
        assert!(leads(V4, "10.0.1.2"));
        silence(second, false);
        wait_until("the second carries", || leads(V4, "10.0.2.2"));
    });
}

#[test]
fn with_ecmp_a_drained_gateway_is_taken_out_and_put_back() {
    between_two_gateways(UNWATCHED, |srsync, _| {
        srsync.document("a", &format!("{UNWATCHED}, mode: ecmp"));
        let daemon = Daemon::start(srsync, "");
        assert!(leads_also_to("10.0.1.2") && leads_also_to("10.0.2.2"));
        let said = gateway(srsync, &daemon, "drain 10.0.1.2").exits(0).stdout;
        assert!(said.contains("1 route now via 10.0.2.2 dev gw2"), "{said}");
        assert!(!leads_also_to("10.0.1.2") && leads_also_to("10.0.2.2"));
        gateway(srsync, &daemon, "undrain 10.0.1.2").exits(0);
        assert!(leads_also_to("10.0.1.2") && leads_also_to("10.0.2.2"));
    });
}

#[test]
fn a_document_drains_for_as_long_as_it_is_there_and_has_time() {
    between_two_gateways(UNWATCHED, |srsync, _| {
        let daemon = Daemon::start(srsync, "--resync-interval 10m");
        declare(srsync, "10.0.1.2", "state: Drained");
        wait_until("the second carries", || leads(V4, "10.0.2.2"));
        told(&daemon, "gatewayDrained", 1);
        let event = &daemon.events("gatewayDrained")[0];
        let message = event["message"].as_str().unwrap();
        assert!(
            message.starts_with("gateway 10.0.1.2 is drained by `maintenance` (")
                && message.ends_with("/maintenance.yaml:2)"),
            "{message}"
        );
        assert_eq!(event["line"], 2);
        // A file that goes bad keeps what it said.
        declare(srsync, "10.0.1.2", "state: drained");
        daemon.wait_for_condition("Invalid");
        assert!(leads(V4, "10.0.2.2"));
        let until = after(Duration::from_millis(1500));
        declare(
            srsync,
            "10.0.1.2",
            &format!("state: Drained, until: {until}"),
        );
        daemon.wait_for_condition("Valid");
        assert!(leads(V4, "10.0.2.2"));
        wait_until("its time is over", || leads(V4, "10.0.1.2"));
        declare(srsync, "10.0.1.2", "state: Drained");
        wait_until("the second carries again", || leads(V4, "10.0.2.2"));
        srsync.without("maintenance");
        wait_until("the document is gone", || leads(V4, "10.0.1.2"));
        let told = told(&daemon, "gatewayReleased", 2);
        assert!(told[0].ends_with(": its time is over"), "{told:?}");
        assert!(told[1].ends_with(" no longer says so"), "{told:?}");
    });
}

#[test]
fn a_gateway_that_is_forced_up_carries_whatever_its_probes_say() {
    between_two_gateways(WATCHED, |srsync, [first, _]| {
        silence(first, true);
        let daemon = Daemon::start(srsync, "");
        wait_until("the second carries", || leads(V4, "10.0.2.2"));
        declare(srsync, "10.0.1.2", "state: ForcedUp");
        wait_until("the first carries", || leads(V4, "10.0.1.2"));
        let told = told(&daemon, "gatewayForcedUp", 1);
        let expected =
            "gateway 10.0.1.2 counts as healthy, whatever its probes say, by `maintenance`";
        assert!(told[0].starts_with(expected), "{told:?}");
        // By hand goes before documents.
        gateway(srsync, &daemon, "drain 10.0.1.2").exits(0);
        wait_until("the second carries", || leads(V4, "10.0.2.2"));
        gateway(srsync, &daemon, "undrain 10.0.1.2").exits(0);
        wait_until("the first carries again", || leads(V4, "10.0.1.2"));
        srsync.without("maintenance");
        wait_until("the probes count again", || leads(V4, "10.0.2.2"));
    });
}

#[test]
fn a_drain_by_hand_survives_the_death_of_the_daemon() {
    between_two_gateways(UNWATCHED, |srsync, _| {
        let mut daemon = Daemon::start(srsync, "");
        gateway(srsync, &daemon, "drain 10.0.1.2 --for 1h").exits(0);
        let file = daemon.socket().with_extension("drains.json");
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        daemon.kill();
        let changes = crate::support::watch::Changes::watch();
        daemon.launch_again(srsync, "");
        daemon.wait_ready();
        assert!(leads(V4, "10.0.2.2"));
        assert_eq!(changes.count(), 0, "a route was changed");
        let told = daemon.messages("gatewayDrained");
        let expected = format!("gateway 10.0.1.2 is drained by {} until 20", me());
        assert!(told[0].starts_with(&expected), "{told:?}");
        gateway(srsync, &daemon, "undrain 10.0.1.2").exits(0);
        assert!(leads(V4, "10.0.1.2"));
        // What cannot be read is said to be lost, and keeps nobody from starting.
        daemon.stop();
        std::fs::write(&file, "garbage").unwrap();
        daemon.launch_again(srsync, "");
        daemon.wait_ready();
        let told = daemon.messages("gatewayReleased");
        assert!(
            told[0].starts_with("which gateways were drained by hand is lost: cannot use "),
            "{told:?}"
        );
    });
}

#[test]
fn what_makes_no_sense_is_refused_and_says_what_does() {
    between_two_gateways(UNWATCHED, |srsync, _| {
        let daemon = Daemon::start(srsync, "");
        for what in ["drain", "undrain"] {
            let refused = gateway(srsync, &daemon, &format!("{what} 10.0.1.3")).exits(1);
            assert_eq!(
                refused.stderr,
                "error: no document names the gateway 10.0.1.3; the gateways are `10.0.1.2`, \
                 `10.0.2.2`, `fd00:1::2` and `fd00:2::2`\n"
            );
        }
        declare(srsync, "10.0.1.3", "state: Drained");
        let told = told(&daemon, "gatewayDrained", 1);
        let idle = "; no document names it, so that changes nothing";
        assert!(told[0].ends_with(idle), "{told:?}");
        declare(srsync, "10.0.1.2", "state: Drained");
        wait_until("the second carries", || leads(V4, "10.0.2.2"));
        let refused = gateway(srsync, &daemon, "undrain 10.0.1.2").exits(1);
        assert!(
            refused.stderr.contains(" is drained by `maintenance` (")
                && refused.stderr.contains("maintenance.yaml:2), not by hand"),
            "{}",
            refused.stderr
        );
        // Both drain it: what was done by hand is undone, and what stays is said.
        gateway(srsync, &daemon, "drain 10.0.1.2").exits(0);
        let said = gateway(srsync, &daemon, "undrain 10.0.1.2").exits(0).stdout;
        assert!(
            said.starts_with("gateway 10.0.1.2 is no longer drained by hand, but `maintenance` ("),
            "{said}"
        );
        assert!(said.contains("now via 10.0.2.2 dev gw2"), "{said}");
        assert!(leads(V4, "10.0.2.2"));
    });
}
