//! The import of debits.

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::failure::failure;
use super::imports::Intake;
use super::rows::{at, currency, expect_rows, get, json, number};
use crate::domain::account::AccountId;
use crate::domain::import::{DebitAccount, DebitRow, DebitWrite, ExistingDebit, ImportReport, decide_debit};
use crate::domain::invoice::{DebitId, InvoiceNumber};
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
               from json_each(?1) order by key",
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
        last = get(end, "seq")?;
        let mut writes = Vec::with_capacity(rows.len());
        for row in &rows {
            let (account, existing) = (account(row)?, existing(row)?);
            let decision = decide_debit(staged(row)?, account.as_ref(), existing.as_ref(), get(row, "first_line")?);
            writes.extend(report.count(decision, |write| write.id.is_none()));
        }
        write(connection, &writes, now).await?;
        (options.progress)(report.rows);
    }
}

/// The rows after `last`, each with its account and the debit that it repeats, if there is one.
async fn load(connection: &mut SqliteConnection, last: i64) -> StoreResult<Vec<SqliteRow>> {
    #[expect(clippy::cast_possible_wrap, reason = "a thousand")]
    let limit = CHUNK_ROWS as i64;
    sqlx::query(
        "/* import debits: load */ select s.seq, s.line, s.account, s.reference, s.description, s.amount, s.tax,
                s.charged_on,
                (select f.line from temp.staged f
                  where f.account = s.account and f.reference = s.reference and f.seq < s.seq
                  order by f.seq limit 1) as first_line,
                a.id as account_id, a.currency, a.disconnected_at,
                d.id as old_id, d.description as old_description, d.amount as old_amount, d.tax as old_tax,
                d.charged_on as old_charged_on, i.number as invoice
           from (select * from temp.staged where seq > ?1 order by seq limit ?2) as s
           left join accounts a on a.number = s.account
           left join debits d on d.account_id = a.id and d.reference = s.reference
           left join invoices i on i.id = d.invoice_id
          order by s.seq",
    )
    .bind(last)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(failure)
}

fn staged(row: &SqliteRow) -> StoreResult<DebitRow> {
    Ok(DebitRow {
        line: get(row, "line")?,
        account: number(row, "account")?,
        reference: get(row, "reference")?,
        description: get(row, "description")?,
        amount: get(row, "amount")?,
        tax: get(row, "tax")?,
        charged_on: get(row, "charged_on")?,
    })
}

fn account(row: &SqliteRow) -> StoreResult<Option<DebitAccount>> {
    let Some(id) = get::<Option<i64>, _>(row, "account_id")? else { return Ok(None) };
    Ok(Some(DebitAccount {
        id: AccountId(id),
        currency: currency(row, "currency")?,
        disconnected_at: get(row, "disconnected_at")?,
    }))
}

fn existing(row: &SqliteRow) -> StoreResult<Option<ExistingDebit>> {
    let Some(id) = get::<Option<i64>, _>(row, "old_id")? else { return Ok(None) };
    Ok(Some(ExistingDebit {
        id: DebitId(id),
        description: get(row, "old_description")?,
        amount: get(row, "old_amount")?,
        tax: get(row, "old_tax")?,
        charged_on: get(row, "old_charged_on")?,
        invoice: get::<Option<i64>, _>(row, "invoice")?.map(InvoiceNumber),
    }))
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
               from json_each(?1) order by key",
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
               from json_each(?1) as w where debits.id = w.value ->> 0",
        )
        .bind(json(&known)?)
        .execute(connection)
        .await
        .map_err(failure)?;
        expect_rows(&written, known.len(), "import debits: update")?;
    }
    Ok(())
}
