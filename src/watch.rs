//! What the metrics say of the whole installation: what waits, what failed, who serves, whether the queue can be used.
//!
//! It is read now and then, and a scrape shows what was read last: so a scrape costs the database nothing, and is
//! answered when the database or the broker is away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::domain::campaign::PauseCause;
use crate::domain::event::State;
use crate::health::{Condition, Health};
use crate::queue::{Connectivity, Depth, Queue};
use crate::shutdown::Shutdown;
use crate::store::campaigns::UnderWay;
use crate::store::{OpenCounts, ServerSeen, Store, StoreResult};

/// How often it is read, where that is quick.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// At most one part in so many of the time is spent reading: events are counted, and an installation may have millions.
const SHARE: u32 = 20;

/// However long a look takes, the next one comes after this time.
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(600);

/// How long the broker may take to say how much waits.
const DEPTH_MAX: Duration = Duration::from_secs(2);

/// The states that are counted: what is over is no trouble.
pub const STATES: [State; 3] = [State::Scheduled, State::Queued, State::Failed];
pub const QUEUES: [&str; 3] = ["single", "campaign", "dead"];
/// Those that say in the database that they serve it.
pub const ROLES: [&str; 2] = ["scheduler", "worker"];

pub struct Watch {
    pub store: Arc<dyn Store>,
    pub queue: Arc<dyn Queue>,
    pub health: Arc<Health>,
    pub clock: Clock,
}

impl Watch {
    /// Until a stop is asked for.
    pub async fn run(self, stop: Shutdown) {
        tokio::select! {
            () = stop.asked() => {}
            () = self.follow_queue() => {}
            () = self.look_again_and_again() => {}
        }
    }

    async fn follow_queue(&self) {
        let mut connectivity = self.queue.connectivity();
        loop {
            let is_up = *connectivity.borrow_and_update() == Connectivity::Up;
            metrics::gauge!("disconnectd_queue_up").set(if is_up { 1.0 } else { 0.0 });
            if connectivity.changed().await.is_err() {
                std::future::pending::<()>().await; // the sender is in the queue: it does not go away
            }
        }
    }

    async fn look_again_and_again(&self) {
        let mut is_told = false;
        loop {
            let begun = Instant::now();
            // That it is away is said elsewhere, and what was read last stays.
            if !matches!(self.health.database(), Condition::Down(_)) {
                match self.look().await {
                    Ok(()) => {
                        let now = self.clock.now().timestamp_micros();
                        #[expect(clippy::cast_precision_loss, reason = "exact for the next two hundred years")]
                        metrics::gauge!("disconnectd_looked_at_timestamp_seconds").set(now as f64 / 1e6);
                        is_told = false;
                    }
                    Err(error) if is_told => tracing::debug!(%error, "the metrics stay as they are"),
                    Err(error) => {
                        tracing::warn!(%error, "the metrics of the whole installation can't be read; they stay as they are");
                        is_told = true;
                    }
                }
            }
            if let Ok(Ok(depth)) = tokio::time::timeout(DEPTH_MAX, self.queue.depth()).await {
                show_depth(depth);
            }
            tokio::time::sleep(LOOK_EVERY.max(begun.elapsed() * SHARE).min(LOOK_AGAIN_MAX)).await;
        }
    }

    async fn look(&self) -> StoreResult<()> {
        let asked = self.health.asking();
        let reading = async {
            show_events(&self.store.open_counts().await?);
            show_servers(&self.store.servers().await?);
            show_campaigns(&self.store.campaigns_under_way().await?);
            Ok(())
        };
        self.health.answer(asked, reading).await
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody has so many events that it matters")]
fn show_events(counts: &OpenCounts) {
    let OpenCounts { scheduled, queued, failed, overdue, lag_seconds, oldest_due_seconds, dispatches_max } = counts;
    for (state, count) in STATES.into_iter().zip([scheduled, queued, failed]) {
        metrics::gauge!("disconnectd_events", "state" => state.as_str()).set(*count as f64);
    }
    metrics::gauge!("disconnectd_overdue_events").set(*overdue as f64);
    metrics::gauge!("disconnectd_due_lag_seconds").set(*lag_seconds);
    metrics::gauge!("disconnectd_oldest_due_seconds").set(*oldest_due_seconds);
    metrics::gauge!("disconnectd_dispatches_max").set(*dispatches_max);
}

fn show_servers(servers: &[ServerSeen]) {
    for role in ROLES {
        let count = servers.iter().filter(|server| server.roles.split(", ").any(|its| its == role)).count();
        metrics::gauge!("disconnectd_servers", "role" => role).set(u32::try_from(count).unwrap_or(u32::MAX));
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody has so many campaigns that it matters")]
fn show_campaigns(campaigns: &UnderWay) {
    metrics::gauge!("disconnectd_campaigns_running").set(campaigns.running as f64);
    for cause in PauseCause::ALL {
        let count = campaigns.paused.get(&cause).copied().unwrap_or_default();
        metrics::gauge!("disconnectd_campaigns_paused", "cause" => cause.as_str()).set(count as f64);
    }
}

#[expect(clippy::cast_precision_loss, reason = "no queue holds so many messages that it matters")]
fn show_depth(Depth { single, campaign, dead }: Depth) {
    for (queue, count) in QUEUES.into_iter().zip([single, campaign, dead]) {
        metrics::gauge!("disconnectd_queue_messages", "queue" => queue).set(count as f64);
    }
}
