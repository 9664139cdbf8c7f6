//! What campaigns need done beside the claim.

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;

use super::super::SqliteStore;
use super::super::failure::failure;
use super::super::rows::{at, get, json};
use super::leftovers::Cancelled;
use super::stored;
use crate::domain::campaign::CampaignId;
use crate::domain::event::EventId;
use crate::domain::story;
use crate::store::StoreResult;
use crate::store::campaigns::{ENLIST_MAX, Upkeep};

/// What there is to do.
struct Tasks {
    /// A running campaign that has members waiting.
    enlists: Option<CampaignId>,
    /// An aborted one that has events open.
    cancels: Option<CampaignId>,
}

impl SqliteStore {
    /// One step of each kind. The database is locked only where there is something to do, and for each step anew.
    pub(in super::super) async fn keep_up(&self) -> StoreResult<Upkeep> {
        let tasks = self.tasks().await?;
        let mut done = Upkeep::default();
        if let Some(campaign) = tasks.enlists {
            done.enlisted = self.enlist_some(campaign).await?;
        }
        if let Some(campaign) = tasks.cancels {
            done.cancelled = self.cancel_some(campaign).await?;
        }
        Ok(done)
    }

    async fn tasks(&self) -> StoreResult<Tasks> {
        let row = sqlx::query(
            "/* upkeep: tasks */ select
                    -- The one that has come least far, so that none waits for another.
                    (select id from campaigns where state = 'running' and enlisted < accounts
                      order by enlisted, id limit 1) as enlists,
                    (select id from campaigns c where c.state = 'aborted'
                        and exists (select 1 from disconnect_events e indexed by disconnect_events_lane
                                     where e.lane in (c.id, -c.id) and e.state in ('scheduled', 'queued'))
                      order by id limit 1) as cancels",
        )
        .fetch_one(&self.readers)
        .await
        .map_err(failure)?;
        Ok(Tasks {
            enlists: get::<Option<i64>, _>(&row, "enlists")?.map(CampaignId),
            cancels: get::<Option<i64>, _>(&row, "cancels")?.map(CampaignId),
        })
    }

    /// Cancels some of what an aborted campaign has left. Answers how many.
    async fn cancel_some(&self, campaign: CampaignId) -> StoreResult<u64> {
        let mut tx = self.write().await?;
        let now = self.now();
        let stored = stored::load(&mut tx, campaign).await?;
        let cancelled = cancel(&mut tx, campaign, now).await?;
        let mut written = Cancelled::default();
        let count = cancelled.len() as u64;
        for (event, account) in cancelled {
            written.add(event, account, campaign, story::campaign_aborted(event, campaign));
        }
        written.write(&mut tx, &stored.ender(), stored.pause_note.as_deref(), now).await?;
        tx.commit().await.map_err(failure)?;
        Ok(count)
    }
}

/// Answers the events with their accounts.
async fn cancel(
    connection: &mut SqliteConnection,
    campaign: CampaignId,
    now: DateTime<Utc>,
) -> StoreResult<Vec<(EventId, i64)>> {
    let rows = sqlx::query(
        "/* upkeep: cancel */ update disconnect_events set state = 'cancelled', next_at = null, ended_at = ?2
          where id in (select e.id from json_each(?1) as lanes
                        cross join disconnect_events e indexed by disconnect_events_lane
                           on e.lane = lanes.value and e.state in ('scheduled', 'queued')
                         join campaigns c on c.id = e.campaign_id and c.state = 'aborted'
                        limit ?3)
         returning id, account_id",
    )
    .bind(json(&[campaign.0, -campaign.0])?)
    .bind(at(now))
    .bind(ENLIST_MAX)
    .fetch_all(connection)
    .await
    .map_err(failure)?;
    rows.iter().map(|row| Ok((EventId(get(row, "id")?), get(row, "account_id")?))).collect()
}
