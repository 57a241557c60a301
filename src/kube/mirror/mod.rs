//! What became of documents, on the objects of the same group, kind and name.
//!
//! Owns when something is written: after a change, once it has been quiet for a moment, and only what is
//! different from what is there; now and then everything is looked at, for objects that are new, for what
//! somebody else has changed, and for nodes that are gone. Must not touch the spec or the metadata of an
//! object that is there.
//!
//! - `entry`: report → what there is to say of routes. `plain`: the same of other kinds. `shape`: how each group says it. All pure.
//! - `group`: the objects of one group, and when to write. `write`: writing.
//! - `event`: entries → what is worth an Event. Pure. `events`: when one is written, and on what.

mod entry;
mod event;
mod events;
mod group;
mod plain;
mod shape;
mod write;

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::Trouble;
use super::desk::Desk;
use super::link::Link;
use super::pace::chance;
use crate::model::{Dialect, DocumentId, EgressKind};
use crate::report::Published;

use events::Events;
use group::Group;
use shape::Objects;

/// Makes the spec of an object from the file of its document.
pub type Make = dyn Fn(&Published, &DocumentId) -> Option<Value> + Send;

/// How long changes are collected: a gateway that fails over moves many documents.
const COLLECTED: Duration = Duration::from_secs(1);

const ROUTES: [Objects; 3] = [
    Objects::Routes(Dialect::Native),
    Objects::Routes(Dialect::DigitalOcean),
    Objects::Routes(Dialect::Ibm),
];
/// Kinds of our own group alone. Objects of these are not made: what applies them is there already.
const OTHERS: [Objects; 4] = [
    Objects::Things(EgressKind::Forwarding),
    Objects::Things(EgressKind::Masquerade),
    Objects::Things(EgressKind::RoutingRule),
    Objects::Checks,
];

/// Keeps objects as they should be until the daemon ends.
pub(super) async fn keep<C>(
    (node, make): (&str, Option<&Make>),
    mut link: Link<'_, C>,
    desk: &Desk<'_>,
    mut published: watch::Receiver<Arc<Published>>,
) where
    C: AsyncFn() -> Result<Client, Trouble>,
{
    let mut groups = ROUTES.map(|routes| Group::new(routes, node));
    let mut others = OTHERS.map(|others| Group::new(others, node));
    let mut events = Events::new(node);
    loop {
        let now = published.borrow_and_update().clone();
        if let Some(wanted) = entry::wanted(&now) {
            for group in &mut groups {
                let spec = |id: &DocumentId| make.and_then(|make| make(&now, id));
                group.keep(&wanted, &spec, &mut link, desk).await;
            }
            for group in &mut others {
                if let Some(wanted) = plain::wanted(&now, group.kind()) {
                    group.keep(&wanted, &|_| None, &mut link, desk).await;
                }
            }
            let object = |id: &DocumentId| groups.iter().find_map(|group| group.object(id));
            events.note(&wanted, &now.running.gateways);
            events.tell(object, &mut link, desk).await;
        }
        let next = groups
            .iter()
            .chain(&others)
            .filter_map(Group::next)
            .chain(events.next())
            .min();
        let next = next.unwrap_or_else(|| Instant::now() + group::LOOK);
        if let Ok(changed) = timeout_at(next, published.changed()).await {
            if changed.is_err() {
                return;
            }
            sleep(COLLECTED.mul_f64(0.5 + chance())).await;
        }
    }
}
