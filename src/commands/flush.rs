//! `srsync flush`: remove everything that srsync owns.

use std::io::{self, IsTerminal, Write};

use anyhow::Result;

use super::session::{Session, end};
use super::{Exit, UsageError, output};
use crate::cli::{FlushArgs, Global};
use crate::kernel::Lock;
use crate::model::{Policy, Steering};
use crate::report::Kind;
use crate::source::Loaded;
use crate::sync;

pub(super) fn run(global: &Global, args: &FlushArgs) -> Result<Exit> {
    let mut session = Session::start(global)?;
    // The command itself says that nothing is wanted and that everything may go.
    session.change_policy(|policy| Policy {
        allow_empty: true,
        max_removals: None,
        ..policy
    });
    let nothing = Loaded::default();
    let inputs = session.inputs(&nothing, Steering::NONE);
    let _lock = Lock::take(inputs.policy.protocol)?;
    let mut kernel = session.kernel()?;
    if !args.yes {
        let plan = sync::preview(&mut kernel, &inputs)?.plan;
        let (routes, others) = (plan.owned, plan.egress.owned);
        if routes + others > 0 && !confirmed((routes, others), inputs.policy)? {
            output::stderr("Nothing was removed.\n");
            return Ok(Exit::Error);
        }
    }
    let pass = sync::run(&mut kernel, &inputs)?;
    let in_sync = session.report(Kind::Flush, &inputs, &pass)?;
    end(&pass, in_sync)
}

/// Whether a person says that so many routes, and so many other things, may go.
fn confirmed((routes, others): (usize, usize), policy: &Policy) -> Result<bool> {
    let protocol = policy.protocol;
    let mut what = format!("{routes} routes of protocol {protocol} from every table");
    if others > 0 {
        what += &format!(", and {others} rules, translations and settings");
    }
    if !io::stdin().is_terminal() {
        let message = format!(
            "flush would remove {what}; there is no terminal to ask on: say --yes if that is meant"
        );
        return Err(UsageError(message).into());
    }
    output::stderr(&format!("Remove all {what}? [y/N] "));
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
