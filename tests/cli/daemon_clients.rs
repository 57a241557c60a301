//! Commands that ask a daemon, where there is none, or somebody else.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Command;

use super::{Folder, ROUTES, command, on_a_node, ran, srsync, srsync_line};

/// No daemon of the machine that runs the tests decides their outcome.
const NOWHERE: &str = "/nonexistent/srsync.sock";

#[test]
fn without_a_daemon_the_status_is_that_of_the_kernel() {
    on_a_node(|| {
        let folder = Folder::new(&[("routes.yaml", ROUTES)]);
        srsync(&["apply", folder.path()]).exits(0);
        let ran = srsync_line(&format!("status --socket {NOWHERE}")).exits(0);
        assert!(
            ran.stdout.ends_with("Status: 3 in place.\n"),
            "{}",
            ran.stdout
        );
        assert_eq!(
            ran.stderr,
            "note: no daemon answers at /nonexistent/srsync.sock (--socket); this is what the \
             kernel has\n"
        );
        // Who names documents does not ask for the daemon.
        let ran = srsync(&["status", folder.path()]).exits(0);
        assert_eq!(ran.stderr, "");
        // The documents of the settings, as ever.
        let mut command = command(&["status", "-o", "json", "--socket", NOWHERE]);
        let ran = super::ran(command.env("SRSYNC_SOURCES", folder.path())).exits(0);
        assert_eq!(ran.json()["documents"][0]["name"], "partners");
    });
}

#[test]
fn what_needs_a_daemon_says_where_it_looked() {
    let folder = Folder::new(&[]);
    let left = folder.file("left.sock");
    // A socket that nobody listens on any more.
    drop(UnixListener::bind(&left).unwrap());
    for socket in [NOWHERE, &left] {
        for line in [
            "events",
            "events --no-follow -o json",
            "reload",
            "gateway drain 10.0.0.1 --for 30m",
            "gateway undrain fe80::1",
        ] {
            let ran = srsync_line(&format!("{line} --socket {socket}")).exits(1);
            assert_eq!(ran.stdout, "");
            assert_eq!(
                ran.stderr,
                format!("error: no daemon answers at {socket} (--socket)\n")
            );
        }
    }
}

#[test]
fn without_a_daemon_no_gateway_is_watched() {
    for output in ["text", "json"] {
        let ran = srsync_line(&format!("gateway list -o {output} --socket {NOWHERE}")).exits(1);
        assert_eq!(ran.stdout, "");
        assert_eq!(
            ran.stderr,
            "error: gateways are watched by a running daemon only: no daemon answers at \
             /nonexistent/srsync.sock (--socket)\n"
        );
    }
    srsync_line("gateway").exits(2);
}

#[test]
fn who_may_not_ask_is_told_who_may() {
    let folder = Folder::new(&[]);
    let socket = folder.file("srsync.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    std::fs::set_permissions(&socket, PermissionsExt::from_mode(0o000)).unwrap();
    // Root without capabilities is asked for permission like anybody else.
    let program = command(&[]).get_program().to_owned();
    let mut command = Command::new("setpriv");
    command.args(["--inh-caps=-all", "--bounding-set=-all"]);
    command.arg(program).args(["status", "--socket", &socket]);
    let ran = ran(&mut command).exits(1);
    assert_eq!(
        ran.stderr,
        format!(
            "error: {socket} is for root and the group srsync: ask as one of them, or name \
             another socket with --socket\n"
        )
    );
}

#[test]
fn an_answer_that_is_none_is_an_error() {
    for answer in [
        &b""[..],
        b"SSH-2.0-OpenSSH_10.0\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly so much",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let folder = Folder::new(&[]);
        let socket = folder.file("srsync.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let ran = std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                // The request has come before it is answered.
                let _ = stream.read(&mut [0; 1000]);
                let _ = stream.write_all(answer);
            });
            srsync(&["status", "--socket", &socket])
        });
        let ran = ran.exits(1);
        assert_eq!(ran.stdout, "", "a half is not shown as the whole");
        assert!(
            ran.stderr.contains("the daemon's answer breaks off"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn what_is_drained_is_an_address_for_a_length_of_time() {
    let lasting = "it must be a whole number with the unit `ms`, `s`, `m` or `h`, more than 0 and at \
                   most `24h`";
    for (line, why) in [
        ("gateway", "Usage: srsync gateway"),
        ("gateway drain", "<ADDRESS>"),
        ("gateway drain gw1", "invalid value 'gw1' for '<ADDRESS>'"),
        ("gateway drain 10.0.0.0/24", "invalid value '10.0.0.0/24'"),
        ("gateway drain 10.0.0.1 --for 30", lasting),
        ("gateway drain 10.0.0.1 --for 0s", lasting),
        ("gateway drain 10.0.0.1 --for 25h", lasting),
        (
            "gateway undrain 10.0.0.1 --for 30m",
            "unexpected argument '--for'",
        ),
    ] {
        let ran = srsync_line(line).exits(2);
        assert!(ran.stderr.contains(why), "{line}: {}", ran.stderr);
    }
}

#[test]
fn watching_is_for_the_daemon() {
    let ran = srsync_line("status --watch examples").exits(2);
    assert!(ran.stderr.contains("--watch"), "{}", ran.stderr);
    srsync_line("status --watch=0").exits(2);
    srsync_line("status --watch=soon").exits(2);
}
