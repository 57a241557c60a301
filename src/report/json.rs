//! A report for programs. The names of fields are stable; `srsync schema report` prints their schema.
//!
//! Rows are serialised one by one from the plan, never collected, so that a report over 100,000
//! routes needs no memory of its own.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::model::{Document, NextHop, Place, RouteAttrs, State};
use crate::plan::{DocumentVerdict, Reason};

use super::egress::{EgressDocumentJson, ThingJson};
use super::route::link_name;
use super::{Action, Report, RowView, Summary};

impl Serialize for Report<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("apiVersion", "srsync.dev/v1alpha1")?;
        map.serialize_entry("kind", "Report")?;
        map.serialize_entry("command", &self.kind)?;
        map.serialize_entry("node", self.node)?;
        map.serialize_entry("protocol", &self.inputs.policy.protocol.get())?;
        map.serialize_entry("inSync", &self.in_sync())?;
        map.serialize_entry("summary", &SummaryJson::of(&self.summary()))?;
        if let crate::plan::Removals::Withheld(reason) = &self.pass.plan.removals {
            map.serialize_entry("removalsWithheld", reason)?;
        }
        if let Some(running) = self.running {
            map.serialize_entry("daemon", running)?;
        }
        map.serialize_entry("documents", &Documents(self))?;
        if let Some(selected) = self.selected_count() {
            map.serialize_entry("selected", &selected)?;
        }
        map.serialize_entry("routes", &Rows(self))?;
        let documents = EgressDocumentJson::all(self);
        if !documents.is_empty() {
            map.serialize_entry("egressDocuments", &documents)?;
        }
        let things = self.things().map(|view| ThingJson::of(self, &view));
        let things: Vec<ThingJson<'_>> = things.collect();
        if !things.is_empty() {
            map.serialize_entry("egress", &things)?;
        }
        if let Some(observed) = self.tables {
            map.serialize_entry("tables", &self.table_lines(observed))?;
        }
        map.end()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SummaryJson {
    add: usize,
    replace: usize,
    adopt: usize,
    remove: usize,
    withhold: usize,
    keep: usize,
    states: std::collections::BTreeMap<State, usize>,
}

impl SummaryJson {
    fn of(summary: &Summary) -> Self {
        let zero = State::ALL.into_iter().map(|state| (state, 0));
        let mut states: std::collections::BTreeMap<State, usize> = zero.collect();
        states.extend(&summary.states);
        Self {
            add: summary.of(Action::Add),
            replace: summary.of(Action::Replace),
            adopt: summary.of(Action::Adopt),
            remove: summary.of(Action::Remove),
            withhold: summary.of(Action::Withhold),
            keep: summary.of(Action::Keep),
            states,
        }
    }
}

struct Documents<'a>(&'a Report<'a>);

impl Serialize for Documents<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let report = self.0;
        let documents = report.inputs.documents.iter();
        let both = documents.zip(&report.pass.plan.documents);
        serializer.collect_seq(both.map(|both| DocumentJson::of(report, both)))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DocumentJson<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    api_version: &'static str,
    file: &'a str,
    line: u32,
    destinations: usize,
    selected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a Reason>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
}

impl<'a> DocumentJson<'a> {
    fn of(
        report: &'a Report<'a>,
        (document, verdict): (&'a Document, &'a DocumentVerdict),
    ) -> Self {
        Self {
            name: &document.id.name,
            namespace: document.id.namespace.as_deref(),
            api_version: document.id.dialect.api_version(),
            file: file(report, &document.place),
            line: document.place.line,
            destinations: document.destinations.len(),
            selected: verdict.not_selected.is_none(),
            reason: verdict.not_selected.as_ref(),
            notes: &verdict.notes,
        }
    }
}

struct Rows<'a>(&'a Report<'a>);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(
            self.0
                .selected_rows()
                .map(|view| RowJson::of(self.0, &view)),
        )
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RowJson<'a> {
    prefix: crate::model::Prefix,
    table: u32,
    table_name: String,
    metric: u32,
    action: Action,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<State>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a Reason>,
    #[serde(flatten)]
    attrs: Option<AttrsJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<AttrsJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    occupant: Option<AttrsJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
}

impl<'a> RowJson<'a> {
    fn of(report: &'a Report<'a>, view: &RowView<'a>) -> Self {
        let key = &view.row.key;
        let claim = view.row.claim;
        let document = claim.map(|claim| &report.inputs.documents[claim.document as usize]);
        Self {
            prefix: key.prefix,
            table: key.table.get(),
            table_name: report.inputs.names.table(key.table),
            metric: key.metric.get(),
            action: view.action,
            state: view.state,
            reason: view.reason,
            attrs: view.attrs.map(|attrs| AttrsJson::of(report, attrs)),
            previous: view.previous.map(|attrs| AttrsJson::of(report, attrs)),
            occupant: view.occupant.map(|attrs| AttrsJson::of(report, attrs)),
            warning: view.row.warning.as_deref(),
            document: document.map(|document| document.id.to_string()),
            file: claim.map(|claim| file(report, &claim.place)),
            line: claim.map(|claim| claim.place.line),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AttrsJson {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_hop_id: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    next_hops: Vec<HopJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<std::net::IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    advmss: Option<u32>,
}

impl AttrsJson {
    fn of(report: &Report<'_>, attrs: &RouteAttrs) -> Self {
        let hop = |hop: &NextHop| HopJson {
            via: hop.via,
            dev: hop.link.map(|link| link_name(link, &report.pass.links)),
            weight: hop.weight.get(),
            on_link: hop.on_link,
        };
        Self {
            r#type: attrs.kind.name(),
            next_hop_id: attrs.nexthop.map(|id| id.get()),
            next_hops: attrs.hops().iter().map(hop).collect(),
            source: attrs.source,
            mtu: attrs.mtu.map(|mtu| mtu.get()),
            advmss: attrs.advmss.map(|advmss| advmss.get()),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HopJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<std::net::IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dev: Option<String>,
    weight: u16,
    on_link: bool,
}

fn file<'a>(report: &'a Report<'_>, place: &Place) -> &'a str {
    &report.inputs.files[place.file.0 as usize].path
}
