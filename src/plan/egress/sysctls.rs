//! Settings as rows: what each document asks for, and what goes back to what it was.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::egress::{SysctlKey, SysctlValue, Sysctls, Thing};
use crate::model::{Egress, State};
use crate::plan::claims::Choice;

use super::forwarding::{
    self, Asked, ForwardingPlan, Selected, Unwanted, Verdict, Wanted, Warning, Why,
};
use super::{
    Claim, EgressPlan, EgressRow, EgressVerdict, Inputs, Reason, ReasonCode, STAYS, ThingClaim,
    conflict, removal,
};

pub(super) fn plan(
    inputs: &Inputs<'_>,
    selected: &[Choice],
    sysctls: &Sysctls,
    plan: &mut EgressPlan,
) {
    let documents = inputs.egress.iter().zip(selected);
    let for_us = documents.filter(|(_, choice)| !matches!(choice, Choice::No(_)));
    let wanted = forwarding::wanted(for_us.map(|(egress, choice)| Selected {
        egress,
        decided: *choice == Choice::Yes,
    }));
    let settings = forwarding::plan(sysctls, &wanted.values, Unwanted::Restore);
    let judge = Judge {
        inputs,
        selected,
        sysctls,
        settings: &settings,
        warnings: forwarding::warnings(sysctls, &wanted.values),
    };
    plan.rows
        .extend(wanted.asked.iter().map(|asked| judge.row(asked)));
    let going = judge.going(&wanted);
    plan.owned += going.len() + judge.held(&wanted);
    plan.rows.extend(going);
    plan.work.settings_kept = forwarding::plan(sysctls, &wanted.values, Unwanted::Keep);
    // What changes by itself with something else is no removal that a guard would see.
    let incomplete = inputs.incomplete.is_some() || super::undecided(inputs).is_some();
    plan.work.settings = match incomplete {
        true => plan.work.settings_kept.clone(),
        false => settings,
    };
    plan.work.remembered = sysctls.remembered.clone();
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
    selected: &'a [Choice],
    sysctls: &'a Sysctls,
    settings: &'a ForwardingPlan,
    warnings: Vec<Warning>,
}

impl Judge<'_> {
    fn row(&self, asked: &Asked<'_>) -> EgressRow {
        let claim = claim(self.inputs, asked);
        let Asked { key, .. } = asked;
        let choice = self.selected.get(claim.claim.document as usize);
        if let Some(reason) = choice.and_then(Choice::undecided) {
            let mut row = claim.blocked(State::Pending, reason.clone());
            row.warning = self.stays(asked).then(|| STAYS.into());
            return row;
        }
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

    /// Whether it is as a document asks that may be for this node, by our doing.
    fn stays(&self, asked: &Asked<'_>) -> bool {
        let is_so = self.sysctls.values.get(&asked.key) == Some(&asked.value);
        is_so && self.sysctls.remembered.contains_key(&asked.key)
    }

    /// What goes back because no document asks for it any more, or is again as all interfaces are. What went along with
    /// the setting of all interfaces comes back with it, without a word about each.
    fn going(&self, wanted: &Wanted<'_>) -> Vec<EgressRow> {
        let writes = &self.settings.writes;
        let goes = |write: &forwarding::Write| write.why != Why::Wanted;
        let goes_along = |key: &SysctlKey| {
            let all = forwarding::overwritten_with(key);
            all.is_some_and(|all| writes.get(&all).is_some_and(goes))
        };
        let asked = |key: &SysctlKey| wanted.asked.iter().any(|asked| asked.key == *key);
        let going = writes
            .iter()
            .filter(|(key, write)| goes(write) && !goes_along(key) && !asked(key));
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
