//! While much is written, dead index entries are marked, so that lists need not read them, and tables are analyzed.

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
    /// Once something was written, and then a pause. Nothing depends on it: where it fails, it is done another time, and
    /// whether the database is there others find out.
    pub(super) async fn tend(&self, stop: &Shutdown, told: &Told) -> StoreResult<Option<Duration>> {
        let tending = async {
            told.written.notified().await;
            let begun = Instant::now();
            if let Err(error) = self.store.tend().await {
                tracing::debug!(%error, "the lists are not tended to");
            }
            tokio::time::sleep(PAUSE.max(begun.elapsed() * TIMES_PAUSED)).await;
        };
        tokio::select! {
            () = tending => Ok(Some(Duration::ZERO)),
            () = stop.asked() => Ok(None),
        }
    }
}
