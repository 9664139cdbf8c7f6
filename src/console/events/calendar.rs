//! The calendar: a month at a glance, with how many disconnects are due on each day.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{Datelike, Days, Months, NaiveDate, Weekday};
use serde::Deserialize;

use super::midnight;
use crate::api::problem::{Answer, Problem};
use crate::console::Shared;
use crate::console::gate::Visitor;
use crate::console::reader::Reader;
use crate::domain::event::State as EventState;
use crate::store::{DUE_COUNTED_MAX, DueCounts};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct CalendarAsked {
    /// `2026-12`; without it the one that it is.
    month: String,
}

struct Count {
    state: &'static str,
    shown: String,
    path: String,
}

struct Day {
    date: NaiveDate,
    number: u32,
    shown: String,
    is_of_month: bool,
    is_today: bool,
    path: String,
    total: i64,
    /// More than are counted.
    is_cut: bool,
    counts: Vec<Count>,
}

impl Day {
    fn of(date: NaiveDate, counts: &DueCounts, month: NaiveDate, today: NaiveDate, reader: Reader) -> Self {
        let path = format!("/events?from={date}&to={date}");
        let states = EventState::ALL.into_iter().filter(|state| counts.of(*state) > 0);
        Self {
            date,
            number: date.day(),
            shown: reader.date(date),
            is_of_month: date.month() == month.month(),
            is_today: date == today,
            total: counts.total(),
            is_cut: counts.is_cut(),
            counts: states
                .map(|state| Count {
                    state: state.as_str(),
                    shown: reader.count(counts.of(state)),
                    path: format!("{path}&state={}", state.as_str()),
                })
                .collect(),
            path,
        }
    }
}

#[derive(Template)]
#[template(path = "calendar.html")]
struct CalendarPart {
    month: String,
    value: String,
    before: Option<String>,
    after: Option<String>,
    zone: &'static str,
    weeks: Vec<Vec<Day>>,
    is_empty: bool,
    /// How many of a day are counted at most.
    most: String,
}

/// The first day of a month.
fn first_of(month: &str) -> Answer<NaiveDate> {
    let parsed = NaiveDate::parse_from_str(&format!("{}-01", month.trim()), "%Y-%m-%d").ok();
    parsed.filter(|day| (1900..=9000).contains(&day.year())).ok_or_else(|| {
        let detail = "A month is written like 2026-12.";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
    })
}

pub async fn show(
    State(console): State<Shared>,
    visitor: Visitor,
    Query(asked): Query<CalendarAsked>,
) -> Answer<Response> {
    let (zone, now) = (console.store.settings().await?.company_zone, console.store.now().await?);
    let today = now.with_timezone(&zone).date_naive();
    let month =
        if asked.month.trim().is_empty() { today.with_day(1).unwrap_or(today) } else { first_of(&asked.month)? };
    let days = days_of(month);
    let ends = days.last().and_then(|last| last.checked_add_days(Days::new(1)));
    let bounds = days.iter().copied().chain(ends).map(|day| midnight(day, zone, now)).collect::<Answer<Vec<_>>>()?;
    let counts = console.store.due_counts(&bounds).await?;
    let reader = visitor.asked.reader;
    let mut shown =
        days.iter().zip(&counts).map(|(day, counts)| Day::of(*day, counts, month, today, reader)).peekable();
    let mut weeks = Vec::new();
    while shown.peek().is_some() {
        weeks.push(shown.by_ref().take(7).collect());
    }
    let part = CalendarPart {
        month: reader.month(month),
        value: month.format("%Y-%m").to_string(),
        before: month.checked_sub_months(Months::new(1)).map(link),
        after: month.checked_add_months(Months::new(1)).map(link),
        zone: zone.name(),
        weeks,
        most: reader.count(DUE_COUNTED_MAX.into()),
        is_empty: counts.iter().all(|counts| counts.total() == 0),
    };
    visitor.view(&format!("Calendar, {}", part.month), &part)
}

fn link(month: NaiveDate) -> String {
    format!("/events/calendar?month={}", month.format("%Y-%m"))
}

/// Whole weeks, from the Monday before a month's first day to the Sunday after its last: six at most.
fn days_of(month: NaiveDate) -> Vec<NaiveDate> {
    let first = month.week(Weekday::Mon).checked_first_day().unwrap_or(month);
    let last = month.checked_add_months(Months::new(1)).and_then(|next| next.pred_opt()).unwrap_or(month);
    let last = last.week(Weekday::Mon).checked_last_day().unwrap_or(last);
    first.iter_days().take_while(|day| *day <= last).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_shown_in_whole_weeks() {
        for (month, first, weeks) in
            [("2026-12", "2026-11-30", 5), ("2027-02", "2027-02-01", 4), ("2027-08", "2027-07-26", 6)]
        {
            let days = days_of(first_of(month).unwrap());
            assert_eq!((days[0].to_string().as_str(), days.len()), (first, weeks * 7), "{month}");
        }
        for wrong in ["2026", "2026-13", "x", "99999-01", "-1-01"] {
            assert!(first_of(wrong).is_err(), "{wrong}");
        }
    }
}
