//! Anonymous constant sets, which is how several prefixes or interfaces are in one rule.
//!
//! Owns what is in them: prefixes are intervals, each with its first address and the first one behind it. Must not know
//! which rule has them.

use std::ops::Range;

use nix::libc;

use super::super::wire::{Malformed, Writer, attributes};
use super::fields::{Fields, number, octets_at};
use crate::model::{Family, InterfaceName, Prefix};

/// `struct ifreq` has names of so many bytes (`IFNAMSIZ`, net/if.h).
const INTERFACE_BYTES: usize = 16;

// linux/netfilter/nf_tables.h: enum nft_set_elem_list_attributes, nft_list_attributes, nft_set_elem_attributes,
// nft_data_attributes.
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_FLAGS: u16 = 3;
const NFTA_SET_ELEM_USERDATA: u16 = 6;
pub(super) const NFTA_DATA_VALUE: u16 = 1;

/// The list of one message is an attribute, whose length has 16 bits.
const ELEMENTS_PER_MESSAGE: usize = 1000;

/// What the last interval of a set has, if nothing is behind it: a flag for `nft`, which shows no such interval
/// without it (`NFTNL_UDATA_SET_ELEM_FLAGS`, libnftnl/udata.h; `SET_ELEM_F_INTERVAL_OPEN`, nftables rule.h).
const OPEN_INTERVAL: [u8; 6] = [1, 4, 1, 0, 0, 0];

/// What a set is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SetKind {
    Prefixes(Family),
    Interfaces,
}

impl SetKind {
    const ALL: [Self; 3] = [
        Self::Prefixes(Family::V4),
        Self::Prefixes(Family::V6),
        Self::Interfaces,
    ];

    /// The number by which `nft` knows how to show it (enum datatypes, nftables datatype.h); nothing to the kernel.
    pub(super) fn data_type(self) -> u32 {
        match self {
            Self::Prefixes(Family::V4) => 7,
            Self::Prefixes(Family::V6) => 8,
            Self::Interfaces => 41,
        }
    }

    /// Bytes of a key.
    pub(super) fn key_length(self) -> u32 {
        match self {
            Self::Prefixes(family) => u32::from(family.bits() / 8),
            Self::Interfaces => INTERFACE_BYTES as u32,
        }
    }

    /// What `nft` wants to be told for showing it: that names are in the machine's byte order, which addresses are not
    /// (`NFTNL_UDATA_SET_KEYBYTEORDER`, libnftnl/udata.h; enum byteorder, nftables datatype.h).
    pub(super) fn userdata(self) -> Option<Vec<u8>> {
        let order = [[0, 4].as_slice(), &1u32.to_ne_bytes()].concat();
        (self == Self::Interfaces).then_some(order)
    }

    /// `NFT_SET_*`.
    pub(super) fn flags(self) -> u32 {
        let interval = match self {
            Self::Prefixes(_) => libc::NFT_SET_INTERVAL,
            Self::Interfaces => 0,
        };
        (libc::NFT_SET_ANONYMOUS | libc::NFT_SET_CONSTANT | interval) as u32
    }

    /// The kind with these properties, if it is one of ours.
    pub(super) fn of(data_type: u32, key_length: u32, flags: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| {
            (kind.data_type(), kind.key_length(), kind.flags()) == (data_type, key_length, flags)
        })
    }
}

/// One element; the end of an interval comes before the start of the next at the same address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Element {
    key: Vec<u8>,
    /// Whether it is the first address of an interval, and not the first one behind it. An interface is a start.
    start: bool,
}

/// A set and what is in it, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) kind: SetKind,
    elements: Vec<Element>,
}

impl Set {
    pub(super) fn new(kind: SetKind, mut elements: Vec<Element>) -> Self {
        elements.sort_unstable();
        Self { kind, elements }
    }

    /// Adjacent prefixes stay two intervals, so that they read back as what they were.
    pub(super) fn of_prefixes(family: Family, prefixes: &[Prefix]) -> Self {
        let mut elements = Vec::with_capacity(prefixes.len() * 2 + 1);
        let mut push = |address, start| {
            let key = octets_at(family, address);
            elements.push(Element { key, start });
        };
        if prefixes.iter().all(|prefix| prefix.bounds().0 != 0) {
            // What is before the first interval, as `nft` says it.
            push(0, false);
        }
        let highest = Prefix::everything(family).bounds().1;
        for (first, last) in prefixes.iter().map(Prefix::bounds) {
            push(first, true);
            if last != highest {
                push(last + 1, false);
            }
        }
        Self::new(SetKind::Prefixes(family), elements)
    }

    pub(super) fn of_interfaces(names: &[InterfaceName]) -> Self {
        let element = |name| Element {
            key: padded(name),
            start: true,
        };
        Self::new(SetKind::Interfaces, names.iter().map(element).collect())
    }

    /// The prefixes it is of, if every interval is one.
    pub(super) fn prefixes(&self) -> Option<Vec<Prefix>> {
        let SetKind::Prefixes(family) = self.kind else {
            return None;
        };
        let mut prefixes = Vec::new();
        let mut open = None;
        for element in &self.elements {
            let at = integer(&element.key)?;
            match (element.start, open.take()) {
                (true, None) => open = Some(at),
                (false, Some(first)) => prefixes.push(between(family, first, at.checked_sub(1)?)?),
                (false, None) if at == 0 => {}
                _ => return None,
            }
        }
        if let Some(first) = open {
            prefixes.push(between(
                family,
                first,
                Prefix::everything(family).bounds().1,
            )?);
        }
        Some(prefixes)
    }

    /// The interfaces it is of.
    pub(super) fn interfaces(&self) -> Option<Vec<InterfaceName>> {
        let of_interfaces = self.kind == SetKind::Interfaces;
        let names = self.elements.iter().map(|element| unpadded(&element.key));
        of_interfaces.then(|| names.collect())?
    }

    /// Which of its elements go into one message each.
    pub(super) fn parts(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let count = self.elements.len();
        let starts = (0..count).step_by(ELEMENTS_PER_MESSAGE);
        starts.map(move |start| start..count.min(start + ELEMENTS_PER_MESSAGE))
    }

    /// Writes some of its elements, as the attribute of a message.
    pub(super) fn write(&self, writer: &mut Writer, part: Range<usize>) {
        let list = writer.nest(NFTA_SET_ELEM_LIST_ELEMENTS);
        let last = self.elements.len().saturating_sub(1);
        for (index, element) in self
            .elements
            .iter()
            .enumerate()
            .take(part.end)
            .skip(part.start)
        {
            let nest = writer.nest(NFTA_LIST_ELEM);
            let key = writer.nest(NFTA_SET_ELEM_KEY);
            writer.attribute(NFTA_DATA_VALUE, &element.key);
            writer.end_nest(key);
            if !element.start {
                let end = libc::NFT_SET_ELEM_INTERVAL_END as u32;
                number(writer, NFTA_SET_ELEM_FLAGS, end);
            } else if index == last && matches!(self.kind, SetKind::Prefixes(_)) {
                writer.attribute(NFTA_SET_ELEM_USERDATA, &OPEN_INTERVAL);
            }
            writer.end_nest(nest);
        }
        writer.end_nest(list);
    }
}

/// The elements of one message about a set.
pub(super) fn read_elements(message: &[u8], elements: &mut Vec<Element>) -> Result<(), Malformed> {
    let Some(list) = Fields::read(message)?.get(NFTA_SET_ELEM_LIST_ELEMENTS) else {
        return Ok(());
    };
    for element in attributes(list) {
        let element = Fields::read(element?.1)?;
        let flags = element.number_or_zero(NFTA_SET_ELEM_FLAGS)?;
        elements.push(Element {
            key: element
                .nest(NFTA_SET_ELEM_KEY)?
                .need(NFTA_DATA_VALUE)?
                .to_vec(),
            start: flags & libc::NFT_SET_ELEM_INTERVAL_END as u32 == 0,
        });
    }
    Ok(())
}

/// An interface as a key: its name and NULs.
pub(super) fn padded(name: &InterfaceName) -> Vec<u8> {
    let mut key = name.as_str().as_bytes().to_vec();
    key.resize(INTERFACE_BYTES, 0);
    key
}

/// The interface of a key.
pub(super) fn unpadded(key: &[u8]) -> Option<InterfaceName> {
    let name = key.split(|byte| *byte == 0).next()?;
    InterfaceName::new(std::str::from_utf8(name).ok()?)
}

/// An address as an integer (IPv4 in the low 32 bits).
fn integer(key: &[u8]) -> Option<u128> {
    let mut all = [0; 16];
    let start = all.len().checked_sub(key.len())?;
    all.get_mut(start..)?.copy_from_slice(key);
    Some(u128::from_be_bytes(all))
}

/// The prefix from one address to another, if that is one.
fn between(family: Family, first: u128, last: u128) -> Option<Prefix> {
    let differing = (128 - (first ^ last).leading_zeros()) as u8;
    let length = family.bits().checked_sub(differing)?;
    Prefix::at(family, first, length).filter(|prefix| prefix.bounds() == (first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(texts: &[&str]) -> Vec<Prefix> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn prefixes_read_back_as_what_they_were_also_at_both_ends_and_side_by_side() {
        for (family, texts) in [
            (Family::V4, &["10.0.0.0/8", "192.0.2.7/32"][..]),
            (Family::V4, &["0.0.0.0/8", "255.255.255.0/24"]),
            (Family::V4, &["0.0.0.0/0"]),
            (Family::V4, &["10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/23"]),
            (Family::V6, &["::/1", "8000::/1"]),
            (Family::V6, &["2001:db8::/32", "ffff::/16"]),
        ] {
            let list = prefixes(texts);
            assert_eq!(Set::of_prefixes(family, &list).prefixes(), Some(list));
        }
    }

    #[test]
    fn an_interval_that_is_no_prefix_is_not_ours() {
        let element = |key: [u8; 4], start| Element {
            key: key.to_vec(),
            start,
        };
        let kind = SetKind::Prefixes(Family::V4);
        for last in [[10, 0, 0, 3], [10, 0, 0, 0], [9, 0, 0, 0]] {
            let set = Set::new(
                kind,
                vec![element([10, 0, 0, 0], true), element(last, false)],
            );
            assert_eq!(set.prefixes(), None, "{last:?}");
        }
        let twice = vec![element([10, 0, 0, 0], true), element([11, 0, 0, 0], true)];
        assert_eq!(Set::new(kind, twice).prefixes(), None);
        let long = vec![Element {
            key: vec![1; 17],
            start: true,
        }];
        assert_eq!(Set::new(kind, long).prefixes(), None);
    }

    #[test]
    fn interfaces_read_back_in_order() {
        let names = ["eth0", "eth0.100", "wlan-0123456789"].map(|n| InterfaceName::new(n).unwrap());
        let set = Set::of_interfaces(&names);
        assert_eq!(set.interfaces().as_deref(), Some(&names[..]));
        assert_eq!(set.prefixes(), None);
    }
}
