//! srsync keeps the routing table of a Linux node equal to a directory of `StaticRoute` YAML.
//!
//! The direction of dependence, which `tests/architecture.rs` holds:
//!
//! ```text
//! main → commands → sync → { source, kernel } → plan → model
//!                            source → spec → model
//! ```
//!
//! - [`model`]: pure types.
//! - [`kernel`]: netlink: reads a node and changes its routes.

pub mod kernel;
pub mod model;
pub mod plan;
pub mod report;
pub mod snapshot;
