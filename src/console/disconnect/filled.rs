//! The disconnect window's form, as it was filled in and is shown again.

use std::collections::BTreeMap;

use chrono_tz::Tz;

use crate::console::form::Form;
use crate::domain::account::AccountNumber;
use crate::domain::calendar::{When, parse_zone};
use crate::domain::dispositions::{Choice, Dispositions, asked_about};
use crate::domain::family::{Family, Relative};
use crate::domain::text::parse_text;

/// What stands before the number of a child in the name of its field.
pub const CHILD: &str = "child:";

/// The same for the date of its own.
pub const ON: &str = "on:";

/// The form as it was filled in, and as it is shown again.
#[derive(Debug, Clone, Default)]
pub struct Filled {
    /// At a date, else now.
    pub is_at_date: bool,
    pub date: String,
    pub time: String,
    pub zone: String,
    pub late: bool,
    pub reason: String,
    /// For those that are not named.
    pub others: String,
    children: BTreeMap<String, String>,
    /// The dates of children that are not disconnected with their parent.
    dates: BTreeMap<String, String>,
    /// Which of many children are looked for, by number or name.
    pub find: String,
    /// Of these, those without a contact of their own.
    pub without_contact: bool,
    /// What was looked for when the form was shown, as [`Filled::looked_for`] has it.
    looked_for_before: String,
}

impl Filled {
    pub fn of(form: &Form) -> Self {
        let text = |name| form.get(name).unwrap_or_default().to_owned();
        let each =
            |before| form.beginning(before).map(|(number, value)| (number.to_owned(), value.to_owned())).collect();
        Self {
            is_at_date: form.get("when") == Some("date"),
            date: text("date"),
            time: text("time"),
            zone: text("zone"),
            late: form.get("late").is_some(),
            reason: text("reason"),
            others: text("others"),
            children: each(CHILD),
            dates: each(ON),
            find: text("find"),
            without_contact: form.get("without_contact").is_some(),
            looked_for_before: form.exactly("looked_for").to_owned(),
        }
    }

    /// What is looked for among the children, as the form bears it.
    pub fn looked_for(&self) -> String {
        format!("{}{}", if self.without_contact { "!" } else { "=" }, self.find)
    }

    /// A child that the form had in it, and nothing else was looked for since: whoever is at it stays at it.
    pub fn has_shown(&self, number: &AccountNumber) -> bool {
        self.children.contains_key(number.as_str()) && self.looked_for_before == self.looked_for()
    }

    pub fn when(&self) -> Result<When, String> {
        match (self.is_at_date, self.date.as_str(), self.time.as_str()) {
            (false, "", "") => Ok(When::Now),
            (false, _, _) => Err("There is a date, but Now is chosen. Choose one of them.".into()),
            (true, "", _) => Err("Choose a date, or disconnect now.".into()),
            (true, date, "") => When::parse(date),
            (true, date, time) => When::parse(&format!("{date}T{time}")),
        }
    }

    pub fn zone(&self) -> Result<Option<Tz>, String> {
        if self.zone.is_empty() { Ok(None) } else { parse_zone(&self.zone).map(Some) }
    }

    pub fn reason(&self) -> Result<Option<String>, String> {
        if self.reason.is_empty() { Ok(None) } else { parse_text(&self.reason).map(Some) }
    }

    pub fn choice(&self, number: &AccountNumber) -> &str {
        self.children.get(number.as_str()).map_or("", String::as_str)
    }

    pub fn date(&self, number: &AccountNumber) -> &str {
        self.dates.get(number.as_str()).map_or("", String::as_str)
    }

    /// The choices for those that are asked about.
    pub fn dispositions(&self, asked: &[&Relative]) -> Result<Dispositions, String> {
        let mut choices = Dispositions::default();
        if !self.others.is_empty() {
            choices.all = Some(Choice::parse(&self.others)?);
        }
        for child in asked {
            let choice = match (self.choice(&child.number), self.date(&child.number)) {
                ("", _) => continue,
                ("disconnect", date) if !date.is_empty() => Choice::parse(&format!("disconnect@{date}"))?,
                (choice, _) => Choice::parse(choice)?,
            };
            choices.each.insert(child.number.clone(), choice);
        }
        Ok(choices)
    }

    /// Those that are asked about: the connected children, and those of each that is to be disconnected too.
    pub fn asked_about<'f>(&self, account: &AccountNumber, family: &'f Family) -> Vec<&'f Relative> {
        asked_about(account, family, |child| {
            let choice = self.choice(child);
            let choice = if choice.is_empty() { self.others.as_str() } else { choice };
            choice.starts_with("disconnect")
        })
    }
}
