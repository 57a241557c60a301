//! What a daemon shows of itself: the text, and the documented schema of the JSON.
//!
//! One daemon with a bit of everything is made up here. `SRSYNC_BLESS=1` writes its text anew.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and reads its own files"
)]

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use srsync::model::egress::{CheckVerdict, Expectation};
use srsync::model::{Labels, Names, Policy, State, Timestamp};
use srsync::plan::{self, Inputs, ReasonCode};
use srsync::report::{
    CheckReport, CheckStatus, Condition, ContestedRoute, Counters, Detail, Finding, GatewayHealth,
    GatewayStatus, GatewayWill, Happening, HappeningKind, KubernetesStatus, KubernetesTrouble,
    LastProbe, Level, OverrideStatus, Pass, PassStatus, ProbeOutcome, Probing, Published,
    RoundTrip, RouteChange, Running, Selection, SourceStatus, Style, Trigger,
};
use srsync::snapshot::Snapshot;
use srsync::source::{PathArg, load};
use srsync::spec::render;

const CASE: &str = "tests/cases/daemon";
/// When all of this is.
const NOW: Timestamp = Timestamp::from_millis(1_795_233_600_000);

#[test]
fn a_person_reads_how_the_daemon_is_before_its_routes() {
    golden("everything.txt", &text(&everything(), false));
}

#[test]
fn a_person_reads_how_the_gateways_are() {
    let everything = everything();
    let list = |published: &Published, detail| {
        let mut text = Vec::new();
        let style = Style {
            colour: false,
            detail,
        };
        published.gateways().write_text(&mut text, style).unwrap();
        String::from_utf8(text).unwrap()
    };
    golden("gateways.txt", &list(&everything, Detail::Short));
    golden("gateways-wide.txt", &list(&everything, Detail::Wide));
    let nothing = Published::nothing("gw-1", &everything.policy, &everything.names);
    assert_eq!(
        list(&nothing, Detail::Short),
        "No gateway is watched: no document that is in force here has a healthCheck.\n"
    );
}

#[test]
fn a_daemon_without_a_complete_pass_says_so() {
    let mut published = everything();
    let running = Arc::make_mut(&mut published.running);
    running.ready = None;
    running.polling = None;
    running.findings.clear();
    running.contested.clear();
    running.contested_routes = 0;
    running.gateways.clear();
    running.isolated = false;
    running.overrides.clear();
    running.sources.truncate(1);
    if let Some(pass) = &mut running.last_pass {
        pass.error = Some("nothing was changed: the kernel did not answer".to_owned());
    }
    let nothing = Published::nothing("gw-1", &published.policy, &published.names);
    published.pass = nothing.pass;
    published.documents = nothing.documents;
    golden("not-ready.txt", &text(&published, false));
}

#[test]
fn colours_change_nothing_but_the_colour() {
    let coloured = text(&everything(), true);
    let plain = anstyle_free(&coloured);
    assert_ne!(coloured, plain);
    assert_eq!(plain, text(&everything(), false));
}

#[test]
fn all_that_a_daemon_shows_is_valid_by_the_schema() {
    let schema = schema();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let selection = Selection {
        limit: Some(1),
        ..Selection::default()
    };
    let everything = everything();
    let nothing = Published::nothing("gw-1", &everything.policy, &everything.names);
    for published in [&everything, &nothing] {
        for selection in [None, Some(&selection)] {
            let json = json(published, selection);
            let errors = validator.iter_errors(&json);
            let errors: Vec<String> = errors
                .map(|error| format!("{error} at {}", error.instance_path()))
                .collect();
            assert!(errors.is_empty(), "{}", errors.join("\n"));
            assert_eq!(json.get("selected").is_some(), selection.is_some());
        }
        let json = serde_json::to_value(published.gateways()).unwrap();
        let errors: Vec<String> = validator
            .iter_errors(&json)
            .map(|e| e.to_string())
            .collect();
        assert!(errors.is_empty(), "{}", errors.join("\n"));
    }
}

#[test]
fn the_schema_knows_exactly_the_fields_and_words_of_a_daemon() {
    let schema = schema();
    let daemon = &json(&everything(), None)["daemon"];
    let list = |name: &str| daemon[name].as_array().unwrap().clone();
    let probing = &daemon["gateways"][0]["probing"];
    for (name, shown) in [
        ("daemon", vec![daemon.clone()]),
        ("source", list("sources")),
        ("daemonPass", vec![daemon["lastPass"].clone()]),
        ("contested", list("contested")),
        ("gateway", list("gateways")),
        (
            "gatewayList",
            vec![serde_json::to_value(everything().gateways()).unwrap()],
        ),
        ("probing", vec![probing.clone()]),
        ("lastProbe", vec![probing["last"].clone()]),
        ("roundTrip", vec![probing["roundTripSeconds"].clone()]),
        ("override", list("overrides")),
        ("check", list("checks")),
        ("checkReport", vec![check_report()]),
        ("kubernetes", vec![daemon["kubernetes"].clone()]),
        (
            "kubernetesTrouble",
            vec![daemon["kubernetes"]["troubles"][0].clone()],
        ),
        ("happening", list("recent")),
    ] {
        let documented = &schema["$defs"][name]["properties"];
        let documented: BTreeSet<&String> = documented.as_object().unwrap().keys().collect();
        let objects = shown.iter().map(|object| object.as_object().unwrap());
        let shown: BTreeSet<&String> = objects.flat_map(|object| object.keys()).collect();
        assert_eq!(shown, documented, "{name}");
    }
    let words = |of: &str, field: &str| -> BTreeSet<String> {
        let words = &schema["$defs"][of]["properties"][field]["oneOf"];
        let words = words.as_array().unwrap().iter();
        words
            .map(|word| word["const"].as_str().unwrap().to_owned())
            .collect()
    };
    let named = |values: &[Value]| -> BTreeSet<String> {
        let names = values.iter().map(|value| value.as_str().unwrap());
        names.map(str::to_owned).collect()
    };
    let kinds: Vec<Value> = list("recent").iter().map(|h| h["kind"].clone()).collect();
    assert_eq!(words("happening", "kind"), named(&kinds));
    let verdicts = CheckVerdict::ALL.map(|verdict| verdict.name().to_owned());
    assert_eq!(words("check", "verdict"), verdicts.into());
    let conditions = Condition::ALL.map(|condition| condition.name().to_owned());
    assert_eq!(words("source", "condition"), conditions.into());
    let triggers = Trigger::ALL.map(|trigger| trigger.name().to_owned());
    assert_eq!(words("daemonPass", "trigger"), triggers.into());
}

#[test]
fn every_field_of_a_daemon_is_described() {
    let schema = schema();
    for name in [
        "daemon",
        "source",
        "daemonPass",
        "gateway",
        "gatewayList",
        "probing",
        "lastProbe",
        "roundTrip",
        "override",
        "check",
        "checkReport",
        "contested",
        "happening",
    ] {
        let properties = &schema["$defs"][name]["properties"];
        for (field, property) in properties.as_object().unwrap() {
            assert!(property["description"].is_string(), "{name}.{field}");
        }
    }
}

#[test]
fn a_person_reads_what_checks_came_to() {
    let text = |checks: &[CheckStatus], detail| {
        let mut text = Vec::new();
        let style = Style {
            colour: false,
            detail,
        };
        let report = CheckReport::new("gw-1", NOW, checks);
        report.write_text(&mut text, style).unwrap();
        String::from_utf8(text).unwrap()
    };
    golden("checks.txt", &text(&checks(), Detail::Short));
    golden("checks-wide.txt", &text(&checks(), Detail::Wide));
    assert_eq!(
        text(&[], Detail::Short),
        "No ConnectivityCheck in the documents: nothing to ask.\n"
    );
}

#[test]
fn a_check_report_is_valid_by_the_schema() {
    let schema = schema();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let report = check_report();
    let errors = validator.iter_errors(&report);
    let errors: Vec<String> = errors
        .map(|e| format!("{e} at {}", e.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
    assert_eq!(report["asExpected"], false);
    assert_eq!(report["summary"]["unknown"], 1);
    let wrong = serde_json::json!({"kind": "CheckReport"});
    assert!(!validator.is_valid(&wrong));
}

fn check_report() -> Value {
    serde_json::to_value(CheckReport::new("gw-1", NOW, &checks())).unwrap()
}

fn schema() -> Value {
    let text = fs::read_to_string("schemas/report.schema.json").unwrap();
    serde_json::from_str(&text).unwrap()
}

fn json(published: &Published, selection: Option<&Selection>) -> Value {
    published.report(selection, |report| serde_json::to_value(report).unwrap())
}

fn text(published: &Published, colour: bool) -> String {
    let style = Style {
        colour,
        detail: Detail::Short,
    };
    let mut text = Vec::new();
    published
        .report(None, |report| report.write_text(&mut text, style))
        .unwrap();
    String::from_utf8(text).unwrap()
}

fn golden(name: &str, actual: &str) {
    let path = format!("{CASE}/{name}");
    if std::env::var_os("SRSYNC_BLESS").is_some() {
        fs::write(&path, actual).unwrap();
    }
    let wanted = fs::read_to_string(&path).unwrap_or_default();
    assert!(wanted == actual, "{path} differs; actual:\n{actual}");
}

/// The text without its escape sequences.
fn anstyle_free(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| {
        plain + part.split_once('m').map_or("", |(_, rest)| rest)
    })
}

/// A daemon of which there is everything to be said.
fn everything() -> Published {
    let names = Names::default();
    let read = |file: &str| {
        let path = PathArg::Path(format!("{CASE}/{file}").into());
        load(&[path], &mut std::io::empty(), &names)
    };
    let (loaded, broken) = (read("routes.yaml"), read("broken.yaml"));
    let policy = Policy::default();
    let labels = Labels::new();
    let observed = fs::read_to_string(format!("{CASE}/observed.yaml")).unwrap();
    let observed = Snapshot::parse(&observed).unwrap();
    let observed = observed.to_observed(&names).unwrap();
    let inputs = Inputs {
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
    };
    let pass = Pass {
        plan: plan::plan(&inputs, &observed),
        outcome: None,
        refused_objects: Vec::new(),
        egress_outcome: srsync::report::Surprises::new(),
        links: observed.links,
    };
    let findings = broken.diagnostics.iter().map(|diagnostic| Finding {
        text: render(diagnostic, &broken.files, false),
        data: serde_json::to_value(diagnostic.view(&broken.files)).unwrap(),
    });
    Published {
        egress: Arc::default(),
        node: "gw-1".to_owned(),
        labels,
        unknown_labels: None,
        documents: Arc::new(loaded.documents),
        files: Arc::new(loaded.files),
        incomplete: None,
        pass: Arc::new(pass),
        running: Arc::new(running(findings.collect())),
        names: Arc::new(names),
        policy,
    }
}

fn running(findings: Vec<Finding>) -> Running {
    Running {
        version: "0.1.0",
        pid: 4711,
        started: before(3 * 86_400 + 4 * 3_600 + 300),
        now: NOW,
        ready: Some(before(3 * 86_400)),
        sources: sources(),
        findings,
        polling: Some(
            "the limit of inotify watches is reached (fs.inotify.max_user_watches)".to_owned(),
        ),
        last_pass: Some(PassStatus {
            ended: before(4),
            took: Duration::from_micros(3_140),
            trigger: Trigger::Resync,
            changes: 0,
            error: Some("interrupted".to_owned()),
        }),
        gateways: gateways(),
        kubernetes: Some(KubernetesStatus {
            connected: true,
            since: before(7_200),
            troubles: vec![KubernetesTrouble {
                about: "node labels".to_owned(),
                message: "RBAC denies `watch nodes gw-1` (403): no".to_owned(),
                since: before(60),
            }],
        }),
        isolated: true,
        last_switch: Some(before(12)),
        overrides: vec![
            OverrideStatus {
                gateway: "10.116.0.5".to_owned(),
                state: "Drained",
                by: "user 1000".to_owned(),
                until: Some(Timestamp::from_millis(NOW.millis() + 1_800_000)),
            },
            OverrideStatus {
                gateway: "10.116.0.9".to_owned(),
                state: "ForcedUp",
                by: "`maintenance` (/etc/srsync/routes/overrides.yaml:3)".to_owned(),
                until: None,
            },
        ],
        checks: checks(),
        contested_routes: 2,
        contested: vec![
            ContestedRoute {
                route: "192.0.2.0/24 metric 0 table main".to_owned(),
                undone: 6,
                last: before(3),
                by: Some("pid 4711 (ip)".to_owned()),
                next_attempt: Some(Timestamp::from_millis(NOW.millis() + 8_000)),
            },
            ContestedRoute {
                route: "198.51.100.0/24 metric 100 table main".to_owned(),
                undone: 1,
                last: before(60),
                by: None,
                next_attempt: None,
            },
        ],
        counters: Counters {
            failovers: 3,
            ..Counters::default()
        },
        recent: happenings(),
    }
}

/// One that fell, one that carries by hand, and one of which nothing is known.
fn gateways() -> Vec<GatewayStatus> {
    let probing = |outcome, result: &str, lost, micros: [u64; 4]| {
        let [last, min, average, max] = micros.map(Duration::from_micros);
        Probing {
            sent: 4_711,
            lost: 5,
            last: Some(LastProbe {
                time: before(1),
                outcome,
                result: result.to_owned(),
            }),
            recent: 32,
            recent_lost: lost,
            round_trip: Some(RoundTrip {
                last,
                min,
                average,
                max,
            }),
            ..Probing::default()
        }
    };
    let down = GatewayStatus {
        gateway: "10.116.0.5".to_owned(),
        address: "10.116.0.5".parse().unwrap(),
        interface: None,
        health: GatewayHealth::Down,
        since: Some(before(12)),
        cause: Some("3 of 3 ICMP probes to 10.116.0.5 timed out over 3.0 s".to_owned()),
        probes: Some("ICMP probes to 10.116.0.5".to_owned()),
        probing: Some(probing(
            ProbeOutcome::Lost,
            "timed out",
            15,
            [420, 87, 1_234, 23_456],
        )),
        record: None,
        carries: false,
        routes: 0,
        flaps: 2,
        hold_down: Duration::from_secs(40),
        will: GatewayWill::Auto,
        by_hand: None,
        documents: vec!["office".to_owned(), "partners".to_owned()],
    };
    let drained = GatewayStatus {
        gateway: "10.116.0.9 dev eth1".to_owned(),
        address: "10.116.0.9".parse().unwrap(),
        interface: Some("eth1".to_owned()),
        health: GatewayHealth::Up,
        since: Some(before(7_200)),
        cause: None,
        probes: Some("ICMP probes to 10.116.0.9".to_owned()),
        probing: Some(probing(
            ProbeOutcome::Answered,
            "answered",
            0,
            [310, 290, 305, 350],
        )),
        carries: true,
        routes: 2,
        flaps: 0,
        hold_down: Duration::from_secs(10),
        will: GatewayWill::Drained,
        by_hand: Some("kernel update, by user 0".to_owned()),
        documents: vec!["office".to_owned()],
        ..down.clone()
    };
    let unproven = GatewayStatus {
        gateway: "10.116.0.13".to_owned(),
        address: "10.116.0.13".parse().unwrap(),
        interface: None,
        health: GatewayHealth::Unproven,
        since: None,
        probes: None,
        probing: None,
        carries: false,
        routes: 0,
        will: GatewayWill::Auto,
        by_hand: None,
        ..drained.clone()
    };
    vec![down, drained, unproven]
}

/// One of each verdict.
fn checks() -> Vec<CheckStatus> {
    let passed = CheckStatus {
        check: "far".to_owned(),
        file: "/etc/srsync/routes/checks.yaml".to_owned(),
        line: 7,
        place: "checks.yaml:7".to_owned(),
        target: "icmp 192.168.2.10".to_owned(),
        expect: Expectation::Reachable,
        verdict: CheckVerdict::Passed,
        message: "answered in 0.42 ms".to_owned(),
        round_trip: Some(Duration::from_micros(420)),
        since: Some(before(7_200)),
        last_asked: Some(before(12)),
    };
    let failed = CheckStatus {
        line: 8,
        place: "checks.yaml:8".to_owned(),
        target: "tcp [2001:db8::10]:443".to_owned(),
        verdict: CheckVerdict::Failed,
        message: "3 of 3 attempts timed out after 2 s each".to_owned(),
        round_trip: None,
        since: Some(before(42)),
        ..passed.clone()
    };
    let unknown = CheckStatus {
        check: "isolated".to_owned(),
        expect: Expectation::Unreachable,
        verdict: CheckVerdict::Unknown,
        message: "not asked yet".to_owned(),
        since: None,
        last_asked: None,
        ..failed.clone()
    };
    let elsewhere = CheckStatus {
        check: "elsewhere".to_owned(),
        verdict: CheckVerdict::NotSelected,
        message: "nodeSelector wants role=egress; this node has role=worker".to_owned(),
        ..unknown.clone()
    };
    vec![passed, failed, unknown, elsewhere]
}

fn sources() -> Vec<SourceStatus> {
    let valid = SourceStatus {
        path: "/etc/srsync/routes".to_owned(),
        condition: Condition::Valid,
        message: None,
        files: 3,
        documents: 12,
        destinations: 1004,
        changed: before(301),
    };
    let message = "2 errors; of these files what was last good stays in force, and nothing is \
                   removed";
    let invalid = SourceStatus {
        path: "/etc/srsync/extra".to_owned(),
        condition: Condition::Invalid,
        message: Some(message.to_owned()),
        files: 1,
        documents: 2,
        destinations: 7,
        changed: before(7_200),
    };
    vec![valid, invalid]
}

/// One of each kind; the first one has every field.
fn happenings() -> Vec<Arc<Happening>> {
    use HappeningKind as Kind;
    let kinds = [
        Kind::RouteState,
        Kind::Started,
        Kind::Ready,
        Kind::Stopped,
        Kind::Reloaded,
        Kind::SourceChanged,
        Kind::SourceInvalid,
        Kind::SourceValid,
        Kind::Polling,
        Kind::RouteAdded,
        Kind::RouteReplaced,
        Kind::RouteAdopted,
        Kind::RouteRemoved,
        Kind::RouteRestored,
        Kind::EgressAdded,
        Kind::EgressReplaced,
        Kind::EgressRemoved,
        Kind::EgressRestored,
        Kind::EgressState,
        Kind::RoutesChanged,
        Kind::Removals,
        Kind::Contested,
        Kind::Settled,
        Kind::GatewayDown,
        Kind::GatewayUp,
        Kind::GatewayDrained,
        Kind::GatewayForcedUp,
        Kind::GatewayReleased,
        Kind::Failover,
        Kind::Isolation,
        Kind::CheckFailed,
        Kind::CheckPassed,
        Kind::NodeLabels,
        Kind::Kubernetes,
        Kind::Overflow,
        Kind::PassFailed,
    ];
    let route = RouteChange {
        prefix: "192.0.2.0/24".parse().unwrap(),
        table: "main".to_owned(),
        metric: 0,
        document: Some("office".to_owned()),
        old: Some("via 10.116.0.5 dev eth1".to_owned()),
        new: Some("via 10.116.0.9 dev eth1".to_owned()),
        state: Some(State::Foreign),
        reason: Some(ReasonCode::OtherOwner),
        gateways: vec!["10.116.0.9".parse().unwrap()],
    };
    let happening = |(kind, sequence): (Kind, u64)| Happening {
        sequence,
        time: before(60),
        kind,
        level: Level::Info,
        message: "192.0.2.0/24 metric 0 table main is Foreign (was Installed)".to_owned(),
        route: (kind == Kind::RouteState).then(|| route.clone()),
        file: (kind == Kind::RouteState).then(|| "routes.yaml".to_owned()),
        line: (kind == Kind::RouteState).then_some(5),
        column: (kind == Kind::RouteState).then_some(18),
    };
    let all = kinds.into_iter().zip(1..);
    all.map(|one| Arc::new(happening(one))).collect()
}

fn before(seconds: u64) -> Timestamp {
    Timestamp::from_millis(NOW.millis() - seconds * 1_000)
}
