//! Tables for people: plain aligned columns under a header, nothing drawn around them. On a terminal, a table that is
//! wider than the terminal is cut to its width: first ids are shortened, then long texts are cut.

use comfy_table::{CellAlignment, ContentArrangement, presets};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Spaces behind a column.
const GAP: usize = 2;
/// Least width of a text that is cut.
const CUT_MIN: usize = 6;
/// Characters of an id that are kept at its beginning and at its end. Ids of one host differ at the end.
const ID_HEAD: usize = 5;
const ID_TAIL: usize = 6;
/// Stands for what was left out.
const LEFT_OUT: char = '…';

/// A column: its title, and what its values are.
#[derive(Clone, Copy)]
pub(crate) enum Column {
    /// Words that are never cut.
    Text(&'static str),
    /// Numbers.
    Number(&'static str),
    /// Ids, which are shortened in the middle.
    Id(&'static str),
    /// Texts of any length, which are cut at their end.
    Long(&'static str),
}

impl Column {
    fn title(self) -> &'static str {
        match self {
            Self::Text(title) | Self::Number(title) | Self::Id(title) | Self::Long(title) => title,
        }
    }
}

/// A table under construction.
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; its cells are harmless text already.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The lines, with all cells whole.
    pub(crate) fn render(&self) -> String {
        self.lines(&self.rows)
    }

    /// The lines, cut to so many columns of a terminal as far as ids and long texts allow.
    pub(crate) fn render_within(&self, width: usize) -> String {
        let mut rows = self.rows.clone();
        let mut over = self.width(&rows).saturating_sub(width);
        if over > 0 {
            let ids = self.columns.iter().enumerate().filter(|(_, column)| matches!(column, Column::Id(_)));
            for (at, _) in ids {
                rows.iter_mut().filter_map(|row| row.get_mut(at)).for_each(|id| *id = short_id(id));
            }
            over = self.width(&rows).saturating_sub(width);
        }
        while over > 0 {
            // The widest first, down to the next one.
            let widest = self.cuttable(&rows).max_by_key(|(_, width)| *width);
            let Some((at, widest)) = widest.filter(|(_, width)| *width > CUT_MIN) else { break };
            let next = self.cuttable(&rows).filter(|(other, _)| *other != at).map(|(_, width)| width).max();
            let least = widest.saturating_sub(over).max(CUT_MIN);
            let wanted = least.max(next.unwrap_or(0).min(widest - 1));
            rows.iter_mut().filter_map(|row| row.get_mut(at)).for_each(|cell| *cell = cut(cell, wanted));
            over = self.width(&rows).saturating_sub(width);
        }
        self.lines(&rows)
    }

    /// Columns that can be cut, and the width of their cells.
    fn cuttable<'a>(&'a self, rows: &'a [Vec<String>]) -> impl Iterator<Item = (usize, usize)> + 'a {
        let long = self.columns.iter().enumerate().filter(|(_, column)| matches!(column, Column::Long(_)));
        long.map(|(at, _)| {
            (at, rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.width()).max().unwrap_or(0))
        })
    }

    /// The width of the longest line.
    fn width(&self, rows: &[Vec<String>]) -> usize {
        let column = |(at, column): (usize, &Column)| {
            let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.width());
            cells.max().unwrap_or(0).max(column.title().width())
        };
        let widths: usize = self.columns.iter().enumerate().map(column).sum();
        widths + GAP * self.columns.len().saturating_sub(1)
    }

    /// The lines, the header in bold: the stream takes the colour out where nobody wants it.
    fn lines(&self, rows: &[Vec<String>]) -> String {
        let mut inner = comfy_table::Table::new();
        inner.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        inner.set_header(self.columns.iter().map(|column| column.title()));
        for (at, column) in self.columns.iter().enumerate() {
            let made = inner.column_mut(at).expect("the header has made this column");
            made.set_padding((0, GAP as u16));
            if matches!(column, Column::Number(_)) {
                made.set_cell_alignment(CellAlignment::Right);
            }
        }
        rows.iter().for_each(|row| {
            inner.add_row(row);
        });
        let mut text = String::new();
        for (at, line) in inner.lines().enumerate() {
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

/// The beginning and the end of an id, which commands take in its place. Ids are ASCII.
fn short_id(id: &str) -> String {
    let (head, tail) = (id.get(..ID_HEAD), id.len().checked_sub(ID_TAIL).and_then(|at| id.get(at..)));
    match (head, tail) {
        (Some(head), Some(tail)) if id.len() > ID_HEAD + 1 + ID_TAIL => format!("{head}{LEFT_OUT}{tail}"),
        _ => id.to_owned(),
    }
}

/// A text in so many columns of a terminal.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut used = 1;
    let mut kept: String = text
        .chars()
        .take_while(|char| {
            used += char.width().unwrap_or(0);
            used <= width
        })
        .collect();
    kept.push(LEFT_OUT);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn columns_line_up_and_lines_do_not_trail() {
        let mut table = Table::new(&[Column::Text("queue"), Column::Number("waiting"), Column::Text("note")]);
        table.row(["orders".to_owned(), "10,000".to_owned(), String::new()]);
        table.row(["x".to_owned(), "7".to_owned(), "paused".to_owned()]);
        let expected = "queue   waiting  note\norders   10,000\nx             7  paused\n";
        assert_eq!(plain(&table.render()), expected);
        assert_eq!(plain(&table.render_within(22)), expected);
    }

    #[test]
    fn ids_are_shortened_first_and_long_texts_are_cut_evenly() {
        let mut table = Table::new(&[Column::Id("id"), Column::Long("payload"), Column::Long("reason")]);
        table.row([
            "web-1.0000000a.0199aa5b1c00-17".to_owned(),
            "0123456789".to_owned(),
            "no such user 日本".to_owned(),
        ]);
        let first = |width| plain(&table.render_within(width)).lines().nth(1).unwrap().to_owned();
        assert_eq!(first(200), "web-1.0000000a.0199aa5b1c00-17  0123456789  no such user 日本");
        assert_eq!(first(45), "web-1…c00-17  0123456789  no such user 日本");
        assert_eq!(first(41), "web-1…c00-17  0123456789  no such user …");
        assert_eq!(first(34), "web-1…c00-17  01234567…  no such …");
        assert_eq!(first(10), "web-1…c00-17  01234…   no su…", "no text is shorter than it can be read");
    }

    #[test]
    fn ids_that_gain_nothing_stay_whole() {
        assert_eq!(short_id("abcdefghijkl"), "abcdefghijkl");
        assert_eq!(short_id("abcdefghijklm"), "abcde…hijklm");
    }
}
