//! From a script to documents: what `ip route add` made is written down, and taken over as it is.

use std::collections::BTreeSet;

use crate::support::program::Srsync;
use crate::support::tables::{quiet, wait_for_links};
use crate::support::{address, east_and_west, in_namespace, ip};

/// A script as people have them: both families, all that documents can say.
const SCRIPT: &str = "\
route add default via 10.0.1.254
route add 192.0.2.0/24 via 10.0.1.7
route add 192.0.2.128/25 via 10.0.1.7
route add 203.0.113.10 via 10.0.1.7 dev east
route add 198.51.100.0/24 nexthop via 10.0.1.7 weight 3 nexthop via 10.0.2.7
route add 198.51.101.0/24 nexthop via 10.0.1.7 nexthop via 10.0.2.7
route add blackhole 10.66.0.0/16
route add unreachable 10.67.0.0/16 metric 9
route add prohibit 10.68.0.0/16
route add throw 10.69.0.0/16 proto static
route add 10.70.0.0/16 dev east
route add 10.71.0.0/16 via 10.0.1.7 mtu 1400 advmss 1300 src 10.0.1.1
route add 10.72.0.0/16 via 10.9.0.7 dev east onlink
route add 10.73.0.0/16 via 10.0.2.7 proto static metric 20
route add 10.73.0.0/16 via 10.0.1.7 metric 30
route add 10.74.0.0/16 via 10.0.1.7 table 100
route add blackhole default table 100
-6 route add default via fd00:1::fe
-6 route add 2001:db8:1::/64 via fd00:1::7
-6 route add 2001:db8:2::/64 via fe80::7 dev west
-6 route add 2001:db8:3::/64 dev east
-6 route add blackhole 2001:db8:4::/64
-6 route add 2001:db8:5:: via fd00:1::7
-6 route add 2001:db8:6::/64 nexthop via fd00:1::7 nexthop via fd00:2::7
-6 route add 2001:db8:7::/64 via fd00:1::7 mtu 1400 src fd00:1::1
-6 route add 2001:db8:8::/64 via fd00:9::7 dev east onlink metric 7
-6 route add 2001:db8:9::/64 via fd00:2::7 table 100
";

/// What no document can say, and what belongs to others.
const OTHERS: &str = "\
route add 10.80.0.0/16 via 10.0.1.7 tos 0x10
route add 10.81.0.0/16 via 10.0.1.7 hoplimit 5
route add 10.82.0.0/16 via inet6 fd00:1::7 dev east
route add 10.83.0.0/16 dev east scope global
route add 10.84.0.0/16 via 10.0.1.7 mtu lock 1400
nexthop add id 7 via 10.0.1.7 dev east
route add 10.85.0.0/16 nhid 7
route add 10.86.0.0/16 via 10.0.1.7
route append 10.86.0.0/16 via 10.0.1.8
-6 route add 2001:db8:80::/64 via fd00:1::7 expires 1000
-6 route add 2001:db8:81::/64 via fd00:1::7 pref high
-6 route add 2001:db8:82::/64 dev east
-6 route append 2001:db8:82::/64 via fd00:1::7
";

/// Routes of somebody else: nobody asked for them.
const NOT_ASKED_FOR: &str = "\
route add 172.16.0.0/16 via 10.0.1.7 proto dhcp
route add 172.17.0.0/16 via 10.0.1.7 proto bird
-6 route add 2001:db8:90::/64 via fd00:1::7 proto ra
";

/// Every route, each hop on a line of its own, without whose it is.
fn without_owner() -> Vec<String> {
    let mut lines = Vec::new();
    for family in ["-4", "-6"] {
        let text = ip(&format!("-d {family} route show table all"));
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let mut kept = Vec::new();
            let mut rest = words.iter();
            while let Some(word) = rest.next() {
                match *word {
                    "proto" => drop(rest.next()),
                    // Passes by itself.
                    word if word.ends_with("sec") => {}
                    word => kept.push(word),
                }
            }
            lines.push(kept.join(" "));
        }
    }
    lines
}

fn on_a_scripted_node(test: impl FnOnce(&Srsync<'_>) + Send) {
    in_namespace(|| {
        quiet();
        east_and_west();
        // As every link has one that is not kept quiet.
        address("fe80::1/64", "west");
        wait_for_links();
        for script in [SCRIPT, OTHERS, NOT_ASKED_FOR] {
            script.lines().for_each(|line| drop(ip(line)));
        }
        test(&Srsync::here());
    });
}

#[test]
fn what_a_script_made_is_taken_over_and_differs_only_in_its_owner() {
    on_a_scripted_node(|srsync| {
        let before = without_owner();
        let written = SCRIPT.lines().count();
        let import = "import --routes --from-table main,100";
        let run = srsync.run(import).exits(0);
        assert_eq!(without_owner(), before, "importing changes nothing");

        // Each of the others is named once, with a reason.
        let named: BTreeSet<&str> = run
            .stderr
            .lines()
            .filter_map(|line| line.strip_prefix("not written: ")?.split([' ', ':']).next())
            .filter(|first| first.contains('.'))
            .collect();
        let v4 = OTHERS.lines().filter_map(|line| {
            line.split_whitespace()
                .find(|word| word.starts_with("10.8"))
        });
        assert_eq!(named, v4.collect(), "{}", run.stderr);
        for prefix in ["2001:db8:80::/64", "2001:db8:81::/64", "2001:db8:82::/64"] {
            assert!(
                run.stderr.contains(&format!("not written: {prefix}: ")),
                "{}",
                run.stderr
            );
        }
        assert!(!(run.stderr.clone() + &run.stdout).contains("172."));
        let last = run.stderr.lines().last().unwrap();
        assert!(
            last.starts_with(&format!("note: wrote {written} routes, ")),
            "{}",
            run.stderr
        );

        // The file says what to do: exactly that is done.
        srsync.file("routes.yaml", &run.stdout);
        srsync.on_directory("validate").exits(0);
        let flags = "--foreign-routes adopt --allow-default-route";
        assert!(
            run.stdout.contains(&format!("#   srsync plan {flags}")),
            "{}",
            run.stdout
        );
        let plan = srsync
            .on_directory(&format!("-o json plan {flags}"))
            .exits(0);
        assert_eq!(plan.count("adopt"), written as u64, "{}", plan.stdout);
        let applied = srsync
            .on_directory(&format!("-o json apply {flags}"))
            .exits(0);
        assert_eq!(applied.count("adopt"), written as u64);
        assert_eq!(
            applied.count("add") + applied.count("replace") + applied.count("remove"),
            0
        );
        assert_eq!(without_owner(), before);
        srsync
            .on_directory("-o json plan --exit-code --allow-default-route")
            .exits(0);

        // They are srsync's now: nothing of the script is left to write, and what is ours comes out
        // as it went in.
        let again = srsync.run(import).exits(0);
        assert_eq!(again.stdout, "");
        let ours = srsync
            .run("import --routes --from-table all --from-protocol srsync")
            .exits(0);
        let documents = |text: &str| text.split_once("---").map(|(_, rest)| rest.to_owned());
        assert_eq!(documents(&ours.stdout), documents(&run.stdout));
    });
}

#[test]
fn an_import_is_the_same_each_time_and_json_says_the_same() {
    on_a_scripted_node(|srsync| {
        let first = srsync.run("import --routes").exits(0);
        let second = srsync
            .run("import --routes --from-protocol 3,static --from-table main")
            .exits(0);
        assert_eq!(
            (&first.stdout, &first.stderr),
            (&second.stdout, &second.stderr)
        );
        let json = srsync.run("import --routes -o json").exits(0);
        srsync.file("routes.json", &json.stdout);
        let flags = "--foreign-routes adopt --allow-default-route";
        let from_json = srsync
            .on_directory(&format!("-o json plan {flags}"))
            .exits(0)
            .report();
        std::fs::remove_file(srsync.directory().join("routes.json")).unwrap();
        srsync.file("routes.yaml", &first.stdout);
        let from_yaml = srsync
            .on_directory(&format!("-o json plan {flags}"))
            .exits(0)
            .report();
        assert_eq!(from_json["summary"], from_yaml["summary"]);
        let in_main = SCRIPT.lines().filter(|line| !line.contains("table 100"));
        assert_eq!(from_json["summary"]["adopt"], in_main.count());
    });
}
