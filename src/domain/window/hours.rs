//! The days and hours of a window, as people write them.

use chrono::{Datelike, NaiveDate, NaiveTime, Timelike, Weekday};
use chrono_tz::Tz;
use serde::{Serialize, Serializer};
use utoipa::openapi::{Object, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::domain::calendar;

/// Three for each day of a week, and some to spare. Each day of a search looks at all of them.
pub const CLAUSES_MAX: usize = 24;

const MINUTES_A_DAY: u32 = 24 * 60;

/// The form, for the sentences about what is not of it.
const FORM: &str = "write days and hours, such as `mon-fri 09:00-17:00; sat 22:00-02:00 America/New_York` \
                    (the zone at the end is optional), or `always`";

/// Days and hours, and the zone where one was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    pub(super) clauses: Clauses,
    zone: Option<Tz>,
}

/// At least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clauses(Vec<Clause>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Clause {
    /// From Monday; at least one.
    days: [bool; 7],
    stretch: Stretch,
}

/// From a time of a day to a later one of that day, or to an earlier one of the next. Never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    start: NaiveTime,
    /// None: 24:00.
    end: Option<NaiveTime>,
}

impl Hours {
    /// None: always, for an empty text or `always`.
    ///
    /// # Errors
    /// A sentence that shows the form.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        let text = text.trim();
        if text.is_empty() || text.eq_ignore_ascii_case("always") {
            return Ok(None);
        }
        let clauses: Vec<&str> = text.split(';').collect();
        if clauses.len() > CLAUSES_MAX {
            return Err(format!("a window has at most {CLAUSES_MAX} clauses"));
        }
        let mut hours = Self { clauses: Clauses(Vec::new()), zone: None };
        for (i, clause) in clauses.iter().enumerate() {
            let (parsed, zone) = parse_clause(clause, i + 1 == clauses.len())?;
            hours.clauses.0.push(parsed);
            hours.zone = zone;
        }
        Ok(Some(hours))
    }

    /// All day, every day.
    #[must_use]
    pub fn whole_days() -> Self {
        let stretch = Stretch { start: NaiveTime::MIN, end: None };
        Self { clauses: Clauses(vec![Clause { days: [true; 7], stretch }]), zone: None }
    }

    /// In one form, whatever way it was written, with the zone only where one was given. It can be parsed again.
    #[must_use]
    pub fn text(&self) -> String {
        match self.zone {
            Some(zone) => format!("{} {}", self.clauses.text(), zone.name()),
            None => self.clauses.text(),
        }
    }

    #[must_use]
    pub fn zone(&self) -> Option<Tz> {
        self.zone
    }
}

impl Clauses {
    pub(super) fn text(&self) -> String {
        self.0.iter().map(Clause::text).collect::<Vec<_>>().join("; ")
    }

    /// Those that begin on this date.
    pub(super) fn on(&self, date: NaiveDate) -> impl Iterator<Item = Stretch> {
        let day = date.weekday().num_days_from_monday() as usize;
        self.0.iter().filter(move |clause| clause.days[day]).map(|clause| clause.stretch)
    }

    /// Whether no minute of a week is left out.
    pub(super) fn cover_the_week(&self) -> bool {
        // In minutes from Monday 00:00 on. What reaches past the week's end is there once more, a week earlier.
        let week = 7 * MINUTES_A_DAY;
        let mut stretches = Vec::new();
        for clause in &self.0 {
            for (day, _) in (0..).zip(clause.days).filter(|(_, on)| *on) {
                let start = day * MINUTES_A_DAY + clause.stretch.start_minute();
                let end = start + clause.stretch.minutes();
                stretches.extend([(start, end), (0, end.saturating_sub(week))]);
            }
        }
        stretches.sort_unstable();
        stretches
            .into_iter()
            .try_fold(0, |covered, (start, end)| (start <= covered).then_some(end.max(covered)))
            .is_some_and(|covered| covered >= week)
    }
}

impl Serialize for Hours {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

impl PartialSchema for Hours {
    fn schema() -> RefOr<Schema> {
        let text = Object::builder().schema_type(Type::String);
        let description = "Days and hours, semicolons between, and a zone at the end or the company's.";
        text.description(Some(description)).examples(["mon-fri 09:00-17:00; sat 22:00-02:00 America/New_York"]).into()
    }
}

impl ToSchema for Hours {}

impl Clause {
    fn text(&self) -> String {
        let Stretch { start, end } = self.stretch;
        let end = end.map_or_else(|| "24:00".to_owned(), |end| end.format("%H:%M").to_string());
        format!("{} {}-{end}", self.days_text(), start.format("%H:%M"))
    }

    /// Runs of three and more as `mon-wed`.
    fn days_text(&self) -> String {
        if self.days == [true; 7] {
            return "daily".into();
        }
        let mut parts: Vec<String> = Vec::new();
        let days: Vec<usize> = (0..7).filter(|day| self.days[*day]).collect();
        for run in days.chunk_by(|day, next| day + 1 == *next) {
            match run {
                [first, _, .., last] => parts.push(format!("{}-{}", name(*first), name(*last))),
                one_or_two => parts.extend(one_or_two.iter().map(|day| name(*day).to_owned())),
            }
        }
        parts.join(",")
    }
}

impl Stretch {
    pub(super) fn start(self) -> NaiveTime {
        self.start
    }

    /// None: 24:00.
    pub(super) fn end(self) -> Option<NaiveTime> {
        self.end
    }

    /// Whether it ends on the next date, and not with its first instant.
    pub(super) fn past_midnight(self) -> bool {
        self.end.is_some_and(|end| end <= self.start)
    }

    fn start_minute(self) -> u32 {
        minute(self.start)
    }

    /// How long it is on a day without a DST change.
    fn minutes(self) -> u32 {
        let end = self.end.map_or(MINUTES_A_DAY, minute);
        end + if self.past_midnight() { MINUTES_A_DAY } else { 0 } - self.start_minute()
    }
}

fn minute(time: NaiveTime) -> u32 {
    time.num_seconds_from_midnight() / 60
}

const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

fn name(day: usize) -> &'static str {
    NAMES[day % 7]
}

/// Days, hours and, in the last clause, perhaps a zone.
fn parse_clause(clause: &str, last: bool) -> Result<(Clause, Option<Tz>), String> {
    let words: Vec<&str> = clause.split_whitespace().collect();
    let unreadable = || format!("`{}` is not a part of a window; {FORM}", clause.trim());
    // The days may have blanks behind their commas; the hours are the first word with a digit in front.
    let hours_at =
        words.iter().position(|word| word.starts_with(|c: char| c.is_ascii_digit())).ok_or_else(unreadable)?;
    let zone = match &words[hours_at + 1..] {
        [] => None,
        [zone] if last => Some(calendar::parse_zone(zone)?),
        [zone] if calendar::parse_zone(zone).is_ok() => {
            return Err(format!("the zone {zone} belongs to the whole window: write it once, at the very end"));
        }
        _ => return Err(unreadable()),
    };
    if hours_at == 0 {
        return Err(format!("`{}` has no days; {FORM}", clause.trim()));
    }
    let days = parse_days(&words[..hours_at].concat())?;
    Ok((Clause { days, stretch: parse_stretch(words[hours_at])? }, zone))
}

fn parse_days(text: &str) -> Result<[bool; 7], String> {
    if text.eq_ignore_ascii_case("daily") {
        return Ok([true; 7]);
    }
    let day = |name: &str| {
        name.parse::<Weekday>()
            .map(|day| day.num_days_from_monday() as usize)
            .map_err(|_| format!("`{name}` is not a day; the days are {}, or daily for all of them", NAMES.join(", ")))
    };
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        // `fri-mon` goes round the end of the week.
        for offset in 0..=(last + 7 - first) % 7 {
            days[(first + offset) % 7] = true;
        }
    }
    Ok(days)
}

fn parse_stretch(text: &str) -> Result<Stretch, String> {
    let (start, end) = text
        .split_once('-')
        .ok_or_else(|| format!("`{text}` are no hours; write them like 09:00-17:00, without blanks"))?;
    let start = calendar::parse_time(start)?;
    if end != "24:00" && calendar::parse_time(end)? == start {
        return Err(format!(
            "`{text}` never opens, since it ends when it begins; write 00:00-24:00 for whole days, or another end"
        ));
    }
    // 00:00 as an end is that of the day on which it began.
    let end = if end == "24:00" { None } else { Some(calendar::parse_time(end)?).filter(|end| *end != NaiveTime::MIN) };
    Ok(Stretch { start, end })
}
