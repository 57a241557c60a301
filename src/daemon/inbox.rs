//! Events that wait for the loop. In the middle of a pass only those of probes are looked at.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use super::{Event, WAITING};
use crate::probe::Probed;

/// What arrived, in order.
pub(super) struct Inbox {
    events: Receiver<Event>,
    /// Arrived amid a pass, and left for later. Bounded, as the channel is.
    left: VecDeque<Event>,
}

impl Inbox {
    pub(super) fn of(events: Receiver<Event>) -> Self {
        Self {
            events,
            left: VecDeque::new(),
        }
    }

    /// Waits for an event, at the latest until then. What arrived together is looked at together:
    /// bounded, so that a flood does not keep the loop from what is due.
    pub(super) fn wait_until(&mut self, latest: Instant) -> Vec<Event> {
        let mut events: Vec<Event> = self.left.drain(..).collect();
        if events.is_empty() {
            let wait = latest.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(wait) {
                Ok(event) => events.push(event),
                // The daemon holds a sender itself, so nobody is ever gone.
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return events,
            }
        }
        events.extend(self.events.try_iter().take(WAITING));
        events
    }

    /// The probes that have ended until now.
    pub(super) fn probes(&mut self) -> Vec<Probed> {
        let mut probes = Vec::new();
        while self.left.len() < WAITING {
            match self.events.try_recv() {
                Ok(Event::Probed(probed)) => probes.push(probed),
                Ok(other) => self.left.push_back(other),
                Err(_) => break,
            }
        }
        probes
    }
}
