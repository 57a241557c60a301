//! A client, a node, two gateways and a far host, with real forwarding, for streams of packets.
//!
//! ```text
//!                       ,-- link_a -- gateway a -- far_a --.
//! client -- lan -- node                                     far host
//!                       `-- link_b -- gateway b -- far_b --'
//! ```

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::Range;

use super::Namespace;
use super::program::Srsync;
use super::stream::{Arrivals, Stream};
use super::tables::at_once;

/// Packets of one steady phase.
pub const PHASE: u32 = 400;

/// What the same topology is called in each family.
pub struct Net {
    pub far: &'static str,
    pub prefix: &'static str,
    pub a: &'static str,
    pub b: &'static str,
    pub family: &'static str,
}

const V4: Net = Net {
    far: "198.51.100.9:5000",
    prefix: "198.51.100.0/24",
    a: "10.0.1.2",
    b: "10.0.2.2",
    family: "-4",
};
const V6: Net = Net {
    far: "[2001:db8:f::9]:5000",
    prefix: "2001:db8:f::/64",
    a: "fd00:1::2",
    b: "fd00:2::2",
    family: "-6",
};

impl Net {
    pub fn via(&self, gateway: &str) -> String {
        format!("destinations: ['{}'], gateway: '{gateway}'", self.prefix)
    }

    pub fn via_both(&self) -> String {
        let (prefix, a, b) = (self.prefix, self.a, self.b);
        format!(
            "destinations: ['{prefix}'], mode: ecmp, gateways: [{{address: '{a}'}}, {{address: '{b}'}}]"
        )
    }

    pub fn blackhole(&self) -> String {
        format!("destinations: ['{}'], type: blackhole", self.prefix)
    }
}

/// The hosts, and what is between them.
pub struct Crossroads {
    client: Namespace,
    pub node: Namespace,
    pub gateways: [Namespace; 2],
    far: Namespace,
}

impl Crossroads {
    fn build() -> Self {
        let new = || {
            let namespace = Namespace::new();
            namespace.enter(at_once);
            namespace.sysctl("ipv4/ip_forward", "1");
            namespace.sysctl("ipv6/conf/all/forwarding", "1");
            namespace
        };
        let (client, node, far) = (new(), new(), new());
        client.join(
            ("lan", "10.0.9.2/24 fd00:9::2/64"),
            &node,
            ("lan", "10.0.9.1/24 fd00:9::1/64"),
        );
        client.ip("route add default via 10.0.9.1");
        client.ip("-6 route add default via fd00:9::1");
        // Spread by ports, not by addresses alone: all flows are between the same two hosts.
        node.sysctl("ipv4/fib_multipath_hash_policy", "1");
        node.sysctl("ipv6/fib_multipath_hash_policy", "1");
        let gateways = [("a", 1), ("b", 2)].map(|(name, n)| {
            let gateway = new();
            node.join(
                (
                    &format!("link_{name}"),
                    &format!("10.0.{n}.1/24 fd00:{n}::1/64"),
                ),
                &gateway,
                ("node", &format!("10.0.{n}.2/24 fd00:{n}::2/64")),
            );
            far.join(
                (
                    &format!("far_{name}"),
                    &format!("10.1.{n}.9/24 fd01:{n}::9/64"),
                ),
                &gateway,
                ("far", &format!("10.1.{n}.1/24 fd01:{n}::1/64")),
            );
            gateway.ip(&format!("route add {} via 10.1.{n}.9", V4.prefix));
            gateway.ip(&format!("-6 route add {} via fd01:{n}::9", V6.prefix));
            gateway
        });
        far.ip("addr add 198.51.100.9/32 dev lo");
        far.ip("addr add 2001:db8:f::9/128 dev lo");
        Self {
            client,
            node,
            gateways,
            far,
        }
    }

    /// Packets from the client to the far host.
    pub fn stream(&self, net: &Net) -> Stream {
        let to: SocketAddr = net.far.parse().unwrap();
        Stream::start(&self.client, &self.far, to, &["far_a", "far_b"])
    }

    /// A test in each family, with a document that does not change beside the one that does.
    pub fn in_both_families(test: impl Fn(&Self, &Srsync<'_>, &Net)) {
        let crossroads = Self::build();
        for net in [V4, V6] {
            let srsync = Srsync::inside(&crossroads.node);
            srsync.document("bystander", "destinations: [192.0.2.0/24], type: blackhole");
            test(&crossroads, &srsync, &net);
            srsync.run("flush --yes").exits(0);
        }
    }
}

/// A set of links.
pub fn links(of: &[&'static str]) -> BTreeSet<&'static str> {
    of.iter().copied().collect()
}

/// These packets came by these links.
#[track_caller]
pub fn assert_way(arrivals: &Arrivals, numbers: &Range<u32>, expected: &[&'static str]) {
    assert_eq!(
        arrivals.links(numbers.clone()),
        links(expected),
        "{numbers:?}"
    );
}
