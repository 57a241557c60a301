//! What a person sees who makes a mistake, and that nothing was changed by it.

use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use super::support::{ip, ip_succeeds};
use super::{Folder, ROUTES, command, on_a_node, ran, srsync, srsync_line, with_stdin};

#[test]
fn a_typo_is_shown_with_its_line_and_what_was_meant() {
    let folder = Folder::new(&[("routes.yaml", &ROUTES.replace("gateway", "gatway"))]);
    let ran = srsync(&["validate", folder.path()]).exits(1);
    assert!(ran.stdout.contains("routes.yaml:7:3"), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("did you mean `gateway`?"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.contains("7 |   gatway: 10.116.0.5"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.ends_with("invalid: 1 error\n"), "{}", ran.stdout);
}

#[test]
fn one_invalid_document_keeps_apply_from_changing_anything() {
    on_a_node(|| {
        let folder = Folder::new(&[
            ("good.yaml", ROUTES),
            (
                "bad.yaml",
                &ROUTES
                    .replace("192.0.2.0/24", "192.0.2.1/24")
                    .replace("partners", "bad"),
            ),
        ]);
        let ran = srsync(&["apply", folder.path()]).exits(1);
        assert!(ran.stderr.contains("bad.yaml:6:18"), "{}", ran.stderr);
        assert!(ran.stderr.contains("`192.0.2.0/24`"), "{}", ran.stderr);
        assert!(ran.stderr.contains("nothing was changed"), "{}", ran.stderr);
        assert_eq!(ran.stdout, "");
        assert_eq!(ip("route show proto 83"), "");
    });
}

#[test]
fn what_is_no_file_is_said_at_once_and_nothing_hangs() {
    let folder = Folder::new(&[("routes.yaml", ROUTES)]);
    nix::unistd::mkfifo(&folder.0.join("fifo.yaml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::fs::create_dir(folder.0.join("directory.yaml")).unwrap();
    symlink("/nowhere/at/all", folder.0.join("dangling.yaml")).unwrap();
    std::fs::write(folder.0.join("latin1.yaml"), b"name: caf\xe9\n").unwrap();
    let large = std::fs::File::create(folder.0.join("large.yaml")).unwrap();
    large.set_len(50 << 20).unwrap();
    let ran = srsync(&["validate", folder.path()]).exits(1);
    for (name, what) in [
        ("fifo.yaml", "FIFO"),
        ("directory.yaml", "directory"),
        ("dangling.yaml", "/nowhere/at/all"),
        ("latin1.yaml", "UTF-8"),
        ("large.yaml", "destinationsFrom"),
    ] {
        let about = ran.stdout.split("\n\n").find(|part| part.contains(name));
        let about = about.unwrap_or_else(|| panic!("{name}: {}", ran.stdout));
        assert!(about.contains(what), "{about}");
    }
    assert!(
        ran.stdout.ends_with("invalid: 5 errors\n"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_path_that_does_not_exist_is_named() {
    let ran = srsync_line("apply /no/such/directory").exits(1);
    assert!(ran.stderr.contains("/no/such/directory"), "{}", ran.stderr);
    assert!(ran.stderr.contains("nothing was changed"), "{}", ran.stderr);
}

#[test]
fn the_command_line_is_checked_before_anything_happens() {
    srsync_line("aply").exits(2);
    srsync_line("apply --no-such-flag").exits(2);
    let ran = srsync_line("apply").exits(2);
    assert!(ran.stderr.contains("no PATH given"), "{}", ran.stderr);
    // Protocols of the kernel and of people with `ip route` cannot be ours.
    let ran = srsync_line("status --protocol 4").exits(2);
    assert!(ran.stderr.contains("from 5 to 255"), "{}", ran.stderr);
    srsync_line("status --table nonsense").exits(2);
    srsync_line("status --protected-subnets 10.0.0.1/8").exits(2);
    srsync_line("status --node-label nonsense").exits(2);
    srsync_line("status --max-removals many").exits(2);
}

#[test]
fn an_empty_directory_removes_nothing_unless_allowed() {
    on_a_node(|| {
        let folder = Folder::new(&[("routes.yaml", ROUTES)]);
        let empty = Folder::new(&[]);
        srsync(&["apply", empty.path()]).exits(0);
        srsync(&["apply", folder.path()]).exits(0);
        let ran = srsync(&["apply", empty.path()]).exits(1);
        assert!(ran.stderr.contains("--allow-empty"), "{}", ran.stderr);
        assert_eq!(ip("route show proto 83").lines().count(), 3);
        srsync(&["apply", empty.path(), "--allow-empty"]).exits(0);
        assert_eq!(ip("route show proto 83"), "");
    });
}

#[test]
fn a_limit_on_removals_withholds_all_of_them() {
    on_a_node(|| {
        let folder = Folder::new(&[("routes.yaml", ROUTES)]);
        srsync(&["apply", folder.path()]).exits(0);
        folder.write(
            "routes.yaml",
            &ROUTES.replace("192.0.2.0/24, 198.51.100.0/24, ", ""),
        );
        let ran = srsync(&["apply", folder.path(), "--max-removals", "1"]).exits(4);
        assert!(ran.stdout.contains("--max-removals"), "{}", ran.stdout);
        assert_eq!(ip("route show proto 83").lines().count(), 3);
        srsync(&["apply", folder.path(), "--max-removals", "70%"]).exits(0);
        assert_eq!(ip("route show proto 83").lines().count(), 1);
    });
}

#[test]
fn without_the_capability_apply_says_so_once() {
    on_a_node(|| {
        let folder = Folder::new(&[("routes.yaml", ROUTES)]);
        // Root without a single capability: in a user namespace there is nobody else to become.
        let mut powerless = Command::new("setpriv");
        powerless.args([
            "--bounding-set=-all",
            "--inh-caps=-all",
            env!("CARGO_BIN_EXE_srsync"),
        ]);
        let ran = ran(powerless.args(["apply", folder.path()])).exits(1);
        assert!(ran.stderr.contains("CAP_NET_ADMIN"), "{}", ran.stderr);
        assert!(ran.stderr.contains("nothing was changed"), "{}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    });
}

#[test]
fn where_namespaces_are_forbidden_try_says_what_to_allow() {
    let folder = Folder::new(&[("routes.yaml", ROUTES)]);
    // In a user namespace of its own the limit can be set for just this process; without
    // capabilities there is no other way in either.
    let script = format!(
        "echo 0 > /proc/sys/user/max_user_namespaces && \
         exec setpriv --bounding-set=-all --inh-caps=-all {} try {}",
        env!("CARGO_BIN_EXE_srsync"),
        folder.path()
    );
    let ran = ran(Command::new("unshare").args(["-rn", "sh", "-c", &script])).exits(1);
    assert!(
        ran.stderr.contains("user.max_user_namespaces"),
        "{}",
        ran.stderr
    );
}

#[test]
fn flush_asks_and_without_a_terminal_wants_to_be_told() {
    on_a_node(|| {
        let folder = Folder::new(&[("routes.yaml", ROUTES)]);
        srsync(&["apply", folder.path()]).exits(0);
        ip("route add 192.0.2.128/25 via 10.116.0.9 proto static");
        let ran = srsync_line("flush").exits(2);
        assert!(ran.stderr.contains("3 routes"), "{}", ran.stderr);
        assert!(ran.stderr.contains("--yes"), "{}", ran.stderr);
        assert_eq!(ip("route show proto 83").lines().count(), 3);
        let flushed = srsync_line("flush --yes").exits(0).stdout;
        assert!(flushed.ends_with("Flushed: 3 removed.\n"), "{flushed}");
        assert_eq!(ip("route show proto 83"), "");
        assert!(ip("route").contains("192.0.2.128/25"));
        srsync_line("flush").exits(0);
    });
}

#[test]
fn stdin_is_a_path_like_any_other() {
    with_stdin(&["validate", "-"], ROUTES).exits(0);
    let ran = with_stdin(
        &["validate", "-"],
        &ROUTES.replace("10.116.0.5", "10.116.0.5/24"),
    );
    assert!(ran.exits(1).stdout.contains("did you mean `10.116.0.5`?"));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut document = ROUTES.to_owned();
    let hosts: Vec<String> = (0..20_000u32)
        .map(|n| std::net::Ipv4Addr::from(0x0b00_0000 + 2 * n).to_string())
        .collect();
    document = document.replace("203.0.113.10", &hosts.join(", "));
    let folder = Folder::new(&[("routes.yaml", &document)]);
    for args in [
        ["plan", folder.path(), "-o", "wide"],
        ["plan", folder.path(), "-o", "json"],
    ] {
        let mut child = command(&args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }
}

#[test]
fn a_slot_of_somebody_else_is_left_alone_and_reported() {
    on_a_node(|| {
        assert!(ip_succeeds(
            "route add 192.0.2.0/24 via 10.116.0.9 proto bird"
        ));
        let before = ip("-d route");
        let folder = Folder::new(&[("routes.yaml", ROUTES)]);
        let ran = srsync(&["apply", folder.path()]).exits(4);
        assert!(
            ran.stdout.contains("! Foreign 192.0.2.0/24"),
            "{}",
            ran.stdout
        );
        assert!(ran.stdout.contains("bird (12)"), "{}", ran.stdout);
        assert!(
            ran.stdout.contains("via 10.116.0.9 dev wan"),
            "{}",
            ran.stdout
        );
        assert!(ip("-d route").starts_with(before.split('\n').next().unwrap()));
        assert_eq!(ip("route show proto bird").lines().count(), 1);
        assert_eq!(ip("route show proto 83").lines().count(), 2);
    });
}

/// What a pass adds raises the number of routes that a percentage is of: asked again in a second
/// round, the guard would let the removals through that it withheld in the first.
#[test]
fn a_percentage_of_removals_is_asked_for_once_in_a_pass() {
    on_a_node(|| {
        let folder = Folder::new(&[("routes.yaml", ROUTES)]);
        srsync(&["apply", folder.path()]).exits(0);
        let others = "[100.64.0.0/24, 100.64.1.0/24, 100.64.2.0/24, 203.0.113.10]";
        let all = "[192.0.2.0/24, 198.51.100.0/24, 203.0.113.10]";
        folder.write("routes.yaml", &ROUTES.replace(all, others));
        srsync(&["apply", folder.path(), "--max-removals", "50%"]).exits(4);
        assert_eq!(ip("route show proto 83").lines().count(), 6);
    });
}

#[test]
fn an_override_that_changes_nothing_is_noted_and_keeps_nobody_from_applying() {
    on_a_node(|| {
        let mistyped = "apiVersion: srsync.dev/v1alpha1\nkind: GatewayOverride\nmetadata: {name: a}\n\
                        spec: {gateway: 10.116.0.6, state: Drained}\n";
        let folder = Folder::new(&[("routes.yaml", ROUTES), ("overrides.yaml", mistyped)]);
        for verb in ["plan", "apply"] {
            let ran = srsync(&[verb, folder.path()]).exits(0);
            let note = "note: no document names the gateway 10.116.0.6\n";
            assert!(ran.stderr.starts_with(note), "{}", ran.stderr);
            let help = "the only gateway is `10.116.0.5`";
            assert!(ran.stderr.contains(help), "{}", ran.stderr);
        }
        let ran = srsync(&["validate", folder.path()]).exits(0);
        let counted =
            "2 files, 1 document, 3 destinations, 1 gateway override: valid, with 1 note\n";
        assert!(ran.stdout.ends_with(counted), "{}", ran.stdout);
        let ran = srsync(&["validate", "-o", "json", folder.path()]).exits(0);
        assert_eq!(ran.json()["gatewayOverrides"], 1);
    });
}

#[test]
fn documents_of_every_kind_are_counted() {
    let kinds = [
        ("Forwarding", "{ipv4: true}", 1),
        ("Masquerade", "{sources: [10.42.0.0/16]}", 1),
        ("RoutingRule", "{priority: 1, from: 10.42.0.0/16}", 2),
        ("ConnectivityCheck", "{targets: [192.0.2.1]}", 1),
    ];
    let mut text = String::new();
    for (kind, spec, count) in kinds {
        for number in 0..count {
            text += &format!(
                "---\napiVersion: srsync.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: a{number}}}\nspec: {spec}\n"
            );
        }
    }
    let folder = Folder::new(&[("routes.yaml", ROUTES), ("egress.yaml", &text)]);
    let ran = srsync(&["validate", folder.path()]).exits(0);
    let counted = "2 files, 1 document, 3 destinations, 1 forwarding, 1 masquerade, 2 routing rules, \
                   1 connectivity check: valid\n";
    assert_eq!(ran.stdout, counted);
    let json = srsync(&["validate", "-o", "json", folder.path()])
        .exits(0)
        .json();
    let schema = srsync(&["schema", "report"]).exits(0).json();
    assert!(jsonschema::is_valid(&schema, &json), "{json}");
    for (field, count) in [
        ("forwardings", 1),
        ("masquerades", 1),
        ("routingRules", 2),
        ("connectivityChecks", 1),
    ] {
        assert_eq!(json[field], count, "{field}");
    }
    assert_eq!(json.get("gatewayOverrides"), None);
}

#[test]
fn what_is_noted_of_any_kind_is_said_once() {
    let late = "apiVersion: srsync.dev/v1alpha1\nkind: RoutingRule\nmetadata: {name: late}\n\
                spec: {priority: 40000, from: 10.42.0.0/16, table: 100}\n";
    let folder = Folder::new(&[("routes.yaml", ROUTES), ("late.yaml", late)]);
    on_a_node(|| {
        let ran = srsync(&["plan", folder.path()]).exits(0);
        let said = ran.stdout + &ran.stderr;
        assert_eq!(said.matches("after the table main").count(), 1, "{said}");
    });
}

#[test]
fn an_import_says_what_can_be_imported() {
    let error = |line: &str| srsync_line(line).exits(2).stderr;
    assert!(error("import").contains("--routes"));
    let unknown = error("import --routes --from-protocol nonsense");
    assert!(
        unknown.contains("\"nonsense\" names no protocol"),
        "{unknown}"
    );
    let unknown = error("import --routes --from-table main,nonsense");
    assert!(unknown.contains("\"nonsense\" names no table"), "{unknown}");
    for local in ["local", "255"] {
        let refused = error(&format!("import --routes --from-table {local}"));
        assert!(refused.contains("belongs to the kernel"), "{refused}");
    }
}
