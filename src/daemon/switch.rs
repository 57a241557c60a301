//! Switching gateways at once: what a decision changes about a group is sent before anything is
//! compared. The pass that follows looks at the rest.

use std::time::Instant;

use super::journal::News;
use super::state::Daemon;
use super::{Event, time};
use crate::kernel::NextHopEvent;
use crate::plan::objects::{self, ObjectSet};
use crate::report::Trigger;
use crate::sync;

/// The groups of the last pass, and whether they still stand for the documents in force.
#[derive(Debug, Default)]
pub(super) struct Groups {
    sets: Vec<ObjectSet>,
}

impl Groups {
    /// A pass has ended with these.
    pub(super) fn are(&mut self, sets: &[ObjectSet]) {
        self.sets = sets.to_vec();
    }

    /// What they were made for is not wanted any more, or differently.
    pub(super) fn forget(&mut self) {
        self.sets.clear();
    }

    fn holds(&self, event: &NextHopEvent) -> bool {
        self.sets.iter().any(|set| set.refers_to(event.id))
    }
}

impl Daemon {
    /// Decides anew if a gateway fell or rose, or if it is time to, and leads traffic the new way: one
    /// message for each set, whatever the number of its routes.
    pub(super) fn switch(&mut self, now: Instant) {
        if !self.gateways.is_due(now) {
            return;
        }
        self.schedule.want_pass_now(Trigger::Gateways, now);
        let Some(steered) = self.gateways.steer_again(&self.wanted.inputs(), now) else {
            return;
        };
        self.wanted.steering = steered.steering;
        let inputs = self.wanted.inputs();
        for switch in objects::switches(&self.groups.sets, &inputs) {
            match sync::switch(&mut self.kernel, inputs.policy.protocol, &switch) {
                Ok(true) => {
                    if let Some(set) = self.groups.sets.get_mut(switch.set) {
                        set.holds = switch.to;
                    }
                }
                // Somebody was there before; the pass finds out.
                Ok(false) => tracing::debug!("group {} is not as it was left", switch.group),
                Err(error) => tracing::debug!("group {}: {error}", switch.group),
            }
        }
        self.tell_steered(steered.switches, steered.news);
    }

    /// Amid a pass: takes what probes said meanwhile, and switches if that makes a difference.
    pub(super) fn switch_meanwhile(&mut self) {
        for probed in self.inbox.probes() {
            self.take(Event::Probed(probed));
        }
        self.switch(Instant::now());
    }

    /// Counts and tells what a decision came to.
    pub(super) fn tell_steered(&mut self, switches: u64, news: Vec<News>) {
        if switches > 0 {
            self.running.counters.failovers += switches;
            self.running.last_switch = Some(time());
        }
        news.into_iter().for_each(|news| self.tell(news));
    }

    /// Somebody made, changed or removed a nexthop object.
    pub(super) fn hear_nexthop(&mut self, event: &NextHopEvent, now: Instant) {
        let ours = event.protocol == self.wanted.settings.policy.protocol;
        if ours || self.groups.holds(event) {
            self.schedule.want_pass(Trigger::Kernel, now);
            // Routes that go with an object have no culprit of their own.
            self.culprits.note_all(event.by.as_ref());
        }
    }
}
