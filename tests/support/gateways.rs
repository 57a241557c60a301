//! The life of a set of gateways on a made-up clock: probes are sent and come back, people and
//! links do what they do, and what is decided is written down. Shared by the golden timelines and
//! the properties. A moment is a number of milliseconds since the beginning.

#![allow(
    dead_code,
    reason = "timelines read what is told, properties the moves"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use srsync::gateway::{
    Carry, Decider, Health, Loss, Member, Outcome, Rules, Set, Settings, Standing, Turn, Via, Will,
    Witnesses,
};

/// What is the same during the whole life.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) rules: Rules,
    pub(crate) interval: u64,
    pub(crate) timeout: u64,
    /// Gateways that nobody probes.
    pub(crate) unchecked: BTreeSet<IpAddr>,
    pub(crate) witnesses: Vec<IpAddr>,
}

/// Something that happens.
#[derive(Debug, Clone)]
pub(crate) enum Deed {
    /// From now on probes of this gateway or witness end like this.
    Behave(IpAddr, Behaviour),
    /// The link of a gateway goes up or down.
    Link(IpAddr, bool),
    /// Somebody decides about a gateway.
    Will(IpAddr, Will),
    /// The document names other gateways.
    Gateways(Vec<IpAddr>),
    /// The document says something else.
    Settings(Settings),
    /// The daemon is restarted, and finds what it left in the kernel.
    Restart,
}

/// How probes end.
#[derive(Debug, Clone)]
pub(crate) enum Behaviour {
    /// With an answer after so long.
    Answers(u64),
    /// At once, with this, or when the time is over.
    Fails(Loss),
}

/// A change of what carries.
#[derive(Debug, Clone)]
pub(crate) struct Move {
    pub(crate) at: u64,
    pub(crate) from: Option<Carry<Via>>,
    pub(crate) to: Carry<Via>,
    pub(crate) why: Option<String>,
    /// The members as they were then.
    pub(crate) members: Vec<Member>,
    pub(crate) isolated: bool,
}

pub(crate) struct Life {
    setup: Setup,
    settings: Settings,
    gateways: Vec<IpAddr>,
    start: Instant,
    pub(crate) now: u64,
    health: BTreeMap<IpAddr, Health>,
    wills: BTreeMap<IpAddr, Will>,
    behaviours: BTreeMap<IpAddr, Behaviour>,
    dead_links: BTreeSet<IpAddr>,
    witnesses: Witnesses,
    decider: Decider,
    /// Probes on their way: when they end, of whom, how.
    flying: Vec<(u64, IpAddr, Outcome)>,
    next_probes: u64,
    next: Option<u64>,
    pub(crate) told: Vec<(u64, String)>,
    pub(crate) moves: Vec<Move>,
}

impl Life {
    pub(crate) fn new(
        setup: Setup,
        settings: Settings,
        gateways: Vec<IpAddr>,
        found: Option<Carry<Via>>,
    ) -> Self {
        let start = Instant::now();
        Self {
            witnesses: Witnesses::new(setup.witnesses.clone(), setup.rules.fall),
            setup,
            settings,
            gateways,
            start,
            now: 0,
            health: BTreeMap::new(),
            wills: BTreeMap::new(),
            behaviours: BTreeMap::new(),
            dead_links: BTreeSet::new(),
            decider: Decider::new(found, start),
            flying: Vec::new(),
            next_probes: 0,
            next: None,
            told: Vec::new(),
            moves: Vec::new(),
        }
    }

    /// What happens at one moment, after what was to happen until then.
    pub(crate) fn at(&mut self, moment: u64, deeds: Vec<Deed>) {
        self.run_until(moment);
        for deed in deeds {
            self.happens(deed);
        }
        self.decide();
    }

    /// Lets time go by.
    pub(crate) fn run_until(&mut self, end: u64) {
        loop {
            let landing = self.flying.iter().map(|(due, ..)| *due).min();
            let always = self.next_probes.min(landing.unwrap_or(u64::MAX));
            let moment = always.min(self.next.unwrap_or(u64::MAX));
            // A next moment that has passed would be asked for again and again.
            assert!(moment >= self.now, "{moment} is before {}", self.now);
            if moment >= end {
                self.stays_until(end);
                self.now = end;
                return;
            }
            self.stays_until(moment);
            self.now = moment;
            self.land();
            if self.next_probes <= moment {
                self.send();
            }
            self.decide();
        }
    }

    /// What carries.
    pub(crate) fn carrying(&self) -> Option<&Carry<Via>> {
        self.decider.carrying()
    }

    /// The members as they are now.
    pub(crate) fn members(&self) -> Vec<Member> {
        self.members_at(self.now)
    }

    fn instant(&self, moment: u64) -> Instant {
        self.start + Duration::from_millis(moment)
    }

    fn members_at(&self, moment: u64) -> Vec<Member> {
        let member = |address: &IpAddr| {
            let health = self.health.get(address);
            let unknown = Standing::Unproven;
            Member {
                via: via(*address),
                standing: health.map_or(unknown, |h| h.standing(self.instant(moment))),
                will: self.wills.get(address).copied().unwrap_or_default(),
                hold_down: self.setup.rules.hold_down,
            }
        };
        self.gateways.iter().map(member).collect()
    }

    fn happens(&mut self, deed: Deed) {
        match deed {
            Deed::Behave(who, behaviour) => {
                self.behaviours.insert(who, behaviour);
            }
            Deed::Link(who, true) => {
                self.dead_links.remove(&who);
            }
            Deed::Link(who, false) => {
                self.dead_links.insert(who);
            }
            Deed::Will(who, will) => {
                self.wills.insert(who, will);
            }
            Deed::Gateways(list) => self.gateways = list,
            Deed::Settings(settings) => self.settings = settings,
            Deed::Restart => self.restart(),
        }
    }

    fn restart(&mut self) {
        let found = match self.decider.carrying() {
            Some(Carry::Gateways(list) | Carry::Keep(list)) => Some(Carry::Gateways(list.clone())),
            Some(Carry::Blackhole) => Some(Carry::Blackhole),
            Some(Carry::Withdraw) | None => None,
        };
        self.decider = Decider::new(found, self.instant(self.now));
        self.health.clear();
        self.flying.clear();
        self.witnesses = Witnesses::new(self.setup.witnesses.clone(), self.setup.rules.fall);
        self.told.push((self.now, "restarted".to_owned()));
    }

    /// Every gateway has a health and knows about its link.
    fn look_at_links(&mut self) {
        let now = self.instant(self.now);
        self.health
            .retain(|address, _| self.gateways.contains(address));
        for address in &self.gateways {
            let health = self.health.entry(*address).or_insert_with(|| {
                let rules = self.setup.rules;
                match self.setup.unchecked.contains(address) {
                    true => Health::unwatched(rules.hold_down),
                    false => Health::watched(rules, format!("ICMP probes to {address}")),
                }
            });
            let turn = match self.dead_links.contains(address) {
                true => health.link_down("its link is down", now),
                false => health.link_up(now),
            };
            self.told
                .extend(turn.map(|turn| (self.now, told(*address, &turn))));
        }
    }

    fn send(&mut self) {
        self.next_probes = self.now + self.setup.interval;
        let checked = self
            .gateways
            .iter()
            .filter(|a| !self.setup.unchecked.contains(a));
        for address in checked.chain(&self.setup.witnesses) {
            let (takes, why) = match self.behaviours.get(address) {
                None => (1, None),
                Some(Behaviour::Answers(takes)) => (*takes, None),
                Some(Behaviour::Fails(Loss::Timeout)) => (self.setup.timeout, Some(Loss::Timeout)),
                Some(Behaviour::Fails(why)) => (1, Some(why.clone())),
            };
            let took = Duration::from_millis(takes);
            let outcome = match why {
                None => Outcome::Answered { round_trip: took },
                Some(why) => Outcome::Lost {
                    address: *address,
                    why,
                    waited: took,
                },
            };
            self.flying.push((self.now + takes, *address, outcome));
        }
    }

    /// Probes come back, witnesses first.
    fn land(&mut self) {
        let now = self.instant(self.now);
        let due = |(due, ..): &mut (u64, IpAddr, Outcome)| *due <= self.now;
        let mut landed: Vec<_> = self.flying.extract_if(.., due).collect();
        landed.sort_by_key(|(_, address, _)| !self.setup.witnesses.contains(address));
        for (_, address, outcome) in landed {
            if self.setup.witnesses.contains(&address) {
                let turn = self.witnesses.probe(address, outcome.is_answered(), now);
                let text = |isolated| match isolated {
                    true => "the node is isolated".to_owned(),
                    false => "the node is not isolated any longer".to_owned(),
                };
                self.told
                    .extend(turn.map(|isolated| (self.now, text(isolated))));
            } else if let Some(health) = self.health.get_mut(&address) {
                let turn = health.probe(outcome, &self.witnesses, now);
                self.told
                    .extend(turn.map(|turn| (self.now, told(address, &turn))));
            }
        }
    }

    fn decide(&mut self) {
        self.look_at_links();
        let (members, now) = (self.members(), self.instant(self.now));
        let set = Set {
            settings: self.settings,
            members: &members,
            isolated: self.witnesses.isolated(),
        };
        let from = self.decider.carrying().cloned();
        let decision = self.decider.decide(&set, now);
        let again = self.decider.clone().decide(&set, now);
        assert_eq!(decision.carry, again.carry, "asked twice at {}", self.now);
        let millis = |next: Instant| next.duration_since(self.start).as_millis();
        self.next = decision
            .next
            .map(|next| u64::try_from(millis(next)).unwrap());
        let to = self.decider.carrying().cloned().unwrap();
        if from.as_ref().map(in_any_order) != Some(in_any_order(&to)) {
            let why = decision.why.as_ref();
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            self.told
                .push((self.now, format!("=> {}{why}", shown(&to))));
            self.moves.push(Move {
                at: self.now,
                from,
                to,
                why: decision.why,
                isolated: set.isolated,
                members,
            });
        }
    }

    /// Without news nothing changes before the moment that the last decision named.
    fn stays_until(&self, moment: u64) {
        let Some(carrying) = self.decider.carrying().filter(|_| moment > self.now + 1) else {
            return;
        };
        for asked in [u64::midpoint(self.now, moment), moment - 1] {
            let mut decider = self.decider.clone();
            let set = Set {
                settings: self.settings,
                members: &self.members_at(asked),
                isolated: self.witnesses.isolated(),
            };
            decider.decide(&set, self.instant(asked));
            assert_eq!(decider.carrying(), Some(carrying), "changed at {asked}");
        }
    }
}

pub(crate) fn via(address: IpAddr) -> Via {
    Via {
        address,
        interface: None,
    }
}

/// The document may list the same gateways in another order: that moves nothing.
fn in_any_order(carry: &Carry<Via>) -> String {
    let mut words: Vec<String> = carry.gateways().iter().map(Via::to_string).collect();
    words.sort();
    format!("{:?} {words:?}", std::mem::discriminant(carry))
}

fn told(address: IpAddr, turn: &Turn) -> String {
    match turn {
        Turn::Proven(cause) => format!("{address} is proven: {cause}"),
        Turn::Fell(cause) => format!("{address} fell: {cause}"),
        Turn::Rose(cause) => format!("{address} rose: {cause}"),
    }
}

fn shown(carry: &Carry<Via>) -> String {
    let list = |list: &[Via]| {
        let via: Vec<String> = list.iter().map(|via| format!("via {via}")).collect();
        via.join(" ")
    };
    match carry {
        Carry::Gateways(gateways) => list(gateways),
        Carry::Keep(gateways) => format!("kept {}", list(gateways)),
        Carry::Withdraw => "withdrawn".to_owned(),
        Carry::Blackhole => "blackhole".to_owned(),
    }
}
