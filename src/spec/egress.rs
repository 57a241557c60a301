//! The kinds of `srsync.dev/v1alpha1` about forwarding, translation and rules: what they have in common.

use super::Reader;
use super::diagnostic::{Problem, Span};
use super::envelope::Head;
use super::fields::Fields;
use super::findings::Findings;
use super::{forwarding, masquerade, routing_rule, selector};
use crate::model::{Egress, EgressKind, EgressSpec};

/// The fields of `spec` of a kind.
pub fn spec_fields(kind: EgressKind) -> &'static [&'static str] {
    match kind {
        EgressKind::Forwarding => forwarding::SPEC_FIELDS,
        EgressKind::Masquerade => masquerade::SPEC_FIELDS,
        EgressKind::RoutingRule => routing_rule::SPEC_FIELDS,
    }
}

/// Reads `spec`.
pub(super) fn read(
    kind: EgressKind,
    head: Head,
    spec: &Fields<'_, '_>,
    reader: &mut Reader<'_, '_>,
) -> Option<Egress> {
    let mut notes = Notes(Vec::new());
    let names = reader.names;
    let findings = &mut reader.findings;
    let asked = match kind {
        EgressKind::Forwarding => Some(EgressSpec::Forwarding(forwarding::read(
            spec, &mut notes, findings,
        ))),
        EgressKind::Masquerade => Some(EgressSpec::Masquerade(masquerade::read(
            spec, &mut notes, findings,
        ))),
        EgressKind::RoutingRule => {
            routing_rule::read(spec, names, &mut notes, findings).map(EgressSpec::RoutingRule)
        }
    };
    let selector = selector::read(spec, findings);
    Some(Egress {
        id: head.id,
        place: head.place,
        selector,
        spec: asked?,
        notes: notes.0,
    })
}

/// What is no mistake, and yet a person should know of a document, wherever it is shown.
pub(super) struct Notes(Vec<String>);

impl Notes {
    /// Tells it where it is, and remembers what was said.
    pub(super) fn add(&mut self, span: Span, problem: Problem, findings: &mut Findings<'_>) {
        self.0.push(problem.message.clone());
        findings.note_at(findings.spot(span), problem);
    }
}
