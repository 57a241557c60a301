//! Timelines of gateways: `timeline.txt` says what happens when, `expected.txt` what is decided and
//! why. Times are in seconds; what begins with `#` is a remark.
//!
//! First what there is, each line only where it differs from this:
//!
//! ```text
//! gateways 10.0.0.1 10.0.0.2
//! mode failover            # or ecmp
//! onAllDown keep           # or withdraw, blackhole
//! preempt true             # or false
//! check interval 1 timeout 1 fall 3 rise 2 holdDown 10
//! unchecked                # gateways without a check
//! witness                  # addresses
//! found                    # what carried before the start: gateways, blackhole, withdrawn
//! ```
//!
//! Then what happens. Every probe is answered after 1 ms until something else is said:
//!
//! ```text
//! 5 10.0.0.1 times out     # a gateway or a witness; or: refuses, unreachable, status 503
//! 9 10.0.0.1 answers 0.02  # after so long
//! 9 10.0.0.1 link down     # or up
//! 9 10.0.0.1 drain         # or: force up; auto ends both
//! 9 gateways 10.0.0.2      # the document is edited; mode, onAllDown, preempt too
//! 9 restart                # of the daemon; it finds what it left in the kernel
//! 99 end
//! ```

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use srsync::gateway::{Carry, Loss, Rules, Settings, Will};
use srsync::model::document::{Mode, OnAllDown};

use super::life::{Behaviour, Deed, Life, Setup, via};

/// What a case's timeline leads to.
pub(crate) fn text(case: &Path) -> String {
    let timeline = fs::read_to_string(case.join("timeline.txt")).unwrap();
    let lines = timeline.lines().map(|line| {
        let (said, _) = line.split_once('#').unwrap_or((line, ""));
        said.split_whitespace().collect::<Vec<_>>()
    });
    let is_moment = |words: &Vec<&str>| words[0].starts_with(|c: char| c.is_ascii_digit());
    let (moments, header): (Vec<_>, Vec<_>) =
        lines.filter(|words| !words.is_empty()).partition(is_moment);
    let mut timeline = Timeline::of(&header);
    for lines in moments.chunk_by(|one, next| one[0] == next[0]) {
        timeline.moment(lines);
    }
    timeline.text()
}

struct Timeline {
    life: Life,
    settings: Settings,
}

impl Timeline {
    fn of(header: &[Vec<&str>]) -> Self {
        let mut setup = Setup {
            rules: Rules {
                fall: 3,
                rise: 2,
                hold_down: Duration::from_secs(10),
            },
            interval: 1000,
            timeout: 1000,
            unchecked: BTreeSet::new(),
            witnesses: Vec::new(),
        };
        let mut settings = Settings {
            mode: Mode::Failover,
            on_all_down: OnAllDown::Keep,
            preempt: true,
        };
        let mut gateways = addresses(&["10.0.0.1", "10.0.0.2"]);
        let mut found = None;
        for words in header {
            match &words[..] {
                ["gateways", list @ ..] => gateways = addresses(list),
                ["unchecked", list @ ..] => setup.unchecked.extend(addresses(list)),
                ["witness", list @ ..] => setup.witnesses = addresses(list),
                ["found", "blackhole"] => found = Some(Carry::Blackhole),
                ["found", "withdrawn"] => found = Some(Carry::Withdraw),
                ["found", list @ ..] => {
                    found = Some(Carry::Gateways(
                        addresses(list).into_iter().map(via).collect(),
                    ));
                }
                ["check", pairs @ ..] => pairs.chunks(2).for_each(|pair| check(&mut setup, pair)),
                words => change(&mut settings, words),
            }
        }
        let life = Life::new(setup, settings, gateways, found);
        Self { life, settings }
    }

    /// The lines of one moment.
    fn moment(&mut self, lines: &[Vec<&str>]) {
        let moment = millis(lines[0][0]);
        if lines[0][1..] == ["end"] {
            return self.life.run_until(moment);
        }
        let deeds = lines.iter().map(|words| self.deed(&words[1..])).collect();
        self.life.at(moment, deeds);
    }

    fn deed(&mut self, words: &[&str]) -> Deed {
        let who = || words[0].parse::<IpAddr>().unwrap();
        match words {
            ["restart"] => Deed::Restart,
            ["gateways", list @ ..] => Deed::Gateways(addresses(list)),
            [_, "answers", takes] => Deed::Behave(who(), Behaviour::Answers(millis(takes))),
            [_, "answers"] => Deed::Behave(who(), Behaviour::Answers(1)),
            [_, "times", "out"] => Deed::Behave(who(), Behaviour::Fails(Loss::Timeout)),
            [_, "refuses"] => Deed::Behave(who(), Behaviour::Fails(Loss::Refused)),
            [_, "unreachable"] => {
                let loss = Loss::Unreachable("no route to host".into());
                Deed::Behave(who(), Behaviour::Fails(loss))
            }
            [_, "status", status] => {
                let status = Loss::Status(status.parse().unwrap());
                Deed::Behave(who(), Behaviour::Fails(status))
            }
            [_, "link", to] => Deed::Link(who(), *to == "up"),
            [_, "drain"] => Deed::Will(who(), Will::Drained),
            [_, "force", "up"] => Deed::Will(who(), Will::ForcedUp),
            [_, "auto"] => Deed::Will(who(), Will::Auto),
            words => {
                change(&mut self.settings, words);
                Deed::Settings(self.settings)
            }
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (at, told) in &self.life.told {
            let at = Duration::from_millis(*at).as_secs_f64();
            let _ = writeln!(text, "{at:>8.3}  {told}");
        }
        text
    }
}

fn check(setup: &mut Setup, pair: &[&str]) {
    let [name, value] = pair else {
        panic!("`check` takes pairs, not {pair:?}")
    };
    match *name {
        "interval" => setup.interval = millis(value),
        "timeout" => setup.timeout = millis(value),
        "fall" => setup.rules.fall = value.parse().unwrap(),
        "rise" => setup.rules.rise = value.parse().unwrap(),
        "holdDown" => setup.rules.hold_down = Duration::from_millis(millis(value)),
        other => panic!("`check` has no {other}"),
    }
}

fn change(settings: &mut Settings, words: &[&str]) {
    match words {
        ["mode", "failover"] => settings.mode = Mode::Failover,
        ["mode", "ecmp"] => settings.mode = Mode::Ecmp,
        ["onAllDown", "keep"] => settings.on_all_down = OnAllDown::Keep,
        ["onAllDown", "withdraw"] => settings.on_all_down = OnAllDown::Withdraw,
        ["onAllDown", "blackhole"] => settings.on_all_down = OnAllDown::Blackhole,
        ["preempt", value] => settings.preempt = value.parse().unwrap(),
        words => panic!("what does `{}` mean?", words.join(" ")),
    }
}

fn addresses(words: &[&str]) -> Vec<IpAddr> {
    words.iter().map(|word| word.parse().unwrap()).collect()
}

fn millis(seconds: &str) -> u64 {
    let seconds: f64 = seconds.parse().unwrap();
    (seconds * 1000.0).round() as u64
}
