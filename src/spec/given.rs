//! A flag's or a variable's text as the value that the config file would have for it.
//!
//! So both are read, and found wrong, by the same rules and in the same words. Must not check
//! values: that is for the readers of the config file.

use std::rc::Rc;

use super::diagnostic::{Problem, Span};
use super::findings::Findings;
use super::words::quoted;
use super::yaml::{Entry, Node, Text, Value, resolved};

/// The mapping that holds the text under `key`, such as `node.name`.
pub(super) fn tree<'t>(key: &'t str, text: &'t str, findings: &mut Findings<'_>) -> Node<'t> {
    let value = match key {
        "sources" => list(text, ':'),
        "protectedSubnets" => list(text, ','),
        "node.labels" => labels(text, findings),
        // Numbers and booleans: what YAML makes of them without quotes.
        "protocol" | "table" | "allowDefaultRoute" | "allowCatchAllRules" | "allowEmpty"
        | "maxRemovals" | "resyncInterval" | "debounce" | "kube.nodeLabels" | "kube.mirror"
        | "kube.mirrorCreate" => match resolved(Text::Source(text)) {
            // To the config file null is the same as nothing, but here somebody gave a value.
            Value::Null => Value::Text(Text::Source(text)),
            value => value,
        },
        _ => Value::Text(Text::Source(text)),
    };
    let span = span(text, text);
    if key == "sources.kube" {
        let source = mapping(vec![entry("kube", span, kube_source(text, span))]);
        let value = Value::List(Rc::new(vec![Node {
            span,
            value: source,
        }]));
        let sources = entry("sources", span, Node { span, value });
        let value = mapping(vec![sources]);
        return Node { span, value };
    }
    let leaf = Node { span, value };
    key.rsplit('.').fold(leaf, |node, name| Node {
        span,
        value: mapping(vec![entry(name, span, node)]),
    })
}

/// A boolean, or the names of groups.
fn kube_source(text: &str, span: Span) -> Node<'_> {
    let value = match resolved(Text::Source(text)) {
        value @ Value::Bool(_) => value,
        _ => {
            let value = list(text, ',');
            mapping(vec![entry("groups", span, Node { span, value })])
        }
    };
    Node { span, value }
}

/// The pieces of a text that are not empty, as a list of texts.
fn list(text: &str, separator: char) -> Value<'_> {
    let items = pieces(text, separator).map(|piece| text_node(text, piece));
    Value::List(Rc::new(items.collect()))
}

/// `KEY=VALUE` pieces as a mapping; one without `=` is reported.
fn labels<'t>(text: &'t str, findings: &mut Findings<'_>) -> Value<'t> {
    let mut entries = Vec::new();
    for piece in pieces(text, ',') {
        match piece.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                let node = text_node(text, value);
                entries.push(entry(key, span(text, key), node));
            }
            _ => {
                let message = format!("{} is no label", quoted(piece));
                findings.error(
                    span(text, piece),
                    Problem::new(message, "must be `KEY=VALUE`"),
                );
            }
        }
    }
    mapping(entries)
}

fn pieces(text: &str, separator: char) -> impl Iterator<Item = &str> {
    text.split(separator).filter(|piece| !piece.is_empty())
}

fn mapping(entries: Vec<Entry<'_>>) -> Value<'_> {
    Value::Map(Rc::new(entries))
}

fn entry<'t>(key: &'t str, key_span: Span, node: Node<'t>) -> Entry<'t> {
    Entry {
        key: Text::Source(key),
        key_span,
        node,
    }
}

fn text_node<'t>(text: &str, piece: &'t str) -> Node<'t> {
    Node {
        span: span(text, piece),
        value: Value::Text(Text::Source(piece)),
    }
}

/// Where a piece of a text of one line is.
fn span(text: &str, piece: &str) -> Span {
    let offset = (piece.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    let before = text.get(..offset).unwrap_or_default();
    let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Span {
        line: 1,
        column: narrow(before.chars().count() + 1),
        length: narrow(piece.chars().count()),
        offset: narrow(offset),
    }
}
