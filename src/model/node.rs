//! A node as observed: links, addresses and routes. Facts only; what they mean is decided in `plan`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::egress::ObservedEgress;
use super::nexthop::NextHopObject;
use super::numbers::{IfIndex, NextHopId, Protocol, Scope};
use super::route::Route;

/// Everything that was read from one kernel, complete or not there at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Network interfaces, by index.
    pub links: Vec<Link>,
    /// Addresses of the interfaces.
    pub addresses: Vec<Address>,
    /// Routes, in any order: those of our protocol in all tables, everybody's in the tables that
    /// were asked for.
    pub routes: Vec<ObservedRoute>,
    /// How the kernel reaches the addresses that were asked about (`gatewayLookup`); an address
    /// that it cannot reach is absent.
    pub lookups: BTreeMap<IpAddr, Lookup>,
    /// Nexthop objects of all owners, by number.
    pub nexthops: Vec<NextHopObject>,
    /// Whether the kernel has nexthop objects at all (Linux 5.3).
    pub nexthop_objects: bool,
    /// What the node does besides having routes.
    pub egress: ObservedEgress,
}

impl Observed {
    /// The link of this name.
    pub fn link_named(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    /// The nexthop object with this number.
    pub fn nexthop(&self, id: NextHopId) -> Option<&NextHopObject> {
        let place = self.nexthops.binary_search_by_key(&id, |object| object.id);
        self.nexthops.get(place.ok()?)
    }

    /// The link of this index.
    pub fn link(&self, index: IfIndex) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The kernel's index.
    pub index: IfIndex,
    /// Its name, such as `eth0`.
    pub name: String,
    /// Administratively up (`IFF_UP`): a link that is down carries no route.
    pub up: bool,
    /// The line is alive and used (`IFF_LOWER_UP`, `IFF_RUNNING`): without it routes stay but carry
    /// nothing.
    pub carrier: bool,
    /// The loopback interface (`IFF_LOOPBACK`).
    pub loopback: bool,
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The interface.
    pub link: IfIndex,
    /// The local address (`IFA_LOCAL`).
    pub local: IpAddr,
    /// Length of the connected subnet in bits.
    pub length: u8,
    /// The other end of a point-to-point address (`IFA_ADDRESS` where it differs).
    pub peer: Option<IpAddr>,
}

/// A route of the kernel with whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedRoute {
    /// Slot and attributes, normalised.
    pub route: Route,
    /// Who put it there.
    pub protocol: Protocol,
    /// How far its destination is: link scope marks connected subnets in IPv4.
    pub scope: Scope,
}

/// The kernel's answer to "how do you reach this address?" (`RTM_GETROUTE` with `RTM_F_FIB_MATCH`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// The gateway, or `None` where the address is on a connected subnet.
    pub via: Option<IpAddr>,
    /// The link.
    pub link: IfIndex,
    /// The owner of the route that matched.
    pub protocol: Protocol,
}
