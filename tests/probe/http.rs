//! HTTP: which answers count.

use std::time::Duration;

use srsync::model::document::Probe;
use srsync::probe::{Loss, Outcome, Target};

use super::probing::{Probing, Server, V4, V6, every, node_and_gateway, target};

fn http(gateway: &str, expect_status: (u16, u16)) -> Target {
    let probe = Probe::Http {
        port: 8080,
        path: "/health?full=1".to_owned(),
        host: None,
        expect_status,
    };
    every(500, target(gateway, probe))
}

fn status(line: &str) -> String {
    format!("HTTP/1.1 {line}\r\nContent-Length: 5\r\n\r\nhello")
}

/// What comes of asking a server that gives this answer.
fn answer_to(answer: &str, expect_status: (u16, u16)) -> Vec<Outcome> {
    let (node, gateway) = node_and_gateway();
    let outcome = |net: super::probing::Net| {
        let _server = Server::start(&gateway, net.port(8080), Some(answer));
        let probing = Probing::start(&node, [http(net.gateway, expect_status)]);
        // The first may be late on a busy machine.
        let timed_out = |outcome: &Outcome| {
            matches!(
                outcome,
                Outcome::Lost {
                    why: Loss::Timeout,
                    ..
                }
            )
        };
        probing.wait_for("an outcome", |outcome| !timed_out(outcome))
    };
    [V4, V6].into_iter().map(outcome).collect()
}

#[track_caller]
fn assert_answered(answer: &str, expect_status: (u16, u16)) {
    for outcome in answer_to(answer, expect_status) {
        assert!(matches!(outcome, Outcome::Answered { .. }), "{outcome:?}");
    }
}

#[track_caller]
fn assert_lost(answer: &str, expect_status: (u16, u16), words: &str) {
    for outcome in answer_to(answer, expect_status) {
        let Outcome::Lost { why, .. } = outcome else {
            panic!("answered");
        };
        assert_eq!(why.to_string(), words);
    }
}

#[test]
fn a_status_counts_if_it_is_expected() {
    assert_answered(&status("200 OK"), (200, 399));
    assert_answered(&status("404 Not Found"), (404, 404));
    assert_lost(
        &status("500 Internal Server Error"),
        (200, 399),
        "HTTP status 500",
    );
    assert_lost(&status("200 OK"), (201, 299), "HTTP status 200");
}

#[test]
fn a_redirect_is_an_answer_and_not_followed() {
    let redirect = "HTTP/1.1 302 Found\r\nLocation: http://10.9.9.9/\r\n\r\n";
    assert_answered(redirect, (200, 399));
    assert_lost(redirect, (200, 299), "HTTP status 302");
}

#[test]
fn a_body_is_not_waited_for() {
    let endless = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_answered(endless, (200, 399));
}

#[test]
fn what_is_not_http_is_lost() {
    assert_lost(
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        (200, 399),
        "the answer is not HTTP",
    );
    assert_lost("", (200, 399), "the connection was closed before an answer");
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    assert_lost(&endless, (200, 399), "an HTTP head of more than 8192 bytes");
}

#[test]
fn a_server_that_never_answers_is_timed_out() {
    let (node, gateway) = node_and_gateway();
    for net in [V4, V6] {
        let _server = Server::start(&gateway, net.port(8080), None);
        let probing = Probing::start(&node, [every(50, http(net.gateway, (200, 399)))]);
        probing.wait_for_loss(&Loss::Timeout);
        probing.wait_for_loss(&Loss::Timeout);
    }
}

#[test]
fn nobody_there_is_refused() {
    let (node, _gateway) = node_and_gateway();
    for net in [V4, V6] {
        let probing = Probing::start(&node, [http(net.gateway, (200, 399))]);
        probing.wait_for_loss(&Loss::Refused);
    }
}

#[test]
fn the_question_names_its_host() {
    let (node, gateway) = node_and_gateway();
    for (net, host) in [(V4, "10.0.1.2:8080"), (V6, "[fd00:1::2]:8080")] {
        let server = Server::start(&gateway, net.port(8080), Some(&status("200 OK")));
        let mut target = http(net.gateway, (200, 399));
        target.check.timeout = Duration::from_millis(400);
        let probing = Probing::start(&node, [target.clone()]);
        probing.wait_for_answer();
        let (_, asked) = server.last();
        assert!(
            asked.starts_with("GET /health?full=1 HTTP/1.1\r\n"),
            "{asked}"
        );
        assert!(asked.contains(&format!("\r\nhost: {host}\r\n")), "{asked}");
        if let Probe::Http { host, .. } = &mut target.check.probe {
            *host = Some("example.org".to_owned());
        }
        probing.set([target]);
        crate::support::tables::wait_until("the other host is asked for", || {
            server.last().1.contains("\r\nhost: example.org\r\n")
        });
    }
}
