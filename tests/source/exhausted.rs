//! What is said when inotify has no room left.
//!
//! The limits below /proc/sys/user are the user namespace's own: in a new one they can be set
//! without touching anybody else's.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use srsync::source::{Directories, Watch, WatchError};

use super::Dir;

/// Set, for the test inside of the namespace, to the namespace outside.
const OUTSIDE: &str = "SRSYNC_TEST_OUTSIDE";

fn limit(name: &str, value: u32) {
    fs::write(
        format!("/proc/sys/user/max_inotify_{name}"),
        value.to_string(),
    )
    .unwrap();
}

/// Runs `test` in a process in a user namespace of its own.
fn in_user_namespace(name: &str, test: fn()) {
    let namespace = fs::read_link("/proc/self/ns/user").unwrap();
    if let Some(outside) = std::env::var_os(OUTSIDE) {
        assert_ne!(
            namespace.as_os_str(),
            outside,
            "not in a namespace of its own"
        );
        return test();
    }
    let output = Command::new("unshare")
        .arg("-Ur")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env(OUTSIDE, namespace)
        .output()
        .expect("unshare(1) is needed");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

fn directories(dirs: &[PathBuf]) -> Directories {
    let mut directories = Directories::default();
    dirs.iter().for_each(|dir| directories.add_source(dir));
    directories
}

#[test]
fn no_watch_is_left() {
    in_user_namespace("exhausted::no_watch_is_left", || {
        // Each directory, and the one that all of them are in.
        limit("watches", 3);
        let home = Dir::new();
        let dirs = ["a", "b", "c"].map(|name| home.0.join(name));
        dirs.iter().for_each(|dir| fs::create_dir(dir).unwrap());
        let mut watch = Watch::start(drop).unwrap();
        assert!(watch.arm(&directories(&dirs[..1])).unwrap());
        let error = watch.arm(&directories(&dirs)).unwrap_err();
        assert!(matches!(error, WatchError::Watches(_)), "{error:?}");
        let said = error.to_string();
        assert!(said.contains("fs.inotify.max_user_watches"), "{said}");
        assert!(said.starts_with("no inotify watch is left for /"), "{said}");
        limit("watches", 4);
        armed_sooner_or_later(&mut watch, &directories(&dirs));
        // While the new ones are made, the old ones are still there.
        armed_sooner_or_later(&mut watch, &directories(&dirs[1..]));
    });
}

fn armed_sooner_or_later(watch: &mut Watch, directories: &Directories) {
    let start = Instant::now();
    while let Err(error) = watch.arm(directories) {
        assert!(start.elapsed() < Duration::from_secs(60), "{error}");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(!watch.arm(directories).unwrap());
}

#[test]
fn no_instance_is_left() {
    in_user_namespace("exhausted::no_instance_is_left", || {
        limit("instances", 0);
        let error = Watch::start(drop).unwrap_err();
        assert!(matches!(error, WatchError::Instances), "{error:?}");
        let said = error.to_string();
        assert!(said.contains("fs.inotify.max_user_instances"), "{said}");
    });
}
