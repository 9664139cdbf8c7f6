//! What campaigns need done beside the claims, a step of each kind at a time.

use super::{commands, enlist, leftovers};
use crate::store::campaigns::Upkeep;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::{PostgresStore, VERB_LIMIT, within};

/// Trouble of one kind (somebody holds accounts for long) holds up no other kind; it is answered in the end.
pub(super) async fn step(store: &PostgresStore) -> Result<Upkeep, Failure> {
    let enlisted = enlist::batch(store).await;
    let cancelled = within(VERB_LIMIT, leftovers::cancel_batch(store)).await;
    within(VERB_LIMIT, commands::finish_a_pause(store)).await?;
    Ok(Upkeep { enlisted: enlisted?, cancelled: cancelled? })
}
