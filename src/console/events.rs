//! Events: the list of what is coming, what ended and what failed, and each on a page of its own.

pub mod calendar;
pub mod change;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use chrono_tz::Tz;
use serde::Deserialize;

use super::Shared;
use super::accounts::{path_of, planned};
use super::gate::Visitor;
use super::lists::{self, numbered_page_after, some};
use super::plain::plain;
use super::reader::{Moment, Reader};
use super::words;
use crate::api::problem::{Answer, Problem};
use crate::domain::account::AccountNumber;
use crate::domain::calendar::When;
use crate::domain::campaign::CampaignId;
use crate::domain::event::{EventId, EventView, State as EventState};
use crate::domain::token::Role;
use crate::store::EventFilter;

/// Which events, as the form of the list asks. What is empty is not asked for.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub struct ListAsked {
    /// In the account's number or name.
    search: String,
    account: String,
    /// A state, or `to_decide`, or `coming`.
    state: String,
    campaign: String,
    /// Days in the company's zone, the last one included.
    from: String,
    to: String,
    after: String,
}

impl ListAsked {
    fn filter(&self, zone: Tz, now: DateTime<Utc>) -> Answer<EventFilter> {
        Ok(EventFilter {
            state: EventState::parse(&self.state),
            account: some(&self.account)?.map(|number| super::accounts::number_of(&number)).transpose()?,
            search: some(&self.search)?,
            due_from: day("from", &self.from)?.map(|day| midnight(day, zone, now)).transpose()?,
            due_until: day("to", &self.to)?
                .and_then(|day| day.checked_add_days(Days::new(1)))
                .map(|day| midnight(day, zone, now))
                .transpose()?,
            to_decide: self.state == "to_decide",
            coming: self.state == "coming",
            campaign: match self.campaign.trim() {
                "" => None,
                text => Some(CampaignId(text.parse().map_err(|_| unreadable("campaign", "the number of a campaign"))?)),
            },
        })
    }

    /// Which of the views that have a tab.
    fn view(&self) -> &'static str {
        match self.state.as_str() {
            "coming" => "coming",
            "failed" => "failed",
            "to_decide" => "to_decide",
            _ => "all",
        }
    }

    fn is_filtered(&self) -> bool {
        let Self { search, account, state, campaign, from, to, after } = self;
        [search, account, state, campaign, from, to, after].into_iter().any(|text| !text.trim().is_empty())
    }

    /// The same list, from here on.
    fn link(&self, after: &str) -> String {
        let fields = [
            ("search", self.search.as_str()),
            ("account", &self.account),
            ("state", &self.state),
            ("campaign", &self.campaign),
            ("from", &self.from),
            ("to", &self.to),
            ("after", after),
        ];
        lists::link("/events", &fields)
    }
}

fn unreadable(field: &str, wanted: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", format!("The field {field} takes {wanted}."))
}

fn day(field: &str, text: &str) -> Answer<Option<NaiveDate>> {
    match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| unreadable(field, "a date such as 2026-12-01")),
    }
}

/// When a day begins in a zone.
fn midnight(day: NaiveDate, zone: Tz, now: DateTime<Utc>) -> Answer<DateTime<Utc>> {
    let when = When::parse(&day.to_string()).map_err(|_| unreadable("date", "a date of these centuries"))?;
    Ok(when.resolve(zone, NaiveTime::MIN, now).0)
}

/// The states and what the list calls them.
const STATES: [(&str, &str); 7] = [
    ("coming", "Coming, the soonest first"),
    ("scheduled", "Scheduled"),
    ("queued", "Under way"),
    ("failed", "Failed"),
    ("completed", "Completed"),
    ("cancelled", "Cancelled"),
    ("to_decide", "Family to decide about"),
];

/// What may be done with an event, by its state and who looks.
#[expect(clippy::struct_excessive_bools, reason = "each is a control that is shown or not")]
struct May {
    cancel: bool,
    reschedule: bool,
    retry: bool,
    decide: bool,
}

impl May {
    fn of(event: &EventView, visitor: &Visitor) -> Self {
        let is_operator = visitor.may(Role::Operator);
        let has_failed = event.state == EventState::Failed;
        Self {
            cancel: is_operator && (event.state.is_open() || has_failed),
            reschedule: is_operator && event.state.is_open(),
            retry: is_operator && has_failed,
            decide: is_operator && !event.to_decide.is_empty(),
        }
    }

    fn any(&self) -> bool {
        self.cancel || self.reschedule || self.retry || self.decide
    }
}

struct Row {
    id: i64,
    account: AccountNumber,
    account_path: String,
    state: &'static str,
    outcome: String,
    due_at: Moment,
    planned: Option<String>,
    campaign: Option<i64>,
    failures: Option<String>,
    last_error: String,
    may: May,
}

impl Row {
    fn of(event: EventView, zone: Tz, visitor: &Visitor) -> Self {
        Self {
            id: event.id.0,
            account_path: path_of(&event.account_number),
            state: event.state.as_str(),
            outcome: outcome(&event),
            due_at: visitor.asked.reader.moment(event.due_at, zone),
            planned: planned(&event),
            campaign: event.campaign_id.map(|campaign| campaign.0),
            failures: (event.failures > 0).then(|| format!("{} of {}", event.failures, event.failures_max)),
            may: May::of(&event, visitor),
            account: event.account_number,
            last_error: event.last_error.unwrap_or_default(),
        }
    }
}

fn outcome(event: &EventView) -> String {
    event.outcome.map(|outcome| outcome.as_str().replace('_', " ")).unwrap_or_default()
}

#[derive(Template)]
#[template(path = "events.html")]
struct ListPart {
    zone: &'static str,
    states: &'static [(&'static str, &'static str)],
    view: &'static str,
    is_filtered: bool,
    rows: Vec<Row>,
    next: Option<String>,
    first: Option<String>,
    asked: ListAsked,
}

pub async fn list(State(console): State<Shared>, visitor: Visitor, Query(asked): Query<ListAsked>) -> Answer<Response> {
    let zone = console.store.settings().await?.company_zone;
    let filter = asked.filter(zone, console.store.now().await?)?;
    let events = console.store.events(&filter, &numbered_page_after(&asked.after)?).await.map_err(words::problem)?;
    let part = ListPart {
        zone: zone.name(),
        states: &STATES,
        view: asked.view(),
        is_filtered: asked.is_filtered(),
        next: events.next_cursor.as_deref().map(|after| asked.link(after)),
        first: (!asked.after.is_empty()).then(|| asked.link("")),
        rows: events.items.into_iter().map(|event| Row::of(event, zone, &visitor)).collect(),
        asked,
    };
    visitor.view("Events", &part)
}

/// The event in a path.
fn id_of(text: &str) -> Answer<EventId> {
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "unknown_event", "There is no such event.");
    text.parse().map(EventId).map_err(|_| unknown())
}

/// An event, the name of its account, and the zone that its dates are shown in.
struct Found {
    event: EventView,
    name: String,
    zone: Tz,
}

impl Found {
    async fn of(console: &Shared, id: &str) -> Answer<Self> {
        let event = console.store.event(id_of(id)?).await.map_err(words::problem)?;
        let account = console.store.account(&event.account_number).await.map_err(words::problem)?;
        let zone = match account.zone {
            Some(zone) => zone,
            None => console.store.settings().await?.company_zone,
        };
        Ok(Self { event, name: account.name, zone })
    }

    fn due_at(&self, reader: Reader) -> Moment {
        reader.moment_in(self.event.due_at, self.zone)
    }
}

struct ChildRow {
    number: AccountNumber,
    path: String,
    disposition: &'static str,
    event: Option<(i64, &'static str)>,
    warning: String,
}

#[derive(Template)]
#[template(path = "event.html")]
struct EventPart {
    id: i64,
    account: AccountNumber,
    account_path: String,
    name: String,
    state: &'static str,
    outcome: String,
    due_at: Moment,
    planned: Option<String>,
    next_at: Option<Moment>,
    attempts: i32,
    failures: i32,
    failures_max: i32,
    last_error: Option<String>,
    reason: Option<String>,
    requested_by: String,
    requested_from: String,
    campaign: Option<i64>,
    parent_event: Option<i64>,
    invoice: Option<(i64, String)>,
    created_at: Moment,
    ended_at: Option<Moment>,
    changed_since: Vec<String>,
    to_decide: Vec<String>,
    children: Vec<ChildRow>,
    may: May,
    notice: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ShowAsked {
    /// What was just done.
    done: String,
}

pub async fn show(
    State(console): State<Shared>,
    visitor: Visitor,
    Path(id): Path<String>,
    Query(asked): Query<ShowAsked>,
) -> Answer<Response> {
    let found = Found::of(&console, &id).await?;
    let (reader, zone, may) = (visitor.asked.reader, found.zone, May::of(&found.event, &visitor));
    let notice = notice(&asked.done, &found, reader);
    let (due_at, event) = (reader.moment_in_both(found.event.due_at, zone), found.event);
    let part = EventPart {
        id: event.id.0,
        account_path: path_of(&event.account_number),
        name: found.name,
        state: event.state.as_str(),
        outcome: outcome(&event),
        due_at,
        planned: planned(&event),
        next_at: event.next_at.filter(|at| *at != event.due_at).map(|at| reader.moment_in(at, zone)),
        attempts: event.attempt.0,
        failures: event.failures,
        failures_max: event.failures_max,
        campaign: event.campaign_id.map(|campaign| campaign.0),
        parent_event: event.parent_event_id.map(|parent| parent.0),
        invoice: event.final_invoice.as_ref().map(|invoice| (invoice.number.0, reader.money(invoice.total))),
        created_at: reader.moment_in(event.created_at, zone),
        ended_at: event.ended_at.map(|at| reader.moment_in(at, zone)),
        children: event
            .children
            .iter()
            .map(|child| ChildRow {
                path: path_of(&child.number),
                number: child.number.clone(),
                disposition: child.disposition.as_str(),
                event: child.event_id.map(|id| (id.0, child.event_state.map_or("", EventState::as_str))),
                warning: child.warning.clone().unwrap_or_default(),
            })
            .collect(),
        account: event.account_number,
        last_error: event.last_error.map(|error| plain(&error, zone, reader)),
        reason: event.reason,
        requested_by: event.requested_by,
        requested_from: event.requested_from,
        changed_since: event.changed_since.iter().map(|one| plain(one, zone, reader)).collect(),
        to_decide: event.to_decide.iter().map(|one| plain(one, zone, reader)).collect(),
        may,
        notice,
    };
    visitor.view(&format!("Event {} of account {}", part.id, part.account), &part)
}

/// What was just done, where it is so still.
fn notice(done: &str, found: &Found, reader: Reader) -> Option<String> {
    let (id, account) = (found.event.id, &found.event.account_number);
    match (done, found.event.state) {
        ("cancel", EventState::Cancelled) => {
            Some(format!("Event {id} is cancelled. Account {account} keeps its service."))
        }
        ("reschedule", state) if state.is_open() => Some(format!(
            "Event {id} is moved: account {account} will be disconnected at {}.",
            found.due_at(reader).shown
        )),
        ("retry", state) if state != EventState::Failed => {
            Some(format!("Event {id} is tried again. Load this page again to see how it ended."))
        }
        ("decide", _) => Some("What was decided about the family is kept.".into()),
        _ => None,
    }
}
