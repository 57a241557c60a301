//! One file per verb: reads what it needs, calls what decides and acts, writes the result.
//!
//! Owns stdout and the exit code. stdout is the result, stderr is the log and what went wrong.

mod apply;
mod check;
mod client;
mod config;
mod daemon;
mod documents;
mod events;
mod explain;
mod flush;
mod gate;
mod gateway;
mod generate;
mod import;
#[cfg(feature = "kube")]
mod import_objects;
#[cfg(not(feature = "kube"))]
#[path = "import_objects/refused.rs"]
mod import_objects;
mod log;
mod output;
mod plan;
mod rehearse;
mod reload;
mod session;
mod settings;
mod snapshot;
mod status;
mod validate;
mod watch;

use anyhow::Result;

use crate::cli::{Cli, Command};

/// How a command ended; the numbers are part of the command line contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, in sync.
    Done = 0,
    /// An error; nothing was changed.
    Error = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// `plan --exit-code` found changes.
    Changes = 3,
    /// Applied, but not everything is in place; or a connectivity check is not as expected.
    Incomplete = 4,
}

/// Runs a command to its end. An error that reaches here has changed nothing, unless it says so.
pub fn run(cli: &Cli) -> Exit {
    match dispatch(cli) {
        Ok(exit) => exit,
        Err(error) if output::is_broken_pipe(&error) => Exit::Done,
        Err(error) => {
            output::complain(&error);
            exit_of(&error)
        }
    }
}

fn dispatch(cli: &Cli) -> Result<Exit> {
    let global = &cli.global;
    match &cli.command {
        Command::Validate(paths) => validate::run(global, paths),
        Command::Plan(args) => plan::run(global, args),
        Command::Apply(args) => apply::run(global, args),
        Command::Check(paths) => check::run(global, paths),
        Command::Try(args) => rehearse::run(global, args),
        Command::Daemon(paths) => daemon::run(global, paths),
        Command::Status(args) => status::run(global, args),
        Command::Gateway(args) => gateway::run(global, &args.command),
        Command::Explain(args) => explain::run(global, args),
        Command::Events(args) => events::run(global, args),
        Command::Reload => reload::run(global),
        Command::Flush(args) => flush::run(global, args),
        Command::Snapshot => snapshot::run(global),
        Command::Import(args) => import::run(global, args),
        Command::Config(args) => config::run(global, &args.command),
        Command::Schema(args) => generate::schema(args),
        Command::Completions(args) => generate::completions(args.shell),
        Command::Man(args) => generate::man(args.command.as_deref()),
    }
}

/// The command line was parsed but cannot be acted on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UsageError(String);

/// Files could not be read or are not valid; each problem has been shown already.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Invalid(String);

fn exit_of(error: &anyhow::Error) -> Exit {
    use crate::sync::SyncError;
    if error.is::<UsageError>() {
        return Exit::Usage;
    }
    if let Some(rolled_back) = error.downcast_ref::<gate::RolledBack>() {
        return match rolled_back.is_complete {
            true => Exit::Error,
            false => Exit::Incomplete,
        };
    }
    match error.downcast_ref() {
        Some(SyncError::During(_)) => Exit::Incomplete,
        _ => Exit::Error,
    }
}
