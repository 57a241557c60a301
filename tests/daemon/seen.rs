//! What an operator sees of real gateways, while they answer and after they fall silent.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::failover::{PREFIX, between_two_gateways, document, leads_to, silence};
use crate::support::daemon::Daemon;
use crate::support::program::Srsync;
use crate::support::tables::wait_until;

/// Probed so patiently that a busy machine is not taken for a dead gateway: failovers are counted.
fn patient_document(srsync: &Srsync<'_>) {
    srsync.document(
        "a",
        &format!(
            "destinations: [{PREFIX}], gateways: [{{address: 10.0.1.2}}, {{address: 10.0.2.2}}], \
             healthCheck: {{icmp: {{}}, interval: 200ms, fall: 3, rise: 2, holdDown: 60s}}"
        ),
    );
}

/// What `srsync gateway list` says.
fn list(srsync: &Srsync<'_>, daemon: &Daemon, output: &str) -> String {
    let socket = daemon.socket();
    let line = format!("gateway list -o {output} --socket {}", socket.display());
    let output = srsync.command(&line).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn gateways(srsync: &Srsync<'_>, daemon: &Daemon) -> [Value; 2] {
    let list: Value = serde_json::from_str(&list(srsync, daemon, "json")).unwrap();
    list["gateways"]
        .as_array()
        .unwrap()
        .clone()
        .try_into()
        .unwrap()
}

fn metric(daemon: &Daemon, name: &str) -> Option<f64> {
    let text = daemon.get("/metrics").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map(|value| value.trim().parse().unwrap())
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}

#[test]
fn gateways_are_seen_while_they_answer_and_when_they_fall_silent() {
    between_two_gateways(|srsync, [silent, _]| {
        patient_document(srsync);
        let began = now();
        let daemon = Daemon::start(srsync, "--resync-interval 10m");
        let answered = |gateway: &Value| gateway["probing"]["sent"].as_u64() >= Some(5);
        // No pass is made for that.
        wait_until("both answered", || {
            gateways(srsync, &daemon).iter().all(answered)
        });
        wait_until("both are up", || {
            let up = |gateway: &Value| gateway["health"] == "Up";
            gateways(srsync, &daemon).iter().all(up)
        });
        let [first, second] = gateways(srsync, &daemon);
        for (gateway, address) in [(&first, "10.0.1.2"), (&second, "10.0.2.2")] {
            assert_eq!(gateway["address"], address);
            assert_eq!(gateway["documents"], serde_json::json!(["a"]));
            assert_eq!(gateway["will"], "auto");
            let took = &gateway["probing"]["roundTripSeconds"];
            let took = ["min", "average", "max"].map(|which| took[which].as_f64().unwrap());
            assert!(
                took.is_sorted() && took[0] > 0.0 && took[2] < 0.2,
                "{took:?}"
            );
        }
        let carried = |gateway: &Value| (gateway["carries"].clone(), gateway["routes"].clone());
        assert_eq!(carried(&first), (true.into(), 1.into()));
        assert_eq!(carried(&second), (false.into(), 0.into()));
        assert_eq!(metric(&daemon, "srsync_failovers_total"), Some(0.0));
        assert_eq!(
            metric(&daemon, "srsync_last_switch_timestamp_seconds"),
            None
        );

        silence(silent, true);
        wait_until("the second carries", || leads_to("10.0.2.2"));
        wait_until("that is shown", || {
            gateways(srsync, &daemon)[1]["routes"] == 1
        });
        let [first, second] = gateways(srsync, &daemon);
        assert_eq!(first["health"], "Down");
        let cause = first["cause"].as_str().unwrap();
        assert!(
            cause.starts_with("3 of 3 ICMP probes to 10.0.1.2 timed out"),
            "{cause}"
        );
        assert_eq!(first["probing"]["last"]["result"], "timed out");
        assert!(first["probing"]["recentLost"].as_u64() >= Some(3));
        assert_eq!(carried(&first), (false.into(), 0.into()));
        assert_eq!(carried(&second), (true.into(), 1.into()));
        assert_eq!(metric(&daemon, "srsync_failovers_total"), Some(1.0));
        let switched = metric(&daemon, "srsync_last_switch_timestamp_seconds").unwrap();
        assert!((began..=now()).contains(&switched), "{switched}");
        let up = |gateway| {
            metric(
                &daemon,
                &format!("srsync_gateway_up{{gateway=\"{gateway}\"}}"),
            )
        };
        assert_eq!((up("10.0.1.2"), up("10.0.2.2")), (Some(0.0), Some(1.0)));
        let text = list(srsync, &daemon, "text");
        assert!(text.contains("10.0.1.2   Down"), "{text}");
        assert!(text.contains(cause), "{text}");
    });
}

#[test]
fn with_ecmp_a_route_counts_for_all_its_gateways() {
    between_two_gateways(|srsync, _| {
        document(srsync, ", mode: ecmp");
        let daemon = Daemon::start(srsync, "");
        for gateway in gateways(srsync, &daemon) {
            assert_eq!(gateway["routes"], 1, "{gateway}");
            assert_eq!(gateway["carries"], true, "{gateway}");
        }
    });
}

/// What this node cannot send is told as that, and is no loss of the gateway.
#[test]
fn what_cannot_be_sent_is_shown_as_such() {
    between_two_gateways(|srsync, _| {
        document(srsync, "");
        let daemon = Daemon::start_without_raw_sockets(srsync);
        let last = |gateway: &Value| gateway["probing"]["last"]["outcome"].clone();
        wait_until("it is shown", || {
            last(&gateways(srsync, &daemon)[0]) == "notSent"
        });
        let [first, _] = gateways(srsync, &daemon);
        assert_eq!(first["probing"]["sent"], 0);
        assert_eq!(first["health"], "Unproven");
        assert!(
            list(srsync, &daemon, "text").contains("CAP_NET_RAW"),
            "{first}"
        );
    });
}
