//! `srsync snapshot`: this node's links, addresses and routes as a file.

use std::collections::BTreeSet;

use anyhow::Result;

use super::Exit;
use super::output;
use super::session::Session;
use crate::cli::{Global, Output};
use crate::kernel::{Interest, Kernel, NextHops, Tables};
use crate::snapshot::Snapshot;

pub(super) fn run(global: &Global) -> Result<Exit> {
    let session = Session::start(global)?;
    let observed = Kernel::open()?.observe(&Interest {
        nexthops: NextHops::Ignored,
        protocol: session.policy().protocol,
        tables: Tables::All,
        lookups: BTreeSet::new(),
    })?;
    let snapshot = Snapshot::of(&observed, session.node(), &session.names);
    if global.output == Output::Json {
        session.form.data(&snapshot)?;
    } else {
        let text = serde_yaml::to_string(&snapshot)?;
        output::stdout(|out| Ok(out.write_all(text.as_bytes())?))?;
    }
    Ok(Exit::Done)
}
