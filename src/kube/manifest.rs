//! Objects as documents: what a person would have written, without what a cluster adds. Pure.

use serde_json::{Map, Value, json};

use super::collection::Collection;
use super::yaml;

/// What `kubectl apply` remembers of itself.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An object as a text for the parser of documents: only what decides about routes, so that nothing else
/// is a change.
pub(super) fn document(object: &Value, collection: Collection) -> String {
    let mut document = body(object, collection);
    let mut metadata = Map::new();
    for key in ["name", "namespace"] {
        if let Some(value) = object["metadata"].get(key) {
            metadata.insert(key.to_owned(), value.clone());
        }
    }
    document.insert("metadata".to_owned(), Value::Object(metadata));
    let text = serde_json::to_string_pretty(&document);
    // What came as JSON can be written as JSON.
    text.unwrap_or_default()
}

/// An object as what a person would keep in a file: with its labels and annotations, without anything that
/// a cluster adds.
pub fn file(object: &Value, collection: Collection) -> Map<String, Value> {
    let mut file = body(object, collection);
    let mut metadata = Map::new();
    for key in ["name", "namespace", "labels", "annotations"] {
        let mut value = object["metadata"][key].clone();
        if let Value::Object(entries) = &mut value {
            entries.remove(LAST_APPLIED);
        }
        let is_empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
        if !is_empty {
            metadata.insert(key.to_owned(), value);
        }
    }
    file.insert("metadata".to_owned(), Value::Object(metadata));
    file
}

/// The same as YAML.
pub fn file_text(file: &Map<String, Value>) -> String {
    yaml::mapping(file, 0)
}

/// All of an object but its metadata and its status.
fn body(object: &Value, collection: Collection) -> Map<String, Value> {
    let mut body = object.as_object().cloned().unwrap_or_default();
    body.remove("status");
    body.entry("apiVersion")
        .or_insert_with(|| json!(collection.api_version()));
    body.entry("kind")
        .or_insert_with(|| json!(collection.kind()));
    body
}
