//! `healthCheck`: how to tell whether a gateway is alive.

use std::net::IpAddr;
use std::time::Duration;

use super::diagnostic::{Problem, Span};
use super::fields::{Fields, Item};
use super::findings::Findings;
use super::values::{duration, text, unicast, whole};
use super::words::{either, quoted};
use super::yaml::Value;
use crate::model::document::{HealthCheck, Probe};

/// The fields of `healthCheck`.
pub const HEALTH_CHECK_FIELDS: &[&str] = &[
    "icmp", "tcp", "http", "arp", "target", "interval", "timeout", "fall", "rise", "holdDown",
];
/// The fields of `icmp` and `arp`.
pub const NO_FIELDS: &[&str] = &[];
/// The fields of `tcp`.
pub const TCP_FIELDS: &[&str] = &["port"];
/// The fields of `http`.
pub const HTTP_FIELDS: &[&str] = &["port", "path", "host", "expectStatus"];

const PROBES: [&str; 4] = ["icmp", "tcp", "http", "arp"];

/// Which times a check may have, and which it has unless they are given.
pub(super) struct Times {
    pub(super) interval: Duration,
    pub(super) shortest: Duration,
    /// At most the interval, whatever that is.
    pub(super) timeout: Duration,
}

const TIMES: Times = Times {
    interval: Duration::from_secs(1),
    // Shorter than this, a check measures the scheduler instead of the gateway.
    shortest: Duration::from_millis(20),
    timeout: Duration::MAX,
};

/// The `healthCheck` of this mapping, if it has one.
pub(super) fn read(owner: &Fields<'_, '_>, findings: &mut Findings<'_>) -> Option<HealthCheck> {
    let fields = owner.inside("healthCheck", HEALTH_CHECK_FIELDS, findings)?;
    let probe = probe(&fields, &PROBES, findings);
    let targets = targets(&fields, findings);
    let (interval, timeout) = times(&fields, &TIMES, findings);
    let count = |name: &'static str, default, findings: &mut Findings<'_>| {
        let read = fields.read(name, findings, |item| whole(item, 1..=1000));
        read.map_or(default, |count| count.value)
    };
    let (fall, rise) = (count("fall", 3, findings), count("rise", 2, findings));
    let hold_down = fields.read("holdDown", findings, duration);
    Some(HealthCheck {
        probe: probe?,
        targets,
        interval,
        timeout,
        fall,
        rise,
        hold_down: hold_down.map_or(Duration::from_secs(10), |time| time.value),
    })
}

/// Exactly one of these kinds of probe.
pub(super) fn probe(
    fields: &Fields<'_, '_>,
    known: &[&str],
    findings: &mut Findings<'_>,
) -> Option<Probe> {
    let given: Vec<_> = known
        .iter()
        .filter_map(|name| fields.written(name))
        .collect();
    let (first, more) = match given.as_slice() {
        [] => {
            let message = format!("`{}` does not say what to send", fields.name);
            let help = format!("add one of {}, such as `icmp: {{}}`", either(known));
            findings.error(
                fields.span,
                Problem::new(message, "has no probe").help(help),
            );
            return None;
        }
        [first, more @ ..] => (first, more),
    };
    for second in more {
        let message = format!(
            "`{}` has two probes, `{}` and `{}`",
            fields.name, &*first.key, &*second.key
        );
        let problem = Problem::new(message, "a second probe")
            .related(findings.spot(first.key_span), "the first probe")
            .help("keep one of them");
        findings.error(second.key_span, problem);
    }
    match &*first.key {
        "icmp" => without_fields(fields, "icmp", findings).then_some(Probe::Icmp),
        "arp" => without_fields(fields, "arp", findings).then_some(Probe::Arp),
        "tcp" => tcp(fields, findings),
        _ => http(fields, findings),
    }
}

/// `icmp: {}`, or just `icmp:`.
fn without_fields(
    fields: &Fields<'_, '_>,
    name: &'static str,
    findings: &mut Findings<'_>,
) -> bool {
    !fields.has(name) || fields.inside(name, NO_FIELDS, findings).is_some()
}

fn tcp(fields: &Fields<'_, '_>, findings: &mut Findings<'_>) -> Option<Probe> {
    let Some(tcp) = fields.inside("tcp", TCP_FIELDS, findings) else {
        report_empty(fields, "tcp", "`tcp: {port: 443}`", findings);
        return None;
    };
    let port = port(&tcp, findings)?;
    Some(Probe::Tcp { port })
}

fn http(fields: &Fields<'_, '_>, findings: &mut Findings<'_>) -> Option<Probe> {
    let Some(http) = fields.inside("http", HTTP_FIELDS, findings) else {
        report_empty(
            fields,
            "http",
            "`http: {port: 80, path: /health}`",
            findings,
        );
        return None;
    };
    let port = port(&http, findings);
    let path = http.require("path", "where to ask, such as `/health`", findings, path);
    let host = http.read("host", findings, text);
    let expect_status = http.read("expectStatus", findings, statuses);
    Some(Probe::Http {
        port: port?,
        path: path?.value,
        host: host.map(|host| host.value.to_owned()),
        expect_status: expect_status.map_or((200, 399), |range| range.value),
    })
}

fn report_empty(fields: &Fields<'_, '_>, name: &str, example: &str, findings: &mut Findings<'_>) {
    if let Some(entry) = fields
        .written(name)
        .filter(|entry| matches!(entry.node.value, Value::Null))
    {
        let problem = Problem::new(
            format!("`{}.{name}` has no `port`", fields.name),
            "has no value",
        );
        findings.error(
            entry.key_span,
            problem.help(format!("write for example {example}")),
        );
    }
}

fn port(fields: &Fields<'_, '_>, findings: &mut Findings<'_>) -> Option<u16> {
    let read = fields.require("port", "the port to connect to", findings, |item| {
        whole(item, 1..=65535)
    });
    read.and_then(|port| u16::try_from(port.value).ok())
}

fn path(item: &Item<'_, '_>) -> Result<String, Problem> {
    let path = text(item)?;
    let clean = path.bytes().all(|b| b.is_ascii_graphic());
    if path.starts_with('/') && clean {
        return Ok(path.to_owned());
    }
    let message = format!("`{item}` must be a URL path, not {}", quoted(path));
    Err(Problem::new(
        message,
        "must begin with `/` and have no white space",
    ))
}

/// `200-399`, or a single status.
fn statuses(item: &Item<'_, '_>) -> Result<(u16, u16), Problem> {
    const WANTED: &str = "a range of status codes such as `200-399`, or one such as `204`";
    let text = match &item.node.value {
        Value::Text(text) | Value::Number(text) => text,
        _ => return Err(item.must_be(WANTED)),
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let code = |text: &str| {
        text.parse::<u16>()
            .ok()
            .filter(|code| (100..=599).contains(code))
    };
    match (code(first), code(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => {
            let message = format!("`{item}` must be {WANTED}, not {}", quoted(text));
            Err(Problem::new(
                message,
                "must be within 100 to 599, the lower first",
            ))
        }
    }
}

/// One address or a list of them.
fn targets(fields: &Fields<'_, '_>, findings: &mut Findings<'_>) -> Vec<IpAddr> {
    let is_list = fields
        .entry("target")
        .is_some_and(|entry| matches!(entry.node.value, Value::List(_)));
    let read = match is_list {
        true => fields.read_list("target", findings, unicast),
        false => fields
            .read("target", findings, unicast)
            .into_iter()
            .collect(),
    };
    read.into_iter().map(|target| target.value).collect()
}

/// The interval and the timeout, which is no longer.
pub(super) fn times(
    fields: &Fields<'_, '_>,
    usual: &Times,
    findings: &mut Findings<'_>,
) -> (Duration, Duration) {
    let given = fields.read("interval", findings, duration);
    let interval = given.map_or(usual.interval, |interval| interval.value);
    if let Some(span) = given
        .map(|given| given.span)
        .filter(|_| interval < usual.shortest)
    {
        let message = format!("`interval` of {interval:?} is too short");
        let label = format!("at least {:?}", usual.shortest);
        findings.error(span, Problem::new(message, label));
    }
    let Some(timeout) = fields.read("timeout", findings, duration) else {
        return (interval, interval.min(usual.timeout));
    };
    check_timeout(timeout.value, timeout.span, interval, findings);
    (interval, timeout.value)
}

fn check_timeout(timeout: Duration, span: Span, interval: Duration, findings: &mut Findings<'_>) {
    if timeout.is_zero() {
        let problem = Problem::new("`timeout` is zero", "no probe could be answered in time");
        findings.error(span, problem);
    } else if timeout > interval {
        let message =
            format!("`timeout` of {timeout:?} is longer than the interval of {interval:?}");
        let help = "a probe must be over before the next one is sent: \
                    shorten `timeout` or lengthen `interval`";
        findings.error(
            span,
            Problem::new(message, format!("at most {interval:?}")).help(help),
        );
    }
}
