//! Ways and destinations → documents with names, as YAML that a person would write, or for programs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

use serde::Serialize;

use super::way::{Hop, Out, Way};
use crate::model::{Dialect, Prefix, TableId, Weight};

/// A `StaticRoute` document that is to be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata,
    spec: Spec,
    #[serde(skip)]
    destinations: Vec<Prefix>,
    #[serde(skip)]
    way: Way,
    #[serde(skip)]
    is_default: bool,
    /// The document that the destinations would belong to if they were not inside others of it.
    #[serde(skip)]
    inside: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Metadata {
    name: String,
}

/// The fields in the order of the text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    destinations: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gateways: Vec<Gateway>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<Table>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metric: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    advmss: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Table {
    Name(&'static str),
    /// Names of `rt_tables` are another file's business.
    Number(u32),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Gateway {
    address: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_link: Option<bool>,
}

impl Manifest {
    /// A document that sends `destinations` this way.
    pub(super) fn new(name: String, way: &Way, destinations: Vec<Prefix>) -> Self {
        Self {
            api_version: Dialect::Native.api_version(),
            kind: "StaticRoute",
            metadata: Metadata { name },
            spec: Spec::of(way, &destinations),
            destinations,
            way: way.clone(),
            is_default: false,
            inside: None,
        }
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// Its destinations, sorted; none covers another.
    pub fn destinations(&self) -> &[Prefix] {
        &self.destinations
    }

    /// Whether it makes a default route, alone or together with those before it by name.
    pub fn is_default(&self) -> bool {
        self.is_default
    }

    pub(super) fn mark_default(&mut self) {
        self.is_default = true;
    }

    pub(super) fn way(&self) -> &Way {
        &self.way
    }

    /// The document as YAML, with the line that divides it from others.
    pub(super) fn text(&self) -> String {
        let mut text = String::from("---\n");
        if self.is_default {
            let alone = self.destinations.iter().any(is_everything);
            text += match alone {
                true => "# A default route",
                false => "# With others a default route",
            };
            text += ": it takes `allowDefaultRoute: true` (--allow-default-route).\n";
        }
        if let Some(outer) = &self.inside {
            text += &format!(
                "# Within destinations of `{outer}`: there they would be left out as covered.\n"
            );
        }
        let _ = write!(
            text,
            "apiVersion: {}\nkind: {}\nmetadata:\n  name: {}\nspec:\n",
            self.api_version, self.kind, self.metadata.name
        );
        self.spec.write(&mut text);
        text
    }
}

fn is_everything(prefix: &Prefix) -> bool {
    *prefix == Prefix::everything(prefix.family())
}

impl Spec {
    fn of(way: &Way, destinations: &[Prefix]) -> Self {
        let table = |table: TableId| match table {
            TableId::MAIN => Table::Name("main"),
            other => Table::Number(other.get()),
        };
        let mut spec = Self {
            destinations: destinations.iter().map(destination).collect(),
            table: way.table.map(table),
            metric: way.metric.map(|metric| metric.get()),
            source: way.source,
            mtu: way.mtu.map(|mtu| mtu.get()),
            advmss: way.advmss.map(|advmss| advmss.get()),
            ..Self::default()
        };
        match &way.out {
            Out::Gateways(hops) => spec.lead_by(hops),
            Out::Interface(name) => spec.interface = Some(name.to_string()),
            Out::Nowhere(kind) => spec.r#type = Some(kind.name()),
        }
        spec
    }

    fn lead_by(&mut self, hops: &[Hop]) {
        let name = |hop: &Hop| hop.interface().map(ToString::to_string);
        if let [only] = hops
            && !only.on_link
        {
            self.gateway = Some(only.address);
            self.interface = name(only);
            return;
        }
        let weighted = hops.iter().any(|hop| hop.weight != Weight::ONE);
        let gateway = |hop: &Hop| Gateway {
            address: hop.address,
            interface: name(hop),
            weight: weighted.then_some(hop.weight.get()),
            on_link: hop.on_link.then_some(true),
        };
        self.gateways = hops.iter().map(gateway).collect();
        self.mode = (hops.len() > 1).then_some("ecmp");
    }

    fn write(&self, text: &mut String) {
        let mut line = |line: String| {
            *text += &line;
            text.push('\n');
        };
        line("  destinations:".to_owned());
        for destination in &self.destinations {
            line(format!("    - {}", scalar(destination)));
        }
        if let Some(gateway) = self.gateway {
            line(format!("  gateway: {}", scalar(&gateway.to_string())));
        }
        if !self.gateways.is_empty() {
            line("  gateways:".to_owned());
        }
        for gateway in &self.gateways {
            line(format!(
                "    - address: {}",
                scalar(&gateway.address.to_string())
            ));
            if let Some(interface) = &gateway.interface {
                line(format!("      interface: {}", scalar(interface)));
            }
            if let Some(weight) = gateway.weight {
                line(format!("      weight: {weight}"));
            }
            if gateway.on_link.is_some() {
                line("      onLink: true".to_owned());
            }
        }
        let source = self.source.map(|source| scalar(&source.to_string()));
        let number = |number: Option<u32>| number.map(|number| number.to_string());
        let table = self.table.map(|table| match table {
            Table::Name(name) => name.to_owned(),
            Table::Number(number) => number.to_string(),
        });
        let rest = [
            ("mode", self.mode.map(str::to_owned)),
            ("interface", self.interface.as_deref().map(scalar)),
            ("type", self.r#type.map(str::to_owned)),
            ("table", table),
            ("metric", number(self.metric)),
            ("source", source),
            ("mtu", number(self.mtu)),
            ("advmss", number(self.advmss)),
        ];
        for (field, value) in rest {
            if let Some(value) = value {
                line(format!("  {field}: {value}"));
            }
        }
    }
}

/// A host route is written as its address, as `ip route` shows it.
fn destination(prefix: &Prefix) -> String {
    match *prefix == Prefix::host(prefix.address()) {
        true => prefix.address().to_string(),
        false => prefix.to_string(),
    }
}

/// Text as YAML: bare where no reader could take it for something else.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 10] = [
        "true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan",
    ];
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '/');
    let is_address = text.parse::<IpAddr>().is_ok() || text.parse::<Prefix>().is_ok();
    let begins_well = is_address || text.starts_with(|c: char| c.is_ascii_alphabetic());
    let is_plain = begins_well
        && text.chars().all(inner)
        && !text.starts_with(':')
        && !text.ends_with(':')
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if is_plain {
        return text.to_owned();
    }
    // Within double quotes YAML reads what JSON writes.
    serde_json::Value::from(text).to_string()
}

/// One document for each way; more where one destination covers another, because within a document
/// that would be one route less. Default routes stand alone.
pub(super) fn documents(ways: &BTreeMap<Way, BTreeSet<Prefix>>) -> Vec<Manifest> {
    let mut taken = BTreeSet::new();
    let mut documents = Vec::new();
    for (way, prefixes) in ways {
        let (defaults, others) = prefixes.iter().copied().partition(is_everything);
        let mut add = |what: String, destinations: Vec<Prefix>, inside: Option<String>| {
            let name = free_name(&what, &mut taken);
            let document = Manifest::new(name.clone(), way, destinations);
            documents.push(Manifest { inside, ..document });
            name
        };
        let base = name(way);
        let defaults: Vec<Prefix> = defaults;
        if !defaults.is_empty() {
            add(format!("default-{base}"), defaults, None);
        }
        let mut outer = None;
        for (depth, layer) in layers(others).into_iter().enumerate() {
            let what = match depth {
                0 => base.clone(),
                1 => format!("{base}-inside"),
                _ => format!("{base}-inside-{depth}"),
            };
            outer = Some(add(what, layer, outer));
        }
    }
    documents
}

/// Sorted prefixes by how many others cover them.
fn layers(prefixes: Vec<Prefix>) -> Vec<Vec<Prefix>> {
    let mut layers: Vec<Vec<Prefix>> = Vec::new();
    let mut around: Vec<Prefix> = Vec::new();
    for prefix in prefixes {
        while around.last().is_some_and(|last| !last.covers(&prefix)) {
            around.pop();
        }
        match layers.get_mut(around.len()) {
            Some(layer) => layer.push(prefix),
            None => layers.push(vec![prefix]),
        }
        around.push(prefix);
    }
    layers
}

/// So many gateways are in a name; of more the first, and how many more.
const NAMED: usize = 2;

/// What a way is called: the same on every day, whatever other routes there are.
fn name(way: &Way) -> String {
    let mut name = match &way.out {
        Out::Interface(name) => format!("dev-{}", label(name.as_str())),
        Out::Nowhere(kind) => kind.name().to_owned(),
        Out::Gateways(hops) => {
            let shown = if hops.len() > NAMED { 1 } else { NAMED };
            let hops_shown: Vec<String> = hops.iter().take(shown).map(hop_name).collect();
            let mut name = format!("via-{}", hops_shown.join("-and-"));
            if let more @ 1.. = hops.len().saturating_sub(shown) {
                name += &format!("-and-{more}-more");
            }
            name
        }
    };
    let parts = [
        ("table", way.table.map(table_label)),
        ("metric", way.metric.map(|metric| metric.to_string())),
        ("src", way.source.map(address_label)),
        ("mtu", way.mtu.map(|mtu| mtu.to_string())),
        ("advmss", way.advmss.map(|advmss| advmss.to_string())),
    ];
    for (what, value) in parts {
        if let Some(value) = value {
            name += &format!("-{what}-{value}");
        }
    }
    name
}

fn hop_name(hop: &Hop) -> String {
    let mut name = address_label(hop.address);
    if let Some(interface) = hop.interface() {
        name += &format!("-{}", label(interface.as_str()));
    }
    if hop.weight != Weight::ONE {
        name += &format!("-weight-{}", hop.weight);
    }
    name
}

fn table_label(table: TableId) -> String {
    match table {
        TableId::MAIN => "main".to_owned(),
        other => other.to_string(),
    }
}

/// `10-0-0-1`, `2001-db8--1`.
fn address_label(address: IpAddr) -> String {
    let text = label(&address.to_string());
    // `2001:db8::` would end with what a name must not end with.
    match text.ends_with('-') {
        true => text + "0",
        false => text,
    }
}

/// Text as a part of a name: lower case letters, digits and dashes.
fn label(text: &str) -> String {
    let letter = |c: char| match c.to_ascii_lowercase() {
        c if c.is_ascii_alphanumeric() => c,
        _ => '-',
    };
    text.chars().map(letter).collect()
}

/// A name is cut to so many letters.
const LONGEST: usize = 240;

/// The name, numbered where another document has it, and ending as a name may.
fn free_name(wanted: &str, taken: &mut BTreeSet<String>) -> String {
    // All of it is ASCII. Kubernetes takes 253; a number may follow.
    let wanted = wanted.get(..LONGEST).unwrap_or(wanted);
    let wanted = wanted.trim_end_matches('-');
    let numbered = (2u32..).map(|number| format!("{wanted}-{number}"));
    let mut names = std::iter::once(wanted.to_owned()).chain(numbered);
    let free = names.find(|name| !taken.contains(name)).unwrap_or_default();
    taken.insert(free.clone());
    free
}
