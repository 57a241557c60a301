//! What holds of every choice among gateways, and of every life that a set of them leads.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use srsync::gateway::{
    Carry, Choice, Loss, Member, Question, Rules, Settings, Standing, Will, choose,
};
use srsync::model::document::{Mode, OnAllDown};

use super::life::{Behaviour, Deed, Life, Move, Setup, via};

const HOLD_DOWN: u64 = 4000;

fn address(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, number).into()
}

fn settings() -> impl Strategy<Value = Settings> {
    let mode = prop_oneof![Just(Mode::Failover), Just(Mode::Ecmp)];
    let on_all_down = prop_oneof![
        Just(OnAllDown::Keep),
        Just(OnAllDown::Withdraw),
        Just(OnAllDown::Blackhole)
    ];
    (mode, on_all_down, any::<bool>()).prop_map(|(mode, on_all_down, preempt)| Settings {
        mode,
        on_all_down,
        preempt,
    })
}

fn will() -> impl Strategy<Value = Will> {
    prop_oneof![4 => Just(Will::Auto), 1 => Just(Will::Drained), 1 => Just(Will::ForcedUp)]
}

/// A question whose moments are milliseconds after any beginning.
#[derive(Debug, Clone)]
struct Asked {
    settings: Settings,
    members: Vec<(Known, Will, u64)>,
    carrying: Option<Carry>,
    moved: Option<u64>,
    isolated: bool,
    now: u64,
}

#[derive(Debug, Clone, Copy)]
enum Known {
    Settled,
    Working(Option<u64>),
    Unproven,
    Down,
    LinkDown,
}

impl Asked {
    fn members(&self, start: Instant) -> Vec<Member> {
        let standing = |known: Known| match known {
            Known::Settled => Standing::Settled,
            Known::Working(settles) => Standing::Working {
                settles: settles.map(|millis| after(start, millis)),
            },
            Known::Unproven => Standing::Unproven,
            Known::Down => Standing::Down("x".into()),
            Known::LinkDown => Standing::LinkDown("x".into()),
        };
        let numbered = self.members.iter().zip(1..);
        let member = |(&(known, will, hold_down), number): (&(Known, Will, u64), u8)| Member {
            via: via(address(number)),
            standing: standing(known),
            will,
            hold_down: Duration::from_millis(hold_down),
        };
        numbered.map(member).collect()
    }

    fn answer(&self, start: Instant) -> Choice {
        choose(&Question {
            settings: self.settings,
            members: &self.members(start),
            carrying: self.carrying.as_ref(),
            moved: self.moved.map(|millis| after(start, millis)),
            isolated: self.isolated,
            now: after(start, self.now),
        })
    }

    /// The same question once this was the answer, some time later.
    fn later(&self, choice: &Choice, start: Instant, now: u64) -> Self {
        Self {
            carrying: Some(choice.carry.clone()),
            moved: choice.moved.map(|moved| millis(start, moved)),
            now,
            ..self.clone()
        }
    }

    fn works(&self, index: usize) -> bool {
        let (known, will, _) = self.members[index];
        match known {
            Known::LinkDown => false,
            Known::Down => will == Will::ForcedUp,
            _ => true,
        }
    }

    fn is_drained(&self, index: usize) -> bool {
        self.members[index].1 == Will::Drained
    }

    fn is_unproven(&self, index: usize) -> bool {
        let (known, will, _) = self.members[index];
        matches!(known, Known::Unproven) && will != Will::ForcedUp
    }
}

fn after(start: Instant, millis: u64) -> Instant {
    start + Duration::from_millis(millis)
}

fn millis(start: Instant, moment: Instant) -> u64 {
    u64::try_from(moment.duration_since(start).as_millis()).unwrap()
}

fn asked() -> impl Strategy<Value = Asked> {
    let known = prop_oneof![
        2 => Just(Known::Settled),
        2 => proptest::option::of(0u64..20_000).prop_map(Known::Working),
        1 => Just(Known::Unproven),
        2 => Just(Known::Down),
        1 => Just(Known::LinkDown),
    ];
    let hold_down = prop_oneof![Just(0u64), Just(3000), Just(HOLD_DOWN)];
    let members = proptest::collection::vec((known, will(), hold_down), 1..5);
    let subset = proptest::collection::btree_set(0usize..4, 0..4);
    let kind = 0u8..5;
    let past = proptest::option::of(0u64..10_000);
    (settings(), members, subset, kind, past, any::<bool>()).prop_map(
        |(settings, members, subset, kind, moved, isolated)| {
            let known = subset.into_iter().filter(|index| *index < members.len());
            let carrying = match kind {
                0 => None,
                1 | 2 => Some(Carry::Gateways(known.collect())),
                3 => Some(Carry::Keep(known.collect())),
                _ => Some(match settings.on_all_down {
                    OnAllDown::Blackhole => Carry::Blackhole,
                    _ => Carry::Withdraw,
                }),
            };
            Asked {
                settings,
                members,
                carrying,
                moved,
                isolated,
                now: 10_000,
            }
        },
    )
}

/// A life: what happens every so often, and what there is.
#[derive(Debug, Clone)]
struct Script {
    settings: Settings,
    gateways: u8,
    unchecked: BTreeSet<IpAddr>,
    witness: bool,
    deeds: Vec<(u64, Deed)>,
}

fn witness() -> IpAddr {
    Ipv4Addr::new(192, 0, 2, 1).into()
}

fn behaviour() -> impl Strategy<Value = Behaviour> {
    prop_oneof![
        Just(Behaviour::Answers(1)),
        Just(Behaviour::Answers(400)),
        Just(Behaviour::Fails(Loss::Timeout)),
        Just(Behaviour::Fails(Loss::Refused)),
    ]
}

/// What people, links and gateways do; and whoever writes the document, if he is to.
fn script(edits: bool) -> impl Strategy<Value = Script> {
    let who = || (1u8..5).prop_map(address);
    let list = proptest::sample::subsequence((1u8..5).map(address).collect::<Vec<_>>(), 1..=4);
    let edit = prop_oneof![
        settings().prop_map(Deed::Settings),
        list.prop_shuffle().prop_map(Deed::Gateways)
    ];
    let deed = prop_oneof![
        u32::from(edits) * 3 => edit,
        8 => (who(), behaviour()).prop_map(|(who, how)| Deed::Behave(who, how)),
        2 => behaviour().prop_map(|how| Deed::Behave(witness(), how)),
        3 => (who(), any::<bool>()).prop_map(|(who, up)| Deed::Link(who, up)),
        2 => (who(), will()).prop_map(|(who, will)| Deed::Will(who, will)),
        1 => Just(Deed::Restart),
    ];
    let wait = prop_oneof![Just(0u64), 1u64..3000, 1000u64..20_000];
    let deeds = proptest::collection::vec((wait, deed), 0..40);
    let unchecked = proptest::option::weighted(0.3, who());
    (settings(), 1u8..5, unchecked, any::<bool>(), deeds).prop_map(
        |(settings, gateways, unchecked, witness, deeds)| Script {
            settings,
            gateways,
            unchecked: unchecked.into_iter().collect(),
            witness,
            deeds,
        },
    )
}

impl Script {
    /// Lives it. Life itself asserts that asking again changes nothing, now and until the moment
    /// that the last decision named.
    fn live(&self) -> Life {
        let setup = Setup {
            rules: Rules {
                fall: 2,
                rise: 2,
                hold_down: Duration::from_millis(HOLD_DOWN),
            },
            interval: 1000,
            timeout: 500,
            unchecked: self.unchecked.clone(),
            witnesses: self.witness.then(witness).into_iter().collect(),
        };
        let gateways = (1..=self.gateways).map(address).collect();
        let mut life = Life::new(setup, self.settings, gateways, None);
        let mut moment = 0;
        for (wait, deed) in &self.deeds {
            moment += wait;
            life.at(moment, vec![deed.clone()]);
        }
        life
    }

    /// Everything gets well.
    fn heal(&self, life: &mut Life) {
        let gateways: Vec<_> = (1..=self.gateways).map(address).collect();
        let written = [
            Deed::Gateways(gateways.clone()),
            Deed::Settings(self.settings),
        ];
        let well = gateways.into_iter().flat_map(|gateway| {
            [
                Deed::Behave(gateway, Behaviour::Answers(1)),
                Deed::Link(gateway, true),
                Deed::Will(gateway, Will::Auto),
            ]
        });
        let heard = Deed::Behave(witness(), Behaviour::Answers(1));
        life.at(life.now, well.chain([heard]).chain(written).collect());
        // Time for the answers, and for twice the longest hold-down.
        life.run_until(life.now + 10_000 + 2 * 16 * HOLD_DOWN);
    }
}

/// Whether nothing forced this move: all that carried still worked, and nobody wanted it away.
fn is_free(moved: &Move) -> bool {
    let Some(Carry::Gateways(from)) = &moved.from else {
        return false;
    };
    from.iter().all(|via| {
        let member = moved.members.iter().find(|member| member.via.is(via));
        member.is_some_and(|member| match (&member.standing, member.will) {
            (Standing::LinkDown(_), _) | (_, Will::Drained) => false,
            (Standing::Down(_), will) => will == Will::ForcedUp,
            _ => true,
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_choice_knows_no_time_but_what_it_is_told(asked in asked(), shift in 0u64..1_000_000) {
        let start = Instant::now();
        let (here, there) = (asked.answer(start), asked.answer(after(start, shift)));
        let moved = |moment: Option<Instant>| moment.map(|moment| after(moment, shift));
        prop_assert_eq!(&here.carry, &there.carry);
        prop_assert_eq!(moved(here.next), there.next);
        prop_assert_eq!(moved(here.moved), there.moved);
    }

    #[test]
    fn what_works_carries_and_otherwise_what_on_all_down_allows(asked in asked()) {
        let choice = asked.answer(Instant::now());
        let all = 0..asked.members.len();
        match &choice.carry {
            Carry::Gateways(list) => {
                prop_assert!(!list.is_empty() && list.is_sorted());
                prop_assert!(list.iter().all(|index| asked.works(*index)));
                prop_assert!(asked.settings.mode == Mode::Ecmp || list.len() == 1);
                return Ok(());
            }
            Carry::Keep(list) => {
                prop_assert_eq!(asked.settings.on_all_down, OnAllDown::Keep);
                prop_assert!(!list.is_empty());
                let current = asked.carrying.as_ref().map_or(&[][..], Carry::gateways);
                prop_assert!(current.is_empty() || list == current);
            }
            Carry::Withdraw => prop_assert_eq!(asked.settings.on_all_down, OnAllDown::Withdraw),
            Carry::Blackhole => prop_assert_eq!(asked.settings.on_all_down, OnAllDown::Blackhole),
        }
        // Only an outage that had begun goes on although something might work.
        let nowhere = matches!(asked.carrying, Some(Carry::Withdraw | Carry::Blackhole));
        prop_assert!(
            all.clone().all(|index| !asked.works(index) || (nowhere && asked.is_unproven(index)))
        );
    }

    #[test]
    fn a_drained_gateway_carries_only_while_no_other_is_known_to_work(asked in asked()) {
        let choice = asked.answer(Instant::now());
        let Carry::Gateways(list) = &choice.carry else { return Ok(()) };
        let current = asked.carrying.as_ref().map_or(&[][..], Carry::gateways);
        for drained in list.iter().filter(|index| asked.is_drained(**index)) {
            let relief = (0..asked.members.len()).find(|index| {
                asked.works(*index) && !asked.is_drained(*index) && !asked.is_unproven(*index)
            });
            prop_assert_eq!(relief, None, "{} carries", drained);
            let guess = (0..asked.members.len())
                .any(|index| asked.is_unproven(index) && !asked.is_drained(index));
            let nowhere = matches!(asked.carrying, Some(Carry::Withdraw | Carry::Blackhole));
            prop_assert!(!guess || nowhere || current.contains(drained));
        }
    }

    #[test]
    fn nothing_changes_before_the_moment_that_is_named_and_then_something_does(
        asked in asked(), share in 0u64..100
    ) {
        let start = Instant::now();
        let choice = asked.answer(start);
        let next = choice.next.map(|next| millis(start, next));
        let until = next.unwrap_or(asked.now + 1_000_000);
        prop_assert!(until > asked.now);
        for now in [asked.now, asked.now + (until - asked.now) * share / 100, until - 1] {
            prop_assert_eq!(&asked.later(&choice, start, now).answer(start), &choice);
        }
        if let Some(next) = next {
            prop_assert_ne!(asked.later(&choice, start, next).answer(start).carry, choice.carry);
        }
    }

    #[test]
    fn an_isolated_node_leaves_only_what_cannot_carry(mut asked in asked()) {
        asked.isolated = true;
        let current = asked.carrying.as_ref().map_or(&[][..], Carry::gateways);
        let able = |index: &usize| asked.works(*index) && !asked.is_drained(*index);
        let failover = asked.settings.mode == Mode::Failover && current.len() > 1;
        if !current.is_empty() && current.iter().all(able) && !failover {
            let choice = asked.answer(Instant::now());
            prop_assert_eq!(choice.carry.gateways(), current);
            prop_assert_eq!(choice.next, None);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn never_two_moves_within_the_hold_down_away_from_what_works(script in script(false)) {
        let life = script.live();
        for pair in life.moves.windows(2) {
            let [before, moved] = pair else { continue };
            let apart = moved.at - before.at;
            let routes_moved = before.from.as_ref().map(Carry::gateways) != Some(before.to.gateways());
            let first = before.from.is_none();
            prop_assert!(
                !is_free(moved) || apart >= HOLD_DOWN || first || !routes_moved,
                "{:#?}", life.told
            );
        }
    }

    #[test]
    fn every_move_says_why(script in script(true)) {
        for moved in script.live().moves.iter().filter(|moved| moved.from.is_some()) {
            let why = moved.why.as_deref().unwrap_or_default();
            prop_assert!(!why.is_empty() && !why.ends_with(": "), "{moved:?}");
        }
    }

    #[test]
    fn an_isolated_node_moves_only_by_what_it_knows_itself(script in script(false)) {
        let life = script.live();
        for moved in life.moves.iter().filter(|moved| moved.isolated && moved.from.is_some()) {
            prop_assert!(!is_free(moved), "{:#?}", life.told);
        }
    }

    #[test]
    fn with_everything_well_the_first_carries_in_the_end(script in script(true)) {
        let mut life = script.live();
        script.heal(&mut life);
        let carrying = life.carrying().unwrap();
        let all: Vec<_> = (1..=script.gateways).map(|number| via(address(number))).collect();
        let Carry::Gateways(list) = carrying else {
            panic!("{carrying:?} though all is well: {:#?}", life.told)
        };
        match script.settings {
            Settings { mode: Mode::Ecmp, .. } => prop_assert_eq!(list, &all),
            Settings { preempt: true, .. } => prop_assert_eq!(list, &all[..1]),
            Settings { preempt: false, .. } => prop_assert_eq!(list.len(), 1),
        }
        // And there it stays.
        let moves = life.moves.len();
        life.run_until(life.now + 100_000);
        prop_assert_eq!(life.moves.len(), moves);
    }
}
