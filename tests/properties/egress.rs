//! What holds of forwarding, translations and rules through lives of several edits, with somebody else at work in between.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use srsync::model::egress::rule::{RuleSelector, RuleTarget};
use srsync::model::egress::sysctl::Remembered;
use srsync::model::egress::{
    Counters, FibRule, Forwarding, FwMark, InterfaceForwarding, Masquerade, NatObserved,
    ObservedRule, RoutingRule, RpFilter, RuleAction, RulePriority, SysctlKey, SysctlValue, Sysctls,
    Thing,
};
use srsync::model::*;
use srsync::plan::egress::{EgressVerdict, forwarding};
use srsync::plan::{self, Inputs, Plan};

use super::simulation::egress as kernel;

const OURS: Protocol = Protocol::SRSYNC;
/// Interfaces that are there from the beginning, one that comes and goes, and one that is never there.
const NAMES: [&str; 4] = ["eth0", "eth1", "pod0", "gone"];
const SOURCES: [&str; 4] = ["10.42.0.0/16", "10.43.0.0/16", "fd00:42::/56", "0.0.0.0/0"];

fn interface(name: &str) -> InterfaceName {
    InterfaceName::new(name).unwrap()
}

fn name() -> impl Strategy<Value = InterfaceName> {
    (0..NAMES.len()).prop_map(|index| interface(NAMES[index]))
}

fn forwarding() -> impl Strategy<Value = Forwarding> {
    let switch = || prop_oneof![Just(None), any::<bool>().prop_map(Some)];
    let rp_filter = prop_oneof![
        Just(None),
        (0..RpFilter::ALL.len()).prop_map(|index| Some(RpFilter::ALL[index]))
    ];
    let own = (switch(), switch(), rp_filter);
    let interfaces = proptest::collection::btree_map(name(), own, 0..3);
    (switch(), switch(), interfaces).prop_map(|(ipv4, ipv6, interfaces)| Forwarding {
        ipv4,
        ipv6,
        interfaces: interfaces
            .into_iter()
            .map(|(name, (ipv4, ipv6, rp_filter))| InterfaceForwarding {
                name,
                ipv4,
                ipv6,
                rp_filter,
            })
            .collect(),
    })
}

fn prefixes(some: BTreeSet<usize>) -> Vec<Prefix> {
    let prefixes = some
        .into_iter()
        .map(|index| SOURCES[index].parse().unwrap());
    prefixes.collect()
}

fn masquerade() -> impl Strategy<Value = Masquerade> {
    let some = |least| proptest::collection::btree_set(0..SOURCES.len() - 1, least..3);
    let snat_to = prop_oneof![3 => Just(None), 1 => Just(Some("192.0.2.1".parse().unwrap()))];
    (some(1), some(0), snat_to).prop_map(|(sources, destinations, snat_to)| Masquerade {
        sources: prefixes(sources),
        destinations: prefixes(destinations),
        except: Vec::new(),
        out_interfaces: Vec::new(),
        snat_to,
    })
}

fn selector() -> impl Strategy<Value = RuleSelector> {
    let from = prop_oneof![
        1 => Just(None),
        3 => (0..SOURCES.len()).prop_map(|index| Some(SOURCES[index].parse().unwrap()))
    ];
    let fwmark = prop_oneof![2 => Just(None), 1 => Just(Some(FwMark { value: 1, mask: 3 }))];
    (from, fwmark, any::<bool>()).prop_map(|(from, fwmark, not)| RuleSelector {
        from,
        fwmark,
        not,
        ..RuleSelector::default()
    })
}

fn routing_rule() -> impl Strategy<Value = RoutingRule> {
    let action = prop_oneof![
        1 => Just(RuleTarget::Drop(RuleAction::Blackhole)),
        2 => Just(RuleTarget::Lookup(None)),
        2 => Just(RuleTarget::Lookup(Some(TableId::new(1000)))),
    ];
    (100u32..102, selector(), action).prop_map(|(priority, selector, action)| RoutingRule {
        family: None,
        priority: RulePriority(priority),
        selector,
        action,
        suppress_prefix_length: None,
    })
}

fn spec() -> impl Strategy<Value = EgressSpec> {
    prop_oneof![
        2 => forwarding().prop_map(EgressSpec::Forwarding),
        1 => masquerade().prop_map(EgressSpec::Masquerade),
        1 => routing_rule().prop_map(EgressSpec::RoutingRule),
    ]
}

/// Some need a label that the node has if everything about it is known.
fn document((number, spec, labelled): (u8, EgressSpec, bool)) -> Egress {
    let mut selector = NodeSelector::default();
    if labelled {
        selector.requirements.push(selector::Requirement {
            key: "role".to_owned(),
            operator: selector::Operator::Exists,
        });
    }
    Egress {
        id: DocumentId {
            name: format!("doc-{number}"),
            namespace: None,
            dialect: Dialect::Native,
        },
        place: Place {
            file: FileId(0),
            line: u32::from(number),
        },
        selector,
        spec,
        notes: Vec::new(),
    }
}

/// By kind and name, each name once in its kind.
fn documents() -> impl Strategy<Value = Vec<Egress>> {
    let one = (0u8..4, spec(), proptest::bool::weighted(0.2)).prop_map(document);
    proptest::collection::vec(one, 0..6).prop_map(|mut documents| {
        documents.sort_by(|a, b| (a.kind(), &a.id).cmp(&(b.kind(), &b.id)));
        documents.dedup_by(|a, b| (a.kind(), &a.id) == (b.kind(), &b.id));
        documents
    })
}

/// What somebody else does.
#[derive(Debug, Clone)]
enum Deed {
    Writes(SysctlKey, SysctlValue),
    /// `pod0` comes, or goes.
    Plugs,
    /// One of our rules goes, by its place among them.
    TakesRule(usize),
    AddsRule(ObservedRule),
    TakesTable,
    TakesTranslation(usize),
    ChangesTable,
}

/// One step of a life.
#[derive(Debug, Clone)]
enum Step {
    Edit(Vec<Egress>),
    Somebody(Deed),
    /// Nobody knows whether these are all documents, or the labels of the node, and only the first of them are there.
    Incomplete {
        documents: usize,
        labels_unknown: bool,
    },
    /// Nobody knows the labels of the node, and never did.
    Guess(Vec<Egress>),
    /// It is killed after so many settings, and started again.
    Dies(usize),
}

fn written() -> impl Strategy<Value = (SysctlKey, SysctlValue)> {
    let family = || prop_oneof![Just(Family::V4), Just(Family::V6)];
    let key = prop_oneof![
        family().prop_map(SysctlKey::ForwardAll),
        family().prop_map(SysctlKey::ForwardDefault),
        (family(), name()).prop_map(|(family, name)| SysctlKey::Forward(family, name)),
        name().prop_map(SysctlKey::RpFilter),
        Just(SysctlKey::AcceptRedirectsAll),
    ];
    (key, any::<bool>()).prop_map(|(key, on)| (key, SysctlValue::switch(on)))
}

fn foreign_rule() -> impl Strategy<Value = ObservedRule> {
    let protocol = prop_oneof![Just(4u8), Just(83)].prop_map(Protocol::new);
    (routing_rule(), protocol).prop_map(|(rule, protocol)| ObservedRule {
        rule: FibRule::of(&rule, TableId::MAIN).next().unwrap(),
        protocol,
        // What has our number and is more than a document can say is nobody's we know.
        extra: protocol == OURS,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let deed = prop_oneof![
        4 => written().prop_map(|(key, value)| Deed::Writes(key, value)),
        2 => Just(Deed::Plugs),
        1 => any::<usize>().prop_map(Deed::TakesRule),
        1 => foreign_rule().prop_map(Deed::AddsRule),
        1 => Just(Deed::TakesTable),
        1 => any::<usize>().prop_map(Deed::TakesTranslation),
        1 => Just(Deed::ChangesTable),
    ];
    prop_oneof![
        4 => documents().prop_map(Step::Edit),
        3 => deed.prop_map(Step::Somebody),
        2 => (0usize..4, any::<bool>()).prop_map(|(documents, labels_unknown)| Step::Incomplete {
            documents,
            labels_unknown,
        }),
        1 => documents().prop_map(Step::Guess),
        1 => (0usize..9).prop_map(Step::Dies),
    ]
}

/// A node of two interfaces with any past.
fn node() -> impl Strategy<Value = Observed> {
    let bits = proptest::collection::vec(any::<bool>(), 16);
    let rules = proptest::collection::vec(foreign_rule(), 0..3);
    (bits, rules, proptest::bool::weighted(0.1)).prop_map(|(bits, rules, without_nftables)| {
        let mut sysctls = Sysctls::default();
        let mut keys = vec![SysctlKey::AcceptRedirectsAll, SysctlKey::RpFilterAll];
        for family in Family::BOTH {
            keys.push(SysctlKey::ForwardAll(family));
            keys.push(SysctlKey::ForwardDefault(family));
            keys.extend(
                NAMES[..2]
                    .iter()
                    .map(|name| SysctlKey::Forward(family, interface(name))),
            );
        }
        keys.extend(
            NAMES[..2]
                .iter()
                .map(|name| SysctlKey::RpFilter(interface(name))),
        );
        keys.extend(
            NAMES[..2]
                .iter()
                .map(|name| SysctlKey::AcceptRa(interface(name))),
        );
        for (key, bit) in keys.into_iter().zip(bits) {
            sysctls.values.insert(key, SysctlValue::switch(bit));
        }
        let mut node = Observed::default();
        node.egress.rules = rules;
        node.egress.sysctls = sysctls;
        node.egress.nat = match without_nftables {
            true => NatObserved::Unavailable("no".to_owned()),
            false => NatObserved::Absent,
        };
        node
    })
}

/// A node with us, the same without us, and what somebody changed since we came.
struct Life {
    node: Observed,
    without_us: Sysctls,
    touched: BTreeSet<SysctlKey>,
    documents: Vec<Egress>,
    policy: Policy,
}

impl Life {
    fn of(node: Observed) -> Self {
        Self {
            without_us: node.egress.sysctls.clone(),
            node,
            touched: BTreeSet::new(),
            documents: Vec::new(),
            policy: Policy {
                allow_empty: true,
                ..Policy::default()
            },
        }
    }

    fn plan(&self, documents: &[Egress], incomplete: Option<&str>, labels: Option<&str>) -> Plan {
        let mut known = Labels::new();
        if labels.is_none() {
            known.insert("role".to_owned(), "egress".to_owned());
        }
        let file = FileName {
            path: "egress.yaml".into(),
            label: "egress.yaml".into(),
        };
        plan::plan(
            &Inputs {
                egress: documents,
                documents: &[],
                policy: &self.policy,
                labels: &known,
                unknown_labels: labels,
                names: &Names::default(),
                files: &[file],
                steering: Steering::NONE,
                objects: None,
                incomplete,
            },
            &self.node,
        )
    }

    /// Passes until nothing is left to do, which is after the first.
    fn passes(&mut self, documents: &[Egress], incomplete: Option<&str>, labels: Option<&str>) {
        let foreign = kernel::foreign_rules(&self.node.egress, OURS);
        let before = self.node.egress.sysctls.values.clone();
        for _ in 0..2 {
            let plan = self.plan(documents, incomplete, labels);
            if plan.is_empty() {
                break;
            }
            let pass = kernel::Pass::of(&plan, OURS);
            pass.before_routes(&mut self.node);
            pass.after_routes(&mut self.node);
        }
        let plan = self.plan(documents, incomplete, labels);
        assert!(plan.is_empty(), "something is left to do: {plan:#?}");
        kernel::forget(&plan, &mut self.node);
        assert!(self.plan(documents, incomplete, labels).is_empty());
        assert_eq!(kernel::foreign_rules(&self.node.egress, OURS), foreign);
        for row in plan.egress.rows.iter().filter(|row| row.claim.is_some()) {
            match &row.verdict {
                EgressVerdict::Keep => {}
                EgressVerdict::Blocked(blocked) => assert!(!blocked.reason.message.is_empty()),
                other => panic!("{other:?} of {}", row.thing),
            }
        }
        let undecided = |egress: &Egress| !egress.selector.requirements.is_empty();
        if incomplete.is_some() || (labels.is_some() && documents.iter().any(undecided)) {
            self.only_what_is_asked_for(&plan, &before);
        }
    }

    /// No setting is another one but those that are asked for, and what goes along with `all`.
    fn only_what_is_asked_for(&self, plan: &Plan, before: &BTreeMap<SysctlKey, SysctlValue>) {
        let rows = plan.egress.rows.iter();
        let asked = rows.filter(|row| row.claim.is_some() && row.verdict == EgressVerdict::Keep);
        let asked: BTreeSet<&SysctlKey> = asked
            .filter_map(|row| match &row.thing {
                Thing::Sysctl(key, _) => Some(key),
                _ => None,
            })
            .collect();
        for (key, value) in &self.node.egress.sysctls.values {
            let all = forwarding::overwritten_with(key);
            let may = asked.contains(key) || all.is_some_and(|all| asked.contains(&all));
            assert!(
                may || before.get(key) == Some(value),
                "nobody is known to ask for {key}"
            );
        }
    }

    fn somebody(&mut self, deed: &Deed) {
        let egress = &mut self.node.egress;
        let ours = |rule: &ObservedRule| rule.protocol == OURS && !rule.extra;
        match deed {
            Deed::Writes(key, value) => {
                if egress.sysctls.values.contains_key(key) {
                    self.touch(key);
                    kernel::write(&mut self.node.egress.sysctls, key, *value);
                    kernel::write(&mut self.without_us, key, *value);
                }
            }
            Deed::Plugs => self.plugs(),
            Deed::TakesRule(place) => {
                let places = egress.rules.iter().enumerate();
                let places: Vec<usize> = places.filter(|(_, r)| ours(r)).map(|(p, _)| p).collect();
                if let Some(place) = places.get(place % places.len().max(1)) {
                    egress.rules.remove(*place);
                }
            }
            Deed::AddsRule(rule) => egress.rules.push(rule.clone()),
            Deed::TakesTable => {
                if matches!(egress.nat, NatObserved::Present { .. }) {
                    egress.nat = NatObserved::Absent;
                }
            }
            Deed::TakesTranslation(place) => {
                if let NatObserved::Present { rules, .. } = &mut egress.nat
                    && !rules.is_empty()
                {
                    rules.remove(place % rules.len());
                }
            }
            Deed::ChangesTable => {
                if let NatObserved::Present { rules, intact } = &mut egress.nat {
                    rules.reverse();
                    *intact = false;
                }
            }
        }
    }

    /// He is answerable for it and for all that it overwrites.
    fn touch(&mut self, key: &SysctlKey) {
        self.touched.insert(key.clone());
        let SysctlKey::ForwardAll(family) = key else {
            return;
        };
        for below in self.node.egress.sysctls.values.keys() {
            let along = match below {
                SysctlKey::ForwardDefault(of) | SysctlKey::Forward(of, _) => of == family,
                SysctlKey::AcceptRedirectsAll => *family == Family::V4,
                _ => false,
            };
            if along {
                self.touched.insert(below.clone());
            }
        }
    }

    /// A pass sees it at once: one interface that goes and comes again in between is the same to us.
    fn plugs(&mut self) {
        let pod = interface("pod0");
        let there = SysctlKey::RpFilter(pod.clone());
        let is_there = self.without_us.values.contains_key(&there);
        for sysctls in [&mut self.node.egress.sysctls, &mut self.without_us] {
            match is_there {
                true => kernel::vanish(sysctls, &pod),
                false => kernel::appear(sysctls, &pod),
            }
        }
        self.touched.retain(|key| key.interface() != Some(&pod));
        if !is_there {
            for family in Family::BOTH {
                if self.touched.contains(&SysctlKey::ForwardDefault(family)) {
                    self.touched.insert(SysctlKey::Forward(family, pod.clone()));
                }
            }
        }
        self.passes(&self.documents.clone(), None, None);
    }

    fn lives(&mut self, step: &Step) {
        match step {
            Step::Edit(documents) => {
                self.documents.clone_from(documents);
                self.passes(&documents.clone(), None, None);
            }
            Step::Somebody(deed) => self.somebody(deed),
            Step::Incomplete {
                documents,
                labels_unknown,
            } => {
                let some = &self.documents[..self.documents.len().min(*documents)];
                let (some, all) = (some.to_vec(), self.documents.clone());
                self.passes(&all, None, None);
                match labels_unknown {
                    true => self.nothing_goes(&all, None, Some("not known")),
                    false => self.nothing_goes(&some, Some("unreadable"), None),
                }
            }
            Step::Guess(documents) => {
                self.documents.clone_from(documents);
                self.passes(&documents.clone(), None, Some("not known"));
            }
            Step::Dies(writes) => {
                let plan = self.plan(&self.documents, None, None);
                let pass = kernel::Pass::of(&plan, OURS);
                pass.write_settings(&mut self.node.egress.sysctls, *writes);
                // Whoever comes next has the same documents. With others, what was about to be written after `all` would
                // be neither what it was nor what we are known to have made it.
                self.passes(&self.documents.clone(), None, None);
            }
        }
    }

    /// Everything is in place, and stays although it may not be asked for any more.
    fn nothing_goes(
        &mut self,
        documents: &[Egress],
        incomplete: Option<&str>,
        labels: Option<&str>,
    ) {
        let before = self.node.egress.clone();
        self.passes(documents, incomplete, labels);
        let now = &self.node.egress;
        let is_left = |rule: &ObservedRule| now.rules.contains(rule);
        assert!(before.rules.iter().all(is_left), "a rule is gone");
        let translations = kernel::translations(now);
        for rule in kernel::translations(&before) {
            assert!(translations.contains(&rule), "{rule} is gone");
        }
        assert_eq!(now.sysctls.values, before.sysctls.values);
        let same = |(key, was): (&SysctlKey, &Remembered)| {
            now.sysctls.remembered.get(key).map(|now| now.before) == Some(was.before)
        };
        assert!(before.sysctls.remembered.iter().all(same), "forgotten");
    }

    /// The last document is gone, and so are we; what somebody changed since the last pass is his.
    fn ends(&mut self) {
        let last = self.node.egress.sysctls.clone();
        self.documents.clear();
        self.passes(&[], None, None);
        let egress = &self.node.egress;
        let ours = |rule: &&ObservedRule| rule.protocol == OURS && !rule.extra;
        assert_eq!(egress.rules.iter().find(ours), None);
        assert!(!matches!(egress.nat, NatObserved::Present { .. }));
        assert_eq!(egress.sysctls.remembered, BTreeMap::new());
        for (key, value) in &egress.sysctls.values {
            if !self.touched.contains(key) {
                let without_us = self.without_us.values.get(key);
                assert_eq!(Some(value), without_us, "{key} is not as without us");
            }
            let was = last.values.get(key);
            let is_his = last.remembered.get(key).map(|ours| Some(&ours.set) != was);
            assert!(
                is_his != Some(true) || Some(value) == was,
                "{key} is somebody's"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn whatever_is_asked_for_and_whoever_meddles_it_converges_and_ends_as_it_began(
        node in node(), steps in proptest::collection::vec(step(), 1..8)
    ) {
        let mut life = Life::of(node);
        for step in &steps {
            life.lives(step);
        }
        life.ends();
    }

    #[test]
    fn counters_outlive_every_edit_of_their_document(
        first in masquerade(), second in masquerade()
    ) {
        let mut life = Life::of(Observed::default());
        life.node.egress.nat = NatObserved::Absent;
        let of = |masquerade| [document((0, EgressSpec::Masquerade(masquerade), false))];
        life.passes(&of(first), None, None);
        let counted = Counters { packets: 7, bytes: 420 };
        // Neither has a rule where sources and destinations are of different families.
        let NatObserved::Present { rules, .. } = &mut life.node.egress.nat else {
            return Ok(());
        };
        rules.iter_mut().for_each(|(_, counters)| *counters = counted);
        let before: Vec<Family> = rules.iter().map(|(rule, _)| rule.family).collect();
        life.passes(&of(second), None, None);
        let NatObserved::Present { rules, .. } = &life.node.egress.nat else {
            return Ok(());
        };
        for (rule, counters) in rules {
            let was_there = before.contains(&rule.family);
            prop_assert_eq!(counters.packets, if was_there { 7 } else { 0 });
        }
    }
}
