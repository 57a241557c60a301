//! Texts that are no files: somebody else reads them, and tells what they are.
//!
//! Must not know who tells, nor what a text means.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// What the source of told texts is called among the sources; each text is `kube:COLLECTION/NAME`.
pub const TOLD: &str = "kube";

/// The objects of a cluster as far as they are known, each as a text.
#[derive(Debug, Default)]
pub struct Told {
    /// By what they are called in output.
    texts: BTreeMap<Arc<str>, Arc<str>>,
    /// The collections of which nothing is known yet.
    awaited: BTreeSet<String>,
    /// How often something was told.
    count: u64,
}

impl Told {
    /// Nothing of these collections is known yet, so that none of them may be taken for empty.
    pub(super) fn awaiting(collections: impl IntoIterator<Item = String>) -> Self {
        Self {
            texts: BTreeMap::new(),
            awaited: collections.into_iter().collect(),
            count: 0,
        }
    }

    /// These are all texts of a collection.
    pub fn all<'a>(
        &mut self,
        collection: &str,
        texts: impl IntoIterator<Item = (&'a String, &'a Arc<str>)>,
    ) {
        let prefix = name(collection, "");
        self.texts.retain(|name, _| !name.starts_with(&*prefix));
        let texts = texts.into_iter();
        let named = texts.map(|(object, text)| (name(collection, object), Arc::clone(text)));
        self.texts.extend(named);
        self.awaited.remove(collection);
        self.count += 1;
    }

    /// One text is another now, or is gone.
    pub fn one(&mut self, collection: &str, object: &str, text: Option<Arc<str>>) {
        let name = name(collection, object);
        match text {
            Some(text) => drop(self.texts.insert(name, text)),
            None => drop(self.texts.remove(&name)),
        }
        self.count += 1;
    }

    /// How often something was told.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn texts(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.texts.iter()
    }

    /// Why there may be more, if so.
    pub(super) fn missing(&self) -> Option<String> {
        let awaited: Vec<&str> = self.awaited.iter().map(String::as_str).collect();
        (!awaited.is_empty()).then(|| {
            format!(
                "the Kubernetes API has not listed {} yet (`srsync status` says what is wrong with it)",
                awaited.join(", ")
            )
        })
    }

    /// Whether a source is that of told texts.
    pub fn is_at(path: &Path) -> bool {
        path.as_os_str() == TOLD
    }
}

fn name(collection: &str, object: &str) -> Arc<str> {
    format!("{TOLD}:{collection}/{object}").into()
}
