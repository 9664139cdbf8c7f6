//! What this process knows of the parts that it depends on. Each change is logged once.

use std::sync::Mutex;

use serde::Serialize;

/// One part: the database, the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    Starting,
    Up,
    /// With the reason, in words.
    Down(String),
}

/// The database as the scheduler and the worker found it last.
#[derive(Debug)]
pub struct Health {
    database: Mutex<Condition>,
}

impl Default for Health {
    fn default() -> Self {
        Self { database: Mutex::new(Condition::Starting) }
    }
}

impl Health {
    #[must_use]
    pub fn database(&self) -> Condition {
        self.lock().clone()
    }

    pub fn database_is_up(&self) {
        let before = std::mem::replace(&mut *self.lock(), Condition::Up);
        metrics::gauge!("disconnectd_database_up").set(1.0);
        if matches!(before, Condition::Down(_)) {
            tracing::info!("the database is back");
        }
    }

    pub fn database_is_down(&self, reason: &str) {
        let before = std::mem::replace(&mut *self.lock(), Condition::Down(reason.to_owned()));
        metrics::gauge!("disconnectd_database_up").set(0.0);
        if !matches!(before, Condition::Down(_)) {
            tracing::error!(reason, "the database is away; trying again until it is back");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Condition> {
        self.database.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
