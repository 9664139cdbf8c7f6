//! Disconnect events: list, show, and changes of plan.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::extract::{Asked, Id, account_number, numbered_page};
use super::problem::Answer;
use crate::domain::event::{EventId, EventView, State as EventState};
use crate::store::{EventFilter, Paged};

pub fn read() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(list_events)).routes(routes!(show_event))
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
    /// How many to answer.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: Option<u32>,
    /// Go on behind this cursor, the `next_cursor` of the page before.
    #[param(minimum = 0)]
    after: Option<u64>,
}

/// List disconnect events, newest first.
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
    Ok(Json(api.store.events(&EventFilter { state: asked.state, account }, &page).await?))
}

/// The event that a path names.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct EventInPath {
    /// The number of the event.
    #[param(minimum = 1)]
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
