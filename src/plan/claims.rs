//! Documents → claims on slots, in the order of slots; the first claim on a slot wins it.

use crate::model::{Document, RouteKey, TableId};

use super::{Claim, Inputs, Reason, ReasonCode};

/// A slot that a document wants.
pub(super) struct SlotClaim {
    pub(super) key: RouteKey,
    pub(super) claim: Claim,
}

/// For each document, whether it is for this node.
pub(super) type Selected = Vec<Result<(), Reason>>;

/// Evaluates the node selectors, before anything else.
pub(super) fn select(inputs: &Inputs<'_>) -> Selected {
    let select = |document: &Document| {
        document.selector.check(inputs.labels).map_err(|unmet| {
            let has = match inputs.labels.get(&unmet.key) {
                Some(value) => format!("this node has {}={value}", unmet.key),
                None => format!("this node has no label {} (see --node-label)", unmet.key),
            };
            Reason::new(
                ReasonCode::NodeSelector,
                format!("nodeSelector wants {unmet}; {has}"),
            )
        })
    };
    inputs.documents.iter().map(select).collect()
}

/// All claims of the selected documents, by slot; among claims on one slot the document that is
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

/// The documents that are for this node, with their index.
pub(super) fn selected_documents<'a>(
    inputs: &Inputs<'a>,
    selected: &'a Selected,
) -> impl Iterator<Item = (u32, &'a Document)> {
    (0u32..)
        .zip(inputs.documents)
        .zip(selected)
        .filter(|(_, selected)| selected.is_ok())
        .map(|(document, _)| document)
}

/// The table a document's routes go to.
pub(super) fn table(inputs: &Inputs<'_>, document: &Document) -> TableId {
    document.table.unwrap_or(inputs.policy.table)
}
