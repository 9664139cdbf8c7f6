use proptest::prelude::*;

use super::*;
use crate::domain::calendar::parse_zone;

#[track_caller]
fn window(text: &str, holidays: &str) -> Window {
    let window = Window::parse(text, Tz::UTC, &parse_holidays(holidays).unwrap());
    window.unwrap_or_else(|error| panic!("{text}: {error}")).expect(text)
}

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap_or_else(|_| panic!("{text}"))
}

/// Opens at and closes at, from an instant on.
fn openings(window: &Window, from: &str, count: usize) -> Vec<[String; 2]> {
    let shown = |at: DateTime<Utc>| at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
    window.openings(utc(from)).take(count).map(|(from, until)| [from, until].map(shown)).collect()
}

#[track_caller]
fn opens(window: &Window, from: &str, expected: &[[&str; 2]]) {
    assert_eq!(openings(window, from, expected.len()), expected);
}

#[test]
fn a_text_is_kept_in_one_form_with_its_zone() {
    for (text, canonical) in [
        ("mon-fri 09:00-17:00", "mon-fri 09:00-17:00 UTC"),
        (
            " MON, Wednesday,thu  9:00-17:00 ; sat 22:00-02:00  Europe/Berlin ",
            "mon,wed,thu 09:00-17:00; sat 22:00-02:00 Europe/Berlin",
        ),
        ("fri-mon 00:00-24:00", "mon,fri-sun 00:00-24:00 UTC"),
        ("mon-sun 22:00-00:00", "daily 22:00-24:00 UTC"),
        ("daily 22:00-06:00 America/Argentina/Buenos_Aires", "daily 22:00-06:00 America/Argentina/Buenos_Aires"),
        ("sat,sun 08:00-09:00", "sat,sun 08:00-09:00 UTC"),
        ("tue-tue 08:00-09:00", "tue 08:00-09:00 UTC"),
    ] {
        let window = window(text, "2026-12-25");
        assert_eq!(window.text(), canonical);
        let tokyo = parse_zone("Asia/Tokyo").unwrap();
        assert_eq!(Window::parse(canonical, tokyo, window.holidays()), Ok(Some(window)), "{text}");
    }
    assert_eq!(Window::parse(" Always ", Tz::UTC, &BTreeSet::new()), Ok(None));
    assert_eq!(Window::parse("", Tz::UTC, &BTreeSet::new()), Ok(None));
}

#[test]
fn what_is_no_window_is_refused_with_the_form() {
    for (text, part) in [
        (";", "`` is not a part of a window; write days and hours"),
        ("mon-fri 09:00-17:00;", "`` is not a part"),
        ("09:00-17:00", "has no days"),
        ("mon", "`mon` is not a part"),
        ("workdays 09:00-17:00", "`workdays` is not a day; the days are mon, tue"),
        ("mon- 09:00-17:00", "`` is not a day"),
        ("mon,,tue 09:00-17:00", "`` is not a day"),
        ("mon 09:00", "`09:00` are no hours"),
        ("mon 09:00 - 17:00", "is not a part"),
        ("mon 09:00-25:00", "`25:00` is not a time of day"),
        ("mon 24:00-06:00", "`24:00` is not a time of day"),
        ("mon 09:00-09:00", "never opens, since it ends when it begins; write 00:00-24:00"),
        ("mon 00:00-00:00", "never opens"),
        ("mon 9:00-09:00", "never opens"),
        ("mon 09:00-17:00 Mars", "`Mars` is not an IANA time zone"),
        ("mon 09:00-17:00 UTC; tue 09:00-17:00", "write it once, at the very end"),
        ("mon 09:00-17:00 UTC UTC", "is not a part"),
        (&vec!["mon 09:00-17:00"; 25].join(";"), "at most 24 clauses"),
    ] {
        let error = Window::parse(text, Tz::UTC, &BTreeSet::new()).expect_err(text);
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn holidays_are_dates_with_blanks_or_commas_between() {
    let holidays = parse_holidays(" 2026-12-26,2026-12-25\n2027-01-01, 2026-12-25 ").unwrap();
    assert_eq!(holidays_text(&holidays), "2026-12-25 2026-12-26 2027-01-01");
    assert_eq!(parse_holidays(&holidays_text(&holidays)), Ok(holidays));
    assert_eq!(parse_holidays(""), Ok(BTreeSet::new()));
    assert!(parse_holidays("christmas").unwrap_err().contains("`christmas` is not a date"));
    let many: BTreeSet<NaiveDate> =
        NaiveDate::from_ymd_opt(2026, 1, 1).unwrap().iter_days().take(HOLIDAYS_MAX + 1).collect();
    assert!(parse_holidays(&holidays_text(&many)).unwrap_err().contains("more than 400"));
}

#[test]
fn it_is_shown_as_hours_zone_and_holidays() {
    let shown = serde_json::to_string(&window("mon 09:00-17:00 Asia/Tokyo", "2026-12-25")).unwrap();
    assert_eq!(shown, r#"{"hours":"mon 09:00-17:00","zone":"Asia/Tokyo","holidays":["2026-12-25"]}"#);
}

#[test]
fn it_opens_on_its_days_and_waits_over_the_week_end() {
    // 2026-12-04 is a Friday
    let office = window("mon-fri 09:00-17:00 America/New_York", "");
    opens(
        &office,
        "2026-12-04T12:00:00Z",
        &[["2026-12-04T14:00:00Z", "2026-12-04T22:00:00Z"], ["2026-12-07T14:00:00Z", "2026-12-07T22:00:00Z"]],
    );
    assert!(office.is_open(utc("2026-12-04T14:00:00Z")));
    assert!(office.is_open(utc("2026-12-04T21:59:59.999999Z")));
    assert!(!office.is_open(utc("2026-12-04T22:00:00Z")), "its end is not of it");
    assert!(!office.is_open(utc("2026-12-04T13:59:59.999999Z")));
    assert_eq!(office.closes_at(utc("2026-12-04T14:00:00Z")), Some(utc("2026-12-04T22:00:00Z")));
    assert_eq!(office.closes_at(utc("2026-12-04T22:00:00Z")), None);
    assert_eq!(office.next_open(utc("2026-12-04T15:00:00.5Z")), Some(utc("2026-12-04T15:00:00.5Z")));
    assert_eq!(office.next_open(utc("2026-12-04T22:00:00Z")), Some(utc("2026-12-07T14:00:00Z")));
}

#[test]
fn an_end_before_the_start_is_on_the_next_day_also_round_the_week() {
    // 2026-12-06 is a Sunday
    let night = window("sun 22:00-06:00", "");
    opens(&night, "2026-12-07T05:00:00Z", &[["2026-12-06T22:00:00Z", "2026-12-07T06:00:00Z"]]);
    assert!(night.is_open(utc("2026-12-07T05:59:59Z")));
    assert!(!night.is_open(utc("2026-12-06T05:00:00Z")), "the night to Sunday is Saturday's");
}

#[test]
fn hours_that_overlap_or_touch_are_one() {
    let touching = window("fri 22:00-24:00; sat 00:00-02:00; sat 01:00-03:00; fri 23:00-23:30", "");
    opens(
        &touching,
        "2026-12-04T12:00:00Z",
        &[["2026-12-04T22:00:00Z", "2026-12-05T03:00:00Z"], ["2026-12-11T22:00:00Z", "2026-12-12T03:00:00Z"]],
    );
    let work = touching.advance(utc("2026-12-04T12:00:00Z"), TimeDelta::hours(6));
    assert_eq!(work, Some(utc("2026-12-11T23:00:00Z")), "no hour counts twice");
}

#[test]
fn a_window_keeps_its_clock_times_over_dst_changes() {
    // the night that is an hour short, and the one that is an hour long
    let new_york = window("daily 00:00-06:00 America/New_York", "");
    opens(&new_york, "2026-03-08T05:00:00Z", &[["2026-03-08T05:00:00Z", "2026-03-08T10:00:00Z"]]);
    opens(&new_york, "2026-11-01T04:00:00Z", &[["2026-11-01T04:00:00Z", "2026-11-01T11:00:00Z"]]);
    let berlin = window("sat 22:00-04:00 Europe/Berlin", "");
    opens(&berlin, "2026-03-28T12:00:00Z", &[["2026-03-28T21:00:00Z", "2026-03-29T02:00:00Z"]]);
    opens(&berlin, "2026-10-24T12:00:00Z", &[["2026-10-24T20:00:00Z", "2026-10-25T03:00:00Z"]]);
    // half an hour
    let lord_howe = window("sun 00:00-03:00 Australia/Lord_Howe", "");
    opens(&lord_howe, "2026-10-03T12:00:00Z", &[["2026-10-03T13:30:00Z", "2026-10-03T16:00:00Z"]]);
    opens(&lord_howe, "2026-04-04T12:00:00Z", &[["2026-04-04T13:00:00Z", "2026-04-04T16:30:00Z"]]);
}

#[test]
fn hours_that_dst_skips_do_not_open_and_those_it_repeats_do_twice() {
    let skipped = window("sun 02:10-02:50 America/New_York", "");
    opens(&skipped, "2026-03-02T00:00:00Z", &[["2026-03-15T06:10:00Z", "2026-03-15T06:50:00Z"]]);
    assert_eq!(skipped.next_open(utc("2026-03-08T00:00:00Z")), Some(utc("2026-03-15T06:10:00Z")));
    let begins_in_the_gap = window("sun 02:30-04:00 America/New_York", "");
    opens(&begins_in_the_gap, "2026-03-08T00:00:00Z", &[["2026-03-08T07:00:00Z", "2026-03-08T08:00:00Z"]]);
    let repeated = window("sun 01:30-02:00 America/New_York", "");
    opens(&repeated, "2026-11-01T00:00:00Z", &[["2026-11-01T05:30:00Z", "2026-11-01T07:00:00Z"]]);
    // Samoa had no 2011-12-30, a Friday
    let samoa = window("fri 00:00-24:00 Pacific/Apia", "");
    opens(&samoa, "2011-12-25T00:00:00Z", &[["2012-01-05T10:00:00Z", "2012-01-06T10:00:00Z"]]);
}

#[test]
fn nothing_happens_on_a_holiday() {
    // 2026-12-25 is a Friday
    let office = window("daily 09:00-17:00", "2026-12-25 2026-12-26");
    assert_eq!(office.next_open(utc("2026-12-24T17:00:00Z")), Some(utc("2026-12-27T09:00:00Z")));
    let night = window("daily 22:00-06:00 Europe/Berlin", "2026-12-25");
    opens(
        &night,
        "2026-12-24T12:00:00Z",
        &[["2026-12-24T21:00:00Z", "2026-12-24T23:00:00Z"], ["2026-12-25T23:00:00Z", "2026-12-26T05:00:00Z"]],
    );
    let both = window("daily 22:00-06:00", "2026-12-25 2026-12-26");
    assert_eq!(both.next_open(utc("2026-12-25T00:00:00Z")), Some(utc("2026-12-27T00:00:00Z")));
    let always = window("daily 00:00-24:00 America/New_York", "2026-12-25");
    assert_eq!(always.closes_at(utc("2026-12-01T00:00:00Z")), Some(utc("2026-12-25T05:00:00Z")));
    assert_eq!(always.closes_at(utc("2026-12-25T05:00:00Z")), None, "it is closed");
    assert_eq!(always.next_open(utc("2026-12-25T05:00:00Z")), Some(utc("2026-12-26T05:00:00Z")));
    assert_eq!(always.closes_at(utc("2026-12-26T05:00:00Z")), None, "it never closes again");
}

#[test]
fn what_covers_the_week_never_closes() {
    let at = utc("2026-12-04T12:00:00Z");
    for text in [
        "daily 00:00-24:00",
        "daily 12:00-11:00; daily 11:00-12:00",
        "sun-fri 12:00-12:30; daily 12:15-12:10; sat 12:00-13:00",
    ] {
        let window = window(text, "");
        assert!(window.is_open(at), "{text}");
        assert_eq!(window.closes_at(at), None, "{text}");
    }
    assert!(window("mon-sat 00:00-24:00; sun 00:00-23:59", "").closes_at(at).is_some());
    assert!(window("mon-sat 00:00-24:00; sun 00:01-24:00", "").closes_at(at).is_some());
}

#[test]
fn what_opens_not_within_ten_years_opens_never() {
    let mondays: BTreeSet<NaiveDate> = NaiveDate::from_ymd_opt(2026, 11, 2).unwrap().iter_weeks().take(530).collect();
    let hours = Hours::parse("mon 09:00-17:00").unwrap().unwrap();
    let never = Window::new(hours, Tz::UTC, mondays);
    let at = utc("2026-12-04T12:00:00Z");
    assert_eq!(never.next_open(at), None);
    assert_eq!(never.closes_at(at), None);
    assert_eq!(never.advance(at, TimeDelta::seconds(1)), None);
}

#[test]
fn work_advances_only_while_it_is_open() {
    let office = window("mon-fri 09:00-17:00", "2026-12-07");
    let from = utc("2026-12-04T16:00:00Z");
    let after = |hours| office.advance(from, TimeDelta::hours(hours));
    assert_eq!(after(0), Some(from));
    assert_eq!(after(1), Some(utc("2026-12-04T17:00:00Z")));
    assert_eq!(after(2), Some(utc("2026-12-08T10:00:00Z")));
    assert_eq!(office.advance(utc("2026-12-05T00:00:00Z"), TimeDelta::zero()), Some(utc("2026-12-05T00:00:00Z")));
    // 2,000 hours are 250 days of work, 50 weeks and the holiday
    assert_eq!(office.advance(utc("2026-12-04T09:00:00Z"), TimeDelta::hours(2_000)), Some(utc("2027-11-19T17:00:00Z")));
    assert_eq!(after(1_000_000), None);
    assert_eq!(office.advance(from, TimeDelta::MAX), None);
    let always = window("daily 00:00-24:00", "");
    assert_eq!(always.advance(from, TimeDelta::days(400)), Some(from + TimeDelta::days(400)));
}

fn any_window() -> impl Strategy<Value = Window> {
    let time =
        || (0..24_u32, proptest::sample::select(vec![0, 15, 30, 59])).prop_map(|(h, m)| format!("{h:02}:{m:02}"));
    let days =
        proptest::collection::vec(proptest::sample::select(vec!["mon", "tue-thu", "fri-mon", "daily", "sun"]), 1..2);
    let clause = (days, time(), time()).prop_map(|(days, start, end)| format!("{} {start}-{end}", days.join(",")));
    let zone = proptest::sample::select(vec![
        "America/New_York",
        "Europe/Berlin",
        "Australia/Lord_Howe",
        "America/Havana",
        "Asia/Beirut",
        "UTC",
    ]);
    let holidays = proptest::collection::btree_set(0..40_u64, 0..6);
    (proptest::collection::vec(clause, 1..4), zone, holidays).prop_filter_map("never opens", |(clauses, zone, days)| {
        let first = NaiveDate::from_ymd_opt(2026, 3, 1)?;
        let holidays = days.into_iter().filter_map(|day| first.checked_add_days(Days::new(day))).collect();
        Window::parse(&clauses.join("; "), parse_zone(zone).ok()?, &holidays).ok().flatten()
    })
}

/// An instant of the weeks around a DST change.
fn any_instant() -> impl Strategy<Value = DateTime<Utc>> {
    let minute = 60_000_000;
    let weeks =
        |from: &str| (utc(from).timestamp_micros() / minute)..(utc(from).timestamp_micros() / minute + 35 * 1440);
    prop_oneof![weeks("2026-03-01T00:00:00Z"), weeks("2026-10-01T00:00:00Z")]
        .prop_map(move |minutes| DateTime::from_timestamp_micros(minutes * minute).unwrap())
}

/// How long it is open between two instants, minute by minute: every bound is at a whole minute.
fn open_minutes(window: &Window, from: DateTime<Utc>, until: DateTime<Utc>) -> i64 {
    let minutes = (until - from).num_minutes();
    (0..minutes).map(|minute| i64::from(window.is_open(from + TimeDelta::minutes(minute)))).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_window_is_read_again_as_it_is_stored(window in any_window()) {
        let holidays = parse_holidays(&holidays_text(window.holidays())).unwrap();
        prop_assert_eq!(Window::parse(&window.text(), Tz::UTC, &holidays), Ok(Some(window)));
    }

    #[test]
    fn where_no_clock_changes_it_is_open_as_the_clock_says(
        day in 0..7_i64, start in 0..1440_i64, minutes in 1..1440_i64, at in any_instant(),
    ) {
        let clock = |minute: i64| format!("{:02}:{:02}", minute / 60 % 24, minute % 60);
        let name = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"][usize::try_from(day).unwrap()];
        let window = window(&format!("{name} {}-{}", clock(start), clock(start + minutes)), "");
        let monday = utc("2026-01-05T00:00:00Z");
        let since = ((at - monday).num_minutes() - day * 1440 - start).rem_euclid(7 * 1440);
        prop_assert_eq!(window.is_open(at), since < minutes);
    }

    #[test]
    fn open_or_closed_until_the_instant_that_it_says(window in any_window(), at in any_instant()) {
        let open = window.is_open(at);
        let next = window.next_open(at).expect("each opens every week but for the holidays");
        prop_assert_eq!(open, next == at);
        let until = if open { window.closes_at(at).unwrap_or(at + TimeDelta::days(3)) } else { next };
        prop_assert!(open || window.closes_at(at).is_none());
        let until_looked_at = until.min(at + TimeDelta::days(3));
        let minutes = (until_looked_at - at).num_minutes();
        prop_assert_eq!(open_minutes(&window, at, until_looked_at), if open { minutes } else { 0 });
        if until == until_looked_at && window.closes_at(at).is_none_or(|closes| closes == until) && !window.clauses.cover_the_week() {
            prop_assert_eq!(window.is_open(until), !open);
        }
    }

    #[test]
    fn the_open_time_until_the_end_of_some_work_is_the_work(
        window in any_window(), from in any_instant(), minutes in 1..3_000_i64,
    ) {
        let end = window.advance(from, TimeDelta::minutes(minutes)).expect("each opens every week");
        prop_assert!(window.is_open(end - TimeDelta::minutes(1)), "no sooner would do");
        if end - from < TimeDelta::days(20) {
            prop_assert_eq!(open_minutes(&window, from, end), minutes);
        }
    }
}
