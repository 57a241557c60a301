//! Settings as rows: what each document asks for, and what goes back to what it was.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::egress::{SysctlKey, SysctlValue, Sysctls, Thing};
use crate::model::{Egress, State};
use crate::plan::claims::Choice;

use super::forwarding::{self, Asked, ForwardingPlan, Unwanted, Verdict, Wanted, Warning, Why};
use super::{
    Claim, EgressPlan, EgressRow, EgressVerdict, Inputs, Reason, ReasonCode, ThingClaim, conflict,
    removal,
};

pub(super) fn plan(
    inputs: &Inputs<'_>,
    selected: &[Choice],
    sysctls: &Sysctls,
    plan: &mut EgressPlan,
) {
    let of = |wanted: fn(&Choice) -> bool| -> Vec<&Egress> {
        let documents = inputs.egress.iter().zip(selected);
        let chosen = documents.filter(|(_, choice)| wanted(choice));
        chosen.map(|(egress, _)| egress).collect()
    };
    let wanted = forwarding::wanted(of(|choice| matches!(choice, Choice::Yes)));
    let settings = forwarding::plan(sysctls, &wanted.values, Unwanted::Restore);
    let judge = Judge {
        inputs,
        sysctls,
        settings: &settings,
        warnings: forwarding::warnings(sysctls, &wanted.values),
    };
    plan.rows
        .extend(wanted.asked.iter().map(|asked| judge.row(asked)));
    plan.rows.extend(undecided(inputs, selected));
    let going = judge.going(&wanted);
    plan.owned += going.len() + judge.held(&wanted);
    plan.rows.extend(going);
    plan.work.settings_kept = forwarding::plan(sysctls, &wanted.values, Unwanted::Keep);
    plan.work.settings = settings;
    plan.work.remembered = sysctls.remembered.clone();
}

/// What documents ask for of which nobody knows yet whether they are for this node.
fn undecided<'a>(
    inputs: &'a Inputs<'_>,
    selected: &'a [Choice],
) -> impl Iterator<Item = EgressRow> + 'a {
    let documents = inputs.egress.iter().zip(selected);
    documents.flat_map(move |(egress, choice)| {
        let reason = choice.undecided().cloned();
        let asked = forwarding::wanted(reason.iter().map(|_| egress)).asked;
        let row = move |asked: Asked<'_>| {
            let claim = claim(inputs, &asked);
            Some(claim.blocked(State::Pending, reason.clone()?))
        };
        asked.into_iter().filter_map(row)
    })
}

fn claim(inputs: &Inputs<'_>, asked: &Asked<'_>) -> ThingClaim {
    ThingClaim {
        thing: Thing::Sysctl(asked.key.clone(), asked.value),
        claim: document(inputs, asked.by),
        undecided: None,
    }
}

fn document(inputs: &Inputs<'_>, egress: &Egress) -> Claim {
    let mut documents = (0u32..).zip(inputs.egress);
    let index = documents.find(|(_, other)| std::ptr::eq(*other, egress));
    Claim {
        document: index.map_or(0, |(index, _)| index),
        place: egress.place,
    }
}

struct Judge<'a> {
    inputs: &'a Inputs<'a>,
    sysctls: &'a Sysctls,
    settings: &'a ForwardingPlan,
    warnings: Vec<Warning>,
}

impl Judge<'_> {
    fn row(&self, asked: &Asked<'_>) -> EgressRow {
        let claim = claim(self.inputs, asked);
        let Asked { key, .. } = asked;
        if let Some(winner) = asked.lost_to {
            let what = format!("{key} is set to another value");
            let winner = document(self.inputs, winner);
            let advice = "only one of the two can have it";
            let reason = conflict(self.inputs, winner, &what, advice);
            return claim.blocked(State::Conflict, reason);
        }
        let verdict = match (self.settings.verdicts.get(key), &self.sysctls.read_only) {
            (Some(Verdict::Set(_)), Some(why)) => {
                let reason = Arc::new(Reason::new(ReasonCode::ReadOnly, why));
                return claim.blocked(State::Failed, reason);
            }
            (Some(Verdict::Set(from)), None) => {
                EgressVerdict::Replace(Thing::Sysctl(key.clone(), *from))
            }
            (Some(Verdict::Keep), _) => EgressVerdict::Keep,
            (_, Some(why)) if self.sysctls.values.is_empty() => {
                let reason = Arc::new(Reason::new(ReasonCode::ReadOnly, why));
                return claim.blocked(State::Failed, reason);
            }
            (Some(Verdict::Missing) | None, _) => {
                return claim.blocked(State::Pending, Arc::new(missing(key)));
            }
        };
        let mut row = claim.row(verdict);
        row.warning = self.warning(key).map(Into::into);
        row
    }

    fn warning(&self, key: &SysctlKey) -> Option<String> {
        let is_about = |warning: &&Warning| match (warning, key) {
            (Warning::RpFilterOfAll { interface, .. }, SysctlKey::RpFilter(name)) => {
                interface == name
            }
            (Warning::IgnoresAdvertisements(names), SysctlKey::Forward(_, name)) => {
                names.contains(name) && key.is_ipv6()
            }
            (Warning::IgnoresAdvertisements(_), SysctlKey::ForwardAll(_)) => key.is_ipv6(),
            _ => false,
        };
        let found = self.warnings.iter().find(is_about);
        found.map(ToString::to_string)
    }

    /// What goes back because no document asks for it any more. What went along with the setting of all interfaces
    /// comes back with it, without a word about each.
    fn going(&self, wanted: &Wanted<'_>) -> Vec<EgressRow> {
        let writes = &self.settings.writes;
        let restored = |key: &SysctlKey| {
            writes
                .get(key)
                .is_some_and(|write| write.why == Why::Restored)
        };
        let is_told = |key: &SysctlKey| match key {
            SysctlKey::ForwardAll(_) | SysctlKey::RpFilter(_) => true,
            SysctlKey::Forward(family, _) => !restored(&SysctlKey::ForwardAll(*family)),
            _ => false,
        };
        let going = writes.iter().filter(|(key, write)| {
            write.why == Why::Restored && is_told(key) && !wanted.values.contains_key(key)
        });
        let row = |(key, write): (&SysctlKey, &forwarding::Write)| {
            let now: SysctlValue = *self.sysctls.values.get(key)?;
            let back = Thing::Sysctl(key.clone(), write.value);
            Some(removal(Thing::Sysctl(key.clone(), now), Some(back)))
        };
        going.filter_map(row).collect()
    }

    /// How many settings that are wanted are ours already.
    fn held(&self, wanted: &Wanted<'_>) -> usize {
        let remembered: &BTreeMap<SysctlKey, _> = &self.sysctls.remembered;
        wanted
            .values
            .keys()
            .filter(|key| remembered.contains_key(key))
            .count()
    }
}

fn missing(key: &SysctlKey) -> Reason {
    let message = match key.interface() {
        Some(name) => format!("there is no interface {name}, or it has no such setting ({key})"),
        None => format!("this kernel has no {key}: the family is switched off"),
    };
    Reason::new(ReasonCode::NoInterface, message)
}
