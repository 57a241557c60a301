//! `srsync import`: routes that the kernel has already, as documents.

use std::collections::BTreeSet;

use anyhow::Result;
use serde::Serialize;

use super::output::{stderr, stdout};
use super::session::Session;
use super::{Exit, UsageError};
use crate::cli::{Global, ImportArgs, Output};
use crate::import::{Node, Selection, import};
use crate::kernel::{Interest, Kernel, NextHops, Tables};
use crate::model::{Names, Protocol, TableId};

/// The word for every table.
const ALL: &str = "all";

pub(super) fn run(global: &Global, args: &ImportArgs) -> Result<Exit> {
    if args.kube {
        return super::import_objects::run(global, &args.group);
    }
    let session = Session::start(global)?;
    let selection = selection(args, &session.names)?;
    let tables = selection.tables.as_ref().map(|tables| {
        // Gateways are found by the connected routes of the main table.
        tables.iter().copied().chain([TableId::MAIN]).collect()
    });
    let observed = Kernel::open()?.observe(&Interest {
        nexthops: NextHops::Ignored,
        protocol: session.policy().protocol,
        tables: tables.map_or(Tables::All, Tables::Only),
        lookups: BTreeSet::new(),
    })?;
    let node = Node {
        name: session.node(),
        names: &session.names,
        policy: session.policy(),
    };
    let imported = import(&observed, &selection, &node);
    if global.output == Output::Json {
        session.form.data(&List::of(&imported.documents))?;
    } else {
        let text = imported.text();
        stdout(|out| Ok(out.write_all(text.as_bytes())?))?;
    }
    for line in imported.complaints(&session.names) {
        stderr(&format!("{line}\n"));
    }
    stderr(&match imported.documents.len() {
        0 => "note: there is no route to write; --from-protocol and --from-table choose others\n"
            .to_owned(),
        documents => format!(
            "note: wrote {}, {}; left out {}\n",
            count(imported.routes(), "route"),
            count(documents, "document"),
            imported.left_out.len()
        ),
    });
    Ok(Exit::Done)
}

pub(super) fn count(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

/// What the flags choose.
fn selection(args: &ImportArgs, names: &Names) -> Result<Selection> {
    let mut selection = Selection::default();
    if !args.from_protocol.is_empty() {
        let protocols = args.from_protocol.iter().map(|word| protocol(word, names));
        selection.protocols = protocols.collect::<Result<_>>()?;
    }
    if args.from_table.iter().any(|word| word == ALL) {
        selection.tables = None;
    } else if !args.from_table.is_empty() {
        let tables = args.from_table.iter().map(|word| table(word, names));
        selection.tables = Some(tables.collect::<Result<_>>()?);
    }
    Ok(selection)
}

fn protocol(word: &str, names: &Names) -> Result<Protocol> {
    let known = names.protocol_named(word);
    let unknown = || {
        UsageError(format!(
            "--from-protocol: {word:?} names no protocol; give a number from 0 to 255, or a name as \
             `ip route` shows it behind `proto`"
        ))
    };
    Ok(known.ok_or_else(unknown)?)
}

fn table(word: &str, names: &Names) -> Result<TableId> {
    let number = || word.parse().ok().filter(|number| *number != 0);
    let table = names
        .table_named(word)
        .or_else(|| number().map(TableId::new));
    match table {
        Some(TableId::LOCAL) => Err(UsageError(
            "--from-table: the table `local` belongs to the kernel; choose another".to_owned(),
        )
        .into()),
        Some(table) => Ok(table),
        None => Err(UsageError(format!(
            "--from-table: {word:?} names no table; give its number, a name of \
             /etc/iproute2/rt_tables, or {ALL}"
        ))
        .into()),
    }
}

/// Documents for programs, and for `srsync` itself.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct List<'a, T> {
    api_version: &'static str,
    kind: &'static str,
    items: &'a [T],
}

impl<'a, T> List<'a, T> {
    pub(super) fn of(items: &'a [T]) -> Self {
        Self {
            api_version: "v1",
            kind: "List",
            items,
        }
    }
}
