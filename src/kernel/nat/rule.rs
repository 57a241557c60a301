//! Rules of the model as expressions, and back. Pure.
//!
//! A rule is ours if saying it again comes to just these expressions: there is one way to write it, and no second set of
//! conditions for reading.

use super::super::wire::address;
use super::expr::{Expr, Meta, nfproto};
use super::fields::octets;
use super::set::{Set, padded, unpadded};
use crate::model::egress::{Counters, NatRule, Translation};
use crate::model::{Family, InterfaceName, Prefix};

/// An address of the IP header.
#[derive(Debug, Clone, Copy)]
enum Field {
    Source,
    Destination,
}

impl Field {
    /// Where it is: `struct iphdr`, `struct ipv6hdr`.
    fn load(self, family: Family) -> Expr {
        let offset = match (family, self) {
            (Family::V4, Self::Source) => 12,
            (Family::V4, Self::Destination) => 16,
            (Family::V6, Self::Source) => 8,
            (Family::V6, Self::Destination) => 24,
        };
        let length = u32::from(family.bits() / 8);
        Expr::Payload { offset, length }
    }
}

/// What a rule is made of.
pub(super) fn expressions(rule: &NatRule, counters: Counters) -> Vec<Expr> {
    let family = rule.family;
    let mut list = vec![
        Expr::Meta(Meta::Family),
        Expr::Compare {
            negated: false,
            value: vec![nfproto(family)],
        },
    ];
    let mut condition = |field: Field, negated: bool, prefixes: &[Prefix]| {
        let everywhere = prefixes.iter().any(|prefix| prefix.length() == 0);
        if prefixes.is_empty() || everywhere && !negated {
            return;
        }
        list.push(field.load(family));
        match prefixes {
            [prefix] if !everywhere => list.extend(comparison(*prefix, negated)),
            _ => list.push(Expr::Lookup {
                negated,
                set: Set::of_prefixes(family, prefixes),
            }),
        }
    };
    condition(Field::Source, false, &rule.sources);
    condition(Field::Destination, false, &rule.destinations);
    condition(Field::Destination, true, &rule.except);
    if !rule.out_interfaces.is_empty() {
        list.push(Expr::Meta(Meta::OutInterface));
        list.push(out_of(&rule.out_interfaces));
    }
    list.push(Expr::Counter(counters));
    match rule.translation {
        Translation::Masquerade => list.push(Expr::Masquerade),
        Translation::To(address) => {
            list.push(Expr::Immediate(octets(address)));
            list.push(Expr::Snat(Family::of(&address)));
        }
    }
    list
}

/// Whether the loaded address lies in a prefix.
fn comparison(prefix: Prefix, negated: bool) -> impl Iterator<Item = Expr> {
    let value = octets(prefix.address());
    let host = prefix.length() == prefix.family().bits();
    let mask = (!host).then(|| Expr::Mask(mask(prefix)));
    mask.into_iter().chain([Expr::Compare { negated, value }])
}

fn mask(prefix: Prefix) -> Vec<u8> {
    let bytes = 0..prefix.family().bits() / 8;
    let byte = |n: u8| match prefix.length().saturating_sub(n * 8) {
        0 => 0,
        ones => 0xff << 8u8.saturating_sub(ones),
    };
    bytes.map(byte).collect()
}

fn out_of(interfaces: &[InterfaceName]) -> Expr {
    let negated = false;
    match interfaces {
        [interface] => Expr::Compare {
            negated,
            value: padded(interface),
        },
        _ => Expr::Lookup {
            negated,
            set: Set::of_interfaces(interfaces),
        },
    }
}

/// The rule that has just these expressions, if there is one, and what it counted.
pub(super) fn recognise(name: String, list: &[Expr]) -> Option<(NatRule, Counters)> {
    let [
        Expr::Meta(Meta::Family),
        Expr::Compare { value, .. },
        rest @ ..,
    ] = list
    else {
        return None;
    };
    let family = Family::BOTH
        .into_iter()
        .find(|f| [nfproto(*f)] == value[..])?;
    let mut rest = rest;
    let mut taken = |field, negated| take_prefixes(&mut rest, family, field, negated);
    let sources = taken(Field::Source, false);
    let destinations = taken(Field::Destination, false);
    let except = taken(Field::Destination, true);
    let out_interfaces = take_interfaces(&mut rest);
    let (counters, translation) = match rest {
        [Expr::Counter(counters), Expr::Masquerade] => (*counters, Translation::Masquerade),
        [Expr::Counter(counters), Expr::Immediate(to), Expr::Snat(_)] => {
            (*counters, Translation::To(address(to).ok()?))
        }
        _ => return None,
    };
    let rule = NatRule {
        name,
        family,
        sources: sources.unwrap_or_else(|| vec![Prefix::everything(family)]),
        destinations: destinations.unwrap_or_default(),
        except: except.unwrap_or_default(),
        out_interfaces: out_interfaces.unwrap_or_default(),
        translation,
    };
    (expressions(&rule, counters) == list).then_some((rule, counters))
}

/// Takes the condition on an address from the front, if it is there.
fn take_prefixes(
    list: &mut &[Expr],
    family: Family,
    field: Field,
    is_negated: bool,
) -> Option<Vec<Prefix>> {
    let (load, rest) = list.split_first()?;
    if *load != field.load(family) {
        return None;
    }
    let (negated, prefixes, rest) = match rest {
        [Expr::Lookup { negated, set }, rest @ ..] => (*negated, set.prefixes()?, rest),
        [
            Expr::Mask(mask),
            Expr::Compare { negated, value },
            rest @ ..,
        ] => {
            let ones: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
            (*negated, vec![prefix(value, ones as u8)?], rest)
        }
        [Expr::Compare { negated, value }, rest @ ..] => {
            (*negated, vec![prefix(value, family.bits())?], rest)
        }
        _ => return None,
    };
    if negated != is_negated {
        return None;
    }
    *list = rest;
    Some(prefixes)
}

fn prefix(value: &[u8], length: u8) -> Option<Prefix> {
    Prefix::containing(address(value).ok()?, length)
}

/// Takes the condition on the interface from the front, if it is there.
fn take_interfaces(list: &mut &[Expr]) -> Option<Vec<InterfaceName>> {
    let (names, rest) = match list {
        [
            Expr::Meta(Meta::OutInterface),
            Expr::Compare { value, .. },
            rest @ ..,
        ] => (vec![unpadded(value)?], rest),
        [
            Expr::Meta(Meta::OutInterface),
            Expr::Lookup { set, .. },
            rest @ ..,
        ] => (set.interfaces()?, rest),
        _ => return None,
    };
    *list = rest;
    Some(names)
}
