//! `srsync reload`: the daemon reads config and sources again.

use anyhow::Result;

use super::Exit;
use super::client::{Client, block_on};
use super::output::stdout;
use super::session::Session;
use crate::cli::Global;

pub(super) fn run(global: &Global) -> Result<Exit> {
    let session = Session::start(global)?;
    let client = Client::new(&session.settings().socket);
    let done = block_on(async { Ok(client.post("/reload").await?.text().await?) })?;
    stdout(|out| Ok(out.write_all(done.as_bytes())?))?;
    Ok(Exit::Done)
}
