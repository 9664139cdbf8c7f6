//! What an overview is made from.

use sqlx::postgres::PgConnection;

use super::failure::Failure;
use super::{PostgresStore, accounts, events, rows, snapshot};
use crate::domain::account::{AccountId, AccountNumber};
use crate::domain::family::Relative;
use crate::domain::overview::OverviewFacts;

pub(super) async fn facts(store: &PostgresStore, number: &AccountNumber) -> Result<OverviewFacts, Failure> {
    let mut tx = store.begin_view().await?;
    let account = accounts::view(&mut tx, number).await?;
    let (id, parent_id): (i64, Option<i64>) =
        sqlx::query_as("/* overview: account */ select id, parent_id from accounts where number = $1")
            .bind(number.as_str())
            .fetch_one(&mut *tx)
            .await?;
    let (mut snapshots, now) = snapshot::load(&mut tx, &[id]).await?;
    let open_event = match account.open_event {
        None => None,
        Some(event) => Some(events::view(&mut tx, event).await?),
    };
    let facts = OverviewFacts {
        // Seen by the same view as the account a moment ago.
        snapshot: snapshots.remove(&AccountId(id)).ok_or_else(|| accounts::unknown(number))?,
        parent: relatives(&mut tx, parent_id, None).await?.pop(),
        children: relatives(&mut tx, None, Some(id)).await?,
        account,
        open_event,
        now,
    };
    tx.rollback().await;
    Ok(facts)
}

/// The account `itself`, or the children of `parent`, by number.
async fn relatives(db: &mut PgConnection, itself: Option<i64>, parent: Option<i64>) -> Result<Vec<Relative>, Failure> {
    let found = sqlx::query(
        "/* overview: relatives */
         select a.number, a.name, s.name as status, a.disconnected_at, a.email, a.mailing_address, e.id as open_event
           from accounts a
           join account_statuses s on s.id = a.status_id
           left join disconnect_events e on e.account_id = a.id and e.state in ('scheduled', 'queued')
          where a.id = $1 or a.parent_id = $2
          order by a.number",
    )
    .bind(itself)
    .bind(parent)
    .fetch_all(db)
    .await?;
    found.iter().map(rows::relative).collect()
}
