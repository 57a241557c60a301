//! A node and its daemon, made by hand.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use srsync::model::egress::{CheckVerdict, Expectation};
use srsync::model::probed::{Loss, Outcome};
use srsync::model::{Labels, Names, Policy, Timestamp};
use srsync::plan::{self, Inputs, ReasonCode};
use srsync::report::{
    Action, CheckStatus, Condition, ContestedRoute, Counters, GatewayHealth, GatewayStatus,
    GatewayWill, Happening, HappeningKind, Level, Pass, PassStatus, ProbeRecord, Published,
    Running, SourceStatus, Trigger,
};
use srsync::snapshot::Snapshot;
use srsync::source::{PathArg, load};

const DOCUMENTS: &str = "\
apiVersion: srsync.dev/v1alpha1
kind: StaticRoute
metadata: {name: egress}
spec: {destinations: [192.0.2.0/24, 198.51.100.0/24], gateway: 10.116.0.5}
---
apiVersion: srsync.dev/v1alpha1
kind: StaticRoute
metadata: {name: far, namespace: lab}
spec: {destinations: [203.0.113.0/24], gateway: 172.16.0.1}
";

const NODE: &str = "\
links:
- {name: eth1, index: 3, addresses: [10.116.0.3/24]}
routes:
- {prefix: 10.116.0.0/24, dev: eth1, protocol: kernel, source: 10.116.0.3}
- {prefix: 192.0.2.0/24, via: 10.116.0.5, dev: eth1, protocol: srsync}
- {prefix: 198.51.100.0/24, via: 10.116.0.5, dev: eth1, protocol: srsync}
";

/// 2100-01-01T00:00:00Z: still to come, so that all that happened is 0 seconds old.
pub const START: Timestamp = Timestamp::from_millis(4_102_444_800_000);

/// So many milliseconds after the start.
pub fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(START.millis() + millis)
}

/// A daemon after its first pass: two routes are installed, one cannot be.
pub fn published() -> Published {
    published_of(DOCUMENTS, NODE)
}

/// The same with so many routes.
pub fn published_with(routes: usize) -> Published {
    let prefix = |n: usize| format!("11.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255);
    let prefixes: Vec<String> = (0..routes).map(prefix).collect();
    let documents = DOCUMENTS.replace("203.0.113.0/24", &prefixes.join(", "));
    published_of(&documents, NODE)
}

fn published_of(documents: &str, node: &str) -> Published {
    let names = Names::default();
    let loaded = load(&[PathArg::Stdin], &mut documents.as_bytes(), &names);
    assert!(loaded.is_complete(), "{:?}", loaded.diagnostics);
    let observed = Snapshot::parse(node).and_then(|node| node.to_observed(&names));
    let observed = observed.unwrap();
    let (policy, labels) = (Policy::default(), Labels::default());
    let plan = plan::plan(
        &Inputs {
            egress: &[],
            steering: srsync::model::Steering::NONE,
            objects: None,
            documents: &loaded.documents,
            policy: &policy,
            labels: &labels,
            unknown_labels: None,
            names: &names,
            files: &loaded.files,
            incomplete: None,
        },
        &observed,
    );
    Published {
        egress: Arc::default(),
        node: "node-1".to_owned(),
        policy,
        labels,
        unknown_labels: None,
        names: Arc::new(names),
        documents: Arc::new(loaded.documents),
        files: Arc::new(loaded.files),
        incomplete: None,
        pass: Arc::new(Pass {
            plan,
            outcome: None,
            refused_objects: Vec::new(),
            egress_outcome: srsync::report::Surprises::new(),
            links: observed.links,
        }),
        running: Arc::new(running()),
    }
}

fn running() -> Running {
    Running {
        version: "0.1.0",
        pid: 4711,
        started: START,
        now: at(1000),
        ready: Some(at(900)),
        sources: vec![SourceStatus {
            path: "/etc/srsync/routes \"new\"".to_owned(),
            condition: Condition::Valid,
            message: None,
            files: 1,
            documents: 2,
            destinations: 3,
            changed: START,
        }],
        last_pass: Some(PassStatus {
            ended: at(900),
            took: Duration::from_millis(7),
            trigger: Trigger::Start,
            changes: 2,
            error: None,
        }),
        gateways: vec![
            gateway("10.116.0.5", None),
            gateway("10.116.0.6", Some("eth1")),
        ],
        checks: vec![check()],
        isolated: false,
        last_switch: Some(at(800)),
        contested_routes: 1,
        contested: vec![ContestedRoute {
            route: "192.0.2.0/24 metric 0 table main".to_owned(),
            undone: 3,
            last: at(500),
            by: None,
            next_attempt: None,
        }],
        counters: counters(),
        recent: (1..=3).map(happening).collect(),
        ..Running::default()
    }
}

/// A gateway of which one probe was answered and one lost.
pub fn gateway(address: &str, interface: Option<&str>) -> GatewayStatus {
    let address: IpAddr = address.parse().unwrap();
    let record = ProbeRecord::default();
    let round_trip = Duration::from_micros(420);
    record.note(&Outcome::Answered { round_trip }, at(100));
    record.note(&lost(address), at(200));
    GatewayStatus {
        gateway: address.to_string(),
        address,
        interface: interface.map(str::to_owned),
        health: GatewayHealth::Up,
        since: Some(START),
        cause: None,
        probes: Some(format!("ICMP probes to {address}")),
        probing: Some(record.probing()),
        record: Some(Arc::new(record)),
        carries: true,
        routes: 2,
        flaps: 0,
        hold_down: Duration::from_secs(10),
        will: GatewayWill::Auto,
        by_hand: None,
        documents: vec!["egress".to_owned()],
    }
}

/// A check that has passed.
pub fn check() -> CheckStatus {
    CheckStatus {
        check: "far".to_owned(),
        file: "/etc/srsync/routes/checks.yaml".to_owned(),
        line: 7,
        place: "checks.yaml:7".to_owned(),
        target: "icmp 192.168.2.10".to_owned(),
        expect: Expectation::Reachable,
        verdict: CheckVerdict::Passed,
        message: "answered in 0.42 ms".to_owned(),
        round_trip: Some(Duration::from_micros(420)),
        since: Some(at(100)),
        last_asked: Some(at(500)),
    }
}

/// A probe without an answer.
pub fn lost(address: IpAddr) -> Outcome {
    Outcome::Lost {
        address,
        why: Loss::Timeout,
        waited: Duration::from_secs(1),
    }
}

fn counters() -> Counters {
    let mut counters = Counters {
        passes: [(Trigger::Start, 1), (Trigger::Kernel, 2)].into(),
        changes: [(Action::Add, 2)].into(),
        failures: [(ReasonCode::GatewayNotConnected, 1)].into(),
        drift_repaired: 1,
        failovers: 2,
        ..Counters::default()
    };
    for millis in [7, 8, 4000] {
        counters.durations.observe(Duration::from_millis(millis));
    }
    counters
}

/// Number `sequence` of what happened.
pub fn happening(sequence: u64) -> Arc<Happening> {
    Arc::new(Happening {
        sequence,
        time: at(sequence),
        kind: HappeningKind::SourceChanged,
        level: Level::Info,
        message: format!("number {sequence}"),
        route: None,
        file: None,
        line: None,
        column: None,
    })
}

/// The same with other numbers as recent.
pub fn with_recent(
    published: &Published,
    numbers: impl IntoIterator<Item = u64>,
) -> Arc<Published> {
    Arc::new(with(published, |running| {
        running.recent = numbers.into_iter().map(happening).collect();
    }))
}

/// The same with a change.
pub fn with(published: &Published, change: impl FnOnce(&mut Running)) -> Published {
    let mut running = Running::clone(&published.running);
    change(&mut running);
    Published {
        running: Arc::new(running),
        ..published.clone()
    }
}

/// An address that nobody else in the test's namespace has.
pub fn loopback() -> (IpAddr, u16) {
    (IpAddr::from([127, 0, 0, 1]), 0)
}
