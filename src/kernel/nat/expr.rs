//! Expressions: the steps of a rule, as far as ours have them, to and from attributes.
//!
//! Everything goes by one register. What cannot be said with an [`Expr`] cannot be read as one, so that a rule which does
//! more than ours never looks like one.

use std::collections::BTreeMap;

use nix::libc;

use super::super::wire::{Malformed, Writer, attributes, text as text_of};
use super::fields::{Fields, number, text};
use super::set::{NFTA_DATA_VALUE, Set};
use crate::model::Family;
use crate::model::egress::Counters;

// linux/netfilter/nf_tables.h: enum nft_list_attributes, nft_expr_attributes.
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
// enum nft_meta_attributes.
const NFTA_META_DREG: u16 = 1;
const NFTA_META_KEY: u16 = 2;
// enum nft_payload_attributes.
const NFTA_PAYLOAD_DREG: u16 = 1;
const NFTA_PAYLOAD_BASE: u16 = 2;
const NFTA_PAYLOAD_OFFSET: u16 = 3;
const NFTA_PAYLOAD_LEN: u16 = 4;
// enum nft_bitwise_attributes.
const NFTA_BITWISE_SREG: u16 = 1;
const NFTA_BITWISE_DREG: u16 = 2;
const NFTA_BITWISE_LEN: u16 = 3;
const NFTA_BITWISE_MASK: u16 = 4;
const NFTA_BITWISE_XOR: u16 = 5;
const NFTA_BITWISE_OP: u16 = 6;
// enum nft_cmp_attributes.
const NFTA_CMP_SREG: u16 = 1;
const NFTA_CMP_OP: u16 = 2;
const NFTA_CMP_DATA: u16 = 3;
// enum nft_lookup_attributes.
const NFTA_LOOKUP_SET: u16 = 1;
const NFTA_LOOKUP_SREG: u16 = 2;
const NFTA_LOOKUP_SET_ID: u16 = 4;
const NFTA_LOOKUP_FLAGS: u16 = 5;
// enum nft_counter_attributes.
const NFTA_COUNTER_BYTES: u16 = 1;
const NFTA_COUNTER_PACKETS: u16 = 2;
// enum nft_immediate_attributes.
const NFTA_IMMEDIATE_DREG: u16 = 1;
const NFTA_IMMEDIATE_DATA: u16 = 2;
// enum nft_masq_attributes.
const NFTA_MASQ_FLAGS: u16 = 1;
const NFTA_MASQ_REG_PROTO_MIN: u16 = 2;
// enum nft_nat_attributes.
const NFTA_NAT_TYPE: u16 = 1;
const NFTA_NAT_FAMILY: u16 = 2;
const NFTA_NAT_REG_ADDR_MIN: u16 = 3;
const NFTA_NAT_REG_PROTO_MIN: u16 = 5;
const NFTA_NAT_FLAGS: u16 = 7;
/// That an address is given, which the kernel notes by itself (linux/netfilter/nf_nat.h).
const NF_NAT_RANGE_MAP_IPS: u32 = 1;

/// The register that everything goes by.
const REGISTER: u32 = libc::NFT_REG_1 as u32;

/// The name by which a message refers to an anonymous set of its own batch; the kernel puts a number in.
pub(super) const ANONYMOUS: &str = "__set%d";

/// What is known of a packet besides its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meta {
    /// IPv4 or IPv6.
    Family,
    /// The interface it leaves by.
    OutInterface,
}

impl Meta {
    fn key(self) -> u32 {
        match self {
            Self::Family => libc::NFT_META_NFPROTO as u32,
            Self::OutInterface => libc::NFT_META_OIFNAME as u32,
        }
    }
}

/// One step of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expr {
    /// Loads what is known of the packet.
    Meta(Meta),
    /// Loads so many bytes of the IP header.
    Payload { offset: u32, length: u32 },
    /// Keeps these bits.
    Mask(Vec<u8>),
    /// Goes on if it is this, or if not.
    Compare { negated: bool, value: Vec<u8> },
    /// Goes on if it is in a set, or if not.
    Lookup { negated: bool, set: Set },
    /// Counts.
    Counter(Counters),
    /// Loads a value.
    Immediate(Vec<u8>),
    /// Gives the packet the address of the interface it leaves by.
    Masquerade,
    /// Gives the packet the address that was loaded.
    Snat(Family),
}

/// How nf_tables calls the families of packets.
pub(super) fn nfproto(family: Family) -> u8 {
    match family {
        Family::V4 => libc::NFPROTO_IPV4 as u8,
        Family::V6 => libc::NFPROTO_IPV6 as u8,
    }
}

/// Writes the expressions of a rule as the value of an attribute. Its sets have the numbers from `set` on.
pub(super) fn write(writer: &mut Writer, expressions: &[Expr], mut set: u32) {
    for expression in expressions {
        let nest = writer.nest(NFTA_LIST_ELEM);
        text(writer, NFTA_EXPR_NAME, expression.name());
        let data = writer.nest(NFTA_EXPR_DATA);
        expression.write(writer, set);
        writer.end_nest(data);
        writer.end_nest(nest);
        set += u32::from(matches!(expression, Expr::Lookup { .. }));
    }
}

/// Reads the expressions of a rule; `sets` are those of its table by name.
pub(super) fn read(list: &[u8], sets: &BTreeMap<String, Set>) -> Result<Vec<Expr>, Malformed> {
    let read = |element: Result<(u16, &[u8]), Malformed>| {
        let element = Fields::read(element?.1)?;
        let name = text_of(element.need(NFTA_EXPR_NAME)?);
        let data = element.get(NFTA_EXPR_DATA).unwrap_or_default();
        Expr::read(&name, &Fields::read(data)?, sets)
    };
    attributes(list).map(read).collect()
}

impl Expr {
    fn name(&self) -> &'static str {
        match self {
            Self::Meta(_) => "meta",
            Self::Payload { .. } => "payload",
            Self::Mask(_) => "bitwise",
            Self::Compare { .. } => "cmp",
            Self::Lookup { .. } => "lookup",
            Self::Counter(_) => "counter",
            Self::Immediate(_) => "immediate",
            Self::Masquerade => "masq",
            Self::Snat(_) => "nat",
        }
    }

    fn write(&self, writer: &mut Writer, set: u32) {
        match self {
            Self::Meta(meta) => {
                number(writer, NFTA_META_DREG, REGISTER);
                number(writer, NFTA_META_KEY, meta.key());
            }
            Self::Payload { offset, length } => {
                let header = libc::NFT_PAYLOAD_NETWORK_HEADER as u32;
                number(writer, NFTA_PAYLOAD_DREG, REGISTER);
                number(writer, NFTA_PAYLOAD_BASE, header);
                number(writer, NFTA_PAYLOAD_OFFSET, *offset);
                number(writer, NFTA_PAYLOAD_LEN, *length);
            }
            Self::Mask(mask) => {
                number(writer, NFTA_BITWISE_SREG, REGISTER);
                number(writer, NFTA_BITWISE_DREG, REGISTER);
                number(writer, NFTA_BITWISE_LEN, mask.len() as u32);
                value(writer, NFTA_BITWISE_MASK, mask);
                value(writer, NFTA_BITWISE_XOR, &vec![0; mask.len()]);
            }
            Self::Compare { negated, value: to } => {
                number(writer, NFTA_CMP_SREG, REGISTER);
                number(writer, NFTA_CMP_OP, u32::from(*negated));
                value(writer, NFTA_CMP_DATA, to);
            }
            Self::Lookup { negated, .. } => {
                text(writer, NFTA_LOOKUP_SET, ANONYMOUS);
                number(writer, NFTA_LOOKUP_SREG, REGISTER);
                number(writer, NFTA_LOOKUP_SET_ID, set);
                number(writer, NFTA_LOOKUP_FLAGS, u32::from(*negated));
            }
            Self::Counter(Counters { packets, bytes }) => {
                writer.attribute(NFTA_COUNTER_BYTES, &bytes.to_be_bytes());
                writer.attribute(NFTA_COUNTER_PACKETS, &packets.to_be_bytes());
            }
            Self::Immediate(loaded) => {
                number(writer, NFTA_IMMEDIATE_DREG, REGISTER);
                value(writer, NFTA_IMMEDIATE_DATA, loaded);
            }
            Self::Masquerade => {}
            Self::Snat(family) => {
                number(writer, NFTA_NAT_TYPE, libc::NFT_NAT_SNAT as u32);
                number(writer, NFTA_NAT_FAMILY, nfproto(*family).into());
                number(writer, NFTA_NAT_REG_ADDR_MIN, REGISTER);
            }
        }
    }

    fn read(
        name: &str,
        data: &Fields<'_>,
        sets: &BTreeMap<String, Set>,
    ) -> Result<Self, Malformed> {
        match name {
            "meta" => read_meta(data),
            "payload" => read_payload(data),
            "bitwise" => read_mask(data),
            "cmp" => read_compare(data),
            "lookup" => read_lookup(data, sets),
            "counter" => Ok(Self::Counter(Counters {
                packets: data.large(NFTA_COUNTER_PACKETS)?,
                bytes: data.large(NFTA_COUNTER_BYTES)?,
            })),
            "immediate" => {
                by_register(data, NFTA_IMMEDIATE_DREG)?;
                Ok(Self::Immediate(read_value(data, NFTA_IMMEDIATE_DATA)?))
            }
            "masq" => read_masquerade(data),
            "nat" => read_nat(data),
            _ => Err(STRANGE),
        }
    }
}

/// An expression that is well-formed, and none of ours.
const STRANGE: Malformed = Malformed("an expression is not one that srsync writes");

fn ours(is_ours: bool) -> Result<(), Malformed> {
    is_ours.then_some(()).ok_or(STRANGE)
}

fn by_register(data: &Fields<'_>, attribute: u16) -> Result<(), Malformed> {
    ours(data.number(attribute)? == REGISTER)
}

fn read_meta(data: &Fields<'_>) -> Result<Expr, Malformed> {
    by_register(data, NFTA_META_DREG)?;
    let key = data.number(NFTA_META_KEY)?;
    let mut known = [Meta::Family, Meta::OutInterface].into_iter();
    let meta = known.find(|meta| meta.key() == key).ok_or(STRANGE)?;
    Ok(Expr::Meta(meta))
}

fn read_payload(data: &Fields<'_>) -> Result<Expr, Malformed> {
    by_register(data, NFTA_PAYLOAD_DREG)?;
    let base = data.number(NFTA_PAYLOAD_BASE)?;
    ours(base == libc::NFT_PAYLOAD_NETWORK_HEADER as u32)?;
    Ok(Expr::Payload {
        offset: data.number(NFTA_PAYLOAD_OFFSET)?,
        length: data.number(NFTA_PAYLOAD_LEN)?,
    })
}

fn read_mask(data: &Fields<'_>) -> Result<Expr, Malformed> {
    by_register(data, NFTA_BITWISE_SREG)?;
    by_register(data, NFTA_BITWISE_DREG)?;
    // Kernels before 5.6 know only this operation, and do not name it.
    ours(data.number_or_zero(NFTA_BITWISE_OP)? == 0)?;
    let xor = read_value(data, NFTA_BITWISE_XOR)?;
    ours(xor.iter().all(|byte| *byte == 0))?;
    let mask = read_value(data, NFTA_BITWISE_MASK)?;
    ours(data.number(NFTA_BITWISE_LEN)? as usize == mask.len())?;
    Ok(Expr::Mask(mask))
}

fn read_compare(data: &Fields<'_>) -> Result<Expr, Malformed> {
    by_register(data, NFTA_CMP_SREG)?;
    let operation = data.number(NFTA_CMP_OP)? as libc::c_int;
    ours(matches!(operation, libc::NFT_CMP_EQ | libc::NFT_CMP_NEQ))?;
    Ok(Expr::Compare {
        negated: operation == libc::NFT_CMP_NEQ,
        value: read_value(data, NFTA_CMP_DATA)?,
    })
}

fn read_lookup(data: &Fields<'_>, sets: &BTreeMap<String, Set>) -> Result<Expr, Malformed> {
    by_register(data, NFTA_LOOKUP_SREG)?;
    let flags = data.number_or_zero(NFTA_LOOKUP_FLAGS)? as libc::c_int;
    ours(flags & !libc::NFT_LOOKUP_F_INV == 0)?;
    let name = text_of(data.need(NFTA_LOOKUP_SET)?);
    Ok(Expr::Lookup {
        negated: flags != 0,
        set: sets.get(&name).ok_or(STRANGE)?.clone(),
    })
}

fn read_masquerade(data: &Fields<'_>) -> Result<Expr, Malformed> {
    ours(data.number_or_zero(NFTA_MASQ_FLAGS)? == 0)?;
    ours(data.get(NFTA_MASQ_REG_PROTO_MIN).is_none())?;
    Ok(Expr::Masquerade)
}

fn read_nat(data: &Fields<'_>) -> Result<Expr, Malformed> {
    ours(data.number(NFTA_NAT_TYPE)? == libc::NFT_NAT_SNAT as u32)?;
    by_register(data, NFTA_NAT_REG_ADDR_MIN)?;
    ours(data.get(NFTA_NAT_REG_PROTO_MIN).is_none())?;
    ours(data.number_or_zero(NFTA_NAT_FLAGS)? & !NF_NAT_RANGE_MAP_IPS == 0)?;
    let family = data.number(NFTA_NAT_FAMILY)?;
    let mut families = Family::BOTH.into_iter();
    let family = families.find(|known| u32::from(nfproto(*known)) == family);
    Ok(Expr::Snat(family.ok_or(STRANGE)?))
}

/// Writes bytes that are compared with a register, or loaded into it.
fn value(writer: &mut Writer, kind: u16, bytes: &[u8]) {
    let nest = writer.nest(kind);
    writer.attribute(NFTA_DATA_VALUE, bytes);
    writer.end_nest(nest);
}

fn read_value(data: &Fields<'_>, kind: u16) -> Result<Vec<u8>, Malformed> {
    Ok(data.nest(kind)?.need(NFTA_DATA_VALUE)?.to_vec())
}
