//! The command line, as clap types. No behaviour: what a flag means is in `config` and `commands`.

mod given;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

use crate::model::{Dialect, InterfaceName, time};

pub use given::{AllGiven, By, Given, SOURCES};

/// What `--version` says: also what this build can do that others cannot.
const LONG_VERSION: &str = if KUBERNETES {
    concat!(env!("CARGO_PKG_VERSION"), "\nfeatures: kube")
} else {
    concat!(env!("CARGO_PKG_VERSION"), "\nfeatures: none")
};

/// Whether this build can talk to Kubernetes (cargo feature `kube`).
pub const KUBERNETES: bool = cfg!(feature = "kube");

/// Keeps the routing table of a Linux node equal to a directory of StaticRoute YAML.
///
/// srsync reads StaticRoute documents, computes the difference to the kernel's routes, and applies
/// just that difference. It touches only routes that carry its own protocol number.
#[derive(Debug, Parser)]
#[command(
    name = "srsync",
    version,
    long_version = LONG_VERSION,
    max_term_width = 100,
    propagate_version = true
)]
#[command(
    after_help = "Exit codes: 0 done, in sync · 1 error, nothing was changed · 2 usage · \
                        3 `plan --exit-code` found changes · 4 applied, but not everything is in \
                        place, or a check is not as expected."
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
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Settings")]
pub struct Global {
    /// Config file [default: /etc/srsync/config.yaml if it exists]
    #[arg(long, global = true, env = "SRSYNC_CONFIG", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,

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

    /// Every setting that is a key of the config file, too.
    #[command(flatten)]
    pub given: AllGiven,
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
    Apply(ApplyArgs),
    /// Ask once what the documents' connectivity checks ask, and say what came of it
    ///
    /// Changes nothing. Exits with 4 if a target is not as expected, or could not be asked.
    Check(Paths),
    /// Rehearse apply in a private network namespace: no root, host untouched
    Try(TryArgs),
    /// Keep the kernel's routes equal to the documents until it is stopped; the routes stay then
    Daemon(Paths),
    /// Show the running daemon and the state of every route; without a daemon, the routes that
    /// srsync owns in the kernel; with paths, how the kernel differs from these documents
    Status(StatusArgs),
    /// Show the gateways that the running daemon watches; move traffic away from one, and back
    Gateway(GatewayArgs),
    /// Show the way a packet takes: rule by rule, the route that matches and those it beats, next hop and
    /// neighbour, and which document is behind it
    ///
    /// Reads this node and asks the kernel; changes nothing and sends nothing. Where the kernel's own answer differs
    /// from what rules and routes say, and where a document asks for something that is not there, that is said.
    Explain(ExplainArgs),
    /// Show what happened in the running daemon, and what happens
    Events(EventsArgs),
    /// Make the running daemon read its config and sources again, and compare everything
    Reload,
    /// Remove every route that srsync owns
    Flush(FlushArgs),
    /// Write this node's links, addresses, routes, rules and settings as a file for `try --snapshot`
    Snapshot,
    /// Write routes that the kernel has already, or objects of a cluster, as documents
    ///
    /// Changes nothing. With --kube each object is written as a person would keep it in a file; one that
    /// is not valid is written with a comment that says why. With --routes, in a file, `srsync plan --foreign-routes adopt FILE` shows that nothing but
    /// the owner of each route would change, and `srsync apply --foreign-routes adopt FILE` takes
    /// them over. A route that no document can say is named on stderr, with the reason.
    Import(ImportArgs),
    /// Show the settings in force and who said them, or check them
    Config(ConfigArgs),
    /// Print a schema: of documents, for editors or Kubernetes, of reports, for programs, or of the config
    Schema(SchemaArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the manual page, of the program or of one command
    Man(ManArgs),
}

/// What documents to read.
#[derive(Debug, Clone, Args)]
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

/// `srsync apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// What to read.
    #[command(flatten)]
    pub paths: Paths,
    /// Ask what the documents' connectivity checks ask, before and after; roll everything back if a
    /// target passed before and does not after (exit code 1), and exit with 4 if any is not as expected
    #[arg(long)]
    pub check: bool,
}

/// `srsync status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// What to read.
    #[command(flatten)]
    pub paths: Paths,
    /// Ask the daemon again and again, every 2 seconds or as many as are given
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        default_missing_value = "2",
        require_equals = true,
        value_parser = clap::value_parser!(u32).range(1..),
        conflicts_with = "paths"
    )]
    pub watch: Option<u32>,
}

/// `srsync explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Where the packet goes
    #[arg(value_name = "ADDRESS")]
    pub address: IpAddr,
    /// Where it comes from [default: what this node would choose]
    #[arg(long, value_name = "ADDRESS")]
    pub from: Option<IpAddr>,
    /// Its mark, such as 7 or 0x100 (a mask behind it does not matter)
    #[arg(long, value_name = "MARK", default_value = "0", hide_default_value = true, value_parser = mark)]
    pub mark: u32,
    /// The interface by which it comes in [default: it is of this node itself]
    #[arg(long, value_name = "INTERFACE", requires = "from", value_parser = interface)]
    pub iif: Option<InterfaceName>,
    /// What documents to look things up in.
    #[command(flatten)]
    pub paths: Paths,
}

fn mark(text: &str) -> Result<u32, String> {
    let value = text.split('/').next().unwrap_or(text);
    let number = match value.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => value.parse(),
    };
    number.map_err(|_| "it must be a number from 0 to 4294967295, such as 7 or 0x100".to_owned())
}

fn interface(text: &str) -> Result<InterfaceName, String> {
    InterfaceName::new(text).ok_or_else(|| "it must be the name of an interface".to_owned())
}

/// `srsync gateway`.
#[derive(Debug, Args)]
pub struct GatewayArgs {
    /// What about gateways.
    #[command(subcommand)]
    pub command: GatewayCommand,
}

/// What there is to do about gateways.
#[derive(Debug, Subcommand)]
pub enum GatewayCommand {
    /// Show each one: its health, its probes, and how many routes lead to it
    ///
    /// Asks the running daemon. LOSS is of the last 32 probes; `-o wide` also shows the spread of
    /// their round trips, what is sent, and the hold-down with what flapping added to it.
    List,
    /// Move traffic away from a gateway, in every document that names it
    ///
    /// It stays in use while no other gateway works. A drain outlives the daemon, but not the node:
    /// for longer, write a GatewayOverride. What is done by hand goes before that.
    Drain {
        /// The gateway
        #[arg(value_name = "ADDRESS")]
        gateway: IpAddr,
        /// End by itself after so long, such as 30m [default: until it is undone]
        #[arg(long = "for", value_name = "DURATION", value_parser = lasting)]
        lasting: Option<Duration>,
    },
    /// Undo a drain by hand
    Undrain {
        /// The gateway
        #[arg(value_name = "ADDRESS")]
        gateway: IpAddr,
    },
}

fn lasting(text: &str) -> Result<Duration, String> {
    time::lasting(text).ok_or_else(|| format!("it must be {}", time::A_DURATION))
}

/// `srsync events`.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Begin with so many that happened already
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub tail: u64,
    /// Do not wait for what is still to happen
    #[arg(long)]
    pub no_follow: bool,
}

/// `srsync try`.
#[derive(Debug, Args)]
pub struct TryArgs {
    /// What to read.
    #[command(flatten)]
    pub paths: Paths,
    /// Rehearse on the node that `srsync snapshot` wrote down, instead of
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

/// `srsync import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The routes of this node
    #[arg(long, required_unless_present = "kube", conflicts_with_all = ["kube", "group"])]
    pub routes: bool,
    /// The objects of the cluster that can be documents (KUBECONFIG, or the pod's account)
    #[arg(long, conflicts_with_all = ["from_protocol", "from_table"])]
    pub kube: bool,
    /// Objects of this group alone; may be repeated [default: those of every group that it has]
    #[arg(long, value_name = "GROUP", value_delimiter = ',', value_parser = group)]
    pub group: Vec<Dialect>,
    /// Whose routes, by name or number [default: boot,static, which `ip route add` makes]
    #[arg(long, value_name = "PROTOCOL", value_delimiter = ',')]
    pub from_protocol: Vec<String>,
    /// Routes of these tables, by name or number, or of `all` but local [default: main]
    #[arg(long, value_name = "TABLE", value_delimiter = ',')]
    pub from_table: Vec<String>,
}

fn group(text: &str) -> Result<Dialect, String> {
    let mut dialects = Dialect::ALL.into_iter();
    let found = dialects.find(|dialect| dialect.group() == text);
    found.ok_or_else(|| {
        format!(
            "it must be {}",
            Dialect::ALL.map(Dialect::group).join(" or ")
        )
    })
}

/// `srsync config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// What about the settings.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What there is to do about settings.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check the config file, flags and SRSYNC_ variables: every error with its place
    ///
    /// Also warns of SRSYNC_ variables that no setting reads. Exits with 1 if anything is invalid.
    Check {
        /// The config file to check [default: that of --config]
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
    },
    /// Show every setting with its value and where that comes from
    ///
    /// The origin is a flag, an environment variable, a line of the config file, or `default`.
    /// A flag beats the environment, which beats the file.
    Show,
}

/// `srsync schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Of what
    #[arg(value_enum, default_value = "document")]
    pub of: SchemaOf,
    /// Print the CustomResourceDefinitions of srsync.dev instead, for `kubectl apply -f -`
    #[arg(long, conflicts_with = "of")]
    pub crd: bool,
}

/// What there is a schema of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// Documents of all kinds
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
