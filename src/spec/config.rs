//! The config file, and the flags and variables that stand for its keys: the same care as for
//! documents, in the same words.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::diagnostic::{Diagnostic, Problem, Spot};
use super::fields::{At, Fields, Item};
use super::findings::Findings;
use super::values::{address, boolean, duration, keyword, prefix, text, whole};
use super::words::quoted;
use super::yaml::{Documents, Node, Value};
use super::{given, native, sources};
use crate::model::{
    FileId, ForeignRoutes, KubeSource, Labels, LogFormat, LogLevel, MaxRemovals, Names, Prefix,
    Protocol, TableId,
};

/// The keys of the config file.
pub const FIELDS: &[&str] = &[
    "sources",
    "protocol",
    "table",
    "protectedSubnets",
    "allowDefaultRoute",
    "allowCatchAllRules",
    "allowEmpty",
    "maxRemovals",
    "foreignRoutes",
    "resyncInterval",
    "debounce",
    "gatewayLookup",
    "node",
    "kube",
    "listen",
    "socket",
    "procSys",
    "log",
];
/// The keys of `node`.
pub const NODE_FIELDS: &[&str] = &["name", "labels"];
/// The keys of `kube`.
pub const KUBE_FIELDS: &[&str] = &["nodeLabels", "mirror", "mirrorCreate"];
/// The keys of `log`.
pub const LOG_FIELDS: &[&str] = &["level", "format"];

/// What a config file says, or one flag or variable; `None` where it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the key of the same name")]
pub struct File {
    pub sources: Option<Written<Vec<PathBuf>>>,
    pub kube_source: Option<Written<KubeSource>>,
    pub protocol: Option<Written<Protocol>>,
    pub table: Option<Written<TableId>>,
    pub protected_subnets: Option<Written<Vec<Prefix>>>,
    pub allow_default_route: Option<Written<bool>>,
    /// `allowCatchAllRules`.
    pub allow_catch_all_rules: Option<Written<bool>>,
    pub allow_empty: Option<Written<bool>>,
    pub max_removals: Option<Written<MaxRemovals>>,
    pub foreign_routes: Option<Written<ForeignRoutes>>,
    pub resync_interval: Option<Written<Duration>>,
    pub debounce: Option<Written<Duration>>,
    pub gateway_lookup: Option<Written<IpAddr>>,
    pub node_name: Option<Written<String>>,
    pub node_labels: Option<Written<Labels>>,
    pub kube_node_labels: Option<Written<bool>>,
    pub kube_mirror: Option<Written<bool>>,
    pub kube_mirror_create: Option<Written<bool>>,
    pub listen: Option<Written<SocketAddr>>,
    pub socket: Option<Written<PathBuf>>,
    /// `procSys`.
    pub proc_sys: Option<Written<PathBuf>>,
    pub log_level: Option<Written<LogLevel>>,
    pub log_format: Option<Written<LogFormat>>,
}

/// A value with where it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written<T> {
    /// The value.
    pub value: T,
    /// The place of the value, or of the key whose value has several lines.
    pub spot: Spot,
}

/// Reads a config file's text.
pub fn parse_config(file: FileId, text: &str, names: &Names) -> (File, Vec<Diagnostic>) {
    let text = super::destinations::without_bom(text);
    let mut findings = Findings::new(file, text);
    let mut trees = Documents::of(text);
    let mut config = File::default();
    if let Some(node) = trees.next(&mut findings) {
        config = read(&node, names, &mut findings);
        if let Some(second) = trees.next(&mut findings) {
            let message = "a config file is one document; this is the second";
            findings.error(second.span, Problem::new(message, "not expected"));
        }
    }
    (config, findings.finish())
}

/// Reads the text of a flag or a variable that stands for one key, such as `node.name`. The text
/// counts as a file of its own.
pub fn parse_given(file: FileId, key: &str, text: &str, names: &Names) -> (File, Vec<Diagnostic>) {
    let mut findings = Findings::new(file, text);
    let node = given::tree(key, text, &mut findings);
    let given = read(&node, names, &mut findings);
    (given, findings.finish())
}

fn read(node: &Node<'_>, names: &Names, findings: &mut Findings<'_>) -> File {
    let config = Item::named("config", node);
    let Some(fields) = Fields::of(&config, node.span, FIELDS, findings) else {
        return File::default();
    };
    let node = fields.inside("node", NODE_FIELDS, findings);
    let kube = fields.inside("kube", KUBE_FIELDS, findings);
    let log = fields.inside("log", LOG_FIELDS, findings);
    let (sources, kube_source) = sources::read(&fields, findings);
    let mut reader = Reader { findings };
    let mut kube = |name| reader.value(kube.as_ref()?, name, boolean);
    let [kube_node_labels, kube_mirror, kube_mirror_create] =
        ["nodeLabels", "mirror", "mirrorCreate"].map(&mut kube);
    File {
        kube_node_labels,
        kube_mirror,
        kube_mirror_create,
        sources,
        kube_source,
        protocol: reader.value(&fields, "protocol", protocol),
        table: reader.value(&fields, "table", |item| native::table(item, names)),
        protected_subnets: reader.list(&fields, "protectedSubnets", prefix),
        allow_default_route: reader.value(&fields, "allowDefaultRoute", boolean),
        allow_catch_all_rules: reader.value(&fields, "allowCatchAllRules", boolean),
        allow_empty: reader.value(&fields, "allowEmpty", boolean),
        max_removals: reader.value(&fields, "maxRemovals", max_removals),
        foreign_routes: reader.value(&fields, "foreignRoutes", |item| {
            let names = [ForeignRoutes::Refuse, ForeignRoutes::Adopt].map(|way| (way.name(), way));
            keyword(item, &names)
        }),
        resync_interval: reader.value(&fields, "resyncInterval", resync_interval),
        debounce: reader.value(&fields, "debounce", debounce),
        gateway_lookup: reader.value(&fields, "gatewayLookup", address),
        node_name: node
            .as_ref()
            .and_then(|node| reader.value(node, "name", |item| Ok(nonempty(item)?.to_owned()))),
        node_labels: node.as_ref().and_then(|node| reader.labels(node)),
        listen: reader.value(&fields, "listen", listen),
        socket: reader.value(&fields, "socket", absolute),
        proc_sys: reader.value(&fields, "procSys", absolute),
        log_level: log
            .as_ref()
            .and_then(|log| reader.value(log, "level", |item| keyword(item, &LogLevel::NAMES))),
        log_format: log
            .as_ref()
            .and_then(|log| reader.value(log, "format", |item| keyword(item, &LogFormat::NAMES))),
    }
}

/// Reads values with where they are written.
struct Reader<'f, 't> {
    findings: &'f mut Findings<'t>,
}

impl Reader<'_, '_> {
    fn value<'n, 't, T>(
        &mut self,
        fields: &Fields<'n, 't>,
        name: &'n str,
        reader: impl FnOnce(&Item<'n, 't>) -> Result<T, Problem>,
    ) -> Option<Written<T>> {
        let At { value, span } = fields.read(name, self.findings, reader)?;
        let spot = self.findings.spot(span);
        Some(Written { value, spot })
    }

    fn list<'n, 't, T>(
        &mut self,
        fields: &Fields<'n, 't>,
        name: &'n str,
        reader: impl Fn(&Item<'n, 't>) -> Result<T, Problem>,
    ) -> Option<Written<Vec<T>>> {
        let spot = self.findings.spot(fields.entry(name)?.key_span);
        let items = fields.read_list(name, self.findings, reader);
        let value = items.into_iter().map(|at| at.value).collect();
        Some(Written { value, spot })
    }

    fn labels(&mut self, node: &Fields<'_, '_>) -> Option<Written<Labels>> {
        let entry = node.entry("labels")?;
        let spot = self.findings.spot(entry.key_span);
        let value = labels(&Item::named("labels", &entry.node), self.findings);
        Some(Written { value, spot })
    }
}

/// Text that is not empty: nothing is called by an empty name.
pub(super) fn nonempty<'n>(item: &Item<'n, '_>) -> Result<&'n str, Problem> {
    match text(item)? {
        "" => {
            let message = format!("`{item}` must not be empty");
            Err(Problem::new(message, "must not be empty"))
        }
        text => Ok(text),
    }
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

fn absolute(item: &Item<'_, '_>) -> Result<PathBuf, Problem> {
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
    use crate::model::Dialect;

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

    fn value<T>(written: Option<Written<T>>) -> T {
        written.unwrap().value
    }

    #[test]
    fn every_key_of_the_config_file_is_read() {
        let (file, findings) = parse(
            "
sources: [/etc/srsync/routes, '-', kube: {groups: [srsync.dev]}]
protocol: 90
table: main
protectedSubnets: [10.0.0.0/8, '2001:db8::/32']
allowDefaultRoute: true
allowCatchAllRules: true
allowEmpty: false
maxRemovals: 10%
foreignRoutes: adopt
resyncInterval: 30s
debounce: 100ms
gatewayLookup: 10.0.0.1
node: {name: gw-1, labels: {role: egress}}
kube: {nodeLabels: true, mirror: false, mirrorCreate: true}
listen: 127.0.0.1:9783
socket: /run/srsync/srsync.sock
procSys: /host/proc/sys
log: {level: info, format: json}
",
        );
        assert_eq!(findings, [""; 0]);
        assert_eq!(value(file.sources).len(), 2);
        let groups = KubeSource::Groups([Dialect::Native].into());
        assert_eq!(value(file.kube_source), groups);
        assert_eq!(value(file.protocol), Protocol::new(90));
        assert_eq!(value(file.table), TableId::MAIN);
        assert_eq!(value(file.protected_subnets).len(), 2);
        assert!(value(file.allow_default_route));
        assert!(value(file.allow_catch_all_rules));
        assert!(!value(file.allow_empty));
        assert_eq!(value(file.max_removals), MaxRemovals::Percent(10));
        assert_eq!(value(file.foreign_routes), ForeignRoutes::Adopt);
        assert_eq!(value(file.resync_interval), Duration::from_secs(30));
        assert_eq!(value(file.debounce), Duration::from_millis(100));
        assert_eq!(value(file.gateway_lookup), IpAddr::from([10, 0, 0, 1]));
        assert_eq!(value(file.node_name), "gw-1");
        assert_eq!(value(file.node_labels)["role"], "egress");
        assert!(value(file.kube_node_labels));
        assert!(!value(file.kube_mirror));
        assert!(value(file.kube_mirror_create));
        assert_eq!(value(file.listen), SocketAddr::from(([127, 0, 0, 1], 9783)));
        assert_eq!(value(file.socket), PathBuf::from("/run/srsync/srsync.sock"));
        assert_eq!(value(file.proc_sys), PathBuf::from("/host/proc/sys"));
        assert_eq!(value(file.log_level), LogLevel::Info);
        assert_eq!(value(file.log_format), LogFormat::Json);
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

    #[test]
    fn flags_and_variables_are_read_like_the_config_file() {
        let given = |key, text| {
            let (file, findings) = parse_given(FileId(0), key, text, &Names::default());
            let said: Vec<String> = findings.iter().map(|d| d.message.clone()).collect();
            let column = findings
                .first()
                .and_then(|d| d.spot.as_ref())
                .map(|spot| spot.span.column);
            (file, said.join("; "), column)
        };
        assert_eq!(value(given("table", "100").0.table), TableId::new(100));
        assert_eq!(value(given("node.name", "100").0.node_name), "100");
        let labels = value(given("node.labels", "a=1,b=,").0.node_labels);
        assert_eq!((&*labels["a"], &*labels["b"], labels.len()), ("1", "", 2));
        let (file, said, column) = given("protectedSubnets", "10.0.0.0/8,10.1.2.3/16");
        assert_eq!(value(file.protected_subnets).len(), 1);
        assert_eq!(said, "`10.1.2.3/16` has host bits set");
        assert_eq!(column, Some(12));
        for (key, text, message) in [
            (
                "protocol",
                "2",
                "`protocol` must be a whole number from 5 to 255, not `2`",
            ),
            ("table", "", "`table` names no known table: ``"),
            ("node.name", "", "`node.name` must not be empty"),
            ("node.labels", "a", "`a` is no label"),
            ("resyncInterval", "30", "`resyncInterval` has no unit"),
            (
                "log.level",
                "loud",
                "`log.level` must be `error`, `warn`, `info` or `debug`, not `loud`",
            ),
        ] {
            assert_eq!(given(key, text).1, message);
        }
    }
}
