//! Who asks, and whether they may: a token on every route, looked up in the database each time, so that revoking one
//! counts at once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tracing::Span;

use super::Shared;
use super::problem::{Answer, Problem};
use crate::domain::actor::{Actor, Source};
use crate::domain::token::{Role, TokenHash, TokenSecret, TokenView};
use crate::health::Condition;
use crate::store::{StoreError, StoreResult};

/// How long the database may take to tell a token.
const LOOKUP_MAX: Duration = Duration::from_secs(5);

/// The same where somebody who watches the process waits for its health.
const HEALTH_LOOKUP_MAX: Duration = Duration::from_secs(2);

/// How many good tokens are remembered for when the database is away. Monitoring has one or two.
const REMEMBERED_MAX: usize = 1_000;

/// Where a route stands, which decides how a token may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Under `/api/v1`: as a bearer token alone. A browser sends what it knows by itself, for other sites too; never
    /// that.
    Calls,
    /// The page and its document: also as the password of HTTP Basic, which a browser can ask for.
    Page,
    /// Health and metrics: the same, for scrapers; and while the database is away, a token that was good before.
    Health,
}

/// What stands before a group of routes.
#[derive(Clone)]
pub struct Gate {
    pub api: Shared,
    pub role: Role,
    pub place: Place,
}

/// Who asks, by a token that is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub owner: String,
    pub role: Role,
}

impl Caller {
    /// As the log names them.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor::new(self.owner.clone(), Source::Api)
    }
}

/// The layer: lets a request pass, with its [`Caller`], or answers why not.
pub async fn admit(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    match gate.caller(request.headers()).await {
        Ok(caller) if caller.role.allows(gate.role) => {
            Span::current().record("owner", &caller.owner);
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Ok(caller) => {
            Span::current().record("owner", &caller.owner);
            Problem::role_missing(gate.role, caller.role).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

impl Gate {
    async fn caller(&self, headers: &HeaderMap) -> Answer<Caller> {
        let presented = presented(headers, self.place != Place::Calls).ok_or_else(|| {
            self.unauthorized("token_missing", "this needs a token: send `Authorization: Bearer TOKEN`")
        })?;
        let hash = presented.hash();
        let remembered = &self.api.remembered;
        let found = match self.look_up(&hash).await {
            Ok(found) => found,
            Err(error) if error.is_transient() && self.place == Place::Health => {
                return remembered.caller(&hash).ok_or_else(|| {
                    Problem::database_away(format!("{error}; until it is back, no token that is new here can be told"))
                });
            }
            Err(error) => return Err(error.into()),
        };
        match found {
            Some(token) if token.revoked_at.is_none() => {
                let caller = Caller { owner: token.name, role: token.role };
                remembered.remember(hash, &caller);
                Ok(caller)
            }
            Some(TokenView { id, .. }) => {
                remembered.forget(&hash);
                Err(self.unauthorized("token_revoked", format!("token {id} is revoked; ask an admin for another")))
            }
            None => {
                remembered.forget(&hash);
                let detail = "this token is not known here; `disconnectd tokens list` shows those that are";
                Err(self.unauthorized("token_unknown", detail))
            }
        }
    }

    async fn look_up(&self, hash: &TokenHash) -> StoreResult<Option<TokenView>> {
        let is_for_health = self.place == Place::Health;
        if let (Condition::Down(reason), true) = (self.api.health.database(), is_for_health) {
            return Err(StoreError::Unavailable(reason));
        }
        let limit = if is_for_health { HEALTH_LOOKUP_MAX } else { LOOKUP_MAX };
        tokio::time::timeout(limit, self.api.store.token(hash))
            .await
            .unwrap_or_else(|_| Err(StoreError::Unavailable("it takes too long to tell a token".into())))
    }

    fn unauthorized(&self, code: &'static str, detail: impl Into<String>) -> Problem {
        const BEARER: HeaderValue = HeaderValue::from_static("Bearer realm=\"disconnectd\"");
        const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"disconnectd\", charset=\"UTF-8\"");
        let problem = Problem::new(StatusCode::UNAUTHORIZED, code, detail).header(header::WWW_AUTHENTICATE, BEARER);
        if self.place == Place::Calls { problem } else { problem.header(header::WWW_AUTHENTICATE, BASIC) }
    }
}

fn presented(headers: &HeaderMap, basic_too: bool) -> Option<TokenSecret> {
    let (scheme, value) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(TokenSecret::presented(value));
    }
    if !basic_too || !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(value.trim()).ok()?).ok()?;
    pair.split_once(':').map(|(_, password)| TokenSecret::presented(password))
}

/// Tokens that were good when they came last, by their hash.
#[derive(Debug, Default)]
pub struct Remembered(Mutex<HashMap<TokenHash, Caller>>);

impl Remembered {
    fn remember(&self, hash: TokenHash, caller: &Caller) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED_MAX && !known.contains_key(&hash) {
            known.clear(); // whoever comes again is remembered again
        }
        known.insert(hash, caller.clone());
    }

    fn forget(&self, hash: &TokenHash) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(hash);
    }

    fn caller(&self, hash: &TokenHash) -> Option<Caller> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(hash).cloned()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        // Each route is in a group, and each group has its gate.
        parts.extensions.get().cloned().ok_or_else(Problem::bug)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(value: &str, basic_too: bool) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        presented(&headers, basic_too).map(|secret| secret.expose().to_owned())
    }

    #[test]
    fn a_token_comes_as_a_bearer_or_where_a_browser_may_ask_as_a_password() {
        let basic = format!("Basic {}", STANDARD.encode("anybody:dct_1:2"));
        assert_eq!(sent("Bearer dct_1", false).as_deref(), Some("dct_1"));
        assert_eq!(sent("bearer  dct_1 ", true).as_deref(), Some("dct_1"));
        assert_eq!(sent(&basic, true).as_deref(), Some("dct_1:2"));
        assert_eq!(sent(&basic, false), None, "a browser would send it by itself");
        for other in ["Basic !!", "Basic", "Digest x", "dct_1"] {
            assert_eq!(sent(other, true), None, "{other}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let remembered = Remembered::default();
        let caller = Caller { owner: "ada".into(), role: Role::Viewer };
        for n in 0..=REMEMBERED_MAX {
            let hash = TokenSecret::presented(&n.to_string()).hash();
            remembered.remember(hash.clone(), &caller);
            assert_eq!(remembered.caller(&hash), Some(caller.clone()));
        }
        assert!(remembered.0.lock().unwrap().len() <= REMEMBERED_MAX);
    }
}
