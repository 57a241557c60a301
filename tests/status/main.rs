//! The servers of a running daemon, with a daemon made by hand: each path, both sockets, readers
//! that are slow, and whatever else may be sent to a socket.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    dead_code,
    unreachable_pub,
    reason = "a test fails by panicking, and its helpers are for all test binaries"
)]

mod clients;
mod events;
mod gateways;
mod hostile;
mod listeners;
mod metrics;
mod node;
mod routes;

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use srsync::report::{Happening, Published};
use srsync::status::{Caller, Feed, Heartbeat, Listeners, Request, serve};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

/// A directory that is gone when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("srsync-status-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("srsync.sock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind in a temporary directory harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The daemon's side of the servers: what its loop would hold.
struct Daemon {
    folder: Folder,
    published: watch::Sender<Arc<Published>>,
    happenings: broadcast::Sender<Arc<Happening>>,
    heartbeat: Arc<Heartbeat>,
    /// Who asked for a reload.
    callers: Arc<Mutex<Vec<Caller>>>,
    server: JoinHandle<()>,
}

impl Daemon {
    /// Serves on a Unix socket, and on a port of `lo` where the test asks for it.
    fn start(published: Published) -> Self {
        let folder = Folder::new();
        let (listeners, problems) = Listeners::bind(None, &folder.socket());
        assert!(problems.is_empty(), "{problems:?}");
        Self::serve(published, folder, listeners)
    }

    fn serve(published: Published, folder: Folder, listeners: Listeners) -> Self {
        let callers = Arc::new(Mutex::new(Vec::new()));
        let asked = callers.clone();
        let published = watch::Sender::new(Arc::new(published));
        let happenings = broadcast::Sender::new(16);
        let heartbeat = Arc::new(Heartbeat::new());
        let feed = Feed {
            published: published.subscribe(),
            happenings: happenings.clone(),
            heartbeat: heartbeat.clone(),
            requests: Arc::new(move |request| {
                let (by, answer, done) = match request {
                    Request::Reload { by, answer } => (by, answer, "read again".to_owned()),
                    Request::Drain {
                        gateway,
                        lasting,
                        by,
                        answer,
                    } => (by, answer, format!("drained {gateway} for {lasting:?}")),
                    Request::Undrain {
                        gateway,
                        by,
                        answer,
                    } => (by, answer, format!("undrained {gateway}")),
                };
                let mut asked = asked.lock().unwrap();
                asked.push(by);
                let refusal = Err("config.yaml:3: `tabel` is no key".to_owned());
                let outcome = match asked.len() {
                    1 => Ok(done),
                    _ => refusal,
                };
                answer.send(outcome).unwrap();
            }),
        };
        Self {
            folder,
            published,
            happenings,
            heartbeat,
            callers,
            server: tokio::spawn(serve(listeners, feed)),
        }
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.folder.socket()).await.unwrap()
    }

    /// One request on a connection of its own.
    async fn ask(&self, request: &str) -> Reply {
        converse(self.connect().await, request).await
    }

    async fn get(&self, target: &str) -> Reply {
        self.ask(&format!("GET {target}")).await
    }

    /// Sends a whole request, and returns all bytes of the answer until the server closes.
    async fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect().await;
        // It may close before it has read all.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = within(stream.read_to_end(&mut answer)).await;
        answer
    }
}

/// An answer, taken apart.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Reply {
    #[track_caller]
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("no {name}"))
    }

    #[track_caller]
    fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    #[track_caller]
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

/// Sends `METHOD TARGET`, with more header lines behind it, and reads until the server closes.
async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> Reply {
    let (line, headers) = request.split_once('\n').unwrap_or((request, ""));
    let head = format!("{line} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n");
    let headers: String = headers.lines().map(|line| format!("{line}\r\n")).collect();
    let request = format!("{head}{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    within(stream.read_to_end(&mut answer)).await.unwrap();
    parse(&String::from_utf8(answer).unwrap())
}

fn parse(answer: &str) -> Reply {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_ascii_lowercase(), value.to_owned())
    };
    let headers: BTreeMap<_, _> = lines.map(header).collect();
    let chunked = headers.contains_key("transfer-encoding");
    Reply {
        status: status.parse().unwrap(),
        body: match chunked && !body.is_empty() {
            true => unchunked(body),
            false => body.to_owned(),
        },
        headers,
    }
}

/// The content of a chunked body, which must be complete.
fn unchunked(mut body: &str) -> String {
    let mut content = String::new();
    loop {
        let (size, rest) = body.split_once("\r\n").expect("a chunk, or the end");
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            assert_eq!(rest, "\r\n");
            return content;
        }
        content += &rest[..size];
        body = rest[size..].strip_prefix("\r\n").unwrap();
    }
}

/// Nothing here takes long; a test that hangs says so.
async fn within<T>(work: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(30);
    let done = tokio::time::timeout(limit, work).await;
    done.expect("it is done within 30 seconds")
}
