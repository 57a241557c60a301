//! What one reading makes of the things that a directory can hold besides good documents.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use srsync::model::Names;
use srsync::source::{LARGEST, Loaded, PathArg, load};

use super::{Dir, route};

fn load_directory(dir: &Dir) -> Loaded {
    load_paths(&[&dir.0])
}

fn load_paths(paths: &[&Path]) -> Loaded {
    let paths: Vec<PathArg> = paths
        .iter()
        .map(|path| PathArg::Path(path.to_path_buf()))
        .collect();
    load(&paths, &mut std::io::empty(), &Names::default())
}

fn names(loaded: &Loaded) -> Vec<&str> {
    loaded
        .documents
        .iter()
        .map(|document| document.id.name.as_str())
        .collect()
}

/// The only finding, after checking that the good document next to it was still read.
fn only_message(loaded: &Loaded) -> &str {
    assert_eq!(names(loaded), ["good"], "{:?}", loaded.diagnostics);
    assert!(!loaded.is_complete());
    let [only] = loaded.diagnostics.as_slice() else {
        panic!("{:?}", loaded.diagnostics);
    };
    &only.message
}

/// A directory with one good document and whatever `bad` adds.
fn beside_a_good_one(bad: impl FnOnce(&Dir)) -> (Dir, Loaded) {
    let dir = Dir::new();
    dir.write("good.yaml", route("good"));
    bad(&dir);
    let start = Instant::now();
    let loaded = load_directory(&dir);
    assert!(start.elapsed() < Duration::from_secs(5), "it hung");
    (dir, loaded)
}

#[test]
fn a_fifo_is_a_finding_and_not_a_hang() {
    let (_dir, loaded) = beside_a_good_one(|dir| {
        let mode = nix::sys::stat::Mode::S_IRUSR;
        nix::unistd::mkfifo(&dir.0.join("pipe.yaml"), mode).unwrap();
    });
    assert!(only_message(&loaded).contains("named pipe"));
}

#[test]
fn a_directory_that_is_named_like_a_document_is_a_finding() {
    let (_dir, loaded) = beside_a_good_one(|dir| fs::create_dir(dir.0.join("x.yaml")).unwrap());
    assert!(only_message(&loaded).contains("it is a directory"));
}

#[test]
fn a_dangling_link_says_where_it_points() {
    let (_dir, loaded) = beside_a_good_one(|dir| symlink("gone", dir.0.join("x.yaml")).unwrap());
    assert!(only_message(&loaded).contains("symbolic link to `gone`"));
}

#[test]
fn a_link_that_points_at_itself_is_a_finding() {
    let (_dir, loaded) = beside_a_good_one(|dir| symlink("x.yaml", dir.0.join("x.yaml")).unwrap());
    assert!(only_message(&loaded).contains("cannot read the file"));
}

#[test]
fn a_device_is_not_read() {
    let (_dir, loaded) =
        beside_a_good_one(|dir| symlink("/dev/zero", dir.0.join("x.yaml")).unwrap());
    assert!(only_message(&loaded).contains("it is a device"));
}

#[test]
fn text_that_is_not_utf8_is_located() {
    let (_dir, loaded) =
        beside_a_good_one(|dir| drop(dir.write("x.yaml", b"a: 1\nb: \xe9t\xe9\n")));
    assert!(only_message(&loaded).contains("0xe9 at byte 4 of line 2"));
}

#[test]
fn a_file_over_the_limit_is_refused_by_its_size() {
    let (_dir, loaded) = beside_a_good_one(|dir| {
        let file = fs::File::create(dir.0.join("x.yaml")).unwrap();
        file.set_len(LARGEST + (1 << 20)).unwrap();
    });
    assert!(only_message(&loaded).contains("it is 33 MiB, and at most 32 MiB are read"));
}

#[test]
fn endless_standard_input_is_cut_off() {
    let loaded = load(
        &[PathArg::Stdin],
        &mut std::io::repeat(b' '),
        &Names::default(),
    );
    assert!(loaded.diagnostics[0].message.contains("more than 32 MiB"));
}

#[test]
fn standard_input_is_read_like_a_file() {
    let text = route("piped");
    let loaded = load(&["-".into()], &mut text.as_bytes(), &Names::default());
    assert_eq!(names(&loaded), ["piped"]);
    assert_eq!(&*loaded.files[0].path, "<stdin>");
}

#[test]
fn standard_input_has_no_directory_to_include_from() {
    let text = route("piped").replace(
        "destinations: [192.0.2.0/24]",
        "destinationsFrom: [{file: a}]",
    );
    let loaded = load(&["-".into()], &mut text.as_bytes(), &Names::default());
    assert!(
        loaded.diagnostics[0]
            .message
            .contains("does not work in standard input")
    );
}

/// kubelet mounts a ConfigMap as links into a hidden directory that it swaps as a whole.
#[test]
fn a_mounted_configmap_is_read_once_through_its_links() {
    let dir = Dir::new();
    let list = "destinationsFrom: [{file: partners.txt}]";
    let document = route("mounted").replace("destinations: [192.0.2.0/24]", list);
    dir.write("..2026_08_01/route.yaml", document);
    dir.write("..2026_08_01/partners.txt", "198.51.100.0/24\n");
    symlink("..2026_08_01", dir.0.join("..data")).unwrap();
    symlink("..data/route.yaml", dir.0.join("route.yaml")).unwrap();
    symlink("..data/partners.txt", dir.0.join("partners.txt")).unwrap();
    let loaded = load_directory(&dir);
    assert!(loaded.is_complete(), "{:?}", loaded.diagnostics);
    assert_eq!(names(&loaded), ["mounted"]);
    let labels: Vec<&str> = loaded.files.iter().map(|file| &*file.label).collect();
    assert_eq!(labels, ["route.yaml", "partners.txt"]);
}

#[test]
fn a_file_that_is_reached_twice_is_read_once() {
    let dir = Dir::new();
    let file = dir.write("a.yaml", route("a"));
    symlink("a.yaml", dir.0.join("b.yaml")).unwrap();
    let loaded = load_paths(&[&dir.0, &file]);
    assert!(loaded.is_complete(), "{:?}", loaded.diagnostics);
    assert_eq!(names(&loaded), ["a"]);
    assert_eq!(loaded.files.len(), 1);
}

#[test]
fn a_path_that_does_not_exist_suggests_its_neighbour() {
    let dir = Dir::new();
    dir.write("routes.yaml", route("a"));
    let loaded = load_paths(&[&dir.0.join("route.yaml")]);
    let [only] = loaded.diagnostics.as_slice() else {
        panic!("{:?}", loaded.diagnostics);
    };
    assert!(only.message.contains("no such file or directory"));
    assert!(only.help.as_ref().unwrap().contains("routes.yaml"));
    assert!(!loaded.is_complete());
}

#[test]
fn an_empty_directory_is_complete_and_known_to_be_empty() {
    let dir = Dir::new();
    dir.write("README.md", "no document");
    let loaded = load_directory(&dir);
    assert!(loaded.is_complete());
    assert_eq!(loaded.sources, [(PathArg::Path(dir.0.clone()), 0)]);
}

#[test]
fn names_are_short_for_one_directory_and_whole_for_several() {
    let (a, b) = (Dir::new(), Dir::new());
    a.write("x.yaml", route("x"));
    b.write("y.yaml", route("y"));
    assert_eq!(&*load_directory(&a).files[0].label, "x.yaml");
    let both = load_paths(&[&a.0, &b.0]);
    assert_eq!(both.files[0].label, both.files[0].path);
    assert!(both.files[0].path.ends_with("/x.yaml"));
}

#[test]
fn documents_of_one_name_are_both_left_out() {
    let dir = Dir::new();
    dir.write("a.yaml", route("same"));
    dir.write("b.yaml", route("same"));
    dir.write("c.yaml", route("other"));
    let loaded = load_directory(&dir);
    assert_eq!(names(&loaded), ["other"]);
    let related = loaded.diagnostics[0].related.as_ref().unwrap();
    assert_eq!(&*loaded.name(related.spot.file).unwrap().label, "a.yaml");
}
