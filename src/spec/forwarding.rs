//! `Forwarding` of `srsync.dev/v1alpha1`: that this node passes packets on.

use super::diagnostic::Problem;
use super::egress::Notes;
use super::fields::{At, Fields, Item};
use super::findings::Findings;
use super::lists::report_twice;
use super::values::{boolean, interface, keyword};
use super::yaml::Value;
use crate::model::InterfaceName;
use crate::model::egress::{Forwarding, InterfaceForwarding, RpFilter};

/// The fields of `spec`.
pub const SPEC_FIELDS: &[&str] = &["ipv4", "ipv6", "interfaces", "nodeSelector"];
/// The fields of an entry of `interfaces`.
pub const INTERFACE_FIELDS: &[&str] = &["name", "ipv4", "ipv6", "rpFilter"];

/// Reads `spec`.
pub(super) fn read(
    spec: &Fields<'_, '_>,
    notes: &mut Notes,
    findings: &mut Findings<'_>,
) -> Forwarding {
    let before = findings.errors();
    let [ipv4, ipv6] = ["ipv4", "ipv6"].map(|name| spec.read(name, findings, boolean));
    let whole_node_ipv6 = ipv6.is_some_and(|at| at.value);
    let (mut interfaces, mut names) = (Vec::new(), Vec::new());
    for item in spec.items("interfaces", findings) {
        let fields = Fields::of(&item, item.node.span, INTERFACE_FIELDS, findings);
        let Some(entry) = fields.and_then(|fields| Entry::read(&fields, findings)) else {
            continue;
        };
        if let Some(ipv6) = entry.ipv6.filter(|at| at.value && !whole_node_ipv6) {
            note_ipv6(&entry.name, ipv6, notes, findings);
        }
        interfaces.push(entry.says());
        names.push(entry.name);
    }
    report_twice(&names, findings);
    let says_nothing = ipv4.is_none() && ipv6.is_none() && interfaces.is_empty();
    if says_nothing
        && findings.errors() == before
        && !is_mistyped(spec, &["ipv4", "ipv6", "interfaces"])
    {
        let message = format!("{} says nothing about forwarding", spec.shown());
        let help = "add `ipv4: true`, `ipv6: true`, or `interfaces` with what differs there";
        let problem = Problem::new(message, "asks for nothing").help(help);
        findings.error(spec.span, problem);
    }
    Forwarding {
        ipv4: ipv4.map(|at| at.value),
        ipv6: ipv6.map(|at| at.value),
        interfaces,
    }
}

/// Whether one of these was meant by a field that nobody knows.
fn is_mistyped(fields: &Fields<'_, '_>, names: &[&str]) -> bool {
    names.iter().any(|name| fields.is_mistyped(name))
}

/// An entry of `interfaces`, and where its parts are written.
struct Entry {
    name: At<InterfaceName>,
    ipv4: Option<At<bool>>,
    ipv6: Option<At<bool>>,
    rp_filter: Option<At<RpFilter>>,
}

impl Entry {
    fn read(fields: &Fields<'_, '_>, findings: &mut Findings<'_>) -> Option<Self> {
        let before = findings.errors();
        let wanted = "the interface that this is about";
        let name = fields.require("name", wanted, findings, one_interface);
        let [ipv4, ipv6] = ["ipv4", "ipv6"].map(|name| fields.read(name, findings, boolean));
        let rp_filter = fields.read("rpFilter", findings, rp_filter);
        let entry = Self {
            name: name?,
            ipv4,
            ipv6,
            rp_filter,
        };
        let says_nothing = ipv4.is_none() && ipv6.is_none() && rp_filter.is_none();
        let mistyped = is_mistyped(fields, &["ipv4", "ipv6", "rpFilter"]);
        if says_nothing && findings.errors() == before && !mistyped {
            let message = format!("{} says nothing about {}", fields.shown(), entry.name.value);
            let help = "add `ipv4`, `ipv6` or `rpFilter`, or remove the entry";
            let problem = Problem::new(message, "asks for nothing").help(help);
            findings.error(entry.name.span, problem);
        }
        Some(entry)
    }

    fn says(&self) -> InterfaceForwarding {
        InterfaceForwarding {
            name: self.name.value.clone(),
            ipv4: self.ipv4.map(|at| at.value),
            ipv6: self.ipv6.map(|at| at.value),
            rp_filter: self.rp_filter.map(|at| at.value),
        }
    }
}

/// The name of one interface. The kernel keeps two names to itself, because they are folders of settings
/// (`sysctl_dev_name_is_allowed`, net/core/sysctl_net_core.c).
fn one_interface(item: &Item<'_, '_>) -> Result<InterfaceName, Problem> {
    let name = interface(item)?;
    if !matches!(name.as_str(), "all" | "default") {
        return Ok(name);
    }
    let message = format!("`{name}` is not an interface, but a folder of the kernel's settings");
    let help = "what holds for all interfaces is said by `ipv4` and `ipv6` of `spec`; `rpFilter` is said of each";
    Err(Problem::new(message, "no interface can have this name").help(help))
}

/// One of the words. To YAML 1.1, which kubectl and Helm read, a bare `off` is false.
fn rp_filter(item: &Item<'_, '_>) -> Result<RpFilter, Problem> {
    let words = RpFilter::ALL.map(|filter| (filter.name(), filter));
    let is_false = matches!(item.node.value, Value::Bool(false));
    let help =
        "a program that reads a bare `off` as false may have written this; quote it: \"off\"";
    keyword(item, &words).map_err(|problem| problem.maybe_help(is_false.then(|| help.to_owned())))
}

/// `ip6_forward` (net/ipv6/ip6_output.c) asks `conf.all` alone.
fn note_ipv6(
    name: &At<InterfaceName>,
    ipv6: At<bool>,
    notes: &mut Notes,
    findings: &mut Findings<'_>,
) {
    let message = format!(
        "`ipv6` of {} forwards nothing by itself: IPv6 is forwarded only where the whole node does so",
        name.value
    );
    let problem = Problem::new(message, "decides only about router advertisements here")
        .help("add `ipv6: true` to `spec`, here or in another document");
    notes.add(ipv6.span, problem, findings);
}
