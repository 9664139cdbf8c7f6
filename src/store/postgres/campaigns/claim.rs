//! The scheduler's claim of campaigns: one at a time over all schedulers, in one transaction.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::commands::{pause, take_back};
use super::counts;
use super::log as campaign_log;
use super::stored::{Stored, stored_sql};
use crate::domain::campaign::progress::{Demand, Running, Step, lanes, share_out};
use crate::domain::campaign::{CampaignId, PauseCause, log};
use crate::domain::event::{Attempt, EventId, Order};
use crate::domain::pace::Pace;
use crate::domain::refusal::Refusal;
use crate::store::campaigns::Claimed;
use crate::store::postgres::failure::{Failure, expect_rows};
use crate::store::postgres::{PostgresStore, installation};
use crate::store::{Redispatch, StoreError};

/// What could be claimed if it were not locked, or if there were room for it, is looked at again after this long.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

pub(super) async fn claim(
    store: &PostgresStore,
    limit: u32,
    in_flight_max: u32,
    redispatch: Redispatch,
) -> Result<Claimed, Failure> {
    let mut tx = store.begin().await?;
    if !begin(&mut tx).await? {
        tx.rollback().await;
        return Ok(Claimed { next: Some(LOOK_AGAIN), ..Claimed::default() });
    }
    let (running, all_there) = lock(&mut tx).await?;
    let mut claimed = Claimed::default();
    if !all_there {
        // Somebody commands one of them at this moment.
        claimed.next = Some(LOOK_AGAIN);
    }
    if running.is_empty() {
        tx.rollback().await;
        return Ok(claimed);
    }
    let mut claim = Claim { db: &mut tx, redispatch, claimed, has_taken_back: false };
    claim.of(running, limit, in_flight_max).await?;
    let mut claimed = claim.claimed;
    tx.commit().await?;
    if !claimed.orders.is_empty() {
        claimed.orders.sort_unstable_by_key(|order| order.event_id);
        claimed.next = Some(Duration::ZERO);
    }
    Ok(claimed)
}

/// One claim at a time. `false`: another is under way.
async fn begin(db: &mut PgConnection) -> Result<bool, Failure> {
    Ok(sqlx::query_scalar("/* campaigns: one claim at a time */ select pg_try_advisory_xact_lock(1684632419, 3)")
        .fetch_one(db)
        .await?)
}

/// A running campaign, or why it can't go on: what can't be read of one stops no other.
struct Locked {
    id: CampaignId,
    stored: Result<Stored, String>,
}

impl Locked {
    fn of(row: &PgRow) -> Result<Self, Failure> {
        Ok(Self { id: CampaignId(row.try_get("id")?), stored: readable(Stored::of(row))? })
    }
}

fn readable<T>(read: Result<T, Failure>) -> Result<Result<T, String>, Failure> {
    match read.map_err(StoreError::from) {
        Ok(read) => Ok(Ok(read)),
        Err(StoreError::Rejected(error)) => Ok(Err(error)),
        Err(error) => Err(error.into()),
    }
}

/// The running campaigns, under the locks of their rows, and whether those are all.
async fn lock(db: &mut PgConnection) -> Result<(Vec<Locked>, bool), Failure> {
    // Not waited for: a pause of one campaign must not hold up the others.
    let found = sqlx::query(stored_sql!(
        "campaigns: lock the running ones",
        "where c.state = 'running' order by c.id for no key update skip locked"
    ))
    .fetch_all(&mut *db)
    .await?;
    let running = found.iter().map(Locked::of).collect::<Result<Vec<_>, _>>()?;
    let all: i64 = sqlx::query_scalar(
        "/* campaigns: count the running ones */ select count(*) from campaigns where state = 'running'",
    )
    .fetch_one(db)
    .await?;
    let all_there = usize::try_from(all).is_ok_and(|all| all <= running.len());
    Ok((running, all_there))
}

/// What is queued and was not heard of for its redispatch time. It needs no room, and no pace.
async fn dispatch_again(
    db: &mut PgConnection,
    campaigns: &[i64],
    limit: u32,
    redispatch: Redispatch,
) -> Result<Vec<Order>, Failure> {
    let claimed: Vec<(i64, i32)> = sqlx::query_as(
        "/* campaigns: dispatch again */
         update disconnect_events
            set attempt = attempt + 1, dispatches = dispatches + 1,
                next_at = clock_timestamp()
                        + make_interval(secs => least($3::float8, $2::float8 * power(2, least(dispatches, 40))))
          where id = any(array(
                    select e.id
                      from unnest($4::bigint[]) as c (id)
                      join disconnect_events e on e.campaign_id = c.id and e.state = 'queued' and e.lane <> 0
                                              and e.next_at <= statement_timestamp()
                     order by e.next_at
                     limit $1
                       for update of e skip locked))
         returning id, attempt",
    )
    .bind(i64::from(limit))
    .bind(redispatch.base.as_secs_f64())
    .bind(redispatch.max.as_secs_f64())
    .bind(campaigns)
    .fetch_all(db)
    .await?;
    Ok(claimed.into_iter().map(order).collect())
}

fn order((event, attempt): (i64, i32)) -> Order {
    Order { event_id: EventId(event), attempt: Attempt(attempt), trace: None }
}

struct Claim<'a> {
    db: &'a mut PgConnection,
    redispatch: Redispatch,
    claimed: Claimed,
    has_taken_back: bool,
}

/// One that may claim.
struct Ready {
    facts: Running,
    /// Of its lanes.
    queued: u32,
    at_most: u32,
}

impl Claim<'_> {
    async fn of(&mut self, running: Vec<Locked>, limit: u32, in_flight_max: u32) -> Result<(), Failure> {
        let (facts, in_flight, now) = facts(self.db, running).await?;
        let (mut ready, mut again) = (Vec::new(), Vec::new());
        for Facts { id, running, queued, again_at } in facts {
            counts::fold(self.db, id).await?;
            let step = match &running {
                Ok(running) => {
                    forget_recovered(self.db, running).await?;
                    running.step(now)
                }
                Err(error) => Step::Pause { cause: PauseCause::Failures, note: error.clone() },
            };
            let is_due_again = again_at.is_some_and(|at| at <= now);
            match (step, running) {
                (Step::Claim { at_most }, Ok(running)) => {
                    if is_due_again {
                        again.push(id.0);
                    }
                    self.wait_until(again_at, now);
                    ready.push(Ready { facts: running, queued, at_most });
                }
                (Step::Wait { until }, _) => {
                    if is_due_again {
                        again.push(id.0);
                    }
                    self.wait_until(again_at, now);
                    self.wait_until(until, now);
                }
                // A worker locks its events by their ids, whatever campaigns they are of. Whoever waited for those of one
                // campaign and holds those of another could wait for ever.
                (Step::Pause { .. } | Step::TakeBack, _) if self.has_taken_back => self.wait(LOOK_AGAIN),
                (Step::Pause { cause, note }, _) => {
                    self.has_taken_back = true;
                    pause(self.db, id, cause, Some(&note), &log::itself()).await?;
                    take_back(self.db, id).await?;
                    self.claimed.notes.push((id, format!("paused by itself: {note}")));
                }
                (Step::TakeBack, _) => {
                    self.has_taken_back = true;
                    let events = take_back(self.db, id).await?;
                    self.claimed.notes.push((id, format!("took {events} back from the queue: its window has closed")));
                    self.wait(LOOK_AGAIN);
                }
                (Step::Complete, _) => {
                    complete(self.db, id).await?;
                    self.claimed.notes.push((id, "is complete".into()));
                }
                (Step::Claim { .. }, Err(_)) => {}
            }
        }
        // Behind what was taken back, which waits for workers: these locks wait for nobody.
        if !again.is_empty() {
            self.claimed.orders = dispatch_again(self.db, &again, limit, self.redispatch).await?;
        }
        let demands: Vec<Demand> =
            ready.iter().map(|ready| Demand { queued: ready.queued, at_most: ready.at_most }).collect();
        let grants = share_out(in_flight_max, in_flight, limit, &demands);
        for (ready, grant) in ready.iter().zip(grants) {
            self.take(&ready.facts, grant, now).await?;
        }
        if !ready.is_empty() {
            // There is no room, or what is due is locked. Where something was claimed there may be more at once.
            self.wait(LOOK_AGAIN);
        }
        Ok(())
    }

    /// Claims up to `grant` of one campaign, and pays its pace for them.
    async fn take(&mut self, campaign: &Running, grant: u32, now: DateTime<Utc>) -> Result<(), Failure> {
        // Whoever may claim has something due.
        let Some(first) = campaign.next_at else { return Ok(()) };
        let mut left = grant;
        for lane in lanes(campaign.id, campaign.canary, campaign.canary_passed) {
            if left == 0 {
                break;
            }
            let orders = claim_lane(self.db, lane, first, left, self.redispatch).await?;
            left -= u32::try_from(orders.len()).unwrap_or(left).min(left);
            self.claimed.orders.extend(orders);
        }
        let taken = grant - left;
        if let (Some(pace), 1..) = (&campaign.pace, taken) {
            let (_, pace_at) = pace.take(campaign.pace_at, now, taken);
            let paid = sqlx::query("/* campaigns: pay the pace */ update campaigns set pace_at = $2 where id = $1")
                .bind(campaign.id.0)
                .bind(pace_at)
                .execute(&mut *self.db)
                .await?;
            expect_rows("campaigns to pay the pace of", 1, paid.rows_affected())?;
        }
        Ok(())
    }

    fn wait_until(&mut self, until: Option<DateTime<Utc>>, now: DateTime<Utc>) {
        if let Some(until) = until {
            self.wait((until - now).to_std().unwrap_or_default());
        }
    }

    fn wait(&mut self, wait: Duration) {
        self.claimed.next = Some(self.claimed.next.map_or(wait, |next| next.min(wait)));
    }
}

/// Of what is scheduled and due. The same shape as the claim of lane 0, and for the same reason. The `first` of them was found
/// just now, behind all that was claimed since the last vacuum: that is passed over once, not for each statement.
async fn claim_lane(
    db: &mut PgConnection,
    lane: i64,
    first: DateTime<Utc>,
    limit: u32,
    redispatch: Redispatch,
) -> Result<Vec<Order>, Failure> {
    let claimed: Vec<(i64, i32)> = sqlx::query_as(
        "/* campaigns: claim */
         update disconnect_events
            set state = 'queued', attempt = attempt + 1, dispatches = dispatches + 1,
                next_at = clock_timestamp()
                        + make_interval(secs => least($3::float8, $2::float8 * power(2, least(dispatches, 40))))
          where id = any(array(
                    select id from disconnect_events
                     where lane = $4 and state = 'scheduled' and next_at >= $5 and next_at <= statement_timestamp()
                     order by next_at, id
                     limit $1
                       for update skip locked))
         returning id, attempt",
    )
    .bind(i64::from(limit))
    .bind(redispatch.base.as_secs_f64())
    .bind(redispatch.max.as_secs_f64())
    .bind(lane)
    .bind(first)
    .fetch_all(db)
    .await?;
    Ok(claimed.into_iter().map(order).collect())
}

async fn complete(db: &mut PgConnection, campaign: CampaignId) -> Result<(), Failure> {
    let completed = sqlx::query(
        "/* campaigns: complete */ update campaigns set state = 'completed', ended_at = clock_timestamp() where id = $1",
    )
    .bind(campaign.0)
    .execute(&mut *db)
    .await?;
    expect_rows("campaigns to complete", 1, completed.rows_affected())?;
    campaign_log::write(db, campaign, log::completed(), &log::itself()).await
}

/// Those in trouble at the last resume that have recovered since would hide as many new failures.
async fn forget_recovered(db: &mut PgConnection, campaign: &Running) -> Result<(), Failure> {
    if campaign.still_troubled_before() == campaign.troubled_before {
        return Ok(());
    }
    let written =
        sqlx::query("/* campaigns: forget recovered */ update campaigns set troubled_before = $2 where id = $1")
            .bind(campaign.id.0)
            .bind(campaign.still_troubled_before())
            .execute(db)
            .await?;
    expect_rows("campaigns that recover", 1, written.rows_affected())
}

/// A running campaign as it is found.
struct Facts {
    id: CampaignId,
    running: Result<Running, String>,
    /// Of its lanes, and when the first of that is dispatched again.
    queued: u32,
    again_at: Option<DateTime<Utc>>,
}

/// And what all campaigns have in flight, and the database's now.
async fn facts(db: &mut PgConnection, running: Vec<Locked>) -> Result<(Vec<Facts>, u32, DateTime<Utc>), Failure> {
    let settings = installation::settings(db).await?;
    let ids: Vec<i64> = running.iter().map(|campaign| campaign.id.0).collect();
    let mut counted = counts::of(db, &ids).await?;
    let (in_flight, now) = in_flight(db).await?;
    let mut facts = Vec::with_capacity(running.len());
    for Locked { id, stored } in running {
        let counts = counted.remove(&id).ok_or(Refusal::UnknownCampaign { campaign: id })?.counts;
        let queued = in_flight.iter().find(|(campaign, ..)| *campaign == id.0);
        let (queued, again_at) = queued.map_or((0, None), |(_, queued, again_at)| (*queued, Some(*again_at)));
        let read = match stored {
            Ok(stored) => readable(stored.window(&settings))?.map(|window| (stored, window)),
            Err(error) => Err(error),
        };
        let in_lanes = u32::try_from(queued).unwrap_or(u32::MAX);
        let (stored, window) = match read {
            Ok(read) => read,
            Err(error) => {
                facts.push(Facts { id, running: Err(error), queued: in_lanes, again_at });
                continue;
            }
        };
        let lanes = lanes(stored.id, stored.terms.canary, stored.canary_passed);
        let found = sqlx::query(
            "/* campaigns: lanes */
             select exists (select from disconnect_events
                             where lane = -$1 and state in ('scheduled', 'queued') and failures = 0) as canary_untried,
                    $3 or exists (select from disconnect_events
                                   where lane in ($1, -$1) and state in ('scheduled', 'queued')) as has_open,
                    (select min(first.next_at)
                       from unnest($2::bigint[]) as l (lane)
                      cross join lateral (
                            select next_at from disconnect_events e
                             where e.lane = l.lane and e.state = 'scheduled'
                             order by e.next_at, e.id limit 1) first) as next_at",
        )
        .bind(stored.id.0)
        .bind(&lanes)
        .bind(queued > 0)
        .fetch_one(&mut *db)
        .await?;
        let running = Running {
            id: stored.id,
            accounts: stored.accounts,
            enlisted: stored.enlisted,
            canary: stored.terms.canary,
            canary_passed: stored.canary_passed,
            pace: stored.terms.per_minute.and_then(|n| Pace::per_minute(n).ok()),
            pace_at: stored.pace_at,
            window,
            pause_percent: stored.terms.pause_percent,
            queued,
            tried: counts.tried(),
            troubled: counts.troubled(),
            tried_before: stored.tried_before,
            troubled_before: stored.troubled_before,
            canary_untried: found.try_get("canary_untried")?,
            has_open: found.try_get("has_open")?,
            next_at: found.try_get("next_at")?,
        };
        facts.push(Facts { id, running: Ok(running), queued: in_lanes, again_at });
    }
    let in_flight: i64 = in_flight.iter().map(|(_, queued, _)| queued).sum();
    Ok((facts, u32::try_from(in_flight).unwrap_or(u32::MAX), now))
}

type InFlight = (i64, i64, DateTime<Utc>);

/// What each campaign has queued of its lanes, and when the first of that is dispatched again. One that was brought forward is
/// in lane 0, and needs no room.
async fn in_flight(db: &mut PgConnection) -> Result<(Vec<InFlight>, DateTime<Utc>), Failure> {
    let found = sqlx::query_as(
        "/* campaigns: in flight */
         select campaign_id, count(*), min(next_at) from disconnect_events
          where state = 'queued' and lane <> 0
            and campaign_id in (select id from campaigns where state = 'running')
          group by campaign_id",
    )
    .fetch_all(&mut *db)
    .await?;
    let now = sqlx::query_scalar("/* campaigns: now */ select clock_timestamp()").fetch_one(db).await?;
    Ok((found, now))
}
