//! `srsync gateway`: the gateways that the daemon watches.

use std::io;

use anyhow::{Context, Result};

use super::Exit;
use super::client::{Client, ClientError, block_on};
use super::output::stdout;
use super::session::Session;
use super::status::ask;
use crate::cli::{GatewayCommand, Global};

pub(super) fn run(global: &Global, command: &GatewayCommand) -> Result<Exit> {
    let session = Session::start(global)?;
    let client = Client::new(&session.settings().socket);
    match command {
        GatewayCommand::List => list(&session, &client),
    }
}

fn list(session: &Session, client: &Client) -> Result<Exit> {
    let output = session.form.word();
    let colour = u8::from(session.form.colour(&io::stdout()));
    let target = format!("/gateways?output={output}&color={colour}");
    match block_on(async { Ok(ask(client, &target).await) })? {
        Ok(text) => {
            stdout(|out| Ok(out.write_all(text.as_bytes())?))?;
            Ok(Exit::Done)
        }
        Err(error @ ClientError::NoDaemon(_)) => {
            Err(error).context("gateways are watched by a running daemon only")
        }
        Err(error) => Err(error.into()),
    }
}
