//! Changing routes, nexthop objects and policy rules: encodes changes into batches, sends them, and collects what
//! was refused.
//!
//! Must not decide anything; see [`Change`] for what the planner has to guarantee.

use std::net::IpAddr;

use netlink_packet_core::Emitable;
use nix::errno::Errno;
use nix::libc;

use super::error::{KernelError, Refusal};
use super::nexthop;
use super::route::{self, Request};
use super::rule::{self, Rules};
use super::socket::{Netlink, Outcome};
use super::wire::Writer;
use super::{Change, Failure, Kernel};
use crate::model::{
    Family, IfIndex, NextHop, NextHopId, Protocol, Route, RouteType, Scope, Weight,
};

/// A datagram is at most this long: the kernel copies it into one piece of memory.
const BATCH_BYTES: usize = 64 * 1024;

/// `RT_SCOPE_NOWHERE`: in a removal, "whatever its scope".
pub(super) const ANY_SCOPE: Scope = Scope::new(255);

/// The device of a route that goes nowhere, in IPv6: the loopback interface, which is number 1 in
/// every namespace (`LOOPBACK_IFINDEX`, include/net/flow.h).
const LOOPBACK: NextHop = NextHop {
    via: None,
    link: Some(IfIndex::new(1)),
    weight: Weight::ONE,
    on_link: false,
};

impl Kernel {
    /// Makes the changes, in their order (removals of routes that follow each other in an order that
    /// suits the kernel), as routes, nexthop objects and policy rules of `protocol`. Returns those that failed, by
    /// index; none of them keeps the others from being made. Needs CAP_NET_ADMIN.
    pub fn apply(
        &mut self,
        protocol: Protocol,
        changes: &[Change<'_>],
    ) -> Result<Vec<Failure>, KernelError> {
        let mut batch = Batch::new(&mut self.netlink);
        for index in order(changes) {
            if let Some(change) = changes.get(index) {
                push(&mut batch, protocol, index, change)?;
            }
        }
        let mut failures = batch.finish()?;
        failures.retain(|failure| {
            let change = changes.get(failure.index);
            !change.is_some_and(|change| is_gone(change, &failure.error))
        });
        for failure in &mut failures {
            let said = failure.error.clone();
            failure.error = rule::in_words(changes.get(failure.index), said);
        }
        failures.sort_by_key(|failure| failure.index);
        failures.dedup_by_key(|failure| failure.index);
        Ok(failures)
    }
}

/// Whether a refusal says that what was to go is gone already.
fn is_gone(change: &Change<'_>, error: &Refusal) -> bool {
    match change {
        // "Nexthop id does not exist": with its object the route went, too. To see it:
        // `ip route del 192.0.2.0/24 nhid 4711` (`inet_rtm_delroute`, net/ipv4/fib_frontend.c).
        Change::Remove(route) if route.attrs.nexthop.is_some() => {
            error.is(Errno::ESRCH) || error.is(Errno::EINVAL)
        }
        Change::Remove(_) => error.is(Errno::ESRCH),
        Change::RemoveNextHop(_) | Change::RemoveRule(_) => error.is(Errno::ENOENT),
        _ => false,
    }
}

/// The order in which changes are sent: as given, but runs of removals of routes as
/// [`removal_rank`] says.
fn order(changes: &[Change<'_>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..changes.len()).collect();
    let removed = |index: &usize| match changes.get(*index) {
        Some(Change::Remove(route)) => Some(*route),
        _ => None,
    };
    for run in order.chunk_by_mut(|a, b| removed(a).is_some() == removed(b).is_some()) {
        if run.first().and_then(removed).is_some() {
            run.sort_by_cached_key(|index| removed(index).map(removal_rank));
        }
    }
    order
}

/// Where in a run a removal is cheapest. IPv4 routes stand in a trie whose nodes shrink as they
/// empty (`fib_trie.c:resize`): from one end to the other, 1,000,000 removals reshape the same
/// large nodes again and again, which takes more than twice as long as spreading them evenly over
/// the trie, as reversed bits do (8.4 s against 3.6 s). IPv6 has no such nodes; there neighbours
/// are best removed one after the other (3.9 s against 8.5 s).
fn removal_rank(route: &Route) -> (Family, u128) {
    match route.key.prefix.address() {
        IpAddr::V4(v4) => (Family::V4, u32::from(v4).reverse_bits().into()),
        IpAddr::V6(v6) => (Family::V6, v6.into()),
    }
}

fn push(
    batch: &mut Batch<'_>,
    protocol: Protocol,
    index: usize,
    change: &Change<'_>,
) -> Result<(), KernelError> {
    let install = |route, flags| Request {
        kind: libc::RTM_NEWROUTE,
        flags: libc::NLM_F_CREATE | flags,
        route,
        hops: route.attrs.hops(),
        protocol,
        scope: route.attrs.scope(route.key.prefix.family()),
    };
    let object = |id: &NextHopId, kind, flags| nexthop::Request {
        flags: libc::NLM_F_CREATE | flags,
        id: *id,
        kind,
        protocol,
    };
    match change {
        Change::Add(route) => batch.push(index, &install(route, libc::NLM_F_EXCL)),
        Change::Replace(route) => batch.push(index, &install(route, libc::NLM_F_REPLACE)),
        Change::Remove(route) => {
            let request = Request {
                kind: libc::RTM_DELROUTE,
                flags: 0,
                route,
                hops: &[],
                protocol,
                scope: ANY_SCOPE,
            };
            remove(batch, index, request)
        }
        Change::AddNextHop(id, kind) => {
            batch.push_nexthop(index, &object(id, kind, libc::NLM_F_EXCL))
        }
        Change::ReplaceNextHop(id, kind) => {
            batch.push_nexthop(index, &object(id, kind, libc::NLM_F_REPLACE))
        }
        Change::RemoveNextHop(id) => batch.push_with(index, 64, |writer, sequence| {
            nexthop::encode_removal(writer, sequence, *id);
        }),
        Change::AddRule(rule) => {
            let step = batch.rules(protocol)?.add(rule, protocol);
            batch.push_rule(index, &step, protocol)
        }
        Change::RemoveRule(rule) => {
            let steps = batch.rules(protocol)?.remove(rule);
            let mut steps = steps.iter();
            steps.try_for_each(|step| batch.push_rule(index, step, protocol))
        }
    }
}

/// Removes a route by everything that tells it from others in its slot. The protocol is always
/// among it, so that only ours can go. (IPv4 takes metric 0 for "any metric", lowest first: a route
/// of ours that has another metric can go in its place, if it is gone by then.)
fn remove(batch: &mut Batch<'_>, index: usize, request: Request<'_>) -> Result<(), KernelError> {
    let route: &Route = request.route;
    let hops = route.attrs.hops();
    let family = route.key.prefix.family();
    let selected: &[NextHop] = match (family, hops) {
        // The number of the object tells it from others.
        _ if route.attrs.nexthop.is_some() => &[],
        // IPv6 next hops are siblings, each with a protocol of its own; a foreign one may have
        // been appended (`ip -6 route append`). Removing one by one takes only ours.
        (Family::V6, [_, _, ..]) => {
            for hop in hops.chunks(1) {
                batch.push(
                    index,
                    &Request {
                        hops: hop,
                        ..request
                    },
                )?;
            }
            return Ok(());
        }
        (Family::V6, []) if route.attrs.kind != RouteType::Unicast => &[LOOPBACK],
        // IPv4 compares a list of hops in the kernel's order, which the model does not keep
        // (`fib_nh_match`, net/ipv4/fib_semantics.c).
        (Family::V4, [_, _, ..]) => &[],
        (Family::V4, _) if route.attrs.extra => &[],
        (_, hops) => hops,
    };
    batch.push(
        index,
        &Request {
            hops: selected,
            ..request
        },
    )
}

/// Messages on their way to the kernel. Only the last one of a datagram asks for an
/// acknowledgement; refusals come without asking.
pub(super) struct Batch<'k> {
    netlink: &'k mut Netlink,
    writer: Writer,
    /// For each message in `writer`, the change it belongs to. Their sequence numbers follow each
    /// other.
    owners: Vec<usize>,
    /// Sequence number of the first message in `writer`.
    first: u32,
    failures: Vec<Failure>,
    /// Our policy rules, once a change is about one.
    rules: Option<Rules>,
}

impl<'k> Batch<'k> {
    pub(super) fn new(netlink: &'k mut Netlink) -> Self {
        Self {
            netlink,
            writer: Writer::default(),
            owners: Vec::new(),
            first: 0,
            failures: Vec::new(),
            rules: None,
        }
    }

    /// Adds a message about a route for the change `index`.
    pub(super) fn push(&mut self, index: usize, request: &Request<'_>) -> Result<(), KernelError> {
        self.push_with(index, route::longest(request), |writer, sequence| {
            route::encode(writer, sequence, request);
        })
    }

    /// Adds a message about a nexthop object.
    fn push_nexthop(
        &mut self,
        index: usize,
        request: &nexthop::Request<'_>,
    ) -> Result<(), KernelError> {
        self.push_with(index, nexthop::longest(request), |writer, sequence| {
            nexthop::encode(writer, sequence, request);
        })
    }

    /// Adds a message about a policy rule.
    fn push_rule(
        &mut self,
        index: usize,
        step: &rule::Step,
        protocol: Protocol,
    ) -> Result<(), KernelError> {
        self.push_with(index, rule::LONGEST, |writer, sequence| {
            rule::encode(writer, sequence, step, protocol);
        })
    }

    /// Our policy rules, as they are once everything that was added so far is done.
    fn rules(&mut self, protocol: Protocol) -> Result<&mut Rules, KernelError> {
        let read = match self.rules.take() {
            Some(known) => known,
            None => Rules::read(self.netlink, protocol)?,
        };
        Ok(self.rules.insert(read))
    }

    /// Adds a message about something else.
    pub(super) fn push_message(
        &mut self,
        index: usize,
        kind: u16,
        flags: libc::c_int,
        message: &impl Emitable,
    ) -> Result<(), KernelError> {
        let mut body = vec![0; message.buffer_len()];
        message.emit(&mut body);
        self.push_with(index, body.len() + 64, |writer, sequence| {
            writer.begin(kind, flags, sequence);
            writer.put(&body);
            writer.end();
        })
    }

    /// Adds a message of at most `bytes` for the change `index`; sends what was there before, if it
    /// would not fit.
    fn push_with(
        &mut self,
        index: usize,
        bytes: usize,
        encode: impl FnOnce(&mut Writer, u32),
    ) -> Result<(), KernelError> {
        let full = self.owners.len() >= self.netlink.batch_limit()
            || self.writer.bytes().len() + bytes > BATCH_BYTES;
        if full {
            self.send()?;
        }
        let sequence = self.netlink.next_sequence();
        if self.writer.is_empty() {
            self.first = sequence;
        }
        self.owners.push(index);
        encode(&mut self.writer, sequence);
        Ok(())
    }

    /// Sends what is left and returns everything that failed.
    pub(super) fn finish(mut self) -> Result<Vec<Failure>, KernelError> {
        self.send()?;
        Ok(self.failures)
    }

    fn send(&mut self) -> Result<(), KernelError> {
        if self.owners.is_empty() {
            return Ok(());
        }
        self.writer.flag_last(libc::NLM_F_ACK);
        let (first, owners, failures) = (self.first, &self.owners, &mut self.failures);
        let last = first.wrapping_add(owners.len() as u32 - 1);
        // Where the first message without an answer is, should answers get lost: those that do
        // come are in the order of the messages.
        let mut answered = 0;
        let outcome = self
            .netlink
            .exchange(self.writer.bytes(), last, |sequence, error| {
                let place = sequence.wrapping_sub(first) as usize;
                if let Some(index) = owners.get(place) {
                    answered = place + 1;
                    failures.push(Failure {
                        index: *index,
                        error,
                    });
                }
            })?;
        if outcome == Outcome::RepliesLost {
            let unknown = owners.get(answered..).unwrap_or_default();
            failures.extend(unknown.iter().map(|index| Failure {
                index: *index,
                error: Refusal::Lost,
            }));
        }
        self.writer.clear();
        self.owners.clear();
        Ok(())
    }
}
