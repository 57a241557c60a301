//! A report for people: one line a route, what could not be done with its reason, a summary.

use std::fmt;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style as Paint};

use crate::model::{FileName, Place, State};
use crate::plan::{Claim, Reason, Removals};

use super::egress_text::EgressText;
use super::route::WayText;
use super::running_text::RunningText;
use super::{Action, Kind, Report, RouteText, RowView, Summary};

/// How many routes the short form lists before it only counts.
const LISTED: usize = 1000;
/// How many prefixes of one reason the short form names.
const NAMED: usize = 4;
/// Route text is padded to at most this many columns, so that documents line up.
const COLUMN: usize = 72;

/// How a report is written.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// With ANSI colours.
    pub colour: bool,
    /// How much is listed.
    pub detail: Detail,
}

impl Style {
    /// The text in this colour, where colours are wanted.
    pub(super) fn paint(self, paint: Paint, text: &str) -> String {
        match self.colour {
            true => format!("{paint}{text}{paint:#}"),
            false => text.to_owned(),
        }
    }
}

/// How much is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Changes and problems; equal problems together; at most 1000 routes.
    Short,
    /// Every route.
    Wide,
}

impl Report<'_> {
    /// Writes the report as text.
    pub fn write_text(&self, out: &mut dyn Write, style: Style) -> io::Result<()> {
        if let Some(running) = self.running {
            let protocol = self.inputs.policy.protocol;
            let text = RunningText {
                node: self.node,
                protocol: self.inputs.names.protocol(protocol),
                running,
                style,
            };
            write!(out, "{text}")?;
        }
        let mut writer = Writer {
            report: self,
            style,
            width: self.column(style),
            out,
        };
        let egress = EgressText {
            report: self,
            style,
        };
        writer.routes()?;
        egress.things(writer.out)?;
        writer.problems()?;
        egress.problems(writer.out)?;
        writer.tables()?;
        writer.notes()?;
        egress.notes(writer.out)?;
        writer.withheld()?;
        writer.summary()
    }

    /// Whether the row gets a line of its own.
    fn lists(&self, view: &RowView<'_>, detail: Detail) -> bool {
        let changes = !matches!(view.action, Action::Keep | Action::None);
        match detail {
            Detail::Wide => true,
            Detail::Short => !view.is_problem() && (changes || self.kind == Kind::Status),
        }
    }

    fn listed(&self, style: Style) -> impl Iterator<Item = RowView<'_>> {
        let most = match style.detail {
            Detail::Short => LISTED,
            Detail::Wide => usize::MAX,
        };
        self.selected_rows()
            .filter(move |view| self.lists(view, style.detail))
            .take(most)
    }

    fn column(&self, style: Style) -> usize {
        let widths = self.listed(style).map(|view| self.line(&view).len());
        widths.filter(|width| *width <= COLUMN).max().unwrap_or(0)
    }

    fn line(&self, view: &RowView<'_>) -> String {
        RouteText {
            key: &view.row.key,
            attrs: view.attrs,
            links: &self.pass.links,
            names: Some(self.inputs.names),
        }
        .to_string()
    }
}

struct Writer<'a> {
    report: &'a Report<'a>,
    style: Style,
    width: usize,
    out: &'a mut dyn Write,
}

impl Writer<'_> {
    fn routes(&mut self) -> io::Result<()> {
        let report = self.report;
        for view in report.listed(self.style) {
            self.route(&view)?;
        }
        let detail = self.style.detail;
        let total = report
            .selected_rows()
            .filter(|view| report.lists(view, detail))
            .count();
        if detail == Detail::Short && total > LISTED {
            let more = total - LISTED;
            writeln!(
                self.out,
                "  … and {more} more routes; -o wide lists every one"
            )?;
        }
        Ok(())
    }

    fn route(&mut self, view: &RowView<'_>) -> io::Result<()> {
        let (sign, paint) = match view.action {
            _ if view.is_problem() && !view.is_withdrawn() => ("!", colour(AnsiColor::Red)),
            Action::Add => ("+", colour(AnsiColor::Green)),
            Action::Replace => ("~", colour(AnsiColor::Yellow)),
            Action::Adopt => ("^", colour(AnsiColor::Cyan)),
            Action::Remove => ("-", colour(AnsiColor::Red)),
            Action::Withhold => ("?", colour(AnsiColor::Magenta)),
            Action::Keep | Action::None => ("=", Paint::new()),
        };
        let line = self.report.line(view);
        let (width, painted) = (self.width, self.paint(paint, &format!("{sign} ")));
        match &view.row.claim {
            Some(claim) => {
                let claim = self.claim(claim);
                writeln!(self.out, "{painted}{line:width$}   {claim}")?;
            }
            None => writeln!(self.out, "{painted}{line}")?,
        }
        if let Some(previous) = view.previous {
            let was = WayText(previous, &self.report.pass.links);
            writeln!(self.out, "      was {was}")?;
        }
        if view.is_problem() {
            let state = view.state.map_or("", State::name);
            write!(self.out, "      {state}: ")?;
            self.reason(view)?;
        }
        if let Some(warning) = &view.row.warning {
            writeln!(self.out, "      warning: {warning}")?;
        }
        Ok(())
    }

    /// What is not as wanted: equal reasons of one document together, in the order of slots.
    fn problems(&mut self) -> io::Result<()> {
        let report = self.report;
        let mut group: Vec<RowView<'_>> = Vec::new();
        if self.style.detail == Detail::Wide {
            return Ok(()); // each has its reason beside it
        }
        let troubled = report.selected_rows().filter(RowView::is_problem);
        for view in troubled {
            if group.first().is_some_and(|first| !alike(first, &view)) {
                self.problem(&group)?;
                group.clear();
            }
            group.push(view);
        }
        self.problem(&group)?;
        self.kept_warnings()
    }

    fn problem(&mut self, group: &[RowView<'_>]) -> io::Result<()> {
        let Some(first) = group.first() else {
            return Ok(());
        };
        let named: Vec<String> = group
            .iter()
            .take(NAMED)
            .map(|view| view.row.key.prefix.to_string())
            .collect();
        let mut prefixes = named.join(", ");
        if group.len() > NAMED {
            prefixes += &format!(" and {} more", group.len() - NAMED);
        }
        let state = first.state.map_or("", State::name);
        let head = self.paint(colour(AnsiColor::Red), &format!("! {state}"));
        match &first.row.claim {
            Some(claim) => {
                let claim = self.claim(claim);
                writeln!(self.out, "{head} {prefixes}   {claim}")?;
            }
            None => writeln!(self.out, "{head} {prefixes}, which no document asks for")?,
        }
        write!(self.out, "      ")?;
        self.reason(first)
    }

    /// Why a route is not as it should be, and what is in its slot instead.
    fn reason(&mut self, view: &RowView<'_>) -> io::Result<()> {
        match view.reason {
            Some(reason) => writeln!(self.out, "{reason}")?,
            None => writeln!(self.out)?,
        }
        let Some(occupant) = view.occupant else {
            return Ok(());
        };
        let stays = WayText(occupant, &self.report.pass.links);
        writeln!(self.out, "      in the slot, and stays: {stays}")
    }

    /// Warnings on routes that have no line of their own because they are in place.
    fn kept_warnings(&mut self) -> io::Result<()> {
        let report = self.report;
        if report.kind == Kind::Status {
            return Ok(());
        }
        let kept = report
            .selected_rows()
            .filter(|view| view.action == Action::Keep);
        for view in kept.take(LISTED) {
            if let Some(warning) = &view.row.warning {
                writeln!(self.out, "warning: {}: {warning}", view.row.key.prefix)?;
            }
        }
        Ok(())
    }

    fn notes(&mut self) -> io::Result<()> {
        let report = self.report;
        let documents = report.inputs.documents.iter();
        for (document, verdict) in documents.zip(&report.pass.plan.documents) {
            let at = self.place(&document.place);
            if let Some(reason) = &verdict.not_selected {
                let count = document.destinations.len();
                let routes = plural(count, "route");
                writeln!(
                    self.out,
                    "NotSelected: {} ({at}), {routes}: {reason}",
                    document.id
                )?;
            }
            for note in &verdict.notes {
                writeln!(self.out, "note: {} ({at}): {note}", document.id)?;
            }
        }
        Ok(())
    }

    fn withheld(&mut self) -> io::Result<()> {
        if let Removals::Withheld(reason) = &self.report.pass.plan.removals {
            let head = self.paint(colour(AnsiColor::Magenta), "withheld:");
            writeln!(self.out, "{head} {reason}")?;
        }
        Ok(())
    }

    /// What a rehearsal leads to: every route there is then.
    fn tables(&mut self) -> io::Result<()> {
        let Some(observed) = self.report.tables else {
            return Ok(());
        };
        let most = match self.style.detail {
            Detail::Short => LISTED,
            Detail::Wide => usize::MAX,
        };
        for (table, lines) in self.report.table_lines(observed) {
            let head = self.paint(Paint::new().bold(), &format!("\nResulting table {table}:"));
            writeln!(self.out, "{head}")?;
            for line in lines.iter().take(most) {
                writeln!(self.out, "  {line}")?;
            }
            if lines.len() > most {
                let more = lines.len() - most;
                writeln!(
                    self.out,
                    "  … and {more} more routes; -o wide lists every one"
                )?;
            }
        }
        writeln!(self.out)
    }

    fn summary(&mut self) -> io::Result<()> {
        let text = self.counts(&self.report.summary());
        let text = self.paint(Paint::new().bold(), &text);
        writeln!(self.out, "{text}")?;
        let egress = self.report.egress_summary();
        if egress == Summary::default() {
            return Ok(());
        }
        let text = self.counts(&egress);
        // "Applied: …" was said of the routes.
        let counts = text.split_once(": ").map_or(&*text, |(_, counts)| counts);
        let text = self.paint(
            Paint::new().bold(),
            &format!("Forwarding, NAT, rules: {counts}"),
        );
        writeln!(self.out, "{text}")
    }

    fn counts(&self, summary: &Summary) -> String {
        match self.report.kind {
            Kind::Plan => planned(summary),
            Kind::Apply => applied("Applied", summary),
            Kind::Flush => flushed(summary),
            Kind::Try => applied("Rehearsed", summary),
            Kind::Status => counted(summary),
        }
    }

    fn claim(&self, claim: &Claim) -> String {
        let document = &self.report.inputs.documents[claim.document as usize];
        format!("{} ({})", document.id, self.place(&claim.place))
    }

    fn place(&self, at: &Place) -> String {
        place(self.report, at)
    }

    fn paint(&self, paint: Paint, text: &str) -> String {
        self.style.paint(paint, text)
    }
}

/// `routes.yaml:7`.
pub(super) fn place(report: &Report<'_>, place: &Place) -> String {
    let file: &FileName = &report.inputs.files[place.file.0 as usize];
    format!("{}:{}", file.label, place.line)
}

pub(super) fn colour(colour: AnsiColor) -> Paint {
    Paint::new().fg_color(Some(colour.into()))
}

/// Whether two problems can be told together.
fn alike(a: &RowView<'_>, b: &RowView<'_>) -> bool {
    let document = |view: &RowView<'_>| view.row.claim.map(|claim| claim.document);
    let message = |reason: Option<&Reason>| reason.map(|reason| reason.message.clone());
    document(a) == document(b)
        && a.state == b.state
        && a.occupant == b.occupant
        && message(a.reason) == message(b.reason)
}

fn planned(summary: &Summary) -> String {
    let mut parts = vec![
        format!("{} to add", summary.of(Action::Add)),
        format!("{} to replace", summary.of(Action::Replace)),
    ];
    parts.extend(some(summary.of(Action::Adopt), "to adopt"));
    parts.push(format!("{} to remove", summary.of(Action::Remove)));
    format!("Plan: {}; {}.", parts.join(", "), standing(summary))
}

fn applied(verb: &str, summary: &Summary) -> String {
    let mut parts = vec![
        format!("{} added", summary.of(Action::Add)),
        format!("{} replaced", summary.of(Action::Replace)),
    ];
    parts.extend(some(summary.of(Action::Adopt), "adopted"));
    parts.push(format!("{} removed", summary.of(Action::Remove)));
    format!("{verb}: {}; {}.", parts.join(", "), standing(summary))
}

fn flushed(summary: &Summary) -> String {
    let mut parts = vec![format!("{} removed", summary.of(Action::Remove))];
    parts.extend(some(summary.in_state(State::Failed), State::Failed.name()));
    format!("Flushed: {}.", parts.join(", "))
}

fn counted(summary: &Summary) -> String {
    let mut parts = vec![standing(summary)];
    parts.extend(some(summary.of(Action::Add), "missing"));
    parts.extend(some(
        summary.of(Action::Replace) + summary.of(Action::Adopt),
        "different",
    ));
    parts.extend(some(summary.of(Action::Remove), "left over"));
    format!("Status: {}.", parts.join(", "))
}

/// "12 in place, 3 Pending, 2 withheld".
fn standing(summary: &Summary) -> String {
    let mut parts = vec![format!("{} in place", summary.of(Action::Keep))];
    let troubles = State::ALL
        .into_iter()
        .filter(|state| *state != State::Installed);
    for state in troubles {
        parts.extend(some(summary.in_state(state), state.name()));
    }
    parts.extend(some(summary.of(Action::Withhold), "removals withheld"));
    parts.join(", ")
}

fn some(count: usize, what: &str) -> Option<String> {
    (count > 0).then(|| format!("{count} {what}"))
}

/// `1 route`, `2 routes`.
pub fn plural(count: usize, what: &str) -> impl fmt::Display {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {what}{ending}")
}
