//! Tokens: list, make, revoke. A new one is shown once.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use chrono_tz::Tz;
use serde::Deserialize;

use super::super::form::KEY_FIELD;
use super::super::gate::{Ours, Visitor};
use super::super::reader::Moment;
use super::super::sent::ShownOnce;
use super::super::{Shared, words};
use crate::api::problem::{Answer, Problem};
use crate::domain::text::parse_name;
use crate::domain::token::{NewToken, Role, TokenId};
use crate::random;
use crate::store::Page;

/// On one page.
const TOKENS_MAX: u32 = 100;

struct Row {
    id: TokenId,
    name: String,
    role: Role,
    created_at: Moment,
    created_by: String,
    revoked: Option<(Moment, String)>,
}

#[derive(Template)]
#[template(path = "system_tokens.html")]
struct TokensPart {
    is_admin: bool,
    tab: &'static str,
    rows: Vec<Row>,
    zone: &'static str,
    next: Option<String>,
    /// One that was just made: its owner, and the token itself.
    made: Option<(String, String)>,
    name: String,
    role: String,
    error: Option<String>,
    form_key: String,
    key_field: &'static str,
}

#[derive(Deserialize, Default)]
pub struct TokensAsked {
    after: Option<i64>,
}

/// What the form held, and what came of it.
#[derive(Default)]
struct Made {
    token: Option<(String, String)>,
    name: String,
    role: String,
    error: Option<String>,
}

pub async fn show(
    State(console): State<Shared>,
    visitor: Visitor,
    Query(asked): Query<TokensAsked>,
) -> Answer<Response> {
    page(&console, &visitor, asked, Made::default()).await
}

async fn page(console: &Shared, visitor: &Visitor, asked: TokensAsked, made: Made) -> Answer<Response> {
    let after = asked.after.map(|id| id.to_string());
    let tokens = console.store.tokens(&Page { after, limit: TOKENS_MAX }).await?;
    let zone: Tz = console.store.settings().await?.company_zone;
    let reader = visitor.asked.reader;
    let rows = tokens
        .items
        .into_iter()
        .map(|token| Row {
            id: token.id,
            name: token.name,
            role: token.role,
            created_at: reader.moment(token.created_at, zone),
            created_by: token.created_by,
            revoked: token.revoked_at.map(|at| (reader.moment(at, zone), token.revoked_by.unwrap_or_default())),
        })
        .collect();
    let part = TokensPart {
        is_admin: visitor.may(Role::Admin),
        tab: "tokens",
        rows,
        zone: zone.name(),
        next: tokens.next_cursor.map(|after| format!("/system/tokens?after={after}")),
        made: made.token,
        name: made.name,
        role: made.role,
        error: made.error,
        form_key: visitor.form_key()?,
        key_field: KEY_FIELD,
    };
    visitor.view("Tokens", &part)
}

pub async fn create(State(console): State<Shared>, visitor: Visitor, Ours(form): Ours) -> Answer<Response> {
    let text = |field| form.get(field).unwrap_or_default().to_owned();
    let (typed, role) = (text("name"), text("role"));
    let (name, role) = match (parse_name(&typed), Role::parse(&role)) {
        (Ok(name), Ok(role)) => (name, role),
        (Err(error), _) | (_, Err(error)) => {
            let made = Made { name: typed, role, error: Some(words::sentence(&error)), token: None };
            let page = page(&console, &visitor, TokensAsked::default(), made).await?;
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
        }
    };
    let secret = random::token_secret()
        .map_err(|error| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no_random_bytes", error))?;
    let token = NewToken { name: name.clone(), role, hash: secret.hash(), created_by: visitor.user.name.clone() };
    console.store.create_token(&token).await.map_err(words::problem)?;
    let made = Made { token: Some((name, secret.expose().to_owned())), ..Made::default() };
    let mut page = page(&console, &visitor, TokensAsked::default(), made).await?;
    page.extensions_mut().insert(ShownOnce);
    Ok(page)
}

pub async fn revoke(State(console): State<Shared>, visitor: Visitor, Ours(form): Ours) -> Answer<Response> {
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "unknown_token", "There is no such token.");
    let id = form.get("id").and_then(|id| id.parse().ok()).map(TokenId).ok_or_else(unknown)?;
    console.store.revoke_token(id, &visitor.actor()).await.map_err(words::problem)?;
    Ok(Redirect::to("/system/tokens").into_response())
}
