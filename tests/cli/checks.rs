//! `srsync check`: a table and an exit code, from the real program on a node with a neighbour.

use std::net::TcpListener;
use std::process::Stdio;

use serde_json::{Value, json};

use super::schemas::{assert_valid, schema};
use super::support::Namespace;
use super::{Folder, ran, srsync, srsync_line};

/// A node with a neighbour, and nothing beyond it.
const NODE: &str = "10.116.0.3/24 fd00:116::3/64";
const NEIGHBOUR: [&str; 2] = ["10.116.0.5", "fd00:116::5"];
const NOBODY: [&str; 2] = ["192.0.2.9", "2001:db8::9"];

fn node_and_neighbour() -> (Namespace, Namespace) {
    let (node, neighbour) = (Namespace::new(), Namespace::new());
    let there = format!("{}/24 {}/64", NEIGHBOUR[0], NEIGHBOUR[1]);
    node.join(("wan", NODE), &neighbour, ("node", &there));
    (node, neighbour)
}

/// A document with these targets and further fields.
fn check(name: &str, targets: &str, more: &str) -> String {
    format!(
        "apiVersion: srsync.dev/v1alpha1\nkind: ConnectivityCheck\nmetadata: {{name: {name}}}\nspec:\n  \
         targets: [{targets}]\n  timeout: 200ms\n  attempts: 5\n{more}---\n"
    )
}

fn quoted(addresses: [&str; 2]) -> String {
    format!("\"{}\", \"{}\"", addresses[0], addresses[1])
}

/// `verdict target` of each entry.
fn verdicts(report: &Value) -> Vec<String> {
    let of = |one: &Value| {
        let word = |key: &str| one[key].as_str().unwrap();
        format!("{} {}", word("verdict"), word("target"))
    };
    report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(of)
        .collect()
}

#[test]
fn a_check_passes_or_fails_by_what_is_expected() {
    let (node, neighbour) = node_and_neighbour();
    let _listeners = neighbour.enter(|| NEIGHBOUR.map(|at| TcpListener::bind((at, 443)).unwrap()));
    let reached = format!(
        "{}, {{address: {}, tcp: {{port: 443}}}}, {{address: \"{}\", tcp: {{port: 443}}}}",
        quoted(NEIGHBOUR),
        NEIGHBOUR[0],
        NEIGHBOUR[1]
    );
    let good = Folder::new(&[
        ("a.yaml", &check("a-reached", &reached, "")),
        (
            "b.yaml",
            &check("b-kept-out", &quoted(NOBODY), "  expect: unreachable\n"),
        ),
    ]);
    let asked = node.enter(|| srsync(&["check", good.path()])).exits(0);
    let lines: Vec<&str> = asked.stdout.lines().collect();
    assert!(lines[0].starts_with("VERDICT   TARGET"), "{}", asked.stdout);
    assert!(lines[1].contains("icmp 10.116.0.5"), "{}", asked.stdout);
    assert!(lines[1].contains("answered in "), "{}", asked.stdout);
    assert!(
        lines[1].ends_with("a-reached (a.yaml:5)"),
        "{}",
        asked.stdout
    );
    assert!(
        lines[5].contains("Network is unreachable") || lines[5].contains("network is unreachable"),
        "{}",
        asked.stdout
    );
    assert_eq!(lines[7], "Checks: 6 passed, 0 failed.");
    assert_eq!(asked.stderr, "");

    let bad = Folder::new(&[
        ("a.yaml", &check("a", &quoted(NOBODY), "")),
        ("b.yaml", &check("b", &reached, "  expect: unreachable\n")),
    ]);
    let json = node
        .enter(|| srsync(&["check", bad.path(), "-o", "json"]))
        .exits(4)
        .json();
    assert_eq!(json["asExpected"], false);
    assert_eq!(json["summary"]["failed"], 6);
    assert_eq!(
        verdicts(&json),
        [
            "Failed icmp 192.0.2.9",
            "Failed icmp 2001:db8::9",
            "Failed icmp 10.116.0.5",
            "Failed icmp fd00:116::5",
            "Failed tcp 10.116.0.5:443",
            "Failed tcp [fd00:116::5]:443",
        ]
    );
    assert_eq!(json["checks"][0]["file"], bad.file("a.yaml"));
    assert_eq!(json["checks"][0]["line"], 5);
    assert!(json["checks"][0]["roundTripSeconds"].is_null());
    assert!(json["checks"][2]["roundTripSeconds"].is_f64());
    assert!(json["checks"][0]["lastAsked"].is_string());
}

#[test]
fn what_cannot_be_asked_is_unknown_and_not_as_expected() {
    let (node, _neighbour) = node_and_neighbour();
    for expect in ["reachable", "unreachable"] {
        let more = format!("  interface: wg0\n  expect: {expect}\n");
        let folder = Folder::new(&[("a.yaml", &check("a", &quoted(NEIGHBOUR), &more))]);
        let asked = node.enter(|| srsync(&["check", folder.path()])).exits(4);
        assert!(asked.stdout.contains("Unknown"), "{}", asked.stdout);
        assert!(
            asked.stdout.contains("there is no interface wg0"),
            "{}",
            asked.stdout
        );
        assert!(
            asked
                .stdout
                .ends_with("Checks: 0 passed, 0 failed, 2 unknown.\n")
        );
    }
}

#[test]
fn only_the_checks_for_this_node_are_asked() {
    let (node, _neighbour) = node_and_neighbour();
    let selector = "  nodeSelector: {matchLabels: {role: gateway}}\n";
    let folder = Folder::new(&[
        ("a.yaml", &check("a", &quoted(NEIGHBOUR), "")),
        ("b.yaml", &check("b", &quoted(NOBODY), selector)),
    ]);
    let line = |more: &str| format!("check {} {more}", folder.path());
    let run = |more: &str| node.enter(|| srsync_line(&line(more)));
    let short = run("").exits(0).stdout;
    assert!(!short.contains("NotSelected"), "{short}");
    assert!(
        short.ends_with("Checks: 2 passed, 0 failed, 2 not for this node.\n"),
        "{short}"
    );
    let wide = run("-o wide").exits(0).stdout;
    assert!(wide.contains("NotSelected   icmp 192.0.2.9"), "{wide}");
    assert!(wide.contains("nodeSelector wants role=gateway"), "{wide}");
    let json = run("-o json").exits(0).json();
    assert_eq!(json["checks"][2]["verdict"], "NotSelected");
    assert_eq!(json["asExpected"], true);
    // On that node it is asked.
    run("--node-label role=gateway").exits(4);
}

#[test]
fn without_checks_there_is_nothing_to_ask() {
    let folder = Folder::new(&[("routes.yaml", super::ROUTES)]);
    let none = srsync(&["check", folder.path()]).exits(0);
    assert_eq!(
        none.stdout,
        "No ConnectivityCheck in the documents: nothing to ask.\n"
    );
    let json = srsync(&["check", folder.path(), "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(json["asExpected"], true);
    assert_eq!(json["checks"], serde_json::json!([]));
    let broken = Folder::new(&[("a.yaml", &check("a", "nowhere", ""))]);
    srsync(&["check", broken.path()]).exits(1);
}

#[test]
fn no_privilege_is_needed_where_the_node_allows_icmp() {
    let (node, _neighbour) = node_and_neighbour();
    let folder = Folder::new(&[("a.yaml", &check("a", &quoted(NEIGHBOUR), ""))]);
    let as_nobody = || {
        let program = env!("CARGO_BIN_EXE_srsync");
        let mut unprivileged = std::process::Command::new("setpriv");
        unprivileged.args(["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]);
        unprivileged.args([program, "check", folder.path()]);
        unprivileged.stdin(Stdio::null());
        node.enter(|| ran(&mut unprivileged))
    };
    let refused = as_nobody().exits(4);
    assert!(refused.stdout.contains("CAP_NET_RAW"), "{}", refused.stdout);
    node.sysctl("ipv4/ping_group_range", "0 0");
    as_nobody().exits(0);
}

#[test]
fn a_change_and_its_checks_are_one_report() {
    let (node, neighbour) = node_and_neighbour();
    neighbour.ip("addr add 192.0.2.9/32 dev lo");
    let routes = "apiVersion: srsync.dev/v1alpha1\nkind: StaticRoute\nmetadata: {name: office}\n\
                  spec: {destinations: [192.0.2.0/24], gateway: 10.116.0.5}\n";
    let kept_out = check("kept-out", "192.0.2.9", "  expect: unreachable\n");
    let folder = Folder::new(&[("check.yaml", &kept_out)]);
    let schema = schema("report");
    let gated = |code| {
        let line = format!("apply --check --allow-empty {} -o json", folder.path());
        let report = node.enter(|| srsync_line(&line)).exits(code).json();
        assert_valid(&schema, &report, &line);
        report
    };
    let passed = gated(0);
    assert_eq!(
        verdicts(&json!({"checks": passed["gate"]["after"]})),
        ["Passed icmp 192.0.2.9"]
    );
    folder.write("routes.yaml", routes);
    let rolled_back = gated(1);
    assert_eq!(rolled_back["gate"]["rolledBack"], true);
    assert_eq!(rolled_back["routes"][0]["state"], "Failed");
    assert_eq!(rolled_back["routes"][0]["reason"]["code"], "RolledBack");
    assert_eq!(node.ip("route show proto 83"), "");
    // Without the gate it is applied.
    let line = format!("apply {} -o json", folder.path());
    let report = node.enter(|| srsync_line(&line)).exits(0).json();
    assert!(report.get("gate").is_none());
}

#[test]
fn a_gate_without_checks_says_that_nothing_stood_in_the_way() {
    let (node, _neighbour) = node_and_neighbour();
    let folder = Folder::new(&[("routes.yaml", super::ROUTES)]);
    let applied = node
        .enter(|| srsync(&["apply", "--check", folder.path()]))
        .exits(0);
    let end = "Checks: none for this node, so nothing stood in the way.\n";
    assert!(applied.stdout.ends_with(end), "{}", applied.stdout);
}
