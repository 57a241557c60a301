//! Objects of the cluster, from an API that answers as written. Time is the test's own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use serde_json::{Value, json};
use srsync::kube::{self, Collection, Heard, News, Task};
use srsync::model::{Dialect, KubeSource};
use srsync::report::KubernetesStatus;

use super::api::{Answer, Api, status};

const LIST: &str = "GET /apis/networking.digitalocean.com/v1/staticroutes?limit=250";
const WATCH: &str =
    "GET /apis/networking.digitalocean.com/v1/staticroutes?watch=true&allowWatchBookmarks=true";

/// What was told: `a b` for all, `+a` and `-a` for one; sentences; how it stands now; the objects.
#[derive(Default)]
struct Told {
    heard: Vec<String>,
    said: Vec<String>,
    standing: Option<KubernetesStatus>,
    objects: BTreeMap<String, String>,
}

impl Told {
    fn hear(&mut self, heard: Heard) {
        let word = match heard {
            Heard::All(all) => {
                let texts = all.iter();
                let texts = texts.map(|(name, text)| (name.clone(), text.to_string()));
                self.objects = texts.collect();
                all.into_keys().collect::<Vec<_>>().join(" ")
            }
            Heard::One(name, Some(text)) => {
                self.objects.insert(name.clone(), text.to_string());
                format!("+{name}")
            }
            Heard::One(name, None) => {
                self.objects.remove(&name);
                format!("-{name}")
            }
        };
        self.heard.push(word);
    }
}

/// Follows one collection until what was told is enough, then for an hour more.
async fn follow(api: &Api, source: KubeSource, enough: impl Fn(&Told) -> bool) -> Told {
    let told = RefCell::new(Told::default());
    let objects = Collection::of(&source);
    let is_first = |one: &Collection| one.to_string().contains("digitalocean");
    let task = Task {
        node: "worker-1".to_owned(),
        labels: false,
        objects: objects.into_iter().filter(is_first).collect(),
        mirror: None,
        published: None,
    };
    let tell = |news| {
        let mut told = told.borrow_mut();
        match news {
            News::Labels(_) => panic!("nobody asked for labels"),
            News::Objects(collection, heard) => {
                let name = collection.to_string();
                assert_eq!(name, "staticroutes.networking.digitalocean.com");
                told.hear(heard);
            }
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
            let now = told.borrow();
            let came = api.came();
            assert!(seconds < 36_000, "{:?} {:?} {came:?}", now.heard, now.said);
        }
        tokio::time::sleep(Duration::from_secs(3600)).await;
    };
    tokio::select! {
        () = kube::run(task, || api.connect(), tell) => panic!("it goes on for ever"),
        () = until => {}
    }
    told.into_inner()
}

/// That the cluster must have.
fn named() -> KubeSource {
    KubeSource::Groups([Dialect::DigitalOcean].into())
}

fn object(name: &str, version: u64, gateway: &str) -> Value {
    json!({
        "apiVersion": "networking.digitalocean.com/v1", "kind": "StaticRoute",
        "metadata": {
            "name": name, "resourceVersion": version.to_string(), "uid": "u",
            "managedFields": [{"manager": "kubectl"}], "generation": 1,
        },
        "spec": {"destinations": ["198.18.1.0/24"], "gateway": gateway},
        "status": {"version": version},
    })
}

fn list(version: u64, objects: &[Value]) -> Value {
    json!({
        "kind": "StaticRouteList", "metadata": {"resourceVersion": version.to_string()}, "items": objects,
    })
}

#[tokio::test(start_paused = true)]
async fn objects_are_listed_once_then_every_change_is_told() {
    let api = Api::default();
    api.json(
        200,
        list(7, &[object("a", 5, "10.0.0.1"), object("b", 6, "10.0.0.1")]),
    );
    let events = api.stream();
    events.event("MODIFIED", object("a", 8, "10.0.0.1"));
    events.event("BOOKMARK", json!({"metadata": {"resourceVersion": "9"}}));
    events.event("MODIFIED", object("a", 10, "10.0.0.2"));
    events.event("ADDED", object("c", 11, "10.0.0.1"));
    events.event("DELETED", object("b", 12, "10.0.0.1"));
    drop(events);
    let told = follow(&api, named(), |told| told.heard.len() == 4).await;
    // Not the change of `a` that was one of its status alone.
    assert_eq!(told.heard, ["a b", "+a", "+c", "-b"]);
    assert_eq!(told.said, [""; 0]);
    assert!(told.standing.unwrap().connected);
    let came = api.came();
    assert_eq!(came[0].line, LIST);
    assert!(came[1].line.starts_with(WATCH), "{}", came[1].line);
    assert!(came[1].line.contains("&resourceVersion=7&"));
    // A watch that ends goes on from where it was, and nothing is listed again.
    assert!(came[2].line.starts_with(WATCH), "{}", came[2].line);
    assert!(came[2].line.contains("&resourceVersion=12&"));
    assert!(
        came[2..]
            .iter()
            .all(|came| came.line.contains("watch=true"))
    );
}

#[tokio::test(start_paused = true)]
async fn an_object_becomes_a_document_that_the_parser_of_files_reads() {
    let api = Api::default();
    api.json(200, list(1, &[object("a", 1, "10.0.0.1")]));
    let told = follow(&api, named(), |told| !told.heard.is_empty()).await;
    let document: Value = serde_json::from_str(&told.objects["a"]).unwrap();
    let expected = json!({
        "apiVersion": "networking.digitalocean.com/v1", "kind": "StaticRoute", "metadata": {"name": "a"},
        "spec": {"destinations": ["198.18.1.0/24"], "gateway": "10.0.0.1"},
    });
    assert_eq!(document, expected);
    // Each field has a line of its own, so that a mistake has a place.
    assert!(
        told.objects["a"].lines().count() > 8,
        "{}",
        told.objects["a"]
    );
}

#[tokio::test(start_paused = true)]
async fn thousands_of_objects_come_page_by_page_and_are_told_at_once() {
    let api = Api::default();
    let page = |from: u64| -> Vec<Value> {
        let numbers = from..from + 250;
        numbers
            .map(|n| object(&format!("r{n:04}"), n, "10.0.0.1"))
            .collect()
    };
    for number in 0..8 {
        let mut page = list(9999, &page(number * 250));
        if number < 7 {
            page["metadata"]["continue"] = json!(format!("after {number}"));
        }
        api.json(200, page);
    }
    let told = follow(&api, named(), |told| !told.heard.is_empty()).await;
    assert_eq!(told.heard.len(), 1);
    assert_eq!(told.objects.len(), 2000);
    let came = api.came();
    assert_eq!(came[1].line, format!("{LIST}&continue=after%200"));
    assert_eq!(came[7].line, format!("{LIST}&continue=after%206"));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_breaks_off_amid_its_pages_tells_nothing() {
    let api = Api::default();
    let mut first = list(7, &[object("a", 1, "10.0.0.1")]);
    first["metadata"]["continue"] = json!("more");
    api.json(200, first.clone());
    api.refuses(410, "the continue token is too old");
    api.json(200, first)
        .json(200, list(8, &[object("b", 1, "10.0.0.1")]));
    let told = follow(&api, named(), |told| !told.heard.is_empty()).await;
    assert_eq!(told.heard, ["a b"]);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_being_deleted_is_wanted_no_more() {
    let going = |name: &str| {
        let mut object = object(name, 9, "10.0.0.1");
        object["metadata"]["deletionTimestamp"] = json!("2026-11-21T10:00:00Z");
        object
    };
    let api = Api::default();
    api.json(200, list(7, &[object("a", 5, "10.0.0.1"), going("b")]));
    let events = api.stream();
    events.event("MODIFIED", going("a"));
    events.event("DELETED", going("a"));
    events.event("ADDED", object("c", 11, "10.0.0.1"));
    let told = follow(&api, named(), |told| told.heard.len() == 3).await;
    assert_eq!(told.heard, ["a", "-a", "+c"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_whose_beginning_is_forgotten_is_followed_by_a_list_that_tells_what_was_missed() {
    let expired = status(410, "too old resource version");
    let in_stream = Api::default();
    let before = list(7, &[object("a", 5, "10.0.0.1"), object("b", 6, "10.0.0.1")]);
    in_stream.json(200, before.clone());
    in_stream.stream().event("ERROR", expired.clone());
    let at_once = Api::default();
    at_once.json(200, before).json(410, expired);
    for api in [in_stream, at_once] {
        api.json(200, list(20, &[object("b", 6, "10.0.0.1")]));
        let told = follow(&api, named(), |told| told.heard.len() == 2).await;
        assert_eq!(told.heard, ["a b", "b"]);
        assert_eq!(told.said.len(), 2, "{:?}", told.said);
        assert!(told.said[0].contains("(410)"), "{}", told.said[0]);
        assert_eq!(api.came()[2].line, LIST);
        assert!(api.came()[3].line.contains("&resourceVersion=20&"));
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_api_is_lost_the_last_objects_stay_and_the_watch_goes_on_where_it_was() {
    let api = Api::default();
    api.json(200, list(7, &[object("a", 5, "10.0.0.1")]));
    let events = api.stream();
    events.event("BOOKMARK", json!({"metadata": {"resourceVersion": "8"}}));
    events.breaks();
    for _ in 0..4 {
        api.then(Answer::Broken(io::ErrorKind::ConnectionRefused));
    }
    let events = api.stream();
    events.event("ADDED", object("b", 9, "10.0.0.1"));
    let told = follow(&api, named(), |told| told.heard.len() == 2).await;
    assert_eq!(told.heard, ["a", "+b"]);
    assert_eq!(told.said.len(), 2, "{:?}", told.said);
    assert!(told.said[0].starts_with("the Kubernetes API cannot be reached"));
    assert_eq!(told.said[1], "the Kubernetes API answers again");
    assert!(api.came()[6].line.contains("&resourceVersion=8&"));
}

#[tokio::test(start_paused = true)]
async fn a_group_that_nobody_named_may_be_missing_and_is_looked_for_again() {
    let api = Api::default();
    let missing = "404 page not found";
    api.refuses(404, missing)
        .refuses(404, missing)
        .refuses(404, missing);
    api.json(200, list(7, &[object("a", 5, "10.0.0.1")]));
    let told = follow(&api, KubeSource::Present, |told| told.heard.len() == 2).await;
    // Nothing is told at the first time: a server that has just started knows no CRD.
    assert_eq!(told.heard, ["", "a"]);
    let said = "the cluster has no staticroutes.networking.digitalocean.com; it is looked for every minute";
    assert_eq!(told.said, [said]);
    assert!(told.standing.unwrap().troubles.is_empty());
    let at: Vec<_> = api.came().iter().map(|came| came.at).collect();
    assert!(at[1] - at[0] >= Duration::from_secs(5));
    assert!(at[2] - at[1] >= Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_group_that_somebody_named_must_be_there() {
    let api = Api::default();
    for _ in 0..5 {
        api.refuses(404, "404 page not found");
    }
    api.json(200, list(7, &[]));
    let told = follow(&api, named(), |told| !told.heard.is_empty()).await;
    assert_eq!(told.heard, [""]);
    let missing =
        "the cluster has no staticroutes of networking.digitalocean.com (404): install its CRD";
    assert!(told.said[0].starts_with(missing), "{}", told.said[0]);
    assert_eq!(told.said.len(), 2, "{:?}", told.said);
}

#[tokio::test(start_paused = true)]
async fn objects_that_were_there_do_not_vanish_with_their_collection() {
    let api = Api::default();
    api.json(200, list(7, &[object("a", 5, "10.0.0.1")]));
    for _ in 0..5 {
        api.refuses(404, "404 page not found");
    }
    api.json(200, list(9, &[object("b", 5, "10.0.0.1")]));
    let told = follow(&api, KubeSource::Present, |told| told.heard.len() == 2).await;
    assert_eq!(told.heard, ["a", "b"]);
    assert!(told.said[0].contains("(404)"), "{:?}", told.said);
}

#[tokio::test(start_paused = true)]
async fn what_rbac_denies_is_said_once_with_the_rule_that_is_missing() {
    let api = Api::default();
    for _ in 0..4 {
        api.refuses(403, "because");
    }
    api.json(200, list(7, &[object("a", 5, "10.0.0.1")]));
    let told = follow(&api, named(), |told| !told.heard.is_empty()).await;
    assert_eq!(told.heard, ["a"]);
    let denied = "RBAC denies `list staticroutes of networking.digitalocean.com` (403): because. The ClusterRole of \
                  srsync needs the rule {apiGroups: [\"networking.digitalocean.com\"], resources: [staticroutes], \
                  verbs: [list, watch]}";
    assert_eq!(told.said[0], denied);
    assert_eq!(told.said.len(), 2, "{:?}", told.said);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_makes_no_sense_takes_nothing_away() {
    let api = Api::default();
    api.json(200, list(7, &[object("a", 5, "10.0.0.1")]));
    let events = api.stream();
    events.event("DELETED", json!({"metadata": {}}));
    events.event("ADDED", json!("nothing"));
    events.event("ERROR", json!({"code": 500, "message": "etcd"}));
    api.json(200, json!({"kind": "Nonsense"}));
    api.json(
        200,
        list(
            9,
            &[
                json!({"spec": 1}),
                object("a", 5, "10.0.0.1"),
                object("b", 5, "10.0.0.1"),
            ],
        ),
    );
    let told = follow(&api, named(), |told| told.heard.len() == 2).await;
    assert_eq!(told.heard, ["a", "a b"]);
    assert!(told.said[0].contains("etcd"), "{:?}", told.said);
}
