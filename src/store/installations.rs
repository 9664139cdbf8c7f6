//! The database's own part of the port: its schema, its settings, who serves it, and how much is in it.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use super::StoreResult;
use crate::domain::account::Status;
use crate::domain::settings::{SettingKey, Settings};

/// Which database this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// Made with the database: 16 lower-case hexadecimal digits. It stands in the names of the queues.
    pub id: String,
    /// The sample provider's: `demo` may start it over.
    pub is_demo: bool,
}

/// The database itself.
#[async_trait]
pub trait Installations: Send + Sync {
    /// Brings the schema up to date, several processes at once too. Answers how many migrations were applied.
    ///
    /// # Errors
    /// [`super::StoreError::Unusable`] for a database newer than the program.
    async fn migrate(&self) -> StoreResult<usize>;

    /// Whether the schema is exactly the one that this program was made for.
    ///
    /// # Errors
    /// [`super::StoreError::Unusable`] with what to do, where it is older (or empty) or newer.
    async fn check_schema(&self) -> StoreResult<()>;

    async fn installation(&self) -> StoreResult<Installation>;

    /// Marks a freshly migrated database without any account as the demo's. With an `id` it goes on as that
    /// installation, whose queues are there already.
    ///
    /// # Errors
    /// [`crate::domain::refusal::Refusal::NotTheDemo`] where it has accounts.
    async fn mark_demo(&self, id: Option<&str>) -> StoreResult<()>;

    /// Empties a database that bears the demo's mark: the schema is dropped, whole. Answers the id that the
    /// installation had. On a database without any table it does nothing.
    ///
    /// # Errors
    /// [`crate::domain::refusal::Refusal::NotTheDemo`] where there are tables and not the mark.
    async fn drop_demo(&self) -> StoreResult<Option<String>>;

    /// Answers within a few seconds whether the database does.
    async fn ping(&self) -> StoreResult<()>;

    /// The database's now, cut to microseconds.
    async fn now(&self) -> StoreResult<DateTime<Utc>>;

    /// Becomes one of those who serve, and says as what: `scheduler, worker`. Kept until dropped.
    ///
    /// SQLite: one process at a time; what was `queued` goes back to `scheduled`, since its queue died with the last
    /// process. PostgreSQL: any number.
    ///
    /// # Errors
    /// [`super::StoreError::Conflict`] that says who holds it (SQLite).
    async fn serve(&self, roles: &str) -> StoreResult<Serving>;

    /// Who serves this database at this moment, in any process, the longest first.
    async fn servers(&self) -> StoreResult<Vec<ServerSeen>>;

    async fn is_served(&self) -> StoreResult<bool> {
        Ok(!self.servers().await?.is_empty())
    }

    /// Changes whenever an event may have become due sooner than was known: by a verb of this store, and by another
    /// process (PostgreSQL: LISTEN; SQLite: `data_version`, within 100 ms). Hints may be lost or come for nothing.
    /// Only a store that serves (see [`Installations::serve`]) hears of other processes.
    fn hints(&self) -> watch::Receiver<u64>;

    async fn settings(&self) -> StoreResult<Settings>;

    /// # Errors
    /// [`super::StoreError::Refused`]: a disconnect status that is missing or activates accounts. [`super::StoreError::Unusable`]: a
    /// value that can't be read.
    async fn change_setting(&self, key: SettingKey, value: &str) -> StoreResult<Settings>;

    /// By name.
    async fn statuses(&self) -> StoreResult<Vec<Status>>;

    async fn add_status(&self, status: &Status) -> StoreResult<()>;

    /// Looks for what should never be, for `doctor`: each [`super::inspection::Check`], and settings that can't be read. Each
    /// answer is a sentence. Empty where all is well; what is merely late or failed is not looked at here.
    async fn inspect(&self) -> StoreResult<Vec<String>>;

    /// Whether a search finds few accounts among many without reading all. A migration may not have been allowed to make what
    /// that takes.
    async fn has_search_indexes(&self) -> StoreResult<bool>;

    /// How many events are in each state, how many are overdue, and since when the oldest of them is. Of each of
    /// these, `count_max` are counted at most, where it is given: all of them may be millions; and [`OpenCounts::dispatches_max`]
    /// is not found out then.
    async fn event_counts(&self, count_max: Option<u32>) -> StoreResult<EventCounts>;

    /// Of [`Installations::event_counts`] what is not over. It grows with what is scheduled, queued and failed, and not with
    /// what was completed or cancelled.
    async fn open_counts(&self) -> StoreResult<OpenCounts>;

    /// Closes the connections, after what is under way.
    async fn close(&self);
}

/// Proof that this process serves the database. Dropping it lets go.
pub struct Serving {
    _hold: Box<dyn std::any::Any + Send + Sync>,
    /// Events that were found queued without a queue, and scheduled again.
    pub rescued: u64,
}

impl Serving {
    #[must_use]
    pub fn new(hold: impl std::any::Any + Send + Sync, rescued: u64) -> Self {
        Self { _hold: Box::new(hold), rescued }
    }
}

/// A process that serves, as the others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ServerSeen {
    /// As it said of itself.
    pub roles: String,
    /// `pid 4711 at 10.0.0.7`.
    pub process: String,
    /// Since when, without a break. Unknown where the server does not tell this role.
    pub since: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct EventCounts {
    #[serde(flatten)]
    pub open: OpenCounts,
    pub completed: i64,
    pub cancelled: i64,
}

/// What waits, and what waits for a person.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct OpenCounts {
    pub scheduled: i64,
    pub queued: i64,
    pub failed: i64,
    /// Open, with a `next_at` that has passed. What is scheduled of a campaign is not: it waits for the campaign's pace,
    /// window or resume.
    pub overdue: i64,
    /// How long the oldest of those has been overdue, in seconds; 0 without any. One that is taken up again and again, and
    /// never done, is overdue for moments only.
    pub lag_seconds: f64,
    /// How long ago the oldest single disconnect came due that is open and waits for no retry, in seconds; 0 without any.
    pub oldest_due_seconds: f64,
    /// How often the queued event was handed to the queue that was most often, since it was last scheduled; 0 without any.
    pub dispatches_max: i32,
}
