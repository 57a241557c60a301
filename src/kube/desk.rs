//! What is wrong with the API at the moment, and what of it is news.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

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
}

impl Concern {
    fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Labels => "node labels",
        }
    }
}

/// Where all that works and fails is told.
pub(super) struct Desk<'a> {
    tell: &'a dyn Fn(News),
    board: RefCell<Board>,
}

impl<'a> Desk<'a> {
    pub(super) fn new(tell: &'a dyn Fn(News)) -> Self {
        let board = RefCell::default();
        Self { tell, board }
    }

    pub(super) fn tell(&self, news: News) {
        (self.tell)(news);
    }

    /// It works.
    pub(super) fn worked(&self, concern: Concern) {
        let change = |board: &mut Board| board.worked(concern, now());
        self.change(change);
    }

    /// It does not.
    pub(super) fn failed(&self, concern: Concern, trouble: &Trouble, purpose: &Purpose) {
        tracing::debug!("{}: {trouble:?}", concern.name());
        self.change(|board| board.failed(concern, trouble, purpose, now()));
    }

    fn change(&self, change: impl FnOnce(&mut Board) -> Vec<Said>) {
        let (news, status) = {
            let mut board = self.board.borrow_mut();
            let before = board.status();
            let said = change(&mut board);
            let status = board.status();
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
    troubles: BTreeMap<Concern, (Kind, KubernetesTrouble)>,
}

impl Board {
    fn worked(&mut self, concern: Concern, now: Timestamp) -> Vec<Said> {
        let mut said = self.answered(now);
        if self.troubles.remove(&concern).is_some() {
            said.push(Said {
                level: Level::Info,
                message: format!("Kubernetes: {} work again", concern.name()),
            });
        }
        said
    }

    fn failed(
        &mut self,
        concern: Concern,
        trouble: &Trouble,
        purpose: &Purpose,
        now: Timestamp,
    ) -> Vec<Said> {
        let of_all = trouble.is_of_the_connection();
        let concern = if of_all { Concern::Connection } else { concern };
        let mut said = match of_all {
            true => {
                self.connection_is(false, now);
                Vec::new()
            }
            false => self.answered(now),
        };
        let before = self.troubles.get(&concern);
        let since = before.map_or(now, |(_, trouble)| trouble.since);
        let is_news = before.is_none_or(|(kind, _)| *kind != trouble.kind);
        if is_news {
            let message = trouble.sentence(purpose);
            let level = match trouble.kind {
                Kind::Gone | Kind::Conflict => Level::Info,
                _ => Level::Warn,
            };
            let shown = KubernetesTrouble {
                about: concern.name(),
                message: message.clone(),
                since,
            };
            self.troubles.insert(concern, (trouble.kind, shown));
            said.push(Said { level, message });
        }
        said
    }

    /// Whatever the answer was, there was one.
    fn answered(&mut self, now: Timestamp) -> Vec<Said> {
        self.connection_is(true, now);
        let over = self.troubles.remove(&Concern::Connection);
        let said = over.map(|_| Said {
            level: Level::Info,
            message: "the Kubernetes API answers again".to_owned(),
        });
        said.into_iter().collect()
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
            troubles: troubles.map(|(_, trouble)| trouble.clone()).collect(),
        })
    }
}

/// The time of day.
fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purpose() -> Purpose {
        Purpose {
            verb: "get",
            group: "",
            resource: "nodes",
            name: "worker-1".to_owned(),
            verbs: "get, watch",
            missing: "nothing",
        }
    }

    fn said(said: Vec<Said>) -> Vec<String> {
        let words = |said: Said| said.message.split(" (").next().unwrap().to_owned();
        said.into_iter().map(words).collect()
    }

    #[test]
    fn trouble_is_said_when_it_begins_when_it_changes_and_when_it_is_over() {
        let mut board = Board::default();
        let at = Timestamp::from_millis;
        let fail = |board: &mut Board, code: u16, time| {
            let trouble = Trouble::of_answer(code, "because", None);
            said(board.failed(Concern::Labels, &trouble, &purpose(), at(time)))
        };
        assert_eq!(
            fail(&mut board, 403, 1),
            ["RBAC denies `get nodes worker-1`"]
        );
        assert_eq!(fail(&mut board, 403, 2), [""; 0]);
        assert_eq!(
            fail(&mut board, 401, 3),
            ["the Kubernetes API does not accept who asks"]
        );
        assert_eq!(fail(&mut board, 401, 4), [""; 0]);
        let status = board.status().unwrap();
        assert_eq!((status.connected, status.since), (false, at(3)));
        assert_eq!(status.troubles.len(), 2);
        // The old trouble is still there: that is no news.
        assert_eq!(
            fail(&mut board, 403, 5),
            ["the Kubernetes API answers again"]
        );
        let over = said(board.worked(Concern::Labels, at(6)));
        assert_eq!(over, ["Kubernetes: node labels work again"]);
        assert_eq!(said(board.worked(Concern::Labels, at(7))), [""; 0]);
        let status = board.status().unwrap();
        assert_eq!((status.connected, status.since), (true, at(5)));
        assert!(status.troubles.is_empty());
    }
}
