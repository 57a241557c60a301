//! The gateways that somebody decided about: by hand through the socket, or in documents.
//!
//! Owns which decision is in force, when it ends, and what is told and answered about it. What is
//! done by hand goes before what documents say. What follows for traffic is for `gateways` to ask.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::drains::{self, Drain, Drains};
use super::gateways::Wills;
use super::journal::{News, Place};
use super::state::Daemon;
use super::store::Store;
use super::time;
use crate::gateway::Will;
use crate::model::document::Mode;
use crate::model::{
    Document, DocumentId, Family, FileName, GatewayOverride, Link, OverrideState, RouteAttrs,
    Timestamp,
};
use crate::plan::Verdict;
use crate::report::{HappeningKind, Level, OverrideStatus, Published, Trigger, plural};
use crate::source::Snapshot;
use crate::spec;
use crate::status::{Answer, Caller};

/// All decisions about gateways.
pub(super) struct Overrides {
    store: Store,
    by_hand: Drains,
    in_force: BTreeMap<IpAddr, InForce>,
    /// Those who decided something and wait for its pass.
    waiting: Vec<Waiting>,
}

/// A decision that counts now.
#[derive(Debug, Clone)]
struct InForce {
    state: OverrideState,
    until: Option<Timestamp>,
    who: Who,
    /// Where it is written, if it is.
    place: Place,
}

/// Who decided.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Who {
    /// A user, by hand, at this moment.
    User(u32, Timestamp),
    /// A document.
    Document(DocumentId),
}

/// Somebody who waits for the pass that follows from what he did.
struct Waiting {
    gateway: IpAddr,
    /// Whether it is drained now.
    drained: bool,
    /// What was done.
    said: String,
    /// Why it ends with the daemon, if it does.
    unsaved: Option<String>,
    answer: oneshot::Sender<Answer>,
}

impl Overrides {
    /// With what was drained by hand before the last daemon ended. The text says what of it is lost.
    pub(super) fn load(path: Option<PathBuf>) -> (Self, Option<String>) {
        let store = Store::new(path);
        let (by_hand, lost) = match drains::load(&store) {
            Ok(drains) => (drains, None),
            Err(lost) => (Drains::new(), Some(lost)),
        };
        let overrides = Self {
            store,
            by_hand,
            in_force: BTreeMap::new(),
            waiting: Vec::new(),
        };
        (overrides, lost)
    }

    /// What counts from now on. Returns what is new about that.
    fn update(&mut self, snapshot: &Snapshot, by: Option<&Caller>, now: Timestamp) -> Vec<News> {
        self.by_hand
            .retain(|_, drain| drain.until.is_none_or(|until| now < until));
        let declared = snapshot.overrides.iter();
        let declared = declared.filter(|one| one.is_in_force(now));
        let declared = declared.map(|one| (one.gateway, InForce::declared(one, &snapshot.files)));
        let mut in_force: BTreeMap<IpAddr, InForce> = declared.collect();
        // What is done by hand goes before.
        let by_hand = self.by_hand.values();
        in_force.extend(by_hand.map(|drain| (drain.gateway, InForce::by_hand(drain))));
        let before = std::mem::replace(&mut self.in_force, in_force);
        let after = &self.in_force;
        let named = named(&snapshot.documents);
        let gateways: BTreeSet<&IpAddr> = before.keys().chain(after.keys()).collect();
        let news = gateways.into_iter().filter_map(|gateway| {
            let change = (before.get(gateway), after.get(gateway));
            let (kind, what, place) = told(change, by, now)?;
            let (level, idle) = match change.1.is_some() && !named.contains(gateway) {
                true => (
                    Level::Warn,
                    "; no document names it, so that changes nothing",
                ),
                false => (Level::Info, ""),
            };
            let message = format!("gateway {gateway} {what}{idle}");
            Some(News::new(kind, level, message).at(place))
        });
        news.collect()
    }

    /// What is decided about each gateway.
    fn wills(&self) -> Wills {
        let will = |in_force: &InForce| match in_force.state {
            OverrideState::Drained => Will::Drained,
            OverrideState::ForcedUp => Will::ForcedUp,
        };
        let all = self.in_force.iter();
        all.map(|(gateway, in_force)| (*gateway, will(in_force)))
            .collect()
    }

    /// The same for people.
    pub(super) fn status(&self) -> Vec<OverrideStatus> {
        let status = |(gateway, in_force): (&IpAddr, &InForce)| OverrideStatus {
            gateway: gateway.to_string(),
            state: in_force.state.name(),
            by: in_force.by(),
            until: in_force.until,
        };
        self.in_force.iter().map(status).collect()
    }

    /// Who decided about a gateway, in words.
    pub(super) fn by(&self, gateway: IpAddr) -> Option<String> {
        self.in_force.get(&gateway).map(InForce::by)
    }

    /// When the next of them ends.
    fn next_end(&self) -> Option<Timestamp> {
        self.in_force.values().filter_map(|one| one.until).min()
    }

    /// The same for a loop that sleeps. The clock may be set meanwhile: see [`Self::is_due`].
    pub(super) fn next(&self, time: Timestamp, now: Instant) -> Option<Instant> {
        // Seconds too early do no harm, and moments of a distant future cannot be added.
        let wait = self.next_end()?.since(time).min(Duration::from_secs(3600));
        Some(now + wait)
    }

    /// Whether one of them has ended.
    pub(super) fn is_due(&self, time: Timestamp) -> bool {
        self.next_end().is_some_and(|end| end <= time)
    }
}

impl InForce {
    fn by_hand(drain: &Drain) -> Self {
        Self {
            state: OverrideState::Drained,
            until: drain.until,
            who: Who::User(drain.uid, drain.since),
            place: Place::default(),
        }
    }

    fn declared(one: &GatewayOverride, files: &[FileName]) -> Self {
        let file = files.get(one.place.file.0 as usize);
        Self {
            state: one.state,
            until: one.until,
            who: Who::Document(one.id.clone()),
            place: Place {
                file: file.map(|file| file.path.to_string()),
                line: Some(one.place.line),
                column: None,
            },
        }
    }

    /// Who says so: `user 1000`, or a document with its place.
    fn by(&self) -> String {
        match (&self.who, &self.place.file, self.place.line) {
            (Who::User(uid, _), ..) => format!("user {uid}"),
            (Who::Document(id), Some(file), Some(line)) => format!("`{id}` ({file}:{line})"),
            (Who::Document(id), ..) => format!("`{id}`"),
        }
    }

    /// The decision, to follow the name of a gateway.
    fn sentence(&self) -> String {
        let state = match self.state {
            OverrideState::Drained => "is drained by",
            OverrideState::ForcedUp => "counts as healthy, whatever its probes say, by",
        };
        let until = self.until.map(|until| format!(" until {until}"));
        format!("{state} {}{}", self.by(), until.unwrap_or_default())
    }

    /// The same, once it is over.
    fn no_longer(&self) -> &'static str {
        match self.state {
            OverrideState::Drained => "is no longer drained",
            OverrideState::ForcedUp => "is judged by its health again",
        }
    }

    /// Whether they are the same decision, wherever it is written now.
    fn is_same(&self, other: &Self) -> bool {
        let parts = |one: &Self| (one.state, one.until, one.who.clone());
        parts(self) == parts(other)
    }
}

/// The gateways that documents name.
fn named(documents: &[Document]) -> BTreeSet<IpAddr> {
    let gateways = documents.iter().flat_map(Document::gateways);
    gateways.map(|gateway| gateway.address).collect()
}

/// What is new about a gateway between two moments, if anything is, to follow its name.
fn told(
    change: (Option<&InForce>, Option<&InForce>),
    by: Option<&Caller>,
    now: Timestamp,
) -> Option<(HappeningKind, String, Place)> {
    let why_ended = |before: &InForce| match (&before.who, by) {
        _ if before.until.is_some_and(|until| until <= now) => "its time is over".to_owned(),
        (Who::User(..), Some(caller)) => format!("undrained by user {}", caller.uid),
        (Who::User(..), None) => "it was undrained".to_owned(),
        (Who::Document(_), _) => format!("{} no longer says so", before.by()),
    };
    Some(match change {
        (Some(before), Some(after)) if before.is_same(after) => return None,
        (before, Some(after)) => {
            let kind = match after.state {
                OverrideState::Drained => HappeningKind::GatewayDrained,
                OverrideState::ForcedUp => HappeningKind::GatewayForcedUp,
            };
            let ended = before.filter(|before| {
                let by_hand = |one: &InForce| matches!(one.who, Who::User(..));
                by_hand(before) && !by_hand(after)
            });
            let ended = ended.map(|before| format!("; {}", why_ended(before)));
            let what = format!("{}{}", after.sentence(), ended.unwrap_or_default());
            (kind, what, after.place.clone())
        }
        (Some(before), None) => {
            let what = format!("{}: {}", before.no_longer(), why_ended(before));
            (HappeningKind::GatewayReleased, what, before.place.clone())
        }
        (None, None) => return None,
    })
}

impl Daemon {
    /// Brings what is decided about gateways up to date, tells what is new, and steers by it at once.
    pub(super) fn update_overrides(&mut self, by: Option<&Caller>, now: Instant) {
        let news = self.overrides.update(&self.wanted.snapshot, by, time());
        if news.is_empty() {
            return;
        }
        news.into_iter().for_each(|news| self.tell(news));
        self.gateways.take_wills(self.overrides.wills());
        self.schedule.want_pass_now(Trigger::Gateways, now);
    }

    /// Somebody drains a gateway by hand.
    pub(super) fn drain(
        &mut self,
        (gateway, lasting): (IpAddr, Option<Duration>),
        by: &Caller,
        answer: oneshot::Sender<Answer>,
        now: Instant,
    ) {
        if let Err(unknown) = self.is_named(gateway) {
            // Who does not wait any more need not know.
            let _ = answer.send(Err(unknown));
            return;
        }
        let since = time();
        let drain = Drain {
            gateway,
            uid: by.uid,
            since,
            until: lasting.map(|lasting| since.after(lasting)),
        };
        let before = self.overrides.by_hand.insert(gateway, drain);
        let again = if before.is_some() { " again" } else { "" };
        let said = match drain.until {
            Some(until) => format!("gateway {gateway} is drained{again}, until {until}"),
            None => format!("gateway {gateway} is drained{again}"),
        };
        let waiting = Waiting {
            gateway,
            drained: true,
            said,
            unsaved: None,
            answer,
        };
        self.decided(waiting, by, now);
    }

    /// Somebody undoes that.
    pub(super) fn undrain(
        &mut self,
        gateway: IpAddr,
        by: &Caller,
        answer: oneshot::Sender<Answer>,
        now: Instant,
    ) {
        let declared = self.wanted.snapshot.overrides.iter().find(|one| {
            one.gateway == gateway && one.state == OverrideState::Drained && one.is_in_force(time())
        });
        let files = &self.wanted.snapshot.files;
        let declared = declared.map(|one| InForce::declared(one, files).by());
        let by_hand = self.overrides.by_hand.remove(&gateway).is_some();
        let drained = declared.is_some();
        let said = match (by_hand, declared) {
            (true, Some(document)) => format!(
                "gateway {gateway} is no longer drained by hand, but {document} drains it, too: \
                 remove or change that document"
            ),
            (true, None) => format!("gateway {gateway} is no longer drained"),
            (false, Some(document)) => {
                let why = format!(
                    "gateway {gateway} is drained by {document}, not by hand: remove or change that \
                     document"
                );
                let _ = answer.send(Err(why));
                return;
            }
            (false, None) => {
                let not_drained = format!("gateway {gateway} is not drained");
                let _ = answer.send(self.is_named(gateway).map(|()| not_drained));
                return;
            }
        };
        let waiting = Waiting {
            gateway,
            drained,
            said,
            unsaved: None,
            answer,
        };
        self.decided(waiting, by, now);
    }

    /// Keeps what was decided, and answers after the pass that follows from it.
    fn decided(&mut self, mut waiting: Waiting, by: &Caller, now: Instant) {
        waiting.unsaved = drains::save(&self.overrides.store, &self.overrides.by_hand).err();
        if let Some(why) = &waiting.unsaved {
            tracing::warn!("what is drained by hand ends with the daemon: {why}");
        }
        self.update_overrides(Some(by), now);
        // Also where nothing is new, somebody waits for a pass.
        self.schedule.want_pass_now(Trigger::Gateways, now);
        self.overrides.waiting.push(waiting);
    }

    /// Whether a document names this gateway.
    ///
    /// # Errors
    /// If none does: text that names those that there are.
    fn is_named(&self, gateway: IpAddr) -> Result<(), String> {
        let named = named(&self.wanted.snapshot.documents);
        if named.contains(&gateway) {
            return Ok(());
        }
        let others = spec::other_gateways(gateway, &named);
        let others =
            others.unwrap_or_else(|| "`srsync status -o wide` shows the routes".to_owned());
        Err(format!("no document names the gateway {gateway}; {others}"))
    }

    /// Answers those who decided something, after a pass.
    pub(super) fn answer_overrides(&mut self) {
        let last = self.running.last_pass.as_ref();
        let failed = last.and_then(|pass| pass.error.as_ref());
        for waiting in std::mem::take(&mut self.overrides.waiting) {
            let said = &waiting.said;
            let answered = match failed {
                Some(error) => Err(format!("{said}; the routes follow later: {error}")),
                None => Ok(said.clone() + &consequences(&waiting, &self.published)),
            };
            // Who does not wait any more need not know.
            let _ = waiting.answer.send(answered);
        }
    }
}

/// What became of the routes of each document that names the gateway, a line for each; and what will
/// not become of the decision.
fn consequences(waiting: &Waiting, published: &Published) -> String {
    let gateway = waiting.gateway;
    let pass = &published.pass;
    let mut ways: BTreeMap<(usize, String), usize> = BTreeMap::new();
    for row in &pass.plan.rows {
        let Some(claim) = &row.claim else { continue };
        let index = claim.document as usize;
        let Some(document) = published.documents.get(index) else {
            continue;
        };
        let mut gateways = document.gateways().iter();
        let names_it = gateways.any(|named| named.address == gateway);
        if names_it && row.key.prefix.family() == Family::of(&gateway) {
            let way = fate(&row.verdict, document, waiting, &pass.links);
            *ways.entry((index, way)).or_default() += 1;
        }
    }
    let mut text = String::new();
    for ((index, way), count) in &ways {
        let id = published.documents.get(*index).map(|document| &document.id);
        let id = id.map(ToString::to_string).unwrap_or_default();
        text += &format!("\n  {id}: {} {way}", plural(*count, "route"));
    }
    if ways.is_empty() {
        text += "\n  no route of this node leads there";
    }
    if let Some(why) = &waiting.unsaved {
        text += &format!("\n  this ends with the daemon, even at a restart: {why}");
    }
    text
}

/// Where a route leads now, in words that follow a number of routes.
fn fate(verdict: &Verdict, document: &Document, waiting: &Waiting, links: &[Link]) -> String {
    let attrs = match verdict {
        Verdict::Keep(attrs) | Verdict::Add(attrs) | Verdict::Adopt { attrs, .. } => attrs,
        Verdict::Replace { to, .. } => to,
        Verdict::Blocked(blocked) | Verdict::Withdraw { blocked, .. } => {
            return format!("{}: {}", blocked.state, blocked.reason);
        }
        Verdict::Remove(_) => return "removed".to_owned(),
    };
    let mut hops = attrs.hops().iter();
    let by_it = hops.any(|hop| hop.via == Some(waiting.gateway));
    let way = way(attrs, links);
    let preempts = document
        .choice()
        .is_some_and(|gateways| gateways.preempt || gateways.mode == Mode::Ecmp);
    match (by_it, waiting.drained) {
        (true, true) => format!(
            "still {way}: no other gateway is known to work, and it stays in use until one does"
        ),
        (true, false) | (false, true) => format!("now {way}"),
        (false, false) if preempts => {
            format!("still {way}: to a gateway that comes first it returns after its hold-down")
        }
        (false, false) => format!("still {way}"),
    }
}

/// `via 10.0.2.2 dev eth1`, or several of these.
fn way(attrs: &RouteAttrs, links: &[Link]) -> String {
    let hop = |hop: &crate::model::NextHop| {
        let via = hop.via.map(|via| format!("via {via}"));
        let link = links.iter().find(|link| Some(link.index) == hop.link);
        let link = link.map(|link| format!("dev {}", link.name));
        let parts: Vec<String> = via.into_iter().chain(link).collect();
        parts.join(" ")
    };
    let hops: Vec<String> = attrs.hops().iter().map(hop).collect();
    match hops.is_empty() {
        true => attrs.kind.name().to_owned(),
        false => hops.join(" and "),
    }
}
