//! Connectivity checks before a change and after it: what speaks for taking the change back.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style as Paint};
use serde::Serialize;

use super::CheckStatus;
use super::text::{Detail, Style, colour, plural};
use crate::model::egress::CheckVerdict;

/// What came of the checks of `apply --check`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// Every target of every check, before anything was changed.
    pub before: Vec<CheckStatus>,
    /// The same after the change.
    pub after: Vec<CheckStatus>,
    /// Whether the change was taken back.
    pub rolled_back: bool,
    /// What could not be taken back, and why.
    pub left: Vec<String>,
}

/// What became of a target.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// It passes, as before.
    Passes,
    /// It passes now.
    Mended,
    /// It passed before, and does not now.
    Broken,
    /// It did not pass before, and does not now.
    StillBad,
    /// It could not be asked before, and does not pass now.
    NoGate,
    /// It is not for this node.
    Elsewhere,
}

impl Gate {
    /// Whether all that is asked from this node is as it should be now.
    pub fn is_as_expected(&self) -> bool {
        let good = [Turn::Passes, Turn::Mended, Turn::Elsewhere];
        self.turns().all(|(turn, ..)| good.contains(&turn))
    }

    fn turns(&self) -> impl Iterator<Item = (Turn, &CheckStatus, &CheckStatus)> {
        let both = self.before.iter().zip(&self.after);
        both.map(|(before, after)| (turn(before.verdict, after.verdict), before, after))
    }

    /// Writes what a person should know; nothing at all where there are no checks.
    pub fn write_text(&self, out: &mut dyn Write, style: Style) -> io::Result<()> {
        for (turn, before, after) in self.turns() {
            let (sign, paint) = match turn {
                Turn::Broken => ("!", colour(AnsiColor::Red)),
                Turn::StillBad | Turn::NoGate => ("!", colour(AnsiColor::Yellow)),
                Turn::Mended => ("+", colour(AnsiColor::Green)),
                Turn::Passes if style.detail == Detail::Wide => ("=", Paint::new()),
                Turn::Passes | Turn::Elsewhere => continue,
            };
            let sign = style.paint(paint, sign);
            writeln!(out, "{sign} {}", after.subject())?;
            for (when, one) in [("before:", before), ("after: ", after)] {
                writeln!(out, "      {when} {}, {}", one.verdict.name(), one.message)?;
            }
            match turn {
                Turn::StillBad => {
                    writeln!(
                        out,
                        "      it did not pass before either: nothing is rolled back for it"
                    )?;
                }
                Turn::NoGate => {
                    writeln!(
                        out,
                        "      nobody knows how it was before: nothing is rolled back for it"
                    )?;
                }
                _ => {}
            }
        }
        self.summary(out, style)
    }

    fn summary(&self, out: &mut dyn Write, style: Style) -> io::Result<()> {
        let count = |wanted: Turn| self.turns().filter(|(turn, ..)| *turn == wanted).count();
        let parts: Vec<String> = [
            (Turn::Passes, "passed before and after"),
            (Turn::Mended, "passed after only"),
            (Turn::Broken, "passed before only"),
            (Turn::StillBad, "passed neither before nor after"),
            (Turn::NoGate, "unknown before"),
        ]
        .into_iter()
        .filter_map(|(turn, words)| match count(turn) {
            0 => None,
            count => Some(format!("{count} {words}")),
        })
        .collect();
        let text = match parts.as_slice() {
            [] => "Checks: none for this node, so nothing stood in the way.".to_owned(),
            parts => format!("Checks: {}.", parts.join(", ")),
        };
        writeln!(out, "{}", style.paint(Paint::new().bold(), &text))?;
        if self.rolled_back {
            let text = match self.left.as_slice() {
                [] => "Rolled back: everything is as it was before.".to_owned(),
                left => format!("Rolled back, but for {}:", plural(left.len(), "change")),
            };
            writeln!(out, "{}", style.paint(colour(AnsiColor::Red), &text))?;
            for left in &self.left {
                writeln!(out, "      {left}")?;
            }
        }
        Ok(())
    }
}

fn turn(before: CheckVerdict, after: CheckVerdict) -> Turn {
    use CheckVerdict::{NotSelected, Passed, Unknown};
    match (before, after) {
        (_, NotSelected) => Turn::Elsewhere,
        (Passed, Passed) => Turn::Passes,
        (_, Passed) => Turn::Mended,
        (Passed, _) => Turn::Broken,
        (Unknown, _) => Turn::NoGate,
        _ => Turn::StillBad,
    }
}
