//! Nexthop object messages (`RTM_*NEXTHOP`, linux/nexthop.h) to and from the model.
//!
//! Must not talk to a socket or judge what it reads. What srsync would never make is read, too, as
//! an object without a kind, so that its number counts as taken.

use nix::libc;

use super::route::{RTNH_F_ONLINK, family_number};
use super::wire::{self, Malformed, Writer, attributes, u16_at, u32_at};
use crate::model::{
    Centiseconds, Family, IfIndex, NextHopGroup, NextHopId, NextHopKind, NextHopMember,
    NextHopObject, Protocol, Resilient, Weight,
};

// From linux/rtnetlink.h and linux/nexthop.h; libc does not have them.
pub(super) const RTM_NEWNEXTHOP: u16 = 104;
pub(super) const RTM_DELNEXTHOP: u16 = 105;
pub(super) const RTM_GETNEXTHOP: u16 = 106;
const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_GROUP_TYPE: u16 = 3;
const NHA_BLACKHOLE: u16 = 4;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
const NHA_RES_GROUP: u16 = 12;
const NHA_OP_FLAGS: u16 = 14;
const NHA_RES_GROUP_BUCKETS: u16 = 1;
const NHA_RES_GROUP_IDLE_TIMER: u16 = 2;
const NHA_RES_GROUP_UNBALANCED_TIMER: u16 = 3;
const NEXTHOP_GRP_TYPE_RES: u16 = 1;

/// Bytes of `struct nhmsg`.
pub(super) const NHMSG: usize = 8;
/// Bytes of `struct nexthop_grp`.
const NEXTHOP_GRP: usize = 8;

/// What is asked of the kernel about one object.
pub(super) struct Request<'a> {
    /// `NLM_F_*` beside `NLM_F_REQUEST`.
    pub(super) flags: libc::c_int,
    /// Its number.
    pub(super) id: NextHopId,
    /// What it is to do.
    pub(super) kind: &'a NextHopKind,
    /// Whose it is.
    pub(super) protocol: Protocol,
}

/// An upper bound for the length of a request, in bytes.
pub(super) fn longest(request: &Request<'_>) -> usize {
    match request.kind {
        NextHopKind::Group(group) => 96 + NEXTHOP_GRP * group.members().len(),
        NextHopKind::Single { .. } | NextHopKind::Blackhole { .. } => 96,
    }
}

/// Appends a request for an object to `writer` as one message.
pub(super) fn encode(writer: &mut Writer, sequence: u32, request: &Request<'_>) {
    let (family, on_link) = match request.kind {
        NextHopKind::Single {
            family, on_link, ..
        } => (family_number(*family), *on_link),
        NextHopKind::Blackhole { family } => (family_number(*family), false),
        NextHopKind::Group(_) => (libc::AF_UNSPEC as u8, false),
    };
    writer.begin(RTM_NEWNEXTHOP, request.flags, sequence);
    writer.put(&[family, 0, request.protocol.get(), 0]);
    writer.put(&(if on_link { RTNH_F_ONLINK } else { 0 }).to_ne_bytes());
    writer.number(NHA_ID, request.id.get());
    match request.kind {
        NextHopKind::Single { via, link, .. } => {
            writer.number(NHA_OIF, link.get());
            if let Some(via) = via {
                writer.address(NHA_GATEWAY, *via);
            }
        }
        NextHopKind::Blackhole { .. } => writer.attribute(NHA_BLACKHOLE, &[]),
        NextHopKind::Group(group) => put_group(writer, group),
    }
    writer.end();
}

fn put_group(writer: &mut Writer, group: &NextHopGroup) {
    let list = writer.nest(NHA_GROUP);
    for NextHopMember { id, weight } in group.members() {
        writer.put(&id.get().to_ne_bytes());
        writer.put(&[weight.to_hops(), 0, 0, 0]);
    }
    writer.end_nest(list);
    let Some(resilient) = group.resilient else {
        return;
    };
    writer.attribute(NHA_GROUP_TYPE, &NEXTHOP_GRP_TYPE_RES.to_ne_bytes());
    // The kernel wants the flag: it checks this attribute as strictly as new ones are.
    let nest = writer.nest(NHA_RES_GROUP | libc::NLA_F_NESTED as u16);
    let Resilient {
        buckets,
        idle_timer,
        unbalanced_timer,
    } = resilient;
    writer.attribute(NHA_RES_GROUP_BUCKETS, &buckets.to_ne_bytes());
    writer.number(NHA_RES_GROUP_IDLE_TIMER, idle_timer.get());
    writer.number(NHA_RES_GROUP_UNBALANCED_TIMER, unbalanced_timer.get());
    writer.end_nest(nest);
}

/// Appends the question for one object.
pub(super) fn encode_query(writer: &mut Writer, sequence: u32, id: NextHopId) {
    about(writer, RTM_GETNEXTHOP, sequence, id);
}

/// Appends the request to remove an object. The kernel knows it by its number alone: a protocol in
/// the header is refused (`nh_valid_get_del_req`, net/ipv4/nexthop.c).
pub(super) fn encode_removal(writer: &mut Writer, sequence: u32, id: NextHopId) {
    about(writer, RTM_DELNEXTHOP, sequence, id);
}

fn about(writer: &mut Writer, kind: u16, sequence: u32, id: NextHopId) {
    writer.begin(kind, 0, sequence);
    writer.put(&[0; NHMSG]);
    writer.number(NHA_ID, id.get());
    writer.end();
}

/// Reads an `RTM_NEWNEXTHOP` or `RTM_DELNEXTHOP`.
///
/// Normalised so that equal kinds mean equal behaviour: the members of a group are sorted, the state
/// of a link (dead, linkdown, offload) is left out.
pub(super) fn decode(payload: &[u8]) -> Result<NextHopObject, Malformed> {
    let flags = u32_at(payload, 4)?;
    let Some(&[family, _scope, protocol, _]) = payload.first_chunk() else {
        return Err(Malformed("a nexthop object without its header"));
    };
    let mut parts = Parts::default();
    for attribute in attributes(payload.get(NHMSG..).unwrap_or_default()) {
        parts.read(attribute?)?;
    }
    Ok(NextHopObject {
        id: parts
            .id
            .ok_or(Malformed("a nexthop object without its number"))?,
        protocol: Protocol::new(protocol),
        kind: parts.kind(family, flags & RTNH_F_ONLINK != 0),
    })
}

/// The attributes of an object.
#[derive(Default)]
struct Parts {
    id: Option<NextHopId>,
    via: Option<std::net::IpAddr>,
    link: Option<IfIndex>,
    blackhole: bool,
    members: Option<Vec<NextHopMember>>,
    group_type: u16,
    resilient: Option<Resilient>,
    /// There is something that srsync never sets.
    extra: bool,
}

impl Parts {
    fn read(&mut self, (kind, value): (u16, &[u8])) -> Result<(), Malformed> {
        match kind {
            NHA_ID => self.id = Some(NextHopId::new(u32_at(value, 0)?)),
            NHA_GATEWAY => self.via = Some(wire::address(value)?),
            NHA_OIF => self.link = Some(IfIndex::new(u32_at(value, 0)?)),
            NHA_BLACKHOLE => self.blackhole = true,
            NHA_GROUP => self.members = Some(self.read_members(value)?),
            NHA_GROUP_TYPE => self.group_type = u16_at(value, 0)?,
            NHA_RES_GROUP => self.resilient = Some(read_resilient(value)?),
            // What the kernel can do, not what the object does (Linux 6.9).
            NHA_OP_FLAGS => {}
            _ => self.extra = true,
        }
        Ok(())
    }

    /// An array of `struct nexthop_grp`: number, weight - 1, and since Linux 6.12 another eight bits
    /// of that; what is heavier than a [`Weight`] can be was not made by srsync.
    fn read_members(&mut self, list: &[u8]) -> Result<Vec<NextHopMember>, Malformed> {
        let mut members = Vec::new();
        for entry in list.chunks(NEXTHOP_GRP) {
            let weight = u16_at(entry, 4)?.to_ne_bytes();
            let [weight, high] = weight;
            self.extra |= high != 0;
            members.push(NextHopMember {
                id: NextHopId::new(u32_at(entry, 0)?),
                weight: Weight::from_hops(weight),
            });
        }
        Ok(members)
    }

    fn kind(self, family: u8, on_link: bool) -> Option<NextHopKind> {
        if self.extra {
            return None;
        }
        if let Some(members) = self.members {
            let resilient = match (self.group_type, self.resilient) {
                (0, None) => None,
                (NEXTHOP_GRP_TYPE_RES, Some(resilient)) => Some(resilient),
                _ => return None,
            };
            return Some(NextHopKind::Group(NextHopGroup::new(members, resilient)));
        }
        let family = match i32::from(family) {
            libc::AF_INET => Family::V4,
            libc::AF_INET6 => Family::V6,
            _ => return None,
        };
        if self.blackhole {
            return Some(NextHopKind::Blackhole { family });
        }
        Some(NextHopKind::Single {
            family,
            via: self.via,
            link: self.link?,
            on_link,
        })
    }
}

fn read_resilient(nest: &[u8]) -> Result<Resilient, Malformed> {
    let mut resilient = Resilient {
        buckets: 0,
        idle_timer: Centiseconds::new(0),
        unbalanced_timer: Centiseconds::new(0),
    };
    for attribute in attributes(nest) {
        match attribute? {
            (NHA_RES_GROUP_BUCKETS, value) => resilient.buckets = u16_at(value, 0)?,
            (NHA_RES_GROUP_IDLE_TIMER, value) => {
                resilient.idle_timer = Centiseconds::new(u32_at(value, 0)?);
            }
            (NHA_RES_GROUP_UNBALANCED_TIMER, value) => {
                resilient.unbalanced_timer = Centiseconds::new(u32_at(value, 0)?);
            }
            // For how long it has been out of balance.
            _ => {}
        }
    }
    Ok(resilient)
}

#[cfg(test)]
mod tests {
    //! What is encoded is decoded again, and garbage never panics.

    use super::*;
    use proptest::prelude::*;
    use std::net::IpAddr;

    fn single() -> impl Strategy<Value = NextHopKind> {
        let via = prop_oneof![
            any::<[u8; 4]>().prop_map(|v4| (Family::V4, Some(IpAddr::from(v4)))),
            any::<[u8; 16]>().prop_map(|v6| (Family::V6, Some(IpAddr::from(v6)))),
            Just((Family::V4, None)),
            Just((Family::V6, None)),
        ];
        (via, 1..u32::MAX, any::<bool>()).prop_map(|((family, via), link, on_link)| {
            NextHopKind::Single {
                family,
                via,
                link: IfIndex::new(link),
                on_link,
            }
        })
    }

    fn group() -> impl Strategy<Value = NextHopKind> {
        let member = (1..u32::MAX, 1u16..=256).prop_map(|(id, weight)| NextHopMember {
            id: NextHopId::new(id),
            weight: Weight::new(weight).unwrap(),
        });
        let resilient = (1..u16::MAX, any::<u32>(), any::<u32>());
        let resilient = resilient.prop_map(|(buckets, idle, unbalanced)| Resilient {
            buckets,
            idle_timer: Centiseconds::new(idle),
            unbalanced_timer: Centiseconds::new(unbalanced),
        });
        let members = proptest::collection::vec(member, 1..40);
        (members, proptest::option::of(resilient)).prop_map(|(members, resilient)| {
            NextHopKind::Group(NextHopGroup::new(members, resilient))
        })
    }

    fn kind() -> impl Strategy<Value = NextHopKind> {
        let families = prop_oneof![Just(Family::V4), Just(Family::V6)];
        let blackhole = families.prop_map(|family| NextHopKind::Blackhole { family });
        prop_oneof![single(), blackhole, group()]
    }

    fn encoded(id: u32, kind: &NextHopKind) -> Vec<u8> {
        let mut writer = Writer::default();
        let request = Request {
            flags: 0,
            id: NextHopId::new(id),
            kind,
            protocol: Protocol::SRSYNC,
        };
        encode(&mut writer, 1, &request);
        assert!(writer.bytes().len() <= longest(&request));
        let (_, payload) = wire::messages(writer.bytes()).next().unwrap().unwrap();
        payload.to_vec()
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_again(id in any::<u32>(), kind in kind()) {
            let object = NextHopObject {
                id: NextHopId::new(id),
                protocol: Protocol::SRSYNC,
                kind: Some(kind.clone()),
            };
            prop_assert_eq!(decode(&encoded(id, &kind)), Ok(object));
        }

        #[test]
        fn a_message_cut_short_or_garbled_never_panics(
            kind in kind(), cut in 0usize..300, place in 0usize..300, byte in any::<u8>(),
        ) {
            let mut payload = encoded(7, &kind);
            if let Some(spot) = payload.get_mut(place) {
                *spot = byte;
            }
            payload.truncate(cut);
            let _ = decode(&payload);
        }

        #[test]
        fn garbage_never_panics(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&payload);
        }
    }

    /// Attributes of kernels to come, fdb and encapsulation make an object foreign to srsync, and
    /// so does a weight beyond 256 (Linux 6.12).
    #[test]
    fn what_srsync_never_makes_has_no_kind() {
        let read = |kind: &NextHopKind, attribute: u16| {
            let mut writer = Writer::default();
            writer.attribute(attribute, &[]);
            let mut payload = encoded(7, kind);
            payload.extend_from_slice(writer.bytes());
            decode(&payload).unwrap()
        };
        let blackhole = NextHopKind::Blackhole { family: Family::V4 };
        for (attribute, known) in [(7, false), (8, false), (11, false), (99, false), (14, true)] {
            let object = read(&blackhole, attribute);
            assert_eq!(object.kind.is_some(), known, "{attribute}");
            assert_eq!(object.id, NextHopId::new(7));
        }
        let member = NextHopMember {
            id: NextHopId::new(1),
            weight: Weight::ONE,
        };
        let group = NextHopKind::Group(NextHopGroup::new(vec![member], None));
        let mut heavy = encoded(8, &group);
        let high_bits = heavy.len() - 3;
        heavy[high_bits] = 1;
        assert_eq!(decode(&heavy).unwrap().kind, None);
    }
}
