//! Events that ended some time ago go to the archive, so that the table that everything lives from stays small.

use std::time::Duration;

use super::Scheduler;
use crate::store::{ARCHIVE_MAX, StoreResult};

/// Between two batches, in each scheduler: 86 million events a day, and hardly anything of what disconnects need meanwhile.
/// A campaign that runs slows it down no more than that, since at such numbers there is always one.
const PAUSE: Duration = Duration::from_secs(1);

impl Scheduler {
    /// A batch. Answers how long until the next, where there is more.
    pub(super) async fn archive(&self) -> StoreResult<Option<Duration>> {
        let Some(after) = self.config.archive_after else { return Ok(None) };
        let asked = self.health.asking();
        let moved = self.health.answer(asked, self.store.archive(after)).await?;
        if moved > 0 {
            metrics::counter!("disconnectd_archived_total").increment(moved);
            tracing::debug!(moved, "{moved} events that had ended went to the archive");
        }
        Ok((moved >= u64::from(ARCHIVE_MAX)).then_some(PAUSE))
    }
}
