//! Dates as people give them, and the instants that they mean.
//!
//! The rules (DESIGN 1): a local time that a DST change skips means the first instant after it; one that happens twice
//! means the first; a date alone means the cutoff time. Instants are UTC, cut to microseconds.

mod cron;

use std::str::FromStr;

use chrono::{
    DateTime, Duration, FixedOffset, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, SubsecRound, TimeZone, Timelike,
    Utc,
};
use chrono_tz::Tz;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

pub use self::cron::Cron;

/// Cuts an instant to microseconds, which both databases keep.
#[must_use]
pub fn to_micros(at: DateTime<Utc>) -> DateTime<Utc> {
    at.trunc_subsecs(6)
}

/// A date as a person writes it: `now`, `2026-12-01`, `2026-12-01T09:00`, or RFC 3339 with an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Now,
    Date(NaiveDate),
    Local(NaiveDateTime),
    Instant(DateTime<FixedOffset>),
}

/// The date as it was given, kept beside the instant that it resolved to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Planned {
    /// As the person gave it, seconds only where there are some; null for "now".
    pub planned_for: Option<String>,
    /// The IANA zone that it was read in; null where it did not matter.
    pub zone: Option<String>,
}

/// The years that both databases can hold and order.
const YEARS: std::ops::RangeInclusive<i32> = 1970..=9998;

impl When {
    /// # Errors
    /// A sentence that shows the forms there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let when = if text.eq_ignore_ascii_case("now") {
            Self::Now
        } else if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
            Self::Date(date)
        } else if let Some(local) = parse_local(text) {
            Self::Local(local)
        } else if let Ok(at) = DateTime::parse_from_rfc3339(text) {
            Self::Instant(at.trunc_subsecs(6))
        } else {
            return Err(format!(
                "`{text}` is not a date that can be read; write 2026-12-01, 2026-12-01T09:00, \
                 2026-12-01T09:00:00-05:00, or now"
            ));
        };
        when.in_range()
            .then_some(when)
            .ok_or_else(|| format!("`{text}` is outside the years {} to {}", YEARS.start(), YEARS.end()))
    }

    fn in_range(self) -> bool {
        use chrono::Datelike;
        match self {
            Self::Now => true,
            Self::Date(date) => YEARS.contains(&date.year()),
            Self::Local(local) => YEARS.contains(&local.year()),
            Self::Instant(at) => YEARS.contains(&at.year()),
        }
    }

    /// The instant that it means in `zone`, and what to keep of it.
    #[must_use]
    pub fn resolve(self, zone: Tz, cutoff: NaiveTime, now: DateTime<Utc>) -> (DateTime<Utc>, Planned) {
        let planned = |text: String, zone: Option<Tz>| Planned {
            planned_for: Some(text),
            zone: zone.map(|zone| zone.name().to_owned()),
        };
        match self {
            Self::Now => (now, Planned::default()),
            Self::Date(date) => (first_instant(date.and_time(cutoff), zone), planned(date.to_string(), Some(zone))),
            Self::Local(local) => (first_instant(local, zone), planned(shortest(local), Some(zone))),
            Self::Instant(at) => (at.to_utc(), planned(at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true), None)),
        }
    }
}

/// Without seconds where there are none, as people write it.
fn shortest(local: NaiveDateTime) -> String {
    let format = if local.time().num_seconds_from_midnight().is_multiple_of(60) && local.time().nanosecond() == 0 {
        "%Y-%m-%dT%H:%M"
    } else {
        "%Y-%m-%dT%H:%M:%S%.f"
    };
    local.format(format).to_string()
}

fn parse_local(text: &str) -> Option<NaiveDateTime> {
    ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"]
        .into_iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .map(|local| local.trunc_subsecs(6))
}

/// The first instant at which the clocks of `zone` show `local` or, where they skip it, something later.
#[must_use]
pub fn first_instant(local: NaiveDateTime, zone: Tz) -> DateTime<Utc> {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(at) => at.to_utc(),
        LocalResult::Ambiguous(first, second) => first.min(second).to_utc(),
        LocalResult::None => end_of_gap(local, zone),
    }
}

/// Where `local` is skipped: the instant at which the clocks jump over it, found by halving. Within two days on either
/// side of a gap no zone has a second change.
fn end_of_gap(local: NaiveDateTime, zone: Tz) -> DateTime<Utc> {
    let mut before = local.and_utc() - Duration::days(2);
    let mut after = local.and_utc() + Duration::days(2);
    while after - before > Duration::seconds(1) {
        let middle = before + Duration::seconds((after - before).num_seconds() / 2);
        if middle.with_timezone(&zone).naive_local() < local {
            before = middle;
        } else {
            after = middle;
        }
    }
    after.trunc_subsecs(0)
}

/// # Errors
/// A sentence that says what a zone is.
pub fn parse_zone(text: &str) -> Result<Tz, String> {
    let text = text.trim();
    Tz::from_str(text)
        .map_err(|_| format!("`{text}` is not an IANA time zone, such as America/New_York, Europe/Berlin or UTC"))
}

/// # Errors
/// A sentence that shows the form.
pub fn parse_time(text: &str) -> Result<NaiveTime, String> {
    let text = text.trim();
    NaiveTime::parse_from_str(text, "%H:%M").map_err(|_| format!("`{text}` is not a time of day; write it like 17:30"))
}

/// # Errors
/// A sentence that shows the form.
pub fn parse_date(text: &str) -> Result<NaiveDate, String> {
    use chrono::Datelike;
    let text = text.trim();
    NaiveDate::parse_from_str(text, "%Y-%m-%d")
        .ok()
        .filter(|date| (1..=9999).contains(&date.year()))
        .ok_or_else(|| format!("`{text}` is not a date; write it like 2026-11-30"))
}

/// For serde: `17:30`.
///
/// # Errors
/// Those of the serializer.
pub fn serialize_time<S: Serializer>(time: &NaiveTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&time.format("%H:%M"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, zone: &str) -> String {
        let zone = parse_zone(zone).unwrap();
        let (at, _) = When::parse(text).unwrap().resolve(zone, NaiveTime::MIN, DateTime::UNIX_EPOCH);
        at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
    }

    #[test]
    fn a_local_time_is_read_in_its_zone() {
        assert_eq!(at("2026-12-01T09:00", "America/New_York"), "2026-12-01T14:00:00Z");
        assert_eq!(at("2026-07-01T09:00", "America/New_York"), "2026-07-01T13:00:00Z");
        assert_eq!(at("2026-12-01", "Asia/Kathmandu"), "2026-11-30T18:15:00Z");
        assert_eq!(at("2026-12-01T09:00:00-05:00", "Asia/Tokyo"), "2026-12-01T14:00:00Z");
        assert_eq!(at("2026-12-01T09:00:00.123456789Z", "UTC"), "2026-12-01T09:00:00.123456Z");
    }

    #[test]
    fn a_skipped_local_time_means_the_first_instant_after_the_gap() {
        assert_eq!(at("2026-03-08T02:30", "America/New_York"), "2026-03-08T07:00:00Z");
        assert_eq!(at("2026-03-08T02:00", "America/New_York"), "2026-03-08T07:00:00Z");
        assert_eq!(at("2026-03-29T02:59:59", "Europe/Berlin"), "2026-03-29T01:00:00Z");
        // half an hour: Lord Howe Island
        assert_eq!(at("2026-10-04T02:10", "Australia/Lord_Howe"), "2026-10-03T15:30:00Z");
        // at midnight, so that a date alone is skipped: Cuba
        assert_eq!(at("2026-03-08", "America/Havana"), "2026-03-08T05:00:00Z");
        // a whole day: Samoa crossed the date line
        assert_eq!(at("2011-12-30", "Pacific/Apia"), "2011-12-30T10:00:00Z");
    }

    #[test]
    fn a_local_time_that_happens_twice_means_the_first() {
        assert_eq!(at("2026-11-01T01:30", "America/New_York"), "2026-11-01T05:30:00Z");
        assert_eq!(at("2026-10-25T02:30", "Europe/Berlin"), "2026-10-25T00:30:00Z");
    }

    #[test]
    fn a_date_alone_means_the_cutoff_and_is_kept_as_given() {
        let zone = parse_zone("Europe/Berlin").unwrap();
        let (at, planned) =
            When::parse("2026-12-01").unwrap().resolve(zone, parse_time("17:30").unwrap(), DateTime::UNIX_EPOCH);
        assert_eq!(at.to_rfc3339(), "2026-12-01T16:30:00+00:00");
        assert_eq!(planned.planned_for.as_deref(), Some("2026-12-01"));
        assert_eq!(planned.zone.as_deref(), Some("Europe/Berlin"));
    }

    #[test]
    fn what_is_not_a_date_is_refused_with_the_forms() {
        for text in
            ["", "tomorrow", "2026-02-30", "2026-13-01", "01.12.2026", "2026-12-01T25:00", "0000-01-01", "9999-12-31"]
        {
            assert!(When::parse(text).is_err(), "{text}");
        }
        assert!(parse_zone("New York").is_err());
        assert!(parse_time("25:00").is_err());
    }
}
