//! A running daemon at one moment, as data: what `srsync status`, HTTP and metrics show.
//!
//! Everything here is a copy that its readers share and nobody changes: the daemon's own state
//! belongs to its loop alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::{Action, CheckStatus, GatewayStatus, Happening, Kind, Pass, Report, Selection};
use crate::model::{Document, Egress, FileName, Labels, Names, Policy, Steering, Timestamp};
use crate::plan::{Inputs, ReasonCode};

/// All that is shown of a daemon, made anew after each pass.
#[derive(Debug, Clone)]
pub struct Published {
    /// This node's name.
    pub node: String,
    /// What may be done.
    pub policy: Policy,
    /// This node's labels.
    pub labels: Labels,
    /// Why the node may have more labels than these.
    pub unknown_labels: Option<String>,
    /// How tables and protocols are called.
    pub names: Arc<Names>,
    /// The documents in force.
    pub documents: Arc<Vec<Document>>,
    /// Documents of other kinds in force.
    pub egress: Arc<Vec<Egress>>,
    /// How their files are called, by `FileId`.
    pub files: Arc<Vec<FileName>>,
    /// Why the documents may not be all that is wanted.
    pub incomplete: Option<String>,
    /// The last complete pass; without rows until there was one.
    pub pass: Arc<Pass>,
    /// The daemon itself.
    pub running: Arc<Running>,
}

impl Published {
    /// What is shown until there is anything to show.
    pub fn nothing(node: &str, policy: &Policy, names: &Arc<Names>) -> Self {
        Self {
            node: node.to_owned(),
            policy: policy.clone(),
            labels: Labels::new(),
            unknown_labels: None,
            names: names.clone(),
            documents: Arc::default(),
            egress: Arc::default(),
            files: Arc::default(),
            incomplete: None,
            pass: Arc::default(),
            running: Arc::default(),
        }
    }

    /// Shows it as a report, of all routes or of some.
    pub fn report<T>(
        &self,
        selection: Option<&Selection>,
        show: impl FnOnce(&Report<'_>) -> T,
    ) -> T {
        let inputs = Inputs {
            documents: &self.documents,
            egress: &self.egress,
            policy: &self.policy,
            labels: &self.labels,
            unknown_labels: self.unknown_labels.as_deref(),
            names: &self.names,
            files: &self.files,
            steering: Steering::NONE,
            objects: None,
            incomplete: self.incomplete.as_deref(),
        };
        show(&Report {
            kind: Kind::Status,
            node: &self.node,
            inputs: &inputs,
            pass: &self.pass,
            tables: None,
            running: Some(&self.running),
            selection,
        })
    }
}

/// What there is to say about the daemon beside its routes.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Running {
    /// Version of the program.
    pub version: &'static str,
    /// Its process number.
    pub pid: u32,
    /// When it started.
    pub started: Timestamp,
    /// When this was written.
    pub now: Timestamp,
    /// When the first complete pass ended; `None` until then.
    pub ready: Option<Timestamp>,
    /// Where documents come from.
    pub sources: Vec<SourceStatus>,
    /// What is wrong with the documents.
    pub findings: Vec<Finding>,
    /// Why sources are polled instead of watched, if they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub polling: Option<String>,
    /// The last pass, complete or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_pass: Option<PassStatus>,
    /// The gateways that are watched.
    pub gateways: Vec<GatewayStatus>,
    /// The gateways that somebody decided about.
    pub overrides: Vec<OverrideStatus>,
    /// The connectivity checks of the documents, one entry for each target.
    pub checks: Vec<CheckStatus>,
    /// Whether this node reaches none of the witnesses of a document.
    pub isolated: bool,
    /// When the traffic of a document last went another way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_switch: Option<Timestamp>,
    /// How it stands with the Kubernetes API, once it was asked for anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesStatus>,
    /// How many routes somebody keeps undoing.
    pub contested_routes: usize,
    /// The first hundred of them.
    pub contested: Vec<ContestedRoute>,
    /// What was counted since the start.
    #[serde(skip)]
    pub counters: Counters,
    /// What happened last, oldest first; at most some hundred entries.
    pub recent: Vec<Arc<Happening>>,
}

/// A source and the condition it is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// The directory or file, as given.
    pub path: String,
    /// Its condition.
    pub condition: Condition,
    /// What is wrong and what follows from it, where it is not `Valid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Files in it.
    pub files: usize,
    /// Documents in force from it.
    pub documents: usize,
    /// Destinations of these.
    pub destinations: usize,
    /// When the content that is in force was first seen.
    pub changed: Timestamp,
}

/// Whether a source can be used as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Condition {
    /// All of it.
    Valid,
    /// Files in it have errors: of those, what was last good is in force.
    Invalid,
    /// It is missing or cannot be read: what was last good is in force.
    Unreadable,
    /// A directory without documents, and `allowEmpty` is not set: what was last good is in force.
    Empty,
}

impl Condition {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Valid, Self::Invalid, Self::Unreadable, Self::Empty];

    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Valid => "Valid",
            Self::Invalid => "Invalid",
            Self::Unreadable => "Unreadable",
            Self::Empty => "Empty",
        }
    }
}

/// Something wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Finding {
    /// As `srsync validate` shows it, several lines, without colours.
    #[serde(skip)]
    pub text: String,
    /// As `srsync validate -o json` prints it.
    pub data: serde_json::Value,
}

/// A pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PassStatus {
    /// When it ended.
    pub ended: Timestamp,
    /// How long it took.
    #[serde(rename = "seconds", serialize_with = "super::gateway::seconds")]
    pub took: Duration,
    /// What made it happen.
    pub trigger: Trigger,
    /// How many routes it changed.
    pub changes: usize,
    /// Why it could not be completed, if it could not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What makes a pass happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Trigger {
    /// The daemon started.
    Start,
    /// The documents changed.
    Sources,
    /// Something changed in the kernel.
    Kernel,
    /// The kernel told more than could be heard.
    Overflow,
    /// A gateway went down or came back.
    Gateways,
    /// The labels of this node changed.
    Labels,
    /// It was time for the periodic comparison.
    Resync,
    /// Somebody asked for it.
    Reload,
    /// The last one failed, or a contested route is due.
    Retry,
}

impl Trigger {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Start,
        Self::Sources,
        Self::Kernel,
        Self::Overflow,
        Self::Gateways,
        Self::Labels,
        Self::Resync,
        Self::Reload,
        Self::Retry,
    ];

    /// The word, as in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Sources => "sources",
            Self::Kernel => "kernel",
            Self::Overflow => "overflow",
            Self::Gateways => "gateways",
            Self::Labels => "labels",
            Self::Resync => "resync",
            Self::Reload => "reload",
            Self::Retry => "retry",
        }
    }
}

/// A route that somebody keeps undoing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContestedRoute {
    /// The route, as `ip route` would name its slot: `192.0.2.0/24 metric 0 table main`.
    pub route: String,
    /// How often it was undone since it was first.
    pub undone: u32,
    /// When it was undone last.
    pub last: Timestamp,
    /// Who did it, as far as it can be told: `pid 4711 (ip)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When it is restored next, if it is not there now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<Timestamp>,
}

/// A gateway that somebody decided about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OverrideStatus {
    /// Its address.
    pub gateway: String,
    /// What was decided: `Drained` or `ForcedUp`.
    pub state: &'static str,
    /// Who did: a user by number, or a document with its place.
    pub by: String,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// How it stands with the Kubernetes API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesStatus {
    /// Whether it answers.
    pub connected: bool,
    /// Since when it does, or does not.
    pub since: Timestamp,
    /// What does not work.
    pub troubles: Vec<KubernetesTrouble>,
}

/// Something that does not work with the Kubernetes API. No route is touched by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesTrouble {
    /// What it keeps from working, such as `node labels`.
    pub about: String,
    /// What, why, and what to do.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
}

/// What is counted while the daemon runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counters {
    /// How much had been told of objects of a cluster when the last complete pass began.
    pub objects_read: u64,
    /// Passes by what made them happen.
    pub passes: BTreeMap<Trigger, u64>,
    /// Passes that could not be completed.
    pub failed_passes: u64,
    /// How long passes took.
    pub durations: Histogram,
    /// Routes changed, by what was done.
    pub changes: BTreeMap<Action, u64>,
    /// Routes that could not be installed, counted when they enter the state, by reason.
    pub failures: BTreeMap<ReasonCode, u64>,
    /// Routes of ours that somebody deleted or changed, and that were restored.
    pub drift_repaired: u64,
    /// Times that the kernel told more than could be heard.
    pub overflows: u64,
    /// Times that the documents were found changed.
    pub source_changes: u64,
    /// Reloads on demand.
    pub reloads: u64,
    /// Times that the traffic of a document went another way, or lost its last gateway.
    pub failovers: u64,
}

/// Durations by size.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    bounds: &'static Bounds,
    /// For each of the bounds, how many were at most that long and longer than the one before; the
    /// last counts all that were longer.
    buckets: [u64; BUCKETS + 1],
    /// All together, in seconds.
    pub sum: f64,
}

const BUCKETS: usize = 11;
type Bounds = [f64; BUCKETS];

/// A pass.
const PASSES: Bounds = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
];
/// An answer: from the same switch to the other side of the world.
const ROUND_TRIPS: Bounds = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0,
];

impl Default for Histogram {
    /// For the durations of passes: 1 ms to 2.5 s.
    fn default() -> Self {
        Self::new(&PASSES)
    }
}

impl Histogram {
    /// For the round trips of probes: 100 µs to 1 s.
    pub fn of_round_trips() -> Self {
        Self::new(&ROUND_TRIPS)
    }

    fn new(bounds: &'static Bounds) -> Self {
        Self {
            bounds,
            buckets: [0; BUCKETS + 1],
            sum: 0.0,
        }
    }

    /// Counts a duration.
    pub fn observe(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = self.bounds.partition_point(|bound| *bound < seconds);
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
        self.sum += seconds;
    }

    /// Counts what another one of the same bounds has counted.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.buckets.iter_mut().zip(other.buckets) {
            *count += more;
        }
        self.sum += other.sum;
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Upper bounds in seconds, the last of them infinite, each with how many were longer than the
    /// one before and at most that long.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.zip(self.buckets)
    }
}
