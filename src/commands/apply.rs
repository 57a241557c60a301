//! `srsync apply`: make it so, then read back and report.

use anyhow::Result;

use super::session::{Session, end};
use super::{Exit, documents, gate};
use crate::cli::{ApplyArgs, Global};
use crate::kernel::Lock;
use crate::report::Kind;
use crate::sync;

pub(super) fn run(global: &Global, args: &ApplyArgs) -> Result<Exit> {
    let session = Session::start(global)?;
    let loaded = documents::load(&session, &args.paths)?;
    let steering = documents::steering(&loaded);
    let inputs = session.inputs(&loaded, &steering);
    let _lock = Lock::take(inputs.policy.protocol)?;
    let mut kernel = session.kernel()?;
    if args.check {
        return gate::apply(&session, &mut kernel, &inputs, &loaded);
    }
    let pass = sync::run(&mut kernel, &inputs)?;
    let in_sync = session.report(Kind::Apply, &inputs, &pass)?;
    end(&pass, in_sync)
}
