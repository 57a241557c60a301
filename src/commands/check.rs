//! `srsync check`: asks once what the checks of the documents ask, and says what came of it.

use anyhow::Result;

use super::client::block_on;
use super::session::Session;
use super::{Exit, documents};
use crate::cli::{Global, Paths};
use crate::model::ConnectivityCheck;
use crate::model::egress::Answer;
use crate::plan::{Choice, Inputs, choose};
use crate::probe::ask::{self, Inquiry};
use crate::report::{CheckReport, CheckStatus};

pub(super) fn run(global: &Global, paths: &Paths) -> Result<Exit> {
    let session = Session::start(global)?;
    let loaded = documents::load(&session, paths)?;
    let steering = documents::steering(&loaded);
    let inputs = session.inputs(&loaded, &steering);
    let mut checks = Checks::of(&inputs, &loaded.checks);
    checks.ask()?;
    let report = CheckReport::new(session.node(), documents::now(), &checks.statuses);
    session.form.checks(&report)?;
    Ok(match report.as_expected {
        true => Exit::Done,
        false => Exit::Incomplete,
    })
}

/// The checks of the documents, as far as they are asked by a command.
pub(super) struct Checks<'a> {
    /// The checks of each target of `statuses`.
    checks: Vec<&'a ConnectivityCheck>,
    /// What is asked for each; nothing where it is not sure to be for this node.
    inquiries: Vec<Option<Inquiry>>,
    /// How each target is.
    pub(super) statuses: Vec<CheckStatus>,
}

impl<'a> Checks<'a> {
    /// None is asked yet.
    pub(super) fn of(inputs: &Inputs<'_>, checks: &'a [ConnectivityCheck]) -> Self {
        let targets = || ConnectivityCheck::targets_of(checks);
        let is_ours = |check: &ConnectivityCheck| choose(inputs, &check.selector) == Choice::Yes;
        Self {
            checks: targets().map(|(check, _)| check).collect(),
            inquiries: targets()
                .map(|(check, target)| is_ours(check).then(|| Inquiry::of(check, target)))
                .collect(),
            statuses: CheckStatus::of_all(inputs, checks),
        }
    }

    /// Asks all of them, side by side.
    pub(super) fn ask(&mut self) -> Result<()> {
        let questions = self.questions(|_| true);
        let answers = block_on(async { Ok(questions.asked().await) })?;
        self.take(&questions, &answers);
        Ok(())
    }

    /// What is asked for those of them that `wanted` says by their place.
    pub(super) fn questions(&self, wanted: impl Fn(usize) -> bool) -> Questions {
        let inquiries = self.inquiries.iter().enumerate();
        let asked = inquiries.filter(|(place, _)| wanted(*place));
        let asked = asked.filter_map(|(place, inquiry)| Some((place, inquiry.clone()?)));
        let (places, inquiries) = asked.unzip();
        Questions { places, inquiries }
    }

    /// Takes over what came of them.
    pub(super) fn take(&mut self, questions: &Questions, answers: &[Answer]) {
        let now = documents::now();
        for (place, answer) in questions.places.iter().zip(answers) {
            self.statuses[*place].asked(self.checks[*place], answer, now);
        }
    }
}

/// What is asked, and for which targets.
pub(super) struct Questions {
    places: Vec<usize>,
    inquiries: Vec<Inquiry>,
}

impl Questions {
    /// What comes of each.
    pub(super) async fn asked(&self) -> Vec<Answer> {
        ask::once(&self.inquiries).await
    }
}
