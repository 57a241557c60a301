//! Objects as documents: what a person would have written, without what a cluster adds. Pure.

use serde_json::{Map, Value, json};

use super::collection::Collection;

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
