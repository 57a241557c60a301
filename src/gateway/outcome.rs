//! What became of a probe, and of several in a row.

use std::fmt;
use std::time::{Duration, Instant};

/// What became of one probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered as the check wants it.
    Answered {
        /// From sending to the answer.
        round_trip: Duration,
    },
    /// It was not.
    Lost {
        /// What went wrong.
        why: Loss,
        /// From sending until that was known.
        waited: Duration,
    },
}

impl Outcome {
    /// Whether it was answered.
    pub fn is_answered(&self) -> bool {
        matches!(self, Self::Answered { .. })
    }

    /// When its probe was sent.
    pub(super) fn sent(&self, now: Instant) -> Instant {
        let (Self::Answered { round_trip: ago } | Self::Lost { waited: ago, .. }) = self;
        now.checked_sub(*ago).unwrap_or(now)
    }
}

/// Why a probe counts as lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// Nothing came back in time.
    Timeout,
    /// The connection was refused.
    Refused,
    /// Something on the way, or this node, says that there is no way.
    Unreachable,
    /// An HTTP status that the check does not take as healthy.
    Status(u16),
    /// Something else, in words that can follow a colon.
    Other(Box<str>),
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("timed out"),
            Self::Refused => f.write_str("connection refused"),
            Self::Unreachable => f.write_str("unreachable"),
            Self::Status(status) => write!(f, "HTTP status {status}"),
            Self::Other(words) => f.write_str(words),
        }
    }
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
            None => (1, outcome.sent(now), true),
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
