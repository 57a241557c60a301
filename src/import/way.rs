//! Where a route goes, as far as a document can say it.

use std::net::IpAddr;

use super::{LeftOut, Why};
use crate::model::{
    AdvMss, Family, IfIndex, InterfaceName, Metric, Mtu, NextHop, Observed, ObservedRoute, Prefix,
    RouteAttrs, RouteKey, RouteType, TableId, Tos, Weight,
};
use crate::spec;

/// All that a document says beside its destinations. Ordered as documents are written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Way {
    /// `None` for the main table, where that goes without saying.
    pub(super) table: Option<TableId>,
    pub(super) out: Out,
    /// `None` for what the family has without one.
    pub(super) metric: Option<Metric>,
    pub(super) source: Option<IpAddr>,
    pub(super) mtu: Option<Mtu>,
    pub(super) advmss: Option<AdvMss>,
}

/// Where packets go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Out {
    Gateways(Vec<Hop>),
    Interface(InterfaceName),
    Nowhere(RouteType),
}

/// A gateway.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hop {
    pub(super) address: IpAddr,
    pub(super) link: InterfaceName,
    /// Whether the link is said, because it would not be found without.
    pub(super) says_link: bool,
    pub(super) weight: Weight,
    pub(super) on_link: bool,
}

impl Way {
    /// The way of a route, or why there is none for documents.
    pub(super) fn of(observed: &ObservedRoute, around: &Surroundings<'_>) -> Result<Self, Why> {
        let key = observed.route.key;
        let attrs = &observed.route.attrs;
        let family = key.prefix.family();
        if let RouteType::Other(_) = attrs.kind {
            return Err(Why::Type(attrs.kind));
        }
        if let Some(message) = spec::refused_destination(&key.prefix) {
            return Err(Why::NoDocument(message));
        }
        if key.tos != Tos::new(0) {
            return Err(Why::Tos(key.tos));
        }
        if let Some(id) = attrs.nexthop {
            return Err(Why::ByNextHop(id));
        }
        if observed.scope != attrs.scope(family) {
            return Err(Why::Scope(observed.scope));
        }
        if attrs.extra {
            return Err(Why::Extra);
        }
        let namer = Namer {
            around,
            table: key.table,
        };
        let is_usual_table = [key.table, around.usual_table] == [TableId::MAIN; 2];
        let usual = RouteKey::new(key.table, key.prefix, Metric::ZERO).metric;
        Ok(Self {
            table: (!is_usual_table).then_some(key.table),
            out: namer.out(attrs, family)?,
            metric: (key.metric != usual).then_some(key.metric),
            source: attrs.source,
            mtu: attrs.mtu,
            advmss: attrs.advmss,
        })
    }

    /// The same with every link said, if that is more than it says.
    pub(super) fn with_links(&self) -> Option<Self> {
        let mut said = self.clone();
        if let Out::Gateways(hops) = &mut said.out {
            hops.iter_mut().for_each(|hop| hop.says_link = true);
        }
        (said != *self).then_some(said)
    }

    /// Says why a route that goes this way is left out.
    pub(super) fn left_out(&self, prefix: Prefix, why: Why) -> LeftOut {
        let table = self.table.unwrap_or(TableId::MAIN);
        let key = RouteKey::new(table, prefix, self.metric.unwrap_or(Metric::ZERO));
        LeftOut { key, why }
    }
}

impl Hop {
    /// The link, where it is said.
    pub(super) fn interface(&self) -> Option<&InterfaceName> {
        self.says_link.then_some(&self.link)
    }
}

/// What it takes to say where a route goes.
pub(super) struct Surroundings<'a> {
    pub(super) node: &'a Observed,
    /// The table of documents that name none.
    pub(super) usual_table: TableId,
    /// Finds the link that a gateway is on when nobody names it, for routes of a table.
    pub(super) link_towards: &'a dyn Fn(IpAddr, TableId) -> Option<IfIndex>,
}

/// Says where the routes of a table go.
struct Namer<'a> {
    around: &'a Surroundings<'a>,
    table: TableId,
}

impl Namer<'_> {
    fn out(&self, attrs: &RouteAttrs, family: Family) -> Result<Out, Why> {
        if attrs.kind != RouteType::Unicast {
            return Ok(Out::Nowhere(attrs.kind));
        }
        match attrs.hops() {
            [] => Err(Why::NoLink),
            [only] if only.via.is_none() => Ok(Out::Interface(self.interface(only)?)),
            hops => {
                let hops = hops.iter().map(|hop| self.hop(hop, family));
                Ok(Out::Gateways(hops.collect::<Result<_, _>>()?))
            }
        }
    }

    fn hop(&self, hop: &NextHop, family: Family) -> Result<Hop, Why> {
        let address = hop.via.ok_or(Why::SeveralLinks)?;
        if Family::of(&address) != family {
            return Err(Why::OtherFamily);
        }
        let link = self.interface(hop)?;
        let is_link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let says_link = is_link_local
            || hop.on_link
            || (self.around.link_towards)(address, self.table) != hop.link;
        Ok(Hop {
            address,
            link,
            says_link,
            weight: hop.weight,
            on_link: hop.on_link,
        })
    }

    fn interface(&self, hop: &NextHop) -> Result<InterfaceName, Why> {
        let link = hop.link.and_then(|index| self.around.node.link(index));
        let name = link.and_then(|link| InterfaceName::new(&link.name));
        name.ok_or(Why::NoLink)
    }
}
