//! The helper for several namespaces does what other tests rely on.

use std::net::UdpSocket;
use std::time::Duration;

use crate::support::Namespace;

/// Node, router, far host: a packet arrives through the route that the node has.
#[test]
fn packets_cross_namespaces() {
    let (node, router, far) = (Namespace::new(), Namespace::new(), Namespace::new());
    node.join(
        ("lan0", "10.0.0.1/24 fd00::1/64"),
        &router,
        ("lan0", "10.0.0.2/24 fd00::2/64"),
    );
    router.join(("wan0", "10.1.0.1/24"), &far, ("wan0", "10.1.0.9/24"));
    router.sysctl("ipv4/ip_forward", "1");
    node.ip("route add 10.1.0.0/24 via 10.0.0.2");
    let receiver = far.enter(|| UdpSocket::bind("10.1.0.9:4000").unwrap());
    receiver
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let sender = node.enter(|| UdpSocket::bind("10.0.0.1:0").unwrap());
    sender.send_to(b"hello", "10.1.0.9:4000").unwrap();
    let mut buffer = [0; 16];
    let (length, from) = receiver.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"hello");
    assert_eq!(from, sender.local_addr().unwrap());
    let shown = node.command("ip").args(["-j", "route"]).output().unwrap();
    assert!(String::from_utf8_lossy(&shown.stdout).contains("10.1.0.0/24"));
}
