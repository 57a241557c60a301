//! Somebody else who changes routes, and is still there to be named when that is noticed.

use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};

/// An `ip -batch` that waits for more.
pub struct Culprit {
    process: Child,
    input: ChildStdin,
}

impl Culprit {
    pub fn new() -> Self {
        let mut process = Command::new("ip")
            // What is not there any more is deleted in vain.
            .args(["-force", "-batch", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("`ip` (iproute2) is needed");
        let input = process.stdin.take().expect("stdin is piped");
        Self { process, input }
    }

    /// Does what a line of `ip` arguments says, soon.
    pub fn run(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("`ip -batch` reads");
    }

    /// How it is called: `pid 4711 (ip)`.
    pub fn name(&self) -> String {
        format!("pid {} (ip)", self.process.id())
    }
}

impl Drop for Culprit {
    fn drop(&mut self) {
        // There is nothing to do about a failure.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
