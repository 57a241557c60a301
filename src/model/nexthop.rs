//! A nexthop object: a way out that has a number of its own, and that routes refer to by it.
//!
//! Changing the object changes where all its routes lead, in one message whatever their number.
//! Linux 5.3 and later; see `ip nexthop` (ip-nexthop(8)).

use std::net::IpAddr;

use super::numbers::{Centiseconds, IfIndex, NextHopId, Protocol, Weight};
use super::prefix::Family;

/// A nexthop object of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextHopObject {
    /// Its number. All owners take theirs from one space.
    pub id: NextHopId,
    /// Who put it there.
    pub protocol: Protocol,
    /// What it does; `None` for what srsync never makes (encapsulation, a bridge's fdb, whatever
    /// later kernels have): such an object equals nothing that is wanted.
    pub kind: Option<NextHopKind>,
}

/// What a nexthop object does with packets.
///
/// The kernel turns a single way out into a blackhole and back, but never a lone object into a
/// group, or a group of one type into one of the other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NextHopKind {
    /// Sends them one way.
    Single {
        /// That of the gateway, where there is one. IPv6 routes take IPv6 objects only; IPv4 routes
        /// take both (RFC 5549).
        family: Family,
        /// The gateway; `None` sends straight out of the link.
        via: Option<IpAddr>,
        /// The link. When it goes down, or just loses its carrier, the kernel removes the object with
        /// its routes, and says nothing of it; a plain route outlives a lost carrier. Without a carrier
        /// no object can be made at all ("Carrier for nexthop device is down").
        link: IfIndex,
        /// Whether the gateway is taken to be on the link, whatever the addresses say.
        on_link: bool,
    },
    /// Drops them silently. In a group it has to be alone.
    Blackhole {
        /// Of the routes that may refer to it; IPv4 routes may to both.
        family: Family,
    },
    /// Spreads them over other objects.
    Group(NextHopGroup),
}

/// Several nexthop objects, by weight.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NextHopGroup {
    /// Sorted, and a lone one weighs 1.
    members: Vec<NextHopMember>,
    /// Keeps flows where they are when members come and go (Linux 5.13 and later); `None` is the
    /// usual group, which spreads by hash alone.
    pub resilient: Option<Resilient>,
}

impl NextHopGroup {
    /// A group of `members`, of which the order does not matter.
    pub fn new(mut members: Vec<NextHopMember>, resilient: Option<Resilient>) -> Self {
        members.sort_unstable();
        if let [only] = members.as_mut_slice() {
            only.weight = Weight::ONE;
        }
        Self { members, resilient }
    }

    /// The members, in canonical order.
    pub fn members(&self) -> &[NextHopMember] {
        &self.members
    }
}

/// One object in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextHopMember {
    /// Which; never a group itself.
    pub id: NextHopId,
    /// Its share.
    pub weight: Weight,
}

/// How a resilient group keeps flows together: each belongs to a bucket, and a bucket moves to
/// another member only when it is idle, or when the shares have been wrong for too long.
///
/// Whole seconds are read back as they were set; smaller times a kernel may round to its own clock
/// (`clock_t_to_jiffies`, kernel/time/time.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Resilient {
    /// How many; at least one for each member. The kernel cannot change it later.
    pub buckets: u16,
    /// How long a bucket sees no packet before it is idle.
    pub idle_timer: Centiseconds,
    /// How long shares may be wrong before buckets in use move, too; 0 is for ever.
    pub unbalanced_timer: Centiseconds,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_members_and_the_weight_of_a_lone_one_mean_nothing() {
        let member = |id, weight| NextHopMember {
            id: NextHopId::new(id),
            weight: Weight::new(weight).unwrap(),
        };
        let group = |members: &[NextHopMember]| NextHopGroup::new(members.to_vec(), None);
        let (a, b) = (member(7, 1), member(5, 2));
        assert_eq!(group(&[a, b]), group(&[b, a]));
        assert_ne!(group(&[a, b]), group(&[a, member(5, 3)]));
        assert_eq!(group(&[b]), group(&[member(5, 1)]));
    }
}
