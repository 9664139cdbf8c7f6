//! What stands before each page: who asks, whether they may, whether a form is ours, and whether there is room.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Span;

use super::form::{self, Form, Takes};
use super::page::Asked;
use super::{Shared, sign_in};
use crate::api::problem::{Answer, Problem};
use crate::api::{Taken, Wanted};
use crate::domain::actor::{Actor, Source};
use crate::domain::token::Role;
use crate::domain::user::{SessionId, SignInSecret, UserView};
use crate::store::{StoreError, WRITE_WAIT_MAX};

/// How long the database may take to tell a session.
const LOOKUP_MAX: Duration = Duration::from_secs(5);

/// How long a page may take; what a form asks for may wait for others besides, for [`WRITE_WAIT_MAX`].
const TIME_MAX: Duration = Duration::from_secs(30);

/// The same for one that looks at every account of a campaign.
const COHORT_TIME_MAX: Duration = Duration::from_mins(10);

#[derive(Clone)]
pub struct Gate {
    pub console: Shared,
    pub role: Role,
    pub work: Work,
}

/// How much a page may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    Usual,
    /// It looks at every account of a campaign.
    Cohort,
    /// It does, and its form may bring a file.
    File,
}

impl Work {
    fn is_long(self) -> bool {
        self != Self::Usual
    }

    fn time_max(self) -> Duration {
        if self.is_long() { COHORT_TIME_MAX } else { TIME_MAX }
    }
}

/// Who asks, in a session that is good, and how they want to see it.
#[derive(Clone)]
pub struct Visitor {
    pub user: UserView,
    pub session: SessionId,
    pub secret: SignInSecret,
    pub asked: Asked,
}

impl Visitor {
    /// As the log names them.
    pub fn actor(&self) -> Actor {
        Actor::new(self.user.name.clone(), Source::Console)
    }

    /// What the forms of a page bear: they are of this session, and of this page.
    ///
    /// # Errors
    /// The system gave no random bytes.
    pub fn form_key(&self) -> Answer<String> {
        form::marked(&self.secret.form_key())
    }

    pub fn may(&self, needed: Role) -> bool {
        self.user.role.allows(needed)
    }
}

/// The form of a request that is no look, read and found to be ours.
#[derive(Clone)]
pub struct Ours(pub Form);

/// The room that a request has until it is answered, unless it is done sooner and only waits.
#[derive(Clone)]
pub struct Place(Arc<Mutex<Option<Taken>>>);

impl Place {
    pub fn leave(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// The layer.
pub async fn admit(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    gate.admit(request, next).await.unwrap_or_else(IntoResponse::into_response)
}

impl Gate {
    async fn admit(self, mut request: Request, next: Next) -> Answer<Response> {
        let asked = Asked::of(request.headers(), request.uri());
        let is_write = !request.method().is_safe();
        let asked = if is_write {
            form::check_site(request.headers(), self.console.public_url.as_ref())?;
            asked.sent_from_page(request.headers())
        } else {
            asked
        };
        let Some(secret) = sign_in::session_of(request.headers()) else {
            return Ok(sign_in::instead(&self.console, &asked, is_write));
        };
        let hash = secret.hash();
        let look_up = tokio::time::timeout(LOOKUP_MAX, self.console.store.session(&hash));
        let too_long = |_| Err(StoreError::Unavailable("it takes too long to tell a session".into()));
        let Some(session) = look_up.await.unwrap_or_else(too_long)? else {
            return Ok(sign_in::instead(&self.console, &asked, is_write));
        };
        let (is_to_be_touched, user) = (session.is_to_be_touched(), session.user);
        Span::current().record("owner", &user.name);
        if !user.role.allows(self.role) {
            let detail = format!("This needs the role {}, and you have the role {}.", self.role, user.role);
            return Err(Problem::new(StatusCode::FORBIDDEN, "role_missing", detail));
        }
        let mut sent = None;
        if is_write {
            let (mut parts, body) = request.into_parts();
            let limit = self.work.time_max();
            let takes = if self.work == Work::File { Takes::FieldsAndFile } else { Takes::Fields };
            let received = tokio::time::timeout(limit, Form::received(&parts.headers, body, takes)).await;
            let form = received.map_err(|_| form::too_slow(limit))??;
            form.check_key(&secret.form_key())?;
            sent = form.sent_to(parts.uri.path());
            parts.extensions.insert(Ours(form));
            request = Request::from_parts(parts, Body::empty());
        }
        if is_to_be_touched && let Ok(turn) = self.console.touching.clone().try_lock_owned() {
            // No page waits for it, nor fails with it: a later one does it.
            let store = self.console.store.clone();
            tokio::spawn(async move {
                let _ = store.touch_session(&hash).await;
                drop(turn);
            });
        }
        let visitor = Visitor { user, session: session.id, secret, asked };
        let seen = visitor.clone();
        request.extensions_mut().insert(visitor);
        let (console, work) = (self.console.clone(), self.work);
        let answer = async move {
            let taken = console.room.take(Wanted { is_write, is_long: work.is_long(), ..Wanted::LOOK }).await?;
            let place = Place(Arc::new(Mutex::new(Some(taken))));
            request.extensions_mut().insert(place.clone());
            let response = next.run(request).await;
            place.leave();
            Ok::<_, Problem>(response)
        };
        let limit = self.work.time_max() + if is_write { WRITE_WAIT_MAX } else { Duration::ZERO };
        let answered = async {
            let answer = if is_write { self.console.sent.once(sent, answer).await } else { answer.await };
            let mut response = answer?;
            // For a page that says what went wrong.
            response.extensions_mut().insert(seen);
            Ok(response)
        };
        tokio::time::timeout(limit, answered).await.map_err(|_| too_slow(limit))?
    }
}

fn too_slow(limit: Duration) -> Problem {
    let detail = format!("It took longer than {} s. Look whether it happened before you do it again.", limit.as_secs());
    Problem::new(StatusCode::GATEWAY_TIMEOUT, "out_of_time", detail)
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        // Each route has its gate.
        parts.extensions.get().cloned().ok_or_else(Problem::bug)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Ours {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        // The gate reads the form of whatever is no look.
        parts.extensions.get().cloned().ok_or_else(Problem::bug)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Place {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        // As above.
        parts.extensions.get().cloned().ok_or_else(Problem::bug)
    }
}
