//! What the program prints about itself: schemas, completions, the manual page.

use anyhow::Result;
use clap::CommandFactory;

use super::{Exit, output};
use crate::cli::{Cli, SchemaOf};

/// JSON Schema of `StaticRoute` documents of all three groups.
const DOCUMENT: &str = include_str!("../../schemas/static-route.schema.json");
/// JSON Schema of `-o json`.
const REPORT: &str = include_str!("../../schemas/report.schema.json");
/// JSON Schema of the config file.
const CONFIG: &str = include_str!("../../schemas/config.schema.json");

pub(super) fn schema(of: SchemaOf) -> Result<Exit> {
    let schema = match of {
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

pub(super) fn man() -> Result<Exit> {
    output::stdout(|out| {
        let mut out = out;
        let page = clap_mangen::Man::new(Cli::command());
        page.render(&mut out)?;
        for command in Cli::command().get_subcommands() {
            let name = command.get_name().to_owned();
            writeln!(out, ".SH \"{}\"", name.to_uppercase())?;
            clap_mangen::Man::new(command.clone().name(name)).render_description_section(&mut out)?;
            clap_mangen::Man::new(command.clone()).render_options_section(&mut out)?;
        }
        Ok(())
    })?;
    Ok(Exit::Done)
}
