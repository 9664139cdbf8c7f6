//! Hints that something may have become due sooner than was known.

use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// How often the file is asked whether another connection wrote. It bounds the latency of a hint from another process.
const POLL: Duration = Duration::from_millis(50);

/// A number that changes with each hint.
pub struct Hints(watch::Sender<u64>);

impl Default for Hints {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Hints {
    pub fn hint(&self) {
        self.0.send_modify(|hints| *hints = hints.wrapping_add(1));
    }

    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }

    /// Hints at each commit of any other connection, those of this process included: they cost a look at the database,
    /// and a look that finds nothing commits nothing. Never ends by itself.
    pub async fn follow(&self, options: SqliteConnectOptions) {
        let mut ticks = tokio::time::interval(POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Ok(mut connection) = options.connect().await {
                // The first look hints as well: who knows what was written before it.
                let mut version = None;
                while let Ok(seen) = data_version(&mut connection).await {
                    if version.replace(seen) != Some(seen) {
                        self.hint();
                    }
                    ticks.tick().await;
                }
            }
        }
    }
}

/// Changes when another connection has committed. It reads shared memory alone, so it costs next to nothing.
async fn data_version(connection: &mut SqliteConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar("/* hints: data version */ pragma data_version").fetch_one(connection).await
}
