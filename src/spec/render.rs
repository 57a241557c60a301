//! Shows a diagnostic the way rustc does: the sentence, the place, the line, a caret, the advice.

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::diagnostic::{Diagnostic, Severity, Spot, path_of};
use crate::model::FileName;

/// A diagnostic as text of several lines, without a line break at the end.
pub fn render(diagnostic: &Diagnostic, files: &[FileName], colour: bool) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let mut group = Group::with_title(level.primary_title(diagnostic.message.as_str()));
    group = match &diagnostic.spot {
        Some(spot) => group.element(shown(
            spot,
            files,
            AnnotationKind::Primary,
            &diagnostic.label,
        )),
        None => group.element(Origin::path(path_of(files, diagnostic.file))),
    };
    if let Some(related) = &diagnostic.related {
        let kind = AnnotationKind::Context;
        group = group.element(shown(&related.spot, files, kind, &related.label));
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    let renderer = match colour {
        true => Renderer::styled().hyperlink(false),
        false => Renderer::plain(),
    };
    let related = diagnostic.related.iter().map(|related| &related.spot);
    let spots = diagnostic.spot.iter().chain(related);
    spots.fold(renderer.render(&[group]), |text, spot| {
        with_true_column(text, spot, files)
    })
}

/// A place with its line.
fn shown<'a>(
    spot: &'a Spot,
    files: &'a [FileName],
    kind: AnnotationKind,
    label: &'a str,
) -> Snippet<'a, Annotation<'a>> {
    let (line, marked) = spot.source();
    let annotation: Annotation<'a> = kind.span(marked);
    Snippet::source(line)
        .path(path_of(files, spot.file))
        .line_start(spot.span.line as usize)
        .annotation(annotation.label((!label.is_empty()).then_some(label)))
}

/// The renderer counts columns from the beginning of what it is given. Of a long line that is a
/// window (a megabyte of JSON on one line would take it seconds), so its count is put right.
fn with_true_column(text: String, spot: &Spot, files: &[FileName]) -> String {
    let (line, marked) = spot.source();
    let seen = line[..marked.start].chars().count() + 1;
    if seen == spot.span.column as usize {
        return text;
    }
    let place = format!("{}:{}:", path_of(files, spot.file), spot.span.line);
    text.replacen(
        &format!("{place}{seen}"),
        &format!("{place}{}", spot.span.column),
        1,
    )
}
