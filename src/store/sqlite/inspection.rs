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
        Check::OpenUnderAnother => {
            "/* inspect: open under another number */ select count(*) over (), cast(e.id as text)
               from disconnect_events e join accounts a on a.id = e.account_id
              where e.state in ('scheduled', 'queued') and e.account_number is not a.number
              order by e.id limit ?1"
        }
        Check::MissingEvent => {
            "/* inspect: missing events */
             select count(*) over (), cast(id as text) from (
                 select distinct n.event_id as id
                   from (select event_id from invoices
                         union all
                         select event_id from account_log
                         union all
                         select event_id from family_decisions
                         union all
                         select child_event_id from family_decisions
                         union all
                         select event_id from campaign_members
                         union all
                         select parent_event_id from disconnect_events) n
                   left join disconnect_events e on e.id = n.event_id
                  where n.event_id is not null and e.id is null) missing
              order by id limit ?1"
        }
        Check::CampaignCounts => {
            // In halves of 32 bits, since sum() fails where an integer overflows.
            "/* inspect: campaign counts */
             with halves (half) as (
                 values ('high'), ('low')
             ), tallied as (
                 select campaign_id, kind, sum(count) as count from campaign_tallies group by campaign_id, kind
                 union all
                 select campaign_id, 'invoices', sum(invoices) from campaign_tallies group by campaign_id
                 union all
                 select campaign_id, half,
                        case half when 'high' then sum(amount >> 32) + (sum(amount & 4294967295) >> 32)
                                        else sum(amount & 4294967295) & 4294967295 end
                   from campaign_tallies, halves where kind = 'disconnected' group by campaign_id, half
             ), invoiced as (
                 select e.campaign_id, i.total
                   from invoices i join disconnect_events e on e.id = i.event_id
                  where e.campaign_id is not null
             ), found (campaign_id, kind, count) as (
                 select campaign_id, case when state = 'completed' then outcome else state end, count(*)
                   from disconnect_events
                  where campaign_id is not null and state in ('completed', 'cancelled') group by 1, 2
                 union all
                 select campaign_id, 'enlisted', count(*)
                   from disconnect_events where campaign_id is not null group by 1
                 union all
                 select campaign_id, 'left_out', count(*)
                   from campaign_members where left_out is not null group by 1
                 union all
                 select campaign_id, 'invoices', count(*) from invoiced group by 1
                 union all
                 select campaign_id, half,
                        case half when 'high' then sum(total >> 32) + (sum(total & 4294967295) >> 32)
                                        else sum(total & 4294967295) & 4294967295 end
                   from invoiced, halves group by campaign_id, half
             ), wrong as (
                 select campaign_id
                   from (select campaign_id, kind, count from tallied
                         union all
                         select campaign_id, kind, -count from found)
                  group by campaign_id, kind having sum(count) <> 0
                 union
                 select campaign_id from campaign_members group by campaign_id
                 having count(*) <> (select accounts from campaigns where id = campaign_id)
             )
             select count(*) over (), cast(campaign_id as text) from wrong order by campaign_id limit ?1"
        }
    }
}
