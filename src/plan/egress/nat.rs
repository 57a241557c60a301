//! Source address translation: rules of our own nftables table, which is written as a whole.

use std::sync::Arc;

use crate::model::egress::{Counters, NatObserved, NatRule, Thing};
use crate::model::{Observed, State};

use super::{EgressPlan, EgressVerdict, Reason, ReasonCode, STAYS, ThingClaim, removal};

const CHANGED: &str = "somebody changed the nftables table of srsync: it is made anew as a whole";

pub(super) fn plan(claims: &[&ThingClaim], observed: &Observed, plan: &mut EgressPlan) {
    let (there, intact, exists): (&[(NatRule, Counters)], bool, bool) = match &observed.egress.nat {
        NatObserved::Unavailable(why) => return unavailable(claims, why, plan),
        NatObserved::Unknown | NatObserved::Absent => (&[], true, false),
        NatObserved::Present { rules, intact } => (rules, *intact, true),
    };
    plan.owned += there.len();
    let mut wanted: Vec<(NatRule, Counters)> = Vec::new();
    for claim in claims {
        let Thing::Nat(rule) = &claim.thing else {
            continue;
        };
        let just = there.iter().find(|(other, _)| other == rule);
        let same = just.or_else(|| there.iter().find(|(other, _)| is_same(other, rule)));
        let counters = same.map(|(_, counters)| *counters);
        if let Some(reason) = &claim.undecided {
            let mut row = claim.blocked(State::Pending, reason.clone());
            row.counters = counters;
            row.warning = same.map(|_| STAYS.into());
            plan.rows.push(row);
            wanted.extend(same.cloned());
            continue;
        }
        let verdict = match same {
            Some((other, _)) if other == rule && intact => EgressVerdict::Keep,
            Some((other, _)) => EgressVerdict::Replace(Thing::Nat(other.clone())),
            None => EgressVerdict::Add,
        };
        wanted.push((rule.clone(), counters.unwrap_or_default()));
        let mut row = claim.row(verdict);
        row.counters = counters;
        if !intact {
            row.warning = Some(CHANGED.into());
        }
        plan.rows.push(row);
    }
    let unwanted =
        |(rule, _): &&(NatRule, Counters)| !wanted.iter().any(|(wanted, _)| is_same(wanted, rule));
    let going: Vec<(NatRule, Counters)> = there.iter().filter(unwanted).cloned().collect();
    for (rule, counters) in &going {
        let mut row = removal(Thing::Nat(rule.clone()), None);
        row.counters = Some(*counters);
        plan.rows.push(row);
    }
    let is_there = |rules: &[(NatRule, Counters)]| {
        let (now, then) = (there.iter(), rules.iter());
        intact
            && exists != rules.is_empty()
            && now.map(|(rule, _)| rule).eq(then.map(|(rule, _)| rule))
    };
    let with_going = [&*wanted, &*going].concat();
    let nothing_known = with_going.is_empty();
    let adds = (!intact && !nothing_known)
        || wanted
            .iter()
            .any(|(rule, _)| !there.iter().any(|(other, _)| other == rule));
    // What goes alone is one writing, not two.
    plan.work.nat = (adds && !is_there(&with_going)).then_some(with_going);
    plan.work.nat_after = match going.is_empty() {
        true if plan.work.nat.is_some() || is_there(&wanted) => None,
        _ => Some(wanted),
    };
    plan.unread_goes = !intact && nothing_known;
    plan.owned += usize::from(plan.unread_goes);
}

/// A rule is known by its document and family, whatever it says. Very long names can look alike.
fn is_same(a: &NatRule, b: &NatRule) -> bool {
    (&a.name, a.family) == (&b.name, b.family)
}

fn unavailable(claims: &[&ThingClaim], why: &str, plan: &mut EgressPlan) {
    let reason = Arc::new(Reason::new(ReasonCode::NoNftables, why));
    let rows = claims.iter().map(|claim| match &claim.undecided {
        Some(undecided) => claim.blocked(State::Pending, undecided.clone()),
        None => claim.blocked(State::Failed, reason.clone()),
    });
    plan.rows.extend(rows);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::egress::{ObservedEgress, Translation};
    use crate::model::{Family, FileId, Place};
    use crate::plan::Claim;

    fn rule(name: &str, source: &str) -> NatRule {
        NatRule {
            name: name.to_owned(),
            family: Family::V4,
            sources: vec![source.parse().unwrap()],
            destinations: Vec::new(),
            except: Vec::new(),
            out_interfaces: Vec::new(),
            translation: Translation::Masquerade,
        }
    }

    fn planned(wanted: &[NatRule], nat: NatObserved) -> EgressPlan {
        let claims: Vec<ThingClaim> = (0..)
            .zip(wanted)
            .map(|(document, rule)| ThingClaim {
                thing: Thing::Nat(rule.clone()),
                claim: Claim {
                    document,
                    place: Place {
                        file: FileId(0),
                        line: 1,
                    },
                },
                undecided: None,
            })
            .collect();
        let observed = Observed {
            egress: ObservedEgress {
                nat,
                ..ObservedEgress::default()
            },
            ..Observed::default()
        };
        let mut plan = EgressPlan::default();
        super::plan(&claims.iter().collect::<Vec<_>>(), &observed, &mut plan);
        plan
    }

    fn present(rules: &[NatRule], intact: bool) -> NatObserved {
        let counters = Counters {
            packets: 7,
            bytes: 420,
        };
        NatObserved::Present {
            rules: rules.iter().map(|rule| (rule.clone(), counters)).collect(),
            intact,
        }
    }

    fn names(rules: &Option<Vec<(NatRule, Counters)>>) -> Option<Vec<&str>> {
        let rules = rules.as_ref()?;
        Some(rules.iter().map(|(rule, _)| &*rule.name).collect())
    }

    #[test]
    fn what_is_there_is_left_alone() {
        let rules = [rule("a", "10.1.0.0/16"), rule("b", "10.2.0.0/16")];
        let plan = planned(&rules, present(&rules, true));
        assert!(plan.is_settled(true));
        assert!(planned(&[], NatObserved::Absent).is_settled(true));
        assert!(planned(&[], NatObserved::Unknown).is_settled(true));
    }

    #[test]
    fn a_new_rule_comes_at_once_and_an_old_one_goes_last() {
        let (old, new) = (rule("a", "10.1.0.0/16"), rule("b", "10.2.0.0/16"));
        let plan = planned(std::slice::from_ref(&new), present(&[old], true));
        assert_eq!(names(&plan.work.nat), Some(vec!["b", "a"]));
        assert_eq!(names(&plan.work.nat_after), Some(vec!["b"]));
    }

    #[test]
    fn a_rule_that_only_goes_is_one_writing() {
        let plan = planned(&[], present(&[rule("a", "10.1.0.0/16")], true));
        assert_eq!(plan.work.nat, None);
        assert_eq!(names(&plan.work.nat_after), Some(vec![]));
    }

    #[test]
    fn a_changed_rule_keeps_on_counting() {
        let plan = planned(
            &[rule("a", "10.2.0.0/16")],
            present(&[rule("a", "10.1.0.0/16")], true),
        );
        let written = plan.work.nat.unwrap();
        assert_eq!(written.first().unwrap().1.packets, 7);
        assert_eq!(plan.work.nat_after, None);
        assert!(matches!(plan.rows[0].verdict, EgressVerdict::Replace(_)));
    }

    #[test]
    fn a_table_that_somebody_changed_is_written_again() {
        let rules = [rule("a", "10.1.0.0/16")];
        let plan = planned(&rules, present(&rules, false));
        assert!(!plan.is_settled(true));
        assert_eq!(names(&plan.work.nat), Some(vec!["a"]));
    }

    #[test]
    fn rules_of_documents_whose_long_names_begin_alike_are_kept() {
        let rules = [rule("a", "10.1.0.0/16"), rule("a", "10.2.0.0/16")];
        let plan = planned(&rules, present(&rules, true));
        assert!(plan.is_settled(true), "{plan:?}");
        let plan = planned(&rules[1..], present(&rules, true));
        assert_eq!(names(&plan.work.nat_after), Some(vec!["a"]));
    }

    #[test]
    fn a_table_in_which_nothing_can_be_read_goes_last_and_counts_as_removed() {
        let plan = planned(&[], present(&[], false));
        assert_eq!(plan.work.nat, None);
        assert_eq!(names(&plan.work.nat_after), Some(vec![]));
        assert_eq!(plan.removed(), 1);
        assert!(plan.is_settled(false));
        let plan = planned(&[rule("a", "10.1.0.0/16")], present(&[], false));
        assert_eq!(names(&plan.work.nat), Some(vec!["a"]));
        assert_eq!(plan.removed(), 0);
    }

    #[test]
    fn without_nftables_it_is_said_and_nothing_is_written() {
        let plan = planned(
            &[rule("a", "10.1.0.0/16")],
            NatObserved::Unavailable("no".into()),
        );
        let EgressVerdict::Blocked(blocked) = &plan.rows[0].verdict else {
            panic!("{plan:?}");
        };
        assert_eq!(blocked.state, State::Failed);
        assert_eq!(blocked.reason.code, ReasonCode::NoNftables);
        assert!(plan.is_settled(true));
    }
}
