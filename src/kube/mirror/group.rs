//! The objects of one group: what is known of them, and what is to be done about them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hyper::http::Method;
use kube::Client;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::entry::{Entry, Say, Wanted};
use super::shape::{self, Objects, Place};
use super::write::Writer;
use crate::kube::desk::{self, Concern, Desk};
use crate::kube::link::{Ask, Link};
use crate::kube::pace::{Pace, chance};
use crate::kube::trouble::{Failure, Purpose};
use crate::kube::{Kind, Trouble};
use crate::model::{Dialect, DocumentId};

/// How often everything is looked at, about.
pub(super) const LOOK: Duration = Duration::from_secs(300);
/// So many nodes look that often; twice as many half as often.
const CROWD: usize = 100;
/// So long after each write nothing is written.
const PAUSE: Duration = Duration::from_millis(50);

/// The objects of one group.
pub(super) struct Group {
    kind: Objects,
    node: String,
    /// As they were when they were last seen, by name.
    objects: BTreeMap<String, Value>,
    /// When to look next; `None` until there is a document of this group.
    look: Option<Instant>,
    /// After trouble nothing is tried before that.
    not_before: Option<Instant>,
    pace: Pace,
}

/// The spec of the object that a document would be; nothing where no objects are made.
type Spec<'a> = dyn Fn(&DocumentId) -> Option<Value> + 'a;

impl Group {
    pub(super) fn new(kind: Objects, node: &str) -> Self {
        Self {
            kind,
            node: node.to_owned(),
            objects: BTreeMap::new(),
            look: None,
            not_before: None,
            pace: Pace::default(),
        }
    }

    /// Which objects they are.
    pub(super) fn kind(&self) -> Objects {
        self.kind
    }

    /// When there is something to do even if nothing changes.
    pub(super) fn next(&self) -> Option<Instant> {
        self.not_before.or(self.look)
    }

    /// The object of a document, as far as it is known.
    pub(super) fn object(&self, id: &DocumentId) -> Option<&Value> {
        let is_ours = id.dialect == self.kind.dialect();
        self.objects.get(&id.name).filter(|_| is_ours)
    }

    /// Makes the objects as they should be, as far as the API lets us.
    pub(super) async fn keep<C>(
        &mut self,
        wanted: &Wanted<impl Say>,
        spec: &Spec<'_>,
        link: &mut Link<'_, C>,
        desk: &Desk<'_>,
    ) where
        C: AsyncFn() -> Result<Client, Trouble>,
    {
        let is_ours = |id: &DocumentId| id.dialect == self.kind.dialect();
        let unused = self.look.is_none() && !wanted.documents.iter().any(is_ours);
        let now = Instant::now();
        if unused || self.not_before.is_some_and(|earliest| now < earliest) {
            return;
        }
        let Place {
            resource, group, ..
        } = shape::place(self.kind);
        let concern = Concern::Mirror(resource, group);
        match self.round(wanted, spec, link).await {
            Ok(()) => {
                self.pace.reset();
                self.not_before = None;
                desk.worked(concern);
            }
            Err((purpose, trouble)) => {
                desk.failed(concern, &trouble, &purpose);
                // What is there then is not known any more.
                self.look = Some(now);
                self.not_before = Some(Instant::now() + self.pace.after(&trouble, chance()));
            }
        }
    }

    async fn round<C>(
        &mut self,
        wanted: &Wanted<impl Say>,
        spec: &Spec<'_>,
        link: &mut Link<'_, C>,
    ) -> Result<(), Failure>
    where
        C: AsyncFn() -> Result<Client, Trouble>,
    {
        let now = Instant::now();
        let looks = self.look.is_none_or(|look| look <= now);
        if looks {
            self.read(link).await?;
            self.look = Some(now + self.rest().mul_f64(0.75 + chance() / 2.0));
        }
        let dialect = self.kind.dialect();
        let ours = |id: &DocumentId| id.dialect == dialect;
        for id in wanted.documents.iter().filter(|id| ours(id)) {
            if !self.objects.contains_key(&id.name)
                && let Some(spec) = spec(id)
            {
                self.make(id, &spec, link).await?;
            }
        }
        for (id, entry) in wanted.entries.iter().filter(|(id, _)| ours(id)) {
            if self.differs(&id.name, entry) {
                self.write(&id.name, Some(entry), link).await?;
            }
        }
        if wanted.complete {
            for name in self.left_over(wanted) {
                self.write(&name, None::<&Entry>, link).await?;
            }
        }
        if looks {
            self.settle(link).await?;
            self.look_after_others(wanted, link).await?;
        }
        Ok(())
    }

    /// Reads all objects.
    async fn read<C>(&mut self, link: &mut Link<'_, C>) -> Result<(), Failure>
    where
        C: AsyncFn() -> Result<Client, Trouble>,
    {
        let purpose = self.purpose("list");
        let list = link.ask(&Ask::get(shape::place(self.kind).path)).await;
        let mut list = list.map_err(|trouble| (purpose, trouble))?;
        let Some(Value::Array(items)) = list.get_mut("items").map(Value::take) else {
            let trouble = Trouble::new(Kind::Server, "the answer is no list");
            return Err((self.purpose("list"), trouble));
        };
        let named = |object: Value| Some((object["metadata"]["name"].as_str()?.to_owned(), object));
        self.objects = items.into_iter().filter_map(named).collect();
        Ok(())
    }

    /// How long until the next look. All nodes look, and at all entries: the more there are, the less often.
    fn rest(&self) -> Duration {
        let nodes = |object: &Value| shape::nodes(self.kind.dialect(), object).len();
        let nodes = self.objects.values().map(nodes).max().unwrap_or(0);
        LOOK.saturating_mul(u32::try_from(1 + nodes / CROWD).unwrap_or(u32::MAX))
    }

    fn differs(&self, name: &str, entry: &impl Say) -> bool {
        let Some(object) = self.objects.get(name) else {
            return false;
        };
        let there = shape::entry_of(self.kind.dialect(), object, &self.node);
        let about = (self.kind.dialect(), object);
        let wanted = shape::wanted_entry(about, (&self.node, entry), desk::now());
        there != Some(&wanted)
    }

    /// Objects with an entry of this node, which has nothing to say about them any more.
    fn left_over(&self, wanted: &Wanted<impl Say>) -> Vec<String> {
        let said: BTreeSet<&str> = wanted
            .entries
            .keys()
            .filter(|id| id.dialect == self.kind.dialect())
            .map(|id| id.name.as_str())
            .collect();
        let objects = self.objects.iter();
        let left = objects.filter(|(name, object)| {
            let there = shape::entry_of(self.kind.dialect(), object, &self.node);
            there.is_some() && !said.contains(name.as_str())
        });
        left.map(|(name, _)| name.clone()).collect()
    }

    async fn write<C>(
        &mut self,
        name: &str,
        entry: Option<&impl Say>,
        link: &mut Link<'_, C>,
    ) -> Result<(), Failure>
    where
        C: AsyncFn() -> Result<Client, Trouble>,
    {
        let Some(object) = self.objects.remove(name) else {
            return Ok(());
        };
        let writer = self.writer(name);
        let written = writer.entry(object, (&self.node, entry), link).await;
        self.remember(name, written).await
    }

    fn writer(&self, name: &str) -> Writer {
        Writer {
            objects: self.kind,
            name: name.to_owned(),
        }
    }

    /// An object that was deleted meanwhile is nobody's trouble.
    async fn remember(
        &mut self,
        name: &str,
        written: Result<Value, Failure>,
    ) -> Result<(), Failure> {
        match written {
            Ok(object) => drop(self.objects.insert(name.to_owned(), object)),
            Err((_, trouble)) if trouble.kind == Kind::NotFound => {}
            Err(failure) => return Err(failure),
        }
        sleep(PAUSE).await;
        Ok(())
    }

    /// Summaries that somebody could not bring to an end are.
    async fn settle<C>(&mut self, link: &mut Link<'_, C>) -> Result<(), Failure>
    where
        C: AsyncFn() -> Result<Client, Trouble>,
    {
        let wrong = |object: &Value| {
            let summary = shape::summary(self.kind, object);
            let has_any = !shape::nodes(self.kind.dialect(), object).is_empty();
            has_any
                && summary
                    .iter()
                    .any(|(field, value)| object["status"][field] != *value)
        };
        let wrong = self.objects.iter().filter(|(_, object)| wrong(object));
        let wrong: Vec<String> = wrong.map(|(name, _)| name.clone()).collect();
        for name in wrong {
            let Some(object) = self.objects.remove(&name) else {
                continue;
            };
            let written = self.writer(&name).summary(object, link).await;
            self.remember(&name, written).await?;
        }
        Ok(())
    }

    /// Takes away the entry of the next node by name, if that node is gone. So each has one that does that
    /// for it, and if that one is gone too, its next does it first.
    async fn look_after_others<C>(
        &mut self,
        wanted: &Wanted<impl Say>,
        link: &mut Link<'_, C>,
    ) -> Result<(), Failure>
    where
        C: AsyncFn() -> Result<Client, Trouble>,
    {
        let ours = wanted
            .documents
            .iter()
            .filter(|id| id.dialect == self.kind.dialect());
        let ours: BTreeSet<&str> = ours.map(|id| id.name.as_str()).collect();
        let mut next: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, object) in &self.objects {
            // Somebody who deletes an object waits until no node is left in it.
            let is_going = !object["metadata"]["deletionTimestamp"].is_null();
            if !is_going && !ours.contains(name.as_str()) {
                continue;
            }
            let nodes = shape::nodes(self.kind.dialect(), object);
            if let Some(node) = shape::next_of(&nodes, &self.node) {
                let objects = next.entry(node.to_owned()).or_default();
                objects.push(name.clone());
            }
        }
        // Who is not known by its own name had better not judge others.
        if next.is_empty() || !exists(&self.node, link).await? {
            return Ok(());
        }
        for (node, objects) in next {
            if exists(&node, link).await? {
                continue;
            }
            for name in objects {
                let Some(object) = self.objects.remove(&name) else {
                    continue;
                };
                let written = self
                    .writer(&name)
                    .entry(object, (&node, None::<&Entry>), link)
                    .await;
                self.remember(&name, written).await?;
            }
        }
        Ok(())
    }

    async fn make<C>(
        &mut self,
        id: &DocumentId,
        spec: &Value,
        link: &mut Link<'_, C>,
    ) -> Result<(), Failure>
    where
        C: AsyncFn() -> Result<Client, Trouble>,
    {
        let object = json!({
            "apiVersion": self.kind.dialect().api_version(),
            "kind": self.kind.kind(),
            "metadata": {"name": id.name, "labels": {"app.kubernetes.io/managed-by": "srsync"}},
            "spec": spec,
        });
        let path = format!("{}?fieldManager=srsync", shape::place(self.kind).path);
        let ask = Ask::get(path).with(Method::POST, "application/json", &object);
        match link.ask(&ask).await {
            Ok(object) => drop(self.objects.insert(id.name.clone(), object)),
            // Another node was faster: it is seen at the next look.
            Err(trouble) if trouble.kind == Kind::Conflict => self.look = Some(Instant::now()),
            Err(trouble) => {
                let purpose = Purpose {
                    name: id.name.clone(),
                    ..self.purpose("create")
                };
                return Err((purpose, trouble));
            }
        }
        sleep(PAUSE).await;
        Ok(())
    }

    fn purpose(&self, verb: &'static str) -> Purpose {
        let place = shape::place(self.kind);
        Purpose {
            verb,
            group: place.group,
            resource: place.resource,
            name: format!("of {}", place.group),
            verbs: match verb {
                "create" => "create, get, list",
                _ => "get, list",
            },
            missing: match self.kind.dialect() {
                Dialect::Native => {
                    "install its CRD (`srsync schema --crd | kubectl apply -f -`), or set kube.mirror: false"
                }
                _ => "install the CRD of that operator, or set kube.mirror: false",
            },
        }
    }
}

/// Whether a node of this name is in the cluster.
async fn exists<C>(node: &str, link: &mut Link<'_, C>) -> Result<bool, Failure>
where
    C: AsyncFn() -> Result<Client, Trouble>,
{
    let ask = Ask::get(format!("/api/v1/nodes/{node}")).metadata_only();
    match link.ask(&ask).await {
        Ok(_) => Ok(true),
        Err(trouble) if trouble.kind == Kind::NotFound => Ok(false),
        Err(trouble) => Err((Purpose::of_node("get", node), trouble)),
    }
}
