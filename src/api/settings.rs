//! What belongs to the company: its settings, and the account statuses.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::extract::{Named, Told};
use super::problem::{Answer, Problem};
use crate::domain::account::Status;
use crate::domain::settings::{SettingKey, Settings};
use crate::domain::text::parse_name;
use crate::store::Paged;

pub fn read() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(list_statuses)).routes(routes!(show_settings))
}

pub fn write() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(add_status)).routes(routes!(change_setting))
}

/// List the account statuses by name.
#[utoipa::path(
    get,
    path = "/api/v1/statuses",
    tag = "settings",
    responses((status = 200, description = "All of them.", body = Paged<Status>))
)]
async fn list_statuses(State(api): State<Shared>) -> Answer<Json<Paged<Status>>> {
    Ok(Json(Paged { items: api.store.statuses().await?, next_cursor: None }))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewStatus {
    #[schema(min_length = 1, max_length = 64, example = "On hold")]
    name: String,
    /// Accounts with this status are served; a disconnect can't lead to it.
    #[serde(default)]
    activates_account: bool,
}

/// Add an account status.
#[utoipa::path(
    post,
    path = "/api/v1/statuses",
    tag = "settings",
    request_body = NewStatus,
    responses((status = 201, description = "The new status.", body = Status))
)]
async fn add_status(State(api): State<Shared>, Told(told): Told<NewStatus>) -> Answer<(StatusCode, Json<Status>)> {
    let name = parse_name(&told.name).map_err(|error| Problem::invalid("name", error))?;
    let status = Status { name, activates_account: told.activates_account };
    api.store.add_status(&status).await?;
    Ok((StatusCode::CREATED, Json(status)))
}

/// Show all settings.
#[utoipa::path(
    get,
    path = "/api/v1/settings",
    tag = "settings",
    responses((status = 200, description = "The settings.", body = Settings))
)]
async fn show_settings(State(api): State<Shared>) -> Answer<Json<Settings>> {
    Ok(Json(api.store.settings().await?))
}

/// The setting that a path names.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
struct KeyInPath {
    /// The name of one of the settings, such as `company_zone`.
    #[param(example = "cutoff_time")]
    #[expect(dead_code, reason = "it is read as a `SettingKey`; this describes it")]
    key: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewValue {
    /// What the setting is to be.
    #[schema(example = "17:30")]
    value: String,
}

/// Change one setting.
#[utoipa::path(
    put,
    path = "/api/v1/settings/{key}",
    tag = "settings",
    params(KeyInPath),
    request_body = NewValue,
    responses((status = 200, description = "All settings, as they are now.", body = Settings))
)]
async fn change_setting(
    State(api): State<Shared>,
    Named(key): Named,
    Told(told): Told<NewValue>,
) -> Answer<Json<Settings>> {
    let key = SettingKey::parse(&key).map_err(|error| Problem::new(StatusCode::NOT_FOUND, "unknown_setting", error))?;
    Settings::default().set(key, &told.value).map_err(|error| Problem::invalid("value", error))?;
    Ok(Json(api.store.change_setting(key, &told.value).await?))
}
