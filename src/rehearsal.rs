//! Stand-ins for a node on which documents can be rehearsed: links, addresses, neighbours.
//!
//! Pure: documents in, a made-up [`Observed`] out, which `kernel::sandbox` builds for real in a
//! private namespace. Every interface that a document names exists, every gateway is on a
//! connected subnet, every source address is local. The connected subnets are as small as can
//! be, just the gateway itself, so that the stand-ins occupy no slot a document may want.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::{Address, Document, Egress, Family, IfIndex, Link, Observed, Target};

/// The stand-in for the link of every gateway whose document names no interface.
const UNNAMED: &str = "standin0";

/// Our end of a stand-in link: the IPv4 dummy address (RFC 7600), which no document uses.
const OWN_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 0, 8));

/// Makes up a node that can install these documents. `gateway_lookup` is where IBM's objects
/// without a gateway look for one.
pub fn stand_ins(documents: &[Document], egress: &[Egress], gateway_lookup: IpAddr) -> Observed {
    let mut scene = Scene::default();
    for name in egress.iter().flat_map(Egress::interfaces) {
        scene.links.entry(name.as_str().to_owned()).or_default();
    }
    for document in documents {
        match &document.target {
            Target::Gateways(gateways) => {
                for gateway in &gateways.list {
                    let name = gateway.interface.as_ref().map(|name| name.as_str());
                    scene.neighbour(name.unwrap_or(UNNAMED), gateway.address);
                }
            }
            Target::Lookup(address) => scene.neighbour(UNNAMED, *address),
            Target::ConfiguredLookup => scene.neighbour(UNNAMED, gateway_lookup),
            Target::Interface(name) => {
                scene.links.entry(name.as_str().to_owned()).or_default();
            }
            Target::Nowhere(_) => {}
        }
        scene.sources.extend(document.source);
    }
    scene.build()
}

#[derive(Default)]
struct Scene {
    /// Links by name, with the gateways behind each.
    links: BTreeMap<String, BTreeSet<IpAddr>>,
    sources: BTreeSet<IpAddr>,
}

impl Scene {
    fn neighbour(&mut self, link: &str, address: IpAddr) {
        self.links
            .entry(link.to_owned())
            .or_default()
            .insert(address);
    }

    fn build(mut self) -> Observed {
        // Documents may route out of `lo`; it is there already, and has the source addresses.
        let behind_lo = self.links.remove("lo").unwrap_or_default();
        let mut observed = Observed::default();
        let lo = add_link(&mut observed, 1, "lo");
        let sources = self.sources.iter();
        observed
            .addresses
            .extend(sources.map(|source| host_address(lo, *source)));
        let mut own_v6 = (1u16..).map(discard_address);
        let mut connect = |observed: &mut Observed, link, gateway: &IpAddr| {
            let own = match gateway {
                IpAddr::V4(_) => Some(OWN_V4),
                IpAddr::V6(_) => own_v6.next(),
            };
            observed.addresses.extend(own.map(|local| Address {
                link,
                local,
                length: Family::of(gateway).bits(),
                peer: Some(*gateway),
            }));
        };
        for gateway in &behind_lo {
            connect(&mut observed, lo, gateway);
        }
        for (index, (name, gateways)) in (2u32..).zip(&self.links) {
            let link = add_link(&mut observed, index, name);
            for gateway in gateways {
                connect(&mut observed, link, gateway);
            }
        }
        observed
    }
}

fn add_link(observed: &mut Observed, index: u32, name: &str) -> IfIndex {
    let index = IfIndex::new(index);
    observed.links.push(Link {
        index,
        name: name.to_owned(),
        up: true,
        carrier: true,
        loopback: name == "lo",
    });
    index
}

fn host_address(link: IfIndex, local: IpAddr) -> Address {
    Address {
        link,
        local,
        length: Family::of(&local).bits(),
        peer: None,
    }
}

/// Addresses for our end of an IPv6 link, one for each gateway (the kernel wants them distinct):
/// of the discard-only prefix 100::/64 (RFC 6666).
fn discard_address(number: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, number))
}
