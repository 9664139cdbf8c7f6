//! The database itself: schema, settings, statuses, the demo's mark.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::migrate::Migrate;
use sqlx::postgres::PgConnection;
use sqlx::{Executor, Row};
use tokio::sync::watch;

use super::failure::{Failure, expect_rows, store_error};
use super::{
    ACQUIRE_TIMEOUT, BULK_LIMIT, PostgresStore, VERB_LIMIT, folding, hints, inspection, rows, whole_tables, within,
};
use crate::domain::account::Status;
use crate::domain::refusal::Refusal;
use crate::domain::settings::{SettingKey, Settings};
use crate::store::{
    EventCounts, Installation, Installations, OpenCounts, Redispatch, ServerSeen, Serving, StoreError, StoreResult,
    migrations,
};

#[async_trait]
impl Installations for PostgresStore {
    async fn migrate(&self) -> StoreResult<usize> {
        within(BULK_LIMIT, migrate(self)).await
    }

    async fn check_schema(&self) -> StoreResult<()> {
        let found = within(VERB_LIMIT, async { versions(&mut *self.pool.acquire().await?).await }).await?;
        migrations::check_version(found.newest)
    }

    async fn installation(&self) -> StoreResult<Installation> {
        within(VERB_LIMIT, async {
            let (id, is_demo) =
                sqlx::query_as("/* installation */ select id, is_demo from installation").fetch_one(&self.pool).await?;
            Ok(Installation { id, is_demo })
        })
        .await
    }

    async fn mark_demo(&self, id: Option<&str>) -> StoreResult<()> {
        within(VERB_LIMIT, mark_demo(self, id)).await
    }

    async fn drop_demo(&self) -> StoreResult<Option<String>> {
        within(VERB_LIMIT, drop_demo(self)).await
    }

    async fn ping(&self) -> StoreResult<()> {
        within(ACQUIRE_TIMEOUT, async {
            self.pool.execute("/* ping */ select 1").await?;
            Ok(())
        })
        .await
    }

    async fn now(&self) -> StoreResult<DateTime<Utc>> {
        within(VERB_LIMIT, async {
            Ok(sqlx::query_scalar("/* now */ select clock_timestamp()").fetch_one(&self.pool).await?)
        })
        .await
    }

    async fn serve(&self, roles: &str) -> StoreResult<Serving> {
        hints::serve(self, roles).await
    }

    async fn servers(&self) -> StoreResult<Vec<ServerSeen>> {
        hints::servers(self).await
    }

    fn hints(&self) -> watch::Receiver<u64> {
        self.hints.subscribe()
    }

    async fn settings(&self) -> StoreResult<Settings> {
        within(VERB_LIMIT, async { settings(&mut *self.pool.acquire().await?).await }).await
    }

    async fn change_setting(&self, key: SettingKey, value: &str) -> StoreResult<Settings> {
        within(VERB_LIMIT, change_setting(self, key, value)).await
    }

    async fn statuses(&self) -> StoreResult<Vec<Status>> {
        within(VERB_LIMIT, async { statuses(&mut *self.pool.acquire().await?).await }).await
    }

    async fn add_status(&self, status: &Status) -> StoreResult<()> {
        within(VERB_LIMIT, add_status(self, status)).await
    }

    async fn inspect(&self) -> StoreResult<Vec<String>> {
        within(BULK_LIMIT, inspection::inspect(self)).await
    }

    async fn has_search_indexes(&self) -> StoreResult<bool> {
        within(VERB_LIMIT, async {
            Ok(sqlx::query_scalar(
                "/* schema: what a search goes by */
                 select to_regclass('accounts_searched') is not null
                        and to_regclass('serviceable_addresses_searched') is not null",
            )
            .fetch_one(&self.pool)
            .await?)
        })
        .await
    }

    async fn event_counts(&self, count_max: Option<u32>) -> StoreResult<EventCounts> {
        within(VERB_LIMIT, event_counts(self, count_max)).await
    }

    async fn open_counts(&self) -> StoreResult<OpenCounts> {
        within(VERB_LIMIT, async {
            let mut view = self.begin_view().await?;
            whole_tables(&mut view).await?;
            let counts = open_counts(&mut view, None).await?;
            view.rollback().await;
            Ok(counts)
        })
        .await
    }

    async fn close(&self) {
        // What is stuck is left to end by itself: the server notices that its client is gone.
        let _ = tokio::time::timeout(CLOSE_LIMIT, self.pool.close()).await;
    }
}

/// How long closing waits for the verbs under way.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// The migrations that were applied.
struct Applied {
    newest: Option<i64>,
    count: usize,
}

async fn versions(db: &mut PgConnection) -> Result<Applied, Failure> {
    let migrated: bool =
        sqlx::query_scalar("/* schema: is there any */ select to_regclass('_sqlx_migrations') is not null")
            .fetch_one(&mut *db)
            .await?;
    if !migrated {
        return Ok(Applied { newest: None, count: 0 });
    }
    let (newest, count): (Option<i64>, i64) =
        sqlx::query_as("/* schema: version */ select max(version), count(*) from _sqlx_migrations where success")
            .fetch_one(db)
            .await?;
    Ok(Applied { newest, count: usize::try_from(count).unwrap_or_default() })
}

async fn migrate(store: &PostgresStore) -> Result<usize, Failure> {
    let mut connection = store.pool.acquire().await?;
    // It will hold sqlx's lock, which a failure or a cancelled call leaves with the session: end the session.
    connection.close_on_drop();
    let failed = |error| migrations::failure(error, store_error);
    connection.lock().await.map_err(failed)?;
    let before = versions(&mut connection).await?;
    migrations::check_migratable(before.newest)?;
    if !may_change_schema(&mut connection).await? {
        // The role that the program runs with. It has nothing to change where another one has migrated.
        migrations::check_version(before.newest).map_err(|error| {
            StoreError::Unusable(format!("{error} as the owner of the tables; the user in the database URL is not"))
        })?;
        folding::fold_all(&mut connection).await?;
        connection.unlock().await.map_err(failed)?;
        return Ok(0);
    }
    // What `run` calls; `run` itself does not compile within an async trait ("not general enough").
    migrations::postgres().run_direct(None, &mut *connection, false).await.map_err(failed)?;
    folding::fold_all(&mut connection).await?;
    let after = versions(&mut connection).await?;
    connection.unlock().await.map_err(failed)?;
    Ok(after.count - before.count)
}

/// A migration makes tables and changes those that are there.
async fn may_change_schema(db: &mut PgConnection) -> Result<bool, Failure> {
    Ok(sqlx::query_scalar(
        "/* schema: may it be changed */
         select coalesce(has_schema_privilege(current_schema(), 'create'), false)",
    )
    .fetch_one(db)
    .await?)
}

/// Those of the database over the defaults.
pub(super) struct Stored {
    pub(super) settings: Settings,
    /// A sentence for each that can't be read.
    pub(super) unreadable: Vec<String>,
}

pub(super) async fn read_settings(db: &mut PgConnection) -> Result<Stored, Failure> {
    let found: Vec<(String, String)> =
        sqlx::query_as("/* settings */ select key, value from settings order by key").fetch_all(db).await?;
    let mut stored = Stored { settings: Settings::default(), unreadable: Vec::new() };
    for (key, value) in found {
        // A key that this program does not know belongs to a newer one.
        let Ok(key) = SettingKey::parse(&key) else { continue };
        if let Err(error) = stored.settings.set(key, &value) {
            let key = key.as_str();
            stored
                .unreadable
                .push(format!("the setting {key} can't be read: {error}; `disconnectd settings set {key}`"));
        }
    }
    Ok(stored)
}

pub(super) async fn settings(db: &mut PgConnection) -> Result<Settings, Failure> {
    let Stored { settings, unreadable } = read_settings(db).await?;
    match unreadable.into_iter().next() {
        Some(sentence) => Err(StoreError::Unusable(sentence).into()),
        None => Ok(settings),
    }
}

async fn change_setting(store: &PostgresStore, key: SettingKey, value: &str) -> Result<Settings, Failure> {
    let mut tx = store.begin().await?;
    // The one that is changed may be the one that can't be read.
    let mut checked = Settings::default();
    checked.set(key, value).map_err(StoreError::Unusable)?;
    if key == SettingKey::DisconnectStatus {
        checked.target(&statuses(&mut tx).await?)?;
    }
    let changed = sqlx::query(
        "/* settings: change */
         insert into settings (key, value) values ($1, $2)
         on conflict (key) do update set value = excluded.value",
    )
    .bind(key.as_str())
    .bind(checked.value(key))
    .execute(&mut *tx)
    .await?;
    expect_rows("settings to change", 1, changed.rows_affected())?;
    // Another that can't be read is mended by a change of its own.
    let Stored { settings, .. } = read_settings(&mut tx).await?;
    tx.commit().await?;
    Ok(settings)
}

/// By name.
pub(super) async fn statuses(db: &mut PgConnection) -> Result<Vec<Status>, Failure> {
    let found = sqlx::query(
        r#"/* statuses */ select name as status, activates_account from account_statuses order by name collate "C""#,
    )
    .fetch_all(db)
    .await?;
    found.iter().map(rows::status).collect()
}

async fn add_status(store: &PostgresStore, status: &Status) -> Result<(), Failure> {
    let added = sqlx::query(
        "/* statuses: add */
         insert into account_statuses (name, activates_account) values ($1, $2) on conflict (name) do nothing",
    )
    .bind(&status.name)
    .bind(status.activates_account)
    .execute(&store.pool)
    .await?;
    if added.rows_affected() == 0 {
        return Err(Refusal::StatusExists { name: status.name.clone() }.into());
    }
    Ok(())
}

async fn event_counts(store: &PostgresStore, count_max: Option<u32>) -> Result<EventCounts, Failure> {
    let mut view = store.begin_view().await?;
    if count_max.is_none() {
        whole_tables(&mut view).await?;
    }
    let open = open_counts(&mut view, count_max).await?;
    let (completed, cancelled) = sqlx::query_as(
        "/* event counts: of what is over */
         select (select count(*) from (select from all_disconnect_events where state = 'completed' limit $1) e),
                (select count(*) from (select from all_disconnect_events where state = 'cancelled' limit $1) e)",
    )
    .bind(count_max.map(i64::from))
    .persistent(false) // planned for whether it is a bound
    .fetch_one(&mut *view)
    .await?;
    view.rollback().await;
    Ok(EventCounts { open, completed, cancelled })
}

async fn open_counts(db: &mut PgConnection, count_max: Option<u32>) -> Result<OpenCounts, Failure> {
    let found = sqlx::query(
        "/* event counts: of what is open */
         -- Of a campaign no more are in the queue than may be at once.
         with c as materialized (select count(*) as overdue, min(next_at) as since
                                   from disconnect_events
                                  where state = 'queued' and campaign_id is not null and lane <> 0
                                    and next_at <= statement_timestamp())
         select s.*, q.dispatches_max, o.overdue, coalesce(extract(epoch from clock_timestamp() - o.since), 0)::float8 as lag_seconds,
                coalesce(extract(epoch from clock_timestamp() - d.since), 0)::float8 as oldest_due_seconds
           from (select (select count(*) from (select from disconnect_events where state = 'scheduled' limit $2) e) as scheduled,
                        (select count(*) from (select from disconnect_events where state = 'queued' limit $2) e) as queued,
                        (select count(*) from (select from disconnect_events where state = 'failed' limit $2) e) as failed) s,
                (select coalesce(max(dispatches), 0) as dispatches_max
                   from disconnect_events where state = 'queued' and $2::bigint is null) q,
                (select least(c.overdue + (select count(*)
                                             from (select from disconnect_events
                                                    where state in ('scheduled', 'queued') and lane = 0
                                                      and next_at <= statement_timestamp()
                                                    limit $2) e), $2) as overdue,
                        least((select next_at from disconnect_events
                                where state in ('scheduled', 'queued') and lane = 0 and next_at <= statement_timestamp()
                                order by next_at limit 1),
                              c.since) as since
                   from c) o,
                -- By what is claimed next: by the date it would pass over all that campaigns have due.
                (select min(due_at) as since
                   from (select due_at from disconnect_events
                          where state in ('scheduled', 'queued') and lane = 0 and (failures = 0 or state = 'queued')
                            and next_at <= statement_timestamp() + $1 * interval '1 second'
                            and due_at <= statement_timestamp()
                         offset 0) due) d",
    )
    .bind(Redispatch::LONGEST.as_secs_f64())
    .bind(count_max.map(i64::from))
    .persistent(false) // planned for whether it is a bound
    .fetch_one(db)
    .await?;
    Ok(OpenCounts {
        scheduled: found.try_get("scheduled")?,
        queued: found.try_get("queued")?,
        failed: found.try_get("failed")?,
        overdue: found.try_get("overdue")?,
        lag_seconds: found.try_get("lag_seconds")?,
        oldest_due_seconds: found.try_get("oldest_due_seconds")?,
        dispatches_max: found.try_get("dispatches_max")?,
    })
}

async fn mark_demo(store: &PostgresStore, id: Option<&str>) -> Result<(), Failure> {
    let marked = sqlx::query(
        "/* demo: mark */ update installation set is_demo = true, id = coalesce($1, id)
          where not exists (select from accounts)",
    )
    .bind(id)
    .execute(&store.pool)
    .await?;
    if marked.rows_affected() == 0 { Err(Refusal::NotTheDemo.into()) } else { Ok(()) }
}

/// Everything that the migrations make, by name: the schema may hold other things, and privileges of its own. The extension
/// stays: others may use it.
const DROP: &str = "/* demo: drop everything of ours */
    drop view if exists all_disconnect_events;
    drop table if exists console_sessions, sign_in_links, sign_in_attempts, users, campaign_log, campaign_tallies,
        campaign_members, campaigns, campaign_templates, family_decisions, account_log, invoice_lines, debits, invoices,
        disconnect_events, archived_disconnect_events,
        address_assignments, serviceable_addresses, account_groups, groups, accounts, account_statuses, settings,
        installation, tokens, idempotency_keys, _sqlx_migrations;
    drop sequence if exists invoice_numbers;
    drop function if exists refuse_change, refuse_after_disconnect, refuse_unbalanced, refuse_loss,
        fill_account_number;";

async fn drop_demo(store: &PostgresStore) -> Result<Option<String>, Failure> {
    let mut tx = store.begin().await?;
    let (tables, installed): (i64, bool) = sqlx::query_as(
        "/* demo: look for tables */
         select (select count(*) from pg_tables where schemaname = current_schema()),
                to_regclass('installation') is not null",
    )
    .fetch_one(&mut *tx)
    .await?;
    if tables == 0 {
        return Ok(None);
    }
    if !installed {
        return Err(Refusal::NotTheDemo.into());
    }
    let demo: Option<String> =
        sqlx::query_scalar("/* demo: look for the mark */ select id from installation where is_demo")
            .fetch_optional(&mut *tx)
            .await
            .or_else(|error| match error {
                // A table of that name and of someone else's making.
                sqlx::Error::Database(error) if error.code().as_deref() == Some("42703") => Ok(None),
                error => Err(error),
            })?;
    let id = demo.ok_or(Refusal::NotTheDemo)?;
    tx.execute(DROP).await?;
    tx.commit().await?;
    Ok(Some(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_migrations_make_the_demo_drops() {
        let dropped: Vec<&str> = DROP.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
        for migration in migrations::postgres().iter() {
            for line in migration.sql.as_str().lines() {
                let mut words = line.split([' ', '(']);
                let (Some("create"), Some("table" | "sequence" | "function"), Some(made)) =
                    (words.next(), words.next(), words.next())
                else {
                    continue;
                };
                assert!(dropped.contains(&made.trim_end_matches(';')), "{made} is not dropped");
            }
        }
    }
}
