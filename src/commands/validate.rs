//! `srsync validate`: every mistake in the documents, offline.

use std::io;

use anyhow::Result;

use super::documents::{self, Findings};
use super::session::Session;
use super::{Exit, output};
use crate::cli::{Global, Paths};
use crate::spec::Severity;

pub(super) fn run(global: &Global, paths: &Paths) -> Result<Exit> {
    let session = Session::start(global)?;
    let loaded = documents::read(&session, paths)?;
    let valid = loaded.is_complete();
    let findings = Findings::of(&loaded);
    if session.form.is_data() {
        session.form.data(&findings)?;
    } else {
        let colour = session.form.colour(&io::stdout());
        let found = documents::rendered(&loaded.diagnostics, &loaded.files, Severity::Note, colour);
        let verdict = documents::verdict(&loaded.diagnostics);
        let summary = findings.summary();
        output::stdout(|out| Ok(writeln!(out, "{found}{summary}: {verdict}")?))?;
    }
    Ok(if valid { Exit::Done } else { Exit::Error })
}
