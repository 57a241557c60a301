//! The log: a line for each change that a program can read, and numbers where there are too many.

use std::fmt::Write;

use serde_json::{Value, json};

use super::node::{BROKEN, on_a_node, spec, wait_for};
use crate::support::daemon::Daemon;
use crate::support::ip;
use crate::support::program::Srsync;
use crate::support::tables::wait_until;

/// The fields of all lines of a kind.
fn lines(daemon: &Daemon, kind: &str) -> Vec<Value> {
    let log = daemon.log();
    let fields = log.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        line["fields"].clone()
    });
    fields.filter(|fields| fields["kind"] == kind).collect()
}

#[test]
fn every_change_is_one_line_that_says_what_was_and_what_is() {
    on_a_node(|srsync| {
        let prefix = "198.18.1.0/24";
        let wants = |gateway| format!("destinations: [{prefix}], gateway: 10.0.1.{gateway}");
        srsync.document("a", &wants(2));
        let daemon = Daemon::start(srsync, "--log-format json");
        let file = srsync.directory().join("a.yaml");
        let file = file.to_str().unwrap();
        let via = |gateway| format!("via 10.0.1.{gateway} dev east");
        let expect = |kind: &str, more: &[(&str, Value)]| {
            wait_until(kind, || !lines(&daemon, kind).is_empty());
            let told = lines(&daemon, kind);
            assert_eq!(told.len(), 1, "{told:#?}");
            let all = [
                ("prefix", json!(prefix)),
                ("table", json!("main")),
                ("metric", json!(0)),
            ];
            for (name, value) in all.iter().chain(more) {
                assert_eq!(told[0][*name], *value, "{name} in {:#}", told[0]);
            }
        };
        let document = [
            ("document", json!("a")),
            ("file", json!(file)),
            ("line", json!(4)),
            ("state", json!("Installed")),
        ];
        let with = |more: &[(&'static str, Value)]| [&document[..], more].concat();
        expect(
            "RouteAdded",
            &with(&[("old", Value::Null), ("new", json!(via(2)))]),
        );
        srsync.document("a", &wants(3));
        expect(
            "RouteReplaced",
            &with(&[("old", json!(via(2))), ("new", json!(via(3)))]),
        );
        ip(&format!("route replace {prefix} via 10.0.1.9 proto 83"));
        expect(
            "RouteRestored",
            &with(&[("old", json!(via(9))), ("new", json!(via(3)))]),
        );
        srsync.document("b", &spec(2, 2));
        srsync.without("a");
        expect(
            "RouteRemoved",
            &[("old", json!(via(3))), ("new", Value::Null)],
        );
    });
}

#[test]
fn mistakes_in_files_are_lines_with_their_place() {
    on_a_node(|srsync| {
        srsync.document("a", &spec(1, 2));
        let daemon = Daemon::start(srsync, "--log-format json");
        srsync.file("b.yaml", BROKEN);
        daemon.wait_for_condition("Invalid");
        let told = lines(&daemon, "SourceInvalid");
        let place = told.iter().find(|line| line["line"] == 1).unwrap();
        assert_eq!(place["column"], 22);
        let file = place["file"].as_str().unwrap();
        assert!(file.ends_with("/b.yaml"), "{file}");
        let message = place["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("{file}:1:22: ")), "{message}");
    });
}

const MANY: usize = 10_000;

fn want_many(srsync: &Srsync<'_>, gateway: u8) {
    let mut ranges = String::new();
    for n in 0..MANY {
        writeln!(ranges, "20.{}.{}.0/24", n / 256, n % 256).unwrap();
    }
    srsync.file("ranges.txt", &ranges);
    let gateway = format!("gateway: 10.0.1.{gateway}");
    srsync.document(
        "many",
        &format!("destinationsFrom: [{{file: ranges.txt}}], {gateway}"),
    );
}

fn wait_for_all(via: u8) {
    wait_until("all are there", || {
        let via = format!("-4 route show proto 83 via 10.0.1.{via}");
        ip(&via).lines().count() == MANY
    });
}

#[test]
fn ten_thousand_changes_are_told_in_a_few_lines() {
    on_a_node(|srsync| {
        want_many(srsync, 2);
        let daemon = Daemon::start(srsync, "");
        want_many(srsync, 3);
        wait_for_all(3);
        srsync.document("rest", &spec(1, 2));
        daemon.wait_for_state("198.18.1.0/24", "Installed");
        srsync.without("many");
        wait_for(&[(1, 2)]);
        // It is told once the pass is over, a moment after the kernel has it.
        daemon.eventually("it is told", |_| {
            daemon.messages("routesChanged").len() >= 3
        });
        let said = daemon.messages("routesChanged");
        for (done, said) in ["added", "changed", "removed"].iter().zip(&said) {
            let numbers = format!("{done} 10000 routes (20.0.0.0/24 and others)");
            assert!(said.starts_with(&numbers), "{said}");
        }
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said[0].ends_with(" of many"), "{said:?}");
        let lines = daemon.log().lines().count();
        assert!(lines < 30, "{lines}");
    });
}

#[test]
fn who_wants_to_see_each_of_ten_thousand_changes_can() {
    on_a_node(|srsync| {
        want_many(srsync, 2);
        let daemon = Daemon::start(srsync, "-vv --log-format json");
        let told = lines(&daemon, "RouteAdded");
        assert_eq!(told.len(), MANY);
        assert!(told.iter().all(|line| line["document"] == "many"));
        assert_eq!(lines(&daemon, "RoutesChanged").len(), 1);
    });
}

/// A line that is wrong in every pass is worth one line, not one every time.
#[test]
fn what_does_not_change_is_told_once() {
    on_a_node(|srsync| {
        srsync.document("a", &spec(1, 2));
        srsync.document("b", "destinations: [198.18.2.0/24], gateway: 192.0.2.1");
        srsync.file("c.yaml", BROKEN);
        let daemon = Daemon::start(srsync, "--resync-interval 1s");
        let lines = || daemon.log().lines().count();
        let before = lines();
        let passes = daemon.passes("resync");
        wait_until("two more passes", || daemon.passes("resync") >= passes + 2);
        assert_eq!(lines(), before, "{}", daemon.log());
        assert_eq!(daemon.log().matches("is Pending").count(), 1);
    });
}
