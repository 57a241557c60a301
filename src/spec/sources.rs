//! `sources` of the config file: paths, and the objects of a cluster.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::config::{Written, nonempty};
use super::diagnostic::Problem;
use super::fields::{Fields, Item};
use super::findings::Findings;
use super::values::{boolean, keyword};
use super::yaml::Value;
use crate::model::{Dialect, KubeSource};

/// The keys of a source that is no path.
const SOURCE_FIELDS: &[&str] = &["kube"];
/// The keys of `kube` there.
const KUBE_SOURCE_FIELDS: &[&str] = &["groups"];

/// Reads `sources`; what is `None` is not said. A list of nothing but objects says nothing of paths.
pub(super) fn read(
    config: &Fields<'_, '_>,
    findings: &mut Findings<'_>,
) -> (Option<Written<Vec<PathBuf>>>, Option<Written<KubeSource>>) {
    let Some(entry) = config.entry("sources") else {
        return (None, None);
    };
    let spot = findings.spot(entry.key_span);
    let (mut paths, mut kube) = (Vec::new(), None);
    for item in config.items("sources", findings) {
        if matches!(item.node.value, Value::Map(_)) {
            let read = objects(&item, findings);
            if kube.is_some() {
                let problem = Problem::new("`kube` is a source already", "a second time").help(
                    "name all groups in one: `kube: {groups: [srsync.dev, static-route.ibm.com]}`",
                );
                findings.error(item.node.span, problem);
            }
            let spot = findings.spot(item.node.span);
            kube = read.map(|value| Written { value, spot }).or(kube);
            continue;
        }
        match nonempty(&item) {
            Ok(path) => paths.push(PathBuf::from(path)),
            Err(problem) => findings.error(item.node.span, problem),
        }
    }
    let only_objects = paths.is_empty() && kube.is_some();
    let paths = (!only_objects).then_some(Written { value: paths, spot });
    (paths, kube)
}

/// `kube: {groups: […]}`, or `kube: true`.
fn objects(item: &Item<'_, '_>, findings: &mut Findings<'_>) -> Option<KubeSource> {
    let source = Fields::of(item, item.node.span, SOURCE_FIELDS, findings)?;
    let Some(entry) = source.written("kube") else {
        source.report_missing("kube", "which objects, such as `kube: {}`", findings);
        return None;
    };
    match &entry.node.value {
        Value::Null => return Some(KubeSource::Present),
        Value::Bool(_) => {
            let on = source.read("kube", findings, boolean)?.value;
            return Some(if on {
                KubeSource::Present
            } else {
                KubeSource::Off
            });
        }
        _ => {}
    }
    let kube = source.inside("kube", KUBE_SOURCE_FIELDS, findings)?;
    if !kube.has("groups") {
        return Some(KubeSource::Present);
    }
    let names = Dialect::ALL.map(|dialect| (dialect.group(), dialect));
    let groups = kube.read_list("groups", findings, |item| keyword(item, &names));
    let groups: BTreeSet<Dialect> = groups.into_iter().map(|at| at.value).collect();
    let written = kube.entry("groups")?;
    if matches!(&written.node.value, Value::List(items) if items.is_empty()) {
        let message = "`groups` names no group";
        let problem = Problem::new(message, "names none").help("without `groups` all are read");
        findings.error(written.key_span, problem);
    }
    Some(KubeSource::Groups(groups))
}
