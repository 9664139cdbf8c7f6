//! Disconnect events: list, show, and changes of plan.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, NaiveTime, Utc};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::accounts::printable;
use super::auth::Caller;
use super::disconnect::ChildrenAsked;
use super::extract::{Asked, Id, MayTell, Told, account_number, field, numbered_page};
use super::problem::{Answer, Problem};
use crate::domain::calendar::{When, parse_zone};
use crate::domain::campaign::CampaignId;
use crate::domain::event::{Along, Change, EventId, EventView, State as EventState};
use crate::domain::text::parse_text;
use crate::store::{EventFilter, Paged};

pub fn read() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(list_events)).routes(routes!(show_event))
}

pub fn write() -> OpenApiRouter<Shared> {
    OpenApiRouter::default()
        .routes(routes!(cancel_event))
        .routes(routes!(reschedule_event))
        .routes(routes!(retry_event))
        .routes(routes!(decide_event))
}

/// Which events. Everything given must hold.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EventsAsked {
    /// In this state.
    #[param(inline)]
    state: Option<EventState>,
    /// Of this account alone.
    #[param(min_length = 1, max_length = 64)]
    account: Option<String>,
    /// Of this campaign.
    #[param(minimum = 1)]
    campaign: Option<i64>,
    /// In the number or the name of the account, whatever the case.
    search: Option<String>,
    /// Due then or later: `2026-12-01` in the company's zone, `2026-12-01T09:00`, RFC 3339, or `now`.
    #[param(example = "2026-12-01")]
    due_from: Option<String>,
    /// Due before then.
    #[param(example = "2027-01-01")]
    due_until: Option<String>,
    /// Whose family somebody has to decide about.
    #[serde(default)]
    #[param(required = false, default = false)]
    to_decide: bool,
    /// Scheduled or queued, and those that are due soonest first.
    #[serde(default)]
    #[param(required = false, default = false)]
    coming: bool,
    /// How many to answer.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: Option<u32>,
    /// Go on behind this cursor, the `next_cursor` of the page before.
    #[param(minimum = 0)]
    after: Option<u64>,
}

/// List disconnect events, newest first, or what is coming, soonest first.
#[utoipa::path(
    get,
    path = "/api/v1/events",
    tag = "events",
    params(EventsAsked),
    responses((status = 200, description = "A part of the list.", body = Paged<EventView>))
)]
async fn list_events(State(api): State<Shared>, Asked(asked): Asked<EventsAsked>) -> Answer<Json<Paged<EventView>>> {
    let page = numbered_page(asked.limit, asked.after)?;
    let account = asked.account.map(|number| account_number("account", &number)).transpose()?;
    if let Some(number) = &account {
        // An account without events is not an account that does not exist.
        api.store.account(number).await?;
    }
    let campaign = asked.campaign.map(CampaignId);
    if let Some(campaign) = campaign {
        api.store.campaign(campaign).await?;
    }
    let filter = EventFilter {
        state: asked.state,
        account,
        search: printable("search", asked.search)?,
        due_from: instant_of(&api, "due_from", asked.due_from).await?,
        due_until: instant_of(&api, "due_until", asked.due_until).await?,
        to_decide: asked.to_decide,
        campaign,
        coming: asked.coming,
    };
    Ok(Json(api.store.events(&filter, &page).await?))
}

/// A date alone begins at midnight in the company's zone.
async fn instant_of(api: &Shared, name: &str, text: Option<String>) -> Answer<Option<DateTime<Utc>>> {
    let Some(when) = field(name, text.as_deref(), When::parse)? else { return Ok(None) };
    let zone = api.store.settings().await?.company_zone;
    Ok(Some(when.resolve(zone, NaiveTime::MIN, api.store.now().await?).0))
}

/// The event that a path names.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct EventInPath {
    /// The number of the event.
    #[param(minimum = 1, example = 1)]
    #[expect(dead_code, reason = "it is read by `Id`; this describes it")]
    id: i64,
}

/// Show one event.
#[utoipa::path(
    get,
    path = "/api/v1/events/{id}",
    tag = "events",
    params(EventInPath),
    responses((status = 200, description = "The event.", body = EventView))
)]
async fn show_event(State(api): State<Shared>, Id(event): Id) -> Answer<Json<EventView>> {
    Ok(Json(api.store.event(EventId(event)).await?))
}

/// Why an event is cancelled, and what becomes of those that were made with it.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CancelAsked {
    /// Why, for the account's log.
    #[schema(min_length = 1, max_length = 1000)]
    reason: Option<String>,
    /// To be said where events of children were made with it that are open still.
    children: Option<Along>,
}

/// Cancel an event that has not ended well: scheduled, queued or failed.
#[utoipa::path(
    post,
    path = "/api/v1/events/{id}/cancel",
    tag = "events",
    params(EventInPath),
    request_body = Option<CancelAsked>,
    responses((status = 200, description = "The event, cancelled.", body = EventView))
)]
async fn cancel_event(
    State(api): State<Shared>,
    caller: Caller,
    Id(event): Id,
    MayTell(told): MayTell<CancelAsked>,
) -> Answer<Json<EventView>> {
    changed(&api, event, &Change::Cancel { children: told.children }, &caller, told.reason).await
}

/// Where an event is moved to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RescheduleAsked {
    /// `2026-12-01`, `2026-12-01T09:00`, RFC 3339, or `now`.
    #[schema(example = "2026-12-15")]
    on: String,
    /// The IANA zone that the date is read in; the account's, unless said, else the company's.
    #[schema(example = "America/Denver")]
    zone: Option<String>,
    /// A date in the past is meant.
    #[serde(default)]
    late: bool,
    /// Why, for the account's log.
    #[schema(min_length = 1, max_length = 1000)]
    reason: Option<String>,
    /// To be said where events of children were made with it that are open still.
    children: Option<Along>,
}

/// Move an open event to another date.
#[utoipa::path(
    post,
    path = "/api/v1/events/{id}/reschedule",
    tag = "events",
    params(EventInPath),
    request_body = RescheduleAsked,
    responses((status = 200, description = "The event, moved.", body = EventView))
)]
async fn reschedule_event(
    State(api): State<Shared>,
    caller: Caller,
    Id(event): Id,
    Told(told): Told<RescheduleAsked>,
) -> Answer<Json<EventView>> {
    let change = Change::Reschedule {
        when: When::parse(&told.on).map_err(|error| Problem::invalid("on", error))?,
        zone: field("zone", told.zone.as_deref(), parse_zone)?,
        late: told.late,
        children: told.children,
    };
    changed(&api, event, &change, &caller, told.reason).await
}

/// Why an event is tried again.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RetryAsked {
    /// Why, for the account's log.
    #[schema(min_length = 1, max_length = 1000)]
    reason: Option<String>,
}

/// Bring a failed event back: it is tried again at once.
#[utoipa::path(
    post,
    path = "/api/v1/events/{id}/retry",
    tag = "events",
    params(EventInPath),
    request_body = Option<RetryAsked>,
    responses((status = 200, description = "The event, scheduled again.", body = EventView))
)]
async fn retry_event(
    State(api): State<Shared>,
    caller: Caller,
    Id(event): Id,
    MayTell(told): MayTell<RetryAsked>,
) -> Answer<Json<EventView>> {
    changed(&api, event, &Change::Retry, &caller, told.reason).await
}

async fn changed(
    api: &Shared,
    event: i64,
    change: &Change,
    caller: &Caller,
    reason: Option<String>,
) -> Answer<Json<EventView>> {
    let reason = field("reason", reason.as_deref(), parse_text)?;
    Ok(Json(api.store.change(EventId(event), change, &caller.actor(), reason.as_deref()).await?))
}

/// What is decided about the children.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DecideAsked {
    children: ChildrenAsked,
    /// Why, for the account's log.
    #[schema(min_length = 1, max_length = 1000)]
    reason: Option<String>,
}

/// Decide about children of an event's account, where its family has changed since it was confirmed.
///
/// The event's `to_decide` says what there is to decide. One choice for all concerns those that are in question, one by
/// number any child.
#[utoipa::path(
    post,
    path = "/api/v1/events/{id}/decide",
    tag = "events",
    params(EventInPath),
    request_body = DecideAsked,
    responses((status = 200, description = "The parent's event, with what is left to decide.", body = EventView))
)]
async fn decide_event(
    State(api): State<Shared>,
    caller: Caller,
    Id(event): Id,
    Told(told): Told<DecideAsked>,
) -> Answer<Json<EventView>> {
    let (choices, reason) = (told.children.read()?, field("reason", told.reason.as_deref(), parse_text)?);
    let (by, failures_max) = (caller.actor(), api.failures_max);
    Ok(Json(api.store.decide(EventId(event), &choices, &by, reason.as_deref(), failures_max).await?))
}
