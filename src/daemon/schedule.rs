//! When the next thing is to be done. Pure: moments come in as arguments.
//!
//! Events set moments, the loop asks what is due and how long it may sleep. Nothing else decides
//! about time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::report::Trigger;

/// Against a flood of events the kernel is compared so rarely that it takes a fifth of the time.
const REST: u32 = 4;
/// The longest such rest.
const LONGEST_REST: Duration = Duration::from_secs(1);
/// Files that never come to rest are read after so many times the debounce, at least a second.
const PATIENCE: u32 = 10;
/// A file that is open for writing is read after so long without a word from its writer.
const STALLED_WRITER: Duration = Duration::from_secs(5);
/// How often it is checked that what is watched is what is there.
const CHECK: Duration = Duration::from_secs(2);
/// How often sources are read that cannot be watched.
const POLL: Duration = Duration::from_secs(1);
/// The first wait after a failed pass, doubled each time.
const RETRY: Duration = Duration::from_millis(500);
/// The longest wait after a failed pass.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// What is to be done, and when.
#[derive(Debug)]
pub(super) struct Schedule {
    debounce: Duration,
    resync: Duration,
    /// Sources are to be read.
    sources: Option<Sources>,
    /// Files that somebody is writing, with the moment of his last word.
    writers: BTreeMap<PathBuf, Instant>,
    /// A pass is to be made.
    pass: Option<(Instant, Trigger)>,
    /// No pass for an event before this.
    rest: Instant,
    next_resync: Instant,
    next_check: Instant,
    polling: bool,
    failures: u32,
}

/// Changes of sources that wait for quiet.
#[derive(Debug, Clone, Copy)]
struct Sources {
    first: Instant,
    due: Instant,
}

impl Schedule {
    pub(super) fn new(debounce: Duration, resync: Duration, now: Instant) -> Self {
        Self {
            debounce,
            resync,
            sources: None,
            writers: BTreeMap::new(),
            pass: None,
            rest: now,
            next_resync: now + resync,
            next_check: now + CHECK,
            polling: false,
            failures: 0,
        }
    }

    /// Takes over other settings.
    pub(super) fn change(&mut self, debounce: Duration, resync: Duration, now: Instant) {
        (self.debounce, self.resync) = (debounce, resync);
        self.next_resync = now + resync;
    }

    /// Whether sources have to be polled.
    pub(super) fn poll(&mut self, polling: bool) {
        self.polling = polling;
    }

    /// Sources changed: they are read once they have been quiet for a while, but not for ever later.
    pub(super) fn sources_changed(&mut self, now: Instant) {
        let first = self.sources.map_or(now, |sources| sources.first);
        let latest = first + (self.debounce * PATIENCE).max(Duration::from_secs(1));
        let due = (now + self.debounce).min(latest);
        self.sources = Some(Sources { first, due });
    }

    /// Sources are complete as they are: they are read at once.
    pub(super) fn sources_ready(&mut self, now: Instant) {
        self.sources = Some(Sources {
            first: now,
            due: now,
        });
    }

    /// Somebody is writing a file and has not closed it.
    pub(super) fn writing(&mut self, file: PathBuf, now: Instant) {
        self.writers.insert(file, now);
        self.sources_changed(now);
    }

    /// He closed it.
    pub(super) fn written(&mut self, file: &PathBuf, now: Instant) {
        self.writers.remove(file);
        self.sources_changed(now);
    }

    /// Something happened that a pass has to look at: at once, unless passes follow each other.
    pub(super) fn want_pass(&mut self, trigger: Trigger, now: Instant) {
        self.pass_at(self.rest.max(now), trigger);
    }

    /// A pass is to be made now, whatever was before.
    pub(super) fn want_pass_now(&mut self, trigger: Trigger, now: Instant) {
        self.pass_at(now, trigger);
    }

    fn pass_at(&mut self, at: Instant, trigger: Trigger) {
        let (due, first) = self.pass.unwrap_or((at, trigger));
        self.pass = Some((due.min(at), first));
    }

    /// A pass is to be made at the latest then.
    pub(super) fn retry_at(&mut self, at: Instant) {
        self.pass_at(at, Trigger::Retry);
    }

    /// What is watched is not what was watched before: who closed a file meanwhile, nobody saw.
    pub(super) fn watched_anew(&mut self, now: Instant) {
        self.writers.clear();
        self.sources_changed(now);
    }

    /// A pass begins: it looks at everything that was to be looked at.
    pub(super) fn pass_begins(&mut self) {
        self.pass = None;
    }

    /// A pass was made. Only passes that events ask for can follow each other without an end.
    pub(super) fn passed(&mut self, trigger: Trigger, took: Duration, now: Instant) {
        self.failures = 0;
        self.rest = match trigger {
            Trigger::Kernel | Trigger::Overflow => now + (took * REST).min(LONGEST_REST),
            _ => now,
        };
        self.next_resync = now + self.resync;
    }

    /// A pass failed.
    pub(super) fn failed(&mut self, now: Instant) {
        let wait = RETRY.saturating_mul(1 << self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        self.rest = now + wait.min(LONGEST_RETRY);
        self.retry_at(self.rest);
    }

    /// Whether sources are to be read now.
    pub(super) fn sources_are_due(&mut self, now: Instant) -> bool {
        let due = self.sources_due().is_some_and(|due| due <= now);
        if due {
            self.sources = None;
            self.writers.clear();
        }
        due
    }

    fn sources_due(&self) -> Option<Instant> {
        let stalled = |since: &Instant| *since + STALLED_WRITER;
        let written = self.writers.values().map(stalled).max();
        let due = self.sources?.due;
        Some(written.map_or(due, |written| due.max(written)))
    }

    /// Why a pass is to be made now, if it is.
    pub(super) fn pass_is_due(&mut self, now: Instant) -> Option<Trigger> {
        if let Some((_, trigger)) = self.pass.take_if(|(due, _)| *due <= now) {
            return Some(trigger);
        }
        (self.next_resync <= now).then_some(Trigger::Resync)
    }

    /// Whether it is time to check that what is watched is still there. Polled sources are read
    /// then.
    pub(super) fn check_is_due(&mut self, now: Instant) -> bool {
        let due = self.next_check <= now;
        if due {
            self.next_check = now + if self.polling { POLL } else { CHECK };
            if self.polling {
                self.sources_ready(now);
            }
        }
        due
    }

    /// When something is due next.
    pub(super) fn next(&self) -> Instant {
        let always = self.next_resync.min(self.next_check);
        let pass = self.pass.map_or(always, |(due, _)| due.min(always));
        self.sources_due().map_or(pass, |due| due.min(pass))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBOUNCE: Duration = Duration::from_millis(100);

    fn at(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    fn new() -> (Schedule, Instant) {
        let start = Instant::now();
        (
            Schedule::new(DEBOUNCE, Duration::from_secs(30), start),
            start,
        )
    }

    #[test]
    fn edits_are_read_after_a_quiet_while_and_a_swap_at_once() {
        let (mut schedule, start) = new();
        schedule.sources_changed(start);
        schedule.sources_changed(at(start, 60));
        assert!(!schedule.sources_are_due(at(start, 159)));
        assert!(schedule.sources_are_due(at(start, 160)));
        assert!(!schedule.sources_are_due(at(start, 999)));
        schedule.sources_ready(at(start, 1000));
        assert!(schedule.sources_are_due(at(start, 1000)));
    }

    #[test]
    fn files_that_never_rest_are_read_all_the_same() {
        let (mut schedule, start) = new();
        let read = (0..2000).find(|millis| {
            schedule.sources_changed(at(start, *millis));
            schedule.sources_are_due(at(start, *millis))
        });
        assert_eq!(read, Some(1000));
    }

    #[test]
    fn a_file_is_not_read_while_it_is_written() {
        let (mut schedule, start) = new();
        let file = PathBuf::from("a.yaml");
        schedule.writing(file.clone(), start);
        assert!(!schedule.sources_are_due(at(start, 4000)));
        schedule.writing(file.clone(), at(start, 4000));
        assert!(!schedule.sources_are_due(at(start, 8000)));
        schedule.written(&file, at(start, 8000));
        assert!(schedule.sources_are_due(at(start, 8100)));
        // A writer who died without closing does not hold it for ever.
        schedule.writing(file, at(start, 9000));
        assert!(schedule.sources_are_due(at(start, 14_000)));
    }

    #[test]
    fn the_first_event_is_answered_at_once_and_a_flood_now_and_then() {
        let (mut schedule, start) = new();
        schedule.want_pass(Trigger::Kernel, start);
        assert_eq!(schedule.pass_is_due(start), Some(Trigger::Kernel));
        schedule.passed(Trigger::Kernel, Duration::from_millis(50), at(start, 50));
        schedule.want_pass(Trigger::Kernel, at(start, 51));
        assert_eq!(schedule.pass_is_due(at(start, 249)), None);
        assert_eq!(schedule.next(), at(start, 250));
        schedule.want_pass_now(Trigger::Overflow, at(start, 249));
        assert!(schedule.pass_is_due(at(start, 249)).is_some());
    }

    #[test]
    fn failed_passes_are_repeated_ever_more_rarely() {
        let (mut schedule, start) = new();
        let mut wait = || {
            schedule.pass_begins();
            schedule.failed(start);
            schedule
                .pass
                .map(|(due, _)| due.duration_since(start).as_millis())
        };
        let waits: Vec<u128> = (0..8).filter_map(|_| wait()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
    }

    #[test]
    fn without_any_event_the_kernel_is_compared_periodically() {
        let (mut schedule, start) = new();
        schedule.passed(Trigger::Start, Duration::ZERO, start);
        assert_eq!(schedule.pass_is_due(at(start, 29_999)), None);
        assert_eq!(
            schedule.pass_is_due(at(start, 30_000)),
            Some(Trigger::Resync)
        );
    }
}
