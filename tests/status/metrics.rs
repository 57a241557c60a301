//! Metrics are what their documentation says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Daemon;
use super::node::{at, check, gateway, published, with};
use srsync::model::Family;
use srsync::model::egress::{CheckVerdict, Counters, NatRule, Thing, Translation};
use srsync::plan::egress::{EgressRow, EgressVerdict};
use srsync::report::GatewayHealth;

async fn scrape(daemon: &Daemon) -> String {
    let reply = daemon.get("/metrics").await.is(200);
    assert_eq!(
        reply.header("content-type"),
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    reply.body
}

/// The metrics by the name that queries use, each with its kind and its labels.
fn families(text: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let family = |line: &str| {
        let (name, kind) = line.split_once(' ').unwrap();
        let ending = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let full = format!("{name}{ending}");
        // Those of a histogram have one more label, `le`, which belongs to the kind.
        let begin = match kind {
            "histogram" => format!("{full}_count{{"),
            _ => format!("{full}{{"),
        };
        let samples = text.lines().filter_map(|line| line.strip_prefix(&begin));
        // No value in these tests has a comma in it.
        let labels = samples.flat_map(|sample| sample.split(','));
        let labels = labels.map(|label| label.split('=').next().unwrap().to_owned());
        (full, (kind.to_owned(), labels.collect()))
    };
    types.map(family).collect()
}

/// What the table of the documentation says: `| name | kind | labels | meaning |`.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `srsync_"));
    let row = |row: &str| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let labels = cells[3].split_whitespace();
        let labels = labels.map(|label| label.trim_matches('`').to_owned());
        (
            cells[1].trim_matches('`').to_owned(),
            (cells[2].to_owned(), labels.collect()),
        )
    };
    rows.map(row).collect()
}

#[tokio::test]
async fn every_metric_is_documented_and_every_documented_metric_is_there() {
    let mut published = published();
    let translation = EgressRow {
        thing: Thing::Nat(NatRule {
            name: "pods".to_owned(),
            family: Family::V4,
            sources: vec!["10.42.0.0/16".parse().unwrap()],
            destinations: Vec::new(),
            except: Vec::new(),
            out_interfaces: Vec::new(),
            translation: Translation::Masquerade,
        }),
        claim: None,
        verdict: EgressVerdict::Keep,
        warning: None,
        counters: Some(Counters::default()),
    };
    Arc::make_mut(&mut published.pass)
        .plan
        .egress
        .rows
        .push(translation);
    let daemon = Daemon::start(published);
    assert_eq!(families(&scrape(&daemon).await), documented());
}

#[tokio::test]
async fn the_numbers_are_those_of_the_daemon() {
    let daemon = Daemon::start(published());
    let text = scrape(&daemon).await;
    for line in [
        "srsync_build_info{version=\"0.1.0\"} 1",
        "srsync_start_time_seconds 4102444800.0",
        "srsync_ready 1",
        "srsync_in_sync 0",
        "srsync_routes{state=\"Installed\"} 2",
        "srsync_routes{state=\"Pending\"} 1",
        "srsync_routes{state=\"NotSelected\"} 0",
        "srsync_documents 2",
        "srsync_removals_withheld 0",
        "srsync_passes_total{trigger=\"kernel\"} 2",
        "srsync_passes_total{trigger=\"reload\"} 0",
        "srsync_failed_passes_total 0",
        "srsync_pass_duration_seconds_bucket{le=\"0.005\"} 0",
        "srsync_pass_duration_seconds_bucket{le=\"0.01\"} 2",
        "srsync_pass_duration_seconds_bucket{le=\"2.5\"} 2",
        "srsync_pass_duration_seconds_bucket{le=\"+Inf\"} 3",
        "srsync_pass_duration_seconds_count 3",
        "srsync_last_pass_timestamp_seconds 4102444800.9",
        "srsync_last_pass_success 1",
        "srsync_route_changes_total{action=\"add\"} 2",
        "srsync_route_changes_total{action=\"remove\"} 0",
        "srsync_route_failures_total{reason=\"GatewayNotConnected\"} 1",
        "srsync_route_failures_total{reason=\"Kernel\"} 0",
        "srsync_drift_repaired_total 1",
        "srsync_failovers_total 2",
        "srsync_last_switch_timestamp_seconds 4102444800.8",
        "srsync_isolated 0",
        "srsync_gateway_up{gateway=\"10.116.0.5\"} 1",
        "srsync_gateway_up{gateway=\"10.116.0.6\",interface=\"eth1\"} 1",
        "srsync_gateway_routes{gateway=\"10.116.0.5\"} 2",
        "srsync_gateway_probes_total{gateway=\"10.116.0.5\"} 2",
        "srsync_gateway_probes_lost_total{gateway=\"10.116.0.5\"} 1",
        "srsync_gateway_round_trip_seconds_bucket{le=\"0.00025\",gateway=\"10.116.0.5\"} 0",
        "srsync_gateway_round_trip_seconds_bucket{le=\"0.0005\",gateway=\"10.116.0.5\"} 1",
        "srsync_gateway_round_trip_seconds_bucket{le=\"+Inf\",gateway=\"10.116.0.5\"} 1",
        "srsync_gateway_round_trip_seconds_count{gateway=\"10.116.0.5\"} 1",
        "srsync_check_success{check=\"far\",target=\"icmp 192.168.2.10\",expect=\"reachable\"} 1",
        "srsync_check_round_trip_seconds{check=\"far\",target=\"icmp 192.168.2.10\",expect=\"reachable\"} 0.00042",
        "srsync_check_last_run_timestamp_seconds{check=\"far\",target=\"icmp 192.168.2.10\",expect=\"reachable\"} 4102444800.5",
        "srsync_contested_routes 1",
        "srsync_source_valid{path=\"/etc/srsync/routes \\\"new\\\"\"} 1",
        "srsync_source_documents{path=\"/etc/srsync/routes \\\"new\\\"\"} 2",
        "srsync_source_polling 0",
        "srsync_reloads_total 0",
    ] {
        let found = text.lines().any(|found| found == line);
        assert!(found, "no `{line}` in\n{text}");
    }
    assert_eq!(text.matches("srsync_routes{").count(), 8);
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn a_daemon_without_a_pass_says_nothing_about_the_last() {
    let daemon = Daemon::start(with(&published(), |running| running.last_pass = None));
    let text = scrape(&daemon).await;
    assert!(!text.contains("\nsrsync_last_pass_success "), "{text}");
    assert!(!text.contains("\nsrsync_last_pass_timestamp_seconds "));
}

/// Two documents that want a gateway watched, each in its own way, are one gateway here: a series
/// that is there twice makes the whole answer invalid.
#[tokio::test]
async fn a_gateway_that_is_watched_twice_has_one_set_of_series() {
    let daemon = Daemon::start(with(&published(), |running| {
        let mut other = gateway("10.116.0.5", None);
        other.health = GatewayHealth::Down;
        let same = running.gateways[0].clone();
        running.gateways.extend([other, same]);
    }));
    let text = scrape(&daemon).await;
    let of_it = "{gateway=\"10.116.0.5\"}";
    for line in [
        format!("srsync_gateway_up{of_it} 0"),
        format!("srsync_gateway_routes{of_it} 6"),
        // The third shares its probes with the first.
        format!("srsync_gateway_probes_total{of_it} 4"),
        format!("srsync_gateway_round_trip_seconds_count{of_it} 2"),
    ] {
        let name = line.split(' ').next().unwrap();
        let there: Vec<&str> = text.lines().filter(|l| l.starts_with(name)).collect();
        assert_eq!(there, [line.as_str()]);
    }
}

/// HTTP targets may differ in their host alone, which is not in their text.
#[tokio::test]
async fn targets_that_read_the_same_are_one_series_which_is_as_good_as_the_worst() {
    let daemon = Daemon::start(with(&published(), |running| {
        let mut other = check();
        other.verdict = CheckVerdict::Unknown;
        other.round_trip = None;
        other.last_asked = Some(at(700));
        running.checks.push(other);
        let mut never = check();
        never.check = "never-asked".to_owned();
        never.verdict = CheckVerdict::Unknown;
        never.last_asked = None;
        running.checks.push(never);
    }));
    let text = scrape(&daemon).await;
    let of = |name: &str| -> Vec<String> {
        let series = text
            .lines()
            .filter(|line| line.starts_with(&format!("{name}{{")));
        series
            .map(|line| line.rsplit(' ').next().unwrap().to_owned())
            .collect()
    };
    assert_eq!(of("srsync_check_success"), ["0"]);
    assert_eq!(of("srsync_check_round_trip_seconds"), ["0.00042"]);
    assert_eq!(
        of("srsync_check_last_run_timestamp_seconds"),
        ["4102444800.5"]
    );
    assert!(!text.contains("never-asked"));
}
