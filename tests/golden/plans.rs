//! Plans: `documents.yaml` × `observed.yaml` (a snapshot), as `srsync plan -o wide` prints them; under
//! `config.yaml` where there is one. `incomplete.txt` says why more may be wanted than is known,
//! `unknown-labels.txt` why the node may have more labels.

use std::fs;
use std::path::Path;

use srsync::config::{Basis, Said, settle};
use srsync::gateway::by_hand;
use srsync::model::{Labels, LogLevel, Names, Policy, Steering, Timestamp};
use srsync::plan::{self, Inputs};
use srsync::report::{Detail, Kind, Pass, Report, Style};
use srsync::snapshot::Snapshot;
use srsync::source::{Loaded, PathArg, load};

/// When all of this is: gateway overrides may have ended.
const NOW: Timestamp = Timestamp::from_millis(1_795_233_600_000);

/// The text of a case's plan.
pub(crate) fn text(case: &Path) -> String {
    let style = Style {
        colour: false,
        detail: Detail::Wide,
    };
    let mut text = Vec::new();
    Planned::of(case).report(|report| report.write_text(&mut text, style).unwrap());
    String::from_utf8(text).unwrap()
}

/// A plan with everything it was made from.
pub(crate) struct Planned {
    loaded: Loaded,
    policy: Policy,
    labels: Labels,
    names: Names,
    steering: Steering,
    incomplete: Option<String>,
    unknown_labels: Option<String>,
    pub(crate) pass: Pass,
}

impl Planned {
    pub(crate) fn of(folder: &Path) -> Self {
        let names = Names::default();
        let documents = PathArg::Path(folder.join("documents.yaml"));
        let mut loaded = load(&[documents], &mut std::io::empty(), &names);
        assert!(loaded.is_complete(), "{}", folder.display());
        for file in &mut loaded.files {
            file.label = "documents.yaml".into();
        }
        let (policy, labels) = settings(folder, &names);
        let why = |file: &str| {
            let text = fs::read_to_string(folder.join(file)).ok()?;
            Some(text.trim().to_owned())
        };
        let (incomplete, unknown_labels) = (why("incomplete.txt"), why("unknown-labels.txt"));
        let observed = fs::read_to_string(folder.join("observed.yaml")).unwrap();
        let observed = Snapshot::parse(&observed).and_then(|s| s.to_observed(&names));
        let observed = observed.unwrap_or_else(|error| panic!("{}: {error:?}", folder.display()));
        let steering = by_hand(&loaded.documents, &loaded.overrides, &loaded.files, NOW);
        let inputs = Inputs {
            egress: &loaded.egress,
            documents: &loaded.documents,
            policy: &policy,
            labels: &labels,
            unknown_labels: unknown_labels.as_deref(),
            names: &names,
            files: &loaded.files,
            objects: None,
            steering: &steering,
            incomplete: incomplete.as_deref(),
        };
        let pass = Pass {
            plan: plan::plan(&inputs, &observed),
            links: observed.links,
            ..Pass::default()
        };
        Self {
            loaded,
            policy,
            labels,
            names,
            steering,
            incomplete,
            unknown_labels,
            pass,
        }
    }

    pub(crate) fn report<T>(&self, show: impl FnOnce(&Report<'_>) -> T) -> T {
        let inputs = Inputs {
            egress: &self.loaded.egress,
            documents: &self.loaded.documents,
            policy: &self.policy,
            labels: &self.labels,
            unknown_labels: self.unknown_labels.as_deref(),
            names: &self.names,
            files: &self.loaded.files,
            objects: None,
            steering: &self.steering,
            incomplete: self.incomplete.as_deref(),
        };
        show(&Report {
            kind: Kind::Plan,
            node: "node",
            inputs: &inputs,
            pass: &self.pass,
            tables: None,
            running: None,
            selection: None,
        })
    }
}

/// `config.yaml` of a case, or what is so without one.
pub(crate) fn settings(case: &Path, names: &Names) -> (Policy, Labels) {
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
        kubernetes: true,
    };
    let (settled, findings) = settle(&said, &basis);
    let settled = settled.unwrap_or_else(|| panic!("{}: {findings:?}", case.display()));
    (settled.settings.policy, settled.settings.labels)
}
