//! What an aborted campaign has left open: it counts as no open event, and whoever needs its place cancels it.

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;

use super::super::failure::failure;
use super::super::rows::{at, expect_rows, get, json};
use super::Tallies;
use crate::domain::account::LogKind;
use crate::domain::actor::Actor;
use crate::domain::campaign::{CampaignId, TallyKind};
use crate::domain::event::EventId;
use crate::domain::story;
use crate::store::StoreResult;

/// The condition that an event, by its name in the statement, is not what an aborted campaign has left.
macro_rules! stands {
    ($event:literal) => {
        concat!(
            "(",
            $event,
            ".lane = 0 or not exists (select 1 from campaigns aborted where aborted.id = ",
            $event,
            ".campaign_id and aborted.state = 'aborted'))"
        )
    };
}
pub(crate) use stands;

/// Cancels what aborted campaigns left open of these accounts: another disconnect is asked for. In the transaction that
/// makes the other event.
pub async fn cancel_leftovers(
    connection: &mut SqliteConnection,
    accounts: &[i64],
    by: &Actor,
    reason: Option<&str>,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    let cancelled = sqlx::query(
        "/* leftovers: make way */ update disconnect_events
            set state = 'cancelled', next_at = null, ended_at = ?2
          where id in (select e.id from json_each(?1) as asked
                        cross join disconnect_events e on e.account_id = asked.value
                              and e.state in ('scheduled', 'queued') and e.lane <> 0
                         join campaigns c on c.id = e.campaign_id and c.state = 'aborted')
         returning id, account_id, campaign_id",
    )
    .bind(json(accounts)?)
    .bind(at(now))
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    let mut written = Cancelled::default();
    for row in &cancelled {
        let (event, campaign) = (EventId(get(row, "id")?), CampaignId(get(row, "campaign_id")?));
        written.add(event, get(row, "account_id")?, campaign, story::leftover_cancelled(event, campaign));
    }
    written.write(connection, by, reason, now).await
}

/// The log and the tallies of events that were cancelled.
#[derive(Default)]
pub struct Cancelled {
    /// Account, message, event.
    log: Vec<(i64, String, i64)>,
    tallies: Tallies,
}

impl Cancelled {
    pub fn add(&mut self, event: EventId, account: i64, campaign: CampaignId, message: String) {
        self.log.push((account, message, event.0));
        self.tallies.count(campaign, TallyKind::Cancelled, 1, None);
    }

    pub async fn write(
        mut self,
        connection: &mut SqliteConnection,
        by: &Actor,
        reason: Option<&str>,
        now: DateTime<Utc>,
    ) -> StoreResult<()> {
        if self.log.is_empty() {
            return Ok(());
        }
        self.log.sort_unstable_by_key(|(_, _, event)| *event);
        let written = sqlx::query(
            "/* cancelled: log */ insert into account_log (account_id, at, kind, message, actor, source, event_id, reason)
             select value ->> 0, ?2, ?3, value ->> 1, ?4, ?5, value ->> 2, ?6 from json_each(?1) order by key",
        )
        .bind(json(&self.log)?)
        .bind(at(now))
        .bind(LogKind::Cancelled.as_str())
        .bind(&by.name)
        .bind(by.source.as_str())
        .bind(reason)
        .execute(&mut *connection)
        .await
        .map_err(failure)?;
        expect_rows(&written, self.log.len(), "cancelled: log")?;
        self.tallies.append(connection).await
    }
}
