//! `networking.digitalocean.com/v1`: the `StaticRoute` of DigitalOcean's operator.

use super::Reader;
use super::destinations;
use super::envelope::Head;
use super::fields::Fields;
use super::target;
use super::values::unicast;
use crate::model::Document;

/// The fields of `spec`.
pub const SPEC_FIELDS: &[&str] = &["destinations", "gateway"];

/// Reads `spec`.
pub(super) fn read(
    head: Head,
    spec: &Fields<'_, '_>,
    reader: &mut Reader<'_, '_>,
) -> Option<Document> {
    let (destinations, notes) = destinations::read(spec, reader);
    let findings = &mut reader.findings;
    let gateway = spec.require(
        "gateway",
        "the IP address of the next hop",
        findings,
        unicast,
    );
    let target = target::single(gateway, &destinations, findings);
    Some(Document {
        notes,
        ..Document::new(head.id, head.place, destinations.list, target?)
    })
}
