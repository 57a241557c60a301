//! Several gateways for one destination: which of them works, and which carries the traffic.
//!
//! Owns the decisions: when a gateway counts as down and when as up ([`Health`]), whether it is
//! this node that is cut off ([`Witnesses`]), and what carries ([`choose()`], remembered by
//! [`Decider`]); and what somebody's overrides come to where nobody watches ([`by_hand()`]). All of it is pure: moments and the outcomes of probes come in as arguments.
//!
//! Must not send a probe, ask a clock, or touch a route.

mod by_hand;
mod choose;
mod decide;
mod health;
mod outcome;
mod via;
mod why;
mod witness;

pub use crate::model::probed::{Loss, Outcome};
pub use by_hand::by_hand;
pub use choose::{Carry, Choice, Member, Question, Settings, Standing, Will, choose};
pub use decide::{Decider, Decision, Set};
pub use health::{Condition, Health, Rules, Turn};
pub use via::Via;
pub use witness::Witnesses;
