//! What happened and what happens: none is missing, none comes twice.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;

use super::node::{happening, published, with, with_recent};
use super::{Daemon, within};

/// Follows the events.
struct Follower(Lines<BufReader<UnixStream>>);

impl Follower {
    async fn of(daemon: &Daemon, query: &str) -> Self {
        let mut stream = daemon.connect().await;
        let request = format!("GET /events{query} HTTP/1.1\r\nHost: node\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut lines = BufReader::new(stream).lines();
        let status = within(lines.next_line()).await.unwrap().unwrap();
        assert_eq!(status, "HTTP/1.1 200 OK");
        while within(lines.next_line()).await.unwrap().unwrap() != "" {}
        Self(lines)
    }

    /// The next line of the body: a happening's number, or how many are lost.
    async fn next(&mut self) -> Option<String> {
        loop {
            let line = within(self.0.next_line()).await.unwrap()?;
            // Between them are the sizes of chunks and empty lines.
            let Ok(Value::Object(object)) = serde_json::from_str(&line) else {
                if line == "0" {
                    return None;
                }
                continue;
            };
            return Some(match object.get("sequence") {
                Some(sequence) => sequence.to_string(),
                None => format!("{} {}", object["kind"].as_str().unwrap(), object["count"]),
            });
        }
    }

    async fn take(&mut self, count: usize) -> Vec<String> {
        let mut taken = Vec::new();
        for _ in 0..count {
            taken.push(self.next().await.expect("more lines"));
        }
        taken
    }
}

fn numbers(numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
    numbers
        .into_iter()
        .map(|number| number.to_string())
        .collect()
}

#[tokio::test]
async fn the_recent_ones_come_as_json_lines() {
    let daemon = Daemon::start(published());
    let reply = daemon.get("/events?follow=0").await.is(200);
    assert_eq!(reply.header("content-type"), "application/x-ndjson");
    let mut lines = reply.body.lines();
    assert_eq!(
        lines.next().unwrap(),
        r#"{"sequence":1,"time":"2100-01-01T00:00:00.001Z","kind":"sourceChanged","level":"info","message":"number 1"}"#
    );
    assert_eq!(lines.count(), 2);
}

#[tokio::test]
async fn a_person_reads_them_as_text() {
    let daemon = Daemon::start(published());
    let reply = daemon
        .get("/events?follow=0&since=1&output=text")
        .await
        .is(200);
    assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(
        reply.body,
        "00:00:00.002Z * number 2\n00:00:00.003Z * number 3\n"
    );
    daemon.get("/events?output=yaml").await.is(400);
}

#[tokio::test]
async fn a_reader_says_where_to_begin() {
    let published = published();
    let daemon = Daemon::start(with(&published, |running| {
        running.recent = (11..=15).map(happening).collect();
    }));
    for (query, expected) in [
        ("", &["11", "12", "13", "14", "15"][..]),
        ("&tail=2", &["14", "15"]),
        ("&tail=0", &[]),
        ("&tail=99", &["11", "12", "13", "14", "15"]),
        ("&since=13", &["14", "15"]),
        ("&since=15", &[]),
        ("&since=8", &["lost 2", "11", "12", "13", "14", "15"]),
        // The number of a daemon before this one.
        ("&since=16", &["11", "12", "13", "14", "15"]),
    ] {
        let mut follower = Follower::of(&daemon, &format!("?follow=0{query}")).await;
        assert_eq!(follower.take(expected.len()).await, expected, "{query}");
        assert_eq!(follower.next().await, None, "{query}");
    }
}

#[tokio::test]
async fn none_is_missing_and_none_comes_twice() {
    // Each is sent, and published some time later, as a loop does it: a reader that comes at any
    // moment finds some here, some there, and some in both.
    let published = published();
    let daemon = Daemon::start(with(&published, |running| running.recent.clear()));
    let mut readers = Vec::new();
    for number in 1..=120 {
        daemon.happenings.send(happening(number)).ok();
        if number % 5 == 0 {
            readers.push(Follower::of(&daemon, "").await);
        }
        if number % 7 == 0 {
            let recent = with_recent(&published, 1..=number);
            daemon.published.send_replace(recent);
        }
        tokio::task::yield_now().await;
    }
    daemon
        .published
        .send_replace(with_recent(&published, 1..=120));
    for reader in &mut readers {
        let first: u64 = reader.next().await.unwrap().parse().unwrap();
        assert_eq!(first, 1);
        assert_eq!(reader.take(119).await, numbers(2..=120));
    }
}

#[tokio::test]
async fn what_happens_is_told_before_it_is_published() {
    let daemon = Daemon::start(published());
    let mut follower = Follower::of(&daemon, "?tail=1").await;
    assert_eq!(follower.take(1).await, ["3"]);
    daemon.happenings.send(happening(4)).unwrap();
    daemon.happenings.send(happening(5)).unwrap();
    assert_eq!(follower.take(2).await, ["4", "5"]);
}

#[tokio::test]
async fn what_is_only_published_is_told_too() {
    let published = published();
    let daemon = Daemon::start(published.clone());
    let mut follower = Follower::of(&daemon, "?tail=0").await;
    // It happened just before the follower came, and nothing happens after it.
    daemon
        .published
        .send_replace(with_recent(&published, 1..=4));
    assert_eq!(follower.take(1).await, ["4"]);
}

#[tokio::test]
async fn a_reader_that_is_too_slow_is_told_how_many_it_missed() {
    let published = published();
    let daemon = Daemon::start(published.clone());
    let mut follower = Follower::of(&daemon, "?tail=0").await;
    // More than all the buffers between here and there hold.
    let long = "x".repeat(10_000);
    for number in 4..=2000 {
        let mut next = happening(number);
        std::sync::Arc::make_mut(&mut next).message = long.clone();
        daemon.happenings.send(next).unwrap();
        tokio::task::yield_now().await;
    }
    let recent = with_recent(&published, 1990..=2000);
    daemon.published.send_replace(recent);
    let mut last = 3;
    let mut lost = 0;
    while last < 2000 {
        let line = follower.next().await.unwrap();
        match line.strip_prefix("lost ") {
            Some(count) => {
                let count: u64 = count.parse().unwrap();
                lost += count;
                last += count;
            }
            None => {
                assert_eq!(line, (last + 1).to_string());
                last += 1;
            }
        }
    }
    assert!(lost > 1000, "{lost}");
    // It goes on.
    daemon.happenings.send(happening(2001)).unwrap();
    assert_eq!(follower.take(1).await, ["2001"]);
}

#[tokio::test]
async fn followers_leave_room_for_others() {
    let daemon = Daemon::start(published());
    let mut followers = Vec::new();
    for _ in 0..32 {
        followers.push(Follower::of(&daemon, "").await);
    }
    daemon.get("/events").await.is(503);
    daemon.get("/healthz").await.is(200);
    // One that goes makes room, although nothing happens that would tell the daemon.
    followers.pop();
    within(async {
        while daemon.get("/events?follow=0").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_stream_ends_in_order_when_the_daemon_does() {
    let daemon = Daemon::start(published());
    let mut follower = Follower::of(&daemon, "").await;
    follower.take(3).await;
    let Daemon { published, .. } = daemon;
    drop(published);
    assert_eq!(follower.next().await, None);
}
