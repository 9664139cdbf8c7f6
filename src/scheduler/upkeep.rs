//! What campaigns need done beside the claims: members become events, what an aborted one left is cancelled, and
//! templates make campaigns.

use std::time::Duration;

use tokio::sync::Notify;

use super::Scheduler;
use crate::shutdown::Shutdown;
use crate::store::StoreResult;

impl Scheduler {
    /// Until there is nothing left. It needs the database alone: it goes on while the broker is away. Answers how long
    /// until a template's next tick.
    pub(super) async fn keep_up(&self, stop: &Shutdown, enlisted: &Notify) -> StoreResult<Option<Duration>> {
        loop {
            let asked = self.health.asking();
            let done = self.health.answer(asked, self.store.upkeep(self.failures_max)).await?;
            if done.enlisted > 0 {
                enlisted.notify_one();
            }
            for note in &done.notes {
                tracing::info!("{note}");
            }
            if !done.more || stop.is_asked() {
                return Ok(done.next_tick);
            }
        }
    }
}
