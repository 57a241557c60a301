//! Request and reply over one netlink socket.
//!
//! Owns the socket's options, sequence numbers, timeouts and the promise that an incomplete answer
//! is an error. Must not know what a route is. Nothing here waits for ever.

use std::io;
use std::os::fd::AsRawFd;

use netlink_sys::{Socket, SocketAddr};

pub(super) use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{MsgFlags, getsockopt, recv, setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use super::error::{KernelError, Refusal};
use super::wire::{Header, Malformed, Writer, attributes, messages, text, u32_at};

/// How long the kernel may take for an answer. It answers at once unless the whole machine hangs;
/// a wait without an end would hang with it.
const TIMEOUT_SECONDS: u32 = 30;

/// The kernel makes the pieces of a dump as large as the reader's buffer, up to 32 KiB
/// (`netlink_dump`, net/netlink/af_netlink.c); other answers are smaller.
const RECEIVE_BYTES: usize = 64 * 1024;

/// Room asked for replies, in bytes; the kernel doubles it. Enough for a full batch of failures.
const RECEIVE_QUEUE: usize = 2 * 1024 * 1024;

/// What a reply occupies in the receive queue at most, in bytes: `skb->truesize` of an error with
/// its text and `NETLINK_CAP_ACK` was 832 on Linux 6.18; older kernels round up further.
const REPLY_BYTES: usize = 2048;

/// How often a dump that was disturbed is begun again.
const DUMP_ATTEMPTS: u32 = 8;

const NLMSGERR_ATTR_MSG: u16 = 1;

/// A netlink socket.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
    /// How many replies the receive queue surely holds.
    replies: usize,
}

impl Netlink {
    /// Opens one to a part of the kernel, `NETLINK_*`.
    pub(super) fn open(protocol: isize) -> Result<Self, KernelError> {
        let (socket, queue) = open_socket(protocol).map_err(KernelError::Open)?;
        Ok(Self {
            socket,
            sequence: 0,
            buffer: vec![0; RECEIVE_BYTES],
            replies: (queue / REPLY_BYTES).max(1),
        })
    }

    /// The number by which the kernel tells others who made a change.
    pub(super) fn port(&self) -> Result<u32, KernelError> {
        let mut address = SocketAddr::new(0, 0);
        let asked = self.socket.get_address(&mut address);
        asked.map_err(KernelError::Open)?;
        Ok(address.port_number())
    }

    /// How many messages may go in one batch, so that no reply is lost even if each one fails.
    pub(super) fn batch_limit(&self) -> usize {
        self.replies
    }

    /// Makes room for a datagram of so many bytes in the send queue; whether there is.
    pub(super) fn make_room(&self, length: usize) -> Result<bool, KernelError> {
        // `netlink_sendmsg`, net/netlink/af_netlink.c: that much is kept back.
        let needed = length + 32;
        let enough = || getsockopt(&self.socket, sockopt::SndBuf).map(|room| room >= needed);
        let room = enough().and_then(|enough| {
            // Beyond net.core.wmem_max only with CAP_NET_ADMIN in the initial user namespace.
            if !enough && setsockopt(&self.socket, sockopt::SndBufForce, &needed).is_err() {
                setsockopt(&self.socket, sockopt::SndBuf, &needed)?;
            }
            Ok(())
        });
        let room = room.and_then(|()| enough());
        room.map_err(|errno| KernelError::Send(errno.into()))
    }

    /// A sequence number that no earlier request had.
    pub(super) fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Leaves out numbers that somebody has counted on by himself.
    pub(super) fn skip_sequences(&mut self, count: u32) {
        self.sequence = self.sequence.wrapping_add(count);
    }

    /// Sends messages and reads until the last one, `last`, is acknowledged or refused.
    /// See [`Netlink::exchange_until`].
    pub(super) fn exchange(
        &mut self,
        datagram: &[u8],
        last: u32,
        refused: impl FnMut(u32, Refusal),
    ) -> Result<Outcome, KernelError> {
        self.exchange_until(datagram, &[last], refused)
    }

    /// Sends messages and reads until one of `ends` is acknowledged or refused.
    /// `refused` gets every refusal with its sequence number. Returns whether replies were lost,
    /// in which case those may have got none.
    pub(super) fn exchange_until(
        &mut self,
        datagram: &[u8],
        ends: &[u32],
        mut refused: impl FnMut(u32, Refusal),
    ) -> Result<Outcome, KernelError> {
        self.send(datagram)?;
        let mut wait = MsgFlags::empty();
        let mut lost = false;
        loop {
            let received = match self.receive(wait) {
                Err(KernelError::Receive(error)) if is(&error, Errno::ENOBUFS) => {
                    // The kernel handles a request before sendmsg returns: what was not lost is
                    // in the queue by now, and nothing more will come.
                    (lost, wait) = (true, MsgFlags::MSG_DONTWAIT);
                    continue;
                }
                Err(KernelError::Timeout { .. }) if lost => return Ok(Outcome::RepliesLost),
                other => other?,
            };
            for message in messages(received) {
                let (header, payload) = message.map_err(malformed("acknowledgement"))?;
                if libc::c_int::from(header.kind) != libc::NLMSG_ERROR {
                    continue;
                }
                if let Some(refusal) = read_error(header, payload).map_err(malformed("error"))? {
                    refused(header.sequence, refusal);
                }
                if ends.contains(&header.sequence) {
                    return Ok(if lost {
                        Outcome::RepliesLost
                    } else {
                        Outcome::AllAnswered
                    });
                }
            }
        }
    }

    /// Asks for one thing, and hands its answer to `read`, unless it is refused.
    pub(super) fn ask<T>(
        &mut self,
        what: &'static str,
        request: impl FnOnce(&mut Writer, u32),
        read: impl FnOnce(&[u8]) -> Result<T, Malformed>,
    ) -> Result<Result<T, Refusal>, KernelError> {
        let sequence = self.next_sequence();
        let mut writer = Writer::default();
        request(&mut writer, sequence);
        self.send(writer.bytes())?;
        loop {
            for message in messages(self.receive(MsgFlags::empty())?) {
                let (header, payload) = message.map_err(malformed(what))?;
                if header.sequence != sequence {
                    continue;
                }
                if libc::c_int::from(header.kind) != libc::NLMSG_ERROR {
                    return Ok(Ok(read(payload).map_err(malformed(what))?));
                }
                if let Some(refusal) = read_error(header, payload).map_err(malformed(what))? {
                    return Ok(Err(refusal));
                }
            }
        }
    }

    /// Lists things: every message of the answer goes to `read`, which keeps what it wants.
    /// Complete, or an error. A list that changed while it was read (`NLM_F_DUMP_INTR`) is thrown
    /// away and read again.
    pub(super) fn dump<T>(
        &mut self,
        what: &'static str,
        request: impl Fn(&mut Writer, u32),
        mut read: impl FnMut(&[u8], &mut Vec<T>) -> Result<(), Malformed>,
    ) -> Result<Vec<T>, KernelError> {
        for _ in 0..DUMP_ATTEMPTS {
            let sequence = self.next_sequence();
            let mut writer = Writer::default();
            request(&mut writer, sequence);
            self.send(writer.bytes())?;
            let mut list = Vec::new();
            if self.read_dump(what, sequence, |payload| read(payload, &mut list))? {
                return Ok(list);
            }
        }
        Err(KernelError::Interrupted {
            what,
            attempts: DUMP_ATTEMPTS,
        })
    }

    /// Reads one dump to its end; whether it was undisturbed.
    fn read_dump(
        &mut self,
        what: &'static str,
        sequence: u32,
        mut read: impl FnMut(&[u8]) -> Result<(), Malformed>,
    ) -> Result<bool, KernelError> {
        let mut undisturbed = true;
        loop {
            for message in messages(self.receive(MsgFlags::empty())?) {
                let (header, payload) = message.map_err(malformed(what))?;
                if header.sequence != sequence {
                    continue;
                }
                undisturbed &= !header.has(libc::NLM_F_DUMP_INTR);
                let refusal = match libc::c_int::from(header.kind) {
                    libc::NLMSG_DONE => read_done(header, payload),
                    libc::NLMSG_ERROR => read_error(header, payload),
                    libc::NLMSG_NOOP => continue,
                    _ => {
                        read(payload).map_err(malformed(what))?;
                        continue;
                    }
                };
                return match refusal.map_err(malformed(what))? {
                    Some(source) => Err(KernelError::Dump { what, source }),
                    None => Ok(undisturbed),
                };
            }
        }
    }

    fn send(&self, datagram: &[u8]) -> Result<(), KernelError> {
        loop {
            match self.socket.send(datagram, 0) {
                Ok(_) => return Ok(()),
                Err(error) if is(&error, Errno::EINTR) => {}
                Err(error) => return Err(KernelError::Send(error)),
            }
        }
    }

    /// One datagram, whole.
    fn receive(&mut self, flags: MsgFlags) -> Result<&[u8], KernelError> {
        // MSG_TRUNC makes the kernel say the real length, so that a cut is noticed.
        let flags = flags | MsgFlags::MSG_TRUNC;
        let length = loop {
            match recv(self.socket.as_raw_fd(), &mut self.buffer, flags) {
                Ok(length) => break length,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    return Err(KernelError::Timeout {
                        seconds: TIMEOUT_SECONDS,
                    });
                }
                Err(errno) => return Err(KernelError::Receive(errno.into())),
            }
        };
        self.buffer
            .get(..length)
            .ok_or(KernelError::TooLong { length })
    }
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A message without a refusal was done.
    AllAnswered,
    /// The receive queue overflowed: a message without a refusal may or may not have been done.
    RepliesLost,
}

/// The socket, and the size of its receive queue in bytes.
fn open_socket(protocol: isize) -> io::Result<(Socket, usize)> {
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.set_ext_ack(true)?;
    socket.set_cap_ack(true)?;
    // Before Linux 4.20 there is no strict checking; requests are understood without it. It means something to rtnetlink
    // alone.
    let _ = socket.set_netlink_get_strict_chk(true);
    setsockopt(
        &socket,
        sockopt::ReceiveTimeout,
        &TimeVal::seconds(TIMEOUT_SECONDS.into()),
    )?;
    // Beyond net.core.rmem_max only with CAP_NET_ADMIN in the initial user namespace; without it
    // batches are smaller.
    if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_QUEUE).is_err() {
        setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_QUEUE)?;
    }
    let queue = socket.get_rx_buf_sz()?;
    Ok((socket, queue))
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}

fn malformed(what: &'static str) -> impl Fn(Malformed) -> KernelError {
    move |source| KernelError::Malformed { what, source }
}

/// `struct nlmsgerr`: the error and the header of the request, then what the kernel says about
/// it. `None` for an acknowledgement.
fn read_error(header: Header, payload: &[u8]) -> Result<Option<Refusal>, Malformed> {
    // Without NETLINK_CAP_ACK the whole request comes back before the text.
    let request = match header.has(libc::NLM_F_CAPPED) {
        true => 16,
        false => u32_at(payload, 4)? as usize,
    };
    read_refusal(header, payload, super::wire::align(request))
}

/// `NLMSG_DONE`: an error, or 0, then what the kernel says about it.
fn read_done(header: Header, payload: &[u8]) -> Result<Option<Refusal>, Malformed> {
    read_refusal(header, payload, 0)
}

fn read_refusal(header: Header, payload: &[u8], skip: usize) -> Result<Option<Refusal>, Malformed> {
    let errno = (u32_at(payload, 0)? as i32).saturating_neg();
    if errno <= 0 {
        return Ok(None);
    }
    let mut said = None;
    if header.has(libc::NLM_F_ACK_TLVS) {
        for attribute in attributes(payload.get(4 + skip..).unwrap_or_default()) {
            if let (NLMSGERR_ATTR_MSG, value) = attribute? {
                said = Some(text(value).into());
            }
        }
    }
    Ok(Some(Refusal::Kernel { errno, text: said }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With strict checking the kernel refuses a dump by an `NLMSG_DONE` with an error in it, which
    /// looks like the end of an empty list to who does not read it.
    #[test]
    fn a_refused_dump_is_an_error_and_not_an_empty_list() {
        let mut netlink = Netlink::open(NETLINK_ROUTE).unwrap();
        let request = |writer: &mut Writer, sequence: u32| {
            writer.begin(libc::RTM_GETROUTE, libc::NLM_F_DUMP, sequence);
            // A TOS to dump by is not supported.
            writer.put(&[libc::AF_INET as u8, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0]);
            writer.end();
        };
        let list = netlink.dump("routes", request, |_, list: &mut Vec<()>| {
            list.push(());
            Ok(())
        });
        let Err(KernelError::Dump { source, .. }) = list else {
            panic!("{list:?}");
        };
        assert!(source.is(Errno::EINVAL), "{source}");
        assert!(
            source.to_string().len() > "EINVAL: Invalid argument".len(),
            "{source}"
        );
    }

    /// Requests that change nothing and are refused, each: a lookup without an address, of a TOS
    /// that cannot be.
    fn bad_requests(netlink: &mut Netlink, count: u32) -> (Writer, u32) {
        let mut writer = Writer::default();
        let mut last = 0;
        for _ in 0..count {
            last = netlink.next_sequence();
            writer.begin(libc::RTM_GETROUTE, 0, last);
            writer.put(&[libc::AF_INET as u8, 0, 0, 1, 0, 0, 1, 1, 0, 0, 0, 0]);
            writer.end();
        }
        writer.flag_last(libc::NLM_F_ACK);
        (writer, last)
    }

    #[test]
    fn an_overflow_of_replies_is_said_and_the_socket_stays_usable() {
        let mut netlink = Netlink::open(NETLINK_ROUTE).unwrap();
        setsockopt(&netlink.socket, sockopt::RcvBuf, &16384).unwrap();
        let mut exchange = |count| {
            let (writer, last) = bad_requests(&mut netlink, count);
            let mut refusals = 0;
            let outcome = netlink.exchange(writer.bytes(), last, |_, _| refusals += 1);
            (outcome.unwrap(), refusals)
        };
        let (outcome, refusals) = exchange(500);
        assert_eq!(outcome, Outcome::RepliesLost);
        assert!((1..500).contains(&refusals), "{refusals}");
        assert_eq!(exchange(5), (Outcome::AllAnswered, 5));
    }

    #[test]
    fn an_error_is_read_with_and_without_the_request_it_quotes() {
        let mut said = Writer::default();
        said.attribute(NLMSGERR_ATTR_MSG, b"because\0");
        let errno = (-(libc::ENODEV)).to_ne_bytes();
        for (capped, quoted) in [(libc::NLM_F_CAPPED, 16u32), (0, 64)] {
            let header = Header {
                kind: libc::NLMSG_ERROR as u16,
                flags: (capped | libc::NLM_F_ACK_TLVS) as u16,
                sequence: 1,
                port: 0,
            };
            let mut payload = errno.to_vec();
            // The length in a quoted header is that of the whole request, quoted or not.
            payload.extend(64u32.to_ne_bytes());
            payload.resize(4 + quoted as usize, 0);
            payload.extend_from_slice(said.bytes());
            let refusal = read_error(header, &payload).unwrap().unwrap();
            assert_eq!(refusal.to_string(), "because (ENODEV: No such device)");
        }
    }
}
