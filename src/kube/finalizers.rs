//! Objects of the two operators' groups that somebody deletes: they stay until each node has said that it has
//! no route of them any more, and the last one lets them go.
//!
//! The operator's finalizer, and this node's entry in the status, are all that is ever taken away.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::http::Method;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;

use super::collection::Collection;
use super::desk::{Concern, Desk};
use super::link::{Ask, Link};
use super::listing::is_going;
use super::pace::{Pace, chance};
use super::trouble::Purpose;
use super::{Kind, Trouble};
use crate::model::Dialect;
use crate::report::{Action, Published};

/// What the operator puts on each of its objects; nothing where there is no operator.
fn finalizer(dialect: Dialect) -> Option<&'static str> {
    match dialect {
        Dialect::Native => None,
        // That operator is made with kopf, which puts its own there.
        Dialect::DigitalOcean => Some("kopf.zalando.org/KopfFinalizerMarker"),
        Dialect::Ibm => Some("finalizer.static-route.ibm.com"),
    }
}

/// So often somebody else may be faster before that is said.
const ATTEMPTS: u32 = 5;

/// The objects that wait for this node.
pub(super) struct Going<'n> {
    node: &'n str,
    collection: Collection,
    /// What holds them.
    finalizer: &'static str,
    /// Each with how much had been told of objects when it was no longer wanted.
    names: watch::Sender<BTreeMap<String, u64>>,
}

impl<'n> Going<'n> {
    /// Those of a collection, where an operator may hold them.
    pub(super) fn of(collection: Collection, node: &'n str) -> Option<Self> {
        let finalizer = finalizer(collection.dialect())?;
        let (names, _) = watch::channel(BTreeMap::new());
        Some(Self {
            node,
            collection,
            finalizer,
            names,
        })
    }

    /// Notes an object as it is now: whether it is going, and this node has something to do about it.
    pub(super) fn note(&self, name: &str, object: &Value, told: u64) {
        let waits = !matches!(self.step(object), Step::Done);
        self.names.send_if_modified(|names| match waits {
            true if names.contains_key(name) => false,
            true => names.insert(name.to_owned(), told).is_none(),
            false => names.remove(name).is_some(),
        });
    }

    /// Only these objects are there.
    pub(super) fn only(&self, is_there: impl Fn(&str) -> bool) {
        self.names.send_if_modified(|names| {
            let before = names.len();
            names.retain(|name, _| is_there(name));
            names.len() != before
        });
    }
}

/// Lets go of each object that waits for this node, once a complete pass has left no route of it.
pub(super) async fn release<C>(
    going: &Going<'_>,
    mut link: Link<'_, C>,
    desk: &Desk<'_>,
    mut published: watch::Receiver<Arc<Published>>,
) where
    C: AsyncFn() -> Result<Client, Trouble>,
{
    let dialect = going.collection.dialect();
    let mut names = going.names.subscribe();
    let mut pace = Pace::default();
    loop {
        let waiting = names.borrow_and_update().clone();
        let now = Arc::clone(&published.borrow_and_update());
        let free = waiting.iter();
        let free = free.filter(|(name, told)| is_gone(&now, (dialect, name), **told));
        let mut wait = None;
        for (name, _) in free {
            let path = going.collection.path_of(name);
            let released = let_go(&mut link, &path, going).await;
            match released {
                Ok(()) => desk.worked(Concern::Finalizers),
                Err(trouble) => {
                    desk.failed(Concern::Finalizers, &trouble, &purpose(dialect, name));
                    wait = Some(pace.after(&trouble, chance()));
                }
            }
        }
        let again = async {
            match wait {
                Some(wait) => sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            changed = names.changed() => changed.is_err(),
            // While an attempt has failed, only time helps.
            changed = published.changed(), if wait.is_none() => changed.is_err(),
            () = again => false,
        };
        if wait.is_none() {
            pace.reset();
        }
        if ended {
            return;
        }
    }
}

/// Whether a complete pass after the object was given up has left no route of it.
fn is_gone(published: &Published, (dialect, name): (Dialect, &str), told: u64) -> bool {
    let mut documents = published.documents.iter();
    let is_wanted =
        documents.any(|document| document.id.dialect == dialect && document.id.to_string() == name);
    published.running.counters.objects_read >= told
        && published.incomplete.is_none()
        && !is_wanted
        && published.report(None, |report| {
            let left = |action| matches!(action, Action::Remove | Action::Withhold);
            !report.rows().any(|view| left(view.action))
        })
}

/// Takes this node's entry away, and the finalizer if no entry is left.
async fn let_go<C>(link: &mut Link<'_, C>, path: &str, going: &Going<'_>) -> Result<(), Trouble>
where
    C: AsyncFn() -> Result<Client, Trouble>,
{
    let mut attempts = 0;
    loop {
        let object = match link.ask(&Ask::get(path)).await {
            Err(trouble) if trouble.kind == Kind::NotFound => return Ok(()),
            object => object?,
        };
        let done = match going.step(&object) {
            Step::Done => return Ok(()),
            Step::Entry(patch) => {
                let status = format!("{path}/status");
                match link.ask(&patched(&status, &patch)).await {
                    // Not every version of its CRD has a status apart.
                    Err(trouble) if trouble.kind == Kind::NotFound => {
                        link.ask(&patched(path, &patch)).await
                    }
                    done => done,
                }
            }
            Step::Finalizer(patch) => link.ask(&patched(path, &patch)).await,
        };
        match done {
            Ok(_) => {}
            Err(trouble) if trouble.kind == Kind::NotFound => return Ok(()),
            // Somebody else was faster: what is tested in the patch is another now.
            Err(trouble) if is_race(&trouble) && attempts < ATTEMPTS => {
                attempts += 1;
                sleep(std::time::Duration::from_millis(200).mul_f64(chance())).await;
            }
            Err(trouble) => return Err(trouble),
        }
    }
}

fn is_race(trouble: &Trouble) -> bool {
    matches!(trouble.kind, Kind::Conflict | Kind::Refused)
}

/// What this node has to do about an object next.
enum Step {
    /// Nothing: others have.
    Done,
    /// Take its own entry away.
    Entry(Value),
    /// Take the finalizer away.
    Finalizer(Value),
}

impl Going<'_> {
    /// Each patch tests what it was decided by, so that nobody's entry and no other finalizer is lost.
    fn step(&self, object: &Value) -> Step {
        let finalizers = object["metadata"]["finalizers"].as_array();
        let mut finalizers = finalizers.into_iter().flatten();
        let ours = finalizers.position(|finalizer| finalizer == self.finalizer);
        let Some(index) = ours.filter(|_| is_going(object)) else {
            return Step::Done;
        };
        let status = &object["status"];
        let version = json!({
            "op": "test", "path": "/metadata/resourceVersion", "value": object["metadata"]["resourceVersion"],
        });
        let others = match self.collection.dialect() {
            Dialect::Ibm => {
                let nodes = status["nodeStatus"]
                    .as_array()
                    .map_or(&[][..], Vec::as_slice);
                if let Some(index) = nodes
                    .iter()
                    .position(|entry| entry["hostname"] == self.node)
                {
                    let entry = format!("/status/nodeStatus/{index}");
                    return Step::Entry(json!([
                        {"op": "test", "path": format!("{entry}/hostname"), "value": self.node},
                        {"op": "remove", "path": entry},
                    ]));
                }
                nodes.len()
            }
            Dialect::DigitalOcean | Dialect::Native => {
                if !status["nodes"][self.node].is_null() {
                    let entry = format!("/status/nodes/{}", self.node);
                    return Step::Entry(json!([version, {"op": "remove", "path": entry}]));
                }
                status["nodes"].as_object().map_or(0, serde_json::Map::len)
            }
        };
        if others > 0 {
            return Step::Done;
        }
        let finalizer = format!("/metadata/finalizers/{index}");
        Step::Finalizer(json!([
            version,
            {"op": "test", "path": finalizer, "value": self.finalizer},
            {"op": "remove", "path": finalizer},
        ]))
    }
}

fn patched(path: &str, patch: &Value) -> Ask {
    Ask {
        method: Method::PATCH,
        body: Some((
            "application/json-patch+json",
            patch.to_string().into_bytes(),
        )),
        ..Ask::get(path)
    }
}

fn purpose(dialect: Dialect, name: &str) -> Purpose {
    Purpose {
        verb: "patch",
        group: dialect.group(),
        resource: "staticroutes, staticroutes/status",
        name: name.to_owned(),
        verbs: "get, list, watch, patch",
        missing: "somebody has deleted it meanwhile",
    }
}
