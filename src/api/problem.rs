//! What is answered where there is no answer: problem details (RFC 9457), each with a stable `type`.
//!
//! A problem is written at the very end, by [`written`], where the request's id is known.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::openapi::{Object, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::domain::account::AccountNumber;
use crate::domain::event::EventId;
use crate::domain::refusal::Refusal;
use crate::domain::token::Role;
use crate::import::ImportError;
use crate::store::StoreError;

/// What every `type` begins with; the code follows.
const TYPE_PREFIX: &str = "urn:disconnectd:problem:";

pub const CONTENT_TYPE: &str = "application/problem+json";

/// How long to wait before trying again what was merely in the way, and what was away.
const BUSY_FOR: Duration = Duration::from_secs(1);
const AWAY_FOR: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
pub struct Problem {
    pub status: StatusCode,
    pub code: &'static str,
    /// A sentence for people, with what to do next.
    pub detail: String,
    /// What a program may need besides: the names are as stable as the code.
    members: Map<String, Value>,
    headers: Vec<(header::HeaderName, HeaderValue)>,
}

pub type Answer<T> = Result<T, Problem>;

impl Problem {
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), members: Map::new(), headers: Vec::new() }
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// The same, with another status.
    #[must_use]
    pub fn answered_with(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    #[must_use]
    pub fn retry_after(self, pause: Duration) -> Self {
        self.header(header::RETRY_AFTER, HeaderValue::from(pause.as_secs()))
    }

    #[must_use]
    pub fn header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// A part of the request that can't be read: `field` is its name, as the document has it.
    #[must_use]
    pub fn invalid(field: &str, error: impl AsRef<str>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", format!("{field}: {}", error.as_ref()))
            .with("field", field)
    }

    #[must_use]
    pub fn role_missing(needed: Role, had: Role) -> Self {
        let detail = format!("this needs the role {needed}, and the token has the role {had}; ask someone who has it");
        Self::new(StatusCode::FORBIDDEN, "role_missing", detail)
            .with("needed_role", needed.as_str())
            .with("role", had.as_str())
    }

    /// A panic, or something else that can't be.
    #[must_use]
    pub fn bug() -> Self {
        let detail = "this is a bug; the log of the process says more under this request id";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "bug", detail)
    }

    /// The database takes too long, or is known to be away.
    #[must_use]
    pub fn database_away(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "database_unavailable", detail).retry_after(AWAY_FOR)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        if let Refusal::NeverFires { .. } = refusal {
            return Self::invalid("cron", refusal.to_string());
        }
        let status = match &refusal {
            // What does not depend on any state can't be read, so to say; and what can't be meant, has to be said
            // otherwise.
            Refusal::PastDate { .. }
            | Refusal::SelfLink { .. }
            | Refusal::EmptyCohort { .. }
            | Refusal::CohortTooLarge { .. }
            | Refusal::EveryoneSelected { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            // Another token may do it.
            Refusal::OwnApproval { .. } | Refusal::OwnTemplateApproval { .. } => StatusCode::FORBIDDEN,
            refusal if refusal.code().starts_with("unknown_") => StatusCode::NOT_FOUND,
            _ => StatusCode::CONFLICT,
        };
        let problem = Self::new(status, refusal.code(), refusal.to_string());
        match refusal {
            Refusal::OpenEvent { event, .. } | Refusal::OtherOpenEvent { other: event, .. } => {
                problem.with("event_id", event.0)
            }
            Refusal::Disconnected { disconnected_at, .. } => problem.with("disconnected_at", json!(disconnected_at)),
            Refusal::StaleDigest { changes, .. } | Refusal::StaleDryRun { changes, .. } => {
                problem.with("changes", changes)
            }
            Refusal::CampaignState { state, .. } => problem.with("state", state.as_str()),
            Refusal::CampaignBlocked { accounts, children, .. } => {
                problem.with("accounts", accounts).with("children", children)
            }
            Refusal::CampaignNotApproved { accounts, limit, .. } => {
                problem.with("accounts", accounts).with("approval_over", limit)
            }
            Refusal::EveryoneSelected { accounts } => problem.with("accounts", accounts),
            Refusal::UndecidedChildren { children, .. } => problem.with("children", json!(children)),
            Refusal::UndecidedEvents { events, .. } => {
                let one = |(event, account): &(EventId, AccountNumber)| json!({ "event_id": event, "account_number": account });
                problem.with("events", events.iter().map(one).collect::<Vec<_>>())
            }
            _ => problem,
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let (code, detail) = (error.code(), error.to_string());
        match error {
            StoreError::Refused(refusal) => refusal.into(),
            StoreError::Unavailable(_) => Self::database_away(detail),
            StoreError::Conflict(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(BUSY_FOR),
            StoreError::Unusable(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(AWAY_FOR),
            // What a caller can cause is refused at the edge: this is ours. What the database said, is not for callers.
            StoreError::Rejected(why) => {
                tracing::error!(why, "the database refused a statement of a call, which is a bug");
                let detail = "the database refused it; the log of the process says more under this request id";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, code, detail)
            }
        }
    }
}

impl From<ImportError> for Problem {
    fn from(error: ImportError) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_file", error.to_string())
    }
}

impl IntoResponse for Problem {
    /// Without a body, until it is [`written`].
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        for (name, value) in &self.headers {
            response.headers_mut().append(name, value.clone());
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives a response that is a problem its body. Any other stays as it is.
#[must_use]
pub fn written(mut response: Response, request_id: &str) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    let text = Written {
        r#type: format!("{TYPE_PREFIX}{}", problem.code),
        title: title(problem.code),
        status: problem.status.as_u16(),
        detail: &problem.detail,
        request_id,
        members: &problem.members,
    };
    // Text, numbers, and maps whose keys are texts: there is nothing in it that can't be written.
    let text = serde_json::to_vec(&text).unwrap_or_default();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(text);
    // For the log: it is written, and known still.
    response.extensions_mut().insert(Told(problem.detail));
    response
}

/// The sentence of a problem that was written.
#[derive(Debug, Clone)]
pub struct Told(pub String);

#[derive(Serialize)]
struct Written<'p> {
    r#type: String,
    title: String,
    status: u16,
    detail: &'p str,
    request_id: &'p str,
    #[serde(flatten)]
    members: &'p Map<String, Value>,
}

/// `unknown_account` is titled "Unknown account".
fn title(code: &str) -> String {
    let mut title = code.replace('_', " ");
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    title
}

impl PartialSchema for Problem {
    fn schema() -> RefOr<Schema> {
        let text = |description: &str| Object::builder().schema_type(Type::String).description(Some(description));
        Object::builder()
            .description(Some(
                "Problem details (RFC 9457). Further members depend on the type, such as `field`, `event_id`, \
                 `needed_role`, `changes`, `children`, `events` or `report`.",
            ))
            .property("type", text("Stable: programs go by it.").examples(["urn:disconnectd:problem:unknown_account"]))
            .property("title", text("The same for each problem of this type."))
            .property("status", Object::builder().schema_type(Type::Integer).description(Some("The HTTP status.")))
            .property("detail", text("A sentence for people, with what to do next."))
            .property("request_id", text("The `X-Request-Id`, under which the log says more."))
            .property("field", text("The part of the request that can't be read."))
            .required("type")
            .required("title")
            .required("status")
            .required("detail")
            .required("request_id")
            .into()
    }
}

impl ToSchema for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_is_not_found_and_what_is_in_the_way_is_a_conflict() {
        let number = AccountNumber::parse("1").unwrap();
        let at = chrono::DateTime::UNIX_EPOCH;
        for (refusal, status) in [
            (Refusal::UnknownAccount { number: number.clone() }, 404),
            (Refusal::UnknownEvent { event: EventId(1) }, 404),
            (Refusal::PastDate { due_at: at, now: at }, 422),
            (Refusal::Disconnected { account: number, disconnected_at: at }, 409),
        ] {
            let problem = Problem::from(refusal);
            assert_eq!(problem.status.as_u16(), status, "{problem:?}");
        }
        assert_eq!(title("unknown_account"), "Unknown account");
    }

    #[test]
    fn what_the_database_refuses_is_a_bug_and_not_shown() {
        let problem = Problem::from(StoreError::Rejected("check constraint of salaries".into()));
        assert_eq!((problem.status.as_u16(), problem.code), (500, "database_refused"));
        assert!(!problem.detail.contains("salaries"), "{}", problem.detail);
    }

    #[test]
    fn what_passes_says_when_to_try_again() {
        for error in [StoreError::Unavailable("gone".into()), StoreError::Conflict("busy".into())] {
            let response = Problem::from(error).into_response();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert!(response.headers().contains_key(header::RETRY_AFTER));
        }
    }
}
