//! The database itself: its schema, its mark, its settings, who serves it.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::migrate::{AppliedMigration, Migrate, MigrateError};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection};
use tokio::sync::watch;

use super::SqliteStore;
use super::failure::failure;
use super::rows::{after, at, get};
use super::{folding, inspection, settings};
use crate::domain::account::Status;
use crate::domain::refusal::Refusal;
use crate::domain::settings::{SettingKey, Settings};
use crate::store::{
    EventCounts, Installation, Installations, OpenCounts, Redispatch, ServerSeen, Serving, StoreError, StoreResult,
    migrations,
};

/// Where sqlx notes which migrations were applied.
const MIGRATIONS_TABLE: &str = "_sqlx_migrations";

/// How long [`Installations::ping`] waits.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

#[async_trait]
impl Installations for SqliteStore {
    async fn migrate(&self) -> StoreResult<usize> {
        // Each command asks. The write lock would have it wait for whoever writes, an import of minutes among them.
        if self.is_up_to_date().await? {
            return Ok(0);
        }
        // sqlx's migrator does not lock on SQLite. In this transaction each of its own is a savepoint: whoever comes
        // second waits here, and finds everything applied.
        let mut tx = self.write().await?;
        tx.ensure_migrations_table(MIGRATIONS_TABLE).await.map_err(migration_failure)?;
        let before = applied(&mut tx).await?.len();
        migrations::sqlite().run_direct(None, &mut *tx, false).await.map_err(migration_failure)?;
        folding::fold_all(&mut tx).await?;
        let after = applied(&mut tx).await?.len();
        tx.commit().await.map_err(failure)?;
        Ok(after - before)
    }

    async fn check_schema(&self) -> StoreResult<()> {
        let mut tx = self.read().await?;
        if !has_table(&mut tx, MIGRATIONS_TABLE).await? {
            return migrations::check_version(None);
        }
        migrations::check_version(applied(&mut tx).await?.iter().map(|migration| migration.version).max())
    }

    async fn installation(&self) -> StoreResult<Installation> {
        let row = sqlx::query("/* installation: load */ select id, is_demo from installation")
            .fetch_one(&self.readers)
            .await
            .map_err(failure)?;
        Ok(Installation { id: get(&row, "id")?, is_demo: get(&row, "is_demo")? })
    }

    async fn mark_demo(&self, id: Option<&str>) -> StoreResult<()> {
        let mut tx = self.write().await?;
        let marked = sqlx::query(
            "/* demo: mark */ update installation set is_demo = 1, id = coalesce(?1, id)
              where not exists (select 1 from accounts)",
        )
        .bind(id)
        .execute(&mut *tx)
        .await
        .map_err(failure)?;
        if marked.rows_affected() == 0 {
            return Err(Refusal::NotTheDemo.into());
        }
        tx.commit().await.map_err(failure)
    }

    async fn drop_demo(&self) -> StoreResult<Option<String>> {
        // Dropping a table deletes its rows as far as foreign keys are concerned, and whether they are looked at can't
        // be changed within a transaction: a connection of its own, that looks at none.
        let options = self.options.clone().foreign_keys(false);
        let mut connection = options.connect().await.map_err(failure)?;
        let mut tx = self.write_on(&mut connection).await?;
        let tables: Vec<String> = sqlx::query_scalar(
            "/* demo: tables */ select name from sqlite_schema where type = 'table' and name not like 'sqlite\\_%' escape '\\'",
        )
        .fetch_all(&mut *tx)
        .await
        .map_err(failure)?;
        if tables.is_empty() {
            return Ok(None);
        }
        let id = demo(&mut tx).await?.ok_or(Refusal::NotTheDemo)?;
        sqlx::query("/* demo: drop the view */ drop view if exists all_disconnect_events")
            .execute(&mut *tx)
            .await
            .map_err(failure)?;
        for table in tables {
            // The one statement that is put together: a name can't be a parameter, and it is quoted as SQLite wants.
            // Dropping a table fires no trigger and takes its own triggers along.
            let drop = format!("/* demo: drop */ drop table \"{}\"", table.replace('"', "\"\""));
            sqlx::query(AssertSqlSafe(drop)).persistent(false).execute(&mut *tx).await.map_err(failure)?;
        }
        tx.commit().await.map_err(failure)?;
        connection.close().await.map_err(failure)?;
        Ok(Some(id))
    }

    async fn ping(&self) -> StoreResult<()> {
        let answer = sqlx::query("/* ping */ select count(*) from sqlite_schema").execute(&self.readers);
        match tokio::time::timeout(PING_TIMEOUT, answer).await {
            Ok(answer) => answer.map(|_| ()).map_err(failure),
            Err(_) => Err(StoreError::Unavailable(format!("no answer within {} s", PING_TIMEOUT.as_secs()))),
        }
    }

    async fn now(&self) -> StoreResult<DateTime<Utc>> {
        Ok(self.clock.now())
    }

    async fn serve(&self, roles: &str) -> StoreResult<Serving> {
        self.take_service(roles).await
    }

    async fn servers(&self) -> StoreResult<Vec<ServerSeen>> {
        Ok(self.server()?.into_iter().collect())
    }

    fn hints(&self) -> watch::Receiver<u64> {
        self.hints.subscribe()
    }

    async fn settings(&self) -> StoreResult<Settings> {
        settings::settings(&mut *self.reader().await?).await
    }

    async fn change_setting(&self, key: SettingKey, value: &str) -> StoreResult<Settings> {
        self.write_setting(key, value).await
    }

    async fn statuses(&self) -> StoreResult<Vec<Status>> {
        settings::statuses(&mut *self.reader().await?).await
    }

    async fn add_status(&self, status: &Status) -> StoreResult<()> {
        self.insert_status(status).await
    }

    async fn inspect(&self) -> StoreResult<Vec<String>> {
        let mut tx = self.read().await?;
        inspection::inspect(&mut tx).await
    }

    async fn has_search_indexes(&self) -> StoreResult<bool> {
        Ok(true) // it goes by none
    }

    async fn event_counts(&self, count_max: Option<u32>) -> StoreResult<EventCounts> {
        let mut tx = self.read().await?;
        let open = open_counts(&mut tx, self.now(), count_max).await?;
        let (completed, cancelled) = sqlx::query_as(
            "/* event counts: of what is over */
             select (select count(*) from (select 1 from disconnect_events where state = 'completed' limit ?1)),
                    (select count(*) from (select 1 from disconnect_events where state = 'cancelled' limit ?1))",
        )
        .bind(count_max.map_or(i64::MAX, i64::from))
        .fetch_one(&mut *tx)
        .await
        .map_err(failure)?;
        Ok(EventCounts { open, completed, cancelled })
    }

    async fn open_counts(&self) -> StoreResult<OpenCounts> {
        let mut tx = self.read().await?;
        open_counts(&mut tx, self.now(), None).await
    }

    async fn close(&self) {
        self.writer.close().await;
        self.readers.close().await;
    }
}

async fn open_counts(db: &mut SqliteConnection, now: DateTime<Utc>, count_max: Option<u32>) -> StoreResult<OpenCounts> {
    let states = sqlx::query(
        "/* event counts: of what is open */
         select (select count(*) from (select 1 from disconnect_events where state = 'scheduled' limit ?1)) as scheduled,
                (select count(*) from (select 1 from disconnect_events where state = 'queued' limit ?1)) as queued,
                (select count(*) from (select 1 from disconnect_events where state = 'failed' limit ?1)) as failed",
    )
    .bind(count_max.map_or(i64::MAX, i64::from))
    .fetch_one(&mut *db)
    .await
    .map_err(failure)?;
    let waiting = sqlx::query(
        "/* event counts: overdue */
         select (select count(*)
                   from (select 1 from disconnect_events indexed by disconnect_events_lane
                          where lane = 0 and state in ('scheduled', 'queued') and next_at < ?1
                          union all
                         select 1 from disconnect_events indexed by disconnect_events_in_flight
                          where campaign_id is not null and lane <> 0 and state = 'queued' and next_at < ?1
                          limit ?2)) as events,
                (select min(oldest)
                   from (select min(next_at) as oldest from disconnect_events indexed by disconnect_events_lane
                          where lane = 0 and state in ('scheduled', 'queued') and next_at < ?1
                          union all
                         select min(next_at) from disconnect_events indexed by disconnect_events_in_flight
                          where campaign_id is not null and lane <> 0 and state = 'queued' and next_at < ?1)) as oldest",
    )
    .bind(at(now))
    .bind(count_max.map_or(i64::MAX, i64::from))
    .fetch_one(&mut *db)
    .await
    .map_err(failure)?;
    let oldest_due: Option<DateTime<Utc>> = sqlx::query_scalar(
        "/* event counts: the oldest that is due */
         select min(due_at) from disconnect_events indexed by disconnect_events_lane
          where lane = 0 and state in ('scheduled', 'queued') and (failures = 0 or state = 'queued')
            and next_at <= ?2 and due_at < ?1",
    )
    .bind(at(now))
    .bind(after(now, Redispatch::LONGEST))
    .fetch_one(&mut *db)
    .await
    .map_err(failure)?;
    let dispatches_max = sqlx::query_scalar(
        "/* event counts: the most dispatches */
         select coalesce(max(dispatches), 0) from disconnect_events where state = 'queued' and ?1 is null",
    )
    .bind(count_max)
    .fetch_one(&mut *db)
    .await
    .map_err(failure)?;
    let seconds_since = |since: Option<DateTime<Utc>>| {
        since.and_then(|since| (now - since).to_std().ok()).map_or(0.0, |lag| lag.as_secs_f64())
    };
    Ok(OpenCounts {
        scheduled: get(&states, "scheduled")?,
        queued: get(&states, "queued")?,
        failed: get(&states, "failed")?,
        overdue: get(&waiting, "events")?,
        lag_seconds: seconds_since(get(&waiting, "oldest")?),
        oldest_due_seconds: seconds_since(oldest_due),
        dispatches_max,
    })
}

impl SqliteStore {
    /// Whether every migration of this program was applied as it is now, none else, and nothing is left to fold. Not: what
    /// migrates finds out why.
    async fn is_up_to_date(&self) -> StoreResult<bool> {
        let mut tx = self.read().await?;
        if !has_table(&mut tx, MIGRATIONS_TABLE).await? {
            return Ok(false);
        }
        let (applied, migrations) = (applied(&mut tx).await?, migrations::sqlite());
        let is_applied = applied.len() == migrations.iter().count()
            && migrations.iter().zip(&applied).all(|(migration, applied)| {
                (migration.version, &migration.checksum) == (applied.version, &applied.checksum)
            });
        Ok(is_applied && !folding::is_needed(&mut tx).await?)
    }
}

async fn applied(connection: &mut SqliteConnection) -> StoreResult<Vec<AppliedMigration>> {
    connection.list_applied_migrations(MIGRATIONS_TABLE).await.map_err(migration_failure)
}

async fn has_table(connection: &mut SqliteConnection, table: &str) -> StoreResult<bool> {
    sqlx::query_scalar(
        "/* schema: has table */ select exists (select 1 from sqlite_schema where type = 'table' and name = ?1)",
    )
    .bind(table)
    .fetch_one(connection)
    .await
    .map_err(failure)
}

/// The id of the demo's installation, where this is one.
async fn demo(connection: &mut SqliteConnection) -> StoreResult<Option<String>> {
    if !has_table(connection, "installation").await? {
        return Ok(None);
    }
    let found = sqlx::query_scalar("/* demo: look for the mark */ select id from installation where is_demo = 1")
        .fetch_optional(connection)
        .await;
    match found.map_err(failure) {
        // A table of that name and of someone else's making.
        Err(StoreError::Rejected(_)) => Ok(None),
        found => found,
    }
}

fn migration_failure(error: MigrateError) -> StoreError {
    migrations::failure(error, failure)
}
