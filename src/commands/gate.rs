//! `srsync apply --check`: the checks of the documents stand between a change and its end.
//!
//! A target that passed before and does not after takes the whole change back. It is asked once more first, so that a
//! packet that was lost by chance takes nothing back.

use std::sync::Arc;

use anyhow::Result;
use serde::Serialize;

use super::check::Checks;
use super::session::{Session, end};
use super::{Exit, output};
use crate::kernel::Kernel;
use crate::plan::{Inputs, Reason, ReasonCode};
use crate::report::{Gate, Kind, Pass, Report};
use crate::source::Loaded;
use crate::sync::{self, Held, SyncError, Undone};

/// The change was taken back, all of it or not.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct RolledBack {
    message: String,
    /// Whether everything is as it was.
    pub(super) is_complete: bool,
}

/// Applies as far as the checks allow it.
pub(super) fn apply(
    session: &Session,
    kernel: &mut Kernel,
    inputs: &Inputs<'_>,
    loaded: &Loaded,
) -> Result<Exit> {
    let mut checks = Checks::of(inputs, &loaded.checks);
    checks.ask(|_| true)?;
    let before = checks.statuses.clone();
    let observed = sync::observe(kernel, inputs).map_err(SyncError::Before)?;
    let planned = sync::planned(inputs, observed.clone());
    let changes = !planned.plan.is_empty();
    let mut pass = sync::carry_through(kernel, inputs, planned, Held::default())?;
    if changes {
        checks.ask(|_| true)?;
    }
    let mut gate = Gate {
        before,
        after: checks.statuses.clone(),
        rolled_back: false,
        left: Vec::new(),
    };
    let suspects = gate.broken();
    if changes && !suspects.is_empty() {
        checks.ask(|place| suspects.contains(&place))?;
        gate.after.clone_from(&checks.statuses);
    }
    let broken = gate.broken();
    let Some(first) = broken.first().filter(|_| changes) else {
        let in_sync = report(session, (inputs, &pass), &gate)?;
        return end(&pass, in_sync && gate.is_as_expected());
    };
    let subject = gate.after[*first].subject();
    let message = format!("rolled back: {subject}, and was so before this change and not after it");
    let reason = Arc::new(Reason::new(ReasonCode::RolledBack, message));
    let undone = sync::undo(kernel, inputs, (&observed, &mut pass), &reason)?;
    gate.rolled_back = true;
    gate.left.clone_from(&undone.left);
    report(session, (inputs, &pass), &gate)?;
    Err(rolled_back(&gate, &broken, &undone).into())
}

/// Writes the report of a pass with that of its checks.
fn report(session: &Session, (inputs, pass): (&Inputs<'_>, &Pass), gate: &Gate) -> Result<bool> {
    let report = Report {
        kind: Kind::Apply,
        node: session.node(),
        inputs,
        pass,
        tables: None,
        running: None,
        selection: None,
    };
    let form = session.form;
    if form.is_data() {
        form.data(&Gated {
            report: &report,
            gate,
        })?;
    } else {
        form.report(&report)?;
        output::stdout(|out| Ok(gate.write_text(out, form.style())?))?;
    }
    Ok(report.in_sync())
}

/// A report with one field more.
#[derive(Serialize)]
struct Gated<'a> {
    #[serde(flatten)]
    report: &'a Report<'a>,
    gate: &'a Gate,
}

fn rolled_back(gate: &Gate, broken: &[usize], undone: &Undone) -> RolledBack {
    let of = |place: &usize| {
        let after = &gate.after[*place];
        format!(
            "{}, and is not any more: {}",
            after.subject(),
            after.message
        )
    };
    let mut why = broken.first().map(of).unwrap_or_default();
    if broken.len() > 1 {
        why += &format!(" (and {} more)", broken.len() - 1);
    }
    let is_complete = undone.left.is_empty();
    let count = undone.count;
    let end = match is_complete {
        true => format!("the change is rolled back ({count} in all), and everything is as it was"),
        false => format!(
            "the change is rolled back ({count} in all), but not completely; what is left: {}",
            undone.left.join("; ")
        ),
    };
    RolledBack {
        message: format!("{why}; {end}"),
        is_complete,
    }
}
