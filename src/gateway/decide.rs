//! What carries the traffic of one set of gateways, over time.
//!
//! Remembers by name what [`choose()`] needs to know of the past, so that a document may change its
//! gateways meanwhile, and says why whenever something changes.

use std::time::Instant;

use super::choose::{Carry, Choice, Member, Question, Settings, choose};
use super::via::Via;
use super::why;

/// The gateways of one document and one family, as they are now.
#[derive(Debug, Clone, Copy)]
pub struct Set<'a> {
    /// What the document says.
    pub settings: Settings,
    /// In the order of the document.
    pub members: &'a [Member],
    /// The node reaches none of the document's witnesses.
    pub isolated: bool,
}

/// What carries from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What carries; numbers are of the set's members.
    pub carry: Carry,
    /// Why, if it differs from what carried before.
    pub why: Option<String>,
    /// When to ask again if there is no news.
    pub next: Option<Instant>,
}

/// Decides for one set, and remembers.
#[derive(Debug, Clone, Default)]
pub struct Decider {
    carrying: Option<Carry<Via>>,
    moved: Option<Instant>,
}

impl Decider {
    /// Goes on from what the kernel's routes show after a restart. `None` where there are no routes
    /// of ours: a first start, or routes that were withdrawn; nothing tells one from the other.
    pub fn new(found: Option<Carry<Via>>) -> Self {
        Self {
            carrying: found,
            moved: None,
        }
    }

    /// What carries since the last decision.
    pub fn carrying(&self) -> Option<&Carry<Via>> {
        self.carrying.as_ref()
    }

    /// Decides anew: whenever something in the set changed, and when the last decision said so.
    pub fn decide(&mut self, set: &Set<'_>, now: Instant) -> Decision {
        let known = self.carrying.as_ref().map(|carry| in_order(carry, set));
        let Choice { carry, moved, next } = choose(&Question {
            settings: set.settings,
            members: set.members,
            carrying: known.as_ref(),
            moved: self.moved,
            isolated: set.isolated,
            now,
        });
        let named = carry.renamed(|index| Some(set.members.get(*index)?.via.clone()));
        let why = why::why(self.carrying.as_ref(), &named, set.members);
        (self.carrying, self.moved) = (Some(named), moved);
        Decision { carry, why, next }
    }
}

/// What carries, by numbers of the members that the document has now.
fn in_order(carry: &Carry<Via>, set: &Set<'_>) -> Carry {
    let number = |via: &Via| set.members.iter().position(|member| member.via.is(via));
    let mut carry = carry.renamed(number);
    if let Carry::Gateways(list) | Carry::Keep(list) = &mut carry {
        list.sort_unstable();
        list.dedup();
    }
    carry
}
