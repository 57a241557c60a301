//! A `GatewayOverride` document: somebody decided about a gateway, whatever its health says.

use std::net::IpAddr;

use super::document::{DocumentId, Place};
use super::time::Timestamp;

/// A decision about one gateway, wherever it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayOverride {
    /// Its name.
    pub id: DocumentId,
    /// Where it begins.
    pub place: Place,
    /// The gateway, in every document that names it and on every link.
    pub gateway: IpAddr,
    /// What was decided.
    pub state: OverrideState,
    /// When it ends by itself; `None` lasts for as long as the document is there.
    pub until: Option<Timestamp>,
}

impl GatewayOverride {
    /// Whether it counts at this moment. One that has ended is as if it were not there.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// What can be decided about a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OverrideState {
    /// Traffic leaves it as soon as another one works.
    Drained,
    /// It is healthy, whatever the probes say.
    ForcedUp,
}

impl OverrideState {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Drained, Self::ForcedUp];

    /// The word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drained => "Drained",
            Self::ForcedUp => "ForcedUp",
        }
    }
}
