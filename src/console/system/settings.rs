//! The company's settings: each with what it means, in a form of its own.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::super::form::KEY_FIELD;
use super::super::gate::{Ours, Visitor};
use super::super::{Shared, words};
use crate::api::problem::{Answer, Problem};
use crate::domain::settings::{SettingKey, Settings};
use crate::domain::token::Role;
use crate::store::StoreError;

struct Row {
    key: &'static str,
    title: &'static str,
    meaning: &'static str,
    value: String,
    error: Option<String>,
}

#[derive(Template)]
#[template(path = "system_settings.html")]
struct SettingsPart {
    is_admin: bool,
    tab: &'static str,
    rows: Vec<Row>,
    statuses: Vec<String>,
    /// What was just changed.
    saved: Option<&'static str>,
    form_key: String,
    key_field: &'static str,
}

fn title(key: SettingKey) -> &'static str {
    match key {
        SettingKey::DisconnectStatus => "Status after a disconnect",
        SettingKey::CompanyZone => "Time zone",
        SettingKey::CutoffTime => "Cutoff time",
        SettingKey::Currency => "Currency",
        SettingKey::CampaignApprovalOver => "Campaigns that need approval",
        SettingKey::CampaignWindow => "Hours of campaigns",
        SettingKey::CampaignHolidays => "Holidays",
        SettingKey::CampaignPausePercent => "Failures that pause a campaign",
    }
}

fn meaning(key: SettingKey) -> &'static str {
    match key {
        SettingKey::DisconnectStatus => {
            "The status that a disconnected account gets. It must not be one of served accounts."
        }
        SettingKey::CompanyZone => {
            "Where dates are read for accounts without a zone of their own, such as America/Chicago."
        }
        SettingKey::CutoffTime => "The time of day that a date alone means, such as 17:30.",
        SettingKey::Currency => "For imported accounts that name none: an ISO 4217 code, such as USD.",
        SettingKey::CampaignApprovalOver => "A campaign of more accounts than this needs the approval of someone else.",
        SettingKey::CampaignWindow => {
            "When campaigns may disconnect, such as mon-fri 09:00-17:00; sat 22:00-02:00, with a zone at the end if it \
             is not the company's. Or always."
        }
        SettingKey::CampaignHolidays => {
            "Dates on which no campaign disconnects, such as 2026-12-25 2027-01-01. Empty for none."
        }
        SettingKey::CampaignPausePercent => {
            "A campaign pauses itself when more than this share of what it tried has failed, in percent."
        }
    }
}

#[derive(Deserialize)]
pub struct SettingsAsked {
    saved: Option<String>,
}

pub async fn show(
    State(console): State<Shared>,
    visitor: Visitor,
    Query(asked): Query<SettingsAsked>,
) -> Answer<Response> {
    let saved = asked.saved.and_then(|key| SettingKey::parse(&key).ok());
    page(&console, &visitor, saved, None).await
}

/// With what was typed for one setting, and why it is not taken.
async fn page(
    console: &Shared,
    visitor: &Visitor,
    saved: Option<SettingKey>,
    refused: Option<(SettingKey, &str, String)>,
) -> Answer<Response> {
    let settings = console.store.settings().await?;
    let statuses = console.store.statuses().await?;
    let rows = SettingKey::ALL
        .into_iter()
        .map(|key| {
            let refused = refused.as_ref().filter(|(refused, ..)| *refused == key);
            Row {
                key: key.as_str(),
                title: title(key),
                meaning: meaning(key),
                value: refused.map_or_else(|| settings.value(key), |(_, typed, _)| (*typed).to_owned()),
                error: refused.map(|(.., error)| error.clone()),
            }
        })
        .collect();
    let part = SettingsPart {
        is_admin: visitor.may(Role::Admin),
        tab: "settings",
        rows,
        statuses: statuses.into_iter().filter(|one| !one.activates_account).map(|one| one.name).collect(),
        saved: saved.map(title),
        form_key: visitor.form_key()?,
        key_field: KEY_FIELD,
    };
    visitor.view("Settings", &part)
}

pub async fn change(
    State(console): State<Shared>,
    visitor: Visitor,
    Path(key): Path<String>,
    Ours(form): Ours,
) -> Answer<Response> {
    let key = SettingKey::parse(&key)
        .map_err(|_| Problem::new(StatusCode::NOT_FOUND, "unknown_setting", "There is no such setting."))?;
    let value = form.get("value").unwrap_or_default();
    let refused = match Settings::default().set(key, value) {
        Err(error) => words::sentence(&error),
        Ok(()) => match console.store.change_setting(key, value).await {
            Ok(_) => {
                tracing::info!(user = visitor.user.name, setting = key.as_str(), value, "changed a setting");
                let to = format!("/system/settings?saved={}", key.as_str());
                return Ok(Redirect::to(&to).into_response());
            }
            Err(StoreError::Refused(refusal)) => words::refusal(&refusal),
            Err(error) => return Err(words::problem(error)),
        },
    };
    let page = page(&console, &visitor, None, Some((key, value, refused))).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}
