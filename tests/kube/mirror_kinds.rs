//! The status of objects of other kinds than routes: connectivity checks, forwarding, translation, rules.

use std::sync::Arc;

use serde_json::{Value, json};
use srsync::model::egress::{CheckVerdict, Expectation};
use srsync::model::{Labels, Names, Observed, Policy, State, Steering, Timestamp};
use srsync::plan::{self, Inputs, Reason, ReasonCode};
use srsync::report::{CheckStatus, Pass, Published, Surprise, Surprises};
use srsync::source::{PathArg, load};

use super::api::Api;
use super::mirror::{NATIVE, NODE, list, mirror, published};

fn check(name: &str, target: &str, verdict: CheckVerdict, message: &str) -> CheckStatus {
    CheckStatus {
        check: name.to_owned(),
        file: "checks.yaml".to_owned(),
        line: 5,
        place: "checks.yaml:5".to_owned(),
        target: target.to_owned(),
        expect: Expectation::Reachable,
        verdict,
        message: message.to_owned(),
        round_trip: None,
        since: Some(Timestamp::from_millis(1)),
        last_asked: Some(Timestamp::from_millis(2)),
    }
}

/// A daemon with these checks, and no documents of routes.
fn with_checks(checks: Vec<CheckStatus>) -> Published {
    let mut published = published("", NODE);
    Arc::make_mut(&mut published.running).checks = checks;
    published
}

fn object(kind: &str, name: &str, version: u64, status: Value) -> Value {
    json!({
        "apiVersion": "srsync.dev/v1alpha1", "kind": kind, "spec": {}, "status": status,
        "metadata": {"name": name, "resourceVersion": version.to_string(), "generation": 2},
    })
}

const CHECKS: &str = "/apis/srsync.dev/v1alpha1/connectivitychecks";

/// The only entry that a request writes, with its age taken out.
fn entry(body: &Value) -> Value {
    let mut entry = body["status"]["nodes"][0].clone();
    assert!(entry["since"].take().as_str().unwrap().ends_with('Z'));
    entry
}

#[tokio::test(start_paused = true)]
async fn a_check_has_an_entry_for_each_node_and_a_summary() {
    let api = Api::default();
    let other = json!({"node": "worker-0", "ready": true, "targets": 3, "passed": 3});
    let far = |version, status| object("ConnectivityCheck", "far", version, status);
    api.json(200, list(&[far(7, json!({"nodes": [other]}))]));
    let ours = json!({"node": "worker-1", "ready": false, "reason": "why"});
    let both = json!({"nodes": [other, ours]});
    api.json(200, far(8, both.clone()));
    api.json(200, far(9, both));
    let now = with_checks(vec![
        check(
            "far",
            "icmp 192.0.2.9",
            CheckVerdict::Passed,
            "answered in 0.42 ms",
        ),
        check(
            "far",
            "icmp 192.0.2.10",
            CheckVerdict::Unknown,
            "could not ask: why",
        ),
        check(
            "far",
            "tcp 192.0.2.9:443",
            CheckVerdict::Failed,
            "another answer: connection refused",
        ),
    ]);
    assert_eq!(mirror(&api, now, 3, 0).await, [""; 0]);
    let came = api.came();
    assert_eq!(came[0].line, format!("GET {CHECKS}"));
    let apply = format!("PATCH {CHECKS}/far/status?fieldManager=srsync-worker-1&force=true");
    assert_eq!(came[1].line, apply);
    assert_eq!(came[1].body["kind"], "ConnectivityCheck");
    let reason = "icmp 192.0.2.10: could not ask: why";
    let wanted = json!({
        "node": "worker-1", "ready": false, "state": "Failed", "targets": 3, "passed": 1,
        "reason": reason, "since": null, "observedGeneration": 2,
        "problems": [
            {"what": "icmp 192.0.2.10", "state": "Unknown", "reason": "could not ask: why"},
            {"what": "tcp 192.0.2.9:443", "state": "Failed", "reason": "another answer: connection refused"},
        ],
    });
    assert_eq!(entry(&came[1].body), wanted);
    let summary = json!({"summary": "1/2 nodes ready", "ready": "1/2", "reason": "why"});
    assert_eq!(
        came[2].line,
        format!("PATCH {CHECKS}/far/status?fieldManager=srsync")
    );
    assert_eq!(came[2].body["status"], summary);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_before_all_was_asked_nor_of_other_nodes() {
    let mut waiting = check(
        "far",
        "icmp 192.0.2.9",
        CheckVerdict::Unknown,
        "not asked yet",
    );
    waiting.last_asked = None;
    let elsewhere = check("far", "icmp 192.0.2.9", CheckVerdict::NotSelected, "");
    let named = check("lab/far", "icmp 192.0.2.9", CheckVerdict::Passed, "");
    let passed = check("near", "icmp 192.0.2.1", CheckVerdict::Passed, "");
    let there = json!({"nodes": [{"node": "worker-1", "ready": true}]});
    let objects = list(&[object("ConnectivityCheck", "far", 7, there.clone())]);

    let api = Api::default();
    mirror(&api, with_checks(vec![passed.clone(), waiting]), 1, 5).await;
    assert_eq!(api.came().len(), 0);

    // What is said of a document that is for other nodes goes.
    let api = Api::default();
    api.json(200, objects);
    api.json(
        200,
        object("ConnectivityCheck", "far", 8, json!({"nodes": []})),
    );
    mirror(&api, with_checks(vec![elsewhere, named, passed]), 2, 0).await;
    let came = api.came();
    assert_eq!(
        came[1].line,
        format!("PATCH {CHECKS}/far/status?fieldManager=srsync")
    );
    assert_eq!(came[1].body["status"]["nodes"], json!([]));
}

const RULES: &str = "\
apiVersion: srsync.dev/v1alpha1
kind: RoutingRule
metadata: {name: office}
spec: {from: 10.42.0.0/16, priority: 1000, table: 100}
";

/// A rule that the kernel refused, and a route of the same name.
fn with_rule() -> Published {
    let names = Names::default();
    let text = format!("{NATIVE}---\n{RULES}");
    let loaded = load(&[PathArg::Stdin], &mut text.as_bytes(), &names);
    assert!(loaded.is_complete(), "{:?}", loaded.diagnostics);
    let (policy, labels) = (Policy::default(), Labels::default());
    let inputs = Inputs {
        egress: &loaded.egress,
        steering: Steering::NONE,
        objects: None,
        documents: &loaded.documents,
        policy: &policy,
        labels: &labels,
        unknown_labels: None,
        names: &names,
        files: &loaded.files,
        incomplete: None,
    };
    let refused = Surprise {
        state: State::Failed,
        reason: Arc::new(Reason::new(ReasonCode::Kernel, "the kernel says: no")),
        occupant: None,
    };
    let pass = Pass {
        plan: plan::plan(&inputs, &Observed::default()),
        outcome: Some(Surprises::new()),
        egress_outcome: [(0, refused)].into(),
        ..Pass::default()
    };
    let before = published("", NODE);
    Published {
        egress: Arc::new(loaded.egress),
        documents: Arc::new(loaded.documents),
        files: Arc::new(loaded.files),
        pass: Arc::new(pass.settled()),
        ..before
    }
}

#[tokio::test(start_paused = true)]
async fn kinds_of_one_name_are_told_apart() {
    let api = Api::default();
    let rule = |version| object("RoutingRule", "office", version, json!({}));
    // There is no object of the route.
    api.json(200, list(&[]));
    api.json(200, list(&[rule(7)]));
    api.json(200, rule(8));
    mirror(&api, with_rule(), 3, 0).await;
    let lines: Vec<String> = api.came().into_iter().map(|came| came.line).collect();
    let path = "/apis/srsync.dev/v1alpha1";
    assert_eq!(lines[0], format!("GET {path}/staticroutes"));
    assert_eq!(lines[1], format!("GET {path}/routingrules"));
    let apply = "status?fieldManager=srsync-worker-1&force=true";
    assert_eq!(
        lines[2],
        format!("PATCH {path}/routingrules/office/{apply}")
    );
    let body = &api.came()[2].body;
    assert_eq!(body["kind"], "RoutingRule");
    let entry = entry(body);
    assert_eq!(
        (&entry["wanted"], &entry["installed"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(entry["ready"], false);
    assert_eq!(entry["state"], "Failed");
    let problem = json!({"what": "rule 1000: from 10.42.0.0/16 lookup 100", "state": "Failed", "reason": "the kernel says: no"});
    assert_eq!(entry["problems"], json!([problem]));
}
