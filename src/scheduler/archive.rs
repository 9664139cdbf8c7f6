//! Events that ended some time ago go to the archive, so that the table that everything lives from stays small.

use std::time::{Duration, Instant};

use super::Scheduler;
use crate::store::{ARCHIVE_MAX, StoreResult};

/// Between two batches, in each scheduler, at least: 86 million events a day, and hardly anything of what disconnects need meanwhile.
/// A campaign that runs slows it down no more than that, since at such numbers there is always one.
const PAUSE: Duration = Duration::from_secs(1);

/// A batch that took long is followed by a pause so many times as long. While somebody looks at an old state of the database
/// (a backup), a batch passes over all that were moved since.
const TIMES_PAUSED: u32 = 20;

impl Scheduler {
    /// A batch. Answers how long until the next, where there is more.
    pub(super) async fn archive(&self) -> StoreResult<Option<Duration>> {
        let Some(after) = self.config.archive_after else { return Ok(None) };
        let (asked, begun) = (self.health.asking(), Instant::now());
        let moved = self.health.answer(asked, self.store.archive(after)).await?;
        if moved > 0 {
            metrics::counter!("disconnectd_archived_total").increment(moved);
            tracing::debug!(moved, "{moved} events that had ended went to the archive");
        }
        Ok((moved >= u64::from(ARCHIVE_MAX)).then(|| PAUSE.max(begun.elapsed() * TIMES_PAUSED)))
    }
}
