//! Columns of text under their heads.

use std::fmt;

use anstyle::Style as Paint;

use super::text::Style;

/// Writes lines whose cells stand under each other. The last column is as wide as it is.
pub(super) struct Table<'a> {
    head: Vec<String>,
    widths: Vec<usize>,
    style: Style,
    indent: &'a str,
}

impl<'a> Table<'a> {
    /// One that is wide enough for these rows.
    pub(super) fn new(head: &[&str], rows: &[Vec<String>], style: Style, indent: &'a str) -> Self {
        let width = |(column, head): (usize, &&str)| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            let widths = cells.map(|cell| cell.chars().count());
            widths.fold(head.chars().count(), usize::max)
        };
        Self {
            widths: head.iter().enumerate().map(width).collect(),
            head: head.iter().map(ToString::to_string).collect(),
            style,
            indent,
        }
    }

    /// The line of heads.
    pub(super) fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.line(f, &self.head, |_| Paint::new())
    }

    /// A row, whose cells are painted by their column.
    pub(super) fn line(
        &self,
        f: &mut fmt::Formatter<'_>,
        cells: &[String],
        paint: impl Fn(usize) -> Paint,
    ) -> fmt::Result {
        f.write_str(self.indent)?;
        for (column, (cell, width)) in cells.iter().zip(&self.widths).enumerate() {
            let last = column + 1 == cells.len();
            let padded = match last {
                true => cell.clone(),
                false => format!("{cell:width$}   "),
            };
            match paint(column) {
                plain if plain == Paint::new() => f.write_str(&padded)?,
                paint => f.write_str(&self.style.paint(paint, &padded))?,
            }
        }
        writeln!(f)
    }
}
