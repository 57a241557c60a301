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
#[derive(Debug, Clone)]
pub struct Decider {
    carrying: Option<Carry<Via>>,
    moved: Option<Instant>,
}

impl Decider {
    /// Goes on from what the kernel's routes show after a restart. `None` where there are no routes
    /// of ours: a first start, or routes that were withdrawn; the kernel cannot tell one from the
    /// other, so say [`Carry::Withdraw`] if it is known from elsewhere.
    pub fn new(found: Option<Carry<Via>>, now: Instant) -> Self {
        Self {
            // Whoever carried before may have begun to just now.
            moved: found.is_some().then_some(now),
            carrying: found,
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::gateway::{Standing, Will};
    use crate::model::InterfaceName;
    use crate::model::document::{Mode, OnAllDown};

    #[test]
    fn what_the_kernel_shows_with_its_link_is_found_in_the_document_without() {
        let via = |address: &str, interface: Option<&str>| Via {
            address: address.parse().unwrap(),
            interface: interface.map(|name| InterfaceName::new(name).unwrap()),
        };
        let member = |address: &str| Member {
            via: via(address, None),
            standing: Standing::Unproven,
            will: Will::Auto,
            hold_down: Duration::from_secs(10),
        };
        let set = Set {
            settings: Settings {
                mode: Mode::Failover,
                on_all_down: OnAllDown::Keep,
                preempt: true,
            },
            members: &[member("10.0.0.1"), member("10.0.0.2")],
            isolated: false,
        };
        let now = Instant::now();
        let found = Carry::Gateways(vec![via("10.0.0.2", Some("eth1"))]);
        let decision = Decider::new(Some(found), now).decide(&set, now);
        assert_eq!(decision.carry, Carry::Gateways(vec![1]));
        assert_eq!(decision.why, None);
    }
}
