//! What a person reads first of a running daemon: who it is, how its last pass went, what its
//! documents are and what is wrong with them, and who fights with it.
//!
//! Owns the words. Ages count back from the moment that the daemon wrote all this down, so that the
//! text is the same whenever and wherever it is made.

use std::fmt;
use std::time::Duration;

use anstyle::{AnsiColor, Style as Paint};

use super::text::{colour, plural};
use super::{Condition, ContestedRoute, Finding, PassStatus, Running, SourceStatus, Style};
use crate::model::Timestamp;

/// Displays everything about a daemon but its routes.
pub(super) struct RunningText<'a> {
    /// This node's name.
    pub(super) node: &'a str,
    /// The protocol that its routes carry, with name and number.
    pub(super) protocol: String,
    /// The daemon.
    pub(super) running: &'a Running,
    /// With colours or without.
    pub(super) style: Style,
}

impl fmt::Display for RunningText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.process(f)?;
        self.sources(f)?;
        for finding in &self.running.findings {
            self.finding(f, finding)?;
        }
        self.contested(f)
    }
}

impl RunningText<'_> {
    fn process(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Running { version, pid, .. } = self.running;
        let node = self.style.paint(Paint::new().bold(), self.node);
        let up = brief(self.running.now.since(self.running.started));
        let protocol = &self.protocol;
        writeln!(
            f,
            "{node}: srsync {version}, pid {pid}, up {up}; protocol {protocol}"
        )?;
        if let Some(pass) = &self.running.last_pass {
            self.last_pass(f, pass)?;
        }
        if self.running.ready.is_none() {
            let head = self.style.paint(colour(AnsiColor::Yellow), "Not ready:");
            let why = "no pass was complete yet, so no routes are shown";
            writeln!(f, "{head} {why}")?;
        }
        if let Some(why) = &self.running.polling {
            writeln!(f, "Watching: polled every second, because {why}")?;
        }
        writeln!(f)
    }

    fn last_pass(&self, f: &mut fmt::Formatter<'_>, pass: &PassStatus) -> fmt::Result {
        write!(
            f,
            "Last pass {}: {}, ",
            self.ago(pass.ended),
            pass.trigger.name()
        )?;
        match &pass.error {
            Some(error) => {
                let failed = self.style.paint(colour(AnsiColor::Red), "FAILED:");
                writeln!(f, "{failed} {error}")
            }
            None => {
                let changes = plural(pass.changes, "change");
                writeln!(f, "{changes}, {:.1?}", pass.took)
            }
        }
    }

    fn sources(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources = &self.running.sources;
        if sources.is_empty() {
            return Ok(());
        }
        let width = |of: fn(&SourceStatus) -> usize| sources.iter().map(of).max().unwrap_or(0);
        let widths = Widths {
            path: width(|source| source.path.chars().count()),
            condition: width(|source| source.condition.name().len()),
            files: width(|source| counted(source.files, "file").len()),
            documents: width(|source| counted(source.documents, "document").len()),
            destinations: width(|source| counted(source.destinations, "destination").len()),
        };
        self.heading(f, "Sources")?;
        for source in sources {
            self.source(f, source, &widths)?;
        }
        writeln!(f)
    }

    fn source(
        &self,
        f: &mut fmt::Formatter<'_>,
        source: &SourceStatus,
        widths: &Widths,
    ) -> fmt::Result {
        let paint = match source.condition {
            Condition::Valid => colour(AnsiColor::Green),
            Condition::Invalid | Condition::Unreadable => colour(AnsiColor::Red),
            Condition::Empty => colour(AnsiColor::Yellow),
        };
        let condition = format!("{:1$}", source.condition.name(), widths.condition);
        writeln!(
            f,
            "  {:path$}   {}   {:>files$}   {:>documents$}   {:>destinations$}   changed {}",
            source.path,
            self.style.paint(paint, &condition),
            counted(source.files, "file"),
            counted(source.documents, "document"),
            counted(source.destinations, "destination"),
            self.ago(source.changed),
            path = widths.path,
            files = widths.files,
            documents = widths.documents,
            destinations = widths.destinations,
        )?;
        match &source.message {
            Some(message) => writeln!(f, "      {message}"),
            None => Ok(()),
        }
    }

    /// As `srsync validate` shows it, with the first word coloured as there.
    fn finding(&self, f: &mut fmt::Formatter<'_>, finding: &Finding) -> fmt::Result {
        let text = finding.text.trim_end();
        let Some((severity, rest)) = text.split_once(':') else {
            return writeln!(f, "{text}\n");
        };
        let paint = match severity {
            "error" => colour(AnsiColor::Red),
            "warning" => colour(AnsiColor::Yellow),
            _ => Paint::new(),
        };
        let severity = self.style.paint(paint.bold(), severity);
        writeln!(f, "{severity}:{rest}\n")
    }

    fn contested(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let contested = &self.running.contested;
        if contested.is_empty() {
            return Ok(());
        }
        let widths = contested.iter().map(|contested| contested.route.len());
        let width = widths.max().unwrap_or(0);
        self.heading(f, "Contested")?;
        for ContestedRoute {
            route,
            undone,
            last,
            by,
            next_attempt,
        } in contested
        {
            let sign = self.style.paint(colour(AnsiColor::Red), "!");
            let times = plural(*undone as usize, "time");
            let last = self.ago(*last);
            write!(f, "{sign} {route:width$}   undone {times}, last {last}")?;
            if let Some(by) = by {
                write!(f, " by {by}")?;
            }
            if let Some(next) = next_attempt {
                let wait = brief(next.since(self.running.now));
                write!(f, "; next attempt in {wait}")?;
            }
            writeln!(f)?;
        }
        writeln!(f)
    }

    fn heading(&self, f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
        writeln!(f, "{}", self.style.paint(Paint::new().bold(), text))
    }

    fn ago(&self, moment: Timestamp) -> String {
        let age = brief(self.running.now.since(moment));
        format!("{age} ago")
    }
}

/// How wide the columns of the sources are.
struct Widths {
    path: usize,
    condition: usize,
    files: usize,
    documents: usize,
    destinations: usize,
}

/// `1 file ` or `3 files`: the numbers of a column line up although the words differ.
fn counted(count: usize, what: &str) -> String {
    let ending = if count == 1 { ' ' } else { 's' };
    format!("{count} {what}{ending}")
}

/// Whole seconds, in the two largest units: `3days 4h`.
fn brief(duration: Duration) -> String {
    let seconds = Duration::from_secs(duration.as_secs());
    let text = humantime::format_duration(seconds).to_string();
    let units: Vec<&str> = text.split(' ').take(2).collect();
    units.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_as_short_as_a_person_wants_them() {
        let shown = |millis| brief(Duration::from_millis(millis));
        assert_eq!(shown(0), "0s");
        assert_eq!(shown(3_999), "3s");
        assert_eq!(shown(61_000), "1m 1s");
        assert_eq!(shown((((3 * 24 + 4) * 60 + 5) * 60 + 6) * 1000), "3days 4h");
    }
}
