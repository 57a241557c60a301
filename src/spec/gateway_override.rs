//! `GatewayOverride` of `srsync.dev/v1alpha1`: a gateway that somebody decided about.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::diagnostic::{Diagnostic, Problem, Severity, Spot};
use super::envelope::Head;
use super::fields::{Fields, Item};
use super::findings::Findings;
use super::values::{keyword, unicast};
use super::words::{did_you_mean, listed, nearest, quoted};
use super::yaml::Value;
use crate::model::{Document, GatewayOverride, OverrideState, Timestamp};

/// The fields of `spec`.
pub const SPEC_FIELDS: &[&str] = &["gateway", "state", "until"];

/// So many gateways are named where another one is not known.
const NAMED: usize = 8;

/// A gateway override without errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidOverride {
    /// The override.
    pub gateway_override: GatewayOverride,
    /// Where its name is written.
    pub name: Spot,
    /// Where the rest is.
    pub spots: OverrideSpots,
}

/// Where the fields of an override are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverrideSpots {
    /// `spec.gateway`.
    pub gateway: Spot,
    /// `spec.until`, where there is one.
    pub until: Option<Spot>,
}

/// Reads `spec`.
pub(super) fn read(
    head: Head,
    spec: &Fields<'_, '_>,
    findings: &mut Findings<'_>,
) -> Option<(GatewayOverride, OverrideSpots)> {
    let gateway = "the gateway's IP address, as StaticRoutes name it";
    let gateway = spec.require("gateway", gateway, findings, unicast);
    let states = OverrideState::ALL.map(|state| (state.name(), state));
    let wanted = "`Drained` or `ForcedUp`";
    let state = spec.require("state", wanted, findings, |item| keyword(item, &states));
    let until = spec.read("until", findings, moment);
    let gateway = gateway?;
    let spots = OverrideSpots {
        gateway: findings.spot(gateway.span),
        until: until.as_ref().map(|until| findings.spot(until.span)),
    };
    let read = GatewayOverride {
        id: head.id,
        place: head.place,
        gateway: gateway.value,
        state: state?.value,
        until: until.map(|until| until.value),
    };
    Some((read, spots))
}

/// A moment in RFC 3339.
fn moment(item: &Item<'_, '_>) -> Result<Timestamp, Problem> {
    const WANTED: &str = "a moment such as `2026-11-21T18:00:00Z`";
    let Value::Text(text) = &item.node.value else {
        return Err(item.must_be(WANTED));
    };
    text.parse().map_err(|_| {
        let message = format!("`{item}` must be {WANTED}, not {}", quoted(text));
        Problem::new(message, format!("must be {WANTED}")).maybe_help(moment_help(text))
    })
}

fn moment_help(text: &str) -> Option<String> {
    let reads = |text: &str| text.parse::<Timestamp>().is_ok();
    let joined = text.replacen(' ', "T", 1);
    if reads(&joined) {
        return Some(did_you_mean(&joined));
    }
    let slips = [format!("{joined}Z"), format!("{joined}:00Z")];
    if let Some(meant) = slips.iter().find(|text| reads(text)) {
        return Some(format!(
            "say the time zone: `{meant}` is UTC, an offset such as `+01:00` is another one"
        ));
    }
    let midnight = format!("{text}T00:00:00Z");
    reads(&midnight).then(|| format!("say the time of day, too: `{midnight}`"))
}

/// Sorts overrides by gateway and takes out those that another one contradicts: two of one gateway,
/// or two with one name. Which one is meant, nobody can say.
pub fn take_ambiguous_overrides(overrides: &mut Vec<ValidOverride>) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let mut doubtful: BTreeSet<IpAddr> = BTreeSet::new();
    // Stable: of two, the first read stays first.
    overrides.sort_by(|a, b| a.gateway_override.id.cmp(&b.gateway_override.id));
    for same in overrides.chunk_by(|a, b| a.gateway_override.id == b.gateway_override.id) {
        let [first, others @ ..] = same else { continue };
        for other in others {
            let message = format!(
                "there are two gateway overrides named `{}`",
                other.gateway_override.id
            );
            let problem = Problem::new(message, "the name is taken")
                .related(first.name.clone(), "first used here")
                .help("give each override a name of its own");
            diagnostics.push(Diagnostic::at(Severity::Error, other.name.clone(), problem));
            doubtful.extend([first, other].map(|one| one.gateway_override.gateway));
        }
    }
    overrides.sort_by_key(|one| one.gateway_override.gateway);
    for same in overrides.chunk_by(|a, b| a.gateway_override.gateway == b.gateway_override.gateway)
    {
        let [first, others @ ..] = same else { continue };
        for other in others {
            let gateway = other.gateway_override.gateway;
            // Two of one name have been told already.
            if first.gateway_override.id == other.gateway_override.id {
                continue;
            }
            let message = format!("there are two overrides of the gateway {gateway}");
            let name = &first.gateway_override.id;
            let problem = Problem::new(message, "the gateway is overridden already")
                .related(first.spots.gateway.clone(), format!("by `{name}` here"))
                .help("keep one of them");
            let spot = other.spots.gateway.clone();
            diagnostics.push(Diagnostic::at(Severity::Error, spot, problem));
            doubtful.insert(gateway);
        }
    }
    overrides.retain(|one| !doubtful.contains(&one.gateway_override.gateway));
    diagnostics
}

/// What a person should know of overrides that change nothing: they have ended, or no document
/// names their gateway. Only of use where all documents are known.
pub fn idle_overrides(
    overrides: &[ValidOverride],
    documents: &[Document],
    now: Timestamp,
) -> Vec<Diagnostic> {
    let gateways = documents.iter().flat_map(Document::gateways);
    let named: BTreeSet<IpAddr> = gateways.map(|gateway| gateway.address).collect();
    let note = |spot: &Spot, problem| Diagnostic::at(Severity::Note, spot.clone(), problem);
    let mut notes = Vec::new();
    for ValidOverride {
        gateway_override,
        spots,
        ..
    } in overrides
    {
        let gateway = gateway_override.gateway;
        if let (false, Some(until)) = (gateway_override.is_in_force(now), &spots.until) {
            let message = format!("the override of the gateway {gateway} has ended");
            let problem = Problem::new(message, "in the past")
                .help("remove the document, or name a later moment");
            notes.push(note(until, problem));
        }
        if !named.contains(&gateway) {
            let message = format!("no document names the gateway {gateway}");
            let problem = Problem::new(message, "the override changes nothing");
            let problem = problem.maybe_help(other_gateways(gateway, &named));
            notes.push(note(&spots.gateway, problem));
        }
    }
    notes
}

/// Which gateways there are, where one is named that is not among them.
pub(crate) fn other_gateways(unknown: IpAddr, named: &BTreeSet<IpAddr>) -> Option<String> {
    let names: Vec<String> = named.iter().map(ToString::to_string).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    match names.as_slice() {
        [] => None,
        [only] => Some(format!("the only gateway is `{only}`")),
        few if few.len() <= NAMED => Some(format!("the gateways are {}", listed(few, "and"))),
        _ => nearest(&unknown.to_string(), names).map(did_you_mean),
    }
}
