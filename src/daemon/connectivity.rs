//! The connectivity checks of the documents: which questions are asked, and what came of each.
//!
//! Nothing about routes hangs on it. A target that several checks ask alike is asked once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tokio::sync::watch;

use super::journal::{News, Place};
use crate::model::document::Probe;
use crate::model::egress::CheckVerdict;
use crate::model::{ConnectivityCheck, Timestamp};
use crate::plan::{Choice, Inputs, choose};
use crate::probe::ask::{Asked, Inquiry};
use crate::report::{CheckStatus, HappeningKind, Level};

/// All targets of all checks.
pub(super) struct Connectivity {
    targets: Vec<Target>,
    /// Whether anything was heard since it was shown.
    is_news: bool,
    wanted: watch::Sender<BTreeSet<Inquiry>>,
}

/// One target of a check.
struct Target {
    check: ConnectivityCheck,
    /// No two targets of a check are the same in this.
    asks: (IpAddr, Probe),
    /// What is asked; nothing where it is not sure to be for this node.
    inquiry: Option<Inquiry>,
    status: CheckStatus,
}

impl Connectivity {
    /// None yet.
    pub(super) fn new(wanted: watch::Sender<BTreeSet<Inquiry>>) -> Self {
        Self {
            targets: Vec::new(),
            is_news: false,
            wanted,
        }
    }

    /// These are the checks from now on. What is known of those that stay is kept. Returns whether any differ.
    pub(super) fn follow(&mut self, inputs: &Inputs<'_>, checks: &[ConnectivityCheck]) -> bool {
        let targets = ConnectivityCheck::targets_of(checks);
        let statuses = CheckStatus::of_all(inputs, checks);
        let before = std::mem::take(&mut self.targets).into_iter();
        let mut before: BTreeMap<_, _> = before.map(|one| (one.identity(), one)).collect();
        let mut is_different = false;
        for ((check, target), status) in targets.zip(statuses) {
            let is_ours = choose(inputs, &check.selector) == Choice::Yes;
            let inquiry = is_ours.then(|| Inquiry::of(check, target));
            let mut now = Target {
                check: check.clone(),
                asks: (target.address, target.probe.clone()),
                inquiry,
                status,
            };
            match before.remove(&now.identity()) {
                Some(known) => now.remember(known),
                None => is_different = true,
            }
            self.targets.push(now);
        }
        is_different |= !before.is_empty();
        self.is_news |= is_different;
        let inquiries: BTreeSet<Inquiry> = self
            .targets
            .iter()
            .filter_map(|one| one.inquiry.clone())
            .collect();
        self.wanted.send_if_modified(|wanted| {
            let is_new = *wanted != inquiries;
            *wanted = inquiries;
            is_new
        });
        is_different
    }

    /// Something was asked. Returns what there is to tell.
    pub(super) fn heard(&mut self, asked: &Asked, now: Timestamp) -> Vec<News> {
        let is_about = |target: &&mut Target| target.inquiry.as_ref() == Some(&*asked.inquiry);
        let mut news = Vec::new();
        for target in self.targets.iter_mut().filter(is_about) {
            let before = target.status.last_asked.map(|_| target.status.verdict);
            target.status.asked(&target.check, &asked.answer, now);
            news.extend(changed(before, &target.status));
            self.is_news = true;
        }
        news
    }

    /// How they are, if anything was heard since this was asked last.
    pub(super) fn news(&mut self) -> Option<Vec<CheckStatus>> {
        std::mem::take(&mut self.is_news).then(|| self.statuses())
    }

    fn statuses(&self) -> Vec<CheckStatus> {
        self.targets.iter().map(|one| one.status.clone()).collect()
    }
}

impl Target {
    /// What makes it the same target: the same is asked for the same check, wherever it is written.
    fn identity(&self) -> impl Ord + use<> {
        let Self {
            check,
            asks,
            inquiry,
            ..
        } = self;
        (
            check.id.clone(),
            asks.clone(),
            check.expect,
            inquiry.clone(),
        )
    }

    /// Takes over what was known of the same target, wherever it is written now.
    fn remember(&mut self, known: Self) {
        if known.status.last_asked.is_some() {
            self.status = CheckStatus {
                file: std::mem::take(&mut self.status.file),
                line: self.status.line,
                place: std::mem::take(&mut self.status.place),
                ..known.status
            };
        }
    }
}

/// What is told of a target: another verdict than before, and of the first one only that it is not good.
fn changed(before: Option<CheckVerdict>, now: &CheckStatus) -> Option<News> {
    let is_good = now.verdict == CheckVerdict::Passed;
    if before.is_none_or(|before| before == CheckVerdict::Passed) && is_good
        || before == Some(now.verdict)
    {
        return None;
    }
    let (kind, level, word) = match now.verdict {
        CheckVerdict::Passed => (HappeningKind::CheckPassed, Level::Info, "passes again"),
        CheckVerdict::Failed => (HappeningKind::CheckFailed, Level::Warn, "failed"),
        _ => (HappeningKind::CheckFailed, Level::Warn, "is unknown"),
    };
    let message = format!("{}; that {word}: {}", now.subject(), now.message);
    let place = Place {
        file: Some(now.file.clone()),
        line: Some(now.line),
        column: None,
    };
    Some(News::new(kind, level, message).at(place))
}
