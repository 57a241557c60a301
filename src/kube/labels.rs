//! The labels of this node: read, then watched. What was known last is good until there is better.

use std::time::Duration;

use kube::Client;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::desk::{Concern, Desk};
use super::link::{Ask, Link};
use super::pace::{Pace, chance};
use super::trouble::Purpose;
use super::{Kind, News, Trouble};
use crate::model::Labels;

/// How long one watch lasts. The connection may have died without a word, so this is how late a change
/// of labels can be heard at worst.
const WATCHED: Duration = Duration::from_secs(120);
/// How much later the server may end it.
const GRACE: Duration = Duration::from_secs(15);
/// A watch that has not failed by then works.
const SETTLED: Duration = Duration::from_secs(2);

/// A try that ended: at what, and why.
type Failure = (Purpose, Trouble);

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
        let reading = self.purpose("get");
        let fail = |purpose: &Purpose| {
            let purpose = purpose.clone();
            |trouble| (purpose, trouble)
        };
        let ask = Ask::get(format!("/api/v1/nodes/{}", self.node)).metadata_only();
        let node = link.ask(&ask).await.map_err(fail(&reading))?;
        self.learn(&node, desk);
        let version = node["metadata"]["resourceVersion"].as_str();
        let watching = self.purpose("watch");
        let ask = Ask::get(format!(
            "/api/v1/nodes?watch=true&fieldSelector=metadata.name%3D{}&resourceVersion={}&timeoutSeconds={}",
            self.node,
            version.unwrap_or("0"),
            WATCHED.as_secs(),
        ));
        let watch = link.watch(&ask.metadata_only()).await;
        let mut watch = watch.map_err(fail(&watching))?;
        let mut patience = SETTLED;
        loop {
            let event = match timeout(patience, watch.next()).await {
                Ok(event) => event.map_err(fail(&watching))?,
                // Nothing has happened, for a moment or for longer than it should take.
                Err(_) if patience == SETTLED => Some(Value::Null),
                Err(_) => None,
            };
            let Some(event) = event else { break };
            if event["type"] == "ERROR" {
                return Err((watching, refusal(&event["object"])));
            }
            self.works(desk);
            patience = WATCHED + GRACE;
            match event["type"].as_str() {
                Some("ADDED" | "MODIFIED") => self.learn(&event["object"], desk),
                // It is asked for again, and if it is not there then, that is said.
                Some("DELETED") => break,
                _ => {}
            }
        }
        self.works(desk);
        Ok(())
    }

    fn works(&mut self, desk: &Desk<'_>) {
        self.pace.reset();
        desk.worked(Concern::Labels);
    }

    fn learn(&mut self, node: &Value, desk: &Desk<'_>) {
        let labels = labels(node);
        if self.known.as_ref() != Some(&labels) {
            self.known = Some(labels.clone());
            desk.tell(News::Labels(labels));
        }
    }

    fn purpose(&self, verb: &'static str) -> Purpose {
        Purpose {
            verb,
            group: "",
            resource: "nodes",
            name: self.node.to_owned(),
            verbs: "get, watch",
            missing: "say what this node is called there, with NODE_NAME or --node-name",
        }
    }
}

fn labels(node: &Value) -> Labels {
    let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
    let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    labels.filter_map(text).collect()
}

/// What the server says instead of an event: a `Status`.
fn refusal(status: &Value) -> Trouble {
    let code = status["code"]
        .as_u64()
        .and_then(|code| u16::try_from(code).ok());
    let message = status["message"].as_str().unwrap_or("the watch failed");
    match code {
        Some(code) => Trouble::of_answer(code, message, None),
        None => Trouble::new(Kind::Server, message),
    }
}
