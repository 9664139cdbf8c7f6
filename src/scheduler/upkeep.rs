//! What campaigns need done beside the claims: members become events, and what an aborted one left is cancelled.

use std::time::Duration;

use super::{Scheduler, Told};
use crate::shutdown::Shutdown;
use crate::store::StoreResult;
use crate::store::campaigns::Upkeep;

impl Scheduler {
    /// Until there is nothing left. It needs the database alone: it goes on while the broker is away.
    pub(super) async fn keep_up(&self, stop: &Shutdown, told: &Told) -> StoreResult<Option<Duration>> {
        loop {
            let asked = self.health.asking();
            let done = self.health.answer(asked, self.store.upkeep()).await?;
            if done.enlisted > 0 {
                told.enlisted.notify_one();
            }
            if done == Upkeep::default() || stop.is_asked() {
                return Ok(None);
            }
            told.written.notify_one();
        }
    }
}
