//! Switching gateways at once: what a decision changes about a group is sent before anything is
//! compared. The pass that follows looks at the rest.

use std::time::Instant;

use super::journal::News;
use super::state::Daemon;
use super::{Event, time};
use crate::kernel::{NextHopEvent, tells_of_routes_by_nexthops};
use crate::plan::objects::{self, ObjectSet};
use crate::report::Trigger;
use crate::sync;

/// The groups of the last pass, and whether they still stand for the documents in force.
#[derive(Debug, Default)]
pub(super) struct Groups {
    sets: Vec<ObjectSet>,
    /// That a switch costs more than it has to was told.
    told: bool,
}

/// With so many routes a switch keeps the kernel busy for 10 ms, if it tells of each.
const MANY: usize = 10_000;

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

    /// Says once what a switch of many routes costs on this node.
    pub(super) fn tell_cost_of_switches(&mut self) {
        if self.groups.told {
            return;
        }
        let documents = &self.wanted.snapshot.documents;
        let sets = self.groups.sets.iter().flat_map(|set| &set.documents);
        let documents = sets.filter_map(|index| documents.get(*index as usize));
        let routes: usize = documents.map(|document| document.destinations.len()).sum();
        if routes < MANY || !tells_of_routes_by_nexthops() {
            return;
        }
        self.groups.told = true;
        tracing::info!(
            "net.ipv4.nexthop_compat_mode is 1: whenever gateways are switched, the kernel tells of up to \
             {routes} routes one by one, which keeps a processor for about 1 ms per 1000, and packets that \
             wait for it. If no program here follows single routes, set it to 0 (sysctl)"
        );
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
