//! Cron expressions: those of the configuration, read in UTC, and those of people, read in a zone.

use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use cron::Schedule;

use super::first_instant;

/// When something recurs.
#[derive(Debug, Clone)]
pub struct Cron {
    schedule: Schedule,
    text: String,
}

impl Cron {
    /// In bytes. One that names each minute and each hour is a quarter of it.
    pub const LENGTH_MAX: usize = 1_000;

    /// An expression of six or seven fields, seconds first.
    ///
    /// # Errors
    /// A sentence: it can't be read, or it never fires.
    pub fn parse(text: &str) -> Result<Self, String> {
        check_length(text)?;
        let schedule = Schedule::from_str(text).map_err(|error| {
            format!(
                "`{text}` is not a cron expression with seconds, such as `*/30 * * * * *`: {}",
                error.to_string().trim()
            )
        })?;
        let cron = Self { schedule, text: text.to_owned() };
        if cron.schedule.upcoming(Utc).next().is_none() {
            return Err(format!("the cron expression `{text}` never fires"));
        }
        Ok(cron)
    }

    /// An expression as people write it: five fields, minute first, where 0 and 7 are Sunday; six or seven with
    /// seconds in front and years behind, where weekdays have names, since programs differ in how they number them
    /// there; or `@daily` and the like.
    ///
    /// Either the day of the month or the weekday is `*`: with both, some programs take days that are either, others
    /// those that are both.
    ///
    /// Whether it fires ever again is another question: see [`Cron::next_after_in`].
    ///
    /// # Errors
    /// A sentence: which field can't be read.
    pub fn parse_user(text: &str) -> Result<Self, String> {
        check_length(text)?;
        let text = text.trim();
        let fields: Vec<&str> = text.split_whitespace().collect();
        let (second, [minute, hour, day, month, weekday], year) = match *fields.as_slice() {
            [shorthand] if shorthand.starts_with('@') => {
                let schedule = Schedule::from_str(shorthand)
                    .map_err(|_| format!("`{shorthand}` is none of @hourly, @daily, @weekly, @monthly, and @yearly"))?;
                return Ok(Self { schedule, text: text.to_owned() });
            }
            [minute, hour, day, month, weekday] => ("0", [minute, hour, day, month, weekday], "*"),
            [second, minute, hour, day, month, weekday] => (second, [minute, hour, day, month, weekday], "*"),
            [second, minute, hour, day, month, weekday, year] => (second, [minute, hour, day, month, weekday], year),
            _ => {
                return Err(format!(
                    "`{text}` is not a cron expression; write minute, hour, day of the month, month and weekday, such \
                     as `0 2 1 * *` for 02:00 on the first of each month"
                ));
            }
        };
        let weekdays = weekdays(weekday, fields.len() == 5)?;
        if !matches!(day, "*" | "?") && weekdays != "*" {
            return Err(format!(
                "`{text}` names days of the month and weekdays, and programs differ in what that means; leave one of \
                 them `*`"
            ));
        }
        for (i, (name, field)) in
            [("second", second), ("minute", minute), ("hour", hour), ("day of the month", day), ("month", month)]
                .into_iter()
                .enumerate()
        {
            let mut alone = ["*"; 6];
            alone[i] = field;
            Schedule::from_str(&alone.join(" ")).map_err(|_| format!("`{field}` can't be the {name} of `{text}`"))?;
        }
        let expression = format!("{second} {minute} {hour} {day} {month} {weekdays} {year}");
        let schedule =
            Schedule::from_str(&expression).map_err(|_| format!("`{year}` can't be the year of `{text}`"))?;
        Ok(Self { schedule, text: text.to_owned() })
    }

    /// As it was given.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first firing after `at`, read in UTC.
    #[must_use]
    pub fn next_after(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.schedule.after(&at).next()
    }

    /// The first firing after `at`, read in `zone`. At a local time that a DST change skips it fires at the first
    /// instant after it; at one that happens twice it fires the first time.
    #[must_use]
    pub fn next_after_in(&self, at: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        // Local times are walked as if they were UTC. Those up to `local` fired by `at`; where an hour comes twice,
        // the next ones did as well, the first time round.
        let local = at.with_timezone(&zone).naive_local().and_utc();
        self.schedule.after(&local).map(|local| first_instant(local.naive_utc(), zone)).find(|fires_at| *fires_at > at)
    }

    /// The last firing no later than `until`, read in `zone`.
    #[must_use]
    pub fn last_until_in(&self, until: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        let local = until.with_timezone(&zone).naive_local().and_utc() + TimeDelta::seconds(1);
        let before = self.schedule.after(&local).rev();
        before.map(|local| first_instant(local.naive_utc(), zone)).find(|fires_at| *fires_at <= until)
    }
}

fn check_length(text: &str) -> Result<(), String> {
    if text.len() > Cron::LENGTH_MAX {
        return Err(format!("a cron expression has at most {} letters", Cron::LENGTH_MAX));
    }
    Ok(())
}

const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// The weekdays of a field by their names, which mean the same everywhere, or `*` for all of them. The `cron` crate
/// numbers them from Sunday = 1.
fn weekdays(field: &str, numbered: bool) -> Result<String, String> {
    let mut on = [false; 7];
    for part in field.split(',') {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let step = match step.map(str::parse::<usize>) {
            None => 1,
            Some(Ok(step @ 1..=7)) => step,
            Some(_) => return Err(format!("`{part}` has no step of 1 to 7 among the weekdays")),
        };
        let (first, last) = match range.split_once('-') {
            _ if matches!(range, "*" | "?") => (0, 6),
            Some((first, last)) => (weekday(first, numbered)?, weekday(last, numbered)?),
            // As in every field, `2/2` goes on to the last.
            None if part.contains('/') => (weekday(range, numbered)?, 6),
            None => (weekday(range, numbered)?, weekday(range, numbered)?),
        };
        // Sunday ends a week as well: `fri-sun`.
        let last = if last < first && last == 0 { 7 } else { last };
        if last < first {
            return Err(format!("the weekdays `{range}` go backwards; write two ranges with a comma between"));
        }
        for day in (first..=last).step_by(step) {
            on[day % 7] = true;
        }
    }
    if on == [true; 7] {
        return Ok("*".into());
    }
    let names = WEEKDAYS.into_iter().zip(on).filter(|(_, on)| *on).map(|(name, _)| name);
    Ok(names.collect::<Vec<_>>().join(","))
}

/// From Sunday = 0; 7 is Sunday, too.
fn weekday(text: &str, numbered: bool) -> Result<usize, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if digits && !numbered {
        return Err(format!(
            "the weekday `{text}` is a number, and with a field for seconds programs differ in what it means; write \
             its name, such as MON"
        ));
    }
    let number = match text.parse::<chrono::Weekday>() {
        Ok(day) => Some(day.num_days_from_sunday() as usize),
        Err(_) => text.parse().ok().filter(|number| digits && (0..=7).contains(number)),
    };
    number.ok_or_else(|| format!("`{text}` is not a weekday; write a name, such as MON, or 0 to 7 from Sunday on"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::calendar::parse_zone;
    use chrono::TimeDelta;
    use proptest::prelude::*;

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().unwrap_or_else(|_| panic!("{text}"))
    }

    fn zone(name: &str) -> Tz {
        parse_zone(name).unwrap()
    }

    fn user(text: &str) -> Cron {
        Cron::parse_user(text).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The firings after `from`.
    fn firings(cron: &str, zone_name: &str, from: &str, count: usize) -> Vec<String> {
        let cron = user(cron);
        std::iter::successors(Some(utc(from)), |at| cron.next_after_in(*at, zone(zone_name)))
            .skip(1)
            .take(count)
            .map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
            .collect()
    }

    #[test]
    fn cron_expressions_are_checked() {
        assert!(Cron::parse("*/30 * * * * *").is_ok());
        assert!(Cron::parse("every day").unwrap_err().contains("`every day`"));
        assert!(Cron::parse("0 0 0 30 2 *").unwrap_err().contains("never fires"));
    }

    #[test]
    fn people_write_five_fields_with_the_minute_first() {
        let first_of_month = firings("0 2 1 * *", "America/New_York", "2026-10-15T00:00:00Z", 2);
        assert_eq!(first_of_month, ["2026-11-01T07:00:00Z", "2026-12-01T07:00:00Z"]);
        assert_eq!(firings("30 8 * * *", "UTC", "2026-10-15T08:30:00Z", 1), ["2026-10-16T08:30:00Z"]);
        assert_eq!(firings("30 8 * * *", "UTC", "2026-10-15T08:29:59.999999Z", 1), ["2026-10-15T08:30:00Z"]);
        assert_eq!(firings("15 30 8 * * *", "UTC", "2026-10-15T00:00:00Z", 1), ["2026-10-15T08:30:15Z"]);
        assert_eq!(firings("0 0 0 1 1 ? 2099", "UTC", "2026-10-15T00:00:00Z", 2), ["2099-01-01T00:00:00Z"]);
        assert_eq!(firings("@daily", "Asia/Tokyo", "2026-10-15T00:00:00Z", 1), ["2026-10-15T15:00:00Z"]);
        assert_eq!(user("  0 2  1 * * ").text(), "0 2  1 * *");
    }

    #[test]
    fn weekdays_are_numbered_as_in_every_cron() {
        // 2026-10-18 is a Sunday
        for sunday in ["0", "7", "SUN", "sunday"] {
            let fired = firings(&format!("0 0 * * {sunday}"), "UTC", "2026-10-14T00:00:00Z", 1);
            assert_eq!(fired, ["2026-10-18T00:00:00Z"], "{sunday}");
        }
        for (field, names) in [
            ("1", "MON"),
            ("6", "SAT"),
            ("1-5", "MON,TUE,WED,THU,FRI"),
            ("mon-fri", "MON,TUE,WED,THU,FRI"),
            ("5-7", "SUN,FRI,SAT"),
            ("fri-sun", "SUN,FRI,SAT"),
            ("0-6", "*"),
            ("1-7", "*"),
            ("*", "*"),
            ("*/2", "SUN,TUE,THU,SAT"),
            ("1-5/2", "MON,WED,FRI"),
            ("2/2", "TUE,THU,SAT"),
            ("1,wed,7", "SUN,MON,WED"),
        ] {
            assert_eq!(weekdays(field, true).as_deref(), Ok(names), "{field}");
        }
        assert_eq!(firings("0 0 0 * * MON", "UTC", "2026-10-14T00:00:00Z", 1), ["2026-10-19T00:00:00Z"]);
        assert!(Cron::parse_user("0 0 0 * * 1").unwrap_err().contains("write its name, such as MON"));
        assert!(Cron::parse_user("0 0 0 * * */2").is_ok(), "a step is no weekday");
    }

    #[test]
    fn what_people_cannot_have_meant_is_refused() {
        for (text, part) in [
            ("", "write minute, hour"),
            ("daily", "write minute, hour"),
            ("@fortnightly", "none of @hourly"),
            ("0 2 1 *", "write minute, hour"),
            ("60 2 1 * *", "`60` can't be the minute"),
            ("0 24 1 * *", "`24` can't be the hour"),
            ("0 2 32 * *", "`32` can't be the day of the month"),
            ("0 2 1 13 *", "`13` can't be the month"),
            ("0 2 */0 * *", "`*/0` can't be the day of the month"),
            ("61 0 0 * * *", "`61` can't be the second"),
            ("0 0 0 * * * soon", "`soon` can't be the year"),
            ("0 2 * * 8", "`8` is not a weekday"),
            ("0 2 * * mon-", "`` is not a weekday"),
            ("0 2 * * sat-mon", "go backwards"),
            ("0 2 * * 1/0", "no step of 1 to 7"),
            ("0 2 1 * 1", "leave one of them `*`"),
        ] {
            let error = Cron::parse_user(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn what_dst_skips_fires_at_the_first_instant_after_it() {
        let new_york = firings("30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", 2);
        assert_eq!(new_york, ["2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"]);
        let twice_in_the_gap = firings("10,50 2 * * *", "America/New_York", "2026-03-08T05:00:00Z", 2);
        assert_eq!(twice_in_the_gap, ["2026-03-08T07:00:00Z", "2026-03-09T06:10:00Z"]);
        let lord_howe = firings("10 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", 1);
        assert_eq!(lord_howe, ["2026-10-03T15:30:00Z"]);
        // Samoa had no 2011-12-30
        let samoa = firings("0 8 30 * *", "Pacific/Apia", "2011-12-01T00:00:00Z", 1);
        assert_eq!(samoa, ["2011-12-30T10:00:00Z"]);
    }

    #[test]
    fn what_happens_twice_fires_the_first_time() {
        let new_york = firings("30 1 * * *", "America/New_York", "2026-11-01T00:00:00Z", 2);
        assert_eq!(new_york, ["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"]);
        let in_the_second_hour = firings("*/30 * * * *", "America/New_York", "2026-11-01T05:30:00Z", 2);
        assert_eq!(in_the_second_hour, ["2026-11-01T07:00:00Z", "2026-11-01T07:30:00Z"]);
        let asked_in_the_second_hour = firings("*/30 * * * *", "America/New_York", "2026-11-01T06:10:00Z", 1);
        assert_eq!(asked_in_the_second_hour, ["2026-11-01T07:00:00Z"]);
        let berlin = firings("0 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 1);
        assert_eq!(berlin, ["2026-10-25T00:00:00Z"]);
    }

    #[test]
    fn the_last_firing_is_the_one_that_the_next_ones_lead_to() {
        let new_york = zone("America/New_York");
        let last = |text: &str, until: &str| user(text).last_until_in(utc(until), new_york);
        assert_eq!(last("0 0 * * *", "2026-12-04T05:00:00Z"), Some(utc("2026-12-04T05:00:00Z")), "its own instant too");
        assert_eq!(last("0 0 * * *", "2026-12-04T04:59:59Z"), Some(utc("2026-12-03T05:00:00Z")));
        assert_eq!(
            last("0 2 * * *", "2026-03-08T12:00:00Z"),
            Some(utc("2026-03-08T07:00:00Z")),
            "DST skips two o'clock"
        );
        assert_eq!(last("0 0 3 1 12 * 2099", "2026-12-04T05:00:00Z"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[-*/,?0-9a-zA-Z@ ]{0,40}") {
            let _ = Cron::parse_user(&text);
        }

        #[test]
        fn it_fires_after_at_and_nothing_is_left_out(
            hours in 0..17_520_i64, us in 0..3_600_000_000_i64, minute in 0..60, hour in 0..24,
            name in proptest::sample::select(vec!["America/New_York", "Australia/Lord_Howe", "America/Havana", "UTC"]),
        ) {
            let (cron, zone) = (user(&format!("{minute} {hour} * * *")), zone(name));
            let at = utc("2026-01-01T00:00:00Z") + TimeDelta::hours(hours) + TimeDelta::microseconds(us);
            let next = cron.next_after_in(at, zone).unwrap();
            prop_assert!(next > at && next - at <= TimeDelta::hours(26), "once each local day");
            let just_before = next - TimeDelta::microseconds(1);
            prop_assert_eq!(cron.next_after_in(just_before, zone), Some(next));
            prop_assert_eq!(cron.last_until_in(next, zone), Some(next));
        }
    }
}
