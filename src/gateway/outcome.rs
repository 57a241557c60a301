//! What became of several probes in a row.

use std::time::{Duration, Instant};

use crate::model::probed::{Loss, Outcome};

/// When the probe was sent that ended now like this.
pub(super) fn sent(outcome: &Outcome, now: Instant) -> Instant {
    let (Outcome::Answered { round_trip: ago } | Outcome::Lost { waited: ago, .. }) = outcome;
    now.checked_sub(*ago).unwrap_or(now)
}

/// Probes in a row that were all answered, or all lost.
#[derive(Debug, Clone)]
pub(super) struct Streak {
    /// How many.
    pub(super) length: u32,
    /// When the first of them was sent.
    began: Instant,
    last: Outcome,
    /// All were lost for the same reason.
    alike: bool,
}

impl Streak {
    /// The streak that this outcome continues, or else begins.
    pub(super) fn with(before: Option<Self>, outcome: Outcome, now: Instant) -> Self {
        let fits = |streak: &Self| streak.last.is_answered() == outcome.is_answered();
        let (length, began, alike) = match before.filter(fits) {
            Some(streak) => {
                let alike = streak.alike && same_loss(&streak.last, &outcome);
                (streak.length.saturating_add(1), streak.began, alike)
            }
            None => (1, sent(&outcome, now), true),
        };
        Self {
            length,
            began,
            last: outcome,
            alike,
        }
    }

    pub(super) fn is_answered(&self) -> bool {
        self.last.is_answered()
    }

    /// As evidence: `3 of 3 ICMP probes to 10.116.0.5 timed out over 3.0 s`.
    pub(super) fn told(&self, probes: &str, now: Instant) -> String {
        let count = self.length;
        let over = seconds(now.saturating_duration_since(self.began));
        let told = format!("{count} of {count} {probes}");
        match &self.last {
            Outcome::Answered { .. } => format!("{told} were answered over {over}"),
            Outcome::Lost { why, .. } if !self.alike => {
                format!("{told} failed over {over}, the last one: {why}")
            }
            Outcome::Lost { why, .. } => match why {
                Loss::Timeout => format!("{told} timed out over {over}"),
                why => format!("{told} failed over {over}: {why}"),
            },
        }
    }
}

fn same_loss(one: &Outcome, another: &Outcome) -> bool {
    match (one, another) {
        (Outcome::Lost { why: one, .. }, Outcome::Lost { why: another, .. }) => one == another,
        _ => true,
    }
}

/// A time as a person would say it.
pub(super) fn seconds(time: Duration) -> String {
    match time.as_millis() {
        millis @ ..1000 => format!("{millis} ms"),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}
