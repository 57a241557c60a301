//! `apply --check`: a change that breaks what worked is taken back, and nobody notices but its author.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::process::Stdio;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::Namespace;
use crate::support::crossroads::{Crossroads, Net, PHASE, assert_way};
use crate::support::program::{Run, Srsync};
use crate::support::tables::wait_until;

/// What a node reaches only by way of gateway a, and who answers there.
struct Side {
    prefix: &'static str,
    answers: &'static str,
}

fn side(net: &Net) -> Side {
    match net.family {
        "-4" => Side {
            prefix: "10.1.1.0/24",
            answers: "10.1.1.1",
        },
        _ => Side {
            prefix: "fd01:1::/64",
            answers: "fd01:1::1",
        },
    }
}

/// Writes a document with this check.
fn check(srsync: &Srsync<'_>, name: &str, targets: &str, more: &str) {
    let text = format!(
        "apiVersion: srsync.dev/v1alpha1\nkind: ConnectivityCheck\nmetadata: {{name: {name}}}\n\
         spec: {{targets: [{targets}], timeout: 1s, attempts: 2{more}}}\n"
    );
    srsync.file(&format!("{name}.yaml"), &text);
}

fn icmp(address: &str) -> String {
    format!("'{address}'")
}

fn gated(srsync: &Srsync<'_>, more: &str) -> Run {
    srsync.on_directory(&format!("{more} apply --check"))
}

/// All that this node routes by, as iproute2 prints it.
fn everything(node: &Namespace) -> String {
    let show = |what: &str| node.ip(what);
    [
        "-4 -d route show table all",
        "-6 -d route show table all",
        "-4 -d rule",
        "-6 -d rule",
        "nexthop",
    ]
    .map(show)
    .join("\n")
}

/// Routes that work: to the far host for a stream, and to the side of gateway a for the check.
fn working(srsync: &Srsync<'_>, net: &Net) {
    srsync.document("far", &net.via(net.a));
    let side = side(net);
    let to_side = format!("destinations: ['{}'], gateway: '{}'", side.prefix, net.a);
    srsync.document("side", &to_side);
    check(srsync, "check", &icmp(side.answers), "");
}

#[test]
fn a_change_that_passes_its_checks_stays() {
    Crossroads::in_both_families(|crossroads, srsync, net| {
        working(srsync, net);
        // Nothing leads there before.
        let run = gated(srsync, "").exits(0);
        assert!(
            run.stdout.contains("Checks: 1 passed after only."),
            "{}",
            run.stdout
        );
        let stream = crossroads.stream(net);
        let before = stream.carry(PHASE);
        srsync.document("far", &net.via(net.b));
        let run = gated(srsync, "-o json").exits(0);
        let report = run.report();
        assert_eq!(report["inSync"], true);
        assert_eq!(report["gate"]["rolledBack"], false);
        assert_eq!(report["gate"]["before"][0]["verdict"], "Passed");
        assert_eq!(report["gate"]["after"][0]["verdict"], "Passed");
        let after = stream.carry(PHASE);
        let arrivals = stream.finish();
        arrivals.assert_all_but(&[]);
        assert_way(&arrivals, &before, &["far_a"]);
        assert_way(&arrivals, &after, &["far_b"]);
        // Without a change there is nothing to be asked twice about.
        let run = gated(srsync, "").exits(0);
        assert!(
            run.stdout.contains("Checks: 1 passed before and after."),
            "{}",
            run.stdout
        );
        srsync.plan().exits(0);
    });
}

/// All that a change can do at once: add, replace, remove, adopt; in routes and rules.
#[test]
fn a_change_that_breaks_a_check_is_rolled_back_without_a_lost_packet() {
    Crossroads::in_both_families(|crossroads, srsync, net| {
        let (node, side) = (&crossroads.node, side(net));
        let (old, new, foreign) = match net.family {
            "-4" => ("203.0.113.0/25", "203.0.113.128/25", "192.0.2.128/25"),
            _ => ("2001:db8:1::/48", "2001:db8:2::/48", "2001:db8:3::/48"),
        };
        working(srsync, net);
        srsync.document(
            "old",
            &format!("destinations: ['{old}'], gateway: '{}'", net.a),
        );
        srsync.converge();
        node.ip(&format!(
            "{} route add {foreign} via {} proto bird",
            net.family, net.a
        ));
        let before = everything(node);
        let stream = crossroads.stream(net);
        let steady = stream.carry(PHASE);

        let to_b = format!("destinations: ['{}'], gateway: '{}'", side.prefix, net.b);
        srsync.document("side", &to_b);
        srsync.document("far", &net.via(net.b));
        srsync.without("old");
        srsync.document(
            "new",
            &format!("destinations: ['{new}'], gateway: '{}', table: 100", net.b),
        );
        srsync.document(
            "adopted",
            &format!("destinations: ['{foreign}'], gateway: '{}'", net.a),
        );
        srsync.file(
            "rule.yaml",
            &format!(
                "apiVersion: srsync.dev/v1alpha1\nkind: RoutingRule\nmetadata: {{name: rule}}\n\
                 spec: {{to: '{new}', priority: 1000, table: 100}}\n"
            ),
        );
        let run = gated(srsync, "--foreign-routes adopt").exits(1);
        let after = stream.carry(PHASE);
        assert_eq!(everything(node), before);
        let said =
            |text: &str, words: &str| assert!(text.contains(words), "no `{words}` in {text}");
        let subject = format!(
            "check check (check.yaml:4): icmp {} should be reachable",
            side.answers
        );
        said(&run.stderr, &subject);
        said(
            &run.stderr,
            "that passed before this change and not after it: ",
        );
        said(
            &run.stderr,
            "the change is rolled back (6 in all), and everything is as it was",
        );
        said(&run.stdout, &format!("! {subject}"));
        said(&run.stdout, "      before: Passed, answered in ");
        said(&run.stdout, "      after:  Failed, ");
        said(&run.stdout, "Rolled back: everything is as it was before.");
        said(&run.stdout, &format!("rolled back: {subject}"));
        let arrivals = stream.finish();
        arrivals.assert_all_but(&[]);
        assert_way(&arrivals, &steady, &["far_a"]);
        assert_way(&arrivals, &after, &["far_a"]);

        let report = gated(srsync, "--foreign-routes adopt -o json")
            .exits(1)
            .report();
        assert_eq!(report["inSync"], false);
        assert_eq!(report["gate"]["rolledBack"], true);
        assert_eq!(report["gate"]["left"], serde_json::json!([]));
        let reasons: Vec<&str> = report["routes"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|route| route["reason"]["code"].as_str())
            .collect();
        assert_eq!(reasons, ["RolledBack"; 5]);
        assert_eq!(everything(node), before);
        node.ip(&format!("{} route del {foreign}", net.family));
    });
}

#[test]
fn what_must_stay_out_of_reach_is_a_gate_as_well() {
    Crossroads::in_both_families(|crossroads, srsync, net| {
        let side = side(net);
        check(
            srsync,
            "check",
            &icmp(side.answers),
            ", expect: unreachable",
        );
        srsync.converge();
        let before = everything(&crossroads.node);
        let to_side = format!("destinations: ['{}'], gateway: '{}'", side.prefix, net.a);
        srsync.document("side", &to_side);
        let run = gated(srsync, "").exits(1);
        assert!(
            run.stderr.contains("should be unreachable"),
            "{}",
            run.stderr
        );
        assert_eq!(everything(&crossroads.node), before);
    });
}

#[test]
fn a_check_that_did_not_pass_before_rolls_nothing_back() {
    Crossroads::in_both_families(|_, srsync, net| {
        working(srsync, net);
        srsync.converge();
        // Nobody has that address, and there is no such interface.
        let nobody = side(net)
            .answers
            .replace("1.1.1", "1.1.77")
            .replace("::1", "::77");
        check(srsync, "bad", &icmp(&nobody), "");
        check(
            srsync,
            "unknown",
            &icmp(side(net).answers),
            ", interface: wg0",
        );
        srsync.document("far", &net.via(net.b));
        let run = gated(srsync, "").exits(4);
        for words in [
            "it did not pass before either: nothing is rolled back for it",
            "nobody knows how it was before: nothing is rolled back for it",
            "could not ask: there is no interface wg0",
            "Checks: 1 passed before and after, 1 passed neither before nor after, 1 unknown before.",
        ] {
            assert!(run.stdout.contains(words), "no `{words}` in {}", run.stdout);
        }
        srsync.plan().exits(0);
    });
}

/// Answers each connection with the next of these statuses, after doing something.
fn serve(
    at: &Namespace,
    address: &str,
    statuses: &'static [&'static str],
    mut before: impl FnMut(usize) + Send + 'static,
) {
    let address = SocketAddr::new(address.parse::<IpAddr>().unwrap(), 8080);
    let listener = at.enter(|| TcpListener::bind(address).unwrap());
    thread::spawn(move || {
        for (number, status) in statuses.iter().enumerate() {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).unwrap();
            before(number);
            let _ = stream.write_all(format!("HTTP/1.0 {status}\r\n\r\n").as_bytes());
        }
    });
}

fn http(srsync: &Srsync<'_>, net: &Net) {
    let target = format!(
        "{{address: '{}', http: {{port: 8080, path: /}}}}",
        side(net).answers
    );
    check(srsync, "check", &target, "");
}

#[test]
fn a_check_that_fails_once_by_chance_rolls_nothing_back() {
    Crossroads::in_both_families(|crossroads, srsync, net| {
        working(srsync, net);
        srsync.converge();
        http(srsync, net);
        let statuses = &["200 OK", "500 Oops", "200 OK"];
        serve(&crossroads.gateways[0], side(net).answers, statuses, |_| {});
        srsync.document("far", &net.via(net.b));
        let run = gated(srsync, "").exits(0);
        assert!(
            run.stdout.contains("Checks: 1 passed before and after."),
            "{}",
            run.stdout
        );
        srsync.plan().exits(0);
    });
}

#[test]
fn what_somebody_changed_meanwhile_is_left_and_told() {
    Crossroads::in_both_families(|crossroads, srsync, net| {
        let (node, family) = (&crossroads.node, net.family);
        working(srsync, net);
        srsync.converge();
        http(srsync, net);
        let statuses = &["200 OK", "500 Oops", "500 Oops"];
        // While the check fails, somebody takes the slot of a route that was just changed.
        let prefix = net.prefix;
        let theirs = format!(
            "{family} route add {prefix} via {} proto bird metric 7",
            net.a
        );
        let (pid, change) = (node.pid().to_string(), theirs.clone());
        serve(
            &crossroads.gateways[0],
            side(net).answers,
            statuses,
            move |number| {
                if number == 1 {
                    for words in [
                        format!("{family} route del {prefix} metric 7"),
                        change.clone(),
                    ] {
                        let mut ip = std::process::Command::new("nsenter");
                        ip.args(["--net", "--target", &pid, "ip"])
                            .args(words.split_whitespace());
                        assert!(ip.status().unwrap().success());
                    }
                }
            },
        );
        srsync.document("far", &format!("{}, metric: 7", net.via(net.a)));
        srsync.converge();
        srsync.document("far", &format!("{}, metric: 7", net.via(net.b)));
        srsync.document("other", "destinations: [203.0.113.0/24], type: blackhole");
        let run = gated(srsync, "").exits(4);
        let left = format!("what is left: {prefix}: somebody changed it meanwhile");
        assert!(run.stderr.contains(&left), "{}", run.stderr);
        assert!(
            run.stdout.contains("Rolled back, but for 1 change:"),
            "{}",
            run.stdout
        );
        // The other one is gone again, and theirs is as they made it.
        assert_eq!(node.ip("route show 203.0.113.0/24"), "");
        assert!(
            node.ip(&format!("{family} route show {prefix}"))
                .contains("proto bird")
        );
        node.ip(&theirs.replace("route add", "route del"));
    });
}

/// Who ends the program while it asks may have lost the way to the node by this very change.
#[test]
fn who_ends_it_while_it_asks_takes_the_change_back() {
    Crossroads::in_both_families(|crossroads, srsync, net| {
        let (node, side) = (&crossroads.node, side(net));
        working(srsync, net);
        srsync.converge();
        let before = everything(node);
        let text = format!(
            "apiVersion: srsync.dev/v1alpha1\nkind: ConnectivityCheck\nmetadata: {{name: check}}\n\
             spec: {{targets: ['{}'], timeout: 1h, interval: 1h}}\n",
            side.answers
        );
        srsync.file("check.yaml", &text);
        let nowhere = format!("destinations: ['{}'], gateway: '{}'", side.prefix, net.b);
        srsync.document("side", &nowhere);
        crossroads.gateways[1].ip(&format!(
            "{} route add blackhole {}",
            net.family, side.prefix
        ));
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            let apply = srsync
                .command("apply --check")
                .arg(srsync.directory())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            wait_until("the route leads the other way", || {
                let shown = node.ip(&format!("{} route show {}", net.family, side.prefix));
                shown.contains(net.b)
            });
            kill(Pid::from_raw(apply.id() as i32), signal).unwrap();
            let ended = apply.wait_with_output().unwrap();
            let said = String::from_utf8(ended.stderr).unwrap();
            assert_eq!(ended.status.code(), Some(1), "{said}");
            let words = format!("ended by {} before the checks had passed", signal.as_str());
            assert!(said.contains(&words), "{said}");
            let shown = String::from_utf8(ended.stdout).unwrap();
            let after = format!("after:  Unknown, could not ask: {words}");
            assert!(shown.contains(&after), "{shown}");
            assert_eq!(everything(node), before);
        }
        crossroads.gateways[1].ip(&format!(
            "{} route del blackhole {}",
            net.family, side.prefix
        ));
    });
}

/// A daemon that has ended leaves routes by nexthop objects, which `apply` replaces by plain ones and then tidies away.
#[test]
fn nexthop_objects_come_back_with_their_routes() {
    Crossroads::in_both_families(|crossroads, srsync, net| {
        let (node, family) = (&crossroads.node, net.family);
        working(srsync, net);
        srsync.converge();
        let prefix = net.prefix;
        node.ip(&format!("{family} route del {prefix}"));
        for words in [
            format!("nexthop add id 83000001 via {} dev link_a proto 83", net.a),
            "nexthop add id 83000002 group 83000001 proto 83".to_owned(),
            format!("{family} route add {prefix} nhid 83000002 proto 83"),
        ] {
            node.ip(&words);
        }
        let before = everything(node);
        let stream = crossroads.stream(net);
        let to_b = format!(
            "destinations: ['{}'], gateway: '{}'",
            side(net).prefix,
            net.b
        );
        srsync.document("side", &to_b);
        gated(srsync, "").exits(1);
        assert_eq!(everything(node), before);
        let after = stream.carry(PHASE);
        let arrivals = stream.finish();
        arrivals.assert_all_but(&[]);
        assert_way(&arrivals, &after, &["far_a"]);
        // Without the gate the objects do go.
        srsync.run("flush --yes").exits(0);
        assert_eq!(node.ip("nexthop"), "");
    });
}
