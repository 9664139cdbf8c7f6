//! A campaign's row, and the campaign as it is shown.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::counts::{self, Counted};
use crate::domain::actor::{Actor, Source};
use crate::domain::campaign::dry_run::DryRun;
use crate::domain::campaign::template::TemplateId;
use crate::domain::campaign::{CampaignId, CampaignView, Facts, PauseCause, State, Terms};
use crate::domain::filter::Filter;
use crate::domain::refusal::Refusal;
use crate::domain::settings::Settings;
use crate::domain::window::{Window, parse_holidays};
use crate::store::campaigns::CampaignFilter;
use crate::store::like;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::installation;
use crate::store::postgres::rows::{id_cursor, unreadable};
use crate::store::{Page, Paged, StoreResult};

/// What the row holds.
pub(super) struct Stored {
    pub(super) id: CampaignId,
    pub(super) name: String,
    pub(super) state: State,
    pub(super) pause_cause: Option<PauseCause>,
    pub(super) pause_note: Option<String>,
    pub(super) terms: Terms,
    pub(super) filter: Option<String>,
    pub(super) failures_max: i32,
    pub(super) accounts: i64,
    pub(super) fingerprint: String,
    pub(super) revision: i32,
    pub(super) approved_revision: Option<i32>,
    pub(super) approved_at: Option<DateTime<Utc>>,
    pub(super) approved_by: Option<String>,
    /// As JSON.
    pub(super) agreed: Option<String>,
    pub(super) enlisted: i64,
    pub(super) canary_passed: bool,
    pub(super) tried_before: i64,
    pub(super) troubled_before: i64,
    pub(super) pace_at: Option<DateTime<Utc>>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) created_by: String,
    pub(super) changed_by: BTreeSet<String>,
    pub(super) started_at: Option<DateTime<Utc>>,
    pub(super) started_by: Option<String>,
    pub(super) started_from: Option<String>,
    pub(super) ended_at: Option<DateTime<Utc>>,
    pub(super) ended_by: Option<String>,
    pub(super) ended_from: Option<String>,
    pub(super) template_id: Option<TemplateId>,
    pub(super) tick_at: Option<DateTime<Utc>>,
}

/// The columns of [`Stored`]: what is asked before them, and what comes after.
macro_rules! stored_sql {
    ($name:literal, $rest:literal) => {
        concat!(
            "/* ",
            $name,
            " */
             select c.id, c.name, c.state, c.pause_cause, c.pause_note, c.terms, c.filter, c.failures_max, c.accounts,
                    c.fingerprint, c.revision, c.approved_revision, c.approved_at, c.approved_by, c.agreed, c.enlisted,
                    c.canary_passed, c.tried_before, c.troubled_before, c.pace_at, c.created_at, c.created_by,
                    c.changed_by, c.started_at, c.started_by, c.started_from, c.ended_at, c.ended_by, c.ended_from,
                    c.template_id, c.tick_at
               from campaigns c ",
            $rest
        )
    };
}
pub(super) use stored_sql;

impl Stored {
    pub(super) fn of(row: &PgRow) -> Result<Self, Failure> {
        let (state, changed_by): (&str, &str) = (row.try_get("state")?, row.try_get("changed_by")?);
        let pause_cause: Option<&str> = row.try_get("pause_cause")?;
        let cause = |text| PauseCause::parse(text).ok_or_else(|| unreadable("cause of a pause", text));
        Ok(Self {
            id: CampaignId(row.try_get("id")?),
            name: row.try_get("name")?,
            state: State::parse(state).ok_or_else(|| unreadable("campaign state", state))?,
            pause_cause: pause_cause.map(cause).transpose()?,
            pause_note: row.try_get("pause_note")?,
            terms: terms(row.try_get("terms")?)?,
            filter: row.try_get("filter")?,
            failures_max: row.try_get("failures_max")?,
            accounts: row.try_get("accounts")?,
            fingerprint: row.try_get("fingerprint")?,
            revision: row.try_get("revision")?,
            approved_revision: row.try_get("approved_revision")?,
            approved_at: row.try_get("approved_at")?,
            approved_by: row.try_get("approved_by")?,
            agreed: row.try_get("agreed")?,
            enlisted: row.try_get("enlisted")?,
            canary_passed: row.try_get("canary_passed")?,
            tried_before: row.try_get("tried_before")?,
            troubled_before: row.try_get("troubled_before")?,
            pace_at: row.try_get("pace_at")?,
            created_at: row.try_get("created_at")?,
            created_by: row.try_get("created_by")?,
            changed_by: serde_json::from_str(changed_by).map_err(|_| unreadable("list of makers", changed_by))?,
            started_at: row.try_get("started_at")?,
            started_by: row.try_get("started_by")?,
            started_from: row.try_get("started_from")?,
            ended_at: row.try_get("ended_at")?,
            ended_by: row.try_get("ended_by")?,
            ended_from: row.try_get("ended_from")?,
            template_id: row.try_get::<Option<i64>, _>("template_id")?.map(TemplateId),
            tick_at: row.try_get("tick_at")?,
        })
    }

    /// What commands are decided from. `failed`: how many of its events have.
    pub(super) fn facts(&self, settings: &Settings, failed: i64) -> Facts {
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
    pub(super) fn starter(&self) -> Actor {
        let name = self.started_by.as_ref().unwrap_or(&self.created_by);
        actor(name, self.started_from.as_deref())
    }

    /// In whose name what an aborted one left is cancelled.
    pub(super) fn ender(&self) -> Actor {
        match &self.ended_by {
            Some(name) => actor(name, self.ended_from.as_deref()),
            None => self.starter(),
        }
    }

    /// None where a newer program wrote it in a form of its own.
    pub(super) fn agreed(&self) -> Option<DryRun> {
        self.agreed.as_deref().and_then(|agreed| serde_json::from_str(agreed).ok())
    }

    /// When it may disconnect.
    pub(super) fn window(&self, settings: &Settings) -> Result<Option<Window>, Failure> {
        let Some(text) = &self.terms.window else { return Ok(None) };
        let holidays =
            parse_holidays(&self.terms.holidays).map_err(|_| unreadable("holidays", &self.terms.holidays))?;
        Window::parse(text, settings.company_zone, &holidays).map_err(|_| unreadable("window", text))
    }

    fn view(self, counted: Counted, settings: &Settings) -> CampaignView {
        let facts = self.facts(settings, counted.counts.failed);
        let is_approved = facts.is_approved();
        CampaignView {
            id: self.id,
            agreed: self.agreed(),
            name: self.name,
            state: self.state,
            pause_cause: self.pause_cause,
            pause_note: self.pause_note,
            counts: counted.counts,
            totals: counted.totals,
            terms: self.terms,
            filter: self.filter,
            revision: self.revision,
            needs_approval: facts.needs_approval(),
            approved_by: self.approved_by.filter(|_| is_approved),
            approved_at: self.approved_at.filter(|_| is_approved),
            created_at: self.created_at,
            created_by: self.created_by,
            started_at: self.started_at,
            started_by: self.started_by,
            ended_at: self.ended_at,
            template_id: self.template_id,
            tick_at: self.tick_at,
            as_of: counted.as_of,
        }
    }
}

fn actor(name: &str, from: Option<&str>) -> Actor {
    Actor::new(name, from.and_then(Source::parse).unwrap_or(Source::Worker))
}

pub(super) fn terms(json: &str) -> Result<Terms, Failure> {
    serde_json::from_str(json).map_err(|_| unreadable("terms of a campaign", json))
}

pub(super) fn filter(text: &str) -> Result<Filter, Failure> {
    Filter::parse(text).map_err(|_| unreadable("filter of a campaign", text))
}

/// # Errors
/// [`Refusal::UnknownCampaign`].
pub(super) async fn load(db: &mut PgConnection, campaign: CampaignId) -> Result<Stored, Failure> {
    let found = sqlx::query(stored_sql!("campaign", "where c.id = $1")).bind(campaign.0).fetch_optional(db).await?;
    Stored::of(&found.ok_or(Refusal::UnknownCampaign { campaign })?)
}

/// Under the lock of its row, which keeps out claims and other commands and lets foreign keys pass.
///
/// # Errors
/// [`Refusal::UnknownCampaign`].
pub(super) async fn lock(db: &mut PgConnection, campaign: CampaignId) -> Result<Stored, Failure> {
    let found = sqlx::query(stored_sql!("campaign: lock", "where c.id = $1 for no key update"))
        .bind(campaign.0)
        .fetch_optional(db)
        .await?;
    Stored::of(&found.ok_or(Refusal::UnknownCampaign { campaign })?)
}

/// Its counts are those of one statement.
pub(super) async fn view(db: &mut PgConnection, campaign: CampaignId) -> Result<CampaignView, Failure> {
    let stored = load(db, campaign).await?;
    let settings = installation::settings(db).await?;
    let counted = counts::of_one(db, campaign).await?;
    Ok(stored.view(counted, &settings))
}

pub(super) async fn list(
    db: &mut PgConnection,
    filter: &CampaignFilter,
    page: &Page,
) -> Result<Paged<CampaignView>, Failure> {
    let found = sqlx::query(stored_sql!(
        "campaigns",
        "where ($1::bigint is null or c.id < $1)
           and ($2::text is null or c.state = $2)
           and ($3::text is null or c.name ilike $3)
           and ($4::bigint is null or c.template_id = $4)
         order by c.id desc
         limit $5"
    ))
    .bind(id_cursor(page.after.as_deref())?)
    .bind(filter.state.map(State::as_str))
    .bind(filter.search.as_deref().map(like::containing))
    .bind(filter.template.map(|template| template.0))
    .bind(i64::from(page.limit) + 1)
    .fetch_all(&mut *db)
    .await?;
    let found = found.iter().map(Stored::of).collect::<Result<Vec<_>, _>>()?;
    let Paged { items, next_cursor } = Paged::cut(found, page.limit, |stored| stored.id.to_string());
    let settings = installation::settings(db).await?;
    let ids: Vec<i64> = items.iter().map(|stored| stored.id.0).collect();
    let mut counted = counts::of(db, &ids).await?;
    let views = items.into_iter().map(|stored| {
        let of_this = counted.remove(&stored.id).ok_or(Refusal::UnknownCampaign { campaign: stored.id })?;
        Ok(stored.view(of_this, &settings))
    });
    Ok(Paged { items: views.collect::<Result<_, Failure>>()?, next_cursor })
}

/// For what is kept as JSON.
pub(super) fn json(value: &impl serde::Serialize) -> StoreResult<String> {
    serde_json::to_string(value).map_err(|error| crate::store::StoreError::Rejected(error.to_string()))
}
