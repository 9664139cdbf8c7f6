//! Trying again what has failed of a campaign, batch by batch: each is a transaction of its own, so that a pause or an
//! abort gets in between, and memory does not grow with what failed.

use sqlx::postgres::PgConnection;

use super::log as campaign_log;
use super::stored::{self, Stored};
use super::{counts, leftovers, lock_masses};
use crate::domain::account::LogKind;
use crate::domain::actor::Actor;
use crate::domain::campaign::{CampaignId, Command, State, log};
use crate::domain::event::EventId;
use crate::domain::refusal::Refusal;
use crate::domain::story;
use crate::store::StoreError;
use crate::store::campaigns::{Commanded, ENLIST_MAX};
use crate::store::postgres::failure::{Failure, expect_rows};
use crate::store::postgres::transaction::Transaction;
use crate::store::postgres::{PostgresStore, VERB_LIMIT, hints, installation, within};

pub(super) async fn retry(store: &PostgresStore, campaign: CampaignId, by: &Actor) -> Result<Commanded, Failure> {
    let (mut after, mut events) = (0, 0);
    loop {
        let tx = within(VERB_LIMIT, store.begin()).await?;
        match within(VERB_LIMIT, end(tx, campaign, after, by)).await {
            Ok(Batch { retried, last: Some(last) }) => {
                events += retried;
                after = last;
            }
            Ok(Batch { last: None, .. }) => break,
            // Somebody aborted it meanwhile, or all the others went through: what was done is done.
            Err(StoreError::Refused(Refusal::CampaignState { .. } | Refusal::NothingFailed { .. })) if after > 0 => {
                break;
            }
            Err(error) => return Err(error.into()),
        }
    }
    let mut view = store.begin_view().await?;
    let campaign = stored::view(&mut view, campaign).await?;
    view.rollback().await;
    Ok(Commanded { campaign, events })
}

struct Batch {
    retried: i64,
    /// The last event that was looked at; `None`: there was none.
    last: Option<i64>,
}

/// Nothing is left to a rollback in the background: the next claim would find the row locked.
async fn end(mut tx: Transaction, campaign: CampaignId, after: i64, by: &Actor) -> Result<Batch, Failure> {
    match batch(&mut tx, campaign, after, by).await {
        Ok(batch) => {
            tx.commit().await?;
            Ok(batch)
        }
        Err(failure) => {
            tx.rollback().await;
            Err(failure)
        }
    }
}

/// Under the locks of masses and of the campaign's row.
async fn batch(db: &mut PgConnection, campaign: CampaignId, after: i64, by: &Actor) -> Result<Batch, Failure> {
    lock_masses(db).await?;
    let stored = stored::lock(db, campaign).await?;
    let settings = installation::settings(db).await?;
    let failed = counts::of_one(db, campaign).await?.counts.failed;
    stored.facts(&settings, failed).command(&Command::Retry)?;
    sqlx::raw_sql("/* campaign retry: do not wait long */ set local lock_timeout = '2s'").execute(&mut *db).await?;
    let found: Vec<(i64, i64)> = sqlx::query_as(
        "/* campaign retry: failed */
         select id, account_id from disconnect_events
          where campaign_id = $1 and failures > 0 and state = 'failed' and id > $2
          order by id limit $3",
    )
    .bind(campaign.0)
    .bind(after)
    .bind(i64::from(ENLIST_MAX))
    .fetch_all(&mut *db)
    .await?;
    let Some((last, _)) = found.last().copied() else { return Ok(Batch { retried: 0, last: None }) };
    let (events, accounts): (Vec<i64>, Vec<i64>) = found.into_iter().unzip();
    sqlx::query(
        "/* campaign retry: lock accounts */ select id from accounts where id = any($1) order by id for update",
    )
    .bind(&accounts)
    .execute(&mut *db)
    .await?;
    leftovers::cancel_leftovers(db, &accounts, by, stored.terms.reason.as_deref()).await?;
    let retried: Vec<Retried> = sqlx::query_as(
        "/* campaign retry: events */
         update disconnect_events
            set state = 'scheduled', failures = 0, dispatches = 0, next_at = clock_timestamp(), ended_at = null,
                -- What was brought forward and failed is the campaign's again, and stops with it.
                lane = case when lane = 0 then $1 else lane end
          where id = any(array(
                    select e.id from disconnect_events e
                     where e.id = any($2) and e.state is not distinct from 'failed'
                       and (select true from disconnect_events o
                             where o.account_id = e.account_id and o.state in ('scheduled', 'queued') limit 1) is null
                     order by e.id
                       for update of e))
         returning id, account_id, reason",
    )
    .bind(campaign.0)
    .bind(&events)
    .fetch_all(&mut *db)
    .await?;
    let count = i64::try_from(retried.len()).unwrap_or(i64::MAX);
    if count > 0 {
        log_retried(db, campaign, &retried, by).await?;
        campaign_log::write(db, campaign, log::retried(count), by).await?;
        run_again(db, &stored).await?;
        hints::notify(db).await?;
    }
    Ok(Batch { retried: count, last: Some(last) })
}

async fn run_again(db: &mut PgConnection, stored: &Stored) -> Result<(), Failure> {
    let counts = counts::of_one(db, stored.id).await?.counts;
    let written = sqlx::query(
        "/* campaign retry: campaign */
         update campaigns
            set tried_before = $2, troubled_before = $3, state = case when $4 then 'running' else state end,
                ended_at = case when $4 then null else ended_at end
          where id = $1",
    )
    .bind(stored.id.0)
    .bind(counts.tried())
    .bind(counts.troubled())
    .bind(stored.state == State::Completed)
    .execute(db)
    .await?;
    expect_rows("campaigns to retry", 1, written.rows_affected())
}

/// An event, its account, and why it was asked for.
type Retried = (i64, i64, Option<String>);

async fn log_retried(
    db: &mut PgConnection,
    campaign: CampaignId,
    retried: &[Retried],
    by: &Actor,
) -> Result<(), Failure> {
    let written = sqlx::query(
        "/* campaign retry: log */
         insert into account_log (account_id, at, kind, message, actor, source, event_id, reason)
         select l.account_id, clock_timestamp(), $5, l.message, $6, $7, l.event_id, l.reason
           from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[]) as l (event_id, account_id, message, reason)
          order by l.event_id",
    )
    .bind(retried.iter().map(|(event, _, _)| *event).collect::<Vec<_>>())
    .bind(retried.iter().map(|(_, account, _)| *account).collect::<Vec<_>>())
    .bind(retried.iter().map(|(event, _, _)| story::campaign_retried(EventId(*event), campaign)).collect::<Vec<_>>())
    .bind(retried.iter().map(|(_, _, reason)| reason.as_deref()).collect::<Vec<_>>())
    .bind(LogKind::Retried.as_str())
    .bind(&by.name)
    .bind(by.source.as_str())
    .execute(db)
    .await?;
    expect_rows("log entries", retried.len(), written.rows_affected())
}
