//! srsync keeps the routing table of a Linux node equal to a directory of `StaticRoute` YAML.
//!
//! The direction of dependence, which `tests/architecture.rs` holds:
//!
//! ```text
//! main → commands → sync → { kernel, report } → plan → model
//!        commands → source → spec → model
//!        commands → { config, rehearsal, snapshot } → model
//! ```
//!
//! - [`model`]: pure types.
//! - [`plan`]: documents × observed routes → one verdict for every slot. Pure.
//! - [`kernel`]: netlink: reads a node and changes its routes.
//! - [`sync`]: one pass: observe, plan, apply, observe again.
//! - [`report`]: what a pass says, as text and data.
//! - [`rehearsal`]: a made-up node for `srsync try`. Pure.
//! - [`snapshot`]: a node as a file.

pub mod cli;
pub mod kernel;
pub mod model;
pub mod plan;
pub mod rehearsal;
pub mod report;
pub mod snapshot;
pub mod sync;
