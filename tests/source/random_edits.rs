//! Whatever is done to a directory, what is in force is what a simple model says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;

use proptest::collection::vec;
use proptest::prelude::*;
use srsync::model::{Document, Target};

use super::keeping::{Watched, names};
use super::{Dir, route};

const FILES: [&str; 4] = ["a.yaml", "b.yaml", "c.yaml", "d.yaml"];

/// Something that happens to a file.
#[derive(Debug, Clone)]
enum Edit {
    /// It is written with these documents, each with a gateway.
    Write(usize, Vec<(u8, u8)>),
    /// The same, and a document with an error after them.
    Break(usize, Vec<(u8, u8)>),
    /// It is no text any more.
    Garble(usize),
    Truncate(usize),
    Delete(usize),
    Rename(usize, usize),
    Swap(usize, usize),
    /// The directory is away for one reading.
    Away,
}

fn edit() -> impl Strategy<Value = Edit> {
    let file = || 0..FILES.len();
    let documents = || vec((0..6_u8, 1..4_u8), 0..4);
    prop_oneof![
        4 => (file(), documents()).prop_map(|(file, documents)| Edit::Write(file, documents)),
        3 => (file(), documents()).prop_map(|(file, documents)| Edit::Break(file, documents)),
        1 => file().prop_map(Edit::Garble),
        1 => file().prop_map(Edit::Truncate),
        1 => file().prop_map(Edit::Delete),
        1 => (file(), file()).prop_map(|(from, to)| Edit::Rename(from, to)),
        1 => (file(), file()).prop_map(|(a, b)| Edit::Swap(a, b)),
        1 => Just(Edit::Away),
    ]
}

/// What a file says.
#[derive(Debug, Clone, PartialEq)]
enum Says {
    /// These documents, and whether that is all of them.
    Documents(Vec<(u8, u8)>, bool),
    Nothing,
    Unreadable,
}

/// Name → gateway.
type Routes = BTreeMap<u8, u8>;

/// What should be in force.
#[derive(Debug, Default)]
struct Model {
    now: BTreeMap<usize, Says>,
    /// What counts of each file, and whether it was good.
    kept: BTreeMap<usize, (Vec<(u8, u8)>, bool)>,
    in_force: Routes,
}

impl Model {
    fn read(&mut self) {
        if self.now.is_empty() {
            return;
        }
        self.kept.retain(|file, _| self.now.contains_key(file));
        for (file, says) in &self.now {
            let (documents, good) = self.kept.entry(*file).or_default();
            match says {
                Says::Documents(now, true) => (*documents, *good) = (now.clone(), true),
                Says::Documents(now, false) if !*good => documents.clone_from(now),
                Says::Nothing if documents.is_empty() => *good = true,
                Says::Documents(..) | Says::Nothing | Says::Unreadable => {}
            }
        }
        let mut wanted: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
        for (name, gateway) in self.kept.values().flat_map(|(documents, _)| documents) {
            wanted.entry(*name).or_default().push(*gateway);
        }
        let before = std::mem::take(&mut self.in_force);
        for (name, gateways) in wanted {
            let gateway = match gateways.as_slice() {
                [only] => Some(*only),
                _ => before.get(&name).copied(),
            };
            self.in_force.extend(gateway.map(|gateway| (name, gateway)));
        }
    }

    /// Whether nothing is wrong: each file is good now, and each name is there once.
    fn is_complete(&self) -> bool {
        let kept = |file: &usize| {
            self.kept
                .get(file)
                .map_or(0, |(documents, _)| documents.len())
        };
        let good = |(file, says): (&usize, &Says)| match says {
            Says::Documents(_, whole) => *whole,
            Says::Nothing => kept(file) == 0,
            Says::Unreadable => false,
        };
        let all: usize = self.kept.keys().map(kept).sum();
        let names = self.kept.values().flat_map(|(documents, _)| documents);
        let names: BTreeSet<u8> = names.map(|(name, _)| *name).collect();
        !self.now.is_empty() && self.now.iter().all(good) && all == names.len()
    }
}

fn text(documents: &[(u8, u8)], whole: bool) -> String {
    let one = |(name, gateway): &(u8, u8)| {
        route(&format!("r{name}")).replace("10.0.0.1", &format!("10.0.0.{gateway}"))
    };
    let mut parts: Vec<String> = documents.iter().map(one).collect();
    if !whole {
        parts.push(route("bad").replace("10.0.0.1", "nonsense"));
    }
    format!("# documents\n{}", parts.join("---\n"))
}

/// Does it to the directory and to the model. Returns whether the directory is to be away.
fn perform(edit: &Edit, dir: &Dir, now: &mut BTreeMap<usize, Says>) -> bool {
    let path = |file: &usize| dir.0.join(FILES[*file]);
    match edit {
        Edit::Write(file, documents) => {
            fs::write(path(file), text(documents, true)).unwrap();
            now.insert(*file, Says::Documents(documents.clone(), true));
        }
        Edit::Break(file, documents) => {
            fs::write(path(file), text(documents, false)).unwrap();
            now.insert(*file, Says::Documents(documents.clone(), false));
        }
        Edit::Garble(file) => {
            fs::write(path(file), b"\xff").unwrap();
            now.insert(*file, Says::Unreadable);
        }
        Edit::Truncate(file) => {
            fs::write(path(file), "").unwrap();
            now.insert(*file, Says::Nothing);
        }
        Edit::Delete(file) => {
            let _ = fs::remove_file(path(file));
            now.remove(file);
        }
        Edit::Rename(from, to) => {
            if let Some(says) = now.remove(from) {
                fs::rename(path(from), path(to)).unwrap();
                now.insert(*to, says);
            }
        }
        Edit::Swap(a, b) => {
            if a != b && now.contains_key(a) && now.contains_key(b) {
                let aside = dir.0.join(".aside");
                fs::rename(path(a), &aside).unwrap();
                fs::rename(path(b), path(a)).unwrap();
                fs::rename(&aside, path(b)).unwrap();
                let (was_a, was_b) = (now.remove(a).unwrap(), now.remove(b).unwrap());
                now.extend([(*a, was_b), (*b, was_a)]);
            }
        }
        Edit::Away => return true,
    }
    false
}

fn gateway(document: &Document) -> (u8, u8) {
    let Target::Gateways(gateways) = &document.target else {
        panic!("{document:?}");
    };
    let IpAddr::V4(address) = gateways.list[0].address else {
        panic!("{document:?}");
    };
    let name = document.id.name.trim_start_matches('r').parse().unwrap();
    (name, address.octets()[3])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_in_force_is_what_the_model_says(steps in vec((edit(), any::<bool>()), 1..40)) {
        let dir = Dir::new();
        let mut watched = Watched::new(&[&dir.0]);
        let mut model = Model::default();
        let mut shown = Routes::new();
        let mut complete = true;
        for (edit, look) in &steps {
            let away = perform(edit, &dir, &mut model.now);
            let elsewhere = dir.0.with_extension("away");
            if away {
                fs::rename(&dir.0, &elsewhere).unwrap();
            } else if *look {
                model.read();
            } else {
                continue;
            }
            if let Some(snapshot) = watched.refresh() {
                prop_assert!(names(&snapshot).is_sorted());
                shown = snapshot.documents.iter().map(gateway).collect();
                complete = snapshot.is_complete();
            }
            prop_assert_eq!(&shown, &model.in_force, "after {:?}", edit);
            prop_assert_eq!(complete, !away && model.is_complete(), "after {:?}", edit);
            if away {
                fs::rename(&elsewhere, &dir.0).unwrap();
            }
        }
    }
}
