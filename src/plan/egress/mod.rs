//! Documents besides routes × what the kernel has → one verdict for every thing that is wanted or ours.
//!
//! The same as for routes: a document first by name wins, what a document claims is never removed, a guard says why
//! and names the setting, removals wait for complete knowledge. One file for each kind of thing.

pub mod forwarding;
mod nat;
mod rules;
mod sysctls;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::egress::{
    Counters, EgressSpec, FibRule, NatObserved, NatRule, Remembered, SysctlKey, Thing,
};
use crate::model::{Egress, EgressKind, Observed, Protocol, RouteKey, State, TableId};

use forwarding::ForwardingPlan;

use super::claims::{self, Choice};
use super::{Blocked, Claim, DocumentVerdict, Inputs, Reason, ReasonCode};

/// Said of what a document asks for and cannot have for now, although it is there.
const STAYS: &str = "it is there, and stays";

/// What happens to one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EgressVerdict {
    /// There, and as wanted.
    Keep,
    /// Not there.
    Add,
    /// There, but different.
    Replace(Thing),
    /// Ours, and no document asks for it. A setting goes back to what it was before.
    Remove(Option<Thing>),
    /// Wanted, but it cannot or must not be.
    Blocked(Box<Blocked>),
}

/// One thing and its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressRow {
    /// What is wanted, or what goes.
    pub thing: Thing,
    /// Who asks for it: an index into [`Inputs::egress`]; `None` for a removal.
    pub claim: Option<Claim>,
    /// What happens.
    pub verdict: EgressVerdict,
    /// Something a person should know although the thing is in place.
    pub warning: Option<Box<str>>,
    /// What it did until now, where that is counted.
    pub counters: Option<Counters>,
}

/// The difference in everything but routes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EgressPlan {
    /// One row for every thing that is wanted or ours, by kind.
    pub rows: Vec<EgressRow>,
    /// For each of [`Inputs::egress`].
    pub documents: Vec<DocumentVerdict>,
    /// How many things of ours the kernel had.
    pub owned: usize,
    /// Our nftables table goes, and nothing in it could be read as a rule: there is no row of it.
    pub unread_goes: bool,
    /// What is to be written in order that the rows come true.
    pub work: EgressWork,
}

/// What is written, in this order, before routes and rules; the rest of it after them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EgressWork {
    /// Settings, where removals are allowed.
    pub settings: ForwardingPlan,
    /// Settings, where nothing that is there may go.
    pub settings_kept: ForwardingPlan,
    /// What is remembered of settings now.
    pub remembered: BTreeMap<SysctlKey, Remembered>,
    /// Our nftables table with all that is wanted and all that is still to go; `None` leaves it as it is.
    pub nat: Option<Vec<(NatRule, Counters)>>,
    /// The same without what is to go.
    pub nat_after: Option<Vec<(NatRule, Counters)>>,
}

impl EgressWork {
    /// What is done about settings.
    pub fn settings(&self, removals_allowed: bool) -> &ForwardingPlan {
        match removals_allowed {
            true => &self.settings,
            false => &self.settings_kept,
        }
    }
}

/// Whether settings have to be read for these documents.
pub fn wants_settings(inputs: &Inputs<'_>) -> bool {
    let mut documents = inputs.egress.iter();
    documents.any(|egress| egress.kind() == EgressKind::Forwarding)
}

impl EgressPlan {
    /// Whether carrying it out would change nothing. Removals count only where they are allowed.
    pub fn is_settled(&self, removals_allowed: bool) -> bool {
        let changes = |row: &EgressRow| row.verdict.changes(removals_allowed);
        let work = &self.work;
        let unseen = work.nat.is_some()
            || (removals_allowed && work.nat_after.is_some())
            || !work.settings(removals_allowed).writes.is_empty();
        !unseen && !self.rows.iter().any(changes)
    }

    /// The rules to be made and removed, in this order: whatever a packet finds in between, no rule is missing that was
    /// there and stays, or that is to replace one that goes.
    pub fn rule_changes(&self, removals_allowed: bool) -> Vec<(&EgressRow, &FibRule)> {
        let changes = self.rows.iter().filter_map(|row| match &row.thing {
            Thing::Rule(rule) if row.verdict.changes(removals_allowed) => Some((row, rule)),
            _ => None,
        });
        let mut changes: Vec<_> = changes.collect();
        changes.sort_by_key(|(row, _)| row.verdict.removes());
        changes
    }

    /// How many things no document asks for any more.
    pub(super) fn removed(&self) -> usize {
        let removed = self.rows.iter().filter(|row| row.verdict.removes());
        removed.count() + usize::from(self.unread_goes)
    }

    /// Whether any document asks for anything.
    pub(super) fn wants_something(&self) -> bool {
        self.rows.iter().any(|row| row.claim.is_some())
    }
}

impl EgressVerdict {
    /// Whether the thing goes.
    pub fn removes(&self) -> bool {
        matches!(self, Self::Remove(_))
    }

    /// Whether carrying it out changes anything.
    pub fn changes(&self, removals_allowed: bool) -> bool {
        match self {
            Self::Add | Self::Replace(_) => true,
            Self::Remove(_) => removals_allowed,
            Self::Keep | Self::Blocked(_) => false,
        }
    }
}

/// A thing that a document wants.
struct ThingClaim {
    thing: Thing,
    claim: Claim,
    /// Why nobody knows whether the document is for this node, where that is so.
    undecided: Option<Arc<Reason>>,
}

impl ThingClaim {
    fn blocked(&self, state: State, reason: Arc<Reason>) -> EgressRow {
        EgressRow {
            thing: self.thing.clone(),
            claim: Some(self.claim),
            verdict: EgressVerdict::Blocked(Box::new(Blocked {
                state,
                reason,
                occupant: None,
            })),
            warning: None,
            counters: None,
        }
    }

    fn row(&self, verdict: EgressVerdict) -> EgressRow {
        EgressRow {
            thing: self.thing.clone(),
            claim: Some(self.claim),
            verdict,
            warning: None,
            counters: None,
        }
    }
}

/// Something that no document asks for.
fn removal(thing: Thing, back: Option<Thing>) -> EgressRow {
    EgressRow {
        thing,
        claim: None,
        verdict: EgressVerdict::Remove(back),
        warning: None,
        counters: None,
    }
}

/// The tables that rules look into: whether they are empty matters.
pub(super) fn tables<'a>(inputs: &Inputs<'a>) -> impl Iterator<Item = TableId> + 'a {
    let usual = inputs.policy.table;
    inputs
        .egress
        .iter()
        .filter_map(move |egress| match &egress.spec {
            EgressSpec::RoutingRule(rule) => rule.table(usual),
            _ => None,
        })
}

/// What becomes of the slots that routes are wanted in, as far as rules need to know.
pub(super) struct Wanted<'a> {
    /// The slots that documents ask for.
    pub(super) slots: &'a [RouteKey],
}

/// Compares what is wanted besides routes with what is there. `slots` are those that routes are wanted in.
pub(super) fn plan(inputs: &Inputs<'_>, observed: &Observed, slots: &[RouteKey]) -> EgressPlan {
    let selected: Vec<Choice> = inputs
        .egress
        .iter()
        .map(|egress| claims::choose(inputs, &egress.selector))
        .collect();
    let claims = claims_of(inputs, &selected);
    let mut plan = EgressPlan {
        documents: selected.iter().zip(inputs.egress).map(verdict).collect(),
        ..EgressPlan::default()
    };
    let of = |kind| -> Vec<&ThingClaim> {
        let claims = claims.iter();
        claims.filter(|claim| claim.thing.kind() == kind).collect()
    };
    sysctls::plan(inputs, &selected, &observed.egress.sysctls, &mut plan);
    nat::plan(&of(EgressKind::Masquerade), observed, &mut plan);
    let wanted = Wanted { slots };
    rules::plan(
        inputs,
        &of(EgressKind::RoutingRule),
        (observed, &wanted),
        &mut plan,
    );
    plan
}

/// Why the documents' selectors decide nothing yet, if one does not.
pub(super) fn undecided(inputs: &Inputs<'_>) -> Option<Arc<Reason>> {
    let choices = inputs.egress.iter();
    let mut choices = choices.map(|egress| claims::choose(inputs, &egress.selector));
    choices.find_map(|choice| choice.undecided().cloned())
}

fn verdict((choice, egress): (&Choice, &Egress)) -> DocumentVerdict {
    DocumentVerdict {
        not_selected: match choice {
            Choice::No(reason) => Some(reason.clone()),
            Choice::Yes | Choice::Perhaps(_) => None,
        },
        notes: egress.notes.clone(),
    }
}

/// What the selected documents want of our nftables table and of rules, in the order of documents.
fn claims_of(inputs: &Inputs<'_>, selected: &[Choice]) -> Vec<ThingClaim> {
    let mut claims = Vec::new();
    for (index, (egress, choice)) in (0u32..).zip(inputs.egress.iter().zip(selected)) {
        if matches!(choice, Choice::No(_)) {
            continue;
        }
        let things: Vec<Thing> = match &egress.spec {
            EgressSpec::Forwarding(_) => Vec::new(),
            EgressSpec::Masquerade(wanted) => {
                NatRule::of(&egress.id, wanted).map(Thing::Nat).collect()
            }
            EgressSpec::RoutingRule(wanted) => {
                let rules = FibRule::of(wanted, inputs.policy.table);
                rules.map(Thing::Rule).collect()
            }
        };
        claims.extend(things.into_iter().map(|thing| ThingClaim {
            thing,
            claim: Claim {
                document: index,
                place: egress.place,
            },
            undecided: choice.undecided().cloned(),
        }));
    }
    claims
}

/// Another document is first by name.
fn conflict(inputs: &Inputs<'_>, winner: Claim, what: &str, advice: &str) -> Arc<Reason> {
    let egress = inputs.egress.get(winner.document as usize);
    let file = inputs.files.get(winner.place.file.0 as usize);
    let name = egress.map_or_else(String::new, |egress| egress.id.to_string());
    let file = file.map_or("", |file| &*file.label);
    let message = format!(
        "{what} by document {name} ({file}:{}), which is first by name; {advice}",
        winner.place.line
    );
    Arc::new(Reason::new(ReasonCode::OtherDocument, message))
}

/// Every thing of ours as it is, for those who ask without documents.
pub(super) fn inventory(observed: &Observed, protocol: Protocol) -> EgressPlan {
    let keep = |thing, counters| EgressRow {
        thing,
        claim: None,
        verdict: EgressVerdict::Keep,
        warning: None,
        counters,
    };
    let egress = &observed.egress;
    let settings = egress
        .sysctls
        .remembered
        .iter()
        .filter_map(|(key, remembered)| {
            let is_held = egress.sysctls.values.get(key) == Some(&remembered.set);
            is_held.then(|| keep(Thing::Sysctl(key.clone(), remembered.set), None))
        });
    let nat = match &egress.nat {
        NatObserved::Present { rules, .. } => rules.as_slice(),
        _ => &[],
    };
    let nat = nat
        .iter()
        .map(|(rule, counters)| keep(Thing::Nat(rule.clone()), Some(*counters)));
    let rules = egress
        .rules
        .iter()
        .filter(|there| there.protocol == protocol && !there.extra);
    let rules = rules.map(|there| keep(Thing::Rule(there.rule.clone()), None));
    let rows: Vec<EgressRow> = settings.chain(nat).chain(rules).collect();
    EgressPlan {
        owned: rows.len(),
        rows,
        ..EgressPlan::default()
    }
}
