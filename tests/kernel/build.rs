//! Short ways to say routes.

use std::collections::BTreeSet;
use std::sync::Arc;

use srsync::kernel::{Change, Failure, Interest, Kernel, NextHops, Tables};
use srsync::model::{
    IfIndex, Metric, NextHop, Observed, ObservedRoute, Protocol, Route, RouteAttrs, RouteKey,
    RouteType, TableId, Weight,
};

use crate::support::ip;

pub const OURS: Protocol = Protocol::SRSYNC;

/// What is in the tables 100 and 100000, of whomever, and ours everywhere.
pub fn interest() -> Interest {
    Interest {
        nexthops: NextHops::Needed,
        protocol: OURS,
        tables: Tables::Only(BTreeSet::from([TableId::new(100), TableId::new(100_000)])),
        lookups: BTreeSet::new(),
    }
}

pub fn observe() -> Observed {
    Kernel::open().unwrap().observe(&interest()).unwrap()
}

/// The routes of table 100.
pub fn observed_routes() -> Vec<ObservedRoute> {
    observe().routes
}

pub fn apply(changes: &[Change<'_>]) -> Vec<Failure> {
    Kernel::open().unwrap().apply(OURS, changes).unwrap()
}

/// Applies, and no change may fail.
pub fn apply_all(changes: &[Change<'_>]) {
    assert_eq!(apply(changes), [], "{changes:#?}");
}

pub fn link(name: &str) -> IfIndex {
    // Not from /sys, which shows the namespace in which it was mounted.
    let json: serde_json::Value =
        serde_json::from_str(&ip(&format!("-j link show dev {name}"))).unwrap();
    IfIndex::new(json[0]["ifindex"].as_u64().unwrap() as u32)
}

pub fn via(gateway: &str, link: IfIndex) -> NextHop {
    NextHop {
        via: Some(gateway.parse().unwrap()),
        link: Some(link),
        weight: Weight::ONE,
        on_link: false,
    }
}

pub fn dev(link: IfIndex) -> NextHop {
    NextHop {
        via: None,
        link: Some(link),
        weight: Weight::ONE,
        on_link: false,
    }
}

pub fn weighing(hop: NextHop, weight: u16) -> NextHop {
    NextHop {
        weight: Weight::new(weight).unwrap(),
        ..hop
    }
}

pub fn unicast(hops: &[NextHop]) -> RouteAttrs {
    RouteAttrs::unicast(hops.to_vec())
}

pub fn nowhere(kind: RouteType) -> RouteAttrs {
    RouteAttrs::without_hops(kind)
}

/// A route of table 100 with metric 50.
pub fn route(prefix: &str, attrs: RouteAttrs) -> Route {
    Route {
        key: RouteKey::new(TableId::new(100), prefix.parse().unwrap(), Metric::new(50)),
        attrs: Arc::new(attrs),
    }
}
