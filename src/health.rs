//! What this process knows of the parts that it depends on. Each change is logged once.

use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;

use crate::backoff::Backoff;
use crate::shutdown::Shutdown;
use crate::store::{Store, StoreError, StoreResult};

/// How often a database that was there is asked whether it still is: one that falls silent without closing its
/// connections answers nobody, and no verb notices for long.
const PROBE_EVERY: Duration = Duration::from_secs(3);

/// How long an answer may still come once the database is back.
const LATE_ANSWER: Duration = Duration::from_secs(2);

/// One part: the database, the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    Starting,
    Up,
    /// With the reason, in words.
    Down(String),
}

/// The database as whoever asked it found it last.
#[derive(Debug)]
pub struct Health {
    database: watch::Sender<Known>,
}

#[derive(Debug)]
struct Known {
    condition: Condition,
    /// Times that it went or came.
    changes: u64,
}

/// When the database was asked something. What comes of it tells nothing about an outage or a recovery that was
/// noticed meanwhile: of the connections that one outage breaks, some owners hear of it after others are back.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    changes: u64,
}

impl Default for Health {
    fn default() -> Self {
        Self { database: watch::Sender::new(Known { condition: Condition::Starting, changes: 0 }) }
    }
}

impl Health {
    #[must_use]
    pub fn database(&self) -> Condition {
        self.database.borrow().condition.clone()
    }

    /// To be called before the database is asked.
    #[must_use]
    pub fn asking(&self) -> Asked {
        Asked { changes: self.database.borrow().changes }
    }

    pub fn database_answered(&self, asked: Asked) {
        // Nothing new, nearly always: then nobody is woken.
        if self.database() != Condition::Up {
            self.set(asked, Condition::Up);
        }
    }

    pub fn database_failed(&self, asked: Asked, reason: &str) {
        self.set(asked, Condition::Down(reason.to_owned()));
    }

    /// Waits for what a verb of the store answers, but not for an answer that an outage took: where the database went
    /// and came back meanwhile, the connection that it was asked on may be dead without a word.
    pub async fn answer<T>(&self, asked: Asked, verb: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
        let lost = async {
            let mut known = self.database.subscribe();
            let back = |known: &Known| known.condition == Condition::Up && known.changes >= asked.changes + 2;
            let _ = known.wait_for(back).await; // the sender is in self: never an error
            tokio::time::sleep(LATE_ANSWER).await;
        };
        tokio::select! {
            answer = verb => answer,
            () = lost => Err(StoreError::Unavailable("its answer was lost when it went away".into())),
        }
    }

    /// Waits until the database is away.
    pub async fn database_is_away(&self) {
        let mut known = self.database.subscribe();
        // The sender is in self: never an error.
        let _ = known.wait_for(|known| matches!(known.condition, Condition::Down(_))).await;
    }

    /// Asks the database now and then, until a stop is asked for. For processes that serve.
    pub async fn probe_database(&self, store: &dyn Store, stop: &Shutdown) {
        let mut backoff = Backoff::new();
        while !stop.is_asked() {
            let asked = self.asking();
            let answer = tokio::select! {
                biased; // the store closes after the stop, which is no outage
                () = stop.asked() => return,
                answer = store.ping() => answer,
            };
            match answer {
                Ok(()) => {
                    self.database_answered(asked);
                    backoff = Backoff::new();
                    tokio::select! {
                        () = tokio::time::sleep(PROBE_EVERY) => {}
                        () = stop.asked() => {}
                    }
                }
                Err(error) => {
                    self.database_failed(asked, &error.to_string());
                    backoff.wait(stop).await;
                }
            }
        }
    }

    fn set(&self, asked: Asked, now: Condition) {
        self.database.send_if_modified(|known| {
            if known.changes != asked.changes {
                return false;
            }
            let is_up = now == Condition::Up;
            let was_down = matches!(known.condition, Condition::Down(_));
            metrics::gauge!("disconnectd_database_up").set(if is_up { 1.0 } else { 0.0 });
            match &now {
                Condition::Down(reason) if !was_down => {
                    tracing::error!(reason, "the database is away; trying again until it is back");
                }
                Condition::Up if was_down => tracing::info!("the database is back"),
                _ => {}
            }
            if was_down == is_up || known.condition == Condition::Starting {
                known.changes += 1;
            }
            known.condition = now;
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_began_before_an_outage_or_a_recovery_tells_nothing_about_it() {
        let health = Health::default();
        let first = health.asking();
        health.database_answered(first);
        let (one, other, slow) = (health.asking(), health.asking(), health.asking());
        health.database_failed(one, "cut");
        health.database_answered(other); // it was answered just before the cut
        assert!(matches!(health.database(), Condition::Down(_)));
        health.database_answered(health.asking());
        health.database_failed(slow, "cut"); // hears late of the same cut
        assert_eq!(health.database(), Condition::Up);
        health.database_failed(health.asking(), "cut again");
        assert!(matches!(health.database(), Condition::Down(_)));
    }
}
