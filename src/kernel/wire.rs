//! Netlink framing: messages in a datagram and attributes in a message, read from borrowed bytes
//! and written into one reused buffer.
//!
//! Owns lengths and alignment (netlink(7): everything starts at a multiple of four bytes) and
//! trusts none of them: what does not fit is [`Malformed`], never a panic. Must not know what any
//! message means.

use std::net::IpAddr;

use nix::libc;

/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;

/// Bytes of `struct nlattr`.
const ATTRIBUTE_HEADER: usize = 4;

/// What the kernel sent cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed netlink message: {0}")]
pub struct Malformed(pub(super) &'static str);

/// `struct nlmsghdr` without its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// `RTM_*` or `NLMSG_*`.
    pub(super) kind: u16,
    /// `NLM_F_*`.
    pub(super) flags: u16,
    /// Which request this answers.
    pub(super) sequence: u32,
    /// The socket that made the request; 0 is the kernel.
    pub(super) port: u32,
}

impl Header {
    /// Whether a flag is set; libc has them as `c_int`, the wire as 16 bits.
    pub(super) fn has(&self, flag: libc::c_int) -> bool {
        libc::c_int::from(self.flags) & flag != 0
    }
}

/// The messages of a datagram, each with its header.
pub(super) fn messages(
    datagram: &[u8],
) -> impl Iterator<Item = Result<(Header, &[u8]), Malformed>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let message = split_message(&mut rest);
        if message.is_err() {
            rest = &[];
        }
        Some(message)
    })
}

fn split_message<'a>(rest: &mut &'a [u8]) -> Result<(Header, &'a [u8]), Malformed> {
    let length = u32_at(rest, 0)? as usize;
    let header = Header {
        kind: u16_at(rest, 4)?,
        flags: u16_at(rest, 6)?,
        sequence: u32_at(rest, 8)?,
        port: u32_at(rest, 12)?,
    };
    let payload = rest
        .get(HEADER..length)
        .ok_or(Malformed("a message is longer than its datagram"))?;
    *rest = rest.get(align(length)..).unwrap_or_default();
    Ok((header, payload))
}

/// The attributes in `bytes`: type without its flag bits, and value.
pub(super) fn attributes(bytes: &[u8]) -> Attributes<'_> {
    Attributes { rest: bytes }
}

/// See [`attributes`].
pub(super) struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(u16, &'a [u8]), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let attribute = split_attribute(&mut self.rest);
        if attribute.is_err() {
            self.rest = &[];
        }
        Some(attribute)
    }
}

fn split_attribute<'a>(rest: &mut &'a [u8]) -> Result<(u16, &'a [u8]), Malformed> {
    // The two highest bits of the type are NLA_F_NESTED and NLA_F_NET_BYTEORDER.
    let length = usize::from(u16_at(rest, 0)?);
    let kind = u16_at(rest, 2)? & 0x3fff;
    let value = rest
        .get(ATTRIBUTE_HEADER..length)
        .ok_or(Malformed("an attribute is longer than its message"))?;
    *rest = rest.get(align(length)..).unwrap_or_default();
    Ok((kind, value))
}

/// Rounded up to the next multiple of four.
pub(super) const fn align(length: usize) -> usize {
    length.saturating_add(3) & !3
}

/// The 16-bit number at `offset`, in the machine's byte order.
pub(super) fn u16_at(bytes: &[u8], offset: usize) -> Result<u16, Malformed> {
    let bytes = bytes.get(offset..).and_then(|b| b.first_chunk());
    let bytes = bytes.ok_or(Malformed("a 16-bit number is cut off"))?;
    Ok(u16::from_ne_bytes(*bytes))
}

/// The 32-bit number at `offset`, in the machine's byte order.
pub(super) fn u32_at(bytes: &[u8], offset: usize) -> Result<u32, Malformed> {
    let bytes = bytes.get(offset..).and_then(|b| b.first_chunk());
    let bytes = bytes.ok_or(Malformed("a 32-bit number is cut off"))?;
    Ok(u32::from_ne_bytes(*bytes))
}

/// An address of 4 or 16 bytes.
pub(super) fn address(bytes: &[u8]) -> Result<IpAddr, Malformed> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(IpAddr::from(v4));
    }
    match <[u8; 16]>::try_from(bytes) {
        Ok(v6) => Ok(IpAddr::from(v6)),
        Err(_) => Err(Malformed("an address is neither 4 nor 16 bytes long")),
    }
}

/// A text that ends at its NUL, as attributes of type `NLA_NUL_STRING` carry it.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

/// Messages being written one behind the other, to be sent as one datagram.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    /// Where the message that is being written, or was written last, begins.
    start: usize,
}

/// An open nested attribute; hand it to [`Writer::end_nest`].
#[must_use]
pub(super) struct Nest(usize);

impl Writer {
    /// The finished messages.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether nothing was written.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Forgets everything but keeps the memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.start = 0;
    }

    /// Begins a message; its length is written by [`Writer::end`].
    pub(super) fn begin(&mut self, kind: u16, flags: libc::c_int, sequence: u32) {
        self.start = self.bytes.len();
        let flags = (flags | libc::NLM_F_REQUEST) as u16;
        self.put(&0u32.to_ne_bytes());
        self.put(&kind.to_ne_bytes());
        self.put(&flags.to_ne_bytes());
        self.put(&sequence.to_ne_bytes());
        self.put(&0u32.to_ne_bytes());
    }

    /// Appends bytes as they are: a fixed header behind `nlmsghdr`, or a part of it.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends an attribute.
    pub(super) fn attribute(&mut self, kind: u16, value: &[u8]) {
        let nest = self.nest(kind);
        self.put(value);
        self.end_nest(nest);
    }

    /// Appends an attribute that is a 32-bit number.
    pub(super) fn number(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_ne_bytes());
    }

    /// Appends an attribute that is an address.
    pub(super) fn address(&mut self, kind: u16, address: IpAddr) {
        match address {
            IpAddr::V4(v4) => self.attribute(kind, &v4.octets()),
            IpAddr::V6(v6) => self.attribute(kind, &v6.octets()),
        }
    }

    /// Opens an attribute whose value is written by what follows.
    pub(super) fn nest(&mut self, kind: u16) -> Nest {
        let nest = Nest(self.bytes.len());
        self.put(&0u16.to_ne_bytes());
        self.put(&kind.to_ne_bytes());
        nest
    }

    /// Opens a `struct rtnexthop`, up to its interface index: it begins with a 16-bit length as an
    /// attribute does, and is closed as one.
    pub(super) fn open_next_hop(&mut self, flags: u8, weight: u8) -> Nest {
        let nest = Nest(self.bytes.len());
        self.put(&[0, 0, flags, weight]);
        nest
    }

    /// Closes an attribute: its length becomes known, padding follows.
    pub(super) fn end_nest(&mut self, Nest(start): Nest) {
        let length = (self.bytes.len() - start) as u16;
        self.patch(start, &length.to_ne_bytes());
        self.bytes.resize(align(self.bytes.len()), 0);
    }

    /// Ends the message.
    pub(super) fn end(&mut self) {
        let length = (self.bytes.len() - self.start) as u32;
        self.patch(self.start, &length.to_ne_bytes());
    }

    /// Sets a flag of the message that was written last.
    pub(super) fn flag_last(&mut self, flag: libc::c_int) {
        let offset = self.start + 6;
        if let Ok(flags) = u16_at(&self.bytes, offset) {
            self.patch(offset, &(flags | flag as u16).to_ne_bytes());
        }
    }

    fn patch(&mut self, offset: usize, bytes: &[u8]) {
        if let Some(place) = self.bytes.get_mut(offset..offset + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut writer = Writer::default();
        writer.begin(libc::RTM_GETROUTE, libc::NLM_F_DUMP, 7);
        writer.put(&[0; 12]);
        writer.end();
        writer.begin(libc::RTM_NEWROUTE, 0, 8);
        writer.attribute(3, b"abcde");
        writer.number(4, 4711);
        writer.end();
        writer.flag_last(libc::NLM_F_ACK);

        let read: Vec<_> = messages(writer.bytes()).map(Result::unwrap).collect();
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].0.kind, read[0].0.sequence), (26, 7));
        assert!(read[1].0.has(libc::NLM_F_ACK) && !read[0].0.has(libc::NLM_F_ACK));
        let inner: Vec<_> = attributes(read[1].1).map(Result::unwrap).collect();
        assert_eq!(inner[0], (3, b"abcde".as_slice()));
        assert_eq!(u32_at(inner[1].1, 0), Ok(4711));
    }

    proptest! {
        /// Whatever the bytes, reading ends, and stays inside them.
        #[test]
        fn garbage_is_an_error_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for (_, payload) in messages(&bytes).flatten() {
                prop_assert!(payload.len() < bytes.len());
            }
            for (_, value) in attributes(&bytes).flatten() {
                prop_assert!(value.len() < bytes.len());
            }
        }
    }
}
