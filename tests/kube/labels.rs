//! The labels of this node, from an API that answers as written. Time is the test's own.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use serde_json::{Value, json};
use srsync::kube::{self, News, Task};
use srsync::model::Labels;
use srsync::report::KubernetesStatus;

use super::api::{Answer, Api, status};

const LIST: &str = "GET /api/v1/nodes?fieldSelector=metadata.name%3Dworker-1";

/// What was told: labels as `role=egress`, sentences as they are, and how it stands now.
#[derive(Default)]
struct Told {
    labels: Vec<String>,
    said: Vec<String>,
    standing: Option<KubernetesStatus>,
}

/// Follows the labels of `worker-1` until what was told is enough, then for an hour more.
async fn follow(api: &Api, enough: impl Fn(&Told) -> bool) -> Told {
    let told = RefCell::new(Told::default());
    let task = Task {
        node: "worker-1".to_owned(),
        labels: true,
        mirror: None,
        objects: Vec::new(),
        published: None,
    };
    let tell = |news| {
        let mut told = told.borrow_mut();
        match news {
            News::Labels(labels) => told.labels.push(text(&labels)),
            News::Objects(..) => panic!("nobody asked for objects"),
            News::Standing(status, said) => {
                told.said.extend(said.into_iter().map(|said| said.message));
                told.standing = Some(status);
            }
        }
    };
    let until = async {
        let mut seconds = 0;
        while !enough(&told.borrow()) {
            tokio::time::sleep(Duration::from_secs(1)).await;
            seconds += 1;
            let so_far = told.borrow();
            assert!(
                seconds < 36_000,
                "{:?} {:?} {:?}",
                so_far.labels,
                so_far.said,
                api.came()
            );
        }
        tokio::time::sleep(Duration::from_secs(3600)).await;
    };
    tokio::select! {
        () = kube::run(task, || api.connect(), tell) => panic!("it goes on for ever"),
        () = until => {}
    }
    told.into_inner()
}

fn text(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    pairs.join(",")
}

/// A list of just that node. What it is a list of may be newer than all that is in it.
fn nodes(role: &str) -> Value {
    json!({"kind": "PartialObjectMetadataList", "metadata": {"resourceVersion": "99"}, "items": [node(role)]})
}

fn node(role: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"name": "worker-1", "resourceVersion": "7", "labels": {"role": role}},
    })
}

#[tokio::test(start_paused = true)]
async fn labels_are_told_at_first_and_whenever_they_change() {
    let api = Api::default();
    api.json(200, nodes("egress"));
    let events = api.stream();
    events.event("MODIFIED", node("egress"));
    events.event("BOOKMARK", json!({"metadata": {"resourceVersion": "8"}}));
    events.event("MODIFIED", node("ingress"));
    api.json(200, nodes("ingress"));
    let told = follow(&api, |told| told.labels.len() == 2).await;
    assert_eq!(told.labels, ["role=egress", "role=ingress"]);
    assert_eq!(told.said, [""; 0]);
    let standing = told.standing.unwrap();
    assert!(standing.connected && standing.troubles.is_empty());
    let came = api.came();
    assert_eq!(came[0].line, LIST);
    let watch = format!("{LIST}&watch=true&resourceVersion=99&");
    assert!(came[1].line.starts_with(&watch), "{}", came[1].line);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_or_falls_silent_is_begun_anew_from_what_is_there_then() {
    let api = Api::default();
    api.json(200, nodes("a"));
    drop(api.stream());
    api.json(200, nodes("b"));
    // This one is cut off without a word.
    let silent = api.stream();
    api.json(200, nodes("c"));
    let told = follow(&api, |told| told.labels.len() == 3).await;
    assert_eq!(told.labels, ["role=a", "role=b", "role=c"]);
    assert_eq!(told.said, [""; 0]);
    drop(silent);
}

/// Fails four times in a row, at first or after everything was well, then works.
async fn fails(answer: impl Fn() -> Answer, begins: &str) {
    for worked_before in [false, true] {
        let api = Api::default();
        if worked_before {
            api.json(200, nodes("egress"));
            drop(api.stream());
        }
        for _ in 0..4 {
            api.then(answer());
        }
        api.json(200, nodes("ingress"));
        let events = api.stream();
        let told = follow(&api, |told| {
            !told.said.is_empty() && told.labels.last().is_some_and(|l| l == "role=ingress")
        })
        .await;
        assert_eq!(told.said.len(), 2, "{:?}", told.said);
        assert!(told.said[0].starts_with(begins), "{}", told.said[0]);
        let over = [
            "the Kubernetes API answers again",
            "Kubernetes: the trouble with node labels is over",
        ];
        assert!(over.contains(&&*told.said[1]), "{}", told.said[1]);
        let standing = told.standing.unwrap();
        assert!(standing.connected && standing.troubles.is_empty());
        // Each wait is longer than half of the whole one before.
        let at: Vec<_> = api.came().iter().map(|came| came.at).collect();
        let from = if worked_before { 2 } else { 0 };
        assert!(
            at[from + 3] - at[from] >= Duration::from_millis(1750),
            "{at:?}"
        );
        drop(events);
    }
}

#[tokio::test(start_paused = true)]
async fn every_trouble_is_said_once_when_it_begins_and_once_when_it_is_over() {
    let refused = |code: u16| move || Answer::Json(code, status(code, "because"));
    let denied = "RBAC denies `list nodes worker-1` (403): because. The ClusterRole of srsync needs the rule \
                  {apiGroups: [\"\"], resources: [nodes], verbs: [get, list, watch]}";
    fails(refused(403), denied).await;
    let missing = "the cluster has no nodes worker-1 (404): say what this node is called there";
    fails(refused(404), missing).await;
    fails(refused(409), "somebody else keeps changing").await;
    fails(
        refused(429),
        "the Kubernetes API asks to be left alone (429)",
    )
    .await;
    fails(
        refused(500),
        "the Kubernetes API failed at `list nodes worker-1`: because",
    )
    .await;
    fails(refused(503), "the Kubernetes API failed").await;
    let cut = || Answer::Broken(io::ErrorKind::ConnectionRefused);
    fails(
        cut,
        "the Kubernetes API cannot be reached: connection refused",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_token_that_has_expired_is_read_again_before_anybody_hears_of_it() {
    let api = Api::default();
    api.json(200, nodes("a"));
    drop(api.stream());
    api.refuses(401, "Unauthorized").json(200, nodes("b"));
    let told = follow(&api, |told| told.labels.len() == 2).await;
    assert_eq!(told.said, [""; 0]);
    assert_eq!(api.connections(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_not_accepted_at_all_is_said_once() {
    let api = Api::default();
    for _ in 0..5 {
        api.refuses(401, "Unauthorized");
    }
    api.json(200, nodes("a"));
    let events = api.stream();
    let told = follow(&api, |told| !told.labels.is_empty()).await;
    assert_eq!(told.said.len(), 2, "{:?}", told.said);
    assert!(told.said[0].contains("does not accept who asks (401)"));
    assert_eq!(told.said[1], "the Kubernetes API answers again");
    assert_eq!(api.connections(), 6);
    drop(events);
}

#[tokio::test(start_paused = true)]
async fn a_watch_whose_beginning_is_forgotten_begins_anew_and_loses_no_change() {
    let expired = status(410, "too old resource version");
    let in_stream = Api::default();
    in_stream.json(200, nodes("a"));
    in_stream.stream().event("ERROR", expired.clone());
    let at_once = Api::default();
    at_once.json(200, nodes("a")).json(410, expired);
    for api in [in_stream, at_once] {
        api.json(200, nodes("b"));
        let events = api.stream();
        let told = follow(&api, |told| told.labels.len() == 2).await;
        assert_eq!(told.labels, ["role=a", "role=b"]);
        assert_eq!(told.said.len(), 2, "{:?}", told.said);
        assert!(told.said[0].contains("(410)"), "{}", told.said[0]);
        drop(events);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_amid_a_watch_is_said_and_made_again() {
    let api = Api::default();
    api.json(200, nodes("a"));
    api.stream().breaks();
    api.json(200, nodes("b"));
    let events = api.stream();
    let told = follow(&api, |told| told.labels.len() == 2).await;
    assert_eq!(told.said.len(), 2, "{:?}", told.said);
    assert!(told.said[0].starts_with("the Kubernetes API cannot be reached"));
    assert_eq!(told.said[1], "the Kubernetes API answers again");
    drop(events);
}

#[tokio::test(start_paused = true)]
async fn whoever_may_read_but_not_watch_hears_that_once_and_has_the_labels() {
    let api = Api::default();
    for tried in 0..200 {
        let role = if tried < 2 { "a" } else { "b" };
        api.json(200, nodes(role)).refuses(403, "no watch");
    }
    let told = follow(&api, |told| told.labels.len() == 2).await;
    assert_eq!(told.labels, ["role=a", "role=b"]);
    assert_eq!(told.said.len(), 1, "{:?}", told.said);
    assert!(told.said[0].starts_with("RBAC denies `watch nodes worker-1`"));
    assert_eq!(told.standing.unwrap().troubles.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_time_gets_it() {
    let api = Api::default();
    api.then(Answer::Later(429, 120)).json(200, nodes("a"));
    let events = api.stream();
    follow(&api, |told| !told.labels.is_empty()).await;
    let came = api.came();
    let waited = came[1].at - came[0].at;
    assert!(waited >= Duration::from_secs(120), "{waited:?}");
    drop(events);
}

#[tokio::test(start_paused = true)]
async fn labels_of_a_node_that_was_deleted_stay_as_they_were() {
    let api = Api::default();
    api.json(200, nodes("a"));
    api.stream().event("DELETED", node("a"));
    for _ in 0..200 {
        api.json(
            200,
            json!({"metadata": {"resourceVersion": "99"}, "items": []}),
        );
    }
    let told = follow(&api, |told| !told.said.is_empty()).await;
    assert_eq!(told.labels, ["role=a"]);
    assert_eq!(told.said.len(), 1);
}
