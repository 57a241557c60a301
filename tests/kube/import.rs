//! Objects of a cluster as files: what is written, and that it means what the objects meant.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};
use srsync::kube::{self, Collection};
use srsync::model::{FileId, KubeSource, Names};
use srsync::spec::{self, Context, Parsed, Problem};

use super::api::{Api, status};
use super::server::Server;
use crate::support::in_namespace;
use crate::support::program::Srsync;

const NATIVE: &str = "/apis/srsync.dev/v1alpha1/staticroutes";
const IBM: &str = "/apis/static-route.ibm.com/v1/staticroutes";

fn parse(text: &str) -> Parsed {
    let mut include = |_: &str| Err(Problem::new("no files", "none"));
    let context = Context {
        names: &Names::default(),
        include: &mut include,
    };
    spec::parse(FileId(0), text, context)
}

/// As `kubectl get` would show them.
fn objects() -> Vec<(&'static str, Value)> {
    let metadata = |name: &str| {
        json!({
            "name": name, "uid": "1b2c", "resourceVersion": "12", "generation": 3,
            "creationTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["finalizer.static-route.ibm.com"],
            "managedFields": [{"manager": "kubectl", "operation": "Update"}],
            "labels": {"app.kubernetes.io/part-of": "network", "on": "yes"},
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "{}\n", "note": "since: 2024\nby: me",
            },
        })
    };
    let native = json!({
        "destinations": ["198.18.2.0/24", "198.18.1.0/24"],
        "gateways": [{"address": "10.0.1.2", "weight": 2}, {"address": "10.0.2.2"}], "mode": "ecmp",
        "nodeSelector": {"matchLabels": {"role": "egress"}},
    });
    let ibm = json!({
        "subnet": "198.18.3.0/24", "gateway": "10.0.1.2",
        "selectors": [{"key": "role", "operator": "In", "values": ["1", "true"]}],
    });
    let object = |version: &str, name: &str, spec: &Value| {
        json!({"apiVersion": version, "kind": "StaticRoute", "metadata": metadata(name), "spec": spec,
               "status": {"nodeStatus": []}})
    };
    let wrong = json!({"destinations": ["198.18.1.5/24"], "gateway": "10.0.1.2"});
    vec![
        (NATIVE, object("srsync.dev/v1alpha1", "office", &native)),
        (NATIVE, object("srsync.dev/v1alpha1", "bad", &wrong)),
        (IBM, object("static-route.ibm.com/v1", "legacy", &ibm)),
    ]
}

const WRITTEN: &str = "\
---
# Not valid: `198.18.1.5/24` has host bits set
apiVersion: srsync.dev/v1alpha1
kind: StaticRoute
metadata:
  name: bad
  annotations:
    note: \"since: 2024\\nby: me\"
  labels:
    app.kubernetes.io/part-of: network
    \"on\": \"yes\"
spec:
  destinations:
    - 198.18.1.5/24
  gateway: 10.0.1.2
---
apiVersion: srsync.dev/v1alpha1
kind: StaticRoute
metadata:
  name: office
  annotations:
    note: \"since: 2024\\nby: me\"
  labels:
    app.kubernetes.io/part-of: network
    \"on\": \"yes\"
spec:
  destinations:
    - 198.18.2.0/24
    - 198.18.1.0/24
  gateways:
    - address: 10.0.1.2
      weight: 2
    - address: 10.0.2.2
  mode: ecmp
  nodeSelector:
    matchLabels:
      role: egress
---
apiVersion: static-route.ibm.com/v1
kind: StaticRoute
metadata:
  name: legacy
  annotations:
    note: \"since: 2024\\nby: me\"
  labels:
    app.kubernetes.io/part-of: network
    \"on\": \"yes\"
spec:
  gateway: 10.0.1.2
  selectors:
    - key: role
      operator: In
      values:
        - \"1\"
        - \"true\"
  subnet: 198.18.3.0/24
";

fn with_a_cluster(test: impl FnOnce(&Srsync<'_>, &mut Server) + Send) {
    in_namespace(|| {
        crate::support::ip("link set lo up");
        let mut server = Server::start(json!({}));
        for (path, object) in objects() {
            server.put(path, object);
        }
        let srsync = Srsync::here().with_variable("KUBECONFIG", server.kubeconfig());
        test(&srsync, &mut server);
        server.stop();
    });
}

#[test]
fn objects_are_written_as_a_person_would_keep_them() {
    with_a_cluster(|srsync, server| {
        let mut going = objects().remove(0).1;
        going["metadata"]["name"] = json!("going");
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        server.put(NATIVE, going);
        let run = srsync.run("import --kube").exits(0);
        assert_eq!(run.stdout, WRITTEN);
        for part in [
            "error: `198.18.1.5/24` has host bits set",
            "kube:staticroutes.srsync.dev/bad:12:7",
            "note: staticroutes.srsync.dev/going is being deleted; left out",
            "note: the cluster has no staticroutes.networking.digitalocean.com",
            "note: wrote 3 documents; 1 of them is not valid",
        ] {
            assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
        }
        assert_eq!(srsync.run("import --kube").stdout, run.stdout);
    });
}

#[test]
fn what_is_written_of_one_group_is_read_and_valid() {
    with_a_cluster(|srsync, _| {
        let run = srsync
            .run("import --kube --group static-route.ibm.com")
            .exits(0);
        let mut command = srsync.command("validate -");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut validate = command.spawn().unwrap();
        let mut stdin = validate.stdin.take().unwrap();
        stdin.write_all(run.stdout.as_bytes()).unwrap();
        drop(stdin);
        let validated = validate.wait_with_output().unwrap();
        let said = String::from_utf8(validated.stdout).unwrap();
        assert!(validated.status.success(), "{said}");
        assert!(said.contains("1 document"), "{said}");
        let json = srsync.run("-o json import --kube --group static-route.ibm.com");
        let list = json.exits(0).report();
        assert_eq!(list["kind"], "List");
        assert_eq!(list["items"][0]["spec"], objects()[2].1["spec"]);
    });
}

#[test]
fn a_cluster_that_cannot_be_asked_or_lacks_the_group_is_an_error_that_says_so() {
    with_a_cluster(|srsync, server| {
        let run = srsync
            .run("import --kube --group networking.digitalocean.com")
            .exits(1);
        assert!(run.stderr.contains("install its CRD"), "{}", run.stderr);
        let run = srsync.run("import --kube --group example.com").exits(2);
        assert!(
            run.stderr.contains("static-route.ibm.com"),
            "{}",
            run.stderr
        );
        srsync.run("import --kube --routes").exits(2);
        srsync.run("import --group srsync.dev").exits(2);
        server.stop();
        let run = srsync.run("import --kube").exits(1);
        assert!(run.stderr.contains("cannot be reached"), "{}", run.stderr);
        assert_eq!(run.stdout, "");
    });
}

#[tokio::test]
async fn a_file_means_what_its_object_meant() {
    let api = Api::default();
    let native: Vec<Value> = objects()
        .into_iter()
        .take(2)
        .map(|(_, object)| object)
        .collect();
    api.json(200, json!({"metadata": {}, "items": native}));
    let collections = Collection::of(&KubeSource::Present);
    for _ in 1..collections.len() {
        api.json(404, status(404, "404 page not found"));
    }
    let found = kube::fetch(&collections, || api.connect()).await.unwrap();
    assert_eq!(found.objects.len(), 2);
    for (collection, _, object) in &found.objects {
        let as_object = parse(&object.to_string());
        let as_file = parse(&kube::file_text(&kube::file(object, *collection)));
        let documents = |parsed: &Parsed| -> Vec<_> {
            let documents = parsed.documents.iter().map(|valid| valid.document.clone());
            let without_places = documents.map(|mut document| {
                document.place.line = 0;
                for destination in &mut document.destinations {
                    destination.place.line = 0;
                }
                document
            });
            without_places.collect()
        };
        assert_eq!(documents(&as_file), documents(&as_object));
        let messages = |parsed: &Parsed| -> Vec<String> {
            let found = parsed.diagnostics.iter();
            found.map(|found| found.message.clone()).collect()
        };
        assert_eq!(messages(&as_file), messages(&as_object));
    }
}
