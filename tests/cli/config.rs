//! `srsync config`: what is in force, who said it, and what is wrong with it.

use serde_json::{Value, json};

use super::{Folder, command, ran, srsync, srsync_line};

/// Every setting with a flag that gives it and a variable that gives it, and what comes of both.
fn every_setting() -> Vec<(&'static str, &'static str, &'static str, Value)> {
    let label = json!({"kubernetes.io/hostname": "gw-1"});
    vec![
        ("protocol", "--protocol=90", "SRSYNC_PROTOCOL", json!(90)),
        ("table", "--table=100", "SRSYNC_TABLE", json!(100)),
        (
            "protectedSubnets",
            "--protected-subnets=10.0.0.0/8,2001:db8::/32",
            "SRSYNC_PROTECTED_SUBNETS",
            json!(["10.0.0.0/8", "2001:db8::/32"]),
        ),
        (
            "allowDefaultRoute",
            "--allow-default-route=true",
            "SRSYNC_ALLOW_DEFAULT_ROUTE",
            json!(true),
        ),
        (
            "allowCatchAllRules",
            "--allow-catch-all-rules=true",
            "SRSYNC_ALLOW_CATCH_ALL_RULES",
            json!(true),
        ),
        (
            "allowEmpty",
            "--allow-empty=true",
            "SRSYNC_ALLOW_EMPTY",
            json!(true),
        ),
        (
            "maxRemovals",
            "--max-removals=10%",
            "SRSYNC_MAX_REMOVALS",
            json!("10%"),
        ),
        (
            "foreignRoutes",
            "--foreign-routes=adopt",
            "SRSYNC_FOREIGN_ROUTES",
            json!("adopt"),
        ),
        (
            "gatewayLookup",
            "--gateway-lookup=192.0.2.1",
            "SRSYNC_GATEWAY_LOOKUP",
            json!("192.0.2.1"),
        ),
        (
            "resyncInterval",
            "--resync-interval=120s",
            "SRSYNC_RESYNC_INTERVAL",
            json!("2m"),
        ),
        (
            "debounce",
            "--debounce=1500ms",
            "SRSYNC_DEBOUNCE",
            json!("1500ms"),
        ),
        (
            "node.name",
            "--node-name=100",
            "SRSYNC_NODE_NAME",
            json!("100"),
        ),
        (
            "node.labels",
            "--node-label=kubernetes.io/hostname=gw-1",
            "SRSYNC_NODE_LABELS",
            label,
        ),
        (
            "sources.kube",
            "--kube-source=srsync.dev,static-route.ibm.com",
            "SRSYNC_KUBE_SOURCE",
            json!(["srsync.dev", "static-route.ibm.com"]),
        ),
        (
            "kube.nodeLabels",
            "--kube-node-labels=true",
            "SRSYNC_KUBE_NODE_LABELS",
            json!(true),
        ),
        (
            "kube.mirror",
            "--kube-mirror=true",
            "SRSYNC_KUBE_MIRROR",
            json!(true),
        ),
        (
            "kube.mirrorCreate",
            "--kube-mirror-create=false",
            "SRSYNC_KUBE_MIRROR_CREATE",
            json!(false),
        ),
        (
            "listen",
            "--listen=[::1]:9783",
            "SRSYNC_LISTEN",
            json!("[::1]:9783"),
        ),
        (
            "socket",
            "--socket=/tmp/s",
            "SRSYNC_SOCKET",
            json!("/tmp/s"),
        ),
        (
            "procSys",
            "--proc-sys=/host/sys",
            "SRSYNC_PROC_SYS",
            json!("/host/sys"),
        ),
        (
            "log.level",
            "--log-level=debug",
            "SRSYNC_LOG_LEVEL",
            json!("debug"),
        ),
        (
            "log.format",
            "--log-format=json",
            "SRSYNC_LOG_FORMAT",
            json!("json"),
        ),
    ]
}

/// What `config show` says of a key.
fn entry(shown: &Value, key: &str) -> Value {
    let mut entries = shown["settings"].as_array().unwrap().iter();
    let entry = entries.find(|entry| entry["key"] == key);
    entry
        .unwrap_or_else(|| panic!("no {key} in {shown:#}"))
        .clone()
}

/// `config show` under a config file and with more arguments.
fn show(file: &str, variables: &[(&str, &str)], more: &[&str]) -> Value {
    let folder = Folder::new(&[("config.yaml", file)]);
    let mut command = command(&["config", "show", "-o", "json", "--config"]);
    command.arg(folder.file("config.yaml")).args(more);
    ran(command.envs(variables.iter().copied())).exits(0).json()
}

#[test]
fn every_setting_has_a_flag_and_a_variable_and_knows_which_of_them_said_it() {
    let settings = every_setting();
    for (key, argument, variable, value) in &settings {
        let (flag, text) = argument.split_once('=').unwrap();
        let by_flag = json!({"key": key, "value": value, "origin": "flag", "flag": flag});
        assert_eq!(entry(&show("{}", &[], &[argument]), key), by_flag);
        let by_variable =
            json!({"key": key, "value": value, "origin": "environment", "variable": variable});
        let variables = [(*variable, text)];
        assert_eq!(entry(&show("{}", &variables, &[]), key), by_variable);
        // Whatever the variable says, the flag is stronger.
        assert_eq!(
            entry(&show("{}", &[(variable, "x")], &[argument]), key),
            by_flag
        );
    }
    let by_variable = json!({"key": "sources", "value": ["/a", "/b"], "origin": "environment",
        "variable": "SRSYNC_SOURCES"});
    let shown = show("{}", &[("SRSYNC_SOURCES", "/a:/b")], &[]);
    assert_eq!(entry(&shown, "sources"), by_variable);
    let mut tested: Vec<&str> = settings.iter().map(|(key, ..)| *key).collect();
    tested.push("sources");
    for entry in shown["settings"].as_array().unwrap() {
        assert!(tested.contains(&entry["key"].as_str().unwrap()), "{entry}");
    }
}

#[test]
fn a_value_of_the_config_file_has_its_line() {
    let folder = Folder::new(&[(
        "config.yaml",
        "# a comment\nresyncInterval: 10s\nnode:\n  labels:\n    role: egress\n",
    )]);
    let config = folder.file("config.yaml");
    let ran = srsync(&["config", "show", "--config", &config, "--node-name", "gw-1"]).exits(0);
    let origin = |key: &str| {
        let mut lines = ran.stdout.lines();
        let line = lines
            .find(|line| line.starts_with(&format!("{key} ")))
            .unwrap();
        line.split_whitespace()
            .skip(1)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(origin("KEY"), "VALUE ORIGIN");
    assert_eq!(origin("resyncInterval"), format!("10s {config}:2"));
    assert_eq!(origin("debounce"), "100ms default");
    assert_eq!(origin("maxRemovals"), "none default");
    assert_eq!(origin("node.name"), "gw-1 --node-name");
    assert_eq!(
        origin("node.labels"),
        format!(
            "kubernetes.io/hostname=gw-1, role=egress {config}:4; kubernetes.io/hostname is implied"
        )
    );
    let shown = show("\nsocket: /run/s\n", &[], &["-v"]);
    let socket = entry(&shown, "socket");
    assert_eq!(
        (&socket["origin"], &socket["line"]),
        (&json!("file"), &json!(2))
    );
    assert!(socket["file"].as_str().unwrap().ends_with("config.yaml"));
    let level = json!({"key": "log.level", "value": "info", "origin": "flag", "flag": "--verbose"});
    assert_eq!(entry(&shown, "log.level"), level);
}

#[test]
fn settings_of_the_daemon_follow_the_precedence_of_all_settings() {
    let debounce = |file, variables: &[(&str, &str)], more: &[&str]| {
        entry(&show(file, variables, more), "debounce")["value"].clone()
    };
    let variable = [("SRSYNC_DEBOUNCE", "2s")];
    assert_eq!(debounce("{}", &[], &[]), "100ms");
    assert_eq!(debounce("debounce: 1s", &[], &[]), "1s");
    assert_eq!(debounce("debounce: 1s", &variable, &[]), "2s");
    assert_eq!(
        debounce("debounce: 1s", &variable, &["--debounce=3s"]),
        "3s"
    );
}

#[test]
fn how_much_is_logged_is_said_by_one_flag_and_flags_beat_the_environment() {
    let level = |variables: &[(&str, &str)], more: &[&str]| {
        let level = entry(&show("log: {level: warn}", variables, more), "log.level");
        level["value"].as_str().unwrap().to_owned()
    };
    let variable = [("SRSYNC_LOG_LEVEL", "info")];
    assert_eq!(level(&[], &[]), "warn");
    assert_eq!(level(&variable, &[]), "info");
    assert_eq!(level(&variable, &["--log-level=error"]), "error");
    assert_eq!(level(&variable, &["-vv"]), "debug");
    assert_eq!(level(&variable, &["-q"]), "error");
    for line in ["-v --log-level info", "-q --log-level info", "-q -v"] {
        let ran = srsync_line(&format!("config show {line}")).exits(2);
        assert!(ran.stderr.contains("cannot be used with"), "{}", ran.stderr);
    }
}

#[test]
fn a_config_file_is_checked_like_a_document() {
    let folder = Folder::new(&[
        ("good.yaml", "debounce: 1s\n"),
        (
            "bad.yaml",
            "protectedSubnet: []\nlisten: 9783\ndebounce: 8s\nresyncInterval: 5s\n",
        ),
    ]);
    let (good, bad) = (folder.file("good.yaml"), folder.file("bad.yaml"));
    let ran = srsync(&["config", "check", &good]).exits(0);
    assert_eq!(
        (ran.stdout, ran.stderr),
        (format!("{good}: valid\n"), String::new())
    );
    // The file named is checked, whatever else would be read.
    let ran = srsync(&["config", "check", &bad, "--config", &good]).exits(1);
    for found in [
        "bad.yaml:1:1",
        "1 | protectedSubnet: []",
        "did you mean `protectedSubnets`?",
        "bad.yaml:2:9",
        "bad.yaml:3:11",
        "bad.yaml:4:17",
        "bad.yaml: invalid: 3 errors\n",
    ] {
        assert!(ran.stdout.contains(found), "{found}:\n{}", ran.stdout);
    }
    assert_eq!(ran.stderr, "");
    let ran = srsync(&["config", "check", "-o", "json", "--config", &bad]).exits(1);
    let mistake = &ran.json()["diagnostics"][0];
    assert_eq!(
        (&mistake["line"], &mistake["column"]),
        (&json!(1), &json!(1))
    );
    // Any other command refuses it, too.
    let ran = srsync(&["config", "show", "--config", &bad]).exits(1);
    assert!(
        ran.stderr.ends_with("bad.yaml has 3 errors\n"),
        "{}",
        ran.stderr
    );
    let ran = srsync_line("config check /no/such/file").exits(1);
    assert!(ran.stderr.contains("/no/such/file"), "{}", ran.stderr);
    let ran = srsync_line("config check").exits(0);
    let default = srsync::config::DEFAULT_FILE;
    if !std::path::Path::new(default).exists() {
        assert_eq!(
            ran.stdout,
            format!("no {default}, so defaults are in force: valid\n")
        );
    }
}

#[test]
fn mistakes_of_flags_and_variables_are_found_with_those_of_the_file() {
    let folder = Folder::new(&[("config.yaml", "allowEmpty: yes\n")]);
    let config = folder.file("config.yaml");
    let mut command = command(&["config", "check", "--config", &config]);
    command.args([
        "--node-label",
        "role",
        "--protected-subnets",
        "10.0.0.0/8,10.1.2.3/16",
    ]);
    command.envs([("SRSYNC_PROTOCOL", "2"), ("SRSYNC_DEBOUNCE", "11s")]);
    command.env("SRSYNC_RESYNC_INTERVAL", "500ms");
    let ran = ran(&mut command).exits(1);
    for found in [
        "--> SRSYNC_PROTOCOL:1:1",
        "`protocol` must be a whole number from 5 to 255, not `2`",
        "--> SRSYNC_DEBOUNCE:1:1",
        "must be at most `10s`",
        "--> SRSYNC_RESYNC_INTERVAL:1:1",
        "must be at least `1s`",
        "--> --node-label:1:1",
        "must be `KEY=VALUE`",
        "--> --protected-subnets:1:12",
        "did you mean `10.1.0.0/16`?",
        "config.yaml:1:13",
        "invalid: 6 errors\n",
    ] {
        assert!(ran.stdout.contains(found), "{found}:\n{}", ran.stdout);
    }
    // A command that would act on them says the same, and that it was called wrongly.
    let ran = srsync_line("validate . --protocol 2").exits(2);
    assert!(ran.stderr.contains("--> --protocol:1:1"), "{}", ran.stderr);
    let ran = srsync_line("validate . --table nonsense").exits(2);
    assert!(
        ran.stderr.contains("`table` names no known table"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_misspelt_variable_is_a_warning_of_config_check_alone() {
    let folder = Folder::new(&[("config.yaml", "{}")]);
    let config = folder.file("config.yaml");
    let with_variables = |verb: &str| {
        let mut command = command(&["config", verb, "--config", &config]);
        command.envs([("SRSYNC_TABEL", "main"), ("SRSYNC_XYZZY", "1")]);
        // What Kubernetes sets for a Service of this name is nobody's mistake.
        command.envs([
            ("SRSYNC_SERVICE_HOST", "10.0.0.1"),
            ("SRSYNC_PORT", "tcp://10.0.0.1:80"),
        ]);
        ran(&mut command).exits(0)
    };
    let checked = with_variables("check");
    for found in [
        "--> SRSYNC_TABEL",
        "did you mean `SRSYNC_TABLE`?",
        "SRSYNC_XYZZY is no variable of srsync",
        "valid, with 2 warnings\n",
    ] {
        assert!(
            checked.stdout.contains(found),
            "{found}:\n{}",
            checked.stdout
        );
    }
    assert_eq!(
        checked.stdout.matches("did you mean").count(),
        1,
        "{}",
        checked.stdout
    );
    let shown = with_variables("show");
    assert!(!(shown.stdout + &shown.stderr).contains("XYZZY"));
}

#[test]
fn the_help_names_every_flag_and_keeps_those_of_the_daemon_apart() {
    let help = srsync_line("plan --help").exits(0).stdout;
    let (all, daemon) = help.split_once("\nDaemon:\n").unwrap();
    for (_, argument, variable, _) in every_setting() {
        let flag = argument.split_once('=').unwrap().0;
        let place = match flag {
            "--resync-interval" | "--debounce" | "--listen" | "--socket" => daemon,
            flag if flag.starts_with("--kube-") => daemon,
            _ => all,
        };
        assert!(place.contains(&format!("{flag} <")) || place.contains(&format!("{flag}[=")));
        assert!(place.contains(&format!("[env: {variable}=")), "{variable}");
    }
    let help = srsync_line("config --help").exits(0).stdout;
    assert!(
        help.contains("check  ") && help.contains("show   "),
        "{help}"
    );
    srsync_line("config").exits(2);
    assert!(srsync_line("man config").exits(0).stdout.contains("check"));
}

/// The config file that is shipped, with every `#` before a key or a line of its value taken away.
fn example_in_full() -> String {
    let example = include_str!("../../config/config.yaml");
    let uncommented = example.lines().map(|line| match line.strip_prefix('#') {
        // Prose begins with one space, what is inside of a key with two.
        Some(key) if key.starts_with(char::is_alphabetic) || key.starts_with("  ") => key,
        _ => line,
    });
    uncommented.map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_example_of_a_config_file_has_every_key_with_its_default() {
    let folder = Folder::new(&[("config.yaml", &example_in_full())]);
    for file in ["config/config.yaml", &folder.file("config.yaml")] {
        let checked = srsync(&["config", "check", file]).exits(0);
        assert_eq!(checked.stdout, format!("{file}: valid\n"));
    }
    let defaults = show("{}", &[], &[]);
    let full = show(&example_in_full(), &[], &[]);
    for said in full["settings"].as_array().unwrap() {
        let key = said["key"].as_str().unwrap();
        assert_eq!(said["origin"], "file", "{key} is missing");
        let no_default = ["sources", "maxRemovals", "listen"].contains(&key);
        // The host says the one, and `info` is the daemon's.
        let depends = key.starts_with("node.") || key == "log.level";
        if !no_default && !depends {
            assert_eq!(said["value"], entry(&defaults, key)["value"], "{key}");
        }
    }
}

#[test]
fn the_name_that_a_pod_has_for_its_node_is_taken_where_nobody_gave_another() {
    let name = |variables: &[(&str, &str)]| entry(&show("{}", variables, &[]), "node.name");
    let by_pod = name(&[("NODE_NAME", "worker-1")]);
    assert_eq!(by_pod["value"], "worker-1");
    assert_eq!(by_pod["variable"], "NODE_NAME");
    let both = [("NODE_NAME", "worker-1"), ("SRSYNC_NODE_NAME", "gw-1")];
    assert_eq!(name(&both)["value"], "gw-1");
    assert_eq!(name(&[("NODE_NAME", "")])["origin"], "default");
}

#[test]
fn a_mirror_that_makes_objects_needs_a_mirror() {
    let folder = Folder::new(&[("config.yaml", "kube: {mirrorCreate: true}\n")]);
    let ran = srsync(&["config", "check", &folder.file("config.yaml")]).exits(1);
    let said = "`kube.mirrorCreate` makes nothing without `kube.mirror`";
    assert!(ran.stdout.contains(said), "{}", ran.stdout);
}

#[test]
fn the_long_version_says_what_this_build_can_do() {
    let ran = srsync(&["--version"]).exits(0);
    assert!(ran.stdout.ends_with("\nfeatures: kube\n"), "{}", ran.stdout);
}
