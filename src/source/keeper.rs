//! Sources over the years: what they say now, with what was last good in the place of what is wrong.
//!
//! Nothing is lost to a mistake: a file that has errors, or cannot be read, or is just being
//! written, counts as it last was good, and so does a directory that is not there. Only what a
//! readable directory no longer holds is gone.
//!
//! Must not wait for changes (`watch` hints at them), nor know what a document means.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::directories::Directories;
use super::reader::{Content, Listing, Reader};
use super::state::{self, Condition, SourceState};
use super::told::{TOLD, Told};
use crate::model::{
    ConnectivityCheck, Document, Egress, FileId, FileName, GatewayOverride, Names, Place, Timestamp,
};
use crate::spec::{
    Diagnostic, Known, Problem, Severity, Valid, ValidOverride, take_ambiguous,
    take_ambiguous_overrides,
};

/// What all sources say at one moment, with what was last good in the place of what is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Every file that was ever met; a [`FileId`] is an index into it, and stays so.
    pub files: Arc<Vec<FileName>>,
    /// The documents in force, sorted by identity.
    pub documents: Arc<Vec<Document>>,
    /// The gateway overrides in force, sorted by gateway; also those whose time is over.
    pub overrides: Arc<Vec<GatewayOverride>>,
    /// The documents about forwarding, translation and rules in force, sorted by kind and name.
    pub egress: Arc<Vec<Egress>>,
    /// The connectivity checks in force, sorted by name.
    pub checks: Arc<Vec<ConnectivityCheck>>,
    /// All that is found in what is there now, also in files whose last good content is in force.
    pub diagnostics: Vec<Diagnostic>,
    /// The sources, in the order in which they were given.
    pub sources: Vec<SourceState>,
}

impl Snapshot {
    /// Whether everything can be read and is valid. If not, something that is wanted may be
    /// missing from `documents`, and nothing must be removed on their account.
    pub fn is_complete(&self) -> bool {
        let is_error = |diagnostic: &Diagnostic| diagnostic.severity == Severity::Error;
        let is_valid = |source: &SourceState| source.condition == Condition::Valid;
        self.sources.iter().all(is_valid) && !self.diagnostics.iter().any(is_error)
    }

    /// Why it is not complete, in one sentence.
    pub fn incomplete(&self) -> Option<String> {
        let missing = self.sources.iter().find_map(SourceState::missing);
        let path = |name: &FileName| Arc::clone(&name.path);
        missing.or_else(|| state::errors(&self.diagnostics, &self.files, path))
    }
}

/// Reads sources again and again, and keeps what was last good.
#[derive(Debug, Default)]
pub struct Keeper {
    reader: Reader,
    sources: Vec<Source>,
    /// What is told of texts that are no files: one more source, after the others.
    told: Option<Told>,
    /// How much was told when it was read last.
    told_read: u64,
    /// What is in force of each file.
    kept: BTreeMap<FileId, Kept>,
    /// The source that each document file was last reached through.
    homes: BTreeMap<FileId, Arc<Path>>,
    /// What was read last: if it is the same again, nothing has to be decided.
    last: Option<Last>,
    shown: Option<Snapshot>,
}

#[derive(Debug)]
struct Source {
    path: Arc<Path>,
    /// The document files that are in force.
    files: Vec<FileId>,
    /// When what is in force of it was first seen; `None` before the first reading.
    changed: Option<Timestamp>,
}

impl Source {
    fn new(path: &Path) -> Self {
        Self {
            path: path.into(),
            files: Vec::new(),
            changed: None,
        }
    }
}

/// What is in force of a file.
#[derive(Debug, Default)]
struct Kept {
    content: Arc<Content>,
    /// Whether it was without errors: then it is taken whole, until the file is so again.
    good: bool,
}

#[derive(Debug)]
struct Last {
    listings: Vec<Listing>,
    contents: Vec<(FileId, Arc<Content>)>,
    allow_empty: bool,
}

impl Last {
    /// Whether the other found the very same things.
    fn is_same(&self, other: &Self) -> bool {
        let same = |((a, before), (b, now)): (&(FileId, _), &(FileId, _))| {
            a == b && Arc::ptr_eq(before, now)
        };
        self.allow_empty == other.allow_empty
            && self.listings == other.listings
            && self.contents.len() == other.contents.len()
            && self.contents.iter().zip(&other.contents).all(same)
    }
}

impl Keeper {
    /// A keeper of these directories and files. It has read nothing yet.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        let mut keeper = Self::default();
        keeper.set_paths(paths);
        keeper
    }

    /// Keeps other paths from now on. What is known of those that stay is kept.
    pub fn set_paths(&mut self, paths: Vec<PathBuf>) {
        let root = match paths.as_slice() {
            [only] => Some(only.clone()),
            _ => None,
        };
        self.reader.files.set_root(root);
        let mut before = std::mem::take(&mut self.sources);
        let source = |path: &PathBuf| {
            let known = before.iter().position(|source| *source.path == **path);
            known.map_or_else(|| Source::new(path), |known| before.swap_remove(known))
        };
        let told = self.told.as_ref().map(|_| PathBuf::from(TOLD));
        self.sources = paths.iter().chain(&told).map(source).collect();
        self.last = None;
    }

    /// Keeps texts that are no files as well. None of them is known yet, so that until each of these
    /// collections was told nothing is complete.
    pub fn await_texts(&mut self, collections: impl IntoIterator<Item = String>) {
        self.told = Some(Told::awaiting(collections));
        self.sources.push(Source::new(Path::new(TOLD)));
    }

    /// What is told of texts that are no files, if there are to be any.
    pub fn told(&mut self) -> Option<&mut Told> {
        self.told.as_mut()
    }

    /// How often something had been told of texts when they were read last.
    pub fn told_read(&self) -> u64 {
        self.told_read
    }

    /// Reads everything again. `None` if nothing changed since: neither what is in force, nor any
    /// finding, nor the condition of a source.
    pub fn refresh(
        &mut self,
        names: &Names,
        allow_empty: bool,
        now: Timestamp,
    ) -> Option<Snapshot> {
        let read = self.read(names, allow_empty);
        if self.last.as_ref().is_some_and(|last| last.is_same(&read)) {
            return None;
        }
        let mut diagnostics = self.keep(&read.contents);
        let missing = self.list(&read);
        let (documents, ambiguous) =
            self.in_force(|content| &content.documents, |shown| &shown.documents);
        diagnostics.extend(ambiguous);
        let (egress, ambiguous) = self.in_force(|content| &content.egress, |shown| &shown.egress);
        diagnostics.extend(ambiguous);
        let (checks, ambiguous) = self.in_force(|content| &content.checks, |shown| &shown.checks);
        diagnostics.extend(ambiguous);
        let (overrides, ambiguous) = self.overrides_in_force();
        diagnostics.extend(ambiguous);
        for listing in &read.listings {
            if let Listing::Unreadable { finding, .. } = listing {
                diagnostics.push(finding.clone());
            }
        }
        let files = Arc::clone(self.reader.files.names());
        let path = |diagnostic: &Diagnostic| {
            let name = files.get(diagnostic.file.0 as usize);
            name.map(|name| Arc::clone(&name.path))
        };
        // By path, as a listing shows them: numbers only say which file was met first.
        diagnostics.sort_by_cached_key(|diagnostic| (path(diagnostic), diagnostic.order()));
        // A file that several documents include says the same each time.
        diagnostics.dedup();
        let mut snapshot = Snapshot {
            files,
            documents: Arc::new(documents),
            overrides: Arc::new(overrides),
            egress: Arc::new(egress),
            checks: Arc::new(checks),
            diagnostics,
            sources: Vec::new(),
        };
        self.date(&snapshot, now);
        self.last = Some(read);
        snapshot.sources = self.states(missing, &snapshot);
        if self.shown.as_ref() == Some(&snapshot) {
            return None;
        }
        self.shown = Some(snapshot.clone());
        Some(snapshot)
    }

    /// Every directory in which a change can matter. Which these are can change with every
    /// change: ask again after each [`refresh`](Self::refresh).
    pub fn directories(&self) -> Directories {
        let mut directories = Directories::default();
        let paths = self.sources.len() - usize::from(self.told.is_some());
        for source in self.sources.iter().take(paths) {
            directories.add_source(&source.path);
        }
        let contents = self.last.iter().flat_map(|last| &last.contents);
        let mut lists = BTreeSet::new();
        for (_, content) in contents {
            // Beside a link there is nothing to see of the file that it leads to.
            if content.path.is_symlink() {
                directories.add_path(&content.path);
            }
            lists.extend(content.lists.iter().map(|list| &list.path));
        }
        for list in lists {
            directories.add_path(list);
        }
        directories
    }

    fn read(&mut self, names: &Names, allow_empty: bool) -> Last {
        let mut reading = self.reader.begin(names);
        let paths = self.sources.len() - usize::from(self.told.is_some());
        let paths = self.sources.iter().take(paths);
        let mut listings: Vec<Listing> = paths.map(|source| reading.path(&source.path)).collect();
        self.told_read = self.told.as_ref().map_or(0, Told::count);
        listings.extend(self.told.as_ref().map(|told| reading.told(told)));
        let contents = reading.finish();
        self.reader.remember(&contents);
        Last {
            listings,
            contents,
            allow_empty,
        }
    }

    /// Takes each file over as it is now, or leaves it as it was. Returns all findings about them.
    fn keep(&mut self, contents: &[(FileId, Arc<Content>)]) -> Vec<Diagnostic> {
        let mut diagnostics = Vec::new();
        for (id, content) in contents {
            diagnostics.extend(content.diagnostics.iter().cloned());
            diagnostics.extend(self.kept.entry(*id).or_default().take(content));
        }
        diagnostics
    }

    /// Lists the files of each source: those that it holds now, or if that cannot be said, those
    /// that it held. Returns for each source what is missing, if anything is.
    fn list(&mut self, read: &Last) -> Vec<Option<(Condition, String)>> {
        let mut missing = Vec::new();
        for (source, listing) in self.sources.iter_mut().zip(&read.listings) {
            missing.push(match listing {
                Listing::Unreadable { why, .. } => Some((Condition::Unreadable, why.clone())),
                Listing::Directory(files) if files.is_empty() && !read.allow_empty => {
                    Some((Condition::Empty, state::NO_DOCUMENTS.to_owned()))
                }
                Listing::Directory(files) => {
                    source.files.clone_from(files);
                    None
                }
                Listing::Told { files, missing } => {
                    source.files.clone_from(files);
                    let why = missing.clone();
                    why.map(|why| (Condition::Unreadable, why))
                }
                Listing::File(file) => {
                    let content = read.contents.iter().find(|(id, _)| id == file);
                    let why = content.and_then(|(_, content)| content.unreadable.clone());
                    // What is no longer there may have been a directory: its files stay, too.
                    if why.is_none() {
                        source.files = vec![*file];
                    }
                    why.map(|why| (Condition::Unreadable, why))
                }
            });
        }
        // The first source that reaches a file is where it comes from.
        for source in self.sources.iter().rev() {
            let files = source.files.iter();
            self.homes
                .extend(files.map(|file| (*file, Arc::clone(&source.path))));
        }
        let listed: BTreeSet<FileId> = self.listed().collect();
        self.kept.retain(|file, _| listed.contains(file));
        missing
    }

    /// The files of all sources.
    fn listed(&self) -> impl Iterator<Item = FileId> {
        self.sources
            .iter()
            .flat_map(|source| &source.files)
            .copied()
    }

    /// All documents of a kind that are in force, sorted by identity, and what is wrong among them. Of two
    /// with one identity neither counts, but what had it before.
    fn in_force<T: Known>(
        &self,
        of: fn(&Content) -> &[Valid<T>],
        before: fn(&Snapshot) -> &[T],
    ) -> (Vec<T>, Vec<Diagnostic>) {
        let documents = self.kept().flat_map(|kept| of(&kept.content));
        let mut valid: Vec<Valid<T>> = documents.cloned().collect();
        valid.sort_by(|a, b| a.document.identity().cmp(&b.document.identity()));
        let doubtful: Vec<T> = valid
            .chunk_by(|a, b| a.document.identity() == b.document.identity())
            .filter_map(|namesakes| Some(namesakes.get(1)?.document.clone()))
            .collect();
        let diagnostics = take_ambiguous(&mut valid);
        let before = self.shown.as_ref().map_or(&[][..], before);
        let undoubted = doubtful.iter().filter_map(|doubtful| {
            let wanted = doubtful.identity();
            let at = before.binary_search_by(|document| document.identity().cmp(&wanted));
            before.get(at.ok()?).cloned()
        });
        let documents = valid.into_iter().map(|valid| valid.document);
        let mut documents: Vec<T> = documents.chain(undoubted).collect();
        documents.sort_by(|a, b| a.identity().cmp(&b.identity()));
        (documents, diagnostics)
    }

    /// The same of gateway overrides. Of two for one gateway neither counts, but what it had before.
    fn overrides_in_force(&self) -> (Vec<GatewayOverride>, Vec<Diagnostic>) {
        let kept = self.kept();
        let overrides = kept.flat_map(|kept| &kept.content.overrides);
        let mut valid: Vec<ValidOverride> = overrides.cloned().collect();
        let wanted = valid.iter().map(|valid| valid.gateway_override.gateway);
        let mut doubtful: BTreeSet<_> = wanted.collect();
        let diagnostics = take_ambiguous_overrides(&mut valid);
        for valid in &valid {
            doubtful.remove(&valid.gateway_override.gateway);
        }
        let before = self.overrides_before().iter();
        let undoubted = before.filter(|before| doubtful.contains(&before.gateway));
        let overrides = valid.iter().map(|valid| &valid.gateway_override);
        let mut overrides: Vec<_> = overrides.chain(undoubted).cloned().collect();
        overrides.sort_by_key(|one| one.gateway);
        (overrides, diagnostics)
    }

    /// What is in force of each file, in the order of the sources.
    fn kept(&self) -> impl Iterator<Item = &Kept> {
        let mut met = BTreeSet::new();
        let files = self.listed().filter(move |file| met.insert(*file));
        files.filter_map(|file| self.kept.get(&file))
    }

    /// The gateway overrides that were in force until now.
    fn overrides_before(&self) -> &[GatewayOverride] {
        let shown = self.shown.as_ref();
        shown.map_or(&[], |shown| shown.overrides.as_slice())
    }

    /// Notes which sources have something new in force.
    fn date(&mut self, now: &Snapshot, moment: Timestamp) {
        let nothing = Snapshot::default();
        let before = self.shown.as_ref().unwrap_or(&nothing);
        let homes = &self.homes;
        let mut changed = changed(&before.documents, &now.documents, Known::place, homes);
        changed.append(&mut self::changed(
            &before.egress,
            &now.egress,
            Known::place,
            homes,
        ));
        changed.append(&mut self::changed(
            &before.checks,
            &now.checks,
            Known::place,
            homes,
        ));
        let place = |one: &GatewayOverride| one.place;
        changed.append(&mut self::changed(
            &before.overrides,
            &now.overrides,
            place,
            homes,
        ));
        let changed: BTreeSet<PathBuf> = changed.into_iter().map(Path::to_path_buf).collect();
        for source in &mut self.sources {
            let before = source.changed.filter(|_| !changed.contains(&*source.path));
            source.changed = Some(before.unwrap_or(moment));
        }
    }

    fn states(
        &self,
        missing: Vec<Option<(Condition, String)>>,
        now: &Snapshot,
    ) -> Vec<SourceState> {
        let routes = by_home(&now.documents, Known::place, &self.homes);
        let egress = by_home(&now.egress, Known::place, &self.homes);
        let checks = by_home(&now.checks, Known::place, &self.homes);
        let sources = self.sources.iter().zip(missing);
        let state = |(source, missing): (&Source, Option<(Condition, String)>)| {
            let path = &*source.path;
            let own = routes.get(path).map_or(&[][..], Vec::as_slice);
            let destinations = own.iter().map(|document| document.destinations.len());
            let documents = own.len()
                + egress.get(path).map_or(0, Vec::len)
                + checks.get(path).map_or(0, Vec::len);
            let invalid = || Some((Condition::Invalid, self.errors(source, &now.diagnostics)?));
            let (condition, why) = missing.or_else(invalid).unzip();
            let condition = condition.unwrap_or(Condition::Valid);
            SourceState {
                path: source.path.to_path_buf(),
                condition,
                message: why.map(|why| condition.message(&why, documents > 0)),
                files: source.files.len(),
                documents,
                destinations: destinations.sum(),
                changed: source.changed.unwrap_or_default(),
            }
        };
        sources.map(state).collect()
    }

    /// How many errors there are in which files of a source.
    fn errors(&self, source: &Source, diagnostics: &[Diagnostic]) -> Option<String> {
        let documents: BTreeSet<FileId> = source.files.iter().copied().collect();
        let contents = self.last.iter().flat_map(|last| &last.contents);
        let contents = contents.filter(|(id, _)| documents.contains(id));
        let lists = contents.flat_map(|(_, content)| content.texts().map(|(file, _)| file));
        let files: BTreeSet<FileId> = documents.iter().copied().chain(lists).collect();
        let own = diagnostics.iter().filter(|d| files.contains(&d.file));
        let label = |name: &FileName| Arc::clone(&name.label);
        state::errors(own, self.reader.files.names(), label)
    }
}

/// Documents, or whatever else has a place, by the source that they come from.
fn by_home<'a, T>(
    all: &'a [T],
    place: impl Fn(&T) -> Place,
    homes: &'a BTreeMap<FileId, Arc<Path>>,
) -> BTreeMap<&'a Path, Vec<&'a T>> {
    let mut grouped: BTreeMap<&Path, Vec<&T>> = BTreeMap::new();
    for one in all {
        if let Some(home) = homes.get(&place(one).file) {
            grouped.entry(home).or_default().push(one);
        }
    }
    grouped
}

/// The sources of which something else is in force now.
fn changed<'a, T: PartialEq>(
    before: &'a [T],
    now: &'a [T],
    place: impl Fn(&T) -> Place + Copy,
    homes: &'a BTreeMap<FileId, Arc<Path>>,
) -> BTreeSet<&'a Path> {
    let (before, now) = (by_home(before, place, homes), by_home(now, place, homes));
    let all: BTreeSet<&Path> = before.keys().chain(now.keys()).copied().collect();
    let differs = |path: &&Path| before.get(path) != now.get(path);
    all.into_iter().filter(differs).collect()
}

impl Kept {
    /// Takes the file over as it is now, or leaves it as it was. Returns findings that come from
    /// comparing the two.
    fn take(&mut self, now: &Arc<Content>) -> Vec<Diagnostic> {
        let emptied = self.emptied(now);
        let usable = now.unreadable.is_none() && emptied.is_empty();
        let good = !now.has_errors();
        if usable && (good || !self.good) {
            self.content = Arc::clone(now);
            self.good = good;
        }
        emptied
    }

    /// A finding for each file that had text and has none. To write a file, editors and shells
    /// empty it first: for a moment it says nothing, and not that there is nothing.
    fn emptied(&self, now: &Content) -> Vec<Diagnostic> {
        if self.content.is_empty() {
            return Vec::new();
        }
        let had_text = |file| self.content.texts().any(|text| text == (file, true));
        let now = now.texts().enumerate();
        let emptied = now.filter(|(_, (file, has_text))| !has_text && had_text(*file));
        let finding = |(index, (file, _))| {
            let help = match index {
                0 => "delete it to remove its routes",
                _ => {
                    "to mean that, write a comment into it, or no longer name it in `destinationsFrom`"
                }
            };
            let message = "the file is empty; what it held before stays in force";
            let problem = Problem::new(message, "is empty").help(help);
            Diagnostic::about_file(file, problem)
        };
        emptied.map(finding).collect()
    }
}
