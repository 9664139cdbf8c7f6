//! Making a cohort: first in temporary tables on a connection of its own, so that the database is locked for the copy
//! alone. Nothing that it reads ever goes away, so what has changed meanwhile is for the dry run to say.

mod build;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sqlx::{Connection, SqliteConnection};

use self::build::{Asked, Building};
use super::super::SqliteStore;
use super::super::failure::{failure, unreadable};
use super::super::rows::{at, expect_rows};
use super::super::settings::settings;
use super::log as campaign_log;
use super::stored::{self, Stored};
use crate::domain::actor::Actor;
use crate::domain::campaign::log;
use crate::domain::campaign::template::TemplateId;
use crate::domain::campaign::{CampaignId, Draft, Revision, State, Terms};
use crate::domain::dispositions::Disposition;
use crate::domain::filter::Filter;
use crate::domain::settings::Settings;
use crate::store::campaigns::{Cohort, Made, Making};
use crate::store::{StoreError, StoreResult};

/// The members in the temporary table of a connection.
#[derive(Debug)]
pub struct Built {
    pub accounts: i64,
    pub fingerprint: String,
}

impl SqliteStore {
    pub(in super::super) async fn make_campaign(
        &self,
        draft: &Draft,
        cohort: Cohort,
        making: Making<'_>,
    ) -> StoreResult<Made> {
        let mut connection = self.importer().await?;
        let built = match build::build(&mut connection, &Asked::of(draft), cohort, &making, self.now()).await? {
            Building::Built(built) => built,
            Building::BadRows(bad) => return Ok(Made::BadRows(bad)),
        };
        let mut tx = self.write_on(&mut connection).await?;
        let now = self.now();
        let settings = settings(&mut tx).await?;
        let id = insert(&mut tx, draft, &built, &settings, None, now).await?;
        let view = stored::view(&mut tx, id, now).await?;
        tx.commit().await.map_err(failure)?;
        connection.close().await.map_err(failure)?;
        Ok(Made::Campaign(Box::new(view)))
    }

    pub(in super::super) async fn revise_campaign(
        &self,
        campaign: CampaignId,
        revision: &Revision,
        cohort: Option<(Draft, Cohort)>,
        by: &Actor,
        making: Making<'_>,
    ) -> StoreResult<Made> {
        let mut connection = self.importer().await?;
        let before = stored::load(&mut connection, campaign).await?;
        let settings_before = settings(&mut connection).await?;
        before.facts(&settings_before, 0).revise(revision)?;
        let terms = revision.terms.clone().unwrap_or_else(|| before.terms.clone());
        let mut filter = before.filter.clone();
        let mut failures_max = before.failures_max;
        let mut makers = before.changed_by.clone();
        makers.insert(by.name.clone());
        let has_new_cohort = cohort.is_some();
        let built = match cohort {
            Some((draft, cohort)) => {
                filter = draft.filter.as_ref().map(|filter| filter.text().to_owned());
                failures_max = draft.failures_max;
                makers.insert(draft.by.name.clone());
                let asked = Asked { terms: &terms, late: draft.late, everyone: draft.everyone };
                match build::build(&mut connection, &asked, cohort, &making, self.now()).await? {
                    Building::Built(built) => Some(built),
                    Building::BadRows(bad) => return Ok(Made::BadRows(bad)),
                }
            }
            // Who became a child since is not added to what is frozen.
            None if takes_children(&before.terms) != takes_children(&terms) => {
                Some(build::rebuild(&mut connection, campaign, &terms).await?)
            }
            None => None,
        };
        let mut tx = self.write_on(&mut connection).await?;
        let now = self.now();
        let found = stored::load(&mut tx, campaign).await?;
        let settings = settings(&mut tx).await?;
        found.facts(&settings, 0).revise(revision)?;
        let name = revision.name.as_deref().unwrap_or(&found.name);
        let has_new_members =
            built.as_ref().is_some_and(|built| has_new_cohort || built.fingerprint != found.fingerprint);
        let is_new = has_new_members || terms != found.terms || name != found.name;
        if is_new {
            let filter = filter.as_deref();
            let rewrite = Rewrite { name, terms: &terms, filter, failures_max, makers: &makers, built: built.as_ref() };
            write_revision(&mut tx, &found, &rewrite, &settings).await?;
            let accounts = built.as_ref().map_or(found.accounts, |built| built.accounts);
            campaign_log::write(&mut tx, campaign, log::changed(found.revision + 1, accounts), by, now).await?;
        }
        let view = stored::view(&mut tx, campaign, now).await?;
        tx.commit().await.map_err(failure)?;
        connection.close().await.map_err(failure)?;
        Ok(Made::Campaign(Box::new(view)))
    }

    /// Builds the cohort of a template's filter; see [`insert`].
    pub(super) async fn build_for(
        &self,
        connection: &mut SqliteConnection,
        draft: &Draft,
        cohort: Cohort,
    ) -> StoreResult<Built> {
        match build::build(connection, &Asked::of(draft), cohort, &Making::QUIET, self.now()).await? {
            Building::Built(built) => Ok(built),
            Building::BadRows(_) => Err(unreadable("a filter's cohort, which has no rows that could be bad")),
        }
    }
}

fn takes_children(terms: &Terms) -> bool {
    terms.children == Some(Disposition::Disconnect)
}

fn state(accounts: i64, settings: &Settings) -> State {
    if accounts > i64::from(settings.campaign_approval_over) { State::AwaitingApproval } else { State::Draft }
}

/// Writes the campaign whose cohort was built on this connection. `tick`: the template's that it is for.
pub async fn insert(
    connection: &mut SqliteConnection,
    draft: &Draft,
    built: &Built,
    settings: &Settings,
    tick: Option<(TemplateId, DateTime<Utc>)>,
    now: DateTime<Utc>,
) -> StoreResult<CampaignId> {
    let id: i64 = sqlx::query_scalar(
        "/* campaign: create */ insert into campaigns (name, state, terms, filter, failures_max, accounts, fingerprint,
                created_at, created_by, created_from, changed_by, template_id, tick_at)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, json_array(?9), ?11, ?12) returning id",
    )
    .bind(&draft.name)
    .bind(state(built.accounts, settings).as_str())
    .bind(to_json(&draft.terms)?)
    .bind(draft.filter.as_ref().map(Filter::text))
    .bind(draft.failures_max)
    .bind(built.accounts)
    .bind(&built.fingerprint)
    .bind(at(now))
    .bind(&draft.by.name)
    .bind(draft.by.source.as_str())
    .bind(tick.map(|(template, _)| template.0))
    .bind(tick.map(|(_, tick_at)| at(tick_at)))
    .fetch_one(&mut *connection)
    .await
    .map_err(failure)?;
    copy(connection, id, built.accounts).await?;
    let told = log::made(built.accounts, draft.filter.as_ref().map(Filter::text));
    campaign_log::write(connection, CampaignId(id), told, &draft.by, now).await?;
    Ok(CampaignId(id))
}

/// What a campaign is from now on.
struct Rewrite<'a> {
    name: &'a str,
    terms: &'a Terms,
    filter: Option<&'a str>,
    failures_max: i32,
    /// Everybody who made it what it is.
    makers: &'a BTreeSet<String>,
    /// None: its members stay.
    built: Option<&'a Built>,
}

async fn write_revision(
    connection: &mut SqliteConnection,
    found: &Stored,
    rewrite: &Rewrite<'_>,
    settings: &Settings,
) -> StoreResult<()> {
    let accounts = rewrite.built.map_or(found.accounts, |built| built.accounts);
    let fingerprint = rewrite.built.map_or(&found.fingerprint, |built| &built.fingerprint);
    let written = sqlx::query(
        "/* campaign: change */ update campaigns
            set name = ?2, state = ?3, terms = ?4, filter = ?5, accounts = ?6, fingerprint = ?7, changed_by = ?8,
                failures_max = ?9, revision = revision + 1, approved_revision = null, approved_at = null, approved_by = null, agreed = null
          where id = ?1",
    )
    .bind(found.id.0)
    .bind(rewrite.name)
    .bind(state(accounts, settings).as_str())
    .bind(to_json(rewrite.terms)?)
    .bind(rewrite.filter)
    .bind(accounts)
    .bind(fingerprint)
    .bind(to_json(rewrite.makers)?)
    .bind(rewrite.failures_max)
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    expect_rows(&written, 1, "campaign: change")?;
    if rewrite.built.is_none() {
        return Ok(());
    }
    sqlx::query("/* campaign: old members */ delete from campaign_members where campaign_id = ?1")
        .bind(found.id.0)
        .execute(&mut *connection)
        .await
        .map_err(failure)?;
    copy(connection, found.id.0, accounts).await
}

async fn copy(connection: &mut SqliteConnection, campaign: i64, accounts: i64) -> StoreResult<()> {
    let written = sqlx::query(
        "/* campaign: members */ insert into campaign_members
                (campaign_id, position, account_number, account_id, parent_id, due_at, planned_for, zone, reason)
         select ?1, position, number, account_id, parent_id, due_at, planned_for, zone, reason
           from temp.members order by position",
    )
    .bind(campaign)
    .execute(connection)
    .await
    .map_err(failure)?;
    expect_rows(&written, usize::try_from(accounts).unwrap_or(usize::MAX), "campaign: members")
}

pub fn to_json(value: &impl serde::Serialize) -> StoreResult<String> {
    serde_json::to_string(value).map_err(|error| StoreError::Rejected(error.to_string()))
}
