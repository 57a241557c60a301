//! The condition that a source is in, in words.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::model::{FileId, FileName, Timestamp};
use crate::spec::{Diagnostic, Severity};

/// A source at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceState {
    /// The directory or file, as given.
    pub path: PathBuf,
    /// Its condition.
    pub condition: Condition,
    /// What is wrong and what follows from it, where it is not `Valid`.
    pub message: Option<String>,
    /// Document files of it that are in force.
    pub files: usize,
    /// Documents in force from it.
    pub documents: usize,
    /// Destinations of these.
    pub destinations: usize,
    /// When the content that is in force was first seen.
    pub changed: Timestamp,
}

/// Whether a source can be used as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// All of it.
    Valid,
    /// Files in it have errors: of those, what was last good is in force.
    Invalid,
    /// It is missing or cannot be read: what was last good is in force.
    Unreadable,
    /// A directory without documents, where that is not allowed: what was last good is in force.
    Empty,
}

/// What is wrong with a directory without documents.
pub(super) const NO_DOCUMENTS: &str = "no *.yaml, *.yml or *.json directly in it";

/// So many files with errors are named, the others counted.
const NAMED: usize = 3;

impl Condition {
    /// What is wrong, what follows from it, and what to do, in one sentence. `held` says whether
    /// anything of the source is in force.
    pub(super) fn message(self, why: &str, held: bool) -> String {
        let meanwhile = match (self, held) {
            (Self::Invalid, true) => {
                "what is valid or was last good is in force, and nothing is removed"
            }
            (_, true) => "its last good documents stay in force and nothing is removed",
            (_, false) => "until that changes, nothing is removed",
        };
        let advice = match self {
            Self::Empty => "; to mean that, set allowEmpty: true (--allow-empty)",
            Self::Valid | Self::Invalid | Self::Unreadable => "",
        };
        format!("{why}; {meanwhile}{advice}")
    }
}

impl SourceState {
    /// Why nothing can be said of what it holds, if so, in one sentence.
    pub(super) fn missing(&self) -> Option<String> {
        let what = match self.condition {
            Condition::Valid | Condition::Invalid => return None,
            Condition::Unreadable => "cannot be read",
            Condition::Empty => "has no documents",
        };
        let message = self.message.as_deref()?;
        Some(format!("{} {what}: {message}", self.path.display()))
    }
}

/// `b.yaml has 2 errors, c.yaml has 1 error`, if there are any.
pub(super) fn errors<'a>(
    diagnostics: impl IntoIterator<Item = &'a Diagnostic>,
    files: &[FileName],
    show: impl Fn(&FileName) -> Arc<str>,
) -> Option<String> {
    let mut counts: BTreeMap<FileId, usize> = BTreeMap::new();
    for diagnostic in diagnostics {
        if diagnostic.severity == Severity::Error {
            *counts.entry(diagnostic.file).or_default() += 1;
        }
    }
    let name = |file: FileId| Some(show(files.get(file.0 as usize)?));
    let mut counts: Vec<(Arc<str>, usize)> = counts
        .into_iter()
        .filter_map(|(file, count)| Some((name(file)?, count)))
        .collect();
    counts.sort();
    let sentence = |(name, count): &(Arc<str>, usize)| match count {
        1 => format!("{name} has 1 error"),
        _ => format!("{name} has {count} errors"),
    };
    let mut parts: Vec<String> = counts.iter().take(NAMED).map(sentence).collect();
    match counts.len().saturating_sub(NAMED) {
        0 => {}
        1 => parts.push("one more file has errors".to_owned()),
        more => parts.push(format!("{more} more files have errors")),
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}
