//! Templates of recurring campaigns: list, show, make, approve, switch on and off.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::asked::{read_filter, trouble};
use crate::api::Shared;
use crate::api::accounts::PartAsked;
use crate::api::auth::Caller;
use crate::api::extract::{Asked, Id, Told, field, numbered_page};
use crate::api::problem::{Answer, Problem};
use crate::domain::calendar::{Cron, parse_zone};
use crate::domain::campaign::template::{NewTemplate, TemplateCommand, TemplateId, TemplateView};
use crate::domain::campaign::terms::TermsAsked;
use crate::domain::dispositions::Disposition;
use crate::domain::text::parse_name;
use crate::store::Paged;
use crate::store::campaigns::MEMBERS_MAX;

pub fn read() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(list_templates)).routes(routes!(show_template))
}

pub fn write() -> OpenApiRouter<Shared> {
    OpenApiRouter::default()
        .routes(routes!(create_template))
        .routes(routes!(switch_template_on))
        .routes(routes!(switch_template_off))
}

pub fn approve() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(approve_template)).routes(routes!(unapprove_template))
}

/// List templates of recurring campaigns, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/campaign-templates",
    tag = "templates",
    params(PartAsked),
    responses((status = 200, description = "A part of the list.", body = Paged<TemplateView>))
)]
async fn list_templates(
    State(api): State<Shared>,
    Asked(asked): Asked<PartAsked>,
) -> Answer<Json<Paged<TemplateView>>> {
    Ok(Json(api.store.templates(&numbered_page(asked.limit, asked.after)?).await?))
}

/// The template that a path names.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
struct TemplateInPath {
    /// The number of the template.
    #[param(minimum = 1, example = 1)]
    #[expect(dead_code, reason = "it is read by `Id`; this describes it")]
    id: i64,
}

/// Show one template, with what came of its last tick.
#[utoipa::path(
    get,
    path = "/api/v1/campaign-templates/{id}",
    tag = "templates",
    params(TemplateInPath),
    responses((status = 200, description = "The template.", body = TemplateView))
)]
async fn show_template(State(api): State<Shared>, Id(template): Id) -> Answer<Json<TemplateView>> {
    Ok(Json(api.store.template(TemplateId(template)).await?))
}

/// A new template.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewCampaignTemplate)]
#[serde(deny_unknown_fields)]
struct TemplateAsked {
    /// The name, which no other template has; its campaigns bear it with their date.
    #[schema(min_length = 1, max_length = 64, example = "Monthly arrears")]
    name: String,
    /// Selects the accounts, at each tick anew.
    #[serde(rename = "where")]
    #[schema(min_length = 1, max_length = 4096, example = "debit_age > 90")]
    filter: String,
    /// When a campaign is made: minute, hour, day of the month, month and weekday.
    #[schema(max_length = 1000, example = "0 2 1 * *")]
    cron: String,
    /// The IANA zone that it is read in; the company's, unless said.
    #[schema(example = "America/Denver")]
    zone: Option<String>,
    /// A cohort of more accounts waits for a person, whatever is approved.
    #[schema(minimum = 1, maximum = 5_000_000, example = 2000)]
    accounts_max: u64,
    /// Why, for the accounts' logs.
    #[schema(min_length = 1, max_length = 1000)]
    reason: Option<String>,
    /// What becomes of the connected children of its accounts that are not in it.
    #[schema(value_type = Option<Disposition>)]
    children: Option<String>,
    /// At most so many disconnects a minute; without it, as fast as it goes.
    #[schema(minimum = 1, example = 600)]
    per_minute: Option<u32>,
    /// After so many of its first accounts a campaign pauses by itself, for somebody to look at them.
    #[schema(minimum = 1)]
    canary: Option<u32>,
    /// When it may disconnect. The setting `campaign_window`, unless said; `always` for no limit.
    #[schema(example = "mon-fri 08:00-18:00 America/Denver")]
    window: Option<String>,
    /// A campaign pauses by itself when more than this share of what it tried has failed, in percent. The setting
    /// `campaign_pause_percent`, unless said.
    #[schema(minimum = 1, maximum = 100)]
    pause_percent: Option<u32>,
}

impl TemplateAsked {
    async fn read(self, api: &Shared, caller: &Caller) -> Answer<NewTemplate> {
        let name = parse_name(&self.name).map_err(|error| Problem::invalid("name", error))?;
        let filter = read_filter(&self.filter)?;
        let cron = Cron::parse_user(&self.cron).map_err(|error| Problem::invalid("cron", error))?;
        let settings = api.store.settings().await?;
        let zone = field("zone", self.zone.as_deref(), parse_zone)?.unwrap_or(settings.company_zone);
        let accounts_max = Some(self.accounts_max)
            .filter(|accounts| (1..=MEMBERS_MAX).contains(accounts))
            .and_then(|accounts| i64::try_from(accounts).ok())
            .ok_or_else(|| Problem::invalid("accounts_max", format!("it is 1 to {MEMBERS_MAX}")))?;
        let asked = TermsAsked {
            reason: self.reason,
            children: self.children,
            per_minute: self.per_minute,
            canary: self.canary,
            window: self.window,
            pause_percent: self.pause_percent,
            ..TermsAsked::default()
        };
        let terms = asked.read(&settings).map_err(trouble)?;
        Ok(NewTemplate { name, filter, cron, zone, accounts_max, terms, by: caller.actor() })
    }
}

/// Make a template: at each tick of its cron expression it makes a campaign of the accounts that its filter matches then.
///
/// Its campaigns wait for a person to start them, until somebody else than its maker approves the template.
#[utoipa::path(
    post,
    path = "/api/v1/campaign-templates",
    tag = "templates",
    request_body = TemplateAsked,
    responses((
        status = 201,
        description = "The new template, switched on.",
        body = TemplateView,
        headers(("Location" = String, description = "Where the template is."))
    ))
)]
async fn create_template(
    State(api): State<Shared>,
    caller: Caller,
    Told(told): Told<TemplateAsked>,
) -> Answer<Response> {
    let template = api.store.create_template(&told.read(&api, &caller).await?).await?;
    let location = format!("/api/v1/campaign-templates/{}", template.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(template)).into_response())
}

/// Approve a template: its campaigns start by themselves from now on, as long as they are not too large.
#[utoipa::path(
    post,
    path = "/api/v1/campaign-templates/{id}/approve",
    tag = "templates",
    params(TemplateInPath),
    responses((status = 200, description = "The template, approved.", body = TemplateView))
)]
async fn approve_template(State(api): State<Shared>, caller: Caller, Id(template): Id) -> Answer<Json<TemplateView>> {
    commanded(&api, template, TemplateCommand::Approve, &caller).await
}

/// Take the approval of a template back: its campaigns wait for a person again.
#[utoipa::path(
    post,
    path = "/api/v1/campaign-templates/{id}/unapprove",
    tag = "templates",
    params(TemplateInPath),
    responses((status = 200, description = "The template, not approved.", body = TemplateView))
)]
async fn unapprove_template(State(api): State<Shared>, caller: Caller, Id(template): Id) -> Answer<Json<TemplateView>> {
    commanded(&api, template, TemplateCommand::Unapprove, &caller).await
}

/// Switch a template on: it makes campaigns from its next tick on.
#[utoipa::path(
    post,
    path = "/api/v1/campaign-templates/{id}/on",
    tag = "templates",
    params(TemplateInPath),
    responses((status = 200, description = "The template, switched on.", body = TemplateView))
)]
async fn switch_template_on(State(api): State<Shared>, caller: Caller, Id(template): Id) -> Answer<Json<TemplateView>> {
    commanded(&api, template, TemplateCommand::SwitchOn, &caller).await
}

/// Switch a template off: it makes no more campaigns.
#[utoipa::path(
    post,
    path = "/api/v1/campaign-templates/{id}/off",
    tag = "templates",
    params(TemplateInPath),
    responses((status = 200, description = "The template, switched off.", body = TemplateView))
)]
async fn switch_template_off(
    State(api): State<Shared>,
    caller: Caller,
    Id(template): Id,
) -> Answer<Json<TemplateView>> {
    commanded(&api, template, TemplateCommand::SwitchOff, &caller).await
}

async fn commanded(
    api: &Shared,
    template: i64,
    command: TemplateCommand,
    caller: &Caller,
) -> Answer<Json<TemplateView>> {
    Ok(Json(api.store.command_template(TemplateId(template), command, &caller.actor()).await?))
}
