//! The settings that flags and environment variables give: as text, and who gave them.
//!
//! One table says for each key of the config file what its flag and its variable are called. Must
//! not know what a text means: `spec` reads it by the same rules as the config file's.

use std::env::{self, VarError};

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

/// The variable of `sources`, whose flag is the paths of a command.
pub const SOURCES: &str = "SRSYNC_SOURCES";

/// The variable that pods of Kubernetes have by custom for the name of their node; that of srsync is
/// stronger.
const POD_NODE: &str = "NODE_NAME";

/// A key of the config file whose value comes from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The key, such as `node.name`.
    pub key: &'static str,
    /// The value; lists are separated by commas, paths by colons.
    pub text: String,
    /// Who gave it.
    pub by: By,
}

/// Who gave a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// This flag, with its dashes.
    Flag(&'static str),
    /// This environment variable.
    Variable(&'static str),
}

/// All that flags and variables give, at most one value for each key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllGiven(pub Vec<Given>);

/// A key with its flag and its variable.
struct Setting {
    key: &'static str,
    flag: &'static str,
    variable: &'static str,
    form: Form,
    heading: &'static str,
    help: &'static str,
}

/// How many values a flag takes, and what the help calls them.
enum Form {
    One(&'static str),
    /// Separated by commas, and the flag may be repeated.
    Many(&'static str),
    /// The bare flag stands for `true`.
    Switch,
    /// The same, and there is more to say than `true` and `false`.
    Choice(&'static str),
}

const SETTINGS: &[Setting] = &[
    Setting {
        key: "protocol",
        flag: "--protocol",
        variable: "SRSYNC_PROTOCOL",
        form: Form::One("N"),
        heading: "Settings",
        help: "Protocol number by which srsync knows its own routes [default: 83]",
    },
    Setting {
        key: "table",
        flag: "--table",
        variable: "SRSYNC_TABLE",
        form: Form::One("TABLE"),
        heading: "Settings",
        help: "Table of documents that name none: a number, or a name of rt_tables [default: main]",
    },
    Setting {
        key: "protectedSubnets",
        flag: "--protected-subnets",
        variable: "SRSYNC_PROTECTED_SUBNETS",
        form: Form::Many("CIDR"),
        heading: "Settings",
        help: "Subnets that no route may overlap, separated by commas",
    },
    Setting {
        key: "allowDefaultRoute",
        flag: "--allow-default-route",
        variable: "SRSYNC_ALLOW_DEFAULT_ROUTE",
        form: Form::Switch,
        heading: "Settings",
        help: "Let documents cover the whole address space in the main table",
    },
    Setting {
        key: "allowCatchAllRules",
        flag: "--allow-catch-all-rules",
        variable: "SRSYNC_ALLOW_CATCH_ALL_RULES",
        form: Form::Switch,
        heading: "Settings",
        help: "Let a routing rule send every packet nowhere, or to a table without routes or with a default route",
    },
    Setting {
        key: "allowEmpty",
        flag: "--allow-empty",
        variable: "SRSYNC_ALLOW_EMPTY",
        form: Form::Switch,
        heading: "Settings",
        help: "Let an empty set of routes remove everything that srsync owns",
    },
    Setting {
        key: "maxRemovals",
        flag: "--max-removals",
        variable: "SRSYNC_MAX_REMOVALS",
        form: Form::One("N|N%"),
        heading: "Settings",
        help: "Withhold removals if there would be more than this at once: a count, or a \
               percentage of the routes owned",
    },
    Setting {
        key: "foreignRoutes",
        flag: "--foreign-routes",
        variable: "SRSYNC_FOREIGN_ROUTES",
        form: Form::One("refuse|adopt"),
        heading: "Settings",
        help: "What to do about a slot that another owner holds: refuse, or adopt (take over a \
               route that is identical but for its owner) [default: refuse]",
    },
    Setting {
        key: "gatewayLookup",
        flag: "--gateway-lookup",
        variable: "SRSYNC_GATEWAY_LOOKUP",
        form: Form::One("IP"),
        heading: "Settings",
        help: "Where static-route.ibm.com objects without a gateway look for one [default: \
               10.0.0.1]",
    },
    Setting {
        key: "node.name",
        flag: "--node-name",
        variable: "SRSYNC_NODE_NAME",
        form: Form::One("NAME"),
        heading: "Settings",
        help: "This node's name [default: NODE_NAME, else the host name]",
    },
    Setting {
        key: "node.labels",
        flag: "--node-label",
        variable: "SRSYNC_NODE_LABELS",
        form: Form::Many("KEY=VALUE"),
        heading: "Settings",
        help: "A label of this node, for node selectors; may be repeated",
    },
    Setting {
        key: "sources.kube",
        flag: "--kube-source",
        variable: "SRSYNC_KUBE_SOURCE",
        form: Form::Choice("GROUP,…"),
        heading: "Daemon",
        help: "Read the StaticRoute objects of the cluster, too: those of every group that it has, or \
               of these groups, separated by commas",
    },
    Setting {
        key: "kube.nodeLabels",
        flag: "--kube-node-labels",
        variable: "SRSYNC_KUBE_NODE_LABELS",
        form: Form::Switch,
        heading: "Daemon",
        help: "Learn the labels of this node from the Kubernetes API, and every change of them; \
               those of --node-label are stronger",
    },
    Setting {
        key: "kube.mirror",
        flag: "--kube-mirror",
        variable: "SRSYNC_KUBE_MIRROR",
        form: Form::Switch,
        heading: "Daemon",
        help: "Write what became of each document to the status of its object in Kubernetes",
    },
    Setting {
        key: "kube.mirrorCreate",
        flag: "--kube-mirror-create",
        variable: "SRSYNC_KUBE_MIRROR_CREATE",
        form: Form::Switch,
        heading: "Daemon",
        help: "Make the objects that are not there from the documents; needs --kube-mirror",
    },
    Setting {
        key: "log.level",
        flag: "--log-level",
        variable: "SRSYNC_LOG_LEVEL",
        form: Form::One("error|warn|info|debug"),
        heading: "Output",
        help: "Least important messages of the log [default: warn, and info for the daemon]",
    },
    Setting {
        key: "log.format",
        flag: "--log-format",
        variable: "SRSYNC_LOG_FORMAT",
        form: Form::One("text|json|journald"),
        heading: "Output",
        help: "Form of the log: text or json on stderr, or journald [default: text]",
    },
    Setting {
        key: "resyncInterval",
        flag: "--resync-interval",
        variable: "SRSYNC_RESYNC_INTERVAL",
        form: Form::One("TIME"),
        heading: "Daemon",
        help: "Time between full comparisons with the kernel, such as 500ms, 30s or 2m; at least \
               1s [default: 30s]",
    },
    Setting {
        key: "debounce",
        flag: "--debounce",
        variable: "SRSYNC_DEBOUNCE",
        form: Form::One("TIME"),
        heading: "Daemon",
        help: "How long to wait for more changes of files before reading them; at most the resync \
               interval and 10s [default: 100ms]",
    },
    Setting {
        key: "listen",
        flag: "--listen",
        variable: "SRSYNC_LISTEN",
        form: Form::One("ADDRESS:PORT"),
        heading: "Daemon",
        help: "Where read-only HTTP for metrics, health and status listens [default: nowhere]",
    },
    Setting {
        key: "socket",
        flag: "--socket",
        variable: "SRSYNC_SOCKET",
        form: Form::One("PATH"),
        heading: "Daemon",
        help: "Unix socket of the running daemon [default: /run/srsync/srsync.sock]",
    },
    Setting {
        key: "procSys",
        flag: "--proc-sys",
        variable: "SRSYNC_PROC_SYS",
        form: Form::One("DIR"),
        heading: "Settings",
        help: "Where the kernel's settings are, for containers that see the node's elsewhere [default: /proc/sys]",
    },
];

impl Setting {
    fn argument(&self) -> Arg {
        let argument = Arg::new(self.key)
            .long(self.flag.trim_start_matches('-'))
            .env(self.variable)
            .help(self.help)
            .help_heading(self.heading)
            .global(true);
        match self.form {
            Form::One(value) => argument.value_name(value),
            Form::Many(value) => argument.value_name(value).action(ArgAction::Append),
            Form::Switch | Form::Choice(_) => argument
                .value_name(match self.form {
                    Form::Choice(value) => value,
                    _ => "true|false",
                })
                .num_args(0..=1)
                .default_missing_value("true")
                .require_equals(true),
        }
    }

    fn given(&self, matches: &ArgMatches) -> Option<Given> {
        let texts: Vec<&str> = matches
            .get_many::<String>(self.key)?
            .map(String::as_str)
            .collect();
        let by = match matches.value_source(self.key)? {
            ValueSource::EnvVariable => By::Variable(self.variable),
            _ => By::Flag(self.flag),
        };
        Some(Given {
            key: self.key,
            text: texts.join(","),
            by,
        })
    }
}

impl Args for AllGiven {
    fn augment_args(command: Command) -> Command {
        let verbose = Arg::new("verbose")
            .short('v')
            .long("verbose")
            .help("More log on stderr: -v for progress, -vv for details")
            .action(ArgAction::Count);
        let quiet = Arg::new("quiet")
            .short('q')
            .long("quiet")
            .help("No log on stderr but errors")
            .action(ArgAction::SetTrue)
            .conflicts_with("verbose");
        let louder_or_quieter =
            [verbose, quiet].map(|argument| argument.help_heading("Output").global(true));
        command
            .args(louder_or_quieter)
            .args(SETTINGS.iter().map(Setting::argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for AllGiven {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut given: Vec<Given> = SETTINGS
            .iter()
            .filter_map(|setting| setting.given(matches))
            .collect();
        if let Some(level) = loudness(matches) {
            let rival = given.iter().find(|given| given.key == level.key);
            // clap's own conflicts would count the variable, which -v is there to override.
            if let Some(By::Flag(flag)) = rival.map(|rival| rival.by) {
                let message = format!("{flag} cannot be used with --verbose or --quiet");
                return Err(Error::raw(ErrorKind::ArgumentConflict, message));
            }
            given.retain(|given| given.key != level.key);
            given.push(level);
        }
        given.extend(variable("sources", SOURCES)?);
        if !given.iter().any(|given| given.key == "node.name") {
            given.extend(variable("node.name", POD_NODE)?.filter(|name| !name.text.is_empty()));
        }
        Ok(Self(given))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The log level, where -v or -q says it.
fn loudness(matches: &ArgMatches) -> Option<Given> {
    let (text, flag) = match (matches.get_flag("quiet"), matches.get_count("verbose")) {
        (true, _) => ("error", "--quiet"),
        (false, 0) => return None,
        (false, 1) => ("info", "--verbose"),
        (false, _) => ("debug", "--verbose"),
    };
    Some(Given {
        key: "log.level",
        text: text.to_owned(),
        by: By::Flag(flag),
    })
}

/// A key whose variable has no flag beside it.
fn variable(key: &'static str, name: &'static str) -> Result<Option<Given>, Error> {
    match env::var(name) {
        Ok(text) => Ok(Some(Given {
            key,
            text,
            by: By::Variable(name),
        })),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => {
            let message = format!("{name} is not UTF-8");
            Err(Error::raw(ErrorKind::InvalidUtf8, message))
        }
    }
}
