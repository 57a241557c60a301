//! What was drained by hand, in a small file beside the Unix socket: somebody's maintenance does not
//! end because the daemon is upgraded or killed.
//!
//! Must not decide what a drain means: that is `overrides`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;
use crate::source::{self, ReadError};

/// Who may use the socket may read it.
const MODE: u32 = 0o640;

/// A gateway that was drained by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Drain {
    /// The gateway.
    pub(super) gateway: IpAddr,
    /// The user who drained it.
    pub(super) uid: u32,
    /// When he did.
    pub(super) since: Timestamp,
    /// When it ends by itself.
    pub(super) until: Option<Timestamp>,
}

/// All drains by gateway.
pub(super) type Drains = BTreeMap<IpAddr, Drain>;

/// The file as it is written.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    drains: Vec<Drain>,
}

/// Where drains are kept.
#[derive(Debug)]
pub(super) struct Store(Option<PathBuf>);

impl Store {
    /// In this file; without one, only for as long as the daemon runs.
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        Self(path)
    }

    /// What was kept.
    ///
    /// # Errors
    /// If there is something that cannot be used: text that says what is lost.
    pub(super) fn load(&self) -> Result<Drains, String> {
        let Some(path) = &self.0 else {
            return Ok(Drains::new());
        };
        let lost = |why: &dyn std::fmt::Display| {
            format!(
                "which gateways were drained by hand is lost: cannot use {}: {why}; drain them again \
                 (`srsync gateway drain`)",
                path.display()
            )
        };
        let text = match source::read_text(path) {
            Ok(text) => text,
            Err(ReadError::Missing) => return Ok(Drains::new()),
            Err(error) => return Err(lost(&error)),
        };
        let saved: Saved = serde_json::from_str(&text).map_err(|error| lost(&error))?;
        let drains = saved.drains.into_iter();
        Ok(drains.map(|drain| (drain.gateway, drain)).collect())
    }

    /// Keeps these and no others.
    ///
    /// # Errors
    /// If they will be gone with the daemon: text that says why.
    pub(super) fn save(&self, drains: &Drains) -> Result<(), String> {
        let Some(path) = &self.0 else {
            return Err("there is no file to keep it in, because there is no socket".to_owned());
        };
        let saved = Saved {
            drains: drains.values().copied().collect(),
        };
        write(path, &saved).map_err(|error| format!("cannot write {}: {error}", path.display()))
    }
}

/// Whole or not at all: whoever reads it finds the old or the new.
fn write(path: &Path, saved: &Saved) -> io::Result<()> {
    let text = serde_json::to_string_pretty(saved).map_err(io::Error::other)?;
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
    fn what_is_kept_is_found_again_and_garbage_is_said_to_be_lost() {
        let name = format!("srsync-drains-{}.json", std::process::id());
        let path = std::env::temp_dir().join(name);
        let store = Store::new(Some(path.clone()));
        assert_eq!(store.load(), Ok(Drains::new()));
        let drain = |gateway: &str, until| {
            let drain = Drain {
                gateway: gateway.parse().unwrap(),
                uid: 1000,
                since: Timestamp::from_millis(1_795_233_600_123),
                until,
            };
            (drain.gateway, drain)
        };
        let until = Some(Timestamp::from_millis(1_795_233_660_000));
        let drains = Drains::from([drain("10.0.0.1", until), drain("fe80::1", None)]);
        // Also over what a killed daemon left.
        fs::write(path.with_extension("json.new"), "half").unwrap();
        store.save(&drains).unwrap();
        assert_eq!(store.load(), Ok(drains));
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        for garbage in ["", "{", "[]", r#"{"drains": [{"gateway": "x"}]}"#] {
            fs::write(&path, garbage).unwrap();
            let lost = store.load().unwrap_err();
            assert!(
                lost.starts_with("which gateways were drained by hand is lost"),
                "{lost}"
            );
        }
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn without_a_file_nothing_is_kept_and_that_is_said() {
        let store = Store::new(None);
        assert_eq!(store.load(), Ok(Drains::new()));
        assert!(store.save(&Drains::new()).is_err());
        let nowhere = Store::new(Some("/nonexistent/drains.json".into()));
        let why = nowhere.save(&Drains::new()).unwrap_err();
        assert!(
            why.starts_with("cannot write /nonexistent/drains.json: "),
            "{why}"
        );
    }
}
