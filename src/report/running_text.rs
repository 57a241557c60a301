//! What a person reads first of a running daemon: who it is, how its last pass went, what its
//! documents are and what is wrong with them, and who fights with it.
//!
//! Owns the words. Ages count back from the moment that the daemon wrote all this down, so that the
//! text is the same whenever and wherever it is made.

use std::fmt;
use std::time::Duration;

use anstyle::{AnsiColor, Style as Paint};

use super::check_text::CheckTable;
use super::gateway_text::GatewayTable;
use super::text::{colour, plural};
use super::{
    Condition, ContestedRoute, Finding, KubernetesStatus, PassStatus, Running, SourceStatus, Style,
};
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
        self.gateways(f)?;
        self.overrides(f)?;
        self.checks(f)?;
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
        if let Some(status) = &self.running.kubernetes {
            self.kubernetes(f, status)?;
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

    fn kubernetes(&self, f: &mut fmt::Formatter<'_>, status: &KubernetesStatus) -> fmt::Result {
        if status.troubles.is_empty() {
            return writeln!(
                f,
                "Kubernetes: answers for {}",
                brief(self.running.now.since(status.since))
            );
        }
        for trouble in &status.troubles {
            let head = format!("Kubernetes, {}:", trouble.about);
            let head = self.style.paint(colour(AnsiColor::Yellow), &head);
            writeln!(
                f,
                "{head} {} (began {})",
                trouble.message,
                self.ago(trouble.since)
            )?;
        }
        Ok(())
    }

    fn sources(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources = &self.running.sources;
        if sources.is_empty() {
            return Ok(());
        }
        let width = |of: fn(&SourceStatus) -> usize| sources.iter().map(of).max().unwrap_or(0);
        let path = width(|source| source.path.chars().count());
        let condition = width(|source| source.condition.name().len());
        let files = column(sources, "file", |source| source.files);
        let documents = column(sources, "document", |source| source.documents);
        let destinations = column(sources, "destination", |source| source.destinations);
        let counts = files.zip(documents).zip(destinations);
        self.heading(f, "Sources")?;
        for (source, ((files, documents), destinations)) in sources.iter().zip(counts) {
            let name = format!("{:condition$}", source.condition.name());
            let name = self.style.paint(paint(source.condition), &name);
            let changed = self.ago(source.changed);
            writeln!(
                f,
                "  {:path$}   {name}   {files}   {documents}   {destinations}   changed {changed}",
                source.path
            )?;
            if let Some(message) = &source.message {
                writeln!(f, "      {message}")?;
            }
        }
        writeln!(f)
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

    fn gateways(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gateways = &self.running.gateways;
        if self.running.isolated {
            let head = self.style.paint(colour(AnsiColor::Red), "Isolated:");
            let what = "no witness answers; nothing is switched until one does";
            writeln!(f, "{head} {what}\n")?;
        }
        if gateways.is_empty() {
            return Ok(());
        }
        self.heading(f, "Gateways")?;
        let table = GatewayTable {
            gateways,
            now: self.running.now,
            style: self.style,
            indent: "  ",
        };
        writeln!(f, "{table}")
    }

    fn overrides(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let overrides = &self.running.overrides;
        let width = overrides.iter().map(|one| one.gateway.len()).max();
        let Some(width) = width else {
            return Ok(());
        };
        self.heading(f, "Gateways by hand")?;
        for one in overrides {
            let state = self.style.paint(colour(AnsiColor::Yellow), one.state);
            write!(f, "  {:width$}   {state} by {}", one.gateway, one.by)?;
            match one.until {
                Some(until) => {
                    let left = brief(until.since(self.running.now));
                    writeln!(f, ", until {until} (in {left})")?;
                }
                None => writeln!(f)?,
            }
        }
        writeln!(f)
    }

    fn checks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = CheckTable {
            checks: &self.running.checks,
            now: Some(self.running.now),
            style: self.style,
            indent: "  ",
        };
        if table.is_empty() {
            return Ok(());
        }
        self.heading(f, "Checks")?;
        writeln!(f, "{table}")
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
        match self
            .running
            .contested_routes
            .saturating_sub(contested.len())
        {
            0 => {}
            more => writeln!(
                f,
                "  … and {more} more; each is Failed below while it waits"
            )?,
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

fn paint(condition: Condition) -> Paint {
    match condition {
        Condition::Valid => colour(AnsiColor::Green),
        Condition::Invalid | Condition::Unreadable => colour(AnsiColor::Red),
        Condition::Empty => colour(AnsiColor::Yellow),
    }
}

/// ` 1 file ` above `12 files`: numbers and words each line up.
fn column<'a>(
    sources: &'a [SourceStatus],
    what: &'a str,
    count: fn(&SourceStatus) -> usize,
) -> impl Iterator<Item = String> + 'a {
    let most = sources.iter().map(count).max().unwrap_or(0);
    let digits = most.to_string().len();
    let several = sources.iter().any(|source| count(source) != 1);
    let letters = what.len() + usize::from(several);
    sources.iter().map(move |source| {
        let count = count(source);
        let ending = if count == 1 { "" } else { "s" };
        let word = format!("{what}{ending}");
        format!("{count:>digits$} {word:letters$}")
    })
}

/// Whole seconds, in the two largest units: `3days 4h`.
pub(super) fn brief(duration: Duration) -> String {
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
