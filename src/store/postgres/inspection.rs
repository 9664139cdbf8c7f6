//! What should never be, for `doctor`: a statement and a sentence for each.

use sqlx::postgres::PgConnection;

use super::failure::Failure;
use super::{PostgresStore, installation};

/// How many of what is wrong are named; the others are counted.
const EXAMPLES: usize = 5;

/// One consistent view, so that a disconnect under way is seen whole or not at all.
pub(super) async fn inspect(store: &PostgresStore) -> Result<Vec<String>, Failure> {
    let mut tx = store.begin_view().await?;
    let mut sentences = Vec::new();
    for (sql, sentence) in CHECKS {
        if let Some(found) = look(&mut tx, sql).await? {
            sentences.push(format!("{sentence}: {found}"));
        }
    }
    match installation::settings(&mut tx).await {
        Ok(settings) => {
            if let Err(refusal) = settings.target(&installation::statuses(&mut tx).await?) {
                sentences.push(refusal.to_string());
            }
        }
        Err(Failure::Store(error)) => sentences.push(error.to_string()),
        Err(failure) => return Err(failure),
    }
    tx.rollback().await;
    Ok(sentences)
}

/// The first few that a check finds, and how many there are; `None` where there is none.
async fn look(db: &mut PgConnection, sql: &'static str) -> Result<Option<String>, Failure> {
    let found: Vec<(String, i64)> =
        sqlx::query_as(sql).bind(i64::try_from(EXAMPLES).unwrap_or(i64::MAX)).fetch_all(db).await?;
    let Some((_, count)) = found.first() else { return Ok(None) };
    let more = count - i64::try_from(found.len()).unwrap_or(i64::MAX);
    let mut named = found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    if more > 0 {
        named = format!("{named} and {more} more");
    }
    Ok(Some(named))
}

/// Each answers a name and the count of all, `$1` rows of them.
const CHECKS: [(&str, &str); 9] = [
    (
        "/* inspect: uninvoiced after disconnect */
         select a.number, count(*) over () from accounts a
          where a.disconnected_at is not null
            and exists (select from debits d where d.account_id = a.id and d.invoice_id is null)
          order by a.id limit $1",
        "disconnected accounts with a debit that is not invoiced (an invoice for it must be made by hand)",
    ),
    (
        "/* inspect: address after disconnect */
         select a.number, count(*) over () from accounts a
           join address_assignments o on o.account_id = a.id and o.assigned_until is null
          where a.disconnected_at is not null
          order by a.id limit $1",
        "disconnected accounts that still hold an address",
    ),
    (
        "/* inspect: events without a disconnect */
         select e.id::text, count(*) over () from disconnect_events e
           join accounts a on a.id = e.account_id
          where e.state = 'completed' and e.outcome in ('disconnected', 'already_disconnected')
            and a.disconnected_at is null
          order by e.id limit $1",
        "events that completed while their account is connected",
    ),
    (
        "/* inspect: disconnects without an event */
         select a.number, count(*) over () from accounts a
          where a.disconnected_at is not null
            and not exists (select from disconnect_events e
                             where e.account_id = a.id and e.state = 'completed' and e.outcome = 'disconnected')
          order by a.id limit $1",
        "disconnected accounts without the event that did it",
    ),
    (
        "/* inspect: totals */
         select i.number::text, count(*) over ()
           from invoices i
           left join (select invoice_id, sum(amount) as amount, sum(tax) as tax, sum(total) as total
                        from invoice_lines group by invoice_id) l on l.invoice_id = i.id
          where (coalesce(l.amount, 0), coalesce(l.tax, 0), coalesce(l.total, 0)) <> (i.amount, i.tax, i.total)
           
          order by i.number limit $1",
        "invoices whose lines do not sum to their total",
    ),
    (
        "/* inspect: lines without their debit, debits without their line */
         select d.reference || ' of ' || a.number, count(*) over ()
           from debits d
           join accounts a on a.id = d.account_id
           left join invoice_lines l on l.debit_id = d.id
          where l.invoice_id is distinct from d.invoice_id
          order by d.id limit $1",
        "debits that are not on the invoice that they name",
    ),
    (
        "/* inspect: invoices of others */
         select i.number::text, count(*) over ()
           from invoices i
           join disconnect_events e on e.id = i.event_id
          where e.account_id <> i.account_id or e.outcome is distinct from 'disconnected'
          order by i.number limit $1",
        "final invoices whose event did not disconnect their account",
    ),
    (
        "/* inspect: overdue */
         select id::text, count(*) over () from disconnect_events
          where lane = 0 and state in ('scheduled', 'queued')
            and next_at < statement_timestamp() - interval '10 minutes'
          order by next_at limit $1",
        "events overdue for more than 10 minutes (does `disconnectd serve` run, and can it reach the queue?)",
    ),
    (
        "/* inspect: failed */
         select id::text, count(*) over () from disconnect_events
          where state = 'failed'
          order by id desc limit $1",
        "events that failed and wait for a person (`disconnectd events show ID`, then `events retry ID`)",
    ),
];
