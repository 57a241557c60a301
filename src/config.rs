//! Settings and their defaults: flag > environment > config file > default.
//!
//! clap has already settled flags against the environment; this puts the config file and the
//! defaults under them. Must not read files: the commands hand the parsed file in.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::Global;
use crate::model::{Labels, LogFormat, LogLevel, Names, Policy, Prefix, Protocol, TableId};

pub use crate::spec::config::File;

/// Where the config file is looked for unless `--config` names one.
pub const DEFAULT_FILE: &str = "/etc/srsync/config.yaml";

/// Where a daemon listens unless `--socket` names another path.
pub const DEFAULT_SOCKET: &str = "/run/srsync/srsync.sock";

/// Time between full comparisons with the kernel unless `--resync-interval` names another.
const RESYNC_INTERVAL: Duration = Duration::from_secs(30);

/// How long changes of files are collected unless `--debounce` says otherwise.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// The label that every Kubernetes node has, and here every node: its name.
const HOSTNAME_LABEL: &str = "kubernetes.io/hostname";

/// The settings in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What may be done.
    pub policy: Policy,
    /// Paths of documents, for commands that are given none.
    pub sources: Vec<PathBuf>,
    /// This node's name.
    pub node_name: String,
    /// This node's labels.
    pub labels: Labels,
    /// Time between full comparisons of a daemon with the kernel.
    pub resync_interval: Duration,
    /// How long a daemon waits for more changes of files before it reads them.
    pub debounce: Duration,
    /// Where a daemon answers HTTP.
    pub listen: Option<SocketAddr>,
    /// Where a daemon is asked and told things.
    pub socket: PathBuf,
    /// How much is logged.
    pub log_level: LogLevel,
    /// How the log is written.
    pub log_format: LogFormat,
}

/// Puts flags and environment over the config file over the defaults.
///
/// # Errors
/// If the value of a flag makes no sense: the message names the flag.
pub fn settle(
    global: &Global,
    file: File,
    names: &Names,
    host_name: String,
) -> Result<Settings, String> {
    let default = Policy::default();
    let protected_subnets = match &global.protected_subnets {
        Some(texts) => prefixes(texts)?,
        None => file.protected_subnets.unwrap_or_default(),
    };
    let table = match &global.table {
        Some(text) => Some(table(text, names)?),
        None => file.table,
    };
    let policy = Policy {
        protocol: global
            .protocol
            .map(Protocol::new)
            .or(file.protocol)
            .unwrap_or(default.protocol),
        table: table.unwrap_or(default.table),
        protected_subnets,
        allow_default_route: global
            .allow_default_route
            .or(file.allow_default_route)
            .unwrap_or(default.allow_default_route),
        allow_empty: global
            .allow_empty
            .or(file.allow_empty)
            .unwrap_or(default.allow_empty),
        max_removals: global.max_removals.or(file.max_removals),
        foreign_routes: global
            .foreign_routes
            .or(file.foreign_routes)
            .unwrap_or(default.foreign_routes),
        gateway_lookup: global
            .gateway_lookup
            .or(file.gateway_lookup)
            .unwrap_or(default.gateway_lookup),
    };
    let node_name = global
        .node_name
        .clone()
        .or(file.node_name)
        .unwrap_or(host_name);
    let mut labels = match &global.node_labels {
        Some(texts) => self::labels(texts)?,
        None => file.node_labels.unwrap_or_default(),
    };
    labels
        .entry(HOSTNAME_LABEL.to_owned())
        .or_insert_with(|| node_name.clone());
    Ok(Settings {
        policy,
        sources: file.sources.unwrap_or_default(),
        node_name,
        labels,
        resync_interval: file.resync_interval.unwrap_or(RESYNC_INTERVAL),
        debounce: file.debounce.unwrap_or(DEBOUNCE),
        listen: file.listen,
        socket: file.socket.unwrap_or_else(|| DEFAULT_SOCKET.into()),
        log_level: match (global.quiet, global.verbose) {
            (true, _) => LogLevel::Error,
            (false, 0) => file.log_level.unwrap_or(LogLevel::Warn),
            (false, 1) => LogLevel::Info,
            (false, _) => LogLevel::Debug,
        },
        log_format: global
            .log_format
            .or(file.log_format)
            .unwrap_or(LogFormat::Text),
    })
}

fn prefixes(texts: &[String]) -> Result<Vec<Prefix>, String> {
    let parse = |text: &String| {
        let parsed = text.parse();
        parsed.map_err(|error| format!("--protected-subnets: {error}"))
    };
    texts
        .iter()
        .filter(|text| !text.is_empty())
        .map(parse)
        .collect()
}

fn table(text: &str, names: &Names) -> Result<TableId, String> {
    let number = text
        .parse()
        .ok()
        .filter(|number| *number != 0)
        .map(TableId::new);
    let table = number.or_else(|| names.table_named(text));
    match table {
        Some(TableId::LOCAL) => {
            Err("--table: the local table is the kernel's own; name another".to_owned())
        }
        Some(table) => Ok(table),
        None => {
            let known: Vec<&str> = names.table_names().collect();
            Err(format!(
                "--table: `{text}` is neither a number from 1 to 4294967295 nor a name of \
                 rt_tables ({})",
                known.join(", ")
            ))
        }
    }
}

fn labels(texts: &[String]) -> Result<Labels, String> {
    let parse = |text: &String| match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("--node-label: `{text}` must be KEY=VALUE")),
    };
    texts
        .iter()
        .filter(|text| !text.is_empty())
        .map(parse)
        .collect()
}
