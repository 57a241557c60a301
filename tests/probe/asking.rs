//! Questions of connectivity checks: what counts as an answer, what as none, and what proves nothing.

use std::collections::BTreeSet;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use caps::CapSet;
use srsync::model::document::Probe;
use srsync::model::egress::{Answer, CheckVerdict, Expectation};
use srsync::probe::Loss;
use srsync::probe::ask::{self, Inquiry};
use tokio::runtime;
use tokio::sync::watch;

use super::probing::{Server, V4, V6, interface, node_and_gateway};
use super::sockets::raw_and_datagram;
use crate::support::Namespace;

fn inquiry(address: &str, probe: Probe) -> Inquiry {
    Inquiry {
        address: address.parse().unwrap(),
        probe,
        interface: None,
        source: None,
        timeout: Duration::from_millis(200),
        attempts: 2,
        interval: Duration::from_millis(50),
    }
}

/// The same, where there is an answer to wait for: on a busy machine it may come late.
fn patient(address: &str, probe: Probe) -> Inquiry {
    Inquiry {
        timeout: Duration::from_secs(10),
        ..inquiry(address, probe)
    }
}

const TCP: Probe = Probe::Tcp { port: 7000 };

fn http() -> Probe {
    Probe::Http {
        port: 8080,
        path: "/health".to_owned(),
        host: None,
        expect_status: (200, 299),
    }
}

fn runtime() -> runtime::Runtime {
    let mut builder = runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

fn ask(node: &Namespace, inquiry: &Inquiry) -> Answer {
    let inquiries = std::slice::from_ref(inquiry);
    let mut answers = node.enter(|| runtime().block_on(ask::once(inquiries)));
    assert_eq!(answers.len(), 1);
    answers.remove(0)
}

#[track_caller]
fn assert_given(answer: &Answer) {
    assert!(matches!(answer, Answer::Given { .. }), "{answer:?}");
}

/// Nobody answered any of both attempts, of which so many timed out.
#[track_caller]
fn assert_none(answer: &Answer, timeouts: u32) {
    let Answer::None {
        attempts: 2,
        timed_out,
        last,
    } = answer
    else {
        panic!("{answer:?}");
    };
    assert_eq!(*timed_out, timeouts, "{last:?}");
}

#[track_caller]
fn assert_not_asked(answer: &Answer, words: &str) {
    let Answer::NotAsked(why) = answer else {
        panic!("{answer:?}");
    };
    assert!(why.contains(words), "{why}");
}

#[test]
fn each_kind_of_question_has_its_answer() {
    let (node, gateway) = node_and_gateway();
    for net in [V4, V6] {
        assert_given(&ask(&node, &patient(net.gateway, Probe::Icmp)));

        let refused = Answer::Other(Loss::Refused);
        assert_eq!(ask(&node, &patient(net.gateway, TCP)), refused);
        let _listener = Server::start(&gateway, net.port(7000), None);
        assert_given(&ask(&node, &patient(net.gateway, TCP)));

        assert_eq!(ask(&node, &patient(net.gateway, http())), refused);
        let answer = |status: &str| Some(format!("HTTP/1.0 {status}\r\n\r\n"));
        let server = Server::start(&gateway, net.port(8080), answer("503 Busy").as_deref());
        let busy = Answer::Other(Loss::Status(503));
        assert_eq!(ask(&node, &patient(net.gateway, http())), busy);
        let mut expected = patient(net.gateway, http());
        if let Probe::Http { expect_status, .. } = &mut expected.probe {
            *expect_status = (503, 503);
        }
        assert_given(&ask(&node, &expected));
        assert!(server.last().1.starts_with("GET /health HTTP/1.1"));
    }
}

#[test]
fn a_connection_without_an_answer_shows_that_somebody_is_there() {
    let (node, gateway) = node_and_gateway();
    for net in [V4, V6] {
        let _silent = Server::start(&gateway, net.port(8080), None);
        let answer = ask(&node, &inquiry(net.gateway, http()));
        let Answer::Other(Loss::Broken(why)) = &answer else {
            panic!("{answer:?}");
        };
        assert!(why.contains("no answer to the request"), "{why}");
        assert_eq!(
            answer.verdict(Expectation::Unreachable),
            CheckVerdict::Failed
        );
    }
}

#[test]
fn silence_and_routes_that_lead_nowhere_are_no_answer() {
    let (node, gateway) = node_and_gateway();
    for net in [V4, V6] {
        // No route at all.
        for probe in [Probe::Icmp, TCP, http()] {
            assert_none(&ask(&node, &inquiry(net.far, probe)), 0);
        }
        for kind in ["blackhole", "unreachable", "prohibit"] {
            let route = format!("{} route add {kind} {}", net.family, net.far_prefix);
            node.ip(&route);
            for probe in [Probe::Icmp, TCP, http()] {
                assert_none(&ask(&node, &inquiry(net.far, probe)), 0);
            }
            node.ip(&route.replace("route add", "route del"));
        }
        gateway.sysctl(net.ignore_echo, "1");
        assert_none(&ask(&node, &inquiry(net.gateway, Probe::Icmp)), 2);
        gateway.sysctl(net.ignore_echo, "0");
        // The gateway drops what is for others.
        node.ip(&format!(
            "{} route add {} via {}",
            net.family, net.far_prefix, net.gateway
        ));
        for probe in [TCP, http()] {
            assert_none(&ask(&node, &inquiry(net.far, probe)), 2);
        }
    }
}

#[test]
fn the_first_answer_ends_it() {
    let (node, gateway) = node_and_gateway();
    for net in [V4, V6] {
        gateway.sysctl(net.ignore_echo, "1");
        let mut patient = inquiry(net.gateway, Probe::Icmp);
        patient.attempts = 1_000;
        let answer = thread::scope(|scope| {
            let asking = scope.spawn(|| ask(&node, &patient));
            thread::sleep(patient.timeout + patient.timeout / 2);
            gateway.sysctl(net.ignore_echo, "0");
            asking.join().unwrap()
        });
        let Answer::Given { attempt, .. } = answer else {
            panic!("{answer:?}");
        };
        assert!(attempt > 1, "{attempt}");
    }
}

#[test]
fn what_goes_wrong_on_this_node_proves_nothing() {
    let (node, _gateway) = node_and_gateway();
    for (net, source) in [(V4, "10.0.1.7"), (V6, "fd00:1::7")] {
        for probe in [Probe::Icmp, TCP, http()] {
            let mut odd = inquiry(net.gateway, probe);
            odd.interface = interface("nowhere");
            let answer = ask(&node, &odd);
            assert_not_asked(&answer, "there is no interface nowhere");
            for expect in Expectation::ALL {
                assert_eq!(answer.verdict(expect), CheckVerdict::Unknown);
            }
            odd.interface = interface("east");
            odd.source = Some(source.parse().unwrap());
            assert_not_asked(&ask(&node, &odd), "does not have the address");
        }
        // Without privileges, where the node lets nobody send ICMP, as a new namespace does.
        let asked = node.enter(|| {
            caps::clear(None, CapSet::Effective).unwrap();
            runtime().block_on(ask::once(&[inquiry(net.gateway, Probe::Icmp)]))
        });
        assert_not_asked(&asked[0], "CAP_NET_RAW");
    }
}

#[test]
fn source_and_interface_are_those_of_the_check() {
    let (node, gateway) = node_and_gateway();
    for (net, source, length) in [(V4, "10.0.1.7", 32), (V6, "fd00:1::7", 128)] {
        node.ip(&format!("addr add {source}/{length} dev east nodad"));
        let answer = "HTTP/1.0 204 No Content\r\n\r\n";
        let server = Server::start(&gateway, net.port(8080), Some(answer));
        let mut from = inquiry(net.gateway, http());
        from.source = Some(source.parse().unwrap());
        from.interface = interface("east");
        from.attempts = 20;
        assert_given(&ask(&node, &from));
        assert_eq!(server.last().0.to_string(), source);
        from.interface = interface("lo");
        from.attempts = 2;
        let answer = ask(&node, &from);
        assert!(matches!(answer, Answer::None { .. }), "{answer:?}");
    }
}

#[test]
fn many_are_asked_side_by_side_and_answered_in_their_order() {
    let (node, _gateway) = node_and_gateway();
    let mut inquiries = Vec::new();
    for n in 100..200 {
        inquiries.push(inquiry(&format!("10.0.1.{n}"), Probe::Icmp));
        inquiries.push(patient(V6.gateway, Probe::Icmp));
    }
    let answers = thread::scope(|scope| {
        let asking = scope.spawn(|| node.enter(|| runtime().block_on(ask::once(&inquiries))));
        let mut most = 0;
        while !asking.is_finished() {
            most = most.max(raw_and_datagram(&node, &V4).0);
        }
        // No more than may be under way at once, and at the beginning half of them are silent.
        assert!((2..=64).contains(&most), "{most}");
        asking.join().unwrap()
    });
    assert_eq!(answers.len(), inquiries.len());
    for pair in answers.chunks(2) {
        assert!(matches!(pair[0], Answer::None { .. }), "{pair:?}");
        assert_given(&pair[1]);
    }
}

#[test]
fn a_question_is_asked_again_and_again_until_nobody_wants_it() {
    let (node, gateway) = node_and_gateway();
    let (wanted, receiver) = watch::channel(BTreeSet::new());
    let (sender, asked) = mpsc::channel();
    let work = move || {
        runtime().block_on(ask::run(receiver, move |asked| drop(sender.send(asked))));
    };
    let thread = node.enter(|| thread::spawn(work));
    let next = || asked.recv_timeout(Duration::from_secs(60)).unwrap();
    let wait_for = |address: &str, answered: bool| {
        let is_it = |asked: &ask::Asked| {
            let given = matches!(asked.answer, Answer::Given { .. });
            asked.inquiry.address.to_string() == address && given == answered
        };
        while !is_it(&next()) {}
    };
    wanted.send_replace([V4, V6].map(|net| inquiry(net.gateway, Probe::Icmp)).into());
    for net in [V4, V6] {
        wait_for(net.gateway, true);
        gateway.sysctl(net.ignore_echo, "1");
        wait_for(net.gateway, false);
        gateway.sysctl(net.ignore_echo, "0");
        wait_for(net.gateway, true);
    }
    wanted.send_replace([inquiry(V6.gateway, Probe::Icmp)].into());
    // What was under way is not told any more, once what was told before is over.
    wait_for(V6.gateway, true);
    for _ in 0..5 {
        wait_for(V6.gateway, true);
    }
    while asked.try_recv().is_ok() {}
    for _ in 0..5 {
        assert_eq!(next().inquiry.address.to_string(), V6.gateway);
    }
    drop(wanted);
    thread.join().unwrap();
}
