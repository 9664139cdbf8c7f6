//! The campaigns' lanes. What may go to the queue (pace, window, canary, shares, what is in flight) is the claim's.

use std::time::Duration;

use super::{LOOK_AGAIN, Scheduler, Told};
use crate::domain::event::Order;
use crate::fault::{self, Step};
use crate::queue::LaneKind;
use crate::shutdown::Shutdown;
use crate::store::StoreResult;
use crate::store::campaigns::Claimed;

impl Scheduler {
    /// As for singles. Answers how long there is nothing more to claim by the clock.
    pub(super) async fn dispatch_campaigns(&self, stop: &Shutdown, told: &Told) -> StoreResult<Option<Duration>> {
        let mut orders: Vec<Order> = Vec::new();
        loop {
            if !self.queue_is_up() || stop.is_asked() {
                self.publish(LaneKind::Campaign, &orders).await;
                return Ok(None);
            }
            let last = std::mem::take(&mut orders);
            let (claimed, ()) = tokio::join!(self.claim_campaigns(), self.publish(LaneKind::Campaign, &last));
            let claimed = claimed?;
            orders = claimed.orders;
            if orders.is_empty() {
                return Ok(claimed.next.map(|next| if next.is_zero() { LOOK_AGAIN } else { next }));
            }
            told.written.notify_one();
        }
    }

    async fn claim_campaigns(&self) -> StoreResult<Claimed> {
        let asked = self.health.asking();
        let (claim_max, in_flight_max) = (self.config.claim_max, self.config.in_flight_max);
        let claim = self.store.claim_campaigns(claim_max, in_flight_max, self.config.redispatch);
        let claimed = self.health.answer(asked, claim).await?;
        self.health.database_answered(asked);
        if !claimed.orders.is_empty() {
            fault::behind(Step::Claim);
        }
        metrics::counter!("disconnectd_claimed_total").increment(claimed.orders.len() as u64);
        for (campaign, note) in &claimed.notes {
            tracing::info!(%campaign, "campaign {campaign} {note}");
        }
        Ok(claimed)
    }
}
