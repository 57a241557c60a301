//! What is told of a packet's way: every format reads this and nothing else.

use std::net::IpAddr;

use serde::Serialize;

use super::compare;
use super::fit::Fit;
use super::translate::{self, Leaving};
use super::walk::{End, Found, Outcome, Step, Walk};
use crate::model::egress::{FibRule, NatObserved, NatRule, ObservedRule};
use crate::model::{
    Egress, EgressKind, EgressSpec, IfIndex, NextHopKind, Observed, ObservedRoute, Packet, Place,
    Protocol, RouteType, Selected, State, Way,
};
use crate::plan::{Inputs, Plan, Verdict};
use crate::report::RouteText;

/// How many of the routes are told that the best one beats.
const BEATEN: usize = 4;

/// What is known of what should be.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Settings and documents of routes.
    pub inputs: &'a Inputs<'a>,
    /// What would be done about them; `None` if no documents were read.
    pub plan: Option<&'a Plan>,
    /// Documents of rules and of translation.
    pub egress: &'a [Egress],
}

/// All that is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    api_version: &'static str,
    kind: &'static str,
    pub(super) packet: PacketView,
    /// The rules that the packet meets.
    pub(super) rules: Vec<RuleView>,
    /// How many more rules there are, which it does not meet.
    pub(super) rules_not_met: usize,
    pub(super) result: ResultView,
    /// Where it may go next.
    pub(super) next_hops: Vec<HopView>,
    pub(super) kernel: KernelView,
    /// How its source is translated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) translation: Option<TranslationView>,
    /// Routes that documents ask for, which would match and are not there.
    pub(super) missing: Vec<MissingView>,
    /// What a person should know: first of all, where the kernel differs.
    pub(super) remarks: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PacketView {
    #[serde(skip)]
    pub(super) text: String,
    destination: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<IpAddr>,
    mark: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    incoming_interface: Option<String>,
}

/// The document behind something of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Origin {
    pub(super) document: String,
    pub(super) file: String,
    pub(super) line: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Owner {
    pub(super) protocol: String,
    pub(super) ours: bool,
    #[serde(flatten)]
    pub(super) origin: Option<Origin>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RuleView {
    pub(super) rule: String,
    #[serde(flatten)]
    pub(super) owner: Owner,
    /// `yes`, `no` or `perhaps`.
    pub(super) matches: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) because: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lookup: Option<LookupView>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LookupView {
    pub(super) table: String,
    /// `taken`, `noRoute`, `throw` or `suppressed`.
    pub(super) outcome: &'static str,
    /// The longest prefix that the rule passes over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) suppress_prefix_length: Option<u8>,
    /// The best route first, then those that it beats.
    pub(super) routes: Vec<RouteView>,
    /// How many more match.
    pub(super) more: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RouteView {
    pub(super) route: String,
    #[serde(flatten)]
    pub(super) owner: Owner,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResultView {
    /// `sent`, `delivered` (to this node), `dropped` or `noRoute`.
    pub(super) outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) route: Option<RouteView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rule: Option<String>,
}

/// Where a packet may go next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HopView {
    /// The gateway, or the destination where it is on the link.
    pub address: IpAddr,
    /// Whether that is a gateway.
    pub gateway: bool,
    /// The link.
    #[serde(skip)]
    pub link: IfIndex,
    /// Its name.
    pub interface: String,
    /// Whether the kernel sends this packet there, as it says.
    pub chosen: bool,
    /// Whether it answers on the link, as the kernel knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub neighbour: Option<&'static str>,
    /// What the running daemon says of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KernelView {
    /// Whether it says what rules and routes say.
    pub(super) agrees: bool,
    /// In words.
    pub(super) answer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<RouteView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<IpAddr>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TranslationView {
    pub(super) rule: String,
    /// Nothing where no document that was read asks for it.
    #[serde(flatten)]
    pub(super) origin: Option<Origin>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MissingView {
    pub(super) route: String,
    #[serde(flatten)]
    pub(super) origin: Origin,
    pub(super) state: Option<State>,
    pub(super) reason: String,
}

/// What an explanation is made from.
#[derive(Clone, Copy)]
struct Maker<'a> {
    observed: &'a Observed,
    known: Known<'a>,
}

impl Explanation {
    /// Puts together what was found out.
    pub fn of(
        (packet, walk): (&Packet, &Walk<'_>),
        way: &Way,
        observed: &Observed,
        known: Known<'_>,
    ) -> Self {
        let maker = Maker { observed, known };
        let difference = compare::difference(walk, way, packet);
        let kernel = maker.kernel(way, difference.is_none());
        let (translation, untranslated) = maker.translation(packet, way);
        let mut remarks: Vec<String> = difference.into_iter().collect();
        remarks.extend(untranslated);
        remarks.extend(unknown(walk));
        remarks.extend(chosen_later(packet, walk, way));
        Self {
            api_version: "srsync.dev/v1alpha1",
            kind: "Explanation",
            packet: PacketView {
                text: packet.to_string(),
                destination: packet.to,
                source: packet.from,
                mark: packet.mark,
                incoming_interface: packet.iif.as_ref().map(ToString::to_string),
            },
            rules: walk.steps.iter().map(|step| maker.rule(step)).collect(),
            rules_not_met: walk.not_met,
            result: maker.result(walk.end),
            next_hops: maker.next_hops(packet, walk.end, way),
            kernel,
            translation,
            missing: maker.missing(packet),
            remarks,
        }
    }

    /// Where the packet may go next, for those who know more about it.
    pub fn next_hops(&mut self) -> &mut [HopView] {
        &mut self.next_hops
    }
}

/// Rules that perhaps decide before the end.
fn unknown(walk: &Walk<'_>) -> Option<String> {
    let rules: Vec<String> = walk
        .perhaps()
        .map(|step| step.rule.rule.priority.0.to_string())
        .collect();
    (!rules.is_empty()).then(|| {
        format!(
            "rules that perhaps are about the packet were passed over, as the kernel does that is asked without ports and \
             protocol: {}",
            rules.join(", ")
        )
    })
}

/// A packet without a source gets one by the route, and then its way is looked up once more.
fn chosen_later(packet: &Packet, walk: &Walk<'_>, way: &Way) -> Option<String> {
    let depends = |step: &Step<'_>| step.rule.rule.selector.from.is_some();
    let source = way.taken.as_ref().ok()?.source?;
    (packet.from.is_none() && walk.steps.iter().any(depends)).then(|| {
        format!(
            "the kernel would choose the source {source} and look up the way once more with it: ask with --from {source}"
        )
    })
}

impl Maker<'_> {
    fn origin(&self, document: String, place: Place) -> Origin {
        let file = self.known.inputs.files.get(place.file.0 as usize);
        Origin {
            document,
            file: file.map_or(String::new(), |file| file.label.to_string()),
            line: place.line,
        }
    }

    fn owner(&self, protocol: Protocol, origin: impl FnOnce() -> Option<Origin>) -> Owner {
        let ours = protocol == self.known.inputs.policy.protocol;
        Owner {
            protocol: self.known.inputs.names.protocol(protocol),
            ours,
            origin: ours.then(origin).flatten(),
        }
    }

    fn link_name(&self, index: IfIndex) -> String {
        let link = self.observed.link(index);
        link.map_or_else(|| format!("if{index}"), |link| link.name.clone())
    }

    /// The documents of rules and of translation that are for this node.
    fn egress(&self) -> impl Iterator<Item = &Egress> {
        let labels = self.known.inputs.labels;
        let is_selected =
            |document: &&Egress| matches!(document.selector.check(labels, true), Selected::Yes);
        self.known.egress.iter().filter(is_selected)
    }

    fn rule(&self, step: &Step<'_>) -> RuleView {
        let (matches, because) = match &step.fit {
            Fit::Yes => ("yes", None),
            Fit::No(why) => ("no", Some(why.clone())),
            Fit::Perhaps(on) => ("perhaps", Some(format!("that depends {on}"))),
        };
        let ObservedRule { rule, protocol, .. } = step.rule;
        RuleView {
            rule: rule.to_string(),
            owner: self.owner(*protocol, || self.origin_of_rule(rule)),
            matches,
            because,
            lookup: step.found.as_ref().map(|found| self.lookup(found)),
        }
    }

    fn origin_of_rule(&self, rule: &FibRule) -> Option<Origin> {
        let table = self.known.inputs.policy.table;
        let asks = |document: &&Egress| match &document.spec {
            EgressSpec::RoutingRule(wanted) => FibRule::of(wanted, table).any(|one| one == *rule),
            _ => false,
        };
        let document = self.egress().find(asks)?;
        Some(self.origin(document.id.to_string(), document.place))
    }

    fn lookup(&self, found: &Found<'_>) -> LookupView {
        let (outcome, suppress_prefix_length) = match found.outcome {
            Outcome::Taken => ("taken", None),
            Outcome::NoRoute => ("noRoute", None),
            Outcome::Throw => ("throw", None),
            Outcome::Suppressed(length) => ("suppressed", Some(length)),
        };
        let routes = found.routes.iter().take(1 + BEATEN);
        let routes: Vec<RouteView> = routes.map(|route| self.route(route)).collect();
        LookupView {
            table: self.known.inputs.names.table(found.table),
            outcome,
            suppress_prefix_length,
            more: found.routes.len() - routes.len(),
            routes,
        }
    }

    fn route(&self, route: &ObservedRoute) -> RouteView {
        let text = RouteText {
            key: &route.route.key,
            attrs: Some(&route.route.attrs),
            links: &self.observed.links,
            names: None,
        };
        RouteView {
            route: text.to_string(),
            owner: self.owner(route.protocol, || self.origin_of_route(route)),
        }
    }

    fn origin_of_route(&self, route: &ObservedRoute) -> Option<Origin> {
        let rows = self.known.plan.map_or(&[][..], |plan| &plan.rows);
        let of_slot = rows.iter().filter(|row| row.key == route.route.key);
        // Of several documents that want the slot, the one that has it.
        let mut holders = of_slot.filter(|row| match &row.verdict {
            Verdict::Blocked(blocked) => blocked.state != State::Conflict,
            _ => true,
        });
        let claim = holders.find_map(|row| row.claim)?;
        let document = self.known.inputs.documents.get(claim.document as usize)?;
        Some(self.origin(document.id.to_string(), claim.place))
    }

    fn result(&self, end: End<'_>) -> ResultView {
        let (outcome, route, rule) = match end {
            End::Nowhere => ("noRoute", None, None),
            End::Rule(rule) => ("dropped", None, Some(rule.rule.to_string())),
            End::Route(route) => {
                let outcome = match route.route.attrs.kind {
                    RouteType::Unicast | RouteType::Other(_) if is_local(route) => "delivered",
                    RouteType::Unicast | RouteType::Other(_) => "sent",
                    _ => "dropped",
                };
                (outcome, Some(self.route(route)), None)
            }
        };
        ResultView {
            outcome,
            route,
            rule,
        }
    }

    /// Every way out of the route, and the one that the kernel says.
    fn next_hops(&self, packet: &Packet, end: End<'_>, way: &Way) -> Vec<HopView> {
        let mut ways: Vec<(Option<IpAddr>, IfIndex)> = Vec::new();
        if let End::Route(route) = end
            && route.route.attrs.kind == RouteType::Unicast
        {
            let hops = route.route.attrs.hops().iter();
            ways.extend(hops.filter_map(|hop| Some((hop.via, hop.link?))));
            let object = route.route.attrs.nexthop.filter(|_| ways.is_empty());
            let object = object.and_then(|id| self.observed.nexthop(id)?.kind.as_ref());
            ways.extend(object.into_iter().flat_map(|kind| self.ways_of(kind)));
        }
        let taken = way.taken.as_ref().ok();
        let taken = taken.filter(|taken| taken.kind == RouteType::Unicast);
        let chosen = taken.and_then(|taken| Some((taken.via, taken.link?)));
        ways.extend(chosen.filter(|chosen| !ways.contains(chosen)));
        let view = |(via, link): (Option<IpAddr>, IfIndex)| HopView {
            address: via.unwrap_or(packet.to),
            gateway: via.is_some(),
            link,
            interface: self.link_name(link),
            chosen: chosen == Some((via, link)),
            neighbour: None,
            health: None,
        };
        ways.into_iter().map(view).collect()
    }

    fn ways_of(&self, kind: &NextHopKind) -> Vec<(Option<IpAddr>, IfIndex)> {
        match kind {
            NextHopKind::Single { via, link, .. } => vec![(*via, *link)],
            NextHopKind::Blackhole { .. } => Vec::new(),
            // Members of a group are lone objects.
            NextHopKind::Group(group) => {
                let members = group.members().iter();
                let objects = members.filter_map(|member| self.observed.nexthop(member.id));
                let single = |kind: &NextHopKind| match kind {
                    NextHopKind::Single { via, link, .. } => Some((*via, *link)),
                    _ => None,
                };
                objects
                    .filter_map(|object| single(object.kind.as_ref()?))
                    .collect()
            }
        }
    }

    fn kernel(&self, way: &Way, agrees: bool) -> KernelView {
        let matched = way.matched.as_ref().ok().and_then(Option::as_ref);
        let (answer, source) = match &way.taken {
            Err(refused) => (refused.words.clone(), None),
            Ok(taken) => {
                let mut answer = match taken.kind {
                    RouteType::Unicast => String::new(),
                    kind => format!("{} ", kind.name()),
                };
                if let Some(via) = taken.via {
                    answer += &format!("via {via} ");
                }
                if let Some(link) = taken.link {
                    answer += &format!("dev {} ", self.link_name(link));
                }
                answer += &format!("table {}", self.known.inputs.names.table(taken.table));
                if let Some(source) = taken.source {
                    answer += &format!(" src {source}");
                }
                (answer, taken.source)
            }
        };
        KernelView {
            agrees,
            answer,
            route: matched.map(|route| self.route(route)),
            source,
        }
    }

    /// The first rule of our table that translates the packet where it leaves this node, and what there is to say about
    /// it: that only a document is known, or that one asks for what is not there.
    fn translation(&self, packet: &Packet, way: &Way) -> (Option<TranslationView>, Option<String>) {
        let Some((from, out)) = self.leaving(packet, way) else {
            return (None, None);
        };
        let leaving = Leaving {
            from,
            to: packet.to,
            out: &out,
        };
        let wanted = self.egress().find_map(|document| {
            let EgressSpec::Masquerade(masquerade) = &document.spec else {
                return None;
            };
            let mut rules = NatRule::of(&document.id, masquerade);
            let rule = rules.find(|rule| translate::applies(rule, leaving))?;
            Some((rule, document))
        });
        let there = match &self.observed.egress.nat {
            NatObserved::Present { rules, .. } => {
                let mut rules = rules.iter().map(|(rule, _)| rule);
                rules.find(|rule| translate::applies(rule, leaving))
            }
            NatObserved::Absent | NatObserved::Unknown => None,
            NatObserved::Unavailable(why) => {
                let view = wanted.map(|(rule, document)| self.translated(&rule, Some(document)));
                let remark = view.is_some().then(|| {
                    format!(
                        "the translation is what a document asks for, not seen in the kernel: {why}"
                    )
                });
                return (view, remark);
            }
        };
        if let Some(rule) = there {
            let mut documents = self.egress();
            let asks = |document: &&Egress| {
                document.kind() == EgressKind::Masquerade && document.id.to_string() == rule.name
            };
            return (Some(self.translated(rule, documents.find(asks))), None);
        }
        let remark = wanted.map(|(rule, document)| {
            let origin = self.origin(document.id.to_string(), document.place);
            format!("{rule} is asked for ({origin}), but not there; `srsync apply` adds it")
        });
        (None, remark)
    }

    fn translated(&self, rule: &NatRule, document: Option<&Egress>) -> TranslationView {
        let origin = |document: &Egress| self.origin(document.id.to_string(), document.place);
        TranslationView {
            rule: rule.to_string(),
            origin: document.map(origin),
        }
    }

    /// With which source, and by which interface, the packet leaves this node; if it does.
    fn leaving(&self, packet: &Packet, way: &Way) -> Option<(IpAddr, String)> {
        let taken = way.taken.as_ref().ok();
        let taken = taken.filter(|taken| taken.kind == RouteType::Unicast)?;
        let out = self.link_name(taken.link?);
        Some((packet.from.or(taken.source)?, out))
    }

    /// Routes that documents ask for, that would match, and that are not there.
    fn missing(&self, packet: &Packet) -> Vec<MissingView> {
        let rows = self.known.plan.map_or(&[][..], |plan| &plan.rows);
        let matching = rows.iter().filter(|row| row.key.prefix.contains(packet.to));
        let missing = matching.filter_map(|row| {
            let claim = row.claim?;
            let (state, reason) = match &row.verdict {
                Verdict::Add(_) => (
                    None,
                    "nothing is in its way; `srsync apply` adds it".to_owned(),
                ),
                Verdict::Blocked(blocked) => (Some(blocked.state), blocked.reason.to_string()),
                _ => return None,
            };
            let document = self.known.inputs.documents.get(claim.document as usize)?;
            let text = RouteText {
                key: &row.key,
                attrs: match &row.verdict {
                    Verdict::Add(attrs) => Some(attrs),
                    _ => None,
                },
                links: &self.observed.links,
                names: Some(self.known.inputs.names),
            };
            Some(MissingView {
                route: text.to_string(),
                origin: self.origin(document.id.to_string(), claim.place),
                state,
                reason,
            })
        });
        missing.collect()
    }
}

/// `RTN_LOCAL` and the like: broadcast and multicast leave the node.
fn is_local(route: &ObservedRoute) -> bool {
    route.route.attrs.kind.name() == "local"
}
