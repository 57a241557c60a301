//! Collects the findings about one text: nothing stops at the first.

use super::diagnostic::{Diagnostic, Problem, Severity, Span, Spot};
use crate::model::FileId;

/// More than these are not worth reading, and a file may hold a million mistakes.
const LIMIT: usize = 200;

/// The findings about one text so far.
pub(crate) struct Findings<'t> {
    file: FileId,
    text: &'t str,
    list: Vec<Diagnostic>,
    errors: usize,
    /// Findings beyond the limit: how many, and where the first of them is.
    dropped: usize,
    dropped_at: Option<Spot>,
}

impl<'t> Findings<'t> {
    pub(crate) fn new(file: FileId, text: &'t str) -> Self {
        Self {
            file,
            text,
            list: Vec::new(),
            errors: 0,
            dropped: 0,
            dropped_at: None,
        }
    }

    /// How many errors there were: what was read without adding one is sound.
    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    /// The file that the text is from.
    pub(crate) fn file(&self) -> FileId {
        self.file
    }

    /// A place in the text, to be shown later or beside another.
    pub(crate) fn spot(&self, span: Span) -> Spot {
        Spot::new(self.file, self.text, span)
    }

    pub(crate) fn error(&mut self, span: Span, problem: Problem) {
        self.error_at(self.spot(span), problem);
    }

    pub(crate) fn error_at(&mut self, spot: Spot, problem: Problem) {
        self.push(Diagnostic::at(Severity::Error, spot, problem));
    }

    pub(crate) fn warning(&mut self, span: Span, problem: Problem) {
        self.push(Diagnostic::at(Severity::Warning, self.spot(span), problem));
    }

    pub(crate) fn note_at(&mut self, spot: Spot, problem: Problem) {
        self.push(Diagnostic::at(Severity::Note, spot, problem));
    }

    /// Takes over the findings about a text that this one includes.
    pub(crate) fn absorb(&mut self, other: Findings<'_>) {
        let errors = self.errors + other.errors;
        for diagnostic in other.list {
            self.push(diagnostic);
        }
        self.dropped += other.dropped;
        self.dropped_at = self.dropped_at.take().or(other.dropped_at);
        self.errors = errors;
    }

    /// All of them in reading order, each once.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        self.list.sort_by_key(Diagnostic::order);
        self.list.dedup();
        if let Some(spot) = self.dropped_at {
            let more = format!("{} more problems are not shown", self.dropped);
            let more = Problem::new(more, "from here on").help("mend those above, then look again");
            self.list.push(Diagnostic::at(Severity::Error, spot, more));
        }
        self.list
    }

    fn push(&mut self, diagnostic: Diagnostic) {
        let error = diagnostic.severity == Severity::Error;
        self.errors += usize::from(error);
        if self.list.len() < LIMIT {
            self.list.push(diagnostic);
        } else {
            self.dropped += 1;
            self.dropped_at = self.dropped_at.take().or(diagnostic.spot);
        }
    }
}
