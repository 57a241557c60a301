//! Lists of prefixes and of things that are meant once.

use std::collections::BTreeMap;
use std::fmt;

use super::destinations::collapsed;
use super::diagnostic::Problem;
use super::egress::Notes;
use super::fields::{At, Fields, Item};
use super::findings::Findings;
use super::yaml::{Entry, Value};
use crate::model::{Destination, Family, Place, Prefix, PrefixSet};

/// The prefixes of a field.
pub(super) struct Prefixes {
    /// As they are written.
    pub(super) written: Vec<At<Prefix>>,
    /// Sorted and disjoint.
    pub(super) list: Vec<Prefix>,
    /// Whether every one of them could be read: otherwise none can be said to be missing.
    pub(super) complete: bool,
}

impl Prefixes {
    /// Reads a list of prefixes, and notes which of them say nothing new; `what` is one of them.
    pub(super) fn read<'n>(
        (spec, name): (&Fields<'n, '_>, &'n str),
        what: &str,
        reader: impl Fn(&Item<'n, '_>) -> Result<Prefix, Problem>,
        notes: &mut Notes,
        findings: &mut Findings<'_>,
    ) -> Self {
        let before = findings.errors();
        let written = spec.read_list(name, findings, reader);
        let file = findings.file();
        let places = written.iter().map(|at| Destination {
            prefix: at.value,
            place: Place {
                file,
                line: at.span.line,
            },
        });
        let (list, note) = collapsed(places.collect(), what, &[]);
        if let (Some(message), Some(entry)) = (note, spec.entry(name)) {
            let problem = Problem::new(message, "some are said more than once");
            notes.add(entry.key_span, problem, findings);
        }
        Self {
            written,
            list: list.iter().map(|one| one.prefix).collect(),
            complete: findings.errors() == before,
        }
    }

    /// The first that is written of a family.
    pub(super) fn first(&self, family: Family) -> Option<At<Prefix>> {
        let mut of_family = self.written.iter();
        let first = of_family.find(|at| at.value.family() == family);
        first.copied()
    }

    /// The addresses in those of a family.
    pub(super) fn set(&self, family: Family) -> PrefixSet {
        let of_family = self.list.iter().filter(|prefix| prefix.family() == family);
        of_family.collect()
    }
}

/// Reports a list that is there and empty: more often a mistake than meant. Whether it is.
pub(super) fn report_empty(
    fields: &Fields<'_, '_>,
    name: &str,
    help: &str,
    findings: &mut Findings<'_>,
) -> bool {
    let is_empty =
        |entry: &&Entry<'_>| matches!(&entry.node.value, Value::List(list) if list.is_empty());
    let Some(entry) = fields.entry(name).filter(is_empty) else {
        return false;
    };
    let message = format!("`{name}` is an empty list");
    findings.error(entry.key_span, Problem::new(message, "is empty").help(help));
    true
}

/// Reports what is listed again.
pub(super) fn report_twice<'a, T: Ord + fmt::Display + 'a>(
    list: impl IntoIterator<Item = &'a At<T>>,
    findings: &mut Findings<'_>,
) {
    let mut known = BTreeMap::new();
    for At { value, span } in list {
        let Some(first) = known.insert(value, *span) else {
            continue;
        };
        let problem = Problem::new(format!("`{value}` is listed twice"), "listed again")
            .related(findings.spot(first), "first listed here")
            .help("keep one of them");
        findings.error(*span, problem);
    }
}
