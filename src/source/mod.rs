//! Paths → one snapshot of all documents, with everything that is wrong with them.
//!
//! Owns which files a path stands for, how they are read, and what they are called in output.
//! A file that cannot be read is a finding like any other: [`Loaded::is_complete`] says whether
//! the snapshot may be taken for the whole truth.
//!
//! Must not know what a document means (`spec` does), nor talk to the kernel.

mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

pub use read::{LARGEST, ReadError, decode};

use crate::model::{Document, FileId, FileName, Names};
use crate::spec::{
    Context, Diagnostic, Included, Problem, Severity, Valid, did_you_mean, nearest, parse,
    take_ambiguous,
};

/// A place to read documents from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathArg {
    /// `-`.
    Stdin,
    /// A file, or a directory of files.
    Path(PathBuf),
}

impl From<&OsStr> for PathArg {
    fn from(argument: &OsStr) -> Self {
        match argument.as_encoded_bytes() {
            b"-" => Self::Stdin,
            _ => Self::Path(argument.into()),
        }
    }
}

impl From<&str> for PathArg {
    fn from(argument: &str) -> Self {
        OsStr::new(argument).into()
    }
}

impl fmt::Display for PathArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => f.write_str("-"),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

/// All that a list of paths holds.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The files that were read or should have been; a [`FileId`] is an index into it.
    pub files: Vec<FileName>,
    /// The documents without errors, sorted by identity.
    pub documents: Vec<Document>,
    /// All findings, in reading order.
    pub diagnostics: Vec<Diagnostic>,
    /// How many files each path came to: 0 is a directory without documents.
    pub sources: Vec<(PathArg, usize)>,
}

impl Loaded {
    /// Whether everything could be read and is valid. If not, something that is wanted may be
    /// missing from `documents`, and nothing must be removed on their account.
    pub fn is_complete(&self) -> bool {
        let is_error = |diagnostic: &Diagnostic| diagnostic.severity == Severity::Error;
        !self.diagnostics.iter().any(is_error)
    }

    /// How a file is called.
    pub fn name(&self, file: FileId) -> Option<&FileName> {
        self.files.get(file.0 as usize)
    }
}

/// Reads one text file that is not a document, with the same care.
///
/// # Errors
/// If there is no such regular file, or it is not UTF-8 text, or too large.
pub fn read_text(path: &Path) -> Result<String, ReadError> {
    read::file(path)
}

/// The names of tables and protocols on this machine: the kernel's own, and those of iproute2's
/// files. A file that cannot be read names nothing.
pub fn system_names() -> Names {
    let mut names = Names::default();
    // Later ones win: what came with the package, then what an administrator changed.
    for folder in ["/usr/lib/iproute2", "/usr/share/iproute2", "/etc/iproute2"] {
        for text in name_files(&Path::new(folder).join("rt_tables")) {
            names.add_tables(&text);
        }
        for text in name_files(&Path::new(folder).join("rt_protos")) {
            names.add_protocols(&text);
        }
    }
    names
}

/// The text of a file, and of each `*.conf` in the directory of the same name with `.d`.
fn name_files(path: &Path) -> Vec<String> {
    let parts = std::fs::read_dir(path.with_extension("d"));
    let parts = parts
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let mut files: Vec<PathBuf> = parts
        .filter(|part| {
            part.extension()
                .is_some_and(|extension| extension == "conf")
        })
        .collect();
    files.sort();
    files.insert(0, path.to_owned());
    files
        .iter()
        .filter_map(|file| read::file(file).ok())
        .collect()
}

/// Reads all documents of all paths. `stdin` is read where a path is `-`.
pub fn load(paths: &[PathArg], stdin: &mut dyn Read, names: &Names) -> Loaded {
    let mut loader = Loader {
        names,
        root: only_directory(paths),
        files: Files::default(),
        read: BTreeSet::new(),
        valid: Vec::new(),
        diagnostics: Vec::new(),
    };
    let sources = paths.iter().map(|path| {
        let files = match path {
            PathArg::Stdin => loader.stdin(stdin),
            PathArg::Path(path) => loader.path(path),
        };
        (path.clone(), files)
    });
    let sources = sources.collect();
    loader.finish(sources)
}

/// The directory that file names are shown relative to, if exactly one was given.
fn only_directory(paths: &[PathArg]) -> Option<PathBuf> {
    match paths {
        [PathArg::Path(path)] if path.is_dir() => Some(path.clone()),
        _ => None,
    }
}

/// The files so far.
#[derive(Default)]
struct Files {
    names: Vec<FileName>,
    /// By canonical path, so that a file reached twice is one file.
    known: BTreeMap<PathBuf, FileId>,
}

impl Files {
    /// The number of a file.
    fn add(&mut self, path: &Path, root: Option<&Path>) -> FileId {
        let canonical = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if let Some(id) = self.known.get(&canonical) {
            return *id;
        }
        let label = root.and_then(|root| path.strip_prefix(root).ok());
        let label = label
            .filter(|label| !label.as_os_str().is_empty())
            .unwrap_or(path);
        let id = self.name(&path.to_string_lossy(), &label.to_string_lossy());
        self.known.insert(canonical, id);
        id
    }

    fn name(&mut self, path: &str, label: &str) -> FileId {
        let id = FileId(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
        self.names.push(FileName {
            path: path.into(),
            label: label.into(),
        });
        id
    }
}

struct Loader<'a> {
    names: &'a Names,
    root: Option<PathBuf>,
    files: Files,
    /// The files that were read as documents.
    read: BTreeSet<FileId>,
    valid: Vec<Valid>,
    diagnostics: Vec<Diagnostic>,
}

impl Loader<'_> {
    /// Reads a path; the number of files that it stands for.
    fn path(&mut self, path: &Path) -> usize {
        if !path.is_dir() {
            self.file(path);
            return 1;
        }
        match documents_in(path) {
            Ok(files) => {
                files.iter().for_each(|file| self.file(file));
                files.len()
            }
            Err(error) => {
                let id = self.files.add(path, None);
                let problem = ReadError::Os(error).problem("the directory");
                self.diagnostics.push(Diagnostic::about_file(id, problem));
                0
            }
        }
    }

    fn file(&mut self, path: &Path) {
        let id = self.files.add(path, self.root.as_deref());
        // Also where it was already included as a list, it still has to be read as a document.
        if !self.read.insert(id) {
            return;
        }
        let text = match read::file(path) {
            Ok(text) => text,
            Err(error) => {
                let mut problem = error.problem("the file");
                if matches!(error, ReadError::Missing) {
                    problem = problem.maybe_help(similar_name(path, path));
                }
                self.diagnostics.push(Diagnostic::about_file(id, problem));
                return;
            }
        };
        let directory = path.parent().unwrap_or(Path::new("")).to_owned();
        self.parse(id, &text, Some(&directory));
    }

    fn stdin(&mut self, stdin: &mut dyn Read) -> usize {
        let id = self.files.name("<stdin>", "<stdin>");
        match read::stream(stdin) {
            Ok(text) => self.parse(id, &text, None),
            Err(error) => {
                let problem = error.problem("standard input");
                self.diagnostics.push(Diagnostic::about_file(id, problem));
            }
        }
        1
    }

    fn parse(&mut self, id: FileId, text: &str, directory: Option<&Path>) {
        let (files, root) = (&mut self.files, self.root.as_deref());
        let mut include = |name: &str| included(name, directory, files, root);
        let context = Context {
            names: self.names,
            include: &mut include,
        };
        let parsed = parse(id, text, context);
        self.valid.extend(parsed.documents);
        self.diagnostics.extend(parsed.diagnostics);
    }

    fn finish(mut self, sources: Vec<(PathArg, usize)>) -> Loaded {
        self.diagnostics.extend(take_ambiguous(&mut self.valid));
        self.diagnostics.sort_by_key(Diagnostic::order);
        // A file that several documents include says the same each time.
        self.diagnostics.dedup();
        let documents = self.valid.into_iter().map(|valid| valid.document);
        let documents = documents.collect();
        Loaded {
            files: self.files.names,
            documents,
            diagnostics: self.diagnostics,
            sources,
        }
    }
}

/// A file of `destinationsFrom`, next to the document that names it.
fn included(
    name: &str,
    directory: Option<&Path>,
    files: &mut Files,
    root: Option<&Path>,
) -> Result<Included, Problem> {
    let Some(directory) = directory else {
        let message = "`destinationsFrom` does not work in standard input";
        let problem = Problem::new(message, "relative to which directory?");
        return Err(problem.help("put document and list into files, and give the document's path"));
    };
    let path = directory.join(name);
    let text = read::file(&path).map_err(|error| {
        let what = format!("the destinations of `{}`", path.display());
        let problem = error.problem(&what);
        match error {
            ReadError::Missing => problem.maybe_help(similar_name(&path, Path::new(name))),
            _ => problem,
        }
    })?;
    let file = files.add(&path, root);
    Ok(Included { file, text })
}

/// The documents directly in a directory, in the order of their names. Entries that begin with a
/// dot are left out: in a mounted ConfigMap those are the versions behind the `..data` link.
fn documents_in(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        let hidden = name.as_encoded_bytes().starts_with(b".");
        let extension = Path::new(&name).extension().and_then(OsStr::to_str);
        if !hidden && matches!(extension, Some("yaml" | "yml" | "json")) {
            files.push(directory.join(name));
        }
    }
    files.sort();
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
