//! Reads requests into types, and says what can't be read: paths, queries, JSON.

use std::error::Error;
use std::fs::File;
use std::sync::Arc;

use axum::RequestPartsExt;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::call::Spooled;
use super::problem::{Answer, Problem};
use crate::domain::account::AccountNumber;
use crate::store::{PAGE_MAX, Page};

/// The account number in a path.
pub struct Number(pub AccountNumber);

impl<S: Send + Sync> FromRequestParts<S> for Number {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        let Path(text) = parts.extract::<Path<String>>().await.map_err(|error| unreadable_path(&error))?;
        account_number("number", &text).map(Self)
    }
}

/// The id in a path, of an event, an invoice, a token, a campaign or a template.
pub struct Id(pub i64);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        let Path(text) = parts.extract::<Path<String>>().await.map_err(|error| unreadable_path(&error))?;
        match text.parse() {
            Ok(id) if id > 0 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(Self(id)),
            _ => Err(Problem::invalid("path", "its last number is not one of those that lists show")),
        }
    }
}

/// A text in a path, such as the key of a setting.
pub struct Named(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        let Path(text) = parts.extract::<Path<String>>().await.map_err(|error| unreadable_path(&error))?;
        Ok(Self(text))
    }
}

fn unreadable_path(error: &PathRejection) -> Problem {
    Problem::invalid("path", error.body_text())
}

/// The query. A parameter that the type does not have is refused: it would be a filter that does not hold.
pub struct Asked<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        queried(&parts.uri).map(Self)
    }
}

/// # Errors
/// A parameter that the type does not have, or that can't be read, or one that is missing.
pub fn queried<T: DeserializeOwned>(uri: &Uri) -> Answer<T> {
    let Query(asked) = Query::try_from_uri(uri).map_err(|error: QueryRejection| {
        Problem::invalid("query", error.source().map_or_else(|| error.to_string(), ToString::to_string))
    })?;
    Ok(asked)
}

/// The JSON document of a call. A field that the type does not have is refused.
pub struct Told<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Told<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Answer<Self> {
        let bytes = body_of(request).await?.ok_or_else(|| Problem::invalid("body", "it is missing"))?;
        json(&bytes).map(Self)
    }
}

/// The same where nothing has to be told: no body, or `null`, is fine.
pub struct MayTell<T>(pub T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for MayTell<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Answer<Self> {
        let Some(bytes) = body_of(request).await? else { return Ok(Self(T::default())) };
        json::<Option<T>>(&bytes).map(|told| Self(told.unwrap_or_default()))
    }
}

/// A field of a document that changes something: `null` is something else than nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Given<T> {
    #[default]
    Nothing,
    Null,
    Value(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::Value))
    }
}

/// A JSON document, or a file in its place.
pub enum Brought<T> {
    Told(T),
    File(Arc<File>),
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Brought<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Answer<Self> {
        if let Some(Spooled(file)) = request.extensions().get() {
            return Ok(Self::File(file.clone()));
        }
        let Told(told) = Told::from_request(request, state)
            .await
            .map_err(|problem| if problem.code == UNSUPPORTED { unsupported(FILE_OR_JSON) } else { problem })?;
        Ok(Self::Told(told))
    }
}

/// `None` where it is empty. Its length was bounded before.
async fn body_of(request: Request) -> Answer<Option<bytes::Bytes>> {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.map_err(|error| Problem::invalid("body", error.to_string()))?.to_bytes();
    if bytes.is_empty() {
        return Ok(None);
    }
    require_type(&parts.headers, "application/json")?;
    Ok(Some(bytes))
}

/// # Errors
/// The body is of another type. Parameters, such as a charset, are not looked at: it is UTF-8, or can't be read.
pub fn require_type(headers: &HeaderMap, wanted: &str) -> Answer<()> {
    if content_type(headers).eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    Err(unsupported(format!("the body must be {wanted}; send it with `Content-Type: {wanted}`")))
}

/// # Errors
/// The body is packed. As it is, it would be read as something else than what was sent; and what it unpacks to may be a
/// thousand times as long.
pub fn require_unpacked(headers: &HeaderMap) -> Answer<()> {
    let is_plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(header::CONTENT_ENCODING).iter().all(is_plain) {
        let packed = unsupported("the body is packed, which is not understood here; send it without Content-Encoding");
        return Err(packed.header(header::ACCEPT_ENCODING, HeaderValue::from_static("identity")));
    }
    Ok(())
}

/// # Errors
/// It is not certain that whoever passed the request on sees its end where we do.
pub fn require_known_coding(headers: &HeaderMap) -> Answer<()> {
    let codings: Vec<_> = headers.get_all(header::TRANSFER_ENCODING).iter().map(HeaderValue::as_bytes).collect();
    match *codings.as_slice() {
        [] => Ok(()),
        [coding] if coding.eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => {
            let detail = "of all transfer codings, chunked alone is understood here; send it so, or with its length";
            let problem = Problem::new(StatusCode::NOT_IMPLEMENTED, "unknown_transfer_coding", detail);
            // Nothing behind it is read.
            Err(problem.header(header::CONNECTION, HeaderValue::from_static("close")))
        }
    }
}

/// Without its parameters.
pub fn content_type(headers: &HeaderMap) -> &str {
    let given = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    given.split(';').next().unwrap_or_default().trim()
}

fn unsupported(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, UNSUPPORTED, detail)
}

const UNSUPPORTED: &str = "unsupported_media_type";

const FILE_OR_JSON: &str = "the body must be application/json or text/csv; send it with its `Content-Type`";

pub fn json<T: DeserializeOwned>(bytes: &[u8]) -> Answer<T> {
    // serde would take a list for the fields of an object, in their order.
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Err(Problem::invalid("body", "it is a list; send an object, `{...}`"));
    }
    serde_json::from_slice(bytes).map_err(|error| Problem::invalid("body", error.to_string()))
}

/// Reads a field that is there, and names it where it can't be read.
pub fn field<T>(name: &str, text: Option<&str>, parse: impl FnOnce(&str) -> Result<T, String>) -> Answer<Option<T>> {
    text.map(|text| parse(text).map_err(|error| Problem::invalid(name, error))).transpose()
}

/// # Errors
/// What is no account number. Blanks at its ends are none here: no spreadsheet put them there.
pub fn account_number(name: &str, text: &str) -> Answer<AccountNumber> {
    let number = AccountNumber::parse(text).map_err(|error| Problem::invalid(name, error))?;
    if number.as_str() == text {
        Ok(number)
    } else {
        Err(Problem::invalid(name, "an account number has no blanks at its ends"))
    }
}

/// How many a list answers, unless said.
pub const LIMIT: u32 = 50;

/// A cursor is at most this long, in characters: that of the accounts is a number of theirs.
const CURSOR_MAX: usize = AccountNumber::LENGTH_MAX;

/// # Errors
/// A limit that is too small or too large, or a text that is no cursor.
pub fn page(limit: Option<u32>, after: Option<String>) -> Answer<Page> {
    let limit = limit.unwrap_or(LIMIT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::invalid("limit", format!("a page has 1 to {PAGE_MAX} items")));
    }
    match &after {
        Some(cursor) if cursor.chars().count() > CURSOR_MAX || cursor.chars().any(char::is_control) => {
            Err(Problem::invalid("after", "it is not a `next_cursor` of this list"))
        }
        _ => Ok(Page { after, limit }),
    }
}

/// The same for a list whose cursors are numbers.
///
/// # Errors
/// As for [`page`].
pub fn numbered_page(limit: Option<u32>, after: Option<u64>) -> Answer<Page> {
    if after.is_some_and(|after| i64::try_from(after).is_err()) {
        return Err(Problem::invalid("after", "it is not a `next_cursor` of this list"));
    }
    page(limit, after.map(|after| after.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_bounded() {
        assert_eq!(page(None, None).unwrap().limit, LIMIT);
        assert_eq!(page(Some(PAGE_MAX), None).unwrap().limit, PAGE_MAX);
        for limit in [0, PAGE_MAX + 1] {
            assert_eq!(page(Some(limit), None).unwrap_err().code, "invalid");
        }
        assert!(page(None, Some("x\n".into())).is_err());
        assert!(numbered_page(None, Some(u64::MAX)).is_err());
    }

    #[test]
    fn a_number_in_a_path_is_taken_as_it_is() {
        assert_eq!(account_number("number", "A/1 b").unwrap().as_str(), "A/1 b");
        for bad in ["", " 1", "1 ", "a\u{7}", &"x".repeat(65)] {
            assert!(account_number("number", bad).is_err(), "{bad:?}");
        }
    }
}
