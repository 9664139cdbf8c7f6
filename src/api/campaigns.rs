//! Campaigns: list, show, make and change. What a person does with one is in [`commands`], what it comes to in
//! [`outcome`].

mod asked;
mod commands;
mod outcome;
pub mod templates;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::asked::{CampaignAsked, ChangeAsked, CohortAsked};
pub use self::commands::{approve, command, command_whole};
pub use self::outcome::{blockers_file, read_whole, report_file};
use super::Shared;
use super::accounts::{PartAsked, printable};
use super::auth::Caller;
use super::extract::{Asked, Brought, Id, Told, numbered_page};
use super::problem::{Answer, Problem};
use crate::domain::campaign::cohort::BadRows;
use crate::domain::campaign::log::Entry;
use crate::domain::campaign::template::TemplateId;
use crate::domain::campaign::{CampaignId, CampaignView, State as CampaignState};
use crate::store::Paged;
use crate::store::campaigns::{CampaignFilter, Made, Making};

pub fn read() -> OpenApiRouter<Shared> {
    OpenApiRouter::default()
        .routes(routes!(list_campaigns))
        .routes(routes!(show_campaign))
        .routes(routes!(list_campaign_log))
}

/// With a list of accounts, in the document or as a file.
pub fn make() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(create_campaign)).routes(routes!(replace_cohort))
}

pub fn change() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(change_campaign))
}

/// Which campaigns. Everything given must hold.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct CampaignsAsked {
    /// In this state.
    #[param(inline)]
    state: Option<CampaignState>,
    /// In the name, whatever the case.
    search: Option<String>,
    /// Made by this template.
    #[param(minimum = 1)]
    template: Option<i64>,
    /// How many to answer.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: Option<u32>,
    /// Go on behind this cursor, the `next_cursor` of the page before.
    #[param(minimum = 0)]
    after: Option<u64>,
}

/// List campaigns, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/campaigns",
    tag = "campaigns",
    params(CampaignsAsked),
    responses((status = 200, description = "A part of the list.", body = Paged<CampaignView>))
)]
async fn list_campaigns(
    State(api): State<Shared>,
    Asked(asked): Asked<CampaignsAsked>,
) -> Answer<Json<Paged<CampaignView>>> {
    let page = numbered_page(asked.limit, asked.after)?;
    let template = asked.template.map(TemplateId);
    if let Some(template) = template {
        // A template that has made none is not a template that does not exist.
        api.store.template(template).await?;
    }
    let filter = CampaignFilter { state: asked.state, search: printable("search", asked.search)?, template };
    Ok(Json(api.store.campaigns(&filter, &page).await?))
}

/// The campaign that a path names.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
struct CampaignInPath {
    /// The number of the campaign.
    #[param(minimum = 1, example = 1)]
    #[expect(dead_code, reason = "it is read by `Id`; this describes it")]
    id: i64,
}

/// Show one campaign: its terms, how far it is, and what it came to so far.
#[utoipa::path(
    get,
    path = "/api/v1/campaigns/{id}",
    tag = "campaigns",
    params(CampaignInPath),
    responses((status = 200, description = "The campaign.", body = CampaignView))
)]
async fn show_campaign(State(api): State<Shared>, Id(campaign): Id) -> Answer<Json<CampaignView>> {
    Ok(Json(api.store.campaign(CampaignId(campaign)).await?))
}

/// Show what was done with a campaign, oldest first: when, what, by whom.
///
/// What became of its accounts is in their logs, and in the report.
#[utoipa::path(
    get,
    path = "/api/v1/campaigns/{id}/log",
    tag = "campaigns",
    params(CampaignInPath, PartAsked),
    responses((status = 200, description = "A part of the log.", body = Paged<Entry>))
)]
async fn list_campaign_log(
    State(api): State<Shared>,
    Id(campaign): Id,
    Asked(asked): Asked<PartAsked>,
) -> Answer<Json<Paged<Entry>>> {
    Ok(Json(api.store.campaign_log(CampaignId(campaign), &numbered_page(asked.limit, asked.after)?).await?))
}

const LIST_EXAMPLE: &str = "\
account_number,date,reason
1001,2099-12-01,moved away
1002,,
";

/// Make a campaign: a cohort of accounts, frozen, and the terms that they are disconnected on. It does nothing yet.
///
/// The cohort is what a filter matches at this moment (`where`), or a list: in the document (`accounts`, up to 10,000 in
/// at most 1 MiB), or as a CSV file of up to 5,000,000 rows with the header `account_number,date,reason`, of which the first alone must
/// be there. With a file, everything else stands in the query. All rows or none: a list with bad rows is answered with
/// 422, and the `report` names them.
///
/// Next, `GET /api/v1/campaigns/{id}/dry-run` shows what it would do. A campaign of more accounts than the setting
/// `campaign_approval_over` then has to be approved by somebody else before it can be started. An approval is for the cohort
/// and the terms; that the figures are those that were seen, a start with the dry run's digest sees to.
#[utoipa::path(
    post,
    path = "/api/v1/campaigns",
    tag = "campaigns",
    params(CampaignAsked),
    request_body(content(
        (CampaignAsked = "application/json", examples(
            ("filter" = (summary = "By a filter", value = json!({
                "name": "Tower 1, unpaid", "where": "group = tower-1 and balance > 0", "on": "2099-12-01",
                "children": "keep", "per_minute": 600, "canary": 10, "window": "mon-fri 08:00-18:00 America/Denver"
            }))),
            ("list" = (summary = "By a list", value = json!({
                "name": "Moved away", "on": "2099-12-01", "reason": "moved away", "children": "keep",
                "accounts": [{ "account_number": "1021" }, { "account_number": "1026", "date": "2099-12-24" }]
            }))),
        )),
        (String = "text/csv", example = json!(LIST_EXAMPLE)),
    )),
    responses((
        status = 201,
        description = "The new campaign.",
        body = CampaignView,
        headers(("Location" = String, description = "Where the campaign is."))
    ))
)]
async fn create_campaign(
    State(api): State<Shared>,
    caller: Caller,
    uri: Uri,
    brought: Brought<CampaignAsked>,
) -> Answer<Response> {
    let (asked, file) = asked::unpacked(brought, &uri)?;
    let (draft, cohort) = asked.read(&api, &caller, file).await?;
    let campaign = made(api.store.create_campaign(&draft, cohort, Making::QUIET).await?)?;
    let location = format!("/api/v1/campaigns/{}", campaign.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(campaign)).into_response())
}

/// Change the name or the terms of a campaign that has not begun: what is not given stays, and `null` takes it away.
///
/// An approval is void then. The dates of its accounts stay as they are: they come with the cohort.
#[utoipa::path(
    patch,
    path = "/api/v1/campaigns/{id}",
    tag = "campaigns",
    params(CampaignInPath),
    request_body = ChangeAsked,
    responses((status = 200, description = "The campaign, changed.", body = CampaignView))
)]
async fn change_campaign(
    State(api): State<Shared>,
    caller: Caller,
    Id(campaign): Id,
    Told(told): Told<ChangeAsked>,
) -> Answer<Json<CampaignView>> {
    let before = api.store.campaign(CampaignId(campaign)).await?;
    let Some(revision) = told.read(&api, &before).await? else { return Ok(Json(before)) };
    let by = caller.actor();
    made(api.store.change_campaign(before.id, &revision, None, &by, Making::QUIET).await?).map(Json)
}

/// Give a campaign that has not begun another cohort, with its dates.
///
/// As for a new campaign: a filter or a list in the document, or a CSV file and the rest in the query. An approval is
/// void then.
#[utoipa::path(
    put,
    path = "/api/v1/campaigns/{id}/cohort",
    tag = "campaigns",
    params(CampaignInPath, CohortAsked),
    request_body(content(
        (CohortAsked = "application/json", examples(
            ("filter" = (summary = "By a filter", value = json!({ "where": "group = tower-2", "on": "2099-12-01" }))),
            ("list" = (summary = "By a list", value = json!({ "accounts": [{ "account_number": "1031" }] }))),
        )),
        (String = "text/csv", example = json!(LIST_EXAMPLE)),
    )),
    responses((status = 200, description = "The campaign, with its new cohort.", body = CampaignView))
)]
async fn replace_cohort(
    State(api): State<Shared>,
    caller: Caller,
    Id(campaign): Id,
    uri: Uri,
    brought: Brought<CohortAsked>,
) -> Answer<Json<CampaignView>> {
    let (asked, file) = asked::unpacked(brought, &uri)?;
    let before = api.store.campaign(CampaignId(campaign)).await?;
    let (revision, draft, cohort) = asked.read(&api, &caller, before, file).await?;
    let (campaign, by) = (CampaignId(campaign), caller.actor());
    made(api.store.change_campaign(campaign, &revision, Some((draft, cohort)), &by, Making::QUIET).await?).map(Json)
}

fn made(made: Made) -> Answer<CampaignView> {
    match made {
        Made::Campaign(campaign) => Ok(*campaign),
        Made::BadRows(report) => Err(bad_rows(&report)),
    }
}

fn bad_rows(report: &BadRows) -> Problem {
    let detail = match report.total() {
        1 => "nothing was done: there is something wrong with a row of the list, see the report; correct it and send \
              the list again"
            .to_owned(),
        total => format!(
            "nothing was done: there are {total} things wrong with the rows of the list, see the report; correct them \
             and send the list again"
        ),
    };
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_rows", detail).with("report", json!(report))
}

/// As the calls that take one read a body.
pub(super) fn read_bodies(bytes: &[u8]) {
    let _ = super::extract::json::<CampaignAsked>(bytes);
    let _ = super::extract::json::<CohortAsked>(bytes);
    let _ = super::extract::json::<ChangeAsked>(bytes);
    let _ = super::extract::json::<commands::DryRunSeen>(bytes);
}
