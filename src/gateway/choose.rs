//! Which gateways carry, out of how each of them is now: a function of its question alone.
//!
//! Traffic leaves what does not work at once, for the most proven of the others. It leaves what
//! works only for something better that has proven itself, and never twice within a hold-down.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::via::Via;
use crate::model::document::{Gateways, Mode, OnAllDown};

/// What a document says about its gateways as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// First healthy, or all healthy.
    pub mode: Mode,
    /// What happens when none is healthy.
    pub on_all_down: OnAllDown,
    /// Whether to return to an earlier gateway.
    pub preempt: bool,
}

impl From<&Gateways> for Settings {
    fn from(gateways: &Gateways) -> Self {
        Self {
            mode: gateways.mode,
            on_all_down: gateways.on_all_down,
            preempt: gateways.preempt,
        }
    }
}

/// One gateway of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Which.
    pub via: Via,
    /// How it is.
    pub standing: Standing,
    /// What somebody decided about it.
    pub will: Will,
    /// Traffic that moved keeps still for so long before it moves on to this one.
    pub hold_down: Duration,
}

/// How a gateway is, for choosing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It works, and has for its hold-down.
    Settled,
    /// It works, but traffic that works elsewhere stays there.
    Working {
        /// When it will be settled, if nothing happens; `None` where that takes an answer first.
        settles: Option<Instant>,
    },
    /// Taken as healthy: nothing is known of it.
    Unproven,
    /// Its probes prove that it does not work.
    Down(Arc<str>),
    /// This node cannot use it, whatever anybody says.
    LinkDown(Arc<str>),
}

impl Standing {
    /// Why it does not work, if it does not.
    pub fn obstacle(&self) -> Option<&str> {
        match self {
            Self::Down(why) | Self::LinkDown(why) => Some(why),
            Self::Settled | Self::Working { .. } | Self::Unproven => None,
        }
    }
}

/// What somebody decided about a gateway by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Will {
    /// Nothing: its health decides.
    #[default]
    Auto,
    /// It is left as soon as another works. It carries on while none does: somebody who drains
    /// prepares for its end, and did not ask for a loss.
    Drained,
    /// It is healthy, whatever the probes say.
    ForcedUp,
}

/// What carries the traffic. Gateways are numbers of members to [`choose()`], names over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carry<G = usize> {
    /// These gateways, in the order of the document.
    Gateways(Vec<G>),
    /// None works: these go on, because `onAllDown: keep`. Where there was none, those that would
    /// have been taken as healthy.
    Keep(Vec<G>),
    /// None works: no routes.
    Withdraw,
    /// None works: the packets are dropped.
    Blackhole,
}

impl<G> Carry<G> {
    /// The gateways that routes lead to.
    pub fn gateways(&self) -> &[G] {
        match self {
            Self::Gateways(list) | Self::Keep(list) => list,
            Self::Withdraw | Self::Blackhole => &[],
        }
    }

    /// The same with other names; a gateway without one is left out.
    pub(super) fn renamed<H>(&self, name: impl FnMut(&G) -> Option<H>) -> Carry<H> {
        let named = || self.gateways().iter().filter_map(name).collect();
        match self {
            Self::Gateways(_) => Carry::Gateways(named()),
            Self::Keep(_) => Carry::Keep(named()),
            Self::Withdraw => Carry::Withdraw,
            Self::Blackhole => Carry::Blackhole,
        }
    }
}

/// Everything a choice depends on.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// What the document says.
    pub settings: Settings,
    /// Its gateways of one family, in its order.
    pub members: &'a [Member],
    /// What carries now; `None` if nothing ever did.
    pub carrying: Option<&'a Carry>,
    /// When it last moved.
    pub moved: Option<Instant>,
    /// The node reaches none of its witnesses.
    pub isolated: bool,
    /// Now.
    pub now: Instant,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// What is to carry.
    pub carry: Carry,
    /// When it last moved, if it ever did: now, if by this choice.
    pub moved: Option<Instant>,
    /// When this choice ends without any news.
    pub next: Option<Instant>,
}

/// Chooses what carries.
pub fn choose(question: &Question<'_>) -> Choice {
    let carry = question.carry();
    let moves = question.carrying.is_some() && carry.gateways() != question.current();
    let moved = match moves {
        true => Some(question.now),
        false => question.moved,
    };
    let next = match &carry {
        Carry::Gateways(list) => question.upgrades(list, moved).map(|(_, due)| due).min(),
        _ => None,
    };
    Choice { carry, moved, next }
}

/// How far a gateway can be relied on, the most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trust {
    Settled,
    Working,
    Unproven,
}

impl Member {
    /// How far it can be relied on; `None` if it does not work.
    fn trust(&self, now: Instant) -> Option<Trust> {
        if self.settles(now).is_some_and(|settles| settles <= now) {
            return Some(Trust::Settled);
        }
        match self.standing {
            Standing::Settled | Standing::Working { .. } => Some(Trust::Working),
            Standing::Unproven => Some(Trust::Unproven),
            Standing::Down(_) | Standing::LinkDown(_) => None,
        }
    }

    /// When time alone makes it settled.
    fn settles(&self, now: Instant) -> Option<Instant> {
        match (&self.standing, self.will) {
            (Standing::LinkDown(_), _) => None,
            (_, Will::ForcedUp) | (Standing::Settled, _) => Some(now),
            (Standing::Working { settles }, _) => *settles,
            (Standing::Unproven | Standing::Down(_), _) => None,
        }
    }

    /// Whether traffic may come here when what carries is lost, and if so, whether it is known to
    /// work.
    pub fn could_carry(&self) -> Option<bool> {
        let proven = match self.standing {
            Standing::Settled | Standing::Working { .. } => true,
            Standing::Unproven => false,
            Standing::Down(_) if self.will == Will::ForcedUp => true,
            Standing::Down(_) | Standing::LinkDown(_) => return None,
        };
        (!self.is_drained()).then_some(proven)
    }

    fn is_drained(&self) -> bool {
        self.will == Will::Drained
    }
}

impl Question<'_> {
    fn carry(&self) -> Carry {
        let staying = self.staying();
        let chosen = match staying.is_empty() {
            true => self.afresh(),
            false => self.improved(staying),
        };
        match chosen.is_empty() {
            true => self.none_works(),
            false => Carry::Gateways(chosen),
        }
    }

    fn current(&self) -> &[usize] {
        self.carrying.map_or(&[], Carry::gateways)
    }

    /// The members that work, in order, with how far they can be relied on.
    fn working(&self) -> impl Iterator<Item = (usize, &Member, Trust)> {
        let members = self.members.iter().enumerate();
        members.filter_map(|(index, member)| Some((index, member, member.trust(self.now)?)))
    }

    /// `failover`: the first of these; `ecmp`: all.
    fn by_mode(&self, mut list: Vec<usize>) -> Vec<usize> {
        if self.settings.mode == Mode::Failover {
            list.truncate(1);
        }
        list
    }

    /// What carries now and may go on.
    fn staying(&self) -> Vec<usize> {
        let current = self.current();
        // Somebody's drain waits until another gateway is known to carry.
        let relieved = self.working().any(|(index, member, trust)| {
            !member.is_drained() && (trust < Trust::Unproven || current.contains(&index))
        });
        let stays = |(index, member, _): &(usize, &Member, Trust)| {
            current.contains(index) && !(member.is_drained() && relieved)
        };
        let staying = self.working().filter(stays);
        self.by_mode(staying.map(|(index, ..)| index).collect())
    }

    /// What to take where nothing that carries works.
    fn afresh(&self) -> Vec<usize> {
        // To end an outage takes a proof: after a restart, too, or packets would come and go.
        let outage = match self.settings.on_all_down {
            OnAllDown::Keep => false,
            _ => matches!(self.carrying, Some(Carry::Withdraw | Carry::Blackhole)),
        };
        let able = |trust: Trust| !(outage && trust == Trust::Unproven);
        let candidates: Vec<_> = self.working().filter(|(.., trust)| able(*trust)).collect();
        // A gateway that is drained but works is better than none.
        let drained = candidates.iter().all(|(_, member, _)| member.is_drained());
        let willing = candidates
            .iter()
            .filter(|(_, member, _)| drained || !member.is_drained());
        // At first all are taken as healthy, and the order decides.
        let best = match self.carrying {
            None => Some(Trust::Unproven),
            Some(_) => willing.clone().map(|(.., trust)| *trust).min(),
        };
        let chosen = willing.filter(|(.., trust)| Some(*trust) <= best);
        self.by_mode(chosen.map(|(index, ..)| *index).collect())
    }

    /// What carries and works, or what is better by now.
    fn improved(&self, staying: Vec<usize>) -> Vec<usize> {
        // A change that has to be made anyway is made whole.
        let moved = self.moved.filter(|_| staying == self.current());
        let upgrades = self.upgrades(&staying, moved);
        let due = upgrades.filter(|(_, due)| *due <= self.now);
        let mut better: Vec<usize> = due.map(|(index, _)| index).collect();
        if self.settings.mode == Mode::Ecmp || better.is_empty() {
            better.extend(staying);
            better.sort_unstable();
        }
        self.by_mode(better)
    }

    /// The members that would be better than these, which work, or beside them, and when.
    fn upgrades(
        &self,
        carrying: &[usize],
        moved: Option<Instant>,
    ) -> impl Iterator<Item = (usize, Instant)> {
        let first = carrying.first().copied().unwrap_or(0);
        let members = self.members.iter().enumerate();
        members.filter_map(move |(index, member)| {
            let better = match self.settings.mode {
                Mode::Failover => self.settings.preempt && index < first,
                Mode::Ecmp => !carrying.contains(&index),
            };
            let settles = member.settles(self.now)?;
            let still = moved.map_or(settles, |moved| moved + member.hold_down);
            (better && !member.is_drained() && !self.isolated)
                .then_some((index, settles.max(still)))
        })
    }

    fn none_works(&self) -> Carry {
        match self.settings.on_all_down {
            OnAllDown::Withdraw => Carry::Withdraw,
            OnAllDown::Blackhole => Carry::Blackhole,
            OnAllDown::Keep if !self.current().is_empty() => Carry::Keep(self.current().to_vec()),
            OnAllDown::Keep => Carry::Keep(self.presumable()),
        }
    }

    /// What would carry if nobody had proven anything: those with a link, for their routes can at
    /// least be installed; failing that, all.
    fn presumable(&self) -> Vec<usize> {
        let linked =
            |(_, member): &(usize, &Member)| !matches!(member.standing, Standing::LinkDown(_));
        let members = || self.members.iter().enumerate();
        let all_unlinked = !members().any(|entry| linked(&entry));
        let presumed = members().filter(|entry| all_unlinked || linked(entry));
        self.by_mode(presumed.map(|(index, _)| index).collect())
    }
}
