//! What campaigns need done beside the claims, a step of each kind at a time.

use std::time::Duration;

use super::{enlist, leftovers, templates};
use crate::store::campaigns::Upkeep;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::{PostgresStore, VERB_LIMIT, within};

/// Trouble of one kind (somebody holds accounts for long) holds up no other kind; it is answered in the end.
pub(super) async fn step(store: &PostgresStore, failures_max: i32) -> Result<Upkeep, Failure> {
    let enlisted = enlist::batch(store).await;
    let cancelled = within(VERB_LIMIT, leftovers::cancel_batch(store)).await;
    let ticked = templates::tick(store, failures_max).await;
    let (enlisted, cancelled, note) = (enlisted?, cancelled?, ticked?);
    Ok(Upkeep {
        enlisted,
        cancelled,
        more: enlisted > 0 || cancelled > 0 || note.is_some(),
        notes: note.into_iter().collect(),
        next_tick: within(VERB_LIMIT, templates::next_tick(store)).await?,
    })
}

/// Never negative; a tick thousands of years ahead still fits.
pub(super) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}
