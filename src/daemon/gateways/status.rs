//! What is shown of the gateways that are watched. Reads what [`Gateways`] remembers; decides
//! nothing and remembers nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use super::words::probes;
use super::{Gateways, Subject, Watched, Wills, is_watched, listed, witnessed};
use crate::gateway::{Carry, Condition, Via, Will, Witnesses};
use crate::model::{Document, Family, IfIndex, State, TableId, Timestamp};
use crate::plan::Inputs;
use crate::report::{GatewayHealth, GatewayStatus, GatewayWill, Published};

/// Documents, by their place in a list, that want a gateway watched in the same way.
type Wanting = BTreeMap<Watched, Vec<usize>>;
/// How many routes of a document lead to an address, by a link.
type Led = BTreeMap<(usize, IpAddr, Option<IfIndex>), usize>;

impl Gateways {
    /// Whether this node reaches none of the witnesses of a document.
    pub(in crate::daemon) fn isolated(&self) -> bool {
        self.known.witnesses.values().any(Witnesses::isolated)
    }

    /// How each gateway is, by what documents want now and what the last complete pass left.
    pub(in crate::daemon) fn status(
        &self,
        inputs: &Inputs<'_>,
        published: &Published,
        (time, now): (Timestamp, Instant),
    ) -> Vec<GatewayStatus> {
        if self.known.gateways.is_empty() {
            return Vec::new();
        }
        let wanting = wanting(inputs.documents, inputs.policy.table, &self.wills);
        let routes = routes(published, &self.wills);
        let ago = |since: Instant| {
            let ago = now.saturating_duration_since(since).as_millis();
            let ago = u64::try_from(ago).unwrap_or(u64::MAX);
            Timestamp::from_millis(time.millis().saturating_sub(ago))
        };
        let status = |(watched, subject): (&Watched, &Subject)| {
            let health = &subject.health;
            let (word, since, cause) = match health.condition() {
                Condition::Unproven => (GatewayHealth::Unproven, None, None),
                Condition::Up { since } => (GatewayHealth::Up, Some(ago(since)), None),
                Condition::Down { since, cause } => (
                    GatewayHealth::Down,
                    Some(ago(since)),
                    Some(cause.to_string()),
                ),
            };
            let documents = wanting.get(watched).into_iter().flatten();
            let documents = documents.filter_map(|index| inputs.documents.get(*index));
            let check = watched.check.as_ref();
            let target = watched.target(subject);
            let record = target.and_then(|target| self.records.get(&target));
            let will = self.wills.get(&watched.address).copied();
            GatewayStatus {
                gateway: watched.via().to_string(),
                address: watched.address,
                interface: watched.interface.as_ref().map(ToString::to_string),
                health: word,
                since,
                cause,
                probes: check.map(|check| probes(check, watched.address)),
                probing: record.map(|record| record.probing()),
                record: record.cloned(),
                carries: documents
                    .clone()
                    .any(|document| self.carries(watched, document)),
                routes: routes.get(watched).copied().unwrap_or(0),
                flaps: health.flaps(),
                hold_down: health.damped_hold_down(),
                will: word_for(will.unwrap_or_default()),
                by_hand: None,
                documents: documents
                    .filter(|document| self.decides(watched, document).is_some())
                    .map(|document| document.id.to_string())
                    .collect(),
            }
        };
        self.known.gateways.iter().map(status).collect()
    }

    /// What was decided for a document; nothing where it is not for this node.
    fn decides(&self, watched: &Watched, document: &Document) -> Option<&Carry<Via>> {
        let key = (document.id.clone(), Family::of(&watched.address));
        self.known.deciders.get(&key)?.carrying()
    }

    fn carries(&self, watched: &Watched, document: &Document) -> bool {
        let carry = self.decides(watched, document);
        let carrying = carry.map_or(&[][..], Carry::gateways);
        carrying.iter().any(|via| via.is(&watched.via()))
    }
}

fn word_for(will: Will) -> GatewayWill {
    match will {
        Will::Auto => GatewayWill::Auto,
        Will::Drained => GatewayWill::Drained,
        Will::ForcedUp => GatewayWill::ForcedUp,
    }
}

fn wanting(documents: &[Document], table: TableId, wills: &Wills) -> Wanting {
    let mut wanting = Wanting::new();
    for (index, document) in documents.iter().enumerate() {
        let Some(listed) = listed(document).filter(|_| is_watched(document, wills)) else {
            continue;
        };
        let witnessed = witnessed(listed);
        for gateway in &listed.list {
            let watched = Watched::of(document, gateway, table, witnessed.as_ref());
            wanting.entry(watched).or_default().push(index);
        }
    }
    wanting
}

/// How many routes that are in place lead to each gateway.
fn routes(published: &Published, wills: &Wills) -> BTreeMap<Watched, usize> {
    let wanting = wanting(&published.documents, published.policy.table, wills);
    let led = led(published, wills);
    let count = |(watched, documents): (Watched, Vec<usize>)| {
        let here = |link: &Option<IfIndex>| match &watched.interface {
            Some(name) => {
                let mut links = published.pass.links.iter();
                links.any(|known| Some(known.index) == *link && known.name == name.as_str())
            }
            None => true,
        };
        let of = |document: &usize| {
            let all = (*document, watched.address, None)
                ..=(*document, watched.address, Some(IfIndex::new(u32::MAX)));
            let led = led.range(all).filter(|((.., link), _)| here(link));
            led.map(|(_, routes)| routes).sum::<usize>()
        };
        let routes = documents.iter().map(of).sum();
        (watched, routes)
    };
    wanting.into_iter().map(count).collect()
}

/// A hundred thousand routes in a row of one document lead to the same hops: they are counted
/// first, and looked up once.
fn led(published: &Published, wills: &Wills) -> Led {
    let mut led = Led::new();
    let watched = published.documents.iter();
    let watched = watched
        .map(|document| is_watched(document, wills))
        .collect::<Vec<_>>();
    published.report(None, |report| {
        let rows = report.rows().filter_map(|view| {
            let document = view.row.claim.as_ref()?.document as usize;
            let counts = view.state == Some(State::Installed)
                && watched.get(document).copied().unwrap_or(false);
            Some((document, view.attrs.filter(|_| counts)?))
        });
        let mut rows = rows.peekable();
        while let Some((document, attrs)) = rows.next() {
            let mut alike = 1;
            while rows
                .next_if(|(other, same)| *other == document && std::ptr::eq(*same, attrs))
                .is_some()
            {
                alike += 1;
            }
            for hop in attrs.hops() {
                if let Some(via) = hop.via {
                    *led.entry((document, via, hop.link)).or_default() += alike;
                }
            }
        }
    });
    led
}
