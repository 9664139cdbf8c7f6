//! Templates make campaigns. A large one takes its time, so this holds up nothing else, and a stop does not wait for it.

use std::time::Duration;

use super::Scheduler;
use crate::shutdown::Shutdown;
use crate::store::StoreResult;

/// While another scheduler has the tick that is due in hand.
const IN_HAND: Duration = Duration::from_secs(1);

impl Scheduler {
    /// Until no tick is due. Answers how long until the next.
    pub(super) async fn make_recurring(&self, stop: &Shutdown) -> StoreResult<Option<Duration>> {
        loop {
            let asked = self.health.asking();
            let ticked = tokio::select! {
                ticked = self.health.answer(asked, self.store.tick(self.failures_max)) => ticked?,
                () = stop.asked() => return Ok(None),
            };
            match ticked.note {
                Some(note) => tracing::info!("{note}"),
                None => return Ok(ticked.next.map(|next| if next.is_zero() { IN_HAND } else { next })),
            }
        }
    }
}
