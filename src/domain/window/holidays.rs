//! Holidays: dates on which no campaign disconnects, in the window's zone.

use std::collections::BTreeSet;

use chrono::NaiveDate;

use crate::domain::calendar;

/// More than thirty a year for as long as a window is looked ahead.
pub const HOLIDAYS_MAX: usize = 400;

/// Dates with blanks or commas between, in any order; an empty text has none.
///
/// # Errors
/// A sentence that shows the form.
pub fn parse_holidays(text: &str) -> Result<BTreeSet<NaiveDate>, String> {
    let dates = text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
    let holidays: BTreeSet<NaiveDate> = dates.map(calendar::parse_date).collect::<Result<_, _>>()?;
    if holidays.len() > HOLIDAYS_MAX {
        return Err(format!("there are more than {HOLIDAYS_MAX} holidays; leave out those that are past"));
    }
    Ok(holidays)
}

/// In order, blanks between: [`parse_holidays`] reads it again.
#[must_use]
pub fn holidays_text(holidays: &BTreeSet<NaiveDate>) -> String {
    holidays.iter().map(NaiveDate::to_string).collect::<Vec<_>>().join(" ")
}
