//! What a build without Kubernetes says to a config file that asks for it.

use srsync::config::{Basis, Said, settle};
use srsync::model::{LogLevel, Names};

fn findings(config: &str, kubernetes: bool) -> Vec<String> {
    let path = std::path::Path::new("config.yaml");
    let said = Said {
        given: &[],
        file: Some((path, config)),
    };
    let basis = Basis {
        names: &Names::default(),
        host_name: "node",
        log_level: LogLevel::Warn,
        kubernetes,
    };
    let (settled, findings) = settle(&said, &basis);
    let findings = findings.diagnostics.into_iter().map(|found| {
        let line = found.spot.map_or(0, |spot| spot.span.line);
        format!(
            "{line}: {} ({})",
            found.message,
            found.help.unwrap_or_default()
        )
    });
    let findings: Vec<String> = findings.collect();
    assert_eq!(settled.is_none(), !findings.is_empty());
    findings
}

#[test]
fn a_build_without_kubernetes_refuses_settings_for_it_and_says_which_build_has_it() {
    let asks = "sources: [/etc/srsync/routes]\nkube:\n  nodeLabels: true\n  mirror: true\n";
    let refused = findings(asks, false);
    assert_eq!(refused.len(), 2);
    for (finding, begins) in refused.iter().zip(["3: ", "4: "]) {
        assert!(finding.starts_with(begins), "{finding}");
        assert!(finding.contains("cannot talk to Kubernetes"), "{finding}");
        assert!(finding.contains("--features kube"), "{finding}");
    }
    assert_eq!(findings(asks, true), [""; 0]);
    assert_eq!(findings("kube: {nodeLabels: false}\n", false), [""; 0]);
}

#[test]
fn a_misspelt_group_is_one_mistake_and_an_empty_list_is_another() {
    let groups = |groups: &str| {
        findings(
            &format!("sources: [{{kube: {{groups: {groups}}}}}]\n"),
            true,
        )
    };
    let misspelt = groups("[srsync.de]");
    assert_eq!(misspelt.len(), 1, "{misspelt:?}");
    assert!(
        misspelt[0].contains("did you mean `srsync.dev`?"),
        "{misspelt:?}"
    );
    let empty = groups("[]");
    assert_eq!(empty.len(), 1, "{empty:?}");
    assert!(empty[0].contains("`groups` names no group"), "{empty:?}");
    assert_eq!(groups("[srsync.dev]"), [""; 0]);
}
