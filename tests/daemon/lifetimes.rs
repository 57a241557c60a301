//! Whole lives, made up by a random number generator: whatever happens in whichever order, in the
//! end the routes are what the files say, and nobody else has lost anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::node::{BROKEN, document, on_a_changing_node, ours, routes_of};
use crate::support::daemon::Daemon;
use crate::support::program::Srsync;
use crate::support::random::Random;
use crate::support::tables::{foreign, wait_for_links, wait_until};
use crate::support::watch::Changes;
use crate::support::{address, ip, ip_succeeds, sysctl, veth};

const STEPS: usize = 40;
/// Documents by number; the last one is never touched.
const DOCUMENTS: u16 = 6;
const UNTOUCHED: u16 = 20;

#[test]
fn after_any_life_the_routes_are_what_the_files_say() {
    for seed in 1..=6 {
        on_a_changing_node(|srsync| Life::begin(srsync, seed).live());
    }
}

struct Life<'s> {
    srsync: &'s Srsync<'s>,
    daemon: Daemon,
    random: Random,
    routes: PathBuf,
    /// What the files of documents say, where they say anything; 0 is a broken one.
    files: BTreeMap<u16, u8>,
    is_link_up: bool,
    others: BTreeSet<String>,
    /// For who has to find out what went wrong.
    story: Vec<String>,
}

impl<'s> Life<'s> {
    fn begin(srsync: &'s Srsync<'s>, seed: u64) -> Self {
        // A link that nobody but us and the kernel uses.
        veth("north", "north-peer");
        sysctl("ipv6/conf/north/keep_addr_on_down", "1");
        address("10.0.3.1/24", "north");
        address("fd00:3::1/64", "north");
        wait_for_links();
        let routes = srsync.directory().join("routes");
        fs::create_dir(&routes).unwrap();
        let untouched = document("untouched", UNTOUCHED, 2);
        fs::write(routes.join("untouched.yaml"), untouched).unwrap();
        Self {
            srsync,
            daemon: Daemon::on(srsync, &[&routes], "--debounce 10ms"),
            random: Random::new(seed),
            routes,
            files: BTreeMap::new(),
            is_link_up: true,
            others: others(),
            story: vec![format!("seed {seed}")],
        }
    }

    fn live(mut self) {
        for _ in 0..STEPS {
            self.step();
            std::thread::sleep(Duration::from_millis(self.random.below(40)));
            let there = ours();
            for (prefix, gateway) in routes_of([(UNTOUCHED, 2)]) {
                assert_eq!(there.get(&prefix), Some(&gateway));
            }
        }
        self.settle();
    }

    fn step(&mut self) {
        let n = 1 + self.random.below(DOCUMENTS.into()) as u16;
        match self.random.below(12) {
            0..=3 => self.write(n),
            4 => {
                self.tell(format!("break {n}"));
                fs::write(self.file(n), BROKEN).unwrap();
                self.files.insert(n, 0);
            }
            5 => {
                self.tell(format!("delete {n}"));
                let _ = fs::remove_file(self.file(n));
                self.files.remove(&n);
            }
            6 => self.replace_directory(),
            7 => self.flap(),
            8 => {
                self.tell(format!("somebody deletes {n}"));
                ip_succeeds(&format!("route del 198.18.{n}.0/24 proto 83"));
                ip_succeeds(&format!("-6 route del 2001:db8:{n}::/64 proto 83"));
            }
            9 => {
                self.tell(format!("bird takes {n}"));
                ip(&format!(
                    "route replace 198.18.{n}.0/24 via 10.0.2.77 proto bird"
                ));
            }
            10 => {
                self.tell("kill".to_owned());
                self.daemon.kill();
                self.start_again();
            }
            _ => {
                self.tell("restart".to_owned());
                self.daemon.wait_ready();
                self.daemon.stop();
                self.start_again();
            }
        }
    }

    fn write(&mut self, n: u16) {
        let gateway = 2 + self.random.below(6) as u8;
        self.tell(format!("write {n} via {gateway}"));
        fs::write(self.file(n), text(n, gateway)).unwrap();
        self.files.insert(n, gateway);
    }

    /// By another one with other content, as a deployment does it.
    fn replace_directory(&mut self) {
        self.tell("replace the directory".to_owned());
        let directory = self.srsync.directory();
        let (next, old) = (directory.join("next"), directory.join("old"));
        fs::create_dir(&next).unwrap();
        for entry in fs::read_dir(&self.routes).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), next.join(entry.file_name())).unwrap();
        }
        fs::rename(&self.routes, &old).unwrap();
        std::thread::sleep(Duration::from_millis(self.random.below(30)));
        fs::rename(&next, &self.routes).unwrap();
        fs::remove_dir_all(&old).unwrap();
    }

    fn flap(&mut self) {
        self.is_link_up = !self.is_link_up;
        let to = if self.is_link_up { "up" } else { "down" };
        self.tell(format!("link {to}"));
        ip(&format!("link set north {to}"));
    }

    fn start_again(&mut self) {
        self.daemon
            .launch_again_on(self.srsync, &[&self.routes], "--debounce 10ms");
    }

    /// Everything is put right, and then has to be right.
    fn settle(mut self) {
        self.tell("settle".to_owned());
        for n in 1..=DOCUMENTS {
            if self.files.get(&n) == Some(&0) {
                self.write(n);
            }
            ip_succeeds(&format!(
                "route del 198.18.{n}.0/24 via 10.0.2.77 proto bird"
            ));
        }
        if !self.is_link_up {
            self.flap();
        }
        wait_for_links();
        self.daemon.wait_ready();
        let mut wanted = routes_of([(UNTOUCHED, 2)]);
        for (n, gateway) in &self.files {
            let behind_north = routes_of([(*n, *gateway)]).into_iter();
            wanted.extend(behind_north.map(|(prefix, gateway)| (prefix, north(*n, &gateway))));
        }
        wait_until("the routes are what the files say", || ours() == wanted);
        self.daemon
            .eventually("it is in sync", |status| status["inSync"] == true);
        assert_eq!(others(), self.others);
        // And so it stays.
        let changes = Changes::watch();
        let plan = format!("plan --exit-code {}", self.routes.display());
        self.srsync.run(&plan).exits(0);
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(changes.count(), 0);
    }

    fn file(&self, n: u16) -> PathBuf {
        self.routes.join(format!("d{n}.yaml"))
    }

    fn tell(&mut self, what: String) {
        self.story.push(what);
    }
}

/// All that is not ours. The order of what came back with its link is another one.
fn others() -> BTreeSet<String> {
    foreign().lines().map(str::to_owned).collect()
}

/// Every other document leads over the link that flaps.
fn north(n: u16, text: &str) -> String {
    match n % 2 {
        0 => text
            .replace("10.0.1.", "10.0.3.")
            .replace("fd00:1:", "fd00:3:"),
        _ => text.to_owned(),
    }
}

fn text(n: u16, gateway: u8) -> String {
    north(n, &document(&format!("d{n}"), n, gateway))
}

impl Drop for Life<'_> {
    #[allow(clippy::print_stderr, reason = "a failed test says why")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the story\n{}", self.story.join("\n"));
        }
    }
}
