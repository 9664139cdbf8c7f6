//! Asking for a disconnect: now, or at a date; confirmed by the digest of the overview that was looked at.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use tokio::time::Instant;
use utoipa::openapi::schema::AnyOfBuilder;
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::accounts::NumberInPath;
use super::auth::Caller;
use super::extract::{MayTell, Number, account_number, field};
use super::if_match::IfMatch;
use super::problem::{Answer, Problem};
use super::request_id::Traced;
use crate::domain::calendar::{When, parse_zone};
use crate::domain::dispositions::{Choice, Dispositions};
use crate::domain::event::{EventId, EventView};
use crate::domain::refusal::Refusal;
use crate::domain::request::{AlreadyDisconnected, DisconnectRequest};
use crate::domain::text::parse_text;
use crate::store::{Requested, StoreError};

pub fn write() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(disconnect_account))
}

/// Names every child that is not named itself.
const EVERY_OTHER: &str = "*";

/// What was looked at before.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
struct Confirmed {
    /// The `ETag` of the overview that was looked at.
    #[param(rename = "If-Match", example = "*")]
    #[expect(dead_code, reason = "it is read by `IfMatch`; this describes it")]
    if_match: Option<String>,
}

/// What is asked for. Nothing has to be said: without a date it is now.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DisconnectAsked {
    /// `2026-12-01`, `2026-12-01T09:00`, RFC 3339, or `now`.
    #[schema(example = "2026-12-01")]
    on: Option<String>,
    /// The IANA zone that the date is read in; the account's, unless said, else the company's.
    #[schema(example = "America/Denver")]
    zone: Option<String>,
    /// A date in the past is meant.
    #[serde(default)]
    late: bool,
    /// Why, for the account's log.
    #[schema(min_length = 1, max_length = 1000)]
    reason: Option<String>,
    /// Of the overview that was looked at: it is refused if anything has changed since. `If-Match` says the same.
    digest: Option<String>,
    children: Option<ChildrenAsked>,
}

/// What is to become of the connected children: one choice for all of them, or one for each by its account number, where
/// `*` stands for those that are not named. A choice is `keep`, `unlink`, `disconnect` or `disconnect@2026-12-01`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "children is one choice for all, or an object of choices by account number")]
pub enum ChildrenAsked {
    All(String),
    Each(#[schema(inline)] Pairs),
}

/// The members of an object as they stand there: a map would keep the last of those that have the same name.
#[derive(Debug)]
pub struct Pairs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Pairs;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("an object of choices by account number")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut members: M) -> Result<Pairs, M::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = members.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

impl PartialSchema for Pairs {
    fn schema() -> RefOr<Schema> {
        BTreeMap::<String, String>::schema()
    }
}

impl ToSchema for Pairs {}

impl ChildrenAsked {
    /// # Errors
    /// What is no choice, or no account number.
    pub fn read(self) -> Answer<Dispositions> {
        let choice = |text: &str| Choice::parse(text).map_err(|error| Problem::invalid("children", error));
        let each = match self {
            Self::All(text) => return choice(&text).map(Dispositions::all),
            Self::Each(Pairs(each)) => each,
        };
        let mut dispositions = Dispositions::default();
        for (child, text) in each {
            let named_before = if child == EVERY_OTHER {
                dispositions.all.replace(choice(&text)?).is_some()
            } else {
                dispositions.each.insert(account_number("children", &child)?, choice(&text)?).is_some()
            };
            if named_before {
                return Err(Problem::invalid("children", format!("`{child}` is named twice; choose once for it")));
            }
        }
        Ok(dispositions)
    }
}

/// What came of it: the event, or that there was nothing left to do.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Disconnect {
    Event(Box<EventView>),
    Already(Box<AlreadyDisconnected>),
}

/// Written out, since the second has all that the first has: "one of" would hold for none.
impl PartialSchema for Disconnect {
    fn schema() -> RefOr<Schema> {
        let reference = |name| Ref::from_schema_name(name);
        AnyOfBuilder::new()
            .item(reference(EventView::name()))
            .item(reference(AlreadyDisconnected::name()))
            .description(Some("The event, or that there was nothing left to do."))
            .into()
    }
}

impl ToSchema for Disconnect {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((EventView::name().into(), EventView::schema()));
        schemas.push((AlreadyDisconnected::name().into(), AlreadyDisconnected::schema()));
        EventView::schemas(schemas);
        AlreadyDisconnected::schemas(schemas);
    }
}

/// Disconnect an account, now or on a date.
///
/// It is answered once it is planned: `GET /api/v1/events/{id}` tells how it ends. An account with an open event has it
/// brought forward to now. Each connected child needs a choice; without one, it is refused and the problem names them.
#[utoipa::path(
    post,
    path = "/api/v1/accounts/{number}/disconnect",
    tag = "accounts",
    params(NumberInPath, Confirmed),
    request_body = Option<DisconnectAsked>,
    responses(
        (
            status = 201,
            description = "A new event.",
            body = EventView,
            headers(("Location" = String, description = "Where the event is."))
        ),
        (
            status = 200,
            description = "The event that there was, under way or brought forward; or the account is disconnected.",
            body = Disconnect
        ),
        (
            status = 412,
            description = "Something has changed since the overview that `If-Match` names; `changes` says what.",
            body = Problem,
            content_type = "application/problem+json"
        ),
    )
)]
async fn disconnect_account(
    State(api): State<Shared>,
    caller: Caller,
    Traced(trace): Traced,
    Number(account): Number,
    IfMatch(digests): IfMatch,
    MayTell(told): MayTell<DisconnectAsked>,
) -> Answer<Response> {
    let mut matched = digests.into_iter();
    let first = matched.next();
    if first.is_some() && told.digest.is_some() {
        return Err(Problem::invalid("digest", "say it once: here, or as If-Match"));
    }
    let is_matched = first.is_some();
    let mut request = DisconnectRequest {
        account,
        when: field("on", told.on.as_deref(), When::parse)?.unwrap_or(When::Now),
        zone: field("zone", told.zone.as_deref(), parse_zone)?,
        late: told.late,
        reason: field("reason", told.reason.as_deref(), parse_text)?,
        by: caller.actor(),
        failures_max: api.failures_max,
        digest: first.or(told.digest),
        children: told.children.map(ChildrenAsked::read).transpose()?.unwrap_or_default(),
        trace,
    };
    let mut answer = api.store.request(&request).await;
    // Any of those that are agreed to will do. What is refused wrote nothing.
    while let Err(StoreError::Refused(Refusal::StaleDigest { .. })) = &answer {
        let Some(next) = matched.next() else { break };
        request.digest = Some(next);
        answer = api.store.request(&request).await;
    }
    let requested = answer.map_err(|error| match error {
        StoreError::Refused(refusal @ Refusal::StaleDigest { .. }) if is_matched => {
            Problem::from(refusal).answered_with(StatusCode::PRECONDITION_FAILED)
        }
        error => error.into(),
    })?;
    Ok(match requested {
        Requested::Created(event) => {
            let location = format!("/api/v1/events/{event}");
            let event = committed(&api, event).await?;
            (StatusCode::CREATED, [(header::LOCATION, location)], Json(event)).into_response()
        }
        Requested::BroughtForward(event) | Requested::UnderWay(event) => {
            Json(Disconnect::Event(Box::new(committed(&api, event).await?))).into_response()
        }
        Requested::AlreadyDisconnected { disconnected_at, event } => {
            let by = match event {
                Some(event) => Some(api.store.event(event).await?),
                None => None,
            };
            let already = AlreadyDisconnected::of(request.account, disconnected_at, by.as_ref());
            Json(Disconnect::Already(Box::new(already))).into_response()
        }
    })
}

/// How long an event that was made is looked up, though the database just went away.
const LOOK_UP_MAX: Duration = Duration::from_secs(5);
const LOOK_UP_PAUSE: Duration = Duration::from_millis(200);

/// The event that the request made. It is there, so its answer is worth some patience: a 503 would tell the caller that
/// nothing is known of it.
async fn committed(api: &Shared, event: EventId) -> Answer<EventView> {
    let deadline = Instant::now() + LOOK_UP_MAX;
    loop {
        match api.store.event(event).await {
            Err(error) if error.is_transient() && Instant::now() < deadline => tokio::time::sleep(LOOK_UP_PAUSE).await,
            answer => return Ok(answer?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::account::AccountNumber;

    fn read(json: &str) -> Result<Dispositions, String> {
        let asked: ChildrenAsked = serde_json::from_str(json).map_err(|error| error.to_string())?;
        asked.read().map_err(|problem| problem.detail)
    }

    #[test]
    fn a_choice_is_for_all_children_or_for_each() {
        assert_eq!(read("\"keep\""), Ok(Dispositions::all(Choice::Keep)));
        let each = read(r#"{"1002": "disconnect@2026-12-01", "*": "unlink"}"#).unwrap();
        assert_eq!(each.all, Some(Choice::Unlink));
        let child = AccountNumber::parse("1002").unwrap();
        assert_eq!(each.of(&child), Some(Choice::parse("disconnect@2026-12-01").unwrap()));
        for (json, part) in [
            ("\"drop\"", "keep, unlink, disconnect"),
            (r#"{"1002": "drop"}"#, "keep, unlink, disconnect"),
            (r#"{" ": "keep"}"#, "account number"),
            (r#"{"1002": "keep", "1002": "unlink"}"#, "named twice"),
            (r#"{"*": "keep", "1002": "keep", "*": "keep"}"#, "named twice"),
            ("7", "one choice for all"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(part), "{json}: {error}");
        }
    }
}
