//! Paths → what their document files hold now. A file that has not changed is not parsed again.
//!
//! Must not decide what is in force: `load` takes what is valid now, and [`Keeper`](super::Keeper)
//! weighs it against what was good before.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::directories::SWAPPED;
use super::files::Files;
use super::read::{self, ReadError};
use super::told::Told;
use crate::model::{ConnectivityCheck, Egress, FileId, Names};
use crate::spec::{
    Context, Diagnostic, Included, Problem, Severity, Valid, ValidOverride, did_you_mean, nearest,
    parse,
};

/// So often a path is read again because its files were swapped meanwhile.
const ATTEMPTS: usize = 100;

/// What a document file holds.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// The path that led to it; empty for standard input.
    pub(super) path: PathBuf,
    /// The documents without errors.
    pub(super) documents: Vec<Valid>,
    /// The gateway overrides without errors.
    pub(super) overrides: Vec<ValidOverride>,
    /// The documents about forwarding, translation and rules without errors.
    pub(super) egress: Vec<Valid<Egress>>,
    /// The connectivity checks without errors.
    pub(super) checks: Vec<Valid<ConnectivityCheck>>,
    /// All findings about it, and about the files it includes.
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Why its text is not to be had, if it is not.
    pub(super) unreadable: Option<String>,
    /// The files of `destinationsFrom`.
    pub(super) lists: Vec<List>,
    text: Option<(FileId, Print)>,
}

/// A file of `destinationsFrom`.
#[derive(Debug)]
pub(super) struct List {
    /// The path that leads to it.
    pub(super) path: PathBuf,
    /// `None` if it could not be read.
    text: Option<(FileId, Print)>,
}

impl Content {
    /// Whether no document of any kind is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.documents.is_empty()
            && self.overrides.is_empty()
            && self.egress.is_empty()
            && self.checks.is_empty()
    }

    /// Whether anything in it cannot be used.
    pub(super) fn has_errors(&self) -> bool {
        let is_error = |diagnostic: &Diagnostic| diagnostic.severity == Severity::Error;
        self.diagnostics.iter().any(is_error)
    }

    /// The files that were read for it, and whether there is any text in them.
    pub(super) fn texts(&self) -> impl Iterator<Item = (FileId, bool)> {
        let lists = self.lists.iter().filter_map(|list| list.text);
        let all = self.text.into_iter().chain(lists);
        all.map(|(file, print)| (file, print.length > 0))
    }
}

/// A text, as far as it takes to notice that it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Print {
    length: usize,
    hash: u64,
}

/// What a path stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Listing {
    /// A document file.
    File(FileId),
    /// The document files of a directory.
    Directory(Vec<FileId>),
    /// Texts that are no files, and why there may be more.
    Told {
        files: Vec<FileId>,
        missing: Option<String>,
    },
    /// A directory that cannot be listed.
    Unreadable {
        /// In one line.
        why: String,
        /// As a finding.
        finding: Diagnostic,
    },
}

/// Reads document files, again and again.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) files: Files,
    /// What the last reading found.
    known: BTreeMap<FileId, Arc<Content>>,
    /// What tables were called then.
    tables: u64,
    hasher: RandomState,
}

impl Reader {
    /// A reader that shows names relative to `root`.
    pub(super) fn new(root: Option<PathBuf>) -> Self {
        Self {
            files: Files::new(root),
            ..Self::default()
        }
    }

    /// Begins to read everything again.
    pub(super) fn begin<'a>(&'a mut self, names: &'a Names) -> Reading<'a> {
        self.files.begin();
        // A table's name is part of what a document means, and is written in another file.
        let tables = names.table_names();
        let tables: Vec<_> = tables.map(|name| (name, names.table_named(name))).collect();
        let tables = self.hasher.hash_one(tables);
        if self.tables != tables {
            self.tables = tables;
            self.known.clear();
        }
        Reading {
            reader: self,
            names,
            read: BTreeSet::new(),
            contents: Vec::new(),
        }
    }

    /// Remembers what was found, so that the next reading parses only what changed.
    pub(super) fn remember(&mut self, contents: &[(FileId, Arc<Content>)]) {
        let contents = contents.iter();
        self.known = contents
            .map(|(id, content)| (*id, Arc::clone(content)))
            .collect();
    }

    /// The remembered content of a file, if neither its text nor that of any file it includes
    /// has changed.
    fn unchanged(&self, id: FileId, text: Print) -> Option<&Arc<Content>> {
        let known = self.known.get(&id)?;
        let is_same = |list: &List| {
            let before = list.text.map(|(_, print)| print);
            before.is_some() && before == self.print_of(&list.path)
        };
        let (_, before) = known.text?;
        (before == text && known.lists.iter().all(is_same)).then_some(known)
    }

    fn print_of(&self, path: &Path) -> Option<Print> {
        Some(self.print(&read::file(path).ok()?))
    }

    fn print(&self, text: &str) -> Print {
        Print {
            length: text.len(),
            hash: self.hasher.hash_one(text),
        }
    }
}

/// One reading of everything.
pub(super) struct Reading<'a> {
    reader: &'a mut Reader,
    names: &'a Names,
    /// The files that were read as documents.
    read: BTreeSet<FileId>,
    contents: Vec<(FileId, Arc<Content>)>,
}

impl Reading<'_> {
    /// Reads a path; again if its files were swapped meanwhile, so that never a part of the old
    /// ones and a part of the new ones pass for the whole.
    pub(super) fn path(&mut self, path: &Path) -> Listing {
        for _ in 0..ATTEMPTS {
            let (before, read) = (ends(path), self.contents.len());
            let listing = self.once(path);
            if ends(path) == before {
                return listing;
            }
            for (id, _) in self.contents.drain(read..) {
                self.read.remove(&id);
            }
        }
        self.once(path)
    }

    fn once(&mut self, path: &Path) -> Listing {
        if !path.is_dir() {
            return Listing::File(self.file(path));
        }
        match documents_in(path) {
            Ok(files) => Listing::Directory(files.iter().map(|file| self.file(file)).collect()),
            Err(error) => {
                let id = self.reader.files.add(path);
                let error = ReadError::Os(error);
                Listing::Unreadable {
                    why: error.to_string(),
                    finding: Diagnostic::about_file(id, error.problem("the directory")),
                }
            }
        }
    }

    /// Reads standard input.
    pub(super) fn stdin(&mut self, stdin: &mut dyn Read) {
        let id = self.reader.files.stdin();
        let content = match read::stream(stdin) {
            Ok(text) => self.parse(id, &text, Home::Stdin),
            Err(error) => unreadable(id, &error, error.problem("standard input")),
        };
        self.contents.push((id, Arc::new(content)));
    }

    /// Reads what somebody else tells.
    pub(super) fn told(&mut self, told: &Told) -> Listing {
        let texts = told.texts();
        let files = texts.map(|(name, text)| self.text(name, text)).collect();
        let missing = told.missing();
        Listing::Told { files, missing }
    }

    fn text(&mut self, name: &Arc<str>, text: &str) -> FileId {
        let id = self.reader.files.told(name);
        let content = match self.reader.unchanged(id, self.reader.print(text)) {
            Some(content) => Arc::clone(content),
            None => Arc::new(self.parse(id, text, Home::Object)),
        };
        self.contents.push((id, content));
        id
    }

    /// What was found, in the order in which it was read, each file once.
    pub(super) fn finish(self) -> Vec<(FileId, Arc<Content>)> {
        self.contents
    }

    fn file(&mut self, path: &Path) -> FileId {
        let id = self.reader.files.add(path);
        // Also where it was already included as a list, it still has to be read as a document.
        if self.read.insert(id) {
            let content = self.content(id, path);
            self.contents.push((id, content));
        }
        id
    }

    fn content(&mut self, id: FileId, path: &Path) -> Arc<Content> {
        let mut content = match read::file(path) {
            Ok(text) => match self.reader.unchanged(id, self.reader.print(&text)) {
                Some(content) => return Arc::clone(content),
                None => self.parse(id, &text, Home::File(path)),
            },
            Err(error) => {
                let mut problem = error.problem("the file");
                if matches!(error, ReadError::Missing) {
                    problem = problem.maybe_help(similar_name(path, path));
                }
                unreadable(id, &error, problem)
            }
        };
        path.clone_into(&mut content.path);
        Arc::new(content)
    }

    fn parse(&mut self, id: FileId, text: &str, home: Home<'_>) -> Content {
        let mut lists = Vec::new();
        let mut include = |name: &str| {
            let path = home.beside(name)?;
            let text = read_list(&path, name);
            let mut list = List { path, text: None };
            let included = text.map(|text| {
                let file = self.reader.files.add(&list.path);
                list.text = Some((file, self.reader.print(&text)));
                Included { file, text }
            });
            lists.push(list);
            included
        };
        let context = Context {
            names: self.names,
            include: &mut include,
        };
        let parsed = parse(id, text, context);
        Content {
            path: PathBuf::new(),
            documents: parsed.documents,
            overrides: parsed.overrides,
            egress: parsed.egress,
            checks: parsed.checks,
            diagnostics: parsed.diagnostics,
            unreadable: None,
            lists,
            text: Some((id, self.reader.print(text))),
        }
    }
}

fn unreadable(id: FileId, error: &ReadError, problem: Problem) -> Content {
    Content {
        diagnostics: vec![Diagnostic::about_file(id, problem)],
        unreadable: Some(error.to_string()),
        ..Content::default()
    }
}

/// Where a text comes from.
#[derive(Clone, Copy)]
enum Home<'a> {
    File(&'a Path),
    Stdin,
    Object,
}

impl Home<'_> {
    /// The path of a file of `destinationsFrom`: next to the document that names it.
    fn beside(self, name: &str) -> Result<PathBuf, Problem> {
        let problem = match self {
            Self::File(path) => return Ok(path.parent().unwrap_or(Path::new("")).join(name)),
            Self::Stdin => Problem::new(
                "`destinationsFrom` does not work in standard input",
                "relative to which directory?",
            )
            .help("put document and list into files, and give the document's path"),
            Self::Object => Problem::new(
                "`destinationsFrom` does not work in an object of a cluster",
                "there are no files beside it",
            )
            .help("write the destinations into `destinations`, or keep this document in a file"),
        };
        Err(problem)
    }
}

/// The text of a file of `destinationsFrom`, which the document calls `name`.
fn read_list(path: &Path, name: &str) -> Result<String, Problem> {
    read::file(path).map_err(|error| {
        let what = format!("the destinations of `{}`", path.display());
        let problem = error.problem(&what);
        match error {
            ReadError::Missing => problem.maybe_help(similar_name(path, Path::new(name))),
            _ => problem,
        }
    })
}

/// Where links lead that may be swapped: the path itself, and in a mounted ConfigMap `..data`.
fn ends(path: &Path) -> [Option<PathBuf>; 2] {
    [path, &path.join(SWAPPED)].map(|path| path.canonicalize().ok())
}

/// The documents directly in a directory, in the order of their names.
///
/// When kubelet updates a mounted ConfigMap, it first swaps `..data`, then makes links for files
/// that are new, then takes away those of files that are gone (`AtomicWriter.Write`). In between,
/// the directory holds what `..data` holds: a document that moved to a new file is never missing.
fn documents_in(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = listed(directory)?;
    let swapped = directory.join(SWAPPED);
    if swapped.is_dir() {
        let into_swapped =
            |file: &PathBuf| std::fs::read_link(file).is_ok_and(|goal| goal.starts_with(SWAPPED));
        files.retain(|file| file.exists() || !into_swapped(file));
        let known: BTreeSet<&OsStr> = files.iter().filter_map(|file| file.file_name()).collect();
        let mut new = listed(&swapped)?;
        new.retain(|file| file.file_name().is_some_and(|name| !known.contains(name)));
        files.extend(new);
    }
    files.sort();
    Ok(files)
}

/// The entries of a directory that are named like documents. Those that begin with a dot are left
/// out: in a mounted ConfigMap they are the versions behind the `..data` link.
fn listed(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        let hidden = name.as_encoded_bytes().starts_with(b".");
        let extension = Path::new(&name).extension().and_then(OsStr::to_str);
        if !hidden && matches!(extension, Some("yaml" | "yml" | "json")) {
            files.push(directory.join(name));
        }
    }
    Ok(files)
}

/// A name next to a missing one that may have been meant, written as the missing one is.
fn similar_name(path: &Path, written: &Path) -> Option<String> {
    let wanted = path.file_name()?.to_str()?;
    let directory = match path.parent()? {
        parent if parent.as_os_str().is_empty() => Path::new("."),
        parent => parent,
    };
    let entries = std::fs::read_dir(directory).ok()?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    let meant = nearest(wanted, names.iter().map(String::as_str))?;
    Some(did_you_mean(
        &written.with_file_name(meant).to_string_lossy(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The addresses of what was found: what was not parsed again is still where it was.
    fn read(reader: &mut Reader, directory: &Path) -> Vec<Arc<Content>> {
        let names = Names::default();
        let mut reading = reader.begin(&names);
        reading.path(directory);
        let contents = reading.finish();
        reader.remember(&contents);
        contents.into_iter().map(|(_, content)| content).collect()
    }

    #[test]
    fn only_what_changed_is_parsed() {
        let name = format!("srsync-reader-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory).unwrap();
        let write = |name: &str, text: &str| std::fs::write(directory.join(name), text).unwrap();
        let document = "apiVersion: srsync.dev/v1alpha1\nkind: StaticRoute\nmetadata: {name: NAME}\n\
                        spec: {destinationsFrom: [{file: NAME.txt}], gateway: 10.0.0.1}\n";
        for name in ["a", "b", "c"] {
            write(&format!("{name}.yaml"), &document.replace("NAME", name));
            write(&format!("{name}.txt"), "192.0.2.0/24\n");
        }
        let mut reader = Reader::default();
        let before = read(&mut reader, &directory);
        write("a.txt", "192.0.2.0/24\n198.51.100.0/24\n");
        write("b.yaml", &document.replace("NAME", "b"));
        let after = read(&mut reader, &directory);
        std::fs::remove_dir_all(&directory).unwrap();
        let same = before.iter().zip(&after).map(|(a, b)| Arc::ptr_eq(a, b));
        assert_eq!(same.collect::<Vec<_>>(), [false, true, true]);
    }
}
