//! The effects of a batch of plans, written set by set: one statement for each kind, whatever the number of accounts.
//!
//! `jsonb_each` and not `json_each`: that would write each row out as text, to be parsed again for each of its columns.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;

use super::campaigns::Tallies;
use super::failure::failure;
use super::rows::{at, expect_rows, get, json};
use crate::domain::account::AccountId;
use crate::domain::actor::Source;
use crate::domain::campaign::{CampaignId, TallyKind};
use crate::domain::event::{Event, EventId, Outcome};
use crate::domain::invoice::{InvoiceDraft, InvoiceNumber, InvoiceSummary};
use crate::domain::money::Currency;
use crate::domain::plan::Effect;
use crate::store::{Executed, StoreError, StoreResult};

/// What is to be written for events that are decided, by kind. All of it happens at the same instant.
#[derive(Default)]
pub struct Effects {
    now: DateTime<Utc>,
    invoices: Vec<(EventId, AccountId, InvoiceDraft)>,
    releases: Vec<i64>,
    /// Account, status.
    disconnects: Vec<(i64, String)>,
    log: Vec<LogRow>,
    /// Event, sentences.
    notes: Vec<(i64, Vec<String>)>,
    completions: Vec<(EventId, Outcome)>,
    tallies: Tallies,
}

/// Account, kind, message, actor, event, reason.
type LogRow = (i64, &'static str, String, String, i64, Option<String>);

impl Effects {
    pub fn add(&mut self, event: &Event, plan: Vec<Effect>) {
        self.now = event.now;
        let (mut outcome, mut invoiced, mut released) = (None, None, 0);
        for effect in plan {
            match effect {
                Effect::IssueFinalInvoice(draft) => {
                    invoiced = Some((draft.total, draft.currency));
                    self.invoices.push((event.id, event.account_id, draft));
                }
                Effect::ReleaseAddress(assignment) => {
                    released += 1;
                    self.releases.push(assignment.id.0);
                }
                Effect::Disconnect { status } => self.disconnects.push((event.account_id.0, status)),
                Effect::Log { kind, message } => {
                    let actor = event.requested_by.name.clone();
                    let reason = event.reason.clone();
                    self.log.push((event.account_id.0, kind.as_str(), message, actor, event.id.0, reason));
                }
                Effect::NoteChanges(changes) => self.notes.push((event.id.0, changes)),
                Effect::Complete(how) => {
                    outcome = Some(how);
                    self.completions.push((event.id, how));
                }
            }
        }
        if let (Some(campaign), Some(outcome)) = (event.campaign, outcome) {
            self.tally(campaign, outcome, invoiced, released);
        }
    }

    fn tally(&mut self, campaign: CampaignId, outcome: Outcome, invoiced: Option<(i64, Currency)>, released: i64) {
        match outcome {
            Outcome::Disconnected => self.tallies.disconnected(campaign, invoiced, released),
            Outcome::AlreadyDisconnected => self.tallies.count(campaign, TallyKind::AlreadyDisconnected, 1, None),
            Outcome::NoLongerEligible => self.tallies.count(campaign, TallyKind::NoLongerEligible, 1, None),
        }
    }

    /// Sends a statement for each kind of which there is any, and holds it to its rows. Answers the events completed.
    pub async fn write(self, connection: &mut SqliteConnection) -> StoreResult<Vec<Executed>> {
        let now = at(self.now);
        let mut issued = HashMap::new();
        if !self.invoices.is_empty() {
            issued = issue(connection, &self.invoices, &now).await?;
        }
        if !self.releases.is_empty() {
            release_addresses(connection, &self.releases, &now).await?;
        }
        if !self.disconnects.is_empty() {
            disconnect(connection, &self.disconnects, &now).await?;
        }
        if !self.log.is_empty() {
            write_log(connection, &self.log, &now).await?;
        }
        if !self.notes.is_empty() {
            note_changes(connection, &self.notes).await?;
        }
        if !self.completions.is_empty() {
            complete(connection, &self.completions, &now).await?;
        }
        self.tallies.append(connection).await?;
        let executed = self.completions.into_iter().map(|(event_id, outcome)| Executed::Completed {
            event_id,
            outcome,
            final_invoice: issued.remove(&event_id),
        });
        Ok(executed.collect())
    }
}

/// The invoices, then their lines, then the mark on each debit.
async fn issue(
    connection: &mut SqliteConnection,
    invoices: &[(EventId, AccountId, InvoiceDraft)],
    now: &str,
) -> StoreResult<HashMap<EventId, InvoiceSummary>> {
    let rows = invoices.iter().map(|(event, account, draft)| {
        (event.0, account.0, draft.currency.code(), draft.amount, draft.tax, draft.total)
    });
    let rows = sqlx::query(
        "/* effects: issue final invoices */ insert into invoices
                (number, kind, event_id, account_id, currency, amount, tax, total, issued_at)
         select last.number + 1 + i.key, 'final', i.value ->> 0, i.value ->> 1, i.value ->> 2, i.value ->> 3,
                i.value ->> 4, i.value ->> 5, ?2
           from (select coalesce(max(number), 0) as number from invoices) as last cross join jsonb_each(?1) as i
         returning id, event_id, number",
    )
    .bind(json(&rows.collect::<Vec<_>>())?)
    .bind(now)
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    let mut ids = HashMap::with_capacity(rows.len());
    for row in &rows {
        ids.insert(EventId(get(row, 1)?), (get::<i64, _>(row, 0)?, InvoiceNumber(get(row, 2)?)));
    }

    let mut lines = Vec::new();
    let mut issued = HashMap::with_capacity(invoices.len());
    for (event, _, draft) in invoices {
        let Some(&(invoice, number)) = ids.get(event) else {
            return Err(StoreError::Rejected(format!("the final invoice of event {event} was not written")));
        };
        for (position, line) in (1_i64..).zip(&draft.lines) {
            let (debit, charged_on) = (line.debit.0, line.charged_on);
            lines.push((invoice, position, debit, &line.description, charged_on, line.amount, line.tax, line.total));
        }
        issued.insert(*event, InvoiceSummary { number, total: draft.total() });
    }
    let written = sqlx::query(
        "/* effects: write lines */ insert into invoice_lines
                (invoice_id, position, debit_id, description, charged_on, amount, tax, total)
         select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7
           from jsonb_each(?1)",
    )
    .bind(json(&lines)?)
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    expect_rows(&written, lines.len(), "effects: write lines")?;

    let debits: Vec<(i64, i64)> = lines.iter().map(|line| (line.2, line.0)).collect();
    let written = sqlx::query(
        "/* effects: invoice debits */ update debits set invoice_id = line.value ->> 1
           from jsonb_each(?1) as line
          where debits.id = line.value ->> 0 and debits.invoice_id is null",
    )
    .bind(json(&debits)?)
    .execute(connection)
    .await
    .map_err(failure)?;
    expect_rows(&written, debits.len(), "effects: invoice debits")?;
    Ok(issued)
}

async fn release_addresses(connection: &mut SqliteConnection, assignments: &[i64], now: &str) -> StoreResult<()> {
    let written = sqlx::query(
        "/* effects: release addresses */ update address_assignments set assigned_until = ?2
          where id in (select value from json_each(?1)) and assigned_until is null",
    )
    .bind(json(assignments)?)
    .bind(now)
    .execute(connection)
    .await
    .map_err(failure)?;
    expect_rows(&written, assignments.len(), "effects: release addresses")
}

async fn disconnect(connection: &mut SqliteConnection, accounts: &[(i64, String)], now: &str) -> StoreResult<()> {
    let written = sqlx::query(
        "/* effects: disconnect */ update accounts
            set status_before_id = accounts.status_id, status_id = s.id, disconnected_at = ?2
           from jsonb_each(?1) as d cross join account_statuses s on s.name = d.value ->> 1
          where accounts.id = d.value ->> 0 and accounts.disconnected_at is null",
    )
    .bind(json(accounts)?)
    .bind(now)
    .execute(connection)
    .await
    .map_err(failure)?;
    expect_rows(&written, accounts.len(), "effects: disconnect")
}

async fn write_log(connection: &mut SqliteConnection, entries: &[LogRow], now: &str) -> StoreResult<()> {
    let written = sqlx::query(
        "/* effects: log */ insert into account_log (account_id, at, kind, message, actor, source, event_id, reason)
         select value ->> 0, ?2, value ->> 1, value ->> 2, value ->> 3, ?3, value ->> 4, value ->> 5
           from jsonb_each(?1) order by key",
    )
    .bind(json(entries)?)
    .bind(now)
    .bind(Source::Worker.as_str())
    .execute(connection)
    .await
    .map_err(failure)?;
    expect_rows(&written, entries.len(), "effects: log")
}

async fn note_changes(connection: &mut SqliteConnection, notes: &[(i64, Vec<String>)]) -> StoreResult<()> {
    let written = sqlx::query(
        "/* effects: note changes */ update disconnect_events set changed_since = n.value -> 1
           from jsonb_each(?1) as n where disconnect_events.id = n.value ->> 0",
    )
    .bind(json(notes)?)
    .execute(connection)
    .await
    .map_err(failure)?;
    expect_rows(&written, notes.len(), "effects: note changes")
}

async fn complete(connection: &mut SqliteConnection, completions: &[(EventId, Outcome)], now: &str) -> StoreResult<()> {
    let rows: Vec<(i64, &str)> = completions.iter().map(|(event, outcome)| (event.0, outcome.as_str())).collect();
    // `+`: or SQLite goes through all queued events by their index, and through the array for each of them.
    let written = sqlx::query(
        "/* effects: complete */ update disconnect_events
            set state = 'completed', outcome = done.value ->> 1, ended_at = ?2, next_at = null
           from jsonb_each(?1) as done
          where disconnect_events.id = done.value ->> 0 and +disconnect_events.state = 'queued'",
    )
    .bind(json(&rows)?)
    .bind(now)
    .execute(connection)
    .await
    .map_err(failure)?;
    expect_rows(&written, rows.len(), "effects: complete")
}
