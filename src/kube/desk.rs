//! What is wrong with the API at the moment, and what of it is news.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::collection::Collection;
use super::trouble::Purpose;
use super::{Kind, News, Said, Trouble};
use crate::model::Timestamp;
use crate::report::{KubernetesStatus, KubernetesTrouble, Level};

/// What the API is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Concern {
    /// Anything at all.
    Connection,
    /// The labels of this node.
    Labels,
    /// What became of documents, on the objects of this kind and group.
    Mirror(&'static str, &'static str),
    /// Events.
    Events,
    /// Objects that are read like documents.
    Objects(Collection),
    /// Objects that somebody deletes, and that wait for this node.
    Finalizers,
}

impl Concern {
    fn name(self) -> String {
        match self {
            Self::Connection => "connection".to_owned(),
            Self::Labels => "node labels".to_owned(),
            Self::Events => "events".to_owned(),
            Self::Mirror(resource, group) => format!("status of {resource}.{group}"),
            Self::Finalizers => "deleted objects".to_owned(),
            Self::Objects(collection) => format!("objects of {collection}"),
        }
    }
}

/// Trouble that has not come back for so long is over. A server that starts or ends works and fails by
/// turns, and nobody wants to hear each of them.
const CALM: Duration = Duration::from_secs(5);

/// Where all that works and fails is told.
pub(super) struct Desk<'a> {
    tell: &'a dyn Fn(News),
    board: RefCell<Board>,
    /// Something works that did not.
    calmer: Notify,
    /// How often something was told of objects.
    objects: Cell<u64>,
}

impl<'a> Desk<'a> {
    pub(super) fn new(tell: &'a dyn Fn(News)) -> Self {
        Self {
            tell,
            board: RefCell::default(),
            calmer: Notify::new(),
            objects: Cell::new(0),
        }
    }

    /// How often something was told of objects.
    pub(super) fn objects(&self) -> u64 {
        self.objects.get()
    }

    /// Says, for ever, what is over.
    pub(super) async fn say_what_is_over(&self) {
        loop {
            self.calmer.notified().await;
            sleep(CALM).await;
            self.change(|board| board.settle(Instant::now()));
        }
    }

    pub(super) fn tell(&self, news: News) {
        if matches!(news, News::Objects(..)) {
            self.objects.set(self.objects.get() + 1);
        }
        (self.tell)(news);
    }

    /// It works.
    pub(super) fn worked(&self, concern: Concern) {
        self.change(|board| {
            board.worked(concern, Instant::now(), now());
            Vec::new()
        });
    }

    /// It works, and there is more to say.
    pub(super) fn worked_and(&self, concern: Concern, message: String) {
        self.change(|board| {
            board.worked(concern, Instant::now(), now());
            let level = Level::Info;
            vec![Said { level, message }]
        });
    }

    /// It does not.
    pub(super) fn failed(&self, concern: Concern, trouble: &Trouble, purpose: &Purpose) {
        tracing::debug!("{}: {trouble:?}", concern.name());
        self.change(|board| {
            if !trouble.is_of_the_connection() {
                board.worked(Concern::Connection, Instant::now(), now());
            }
            board.failed(concern, (trouble, purpose), now())
        });
    }

    fn change(&self, change: impl FnOnce(&mut Board) -> Vec<Said>) {
        let (news, status) = {
            let mut board = self.board.borrow_mut();
            let before = board.status();
            let said = change(&mut board);
            let status = board.status();
            if board.is_calming() {
                self.calmer.notify_one();
            }
            let is_news = status != before;
            ((is_news || !said.is_empty()).then_some(said), status)
        };
        if let (Some(said), Some(status)) = (news, status) {
            self.tell(News::Standing(status, said));
        }
    }
}

/// What is wrong. Pure.
#[derive(Debug, Default)]
struct Board {
    /// Since when the API answers, or does not.
    connected: Option<(bool, Timestamp)>,
    troubles: BTreeMap<Concern, Known>,
}

/// Trouble that was told.
#[derive(Debug)]
struct Known {
    kind: Kind,
    shown: KubernetesTrouble,
    /// Since when it works after all.
    calm: Option<Instant>,
}

impl Board {
    fn worked(&mut self, concern: Concern, at: Instant, now: Timestamp) {
        self.connection_is(true, now);
        for concern in [Concern::Connection, concern] {
            if let Some(known) = self.troubles.get_mut(&concern) {
                known.calm.get_or_insert(at);
            }
        }
    }

    fn failed(
        &mut self,
        concern: Concern,
        (trouble, purpose): (&Trouble, &Purpose),
        now: Timestamp,
    ) -> Vec<Said> {
        let of_all = trouble.is_of_the_connection();
        if of_all {
            self.connection_is(false, now);
        }
        let concern = if of_all { Concern::Connection } else { concern };
        if let Some(known) = self.troubles.get_mut(&concern)
            && known.kind == trouble.kind
        {
            known.calm = None;
            return Vec::new();
        }
        let message = trouble.sentence(purpose);
        let since = self.troubles.get(&concern).map(|known| known.shown.since);
        let shown = KubernetesTrouble {
            about: concern.name(),
            message: message.clone(),
            since: since.unwrap_or(now),
        };
        let known = Known {
            kind: trouble.kind,
            shown,
            calm: None,
        };
        self.troubles.insert(concern, known);
        let level = match trouble.kind {
            Kind::Gone | Kind::Conflict => Level::Info,
            _ => Level::Warn,
        };
        vec![Said { level, message }]
    }

    fn is_calming(&self) -> bool {
        self.troubles.values().any(|known| known.calm.is_some())
    }

    /// What has been calm for long enough is over.
    fn settle(&mut self, at: Instant) -> Vec<Said> {
        let is_over = |known: &Known| {
            let calm = known.calm.map(|since| at.saturating_duration_since(since));
            calm.is_some_and(|calm| calm >= CALM)
        };
        let over = self.troubles.extract_if(.., |_, known| is_over(known));
        let said = over.map(|(concern, _)| Said {
            level: Level::Info,
            message: match concern {
                Concern::Connection => "the Kubernetes API answers again".to_owned(),
                other => format!("Kubernetes: the trouble with {} is over", other.name()),
            },
        });
        said.collect()
    }

    fn connection_is(&mut self, connected: bool, now: Timestamp) {
        if self.connected.is_none_or(|(was, _)| was != connected) {
            self.connected = Some((connected, now));
        }
    }

    fn status(&self) -> Option<KubernetesStatus> {
        let (connected, since) = self.connected?;
        let troubles = self.troubles.values();
        Some(KubernetesStatus {
            connected,
            since,
            troubles: troubles.map(|known| known.shown.clone()).collect(),
        })
    }
}

/// The time of day.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purpose() -> Purpose {
        Purpose::of_node("get", "worker-1")
    }

    fn said(said: Vec<Said>) -> Vec<String> {
        let words = |said: Said| said.message.split(" (").next().unwrap().to_owned();
        said.into_iter().map(words).collect()
    }

    #[test]
    fn trouble_is_said_when_it_begins_when_it_changes_and_once_it_is_over_for_good() {
        let mut board = Board::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let time = |seconds: u64| Timestamp::from_millis(seconds * 1000);
        let fail = |board: &mut Board, code: u16, seconds| {
            let trouble = Trouble::of_answer(code, "because", None);
            said(board.failed(Concern::Labels, (&trouble, &purpose()), time(seconds)))
        };
        let denied = ["RBAC denies `get nodes worker-1`"];
        assert_eq!(fail(&mut board, 403, 1), denied);
        assert_eq!(fail(&mut board, 403, 2), [""; 0]);
        let refused = ["the Kubernetes API does not accept who asks"];
        assert_eq!(fail(&mut board, 401, 3), refused);
        assert_eq!(fail(&mut board, 401, 4), [""; 0]);
        let status = board.status().unwrap();
        assert_eq!((status.connected, status.since), (false, time(3)));
        assert_eq!(status.troubles.len(), 2);
        // It works for a moment: that is too early to say so.
        board.worked(Concern::Labels, at(10), time(10));
        assert_eq!(said(board.settle(at(14))), [""; 0]);
        assert_eq!(fail(&mut board, 401, 14), [""; 0]);
        assert_eq!(said(board.settle(at(20))).len(), 1);
        board.worked(Concern::Labels, at(21), time(21));
        board.worked(Concern::Labels, at(25), time(25));
        assert_eq!(
            said(board.settle(at(26))),
            ["the Kubernetes API answers again"]
        );
        assert!(!board.is_calming());
        let status = board.status().unwrap();
        assert_eq!((status.connected, status.since), (true, time(21)));
        assert!(status.troubles.is_empty());
    }
}
