//! A new campaign: who is in it (a file, a list, or a filter) and the terms that they are disconnected on.

use std::collections::BTreeMap;
use std::io::Cursor;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::sync::mpsc;

use crate::api::problem::Answer;
use crate::console::form::{Form, KEY_FIELD};
use crate::console::gate::{self, Ours, Visitor};
use crate::console::{Shared, words};
use crate::domain::account::AccountNumber;
use crate::domain::campaign::Draft;
use crate::domain::campaign::cohort::{BadRows, MemberRow};
use crate::domain::campaign::terms::TermsAsked;
use crate::domain::filter::Filter;
use crate::domain::import::Problem as RowProblem;
use crate::domain::refusal::Refusal;
use crate::domain::text::parse_name;
use crate::import::{self, Source};
use crate::store::campaigns::{Cohort, Made, Making};
use crate::store::{CHUNK_ROWS, Rows, StoreError};

/// How many bad rows are shown; the others are counted.
const BAD_ROWS_SHOWN: usize = 20;

/// The form as it was filled in, and as it is shown again.
#[derive(Debug, Default)]
struct Filled {
    name: String,
    numbers: String,
    filter: String,
    everyone: bool,
    date: String,
    time: String,
    zone: String,
    late: bool,
    reason: String,
    children: String,
    per_minute: String,
    canary: String,
    window: String,
    pause_percent: String,
}

impl Filled {
    fn of(form: &Form) -> Self {
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
            reason: text("reason"),
            children: text("children"),
            per_minute: text("per_minute"),
            canary: text("canary"),
            window: text("window"),
            pause_percent: text("pause_percent"),
        }
    }

    /// # Errors
    /// A field that is no number.
    fn terms(&self) -> Result<TermsAsked, (&'static str, String)> {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let number = |field: &'static str, text: &str| match text {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| (field, format!("`{text}` is not a whole number."))),
        };
        let on = match (self.date.as_str(), self.time.as_str()) {
            ("", _) => None,
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

/// What is wrong, by the field that it belongs to.
#[derive(Debug, Default)]
struct Errors(BTreeMap<&'static str, String>);

impl Errors {
    fn at(field: &'static str, error: impl Into<String>) -> Self {
        Self([(field, error.into())].into())
    }

    fn of(&self, field: &str) -> Option<&str> {
        self.0.get(field).map(String::as_str)
    }

    /// A browser does not fill in a file again.
    fn with_file(mut self, came: bool) -> Self {
        if came && !self.has("file") {
            self.0.insert("file", "Choose the file again: it is not kept with the form.".into());
        }
        self
    }

    fn has(&self, field: &str) -> bool {
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

struct BadRow {
    line: u64,
    column: &'static str,
    message: String,
}

#[derive(Template)]
#[template(path = "campaign_new.html")]
struct NewPart {
    filled: Filled,
    errors: Errors,
    bad_rows: Vec<BadRow>,
    more_bad_rows: u64,
    usual_window: String,
    usual_percent: u8,
    company_zone: &'static str,
    form_key: String,
    key_field: &'static str,
}

pub async fn ask(State(console): State<Shared>, visitor: Visitor) -> Answer<Response> {
    shown(&console, &visitor, Filled::default(), Errors::default(), BadRows::default()).await
}

async fn shown(
    console: &Shared,
    visitor: &Visitor,
    filled: Filled,
    errors: Errors,
    bad_rows: BadRows,
) -> Answer<Response> {
    let settings = console.store.settings().await?;
    let total = bad_rows.total();
    let is_refused = total > 0 || !errors.0.is_empty();
    let shown = bad_rows.problems.into_iter().take(BAD_ROWS_SHOWN);
    let bad_rows: Vec<_> =
        shown.map(|bad| BadRow { line: bad.line, column: bad.column, message: bad.message }).collect();
    let part = NewPart {
        filled,
        errors,
        more_bad_rows: total - bad_rows.len() as u64,
        bad_rows,
        usual_window: settings.window().map_or("always".into(), |window| window.text()),
        usual_percent: settings.campaign_pause_percent,
        company_zone: settings.company_zone.name(),
        form_key: visitor.form_key()?,
        key_field: KEY_FIELD,
    };
    let view = visitor.view("New campaign", &part)?;
    let status = if is_refused { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    Ok((status, view).into_response())
}

pub async fn make(State(console): State<Shared>, visitor: Visitor, Ours(form): Ours) -> Answer<Response> {
    let filled = Filled::of(&form);
    let refused = match made(&console, &visitor, &filled, &form).await? {
        Ok(Made::Campaign(campaign)) => {
            return Ok(visitor.leads_to(&format!("/campaigns/{}?done=make", campaign.id)));
        }
        Ok(Made::BadRows(rows)) => return shown(&console, &visitor, filled, Errors::default(), rows).await,
        Err(errors) => errors,
    };
    let refused = refused.with_file(form.file().is_some());
    shown(&console, &visitor, filled, refused, BadRows::default()).await
}

/// All of it or nothing.
async fn made(console: &Shared, visitor: &Visitor, filled: &Filled, form: &Form) -> Answer<Result<Made, Errors>> {
    let settings = console.store.settings().await?;
    let name = match parse_name(&filled.name) {
        Ok(name) => name,
        Err(error) => return Ok(Err(Errors::at("name", error))),
    };
    let terms = match filled.terms().and_then(|asked| asked.read(&settings)) {
        Ok(terms) => terms,
        Err((field, error)) => return Ok(Err(Errors::at(field, error))),
    };
    if let Err(refusal) = terms.admit_date(filled.late, &settings, console.store.now().await?) {
        return Ok(Err((&refusal).into()));
    }
    let (filter, cohort) = match cohort(filled, form).await {
        Ok(cohort) => cohort,
        Err(errors) => return Ok(Err(errors)),
    };
    let draft = Draft {
        name,
        terms,
        filter,
        everyone: filled.everyone,
        late: filled.late,
        failures_max: console.failures_max,
        by: visitor.actor(),
    };
    let store = console.store.clone();
    let making = async move { store.create_campaign(&draft, cohort, Making::QUIET).await };
    match gate::to_the_end(making).await? {
        Ok(made) => Ok(Ok(made)),
        Err(StoreError::Refused(refusal)) => Ok(Err((&refusal).into())),
        Err(error) => Err(words::problem(error)),
    }
}

/// Who is in it: one of the three ways.
async fn cohort(filled: &Filled, form: &Form) -> Result<(Option<Filter>, Cohort), Errors> {
    match (form.file(), filled.numbers.as_str(), filled.filter.as_str()) {
        (None, "", "") => Err(Errors::at("cohort", "Say which accounts: a file, a list of numbers, or a filter.")),
        (None, "", text) => {
            let filter = Filter::parse(text).map_err(|error| Errors::at("where", error))?;
            Ok((Some(filter.clone()), Cohort::Filter(filter)))
        }
        (None, list, "") => Ok((None, Cohort::Rows(listed(list).await?))),
        (Some(file), "", "") => {
            let rows = import::member_rows(Source::new("The file", file)).await;
            Ok((None, Cohort::Rows(rows.map_err(|error| Errors::at("file", error.to_string()))?)))
        }
        _ => Err(Errors::at("cohort", "Say it in one way: a file, or a list of numbers, or a filter.")),
    }
}

/// A pasted list: a number in each line, or a table with the header of a file.
async fn listed(list: &str) -> Result<Rows<MemberRow>, Errors> {
    let first = list.lines().next().unwrap_or_default();
    if first.split([',', ';']).any(|column| column.trim() == "account_number") {
        let rows = import::member_rows(Source::new("The list", Cursor::new(list.to_owned()))).await;
        return rows.map_err(|error| Errors::at("numbers", error.to_string()));
    }
    let lines = (1..).zip(list.lines()).filter(|(_, line)| !line.trim().is_empty());
    let rows = lines.map(|(line, number)| match AccountNumber::parse(number) {
        Ok(account) => Ok(MemberRow { line, account, on: None, reason: None }),
        Err(error) => Err(RowProblem::new(line, "account_number", error)),
    });
    let rows: Vec<_> = rows.collect();
    let (sender, receiver) = mpsc::channel(rows.len().div_ceil(CHUNK_ROWS).max(1));
    let mut rest = rows.into_iter().peekable();
    while rest.peek().is_some() {
        // There is room for all of them.
        let _ = sender.try_send(rest.by_ref().take(CHUNK_ROWS).collect());
    }
    Ok(receiver)
}
