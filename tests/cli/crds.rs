//! `srsync schema --crd`: the CustomResourceDefinitions say the same as the schema of documents.
//!
//! What is around `spec` is written by hand in `packaging/kubernetes/crds/crds.yaml`. `spec` is made here from
//! `schemas/static-route.schema.json`; `SRSYNC_BLESS=1 cargo nextest run --test cli crds` writes it.
//!
//! Texts of `status` that may be empty are `nullable`: server-side apply of Kubernetes 1.20 takes an empty
//! one for null when it is written, and refuses it otherwise.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Folder, project, srsync};

const FILE: &str = "packaging/kubernetes/crds/crds.yaml";
/// Helm takes nothing from outside of a chart.
const COPY: &str = "packaging/helm/srsync/crds/crds.yaml";
const HEADER: &str = "# The kinds of srsync.dev: `srsync schema --crd | kubectl apply -f -`\n";
/// The kinds, and where their `spec` are described: the schema's definition, and where it is in the CRD.
const KINDS: [(&str, &str, &str); 6] = [
    ("StaticRoute", "staticroutes", "nativeSpec"),
    ("GatewayOverride", "gatewayoverrides", "gatewayOverrideSpec"),
    ("Forwarding", "forwardings", "forwardingSpec"),
    ("Masquerade", "masquerades", "masqueradeSpec"),
    ("RoutingRule", "routingrules", "routingRuleSpec"),
    (
        "ConnectivityCheck",
        "connectivitychecks",
        "connectivityCheckSpec",
    ),
];
const SPEC: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";

/// Of editors and JSON Schema alone. A default in a CRD would be written into every object, also
/// where the field makes no sense; it is described instead.
const DROPPED: [&str; 7] = [
    "$ref",
    "$comment",
    "additionalProperties",
    "default",
    "examples",
    "patternErrorMessage",
    "propertyNames",
];
/// What may only be said as a condition on a schema that is complete without it.
const CONDITIONS: [&str; 6] = ["allOf", "anyOf", "not", "if", "then", "else"];

#[test]
fn the_crds_are_those_of_the_documents_schema() {
    let schema = std::fs::read_to_string(project().join("schemas/static-route.schema.json"));
    let schema: Value = serde_json::from_str(&schema.unwrap()).unwrap();
    let defs = &schema["$defs"];
    let path = project().join(FILE);
    let found = crds(&std::fs::read_to_string(&path).unwrap());
    let mut wanted = found.clone();
    for (crd, (_, _, name)) in wanted.iter_mut().zip(KINDS) {
        *crd.pointer_mut(SPEC).expect("a place for the spec") = structural(&defs[name], defs);
    }
    if std::env::var_os("SRSYNC_BLESS").is_some() {
        let texts: Vec<String> = wanted
            .iter()
            .map(|crd| serde_yaml::to_string(crd).unwrap())
            .collect();
        let text = format!("{HEADER}{}", texts.join("---\n"));
        std::fs::write(project().join(COPY), &text).unwrap();
        return std::fs::write(path, text).unwrap();
    }
    for (found, wanted) in found.iter().zip(&wanted) {
        let differs =
            format!("{FILE} and the schema of documents differ; SRSYNC_BLESS=1 writes it");
        assert_eq!(found, wanted, "{differs}");
    }
}

#[test]
fn schema_crd_prints_them() {
    let text = std::fs::read_to_string(project().join(FILE)).unwrap();
    assert_eq!(srsync(&["schema", "--crd"]).exits(0).stdout, text);
    let copy = std::fs::read_to_string(project().join(COPY)).unwrap();
    assert!(
        copy == text,
        "{COPY} is not {FILE}; SRSYNC_BLESS=1 writes both"
    );
    let crds = crds(&text);
    assert_eq!(crds.len(), KINDS.len());
    for (crd, (kind, plural, _)) in crds.iter().zip(KINDS) {
        assert_eq!(crd["metadata"]["name"], format!("{plural}.srsync.dev"));
        let names = &crd["spec"]["names"];
        assert_eq!(names["kind"], kind);
        assert_eq!(names["plural"], plural);
        assert_eq!(names["singular"], kind.to_lowercase());
        assert_eq!(names["listKind"], format!("{kind}List"));
        assert_eq!(crd["spec"]["scope"], "Cluster");
        // What is decided about a gateway is not the state of anything.
        let version = &crd["spec"]["versions"][0];
        let has_status = version["subresources"]["status"].is_object();
        assert_eq!(has_status, kind != "GatewayOverride", "{kind}");
    }
    assert!(
        srsync(&["schema", "--crd", "report"])
            .exits(2)
            .stderr
            .contains("cannot be used with")
    );
}

/// - It matches with RE2, which has no look-ahead, and would refuse a kind.
/// - It cannot read `int-or-string` inside of a list, and knows nothing of the whole kind then (its log:
///   "error building openapi models"): lists lose their keys in server-side apply, and nodes
///   overwrite each other's status.
#[test]
fn kubernetes_1_20_understands_them() {
    let text = std::fs::read_to_string(project().join(FILE)).unwrap();
    assert!(text.contains("pattern:"));
    for unknown in [
        "(?",
        "x-kubernetes-int-or-string",
        "x-kubernetes-validations",
    ] {
        assert!(!text.contains(unknown), "`{unknown}` in {FILE}");
    }
}

#[test]
fn every_native_document_that_is_valid_is_valid_as_an_object() {
    let validators = validators();
    let mut seen = 0;
    for folder in ["examples", "tests/cases/documents"] {
        for path in files(&project().join(folder)) {
            let text = std::fs::read_to_string(&path).unwrap();
            for document in native(&text) {
                let validator = &validators[document["kind"].as_str().unwrap()];
                let errors: Vec<String> = validator
                    .iter_errors(&document["spec"])
                    .map(|error| format!("{error} at {}", error.instance_path()))
                    .collect();
                assert!(errors.is_empty(), "{}: {errors:?}", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen >= 70, "{seen} documents");
}

#[test]
fn an_object_that_no_document_may_be_is_refused() {
    let wrong = [
        ("StaticRoute", ROUTES),
        ("GatewayOverride", OVERRIDES),
        ("Forwarding", FORWARDING),
        ("Masquerade", MASQUERADE),
        ("RoutingRule", RULES),
        ("ConnectivityCheck", CHECKS),
    ];
    let validators = validators();
    for (kind, specs) in wrong {
        for spec in specs {
            let value: Value = serde_yaml::from_str(spec).unwrap();
            assert!(!validators[kind].is_valid(&value), "{kind}: {spec}");
            // The parser says why.
            let text = format!(
                "apiVersion: srsync.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: a}}\nspec: {spec}\n"
            );
            let folder = Folder::new(&[("a.yaml", &text)]);
            srsync(&["validate", folder.path()]).exits(1);
        }
    }
}

const ROUTES: &[&str] = &[
    "{}",
    "{destinations: [], gateway: 10.0.0.1}",
    "{destinations: [192.0.2.0/42], gateway: 10.0.0.1}",
    "{destinations: [192.0.2.0/24]}",
    "{destinations: [192.0.2.0/24], type: unicast}",
    "{destinations: [192.0.2.0/24], gateway: 10.0.0.1, gateways: [{address: 10.0.0.2}]}",
    "{destinations: [192.0.2.0/24], gateway: 10.0.0.1, type: blackhole}",
    "{destinations: [192.0.2.0/24], gatewayLookup: 10.0.0.1, interface: eth1}",
    "{destinations: [192.0.2.0/24], interface: wg0, mode: ecmp}",
    "{destinations: [192.0.2.0/24], interface: ..}",
    "{destinations: [192.0.2.0/24], gateway: 10.0.0.1, healthCheck: {interval: 1s}}",
    "{destinations: [192.0.2.0/24], gateway: 10.0.0.1, healthCheck: {icmp: {}, arp: {}}}",
    "{destinations: [192.0.2.0/24], gateway: 10.0.0.1, metric: -1}",
    "{destinations: [192.0.2.0/24], gateway: 10.0.0.1, table: \"100\"}",
    "{destinationsFrom: [{file: ../ranges.txt}], gateway: 10.0.0.1}",
    "{destinationsFrom: [{file: /etc/ranges.txt}], gateway: 10.0.0.1}",
    "{destinations: [192.0.2.0/24], gateway: 10.0.0.1, nodeSelector: {matchExpressions: [{key: a, operator: In}]}}",
];

const OVERRIDES: &[&str] = &["{gateway: 10.0.0.1}", "{gateway: 10.0.0.1, state: Down}"];

const FORWARDING: &[&str] = &[
    "{}",
    "{interfaces: []}",
    "{interfaces: [{name: eth0}]}",
    "{interfaces: [{ipv4: true}]}",
    "{interfaces: [{name: all, ipv4: true}]}",
    "{interfaces: [{name: eth0, rpFilter: false}]}",
    "{ipv4: 1}",
];

const MASQUERADE: &[&str] = &[
    "{}",
    "{sources: []}",
    "{sources: [pods]}",
    "{sources: [10.42.0.0/16], destinations: []}",
    "{sources: [10.42.0.0/16], outInterfaces: []}",
    "{sources: [10.42.0.0/16], snatTo: 192.0.2.0/24}",
];

const RULES: &[&str] = &[
    "{}",
    "{priority: 0}",
    "{priority: 1, family: inet}",
    "{priority: 1, fwmark: 0x1/}",
    "{priority: 1, ipProto: gre}",
    "{priority: 1, ipProto: 256}",
    "{priority: 1, dport: 443}",
    "{priority: 1, ipProto: tcp, dport: https}",
    "{priority: 1, action: drop}",
    "{priority: 1, action: blackhole, table: 100}",
    "{priority: 1, action: prohibit, suppressPrefixLength: 0}",
    "{priority: 1, suppressPrefixLength: 129}",
];

const CHECKS: &[&str] = &[
    "{}",
    "{targets: []}",
    "{targets: [db.example.com]}",
    "{targets: [192.0.2.1], expect: maybe}",
    "{targets: [192.0.2.1], interval: 30}",
    "{targets: [192.0.2.1], attempts: 11}",
];

/// Of `spec` of each kind.
fn validators() -> BTreeMap<&'static str, jsonschema::Validator> {
    let text = std::fs::read_to_string(project().join(FILE)).unwrap();
    let crds = crds(&text);
    assert_eq!(crds.len(), KINDS.len());
    let crds = crds.into_iter().zip(KINDS);
    let validators = crds.map(|(crd, (kind, _, _))| {
        let mut spec = crd.pointer(SPEC).unwrap().clone();
        say_null(&mut spec);
        (kind, jsonschema::validator_for(&spec).unwrap())
    });
    validators.collect()
}

/// `nullable` in the words of JSON Schema.
fn say_null(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if object.remove("nullable") == Some(json!(true)) {
                object["type"] = json!([object["type"], "null"]);
            }
            object.values_mut().for_each(say_null);
        }
        Value::Array(items) => items.iter_mut().for_each(say_null),
        _ => {}
    }
}

fn crds(text: &str) -> Vec<Value> {
    serde_yaml::from_multiple(text).unwrap()
}

/// The native documents in a text, also inside of lists.
fn native(text: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_yaml::from_multiple(text).unwrap();
    let mut native = Vec::new();
    for document in documents {
        match document.get("items") {
            Some(Value::Array(items)) => native.extend(items.iter().cloned()),
            _ => native.push(document),
        }
    }
    native.retain(|document| document["apiVersion"] == "srsync.dev/v1alpha1");
    native
}

/// All YAML files below, except what is expected.
fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
            && !path.ends_with("expected.yaml")
        {
            found.push(path);
        }
    }
    found
}

/// A schema as Kubernetes wants it: complete without references, one type for each value, and
/// conditions beside.
fn structural(schema: &Value, defs: &Value) -> Value {
    let schema = schema.as_object().expect("a schema");
    let mut out = match schema.get("$ref") {
        Some(to) => {
            let name = to.as_str().unwrap().trim_start_matches("#/$defs/");
            structural(&defs[name], defs).as_object().unwrap().clone()
        }
        None => Map::new(),
    };
    for (key, value) in schema {
        match key.as_str() {
            "properties" => {
                let all = value.as_object().unwrap().iter();
                let all: Map<_, _> = all
                    .map(|(name, of)| (name.clone(), structural(of, defs)))
                    .collect();
                out.insert(key.clone(), Value::Object(all));
            }
            "items" => drop(out.insert(key.clone(), structural(value, defs))),
            "additionalProperties" if value.is_object() => {
                out.insert(key.clone(), structural(value, defs));
            }
            "type" => add_type(value, &mut out),
            key if DROPPED.contains(&key) || CONDITIONS.contains(&key) => {}
            _ => drop(out.insert(key.clone(), value.clone())),
        }
    }
    // Of one of several types nothing can be said that is only about another.
    let is_mixed = out.contains_key("x-kubernetes-preserve-unknown-fields");
    if is_mixed {
        for of_one_type in ["items", "properties", "required"] {
            out.remove(of_one_type);
        }
    }
    if let (Some(default), Some(Value::String(text))) =
        (schema.get("default"), out.get_mut("description"))
        && !text.contains("Default")
    {
        let default = default
            .as_str()
            .map_or_else(|| default.to_string(), str::to_owned);
        text.push_str(&format!(" Default: {default}."));
    }
    let conditions = condition(&Value::Object(
        schema
            .iter()
            .filter(|(key, _)| CONDITIONS.contains(&key.as_str()) && !is_mixed)
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect(),
    ));
    out.extend(conditions);
    Value::Object(out)
}

/// One type, or what Kubernetes has for several.
fn add_type(of: &Value, out: &mut Map<String, Value>) {
    let mut types: Vec<&str> = match of {
        Value::String(one) => vec![one],
        several => several
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one.as_str().unwrap())
            .collect(),
    };
    types.sort_unstable();
    match types.as_slice() {
        [one] => drop(out.insert("type".to_owned(), json!(one))),
        ["null", one] => {
            out.insert("type".to_owned(), json!(one));
            out.insert("nullable".to_owned(), json!(true));
        }
        // No word for it: whatever is written arrives, and srsync judges it. There is one for numbers and
        // texts, but see `kubernetes_1_20_understands_them`.
        ["integer" | "array" | "object", "string"] => {
            let preserve = "x-kubernetes-preserve-unknown-fields".to_owned();
            out.insert(preserve, json!(true));
        }
        other => panic!("Kubernetes has no word for {other:?}"),
    }
}

/// A condition as Kubernetes wants it: without `if`, `const` and `false`, which it does not know.
fn condition(schema: &Value) -> Map<String, Value> {
    let schema = schema.as_object().expect("a condition");
    let mut out = Map::new();
    let mut all: Vec<Map<String, Value>> = Vec::new();
    for (key, value) in schema {
        match key.as_str() {
            "properties" => {
                let mut properties = Map::new();
                for (name, of) in value.as_object().unwrap() {
                    match of {
                        Value::Bool(false) => all.push(not(json!({ "required": [name] }))),
                        of => drop(properties.insert(name.clone(), Value::Object(condition(of)))),
                    }
                }
                if !properties.is_empty() {
                    out.insert(key.clone(), Value::Object(properties));
                }
            }
            "const" => drop(out.insert("enum".to_owned(), json!([value]))),
            "not" => all.push(not(Value::Object(condition(value)))),
            "allOf" => all.extend(value.as_array().unwrap().iter().map(condition)),
            "anyOf" => {
                let any: Vec<_> = value.as_array().unwrap().iter().map(condition).collect();
                out.insert(key.clone(), json!(any));
            }
            "if" => {
                let holds = condition(value);
                if let Some(then) = schema.get("then") {
                    all.push(either(not(json!(holds)), condition(then)));
                }
                if let Some(otherwise) = schema.get("else") {
                    all.push(either(holds, condition(otherwise)));
                }
            }
            "$comment" | "then" | "else" => {}
            "enum" | "required" | "minItems" | "maxItems" => {
                drop(out.insert(key.clone(), value.clone()))
            }
            other => panic!("`{other}` in a condition"),
        }
    }
    match all.as_slice() {
        [] => {}
        // One `not` needs nothing around it.
        [one] if out.is_empty() => out = one.clone(),
        _ => drop(out.insert("allOf".to_owned(), json!(all))),
    }
    out
}

/// The contrary. Of a contrary, that is the thing itself.
fn not(of: Value) -> Map<String, Value> {
    if let Some(Value::Object(itself)) = of.get("not")
        && of.as_object().is_some_and(|of| of.len() == 1)
    {
        return itself.clone();
    }
    Map::from_iter([("not".to_owned(), of)])
}

fn either(one: Map<String, Value>, other: Map<String, Value>) -> Map<String, Value> {
    Map::from_iter([("anyOf".to_owned(), json!([one, other]))])
}
