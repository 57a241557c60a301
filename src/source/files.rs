//! The files that were met, and what they are called in output.
//!
//! Must not read them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::{FileId, FileName};

/// All files that were ever met. A file keeps its number for as long as this lives.
///
/// Numbers go by the path that leads to a file, not by where its links end: that changes with
/// every update of a mounted ConfigMap, and a daemon would never stop counting.
#[derive(Debug, Default)]
pub(super) struct Files {
    names: Arc<Vec<FileName>>,
    by_path: BTreeMap<PathBuf, FileId>,
    /// Texts that are no files, by their name.
    told: BTreeMap<Arc<str>, FileId>,
    /// Those met in this reading by canonical path, so that a file reached twice is one file.
    met: BTreeMap<PathBuf, FileId>,
    /// Where the directories of this reading are: most files are in the same few.
    directories: BTreeMap<PathBuf, PathBuf>,
    /// The one path that was given, if it is one: names are shown relative to it.
    root: Option<PathBuf>,
}

impl Files {
    pub(super) fn new(root: Option<PathBuf>) -> Self {
        Self {
            root,
            ..Self::default()
        }
    }

    /// Begins a new reading: links may lead elsewhere now.
    pub(super) fn begin(&mut self) {
        self.met.clear();
        self.directories.clear();
    }

    /// The number of a file.
    pub(super) fn add(&mut self, path: &Path) -> FileId {
        let canonical = self.canonical(path).unwrap_or_else(|| path.to_owned());
        if let Some(id) = self.met.get(&canonical) {
            return *id;
        }
        let id = match self.by_path.get(path) {
            Some(id) => *id,
            None => {
                let id = self.name(self.name_of(path));
                self.by_path.insert(path.to_owned(), id);
                id
            }
        };
        self.met.insert(canonical, id);
        id
    }

    /// The path of a file without links.
    fn canonical(&mut self, path: &Path) -> Option<PathBuf> {
        let directory = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let (Some(directory), Some(name), false) = (directory, path.file_name(), path.is_symlink())
        else {
            return path.canonicalize().ok();
        };
        if let Some(known) = self.directories.get(directory) {
            return Some(known.join(name));
        }
        let canonical = directory.canonicalize().ok()?;
        let file = canonical.join(name);
        self.directories.insert(directory.to_owned(), canonical);
        Some(file)
    }

    /// The number of a text that is no file.
    pub(super) fn told(&mut self, name: &Arc<str>) -> FileId {
        if let Some(id) = self.told.get(name) {
            return *id;
        }
        let id = self.name(FileName {
            path: Arc::clone(name),
            label: Arc::clone(name),
        });
        self.told.insert(Arc::clone(name), id);
        id
    }

    /// The number of standard input.
    pub(super) fn stdin(&mut self) -> FileId {
        self.name(FileName {
            path: "<stdin>".into(),
            label: "<stdin>".into(),
        })
    }

    /// Shows all names relative to another path.
    pub(super) fn set_root(&mut self, root: Option<PathBuf>) {
        self.root = root;
        let names = self.by_path.iter();
        let names: Vec<_> = names.map(|(path, id)| (*id, self.name_of(path))).collect();
        let known = Arc::make_mut(&mut self.names);
        for (FileId(id), name) in names {
            if let Some(known) = known.get_mut(id as usize) {
                *known = name;
            }
        }
    }

    /// How the files are called; a [`FileId`] is an index into it.
    pub(super) fn names(&self) -> &Arc<Vec<FileName>> {
        &self.names
    }

    fn name(&mut self, name: FileName) -> FileId {
        let id = FileId(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
        Arc::make_mut(&mut self.names).push(name);
        id
    }

    fn name_of(&self, path: &Path) -> FileName {
        let root = self.root.as_deref();
        let label = root.and_then(|root| path.strip_prefix(root).ok());
        let label = label
            .filter(|label| !label.as_os_str().is_empty())
            .unwrap_or(path);
        FileName {
            path: path.to_string_lossy().into(),
            label: label.to_string_lossy().into(),
        }
    }
}
