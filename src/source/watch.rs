//! Hints that something changed, from inotify.
//!
//! Owns `notify` and its thread. A hint is never more than that: what changed, and whether
//! anything did, only reading again can say. Directories are watched, never files: a file that is
//! replaced is another inode, and a watch on it would see nothing of the new one.
//!
//! Must not read a document, wait, or decide when to read: that is for who gets the hints.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use nix::errno::Errno;
use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind, INotifyWatcher, RecursiveMode, Watcher};

use super::directories::{Directories, Interest, SWAPPED};

/// What a watcher noticed. Only ever a hint: the content decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// Files were swapped all at once (a ConfigMap's `..data`): what is there is complete, and can
    /// be read at once.
    Swapped,
    /// Something changed: read when it has been quiet for a while.
    Changed,
    /// Somebody is writing this file and has not closed it.
    Writing(PathBuf),
    /// Whoever wrote this file has closed it, or its name is gone: nobody has to be waited for.
    Written(PathBuf),
    /// The watcher itself is in trouble, and may have missed something: read, and arm again.
    Lost(String),
}

/// Why nothing can be watched. Reading from time to time still finds every change.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The user's watches are used up.
    #[error(
        "no inotify watch is left for {}: raise fs.inotify.max_user_watches (`sysctl -w`), or stop \
         what else watches many files",
        .0.display()
    )]
    Watches(PathBuf),
    /// The user's inotify instances are used up.
    #[error(
        "no inotify instance is left: raise fs.inotify.max_user_instances (`sysctl -w`), or the \
         limit of open files (`ulimit -n`, LimitNOFILE=)"
    )]
    Instances,
    /// Something else went wrong.
    #[error("inotify does not work: {0}")]
    Other(#[source] notify::Error),
}

/// Watches directories.
pub struct Watch {
    tell: Arc<Mutex<Tell>>,
    /// `None` after inotify had no room.
    armed: Option<Armed>,
}

type Tell = dyn FnMut(Hint) + Send;

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let armed = self.armed.as_ref();
        f.debug_struct("Watch")
            .field("directories", &armed.map(|armed| &armed.directories))
            .finish_non_exhaustive()
    }
}

impl Watch {
    /// A watch on nothing yet. `tell` is called on a thread of the watcher's own.
    ///
    /// # Errors
    /// If there is no inotify to be had.
    pub fn start(tell: impl FnMut(Hint) + Send + 'static) -> Result<Self, WatchError> {
        let tell: Arc<Mutex<Tell>> = Arc::new(Mutex::new(tell));
        let armed = Armed::new(BTreeMap::new(), &tell)?;
        Ok(Self {
            tell,
            armed: Some(armed),
        })
    }

    /// Watches exactly these directories from now on, as far as they exist and may be listed.
    /// Returns whether that is anything new: what happened there before, nobody saw, so that
    /// everything has to be read once more.
    ///
    /// A directory can be replaced by another one under its name. Some of that is seen, some is
    /// not (a mount): call this every few seconds, and after each hint.
    ///
    /// # Errors
    /// If inotify has no room for them. Then nothing is watched, and the next call tries again.
    pub fn arm(&mut self, directories: &Directories) -> Result<bool, WatchError> {
        let wanted = existing(directories);
        let is_armed =
            |armed: &Armed| armed.directories == wanted && !armed.stale.load(Ordering::Acquire);
        if self.armed.as_ref().is_some_and(is_armed) {
            return Ok(false);
        }
        // All anew: after a removal or a rename, what is still watched under which name is not
        // worth finding out. The old ones go last, so that nothing in between is missed.
        let armed = Armed::new(wanted, &self.tell);
        self.armed = None;
        self.armed = Some(armed?);
        Ok(true)
    }
}

/// Which directory is behind a path. After a new mount, device and inode may have the same numbers
/// again, so that it also counts when the directory was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    device: u64,
    inode: u64,
    born: Option<Duration>,
}

impl From<&Metadata> for Identity {
    fn from(metadata: &Metadata) -> Self {
        let born = metadata.created().ok();
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            born: born.and_then(|born| born.duration_since(UNIX_EPOCH).ok()),
        }
    }
}

/// The directories that exist. The kernel watches inodes: one that has two paths (a bind mount)
/// is watched under the first, for what matters under either.
fn existing(directories: &Directories) -> BTreeMap<Identity, (PathBuf, Interest)> {
    let mut existing: BTreeMap<Identity, (PathBuf, Interest)> = BTreeMap::new();
    for (path, interest) in directories.iter() {
        let Ok(metadata) = path.metadata() else {
            continue;
        };
        if metadata.is_dir() {
            let found = existing.entry(Identity::from(&metadata));
            let (_, all) = found.or_insert_with(|| (path.clone(), Interest::default()));
            all.add(interest);
        }
    }
    existing
}

/// An inotify instance, and what it watches.
struct Armed {
    directories: BTreeMap<Identity, (PathBuf, Interest)>,
    /// A watched directory was moved or removed: its path may be another one's now.
    stale: Arc<AtomicBool>,
    /// Ends its thread when it is dropped.
    _watcher: INotifyWatcher,
}

impl Armed {
    fn new(
        directories: BTreeMap<Identity, (PathBuf, Interest)>,
        tell: &Arc<Mutex<Tell>>,
    ) -> Result<Self, WatchError> {
        let stale = Arc::new(AtomicBool::new(false));
        let mut listener = Listener {
            interests: directories.values().cloned().collect(),
            stale: Arc::clone(&stale),
            writing: BTreeSet::new(),
        };
        let tell = Arc::clone(tell);
        let handler = move |event| {
            let hints = listener.hear(event);
            let mut tell = tell.lock().unwrap_or_else(PoisonError::into_inner);
            hints.into_iter().for_each(&mut *tell);
        };
        let watcher = INotifyWatcher::new(handler, notify::Config::default());
        let mut watcher = watcher.map_err(without_instance)?;
        for (path, _) in directories.values() {
            match watcher.watch(path, RecursiveMode::NonRecursive) {
                Ok(()) => {}
                // It was there a moment ago: look again.
                Err(error) if is_gone(&error) => stale.store(true, Ordering::Release),
                Err(error) if is_forbidden(&error) => {}
                Err(error) => return Err(without_watch(error, path)),
            }
        }
        Ok(Self {
            directories,
            stale,
            _watcher: watcher,
        })
    }
}

/// Turns what `notify` tells into hints.
struct Listener {
    interests: BTreeMap<PathBuf, Interest>,
    stale: Arc<AtomicBool>,
    /// What is being written, as far as is known.
    writing: BTreeSet<PathBuf>,
}

impl Listener {
    fn hear(&mut self, event: notify::Result<Event>) -> Vec<Hint> {
        let event = match event {
            Ok(event) if event.need_rescan() => {
                let why = "more happened than fits the queue (fs.inotify.max_queued_events)";
                return self.lost(why.to_owned());
            }
            Ok(event) => event,
            Err(error) => return self.lost(error.to_string()),
        };
        match event.paths.as_slice() {
            // A rename comes as two events, for either name, and once more for both.
            [path] if self.matters(path) => self.hints(event.kind, path),
            _ => Vec::new(),
        }
    }

    fn lost(&self, why: String) -> Vec<Hint> {
        self.stale.store(true, Ordering::Release);
        vec![Hint::Lost(why)]
    }

    fn matters(&self, path: &Path) -> bool {
        let named = || {
            let interest = self.interests.get(path.parent()?)?;
            interest.wants(path.file_name()?).then_some(())
        };
        self.interests.contains_key(path) || named().is_some()
    }

    fn hints(&mut self, kind: EventKind, path: &Path) -> Vec<Hint> {
        match kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
                self.writing.remove(path);
                return vec![Hint::Written(path.to_owned())];
            }
            // Somebody reads: very likely it is us.
            EventKind::Access(_) => return Vec::new(),
            EventKind::Modify(ModifyKind::Data(_)) => {
                self.writing.insert(path.to_owned());
                return vec![Hint::Writing(path.to_owned())];
            }
            EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(RenameMode::To))
                if path.ends_with(SWAPPED) =>
            {
                return vec![Hint::Swapped];
            }
            _ => {}
        }
        if self.interests.contains_key(path) {
            self.stale.store(true, Ordering::Release);
        }
        let gone = matches!(
            kind,
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From))
        );
        let written = (gone && self.writing.remove(path)).then(|| Hint::Written(path.to_owned()));
        written.into_iter().chain([Hint::Changed]).collect()
    }
}

fn is_gone(error: &notify::Error) -> bool {
    let gone = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
    match &error.kind {
        notify::ErrorKind::Io(error) => gone.contains(&error.kind()),
        kind => matches!(kind, notify::ErrorKind::PathNotFound),
    }
}

/// A directory that may not be listed may still lead to files that can be read: one such must not
/// keep the others from being watched.
fn is_forbidden(error: &notify::Error) -> bool {
    let denied = io::ErrorKind::PermissionDenied;
    matches!(&error.kind, notify::ErrorKind::Io(error) if error.kind() == denied)
}

fn without_instance(error: notify::Error) -> WatchError {
    match &error.kind {
        notify::ErrorKind::Io(cause) if cause.raw_os_error() == Some(Errno::EMFILE as i32) => {
            WatchError::Instances
        }
        _ => WatchError::Other(error),
    }
}

fn without_watch(error: notify::Error, path: &Path) -> WatchError {
    match error.kind {
        notify::ErrorKind::MaxFilesWatch => WatchError::Watches(path.to_owned()),
        _ => WatchError::Other(error),
    }
}
