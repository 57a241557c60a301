//! Objects of the cluster as a source: listed, then watched. What was known last is good until there is
//! better: only an answer that says so takes an object away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::collection::Collection;
use super::desk::{Concern, Desk};
use super::finalizers::Going;
use super::link::{Ask, GRACE, Link, WATCHED, refusal};
use super::listing::{encoded, is_going, list, name, version};
use super::pace::{Pace, chance};
use super::trouble::{Failure, Purpose};
use super::{Kind, News, Trouble, manifest};

/// How soon a collection that is not there is looked for a second time. A server that has just started
/// knows none of its CRDs for a moment.
const SURE: Duration = Duration::from_secs(5);
/// How soon it is looked for again after that.
const AGAIN: Duration = Duration::from_secs(60);

/// What is told of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// These are all its objects, each by name, as a document.
    All(Objects),
    /// This one is another now, or is not wanted any more.
    One(String, Option<Arc<str>>),
}

/// Objects by name, each as a document.
pub type Objects = BTreeMap<String, Arc<str>>;

/// Tells the objects of a collection, and each change of them.
pub(super) async fn follow<C>(
    collection: Collection,
    mut link: Link<'_, C>,
    desk: &Desk<'_>,
    going: Option<&Going<'_>>,
) where
    C: AsyncFn() -> Result<Client, Trouble>,
{
    let mut following = Following {
        collection,
        going,
        known: None,
        version: None,
        missed: false,
        pace: Pace::default(),
    };
    let concern = Concern::Objects(collection);
    loop {
        let wait = match following.once(&mut link, desk).await {
            Ok(wait) => wait,
            Err((purpose, trouble)) => {
                // Without a connection nothing was said of where the watch began.
                if !trouble.is_of_the_connection() {
                    following.version = None;
                }
                desk.failed(concern, &trouble, &purpose);
                following.pace.after(&trouble, chance())
            }
        };
        sleep(wait).await;
    }
}

struct Following<'g> {
    collection: Collection,
    /// Where those are noted that wait for this node.
    going: Option<&'g Going<'g>>,
    /// What was told; `None` before the first complete list.
    known: Option<Objects>,
    /// Up to which change that is, where a watch can begin there.
    version: Option<String>,
    /// It was looked for, and was not there.
    missed: bool,
    pace: Pace,
}

impl Following<'_> {
    /// Lists the objects, unless they are known, and watches them until the watch ends. Returns how long
    /// to wait before the next time.
    async fn once<C>(
        &mut self,
        link: &mut Link<'_, C>,
        desk: &Desk<'_>,
    ) -> Result<Duration, Failure>
    where
        C: AsyncFn() -> Result<Client, Trouble>,
    {
        if self.version.is_none() {
            match list(link, self.collection).await {
                Ok((objects, version)) => {
                    let wanted = objects.iter().filter(|object| !is_going(object));
                    let named =
                        wanted.filter_map(|object| Some((name(object)?, self.text(object))));
                    let wanted = named.collect();
                    self.missed = false;
                    self.version = Some(version);
                    self.learn_all(wanted, desk);
                    self.note_all(&objects, desk);
                }
                Err(trouble) if self.may_be_missing(&trouble) => return Ok(self.miss(desk)),
                Err(trouble) => return Err((self.purpose("list"), trouble)),
            }
        }
        let watched = self.watch(link, desk).await;
        watched.map_err(|trouble| (self.purpose("watch"), trouble))?;
        self.works(desk);
        Ok(Duration::from_secs(1).mul_f64(chance()))
    }

    async fn watch<C>(&mut self, link: &mut Link<'_, C>, desk: &Desk<'_>) -> Result<(), Trouble>
    where
        C: AsyncFn() -> Result<Client, Trouble>,
    {
        let path = format!(
            "{}?watch=true&allowWatchBookmarks=true&resourceVersion={}&timeoutSeconds={}",
            self.collection.path(),
            encoded(self.version.as_deref().unwrap_or_default()),
            WATCHED.as_secs(),
        );
        let mut watch = link.watch(&Ask::get(path)).await?;
        desk.worked(Concern::Objects(self.collection));
        while let Ok(event) = timeout(WATCHED + GRACE, watch.next()).await {
            let Some(event) = event? else { break };
            let object = &event["object"];
            match event["type"].as_str() {
                Some("ERROR") => return Err(refusal(object)),
                Some("ADDED" | "MODIFIED") if !is_going(object) => self.learn(object, desk),
                Some("ADDED" | "MODIFIED") => {
                    self.forget(object, desk);
                    self.note(object, desk);
                }
                Some("DELETED") => {
                    self.forget(object, desk);
                    let gone = name(object);
                    self.note_only(|name| gone.as_deref() != Some(name));
                }
                _ => {}
            }
            if let Some(version) = version(&object["metadata"]) {
                self.version = Some(version);
            }
            self.pace.reset();
        }
        Ok(())
    }

    fn learn_all(&mut self, objects: Objects, desk: &Desk<'_>) {
        if self.known.as_ref() != Some(&objects) {
            self.known = Some(objects.clone());
            desk.tell(News::Objects(self.collection, Heard::All(objects)));
        }
    }

    fn learn(&mut self, object: &Value, desk: &Desk<'_>) {
        let Some(name) = name(object) else { return };
        let text = self.text(object);
        let known = self.known.get_or_insert_default();
        // Most changes of an object are of its status.
        if known.get(&name) != Some(&text) {
            known.insert(name.clone(), Arc::clone(&text));
            desk.tell(News::Objects(self.collection, Heard::One(name, Some(text))));
        }
    }

    fn forget(&mut self, object: &Value, desk: &Desk<'_>) {
        let Some(name) = name(object) else { return };
        if self.known.get_or_insert_default().remove(&name).is_some() {
            desk.tell(News::Objects(self.collection, Heard::One(name, None)));
        }
    }

    /// Notes which of all objects wait for this node to be deleted.
    fn note_all(&self, objects: &[Value], desk: &Desk<'_>) {
        let there: BTreeSet<String> = objects.iter().filter_map(name).collect();
        self.note_only(|name| there.contains(name));
        objects.iter().for_each(|object| self.note(object, desk));
    }

    fn note(&self, object: &Value, desk: &Desk<'_>) {
        if let (Some(going), Some(name)) = (self.going, name(object)) {
            going.note(&name, object, desk.objects());
        }
    }

    fn note_only(&self, is_there: impl Fn(&str) -> bool) {
        if let Some(going) = self.going {
            going.only(is_there);
        }
    }

    /// Whether an answer may mean that the cluster does not have this collection. Objects that were there
    /// would have been deleted one by one before it.
    fn may_be_missing(&self, trouble: &Trouble) -> bool {
        let had_objects = self.known.as_ref().is_some_and(|known| !known.is_empty());
        trouble.kind == Kind::NotFound && self.collection.is_optional() && !had_objects
    }

    /// It is not there. Believes that at the second time.
    fn miss(&mut self, desk: &Desk<'_>) -> Duration {
        if !self.missed {
            self.missed = true;
            return SURE;
        }
        self.pace.reset();
        let concern = Concern::Objects(self.collection);
        match self.known.is_none() {
            true => {
                let collection = self.collection;
                let message =
                    format!("the cluster has no {collection}; it is looked for every minute");
                desk.worked_and(concern, message);
                self.learn_all(Objects::new(), desk);
            }
            false => desk.worked(concern),
        }
        AGAIN
    }

    fn works(&mut self, desk: &Desk<'_>) {
        self.pace.reset();
        desk.worked(Concern::Objects(self.collection));
    }

    fn text(&self, object: &Value) -> Arc<str> {
        manifest::document(object, self.collection).into()
    }

    fn purpose(&self, verb: &'static str) -> Purpose {
        self.collection.purpose(verb, "list, watch")
    }
}
