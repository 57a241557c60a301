//! Which events of the kernel can change what is to be done.
//!
//! On a node where a routing daemon moves 100,000 routes of its own, comparing everything for each
//! of them would be all that is done. What is overlooked here is found by the periodic comparison.

use std::net::IpAddr;

use crate::kernel::RouteEvent;
use crate::model::{Protocol, RouteKey, TableId};
use crate::plan::Row;

/// What the last pass was about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Concern<'a> {
    /// Our number.
    pub(super) protocol: Protocol,
    /// Slots that are ours or wanted, in order.
    pub(super) rows: &'a [Row],
    /// Addresses whose next hop is used.
    pub(super) lookups: &'a [IpAddr],
}

impl Concern<'_> {
    /// Whether a pass should look.
    pub(super) fn covers(&self, event: &RouteEvent) -> bool {
        let connected = event.direct && event.key.table == TableId::MAIN;
        event.protocol == self.protocol
            || connected
            || self.is_wanted(&event.key)
            || self
                .lookups
                .iter()
                .any(|address| event.key.prefix.contains(*address))
    }

    /// Whether a document asks for a route to this prefix in this table, with whatever metric: a
    /// foreign one of lower metric takes its packets.
    pub(super) fn is_wanted(&self, key: &RouteKey) -> bool {
        let place = |key: &RouteKey| (key.table, key.prefix);
        let found = self
            .rows
            .partition_point(|row| place(&row.key) < place(key));
        self.rows
            .get(found)
            .is_some_and(|row| place(&row.key) == place(key))
    }
}
