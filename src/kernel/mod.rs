//! The only place that knows netlink: reads a node ([`Kernel::observe`]) and changes its routes
//! and nexthop objects ([`Kernel::apply`]).
//!
//! Owns the netlink sockets, the wire format, the lock against a second writer and the private
//! namespace of a rehearsal. Must not decide anything: which route is wanted, whose slot it is
//! and whether a removal is allowed is for `plan` to say. Blocking and single-threaded; a
//! [`Kernel`] belongs to the network namespace of the thread that opened it.
//!
//! - `wire`, `socket`: framing, and request and reply; they know no routes.
//! - `route`, `nexthop`, `rule`: messages about routes, nexthop objects and policy rules, to and from the model.
//! - `observe`, `apply`: the two things this module is for. `way`: the kernel's answer about one packet.
//! - `nat`: our table of nftables ([`Kernel::nat`], [`Kernel::set_nat`]), in the same way on a socket of its own.
//! - `settings`: [`Kernel::sysctls`] and their memory.
//! - [`Events`]: what the kernel tells without being asked, on a socket of its own.
//! - [`Neighbours`]: who answers on a link, for health checks; on a socket of its own as well.
//! - [`SysctlTree`], [`SysctlMemory`]: settings below `/proc/sys/net`, and what they were before us.
//! - [`lock`]: one writer per network namespace and protocol number.
//! - [`sandbox`], `scene`: a namespace of its own that looks like a node, for `srsync try`.

mod apply;
mod error;
mod events;
pub mod lock;
mod nat;
mod neighbour;
mod nexthop;
mod observe;
mod route;
mod rule;
pub mod sandbox;
mod scene;
mod settings;
mod socket;
mod sysctl;
mod sysctl_memory;
mod way;
mod wire;

use crate::model::egress::FibRule;
use crate::model::{NextHopId, NextHopKind, Route};

pub use error::{KernelError, Refusal};
pub use events::{Events, KernelEvent, NextHopEvent, RouteEvent};
pub use lock::{Lock, LockError};
pub use nat::{NatEvent, NatEvents};
pub use neighbour::{Neighbour, Neighbours};
pub use observe::{Interest, NextHops, Tables, tells_of_routes_by_nexthops};
use settings::Settings;
pub use sysctl::{SysctlError, SysctlTree};
pub use sysctl_memory::SysctlMemory;
pub use wire::Malformed;

/// The kernel of one network namespace, by way of one rtnetlink socket, and one to nfnetlink where it is needed.
#[derive(Debug)]
pub struct Kernel {
    netlink: socket::Netlink,
    /// Opened by the first who asks for our table.
    netfilter: Option<socket::Netlink>,
    settings: Settings,
}

impl Kernel {
    /// Opens a socket in the network namespace of the calling thread. Needs no privilege; only
    /// [`Kernel::apply`] does.
    pub fn open() -> Result<Self, KernelError> {
        Ok(Self {
            netlink: socket::Netlink::open(socket::NETLINK_ROUTE)?,
            netfilter: None,
            settings: Settings::default(),
        })
    }
}

/// One change of the routing table, or of the nexthop objects and policy rules beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// Install a route in a slot that is free; an occupied slot is refused with `EEXIST`.
    Add(&'a Route),
    /// Put this route in the place of whatever is in its slot, without a gap.
    ///
    /// Only for a slot whose occupant is ours: the kernel takes over a foreign one silently
    /// (`ip route replace`). A slot that turns out to be free is filled.
    ///
    /// A lookup that holds the old route in just that moment can find it dead and no other (`fib_dead` in
    /// `fib_table_lookup`, net/ipv4/fib_trie.c): one packet in some ten thousand replacements, on a
    /// machine that stops it there. Routes by a nexthop object that changes are spared that.
    Replace(&'a Route),
    /// Remove exactly this route, if it is there and carries our protocol.
    Remove(&'a Route),
    /// Make a nexthop object with a number that is free; a taken one is refused with `EEXIST`.
    AddNextHop(NextHopId, &'a NextHopKind),
    /// Put this in the place of the object with this number: all routes and groups that refer to
    /// it go the new way, at once and without a gap. A number that turns out to be free is filled.
    ///
    /// Only for an object that is ours: the kernel gives a foreign lone one to us silently. What it
    /// refuses is to turn a lone object into a group, a group into one of another type or with
    /// another number of buckets, and whatever a route or group that uses it could not use.
    ReplaceNextHop(NextHopId, &'a NextHopKind),
    /// Remove the object with this number, **and every route that refers to it**, whosever they
    /// are; groups lose it as a member, and go with their routes when it was the last one.
    ///
    /// Only for an object that is ours, and when no route leads by it any more: the kernel looks
    /// at the number alone.
    RemoveNextHop(NextHopId),
    /// Make a policy rule, behind others of its priority. Where srsync has it already it is refused with `EEXIST`; the
    /// same rule of another owner stays beside it.
    AddRule(&'a FibRule),
    /// Remove exactly this policy rule, if it is there and carries our protocol.
    RemoveRule(&'a FibRule),
}

/// A change that was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which one: its place among the changes given to [`Kernel::apply`].
    pub index: usize,
    /// Why.
    pub error: Refusal,
}
