//! Documents → claims on slots, in the order of slots; the first claim on a slot wins it.

use std::sync::Arc;

use crate::model::{Document, NodeSelector, RouteKey, Selected as Verdict, TableId};

use super::{Claim, Inputs, Reason, ReasonCode};

/// A slot that a document wants.
pub(super) struct SlotClaim {
    pub(super) key: RouteKey,
    pub(super) claim: Claim,
}

/// Whether a document is for this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// It is.
    Yes,
    /// Nobody knows yet, and this is why. Its slots are kept as they are until then.
    Perhaps(Arc<Reason>),
    /// It is not, and this is why.
    No(Reason),
}

impl Choice {
    /// Why it is not decided, if it is not.
    pub(super) fn undecided(&self) -> Option<&Arc<Reason>> {
        match self {
            Self::Perhaps(reason) => Some(reason),
            Self::Yes | Self::No(_) => None,
        }
    }
}

/// For each document, whether it is for this node.
pub(super) type Selected = Vec<Choice>;

/// Evaluates the node selectors, before anything else.
pub(super) fn select(inputs: &Inputs<'_>) -> Selected {
    let select = |document: &Document| choose(inputs, &document.selector);
    inputs.documents.iter().map(select).collect()
}

/// Whether a document with such a selector is for this node.
pub fn choose(inputs: &Inputs<'_>, selector: &NodeSelector) -> Choice {
    match selector.check(inputs.labels, inputs.unknown_labels.is_none()) {
        Verdict::Yes => Choice::Yes,
        Verdict::Perhaps(wanted) => {
            let why = inputs.unknown_labels.unwrap_or_default();
            let message = format!("nodeSelector wants {wanted}; {why}");
            Choice::Perhaps(Arc::new(Reason::new(ReasonCode::LabelsUnknown, message)))
        }
        Verdict::No(unmet) => {
            let has = match inputs.labels.get(&unmet.key) {
                Some(value) => format!("this node has {}={value}", unmet.key),
                None => format!("this node has no label {} (see --node-label)", unmet.key),
            };
            let message = format!("nodeSelector wants {unmet}; {has}");
            Choice::No(Reason::new(ReasonCode::NodeSelector, message))
        }
    }
}

/// All claims of the selected documents and of those that may be, by slot; among claims on one slot the document that is
/// first by name comes first, so that every node settles a conflict alike.
pub(super) fn claims(inputs: &Inputs<'_>, selected: &Selected) -> Vec<SlotClaim> {
    let count = selected_documents(inputs, selected)
        .map(|(_, document)| document.destinations.len())
        .sum();
    let mut claims = Vec::with_capacity(count);
    for (index, document) in selected_documents(inputs, selected) {
        claims.extend(document.destinations.iter().map(|destination| SlotClaim {
            key: document.slot(destination.prefix, inputs.policy.table),
            claim: Claim {
                document: index,
                place: destination.place,
            },
        }));
    }
    claims.sort_unstable_by_key(|claim| (claim.key, claim.claim.document, claim.claim.place));
    claims
}

/// The documents that are for this node, or may be, with their index.
pub(super) fn selected_documents<'a>(
    inputs: &Inputs<'a>,
    selected: &'a Selected,
) -> impl Iterator<Item = (u32, &'a Document)> {
    (0u32..)
        .zip(inputs.documents)
        .zip(selected)
        .filter(|(_, selected)| !matches!(selected, Choice::No(_)))
        .map(|(document, _)| document)
}

/// The table a document's routes go to.
pub(super) fn table(inputs: &Inputs<'_>, document: &Document) -> TableId {
    document.table.unwrap_or(inputs.policy.table)
}
