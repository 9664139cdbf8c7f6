//! Lane 0: single disconnects.

use std::time::Duration;

use super::{LOOK_AGAIN, Scheduler, Told};
use crate::domain::event::Order;
use crate::fault::{self, Step};
use crate::queue::LaneKind;
use crate::shutdown::Shutdown;
use crate::store::StoreResult;

impl Scheduler {
    /// Publishes everything that is due, the next claim running while the last one is confirmed. Answers how long
    /// nothing will be due.
    pub(super) async fn dispatch_singles(&self, stop: &Shutdown, told: &Told) -> StoreResult<Option<Duration>> {
        let mut claimed: Vec<Order> = Vec::new();
        loop {
            if !self.queue_is_up() || stop.is_asked() {
                self.publish(LaneKind::Single, &claimed).await;
                // The connectivity's change, or the sweep, ends this wait.
                return Ok(None);
            }
            let last = std::mem::take(&mut claimed);
            let (next, ()) = tokio::join!(self.claim_singles(), self.publish(LaneKind::Single, &last));
            claimed = next?;
            if claimed.is_empty() {
                let asked = self.health.asking();
                let next_due = self.health.answer(asked, self.store.next_due()).await?;
                if next_due != Some(Duration::ZERO) {
                    return Ok(next_due);
                }
                // Due, and yet not claimed: another scheduler is at it. Give it a moment.
                return Ok(Some(LOOK_AGAIN));
            }
            told.written.notify_one();
        }
    }

    async fn claim_singles(&self) -> StoreResult<Vec<Order>> {
        let asked = self.health.asking();
        let orders = self.health.answer(asked, self.store.claim(self.config.claim_max, self.config.redispatch)).await?;
        self.health.database_answered(asked);
        if !orders.is_empty() {
            fault::behind(Step::Claim);
        }
        metrics::counter!("disconnectd_claimed_total").increment(orders.len() as u64);
        Ok(orders)
    }
}
