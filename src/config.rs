//! Settings and their defaults: flag > environment > config file > default.
//!
//! Flags, variables and the config file say the same kind of thing in the same form; whoever is
//! first to say a value is believed, and remembered with it. Must not read files: the commands
//! hand the text of the config file in.

mod provenance;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::Given;
use crate::model::{FileId, FileName, KubeSource, Labels, LogFormat, LogLevel, Names, Policy};
use crate::spec::config::{File, Written, parse_config, parse_given};
use crate::spec::{Diagnostic, Problem, Severity};

use provenance::Shown;
pub use provenance::{Entry, Origin};

/// Where the config file is looked for unless `--config` names one.
pub const DEFAULT_FILE: &str = "/etc/srsync/config.yaml";

/// Where the settings of the kernel are unless `--proc-sys` names another directory.
const DEFAULT_PROC_SYS: &str = "/proc/sys";
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
    /// Objects of the cluster that a daemon reads as well.
    pub kube_source: KubeSource,
    /// This node's name.
    pub node_name: String,
    /// This node's labels, as far as they are known without asking anybody.
    pub labels: Labels,
    /// Those of them that somebody gave; they are stronger than what Kubernetes says.
    pub given_labels: Labels,
    /// What the daemon has to do with Kubernetes.
    pub kube: Kube,
    /// Time between full comparisons of a daemon with the kernel.
    pub resync_interval: Duration,
    /// How long a daemon waits for more changes of files before it reads them.
    pub debounce: Duration,
    /// Where a daemon answers HTTP.
    pub listen: Option<SocketAddr>,
    /// Where a daemon is asked and told things.
    pub socket: PathBuf,
    /// Where the settings of the kernel are.
    pub proc_sys: PathBuf,
    /// How much is logged.
    pub log_level: LogLevel,
    /// How the log is written.
    pub log_format: LogFormat,
}

impl Settings {
    /// Whether a daemon asks the Kubernetes API for anything.
    pub fn uses_kubernetes(&self) -> bool {
        self.kube != Kube::default() || self.kube_source != KubeSource::Off
    }
}

/// What a daemon has to do with Kubernetes; by default nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kube {
    /// The labels of this node come from the API.
    pub node_labels: bool,
    /// Whether what became of documents is written to their objects.
    pub mirror: Option<Mirror>,
}

/// How what became of documents is written to their objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mirror {
    /// Objects that are not there are made.
    pub create: bool,
}

/// What is said about settings.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// By flags and environment variables.
    pub given: &'a [Given],
    /// By the config file: its path and its text, where there is one.
    pub file: Option<(&'a Path, &'a str)>,
}

/// What settings depend on where nobody says anything.
#[derive(Debug, Clone, Copy)]
pub struct Basis<'a> {
    /// The names of tables.
    pub names: &'a Names,
    /// The name of a node that is given none.
    pub host_name: &'a str,
    /// How much is logged: a daemon is asked to say more.
    pub log_level: LogLevel,
    /// Whether this build can talk to Kubernetes.
    pub kubernetes: bool,
}

/// Settings, and who said what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The settings in force.
    pub settings: Settings,
    /// The same, key by key, each with its origin.
    pub entries: Vec<Entry>,
}

/// What was found in what was said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// All findings, of flags and variables before those of the config file.
    pub diagnostics: Vec<Diagnostic>,
    /// What the findings' files are called: flags and variables count as files, too.
    pub files: Vec<FileName>,
}

impl Findings {
    /// Whether nothing can be settled because of them.
    pub fn has_errors(&self) -> bool {
        let is_error = |diagnostic: &Diagnostic| diagnostic.severity == Severity::Error;
        self.diagnostics.iter().any(is_error)
    }

    /// Adds what counts as a file.
    pub fn add_file(&mut self, name: &str) -> FileId {
        let id = FileId(u32::try_from(self.files.len()).unwrap_or(u32::MAX));
        self.files.push(FileName {
            path: name.into(),
            label: name.into(),
        });
        id
    }
}

/// Settles every setting, if nothing that is said is wrong.
pub fn settle(said: &Said<'_>, basis: &Basis<'_>) -> (Option<Settled>, Findings) {
    let mut settler = Settler::hear(said, basis);
    let settings = settler.settings();
    let Settler {
        entries, findings, ..
    } = settler;
    let settled = Settled { settings, entries };
    ((!findings.has_errors()).then_some(settled), findings)
}

/// Settles one value after the other, and notes for each who said it.
struct Settler<'a> {
    basis: &'a Basis<'a>,
    /// Who spoke, the strongest first.
    voices: Vec<Voice>,
    entries: Vec<Entry>,
    findings: Findings,
}

/// One who says something about settings.
struct Voice {
    origin: Origin,
    values: File,
}

impl Voice {
    fn said_at(&self, line: u32) -> Origin {
        match &self.origin {
            Origin::File { file, .. } => Origin::File {
                file: file.clone(),
                line,
            },
            other => other.clone(),
        }
    }
}

/// The value of a key in a file.
type Key<T> = fn(&File) -> &Option<Written<T>>;

impl<'a> Settler<'a> {
    fn hear(said: &Said<'_>, basis: &'a Basis<'a>) -> Self {
        let mut settler = Self {
            basis,
            voices: Vec::new(),
            entries: Vec::new(),
            findings: Findings::default(),
        };
        for Given { key, text, by } in said.given {
            let origin = Origin::from(*by);
            let id = settler.findings.add_file(&origin.to_string());
            settler.listen_to(origin, parse_given(id, key, text, basis.names));
        }
        if let Some((path, text)) = said.file {
            let file = path.display().to_string();
            let id = settler.findings.add_file(&file);
            let origin = Origin::File { file, line: 0 };
            settler.listen_to(origin, parse_config(id, text, basis.names));
        }
        settler
    }

    fn listen_to(&mut self, origin: Origin, (values, found): (File, Vec<Diagnostic>)) {
        self.voices.push(Voice { origin, values });
        self.findings.diagnostics.extend(found);
    }

    /// In the order in which `config show` lists them.
    fn settings(&mut self) -> Settings {
        let sources = self.value("sources", |said| &said.sources, Vec::new());
        let kube_source = self.kube_source();
        let policy = self.policy();
        let (resync_interval, debounce) = self.pace();
        let host_name = self.basis.host_name.to_owned();
        let node_name = self.value("node.name", |said| &said.node_name, host_name);
        let (labels, given_labels) = self.labels(&node_name);
        Settings {
            policy,
            sources,
            kube_source,
            resync_interval,
            debounce,
            labels,
            given_labels,
            node_name,
            kube: self.kube(),
            listen: self.optional("listen", |said| &said.listen),
            socket: self.value("socket", |said| &said.socket, DEFAULT_SOCKET.into()),
            proc_sys: self.value("procSys", |said| &said.proc_sys, DEFAULT_PROC_SYS.into()),
            log_level: self.value("log.level", |said| &said.log_level, self.basis.log_level),
            log_format: self.value("log.format", |said| &said.log_format, LogFormat::Text),
        }
    }

    fn policy(&mut self) -> Policy {
        let default = Policy::default();
        Policy {
            protocol: self.value("protocol", |said| &said.protocol, default.protocol),
            table: self.value("table", |said| &said.table, default.table),
            protected_subnets: self.value(
                "protectedSubnets",
                |said| &said.protected_subnets,
                default.protected_subnets,
            ),
            allow_default_route: self.value(
                "allowDefaultRoute",
                |said| &said.allow_default_route,
                default.allow_default_route,
            ),
            allow_catch_all_rules: self.value(
                "allowCatchAllRules",
                |said| &said.allow_catch_all_rules,
                default.allow_catch_all_rules,
            ),
            allow_empty: self.value("allowEmpty", |said| &said.allow_empty, default.allow_empty),
            max_removals: self.optional("maxRemovals", |said| &said.max_removals),
            foreign_routes: self.value(
                "foreignRoutes",
                |said| &said.foreign_routes,
                default.foreign_routes,
            ),
            gateway_lookup: self.value(
                "gatewayLookup",
                |said| &said.gateway_lookup,
                default.gateway_lookup,
            ),
        }
    }

    /// How often a daemon compares, and how long it waits: it must not wait past a comparison.
    fn pace(&mut self) -> (Duration, Duration) {
        let interval = self.value(
            "resyncInterval",
            |said| &said.resync_interval,
            RESYNC_INTERVAL,
        );
        let debounce = self.value("debounce", |said| &said.debounce, DEBOUNCE);
        if debounce > interval {
            let message = "`debounce` must not be longer than `resyncInterval`";
            let mut problem = Problem::new(message, "longer than the interval");
            if let Some((interval, _)) = self.said(|said| &said.resync_interval) {
                problem = problem.related(interval.spot.clone(), "the interval");
            }
            self.refuse(|said| &said.debounce, problem);
        }
        (interval, debounce)
    }

    /// The labels with the one that every node has, and those that were given.
    fn labels(&mut self, node_name: &str) -> (Labels, Labels) {
        let (labels, origin) = self.heard(|said| &said.node_labels);
        let given_labels = labels.unwrap_or_default();
        let mut labels = given_labels.clone();
        let given = labels.contains_key(HOSTNAME_LABEL);
        if !given {
            labels.insert(HOSTNAME_LABEL.to_owned(), node_name.to_owned());
        }
        let implied = !given && origin != Origin::Default;
        self.note("node.labels", &labels, origin);
        if let Some(entry) = self.entries.last_mut() {
            entry.implied = implied.then_some(HOSTNAME_LABEL);
        }
        (labels, given_labels)
    }

    fn kube_source(&mut self) -> KubeSource {
        let key = "sources.kube";
        let source = self.value(key, |said| &said.kube_source, KubeSource::Off);
        if source != KubeSource::Off {
            self.needs_kubernetes(key, |said| &said.kube_source);
        }
        source
    }

    fn kube(&mut self) -> Kube {
        let node_labels = self.kube_switch("kube.nodeLabels", |said| &said.kube_node_labels);
        let mirror = self.kube_switch("kube.mirror", |said| &said.kube_mirror);
        let create = self.kube_switch("kube.mirrorCreate", |said| &said.kube_mirror_create);
        if create && !mirror {
            let problem = Problem::new(
                "`kube.mirrorCreate` makes nothing without `kube.mirror`",
                "needs `kube.mirror: true`",
            );
            self.refuse(|said| &said.kube_mirror_create, problem);
        }
        let (source, _) = self.heard(|said| &said.kube_source);
        if create && source.is_some_and(|source| source != KubeSource::Off) {
            let problem = Problem::new(
                "`kube.mirrorCreate` makes objects from files, and `kube` as a source reads them back",
                "each document would be there twice",
            );
            self.refuse(|said| &said.kube_mirror_create, problem);
        }
        Kube {
            node_labels,
            mirror: mirror.then_some(Mirror { create }),
        }
    }

    /// A key that only some builds can follow.
    fn kube_switch(&mut self, key: &'static str, of: Key<bool>) -> bool {
        let on = self.value(key, of, false);
        if on {
            self.needs_kubernetes(key, of);
        }
        on
    }

    /// Refuses what was said of a key that this build cannot follow.
    fn needs_kubernetes<T>(&mut self, key: &'static str, of: Key<T>) {
        if !self.basis.kubernetes {
            let message =
                format!("this build of srsync cannot talk to Kubernetes, so `{key}` is refused");
            let help = "use the container image, or build with `cargo build --features kube`; `srsync --version` \
                        says which features a build has";
            let problem = Problem::new(message, "not in this build").help(help);
            self.refuse(of, problem);
        }
    }

    /// What was said of a key cannot be.
    fn refuse<T>(&mut self, of: Key<T>, problem: Problem) {
        if let Some((written, _)) = self.said(of) {
            let found = Diagnostic::at(Severity::Error, written.spot.clone(), problem);
            self.findings.diagnostics.push(found);
        }
    }

    fn value<T: Shown + Clone>(&mut self, key: &'static str, of: Key<T>, default: T) -> T {
        let (said, origin) = self.heard(of);
        let value = said.unwrap_or(default);
        self.note(key, &value, origin);
        value
    }

    fn optional<T: Shown + Clone>(&mut self, key: &'static str, of: Key<T>) -> Option<T> {
        let (value, origin) = self.heard(of);
        self.note(key, &value, origin);
        value
    }

    fn heard<T: Clone>(&self, of: Key<T>) -> (Option<T>, Origin) {
        match self.said(of) {
            Some((written, origin)) => (Some(written.value.clone()), origin),
            None => (None, Origin::Default),
        }
    }

    /// What the strongest voice that knows the key says.
    fn said<T>(&self, of: Key<T>) -> Option<(&Written<T>, Origin)> {
        self.voices.iter().find_map(|voice| {
            let written = of(&voice.values).as_ref()?;
            Some((written, voice.said_at(written.spot.span.line)))
        })
    }

    fn note(&mut self, key: &'static str, value: &impl Shown, origin: Origin) {
        self.entries.push(Entry {
            key,
            value: value.shown(self.basis.names),
            origin,
            implied: None,
        });
    }
}
