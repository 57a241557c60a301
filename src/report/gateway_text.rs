//! The table of gateways that a person reads: in `srsync gateway list`, and in `srsync status`.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style as Paint};

use super::gateway::{GatewayHealth, GatewayList, GatewayStatus, Probing};
use super::running_text::brief;
use super::text::{Detail, Style, colour, plural};
use crate::model::Timestamp;

/// Where there is nothing to say.
const NOTHING: &str = "-";
const SHORT: [&str; 9] = [
    "GATEWAY",
    "HEALTH",
    "SINCE",
    "LAST PROBE",
    "RTT",
    "LOSS",
    "ROUTES",
    "BY HAND",
    "DOCUMENTS",
];
const WIDE: [&str; 13] = [
    "GATEWAY",
    "HEALTH",
    "SINCE",
    "LAST PROBE",
    "RTT",
    "MIN/AVG/MAX",
    "LOSS",
    "CARRIES",
    "ROUTES",
    "HOLD-DOWN",
    "BY HAND",
    "PROBED BY",
    "DOCUMENTS",
];

impl GatewayList<'_> {
    /// Writes the list as text.
    pub fn write_text(&self, out: &mut dyn Write, style: Style) -> io::Result<()> {
        if self.gateways.is_empty() {
            return writeln!(
                out,
                "No gateway is watched: no document that is in force here has a healthCheck."
            );
        }
        let table = GatewayTable {
            gateways: self.gateways,
            now: self.now,
            style,
            indent: "",
        };
        write!(out, "{table}")?;
        if self.isolated {
            let head = style.paint(colour(AnsiColor::Red), "Isolated:");
            writeln!(
                out,
                "{head} no witness answers; nothing is switched until one does"
            )?;
        }
        if let Some(last) = self.last_switch {
            let times = usize::try_from(self.failovers).unwrap_or(usize::MAX);
            let (ago, times) = (ago(self.now, last), plural(times, "failover"));
            writeln!(out, "Last switch {ago}; {times} since the daemon started.")?;
        }
        Ok(())
    }
}

/// Displays gateways, one a line, and beneath it what is wrong with it.
pub(super) struct GatewayTable<'a> {
    pub(super) gateways: &'a [GatewayStatus],
    /// Ages count back from then.
    pub(super) now: Timestamp,
    pub(super) style: Style,
    pub(super) indent: &'a str,
}

impl fmt::Display for GatewayTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head: &[&str] = match self.style.detail {
            Detail::Short => &SHORT,
            Detail::Wide => &WIDE,
        };
        let rows: Vec<Vec<String>> = self.gateways.iter().map(|one| self.cells(one)).collect();
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            let head = head.get(column).map_or(0, |head| head.len());
            cells
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
                .max(head)
        };
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let head = head
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>();
        self.line(f, &head, &widths, |_| Paint::new())?;
        for (gateway, row) in self.gateways.iter().zip(&rows) {
            self.line(f, row, &widths, |column| match column {
                1 => health(gateway.health),
                _ => Paint::new(),
            })?;
            if let Some(cause) = &gateway.cause {
                writeln!(f, "{}    {cause}", self.indent)?;
            }
        }
        Ok(())
    }
}

impl GatewayTable<'_> {
    fn line(
        &self,
        f: &mut fmt::Formatter<'_>,
        cells: &[String],
        widths: &[usize],
        paint: impl Fn(usize) -> Paint,
    ) -> fmt::Result {
        f.write_str(self.indent)?;
        for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
            let last = column + 1 == cells.len();
            let padded = match last {
                true => cell.clone(),
                false => format!("{cell:width$}   "),
            };
            match paint(column) {
                plain if plain == Paint::new() => f.write_str(&padded)?,
                paint => f.write_str(&self.style.paint(paint, &padded))?,
            }
        }
        writeln!(f)
    }

    fn cells(&self, gateway: &GatewayStatus) -> Vec<String> {
        let nothing = || NOTHING.to_owned();
        let probing = gateway.probing.as_ref();
        let last = probing.and_then(|probing| probing.last.as_ref());
        let trip = probing.and_then(|probing| probing.round_trip);
        let mut cells = vec![
            gateway.gateway.clone(),
            gateway.health.name().to_owned(),
            gateway
                .since
                .map_or_else(nothing, |since| ago(self.now, since)),
            last.map_or_else(nothing, |last| {
                format!("{}: {}", ago(self.now, last.time), last.result)
            }),
            trip.map_or_else(nothing, |trip| took(trip.last)),
            probing.map_or_else(nothing, loss),
            gateway.routes.to_string(),
            by_hand(gateway),
            gateway.documents.join(", "),
        ];
        if self.style.detail == Detail::Wide {
            let three = trip.map_or_else(nothing, |trip| {
                [trip.min, trip.average, trip.max].map(took).join(" / ")
            });
            let carries = if gateway.carries { "yes" } else { "no" };
            cells.insert(5, three);
            cells.insert(7, carries.to_owned());
            cells.insert(9, hold_down(gateway));
            cells.insert(
                11,
                gateway
                    .probes
                    .clone()
                    .unwrap_or_else(|| "its link alone".to_owned()),
            );
        }
        cells
    }
}

fn health(health: GatewayHealth) -> Paint {
    match health {
        GatewayHealth::Up => colour(AnsiColor::Green),
        GatewayHealth::Unproven => Paint::new(),
        GatewayHealth::Down => colour(AnsiColor::Red),
    }
}

fn loss(probing: &Probing) -> String {
    match probing.recent {
        0 => NOTHING.to_owned(),
        recent => format!("{} of {recent}", probing.recent_lost),
    }
}

fn by_hand(gateway: &GatewayStatus) -> String {
    match (gateway.will.name(), &gateway.by_hand) {
        (None, _) => NOTHING.to_owned(),
        (Some(will), None) => will.to_owned(),
        (Some(will), Some(words)) => format!("{will}: {words}"),
    }
}

fn hold_down(gateway: &GatewayStatus) -> String {
    let time = humantime::format_duration(gateway.hold_down);
    match gateway.flaps {
        0 => time.to_string(),
        flaps => format!("{time} ({})", plural(flaps as usize, "flap")),
    }
}

fn ago(now: Timestamp, moment: Timestamp) -> String {
    format!("{} ago", brief(now.since(moment)))
}

/// A round trip, with as many digits as mean something: `0.42 ms`.
fn took(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1000.0;
    match time.as_millis() {
        0..10 => format!("{millis:.2} ms"),
        10..1000 => format!("{millis:.0} ms"),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_are_as_exact_as_they_are_short() {
        assert_eq!(took(Duration::from_micros(87)), "0.09 ms");
        assert_eq!(took(Duration::from_micros(1_234)), "1.23 ms");
        assert_eq!(took(Duration::from_micros(23_456)), "23 ms");
        assert_eq!(took(Duration::from_millis(1_250)), "1.2 s");
    }
}
