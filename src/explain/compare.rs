//! Where the kernel's own answer differs from what rules and routes say.

use super::walk::{End, Walk};
use crate::model::egress::RuleAction;
use crate::model::{NoWay, Packet, RouteKey, RouteType, TableId, Way};

/// What becomes of a packet, as far as it can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Takes(RouteKey),
    /// Also "no route": a rule that says unreachable has that number, and so have IPv6 routes.
    Unreachable,
    Prohibited,
    Dropped,
}

impl Fate {
    fn of_end(end: End<'_>) -> Self {
        let of_action = |action| match action {
            RuleAction::Blackhole => Self::Dropped,
            RuleAction::Prohibit => Self::Prohibited,
            RuleAction::Unreachable | RuleAction::Lookup(_) => Self::Unreachable,
        };
        match end {
            End::Nowhere => Self::Unreachable,
            End::Rule(rule) => of_action(rule.rule.action),
            End::Route(route) => match route.route.attrs.kind {
                RouteType::Blackhole => Self::Dropped,
                RouteType::Unreachable => Self::Unreachable,
                RouteType::Prohibit => Self::Prohibited,
                _ => Self::Takes(route.route.key),
            },
        }
    }

    fn is_like(self, other: Self) -> bool {
        match (self, other) {
            (Self::Takes(one), Self::Takes(other)) => is_same_route(one, other),
            (one, other) => one == other,
        }
    }
}

/// As long as an IPv4 node has only the three rules that it began with, its tables `local` and `main` are one to the
/// kernel (`fib_unmerge`, net/ipv4/fib_frontend.c), and either name may be said.
fn is_same_route(one: RouteKey, other: RouteKey) -> bool {
    let merged = |table| matches!(table, TableId::MAIN | TableId::LOCAL);
    let tables = one.table == other.table || merged(one.table) && merged(other.table);
    tables && one.prefix == other.prefix && one.metric == other.metric
}

/// What a person should know about the kernel's answer; nothing where it is the expected one.
pub(super) fn difference(walk: &Walk<'_>, way: &Way, packet: &Packet) -> Option<String> {
    let expected = Fate::of_end(walk.end);
    let refused = match &way.matched {
        Ok(None) => return None,
        Ok(Some(route)) => {
            let same = expected.is_like(Fate::Takes(route.route.key));
            return (!same).then(|| {
                "the kernel takes another way than rules and routes say. If they did not change just now, the packet is \
                 told apart by something that is not known here, or a link is without carrier"
                    .to_owned()
            });
        }
        Err(refused) => refused,
    };
    let fate = match refused.why {
        NoWay::NoRoute | NoWay::Unreachable => Some(Fate::Unreachable),
        NoWay::Prohibited => Some(Fate::Prohibited),
        NoWay::Dropped => Some(Fate::Dropped),
        NoWay::WrongInterface | NoWay::Other => None,
    };
    if fate.is_some_and(|fate| expected.is_like(fate)) {
        return None;
    }
    let by_interface = packet
        .iif
        .as_ref()
        .filter(|_| matches!(expected, Fate::Takes(_)));
    Some(match (by_interface, refused.why) {
        (Some(iif), NoWay::WrongInterface) => wrong_interface(iif.as_str(), packet),
        (Some(iif), NoWay::Dropped) => format!(
            "the kernel drops the packet when it comes in, although there is a way: {}, or its source cannot come from outside",
            wrong_interface(iif.as_str(), packet)
        ),
        (Some(iif), NoWay::Unreachable) if packet.to.is_ipv4() => format!(
            "the kernel does not forward the packet, although there is a way: net.ipv4.conf.{iif}.forwarding is probably 0 \
             (a document of kind Forwarding turns it on)"
        ),
        _ => format!(
            "the kernel says that the packet goes nowhere ({}), although rules and routes say something else",
            refused.words
        ),
    })
}

fn wrong_interface(iif: &str, packet: &Packet) -> String {
    let source = packet
        .from
        .map_or("the source".to_owned(), |from| from.to_string());
    format!(
        "rp_filter refuses it, because the way back to {source} does not lead out of {iif} (net.ipv4.conf.{iif}.rp_filter or \
         net.ipv4.conf.all.rp_filter; 2 asks only for any way back)"
    )
}
