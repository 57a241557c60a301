//! A node with a gateway, and a prober on it.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use srsync::model::InterfaceName;
use srsync::model::document::{HealthCheck, Probe};
use srsync::probe::{self, Loss, Outcome, Probed, Target};
use tokio::sync::watch;

use crate::support::Namespace;
use crate::support::tables::at_once;

/// Longer than anything takes that is going to happen at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// The addresses of a node and its gateway, on the links `east` and `node`.
pub struct Net {
    pub node: &'static str,
    pub gateway: &'static str,
    /// Beyond the gateway.
    pub far: &'static str,
    pub far_prefix: &'static str,
    /// `-4` or `-6`.
    pub family: &'static str,
    /// What makes a host ignore echo requests.
    pub ignore_echo: &'static str,
}

pub const V4: Net = Net {
    node: "10.0.1.1",
    gateway: "10.0.1.2",
    far: "198.51.100.9",
    far_prefix: "198.51.100.0/24",
    family: "-4",
    ignore_echo: "ipv4/icmp_echo_ignore_all",
};
pub const V6: Net = Net {
    node: "fd00:1::1",
    gateway: "fd00:1::2",
    far: "2001:db8:f::9",
    far_prefix: "2001:db8:f::/64",
    family: "-6",
    ignore_echo: "ipv6/icmp/echo_ignore_all",
};

impl Net {
    /// The gateway with the length of the subnet.
    pub fn gateway_subnet(&self) -> String {
        let length = if self.gateway.contains(':') { 64 } else { 24 };
        format!("{}/{length}", self.gateway)
    }

    /// A port of the gateway.
    pub fn port(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.gateway.parse().unwrap(), port)
    }
}

/// A new namespace, whose links keep their addresses while they are down.
pub fn host() -> Namespace {
    let host = Namespace::new();
    host.enter(at_once);
    for scope in ["all", "default"] {
        host.sysctl(&format!("ipv6/conf/{scope}/keep_addr_on_down"), "1");
    }
    host
}

/// A node and a gateway, joined.
pub fn node_and_gateway() -> (Namespace, Namespace) {
    let (node, gateway) = (host(), host());
    node.join(
        ("east", "10.0.1.1/24 fd00:1::1/64"),
        &gateway,
        ("node", "10.0.1.2/24 fd00:1::2/64"),
    );
    (node, gateway)
}

/// A check every 100 ms.
pub fn check(probe: Probe) -> HealthCheck {
    HealthCheck {
        probe,
        targets: Vec::new(),
        interval: Duration::from_millis(100),
        timeout: Duration::from_millis(100),
        fall: 3,
        rise: 2,
        hold_down: Duration::ZERO,
    }
}

/// A gateway on `east`.
pub fn target(gateway: &str, probe: Probe) -> Target {
    Target {
        gateway: gateway.parse().unwrap(),
        interface: interface("east"),
        source: None,
        check: check(probe),
    }
}

/// A gateway on `east` that is pinged.
pub fn icmp(gateway: &str) -> Target {
    target(gateway, Probe::Icmp)
}

/// The same every so many milliseconds.
pub fn every(milliseconds: u64, mut target: Target) -> Target {
    target.check.interval = Duration::from_millis(milliseconds);
    target.check.timeout = target.check.interval;
    target
}

pub fn interface(name: &str) -> Option<InterfaceName> {
    Some(InterfaceName::new(name).unwrap())
}

/// A prober on a thread of its own.
pub struct Probing {
    wanted: Option<watch::Sender<BTreeSet<Target>>>,
    outcomes: Receiver<Probed>,
    thread: Option<JoinHandle<()>>,
}

impl Probing {
    pub fn start(node: &Namespace, targets: impl IntoIterator<Item = Target>) -> Self {
        Self::start_after(node, || {}, targets)
    }

    /// One whose thread does something first.
    pub fn start_after(
        node: &Namespace,
        first: impl FnOnce() + Send + 'static,
        targets: impl IntoIterator<Item = Target>,
    ) -> Self {
        let (wanted, receiver) = watch::channel(targets.into_iter().collect());
        let (sender, outcomes) = mpsc::channel();
        let work = move || {
            first();
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().unwrap();
            // A test that has ended does not listen any more.
            let tell = move |probed| drop(sender.send(probed));
            runtime.block_on(probe::run(receiver, tell));
        };
        // A new thread is in the namespace of the one that starts it.
        let thread = node.enter(|| thread::spawn(work));
        Self {
            wanted: Some(wanted),
            outcomes,
            thread: Some(thread),
        }
    }

    pub fn set(&self, targets: impl IntoIterator<Item = Target>) {
        let wanted = self.wanted.as_ref().unwrap();
        wanted.send(targets.into_iter().collect()).unwrap();
    }

    /// The next that ends.
    #[track_caller]
    pub fn next(&self) -> Probed {
        let next = self.outcomes.recv_timeout(PATIENCE);
        next.expect("a probe ends")
    }

    /// Waits for an outcome that is as it should be.
    #[track_caller]
    pub fn wait_for(&self, what: &str, holds: impl Fn(&Outcome) -> bool) -> Outcome {
        let start = Instant::now();
        loop {
            let Probed { outcome, .. } = self.next();
            if holds(&outcome) {
                return outcome;
            }
            let waited = start.elapsed();
            assert!(waited < PATIENCE, "waited in vain: {what}; now {outcome:?}");
        }
    }

    /// Waits until a probe is answered in a time that can be.
    #[track_caller]
    pub fn wait_for_answer(&self) {
        let answered = |outcome: &Outcome| matches!(outcome, Outcome::Answered { .. });
        let Outcome::Answered { round_trip } = self.wait_for("an answer", answered) else {
            unreachable!()
        };
        assert!(round_trip < PATIENCE, "{round_trip:?}");
    }

    /// Waits until one is lost like this.
    #[track_caller]
    pub fn wait_for_loss(&self, loss: &Loss) {
        let lost = |outcome: &Outcome| matches!(outcome, Outcome::Lost { why, .. } if why == loss);
        self.wait_for(&format!("{loss:?}"), lost);
    }

    /// Waits until one is lost in words that contain these.
    #[track_caller]
    pub fn wait_for_words(&self, words: &str) {
        let said = |outcome: &Outcome| matches!(outcome, Outcome::Lost { why, .. } if why.to_string().contains(words));
        self.wait_for(words, said);
    }

    /// All outcomes during some time.
    pub fn during(&self, time: Duration) -> Vec<Probed> {
        let end = Instant::now() + time;
        let mut all = Vec::new();
        while let Ok(probed) = self
            .outcomes
            .recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            all.push(probed);
        }
        all
    }
}

impl Drop for Probing {
    /// Nobody wants anything any more: the prober must end by itself.
    fn drop(&mut self) {
        self.wanted = None;
        let ended = self.thread.take().unwrap().join();
        if !thread::panicking() {
            ended.unwrap();
        }
    }
}

/// How many of these are about a gateway.
pub fn count_of(probed: &[Probed], gateway: &str) -> usize {
    let gateway: IpAddr = gateway.parse().unwrap();
    let about = |probed: &&Probed| probed.target.gateway == gateway;
    probed.iter().filter(about).count()
}

/// A server that says one thing to everybody, after it has been asked something.
pub struct Server {
    /// From where it was asked, and what.
    pub asked: Arc<Mutex<Vec<(IpAddr, String)>>>,
}

impl Server {
    /// Says nothing at all if `answer` is `None`, and keeps the connection.
    pub fn start(at: &Namespace, address: SocketAddr, answer: Option<&str>) -> Self {
        let listener = at.enter(|| TcpListener::bind(address).unwrap());
        let asked = Arc::<Mutex<Vec<_>>>::default();
        let (heard, answer) = (asked.clone(), answer.map(str::to_owned));
        thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming() {
                // Who wanted only to connect may have gone.
                let Ok(mut stream) = stream else { continue };
                let Ok(from) = stream.peer_addr().map(|from| from.ip()) else {
                    continue;
                };
                let Some(answer) = &answer else {
                    kept.push(stream);
                    continue;
                };
                let mut question = Vec::new();
                let mut part = [0; 1024];
                while !question.ends_with(b"\r\n\r\n") {
                    match stream.read(&mut part) {
                        Ok(0) | Err(_) => break,
                        Ok(length) => question.extend_from_slice(&part[..length]),
                    }
                }
                let question = String::from_utf8_lossy(&question).into_owned();
                heard.lock().unwrap().push((from, question));
                // So may who has asked.
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { asked }
    }

    /// The last question, and from where it came.
    pub fn last(&self) -> (IpAddr, String) {
        self.asked.lock().unwrap().last().unwrap().clone()
    }
}
