//! Where the packets of a native document go: exactly one way of saying it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::destinations::Destinations;
use super::diagnostic::Problem;
use super::fields::{At, Fields};
use super::findings::Findings;
use super::health;
use super::values::{boolean, interface, keyword, unicast, whole};
use super::yaml::Entry;
use crate::model::document::{Gateways, HealthCheck, Mode, OnAllDown};
use crate::model::{Family, Gateway, InterfaceName, RouteType, Target, Weight};

/// The fields of an entry of `gateways`.
pub const GATEWAY_FIELDS: &[&str] = &["address", "interface", "weight", "onLink", "healthCheck"];

/// Values of `type`.
const TYPES: [(&str, RouteType); 5] = [
    ("unicast", RouteType::Unicast),
    ("blackhole", RouteType::Blackhole),
    ("unreachable", RouteType::Unreachable),
    ("prohibit", RouteType::Prohibit),
    ("throw", RouteType::Throw),
];

const MODES: [(&str, Mode); 2] = [("failover", Mode::Failover), ("ecmp", Mode::Ecmp)];

const ON_ALL_DOWN: [(&str, OnAllDown); 3] = [
    ("keep", OnAllDown::Keep),
    ("withdraw", OnAllDown::Withdraw),
    ("blackhole", OnAllDown::Blackhole),
];

/// What only means something for gateways that are written in the document.
const GATEWAY_ONLY: [&str; 6] = [
    "mode",
    "resilient",
    "healthCheck",
    "onAllDown",
    "witness",
    "preempt",
];

/// The target of a spec, or what is wrong with it.
pub(super) fn read(
    spec: &Fields<'_, '_>,
    destinations: &Destinations,
    findings: &mut Findings<'_>,
) -> Option<Target> {
    let before = findings.errors();
    let kind = spec.read("type", findings, |item| keyword(item, &TYPES));
    let interface = spec
        .read("interface", findings, interface)
        .map(|name| name.value);
    let lookup = spec.read("gatewayLookup", findings, unicast);
    let gateways = gateways(spec, interface.as_ref(), findings);
    let sound = findings.errors() == before;
    let way = only_way(spec, kind, findings)?;
    if !matches!(way, Way::Gateways) {
        refuse_gateway_fields(spec, way.name(), findings);
    }
    match way {
        Way::Nowhere(kind) => Some(Target::Nowhere(kind)),
        Way::Interface => Some(Target::Interface(interface?)),
        Way::Lookup => {
            let lookup = lookup?;
            serve_all(&[lookup], destinations, sound, findings);
            Some(Target::Lookup(lookup.value))
        }
        Way::Gateways => {
            report_duplicates(&gateways, findings);
            let addresses: Vec<At<IpAddr>> =
                gateways.iter().map(|gateway| gateway.address).collect();
            serve_all(&addresses, destinations, sound, findings);
            how_to_use(spec, gateways, findings).map(Target::Gateways)
        }
    }
}

/// The ways of saying where packets go.
#[derive(Clone, Copy)]
enum Way {
    Gateways,
    Lookup,
    Interface,
    Nowhere(RouteType),
}

impl Way {
    fn name(self) -> String {
        match self {
            Self::Gateways => "`gateways`".to_owned(),
            Self::Lookup => "`gatewayLookup`".to_owned(),
            Self::Interface => "`interface` alone".to_owned(),
            Self::Nowhere(kind) => format!("`type: {}`", kind.name()),
        }
    }
}

/// The one way that the spec says, or the complaint that it says none or several.
fn only_way(
    spec: &Fields<'_, '_>,
    kind: Option<At<RouteType>>,
    findings: &mut Findings<'_>,
) -> Option<Way> {
    if let Some(kind) = kind.filter(|kind| kind.value != RouteType::Unicast) {
        return alone(spec, kind, findings).then_some(Way::Nowhere(kind.value));
    }
    let ways = ["gateway", "gateways", "gatewayLookup"];
    let given: Vec<&Entry<'_>> = ways.iter().filter_map(|name| spec.entry(name)).collect();
    match given.as_slice() {
        [] if spec.has("interface") => Some(Way::Interface),
        [] => {
            // A `type` that could not be read may have been meant to answer this.
            if kind.is_some() || !spec.has("type") {
                report_no_way(spec, findings);
            }
            None
        }
        [one] if &*one.key == "gatewayLookup" => lookup_alone(spec, one, findings),
        [_] => Some(Way::Gateways),
        [first, second, ..] => {
            let (first, second) = in_order(first, second);
            let message = format!(
                "`{}` and `{}` both say where packets go",
                &*first.key, &*second.key
            );
            let problem = Problem::new(message, "says it again")
                .related(findings.spot(first.key_span), "says it first")
                .help("keep one of them");
            findings.error(second.key_span, problem);
            None
        }
    }
}

fn in_order<'n, 't>(a: &'n Entry<'t>, b: &'n Entry<'t>) -> (&'n Entry<'t>, &'n Entry<'t>) {
    if a.key_span <= b.key_span {
        (a, b)
    } else {
        (b, a)
    }
}

fn report_no_way(spec: &Fields<'_, '_>, findings: &mut Findings<'_>) {
    if ["gateway", "gatewayLookup", "interface", "type"]
        .iter()
        .any(|name| spec.is_mistyped(name))
    {
        return;
    }
    let message = format!("{} does not say where packets go", spec.shown());
    let help = "add one of `gateway`, `gateways`, `gatewayLookup`, `interface`, \
                or a `type` such as `blackhole`";
    findings.error(spec.span, Problem::new(message, "has no target").help(help));
}

/// A type that sends packets nowhere stands for itself.
fn alone(spec: &Fields<'_, '_>, kind: At<RouteType>, findings: &mut Findings<'_>) -> bool {
    let before = findings.errors();
    for name in ["gateway", "gateways", "gatewayLookup", "interface"] {
        if let Some(entry) = spec.entry(name) {
            let message = format!("`{name}` has no meaning with `type: {}`", kind.value.name());
            let problem = Problem::new(message, "no packet goes here")
                .related(findings.spot(kind.span), "because of this type")
                .help(format!("remove `{name}`, or `type`"));
            findings.error(entry.node.span, problem);
        }
    }
    findings.errors() == before
}

/// The kernel's answer to a lookup names the link, so that another one could only contradict it.
fn lookup_alone(
    spec: &Fields<'_, '_>,
    lookup: &Entry<'_>,
    findings: &mut Findings<'_>,
) -> Option<Way> {
    let Some(interface) = spec.entry("interface") else {
        return Some(Way::Lookup);
    };
    let message = "`interface` has no meaning with `gatewayLookup`";
    let problem = Problem::new(message, "the lookup finds the interface as well")
        .related(
            findings.spot(lookup.key_span),
            "finds gateway and interface",
        )
        .help("remove `interface`, or write the gateway with `gateway`");
    findings.error(interface.node.span, problem);
    None
}

fn refuse_gateway_fields(spec: &Fields<'_, '_>, way: String, findings: &mut Findings<'_>) {
    for name in GATEWAY_ONLY {
        if let Some(entry) = spec.entry(name) {
            let message = format!("`{name}` has no meaning with {way}");
            let help =
                format!("remove `{name}`, or write the gateways with `gateway` or `gateways`");
            findings.error(
                entry.key_span,
                Problem::new(message, "only for gateways").help(help),
            );
        }
    }
}

/// A gateway and where its parts are written.
struct Written {
    address: At<IpAddr>,
    weight: Option<At<Weight>>,
    gateway: Gateway,
}

/// The gateways of `gateway` and `gateways`, with the document's interface and check filled in.
fn gateways(
    spec: &Fields<'_, '_>,
    interface: Option<&InterfaceName>,
    findings: &mut Findings<'_>,
) -> Vec<Written> {
    let check = health::read(spec, findings);
    let mut list = Vec::new();
    if let Some(address) = spec.read("gateway", findings, unicast) {
        list.push(Written {
            address,
            weight: None,
            gateway: Gateway {
                address: address.value,
                interface: interface.cloned(),
                weight: Weight::ONE,
                on_link: false,
                check: check.clone(),
            },
        });
    }
    for item in spec.items("gateways", findings) {
        let Some(fields) = Fields::of(&item, item.node.span, GATEWAY_FIELDS, findings) else {
            continue;
        };
        list.extend(gateway(&fields, interface, check.as_ref(), findings));
    }
    for written in &list {
        let help = "it exists on every link: name the one that is meant with `interface`";
        check_link_local(written, help, findings);
    }
    list
}

fn gateway(
    fields: &Fields<'_, '_>,
    default_interface: Option<&InterfaceName>,
    default_check: Option<&HealthCheck>,
    findings: &mut Findings<'_>,
) -> Option<Written> {
    let address = fields.require(
        "address",
        "the IP address of the gateway",
        findings,
        unicast,
    );
    let own = fields
        .read("interface", findings, interface)
        .map(|name| name.value);
    let interface = own.or_else(|| default_interface.cloned());
    let weight = fields.read("weight", findings, |item| {
        let weight = whole(item, 1..=256)?;
        let weight = u16::try_from(weight).ok().and_then(Weight::new);
        weight.ok_or_else(|| item.must_be("a weight"))
    });
    let on_link = fields.read("onLink", findings, boolean);
    if let Some(on_link) = on_link.filter(|on_link| on_link.value && interface.is_none()) {
        let message = "`onLink` needs an `interface`";
        let help = "name the link that the gateway is on with `interface`";
        findings.error(
            on_link.span,
            Problem::new(message, "on which link?").help(help),
        );
    }
    let check = health::read(fields, findings).or_else(|| default_check.cloned());
    let address = address?;
    Some(Written {
        address,
        weight,
        gateway: Gateway {
            address: address.value,
            interface,
            weight: weight.map_or(Weight::ONE, |weight| weight.value),
            on_link: on_link.is_some_and(|on_link| on_link.value),
            check,
        },
    })
}

/// fe80::1 is on every link.
fn check_link_local(written: &Written, help: &str, findings: &mut Findings<'_>) {
    let At { value, span } = written.address;
    let link_local = matches!(value, IpAddr::V6(v6) if v6.is_unicast_link_local());
    if link_local && written.gateway.interface.is_none() {
        let message = format!("the link-local gateway {value} needs an `interface`");
        findings.error(span, Problem::new(message, "on which link?").help(help));
    }
}

fn report_duplicates(list: &[Written], findings: &mut Findings<'_>) {
    let mut known: BTreeMap<_, &Written> = BTreeMap::new();
    for written in list {
        let identity = (written.gateway.address, &written.gateway.interface);
        if let Some(first) = known.get(&identity) {
            let message = format!("the gateway {} is listed twice", written.address.value);
            let problem = Problem::new(message, "listed again")
                .related(findings.spot(first.address.span), "first listed here")
                .help("keep one of them; for a larger share use `weight`");
            findings.error(written.address.span, problem);
        } else {
            known.insert(identity, written);
        }
    }
}

/// Every family of the destinations needs a gateway, and no gateway may be of another.
fn serve_all(
    gateways: &[At<IpAddr>],
    destinations: &Destinations,
    sound: bool,
    findings: &mut Findings<'_>,
) {
    let family_of = |gateway: &At<IpAddr>| Family::of(&gateway.value);
    let served = |family: &Family| gateways.iter().any(|gateway| family_of(gateway) == *family);
    let unserved = Family::BOTH
        .into_iter()
        .filter(|family| sound && !served(family));
    let unserved = unserved
        .filter_map(|family| destinations.first(family))
        .next();
    let useless = gateways
        .iter()
        .filter(|gateway| destinations.lacks(family_of(gateway)));
    let mut told = false;
    for gateway in useless {
        let family = family_of(gateway);
        let message = format!(
            "the gateway {} is {family}, but no destination is",
            gateway.value
        );
        let label = format!("no {family} destination to send here");
        let mut problem = Problem::new(message, label);
        if let Some((prefix, spot)) = unserved {
            problem = problem.related(
                spot.clone(),
                format!("needs an {} gateway", prefix.family()),
            );
        }
        findings.error(gateway.span, problem);
        told = true;
    }
    if let Some((prefix, spot)) = unserved.filter(|_| !told && !gateways.is_empty()) {
        let family = prefix.family();
        let message = format!("no gateway serves {prefix}: it is {family}, and no gateway is");
        let help = format!(
            "add an {family} gateway, or move the {family} destinations to another document"
        );
        let label = format!("needs an {family} gateway");
        findings.error_at(spot.clone(), Problem::new(message, label).help(help));
    }
}

/// `mode`, `resilient`, `onAllDown`, `witness` and `preempt` for these gateways.
fn how_to_use(
    spec: &Fields<'_, '_>,
    list: Vec<Written>,
    findings: &mut Findings<'_>,
) -> Option<Gateways> {
    let mode = spec.read("mode", findings, |item| keyword(item, &MODES));
    let mode = mode.map_or(Mode::Failover, |mode| mode.value);
    let resilient = spec.read("resilient", findings, boolean);
    let resilient = resilient.filter(|resilient| resilient.value);
    if let Some(resilient) = resilient.filter(|_| mode == Mode::Failover) {
        let message = "`resilient` has no effect with `mode: failover`";
        let problem = Problem::new(message, "nothing to keep apart")
            .help("it keeps flows at their gateways with `mode: ecmp`");
        findings.warning(resilient.span, problem);
    }
    let on_all_down = spec.read("onAllDown", findings, |item| keyword(item, &ON_ALL_DOWN));
    let witness = spec.read_list("witness", findings, unicast);
    let preempt = spec.read("preempt", findings, boolean);
    if let (true, Some(entry)) = (list.is_empty(), spec.entry("gateways")) {
        report_empty(entry, findings);
        return None;
    }
    if mode == Mode::Failover && list.len() > 1 {
        warn_of_weights(&list, findings);
    }
    if !spec.has("healthCheck") && list.iter().all(|written| written.gateway.check.is_none()) {
        warn_of_no_check(spec, findings);
    }
    Some(Gateways {
        list: list.into_iter().map(|written| written.gateway).collect(),
        mode,
        resilient: resilient.is_some() && mode == Mode::Ecmp,
        on_all_down: on_all_down.map_or(OnAllDown::Keep, |what| what.value),
        witness: witness.into_iter().map(|address| address.value).collect(),
        preempt: preempt.is_none_or(|preempt| preempt.value),
    })
}

fn report_empty(entry: &Entry<'_>, findings: &mut Findings<'_>) {
    if matches!(&entry.node.value, super::yaml::Value::List(list) if list.is_empty()) {
        let problem = Problem::new("`gateways` is empty", "must list at least one gateway");
        findings.error(entry.node.span, problem);
    }
}

fn warn_of_weights(list: &[Written], findings: &mut Findings<'_>) {
    if let Some(weight) = list.iter().find_map(|written| written.weight) {
        let message = "`weight` has no effect with `mode: failover`";
        let help =
            "for shares write `mode: ecmp`; failover uses the first healthy gateway of the list";
        findings.warning(weight.span, Problem::new(message, "not used").help(help));
    }
}

/// Gateways that nobody checks never go down.
fn warn_of_no_check(spec: &Fields<'_, '_>, findings: &mut Findings<'_>) {
    for name in ["resilient", "onAllDown", "witness", "preempt"] {
        if let Some(entry) = spec.entry(name) {
            let message = format!("`{name}` has no effect without a `healthCheck`");
            let problem = Problem::new(message, "never comes into play");
            let help = "add a `healthCheck`, such as `healthCheck: {icmp: {}}`";
            findings.warning(entry.key_span, problem.help(help));
        }
    }
}

/// The one gateway of the other operators' documents.
pub(super) fn single(
    gateway: Option<At<IpAddr>>,
    destinations: &Destinations,
    findings: &mut Findings<'_>,
) -> Option<Target> {
    let address = gateway?;
    let gateway = Gateway {
        address: address.value,
        interface: None,
        weight: Weight::ONE,
        on_link: false,
        check: None,
    };
    let written = Written {
        address,
        weight: None,
        gateway,
    };
    let help =
        "it exists on every link: write a document of `srsync.dev/v1alpha1`, which has `interface`";
    check_link_local(&written, help, findings);
    serve_all(&[address], destinations, true, findings);
    Some(Target::Gateways(Gateways {
        list: vec![written.gateway],
        mode: Mode::Failover,
        resilient: false,
        on_all_down: OnAllDown::Keep,
        witness: Vec::new(),
        preempt: true,
    }))
}
