//! `srsync plan`: what apply would do.

use anyhow::Result;

use super::session::{Session, withheld_everything};
use super::{Exit, documents};
use crate::cli::{Global, PlanArgs};
use crate::kernel::Kernel;
use crate::report::Kind;
use crate::sync;

pub(super) fn run(global: &Global, args: &PlanArgs) -> Result<Exit> {
    let session = Session::start(global)?;
    let loaded = documents::load(&session, &args.paths)?;
    let inputs = session.inputs(&loaded);
    let pass = sync::preview(&mut Kernel::open()?, &inputs)?;
    session.report(Kind::Plan, &inputs, &pass)?;
    if let Some(reason) = withheld_everything(&pass) {
        return Err(anyhow::anyhow!("{reason}"));
    }
    let changes = args.exit_code && !pass.plan.is_empty();
    Ok(if changes { Exit::Changes } else { Exit::Done })
}
