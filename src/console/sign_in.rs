//! Signing in and out: by a password, or by a link that is good once.

use std::time::Duration;

use askama::Template;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::form::{self, Form, KEY_FIELD, Takes};
use super::gate::{Ours, Visitor};
use super::page::{self, Asked, Theme};
use super::sent::to_its_end;
use super::{Console, Shared};
use crate::api::Wanted;
use crate::api::problem::{Answer, Problem};
use crate::domain::user::{NewSession, Password, Proof, SESSION_MAX, SignInSecret, UserView};
use crate::random;

/// Holds the session's secret.
const SESSION: &str = "disconnectd_session";

/// The same where browsers come over https alone: they take it from this host and over https only.
const SESSION_SECURE: &str = "__Host-disconnectd_session";

/// Holds what the sign-in form has to show: nobody else's page can. The same for all the tabs of a browser.
pub const BEFORE: &str = "disconnectd_form";

/// A page may be left open over the weekend.
const BEFORE_SECONDS: u64 = 7 * 24 * 3_600;

/// How long a form may take to come: nobody has shown yet who it is that sends it.
const FORM_TIME_MAX: Duration = Duration::from_secs(10);

/// How much is kept of what a browser calls itself, in characters.
const BROWSER_MAX: usize = 200;

const WRONG: &str = "The name or the password is wrong.";

const ENDED: &str = "Your session has ended, so nothing was done. Sign in, then send it again.";

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPart<'a> {
    message: Option<String>,
    name: &'a str,
    next: &'a str,
    key: &'a str,
    key_field: &'static str,
}

#[derive(Template)]
#[template(path = "link.html")]
struct LinkPart<'a> {
    secret: &'a str,
    key: &'a str,
    key_field: &'static str,
}

/// The value of a cookie.
pub fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// The session that a request comes in, good or not.
pub fn session_of(headers: &HeaderMap) -> Option<SignInSecret> {
    cookie(headers, SESSION_SECURE).or_else(|| cookie(headers, SESSION)).map(SignInSecret::presented)
}

impl Console {
    /// A cookie for this console alone. Our values have no letters that would have to be escaped.
    fn cookie(&self, name: &str, value: &str, seconds: u64, is_for_scripts: bool) -> HeaderValue {
        let secure = if self.is_secure() { "; Secure" } else { "" };
        let http_only = if is_for_scripts { "" } else { "; HttpOnly" };
        let text = format!("{name}={value}; Path=/; SameSite=Strict; Max-Age={seconds}{http_only}{secure}");
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
    }

    fn session_cookie(&self, value: &str, seconds: u64) -> HeaderValue {
        self.cookie(if self.is_secure() { SESSION_SECURE } else { SESSION }, value, seconds, false)
    }
}

/// A path of our own to go on to; anything else is the start.
fn own_path(next: Option<&str>) -> &str {
    match next {
        Some(next)
            if next.starts_with('/')
                && !next.starts_with("//")
                && !next.starts_with("/sign-")
                && next != "/theme"
                && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') =>
        {
            next
        }
        _ => "/accounts",
    }
}

/// What is answered instead to whoever has no session, or none that is good.
pub fn instead(console: &Console, asked: &Asked, is_write: bool) -> Response {
    let next: String = url::form_urlencoded::byte_serialize(own_path(Some(&asked.here)).as_bytes()).collect();
    let sign_in = format!("/sign-in?next={next}{}", if is_write { "&ended=1" } else { "" });
    if asked.is_part {
        // htmx would put the sign-in page into a corner of the page that is there.
        return (StatusCode::UNAUTHORIZED, [(page::REDIRECT, sign_in)]).into_response();
    }
    if is_write {
        // What was typed is gone with the page, so it is said at once, where it was sent.
        return match sign_in_page(console, asked, &Said { message: Some(ENDED.into()), name: "", next: &asked.here }) {
            Ok(page) => (StatusCode::UNAUTHORIZED, page).into_response(),
            Err(problem) => problem.into_response(),
        };
    }
    Redirect::to(&sign_in).into_response()
}

#[derive(Deserialize)]
pub struct SignInAsked {
    next: Option<String>,
    ended: Option<String>,
}

pub async fn show(
    State(console): State<Shared>,
    headers: HeaderMap,
    uri: Uri,
    Query(query): Query<SignInAsked>,
) -> Answer<Response> {
    let asked = Asked::of(&headers, &uri);
    let message = query.ended.map(|_| ENDED.to_owned());
    sign_in_page(&console, &asked, &Said { message, name: "", next: query.next.as_deref().unwrap_or_default() })
}

/// What the sign-in page says.
struct Said<'a> {
    message: Option<String>,
    name: &'a str,
    next: &'a str,
}

/// The sign-in page, with the cookie that belongs to its form.
fn sign_in_page(console: &Console, asked: &Asked, said: &Said<'_>) -> Answer<Response> {
    let key = asked.before.clone().map_or_else(new_key, Ok)?;
    let next = own_path(Some(said.next));
    let part = SignInPart { message: said.message.clone(), name: said.name, next, key: &key, key_field: KEY_FIELD };
    let mut response = asked.view("Sign in", None, &part)?;
    response.headers_mut().append(header::SET_COOKIE, console.cookie(BEFORE, &key, BEFORE_SECONDS, false));
    Ok(response)
}

fn new_key() -> Answer<String> {
    let bytes = random::bytes::<16>().map_err(no_random)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

pub fn no_random(error: String) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no_random_bytes", error)
}

/// A form from before any session.
async fn form_before(console: &Console, headers: &HeaderMap, body: Body) -> Answer<Form> {
    form::check_site(headers, console.public_url.as_ref())?;
    let received = tokio::time::timeout(FORM_TIME_MAX, Form::received(headers, body, Takes::SignIn)).await;
    let form = received.map_err(|_| form::too_slow(FORM_TIME_MAX))??;
    form.check_key(cookie(headers, BEFORE).unwrap_or_default())?;
    Ok(form)
}

pub async fn by_password(State(console): State<Shared>, request: Request) -> Answer<Response> {
    let (parts, body) = request.into_parts();
    let asked = Asked::of(&parts.headers, &parts.uri);
    let form = form_before(&console, &parts.headers, body).await?;
    to_its_end(with_password(console, parts.headers, asked, form)).await
}

async fn with_password(console: Shared, headers: HeaderMap, asked: Asked, form: Form) -> Answer<Response> {
    let place = console.room.take(Wanted::SIGN_IN).await?;
    let (name, next) = (form.get("name").unwrap_or_default(), form.get("next").unwrap_or_default());
    let refuse = |status: StatusCode, message: String| {
        let page = sign_in_page(&console, &asked, &Said { message: Some(message), name, next })?;
        Ok::<_, Problem>((status, page).into_response())
    };
    // The same steps for a name that nobody has, so that neither the answer nor its time tells it from others.
    if let Some(pause) = console.store.begin_sign_in(name).await? {
        return refuse(StatusCode::TOO_MANY_REQUESTS, too_many(pause));
    }
    let known = console.store.credentials(name).await?;
    let checked = known.as_ref().map(|(_, hash)| hash.clone());
    // Whoever waits for a hash holds up nobody.
    drop(place);
    let password = Password::presented(form.exactly("password"));
    let is_right = match password {
        Some(password) => console.passwords.is_right(password, checked).await.map_err(no_random)?,
        None => false,
    };
    let (Some((user, checked)), true) = (known, is_right) else {
        return refuse(StatusCode::UNAUTHORIZED, WRONG.into());
    };
    let _place = console.room.take(Wanted::SIGN_IN).await?;
    let proof = Proof::Password { user: user.id, checked };
    match begin(&console, &headers, proof, Some(own_path(Some(next)))).await? {
        Some(signed_in) => Ok(signed_in),
        None => refuse(StatusCode::UNAUTHORIZED, WRONG.into()),
    }
}

#[derive(Deserialize)]
pub struct LinkAsked {
    secret: Option<String>,
}

/// Asks first: whatever looks at links before people do must not use them up.
pub async fn show_link(
    State(console): State<Shared>,
    headers: HeaderMap,
    uri: Uri,
    Query(query): Query<LinkAsked>,
) -> Answer<Response> {
    let asked = Asked::of(&headers, &uri);
    let key = asked.before.clone().map_or_else(new_key, Ok)?;
    let secret = query.secret.unwrap_or_default();
    let marked = form::marked(&key)?;
    let part = LinkPart { secret: &secret, key: &marked, key_field: KEY_FIELD };
    let mut response = asked.view("Sign in", None, &part)?;
    response.headers_mut().append(header::SET_COOKIE, console.cookie(BEFORE, &key, BEFORE_SECONDS, false));
    Ok(response)
}

pub async fn by_link(State(console): State<Shared>, request: Request) -> Answer<Response> {
    let (parts, body) = request.into_parts();
    let asked = Asked::of(&parts.headers, &Uri::from_static("/sign-in"));
    let form = form_before(&console, &parts.headers, body).await?;
    // Whoever presses twice is shown the answer to the second, which would be that the link is used.
    let (sent, of) = (console.sent_links.clone(), form.sent_to(parts.uri.path()));
    let signs_in = async move {
        let _until_it_is_answered = console.room.take(Wanted::SIGN_IN).await?;
        let link = SignInSecret::presented(form.get("secret").unwrap_or_default());
        if let Some(signed_in) = begin(&console, &parts.headers, Proof::Link(link.hash()), None).await? {
            return Ok(signed_in);
        }
        let message = "This link is used, or too old. Ask for another one.".to_owned();
        let page = sign_in_page(&console, &asked, &Said { message: Some(message), name: "", next: "" })?;
        Ok((StatusCode::UNAUTHORIZED, page).into_response())
    };
    sent.once(of, signs_in).await
}

/// What is said to whoever tries too often.
pub fn too_many(pause: Duration) -> String {
    format!("There were too many tries to sign in with this name. Try again in {} s.", pause.as_secs() + 1)
}

/// Where somebody begins: without a password with setting one, or the link that they came by is the last.
async fn first_page(console: &Console, user: &UserView) -> Answer<&'static str> {
    let has_password = console.store.credentials(&user.name).await?.is_some();
    let is_demo = console.store.installation().await?.is_demo;
    Ok(if has_password || is_demo { "/accounts" } else { "/password" })
}

/// Begins a session and leads on. A new secret each time: one that was there before is worth nothing. `None` where the
/// proof is not good.
pub async fn begin(
    console: &Console,
    headers: &HeaderMap,
    proof: Proof,
    next: Option<&str>,
) -> Answer<Option<Response>> {
    let secret = random::sign_in_secret().map_err(no_random)?;
    let browser = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let browser = browser.map(|text| text.chars().take(BROWSER_MAX).collect());
    let session = NewSession { proof, hash: secret.hash(), browser };
    let Some(user) = console.store.open_session(&session).await? else { return Ok(None) };
    if let Some(before) = session_of(headers) {
        console.store.close_session(&before.hash()).await?;
    }
    tracing::info!(user = user.name, "signed in");
    let next = match next {
        Some(next) => next,
        None => first_page(console, &user).await?,
    };
    let mut response = Redirect::to(next).into_response();
    let cookies = response.headers_mut();
    cookies.append(header::SET_COOKIE, console.session_cookie(secret.expose(), SESSION_MAX.as_secs()));
    Ok(Some(response))
}

pub async fn sign_out(State(console): State<Shared>, visitor: Visitor) -> Answer<Response> {
    console.store.close_session(&visitor.secret.hash()).await?;
    tracing::info!(user = visitor.user.name, "signed out");
    let mut response = Redirect::to("/sign-in").into_response();
    response.headers_mut().append(header::SET_COOKIE, console.session_cookie("", 0));
    Ok(response)
}

pub async fn choose_theme(State(console): State<Shared>, Ours(form): Ours) -> Response {
    /// A year.
    const KEPT_SECONDS: u64 = 365 * 24 * 3_600;
    let theme = Theme::parse(form.get("theme").unwrap_or_default());
    let mut response = Redirect::to(own_path(form.get("next"))).into_response();
    let kept = console.cookie(Theme::COOKIE, theme.as_str(), KEPT_SECONDS, true);
    response.headers_mut().append(header::SET_COOKIE, kept);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_leads_to_own_paths_only() {
        assert_eq!(own_path(Some("/accounts/A%201?after=x")), "/accounts/A%201?after=x");
        for other in ["", "https://evil.example", "//evil.example", "/\\evil.example", "/a\nb", "accounts", "/sign-out"]
        {
            assert_eq!(own_path(Some(other)), "/accounts", "{other:?}");
        }
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "a=1; disconnectd_session=x_y-z".parse().unwrap());
        headers.append(header::COOKIE, "b=2".parse().unwrap());
        assert_eq!(cookie(&headers, SESSION), Some("x_y-z"));
        assert_eq!(cookie(&headers, "b"), Some("2"));
        assert_eq!(cookie(&headers, "session"), None);
    }
}
