//! Tables on stdout: aligned columns, no borders, no trailing blanks.

use std::fmt;
use std::ops::Range;

use comfy_table::{CellAlignment, Table};

/// Rows, under a header where they need one.
pub(super) struct TextTable {
    table: Table,
    right: Range<usize>,
}

impl TextTable {
    /// A table whose columns `right` are aligned right.
    pub(super) fn new<const N: usize>(header: [&str; N], right: Range<usize>) -> Self {
        let mut table = Table::new();
        table.load_preset(comfy_table::presets::NOTHING).set_header(header);
        Self { table, right }
    }

    /// A table without a header.
    pub(super) fn headless(right: Range<usize>) -> Self {
        let mut table = Table::new();
        table.load_preset(comfy_table::presets::NOTHING);
        Self { table, right }
    }

    /// Adds a row.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.table.add_row(cells);
    }
}

impl fmt::Display for TextTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = self.table.clone();
        for (at, column) in table.column_iter_mut().enumerate() {
            column.set_padding((u16::from(at > 0) * 2, 0));
            if self.right.contains(&at) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.lines().try_for_each(|line| writeln!(f, "{}", line.trim_end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_aligned_right_and_lines_have_no_trailing_spaces() {
        let mut table = TextTable::new(["topic", "partitions", "note"], 1..2);
        table.row(["a-long-name".into(), "4".into(), String::new()]);
        table.row(["b".into(), "12".into(), "x".into()]);
        let expected = "topic        partitions  note\na-long-name           4\nb                    12  x\n";
        assert_eq!(table.to_string(), expected);
    }
}
