//! Ten thousand ranges, as cloud providers publish them: in one file, of both families, in all
//! lengths, one beside and inside the other.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::support::program::Srsync;
use crate::support::random::Random;
use crate::support::tables::{count, foreign, quiet, wait_for_links};
use crate::support::{in_namespace, ip, veth};

/// Of each family. None covers another, so that each is a route of its own.
const RANGES: usize = 5_000;

/// Ranges from one end of a space to the other, each somewhere in a block of its own.
fn ranges(random: &mut Random) -> Vec<String> {
    let mut ranges = Vec::new();
    for n in 0..RANGES as u64 {
        // A /20 each from 16.0.0.0 on; every range ends inside it.
        let length = 20 + random.below(13) as u32;
        let host = random.below(1 << 12) as u32;
        let address = (0x1000_0000 + ((n as u32) << 12) + host) & (u32::MAX << (32 - length));
        ranges.push(format!("{}/{length}", Ipv4Addr::from(address)));
        // A /40 each from 2600:: on.
        let length = 40 + random.below(25) as u32;
        let host = u128::from(random.below(1 << 24)) << 64;
        let address = (0x2600_u128 << 112) + (u128::from(n) << 88) + host;
        let address = address & (u128::MAX << (128 - length));
        ranges.push(format!("{}/{length}", Ipv6Addr::from(address)));
    }
    ranges
}

fn document(srsync: &Srsync<'_>, gateway: u8) {
    srsync.document(
        "cloud",
        &format!(
            "destinationsFrom: [{{file: ranges.txt}}], table: 100, \
             gateways: [{{address: 10.0.1.{gateway}}}, {{address: 'fd00:1::{gateway}'}}]"
        ),
    );
}

/// The prefixes in the kernel that go by a gateway.
fn installed(gateway: u8) -> BTreeSet<String> {
    let of = |family: &str, via: &str, host: &str| {
        let text = ip(&format!(
            "-o {family} route show table 100 proto 83 via {via}"
        ));
        let prefix = |line: &str| {
            let prefix = line.split(' ').next().unwrap();
            let host = if prefix.contains('/') { "" } else { host };
            format!("{prefix}{host}")
        };
        text.lines().map(prefix).collect::<Vec<_>>()
    };
    let v4 = of("-4", &format!("10.0.1.{gateway}"), "/32");
    let v6 = of("-6", &format!("fd00:1::{gateway}"), "/128");
    v4.into_iter().chain(v6).collect()
}

#[test]
fn ten_thousand_ranges_come_move_shrink_and_go() {
    in_namespace(|| {
        quiet();
        veth("east", "east-peer");
        ip("addr add 10.0.1.1/24 dev east");
        ip("addr add fd00:1::1/64 dev east nodad");
        wait_for_links();
        ip("route add 16.0.0.0/8 via 10.0.1.9 table 100 proto bgp");
        let before = foreign();
        let srsync = Srsync::here();
        let list = ranges(&mut Random::new(7));
        let all: BTreeSet<String> = list.iter().cloned().collect();
        assert_eq!(all.len(), 2 * RANGES);
        let total = all.len() as u64;
        srsync.file(
            "ranges.txt",
            &("# generated\n\n".to_owned() + &list.join("\n")),
        );

        document(&srsync, 2);
        let run = srsync.converge();
        assert_eq!((run.count("add"), run.count("Installed")), (total, total));
        assert!(installed(2) == all);

        document(&srsync, 3);
        let run = srsync.converge();
        assert_eq!((run.count("replace"), run.count("add")), (total, 0));
        assert!(installed(3) == all);
        assert_eq!(count("proto 83"), all.len());

        // The next edition of the list: a tenth is gone.
        let shorter: Vec<&str> = list
            .iter()
            .enumerate()
            .filter(|(n, _)| n % 10 != 0)
            .map(|(_, range)| range.as_str())
            .collect();
        srsync.file("ranges.txt", &shorter.join("\n"));
        let run = srsync.converge();
        assert_eq!(
            (run.count("remove"), run.count("keep")),
            (total / 10, total / 10 * 9)
        );
        assert!(installed(3) == shorter.iter().map(|range| (*range).to_owned()).collect());

        let run = srsync.run("-o json flush --yes").exits(0);
        assert_eq!(run.count("remove"), total / 10 * 9);
        assert_eq!(count("proto 83"), 0);
        assert_eq!(foreign(), before);
    });
}
