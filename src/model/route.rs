//! A route: the slot it takes ([`RouteKey`]) and what it does there ([`RouteAttrs`]).
//!
//! Identity and equality are two things. Two routes with one key compete for one place in the
//! kernel; they are equal only if every attribute is. Attributes are shared (`Arc`), because
//! thousands of prefixes usually go the same way.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use super::numbers::{AdvMss, IfIndex, Metric, Mtu, NextHopId, Scope, TableId, Tos, Weight};
use super::prefix::{Family, Prefix};

/// The slot of a route: the kernel keeps one (IPv4), or one group of siblings (IPv6), for each.
///
/// Ordered by table, prefix and metric, so that competing routes stand side by side, the
/// preferred one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteKey {
    /// The routing table.
    pub table: TableId,
    /// The destination.
    pub prefix: Prefix,
    /// 0 only in IPv4: see [`RouteKey::new`].
    pub metric: Metric,
    /// 0 for everything srsync installs; IPv4 only.
    pub tos: Tos,
}

impl RouteKey {
    /// A slot without TOS. In IPv6 metric 0 becomes 1024, as the kernel reads it
    /// (`ip -6 route add 2001:db8::/64 dev eth0; ip -6 route` shows `metric 1024`).
    pub fn new(table: TableId, prefix: Prefix, metric: Metric) -> Self {
        let metric = match (prefix.family(), metric) {
            (Family::V6, Metric::ZERO) => Metric::IPV6_DEFAULT,
            _ => metric,
        };
        Self {
            table,
            prefix,
            metric,
            tos: Tos::new(0),
        }
    }
}

/// What happens to a packet that matches (`rtm_type`, rtnetlink(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteType {
    /// Sent to a next hop.
    Unicast,
    /// Dropped silently.
    Blackhole,
    /// Refused with ICMP "host unreachable".
    Unreachable,
    /// Refused with ICMP "administratively prohibited".
    Prohibit,
    /// Lookup goes on in the next table, as if this one had no match.
    Throw,
    /// Any other type (local, broadcast, anycast, …), by its number: never ours.
    Other(u8),
}

impl RouteType {
    /// The name, as iproute2 says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unicast => "unicast",
            Self::Blackhole => "blackhole",
            Self::Unreachable => "unreachable",
            Self::Prohibit => "prohibit",
            Self::Throw => "throw",
            Self::Other(1) => "unicast",
            Self::Other(2) => "local",
            Self::Other(3) => "broadcast",
            Self::Other(4) => "anycast",
            Self::Other(5) => "multicast",
            Self::Other(_) => "other",
        }
    }
}

/// One way out: a gateway, a link, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextHop {
    /// The gateway's address; `None` sends straight out of the link.
    pub via: Option<IpAddr>,
    /// The link; every hop that srsync sends or reads back has one.
    pub link: Option<IfIndex>,
    /// Share among several hops.
    pub weight: Weight,
    /// Whether the gateway is taken to be on the link, whatever the addresses say (`RTNH_F_ONLINK`).
    pub on_link: bool,
}

/// What a route does, in canonical form: equal if and only if the kernel would behave the same.
///
/// Of a route that refers to a nexthop object, the object says where it leads: there the hops are
/// what the kernel tells beside the reference, or nothing, and are not compared. Nor does it matter
/// that the kernel shows such a route as a blackhole while its object is one.
#[derive(Debug, Clone)]
pub struct RouteAttrs {
    /// Unicast, or the way in which packets are turned away.
    pub kind: RouteType,
    /// The ways out: one or more for unicast, none otherwise; sorted, and a lone one weighs 1.
    hops: Vec<NextHop>,
    /// The nexthop object that says where it leads (`RTA_NH_ID`).
    pub nexthop: Option<NextHopId>,
    /// Preferred source address (`RTA_PREFSRC`).
    pub source: Option<IpAddr>,
    /// Path MTU.
    pub mtu: Option<Mtu>,
    /// Advertised TCP segment size.
    pub advmss: Option<AdvMss>,
    /// An observed route carries something that srsync never sets (encapsulation, other metrics,
    /// an expiry): it equals nothing that is wanted.
    pub extra: bool,
}

impl RouteAttrs {
    /// A route that sends packets to `hops`, of which the order does not matter.
    pub fn unicast(mut hops: Vec<NextHop>) -> Self {
        hops.sort_unstable();
        if let [only] = hops.as_mut_slice() {
            only.weight = Weight::ONE;
        }
        Self {
            hops,
            ..Self::without_hops(RouteType::Unicast)
        }
    }

    /// A route that goes nowhere: blackhole, unreachable, prohibit, throw.
    pub fn without_hops(kind: RouteType) -> Self {
        Self {
            kind,
            hops: Vec::new(),
            nexthop: None,
            source: None,
            mtu: None,
            advmss: None,
            extra: false,
        }
    }

    /// A route that leads where a nexthop object says.
    pub fn by_nexthop(id: NextHopId) -> Self {
        Self {
            nexthop: Some(id),
            ..Self::without_hops(RouteType::Unicast)
        }
    }

    /// The ways out, in canonical order.
    pub fn hops(&self) -> &[NextHop] {
        &self.hops
    }

    /// How far the destination is. IPv6 has no scopes. In IPv4 a route straight out of a link has
    /// link scope, as iproute2 sends it: with universe scope its gateways could not be resolved.
    /// By a nexthop object every route has universe scope, again as iproute2 sends it: where it
    /// leads may change (`fib_check_nexthop`, net/ipv4/fib_semantics.c, takes it for all objects).
    pub fn scope(&self, family: Family) -> Scope {
        let direct = self.kind == RouteType::Unicast
            && self.nexthop.is_none()
            && self.hops.iter().all(|h| h.via.is_none());
        match family {
            Family::V4 if direct => Scope::LINK,
            _ => Scope::UNIVERSE,
        }
    }

    /// What is compared.
    fn compared(&self) -> impl Ord + Hash {
        let (kind, hops) = match (self.nexthop, self.kind) {
            (None, kind) => (kind, self.hops.as_slice()),
            (Some(_), RouteType::Blackhole) => (RouteType::Unicast, &[][..]),
            (Some(_), kind) => (kind, &[][..]),
        };
        let tuning = (self.source, self.mtu, self.advmss);
        (kind, hops, self.nexthop, tuning, self.extra)
    }
}

impl PartialEq for RouteAttrs {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for RouteAttrs {}

impl PartialOrd for RouteAttrs {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RouteAttrs {
    fn cmp(&self, other: &Self) -> Ordering {
        self.compared().cmp(&other.compared())
    }
}

impl Hash for RouteAttrs {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.compared().hash(state);
    }
}

/// A slot and what is, or should be, in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    /// The slot.
    pub key: RouteKey,
    /// What it does.
    pub attrs: Arc<RouteAttrs>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(via: &str, weight: u16) -> NextHop {
        NextHop {
            via: Some(via.parse().unwrap()),
            link: Some(IfIndex::new(2)),
            weight: Weight::new(weight).unwrap(),
            on_link: false,
        }
    }

    #[test]
    fn the_order_of_next_hops_does_not_matter_but_their_weights_do() {
        let (a, b) = (hop("10.0.0.1", 1), hop("10.0.0.2", 2));
        assert_eq!(
            RouteAttrs::unicast(vec![a, b]),
            RouteAttrs::unicast(vec![b, a])
        );
        assert_ne!(
            RouteAttrs::unicast(vec![a, b]),
            RouteAttrs::unicast(vec![a, hop("10.0.0.2", 3)])
        );
    }

    #[test]
    fn the_weight_of_a_lone_next_hop_means_nothing() {
        assert_eq!(
            RouteAttrs::unicast(vec![hop("10.0.0.1", 7)]),
            RouteAttrs::unicast(vec![hop("10.0.0.1", 1)])
        );
    }

    #[test]
    fn by_a_nexthop_object_the_object_alone_says_where_a_route_leads() {
        let by = |id| RouteAttrs::by_nexthop(NextHopId::new(id));
        let plain = RouteAttrs::unicast(vec![hop("10.0.0.1", 1)]);
        let mut told = plain.clone();
        told.nexthop = Some(NextHopId::new(7));
        let mut closed = by(7);
        closed.kind = RouteType::Blackhole;
        assert_eq!(by(7), told);
        assert_eq!(by(7), closed);
        assert_eq!(by(7).scope(Family::V4), Scope::UNIVERSE);
        assert_ne!(by(7), by(8));
        assert_ne!(plain, told);
        told.mtu = Some(Mtu::new(1400));
        assert_ne!(by(7), told);
    }

    #[test]
    fn ipv6_metric_0_is_1024() {
        let key = |prefix: &str, metric| {
            RouteKey::new(TableId::MAIN, prefix.parse().unwrap(), Metric::new(metric))
        };
        assert_eq!(key("2001:db8::/32", 0), key("2001:db8::/32", 1024));
        assert_ne!(key("192.0.2.0/24", 0), key("192.0.2.0/24", 1024));
    }
}
