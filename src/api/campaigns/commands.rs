//! What a person does with a campaign: approve, start, pause, resume, abort, retry.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::CampaignInPath;
use crate::api::Shared;
use crate::api::auth::Caller;
use crate::api::extract::{Id, MayTell, field};
use crate::api::if_match::IfMatch;
use crate::api::problem::{Answer, Problem};
use crate::domain::campaign::{CampaignId, CampaignView, Command};
use crate::domain::refusal::Refusal;
use crate::domain::text::parse_text;
use crate::store::StoreError;
use crate::store::campaigns::Commanded;

const STALE: &str = "It is not what the dry run that `If-Match` names has shown. If that is the one that was approved, \
                     `changes` says what has changed since; of any other it is not known.";

pub fn approve() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(approve_campaign))
}

/// Those that look at every account.
pub fn command_whole() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(start_campaign)).routes(routes!(retry_campaign))
}

pub fn command() -> OpenApiRouter<Shared> {
    OpenApiRouter::default()
        .routes(routes!(pause_campaign))
        .routes(routes!(resume_campaign))
        .routes(routes!(abort_campaign))
}

/// What was looked at before.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
struct Confirmed {
    /// The `ETag` of the dry run that was looked at.
    #[param(rename = "If-Match", example = "*")]
    #[expect(dead_code, reason = "it is read by `IfMatch`; this describes it")]
    if_match: Option<String>,
}

/// What was looked at. Nothing has to be said: then it is what the dry run shows now.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DryRunSeen {
    /// Of the dry run that was looked at: it is refused if anything has changed since. `If-Match` says the same.
    digest: Option<String>,
}

/// A dry run that somebody agrees to.
struct Agreed {
    digest: Option<String>,
    is_matched: bool,
}

impl Agreed {
    async fn of(api: &Shared, campaign: CampaignId, matched: Vec<String>, told: DryRunSeen) -> Answer<Self> {
        let is_matched = !matched.is_empty();
        if is_matched && told.digest.is_some() {
            return Err(Problem::invalid("digest", "say it once: here, or as If-Match"));
        }
        // Any of those that are agreed to will do; that they are several is rare.
        let digest = match matched.len() {
            0 => told.digest,
            1 => matched.into_iter().next(),
            _ => {
                let now = api.store.dry_run(campaign).await?.digest;
                if matched.contains(&now) { Some(now) } else { matched.into_iter().next() }
            }
        };
        Ok(Self { digest, is_matched })
    }

    fn refused(&self, error: StoreError) -> Problem {
        match error {
            StoreError::Refused(refusal @ Refusal::StaleDryRun { .. }) if self.is_matched => {
                Problem::from(refusal).answered_with(StatusCode::PRECONDITION_FAILED)
            }
            error => error.into(),
        }
    }
}

/// Approve a campaign, as its dry run shows it: it may be started then.
///
/// By somebody else than those who made it what it is. A change of its terms or its cohort makes the approval void; what
/// its accounts owe may move until the start, which a digest of its own binds to what was seen.
#[utoipa::path(
    post,
    path = "/api/v1/campaigns/{id}/approve",
    tag = "campaigns",
    params(CampaignInPath, Confirmed),
    request_body = Option<DryRunSeen>,
    responses(
        (status = 200, description = "The campaign, approved.", body = CampaignView),
        (
            status = 412,
            description = STALE,
            body = Problem,
            content_type = "application/problem+json"
        ),
    )
)]
async fn approve_campaign(
    State(api): State<Shared>,
    caller: Caller,
    Id(campaign): Id,
    IfMatch(matched): IfMatch,
    MayTell(told): MayTell<DryRunSeen>,
) -> Answer<Json<CampaignView>> {
    let campaign = CampaignId(campaign);
    let agreed = Agreed::of(&api, campaign, matched, told).await?;
    let approved = api.store.approve_campaign(campaign, agreed.digest.as_deref(), &caller.actor()).await;
    approved.map(Json).map_err(|error| agreed.refused(error))
}

/// Start a campaign: its accounts are disconnected, each when its date, the pace and the window let it.
///
/// With the digest of a dry run (or `If-Match`) only what that one showed, to the cent; without, whatever it comes to now,
/// also where the figures have moved since it was approved.
#[utoipa::path(
    post,
    path = "/api/v1/campaigns/{id}/start",
    tag = "campaigns",
    params(CampaignInPath, Confirmed),
    request_body = Option<DryRunSeen>,
    responses(
        (status = 200, description = "The campaign, running.", body = Commanded),
        (
            status = 412,
            description = STALE,
            body = Problem,
            content_type = "application/problem+json"
        ),
    )
)]
async fn start_campaign(
    State(api): State<Shared>,
    caller: Caller,
    Id(campaign): Id,
    IfMatch(matched): IfMatch,
    MayTell(told): MayTell<DryRunSeen>,
) -> Answer<Json<Commanded>> {
    let campaign = CampaignId(campaign);
    let agreed = Agreed::of(&api, campaign, matched, told).await?;
    let started = api.store.start_campaign(campaign, agreed.digest.as_deref(), &caller.actor()).await;
    started.map(Json).map_err(|error| agreed.refused(error))
}

/// Why a campaign is stopped.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct StopAsked {
    /// Why, to be shown with it.
    #[schema(min_length = 1, max_length = 1000)]
    reason: Option<String>,
}

impl StopAsked {
    fn read(&self) -> Answer<Option<String>> {
        field("reason", self.reason.as_deref(), parse_text)
    }
}

/// Pause a campaign: once this is answered, nothing more of it begins until somebody resumes it.
#[utoipa::path(
    post,
    path = "/api/v1/campaigns/{id}/pause",
    tag = "campaigns",
    params(CampaignInPath),
    request_body = Option<StopAsked>,
    responses((status = 200, description = "The campaign, paused, with exact counts.", body = Commanded))
)]
async fn pause_campaign(
    State(api): State<Shared>,
    caller: Caller,
    Id(campaign): Id,
    MayTell(told): MayTell<StopAsked>,
) -> Answer<Json<Commanded>> {
    commanded(&api, campaign, &Command::Pause { note: told.read()? }, &caller).await
}

/// Resume a paused campaign, whatever paused it.
#[utoipa::path(
    post,
    path = "/api/v1/campaigns/{id}/resume",
    tag = "campaigns",
    params(CampaignInPath),
    responses((status = 200, description = "The campaign, running.", body = Commanded))
)]
async fn resume_campaign(State(api): State<Shared>, caller: Caller, Id(campaign): Id) -> Answer<Json<Commanded>> {
    commanded(&api, campaign, &Command::Resume, &caller).await
}

/// Abort a campaign for good: once this is answered, nothing more of it begins. What it has done stays done.
#[utoipa::path(
    post,
    path = "/api/v1/campaigns/{id}/abort",
    tag = "campaigns",
    params(CampaignInPath),
    request_body = Option<StopAsked>,
    responses((status = 200, description = "The campaign, aborted, with exact counts.", body = Commanded))
)]
async fn abort_campaign(
    State(api): State<Shared>,
    caller: Caller,
    Id(campaign): Id,
    MayTell(told): MayTell<StopAsked>,
) -> Answer<Json<Commanded>> {
    commanded(&api, campaign, &Command::Abort { note: told.read()? }, &caller).await
}

/// Try again what has failed of a campaign. Not an account that has another open event by now: `events` says how many are.
#[utoipa::path(
    post,
    path = "/api/v1/campaigns/{id}/retry",
    tag = "campaigns",
    params(CampaignInPath),
    responses((status = 200, description = "The campaign; one that was completed runs again.", body = Commanded))
)]
async fn retry_campaign(State(api): State<Shared>, caller: Caller, Id(campaign): Id) -> Answer<Json<Commanded>> {
    commanded(&api, campaign, &Command::Retry, &caller).await
}

async fn commanded(api: &Shared, campaign: i64, command: &Command, caller: &Caller) -> Answer<Json<Commanded>> {
    Ok(Json(api.store.command_campaign(CampaignId(campaign), command, &caller.actor()).await?))
}
