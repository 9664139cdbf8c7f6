//! The disconnect window: what it will do, when, why, what becomes of the children, and a button that does it.
//!
//! It is a page of its own, and the same form in a dialog where there is JavaScript.

mod children;
mod filled;

use std::time::Duration;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use self::children::Children;
use self::filled::Filled;
use super::form::KEY_FIELD;
use super::gate::{Ours, Place, Visitor};
use super::plain::plain;
use super::reader::Moment;
use super::{Console, Shared, accounts, words};
use crate::api::problem::{Answer, Problem};
use crate::api::request_id::Traced;
use crate::domain::account::AccountNumber;
use crate::domain::calendar::When;
use crate::domain::event::EventId;
use crate::domain::overview::{Overview, OverviewFacts};
use crate::domain::refusal::Refusal;
use crate::domain::request::{DisconnectRequest, check_digest};
use crate::store::{Requested, StoreError};

/// How long somebody waits for the outcome of an immediate disconnect before the account is shown as it is.
const OUTCOME_MAX: Duration = Duration::from_secs(10);
const OUTCOME_PAUSE: Duration = Duration::from_millis(50);

/// What is wrong, by the field that it belongs to.
#[derive(Debug, Default)]
struct Errors {
    /// Of the form as a whole.
    form: Option<String>,
    /// What has changed since the form was made.
    changes: Vec<String>,
    date: Option<String>,
    zone: Option<String>,
    reason: Option<String>,
    children: Option<String>,
}

impl Errors {
    fn of(refusal: &Refusal) -> Self {
        let words = words::refusal(refusal);
        match refusal {
            Refusal::StaleDigest { changes, .. } => Self { changes: changes.clone(), ..Self::default() },
            Refusal::PastDate { .. } => Self { date: Some(words), ..Self::default() },
            Refusal::UndecidedChildren { .. } | Refusal::NotAChild { .. } | Refusal::UnlinkWithoutContact { .. } => {
                Self { children: Some(words), ..Self::default() }
            }
            _ => Self { form: Some(words), ..Self::default() },
        }
    }

    /// With what has changed since the form was made.
    fn with_changes(self, moved: Option<Refusal>) -> Self {
        match moved {
            Some(Refusal::StaleDigest { changes, .. }) => Self { changes, ..self },
            _ => self,
        }
    }

    /// As the page says it.
    fn tell(&mut self, told: impl Fn(&str) -> String) {
        let Self { form, changes, date, zone, reason, children } = self;
        let texts = [form, date, zone, reason, children].into_iter().flatten().chain(changes);
        texts.for_each(|text| *text = told(text));
    }

    fn any(&self) -> bool {
        let Self { form, changes, date, zone, reason, children } = self;
        !changes.is_empty() || [form, date, zone, reason, children].into_iter().any(Option::is_some)
    }
}

struct Line {
    description: String,
    charged_on: String,
    total: String,
}

#[derive(Template)]
#[template(path = "disconnect.html")]
struct WindowPart {
    number: AccountNumber,
    path: String,
    name: String,
    status: String,
    status_after: Option<String>,
    address: Option<String>,
    recipient: Option<String>,
    lines: Vec<Line>,
    total: Option<String>,
    children: Children,
    blockers: Vec<String>,
    warnings: Vec<String>,
    filled: Filled,
    zone: &'static str,
    /// What the chosen date means.
    means: Option<Moment>,
    errors: Errors,
    digest: String,
    form_key: String,
    key_field: &'static str,
}

impl WindowPart {
    fn of(facts: OverviewFacts, filled: Filled, mut errors: Errors, visitor: &Visitor) -> Answer<Self> {
        let reader = visitor.asked.reader;
        let zone = filled.zone().ok().flatten().or(facts.account.zone).unwrap_or(facts.settings.company_zone);
        let on = filled.when().ok().map(|when| when.resolve(zone, facts.settings.cutoff_time, facts.now).0);
        let means = on.filter(|_| filled.is_at_date).map(|on| reader.moment_in_both(on, zone));
        let asked = filled.asked_about(&facts.account.number, &facts.snapshot.family);
        errors.tell(|text| plain(text, zone, reader));
        let account = facts.account.number.clone();
        let children = Children::of(&asked, &account, &filled, reader);
        let on = on.unwrap_or(facts.now);
        let overview = Overview::of(facts, on);
        if !overview.blockers.is_empty() {
            errors.form = errors.form.or_else(|| Some("It can't be disconnected as things are.".into()));
        }
        let invoice = overview.final_invoice.as_ref();
        Ok(Self {
            path: accounts::path_of(&overview.account.number),
            number: overview.account.number,
            name: overview.account.name,
            status: overview.status_now,
            status_after: overview.status_after,
            address: overview.address_to_release,
            recipient: overview.invoice_recipient.map(|one| one.in_words(&account)),
            lines: invoice
                .iter()
                .flat_map(|invoice| &invoice.lines)
                .map(|line| Line {
                    description: line.description.clone(),
                    charged_on: reader.date(line.charged_on),
                    total: reader.money(line.total),
                })
                .collect(),
            total: invoice.map(|invoice| reader.money(invoice.total)),
            children,
            blockers: overview.blockers.iter().map(|one| words::capital(&plain(one, zone, reader))).collect(),
            warnings: overview.warnings.iter().map(|one| words::capital(&plain(one, zone, reader))).collect(),
            filled,
            zone: zone.name(),
            means,
            errors,
            digest: overview.digest,
            form_key: visitor.form_key()?,
            key_field: KEY_FIELD,
        })
    }
}

pub async fn window(State(console): State<Shared>, visitor: Visitor, Path(number): Path<String>) -> Answer<Response> {
    let facts = console.store.overview_facts(&accounts::number_of(&number)?).await.map_err(words::problem)?;
    show(facts, Filled::default(), Errors::default(), &visitor)
}

fn show(facts: OverviewFacts, filled: Filled, errors: Errors, visitor: &Visitor) -> Answer<Response> {
    let (title, is_refused) = (format!("Disconnect account {}", facts.account.number), errors.any());
    let moved = !errors.changes.is_empty();
    let view = visitor.view(&title, &WindowPart::of(facts, filled, errors, visitor)?)?;
    let status = match (is_refused, moved) {
        (false, _) => StatusCode::OK,
        (true, false) => StatusCode::UNPROCESSABLE_ENTITY,
        (true, true) => StatusCode::CONFLICT,
    };
    Ok((status, view).into_response())
}

pub async fn confirm(
    State(console): State<Shared>,
    visitor: Visitor,
    Traced(trace): Traced,
    place: Place,
    Path(number): Path<String>,
    Ours(form): Ours,
) -> Answer<Response> {
    let account = accounts::number_of(&number)?;
    let facts = console.store.overview_facts(&account).await.map_err(words::problem)?;
    let filled = Filled::of(&form);
    // Whatever is shown again has a new digest, so what is new in it is said.
    let moved = form.get("digest").and_then(|digest| check_digest(digest, &facts).err());
    let (when, zone, reason) = (filled.when(), filled.zone(), filled.reason());
    let asked = filled.asked_about(&account, &facts.snapshot.family);
    let choices = filled.dispositions(&asked);
    let errors = Errors {
        date: when.as_ref().err().cloned(),
        zone: zone.as_ref().err().cloned(),
        reason: reason.as_ref().err().cloned(),
        children: choices.as_ref().err().cloned(),
        ..Errors::default()
    };
    let (Ok(when), Ok(zone), Ok(reason), Ok(children)) = (when, zone, reason, choices) else {
        return show(facts, filled, errors.with_changes(moved), &visitor);
    };
    if form.get("step") == Some("show") {
        return show(facts, filled, errors.with_changes(moved), &visitor);
    }
    let Some(digest) = form.get("digest") else {
        let detail = "The form does not say what it showed, so nothing was done. Load the page again.";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail));
    };
    let request = DisconnectRequest {
        account: account.clone(),
        when,
        zone,
        late: filled.late,
        reason,
        by: visitor.actor(),
        failures_max: console.failures_max,
        digest: Some(digest.to_owned()),
        children,
        trace,
    };
    let event = match console.store.request(&request).await {
        Ok(Requested::Created(event) | Requested::BroughtForward(event) | Requested::UnderWay(event)) => Some(event),
        Ok(Requested::AlreadyDisconnected { event, .. }) => event,
        Err(StoreError::Refused(refusal)) => {
            let facts = console.store.overview_facts(&account).await.map_err(words::problem)?;
            return show(facts, filled, Errors::of(&refusal), &visitor);
        }
        Err(error) => return Err(words::problem(error)),
    };
    if let (When::Now, Some(event)) = (when, event) {
        // Whoever waits holds up nobody.
        place.leave();
        until_ended(&console, event).await;
    }
    let done = event.map(|event| format!("?done={event}")).unwrap_or_default();
    let to = format!("{}{done}", accounts::path_of(&account));
    Ok(visitor.leads_to(&to))
}

/// Waits for an outcome as long as somebody does. What is not there by then, the account's page says.
async fn until_ended(console: &Console, event: EventId) {
    let deadline = Instant::now() + OUTCOME_MAX;
    while Instant::now() < deadline {
        if matches!(console.store.event(event).await, Ok(event) if !event.state.is_open()) {
            return;
        }
        tokio::time::sleep(OUTCOME_PAUSE).await;
    }
}
