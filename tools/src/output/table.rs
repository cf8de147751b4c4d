//! Columns as kubectl prints them: as wide as their widest cell, three spaces apart, no lines.

use super::paint::visible_width;

/// Between two columns.
const GAP: &str = "   ";

/// How a column's cells are placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alignment {
    Left,
    Right,
}

/// A table under construction.
#[derive(Debug)]
pub(crate) struct Table {
    alignments: Vec<Alignment>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column titles. A title that begins with `>` is placed right, and its cells too.
    pub(crate) fn new(titles: &[&str]) -> Self {
        let alignments = titles
            .iter()
            .map(|title| if title.starts_with('>') { Alignment::Right } else { Alignment::Left })
            .collect();
        let titles = titles.iter().map(|title| title.trim_start_matches('>').to_owned()).collect();
        Self { alignments, rows: vec![titles] }
    }

    /// Adds a row; an empty cell is shown as `-`.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter().map(|cell| if cell.is_empty() { "-".to_owned() } else { cell });
        self.rows.push(cells.collect());
    }

    /// The text, a line a row, without spaces at the ends of lines.
    pub(crate) fn render(&self) -> String {
        let mut widths = vec![0; self.alignments.len()];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(visible_width(cell));
            }
        }
        let mut text = String::new();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).zip(&self.alignments).map(|((cell, &width), alignment)| {
                let space = " ".repeat(width - visible_width(cell));
                match alignment {
                    Alignment::Left => format!("{cell}{space}"),
                    Alignment::Right => format!("{space}{cell}"),
                }
            });
            let line = cells.collect::<Vec<_>>().join(GAP);
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["NAME", ">COUNT", "STATE"]);
        table.row(["a".to_owned(), "5".to_owned(), "up".to_owned()]);
        table.row(["longer".to_owned(), "12345".to_owned(), String::new()]);
        assert_eq!(table.render(), "NAME     COUNT   STATE\na            5   up\nlonger   12345   -\n");
    }
}
