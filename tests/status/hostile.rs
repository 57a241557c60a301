//! Whatever is sent to a socket costs the sender: everybody else is answered.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::node::{published, published_with};
use super::support::random::Random;
use super::{Daemon, within};

/// With a clock that goes on when nothing else does: many of these wait for the end of a head.
#[tokio::test(start_paused = true)]
async fn garbage_harms_nobody() {
    let daemon = Daemon::start(published());
    let mut random = Random::new(1);
    for length in [0, 1, 2, 17, 500, 5000, 50_000] {
        for _ in 0..20 {
            let bytes: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
            daemon.raw(&bytes).await;
        }
    }
    for text in [
        "\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET /status?%%%=%ff&&== HTTP/1.1\r\nHost: \r\nConnection: close\r\n\r\n",
        "GET * HTTP/1.1\r\nConnection: close\r\n\r\n",
        "GET http://[::1/ HTTP/1.1\r\n\r\n",
        "POST /reload HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST /status HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n",
        "GET /events?tail=99999999999999999999 HTTP/1.1\r\nConnection: close\r\n\r\n",
        "GET /events?since=18446744073709551615&follow=0 HTTP/1.1\r\nConnection: close\r\n\r\n",
        "GET /events?tail=18446744073709551615&follow=0 HTTP/1.1\r\nConnection: close\r\n\r\n",
        "CONNECT example.com:443 HTTP/1.1\r\n\r\n",
    ] {
        let answer = daemon.raw(text.as_bytes()).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.contains(" 500 "), "{text}: {answer}");
    }
    daemon.get("/readyz").await.is(200);
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let daemon = Daemon::start(published());
    let line = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000));
    let answer = daemon.raw(line.as_bytes()).await;
    let refused = answer.starts_with(b"HTTP/1.1 4") || answer.is_empty();
    assert!(refused, "{}", String::from_utf8_lossy(&answer));
    let header = "X-Long: ".to_owned() + &"a".repeat(30_000);
    let head = format!("GET /healthz HTTP/1.1\r\n{header}\r\n\r\n");
    let answer = daemon.raw(head.as_bytes()).await;
    assert!(answer.starts_with(b"HTTP/1.1 431"));
    daemon.get("/healthz").await.is(200);
}

#[tokio::test]
async fn a_body_is_not_waited_for() {
    let daemon = Daemon::start(published());
    let request = "POST /reload HTTP/1.1\r\nHost: node\r\nContent-Length: 1000000000\r\n\r\nx";
    let started = Instant::now();
    let answer = daemon.raw(request.as_bytes()).await;
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let daemon = Daemon::start(published());
    for begun in ["", "GET /hea", "GET /healthz HTTP/1.1\r\nHost: no"] {
        let mut stream = daemon.connect().await;
        stream.write_all(begun.as_bytes()).await.unwrap();
        let waiting = tokio::time::Instant::now();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let waited = waiting.elapsed();
        assert!(waited >= Duration::from_secs(9), "{waited:?}");
        assert!(waited < Duration::from_secs(12), "{waited:?}");
    }
}

#[tokio::test]
async fn who_comes_too_much_waits_and_is_answered_when_others_go() {
    let daemon = Daemon::start(published());
    let mut idle = Vec::new();
    for _ in 0..64 {
        idle.push(daemon.connect().await);
    }
    let early = tokio::time::timeout(Duration::from_millis(300), daemon.get("/healthz")).await;
    assert!(early.is_err(), "65 connections at once");
    idle.pop();
    within(daemon.get("/healthz")).await.is(200);
}

#[tokio::test]
async fn a_reader_that_does_not_read_keeps_nobody_waiting() {
    let daemon = Daemon::start(published_with(20_000));
    let mut slow = Vec::new();
    for _ in 0..8 {
        let mut stream = daemon.connect().await;
        let request = b"GET /status HTTP/1.1\r\nHost: node\r\n\r\n";
        stream.write_all(request).await.unwrap();
        slow.push(stream);
    }
    let started = Instant::now();
    daemon.get("/healthz").await.is(200);
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn connections_are_kept_for_several_requests() {
    let daemon = Daemon::start(published());
    let mut stream = daemon.connect().await;
    let request = b"GET /healthz HTTP/1.1\r\nHost: node\r\n\r\n";
    for _ in 0..3 {
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        while !answer.ends_with("ok\n") {
            let mut some = [0; 256];
            let count = within(stream.read(&mut some)).await.unwrap();
            assert!(count > 0, "closed after {answer}");
            answer += &String::from_utf8_lossy(&some[..count]);
        }
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}
