//! Import of debits: staged in a temporary table, then locked, then decided and written chunk by chunk.

use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::failure::{Failure, expect_rows};
use super::imports::{Intake, be_patient, finish, keep_plans, plan_each_chunk, plan_for_all};
use super::{BULK_LIMIT, PostgresStore, VERB_LIMIT, rows, within};
use crate::domain::account::{AccountId, AccountNumber};
use crate::domain::import::{DebitAccount, DebitRow, DebitWrite, ExistingDebit, ImportReport, decide_debit};
use crate::domain::invoice::{DebitId, InvoiceNumber};
use crate::store::{CHUNK_ROWS, ImportOptions, Rows};

pub(super) async fn run(
    store: &PostgresStore,
    file: Rows<DebitRow>,
    options: &ImportOptions<'_>,
) -> Result<ImportReport, Failure> {
    let mut report = ImportReport::default();
    let mut tx = within(VERB_LIMIT, store.begin()).await?;
    let rows = stage(&mut tx, file, &mut report).await?;
    within(VERB_LIMIT, plan_for_all(&mut tx)).await?;
    within(BULK_LIMIT, lock_accounts(&mut tx)).await?;
    let step = i64::try_from(CHUNK_ROWS).unwrap_or(i64::MAX);
    let mut first = 0;
    while first < rows {
        within(VERB_LIMIT, plan_each_chunk(&mut tx)).await?;
        let chunk = within(VERB_LIMIT, read_chunk(&mut tx, first, first + step)).await?;
        let mut writes = Vec::with_capacity(chunk.len());
        for Staged { row, account, existing, first_line } in chunk {
            let decision = decide_debit(row, account.as_ref(), existing.as_ref(), first_line);
            writes.extend(report.count(decision, |write| write.id.is_none()));
        }
        within(VERB_LIMIT, keep_plans(&mut tx)).await?;
        within(VERB_LIMIT, write_chunk(&mut tx, &writes)).await?;
        (options.progress)(report.rows);
        first += step;
    }
    finish(tx, report, options.dry_run).await
}

/// Answers how many rows were staged. Nothing is locked while the file is still being read.
async fn stage(db: &mut PgConnection, file: Rows<DebitRow>, report: &mut ImportReport) -> Result<i64, Failure> {
    sqlx::raw_sql(
        r#"/* import debits: staging */
           -- The file may come from a person's keyboard. What decides later is quick again.
           set local idle_in_transaction_session_timeout = 0;
           create temp table import_debits (
               seq         bigint not null,
               line        bigint not null,
               account     text collate "C" not null,
               reference   text not null,
               description text not null,
               amount      text not null,
               tax         text not null,
               charged_on  date not null
           ) on commit drop"#,
    )
    .execute(&mut *db)
    .await?;
    let mut staged = 0;
    let mut intake = Intake::new(file);
    while let Some(chunk) = intake.next(report).await {
        within(VERB_LIMIT, stage_chunk(db, staged, &chunk)).await?;
        staged += i64::try_from(chunk.len()).unwrap_or(i64::MAX);
    }
    let index = async {
        sqlx::raw_sql(
            "/* import debits: index */
             create unique index on import_debits (seq);
             create index on import_debits (account, reference, seq);
             analyze import_debits;
             set local idle_in_transaction_session_timeout = '30s'",
        )
        .execute(&mut *db)
        .await?;
        Ok(())
    };
    within(BULK_LIMIT, index).await?;
    Ok(staged)
}

async fn stage_chunk(db: &mut PgConnection, staged: i64, chunk: &[DebitRow]) -> Result<(), Failure> {
    sqlx::query(
        "/* import debits: stage */
         insert into import_debits (seq, line, account, reference, description, amount, tax, charged_on)
         select $1 + r.n - 1, r.line, r.account, r.reference, r.description, r.amount, r.tax, r.charged_on
           from unnest($2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::date[])
                with ordinality as r (line, account, reference, description, amount, tax, charged_on, n)",
    )
    .bind(staged)
    .bind(chunk.iter().map(|row| row.line.cast_signed()).collect::<Vec<_>>())
    .bind(chunk.iter().map(|row| row.account.as_str()).collect::<Vec<_>>())
    .bind(chunk.iter().map(|row| row.reference.as_str()).collect::<Vec<_>>())
    .bind(chunk.iter().map(|row| row.description.as_str()).collect::<Vec<_>>())
    .bind(chunk.iter().map(|row| row.amount.as_str()).collect::<Vec<_>>())
    .bind(chunk.iter().map(|row| row.tax.as_str()).collect::<Vec<_>>())
    .bind(chunk.iter().map(|row| row.charged_on).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

/// `for no key update` waits for a disconnect (`for update`) and makes one wait, so that a debit lands on the final
/// invoice or is refused. It also waits for another import of debits of the same account, which `for key share` would
/// not: both would insert the same reference. The foreign keys of others (`for key share`) pass it by.
///
/// Who was locked is kept: an account that was made during the wait is not, so the file does not know it yet.
async fn lock_accounts(db: &mut PgConnection) -> Result<(), Failure> {
    be_patient(db).await?;
    sqlx::raw_sql(
        "/* import debits: lock accounts */
           create temp table import_debit_accounts on commit drop as
           select id, number, currency, disconnected_at from accounts
            where number in (select account from import_debits)
            order by id
              for no key update;
           create unique index on import_debit_accounts (number);
           analyze import_debit_accounts",
    )
    .execute(db)
    .await?;
    Ok(())
}

/// A row with what it is decided from.
struct Staged {
    row: DebitRow,
    account: Option<DebitAccount>,
    existing: Option<ExistingDebit>,
    first_line: Option<u64>,
}

/// The rows from `first` up to `end`.
async fn read_chunk(db: &mut PgConnection, first: i64, end: i64) -> Result<Vec<Staged>, Failure> {
    let found = sqlx::query(
        "/* import debits: read a chunk */
         select r.line, r.account, r.reference, r.description, r.amount, r.tax, r.charged_on,
                (select f.line from import_debits f
                  where f.account = r.account and f.reference = r.reference and f.seq < r.seq
                  order by f.seq limit 1) as first_line,
                k.id as account_id, k.currency, k.disconnected_at,
                d.id as debit_id, d.description as old_description, d.amount as old_amount, d.tax as old_tax,
                d.charged_on as old_charged_on, i.number as invoice_number
           from import_debits r
           left join import_debit_accounts k on k.number = r.account
           left join debits d on d.account_id = k.id and d.reference = r.reference
           left join invoices i on i.id = d.invoice_id
          where r.seq >= $1 and r.seq < $2
          order by r.seq",
    )
    .bind(first)
    .bind(end)
    .fetch_all(db)
    .await?;
    found.iter().map(staged).collect()
}

fn staged(row: &PgRow) -> Result<Staged, Failure> {
    let account = match row.try_get::<Option<i64>, _>("account_id")? {
        None => None,
        Some(id) => Some(DebitAccount {
            id: AccountId(id),
            currency: rows::currency(row.try_get("currency")?)?,
            disconnected_at: row.try_get("disconnected_at")?,
        }),
    };
    let existing = match row.try_get::<Option<i64>, _>("debit_id")? {
        None => None,
        Some(id) => Some(ExistingDebit {
            id: DebitId(id),
            description: row.try_get("old_description")?,
            amount: row.try_get("old_amount")?,
            tax: row.try_get("old_tax")?,
            charged_on: row.try_get("old_charged_on")?,
            invoice: row.try_get::<Option<i64>, _>("invoice_number")?.map(InvoiceNumber),
        }),
    };
    Ok(Staged {
        row: DebitRow {
            line: row.try_get::<i64, _>("line")?.cast_unsigned(),
            account: AccountNumber::from_stored(row.try_get("account")?),
            reference: row.try_get("reference")?,
            description: row.try_get("description")?,
            amount: row.try_get("amount")?,
            tax: row.try_get("tax")?,
            charged_on: row.try_get("charged_on")?,
        },
        account,
        existing,
        first_line: row.try_get::<Option<i64>, _>("first_line")?.map(i64::cast_unsigned),
    })
}

async fn write_chunk(db: &mut PgConnection, writes: &[DebitWrite]) -> Result<(), Failure> {
    let (changed, new): (Vec<&DebitWrite>, Vec<&DebitWrite>) = writes.iter().partition(|write| write.id.is_some());
    if !new.is_empty() {
        let inserted = sqlx::query(
            "/* import debits: insert */
             insert into debits (account_id, reference, description, amount, tax, charged_on)
             select w.account_id, w.reference, w.description, w.amount, w.tax, w.charged_on
               from unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::date[])
                    with ordinality as w (account_id, reference, description, amount, tax, charged_on, n)
              order by w.n",
        )
        .bind(new.iter().map(|write| write.account.0).collect::<Vec<_>>())
        .bind(new.iter().map(|write| write.reference.as_str()).collect::<Vec<_>>())
        .bind(new.iter().map(|write| write.description.as_str()).collect::<Vec<_>>())
        .bind(new.iter().map(|write| write.amount).collect::<Vec<_>>())
        .bind(new.iter().map(|write| write.tax).collect::<Vec<_>>())
        .bind(new.iter().map(|write| write.charged_on).collect::<Vec<_>>())
        .execute(&mut *db)
        .await?;
        expect_rows("debits to insert", new.len(), inserted.rows_affected())?;
    }
    if !changed.is_empty() {
        let updated = sqlx::query(
            "/* import debits: update */
             update debits d
                set description = w.description, amount = w.amount, tax = w.tax, charged_on = w.charged_on
               from unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::date[])
                    as w (id, description, amount, tax, charged_on)
              where d.id = w.id and d.invoice_id is null",
        )
        .bind(changed.iter().filter_map(|write| write.id).map(|id| id.0).collect::<Vec<_>>())
        .bind(changed.iter().map(|write| write.description.as_str()).collect::<Vec<_>>())
        .bind(changed.iter().map(|write| write.amount).collect::<Vec<_>>())
        .bind(changed.iter().map(|write| write.tax).collect::<Vec<_>>())
        .bind(changed.iter().map(|write| write.charged_on).collect::<Vec<_>>())
        .execute(db)
        .await?;
        expect_rows("debits to update", changed.len(), updated.rows_affected())?;
    }
    Ok(())
}
