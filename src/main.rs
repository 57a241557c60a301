//! Parse, run, exit code. The map of the house is in the library's documentation.

use std::process::ExitCode;

use clap::Parser;
use srsync::cli::Cli;
use srsync::commands;

fn main() -> ExitCode {
    let cli = Cli::parse();
    ExitCode::from(commands::run(&cli) as u8)
}
