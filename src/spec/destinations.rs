//! `destinations`, `destinationsFrom` and `except`: which prefixes a document is about.

use std::path::{Component, Path};

use super::Reader;
use super::diagnostic::{Problem, Span, Spot};
use super::fields::{At, Fields, Item};
use super::findings::Findings;
use super::values::{destination, destination_in, prefix, text};
use super::words::quoted;
use crate::model::{Destination, Family, FileId, Place, Prefix, PrefixSet};

/// The fields of an entry of `destinationsFrom`.
pub const DESTINATIONS_FROM_FIELDS: &[&str] = &["file"];

/// So many collapsed destinations are named, the others counted.
const NAMED: usize = 3;

/// The destinations of a document.
pub(super) struct Destinations {
    pub(super) list: Vec<Destination>,
    /// The first of each family, to point at.
    first: [Option<(Prefix, Spot)>; 2],
    /// Whether every one of them could be read: otherwise none can be said to be missing.
    pub(super) complete: bool,
    /// The files of `destinationsFrom`, as the document calls them.
    files: Vec<(FileId, String)>,
}

impl Destinations {
    fn new() -> Self {
        Self {
            list: Vec::new(),
            first: [None, None],
            complete: true,
            files: Vec::new(),
        }
    }

    /// Just this one.
    pub(super) fn one(destination: Option<At<Prefix>>, findings: &Findings<'_>) -> Self {
        let mut one = Self::new();
        match destination {
            Some(At { value, span }) => one.add(value, span, findings),
            None => one.complete = false,
        }
        one
    }

    /// The first destination of a family.
    pub(super) fn first(&self, family: Family) -> Option<&(Prefix, Spot)> {
        self.first[family as usize].as_ref()
    }

    /// Whether there is certainly no destination of this family.
    pub(super) fn lacks(&self, family: Family) -> bool {
        self.complete && self.first(family).is_none()
    }

    fn add(&mut self, prefix: Prefix, span: Span, findings: &Findings<'_>) {
        let place = Place {
            file: findings.file(),
            line: span.line,
        };
        self.list.push(Destination { prefix, place });
        let first = &mut self.first[prefix.family() as usize];
        first.get_or_insert_with(|| (prefix, findings.spot(span)));
    }
}

/// All destinations of a spec, sorted and disjoint, and what was tidied up in words.
pub(super) fn read(
    spec: &Fields<'_, '_>,
    reader: &mut Reader<'_, '_>,
) -> (Destinations, Vec<String>) {
    let mut all = Destinations::new();
    let before = reader.findings.errors();
    listed(spec, &mut all, &mut reader.findings);
    included(spec, &mut all, reader);
    let findings = &mut reader.findings;
    all.complete = findings.errors() == before;
    if all.list.is_empty() && all.complete {
        report_none(spec, findings);
        all.complete = false;
    }
    let (list, note) = collapsed(std::mem::take(&mut all.list), "destination", &all.files);
    all.list = list;
    let notes: Vec<String> = note.into_iter().collect();
    if let (Some(message), Some(entry)) = (
        notes.first(),
        spec.entry("destinations")
            .or(spec.entry("destinationsFrom")),
    ) {
        let spot = findings.spot(entry.key_span);
        findings.note_at(
            spot,
            Problem::new(message.as_str(), "some are said more than once"),
        );
    }
    subtract(spec, &mut all, findings);
    (all, notes)
}

fn listed(spec: &Fields<'_, '_>, all: &mut Destinations, findings: &mut Findings<'_>) {
    let items = spec.items("destinations", findings);
    all.list.reserve(items.size_hint().0);
    for item in items {
        match destination(&item) {
            Ok(prefix) => all.add(prefix, item.node.span, findings),
            Err(problem) => findings.error(item.node.span, problem),
        }
    }
}

fn report_none(spec: &Fields<'_, '_>, findings: &mut Findings<'_>) {
    let given = spec
        .entry("destinations")
        .or(spec.entry("destinationsFrom"));
    match given {
        None => spec.report_missing("destinations", "a list of addresses and prefixes", findings),
        Some(entry) => {
            let message = format!("`{}` names no destination", &*entry.key);
            let help =
                "an empty list is more often a mistake than meant: remove the document instead";
            findings.error(entry.key_span, Problem::new(message, "is empty").help(help));
        }
    }
}

/// The destinations of the files of `destinationsFrom`.
fn included(spec: &Fields<'_, '_>, all: &mut Destinations, reader: &mut Reader<'_, '_>) {
    for item in spec.items("destinationsFrom", &mut reader.findings) {
        let findings = &mut reader.findings;
        let Some(fields) = Fields::of(&item, item.node.span, DESTINATIONS_FROM_FIELDS, findings)
        else {
            continue;
        };
        let Some(name) = fields.require("file", "the name of a file", findings, file_name) else {
            continue;
        };
        match (reader.include)(name.value) {
            Ok(file) => {
                all.files.push((file.file, name.value.to_owned()));
                let text = without_bom(&file.text);
                let mut found = Findings::new(file.file, text);
                lines(text, all, &mut found);
                reader.findings.absorb(found);
            }
            Err(problem) => reader.findings.error(name.span, problem),
        }
    }
}

/// A byte order mark is no part of the first line.
pub(super) fn without_bom(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// A path that stays inside the document's directory.
fn file_name<'n>(item: &Item<'n, '_>) -> Result<&'n str, Problem> {
    let name = text(item)?;
    let inside = Path::new(name)
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if inside && !name.is_empty() && !name.contains('\0') {
        return Ok(name);
    }
    let message = format!(
        "`{item}` must stay in the directory of its document, but is {}",
        quoted(name)
    );
    let label = "must be a relative path without `..`";
    Err(Problem::new(message, label).help("put the file next to the document"))
}

/// One destination a line; `#` begins a comment.
fn lines(text: &str, all: &mut Destinations, findings: &mut Findings<'_>) {
    let mut offset = 0;
    for (index, line) in text.split('\n').enumerate() {
        let content = line.split('#').next().unwrap_or_default();
        let word = content.trim();
        if !word.is_empty() {
            let indent = content.len() - content.trim_start().len();
            let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
            let span = Span {
                line: narrow(index + 1),
                column: narrow(content[..indent].chars().count() + 1),
                length: narrow(word.chars().count()),
                offset: narrow(offset + indent),
            };
            match destination_in(word) {
                Ok(prefix) => all.add(prefix, span, findings),
                Err(problem) => findings.error(span, problem.maybe_help(one_a_line(word))),
            }
        }
        offset += line.len() + 1;
    }
}

fn one_a_line(word: &str) -> Option<String> {
    let several = word.contains([',', ' ', '\t', ';']) || word.starts_with('-');
    several.then(|| "write one address or prefix a line, without anything else".to_owned())
}

/// Sorts, and leaves out what another prefix covers; says what in one sentence.
pub(super) fn collapsed(
    mut list: Vec<Destination>,
    what: &str,
    files: &[(FileId, String)],
) -> (Vec<Destination>, Option<String>) {
    // A covering prefix sorts right before what it covers; of equals the first written is kept.
    list.sort_unstable_by_key(|destination| (destination.prefix, destination.place));
    let mut left_out: Vec<(Destination, Destination)> = Vec::new();
    let mut last: Option<Destination> = None;
    list.retain(|this| match last {
        Some(kept) if kept.prefix.covers(&this.prefix) => {
            left_out.push((*this, kept));
            false
        }
        _ => {
            last = Some(*this);
            true
        }
    });
    left_out.sort_unstable_by_key(|(this, _)| this.place);
    let note = (!left_out.is_empty()).then(|| collapse_note(&left_out, what, files));
    (list, note)
}

fn collapse_note(
    left_out: &[(Destination, Destination)],
    what: &str,
    files: &[(FileId, String)],
) -> String {
    let line = |destination: &Destination| {
        let Place { file, line } = destination.place;
        match files.iter().find(|(known, _)| *known == file) {
            Some((_, name)) => format!("{name}:{line}"),
            None => format!("line {line}"),
        }
    };
    let named = left_out.iter().take(NAMED).map(|(this, kept)| {
        let (prefix, at, other) = (this.prefix, line(this), line(kept));
        match prefix == kept.prefix {
            true => format!("{prefix} ({at}) repeats {other}"),
            false => format!("{prefix} ({at}) is in {} ({other})", kept.prefix),
        }
    });
    let named: Vec<String> = named.collect();
    let count = left_out.len();
    let are = if count == 1 { " is" } else { "s are" };
    let more = match count.saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    format!(
        "{count} {what}{are} left out as covered by others: {}{more}",
        named.join(", ")
    )
}

/// Takes `except` out of the destinations. What is left of one keeps its place.
fn subtract(spec: &Fields<'_, '_>, all: &mut Destinations, findings: &mut Findings<'_>) {
    let except = spec.read_list("except", findings, prefix);
    if except.is_empty() || !all.complete {
        return;
    }
    let wanted: PrefixSet = all
        .list
        .iter()
        .map(|destination| &destination.prefix)
        .collect();
    for hole in except.iter().filter(|hole| !wanted.overlaps(&hole.value)) {
        let message = format!("{} is in none of the destinations", hole.value);
        let spot = findings.spot(hole.span);
        findings.note_at(spot, Problem::new(message, "nothing to take out"));
    }
    let holes: PrefixSet = except.iter().map(|hole| &hole.value).collect();
    let holes = holes.to_prefixes();
    let list = std::mem::take(&mut all.list);
    all.list = list
        .into_iter()
        .flat_map(|whole| remains(whole, &holes))
        .collect();
    if let (true, Some(entry)) = (all.list.is_empty(), spec.entry("except")) {
        let message = "`except` takes out every destination";
        let problem = Problem::new(message, "nothing is left");
        findings.error(
            entry.key_span,
            problem.help("remove the document, or a prefix from `except`"),
        );
    }
}

/// What is left of one destination without the holes, which are sorted and disjoint.
fn remains(whole: Destination, holes: &[Prefix]) -> Vec<Destination> {
    let prefix = whole.prefix;
    let from = holes.partition_point(|hole| *hole < prefix);
    let covered = from
        .checked_sub(1)
        .is_some_and(|before| holes[before].covers(&prefix));
    let inside: PrefixSet = holes[from..]
        .iter()
        .take_while(|hole| prefix.covers(hole))
        .collect();
    if covered {
        return Vec::new();
    }
    if inside.is_empty() {
        return vec![whole];
    }
    let left = std::iter::once(&prefix)
        .collect::<PrefixSet>()
        .minus(&inside);
    let piece = |prefix| Destination {
        prefix,
        place: whole.place,
    };
    left.to_prefixes().into_iter().map(piece).collect()
}
