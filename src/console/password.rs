//! One's own password: whoever came by a link has none yet.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::form::KEY_FIELD;
use super::gate::{Ours, Visitor};
use super::{Shared, sign_in, words};
use crate::api::problem::{Answer, Problem};
use crate::domain::user::{Password, Proof, UserChange};

/// What is wrong, by the field that it belongs to.
#[derive(Default)]
struct Errors {
    now: Option<String>,
    new: Option<String>,
    again: Option<String>,
}

#[derive(Template)]
#[template(path = "password.html")]
struct PasswordPart<'a> {
    name: &'a str,
    has_one: bool,
    is_set: bool,
    errors: Errors,
    form_key: String,
    key_field: &'static str,
}

#[derive(Deserialize)]
pub struct PasswordAsked {
    /// It was just set.
    done: Option<String>,
}

pub async fn ask(
    State(console): State<Shared>,
    visitor: Visitor,
    Query(asked): Query<PasswordAsked>,
) -> Answer<Response> {
    let has_one = console.store.credentials(&visitor.user.name).await?.is_some();
    page(&visitor, has_one, asked.done.is_some(), Errors::default())
}

fn page(visitor: &Visitor, has_one: bool, is_set: bool, errors: Errors) -> Answer<Response> {
    let (form_key, name) = (visitor.form_key()?, visitor.user.name.as_str());
    visitor.view("Your password", &PasswordPart { name, has_one, is_set, errors, form_key, key_field: KEY_FIELD })
}

/// Whoever finds an open browser does not know the password, so it is asked for; its tries are counted like any others.
pub async fn set(
    State(console): State<Shared>,
    visitor: Visitor,
    headers: HeaderMap,
    Ours(form): Ours,
) -> Answer<Response> {
    let name = &visitor.user.name;
    let known = console.store.credentials(name).await?;
    let has_one = known.is_some();
    let refuse = |status: StatusCode, errors: Errors| {
        Ok::<_, Problem>((status, page(&visitor, has_one, false, errors)?).into_response())
    };
    let new = match Password::chosen(form.exactly("new")) {
        Ok(new) if form.exactly("again") == form.exactly("new") => new,
        Ok(_) => {
            let again = Some("This is not the same.".into());
            return refuse(StatusCode::UNPROCESSABLE_ENTITY, Errors { again, ..Errors::default() });
        }
        Err(error) => {
            let new = Some(words::sentence(&error));
            return refuse(StatusCode::UNPROCESSABLE_ENTITY, Errors { new, ..Errors::default() });
        }
    };
    if let Some((_, hash)) = known {
        if let Some(pause) = console.store.begin_sign_in(name).await? {
            let now = Some(sign_in::too_many(pause));
            return refuse(StatusCode::TOO_MANY_REQUESTS, Errors { now, ..Errors::default() });
        }
        let is_right = match Password::presented(form.exactly("now")) {
            Some(now) => console.passwords.is_right(now, Some(hash)).await.map_err(sign_in::no_random)?,
            None => false,
        };
        if !is_right {
            let now = Some("This is not your password.".into());
            return refuse(StatusCode::UNPROCESSABLE_ENTITY, Errors { now, ..Errors::default() });
        }
    }
    let hash = console.passwords.hash(new).await.map_err(sign_in::no_random)?;
    let change = UserChange::Password(hash.clone());
    console.store.change_user(name, &change, &visitor.actor()).await.map_err(words::problem)?;
    // All sessions have ended, this one too.
    let proof = Proof::Password { user: visitor.user.id, checked: hash };
    match sign_in::begin(&console, &headers, proof, Some("/password?done=1")).await? {
        Some(signed_in) => Ok(signed_in),
        None => Ok(sign_in::instead(&console, &visitor.asked, false)),
    }
}
