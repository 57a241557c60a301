//! `srsync try`: apply, for real, in a private network namespace.

use std::path::Path;

use anyhow::{Context, Result};

use super::session::{Session, end};
use super::{Exit, documents, output};
use crate::cli::{Global, TryArgs};
use crate::kernel::{Interest, Kernel, NextHops, Tables, sandbox};
use crate::model::{Observed, TableId};
use crate::plan::Inputs;
use crate::report::Kind;
use crate::snapshot::Snapshot;
use crate::{plan, rehearsal, source, sync};

pub(super) fn run(global: &Global, args: &TryArgs) -> Result<Exit> {
    let session = Session::start(global)?;
    let loaded = documents::load(&session, &args.paths)?;
    let steering = documents::steering(&loaded);
    let inputs = session.inputs(&loaded, &steering);
    let scene = match &args.snapshot {
        Some(path) => taken_from(path, &session)
            .with_context(|| format!("cannot rehearse on {}", path.display()))?,
        None => rehearsal::stand_ins(
            &loaded.documents,
            &loaded.egress,
            inputs.policy.gateway_lookup,
        ),
    };
    if args.snapshot.is_none() && !session.form.is_data() {
        output::stdout(|out| Ok(writeln!(out, "{}\n", introduction(&scene))?))?;
    }
    sandbox::enter()?;
    let mut kernel = Kernel::open()?;
    for warning in sandbox::populate(&mut kernel, &scene, inputs.policy.protocol)? {
        tracing::warn!("{warning}");
    }
    let pass = sync::run(&mut kernel, &inputs)?;
    let tables = resulting_tables(&mut kernel, &inputs)?;
    let in_sync = session.report_with_tables(Kind::Try, &inputs, &pass, Some(&tables))?;
    end(&pass, in_sync)
}

/// Says what the node is that is rehearsed on.
fn introduction(scene: &Observed) -> String {
    let links = scene.links.iter().filter(|link| !link.loopback);
    let names: Vec<&str> = links.map(|link| link.name.as_str()).collect();
    let stand_ins = match names.as_slice() {
        [] => "no stand-in interfaces needed".to_owned(),
        [only] => format!("on the stand-in interface {only}"),
        several => format!("on the stand-in interfaces {}", several.join(", ")),
    };
    format!("Rehearsing in a private network namespace, {stand_ins}:")
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
        nexthops: NextHops::Ignored,
        protocol: inputs.policy.protocol,
        tables: Tables::Only(tables),
        lookups,
    })?)
}
