//! Network namespaces for tests: one for the test itself, or several joined by veth pairs.
//!
//! Works as root and under `unshare -rn` (root of a user namespace only). Where namespaces cannot
//! be made a test fails and says so; it never passes by not running.

pub mod crossroads;
pub mod culprit;
pub mod daemon;
pub mod egress;
pub mod program;
pub mod random;
pub mod stream;
pub mod tables;
pub mod watch;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};

const ADVICE: &str = "these tests need network namespaces: run them as root, or as any user with \
    `unshare -rn cargo nextest run` (which needs unprivileged user namespaces)";

/// Without it a link-local address is tentative for a second or two.
const NO_DAD: &str = "ipv6/conf/default/accept_dad";

/// Runs `test` on a thread of its own in a new network namespace, in which only `lo` exists (up).
/// Commands it starts are in the namespace too. Panics come through.
pub fn in_namespace<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    on_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap_or_else(|e| panic!("unshare: {e}; {ADVICE}"));
        ip("link set lo up");
        sysctl(NO_DAD, "0");
        test()
    })
}

fn on_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Runs `ip ARGS` (split at white space) in the namespace of this thread; returns its output, and
/// panics with its error if it fails.
pub fn ip(args: &str) -> String {
    finish(Command::new("ip").args(args.split_whitespace()), args)
}

/// Whether `ip ARGS` succeeds.
pub fn ip_succeeds(args: &str) -> bool {
    let output = Command::new("ip").args(args.split_whitespace()).output();
    output.expect("`ip` (iproute2) is needed").status.success()
}

/// What `ip ARGS` prints, whether it succeeds or not.
pub fn ip_if_any(args: &str) -> String {
    let output = Command::new("ip").args(args.split_whitespace()).output();
    let output = output.expect("`ip` (iproute2) is needed");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs `ip -batch` over lines of `ip` arguments, for set-up in bulk.
pub fn ip_batch(lines: &str) {
    use std::io::Write;
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("`ip` (iproute2) is needed");
    let mut input = child.stdin.take().expect("stdin is piped");
    input
        .write_all(lines.as_bytes())
        .expect("`ip -batch` reads");
    drop(input);
    assert!(child.wait().expect("`ip` ends").success(), "ip -batch");
}

/// Two joined veth interfaces, both up, in the namespace of this thread.
pub fn veth(name: &str, peer: &str) {
    ip(&format!("link add name {name} type veth peer name {peer}"));
    ip(&format!("link set {name} up"));
    ip(&format!("link set {peer} up"));
}

/// Gives an interface an address, and returns when it can be used. IPv6 takes a moment for that
/// even with `nodad` (a work queue, `addrconf_dad_work`); until then it is no source of a route.
pub fn address(address: &str, link: &str) {
    ip(&format!("addr add {address} dev {link} nodad"));
    let tentative = || !ip(&format!("-6 addr show dev {link} to {address} tentative")).is_empty();
    let deadline = Instant::now() + Duration::from_secs(10);
    while address.contains(':') && tentative() {
        assert!(
            Instant::now() < deadline,
            "{address} on {link} stays tentative"
        );
        thread::sleep(Duration::from_millis(2));
    }
}

/// A node between two subnets: links `east` (10.0.1.1/24, fd00:1::1/64) and `west` (10.0.2.1/24,
/// fd00:2::1/64), both up, in the namespace of this thread.
pub fn east_and_west() {
    for (link, n) in [("east", 1), ("west", 2)] {
        veth(link, &format!("{link}-peer"));
        ip(&format!("addr add 10.0.{n}.1/24 dev {link}"));
        ip(&format!("addr add fd00:{n}::1/64 dev {link} nodad"));
    }
}

fn finish(command: &mut Command, what: &str) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .unwrap_or_else(|e| panic!("cannot run {:?}: {e}", command.get_program()));
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "`{what}` failed ({status}): {stderr}");
    String::from_utf8_lossy(&stdout).into_owned()
}

/// A network namespace beside that of the test: a gateway, a far host, a second node.
///
/// Held by a child process that ends when it is dropped, or when the test process dies. `ip netns`
/// would need the initial user namespace.
pub struct Namespace {
    holder: Child,
}

impl Namespace {
    /// A new namespace with `lo` up.
    pub fn new() -> Self {
        let mut holder = Command::new("unshare")
            // cat ends when its standard input, a pipe of this process, is closed.
            .args([
                "--net",
                "sh",
                "-c",
                "ip link set lo up && echo ready && exec cat",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run `unshare`: {e}; {ADVICE}"));
        let mut line = String::new();
        let output = holder.stdout.take().expect("stdout is piped");
        let read = BufReader::new(output).read_line(&mut line);
        assert!(read.is_ok() && line == "ready\n", "unshare --net: {ADVICE}");
        let namespace = Self { holder };
        namespace.sysctl(NO_DAD, "0");
        namespace
    }

    /// The process that holds it: `ip link set eth0 netns PID` moves a link there.
    pub fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// A command that will run in this namespace.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &self.pid().to_string(), program]);
        command
    }

    /// Runs `ip ARGS` here; see [`ip`].
    pub fn ip(&self, args: &str) -> String {
        finish(self.command("ip").args(args.split_whitespace()), args)
    }

    /// Runs code on a thread in this namespace; sockets it opens stay here.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = format!("/proc/{}/ns/net", self.pid());
        on_thread(|| {
            let namespace = File::open(&path).expect("the holder is alive");
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("setns");
            work()
        })
    }

    /// Sets a variable below `/proc/sys/net`, such as `ipv4/ip_forward`.
    pub fn sysctl(&self, name: &str, value: &str) {
        self.enter(|| sysctl(name, value));
    }

    /// Joins two namespaces: a link `name` here and `other_name` there, both up, with these
    /// addresses (`address/length`, separated by spaces; usable at once).
    pub fn join(&self, (name, addresses): (&str, &str), other: &Self, there: (&str, &str)) {
        let (other_name, other_addresses) = there;
        let pid = other.pid();
        self.ip(&format!(
            "link add name {name} type veth peer name {other_name} netns {pid}"
        ));
        self.set_up(name, addresses);
        other.set_up(other_name, other_addresses);
    }

    fn set_up(&self, name: &str, addresses: &str) {
        self.enter(|| {
            ip(&format!("link set {name} up"));
            addresses.split_whitespace().for_each(|a| address(a, name));
        });
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing else to do about it.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Sets a variable below `/proc/sys/net` in the namespace of this thread.
pub fn sysctl(name: &str, value: &str) {
    let path = format!("/proc/sys/net/{name}");
    std::fs::write(&path, value).unwrap_or_else(|e| panic!("{path}: {e}"));
}
