//! Hands out the fields of a mapping by name, typed, and reports those that nobody knows.

use std::fmt;
use std::rc::Rc;

use super::diagnostic::{Problem, Span};
use super::findings::Findings;
use super::words::{did_you_mean, listed, nearest, quoted};
use super::yaml::{Entry, Node, Value};

/// A value with where it is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

/// A value with the field that it is the value of.
#[derive(Clone)]
pub(super) struct Item<'n, 't> {
    pub(super) node: &'n Node<'t>,
    /// The mapping that the field is in; empty where that goes without saying.
    pub(super) owner: Rc<str>,
    pub(super) field: &'n str,
    /// Its position, where the field is a list.
    pub(super) index: Option<usize>,
}

impl fmt::Display for Item<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.owner.is_empty() {
            write!(f, "{}.", self.owner)?;
        }
        match self.index {
            Some(index) => write!(f, "{}[{index}]", self.field),
            None => f.write_str(self.field),
        }
    }
}

impl<'n, 't> Item<'n, 't> {
    /// A value by itself, under a name of its own.
    pub(super) fn named(field: &'n str, node: &'n Node<'t>) -> Self {
        Self {
            node,
            owner: "".into(),
            field,
            index: None,
        }
    }

    /// The problem that this is not what it must be.
    pub(super) fn must_be(&self, wanted: &str) -> Problem {
        let kind = self.node.kind();
        let message = format!("{} must be {wanted}, not {kind}", shown(&self.to_string()));
        Problem::new(message, format!("must be {wanted}"))
    }
}

/// A mapping whose fields are read by name.
#[derive(Clone)]
pub(super) struct Fields<'n, 't> {
    /// What the mapping is the value of, such as `spec`.
    pub(super) name: Rc<str>,
    /// Where it is named: what is missing is reported there.
    pub(super) span: Span,
    entries: &'n [Entry<'t>],
    /// Its fields; none where others are welcome.
    known: &'static [&'static str],
}

impl<'n, 't> Fields<'n, 't> {
    /// The fields of `item`, which is named at `span`; unknown ones are reported at once.
    pub(super) fn of(
        item: &Item<'n, 't>,
        span: Span,
        known: &'static [&'static str],
        findings: &mut Findings<'_>,
    ) -> Option<Self> {
        let Some(fields) = Self::unchecked(item, span) else {
            findings.error(item.node.span, item.must_be("a mapping"));
            return None;
        };
        let fields = Self { known, ..fields };
        fields.report_unknown(findings);
        Some(fields)
    }

    /// The fields of `item` where others than the known ones are welcome; `None` if it has none.
    pub(super) fn unchecked(item: &Item<'n, 't>, span: Span) -> Option<Self> {
        match &item.node.value {
            Value::Map(entries) => Some(Self {
                name: item.to_string().into(),
                span,
                entries,
                known: &[],
            }),
            _ => None,
        }
    }

    /// Of a field of this mapping that is a mapping itself.
    pub(super) fn inside(
        &self,
        name: &'n str,
        known: &'static [&'static str],
        findings: &mut Findings<'_>,
    ) -> Option<Self> {
        let entry = self.entry(name)?;
        Self::of(&self.item(name, entry), entry.key_span, known, findings)
    }

    fn report_unknown(&self, findings: &mut Findings<'_>) {
        for entry in self
            .entries
            .iter()
            .filter(|entry| !self.known.contains(&&*entry.key))
        {
            let message = format!("unknown field {} in {}", quoted(&entry.key), self.shown());
            let help = match (nearest(&entry.key, self.known.iter().copied()), self.known) {
                (Some(meant), _) => did_you_mean(meant),
                (None, []) => "no field is known here".to_owned(),
                (None, [only]) => format!("the only known field is `{only}`"),
                (None, known) => format!("the known fields are {}", listed(known, "and")),
            };
            let problem = Problem::new(message, "not a known field").help(help);
            findings.error(entry.key_span, problem);
        }
    }

    /// Whether an unknown field looks as if this one was meant: then it is no use to say that
    /// this one is missing, too.
    pub(super) fn is_mistyped(&self, name: &str) -> bool {
        let unknown = |entry: &&Entry<'_>| !self.known.contains(&&*entry.key);
        let mut unknown = self.entries.iter().filter(unknown);
        !self.known.is_empty() && unknown.any(|entry| nearest(&entry.key, [name]).is_some())
    }

    /// What the mapping is, in a sentence.
    pub(super) fn shown(&self) -> String {
        shown(&self.name)
    }

    /// The key and value of a field, even where the value is null (`icmp:`).
    pub(super) fn written(&self, name: &str) -> Option<&'n Entry<'t>> {
        self.entries.iter().find(|entry| &*entry.key == name)
    }

    /// The key and value of a field; null is the same as absent, as in Kubernetes.
    pub(super) fn entry(&self, name: &str) -> Option<&'n Entry<'t>> {
        self.written(name)
            .filter(|entry| !matches!(entry.node.value, Value::Null))
    }

    /// Whether the field is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.entry(name).is_some()
    }

    /// A field's value, read by `reader`; what is wrong with it is reported.
    pub(super) fn read<T>(
        &self,
        name: &'n str,
        findings: &mut Findings<'_>,
        reader: impl FnOnce(&Item<'n, 't>) -> Result<T, Problem>,
    ) -> Option<At<T>> {
        read(&self.item(name, self.entry(name)?), findings, reader)
    }

    /// The values of a field that is a list, each read by `reader`.
    pub(super) fn read_list<T>(
        &self,
        name: &'n str,
        findings: &mut Findings<'_>,
        reader: impl Fn(&Item<'n, 't>) -> Result<T, Problem>,
    ) -> Vec<At<T>> {
        self.items(name, findings)
            .filter_map(|item| read(&item, findings, &reader))
            .collect()
    }

    /// The items of a field that is a list; none where it is absent or something else.
    pub(super) fn items(
        &self,
        name: &'n str,
        findings: &mut Findings<'_>,
    ) -> impl Iterator<Item = Item<'n, 't>> + use<'n, 't> {
        let list: &'n [Node<'t>] = match self.entry(name).map(|entry| (entry, &entry.node.value)) {
            Some((_, Value::List(list))) => list,
            Some((entry, _)) => {
                let problem = self.item(name, entry).must_be("a list");
                let help = match &entry.node.value {
                    Value::Text(text) => Some(format!("put it in brackets: [{}]", &**text)),
                    _ => None,
                };
                findings.error(entry.node.span, problem.maybe_help(help));
                &[]
            }
            None => &[],
        };
        let owner = self.owner();
        list.iter().enumerate().map(move |(index, node)| Item {
            node,
            owner: Rc::clone(&owner),
            field: name,
            index: Some(index),
        })
    }

    fn item(&self, field: &'n str, entry: &'n Entry<'t>) -> Item<'n, 't> {
        Item {
            owner: self.owner(),
            ..Item::named(field, &entry.node)
        }
    }

    /// How fields of this mapping are told from those of others: `spec` goes without saying.
    fn owner(&self) -> Rc<str> {
        match &*self.name {
            "spec" | "document" | "config" => "".into(),
            _ => Rc::clone(&self.name),
        }
    }

    /// Reports that a required field is missing.
    pub(super) fn report_missing(&self, name: &str, wanted: &str, findings: &mut Findings<'_>) {
        if self.is_mistyped(name) {
            return;
        }
        let (span, label) = match self.written(name) {
            Some(entry) => (entry.key_span, format!("`{name}` has no value")),
            None => (self.span, format!("`{name}` is missing")),
        };
        let message = format!("{} has no `{name}`", self.shown());
        let help = format!("add `{name}`: {wanted}");
        findings.error(span, Problem::new(message, label).help(help));
    }

    /// A field's value that must be there.
    pub(super) fn require<T>(
        &self,
        name: &'n str,
        wanted: &str,
        findings: &mut Findings<'_>,
        reader: impl FnOnce(&Item<'n, 't>) -> Result<T, Problem>,
    ) -> Option<At<T>> {
        if !self.has(name) {
            self.report_missing(name, wanted, findings);
        }
        self.read(name, findings, reader)
    }
}

/// A name in a sentence; a whole file has none.
fn shown(name: &str) -> String {
    match name {
        "document" => "the document".to_owned(),
        "config" => "the config file".to_owned(),
        name => format!("`{name}`"),
    }
}

/// Reads one value and reports what is wrong with it.
pub(super) fn read<'n, 't, T>(
    item: &Item<'n, 't>,
    findings: &mut Findings<'_>,
    reader: impl FnOnce(&Item<'n, 't>) -> Result<T, Problem>,
) -> Option<At<T>> {
    let span = item.node.span;
    match reader(item) {
        Ok(value) => Some(At { value, span }),
        Err(problem) => {
            findings.error(span, problem);
            None
        }
    }
}
