//! Plans: `documents.yaml` × `observed.yaml` (a snapshot), as `srsync plan -o wide` prints them; under
//! `config.yaml` where there is one. `incomplete.txt` says why more may be wanted than is known.

use std::fs;
use std::path::Path;

use srsync::config::{Basis, Said, settle};
use srsync::model::{Labels, LogLevel, Names, Policy};
use srsync::plan::{self, Inputs};
use srsync::report::{Detail, Kind, Pass, Report, Style};
use srsync::snapshot::Snapshot;
use srsync::source::{PathArg, load};

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
    let incomplete = fs::read_to_string(case.join("incomplete.txt")).ok();
    let inputs = Inputs {
        documents: &loaded.documents,
        policy: &policy,
        labels: &labels,
        names: &names,
        files: &loaded.files,
        incomplete: incomplete.as_deref().map(str::trim),
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
    let path = case.join("config.yaml");
    let text = fs::read_to_string(&path).unwrap_or_default();
    let said = Said {
        given: &[],
        file: Some((&path, &text)),
    };
    let basis = Basis {
        names,
        host_name: "node",
        log_level: LogLevel::Warn,
    };
    let (settled, findings) = settle(&said, &basis);
    let settled = settled.unwrap_or_else(|| panic!("{}: {findings:?}", case.display()));
    (settled.settings.policy, settled.settings.labels)
}
