//! What a campaign would do, and what it did: the dry run, what stands in the way, the report.
//!
//! A list is written into a file before its first byte is sent. So it is whole, or a problem; and a reader that takes its
//! time holds neither a transaction nor memory.

use std::fs::File;
use std::future::Future;
use std::io::{self, BufWriter, Read, Seek, Write};

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::try_unfold;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::CampaignInPath;
use crate::api::Shared;
use crate::api::call::{CSV, no_room};
use crate::api::extract::{Asked, Id};
use crate::api::problem::{Answer, Problem};
use crate::domain::campaign::cohort::Blocker;
use crate::domain::campaign::dry_run::DryRun;
use crate::domain::campaign::report::ReportRow;
use crate::domain::campaign::{CampaignId, CampaignView};
use crate::export::{BlockerWriter, Format, ReportWriter, Rows as _, Summary};
use crate::store::StoreResult;

/// All of it looks at every account.
pub fn read_whole() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(show_dry_run)).routes(routes!(list_blockers)).routes(routes!(show_report))
}

/// Show what a campaign would do if it were started now. It changes nothing.
///
/// How many accounts, the sums of their final invoices, the addresses, what stands in the way, and how long it takes. Of
/// a campaign that was started: what was agreed to then.
#[utoipa::path(
    get,
    path = "/api/v1/campaigns/{id}/dry-run",
    tag = "campaigns",
    params(CampaignInPath),
    responses((
        status = 200,
        description = "The dry run.",
        body = DryRun,
        headers(("ETag" = String, description = "The digest, for `If-Match` with the approval and the start."))
    ))
)]
async fn show_dry_run(State(api): State<Shared>, Id(campaign): Id) -> Answer<Response> {
    let dry_run = api.store.dry_run(CampaignId(campaign)).await?;
    let etag = format!("\"{}\"", dry_run.digest);
    Ok(([(header::ETAG, etag)], Json(dry_run)).into_response())
}

/// In which form.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct FormatAsked {
    /// `csv`, unless the `Accept` header asks for `application/json` and not for `text/csv`.
    #[param(inline)]
    format: Option<FormatName>,
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum FormatName {
    Csv,
    Json,
}

impl FormatAsked {
    fn format(&self, headers: &HeaderMap) -> Format {
        match self.format {
            Some(FormatName::Csv) => Format::Csv,
            Some(FormatName::Json) => Format::Json,
            None => accepted(headers),
        }
    }
}

fn accepted(headers: &HeaderMap) -> Format {
    let lines = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let types: Vec<_> =
        lines.flat_map(|line| line.split(',')).map(|kind| kind.split(';').next().unwrap_or_default().trim()).collect();
    let names = |wanted: &str| types.iter().any(|kind| kind.eq_ignore_ascii_case(wanted));
    if names("application/json") && !names(CSV) { Format::Json } else { Format::Csv }
}

/// What stands in the way of a campaign's accounts, as a document.
#[derive(Serialize, ToSchema)]
#[schema(as = CampaignBlockers)]
struct BlockersDocument {
    campaign_id: CampaignId,
    blockers: Vec<Blocker>,
}

/// What became of a campaign's accounts, as a document.
#[derive(Serialize, ToSchema)]
#[schema(as = CampaignReport)]
struct ReportDocument {
    campaign: CampaignView,
    rows: Vec<ReportRow>,
    summary: Summary,
}

/// List all that stands in the way of a campaign's accounts, in the order of the cohort.
///
/// CSV with the columns `account_number,kind,effect,detail`, or JSON. An account may be there more than once.
#[utoipa::path(
    get,
    path = "/api/v1/campaigns/{id}/blockers",
    tag = "campaigns",
    params(CampaignInPath, FormatAsked),
    responses((status = 200, description = "All blockers.", content(
        (String = "text/csv"),
        (BlockersDocument = "application/json"),
    )))
)]
async fn list_blockers(
    State(api): State<Shared>,
    Id(campaign): Id,
    Asked(asked): Asked<FormatAsked>,
    headers: HeaderMap,
) -> Answer<Response> {
    let (campaign, format) = (CampaignId(campaign), asked.format(&headers));
    // An unknown one is a problem, and not an empty list.
    api.store.campaign(campaign).await?;
    let (sender, mut chunks) = mpsc::channel::<Vec<Blocker>>(CHUNKS_AHEAD);
    let spooled = spooled(api.store.blockers(campaign, sender), move |out| {
        let mut writer = BlockerWriter::begin(format, campaign, out)?;
        while let Some(chunk) = chunks.blocking_recv() {
            writer.rows(&chunk, out)?;
        }
        writer.end(out)
    });
    let (file, ()) = spooled.await?;
    answered(file, format, &format!("campaign-{campaign}-blockers"))
}

/// The header with the sentence that says how a report adds up.
const REPORT_SUMMARY: HeaderName = HeaderName::from_static("x-report-summary");

/// Report what became of each account of a campaign, and how it adds up to what was agreed to.
///
/// CSV, a row for each account in the order of the cohort, or JSON with a `summary` behind the rows. Of a campaign that
/// is under way, it is how things are at this moment. Accounts that an aborted campaign had not come to stay `waiting` for
/// ever: they never became events.
#[utoipa::path(
    get,
    path = "/api/v1/campaigns/{id}/report",
    tag = "campaigns",
    params(CampaignInPath, FormatAsked),
    responses((
        status = 200,
        description = "The report.",
        content((String = "text/csv"), (ReportDocument = "application/json")),
        headers(("X-Report-Summary" = String, description = "How it adds up, in a sentence."))
    ))
)]
async fn show_report(
    State(api): State<Shared>,
    Id(campaign): Id,
    Asked(asked): Asked<FormatAsked>,
    headers: HeaderMap,
) -> Answer<Response> {
    let (campaign, format) = (CampaignId(campaign), asked.format(&headers));
    let view = api.store.campaign(campaign).await?;
    let (sender, mut chunks) = mpsc::channel::<Vec<ReportRow>>(CHUNKS_AHEAD);
    let spooled = spooled(api.store.report(campaign, sender), move |out| {
        let mut writer = ReportWriter::begin(format, &view, out)?;
        while let Some(chunk) = chunks.blocking_recv() {
            writer.rows(&chunk, out)?;
        }
        writer.end(out)
    });
    let (file, summary) = spooled.await?;
    let mut response = answered(file, format, &format!("campaign-{campaign}-report"))?;
    if let Ok(sentence) = HeaderValue::from_str(&summary.sentence) {
        response.headers_mut().insert(REPORT_SUMMARY, sentence);
    }
    Ok(response)
}

/// How many chunks of rows wait for the disk.
const CHUNKS_AHEAD: usize = 4;

/// How much of a file is read at once, in bytes.
const PART: usize = 64 * 1024;

/// Writes what `reading` sends into a file without a name, in a thread that may wait for the disk; with what `write`
/// answers.
async fn spooled<T: Send + 'static>(
    reading: impl Future<Output = StoreResult<()>>,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<T> + Send + 'static,
) -> Answer<(File, T)> {
    let writing = spawn_blocking(move || {
        let mut out = BufWriter::with_capacity(PART, tempfile::tempfile()?);
        let end = write(&mut out)?;
        out.flush()?;
        let mut file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok::<_, io::Error>((file, end))
    });
    let (read, written) = tokio::join!(reading, writing);
    // What could not be read is no report, whatever was written.
    read?;
    match written {
        Ok(written) => written.map_err(|error| no_room(&error)),
        Err(_) => Err(Problem::bug()),
    }
}

/// A file as an answer, read as fast as it is taken.
fn answered(file: File, format: Format, name: &str) -> Answer<Response> {
    let length = file.metadata().map_err(|error| no_room(&error))?.len();
    let parts = try_unfold(file, |mut file| async move {
        let read = spawn_blocking(move || {
            let mut part = vec![0; PART];
            let length = file.read(&mut part)?;
            part.truncate(length);
            Ok::<_, io::Error>((Bytes::from(part), file))
        });
        let (part, file) = read.await.map_err(io::Error::other)??;
        Ok::<_, io::Error>((!part.is_empty()).then_some((part, file)))
    });
    let headers = [
        (header::CONTENT_TYPE, format.content_type().to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.{}\"", format.as_str())),
    ];
    Ok((headers, Body::from_stream(parts)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_is_answered_unless_json_alone_is_asked_for() {
        for (accept, format) in [
            (&[][..], Format::Csv),
            (&["*/*"], Format::Csv),
            (&["application/json"], Format::Json),
            (&["text/html", "Application/JSON;q=0.9, */*;q=0.1"], Format::Json),
            (&["application/json, text/csv"], Format::Csv),
            (&["application/jsonx"], Format::Csv),
        ] {
            let mut headers = HeaderMap::new();
            for line in accept {
                headers.append(header::ACCEPT, line.parse().unwrap());
            }
            assert_eq!(accepted(&headers), format, "{accept:?}");
        }
    }
}
