//! JSON values as YAML that a person would write. Pure.
//!
//! Plain is only what is text to every version of YAML; anything else is quoted as in JSON, which every
//! version reads.

use std::net::IpAddr;

use serde_json::{Map, Value};

/// The keys that come first, in this order; the others follow by name.
const FIRST: [&str; 5] = ["apiVersion", "kind", "metadata", "name", "namespace"];

/// What YAML 1.1 or 1.2 takes for a boolean or for nothing.
const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];

/// The fields of a mapping, one in each line at least.
pub(super) fn mapping(map: &Map<String, Value>, indent: usize) -> String {
    let mut entries: Vec<(&String, &Value)> = map.iter().collect();
    let place = |key: &str| FIRST.iter().position(|first| *first == key);
    entries.sort_by_key(|(key, _)| (place(key).unwrap_or(FIRST.len()), key.as_str()));
    let line = |(key, value): (&String, &Value)| {
        format!("{:indent$}{}:{}", "", scalar(key), nested(value, indent))
    };
    entries.into_iter().map(line).collect()
}

/// What follows a key's colon, to the end of its last line.
fn nested(value: &Value, indent: usize) -> String {
    match value {
        Value::Object(map) if !map.is_empty() => format!("\n{}", mapping(map, indent + 2)),
        Value::Array(items) if !items.is_empty() => format!("\n{}", list(items, indent + 2)),
        value => format!(" {}\n", flow(value)),
    }
}

fn list(items: &[Value], indent: usize) -> String {
    let item = |item: &Value| match item {
        Value::Object(map) if !map.is_empty() => {
            // The first field is on the line of the dash.
            let fields = mapping(map, indent + 2);
            format!("{:indent$}- {}", "", fields.trim_start_matches(' '))
        }
        item => format!("{:indent$}- {}\n", "", flow(item)),
    };
    items.iter().map(item).collect()
}

/// On one line.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        // JSON is YAML.
        value => value.to_string(),
    }
}

fn scalar(text: &str) -> String {
    match is_plain(text) {
        true => text.to_owned(),
        false => quoted(text),
    }
}

/// As in JSON. What JSON may leave as it is and YAML may not is escaped, too.
fn quoted(text: &str) -> String {
    let json = Value::from(text).to_string();
    let escape = |character: char| match character {
        '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
            format!("\\u{:04x}", u32::from(character))
        }
        character => character.to_string(),
    };
    json.chars().map(escape).collect()
}

fn is_plain(text: &str) -> bool {
    let is_harmless = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
    let is_word = WORDS.contains(&text.to_ascii_lowercase().as_str());
    let begins_with = |test: fn(&char) -> bool| text.chars().next().as_ref().is_some_and(test);
    // A number, or what might be taken for one, unless it has too many dots for it.
    let is_address = || {
        let address = text.split('/').next().unwrap_or(text);
        address.parse::<IpAddr>().is_ok()
    };
    text.chars().all(is_harmless)
        && !is_word
        && (begins_with(char::is_ascii_alphabetic)
            || (begins_with(char::is_ascii_digit) && is_address()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn it_reads_as_a_person_would_have_written_it() {
        let value = json!({
            "spec": {
                "gateways": [{"address": "10.0.0.1", "weight": 2}, {"address": "2001:db8::1"}],
                "destinations": ["10.0.0.0/8", "on", "1.5", "a b"], "except": [], "table": null,
            },
            "metadata": {"name": "a", "labels": {"x/y": ""}}, "kind": "StaticRoute", "apiVersion": "v1",
        });
        let expected = "apiVersion: v1\nkind: StaticRoute\nmetadata:\n  name: a\n  labels:\n    x/y: \"\"\nspec:\n  \
                        destinations:\n    - 10.0.0.0/8\n    - \"on\"\n    - \"1.5\"\n    - \"a b\"\n  except: []\n  \
                        gateways:\n    - address: 10.0.0.1\n      weight: 2\n    - address: \"2001:db8::1\"\n  \
                        table: null\n";
        assert_eq!(mapping(value.as_object().unwrap(), 0), expected);
    }

    fn value() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            any::<String>(),
            "[0-9a-fA-Ftrue.:/_-]{0,8}",
            "(yes|No|~|1e3|0x1|0o7|\\.inf|1:30)"
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            let key = "[a-z0-9./ :-]{1,6}";
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(key, inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn another_reader_of_yaml_reads_the_same_value(value in value()) {
            let map: Map<String, Value> = [("spec".to_owned(), value)].into_iter().collect();
            let text = mapping(&map, 0);
            let read: Value = serde_yaml::from_str(&text).map_err(|error| {
                TestCaseError::fail(format!("{error}: {text}"))
            })?;
            prop_assert_eq!(read, Value::Object(map), "{}", text);
        }
    }
}
