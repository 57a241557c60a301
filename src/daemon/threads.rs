//! Those who listen while the loop works: to the kernel, to signals, to people on sockets. They
//! hand on what they hear and decide nothing.

use std::collections::BTreeSet;
use std::io;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::thread;
use std::time::Duration;

use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::{DaemonError, Event};
use crate::kernel::{Events, KernelError, NatEvents};
use crate::probe::ask::{self, Inquiry};
use crate::probe::{self, Target};
use crate::status::{self, Feed, Listeners};

/// Hands on the kernel's news. Waits while the loop is behind; see [`super::WAITING`].
pub(super) fn hear_kernel(
    mut events: Events,
    sender: SyncSender<Event>,
) -> Result<(), DaemonError> {
    let wait = move || {
        events
            .wait()
            .map(|news| (!news.is_empty()).then(|| Event::Kernel(news)))
    };
    hear("kernel-events", wait, Event::Deaf, sender)
}

/// Hands on what others do to our nftables table.
pub(super) fn hear_nat(
    mut events: NatEvents,
    sender: SyncSender<Event>,
) -> Result<(), DaemonError> {
    let wait = move || {
        events
            .wait()
            .map(|news| (!news.is_empty()).then(|| Event::Nat(news)))
    };
    hear("nftables-events", wait, |_| Event::NatDeaf, sender)
}

/// Hands on what is waited for, until nothing can be heard any more.
fn hear(
    name: &'static str,
    mut wait: impl FnMut() -> Result<Option<Event>, KernelError> + Send + 'static,
    deaf: fn(KernelError) -> Event,
    sender: SyncSender<Event>,
) -> Result<(), DaemonError> {
    spawn(name, move || {
        loop {
            let (event, is_deaf) = match wait() {
                Ok(None) => continue,
                Ok(Some(event)) => (event, false),
                Err(error) => (deaf(error), true),
            };
            // Without a receiver the daemon has ended.
            if sender.send(event).is_err() || is_deaf {
                return;
            }
        }
    })
}

/// What is asked of the network, as long as somebody wants it.
pub(super) struct Questions {
    /// Of gateways.
    pub(super) probes: watch::Receiver<BTreeSet<Target>>,
    /// For connectivity checks.
    pub(super) inquiries: watch::Receiver<BTreeSet<Inquiry>>,
}

/// Serves sockets, hears signals, probes gateways and asks for connectivity checks, on a thread of its own: a pass of a
/// second does not keep `srsync status` waiting, nor a probe.
pub(super) fn serve(
    listeners: Listeners,
    feed: Feed,
    questions: Questions,
    sender: SyncSender<Event>,
) -> Result<(), DaemonError> {
    let start = |source| DaemonError::Start {
        what: "the status server",
        source,
    };
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(start)?;
    // From here on the signals no longer end the process by themselves.
    let signals = {
        let _inside = runtime.enter();
        Signals::hear().map_err(start)?
    };
    spawn("status", move || {
        let Questions { probes, inquiries } = questions;
        let (probed, asked) = (sender.clone(), sender.clone());
        // A loop that is that far behind learns from the next one.
        let tell = move |outcome| drop(probed.try_send(Event::Probed(outcome)));
        let tell_asked = move |answer| drop(asked.try_send(Event::Asked(answer)));
        runtime.block_on(async {
            tokio::join!(
                status::serve(listeners, feed),
                probe::run(probes, tell),
                ask::run(inquiries, tell_asked),
                signals.hand_on(sender)
            );
        });
    })
}

pub(super) fn spawn(
    name: &'static str,
    work: impl FnOnce() + Send + 'static,
) -> Result<(), DaemonError> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
    thread
        .map(drop)
        .map_err(|source| DaemonError::Start { what: name, source })
}

struct Signals {
    hangup: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn hear() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn hand_on(mut self, sender: SyncSender<Event>) {
        loop {
            let mut event = tokio::select! {
                _ = self.hangup.recv() => Event::Reload,
                _ = self.terminate.recv() => Event::Stop("SIGTERM"),
                _ = self.interrupt.recv() => Event::Stop("SIGINT"),
            };
            // A signal is not lost because the loop is behind.
            while let Err(TrySendError::Full(unsent)) = sender.try_send(event) {
                event = unsent;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}
