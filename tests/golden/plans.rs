//! Plans: `documents.yaml` × `observed.yaml` (a snapshot), under `config.yaml` where there is one,
//! as `srsync plan -o wide` prints them.

use std::fs;
use std::path::Path;

use srsync::model::{FileId, Labels, Names, Policy};
use srsync::plan::{self, Inputs};
use srsync::report::{Detail, Kind, Pass, Report, Style};
use srsync::snapshot::Snapshot;
use srsync::source::{PathArg, load};
use srsync::spec::config::parse_config;

/// The text of a case's plan.
pub(crate) fn text(case: &Path) -> String {
    let names = Names::default();
    let documents = PathArg::Path(case.join("documents.yaml"));
    let mut loaded = load(&[documents], &mut std::io::empty(), &names);
    assert!(loaded.is_complete(), "{}", case.display());
    for file in &mut loaded.files {
        file.label = "documents.yaml".into();
    }
    let (policy, labels) = settings(case, &names);
    let observed = fs::read_to_string(case.join("observed.yaml")).unwrap();
    let observed = Snapshot::parse(&observed).and_then(|s| s.to_observed(&names));
    let observed = observed.unwrap_or_else(|error| panic!("{}: {error:?}", case.display()));
    let inputs = Inputs {
        documents: &loaded.documents,
        policy: &policy,
        labels: &labels,
        names: &names,
        files: &loaded.files,
        incomplete: None,
    };
    let pass = Pass {
        plan: plan::plan(&inputs, &observed),
        outcome: None,
        links: observed.links,
    };
    let report = Report {
        kind: Kind::Plan,
        node: "node",
        inputs: &inputs,
        pass: &pass,
        tables: None,
        running: None,
        selection: None,
    };
    let style = Style {
        colour: false,
        detail: Detail::Wide,
    };
    let mut text = Vec::new();
    report.write_text(&mut text, style).unwrap();
    String::from_utf8(text).unwrap()
}

fn settings(case: &Path, names: &Names) -> (Policy, Labels) {
    let text = fs::read_to_string(case.join("config.yaml")).unwrap_or_default();
    let (file, findings) = parse_config(FileId(0), &text, names);
    assert!(findings.is_empty(), "{}: {findings:?}", case.display());
    let policy = Policy::default();
    let policy = Policy {
        protected_subnets: file.protected_subnets.unwrap_or_default(),
        allow_default_route: file
            .allow_default_route
            .unwrap_or(policy.allow_default_route),
        allow_empty: file.allow_empty.unwrap_or(policy.allow_empty),
        max_removals: file.max_removals,
        foreign_routes: file.foreign_routes.unwrap_or(policy.foreign_routes),
        ..policy
    };
    (policy, file.node_labels.unwrap_or_default())
}
