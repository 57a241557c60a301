//! Real packets: who is behind the node reaches a host that knows no way back, and that host sees the node's address.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use srsync::kernel::Kernel;
use srsync::model::Family;
use srsync::model::egress::{Counters, NatObserved, NatRule};

use super::nat::{FOREIGN, foreign, nft_file, out, rule, set, snat, table, uncounted};
use crate::support::Namespace;
use crate::support::tables::at_once;

/// A pod, the node it is on, and a host beside the node:
///
/// ```text
/// pod -- cni0 node uplink -- eth0 far
/// ```
struct Egress {
    pod: Namespace,
    node: Namespace,
    far: Namespace,
}

/// What the hosts are called in a family.
struct Net {
    family: Family,
    pods: &'static str,
    pod: &'static str,
    node: &'static str,
    /// A second address of the node.
    other: &'static str,
    far: &'static str,
    /// An address that nobody has, behind all others.
    elsewhere: &'static str,
}

const NETS: [Net; 2] = [
    Net {
        family: Family::V4,
        pods: "10.42.0.0/16",
        pod: "10.42.0.2",
        node: "192.168.1.1",
        other: "192.168.1.77",
        far: "192.168.1.9",
        elsewhere: "203.0.113.1",
    },
    Net {
        family: Family::V6,
        pods: "fd42::/64",
        pod: "fd42::2",
        node: "fd01::1",
        other: "fd01::77",
        far: "fd01::9",
        elsewhere: "fd99::1",
    },
];

impl Egress {
    fn new() -> Self {
        let new = || {
            let namespace = Namespace::new();
            namespace.enter(at_once);
            namespace
        };
        let (pod, node, far) = (new(), new(), new());
        pod.join(
            ("eth0", "10.42.0.2/16 fd42::2/64"),
            &node,
            ("cni0", "10.42.0.1/16 fd42::1/64"),
        );
        let uplink = "192.168.1.1/24 192.168.1.77/24 fd01::77/64 fd01::1/64";
        node.join(
            ("uplink", uplink),
            &far,
            ("eth0", "192.168.1.9/24 fd01::9/64"),
        );
        // Which of its addresses masquerading takes is for IPv6 the choice of a source (RFC 6724).
        node.ip("-6 addr change fd01::77/64 dev uplink preferred_lft 0");
        node.sysctl("ipv4/ip_forward", "1");
        node.sysctl("ipv6/conf/all/forwarding", "1");
        pod.ip("route add default via 10.42.0.1");
        pod.ip("-6 route add default via fd42::1");
        Self { pod, node, far }
    }

    /// Work with the kernel of the node.
    fn with_kernel<T: Send>(&self, work: impl FnOnce(&mut Kernel) -> T + Send) -> T {
        self.node.enter(|| work(&mut Kernel::open().unwrap()))
    }

    fn set(&self, rules: &[(NatRule, Counters)]) {
        self.with_kernel(|kernel| set(kernel, rules));
    }

    /// Sends a new connection's packet from the pod to the far host; returns whom that sees, and whether an answer
    /// arrived.
    fn ask(&self, net: &Net) -> (IpAddr, bool) {
        let open = |at: &str| {
            let socket = UdpSocket::bind(SocketAddr::new(at.parse().unwrap(), 0)).unwrap();
            let long = Some(Duration::from_secs(30));
            socket.set_read_timeout(long).unwrap();
            socket
        };
        let server = self.far.enter(|| open(net.far));
        let client = self.pod.enter(|| open(net.pod));
        client
            .send_to(b"hello", server.local_addr().unwrap())
            .unwrap();
        let mut buffer = [0; 16];
        let (length, seen) = server.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"hello");
        // Without a way back sending fails at once.
        let answered = server.send_to(b"world", seen).is_ok();
        if answered {
            let (length, from) = client.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"world");
            assert_eq!(from, server.local_addr().unwrap());
        }
        (seen.ip(), answered)
    }

    #[track_caller]
    fn assert_seen(&self, net: &Net, address: &str) {
        let answered = address != net.pod;
        assert_eq!(self.ask(net), (address.parse().unwrap(), answered));
    }

    fn counted(&self) -> Vec<Counters> {
        let NatObserved::Present {
            rules,
            intact: true,
        } = self.with_kernel(|kernel| kernel.nat(&table()).unwrap())
        else {
            panic!("there is no table of ours");
        };
        rules.into_iter().map(|(_, counters)| counters).collect()
    }
}

fn from_pods(net: &Net) -> NatRule {
    rule("pods", net.family, [net.pods, "", ""])
}

/// What `ask` sends: an IP header, that of UDP, five bytes.
fn bytes(net: &Net) -> u64 {
    match net.family {
        Family::V4 => 20 + 8 + 5,
        Family::V6 => 40 + 8 + 5,
    }
}

#[test]
fn a_pod_reaches_a_host_without_a_way_back_as_the_node_and_is_counted() {
    let egress = Egress::new();
    for net in &NETS {
        egress.assert_seen(net, net.pod);
        egress.set(&uncounted(vec![from_pods(net)]));
        for _ in 0..3 {
            egress.assert_seen(net, net.node);
        }
        let counters = Counters {
            packets: 3,
            bytes: 3 * bytes(net),
        };
        assert_eq!(egress.counted(), [counters]);

        egress.set(&[(from_pods(net), counters)]);
        egress.assert_seen(net, net.node);
        assert_eq!(egress.counted()[0].packets, 4);

        egress.set(&[]);
        egress.assert_seen(net, net.pod);
    }
}

#[test]
fn each_condition_of_a_rule_is_about_just_those_packets() {
    let egress = Egress::new();
    for net in &NETS {
        let (far, elsewhere) = (net.far, net.elsewhere);
        let rule = |parts| rule("pods", net.family, parts);
        let sources = format!("{} {elsewhere}", net.pods);
        let fars = format!("{far} {elsewhere}");
        for (rule, seen) in [
            (rule([net.pods, far, ""]), net.node),
            (rule([&sources, &fars, elsewhere]), net.node),
            (rule([elsewhere, "", ""]), net.pod),
            (rule([net.pods, elsewhere, ""]), net.pod),
            (rule([net.pods, "", far]), net.pod),
            (rule([net.pods, "", &fars]), net.pod),
            (out(rule([net.pods, "", ""]), &["uplink"]), net.node),
            (out(rule([net.pods, "", ""]), &["eth7", "uplink"]), net.node),
            (out(rule([net.pods, "", ""]), &["cni0"]), net.pod),
            (snat(rule([net.pods, far, ""]), net.other), net.other),
        ] {
            egress.set(&uncounted(vec![rule.clone()]));
            assert_eq!(egress.ask(net).0, seen.parse::<IpAddr>().unwrap(), "{rule}");
        }
        // The first rule that is about a packet decides.
        let (first, second) = (snat(from_pods(net), net.other), from_pods(net));
        egress.set(&uncounted(vec![first.clone(), second.clone()]));
        egress.assert_seen(net, net.other);
        egress.set(&uncounted(vec![second, first]));
        egress.assert_seen(net, net.node);
    }
}

/// Those of iptables-nft, kube-proxy and a CNI accept what is ours, without translating it: on whichever side of them our
/// chain is, it has its effect.
#[test]
fn beside_foreign_tables_it_works_before_and_after_them() {
    for ours_first in [true, false] {
        let egress = Egress::new();
        let all: Vec<NatRule> = NETS.iter().map(from_pods).collect();
        if ours_first {
            egress.set(&uncounted(all.clone()));
        }
        let before = egress.node.enter(|| {
            nft_file(FOREIGN);
            foreign()
        });
        if !ours_first {
            egress.set(&uncounted(all.clone()));
        }
        for net in &NETS {
            egress.assert_seen(net, net.node);
        }
        let packets = egress.counted().into_iter().map(|c| c.packets);
        assert_eq!(packets.collect::<Vec<_>>(), [1, 1]);
        egress.set(&[]);
        let after = egress.node.enter(foreign);
        assert_eq!(without_numbers(&after), without_numbers(&before));
    }
}

/// Packets are counted in foreign tables as well.
fn without_numbers(shown: &str) -> Vec<&str> {
    let words = shown.split(' ');
    words.filter(|word| word.parse::<u64>().is_err()).collect()
}
