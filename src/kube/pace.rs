//! When to try again: later each time, never all nodes at once, and not before the server wants it.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use super::Trouble;

/// The first wait after a failure.
const FIRST: Duration = Duration::from_millis(500);
/// No wait is longer, unless the server asks for it.
const LONGEST: Duration = Duration::from_secs(60);
/// Nor does the server decide about more than this.
const PATIENCE: Duration = Duration::from_secs(600);

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(super) struct Pace {
    failures: u32,
}

impl Pace {
    /// It worked.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to wait after one more failure; `chance` is from 0 to 1.
    pub(super) fn after(&mut self, trouble: &Trouble, chance: f64) -> Duration {
        let doubled = FIRST.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        // Half of it always: after an outage of the server all nodes come back.
        let own = doubled.min(LONGEST).mul_f64(0.5 + chance / 2.0);
        match trouble.wait {
            Some(asked) => own + asked.min(PATIENCE),
            None => own,
        }
    }
}

/// From 0 to 1, another one each time.
pub(super) fn chance() -> f64 {
    // The standard library's only source of randomness.
    let random = RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(random >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    #[test]
    fn waits_grow_up_to_a_minute_and_begin_anew_after_success() {
        let mut pace = Pace::default();
        let trouble = Trouble::new(Kind::Unreachable, "refused");
        let waits: Vec<u128> = (0..9)
            .map(|_| pace.after(&trouble, 1.0).as_millis())
            .collect();
        let expected = [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000];
        assert_eq!(waits, expected);
        pace.reset();
        assert_eq!(pace.after(&trouble, 0.0), FIRST / 2);
    }

    #[test]
    fn the_server_may_ask_for_more() {
        let mut pace = Pace::default();
        let asked = |seconds| {
            let wait = Some(Duration::from_secs(seconds));
            Trouble::of_answer(429, "busy", wait)
        };
        assert!(pace.after(&asked(120), 0.0) >= Duration::from_secs(120));
        assert!(pace.after(&asked(86_400), 0.0) < Duration::from_secs(700));
    }

    #[test]
    fn chance_is_from_0_to_1_and_varies() {
        let chances: Vec<f64> = (0..100).map(|_| chance()).collect();
        assert!(chances.iter().all(|chance| (0.0..=1.0).contains(chance)));
        assert!(chances.iter().any(|chance| *chance != chances[0]));
    }
}
