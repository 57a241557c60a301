//! What changed from one pass to the next: `before/` and `after/` are each a case as those of plans. Both
//! are taken to have been carried out without a surprise.

use std::fmt::Write as _;
use std::path::Path;

use srsync::report::{Pass, Surprises};

use super::plans::Planned;

fn carried_out(pass: Pass) -> Pass {
    Pass {
        outcome: Some(Surprises::new()),
        ..pass
    }
}

/// The sentences that a daemon would tell, and what somebody undid in between.
pub(crate) fn text(case: &Path) -> String {
    let (mut before, mut after) = (
        Planned::of(&case.join("before")),
        Planned::of(&case.join("after")),
    );
    before.pass = carried_out(before.pass).settled();
    let mut text = String::new();
    let undone = after.report(|after| before.report(|before| after.undone_since(before)));
    for key in undone {
        writeln!(text, "undone: {} metric {}", key.prefix, key.metric).unwrap();
    }
    let undone = after.report(|after| before.report(|before| after.things_undone_since(before)));
    for thing in undone {
        writeln!(text, "undone: {thing}").unwrap();
    }
    after.pass = carried_out(after.pass);
    after.report(|after| {
        before.report(|before| {
            for changed in after.changes_since(Some(before)) {
                let sentence = after.sentence(&changed, Some("pid 4711 (ip)"));
                writeln!(text, "{:?}: {sentence}", changed.kind).unwrap();
            }
            for changed in after.things_changed_since(Some(before)) {
                let sentence = changed.sentence(Some("pid 4711 (ip)"));
                writeln!(text, "{:?}: {sentence}", changed.kind).unwrap();
            }
        });
    });
    text
}
