//! The gateways that are watched: how each is, what its probes came to, and what it carries.
//!
//! Health and choice change with a pass and are copies like all that is shown. Round trips change
//! all the time, so they are kept in a [`ProbeRecord`] that the daemon's loop writes and whoever
//! asks copies: a thousand probes a second must not make a thousand publications.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::{Histogram, Published, Running};
use crate::model::Timestamp;
use crate::model::probed::Outcome;

/// So many probes are looked back on.
const WINDOW: usize = 32;

/// A gateway that is watched.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayStatus {
    /// Its address, with its link where a document names one: `10.0.0.1 dev eth0`.
    pub gateway: String,
    /// Its address alone.
    pub address: IpAddr,
    /// The link, where a document names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Whether it works.
    pub health: GatewayHealth,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The evidence against it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What is sent to it: `ICMP probes to 10.0.0.1`. Absent where only its link is looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probes: Option<String>,
    /// What came of that. Absent where only its link is looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probing: Option<Probing>,
    /// Where that is written down; gateways with the same probes have the same.
    #[serde(skip)]
    pub record: Option<Arc<ProbeRecord>>,
    /// Whether it is chosen to carry the traffic of a document.
    pub carries: bool,
    /// How many routes in the kernel lead to it.
    pub routes: usize,
    /// How often it fell again shortly after a return; after a quiet time counting starts anew. Each
    /// doubles how long it must be up before traffic returns to it, the fourth for the last time.
    pub flaps: u32,
    /// How long it must be up before traffic returns to it, with what flapping adds.
    #[serde(rename = "holdDownSeconds", serialize_with = "seconds")]
    pub hold_down: Duration,
    /// What somebody decided about it.
    pub will: GatewayWill,
    /// Who decided it, and why, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_hand: Option<String>,
    /// The documents that want it watched.
    pub documents: Vec<String>,
}

/// Whether a gateway works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum GatewayHealth {
    /// It does.
    Up,
    /// It is taken to: nothing has proven it yet.
    Unproven,
    /// It does not.
    Down,
}

impl GatewayHealth {
    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "Up",
            Self::Unproven => "Unproven",
            Self::Down => "Down",
        }
    }
}

/// What somebody decided about a gateway by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum GatewayWill {
    /// Nothing: its health decides.
    Auto,
    /// It is left as soon as another works.
    Drained,
    /// It counts as healthy, whatever its probes say.
    ForcedUp,
}

impl GatewayWill {
    /// The word for people, where somebody decided something.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Auto => None,
            Self::Drained => Some("drained"),
            Self::ForcedUp => Some("forced up"),
        }
    }
}

/// What the probes of a gateway came to. Probes that this node could not send are the last probe,
/// and not counted: they say nothing about the gateway.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Probing {
    /// How many were sent and are over, since it is probed.
    pub sent: u64,
    /// How many of these were lost.
    pub lost: u64,
    /// The last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<LastProbe>,
    /// How many of the last ones are looked at for what follows: all, up to 32.
    pub recent: usize,
    /// How many of these were lost.
    pub recent_lost: usize,
    /// How long the answered ones of these took; absent if none was answered.
    #[serde(rename = "roundTripSeconds", skip_serializing_if = "Option::is_none")]
    pub round_trip: Option<RoundTrip>,
    /// How long all that were answered took.
    #[serde(skip)]
    pub round_trips: Histogram,
}

/// The last probe of a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastProbe {
    /// When it ended.
    pub time: Timestamp,
    /// How.
    pub outcome: ProbeOutcome,
    /// The same in words: `timed out`.
    pub result: String,
}

/// How a probe ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ProbeOutcome {
    /// With an answer as the check wants it.
    Answered,
    /// Without one.
    Lost,
    /// This node could not send it.
    NotSent,
}

/// How long the last probes took from sending to the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RoundTrip {
    /// The newest of them.
    #[serde(serialize_with = "seconds")]
    pub last: Duration,
    /// The shortest.
    #[serde(serialize_with = "seconds")]
    pub min: Duration,
    /// Their mean.
    #[serde(serialize_with = "seconds")]
    pub average: Duration,
    /// The longest.
    #[serde(serialize_with = "seconds")]
    pub max: Duration,
}

pub(super) fn seconds<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

pub(super) fn seconds_if_any<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => seconds(duration, serializer),
        None => serializer.serialize_none(),
    }
}

/// What is written down of the probes of a gateway, by one and for all who ask. Nobody holds it for
/// longer than it takes to copy some hundred bytes.
#[derive(Debug)]
pub struct ProbeRecord(Mutex<Written>);

#[derive(Debug, Clone)]
struct Written {
    sent: u64,
    lost: u64,
    last: Option<(Timestamp, Outcome)>,
    /// The last round trips, `None` for a lost probe; number `sent` is at `sent % WINDOW`.
    window: [Option<Duration>; WINDOW],
    round_trips: Histogram,
}

impl Default for ProbeRecord {
    fn default() -> Self {
        Self(Mutex::new(Written {
            sent: 0,
            lost: 0,
            last: None,
            window: [None; WINDOW],
            round_trips: Histogram::of_round_trips(),
        }))
    }
}

impl ProbeRecord {
    /// A probe has ended.
    pub fn note(&self, outcome: &Outcome, time: Timestamp) {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.last = Some((time, outcome.clone()));
        if outcome.no_evidence().is_some() {
            return;
        }
        let round_trip = match outcome {
            Outcome::Answered { round_trip } => {
                written.round_trips.observe(*round_trip);
                Some(*round_trip)
            }
            Outcome::Lost { .. } => {
                written.lost += 1;
                None
            }
        };
        let place = place(written.sent);
        if let Some(slot) = written.window.get_mut(place) {
            *slot = round_trip;
        }
        written.sent += 1;
    }

    /// What they came to until now.
    pub fn probing(&self) -> Probing {
        let written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let written = Written::clone(&written);
        let recent = usize::try_from(written.sent).map_or(WINDOW, |sent| sent.min(WINDOW));
        // From the newest back.
        let numbers = (0..written.sent).rev().take(recent);
        let answered = numbers.filter_map(|n| *written.window.get(place(n))?);
        let answered: Vec<Duration> = answered.collect();
        let count = u32::try_from(answered.len()).unwrap_or(u32::MAX);
        Probing {
            sent: written.sent,
            lost: written.lost,
            last: written.last.map(LastProbe::of),
            recent,
            recent_lost: recent - answered.len(),
            round_trip: answered.first().map(|last| RoundTrip {
                last: *last,
                min: answered.iter().copied().min().unwrap_or_default(),
                average: answered.iter().sum::<Duration>() / count.max(1),
                max: answered.iter().copied().max().unwrap_or_default(),
            }),
            round_trips: written.round_trips,
        }
    }
}

fn place(number: u64) -> usize {
    // Less than 32, whatever the machine.
    (number % WINDOW as u64) as usize
}

impl LastProbe {
    fn of((time, outcome): (Timestamp, Outcome)) -> Self {
        let (outcome, result) = match &outcome {
            Outcome::Answered { .. } => (ProbeOutcome::Answered, "answered".to_owned()),
            Outcome::Lost { why, .. } => {
                let ended = match outcome.no_evidence() {
                    Some(_) => ProbeOutcome::NotSent,
                    None => ProbeOutcome::Lost,
                };
                (ended, why.to_string())
            }
        };
        Self {
            time,
            outcome,
            result,
        }
    }
}

/// All gateways that are watched, as `srsync gateway list` shows them.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayList<'a> {
    api_version: &'static str,
    kind: &'static str,
    /// This node's name.
    pub node: &'a str,
    /// When this was written.
    pub now: Timestamp,
    /// Whether this node reaches none of the witnesses of a document: nothing is switched then.
    pub isolated: bool,
    /// How often the traffic of a document went another way.
    pub failovers: u64,
    /// When it last did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_switch: Option<Timestamp>,
    /// Each of them, by address.
    pub gateways: &'a [GatewayStatus],
}

impl Published {
    /// The same with what probes came to until now. All else is as it was published.
    pub fn fresh(self: &Arc<Self>) -> Arc<Self> {
        if self.running.gateways.is_empty() {
            return self.clone();
        }
        let mut running = Running::clone(&self.running);
        for gateway in &mut running.gateways {
            gateway.probing = gateway.record.as_deref().map(ProbeRecord::probing);
        }
        Arc::new(Self {
            running: Arc::new(running),
            ..Self::clone(self)
        })
    }

    /// Its gateways alone.
    pub fn gateways(&self) -> GatewayList<'_> {
        GatewayList {
            api_version: "srsync.dev/v1alpha1",
            kind: "GatewayList",
            node: &self.node,
            now: self.running.now,
            isolated: self.running.isolated,
            failovers: self.running.counters.failovers,
            last_switch: self.running.last_switch,
            gateways: &self.running.gateways,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::probed::Loss;

    fn lost(why: Loss) -> Outcome {
        Outcome::Lost {
            address: "10.0.0.1".parse().unwrap(),
            why,
            waited: Duration::from_secs(1),
        }
    }

    #[test]
    fn the_last_32_probes_are_looked_at_and_all_are_counted() {
        let record = ProbeRecord::default();
        let time = Timestamp::from_millis(7);
        assert_eq!(record.probing().recent, 0);
        assert_eq!(record.probing().round_trip, None);
        let answer = |millis| Outcome::Answered {
            round_trip: Duration::from_millis(millis),
        };
        record.note(&answer(900), time);
        record.note(&lost(Loss::Refused), time);
        for millis in 1..=31 {
            record.note(&answer(millis), time);
        }
        let probing = record.probing();
        assert_eq!((probing.sent, probing.lost), (33, 1));
        assert_eq!((probing.recent, probing.recent_lost), (32, 1));
        let took = probing.round_trip.unwrap();
        let millis = [took.last, took.min, took.average, took.max].map(|took| took.as_millis());
        assert_eq!(millis, [31, 1, 16, 31]);
        assert_eq!(probing.round_trips.count(), 32);
    }

    #[test]
    fn what_was_not_sent_is_told_and_not_counted() {
        let record = ProbeRecord::default();
        record.note(&lost(Loss::Timeout), Timestamp::from_millis(7));
        record.note(
            &lost(Loss::Local("no socket".into())),
            Timestamp::from_millis(8),
        );
        let probing = record.probing();
        assert_eq!((probing.sent, probing.lost, probing.recent), (1, 1, 1));
        let last = probing.last.unwrap();
        assert_eq!(last.outcome, ProbeOutcome::NotSent);
        assert_eq!(last.result, "no socket");
        assert_eq!(last.time.millis(), 8);
    }
}
