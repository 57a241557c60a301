//! Who keeps undoing our routes, and how long to wait before restoring them again.
//!
//! Pure: moments come in as arguments. A route that somebody deletes now and then is restored at
//! once each time; against somebody who keeps doing it, restoring in a loop would be a war that the
//! packets lose. So it waits twice as long from time to time, and says who and how often.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::{RouteKey, Timestamp};

/// So often a route is restored at once. From then on it is contested.
const TOLERATED: u32 = 5;
/// The first wait, doubled with each further time.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// What was not undone for so long, and for twice the last wait, is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// The routes that were undone lately, or other things.
#[derive(Debug)]
pub(super) struct Contest<K = RouteKey> {
    routes: BTreeMap<K, Undone>,
}

impl<K> Default for Contest<K> {
    fn default() -> Self {
        Self {
            routes: BTreeMap::new(),
        }
    }
}

/// How often a route was undone, and by whom.
#[derive(Debug, Clone)]
pub(super) struct Undone {
    /// How often in a row.
    pub(super) times: u32,
    /// The last time, for people.
    pub(super) last: Timestamp,
    /// Who it was then.
    pub(super) by: Arc<str>,
    /// When it may be restored.
    pub(super) next: Instant,
    seen: Instant,
}

impl Undone {
    /// Whether it happened too often to be restored at once.
    pub(super) fn is_contested(&self) -> bool {
        self.times > TOLERATED
    }

    fn wait(&self) -> Duration {
        match self.times.checked_sub(TOLERATED + 1) {
            None => Duration::ZERO,
            Some(doublings) => FIRST_WAIT
                .saturating_mul(1 << doublings.min(10))
                .min(LONGEST_WAIT),
        }
    }
}

impl<K: Ord + Clone> Contest<K> {
    /// A route was undone. Says whether it becomes contested by that.
    pub(super) fn undone(&mut self, key: K, by: Arc<str>, at: (Instant, Timestamp)) -> bool {
        let (now, last) = at;
        let undone = self.routes.entry(key).or_insert_with(|| Undone {
            times: 0,
            last,
            by: by.clone(),
            next: now,
            seen: now,
        });
        undone.times = undone.times.saturating_add(1);
        (undone.last, undone.by, undone.seen) = (last, by, now);
        undone.next = now + undone.wait();
        undone.times == TOLERATED + 1
    }

    /// Forgets routes that nobody undoes any more; returns those that had been contested.
    pub(super) fn settle(&mut self, now: Instant) -> Vec<(K, Undone)> {
        let quiet = |undone: &Undone| {
            let patience = FORGOTTEN.max(undone.wait() * 2);
            now.saturating_duration_since(undone.seen) >= patience
        };
        let settled: Vec<(K, Undone)> = self
            .routes
            .iter()
            .filter(|(_, undone)| quiet(undone))
            .map(|(key, undone)| (key.clone(), undone.clone()))
            .collect();
        for (key, _) in &settled {
            self.routes.remove(key);
        }
        settled
            .into_iter()
            .filter(|(_, undone)| undone.is_contested())
            .collect()
    }

    /// Contested routes, in the order of slots.
    pub(super) fn contested(&self) -> impl Iterator<Item = (&K, &Undone)> {
        self.routes
            .iter()
            .filter(|(_, undone)| undone.is_contested())
    }

    /// When the first of the routes that are waiting may be restored.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        let waiting = self.contested().map(|(_, undone)| undone.next);
        waiting.filter(|next| *next > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Metric, TableId};

    fn key() -> RouteKey {
        let prefix = "192.0.2.0/24".parse().unwrap();
        RouteKey::new(TableId::MAIN, prefix, Metric::ZERO)
    }

    /// The wait after each of `times` undoings, one second apart.
    fn waits(contest: &mut Contest, start: Instant, times: u32) -> Vec<u64> {
        let undo = |n: u32| {
            let now = start + Duration::from_secs(n.into());
            contest.undone(key(), "pid 7 (ip)".into(), (now, Timestamp::default()));
            let next = contest.contested().next().map(|(_, undone)| undone.next);
            next.map_or(0, |next| next.saturating_duration_since(now).as_secs())
        };
        (0..times).map(undo).collect()
    }

    #[test]
    fn a_route_that_is_undone_again_and_again_waits_longer_each_time() {
        let waits = waits(&mut Contest::default(), Instant::now(), 14);
        assert_eq!(waits, [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn it_is_said_once_that_a_route_is_contested() {
        let mut contest = Contest::default();
        let now = Instant::now();
        let said = (0..9)
            .filter(|_| contest.undone(key(), "x".into(), (now, Timestamp::default())))
            .count();
        assert_eq!(said, 1);
    }

    #[test]
    fn after_two_quiet_waits_it_is_forgotten() {
        let mut contest = Contest::default();
        let start = Instant::now();
        waits(&mut contest, start, 12);
        let last = start + Duration::from_secs(11);
        assert_eq!(contest.settle(last + Duration::from_secs(119)).len(), 0);
        assert_eq!(contest.next(last), Some(last + Duration::from_secs(60)));
        assert_eq!(contest.settle(last + Duration::from_secs(120)).len(), 1);
        assert_eq!(contest.next(last), None);
        assert_eq!(waits(&mut contest, last, 1), [0]);
    }
}
