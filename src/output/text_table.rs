//! Tables for people: columns with two blanks between them, no lines.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Row, Table};

/// A table of these headings.
pub fn new(headings: impl Into<Row>) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(headings);
    table
}

/// A table without headings.
#[cfg(feature = "cli")]
pub fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table
}

/// Texts, one below the other, each broken into lines where it is wider than this.
#[cfg(feature = "cli")]
pub fn broken(texts: impl IntoIterator<Item = String>, width: usize) -> String {
    let mut table = plain();
    fit(&mut table, width - 1);
    for text in texts {
        table.add_row([text]);
    }
    render(&table)
}

/// Never breaks the cells of this column, which has cells.
pub fn keep_whole(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
}

/// Aligns the columns from this one on to the right.
pub fn right_aligned(table: &mut Table, first: usize) {
    for column in table.column_iter_mut().skip(first) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

/// Aligns a column to the left.
pub fn left_aligned(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_cell_alignment(CellAlignment::Left);
    }
}

/// Takes away the blank behind the cells of this column, the last one.
pub fn without_end(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_padding((1, 0));
    }
}

/// Breaks texts in cells where the table would be wider than this.
pub fn fit(table: &mut Table, width: usize) {
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
}

/// The table with two blanks in front of each row and no line end after the last.
pub fn render(table: &Table) -> String {
    let lines = table.lines().map(|line| format!(" {}", line.trim_end()));
    lines.collect::<Vec<_>>().join("\n")
}
