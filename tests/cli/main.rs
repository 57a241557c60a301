//! The command line contract, with the real binary: exit codes, stdout and stderr, formats,
//! settings, what a person sees who makes a mistake.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    dead_code,
    unreachable_pub,
    reason = "a test fails by panicking, and its helpers are for all test binaries"
)]

mod checks;
mod config;
mod crds;
mod daemon_clients;
mod examples;
mod mistakes;
mod output;
mod schemas;
mod settings;

#[path = "../support/mod.rs"]
mod support;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Three routes through one gateway on `wan`.
const ROUTES: &str = "\
apiVersion: srsync.dev/v1alpha1
kind: StaticRoute
metadata:
  name: partners
spec:
  destinations: [192.0.2.0/24, 198.51.100.0/24, 203.0.113.10]
  gateway: 10.116.0.5
";

/// How a run of srsync ended.
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ran {
    /// Asserts the exit code, showing everything if it is another.
    fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "--- stdout\n{}--- stderr\n{}",
            self.stdout, self.stderr
        );
        self
    }

    /// stdout as JSON.
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("not JSON: {e}\n{}\n{}", self.stdout, self.stderr))
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_srsync"));
    // Nothing of the machine that runs the tests decides their outcome.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SRSYNC_")) {
        command.env_remove(name);
    }
    command.env_remove("NO_COLOR").args(args);
    command
}

fn srsync(args: &[&str]) -> Ran {
    ran(command(args).stdin(Stdio::null()))
}

/// Words separated by spaces.
fn srsync_line(line: &str) -> Ran {
    srsync(&line.split_whitespace().collect::<Vec<_>>())
}

fn ran(command: &mut Command) -> Ran {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("srsync runs");
    Ran {
        code: status.code().unwrap_or(-1),
        stdout: String::from_utf8(stdout).expect("stdout is UTF-8"),
        stderr: String::from_utf8(stderr).expect("stderr is UTF-8"),
    }
}

fn with_stdin(args: &[&str], input: &str) -> Ran {
    let mut child = command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("srsync runs");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().unwrap();
    Ran {
        code: status.code().unwrap_or(-1),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// A directory of files that is gone when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("srsync-cli-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        let folder = Self(path);
        for (name, text) in files {
            folder.write(name, text);
        }
        folder
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.path())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind in a temporary directory harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs `test` on a node with an interface `wan` in 10.116.0.0/24.
fn on_a_node<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    support::in_namespace(|| {
        support::veth("wan", "wan-peer");
        support::ip("addr add 10.116.0.3/24 dev wan");
        test()
    })
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
