//! What became of each member.

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;
use tokio::sync::mpsc;

use super::super::failure::{failure, unreadable};
use super::members::read;
use super::stored;
use crate::domain::account::AccountNumber;
use crate::domain::campaign::CampaignId;
use crate::domain::campaign::report::{MemberOutcome, ReportRow};
use crate::domain::event::{EventId, Outcome, State};
use crate::domain::invoice::InvoiceNumber;
use crate::domain::money::{Currency, Money};
use crate::store::StoreResult;

/// How many members are sent together.
const PAGE: i64 = 1_000;

/// Number, due at, reason, left out and why, expected with its currency; the event; its final invoice.
type Row = (
    i64,
    String,
    Option<DateTime<Utc>>,
    Option<String>,
    (Option<String>, Option<String>),
    (Option<i64>, Option<String>),
    Option<EventRow>,
    Option<(i64, i64, String)>,
);

/// Id, state, outcome, ended at, attempt, failures, last error.
type EventRow = (i64, String, Option<String>, Option<DateTime<Utc>>, i32, i32, Option<String>);

/// Sends all members in order; ends when nobody listens. In a transaction, so that it is one view.
pub async fn report(
    connection: &mut SqliteConnection,
    campaign: CampaignId,
    to: &mpsc::Sender<Vec<ReportRow>>,
) -> StoreResult<()> {
    let reason = stored::load(connection, campaign).await?.terms.reason;
    let mut last = 0;
    loop {
        let rows: String = sqlx::query_scalar(
            "/* report: page */
             select json_group_array(json_array(m.position, m.account_number, coalesce(e.due_at, m.due_at),
                        coalesce(e.reason, m.reason, ?4), json_array(m.left_out, m.left_out_note),
                        json_array(m.expected, a.currency),
                        iif(e.id is null, null, json_array(e.id, e.state, e.outcome, e.ended_at, e.attempt, e.failures,
                            e.last_error)),
                        iif(i.id is null, null, json_array(i.number, i.total, i.currency))))
               from (select * from campaign_members
                      where campaign_id = ?1 and position > ?2 order by position limit ?3) as m
               left join accounts a on a.id = m.account_id
               left join disconnect_events e on e.id = m.event_id
               left join invoices i on i.event_id = e.id",
        )
        .bind(campaign.0)
        .bind(last)
        .bind(PAGE)
        .bind(&reason)
        .fetch_one(&mut *connection)
        .await
        .map_err(failure)?;
        let mut rows: Vec<Row> = read(&rows)?;
        rows.sort_unstable_by_key(|row| row.0);
        let Some(end) = rows.last() else { return Ok(()) };
        last = end.0;
        let chunk = rows.into_iter().map(report_row).collect::<StoreResult<Vec<_>>>()?;
        if to.send(chunk).await.is_err() {
            return Ok(());
        }
    }
}

fn report_row(row: Row) -> StoreResult<ReportRow> {
    let (_, number, due_at, reason, (left_out, note), (expected, currency), event, invoice) = row;
    let money = |minor: i64, currency: &str| {
        Currency::parse(currency).map(|currency| Money::new(minor, currency)).map_err(|error| unreadable(&error))
    };
    let expected = match (expected, currency) {
        (Some(expected), Some(currency)) => Some(money(expected, &currency)?),
        _ => None,
    };
    let (invoice_number, amount) = match invoice {
        None => (None, None),
        Some((number, total, currency)) => (Some(InvoiceNumber(number)), Some(money(total, &currency)?)),
    };
    let state = match &event {
        None => None,
        Some((_, state, outcome, ..)) => {
            let state = State::parse(state).ok_or_else(|| unreadable(&format!("`{state}` as a state")))?;
            Some((state, outcome.as_deref().and_then(Outcome::parse)))
        }
    };
    let (event_id, ended_at, attempts, failures, error) = match event {
        None => (None, None, 0, 0, note),
        Some((id, _, _, ended_at, attempt, failures, error)) => (Some(EventId(id)), ended_at, attempt, failures, error),
    };
    Ok(ReportRow {
        account_number: AccountNumber::from_stored(number),
        outcome: MemberOutcome::of(left_out.is_some(), state),
        event_id,
        due_at,
        ended_at,
        invoice_number,
        amount,
        expected,
        attempts,
        failures,
        error,
        reason,
    })
}
