//! Writing to the status of one object, so that nodes never overwrite each other.

use std::time::Duration;

use hyper::http::Method;
use kube::Client;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::entry::Say;
use super::shape::{self, Objects, Place};
use crate::kube::desk;
use crate::kube::link::{Ask, Link};
use crate::kube::pace::chance;
use crate::kube::trouble::{Failure, Purpose};
use crate::kube::{Kind, Trouble};
use crate::model::Dialect;

const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";

/// So often an object that others write at the same moment is read again.
const TRIES: u32 = 8;
/// How long to get out of each other's way, at most, times the number of tries.
const ASIDE: Duration = Duration::from_millis(200);

/// Writes one object.
pub(super) struct Writer {
    pub(super) objects: Objects,
    pub(super) name: String,
}

impl Writer {
    /// Writes the entry of a node, or takes it away, and then the summary. Returns the object as it is then.
    pub(super) async fn entry<C>(
        &self,
        object: Value,
        (node, entry): (&str, Option<&impl Say>),
        link: &mut Link<'_, C>,
    ) -> Result<Value, Failure>
    where
        C: AsyncFn() -> Result<Client, Trouble>,
    {
        let dialect = self.objects.dialect();
        let wanted = |object: &Value| {
            let about = (dialect, object);
            entry.map(|entry| shape::wanted_entry(about, (node, entry), desk::now()))
        };
        let written = match (dialect, wanted(&object)) {
            (Dialect::Native, Some(entry)) => self.apply(node, &entry, link).await?,
            (Dialect::DigitalOcean, entry) => {
                let status = json!({"nodes": {node: entry}});
                self.merge(json!({"status": status}), link).await?
            }
            // Server-side apply would leave null where the last entry of a list goes.
            (Dialect::Native | Dialect::Ibm, _) => {
                let status = |object: &Value| {
                    let (field, list) = shape::list_with(dialect, object, node, wanted(object));
                    let is_there = object["status"][field] == json!(list);
                    (!is_there).then(|| json!({field: list}))
                };
                self.until_alone(object, link, status).await?
            }
        };
        self.summary(written, link).await
    }

    /// Writes the summary of all entries, if it is another than the one that is there.
    pub(super) async fn summary<C>(
        &self,
        object: Value,
        link: &mut Link<'_, C>,
    ) -> Result<Value, Failure>
    where
        C: AsyncFn() -> Result<Client, Trouble>,
    {
        self.until_alone(object, link, |object| {
            let summary = shape::summary(self.objects, object);
            let there = |(field, value): (&&str, &Value)| object["status"][field] == *value;
            (!summary.iter().all(there)).then(|| json!(summary))
        })
        .await
    }

    /// Writes what follows from the object as it is, on condition that nobody has written since. Whoever
    /// is late reads again: so the last one who writes has seen everything.
    async fn until_alone<C>(
        &self,
        mut object: Value,
        link: &mut Link<'_, C>,
        status: impl Fn(&Value) -> Option<Value>,
    ) -> Result<Value, Failure>
    where
        C: AsyncFn() -> Result<Client, Trouble>,
    {
        for tried in 1.. {
            let Some(status) = status(&object) else { break };
            let version = &object["metadata"]["resourceVersion"];
            let patch = json!({"metadata": {"resourceVersion": version}, "status": status});
            match self.merge(patch, link).await {
                Ok(written) => return Ok(written),
                Err((_, trouble)) if trouble.kind == Kind::Conflict && tried < TRIES => {
                    sleep(ASIDE.mul_f64(chance()) * tried).await;
                }
                Err(failure) => return Err(failure),
            }
            let read = link.ask(&Ask::get(self.path())).await;
            object =
                read.map_err(|trouble| (self.purpose("get", self.place().resource), trouble))?;
        }
        Ok(object)
    }

    /// Says all that a node has to say. What it said before and does not say now goes; what others say
    /// stays.
    async fn apply<C>(
        &self,
        node: &str,
        entry: &Value,
        link: &mut Link<'_, C>,
    ) -> Result<Value, Failure>
    where
        C: AsyncFn() -> Result<Client, Trouble>,
    {
        let object = json!({
            "apiVersion": self.objects.dialect().api_version(),
            "kind": self.objects.kind(),
            "metadata": {"name": self.name},
            "status": {"nodes": [entry]},
        });
        let query = format!("?fieldManager={}&force=true", shape::manager(node));
        self.patch(&query, APPLY, &object, link).await
    }

    async fn merge<C>(&self, patch: Value, link: &mut Link<'_, C>) -> Result<Value, Failure>
    where
        C: AsyncFn() -> Result<Client, Trouble>,
    {
        self.patch("?fieldManager=srsync", MERGE, &patch, link)
            .await
    }

    async fn patch<C>(
        &self,
        query: &str,
        kind: &'static str,
        patch: &Value,
        link: &mut Link<'_, C>,
    ) -> Result<Value, Failure>
    where
        C: AsyncFn() -> Result<Client, Trouble>,
    {
        let Place {
            status, written, ..
        } = self.place();
        let path = format!("{}{status}{query}", self.path());
        let ask = Ask::get(path).with(Method::PATCH, kind, patch);
        let answer = link.ask(&ask).await;
        answer.map_err(|trouble| (self.purpose("patch", written), trouble))
    }

    fn place(&self) -> Place {
        shape::place(self.objects)
    }

    fn path(&self) -> String {
        format!("{}/{}", self.place().path, self.name)
    }

    fn purpose(&self, verb: &'static str, resource: &'static str) -> Purpose {
        Purpose {
            verb,
            group: self.place().group,
            resource,
            name: self.name.clone(),
            verbs: match verb {
                "get" => "get, list",
                _ => "patch",
            },
            missing: "it was deleted",
        }
    }
}
