//! `srsync status`, `events` and `reload`, the real program, with a daemon made by hand.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::node::{happening, published, with};
use super::{Daemon, Folder};

fn command(socket: &Path, line: &str) -> Command {
    let folder = socket.parent().unwrap();
    // The machine's own config file must not have a say.
    std::fs::write(folder.join("config.yaml"), "{}\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_srsync"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SRSYNC_")) {
        command.env_remove(name);
    }
    command.arg("--config").arg(folder.join("config.yaml"));
    command.arg("--socket").arg(socket);
    command.args(line.split_whitespace()).stdin(Stdio::null());
    command
}

/// Runs to the end, while the daemon answers.
async fn run(daemon: &Daemon, line: &str) -> (i32, String, String) {
    let mut command = command(&daemon.folder.socket(), line);
    let ended = tokio::task::spawn_blocking(move || command.output().unwrap());
    let Output {
        status,
        stdout,
        stderr,
    } = ended.await.unwrap();
    (
        status.code().unwrap(),
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    )
}

/// A run that has no end of its own, and its lines on stdout and stderr as they come.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Running {
    fn start(socket: &Path, line: &str) -> Self {
        let mut command = command(socket, line);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let errors = sender.clone();
        let forward = |lines: &mut dyn Iterator<Item = std::io::Result<String>>,
                       to: mpsc::Sender<String>| {
            for line in lines {
                if to.send(line.unwrap()).is_err() {
                    return;
                }
            }
        };
        std::thread::spawn(move || forward(&mut BufReader::new(stdout).lines(), sender));
        std::thread::spawn(move || forward(&mut BufReader::new(stderr).lines(), errors));
        Self { child, lines }
    }

    /// The next line; the daemon goes on meanwhile.
    async fn line(&mut self) -> String {
        for _ in 0..3000 {
            match self.lines.try_recv() {
                Ok(line) => return line,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        panic!("no line in 30 seconds");
    }

    /// Lines up to one that begins so.
    async fn line_that_begins(&mut self, begin: &str) -> String {
        loop {
            let line = self.line().await;
            if line.starts_with(begin) {
                return line;
            }
        }
    }

    fn interrupt(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, Signal::SIGINT).unwrap();
    }

    async fn exits(&mut self) -> i32 {
        for _ in 0..3000 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().expect("it ends by itself");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it did not end in 30 seconds");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn the_status_is_what_the_daemon_says() {
    let daemon = Daemon::start(published());
    for output in ["text", "wide", "json", "yaml"] {
        let said = daemon.get(&format!("/status?output={output}")).await.body;
        let (code, stdout, stderr) = run(&daemon, &format!("status -o {output}")).await;
        assert_eq!((code, stdout, &*stderr), (0, said, ""), "{output}");
    }
    let (_, coloured, _) = run(&daemon, "status --color always").await;
    assert!(coloured.contains('\u{1b}'), "{coloured}");
}

#[tokio::test]
async fn a_watched_status_comes_again_and_outlives_a_daemon() {
    let daemon = Daemon::start(published());
    let socket = daemon.folder.socket();
    let mut watching = Running::start(&socket, "status --watch=1");
    let first = watching.line().await;
    watching.line_that_begins("Status: ").await;
    assert_eq!(watching.line().await, "", "between one and the next");
    assert_eq!(watching.line().await, first);

    daemon.server.abort();
    let waiting = watching.line_that_begins("waiting").await;
    let shown = socket.display();
    assert_eq!(waiting, format!("waiting for the daemon at {shown} …"));
    let Daemon { folder, .. } = daemon;
    let (listeners, _) = srsync::status::Listeners::bind(None, &socket);
    let _restarted = Daemon::serve(published(), folder, listeners);
    watching.line_that_begins("Status: ").await;

    watching.interrupt();
    assert_eq!(watching.exits().await, 0);
}

#[tokio::test]
async fn events_are_lines_for_people_or_programs() {
    let daemon = Daemon::start(published());
    let (code, stdout, _) = run(&daemon, "events --no-follow --tail 2").await;
    assert_eq!(code, 0);
    assert_eq!(
        stdout,
        "00:00:00.002Z * number 2\n00:00:00.003Z * number 3\n"
    );
    let (code, stdout, _) = run(&daemon, "events --no-follow -o json").await;
    let said = daemon.get("/events?follow=0").await.body;
    assert_eq!((code, stdout), (0, said));
    let (code, _, stderr) = run(&daemon, "events -o yaml").await;
    assert_eq!(code, 2, "{stderr}");
}

#[tokio::test]
async fn events_are_followed_until_somebody_has_seen_enough() {
    let daemon = Daemon::start(published());
    let mut following = Running::start(&daemon.folder.socket(), "events --tail 1");
    assert_eq!(following.line().await, "00:00:00.003Z * number 3");
    daemon.happenings.send(happening(4)).unwrap();
    assert_eq!(following.line().await, "00:00:00.004Z * number 4");
    following.interrupt();
    assert_eq!(following.exits().await, 0);
}

#[tokio::test]
async fn events_end_with_the_daemon() {
    let daemon = Daemon::start(with(&published(), |running| running.recent.truncate(1)));
    let mut following = Running::start(&daemon.folder.socket(), "events");
    assert_eq!(following.line().await, "00:00:00.001Z * number 1");
    let Daemon {
        published, folder, ..
    } = daemon;
    drop(published);
    let line = following.line().await;
    assert_eq!(line, "the daemon ended; what it installed stays");
    assert_eq!(following.exits().await, 0);
    drop::<Folder>(folder);
}

#[tokio::test]
async fn a_reload_says_what_came_of_it() {
    let daemon = Daemon::start(published());
    let done = run(&daemon, "reload").await;
    assert_eq!(done, (0, "read again\n".to_owned(), String::new()));
    let (code, stdout, stderr) = run(&daemon, "reload").await;
    assert_eq!((code, &*stdout), (1, ""));
    assert_eq!(stderr, "error: config.yaml:3: `tabel` is no key\n");
}
