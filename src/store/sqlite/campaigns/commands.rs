//! What people do with a campaign.

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;

use super::super::SqliteStore;
use super::super::failure::failure;
use super::super::rows::{at, expect_rows};
use super::super::settings::settings;
use super::cohort::to_json;
use super::stored::{self, Stored};
use super::{counts, dry_run, enlist, log as campaign_log};
use crate::domain::actor::Actor;
use crate::domain::campaign::dry_run::DryRun;
use crate::domain::campaign::{CampaignId, CampaignView, Command, PauseCause, State, Transition, log};
use crate::domain::settings::Settings;
use crate::store::campaigns::{Commanded, ENLIST_AT_START, ENLIST_MAX};
use crate::store::{StoreError, StoreResult};

/// How often a dry run is made anew for a campaign that somebody is changing.
const TRIES: usize = 3;

impl SqliteStore {
    pub(in super::super) async fn approve(
        &self,
        campaign: CampaignId,
        digest: Option<&str>,
        by: &Actor,
    ) -> StoreResult<CampaignView> {
        for _ in 0..TRIES {
            let mut tx = self.read().await?;
            let tried = stored::load(&mut tx, campaign).await?;
            let settings = settings(&mut tx).await?;
            tried.facts(&settings, 0).approve(by)?;
            let agreed = agree(&mut tx, &tried, &settings, digest, self.now()).await?;
            drop(tx);
            let mut tx = self.write().await?;
            let now = self.now();
            let stored = stored::load(&mut tx, campaign).await?;
            stored.facts(&settings, 0).approve(by)?;
            if stored.revision == tried.revision {
                approve(&mut tx, &stored, &agreed, by, now).await?;
                let view = stored::view(&mut tx, campaign, now).await?;
                tx.commit().await.map_err(failure)?;
                return Ok(view);
            }
        }
        Err(keeps_changing(campaign))
    }

    /// The dry run is made before the lock is taken: over a large cohort it takes its time, and everybody would wait for
    /// it. What it is of, its revision says.
    pub(in super::super) async fn start(
        &self,
        campaign: CampaignId,
        digest: Option<&str>,
        by: &Actor,
    ) -> StoreResult<Commanded> {
        for _ in 0..TRIES {
            let mut tx = self.read().await?;
            let tried = stored::load(&mut tx, campaign).await?;
            let settings = settings(&mut tx).await?;
            if tried.facts(&settings, 0).command(&Command::Start)? == Transition::Nothing {
                let view = stored::view(&mut tx, campaign, self.now()).await?;
                return Ok(Commanded { campaign: view, events: 0 });
            }
            let agreed = agree(&mut tx, &tried, &settings, digest, self.now()).await?;
            drop(tx);
            let mut tx = self.write().await?;
            let stored = stored::load(&mut tx, campaign).await?;
            if stored.facts(&settings, 0).command(&Command::Start)? == Transition::Start
                && stored.revision == tried.revision
            {
                begin(&mut tx, campaign, &agreed, by, self.now()).await?;
                tx.commit().await.map_err(failure)?;
                self.enlist_first(campaign).await?;
                return Ok(Commanded { campaign: self.seen(campaign).await?, events: 0 });
            }
        }
        Err(keeps_changing(campaign))
    }

    /// The first members, each batch in a transaction of its own. It has started: what does not come through now is left
    /// to the upkeep.
    async fn enlist_first(&self, campaign: CampaignId) -> StoreResult<()> {
        let mut enlisted = 0;
        while enlisted < u64::from(ENLIST_AT_START) {
            match self.enlist_some(campaign).await {
                Ok(0) => break,
                Ok(some) => enlisted += some,
                Err(error) if error.is_transient() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Enlists the next members, if it runs. Answers how many.
    pub(super) async fn enlist_some(&self, campaign: CampaignId) -> StoreResult<u64> {
        let mut tx = self.write().await?;
        let now = self.now();
        let stored = stored::load(&mut tx, campaign).await?;
        if stored.state != State::Running {
            return Ok(0);
        }
        let enlisted = enlist::enlist(&mut tx, &stored, ENLIST_MAX, now).await?;
        tx.commit().await.map_err(failure)?;
        Ok(enlisted)
    }

    pub(super) async fn seen(&self, campaign: CampaignId) -> StoreResult<CampaignView> {
        let mut tx = self.read().await?;
        stored::view(&mut tx, campaign, self.now()).await
    }

    pub(in super::super) async fn command(
        &self,
        campaign: CampaignId,
        command: &Command,
        by: &Actor,
    ) -> StoreResult<Commanded> {
        let mut tx = self.write().await?;
        let now = self.now();
        let stored = stored::load(&mut tx, campaign).await?;
        let failed = counts::of_one(&mut tx, campaign).await?.failed;
        let settings = settings(&mut tx).await?;
        let events = match stored.facts(&settings, failed).command(command)? {
            Transition::Pause { cause, note } => pause(&mut tx, campaign, cause, note.as_deref(), by, now).await?,
            Transition::Resume { canary_passed } => {
                resume(&mut tx, campaign, canary_passed).await?;
                campaign_log::write(&mut tx, campaign, log::resumed(), by, now).await?;
                0
            }
            Transition::Abort => {
                let note = if let Command::Abort { note } = command { note.as_deref() } else { None };
                abort(&mut tx, campaign, note, by, now).await?
            }
            // It is so already, and is answered the same.
            Transition::Nothing if matches!(command, Command::Pause { .. }) => {
                take_back(&mut tx, campaign, now).await?
            }
            Transition::Nothing if matches!(command, Command::Abort { .. }) => to_cancel(&mut tx, campaign).await?,
            // A start and a retry have ways of their own.
            Transition::Start | Transition::Retry | Transition::Nothing => 0,
        };
        let view = stored::view(&mut tx, campaign, now).await?;
        tx.commit().await.map_err(failure)?;
        Ok(Commanded { campaign: view, events })
    }
}

fn keeps_changing(campaign: CampaignId) -> StoreError {
    StoreError::Conflict(format!("campaign {campaign} was changing"))
}

/// What a dry run shows now, where it may be started with it.
pub async fn agree(
    connection: &mut SqliteConnection,
    stored: &Stored,
    settings: &Settings,
    digest: Option<&str>,
    now: DateTime<Utc>,
) -> StoreResult<DryRun> {
    let computed = dry_run::compute(connection, stored, settings, now).await?;
    computed.agree(digest, stored.agreed.as_ref())?;
    Ok(computed.dry_run)
}

/// Notes the approval of what the dry run shows.
pub async fn approve(
    connection: &mut SqliteConnection,
    stored: &Stored,
    agreed: &DryRun,
    by: &Actor,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    let written = sqlx::query(
        "/* campaign: approve */ update campaigns
            set state = 'draft', approved_revision = revision, approved_at = ?2, approved_by = ?3, agreed = ?4
          where id = ?1 and revision = ?5",
    )
    .bind(stored.id.0)
    .bind(at(now))
    .bind(&by.name)
    .bind(to_json(&DryRun { is_approved: true, ..agreed.clone() })?)
    .bind(stored.revision)
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    expect_rows(&written, 1, "campaign: approve")?;
    campaign_log::write(connection, stored.id, log::approved(agreed), by, now).await
}

/// From now on it runs.
pub async fn begin(
    connection: &mut SqliteConnection,
    campaign: CampaignId,
    agreed: &DryRun,
    by: &Actor,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    let written = sqlx::query(
        "/* campaign: start */ update campaigns
            set state = 'running', agreed = ?2, started_at = ?3, started_by = ?4, started_from = ?5
          where id = ?1 and state in ('draft', 'awaiting_approval')",
    )
    .bind(campaign.0)
    .bind(to_json(agreed)?)
    .bind(at(now))
    .bind(&by.name)
    .bind(by.source.as_str())
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    expect_rows(&written, 1, "campaign: start")?;
    campaign_log::write(connection, campaign, log::started(agreed), by, now).await
}

/// Answers how many events were taken back from the queue.
pub async fn pause(
    connection: &mut SqliteConnection,
    campaign: CampaignId,
    cause: PauseCause,
    note: Option<&str>,
    by: &Actor,
    now: DateTime<Utc>,
) -> StoreResult<i64> {
    let written = sqlx::query(
        "/* campaign: pause */ update campaigns set state = 'paused', pause_cause = ?2, pause_note = ?3
          where id = ?1 and state = 'running'",
    )
    .bind(campaign.0)
    .bind(cause.as_str())
    .bind(note)
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    expect_rows(&written, 1, "campaign: pause")?;
    campaign_log::write(connection, campaign, log::paused(note), by, now).await?;
    take_back(connection, campaign, now).await
}

/// What is queued goes back: a worker that comes with it finds it not queued any more. What was brought forward is not
/// the campaign's business any more.
pub async fn take_back(
    connection: &mut SqliteConnection,
    campaign: CampaignId,
    now: DateTime<Utc>,
) -> StoreResult<i64> {
    let taken = sqlx::query(
        "/* campaign: take back */ update disconnect_events indexed by disconnect_events_in_flight
            set state = 'scheduled', next_at = max(due_at, ?2), dispatches = 0
          where campaign_id = ?1 and state = 'queued' and lane <> 0",
    )
    .bind(campaign.0)
    .bind(at(now))
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(i64::try_from(taken.rows_affected()).unwrap_or(i64::MAX))
}

async fn resume(connection: &mut SqliteConnection, campaign: CampaignId, canary_passed: bool) -> StoreResult<()> {
    let written = sqlx::query(
        "/* campaign: resume */ update campaigns
            set state = 'running', pause_cause = null, pause_note = null, canary_passed = max(canary_passed, ?2)
          where id = ?1 and state = 'paused'",
    )
    .bind(campaign.0)
    .bind(canary_passed)
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    expect_rows(&written, 1, "campaign: resume")?;
    count_anew(connection, campaign).await
}

/// The share of failures counts from what there is now.
pub async fn count_anew(connection: &mut SqliteConnection, campaign: CampaignId) -> StoreResult<()> {
    let counts = counts::of_one(connection, campaign).await?;
    let written = sqlx::query(
        "/* campaign: count anew */ update campaigns set tried_before = ?2, troubled_before = ?3 where id = ?1",
    )
    .bind(campaign.0)
    .bind(counts.tried())
    .bind(counts.troubled())
    .execute(connection)
    .await
    .map_err(failure)?;
    expect_rows(&written, 1, "campaign: count anew")
}

/// Answers how many events are left to be cancelled.
async fn abort(
    connection: &mut SqliteConnection,
    campaign: CampaignId,
    note: Option<&str>,
    by: &Actor,
    now: DateTime<Utc>,
) -> StoreResult<i64> {
    let written = sqlx::query(
        "/* campaign: abort */ update campaigns
            set state = 'aborted', pause_cause = null, pause_note = ?2, ended_at = ?3, ended_by = ?4, ended_from = ?5
          where id = ?1 and state not in ('completed', 'aborted')",
    )
    .bind(campaign.0)
    .bind(note)
    .bind(at(now))
    .bind(&by.name)
    .bind(by.source.as_str())
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    expect_rows(&written, 1, "campaign: abort")?;
    campaign_log::write(connection, campaign, log::aborted(note), by, now).await?;
    take_back(connection, campaign, now).await?;
    to_cancel(connection, campaign).await
}

/// How many events of an aborted campaign are open, all of which will be cancelled.
async fn to_cancel(connection: &mut SqliteConnection, campaign: CampaignId) -> StoreResult<i64> {
    sqlx::query_scalar(
        "/* campaign: left open */ select count(*) from disconnect_events indexed by disconnect_events_lane
          where lane in (?1, -?1) and state in ('scheduled', 'queued')",
    )
    .bind(campaign.0)
    .fetch_one(connection)
    .await
    .map_err(failure)
}
