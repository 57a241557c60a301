//! The attributes of one message or nest, by number, and numbers as nfnetlink has them: big endian.

use std::net::IpAddr;

use super::super::wire::{Malformed, Writer, attributes};
use crate::model::Family;

/// No nest that is read here has an attribute beyond.
const COUNT: usize = 32;

/// The attributes of one nest. Those that newer kernels add are passed over.
pub(super) struct Fields<'a>([Option<&'a [u8]>; COUNT]);

impl<'a> Fields<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = [None; COUNT];
        for attribute in attributes(bytes) {
            let (kind, value) = attribute?;
            if let Some(field) = fields.get_mut(usize::from(kind)) {
                *field = Some(value);
            }
        }
        Ok(Self(fields))
    }

    pub(super) fn get(&self, kind: u16) -> Option<&'a [u8]> {
        self.0.get(usize::from(kind)).copied().flatten()
    }

    pub(super) fn need(&self, kind: u16) -> Result<&'a [u8], Malformed> {
        self.get(kind).ok_or(Malformed("an attribute is missing"))
    }

    pub(super) fn nest(&self, kind: u16) -> Result<Self, Malformed> {
        Self::read(self.need(kind)?)
    }

    /// A 32-bit number.
    pub(super) fn number(&self, kind: u16) -> Result<u32, Malformed> {
        let bytes = self.need(kind)?.try_into();
        let bytes = bytes.map_err(|_| Malformed("a number has not 32 bits"))?;
        Ok(u32::from_be_bytes(bytes))
    }

    /// A 32-bit number that may be left out, which means 0.
    pub(super) fn number_or_zero(&self, kind: u16) -> Result<u32, Malformed> {
        self.get(kind).map_or(Ok(0), |_| self.number(kind))
    }

    /// A 64-bit number.
    pub(super) fn large(&self, kind: u16) -> Result<u64, Malformed> {
        let bytes = self.need(kind)?.try_into();
        let bytes = bytes.map_err(|_| Malformed("a number has not 64 bits"))?;
        Ok(u64::from_be_bytes(bytes))
    }

    /// Whether an attribute is this text, with its NUL.
    pub(super) fn is(&self, kind: u16, text: &str) -> bool {
        self.get(kind).and_then(|value| value.split_last()) == Some((&0, text.as_bytes()))
    }
}

/// Writes a 32-bit number.
pub(super) fn number(writer: &mut Writer, kind: u16, value: u32) {
    writer.attribute(kind, &value.to_be_bytes());
}

/// Writes a text with its NUL.
pub(super) fn text(writer: &mut Writer, kind: u16, value: &str) {
    let nest = writer.nest(kind);
    writer.put(value.as_bytes());
    writer.put(&[0]);
    writer.end_nest(nest);
}

/// An address as it is in a packet.
pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// An address as an integer (IPv4 in the low 32 bits), as it is in a packet.
pub(super) fn octets_at(family: Family, address: u128) -> Vec<u8> {
    let all = address.to_be_bytes();
    let length = usize::from(family.bits() / 8);
    all.get(all.len() - length..).unwrap_or_default().to_vec()
}
