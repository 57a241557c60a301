//! A daemon whose labels come from the API: what it does when they change, and that it does nothing when
//! nobody knows them.

use serde_json::json;

use super::server::Server;
use crate::support::daemon::Daemon;
use crate::support::program::Srsync;
use crate::support::tables::{quiet, wait_for_links, wait_until};
use crate::support::{east_and_west, in_namespace, ip};

const FLAGS: &str = "--kube-node-labels --node-name worker-1";
const EGRESS: &str = "198.18.1.0/24";
const ALL: &str = "198.18.2.0/24";

/// A node with an API server beside it, and two documents: one for nodes with `role=egress`, one for all.
fn on_a_node(labels: serde_json::Value, test: impl FnOnce(&Srsync<'_>, &mut Server) + Send) {
    in_namespace(|| {
        quiet();
        east_and_west();
        wait_for_links();
        let mut server = Server::start(labels);
        let srsync = Srsync::here().with_variable("KUBECONFIG", server.kubeconfig());
        let selector = "nodeSelector: {matchLabels: {role: egress}}";
        let spec = format!("destinations: [{EGRESS}], gateway: 10.0.1.2, {selector}");
        srsync.document("egress", &spec);
        let spec = format!("destinations: [{ALL}], gateway: 10.0.1.2");
        srsync.document("all", &spec);
        test(&srsync, &mut server);
        server.stop();
    });
}

/// The destinations of our routes.
pub fn ours() -> Vec<String> {
    let routes = ip("-4 route show proto 83");
    let first = |line: &str| line.split(' ').next().unwrap().to_owned();
    let mut ours: Vec<String> = routes.lines().map(first).collect();
    ours.sort();
    ours
}

/// Waits until our routes are just these.
#[track_caller]
pub fn wait_for(destinations: &[&str]) {
    wait_until(&format!("our routes are {destinations:?}"), || {
        ours() == destinations
    });
}

#[test]
fn a_changed_label_changes_the_routes_at_once() {
    on_a_node(json!({"role": "egress"}), |srsync, server| {
        // Otherwise the periodic comparison might do it.
        let daemon = Daemon::start(srsync, &format!("{FLAGS} --resync-interval 10m"));
        wait_for(&[EGRESS, ALL]);
        server.label(json!({"role": "worker"}));
        wait_for(&[ALL]);
        server.label(json!({"role": "egress", "zone": "a"}));
        wait_for(&[EGRESS, ALL]);
        wait_until("three passes", || daemon.passes("labels") == 3);
        let said = daemon.messages("nodeLabels");
        assert_eq!(
            said[0],
            "the labels of this node are known: 1 from Kubernetes"
        );
        assert_eq!(
            said[1],
            "the labels of this node changed: role: egress → worker"
        );
        let last = "the labels of this node changed: role: worker → egress, zone: none → a";
        assert_eq!(said[2], last);
        assert_eq!(daemon.metric("srsync_kubernetes_connected"), 1);
        assert_eq!(daemon.metric("srsync_kubernetes_troubles"), 0);
    });
}

#[test]
fn without_its_api_a_daemon_keeps_the_last_labels_and_after_a_restart_every_route() {
    on_a_node(json!({"role": "egress"}), |srsync, server| {
        let mut daemon = Daemon::start(srsync, FLAGS);
        wait_for(&[EGRESS, ALL]);
        server.stop();
        let lost = daemon.eventually("the loss is known", |status| {
            status["daemon"]["kubernetes"]["connected"] == false
        });
        let trouble = &lost["daemon"]["kubernetes"]["troubles"][0];
        let message = trouble["message"].as_str().unwrap();
        assert!(message.contains("cannot be reached"), "{message}");
        assert_eq!(trouble["about"], "connection");
        assert_eq!(daemon.metric("srsync_kubernetes_connected"), 0);
        // The last labels are good: what is deleted is back.
        ip(&format!("route del {EGRESS}"));
        wait_for(&[EGRESS, ALL]);

        daemon.stop();
        srsync.without("all");
        srsync.document("more", "destinations: [198.18.3.0/24], gateway: 10.0.1.2");
        daemon.launch_again(srsync, FLAGS);
        daemon.wait_ready();
        // What is known to be wanted goes ahead; what may be wanted, and what nobody seems to want, stays.
        assert_eq!(ours(), [EGRESS, ALL, "198.18.3.0/24"]);
        let state = daemon.state_of(EGRESS);
        let why = "Pending: nodeSelector wants role=egress; the Kubernetes API has not told";
        assert!(state.starts_with(why), "{state}");
        daemon.eventually("the trouble is known again", |status| {
            status["daemon"]["kubernetes"]["connected"] == false
        });
        assert_eq!(daemon.messages("kubernetes").len(), 1);

        server.label(json!({"role": "worker"}));
        server.resume();
        wait_for(&["198.18.3.0/24"]);
        wait_until("that it is over was said", || {
            daemon.messages("kubernetes").len() == 2
        });
        let said = daemon.messages("kubernetes");
        assert_eq!(said[1], "the Kubernetes API answers again");
        // None of that is said twice, nor by anybody else.
        let log = daemon.log();
        assert_eq!(log.matches("cannot be reached").count(), 2, "{log}");
        assert_eq!(log.matches("ERROR").count(), 0, "{log}");
    });
}

#[test]
fn labels_that_somebody_gave_are_stronger() {
    on_a_node(json!({"role": "worker"}), |srsync, server| {
        let daemon = Daemon::start(srsync, &format!("{FLAGS} --node-label role=egress"));
        // It need not wait for the API either.
        assert_eq!(ours(), [EGRESS, ALL]);
        daemon.eventually("the API was heard", |status| {
            status["daemon"]["kubernetes"]["connected"] == true
        });
        server.label(json!({"role": "other"}));
        wait_until("that was heard", || {
            daemon.messages("nodeLabels").len() == 1
        });
        assert_eq!(ours(), [EGRESS, ALL]);
    });
}

#[test]
fn a_command_that_asks_nobody_leaves_alone_what_hangs_on_labels() {
    on_a_node(json!({"role": "egress"}), |srsync, server| {
        srsync
            .on_directory("-o json apply --node-label role=egress")
            .exits(0);
        let run = srsync
            .on_directory("-o json apply --kube-node-labels")
            .exits(4);
        assert_eq!(ours(), [EGRESS, ALL]);
        let state = run.state(EGRESS);
        assert!(
            state.contains("say what they are with --node-label"),
            "{state}"
        );
        assert_eq!(server.requests(), 0);
    });
}

#[test]
fn what_is_asked_of_kubernetes_changes_with_a_restart_and_not_before() {
    on_a_node(json!({"role": "egress"}), |srsync, _| {
        srsync.file(
            ".config",
            "node: {name: worker-1}\nkube: {nodeLabels: true}\n",
        );
        let daemon = Daemon::start(srsync, "");
        wait_for(&[EGRESS, ALL]);
        srsync.file(".config", "node: {name: worker-2}\n");
        daemon.signal(nix::sys::signal::Signal::SIGHUP);
        let said = "kube, node.name changed: that takes a restart of the daemon";
        wait_until("that was said", || {
            daemon.messages("reloaded").iter().any(|m| m == said)
        });
        assert_eq!(ours(), [EGRESS, ALL]);
        assert_eq!(daemon.status()["node"], "worker-1");
    });
}
