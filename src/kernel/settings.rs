//! The settings of a node as a pass needs them: how they are, what they were before us, and writing them.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Kernel, KernelError, SysctlMemory, SysctlTree};
use crate::model::Link;
use crate::model::egress::{Remembered, SysctlKey, SysctlValue, Sysctls};

/// Where settings are, and where it is remembered what they were before us.
#[derive(Debug)]
pub(super) struct Settings {
    tree: SysctlTree,
    memory: Memory,
}

#[derive(Debug)]
enum Memory {
    File(SysctlMemory),
    /// For a namespace that ends with this process.
    Here(BTreeMap<SysctlKey, Remembered>),
}

impl Default for Settings {
    /// Those of this node, remembered for as long as this lives.
    fn default() -> Self {
        Self {
            tree: SysctlTree::below(SysctlTree::USUAL),
            memory: Memory::Here(BTreeMap::new()),
        }
    }
}

impl Kernel {
    /// The kernel whose settings are in the directory `proc_sys`, and are remembered beside the socket of the daemon.
    ///
    /// # Errors
    /// As those of [`Kernel::open`].
    pub fn of_node(proc_sys: &Path, socket: &Path) -> Result<Self, KernelError> {
        // Whoever is in another network namespace must not overwrite what is remembered of this one.
        let namespace = std::fs::metadata("/proc/thread-self/ns/net");
        let namespace = namespace.map_err(KernelError::Open)?.ino();
        let memory = socket.with_extension(format!("settings-{namespace}.json"));
        Ok(Self {
            settings: Settings {
                tree: SysctlTree::below(proc_sys),
                memory: Memory::File(SysctlMemory::at(memory)),
            },
            ..Self::open()?
        })
    }

    /// The settings of these links, if anybody `wants` any or has ever changed one. What cannot be read is said in
    /// [`Sysctls::read_only`].
    pub fn sysctls(&self, wants: bool, links: &[Link]) -> Sysctls {
        let remembered = match &self.settings.memory {
            Memory::Here(remembered) => remembered.clone(),
            Memory::File(file) => file.load().unwrap_or_else(|why| {
                tracing::warn!("{why}");
                BTreeMap::new()
            }),
        };
        if !wants && remembered.is_empty() {
            return Sysctls::default();
        }
        match self.settings.tree.read(links) {
            Ok(values) => Sysctls {
                values,
                remembered,
                read_only: self.settings.tree.read_only(),
            },
            Err(error) => Sysctls {
                remembered,
                read_only: Some(error.to_string()),
                ..Sysctls::default()
            },
        }
    }

    /// A setting as it is now, if it is there.
    pub fn sysctl(&self, key: &SysctlKey) -> Option<SysctlValue> {
        self.settings.tree.read_one(key).ok().flatten()
    }

    /// Remembers this and nothing else of what settings were before us. To be done before any is written.
    ///
    /// # Errors
    /// If it is not remembered: text that says why.
    pub fn remember_sysctls(
        &mut self,
        values: &BTreeMap<SysctlKey, Remembered>,
    ) -> Result<(), String> {
        match &mut self.settings.memory {
            Memory::File(file) => file.save(values),
            Memory::Here(remembered) => {
                remembered.clone_from(values);
                Ok(())
            }
        }
    }

    /// Writes a setting.
    ///
    /// # Errors
    /// If it was refused: text that says why, and what to do.
    pub fn write_sysctl(&self, key: &SysctlKey, value: SysctlValue) -> Result<(), String> {
        let written = self.settings.tree.write(key, value);
        written.map_err(|error| error.to_string())
    }
}
