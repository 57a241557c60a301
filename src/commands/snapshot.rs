//! `srsync snapshot`: this node's links, addresses and routes as a file, with its rules, settings and our nftables table.

use std::collections::BTreeSet;

use anyhow::Result;

use super::Exit;
use super::output;
use super::session::Session;
use crate::cli::{Global, Output};
use crate::kernel::{Interest, NextHops, Tables};
use crate::model::egress::{NatTable, ObservedEgress};
use crate::snapshot::Snapshot;

pub(super) fn run(global: &Global) -> Result<Exit> {
    let session = Session::start(global)?;
    let mut kernel = session.kernel()?;
    let mut observed = kernel.observe(&Interest {
        nexthops: NextHops::Ignored,
        protocol: session.policy().protocol,
        tables: Tables::All,
        lookups: BTreeSet::new(),
    })?;
    observed.egress = ObservedEgress {
        rules: kernel.rules()?,
        nat: kernel.nat(&NatTable::of(session.policy().protocol))?,
        sysctls: kernel.sysctls(true, &observed.links),
    };
    let snapshot = Snapshot::of(&observed, session.node(), &session.names);
    if global.output == Output::Json {
        session.form.data(&snapshot)?;
    } else {
        let text = serde_yaml::to_string(&snapshot)?;
        output::stdout(|out| Ok(out.write_all(text.as_bytes())?))?;
    }
    Ok(Exit::Done)
}
