//! Settings: flag > environment > config file > default.

use super::support::ip;
use super::{Folder, ROUTES, command, on_a_node, ran, srsync};

#[test]
fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
    on_a_node(|| {
        let folder = Folder::new(&[("routes.yaml", ROUTES)]);
        let config = Folder::new(&[("config.yaml", "protocol: 91\nprotectedSubnets: []\n")]);
        let protocol = |with_file: bool, env: Option<&str>, flag: Option<&str>| {
            let mut command = command(&["plan", folder.path(), "-o", "json"]);
            if with_file {
                command.args(["--config", &config.file("config.yaml")]);
            }
            command.envs(env.map(|value| ("SRSYNC_PROTOCOL", value)));
            command.args(flag.map(|value| format!("--protocol={value}")));
            ran(&mut command).exits(0).json()["protocol"]
                .as_u64()
                .unwrap()
        };
        assert_eq!(protocol(false, None, None), 83);
        assert_eq!(protocol(true, None, None), 91);
        assert_eq!(protocol(true, Some("92"), None), 92);
        assert_eq!(protocol(true, Some("92"), Some("93")), 93);
    });
}

#[test]
fn the_sources_of_the_config_file_stand_in_for_paths() {
    on_a_node(|| {
        let folder = Folder::new(&[("routes.yaml", ROUTES)]);
        let sources = format!("sources: [{}]\n", folder.path());
        let config = Folder::new(&[("config.yaml", &sources)]);
        let config = config.file("config.yaml");
        srsync(&["apply", "--config", &config]).exits(0);
        assert_eq!(ip("route show proto 83").lines().count(), 3);
        let status = srsync(&["status", "--config", &config]).exits(0).stdout;
        assert!(status.contains("partners (routes.yaml:6)"), "{status}");
        let mut by_environment = command(&["plan", "--exit-code"]);
        ran(by_environment.env("SRSYNC_SOURCES", folder.path())).exits(0);
    });
}

#[test]
fn a_mistake_in_the_config_file_is_shown_like_one_in_a_document() {
    let folder = Folder::new(&[("routes.yaml", ROUTES)]);
    let config = Folder::new(&[("config.yaml", "protectedSubnet: [10.0.0.0/8]\n")]);
    let config = config.file("config.yaml");
    let ran = srsync(&["validate", folder.path(), "--config", &config]).exits(1);
    assert!(ran.stderr.contains("config.yaml:1:1"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("did you mean `protectedSubnets`?"),
        "{}",
        ran.stderr
    );
    let ran = srsync(&["validate", folder.path(), "--config", "/no/such/file"]).exits(1);
    assert!(ran.stderr.contains("/no/such/file"), "{}", ran.stderr);
}

#[test]
fn guards_can_be_lifted_by_flag_and_by_environment() {
    on_a_node(|| {
        let all = "[192.0.2.0/24, 198.51.100.0/24, 203.0.113.10]";
        let document = ROUTES.replace(all, "[0.0.0.0/0]");
        let folder = Folder::new(&[("routes.yaml", &document)]);
        let ran_default = srsync(&["apply", folder.path()]).exits(4);
        assert!(
            ran_default.stdout.contains("--allow-default-route"),
            "{}",
            ran_default.stdout
        );
        assert_eq!(ip("route show default"), "");
        let mut allowed = command(&["apply", folder.path()]);
        ran(allowed.env("SRSYNC_ALLOW_DEFAULT_ROUTE", "true")).exits(0);
        assert!(ip("route show default").contains("10.116.0.5"));
        // A guard that comes back refuses, but what is in place stays.
        srsync(&["apply", folder.path(), "--allow-default-route=false"]).exits(4);
        assert!(ip("route show default").contains("10.116.0.5"));
        folder.write("routes.yaml", ROUTES);
        let protected = ["--protected-subnets", "10.0.0.0/8,203.0.113.0/24"];
        let ran = srsync(&[["apply", folder.path()], protected].concat()).exits(4);
        assert!(
            ran.stdout.contains("protected subnet 203.0.113.0/24"),
            "{}",
            ran.stdout
        );
    });
}

#[test]
fn the_log_is_configured_like_everything_else() {
    let folder = Folder::new(&[("routes.yaml", ROUTES)]);
    let config = Folder::new(&[("config.yaml", "log: {level: info, format: json}\n")]);
    let config = config.file("config.yaml");
    let log = |extra: &[&str]| {
        let args = [&["validate", folder.path(), "--config", &config], extra].concat();
        srsync(&args).exits(0).stderr
    };
    assert!(log(&[]).starts_with('{'));
    assert!(log(&["--log-format", "text"]).contains("INFO read the documents"));
    assert_eq!(log(&["-q"]), "");
}
