//! Text → trees of nodes, each of which knows its line and column.
//!
//! Built on the events of `granit-parser`, the parser inside `serde-saphyr`, and not on serde:
//! serde stops at the first mistake, loses the source form of numbers (`010`, `1e3`) and whether
//! text was quoted, and cannot name both places of a duplicate key. The events also let a syntax
//! error in one document leave the documents behind it readable.
//!
//! Anchors are shared, not copied, so that an alias costs nothing to build; what it stands for
//! is still counted, which stops a small file from unfolding into a giant one.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, StrInput};

use super::diagnostic::{Problem, Span};
use super::findings::Findings;
use super::words::quoted;

/// Values in one document, counting what each alias stands for. A million destinations fit.
pub const MAX_NODES: usize = 2_000_000;

/// Levels of nesting. Real documents have about ten; reading and dropping a tree recurses.
pub const MAX_DEPTH: usize = 64;

/// A value and where it is written.
#[derive(Debug, Clone)]
pub(crate) struct Node<'t> {
    pub(crate) span: Span,
    pub(crate) value: Value<'t>,
}

/// What a value is by the core schema of YAML 1.2 (`yes` and `0o17` traps of YAML 1.1 are text).
#[derive(Debug, Clone)]
pub(crate) enum Value<'t> {
    Null,
    Bool(bool),
    /// As written: whether it is a good number depends on the field.
    Number(Text<'t>),
    Text(Text<'t>),
    List(Rc<Vec<Node<'t>>>),
    Map(Rc<Vec<Entry<'t>>>),
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry<'t> {
    pub(crate) key: Text<'t>,
    pub(crate) key_span: Span,
    pub(crate) node: Node<'t>,
}

/// A scalar: borrowed from the source unless escapes or folding changed it.
#[derive(Debug, Clone)]
pub(crate) enum Text<'t> {
    Source(&'t str),
    Made(Rc<str>),
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text<'_> {}

impl std::hash::Hash for Text<'_> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Source(text) => text,
            Self::Made(text) => text,
        }
    }
}

impl<'t> Node<'t> {
    /// The value of a key, if this is a mapping that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Entry<'t>> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| &*entry.key == key),
            _ => None,
        }
    }

    /// What it is, for "must be …, not …".
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

/// The documents of a text, one tree at a time.
pub(crate) struct Documents<'t> {
    parser: Parser<'t, StrInput<'t>>,
    /// A limit was exceeded: nothing behind it is read.
    over: bool,
}

impl<'t> Documents<'t> {
    pub(crate) fn of(text: &'t str) -> Self {
        let options = granit_parser::options! {
            emit_comments: false,
            flow_nesting_limit: MAX_DEPTH,
            block_nesting_limit: MAX_DEPTH,
        };
        Self {
            parser: Parser::new_from_str_with_options(text, options),
            over: false,
        }
    }

    /// The next document that is not empty. One with syntax errors is reported and passed over.
    pub(crate) fn next(&mut self, findings: &mut Findings<'_>) -> Option<Node<'t>> {
        while !self.over {
            let mut tree = Tree::default();
            match self.read(&mut tree, findings) {
                Ok(true) => {}
                Ok(false) => return None,
                Err(stop) => {
                    findings.error(stop.span, stop.problem);
                    self.over =
                        stop.is_final || !matches!(self.parser.proceed_next_document(), Ok(true));
                    continue;
                }
            }
            match tree.root {
                Some(Node {
                    value: Value::Null, ..
                })
                | None => {}
                Some(node) => return Some(node),
            }
        }
        None
    }

    /// Reads the events of one document into `tree`; false at the end of the text.
    fn read(&mut self, tree: &mut Tree<'t>, findings: &mut Findings<'_>) -> Result<bool, Stop> {
        loop {
            let Some(event) = self.parser.next_event() else {
                return Ok(false);
            };
            let (event, span) = event.map_err(|error| syntax(&error))?;
            match event {
                Event::StreamEnd => return Ok(false),
                Event::DocumentEnd => return Ok(true),
                event => tree.take(event, &span, findings)?,
            }
        }
    }
}

/// Why reading a document stopped.
struct Stop {
    span: Span,
    problem: Problem,
    /// Whether the rest of the text is given up too.
    is_final: bool,
}

/// A document being built: an explicit stack, so that depth costs no recursion.
#[derive(Default)]
struct Tree<'t> {
    open: Vec<Frame<'t>>,
    root: Option<Node<'t>>,
    anchors: HashMap<usize, Built<'t>>,
    nodes: usize,
}

/// A collection that is not closed yet.
struct Frame<'t> {
    span: Span,
    anchor: usize,
    items: Items<'t>,
    nodes: usize,
    height: usize,
}

enum Items<'t> {
    List(Vec<Node<'t>>),
    /// Entries, and the key whose value comes next.
    Map(Vec<Entry<'t>>, Option<(Text<'t>, Span)>),
}

/// A finished value, how many it holds including itself, and how many levels.
#[derive(Clone)]
struct Built<'t> {
    node: Node<'t>,
    nodes: usize,
    height: usize,
}

impl<'t> Tree<'t> {
    fn take(
        &mut self,
        event: Event<'t>,
        at: &granit_parser::Span,
        findings: &mut Findings<'_>,
    ) -> Result<(), Stop> {
        let span = position(at);
        if let Some(tag) = event
            .tag()
            .filter(|tag| !tag.is_yaml_core_schema_tag("str"))
        {
            let at = at.tag_span().map_or(span, |tag| position(&tag));
            findings.error(at, unknown_tag(&tag.original()));
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let text = match text {
                    std::borrow::Cow::Borrowed(text) => Text::Source(text),
                    std::borrow::Cow::Owned(text) => Text::Made(text.into()),
                };
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let value = if plain {
                    resolved(text)
                } else {
                    Value::Text(text)
                };
                let leaf = Built {
                    node: Node { span, value },
                    nodes: 1,
                    height: 1,
                };
                self.count(1, span)?;
                self.add(leaf, anchor, findings)
            }
            Event::Alias(anchor) => {
                let meant = self.anchors.get(&anchor).cloned();
                let meant = meant.ok_or_else(|| endless(span))?;
                self.count(meant.nodes, span)?;
                self.add(meant, 0, findings)
            }
            Event::SequenceStart(_, anchor, _) => self.open(span, anchor, Items::List(Vec::new())),
            Event::MappingStart(_, anchor, _) => {
                self.open(span, anchor, Items::Map(Vec::new(), None))
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(findings),
            _ => Ok(()),
        }
    }

    fn open(&mut self, span: Span, anchor: usize, items: Items<'t>) -> Result<(), Stop> {
        self.open.push(Frame {
            span,
            anchor,
            items,
            nodes: 1,
            height: 1,
        });
        self.count(1, span)?;
        self.check_depth(span, 0)
    }

    fn count(&mut self, nodes: usize, span: Span) -> Result<(), Stop> {
        self.nodes += nodes;
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        let message = format!(
            "more than {} million values in one document",
            MAX_NODES / 1_000_000
        );
        let help = "split the document; each alias (`*name`) counts as much as what it stands for";
        let problem = Problem::new(message, "the limit is reached here").help(help);
        Err(fatal(span, problem))
    }

    fn check_depth(&self, span: Span, height: usize) -> Result<(), Stop> {
        if self.open.len() + height <= MAX_DEPTH {
            return Ok(());
        }
        let message = format!("values are nested more than {MAX_DEPTH} levels deep");
        Err(fatal(span, Problem::new(message, "one level too many")))
    }

    fn close(&mut self, findings: &mut Findings<'_>) -> Result<(), Stop> {
        let Some(Frame {
            span,
            anchor,
            items,
            nodes,
            height,
        }) = self.open.pop()
        else {
            return Ok(()); // unreachable: the parser balances its events
        };
        let node = match items {
            Items::List(list) => Node {
                span,
                value: Value::List(Rc::new(list)),
            },
            Items::Map(entries, _) => {
                // A block mapping begins with its first key.
                let span = entries
                    .first()
                    .map_or(span, |entry| entry.key_span.min(span));
                let entries = with_merges(entries, findings);
                report_duplicate_keys(&entries, findings);
                Node {
                    span,
                    value: Value::Map(Rc::new(entries)),
                }
            }
        };
        let built = Built {
            node,
            nodes,
            height,
        };
        self.add(built, anchor, findings)
    }

    /// Puts a finished value where it belongs.
    fn add(
        &mut self,
        value: Built<'t>,
        anchor: usize,
        findings: &mut Findings<'_>,
    ) -> Result<(), Stop> {
        let span = value.node.span;
        self.check_depth(span, value.height)?;
        if anchor != 0 {
            self.anchors.insert(anchor, value.clone());
        }
        let Built {
            node,
            nodes,
            height,
        } = value;
        let Some(frame) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        frame.nodes += nodes;
        frame.height = frame.height.max(height + 1);
        match &mut frame.items {
            Items::List(list) => list.push(node),
            Items::Map(entries, key) => match key.take() {
                Some((key, key_span)) => entries.push(Entry {
                    key,
                    key_span,
                    node,
                }),
                None => *key = Some(key_of(node, findings)),
            },
        }
        Ok(())
    }
}

/// A mapping's key: any scalar, as it is written.
fn key_of<'t>(node: Node<'t>, findings: &mut Findings<'_>) -> (Text<'t>, Span) {
    let text = match node.value {
        Value::Text(text) | Value::Number(text) => text,
        Value::Null => Text::Source("null"),
        Value::Bool(true) => Text::Source("true"),
        Value::Bool(false) => Text::Source("false"),
        Value::List(_) | Value::Map(_) => {
            let message = "a key must be text, not a collection";
            findings.error(node.span, Problem::new(message, "this is used as a key"));
            Text::Source("[…]")
        }
    };
    (text, node.span)
}

/// Carries out merge keys (`<<: *defaults`), as kubectl does: a key of the mapping itself wins.
fn with_merges<'t>(entries: Vec<Entry<'t>>, findings: &mut Findings<'_>) -> Vec<Entry<'t>> {
    if !entries.iter().any(|entry| &*entry.key == "<<") {
        return entries;
    }
    let (merges, mut own): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|entry| &*entry.key == "<<");
    let mut known: HashSet<Text<'t>> = own.iter().map(|entry| entry.key.clone()).collect();
    for merge in merges {
        let sources = match &merge.node.value {
            Value::List(list) => list.as_slice(),
            _ => std::slice::from_ref(&merge.node),
        };
        for source in sources {
            let Value::Map(merged) = &source.value else {
                let message = format!("`<<` must be a mapping, not {}", source.kind());
                let label = "must be an alias of a mapping";
                findings.error(source.span, Problem::new(message, label));
                continue;
            };
            let new = merged
                .iter()
                .filter(|entry| known.insert(entry.key.clone()));
            own.extend(new.cloned());
        }
    }
    own
}

fn report_duplicate_keys(entries: &[Entry<'_>], findings: &mut Findings<'_>) {
    let mut sorted: Vec<&Entry<'_>> = entries.iter().collect();
    // Stable: of two equal keys the first written stays first.
    sorted.sort_by(|a, b| a.key.as_bytes().cmp(b.key.as_bytes()));
    for pair in sorted.windows(2) {
        let (first, second) = (pair[0], pair[1]);
        if first.key == second.key {
            let message = format!("{} is given twice", quoted(&second.key));
            let problem = Problem::new(message, "given again here")
                .related(findings.spot(first.key_span), "first given here")
                .help("keep one of them: a key may stand only once in a mapping");
            findings.error(second.key_span, problem);
        }
    }
}

/// What a plain scalar is.
pub(super) fn resolved(text: Text<'_>) -> Value<'_> {
    match &*text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        number if is_number(number) => Value::Number(text),
        _ => Value::Text(text),
    }
}

/// Whether YAML 1.2 reads this as a number. An IPv4 address has too many dots to be one.
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(
        unsigned,
        ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN"
    ) {
        return true;
    }
    if let Some(hex) = text.strip_prefix("0x") {
        return !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit());
    }
    if let Some(octal) = text.strip_prefix("0o") {
        return !octal.is_empty() && octal.bytes().all(|b| (b'0'..=b'7').contains(&b));
    }
    let begins = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    begins && unsigned.bytes().any(|b| b.is_ascii_digit()) && unsigned.parse::<f64>().is_ok()
}

/// A position of the parser (columns from 0, ends exclusive) as a span within one line.
fn position(at: &granit_parser::Span) -> Span {
    let (start, end) = (at.start, at.end);
    let length = match start.line() == end.line() {
        true => end.index().saturating_sub(start.index()),
        false => 0,
    };
    span_at(&start, length)
}

fn span_at(mark: &granit_parser::Marker, length: usize) -> Span {
    let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Span {
        line: narrow(mark.line()),
        column: narrow(mark.col() + 1),
        length: narrow(length),
        offset: narrow(mark.byte_offset().unwrap_or_default()),
    }
}

fn fatal(span: Span, problem: Problem) -> Stop {
    Stop {
        span,
        problem,
        is_final: true,
    }
}

fn endless(span: Span) -> Stop {
    let message = "an alias refers to the value that it is part of";
    fatal(span, Problem::new(message, "this would never end"))
}

fn unknown_tag(tag: &str) -> Problem {
    let message = format!("the YAML tag {} is not supported", quoted(tag));
    Problem::new(message, "a tag").help("write the value without the tag")
}

/// A syntax error in the words of someone who writes YAML rather than parses it.
fn syntax(error: &ScanError) -> Stop {
    let (what, help) = explained(error.kind());
    let message = format!("not valid YAML: {what}");
    let mut problem = Problem::new(message, "reading stopped here");
    if let Some(help) = help {
        problem = problem.help(help);
    }
    Stop {
        span: span_at(error.marker(), 1),
        problem,
        is_final: false,
    }
}

fn explained(kind: &ErrorKind) -> (String, Option<&'static str>) {
    use ErrorKind as K;
    let (what, help) = match kind {
        K::TabNotAllowed
        | K::TabInBlockIndentation
        | K::TabInIndentation
        | K::TabAtBlockScalarStart => ("a tab is used for indentation", "indent with spaces"),
        K::MappingValueNotAllowed => (
            "`:` is not allowed here",
            "quote a value that contains `: ` or ends with `:`, such as \"2001:db8::\"; \
             or check the indentation",
        ),
        K::ExpectedBlockMappingKey | K::SimpleKeyExpected | K::InvalidSimpleKey => (
            "expected `key: value`",
            "check the indentation, and that a space follows the colon",
        ),
        K::ExpectedBlockSequenceEntry | K::BlockSequenceEntryNotAllowed => {
            ("expected `- item`", "check the indentation")
        }
        K::InvalidIndentation => (
            "the indentation does not fit",
            "line up with the lines above",
        ),
        K::UnclosedQuotedScalar | K::DocumentIndicatorInQuotedScalar => {
            ("a quote is not closed", "add the closing quote")
        }
        K::UnknownAnchor => (
            "an alias (`*name`) has no anchor (`&name`) before it",
            "define the anchor first",
        ),
        K::RecursionLimitExceeded => {
            let what = format!("values are nested more than {MAX_DEPTH} levels deep");
            return (what, None);
        }
        K::UnclosedFlowCollection { open } => return (format!("`{open}` is not closed"), None),
        K::MismatchedFlowCollectionEnd { open, close } => {
            return (format!("`{open}` is closed by `{close}`"), None);
        }
        other => {
            let text = other.to_string();
            let what = text
                .strip_prefix("while ")
                .and_then(|rest| rest.split_once(", "));
            return (
                what.map_or(text.as_str(), |(_, what)| what).to_owned(),
                None,
            );
        }
    };
    (what.to_owned(), Some(help))
}
