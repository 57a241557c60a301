//! Shows a diagnostic the way rustc does: the sentence, the place, the line, a caret, the advice.

use annotate_snippets::{
    Annotation, AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet,
};

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
        Some(spot) => group.elements(shown(
            spot,
            files,
            AnnotationKind::Primary,
            &diagnostic.label,
        )),
        None => group.element(Origin::path(path_of(files, diagnostic.file))),
    };
    if let Some((spot, label)) = &diagnostic.related {
        group = group.elements(shown(spot, files, AnnotationKind::Context, label));
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    let renderer = match colour {
        true => Renderer::styled().hyperlink(false),
        false => Renderer::plain(),
    };
    renderer.render(&[group])
}

/// A place: where it is (said here, because the snippet may be a window of a long line and would
/// count columns from its own beginning), and the line itself.
fn shown<'a>(
    spot: &'a Spot,
    files: &'a [FileName],
    kind: AnnotationKind,
    label: &'a str,
) -> [Element<'a>; 2] {
    let (line, marked) = spot.source();
    let origin = Origin::path(path_of(files, spot.file))
        .line(spot.span.line as usize)
        .char_column(spot.span.column as usize);
    let annotation: Annotation<'a> = kind.span(marked);
    let snippet = Snippet::source(line)
        .line_start(spot.span.line as usize)
        .annotation(annotation.label((!label.is_empty()).then_some(label)));
    [origin.into(), snippet.into()]
}
