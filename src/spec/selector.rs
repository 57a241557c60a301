//! `nodeSelector` and label requirements, as Kubernetes writes them.

use super::diagnostic::Problem;
use super::fields::{Fields, Item, read as read_item};
use super::findings::Findings;
use super::values::{keyword, text};
use super::words::quoted;
use super::yaml::Value;
use crate::model::NodeSelector;
use crate::model::selector::{Operator, Requirement};

/// The fields of `nodeSelector`.
pub const NODE_SELECTOR_FIELDS: &[&str] = &["matchLabels", "matchExpressions"];
/// The fields of an entry of `matchExpressions`, and of IBM's `selectors`.
pub const REQUIREMENT_FIELDS: &[&str] = &["key", "operator", "values"];

/// An operator before its values are known.
#[derive(Clone, Copy)]
enum Verb {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

const VERBS: [(&str, Verb); 4] = [
    ("In", Verb::In),
    ("NotIn", Verb::NotIn),
    ("Exists", Verb::Exists),
    ("DoesNotExist", Verb::DoesNotExist),
];

/// The `nodeSelector` of a spec; one that selects every node where there is none.
pub(super) fn read(spec: &Fields<'_, '_>, findings: &mut Findings<'_>) -> NodeSelector {
    let Some(fields) = spec.inside("nodeSelector", NODE_SELECTOR_FIELDS, findings) else {
        return NodeSelector::default();
    };
    let mut requirements = match_labels(&fields, findings);
    requirements.extend(expressions(&fields, "matchExpressions", findings));
    NodeSelector { requirements }
}

fn match_labels(fields: &Fields<'_, '_>, findings: &mut Findings<'_>) -> Vec<Requirement> {
    let Some(entry) = fields.entry("matchLabels") else {
        return Vec::new();
    };
    let item = Item::named("matchLabels", &entry.node);
    let Value::Map(labels) = &entry.node.value else {
        findings.error(entry.node.span, item.must_be("a mapping of labels"));
        return Vec::new();
    };
    let mut requirements = Vec::new();
    for label in labels.iter() {
        if let Err(problem) = valid_key(&label.key) {
            findings.error(label.key_span, problem);
        }
        let item = Item::named(&label.key, &label.node);
        if let Some(value) = read_item(&item, findings, label_value) {
            requirements.push(Requirement {
                key: label.key.to_string(),
                operator: Operator::In(vec![value.value]),
            });
        }
    }
    requirements
}

/// A list of `{key, operator, values}`.
pub(super) fn expressions(
    fields: &Fields<'_, '_>,
    name: &'static str,
    findings: &mut Findings<'_>,
) -> Vec<Requirement> {
    let items: Vec<_> = fields.items(name, findings).collect();
    items
        .into_iter()
        .filter_map(|item| {
            let fields = Fields::of(&item, item.node.span, REQUIREMENT_FIELDS, findings)?;
            requirement(&fields, findings)
        })
        .collect()
}

fn requirement(fields: &Fields<'_, '_>, findings: &mut Findings<'_>) -> Option<Requirement> {
    let key = fields.require("key", "the label that must match", findings, label_key);
    let verb = fields.require(
        "operator",
        "In, NotIn, Exists or DoesNotExist",
        findings,
        |item| keyword(item, &VERBS),
    );
    let values = fields.read_list("values", findings, label_value);
    let values: Vec<String> = values.into_iter().map(|value| value.value).collect();
    let verb = verb?.value;
    let operator = match verb {
        Verb::In => Operator::In(values),
        Verb::NotIn => Operator::NotIn(values),
        Verb::Exists => Operator::Exists,
        Verb::DoesNotExist => Operator::DoesNotExist,
    };
    check_values(fields, verb, findings);
    Some(Requirement {
        key: key?.value,
        operator,
    })
}

/// `In` and `NotIn` need values, the others must have none.
fn check_values(fields: &Fields<'_, '_>, verb: Verb, findings: &mut Findings<'_>) {
    let entry = fields.entry("values");
    let empty =
        entry.is_none_or(|entry| matches!(&entry.node.value, Value::List(list) if list.is_empty()));
    match (verb, entry) {
        (Verb::In | Verb::NotIn, None) => {
            fields.report_missing("values", "the values to compare with", findings);
        }
        (Verb::In | Verb::NotIn, Some(entry)) if empty => {
            let message = "`values` is empty, so the requirement says nothing";
            let problem = Problem::new(message, "must hold at least one value");
            findings.error(entry.node.span, problem);
        }
        (Verb::Exists | Verb::DoesNotExist, Some(entry)) if !empty => {
            let message = "`values` has no meaning with `Exists` and `DoesNotExist`";
            let problem =
                Problem::new(message, "never looked at").help("remove `values`, or use `In`");
            findings.error(entry.key_span, problem);
        }
        _ => {}
    }
}

fn label_key(item: &Item<'_, '_>) -> Result<String, Problem> {
    let key = text(item)?;
    valid_key(key).map(|()| key.to_owned())
}

/// `name` or `prefix/name`.
fn valid_key(key: &str) -> Result<(), Problem> {
    let (prefix, name) = key.rsplit_once('/').unwrap_or(("x", key));
    let valid_prefix =
        (1..=253).contains(&prefix.len()) && !prefix.contains('/') && is_label(prefix);
    if valid_prefix && (1..=63).contains(&name.len()) && is_label(name) {
        return Ok(());
    }
    let message = format!("{} cannot be the key of a label", quoted(key));
    Err(Problem::new(
        message,
        "must be such as `role` or `example.com/role`",
    ))
}

fn label_value(item: &Item<'_, '_>) -> Result<String, Problem> {
    let value = text(item)?;
    if value.is_empty() || (value.len() <= 63 && is_label(value)) {
        return Ok(value.to_owned());
    }
    let message = format!("{} cannot be the value of a label", quoted(value));
    let label =
        "at most 63 letters, digits, `-`, `_` and `.`, beginning and ending with a letter or digit";
    Err(Problem::new(message, label))
}

/// What Kubernetes takes in the parts of labels.
fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let outer = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    text.bytes().all(inner) && outer(text.bytes().next()) && outer(text.bytes().last())
}
