//! Whatever rules are asked for are there, and read back as they were.

use std::net::IpAddr;
use std::ops::Range;

use proptest::prelude::*;
use srsync::kernel::Kernel;
use srsync::model::egress::{NatRule, Translation};
use srsync::model::{Family, InterfaceName, Prefix};

use super::nat::{set_and_read_back, uncounted};
use crate::support::in_namespace;

/// Addresses of a family, sorted, and none inside another; with a taste for neighbours and for the ends of the space.
fn prefixes(family: Family, count: Range<usize>) -> impl Strategy<Value = Vec<Prefix>> {
    let near = (0..16u8, 0..=family.bits()).prop_map(|(n, length)| (u128::from(n), length));
    let far = (any::<u128>(), 1..=family.bits());
    let ends = (Just(u128::MAX), 1..=family.bits());
    let one = prop_oneof![near, far, ends].prop_map(move |(address, length)| {
        let address = match family {
            Family::V4 => IpAddr::from((address as u32).to_be_bytes()),
            Family::V6 => IpAddr::from(address.to_be_bytes()),
        };
        Prefix::containing(address, length).unwrap()
    });
    proptest::collection::vec(one, count).prop_map(|mut prefixes| {
        prefixes.sort();
        let mut disjoint: Vec<Prefix> = Vec::new();
        for prefix in prefixes {
            if !disjoint.last().is_some_and(|last| last.covers(&prefix)) {
                disjoint.push(prefix);
            }
        }
        disjoint
    })
}

fn any_rule() -> impl Strategy<Value = NatRule> {
    proptest::sample::select(&Family::BOTH[..]).prop_flat_map(|family| {
        let to = match family {
            Family::V4 => any::<[u8; 4]>().prop_map(IpAddr::from).boxed(),
            Family::V6 => any::<[u8; 16]>().prop_map(IpAddr::from).boxed(),
        };
        let translation = proptest::option::of(to.prop_map(Translation::To));
        let parts = (
            "[a-zé/.-]{1,60}",
            prefixes(family, 1..6),
            prefixes(family, 0..6),
            prefixes(family, 0..6),
            proptest::collection::btree_set("[a-z0-9.*_-]{3,15}", 0..4),
            translation,
        );
        parts.prop_map(
            move |(name, sources, destinations, except, interfaces, translation)| {
                let anywhere = destinations == [Prefix::everything(family)];
                let interfaces = interfaces
                    .iter()
                    .filter_map(|name| InterfaceName::new(name));
                NatRule {
                    name,
                    family,
                    sources,
                    destinations: if anywhere { Vec::new() } else { destinations },
                    except,
                    out_interfaces: interfaces.collect(),
                    translation: translation.unwrap_or(Translation::Masquerade),
                }
            },
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever is asked for: that is what is there afterwards, in that order.
    #[test]
    fn rules_of_any_kind_read_back_as_what_was_set(rules in proptest::collection::vec(any_rule(), 1..6)) {
        in_namespace(|| set_and_read_back(&mut Kernel::open().unwrap(), uncounted(rules)));
    }
}
