//! `srsync events`: what happened in the daemon, and what happens.

use anyhow::Result;

use super::client::{Client, until_interrupted};
use super::output::{stderr, stdout};
use super::session::Session;
use super::{Exit, UsageError};
use crate::cli::{EventsArgs, Global};

pub(super) fn run(global: &Global, args: &EventsArgs) -> Result<Exit> {
    let session = Session::start(global)?;
    let client = Client::new(&session.settings().socket);
    let output = match session.form.word() {
        "yaml" => return Err(UsageError("events come as text or as json lines".to_owned()).into()),
        "json" => "json",
        _ => "text",
    };
    let follow = u8::from(!args.no_follow);
    let tail = args.tail;
    let target = format!("/events?output={output}&tail={tail}&follow={follow}");
    until_interrupted(show(&client, &target, !args.no_follow))
}

/// Writes each line as it comes.
async fn show(client: &Client, target: &str, follow: bool) -> Result<Exit> {
    let mut answer = client.get(target).await?;
    loop {
        match answer.part().await {
            Ok(Some(bytes)) => stdout(|out| Ok(out.write_all(&bytes)?))?,
            Ok(None) if !follow => return Ok(Exit::Done),
            Err(error) if !follow => return Err(error.into()),
            // Whether it said goodbye or was killed: nothing more happens in it.
            Ok(None) | Err(_) => {
                stderr("the daemon ended; what it installed stays\n");
                return Ok(Exit::Done);
            }
        }
    }
}
