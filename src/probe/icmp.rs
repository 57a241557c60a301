//! ICMP: an echo request is answered by the address it was sent to.
//!
//! Owns one socket for an address, kept from probe to probe. A datagram socket needs no privilege
//! where the node allows it (`net.ipv4.ping_group_range`, icmp(7)), and gets no packets but its own;
//! a raw one needs CAP_NET_RAW, and is given a filter. Errors that hosts on the way send are told at
//! once by either, so that a probe need not time out.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{SockaddrStorage, recvfrom, setsockopt, sockopt};
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::Loss;
use super::way::Way;
use crate::model::{Family, IfIndex};

/// Types of messages (RFC 792, RFC 4443): request and reply.
const ECHO_V4: (u8, u8) = (8, 0);
const ECHO_V6: (u8, u8) = (128, 129);

/// Type, code, checksum, identifier, sequence number; then what comes back as it was sent.
const HEADER: usize = 8;
const PAYLOAD: usize = 16;

/// Longer than a reply behind the longest IPv4 header.
const LONGEST: usize = 128;

/// Sends echo requests to one address and waits for the replies.
pub(super) struct Echo {
    /// Nobody else knows it: a reply that carries it answers us.
    token: u64,
    sequence: u64,
    line: Option<Line>,
}

impl Echo {
    pub(super) fn new() -> Self {
        Self {
            // What keeps hash tables from being attacked is random enough for this.
            token: RandomState::new().build_hasher().finish(),
            sequence: 0,
            line: None,
        }
    }

    /// Asks once.
    pub(super) async fn probe(&mut self, way: &Way) -> Result<(), Loss> {
        let family = Family::of(&way.to());
        let identifier = (self.token >> 48) as u16;
        let line = match self.line.take().filter(|line| line.is_good(way.link())) {
            Some(line) => line,
            None => Line::open(way, family, identifier)?,
        };
        self.sequence += 1;
        let mut payload = [0; PAYLOAD];
        let numbers = [self.token, self.sequence].map(u64::to_be_bytes);
        payload.copy_from_slice(numbers.as_flattened());
        let request = request(family, identifier, &payload);
        // Kept whether or not the reply comes in time, but not after an error: more of that kind
        // may wait in it.
        let line = self.line.insert(line);
        let answered = line.exchange(&request, &payload, way.to()).await;
        if answered.is_err() {
            self.line = None;
        }
        Ok(answered?)
    }
}

/// An open socket. To tokio one kind of datagrams is like another.
struct Line {
    socket: UdpSocket,
    family: Family,
    raw: bool,
    link: Option<IfIndex>,
}

impl Line {
    fn open(way: &Way, family: Family, identifier: u16) -> Result<Self, Loss> {
        let (socket, raw) = open_socket(family)?;
        socket.set_nonblocking(true)?;
        // Without these only some errors are told (`ping_err`, net/ipv4/ping.c).
        match family {
            Family::V4 => setsockopt(&socket, sockopt::Ipv4RecvErr, &true),
            Family::V6 => setsockopt(&socket, sockopt::Ipv6RecvErr, &true),
        }
        .map_err(io::Error::from)?;
        if raw {
            socket.attach_filter(&only_replies(family, identifier))?;
        }
        way.bind(SockRef::from(&socket))?;
        socket.connect(&way.port(0).into())?;
        Ok(Self {
            socket: UdpSocket::from_std(socket.into())?,
            family,
            raw,
            link: way.link(),
        })
    }

    /// Whether it can be used again: the link is the same, and no error about an earlier request
    /// waits in it.
    fn is_good(&self, link: Option<IfIndex>) -> bool {
        self.link == link && matches!(self.socket.take_error(), Ok(None))
    }

    /// Sends the request and returns when its reply is there.
    async fn exchange(&self, request: &[u8], payload: &[u8], from: IpAddr) -> io::Result<()> {
        self.socket.send(request).await?;
        let mut buffer = [0; LONGEST];
        // Its own `recv` does not wake up for errors.
        let interest = Interest::READABLE | Interest::ERROR;
        loop {
            let receive = || receive(&self.socket, &mut buffer);
            let (length, sender) = self.socket.async_io(interest, receive).await?;
            let packet = buffer.get(..length).unwrap_or_default();
            if sender == Some(from) && self.is_reply(packet, payload) {
                return Ok(());
            }
        }
    }

    /// Whether a packet is the reply to this payload. A raw IPv4 socket shows the IP header, too.
    fn is_reply(&self, packet: &[u8], payload: &[u8]) -> bool {
        let skipped = match (self.raw, self.family, packet.first()) {
            (true, Family::V4, Some(first)) => usize::from(first & 0x0f) * 4,
            _ => 0,
        };
        let (_, reply) = types(self.family);
        match packet.get(skipped..).and_then(<[u8]>::split_first_chunk) {
            Some((header, rest)) => {
                let [kind, code, ..]: &[u8; HEADER] = header;
                (*kind, *code) == (reply, 0) && rest == payload
            }
            None => false,
        }
    }
}

/// A datagram socket, or else a raw one; and whether it is raw.
fn open_socket(family: Family) -> Result<(Socket, bool), Loss> {
    let (domain, protocol) = match family {
        Family::V4 => (Domain::IPV4, Protocol::ICMPV4),
        Family::V6 => (Domain::IPV6, Protocol::ICMPV6),
    };
    if let Ok(socket) = Socket::new(domain, Type::DGRAM, Some(protocol)) {
        return Ok((socket, false));
    }
    match Socket::new(domain, Type::RAW, Some(protocol)) {
        Ok(socket) => Ok((socket, true)),
        Err(error) if error.raw_os_error() == Some(Errno::EPERM as i32) => Err(Loss::Local(
            "may not send ICMP: that takes the capability CAP_NET_RAW, or this process's group in \
             the sysctl net.ipv4.ping_group_range"
                .into(),
        )),
        Err(error) => Err(error.into()),
    }
}

fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, Option<IpAddr>)> {
    let (length, sender) = recvfrom::<SockaddrStorage>(socket.as_raw_fd(), buffer)?;
    let address = |sender: SockaddrStorage| match sender.as_sockaddr_in() {
        Some(v4) => Some(IpAddr::V4(v4.ip())),
        None => Some(IpAddr::V6(sender.as_sockaddr_in6()?.ip())),
    };
    Ok((length, sender.and_then(address)))
}

fn types(family: Family) -> (u8, u8) {
    match family {
        Family::V4 => ECHO_V4,
        Family::V6 => ECHO_V6,
    }
}

/// An echo request. A datagram socket puts in an identifier of its own. The checksum of ICMPv6, which
/// covers addresses as well, is left to the kernel (RFC 3542, 3.1).
fn request(family: Family, identifier: u16, payload: &[u8; PAYLOAD]) -> [u8; HEADER + PAYLOAD] {
    let mut packet = [0; HEADER + PAYLOAD];
    let (header, rest) = packet.split_at_mut(HEADER);
    rest.copy_from_slice(payload);
    let [a, b] = identifier.to_be_bytes();
    let [c, d] = [payload[PAYLOAD - 2], payload[PAYLOAD - 1]];
    header.copy_from_slice(&[types(family).0, 0, 0, 0, a, b, c, d]);
    if family == Family::V4 {
        let sum = checksum(&packet).to_be_bytes();
        packet[2..4].copy_from_slice(&sum);
    }
    packet
}

/// The Internet checksum (RFC 1071) of an even number of bytes.
fn checksum(packet: &[u8]) -> u16 {
    let (words, _) = packet.as_chunks();
    let sum: u32 = words
        .iter()
        .map(|word| u32::from(u16::from_be_bytes(*word)))
        .sum();
    let folded = (sum >> 16) + (sum & 0xffff);
    !((folded + (folded >> 16)) as u16)
}

/// A packet filter that lets only echo replies with this identifier through: a raw socket would
/// otherwise get whatever ICMP its address sends, between probes as well, until no reply fits.
fn only_replies(family: Family, identifier: u16) -> [SockFilter; 7] {
    let op = |code: u32, operand: u32| SockFilter::new(code as u16, 0, 0, operand);
    let unless = |value: u32, skipped: u8| {
        let code = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        SockFilter::new(code as u16, 0, skipped, value)
    };
    let (_, reply) = types(family);
    [
        // X is where ICMP begins: IPv4 shows its header before, whose first byte has its length.
        match family {
            Family::V4 => op(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0),
            Family::V6 => op(libc::BPF_LDX | libc::BPF_W | libc::BPF_IMM, 0),
        },
        op(libc::BPF_LD | libc::BPF_H | libc::BPF_IND, 0),
        unless(u32::from(reply) << 8, 3),
        op(libc::BPF_LD | libc::BPF_H | libc::BPF_IND, 4),
        unless(u32::from(identifier), 1),
        op(libc::BPF_RET | libc::BPF_K, u32::MAX),
        op(libc::BPF_RET | libc::BPF_K, 0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_a_packet_with_its_checksum_is_zero() {
        let payload = [
            0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1,
        ];
        let packet = request(Family::V4, 0xfffe, &payload);
        assert_eq!(checksum(&packet), 0);
        assert_eq!(packet[..2], [8, 0]);
        assert_eq!(packet[4..8], [0xff, 0xfe, 0, 1]);
        assert_eq!(packet[8..], payload);
        // Left to the kernel.
        assert_eq!(request(Family::V6, 1, &payload)[..4], [128, 0, 0, 0]);
    }
}
