//! Deleted objects that wait for this node, in an API that has one object and applies patches to it as the
//! real one does. Time is the test's own.

use std::cell::RefCell;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use srsync::kube::{Collection, News, Task, Trouble, run};
use srsync::model::{Dialect, KubeSource, Names, Policy};
use srsync::report::Published;
use tokio::sync::watch;

use super::api::{Sent, status};

const FINALIZER: &str = "finalizer.static-route.ibm.com";
const MARKER: &str = "kopf.zalando.org/KopfFinalizerMarker";
const OCEAN: &str = "networking.digitalocean.com/v1";

/// The cluster: one object, what was asked of it, and what somebody else does before the next patch.
#[derive(Clone, Default)]
struct Cluster {
    object: Arc<Mutex<Value>>,
    patches: Arc<Mutex<Vec<String>>>,
    before: Arc<Mutex<Option<Value>>>,
    denied: bool,
}

impl Cluster {
    fn of(object: Value) -> Self {
        let object = Arc::new(Mutex::new(object));
        Self {
            object,
            ..Self::default()
        }
    }

    async fn connect(&self) -> Result<Client, Trouble> {
        let cluster = self.clone();
        let service = tower::service_fn(move |request| cluster.clone().answer(request));
        Ok(Client::new(service, "default"))
    }

    async fn answer(self, request: Request<Body>) -> Result<Response<Sent>, io::Error> {
        let line = format!("{} {}", request.method(), request.uri());
        if line.contains("watch=true") {
            let silence = Response::builder().status(200).body(Sent::Silence);
            return Ok(silence.unwrap());
        }
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let (code, answer) = match line.as_str() {
            line if line.starts_with("PATCH") => self.patch(line, &body),
            line if line.contains("limit=") => {
                let items = vec![self.object.lock().unwrap().clone()];
                (
                    200,
                    json!({"metadata": {"resourceVersion": "1"}, "items": items}),
                )
            }
            _ => (200, self.object.lock().unwrap().clone()),
        };
        let body = Sent::Once(Some(answer));
        Ok(Response::builder().status(code).body(body).unwrap())
    }

    fn patch(&self, line: &str, body: &[u8]) -> (u16, Value) {
        let mut object = self.object.lock().unwrap();
        if let Some(other) = self.before.lock().unwrap().take() {
            *object = other;
        }
        if self.denied {
            return (403, status(403, "because"));
        }
        if line.ends_with("/status") && object["apiVersion"] == OCEAN {
            return (
                404,
                status(404, "the server could not find the requested resource"),
            );
        }
        let patch: Value = serde_json::from_slice(body).unwrap();
        let mut patched = object.clone();
        for step in patch.as_array().unwrap() {
            let path = step["path"].as_str().unwrap();
            match step["op"].as_str().unwrap() {
                "test" if patched.pointer(path) == Some(&step["value"]) => {}
                "test" => return (422, status(422, "testing path failed")),
                "remove" => {
                    let (parent, key) = path.rsplit_once('/').unwrap();
                    match patched.pointer_mut(parent).unwrap() {
                        Value::Array(list) => drop(list.remove(key.parse().unwrap())),
                        fields => drop(fields.as_object_mut().unwrap().remove(key).unwrap()),
                    }
                }
                op => panic!("{op}"),
            }
        }
        let what = line.rsplit('/').next().unwrap().to_owned();
        self.patches.lock().unwrap().push(what);
        *object = patched.clone();
        (200, patched)
    }

    fn hosts(&self) -> Vec<String> {
        let object = self.object.lock().unwrap();
        let nodes = object["status"]["nodeStatus"].as_array().unwrap();
        let host = |node: &Value| node["hostname"].as_str().unwrap().to_owned();
        nodes.iter().map(host).collect()
    }

    fn finalizers(&self) -> Value {
        self.object.lock().unwrap()["metadata"]["finalizers"].clone()
    }

    fn patches(&self) -> Vec<String> {
        self.patches.lock().unwrap().clone()
    }
}

fn object(hosts: &[&str], finalizers: &[&str]) -> Value {
    let nodes: Vec<Value> = hosts
        .iter()
        .map(|host| json!({"hostname": host, "error": ""}))
        .collect();
    json!({
        "apiVersion": "static-route.ibm.com/v1", "kind": "StaticRoute",
        "metadata": {
            "name": "a", "resourceVersion": "5", "deletionTimestamp": "2026-01-01T00:00:00Z",
            "finalizers": finalizers,
        },
        "spec": {"subnet": "198.18.1.0/24", "gateway": "10.0.1.2"},
        "status": {"nodeStatus": nodes},
    })
}

/// One of the other operator: no status apart, and in it a map.
fn ocean(nodes: &[&str], finalizers: &[&str]) -> Value {
    let nodes: serde_json::Map<String, Value> = nodes
        .iter()
        .map(|node| ((*node).to_owned(), json!([{"status": "Ready"}])))
        .collect();
    let mut object = object(&[], finalizers);
    object["apiVersion"] = json!(OCEAN);
    object["status"] = json!({"nodes": nodes, "create_fn": []});
    object
}

/// What a daemon shows after a complete pass that had read so much.
fn published(objects_read: u64) -> Published {
    let names = Arc::new(Names::default());
    let mut published = Published::nothing("worker-1", &Policy::default(), &names);
    Arc::make_mut(&mut published.running).counters.objects_read = objects_read;
    published
}

/// What `worker-1` does within an hour, and what it says.
async fn work(cluster: &Cluster, shown: watch::Receiver<Arc<Published>>) -> Vec<String> {
    let said = RefCell::new(Vec::new());
    let dialect = match cluster.object.lock().unwrap()["apiVersion"] == OCEAN {
        true => Dialect::DigitalOcean,
        false => Dialect::Ibm,
    };
    let task = Task {
        node: "worker-1".to_owned(),
        labels: false,
        objects: Collection::of(&KubeSource::Groups([dialect].into())),
        published: Some(shown),
        mirror: None,
    };
    let tell = |news| {
        if let News::Standing(_, sentences) = news {
            let sentences = sentences.into_iter().map(|said| said.message);
            said.borrow_mut().extend(sentences);
        }
    };
    tokio::select! {
        () = run(task, || cluster.connect(), tell) => panic!("it goes on for ever"),
        () = tokio::time::sleep(Duration::from_secs(3600)) => {}
    }
    said.into_inner()
}

async fn after_a_pass(cluster: &Cluster) -> Vec<String> {
    let (_sender, shown) = watch::channel(Arc::new(published(1)));
    work(cluster, shown).await
}

#[tokio::test(start_paused = true)]
async fn a_node_takes_its_own_entry_away_and_nobody_elses() {
    let cluster = Cluster::of(object(&["worker-0", "worker-1", "worker-2"], &[FINALIZER]));
    let said = after_a_pass(&cluster).await;
    assert_eq!(cluster.hosts(), ["worker-0", "worker-2"]);
    assert_eq!(cluster.finalizers(), json!([FINALIZER]));
    assert_eq!(cluster.patches(), ["status"]);
    assert_eq!(said, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn the_last_node_takes_the_finalizer_away_and_no_other() {
    let others = &["a.example.com/x", FINALIZER, "b.example.com/y"];
    let cluster = Cluster::of(object(&["worker-1"], others));
    after_a_pass(&cluster).await;
    assert_eq!(cluster.hosts(), [""; 0]);
    assert_eq!(
        cluster.finalizers(),
        json!(["a.example.com/x", "b.example.com/y"])
    );
    assert_eq!(cluster.patches(), ["status", "a"]);
}

#[tokio::test(start_paused = true)]
async fn objects_of_digitalocean_wait_for_every_node_too() {
    let cluster = Cluster::of(ocean(&["worker-1", "worker-2"], &[MARKER]));
    let said = after_a_pass(&cluster).await;
    let left = |cluster: &Cluster| cluster.object.lock().unwrap()["status"]["nodes"].clone();
    assert_eq!(left(&cluster), json!({"worker-2": [{"status": "Ready"}]}));
    assert_eq!(cluster.finalizers(), json!([MARKER]));
    assert_eq!(said, [""; 0]);
    let others = &["a.example.com/x", MARKER];
    let cluster = Cluster::of(ocean(&["worker-1"], others));
    after_a_pass(&cluster).await;
    assert_eq!(left(&cluster), json!({}));
    assert_eq!(cluster.finalizers(), json!(["a.example.com/x"]));
    assert_eq!(cluster.patches(), ["a", "a"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_let_go_before_a_complete_pass_knew_of_it() {
    let cluster = Cluster::of(object(&["worker-1"], &[FINALIZER]));
    let (sender, shown) = watch::channel(Arc::new(published(0)));
    work(&cluster, shown.clone()).await;
    assert_eq!(cluster.patches(), [""; 0]);
    let incomplete = Published {
        incomplete: Some("a file has an error".to_owned()),
        ..published(1)
    };
    sender.send_replace(Arc::new(incomplete));
    work(&cluster, shown.clone()).await;
    assert_eq!(cluster.patches(), [""; 0]);
    sender.send_replace(Arc::new(published(1)));
    work(&cluster, shown).await;
    assert_eq!(cluster.patches(), ["status", "a"]);
}

#[tokio::test(start_paused = true)]
async fn who_is_faster_costs_nobody_his_entry() {
    // Between reading and patching another node has gone, so that another entry is in the place.
    let cluster = Cluster::of(object(&["worker-0", "worker-1", "worker-2"], &[FINALIZER]));
    let faster = object(&["worker-1", "worker-2"], &[FINALIZER]);
    *cluster.before.lock().unwrap() = Some(faster);
    let said = after_a_pass(&cluster).await;
    assert_eq!(cluster.hosts(), ["worker-2"]);
    assert_eq!(said, [""; 0]);
    // And between seeing an empty list and letting go, the object is another.
    let cluster = Cluster::of(object(&[], &[FINALIZER]));
    let mut faster = object(&["worker-2"], &[FINALIZER]);
    faster["metadata"]["resourceVersion"] = json!("6");
    *cluster.before.lock().unwrap() = Some(faster);
    after_a_pass(&cluster).await;
    assert_eq!(cluster.hosts(), ["worker-2"]);
    assert_eq!(cluster.finalizers(), json!([FINALIZER]));
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_not_deleted_or_not_held_is_left_alone() {
    let mut alive = object(&["worker-1"], &[FINALIZER]);
    alive["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("deletionTimestamp");
    let held_by_others = object(&["worker-1"], &["a.example.com/x"]);
    for object in [alive, held_by_others] {
        let cluster = Cluster::of(object.clone());
        after_a_pass(&cluster).await;
        assert_eq!(*cluster.object.lock().unwrap(), object);
    }
}

#[tokio::test(start_paused = true)]
async fn a_patch_that_rbac_denies_is_said_once_with_the_rule_that_is_missing() {
    let mut cluster = Cluster::of(object(&["worker-1"], &[FINALIZER]));
    cluster.denied = true;
    let said = after_a_pass(&cluster).await;
    assert_eq!(said.len(), 1, "{said:?}");
    let rule = "{apiGroups: [\"static-route.ibm.com\"], resources: [staticroutes, staticroutes/status], verbs: [get, \
                list, watch, patch]}";
    assert!(said[0].contains(rule), "{}", said[0]);
}
