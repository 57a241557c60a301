//! What is encoded is decoded again, and garbage never panics.

use super::*;
use proptest::prelude::*;

fn address(family: Family) -> BoxedStrategy<IpAddr> {
    match family {
        Family::V4 => any::<[u8; 4]>().prop_map(IpAddr::from).boxed(),
        Family::V6 => any::<[u8; 16]>().prop_map(IpAddr::from).boxed(),
    }
}

fn family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::V4), Just(Family::V6)]
}

/// A hop, possibly with a gateway of the other family (RFC 5549).
fn hop() -> impl Strategy<Value = NextHop> {
    let via = proptest::option::of(family().prop_flat_map(address));
    (via, 1..u32::MAX, 1u16..=256, any::<bool>()).prop_map(|(via, link, weight, on_link)| NextHop {
        via,
        link: Some(IfIndex::new(link)),
        weight: Weight::new(weight).unwrap(),
        on_link,
    })
}

fn way() -> impl Strategy<Value = RouteAttrs> {
    prop_oneof![
        proptest::collection::vec(hop(), 1..5).prop_map(RouteAttrs::unicast),
        any::<u32>().prop_map(|id| RouteAttrs::by_nexthop(NextHopId::new(id))),
        prop_oneof![
            Just(RouteType::Blackhole),
            Just(RouteType::Unreachable),
            Just(RouteType::Prohibit),
            Just(RouteType::Throw),
        ]
        .prop_map(RouteAttrs::without_hops),
    ]
}

fn route() -> impl Strategy<Value = Route> {
    let slot = family().prop_flat_map(|family| (address(family), 0..=family.bits()));
    let tuning = (
        proptest::option::of(any::<u32>()),
        proptest::option::of(any::<u32>()),
    );
    let numbers = (any::<u32>(), any::<u32>(), any::<u8>());
    (
        slot,
        numbers,
        way(),
        tuning,
        family().prop_flat_map(address),
    )
        .prop_map(
            |((address, length), (table, metric, tos), mut attrs, (mtu, advmss), source)| {
                let prefix = Prefix::containing(address, length).unwrap();
                attrs.mtu = mtu.map(Mtu::new);
                attrs.advmss = advmss.map(AdvMss::new);
                attrs.source = Some(source).filter(|s| Family::of(s) == prefix.family());
                let key = RouteKey {
                    table: TableId::new(table),
                    prefix,
                    metric: Metric::new(metric),
                    tos: Tos::new(tos),
                };
                Route {
                    key,
                    attrs: Arc::new(attrs),
                }
            },
        )
}

fn encoded(route: &Route) -> Vec<u8> {
    let mut writer = Writer::default();
    let request = Request {
        kind: libc::RTM_NEWROUTE,
        flags: 0,
        route,
        hops: route.attrs.hops(),
        protocol: Protocol::SRSYNC,
        scope: route.attrs.scope(route.key.prefix.family()),
    };
    encode(&mut writer, 1, &request);
    assert!(writer.bytes().len() <= longest(&request));
    let mut messages = wire::messages(writer.bytes());
    let (_, payload) = messages.next().unwrap().unwrap();
    assert!(messages.next().is_none());
    payload.to_vec()
}

fn decoded(payload: &[u8]) -> Result<Option<ObservedRoute>, Malformed> {
    decode(payload, &mut Interned::default(), |_, _, _| true)
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded_again(route in route()) {
        let seen = decoded(&encoded(&route)).unwrap().unwrap();
        prop_assert_eq!(seen.protocol, Protocol::SRSYNC);
        prop_assert_eq!(seen.route, route);
    }

    #[test]
    fn attributes_are_shared_and_never_mixed_up(
        routes in proptest::collection::vec(route(), 1..4),
        order in proptest::collection::vec(0usize..4, 0..20),
    ) {
        let mut known = Interned::default();
        for place in order {
            let route = &routes[place % routes.len()];
            let seen = decode(&encoded(route), &mut known, |_, _, _| true).unwrap().unwrap();
            prop_assert_eq!(&seen.route, route);
        }
    }

    #[test]
    fn a_message_cut_short_or_garbled_never_panics(
        route in route(), cut in 0usize..300, place in 0usize..300, byte in any::<u8>(),
    ) {
        let mut payload = encoded(&route);
        if let Some(spot) = payload.get_mut(place) {
            *spot = byte;
        }
        payload.truncate(cut);
        let _ = decoded(&payload);
    }

    #[test]
    fn garbage_never_panics(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decoded(&payload);
    }
}

#[test]
fn families_that_are_not_ours_and_cached_routes_are_passed_over() {
    let route = Route {
        key: RouteKey::new(TableId::MAIN, "10.0.0.0/8".parse().unwrap(), Metric::ZERO),
        attrs: Arc::new(RouteAttrs::without_hops(RouteType::Blackhole)),
    };
    let payload = encoded(&route);
    assert!(decoded(&payload).unwrap().is_some());
    let mut other_family = payload.clone();
    other_family[0] = libc::AF_MPLS as u8;
    assert_eq!(decoded(&other_family), Ok(None));
    let mut cached = payload;
    cached[8..12].copy_from_slice(&libc::RTM_F_CLONED.to_ne_bytes());
    assert_eq!(decoded(&cached), Ok(None));
}
