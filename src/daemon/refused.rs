//! Nexthop objects that the kernel would not make: a gateway that is none (a broadcast address), a type
//! of group that it does not know. Only documents that need one of these go without objects.

use std::collections::HashSet;

use crate::model::NextHopKind;
use crate::report::Pass;

/// What is refused until the documents or the node change.
#[derive(Debug, Default)]
pub(super) struct RefusedObjects {
    kinds: HashSet<NextHopKind>,
    /// Told since the documents changed. Links come and go, and each time the kernel is asked again; nobody
    /// wants to read the same each time.
    told: HashSet<NextHopKind>,
}

impl RefusedObjects {
    /// What is not to be asked for.
    pub(super) fn kinds(&self) -> &HashSet<NextHopKind> {
        &self.kinds
    }

    /// The node has changed, and so may the kernel's mind.
    pub(super) fn ask_again(&mut self) {
        self.kinds.clear();
    }

    /// Other documents are wanted.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Remembers what the kernel refused in a pass. Returns what is to be said about it, if that is new.
    pub(super) fn add(&mut self, pass: &Pass) -> Option<String> {
        let mut news = Vec::new();
        for (kind, why) in &pass.refused_objects {
            self.kinds.insert(kind.clone());
            if self.told.insert(kind.clone()) {
                news.push(format!("{} ({why})", name(kind, pass)));
            }
        }
        (!news.is_empty()).then(|| {
            format!(
                "the kernel refuses nexthop objects, so routes that need them are plain, and switched one by one: {}",
                news.join("; ")
            )
        })
    }
}

/// As people know it.
fn name(kind: &NextHopKind, pass: &Pass) -> String {
    match kind {
        NextHopKind::Single { via, link, .. } => {
            let via = via.map(|via| format!("via {via} ")).unwrap_or_default();
            format!("{via}dev {}", pass.link_name(*link))
        }
        NextHopKind::Blackhole { .. } => "blackhole".to_owned(),
        NextHopKind::Group(group) => match group.resilient {
            Some(_) => format!("a resilient group of {}", group.members().len()),
            None => format!("a group of {}", group.members().len()),
        },
    }
}
