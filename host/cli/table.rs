//! Tables for people: plain aligned columns under a header, nothing drawn around them.

use comfy_table::{CellAlignment, ContentArrangement, presets};

/// A column: its title, and on which side its values stand.
#[derive(Clone, Copy)]
pub(crate) enum Column {
    /// Words.
    Text(&'static str),
    /// Numbers.
    Number(&'static str),
}

/// A table under construction.
pub(crate) struct Table {
    inner: comfy_table::Table,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(columns: &[Column]) -> Self {
        let mut inner = comfy_table::Table::new();
        inner.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        inner.set_header(columns.iter().map(|column| match column {
            Column::Text(title) | Column::Number(title) => *title,
        }));
        for (at, column) in columns.iter().enumerate() {
            let made = inner.column_mut(at).expect("the header has made this column");
            made.set_padding((0, 2));
            if matches!(column, Column::Number(_)) {
                made.set_cell_alignment(CellAlignment::Right);
            }
        }
        Self { inner }
    }

    /// Adds a row; its cells are harmless text already.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.inner.add_row(cells.into_iter().collect::<Vec<_>>());
    }

    /// The lines, the header in bold: the stream takes the colour out where nobody wants it.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        for (at, line) in self.inner.lines().enumerate() {
            let line = line.trim_end();
            if at == 0 {
                text.push_str(&format!("\x1b[1m{line}\x1b[0m\n"));
            } else {
                text.push_str(line);
                text.push('\n');
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_do_not_trail() {
        let mut table = Table::new(&[Column::Text("queue"), Column::Number("waiting"), Column::Text("note")]);
        table.row(["orders".to_owned(), "10,000".to_owned(), String::new()]);
        table.row(["x".to_owned(), "7".to_owned(), "paused".to_owned()]);
        let plain = anstream::adapter::strip_str(&table.render()).to_string();
        assert_eq!(plain, "queue   waiting  note\norders   10,000\nx             7  paused\n");
    }
}
