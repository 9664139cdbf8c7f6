//! A command that waits for its own event, and runs it itself where nobody serves the database.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::Instant;

use super::session::RunOwn;
use crate::config::{Config, DatabaseUrl};
use crate::domain::event::EventId;
use crate::health::Health;
use crate::shutdown::{Shutdown, StopHandle};
use crate::store::{Redispatch, Store};
use crate::worker::Worker;

/// On SQLite one process at a time runs events, and the lock tells whether somebody does. On PostgreSQL the event is
/// left to those who serve.
pub struct OwnEvent {
    store: Arc<dyn Store>,
    worker: Worker,
    is_embedded: bool,
    redispatch: Redispatch,
    /// Never asked: what the command began it finishes.
    stop: (StopHandle, Shutdown),
}

impl OwnEvent {
    #[must_use]
    pub fn new(store: Arc<dyn Store>, config: &Config) -> Self {
        Self {
            worker: Worker::new(store.clone(), Arc::new(Health::default()), config.worker.clone()),
            store,
            is_embedded: matches!(config.database, DatabaseUrl::Sqlite(_)),
            redispatch: config.scheduler.redispatch,
            stop: Shutdown::new(),
        }
    }
}

#[async_trait]
impl RunOwn for OwnEvent {
    async fn run_own(&self, event: EventId, deadline: Instant) -> bool {
        // What is cut off there is rolled back, and whoever serves next schedules the event again.
        self.is_embedded && tokio::time::timeout_at(deadline, self.run(event)).await.unwrap_or(false)
    }
}

impl OwnEvent {
    async fn run(&self, event: EventId) -> bool {
        // Held by somebody who serves: the event is theirs. Any other trouble shows itself where the event is read.
        let Ok(serving) = self.store.serve("worker, for one command").await else { return false };
        let Ok(Some(order)) = self.store.claim_one(event, self.redispatch).await else { return false };
        self.worker.execute_here(order, &self.stop.1).await;
        drop(serving);
        true
    }
}
