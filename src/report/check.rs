//! What connectivity checks come to on this node: one entry for each target, as data.

use std::time::Duration;

use serde::Serialize;

use super::gateway::seconds_if_any;
use crate::model::egress::{Answer, CheckTarget, CheckVerdict, Expectation};
use crate::model::probed::Loss;
use crate::model::{ConnectivityCheck, FileName, Timestamp};
use crate::plan::{Choice, Inputs, choose};

/// One target of a check, and how it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckStatus {
    /// The document.
    pub check: String,
    /// The file in which the target is written, as a person would open it.
    pub file: String,
    /// Its line, from 1.
    pub line: u32,
    /// The same place for people: `checks.yaml:7`.
    #[serde(skip)]
    pub place: String,
    /// What is asked: `icmp 192.168.2.10`.
    pub target: String,
    /// What is right.
    pub expect: Expectation,
    /// Whether it is so.
    pub verdict: CheckVerdict,
    /// Why that is the verdict, with the numbers.
    pub message: String,
    /// How long the last answer took. Absent where the last time brought none.
    #[serde(
        rename = "roundTripSeconds",
        serialize_with = "seconds_if_any",
        skip_serializing_if = "Option::is_none"
    )]
    pub round_trip: Option<Duration>,
    /// Since when the verdict is this one. Absent until there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When it was asked last. Absent until it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_asked: Option<Timestamp>,
}

impl CheckStatus {
    /// Every target of these checks, in their order, before anything is asked: also those that are not for this node.
    pub fn of_all(inputs: &Inputs<'_>, checks: &[ConnectivityCheck]) -> Vec<Self> {
        let targets = ConnectivityCheck::targets_of(checks);
        let status = |(check, target)| Self::not_asked_yet(inputs, check, target);
        targets.map(status).collect()
    }

    fn not_asked_yet(inputs: &Inputs<'_>, check: &ConnectivityCheck, target: &CheckTarget) -> Self {
        let (verdict, message) = match choose(inputs, &check.selector) {
            Choice::Yes => (CheckVerdict::Unknown, "not asked yet".to_owned()),
            Choice::Perhaps(reason) => (CheckVerdict::Unknown, reason.to_string()),
            Choice::No(reason) => (CheckVerdict::NotSelected, reason.to_string()),
        };
        let file: Option<&FileName> = inputs.files.get(target.place.file.0 as usize);
        let line = target.place.line;
        Self {
            check: check.id.to_string(),
            file: file.map(|file| file.path.to_string()).unwrap_or_default(),
            line,
            place: file.map_or_else(String::new, |file| format!("{}:{line}", file.label)),
            target: target.to_string(),
            expect: check.expect,
            verdict,
            message,
            round_trip: None,
            since: None,
            last_asked: None,
        }
    }

    /// Takes over what came of asking.
    pub fn asked(&mut self, check: &ConnectivityCheck, answer: &Answer, now: Timestamp) {
        let verdict = answer.verdict(self.expect);
        if self.verdict != verdict || self.since.is_none() {
            self.since = Some(now);
        }
        self.verdict = verdict;
        self.message = words(answer, check.attempts, check.timeout);
        self.round_trip = answer.round_trip();
        self.last_asked = Some(now);
    }

    /// `check far (checks.yaml:7): icmp 192.168.2.10 should be reachable`: the beginning of what is said of it.
    pub fn subject(&self) -> String {
        let expect = self.expect.name();
        let Self {
            check,
            place,
            target,
            ..
        } = self;
        format!("check {check} ({place}): {target} should be {expect}")
    }
}

/// What came of asking, in words.
fn words(answer: &Answer, allowed: u32, timeout: Duration) -> String {
    let timeout = match timeout.subsec_millis() {
        0 => format!("{} s", timeout.as_secs()),
        _ => format!("{} ms", timeout.as_millis()),
    };
    match answer {
        Answer::Given {
            round_trip,
            attempt,
        } => {
            let took = super::gateway_text::took(*round_trip);
            match attempt {
                1 => format!("answered in {took}"),
                _ => format!("answered in {took}, attempt {attempt} of {allowed}"),
            }
        }
        Answer::Other(loss) => format!("another answer: {loss}"),
        Answer::NotAsked(why) => format!("could not ask: {why}"),
        Answer::None {
            attempts,
            last: Loss::Timeout,
            timed_out,
        } if timed_out == attempts => match attempts {
            1 => format!("1 attempt timed out after {timeout}"),
            _ => format!("{attempts} of {attempts} attempts timed out after {timeout} each"),
        },
        Answer::None {
            attempts,
            timed_out,
            last,
        } => {
            let mut words = match attempts {
                1 => "no answer to 1 attempt".to_owned(),
                _ => format!("no answer to {attempts} of {attempts} attempts"),
            };
            if *timed_out > 0 {
                words += &format!(", {timed_out} timed out after {timeout}");
            }
            match last {
                Loss::Timeout => words,
                _ => format!("{words}; {last}"),
            }
        }
    }
}

/// What `srsync check` reports.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckReport<'a> {
    api_version: &'static str,
    kind: &'static str,
    /// This node's name.
    pub node: &'a str,
    /// When this was written.
    pub now: Timestamp,
    /// Whether all that is asked from this node is as it should be.
    pub as_expected: bool,
    /// How many targets there are of each verdict.
    pub summary: CheckSummary,
    /// Each target of each check.
    pub checks: &'a [CheckStatus],
}

/// How many targets there are of each verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckSummary {
    /// As they should be.
    pub passed: usize,
    /// Otherwise.
    pub failed: usize,
    /// Nobody knows.
    pub unknown: usize,
    /// Not for this node.
    pub not_selected: usize,
}

impl<'a> CheckReport<'a> {
    /// About these.
    pub fn new(node: &'a str, now: Timestamp, checks: &'a [CheckStatus]) -> Self {
        let count = |verdict| checks.iter().filter(|one| one.verdict == verdict).count();
        let summary = CheckSummary {
            passed: count(CheckVerdict::Passed),
            failed: count(CheckVerdict::Failed),
            unknown: count(CheckVerdict::Unknown),
            not_selected: count(CheckVerdict::NotSelected),
        };
        Self {
            api_version: "srsync.dev/v1alpha1",
            kind: "CheckReport",
            node,
            now,
            as_expected: summary.failed + summary.unknown == 0,
            summary,
            checks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_of_asking_is_said_with_the_numbers() {
        let say = |answer: &Answer| words(answer, 3, Duration::from_secs(2));
        let given = |attempt| Answer::Given {
            round_trip: Duration::from_micros(420),
            attempt,
        };
        assert_eq!(say(&given(1)), "answered in 0.42 ms");
        assert_eq!(say(&given(2)), "answered in 0.42 ms, attempt 2 of 3");
        let none = |attempts, timed_out, last| Answer::None {
            attempts,
            timed_out,
            last,
        };
        assert_eq!(
            say(&none(3, 3, Loss::Timeout)),
            "3 of 3 attempts timed out after 2 s each"
        );
        let one = words(&none(1, 1, Loss::Timeout), 1, Duration::from_millis(1_500));
        assert_eq!(one, "1 attempt timed out after 1500 ms");
        let nowhere = || Loss::Unreachable("network is unreachable".into());
        assert_eq!(
            say(&none(3, 0, nowhere())),
            "no answer to 3 of 3 attempts; unreachable: network is unreachable"
        );
        assert_eq!(
            say(&none(3, 1, nowhere())),
            "no answer to 3 of 3 attempts, 1 timed out after 2 s; unreachable: network is unreachable"
        );
        assert_eq!(
            say(&Answer::Other(Loss::Refused)),
            "another answer: connection refused"
        );
        assert_eq!(
            say(&Answer::NotAsked("there is no interface wg0".into())),
            "could not ask: there is no interface wg0"
        );
    }
}
