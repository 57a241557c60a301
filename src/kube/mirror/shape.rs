//! How the status of an object looks in each of the three groups, and what each node writes of it. Pure.
//!
//! - Native: a list with an entry for each node, which only that node writes (server-side apply, a field
//!   manager for each), and a summary, which whoever has just written computes from all entries.
//! - DigitalOcean's status is free-form: `nodes` has for each node the list that its users know
//!   (`destination`, `gateway`, `status`), and there is the same summary. It has no status subresource.
//! - IBM's `nodeStatus` is a list that can only be written as a whole.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::entry::{Entry, Say};
use super::plain::Plain;
use crate::model::{Dialect, EgressKind, Timestamp};

/// So many gateways are named in a summary.
const GATEWAYS: usize = 3;

/// The objects of one kind in one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Objects {
    /// `StaticRoute`, which each of the groups has.
    Routes(Dialect),
    /// Other kinds of our own group.
    Things(EgressKind),
    /// `ConnectivityCheck`.
    Checks,
}

impl Objects {
    /// Whose they are.
    pub(super) fn dialect(self) -> Dialect {
        match self {
            Self::Routes(dialect) => dialect,
            Self::Things(_) | Self::Checks => Dialect::Native,
        }
    }

    /// What the API calls one of them.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Routes(_) => "StaticRoute",
            Self::Things(kind) => kind.name(),
            Self::Checks => "ConnectivityCheck",
        }
    }
}

/// Where the objects of a kind are.
pub(super) struct Place {
    pub(super) group: &'static str,
    pub(super) resource: &'static str,
    pub(super) path: &'static str,
    /// What is behind the name of an object to write its status.
    pub(super) status: &'static str,
    /// The resource that is written, as RBAC calls it.
    pub(super) written: &'static str,
}

/// Where these objects are.
pub(super) fn place(objects: Objects) -> Place {
    let native = |resource, path, written| Place {
        group: "srsync.dev",
        resource,
        path,
        status: "/status",
        written,
    };
    match objects {
        Objects::Routes(Dialect::Native) => native(
            "staticroutes",
            "/apis/srsync.dev/v1alpha1/staticroutes",
            "staticroutes/status",
        ),
        Objects::Things(EgressKind::Forwarding) => native(
            "forwardings",
            "/apis/srsync.dev/v1alpha1/forwardings",
            "forwardings/status",
        ),
        Objects::Things(EgressKind::Masquerade) => native(
            "masquerades",
            "/apis/srsync.dev/v1alpha1/masquerades",
            "masquerades/status",
        ),
        Objects::Things(EgressKind::RoutingRule) => native(
            "routingrules",
            "/apis/srsync.dev/v1alpha1/routingrules",
            "routingrules/status",
        ),
        Objects::Checks => native(
            "connectivitychecks",
            "/apis/srsync.dev/v1alpha1/connectivitychecks",
            "connectivitychecks/status",
        ),
        Objects::Routes(Dialect::DigitalOcean) => Place {
            group: "networking.digitalocean.com",
            resource: "staticroutes",
            path: "/apis/networking.digitalocean.com/v1/staticroutes",
            status: "",
            written: "staticroutes",
        },
        Objects::Routes(Dialect::Ibm) => Place {
            group: "static-route.ibm.com",
            resource: "staticroutes",
            path: "/apis/static-route.ibm.com/v1/staticroutes",
            status: "/status",
            written: "staticroutes/status",
        },
    }
}

/// The entry of a node in an object, if it has one.
pub(super) fn entry_of<'a>(dialect: Dialect, object: &'a Value, node: &str) -> Option<&'a Value> {
    let status = &object["status"];
    match dialect {
        Dialect::Native => listed(status, "nodes", "node", node),
        Dialect::DigitalOcean => status["nodes"].get(node),
        Dialect::Ibm => listed(status, "nodeStatus", "hostname", node),
    }
}

fn listed<'a>(status: &'a Value, list: &str, key: &str, node: &str) -> Option<&'a Value> {
    let mut entries = status[list].as_array()?.iter();
    entries.find(|entry| entry[key] == node)
}

/// The names of all nodes that have an entry.
pub(super) fn nodes(dialect: Dialect, object: &Value) -> BTreeSet<String> {
    let status = &object["status"];
    let names = |list: &str, key: &str| -> BTreeSet<String> {
        let entries = status[list].as_array().into_iter().flatten();
        let names = entries.filter_map(|entry| entry[key].as_str());
        names.map(str::to_owned).collect()
    };
    match dialect {
        Dialect::Native => names("nodes", "node"),
        Dialect::DigitalOcean => {
            let entries = status["nodes"].as_object();
            entries.into_iter().flat_map(Map::keys).cloned().collect()
        }
        Dialect::Ibm => names("nodeStatus", "hostname"),
    }
}

/// The entry as the object should have it; `before` is the one it has. An entry that means the same has
/// the same age.
pub(super) fn wanted_entry(
    (dialect, object): (Dialect, &Value),
    (node, entry): (&str, &impl Say),
    now: Timestamp,
) -> Value {
    let mut wanted = entry.say(dialect, node, &object["spec"]);
    if dialect == Dialect::Native {
        if let Some(generation) = object["metadata"]["generation"].as_u64() {
            wanted["observedGeneration"] = json!(generation);
        }
        let before = entry_of(dialect, object, node);
        let age = before.filter(|before| means(before) == means(&wanted));
        wanted["since"] = match age {
            Some(before) => before["since"].clone(),
            None => json!(now.to_string()),
        };
    }
    wanted
}

impl Say for Entry {
    fn say(&self, dialect: Dialect, node: &str, spec: &Value) -> Value {
        match dialect {
            Dialect::Native => native(node, self),
            Dialect::DigitalOcean => digitalocean(self),
            Dialect::Ibm => ibm(node, self, spec),
        }
    }
}

impl Say for Plain {
    fn say(&self, _: Dialect, node: &str, _: &Value) -> Value {
        let problems = self.problems.iter().map(|problem| {
            json!({"what": problem.what, "state": problem.state, "reason": problem.reason})
        });
        let mut fields = json!({
            "node": node,
            "ready": self.is_ready(),
            "state": self.state,
            "problems": problems.collect::<Vec<_>>(),
        });
        let (wanted, good) = self.counted;
        fields[wanted] = json!(self.wanted);
        fields[good] = json!(self.good);
        if let Some(first) = self.problems.first() {
            fields["reason"] = json!(format!("{}: {}", first.what, first.reason));
        }
        fields
    }
}

/// An entry without what tells nothing of the routes.
fn means(entry: &Value) -> Value {
    let mut entry = entry.clone();
    if let Some(fields) = entry.as_object_mut() {
        fields.remove("since");
        fields.remove("observedGeneration");
    }
    entry
}

fn native(node: &str, entry: &Entry) -> Value {
    let problems = entry.problems.iter().map(|problem| {
        json!({
            "prefix": problem.prefix.to_string(),
            "state": problem.state.name(),
            "reason": problem.reason,
        })
    });
    let gateways: Vec<String> = entry.gateways.iter().map(ToString::to_string).collect();
    let mut fields = json!({
        "node": node,
        "ready": entry.is_ready(),
        "state": entry.state.name(),
        "routes": entry.routes,
        "installed": entry.installed,
        "problems": problems.collect::<Vec<_>>(),
    });
    for (field, text) in [
        ("gateway", few(&gateways)),
        ("reason", entry.reason().to_owned()),
    ] {
        if !text.is_empty() {
            fields[field] = json!(text);
        }
    }
    fields
}

/// What is not in place comes first, so that whoever reads only some of it reads that.
fn digitalocean(entry: &Entry) -> Value {
    let bad = entry.problems.iter().map(|problem| {
        let destination = problem.prefix.to_string();
        json!({"destination": destination, "status": "NotReady", "reason": problem.reason})
    });
    let good = entry.good.iter().map(|(prefix, gateway)| {
        let gateway = gateway.map_or(String::new(), |gateway| gateway.to_string());
        json!({"destination": prefix.to_string(), "gateway": gateway, "status": "Ready"})
    });
    bad.chain(good).take(entry.problems.len().max(10)).collect()
}

/// The spec as it is carried out here, and what is wrong with that.
fn ibm(node: &str, entry: &Entry, spec: &Value) -> Value {
    let mut state = spec.clone();
    if let (Some(gateway), Some(fields)) = (entry.gateways.first(), state.as_object_mut()) {
        fields.insert("gateway".to_owned(), json!(gateway.to_string()));
    }
    json!({"hostname": node, "state": state, "error": entry.reason()})
}

/// The list of entries with another one for a node, or without one, and the field that it is in.
pub(super) fn list_with(
    dialect: Dialect,
    object: &Value,
    node: &str,
    entry: Option<Value>,
) -> (&'static str, Vec<Value>) {
    let (field, key) = match dialect {
        Dialect::Ibm => ("nodeStatus", "hostname"),
        Dialect::Native | Dialect::DigitalOcean => ("nodes", "node"),
    };
    let entries = object["status"][field].as_array();
    let mut list: Vec<Value> = entries.cloned().unwrap_or_default();
    list.retain(|entry| entry[key] != node);
    list.extend(entry);
    list.sort_by(|a, b| a[key].as_str().cmp(&b[key].as_str()));
    (field, list)
}

/// What all entries of an object come to, by field; nothing where the group has no such fields.
pub(super) fn summary(objects: Objects, object: &Value) -> BTreeMap<&'static str, Value> {
    let status = &object["status"];
    match objects.dialect() {
        Dialect::Native => {
            let nodes = status["nodes"].as_array();
            let mut summary = native_summary(nodes.map_or(&[], Vec::as_slice));
            if !matches!(objects, Objects::Routes(_)) {
                summary.retain(|field, _| !["routes", "gateway"].contains(field));
            }
            summary
        }
        Dialect::DigitalOcean => {
            let nodes = status["nodes"].as_object();
            let is_ready = |list: &Value| {
                let mut routes = list.as_array().into_iter().flatten();
                routes.all(|route| route["status"] == "Ready")
            };
            let ready = nodes
                .into_iter()
                .flat_map(Map::values)
                .filter(|list| is_ready(list));
            let ready = format!("{}/{}", ready.count(), nodes.map_or(0, Map::len));
            BTreeMap::from([("summary", json!(format!("{ready} nodes ready")))])
        }
        Dialect::Ibm => BTreeMap::new(),
    }
}

fn native_summary(entries: &[Value]) -> BTreeMap<&'static str, Value> {
    let ready = entries.iter().filter(|entry| entry["ready"] == true);
    let ready = format!("{}/{}", ready.count(), entries.len());
    let routes = entries.iter().filter_map(|entry| entry["routes"].as_u64());
    let gateways: BTreeSet<&str> = entries
        .iter()
        .filter_map(|entry| entry["gateway"].as_str())
        .flat_map(|gateways| gateways.split(", "))
        .filter(|gateway| !gateway.is_empty() && *gateway != MORE)
        .collect();
    let gateways: Vec<String> = gateways.into_iter().map(str::to_owned).collect();
    // In the order of names, so that it does not depend on who wrote first.
    let mut troubled: Vec<&Value> = entries
        .iter()
        .filter(|entry| entry["ready"] != true)
        .collect();
    troubled.sort_by_key(|entry| entry["node"].as_str());
    let reason = troubled.first().and_then(|entry| entry["reason"].as_str());
    BTreeMap::from([
        ("summary", json!(format!("{ready} nodes ready"))),
        ("ready", json!(ready)),
        ("routes", json!(routes.max().unwrap_or(0))),
        ("gateway", json!(nonempty(&few(&gateways)))),
        ("reason", json!(reason.and_then(nonempty))),
    ])
}

/// A text that is empty is no text: some servers take it for null, which is of another type.
fn nonempty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// What stands for the others in a list that is too long.
const MORE: &str = "…";

fn few(names: &[String]) -> String {
    let mut few: Vec<&str> = names.iter().take(GATEWAYS).map(String::as_str).collect();
    if names.len() > GATEWAYS {
        few.push(MORE);
    }
    few.join(", ")
}

/// Who is asked to be there: the next node by name, so that each has one that looks after it.
pub(super) fn next_of<'a>(nodes: &'a BTreeSet<String>, node: &str) -> Option<&'a str> {
    let after = nodes.iter().find(|name| name.as_str() > node);
    let next = after.or_else(|| nodes.first()).map(String::as_str);
    next.filter(|next| *next != node)
}

/// The name under which a node writes: no longer than the API takes.
pub(super) fn manager(node: &str) -> String {
    format!("srsync-{node}").chars().take(128).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::State;

    fn entry() -> Entry {
        Entry {
            state: State::Installed,
            routes: 2,
            installed: 2,
            gateways: BTreeSet::from([[10, 0, 0, 1].into()]),
            problems: Vec::new(),
            good: Vec::new(),
        }
    }

    fn at(second: u64) -> Timestamp {
        Timestamp::from_millis(second * 1000)
    }

    #[test]
    fn an_entry_is_as_old_as_its_meaning() {
        let wanted = |object: &Value, entry: &Entry, second| {
            let about = (Dialect::Native, object);
            wanted_entry(about, ("worker-1", entry), at(second))
        };
        let first = wanted(&json!({}), &entry(), 1);
        assert_eq!(first["since"], "1970-01-01T00:00:01.000Z");
        assert_eq!(first.get("reason"), None);
        // Another generation of the object is written, but it is no other state.
        let object = json!({"metadata": {"generation": 4}, "status": {"nodes": [first]}});
        let second = wanted(&object, &entry(), 2);
        assert_eq!(second["since"], first["since"]);
        assert_eq!(second["observedGeneration"], 4);
        let mut worse = entry();
        worse.installed = 1;
        let third = wanted(&object, &worse, 3);
        assert_eq!(third["since"], "1970-01-01T00:00:03.000Z");
    }

    #[test]
    fn a_summary_does_not_depend_on_who_wrote_first() {
        let node = |name: &str, ready: bool, gateway: &str, reason: &str| json!({"node": name, "ready": ready, "routes": 7, "gateway": gateway, "reason": reason});
        let mut nodes = vec![
            node("b", false, "10.0.0.2", "of b"),
            node("a", false, "10.0.0.1", "of a"),
            node("c", true, "10.0.0.2, 10.0.0.3, 10.0.0.4, …", ""),
        ];
        let of = |nodes: &[Value]| {
            let object = json!({"status": {"nodes": nodes}});
            json!(summary(Objects::Routes(Dialect::Native), &object))
        };
        let one = of(&nodes);
        let wanted = json!({
            "summary": "1/3 nodes ready", "ready": "1/3", "routes": 7, "reason": "of a",
            "gateway": "10.0.0.1, 10.0.0.2, 10.0.0.3, …",
        });
        assert_eq!(one, wanted);
        nodes.reverse();
        assert_eq!(of(&nodes), one);
        // Nothing to say is no text, and not an empty one.
        assert_eq!(of(&[])["reason"], Value::Null);
        assert_eq!(of(&[])["ready"], "0/0");
    }

    #[test]
    fn the_next_by_name_is_asked_for_and_after_the_last_the_first() {
        let nodes = BTreeSet::from(["a", "b", "d"].map(str::to_owned));
        assert_eq!(next_of(&nodes, "a"), Some("b"));
        assert_eq!(next_of(&nodes, "d"), Some("a"));
        // Who has no entry himself looks after others all the same.
        assert_eq!(next_of(&nodes, "c"), Some("d"));
        let alone = BTreeSet::from(["a".to_owned()]);
        assert_eq!(next_of(&alone, "a"), None);
        assert_eq!(next_of(&BTreeSet::new(), "a"), None);
    }

    #[test]
    fn what_is_not_ready_comes_first_in_a_list_of_digitalocean() {
        let mut many = entry();
        let prefix = |n: u8| crate::model::Prefix::host([10, 0, 0, n].into());
        many.good = (0..10).map(|n| (prefix(n), None)).collect();
        many.problems = vec![super::super::entry::Problem {
            prefix: prefix(99),
            state: State::Failed,
            code: None,
            reason: "why".to_owned(),
        }];
        let list = digitalocean(&many);
        let list = list.as_array().unwrap();
        assert_eq!(list.len(), 10);
        let wanted = json!({"destination": "10.0.0.99/32", "status": "NotReady", "reason": "why"});
        assert_eq!(list[0], wanted);
    }
}
