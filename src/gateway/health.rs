//! Whether one gateway works, as one check sees it over time.
//!
//! Pure: moments and outcomes come in as arguments. A gateway is taken as healthy until `fall`
//! probes in a row prove otherwise; then `rise` answers in a row prove that it is back, and traffic
//! returns to it once it has stayed so for its hold-down.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::choose::Standing;
use super::outcome::{Streak, sent};
use super::witness::Witnesses;
use crate::model::document::HealthCheck;
use crate::model::probed::Outcome;

/// Each fall shortly after a return doubles the hold-down, up to so many times: to 16 of them.
const MOST_DOUBLINGS: u32 = 4;
/// Shortly: before it has been up for so many hold-downs.
const QUIET: u32 = 6;

/// When a gateway is down, and when it is up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// So many lost probes in a row mean down.
    pub fall: u32,
    /// So many answered probes in a row mean up.
    pub rise: u32,
    /// How long it must have been up before traffic returns to it.
    pub hold_down: Duration,
}

impl From<&HealthCheck> for Rules {
    fn from(check: &HealthCheck) -> Self {
        Self {
            fall: check.fall,
            rise: check.rise,
            hold_down: check.hold_down,
        }
    }
}

/// How a gateway is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Taken as healthy, but nothing has proven it.
    Unproven,
    /// It works.
    Up {
        /// Since then.
        since: Instant,
    },
    /// It does not.
    Down {
        /// Since then.
        since: Instant,
        /// The evidence, in words.
        cause: Arc<str>,
    },
}

/// A gateway's condition changed, with the evidence in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// It works, as it had been taken to.
    Proven(Arc<str>),
    /// It went down.
    Fell(Arc<str>),
    /// It came back.
    Rose(Arc<str>),
}

/// The health of one gateway.
#[derive(Debug, Clone)]
pub struct Health {
    rules: Rules,
    /// What is sent to it, in words (`ICMP probes to 10.116.0.5`). `None`: nobody probes it.
    probes: Option<Arc<str>>,
    /// What its probes say.
    condition: Condition,
    /// What this node itself knows against it, and since when.
    link_down: Option<(Instant, Arc<str>)>,
    /// When its link came up last: what was sent before says nothing.
    linked: Option<Instant>,
    streak: Option<Streak>,
    /// When the last probe was sent.
    sent: Option<Instant>,
    /// It was down before: being up is a return.
    fell_before: bool,
    doublings: u32,
}

impl Health {
    /// A gateway that is probed, before the first probe. `probes` says what is sent, in words that
    /// can follow a number: `ICMP probes to 10.116.0.5`.
    pub fn watched(rules: Rules, probes: impl Into<Arc<str>>) -> Self {
        Self::new(rules, Some(probes.into()))
    }

    /// A gateway without a check: it works whenever its link does. The hold-down is for the link.
    pub fn unwatched(hold_down: Duration) -> Self {
        let rules = Rules {
            fall: 0,
            rise: 0,
            hold_down,
        };
        Self::new(rules, None)
    }

    fn new(rules: Rules, probes: Option<Arc<str>>) -> Self {
        Self {
            rules,
            probes,
            condition: Condition::Unproven,
            link_down: None,
            linked: None,
            streak: None,
            sent: None,
            fell_before: false,
            doublings: 0,
        }
    }

    /// A probe is over. A lost one counts only if a witness was heard meanwhile; otherwise it may
    /// be this node that is cut off, and counting starts again. One that this node could not even
    /// send is no evidence at all.
    pub fn probe(&mut self, outcome: Outcome, witnesses: &Witnesses, now: Instant) -> Option<Turn> {
        if outcome.no_evidence().is_some() {
            return None;
        }
        let sent = sent(&outcome, now);
        let before = self.sent.replace(sent).unwrap_or(sent);
        let probes = self.probes.clone()?;
        if self.link_down.is_some() || self.linked.is_some_and(|linked| sent < linked) {
            return None;
        }
        let lost = !outcome.is_answered();
        let streak = Streak::with(self.streak.take(), outcome, now);
        if lost && !witnesses.vouch(before) {
            return None;
        }
        let length = streak.length;
        let cause = || Arc::from(streak.told(&probes, now));
        let turn = match (&self.condition, lost) {
            (Condition::Unproven | Condition::Up { .. }, true) if length >= self.rules.fall => {
                Some(self.fall(cause(), now))
            }
            (Condition::Unproven | Condition::Down { .. }, false) if length >= self.rules.rise => {
                Some(self.rise(cause(), now))
            }
            _ => None,
        };
        self.streak = Some(streak);
        turn
    }

    /// The gateway cannot be used from here, as this node knows without a probe: its link is down,
    /// or it is on no connected subnet. Counts at once.
    pub fn link_down(&mut self, why: impl Into<Arc<str>>, now: Instant) -> Option<Turn> {
        let why = why.into();
        if let Some((_, known)) = &mut self.link_down {
            *known = why;
            return None;
        }
        self.link_down = Some((now, Arc::clone(&why)));
        self.streak = None;
        match self.condition {
            Condition::Down { .. } => None,
            Condition::Unproven | Condition::Up { .. } => {
                let turn = self.fall(why, now);
                // The probes had nothing against it, and may have nothing afterwards.
                self.condition = Condition::Unproven;
                Some(turn)
            }
        }
    }

    /// Its link is up again. If it is probed, the probes will tell.
    pub fn link_up(&mut self, now: Instant) -> Option<Turn> {
        self.link_down.take()?;
        self.linked = Some(now);
        match self.probes {
            Some(_) => None,
            None => Some(self.rise("its link is up again".into(), now)),
        }
    }

    fn fall(&mut self, cause: Arc<str>, now: Instant) -> Turn {
        if let Condition::Up { since } = self.condition {
            let lasted = now.saturating_duration_since(since);
            let shortly = self.fell_before && lasted < self.damped_hold_down() * QUIET;
            self.doublings = match shortly {
                true => (self.doublings + 1).min(MOST_DOUBLINGS),
                false => 0,
            };
        }
        self.fell_before = true;
        self.condition = Condition::Down {
            since: now,
            cause: Arc::clone(&cause),
        };
        Turn::Fell(cause)
    }

    fn rise(&mut self, cause: Arc<str>, now: Instant) -> Turn {
        self.condition = Condition::Up { since: now };
        match self.fell_before {
            true => Turn::Rose(cause),
            false => Turn::Proven(cause),
        }
    }

    /// How often it fell shortly after a return, as far as that counts.
    pub fn flaps(&self) -> u32 {
        self.doublings
    }

    /// The hold-down with what flapping added to it.
    pub fn damped_hold_down(&self) -> Duration {
        self.rules.hold_down.saturating_mul(1 << self.doublings)
    }

    /// How long it must have been up before traffic returns to it, if it does not flap.
    pub fn hold_down(&self) -> Duration {
        self.rules.hold_down
    }

    /// How it is, for people.
    pub fn condition(&self) -> Condition {
        match &self.link_down {
            Some((since, cause)) => Condition::Down {
                since: *since,
                cause: Arc::clone(cause),
            },
            None => self.condition.clone(),
        }
    }

    /// How it is, for choosing among several.
    pub fn standing(&self, now: Instant) -> Standing {
        if let Some((_, cause)) = &self.link_down {
            return Standing::LinkDown(Arc::clone(cause));
        }
        match &self.condition {
            Condition::Down { cause, .. } => Standing::Down(Arc::clone(cause)),
            Condition::Unproven if self.probes.is_some() => Standing::Unproven,
            Condition::Unproven => Standing::Settled,
            Condition::Up { .. } if self.wavers() => Standing::Working { settles: None },
            Condition::Up { since } => {
                let settles = *since + self.damped_hold_down();
                match settles <= now {
                    true => Standing::Settled,
                    false => Standing::Working {
                        settles: Some(settles),
                    },
                }
            }
        }
    }

    /// The last probe was lost. That is not enough to leave a gateway, but enough not to go to it.
    fn wavers(&self) -> bool {
        let answered = self.streak.as_ref().map(Streak::is_answered);
        self.probes.is_some() && answered != Some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::probed::Loss;

    #[test]
    fn what_this_node_could_not_send_neither_counts_nor_interrupts() {
        let rules = Rules {
            fall: 2,
            rise: 1,
            hold_down: Duration::ZERO,
        };
        let mut health = Health::watched(rules, "ICMP probes to 10.0.0.1");
        let nobody = Witnesses::new([], 1);
        let now = Instant::now();
        let mut lost = |why| {
            let lost = Outcome::Lost {
                address: "10.0.0.1".parse().unwrap(),
                why,
                waited: Duration::ZERO,
            };
            health.probe(lost, &nobody, now)
        };
        assert_eq!(lost(Loss::Timeout), None);
        assert_eq!(lost(Loss::Local("no socket".into())), None);
        assert_eq!(lost(Loss::Local("no socket".into())), None);
        assert!(matches!(lost(Loss::Timeout), Some(Turn::Fell(_))));
    }
    #[test]
    fn what_was_sent_while_the_link_was_down_says_nothing() {
        let rules = Rules {
            fall: 1,
            rise: 1,
            hold_down: Duration::ZERO,
        };
        let mut health = Health::watched(rules, "ICMP probes to 10.0.0.1");
        let nobody = Witnesses::new([], 1);
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let lost = |health: &mut Health, ended, waited| {
            let lost = Outcome::Lost {
                address: "10.0.0.1".parse().unwrap(),
                why: Loss::Timeout,
                waited,
            };
            health.probe(lost, &nobody, ended)
        };
        health.link_down("link eth1 has no carrier", start);
        health.link_up(start + second);
        let ended = start + second * 2;
        assert_eq!(lost(&mut health, ended, second + second / 2), None);
        let fell = lost(&mut health, ended, second / 2);
        assert!(matches!(fell, Some(Turn::Fell(_))));
    }
}
