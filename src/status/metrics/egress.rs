//! Metrics of things besides routes.

use std::fmt;

use super::Families;
use crate::model::egress::Thing;
use crate::report::{Report, ThingView};

type Labels = Vec<(&'static str, String)>;

impl Families<'_> {
    pub(super) fn egress(&mut self, report: &Report<'_>) -> fmt::Result {
        let states = report.things_by_state().into_iter();
        let states: Vec<(Labels, usize)> = states
            .map(|((kind, state), count)| {
                let kind = ("kind", kind.name().to_owned());
                (vec![kind, ("state", state.name().to_owned())], count)
            })
            .collect();
        self.gauges_of(
            (
                "srsync_egress",
                "Settings, translations and rules by kind and state.",
            ),
            states.iter().map(|(labels, count)| (labels, *count)),
        )?;
        let counted = report.things().filter_map(|view| {
            let counters = view.row.counters?;
            Some((labels(&view)?, counters))
        });
        let counted: Vec<_> = counted.collect();
        self.counters_of(
            (
                "srsync_masquerade_connections",
                "Connections whose source address was translated.",
            ),
            counted
                .iter()
                .map(|(labels, counters)| (labels.clone(), counters.packets)),
        )?;
        self.counters_of(
            (
                "srsync_masquerade_first_bytes",
                "Bytes of the first packets of these connections.",
            ),
            counted
                .iter()
                .map(|(labels, counters)| (labels.clone(), counters.bytes)),
        )
    }
}

/// A rule is one document in one family.
fn labels(view: &ThingView<'_>) -> Option<Labels> {
    let Thing::Nat(rule) = &view.row.thing else {
        return None;
    };
    let family = ("family", rule.family.to_string());
    Some(vec![("document", rule.name.clone()), family])
}
