//! Which documents have their routes withdrawn: the kernel shows nothing of it, and who does not know
//! would lead traffic to dead gateways after a restart, until probes have proven them dead again.

use std::collections::BTreeSet;

use crate::daemon::store::Store;
use crate::gateway::Carry;
use crate::model::{DocumentId, Family};

use super::{Decider, Known};

/// The documents and families whose routes are withdrawn, as kept in a file.
pub(in crate::daemon) struct Withdrawn {
    store: Store,
    /// As the file says it.
    kept: BTreeSet<String>,
    /// That it cannot be kept was told.
    told: bool,
}

impl Withdrawn {
    /// What the last daemon left.
    pub(in crate::daemon) fn load(store: Store) -> Self {
        let kept = store.load().unwrap_or_else(|why| {
            tracing::warn!("gateways count as healthy until probes say otherwise: {why}");
            BTreeSet::new()
        });
        Self {
            store,
            kept,
            told: false,
        }
    }

    /// Whether the routes of this family were withdrawn when it was kept last.
    pub(super) fn has(&self, document: &DocumentId, family: Family) -> bool {
        !self.kept.is_empty() && self.kept.contains(&name(document, family))
    }

    /// Keeps what is withdrawn now.
    pub(super) fn keep(&mut self, known: &Known) {
        let is_withdrawn = |decider: &Decider| decider.carrying() == Some(&Carry::Withdraw);
        let now = known.deciders.iter();
        let now = now.filter(|(_, decider)| is_withdrawn(decider));
        let now: BTreeSet<String> = now.map(|((id, family), _)| name(id, *family)).collect();
        if now == self.kept {
            return;
        }
        self.kept = now;
        if let Err(why) = self.store.save(&self.kept)
            && !self.told
        {
            self.told = true;
            tracing::warn!("which routes are withdrawn will not be known after a restart: {why}");
        }
    }
}

fn name(document: &DocumentId, family: Family) -> String {
    format!("{document} {family}")
}
