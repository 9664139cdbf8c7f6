//! The form of a campaign, new or changed, as it was filled in and is shown again; and what is wrong with it.

use std::collections::BTreeMap;

use chrono::Timelike;

use crate::console::form::Form;
use crate::console::words;
use crate::domain::calendar::When;
use crate::domain::campaign::CampaignView;
use crate::domain::campaign::terms::TermsAsked;
use crate::domain::refusal::Refusal;

/// The form as it was filled in, and as it is shown again.
#[derive(Debug, Default)]
pub struct Filled {
    pub name: String,
    pub numbers: String,
    pub filter: String,
    pub everyone: bool,
    pub date: String,
    pub time: String,
    pub zone: String,
    pub late: bool,
    /// A date that the fields can't hold is meant to go.
    pub no_date: bool,
    pub reason: String,
    pub children: String,
    pub per_minute: String,
    pub canary: String,
    pub window: String,
    pub pause_percent: String,
}

impl Filled {
    pub fn of(form: &Form) -> Self {
        let text = |name| form.get(name).unwrap_or_default().to_owned();
        Self {
            name: text("name"),
            numbers: text("numbers"),
            filter: text("where"),
            everyone: form.get("everyone").is_some(),
            date: text("date"),
            time: text("time"),
            zone: text("zone"),
            late: form.get("late").is_some(),
            no_date: form.get("no_date").is_some(),
            reason: text("reason"),
            children: text("children"),
            per_minute: text("per_minute"),
            canary: text("canary"),
            window: text("window"),
            pause_percent: text("pause_percent"),
        }
    }

    /// Of a campaign as it is, for whoever changes it.
    pub fn as_it_is(campaign: &CampaignView) -> Self {
        let terms = &campaign.terms;
        let number = |number: Option<u32>| number.map(|n| n.to_string()).unwrap_or_default();
        let (date, time) = terms.on.as_deref().and_then(date_and_time).unwrap_or_default();
        Self {
            name: campaign.name.clone(),
            date,
            time,
            zone: terms.on_zone.map(|zone| zone.name().to_owned()).unwrap_or_default(),
            reason: terms.reason.clone().unwrap_or_default(),
            children: terms.children.map(|children| children.as_str().to_owned()).unwrap_or_default(),
            per_minute: number(terms.per_minute),
            canary: number(terms.canary),
            window: terms.window.clone().unwrap_or_else(|| "always".into()),
            pause_percent: terms.pause_percent.to_string(),
            ..Self::default()
        }
    }

    /// The terms of one that is changed. A date that was not touched is what it was, however it was given.
    ///
    /// # Errors
    /// A field that is no number, a time without a date, or a date beside the wish to have none.
    pub fn terms_of(&self, before: &CampaignView) -> Result<TermsAsked, (&'static str, String)> {
        let asked = self.terms()?;
        if self.no_date && asked.on.is_some() {
            return Err(("on", "There is a date, but it is to go without one. Choose one of them.".into()));
        }
        let was = Self::as_it_is(before);
        let is_untouched = (&self.date, &self.time) == (&was.date, &was.time);
        let on = match &before.terms.on {
            _ if self.no_date => None,
            on if is_untouched => on.clone(),
            _ => asked.on,
        };
        Ok(TermsAsked { on, ..asked })
    }

    /// # Errors
    /// A field that is no number, or a time without a date.
    pub fn terms(&self) -> Result<TermsAsked, (&'static str, String)> {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let number = |field: &'static str, text: &str| match text {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| (field, format!("`{text}` is not a whole number."))),
        };
        let on = match (self.date.as_str(), self.time.as_str()) {
            ("", "") => None,
            ("", _) => return Err(("on", "There is a time without a date. Give the date as well.".into())),
            (date, "") => Some(date.to_owned()),
            (date, time) => Some(format!("{date}T{time}")),
        };
        Ok(TermsAsked {
            reason: some(&self.reason),
            on,
            zone: some(&self.zone),
            children: some(&self.children),
            per_minute: number("per_minute", &self.per_minute)?,
            canary: number("canary", &self.canary)?,
            window: some(&self.window),
            pause_percent: number("pause_percent", &self.pause_percent)?,
        })
    }
}

/// What the fields of a page have for a date as it was given. `None`: it has seconds, or an offset, and they can't hold it.
pub fn date_and_time(on: &str) -> Option<(String, String)> {
    match When::parse(on) {
        Ok(When::Date(date)) => Some((date.to_string(), String::new())),
        Ok(When::Local(local)) if local.second() == 0 && local.nanosecond() == 0 => {
            Some((local.date().to_string(), local.format("%H:%M").to_string()))
        }
        _ => None,
    }
}

/// What is wrong, by the field that it belongs to.
#[derive(Debug, Default)]
pub struct Errors(pub BTreeMap<&'static str, String>);

impl Errors {
    pub fn at(field: &'static str, error: impl Into<String>) -> Self {
        Self([(field, error.into())].into())
    }

    pub fn of(&self, field: &str) -> Option<&str> {
        self.0.get(field).map(String::as_str)
    }

    /// As the page says it.
    pub fn told(self, told: impl Fn(&str) -> String) -> Self {
        Self(self.0.into_iter().map(|(field, error)| (field, told(&error))).collect())
    }

    /// A browser does not fill in a file again.
    pub fn with_file(mut self, came: bool) -> Self {
        if came && !self.has("file") {
            self.0.insert("file", "Choose the file again: it is not kept with the form.".into());
        }
        self
    }

    pub fn has(&self, field: &str) -> bool {
        self.0.contains_key(field)
    }
}

impl From<&Refusal> for Errors {
    fn from(refusal: &Refusal) -> Self {
        let field = match refusal {
            Refusal::PastDate { .. } => "on",
            Refusal::EveryoneSelected { .. } => "where",
            _ => "form",
        };
        Self::at(field, words::refusal(refusal))
    }
}
