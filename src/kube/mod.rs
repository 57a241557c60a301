//! Kubernetes: the labels of this node from the API, and what became of documents on their objects.
//!
//! Owns every request to the API server, and the words for what goes wrong with it. Runs on a thread of
//! its own, so that neither a pass nor a probe ever waits for the API; it hands on what it hears, reads
//! what is published, and touches no route. Trouble is told once when it begins and once when it is over.
//!
//! - `link`: requests, and the connection they go through. `trouble`: what became of them, in words.
//! - `desk`: what is wrong at the moment, and what of it is news. `pace`: when to try again.
//! - `labels`: the labels of this node, watched. `mirror`: what became of documents, on their objects.
//! - `objects`: objects that are read like documents, watched. `collection`: which. `manifest`, `yaml`: as texts.
//! - `listing`: all objects at one moment. `finalizers`: those of the old operator, once routes are gone.

mod collection;
mod desk;
mod finalizers;
mod labels;
mod link;
mod listing;
mod manifest;
mod mirror;
mod objects;
mod pace;
mod trouble;
mod yaml;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use kube::Client;
use tokio::sync::watch;

use crate::model::Labels;
use crate::report::{KubernetesStatus, Level, Published};

pub use collection::Collection;
pub use link::from_environment;
pub use listing::{Found, fetch};
pub use manifest::{file, file_text};
pub use mirror::Make;
pub use objects::{Heard, Objects};
pub use trouble::{Kind, Trouble};

use desk::Desk;
use finalizers::Going;
use link::Link;

/// What there is to do.
pub struct Task {
    /// What this node is called in the cluster.
    pub node: String,
    /// Its labels are wanted.
    pub labels: bool,
    /// Objects of these are wanted.
    pub objects: Vec<Collection>,
    /// What became of them. Where it is shown, objects that somebody deletes are let go.
    pub published: Option<watch::Receiver<Arc<Published>>>,
    /// What became of documents is written to their objects.
    pub mirror: Option<Mirror>,
}

/// What is written to objects, and which.
pub struct Mirror {
    /// What there is to say, as it changes.
    pub published: watch::Receiver<Arc<Published>>,
    /// Makes objects that are not there, where that is wanted.
    pub make: Option<Box<Make>>,
}

/// What the daemon is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// The labels of this node as the API has them now.
    Labels(Labels),
    /// What objects there are in a collection, or what changed about one.
    Objects(Collection, Heard),
    /// How it stands with the API now, and what to say about that.
    Standing(KubernetesStatus, Vec<Said>),
}

/// A sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// How bad it is.
    pub level: Level,
    /// What, why, and what to do.
    pub message: String,
}

/// Does it for as long as the daemon runs. `connect` makes a client, again whenever credentials or the
/// connection may have to be new.
pub async fn run<C>(task: Task, connect: C, tell: impl Fn(News))
where
    C: AsyncFn() -> Result<Client, Trouble>,
{
    let desk = Desk::new(&tell);
    let labels = async {
        if task.labels {
            labels::follow(&task.node, Link::new(&connect), &desk).await;
        }
    };
    let keep = async {
        if let Some(Mirror { published, make }) = task.mirror {
            let who = (&*task.node, make.as_deref());
            mirror::keep(who, Link::new(&connect), &desk, published).await;
        }
    };
    let follow = async |collection: Collection| {
        let going = Going::of(collection, &task.node);
        let follow = objects::follow(collection, Link::new(&connect), &desk, going.as_ref());
        let release = async {
            if let Some((going, published)) = going.as_ref().zip(task.published.clone()) {
                finalizers::release(going, Link::new(&connect), &desk, published).await;
            }
        };
        tokio::join!(follow, release);
    };
    let objects = all(task.objects.iter().map(|collection| follow(*collection)));
    tokio::join!(labels, keep, objects, desk.say_what_is_over());
}

/// All of these at once, on this thread.
async fn all<F: Future<Output = ()>>(futures: impl Iterator<Item = F>) {
    let mut running: Vec<Pin<Box<F>>> = futures.map(Box::pin).collect();
    let ended = poll_fn(|context| {
        running.retain_mut(|one| one.as_mut().poll(context).is_pending());
        match running.is_empty() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    });
    ended.await;
}
