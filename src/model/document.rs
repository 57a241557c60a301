//! A `StaticRoute` document after parsing and validation, whatever dialect it was written in.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::numbers::{AdvMss, InterfaceName, Metric, Mtu, TableId, Weight};
use super::prefix::{Family, Prefix};
use super::route::{RouteKey, RouteType};
use super::selector::NodeSelector;

/// Which operator's object a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// `srsync.dev/v1alpha1`.
    Native,
    /// `networking.digitalocean.com/v1`.
    DigitalOcean,
    /// `static-route.ibm.com/v1`.
    Ibm,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Native, Self::DigitalOcean, Self::Ibm];

    /// The `apiVersion` that marks it.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::Native => "srsync.dev/v1alpha1",
            Self::DigitalOcean => "networking.digitalocean.com/v1",
            Self::Ibm => "static-route.ibm.com/v1",
        }
    }

    /// Its API group.
    pub fn group(self) -> &'static str {
        let version = self.api_version();
        version.split('/').next().unwrap_or(version)
    }
}

/// What a document is called. Ordered by name first: conflicts are settled in this order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentId {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`, where there is one.
    pub namespace: Option<String>,
    /// Group and version.
    pub dialect: Dialect,
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A file, by its position in the list of files that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

/// How a file is called in output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName {
    /// As a person would open it: the path as given, joined with the name inside the directory.
    pub path: Arc<str>,
    /// The short form shown beside a route: relative to the one directory given, or the path.
    pub label: Arc<str>,
}

/// A line of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file.
    pub file: FileId,
    /// The line, from 1.
    pub line: u32,
}

/// A prefix that a document wants a route for, and where it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// The prefix.
    pub prefix: Prefix,
    /// Where it is written, in the document or in a file of `destinationsFrom`.
    pub place: Place,
}

/// A document that is valid by itself. Whether its routes can be installed is for `plan` to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its name.
    pub id: DocumentId,
    /// Where it begins.
    pub place: Place,
    /// Sorted and disjoint; `except` is already subtracted.
    pub destinations: Vec<Destination>,
    /// Where packets go.
    pub target: Target,
    /// The table, or `None` for the configured one.
    pub table: Option<TableId>,
    /// The metric, or `None` for the family's default.
    pub metric: Option<Metric>,
    /// Preferred source addresses: at most one for each family of destinations.
    pub source: Option<IpAddr>,
    /// Path MTU.
    pub mtu: Option<Mtu>,
    /// Advertised TCP segment size.
    pub advmss: Option<AdvMss>,
    /// Which nodes it is for.
    pub selector: NodeSelector,
    /// What parsing changed and a person should know ("3 duplicate destinations collapsed").
    pub notes: Vec<String>,
}

impl Document {
    /// One that says no more than where packets to these destinations go.
    pub fn new(
        id: DocumentId,
        place: Place,
        destinations: Vec<Destination>,
        target: Target,
    ) -> Self {
        Self {
            id,
            place,
            destinations,
            target,
            table: None,
            metric: None,
            source: None,
            mtu: None,
            advmss: None,
            selector: NodeSelector::default(),
            notes: Vec::new(),
        }
    }

    /// Its gateways and how to choose among them, if it names any.
    pub fn choice(&self) -> Option<&Gateways> {
        match &self.target {
            Target::Gateways(gateways) => Some(gateways),
            _ => None,
        }
    }

    /// The gateways that it names.
    pub fn gateways(&self) -> &[Gateway] {
        self.choice().map_or(&[], |gateways| &gateways.list)
    }

    /// The slot of a destination, where `usual` is the configured table.
    pub fn slot(&self, prefix: Prefix, usual: TableId) -> RouteKey {
        let metric = self.metric.unwrap_or(Metric::ZERO);
        RouteKey::new(self.table.unwrap_or(usual), prefix, metric)
    }

    /// The prefixes of one family, in order.
    pub fn prefixes(&self, family: Family) -> impl Iterator<Item = Prefix> {
        let prefixes = self.destinations.iter().map(|d| d.prefix);
        prefixes.filter(move |prefix| prefix.family() == family)
    }
}

/// Where the packets of a document go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// To one or several gateways.
    Gateways(Gateways),
    /// To the next hop that the kernel uses today to reach this address.
    Lookup(IpAddr),
    /// To the next hop towards the configured `gatewayLookup` (IBM's objects without `gateway`).
    ConfiguredLookup,
    /// Straight out of an interface.
    Interface(InterfaceName),
    /// Nowhere: blackhole, unreachable, prohibit or throw.
    Nowhere(RouteType),
}

/// Gateways and how to choose among them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gateways {
    /// In the order of the document, never empty; for each family of the destinations at least one.
    pub list: Vec<Gateway>,
    /// First healthy, or all healthy by weight.
    pub mode: Mode,
    /// In `ecmp`: flows stay where they are when other gateways come and go.
    pub resilient: bool,
    /// What happens when none is healthy.
    pub on_all_down: OnAllDown,
    /// A node that reaches none of these is isolated and does not switch.
    pub witness: Vec<IpAddr>,
    /// Whether to return to an earlier gateway when it is healthy again.
    pub preempt: bool,
}

impl Gateways {
    /// Whether somebody wants to know how one of them is.
    pub fn are_watched(&self) -> bool {
        self.list.iter().any(|gateway| gateway.check.is_some())
    }
}

/// One gateway.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gateway {
    /// Its address.
    pub address: IpAddr,
    /// The link it is behind; `None` finds it by the connected subnet.
    pub interface: Option<InterfaceName>,
    /// Its share in `ecmp`.
    pub weight: Weight,
    /// Taken to be on the link whatever the addresses say; needs an interface.
    pub on_link: bool,
    /// How to tell whether it is healthy: its own check, or the document's.
    pub check: Option<HealthCheck>,
}

/// How several gateways are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// The first healthy one carries all.
    Failover,
    /// All healthy ones, by weight.
    Ecmp,
}

/// What becomes of the routes when every gateway is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OnAllDown {
    /// They stay as they are (fail static).
    Keep,
    /// They are removed, so that the next matching route is used (fail open).
    Withdraw,
    /// Their packets are dropped (fail closed).
    Blackhole,
}

/// How the health of a gateway is found out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HealthCheck {
    /// What is sent.
    pub probe: Probe,
    /// What is probed, all of them; empty means the gateway itself.
    pub targets: Vec<IpAddr>,
    /// Time between probes.
    pub interval: Duration,
    /// Time after which a probe is lost; at most `interval`.
    pub timeout: Duration,
    /// So many lost probes in a row mean down.
    pub fall: u32,
    /// So many answered probes in a row mean up.
    pub rise: u32,
    /// How long a gateway must have been healthy before traffic returns to it.
    pub hold_down: Duration,
}

/// What a health check sends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Probe {
    /// ICMP or ICMPv6 echo.
    Icmp,
    /// A TCP connection.
    Tcp {
        /// Port, 1 to 65535.
        port: u16,
    },
    /// An HTTP request.
    Http {
        /// Port, 1 to 65535.
        port: u16,
        /// Path, beginning with `/`.
        path: String,
        /// `Host` header, if not the address.
        host: Option<String>,
        /// First and last status code taken as healthy.
        expect_status: (u16, u16),
    },
    /// The kernel's neighbour table (ARP, or neighbour discovery).
    Arp,
}
