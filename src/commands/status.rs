//! `srsync status`: what srsync owns in the kernel, by document where documents are given.

use std::collections::BTreeSet;

use anyhow::Result;

use super::session::Session;
use super::{Exit, documents};
use crate::cli::{Global, Paths};
use crate::kernel::{Interest, Kernel, Tables};
use crate::report::{Kind, Pass};
use crate::source::Loaded;
use crate::{plan, sync};

pub(super) fn run(global: &Global, paths: &Paths) -> Result<Exit> {
    let session = Session::start(global)?;
    let mut kernel = Kernel::open()?;
    let (loaded, pass) = if session.has_paths(paths) {
        let loaded = documents::load(&session, paths)?;
        let pass = sync::preview(&mut kernel, &session.inputs(&loaded))?;
        (loaded, pass)
    } else {
        (Loaded::default(), owned(&session, &mut kernel)?)
    };
    session.report(Kind::Status, &session.inputs(&loaded), &pass)?;
    Ok(Exit::Done)
}

/// Every route of ours, as it is, in every table.
fn owned(session: &Session, kernel: &mut Kernel) -> Result<Pass> {
    let protocol = session.policy().protocol;
    let observed = kernel.observe(&Interest {
        protocol,
        tables: Tables::NONE,
        lookups: BTreeSet::new(),
    })?;
    Ok(Pass {
        plan: plan::inventory(&observed, protocol),
        outcome: None,
        links: observed.links,
    })
}
