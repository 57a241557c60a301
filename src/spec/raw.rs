//! The spec of a document as it is written, for whoever hands it on and need not understand it.

use serde_json::Value;

use crate::model::DocumentId;

/// The `spec` of a document, from the text of its file. Nothing if it is not there, or the text is no YAML.
pub fn spec_of(text: &str, id: &DocumentId) -> Option<Value> {
    let documents: Vec<Value> = serde_yaml::from_multiple(text).ok()?;
    let objects = documents.into_iter().flat_map(|mut object| {
        match object.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => items,
            _ => vec![object],
        }
    });
    let mut objects = objects.filter(|object| {
        object["apiVersion"] == id.dialect.api_version()
            && object["kind"] == "StaticRoute"
            && object["metadata"]["name"] == id.name.as_str()
            && object["metadata"]["namespace"].as_str() == id.namespace.as_deref()
    });
    let spec = objects.next()?.get_mut("spec")?.take();
    Some(spec).filter(Value::is_object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Dialect;

    #[test]
    fn the_spec_of_one_document_among_others_is_found() {
        let text = "\
# of a cluster
apiVersion: v1
kind: List
items:
- {apiVersion: networking.digitalocean.com/v1, kind: StaticRoute, metadata: {name: a}, spec: {gateway: 10.0.0.1}}
---
apiVersion: srsync.dev/v1alpha1
kind: StaticRoute
metadata: {name: a}
spec:
  destinations: ['2001:db8::/64']
  table: 100
";
        let id = |name: &str, dialect| DocumentId {
            name: name.to_owned(),
            namespace: None,
            dialect,
        };
        let spec = |name, dialect| spec_of(text, &id(name, dialect)).map(|spec| spec.to_string());
        let native = r#"{"destinations":["2001:db8::/64"],"table":100}"#;
        assert_eq!(spec("a", Dialect::Native).as_deref(), Some(native));
        let other = r#"{"gateway":"10.0.0.1"}"#;
        assert_eq!(spec("a", Dialect::DigitalOcean).as_deref(), Some(other));
        assert_eq!(spec("b", Dialect::Native), None);
        for odd in ["{", "", "text", "[1, {items: 2}]", "items: {}"] {
            assert_eq!(spec_of(odd, &id("a", Dialect::Native)), None);
        }
    }
}
