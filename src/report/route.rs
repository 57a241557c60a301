//! A route as one line of text, in the words and order of `ip route`.

use std::collections::BTreeMap;
use std::fmt;

use super::Report;
use crate::model::{
    IfIndex, Link, Names, NextHop, Observed, ObservedRoute, RouteAttrs, RouteKey, RouteType,
};

/// Displays a route as iproute2 would, with metric and table always said.
#[derive(Debug, Clone, Copy)]
pub struct RouteText<'a> {
    /// The slot.
    pub key: &'a RouteKey,
    /// What it does; `None` where that is not known.
    pub attrs: Option<&'a RouteAttrs>,
    /// For interface names.
    pub links: &'a [Link],
    /// For the table's name; `None` where the table is said elsewhere.
    pub names: Option<&'a Names>,
}

impl fmt::Display for RouteText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.attrs.map(|attrs| attrs.kind) {
            None | Some(RouteType::Unicast) => {}
            Some(kind) => write!(f, "{} ", kind.name())?,
        }
        self.key.prefix.fmt(f)?;
        if let Some(attrs) = self.attrs {
            way(f, attrs, self.links)?;
        }
        write!(f, " metric {}", self.key.metric)?;
        match self.names {
            Some(names) => write!(f, " table {}", names.table(self.key.table)),
            None => Ok(()),
        }
    }
}

impl Report<'_> {
    /// All observed routes by table, each as a line of `ip route`.
    pub(super) fn table_lines(&self, observed: &Observed) -> BTreeMap<String, Vec<String>> {
        let names = self.inputs.names;
        let mut routes: Vec<&ObservedRoute> = observed.routes.iter().collect();
        routes.sort_by_key(|route| route.route.key);
        let mut tables = BTreeMap::<String, Vec<String>>::new();
        for ObservedRoute {
            route, protocol, ..
        } in routes
        {
            let text = RouteText {
                key: &route.key,
                attrs: Some(&route.attrs),
                links: &observed.links,
                names: None,
            };
            let table = tables.entry(names.table(route.key.table)).or_default();
            table.push(format!("{text} proto {}", names.protocol(*protocol)));
        }
        tables
    }
}

/// Displays just where a route leads: `via 10.0.0.1 dev eth1 src 10.0.0.2`, or `blackhole`.
pub(super) struct WayText<'a>(pub(super) &'a RouteAttrs, pub(super) &'a [Link]);

impl fmt::Display for WayText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        if self.0.kind != RouteType::Unicast {
            text += self.0.kind.name();
        }
        way(&mut text, self.0, self.1)?;
        f.write_str(text.trim_start())
    }
}

fn way(f: &mut impl fmt::Write, attrs: &RouteAttrs, links: &[Link]) -> fmt::Result {
    if let Some(id) = attrs.nexthop {
        write!(f, " nhid {id}")?;
    }
    match attrs.hops() {
        [only] => hop(f, only, links)?,
        several => {
            for next in several {
                f.write_str(" nexthop")?;
                hop(f, next, links)?;
                write!(f, " weight {}", next.weight)?;
            }
        }
    }
    if let Some(source) = attrs.source {
        write!(f, " src {source}")?;
    }
    if let Some(mtu) = attrs.mtu {
        write!(f, " mtu {mtu}")?;
    }
    if let Some(advmss) = attrs.advmss {
        write!(f, " advmss {advmss}")?;
    }
    if attrs.extra {
        f.write_str(" (and attributes that srsync does not set)")?;
    }
    Ok(())
}

fn hop(f: &mut impl fmt::Write, hop: &NextHop, links: &[Link]) -> fmt::Result {
    if let Some(via) = hop.via {
        write!(f, " via {via}")?;
    }
    if let Some(index) = hop.link {
        write!(f, " dev {}", link_name(index, links))?;
    }
    if hop.on_link {
        f.write_str(" onlink")?;
    }
    Ok(())
}

/// A link's name; `if7`, as iproute2 says, for one that is gone.
pub(super) fn link_name(index: IfIndex, links: &[Link]) -> String {
    match links.iter().find(|link| link.index == index) {
        Some(link) => link.name.clone(),
        None => format!("if{index}"),
    }
}
