//! The table of gateways that a person reads: in `srsync gateway list`, and in `srsync status`.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style as Paint};

use super::gateway::{GatewayHealth, GatewayList, GatewayStatus, Probing};
use super::running_text::brief;
use super::table::Table;
use super::text::{Detail, Style, colour, plural};
use crate::model::Timestamp;

/// Where there is nothing to say.
const NOTHING: &str = "-";

/// A column: its head, what it says of a gateway, and whether it is there only with `--wide`.
struct Column {
    head: &'static str,
    cell: fn(&GatewayStatus, Timestamp) -> Option<String>,
    wide: bool,
}

const fn always(
    head: &'static str,
    cell: fn(&GatewayStatus, Timestamp) -> Option<String>,
) -> Column {
    let wide = false;
    Column { head, cell, wide }
}

const fn wide(head: &'static str, cell: fn(&GatewayStatus, Timestamp) -> Option<String>) -> Column {
    let wide = true;
    Column { head, cell, wide }
}

const HEALTH: &str = "HEALTH";
const COLUMNS: [Column; 13] = [
    always("GATEWAY", |one, _| Some(one.gateway.clone())),
    always(HEALTH, |one, _| Some(one.health.name().to_owned())),
    always("SINCE", |one, now| Some(ago(now, one.since?))),
    always("LAST PROBE", |one, now| {
        let last = one.probing.as_ref()?.last.as_ref()?;
        Some(format!("{}: {}", ago(now, last.time), last.result))
    }),
    always("RTT", |one, _| {
        Some(took(one.probing.as_ref()?.round_trip?.last))
    }),
    wide("MIN/AVG/MAX", |one, _| {
        let trip = one.probing.as_ref()?.round_trip?;
        Some([trip.min, trip.average, trip.max].map(took).join(" / "))
    }),
    always("LOSS", |one, _| loss(one.probing.as_ref()?)),
    wide("CARRIES", |one, _| {
        Some(if one.carries { "yes" } else { "no" }.to_owned())
    }),
    always("ROUTES", |one, _| Some(one.routes.to_string())),
    wide("HOLD-DOWN", |one, _| Some(hold_down(one))),
    always("BY HAND", |one, _| by_hand(one)),
    wide("PROBED BY", |one, _| {
        let probes = one.probes.as_deref().unwrap_or("its link alone");
        Some(probes.to_owned())
    }),
    always("DOCUMENTS", |one, _| Some(one.documents.join(", "))),
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
        let columns: Vec<&Column> = COLUMNS
            .iter()
            .filter(|column| !column.wide || self.style.detail == Detail::Wide)
            .collect();
        let row = |one: &GatewayStatus| -> Vec<String> {
            let cell = |column: &&Column| (column.cell)(one, self.now);
            let cells = columns.iter().map(cell);
            cells
                .map(|cell| cell.unwrap_or_else(|| NOTHING.to_owned()))
                .collect()
        };
        let head: Vec<&str> = columns.iter().map(|column| column.head).collect();
        let rows: Vec<Vec<String>> = self.gateways.iter().map(row).collect();
        let table = Table::new(&head, &rows, self.style, self.indent);
        table.head(f)?;
        for (gateway, row) in self.gateways.iter().zip(&rows) {
            table.line(f, row, |column| match columns[column].head {
                HEALTH => health(gateway.health),
                _ => Paint::new(),
            })?;
            if let Some(cause) = &gateway.cause {
                writeln!(f, "{}    {cause}", self.indent)?;
            }
        }
        Ok(())
    }
}

fn health(health: GatewayHealth) -> Paint {
    match health {
        GatewayHealth::Up => colour(AnsiColor::Green),
        GatewayHealth::Unproven => Paint::new(),
        GatewayHealth::Down => colour(AnsiColor::Red),
    }
}

fn loss(probing: &Probing) -> Option<String> {
    (probing.recent > 0).then(|| format!("{} of {}", probing.recent_lost, probing.recent))
}

fn by_hand(gateway: &GatewayStatus) -> Option<String> {
    let will = gateway.will.name()?;
    Some(match &gateway.by_hand {
        None => will.to_owned(),
        Some(words) => format!("{will}: {words}"),
    })
}

fn hold_down(gateway: &GatewayStatus) -> String {
    let time = humantime::format_duration(gateway.hold_down);
    match gateway.flaps {
        0 => time.to_string(),
        flaps => format!("{time} ({})", plural(flaps as usize, "flap")),
    }
}

pub(super) fn ago(now: Timestamp, moment: Timestamp) -> String {
    format!("{} ago", brief(now.since(moment)))
}

/// A round trip, with as many digits as mean something: `0.42 ms`.
pub(super) fn took(time: Duration) -> String {
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
