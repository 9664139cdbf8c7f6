//! Tables and sheets without lines: as wide as their contents where they go into a pipe, wrapped to a terminal.

use chrono::{DateTime, Utc};
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, Width};

use super::plain::plain;

/// A column by its title.
#[derive(Debug, Clone, Copy)]
pub enum Column {
    /// Text, wrapped where it has to be.
    Left(&'static str),
    /// Short text that is read at a glance: an instant, a state. Never wrapped.
    Firm(&'static str),
    /// Numbers and money. Never wrapped.
    Right(&'static str),
}

/// Words up to this long are not broken.
const WORD: usize = 22;

/// Rows under titles.
#[must_use]
pub fn table<R: AsRef<[String]>>(width: Option<u16>, columns: &[Column], rows: impl IntoIterator<Item = R>) -> String {
    let mut table = quiet(width);
    table.set_header(columns.iter().map(|column| match column {
        Column::Left(title) | Column::Firm(title) => Cell::new(title),
        Column::Right(title) => Cell::new(title).set_alignment(CellAlignment::Right),
    }));
    let mut words = vec![0; columns.len()];
    for row in rows {
        let texts = row.as_ref().iter().map(|text| plain(text));
        table.add_row(columns.iter().zip(texts).enumerate().map(|(i, (column, text))| {
            let longest = text.split(' ').map(|word| word.chars().count()).max().unwrap_or(0);
            words[i] = longest.min(WORD).max(words[i]);
            match column {
                Column::Left(_) | Column::Firm(_) => Cell::new(text),
                Column::Right(_) => Cell::new(text).set_alignment(CellAlignment::Right),
            }
        }));
    }
    table.set_constraints(columns.iter().zip(words).map(|(column, word)| match column {
        Column::Left(title) => {
            let word = u16::try_from(word.max(title.len())).unwrap_or(u16::MAX);
            ColumnConstraint::LowerBoundary(Width::Fixed(word.saturating_add(GAP)))
        }
        Column::Firm(_) | Column::Right(_) => ColumnConstraint::ContentWidth,
    }));
    close_up(&mut table);
    table.trim_fmt()
}

/// Names and values, side by side. A value may have several lines.
#[must_use]
pub fn sheet(width: Option<u16>, pairs: &[(&str, String)]) -> String {
    let mut table = quiet(width);
    for (name, value) in pairs {
        let lines: Vec<_> = value.lines().map(plain).collect();
        table.add_row([Cell::new(name), Cell::new(lines.join("\n"))]);
    }
    close_up(&mut table);
    table.trim_fmt()
}

/// Moves a block of lines to the right.
#[must_use]
pub fn indented(text: &str) -> String {
    text.lines().flat_map(|line| ["  ", line, "\n"]).collect()
}

/// An instant for people, in UTC. Where it stands alone, say so beside it.
#[must_use]
pub fn instant(at: &DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// `1 row`, `2 rows`, `7,043 rows`.
#[must_use]
pub fn count(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", grouped(number))
}

/// `7,043`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn quiet(width: Option<u16>) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).force_no_tty();
    match width {
        Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    table
}

/// Blanks between columns.
const GAP: u16 = 2;

/// None before the first column.
fn close_up(table: &mut Table) {
    for (i, column) in table.column_iter_mut().enumerate() {
        column.set_padding((if i == 0 { 0 } else { GAP }, 0));
    }
}
