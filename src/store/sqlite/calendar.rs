//! The calendar: how many events are due when.

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;

use super::failure::failure;
use super::rows::{at, get, word};
use crate::domain::event::State;
use crate::store::{DUE_COUNTED_MAX, DueCounts, StoreResult};

pub async fn due_counts(connection: &mut SqliteConnection, bounds: &[DateTime<Utc>]) -> StoreResult<Vec<DueCounts>> {
    let mut all = Vec::with_capacity(bounds.len());
    for span in bounds.windows(2) {
        let found = sqlx::query(
            // From the index alone: it has both columns.
            "/* calendar: due */ select state, count(*) as events
               from (select state from disconnect_events where due_at >= ?1 and due_at < ?2 order by due_at limit ?3)
              group by state",
        )
        .bind(at(span[0]))
        .bind(at(span[1]))
        .bind(i64::from(DUE_COUNTED_MAX))
        .fetch_all(&mut *connection)
        .await
        .map_err(failure)?;
        let mut counts = DueCounts::default();
        for row in &found {
            counts.add(word(row, "state", State::parse)?, get(row, "events")?);
        }
        all.push(counts);
    }
    Ok(all)
}
