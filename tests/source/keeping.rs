//! What stays in force while files are edited, broken, mended and lost.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use caps::{CapSet, Capability};
use srsync::model::{Names, Timestamp};
use srsync::source::{Condition, Keeper, Snapshot, SourceState};

use super::{Dir, route};

/// A keeper with a clock that ticks with every reading.
pub(crate) struct Watched {
    pub(crate) keeper: Keeper,
    names: Names,
    allow_empty: bool,
    now: u64,
}

impl Watched {
    pub(crate) fn new(paths: &[&Path]) -> Self {
        Self {
            keeper: Keeper::new(paths.iter().map(|path| path.to_path_buf()).collect()),
            names: Names::default(),
            allow_empty: false,
            now: 0,
        }
    }

    pub(crate) fn refresh(&mut self) -> Option<Snapshot> {
        self.now += 1;
        let now = Timestamp::from_millis(self.now);
        self.keeper.refresh(&self.names, self.allow_empty, now)
    }

    /// What changed, as something did.
    pub(crate) fn fresh(&mut self) -> Snapshot {
        let snapshot = self.refresh().expect("nothing changed");
        assert_eq!(self.refresh(), None, "it changed twice");
        assert_eq!(snapshot.is_complete(), snapshot.incomplete().is_none());
        snapshot
    }
}

pub(crate) fn refresh(keeper: &mut Keeper, allow_empty: bool) -> Option<Snapshot> {
    keeper.refresh(&Names::default(), allow_empty, Timestamp::default())
}

pub(crate) fn names(snapshot: &Snapshot) -> Vec<&str> {
    let documents = snapshot.documents.iter();
    documents.map(|document| &*document.id.name).collect()
}

fn only_source(snapshot: &Snapshot) -> &SourceState {
    let [only] = snapshot.sources.as_slice() else {
        panic!("{:?}", snapshot.sources);
    };
    only
}

fn messages(snapshot: &Snapshot) -> Vec<&str> {
    let diagnostics = snapshot.diagnostics.iter();
    diagnostics.map(|found| &*found.message).collect()
}

/// A directory with `a` and `b` in a file each, already read.
fn two_files() -> (Dir, Watched) {
    let dir = Dir::new();
    dir.write("a.yaml", route("a"));
    dir.write("b.yaml", route("b"));
    let mut watched = Watched::new(&[&dir.0]);
    let first = watched.fresh();
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first.incomplete(), None);
    (dir, watched)
}

const BROKEN: &str = "kind: StaticRoute\nmetadata: {name: broken}\n";

fn broken(name: &str) -> String {
    route(name).replace("192.0.2.0/24", "192.0.2.1/24")
}

/// A document whose destinations are in a file.
pub(crate) fn including(name: &str, list: &str) -> String {
    let destinations = format!("destinationsFrom: [{{file: {list}}}]");
    route(name).replace("destinations: [192.0.2.0/24]", &destinations)
}

fn destinations(snapshot: &Snapshot, name: &str) -> usize {
    let document = snapshot.documents.iter().find(|d| d.id.name == name);
    document.unwrap().destinations.len()
}

#[test]
fn a_file_that_is_written_again_with_the_same_text_is_no_change() {
    let (dir, mut watched) = two_files();
    dir.write("a.yaml", route("a"));
    assert_eq!(watched.refresh(), None);
    dir.write("README.md", "no document");
    assert_eq!(watched.refresh(), None);
    dir.write("a.yaml", route("a") + "# a comment behind everything\n");
    assert_eq!(watched.refresh(), None);
}

#[test]
fn a_document_that_moves_to_another_line_is_a_change() {
    let (dir, mut watched) = two_files();
    dir.write("a.yaml", format!("# a comment\n{}", route("a")));
    assert_eq!(watched.fresh().documents[0].place.line, 2);
}

#[test]
fn a_broken_file_counts_as_it_last_was_good() {
    let (dir, mut watched) = two_files();
    dir.write("b.yaml", format!("{}---\n{}", route("c"), broken("d")));
    let now = watched.fresh();
    assert_eq!(names(&now), ["a", "b"]);
    assert_eq!(now.diagnostics.len(), 1);
    let source = only_source(&now);
    assert_eq!(source.condition, Condition::Invalid);
    let message = source.message.as_deref().unwrap();
    assert!(message.starts_with("b.yaml has 1 error; "), "{message}");
    let path = dir.0.join("b.yaml");
    let why = format!("{} has 1 error", path.display());
    assert_eq!(now.incomplete(), Some(why));

    dir.write("b.yaml", route("c"));
    let now = watched.fresh();
    assert_eq!(names(&now), ["a", "c"]);
    assert_eq!(now.incomplete(), None);
    assert_eq!(only_source(&now).message, None);
}

#[test]
fn of_a_file_that_was_never_good_the_valid_documents_count() {
    let dir = Dir::new();
    dir.write("a.yaml", route("a"));
    dir.write("b.yaml", format!("{}---\n{}", route("b"), broken("c")));
    let mut watched = Watched::new(&[&dir.0]);
    let now = watched.fresh();
    assert_eq!(names(&now), ["a", "b"]);
    assert_eq!(only_source(&now).condition, Condition::Invalid);
    dir.write("b.yaml", format!("{}---\n{}", route("d"), broken("c")));
    assert_eq!(names(&watched.fresh()), ["a", "d"]);
    fs::write(dir.0.join("b.yaml"), b"\xff").unwrap();
    assert_eq!(names(&watched.fresh()), ["a", "d"], "it says nothing now");
}

#[test]
fn a_file_that_can_no_longer_be_read_counts_as_it_was() {
    for lose in [
        |path: &Path| symlink("gone", path).unwrap(),
        |path: &Path| fs::create_dir(path).unwrap(),
        |path: &Path| fs::write(path, b"\xff\xfe").unwrap(),
    ] {
        let (dir, mut watched) = two_files();
        fs::remove_file(dir.0.join("b.yaml")).unwrap();
        lose(&dir.0.join("b.yaml"));
        let now = watched.fresh();
        assert_eq!(names(&now), ["a", "b"]);
        assert_eq!(only_source(&now).condition, Condition::Invalid);
        assert_eq!(now.diagnostics.len(), 1);
    }
}

#[test]
fn a_file_that_is_deleted_takes_its_documents_along() {
    let (dir, mut watched) = two_files();
    fs::remove_file(dir.0.join("b.yaml")).unwrap();
    let now = watched.fresh();
    assert_eq!(names(&now), ["a"]);
    assert_eq!(now.incomplete(), None);
}

#[test]
fn a_broken_file_that_is_deleted_takes_its_documents_along() {
    let (dir, mut watched) = two_files();
    dir.write("b.yaml", BROKEN);
    assert_eq!(names(&watched.fresh()), ["a", "b"]);
    fs::remove_file(dir.0.join("b.yaml")).unwrap();
    let now = watched.fresh();
    assert_eq!(names(&now), ["a"]);
    assert_eq!(now.incomplete(), None);
}

#[test]
fn a_source_that_is_a_file_and_disappears_stays_in_force() {
    let dir = Dir::new();
    let file = dir.write("a.yaml", route("a"));
    let mut watched = Watched::new(&[&file]);
    assert_eq!(names(&watched.fresh()), ["a"]);
    fs::remove_file(&file).unwrap();
    let now = watched.fresh();
    assert_eq!(names(&now), ["a"]);
    let source = only_source(&now);
    assert_eq!(source.condition, Condition::Unreadable);
    assert_eq!((source.files, source.documents), (1, 1));
    dir.write("a.yaml", route("b"));
    assert_eq!(names(&watched.fresh()), ["b"]);
}

#[test]
fn a_directory_that_disappears_stays_in_force() {
    let (dir, mut watched) = two_files();
    let away = dir.0.with_extension("away");
    fs::rename(&dir.0, &away).unwrap();
    let now = watched.fresh();
    assert_eq!(names(&now), ["a", "b"]);
    let source = only_source(&now);
    assert_eq!(source.condition, Condition::Unreadable);
    assert_eq!(
        source.message.as_deref().unwrap(),
        "there is no such file or directory; its last good documents stay in force and nothing is removed"
    );
    assert_eq!((source.files, source.documents), (2, 2));
    let why = now.incomplete().unwrap();
    let begins = format!("{} cannot be read: there is no such", dir.0.display());
    assert!(why.starts_with(&begins), "{why}");

    fs::remove_file(away.join("b.yaml")).unwrap();
    fs::rename(&away, &dir.0).unwrap();
    let now = watched.fresh();
    assert_eq!(names(&now), ["a"]);
    assert_eq!(now.incomplete(), None);
}

/// Root may read everything, unless it gives that up.
fn without_overriding<T>(work: impl FnOnce() -> T) -> T {
    for capability in [
        Capability::CAP_DAC_OVERRIDE,
        Capability::CAP_DAC_READ_SEARCH,
    ] {
        caps::drop(None, CapSet::Effective, capability).unwrap();
    }
    let result = work();
    for capability in [
        Capability::CAP_DAC_OVERRIDE,
        Capability::CAP_DAC_READ_SEARCH,
    ] {
        caps::raise(None, CapSet::Effective, capability).unwrap();
    }
    result
}

#[test]
fn permissions_that_are_lost_take_nothing_along() {
    let (dir, mut watched) = two_files();
    let allow = |path: &Path, mode| {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    without_overriding(|| {
        allow(&dir.0, 0o300);
        let now = watched.fresh();
        assert_eq!(names(&now), ["a", "b"]);
        assert_eq!(only_source(&now).condition, Condition::Unreadable);
        assert!(messages(&now)[0].starts_with("cannot read the directory: Permission denied"));
        allow(&dir.0, 0o000);
        assert!(
            watched
                .refresh()
                .is_none_or(|now| names(&now) == ["a", "b"])
        );
        allow(&dir.0, 0o700);
        assert_eq!(watched.fresh().incomplete(), None);

        allow(&dir.0.join("b.yaml"), 0o000);
        let now = watched.fresh();
        assert_eq!(names(&now), ["a", "b"]);
        assert_eq!(only_source(&now).condition, Condition::Invalid);
    });
}

#[test]
fn an_empty_directory_has_to_be_allowed() {
    let (dir, mut watched) = two_files();
    fs::remove_file(dir.0.join("a.yaml")).unwrap();
    fs::remove_file(dir.0.join("b.yaml")).unwrap();
    let now = watched.fresh();
    assert_eq!(names(&now), ["a", "b"]);
    let source = only_source(&now);
    assert_eq!(source.condition, Condition::Empty);
    assert_eq!(
        source.message.as_deref().unwrap(),
        "no *.yaml, *.yml or *.json directly in it; its last good documents stay in force and nothing is \
         removed; to mean that, set allowEmpty: true (--allow-empty)"
    );
    assert!(!now.is_complete());

    watched.allow_empty = true;
    let now = watched.fresh();
    assert_eq!(names(&now), [""; 0]);
    assert_eq!(now.incomplete(), None);

    watched.allow_empty = false;
    let now = watched.fresh();
    assert_eq!(only_source(&now).condition, Condition::Empty);
    dir.write("c.yaml", route("c"));
    assert_eq!(names(&watched.fresh()), ["c"]);
}

#[test]
fn a_truncated_file_is_taken_for_one_that_is_being_written() {
    let (dir, mut watched) = two_files();
    dir.write("b.yaml", "");
    let now = watched.fresh();
    assert_eq!(names(&now), ["a", "b"]);
    assert_eq!(
        messages(&now),
        ["the file is empty; what it held before stays in force"]
    );
    assert_eq!(
        now.diagnostics[0].help.as_deref(),
        Some("delete it to remove its routes")
    );
    assert!(!now.is_complete());
    dir.write("b.yaml", "# nothing any more\n");
    let now = watched.fresh();
    assert_eq!(names(&now), ["a"]);
    assert_eq!(now.incomplete(), None);
    dir.write("b.yaml", "");
    assert_eq!(watched.refresh(), None, "it held nothing");
}

#[test]
fn a_file_that_begins_empty_is_just_empty() {
    let dir = Dir::new();
    dir.write("a.yaml", "");
    let mut watched = Watched::new(&[&dir.0]);
    let now = watched.fresh();
    assert_eq!(now.incomplete(), None);
    assert_eq!(only_source(&now).files, 1);
}

#[test]
fn a_list_counts_like_the_file_that_includes_it() {
    let dir = Dir::new();
    let list = dir.write("lists/partners.txt", "198.51.100.0/24\n203.0.113.0/24\n");
    dir.write("a.yaml", including("a", "lists/partners.txt"));
    let mut watched = Watched::new(&[&dir.0]);
    assert_eq!(destinations(&watched.fresh(), "a"), 2);

    fs::write(&list, "198.51.100.0/24\n").unwrap();
    assert_eq!(destinations(&watched.fresh(), "a"), 1);
    for lost in ["", "no address\n", "\u{0}"] {
        fs::write(&list, lost).unwrap();
        let now = watched.fresh();
        assert_eq!(destinations(&now, "a"), 1, "{lost:?}");
        assert_eq!(only_source(&now).condition, Condition::Invalid, "{lost:?}");
    }
    fs::remove_file(&list).unwrap();
    let now = watched.fresh();
    assert_eq!(destinations(&now, "a"), 1);
    assert!(messages(&now)[0].contains("no such file"));
    fs::write(&list, "198.51.100.0/24\n203.0.113.0/24\n").unwrap();
    let now = watched.fresh();
    assert_eq!(destinations(&now, "a"), 2);
    assert_eq!(now.incomplete(), None);
}

/// The document would still be valid without the list, and that is not what is meant.
#[test]
fn a_truncated_list_takes_no_destinations_along() {
    let dir = Dir::new();
    let list = dir.write("list.txt", "198.51.100.0/24\n");
    let both = "destinations: [192.0.2.0/24], destinationsFrom: [{file: list.txt}]";
    let text = route("a").replace("destinations: [192.0.2.0/24]", both);
    dir.write("a.yaml", text);
    let mut watched = Watched::new(&[&dir.0]);
    assert_eq!(destinations(&watched.fresh(), "a"), 2);
    fs::write(&list, "").unwrap();
    let now = watched.fresh();
    assert_eq!(destinations(&now, "a"), 2);
    assert_eq!(only_source(&now).condition, Condition::Invalid);
    fs::write(&list, "# none\n").unwrap();
    assert_eq!(destinations(&watched.fresh(), "a"), 1);
}

#[test]
fn of_two_documents_of_one_name_the_one_before_stays() {
    let (dir, mut watched) = two_files();
    let other = route("a").replace("10.0.0.1", "10.0.0.9");
    dir.write("c.yaml", format!("{other}---\n{}", route("c")));
    let now = watched.fresh();
    assert_eq!(names(&now), ["a", "b", "c"]);
    assert_eq!(
        &*now.files[now.documents[0].place.file.0 as usize].label,
        "a.yaml"
    );
    assert_eq!(messages(&now), ["there are two documents named `a`"]);
    assert_eq!(only_source(&now).condition, Condition::Invalid);

    fs::remove_file(dir.0.join("a.yaml")).unwrap();
    let now = watched.fresh();
    assert_eq!(names(&now), ["a", "b", "c"]);
    assert_eq!(
        &*now.files[now.documents[0].place.file.0 as usize].label,
        "c.yaml"
    );
    assert_eq!(now.incomplete(), None);
}

#[test]
fn of_two_documents_of_one_name_at_the_start_none_counts() {
    let dir = Dir::new();
    dir.write("a.yaml", route("same"));
    dir.write("b.yaml", route("same"));
    dir.write("c.yaml", route("c"));
    let mut watched = Watched::new(&[&dir.0]);
    assert_eq!(names(&watched.fresh()), ["c"]);
    fs::remove_file(dir.0.join("b.yaml")).unwrap();
    assert_eq!(names(&watched.fresh()), ["c", "same"]);
}

#[test]
fn findings_come_in_the_order_of_paths() {
    let dir = Dir::new();
    dir.write("b.yaml", BROKEN);
    let mut watched = Watched::new(&[&dir.0]);
    watched.fresh();
    dir.write("a.yaml", BROKEN);
    let now = watched.fresh();
    let files = now.diagnostics.iter().map(|found| found.file.0 as usize);
    let mut labels: Vec<_> = files.map(|file| &*now.files[file].label).collect();
    labels.dedup();
    assert_eq!(labels, ["a.yaml", "b.yaml"]);
    let text = srsync::spec::render(&now.diagnostics[0], &now.files, false);
    assert!(text.contains("a.yaml:1"), "{text}");
}

#[test]
fn one_bad_source_does_not_hold_up_another() {
    let (good, bad) = (Dir::new(), Dir::new());
    good.write("a.yaml", route("a"));
    bad.write("b.yaml", route("b"));
    let mut watched = Watched::new(&[&good.0, &bad.0]);
    watched.fresh();
    bad.write("b.yaml", BROKEN);
    good.write("a.yaml", route("c"));
    let now = watched.fresh();
    assert_eq!(names(&now), ["b", "c"]);
    let conditions = now.sources.iter().map(|source| source.condition);
    assert_eq!(
        conditions.collect::<Vec<_>>(),
        [Condition::Valid, Condition::Invalid]
    );
    let changed = now.sources.iter().map(|source| source.changed.millis());
    assert_eq!(
        changed.collect::<Vec<_>>(),
        [3, 1],
        "when what is in force changed"
    );
}

#[test]
fn a_file_reached_through_two_sources_is_read_once() {
    let dir = Dir::new();
    let file = dir.write("a.yaml", route("a"));
    symlink("a.yaml", dir.0.join("z.yaml")).unwrap();
    let mut watched = Watched::new(&[&dir.0, &file]);
    let now = watched.fresh();
    assert_eq!(names(&now), ["a"]);
    assert_eq!(now.incomplete(), None);
    let counts = now
        .sources
        .iter()
        .map(|source| (source.files, source.documents));
    assert_eq!(counts.collect::<Vec<_>>(), [(2, 1), (1, 0)]);
}

#[test]
fn other_paths_keep_what_is_known_of_those_that_stay() {
    let (a, b, c) = (Dir::new(), Dir::new(), Dir::new());
    for (dir, name) in [(&a, "a"), (&b, "b"), (&c, "c")] {
        dir.write("x.yaml", route(name));
    }
    let mut watched = Watched::new(&[&a.0, &b.0]);
    assert_eq!(names(&watched.fresh()), ["a", "b"]);
    b.write("x.yaml", BROKEN);
    assert_eq!(names(&watched.fresh()), ["a", "b"]);
    watched.keeper.set_paths(vec![b.0.clone(), c.0.clone()]);
    let now = watched.fresh();
    assert_eq!(names(&now), ["b", "c"]);
    assert_eq!(now.sources[0].changed.millis(), 1);
    watched.keeper.set_paths(vec![c.0.clone()]);
    let now = watched.fresh();
    assert_eq!(names(&now), ["c"]);
    let file = now.documents[0].place.file.0 as usize;
    assert_eq!(
        &*now.files[file].label, "x.yaml",
        "relative to the only one"
    );
}

#[test]
fn a_table_that_is_renamed_is_a_change_of_every_document_that_names_it() {
    let dir = Dir::new();
    let text = route("a").replace("gateway:", "table: uplink, gateway:");
    dir.write("a.yaml", text);
    let mut watched = Watched::new(&[&dir.0]);
    assert_eq!(names(&watched.fresh()), [""; 0]);
    watched.names.add_tables("100 uplink\n");
    let now = watched.fresh();
    assert_eq!(names(&now), ["a"]);
    assert_eq!(now.incomplete(), None);
}

/// What is decided about gateways, as `gateway state`.
fn overrides(snapshot: &Snapshot) -> Vec<String> {
    let overrides = snapshot.overrides.iter();
    overrides
        .map(|one| format!("{} {}", one.gateway, one.state.name()))
        .collect()
}

fn override_of(gateway: &str, state: &str, name: &str) -> String {
    format!(
        "apiVersion: srsync.dev/v1alpha1\nkind: GatewayOverride\nmetadata: {{name: {name}}}\n\
         spec: {{gateway: {gateway}, state: {state}}}\n"
    )
}

#[test]
fn gateway_overrides_are_kept_as_documents_are() {
    let (dir, mut watched) = two_files();
    let drain = override_of("10.0.0.1", "Drained", "a");
    dir.write("overrides.yaml", &drain);
    let date = |now: &Snapshot| only_source(now).changed;
    let first = watched.fresh();
    assert_eq!(overrides(&first), ["10.0.0.1 Drained"]);
    // A file with a mistake counts as it last was good, the whole of it.
    let forced = override_of("10.0.0.2", "ForcedUp", "b");
    dir.write("overrides.yaml", format!("{forced}---\n{}", broken("x")));
    let now = watched.fresh();
    assert_eq!(overrides(&now), ["10.0.0.1 Drained"]);
    assert!(!now.is_complete());
    assert_eq!(date(&now), date(&first));
    // So does one that is being written.
    dir.write("overrides.yaml", "");
    assert_eq!(overrides(&watched.fresh()), ["10.0.0.1 Drained"]);
    dir.write("overrides.yaml", &forced);
    let now = watched.fresh();
    assert_eq!(overrides(&now), ["10.0.0.2 ForcedUp"]);
    assert!(now.is_complete());
    assert!(date(&now) > date(&first));
    // Of two for one gateway neither counts, but what it had.
    dir.write("more.yaml", override_of("10.0.0.2", "Drained", "c"));
    let now = watched.fresh();
    assert_eq!(overrides(&now), ["10.0.0.2 ForcedUp"]);
    assert_eq!(now.diagnostics.len(), 1);
    fs::remove_file(dir.0.join("overrides.yaml")).unwrap();
    assert_eq!(overrides(&watched.fresh()), ["10.0.0.2 Drained"]);
    fs::remove_file(dir.0.join("more.yaml")).unwrap();
    assert!(overrides(&watched.fresh()).is_empty());
}
