//! Why what carries changed, in words.

use super::choose::{Carry, Member, Standing, Will};
use super::via::Via;

/// Why `after` follows `before`; `None` if they are the same, and for a first choice that works.
pub(super) fn why(
    before: Option<&Carry<Via>>,
    after: &Carry<Via>,
    members: &[Member],
) -> Option<String> {
    let has = |list: &[Via], via: &Via| list.iter().any(|other| other.is(via));
    let old = before.map_or(&[][..], Carry::gateways);
    let new = after.gateways();
    let left: Vec<&Via> = old.iter().filter(|via| !has(new, via)).collect();
    let joined: Vec<&Via> = new.iter().filter(|via| !has(old, via)).collect();
    let same_kind = before
        .is_some_and(|before| std::mem::discriminant(before) == std::mem::discriminant(after));
    if same_kind && left.is_empty() && joined.is_empty() {
        return None;
    }
    let Carry::Gateways(_) = after else {
        return Some(none_works(members));
    };
    let before = before?;
    let find = |via: &Via| members.iter().find(|member| member.via.is(via));
    let leaving = left.iter().filter_map(|via| match find(via) {
        Some(member) => why_left(member),
        None => Some(format!("{via} is no longer a gateway of the document")),
    });
    let mut reasons: Vec<String> = leaving.collect();
    if reasons.is_empty() || !matches!(before, Carry::Gateways(_)) {
        // After an outage that all have heard of, what counts is who came back.
        let arrived = match matches!(before, Carry::Gateways(_)) {
            true => joined,
            false => new.iter().collect(),
        };
        reasons = arrived
            .into_iter()
            .filter_map(find)
            .map(why_joined)
            .collect();
    }
    match reasons.is_empty() {
        true => Some("the document asks for it".to_owned()),
        false => Some(reasons.join("; ")),
    }
}

fn why_left(member: &Member) -> Option<String> {
    let via = &member.via;
    match (&member.standing, member.will) {
        (Standing::LinkDown(cause), _) => Some(format!("{via} cannot be used: {cause}")),
        (Standing::Down(cause), Will::Auto | Will::Drained) => {
            Some(format!("{via} is down: {cause}"))
        }
        (_, Will::Drained) => Some(format!("{via} is drained")),
        _ => None,
    }
}

fn why_joined(member: &Member) -> String {
    let via = &member.via;
    match (&member.standing, member.will) {
        (_, Will::ForcedUp) => format!("{via} is declared healthy"),
        (Standing::Settled, _) => format!("{via} has been healthy for its hold-down"),
        (Standing::Unproven, _) => format!("{via} is taken as healthy until proven otherwise"),
        _ => format!("{via} is healthy again"),
    }
}

fn none_works(members: &[Member]) -> String {
    let unproven = |member: &Member| format!("{} has not answered yet", member.via);
    let why_not = |member| why_left(member).unwrap_or_else(|| unproven(member));
    let causes: Vec<String> = members.iter().map(why_not).collect();
    format!("no gateway works: {}", causes.join("; "))
}
