//! `kind: Forwarding`: which settings below `/proc/sys/net` are written, and how each becomes what it was before us.
//!
//! Writing `all` overwrites `default` and every interface (and in IPv4 turns `all.accept_redirects`), so those are
//! remembered with it and written back after it. The plan holds at every moment in between: what is to be remembered is
//! saved first, then the settings are written in the order of their keys, and whoever dies on the way finds by the next plan
//! what is left to do. What is remembered is let go by a plan that finds nothing to do about it.
//!
//! A setting that somebody changed since we wrote it is theirs: it is left as it is.

use std::collections::BTreeMap;
use std::fmt;

use crate::model::egress::{Forwarding, Remembered, RpFilter, SysctlKey, SysctlValue, Sysctls};
use crate::model::{Egress, EgressSpec, Family, InterfaceName};

/// What documents ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// What comes of it: one value for each setting.
    pub values: BTreeMap<SysctlKey, SysctlValue>,
    /// All that was asked for, in the order of the documents' names.
    pub asked: Vec<Asked<'a>>,
}

/// What one document asks for about one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The setting.
    pub key: SysctlKey,
    /// What it is to be.
    pub value: SysctlValue,
    /// Who asks.
    pub by: &'a Egress,
    /// The document before it that asks for something else, and gets it.
    pub lost_to: Option<&'a Egress>,
}

/// A document that is for this node, or of which nobody knows that yet.
#[derive(Debug, Clone, Copy)]
pub struct Selected<'a> {
    /// The document.
    pub egress: &'a Egress,
    /// Whether it is known to be for this node.
    pub decided: bool,
}

/// What the documents ask for, of which the first by name decides. One of which nobody knows yet whether it is for this
/// node changes nothing, and keeps those after it from changing what it may ask for.
pub fn wanted<'a>(selected: impl IntoIterator<Item = Selected<'a>>) -> Wanted<'a> {
    let mut documents: Vec<Selected<'a>> = selected.into_iter().collect();
    documents.sort_by(|a, b| a.egress.id.cmp(&b.egress.id));
    let mut winners: BTreeMap<SysctlKey, (SysctlValue, &Egress)> = BTreeMap::new();
    let mut wanted = Wanted::default();
    for Selected {
        egress: by,
        decided,
    } in documents
    {
        let EgressSpec::Forwarding(forwarding) = &by.spec else {
            continue;
        };
        for (key, value) in settings(forwarding) {
            let (winning, winner) = *winners.entry(key.clone()).or_insert((value, by));
            if decided && winning == value {
                wanted.values.insert(key.clone(), value);
            }
            wanted.asked.push(Asked {
                key,
                value,
                by,
                lost_to: (winning != value).then_some(winner),
            });
        }
    }
    wanted
}

/// What a document asks for.
fn settings(forwarding: &Forwarding) -> Vec<(SysctlKey, SysctlValue)> {
    let mut settings = Vec::new();
    for family in Family::BOTH {
        let all = forwarding.global(family).map(SysctlValue::switch);
        settings.extend(all.map(|value| (SysctlKey::ForwardAll(family), value)));
    }
    for interface in &forwarding.interfaces {
        let name = &interface.name;
        let switches = [(Family::V4, interface.ipv4), (Family::V6, interface.ipv6)];
        for (family, on) in switches {
            let value = on.map(SysctlValue::switch);
            settings.extend(value.map(|value| (SysctlKey::Forward(family, name.clone()), value)));
        }
        let rp_filter = interface.rp_filter.map(RpFilter::value);
        settings.extend(rp_filter.map(|value| (SysctlKey::RpFilter(name.clone()), value)));
    }
    settings
}

/// What is done about settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForwardingPlan {
    /// What becomes of each that is wanted.
    pub verdicts: BTreeMap<SysctlKey, Verdict>,
    /// What has to be remembered before anything is written; what is not in it is to be forgotten.
    pub remember: BTreeMap<SysctlKey, Remembered>,
    /// What is written, in this order.
    pub writes: BTreeMap<SysctlKey, Write>,
    /// What somebody changed since we wrote it, and nobody asks for any more: it is left as it is.
    pub left: BTreeMap<SysctlKey, SysctlValue>,
}

impl ForwardingPlan {
    /// Whether nothing is asked for anew: what goes back waits for the routes to go.
    pub fn only_goes_back(&self) -> bool {
        let mut writes = self.writes.values();
        !self.writes.is_empty() && writes.all(|write| write.why == Why::Restored)
    }
}

/// What becomes of a setting that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is so.
    Keep,
    /// It is this and is changed.
    Set(SysctlValue),
    /// It is not there: no such interface, or no IPv6.
    Missing,
}

/// A value to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Write {
    /// The value.
    pub value: SysctlValue,
    /// Why.
    pub why: Why,
}

/// Why something is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// A document asks for it.
    Wanted,
    /// So it would be without us.
    Restored,
    /// What a document asks for about all interfaces holds for this one again.
    LikeAll,
}

/// What is done about what nobody asks for any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwanted {
    /// It becomes what it was.
    Restore,
    /// It stays for now: the documents may not be all there are.
    Keep,
}

/// Decides. Without a change of the node or of what is wanted, the plan after the writes writes nothing.
pub fn plan(
    sysctls: &Sysctls,
    wanted: &BTreeMap<SysctlKey, SysctlValue>,
    unwanted: Unwanted,
) -> ForwardingPlan {
    let mut planner = Planner {
        sysctls,
        wanted,
        unwanted,
        plan: ForwardingPlan::default(),
    };
    for key in wanted.keys() {
        let verdict = planner.verdict(key);
        planner.plan.verdicts.insert(key.clone(), verdict);
    }
    for family in Family::BOTH {
        planner.decide_family(family);
    }
    let others: Vec<SysctlKey> = sysctls.values.keys().cloned().collect();
    for key in others.into_iter().filter(|key| family_of(key).is_none()) {
        planner.decide(&key, None);
    }
    planner.plan
}

struct Planner<'a> {
    sysctls: &'a Sysctls,
    wanted: &'a BTreeMap<SysctlKey, SysctlValue>,
    unwanted: Unwanted,
    plan: ForwardingPlan,
}

impl Planner<'_> {
    fn verdict(&self, key: &SysctlKey) -> Verdict {
        match (self.now(key), self.wanted.get(key)) {
            (None, _) => Verdict::Missing,
            (Some(now), Some(wanted)) if now != *wanted => Verdict::Set(now),
            _ => Verdict::Keep,
        }
    }

    fn now(&self, key: &SysctlKey) -> Option<SysctlValue> {
        self.sysctls.values.get(key).copied()
    }

    fn remembered(&self, key: &SysctlKey) -> Option<Remembered> {
        self.sysctls.remembered.get(key).copied()
    }

    fn write(&mut self, key: &SysctlKey, value: SysctlValue, why: Why) {
        self.plan.writes.insert(key.clone(), Write { value, why });
    }

    fn remember(&mut self, key: &SysctlKey, before: SysctlValue, set: SysctlValue) {
        let remembered = Remembered { before, set };
        self.plan.remember.insert(key.clone(), remembered);
    }

    /// `all` of a family and what writing it overwrites.
    fn decide_family(&mut self, family: Family) {
        let all = SysctlKey::ForwardAll(family);
        let Some(now) = self.now(&all) else {
            return;
        };
        let keys = self.sysctls.values.keys();
        let below = keys.filter(|key| **key != all && family_of(key) == Some(family));
        let below: Vec<SysctlKey> = below.cloned().collect();
        let remembered = self.remembered(&all);
        match (self.wanted.get(&all).copied(), remembered) {
            (Some(value), _) if value != now => {
                self.write(&all, value, Why::Wanted);
                let before = remembered.map_or(now, |remembered| remembered.before);
                self.remember(&all, before, value);
                below.iter().for_each(|key| self.overwritten(key, value));
            }
            (None, Some(ours)) if self.is_to_be_restored(now, ours) => {
                self.write(&all, ours.before, Why::Restored);
                self.remember(&all, ours.before, ours.set);
                below
                    .iter()
                    .for_each(|key| self.written_back(key, ours.before));
            }
            (wanted, remembered) => {
                self.decide(&all, None);
                let held = wanted.and(remembered).map(|_| now);
                below.iter().for_each(|key| self.decide(key, held));
            }
        }
    }

    /// What an interface that came while `default` was ours would have got without us.
    fn inherited(&self, key: &SysctlKey, now: SysctlValue) -> Option<SysctlValue> {
        let SysctlKey::Forward(family, _) = key else {
            return None;
        };
        let default = self.remembered(&SysctlKey::ForwardDefault(*family))?;
        (now == default.set && self.remembered(key).is_none()).then_some(default.before)
    }

    /// Whether the next plan takes what is not remembered for an interface that came while `default` was ours.
    fn is_default_remembered(&self, key: &SysctlKey) -> bool {
        let default = family_of(key).map(SysctlKey::ForwardDefault);
        default.is_some_and(|default| self.plan.remember.contains_key(&default))
    }

    /// What a setting was before us that is written now.
    fn before(&self, key: &SysctlKey, now: SysctlValue) -> SysctlValue {
        let remembered = self.remembered(key).map(|ours| ours.before);
        remembered.or(self.inherited(key, now)).unwrap_or(now)
    }

    fn is_to_be_restored(&self, now: SysctlValue, ours: Remembered) -> bool {
        self.unwanted == Unwanted::Restore && now == ours.set && now != ours.before
    }

    /// `all` is about to become `value` because a document asks for it, and this with it.
    fn overwritten(&mut self, key: &SysctlKey, value: SysctlValue) {
        let Some(now) = self.now(key) else {
            return;
        };
        let effect = side_effect(key, value);
        let before = self.before(key, now);
        let wanted = self.wanted.get(key).copied().or(self.own(key, now));
        if let Some(wanted) = wanted.filter(|wanted| *wanted != effect) {
            self.write(key, wanted, Why::Wanted);
        }
        self.remember(key, before, wanted.unwrap_or(effect));
    }

    /// What a document that may only be missing asked for about this alone: we wrote it, not `all`.
    fn own(&self, key: &SysctlKey, now: SysctlValue) -> Option<SysctlValue> {
        let ours = self.remembered(key)?;
        let of_family = family_of(key).map(SysctlKey::ForwardAll);
        let all = of_family.and_then(|all| self.remembered(&all));
        let is_own = all.is_none_or(|all| side_effect(key, all.set) != ours.set);
        (self.unwanted == Unwanted::Keep && is_own && now == ours.set).then_some(now)
    }

    /// `all` is about to become what it was, and this with it.
    fn written_back(&mut self, key: &SysctlKey, value: SysctlValue) {
        let Some(now) = self.now(key) else {
            return;
        };
        let effect = side_effect(key, value);
        let remembered = self.remembered(key);
        let without_us = match remembered {
            Some(ours) if now == ours.set => ours.before,
            Some(_) => now,
            None => self.inherited(key, now).unwrap_or(now),
        };
        if let Some(wanted) = self.wanted.get(key).copied() {
            let before = remembered.map_or(without_us, |ours| ours.before);
            self.remember(key, before, wanted);
            if wanted != effect {
                self.write(key, wanted, Why::Wanted);
            }
        } else if without_us != effect {
            // Who dies before this is written finds the side effect, and knows it for our deed.
            self.remember(key, without_us, effect);
            self.write(key, without_us, Why::Restored);
        } else if let Some(ours) = remembered.filter(|ours| now == ours.set) {
            self.remember(key, ours.before, ours.set);
        } else if self.is_default_remembered(key) {
            self.remember(key, without_us, effect);
        }
    }

    /// A setting that nothing else overwrites in this plan. `held` is `all` of its family, if that is ours and in place.
    fn decide(&mut self, key: &SysctlKey, held: Option<SysctlValue>) {
        let Some(now) = self.now(key) else {
            return;
        };
        let remembered = self.remembered(key);
        if let Some(wanted) = self.wanted.get(key).copied() {
            if wanted != now {
                self.write(key, wanted, Why::Wanted);
            }
            let before = self.before(key, now);
            if wanted != now || before != now || remembered.is_some() {
                self.remember(key, before, wanted);
            }
            return;
        }
        let Some(ours) = remembered else {
            let inherited = self.inherited(key, now).filter(|before| *before != now);
            if let (Some(before), None, Unwanted::Restore) = (inherited, held, self.unwanted) {
                self.write(key, before, Why::Restored);
                self.remember(key, before, now);
            }
            return;
        };
        let like_all = held.map(|all| side_effect(key, all));
        match like_all {
            _ if self.unwanted == Unwanted::Keep => self.remember(key, ours.before, ours.set),
            // Until `all` is what it was.
            Some(value) if now == value => self.remember(key, ours.before, value),
            // Nobody asks for something of its own any more.
            Some(value) if now == ours.set => {
                self.write(key, value, Why::LikeAll);
                self.remember(key, ours.before, ours.set);
            }
            Some(_) => self.remember(key, ours.before, ours.set),
            None if self.is_to_be_restored(now, ours) => {
                self.write(key, ours.before, Why::Restored);
                self.remember(key, ours.before, ours.set);
            }
            None => {
                if now != ours.set && now != ours.before {
                    self.plan.left.insert(key.clone(), now);
                }
                if self.is_default_remembered(key) {
                    self.remember(key, ours.before, ours.set);
                }
            }
        }
    }
}

/// The family of whose forwarding a setting is a part, and so overwritten with its `all`.
fn family_of(key: &SysctlKey) -> Option<Family> {
    match key {
        SysctlKey::ForwardAll(family)
        | SysctlKey::ForwardDefault(family)
        | SysctlKey::Forward(family, _) => Some(*family),
        SysctlKey::AcceptRedirectsAll => Some(Family::V4),
        SysctlKey::RpFilterAll | SysctlKey::RpFilter(_) | SysctlKey::AcceptRa(_) => None,
    }
}

/// The setting that overwrites this one when it is written.
pub fn overwritten_with(key: &SysctlKey) -> Option<SysctlKey> {
    let all = SysctlKey::ForwardAll(family_of(key)?);
    (all != *key).then_some(all)
}

/// What a setting becomes when this is written to `all` of its family (`inet_forward_change`, net/ipv4/devinet.c).
fn side_effect(key: &SysctlKey, all: SysctlValue) -> SysctlValue {
    match key {
        SysctlKey::AcceptRedirectsAll => SysctlValue::switch(all.get() == 0),
        _ => all,
    }
}

/// What a person should know about settings that are as they are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// These interfaces forward IPv6, so that the kernel ignores router advertisements there.
    IgnoresAdvertisements(Vec<InterfaceName>),
    /// The value of all interfaces is larger than that of this one, and decides.
    RpFilterOfAll {
        /// The interface.
        interface: InterfaceName,
        /// What is wanted there.
        wanted: SysctlValue,
        /// What holds.
        all: SysctlValue,
    },
}

/// What will not be as one might think once the wanted values are there.
pub fn warnings(sysctls: &Sysctls, wanted: &BTreeMap<SysctlKey, SysctlValue>) -> Vec<Warning> {
    let off = SysctlValue::switch(false);
    let mut deaf = Vec::new();
    let mut warnings = Vec::new();
    let all = wanted.get(&SysctlKey::ForwardAll(Family::V6));
    for (key, value) in &sysctls.values {
        if let (SysctlKey::AcceptRa(name), 1) = (key, value.get()) {
            let own = wanted.get(&SysctlKey::Forward(Family::V6, name.clone()));
            let forwards = own.or(all).is_some_and(|value| *value != off);
            deaf.extend((forwards && name.as_str() != "lo").then(|| name.clone()));
        }
    }
    if !deaf.is_empty() {
        warnings.push(Warning::IgnoresAdvertisements(deaf));
    }
    let all = sysctls.values.get(&SysctlKey::RpFilterAll).copied();
    for (key, value) in wanted {
        if let (SysctlKey::RpFilter(interface), Some(all)) = (key, all.filter(|all| all > value)) {
            warnings.push(Warning::RpFilterOfAll {
                interface: interface.clone(),
                wanted: *value,
                all,
            });
        }
    }
    warnings
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IgnoresAdvertisements(names) => {
                let first: Vec<&str> = names.iter().take(3).map(InterfaceName::as_str).collect();
                let more = match names.len() - first.len() {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                let (names, example) = (first.join(", "), first.first().unwrap_or(&"eth0"));
                write!(
                    f,
                    "an interface that forwards IPv6 ignores router advertisements while its accept_ra is 1, as that of \
                     {names}{more}. If this node has its address or default route from them, set accept_ra to 2: \
                     `sysctl -w net.ipv6.conf.{example}.accept_ra=2`"
                )
            }
            Self::RpFilterOfAll {
                interface,
                wanted,
                all,
            } => write!(
                f,
                "rpFilter of {interface} is {wanted}, but the kernel takes the larger of it and \
                 net.ipv4.conf.all.rp_filter, which is {all}. To have {wanted}, set that to at most {wanted}: \
                 `sysctl -w net.ipv4.conf.all.rp_filter={wanted}` (mind that this is for every interface)"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
