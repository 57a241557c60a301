//! One pass of the daemon: compare and change, count it, tell what came of it, and show it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::contest::{Contest, Undone};
use super::journal::News;
use super::news::Told;
use super::state::{Daemon, Wanted};
use super::things::ThingsTold;
use super::{DaemonError, time};
use crate::model::{RouteKey, State, Timestamp};
use crate::plan::{Inputs, Reason, ReasonCode, Removals};
use crate::report::{
    Action, ContestedRoute, HappeningKind, Kind, Level, Pass, PassStatus, Published, Report,
    Running, Summary, Trigger, plural,
};
use crate::sync::{self, Held, SyncError};

/// So many contested routes are shown one by one.
const SHOWN: usize = 100;

impl Daemon {
    /// Makes the kernel equal to the documents, as far as it can be done now.
    ///
    /// # Errors
    /// If routes may not be changed at all. Any other failure is told, and tried again.
    pub(super) fn pass(&mut self, trigger: Trigger) -> Result<(), DaemonError> {
        self.schedule.pass_begins();
        let started = Instant::now();
        let outcome = self.synchronise(started);
        let took = started.elapsed();
        self.count_pass(trigger, took);
        let (changes, error) = match outcome {
            Ok(pass) => {
                self.schedule.passed(trigger, took, Instant::now());
                (self.complete(pass), None)
            }
            Err(SyncError::NotPermitted) => return Err(DaemonError::NotPermitted),
            Err(error) => (0, Some(self.fail(&error))),
        };
        self.running.last_pass = Some(PassStatus {
            ended: time(),
            took,
            trigger,
            changes,
            error,
        });
        // Not before: at the start the routes that a check is about are not there yet.
        let checks = self.wanted.snapshot.checks.clone();
        self.connectivity.follow(&self.wanted.inputs(), &checks);
        self.publish();
        Ok(())
    }

    fn count_pass(&mut self, trigger: Trigger, took: Duration) {
        let counters = &mut self.running.counters;
        *counters.passes.entry(trigger).or_default() += 1;
        counters.durations.observe(took);
    }

    fn synchronise(&mut self, now: Instant) -> Result<Pass, SyncError> {
        self.listen_to_nat();
        let observed = sync::observe(&mut self.kernel, &self.wanted.inputs());
        let observed = observed.map_err(SyncError::Before)?;
        // Reading a large table takes a while, in which a gateway may have died.
        self.switch_meanwhile();
        let steered = self.gateways.steer(&self.wanted.inputs(), &observed, now);
        self.wanted.steering = steered.steering;
        self.tell_steered(steered.switches, steered.news);
        let inputs = self.wanted.inputs();
        let planned = sync::planned(&inputs, observed);
        let mut contested = Vec::new();
        for key in undone(&self.published, &inputs, &planned) {
            // What the kernel took, with a link or an address, nobody contests.
            if let Some(by) = self.culprits.of(&key)
                && self.contest.undone(key, by, (now, time()))
            {
                contested.push(key);
            }
        }
        self.note_undone_things(&planned, now);
        let mut held = Held {
            routes: contested_now(&self.contest, now).collect(),
            ..Held::default()
        };
        self.hold_things(&mut held, now);
        let inputs = self.wanted.inputs();
        let pass = sync::carry_through(&mut self.kernel, &inputs, planned, held)?;
        self.groups.are(&pass.plan.objects.sets);
        self.tell_cost_of_switches();
        if let Some(message) = self.wanted.refused.add(&pass) {
            tracing::warn!("{message}");
        }
        self.tell_contested(&contested);
        Ok(pass)
    }

    /// A pass was completed: tells and counts what it changed. Returns how many routes.
    fn complete(&mut self, pass: Pass) -> usize {
        self.running.counters.objects_read = self.keeper.told_read();
        let before = self.published.clone();
        let published = self.wanted.publish(pass);
        // Before the first pass nothing is known, so nothing is news but what is done.
        let known = self.running.ready.is_some();
        let (told, things) = published.report(None, |now| {
            before.report(None, |before| {
                let before = known.then_some(before);
                let changes = now.changes_since(before);
                let things = ThingsTold::of(now, &now.things_changed_since(before), &self.things);
                (Told::of(now, &changes, &self.culprits), things)
            })
        });
        // Shown is how it is now, not how it was done.
        self.published = Arc::new(Published {
            pass: Arc::new(Arc::unwrap_or_clone(published.pass).settled()),
            ..published
        });
        self.culprits.forget();
        self.things.forget_culprits();
        let changed = told.changed() + self.tell_things(things);
        self.tell_changes(told);
        self.tell_removals(&before.pass.plan.removals);
        let now = Instant::now();
        let next = [
            self.contest.next(now),
            self.things.contest.next(now),
            self.gateways.next(),
        ];
        next.into_iter()
            .flatten()
            .for_each(|next| self.schedule.retry_at(next));
        let summary = self.summary();
        if !known {
            self.running.ready = Some(time());
            let message = format!("ready: {summary}");
            self.tell(News::new(HappeningKind::Ready, Level::Info, message));
        }
        self.service.ready();
        self.service.status(summary);
        changed
    }

    /// A pass could not be completed; what the kernel has stays. Returns why.
    fn fail(&mut self, error: &SyncError) -> String {
        let now = Instant::now();
        self.schedule.failed(now);
        self.running.counters.failed_passes += 1;
        let why = chain(error);
        let last = self.running.last_pass.as_ref();
        let is_news = last.and_then(|pass| pass.error.as_ref()) != Some(&why);
        if is_news {
            let message = format!("the pass failed and is tried again: {why}");
            self.tell(News::new(HappeningKind::PassFailed, Level::Error, message));
            self.service.status(format!("the last pass failed: {why}"));
        }
        if self.running.ready.is_some() {
            // A reload is over, too: what it says now is above.
            self.service.ready();
        }
        why
    }

    fn tell_changes(&mut self, told: Told) {
        let counters = &mut self.running.counters;
        for (action, count) in &told.actions {
            *counters.changes.entry(*action).or_default() += count;
        }
        for (reason, count) in &told.failures {
            *counters.failures.entry(*reason).or_default() += count;
        }
        counters.drift_repaired += told.restored;
        told.news.into_iter().for_each(|news| self.tell(news));
        for detail in told.details {
            self.journal.detail(detail, time());
        }
    }

    fn tell_removals(&mut self, before: &Removals) {
        let news = match (&self.published.pass.plan.removals, before) {
            (Removals::Withheld(now), Removals::Withheld(before)) if now.code == before.code => {
                None
            }
            (Removals::Withheld(reason), _) => Some((Level::Warn, reason.message.clone())),
            (Removals::Allowed, Removals::Withheld(_)) => {
                Some((Level::Info, "removals are no longer withheld".to_owned()))
            }
            (Removals::Allowed, Removals::Allowed) => None,
        };
        if let Some((level, message)) = news {
            self.tell(News::new(HappeningKind::Removals, level, message));
        }
    }

    fn tell_contested(&mut self, routes: &[RouteKey]) {
        let Some(first) = routes.first() else { return };
        let by = self.contest.contested().find(|(key, _)| *key == first);
        let by = by.map_or_else(|| "somebody".into(), |(_, undone)| undone.by.clone());
        let others = match routes.len() {
            1 => String::new(),
            more => format!(" and {} more routes", more - 1),
        };
        let message = format!(
            "contested: {by} keeps undoing {}{others}; from now on restoring waits, each time longer. \
             Find out what does it (`ip monitor route`), or let it use another table or metric",
            self.slot(first),
        );
        self.tell(News::new(HappeningKind::Contested, Level::Warn, message));
    }

    /// Forgets who no longer undoes our routes.
    pub(super) fn settle(&mut self, now: Instant) {
        let settled = self.contest.settle(now);
        let Some((first, undone)) = settled.first() else {
            return;
        };
        let others = match settled.len() {
            1 => String::new(),
            more => format!(" and {} more routes", more - 1),
        };
        let message = format!(
            "no longer contested: {}{others} (undone {} times, last by {})",
            self.slot(first),
            undone.times,
            undone.by
        );
        self.tell(News::new(HappeningKind::Settled, Level::Info, message));
        self.publish();
    }

    /// A slot as `ip route` names it.
    fn slot(&self, key: &RouteKey) -> String {
        let table = self.wanted.names.table(key.table);
        format!("{} metric {} table {table}", key.prefix, key.metric)
    }

    /// Shows everybody what is known now.
    pub(super) fn publish(&mut self) {
        let now = time();
        let routes = self.contest.contested();
        let routes = routes.map(|(key, undone)| shown(self.slot(key), undone, now));
        let things = self.things.contest.contested();
        let things = things.map(|(thing, undone)| shown(thing.to_string(), undone, now));
        let contested: Vec<ContestedRoute> = routes.take(SHOWN).chain(things).collect();
        self.running.contested = contested;
        self.running.contested_routes =
            self.contest.contested().count() + self.things.contest.contested().count();
        let inputs = self.wanted.inputs();
        let moment = (now, Instant::now());
        self.running.gateways = self.gateways.status(&inputs, &self.published, moment);
        self.running.isolated = self.gateways.isolated();
        self.running.overrides = self.overrides.status();
        if let Some(checks) = self.connectivity.news() {
            self.running.checks = checks;
        }
        for gateway in &mut self.running.gateways {
            gateway.by_hand = self.overrides.by(gateway.address);
        }
        self.running.now = now;
        self.running.recent = self.journal.recent();
        let published = Published {
            running: Arc::new(self.running.clone()),
            ..(*self.published).clone()
        };
        self.published = Arc::new(published);
        self.publisher.send_replace(self.published.clone());
    }

    /// Shows what was heard of checks since, for which nothing else has to be looked at.
    pub(super) fn publish_checks(&mut self) {
        let Some(checks) = self.connectivity.news() else {
            return;
        };
        self.running.checks = checks;
        let running = Running {
            checks: self.running.checks.clone(),
            now: time(),
            recent: self.journal.recent(),
            ..(*self.published.running).clone()
        };
        self.published = Arc::new(Published {
            running: Arc::new(running),
            ..(*self.published).clone()
        });
        self.publisher.send_replace(self.published.clone());
    }

    /// `1004 routes in place, 2 Pending`.
    pub(super) fn summary(&self) -> String {
        let both = self
            .published
            .report(None, |report| (report.summary(), report.egress_summary()));
        let (routes, others) = (summary("route", &both.0), &both.1);
        match *others == Summary::default() {
            true => routes,
            false => format!("{routes}; {}", summary("other thing", others)),
        }
    }
}

impl Wanted {
    /// A pass over what is wanted, to be shown.
    fn publish(&self, pass: Pass) -> Published {
        Published {
            node: self.settings.node_name.clone(),
            policy: self.settings.policy.clone(),
            labels: self.labels.known().clone(),
            unknown_labels: self.labels.unknown().map(str::to_owned),
            names: self.names.clone(),
            documents: self.snapshot.documents.clone(),
            egress: self.snapshot.egress.clone(),
            files: self.snapshot.files.clone(),
            incomplete: self.incomplete.clone(),
            pass: Arc::new(pass),
            running: Arc::new(Running::default()),
        }
    }
}

/// The routes that were in place after the last pass, are wanted just as they were, and are not
/// there.
fn undone(before: &Published, inputs: &Inputs<'_>, planned: &Pass) -> Vec<RouteKey> {
    published_report(before, inputs, planned, |before, now| {
        now.undone_since(before)
    })
}

/// Compares what was shown with what is planned.
pub(super) fn published_report<T>(
    before: &Published,
    inputs: &Inputs<'_>,
    planned: &Pass,
    compare: impl FnOnce(&Report<'_>, &Report<'_>) -> T,
) -> T {
    let now = Report {
        kind: Kind::Status,
        node: &before.node,
        inputs,
        pass: planned,
        tables: None,
        running: None,
        selection: None,
    };
    before.report(None, |before| compare(before, &now))
}

/// What is not restored yet, because somebody keeps undoing it.
pub(super) fn contested_now<K: Ord + Clone>(
    contest: &Contest<K>,
    now: Instant,
) -> impl Iterator<Item = (K, Arc<Reason>)> {
    let waiting = contest
        .contested()
        .filter(move |(_, undone)| undone.next > now);
    let reason = move |undone: &Undone| {
        let message = format!(
            "contested: undone {} times, last by {}; it is restored again in {} s",
            undone.times,
            undone.by,
            undone
                .next
                .saturating_duration_since(now)
                .as_millis()
                .div_ceil(1000)
        );
        Arc::new(Reason::new(ReasonCode::Contested, message))
    };
    waiting.map(move |(key, undone)| (key.clone(), reason(undone)))
}

fn shown(what: String, undone: &Undone, now: Timestamp) -> ContestedRoute {
    ContestedRoute {
        route: what,
        undone: undone.times,
        last: undone.last,
        by: Some(undone.by.to_string()),
        next_attempt: next_attempt(undone, now),
    }
}

/// When a contested route is restored, if it waits for that.
fn next_attempt(undone: &Undone, now: Timestamp) -> Option<Timestamp> {
    let wait = undone.next.checked_duration_since(Instant::now())?;
    let wait = u64::try_from(wait.as_millis()).ok()?;
    Some(Timestamp::from_millis(now.millis().saturating_add(wait)))
}

fn summary(what: &str, summary: &Summary) -> String {
    let installed = plural(summary.in_state(State::Installed), what);
    let mut parts = vec![format!("{installed} in place")];
    for state in State::ALL.into_iter().skip(1) {
        match summary.in_state(state) {
            0 => {}
            count => parts.push(format!("{count} {state}")),
        }
    }
    match summary.of(Action::Withhold) {
        0 => {}
        count => parts.push(format!("{} withheld", plural(count, "removal"))),
    }
    parts.join(", ")
}

/// An error with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
