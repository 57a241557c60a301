//! What a kernel does about settings, our nftables table and policy rules, and the promises that must hold at every
//! moment of a pass.

use std::collections::BTreeMap;

use srsync::model::egress::{
    Counters, FibRule, NatObserved, NatRule, ObservedEgress, ObservedRule, SysctlKey, SysctlValue,
    Sysctls, Thing,
};
use srsync::model::{Family, InterfaceName, Observed, Protocol};
use srsync::plan::egress::forwarding::ForwardingPlan;
use srsync::plan::egress::{EgressPlan, EgressRow, EgressVerdict};
use srsync::plan::{Plan, Removals};

/// Writes a setting as the kernel does. In IPv4 only another value of `all` is written to every interface
/// (`devinet_sysctl_forward`, net/ipv4/devinet.c), in IPv6 any (`addrconf_fixup_forwarding`, net/ipv6/addrconf.c).
pub(crate) fn write(sysctls: &mut Sysctls, key: &SysctlKey, value: SysctlValue) {
    let old = sysctls.values.insert(key.clone(), value);
    let old = old.unwrap_or_else(|| panic!("there is no {key}"));
    let SysctlKey::ForwardAll(family) = key else {
        return;
    };
    if *family == Family::V4 && old == value {
        return;
    }
    for (below, now) in &mut sysctls.values {
        match below {
            SysctlKey::ForwardDefault(of) | SysctlKey::Forward(of, _) if of == family => {
                *now = value;
            }
            SysctlKey::AcceptRedirectsAll if *family == Family::V4 => {
                *now = SysctlValue::switch(value.get() == 0);
            }
            _ => {}
        }
    }
}

/// An interface comes, with what the kernel gives to new ones.
#[allow(dead_code, reason = "fuzzing has no use for it")]
pub(crate) fn appear(sysctls: &mut Sysctls, name: &InterfaceName) {
    for family in Family::BOTH {
        if let Some(value) = sysctls.values.get(&SysctlKey::ForwardDefault(family)) {
            let value = *value;
            let key = SysctlKey::Forward(family, name.clone());
            sysctls.values.insert(key, value);
        }
    }
    let off = SysctlValue::switch(false);
    let on = SysctlValue::switch(true);
    sysctls
        .values
        .insert(SysctlKey::RpFilter(name.clone()), off);
    sysctls.values.insert(SysctlKey::AcceptRa(name.clone()), on);
}

/// An interface goes.
#[allow(dead_code, reason = "fuzzing has no use for it")]
pub(crate) fn vanish(sysctls: &mut Sysctls, name: &InterfaceName) {
    sysctls
        .values
        .retain(|key, _| key.interface() != Some(name));
}

/// One pass over everything but routes. `dies_after` so many settings were written; then nothing else happens.
pub(crate) struct Pass<'a> {
    plan: &'a EgressPlan,
    removals: bool,
    protocol: Protocol,
    /// What is there, is wanted, and has to be there throughout.
    in_place: Vec<&'a Thing>,
}

impl<'a> Pass<'a> {
    pub(crate) fn of(plan: &'a Plan, protocol: Protocol) -> Self {
        let keep = |row: &&EgressRow| row.claim.is_some() && row.verdict == EgressVerdict::Keep;
        let rows = plan.egress.rows.iter();
        Self {
            plan: &plan.egress,
            removals: plan.removals == Removals::Allowed,
            protocol,
            in_place: rows.filter(keep).map(|row| &row.thing).collect(),
        }
    }

    fn settings(&self) -> &'a ForwardingPlan {
        self.plan.work.settings(self.removals)
    }

    /// Settings and translation, which routes need.
    pub(crate) fn before_routes(&self, observed: &mut Observed) {
        if !self.settings().only_goes_back() {
            self.write_settings(&mut observed.egress.sysctls, usize::MAX);
        }
        if let Some(rules) = &self.plan.work.nat {
            let there = translations(&observed.egress);
            let written: Vec<&NatRule> = rules.iter().map(|(rule, _)| rule).collect();
            for rule in &there {
                let same =
                    |other: &&NatRule| (&other.name, other.family) == (&rule.name, rule.family);
                assert!(written.iter().any(same), "{rule} goes before the routes");
            }
            set_nat(&mut observed.egress, rules);
            self.translations_stay(observed);
        }
    }

    /// Rules, then what goes.
    pub(crate) fn after_routes(&self, observed: &mut Observed) {
        self.rules(&mut observed.egress.rules);
        if !self.removals {
            return;
        }
        if let Some(rules) = &self.plan.work.nat_after {
            set_nat(&mut observed.egress, rules);
            self.translations_stay(observed);
        }
        if self.settings().only_goes_back() {
            self.write_settings(&mut observed.egress.sysctls, usize::MAX);
        }
    }

    /// What is to be remembered first, then settings in their order, and no more than so many.
    pub(crate) fn write_settings(&self, sysctls: &mut Sysctls, at_most: usize) {
        let settings = self.settings();
        sysctls.remembered.clone_from(&settings.remember);
        let wanted: BTreeMap<&SysctlKey, SysctlValue> = self.wanted_settings().collect();
        for (key, written) in settings.writes.iter().take(at_most) {
            let kept = wanted.get(key).is_none_or(|value| *value == written.value);
            assert!(kept, "{key} is wanted and there, and taken away");
            write(sysctls, key, written.value);
        }
        if at_most >= settings.writes.len() {
            for (key, value) in wanted {
                assert_eq!(sysctls.values.get(key), Some(&value), "{key} was there");
            }
        }
    }

    fn wanted_settings(&self) -> impl Iterator<Item = (&'a SysctlKey, SysctlValue)> + use<'a, '_> {
        self.in_place.iter().filter_map(|thing| match thing {
            Thing::Sysctl(key, value) => Some((key, *value)),
            _ => None,
        })
    }

    fn translations_stay(&self, observed: &Observed) {
        let there = translations(&observed.egress);
        for thing in &self.in_place {
            if let Thing::Nat(rule) = thing {
                assert!(there.contains(&rule), "{rule} was there");
            }
        }
    }

    /// Each at most once, and only ours; none is made once one is gone.
    fn rules(&self, rules: &mut Vec<ObservedRule>) {
        let ours = |there: &ObservedRule, rule: &FibRule| {
            there.protocol == self.protocol && there.is_just(rule)
        };
        let mut is_one_gone = false;
        for (row, rule) in self.plan.rule_changes(self.removals) {
            let place = rules.iter().position(|there| ours(there, rule));
            match (row.verdict.removes(), place) {
                (true, Some(place)) => {
                    assert!(!self.in_place.contains(&&row.thing), "{rule} is wanted");
                    rules.remove(place);
                    is_one_gone = true;
                }
                (false, None) => {
                    assert!(!is_one_gone, "{rule} is made after another is gone");
                    rules.push(ObservedRule {
                        rule: rule.clone(),
                        protocol: self.protocol,
                        extra: false,
                    });
                }
                (true, None) => panic!("{rule} is not there"),
                (false, Some(_)) => panic!("{rule} is there already"),
            }
        }
    }
}

/// What is remembered once nothing is left to be written.
pub(crate) fn forget(plan: &Plan, observed: &mut Observed) {
    let settings = plan
        .egress
        .work
        .settings(plan.removals == Removals::Allowed);
    if settings.writes.is_empty() {
        let remembered = &mut observed.egress.sysctls.remembered;
        remembered.clone_from(&settings.remember);
    }
}

fn set_nat(egress: &mut ObservedEgress, rules: &[(NatRule, Counters)]) {
    assert!(
        !matches!(egress.nat, NatObserved::Unavailable(_)),
        "there is no nftables"
    );
    egress.nat = match rules {
        [] => NatObserved::Absent,
        rules => NatObserved::Present {
            rules: rules.to_vec(),
            intact: true,
        },
    };
}

/// The rules of our table.
pub(crate) fn translations(egress: &ObservedEgress) -> Vec<&NatRule> {
    match &egress.nat {
        NatObserved::Present { rules, .. } => rules.iter().map(|(rule, _)| rule).collect(),
        _ => Vec::new(),
    }
}

/// Rules that no plan may touch.
pub(crate) fn foreign_rules(egress: &ObservedEgress, protocol: Protocol) -> Vec<ObservedRule> {
    let rules = egress.rules.iter();
    let foreign = rules.filter(|rule| rule.protocol != protocol || rule.extra);
    foreign.cloned().collect()
}
