//! What the tests stand on: a fresh database for each, on either engine, filled through the store's own verbs.

pub mod campaigns;
pub mod certificates;
pub mod collector;
pub mod database;
pub mod invariants;
pub mod postgres;
pub mod proxy;
pub mod rows;
pub mod scenario;
pub mod servers;
pub mod sqlite;

use std::time::Duration;

use tokio::time::Instant;

/// Makes of each `async fn NAME(db: &TestDatabase)` two tests, `postgres::NAME` and `sqlite::NAME`, each on a database of
/// its own: freshly migrated, or `on_empty` without any table.
macro_rules! both_engines {
    (on_empty: $($name:ident),+ $(,)?) => { both_engines!(@ run_on_empty: $($name),+); };
    (@ $run:ident: $($name:ident),+) => {
        mod postgres {
            use crate::support::database::{Engine, TestDatabase};
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                TestDatabase::$run(Engine::Postgres, super::$name).await;
            })+
        }
        mod sqlite {
            use crate::support::database::{Engine, TestDatabase};
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                TestDatabase::$run(Engine::Sqlite, super::$name).await;
            })+
        }
    };
    ($($name:ident),+ $(,)?) => { both_engines!(@ run: $($name),+); };
}
pub(crate) use both_engines;

/// Long enough for a busy machine; nothing that works takes as long.
pub const SOON: Duration = Duration::from_secs(20);

/// Waits until `condition` holds, and fails the test once `within` has passed. The one place where a test sleeps.
pub async fn wait_until(within: Duration, what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !condition().await {
        assert!(Instant::now() < deadline, "waited {within:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
