//! srsync keeps the routing table of a Linux node equal to a directory of `StaticRoute` YAML.
//!
//! The direction of dependence, which `tests/architecture.rs` holds:
//!
//! ```text
//! main → commands → sync → { source, kernel } → plan → model
//!                            source → spec → model
//! ```
//!
//! - [`source`]: paths → one snapshot of documents, or what is wrong with them.
//! - [`spec`]: documents as people write them: text → typed documents and findings; pure.
//! - [`model`]: pure types.

pub mod model;
pub mod source;
pub mod spec;
