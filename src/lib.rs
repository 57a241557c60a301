//! srsync keeps the routing table of a Linux node equal to a directory of `StaticRoute` YAML.
//!
//! The direction of dependence, which `tests/architecture.rs` holds:
//!
//! ```text
//! main → commands → daemon → sync → { kernel, report } → plan → model
//!                   daemon → source → spec → model
//!                   daemon → status → report
//!                   daemon → gateway → model
//!                   daemon → probe → { kernel, model }
//!                   daemon → kube → { report, model }
//!        commands → import → { spec, plan } → model
//!        commands → explain → { report, plan } → model
//!        commands → { kube, probe }
//!        commands → { config, privileges, rehearsal, snapshot } → model
//! ```
//!
//! - [`cli`]: the command line, as types.
//! - [`commands`]: one file per verb.
//! - [`config`]: settings and their defaults.
//! - [`daemon`]: one kind of event, one loop, one state.
//! - [`explain`]: the way that a packet takes, rule by rule. Pure.
//! - [`gateway`]: which of several gateways works, and which carries. Pure.
//! - [`import`]: routes of a kernel → documents that ask for just these. Pure.
//! - [`kernel`]: netlink: reads a node, changes its routes, hears what happens to it.
//! - `kube` (cargo feature `kube`): labels and objects from Kubernetes, and status to it.
//! - [`model`]: pure types.
//! - [`plan`]: documents × observed routes → one verdict for every slot. Pure.
//! - [`privileges`]: giving up what a daemon does not need.
//! - [`rehearsal`]: a made-up node for `srsync try`. Pure.
//! - [`probe`]: asks gateways whether they are alive.
//! - [`report`]: what a pass says, as text and data.
//! - [`snapshot`]: a node as a file.
//! - [`source`]: paths → all their documents, complete or with what is missing.
//! - [`spec`]: documents as people write them → model, every mistake with its place. Pure.
//! - [`status`]: shows a running daemon over a Unix socket and HTTP.
//! - [`sync`]: one pass: observe, plan, apply, observe again.

pub mod cli;
pub mod commands;
pub mod config;
pub mod daemon;
pub mod explain;
pub mod gateway;
pub mod import;
pub mod kernel;
#[cfg(feature = "kube")]
pub mod kube;
pub mod model;
pub mod plan;
pub mod privileges;
pub mod probe;
pub mod rehearsal;
pub mod report;
pub mod snapshot;
pub mod source;
pub mod spec;
pub mod status;
pub mod sync;
