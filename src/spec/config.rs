//! The config file: the same care as for documents, in the same words.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::Diagnostic;
use super::diagnostic::Problem;
use super::fields::{At, Fields, Item};
use super::findings::Findings;
use super::native;
use super::values::{address, boolean, duration, keyword, prefix, text, whole};
use super::words::quoted;
use super::yaml::{Documents, Value};
use crate::model::{
    FileId, ForeignRoutes, Labels, LogFormat, LogLevel, MaxRemovals, Names, Prefix, Protocol,
    TableId,
};

/// The keys of the config file.
pub const FIELDS: &[&str] = &[
    "sources",
    "protocol",
    "table",
    "protectedSubnets",
    "allowDefaultRoute",
    "allowEmpty",
    "maxRemovals",
    "foreignRoutes",
    "resyncInterval",
    "debounce",
    "gatewayLookup",
    "node",
    "listen",
    "socket",
    "log",
];
/// The keys of `node`.
pub const NODE_FIELDS: &[&str] = &["name", "labels"];
/// The keys of `log`.
pub const LOG_FIELDS: &[&str] = &["level", "format"];

/// What a config file says; `None` where it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the key of the same name")]
pub struct File {
    pub sources: Option<Vec<PathBuf>>,
    pub protocol: Option<Protocol>,
    pub table: Option<TableId>,
    pub protected_subnets: Option<Vec<Prefix>>,
    pub allow_default_route: Option<bool>,
    pub allow_empty: Option<bool>,
    pub max_removals: Option<MaxRemovals>,
    pub foreign_routes: Option<ForeignRoutes>,
    pub resync_interval: Option<Duration>,
    pub debounce: Option<Duration>,
    pub gateway_lookup: Option<std::net::IpAddr>,
    pub node_name: Option<String>,
    pub node_labels: Option<Labels>,
    pub listen: Option<SocketAddr>,
    pub socket: Option<PathBuf>,
    pub log_level: Option<LogLevel>,
    pub log_format: Option<LogFormat>,
}

/// Reads a config file's text.
pub fn parse_config(file: FileId, text: &str, names: &Names) -> (File, Vec<Diagnostic>) {
    let text = super::destinations::without_bom(text);
    let mut findings = Findings::new(file, text);
    let mut trees = Documents::of(text);
    let mut config = File::default();
    if let Some(node) = trees.next(&mut findings) {
        let item = Item::named("config", &node);
        if let Some(fields) = Fields::of(&item, node.span, FIELDS, &mut findings) {
            config = read(&fields, names, &mut findings);
        }
        if let Some(second) = trees.next(&mut findings) {
            let message = "a config file is one document; this is the second";
            findings.error(second.span, Problem::new(message, "not expected"));
        }
    }
    (config, findings.finish())
}

fn read(fields: &Fields<'_, '_>, names: &Names, findings: &mut Findings<'_>) -> File {
    let (node_name, node_labels) = node(fields, findings);
    let log = fields.inside("log", LOG_FIELDS, findings);
    let log_level = log
        .as_ref()
        .and_then(|log| value(log.read("level", findings, |item| keyword(item, &LogLevel::NAMES))));
    let log_format = log.as_ref().and_then(|log| {
        value(log.read("format", findings, |item| keyword(item, &LogFormat::NAMES)))
    });
    File {
        sources: list(fields, "sources", findings, |item| {
            Ok(PathBuf::from(text(item)?))
        }),
        protocol: value(fields.read("protocol", findings, protocol)),
        table: value(fields.read("table", findings, |item| native::table(item, names))),
        protected_subnets: list(fields, "protectedSubnets", findings, prefix),
        allow_default_route: value(fields.read("allowDefaultRoute", findings, boolean)),
        allow_empty: value(fields.read("allowEmpty", findings, boolean)),
        max_removals: value(fields.read("maxRemovals", findings, max_removals)),
        foreign_routes: value(fields.read("foreignRoutes", findings, |item| {
            keyword(
                item,
                &[
                    (ForeignRoutes::Refuse.name(), ForeignRoutes::Refuse),
                    (ForeignRoutes::Adopt.name(), ForeignRoutes::Adopt),
                ],
            )
        })),
        resync_interval: value(fields.read("resyncInterval", findings, resync_interval)),
        debounce: value(fields.read("debounce", findings, debounce)),
        gateway_lookup: value(fields.read("gatewayLookup", findings, address)),
        node_name,
        node_labels,
        listen: value(fields.read("listen", findings, listen)),
        socket: value(fields.read("socket", findings, socket)),
        log_level,
        log_format,
    }
}

fn value<T>(at: Option<At<T>>) -> Option<T> {
    at.map(|at| at.value)
}

fn list<'n, 't, T>(
    fields: &Fields<'n, 't>,
    name: &'n str,
    findings: &mut Findings<'_>,
    reader: impl Fn(&Item<'n, 't>) -> Result<T, Problem>,
) -> Option<Vec<T>> {
    fields.has(name).then(|| {
        let items = fields.read_list(name, findings, reader);
        items.into_iter().map(|at| at.value).collect()
    })
}

fn protocol(item: &Item<'_, '_>) -> Result<Protocol, Problem> {
    // 0 to 4 are the kernel's own and those of people with `ip route`: owning them would mean
    // removing routes that are not ours.
    let number = whole(item, 5..=255)?;
    Ok(Protocol::new(u8::try_from(number).unwrap_or(u8::MAX)))
}

fn max_removals(item: &Item<'_, '_>) -> Result<MaxRemovals, Problem> {
    let text = match &item.node.value {
        Value::Number(text) | Value::Text(text) => text,
        _ => return Err(item.must_be("a count such as 100, or a percentage such as 10%")),
    };
    text.parse().map_err(|_| {
        let message = format!(
            "`{item}` is neither a count nor a percentage: {}",
            quoted(text)
        );
        Problem::new(message, "must be such as `100` or `10%`")
    })
}

fn node(fields: &Fields<'_, '_>, findings: &mut Findings<'_>) -> (Option<String>, Option<Labels>) {
    let Some(node) = fields.inside("node", NODE_FIELDS, findings) else {
        return (None, None);
    };
    let name = value(node.read("name", findings, |item| Ok(text(item)?.to_owned())));
    let labels = node.entry("labels").map(|entry| {
        let item = Item::named("labels", &entry.node);
        labels(&item, findings)
    });
    (name, labels)
}

fn labels(item: &Item<'_, '_>, findings: &mut Findings<'_>) -> Labels {
    let Value::Map(entries) = &item.node.value else {
        findings.error(item.node.span, item.must_be("a mapping of labels"));
        return Labels::new();
    };
    let mut labels = Labels::new();
    for entry in entries.iter() {
        let value = Item::named(&entry.key, &entry.node);
        match text(&value) {
            Ok(text) => drop(labels.insert(entry.key.to_string(), text.to_owned())),
            Err(problem) => findings.error(entry.node.span, problem),
        }
    }
    labels
}

/// How short the time between full comparisons may be: each reads every route of the kernel.
const SHORTEST_RESYNC: Duration = Duration::from_secs(1);
/// How long changes of files may be waited out: files that never rest must still be read.
const LONGEST_DEBOUNCE: Duration = Duration::from_secs(10);

fn resync_interval(item: &Item<'_, '_>) -> Result<Duration, Problem> {
    let interval = duration(item)?;
    if interval < SHORTEST_RESYNC {
        let message = format!("`{item}` must be at least 1s");
        let help = "each comparison reads all routes; changes that the kernel tells of are handled at once";
        return Err(Problem::new(message, "must be at least `1s`").help(help));
    }
    Ok(interval)
}

fn debounce(item: &Item<'_, '_>) -> Result<Duration, Problem> {
    let wait = duration(item)?;
    if wait > LONGEST_DEBOUNCE {
        let message = format!("`{item}` must be at most 10s");
        return Err(Problem::new(message, "must be at most `10s`"));
    }
    Ok(wait)
}

fn listen(item: &Item<'_, '_>) -> Result<SocketAddr, Problem> {
    let text = text(item)?;
    text.parse().map_err(|_| {
        let message = format!("`{item}` must be an address and port, not {}", quoted(text));
        Problem::new(message, "must be such as `127.0.0.1:9783` or `[::1]:9783`")
    })
}

fn socket(item: &Item<'_, '_>) -> Result<PathBuf, Problem> {
    let path = PathBuf::from(text(item)?);
    match path.is_absolute() {
        true => Ok(path),
        false => {
            let message = format!("`{item}` must be an absolute path");
            Err(Problem::new(message, "must begin with `/`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (File, Vec<String>) {
        let (file, findings) = parse_config(FileId(0), text, &Names::default());
        (
            file,
            findings
                .into_iter()
                .map(|finding| finding.message)
                .collect(),
        )
    }

    #[test]
    fn every_key_of_the_config_file_is_read() {
        let (file, findings) = parse(
            "
sources: [/etc/srsync/routes, '-']
protocol: 90
table: main
protectedSubnets: [10.0.0.0/8, '2001:db8::/32']
allowDefaultRoute: true
allowEmpty: false
maxRemovals: 10%
foreignRoutes: adopt
resyncInterval: 30s
debounce: 100ms
gatewayLookup: 10.0.0.1
node: {name: gw-1, labels: {role: egress}}
listen: 127.0.0.1:9783
socket: /run/srsync/srsync.sock
log: {level: info, format: json}
",
        );
        assert_eq!(findings, [""; 0]);
        assert_eq!(file.sources.unwrap().len(), 2);
        assert_eq!(file.protocol, Some(Protocol::new(90)));
        assert_eq!(file.table, Some(TableId::MAIN));
        assert_eq!(file.protected_subnets.unwrap().len(), 2);
        assert_eq!(file.allow_default_route, Some(true));
        assert_eq!(file.allow_empty, Some(false));
        assert_eq!(file.max_removals, Some(MaxRemovals::Percent(10)));
        assert_eq!(file.foreign_routes, Some(ForeignRoutes::Adopt));
        assert_eq!(file.resync_interval, Some(Duration::from_secs(30)));
        assert_eq!(file.debounce, Some(Duration::from_millis(100)));
        assert_eq!(file.listen, Some("127.0.0.1:9783".parse().unwrap()));
        assert_eq!(file.socket, Some("/run/srsync/srsync.sock".into()));
        assert_eq!(file.gateway_lookup, Some("10.0.0.1".parse().unwrap()));
        assert_eq!(file.node_name.as_deref(), Some("gw-1"));
        assert_eq!(file.node_labels.unwrap()["role"], "egress");
        assert_eq!(file.log_level, Some(LogLevel::Info));
        assert_eq!(file.log_format, Some(LogFormat::Json));
    }

    #[test]
    fn every_mistake_in_a_config_file_is_found_at_once() {
        let (_, findings) = parse(
            "
protocol: 2
protectedSubnet: [10.0.0.0/8]
allowEmpty: yes
maxRemovals: many
listen: 9783
resyncInterval: 10ms
debounce: 1m
socket: srsync.sock
node: {label: x}
---
second: document
",
        );
        assert_eq!(findings.len(), 10, "{findings:#?}");
    }

    #[test]
    fn an_empty_config_file_says_nothing() {
        assert_eq!(parse("# nothing yet\n"), (File::default(), Vec::new()));
    }
}
