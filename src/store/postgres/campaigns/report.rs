//! The report: what became of each member, in one consistent view.

use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};
use tokio::sync::mpsc;

use super::members::PAGE;
use super::stored::{self, Stored};
use crate::domain::account::AccountNumber;
use crate::domain::campaign::CampaignId;
use crate::domain::campaign::report::{MemberOutcome, ReportRow};
use crate::domain::event::EventId;
use crate::domain::invoice::InvoiceNumber;
use crate::domain::money::Money;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::{PostgresStore, VERB_LIMIT, rows, within};

/// Ends when nobody listens any more.
pub(super) async fn stream(
    store: &PostgresStore,
    campaign: CampaignId,
    to: &mpsc::Sender<Vec<ReportRow>>,
) -> Result<(), Failure> {
    let mut tx = within(VERB_LIMIT, store.begin_view()).await?;
    let stored = within(VERB_LIMIT, stored::load(&mut tx, campaign)).await?;
    await_reader(&mut tx).await?;
    let mut after = 0;
    loop {
        let found = within(VERB_LIMIT, page(&mut tx, campaign, after)).await?;
        let Some(last) = found.last() else { break };
        after = last.try_get("position")?;
        let chunk = found.iter().map(|row| report_row(&stored, row)).collect::<Result<Vec<_>, _>>()?;
        if to.send(chunk).await.is_err() {
            break;
        }
    }
    tx.rollback().await;
    Ok(())
}

/// Whoever reads may stop for a while: a person with a pager. Not for ever, since nothing that was deleted since can be
/// cleared away meanwhile.
pub(super) async fn await_reader(db: &mut PgConnection) -> Result<(), Failure> {
    sqlx::raw_sql("/* report: await its reader */ set local idle_in_transaction_session_timeout = '10min'")
        .execute(db)
        .await?;
    Ok(())
}

/// By look-ups, as a page of members is read.
async fn page(db: &mut PgConnection, campaign: CampaignId, after: i64) -> Result<Vec<PgRow>, Failure> {
    Ok(sqlx::query(
        "/* report: a page */
         select m.position, m.account_number, m.due_at, m.reason, m.left_out, m.left_out_note, m.expected, m.event_id,
                a.currency, e.state, e.outcome, e.due_at as event_due_at, e.ended_at, e.attempt, e.failures,
                e.last_error, e.reason as event_reason, i.number as invoice_number, i.total as invoice_total,
                i.currency as invoice_currency
           from (select * from campaign_members
                  where campaign_id = $1 and position > $2 and position <= $2 + $3
                  order by position
                 offset 0) m
           left join lateral (select currency from accounts a where a.id = m.account_id limit 1) a on true
           left join lateral (select * from all_disconnect_events e where e.id = m.event_id limit 1) e on true
           left join lateral (select * from invoices i where i.event_id = m.event_id limit 1) i on true
          order by m.position",
    )
    .bind(campaign.0)
    .bind(after)
    .bind(PAGE)
    .fetch_all(db)
    .await?)
}

fn report_row(stored: &Stored, row: &PgRow) -> Result<ReportRow, Failure> {
    let event = match row.try_get::<Option<&str>, _>("state")? {
        None => None,
        Some(state) => Some((rows::state(state)?, rows::outcome(row.try_get("outcome")?)?)),
    };
    let left_out: Option<&str> = row.try_get("left_out")?;
    let amount = match row.try_get::<Option<i64>, _>("invoice_total")? {
        None => None,
        Some(total) => Some(Money::new(total, rows::currency(row.try_get("invoice_currency")?)?)),
    };
    let expected = match (row.try_get::<Option<i64>, _>("expected")?, row.try_get::<Option<&str>, _>("currency")?) {
        (Some(expected), Some(currency)) => Some(Money::new(expected, rows::currency(currency)?)),
        _ => None,
    };
    let own: Option<String> = row.try_get("reason")?;
    let reason = if event.is_some() { row.try_get("event_reason")? } else { own.or(stored.terms.reason.clone()) };
    let (note, last_error): (Option<String>, Option<String>) =
        (row.try_get("left_out_note")?, row.try_get("last_error")?);
    let due_at = row.try_get::<Option<_>, _>("event_due_at")?;
    Ok(ReportRow {
        account_number: AccountNumber::from_stored(row.try_get("account_number")?),
        outcome: MemberOutcome::of(left_out.is_some(), event),
        event_id: row.try_get::<Option<i64>, _>("event_id")?.map(EventId),
        due_at: if event.is_some() { due_at } else { row.try_get("due_at")? },
        ended_at: row.try_get("ended_at")?,
        invoice_number: row.try_get::<Option<i64>, _>("invoice_number")?.map(InvoiceNumber),
        amount,
        expected,
        attempts: row.try_get::<Option<i32>, _>("attempt")?.unwrap_or_default(),
        failures: row.try_get::<Option<i32>, _>("failures")?.unwrap_or_default(),
        error: last_error.or(note),
        reason,
    })
}
