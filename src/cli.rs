//! The command line, as clap types. No behaviour: what a flag means is in `config` and `commands`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

use crate::model::{ForeignRoutes, LogFormat, MaxRemovals};

/// Keeps the routing table of a Linux node equal to a directory of StaticRoute YAML.
///
/// srsync reads StaticRoute documents, computes the difference to the kernel's routes, and applies
/// just that difference. It touches only routes that carry its own protocol number.
#[derive(Debug, Parser)]
#[command(
    name = "srsync",
    version,
    max_term_width = 100,
    propagate_version = true
)]
#[command(
    after_help = "Exit codes: 0 done, in sync · 1 error, nothing was changed · 2 usage · \
                        3 `plan --exit-code` found changes · 4 applied, but not everything is in \
                        place."
)]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub global: Global,
    /// The verb.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command. Each setting is also a key of the config file and an environment
/// variable; flag > environment > file > default.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings")]
pub struct Global {
    /// Config file [default: /etc/srsync/config.yaml if it exists]
    #[arg(long, global = true, env = "SRSYNC_CONFIG", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,

    /// Protocol number by which srsync knows its own routes [default: 83]
    #[arg(long, global = true, env = "SRSYNC_PROTOCOL", value_name = "N", value_parser = clap::value_parser!(u8).range(5..))]
    pub protocol: Option<u8>,

    /// Table of documents that name none: a number, or a name of rt_tables [default: main]
    #[arg(long, global = true, env = "SRSYNC_TABLE", value_name = "TABLE")]
    pub table: Option<String>,

    /// Subnets that no route may overlap, separated by commas
    #[arg(
        long,
        global = true,
        env = "SRSYNC_PROTECTED_SUBNETS",
        value_name = "CIDR",
        value_delimiter = ','
    )]
    pub protected_subnets: Option<Vec<String>>,

    /// Let documents cover the whole address space in the main table
    #[arg(long, global = true, env = "SRSYNC_ALLOW_DEFAULT_ROUTE", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub allow_default_route: Option<bool>,

    /// Let an empty set of routes remove everything that srsync owns
    #[arg(long, global = true, env = "SRSYNC_ALLOW_EMPTY", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub allow_empty: Option<bool>,

    /// Withhold removals if there would be more than this at once: a count, or a percentage of the
    /// routes owned
    #[arg(long, global = true, env = "SRSYNC_MAX_REMOVALS", value_name = "N|N%")]
    pub max_removals: Option<MaxRemovals>,

    /// What to do about a slot that another owner holds: refuse, or adopt (take over a route that
    /// is identical but for its owner) [default: refuse]
    #[arg(
        long,
        global = true,
        env = "SRSYNC_FOREIGN_ROUTES",
        value_name = "refuse|adopt"
    )]
    pub foreign_routes: Option<ForeignRoutes>,

    /// Where static-route.ibm.com objects without a gateway look for one [default: 10.0.0.1]
    #[arg(long, global = true, env = "SRSYNC_GATEWAY_LOOKUP", value_name = "IP")]
    pub gateway_lookup: Option<std::net::IpAddr>,

    /// This node's name [default: the host name]
    #[arg(long, global = true, env = "SRSYNC_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,

    /// A label of this node, for node selectors; may be repeated
    #[arg(
        long = "node-label",
        global = true,
        env = "SRSYNC_NODE_LABELS",
        value_name = "KEY=VALUE",
        value_delimiter = ','
    )]
    pub node_labels: Option<Vec<String>>,

    /// Form of the result on stdout
    #[arg(
        short,
        long,
        global = true,
        env = "SRSYNC_OUTPUT",
        value_enum,
        default_value = "text",
        help_heading = "Output"
    )]
    pub output: Output,

    /// Colour in text [default: on a terminal, unless NO_COLOR is set]
    #[arg(
        long,
        global = true,
        env = "SRSYNC_COLOR",
        value_enum,
        default_value = "auto",
        hide_default_value = true,
        help_heading = "Output"
    )]
    pub color: Color,

    /// More log on stderr: -v for progress, -vv for details
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Output")]
    pub verbose: u8,

    /// No log on stderr but errors
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        help_heading = "Output"
    )]
    pub quiet: bool,

    /// Form of the log: text or json on stderr, or journald [default: text]
    #[arg(
        long,
        global = true,
        env = "SRSYNC_LOG_FORMAT",
        value_name = "text|json|journald",
        help_heading = "Output"
    )]
    pub log_format: Option<LogFormat>,
}

/// Form of the result on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Changes and problems, for people
    Text,
    /// Every route, for people
    Wide,
    /// For programs; see `srsync schema report`
    Json,
    /// The same as YAML
    Yaml,
}

/// When to colour text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check documents, offline: every error with file, line and column
    Validate(Paths),
    /// Show what apply would do; change nothing
    Plan(PlanArgs),
    /// Make the kernel's routes equal to the documents, read them back, and report
    Apply(Paths),
    /// Rehearse apply in a private network namespace: no root, host untouched
    Try(TryArgs),
    /// Show the routes that srsync owns in the kernel, and the state of every route of the
    /// documents where paths are given
    Status(Paths),
    /// Remove every route that srsync owns
    Flush(FlushArgs),
    /// Write this node's links, addresses and routes as a file for `try --snapshot`
    Snapshot,
    /// Print a JSON Schema: of the documents, for editors, or of reports, for programs
    Schema(SchemaArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the manual page, of the program or of one command
    Man(ManArgs),
}

/// What documents to read.
#[derive(Debug, Args)]
pub struct Paths {
    /// A directory (its *.yaml, *.yml and *.json), a file, or - for stdin [default:
    /// SRSYNC_SOURCES, separated by colons, or `sources` of the config file]
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,
}

/// `srsync plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// What to read.
    #[command(flatten)]
    pub paths: Paths,
    /// Exit with 3 if there is anything to change
    #[arg(long)]
    pub exit_code: bool,
}

/// `srsync try`.
#[derive(Debug, Args)]
pub struct TryArgs {
    /// What to read.
    #[command(flatten)]
    pub paths: Paths,
    /// Rehearse on the links, addresses and routes that `srsync snapshot` wrote, instead of
    /// stand-ins made up from the documents
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub snapshot: Option<PathBuf>,
}

/// `srsync flush`.
#[derive(Debug, Args)]
pub struct FlushArgs {
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

/// `srsync schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Of what
    #[arg(value_enum, default_value = "document")]
    pub of: SchemaOf,
}

/// What there is a schema of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// StaticRoute documents of all three groups
    Document,
    /// What `-o json` prints for plan, apply and status
    Report,
    /// The config file
    Config,
}

/// `srsync completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// `srsync man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The command
    pub command: Option<String>,
}
