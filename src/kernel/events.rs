//! What the kernel tells without being asked: routes, links, addresses, rules, nexthop objects and settings of
//! interfaces that come, change and go.
//!
//! Owns a socket of its own, so that a flood of news never fills the queue of answers. Must not
//! judge: an event is a hint that reading the node again may show something else, and the reading
//! is the truth. Much changes without an event (removing an address takes the routes that have
//! it as their source).

use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use socket2::{SockFilter, SockRef};

use super::Kernel;
use super::error::KernelError;
use super::nexthop;
use super::route::{self, Interned};
use super::wire::{Header, messages};
use crate::model::{NextHopId, Protocol, RouteKey};

/// What is listened to (`RTNLGRP_*`, linux/rtnetlink.h).
///
/// `NETCONF` tells of forwarding and `rp_filter` below `/proc/sys/net`, without saying who wrote there: our own writes are
/// heard, too. That makes no loop: they lead to one more pass, which finds everything as it is wanted, writes
/// nothing, and so causes no event.
const GROUPS: [u32; 10] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV6_ROUTE,
    libc::RTNLGRP_IPV4_RULE,
    libc::RTNLGRP_IPV6_RULE,
    libc::RTNLGRP_IPV4_NETCONF,
    libc::RTNLGRP_IPV6_NETCONF,
    libc::RTNLGRP_NEXTHOP,
];

/// Room asked for, in bytes: some ten thousand events, for the time that it takes to wake up.
/// Pages are taken only while something waits in them.
const RECEIVE_QUEUE: usize = 8 * 1024 * 1024;

/// A message about one thing is far smaller; what is longer is cut and taken as "something".
pub(super) const LONGEST: usize = 32 * 1024;

/// How many events are handed over at once at most.
const BATCH: usize = 512;

/// Something happened in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelEvent {
    /// To a route.
    Route(RouteEvent),
    /// To a nexthop object.
    NextHop(NextHopEvent),
    /// To a link, address, rule, or setting of an interface.
    Node,
    /// There was more than could be heard: anything may have happened.
    Overflow,
}

/// A route came, changed or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteEvent {
    /// Its slot.
    pub key: RouteKey,
    /// Whose it is, or was.
    pub protocol: Protocol,
    /// Whether it went.
    pub gone: bool,
    /// Whether it leads straight out of a link, as those of connected subnets do.
    pub direct: bool,
    /// Who did it, as far as it can be told: `pid 4711 (ip)`. `None` is the kernel itself.
    pub by: Option<Arc<str>>,
}

/// A nexthop object came, changed or went. Those that go with a link or its carrier do so without an
/// event (`nexthop_flush_dev`, net/ipv4/nexthop.c); that of the link tells of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextHopEvent {
    /// Its number.
    pub id: NextHopId,
    /// Whose it is, or was.
    pub protocol: Protocol,
    /// Whether it went, and its routes with it.
    pub gone: bool,
    /// Who did it, as far as it can be told, as in [`RouteEvent::by`].
    pub by: Option<Arc<str>>,
}

/// The kernel's news, of the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Events {
    socket: Socket,
    buffer: Vec<u8>,
    /// Who made the last change, and how he is called: thousands in a row are by the same one.
    culprit: Option<(u32, Arc<str>)>,
}

impl Events {
    /// Listens to everything but the changes that `kernel` itself makes: those are left out by a
    /// filter in the kernel, so that adding 100,000 routes does not fill our own ears.
    ///
    /// # Errors
    /// If the socket cannot be made.
    pub fn open(kernel: &Kernel) -> Result<Self, KernelError> {
        let own_port = kernel.netlink.port()?;
        let socket = open_socket(own_port).map_err(KernelError::Open)?;
        Ok(Self {
            socket,
            buffer: vec![0; LONGEST],
            culprit: None,
        })
    }

    /// Waits for events, and returns those that are there by then, in their order; at most some
    /// hundred. May return none.
    ///
    /// After an overflow the queue is emptied first: until then the kernel drops what is new without
    /// another word (`netlink_overrun`, net/netlink/af_netlink.c), and whoever read the node in
    /// between would miss it.
    ///
    /// # Errors
    /// If the socket fails, which it does not by itself.
    pub fn wait(&mut self) -> Result<Vec<KernelEvent>, KernelError> {
        let (mut events, culprit) = (Vec::new(), &mut self.culprit);
        let overflow = hear(&self.socket, &mut self.buffer, |datagram| {
            read(datagram, culprit, &mut events);
            events.len() < BATCH
        })?;
        if overflow {
            events.push(KernelEvent::Overflow);
        }
        Ok(events)
    }
}

/// Waits for a datagram, and hands over those that are there by then, as long as `read` wants more. Returns whether some were
/// lost; then the queue is empty afterwards.
pub(super) fn hear(
    socket: &Socket,
    buffer: &mut [u8],
    mut read: impl FnMut(&[u8]) -> bool,
) -> Result<bool, KernelError> {
    let (mut overflow, mut wanted) = (false, true);
    let mut flags = MsgFlags::empty();
    while overflow || wanted {
        match recv(socket.as_raw_fd(), buffer, flags) {
            Ok(length) if wanted => wanted = read(buffer.get(..length).unwrap_or_default()),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => break,
            Err(Errno::ENOBUFS) => overflow = true,
            Err(errno) => return Err(KernelError::Receive(errno.into())),
        }
        flags = MsgFlags::MSG_DONTWAIT;
    }
    Ok(overflow)
}

fn read(datagram: &[u8], culprit: &mut Option<(u32, Arc<str>)>, events: &mut Vec<KernelEvent>) {
    let mut known = Interned::default();
    for message in messages(datagram) {
        let event = match message {
            Ok((header, payload)) => event(header, payload, &mut known, culprit),
            Err(_) => Some(KernelEvent::Node),
        };
        events.extend(event);
    }
}

/// What a message tells. One that cannot be read tells that something happened.
fn event(
    header: Header,
    payload: &[u8],
    known: &mut Interned,
    culprit: &mut Option<(u32, Arc<str>)>,
) -> Option<KernelEvent> {
    let gone = match header.kind {
        libc::RTM_NEWROUTE => false,
        libc::RTM_DELROUTE => true,
        nexthop::RTM_NEWNEXTHOP | nexthop::RTM_DELNEXTHOP => {
            return Some(nexthop_event(header, payload, culprit));
        }
        _ => return Some(KernelEvent::Node),
    };
    let observed = match route::decode(payload, known, |_, _, _| true) {
        Ok(observed) => observed?,
        Err(_) => return Some(KernelEvent::Node),
    };
    Some(KernelEvent::Route(RouteEvent {
        key: observed.route.key,
        protocol: observed.protocol,
        gone,
        direct: observed
            .route
            .attrs
            .hops()
            .iter()
            .all(|hop| hop.via.is_none()),
        by: name_of(header.port, culprit),
    }))
}

fn nexthop_event(
    header: Header,
    payload: &[u8],
    culprit: &mut Option<(u32, Arc<str>)>,
) -> KernelEvent {
    match nexthop::decode(payload) {
        Ok(object) => KernelEvent::NextHop(NextHopEvent {
            id: object.id,
            protocol: object.protocol,
            gone: header.kind == nexthop::RTM_DELNEXTHOP,
            by: name_of(header.port, culprit),
        }),
        Err(_) => KernelEvent::Node,
    }
}

/// Who is behind a netlink port. The kernel gives the first socket of a process the process's
/// number as its port (`netlink_autobind`, net/netlink/af_netlink.c); a later one has a number that
/// no process has. In another PID namespace the number may be somebody else's here, so a process
/// counts only if it is in this network namespace, as far as that can be seen.
fn name_of(port: u32, culprit: &mut Option<(u32, Arc<str>)>) -> Option<Arc<str>> {
    if port == 0 {
        return None;
    }
    if let Some((_, name)) = culprit.as_ref().filter(|(known, _)| *known == port) {
        return Some(name.clone());
    }
    let name: Arc<str> = match command_here(port) {
        Some(command) => format!("pid {port} ({command})").into(),
        None => format!("a process that is gone by now (netlink port {port})").into(),
    };
    *culprit = Some((port, name.clone()));
    Some(name)
}

/// The command of a process, if it is in this network namespace.
fn command_here(pid: u32) -> Option<String> {
    let theirs = namespace_of(&pid.to_string())?;
    let ours = namespace_of("thread-self")?;
    let command = std::fs::read(format!("/proc/{pid}/comm")).ok()?;
    let command = String::from_utf8_lossy(&command).trim().to_owned();
    (theirs == ours).then_some(command)
}

/// What tells the network namespace of a process from others. The link `ns/net` says it only to who
/// has all privileges of that process (`ptrace_may_access`), which a daemon has given up; the files
/// below `net` everybody may look at, and they have inodes of their own in each namespace
/// (`proc_tgid_net_lookup`, fs/proc/proc_net.c).
fn namespace_of(process: &str) -> Option<u64> {
    let file = std::fs::metadata(format!("/proc/{process}/net/dev"));
    Some(file.ok()?.ino())
}

fn open_socket(own_port: u32) -> std::io::Result<Socket> {
    let socket = listening(NETLINK_ROUTE, own_port)?;
    for group in GROUPS {
        // A kernel before 5.3 has no nexthop objects and no group for them.
        let joined = socket.add_membership(group);
        if group != libc::RTNLGRP_NEXTHOP {
            joined?;
        }
    }
    Ok(socket)
}

/// A socket with a long queue, for news of a part of the kernel that `own_port` is not behind.
pub(super) fn listening(protocol: isize, own_port: u32) -> std::io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    // Beyond net.core.rmem_max only with CAP_NET_ADMIN in the initial user namespace.
    if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_QUEUE).is_err() {
        setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_QUEUE)?;
    }
    SockRef::from(&socket).attach_filter(&not_by(own_port))?;
    socket.bind(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// A packet filter that drops messages about changes which `port` asked for: `nlmsg_pid` is at
/// offset 12 of `struct nlmsghdr`, and BPF loads in network byte order.
fn not_by(port: u32) -> [SockFilter; 4] {
    let op = |code: u32| code as u16;
    let port = u32::from_be_bytes(port.to_ne_bytes());
    [
        SockFilter::new(op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS), 0, 0, 12),
        SockFilter::new(op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K), 0, 1, port),
        SockFilter::new(op(libc::BPF_RET | libc::BPF_K), 0, 0, 0),
        SockFilter::new(op(libc::BPF_RET | libc::BPF_K), 0, 0, u32::MAX),
    ]
}
