//! What becomes of a directory as a whole: gone, moved, replaced, emptied, mounted over.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sched::{CloneFlags, unshare};

use super::node::{BROKEN, assert_ours, document, on_a_node, spec, wait_for};
use crate::support::daemon::Daemon;
use crate::support::ip;
use crate::support::program::Srsync;

/// A directory below that of the test, with a document in it.
fn below(srsync: &Srsync<'_>, name: &str, documents: &[(u16, u8)]) -> PathBuf {
    let directory = srsync.directory().join(name);
    fs::create_dir(&directory).unwrap();
    for (n, gateway) in documents {
        write(&directory, *n, *gateway);
    }
    directory
}

fn write(directory: &Path, n: u16, gateway: u8) {
    let name = format!("d{n}");
    fs::write(
        directory.join(format!("{name}.yaml")),
        document(&name, n, gateway),
    )
    .unwrap();
}

#[test]
fn a_directory_that_is_moved_away_keeps_its_routes_and_is_watched_again_when_it_is_back() {
    on_a_node(|srsync| {
        let routes = below(srsync, "routes", &[(1, 2)]);
        let aside = srsync.directory().join("aside");
        let daemon = Daemon::on(srsync, &[&routes], "");
        for gateway in 3..6 {
            fs::rename(&routes, &aside).unwrap();
            let said = daemon.wait_for_condition("Unreadable");
            assert!(
                said.starts_with("there is no such file or directory"),
                "{said}"
            );
            assert!(said.contains("nothing is removed"), "{said}");
            assert_ours(&[(1, gateway - 1)]);
            // What it last said is still what is wanted.
            ip("route del 198.18.1.0/24 proto 83");
            ip("-6 route del 2001:db8:1::/64 proto 83");
            wait_for(&[(1, gateway - 1)]);
            // Nobody watches it where it is now.
            write(&aside, 1, gateway);
            fs::rename(&aside, &routes).unwrap();
            wait_for(&[(1, gateway)]);
            daemon.wait_for_condition("Valid");
        }
    });
}

#[test]
fn a_directory_that_is_deleted_and_made_anew_has_only_what_it_then_holds() {
    on_a_node(|srsync| {
        let routes = below(srsync, "routes", &[(1, 2)]);
        let daemon = Daemon::on(srsync, &[&routes], "");
        fs::remove_dir_all(&routes).unwrap();
        daemon.wait_for_condition("Unreadable");
        assert_ours(&[(1, 2)]);
        fs::create_dir(&routes).unwrap();
        daemon.wait_for_condition("Empty");
        assert_ours(&[(1, 2)]);
        write(&routes, 2, 2);
        wait_for(&[(2, 2)]);
        daemon.wait_for_condition("Valid");
    });
}

/// As `mv routes routes.old; mv routes.new routes` does it.
#[test]
fn a_directory_that_is_replaced_by_another_one_is_followed() {
    on_a_node(|srsync| {
        let routes = below(srsync, "routes", &[(1, 2)]);
        let _daemon = Daemon::on(srsync, &[&routes], "");
        for n in 2..6 {
            let next = below(srsync, "next", &[(n, 2)]);
            let old = srsync.directory().join("old");
            fs::rename(&routes, &old).unwrap();
            fs::rename(&next, &routes).unwrap();
            wait_for(&[(n, 2)]);
            fs::remove_dir_all(&old).unwrap();
        }
        write(&routes, 6, 2);
        wait_for(&[(5, 2), (6, 2)]);
    });
}

#[test]
fn an_emptied_directory_removes_nothing_unless_that_is_allowed() {
    on_a_node(|srsync| {
        let routes = below(srsync, "routes", &[(1, 2), (2, 2)]);
        let mut daemon = Daemon::on(srsync, &[&routes], "");
        for n in [1, 2] {
            fs::remove_file(routes.join(format!("d{n}.yaml"))).unwrap();
        }
        let said = daemon.wait_for_condition("Empty");
        assert!(said.contains("nothing is removed"), "{said}");
        assert!(said.contains("--allow-empty"), "{said}");
        // Which of the two files was gone first, nobody can say; the last one counts.
        let status = daemon.status();
        assert!(status["daemon"]["sources"][0]["documents"].as_u64() >= Some(1));
        daemon.stop();
        let mut again = Daemon::on(srsync, &[&routes], "");
        again.wait_for_condition("Empty");
        assert_eq!(again.status()["inSync"], false);
        assert_ne!(super::node::ours().len(), 0);
        again.stop();
        let _allowed = Daemon::on(srsync, &[&routes], "--allow-empty");
        assert_ours(&[]);
    });
}

#[test]
fn emptied_while_that_is_allowed_everything_goes() {
    on_a_node(|srsync| {
        srsync.document("a", &spec(1, 2));
        let daemon = Daemon::start(srsync, "--allow-empty");
        srsync.without("a");
        wait_for(&[]);
        daemon.wait_for_condition("Valid");
        srsync.document("a", &spec(1, 2));
        wait_for(&[(1, 2)]);
    });
}

fn mount(arguments: &str, directory: &Path) {
    let mut words = arguments.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    let status = command.args(words).arg(directory).status().unwrap();
    assert!(status.success(), "{arguments}");
}

/// A volume that is not mounted leaves its empty mount point behind, which looks like a directory
/// from which everything was deleted.
#[test]
fn an_unmounted_directory_keeps_its_routes_and_a_mounted_one_is_followed() {
    on_a_node(|srsync| {
        // Mounts of this thread and of what it starts, which nobody else sees.
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount("mount --make-rprivate", Path::new("/"));
        let routes = below(srsync, "routes", &[]);
        let tmpfs = "mount -t tmpfs none";
        mount(tmpfs, &routes);
        write(&routes, 1, 2);
        let daemon = Daemon::on(srsync, &[&routes], "");
        assert_ours(&[(1, 2)]);
        for gateway in 3..5 {
            mount("umount", &routes);
            daemon.wait_for_condition("Empty");
            assert_ours(&[(1, gateway - 1)]);
            mount(tmpfs, &routes);
            write(&routes, 1, gateway);
            wait_for(&[(1, gateway)]);
        }
        // On top of the other, which has a document still.
        mount(tmpfs, &routes);
        daemon.wait_for_condition("Empty");
        assert_ours(&[(1, 4)]);
        write(&routes, 2, 2);
        wait_for(&[(2, 2)]);
        mount("umount", &routes);
        wait_for(&[(1, 4)]);
        mount("umount", &routes);
        drop(daemon);
    });
}

/// A daemon that is started before its volume is there, or before somebody has written anything.
#[test]
fn a_source_that_is_not_there_yet_is_read_when_it_appears() {
    on_a_node(|srsync| {
        srsync.document("before", &spec(9, 2));
        srsync.converge();
        srsync.without("before");
        let routes = srsync.directory().join("a/b/routes");
        let daemon = Daemon::on(srsync, &[&routes], "");
        let said = daemon.wait_for_condition("Unreadable");
        assert!(
            said.ends_with("until that changes, nothing is removed"),
            "{said}"
        );
        assert_ours(&[(9, 2)]);
        fs::create_dir_all(&routes).unwrap();
        daemon.wait_for_condition("Empty");
        assert_ours(&[(9, 2)]);
        write(&routes, 1, 2);
        wait_for(&[(1, 2)]);
    });
}

/// A release that is switched by a link, as deployment tools do it.
#[test]
fn a_link_that_is_switched_to_another_directory_is_followed() {
    on_a_node(|srsync| {
        let current = srsync.directory().join("current");
        let next = srsync.directory().join("next");
        below(srsync, "release0", &[(1, 2), (7, 2)]);
        symlink("release0", &current).unwrap();
        let daemon = Daemon::on(srsync, &[&current], "");
        for n in 1..6_u8 {
            let name = format!("release{n}");
            let release = below(srsync, &name, &[(1, 2 + n), (10 + u16::from(n), 2)]);
            symlink(&name, &next).unwrap();
            fs::rename(&next, &current).unwrap();
            wait_for(&[(1, 2 + n), (10 + u16::from(n), 2)]);
            // The one behind the link is watched, too.
            write(&release, 8, 2);
            wait_for(&[(1, 2 + n), (8, 2), (10 + u16::from(n), 2)]);
        }
        fs::remove_file(&current).unwrap();
        daemon.wait_for_condition("Unreadable");
        assert_ours(&[(1, 7), (8, 2), (15, 2)]);
    });
}

#[test]
fn what_is_wrong_with_one_source_keeps_removals_of_the_other_back() {
    on_a_node(|srsync| {
        let one = below(srsync, "one", &[(1, 2), (2, 2)]);
        let two = below(srsync, "two", &[(3, 2)]);
        let daemon = Daemon::on(srsync, &[&one, &two], "");
        assert_ours(&[(1, 2), (2, 2), (3, 2)]);
        fs::write(two.join("d3.yaml"), BROKEN).unwrap();
        daemon.eventually("the second is invalid", |status| {
            status["daemon"]["sources"][1]["condition"] == "Invalid"
        });
        assert_eq!(daemon.source(0)["condition"], "Valid");
        assert_eq!(daemon.findings().len(), 1);
        fs::remove_file(one.join("d2.yaml")).unwrap();
        write(&one, 1, 3);
        wait_for(&[(1, 3), (2, 2), (3, 2)]);
        // A document that moves from one to the other is never missing.
        write(&one, 3, 2);
        fs::remove_file(two.join("d3.yaml")).unwrap();
        daemon.eventually("the second is empty", |status| {
            status["daemon"]["sources"][1]["condition"] == "Empty"
        });
        assert_ours(&[(1, 3), (2, 2), (3, 2)]);
        write(&two, 4, 2);
        wait_for(&[(1, 3), (3, 2), (4, 2)]);
    });
}

/// A single file, the way it is saved by editors: another file is renamed over it.
#[test]
fn a_source_that_is_a_file_is_followed_when_it_is_replaced() {
    on_a_node(|srsync| {
        let directory = below(srsync, "routes", &[(1, 2)]);
        let file = directory.join("d1.yaml");
        let daemon = Daemon::on(srsync, &[&file], "");
        for gateway in 3..8 {
            let next = directory.join("d1.yaml~");
            fs::write(&next, document("d1", 1, gateway)).unwrap();
            fs::rename(&next, &file).unwrap();
            wait_for(&[(1, gateway)]);
        }
        fs::remove_file(&file).unwrap();
        daemon.wait_for_condition("Unreadable");
        assert_ours(&[(1, 7)]);
        // Beside it there may be anything.
        write(&directory, 2, 2);
        write(&directory, 1, 3);
        wait_for(&[(1, 3)]);
    });
}
