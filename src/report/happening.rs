//! Something that happened in a daemon, once: a line of the log, an entry of `srsync events`, a row
//! of the page.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use serde::Serialize;

use crate::model::{Prefix, State, Timestamp};
use crate::plan::ReasonCode;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Happening {
    /// Counted from 1 since the daemon started.
    pub sequence: u64,
    /// When.
    pub time: Timestamp,
    /// What kind of thing.
    pub kind: HappeningKind,
    /// How bad it is.
    pub level: Level,
    /// A sentence for people that stands for itself.
    pub message: String,
    /// The route it is about.
    #[serde(flatten)]
    pub route: Option<RouteChange>,
    /// The file it is about, as a person would open it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Its line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Its column, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
}

/// The route that something happened to, before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteChange {
    /// Destination.
    pub prefix: Prefix,
    /// Name of the table.
    pub table: String,
    /// Metric, as the kernel shows it.
    pub metric: u32,
    /// The document that asks for it; `None` where none does any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// Where it led before (`via 10.0.0.1 dev eth0`), if it was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// Where it leads now, if it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
    /// Its state now; `None` where no document asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Why it is not `Installed`, for machines; the message says it in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<ReasonCode>,
    /// The gateways it leads to now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<IpAddr>,
}

/// What kind of thing happened. Public behaviour: names are only ever added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum HappeningKind {
    /// The daemon started.
    Started,
    /// The first complete pass is done.
    Ready,
    /// The daemon ends; the routes stay.
    Stopped,
    /// Config and sources were read again on demand.
    Reloaded,
    /// What the sources say changed.
    SourceChanged,
    /// A file or source cannot be used; what was last good stays.
    SourceInvalid,
    /// All sources are readable and valid again.
    SourceValid,
    /// Sources are polled, because they cannot be watched.
    Polling,
    /// A route was put into a free slot.
    RouteAdded,
    /// A route was changed in place.
    RouteReplaced,
    /// A route was taken over unchanged from another owner.
    RouteAdopted,
    /// A route was taken away, because no document asks for it any more.
    RouteRemoved,
    /// Somebody deleted or changed a route of ours; it is back.
    RouteRestored,
    /// A route is in another state than before.
    RouteState,
    /// Many routes changed: the numbers, in place of a line for each.
    RoutesChanged,
    /// A setting, a rule or a translation was put in place.
    EgressAdded,
    /// One was changed.
    EgressReplaced,
    /// One was taken away, because no document asks for it any more.
    EgressRemoved,
    /// Somebody undid one; it is back.
    EgressRestored,
    /// One is in another state than before.
    EgressState,
    /// Routes that nobody asks for are held back, or no longer.
    Removals,
    /// Somebody keeps undoing a route; it is restored less often.
    Contested,
    /// Nobody undoes it any more.
    Settled,
    /// A gateway does not work any more.
    GatewayDown,
    /// A gateway works.
    GatewayUp,
    /// Somebody drained a gateway, by hand or in a document.
    GatewayDrained,
    /// Somebody declared a gateway healthy.
    GatewayForcedUp,
    /// What somebody decided about a gateway is over.
    GatewayReleased,
    /// The traffic of a document goes another way.
    Failover,
    /// The node reaches none of its witnesses, or one again.
    Isolation,
    /// A target of a connectivity check is not as expected, or cannot be asked any more.
    CheckFailed,
    /// It is as expected again.
    CheckPassed,
    /// The labels of this node changed, or are known now.
    NodeLabels,
    /// Something does not work with the Kubernetes API, or works again.
    Kubernetes,
    /// The kernel told more than could be heard; everything was compared.
    Overflow,
    /// A pass could not be completed; it is tried again.
    PassFailed,
}

/// How bad it is: the level of the log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    /// Something failed.
    Error,
    /// A person should look.
    Warn,
    /// As it should be.
    Info,
    /// For who asks for details.
    Debug,
}

/// Displays it as one line: `12:03:11.123Z + added 192.0.2.0/24 …   office (routes.yaml:7)`.
#[derive(Debug, Clone, Copy)]
pub struct HappeningText<'a> {
    /// What happened.
    pub happening: &'a Happening,
    /// With the time of day, in UTC; a log has its own.
    pub time: bool,
}

impl fmt::Display for HappeningText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let happening = self.happening;
        if self.time {
            let moment = happening.time.to_string();
            let time = moment.split_once('T').map_or(&*moment, |(_, time)| time);
            write!(f, "{time} ")?;
        }
        write!(f, "{} ", happening.sign())?;
        one_line(f, &happening.message)?;
        // Many messages say it themselves.
        let place = happening.place();
        let place = place.filter(|place| !happening.message.contains(place.as_str()));
        let route = happening.route.as_ref();
        match (route.and_then(|route| route.document.as_deref()), &place) {
            (Some(document), Some(place)) => one_line(f, &format!("   {document} ({place})")),
            (Some(document), None) => one_line(f, &format!("   {document}")),
            (None, Some(place)) => one_line(f, &format!("   ({place})")),
            (None, None) => Ok(()),
        }
    }
}

impl Happening {
    /// The sign that reports put before a route that this happens to; `*` for what happens to the
    /// daemon, and `!` for what a person should look at.
    pub fn sign(&self) -> char {
        let route = self.route.as_ref();
        let differed = route.is_some_and(|route| route.old.is_some() && route.old != route.new);
        let state = route.and_then(|route| route.state);
        match self.kind {
            HappeningKind::RouteAdded | HappeningKind::EgressAdded => '+',
            HappeningKind::RouteReplaced | HappeningKind::EgressReplaced => '~',
            HappeningKind::EgressRestored => '~',
            HappeningKind::EgressRemoved => '-',
            HappeningKind::RouteAdopted => '^',
            HappeningKind::RouteRemoved => '-',
            HappeningKind::RouteRestored if differed => '~',
            HappeningKind::RouteRestored => '+',
            HappeningKind::RouteState if state == Some(State::Installed) => '=',
            HappeningKind::RouteState => '!',
            _ if self.level <= Level::Warn => '!',
            _ => '*',
        }
    }

    /// Where it has its cause, as a compiler would write it: `routes.yaml:7:3`.
    fn place(&self) -> Option<String> {
        let mut place = self.file.clone()?;
        for number in [self.line, self.column].into_iter().flatten() {
            let _ = write!(place, ":{number}");
        }
        Some(place)
    }
}

/// A file's name may hold anything, but whoever reads lines must be able to trust that each is one.
fn one_line(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for c in text.chars() {
        match c.is_control() {
            true => write!(f, "{}", c.escape_default())?,
            false => f.write_char(c)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn happening(kind: HappeningKind, message: &str) -> Happening {
        Happening {
            sequence: 1,
            time: Timestamp::from_millis(1_795_233_600_123),
            kind,
            level: Level::Info,
            message: message.to_owned(),
            route: None,
            file: None,
            line: None,
            column: None,
        }
    }

    fn text(happening: &Happening, time: bool) -> String {
        HappeningText { happening, time }.to_string()
    }

    #[test]
    fn a_route_is_shown_with_its_sign_and_who_asks_for_it() {
        let mut added = happening(HappeningKind::RouteAdded, "added 192.0.2.0/24");
        added.route = Some(RouteChange {
            prefix: "192.0.2.0/24".parse().unwrap(),
            table: "main".to_owned(),
            metric: 0,
            document: Some("office".to_owned()),
            old: None,
            new: Some("via 10.0.0.1 dev eth0".to_owned()),
            state: Some(State::Installed),
            reason: None,
            gateways: vec!["10.0.0.1".parse().unwrap()],
        });
        added.file = Some("routes.yaml".to_owned());
        added.line = Some(7);
        assert_eq!(
            text(&added, true),
            "04:00:00.123Z + added 192.0.2.0/24   office (routes.yaml:7)"
        );
        let sign = |kind, state, old: Option<&str>| {
            let mut changed = Happening {
                kind,
                ..added.clone()
            };
            if let Some(route) = &mut changed.route {
                route.state = state;
                route.old = old.map(str::to_owned);
            }
            changed.sign()
        };
        let (same, other) = (Some("via 10.0.0.1 dev eth0"), Some("via 10.0.0.9 dev eth0"));
        assert_eq!(sign(HappeningKind::RouteRestored, None, same), '+');
        assert_eq!(sign(HappeningKind::RouteRestored, None, other), '~');
        let back = sign(HappeningKind::RouteState, Some(State::Installed), None);
        assert_eq!(back, '=');
        let gone = sign(HappeningKind::RouteState, Some(State::Pending), None);
        assert_eq!(gone, '!');
    }

    #[test]
    fn what_happens_to_the_daemon_has_a_sign_by_how_bad_it_is() {
        let mut invalid = happening(HappeningKind::SourceInvalid, "unknown field `gatway`");
        assert_eq!(text(&invalid, false), "* unknown field `gatway`");
        invalid.level = Level::Error;
        invalid.file = Some("routes.yaml".to_owned());
        invalid.line = Some(7);
        invalid.column = Some(3);
        assert_eq!(
            text(&invalid, false),
            "! unknown field `gatway`   (routes.yaml:7:3)"
        );
        invalid.message = "routes.yaml:7:3: unknown field `gatway`".to_owned();
        assert_eq!(
            text(&invalid, false),
            "! routes.yaml:7:3: unknown field `gatway`"
        );
    }

    #[test]
    fn one_happening_is_one_line_whatever_its_names_hold() {
        let mut odd = happening(HappeningKind::SourceChanged, "a\nb\u{1b}[31m");
        odd.file = Some("c\rd".to_owned());
        assert_eq!(text(&odd, false), "* a\\nb\\u{1b}[31m   (c\\rd)");
    }
}
