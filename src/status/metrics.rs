//! Metrics, in the text form of OpenMetrics, made from what is published at the moment they are
//! asked for. `docs/metrics.md` says what each means, and a test holds it equal to this.

mod egress;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, MetricEncoder, NoLabelSet, text::encode,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::now;
use crate::model::egress::CheckVerdict;
use crate::model::{State, Timestamp};
use crate::report::{
    Action, CheckStatus, Condition, Counters, GatewayHealth, GatewayStatus, Histogram, ProbeRecord,
    Probing, Published, Report, Running,
};

/// The media type of the text.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics.
pub(super) fn text(published: Arc<Published>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(published)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Scrape(Arc<Published>);

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        let running = &*self.0.running;
        families.daemon(running)?;
        self.0.report(None, |report| {
            families.routes(report)?;
            families.egress(report)
        })?;
        families.passes(running)?;
        families.changes(&running.counters)?;
        families.switching(running)?;
        families.gateways(&Seen::all(running))?;
        families.checks(&running.checks)?;
        families.sources(running)?;
        families.kubernetes(running)
    }
}

/// A name, and one sentence about it.
type Name = (&'static str, &'static str);

struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    fn daemon(&mut self, running: &Running) -> fmt::Result {
        self.info(
            ("srsync_build", "The program."),
            ("version", running.version),
        )?;
        self.gauge(
            ("srsync_start_time_seconds", "When the daemon started."),
            seconds(running.started),
        )?;
        self.gauge(
            ("srsync_ready", "Whether there was a complete pass."),
            number(running.ready.is_some()),
        )?;
        self.counter(
            ("srsync_reloads", "Reloads on demand."),
            running.counters.reloads,
        )
    }

    fn routes(&mut self, report: &Report<'_>) -> fmt::Result {
        let summary = report.summary();
        let states = State::ALL.map(|state| (state.name(), summary.in_state(state)));
        self.gauges(("srsync_routes", "Routes by state."), "state", states)?;
        self.gauge(
            ("srsync_documents", "Documents in force."),
            report.inputs.documents.len(),
        )?;
        self.gauge(
            (
                "srsync_in_sync",
                "Whether the kernel has all that it should.",
            ),
            number(report.in_sync()),
        )?;
        let withheld = summary.of(Action::Withhold);
        self.gauge(
            (
                "srsync_removals_withheld",
                "Routes that a guard keeps from being removed.",
            ),
            withheld,
        )
    }

    fn passes(&mut self, running: &Running) -> fmt::Result {
        let counters = &running.counters;
        self.counters(
            ("srsync_passes", "Passes by what made them happen."),
            "trigger",
            counters.passes_by_trigger(),
        )?;
        self.counter(
            ("srsync_failed_passes", "Passes that were not completed."),
            counters.failed_passes,
        )?;
        self.histogram(
            ("srsync_pass_duration_seconds", "How long passes took."),
            &counters.durations,
        )?;
        let last = running.last_pass.as_ref();
        self.gauges_without_label(
            (
                "srsync_last_pass_timestamp_seconds",
                "When the last pass ended.",
            ),
            last.map(|pass| seconds(pass.ended)),
        )?;
        self.gauges_without_label(
            (
                "srsync_last_pass_success",
                "Whether the last pass was completed.",
            ),
            last.map(|pass| number(pass.error.is_none())),
        )
    }

    fn changes(&mut self, counters: &Counters) -> fmt::Result {
        self.counters(
            ("srsync_route_changes", "Routes changed."),
            "action",
            counters.changes_by_action(),
        )?;
        self.counters(
            (
                "srsync_route_failures",
                "Routes that could not be installed.",
            ),
            "reason",
            counters.failures_by_reason(),
        )?;
        self.counter(
            (
                "srsync_drift_repaired",
                "Routes that somebody undid and that were restored.",
            ),
            counters.drift_repaired,
        )?;
        self.counter(
            (
                "srsync_kernel_event_overflows",
                "Times that the kernel told more than could be heard.",
            ),
            counters.overflows,
        )
    }

    fn sources(&mut self, running: &Running) -> fmt::Result {
        self.gauge(
            (
                "srsync_contested_routes",
                "Routes that somebody keeps undoing.",
            ),
            running.contested_routes,
        )?;
        let now = now();
        let sources = running.sources.iter();
        self.gauges(
            ("srsync_source_valid", "Whether all of a source is usable."),
            "path",
            sources
                .clone()
                .map(|source| (&source.path, number(source.condition == Condition::Valid))),
        )?;
        self.gauges(
            (
                "srsync_source_age_seconds",
                "How long ago the content in force was first seen.",
            ),
            "path",
            sources
                .clone()
                .map(|source| (&source.path, now.since(source.changed).as_secs_f64())),
        )?;
        self.gauges(
            ("srsync_source_documents", "Documents in force, by source."),
            "path",
            sources.map(|source| (&source.path, source.documents)),
        )?;
        self.counter(
            ("srsync_source_changes", "Times that documents changed."),
            running.counters.source_changes,
        )?;
        self.gauge(
            (
                "srsync_source_polling",
                "Whether sources are polled because they cannot be watched.",
            ),
            number(running.polling.is_some()),
        )
    }
}

/// One gateway on one link: however many documents want it watched, and however differently, there is
/// one set of series for it.
struct Seen<'a> {
    labels: Vec<(&'static str, String)>,
    up: bool,
    routes: usize,
    /// Nothing where only its link is looked at.
    probing: Option<Probing>,
    /// What is in that already: the same probes serve several documents.
    records: Vec<&'a Arc<ProbeRecord>>,
}

impl<'a> Seen<'a> {
    fn all(running: &'a Running) -> Vec<Self> {
        let mut seen: BTreeMap<(IpAddr, Option<&str>), Self> = BTreeMap::new();
        for gateway in &running.gateways {
            let key = (gateway.address, gateway.interface.as_deref());
            seen.entry(key)
                .or_insert_with(|| Self::of(gateway))
                .add(gateway);
        }
        seen.into_values().collect()
    }

    fn of(gateway: &GatewayStatus) -> Self {
        let interface = gateway.interface.iter();
        let interface = interface.map(|name| ("interface", name.clone()));
        let address = ("gateway", gateway.address.to_string());
        Self {
            labels: [address].into_iter().chain(interface).collect(),
            up: true,
            routes: 0,
            probing: None,
            records: Vec::new(),
        }
    }

    fn add(&mut self, gateway: &'a GatewayStatus) {
        self.up &= gateway.health != GatewayHealth::Down;
        self.routes += gateway.routes;
        let Some(probing) = &gateway.probing else {
            return;
        };
        if let Some(record) = &gateway.record {
            if self.records.iter().any(|known| Arc::ptr_eq(known, record)) {
                return;
            }
            self.records.push(record);
        }
        match &mut self.probing {
            None => self.probing = Some(probing.clone()),
            Some(sum) => {
                sum.sent += probing.sent;
                sum.lost += probing.lost;
                sum.round_trips.add(&probing.round_trips);
            }
        }
    }
}

/// Targets that read the same are one series: they may differ in what an answer has to be.
type CheckLabels = [(&'static str, String); 3];

fn check_labels(check: &CheckStatus) -> CheckLabels {
    [
        ("check", check.check.clone()),
        ("target", check.target.clone()),
        ("expect", check.expect.name().to_owned()),
    ]
}

impl Families<'_> {
    /// Those that were asked at least once. As expected is a series only if all that is in it is.
    fn checks(&mut self, checks: &[CheckStatus]) -> fmt::Result {
        let asked = || checks.iter().filter_map(|one| Some((one, one.last_asked?)));
        let (mut success, mut trips, mut last) =
            <(BTreeMap<_, _>, BTreeMap<_, _>, BTreeMap<_, _>)>::default();
        for (check, moment) in asked() {
            let labels = check_labels(check);
            let passed = check.verdict == CheckVerdict::Passed;
            *success.entry(labels.clone()).or_insert(true) &= passed;
            if let Some(round_trip) = check.round_trip {
                let slowest = trips.entry(labels.clone()).or_insert(round_trip);
                *slowest = round_trip.max(*slowest);
            }
            let first = last.entry(labels).or_insert(moment);
            *first = moment.min(*first);
        }
        self.gauges_of(
            (
                "srsync_check_success",
                "Whether a target of a connectivity check is as expected.",
            ),
            success
                .iter()
                .map(|(labels, passed)| (labels, number(*passed))),
        )?;
        self.gauges_of(
            (
                "srsync_check_round_trip_seconds",
                "How long the last answer took.",
            ),
            trips
                .iter()
                .map(|(labels, trip)| (labels, trip.as_secs_f64())),
        )?;
        self.gauges_of(
            (
                "srsync_check_last_run_timestamp_seconds",
                "When it was asked last.",
            ),
            last.iter()
                .map(|(labels, moment)| (labels, seconds(*moment))),
        )
    }

    fn switching(&mut self, running: &Running) -> fmt::Result {
        self.counter(
            (
                "srsync_failovers",
                "Times that the traffic of a document went another way.",
            ),
            running.counters.failovers,
        )?;
        self.gauges_without_label(
            (
                "srsync_last_switch_timestamp_seconds",
                "When the traffic of a document last went another way.",
            ),
            running.last_switch.map(seconds),
        )?;
        self.gauge(
            (
                "srsync_isolated",
                "Whether this node reaches none of the witnesses of a document.",
            ),
            number(running.isolated),
        )
    }

    fn kubernetes(&mut self, running: &Running) -> fmt::Result {
        let status = running.kubernetes.as_ref();
        self.gauges_without_label(
            (
                "srsync_kubernetes_connected",
                "Whether the Kubernetes API answers.",
            ),
            status.map(|status| number(status.connected)),
        )?;
        self.gauges_without_label(
            (
                "srsync_kubernetes_troubles",
                "What does not work with the Kubernetes API.",
            ),
            status.map(|status| status.troubles.len()),
        )
    }

    fn gateways(&mut self, seen: &[Seen<'_>]) -> fmt::Result {
        self.gauges_of(
            ("srsync_gateway_up", "Whether a gateway counts as working."),
            seen.iter().map(|one| (&one.labels, number(one.up))),
        )?;
        self.gauges_of(
            ("srsync_gateway_routes", "Routes that lead to a gateway."),
            seen.iter().map(|one| (&one.labels, one.routes)),
        )?;
        let probed = || {
            let both = |one: &'_ Seen<'_>| Some((one.labels.clone(), one.probing.clone()?));
            seen.iter().filter_map(both)
        };
        self.counters_of(
            ("srsync_gateway_probes", "Probes that are over."),
            probed().map(|(labels, probing)| (labels, probing.sent)),
        )?;
        self.counters_of(
            (
                "srsync_gateway_probes_lost",
                "Probes without a good answer.",
            ),
            probed().map(|(labels, probing)| (labels, probing.lost)),
        )?;
        let name = "srsync_gateway_round_trip_seconds";
        let help = "How long answered probes took.";
        let kind = MetricType::Histogram;
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, probing) in probed() {
            write_histogram(family.encode_family(&labels)?, &probing.round_trips)?;
        }
        Ok(())
    }

    fn gauges_of<'l, L: EncodeLabelSet + 'l, V: EncodeGaugeValue>(
        &mut self,
        (name, help): Name,
        values: impl IntoIterator<Item = (&'l L, V)>,
    ) -> fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            family.encode_family(labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn counters_of(
        &mut self,
        (name, help): Name,
        values: impl IntoIterator<Item = (Vec<(&'static str, String)>, u64)>,
    ) -> fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            let mut one = family.encode_family(&labels)?;
            one.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }
}

/// How each kind of metric is written.
impl Families<'_> {
    fn info(&mut self, (name, help): Name, label: (&str, &str)) -> fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Info)?;
        family.encode_info(&[label])
    }

    fn gauge(&mut self, name: Name, value: impl EncodeGaugeValue) -> fmt::Result {
        self.gauges_without_label(name, Some(value))
    }

    /// Nothing is better than a number that means nothing.
    fn gauges_without_label(
        &mut self,
        (name, help): Name,
        value: Option<impl EncodeGaugeValue>,
    ) -> fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        match value {
            Some(value) => family.encode_gauge(&value),
            None => Ok(()),
        }
    }

    fn gauges<W: AsRef<str>, V: EncodeGaugeValue>(
        &mut self,
        (name, help): Name,
        label: &str,
        values: impl IntoIterator<Item = (W, V)>,
    ) -> fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (word, value) in values {
            let labels = [(label, word.as_ref())];
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn counter(&mut self, (name, help): Name, value: u64) -> fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        family.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn counters(
        &mut self,
        (name, help): Name,
        label: &str,
        values: impl IntoIterator<Item = (String, u64)>,
    ) -> fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (word, value) in values {
            let labels = [(label, word)];
            let mut one = family.encode_family(&labels)?;
            one.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    fn histogram(&mut self, (name, help): Name, histogram: &Histogram) -> fmt::Result {
        let family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Histogram)?;
        write_histogram(family, histogram)
    }
}

fn write_histogram(mut metric: MetricEncoder<'_>, histogram: &Histogram) -> fmt::Result {
    let buckets: Vec<(f64, u64)> = histogram.buckets().collect();
    metric.encode_histogram::<NoLabelSet>(histogram.sum, histogram.count(), &buckets, None)
}

/// 1 for yes, 0 for no.
fn number(yes: bool) -> u32 {
    u32::from(yes)
}

/// As Prometheus counts time.
fn seconds(moment: Timestamp) -> f64 {
    moment.since(Timestamp::default()).as_secs_f64()
}
