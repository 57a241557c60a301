//! Something that happened in a daemon, once: a line of the log, an entry of `srsync events`, a row
//! of the page.

use std::net::IpAddr;

use serde::Serialize;

use crate::model::{Prefix, State, Timestamp};
use crate::plan::ReasonCode;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Happening {
    /// Counted from 1 since the daemon started.
    pub sequence: u64,
    /// When.
    pub time: Timestamp,
    /// What kind of thing.
    pub kind: HappeningKind,
    /// How bad it is.
    pub level: Level,
    /// A sentence for people that stands for itself.
    pub message: String,
    /// The route it is about.
    #[serde(flatten)]
    pub route: Option<RouteChange>,
    /// The file it is about, as a person would open it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Its line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Its column, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
}

/// The route that something happened to, before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteChange {
    /// Destination.
    pub prefix: Prefix,
    /// Name of the table.
    pub table: String,
    /// Metric, as the kernel shows it.
    pub metric: u32,
    /// The document that asks for it; `None` where none does any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// Where it led before (`via 10.0.0.1 dev eth0`), if it was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// Where it leads now, if it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
    /// Its state now; `None` where no document asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Why it is not `Installed`, for machines; the message says it in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<ReasonCode>,
    /// The gateways it leads to now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<IpAddr>,
}

/// What kind of thing happened. Public behaviour: names are only ever added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum HappeningKind {
    /// The daemon started.
    Started,
    /// The first complete pass is done.
    Ready,
    /// The daemon ends; the routes stay.
    Stopped,
    /// Config and sources were read again on demand.
    Reloaded,
    /// What the sources say changed.
    SourceChanged,
    /// A file or source cannot be used; what was last good stays.
    SourceInvalid,
    /// All sources are readable and valid again.
    SourceValid,
    /// Sources are polled, because they cannot be watched.
    Polling,
    /// A route was put into a free slot.
    RouteAdded,
    /// A route was changed in place.
    RouteReplaced,
    /// A route was taken over unchanged from another owner.
    RouteAdopted,
    /// A route was taken away, because no document asks for it any more.
    RouteRemoved,
    /// Somebody deleted or changed a route of ours; it is back.
    RouteRestored,
    /// A route is in another state than before.
    RouteState,
    /// Many routes changed: the numbers, in place of a line for each.
    RoutesChanged,
    /// Routes that nobody asks for are held back, or no longer.
    Removals,
    /// Somebody keeps undoing a route; it is restored less often.
    Contested,
    /// Nobody undoes it any more.
    Settled,
    /// The kernel told more than could be heard; everything was compared.
    Overflow,
    /// A pass could not be completed; it is tried again.
    PassFailed,
}

/// How bad it is: the level of the log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    /// Something failed.
    Error,
    /// A person should look.
    Warn,
    /// As it should be.
    Info,
    /// For who asks for details.
    Debug,
}
