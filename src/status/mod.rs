//! Shows a running daemon to whoever asks: over a Unix socket, and over HTTP where that is wanted.
//!
//! Owns the sockets and what is answered on them. Everything shown is a copy that the daemon's loop
//! published; all that can be asked of the loop is a [`Request`], on the Unix socket alone, whose
//! callers the kernel names. Must not decide anything, and must not stop the loop: a slow reader, a
//! hundred connections or garbage cost the asker, not the routes.

mod body;
mod connections;
mod events;
mod listeners;
mod metrics;
mod query;
mod routes;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{broadcast, oneshot, watch};
use tokio::time::Instant;

pub use listeners::{BindProblem, Listeners, SocketGuard};

use crate::model::Timestamp;
use crate::report::{Happening, Published};

/// What the servers show: always the newest.
#[derive(Clone)]
pub struct Feed {
    /// The daemon, after its last pass.
    pub published: watch::Receiver<Arc<Published>>,
    /// What happens from now on, in the order of its numbers. Each is in the `recent` of what is
    /// published next, too.
    pub happenings: broadcast::Sender<Arc<Happening>>,
    /// Whether the loop is alive.
    pub heartbeat: Arc<Heartbeat>,
    /// Hands a request to the loop; must not wait.
    pub requests: Arc<dyn Fn(Request) + Send + Sync>,
}

/// What a caller on the Unix socket asks the loop to do.
#[derive(Debug)]
pub enum Request {
    /// Read config and sources again, and compare everything.
    Reload {
        /// Who asks.
        by: Caller,
        /// To be told the outcome.
        answer: oneshot::Sender<Answer>,
    },
    /// Move traffic away from a gateway.
    Drain {
        /// Which.
        gateway: IpAddr,
        /// For how long; until it is undone without.
        lasting: Option<Duration>,
        /// Who asks.
        by: Caller,
        /// To be told the outcome.
        answer: oneshot::Sender<Answer>,
    },
    /// Undo that.
    Undrain {
        /// Which.
        gateway: IpAddr,
        /// Who asks.
        by: Caller,
        /// To be told the outcome.
        answer: oneshot::Sender<Answer>,
    },
}

/// Who is at the other end of the Unix socket, as the kernel says (`SO_PEERCRED`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub uid: u32,
    /// The process, unless it is in another PID namespace.
    pub pid: Option<i32>,
}

/// What was done, or why not, as a sentence for people.
pub type Answer = Result<String, String>;

/// When the loop last showed that it is alive.
#[derive(Debug)]
pub struct Heartbeat {
    /// Monotonic: setting the clock kills nobody.
    origin: Instant,
    /// Milliseconds after `origin`.
    last: AtomicU64,
}

impl Heartbeat {
    /// One that beats now.
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    /// Says that the loop is alive.
    pub fn beat(&self) {
        // It orders nothing else: whoever reads it wants only this number.
        self.last.store(self.now(), Ordering::Relaxed);
    }

    /// How long ago that was.
    pub fn age(&self) -> Duration {
        Duration::from_millis(self.now().saturating_sub(self.last.load(Ordering::Relaxed)))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self::new()
    }
}

/// Serves until the runtime ends.
pub async fn serve(listeners: Listeners, feed: Feed) {
    let (tcp, unix, _guard) = listeners.into_tokio();
    let over_tcp = async {
        if let Some(listener) = tcp {
            connections::accept(listener, feed.clone()).await;
        }
    };
    let over_unix = async {
        if let Some(listener) = unix {
            connections::accept(listener, feed.clone()).await;
        }
    };
    tokio::join!(over_tcp, over_unix);
    std::future::pending().await
}

/// The moment of an answer.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since.unwrap_or_default().as_millis();
    Timestamp::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}
