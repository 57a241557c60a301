//! The gateways that a daemon watches, as they are when somebody asks.

use std::sync::Arc;

use srsync::report::{ProbeRecord, Published};

use super::Daemon;
use super::node::{at, lost, published, with};

fn record(published: &Published) -> Arc<ProbeRecord> {
    published.running.gateways[0].record.clone().unwrap()
}

#[tokio::test]
async fn the_gateways_come_in_every_form() {
    let daemon = Daemon::start(published());
    let json = daemon.get("/gateways").await.is(200);
    assert_eq!(json.header("content-type"), "application/json");
    let json = json.json();
    assert_eq!(json["kind"], "GatewayList");
    assert_eq!(json["failovers"], 2);
    assert_eq!(json["gateways"][1]["interface"], "eth1");
    assert_eq!(
        json["gateways"][0]["probing"]["last"]["result"],
        "timed out"
    );

    let yaml = daemon.get("/gateways?output=yaml").await.is(200);
    let yaml: serde_json::Value = serde_yaml::from_str(&yaml.body).unwrap();
    assert_eq!(yaml["gateways"], json["gateways"]);

    let text = daemon.get("/gateways?output=text").await.is(200);
    assert_eq!(text.header("content-type"), "text/plain; charset=utf-8");
    assert!(text.body.starts_with("GATEWAY "), "{}", text.body);
    assert!(text.body.contains("1 of 2"), "{}", text.body);
    let coloured = daemon.get("/gateways?output=wide&color=1").await.is(200);
    assert!(coloured.body.contains('\u{1b}'), "{}", coloured.body);

    let refused = daemon.get("/gateways?limit=1").await.is(400).body;
    assert_eq!(
        refused,
        "there is no `limit` here; there are: output, color\n"
    );
}

/// The daemon publishes after passes only, and there may be none for half a minute.
#[tokio::test]
async fn what_probes_come_to_is_shown_without_a_pass() {
    let published = published();
    let record = record(&published);
    let daemon = Daemon::start(published);
    let first = daemon.get("/status?limit=5").await.is(200);
    record.note(&lost("10.116.0.5".parse().unwrap()), at(300));
    let known = format!(
        "GET /status?limit=5\nIf-None-Match: {}",
        first.header("etag")
    );
    let status = daemon.ask(&known).await.is(200).json();
    assert_eq!(status["daemon"]["gateways"][0]["probing"]["lost"], 2);
    let list = daemon.get("/gateways").await.is(200).json();
    assert_eq!(list["gateways"][0]["probing"]["recentLost"], 2);
    let metrics = daemon.get("/metrics").await.is(200).body;
    let line = "srsync_gateway_probes_lost_total{gateway=\"10.116.0.5\"} 2\n";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn where_nothing_is_watched_that_is_said() {
    let daemon = Daemon::start(with(&published(), |running| running.gateways.clear()));
    let text = daemon.get("/gateways?output=text").await.is(200).body;
    assert!(text.starts_with("No gateway is watched"), "{text}");
    let json = daemon.get("/gateways").await.is(200).json();
    assert_eq!(json["gateways"].as_array().unwrap().len(), 0);
}
