//! A mounted ConfigMap, updated as kubelet does it (`AtomicWriter.Write`): all files at once, behind
//! a link.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use super::node::{BROKEN, assert_ours, document, on_a_node, wait_for};
use crate::support::daemon::Daemon;
use crate::support::program::Srsync;
use crate::support::watch::Changes;

/// The directory at which a ConfigMap is mounted.
struct Volume {
    directory: PathBuf,
    updates: u32,
    /// Between the steps of an update.
    pause: Duration,
}

impl Volume {
    fn new(srsync: &Srsync<'_>, files: &[(String, String)]) -> Self {
        let directory = srsync.directory().join("volume");
        fs::create_dir(&directory).unwrap();
        let mut volume = Self {
            directory,
            updates: 0,
            pause: Duration::ZERO,
        };
        volume.update(files);
        volume
    }

    /// In kubelet's order: the new files, the link, names that are new, names that are gone, the
    /// old files.
    fn update(&mut self, files: &[(String, String)]) {
        self.updates += 1;
        let version = format!("..2026_11_21_04_05_06.{:010}", self.updates);
        let path = |name: &str| self.directory.join(name);
        fs::create_dir(path(&version)).unwrap();
        for (name, text) in files {
            fs::write(path(&version).join(name), text).unwrap();
        }
        let old = fs::read_link(path("..data"));
        symlink(&version, path("..data_tmp")).unwrap();
        fs::rename(path("..data_tmp"), path("..data")).unwrap();
        thread::sleep(self.pause);
        for (name, _) in files {
            if !path(name).is_symlink() {
                symlink(format!("..data/{name}"), path(name)).unwrap();
            }
        }
        thread::sleep(self.pause);
        for entry in fs::read_dir(&self.directory).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if !name.starts_with("..") && files.iter().all(|(kept, _)| *kept != name) {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        thread::sleep(self.pause);
        if let Ok(old) = old {
            fs::remove_dir_all(self.directory.join(old)).unwrap();
        }
    }
}

fn files(documents: &[(u16, u8)]) -> Vec<(String, String)> {
    let file = |(n, gateway): &(u16, u8)| {
        let name = format!("d{n}");
        (format!("{name}.yaml"), document(&name, *n, *gateway))
    };
    documents.iter().map(file).collect()
}

#[test]
fn fifty_updates_in_a_row_arrive_each_and_change_only_what_they_say() {
    on_a_node(|srsync| {
        let mut volume = Volume::new(srsync, &files(&[(1, 2), (2, 2)]));
        let daemon = Daemon::on(srsync, &[&volume.directory], "");
        let changes = Changes::watch();
        for update in 0..50 {
            let documents = [(1, 3 + update % 20), (2, 2)];
            volume.update(&files(&documents));
            wait_for(&documents);
            // Each is one replacement in each family: nothing in between, nothing else.
            assert_eq!(changes.count(), 2, "update {update}");
        }
        assert_eq!(daemon.wait_for_condition("Valid"), "");
    });
}

/// New names get their links after the swap, and old ones lose theirs last: were it not for what is
/// behind the swapped link, a document would be missing for a moment, or be there twice.
#[test]
fn a_document_that_moves_to_another_key_is_never_missing() {
    on_a_node(|srsync| {
        let in_file = |name: &str| {
            let routes = (format!("{name}.yaml"), document("routes", 1, 2));
            [routes, ("rest.yaml".to_owned(), document("rest", 2, 2))]
        };
        let mut volume = Volume::new(srsync, &in_file("z"));
        let daemon = Daemon::on(srsync, &[&volume.directory], "");
        let changes = Changes::watch();
        // On a busy node there is time enough to look in between.
        volume.pause = Duration::from_millis(200);
        for name in ["a", "b", "zz", "a"] {
            volume.update(&in_file(name));
            daemon.eventually("the document is in its new place", |status| {
                let documents = status["documents"].as_array().unwrap();
                let moved = documents.iter().find(|d| d["name"] == "routes");
                let file = moved.and_then(|moved| moved["file"].as_str());
                file.is_some_and(|file| file.ends_with(&format!("/{name}.yaml")))
            });
        }
        assert_eq!(changes.count(), 0);
        assert_eq!(daemon.messages("sourceInvalid"), [""; 0]);
    });
}

#[test]
fn keys_that_come_and_go_bring_and_take_their_routes() {
    on_a_node(|srsync| {
        let mut volume = Volume::new(srsync, &files(&[(1, 2)]));
        let _daemon = Daemon::on(srsync, &[&volume.directory], "");
        for documents in [
            &[(1, 2), (2, 2), (3, 2)][..],
            &[(2, 3), (3, 2)],
            &[(4, 2)],
            &[(1, 2), (4, 3)],
        ] {
            volume.update(&files(documents));
            wait_for(documents);
        }
    });
}

#[test]
fn a_broken_update_changes_nothing_and_the_next_good_one_everything() {
    on_a_node(|srsync| {
        let mut volume = Volume::new(srsync, &files(&[(1, 2), (2, 2)]));
        let daemon = Daemon::on(srsync, &[&volume.directory], "");
        volume.update(&[("d1.yaml".to_owned(), BROKEN.to_owned())]);
        let said = daemon.wait_for_condition("Invalid");
        assert!(said.contains("d1.yaml has 1 error"), "{said}");
        assert_ours(&[(1, 2), (2, 2)]);
        // A ConfigMap without data is most likely a mistake, too.
        volume.update(&[]);
        daemon.wait_for_condition("Empty");
        assert_ours(&[(1, 2), (2, 2)]);
        volume.update(&files(&[(3, 2)]));
        wait_for(&[(3, 2)]);
    });
}
