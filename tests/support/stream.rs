//! A stream of numbered UDP packets from one namespace to another, and who carried which.
//!
//! The receiving host has one link for each way to it and listens on each link separately, so that
//! every single packet tells which way it came.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, bind, setsockopt, socket, sockopt,
};

use super::Namespace;
use super::tables::wait_until;

/// Packets a second.
const RATE: u32 = 1000;
/// Different source ports: what the kernel spreads over the next hops of an ECMP route.
const FLOWS: usize = 32;
/// Ports that the receiver listens on. Each has a queue of its own, so that a receiver that waits
/// seconds for a processor does not lose what the network carried; a longer queue would need
/// privileges beyond the namespace (`SO_RCVBUFFORCE`).
const PORTS: u16 = 8;
/// A sender that was held up sends at most so many packets at once, far less than the queues on
/// the way hold; it does not make up for the rest.
const BURST: u32 = 20;
/// No stream is longer than this, should a test forget to end it.
const LONGEST: u32 = 120_000;

/// A stream under way.
pub struct Stream {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// The next packet's number; all before it are sent.
    next: AtomicU32,
    end_sending: AtomicBool,
    end_receiving: AtomicBool,
    /// By number, the links on which it arrived: one, unless it was lost or doubled.
    arrived: Mutex<BTreeMap<u32, Vec<String>>>,
}

impl Stream {
    /// Starts sending from `from` to the address `to` of the host `at` (and the ports after it),
    /// which listens there on each of `links`. Returns once a packet got through.
    pub fn start(from: &Namespace, at: &Namespace, to: SocketAddr, links: &[&str]) -> Self {
        let shared = Arc::<Shared>::default();
        let mut threads = Vec::new();
        for (link, port) in links
            .iter()
            .flat_map(|link| (0..PORTS).map(move |n| (link, n)))
        {
            let to = SocketAddr::new(to.ip(), to.port() + port);
            let socket = at.enter(|| listen(link, to));
            let (link, shared) = ((*link).to_owned(), Arc::clone(&shared));
            threads.push(std::thread::spawn(move || receive(&socket, &link, &shared)));
        }
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let sockets: Vec<UdpSocket> =
            from.enter(|| (0..FLOWS).map(|_| UdpSocket::bind(any).unwrap()).collect());
        let sending = Arc::clone(&shared);
        threads.push(std::thread::spawn(move || send(&sockets, to, &sending)));
        let stream = Self { shared, threads };
        wait_until("a packet gets through", || {
            !stream.shared.arrived.lock().unwrap().is_empty()
        });
        stream
    }

    /// The number of the next packet: what is sent from now on has this number or a higher one.
    pub fn now(&self) -> u32 {
        self.shared.next.load(Ordering::SeqCst)
    }

    /// Waits until `count` more packets are sent; returns their numbers.
    pub fn send(&self, count: u32) -> Range<u32> {
        let start = self.now();
        wait_until("packets are sent", || self.now() >= start + count);
        start..self.now()
    }

    /// Waits until `count` more packets are sent and those on their way have arrived.
    pub fn carry(&self, count: u32) -> Range<u32> {
        let sent = self.send(count);
        self.wait_for_those_before(sent.end);
        sent
    }

    /// Waits for the last packet of each flow: those before it on the same way have arrived too,
    /// or are lost.
    fn wait_for_those_before(&self, end: u32) {
        wait_until("packets arrive", || {
            let arrived = self.shared.arrived.lock().unwrap();
            arrived.range(end - FLOWS as u32..end).count() == FLOWS
        });
    }

    /// Ends the stream, which must be getting through, and tells what arrived.
    pub fn finish(mut self) -> Arrivals {
        self.shared.end_sending.store(true, Ordering::SeqCst);
        let sender = self.threads.pop().unwrap();
        sender.join().unwrap();
        let sent = self.now();
        self.wait_for_those_before(sent);
        self.shared.end_receiving.store(true, Ordering::SeqCst);
        for receiver in std::mem::take(&mut self.threads) {
            receiver.join().unwrap();
        }
        let arrived = std::mem::take(&mut *self.shared.arrived.lock().unwrap());
        Arrivals { sent, arrived }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // The test failed: its threads need not go on.
        self.shared.end_sending.store(true, Ordering::SeqCst);
        self.shared.end_receiving.store(true, Ordering::SeqCst);
    }
}

fn listen(link: &str, to: SocketAddr) -> UdpSocket {
    let family = match to {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let socket = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).unwrap();
    setsockopt(&socket, sockopt::BindToDevice, &link.into()).unwrap();
    // The kernel takes as much of it as its own limit allows.
    setsockopt(&socket, sockopt::RcvBuf, &(8 << 20)).unwrap();
    match to {
        SocketAddr::V4(to) => bind(socket.as_raw_fd(), &SockaddrIn::from(to)).unwrap(),
        SocketAddr::V6(to) => bind(socket.as_raw_fd(), &SockaddrIn6::from(to)).unwrap(),
    }
    let socket = UdpSocket::from(socket);
    let timeout = Duration::from_millis(50);
    socket.set_read_timeout(Some(timeout)).unwrap();
    socket
}

fn receive(socket: &UdpSocket, link: &str, shared: &Shared) {
    let mut number = [0; 4];
    loop {
        match socket.recv(&mut number) {
            Ok(_) => {
                let mut arrived = shared.arrived.lock().unwrap();
                let number = u32::from_be_bytes(number);
                arrived.entry(number).or_default().push(link.to_owned());
            }
            Err(_) if shared.end_receiving.load(Ordering::SeqCst) => return,
            Err(_) => {}
        }
    }
}

fn send(sockets: &[UdpSocket], to: SocketAddr, shared: &Shared) {
    let mut start = Instant::now();
    let mut on_schedule = 0;
    for number in 0..LONGEST {
        if shared.end_sending.load(Ordering::SeqCst) {
            return;
        }
        let due = start + Duration::from_secs(1) / RATE * on_schedule;
        let now = Instant::now();
        if now < due {
            std::thread::sleep(due - now);
        } else if now - due > Duration::from_secs(1) / RATE * BURST {
            (start, on_schedule) = (now, 0);
        }
        on_schedule += 1;
        let flow = number as usize % sockets.len();
        let port = to.port() + flow as u16 % PORTS;
        // Counted first: a number that `now` told is never on its way already.
        shared.next.store(number + 1, Ordering::SeqCst);
        let to = SocketAddr::new(to.ip(), port);
        sockets[flow].send_to(&number.to_be_bytes(), to).unwrap();
    }
}

/// What became of the packets of a stream.
pub struct Arrivals {
    /// Numbers 0 to this, exclusive, were sent.
    pub sent: u32,
    arrived: BTreeMap<u32, Vec<String>>,
}

impl Arrivals {
    /// The packets that did not arrive.
    pub fn lost(&self, numbers: Range<u32>) -> Vec<u32> {
        numbers
            .filter(|number| !self.arrived.contains_key(number))
            .collect()
    }

    /// How many packets came by each link.
    pub fn by_link(&self, numbers: Range<u32>) -> BTreeMap<&str, usize> {
        let mut count = BTreeMap::new();
        for link in self.arrived.range(numbers).flat_map(|(_, links)| links) {
            *count.entry(link.as_str()).or_default() += 1;
        }
        count
    }

    /// The links by which packets came.
    pub fn links(&self, numbers: Range<u32>) -> BTreeSet<&str> {
        self.by_link(numbers).into_keys().collect()
    }

    /// Nothing arrived twice, and all that was sent did, but for these.
    #[track_caller]
    pub fn assert_all_but(&self, missing: &[u32]) {
        assert_eq!(self.lost(0..self.sent), missing, "of {} packets", self.sent);
        let doubled: Vec<u32> = self
            .arrived
            .iter()
            .filter(|(number, links)| links.len() != 1 || **number >= self.sent)
            .map(|(number, _)| *number)
            .collect();
        assert_eq!(doubled, [0; 0], "came twice, or from nowhere");
    }
}
