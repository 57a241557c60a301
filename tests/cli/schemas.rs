//! The documented schemas are true: of the examples, of the parser's fields, of real output.

use serde_json::Value;

use super::support::ip;
use super::{Folder, ROUTES, on_a_node, project, srsync, srsync_line};

pub(super) fn schema(of: &str) -> Value {
    srsync(&["schema", of]).exits(0).json()
}

/// Panics with every violation.
pub(super) fn assert_valid(schema: &Value, instance: &Value, what: &str) {
    let validator = jsonschema::validator_for(schema).expect("a schema");
    let errors: Vec<String> = validator
        .iter_errors(instance)
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{what}:\n{}", errors.join("\n"));
}

#[test]
fn every_example_is_valid_by_the_schema_that_editors_use() {
    let schema = schema("document");
    let mut seen = 0;
    for example in std::fs::read_dir(project().join("examples")).unwrap() {
        let Ok(files) = std::fs::read_dir(example.unwrap().path()) else {
            continue;
        };
        for path in files.map(|file| file.unwrap().path()) {
            if path.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let documents: Vec<Value> = serde_yaml::from_multiple(&text).unwrap();
            for document in documents {
                assert_valid(&schema, &document, &path.display().to_string());
                seen += 1;
            }
            let native = text.contains("apiVersion: srsync.dev");
            let header = "# yaml-language-server: $schema=../../schemas/";
            assert!(!native || text.starts_with(header), "{}", path.display());
        }
    }
    assert!(seen >= 14, "{seen} documents");
}

#[test]
fn the_schema_rejects_what_the_parser_rejects() {
    let schema = schema("document");
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (from, to) in [
        ("gateway:", "gatway:"),
        ("kind: StaticRoute", "kind: Deployment"),
        ("10.116.0.5", "gateway.example.com"),
        ("[192.0.2.0/24, ", "[not-an-address, "),
        ("srsync.dev/v1alpha1", "srsync.dev/v2"),
        ("kind: StaticRoute", "kind: GatewayOverride"),
        ("kind: StaticRoute", "kind: Forwarding"),
        ("kind: StaticRoute", "kind: Masquerade"),
        ("kind: StaticRoute", "kind: RoutingRule"),
        ("kind: StaticRoute", "kind: ConnectivityCheck"),
    ] {
        let text = ROUTES.replace(from, to);
        assert_ne!(text, ROUTES);
        let document: Value = serde_yaml::from_str(&text).unwrap();
        assert!(!validator.is_valid(&document), "{text}");
        let folder = Folder::new(&[("routes.yaml", &text)]);
        srsync(&["validate", folder.path()]).exits(1);
    }
}

#[test]
fn the_schemas_know_exactly_the_fields_of_the_parser() {
    use srsync::spec;
    let document = schema("document");
    let defs = &document["$defs"];
    for (name, fields) in [
        ("nativeSpec", spec::native::SPEC_FIELDS),
        ("digitalOceanSpec", spec::digitalocean::SPEC_FIELDS),
        ("ibmSpec", spec::ibm::SPEC_FIELDS),
        ("gatewayOverrideSpec", spec::gateway_override::SPEC_FIELDS),
        ("forwardingSpec", spec::forwarding::SPEC_FIELDS),
        ("interfaceForwarding", spec::forwarding::INTERFACE_FIELDS),
        ("masqueradeSpec", spec::masquerade::SPEC_FIELDS),
        ("routingRuleSpec", spec::routing_rule::SPEC_FIELDS),
        ("connectivityCheckSpec", spec::connectivity::SPEC_FIELDS),
        ("checkTarget", spec::connectivity::TARGET_FIELDS),
        ("tcp", spec::health::TCP_FIELDS),
        ("http", spec::health::HTTP_FIELDS),
        ("nodeSelector", spec::selector::NODE_SELECTOR_FIELDS),
        ("gateway", spec::target::GATEWAY_FIELDS),
        ("healthCheck", spec::health::HEALTH_CHECK_FIELDS),
        ("requirement", spec::selector::REQUIREMENT_FIELDS),
    ] {
        assert_eq!(
            keys(&defs[name]["properties"], name),
            sorted(fields),
            "{name}"
        );
    }
    let config = schema("config");
    assert_eq!(
        keys(&config["properties"], "config"),
        sorted(spec::config::FIELDS)
    );
}

fn keys(properties: &Value, what: &str) -> Vec<String> {
    let properties = properties
        .as_object()
        .unwrap_or_else(|| panic!("no properties of {what}"));
    let mut keys: Vec<String> = properties.keys().cloned().collect();
    keys.sort();
    keys
}

fn sorted(fields: &[&str]) -> Vec<String> {
    let mut fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
    fields.sort();
    fields
}

#[test]
fn the_settings_in_force_make_a_config_file_of_their_own() {
    let schema = schema("config");
    // The machine's own config file must not have a say.
    let empty = Folder::new(&[("config.yaml", "{}")]);
    let line = "config show -o json --max-removals 5 --listen 127.0.0.1:9783 --config";
    let ran = srsync_line(&format!("{line} {}", empty.file("config.yaml"))).exits(0);
    let shown = ran.json();
    assert_eq!(shown["apiVersion"], "srsync.dev/v1alpha1");
    assert_eq!(shown["kind"], "Config");
    let mut file = serde_json::json!({});
    for entry in shown["settings"].as_array().unwrap() {
        let (key, value) = (entry["key"].as_str().unwrap(), entry["value"].clone());
        let (section, name) = key.split_once('.').unwrap_or((key, ""));
        match name {
            "" => file[key] = value,
            // One of the sources, which are a list.
            "kube" => {
                let sources = file[section].as_array_mut().unwrap();
                sources.push(serde_json::json!({"kube": value}));
            }
            name => file[section][name] = value,
        }
    }
    // Every key that the schema names is shown, and with a value that the schema allows.
    assert_valid(&schema, &file, "config show");
    for (section, property) in schema["properties"].as_object().unwrap() {
        let keys = property["properties"].as_object();
        for key in keys.into_iter().flat_map(|keys| keys.keys()) {
            assert!(file[section].get(key).is_some(), "{section}.{key}");
        }
        assert!(file.get(section).is_some(), "{section}");
        // Defaults of settings that depend on nothing else are as documented.
        if let Some(default) = property.get("default") {
            assert_eq!(&file[section], default, "{section}");
        }
    }
    let text = serde_yaml::to_string(&file).unwrap();
    let folder = Folder::new(&[("config.yaml", &text)]);
    srsync(&["config", "check", &folder.file("config.yaml")]).exits(0);
}

#[test]
fn every_report_is_valid_by_the_schema_of_reports() {
    on_a_node(|| {
        let schema = schema("report");
        let check = |line: &str, code| {
            let ran = srsync_line(&format!("{line} -o json")).exits(code);
            assert_valid(&schema, &ran.json(), line);
            ran.json()
        };
        let folder = Folder::new(&[("routes.yaml", ROUTES), ("all-kinds.yaml", ALL_KINDS)]);
        let path = folder.path();
        ip("nexthop add id 7 via 10.116.0.9 dev wan");
        ip("route add 198.18.0.0/16 nhid 7 proto bird");
        ip("route add 198.18.7.0/24 nhid 7 proto 83");
        ip("route add 198.19.1.0/24 via 10.116.0.9 proto bgp");
        check(&format!("validate {path}"), 0);
        check(&format!("check {path}"), 0);
        check(&format!("plan {path}"), 0);
        let applied = check(&format!("apply {path}"), 4);
        assert_eq!(applied["gate"], Value::Null);
        assert_eq!(applied["summary"]["states"]["Foreign"], 1);
        assert_eq!(applied["summary"]["states"]["Conflict"], 1);
        assert_eq!(applied["summary"]["states"]["Refused"], 1);
        assert_eq!(applied["summary"]["states"]["Pending"], 1);
        assert_eq!(applied["summary"]["states"]["NotSelected"], 1);
        assert_eq!(applied["inSync"], false);
        check(&format!("status {path}"), 0);
        check("status", 0);
        folder.write(
            "routes.yaml",
            &ROUTES
                .replace("10.116.0.5", "10.116.0.9")
                .replace("192.0.2.0/24, ", ""),
        );
        check(&format!("plan {path} --max-removals 0"), 0);
        check(&format!("plan {path}"), 0);
        check(&format!("try {path}"), 4);
        check("flush --yes", 0);
        folder.write("routes.yaml", &ROUTES.replace("gateway", "gatway"));
        check(&format!("validate {path}"), 1);
        check("config check --protocol 2", 1);
        check(&format!("apply {path}"), 1);
    });
}

#[test]
fn every_explanation_is_valid_by_the_schema_of_reports() {
    on_a_node(|| {
        let schema = schema("report");
        let folder = Folder::new(&[("routes.yaml", ROUTES)]);
        srsync(&["apply", folder.path()]).exits(0);
        for line in [
            "rule add from 10.42.0.0/16 lookup 100 priority 100",
            "rule add lookup main suppress_prefixlength 24 priority 101",
            "rule add to 192.0.2.8 dport 443 prohibit priority 102",
            "rule add to 198.18.0.9 blackhole priority 103",
        ] {
            ip(line);
        }
        let later = ROUTES.replace("partners", "later").replace("/24", "/25");
        folder.write("later.yaml", &later);
        let check = |arguments: &str| {
            let line = format!("-o json explain {arguments} {}", folder.path());
            let told = srsync_line(&line).exits(0).json();
            assert_valid(&schema, &told, &line);
            told
        };
        let told = check("192.0.2.8");
        assert_eq!(told["missing"].as_array().unwrap().len(), 1, "{told:#}");
        assert_eq!(told["rules"][2]["lookup"]["outcome"], "suppressed");
        assert_eq!(told["rules"][3]["matches"], "perhaps");
        assert_eq!(check("198.18.0.9")["result"]["outcome"], "dropped");
        assert_eq!(check("10.116.0.3")["result"]["outcome"], "delivered");
        assert_eq!(
            check("203.0.114.1 --mark 7")["result"]["outcome"],
            "noRoute"
        );
        let refused = check("192.0.2.8 --from 10.42.0.1 --iif wan");
        assert_eq!(refused["kernel"]["agrees"], false);
    });
}

/// Every state that one node can show.
const ALL_KINDS: &str = "\
apiVersion: srsync.dev/v1alpha1
kind: StaticRoute
metadata: {name: a-ecmp}
spec:
  destinations: [100.64.0.0/16]
  mode: ecmp
  gateways: [{address: 10.116.0.5, weight: 3}, {address: 10.116.0.6}]
  mtu: 1400
  advmss: 1360
  source: 10.116.0.3
---
apiVersion: srsync.dev/v1alpha1
kind: StaticRoute
metadata: {name: b-conflict}
spec: {destinations: [100.64.0.0/16], type: blackhole}
---
apiVersion: srsync.dev/v1alpha1
kind: StaticRoute
metadata: {name: c-foreign}
spec: {destinations: [198.18.0.0/16], gateway: 10.116.0.5}
---
apiVersion: srsync.dev/v1alpha1
kind: StaticRoute
metadata: {name: d-refused}
spec: {destinations: [0.0.0.0/0], gateway: 10.116.0.5}
---
apiVersion: srsync.dev/v1alpha1
kind: StaticRoute
metadata: {name: e-pending}
spec: {destinations: [100.65.0.0/16], interface: wg0}
---
apiVersion: srsync.dev/v1alpha1
kind: StaticRoute
metadata: {name: f-elsewhere}
spec: {destinations: [100.66.0.0/16], gateway: 10.116.0.5, nodeSelector: {matchLabels: {a: b}}}
---
apiVersion: srsync.dev/v1alpha1
kind: StaticRoute
metadata: {name: g-shadowed}
spec: {destinations: [198.19.1.0/24], gateway: 10.116.0.5, metric: 50}
";
