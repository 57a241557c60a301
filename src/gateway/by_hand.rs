//! Which gateways may be used where nobody watches them but somebody decided about some: what
//! `apply` makes of gateway overrides. A function of documents and time alone.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::model::document::{Gateways, Mode};
use crate::model::{
    Document, Family, FileName, Gateway, GatewayOverride, OverrideState, Place, Steer, Steering,
    Timestamp,
};

/// The gateways that may be used, of documents with a drained one; of any other document each may.
///
/// That a gateway is forced up changes nothing here: without probes each counts as healthy.
pub fn by_hand(
    documents: &[Document],
    overrides: &[GatewayOverride],
    files: &[FileName],
    now: Timestamp,
) -> Steering {
    let counts =
        |one: &&GatewayOverride| one.state == OverrideState::Drained && one.is_in_force(now);
    let drained: BTreeMap<IpAddr, Place> = overrides
        .iter()
        .filter(counts)
        .map(|one| (one.gateway, one.place))
        .collect();
    let mut steering = Steering::default();
    for document in documents {
        let Some(gateways) = document.choice() else {
            continue;
        };
        for family in Family::BOTH {
            if let Some(steer) = steer(gateways, family, &drained, files) {
                steering.set(document.id.clone(), family, steer);
            }
        }
    }
    steering
}

/// The gateways of one family; `None` where none is drained.
fn steer(
    gateways: &Gateways,
    family: Family,
    drained: &BTreeMap<IpAddr, Place>,
    files: &[FileName],
) -> Option<Steer> {
    let list = gateways.list.iter().enumerate();
    let list = list.filter(|(_, gateway)| Family::of(&gateway.address) == family);
    let drain = |address: IpAddr| drained.get(&address);
    let (leaving, staying): (Vec<_>, Vec<_>) =
        list.partition(|(_, gateway)| drain(gateway.address).is_some());
    if leaving.is_empty() {
        return None;
    }
    let all_drained = staying.is_empty();
    let mut candidates: Vec<usize> = staying.into_iter().map(|(index, _)| index).collect();
    // A gateway that is drained but can be used is better than none.
    if all_drained || gateways.mode == Mode::Failover {
        candidates.extend(leaving.iter().map(|(index, _)| *index));
    }
    let last_resort = match gateways.mode {
        Mode::Failover => ", and used only where no other can be",
        Mode::Ecmp => "",
    };
    let why = |(index, gateway): &(usize, &Gateway)| {
        let place = shown(*drain(gateway.address)?, files);
        let address = gateway.address;
        let why = format!("gateway {address} is drained ({place}){last_resort}");
        Some((*index, why))
    };
    let down = match all_drained {
        true => BTreeMap::new(),
        false => leaving.iter().filter_map(why).collect(),
    };
    Some(Steer {
        candidates,
        down,
        ..Steer::default()
    })
}

/// `overrides.yaml:3`.
fn shown(place: Place, files: &[FileName]) -> String {
    let file = files.get(place.file.0 as usize);
    let file = file.map_or("?", |file| &file.label);
    format!("{file}:{}", place.line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::document::OnAllDown;
    use crate::model::{Dialect, DocumentId, FileId, Target, Weight};

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    fn id(name: &str) -> DocumentId {
        DocumentId {
            name: name.to_owned(),
            namespace: None,
            dialect: Dialect::Native,
        }
    }

    fn place(line: u32) -> Place {
        Place {
            file: FileId(0),
            line,
        }
    }

    fn document(mode: Mode, addresses: &[&str]) -> Document {
        let gateway = |address: &&str| Gateway {
            address: address.parse().unwrap(),
            interface: None,
            weight: Weight::ONE,
            on_link: false,
            check: None,
        };
        let gateways = Gateways {
            list: addresses.iter().map(gateway).collect(),
            mode,
            on_all_down: OnAllDown::Keep,
            resilient: false,
            witness: Vec::new(),
            preempt: true,
        };
        let target = Target::Gateways(gateways);
        Document::new(id("a"), place(1), Vec::new(), target)
    }

    fn drain(gateway: &str, until: Option<u64>) -> GatewayOverride {
        GatewayOverride {
            id: id("drain"),
            place: place(3),
            gateway: gateway.parse().unwrap(),
            state: OverrideState::Drained,
            until: until.map(Timestamp::from_millis),
        }
    }

    /// Candidates of IPv4, and who is down.
    fn steered(
        document: &Document,
        overrides: &[GatewayOverride],
    ) -> Option<(Vec<usize>, Vec<usize>)> {
        let file = FileName {
            path: "dir/overrides.yaml".into(),
            label: "overrides.yaml".into(),
        };
        let steering = by_hand(std::slice::from_ref(document), overrides, &[file], NOW);
        let steer = steering.of(&document.id, Family::V4)?;
        for why in steer.down.values() {
            assert!(why.contains(" is drained (overrides.yaml:3)"), "{why}");
        }
        Some((
            steer.candidates.clone(),
            steer.down.keys().copied().collect(),
        ))
    }

    #[test]
    fn a_drained_gateway_is_the_last_resort_of_failover() {
        let three = document(Mode::Failover, &["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
        let first = steered(&three, &[drain("10.0.0.1", None)]);
        assert_eq!(first, Some((vec![1, 2, 0], vec![0])));
        let both = [drain("10.0.0.1", None), drain("10.0.0.3", None)];
        assert_eq!(steered(&three, &both), Some((vec![1, 0, 2], vec![0, 2])));
        assert_eq!(steered(&three, &[drain("10.0.0.9", None)]), None);
    }

    #[test]
    fn ecmp_does_without_drained_gateways_unless_all_are() {
        let two = document(Mode::Ecmp, &["10.0.0.1", "10.0.0.2"]);
        let first = drain("10.0.0.1", None);
        let second = drain("10.0.0.2", None);
        let one = steered(&two, std::slice::from_ref(&first));
        assert_eq!(one, Some((vec![1], vec![0])));
        assert_eq!(steered(&two, &[first, second]), Some((vec![0, 1], vec![])));
    }

    #[test]
    fn an_override_that_has_ended_is_as_if_it_were_not_there() {
        let two = document(Mode::Failover, &["10.0.0.1", "10.0.0.2"]);
        assert_eq!(steered(&two, &[drain("10.0.0.1", Some(1_000))]), None);
        let lasting = steered(&two, &[drain("10.0.0.1", Some(1_001))]);
        assert_eq!(lasting, Some((vec![1, 0], vec![0])));
    }

    #[test]
    fn families_do_not_stand_in_for_each_other_and_forcing_up_changes_nothing() {
        let mixed = document(Mode::Failover, &["fe80::1", "10.0.0.1"]);
        let drained = steered(&mixed, &[drain("10.0.0.1", None)]);
        assert_eq!(drained, Some((vec![1], vec![])));
        let forced = GatewayOverride {
            state: OverrideState::ForcedUp,
            ..drain("10.0.0.1", None)
        };
        assert_eq!(steered(&mixed, &[forced]), None);
    }
}
