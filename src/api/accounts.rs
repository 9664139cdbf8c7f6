//! Accounts: list, show, overview, log, families and contacts.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::auth::Caller;
use super::extract::{Asked, Given, Number, Told, account_number, field, numbered_page, page};
use super::problem::{Answer, Problem};
use crate::domain::account::{AccountFilter, AccountView, ContactChange, LogEntry};
use crate::domain::calendar::{When, parse_zone};
use crate::domain::overview::Overview;
use crate::domain::text::{TEXT_MAX, parse_text};
use crate::store::Paged;

pub fn read() -> OpenApiRouter<Shared> {
    OpenApiRouter::default()
        .routes(routes!(list_accounts))
        .routes(routes!(show_account))
        .routes(routes!(show_overview))
        .routes(routes!(list_log))
}

pub fn write() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(link_account, unlink_account)).routes(routes!(change_contact))
}

/// Which accounts. Everything given must hold.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AccountsAsked {
    /// In the number, the name or the address, whatever the case.
    search: Option<String>,
    /// With this status.
    status: Option<String>,
    /// With this label.
    group: Option<String>,
    /// Under this account.
    #[param(min_length = 1, max_length = 64)]
    parent: Option<String>,
    /// Disconnected ones alone, or those alone that are not.
    disconnected: Option<bool>,
    /// Those alone with an event that is to come, or those alone without one.
    open_event: Option<bool>,
    /// How many to answer.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: Option<u32>,
    /// Go on behind this cursor, the `next_cursor` of the page before.
    #[param(max_length = 64)]
    after: Option<String>,
}

/// List accounts by number.
#[utoipa::path(
    get,
    path = "/api/v1/accounts",
    tag = "accounts",
    params(AccountsAsked),
    responses((status = 200, description = "A part of the list.", body = Paged<AccountView>))
)]
async fn list_accounts(
    State(api): State<Shared>,
    Asked(asked): Asked<AccountsAsked>,
) -> Answer<Json<Paged<AccountView>>> {
    let filter = AccountFilter {
        search: printable("search", asked.search)?,
        status: printable("status", asked.status)?,
        group: printable("group", asked.group)?,
        parent: asked.parent.map(|number| account_number("parent", &number)).transpose()?,
        disconnected: asked.disconnected,
        open_event: asked.open_event,
        ..AccountFilter::default()
    };
    Ok(Json(api.store.accounts(&filter, &page(asked.limit, asked.after)?).await?))
}

/// What no account has in it is not looked for; a database may not even take it.
pub fn printable(name: &str, text: Option<String>) -> Answer<Option<String>> {
    match text {
        Some(text) if text.chars().count() > TEXT_MAX => {
            Err(Problem::invalid(name, format!("it has more than {TEXT_MAX} characters, which nothing here has")))
        }
        Some(text) if text.chars().any(char::is_control) => {
            Err(Problem::invalid(name, "it has control characters, which nothing here has"))
        }
        text => Ok(text),
    }
}

/// The account that a path names.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct NumberInPath {
    /// The number of the account, percent-encoded.
    #[param(min_length = 1, max_length = 64, example = "1001")]
    #[expect(dead_code, reason = "it is read by `Number`; this describes it")]
    number: String,
}

/// Show one account.
#[utoipa::path(
    get,
    path = "/api/v1/accounts/{number}",
    tag = "accounts",
    params(NumberInPath),
    responses((status = 200, description = "The account.", body = AccountView))
)]
async fn show_account(State(api): State<Shared>, Number(number): Number) -> Answer<Json<AccountView>> {
    Ok(Json(api.store.account(&number).await?))
}

/// For a disconnect when.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct OverviewAsked {
    /// For a disconnect then: `2026-12-01`, `2026-12-01T09:00`, RFC 3339, or `now`.
    #[param(default = "now")]
    on: Option<String>,
    /// The IANA zone that the date is read in; the account's, unless said, else the company's.
    #[param(example = "America/Denver")]
    zone: Option<String>,
}

/// Show what a disconnect would do.
///
/// The final invoice line by line, the address, the family, what blocks.
#[utoipa::path(
    get,
    path = "/api/v1/accounts/{number}/overview",
    tag = "accounts",
    params(NumberInPath, OverviewAsked),
    responses((
        status = 200,
        description = "The overview.",
        body = Overview,
        headers(("ETag" = String, description = "The digest, for `If-Match` with the confirmation."))
    ))
)]
async fn show_overview(
    State(api): State<Shared>,
    Number(number): Number,
    Asked(asked): Asked<OverviewAsked>,
) -> Answer<Response> {
    let when = field("on", asked.on.as_deref(), When::parse)?.unwrap_or(When::Now);
    let zone = field("zone", asked.zone.as_deref(), parse_zone)?;
    let facts = api.store.overview_facts(&number).await?;
    let zone = zone.or(facts.account.zone).unwrap_or(facts.settings.company_zone);
    let (on, _) = when.resolve(zone, facts.settings.cutoff_time, facts.now);
    let overview = Overview::of(facts, on);
    let etag = format!("\"{}\"", overview.digest);
    Ok(([(header::ETAG, etag)], Json(overview)).into_response())
}

/// A part of a list whose cursors are numbers.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PartAsked {
    /// How many to answer.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    pub limit: Option<u32>,
    /// Go on behind this cursor, the `next_cursor` of the page before.
    #[param(minimum = 0)]
    pub after: Option<u64>,
}

/// List what was done to an account, oldest first: when, what, by whom, why.
#[utoipa::path(
    get,
    path = "/api/v1/accounts/{number}/log",
    tag = "accounts",
    params(NumberInPath, PartAsked),
    responses((status = 200, description = "A part of the log.", body = Paged<LogEntry>))
)]
async fn list_log(
    State(api): State<Shared>,
    Number(number): Number,
    Asked(asked): Asked<PartAsked>,
) -> Answer<Json<Paged<LogEntry>>> {
    Ok(Json(api.store.log(&number, &numbered_page(asked.limit, asked.after)?).await?))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewParent {
    /// The number of the parent account.
    #[schema(min_length = 1, max_length = 64, example = "1001")]
    parent: String,
}

/// Put an account under a parent, from wherever it was.
#[utoipa::path(
    put,
    path = "/api/v1/accounts/{number}/parent",
    tag = "accounts",
    params(NumberInPath),
    request_body = NewParent,
    responses((status = 200, description = "The account, under its parent.", body = AccountView))
)]
async fn link_account(
    State(api): State<Shared>,
    caller: Caller,
    Number(number): Number,
    Told(told): Told<NewParent>,
) -> Answer<Json<AccountView>> {
    let parent = account_number("parent", &told.parent)?;
    Ok(Json(api.store.link(&number, &parent, &caller.actor()).await?))
}

/// Take an account from under its parent; it must have a contact of its own.
#[utoipa::path(
    delete,
    path = "/api/v1/accounts/{number}/parent",
    tag = "accounts",
    params(NumberInPath),
    responses((status = 200, description = "The account, without a parent.", body = AccountView))
)]
async fn unlink_account(
    State(api): State<Shared>,
    caller: Caller,
    Number(number): Number,
) -> Answer<Json<AccountView>> {
    Ok(Json(api.store.unlink(&number, &caller.actor()).await?))
}

/// What to change of a contact: what is not given stays, and `null` removes it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewContact {
    /// Where invoices are sent to.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 1000, example = "ada@example.com")]
    email: Given<String>,
    /// Where letters are sent to; it may have several lines.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 1000)]
    mailing_address: Given<String>,
}

/// Change who gets the invoices of an account.
#[utoipa::path(
    patch,
    path = "/api/v1/accounts/{number}/contact",
    tag = "accounts",
    params(NumberInPath),
    request_body = NewContact,
    responses((status = 200, description = "The account, with its contact.", body = AccountView))
)]
async fn change_contact(
    State(api): State<Shared>,
    caller: Caller,
    Number(number): Number,
    Told(told): Told<NewContact>,
) -> Answer<Json<AccountView>> {
    let read = |name, text: Given<String>| match text {
        Given::Nothing => Ok(None),
        Given::Null => Ok(Some(None)),
        Given::Value(text) => field(name, Some(&text), parse_text).map(Some),
    };
    let change = ContactChange {
        email: read("email", told.email)?,
        mailing_address: read("mailing_address", told.mailing_address)?,
    };
    Ok(Json(api.store.change_contact(&number, &change, &caller.actor()).await?))
}
