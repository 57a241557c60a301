//! `srsync explain`: the way that a packet takes, and why.

use std::io;
use std::net::IpAddr;

use anyhow::Result;
use serde::Deserialize;

use super::client::{Client, ClientError, block_on};
use super::output::{stderr, stdout};
use super::session::Session;
use super::status::ask;
use super::{Exit, UsageError, documents};
use crate::cli::{ExplainArgs, Global};
use crate::explain::{Explanation, HopView, Known, walk};
use crate::kernel::{Interest, Kernel, Neighbour, Neighbours, NextHops, Tables};
use crate::model::egress::NatTable;
use crate::model::{Family, Packet};
use crate::plan;
use crate::source::Loaded;
use crate::spec::Severity;

pub(super) fn run(global: &Global, args: &ExplainArgs) -> Result<Exit> {
    let session = Session::start(global)?;
    let packet = packet(args)?;
    let loaded = load(&session, args)?;
    let nothing = Loaded::default();
    let documents = loaded.as_ref().unwrap_or(&nothing);
    let steering = documents::steering(documents);
    let inputs = session.inputs(documents, &steering);
    let (_, lookups) = plan::interest(&inputs);
    let mut kernel = Kernel::open()?;
    let mut observed = kernel.observe(&Interest {
        nexthops: NextHops::Welcome,
        protocol: session.policy().protocol,
        tables: Tables::All,
        lookups,
    })?;
    observed.egress.rules = kernel.rules()?;
    observed.egress.nat = kernel.nat(&NatTable::of(session.policy().protocol))?;
    let rules = &observed.egress.rules;
    let iif = match &packet.iif {
        None => None,
        Some(name) => {
            let link = observed.link_named(name.as_str());
            let unknown = || UsageError(format!("--iif: this node has no interface {name}"));
            Some(link.ok_or_else(unknown)?.index)
        }
    };
    let way = kernel.way(&packet, iif)?;
    let plan = loaded.as_ref().map(|_| plan::plan(&inputs, &observed));
    let walk = walk(&packet, rules, &observed);
    let known = Known {
        inputs: &inputs,
        plan: plan.as_ref(),
        egress: &documents.egress,
    };
    let mut explanation = Explanation::of((&packet, &walk), &way, &observed, known);
    look_at_hops(&session, explanation.next_hops())?;
    match session.form.is_data() {
        true => session.form.data(&explanation)?,
        false => stdout(|out| Ok(write!(out, "{explanation}")?))?,
    }
    Ok(Exit::Done)
}

fn packet(args: &ExplainArgs) -> Result<Packet> {
    let family = Family::of(&args.address);
    if args.from.is_some_and(|from| Family::of(&from) != family) {
        let message = "--from: it must be of the family of ADDRESS";
        return Err(UsageError(message.to_owned()).into());
    }
    Ok(Packet {
        to: args.address,
        from: args.from,
        mark: args.mark,
        iif: args.iif.clone(),
    })
}

/// The documents, if there are any to read. Here mistakes in them are no obstacle: the valid ones are looked at.
fn load(session: &Session, args: &ExplainArgs) -> Result<Option<Loaded>> {
    if !session.has_paths(&args.paths) {
        return Ok(None);
    }
    let loaded = documents::read(session, &args.paths)?;
    let colour = session.form.colour(&io::stderr());
    let diagnostics = &loaded.diagnostics;
    let text = documents::rendered(diagnostics, &loaded.files, Severity::Error, colour);
    stderr(&text);
    Ok(Some(loaded))
}

/// Adds what neighbour tables and a running daemon know of each next hop.
fn look_at_hops(session: &Session, hops: &mut [HopView]) -> Result<()> {
    if hops.is_empty() {
        return Ok(());
    }
    let mut neighbours = Neighbours::open()?;
    let watched = watched(session)?;
    for hop in hops {
        let state = neighbours.state(hop.address, hop.link)?;
        hop.neighbour = Some(words(state));
        let is_it = |gateway: &&Gateway| {
            let interface = gateway.interface.as_ref();
            hop.gateway
                && gateway.address == hop.address
                && interface.is_none_or(|name| *name == hop.interface)
        };
        hop.health = watched.iter().find(is_it).map(Gateway::words);
    }
    Ok(())
}

fn words(state: Neighbour) -> &'static str {
    match state {
        Neighbour::Fixed => "no neighbour that could be asked",
        Neighbour::Reachable => "neighbour reachable",
        Neighbour::Stale => "neighbour stale: seen some time ago",
        Neighbour::Asked => "neighbour is being asked",
        Neighbour::Missing => "neighbour unknown: it did not answer, or was never asked",
    }
}

/// A gateway, as the running daemon lists it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Gateway {
    address: IpAddr,
    interface: Option<String>,
    health: String,
    cause: Option<String>,
    by_hand: Option<String>,
}

#[derive(Deserialize)]
struct Gateways {
    gateways: Vec<Gateway>,
}

impl Gateway {
    fn words(&self) -> String {
        let mut words = format!("the daemon says {}", self.health);
        for more in [&self.cause, &self.by_hand].into_iter().flatten() {
            words += &format!(" ({more})");
        }
        words
    }
}

/// The gateways that a running daemon watches; none, if there is no daemon.
fn watched(session: &Session) -> Result<Vec<Gateway>> {
    let client = Client::new(&session.settings().socket);
    match block_on(async { Ok(ask(&client, "/gateways?output=json").await) })? {
        Ok(text) => Ok(serde_json::from_str::<Gateways>(&text)?.gateways),
        Err(ClientError::NoDaemon(_)) => Ok(Vec::new()),
        Err(error) => {
            stderr(&format!(
                "note: {error}; the health of gateways is not known\n"
            ));
            Ok(Vec::new())
        }
    }
}
