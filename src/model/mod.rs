//! What routes, documents and nodes *are*: pure types, shared by every other module.
//!
//! Owns the vocabulary (prefix, table, metric, next hop, document, state) and the invariants that
//! can be checked without knowing anything else: a [`Prefix`] has no host bits, a [`Weight`] is
//! 1 to 256, the hops of a [`RouteAttrs`] are in one canonical order.
//!
//! Must not read a file, open a socket, ask a clock, or know how anything is written in YAML
//! or on the netlink wire.

pub mod document;
pub mod egress;
pub mod gateway_override;
pub mod kube_source;
pub mod log;
pub mod names;
pub mod nexthop;
pub mod node;
pub mod numbers;
pub mod packet;
pub mod policy;
pub mod prefix;
pub mod prefix_set;
pub mod probed;
pub mod route;
pub mod selector;
pub mod state;
pub mod steering;
pub mod time;

pub use document::{
    Destination, Dialect, Document, DocumentId, FileId, FileName, Gateway, Place, Target,
};
pub use egress::{ConnectivityCheck, Egress, EgressKind, EgressSpec};
pub use gateway_override::{GatewayOverride, OverrideState};
pub use kube_source::KubeSource;
pub use log::{LogFormat, LogLevel};
pub use names::Names;
pub use nexthop::{NextHopGroup, NextHopKind, NextHopMember, NextHopObject, Resilient};
pub use node::{Address, Link, Lookup, Observed, ObservedRoute};
pub use numbers::{
    AdvMss, Centiseconds, IfIndex, InterfaceName, Metric, Mtu, NextHopId, Protocol, Scope, TableId,
    Tos, Weight,
};
pub use packet::{NoWay, Packet, Refused, Taken, Way};
pub use policy::{ForeignRoutes, MaxRemovals, Policy};
pub use prefix::{Family, Prefix, PrefixError};
pub use prefix_set::PrefixSet;
pub use route::{NextHop, Route, RouteAttrs, RouteKey, RouteType};
pub use selector::{Labels, NodeSelector, Selected};
pub use state::State;
pub use steering::{Standby, Steer, Steering};
pub use time::Timestamp;
