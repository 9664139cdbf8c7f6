//! What should never be, for `doctor`: a statement for each check.

use super::PostgresStore;
use super::failure::Failure;
use super::installation;
use crate::store::inspection::{Check, EXAMPLES_MAX};

/// One consistent view, so that a disconnect under way is seen whole or not at all.
pub(super) async fn inspect(store: &PostgresStore) -> Result<Vec<String>, Failure> {
    let mut tx = store.begin_view().await?;
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
               left join (select account_id, count(*) as events from disconnect_events
                           where state = 'completed' and outcome = 'disconnected'
                           group by account_id) e on e.account_id = a.id
              where a.disconnected_at is not null and e.events is distinct from 1
              order by a.id limit $1"
        }
        Check::NotDisconnected => {
            "/* inspect: not disconnected */
             select e.id::text, count(*) over () from disconnect_events e
               join accounts a on a.id = e.account_id
              where e.state = 'completed' and e.outcome = 'disconnected' and a.disconnected_at is null
              order by e.id limit $1"
        }
        Check::InvoiceOfAnother => {
            "/* inspect: invoices of others */
             select i.number::text, count(*) over ()
               from invoices i
               join disconnect_events e on e.id = i.event_id
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
                        sum(invoices) as invoices,
                        sum(amount) filter (where kind = 'disconnected') as invoiced
                   from campaign_tallies
                  group by campaign_id
             ), found as (
                 select e.campaign_id, count(*) as enlisted,
                        count(*) filter (where e.outcome = 'disconnected') as disconnected,
                        count(*) filter (where e.outcome = 'already_disconnected') as already_disconnected,
                        count(*) filter (where e.outcome = 'no_longer_eligible') as no_longer_eligible,
                        count(*) filter (where e.state = 'cancelled') as cancelled,
                        count(i.id) as invoices, sum(i.total) as invoiced
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
             select c.id::text, count(*) over ()
               from campaigns c
               left join tallied t on t.campaign_id = c.id
               left join found f on f.campaign_id = c.id
               left join left_out l on l.campaign_id = c.id
              where (coalesce(t.enlisted, 0), coalesce(t.left_out, 0), coalesce(t.disconnected, 0),
                     coalesce(t.already_disconnected, 0), coalesce(t.no_longer_eligible, 0), coalesce(t.cancelled, 0),
                     coalesce(t.invoices, 0), coalesce(t.invoiced, 0))
                 <> (coalesce(f.enlisted, 0), coalesce(l.left_out, 0), coalesce(f.disconnected, 0),
                     coalesce(f.already_disconnected, 0), coalesce(f.no_longer_eligible, 0), coalesce(f.cancelled, 0),
                     coalesce(f.invoices, 0), coalesce(f.invoiced, 0))
              order by c.id limit $1"
        }
    }
}
