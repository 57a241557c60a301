//! Pods behind a node: forwarding, translation and rules with real packets, and nothing left behind.

use serde_json::Value;

use crate::support::egress::{DOCUMENTS, FAR, FOREIGN_TABLES, Site};
use crate::support::program::{Run, Srsync};
use crate::support::tables::wait_until;

/// The state of the things of a kind, each with its reason, as the report of a run has them.
fn states(run: &Run, kind: &str) -> Vec<String> {
    let report = run.report();
    let things = report["egress"].as_array().cloned().unwrap_or_default();
    let of_kind = things.iter().filter(|thing| thing["kind"] == kind);
    let state = |thing: &Value| {
        let message = thing["reason"]["message"].as_str().unwrap_or("");
        format!("{} {message}", thing["state"].as_str().unwrap_or("-"))
    };
    of_kind
        .map(|thing| state(thing).trim_end().to_owned())
        .collect()
}

#[test]
fn pods_reach_a_far_host_that_has_no_way_back_and_nothing_is_left_afterwards() {
    let site = Site::new();
    let srsync = Srsync::inside(&site.node);
    site.assert_cut_off();
    let before = site.node_state();

    srsync.file("egress.yaml", DOCUMENTS);
    let run = srsync.converge();
    assert_eq!(states(&run, "Forwarding"), ["Installed", "Installed"]);
    assert_eq!(states(&run, "Masquerade"), ["Installed", "Installed"]);
    site.assert_works();

    srsync.run("flush --yes").exits(0);
    site.assert_cut_off();
    assert_eq!(site.node_state(), before);
}

#[test]
fn taking_the_documents_away_is_as_good_as_flush() {
    let site = Site::new();
    let srsync = Srsync::inside(&site.node).with("--allow-empty");
    let before = site.node_state();
    srsync.file("egress.yaml", DOCUMENTS);
    srsync.converge();
    srsync.file("egress.yaml", "# nothing any more\n");
    srsync.converge();
    assert_eq!(site.node_state(), before);
}

#[test]
fn foreign_tables_rules_and_settings_are_as_they_were_throughout() {
    let site = Site::new();
    site.nft(FOREIGN_TABLES);
    site.node
        .ip("rule add pref 500 from 10.99.0.0/16 lookup 77");
    site.node
        .ip("-6 rule add pref 500 from fd99::/64 lookup 77 proto 99");
    site.node.sysctl("ipv4/conf/pods/rp_filter", "2");
    // One interface forwards already, alone.
    site.node.sysctl("ipv4/conf/eth0/forwarding", "1");
    site.node.sysctl("ipv6/conf/pods/forwarding", "1");
    let before = site.node_state();
    let tables = || ["ip nat", "ip6 nat", "inet firewall"].map(|table| site.table(table));
    let foreign = tables();

    let srsync = Srsync::inside(&site.node);
    srsync.file("egress.yaml", DOCUMENTS);
    srsync.converge();
    site.assert_works();
    assert_eq!(tables(), foreign);
    let changed = DOCUMENTS.replace(
        "outInterfaces: [eth0]",
        "exceptDestinations: [192.168.2.77]",
    );
    srsync.file("egress.yaml", &changed);
    srsync.converge();
    site.assert_works();
    assert_eq!(tables(), foreign);

    srsync.run("flush --yes").exits(0);
    assert_eq!(site.node_state(), before);
}

#[test]
fn nothing_changes_the_second_time_and_drift_is_put_right() {
    let site = Site::new();
    let srsync = Srsync::inside(&site.node);
    srsync.file("egress.yaml", DOCUMENTS);
    srsync.converge();
    let there = site.node_state();
    let again = srsync.apply().exits(0).report();
    let things = again["egress"].as_array().unwrap();
    assert!(
        things.iter().all(|thing| thing["action"] == "keep"),
        "{again:#}"
    );

    for undo in [
        "delete table inet srsync",
        "flush ruleset",
        "flush chain inet srsync postrouting",
    ] {
        site.nft(undo);
        srsync.plan().exits(3);
        srsync.converge();
        assert_eq!(site.node_state(), there, "{undo}");
    }
    site.node.sysctl("ipv4/ip_forward", "0");
    srsync.plan().exits(3);
    srsync.converge();
    assert_eq!(site.node_state(), there);
    site.assert_works();
}

#[test]
fn a_setting_that_somebody_changed_since_is_left_to_him() {
    let site = Site::new();
    let srsync = Srsync::inside(&site.node).with("--allow-empty");
    let document = "apiVersion: srsync.dev/v1alpha1\nkind: Forwarding\nmetadata: {name: here}\n\
                    spec: {interfaces: [{name: eth0, rpFilter: loose, ipv4: true}]}\n";
    srsync.file("here.yaml", document);
    srsync.converge();
    assert_eq!(site.setting("ipv4/conf/eth0/rp_filter"), "2");
    site.node.sysctl("ipv4/conf/eth0/rp_filter", "1");
    srsync.without("here");
    let run = srsync.apply().exits(0);
    let said = "net.ipv4.conf.eth0.rp_filter stays 1: somebody changed it since srsync did";
    assert!(run.stderr.contains(said), "{}", run.stderr);
    let again = srsync.apply().exits(0);
    assert!(!again.stderr.contains(" stays "), "{}", again.stderr);
    assert_eq!(site.setting("ipv4/conf/eth0/rp_filter"), "1");
    assert_eq!(site.setting("ipv4/conf/eth0/forwarding"), "0");
}

#[test]
fn counters_show_who_used_a_translation() {
    let site = Site::new();
    let srsync = Srsync::inside(&site.node);
    srsync.file("egress.yaml", DOCUMENTS);
    srsync.converge();
    site.assert_works();
    let status = srsync.on_directory("-o json status").exits(0).report();
    let things = status["egress"].as_array().unwrap();
    for thing in things.iter().filter(|thing| thing["kind"] == "Masquerade") {
        assert!(thing["packets"].as_u64() >= Some(2), "{thing:#}");
    }
    let text = srsync.on_directory("status").exits(0).stdout;
    assert!(
        text.contains("masquerade from 10.42.0.0/16 to 192.168.2.0/24 out eth0"),
        "{text}"
    );
    assert!(text.contains(" packets, "), "{text}");
}

#[test]
fn rules_split_sources_between_two_tables() {
    let site = Site::new();
    let srsync = Srsync::inside(&site.node).with("--allow-empty");
    let before = site.node_state();
    let rule = |name: &str, spec: &str| {
        format!(
            "---\napiVersion: srsync.dev/v1alpha1\nkind: RoutingRule\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"
        )
    };
    // The far host is known in table 100 alone, and there for pods alone.
    let documents = DOCUMENTS
        .replace(
            "  gateway: 192.168.1.1\n",
            "  gateway: 192.168.1.1\n  table: 100\n",
        )
        .replace(
            "  gateway: fd00:1::1\n",
            "  gateway: fd00:1::1\n  table: 100\n",
        );
    srsync.file("egress.yaml", &documents);
    srsync.converge();
    site.assert_cut_off();
    let rules = rule("pods", "from: 10.42.0.0/16, table: 100, priority: 1000")
        + &rule("pods-6", "from: 'fd00:42::/56', table: 100, priority: 1000")
        + &rule(
            "mail",
            "from: 10.42.0.0/16, ipProto: tcp, dport: 25, action: prohibit, priority: 900",
        );
    srsync.file("rules.yaml", &rules);
    let run = srsync.converge();
    assert_eq!(states(&run, "RoutingRule"), ["Installed"; 3]);
    site.assert_works();
    let shown = site.node.ip("rule");
    assert!(
        shown.contains("1000:\tfrom 10.42.0.0/16 lookup 100 proto 83"),
        "{shown}"
    );
    site.node.ip("rule del pref 1000");
    srsync.plan().exits(3);
    srsync.converge();
    site.assert_works();
    srsync.file("rules.yaml", "# none\n");
    srsync.converge();
    site.assert_cut_off();
    srsync.file("egress.yaml", "# none\n");
    srsync.converge();
    assert_eq!(site.node_state(), before);
}

#[test]
fn a_rule_that_would_send_everything_nowhere_is_refused_unless_allowed() {
    let site = Site::new();
    let srsync = Srsync::inside(&site.node);
    let document = |spec: &str| {
        format!(
            "apiVersion: srsync.dev/v1alpha1\nkind: RoutingRule\nmetadata: {{name: all}}\nspec: {{priority: 100, {spec}}}\n"
        )
    };
    for spec in [
        "table: 4711",
        "action: blackhole",
        "action: prohibit, from: 0.0.0.0/0",
    ] {
        srsync.file("all.yaml", &document(spec));
        let run = srsync.apply().exits(4);
        for state in states(&run, "RoutingRule") {
            assert!(
                state.starts_with("Refused the rule sends every IPv"),
                "{state}"
            );
            assert!(state.contains("allowCatchAllRules"), "{state}");
        }
        assert!(!site.node.ip("rule").contains("100:"));
    }
    srsync
        .on_directory("apply --allow-catch-all-rules")
        .exits(0);
    assert!(site.node.ip("rule").contains("100:\tfrom all prohibit"));
    srsync.run("flush --yes").exits(0);
}

#[test]
fn try_rehearses_all_of_it_without_root() {
    let srsync = Srsync::here();
    srsync.file("egress.yaml", DOCUMENTS);
    let run = srsync.on_directory("-o json try").exits(0);
    assert_eq!(states(&run, "Forwarding"), ["Installed", "Installed"]);
    assert_eq!(states(&run, "Masquerade"), ["Installed", "Installed"]);
    let text = srsync.on_directory("try").exits(0).stdout;
    assert!(
        text.contains("~ sysctl net.ipv4.ip_forward = 1 (was 0)"),
        "{text}"
    );
    assert!(text.contains("pods (egress.yaml:"), "{text}");
}

#[test]
fn a_name_of_an_interface_that_is_not_there_is_pending() {
    let site = Site::new();
    let srsync = Srsync::inside(&site.node);
    let document = "apiVersion: srsync.dev/v1alpha1\nkind: Forwarding\nmetadata: {name: here}\n\
                    spec: {interfaces: [{name: eth7, ipv4: true}]}\n";
    srsync.file("here.yaml", document);
    let run = srsync.apply().exits(4);
    let states = states(&run, "Forwarding");
    assert!(
        states.iter().all(|state| state.starts_with("Pending ")),
        "{states:?}"
    );
    assert!(states[0].contains("eth7"), "{states:?}");
}

#[test]
fn explain_follows_a_packet_of_a_pod_to_the_documents_behind_it() {
    let site = Site::new();
    let srsync = Srsync::inside(&site.node);
    let rule = "---\napiVersion: srsync.dev/v1alpha1\nkind: RoutingRule\nmetadata: {name: pods}\n\
                spec: {from: 10.42.0.0/16, table: 100, priority: 1000}\n";
    let documents = DOCUMENTS.replace(
        "  gateway: 192.168.1.1\n",
        "  gateway: 192.168.1.1\n  table: 100\n",
    );
    srsync.file("egress.yaml", &(documents + rule));
    let explained = || {
        srsync
            .on_directory("explain 192.168.2.10 --from 10.42.0.5 --iif pods")
            .exits(0)
            .stdout
    };
    let text = explained();
    assert!(!text.contains("translated:"), "{text}");
    srsync.converge();
    let text = explained();
    for part in [
        "from 10.42.0.0/16 lookup 100",
        "192.168.2.0/24 via 192.168.1.1 dev eth0",
        "translated: masquerade from 10.42.0.0/16 to 192.168.2.0/24 out eth0 (pods",
        "egress.yaml:21",
        "kernel: says the same",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Somebody took the rule of translation away.
    site.nft("delete table inet srsync");
    let text = explained();
    assert!(
        text.contains("but not there; `srsync apply` adds it"),
        "{text}"
    );
}

#[test]
fn a_rehearsal_on_a_snapshot_knows_what_the_node_does_besides_routes() {
    let site = Site::new();
    let srsync = Srsync::inside(&site.node);
    let documents = format!(
        "{DOCUMENTS}---\napiVersion: srsync.dev/v1alpha1\nkind: RoutingRule\nmetadata: {{name: pods}}\n\
         spec: {{priority: 100, from: 10.42.0.0/16, table: 77}}\n"
    );
    srsync.file("egress.yaml", &documents);
    srsync.converge();
    // The same rule of another owner is none of ours.
    site.node.ip("rule del pref 100");
    site.node
        .ip("rule add pref 100 from 10.42.0.0/16 lookup 77 proto static");
    site.node.ip("rule add pref 101 uidrange 0-0 lookup 77");
    let snapshot = srsync.run("snapshot").exits(0).stdout;
    srsync.file(".node", &snapshot);
    let node = srsync.directory().join(".node");
    let run = srsync.on_directory(&format!("try --snapshot {}", node.display()));
    let run = run.exits(0);
    assert!(
        run.stdout
            .contains("+ rule 100: from 10.42.0.0/16 lookup 77"),
        "{}",
        run.stdout
    );
    for there_already in ["sysctl", "masquerade"] {
        assert!(!run.stdout.contains(there_already), "{}", run.stdout);
    }
    assert!(run.stderr.contains("rule 101:"), "{}", run.stderr);
    srsync.run("flush --yes").exits(0);
}

#[test]
fn the_example_for_k3s_does_what_it_says() {
    let site = Site::new();
    let srsync = Srsync::inside(&site.node);
    let before = site.node_state();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/k3s-egress");
    let run = |verb: &str| srsync.run(&format!("{verb} {example}"));
    run("check").exits(4);
    run("apply").exits(0);
    run("check").exits(0);
    let (far, node) = FAR[0];
    wait_until("the far host answers", || site.pings(far));
    let node = node.parse().unwrap();
    wait_until("it sees the node", || site.seen_as(far) == Some(node));
    srsync.run("flush --yes").exits(0);
    assert_eq!(site.node_state(), before);
}
