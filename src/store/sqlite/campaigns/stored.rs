//! A campaign's row, and the campaign as it is shown.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::super::failure::{failure, unreadable};
use super::super::rows::{cursor, get, json, limit, optional_word, word};
use super::super::settings::settings;
use super::counts;
use crate::domain::actor::{Actor, Source};
use crate::domain::campaign::dry_run::DryRun;
use crate::domain::campaign::template::TemplateId;
use crate::domain::campaign::{CampaignId, CampaignView, Facts, PauseCause, State, Terms};
use crate::domain::refusal::Refusal;
use crate::domain::settings::Settings;
use crate::domain::window::{Window, parse_holidays};
use crate::store::campaigns::CampaignFilter;
use crate::store::like::containing;
use crate::store::{Page, StoreResult};

/// What the row holds.
pub struct Stored {
    pub id: CampaignId,
    pub name: String,
    pub state: State,
    pub pause_cause: Option<PauseCause>,
    pub pause_note: Option<String>,
    pub terms: Terms,
    pub filter: Option<String>,
    pub failures_max: i32,
    pub accounts: i64,
    pub fingerprint: String,
    pub revision: i32,
    pub approved_revision: Option<i32>,
    pub approved_at: Option<DateTime<Utc>>,
    pub approved_by: Option<String>,
    pub agreed: Option<DryRun>,
    pub enlisted: i64,
    pub canary_passed: bool,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    pub changed_by: BTreeSet<String>,
    pub started_at: Option<DateTime<Utc>>,
    pub started_by: Option<String>,
    pub started_from: Option<String>,
    pub ended_at: Option<DateTime<Utc>>,
    pub ended_by: Option<String>,
    pub ended_from: Option<String>,
    pub template_id: Option<TemplateId>,
    pub tick_at: Option<DateTime<Utc>>,
}

impl Stored {
    fn of(row: &SqliteRow) -> StoreResult<Self> {
        let changed_by: &str = get(row, "changed_by")?;
        Ok(Self {
            id: CampaignId(get(row, "id")?),
            name: get(row, "name")?,
            state: word(row, "state", State::parse)?,
            pause_cause: optional_word(row, "pause_cause", PauseCause::parse)?,
            pause_note: get(row, "pause_note")?,
            terms: terms(get(row, "terms")?)?,
            filter: get(row, "filter")?,
            failures_max: get(row, "failures_max")?,
            accounts: get(row, "accounts")?,
            fingerprint: get(row, "fingerprint")?,
            revision: get(row, "revision")?,
            approved_revision: get(row, "approved_revision")?,
            approved_at: get(row, "approved_at")?,
            approved_by: get(row, "approved_by")?,
            // None where a newer program wrote it in a form of its own.
            agreed: get::<Option<&str>, _>(row, "agreed")?.and_then(|agreed| serde_json::from_str(agreed).ok()),
            enlisted: get(row, "enlisted")?,
            canary_passed: get(row, "canary_passed")?,
            created_at: get(row, "created_at")?,
            created_by: get(row, "created_by")?,
            changed_by: serde_json::from_str(changed_by).map_err(|error| unreadable(&error.to_string()))?,
            started_at: get(row, "started_at")?,
            started_by: get(row, "started_by")?,
            started_from: get(row, "started_from")?,
            ended_at: get(row, "ended_at")?,
            ended_by: get(row, "ended_by")?,
            ended_from: get(row, "ended_from")?,
            template_id: get::<Option<i64>, _>(row, "template_id")?.map(TemplateId),
            tick_at: get(row, "tick_at")?,
        })
    }

    /// What commands are decided from. `failed`: how many of its events have.
    pub fn facts(&self, settings: &Settings, failed: i64) -> Facts {
        Facts {
            id: self.id,
            state: self.state,
            pause_cause: self.pause_cause,
            accounts: self.accounts,
            revision: self.revision,
            approved_revision: self.approved_revision,
            made_by: self.changed_by.iter().cloned().collect(),
            failed,
            approval_over: settings.campaign_approval_over,
        }
    }

    /// In whose name its members become events.
    pub fn starter(&self) -> Actor {
        self.actor(self.started_by.as_ref(), self.started_from.as_deref())
    }

    /// In whose name its events are cancelled.
    pub fn ender(&self) -> Actor {
        self.actor(self.ended_by.as_ref(), self.ended_from.as_deref())
    }

    fn actor(&self, name: Option<&String>, from: Option<&str>) -> Actor {
        // A source of a newer program's is no reason to fail.
        Actor::new(name.unwrap_or(&self.created_by), from.and_then(Source::parse).unwrap_or(Source::Worker))
    }
}

pub fn terms(json: &str) -> StoreResult<Terms> {
    serde_json::from_str(json).map_err(|error| unreadable(&format!("the terms of a campaign: {error}")))
}

/// When it may disconnect.
pub fn window(terms: &Terms, settings: &Settings) -> StoreResult<Option<Window>> {
    let Some(text) = &terms.window else { return Ok(None) };
    let holidays = parse_holidays(&terms.holidays).map_err(|error| unreadable(&error))?;
    Window::parse(text, settings.company_zone, &holidays).map_err(|error| unreadable(&error))
}

/// # Errors
/// [`Refusal::UnknownCampaign`].
pub async fn load(connection: &mut SqliteConnection, campaign: CampaignId) -> StoreResult<Stored> {
    let found = load_all(connection, &[campaign.0]).await?.pop();
    found.ok_or_else(|| Refusal::UnknownCampaign { campaign }.into())
}

/// In the order asked.
async fn load_all(connection: &mut SqliteConnection, ids: &[i64]) -> StoreResult<Vec<Stored>> {
    let rows = sqlx::query(
        "/* campaigns: load */ select c.id, c.name, c.state, c.pause_cause, c.pause_note, c.terms, c.filter,
                c.failures_max, c.accounts, c.fingerprint, c.revision, c.approved_revision, c.approved_at, c.approved_by,
                c.agreed, c.enlisted, c.canary_passed, c.created_at, c.created_by, c.changed_by, c.started_at,
                c.started_by, c.started_from, c.ended_at, c.ended_by, c.ended_from, c.template_id, c.tick_at
           from json_each(?1) as asked cross join campaigns c on c.id = asked.value",
    )
    .bind(json(ids)?)
    .fetch_all(connection)
    .await
    .map_err(failure)?;
    let rows = rows.iter().map(|row| Ok((get(row, "id")?, Stored::of(row)?)));
    let mut rows = rows.collect::<StoreResult<HashMap<i64, Stored>>>()?;
    Ok(ids.iter().filter_map(|id| rows.remove(id)).collect())
}

/// One more than the page has.
pub async fn found(connection: &mut SqliteConnection, filter: &CampaignFilter, page: &Page) -> StoreResult<Vec<i64>> {
    sqlx::query_scalar(
        "/* campaigns: list */ select id from campaigns
          where id < ?1
            and (?2 is null or state = ?2)
            and (?3 is null or name like ?3 escape '\\')
            and (?4 is null or template_id = ?4)
          order by id desc limit ?5",
    )
    .bind(cursor(page)?.unwrap_or(i64::MAX))
    .bind(filter.state.map(State::as_str))
    .bind(filter.search.as_deref().map(containing))
    .bind(filter.template.map(|template| template.0))
    .bind(limit(page))
    .fetch_all(connection)
    .await
    .map_err(failure)
}

/// In a transaction, so that it is one view.
pub async fn view(
    connection: &mut SqliteConnection,
    campaign: CampaignId,
    now: DateTime<Utc>,
) -> StoreResult<CampaignView> {
    let found = views(connection, &[campaign.0], now).await?.pop();
    found.ok_or_else(|| Refusal::UnknownCampaign { campaign }.into())
}

/// In the order asked. In a transaction.
pub async fn views(
    connection: &mut SqliteConnection,
    ids: &[i64],
    now: DateTime<Utc>,
) -> StoreResult<Vec<CampaignView>> {
    let settings = settings(connection).await?;
    let stored = load_all(connection, ids).await?;
    let mut counted = counts::of(connection, ids).await?;
    let view = |stored: Stored| {
        let needs_approval = stored.facts(&settings, 0).needs_approval();
        let is_approved = stored.approved_revision == Some(stored.revision);
        let (counts, totals) = counted.remove(&stored.id).unwrap_or_default();
        CampaignView {
            id: stored.id,
            name: stored.name,
            state: stored.state,
            pause_cause: stored.pause_cause,
            pause_note: stored.pause_note,
            counts,
            totals,
            terms: stored.terms,
            filter: stored.filter,
            revision: stored.revision,
            needs_approval,
            approved_by: stored.approved_by.filter(|_| is_approved),
            approved_at: stored.approved_at.filter(|_| is_approved),
            agreed: stored.agreed,
            created_at: stored.created_at,
            created_by: stored.created_by,
            started_at: stored.started_at,
            started_by: stored.started_by,
            ended_at: stored.ended_at,
            template_id: stored.template_id,
            tick_at: stored.tick_at,
            as_of: now,
        }
    };
    Ok(stored.into_iter().map(view).collect())
}
