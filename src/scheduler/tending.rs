//! What claims and disconnects leave behind for the lists to pass over is looked through soon, by nobody who waits for it.

use std::time::{Duration, Instant};

use super::{Scheduler, Told};
use crate::shutdown::Shutdown;
use crate::store::StoreResult;

/// Between two looks, at least. At 4,000 disconnects a second each has 8,000 rows to read, some milliseconds.
const PAUSE: Duration = Duration::from_secs(1);

/// A look that took long is followed by a pause so many times as long: while somebody looks at an old state of the database
/// (a backup), nothing can be marked, and each reads what was left since.
const TIMES_PAUSED: u32 = 20;

impl Scheduler {
    /// Once something was claimed, and then a pause.
    pub(super) async fn tend(&self, stop: &Shutdown, told: &Told) -> StoreResult<Option<Duration>> {
        tokio::select! {
            () = told.claimed.notified() => {}
            () = stop.asked() => return Ok(None),
        }
        let (asked, begun) = (self.health.asking(), Instant::now());
        self.health.answer(asked, self.store.tend()).await?;
        tokio::select! {
            () = tokio::time::sleep(PAUSE.max(begun.elapsed() * TIMES_PAUSED)) => {}
            () = stop.asked() => {}
        }
        Ok(Some(Duration::ZERO))
    }
}
