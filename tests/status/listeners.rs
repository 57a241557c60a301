//! The socket's file: who may use it, and whose it is.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;

use srsync::status::Listeners;

use super::Folder;

#[test]
fn the_file_is_for_its_owner_and_the_group_and_goes_with_its_guard() {
    let folder = Folder::new();
    let path = folder.0.join("run/srsync/srsync.sock");
    let (mut listeners, problems) = Listeners::bind(None, &path);
    assert!(problems.is_empty(), "{problems:?}");
    let metadata = std::fs::metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o660);
    let parent = std::fs::metadata(path.parent().unwrap()).unwrap();
    assert_eq!(parent.permissions().mode() & 0o022, 0);

    let guard = listeners.socket_guard().unwrap();
    drop(listeners);
    assert!(path.exists());
    drop(guard);
    assert!(!path.exists());
}

#[test]
fn without_a_guard_taken_the_file_goes_with_the_listeners() {
    let folder = Folder::new();
    let (listeners, _) = Listeners::bind(None, &folder.socket());
    assert!(folder.socket().exists());
    drop(listeners);
    assert!(!folder.socket().exists());
}

#[test]
fn what_a_killed_daemon_left_behind_is_replaced() {
    let folder = Folder::new();
    // A listener does not remove its file.
    drop(UnixListener::bind(folder.socket()).unwrap());
    let (listeners, problems) = Listeners::bind(None, &folder.socket());
    assert!(problems.is_empty(), "{problems:?}");
    std::os::unix::net::UnixStream::connect(folder.socket()).unwrap();
    drop(listeners);
}

#[test]
fn where_somebody_answers_nothing_is_taken_away() {
    let folder = Folder::new();
    let other = UnixListener::bind(folder.socket()).unwrap();
    let (mut listeners, problems) = Listeners::bind(None, &folder.socket());
    let path = folder.socket();
    assert_eq!(
        problems[0].to_string(),
        format!(
            "somebody listens on {} already, perhaps another srsync: `srsync status`, `events` and \
             `reload` do not reach this daemon; choose another path with `socket` (--socket)",
            path.display()
        )
    );
    assert!(listeners.socket_guard().is_none());
    drop(listeners);
    std::os::unix::net::UnixStream::connect(&path).unwrap();
    drop(other);
}

#[test]
fn a_file_that_is_no_socket_stays() {
    let folder = Folder::new();
    std::fs::write(folder.socket(), "precious").unwrap();
    let (_, problems) = Listeners::bind(None, &folder.socket());
    let problem = problems[0].to_string();
    assert!(problem.contains("is there and is no socket"), "{problem}");
    let left = std::fs::read_to_string(folder.socket()).unwrap();
    assert_eq!(left, "precious");
}

#[test]
fn a_guard_leaves_the_file_of_a_successor() {
    let folder = Folder::new();
    let (mut listeners, _) = Listeners::bind(None, &folder.socket());
    let guard = listeners.socket_guard();
    std::fs::rename(folder.socket(), folder.0.join("old.sock")).unwrap();
    let (successor, problems) = Listeners::bind(None, &folder.socket());
    assert!(problems.is_empty(), "{problems:?}");
    drop(guard);
    assert!(folder.socket().exists());
    drop(successor);
}

#[test]
fn what_cannot_be_had_is_said_and_the_rest_is_there() {
    let folder = Folder::new();
    let too_long = folder.0.join("x".repeat(200));
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap();
    let (listeners, problems) = Listeners::bind(Some(taken), &too_long);
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(problems[0].starts_with(&format!("cannot listen on {taken} (")));
    assert!(
        problems[0].contains("`listen` (--listen)"),
        "{}",
        problems[0]
    );
    assert!(problems[1].contains("(--socket)"), "{}", problems[1]);
    assert_eq!(listeners.http_address(), None);

    let (listeners, problems) = Listeners::bind(Some(taken), &folder.socket());
    assert_eq!(problems.len(), 1);
    assert!(folder.socket().exists());
    drop(listeners);
}
