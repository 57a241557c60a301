//! Asking for connectivity checks: one question to one address, with some attempts.
//!
//! Owns when an attempt follows another, and how many questions are under way at once. Must not judge: whether an
//! answer is right depends on what is expected.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use super::{Kind, Line, Loss, SPREAD, TIMER, Task, Way, all, place};
use crate::model::InterfaceName;
use crate::model::document::Probe;
use crate::model::egress::{Answer, CheckTarget, ConnectivityCheck};

/// So many questions are under way at once: each may hold a socket.
const AT_ONCE: usize = 64;

/// Who says at once that there is no way is not asked again sooner: what passes by itself, like a route that is just
/// being replaced, takes some time for that.
const PAUSE: Duration = Duration::from_millis(200);

/// What is asked. Equal ones are one question, however many checks have it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Inquiry {
    /// Who.
    pub address: IpAddr,
    /// What is sent; not ARP, which asks the kernel.
    pub probe: Probe,
    /// The link that packets have to leave by.
    pub interface: Option<InterfaceName>,
    /// The address that they have to come from.
    pub source: Option<IpAddr>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// So many attempts are made at most.
    pub attempts: u32,
    /// How often it is asked by [`run`].
    pub interval: Duration,
}

impl Inquiry {
    /// What a check asks one of its targets.
    pub fn of(check: &ConnectivityCheck, target: &CheckTarget) -> Self {
        Self {
            address: target.address,
            probe: target.probe.clone(),
            interface: check.interface.clone(),
            source: check.source,
            timeout: check.timeout,
            attempts: check.attempts,
            interval: check.interval,
        }
    }
}

/// A question that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Which one.
    pub inquiry: Arc<Inquiry>,
    /// What came of it.
    pub answer: Answer,
}

/// Asks all of them once, side by side, and returns what came of each, in their order. To be awaited on a runtime with
/// I/O and time.
pub async fn once(inquiries: &[Inquiry]) -> Vec<Answer> {
    let places = Semaphore::new(AT_ONCE);
    all(inquiries.iter().map(|inquiry| ask(inquiry, &places))).await
}

/// Who is told.
type Tell = dyn Fn(Asked) + Send + Sync;

/// Asks exactly what is wanted, each at its interval, until nobody can want anything any more. A question is never
/// under way twice: one that takes longer than its interval skips the next. New ones begin spread over a second.
/// `tell` must not block.
pub async fn run(
    mut wanted: watch::Receiver<BTreeSet<Inquiry>>,
    tell: impl Fn(Asked) + Send + Sync + 'static,
) {
    let tell: Arc<Tell> = Arc::new(tell);
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks: BTreeMap<Arc<Inquiry>, Task> = BTreeMap::new();
    loop {
        let inquiries = wanted.borrow_and_update().clone();
        tasks.retain(|inquiry, _| inquiries.contains(&**inquiry));
        for inquiry in inquiries.into_iter().map(Arc::new) {
            tasks.entry(inquiry.clone()).or_insert_with(|| {
                let task = tokio::spawn(attend(inquiry, places.clone(), tell.clone()));
                Task(task.abort_handle())
            });
        }
        if wanted.changed().await.is_err() {
            return;
        }
    }
}

/// Asks one question for ever.
async fn attend(inquiry: Arc<Inquiry>, places: Arc<Semaphore>, tell: Arc<Tell>) {
    // An interval of zero would panic; documents with one are refused.
    let interval = inquiry.interval.max(TIMER);
    let start = Instant::now() + place(&*inquiry, interval.min(SPREAD));
    let mut ticks = interval_at(start, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        tell(Asked {
            inquiry: inquiry.clone(),
            answer: ask(&inquiry, &places).await,
        });
    }
}

/// Asks until there is an answer, or there were enough attempts.
async fn ask(inquiry: &Inquiry, places: &Semaphore) -> Answer {
    // It is never closed.
    let _place = places.acquire().await;
    let Some(kind) = Kind::of_packets(&inquiry.probe) else {
        return Answer::NotAsked("a connectivity check cannot ask by ARP".into());
    };
    let mut line = Line {
        way: Way::new(inquiry.address, inquiry.interface.clone(), inquiry.source),
        kind,
    };
    let (mut attempt, mut timed_out) = (0, 0);
    loop {
        attempt += 1;
        let loss = match line.probe(inquiry.timeout).await {
            Ok(round_trip) => {
                return Answer::Given {
                    round_trip,
                    attempt,
                };
            }
            Err((_, loss)) => loss,
        };
        let last = match sort(loss, &line.kind) {
            Ok(none) => none,
            Err(answer) => return answer,
        };
        timed_out += u32::from(last == Loss::Timeout);
        if attempt >= inquiry.attempts {
            return Answer::None {
                attempts: attempt,
                timed_out,
                last,
            };
        }
        if last != Loss::Timeout {
            sleep(PAUSE.min(inquiry.timeout)).await;
        }
    }
}

/// Whether a loss means that nobody answered; if somebody did, or nothing was asked, that is the end of it.
fn sort(loss: Loss, kind: &Kind) -> Result<Loss, Answer> {
    match (loss, kind) {
        (Loss::Local(why), _) => Err(Answer::NotAsked(why)),
        (Loss::Timeout, Kind::Http(question)) if question.is_connected => {
            let what = "the connection came about, but no answer to the request";
            Err(Answer::Other(Loss::Broken(what.into())))
        }
        // No host refuses an echo; a firewall may (`REJECT`, with its usual message).
        (Loss::Refused, Kind::Icmp(_)) => Ok(Loss::Unreachable("refused by a firewall".into())),
        (loss @ (Loss::Timeout | Loss::Unreachable(_)), _) => Ok(loss),
        (loss @ (Loss::Refused | Loss::Status(_) | Loss::Broken(_)), _) => Err(Answer::Other(loss)),
    }
}
