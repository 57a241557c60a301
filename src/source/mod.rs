//! Paths → one snapshot of all documents, with everything that is wrong with them.
//!
//! Owns which files a path stands for, how they are read, and what they are called in output.
//! A file that cannot be read is a finding like any other: [`Loaded::is_complete`] says whether
//! the snapshot may be taken for the whole truth. [`load`] reads once; a [`Keeper`] reads for years
//! and keeps what was last good; a [`Watch`] hints when it is time.
//!
//! Must not know what a document means (`spec` does), nor talk to the kernel.

mod directories;
mod files;
pub mod keeper;
mod read;
mod reader;
mod state;
mod told;
pub mod watch;

use std::ffi::OsStr;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

pub use directories::{Directories, Interest};
pub use keeper::{Keeper, Snapshot};
pub use read::{LARGEST, ReadError, decode};

pub use state::{Condition, SourceState};
pub use told::{TOLD, Told};
pub use watch::{Hint, Watch, WatchError};

use crate::model::{
    ConnectivityCheck, Document, Egress, FileId, FileName, GatewayOverride, Names, Timestamp,
};
use crate::spec::{Diagnostic, Severity, idle_overrides, take_ambiguous, take_ambiguous_overrides};
use reader::{Listing, Reader};

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
    /// The gateway overrides without errors, sorted by gateway; also those that have ended.
    pub overrides: Vec<GatewayOverride>,
    /// The documents about forwarding, translation and rules without errors, sorted by kind and name.
    pub egress: Vec<Egress>,
    /// The connectivity checks without errors, sorted by name.
    pub checks: Vec<ConnectivityCheck>,
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
    let root = match paths {
        [PathArg::Path(path)] => Some(path.clone()),
        _ => None,
    };
    let mut reader = Reader::new(root);
    let mut reading = reader.begin(names);
    let mut loaded = Loaded::default();
    for path in paths {
        let files = match path {
            PathArg::Stdin => {
                reading.stdin(stdin);
                1
            }
            PathArg::Path(path) => match reading.path(path) {
                Listing::File(_) => 1,
                Listing::Directory(files) => files.len(),
                Listing::Told { files, .. } => files.len(),
                Listing::Unreadable { finding, .. } => {
                    loaded.diagnostics.push(finding);
                    0
                }
            },
        };
        loaded.sources.push((path.clone(), files));
    }
    let (mut valid, mut overrides) = (Vec::new(), Vec::new());
    let (mut egress, mut checks) = (Vec::new(), Vec::new());
    for (_, content) in reading.finish() {
        // Nobody else has it yet, so that nothing is copied.
        let content = Arc::into_inner(content).unwrap_or_default();
        valid.extend(content.documents);
        overrides.extend(content.overrides);
        egress.extend(content.egress);
        checks.extend(content.checks);
        loaded.diagnostics.extend(content.diagnostics);
    }
    loaded.diagnostics.extend(take_ambiguous(&mut valid));
    loaded.diagnostics.extend(take_ambiguous(&mut egress));
    loaded.diagnostics.extend(take_ambiguous(&mut checks));
    let ambiguous = take_ambiguous_overrides(&mut overrides);
    loaded.diagnostics.extend(ambiguous);
    loaded.documents = valid.into_iter().map(|valid| valid.document).collect();
    loaded.egress = egress.into_iter().map(|valid| valid.document).collect();
    loaded.checks = checks.into_iter().map(|valid| valid.document).collect();
    if loaded.is_complete() {
        let idle = idle_overrides(&overrides, &loaded.documents, now());
        loaded.diagnostics.extend(idle);
    }
    loaded.diagnostics.sort_by_key(Diagnostic::order);
    // A file that several documents include says the same each time.
    loaded.diagnostics.dedup();
    let overrides = overrides.into_iter().map(|valid| valid.gateway_override);
    loaded.overrides = overrides.collect();
    loaded.files = reader.files.names().to_vec();
    loaded
}

/// The time of day: whether an override has ended depends on it.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp::from_millis(0).after(since.unwrap_or_default())
}
