//! Users: list, make, change. Who is new, or has forgotten a password, gets a link that signs in once.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use chrono_tz::Tz;
use serde::Deserialize;

use super::super::form::KEY_FIELD;
use super::super::gate::{Ours, Visitor};
use super::super::reader::Moment;
use super::super::sent::ShownOnce;
use super::super::{Console, Shared, sign_in_link, words};
use crate::api::problem::{Answer, Problem};
use crate::domain::text::parse_name;
use crate::domain::token::Role;
use crate::domain::user::{LINK_MAX, NewUser, UserChange};
use crate::random;
use crate::store::{Page, StoreError};

/// On one page.
const USERS_MAX: u32 = 100;

struct Row {
    name: String,
    /// Where its sessions are.
    sessions: String,
    role: Role,
    created_at: Moment,
    created_by: String,
    disabled: Option<(Moment, String)>,
}

#[derive(Template)]
#[template(path = "system_users.html")]
struct UsersPart {
    is_admin: bool,
    tab: &'static str,
    rows: Vec<Row>,
    zone: &'static str,
    next: Option<String>,
    /// One that was just made: whose it is, and the link itself.
    link: Option<(String, String)>,
    link_minutes: u64,
    name: String,
    role: String,
    /// Of the form for a new user.
    error: Option<String>,
    /// Of a change.
    refused: Option<String>,
    form_key: String,
    key_field: &'static str,
}

#[derive(Deserialize, Default)]
pub struct UsersAsked {
    after: Option<String>,
}

/// What came of a form.
#[derive(Default)]
struct Came {
    link: Option<(String, String)>,
    name: String,
    role: String,
    error: Option<String>,
    refused: Option<String>,
}

pub async fn show(
    State(console): State<Shared>,
    visitor: Visitor,
    Query(asked): Query<UsersAsked>,
) -> Answer<Response> {
    page(&console, &visitor, asked, Came::default()).await
}

async fn page(console: &Shared, visitor: &Visitor, asked: UsersAsked, came: Came) -> Answer<Response> {
    let users = console.store.users(&Page { after: asked.after, limit: USERS_MAX }).await?;
    let zone: Tz = console.store.settings().await?.company_zone;
    let reader = visitor.asked.reader;
    let rows = users
        .items
        .into_iter()
        .map(|user| Row {
            sessions: format!("/system/users/sessions?name={}", in_query(&user.name)),
            name: user.name,
            role: user.role,
            created_at: reader.moment(user.created_at, zone),
            created_by: user.created_by,
            disabled: user.disabled_at.map(|at| (reader.moment(at, zone), user.disabled_by.unwrap_or_default())),
        })
        .collect();
    let next = users.next_cursor.map(|after| format!("/system/users?after={}", in_query(&after)));
    let part = UsersPart {
        is_admin: visitor.may(Role::Admin),
        tab: "users",
        rows,
        zone: zone.name(),
        next,
        link: came.link,
        link_minutes: LINK_MAX.as_secs() / 60,
        name: came.name,
        role: came.role,
        error: came.error,
        refused: came.refused,
        form_key: visitor.form_key()?,
        key_field: KEY_FIELD,
    };
    visitor.view("Users", &part)
}

fn in_query(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

async fn refused(console: &Shared, visitor: &Visitor, came: Came) -> Answer<Response> {
    let page = page(console, visitor, UsersAsked::default(), came).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

/// The page with a new link for this user.
async fn shown_link(console: &Shared, visitor: &Visitor, name: &str, headers: &HeaderMap) -> Answer<Response> {
    let link = Some(console.link(name, visitor, headers).await?);
    let mut page = page(console, visitor, UsersAsked::default(), Came { link, ..Came::default() }).await?;
    page.extensions_mut().insert(ShownOnce);
    Ok(page)
}

impl Console {
    /// Where people reach it: as configured, else as this request did.
    fn url(&self, headers: &HeaderMap) -> String {
        if let Some(url) = &self.public_url {
            return url.as_str().trim_end_matches('/').to_owned();
        }
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        format!("http://{}", host.unwrap_or("localhost"))
    }

    /// A link that signs this user in once.
    async fn link(&self, name: &str, visitor: &Visitor, headers: &HeaderMap) -> Answer<(String, String)> {
        let secret = random::sign_in_secret()
            .map_err(|error| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no_random_bytes", error))?;
        self.store.create_link(name, &secret.hash(), &visitor.actor()).await.map_err(words::problem)?;
        Ok((name.to_owned(), sign_in_link(&self.url(headers), &secret)))
    }
}

pub async fn create(
    State(console): State<Shared>,
    visitor: Visitor,
    headers: HeaderMap,
    Ours(form): Ours,
) -> Answer<Response> {
    let text = |field| form.get(field).unwrap_or_default().to_owned();
    let (typed, role) = (text("name"), text("role"));
    let new = parse_name(&typed).and_then(|name| Role::parse(&role).map(|role| (name, role)));
    let error = match new {
        Err(error) => error,
        Ok((name, role)) => {
            let user = NewUser { name: name.clone(), role, password: None, created_by: visitor.user.name.clone() };
            match console.store.create_user(&user).await {
                Ok(_) => return shown_link(&console, &visitor, &name, &headers).await,
                Err(StoreError::Refused(refusal)) => refusal.to_string(),
                Err(error) => return Err(words::problem(error)),
            }
        }
    };
    refused(&console, &visitor, Came { name: typed, role, error: Some(words::sentence(&error)), ..Came::default() })
        .await
}

pub async fn change(
    State(console): State<Shared>,
    visitor: Visitor,
    headers: HeaderMap,
    Ours(form): Ours,
) -> Answer<Response> {
    let name = form.exactly("name");
    let change = match form.get("change") {
        Some("link") => return shown_link(&console, &visitor, name, &headers).await,
        Some("disable") => Ok(UserChange::Disable),
        Some("enable") => Ok(UserChange::Enable),
        _ => Role::parse(form.get("role").unwrap_or_default()).map(UserChange::Role),
    };
    let error = match change {
        Err(error) => error,
        Ok(change) => match console.store.change_user(name, &change, &visitor.actor()).await {
            Ok(_) => return Ok(Redirect::to("/system/users").into_response()),
            Err(StoreError::Refused(refusal)) => refusal.to_string(),
            Err(error) => return Err(words::problem(error)),
        },
    };
    refused(&console, &visitor, Came { refused: Some(words::sentence(&error)), ..Came::default() }).await
}
