//! What an aborted campaign has left open: it counts as no open event, and whoever needs its place cancels it.

use sqlx::postgres::PgConnection;

use super::counts::Tallies;
use super::lock_masses;
use super::stored::{self, Stored};
use crate::domain::account::LogKind;
use crate::domain::actor::Actor;
use crate::domain::campaign::{CampaignId, TallyKind};
use crate::domain::event::EventId;
use crate::domain::story;
use crate::store::campaigns::ENLIST_MAX;
use crate::store::postgres::PostgresStore;
use crate::store::postgres::failure::{Failure, expect_rows};

/// The condition that an event, by its name in the statement, is not what an aborted campaign has left.
macro_rules! stands {
    ($event:literal) => {
        concat!(
            "(",
            $event,
            ".lane = 0 or not exists (select from campaigns aborted where aborted.id = ",
            $event,
            ".campaign_id and aborted.state = 'aborted'))"
        )
    };
}
pub(in crate::store::postgres) use stands;

/// Cancels what aborted campaigns left open of these accounts, whose locks are held: another event is made for them, or
/// opened again, in this transaction.
pub(in crate::store::postgres) async fn cancel_leftovers(
    db: &mut PgConnection,
    accounts: &[i64],
    by: &Actor,
    reason: Option<&str>,
) -> Result<(), Failure> {
    let cancelled: Vec<(i64, i64, i64)> = sqlx::query_as(
        "/* leftovers: make way */
         update disconnect_events
            set state = 'cancelled', next_at = null, ended_at = clock_timestamp()
          where id = any(array(
                    select e.id from disconnect_events e
                      join campaigns c on c.id = e.campaign_id and c.state = 'aborted'
                     where e.account_id = any($1) and e.state in ('scheduled', 'queued') and e.lane <> 0
                     order by e.id
                       for update of e))
         returning id, account_id, campaign_id",
    )
    .bind(accounts)
    .persistent(false)
    .fetch_all(&mut *db)
    .await?;
    let message = |event, campaign| story::leftover_cancelled(event, campaign);
    write(db, &cancelled, message, by, reason).await
}

/// One batch of what aborted campaigns left open. Answers how many were cancelled; fewer than [`ENLIST_MAX`] where there
/// are no more.
pub(super) async fn cancel_batch(store: &PostgresStore) -> Result<u64, Failure> {
    let aborted: Option<i64> = sqlx::query_scalar(
        "/* leftovers: of which campaign */
         select c.id from campaigns c
          where c.state = 'aborted'
            and exists (select from disconnect_events e
                         where e.lane in (c.id, -c.id) and e.state in ('scheduled', 'queued'))
          order by c.id
          limit 1",
    )
    .fetch_optional(&store.pool)
    .await?;
    let Some(campaign) = aborted.map(CampaignId) else { return Ok(0) };
    let mut tx = store.begin().await?;
    lock_masses(&mut tx).await?;
    let campaign = stored::load(&mut tx, campaign).await?;
    let cancelled = cancel(&mut tx, &campaign).await?;
    tx.commit().await?;
    Ok(cancelled)
}

async fn cancel(db: &mut PgConnection, campaign: &Stored) -> Result<u64, Failure> {
    super::enlist::be_brief(db).await?;
    // Any of them: in an order, all would be read and sorted for each batch.
    let ids: Vec<i64> = sqlx::query_scalar(
        "/* leftovers: a batch */
         select id from disconnect_events
          where lane in ($1, -$1) and state in ('scheduled', 'queued')
          limit $2",
    )
    .bind(campaign.id.0)
    .bind(i64::from(ENLIST_MAX))
    .fetch_all(&mut *db)
    .await?;
    // As everywhere the accounts come first: the log's foreign key would lock them behind the events.
    sqlx::query(
        "/* leftovers: lock accounts */
         select id from accounts
          where id = any(array(select account_id from disconnect_events where id = any($1)))
          order by id for key share",
    )
    .bind(&ids)
    .execute(&mut *db)
    .await?;
    // Not `=`, nor `in`: no index but that of the ids serves these conditions.
    let cancelled: Vec<(i64, i64, i64)> = sqlx::query_as(
        "/* leftovers: cancel */
         update disconnect_events
            set state = 'cancelled', next_at = null, ended_at = clock_timestamp()
          where id = any(array(
                    select id from disconnect_events
                     where id = any($1) and next_at is distinct from null and lane is distinct from 0
                     order by id
                       for update))
         returning id, account_id, campaign_id",
    )
    .bind(&ids)
    .fetch_all(&mut *db)
    .await?;
    let message = |event, campaign| story::campaign_aborted(event, campaign);
    write(db, &cancelled, message, &campaign.ender(), campaign.pause_note.as_deref()).await?;
    Ok(cancelled.len() as u64)
}

/// The log and the tallies of events that were cancelled.
async fn write(
    db: &mut PgConnection,
    cancelled: &[(i64, i64, i64)],
    message: impl Fn(EventId, CampaignId) -> String,
    by: &Actor,
    reason: Option<&str>,
) -> Result<(), Failure> {
    if cancelled.is_empty() {
        return Ok(());
    }
    let message = |(event, _, campaign): &(i64, i64, i64)| message(EventId(*event), CampaignId(*campaign));
    let written = sqlx::query(
        "/* leftovers: log */
         insert into account_log (account_id, at, kind, message, actor, source, event_id, reason)
         select l.account_id, clock_timestamp(), $4, l.message, $5, $6, l.event_id, $7
           from unnest($1::bigint[], $2::bigint[], $3::text[]) as l (event_id, account_id, message)
          order by l.event_id",
    )
    .bind(cancelled.iter().map(|(event, _, _)| *event).collect::<Vec<_>>())
    .bind(cancelled.iter().map(|(_, account, _)| *account).collect::<Vec<_>>())
    .bind(cancelled.iter().map(message).collect::<Vec<_>>())
    .bind(LogKind::Cancelled.as_str())
    .bind(&by.name)
    .bind(by.source.as_str())
    .bind(reason)
    .execute(&mut *db)
    .await?;
    expect_rows("log entries", cancelled.len(), written.rows_affected())?;
    let mut tallies = Tallies::default();
    for (_, _, campaign) in cancelled {
        tallies.count(CampaignId(*campaign), TallyKind::Cancelled, 1, None);
    }
    tallies.append(db).await
}
