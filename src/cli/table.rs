//! Tables and sheets without lines: as wide as their contents where they go into a pipe, wrapped to a terminal.

use chrono::{DateTime, Utc};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};

use super::plain::plain;

/// A column by its title.
#[derive(Debug, Clone, Copy)]
pub enum Column {
    Left(&'static str),
    /// For numbers and money.
    Right(&'static str),
}

/// Rows under titles.
#[must_use]
pub fn table<R: AsRef<[String]>>(width: Option<u16>, columns: &[Column], rows: impl IntoIterator<Item = R>) -> String {
    let mut table = quiet(width);
    table.set_header(columns.iter().map(|column| match column {
        Column::Left(title) => Cell::new(title),
        Column::Right(title) => Cell::new(title).set_alignment(CellAlignment::Right),
    }));
    for row in rows {
        table.add_row(columns.iter().zip(row.as_ref()).map(|(column, text)| match column {
            Column::Left(_) => Cell::new(plain(text)),
            Column::Right(_) => Cell::new(plain(text)).set_alignment(CellAlignment::Right),
        }));
    }
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
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + what.len() + 8);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let plural = if number == 1 { "" } else { "s" };
    format!("{grouped} {what}{plural}")
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

/// Two blanks between columns, none before the first.
fn close_up(table: &mut Table) {
    for (i, column) in table.column_iter_mut().enumerate() {
        column.set_padding((if i == 0 { 0 } else { 2 }, 0));
    }
}
