//! Policy routing rules (`RTM_*RULE`, linux/fib_rules.h) to and from the model.
//!
//! Owns reading them all, and adding and removing just one. For to the kernel what is not said fits everything:
//!
//! - **An addition** with `NLM_F_EXCL` is refused as a duplicate (`EEXIST`) also where the other rule says more (`from
//!   10.0.0.0/8` keeps `from all` out) or the opposite (`not`), at the same priority with the same action
//!   (`rule_exists`, net/core/fib_rules.c). Without that flag any rule is added, once more if it is there.
//! - **A removal** takes the first rule that has at least what is said, and whatever else (`rule_find`).
//! - **The protocol** is compared by both. So the same rule of another owner is no obstacle, and ours alone goes.
//!
//! So what is there decides what is sent: see [`Rules`].
//!
//! Must not decide which rule is wanted.

use std::net::IpAddr;

use nix::errno::Errno;
use nix::libc;

use super::error::{KernelError, Refusal};
use super::route::family_number;
use super::socket::Netlink;
use super::wire::{self, Malformed, Writer, attributes, text, u16_at, u32_at};
use super::{Change, Kernel};
use crate::model::egress::rule::RuleSelector;
use crate::model::egress::{
    FibRule, FwMark, IpProto, ObservedRule, PortRange, RuleAction, RulePriority,
};
use crate::model::{Family, InterfaceName, Prefix, Protocol, TableId};

// From linux/fib_rules.h; libc does not have them.
const FRA_DST: u16 = 1;
const FRA_SRC: u16 = 2;
const FRA_IIFNAME: u16 = 3;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
const FRA_TABLE: u16 = 15;
const FRA_FWMASK: u16 = 16;
const FRA_OIFNAME: u16 = 17;
const FRA_PAD: u16 = 18;
const FRA_PROTOCOL: u16 = 21;
const FRA_IP_PROTO: u16 = 22;
const FRA_SPORT_RANGE: u16 = 23;
const FRA_DPORT_RANGE: u16 = 24;
const FRA_SPORT_MASK: u16 = 28;
const FRA_DPORT_MASK: u16 = 29;
const FR_ACT_TO_TBL: u8 = 1;
const FR_ACT_BLACKHOLE: u8 = 6;
const FR_ACT_UNREACHABLE: u8 = 7;
const FR_ACT_PROHIBIT: u8 = 8;
const FIB_RULE_INVERT: u32 = 2;
/// `FIB_RULE_PERMANENT`, and those that say that an interface is not there now: no part of a rule.
const STATE_FLAGS: u32 = 1 | 4 | 8 | 16;
/// Says that nothing is suppressed.
const SUPPRESS_NOTHING: u32 = u32::MAX;

/// Bytes of `struct fib_rule_hdr`.
const FIB_RULE_HDR: usize = 12;

/// An upper bound for the length of a request, in bytes.
pub(super) const LONGEST: usize = 256;

impl Kernel {
    /// Every rule of both families and of every owner, in the kernel's order for each family; or an error, never a part
    /// of them.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn rules(&mut self) -> Result<Vec<ObservedRule>, KernelError> {
        let mut rules = read(&mut self.netlink, Family::V4)?;
        rules.extend(read(&mut self.netlink, Family::V6)?);
        Ok(rules)
    }
}

/// The rules of a family.
fn read(netlink: &mut Netlink, family: Family) -> Result<Vec<ObservedRule>, KernelError> {
    let mut header = [0; FIB_RULE_HDR];
    header[0] = family_number(family);
    let request = |writer: &mut Writer, sequence: u32| {
        writer.begin(libc::RTM_GETRULE, libc::NLM_F_DUMP, sequence);
        writer.put(&header);
        writer.end();
    };
    let list = netlink.dump("policy rules", request, |payload, rules| {
        rules.extend(decode(payload, family)?);
        Ok(())
    });
    match list {
        // A kernel without IPv6, or without policy routing in it, has no rules of it (`fib_nl_dumprule`).
        Err(KernelError::Dump { source, .. })
            if family == Family::V6 && source.is(Errno::EAFNOSUPPORT) =>
        {
            Ok(Vec::new())
        }
        list => list,
    }
}

/// One message to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Add this rule; it is not there.
    Add(FibRule),
    /// Add this rule, which is there, so that the kernel refuses.
    AddAgain(FibRule),
    /// Remove the first rule that has at least this.
    Remove(FibRule),
}

/// Our rules as they are while changes are made, in their order.
#[derive(Debug)]
pub(super) struct Rules {
    ours: Vec<ObservedRule>,
}

impl Rules {
    /// Those that are there now.
    pub(super) fn read(netlink: &mut Netlink, protocol: Protocol) -> Result<Self, KernelError> {
        let mut ours = read(netlink, Family::V4)?;
        ours.extend(read(netlink, Family::V6)?);
        ours.retain(|rule| rule.protocol == protocol);
        Ok(Self { ours })
    }

    /// What adds a rule.
    pub(super) fn add(&mut self, rule: &FibRule, protocol: Protocol) -> Step {
        if self.ours.iter().any(|ours| ours.is_just(rule)) {
            return Step::AddAgain(rule.clone());
        }
        self.ours.push(ObservedRule {
            rule: rule.clone(),
            protocol,
            extra: false,
        });
        Step::Add(rule.clone())
    }

    /// What removes just this rule; nothing, if it is not there.
    ///
    /// Rules of ours that the kernel would take for it and that stand in front go first, and come back behind it. That
    /// takes microseconds, and happens only to rules of one priority and one action, among which documents cannot
    /// ask for an order. What nobody can ask for (a uid range with our number) does not come back.
    pub(super) fn remove(&mut self, rule: &FibRule) -> Vec<Step> {
        // Of two that look alike, the one that a document could have asked for.
        let place = |extra| {
            let is_it = |ours: &ObservedRule| ours.rule == *rule && ours.extra == extra;
            self.ours.iter().position(is_it)
        };
        let Some(place) = place(false).or_else(|| place(true)) else {
            return Vec::new();
        };
        let (mut going, mut staying) = (Vec::new(), Vec::new());
        for (index, ours) in self.ours.drain(..).enumerate() {
            match index <= place && would_take(rule, &ours.rule) {
                true => going.push(ours),
                false => staying.push(ours),
            }
        }
        let mut steps: Vec<Step> = going
            .iter()
            .map(|gone| Step::Remove(gone.rule.clone()))
            .collect();
        going.pop();
        going.retain(|back| !back.extra);
        steps.extend(going.iter().map(|back| Step::Add(back.rule.clone())));
        staying.extend(going);
        self.ours = staying;
        steps
    }
}

/// Whether the kernel would take `other` for the rule that is to be removed: what is not said fits everything.
fn would_take(asked: &FibRule, other: &FibRule) -> bool {
    fn fits<T: PartialEq>(asked: &Option<T>, other: &Option<T>) -> bool {
        asked.is_none() || asked == other
    }
    let (a, o) = (&asked.selector, &other.selector);
    let marks = a.fwmark.is_none_or(|mark| {
        o.fwmark
            .is_some_and(|o| o.mask == mark.mask && (mark.value == 0 || mark.value == o.value))
    });
    asked.family == other.family
        && asked.priority == other.priority
        && asked.action == other.action
        && fits(&a.from, &o.from)
        && fits(&a.to, &o.to)
        && marks
        && fits(&a.iif, &o.iif)
        && fits(&a.oif, &o.oif)
        && fits(&a.ip_proto, &o.ip_proto)
        && fits(&a.sport, &o.sport)
        && fits(&a.dport, &o.dport)
        && fits(&asked.suppress_prefix_length, &other.suppress_prefix_length)
}

/// A refusal of a change of rules: that one is there already the kernel says by its number alone.
pub(super) fn in_words(change: Option<&Change<'_>>, refusal: Refusal) -> Refusal {
    match (change, refusal) {
        (Some(Change::AddRule(_)), Refusal::Kernel { errno, text: None })
            if errno == libc::EEXIST =>
        {
            Refusal::Kernel {
                errno,
                text: Some("this rule is there already, with the protocol number of srsync".into()),
            }
        }
        (_, refusal) => refusal,
    }
}

/// Appends a request to `writer` as one message. Everything that is known of a rule is in it, and the protocol, so that
/// a removal never takes a foreign one.
pub(super) fn encode(writer: &mut Writer, sequence: u32, step: &Step, protocol: Protocol) {
    let (kind, flags, rule) = match step {
        Step::Add(rule) => (libc::RTM_NEWRULE, libc::NLM_F_CREATE, rule),
        Step::AddAgain(rule) => {
            let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
            (libc::RTM_NEWRULE, flags, rule)
        }
        Step::Remove(rule) => (libc::RTM_DELRULE, 0, rule),
    };
    let selector = &rule.selector;
    let length = |prefix: &Option<Prefix>| prefix.map_or(0, |prefix| prefix.length());
    let (action, table) = match rule.action {
        RuleAction::Lookup(table) => (FR_ACT_TO_TBL, Some(table)),
        RuleAction::Blackhole => (FR_ACT_BLACKHOLE, None),
        RuleAction::Unreachable => (FR_ACT_UNREACHABLE, None),
        RuleAction::Prohibit => (FR_ACT_PROHIBIT, None),
    };
    writer.begin(kind, flags, sequence);
    writer.put(&[
        family_number(rule.family),
        length(&selector.to),
        length(&selector.from),
        0,
    ]);
    // The table is an attribute: here are only eight bits for it.
    writer.put(&[0, 0, 0, action]);
    writer.put(&(if selector.not { FIB_RULE_INVERT } else { 0 }).to_ne_bytes());
    writer.number(FRA_PRIORITY, rule.priority.0);
    writer.attribute(FRA_PROTOCOL, &[protocol.get()]);
    if let Some(table) = table {
        writer.number(FRA_TABLE, table.get());
    }
    if let Some(length) = rule.suppress_prefix_length {
        writer.number(FRA_SUPPRESS_PREFIXLEN, length.into());
    }
    put_selector(writer, selector);
    writer.end();
}

fn put_selector(writer: &mut Writer, selector: &RuleSelector) {
    for (kind, prefix) in [(FRA_SRC, selector.from), (FRA_DST, selector.to)] {
        if let Some(prefix) = prefix.filter(|prefix| prefix.length() > 0) {
            writer.address(kind, prefix.address());
        }
    }
    if let Some(FwMark { value, mask }) = selector.fwmark {
        writer.number(FRA_FWMARK, value);
        writer.number(FRA_FWMASK, mask);
    }
    for (kind, name) in [(FRA_IIFNAME, &selector.iif), (FRA_OIFNAME, &selector.oif)] {
        if let Some(name) = name {
            let terminated = [name.as_str().as_bytes(), b"\0"].concat();
            writer.attribute(kind, &terminated);
        }
    }
    if let Some(IpProto(number)) = selector.ip_proto {
        writer.attribute(FRA_IP_PROTO, &[number]);
    }
    let ports = [
        (FRA_SPORT_RANGE, selector.sport),
        (FRA_DPORT_RANGE, selector.dport),
    ];
    for (kind, range) in ports {
        if let Some(PortRange { first, last }) = range {
            let [a, b] = first.to_ne_bytes();
            let [c, d] = last.to_ne_bytes();
            writer.attribute(kind, &[a, b, c, d]);
        }
    }
}

/// Reads an `RTM_NEWRULE`; `None` if it is of another family.
fn decode(payload: &[u8], family: Family) -> Result<Option<ObservedRule>, Malformed> {
    let Some(&[of, to_length, from_length, tos, _, _, _, action]) = payload.first_chunk() else {
        return Err(Malformed("a policy rule without its header"));
    };
    let flags = u32_at(payload, 8)?;
    if of != family_number(family) {
        return Ok(None);
    }
    let mut parts = Parts {
        extra: tos != 0 || flags & !(FIB_RULE_INVERT | STATE_FLAGS) != 0,
        ..Parts::default()
    };
    parts.selector.not = flags & FIB_RULE_INVERT != 0;
    for attribute in attributes(payload.get(FIB_RULE_HDR..).unwrap_or_default()) {
        parts.read(attribute?)?;
    }
    let prefix = |address: Option<IpAddr>, length: u8| match length {
        0 => Ok(None),
        _ => address
            .filter(|address| Family::of(address) == family)
            .and_then(|address| Prefix::containing(address, length))
            .map(Some)
            .ok_or(Malformed(
                "a policy rule with a length but no address of it",
            )),
    };
    parts.selector.from = prefix(parts.from, from_length)?;
    parts.selector.to = prefix(parts.to, to_length)?;
    Ok(Some(parts.rule(family, action)))
}

/// The attributes of a rule.
#[derive(Default)]
struct Parts {
    selector: RuleSelector,
    from: Option<IpAddr>,
    to: Option<IpAddr>,
    mark: u32,
    mask: u32,
    priority: u32,
    table: u32,
    protocol: u8,
    suppress_prefix_length: Option<u8>,
    /// There is something that a document cannot say.
    extra: bool,
}

impl Parts {
    fn read(&mut self, (kind, value): (u16, &[u8])) -> Result<(), Malformed> {
        let byte = || {
            let byte = value.first().copied();
            byte.ok_or(Malformed("an attribute of a policy rule is empty"))
        };
        match kind {
            FRA_SRC => self.from = Some(wire::address(value)?),
            FRA_DST => self.to = Some(wire::address(value)?),
            FRA_IIFNAME => self.selector.iif = self.interface(value),
            FRA_OIFNAME => self.selector.oif = self.interface(value),
            FRA_PRIORITY => self.priority = u32_at(value, 0)?,
            FRA_FWMARK => self.mark = u32_at(value, 0)?,
            FRA_FWMASK => self.mask = u32_at(value, 0)?,
            FRA_TABLE => self.table = u32_at(value, 0)?,
            FRA_PROTOCOL => self.protocol = byte()?,
            FRA_IP_PROTO => self.selector.ip_proto = Some(IpProto(byte()?)),
            FRA_SPORT_RANGE => self.selector.sport = Some(ports(value)?),
            FRA_DPORT_RANGE => self.selector.dport = Some(ports(value)?),
            FRA_SUPPRESS_PREFIXLEN => match u32_at(value, 0)? {
                SUPPRESS_NOTHING => {}
                length => {
                    self.suppress_prefix_length = u8::try_from(length).ok();
                    self.extra |= self.suppress_prefix_length.is_none();
                }
            },
            // One port is a range of one and a mask of all bits to Linux 6.15 and later.
            FRA_SPORT_MASK | FRA_DPORT_MASK => self.extra |= u16_at(value, 0)? != u16::MAX,
            FRA_PAD => {}
            _ => self.extra = true,
        }
        Ok(())
    }

    fn interface(&mut self, value: &[u8]) -> Option<InterfaceName> {
        let name = InterfaceName::new(&text(value));
        self.extra |= name.is_none();
        name
    }

    fn rule(mut self, family: Family, action: u8) -> ObservedRule {
        let table = TableId::new(self.table);
        // `goto`, `nop`, and `l3mdev`, which takes the table of a VRF, look up nothing that has a number.
        let lookup_of_nothing = (RuleAction::Lookup(TableId::new(0)), true);
        let (action, unknown) = match action {
            FR_ACT_TO_TBL => (RuleAction::Lookup(table), false),
            FR_ACT_BLACKHOLE => (RuleAction::Blackhole, false),
            FR_ACT_UNREACHABLE => (RuleAction::Unreachable, false),
            FR_ACT_PROHIBIT => (RuleAction::Prohibit, false),
            _ => lookup_of_nothing,
        };
        self.selector.fwmark = (self.mask != 0).then_some(FwMark {
            value: self.mark,
            mask: self.mask,
        });
        ObservedRule {
            rule: FibRule {
                family,
                priority: RulePriority(self.priority),
                selector: self.selector,
                action,
                suppress_prefix_length: self.suppress_prefix_length,
            },
            protocol: Protocol::new(self.protocol),
            extra: self.extra || unknown,
        }
    }
}

fn ports(value: &[u8]) -> Result<PortRange, Malformed> {
    Ok(PortRange {
        first: u16_at(value, 0)?,
        last: u16_at(value, 2)?,
    })
}

#[cfg(test)]
mod tests {
    //! What is encoded is decoded again, and garbage never panics.

    use super::*;
    use proptest::prelude::*;

    fn rule() -> impl Strategy<Value = FibRule> {
        let address = prop_oneof![
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<[u8; 16]>().prop_map(IpAddr::from),
        ];
        let prefixes = (address, 1u8..=32, any::<bool>(), any::<bool>());
        let numbers = (
            any::<u32>(),
            1u32..,
            any::<u8>(),
            any::<u16>(),
            any::<u16>(),
        );
        let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
        (prefixes, numbers, flags).prop_map(|(prefixes, numbers, flags)| {
            let (address, length, from, to) = prefixes;
            let (priority, mask, small, first, last) = numbers;
            let (marked, named, ported, not) = flags;
            let prefix = Prefix::containing(address, length);
            let name = InterfaceName::new("eth0.100").filter(|_| named);
            let range = PortRange { first, last };
            FibRule {
                family: Family::of(&address),
                priority: RulePriority(priority),
                selector: RuleSelector {
                    from: prefix.filter(|_| from),
                    to: prefix.filter(|_| to),
                    fwmark: marked.then_some(FwMark {
                        value: priority & mask,
                        mask,
                    }),
                    iif: name.clone(),
                    oif: name,
                    ip_proto: ported.then_some(IpProto(small)),
                    sport: ported.then_some(range),
                    dport: ported.then_some(range),
                    not,
                },
                action: match small % 4 {
                    0 => RuleAction::Blackhole,
                    1 => RuleAction::Unreachable,
                    2 => RuleAction::Prohibit,
                    _ => RuleAction::Lookup(TableId::new(mask)),
                },
                suppress_prefix_length: ported.then_some(small),
            }
        })
    }

    fn encoded(rule: &FibRule) -> Vec<u8> {
        let mut writer = Writer::default();
        encode(&mut writer, 1, &Step::Add(rule.clone()), Protocol::SRSYNC);
        assert!(writer.bytes().len() <= LONGEST);
        let (_, payload) = wire::messages(writer.bytes()).next().unwrap().unwrap();
        payload.to_vec()
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_again(rule in rule()) {
            let decoded = decode(&encoded(&rule), rule.family).unwrap().unwrap();
            prop_assert!(decoded.is_just(&rule), "{decoded:?}");
            prop_assert_eq!(decoded.protocol, Protocol::SRSYNC);
        }

        #[test]
        fn a_message_cut_short_or_garbled_never_panics(
            rule in rule(), cut in 0usize..200, place in 0usize..200, byte in any::<u8>(),
        ) {
            let mut payload = encoded(&rule);
            if let Some(spot) = payload.get_mut(place) {
                *spot = byte;
            }
            payload.truncate(cut);
            let _ = decode(&payload, rule.family);
        }
    }

    /// What kernels to come may add makes a rule one that no document can ask for.
    #[test]
    fn an_unknown_attribute_makes_a_rule_no_documents() {
        let rule = FibRule {
            family: Family::V4,
            priority: RulePriority(7),
            selector: RuleSelector::default(),
            action: RuleAction::Blackhole,
            suppress_prefix_length: None,
        };
        for (attribute, extra) in [(99, true), (FRA_PAD, false)] {
            let mut writer = Writer::default();
            writer.attribute(attribute, &[]);
            let payload = [&encoded(&rule), writer.bytes()].concat();
            let decoded = decode(&payload, Family::V4).unwrap().unwrap();
            assert_eq!(decoded.extra, extra, "{attribute}");
        }
    }
}
