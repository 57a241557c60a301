//! What is around a `spec`: `apiVersion`, `kind`, `metadata`, and lists of objects.

use super::diagnostic::{Problem, Spot};
use super::fields::{Fields, Item};
use super::findings::Findings;
use super::values::text;
use super::words::{did_you_mean, either, nearest, quoted};
use super::yaml::{Entry, Node, Value};
use super::{
    Objects, Reader, Valid, ValidOverride, connectivity, digitalocean, egress, gateway_override,
    ibm, native,
};
use crate::model::{Dialect, Document, DocumentId, EgressKind, Place};

/// The fields of an object.
pub const OBJECT_FIELDS: &[&str] = &["apiVersion", "kind", "metadata", "spec", "status"];
/// The fields of a list of objects.
pub const LIST_FIELDS: &[&str] = &["apiVersion", "kind", "metadata", "items"];

/// What can be described in a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    StaticRoute(Dialect),
    GatewayOverride,
    Egress(EgressKind),
    ConnectivityCheck,
}

/// The kinds by name.
const KINDS: [&str; 6] = [
    "StaticRoute",
    "GatewayOverride",
    "Forwarding",
    "Masquerade",
    "RoutingRule",
    "ConnectivityCheck",
];

/// Whether this is the kind of a list: of any kind of objects, or of one.
fn is_list(kind: &str) -> bool {
    let of = kind.strip_suffix("List");
    of.is_some_and(|of| of.is_empty() || KINDS.contains(&of))
}

impl Kind {
    fn dialect(self) -> Dialect {
        match self {
            Self::StaticRoute(dialect) => dialect,
            Self::GatewayOverride | Self::Egress(_) | Self::ConnectivityCheck => Dialect::Native,
        }
    }

    /// What its `spec` says.
    fn purpose(self) -> &'static str {
        match self {
            Self::StaticRoute(_) => "what the route is",
            Self::GatewayOverride => "which `gateway`, and its `state`",
            Self::Egress(EgressKind::Forwarding) => "what is forwarded, such as `ipv4: true`",
            Self::Egress(EgressKind::Masquerade) => "whose packets are translated (`sources`)",
            Self::Egress(EgressKind::RoutingRule) => "which packets take which table",
            Self::ConnectivityCheck => "what must be reachable (`targets`)",
        }
    }

    /// The fields of its `spec`.
    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::StaticRoute(Dialect::Native) => native::SPEC_FIELDS,
            Self::StaticRoute(Dialect::DigitalOcean) => digitalocean::SPEC_FIELDS,
            Self::StaticRoute(Dialect::Ibm) => ibm::SPEC_FIELDS,
            Self::GatewayOverride => gateway_override::SPEC_FIELDS,
            Self::Egress(kind) => egress::spec_fields(kind),
            Self::ConnectivityCheck => connectivity::SPEC_FIELDS,
        }
    }
}

/// The versions that there are of a kind.
fn versions_of(kind: &str) -> Vec<&'static str> {
    match kind {
        "List" => vec!["v1"],
        "StaticRoute" | "StaticRouteList" => Dialect::ALL.map(Dialect::api_version).to_vec(),
        _ => vec![Dialect::Native.api_version()],
    }
}

/// What is known of a document before its `spec` is read.
pub(super) struct Head {
    pub(super) id: DocumentId,
    pub(super) place: Place,
}

/// Reads an object, or each object of a list, and hands out the valid documents.
pub(super) fn read(node: &Node<'_>, reader: &mut Reader<'_, '_>, out: &mut Objects) {
    let object = Item::named("document", node);
    if !matches!(node.value, Value::Map(_)) {
        let problem = object
            .must_be("a mapping")
            .help("a document begins with `apiVersion` and `kind`");
        reader.findings.error(node.span, problem);
        return;
    }
    match node.get("kind").map(|entry| &entry.node.value) {
        Some(Value::Text(kind)) if is_list(kind) => {
            read_list(&object, kind, reader, out);
        }
        _ => {
            let before = reader.findings.errors();
            let mut read = Objects::default();
            read_object(&object, reader, &mut read);
            if reader.findings.errors() == before {
                out.append(read);
            }
        }
    }
}

fn read_list(object: &Item<'_, '_>, kind: &str, reader: &mut Reader<'_, '_>, out: &mut Objects) {
    let findings = &mut reader.findings;
    let Some(list) = Fields::of(object, object.node.span, LIST_FIELDS, findings) else {
        return;
    };
    check_version(&list, &versions_of(kind), findings);
    if !list.has("items") {
        // `kubectl get` writes `items: []` where there are none; without `items` it is no list.
        list.report_missing("items", "the list of objects", findings);
    }
    for item in list.items("items", findings) {
        if item.node.get("items").is_some() {
            let problem = Problem::new("a list inside a list", "lists cannot be nested");
            reader.findings.error(item.node.span, problem);
        } else {
            read(item.node, reader, out);
        }
    }
}

fn check_version(fields: &Fields<'_, '_>, allowed: &[&str], findings: &mut Findings<'_>) -> bool {
    let wanted = either(allowed);
    let read = fields.require("apiVersion", &wanted, findings, |item| {
        let version = text(item)?;
        if allowed.contains(&version) {
            return Ok(());
        }
        Err(unknown_version(version, allowed))
    });
    read.is_some()
}

fn unknown_version(version: &str, allowed: &[&str]) -> Problem {
    let message = format!("unknown `apiVersion` {}", quoted(version));
    let label = format!("must be {}", either(allowed));
    let problem = Problem::new(message, label);
    problem.maybe_help(nearest(version, allowed.iter().copied()).map(did_you_mean))
}

fn read_object(
    object: &Item<'_, '_>,
    reader: &mut Reader<'_, '_>,
    out: &mut Objects,
) -> Option<()> {
    let findings = &mut reader.findings;
    let span = object.node.span;
    // What another kind of object may contain is not ours to judge.
    let kind = kind(object, findings)?;
    let fields = Fields::of(object, span, OBJECT_FIELDS, findings)?;
    let named = name(&fields, kind.dialect(), findings);
    if !fields.has("spec") {
        fields.report_missing("spec", kind.purpose(), findings);
        return None;
    }
    let spec = fields.inside("spec", kind.fields(), findings)?;
    let place = findings.spot(span).place();
    // A nameless document is still read, for its other mistakes.
    let (id, name) = named.unwrap_or_else(|| (nameless(kind.dialect()), findings.spot(span)));
    let head = Head { id, place };
    let document: Document = match kind {
        Kind::StaticRoute(Dialect::Native) => native::read(head, &spec, reader)?,
        Kind::StaticRoute(Dialect::DigitalOcean) => digitalocean::read(head, &spec, reader)?,
        Kind::StaticRoute(Dialect::Ibm) => ibm::read(head, &spec, reader)?,
        Kind::GatewayOverride => {
            let (gateway_override, spots) = gateway_override::read(head, &spec, findings)?;
            out.overrides.push(ValidOverride {
                gateway_override,
                name,
                spots,
            });
            return Some(());
        }
        Kind::Egress(kind) => {
            let document = egress::read(kind, head, &spec, reader)?;
            out.egress.push(Valid { document, name });
            return Some(());
        }
        Kind::ConnectivityCheck => {
            let document = connectivity::read(head, &spec, findings)?;
            out.checks.push(Valid { document, name });
            return Some(());
        }
    };
    out.documents.push(Valid { document, name });
    Some(())
}

fn nameless(dialect: Dialect) -> DocumentId {
    DocumentId {
        name: String::new(),
        namespace: None,
        dialect,
    }
}

/// Which kind of object it is, and whose, or that it is none.
fn kind(object: &Item<'_, '_>, findings: &mut Findings<'_>) -> Option<Kind> {
    let all: Vec<&str> = OBJECT_FIELDS.to_vec();
    let fields = Fields::unchecked(object, object.node.span)?;
    if !fields.has("apiVersion") && !fields.has("kind") {
        let message = "the document has neither `apiVersion` nor `kind`";
        let help = match nearest_top_level(object.node, &all) {
            Some((found, meant)) => format!(
                "{} is not a known field; {}",
                quoted(found),
                did_you_mean(meant)
            ),
            None => format!(
                "begin with `apiVersion: {}` and `kind: StaticRoute`",
                Dialect::Native.api_version()
            ),
        };
        let problem = Problem::new(message, "not a StaticRoute").help(help);
        findings.error(object.node.span, problem);
        return None;
    }
    let kind = fields.require("kind", &either(&KINDS), findings, |item| {
        let kind = text(item)?;
        if KINDS.contains(&kind) {
            return Ok(kind.to_owned());
        }
        let message = format!("{} is not a kind that srsync reads", quoted(kind));
        let label = format!("must be {}, or a `List` of them", either(&KINDS));
        let help = match nearest(kind, KINDS.into_iter().chain(["List"])) {
            Some(meant) => did_you_mean(meant),
            None => "keep other objects out of the files that srsync reads".to_owned(),
        };
        Err(Problem::new(message, label).help(help))
    });
    // The version of an object of another kind is right for that kind.
    if kind.is_some() || !fields.has("kind") {
        let kind = kind.as_ref().map_or("StaticRoute", |kind| &*kind.value);
        check_version(&fields, &versions_of(kind), findings);
    }
    let kind = kind?.value;
    let version = match &fields.entry("apiVersion")?.node.value {
        Value::Text(version) => &**version,
        _ => return None,
    };
    let mut dialects = Dialect::ALL.into_iter();
    let dialect = dialects.find(|dialect| dialect.api_version() == version)?;
    let kind = match &*kind {
        "GatewayOverride" => Kind::GatewayOverride,
        "ConnectivityCheck" => Kind::ConnectivityCheck,
        other => match EgressKind::ALL
            .into_iter()
            .find(|kind| kind.name() == other)
        {
            Some(kind) => Kind::Egress(kind),
            None => Kind::StaticRoute(dialect),
        },
    };
    // What is wrong with any other version has been said.
    (kind.dialect() == dialect).then_some(kind)
}

fn nearest_top_level<'n>(
    node: &'n Node<'_>,
    known: &[&'static str],
) -> Option<(&'n str, &'static str)> {
    let Value::Map(entries) = &node.value else {
        return None;
    };
    entries.iter().find_map(|entry: &Entry<'_>| {
        let unknown = !known.contains(&&*entry.key);
        let meant = nearest(&entry.key, known.iter().copied()).filter(|_| unknown)?;
        Some((&*entry.key, meant))
    })
}

/// `metadata.name`, with `metadata.namespace` where there is one. Everything else in `metadata`
/// is the cluster's business.
fn name(
    fields: &Fields<'_, '_>,
    dialect: Dialect,
    findings: &mut Findings<'_>,
) -> Option<(DocumentId, Spot)> {
    let Some(entry) = fields.entry("metadata") else {
        fields.report_missing(
            "metadata",
            "a mapping with the `name` of the document",
            findings,
        );
        return None;
    };
    let item = Item::named("metadata", &entry.node);
    let Some(metadata) = Fields::unchecked(&item, entry.key_span) else {
        findings.error(entry.node.span, item.must_be("a mapping"));
        return None;
    };
    let name = metadata.require(
        "name",
        "the name of the document, such as `office-network`",
        findings,
        |item| dns_name(item, 253, true),
    );
    let namespace = metadata.read("namespace", findings, |item| dns_name(item, 63, false));
    let name = name?;
    let id = DocumentId {
        name: name.value,
        namespace: namespace.map(|namespace| namespace.value),
        dialect,
    };
    Some((id, findings.spot(name.span)))
}

/// A DNS-1123 label, or several with dots between where `dotted`.
fn dns_name(item: &Item<'_, '_>, longest: usize, dotted: bool) -> Result<String, Problem> {
    let name = text(item)?;
    let valid = if dotted {
        name.split('.').all(is_label)
    } else {
        is_label(name)
    };
    if valid && name.len() <= longest {
        return Ok(name.to_owned());
    }
    let field = &item.field;
    let message = format!("{} cannot be a {field} in Kubernetes", quoted(name));
    let letters = match dotted {
        true => "lowercase letters, digits, `-` and `.`",
        false => "lowercase letters, digits and `-`",
    };
    let label = format!("up to {longest} {letters}, with a letter or digit at both ends");
    let fixed = name.to_lowercase().replace(['_', ' '], "-");
    let suggestion =
        (fixed != name && fixed.split('.').all(is_label)).then(|| did_you_mean(&fixed));
    Err(Problem::new(message, label).maybe_help(suggestion))
}

/// What DNS-1123 takes between two dots.
fn is_label(part: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    edge(part.chars().next())
        && edge(part.chars().last())
        && part
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}
