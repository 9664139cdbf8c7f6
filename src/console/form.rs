//! Forms as they come: taken in whole and within bounds, and only from our own pages.

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use url::{Url, form_urlencoded};

use crate::api::problem::{Answer, Problem};

/// The longest form, in bytes: a choice for each of some thousands of children fits.
const FORM_MAX: usize = 512 * 1024;

/// The field of each form that shows whose it is, and the header that htmx sends it in.
pub const KEY_FIELD: &str = "form_key";
const KEY_HEADER: &str = "x-form-key";

/// The fields of a form, in their order.
#[derive(Debug, Clone, Default)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// # Errors
    /// Too long, broken off, or of another type.
    pub async fn received(headers: &HeaderMap, body: Body) -> Answer<Self> {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            let detail = "This takes a form as a browser sends it.";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail));
        }
        let too_long = || {
            let detail = format!("The form is longer than {FORM_MAX} bytes; nothing was done.");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
        };
        if body.size_hint().lower() > FORM_MAX as u64 {
            return Err(too_long());
        }
        let bytes = Limited::new(body, FORM_MAX).collect().await.map_err(|_| too_long())?.to_bytes();
        let fields = form_urlencoded::parse(&bytes).into_owned().collect();
        Ok(Self(fields))
    }

    /// What a field holds; nothing where it is empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name)?;
        Some(found.1.trim()).filter(|text| !text.is_empty())
    }

    /// As it was typed, blanks too.
    pub fn exactly(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, text)| text.as_str())
    }

    /// The fields whose names begin so, by the rest of their names. What is empty is left out.
    pub fn beginning<'f>(&'f self, prefix: &'f str) -> impl Iterator<Item = (&'f str, &'f str)> {
        let rest = move |(name, text): &'f (String, String)| Some((name.strip_prefix(prefix)?, text.trim()));
        self.0.iter().filter_map(rest).filter(|(_, text)| !text.is_empty())
    }

    /// Whether it comes from a page that was made for whoever has this key.
    ///
    /// # Errors
    /// It does not; nothing was done.
    pub fn check_key(&self, headers: &HeaderMap, key: &str) -> Answer<()> {
        let in_header = headers.get(KEY_HEADER).and_then(|value| value.to_str().ok());
        let given = in_header.unwrap_or_else(|| self.exactly(KEY_FIELD));
        // Both are hashes that nobody can approach letter by letter, so comparing them may take its time or not.
        if !key.is_empty() && given == key {
            return Ok(());
        }
        let detail =
            "This form is not one of your session, so nothing was done. Load the page again, then send it again.";
        Err(Problem::new(StatusCode::FORBIDDEN, "form_key", detail))
    }
}

/// Refuses what another site makes a browser send.
///
/// # Errors
/// It comes from another site; nothing was done.
pub fn check_site(headers: &HeaderMap, public_url: Option<&Url>) -> Answer<()> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let is_own_fetch = text("sec-fetch-site").is_none_or(|site| site == "same-origin" || site == "none");
    let is_own_origin = text("origin").is_none_or(|origin| {
        let is_public = public_url.is_some_and(|url| url.origin().ascii_serialization() == origin);
        // Behind a proxy that ends TLS the scheme is another one; the host is not.
        let host = origin.split_once("://").map(|(_, host)| host);
        is_public || host.is_some() && host == text("host")
    });
    if is_own_fetch && is_own_origin {
        return Ok(());
    }
    let detail = "This was sent by another site, so nothing was done. Open the console itself, and do it there.";
    Err(Problem::new(StatusCode::FORBIDDEN, "cross_site", detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comes(headers: &[(&'static str, &'static str)], public_url: Option<&str>) -> bool {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        check_site(&headers, public_url.map(|url| url.parse().unwrap()).as_ref()).is_ok()
    }

    #[test]
    fn what_another_site_sends_is_refused() {
        const HOST: (&str, &str) = ("host", "127.0.0.1:8080");
        assert!(comes(&[HOST], None), "a program sends neither");
        assert!(comes(&[HOST, ("origin", "http://127.0.0.1:8080"), ("sec-fetch-site", "same-origin")], None));
        assert!(comes(&[HOST, ("origin", "https://d.example.com")], Some("https://d.example.com")));
        for other in [
            ("origin", "http://evil.example"),
            ("origin", "http://127.0.0.1:8081"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert!(!comes(&[HOST, other], Some("https://d.example.com")), "{other:?}");
        }
    }

    #[test]
    fn a_form_of_another_session_is_refused() {
        let form = Form(vec![(KEY_FIELD.into(), "mine".into())]);
        assert!(form.check_key(&HeaderMap::new(), "mine").is_ok());
        assert!(form.check_key(&HeaderMap::new(), "yours").is_err());
        assert!(Form::default().check_key(&HeaderMap::new(), "").is_err(), "no key is none");
        let headers = [(KEY_HEADER.parse().unwrap(), "mine".parse().unwrap())].into_iter().collect();
        assert!(Form::default().check_key(&headers, "mine").is_ok());
    }
}
