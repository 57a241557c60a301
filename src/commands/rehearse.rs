//! `srsync try`: apply, for real, in a private network namespace.

use std::path::Path;

use anyhow::{Context, Result};

use super::session::{Session, withheld_everything};
use super::{Exit, documents};
use crate::cli::{Global, TryArgs};
use crate::kernel::{Interest, Kernel, Tables, sandbox};
use crate::model::{Observed, TableId};
use crate::plan::Inputs;
use crate::report::Kind;
use crate::snapshot::Snapshot;
use crate::{plan, rehearsal, source, sync};

pub(super) fn run(global: &Global, args: &TryArgs) -> Result<Exit> {
    let session = Session::start(global)?;
    let loaded = documents::load(&session, &args.paths)?;
    let inputs = session.inputs(&loaded);
    let scene = match &args.snapshot {
        Some(path) => taken_from(path, &session)
            .with_context(|| format!("cannot rehearse on {}", path.display()))?,
        None => rehearsal::stand_ins(&loaded.documents, inputs.policy.gateway_lookup),
    };
    sandbox::enter()?;
    let mut kernel = Kernel::open()?;
    for warning in sandbox::populate(&mut kernel, &scene)? {
        tracing::warn!("{warning}");
    }
    let pass = sync::run(&mut kernel, &inputs)?;
    let tables = resulting_tables(&mut kernel, &inputs)?;
    let in_sync = session.report_with_tables(Kind::Try, &inputs, &pass, Some(&tables))?;
    if let Some(reason) = withheld_everything(&pass) {
        return Err(anyhow::anyhow!("{reason}"));
    }
    Ok(if in_sync {
        Exit::Done
    } else {
        Exit::Incomplete
    })
}

fn taken_from(path: &Path, session: &Session) -> Result<Observed> {
    let text = source::read_text(path)?;
    Ok(Snapshot::parse(&text)?.to_observed(&session.names)?)
}

/// Everybody's routes in the tables that the documents are about, without the kernel's own table.
fn resulting_tables(kernel: &mut Kernel, inputs: &Inputs<'_>) -> Result<Observed> {
    let (mut tables, lookups) = plan::interest(inputs);
    tables.remove(&TableId::LOCAL);
    Ok(kernel.observe(&Interest {
        protocol: inputs.policy.protocol,
        tables: Tables::Only(tables),
        lookups,
    })?)
}
