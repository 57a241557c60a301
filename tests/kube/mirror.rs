//! What is written to objects, and when, by an API that answers as written. Time is the test's own.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use srsync::kube::{self, Mirror, News, Task};
use srsync::model::{Labels, Names, Policy, Steering, Timestamp};
use srsync::plan::{self, Inputs};
use srsync::report::{Pass, Published, Running};
use srsync::snapshot::Snapshot;
use srsync::source::{PathArg, load};
use tokio::sync::watch;

use super::api::{Api, status};

pub const NATIVE: &str = "\
apiVersion: srsync.dev/v1alpha1
kind: StaticRoute
metadata: {name: office}
spec: {destinations: [192.0.2.0/24, 198.51.100.0/24], gateway: 10.116.0.5}
";
const DIGITALOCEAN: &str = "\
apiVersion: networking.digitalocean.com/v1
kind: StaticRoute
metadata: {name: office}
spec: {destinations: [192.0.2.0/24, 198.51.100.0/24], gateway: 10.116.0.5}
";
const IBM: &str = "\
apiVersion: static-route.ibm.com/v1
kind: StaticRoute
metadata: {name: office}
spec: {subnet: 192.0.2.0/24}
";
/// One of the two is in place.
pub const NODE: &str = "\
links:
- {name: eth1, index: 3, addresses: [10.116.0.3/24]}
routes:
- {prefix: 10.116.0.0/24, dev: eth1, protocol: kernel, source: 10.116.0.3}
- {prefix: 0.0.0.0/0, via: 10.116.0.1, dev: eth1, protocol: dhcp}
- {prefix: 192.0.2.0/24, via: 10.116.0.5, dev: eth1, protocol: srsync}
- {prefix: 198.51.100.0/24, via: 10.116.0.9, dev: eth1, protocol: bgp}
";

/// A daemon after a pass over these documents on that node.
pub fn published(documents: &str, node: &str) -> Published {
    let names = Names::default();
    let loaded = load(&[PathArg::Stdin], &mut documents.as_bytes(), &names);
    assert!(loaded.is_complete(), "{:?}", loaded.diagnostics);
    let observed = Snapshot::parse(node).and_then(|node| node.to_observed(&names));
    let mut observed = observed.unwrap();
    let (policy, labels) = (Policy::default(), Labels::default());
    let inputs = Inputs {
        egress: &[],
        steering: Steering::NONE,
        objects: None,
        documents: &loaded.documents,
        policy: &policy,
        labels: &labels,
        unknown_labels: None,
        names: &names,
        files: &loaded.files,
        incomplete: None,
    };
    for address in plan::interest(&inputs).1 {
        let way = srsync::model::Lookup {
            via: Some([10, 116, 0, 5].into()),
            link: srsync::model::IfIndex::new(3),
            protocol: srsync::model::Protocol::new(16),
        };
        observed.lookups.insert(address, way);
    }
    let plan = plan::plan(&inputs, &observed);
    Published {
        egress: Arc::default(),
        node: "worker-1".to_owned(),
        policy,
        labels,
        unknown_labels: None,
        names: Arc::new(names),
        documents: Arc::new(loaded.documents),
        files: Arc::new(loaded.files),
        incomplete: None,
        pass: Arc::new(Pass {
            plan,
            outcome: None,
            refused_objects: Vec::new(),
            egress_outcome: srsync::report::Surprises::new(),
            links: observed.links,
        }),
        running: Arc::new(Running {
            ready: Some(Timestamp::from_millis(1)),
            ..Running::default()
        }),
    }
}

/// An object as the API has it.
fn object(api_version: &str, version: u64, spec: Value, status: Value) -> Value {
    json!({
        "apiVersion": api_version, "kind": "StaticRoute", "spec": spec, "status": status,
        "metadata": {"name": "office", "resourceVersion": version.to_string(), "generation": 3},
    })
}

pub fn native(version: u64, status: Value) -> Value {
    object("srsync.dev/v1alpha1", version, json!({}), status)
}

pub fn list(objects: &[Value]) -> Value {
    json!({"kind": "List", "items": objects})
}

/// Mirrors until that many requests came and for so many minutes more. Returns the sentences.
pub async fn mirror(api: &Api, now: Published, requests: usize, minutes: u64) -> Vec<String> {
    let (publisher, published) = watch::channel(Arc::new(now));
    let said = RefCell::new(Vec::new());
    let task = Task {
        node: "worker-1".to_owned(),
        labels: false,
        objects: Vec::new(),
        published: None,
        mirror: Some(Mirror {
            published,
            make: None,
        }),
    };
    let tell = |news| {
        if let News::Standing(_, more) = news {
            let more = more.into_iter().map(|said| said.message);
            said.borrow_mut().extend(more);
        }
    };
    let until = async {
        for _ in 0..36_000 {
            if api.came().len() >= requests {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        // What is published again and again is no reason to write.
        for _ in 0..minutes {
            tokio::time::sleep(Duration::from_secs(60)).await;
            publisher.send_modify(|_| {});
        }
    };
    tokio::select! {
        () = kube::run(task, || api.connect(), tell) => panic!("it goes on for ever"),
        () = until => {}
    }
    said.into_inner()
}

fn lines(api: &Api) -> Vec<String> {
    api.came().into_iter().map(|came| came.line).collect()
}

const OFFICE: &str = "/apis/srsync.dev/v1alpha1/staticroutes/office";

fn entry(node: &str, ready: bool) -> Value {
    json!({"node": node, "ready": ready, "routes": 2, "gateway": "10.116.0.5", "reason": if ready { "" } else { "why" }})
}

#[tokio::test(start_paused = true)]
async fn a_node_writes_its_entry_and_then_the_summary_of_all() {
    let api = Api::default();
    let others = json!({"nodes": [entry("worker-0", true)]});
    api.json(200, list(&[native(7, others)]));
    let both = json!({"nodes": [entry("worker-0", true), entry("worker-1", false)]});
    api.json(200, native(8, both.clone()));
    api.json(200, native(9, both));
    let said = mirror(&api, published(NATIVE, NODE), 3, 0).await;
    assert_eq!(said, [""; 0]);
    let came = api.came();
    assert_eq!(came[0].line, "GET /apis/srsync.dev/v1alpha1/staticroutes");
    let apply = format!("PATCH {OFFICE}/status?fieldManager=srsync-worker-1&force=true");
    assert_eq!(came[1].line, apply);
    assert_eq!(came[1].kind, "application/apply-patch+yaml");
    let mut written = came[1].body.clone();
    let entries = written["status"]["nodes"].as_array_mut().unwrap();
    assert_eq!(entries.len(), 1);
    assert!(entries[0]["since"].take().as_str().unwrap().ends_with('Z'));
    let reason = entries[0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("bgp"), "{reason}");
    let wanted = json!({
        "apiVersion": "srsync.dev/v1alpha1", "kind": "StaticRoute", "metadata": {"name": "office"},
        "status": {"nodes": [{
            "node": "worker-1", "ready": false, "state": "Foreign", "routes": 2, "installed": 1,
            "gateway": "10.116.0.5", "reason": reason, "since": null, "observedGeneration": 3,
            "problems": [{"prefix": "198.51.100.0/24", "state": "Foreign", "reason": reason}],
        }]},
    });
    assert_eq!(written, wanted);
    assert_eq!(
        came[2].line,
        format!("PATCH {OFFICE}/status?fieldManager=srsync")
    );
    assert_eq!(came[2].kind, "application/merge-patch+json");
    let summary = json!({
        "metadata": {"resourceVersion": "8"},
        "status": {
            "summary": "1/2 nodes ready", "ready": "1/2", "routes": 2, "gateway": "10.116.0.5",
            "reason": "why",
        },
    });
    assert_eq!(came[2].body, summary);
}

/// The API's part: what was written is there from now on.
fn as_written(api: &Api, version: u64) -> Value {
    let came = api.came();
    let mut status = json!({});
    for came in came.iter().filter(|came| came.line.starts_with("PATCH")) {
        let fields = came.body["status"].as_object().unwrap();
        status.as_object_mut().unwrap().extend(fields.clone());
    }
    native(version, status)
}

#[tokio::test(start_paused = true)]
async fn what_is_there_already_is_not_written_again_by_anybody() {
    let first = Api::default();
    first.json(200, list(&[native(7, json!({}))]));
    mirror(&first, published(NATIVE, NODE), 2, 0).await;
    let there = as_written(&first, 8);
    let api = Api::default();
    let summed = {
        let mut object = there;
        let more = json!({"summary": "0/1 nodes ready", "ready": "0/1", "routes": 2,
            "gateway": "10.116.0.5", "reason": object["status"]["nodes"][0]["reason"]});
        let status = object["status"].as_object_mut().unwrap();
        status.extend(more.as_object().unwrap().clone());
        object
    };
    api.json(200, list(&[summed]));
    // A restart, then an hour in which nothing changes: everything is looked at, nothing is written.
    assert_eq!(mirror(&api, published(NATIVE, NODE), 1, 60).await, [""; 0]);
    let lines = lines(&api);
    assert!(lines.len() >= 10 && lines.len() <= 17, "{}", lines.len());
    assert!(
        lines.iter().all(|line| line.starts_with("GET")),
        "{lines:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn many_nodes_look_less_often_than_few() {
    let mut looks = Vec::new();
    for nodes in [10, 1000] {
        let names = (0..nodes).map(|n| format!("worker-{n:04}"));
        let entries: Vec<Value> = names.map(|name| entry(&name, true)).collect();
        let api = Api::default();
        // Of the object of a document that is for other nodes.
        api.json(200, list(&[native(7, json!({"nodes": entries}))]));
        let spec = ", nodeSelector: {matchLabels: {role: other}}}";
        let documents = NATIVE.replace("10.116.0.5}", &format!("10.116.0.5{spec}"));
        mirror(&api, published(&documents, NODE), 1, 120).await;
        let is_look = |line: &&String| line.ends_with("/staticroutes");
        looks.push(lines(&api).iter().filter(is_look).count());
    }
    assert!(looks[0] >= 20 && looks[1] <= 4, "{looks:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_too_late_with_a_summary_reads_again() {
    let api = Api::default();
    api.json(200, list(&[native(7, json!({}))]));
    let alone = json!({"nodes": [entry("worker-1", false)]});
    let both = json!({"nodes": [entry("worker-0", true), entry("worker-1", false)]});
    api.json(200, native(8, alone));
    api.refuses(409, "the object has been modified");
    api.json(200, native(9, both.clone()));
    api.json(200, native(10, both));
    let said = mirror(&api, published(NATIVE, NODE), 5, 0).await;
    assert_eq!(said, [""; 0]);
    let came = api.came();
    assert_eq!(came[2].body["status"]["ready"], "0/1");
    assert_eq!(came[3].line, format!("GET {OFFICE}"));
    assert_eq!(came[4].body["status"]["ready"], "1/2");
    assert_eq!(came[4].body["metadata"]["resourceVersion"], "9");
}

#[tokio::test(start_paused = true)]
async fn two_thousand_routes_are_one_small_entry() {
    let prefixes = (0..2000).map(|n| format!("11.{}.{}.0/24", n / 256, n % 256));
    let prefixes: Vec<String> = prefixes.collect();
    let documents = NATIVE.replace("192.0.2.0/24", &prefixes.join(", "));
    let documents = documents.replace("gateway: 10.116.0.5", "gateway: 172.16.0.1");
    let api = Api::default();
    api.json(200, list(&[native(7, json!({}))]));
    mirror(&api, published(&documents, NODE), 2, 0).await;
    let body = &api.came()[1].body;
    let entry = &body["status"]["nodes"][0];
    assert_eq!(
        (&entry["routes"], &entry["installed"]),
        (&json!(2001), &json!(0))
    );
    assert_eq!(entry["problems"].as_array().unwrap().len(), 10);
    assert!(body.to_string().len() < 5000, "{}", body.to_string().len());
}

#[tokio::test(start_paused = true)]
async fn documents_of_digitalocean_have_the_list_that_its_users_know_for_each_node() {
    let api = Api::default();
    let version = "networking.digitalocean.com/v1";
    api.json(200, list(&[object(version, 7, json!({}), Value::Null)]));
    let ready = json!([{"destination": "192.0.2.0/24", "status": "Ready"}]);
    let not = json!([{"destination": "192.0.2.0/24", "status": "NotReady"}]);
    let status = json!({"nodes": {"worker-0": ready, "worker-1": not}});
    api.json(200, object(version, 8, json!({}), status.clone()));
    api.json(200, object(version, 9, json!({}), status));
    mirror(&api, published(DIGITALOCEAN, NODE), 3, 0).await;
    let came = api.came();
    let path = "/apis/networking.digitalocean.com/v1/staticroutes/office";
    assert_eq!(came[1].line, format!("PATCH {path}?fieldManager=srsync"));
    let list = came[1].body["status"]["nodes"]["worker-1"].clone();
    assert_eq!(list[0]["destination"], "198.51.100.0/24");
    assert_eq!(list[0]["status"], "NotReady");
    let good = json!({"destination": "192.0.2.0/24", "gateway": "10.116.0.5", "status": "Ready"});
    assert_eq!(list[1], good);
    // Nothing but the status is in what is written.
    assert_eq!(came[1].body.as_object().unwrap().len(), 1);
    let summary =
        json!({"metadata": {"resourceVersion": "8"}, "status": {"summary": "1/2 nodes ready"}});
    assert_eq!(came[2].body, summary);
}

#[tokio::test(start_paused = true)]
async fn documents_of_ibm_have_an_entry_for_each_node_which_nobody_overwrites() {
    let api = Api::default();
    let version = "static-route.ibm.com/v1";
    let spec = json!({"subnet": "192.0.2.0/24"});
    let of = |hostname: &str| json!({"hostname": hostname, "state": spec, "error": ""});
    let statuses = |names: &[&str]| {
        let entries: Vec<Value> = names.iter().map(|name| of(name)).collect();
        json!({"nodeStatus": entries})
    };
    api.json(200, list(&[object(version, 7, spec.clone(), Value::Null)]));
    api.refuses(409, "the object has been modified");
    api.json(
        200,
        object(version, 8, spec.clone(), statuses(&["worker-2"])),
    );
    api.json(
        200,
        object(
            version,
            9,
            spec.clone(),
            statuses(&["worker-1", "worker-2"]),
        ),
    );
    let said = mirror(&api, published(IBM, NODE), 4, 0).await;
    assert_eq!(said, [""; 0]);
    let came = api.came();
    let path = "/apis/static-route.ibm.com/v1/staticroutes/office";
    assert_eq!(
        came[1].line,
        format!("PATCH {path}/status?fieldManager=srsync")
    );
    assert_eq!(came[1].body["metadata"]["resourceVersion"], "7");
    assert_eq!(came[3].body["metadata"]["resourceVersion"], "8");
    let ours = json!({
        "hostname": "worker-1", "error": "",
        "state": {"subnet": "192.0.2.0/24", "gateway": "10.116.0.5"},
    });
    assert_eq!(
        came[3].body["status"]["nodeStatus"],
        json!([ours, of("worker-2")])
    );
}

#[tokio::test(start_paused = true)]
async fn the_next_node_by_name_is_looked_after() {
    let api = Api::default();
    let nodes = ["worker-0", "worker-1", "worker-2"].map(|node| entry(node, true));
    let all = json!({"nodes": nodes});
    api.json(200, list(&[native(7, all.clone())]));
    api.json(200, native(8, all.clone())); // our entry
    let mut summed = all;
    for (field, value) in [("summary", "3/3 nodes ready"), ("ready", "3/3")] {
        summed[field] = json!(value);
    }
    summed["gateway"] = json!("10.116.0.5");
    summed["routes"] = json!(2);
    api.json(200, native(9, summed)); // the summary
    api.json(200, json!({"metadata": {"name": "worker-1"}}));
    api.refuses(404, "nodes \"worker-2\" not found");
    let rest = json!({"nodes": [entry("worker-0", true), entry("worker-1", true)]});
    api.json(200, native(10, rest.clone()));
    api.json(200, native(11, rest.clone()));
    mirror(&api, published(NATIVE, NODE), 7, 0).await;
    let came = api.came();
    assert_eq!(came[3].line, "GET /api/v1/nodes/worker-1");
    assert_eq!(came[4].line, "GET /api/v1/nodes/worker-2");
    assert_eq!(
        came[5].line,
        format!("PATCH {OFFICE}/status?fieldManager=srsync")
    );
    assert_eq!(came[5].body["status"], rest);
    assert_eq!(came[5].body["metadata"]["resourceVersion"], "9");
    assert_eq!(came[6].body["status"]["ready"], "2/2");
}

#[tokio::test(start_paused = true)]
async fn trouble_with_one_group_is_said_once_and_keeps_no_other_from_being_written() {
    let api = Api::default();
    let missing = "the server could not find the requested resource";
    for _ in 0..100 {
        api.refuses(404, missing);
    }
    let said = mirror(&api, published(NATIVE, NODE), 20, 0).await;
    assert_eq!(said.len(), 1, "{said:?}");
    let begins = "the cluster has no staticroutes of srsync.dev (404): install its CRD";
    assert!(said[0].starts_with(begins), "{}", said[0]);

    let api = Api::default();
    for _ in 0..100 {
        api.json(200, list(&[native(7, json!({}))]));
        api.json(403, status(403, "forbidden"));
    }
    let said = mirror(&api, published(NATIVE, NODE), 20, 0).await;
    assert_eq!(said.len(), 1, "{said:?}");
    let rule = "{apiGroups: [\"srsync.dev\"], resources: [staticroutes/status], verbs: [patch]}";
    assert!(said[0].contains(rule), "{}", said[0]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_before_the_first_pass_or_while_labels_are_unknown() {
    let mut early = published(NATIVE, NODE);
    early.running = Arc::default();
    let mut unknown = published(NATIVE, NODE);
    unknown.unknown_labels = Some("nobody told".to_owned());
    for published in [early, unknown] {
        let api = Api::default();
        mirror(&api, published, 0, 60).await;
        assert_eq!(lines(&api), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn trouble_with_writing_is_said_once_and_again_when_it_is_over() {
    for (code, begins) in [
        (
            409,
            "somebody else keeps changing staticroutes/status office",
        ),
        (429, "the Kubernetes API asks to be left alone (429)"),
        (
            500,
            "the Kubernetes API failed at `patch staticroutes/status office`",
        ),
    ] {
        let api = Api::default();
        for _ in 0..5 {
            api.json(200, list(&[native(7, json!({}))]));
            api.refuses(code, "because");
        }
        api.json(200, list(&[native(7, json!({}))]));
        let ours = json!({"nodes": [entry("worker-1", false)]});
        api.json(200, native(8, ours.clone()));
        let mut summed = ours;
        let fields = json!({"summary": "0/1 nodes ready", "ready": "0/1", "routes": 2,
            "gateway": "10.116.0.5", "reason": "why"});
        let status = summed.as_object_mut().unwrap();
        status.extend(fields.as_object().unwrap().clone());
        api.json(200, native(9, summed));
        let said = mirror(&api, published(NATIVE, NODE), 13, 1).await;
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].starts_with(begins), "{}", said[0]);
        let over = "Kubernetes: the trouble with status of staticroutes.srsync.dev is over";
        assert_eq!(said[1], over);
    }
}

/// Its finalizer waits for them.
#[tokio::test(start_paused = true)]
async fn a_node_that_is_gone_leaves_an_object_that_somebody_deletes() {
    let api = Api::default();
    let entries = json!({"nodeStatus": [{"hostname": "worker-2", "state": {}, "error": ""}]});
    let mut legacy = object("static-route.ibm.com/v1", 7, json!({}), entries);
    legacy["metadata"]["name"] = json!("legacy");
    let mut alive = legacy.clone();
    alive["metadata"]["name"] = json!("of-others");
    legacy["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    api.json(200, list(&[legacy.clone(), alive]));
    api.json(200, json!({"metadata": {"name": "worker-1"}}));
    api.refuses(404, "nodes \"worker-2\" not found");
    api.json(200, legacy);
    mirror(&api, published(IBM, NODE), 4, 0).await;
    let came = api.came();
    assert_eq!(came[2].line, "GET /api/v1/nodes/worker-2");
    let path = "/apis/static-route.ibm.com/v1/staticroutes/legacy/status";
    assert_eq!(came[3].line, format!("PATCH {path}?fieldManager=srsync"));
    let empty = json!({"metadata": {"resourceVersion": "7"}, "status": {"nodeStatus": []}});
    assert_eq!(came[3].body, empty);
    assert_eq!(came.len(), 4);
}
