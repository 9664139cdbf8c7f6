//! When a campaign may disconnect: on which days, between which hours, and not on holidays.
//!
//! Everything derives from intervals of instants: for each local date of a clause's days, from the first instant at
//! which the clocks show the start to the first at which they show the end. What a DST change skips is not there, what
//! it repeats is there twice. Holidays are cut out, midnight to midnight, also of a window that began the evening
//! before. Intervals that overlap or touch count as one.

mod holidays;
mod hours;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::{Serialize, Serializer, ser::SerializeStruct};
use utoipa::openapi::{ArrayBuilder, KnownFormat, Object, ObjectBuilder, RefOr, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

pub use self::holidays::{HOLIDAYS_MAX, holidays_text, parse_holidays};
pub use self::hours::{CLAUSES_MAX, Hours};
use self::hours::{Clauses, Stretch};
use super::calendar::first_instant;

/// How far ahead is looked for an opening, in days: ten years. What opens no sooner was meant otherwise, and the walk
/// over the days must end.
const HORIZON_DAYS: u64 = 3_653;

/// Hours in a zone, and the local dates on which nothing happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    clauses: Clauses,
    zone: Tz,
    holidays: BTreeSet<NaiveDate>,
}

/// From the first instant to the second, without it.
type Interval = (DateTime<Utc>, DateTime<Utc>);

impl Window {
    /// Hours as a person writes them, such as `mon-fri 09:00-17:00; sat 22:00-02:00 America/New_York`. Without a zone
    /// of their own they are read in the company's. None: always open, for an empty text or `always`; holidays close
    /// nothing then.
    ///
    /// # Errors
    /// A sentence that shows the form.
    pub fn parse(text: &str, company_zone: Tz, holidays: &BTreeSet<NaiveDate>) -> Result<Option<Self>, String> {
        Ok(Hours::parse(text)?.map(|hours| Self::new(hours, company_zone, holidays.clone())))
    }

    #[must_use]
    pub fn new(hours: Hours, company_zone: Tz, holidays: BTreeSet<NaiveDate>) -> Self {
        Self { zone: hours.zone().unwrap_or(company_zone), clauses: hours.clauses, holidays }
    }

    /// The hours and their zone, to be stored: [`Window::parse`] makes the same of it in any company's zone.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{} {}", self.clauses.text(), self.zone.name())
    }

    #[must_use]
    pub fn zone(&self) -> Tz {
        self.zone
    }

    #[must_use]
    pub fn holidays(&self) -> &BTreeSet<NaiveDate> {
        &self.holidays
    }

    #[must_use]
    pub fn is_open(&self, at: DateTime<Utc>) -> bool {
        self.pieces(at).take_while(|(from, _)| *from <= at).any(|(_, until)| until > at)
    }

    /// When it is open next: `at` itself while it is. None: not within ten years.
    #[must_use]
    pub fn next_open(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.pieces(at).find(|(_, until)| *until > at).map(|(from, _)| from.max(at))
    }

    /// When it closes, if it is open at `at`. None: it is closed, or it never closes.
    #[must_use]
    pub fn closes_at(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if self.clauses.cover_the_week() {
            return if self.is_open(at) { self.next_holiday(at) } else { None };
        }
        // Some hours of each week are closed, so this ends within a few steps.
        self.openings(at).next().filter(|(from, _)| *from <= at).map(|(_, until)| until)
    }

    /// The first instant by which it has been open for `work` since `from`; `from` itself where nothing is to be done.
    /// None: not within ten years.
    #[must_use]
    pub fn advance(&self, from: DateTime<Utc>, work: TimeDelta) -> Option<DateTime<Utc>> {
        if work <= TimeDelta::zero() {
            return Some(from);
        }
        let mut left = work;
        let mut done_until = from;
        for (start, end) in self.pieces(from) {
            // Pieces are sorted by their start and may overlap.
            let start = start.max(done_until);
            if end <= start {
                continue;
            }
            if left <= end - start {
                return start.checked_add_signed(left);
            }
            left -= end - start;
            done_until = end;
        }
        None
    }

    /// The openings that end after `at`, each as a whole, one after another with some time between.
    fn openings(&self, at: DateTime<Utc>) -> impl Iterator<Item = Interval> {
        let mut pieces = self.pieces(at).filter(move |(_, until)| *until > at).peekable();
        std::iter::from_fn(move || {
            let (from, mut until) = pieces.next()?;
            while let Some((_, further)) = pieces.next_if(|(next, _)| *next <= until) {
                until = until.max(further);
            }
            Some((from, until))
        })
    }

    /// What the clauses say for each date from shortly before `at` to the horizon, without holidays, sorted by the
    /// start. Of those that begin before `at` all are there that do not end before it.
    fn pieces(&self, at: DateTime<Utc>) -> impl Iterator<Item = Interval> {
        let today = at.with_timezone(&self.zone).date_naive();
        // No clause reaches further than to the end of the next date; one more, for zones that skipped a date.
        let first = today.checked_sub_days(Days::new(2)).unwrap_or(today);
        let last = today.checked_add_days(Days::new(HORIZON_DAYS)).unwrap_or(today);
        first.iter_days().take_while(move |date| *date <= last).flat_map(|date| {
            let mut pieces: Vec<Interval> =
                self.clauses.on(date).flat_map(|hours| self.without_holidays(date, hours)).collect();
            pieces.sort_unstable();
            pieces
        })
    }

    /// A stretch of hours that begins on `date` and may end on the next, as instants.
    fn without_holidays(&self, date: NaiveDate, stretch: Stretch) -> impl Iterator<Item = Interval> + use<> {
        let next = date.succ_opt().unwrap_or(date);
        let end_date = if stretch.past_midnight() { next } else { date };
        let mut from = self.instant(date, stretch.start());
        let mut until = match stretch.end() {
            Some(end) => self.instant(end_date, end),
            None => self.midnight(next),
        };
        if self.holidays.contains(&date) {
            from = from.max(self.midnight(next));
        }
        if stretch.past_midnight() && self.holidays.contains(&next) {
            until = until.min(self.midnight(next));
        }
        // Nothing is left of hours that a DST change skips.
        (from < until).then_some((from, until)).into_iter()
    }

    /// When the first holiday begins that takes some time and is not over at `at`.
    fn next_holiday(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let today = at.with_timezone(&self.zone).date_naive();
        self.holidays.range(today..).find_map(|date| {
            let (from, until) = (self.midnight(*date), self.midnight(date.succ_opt()?));
            (from < until && until > at).then_some(from)
        })
    }

    fn midnight(&self, date: NaiveDate) -> DateTime<Utc> {
        self.instant(date, NaiveTime::MIN)
    }

    fn instant(&self, date: NaiveDate, time: NaiveTime) -> DateTime<Utc> {
        first_instant(date.and_time(time), self.zone)
    }
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut window = serializer.serialize_struct("Window", 3)?;
        window.serialize_field("hours", &self.clauses.text())?;
        window.serialize_field("zone", &self.zone)?;
        window.serialize_field("holidays", &self.holidays)?;
        window.end()
    }
}

impl PartialSchema for Window {
    fn schema() -> RefOr<Schema> {
        let text = |description: &str, example: &str| {
            Object::builder().schema_type(Type::String).description(Some(description)).examples([example])
        };
        let date =
            Object::builder().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::Date)));
        ObjectBuilder::new()
            .description(Some("When a campaign may disconnect."))
            .property("hours", text("Days and hours, with semicolons between.", "mon-fri 09:00-17:00"))
            .required("hours")
            .property("zone", text("The IANA zone that they are read in.", "America/New_York"))
            .required("zone")
            .property("holidays", ArrayBuilder::new().items(date).description(Some("Dates on which it stays closed.")))
            .required("holidays")
            .into()
    }
}

impl ToSchema for Window {}
