//! What people and programs do to files, and what becomes of the routes.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::node::{BROKEN, assert_ours, document, on_a_node, ours, spec, wait_for};
use crate::support::daemon::Daemon;
use crate::support::ip;
use crate::support::tables::wait_until;
use crate::support::watch::Changes;

#[test]
fn what_is_added_edited_and_deleted_arrives_in_the_kernel() {
    on_a_node(|srsync| {
        srsync.document("a", &spec(1, 2));
        let daemon = Daemon::start(srsync, "");
        assert_ours(&[(1, 2)]);
        srsync.document("b", &spec(2, 2));
        wait_for(&[(1, 2), (2, 2)]);
        srsync.document("b", &spec(2, 3));
        wait_for(&[(1, 2), (2, 3)]);
        srsync.without("a");
        wait_for(&[(2, 3)]);
        let status = daemon.eventually("it is in sync", |status| status["inSync"] == true);
        assert_eq!(status["summary"]["states"]["Installed"], 2);
        assert_eq!(daemon.wait_for_condition("Valid"), "");
    });
}

/// A document is what it says, not the file in which it says it.
#[test]
fn a_renamed_file_changes_nothing_and_one_that_is_no_document_any_more_takes_its_routes_away() {
    on_a_node(|srsync| {
        srsync.document("a", &spec(1, 2));
        srsync.document("b", &spec(2, 2));
        let daemon = Daemon::start(srsync, "");
        let changes = Changes::watch();
        let path = |name| srsync.directory().join(name);
        fs::rename(path("a.yaml"), path("z.yml")).unwrap();
        daemon.eventually("the document is in the other file", |status| {
            let file = status["documents"][0]["file"].as_str();
            file.is_some_and(|file| file.ends_with("z.yml"))
        });
        assert_eq!(changes.count(), 0);
        fs::rename(path("z.yml"), path("z.disabled")).unwrap();
        wait_for(&[(2, 2)]);
    });
}

#[test]
fn a_broken_file_keeps_its_routes_while_others_progress_and_nothing_is_removed() {
    on_a_node(|srsync| {
        for n in 1..=3 {
            srsync.document(&format!("d{n}"), &spec(n, 2));
        }
        let daemon = Daemon::start(srsync, "");
        srsync.file("d1.yaml", BROKEN);
        let said = daemon.wait_for_condition("Invalid");
        assert!(said.starts_with("d1.yaml has 1 error; "), "{said}");
        assert!(said.contains("nothing is removed"), "{said}");
        assert_eq!(
            daemon.findings(),
            ["d1.yaml:1:22: not valid YAML: `[` is not closed"]
        );

        srsync.document("d2", &spec(2, 3));
        srsync.document("d4", &spec(4, 2));
        srsync.without("d3");
        wait_for(&[(1, 2), (2, 3), (3, 2), (4, 2)]);
        let withheld = |status: &serde_json::Value| status["summary"]["withhold"] == 2;
        let status = daemon.eventually("the removals are withheld", withheld);
        let why = status["removalsWithheld"]["message"].as_str().unwrap();
        assert!(why.contains("d1.yaml has 1 error"), "{why}");
        assert_eq!(daemon.metric("srsync_removals_withheld"), 2);
        // Also what is broken is defended as it last was good.
        ip("route del 198.18.1.0/24 proto 83");
        wait_for(&[(1, 2), (2, 3), (3, 2), (4, 2)]);

        srsync.document("d1", &spec(1, 4));
        wait_for(&[(1, 4), (2, 3), (4, 2)]);
        daemon.wait_for_condition("Valid");
        assert_eq!(daemon.events("sourceInvalid").len(), 2);
        assert_eq!(daemon.events("sourceValid").len(), 1);
    });
}

/// The one who breaks a file may be the one who then deletes it.
#[test]
fn a_broken_file_that_is_deleted_takes_its_routes_with_it() {
    on_a_node(|srsync| {
        srsync.document("a", &spec(1, 2));
        srsync.document("b", &spec(2, 2));
        let daemon = Daemon::start(srsync, "");
        srsync.file("a.yaml", BROKEN);
        daemon.wait_for_condition("Invalid");
        srsync.without("a");
        wait_for(&[(2, 2)]);
        daemon.wait_for_condition("Valid");
    });
}

/// After a reboot of the daemon nothing is known of what a broken file said before. The kernel still
/// has its routes.
#[test]
fn started_on_a_broken_file_it_installs_the_others_and_leaves_what_it_owns() {
    on_a_node(|srsync| {
        srsync.document("a", &spec(1, 2));
        srsync.converge();
        srsync.file("a.yaml", BROKEN);
        srsync.document("b", &spec(2, 2));
        let daemon = Daemon::start(srsync, "");
        assert_ours(&[(1, 2), (2, 2)]);
        let said = daemon.wait_for_condition("Invalid");
        assert!(said.contains("a.yaml has 1 error"), "{said}");
        let status = daemon.status();
        assert_eq!(status["inSync"], false);
        assert_eq!(status["summary"]["withhold"], 2);
        srsync.document("a", &spec(3, 2));
        wait_for(&[(2, 2), (3, 2)]);
    });
}

/// All that is wrong is said at once, each with its place, and each time only what is new.
#[test]
fn mistakes_are_shown_with_their_places_until_they_are_corrected() {
    on_a_node(|srsync| {
        srsync.document("good", &spec(1, 2));
        let daemon = Daemon::start(srsync, "");
        srsync.file(
            "bad.yaml",
            "apiVersion: srsync.dev/v1alpha1\nkind: StaticRoute\nmetadata: {name: bad}\nspec:\n  \
             destinations: [10.1.2.3/16]\n  gatway: 10.0.1.2\n",
        );
        daemon.wait_for_condition("Invalid");
        let findings = daemon.findings();
        assert!(findings[0].starts_with("bad.yaml:5:18: "), "{findings:?}");
        assert!(findings[1].starts_with("bad.yaml:6:3: "), "{findings:?}");
        let told = daemon.events("sourceInvalid");
        let place = |event: &serde_json::Value| (event["line"].as_u64(), event["column"].as_u64());
        let places: Vec<_> = told.iter().map(place).collect();
        assert!(places.contains(&(Some(5), Some(18))), "{told:#?}");
        assert!(places.contains(&(Some(6), Some(3))), "{told:#?}");
        let before = told.len();
        srsync.file("bad.yaml", &document("bad", 2, 2));
        wait_for(&[(1, 2), (2, 2)]);
        assert_eq!(daemon.findings(), [""; 0]);
        assert_eq!(daemon.events("sourceInvalid").len(), before);
    });
}

#[test]
fn files_that_are_touched_or_written_with_the_same_text_cause_no_pass() {
    on_a_node(|srsync| {
        srsync.document("a", &spec(1, 2));
        let daemon = Daemon::start(srsync, "");
        let (passes, changes) = (daemon.passes("sources"), Changes::watch());
        let path = srsync.directory().join("a.yaml");
        let text = document("a", 1, 2);
        let quiet = || std::thread::sleep(Duration::from_millis(300));
        File::options().append(true).open(&path).unwrap();
        quiet();
        fs::write(&path, &text).unwrap();
        quiet();
        fs::write(srsync.directory().join(".a.yaml.swp"), &text).unwrap();
        fs::rename(srsync.directory().join(".a.yaml.swp"), &path).unwrap();
        quiet();
        fs::write(srsync.directory().join("README"), "not a document").unwrap();
        quiet();
        assert_eq!(changes.count(), 0);
        // The first that says something else is the first that counts.
        srsync.document("a", &spec(1, 3));
        wait_for(&[(1, 3)]);
        wait_until("the pass is counted", || {
            daemon.passes("sources") == passes + 1
        });
    });
}

/// `kubectl … > file`, `scp`, an editor over a slow line: for a while there is less in the file
/// than there will be.
#[test]
fn a_file_that_is_written_slowly_never_loses_a_route() {
    on_a_node(|srsync| {
        let documents = |numbers: std::ops::RangeInclusive<u16>| -> String {
            let each = numbers.map(|n| document(&format!("d{n}"), n, 2) + "---\n");
            each.collect()
        };
        srsync.file("all.yaml", &documents(1..=4));
        let _daemon = Daemon::start(srsync, "--debounce 20ms");
        let all: Vec<(u16, u8)> = (1..=4).map(|n| (n, 2)).collect();
        assert_ours(&all);
        let changes = Changes::watch();
        // Half of it has no mistake in it: nothing but the writer says that there is more to come.
        let (first, rest) = (documents(1..=2), documents(3..=5));
        let mut file = File::create(srsync.directory().join("all.yaml")).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        for part in [first, rest] {
            file.write_all(part.as_bytes()).unwrap();
            std::thread::sleep(Duration::from_millis(300));
            assert_ours(&all);
        }
        drop(file);
        let all: Vec<(u16, u8)> = (1..=5).map(|n| (n, 2)).collect();
        wait_for(&all);
        assert_eq!(changes.removals(), 0);
    });
}

/// A copy that broke off leaves an empty file behind, and a half one at best by chance.
#[test]
fn a_file_that_was_emptied_keeps_its_routes_and_is_shown() {
    on_a_node(|srsync| {
        srsync.document("a", &spec(1, 2));
        srsync.document("b", &spec(2, 2));
        let daemon = Daemon::start(srsync, "");
        srsync.file("a.yaml", "");
        let said = daemon.wait_for_condition("Invalid");
        assert!(said.contains("a.yaml has 1 error"), "{said}");
        assert_eq!(
            daemon.findings(),
            ["a.yaml: the file is empty; what it held before stays in force"]
        );
        assert_ours(&[(1, 2), (2, 2)]);
        srsync.document("a", &spec(1, 3));
        wait_for(&[(1, 3), (2, 2)]);
    });
}

#[test]
fn included_lists_count_like_the_documents_that_name_them() {
    on_a_node(|srsync| {
        let gateways = "gateways: [{address: 10.0.1.2}, {address: 'fd00:1::2'}]";
        let spec = format!("destinationsFrom: [{{file: lists.txt}}], {gateways}");
        let list = |numbers: &[u16]| -> String {
            let lines = numbers.iter();
            let lines = lines.map(|n| format!("198.18.{n}.0/24\n2001:db8:{n}::/64\n"));
            lines.collect()
        };
        srsync.file("lists.txt", &list(&[1]));
        srsync.document("a", &spec);
        let daemon = Daemon::start(srsync, "");
        assert_ours(&[(1, 2)]);
        srsync.file("lists.txt", &list(&[1, 2, 3]));
        wait_for(&[(1, 2), (2, 2), (3, 2)]);
        srsync.file("lists.txt", &list(&[2, 3]));
        wait_for(&[(2, 2), (3, 2)]);

        // A mistake in the list is a mistake of the document, with the place in the list.
        srsync.file("lists.txt", "198.18.2.0/24\n198.18.3.7/24\n");
        daemon.wait_for_condition("Invalid");
        let findings = daemon.findings();
        assert!(findings[0].starts_with("lists.txt:2:1: "), "{findings:?}");
        assert_ours(&[(2, 2), (3, 2)]);

        fs::remove_file(srsync.directory().join("lists.txt")).unwrap();
        daemon.eventually("the list is missed", |_| {
            daemon.findings()[0].contains("cannot read the destinations")
        });
        assert_ours(&[(2, 2), (3, 2)]);
        srsync.file("lists.txt", &list(&[4]));
        wait_for(&[(4, 2)]);
    });
}

/// Two files that claim to be the same document: it is not for us to say which one is meant.
#[test]
fn a_document_that_is_there_twice_stays_as_it_was() {
    on_a_node(|srsync| {
        srsync.document("a", &spec(1, 2));
        let daemon = Daemon::start(srsync, "");
        srsync.file("copy.yaml", &document("a", 1, 3));
        daemon.wait_for_condition("Invalid");
        let findings = daemon.findings();
        assert!(findings.iter().any(|said| said.starts_with("copy.yaml:")));
        assert_ours(&[(1, 2)]);
        srsync.without("a");
        wait_for(&[(1, 3)]);
    });
}

/// Of two documents that want one slot the first by name has it; when it goes the other follows,
/// without a moment in between.
#[test]
fn the_loser_of_a_conflict_takes_over_when_the_winner_goes() {
    on_a_node(|srsync| {
        srsync.document("a", &spec(1, 2));
        srsync.document("b", &spec(1, 3));
        let daemon = Daemon::start(srsync, "");
        assert_ours(&[(1, 2)]);
        let status = daemon.status();
        assert_eq!(status["summary"]["states"]["Conflict"], 2);
        let changes = Changes::watch();
        srsync.without("a");
        wait_for(&[(1, 3)]);
        assert_eq!(changes.removals(), 0);
        srsync.document("a", &spec(1, 2));
        wait_for(&[(1, 2)]);
        assert_eq!(ours().len(), 2);
    });
}

/// A daemon has given up the privilege to read whatever it likes.
#[test]
fn a_file_that_may_not_be_read_any_more_keeps_its_routes() {
    on_a_node(|srsync| {
        srsync.document("a", &spec(1, 2));
        srsync.document("b", &spec(2, 2));
        let daemon = Daemon::start(srsync, "");
        let file = srsync.directory().join("a.yaml");
        let allow = |mode| fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        allow(0o000);
        daemon.wait_for_condition("Invalid");
        let findings = daemon.findings();
        assert!(
            findings[0].starts_with("a.yaml: cannot read the file: Permission denied"),
            "{findings:?}"
        );
        srsync.document("b", &spec(2, 3));
        wait_for(&[(1, 2), (2, 3)]);
        allow(0o600);
        daemon.wait_for_condition("Valid");
        assert_ours(&[(1, 2), (2, 3)]);
    });
}

#[test]
fn without_room_for_watches_sources_are_polled_and_that_is_said() {
    on_a_node(|srsync| {
        let blackhole = |n| format!("destinations: [198.18.{n}.0/24], type: blackhole");
        srsync.document("a", &blackhole(1));
        let daemon = Daemon::start_without_watches(srsync);
        let status = daemon.status();
        let why = status["daemon"]["polling"].as_str().unwrap();
        assert!(why.contains("fs.inotify.max_user_watches"), "{why}");
        assert!(
            daemon.log().contains("read every second"),
            "{}",
            daemon.log()
        );
        srsync.document("b", &blackhole(2));
        daemon.wait_for_state("198.18.2.0/24", "Installed");
        drop(daemon);
        srsync.run("flush --yes").exits(0);
    });
}
