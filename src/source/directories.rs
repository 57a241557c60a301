//! Where a change can matter: directories, and which names in them.
//!
//! Must not watch them (`watch` does), nor read a document.

use std::collections::btree_map::{self, BTreeMap};
use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

/// The link behind which kubelet swaps all files of a mounted ConfigMap at once.
pub(super) const SWAPPED: &str = "..data";

/// So many links are followed, as by the kernel (`MAXSYMLINKS`).
const LINKS: usize = 40;

/// What matters in a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interest {
    /// Every name that does not begin with a dot.
    pub visible: bool,
    /// These names.
    pub names: BTreeSet<OsString>,
}

impl Interest {
    /// Whether something of this name matters.
    pub fn wants(&self, name: &OsStr) -> bool {
        let hidden = name.as_encoded_bytes().starts_with(b".");
        (self.visible && !hidden) || self.names.contains(name)
    }

    /// Whatever matters to either.
    pub(super) fn add(&mut self, other: &Self) {
        self.visible |= other.visible;
        self.names.extend(other.names.iter().cloned());
    }
}

/// Directories in which a change can matter, by their path without links.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directories(BTreeMap<PathBuf, Interest>);

impl Directories {
    /// A source: all that leads to it, and if it is a directory or becomes one, everything in it
    /// that is not hidden.
    pub fn add_source(&mut self, path: &Path) {
        if let Some(end) = self.add_path(path) {
            let interest = self.0.entry(end).or_default();
            interest.visible = true;
            interest.names.insert(SWAPPED.into());
        }
    }

    /// A file or directory itself, and all that leads to it: each link on the way, and where one
    /// is missing, the name it will have. Returns where the way ends, if that is worth watching.
    ///
    /// What is behind `..data` never changes in its place, and is another directory after each
    /// update: there the way ends.
    pub fn add_path(&mut self, path: &Path) -> Option<PathBuf> {
        let path = std::path::absolute(path).ok()?;
        let mut here = PathBuf::new();
        let mut ahead = VecDeque::new();
        push(&mut ahead, &path);
        let mut links = 0;
        while let Some(step) = ahead.pop_front() {
            let name = match step {
                Step::Root => {
                    here = PathBuf::from("/");
                    continue;
                }
                Step::Up => {
                    here.pop();
                    continue;
                }
                Step::Into(name) => name,
            };
            let next = here.join(&name);
            let goal = std::fs::read_link(&next).ok();
            if goal.is_some() || ahead.is_empty() || !next.exists() {
                self.add_name(&here, &name);
            }
            match goal {
                Some(_) if name == SWAPPED => return None,
                Some(goal) if links < LINKS => {
                    links += 1;
                    push(&mut ahead, &goal);
                }
                Some(_) => return None,
                None => here = next,
            }
        }
        Some(here)
    }

    /// The directories, and what matters in each.
    pub fn iter(&self) -> btree_map::Iter<'_, PathBuf, Interest> {
        self.0.iter()
    }

    fn add_name(&mut self, directory: &Path, name: &OsStr) {
        let interest = self.0.entry(directory.to_owned()).or_default();
        interest.names.insert(name.to_owned());
    }
}

enum Step {
    Root,
    Up,
    Into(OsString),
}

/// Puts the steps of a path before those that are still ahead.
fn push(ahead: &mut VecDeque<Step>, path: &Path) {
    for part in path.components().rev() {
        match part {
            Component::RootDir => ahead.push_front(Step::Root),
            Component::ParentDir => ahead.push_front(Step::Up),
            Component::Normal(name) => ahead.push_front(Step::Into(name.to_owned())),
            Component::CurDir | Component::Prefix(_) => {}
        }
    }
}
