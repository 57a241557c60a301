//! A ConfigMap as kubelet mounts it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use srsync::source::Keeper;

use super::keeping::{Watched, names};
use super::{Dir, route};

/// Makes and updates the files of a mount in the order of kubelet's `AtomicWriter.Write`
/// (kubernetes, pkg/volume/util/atomic_writer.go).
pub(crate) struct ConfigMap {
    pub(crate) mount: PathBuf,
    version: u32,
}

impl ConfigMap {
    pub(crate) fn new(mount: PathBuf) -> Self {
        fs::create_dir_all(&mount).unwrap();
        Self { mount, version: 0 }
    }

    pub(crate) fn update(&mut self, files: &[(&str, String)]) {
        let old = fs::read_link(self.mount.join("..data")).ok();
        let version = self.write(files);
        let swapping = self.mount.join("..data_tmp");
        symlink(version, &swapping).unwrap();
        fs::rename(swapping, self.mount.join("..data")).unwrap();
        self.link(files);
        if let Some(old) = old {
            fs::remove_dir_all(self.mount.join(old)).unwrap();
        }
    }

    /// A new directory with a time for its name.
    fn write(&mut self, files: &[(&str, String)]) -> String {
        self.version += 1;
        let version = format!("..2026_11_21_04_00_00.{}", self.version);
        let directory = self.mount.join(&version);
        fs::create_dir(&directory).unwrap();
        for (name, text) in files {
            fs::write(directory.join(name), text).unwrap();
        }
        version
    }

    /// Makes the visible links that are missing, then takes away those whose file is gone.
    fn link(&self, files: &[(&str, String)]) {
        let links = fs::read_dir(&self.mount).unwrap();
        let links = links.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut stale: BTreeSet<String> = links.filter(|name| !name.starts_with("..")).collect();
        for (name, _) in files {
            if !stale.remove(*name) {
                symlink(Path::new("..data").join(name), self.mount.join(name)).unwrap();
            }
        }
        for name in stale {
            fs::remove_file(self.mount.join(name)).unwrap();
        }
    }
}

#[test]
fn an_update_is_seen_and_files_keep_their_numbers() {
    let dir = Dir::new();
    let mut map = ConfigMap::new(dir.0.join("routes"));
    map.update(&[("a.yaml", route("a"))]);
    let mut watched = Watched::new(&[&map.mount]);
    let first = watched.fresh();
    assert_eq!(names(&first), ["a"]);
    for index in 0..20 {
        map.update(&[("a.yaml", route(&format!("a{index}")))]);
        let now = watched.fresh();
        assert_eq!(names(&now), [format!("a{index}")]);
        assert_eq!(now.files, first.files);
    }
    map.update(&[("a.yaml", route("a19"))]);
    assert_eq!(watched.refresh(), None, "the same files, swapped");
}

/// In between, the new file has no link yet, and the old one leads nowhere.
#[test]
fn a_document_that_moves_to_a_new_file_is_never_missing() {
    let dir = Dir::new();
    let mut map = ConfigMap::new(dir.0.join("routes"));
    map.update(&[("a.yaml", route("moving")), ("b.yaml", route("staying"))]);
    let mut watched = Watched::new(&[&map.mount]);
    assert_eq!(names(&watched.fresh()), ["moving", "staying"]);

    let files = [("b.yaml", route("staying")), ("c.yaml", route("moving"))];
    let version = map.write(&files);
    fs::remove_file(map.mount.join("..data")).unwrap();
    symlink(version, map.mount.join("..data")).unwrap();
    let between = watched.fresh();
    assert_eq!(names(&between), ["moving", "staying"]);
    assert_eq!(between.incomplete(), None);

    map.link(&files);
    assert_eq!(names(&watched.fresh()), ["moving", "staying"]);
}

/// A reader that took one file from before the swap and one from after it would miss the document.
#[test]
fn a_reading_never_mixes_two_versions() {
    let dir = Dir::new();
    let mut map = ConfigMap::new(dir.0.join("routes"));
    let there = [("a.yaml", route("moving")), ("b.yaml", route("staying"))];
    let moved = format!("{}---\n{}", route("moving"), route("staying"));
    let back = [("a.yaml", "# nothing\n".to_owned()), ("b.yaml", moved)];
    map.update(&there);
    let mut watched = Watched::new(&[&map.mount]);
    assert_eq!(names(&watched.fresh()), ["moving", "staying"]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..200 {
                map.update(&back);
                map.update(&there);
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            if let Some(now) = watched.refresh() {
                assert_eq!(names(&now), ["moving", "staying"]);
                assert_eq!(now.incomplete(), None);
            }
        }
    });
}

#[test]
fn the_versions_behind_the_link_are_not_watched() {
    let dir = Dir::new();
    let mut map = ConfigMap::new(dir.0.join("routes"));
    map.update(&[("a.yaml", route("a"))]);
    for path in [map.mount.clone(), map.mount.join("a.yaml")] {
        let mut keeper = Keeper::new(vec![path]);
        let _ = super::keeping::refresh(&mut keeper, false);
        let directories = keeper.directories();
        let (_, interest) = directories
            .iter()
            .find(|(path, _)| **path == map.mount.canonicalize().unwrap())
            .unwrap();
        assert!(interest.wants("..data".as_ref()) && interest.wants("a.yaml".as_ref()));
        assert!(!interest.wants("..data_tmp".as_ref()));
        let version = |path: &&PathBuf| path.to_string_lossy().contains("..2026");
        assert_eq!(directories.iter().map(|(path, _)| path).find(version), None);
    }
}
