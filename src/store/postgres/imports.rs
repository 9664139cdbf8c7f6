//! Imports, and invoices for everything.

use async_trait::async_trait;

use super::failure::{Failure, expect_rows};
use super::transaction::Transaction;
use super::{BULK_LIMIT, PostgresStore, account_import, debit_import, within};
use crate::domain::account::LogKind;
use crate::domain::actor::Actor;
use crate::domain::import::{AccountRow, DebitRow, ImportReport, Problem};
use crate::store::{ImportOptions, Imports, Rows, StoreResult};

#[async_trait]
impl Imports for PostgresStore {
    async fn import_accounts(&self, rows: Rows<AccountRow>, options: ImportOptions<'_>) -> StoreResult<ImportReport> {
        Ok(account_import::run(self, rows, &options).await?)
    }

    async fn import_debits(&self, rows: Rows<DebitRow>, options: ImportOptions<'_>) -> StoreResult<ImportReport> {
        Ok(debit_import::run(self, rows, &options).await?)
    }

    async fn invoice_all(&self, by: &Actor) -> StoreResult<u64> {
        within(BULK_LIMIT, invoice_all(self, by)).await
    }
}

/// Takes the rows of a file as they come and hands on the good ones, chunk by chunk; the others are problems.
pub(super) struct Intake<T> {
    rows: Rows<T>,
    /// A line with two problems is one row.
    last_bad_line: Option<u64>,
}

impl<T> Intake<T> {
    pub(super) fn new(rows: Rows<T>) -> Self {
        Self { rows, last_bad_line: None }
    }

    /// `None` at the end of the file.
    pub(super) async fn next(&mut self, report: &mut ImportReport) -> Option<Vec<T>> {
        let chunk = self.rows.recv().await?;
        let mut good = Vec::with_capacity(chunk.len());
        for row in chunk {
            match row {
                Ok(row) => good.push(row),
                Err(problem) => {
                    if self.last_bad_line.replace(problem.line) != Some(problem.line) {
                        report.rows += 1;
                    }
                    report.add_problem(problem);
                }
            }
        }
        Some(good)
    }
}

/// Commits what is without a problem and not a dry run; undoes it otherwise.
pub(super) async fn finish(tx: Transaction, mut report: ImportReport, dry_run: bool) -> Result<ImportReport, Failure> {
    let by_line = |problem: &Problem| problem.line;
    report.problems.sort_by_key(by_line);
    report.notes.sort_by_key(by_line);
    if report.is_clean() && !dry_run {
        within(BULK_LIMIT, tx.commit()).await?;
        report.applied = true;
    } else {
        tx.rollback().await;
    }
    Ok(report)
}

/// The accounts are locked in a statement of its own and remembered: the next one sees the debits that were committed
/// meanwhile, and must not invoice those of an account that is not locked.
async fn invoice_all(store: &PostgresStore, by: &Actor) -> Result<u64, Failure> {
    let mut tx = store.begin().await?;
    sqlx::query(
        "/* invoice all: lock accounts */
         create temp table invoiced_accounts on commit drop as
         select a.id from accounts a
          where exists (select from debits d where d.account_id = a.id and d.invoice_id is null)
          order by a.id
            for no key update",
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query("/* invoice all: count accounts */ analyze invoiced_accounts").execute(&mut *tx).await?;
    let (issued, lines, invoiced): (i64, i64, i64) = sqlx::query_as(
        "/* invoice all: issue */
         with now as materialized (
             select clock_timestamp() as at
         ), sums as (
             select d.account_id, sum(d.amount)::bigint as amount, sum(d.tax)::bigint as tax
               from invoiced_accounts t
               join debits d on d.account_id = t.id and d.invoice_id is null
              group by d.account_id
         ), issued as (
             insert into invoices (kind, account_id, currency, amount, tax, total, issued_at)
             select 'regular', a.id, a.currency, s.amount, s.tax, s.amount + s.tax, now.at
               from sums s
               join accounts a on a.id = s.account_id
               cross join now
              order by a.id
             returning id, account_id, number, issued_at
         ), lines as (
             insert into invoice_lines (invoice_id, position, debit_id, description, charged_on, amount, tax, total)
             select i.id, row_number() over (partition by i.id order by d.charged_on, d.id), d.id, d.description,
                    d.charged_on, d.amount, d.tax, d.amount + d.tax
               from issued i
               join debits d on d.account_id = i.account_id and d.invoice_id is null
             returning invoice_id, debit_id
         ), invoiced as (
             update debits d set invoice_id = l.invoice_id
               from lines l
              where d.id = l.debit_id and d.invoice_id is null
             returning d.id
         ), logged as (
             insert into account_log (account_id, at, kind, message, actor, source)
             select account_id, issued_at, $1, format('regular invoice %s issued', number), $2, $3
               from issued
              order by account_id
         )
         select (select count(*) from issued), (select count(*) from lines), (select count(*) from invoiced)",
    )
    .bind(LogKind::Invoiced.as_str())
    .bind(&by.name)
    .bind(by.source.as_str())
    .fetch_one(&mut *tx)
    .await?;
    expect_rows("debits to invoice", usize::try_from(lines).unwrap_or_default(), invoiced.cast_unsigned())?;
    tx.commit().await?;
    Ok(issued.cast_unsigned())
}
