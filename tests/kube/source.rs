//! A daemon that reads objects of the cluster like files: what it does with them, and that it takes nothing
//! away while it does not know all of them.

use serde_json::{Value, json};

use super::daemon::{ours, wait_for};
use super::server::Server;
use crate::support::daemon::Daemon;
use crate::support::program::Srsync;
use crate::support::tables::{quiet, wait_for_links, wait_until};
use crate::support::{east_and_west, in_namespace, ip};

const NATIVE: &str = "/apis/srsync.dev/v1alpha1/staticroutes";
const IBM: &str = "/apis/static-route.ibm.com/v1/staticroutes";
const DIGITALOCEAN: &str = "/apis/networking.digitalocean.com/v1/staticroutes";
const OVERRIDES: &str = "/apis/srsync.dev/v1alpha1/gatewayoverrides";
const MASQUERADES: &str = "/apis/srsync.dev/v1alpha1/masquerades";
/// The other kinds of the group.
const OTHERS: [&str; 3] = [
    "/apis/srsync.dev/v1alpha1/forwardings",
    "/apis/srsync.dev/v1alpha1/routingrules",
    "/apis/srsync.dev/v1alpha1/connectivitychecks",
];

/// A node with an API server beside it that has every collection, all of them empty.
fn on_a_node(test: impl FnOnce(&Srsync<'_>, &mut Server) + Send) {
    in_namespace(|| {
        quiet();
        east_and_west();
        wait_for_links();
        let mut server = Server::start(json!({}));
        let paths = [NATIVE, IBM, DIGITALOCEAN, OVERRIDES, MASQUERADES];
        for path in paths.into_iter().chain(OTHERS) {
            server.has(path);
        }
        let srsync = Srsync::here().with_variable("KUBECONFIG", server.kubeconfig());
        test(&srsync, &mut server);
        server.stop();
    });
}

fn native(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "srsync.dev/v1alpha1", "kind": "StaticRoute",
        "metadata": {"name": name, "uid": "u", "managedFields": []}, "spec": spec,
        "status": {"nodes": []},
    })
}

fn route(name: &str, destination: &str) -> Value {
    let spec = json!({"destinations": [destination], "gateway": "10.0.1.2"});
    native(name, spec)
}

/// The source of objects as the status has it, once it is so.
#[track_caller]
fn wait_for_source(daemon: &Daemon, condition: &str) -> Value {
    let source = |status: &Value| {
        let sources = status["daemon"]["sources"].as_array().unwrap();
        let kube = sources.iter().find(|source| source["path"] == "kube");
        kube.cloned().unwrap_or_default()
    };
    let status = daemon.eventually(&format!("the objects are {condition}"), |status| {
        source(status)["condition"] == condition
    });
    source(&status)
}

#[test]
fn objects_of_all_groups_become_routes_change_and_go() {
    on_a_node(|srsync, server| {
        server.put(NATIVE, route("native", "198.18.1.0/24"));
        let spec = json!({"destinations": ["198.18.2.0/24"], "gateway": "10.0.1.2"});
        let version = "networking.digitalocean.com/v1";
        let object = json!({"apiVersion": version, "kind": "StaticRoute", "metadata": {"name": "do"}, "spec": spec});
        server.put(DIGITALOCEAN, object);
        let spec = json!({"subnet": "198.18.3.0/24", "gateway": "10.0.1.2"});
        let version = "static-route.ibm.com/v1";
        let object = json!({"apiVersion": version, "kind": "StaticRoute", "metadata": {"name": "ibm"}, "spec": spec});
        server.put(IBM, object);
        let daemon = Daemon::on(srsync, &[], "--kube-source --resync-interval 10m");
        wait_for(&["198.18.1.0/24", "198.18.2.0/24", "198.18.3.0/24"]);
        let source = wait_for_source(&daemon, "Valid");
        assert_eq!(source["files"], 3);
        assert_eq!(source["documents"], 3);
        let status = daemon.status();
        let rows = status["routes"].as_array().unwrap();
        let row = rows.iter().find(|row| row["prefix"] == "198.18.1.0/24");
        let file = row.unwrap()["file"].as_str().unwrap();
        assert_eq!(file, "kube:staticroutes.srsync.dev/native");

        let spec = json!({"destinations": ["198.18.1.0/24"], "gateway": "10.0.2.2"});
        server.put(NATIVE, native("native", spec));
        wait_until("the gateway is another", || {
            ip("route show 198.18.1.0/24").contains("via 10.0.2.2")
        });
        server.delete(DIGITALOCEAN, "do");
        wait_for(&["198.18.1.0/24", "198.18.3.0/24"]);
        let log = daemon.log();
        assert_eq!(
            log.matches("ERROR").count() + log.matches("WARN").count(),
            0,
            "{log}"
        );
    });
}

#[test]
fn an_invalid_object_keeps_its_previous_routes_and_the_others_go_on() {
    on_a_node(|srsync, server| {
        server.put(NATIVE, route("a", "198.18.1.0/24"));
        server.put(NATIVE, route("b", "198.18.2.0/24"));
        let daemon = Daemon::on(srsync, &[], "--kube-source=srsync.dev");
        wait_for(&["198.18.1.0/24", "198.18.2.0/24"]);
        let spec = json!({"destinationsFrom": [{"file": "list.txt"}], "gateway": "10.0.1.2"});
        server.put(NATIVE, native("a", spec));
        server.put(NATIVE, route("b", "198.18.3.0/24"));
        // Nothing is removed while anything is wrong.
        wait_for(&["198.18.1.0/24", "198.18.2.0/24", "198.18.3.0/24"]);
        let source = wait_for_source(&daemon, "Invalid");
        let message = source["message"].as_str().unwrap();
        assert!(
            message.starts_with("kube:staticroutes.srsync.dev/a has 1 error"),
            "{message}"
        );
        let said = daemon.messages("sourceInvalid").join("\n");
        let place = "kube:staticroutes.srsync.dev/a:10:17: `destinationsFrom` does not work in an object of a cluster";
        assert!(said.contains(place), "{said}");

        server.delete(NATIVE, "a");
        wait_for(&["198.18.3.0/24"]);
        wait_for_source(&daemon, "Valid");
    });
}

#[test]
fn without_its_api_a_daemon_keeps_the_last_objects_and_after_a_restart_every_route() {
    on_a_node(|srsync, server| {
        server.put(NATIVE, route("a", "198.18.1.0/24"));
        server.put(NATIVE, route("b", "198.18.2.0/24"));
        srsync.document("file", "destinations: [198.18.3.0/24], gateway: 10.0.1.2");
        let flags = "--kube-source=srsync.dev";
        let mut daemon = Daemon::start(srsync, flags);
        wait_for(&["198.18.1.0/24", "198.18.2.0/24", "198.18.3.0/24"]);
        server.stop();
        daemon.eventually("the loss is known", |status| {
            status["daemon"]["kubernetes"]["connected"] == false
        });
        ip("route del 198.18.1.0/24");
        wait_for(&["198.18.1.0/24", "198.18.2.0/24", "198.18.3.0/24"]);
        // What is known is enough to go on with.
        srsync.document("file", "destinations: [198.18.4.0/24], gateway: 10.0.1.2");
        wait_for(&["198.18.1.0/24", "198.18.2.0/24", "198.18.4.0/24"]);

        daemon.stop();
        srsync.document("file", "destinations: [198.18.5.0/24], gateway: 10.0.1.2");
        server.delete(NATIVE, "b");
        daemon.launch_again(srsync, flags);
        daemon.wait_ready();
        let before = [
            "198.18.1.0/24",
            "198.18.2.0/24",
            "198.18.4.0/24",
            "198.18.5.0/24",
        ];
        assert_eq!(ours(), before);
        let source = wait_for_source(&daemon, "Unreadable");
        let message = source["message"].as_str().unwrap();
        let why = "the Kubernetes API has not listed connectivitychecks.srsync.dev, forwardings.srsync.dev, \
                   gatewayoverrides.srsync.dev, masquerades.srsync.dev, routingrules.srsync.dev, \
                   staticroutes.srsync.dev yet";
        assert!(message.starts_with(why), "{message}");
        daemon.eventually("the trouble is known again", |status| {
            status["daemon"]["kubernetes"]["connected"] == false
        });
        assert_eq!(ours(), before);

        server.resume();
        wait_for(&["198.18.1.0/24", "198.18.5.0/24"]);
        wait_for_source(&daemon, "Valid");
        let log = daemon.log();
        assert_eq!(log.matches("ERROR").count(), 0, "{log}");
    });
}

#[test]
fn two_thousand_objects_are_one_pass() {
    on_a_node(|srsync, server| {
        for number in 0..2000 {
            let destination = format!("198.18.{}.{}/32", number / 250, number % 250);
            server.put(NATIVE, route(&format!("r{number}"), &destination));
        }
        let daemon = Daemon::on(
            srsync,
            &[],
            "--kube-source --resync-interval 10m --debounce 2s",
        );
        daemon.eventually("all are in place", |status| {
            status["summary"]["states"]["Installed"] == 2000
        });
        assert_eq!(daemon.passes("sources"), 1);
    });
}

#[test]
fn an_object_and_a_file_of_one_name_are_an_error_that_says_where_both_are() {
    on_a_node(|srsync, server| {
        srsync.document("a", "destinations: [198.18.1.0/24], gateway: 10.0.1.2");
        let daemon = Daemon::start(srsync, "--kube-source=srsync.dev");
        wait_for(&["198.18.1.0/24"]);
        server.put(NATIVE, route("a", "198.18.2.0/24"));
        wait_for_source(&daemon, "Invalid");
        let said = daemon.messages("sourceInvalid").join("\n");
        let place = "kube:staticroutes.srsync.dev/a:5:13: there are two documents named `a` (first used here: ";
        assert!(said.contains(place), "{said}");
        assert!(said.contains("/a.yaml:3"), "{said}");
        // Neither counts, but what had the name before.
        assert_eq!(ours(), ["198.18.1.0/24"]);
        server.delete(NATIVE, "a");
        wait_for_source(&daemon, "Valid");
        assert_eq!(ours(), ["198.18.1.0/24"]);
    });
}

#[test]
fn a_gateway_override_of_the_cluster_is_one_like_any_other() {
    on_a_node(|srsync, server| {
        let gateways = json!([{"address": "10.0.1.2"}, {"address": "10.0.2.2"}]);
        let spec = json!({"destinations": ["198.18.1.0/24"], "gateways": gateways});
        server.put(NATIVE, native("a", spec));
        let _daemon = Daemon::on(srsync, &[], "--kube-source=srsync.dev");
        wait_for(&["198.18.1.0/24"]);
        let goes = |gateway: &str| {
            wait_until(&format!("it goes by {gateway}"), || {
                ip("route get 198.18.1.1").contains(gateway)
            });
        };
        goes("10.0.1.2");
        let spec = json!({"gateway": "10.0.1.2", "state": "Drained"});
        let metadata = json!({"name": "maintenance"});
        let version = "srsync.dev/v1alpha1";
        let object = json!({"apiVersion": version, "kind": "GatewayOverride", "metadata": metadata, "spec": spec});
        server.put(OVERRIDES, object);
        goes("10.0.2.2");
        server.delete(OVERRIDES, "maintenance");
        goes("10.0.1.2");
    });
}

#[test]
fn objects_of_every_kind_are_read() {
    on_a_node(|srsync, server| {
        let daemon = Daemon::on(srsync, &[], "--kube-source=srsync.dev");
        wait_for_source(&daemon, "Valid");
        for (kind, path) in ["Forwarding", "RoutingRule", "ConnectivityCheck"]
            .into_iter()
            .zip(OTHERS)
            .chain([("Masquerade", MASQUERADES)])
        {
            let object = json!({
                "apiVersion": "srsync.dev/v1alpha1", "kind": kind, "metadata": {"name": "pods"},
                "spec": {"gateway": "10.0.1.2"},
            });
            server.put(path, object);
            wait_for_source(&daemon, "Invalid");
            let said = daemon.messages("sourceInvalid").join("\n");
            let plural = path.rsplit('/').next().unwrap();
            let begins = format!("kube:{plural}.srsync.dev/pods:");
            assert!(said.contains(&begins), "{said}");
            assert!(said.contains("unknown field `gateway`"), "{said}");
            server.delete(path, "pods");
            wait_for_source(&daemon, "Valid");
        }
    });
}

#[test]
fn a_command_that_asks_nobody_refuses_to_take_files_for_all_there_is() {
    on_a_node(|srsync, server| {
        srsync.document("a", "destinations: [198.18.1.0/24], gateway: 10.0.1.2");
        let directory = srsync.directory().display().to_string();
        srsync.file(".config", &format!("sources: [{directory}, kube: {{}}]\n"));
        let run = srsync.run("apply").exits(2);
        assert!(
            run.stderr.contains("which only the daemon reads"),
            "{}",
            run.stderr
        );
        srsync.run("status").exits(0);
        srsync.run(&format!("apply {directory}")).exits(0);
        assert_eq!(server.requests(), 0);
    });
}
