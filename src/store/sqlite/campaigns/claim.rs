//! What running campaigns may send to the queue now.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::super::SqliteStore;
use super::super::dispatch::{last, steps};
use super::super::failure::failure;
use super::super::rows::{at, expect_rows, get, json};
use super::super::settings;
use super::commands::{pause, take_back};
use super::log as campaign_log;
use super::{counts, stored};
use crate::domain::campaign::progress::{Demand, Running, Step, lanes, share_out};
use crate::domain::campaign::{CampaignId, Counts, PauseCause, log};
use crate::domain::event::{Attempt, EventId, Order};
use crate::domain::pace::Pace;
use crate::domain::settings::Settings;
use crate::store::campaigns::Claimed;
use crate::store::{Redispatch, StoreError, StoreResult};

/// While the queue holds as many as it may: how soon to look whether there is room.
const FULL: TimeDelta = TimeDelta::milliseconds(50);

/// A running campaign, or why it can't go on.
struct Lane {
    id: CampaignId,
    running: Result<Running, String>,
}

impl Lane {
    fn step(&self, now: DateTime<Utc>) -> Step {
        match &self.running {
            Ok(running) => running.step(now),
            Err(error) => Step::Pause { cause: PauseCause::Failures, note: error.clone() },
        }
    }
}

impl SqliteStore {
    pub(in super::super) async fn claim_lanes(
        &self,
        limit: u32,
        in_flight_max: u32,
        redispatch: Redispatch,
    ) -> StoreResult<Claimed> {
        // The scheduler asks whenever anything happens, so the database is locked only where there is something to write.
        let mut tx = self.read().await?;
        let now = self.now();
        let looked = lanes_of(&mut tx).await?;
        if looked.is_empty() {
            return Ok(Claimed::default());
        }
        let is_overdue = next_redispatch(&mut tx).await?.is_some_and(|at| at <= now);
        let can_write = looked.iter().any(|lane| match lane.step(now) {
            Step::Wait { .. } => false,
            Step::Claim { .. } => in_flight(&looked) < in_flight_max,
            Step::Pause { .. } | Step::TakeBack | Step::Complete => true,
        });
        if !is_overdue && !can_write {
            let next = next(&mut tx, &looked, in_flight_max, now).await?;
            return Ok(Claimed { next, ..Claimed::default() });
        }
        drop(tx);

        let mut tx = self.write().await?;
        let now = self.now();
        let mut claim = Claim { steps: steps(now, redispatch), now, claimed: Claimed::default() };
        let lanes = lanes_of(&mut tx).await?;
        claim.claim(&mut tx, &lanes, limit, in_flight_max).await?;
        let lanes = lanes_of(&mut tx).await?;
        claim.claimed.next = next(&mut tx, &lanes, in_flight_max, now).await?;
        tx.commit().await.map_err(failure)?;
        Ok(claim.claimed)
    }
}

/// One claim under way.
struct Claim {
    /// See [`steps`].
    steps: Vec<String>,
    now: DateTime<Utc>,
    claimed: Claimed,
}

impl Claim {
    /// What is queued of these and was not heard of for its time needs neither room nor pace.
    async fn dispatch_again(
        &mut self,
        connection: &mut SqliteConnection,
        campaigns: &[i64],
        limit: u32,
    ) -> StoreResult<()> {
        let rows = sqlx::query(
            "/* claim campaigns: again */ update disconnect_events
                set attempt = attempt + 1, dispatches = dispatches + 1, next_at = ?3 ->> min(dispatches, ?4)
              where id in (select e.id from json_each(?5) as c
                            cross join disconnect_events e indexed by disconnect_events_in_flight
                               on e.campaign_id = c.value and e.state = 'queued' and e.next_at <= ?1
                            where e.lane <> 0 limit ?2)
             returning id, attempt",
        )
        .bind(at(self.now))
        .bind(limit)
        .bind(json(&self.steps)?)
        .bind(last(&self.steps))
        .bind(json(campaigns)?)
        .fetch_all(connection)
        .await
        .map_err(failure)?;
        self.take(&rows)
    }

    fn take(&mut self, rows: &[SqliteRow]) -> StoreResult<()> {
        for row in rows {
            let order =
                Order { event_id: EventId(get(row, "id")?), attempt: Attempt(get(row, "attempt")?), trace: None };
            self.claimed.orders.push(order);
        }
        Ok(())
    }

    async fn claim(
        &mut self,
        connection: &mut SqliteConnection,
        lanes: &[Lane],
        limit: u32,
        in_flight_max: u32,
    ) -> StoreResult<()> {
        let (mut asking, mut again) = (Vec::new(), Vec::new());
        for lane in lanes {
            if let Ok(running) = &lane.running {
                forget_recovered(connection, running).await?;
            }
            match (lane.step(self.now), &lane.running) {
                (Step::Claim { at_most }, Ok(running)) => {
                    again.push(lane.id.0);
                    let due = due(connection, running, self.now, limit.min(at_most)).await?;
                    asking.push((running, Demand { queued: to_u32(running.queued), at_most: due }));
                }
                (Step::Pause { cause, note }, _) => {
                    pause(connection, lane.id, cause, Some(&note), &log::itself(), self.now).await?;
                    self.claimed.notes.push((lane.id, format!("paused by itself: {note}")));
                }
                (Step::Complete, _) => {
                    complete(connection, lane.id, self.now).await?;
                    self.claimed.notes.push((lane.id, "is complete".into()));
                }
                (Step::TakeBack, _) => {
                    let events = take_back(connection, lane.id, self.now).await?;
                    let note = format!("took {events} back from the queue: its window has closed");
                    self.claimed.notes.push((lane.id, note));
                }
                (Step::Wait { .. }, _) => again.push(lane.id.0),
                (Step::Claim { .. }, Err(_)) => {}
            }
            counts::fold(connection, lane.id).await?;
        }
        self.dispatch_again(connection, &again, limit).await?;
        let demands: Vec<Demand> = asking.iter().map(|(_, demand)| *demand).collect();
        let grants = share_out(in_flight_max, in_flight(lanes), limit, &demands);
        for ((running, _), grant) in asking.into_iter().zip(grants) {
            self.claim_from(connection, running, grant).await?;
        }
        self.claimed.orders.sort_unstable();
        Ok(())
    }

    async fn claim_from(
        &mut self,
        connection: &mut SqliteConnection,
        running: &Running,
        grant: u32,
    ) -> StoreResult<()> {
        let mut claimed = 0;
        for lane in lanes(running.id, running.canary, running.canary_passed) {
            if claimed == grant {
                break;
            }
            // The states are named twice: so that the index of open events serves, and then as meant.
            let rows = sqlx::query(
                "/* claim campaigns */ update disconnect_events
                    set state = 'queued', attempt = attempt + 1, dispatches = dispatches + 1,
                        next_at = ?3 ->> min(dispatches, ?4)
                  where id in (select id from disconnect_events
                                where lane = ?5 and state in ('scheduled', 'queued') and +state = 'scheduled'
                                  and next_at <= ?1
                                order by next_at, id limit ?2)
                 returning id, attempt",
            )
            .bind(at(self.now))
            .bind(grant - claimed)
            .bind(json(&self.steps)?)
            .bind(last(&self.steps))
            .bind(lane)
            .fetch_all(&mut *connection)
            .await
            .map_err(failure)?;
            claimed += to_u32(i64::try_from(rows.len()).unwrap_or(i64::MAX));
            self.take(&rows)?;
        }
        let Some(pace) = running.pace.filter(|_| claimed > 0) else { return Ok(()) };
        let (_, pace_at) = pace.take(running.pace_at, self.now, claimed);
        let written = sqlx::query("/* claim campaigns: pace */ update campaigns set pace_at = ?2 where id = ?1")
            .bind(running.id.0)
            .bind(at(pace_at))
            .execute(connection)
            .await
            .map_err(failure)?;
        expect_rows(&written, 1, "claim campaigns: pace")
    }
}

/// The running campaigns as they are now. In a transaction.
async fn lanes_of(connection: &mut SqliteConnection) -> StoreResult<Vec<Lane>> {
    let rows = sqlx::query(
        "/* claim campaigns: running */ select id, accounts, enlisted, terms, canary_passed, pace_at, tried_before,
                troubled_before
           from campaigns where state = 'running' order by id",
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    // What is wrong with other settings stops no campaign.
    let (settings, _) = settings::readable(connection).await?;
    let ids = rows.iter().map(|row| get(row, "id")).collect::<StoreResult<Vec<i64>>>()?;
    let mut counted = counts::of(connection, &ids).await?;
    let mut lanes = Vec::with_capacity(rows.len());
    for (row, id) in rows.iter().zip(ids) {
        let id = CampaignId(id);
        let (counts, _) = counted.remove(&id).unwrap_or_default();
        let running = match running(connection, row, id, &counts, &settings).await {
            Ok(running) => Ok(running),
            // What can't be read of one campaign stops no other.
            Err(StoreError::Rejected(error)) => Err(error),
            Err(error) => return Err(error),
        };
        lanes.push(Lane { id, running });
    }
    Ok(lanes)
}

async fn running(
    connection: &mut SqliteConnection,
    row: &SqliteRow,
    id: CampaignId,
    counts: &Counts,
    settings: &Settings,
) -> StoreResult<Running> {
    let terms = stored::terms(get(row, "terms")?)?;
    let window = stored::window(&terms, settings)?;
    let canary_passed = get(row, "canary_passed")?;
    // Of an index each; the states are named as the index of open events has them.
    let open = sqlx::query(
        "/* claim campaigns: open */ select
                exists (select 1 from disconnect_events
                         where lane = -?1 and state in ('scheduled', 'queued') and failures = 0) as canary_untried,
                exists (select 1 from disconnect_events
                         where lane in (?1, -?1) and state in ('scheduled', 'queued')) as has_open,
                (select next_at from disconnect_events
                  where lane = ?1 and state in ('scheduled', 'queued') and +state = 'scheduled'
                  order by next_at limit 1) as next_at,
                (select next_at from disconnect_events
                  where lane = -?1 and state in ('scheduled', 'queued') and +state = 'scheduled'
                  order by next_at limit 1) as canary_next_at",
    )
    .bind(id.0)
    .fetch_one(connection)
    .await
    .map_err(failure)?;
    let (next_at, canary_next_at): (Option<DateTime<Utc>>, _) = (get(&open, "next_at")?, get(&open, "canary_next_at")?);
    let next_of = |lane: i64| if lane < 0 { canary_next_at } else { next_at };
    Ok(Running {
        id,
        accounts: get(row, "accounts")?,
        enlisted: get(row, "enlisted")?,
        canary: terms.canary,
        canary_passed,
        pace: terms.per_minute.and_then(|per_minute| Pace::per_minute(per_minute).ok()),
        pace_at: get(row, "pace_at")?,
        window,
        pause_percent: terms.pause_percent,
        queued: counts.queued,
        tried: counts.tried(),
        troubled: counts.troubled(),
        tried_before: get(row, "tried_before")?,
        troubled_before: get(row, "troubled_before")?,
        canary_untried: get(&open, "canary_untried")?,
        has_open: get(&open, "has_open")?,
        next_at: lanes(id, terms.canary, canary_passed).into_iter().filter_map(next_of).min(),
    })
}

/// How many are due, no further than `at_most`.
async fn due(
    connection: &mut SqliteConnection,
    running: &Running,
    now: DateTime<Utc>,
    at_most: u32,
) -> StoreResult<u32> {
    let lanes = lanes(running.id, running.canary, running.canary_passed);
    let due: i64 = sqlx::query_scalar(
        "/* claim campaigns: due */ select count(*)
           from (select 1 from json_each(?1) as asked
                  cross join disconnect_events e indexed by disconnect_events_lane
                     on e.lane = asked.value and e.state in ('scheduled', 'queued') and +e.state = 'scheduled'
                    and e.next_at <= ?2
                  limit ?3)",
    )
    .bind(json(&lanes)?)
    .bind(at(now))
    .bind(at_most)
    .fetch_one(connection)
    .await
    .map_err(failure)?;
    Ok(to_u32(due))
}

async fn complete(connection: &mut SqliteConnection, campaign: CampaignId, now: DateTime<Utc>) -> StoreResult<()> {
    let written = sqlx::query(
        "/* claim campaigns: complete */ update campaigns set state = 'completed', ended_at = ?2
          where id = ?1 and state = 'running'",
    )
    .bind(campaign.0)
    .bind(at(now))
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    expect_rows(&written, 1, "claim campaigns: complete")?;
    campaign_log::write(connection, campaign, log::completed(), &log::itself(), now).await
}

/// Those in trouble at the last resume that have recovered since would hide as many new failures.
async fn forget_recovered(connection: &mut SqliteConnection, campaign: &Running) -> StoreResult<()> {
    if campaign.still_troubled_before() == campaign.troubled_before {
        return Ok(());
    }
    let written =
        sqlx::query("/* claim campaigns: forget recovered */ update campaigns set troubled_before = ?2 where id = ?1")
            .bind(campaign.id.0)
            .bind(campaign.still_troubled_before())
            .execute(connection)
            .await
            .map_err(failure)?;
    expect_rows(&written, 1, "claim campaigns: forget recovered")
}

/// When the first of what is queued in a running campaign's lanes is to be dispatched again.
async fn next_redispatch(connection: &mut SqliteConnection) -> StoreResult<Option<DateTime<Utc>>> {
    sqlx::query_scalar(
        "/* claim campaigns: next redispatch */ select min((
                select e.next_at from disconnect_events e indexed by disconnect_events_in_flight
                 where e.campaign_id = c.id and e.state = 'queued' and e.lane <> 0
                 order by e.next_at limit 1))
           from campaigns c where c.state = 'running'",
    )
    .fetch_one(connection)
    .await
    .map_err(failure)
}

/// How long there is nothing to claim.
async fn next(
    connection: &mut SqliteConnection,
    lanes: &[Lane],
    in_flight_max: u32,
    now: DateTime<Utc>,
) -> StoreResult<Option<Duration>> {
    let is_full = in_flight(lanes) >= in_flight_max;
    let until = lanes.iter().filter_map(|lane| match lane.step(now) {
        Step::Wait { until } => until,
        Step::Claim { .. } if is_full => Some(now + FULL),
        Step::Claim { .. } | Step::Pause { .. } | Step::TakeBack | Step::Complete => Some(now),
    });
    let until = until.chain(next_redispatch(connection).await?).min();
    Ok(until.map(|at| (at - now).to_std().unwrap_or(Duration::ZERO)))
}

/// Of running campaigns: others have nothing in flight.
fn in_flight(lanes: &[Lane]) -> u32 {
    lanes
        .iter()
        .filter_map(|lane| lane.running.as_ref().ok())
        .fold(0, |sum: u32, running| sum.saturating_add(to_u32(running.queued)))
}

fn to_u32(count: i64) -> u32 {
    u32::try_from(count.max(0)).unwrap_or(u32::MAX)
}
