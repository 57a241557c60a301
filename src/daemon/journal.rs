//! What happened, told once to everybody: the log, `srsync events`, the page.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::broadcast;

use crate::model::Timestamp;
use crate::report::{Happening, HappeningKind, Level, RouteChange};

/// How many happenings are remembered.
const REMEMBERED: usize = 200;

/// Something to be told.
#[derive(Debug, Clone)]
pub(super) struct News {
    kind: HappeningKind,
    level: Level,
    message: String,
    route: Option<RouteChange>,
    place: Place,
}

/// A place in a file, as far as it is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    pub(super) file: Option<String>,
    pub(super) line: Option<u32>,
    pub(super) column: Option<u32>,
}

impl News {
    pub(super) fn new(kind: HappeningKind, level: Level, message: impl Into<String>) -> Self {
        Self {
            kind,
            level,
            message: message.into(),
            route: None,
            place: Place::default(),
        }
    }

    pub(super) fn route(self, route: RouteChange) -> Self {
        let route = Some(route);
        Self { route, ..self }
    }

    pub(super) fn at(self, place: Place) -> Self {
        Self { place, ..self }
    }
}

/// Numbers what happened, remembers the last of it, and tells it.
#[derive(Debug)]
pub(super) struct Journal {
    told: u64,
    recent: VecDeque<Arc<Happening>>,
    listeners: broadcast::Sender<Arc<Happening>>,
}

impl Journal {
    pub(super) fn new(listeners: broadcast::Sender<Arc<Happening>>) -> Self {
        Self {
            told: 0,
            recent: VecDeque::with_capacity(REMEMBERED),
            listeners,
        }
    }

    /// Tells it to everybody.
    pub(super) fn tell(&mut self, news: News, time: Timestamp) {
        self.told += 1;
        let happening = news.happening(self.told, time);
        log(&happening);
        let happening = Arc::new(happening);
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(happening.clone());
        // Nobody may be listening.
        let _ = self.listeners.send(happening);
    }

    /// Writes it to the log alone, for who reads that closely.
    pub(super) fn detail(&self, news: News, time: Timestamp) {
        let detail = News {
            level: Level::Debug,
            ..news
        };
        log(&detail.happening(self.told, time));
    }

    /// The last happenings, oldest first.
    pub(super) fn recent(&self) -> Vec<Arc<Happening>> {
        self.recent.iter().cloned().collect()
    }
}

impl News {
    fn happening(self, sequence: u64, time: Timestamp) -> Happening {
        Happening {
            sequence,
            time,
            kind: self.kind,
            level: self.level,
            message: self.message,
            route: self.route,
            file: self.place.file,
            line: self.place.line,
            column: self.place.column,
        }
    }
}

/// One line of the log. The message says everything; the fields say it to programs.
fn log(happening: &Happening) {
    macro_rules! line {
        ($level:expr) => {{
            let route = happening.route.as_ref();
            tracing::event!(
                $level,
                kind = ?happening.kind,
                document = route.and_then(|route| route.document.as_deref()),
                file = happening.file.as_deref(),
                line = happening.line,
                column = happening.column,
                prefix = route.map(|route| tracing::field::display(&route.prefix)),
                table = route.map(|route| route.table.as_str()),
                metric = route.map(|route| route.metric),
                old = route.and_then(|route| route.old.as_deref()),
                new = route.and_then(|route| route.new.as_deref()),
                state = route.and_then(|route| route.state).map(|state| state.name()),
                "{}",
                happening.message
            )
        }};
    }
    match happening.level {
        Level::Error => line!(tracing::Level::ERROR),
        Level::Warn => line!(tracing::Level::WARN),
        Level::Info => line!(tracing::Level::INFO),
        Level::Debug => line!(tracing::Level::DEBUG),
    }
}
