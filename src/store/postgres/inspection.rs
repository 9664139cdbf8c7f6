//! What should never be, for `doctor`: a statement for each check.

use super::failure::Failure;
use super::{PostgresStore, installation, whole_tables};
use crate::store::inspection::{Check, EXAMPLES_MAX};

/// One consistent view, so that a disconnect under way is seen whole or not at all.
pub(super) async fn inspect(store: &PostgresStore) -> Result<Vec<String>, Failure> {
    let mut tx = store.begin_view().await?;
    whole_tables(&mut tx).await?;
    // Of what was filled a moment ago the planner knows nothing, and would go through all invoices for each invoice.
    sqlx::raw_sql("/* inspect: whole tables are joined */ set local enable_nestloop = off").execute(&mut *tx).await?;
    let mut sentences = Vec::new();
    for check in Check::ALL {
        let found: Vec<(String, i64)> = sqlx::query_as(statement(check))
            .bind(i64::try_from(EXAMPLES_MAX).unwrap_or(i64::MAX))
            .fetch_all(&mut *tx)
            .await?;
        if let Some((_, count)) = found.first() {
            let examples: Vec<String> = found.iter().map(|(example, _)| example.clone()).collect();
            sentences.push(check.finding(*count, &examples));
        }
    }
    sentences.extend(installation::read_settings(&mut tx).await?.unreadable);
    tx.rollback().await;
    Ok(sentences)
}

/// It answers an example and the count of all, `$1` rows of them.
fn statement(check: Check) -> &'static str {
    match check {
        Check::UninvoicedDebit => {
            "/* inspect: uninvoiced debits */
             select a.number, count(*) over () from accounts a
              where a.disconnected_at is not null
                and exists (select from debits d where d.account_id = a.id and d.invoice_id is null)
              order by a.id limit $1"
        }
        Check::OpenAssignment => {
            "/* inspect: open assignments */
             select a.number, count(*) over () from accounts a
              where a.disconnected_at is not null
                and exists (select from address_assignments o where o.account_id = a.id and o.assigned_until is null)
              order by a.id limit $1"
        }
        Check::NotByOneEvent => {
            "/* inspect: not by one event */
             select a.number, count(*) over ()
               from accounts a
               left join (select account_id, count(*) as events from all_disconnect_events
                           where state = 'completed' and outcome = 'disconnected'
                           group by account_id) e on e.account_id = a.id
              where a.disconnected_at is not null and e.events is distinct from 1
              order by a.id limit $1"
        }
        Check::NotDisconnected => {
            "/* inspect: not disconnected */
             select e.id::text, count(*) over () from all_disconnect_events e
               join accounts a on a.id = e.account_id
              where e.state = 'completed' and e.outcome = 'disconnected' and a.disconnected_at is null
              order by e.id limit $1"
        }
        Check::InvoiceOfAnother => {
            "/* inspect: invoices of others */
             select i.number::text, count(*) over ()
               from invoices i
               join all_disconnect_events e on e.id = i.event_id
              where e.account_id <> i.account_id
              order by i.number limit $1"
        }
        Check::LinesAndInvoice => {
            "/* inspect: lines and invoices */
             select i.number::text, count(*) over ()
               from invoices i
               left join (select invoice_id, sum(amount) as amount, sum(tax) as tax, sum(total) as total
                            from invoice_lines group by invoice_id) l on l.invoice_id = i.id
              where (coalesce(l.amount, 0), coalesce(l.tax, 0), coalesce(l.total, 0)) <> (i.amount, i.tax, i.total)
              order by i.number limit $1"
        }
        Check::DebitWithoutLine => {
            "/* inspect: debits without their line */
             select d.reference, count(*) over ()
               from debits d
               left join invoice_lines l on l.debit_id = d.id
              where d.invoice_id is not null and l.invoice_id is distinct from d.invoice_id
              order by d.id limit $1"
        }
        Check::MissingEvent => {
            // What no foreign key can say of two tables.
            "/* inspect: missing events */
             select id::text, count(*) over () from (
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
                         select parent_event_id from all_disconnect_events) n
                   left join all_disconnect_events e on e.id = n.event_id
                  where n.event_id is not null and e.id is null) missing
              order by id limit $1"
        }
        Check::OpenUnderAnother => {
            "/* inspect: open under another number */
             select e.id::text, count(*) over () from disconnect_events e
               join accounts a on a.id = e.account_id
              where e.state in ('scheduled', 'queued') and e.account_number is distinct from a.number
              order by e.id limit $1"
        }
        Check::CampaignCounts => {
            // Each table is gone through once, but the events twice.
            "/* inspect: campaign counts */
             with tallied (campaign_id, kind, count) as (
                 select campaign_id, kind, sum(count) from campaign_tallies group by campaign_id, kind
                 union all
                 select campaign_id, 'invoices', sum(invoices) from campaign_tallies group by campaign_id
                 union all
                 select campaign_id, 'invoiced', sum(amount)
                   from campaign_tallies where kind = 'disconnected' group by campaign_id
             ), found (campaign_id, kind, count) as (
                 select campaign_id, case when state = 'completed' then outcome else state end, count(*)
                   from all_disconnect_events
                  where campaign_id is not null and state in ('completed', 'cancelled') group by 1, 2
                 union all
                 select campaign_id, 'enlisted', count(*)
                   from all_disconnect_events where campaign_id is not null group by 1
                 union all
                 select campaign_id, 'left_out', count(*)
                   from campaign_members where left_out is not null group by 1
                 union all
                 select e.campaign_id, unnest(array['invoices', 'invoiced']), unnest(array[count(*), sum(i.total)])
                   from invoices i join all_disconnect_events e on e.id = i.event_id
                  where e.campaign_id is not null group by 1
             ), wrong as (
                 select campaign_id
                   from (select campaign_id, kind, count from tallied
                         union all
                         select campaign_id, kind, -count from found) as both_ways
                  group by campaign_id, kind having sum(count) <> 0
                 union
                 select m.campaign_id from campaign_members m join campaigns c on c.id = m.campaign_id
                  group by m.campaign_id, c.accounts having count(*) <> c.accounts
             )
             select campaign_id::text, count(*) over () from wrong order by wrong.campaign_id limit $1"
        }
    }
}
