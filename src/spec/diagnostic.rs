//! What is wrong with a document, and where: the shape every finding has.
//!
//! A diagnostic carries the piece of source that it is about, so that it can be shown long after
//! the file's text is gone (or has changed).

use std::ops::Range;

use serde::Serialize;

use crate::model::{FileId, FileName, Place};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The document cannot be used.
    Error,
    /// It can be used, but hardly means what its writer meant.
    Warning,
    /// Something was tidied up.
    Note,
}

/// A piece of one line of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// The length in characters; 0 stands for the word that begins here.
    pub length: u32,
    /// Where it begins in the text, in bytes.
    pub(crate) offset: u32,
}

/// A span of a file with the source line it is on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    /// The file.
    pub file: FileId,
    /// Line and column.
    pub span: Span,
    excerpt: Excerpt,
}

impl Spot {
    /// The spot of `span` in the text that it was found in.
    pub(crate) fn new(file: FileId, text: &str, span: Span) -> Self {
        Self {
            file,
            span,
            excerpt: Excerpt::cut(text, span),
        }
    }

    /// File and line only.
    pub fn place(&self) -> Place {
        Place {
            file: self.file,
            line: self.span.line,
        }
    }

    /// The source line, or a window of it where it is long, and the bytes of it that are meant.
    pub(super) fn source(&self) -> (&str, Range<usize>) {
        let Excerpt { text, from, to } = &self.excerpt;
        (text, *from..*to)
    }
}

/// A line, or a window of a long one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Excerpt {
    text: Box<str>,
    from: usize,
    to: usize,
}

/// How many bytes are kept on either side of where a span begins: a whole file may be one line.
const WINDOW: usize = 120;

impl Excerpt {
    fn cut(text: &str, span: Span) -> Self {
        let at = text.floor_char_boundary((span.offset as usize).min(text.len()));
        let first = text.ceil_char_boundary(at.saturating_sub(WINDOW));
        let last = text.floor_char_boundary(at.saturating_add(WINDOW).min(text.len()));
        let (before, after) = (&text[first..at], &text[at..last]);
        let start = before.rfind(['\n', '\r']).map_or(first, |i| first + i + 1);
        let end = after.find(['\n', '\r']).map_or(last, |i| at + i);
        let after = &text[at..end];
        let length = match span.length {
            0 => word_length(after),
            chars => after
                .char_indices()
                .nth(chars as usize)
                .map_or(after.len(), |(i, _)| i),
        };
        Self {
            text: text[start..end].into(),
            from: at - start,
            to: at - start + length,
        }
    }
}

/// Bytes of the first word, without the punctuation that YAML puts behind it.
fn word_length(text: &str) -> usize {
    let word = text.split(char::is_whitespace).next().unwrap_or_default();
    word.trim_end_matches([':', ',']).len()
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file it is about.
    pub file: FileId,
    /// The place in it; `None` where the file as a whole is meant (it cannot be read, say).
    pub spot: Option<Spot>,
    /// What is wrong, as one sentence that makes sense without the source.
    pub message: String,
    /// Short text for the marked place: what is wrong there, or what is allowed.
    pub label: String,
    /// Another place that is part of the story.
    pub related: Option<Box<Related>>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A finding about a file as a whole.
    pub fn about_file(file: FileId, problem: Problem) -> Self {
        Self::new(Severity::Error, file, None, problem)
    }

    /// A finding about a place in a file.
    pub fn at(severity: Severity, spot: Spot, problem: Problem) -> Self {
        Self::new(severity, spot.file, Some(spot), problem)
    }

    fn new(severity: Severity, file: FileId, spot: Option<Spot>, problem: Problem) -> Self {
        let Problem {
            message,
            label,
            related,
            help,
        } = problem;
        Self {
            severity,
            file,
            spot,
            message,
            label,
            related,
            help,
        }
    }

    /// In the order in which people read: by file, line and column, the worst first.
    pub(crate) fn order(&self) -> impl Ord + use<> {
        let span = self.spot.as_ref().map(|spot| spot.span);
        (self.file, span, self.severity)
    }

    /// The form for machines.
    pub fn view<'a>(&'a self, files: &'a [FileName]) -> View<'a> {
        let span = self.spot.as_ref().map(|spot| spot.span);
        View {
            severity: self.severity,
            file: path_of(files, self.file),
            line: span.map(|span| span.line),
            column: span.map(|span| span.column),
            length: span.map(|span| span.length.max(1)),
            message: &self.message,
            label: &self.label,
            help: self.help.as_deref(),
            related: self.related.as_ref().map(|related| RelatedView {
                file: path_of(files, related.spot.file),
                line: related.spot.span.line,
                column: related.spot.span.column,
                label: &related.label,
            }),
        }
    }
}

/// The path of a file, as a person would open it.
pub(super) fn path_of(files: &[FileName], file: FileId) -> &str {
    files.get(file.0 as usize).map_or("?", |name| &name.path)
}

/// Another place that is part of the story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Related {
    /// The place.
    pub spot: Spot,
    /// What it has to do with it.
    pub label: String,
}

/// What is wrong, without where: [`Diagnostic`] adds that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub(crate) message: String,
    pub(crate) label: String,
    pub(crate) related: Option<Box<Related>>,
    pub(crate) help: Option<String>,
}

impl Problem {
    /// A problem with its sentence and the short text for its place.
    pub fn new(message: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            label: label.into(),
            related: None,
            help: None,
        }
    }

    /// Says what to do about it.
    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Self {
        self.maybe_help(Some(help.into()))
    }

    /// Says what to do about it, where there is something to say.
    #[must_use]
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }

    /// Shows another place as well.
    #[must_use]
    pub fn related(mut self, spot: Spot, label: impl Into<String>) -> Self {
        let label = label.into();
        self.related = Some(Box::new(Related { spot, label }));
        self
    }
}

/// A [`Diagnostic`] as `-o json` writes it.
#[derive(Debug, Serialize)]
pub struct View<'a> {
    severity: Severity,
    file: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<u32>,
    message: &'a str,
    label: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    related: Option<RelatedView<'a>>,
}

/// Another place, as `-o json` writes it.
#[derive(Debug, Serialize)]
struct RelatedView<'a> {
    file: &'a str,
    line: u32,
    column: u32,
    label: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(text: &str, offset: u32, length: u32) -> (String, String) {
        let span = Span {
            line: 1,
            column: 1,
            length,
            offset,
        };
        let spot = Spot::new(FileId(0), text, span);
        let (line, range) = spot.source();
        (line.to_owned(), line[range].to_owned())
    }

    #[test]
    fn an_excerpt_is_the_line_without_its_end() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(marked("a: 1\r\nbé: 2\r\n", 6, 2), pair("bé: 2", "bé"));
        assert_eq!(marked("spec:\n  x: 1\n", 0, 0), pair("spec:", "spec"));
        assert_eq!(marked("abc", 3, 1), pair("abc", ""));
        assert_eq!(marked("", 99, 5), pair("", ""));
    }

    #[test]
    fn a_line_of_a_megabyte_is_cut_to_a_window() {
        let text = "é".repeat(1 << 20);
        let (line, word) = marked(&text, 1001, 3);
        assert!(line.len() <= 2 * WINDOW, "{}", line.len());
        assert_eq!(word, "ééé");
    }
}
