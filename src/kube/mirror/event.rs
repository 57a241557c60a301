//! What is worth an Event: a document's routes came into place, go another way, or are not in place. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::entry::{Entry, Problem};

/// No message is longer, in characters: the API cuts or refuses more.
const LONGEST: usize = 1000;

/// One thing to tell of a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Event {
    /// In a word, for machines: `Installed`, `GatewayChanged`, `Failover`, or the state of the routes.
    pub(super) reason: &'static str,
    /// A person should look.
    pub(super) warning: bool,
    /// What, for people; without the node and the document.
    pub(super) message: String,
}

impl Event {
    fn new(reason: &'static str, warning: bool, message: &str) -> Self {
        let message = message.chars().take(LONGEST).collect();
        Self {
            reason,
            warning,
            message,
        }
    }

    /// What is new about a document; `fallen` says of a gateway why it is down, if it is.
    pub(super) fn of(
        before: Option<&Entry>,
        now: &Entry,
        fallen: impl Fn(IpAddr) -> Option<String>,
    ) -> Option<Self> {
        match (before, now.worst()) {
            (Some(before), Some(problem)) if before.worst().is_some_and(|p| p.is_like(problem)) => {
                None
            }
            (_, Some(problem)) => Some(not_in_place(now, problem)),
            (Some(before), None) if before.is_ready() => moved(before, now, fallen),
            (_, None) if now.routes == 0 => None,
            (_, None) => {
                let message = format!("{} in place{}", routes(now.routes), via(&now.gateways));
                Some(Self::new("Installed", false, &message))
            }
        }
    }

    /// One for many documents.
    pub(super) fn of_many(count: usize, (name, first): (&str, &Self)) -> Self {
        let message = format!("{count} documents, {name} among them: {}", first.message);
        Self::new(first.reason, first.warning, &message)
    }
}

fn not_in_place(now: &Entry, problem: &Problem) -> Event {
    let Problem {
        prefix,
        state,
        reason,
        ..
    } = problem;
    let message = match now.routes - now.installed {
        1 => format!("{prefix} is {state}: {reason}"),
        bad => format!(
            "{bad} of {} are not in place; {prefix} is {state}: {reason}",
            routes(now.routes)
        ),
    };
    Event::new(state.name(), true, &message)
}

/// Other gateways carry than before.
fn moved(before: &Entry, now: &Entry, fallen: impl Fn(IpAddr) -> Option<String>) -> Option<Event> {
    if before.gateways == now.gateways {
        return None;
    }
    let left = before.gateways.difference(&now.gateways);
    let fallen = left.copied().find_map(|gateway| {
        let cause = fallen(gateway)?;
        Some(format!("{gateway} is down: {cause}"))
    });
    let (now_via, was_via) = (via(&now.gateways), via(&before.gateways));
    let message = format!("{} now{now_via}, before{was_via}", routes(now.routes));
    Some(match fallen {
        Some(cause) => Event::new("Failover", true, &format!("{message}; {cause}")),
        None => Event::new("GatewayChanged", false, &message),
    })
}

fn routes(count: usize) -> String {
    match count {
        1 => "1 route".to_owned(),
        _ => format!("{count} routes"),
    }
}

fn via(gateways: &BTreeSet<IpAddr>) -> String {
    let gateways: Vec<String> = gateways.iter().map(ToString::to_string).collect();
    match gateways.is_empty() {
        true => " without a gateway".to_owned(),
        false => format!(" via {}", gateways.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::State;
    use crate::report::ReasonCode;

    fn ready(gateways: &[&str]) -> Entry {
        Entry {
            state: State::Installed,
            routes: 2000,
            installed: 2000,
            gateways: gateways.iter().map(|g| g.parse().unwrap()).collect(),
            problems: Vec::new(),
            good: Vec::new(),
        }
    }

    fn troubled(bad: usize, state: State, code: ReasonCode, reason: &str) -> Entry {
        let problem = Problem {
            prefix: "192.0.2.0/24".parse().unwrap(),
            state,
            code: Some(code),
            reason: reason.to_owned(),
        };
        Entry {
            state,
            installed: 2000 - bad,
            problems: vec![problem; bad.min(10)],
            ..ready(&[])
        }
    }

    fn said(before: Option<&Entry>, now: &Entry) -> String {
        let fallen = |gateway: IpAddr| {
            let is_down = gateway == IpAddr::from([10, 0, 0, 1]);
            is_down.then(|| "3 of 3 ICMP probes timed out".to_owned())
        };
        Event::of(before, now, fallen).map_or_else(String::new, |event| {
            let sign = if event.warning { '!' } else { ' ' };
            format!("{sign}{}: {}", event.reason, event.message)
        })
    }

    #[test]
    fn routes_that_come_into_place_and_go_another_way_are_told_once() {
        let (a, b, c) = (
            ready(&["10.0.0.1"]),
            ready(&["10.0.0.2"]),
            ready(&["10.0.0.3"]),
        );
        assert_eq!(
            said(None, &a),
            " Installed: 2000 routes in place via 10.0.0.1"
        );
        assert_eq!(said(Some(&a), &a), "");
        assert_eq!(
            said(Some(&a), &b),
            "!Failover: 2000 routes now via 10.0.0.2, before via 10.0.0.1; 10.0.0.1 is down: 3 of 3 ICMP probes timed out"
        );
        assert_eq!(
            said(Some(&b), &c),
            " GatewayChanged: 2000 routes now via 10.0.0.3, before via 10.0.0.2"
        );
        // Back to one that is still said to be down is nobody's failover.
        assert_eq!(
            said(Some(&b), &a),
            " GatewayChanged: 2000 routes now via 10.0.0.1, before via 10.0.0.2"
        );
    }

    #[test]
    fn many_routes_that_fail_are_one_event_with_their_number() {
        let good = ready(&["10.0.0.1"]);
        let refused = troubled(
            2000,
            State::Refused,
            ReasonCode::ProtectedSubnet,
            "it is protected",
        );
        assert_eq!(
            said(Some(&good), &refused),
            "!Refused: 2000 of 2000 routes are not in place; 192.0.2.0/24 is Refused: it is protected"
        );
        let one = troubled(1, State::Failed, ReasonCode::Kernel, "the kernel says no");
        assert_eq!(
            said(Some(&refused), &one),
            "!Failed: 192.0.2.0/24 is Failed: the kernel says no"
        );
        // The same in other words, or of fewer routes, is no news.
        let fewer = troubled(
            7,
            State::Refused,
            ReasonCode::ProtectedSubnet,
            "again in 3 s",
        );
        assert_eq!(said(Some(&refused), &fewer), "");
        assert_eq!(
            said(Some(&one), &good),
            " Installed: 2000 routes in place via 10.0.0.1"
        );
    }

    #[test]
    fn a_message_has_an_end() {
        let long = troubled(1, State::Failed, ReasonCode::Kernel, &"x".repeat(5000));
        assert!(said(None, &long).len() < 1100);
    }
}
