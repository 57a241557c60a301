//! `Masquerade` of `srsync.dev/v1alpha1`: packets that leave with an address of this node.

use std::net::IpAddr;

use super::diagnostic::Problem;
use super::egress::Notes;
use super::fields::{At, Fields, Item};
use super::findings::Findings;
use super::lists::{Prefixes, report_empty, report_twice};
use super::values::{destination, interface, prefix, unicast};
use crate::model::egress::Masquerade;
use crate::model::{Family, InterfaceName, Prefix, PrefixSet};

/// The fields of `spec`.
pub const SPEC_FIELDS: &[&str] = &[
    "sources",
    "destinations",
    "exceptDestinations",
    "outInterfaces",
    "snatTo",
    "nodeSelector",
];

/// Reads `spec`.
pub(super) fn read(
    spec: &Fields<'_, '_>,
    notes: &mut Notes,
    findings: &mut Findings<'_>,
) -> Masquerade {
    let sources = Prefixes::read((spec, "sources"), "source", source, notes, findings);
    let named = "destinations";
    let destinations = Prefixes::read((spec, named), "destination", destination, notes, findings);
    let named = "exceptDestinations";
    let except = Prefixes::read((spec, named), "exception", prefix, notes, findings);
    let out_interfaces = out_interfaces(spec, findings);
    let snat_to = spec.read("snatTo", findings, unicast);

    let wanted = "a list of addresses and prefixes, whose packets are translated";
    let nobody = "an empty list translates nothing: remove the document instead";
    let anywhere = "without `destinations` all of them are meant";
    if !spec.has("sources") {
        spec.report_missing("sources", wanted, findings);
    }
    report_empty(spec, "sources", nobody, findings);
    report_empty(spec, "destinations", anywhere, findings);
    if !sources.list.is_empty() && sources.complete && destinations.complete {
        match_families(&sources, &destinations, findings);
        check_exceptions(&sources, &destinations, &except, findings);
    }
    if let Some(address) = snat_to {
        check_snat(address, &sources, findings);
    }
    let anywhere = destinations.list.is_empty() && out_interfaces.is_empty();
    note_everything(&sources, anywhere, notes, findings);
    Masquerade {
        sources: sources.list,
        destinations: destinations.list,
        except: except.list,
        out_interfaces,
        snat_to: snat_to.map(|at| at.value),
    }
}

/// Whose packets are meant.
fn source(item: &Item<'_, '_>) -> Result<Prefix, Problem> {
    let source = prefix(item)?;
    if source.address().is_multicast() {
        let message = format!("no packet comes from {source}: it is multicast");
        return Err(Problem::new(message, "multicast").help("name the addresses that send"));
    }
    let everything = Prefix::everything(source.family());
    if source.address().is_unspecified() && source.length() == source.family().bits() {
        let message = format!("no packet comes from {source}, the unspecified address");
        let help = format!("for every source write `{everything}`");
        return Err(Problem::new(message, "nobody has this address").help(help));
    }
    Ok(source)
}

fn out_interfaces(spec: &Fields<'_, '_>, findings: &mut Findings<'_>) -> Vec<InterfaceName> {
    let any = "without `outInterfaces` all of them are meant";
    report_empty(spec, "outInterfaces", any, findings);
    let read = spec.read_list("outInterfaces", findings, interface);
    report_twice(&read, findings);
    let patterns = read
        .iter()
        .filter(|at| at.value.as_str().ends_with(['*', '+']));
    for At { value, span } in patterns {
        let message = format!("`{value}` is taken for the name of one interface");
        let problem = Problem::new(message, "no pattern").help("name each interface");
        findings.warning(*span, problem);
    }
    let mut names: Vec<InterfaceName> = read.into_iter().map(|at| at.value).collect();
    names.sort();
    names
}

/// A source that no destination is for would never be translated, and the other way round.
fn match_families(sources: &Prefixes, destinations: &Prefixes, findings: &mut Findings<'_>) {
    if destinations.list.is_empty() {
        return;
    }
    let lonely = |these: &Prefixes, those: &Prefixes| {
        let mut families = Family::BOTH.into_iter();
        let family = families.find(|family| those.first(*family).is_none());
        family.and_then(|family| these.first(family))
    };
    // Where both are so, it is one mistake.
    if let Some(At { value, span }) = lonely(sources, destinations) {
        let family = value.family();
        let message = format!("the source {value} is {family}, but no destination is");
        let help = format!(
            "add the {family} destinations, or remove the {family} sources; without `destinations` all are meant"
        );
        findings.error(span, Problem::new(message, "never translated").help(help));
    } else if let Some(At { value, span }) = lonely(destinations, sources) {
        let family = value.family();
        let message = format!("the destination {value} is {family}, but no source is");
        let help = format!("add the {family} sources, or remove the {family} destinations");
        let problem = Problem::new(message, "nothing is translated on the way there");
        findings.error(span, problem.help(help));
    }
}

/// What is excepted has to be a part of what is meant, and not all of it.
fn check_exceptions(
    sources: &Prefixes,
    destinations: &Prefixes,
    except: &Prefixes,
    findings: &mut Findings<'_>,
) {
    for family in Family::BOTH {
        let everything = Prefix::everything(family);
        let meant = match destinations.list.is_empty() {
            true if sources.first(family).is_some() => PrefixSet::from_iter([&everything]),
            _ => destinations.set(family),
        };
        let written = except.written.iter();
        for hole in written.filter(|hole| hole.value.family() == family) {
            if !meant.overlaps(&hole.value) {
                let message = match destinations.list.is_empty() {
                    true => format!(
                        "no source is {family}, so that {} is no exception",
                        hole.value
                    ),
                    false => format!("{} is in none of the destinations", hole.value),
                };
                let spot = findings.spot(hole.span);
                findings.note_at(spot, Problem::new(message, "nothing to take out"));
            }
        }
        let nothing_left = !meant.is_empty() && meant.minus(&except.set(family)).is_empty();
        if let (true, Some(hole)) = (nothing_left, except.first(family)) {
            let message = format!("`exceptDestinations` takes out every {family} destination");
            let problem = Problem::new(message, "nothing is left").help(format!(
                "remove the {family} sources, or a prefix from here"
            ));
            findings.error(hole.span, problem);
        }
    }
}

/// An address can only be put in the place of one of its own family.
fn check_snat(address: At<IpAddr>, sources: &Prefixes, findings: &mut Findings<'_>) {
    let At { value, span } = address;
    let family = Family::of(&value);
    let mut others = Family::BOTH.into_iter().filter(|other| *other != family);
    let Some(other) = others.find_map(|other| sources.first(other)) else {
        return;
    };
    let message = format!(
        "`snatTo` {value} is {family}, but the source {} is not",
        other.value
    );
    let help = match sources.first(family) {
        Some(_) => "write one document for each family".to_owned(),
        None => format!("give an {} address", other.value.family()),
    };
    let problem = Problem::new(message, format!("an {family} address"))
        .related(findings.spot(other.span), format!("not an {family} source"))
        .help(help);
    findings.error(span, problem);
}

/// Who means all sources means more than forwarded packets of others.
fn note_everything(
    sources: &Prefixes,
    anywhere: bool,
    notes: &mut Notes,
    findings: &mut Findings<'_>,
) {
    let everything = sources.written.iter().filter(|at| at.value.length() == 0);
    for At { value, span } in everything {
        let message = match anywhere {
            true => format!(
                "the source {value} is everybody: also this node's own connections, and those that come in \
                 through it, so that nobody behind it sees who is asking"
            ),
            false => format!("the source {value} is everybody: also this node's own connections"),
        };
        let problem = Problem::new(message, "everybody's packets").maybe_help(
            anywhere.then(|| "name the sources, or the uplinks with `outInterfaces`".to_owned()),
        );
        notes.add(*span, problem, findings);
    }
}
