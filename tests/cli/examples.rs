//! Every example is what its README says: valid, and installed in a rehearsal on the real kernel.

use super::support::{in_namespace, ip};
use super::{project, srsync};

/// The folders of `examples/`.
fn examples() -> Vec<String> {
    let entries = std::fs::read_dir(project().join("examples")).unwrap();
    let mut folders: Vec<String> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| path.to_str().unwrap().to_owned())
        .collect();
    folders.sort();
    assert!(folders.len() >= 11, "{folders:?}");
    folders
}

#[test]
fn every_example_is_installed_in_a_rehearsal() {
    // The rehearsal is private: this namespace stays as empty as it is.
    in_namespace(|| {
        let before = ip("-d route show table all") + &ip("-d -6 route show table all");
        for example in examples() {
            let ran = srsync(&["try", &example, "-o", "json"]).exits(0);
            let report = ran.json();
            assert_eq!(report["inSync"], true, "{example}");
            assert!(
                report["summary"]["states"]["Installed"].as_u64() > Some(0),
                "{example}"
            );
            assert_eq!(ran.stderr, "", "{example}");
        }
        let after = ip("-d route show table all") + &ip("-d -6 route show table all");
        assert_eq!(before, after);
    });
}

#[test]
fn every_example_can_be_read_by_a_person() {
    for example in examples() {
        let name = example.rsplit('/').next().unwrap();
        let readme = std::fs::read_to_string(format!("{example}/README.md")).unwrap();
        assert!(
            readme.contains(&format!("srsync try examples/{name}")),
            "{name}"
        );
        let index = std::fs::read_to_string(project().join("examples/README.md")).unwrap();
        assert!(index.contains(name), "{name} is not in the index");
    }
}

#[test]
fn the_node_selection_example_selects_by_labels() {
    let example = project().join("examples/per-node");
    let example = example.to_str().unwrap();
    let selected = |labels: &[&str]| -> Vec<String> {
        let mut args = vec!["try", example, "-o", "json"];
        for label in labels {
            args.extend(["--node-label", label]);
        }
        let report = srsync(&args).exits(0).json();
        let documents = report["documents"].as_array().unwrap();
        documents
            .iter()
            .filter(|document| document["selected"] == true)
            .map(|document| document["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let worker = selected(&[]);
    let gateway = selected(&[
        "example.com/role=gateway",
        "topology.kubernetes.io/zone=zone-a",
    ]);
    assert_ne!(worker, gateway);
    assert_eq!(
        (worker.len(), gateway.len()),
        (1, 1),
        "{worker:?} {gateway:?}"
    );
}

/// The kernel brings the route to an IPv6 peer a moment after the address: a rehearsal that did
/// not wait for it called the gateway not connected, one time in ten.
#[test]
fn a_rehearsal_with_ipv6_gateways_waits_for_their_subnets() {
    let example = project().join("examples/dual-stack");
    for _ in 0..50 {
        srsync(&["try", example.to_str().unwrap()]).exits(0);
    }
}
