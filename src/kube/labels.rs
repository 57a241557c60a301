//! The labels of this node: read, then watched. What was known last is good until there is better.

use std::time::Duration;

use kube::Client;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::desk::{Concern, Desk};
use super::link::{Ask, GRACE, Link, WATCHED, refusal};
use super::pace::{Pace, chance};
use super::trouble::{Failure, Purpose};
use super::{News, Trouble};
use crate::model::Labels;

/// Tells the labels of this node, and each time that they change.
pub(super) async fn follow<C>(node: &str, mut link: Link<'_, C>, desk: &Desk<'_>)
where
    C: AsyncFn() -> Result<Client, Trouble>,
{
    let mut following = Following {
        node,
        known: None,
        pace: Pace::default(),
    };
    loop {
        let wait = match following.once(&mut link, desk).await {
            Ok(()) => Duration::from_secs(1).mul_f64(chance()),
            Err((purpose, trouble)) => {
                desk.failed(Concern::Labels, &trouble, &purpose);
                following.pace.after(&trouble, chance())
            }
        };
        sleep(wait).await;
    }
}

struct Following<'n> {
    node: &'n str,
    known: Option<Labels>,
    pace: Pace,
}

impl Following<'_> {
    /// Reads the labels and watches them until the watch ends.
    async fn once<C>(&mut self, link: &mut Link<'_, C>, desk: &Desk<'_>) -> Result<(), Failure>
    where
        C: AsyncFn() -> Result<Client, Trouble>,
    {
        // A list of one: the version of the node itself may be older than what a server that has just
        // started remembers, and a watch from there would never begin.
        let of_node = format!("/api/v1/nodes?fieldSelector=metadata.name%3D{}", self.node);
        let purpose = Purpose::of_node("list", self.node);
        let fail = |trouble| (purpose.clone(), trouble);
        let ask = Ask::get(&of_node).metadata_of_all();
        let list = link.ask(&ask).await.map_err(fail)?;
        let Some(node) = list["items"].get(0) else {
            return Err(fail(Trouble::of_answer(404, "there is none", None)));
        };
        self.learn(node, desk);
        let purpose = Purpose::of_node("watch", self.node);
        let fail = |trouble| (purpose.clone(), trouble);
        let version = list["metadata"]["resourceVersion"].as_str();
        let ask = Ask::get(format!(
            "{of_node}&watch=true&resourceVersion={}&timeoutSeconds={}",
            version.unwrap_or("0"),
            WATCHED.as_secs(),
        ));
        let watch = link.watch(&ask.metadata_only()).await;
        let mut watch = watch.map_err(fail)?;
        desk.worked(Concern::Labels);
        while let Ok(event) = timeout(WATCHED + GRACE, watch.next()).await {
            let Some(event) = event.map_err(fail)? else {
                break;
            };
            let object = &event["object"];
            match event["type"].as_str() {
                Some("ERROR") => return Err(fail(refusal(object))),
                Some("ADDED" | "MODIFIED") => self.learn(object, desk),
                // It is asked for again, and if it is not there then, that is said.
                Some("DELETED") => break,
                _ => {}
            }
            self.pace.reset();
        }
        self.pace.reset();
        Ok(())
    }

    fn learn(&mut self, node: &Value, desk: &Desk<'_>) {
        let labels = labels(node);
        if self.known.as_ref() != Some(&labels) {
            self.known = Some(labels.clone());
            desk.tell(News::Labels(labels));
        }
    }
}

fn labels(node: &Value) -> Labels {
    let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
    let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    labels.filter_map(text).collect()
}
