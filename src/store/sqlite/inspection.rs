//! What should never be, for `doctor`.

use sqlx::SqliteConnection;

use super::failure::failure;
use super::settings;
use crate::store::StoreResult;
use crate::store::inspection::{Check, EXAMPLES_MAX};

/// In a transaction, so that a disconnect under way is seen whole or not at all.
pub async fn inspect(connection: &mut SqliteConnection) -> StoreResult<Vec<String>> {
    let (_, mut sentences) = settings::readable(connection).await?;
    for check in Check::ALL {
        let found: Vec<(i64, String)> = sqlx::query_as(statement(check))
            .bind(i64::try_from(EXAMPLES_MAX).unwrap_or(i64::MAX))
            .fetch_all(&mut *connection)
            .await
            .map_err(failure)?;
        if let Some((count, _)) = found.first() {
            let count = *count;
            let examples: Vec<String> = found.into_iter().map(|(_, example)| example).collect();
            sentences.push(check.finding(count, &examples));
        }
    }
    Ok(sentences)
}

/// Each answers how many there are in all, and an example, `?1` rows of them.
fn statement(check: Check) -> &'static str {
    match check {
        Check::UninvoicedDebit => {
            "/* inspect: uninvoiced debits */ select count(*) over (), a.number from accounts a
              where a.disconnected_at is not null
                and exists (select 1 from debits d where d.account_id = a.id and d.invoice_id is null)
              order by a.id limit ?1"
        }
        Check::OpenAssignment => {
            "/* inspect: open assignments */ select count(*) over (), a.number from accounts a
              where a.disconnected_at is not null
                and exists (select 1 from address_assignments g
                             where g.account_id = a.id and g.assigned_until is null)
              order by a.id limit ?1"
        }
        Check::NotByOneEvent => {
            // `+`: or SQLite may go through all completed events for each account.
            "/* inspect: disconnects and events */ select count(*) over (), a.number from accounts a
              where a.disconnected_at is not null
                and 1 <> (select count(*) from disconnect_events e
                           where e.account_id = a.id and +e.state = 'completed' and e.outcome = 'disconnected')
              order by a.id limit ?1"
        }
        Check::NotDisconnected => {
            "/* inspect: events without a disconnect */ select count(*) over (), cast(e.id as text)
               from disconnect_events e join accounts a on a.id = e.account_id
              where e.state = 'completed' and e.outcome = 'disconnected' and a.disconnected_at is null
              order by e.id limit ?1"
        }
        Check::InvoiceOfAnother => {
            "/* inspect: invoices of another */ select count(*) over (), cast(i.number as text)
               from invoices i join disconnect_events e on e.id = i.event_id
              where e.account_id <> i.account_id
              order by i.number limit ?1"
        }
        Check::LinesAndInvoice => {
            // In halves of 32 bits, since sum() fails where an integer overflows.
            "/* inspect: lines and invoices */ select count(*) over (), cast(i.number as text) from invoices i
              where (i.amount, i.tax, i.total) is not (
                        select coalesce(sum(l.amount >> 32) * 4294967296 + sum(l.amount & 4294967295), 0),
                               coalesce(sum(l.tax >> 32) * 4294967296 + sum(l.tax & 4294967295), 0),
                               coalesce(sum(l.total >> 32) * 4294967296 + sum(l.total & 4294967295), 0)
                          from invoice_lines l where l.invoice_id = i.id)
              order by i.number limit ?1"
        }
        Check::DebitWithoutLine => {
            "/* inspect: debits without a line */ select count(*) over (), d.reference || ' of ' || a.number
               from debits d join accounts a on a.id = d.account_id
              where d.invoice_id is not null
                and not exists (select 1 from invoice_lines l
                                 where l.debit_id = d.id and l.invoice_id = d.invoice_id)
              order by d.id limit ?1"
        }
        Check::CampaignCounts => {
            "/* inspect: campaigns' counts */
             with tallied as (
                 select campaign_id,
                        sum(count) filter (where kind = 'enlisted') as enlisted,
                        sum(count) filter (where kind = 'left_out') as left_out,
                        sum(count) filter (where kind = 'disconnected') as disconnected,
                        sum(count) filter (where kind = 'already_disconnected') as already_disconnected,
                        sum(count) filter (where kind = 'no_longer_eligible') as no_longer_eligible,
                        sum(count) filter (where kind = 'cancelled') as cancelled,
                        sum(invoices) as invoices
                   from campaign_tallies
                  group by campaign_id
             ), found as (
                 select e.campaign_id, count(*) as enlisted,
                        count(*) filter (where e.outcome = 'disconnected') as disconnected,
                        count(*) filter (where e.outcome = 'already_disconnected') as already_disconnected,
                        count(*) filter (where e.outcome = 'no_longer_eligible') as no_longer_eligible,
                        count(*) filter (where e.state = 'cancelled') as cancelled,
                        count(i.id) as invoices
                   from disconnect_events e
                   left join invoices i on i.event_id = e.id
                  where e.campaign_id is not null
                  group by e.campaign_id
             ), left_out as (
                 select campaign_id, count(*) as left_out
                   from campaign_members
                  where left_out is not null
                  group by campaign_id
             )
             select count(*) over (), cast(c.id as text)
               from campaigns c
               left join tallied t on t.campaign_id = c.id
               left join found f on f.campaign_id = c.id
               left join left_out l on l.campaign_id = c.id
              where (coalesce(t.enlisted, 0), coalesce(t.left_out, 0), coalesce(t.disconnected, 0),
                     coalesce(t.already_disconnected, 0), coalesce(t.no_longer_eligible, 0), coalesce(t.cancelled, 0),
                     coalesce(t.invoices, 0))
                 <> (coalesce(f.enlisted, 0), coalesce(l.left_out, 0), coalesce(f.disconnected, 0),
                     coalesce(f.already_disconnected, 0), coalesce(f.no_longer_eligible, 0), coalesce(f.cancelled, 0),
                     coalesce(f.invoices, 0))
              order by c.id limit ?1"
        }
    }
}
