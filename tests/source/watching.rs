//! Which changes are noticed: real inotify, real editors' ways of saving.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use srsync::source::{Directories, Hint, Snapshot, Watch};

use super::configmap::ConfigMap;
use super::keeping::{Watched, including, names};
use super::{Dir, route};

/// Only ever reached by a test that fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// So often a daemon looks whether a directory was replaced.
const ARM_EVERY: Duration = Duration::from_millis(200);

/// What a daemon does with hints: reads when there is one, and when something is watched anew.
struct Eyes {
    watch: Watch,
    hints: Receiver<Hint>,
    watched: Watched,
    shown: Option<Snapshot>,
}

impl Eyes {
    fn on(paths: &[&Path]) -> Self {
        let (send, hints) = mpsc::channel();
        let tell = move |hint| drop(send.send(hint));
        let mut eyes = Self {
            watch: Watch::start(tell).unwrap(),
            hints,
            watched: Watched::new(paths),
            shown: None,
        };
        eyes.read();
        eyes
    }

    /// Reads until nothing new is watched.
    fn read(&mut self) {
        loop {
            if let Some(now) = self.watched.refresh() {
                self.shown = Some(now);
            }
            let directories = self.watched.keeper.directories();
            if !self.watch.arm(&directories).unwrap() {
                return;
            }
        }
    }

    fn shown(&self) -> Vec<&str> {
        self.shown.as_ref().map(names).unwrap_or_default()
    }

    /// Waits until these documents are in force, reading only where a daemon would.
    fn see(&mut self, expected: &[&str]) {
        let start = Instant::now();
        while self.shown() != expected {
            assert!(
                start.elapsed() < PATIENCE,
                "{:?}, not {expected:?}",
                self.shown()
            );
            match self.hints.recv_timeout(ARM_EVERY) {
                Ok(_) => self.read(),
                Err(RecvTimeoutError::Timeout) => {
                    let directories = self.watched.keeper.directories();
                    if self.watch.arm(&directories).unwrap() {
                        self.read();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => panic!("the watcher is gone"),
            }
        }
        self.settle();
    }

    /// Forgets the hints that are still on their way, so that they are not taken for later ones.
    fn settle(&mut self) {
        while self.hints.recv_timeout(Duration::from_millis(50)).is_ok() {}
        self.read();
    }

    /// All hints up to this one.
    fn hints_until(&self, last: &Hint) -> Vec<Hint> {
        let mut all = Vec::new();
        while all.last() != Some(last) {
            let next = self.hints.recv_timeout(PATIENCE);
            all.push(next.unwrap_or_else(|_| panic!("no {last:?} after {all:?}")));
        }
        all
    }
}

/// A directory with one document, watched.
fn watched() -> (Dir, Eyes) {
    let dir = Dir::new();
    dir.write("a.yaml", route("a"));
    let mut eyes = Eyes::on(&[&dir.0]);
    eyes.see(&["a"]);
    (dir, eyes)
}

#[test]
fn fifty_swaps_of_a_configmap_are_seen_as_such() {
    let dir = Dir::new();
    let mut map = ConfigMap::new(dir.0.join("routes"));
    map.update(&[("a.yaml", route("r0"))]);
    let mut eyes = Eyes::on(&[&map.mount]);
    for index in 1..=50 {
        let name = format!("r{index}");
        map.update(&[("a.yaml", route(&name))]);
        eyes.hints_until(&Hint::Swapped);
        eyes.read();
        assert_eq!(eyes.shown(), [name]);
    }
}

#[test]
fn a_file_of_a_configmap_is_seen_to_be_swapped() {
    let dir = Dir::new();
    let mut map = ConfigMap::new(dir.0.join("routes"));
    map.update(&[("a.yaml", route("r0"))]);
    let mut eyes = Eyes::on(&[&map.mount.join("a.yaml")]);
    for index in 1..=10 {
        let name = format!("r{index}");
        map.update(&[("a.yaml", route(&name)), ("z.yaml", route("z"))]);
        eyes.hints_until(&Hint::Swapped);
        eyes.read();
        assert_eq!(eyes.shown(), [name]);
    }
}

#[test]
fn whoever_writes_is_seen_to_begin_and_to_finish() {
    let (dir, eyes) = watched();
    let path = dir.0.canonicalize().unwrap().join("a.yaml");
    let mut file = fs::File::create(&path).unwrap();
    let writing = Hint::Writing(path.clone());
    eyes.hints_until(&writing);
    file.write_all(route("b").as_bytes()).unwrap();
    eyes.hints_until(&writing);
    drop(file);
    let written = Hint::Written(path);
    let rest = eyes.hints_until(&written);
    assert_eq!(rest, [written]);
}

/// Otherwise one would wait for its writer for ever.
#[test]
fn a_file_that_goes_away_while_it_is_written_is_no_longer_waited_for() {
    let (dir, eyes) = watched();
    let path = dir.0.canonicalize().unwrap().join("new.yaml");
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(b"x").unwrap();
    eyes.hints_until(&Hint::Writing(path.clone()));
    fs::rename(&path, dir.0.join(".hidden")).unwrap();
    eyes.hints_until(&Hint::Written(path));
    eyes.hints_until(&Hint::Changed);
    drop(file);
}

#[test]
fn every_way_to_save_a_file_is_seen() {
    let (dir, mut eyes) = watched();
    let path = |name: &str| dir.0.join(name);

    // vim with backupcopy=no
    fs::rename(path("a.yaml"), path("a.yaml~")).unwrap();
    dir.write("a.yaml", route("vim"));
    fs::remove_file(path("a.yaml~")).unwrap();
    eyes.see(&["vim"]);

    dir.write(".a.yaml.Xy12", route("rsync"));
    fs::rename(path(".a.yaml.Xy12"), path("a.yaml")).unwrap();
    eyes.see(&["rsync"]);

    fs::write(path("a.yaml"), route("in-place")).unwrap();
    eyes.see(&["in-place"]);

    let sed = Command::new("sed")
        .args(["-i", "s/in-place/sed/"])
        .arg(path("a.yaml"))
        .status();
    assert!(sed.unwrap().success());
    eyes.see(&["sed"]);

    let other = Dir::new();
    let moved = other.write("new.yaml", route("moved"));
    fs::rename(moved, path("a.yaml")).unwrap();
    eyes.see(&["moved"]);

    fs::remove_file(path("a.yaml")).unwrap();
    dir.write("b.yaml", route("after-removal"));
    eyes.see(&["after-removal"]);
}

#[test]
fn what_cannot_matter_wakes_nobody() {
    let (dir, mut eyes) = watched();
    let sibling = dir.0.with_extension("other");
    fs::write(&sibling, "something").unwrap();
    fs::remove_file(&sibling).unwrap();
    dir.write(".a.yaml.swp", "an editor's own");
    dir.write("..data_tmp", "kubelet's own");
    eyes.watched.refresh();
    let _ = fs::read(dir.0.join("a.yaml")).unwrap();
    fs::read_dir(&dir.0).unwrap().for_each(drop);

    let path = dir.0.canonicalize().unwrap().join("b.yaml");
    fs::write(&path, route("b")).unwrap();
    let hints = eyes.hints_until(&Hint::Written(path.clone()));
    let own = |hint: &Hint| *hint == Hint::Changed || *hint == Hint::Writing(path.clone());
    assert!(hints.iter().rev().skip(1).all(own), "{hints:?}");
    assert!(hints.len() <= 4, "{hints:?}");
}

#[test]
fn a_directory_that_is_removed_and_made_again_is_watched_again() {
    let dir = Dir::new();
    let source = dir.0.join("routes");
    dir.write("routes/a.yaml", route("a"));
    let mut eyes = Eyes::on(&[&source]);
    eyes.see(&["a"]);
    for name in ["b", "c"] {
        fs::remove_dir_all(&source).unwrap();
        dir.write("routes/a.yaml", route(name));
        eyes.see(&[name]);
        dir.write("routes/a.yaml", route("edited"));
        eyes.see(&["edited"]);
    }
}

#[test]
fn a_directory_that_comes_back_after_a_while_is_watched_again() {
    let dir = Dir::new();
    let source = dir.0.join("deep/down/routes");
    dir.write("deep/down/routes/a.yaml", route("a"));
    let mut eyes = Eyes::on(&[&source]);
    eyes.see(&["a"]);
    fs::remove_dir_all(dir.0.join("deep")).unwrap();
    eyes.hints_until(&Hint::Changed);
    eyes.settle();
    assert!(eyes.shown.as_ref().unwrap().incomplete().is_some());
    dir.write("deep/down/routes/a.yaml", route("b"));
    eyes.see(&["b"]);
    dir.write("deep/down/routes/a.yaml", route("c"));
    eyes.see(&["c"]);
}

/// The same inode again: the watch on it was lost all the same.
#[test]
fn a_directory_that_is_moved_away_and_back_is_watched_again() {
    let dir = Dir::new();
    let (source, aside) = (dir.0.join("routes"), dir.0.join("aside"));
    dir.write("routes/a.yaml", route("a"));
    let mut eyes = Eyes::on(&[&source]);
    eyes.see(&["a"]);
    fs::rename(&source, &aside).unwrap();
    fs::write(aside.join("a.yaml"), route("b")).unwrap();
    fs::rename(&aside, &source).unwrap();
    eyes.see(&["b"]);
    dir.write("routes/a.yaml", route("c"));
    eyes.see(&["c"]);
}

#[test]
fn a_file_that_is_moved_away_and_back_is_seen_to_be_edited() {
    let dir = Dir::new();
    let file = dir.write("a.yaml", route("a"));
    let mut eyes = Eyes::on(&[&file]);
    eyes.see(&["a"]);
    let aside = dir.0.join("aside");
    fs::rename(&file, &aside).unwrap();
    eyes.hints_until(&Hint::Changed);
    eyes.settle();
    assert_eq!(eyes.shown(), ["a"]);
    fs::write(&aside, route("b")).unwrap();
    fs::rename(&aside, &file).unwrap();
    eyes.see(&["b"]);
    fs::write(&file, route("c")).unwrap();
    eyes.see(&["c"]);
}

#[test]
fn a_link_to_a_directory_is_followed_when_it_is_switched() {
    let dir = Dir::new();
    for release in ["r1", "r2", "r3"] {
        dir.write(&format!("releases/{release}/a.yaml"), route(release));
    }
    let current = dir.0.join("current");
    symlink("releases/r1", &current).unwrap();
    let mut eyes = Eyes::on(&[&current]);
    eyes.see(&["r1"]);

    let next = dir.0.join("next");
    symlink("releases/r2", &next).unwrap();
    fs::rename(&next, &current).unwrap();
    eyes.see(&["r2"]);
    dir.write("releases/r2/a.yaml", route("edited"));
    eyes.see(&["edited"]);

    fs::remove_file(&current).unwrap();
    symlink("releases/r3", &current).unwrap();
    eyes.see(&["r3"]);
    dir.write("releases/r3/a.yaml", route("edited-again"));
    eyes.see(&["edited-again"]);
}

#[test]
fn a_link_to_a_file_elsewhere_is_followed() {
    let (elsewhere, dir) = (Dir::new(), Dir::new());
    let file = elsewhere.write("shared.yaml", route("a"));
    symlink(&file, dir.0.join("a.yaml")).unwrap();
    let mut eyes = Eyes::on(&[&dir.0]);
    eyes.see(&["a"]);
    elsewhere.write("shared.yaml", route("b"));
    eyes.see(&["b"]);
    fs::remove_file(&file).unwrap();
    eyes.hints_until(&Hint::Changed);
    elsewhere.write("shared.yaml", route("c"));
    eyes.see(&["c"]);
}

#[test]
fn included_lists_are_watched_wherever_they_are() {
    let (elsewhere, dir) = (Dir::new(), Dir::new());
    let outside = elsewhere.write("list", "192.0.2.0/24\n");
    let lists = ["beside.txt", ".hidden", "below/list.txt", "linked"];
    for name in lists {
        let document = name.trim_matches('.').replace(['.', '/'], "-");
        dir.write(&format!("{document}.yaml"), including(&document, name));
        if name != "linked" {
            dir.write(name, "192.0.2.0/24\n");
        }
    }
    symlink(&outside, dir.0.join("linked")).unwrap();
    let mut eyes = Eyes::on(&[&dir.0]);
    let all = ["below-list-txt", "beside-txt", "hidden", "linked"];
    eyes.see(&all);
    assert_eq!(eyes.shown.as_ref().unwrap().incomplete(), None);
    for name in lists {
        let path = dir.0.join(name);
        fs::write(&path, "198.51.100.0/24\n").unwrap();
        let written = path.canonicalize().unwrap();
        eyes.hints_until(&Hint::Written(written));
        let before = eyes.shown.clone();
        eyes.read();
        assert_ne!(eyes.shown, before, "{name}");
        eyes.settle();
    }
}

/// A list that is missing is waited for where it should be.
#[test]
fn a_list_that_is_missing_is_seen_to_appear() {
    let (dir, mut eyes) = watched();
    dir.write("b.yaml", including("b", ".lists/b.txt"));
    eyes.hints_until(&Hint::Written(dir.0.canonicalize().unwrap().join("b.yaml")));
    eyes.settle();
    assert_eq!(eyes.shown(), ["a"]);
    dir.write(".lists/b.txt", "192.0.2.0/24\n");
    eyes.see(&["a", "b"]);
}

/// Mounting tells inotify nothing: only the next look at the directory shows it.
#[test]
fn a_mount_over_a_directory_is_noticed() {
    std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNS)
            .expect("mount namespaces are needed: run as root or in `unshare -rn`");
        run("mount", &["--make-rprivate", "/"]);
        let (dir, mut eyes) = watched();
        let source = dir.0.to_str().unwrap();
        for name in ["b", "c"] {
            run("mount", &["-t", "tmpfs", "none", source]);
            dir.write("a.yaml", route(name));
            eyes.see(&[name]);
            dir.write("a.yaml", route("edited"));
            eyes.see(&["edited"]);
            run("umount", &[source]);
            eyes.see(&["a"]);
        }
        // Unmounted and mounted before anybody looks: the inode has the same number again.
        run("mount", &["-t", "tmpfs", "none", source]);
        dir.write("a.yaml", route("d"));
        eyes.see(&["d"]);
        run("umount", &[source]);
        run("mount", &["-t", "tmpfs", "none", source]);
        dir.write("a.yaml", route("e"));
        eyes.see(&["e"]);
        run("umount", &[source]);
    })
    .join()
    .unwrap();
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}: {status}");
}

#[test]
fn arming_again_without_a_change_does_nothing() {
    let (_dir, mut eyes) = watched();
    let directories = eyes.watched.keeper.directories();
    assert!(!eyes.watch.arm(&directories).unwrap());
    assert!(eyes.watch.arm(&Directories::default()).unwrap());
    assert!(eyes.watch.arm(&directories).unwrap());
}

#[test]
fn more_than_the_queue_holds_is_told() {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    let dir = Dir::new();
    let (send, hints) = mpsc::sync_channel(0);
    let mut watch = Watch::start(move |hint| drop(send.send(hint))).unwrap();
    let mut directories = Directories::default();
    directories.add_source(&dir.0);
    assert!(watch.arm(&directories).unwrap());
    // Nobody listens meanwhile. Alternating, because an event like the last one is not queued.
    let files = ["a", "b"].map(|name| fs::File::create(dir.0.join(name)).unwrap());
    for mut file in files.iter().cycle().take(2 * limit) {
        file.write_all(b"x").unwrap();
    }
    let lost = hints.iter().find(|hint| matches!(hint, Hint::Lost(_)));
    let Some(Hint::Lost(why)) = lost else {
        panic!("{lost:?}");
    };
    assert!(why.contains("max_queued_events"), "{why}");
    drop(hints);
    assert!(watch.arm(&directories).unwrap(), "it has to be armed again");
}
