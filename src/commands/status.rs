//! `srsync status`: what the daemon says; without one, what srsync owns in the kernel; with paths,
//! how the kernel differs from their documents.

use std::io;
use std::time::Duration;

use anyhow::Result;

use super::client::{Client, ClientError, block_on, until_interrupted};
use super::output::{stderr, stdout};
use super::session::Session;
use super::{Exit, documents, watch};
use crate::cli::{Global, Paths, StatusArgs};
use crate::kernel::Kernel;
use crate::plan::Inputs;
use crate::report::{Kind, Pass};
use crate::source::Loaded;
use crate::{plan, sync};

pub(super) fn run(global: &Global, args: &StatusArgs) -> Result<Exit> {
    let session = Session::start(global)?;
    if !args.paths.paths.is_empty() {
        return of_kernel(&session, &args.paths);
    }
    let client = Client::new(&session.settings().socket);
    let output = session.form.word();
    let colour = u8::from(session.form.colour(&io::stdout()));
    let target = format!("/status?output={output}&color={colour}");
    if let Some(seconds) = args.watch {
        let period = Duration::from_secs(seconds.into());
        return until_interrupted(watch::status(&client, &target, period));
    }
    match block_on(async { Ok(ask(&client, &target).await) })? {
        Ok(text) => {
            stdout(|out| Ok(out.write_all(text.as_bytes())?))?;
            Ok(Exit::Done)
        }
        Err(error @ ClientError::NoDaemon(_)) => {
            stderr(&format!("note: {error}; this is what the kernel has\n"));
            of_kernel(&session, &args.paths)
        }
        Err(error) => Err(error.into()),
    }
}

/// The status as a whole: while a person turns the pages of it, the daemon need not wait.
pub(super) async fn ask(client: &Client, target: &str) -> Result<String, ClientError> {
    client.get(target).await?.text().await
}

fn of_kernel(session: &Session, paths: &Paths) -> Result<Exit> {
    let mut kernel = session.kernel()?;
    let loaded = match session.has_paths(paths) {
        true => Some(documents::load(session, paths)?),
        false => None,
    };
    let nothing = Loaded::default();
    let known = loaded.as_ref().unwrap_or(&nothing);
    let steering = documents::steering(known);
    let inputs = session.inputs(known, &steering);
    let pass = match loaded {
        Some(_) => sync::preview(&mut kernel, &inputs)?,
        None => owned(&inputs, &mut kernel)?,
    };
    session.report(Kind::Status, &inputs, &pass)?;
    Ok(Exit::Done)
}

/// Everything of ours, as it is: every route, in every table, and whatever else there is.
fn owned(inputs: &Inputs<'_>, kernel: &mut Kernel) -> Result<Pass> {
    let observed = sync::observe(kernel, inputs)?;
    Ok(Pass {
        plan: plan::inventory(&observed, inputs.policy.protocol),
        links: observed.links,
        ..Pass::default()
    })
}
