//! A node's links, addresses and routes as a file, and what it does besides having routes: what `srsync snapshot` writes
//! and `srsync try --snapshot` reads.
//!
//! Owns the format and its translation from and to [`Observed`]. Names instead of numbers
//! wherever there are names, so that a person can read it, shorten it, or write one by hand.

mod egress;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{
    Address, AdvMss, IfIndex, Link, Lookup, Metric, Mtu, Names, NextHop, Observed, ObservedRoute,
    Prefix, PrefixError, Protocol, Route, RouteAttrs, RouteKey, RouteType, Scope, TableId, Tos,
    Weight,
};

use egress::{BeforeEntry, NatEntry, RuleEntry};

/// Why a file is not a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Not YAML, or not of this form.
    #[error("not a snapshot as `srsync snapshot` writes it")]
    Form(#[source] Box<serde_yaml::Error>),
    /// Another kind of document.
    #[error("kind is `{0}`, not `Snapshot`: this is not a file that `srsync snapshot` wrote")]
    Kind(String),
    /// A prefix that is none.
    #[error(transparent)]
    Prefix(#[from] PrefixError),
    /// A route or address that names a link which the file does not have.
    #[error("interface `{0}` is used but not among `links`")]
    NoLink(String),
    /// A word that stands for nothing known.
    #[error("`{word}` is not a {what}")]
    Unknown {
        /// What was expected.
        what: &'static str,
        /// What was found.
        word: String,
    },
}

/// A whole snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Snapshot {
    #[serde(default = "api_version")]
    api_version: String,
    #[serde(default = "kind")]
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(default)]
    links: Vec<LinkEntry>,
    #[serde(default)]
    routes: Vec<RouteEntry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lookups: Vec<LookupEntry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rules: Vec<RuleEntry>,
    /// Where there are none, they are as after boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settings: Option<BTreeMap<String, i32>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    settings_before: BTreeMap<String, BeforeEntry>,
    /// Why they cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settings_read_only: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nat: Option<NatEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LinkEntry {
    name: String,
    index: u32,
    #[serde(default = "yes")]
    up: bool,
    #[serde(default = "yes")]
    carrier: bool,
    #[serde(default)]
    loopback: bool,
    #[serde(default)]
    addresses: Vec<AddressEntry>,
}

/// `10.0.0.3/24`, or `10.0.0.3 peer 10.0.0.4/32`, as `ip address` says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct AddressEntry(String);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RouteEntry {
    prefix: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    r#type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    via: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dev: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    on_link: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    next_hops: Vec<HopEntry>,
    protocol: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metric: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tos: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    advmss: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HopEntry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    via: Option<IpAddr>,
    dev: String,
    #[serde(default = "one")]
    weight: u16,
    #[serde(default, skip_serializing_if = "is_false")]
    on_link: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LookupEntry {
    address: IpAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    via: Option<IpAddr>,
    dev: String,
    protocol: String,
}

fn api_version() -> String {
    "srsync.dev/v1alpha1".to_owned()
}

fn kind() -> String {
    "Snapshot".to_owned()
}

fn yes() -> bool {
    true
}

fn one() -> u16 {
    1
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Snapshot {
    /// Writes down what was observed on a node.
    pub fn of(observed: &Observed, node: &str, names: &Names) -> Self {
        let writer = Writer { observed, names };
        Self {
            api_version: api_version(),
            kind: kind(),
            node: Some(node.to_owned()),
            links: observed
                .links
                .iter()
                .map(|link| writer.link(link))
                .collect(),
            routes: observed.routes.iter().map(|r| writer.route(r)).collect(),
            lookups: Vec::new(),
            rules: observed
                .egress
                .rules
                .iter()
                .map(|rule| writer.rule(rule))
                .collect(),
            settings: Some(writer.settings()),
            settings_before: writer.settings_before(),
            settings_read_only: observed.egress.sysctls.read_only.clone(),
            nat: writer.nat(),
        }
    }

    /// Reads a snapshot's text.
    ///
    /// # Errors
    /// If it is not YAML or JSON of this form.
    pub fn parse(text: &str) -> Result<Self, SnapshotError> {
        let snapshot: Self =
            serde_yaml::from_str(text).map_err(|error| SnapshotError::Form(Box::new(error)))?;
        if snapshot.kind != kind() {
            return Err(SnapshotError::Kind(snapshot.kind));
        }
        Ok(snapshot)
    }

    /// As a node that could have been observed.
    ///
    /// # Errors
    /// If an entry makes no sense: an unknown interface, table or protocol, a bad prefix.
    pub fn to_observed(&self, names: &Names) -> Result<Observed, SnapshotError> {
        let reader = Reader {
            links: &self.links,
            names,
        };
        let mut observed = Observed::default();
        for entry in &self.links {
            observed.links.push(Link {
                index: IfIndex::new(entry.index),
                name: entry.name.clone(),
                up: entry.up,
                carrier: entry.carrier,
                loopback: entry.loopback,
            });
            for address in &entry.addresses {
                observed.addresses.push(address.read(entry.index)?);
            }
        }
        for entry in &self.routes {
            observed.routes.push(reader.route(entry)?);
        }
        for entry in &self.lookups {
            let lookup = Lookup {
                via: entry.via,
                link: reader.link(&entry.dev)?,
                protocol: reader.protocol(&entry.protocol)?,
            };
            observed.lookups.insert(entry.address, lookup);
        }
        observed.egress = reader.egress(self)?;
        Ok(observed)
    }
}

struct Writer<'a> {
    observed: &'a Observed,
    names: &'a Names,
}

impl Writer<'_> {
    fn link(&self, link: &Link) -> LinkEntry {
        let own = self.observed.addresses.iter();
        LinkEntry {
            name: link.name.clone(),
            index: link.index.get(),
            up: link.up,
            carrier: link.carrier,
            loopback: link.loopback,
            addresses: own
                .filter(|address| address.link == link.index)
                .map(AddressEntry::write)
                .collect(),
        }
    }

    fn route(&self, observed: &ObservedRoute) -> RouteEntry {
        let Route { key, attrs } = &observed.route;
        let hop = |hop: &NextHop| HopEntry {
            via: hop.via,
            dev: hop.link.map(|link| self.dev(link)).unwrap_or_default(),
            weight: hop.weight.get(),
            on_link: hop.on_link,
        };
        let (single, several) = match attrs.hops() {
            [only] => (Some(*only), Vec::new()),
            hops => (None, hops.iter().map(hop).collect()),
        };
        let plain = attrs.kind == RouteType::Unicast;
        RouteEntry {
            prefix: key.prefix.to_string(),
            r#type: (!plain).then(|| type_word(attrs.kind)),
            via: single.and_then(|hop| hop.via),
            dev: single.and_then(|hop| hop.link).map(|link| self.dev(link)),
            on_link: single.is_some_and(|hop| hop.on_link),
            next_hops: several,
            protocol: self.protocol(observed.protocol),
            table: Some(self.names.table(key.table)),
            metric: (key.metric != Metric::ZERO).then(|| key.metric.get()),
            tos: (key.tos.get() != 0).then(|| key.tos.get()),
            scope: (observed.scope != Scope::UNIVERSE).then(|| scope_word(observed.scope)),
            source: attrs.source,
            mtu: attrs.mtu.map(|mtu| mtu.get()),
            advmss: attrs.advmss.map(|advmss| advmss.get()),
        }
    }

    fn dev(&self, link: IfIndex) -> String {
        match self.observed.link(link) {
            Some(link) => link.name.clone(),
            None => format!("if{link}"),
        }
    }

    /// The bare name: `bird` of `bird (12)`.
    fn protocol(&self, protocol: Protocol) -> String {
        let text = self.names.protocol(protocol);
        match text.split_once(' ') {
            Some((name, _)) => name.to_owned(),
            None => text,
        }
    }
}

struct Reader<'a> {
    links: &'a [LinkEntry],
    names: &'a Names,
}

impl Reader<'_> {
    fn route(&self, entry: &RouteEntry) -> Result<ObservedRoute, SnapshotError> {
        let table = match &entry.table {
            Some(word) => self.table(word)?,
            None => TableId::MAIN,
        };
        let metric = Metric::new(entry.metric.unwrap_or(0));
        let mut key = RouteKey::new(table, entry.prefix.parse::<Prefix>()?, metric);
        key.tos = Tos::new(entry.tos.unwrap_or(0));
        let mut attrs = self.attrs(entry)?;
        attrs.source = entry.source;
        attrs.mtu = entry.mtu.map(Mtu::new);
        attrs.advmss = entry.advmss.map(AdvMss::new);
        Ok(ObservedRoute {
            protocol: self.protocol(&entry.protocol)?,
            scope: match &entry.scope {
                Some(word) => scope_number(word)?,
                None => attrs.scope(key.prefix.family()),
            },
            route: Route {
                key,
                attrs: Arc::new(attrs),
            },
        })
    }

    fn attrs(&self, entry: &RouteEntry) -> Result<RouteAttrs, SnapshotError> {
        let kind = match &entry.r#type {
            Some(word) => type_number(word)?,
            None => RouteType::Unicast,
        };
        let mut hops = Vec::new();
        if let Some(dev) = &entry.dev {
            hops.push(NextHop {
                via: entry.via,
                link: Some(self.link(dev)?),
                weight: Weight::ONE,
                on_link: entry.on_link,
            });
        }
        for hop in &entry.next_hops {
            hops.push(NextHop {
                via: hop.via,
                link: Some(self.link(&hop.dev)?),
                weight: Weight::new(hop.weight)
                    .ok_or_else(|| unknown("weight of 1 to 256", &hop.weight.to_string()))?,
                on_link: hop.on_link,
            });
        }
        let mut attrs = RouteAttrs::unicast(hops);
        attrs.kind = kind;
        Ok(attrs)
    }

    fn link(&self, name: &str) -> Result<IfIndex, SnapshotError> {
        let mut links = self.links.iter();
        let link = links.find(|link| link.name == name);
        link.map(|link| IfIndex::new(link.index))
            .ok_or_else(|| SnapshotError::NoLink(name.to_owned()))
    }

    fn table(&self, word: &str) -> Result<TableId, SnapshotError> {
        self.names
            .table_named(word)
            .or_else(|| word.parse().ok().map(TableId::new))
            .ok_or_else(|| unknown("table", word))
    }

    fn protocol(&self, word: &str) -> Result<Protocol, SnapshotError> {
        self.names
            .protocol_named(word)
            .ok_or_else(|| unknown("protocol", word))
    }
}

impl AddressEntry {
    fn write(address: &Address) -> Self {
        let Address { local, length, .. } = address;
        Self(match address.peer {
            Some(peer) => format!("{local} peer {peer}/{length}"),
            None => format!("{local}/{length}"),
        })
    }

    fn read(&self, link: u32) -> Result<Address, SnapshotError> {
        let wrong = || unknown("address such as 10.0.0.3/24", &self.0);
        let (text, length) = self.0.rsplit_once('/').ok_or_else(wrong)?;
        let (local, peer) = match text.split_once(" peer ") {
            Some((local, peer)) => (local, Some(peer.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let local: IpAddr = local.parse().map_err(|_| wrong())?;
        let length = length.parse().map_err(|_| wrong())?;
        Prefix::containing(local, length).ok_or_else(wrong)?;
        Ok(Address {
            link: IfIndex::new(link),
            local,
            length,
            peer,
        })
    }
}

fn unknown(what: &'static str, word: &str) -> SnapshotError {
    SnapshotError::Unknown {
        what,
        word: word.to_owned(),
    }
}

/// Names of route types with their numbers (`RTN_*`, linux/rtnetlink.h).
const TYPES: [(&str, RouteType); 9] = [
    ("unicast", RouteType::Unicast),
    ("blackhole", RouteType::Blackhole),
    ("unreachable", RouteType::Unreachable),
    ("prohibit", RouteType::Prohibit),
    ("throw", RouteType::Throw),
    ("local", RouteType::Other(2)),
    ("broadcast", RouteType::Other(3)),
    ("anycast", RouteType::Other(4)),
    ("multicast", RouteType::Other(5)),
];

fn type_word(kind: RouteType) -> String {
    match (TYPES.iter().find(|(_, known)| *known == kind), kind) {
        (Some((word, _)), _) => (*word).to_owned(),
        (None, RouteType::Other(number)) => number.to_string(),
        (None, _) => kind.name().to_owned(),
    }
}

fn type_number(word: &str) -> Result<RouteType, SnapshotError> {
    match TYPES.iter().find(|(known, _)| *known == word) {
        Some((_, kind)) => Ok(*kind),
        None => word
            .parse()
            .map(RouteType::Other)
            .map_err(|_| unknown("route type", word)),
    }
}

/// Names of scopes with their numbers (`RT_SCOPE_*`, linux/rtnetlink.h).
const SCOPES: [(&str, Scope); 3] = [
    ("global", Scope::UNIVERSE),
    ("link", Scope::LINK),
    ("host", Scope::HOST),
];

fn scope_word(scope: Scope) -> String {
    match SCOPES.iter().find(|(_, known)| *known == scope) {
        Some((word, _)) => (*word).to_owned(),
        None => scope.to_string(),
    }
}

fn scope_number(word: &str) -> Result<Scope, SnapshotError> {
    match SCOPES.iter().find(|(known, _)| *known == word) {
        Some((_, scope)) => Ok(*scope),
        None => word
            .parse()
            .map(Scope::new)
            .map_err(|_| unknown("scope", word)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "
links:
- {name: lo, index: 1, loopback: true, addresses: [127.0.0.1/8]}
- {name: eth1, index: 2, addresses: [10.116.0.3/24, 192.0.2.1 peer 192.0.2.2/32]}
- {name: eth2, index: 3, up: false, carrier: false}
routes:
- {prefix: 10.116.0.0/24, dev: eth1, protocol: kernel, source: 10.116.0.3}
- {prefix: 127.0.0.1, type: local, dev: lo, protocol: kernel, table: local, scope: host}
- {prefix: 198.51.100.0/24, via: 10.116.0.5, dev: eth1, protocol: bird, metric: 32, mtu: 1400}
- prefix: 203.0.113.0/24
  protocol: '200'
  nextHops:
  - {via: 10.116.0.5, dev: eth1, weight: 256}
  - {via: 10.116.0.6, dev: eth1, onLink: true}
- {prefix: '2001:db8::/32', type: blackhole, protocol: srsync, table: '1000'}
";

    #[test]
    fn a_snapshot_is_the_node_it_was_taken_from() {
        let names = Names::default();
        let observed = Snapshot::parse(NODE).unwrap().to_observed(&names).unwrap();
        assert_eq!(observed.routes.len(), 5);
        let written = Snapshot::of(&observed, "gw-1", &names);
        let text = serde_yaml::to_string(&written).unwrap();
        let read = Snapshot::parse(&text).unwrap();
        assert_eq!(read.to_observed(&names).unwrap(), observed, "{text}");
    }

    #[test]
    fn a_broken_snapshot_says_what_is_wrong() {
        let names = Names::default();
        let error = |text: &str| match Snapshot::parse(text) {
            Ok(snapshot) => snapshot.to_observed(&names).unwrap_err().to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(
            error("routes: [{prefix: 10.0.0.0/8, dev: eth9, protocol: static}]"),
            "interface `eth9` is used but not among `links`"
        );
        assert_eq!(
            error("routes: [{prefix: 10.0.0.1/8, protocol: static}]"),
            "`10.0.0.1/8` has host bits set; did you mean `10.0.0.0/8`?"
        );
        assert_eq!(
            error("kind: StaticRoute"),
            "kind is `StaticRoute`, not `Snapshot`: this is not a file that `srsync snapshot` wrote"
        );
        assert!(error("links: 7").starts_with("not a snapshot"));
    }
}
