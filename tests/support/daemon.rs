//! A daemon on the documents of a test, and what it says of itself.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::program::Srsync;
use super::tables::wait_until;

/// Longer than anything takes that is going to happen at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running daemon. Its socket and its log are in a directory of their own, beside the documents;
/// when a test fails it shows the log.
pub struct Daemon {
    process: Child,
    home: PathBuf,
}

impl Daemon {
    /// On the directory of the test, with more flags (split at white space); ready.
    pub fn start(srsync: &Srsync<'_>, flags: &str) -> Self {
        Self::on(srsync, &[srsync.directory()], flags)
    }

    /// On these paths; ready.
    pub fn on(srsync: &Srsync<'_>, paths: &[&Path], flags: &str) -> Self {
        let mut daemon = Self::launch(srsync, paths, flags);
        daemon.wait_ready();
        daemon
    }

    /// On these paths; it may not have done anything yet.
    pub fn launch(srsync: &Srsync<'_>, paths: &[&Path], flags: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("srsync-daemon-{}-{count}", std::process::id());
        let home = std::env::temp_dir().join(name);
        fs::create_dir(&home).unwrap();
        let process = spawn(srsync, &home, paths, flags);
        Self { process, home }
    }

    /// On the directory of the test, without CAP_NET_RAW; ready.
    pub fn start_without_raw_sockets(srsync: &Srsync<'_>) -> Self {
        Self::start_by(srsync, &["setpriv", "--bounding-set=-net_raw"], "")
    }

    /// On the directory of the test, where inotify has no room; ready. It has user and network
    /// namespaces of its own, for the limit is one of the user namespace.
    pub fn start_without_watches(srsync: &Srsync<'_>) -> Self {
        let script = "echo 0 > /proc/sys/user/max_inotify_watches && exec \"$0\" \"$@\"";
        // Otherwise the periodic comparison would find what polling missed.
        let rarely = "--resync-interval 10m";
        Self::start_by(srsync, &["unshare", "-rn", "sh", "-c", script], rarely)
    }

    /// On the directory of the test, by way of another program; ready.
    fn start_by(srsync: &Srsync<'_>, wrapper: &[&str], flags: &str) -> Self {
        let mut daemon = Self::start(srsync, "");
        daemon.stop();
        let plain = command(srsync, &daemon.home, &[srsync.directory()], flags);
        let mut wrapped = Command::new(wrapper[0]);
        wrapped.args(&wrapper[1..]).arg(plain.get_program());
        wrapped.args(plain.get_args());
        let log = File::options().append(true).open(daemon.home.join("log"));
        daemon.process = wrapped.stderr(log.unwrap()).spawn().unwrap();
        daemon.wait_ready();
        daemon
    }

    /// Another one in the place of this one, which must have ended: same socket, same log.
    pub fn launch_again(&mut self, srsync: &Srsync<'_>, flags: &str) {
        self.launch_again_on(srsync, &[srsync.directory()], flags);
    }

    /// The same on these paths.
    pub fn launch_again_on(&mut self, srsync: &Srsync<'_>, paths: &[&Path], flags: &str) {
        self.process = spawn(srsync, &self.home, paths, flags);
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Where it can be asked.
    pub fn socket(&self) -> PathBuf {
        self.home.join("socket")
    }

    /// Waits until its first pass is done.
    #[track_caller]
    pub fn wait_ready(&mut self) {
        let start = Instant::now();
        while self.get("/readyz").is_none_or(|answer| answer != "ok\n") {
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_none(), "it ended: {ended:?}");
            assert!(start.elapsed() < PATIENCE, "it does not become ready");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The body of an answer on its socket, if there is a good one.
    pub fn get(&self, path: &str) -> Option<String> {
        let mut stream = UnixStream::connect(self.socket()).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.contains(" 200 ").then(|| body.to_owned())
    }

    /// The report on it and all its routes.
    #[track_caller]
    pub fn status(&self) -> Value {
        let answer = self.get("/status").expect("the daemon answers");
        serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{e}: {answer}"))
    }

    /// Waits until its status is as it should be, and returns it.
    #[track_caller]
    pub fn eventually(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let mut status = Value::Null;
        wait_until(what, || {
            status = self.status();
            holds(&status)
        });
        status
    }

    /// State and reason of a prefix that is wanted, as `State: message`.
    #[track_caller]
    pub fn state_of(&self, prefix: &str) -> String {
        state_in(&self.status(), prefix).unwrap_or_else(|| "nobody wants it".to_owned())
    }

    /// Waits until state and reason of a prefix begin like this, and returns them.
    #[track_caller]
    pub fn wait_for_state(&self, prefix: &str, state: &str) -> String {
        let is_there = |said: Option<String>| said.is_some_and(|said| said.starts_with(state));
        let status = self.eventually(&format!("{prefix} is {state}"), |status| {
            is_there(state_in(status, prefix))
        });
        state_in(&status, prefix).unwrap()
    }

    /// A source as the status has it, by its place among the paths.
    #[track_caller]
    pub fn source(&self, index: usize) -> Value {
        self.status()["daemon"]["sources"][index].clone()
    }

    /// Waits until the condition of its only source is this, and returns what is said about it.
    #[track_caller]
    pub fn wait_for_condition(&self, condition: &str) -> String {
        let what = format!("the source is {condition}");
        let source = |status: &Value| status["daemon"]["sources"][0].clone();
        let status = self.eventually(&what, |status| source(status)["condition"] == condition);
        let message = source(&status)["message"].as_str().map(str::to_owned);
        message.unwrap_or_default()
    }

    /// What is wrong with its documents, as `file:line:column: message`; the file without its
    /// directory.
    #[track_caller]
    pub fn findings(&self) -> Vec<String> {
        let status = self.status();
        let findings = status["daemon"]["findings"].as_array().unwrap();
        findings.iter().map(finding).collect()
    }

    /// The last happenings of a kind, oldest first.
    #[track_caller]
    pub fn events(&self, kind: &str) -> Vec<Value> {
        let status = self.status();
        let recent = status["daemon"]["recent"].as_array().unwrap();
        let wanted = recent.iter().filter(|event| event["kind"] == kind);
        wanted.cloned().collect()
    }

    /// What the last happenings of a kind say.
    #[track_caller]
    pub fn messages(&self, kind: &str) -> Vec<String> {
        let events = self.events(kind).into_iter();
        let message = |event: Value| event["message"].as_str().unwrap().to_owned();
        events.map(message).collect()
    }

    /// A metric by name and labels, as in `srsync_passes_total{trigger="kernel"}`.
    #[track_caller]
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics").expect("the daemon answers");
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = value.unwrap_or_else(|| panic!("no {name} in {text}"));
        value.parse().unwrap()
    }

    /// How many passes something caused.
    #[track_caller]
    pub fn passes(&self, trigger: &str) -> u64 {
        self.metric(&format!("srsync_passes_total{{trigger=\"{trigger}\"}}"))
    }

    /// Its log.
    pub fn log(&self) -> String {
        let log = fs::read(self.home.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    pub fn signal(&self, signal: Signal) {
        // One that has just ended does not mind.
        let _ = kill(self.os_pid(), signal);
    }

    /// Stops it as systemd does; it must end well.
    #[track_caller]
    pub fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        let status = self.wait();
        assert!(status.success(), "{status}");
    }

    /// Kills it as the kernel does when memory is short.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.wait();
    }

    /// Waits until it has ended.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let mut ended = None;
        wait_until("the daemon ends", || {
            ended = self.process.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap()
    }

    /// Keeps it from noticing anything for a while, as a busy machine would.
    #[track_caller]
    pub fn while_it_sleeps<T>(&self, work: impl FnOnce() -> T) -> T {
        self.signal(Signal::SIGSTOP);
        let stat = format!("/proc/{}/stat", self.pid());
        wait_until("the daemon is stopped", || {
            let stat = String::from_utf8(fs::read(&stat).unwrap()).unwrap();
            stat.contains(") T ")
        });
        let result = work();
        self.signal(Signal::SIGCONT);
        result
    }

    fn os_pid(&self) -> Pid {
        Pid::from_raw(self.pid() as i32)
    }
}

fn spawn(srsync: &Srsync<'_>, home: &Path, paths: &[&Path], flags: &str) -> Child {
    let log = File::options()
        .create(true)
        .append(true)
        .open(home.join("log"));
    let mut command = command(srsync, home, paths, flags);
    command.stderr(log.unwrap()).spawn().unwrap()
}

fn command(srsync: &Srsync<'_>, home: &Path, paths: &[&Path], flags: &str) -> Command {
    let mut command: Command = srsync.command("daemon");
    command.args(paths).arg("--socket").arg(home.join("socket"));
    command.args(flags.split_whitespace());
    command
}

/// State and reason of a prefix that is wanted, in a report.
pub fn state_in(status: &Value, prefix: &str) -> Option<String> {
    let mut rows = status["routes"].as_array()?.iter();
    let row = rows.find(|row| row["prefix"] == prefix && row.get("document").is_some())?;
    let state = row["state"].as_str()?;
    Some(match row["reason"]["message"].as_str() {
        Some(message) => format!("{state}: {message}"),
        None => state.to_owned(),
    })
}

fn finding(finding: &Value) -> String {
    let mut text = finding["file"].as_str().unwrap_or_default();
    text = text.rsplit('/').next().unwrap_or(text);
    let place = ["line", "column"].map(|name| finding[name].as_u64());
    let place = place.into_iter().flatten().map(|n| format!(":{n}"));
    let message = finding["message"].as_str().unwrap();
    format!("{text}{}: {message}", place.collect::<String>())
}

impl Drop for Daemon {
    #[allow(clippy::print_stderr, reason = "a failed test says why")]
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the daemon\n{}---", self.log());
        }
        // There is nothing to do about a failure.
        let _ = fs::remove_dir_all(&self.home);
    }
}
