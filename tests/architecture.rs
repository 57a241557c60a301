//! The walls of the house: which module may use which, no file too long. ARCHITECTURE.md says why.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and reads its own files"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What each module may use. `main` and `commands` may use everything below them.
const ALLOWED: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("spec", &["model"]),
    ("plan", &["model"]),
    ("gateway", &["model"]),
    ("rehearsal", &["model"]),
    ("snapshot", &["model"]),
    ("import", &["spec", "plan", "model"]),
    ("source", &["spec", "model"]),
    ("kernel", &["model"]),
    ("report", &["plan", "model"]),
    ("explain", &["report", "plan", "model"]),
    ("sync", &["kernel", "report", "plan", "model"]),
    ("status", &["report", "model"]),
    ("privileges", &[]),
    ("kube", &["report", "model"]),
    ("probe", &["kernel", "model"]),
    (
        "daemon",
        &[
            "config",
            "gateway",
            "kube",
            "probe",
            "privileges",
            "status",
            "sync",
            "source",
            "spec",
            "kernel",
            "report",
            "plan",
            "model",
        ],
    ),
    ("config", &["cli", "spec", "model"]),
    ("cli", &["model"]),
    (
        "commands",
        &[
            "cli",
            "config",
            "daemon",
            "explain",
            "gateway",
            "import",
            "kube",
            "privileges",
            "probe",
            "status",
            "sync",
            "source",
            "spec",
            "kernel",
            "plan",
            "model",
            "report",
            "rehearsal",
            "snapshot",
        ],
    ),
    ("main", &["cli", "commands"]),
    ("lib", &[]),
];

/// Crates that do I/O, and the only modules that may use them.
const DOORS: &[(&str, &[&str])] = &[
    ("netlink_sys", &["kernel"]),
    ("netlink_packet_core", &["kernel"]),
    ("netlink_packet_route", &["kernel"]),
    ("caps::", &["privileges"]),
    ("hyper::", &["kube", "probe", "status", "commands"]),
    ("use kube::", &["kube"]),
    ("use notify::", &["source"]),
    ("prometheus_client", &["status"]),
    ("sd_notify", &["daemon"]),
    (
        "tokio::",
        &["daemon", "kube", "probe", "status", "commands"],
    ),
    // `daemon`: what it must remember beyond its own end (`drains`).
    (
        "std::fs",
        &["source", "kernel", "commands", "status", "daemon"],
    ),
    ("std::net::TcpStream", &[]),
    ("std::process::Command", &[]),
    (
        "std::time::Instant",
        &["kernel", "commands", "daemon", "gateway", "probe", "status"],
    ),
    // `gateway` is handed moments and asks no clock.
    (
        "Instant::now",
        &["kernel", "kube", "commands", "daemon", "probe", "status"],
    ),
    (
        "std::time::SystemTime",
        &["kernel", "kube", "commands", "daemon", "source", "status"],
    ),
    ("clap", &["cli", "commands", "main"]),
    ("anyhow", &["commands", "main"]),
];

#[test]
fn every_module_uses_only_what_is_below_it() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut wrong = Vec::new();
    for (module, path, text) in sources() {
        let below = allowed
            .get(module.as_str())
            .unwrap_or_else(|| panic!("module `{module}` has no entry in ALLOWED"));
        for used in uses(&text) {
            if used != module && !below.contains(&used.as_str()) {
                wrong.push(format!("{}: `{module}` uses `{used}`", path.display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "walls were crossed:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn io_goes_through_its_doors() {
    let mut wrong = Vec::new();
    for (module, path, text) in sources() {
        for (door, keepers) in DOORS {
            if code(&text).any(|line| line.contains(door)) && !keepers.contains(&module.as_str()) {
                wrong.push(format!("{}: `{module}` uses `{door}`", path.display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "I/O outside its place:\n{}",
        wrong.join("\n")
    );
}

/// The halves of `kube` that decide.
const PURE: [&str; 4] = [
    "kube/trouble.rs",
    "kube/mirror/entry.rs",
    "kube/mirror/plain.rs",
    "kube/mirror/shape.rs",
];

#[test]
fn what_is_written_to_kubernetes_is_decided_without_asking_it() {
    let all = sources();
    for pure in PURE {
        let (_, _, text) = all
            .iter()
            .find(|(_, path, _)| path.ends_with(pure))
            .unwrap();
        for door in ["async ", "tokio", "use kube::", "hyper", "Link", "now()"] {
            let line = code(text).find(|line| line.contains(door));
            assert_eq!(line, None, "{pure} uses `{door}`");
        }
    }
}

#[test]
fn no_file_is_longer_than_600_lines() {
    let long: Vec<String> = sources()
        .into_iter()
        .filter(|(_, _, text)| text.lines().count() > 600)
        .map(|(_, path, _)| path.display().to_string())
        .collect();
    assert!(long.is_empty(), "a wall is missing in: {}", long.join(", "));
}

/// Every source file with the top-level module it belongs to, without its unit tests.
fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    collect(&root, &mut found);
    assert!(found.len() > 20, "the sources were not found");
    let module = |path: &Path| {
        let first = path.strip_prefix(&root).unwrap().components().next();
        let first = Path::new(first.unwrap().as_os_str());
        first.file_stem().unwrap().to_str().unwrap().to_owned()
    };
    found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            (module(&path), path, code.to_owned())
        })
        .collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The lines that are not comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
}

/// The top-level modules named behind `crate::` or `srsync::`, outside of comments.
fn uses(text: &str) -> Vec<String> {
    code(text)
        .flat_map(|line| {
            let behind = |mark: &'static str| line.split(mark).skip(1);
            behind("crate::").chain(behind("srsync::"))
        })
        .map(|rest| {
            rest.chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect()
        })
        .filter(|name: &String| !name.is_empty())
        .collect()
}
