//! What is answered to which request.

use std::net::SocketAddr;
use std::time::Duration;

use srsync::model::Timestamp;
use srsync::report::{PassStatus, Trigger};
use srsync::status::{Caller, Listeners};
use tokio::net::TcpStream;

use super::node::{loopback, published, published_with, with};
use super::support::in_namespace;
use super::{Daemon, Folder, converse};

#[tokio::test(start_paused = true)]
async fn health_is_the_heartbeat_of_the_loop() {
    let daemon = Daemon::start(published());
    let reply = daemon.get("/healthz").await.is(200);
    assert_eq!(reply.body, "ok\n");
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!(reply.header("x-content-type-options"), "nosniff");

    tokio::time::advance(Duration::from_secs(29)).await;
    daemon.get("/healthz").await.is(200);
    tokio::time::advance(Duration::from_secs(3)).await;
    let reply = daemon.get("/healthz").await.is(503);
    assert_eq!(
        reply.body,
        "the daemon's loop has shown no life for 32 seconds\n"
    );
    daemon.heartbeat.beat();
    daemon.get("/healthz").await.is(200);
}

#[tokio::test]
async fn a_daemon_is_ready_after_its_first_complete_pass() {
    let ready = published();
    let daemon = Daemon::start(with(&ready, |running| {
        running.ready = None;
        running.last_pass = None;
    }));
    let reply = daemon.get("/readyz").await.is(503);
    assert_eq!(reply.body, "no pass was complete yet\n");

    let failed = with(&ready, |running| {
        running.ready = None;
        running.last_pass = Some(PassStatus {
            ended: Timestamp::default(),
            took: Duration::ZERO,
            trigger: Trigger::Start,
            changes: 0,
            error: Some("cannot read the kernel's routes".to_owned()),
        });
    });
    daemon.published.send_replace(failed.into());
    let reply = daemon.get("/readyz").await.is(503);
    assert_eq!(
        reply.body,
        "no pass was complete yet; the last one: cannot read the kernel's routes\n"
    );

    daemon.published.send_replace(ready.into());
    daemon.get("/readyz").await.is(200);
}

#[tokio::test]
async fn the_status_comes_in_every_form() {
    let daemon = Daemon::start(published());
    let json = daemon.get("/status").await.is(200);
    assert_eq!(json.header("content-type"), "application/json");
    let json = json.json();
    assert_eq!(json["node"], "node-1");
    assert_eq!(json["routes"].as_array().unwrap().len(), 3);
    assert_eq!(json.get("selected"), None);

    let yaml = daemon.get("/status?output=yaml").await.is(200);
    let yaml: serde_json::Value = serde_yaml::from_str(&yaml.body).unwrap();
    assert_eq!(yaml, json);

    let text = daemon.get("/status?output=text").await.is(200);
    assert_eq!(text.header("content-type"), "text/plain; charset=utf-8");
    assert!(text.body.contains("192.0.2.0/24 via"), "{}", text.body);
    assert!(!text.body.contains('\u{1b}'));
    // A second had passed when it was published, but it is read long before.
    assert!(text.body.contains(", up 0s;"), "{}", text.body);
    let coloured = daemon.get("/status?output=wide&color=1").await.is(200);
    assert!(coloured.body.contains('\u{1b}'), "{}", coloured.body);
}

#[tokio::test]
async fn a_status_of_many_routes_arrives_whole() {
    let daemon = Daemon::start(published_with(20_000));
    let json = daemon.get("/status").await.is(200).json();
    assert_eq!(json["routes"].as_array().unwrap().len(), 20_002);
}

#[tokio::test]
async fn some_routes_are_found_by_state_text_and_limit() {
    let daemon = Daemon::start(published());
    for (query, found, all) in [
        ("limit=1", &["192.0.2.0/24"][..], 3),
        ("limit=0", &[], 3),
        ("state=Pending", &["203.0.113.0/24"], 1),
        ("state=Failed", &[], 0),
        ("state=Installed&limit=1", &["192.0.2.0/24"], 2),
        ("filter=198.51", &["198.51.100.0/24"], 1),
        ("filter=100.0%2F24", &["198.51.100.0/24"], 1),
        ("filter=egress", &["192.0.2.0/24", "198.51.100.0/24"], 2),
        ("filter=lab%2Ffar", &["203.0.113.0/24"], 1),
        ("filter=10.116.0.5", &["192.0.2.0/24", "198.51.100.0/24"], 2),
        // It is not installed, so that it has a gateway only in its document.
        ("filter=172.16.0.1", &["203.0.113.0/24"], 1),
        ("filter=stdin&limit=1", &["192.0.2.0/24"], 3),
        ("filter=nothing", &[], 0),
    ] {
        let json = daemon.get(&format!("/status?{query}")).await.is(200).json();
        let rows = json["routes"].as_array().unwrap().iter();
        let prefixes: Vec<_> = rows.map(|row| row["prefix"].as_str().unwrap()).collect();
        assert_eq!(prefixes, found, "{query}");
        assert_eq!(json["selected"], all, "{query}");
        assert_eq!(json["summary"]["keep"], 2, "the summary counts all");
        let target = format!("/status?output=wide&{query}");
        let text = daemon.get(&target).await.is(200).body;
        for prefix in ["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"] {
            // The contested route has a line among the daemon's remarks in any case.
            let mut rows = text.lines().filter(|line| !line.contains("undone"));
            let is_there = rows.any(|line| line.contains(prefix));
            assert_eq!(is_there, found.contains(&prefix), "{query}: {text}");
        }
    }
}

#[tokio::test]
async fn a_query_that_makes_no_sense_is_explained() {
    let daemon = Daemon::start(published());
    for (target, why) in [
        (
            "/status?output=xml",
            "`output` must be text, wide, json or yaml, not `xml`\n",
        ),
        (
            "/status?limt=3",
            "there is no `limt` here; there are: output, color, limit, state, filter\n",
        ),
        (
            "/status?state=installed",
            "`state` must be one of Installed, Pending, Withdrawn, Refused, Conflict, Foreign, \
             Failed, NotSelected, not `installed`\n",
        ),
        (
            "/status?limit=-1",
            "`limit` must be a whole number, not `-1`\n",
        ),
        (
            "/events?since=1&tail=2",
            "either `since` or `tail`, not both\n",
        ),
    ] {
        assert_eq!(daemon.get(target).await.is(400).body, why);
    }
}

#[tokio::test]
async fn polling_costs_nothing_while_nothing_changes() {
    let daemon = Daemon::start(published());
    let first = daemon.get("/status?limit=5").await.is(200);
    assert_eq!(first.header("cache-control"), "no-cache");
    let tag = first.header("etag");
    let again = |target: &str, tag: &str| {
        let request = format!("GET {target}\nIf-None-Match: {tag}");
        let daemon = &daemon;
        async move { daemon.ask(&request).await }
    };
    let unchanged = again("/status?limit=5", tag).await.is(304);
    assert_eq!(
        (unchanged.body.as_str(), unchanged.header("etag")),
        ("", tag)
    );
    again("/status?limit=5", &format!("\"other\", W/{tag}"))
        .await
        .is(304);
    // Another question has another answer.
    again("/status?limit=6", tag).await.is(200);

    let later = with(&published(), |running| {
        running.now = Timestamp::from_millis(running.now.millis() + 1);
    });
    daemon.published.send_replace(later.into());
    again("/status?limit=5", tag).await.is(200);
    // Even if the clock stands still.
    let tag = again("/status?limit=5", tag)
        .await
        .header("etag")
        .to_owned();
    let later = with(&daemon.published.borrow().clone(), |running| {
        running.counters.durations.observe(Duration::ZERO);
    });
    daemon.published.send_replace(later.into());
    again("/status?limit=5", &tag).await.is(200);
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere() {
    let daemon = Daemon::start(published());
    let page = daemon.get("/").await.is(200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    for outside in ["src=\"http", "src='http", "@import", "url(http"] {
        assert!(!page.body.contains(outside), "{outside}");
    }
}

#[tokio::test]
async fn an_unknown_path_says_which_there_are() {
    let daemon = Daemon::start(published());
    let reply = daemon.get("/routes").await.is(404);
    for path in [
        "/status", "/events", "/metrics", "/healthz", "/readyz", "/reload", "/drain", "/undrain",
    ] {
        assert!(
            reply.body.contains(&format!("\n  {path} ")),
            "{}",
            reply.body
        );
    }
}

#[tokio::test]
async fn only_what_changes_something_is_for_anything_but_reading() {
    let daemon = Daemon::start(published());
    for path in ["/", "/status", "/events", "/metrics", "/healthz", "/readyz"] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            let reply = daemon.ask(&format!("{method} {path}")).await.is(405);
            assert_eq!(reply.header("allow"), "GET, HEAD");
        }
    }
    for path in ["/reload", "/drain", "/undrain"] {
        assert_eq!(daemon.get(path).await.is(405).header("allow"), "POST");
    }
    assert!(daemon.callers.lock().unwrap().is_empty());
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let daemon = Daemon::start(published());
    for path in ["/", "/status", "/events", "/metrics", "/healthz", "/readyz"] {
        let get = daemon.get(&format!("{path}{}", follow(path))).await.is(200);
        let head = daemon.ask(&format!("HEAD {path}")).await.is(200);
        assert_eq!(head.body, "", "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"));
    }
}

fn follow(path: &str) -> &'static str {
    match path {
        "/events" => "?follow=0",
        _ => "",
    }
}

#[tokio::test]
async fn a_reload_is_done_for_a_caller_whom_the_kernel_names() {
    let daemon = Daemon::start(published());
    let done = daemon.ask("POST /reload").await.is(200);
    assert_eq!(done.body, "read again\n");
    let refused = daemon.ask("POST /reload").await.is(422);
    assert_eq!(refused.body, "config.yaml:3: `tabel` is no key\n");
    let me = Caller {
        uid: nix::unistd::getuid().as_raw(),
        pid: Some(nix::unistd::getpid().as_raw()),
    };
    assert_eq!(*daemon.callers.lock().unwrap(), [me, me]);
}

#[tokio::test]
async fn a_gateway_is_drained_and_undrained_by_its_address() {
    for (request, done) in [
        ("/drain?gateway=10.0.0.1", "drained 10.0.0.1 for None\n"),
        (
            "/drain?gateway=fe80::1&for=30m",
            "drained fe80::1 for Some(1800s)\n",
        ),
        ("/undrain?gateway=10.0.0.1", "undrained 10.0.0.1\n"),
    ] {
        let daemon = Daemon::start(published());
        let reply = daemon.ask(&format!("POST {request}")).await.is(200);
        assert_eq!(reply.body, done);
        assert_eq!(daemon.callers.lock().unwrap().len(), 1);
    }
    let daemon = Daemon::start(published());
    for (request, why) in [
        ("/drain", "`gateway` is missing\n"),
        (
            "/drain?gateway=gw1",
            "`gateway` must be an IP address, not `gw1`\n",
        ),
        (
            "/drain?gateway=10.0.0.1&for=30",
            "`for` must be a whole number with the unit `ms`, `s`, `m` or `h`, more than 0 and at most \
             `24h`, not `30`\n",
        ),
        (
            "/undrain?gateway=10.0.0.1&for=30m",
            "there is no `for` here; there are: gateway\n",
        ),
    ] {
        let reply = daemon.ask(&format!("POST {request}")).await.is(400);
        assert_eq!(reply.body, why);
    }
    assert!(daemon.callers.lock().unwrap().is_empty());
}

#[test]
fn http_is_only_for_reading() {
    on_loopback(async |daemon, address| {
        let ask = async |request: &str| {
            let stream = TcpStream::connect(address).await.unwrap();
            converse(stream, request).await
        };
        ask("GET /healthz").await.is(200);
        ask("GET /status").await.is(200);
        ask("HEAD /metrics").await.is(200);
        let denied = ask("POST /reload").await.is(403);
        assert_eq!(
            denied.body,
            "this is for the Unix socket: `srsync reload` on the node itself\n"
        );
        let denied = ask("POST /drain?gateway=10.0.0.1").await.is(403);
        assert_eq!(
            denied.body,
            "this is for the Unix socket: `srsync gateway drain ADDRESS` on the node itself\n"
        );
        ask("POST /undrain?gateway=10.0.0.1").await.is(403);
        ask("POST /status").await.is(405);
        assert!(daemon.callers.lock().unwrap().is_empty());
    });
}

/// Runs a test against a daemon with HTTP on `lo` of a namespace of its own.
fn on_loopback(test: impl AsyncFnOnce(&Daemon, SocketAddr) + Send) {
    in_namespace(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let folder = Folder::new();
            let listen = SocketAddr::from(loopback());
            let (listeners, problems) = Listeners::bind(Some(listen), &folder.socket());
            assert!(problems.is_empty(), "{problems:?}");
            let address = listeners.http_address().unwrap();
            let daemon = Daemon::serve(published(), folder, listeners);
            test(&daemon, address).await;
        });
    });
}
