//! Forms as they come: taken in whole and within bounds, and only from our own pages.

mod unread;

use std::fs::File;
use std::io::{Seek, Write};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use url::{Url, form_urlencoded};

use self::unread::Unread;
use super::sent::SentForm;
use super::sign_in::no_random;
use crate::api::extract::require_unpacked;
use crate::api::problem::{Answer, Problem};
use crate::random;

/// The longest form, in bytes: a choice for each of some thousands of children fits.
const FORM_MAX: usize = 512 * 1024;

/// The same of one that signs in: anybody may send it. The longest is about where to go on to.
const SIGN_IN_MAX: usize = 128 * 1024;

/// How many fields a form has at most. Each takes far more memory than the two bytes that it may come as.
const FIELDS_MAX: usize = 20_000;

/// And one that signs in: it has about four.
const SIGN_IN_FIELDS_MAX: usize = 32;

/// The longest form with a file, in bytes: a million accounts are some 20 MB.
const UPLOAD_MAX: usize = 256 * 1024 * 1024;

/// How many parts of a file wait for the disk.
const PARTS_AHEAD: usize = 4;

/// What may come as a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    SignIn,
    Fields,
    /// With a file among them, or without.
    FieldsAndFile,
}

impl Takes {
    fn length_max(self) -> usize {
        if self == Self::SignIn { SIGN_IN_MAX } else { FORM_MAX }
    }

    fn fields_max(self) -> usize {
        if self == Self::SignIn { SIGN_IN_FIELDS_MAX } else { FIELDS_MAX }
    }
}

/// The field of each form that shows whose it is.
pub const KEY_FIELD: &str = "form_key";

/// What stands between the key and the mark of the page that a form is on; neither has it.
const MARK: char = '.';

/// What each form of a page bears: the key of its session, and a mark that no other page has.
///
/// # Errors
/// The system gave no random bytes.
pub fn marked(key: &str) -> Answer<String> {
    let mark: [u8; 12] = random::bytes().map_err(no_random)?;
    Ok(format!("{key}{MARK}{}", URL_SAFE_NO_PAD.encode(mark)))
}

/// The fields of a form, in their order.
#[derive(Debug, Clone, Default)]
pub struct Form {
    fields: Vec<(String, String)>,
    /// What was chosen as a file. It is in no folder, and gone once nobody has it open.
    file: Option<Arc<File>>,
    /// SHA-256 of what is in it.
    file_hash: Option<[u8; 32]>,
}

impl Form {
    /// # Errors
    /// Too long, packed, broken off, or of another type.
    pub async fn received(headers: &HeaderMap, body: Body, takes: Takes) -> Answer<Self> {
        require_unpacked(headers)?;
        let whole = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = whole.split(';').next().unwrap_or_default().trim();
        if takes == Takes::FieldsAndFile && kind.eq_ignore_ascii_case("multipart/form-data") {
            return Self::in_parts(whole, body).await;
        }
        if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            let detail = "This takes a form as a browser sends it.";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail));
        }
        let length_max = takes.length_max();
        if body.size_hint().lower() > length_max as u64 {
            return Err(too_long(length_max));
        }
        let bytes = Limited::new(body, length_max).collect().await.map_err(|_| too_long(length_max))?.to_bytes();
        let fields: Vec<_> = form_urlencoded::parse(&bytes).into_owned().take(takes.fields_max() + 1).collect();
        if fields.len() > takes.fields_max() {
            return Err(too_many(takes.fields_max()));
        }
        Ok(Self { fields, ..Self::default() })
    }

    /// With a file, which is written down as it comes.
    async fn in_parts(kind: &str, body: Body) -> Answer<Self> {
        if body.size_hint().lower() > UPLOAD_MAX as u64 {
            return Err(too_long(UPLOAD_MAX));
        }
        let unread = Unread::default();
        let body = unread.one_by_one(Limited::new(body, UPLOAD_MAX));
        let request = Request::builder().header(header::CONTENT_TYPE, kind);
        let mut request = request.body(body).map_err(|_| Problem::bug())?;
        // Its own limit stands around the body already.
        DefaultBodyLimit::disable().apply(&mut request);
        let mut parts = Multipart::from_request(request, &()).await.map_err(|_| broken())?;
        let (mut form, mut left, mut fields_left) = (Self::default(), FORM_MAX, FIELDS_MAX);
        while let Some(mut part) = parts.next_field().await.map_err(|error| unreadable(&error))? {
            unread.is_read();
            fields_left = fields_left.checked_sub(1).ok_or_else(|| too_many(FIELDS_MAX))?;
            let name = part.name().unwrap_or_default().to_owned();
            if part.file_name().is_some() {
                // A file that was not chosen comes as an empty one.
                if let (None, Some((file, hash))) = (&form.file, spooled(part, &unread).await?) {
                    (form.file, form.file_hash) = (Some(Arc::new(file)), Some(hash));
                }
                continue;
            }
            let mut text = Vec::new();
            while let Some(bytes) = part.chunk().await.map_err(|error| unreadable(&error))? {
                unread.is_read();
                left = left.checked_sub(bytes.len()).ok_or_else(|| too_long(FORM_MAX))?;
                text.extend_from_slice(&bytes);
            }
            left = left.checked_sub(name.len() + 1).ok_or_else(|| too_long(FORM_MAX))?;
            form.fields.push((name, String::from_utf8_lossy(&text).into_owned()));
        }
        Ok(form)
    }

    /// The file that was chosen.
    pub fn file(&self) -> Option<Arc<File>> {
        self.file.clone()
    }

    /// What a field holds; nothing where it is empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(known, _)| known == name)?;
        Some(found.1.trim()).filter(|text| !text.is_empty())
    }

    /// As it was typed, blanks too.
    pub fn exactly(&self, name: &str) -> &str {
        self.fields.iter().find(|(known, _)| known == name).map_or("", |(_, text)| text.as_str())
    }

    /// The fields whose names begin so, by the rest of their names.
    pub fn beginning<'f>(&'f self, prefix: &'f str) -> impl Iterator<Item = (&'f str, &'f str)> {
        let rest = move |(name, text): &'f (String, String)| Some((name.strip_prefix(prefix)?, text.trim()));
        self.fields.iter().filter_map(rest)
    }

    /// Whether it comes from a page that was made for whoever has this key. The mark of the page may follow it.
    ///
    /// # Errors
    /// It does not; nothing was done.
    pub fn check_key(&self, key: &str) -> Answer<()> {
        let sent = self.exactly(KEY_FIELD);
        let sent = sent.split_once(MARK).map_or(sent, |(sent, _)| sent);
        // Both are hashes that nobody can approach letter by letter, so comparing them may take its time or not.
        if !key.is_empty() && sent == key {
            return Ok(());
        }
        let detail =
            "This form is not one of your session, so nothing was done. Load the page again, then send it again.";
        Err(Problem::new(StatusCode::FORBIDDEN, "form_key", detail))
    }

    /// What tells it from every other, where it comes from a page that marks its forms.
    pub fn sent_to(&self, path: &str) -> Option<SentForm> {
        self.exactly(KEY_FIELD).split_once(MARK)?;
        let texts = self.fields.iter().flat_map(|(name, text)| [name.as_bytes(), text.as_bytes()]);
        let mut hash = Sha256::new();
        for text in [path.as_bytes()].into_iter().chain(texts).chain(self.file_hash.as_ref().map(<[u8; 32]>::as_slice))
        {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        Some(SentForm(hash.finalize().into()))
    }
}

/// Writes a part to a file without a name, in a thread that may wait for the disk, with the SHA-256 of it. Nothing where
/// it is empty.
async fn spooled(mut part: Field<'_>, unread: &Unread) -> Answer<Option<(File, [u8; 32])>> {
    let (sender, mut pieces) = mpsc::channel::<Bytes>(PARTS_AHEAD);
    let writing = spawn_blocking(move || {
        let (mut file, mut length, mut hash) = (tempfile::tempfile()?, 0, Sha256::new());
        while let Some(piece) = pieces.blocking_recv() {
            length += piece.len();
            hash.update(&piece);
            file.write_all(&piece)?;
        }
        file.rewind()?;
        Ok::<_, std::io::Error>((length > 0).then(|| (file, hash.finalize().into())))
    });
    while let Some(piece) = part.chunk().await.map_err(|error| unreadable(&error))? {
        unread.is_read();
        if sender.send(piece).await.is_err() {
            break; // it can't be written; why, is told below
        }
    }
    drop(sender);
    match writing.await {
        Ok(Ok(file)) => Ok(file),
        Ok(Err(error)) => {
            let detail = format!("The file can't be kept until it is read: {error}. Nothing was done.");
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no_room", detail))
        }
        Err(_) => Err(Problem::bug()),
    }
}

fn too_long(limit: usize) -> Problem {
    let detail = format!("The form is longer than {limit} bytes; nothing was done.");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
}

fn too_many(most: usize) -> Problem {
    let detail = format!("The form has more than {most} fields; nothing was done.");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
}

/// It did not come in its time.
pub fn too_slow(limit: Duration) -> Problem {
    let detail =
        format!("The form was not there in whole after {} s; nothing was done. Send it again.", limit.as_secs());
    Problem::new(StatusCode::REQUEST_TIMEOUT, "request_too_slow", detail)
}

fn broken() -> Problem {
    let detail = "The form broke off, or is none; nothing was done. Send it again.";
    Problem::new(StatusCode::BAD_REQUEST, "invalid", detail)
}

fn unreadable(error: &MultipartError) -> Problem {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE { too_long(UPLOAD_MAX) } else { broken() }
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
        let form = Form { fields: vec![(KEY_FIELD.into(), "mine".into())], ..Form::default() };
        assert!(form.check_key("mine").is_ok());
        assert!(form.check_key("yours").is_err());
        assert!(Form::default().check_key("").is_err(), "no key is none");
    }

    #[test]
    fn a_form_is_told_from_every_other() {
        let form = |key: String, name: &str| Form {
            fields: vec![(KEY_FIELD.into(), key), ("name".into(), name.into())],
            ..Form::default()
        };
        let page = marked("mine").unwrap();
        let sent = form(page.clone(), "a");
        assert!(sent.check_key("mine").is_ok() && sent.check_key("yours").is_err());
        let told = sent.sent_to("/campaigns/new");
        assert!(told.is_some());
        assert_eq!(form(page.clone(), "a").sent_to("/campaigns/new"), told);
        let with_file = Form { file_hash: Some([1; 32]), ..form(page.clone(), "a") };
        for (other, path) in [
            (form(page.clone(), "b"), "/campaigns/new"),
            (form(page, "a"), "/campaigns/old"),
            (form(marked("mine").unwrap(), "a"), "/campaigns/new"),
            (with_file, "/campaigns/new"),
        ] {
            assert_ne!(other.sent_to(path), told);
        }
        assert_eq!(form("mine".into(), "a").sent_to("/campaigns/new"), None, "it is on no page of ours");
    }
}
