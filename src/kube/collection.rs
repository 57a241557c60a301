//! The kinds of objects that are read like documents, as the API calls them. Pure.

use std::fmt;

use super::trouble::Purpose;
use crate::model::{Dialect, KubeSource};

/// The kinds of our own group besides routes, which a cluster may lack: their CRDs came one after the other.
const NATIVE: [(&str, &str); 5] = [
    ("gatewayoverrides", "GatewayOverride"),
    ("forwardings", "Forwarding"),
    ("masquerades", "Masquerade"),
    ("routingrules", "RoutingRule"),
    ("connectivitychecks", "ConnectivityCheck"),
];

/// All objects of one kind and group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Collection {
    dialect: Dialect,
    plural: &'static str,
    kind: &'static str,
    /// Somebody asked for this very group.
    named: bool,
}

impl Collection {
    /// The collections that a source is made of.
    pub fn of(source: &KubeSource) -> Vec<Self> {
        let (groups, named) = match source {
            KubeSource::Off => return Vec::new(),
            KubeSource::Present => (Dialect::ALL.to_vec(), false),
            KubeSource::Groups(groups) => (groups.iter().copied().collect(), true),
        };
        let routes = groups.iter().map(|dialect| Self {
            dialect: *dialect,
            plural: "staticroutes",
            kind: "StaticRoute",
            named,
        });
        let has_native = groups.contains(&Dialect::Native);
        let others = NATIVE.iter().filter(|_| has_native);
        let others = others.map(|(plural, kind)| Self {
            dialect: Dialect::Native,
            plural,
            kind,
            named: false,
        });
        routes.chain(others).collect()
    }

    /// Where the API has it.
    pub(super) fn path(self) -> String {
        format!("/apis/{}/{}", self.dialect.api_version(), self.plural)
    }

    /// Where the API has one of it.
    pub(super) fn path_of(self, name: &str) -> String {
        match name.split_once('/') {
            None => format!("{}/{name}", self.path()),
            Some((namespace, name)) => format!(
                "/apis/{}/namespaces/{namespace}/{}/{name}",
                self.dialect.api_version(),
                self.plural
            ),
        }
    }

    /// Whose objects they are.
    pub(super) fn dialect(self) -> Dialect {
        self.dialect
    }

    /// Whether it is no trouble if the cluster does not have it.
    pub(super) fn is_optional(self) -> bool {
        !self.named
    }

    pub(super) fn api_version(self) -> &'static str {
        self.dialect.api_version()
    }

    pub(super) fn kind(self) -> &'static str {
        self.kind
    }

    /// What a request of all of it is for.
    pub(super) fn purpose(self, verb: &'static str, verbs: &'static str) -> Purpose {
        let group = self.dialect.group();
        Purpose {
            verb,
            group,
            resource: self.plural,
            name: format!("of {group}"),
            verbs,
            missing: "install its CRD, or leave its group out of `groups` (--kube-source)",
        }
    }
}

impl fmt::Display for Collection {
    /// `staticroutes.srsync.dev`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.plural, self.dialect.group())
    }
}
