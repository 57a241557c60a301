//! `srsync plan`: what apply would do.

use anyhow::Result;

use super::session::{Session, refuse_empty_set};
use super::{Exit, documents};
use crate::cli::{Global, PlanArgs};
use crate::report::Kind;
use crate::sync;

pub(super) fn run(global: &Global, args: &PlanArgs) -> Result<Exit> {
    let session = Session::start(global)?;
    let loaded = documents::load(&session, &args.paths)?;
    let steering = documents::steering(&loaded);
    let inputs = session.inputs(&loaded, &steering);
    let pass = sync::preview(&mut session.kernel()?, &inputs)?;
    session.report(Kind::Plan, &inputs, &pass)?;
    refuse_empty_set(&pass)?;
    let changes = args.exit_code && !pass.plan.is_empty();
    Ok(if changes { Exit::Changes } else { Exit::Done })
}
