//! `srsync gateway`: the gateways that the daemon watches, and traffic moved away from one, or back.

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
        GatewayCommand::Drain { gateway, lasting } => {
            let lasting = lasting.map(|lasting| format!("&for={}ms", lasting.as_millis()));
            let lasting = lasting.unwrap_or_default();
            change(&client, &format!("/drain?gateway={gateway}{lasting}"))
        }
        GatewayCommand::Undrain { gateway } => {
            change(&client, &format!("/undrain?gateway={gateway}"))
        }
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

fn change(client: &Client, target: &str) -> Result<Exit> {
    let done = block_on(async { Ok(client.post(target).await?.text().await?) })?;
    stdout(|out| Ok(out.write_all(done.as_bytes())?))?;
    Ok(Exit::Done)
}
