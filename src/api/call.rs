//! How a call runs: its body is taken in whole and within bounds, then it runs where there is room. A write has a task
//! of its own, which neither a client that hangs up nor the end of its time stops half-way; a read is over with either.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Seek, Write};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use super::auth::Place;
use super::extract::{content_type, require_unpacked};
use super::problem::{Answer, Problem};
use super::request_id::caught;
use super::{Shared, Wanted, once};
use crate::store::{ONCE_LOST, WRITE_WAIT_MAX};

/// The longest JSON body, in bytes. The longest that has any sense is a few kilobytes.
pub const JSON_MAX: usize = 1024 * 1024;

/// The longest file, in bytes. A million accounts are about a tenth of it.
pub const FILE_MAX: usize = 1024 * 1024 * 1024;

/// How long a call that brings no file may take; a write may wait for others besides, for [`WRITE_WAIT_MAX`].
const TIME_MAX: Duration = Duration::from_secs(30);

/// The same for one that does.
const FILE_TIME_MAX: Duration = Duration::from_hours(1);

/// The same for one that looks at every account of a campaign. A million take less than one of these minutes.
const COHORT_TIME_MAX: Duration = Duration::from_mins(10);

/// How many parts of a file wait for the disk.
const PARTS_AHEAD: usize = 4;

/// What the calls of a group bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brings {
    /// Nothing, or a JSON document.
    Json,
    /// A JSON document; and the answer holds a secret, which is kept nowhere, also not to be answered again.
    JsonForASecret,
    /// Nothing, or a JSON document; and it goes through all accounts of a campaign.
    JsonForACohort,
    /// A file, which is spooled before anything is done with it: a slow client holds no lock of the database.
    File,
    /// Either of them, by its content type.
    FileOrJson,
}

/// The content type of files.
pub const CSV: &str = "text/csv";

#[derive(Clone)]
pub struct Terms {
    pub api: Shared,
    pub place: Place,
    pub brings: Brings,
    /// The operations that take a query, by method and path as the document has it.
    pub with_a_query: Arc<HashSet<(Method, String)>>,
}

impl Terms {
    /// A query where none is read would be a filter that does not hold.
    fn refuse_query(&self, request: &Request) -> Answer<()> {
        let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned()).unwrap_or_default();
        let method = if request.method() == Method::HEAD { Method::GET } else { request.method().clone() };
        if request.uri().query().is_none_or(str::is_empty) || self.with_a_query.contains(&(method, path)) {
            return Ok(());
        }
        Err(Problem::invalid("query", "this takes none; leave away what stands behind the question mark"))
    }
}

/// A file that came as a body. It is in no folder, and gone once nobody has it open.
#[derive(Debug, Clone)]
pub struct Spooled(pub Arc<File>);

impl Brings {
    /// How long a call may take, from its first byte to its answer.
    fn time_max(self) -> Duration {
        match self {
            Self::Json | Self::JsonForASecret => TIME_MAX,
            Self::JsonForACohort => COHORT_TIME_MAX,
            Self::File | Self::FileOrJson => FILE_TIME_MAX,
        }
    }

    fn may_be_long(self) -> bool {
        self.time_max() > TIME_MAX
    }

    /// When a write that began and has no answer counts as lost: not while it may be under way.
    pub fn lost_after(self) -> Duration {
        // The other calls are over by then, also where what they do and what they answer waited as long as a write may.
        const { assert!(ONCE_LOST.as_secs() > 2 * WRITE_WAIT_MAX.as_secs()) };
        if self.may_be_long() { self.time_max() + ONCE_LOST } else { ONCE_LOST }
    }

    fn is_spooled(self, headers: &HeaderMap) -> bool {
        self == Self::File || self == Self::FileOrJson && content_type(headers).eq_ignore_ascii_case(CSV)
    }
}

/// The layer.
pub async fn run(State(terms): State<Terms>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let limit = terms.brings.time_max();
    let is_write = !request.method().is_safe();
    if let Err(problem) = terms.refuse_query(&request) {
        return problem.into_response();
    }
    let call = match timeout_at(begun + limit, received(request, terms.brings)).await {
        Ok(Ok(call)) => call,
        Ok(Err(problem)) => return problem.into_response(),
        Err(_) => return too_slow(limit).into_response(),
    };
    // Health is answered however many ask, and while work drains.
    let room = match terms.place {
        Place::Calls => {
            let wanted = Wanted { is_write, is_long: terms.brings.may_be_long(), ..Wanted::LOOK };
            match terms.api.room.take(wanted).await {
                Ok(taken) => Some(taken),
                Err(problem) => return problem.into_response(),
            }
        }
        Place::Page | Place::Health => None,
    };
    let Received { request, fingerprint } = call;
    let limit = if is_write { limit + WRITE_WAIT_MAX } else { limit };
    let deadline = begun + limit;
    let response = if is_write {
        let write = async move { once::run(&terms, request, &fingerprint, next, room).await };
        let write = tokio::spawn(write.in_current_span());
        timeout_at(deadline, async { write.await.unwrap_or_else(|_| Problem::bug().into_response()) }).await
    } else {
        // It ends where it is when this future is dropped, and its place is free: nobody waits for its answer.
        timeout_at(deadline, caught(next.run(request))).await
    };
    response.unwrap_or_else(|_| out_of_time(limit, is_write).into_response())
}

/// A request whose body is here.
struct Received {
    request: Request,
    /// Of everything that makes it this call and no other.
    fingerprint: [u8; 32],
}

async fn received(request: Request, brings: Brings) -> Answer<Received> {
    let (mut parts, body) = request.into_parts();
    require_unpacked(&parts.headers)?;
    let mut hash = Sha256::new();
    let matches = parts.headers.get_all(header::IF_MATCH);
    // How many parts there are, is a part as well.
    hash.update((matches.iter().count() as u64).to_be_bytes());
    for part in [
        parts.method.as_str().as_bytes(),
        parts.uri.path().as_bytes(),
        parts.uri.query().unwrap_or_default().as_bytes(),
        parts.headers.get(header::CONTENT_TYPE).map_or(&[][..], |kind| kind.as_bytes()),
    ]
    .into_iter()
    .chain(matches.iter().map(HeaderValue::as_bytes))
    {
        hash.update((part.len() as u64).to_be_bytes()); // so that no part can pass for the begin of the next
        hash.update(part);
    }
    let is_spooled = brings.is_spooled(&parts.headers);
    let limit = if is_spooled { FILE_MAX } else { JSON_MAX };
    // What is announced as too long is not even begun with.
    let too_large = || too_large(limit, brings == Brings::FileOrJson && !is_spooled);
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let body = Limited::new(body, limit);
    let body = if is_spooled {
        let (file, of_file) = spooled(body, hash).await?;
        hash = of_file;
        parts.extensions.insert(Spooled(Arc::new(file)));
        Bytes::new()
    } else {
        let bytes = body.collect().await.map_err(|error| unreadable(&*error, too_large))?.to_bytes();
        hash.update(&bytes);
        bytes
    };
    let request = Request::from_parts(parts, Body::from(body));
    Ok(Received { request, fingerprint: hash.finalize().into() })
}

/// Writes a body to a file without a name, in a thread that may wait for the disk.
async fn spooled(mut body: Limited<Body>, mut hash: Sha256) -> Answer<(File, Sha256)> {
    let (sender, mut parts) = mpsc::channel::<Bytes>(PARTS_AHEAD);
    let writing = tokio::task::spawn_blocking(move || {
        let mut file = tempfile::tempfile()?;
        while let Some(part) = parts.blocking_recv() {
            hash.update(&part);
            file.write_all(&part)?;
        }
        file.rewind()?;
        Ok::<_, std::io::Error>((file, hash))
    });
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| unreadable(&*error, || too_large(FILE_MAX, false)))?;
        if let Ok(part) = frame.into_data()
            && sender.send(part).await.is_err()
        {
            break; // it can't be written; why, is told below
        }
    }
    drop(sender);
    match writing.await {
        Ok(Ok(spooled)) => Ok(spooled),
        Ok(Err(error)) => Err(no_room(&error)),
        Err(_) => Err(Problem::bug()),
    }
}

pub fn no_room(error: &std::io::Error) -> Problem {
    let detail = format!("the file can't be kept until it is read: {error}; make room in the temporary folder");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no_room", detail)
}

fn unreadable(error: &(dyn std::error::Error + Send + Sync + 'static), too_large: impl FnOnce() -> Problem) -> Problem {
    if error.is::<LengthLimitError>() {
        return too_large();
    }
    Problem::invalid("body", format!("it broke off: {error}"))
}

/// `as_file`: the same may come as a file, which may be longer.
fn too_large(limit: usize, as_file: bool) -> Problem {
    let instead = if as_file { "a longer list comes as text/csv" } else { "send less at once" };
    let detail = format!("the body is longer than {limit} bytes; {instead}");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
}

fn too_slow(limit: Duration) -> Problem {
    let detail = format!("the request was not there in whole after {} s; nothing was done", limit.as_secs());
    Problem::new(StatusCode::REQUEST_TIMEOUT, "request_too_slow", detail)
}

fn out_of_time(limit: Duration, is_write: bool) -> Problem {
    let what = if is_write {
        "what was asked for goes on; look what became of it, or ask again with the same Idempotency-Key"
    } else {
        "it was given up; ask for less, or again later"
    };
    let detail = format!("it took longer than {} s; {what}", limit.as_secs());
    Problem::new(StatusCode::GATEWAY_TIMEOUT, "out_of_time", detail)
}
