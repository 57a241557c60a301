//! `srsync daemon`: one kind of event, one loop, one state.
//!
//! Owns when something is done, never what: that the kernel, the sources, a signal or a person has
//! news arrives here as an `Event`, and only the loop acts on it, on its own thread, one after the
//! other. Nothing else changes the state, so there are no locks around it. Threads beside the loop
//! only listen (the kernel's news, the file watcher, sockets and signals), and readers get copies.
//!
//! - `state`: the loop's state, and what each event does to it.
//! - `schedule`, `contest`, `relevance`: decisions about time, about those who undo our routes, and
//!   about which news matters. Pure.
//! - `gateways`: what probes say of gateways, and which of them carry. `switch`: doing it at once.
//! - `connectivity`: what connectivity checks ask, and what came of it.
//! - `overrides`: what somebody decided about gateways; `drains`: those by hand. `store`: what outlives the daemon.
//! - `refused`: what this kernel would not make.
//! - `things`: what is not a route. `inbox`: events that wait. `sources`, `pass`: reading the documents; one pass. `news`: what is told about it.
//! - `labels`: what is known of this node's labels. `kubernetes`: what is heard from its API.
//! - `journal`: what happened, to the log and to listeners.
//! - `threads`: those who listen. `service`: talking to systemd.

mod connectivity;
mod contest;
mod drains;
mod gateways;
mod inbox;
mod journal;
#[cfg(feature = "kube")]
mod kubernetes;
mod labels;
mod news;
mod overrides;
mod pass;
mod refused;
mod relevance;
mod schedule;
mod service;
mod sources;
mod state;
mod store;
mod switch;
mod things;
mod threads;

use std::io;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::Settings;
use crate::kernel::{KernelError, KernelEvent, NatEvent};
use crate::model::{Names, Timestamp};
use crate::probe::Probed;
use crate::probe::ask::Asked;
use crate::source::Hint;
use crate::status::{Listeners, Request};

use inbox::Inbox;
use state::Daemon;

/// How many events may wait. A listener with one more waits itself, and the kernel's queue fills,
/// which ends in an overflow and a full comparison: nothing is lost, and memory is bounded.
const WAITING: usize = 1024;

/// All that a daemon is started with.
pub struct Setup {
    /// The settings in force.
    pub settings: Settings,
    /// Directories and files of documents.
    pub sources: Vec<PathBuf>,
    /// The names of tables and protocols.
    pub names: Names,
    /// The socket beside which it keeps what outlives it; `None` forgets that when it ends.
    pub beside: Option<PathBuf>,
    /// Sockets on which its status is shown.
    pub listeners: Listeners,
    /// Reads settings and sources again.
    pub reload: Box<Reload>,
}

/// Reads settings and the list of sources again; an error is text for people.
pub type Reload = dyn FnMut() -> Result<(Settings, Vec<PathBuf>), String>;

/// Why a daemon could not start, or go on.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// No socket to the kernel.
    #[error("cannot talk to the kernel")]
    Kernel(#[from] KernelError),
    /// Routes may not be changed.
    #[error(
        "changing routes needs the capability CAP_NET_ADMIN in this network namespace. Run as root, or \
         give it to the service (AmbientCapabilities=CAP_NET_ADMIN) or container \
         (securityContext.capabilities.add: [NET_ADMIN], as user 0)"
    )]
    NotPermitted,
    /// No thread, or no watcher.
    #[error("cannot start {what}")]
    Start {
        /// What was to be started.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Something that the loop has to act on.
#[derive(Debug)]
enum Event {
    /// The kernel told something.
    Kernel(Vec<KernelEvent>),
    /// Something happened to our nftables table.
    Nat(Vec<NatEvent>),
    /// Our nftables table cannot be heard any more.
    NatDeaf,
    /// The kernel cannot be heard any more.
    Deaf(KernelError),
    /// Something moved near a source.
    Sources(Hint),
    /// A probe of a gateway has ended.
    Probed(Probed),
    /// A question of a connectivity check has its answer, or none.
    Asked(Asked),
    /// Kubernetes told something, or what is wrong with it.
    #[cfg(feature = "kube")]
    Kubernetes(crate::kube::News),
    /// Somebody asks for something through the socket.
    Request(Request),
    /// Read config and sources again (SIGHUP).
    Reload,
    /// End (this signal came).
    Stop(&'static str),
}

/// Keeps the kernel's routes equal to the sources until it is told to stop. The routes stay then.
///
/// # Errors
/// If it cannot start, or may not change routes.
pub fn run(setup: Setup) -> Result<(), DaemonError> {
    let (sender, events) = mpsc::sync_channel(WAITING);
    let mut daemon = Daemon::start(setup, sender, Inbox::of(events))?;
    daemon.first_pass()?;
    while !daemon.is_stopping() {
        let next = daemon.next_moment();
        let events = daemon.inbox.wait_until(next);
        events.into_iter().for_each(|event| daemon.take(event));
        daemon.do_what_is_due()?;
    }
    daemon.stop();
    Ok(())
}

/// The time of day.
fn time() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
