//! The table of checks that a person reads: of `srsync check`, and in `srsync status`.

use std::fmt;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style as Paint};

use super::check::{CheckReport, CheckStatus};
use super::gateway_text::ago;
use super::table::Table;
use super::text::{Detail, Style, colour};
use crate::model::Timestamp;
use crate::model::egress::CheckVerdict;

/// The first column.
const VERDICT: usize = 0;

impl CheckReport<'_> {
    /// Writes the report as text.
    pub fn write_text(&self, out: &mut dyn Write, style: Style) -> io::Result<()> {
        if self.checks.is_empty() {
            return writeln!(
                out,
                "No ConnectivityCheck in the documents: nothing to ask."
            );
        }
        let table = CheckTable {
            checks: self.checks,
            now: None,
            style,
            indent: "",
        };
        write!(out, "{table}")?;
        let summary = self.summary;
        let mut text = format!(
            "Checks: {} passed, {} failed",
            summary.passed, summary.failed
        );
        for (count, word) in [
            (summary.unknown, "unknown"),
            (summary.not_selected, "not for this node"),
        ] {
            if count > 0 {
                text += &format!(", {count} {word}");
            }
        }
        writeln!(out, "{}", style.paint(Paint::new().bold(), &(text + ".")))
    }
}

/// Displays checks, one target a line. Those that are not for this node are listed only in detail.
pub(super) struct CheckTable<'a> {
    pub(super) checks: &'a [CheckStatus],
    /// Ages count back from then; without it there are none.
    pub(super) now: Option<Timestamp>,
    pub(super) style: Style,
    pub(super) indent: &'a str,
}

impl CheckTable<'_> {
    fn listed(&self) -> impl Iterator<Item = &CheckStatus> {
        let all = self.style.detail == Detail::Wide;
        let checks = self.checks.iter();
        checks.filter(move |one| all || one.verdict != CheckVerdict::NotSelected)
    }

    /// Whether there is nothing to list.
    pub(super) fn is_empty(&self) -> bool {
        self.listed().next().is_none()
    }

    fn cells(&self, one: &CheckStatus) -> Vec<String> {
        let mut cells = vec![
            one.verdict.name().to_owned(),
            one.target.clone(),
            one.expect.name().to_owned(),
        ];
        if let Some(now) = self.now {
            let age = |moment: Option<Timestamp>| {
                moment.map_or_else(|| "-".to_owned(), |moment| ago(now, moment))
            };
            cells.extend([age(one.since), age(one.last_asked)]);
        }
        cells.push(one.message.clone());
        cells.push(format!("{} ({})", one.check, one.place));
        cells
    }
}

impl fmt::Display for CheckTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return Ok(());
        }
        let mut head = vec!["VERDICT", "TARGET", "EXPECTED"];
        if self.now.is_some() {
            head.extend(["SINCE", "LAST ASKED"]);
        }
        head.extend(["WHAT CAME OF IT", "CHECK"]);
        let rows: Vec<Vec<String>> = self.listed().map(|one| self.cells(one)).collect();
        let table = Table::new(&head, &rows, self.style, self.indent);
        table.head(f)?;
        for (one, row) in self.listed().zip(&rows) {
            table.line(f, row, |column| match column {
                VERDICT => paint(one.verdict),
                _ => Paint::new(),
            })?;
        }
        Ok(())
    }
}

fn paint(verdict: CheckVerdict) -> Paint {
    match verdict {
        CheckVerdict::Passed => colour(AnsiColor::Green),
        CheckVerdict::Failed => colour(AnsiColor::Red),
        CheckVerdict::Unknown => colour(AnsiColor::Yellow),
        CheckVerdict::NotSelected => Paint::new(),
    }
}
