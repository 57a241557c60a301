//! Which Events are written, on what, and how often. Time is the test's own.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use srsync::kube::{self, Mirror, News, Task};
use srsync::report::Published;
use tokio::sync::watch;

use super::api::Api;
use super::mirror::{NATIVE, NODE, list, native, published};

/// Shorter than the time after which all objects are read anew.
const STAGE: Duration = Duration::from_secs(40);
const EVENTS: &str = "/api/v1/namespaces/default/events";

/// A node on which all routes to this gateway are in place.
fn by(gateway: &str) -> Published {
    let node = NODE.replace(
        "10.116.0.9, dev: eth1, protocol: bgp",
        "10.116.0.5, dev: eth1, protocol: srsync",
    );
    let documents = NATIVE.replace("10.116.0.5", gateway);
    published(&documents, &node.replace("10.116.0.5", gateway))
}

/// One on which one of the two belongs to somebody else.
fn foreign() -> Published {
    published(NATIVE, NODE)
}

/// An API with the object of the document.
fn with_object() -> Api {
    let api = Api::default();
    let mut object = native(7, json!({}));
    object["metadata"]["uid"] = json!("1-2-3");
    api.json(200, list(&[object.clone()]));
    // Whatever is written to it.
    for _ in 0..20 {
        api.json(200, object.clone());
    }
    api
}

fn without_object() -> Api {
    let api = Api::default();
    api.json(200, list(&[]));
    api
}

/// Publishes one after the other, each for a while. Returns what is said of the API.
async fn live(api: &Api, stages: Vec<Published>) -> Vec<String> {
    let mut stages = stages.into_iter();
    let (publisher, published) = watch::channel(Arc::new(stages.next().unwrap()));
    let said = RefCell::new(Vec::new());
    let make = None;
    let task = Task {
        node: "worker-1".to_owned(),
        labels: false,
        objects: Vec::new(),
        published: None,
        mirror: Some(Mirror { published, make }),
    };
    let tell = |news| {
        if let News::Standing(_, more) = news {
            let more = more.into_iter().map(|said| said.message);
            said.borrow_mut().extend(more);
        }
    };
    let minutes = async {
        tokio::time::sleep(STAGE).await;
        for stage in stages {
            publisher.send_replace(Arc::new(stage));
            tokio::time::sleep(STAGE).await;
        }
    };
    tokio::select! {
        () = kube::run(task, || api.connect(), tell) => panic!("it goes on for ever"),
        () = minutes => {}
    }
    said.into_inner()
}

/// `POST Warning Foreign: …` for a new Event, `PATCH 2` for one that is counted.
fn told(api: &Api) -> Vec<String> {
    let events = api.events().into_iter();
    let words = events.map(|came| {
        let (verb, path) = came.line.split_once(' ').unwrap();
        assert!(path.starts_with(EVENTS), "{path}");
        let text = |field: &str| came.body[field].as_str().unwrap().to_owned();
        match verb {
            "POST" => format!(
                "POST {} {}: {}",
                text("type"),
                text("reason"),
                text("message")
            ),
            verb => format!("{verb} {}", came.body["count"]),
        }
    });
    words.collect()
}

#[tokio::test(start_paused = true)]
async fn an_event_is_on_the_object_of_its_document() {
    let api = with_object();
    live(&api, vec![foreign()]).await;
    let events = api.events();
    assert_eq!(events.len(), 1, "{:?}", told(&api));
    let event = &events[0].body;
    let about = json!({"apiVersion": "srsync.dev/v1alpha1", "kind": "StaticRoute", "name": "office", "uid": "1-2-3"});
    assert_eq!(event["involvedObject"], about);
    assert_eq!(
        event["source"],
        json!({"component": "srsync", "host": "worker-1"})
    );
    assert_eq!(
        (&event["count"], &event["type"]),
        (&json!(1), &json!("Warning"))
    );
    let name = event["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("office."), "{name}");
    let message = event["message"].as_str().unwrap();
    assert!(
        message.starts_with("worker-1: 198.51.100.0/24 is Foreign: "),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn without_an_object_it_is_on_the_node() {
    let api = without_object();
    live(&api, vec![foreign()]).await;
    let events = api.events();
    assert_eq!(events.len(), 1, "{:?}", told(&api));
    let about = json!({"apiVersion": "v1", "kind": "Node", "name": "worker-1", "uid": "worker-1"});
    assert_eq!(events[0].body["involvedObject"], about);
    let message = events[0].body["message"].as_str().unwrap();
    assert!(
        message.starts_with("office: 198.51.100.0/24 is Foreign: "),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_start_is_no_news_a_change_is_and_what_comes_again_is_counted() {
    let api = with_object();
    let said = live(
        &api,
        vec![
            by("10.116.0.5"),
            by("10.116.0.6"),
            foreign(),
            by("10.116.0.6"),
            foreign(),
        ],
    )
    .await;
    assert_eq!(said, [""; 0]);
    let told: Vec<String> = told(&api)
        .into_iter()
        .map(|one| one.chars().take(78).collect())
        .collect();
    assert_eq!(
        told,
        [
            "POST Normal GatewayChanged: worker-1: 2 routes now via 10.116.0.6, before via ",
            "POST Warning Foreign: worker-1: 198.51.100.0/24 is Foreign: the slot belongs t",
            "POST Normal Installed: worker-1: 2 routes in place via 10.116.0.6",
            "PATCH 2",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn two_thousand_failing_routes_are_one_event_and_many_documents_one_on_the_node() {
    let prefixes: Vec<String> = (0..2000)
        .map(|n| format!("11.{}.{}.0/24", n / 256, n % 256))
        .collect();
    let one = NATIVE
        .replace("192.0.2.0/24", &prefixes.join(", "))
        .replace("10.116.0.5", "172.16.0.1");
    let api = with_object();
    live(&api, vec![published(&one, NODE)]).await;
    let all = told(&api);
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(
        all[0].contains("2001 of 2001 routes are not in place; 11.0.0.0/24 is Pending"),
        "{}",
        all[0]
    );

    let document = |n: usize| {
        let text = one.replace("name: office", &format!("name: doc-{n:03}"));
        text.replace(&prefixes.join(", "), &prefixes[n])
            .replace(", 198.51.100.0/24", "")
    };
    let many: Vec<String> = (0..300).map(document).collect();
    let api = without_object();
    live(&api, vec![published(&many.join("---\n"), NODE)]).await;
    let all = told(&api);
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(
        all[0].starts_with(
            "POST Warning Pending: 300 documents, doc-000 among them: 11.0.0.0/24 is Pending"
        ),
        "{}",
        all[0]
    );
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_refused_is_said_once_and_written_later() {
    let api = with_object();
    api.answers_event(403).answers_event(403).answers_event(403);
    let said = live(&api, vec![foreign()]).await;
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[0].contains("{apiGroups: [\"\"], resources: [events], verbs: [create, patch]}"),
        "{said:?}"
    );
    assert_eq!(said[1], "Kubernetes: the trouble with events is over");
    let bodies: Vec<Value> = api
        .events()
        .into_iter()
        .map(|came| came.body["message"].clone())
        .collect();
    assert_eq!(bodies.len(), 4);
    assert!(bodies.iter().all(|message| *message == bodies[0]));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_the_api_has_forgotten_is_made_anew() {
    let api = with_object();
    let stages = || vec![foreign(), by("10.116.0.5"), foreign()];
    live(&api, stages()).await;
    assert_eq!(told(&api).last().unwrap(), "PATCH 2");
    let api = with_object();
    api.answers_event(201).answers_event(201).answers_event(404);
    live(&api, stages()).await;
    let told = told(&api);
    assert_eq!(told[2], "PATCH 2");
    assert_eq!(told[3], told[0]);
}
