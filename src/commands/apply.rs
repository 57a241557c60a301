//! `srsync apply`: make it so, then read back and report.

use anyhow::Result;

use super::session::{Session, end};
use super::{Exit, documents};
use crate::cli::{Global, Paths};
use crate::kernel::Lock;
use crate::report::Kind;
use crate::sync;

pub(super) fn run(global: &Global, paths: &Paths) -> Result<Exit> {
    let session = Session::start(global)?;
    let loaded = documents::load(&session, paths)?;
    let steering = documents::steering(&loaded);
    let inputs = session.inputs(&loaded, &steering);
    let _lock = Lock::take(inputs.policy.protocol)?;
    let pass = sync::run(&mut session.kernel()?, &inputs)?;
    let in_sync = session.report(Kind::Apply, &inputs, &pass)?;
    end(&pass, in_sync)
}
