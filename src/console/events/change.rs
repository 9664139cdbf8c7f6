//! Changes of plan: cancel, reschedule, retry, and a decision about a family that has changed. Each is asked for on a page
//! that names the account and the event, or in a dialog with the same form.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use sha2::{Digest as _, Sha256};

use super::{EventView, Found};
use crate::api::problem::{Answer, Problem};
use crate::console::accounts::path_of;
use crate::console::form::{Form, KEY_FIELD};
use crate::console::gate::{Ours, Visitor};
use crate::console::plain::plain;
use crate::console::reader::Moment;
use crate::console::{Shared, words};
use crate::domain::account::AccountNumber;
use crate::domain::calendar::{When, parse_zone};
use crate::domain::campaign::dry_run::hex;
use crate::domain::dispositions::{Choice, Dispositions};
use crate::domain::event::{Along, Change, State as EventState};
use crate::domain::refusal::Refusal;
use crate::domain::text::parse_text;
use crate::store::StoreError;

/// What is to be done with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Cancel,
    Reschedule,
    Retry,
    Decide,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Cancel, Self::Reschedule, Self::Retry, Self::Decide];

    fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Reschedule => "reschedule",
            Self::Retry => "retry",
            Self::Decide => "decide",
        }
    }

    fn of(text: &str) -> Answer<Self> {
        let unknown = || Problem::new(StatusCode::NOT_FOUND, "unknown_route", "There is nothing here.");
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(unknown)
    }

    fn title(self) -> &'static str {
        match self {
            Self::Cancel => "Cancel",
            Self::Reschedule => "Reschedule",
            Self::Retry => "Retry",
            Self::Decide => "Decide about the family of",
        }
    }
}

/// The form as it was filled in, and as it is shown again.
#[derive(Debug, Default)]
struct Filled {
    date: String,
    time: String,
    zone: String,
    late: bool,
    reason: String,
    /// What becomes of the events that were made with it: `along` or `leave`.
    children: String,
    /// The choice for the children in question, and another one for one child.
    others: String,
    child: String,
    choice: String,
}

impl Filled {
    fn of(form: &Form) -> Self {
        let text = |name| form.get(name).unwrap_or_default().to_owned();
        Self {
            date: text("date"),
            time: text("time"),
            zone: text("zone"),
            late: form.get("late").is_some(),
            reason: text("reason"),
            children: text("children"),
            others: text("others"),
            child: text("child"),
            choice: text("choice"),
        }
    }

    fn when(&self) -> Result<When, String> {
        match (self.date.as_str(), self.time.as_str()) {
            ("", _) => Err("Choose a date.".into()),
            (date, "") => When::parse(date),
            (date, time) => When::parse(&format!("{date}T{time}")),
        }
    }

    fn zone(&self) -> Result<Option<Tz>, String> {
        if self.zone.is_empty() { Ok(None) } else { parse_zone(&self.zone).map(Some) }
    }

    fn reason(&self) -> Result<Option<String>, String> {
        if self.reason.is_empty() { Ok(None) } else { parse_text(&self.reason).map(Some) }
    }

    fn along(&self) -> Option<Along> {
        match self.children.as_str() {
            "along" => Some(Along::Along),
            "leave" => Some(Along::Leave),
            _ => None,
        }
    }

    fn dispositions(&self) -> Result<Dispositions, String> {
        let mut choices = Dispositions::default();
        if !self.others.is_empty() {
            choices.all = Some(Choice::parse(&self.others)?);
        }
        if !self.child.is_empty() {
            choices.each.insert(AccountNumber::parse(&self.child)?, Choice::parse(&self.choice)?);
        }
        if choices.all.is_none() && choices.each.is_empty() {
            return Err("Choose what becomes of the children in question.".into());
        }
        Ok(choices)
    }
}

/// What is wrong, by the field that it belongs to.
#[derive(Debug, Default)]
struct Errors {
    form: Option<String>,
    date: Option<String>,
    zone: Option<String>,
    reason: Option<String>,
    children: Option<String>,
}

impl Errors {
    fn of(refusal: &Refusal) -> Self {
        let words = Some(words::refusal(refusal));
        match refusal {
            Refusal::PastDate { .. } => Self { date: words, ..Self::default() },
            Refusal::UndecidedEvents { .. }
            | Refusal::UndecidedChildren { .. }
            | Refusal::NotAChild { .. }
            | Refusal::UnlinkWithoutContact { .. } => Self { children: words, ..Self::default() },
            _ => Self { form: words, ..Self::default() },
        }
    }

    /// As the page says it.
    fn told(self, told: impl Fn(&str) -> String) -> Self {
        let told = |text: Option<String>| text.map(|text| told(&text));
        let Self { form, date, zone, reason, children } = self;
        Self { form: told(form), date: told(date), zone: told(zone), reason: told(reason), children: told(children) }
    }

    fn any(&self) -> bool {
        let Self { form, date, zone, reason, children } = self;
        [form, date, zone, reason, children].into_iter().any(Option::is_some)
    }
}

#[derive(Template)]
#[template(path = "event_change.html")]
struct ChangePart {
    kind: &'static str,
    title: &'static str,
    id: i64,
    account: AccountNumber,
    account_path: String,
    name: String,
    state: &'static str,
    due_at: Moment,
    last_error: Option<String>,
    to_decide: Vec<String>,
    questions: String,
    /// Children whose events were made with it are open, or there may be some.
    asks_along: bool,
    zone: &'static str,
    means: Option<Moment>,
    filled: Filled,
    errors: Errors,
    form_key: String,
    key_field: &'static str,
}

fn has_open_children(event: &EventView) -> bool {
    event.children.iter().any(|child| child.event_state.is_some_and(EventState::is_open))
}

async fn shown(
    console: &Shared,
    visitor: &Visitor,
    kind: Kind,
    found: Found,
    filled: Filled,
    errors: Errors,
) -> Answer<Response> {
    let reader = visitor.asked.reader;
    let zone = filled.zone().ok().flatten().unwrap_or(found.zone);
    let means = match filled.when() {
        Ok(when) if kind == Kind::Reschedule => {
            let (cutoff, now) = (console.store.settings().await?.cutoff_time, console.store.now().await?);
            let (on, _): (DateTime<Utc>, _) = when.resolve(zone, cutoff, now);
            Some(reader.moment_in_both(on, zone))
        }
        _ => None,
    };
    let status = if errors.any() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let due_at = found.due_at(reader);
    let questions = questions(&found.event);
    let asks_along = has_open_children(&found.event) || errors.children.is_some() || !filled.children.is_empty();
    let Found { event, name, .. } = found;
    let part = ChangePart {
        kind: kind.as_str(),
        title: kind.title(),
        id: event.id.0,
        account_path: path_of(&event.account_number),
        account: event.account_number,
        name,
        state: event.state.as_str(),
        due_at,
        last_error: event.last_error.map(|error| plain(&error, zone, reader)),
        to_decide: event.to_decide.iter().map(|one| plain(one, zone, reader)).collect(),
        asks_along: asks_along && matches!(kind, Kind::Cancel | Kind::Reschedule),
        zone: zone.name(),
        means,
        filled,
        errors: errors.told(|text| plain(text, zone, reader)),
        questions,
        form_key: visitor.form_key()?,
        key_field: KEY_FIELD,
    };
    let view = visitor.view(&format!("{} event {}", part.title, part.id), &part)?;
    Ok((status, view).into_response())
}

/// Stands for what there is to decide about an event: whoever decides about all of it has seen this.
fn questions(event: &EventView) -> String {
    hex(&Sha256::digest(event.to_decide.join("\n")))
}

pub async fn ask(
    State(console): State<Shared>,
    visitor: Visitor,
    Path((id, kind)): Path<(String, String)>,
) -> Answer<Response> {
    let (kind, found) = (Kind::of(&kind)?, Found::of(&console, &id).await?);
    shown(&console, &visitor, kind, found, Filled::default(), Errors::default()).await
}

pub async fn confirm(
    State(console): State<Shared>,
    visitor: Visitor,
    Path((id, kind)): Path<(String, String)>,
    Ours(form): Ours,
) -> Answer<Response> {
    let (kind, found, filled) = (Kind::of(&kind)?, Found::of(&console, &id).await?, Filled::of(&form));
    let (reason, zone) = (filled.reason(), filled.zone());
    let when = if kind == Kind::Reschedule { filled.when().map(Some) } else { Ok(None) };
    let choices = if kind == Kind::Decide { filled.dispositions().map(Some) } else { Ok(None) };
    let is_only_shown = form.get("step") == Some("show");
    let errors = Errors {
        date: when.as_ref().err().cloned(),
        zone: zone.as_ref().err().cloned(),
        reason: reason.as_ref().err().cloned(),
        children: choices.as_ref().err().cloned(),
        form: None,
    };
    let (Ok(when), Ok(zone), Ok(reason), Ok(choices), false) = (when, zone, reason, choices, is_only_shown) else {
        return shown(&console, &visitor, kind, found, filled, errors).await;
    };
    let is_the_same = form.get("questions") == Some(&questions(&found.event));
    if kind == Kind::Decide && !is_the_same && !found.event.to_decide.is_empty() {
        let changed = "The family has changed since this was shown, so nothing was decided. Look at it again.";
        let errors = Errors { form: Some(changed.into()), ..Errors::default() };
        return shown(&console, &visitor, kind, found, filled, errors).await;
    }
    let change = match (kind, when) {
        (Kind::Reschedule, Some(when)) => {
            Some(Change::Reschedule { when, zone, late: filled.late, children: filled.along() })
        }
        (Kind::Cancel, _) => Some(Change::Cancel { children: filled.along() }),
        (Kind::Retry, _) => Some(Change::Retry),
        _ => None,
    };
    let (event, by, reason) = (found.event.id, visitor.actor(), reason.as_deref());
    let done = if let Some(change) = change {
        console.store.change(event, &change, &by, reason).await
    } else {
        console.store.decide(event, &choices.unwrap_or_default(), &by, reason, console.failures_max).await
    };
    match done {
        Ok(event) => Ok(visitor.leads_to(&format!("/events/{}?done={}", event.id, kind.as_str()))),
        Err(StoreError::Refused(refusal)) => {
            let found = Found::of(&console, &id).await?;
            shown(&console, &visitor, kind, found, filled, Errors::of(&refusal)).await
        }
        Err(error) => Err(words::problem(error)),
    }
}
