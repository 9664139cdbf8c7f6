//! What a person does with a campaign: pause, resume, abort and retry on a page that names it; approve and start on the
//! page of its dry run, with the digest of what was seen.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::told::{Told, accounts};
use super::{CampaignView, dry_run, id_of, named};
use crate::api::problem::{Answer, Problem};
use crate::console::form::KEY_FIELD;
use crate::console::gate::{Ours, Visitor};
use crate::console::reader::Reader;
use crate::console::{Shared, words};
use crate::domain::campaign::{Command, State as CampaignState};
use crate::domain::text::parse_text;
use crate::store::StoreError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pause,
    Resume,
    Abort,
    Retry,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Pause, Self::Resume, Self::Abort, Self::Retry];

    fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Abort => "abort",
            Self::Retry => "retry",
        }
    }

    fn of(text: &str) -> Answer<Self> {
        let unknown = || Problem::new(StatusCode::NOT_FOUND, "unknown_route", "There is nothing here.");
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(unknown)
    }

    fn command(self, note: Option<String>) -> Command {
        match self {
            Self::Pause => Command::Pause { note },
            Self::Resume => Command::Resume,
            Self::Abort => Command::Abort { note },
            Self::Retry => Command::Retry,
        }
    }

    fn means(self, campaign: &CampaignView, reader: Reader) -> String {
        let counts = &campaign.counts;
        let left = counts.accounts - counts.done();
        match self {
            Self::Pause => {
                format!("Nothing more of it begins until somebody resumes it; {} are left.", accounts(left, reader))
            }
            Self::Resume => format!("It goes on where it stopped, with {} left.", accounts(left, reader)),
            Self::Abort => format!(
                "It ends for good: {} will not begin, and keep their service. What is disconnected stays disconnected.",
                accounts(left, reader)
            ),
            Self::Retry => format!("{} that failed are tried again.", accounts(counts.failed, reader)),
        }
    }
}

#[derive(Template)]
#[template(path = "campaign_command.html")]
struct CommandPart {
    id: i64,
    name: String,
    kind: &'static str,
    title: String,
    in_words: &'static str,
    so_far: String,
    means: String,
    takes_reason: bool,
    reason: String,
    error: Option<String>,
    form_key: String,
    key_field: &'static str,
}

fn shown(
    kind: Kind,
    campaign: &CampaignView,
    reason: &str,
    error: Option<String>,
    visitor: &Visitor,
) -> Answer<Response> {
    let reader = visitor.asked.reader;
    let status = if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let part = CommandPart {
        id: campaign.id.0,
        name: campaign.name.clone(),
        kind: kind.as_str(),
        title: words::capital(kind.as_str()),
        in_words: campaign.state.in_words(),
        so_far: Told { campaign, reader }.in_short(),
        means: kind.means(campaign, reader),
        takes_reason: matches!(kind, Kind::Pause | Kind::Abort),
        reason: reason.to_owned(),
        error,
        form_key: visitor.form_key()?,
        key_field: KEY_FIELD,
    };
    let view = visitor.view(&format!("{} campaign {}", part.title, campaign.id), &part)?;
    Ok((status, view).into_response())
}

pub async fn ask(
    State(console): State<Shared>,
    visitor: Visitor,
    Path((id, kind)): Path<(String, String)>,
) -> Answer<Response> {
    let kind = Kind::of(&kind)?;
    let campaign = console.store.campaign(id_of(&id)?).await.map_err(words::problem)?;
    shown(kind, &campaign, "", None, &visitor)
}

pub async fn confirm(
    State(console): State<Shared>,
    visitor: Visitor,
    Path((id, kind)): Path<(String, String)>,
    Ours(form): Ours,
) -> Answer<Response> {
    let (kind, id) = (Kind::of(&kind)?, id_of(&id)?);
    let reason = form.get("reason").unwrap_or_default();
    let note = if reason.is_empty() { Ok(None) } else { parse_text(reason).map(Some) };
    let error = match note {
        Ok(note) => match console.store.command_campaign(id, &kind.command(note), &visitor.actor()).await {
            Ok(_) => return Ok(visitor.leads_to(&format!("/campaigns/{id}?done={}", kind.as_str()))),
            Err(StoreError::Refused(refusal)) => words::refusal(&refusal),
            Err(error) => return Err(words::problem(error)),
        },
        Err(error) => error,
    };
    let campaign = console.store.campaign(id).await.map_err(words::problem)?;
    shown(kind, &campaign, reason, Some(error), &visitor)
}

/// Approve it as its dry run was shown.
pub async fn approve(
    State(console): State<Shared>,
    visitor: Visitor,
    Path(id): Path<String>,
    Ours(form): Ours,
) -> Answer<Response> {
    let (id, digest) = (id_of(&id)?, seen(form.get("digest"))?);
    let approved = console.store.approve_campaign(id, Some(&digest), &visitor.actor()).await;
    agreed(&console, &visitor, id, approved.map(|_| ()), "approve").await
}

/// Start it as its dry run was shown.
pub async fn start(
    State(console): State<Shared>,
    visitor: Visitor,
    Path(id): Path<String>,
    Ours(form): Ours,
) -> Answer<Response> {
    let (id, digest) = (id_of(&id)?, seen(form.get("digest"))?);
    let started = console.store.start_campaign(id, Some(&digest), &visitor.actor()).await;
    agreed(&console, &visitor, id, started.map(|_| ()), "start").await
}

/// Nobody agrees to what was not shown.
fn seen(digest: Option<&str>) -> Answer<String> {
    digest.map(str::to_owned).ok_or_else(|| {
        let detail = "The form does not say what it showed, so nothing was done. Load the dry run again.";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
    })
}

async fn agreed(
    console: &Shared,
    visitor: &Visitor,
    id: crate::domain::campaign::CampaignId,
    done: Result<(), StoreError>,
    what: &str,
) -> Answer<Response> {
    match done {
        Ok(()) => Ok(visitor.leads_to(&format!("/campaigns/{id}?done={what}"))),
        Err(StoreError::Refused(refusal)) => dry_run::shown(console, visitor, id, Some(&refusal)).await,
        Err(error) => Err(words::problem(error)),
    }
}

/// What was just done, where it is so still.
pub fn notice(done: &str, campaign: &CampaignView, reader: Reader) -> Option<String> {
    let (name, counts) = (named(campaign), &campaign.counts);
    let left = accounts(counts.accounts - counts.done(), reader);
    match (done, campaign.state) {
        ("make", CampaignState::Draft | CampaignState::AwaitingApproval) => {
            Some(format!("Campaign {name} is made, of {}. It does nothing yet.", accounts(counts.accounts, reader)))
        }
        ("change", CampaignState::Draft | CampaignState::AwaitingApproval) => {
            Some(format!("Campaign {name} is changed. An approval that it had is void."))
        }
        ("approve", state) if !state.is_begun() => Some(format!("Campaign {name} is approved. It may be started.")),
        ("start" | "resume", CampaignState::Running) => Some(format!("Campaign {name} is running, with {left} left.")),
        ("start" | "resume", CampaignState::Completed) => Some(format!("Campaign {name} is completed.")),
        ("pause", CampaignState::Paused) => {
            Some(format!("Campaign {name} is paused. Nothing more of it begins; {left} are left."))
        }
        ("abort", CampaignState::Aborted) => {
            Some(format!("Campaign {name} is aborted. What had not begun never will."))
        }
        ("retry", _) => Some(format!("What failed of campaign {name} is tried again.")),
        _ => None,
    }
}
