//! Where somebody is signed in, and the end of that: for oneself, and for admins.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use chrono_tz::Tz;
use serde::Deserialize;
use url::form_urlencoded;

use super::form::{Form, KEY_FIELD};
use super::gate::{Ours, Visitor};
use super::reader::Moment;
use super::{Shared, words};
use crate::api::problem::{Answer, Problem};
use crate::domain::user::{Ending, SESSION_IDLE, SESSION_MAX, SessionId, Sessions};

struct Row {
    id: i64,
    browser: String,
    /// All that it says of itself.
    in_full: String,
    begun_at: Moment,
    last_seen_at: Moment,
    /// The one that asks.
    is_this: bool,
}

#[derive(Template)]
#[template(path = "sessions.html")]
struct SessionsPart<'a> {
    title: &'a str,
    /// Whose they are, where they are not the visitor's.
    of: Option<&'a str>,
    rows: Vec<Row>,
    /// There may be more than are shown.
    is_cut: bool,
    zone: &'static str,
    notice: Option<String>,
    to: &'static str,
    idle_hours: u64,
    max_days: u64,
    form_key: String,
    key_field: &'static str,
}

#[derive(Deserialize)]
pub struct SessionsAsked {
    name: Option<String>,
    /// How many were just ended.
    ended: Option<u64>,
}

pub async fn own(
    State(console): State<Shared>,
    visitor: Visitor,
    Query(asked): Query<SessionsAsked>,
) -> Answer<Response> {
    page(&console, &visitor, None, asked.ended).await
}

pub async fn of_user(
    State(console): State<Shared>,
    visitor: Visitor,
    Query(asked): Query<SessionsAsked>,
) -> Answer<Response> {
    page(&console, &visitor, Some(asked.name.as_deref().unwrap_or_default()), asked.ended).await
}

async fn page(console: &Shared, visitor: &Visitor, of: Option<&str>, ended: Option<u64>) -> Answer<Response> {
    let Sessions { sessions, is_cut } =
        console.store.sessions(of.unwrap_or(&visitor.user.name)).await.map_err(words::problem)?;
    let zone: Tz = console.store.settings().await?.company_zone;
    let reader = visitor.asked.reader;
    let rows = sessions.into_iter().map(|session| {
        let in_full = session.browser.unwrap_or_default();
        Row {
            id: session.id.0,
            browser: browser_named(&in_full),
            in_full,
            begun_at: reader.moment(session.begun_at, zone),
            last_seen_at: reader.moment(session.last_seen_at, zone),
            is_this: session.id == visitor.session,
        }
    });
    let notice = ended.map(|ended| match ended {
        0 => "Nothing was signed in there any more.".to_owned(),
        1 => "1 browser is signed out.".to_owned(),
        more => format!("{more} browsers are signed out."),
    });
    let title = of.map_or_else(|| "Your sessions".to_owned(), |name| format!("Sessions of {name}"));
    let part = SessionsPart {
        title: &title,
        of,
        rows: rows.collect(),
        is_cut,
        zone: zone.name(),
        notice,
        to: if of.is_some() { "/system/users/sessions" } else { "/sessions" },
        idle_hours: SESSION_IDLE.as_secs() / 3_600,
        max_days: SESSION_MAX.as_secs() / (24 * 3_600),
        form_key: visitor.form_key()?,
        key_field: KEY_FIELD,
    };
    visitor.view(&title, &part)
}

pub async fn end_own(State(console): State<Shared>, visitor: Visitor, Ours(form): Ours) -> Answer<Response> {
    let which =
        if form.get("others").is_some() { Ending::Others(visitor.session) } else { Ending::One(one_of(&form)?) };
    let ended = console.store.end_sessions(&visitor.user.name, which).await.map_err(words::problem)?;
    tracing::info!(user = visitor.user.name, ended, "sessions ended");
    Ok(visitor.leads_to(&format!("/sessions?ended={ended}")))
}

pub async fn end_of_user(State(console): State<Shared>, visitor: Visitor, Ours(form): Ours) -> Answer<Response> {
    let name = form.exactly("name");
    let which = if form.get("all").is_some() { Ending::All } else { Ending::One(one_of(&form)?) };
    let ended = console.store.end_sessions(name, which).await.map_err(words::problem)?;
    tracing::info!(user = name, by = visitor.user.name, ended, "sessions ended");
    let name: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
    Ok(visitor.leads_to(&format!("/system/users/sessions?name={name}&ended={ended}")))
}

fn one_of(form: &Form) -> Answer<SessionId> {
    let id = form.get("id").and_then(|id| id.parse().ok()).map(SessionId);
    id.ok_or_else(|| {
        let detail = "The form does not say which session, so nothing was done. Load the page again.";
        Problem::new(axum::http::StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
    })
}

/// What people call a browser, from what it calls itself: "Firefox on Windows". They know it by that, no more is needed.
fn browser_named(in_full: &str) -> String {
    // Most say that they are others too; the first that is found here is what it is.
    const BROWSERS: [(&str, &str); 6] = [
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("FxiOS/", "Firefox"),
        ("Chrom", "Chrome"),
        ("Safari/", "Safari"),
    ];
    const SYSTEMS: [(&str, &str); 7] = [
        ("iPhone", "an iPhone"),
        ("iPad", "an iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("CrOS", "ChromeOS"),
        ("Mac OS X", "a Mac"),
        ("Linux", "Linux"),
    ];
    let found =
        |known: &[(&str, &'static str)]| known.iter().find(|(sign, _)| in_full.contains(sign)).map(|(_, name)| *name);
    match (found(&BROWSERS), found(&SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(name), None) | (None, Some(name)) => words::capital(name),
        (None, None) if in_full.is_empty() => "A browser that does not say which".to_owned(),
        (None, None) => in_full.chars().take(40).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_called_what_people_call_them() {
        for (in_full, named) in [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 \
                 Safari/537.36 Edg/140.0.0.0",
                "Edge on Windows",
            ),
            ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                 Version/18.0 Mobile/15E148 Safari/604.1",
                "Safari on an iPhone",
            ),
            (
                "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile \
                 Safari/537.36",
                "Chrome on Android",
            ),
            ("Mozilla/5.0 (iPad)", "An iPad"),
            ("curl/8.5.0", "curl/8.5.0"),
            ("", "A browser that does not say which"),
        ] {
            assert_eq!(browser_named(in_full), named);
        }
    }
}
