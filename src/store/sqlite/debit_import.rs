//! The import of debits.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Deserialize;
use sqlx::SqliteConnection;

use super::failure::{failure, unreadable};
use super::imports::Intake;
use super::rows::{at, expect_rows, instant, json};
use crate::domain::account::{AccountId, AccountNumber};
use crate::domain::import::{DebitAccount, DebitRow, DebitWrite, ExistingDebit, ImportReport, decide_debit};
use crate::domain::invoice::{DebitId, InvoiceNumber};
use crate::domain::money::Currency;
use crate::store::{CHUNK_ROWS, ImportOptions, Rows, StoreResult};

/// Takes the rows as they come into a temporary table.
pub async fn stage(
    connection: &mut SqliteConnection,
    rows: &mut Rows<DebitRow>,
    report: &mut ImportReport,
) -> StoreResult<()> {
    sqlx::raw_sql(
        "/* import debits: staging */
         create temp table staged (
             seq integer primary key, line integer not null, account text not null, reference text not null,
             description text not null, amount text not null, tax text not null, charged_on text not null
         );
         create index temp.staged_key on staged (account, reference, seq);",
    )
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    let mut intake = Intake::new(rows);
    while let Some(chunk) = intake.next(report).await {
        let staged = chunk
            .into_iter()
            .map(|row| (row.line, row.account, row.reference, row.description, row.amount, row.tax, row.charged_on));
        sqlx::query(
            "/* import debits: stage */ insert into temp.staged
                    (line, account, reference, description, amount, tax, charged_on)
             select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6
               from jsonb_each(?1) order by key",
        )
        .bind(json(&staged.collect::<Vec<_>>())?)
        .execute(&mut *connection)
        .await
        .map_err(failure)?;
    }
    Ok(())
}

/// Decides and writes all rows, in order, chunk by chunk. Problems go into the report; the caller commits, or not.
pub async fn merge(
    connection: &mut SqliteConnection,
    report: &mut ImportReport,
    options: &ImportOptions<'_>,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    let mut last = 0;
    loop {
        let rows = load(connection, last).await?;
        let Some(end) = rows.last() else { return Ok(()) };
        last = end.seq;
        let mut writes = Vec::with_capacity(rows.len());
        for row in rows {
            let (account, existing, first_line) = (row.account()?, row.existing()?, row.first_line);
            let decision = decide_debit(row.row(), account.as_ref(), existing.as_ref(), first_line);
            writes.extend(report.count(decision, |write| write.id.is_none()));
        }
        write(connection, &writes, now).await?;
        (options.progress)(report.rows);
    }
}

/// A row as the statement below answers it, column by column.
#[derive(Deserialize)]
struct Staged {
    seq: i64,
    line: u64,
    number: String,
    reference: String,
    description: String,
    amount: String,
    tax: String,
    charged_on: NaiveDate,
    first_line: Option<u64>,
    account_id: Option<i64>,
    currency: Option<String>,
    disconnected_at: Option<String>,
    old_id: Option<i64>,
    old_description: Option<String>,
    old_amount: Option<i64>,
    old_tax: Option<i64>,
    old_charged_on: Option<NaiveDate>,
    invoice: Option<i64>,
}

/// The rows after `last`, each with its account and the debit that it repeats, if there is one. As one value: a row each takes
/// several times as long.
async fn load(connection: &mut SqliteConnection, last: i64) -> StoreResult<Vec<Staged>> {
    #[expect(clippy::cast_possible_wrap, reason = "a thousand")]
    let limit = CHUNK_ROWS as i64;
    let found: String = sqlx::query_scalar(
        "/* import debits: load */ select json_group_array(json_array(s.seq, s.line, s.account, s.reference, s.description,
                s.amount, s.tax, s.charged_on,
                (select f.line from temp.staged f
                  where f.account = s.account and f.reference = s.reference and f.seq < s.seq
                  order by f.seq limit 1),
                a.id, a.currency, a.disconnected_at,
                d.id, d.description, d.amount, d.tax, d.charged_on, i.number))
           from (select * from temp.staged where seq > ?1 order by seq limit ?2) as s
           left join accounts a on a.number = s.account
           left join debits d on d.account_id = a.id and d.reference = s.reference
           left join invoices i on i.id = d.invoice_id",
    )
    .bind(last)
    .bind(limit)
    .fetch_one(connection)
    .await
    .map_err(failure)?;
    let mut rows: Vec<Staged> =
        serde_json::from_str(&found).map_err(|error| unreadable(&format!("a debit or its account: {error}")))?;
    rows.sort_unstable_by_key(|row| row.seq);
    Ok(rows)
}

impl Staged {
    fn row(self) -> DebitRow {
        DebitRow {
            line: self.line,
            account: AccountNumber::from_stored(self.number),
            reference: self.reference,
            description: self.description,
            amount: self.amount,
            tax: self.tax,
            charged_on: self.charged_on,
        }
    }

    fn account(&self) -> StoreResult<Option<DebitAccount>> {
        let (Some(id), Some(currency)) = (self.account_id, &self.currency) else { return Ok(None) };
        Ok(Some(DebitAccount {
            id: AccountId(id),
            currency: Currency::parse(currency).map_err(|error| unreadable(&error))?,
            disconnected_at: self.disconnected_at.as_deref().map(instant).transpose()?,
        }))
    }

    fn existing(&self) -> StoreResult<Option<ExistingDebit>> {
        let Some(id) = self.old_id else { return Ok(None) };
        let (Some(description), Some(amount), Some(tax), Some(charged_on)) =
            (self.old_description.clone(), self.old_amount, self.old_tax, self.old_charged_on)
        else {
            return Err(unreadable(&format!("debit {id}")));
        };
        let invoice = self.invoice.map(InvoiceNumber);
        Ok(Some(ExistingDebit { id: DebitId(id), description, amount, tax, charged_on, invoice }))
    }
}

/// Updates and inserts apart, and no upsert: the triggers that refuse `replace` fire before SQLite looks for a conflict.
async fn write(connection: &mut SqliteConnection, writes: &[DebitWrite], now: DateTime<Utc>) -> StoreResult<()> {
    let row = |key: i64, write: &DebitWrite| {
        let reference = write.reference.clone();
        (key, reference, write.description.clone(), write.amount, write.tax, write.charged_on)
    };
    let new: Vec<_> =
        writes.iter().filter(|write| write.id.is_none()).map(|write| row(write.account.0, write)).collect();
    if !new.is_empty() {
        let written = sqlx::query(
            "/* import debits: insert */ insert into debits
                    (account_id, reference, description, amount, tax, charged_on, created_at)
             select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, ?2
               from jsonb_each(?1) order by key",
        )
        .bind(json(&new)?)
        .bind(at(now))
        .execute(&mut *connection)
        .await
        .map_err(failure)?;
        expect_rows(&written, new.len(), "import debits: insert")?;
    }
    let known: Vec<_> = writes.iter().filter_map(|write| Some(row(write.id?.0, write))).collect();
    if !known.is_empty() {
        let written = sqlx::query(
            "/* import debits: update */ update debits
                set description = w.value ->> 2, amount = w.value ->> 3, tax = w.value ->> 4, charged_on = w.value ->> 5
               from jsonb_each(?1) as w where debits.id = w.value ->> 0",
        )
        .bind(json(&known)?)
        .execute(connection)
        .await
        .map_err(failure)?;
        expect_rows(&written, known.len(), "import debits: update")?;
    }
    Ok(())
}
