//! A new campaign: who is in it (a file, a list, or a filter) and the terms that they are disconnected on. The page is that
//! of a change, too.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::filled::{Errors, Filled};
use super::which;
use crate::api::problem::Answer;
use crate::console::form::{Form, KEY_FIELD};
use crate::console::gate::{Ours, Visitor};
use crate::console::groups::Groups;
use crate::console::plain::{plain, without_commands};
use crate::console::{Shared, words};
use crate::domain::campaign::cohort::BadRows;
use crate::domain::campaign::{CampaignId, Draft};
use crate::domain::filter::compose::{Picked, PickedFamily};
use crate::domain::text::parse_name;
use crate::store::StoreError;
use crate::store::campaigns::{Made, Making};

/// How many bad rows are shown; the others are counted.
const BAD_ROWS_SHOWN: usize = 20;

struct BadRow {
    line: u64,
    column: &'static str,
    message: String,
}

#[derive(Template)]
#[template(path = "campaign_new.html")]
struct NewPart {
    title: String,
    path: String,
    /// Of one that is changed: its accounts stay where nothing is said of them.
    change: Option<Changed>,
    filled: Filled,
    picked: Picked,
    is_picking: bool,
    statuses: Vec<Choice>,
    groups: Groups,
    errors: Errors,
    bad_rows: Vec<BadRow>,
    more_bad_rows: u64,
    usual_window: String,
    usual_percent: u8,
    company_zone: &'static str,
    form_key: String,
    key_field: &'static str,
}

impl NewPart {
    fn is_alone(&self) -> bool {
        self.picked.family == PickedFamily::Alone
    }

    fn kept_date(&self) -> Option<&str> {
        self.change.as_ref()?.kept_date.as_deref()
    }

    fn is_child(&self) -> bool {
        self.picked.family == PickedFamily::Child
    }
}

/// The campaign that is changed.
pub struct Changed {
    pub id: CampaignId,
    /// Who is in it, and how many.
    pub accounts: String,
    /// The revision that was shown.
    pub seen: String,
    /// A date that the fields can't hold, as it was given.
    pub kept_date: Option<String>,
}

struct Choice {
    name: String,
    is_chosen: bool,
}

/// The form as it is to be shown.
#[derive(Default)]
pub struct Shown {
    pub filled: Filled,
    pub errors: Errors,
    pub bad_rows: BadRows,
    /// What a filter is to be made of, and could not be.
    pub picked: Picked,
    pub change: Option<Changed>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct NewAsked {
    #[serde(rename = "where")]
    filter: String,
}

pub async fn ask(State(console): State<Shared>, visitor: Visitor, Query(asked): Query<NewAsked>) -> Answer<Response> {
    let filled = Filled { filter: asked.filter, ..Filled::default() };
    show(&console, &visitor, Shown { filled, ..Shown::default() }).await
}

pub async fn show(console: &Shared, visitor: &Visitor, shown: Shown) -> Answer<Response> {
    let Shown { filled, errors, bad_rows, picked, change } = shown;
    let settings = console.store.settings().await?;
    let statuses = console.store.statuses().await?;
    let total = bad_rows.total();
    let is_refused = total > 0 || !errors.0.is_empty();
    let shown = bad_rows.problems.into_iter().take(BAD_ROWS_SHOWN);
    let bad_rows: Vec<_> = shown
        .map(|bad| BadRow { line: bad.line, column: bad.column, message: without_commands(&bad.message) })
        .collect();
    let part = NewPart {
        title: change.as_ref().map_or("New campaign".into(), |change| format!("Change campaign {}", change.id)),
        path: change.as_ref().map_or("/campaigns/new".into(), |change| format!("/campaigns/{}/change", change.id)),
        change,
        groups: Groups::offered(console, &picked.group, visitor.asked.reader).await?,
        statuses: statuses
            .into_iter()
            .map(|status| Choice { is_chosen: status.name == picked.status, name: status.name })
            .collect(),
        is_picking: picked != Picked::default(),
        filled,
        picked,
        errors: errors.told(|text| plain(text, settings.company_zone, visitor.asked.reader)),
        more_bad_rows: total - bad_rows.len() as u64,
        bad_rows,
        usual_window: settings.window().map_or("always".into(), |window| window.text()),
        usual_percent: settings.campaign_pause_percent,
        company_zone: settings.company_zone.name(),
        form_key: visitor.form_key()?,
        key_field: KEY_FIELD,
    };
    let view = visitor.view(&part.title, &part)?;
    let status = if is_refused { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    Ok((status, view).into_response())
}

/// What was picked and not added would be forgotten in silence.
pub fn not_added(form: &Form) -> Option<Shown> {
    let picked = which::picked(form);
    let errors = Errors::at("picked", "Add this to the filter first, or empty it; nothing was done.");
    let errors = errors.with_file(form.file().is_some());
    (picked != Picked::default()).then(|| Shown { errors, picked, ..Shown::default() })
}

/// The form again, with what was picked added to its filter; nothing is made.
pub fn with_picked(mut filled: Filled, form: &Form, change: Option<Changed>) -> Shown {
    let picked = which::picked(form);
    let (picked, errors) = match picked.added_to(&filled.filter) {
        Ok(text) if text == filled.filter => (picked, Errors::at("picked", "Fill in what to filter by.")),
        Ok(text) => {
            filled.filter = text;
            (Picked::default(), Errors::default())
        }
        Err((_, error)) => (picked, Errors::at("picked", words::sentence(&error))),
    };
    let errors = errors.with_file(form.file().is_some());
    Shown { filled, errors, picked, change, ..Shown::default() }
}

pub async fn make(State(console): State<Shared>, visitor: Visitor, Ours(form): Ours) -> Answer<Response> {
    let filled = Filled::of(&form);
    if form.get("step") == Some("pick") {
        return show(&console, &visitor, with_picked(filled, &form, None)).await;
    }
    if let Some(again) = not_added(&form) {
        return show(&console, &visitor, Shown { filled, ..again }).await;
    }
    let made = made(&console, &visitor, &filled, &form).await?;
    answered(&console, &visitor, &form, made, "make", Shown { filled, ..Shown::default() }).await
}

/// Leads to the campaign, or shows the form again with what is wrong.
pub async fn answered(
    console: &Shared,
    visitor: &Visitor,
    form: &Form,
    made: Result<Made, Errors>,
    done: &str,
    again: Shown,
) -> Answer<Response> {
    let again = match made {
        Ok(Made::Campaign(campaign)) => {
            return Ok(visitor.leads_to(&format!("/campaigns/{}?done={done}", campaign.id)));
        }
        Ok(Made::BadRows(bad_rows)) => Shown { bad_rows, ..again },
        Err(errors) => Shown { errors: errors.with_file(form.file().is_some()), ..again },
    };
    show(console, visitor, again).await
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
    let (filter, cohort) = match which::cohort(filled, form).await {
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
    match console.store.create_campaign(&draft, cohort, Making::QUIET).await {
        Ok(made) => Ok(Ok(made)),
        Err(StoreError::Refused(refusal)) => Ok(Err((&refusal).into())),
        Err(error) => Err(words::problem(error)),
    }
}
