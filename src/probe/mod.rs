//! Asks gateways whether they are alive: ICMP, TCP, HTTP, and the kernel's neighbour table.
//!
//! Owns sockets and time: each target has a task of its own, so that one that is slow or silent
//! never delays another. Must not judge: that a probe was lost is all it says, and whether a gateway
//! is down therefore is decided elsewhere. Nothing is written about it either; who asked is told.
//!
//! Every packet leaves by the interface of its target, and from its source address: a gateway is
//! probed through the link it is to be used by. Only the kernel knows who answers to ARP, which is
//! why this module may ask `kernel`, for [`crate::kernel::Neighbours`] and nothing else.
//!
//! - `way`: the link and the source of a probe. `outcome`: what the kernel's errors say of it.
//! - `icmp`, `tcp`, `http`, `neighbour`: one kind each, for one address.
//! - [`ask`]: for connectivity checks: a question with some attempts, once or now and then.

pub mod ask;
mod http;
mod icmp;
mod neighbour;
mod outcome;
mod tcp;
mod way;

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::model::InterfaceName;
use crate::model::document::{HealthCheck, Probe};
use http::Question;
use icmp::Echo;
use neighbour::Neighbourhood;
use way::Way;

pub use crate::model::probed::{Loss, Outcome};

/// New targets are spread over so much time, or over their interval if that is shorter.
const SPREAD: Duration = Duration::from_secs(1);

/// Timers count milliseconds, and end late rather than early. A probe that may last as long as its
/// interval ends so much sooner, so that the next one is on time.
const TIMER: Duration = Duration::from_millis(2);

/// What is probed. Equal ones are one probe, however many documents ask for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The gateway that this is about; probed itself unless the check has targets of its own.
    pub gateway: IpAddr,
    /// The link that packets have to leave by.
    pub interface: Option<InterfaceName>,
    /// The address that packets have to come from. Not for ARP and neighbour discovery, where the
    /// kernel chooses.
    pub source: Option<IpAddr>,
    /// What is sent, and when. How outcomes are counted is not looked at here.
    pub check: HealthCheck,
}

impl Target {
    /// What has to answer, all of it.
    fn addresses(&self) -> &[IpAddr] {
        match self.check.targets.as_slice() {
            [] => std::slice::from_ref(&self.gateway),
            targets => targets,
        }
    }
}

/// A probe that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// Of what.
    pub target: Arc<Target>,
    /// How.
    pub outcome: Outcome,
    /// When: whoever is told may be busy with something else.
    pub ended: std::time::Instant,
}

/// Who is told.
type Tell = dyn Fn(Probed) + Send + Sync;

/// Probes what it is told to, on the tokio runtime that it lives in. Ends all with itself.
pub struct Prober {
    tell: Arc<Tell>,
    tasks: BTreeMap<Arc<Target>, Task>,
    neighbourhood: Option<Neighbourhood>,
}

/// A running task, which ends with this.
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Probes exactly the targets that are wanted, until nobody can want anything any more. To be
/// spawned on a runtime with I/O and time; `tell` is called there for each probe that has ended,
/// and must not block.
pub async fn run(
    mut wanted: watch::Receiver<BTreeSet<Target>>,
    tell: impl Fn(Probed) + Send + Sync + 'static,
) {
    let mut prober = Prober::new(tell);
    loop {
        let targets = wanted.borrow_and_update().clone();
        prober.set(targets);
        if wanted.changed().await.is_err() {
            return;
        }
    }
}

impl Prober {
    /// One that probes nothing yet. See [`run`] for `tell`.
    pub fn new(tell: impl Fn(Probed) + Send + Sync + 'static) -> Self {
        Self {
            tell: Arc::new(tell),
            tasks: BTreeMap::new(),
            neighbourhood: None,
        }
    }

    /// Probes exactly these from now on. Those that stay are not disturbed; those that go are not
    /// heard of again; new ones start spread in time. Call it on the runtime.
    pub fn set(&mut self, targets: BTreeSet<Target>) {
        self.tasks.retain(|target, _| targets.contains(&**target));
        for target in targets {
            if !self.tasks.contains_key(&target) {
                let target = Arc::new(target);
                let lines = self.lines(&target);
                let task = tokio::spawn(attend(target.clone(), lines, self.tell.clone()));
                self.tasks.insert(target, Task(task.abort_handle()));
            }
        }
    }

    fn lines(&mut self, target: &Target) -> Vec<Line> {
        let addresses = target.addresses().iter();
        let line = |address: &IpAddr| Line {
            way: Way::new(*address, target.interface.clone(), target.source),
            kind: self.kind(&target.check.probe),
        };
        addresses.map(line).collect()
    }

    fn kind(&mut self, probe: &Probe) -> Kind {
        // Talks to the kernel from the first one on that has something to ask.
        Kind::of_packets(probe).unwrap_or_else(|| {
            let neighbourhood = self.neighbourhood.get_or_insert_with(Neighbourhood::new);
            Kind::Neighbour(neighbourhood.clone())
        })
    }
}

/// Probes one target for ever.
async fn attend(target: Arc<Target>, mut lines: Vec<Line>, tell: Arc<Tell>) {
    // An interval of zero would panic; documents with one are refused.
    let interval = target.check.interval.max(TIMER);
    let patience = target.check.timeout.min(interval.saturating_sub(TIMER));
    let start = Instant::now() + place(&target, interval.min(SPREAD));
    let mut ticks = interval_at(start, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let outcome = round(&mut lines, patience).await;
        tell(Probed {
            target: target.clone(),
            outcome,
            ended: Instant::now().into_std(),
        });
    }
}

/// A target's own place within some time.
fn place(target: &impl Hash, within: Duration) -> Duration {
    let mut hasher = DefaultHasher::new();
    target.hash(&mut hasher);
    // The upper half is as random as the whole, and fits.
    let share = (hasher.finish() >> 32) as f64 / f64::from(u32::MAX);
    within.mul_f64(share)
}

/// Probes all addresses of a target, side by side.
async fn round(lines: &mut [Line], patience: Duration) -> Outcome {
    let start = Instant::now();
    let mut slowest = Duration::ZERO;
    for answer in all(lines.iter_mut().map(|line| line.probe(patience))).await {
        match answer {
            Ok(round_trip) => slowest = slowest.max(round_trip),
            Err((address, why)) => {
                let waited = start.elapsed();
                return Outcome::Lost {
                    address,
                    why,
                    waited,
                };
            }
        }
    }
    Outcome::Answered {
        round_trip: slowest,
    }
}

/// What comes of all of these, in their order.
async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut open: Vec<Pin<Box<F>>> = Vec::new();
    let mut outputs: Vec<Option<F::Output>> = Vec::new();
    for future in futures {
        open.push(Box::pin(future));
        outputs.push(None);
    }
    poll_fn(|context| {
        for (future, output) in open.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let Poll::Ready(ready) = future.as_mut().poll(context)
            {
                *output = Some(ready);
            }
        }
        match outputs.iter().all(Option::is_some) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

/// One address of a target, and what a probe of it keeps for the next one.
struct Line {
    way: Way,
    kind: Kind,
}

/// How it is probed.
enum Kind {
    Icmp(Echo),
    Tcp { port: u16 },
    Http(Question),
    Neighbour(Neighbourhood),
}

impl Kind {
    /// One that sends packets of its own; `None` leaves asking to the kernel.
    fn of_packets(probe: &Probe) -> Option<Self> {
        Some(match probe {
            Probe::Icmp => Self::Icmp(Echo::new()),
            Probe::Tcp { port } => Self::Tcp { port: *port },
            Probe::Http {
                port,
                path,
                host,
                expect_status,
            } => Self::Http(Question {
                port: *port,
                path: path.clone(),
                host: host.clone(),
                expect_status: *expect_status,
                is_connected: false,
            }),
            Probe::Arp => return None,
        })
    }
}

impl Line {
    /// How long the answer took, or what came instead of it.
    async fn probe(&mut self, patience: Duration) -> Result<Duration, (IpAddr, Loss)> {
        let address = self.way.to();
        let start = Instant::now();
        let answer = match timeout(patience, self.ask()).await {
            Ok(answer) => answer,
            Err(_) => Err(self.silence()),
        };
        match answer {
            Ok(()) => Ok(start.elapsed()),
            Err(why) => Err((address, why)),
        }
    }

    async fn ask(&mut self) -> Result<(), Loss> {
        self.way.find_link()?;
        let way = &self.way;
        match &mut self.kind {
            Kind::Icmp(echo) => echo.probe(way).await,
            Kind::Tcp { port } => tcp::connect(way, *port).await.map(drop),
            Kind::Http(question) => http::probe(way, question).await,
            Kind::Neighbour(neighbourhood) => neighbourhood.probe(way).await,
        }
    }

    /// What it means that no answer came in time.
    fn silence(&self) -> Loss {
        match &self.kind {
            Kind::Neighbour(neighbourhood) => neighbourhood.silence(),
            _ => Loss::Timeout,
        }
    }
}
