//! Kubernetes: the labels of this node from the API, and what became of documents on their objects.
//!
//! Owns every request to the API server, and the words for what goes wrong with it. Runs on a thread of
//! its own, so that neither a pass nor a probe ever waits for the API; it hands on what it hears, reads
//! what is published, and touches no route. Trouble is told once when it begins and once when it is over.
//!
//! - `link`: requests, and the connection they go through. `trouble`: what became of them, in words.
//! - `desk`: what is wrong at the moment, and what of it is news. `pace`: when to try again.
//! - `labels`: the labels of this node, watched. `mirror`: what became of documents, on their objects.

mod desk;
mod labels;
mod link;
mod mirror;
mod pace;
mod trouble;

use std::sync::Arc;

use kube::Client;
use tokio::sync::watch;

use crate::model::Labels;
use crate::report::{KubernetesStatus, Level, Published};

pub use link::from_environment;
pub use mirror::Make;
pub use trouble::{Kind, Trouble};

use desk::Desk;
use link::Link;

/// What there is to do.
pub struct Task {
    /// What this node is called in the cluster.
    pub node: String,
    /// Its labels are wanted.
    pub labels: bool,
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
    let follow = async {
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
    tokio::join!(follow, keep, desk.say_what_is_over());
}
