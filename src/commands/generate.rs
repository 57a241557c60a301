//! What the program prints about itself: schemas, completions, the manual page.

use anyhow::Result;
use clap::CommandFactory;

use super::{Exit, UsageError, output};
use crate::cli::{Cli, SchemaArgs, SchemaOf};

/// JSON Schema of documents of all kinds.
const DOCUMENT: &str = include_str!("../../schemas/static-route.schema.json");
/// JSON Schema of `-o json`.
const REPORT: &str = include_str!("../../schemas/report.schema.json");
/// JSON Schema of the config file.
const CONFIG: &str = include_str!("../../schemas/config.schema.json");

/// The kinds of documents as kinds of objects in a cluster.
const CRDS: &str = include_str!("../../packaging/kubernetes/crds/crds.yaml");

pub(super) fn schema(args: &SchemaArgs) -> Result<Exit> {
    let schema = match args.of {
        _ if args.crd => CRDS,
        SchemaOf::Document => DOCUMENT,
        SchemaOf::Report => REPORT,
        SchemaOf::Config => CONFIG,
    };
    output::stdout(|out| Ok(out.write_all(schema.as_bytes())?))?;
    Ok(Exit::Done)
}

pub(super) fn completions(shell: clap_complete::Shell) -> Result<Exit> {
    // clap_complete panics when its writer fails, so it writes to memory first.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "srsync", &mut script);
    output::stdout(|out| Ok(out.write_all(&script)?))?;
    Ok(Exit::Done)
}

pub(super) fn man(of: Option<&str>) -> Result<Exit> {
    let mut command = Cli::command();
    command.build();
    let page = match of {
        None => command,
        Some(name) => match command.find_subcommand(name) {
            // `srsync-apply`, as man(1) finds it and git names its own.
            Some(verb) => verb.clone().display_name(format!("srsync-{name}")),
            None => return Err(UsageError(format!("there is no command `{name}`")).into()),
        },
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page).render(&mut text)?;
    output::stdout(|out| Ok(out.write_all(&text)?))?;
    Ok(Exit::Done)
}
