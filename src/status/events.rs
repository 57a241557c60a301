//! What happened and what happens, each in a line: as JSON, or as text.
//!
//! Two ways lead here: every happening comes by itself as it happens, and each copy of the daemon
//! that is published has the recent ones. Neither has all: a copy comes a moment later, and who
//! listens has not heard what was before. Numbers put both together, so that a reader misses none
//! and hears none twice; what is lost because the reader was too slow is counted.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use serde::Serialize;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;

use super::Feed;
use super::body::{Body, Gone, Sender, parts};
use super::query::Query;
use crate::report::{Happening, HappeningText, Published};

/// The names of its query.
pub(super) const NAMES: [&str; 4] = ["output", "since", "tail", "follow"];

/// A happening is heard at most so much earlier than it is published: the longest pass.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(5);

/// What a reader wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    from: From,
    /// What is still to come, too.
    follow: bool,
    form: Form,
}

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    /// All recent ones.
    Recent,
    /// What is after this number.
    After(u64),
    /// So many recent ones.
    Tail(u64),
}

impl Wanted {
    /// As the query says.
    pub(super) fn of(query: Option<&str>) -> Result<Self, String> {
        let query = Query::parse(query, &NAMES)?;
        let from = match (query.number("since")?, query.number("tail")?) {
            (Some(_), Some(_)) => return Err("either `since` or `tail`, not both".to_owned()),
            (Some(sequence), None) => From::After(sequence),
            (None, Some(count)) => From::Tail(count),
            (None, None) => From::Recent,
        };
        let form = match query.text("output") {
            None | Some("json") => Form::Json,
            Some("text") => Form::Text,
            Some(other) => return Err(format!("`output` must be json or text, not `{other}`")),
        };
        let follow = query.switch("follow", true)?;
        Ok(Self { from, follow, form })
    }

    /// The media type of the answer.
    pub(super) fn content_type(self) -> &'static str {
        match self.form {
            Form::Json => "application/x-ndjson",
            Form::Text => "text/plain; charset=utf-8",
        }
    }
}

/// Sends what is wanted; `held` is kept for as long.
pub(super) fn stream(feed: &Feed, wanted: Wanted, held: impl Send + 'static) -> Body {
    // Listens first and looks back then: what happens in between comes both ways, not neither.
    let mut heard = feed.happenings.subscribe();
    let mut published = feed.published.clone();
    let last = before(wanted.from, &published.borrow_and_update());
    let (sender, body) = parts();
    tokio::spawn(async move {
        let mut reader = Reader {
            published,
            sender,
            form: wanted.form,
            last,
        };
        let told = reader.recent(u64::MAX).await;
        if told.is_ok() && wanted.follow {
            // It ends in order, unless it is the reader who went away.
            if reader.follow(&mut heard).await == Err(Gone) {
                return;
            }
        }
        reader.sender.end().await;
        drop(held);
    });
    body
}

/// The number after which to begin.
fn before(from: From, published: &Published) -> u64 {
    let recent = &published.running.recent;
    let oldest = recent
        .first()
        .map_or(0, |first| first.sequence.saturating_sub(1));
    let newest = recent.last().map_or(0, |last| last.sequence);
    match from {
        From::Recent => oldest,
        From::Tail(count) => newest.saturating_sub(count).max(oldest),
        // A number that was not reached yet is that of a daemon before this one.
        From::After(sequence) if sequence > newest => oldest,
        From::After(sequence) => sequence,
    }
}

/// Somebody who is told everything once.
struct Reader {
    published: watch::Receiver<Arc<Published>>,
    sender: Sender,
    form: Form,
    /// The number up to which everything was told.
    last: u64,
}

/// Stands where happenings were lost.
#[derive(Serialize)]
struct Lost {
    kind: &'static str,
    count: u64,
}

impl Reader {
    /// Tells what happens, until the daemon ends.
    async fn follow(
        &mut self,
        heard: &mut broadcast::Receiver<Arc<Happening>>,
    ) -> Result<(), Gone> {
        loop {
            tokio::select! {
                () = self.sender.gone() => return Err(Gone),
                changed = self.published.changed() => match changed {
                    Ok(()) => self.contiguous().await?,
                    Err(_) => return Ok(()),
                },
                happening = heard.recv() => match happening {
                    Ok(happening) => {
                        self.catch_up(happening.sequence).await?;
                        self.tell(&happening).await?;
                    }
                    // The next one that is heard shows by its number what is missing.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Ok(()),
                },
            }
        }
    }

    /// Tells what is missing before this number. It may still have to be published: then it
    /// happened just before this reader came.
    async fn catch_up(&mut self, before: u64) -> Result<(), Gone> {
        let deadline = tokio::time::Instant::now() + PUBLISHED_WITHIN;
        self.contiguous().await?;
        while self.last + 1 < before && self.newest() + 1 < before {
            tokio::select! {
                () = self.sender.gone() => return Err(Gone),
                changed = self.published.changed() => if changed.is_err() { break },
                () = tokio::time::sleep_until(deadline) => break,
            }
            self.contiguous().await?;
        }
        self.recent(before).await?;
        self.lost(before).await
    }

    /// The newest number that is published.
    fn newest(&self) -> u64 {
        let published = self.published.borrow();
        let newest = published.running.recent.last();
        newest.map_or(0, |newest| newest.sequence)
    }

    /// Tells what is published as long as nothing is missing in between; that may yet be heard.
    async fn contiguous(&mut self) -> Result<(), Gone> {
        let published = self.published.borrow_and_update().clone();
        for happening in &published.running.recent {
            if happening.sequence == self.last + 1 {
                self.tell(happening).await?;
            }
        }
        Ok(())
    }

    /// Tells what is published and before this number, and what is lost in between.
    async fn recent(&mut self, before: u64) -> Result<(), Gone> {
        let published = self.published.borrow_and_update().clone();
        for happening in &published.running.recent {
            if happening.sequence > self.last && happening.sequence < before {
                self.lost(happening.sequence).await?;
                self.tell(happening).await?;
            }
        }
        Ok(())
    }

    /// Says how many are missing before this number.
    async fn lost(&mut self, before: u64) -> Result<(), Gone> {
        let count = before.saturating_sub(self.last + 1);
        if count > 0 {
            let lost = Lost {
                kind: "lost",
                count,
            };
            let text = format!("… and {count} more that are not known any more\n");
            self.line(&lost, text).await?;
            self.last = before - 1;
        }
        Ok(())
    }

    async fn tell(&mut self, happening: &Happening) -> Result<(), Gone> {
        if happening.sequence > self.last {
            let text = HappeningText {
                happening,
                time: true,
            };
            self.line(happening, format!("{text}\n")).await?;
            self.last = happening.sequence;
        }
        Ok(())
    }

    async fn line(&self, value: &impl Serialize, text: String) -> Result<(), Gone> {
        let line = match self.form {
            Form::Text => text.into_bytes(),
            Form::Json => {
                // Nothing in it can fail to be written as JSON.
                let mut line = serde_json::to_vec(value).unwrap_or_default();
                line.push(b'\n');
                line
            }
        };
        self.sender.send(Bytes::from(line)).await
    }
}
