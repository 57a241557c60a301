//! What settings were before srsync wrote them, in a file.
//!
//! It is of one network namespace and one boot: in any other, everything begins anew. Must not decide what is remembered.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::egress::{Remembered, SysctlKey, SysctlValue};

/// It is no secret, and `apply` as root and a daemon that is not root read what the other wrote.
const MODE: u32 = 0o644;
/// For the directory, where there is none.
const DIRECTORY_MODE: u32 = 0o755;

/// The file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysctlMemory {
    path: PathBuf,
}

/// What is in it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Kept {
    /// The inode of the network namespace, which tells it from others for as long as it is there.
    netns: u64,
    /// The kernel's number of this boot.
    boot_id: String,
    values: Vec<KeptValue>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptValue {
    /// The path below `/proc/sys`.
    key: String,
    before: i32,
    set: i32,
}

impl SysctlMemory {
    /// In this file.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// What was remembered in this network namespace since the node was started.
    ///
    /// # Errors
    /// If there is something that cannot be used: text that says why. Then nothing is known of what was before.
    pub fn load(&self) -> Result<BTreeMap<SysctlKey, Remembered>, String> {
        let unusable = |why: &dyn std::fmt::Display| {
            format!(
                "cannot use {}: {why}. Settings that srsync changed before stay as they are",
                self.path.display()
            )
        };
        let bytes = match read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(unusable(&error)),
        };
        let kept: Kept = serde_json::from_slice(&bytes).map_err(|error| unusable(&error))?;
        let (netns, boot_id) = here().map_err(|error| unusable(&error))?;
        if (kept.netns, kept.boot_id) != (netns, boot_id) {
            return Ok(BTreeMap::new());
        }
        let value = |kept: &KeptValue| {
            let key = SysctlKey::at(&kept.key);
            let key = key.ok_or_else(|| unusable(&format!("{:?} is no setting", kept.key)))?;
            let remembered = Remembered {
                before: SysctlValue::new(kept.before),
                set: SysctlValue::new(kept.set),
            };
            Ok((key, remembered))
        };
        kept.values.iter().map(value).collect()
    }

    /// Remembers this and nothing else. Only after that settings may be written: what could not be undone is not done.
    ///
    /// # Errors
    /// If it is not remembered: text that says why.
    pub fn save(&self, values: &BTreeMap<SysctlKey, Remembered>) -> Result<(), String> {
        let saved = match values.is_empty() {
            true => remove(&self.path),
            false => write(&self.path, values),
        };
        let path = self.path.display();
        saved.map_err(|error| {
            format!(
                "cannot remember in {path} what settings were before srsync changes them: {error}"
            )
        })
    }
}

/// What tells this namespace, and this boot, from others. A namespace is never asked about from another one: the thread
/// that writes settings is in it.
fn here() -> io::Result<(u64, String)> {
    let netns = fs::metadata("/proc/thread-self/ns/net")?.ino();
    let boot_id = fs::read("/proc/sys/kernel/random/boot_id")?;
    Ok((netns, String::from_utf8_lossy(&boot_id).trim().to_owned()))
}

/// A FIFO in its place would keep a daemon waiting for ever.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    match fs::metadata(path)?.is_file() {
        true => fs::read(path),
        false => Err(io::Error::other("it is not a regular file")),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whole or not at all: whoever reads it finds the old or the new.
fn write(path: &Path, values: &BTreeMap<SysctlKey, Remembered>) -> io::Result<()> {
    let (netns, boot_id) = here()?;
    let values = values.iter().map(|(key, remembered)| KeptValue {
        key: key.path(),
        before: remembered.before.get(),
        set: remembered.set.get(),
    });
    let kept = Kept {
        netns,
        boot_id,
        values: values.collect(),
    };
    let text = serde_json::to_string_pretty(&kept).map_err(io::Error::other)?;
    if let Some(directory) = path.parent() {
        // It is the daemon's; `apply` may come before one ever ran.
        let made = DirBuilder::new().mode(DIRECTORY_MODE).create(directory);
        made.or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Ok(()),
            _ => Err(error),
        })?;
    }
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    // Left by somebody who was killed; nothing that somebody else put there is written through.
    remove(Path::new(&new))?;
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(&new);
    writeln!(file?, "{text}")?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Family;

    fn file(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("srsync-{name}-{}.json", std::process::id()))
    }

    fn remembered() -> BTreeMap<SysctlKey, Remembered> {
        let value = Remembered {
            before: SysctlValue::new(0),
            set: SysctlValue::new(1),
        };
        BTreeMap::from([
            (SysctlKey::ForwardAll(Family::V4), value),
            (SysctlKey::ForwardDefault(Family::V6), value),
        ])
    }

    #[test]
    fn what_is_remembered_is_found_again_and_nothing_is_no_file() {
        let path = file("remembered");
        let memory = SysctlMemory::at(&path);
        assert_eq!(memory.load(), Ok(BTreeMap::new()));
        memory.save(&remembered()).unwrap();
        assert_eq!(memory.load(), Ok(remembered()));
        memory.save(&BTreeMap::new()).unwrap();
        assert!(!path.exists());
        memory.save(&BTreeMap::new()).unwrap();
    }

    #[test]
    fn another_boot_or_namespace_remembers_nothing() {
        let path = file("elsewhere");
        let memory = SysctlMemory::at(&path);
        for field in ["netns", "bootId"] {
            memory.save(&remembered()).unwrap();
            let mut kept: serde_json::Value =
                serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            kept[field] = match field {
                "netns" => 7.into(),
                _ => "yesterday".into(),
            };
            fs::write(&path, kept.to_string()).unwrap();
            assert_eq!(memory.load(), Ok(BTreeMap::new()), "{field}");
        }
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn garbage_is_told() {
        let path = file("garbage");
        let memory = SysctlMemory::at(&path);
        memory.save(&remembered()).unwrap();
        let text = String::from_utf8(fs::read(&path).unwrap()).unwrap();
        let other = text.replace("conf/all/forwarding", "conf/all/shoe_size");
        for garbage in ["", "[]", "{}", other.as_str()] {
            fs::write(&path, garbage).unwrap();
            let why = memory.load().unwrap_err();
            assert!(why.starts_with("cannot use /"), "{why}");
        }
        fs::remove_file(&path).unwrap();
        let nowhere = SysctlMemory::at("/nonexistent/further/memory.json");
        let why = nowhere.save(&remembered()).unwrap_err();
        assert!(
            why.starts_with("cannot remember in /nonexistent/further/memory.json what"),
            "{why}"
        );
    }
}
