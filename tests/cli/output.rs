//! Formats, colour, and the commands that only print.

use super::support::ip;
use super::{Folder, ROUTES, command, on_a_node, ran, srsync, srsync_line};

#[test]
fn plan_shows_each_change_with_the_line_that_asks_for_it() {
    on_a_node(|| {
        let folder = Folder::new(&[("routes.yaml", ROUTES)]);
        let ran = srsync(&["plan", folder.path()]).exits(0);
        assert_eq!(
            ran.stdout,
            "\
+ 192.0.2.0/24 via 10.116.0.5 dev wan metric 0 table main      partners (routes.yaml:6)
+ 198.51.100.0/24 via 10.116.0.5 dev wan metric 0 table main   partners (routes.yaml:6)
+ 203.0.113.10/32 via 10.116.0.5 dev wan metric 0 table main   partners (routes.yaml:6)
Plan: 3 to add, 0 to replace, 0 to remove; 0 in place.
"
        );
        assert_eq!(ran.stderr, "");
        srsync(&["plan", folder.path(), "--exit-code"]).exits(3);
        srsync(&["apply", folder.path()]).exits(0);
        srsync(&["plan", folder.path(), "--exit-code"]).exits(0);
    });
}

#[test]
fn status_shows_what_is_owned_and_which_document_asks_for_it() {
    on_a_node(|| {
        let folder = Folder::new(&[("routes.yaml", ROUTES)]);
        srsync(&["apply", folder.path()]).exits(0);
        let ran = srsync_line("status --socket /nonexistent/srsync.sock").exits(0);
        assert!(
            ran.stdout.ends_with("Status: 3 in place.\n"),
            "{}",
            ran.stdout
        );
        ip("route del 192.0.2.0/24");
        ip("route change 198.51.100.0/24 via 10.116.0.9 proto 83");
        ip("route add 198.18.0.0/15 via 10.116.0.9 proto 83");
        let ran = srsync(&["status", folder.path()]).exits(0);
        assert!(ran.stdout.contains("+ 192.0.2.0/24"), "{}", ran.stdout);
        assert!(ran.stdout.contains("was via 10.116.0.9"), "{}", ran.stdout);
        assert!(
            ran.stdout
                .ends_with("Status: 1 in place, 1 missing, 1 different, 1 left over.\n"),
            "{}",
            ran.stdout
        );
    });
}

#[test]
fn the_short_form_counts_where_the_wide_form_lists() {
    on_a_node(|| {
        let many: Vec<String> = (0..1500u32)
            .map(|n| format!("11.{}.{}.0/24", n / 256, n % 256))
            .collect();
        let document = ROUTES.replace("203.0.113.10", &many.join(", "));
        let folder = Folder::new(&[("routes.yaml", &document)]);
        let short = srsync(&["plan", folder.path()]).exits(0).stdout;
        assert!(
            short.contains("… and 502 more routes; -o wide lists every one"),
            "{short}"
        );
        let wide = srsync(&["plan", folder.path(), "-o", "wide"])
            .exits(0)
            .stdout;
        assert_eq!(wide.lines().count(), 1503);
    });
}

#[test]
fn colour_is_for_terminals_or_on_request() {
    on_a_node(|| {
        let folder = Folder::new(&[("routes.yaml", ROUTES)]);
        let plan = |extra: &[&str], env: Option<&str>| {
            let mut command = command(&["plan", folder.path()]);
            command
                .args(extra)
                .envs(env.map(|value| ("NO_COLOR", value)));
            ran(&mut command).exits(0).stdout.contains('\u{1b}')
        };
        assert!(!plan(&[], None));
        assert!(plan(&["--color", "always"], None));
        assert!(!plan(&["--color", "never"], None));
        assert!(!plan(&[], Some("1")));
    });
}

#[test]
fn yaml_and_json_say_the_same() {
    on_a_node(|| {
        let folder = Folder::new(&[("routes.yaml", ROUTES)]);
        let json = srsync(&["plan", folder.path(), "-o", "json"])
            .exits(0)
            .json();
        let yaml = srsync(&["plan", folder.path(), "-o", "yaml"])
            .exits(0)
            .stdout;
        let yaml: serde_json::Value = serde_yaml::from_str(&yaml).unwrap();
        assert_eq!(json, yaml);
        assert_eq!(json["summary"]["add"], 3);
        assert_eq!(json["routes"][0]["nextHops"][0]["via"], "10.116.0.5");
        assert_eq!(json["routes"][0]["file"], folder.file("routes.yaml"));
    });
}

#[test]
fn the_log_goes_to_stderr_in_the_form_that_is_asked_for() {
    let folder = Folder::new(&[("routes.yaml", ROUTES)]);
    let ran = srsync(&["validate", folder.path(), "-v", "--log-format", "json"]).exits(0);
    let first: serde_json::Value =
        serde_json::from_str(ran.stderr.lines().next().unwrap()).unwrap();
    assert_eq!(first["level"], "INFO");
    assert_eq!(srsync(&["validate", folder.path()]).exits(0).stderr, "");
}

#[test]
fn help_version_manual_and_completions_are_printed() {
    let help = srsync_line("--help").exits(0).stdout;
    for verb in [
        "validate", "plan", "apply", "try", "status", "flush", "snapshot", "import",
    ] {
        assert!(help.contains(verb), "{verb}");
        let page = srsync(&["man", verb]).exits(0).stdout;
        assert!(page.contains(&format!(".TH srsync-{verb} ")), "{page}");
    }
    assert!(
        srsync_line("--version")
            .exits(0)
            .stdout
            .starts_with("srsync ")
    );
    assert!(srsync_line("man").exits(0).stdout.contains(".TH srsync 1"));
    srsync_line("man nonsense").exits(2);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = srsync(&["completions", shell]).exits(0).stdout;
        assert!(script.contains("snapshot"), "{shell}");
    }
}

#[test]
fn a_snapshot_of_a_node_is_a_node_to_rehearse_on() {
    on_a_node(|| {
        ip("route add 192.0.2.0/24 via 10.116.0.9 proto bird");
        let snapshot = srsync_line("snapshot").exits(0).stdout;
        let folder = Folder::new(&[("routes.yaml", ROUTES)]);
        let node = Folder::new(&[("node.yaml", &snapshot)]);
        let args = ["try", folder.path(), "--snapshot", &node.file("node.yaml")];
        let ran = srsync(&args).exits(4);
        assert!(
            ran.stdout.contains("! Foreign 192.0.2.0/24"),
            "{}",
            ran.stdout
        );
        assert!(
            ran.stdout.contains("10.116.0.0/24 dev wan src 10.116.0.3"),
            "{}",
            ran.stdout
        );
        // It was only a rehearsal.
        assert_eq!(ip("route show proto 83"), "");

        let broken = Folder::new(&[("node.yaml", "kind: Deployment\n")]);
        let args = [
            "try",
            folder.path(),
            "--snapshot",
            &broken.file("node.yaml"),
        ];
        assert!(srsync(&args).exits(1).stderr.contains("node.yaml"));
    });
}

#[test]
fn an_import_is_documents_on_stdout_and_what_is_left_out_on_stderr() {
    on_a_node(|| {
        let none = srsync_line("import --routes").exits(0);
        assert_eq!(none.stdout, "");
        assert!(none.stderr.contains("--from-protocol"), "{}", none.stderr);
        ip("route add 192.0.2.0/24 via 10.116.0.5");
        ip("route add 203.0.113.10 via 10.116.0.5 proto static");
        ip("route add 198.51.100.0/24 via 10.116.0.5 proto bird");
        ip("route add 198.18.0.0/15 via 10.116.0.5 tos 0x10");
        let ran = srsync_line("import --routes --node-name gw-1").exits(0);
        assert_eq!(
            ran.stdout,
            "\
# Routes of gw-1, as `srsync import --routes` found them in the kernel:
# protocol boot (3), static (4); table main.
# Save this as routes.yaml: the first shows that only their owner changes, the second does it.
#   srsync plan --foreign-routes adopt routes.yaml
#   sudo srsync apply --foreign-routes adopt routes.yaml
---
apiVersion: srsync.dev/v1alpha1
kind: StaticRoute
metadata:
  name: via-10-116-0-5
spec:
  destinations:
    - 192.0.2.0/24
    - 203.0.113.10
  gateway: 10.116.0.5
"
        );
        assert_eq!(
            ran.stderr,
            "\
not written: 198.18.0.0/15: it is for TOS 0x10 alone, which no document can say
note: wrote 2 routes, 1 document; left out 1
"
        );
        let bird = srsync_line("import --routes --from-protocol bird").exits(0);
        assert!(bird.stdout.contains("198.51.100.0/24"), "{}", bird.stdout);
        assert!(!bird.stdout.contains("192.0.2.0/24"), "{}", bird.stdout);
        let json = srsync_line("import --routes -o json").exits(0).json();
        assert_eq!(json["items"][0]["metadata"]["name"], "via-10-116-0-5");
        // What it asks for is what it gets.
        let folder = Folder::new(&[("routes.yaml", &ran.stdout)]);
        let adopt = ["apply", folder.path(), "--foreign-routes", "adopt"];
        srsync(&adopt).exits(0);
        assert_eq!(ip("route show proto 83").lines().count(), 2);
    });
}

#[test]
fn the_order_of_documents_and_files_does_not_matter() {
    on_a_node(|| {
        // Two documents want the same slot: by name `a-blackhole` wins, wherever it stands.
        let rival = "\
apiVersion: srsync.dev/v1alpha1
kind: StaticRoute
metadata: {name: a-blackhole}
spec: {destinations: [192.0.2.0/24], type: blackhole}
";
        let decisions = |files: &[(&str, &str)]| -> Vec<String> {
            let folder = Folder::new(files);
            let report = srsync(&["plan", folder.path(), "-o", "json"])
                .exits(0)
                .json();
            let routes = report["routes"].as_array().unwrap();
            let decision = |route: &serde_json::Value| {
                let of = |key: &str| route[key].to_string();
                [
                    of("prefix"),
                    of("document"),
                    of("action"),
                    of("state"),
                    of("type"),
                ]
                .join(" ")
            };
            routes.iter().map(decision).collect()
        };
        let one_file = decisions(&[("x.yaml", &format!("{ROUTES}---\n{rival}"))]);
        assert_eq!(one_file.len(), 4);
        assert!(one_file[0].contains("a-blackhole") && one_file[1].contains("Conflict"));
        let turned = decisions(&[("x.yaml", &format!("{rival}---\n{ROUTES}"))]);
        let two_files = decisions(&[("1.yaml", ROUTES), ("2.yaml", rival)]);
        let two_files_turned = decisions(&[("2.yaml", ROUTES), ("1.yaml", rival)]);
        assert_eq!(one_file, turned);
        assert_eq!(one_file, two_files);
        assert_eq!(one_file, two_files_turned);
    });
}
