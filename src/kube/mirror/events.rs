//! Events on the objects of documents, or on the Node where a document has none.
//!
//! Owns when an Event is written: the latest of each document, at most once in a while, and what happens again is
//! counted on the Event that is there. Many documents that have the same to tell are one Event on the Node.
//! Events are for people who look: nothing waits for them, and none is so important that it may be late for long.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::http::Method;
use kube::Client;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::entry::{Entry, Wanted};
use super::event::Event;
use crate::kube::desk::{self, Concern, Desk};
use crate::kube::link::{Ask, Link};
use crate::kube::pace::{Pace, chance};
use crate::kube::trouble::{Failure, Purpose};
use crate::kube::{Kind, Trouble};
use crate::model::{DocumentId, Timestamp};
use crate::report::{GatewayHealth, GatewayStatus};

/// Events about what has no namespace are kept in this one, as kubelet does it.
const EVENTS: &str = "/api/v1/namespaces/default/events";
const MERGE: &str = "application/merge-patch+json";
/// With so many documents that have the same to tell it is told once, of the Node.
const MANY: usize = 10;
/// An Event that happens again within this time is counted. By default the API keeps them for an hour.
const SAME: Duration = Duration::from_secs(30 * 60);
/// So long after each Event nothing is written.
const PAUSE: Duration = Duration::from_millis(100);
/// An Event is not told any more after this: it is no news then.
const STALE: Duration = Duration::from_secs(600);

/// What is told, and what was.
pub(super) struct Events {
    node: String,
    /// The documents as they were told; `None` before the first look.
    known: Option<BTreeMap<DocumentId, Entry>>,
    /// What is to be told, the latest of each.
    waiting: BTreeMap<Subject, (Event, Timestamp)>,
    /// What was told lately.
    told: BTreeMap<(Subject, Event), Told>,
    pace: Pace,
    not_before: Option<Instant>,
}

/// Whom an Event is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    /// The node: many documents have the same reason.
    Node(&'static str),
    Document(DocumentId),
}

/// An Event in the cluster.
struct Told {
    name: String,
    count: u32,
    last: Instant,
}

impl Events {
    pub(super) fn new(node: &str) -> Self {
        Self {
            node: node.to_owned(),
            known: None,
            waiting: BTreeMap::new(),
            told: BTreeMap::new(),
            pace: Pace::default(),
            not_before: None,
        }
    }

    /// When something that waits is tried again.
    pub(super) fn next(&self) -> Option<Instant> {
        self.not_before.filter(|_| !self.waiting.is_empty())
    }

    /// Compares what became of documents with what was told of them. At the first look only trouble is news:
    /// a restart is none.
    pub(super) fn note(&mut self, wanted: &Wanted, gateways: &[GatewayStatus]) {
        let fallen = |address| {
            let mut gateways = gateways.iter();
            let is_it = |gateway: &&GatewayStatus| {
                gateway.address == address && gateway.health == GatewayHealth::Down
            };
            let gateway = gateways.find(is_it)?;
            Some(gateway.cause.clone().unwrap_or_default())
        };
        let now = desk::now();
        for (id, entry) in &wanted.entries {
            let before = self.known.as_ref().and_then(|known| known.get(id));
            let event = Event::of(before, entry, fallen);
            if let Some(event) = event.filter(|event| event.warning || self.known.is_some()) {
                let subject = Subject::Document(id.clone());
                self.waiting.insert(subject, (event, now));
            }
        }
        self.known = Some(wanted.entries.clone());
    }

    /// Writes what waits. `object` is that of a document, where it has one.
    pub(super) async fn tell<'o, C>(
        &mut self,
        object: impl Fn(&DocumentId) -> Option<&'o Value>,
        link: &mut Link<'_, C>,
        desk: &Desk<'_>,
    ) where
        C: AsyncFn() -> Result<Client, Trouble>,
    {
        let now = Instant::now();
        if self.waiting.is_empty() || self.not_before.is_some_and(|earliest| now < earliest) {
            return;
        }
        self.told
            .retain(|_, told| now.duration_since(told.last) < SAME);
        let today = desk::now();
        self.waiting
            .retain(|_, (_, time)| today.since(*time) < STALE);
        self.put_together();
        while let Some((subject, (event, time))) = self.waiting.pop_first() {
            let about = match &subject {
                Subject::Document(id) => object(id),
                Subject::Node(_) => None,
            };
            match self.write(&subject, &event, (about, time), link).await {
                Ok(()) => {
                    self.pace.reset();
                    self.not_before = None;
                    desk.worked(Concern::Events);
                }
                Err((purpose, trouble)) => {
                    desk.failed(Concern::Events, &trouble, &purpose);
                    self.waiting.insert(subject, (event, time));
                    self.not_before = Some(Instant::now() + self.pace.after(&trouble, chance()));
                    return;
                }
            }
            sleep(PAUSE).await;
        }
    }

    /// Where many documents have the same reason, the node has it.
    fn put_together(&mut self) {
        let mut reasons: BTreeMap<&'static str, Vec<&DocumentId>> = BTreeMap::new();
        for (subject, (event, _)) in &self.waiting {
            if let Subject::Document(id) = subject {
                reasons.entry(event.reason).or_default().push(id);
            }
        }
        reasons.retain(|_, documents| documents.len() > MANY);
        let many = reasons.into_iter().filter_map(|(reason, documents)| {
            let first = (*documents.first()?).clone();
            let (event, time) = self.waiting.get(&Subject::Document(first.clone()))?;
            let event = Event::of_many(documents.len(), (&first.to_string(), event));
            Some((Subject::Node(reason), (event, *time)))
        });
        let many: Vec<(Subject, (Event, Timestamp))> = many.collect();
        for (subject, told) in many {
            let Subject::Node(reason) = subject else {
                continue;
            };
            self.waiting.retain(|subject, (event, _)| {
                matches!(subject, Subject::Node(_)) || event.reason != reason
            });
            self.waiting.insert(subject, told);
        }
    }

    /// Writes an Event, or counts it on the one that is there. `object` is that of its document.
    async fn write<C>(
        &mut self,
        subject: &Subject,
        event: &Event,
        (object, time): (Option<&Value>, Timestamp),
        link: &mut Link<'_, C>,
    ) -> Result<(), Failure>
    where
        C: AsyncFn() -> Result<Client, Trouble>,
    {
        let key = (subject.clone(), event.clone());
        if let Some(told) = self.told.get_mut(&key) {
            let count = told.count + 1;
            let again = json!({"count": count, "lastTimestamp": time.to_string()});
            let path = format!("{EVENTS}/{}", told.name);
            let ask = Ask::get(path).with(Method::PATCH, MERGE, &again);
            match link.ask(&ask).await {
                Ok(_) => {
                    (told.count, told.last) = (count, Instant::now());
                    return Ok(());
                }
                // The API has forgotten it.
                Err(trouble) if trouble.kind == Kind::NotFound => {}
                Err(trouble) => return Err((purpose("patch"), trouble)),
            }
        }
        let made = self.made(subject, event, (object, time));
        let ask = Ask::get(EVENTS).with(Method::POST, "application/json", &made);
        let answer = link.ask(&ask).await;
        answer.map_err(|trouble| (purpose("create"), trouble))?;
        let name = made["metadata"]["name"].as_str().unwrap_or_default();
        let told = Told {
            name: name.to_owned(),
            count: 1,
            last: Instant::now(),
        };
        self.told.insert(key, told);
        Ok(())
    }

    fn made(
        &self,
        subject: &Subject,
        event: &Event,
        (object, time): (Option<&Value>, Timestamp),
    ) -> Value {
        let node = &self.node;
        let (about, message) = match (object, subject) {
            (Some(object), _) => {
                let metadata = &object["metadata"];
                let about = json!({
                    "apiVersion": object["apiVersion"],
                    "kind": "StaticRoute",
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                });
                (about, format!("{node}: {}", event.message))
            }
            // As kubelet does it: a node is known by its name in Events.
            (None, Subject::Document(id)) => (of_node(node), format!("{id}: {}", event.message)),
            (None, Subject::Node(_)) => (of_node(node), event.message.clone()),
        };
        let time = time.to_string();
        json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "namespace": "default",
                "name": format!("{}.{:x}", about["name"].as_str().unwrap_or(node), nanoseconds()),
            },
            "involvedObject": about,
            "reason": event.reason,
            "message": message,
            "type": if event.warning { "Warning" } else { "Normal" },
            "source": {"component": "srsync", "host": node},
            "reportingComponent": "srsync",
            "reportingInstance": node,
            "firstTimestamp": time,
            "lastTimestamp": time,
            "count": 1,
        })
    }
}

fn of_node(node: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "name": node, "uid": node})
}

/// What makes the name of an Event another one, as in those of others.
fn nanoseconds() -> u128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_nanos()
}

fn purpose(verb: &'static str) -> Purpose {
    Purpose {
        verb,
        group: "",
        resource: "events",
        name: "in namespace default".to_owned(),
        verbs: "create, patch",
        missing: "the namespace `default` is not there",
    }
}
