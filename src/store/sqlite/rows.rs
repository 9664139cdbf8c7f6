//! How values stand in SQLite, and how they are read again.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, SecondsFormat, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use sqlx::sqlite::{SqliteQueryResult, SqliteRow};
use sqlx::{ColumnIndex, Decode, Row, Sqlite, Type};

use super::failure::{failure, unreadable};
use crate::domain::account::AccountNumber;
use crate::domain::calendar;
use crate::domain::digest::Shown;
use crate::domain::money::Currency;
use crate::store::{Page, StoreError, StoreResult};

/// An instant as it stands in the database: `2026-12-01T09:00:00.000000Z`, always 27 characters, so that it sorts.
pub fn at(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// An instant that stands in a JSON value: as this program writes it, or as SQLite's own functions do, in UTC, which is what
/// a column with it is read as, too.
pub fn instant(text: &str) -> StoreResult<DateTime<Utc>> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Ok(instant.to_utc());
    }
    let bare = text.trim_end_matches('Z');
    let read = ["%F %T%.f", "%FT%T%.f", "%F %R", "%FT%R"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(bare, format).ok());
    read.map(|read| read.and_utc()).ok_or_else(|| unreadable(&format!("`{text}` is not an instant")))
}

/// `now` and a while: never past the years that sort.
pub fn after(now: DateTime<Utc>, delay: Duration) -> String {
    /// A century: longer than anything waits.
    const DELAY_MAX: TimeDelta = TimeDelta::days(36_525);
    let delay = TimeDelta::from_std(delay).unwrap_or(DELAY_MAX).min(DELAY_MAX);
    at(calendar::to_micros(now.checked_add_signed(delay).unwrap_or(now)))
}

/// An array parameter for `json_each`: of values, or of rows that are arrays themselves.
pub fn json<T: Serialize>(values: &[T]) -> StoreResult<String> {
    serde_json::to_string(values).map_err(|error| StoreError::Rejected(error.to_string()))
}

/// One column, as sqlx reads it.
pub fn get<'r, T, I>(row: &'r SqliteRow, column: I) -> StoreResult<T>
where
    T: Decode<'r, Sqlite> + Type<Sqlite>,
    I: ColumnIndex<SqliteRow>,
{
    row.try_get(column).map_err(failure)
}

pub fn number(row: &SqliteRow, column: &str) -> StoreResult<AccountNumber> {
    get(row, column).map(AccountNumber::from_stored)
}

pub fn optional_number(row: &SqliteRow, column: &str) -> StoreResult<Option<AccountNumber>> {
    Ok(get::<Option<String>, _>(row, column)?.map(AccountNumber::from_stored))
}

pub fn currency(row: &SqliteRow, column: &str) -> StoreResult<Currency> {
    Currency::parse(get(row, column)?).map_err(|error| unreadable(&error))
}

pub fn optional_currency(row: &SqliteRow, column: &str) -> StoreResult<Option<Currency>> {
    let code: Option<&str> = get(row, column)?;
    code.map(Currency::parse).transpose().map_err(|error| unreadable(&error))
}

pub fn zone(row: &SqliteRow, column: &str) -> StoreResult<Option<Tz>> {
    let zone: Option<&str> = get(row, column)?;
    zone.map(calendar::parse_zone).transpose().map_err(|error| unreadable(&error))
}

/// A word of a fixed set: a state, an outcome, a kind.
pub fn word<T>(row: &SqliteRow, column: &str, parse: impl Fn(&str) -> Option<T>) -> StoreResult<T> {
    let text: &str = get(row, column)?;
    parse(text).ok_or_else(|| unreadable(&format!("`{text}` as {column}")))
}

pub fn optional_word<T>(row: &SqliteRow, column: &str, parse: impl Fn(&str) -> Option<T>) -> StoreResult<Option<T>> {
    match get::<Option<&str>, _>(row, column)? {
        None => Ok(None),
        Some(_) => word(row, column, parse).map(Some),
    }
}

/// An array that SQL made with `json_group_array`.
pub fn texts(row: &SqliteRow, column: &str) -> StoreResult<Vec<String>> {
    let mut texts: Vec<String> =
        serde_json::from_str(get(row, column)?).map_err(|error| unreadable(&error.to_string()))?;
    texts.sort_unstable();
    texts.dedup();
    Ok(texts)
}

/// What was agreed to; none where a newer program wrote it in a form of its own.
pub fn shown(row: &SqliteRow) -> StoreResult<Option<Shown>> {
    Ok(get::<Option<&str>, _>(row, "agreed")?.and_then(Shown::read))
}

/// Adds up what SQL summed in two halves of 32 bits, since its `sum` fails where an `i64` overflows. What does not fit
/// is shown as the most that does: a list never fails over it.
pub fn saturated(high: i64, low: i64) -> i64 {
    i64::try_from((i128::from(high) << 32) + i128::from(low)).unwrap_or(i64::MAX)
}

/// Holds a write to the rows that it had to touch. Under the lock another count means a defect: nothing is committed.
pub fn expect_rows(result: &SqliteQueryResult, expected: usize, statement: &str) -> StoreResult<()> {
    expect_count(usize::try_from(result.rows_affected()).unwrap_or(usize::MAX), expected, statement)
}

/// The same, of rows that the statement answered.
pub fn expect_count(written: usize, expected: usize, statement: &str) -> StoreResult<()> {
    if written == expected {
        return Ok(());
    }
    Err(StoreError::Rejected(format!("`{statement}` wrote {written} rows and not {expected}; nothing was kept")))
}

/// The cursor of a list that is ordered by a number of the database's.
pub fn cursor(page: &Page) -> StoreResult<Option<i64>> {
    let read = |text: &String| {
        text.parse().map_err(|_| StoreError::Rejected(format!("`{text}` is not the next_cursor of such a list")))
    };
    page.after.as_ref().map(read).transpose()
}

/// One more than the page has, so that it is known whether there is another.
pub fn limit(page: &Page) -> i64 {
    i64::from(page.limit.clamp(1, crate::store::PAGE_MAX)) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_read_as_this_program_and_as_sqlite_writes_it() {
        let noon = "2026-12-01T12:00:00Z".parse::<DateTime<Utc>>().unwrap();
        for text in [
            "2026-12-01T12:00:00.000000Z",
            "2026-12-01T14:00:00+02:00",
            "2026-12-01 12:00:00",
            "2026-12-01 12:00:00.000",
            "2026-12-01T12:00",
        ] {
            assert_eq!(instant(text).unwrap(), noon, "{text}");
        }
        for text in ["soon", "", "2026-12-01", "2026-13-01 12:00:00"] {
            assert!(instant(text).is_err(), "{text}");
        }
    }
}
