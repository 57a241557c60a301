//! Things besides routes for people, beside their routes.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style as Paint};

use super::egress::ThingView;
use super::text::{colour, place};
use super::{Action, Detail, Kind, Report, Style};
use crate::model::State;

/// Lines are padded to at most this many columns, so that documents line up.
const COLUMN: usize = 72;

/// Writes what a report says about things besides routes.
pub(super) struct EgressText<'a> {
    pub(super) report: &'a Report<'a>,
    pub(super) style: Style,
}

impl EgressText<'_> {
    /// One line each: changes, or all of them where all are wanted.
    pub(super) fn things(&self, out: &mut dyn Write) -> io::Result<()> {
        let listed: Vec<ThingView<'_>> = self.report.things().filter(|v| self.lists(v)).collect();
        let widths = listed.iter().map(|view| line(view).len());
        let width = widths.filter(|width| *width <= COLUMN).max().unwrap_or(0);
        for view in &listed {
            self.thing(view, width, out)?;
        }
        Ok(())
    }

    fn lists(&self, view: &ThingView<'_>) -> bool {
        let changes = !matches!(view.action, Action::Keep | Action::None);
        match self.style.detail {
            Detail::Wide => true,
            Detail::Short => !view.is_problem() && (changes || self.report.kind == Kind::Status),
        }
    }

    fn thing(&self, view: &ThingView<'_>, width: usize, out: &mut dyn Write) -> io::Result<()> {
        let (sign, paint) = match view.action {
            _ if view.is_problem() => ("!", colour(AnsiColor::Red)),
            Action::Add => ("+", colour(AnsiColor::Green)),
            Action::Replace => ("~", colour(AnsiColor::Yellow)),
            Action::Adopt => ("^", colour(AnsiColor::Cyan)),
            Action::Remove => ("-", colour(AnsiColor::Red)),
            Action::Withhold => ("?", colour(AnsiColor::Magenta)),
            Action::Keep | Action::None => ("=", Paint::new()),
        };
        let painted = self.style.paint(paint, &format!("{sign} "));
        let line = line(view);
        match self.document(view) {
            Some(document) => writeln!(out, "{painted}{line:width$}   {document}")?,
            None => writeln!(out, "{painted}{line}")?,
        }
        if view.is_problem() {
            let state = view.state.map_or("", State::name);
            let reason = view.reason.map_or("", |reason| &reason.message);
            writeln!(out, "      {state}: {reason}")?;
        }
        if let Some(warning) = &view.row.warning {
            writeln!(out, "      warning: {warning}")?;
        }
        Ok(())
    }

    /// What is not as wanted, and what is worth knowing of what is in place.
    pub(super) fn problems(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.style.detail == Detail::Wide {
            return Ok(()); // each has its reason beside it
        }
        for view in self.report.things().filter(ThingView::is_problem) {
            let state = view.state.map_or("", State::name);
            let head = self
                .style
                .paint(colour(AnsiColor::Red), &format!("! {state}"));
            let document = self.document(&view);
            let document = document.unwrap_or_else(|| "which no document asks for".to_owned());
            writeln!(out, "{head} {}   {document}", view.row.thing)?;
            let reason = view.reason.map_or("", |reason| &reason.message);
            writeln!(out, "      {reason}")?;
        }
        if self.report.kind == Kind::Status {
            return Ok(());
        }
        for view in self
            .report
            .things()
            .filter(|view| view.action == Action::Keep)
        {
            if let Some(warning) = &view.row.warning {
                writeln!(out, "warning: {}: {warning}", view.row.thing)?;
            }
        }
        Ok(())
    }

    /// Documents for other nodes, and notes.
    pub(super) fn notes(&self, out: &mut dyn Write) -> io::Result<()> {
        let documents = self.report.inputs.egress.iter();
        for (document, verdict) in documents.zip(&self.report.pass.plan.egress.documents) {
            let name = format!("{} {}", document.kind(), document.id);
            let at = place(self.report, &document.place);
            if let Some(reason) = &verdict.not_selected {
                writeln!(out, "NotSelected: {name} ({at}): {reason}")?;
            }
            for note in &verdict.notes {
                writeln!(out, "note: {name} ({at}): {note}")?;
            }
        }
        Ok(())
    }

    fn document(&self, view: &ThingView<'_>) -> Option<String> {
        let (document, at) = self.report.egress_document(view)?;
        Some(format!("{} ({})", document.id, place(self.report, &at)))
    }
}

/// `rule 100: from 10.42.0.0/16 lookup 100`, with what it was before, or what it has done.
fn line(view: &ThingView<'_>) -> String {
    let mut line = view.row.thing.to_string();
    if let Some(aside) = view.aside() {
        line += &format!(" ({aside})");
    }
    if let (Action::Keep, Some(counters)) = (view.action, view.row.counters) {
        line += &format!(" ({} packets, {} bytes)", counters.packets, counters.bytes);
    }
    line
}
