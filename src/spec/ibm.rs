//! `static-route.ibm.com/v1`: the `StaticRoute` of IBM's operator.

use super::Reader;
use super::destinations::Destinations;
use super::envelope::Head;
use super::fields::Fields;
use super::selector::expressions;
use super::target;
use super::values::{destination, unicast, whole};
use crate::model::{Document, NodeSelector, TableId, Target};

/// The fields of `spec`.
pub const SPEC_FIELDS: &[&str] = &["subnet", "gateway", "table", "selectors"];

/// Reads `spec`.
pub(super) fn read(
    head: Head,
    spec: &Fields<'_, '_>,
    reader: &mut Reader<'_, '_>,
) -> Option<Document> {
    let findings = &mut reader.findings;
    let subnet = spec.require(
        "subnet",
        "the destination, such as 192.0.2.0/24",
        findings,
        destination,
    );
    let destinations = Destinations::one(subnet, findings);
    let target = if spec.has("gateway") {
        let gateway = spec.read("gateway", findings, unicast);
        target::single(gateway, &destinations, findings)
    } else {
        Some(Target::ConfiguredLookup)
    };
    // 255 is the kernel's table, which the operator refuses too; 0 stands for the default.
    let table = spec.read("table", findings, |item| whole(item, 0..=254));
    let table = table.map(|table| table.value).filter(|table| *table != 0);
    let requirements = expressions(spec, "selectors", findings);
    Some(Document {
        id: head.id,
        place: head.place,
        destinations: destinations.list,
        target: target?,
        table: table.map(TableId::new),
        metric: None,
        source: None,
        mtu: None,
        advmss: None,
        selector: NodeSelector { requirements },
        notes: Vec::new(),
    })
}
