//! Small files beside the Unix socket: what outlives a daemon that is upgraded or killed.
//!
//! Must not decide what any of it means.

use std::ffi::OsString;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::source::{self, ReadError};

/// Who may use the socket may read it.
const MODE: u32 = 0o640;

/// Where something is kept.
#[derive(Debug)]
pub(super) struct Store(Option<PathBuf>);

impl Store {
    /// In this file; without one, only for as long as the daemon runs.
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        Self(path)
    }

    /// What was kept, if anything was.
    ///
    /// # Errors
    /// If there is something that cannot be used: text that says why.
    pub(super) fn load<T: DeserializeOwned + Default>(&self) -> Result<T, String> {
        let Some(path) = &self.0 else {
            return Ok(T::default());
        };
        let unusable =
            |why: &dyn std::fmt::Display| format!("cannot use {}: {why}", path.display());
        match source::read_text(path) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| unusable(&error)),
            Err(ReadError::Missing) => Ok(T::default()),
            Err(error) => Err(unusable(&error)),
        }
    }

    /// Keeps this and nothing else.
    ///
    /// # Errors
    /// If it will be gone with the daemon: text that says why.
    pub(super) fn save<T: Serialize>(&self, kept: &T) -> Result<(), String> {
        let Some(path) = &self.0 else {
            return Err("there is no file to keep it in, because there is no socket".to_owned());
        };
        write(path, kept).map_err(|error| format!("cannot write {}: {error}", path.display()))
    }
}

/// Whole or not at all: whoever reads it finds the old or the new.
fn write<T: Serialize>(path: &Path, kept: &T) -> io::Result<()> {
    let text = serde_json::to_string_pretty(kept).map_err(io::Error::other)?;
    let mut new = OsString::from(path);
    new.push(".new");
    // Left by a daemon that was killed; nothing that somebody else put there is written through.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(&new);
    let mut file = file?;
    // The mode when opening is less the umask.
    file.set_permissions(Permissions::from_mode(MODE))?;
    writeln!(file, "{text}")?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_again_and_garbage_is_said_to_be_of_no_use() {
        let name = format!("srsync-store-{}.json", std::process::id());
        let path = std::env::temp_dir().join(name);
        let store = Store::new(Some(path.clone()));
        assert_eq!(store.load(), Ok(Vec::<String>::new()));
        let kept = vec!["a".to_owned(), "b".to_owned()];
        // Also over what a killed daemon left.
        fs::write(path.with_extension("json.new"), "half").unwrap();
        store.save(&kept).unwrap();
        assert_eq!(store.load(), Ok(kept));
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        for garbage in ["", "[", "{}", "[1]"] {
            fs::write(&path, garbage).unwrap();
            let why = store.load::<Vec<String>>().unwrap_err();
            assert!(why.starts_with("cannot use /"), "{why}");
        }
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn without_a_file_nothing_is_kept_and_that_is_said() {
        let store = Store::new(None);
        assert_eq!(store.load(), Ok(Vec::<String>::new()));
        assert!(store.save(&["a"]).is_err());
        let nowhere = Store::new(Some("/nonexistent/drains.json".into()));
        let why = nowhere.save(&["a"]).unwrap_err();
        assert!(
            why.starts_with("cannot write /nonexistent/drains.json: "),
            "{why}"
        );
    }
}
