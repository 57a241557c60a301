//! Each kind of health check moves traffic when its gateway fails, and only then.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::failover::{PREFIX, between_two_gateways, kinds, leads_to, silence};
use crate::support::daemon::Daemon;
use crate::support::program::Srsync;
use crate::support::tables::{listen, wait_until};
use crate::support::{Namespace, ip};

fn watched_by(srsync: &Srsync<'_>, check: &str) {
    srsync.document(
        "a",
        &format!(
            "destinations: [{PREFIX}], gateways: [{{address: 10.0.1.2}}, {{address: 10.0.2.2}}], \
             healthCheck: {{{check}, fall: 3, rise: 2, holdDown: 300ms}}"
        ),
    );
}

/// The gateway as the daemon shows it.
fn shown(daemon: &Daemon, address: &str) -> Value {
    let status = daemon.status();
    let gateways = status["daemon"]["gateways"].as_array().unwrap().clone();
    let mut gateways = gateways.into_iter();
    gateways
        .find(|gateway| gateway["address"] == address)
        .unwrap()
}

/// A server that answers each connection, until it is dropped.
struct Server {
    answering: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    fn start(gateway: &Namespace, port: u16, status: &'static str) -> Self {
        let listener = gateway.enter(|| listen(("0.0.0.0", port)));
        listener.set_nonblocking(true).unwrap();
        let answering = Arc::new(AtomicBool::new(true));
        let goes_on = answering.clone();
        let serve = move || {
            while goes_on.load(Ordering::Relaxed) {
                let Ok((mut stream, _)) = listener.accept() else {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                };
                let _ = stream.set_nonblocking(false);
                let _ = stream.set_read_timeout(Some(Duration::from_millis(100)));
                let _ = stream.read(&mut [0; 1024]);
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes());
            }
        };
        Self {
            answering,
            thread: Some(std::thread::spawn(serve)),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.answering.store(false, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[test]
fn tcp_leaves_a_gateway_whose_port_is_closed() {
    between_two_gateways(|srsync, [first, second]| {
        watched_by(srsync, "tcp: {port: 179}, interval: 50ms");
        let _other = Server::start(second, 179, "200 OK");
        let server = Server::start(first, 179, "200 OK");
        let daemon = Daemon::start(srsync, "");
        daemon.eventually("it works", |_| shown(&daemon, "10.0.1.2")["health"] == "Up");
        drop(server);
        wait_until("the second carries", || leads_to("10.0.2.2"));
        daemon.eventually("it is said why", |_| {
            let cause = shown(&daemon, "10.0.1.2")["cause"].clone();
            cause.as_str().is_some_and(|cause| {
                cause.contains("TCP probes of port 179") && cause.contains("refused")
            })
        });
        let _again = Server::start(first, 179, "200 OK");
        wait_until("the first carries again", || leads_to("10.0.1.2"));
    });
}

#[test]
fn http_leaves_a_gateway_that_says_it_is_not_well() {
    between_two_gateways(|srsync, [first, second]| {
        watched_by(srsync, "http: {port: 8080, path: /healthz}, interval: 50ms");
        let _other = Server::start(second, 8080, "204 No Content");
        let well = Server::start(first, 8080, "200 OK");
        let daemon = Daemon::start(srsync, "");
        daemon.eventually("it works", |_| shown(&daemon, "10.0.1.2")["health"] == "Up");
        drop(well);
        let unwell = Server::start(first, 8080, "503 Service Unavailable");
        wait_until("the second carries", || leads_to("10.0.2.2"));
        daemon.eventually("it is said why", |_| {
            let cause = shown(&daemon, "10.0.1.2")["cause"].clone();
            cause
                .as_str()
                .is_some_and(|cause| cause.contains("/healthz"))
        });
        drop(unwell);
        let _well = Server::start(first, 8080, "200 OK");
        wait_until("the first carries again", || leads_to("10.0.1.2"));
    });
}

#[test]
fn arp_leaves_a_gateway_that_is_no_neighbour_any_more() {
    between_two_gateways(|srsync, [first, _]| {
        watched_by(srsync, "arp: {}, interval: 1s");
        let daemon = Daemon::start(srsync, "");
        daemon.eventually("it works", |_| shown(&daemon, "10.0.1.2")["health"] == "Up");
        first.ip("addr del 10.0.1.2/24 dev node");
        wait_until("the second carries", || leads_to("10.0.2.2"));
        first.ip("addr add 10.0.1.2/24 dev node");
        wait_until("the first carries again", || leads_to("10.0.1.2"));
    });
}

/// A target beyond the gateway is asked by the gateway's own link, though the document names none and
/// the routes of the node lead elsewhere.
#[test]
fn a_target_beyond_the_gateway_is_asked_by_the_link_of_the_gateway() {
    between_two_gateways(|srsync, [first, second]| {
        for gateway in [first, second] {
            gateway.ip("link set lo up");
            gateway.ip("addr add 203.0.113.1/32 dev lo");
        }
        // The node itself would go by the second gateway.
        ip("route add 203.0.113.1 via 10.0.2.2 metric 5");
        ip("route add 203.0.113.1 via 10.0.1.2 metric 9");
        watched_by(srsync, "icmp: {}, target: 203.0.113.1, interval: 50ms");
        let daemon = Daemon::start(srsync, "");
        daemon.eventually("it works", |_| shown(&daemon, "10.0.1.2")["health"] == "Up");
        first.ip("addr del 203.0.113.1/32 dev lo");
        wait_until("the second carries", || leads_to("10.0.2.2"));
        assert_eq!(shown(&daemon, "10.0.2.2")["health"], "Up");
    });
}

/// Half of all answers are lost, and never three in a row: that is a poor line, and no dead gateway.
#[test]
fn partial_loss_is_seen_and_moves_nothing() {
    between_two_gateways(|srsync, [first, _]| {
        // One echo reply in 300 ms, after a few that are saved up (icmp(7)).
        first.sysctl("ipv4/icmp_ratemask", "1");
        first.sysctl("ipv4/icmp_ratelimit", "300");
        srsync.document(
            "a",
            &format!(
                "destinations: [{PREFIX}], gateways: [{{address: 10.0.1.2}}, {{address: 10.0.2.2}}], \
                 healthCheck: {{icmp: {{}}, interval: 100ms, fall: 8, rise: 2}}"
            ),
        );
        let daemon = Daemon::start(srsync, "");
        let lost = |daemon: &Daemon| shown(daemon, "10.0.1.2")["probing"]["lost"].as_u64();
        daemon.eventually("a third of all is lost", |_| lost(&daemon) >= Some(15));
        assert!(leads_to("10.0.1.2"));
        assert_eq!(shown(&daemon, "10.0.1.2")["health"], "Up");
        assert!(!kinds(&daemon).contains(&"failover".to_owned()));
    });
}

/// Comes and goes: traffic leaves it once, and does not follow.
#[test]
fn a_flapping_gateway_is_left_once() {
    between_two_gateways(|srsync, [first, _]| {
        srsync.document(
            "a",
            &format!(
                "destinations: [{PREFIX}], gateways: [{{address: 10.0.1.2}}, {{address: 10.0.2.2}}], \
                 healthCheck: {{icmp: {{}}, interval: 20ms, fall: 3, rise: 2, holdDown: 400ms}}"
            ),
        );
        let daemon = Daemon::start(srsync, "");
        wait_until("it works", || shown(&daemon, "10.0.1.2")["health"] == "Up");
        for _ in 0..5 {
            silence(first, true);
            daemon.eventually("down", |_| shown(&daemon, "10.0.1.2")["health"] == "Down");
            assert!(leads_to("10.0.2.2"));
            silence(first, false);
            daemon.eventually("up", |_| shown(&daemon, "10.0.1.2")["health"] == "Up");
            assert!(leads_to("10.0.2.2"));
        }
        let moves = kinds(&daemon);
        let moves = moves.iter().filter(|kind| *kind == "failover").count();
        assert_eq!(moves, 1);
        assert!(shown(&daemon, "10.0.1.2")["flaps"].as_u64() >= Some(2));
        // It is trusted again once it has been quiet.
        wait_until("the first carries again", || leads_to("10.0.1.2"));
    });
}
