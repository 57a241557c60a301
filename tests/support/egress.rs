//! A pod, its node, an upstream router and a far host that knows no way back to pods.
//!
//! ```text
//! pod -- pods|node|eth0 -- router -- far host
//! 10.42.0.5   192.168.1.10   .1        192.168.2.10
//! fd00:42::5  fd00:1::10     ::1       fd00:2::10
//! ```

use std::io::{ErrorKind, Read};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::Namespace;
use super::tables::{at_once, listen, wait_until};

/// How long an answer may take before there is none.
const PATIENCE: Duration = Duration::from_millis(400);

/// The hosts.
pub struct Site {
    pub pod: Namespace,
    pub node: Namespace,
    pub router: Namespace,
    pub far: Namespace,
}

/// The far host, and the address of the node that it may see, in both families.
pub const FAR: [(&str, &str); 2] = [
    ("192.168.2.10", "192.168.1.10"),
    ("fd00:2::10", "fd00:1::10"),
];

/// Route, forwarding and translation, in one file.
pub const DOCUMENTS: &str = "\
apiVersion: srsync.dev/v1alpha1
kind: StaticRoute
metadata: {name: far}
spec:
  destinations: [192.168.2.0/24]
  gateway: 192.168.1.1
---
apiVersion: srsync.dev/v1alpha1
kind: StaticRoute
metadata: {name: far-6}
spec:
  destinations: ['fd00:2::/64']
  gateway: fd00:1::1
---
apiVersion: srsync.dev/v1alpha1
kind: Forwarding
metadata: {name: pods}
spec: {ipv4: true, ipv6: true}
---
apiVersion: srsync.dev/v1alpha1
kind: Masquerade
metadata: {name: pods}
spec:
  sources: [10.42.0.0/16, 'fd00:42::/56']
  destinations: [192.168.2.0/24, 'fd00:2::/64']
  outInterfaces: [eth0]
";

/// As kube-proxy and iptables-nft make them.
pub const FOREIGN_TABLES: &str = "
table ip nat {
  chain KUBE-MARK-MASQ { counter meta mark set mark or 0x4000; }
  chain KUBE-POSTROUTING {
    meta mark & 0x4000 != 0x4000 counter return
    counter masquerade fully-random
  }
  chain POSTROUTING {
    type nat hook postrouting priority srcnat; policy accept;
    counter jump KUBE-POSTROUTING
  }
  chain PREROUTING {
    type nat hook prerouting priority dstnat; policy accept;
  }
}
table ip6 nat {
  chain POSTROUTING {
    type nat hook postrouting priority srcnat; policy accept;
  }
}
table inet firewall {
  set allowed { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.168.0.0/16 } }
  chain forward { type filter hook forward priority filter; policy accept; ip saddr @allowed counter accept; }
}
";

impl Site {
    /// Before anything of ours: the node neither forwards nor knows a way to the far host.
    pub fn new() -> Self {
        let new = || {
            let namespace = Namespace::new();
            namespace.enter(at_once);
            namespace
        };
        let (pod, node, router, far) = (new(), new(), new(), new());
        node.join(
            ("pods", "10.42.0.1/24 fd00:42::1/64"),
            &pod,
            ("eth0", "10.42.0.5/24 fd00:42::5/64"),
        );
        node.join(
            ("eth0", "192.168.1.10/24 fd00:1::10/64"),
            &router,
            ("lan", "192.168.1.1/24 fd00:1::1/64"),
        );
        router.join(
            ("far", "192.168.2.1/24 fd00:2::1/64"),
            &far,
            ("eth0", "192.168.2.10/24 fd00:2::10/64"),
        );
        pod.ip("route add default via 10.42.0.1");
        pod.ip("-6 route add default via fd00:42::1");
        far.ip("route add default via 192.168.2.1");
        far.ip("-6 route add default via fd00:2::1");
        router.sysctl("ipv4/ip_forward", "1");
        router.sysctl("ipv6/conf/all/forwarding", "1");
        Self {
            pod,
            node,
            router,
            far,
        }
    }

    /// Whether the pod gets an answer to an ICMP echo.
    pub fn pings(&self, far: &str) -> bool {
        let far: IpAddr = far.parse().unwrap();
        self.pod.enter(|| ping(far))
    }

    /// The address by which the far host sees a TCP connection of the pod; `None` if there is none.
    pub fn seen_as(&self, far: &str) -> Option<IpAddr> {
        let listener: TcpListener = self.far.enter(|| listen((far, 8080)));
        let address = listener.local_addr().unwrap();
        let connected = self
            .pod
            .enter(|| TcpStream::connect_timeout(&address, PATIENCE));
        let _stream = connected.ok()?;
        let (_, peer) = listener.accept().unwrap();
        Some(peer.ip())
    }

    /// Fails unless the pod reaches the far host in both families, and is seen as the node there. On a busy machine an
    /// answer may come late.
    #[track_caller]
    pub fn assert_works(&self) {
        for (far, node) in FAR {
            wait_until("the far host answers", || self.pings(far));
            let node = node.parse().unwrap();
            wait_until("it sees the node", || self.seen_as(far) == Some(node));
        }
    }

    /// Fails if the pod reaches the far host.
    #[track_caller]
    pub fn assert_cut_off(&self) {
        for (far, _) in FAR {
            assert!(!self.pings(far), "an answer from {far}");
            assert_eq!(self.seen_as(far), None, "{far}");
        }
    }

    /// Everything of the node that must be as before once we are gone, as text.
    pub fn node_state(&self) -> String {
        let mut state = self.node.enter(settings);
        let mut add = |program: &str, arguments: &str| {
            let mut command = self.node.command(program);
            let output = command.args(arguments.split_whitespace()).output().unwrap();
            assert!(output.status.success(), "{program} {arguments}");
            state += &String::from_utf8(output.stdout).unwrap();
        };
        add("nft", "-s list ruleset");
        add("ip", "rule");
        add("ip", "-6 rule");
        add("ip", "route show table all");
        add("ip", "-6 route show table all");
        add("ip", "nexthop");
        state
    }

    /// What `nft list` prints of a table of the node, without counters.
    pub fn table(&self, table: &str) -> String {
        let mut command = self.node.command("nft");
        command.args(["-s", "list", "table"]).args(table.split(' '));
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    }

    /// Runs a script of nft on the node.
    pub fn nft(&self, script: &str) {
        let mut command = self.node.command("nft");
        let output = command.arg(script).output().unwrap();
        assert!(
            output.status.success(),
            "nft {script}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// A value below `/proc/sys/net` of the node.
    pub fn setting(&self, name: &str) -> String {
        let path = format!("/proc/sys/net/{name}");
        let value = self.node.enter(|| std::fs::read(&path)).unwrap();
        String::from_utf8(value).unwrap().trim().to_owned()
    }
}

/// Every setting of every interface, in both families.
fn settings() -> String {
    let mut lines = Vec::new();
    for family in ["ipv4", "ipv6"] {
        let conf = format!("/proc/sys/net/{family}/conf");
        for interface in std::fs::read_dir(conf).unwrap() {
            for file in std::fs::read_dir(interface.unwrap().path()).unwrap() {
                let path = file.unwrap().path();
                // Some can only be written, or read only once they were written.
                let Ok(value) = std::fs::read(&path) else {
                    continue;
                };
                let value = String::from_utf8_lossy(&value);
                lines.push(format!("{} = {}", path.display(), value.trim()));
            }
        }
    }
    lines.sort();
    lines.join("\n") + "\n"
}

fn ping(to: IpAddr) -> bool {
    let (domain, protocol, request, reply) = match to {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 8, 0),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 128, 129),
    };
    let socket = Socket::new(domain, Type::RAW, Some(protocol)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // Type, code, checksum (for ICMPv6 the kernel makes it), identifier, sequence number. Another identifier each time:
    // what belongs to a flow that is known already is translated as before.
    static COUNT: AtomicU16 = AtomicU16::new(1);
    let [high, low] = COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let mut echo = [request, 0, 0, 0, high, low, 0, 1];
    let sum = echo
        .chunks(2)
        .map(|two| u32::from(two[0]) << 8 | u32::from(two[1]));
    let sum: u32 = sum.sum();
    echo[2..4].copy_from_slice(&(!(sum as u16 + (sum >> 16) as u16)).to_be_bytes());
    if socket.connect(&SocketAddr::new(to, 0).into()).is_err() || socket.send(&echo).is_err() {
        return false; // no way there
    }
    // An IPv4 raw socket gets the header, too.
    let skip = if to.is_ipv4() { 20 } else { 0 };
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; 1500];
    while Instant::now() < deadline {
        match (&socket).read(&mut buffer) {
            Ok(length) if buffer[..length].get(skip) == Some(&reply) => return true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            _ => {}
        }
    }
    false
}
