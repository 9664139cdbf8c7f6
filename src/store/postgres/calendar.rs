//! The calendar: how many events are due when.

use chrono::{DateTime, Utc};
use sqlx::Row;

use super::failure::Failure;
use super::{PostgresStore, rows};
use crate::store::{DUE_COUNTED_MAX, DueCounts};

pub(super) async fn due_counts(store: &PostgresStore, bounds: &[DateTime<Utc>]) -> Result<Vec<DueCounts>, Failure> {
    let (from, until) = (bounds.get(..bounds.len().saturating_sub(1)), bounds.get(1..));
    let (from, until) = (from.unwrap_or_default(), until.unwrap_or_default());
    let mut counts = vec![DueCounts::default(); from.len()];
    let found = sqlx::query(
        // From the index alone: it has both columns.
        "/* calendar: due */
         select span.place, due.state, count(*) as events
           from unnest($1::timestamptz[], $2::timestamptz[]) with ordinality as span (due_from, due_until, place)
          cross join lateral (
                select e.state from all_disconnect_events e
                 where e.due_at >= span.due_from and e.due_at < span.due_until
                 order by e.due_at limit $3) due
          group by span.place, due.state",
    )
    .bind(from)
    .bind(until)
    .bind(i64::from(DUE_COUNTED_MAX))
    .fetch_all(&store.pool)
    .await?;
    for row in &found {
        let place = usize::try_from(row.try_get::<i64, _>("place")? - 1).unwrap_or(usize::MAX);
        if let Some(counts) = counts.get_mut(place) {
            counts.add(rows::state(row.try_get("state")?)?, row.try_get("events")?);
        }
    }
    Ok(counts)
}
