//! Trying again what has failed of a campaign, batch by batch: others get their turn in between.

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;

use super::super::SqliteStore;
use super::super::failure::failure;
use super::super::rows::{at, expect_rows, get, json};
use super::super::settings::settings;
use super::commands::count_anew;
use super::leftovers::cancel_leftovers;
use super::stored::{self, Stored};
use super::{counts, log as campaign_log, stands};
use crate::domain::account::LogKind;
use crate::domain::actor::Actor;
use crate::domain::campaign::{CampaignId, Command, log};
use crate::domain::event::EventId;
use crate::domain::refusal::Refusal;
use crate::domain::story;
use crate::store::campaigns::{Commanded, ENLIST_MAX};
use crate::store::{StoreError, StoreResult};

struct Batch {
    retried: i64,
    /// The last event that was looked at; `None`: there was none.
    last: Option<i64>,
}

impl SqliteStore {
    pub(super) async fn retry(&self, campaign: CampaignId, by: &Actor) -> StoreResult<Commanded> {
        let (mut after, mut events) = (0, 0);
        loop {
            match self.retry_some(campaign, after, by).await {
                Ok(Batch { retried, last: Some(last) }) => {
                    events += retried;
                    after = last;
                }
                Ok(Batch { last: None, .. }) => break,
                // Somebody aborted it meanwhile, or all the others went through: what was done is done.
                Err(StoreError::Refused(Refusal::CampaignState { .. } | Refusal::NothingFailed { .. }))
                    if after > 0 =>
                {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Commanded { campaign: self.seen(campaign).await?, events })
    }

    async fn retry_some(&self, campaign: CampaignId, after: i64, by: &Actor) -> StoreResult<Batch> {
        let mut tx = self.write().await?;
        let now = self.now();
        let stored = stored::load(&mut tx, campaign).await?;
        let settings = settings(&mut tx).await?;
        let failed = counts::of_one(&mut tx, campaign).await?.failed;
        stored.facts(&settings, failed).command(&Command::Retry)?;
        let found: Vec<(i64, i64)> = sqlx::query_as(
            "/* campaign retry: failed */ select id, account_id
               from disconnect_events indexed by disconnect_events_troubled
              where campaign_id = ?1 and failures > 0 and state in ('scheduled', 'queued', 'failed')
                and state = 'failed' and id > ?2
              order by id limit ?3",
        )
        .bind(campaign.0)
        .bind(after)
        .bind(ENLIST_MAX)
        .fetch_all(&mut *tx)
        .await
        .map_err(failure)?;
        let Some((last, _)) = found.last().copied() else { return Ok(Batch { retried: 0, last: None }) };
        let retried = retry(&mut tx, &stored, found, by, now).await?;
        tx.commit().await.map_err(failure)?;
        Ok(Batch { retried, last: Some(last) })
    }
}

/// Answers how many of these events are tried again: those whose account has no other open one.
async fn retry(
    connection: &mut SqliteConnection,
    stored: &Stored,
    failed: Vec<(i64, i64)>,
    by: &Actor,
    now: DateTime<Utc>,
) -> StoreResult<i64> {
    let (events, accounts): (Vec<i64>, Vec<i64>) = failed.into_iter().unzip();
    cancel_leftovers(connection, &accounts, by, stored.terms.reason.as_deref(), now).await?;
    // What was brought forward and failed is the campaign's again, and stops with it.
    let retried = sqlx::query(concat!(
        "/* campaign retry: events */ update disconnect_events
            set state = 'scheduled', next_at = ?2, ended_at = null, failures = 0, dispatches = 0,
                lane = case when lane = 0 then campaign_id else lane end
          where id in (select value from json_each(?1)) and state = 'failed'
            and not exists (select 1 from disconnect_events o
                             where o.account_id = disconnect_events.account_id and o.state in ('scheduled', 'queued')
                               and ",
        stands!("o"),
        ") returning id, account_id, reason"
    ))
    .bind(json(&events)?)
    .bind(at(now))
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    if retried.is_empty() {
        return Ok(0);
    }
    let mut entries = Vec::with_capacity(retried.len());
    for row in &retried {
        let event = EventId(get(row, "id")?);
        let reason: Option<String> = get(row, "reason")?;
        entries.push((event.0, get::<i64, _>(row, "account_id")?, story::campaign_retried(event, stored.id), reason));
    }
    entries.sort_unstable_by_key(|entry| entry.0);
    let written = sqlx::query(
        "/* campaign: log retries */ insert into account_log
                (account_id, at, kind, message, actor, source, event_id, reason)
         select value ->> 1, ?2, ?3, value ->> 2, ?4, ?5, value ->> 0, value ->> 3 from json_each(?1) order by key",
    )
    .bind(json(&entries)?)
    .bind(at(now))
    .bind(LogKind::Retried.as_str())
    .bind(&by.name)
    .bind(by.source.as_str())
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    expect_rows(&written, entries.len(), "campaign: log retries")?;
    let events = i64::try_from(entries.len()).unwrap_or(i64::MAX);
    campaign_log::write(connection, stored.id, log::retried(events), by, now).await?;
    sqlx::query(
        "/* campaign: run again */ update campaigns set state = 'running', ended_at = null
          where id = ?1 and state = 'completed'",
    )
    .bind(stored.id.0)
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    count_anew(connection, stored.id).await?;
    i64::try_from(entries.len()).map_err(|error| StoreError::Rejected(error.to_string()))
}
