//! Addresses that tell a dead gateway from a node that is cut off itself.

use std::net::IpAddr;
use std::time::Instant;

/// The witnesses of a document. Without any, everything is vouched for.
#[derive(Debug, Clone)]
pub struct Witnesses {
    /// So many lost probes in a row, and a witness is out of reach.
    fall: u32,
    /// Each, with the number of its lost probes in a row.
    lost: Vec<(IpAddr, u32)>,
    /// When one of them answered last.
    heard: Option<Instant>,
}

impl Witnesses {
    /// Witnesses that were not asked yet. They should be asked at least as often as the gateways.
    pub fn new(addresses: impl IntoIterator<Item = IpAddr>, fall: u32) -> Self {
        Self {
            fall,
            lost: addresses.into_iter().map(|address| (address, 0)).collect(),
            heard: None,
        }
    }

    /// A probe of a witness was answered, or lost. Whether the node is isolated by that, or is not
    /// any longer, if that is news.
    pub fn probe(&mut self, witness: IpAddr, answered: bool, now: Instant) -> Option<bool> {
        let before = self.isolated();
        let known = self.lost.iter_mut().find(|(known, _)| *known == witness);
        let (_, lost) = known?;
        *lost = if answered { 0 } else { lost.saturating_add(1) };
        if answered {
            self.heard = Some(now);
        }
        let isolated = self.isolated();
        (isolated != before).then_some(isolated)
    }

    /// Whether no witness can be reached: it is the node that is cut off.
    pub fn isolated(&self) -> bool {
        let out_of_reach = |(_, lost): &(IpAddr, u32)| *lost >= self.fall;
        !self.lost.is_empty() && self.lost.iter().all(out_of_reach)
    }

    /// Whether this node was connected at some time since `then`, so that a probe which was lost
    /// meanwhile says something about the gateway.
    ///
    /// Isolation is noticed only after some lost probes, and its end before the gateway answers
    /// again: who asks "is it isolated now?" would blame the gateway at both edges.
    pub(super) fn vouch(&self, then: Instant) -> bool {
        self.lost.is_empty() || self.heard.is_some_and(|heard| heard >= then)
    }
}
