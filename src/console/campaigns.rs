//! Campaigns: the list, and each with how far it is, its terms, its log, and what to do next.

pub mod change;
pub mod commands;
pub mod dry_run;
mod filled;
pub mod live;
pub mod new;
mod told;
mod which;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use chrono_tz::Tz;
use serde::Deserialize;

use self::told::{Told, state_name};
use super::Shared;
use super::gate::Visitor;
use super::lists::{self, numbered_page_after, some};
use super::reader::{Moment, Reader};
use super::words;
use crate::api::campaigns::{blockers_file, report_file};
use crate::api::problem::{Answer, Problem};
use crate::domain::campaign::{CampaignId, CampaignView, State as CampaignState};
use crate::domain::token::Role;
use crate::export::Format;
use crate::store::campaigns::CampaignFilter;

/// Which campaigns, as the form of the list asks. What is empty is not asked for.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub struct ListAsked {
    search: String,
    state: String,
    after: String,
}

impl ListAsked {
    fn link(&self, after: &str) -> String {
        let fields = [("search", self.search.as_str()), ("state", &self.state), ("after", after)];
        lists::link("/campaigns", &fields)
    }
}

struct Row {
    id: i64,
    name: String,
    state: &'static str,
    accounts: String,
    done: String,
    failed: String,
    invoiced: String,
    made_at: Moment,
    made_by: String,
}

impl Row {
    fn of(campaign: CampaignView, zone: Tz, reader: Reader) -> Self {
        let (counts, is_begun) = (campaign.counts, campaign.state.is_begun());
        let where_any = |is_any: bool, text: String| if is_any { text } else { String::new() };
        Self {
            id: campaign.id.0,
            state: state_name(campaign.state),
            accounts: reader.count(counts.accounts),
            done: where_any(is_begun, reader.count(counts.done())),
            failed: where_any(counts.failed > 0, reader.count(counts.failed)),
            invoiced: where_any(campaign.totals.invoices > 0, reader.sums(&campaign.totals.invoiced)),
            made_at: reader.moment(campaign.created_at, zone),
            made_by: campaign.created_by,
            name: campaign.name,
        }
    }
}

#[derive(Template)]
#[template(path = "campaigns.html")]
struct ListPart {
    zone: &'static str,
    states: Vec<(&'static str, &'static str)>,
    is_filtered: bool,
    is_operator: bool,
    rows: Vec<Row>,
    next: Option<String>,
    first: Option<String>,
    asked: ListAsked,
}

pub async fn list(State(console): State<Shared>, visitor: Visitor, Query(asked): Query<ListAsked>) -> Answer<Response> {
    let zone = console.store.settings().await?.company_zone;
    let filter =
        CampaignFilter { state: CampaignState::parse(&asked.state), search: some(&asked.search)?, template: None };
    let page = numbered_page_after(&asked.after)?;
    let campaigns = console.store.campaigns(&filter, &page).await.map_err(words::problem)?;
    let part = ListPart {
        zone: zone.name(),
        states: CampaignState::ALL.into_iter().map(|state| (state.as_str(), state_name(state))).collect(),
        is_filtered: filter != CampaignFilter::default() || page.after.is_some(),
        is_operator: visitor.may(Role::Operator),
        next: campaigns.next_cursor.as_deref().map(|after| asked.link(after)),
        first: page.after.is_some().then(|| asked.link("")),
        rows: campaigns.items.into_iter().map(|one| Row::of(one, zone, visitor.asked.reader)).collect(),
        asked,
    };
    visitor.view("Campaigns", &part)
}

/// The campaign in a path.
fn id_of(text: &str) -> Answer<CampaignId> {
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "unknown_campaign", "There is no such campaign.");
    text.parse().map(CampaignId).map_err(|_| unknown())
}

/// What may be done with a campaign, by its state and who looks.
#[expect(clippy::struct_excessive_bools, reason = "each is a control that is shown or not")]
struct May {
    change: bool,
    start: bool,
    approve: bool,
    pause: bool,
    resume: bool,
    abort: bool,
    retry: bool,
}

impl May {
    fn of(campaign: &CampaignView, visitor: &Visitor) -> Self {
        let (state, is_operator) = (campaign.state, visitor.may(Role::Operator));
        let is_approved = campaign.approved_by.is_some();
        Self {
            change: is_operator && campaign.revise().is_ok(),
            start: is_operator && !state.is_begun() && (is_approved || !campaign.needs_approval),
            approve: visitor.may(Role::Approver) && !state.is_begun() && campaign.needs_approval && !is_approved,
            pause: is_operator && state == CampaignState::Running,
            resume: is_operator && state == CampaignState::Paused,
            abort: is_operator && !state.is_over(),
            retry: is_operator && campaign.counts.failed > 0 && state.is_begun() && state != CampaignState::Aborted,
        }
    }
}

/// What changes while it runs.
#[derive(Template)]
#[template(path = "campaign_progress.html")]
struct ProgressPart {
    id: i64,
    in_words: &'static str,
    is_running: bool,
    is_begun: bool,
    note: Option<String>,
    done: i64,
    accounts: i64,
    done_shown: String,
    accounts_shown: String,
    percent: i64,
    /// How fast it goes, where that is followed.
    rate: Option<String>,
    so_far: String,
    failed: i64,
    queued: String,
    invoices: String,
    addresses: String,
}

impl ProgressPart {
    fn of(campaign: &CampaignView, reader: Reader) -> Self {
        let (counts, told) = (&campaign.counts, Told { campaign, reader });
        let is_stopped = matches!(campaign.state, CampaignState::Paused | CampaignState::Aborted);
        Self {
            id: campaign.id.0,
            in_words: campaign.state.in_words(),
            is_running: campaign.state == CampaignState::Running,
            is_begun: campaign.state.is_begun(),
            note: campaign.pause_note.clone().filter(|_| is_stopped),
            done: counts.done(),
            accounts: counts.accounts,
            done_shown: reader.count(counts.done()),
            accounts_shown: reader.count(counts.accounts),
            percent: counts.done() * 100 / counts.accounts.max(1),
            rate: None,
            so_far: told.in_short(),
            failed: counts.failed,
            queued: reader.count(counts.queued),
            invoices: told.invoices(),
            addresses: reader.count(campaign.totals.addresses_released),
        }
    }
}

struct LogRow {
    at: Moment,
    message: String,
    actor: String,
    source: String,
}

#[derive(Template)]
#[template(path = "campaign.html")]
struct CampaignPart {
    id: i64,
    name: String,
    progress: ProgressPart,
    may: May,
    is_begun: bool,
    from: String,
    terms: Vec<(&'static str, String)>,
    facts: Vec<(&'static str, String)>,
    next_step: String,
    zone: &'static str,
    log: Vec<LogRow>,
    more_log: Option<String>,
    notice: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ShowAsked {
    /// What was just done.
    done: String,
    /// From here on in the log.
    after: String,
}

pub async fn show(
    State(console): State<Shared>,
    visitor: Visitor,
    Path(id): Path<String>,
    Query(asked): Query<ShowAsked>,
) -> Answer<Response> {
    let id = id_of(&id)?;
    let campaign = console.store.campaign(id).await.map_err(words::problem)?;
    let log = console.store.campaign_log(id, &numbered_page_after(&asked.after)?).await.map_err(words::problem)?;
    let zone = console.store.settings().await?.company_zone;
    let reader = visitor.asked.reader;
    let (told, may) = (Told { campaign: &campaign, reader }, May::of(&campaign, &visitor));
    let part = CampaignPart {
        id: id.0,
        progress: ProgressPart::of(&campaign, reader),
        is_begun: campaign.state.is_begun(),
        from: campaign.filter.as_ref().map_or("a list".into(), |filter| format!("what matches {filter}")),
        terms: told.terms(),
        facts: told.facts(zone),
        next_step: told.next_step(&may),
        zone: zone.name(),
        more_log: log.next_cursor.as_deref().map(|after| format!("/campaigns/{id}?after={after}#log")),
        log: log
            .items
            .into_iter()
            .map(|entry| LogRow {
                at: reader.moment(entry.at, zone),
                message: entry.message,
                actor: entry.actor,
                source: entry.source,
            })
            .collect(),
        notice: commands::notice(&asked.done, &campaign, reader),
        name: campaign.name.clone(),
        may,
    };
    visitor.view(&format!("Campaign {id} {}", part.name), &part)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct FileAsked {
    format: String,
}

impl FileAsked {
    fn format(&self) -> Format {
        Format::parse(&self.format).unwrap_or(Format::Csv)
    }
}

/// What became of each account, as a file.
pub async fn report(
    State(console): State<Shared>,
    Path(id): Path<String>,
    Query(asked): Query<FileAsked>,
) -> Answer<Response> {
    report_file(&*console.store, id_of(&id)?, asked.format()).await
}

/// All that stands in the way, as a file.
pub async fn blockers(
    State(console): State<Shared>,
    Path(id): Path<String>,
    Query(asked): Query<FileAsked>,
) -> Answer<Response> {
    blockers_file(&*console.store, id_of(&id)?, asked.format()).await
}

/// `7 (leavers)`, for sentences.
fn named(campaign: &CampaignView) -> String {
    format!("{} ({})", campaign.id, campaign.name)
}
