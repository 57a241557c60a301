//! Imports: `observed.yaml` (a snapshot), as `srsync import --routes` writes it, with what it says on
//! stderr behind. `selection.txt` chooses protocols and tables,
//! one a line; `config.yaml` is the node's config file.

use std::fs;
use std::path::Path;

use srsync::import::{Node, Selection, import};
use srsync::model::{Names, TableId};
use srsync::snapshot::Snapshot;

use super::plans::settings;

/// What a case comes to.
pub(crate) fn text(case: &Path) -> String {
    let mut names = Names::default();
    names.add_tables("100 partners\n");
    let observed = fs::read_to_string(case.join("observed.yaml")).unwrap();
    let observed = Snapshot::parse(&observed).and_then(|s| s.to_observed(&names));
    let observed = observed.unwrap_or_else(|error| panic!("{}: {error:?}", case.display()));
    let (policy, _) = settings(case, &names);
    let node = Node {
        name: "gw-1",
        names: &names,
        policy: &policy,
    };
    let imported = import(&observed, &selection(case, &names), &node);
    let complaints = imported.complaints(&names).into_iter();
    let complaints: String = complaints.map(|line| format!("# {line}\n")).collect();
    format!("{}# stderr\n{complaints}", imported.text())
}

fn selection(case: &Path, names: &Names) -> Selection {
    let mut selection = Selection::default();
    let Ok(text) = fs::read_to_string(case.join("selection.txt")) else {
        return selection;
    };
    selection.protocols.clear();
    selection.tables = None;
    for line in text.lines() {
        match line.split_once(' ').unwrap() {
            ("protocol", name) => {
                selection
                    .protocols
                    .insert(names.protocol_named(name).unwrap());
            }
            ("table", name) => {
                let table = names
                    .table_named(name)
                    .unwrap_or_else(|| TableId::new(name.parse().unwrap()));
                selection.tables.get_or_insert_default().insert(table);
            }
            _ => panic!("{line}"),
        }
    }
    selection
}
