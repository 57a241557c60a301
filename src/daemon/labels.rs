//! What is known of this node's labels: those that somebody gave, and those of Kubernetes, where they are
//! wanted. A given label is stronger.

use crate::config::Settings;
use crate::model::Labels;

/// Why there may be more labels than are known.
const UNKNOWN: &str =
    "the Kubernetes API has not told the labels of this node yet (`srsync status` says why)";

/// The labels in force.
pub(super) struct NodeLabels {
    known: Labels,
    /// They are wanted from Kubernetes.
    asked: bool,
    /// What Kubernetes said last.
    told: Option<Labels>,
}

impl NodeLabels {
    pub(super) fn of(settings: &Settings) -> Self {
        let mut labels = Self {
            known: Labels::new(),
            asked: false,
            told: None,
        };
        labels.change(settings);
        labels
    }

    /// Others may have been given.
    pub(super) fn change(&mut self, settings: &Settings) {
        self.asked = settings.kube.node_labels;
        self.known = match (&self.told, self.asked) {
            (_, false) => settings.labels.clone(),
            (None, true) => settings.given_labels.clone(),
            (Some(told), true) => {
                let mut known = settings.labels.clone();
                known.extend(told.clone());
                known.extend(settings.given_labels.clone());
                known
            }
        };
    }

    /// Kubernetes says what they are. Returns what that changes, in words, if anything.
    #[cfg(feature = "kube")]
    pub(super) fn learn(&mut self, told: Labels, settings: &Settings) -> Option<String> {
        let before = self.told.replace(told).map(|_| self.known.clone());
        self.change(settings);
        match before {
            None => Some(format!(
                "the labels of this node are known: {} from Kubernetes",
                self.told.as_ref().map_or(0, Labels::len)
            )),
            Some(before) if before == self.known => None,
            Some(before) => Some(format!(
                "the labels of this node changed: {}",
                differences(&before, &self.known)
            )),
        }
    }

    /// The labels that are known.
    pub(super) fn known(&self) -> &Labels {
        &self.known
    }

    /// Why there may be more.
    pub(super) fn unknown(&self) -> Option<&'static str> {
        (self.asked && self.told.is_none()).then_some(UNKNOWN)
    }
}

/// `role: egress → worker, zone: a → none`.
#[cfg(feature = "kube")]
fn differences(before: &Labels, now: &Labels) -> String {
    let keys: std::collections::BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let value = |labels: &Labels, key| match labels.get(key) {
        Some(value) => value.clone(),
        None => "none".to_owned(),
    };
    let changed = keys
        .into_iter()
        .filter(|key| before.get(*key) != now.get(*key));
    let changed = changed.map(|key| format!("{key}: {} → {}", value(before, key), value(now, key)));
    changed.collect::<Vec<_>>().join(", ")
}
