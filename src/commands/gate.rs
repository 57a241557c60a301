//! `srsync apply --check`: the checks of the documents stand between a change and its end.
//!
//! A target that passed before and does not after takes the whole change back. It is asked once more first, so that a
//! packet that was lost by chance takes nothing back. Who ends the program while it asks has not seen the change work:
//! that takes it back, too.

use std::sync::Arc;

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::runtime::{self, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::check::Checks;
use super::session::{Session, end};
use super::{Exit, output};
use crate::kernel::Kernel;
use crate::model::egress::{Answer, CheckVerdict};
use crate::plan::{Inputs, Reason, ReasonCode};
use crate::report::{CheckStatus, Gate, Kind, Pass, Report};
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
    checks.ask()?;
    let before = checks.statuses.clone();
    let observed = sync::observe(kernel, inputs).map_err(SyncError::Before)?;
    let planned = sync::planned(inputs, observed.clone());
    let mut verdict = Ok(());
    let mut pass;
    if planned.plan.is_empty() {
        pass = sync::carry_through(kernel, inputs, planned, Held::default())?;
    } else {
        let mut asking = Asking::new()?;
        pass = sync::carry_through(kernel, inputs, planned, Held::default())?;
        verdict = asking.judge(&before, &mut checks);
    }
    let mut gate = Gate {
        before,
        after: checks.statuses,
        rolled_back: false,
        left: Vec::new(),
    };
    let Err(why) = verdict else {
        let in_sync = report(session, (inputs, &pass), &gate)?;
        return end(&pass, in_sync && gate.is_as_expected());
    };
    let reason = Reason::new(ReasonCode::RolledBack, format!("rolled back: {why}"));
    let undone = sync::undo(kernel, inputs, (&observed, &mut pass), &Arc::new(reason))?;
    gate.rolled_back = true;
    gate.left.clone_from(&undone.left);
    report(session, (inputs, &pass), &gate)?;
    Err(rolled_back(&why, &undone).into())
}

/// Asks after a change, and hears whoever ends the program from before the change on.
struct Asking {
    runtime: Runtime,
    signals: [(&'static str, Signal); 3],
}

impl Asking {
    fn new() -> Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("cannot ask for the checks")?;
        let inside = runtime.enter();
        let signals = [
            ("SIGINT", signal(SignalKind::interrupt())?),
            ("SIGTERM", signal(SignalKind::terminate())?),
            ("SIGHUP", signal(SignalKind::hangup())?),
        ];
        drop(inside);
        Ok(Self { runtime, signals })
    }

    /// Whether the change may stay; why not, otherwise.
    fn judge(&mut self, before: &[CheckStatus], checks: &mut Checks<'_>) -> Result<(), String> {
        self.ask(checks, |_| true)?;
        let suspects = broken(before, checks);
        if suspects.is_empty() {
            return Ok(());
        }
        self.ask(checks, |place| suspects.contains(&place))?;
        let broken = broken(before, checks);
        let Some(first) = broken.first() else {
            return Ok(());
        };
        let after = &checks.statuses[*first];
        let more = match broken.len() {
            1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        let (subject, message) = (after.subject(), &after.message);
        Err(format!(
            "{subject}; that passed before this change and not after it: {message}{more}"
        ))
    }

    fn ask(
        &mut self,
        checks: &mut Checks<'_>,
        wanted: impl Fn(usize) -> bool,
    ) -> Result<(), String> {
        let questions = checks.questions(wanted);
        let [interrupt, terminate, hangup] = &mut self.signals;
        let answers = self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = interrupt.1.recv() => Err(interrupt.0),
                _ = terminate.1.recv() => Err(terminate.0),
                _ = hangup.1.recv() => Err(hangup.0),
                answers = questions.asked() => Ok(answers),
            }
        });
        match answers {
            Ok(answers) => {
                checks.take(&questions, &answers);
                Ok(())
            }
            Err(signal) => {
                let why = format!("ended by {signal} before the checks had passed");
                let nothing = Answer::NotAsked(why.as_str().into());
                checks.take(&questions, &vec![nothing; checks.statuses.len()]);
                Err(why)
            }
        }
    }
}

/// The places of the targets that passed before and do not now.
fn broken(before: &[CheckStatus], checks: &Checks<'_>) -> Vec<usize> {
    let passes = |one: &CheckStatus| one.verdict == CheckVerdict::Passed;
    let both = before.iter().zip(&checks.statuses).enumerate();
    let broken = both.filter(|(_, (before, after))| passes(before) && !passes(after));
    broken.map(|(place, _)| place).collect()
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

fn rolled_back(why: &str, undone: &Undone) -> RolledBack {
    let is_complete = undone.left.is_empty();
    let count = undone.count;
    let end = match is_complete {
        true => format!("rolled back ({count} in all), and everything is as it was"),
        false => format!(
            "rolled back ({count} in all), but not completely; what is left: {}",
            undone.left.join("; ")
        ),
    };
    RolledBack {
        message: format!("{why}; the change is {end}"),
        is_complete,
    }
}
