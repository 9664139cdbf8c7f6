//! What should never be, for `doctor`.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::SqliteConnection;

use super::failure::failure;
use super::rows::at;
use super::settings::{settings, statuses};
use crate::store::StoreResult;

/// How long an open event may be overdue before something must be wrong.
const OVERDUE: TimeDelta = TimeDelta::minutes(10);

/// Each statement answers up to five examples, and beside each how many there are in all.
pub async fn inspect(connection: &mut SqliteConnection, now: DateTime<Utc>) -> StoreResult<Vec<String>> {
    let mut sentences = Vec::new();
    if let Err(refusal) = settings(connection).await?.target(&statuses(connection).await?) {
        sentences.push(refusal.to_string());
    }

    let damage: Vec<String> = sqlx::query_scalar("/* inspect: file */ pragma quick_check(5)")
        .fetch_all(&mut *connection)
        .await
        .map_err(failure)?;
    if damage != ["ok"] {
        sentences.push(format!("the database file is damaged, restore it from a backup: {}", damage.join("; ")));
    }

    let mut look = Look { connection, sentences: &mut sentences };
    look.report(
        "disconnected accounts with uninvoiced debits",
        sqlx::query_as(
            "/* inspect: uninvoiced */ select count(*) over (), a.number from accounts a
              where a.disconnected_at is not null
                and exists (select 1 from debits d where d.account_id = a.id and d.invoice_id is null) limit 5",
        ),
    )
    .await?;
    look.report(
        "disconnected accounts with an open address assignment",
        sqlx::query_as(
            "/* inspect: addresses */ select count(*) over (), a.number from accounts a
              where a.disconnected_at is not null
                and exists (select 1 from address_assignments g
                             where g.account_id = a.id and g.assigned_until is null) limit 5",
        ),
    )
    .await?;
    look.report(
        "events that disconnected an account which is not disconnected",
        sqlx::query_as(
            "/* inspect: events */ select count(*) over (), cast(e.id as text)
               from disconnect_events e join accounts a on a.id = e.account_id
              where e.state = 'completed' and e.outcome = 'disconnected' and a.disconnected_at is null limit 5",
        ),
    )
    .await?;
    look.report(
        "invoices whose lines do not add up to their total",
        // In halves of 32 bits, since sum() fails where an integer overflows.
        sqlx::query_as(
            "/* inspect: invoices */ select count(*) over (), cast(i.number as text) from invoices i
              where i.total is not (select sum(l.total >> 32) * 4294967296 + sum(l.total & 4294967295)
                                      from invoice_lines l where l.invoice_id = i.id) limit 5",
        ),
    )
    .await?;
    look.report(
        "debits whose invoice has no line for them",
        sqlx::query_as(
            "/* inspect: debits */ select count(*) over (), d.reference || ' of account ' || a.number
               from debits d join accounts a on a.id = d.account_id
              where d.invoice_id is not null
                and not exists (select 1 from invoice_lines l
                                 where l.debit_id = d.id and l.invoice_id = d.invoice_id) limit 5",
        ),
    )
    .await?;
    look.report(
        "open events overdue by more than ten minutes, as if nobody served",
        sqlx::query_as(
            "/* inspect: overdue */ select count(*) over (), cast(id as text) from disconnect_events
              where state in ('scheduled', 'queued') and next_at < ?1 limit 5",
        )
        .bind(at(now - OVERDUE)),
    )
    .await?;
    look.report(
        "failed events, which `disconnectd events list --state failed` shows",
        sqlx::query_as(
            "/* inspect: failed */ select count(*) over (), cast(id as text) from disconnect_events
              where state = 'failed' limit 5",
        ),
    )
    .await?;
    Ok(sentences)
}

struct Look<'a> {
    connection: &'a mut SqliteConnection,
    sentences: &'a mut Vec<String>,
}

type Examples = sqlx::query::QueryAs<'static, sqlx::Sqlite, (i64, String), sqlx::sqlite::SqliteArguments>;

impl Look<'_> {
    async fn report(&mut self, what: &str, examples: Examples) -> StoreResult<()> {
        let found = examples.fetch_all(&mut *self.connection).await.map_err(failure)?;
        if let Some((count, _)) = found.first() {
            let named: Vec<&str> = found.iter().map(|(_, name)| name.as_str()).collect();
            let more = if usize::try_from(*count).is_ok_and(|count| count > named.len()) { ", ..." } else { "" };
            self.sentences.push(format!("{what}: {count} ({}{more})", named.join(", ")));
        }
        Ok(())
    }
}
