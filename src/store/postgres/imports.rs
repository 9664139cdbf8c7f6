//! Imports, and invoices for everything.

use async_trait::async_trait;
use sqlx::postgres::PgConnection;

use super::failure::{Failure, expect_rows};
use super::transaction::Transaction;
use super::{BULK_LIMIT, PostgresStore, VERB_LIMIT, account_import, debit_import, forget_plans, whole_tables, within};
use crate::domain::account::LogKind;
use crate::domain::actor::Actor;
use crate::domain::import::{AccountRow, DebitRow, ImportReport, Problem};
use crate::domain::invoice::InvoiceNumber;
use crate::domain::story;
use crate::store::{CHUNK_ROWS, ImportOptions, Imports, Rows, StoreResult};

#[async_trait]
impl Imports for PostgresStore {
    async fn import_accounts(&self, rows: Rows<AccountRow>, options: ImportOptions<'_>) -> StoreResult<ImportReport> {
        let report = account_import::run(self, rows, &options).await?;
        let tables =
            "/* import accounts: count */ analyze accounts, account_groups, address_assignments, serviceable_addresses";
        count(self, &report, tables).await;
        Ok(report)
    }

    async fn import_debits(&self, rows: Rows<DebitRow>, options: ImportOptions<'_>) -> StoreResult<ImportReport> {
        let report = debit_import::run(self, rows, &options).await?;
        count(self, &report, "/* import debits: count */ analyze debits").await;
        Ok(report)
    }

    async fn invoice_all(&self, by: &Actor) -> StoreResult<u64> {
        within(BULK_LIMIT, invoice_all(self, by)).await
    }
}

/// How many rows change what the planner should know of a table. The server counts by itself, but a minute later.
const COUNTED_FROM: u64 = 10_000;

/// Until it knows, lists and searches take several times as long. What was imported is, whatever becomes of this.
async fn count(store: &PostgresStore, report: &ImportReport, analyze: &'static str) {
    if !report.applied || report.created + report.updated < COUNTED_FROM {
        return;
    }
    let counted = async {
        sqlx::raw_sql(analyze).execute(&store.pool).await?;
        Ok(())
    };
    if let Err(error) = within(VERB_LIMIT, counted).await {
        tracing::debug!(?error, "not counted after the import");
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

/// For what goes through whole tables, before and after the chunks.
pub(super) async fn plan_for_all(db: &mut PgConnection) -> Result<(), Failure> {
    sqlx::raw_sql(
        "/* import: plan for all */
         set local enable_seqscan = on; set local enable_bitmapscan = on;
         set local enable_hashjoin = on; set local enable_mergejoin = on",
    )
    .execute(db)
    .await?;
    Ok(())
}

/// For what reads a chunk: each of its rows is looked up by indexes, whatever the planner believes. It takes a table that
/// the import fills for as large as it was, and would go through all of it for each chunk. By bitmap too, which comes to each
/// page once for all rows of a chunk: nothing that an import looks up has died in numbers. Nor is a plan kept from when
/// tables were all but empty; planning again costs a chunk a millisecond.
pub(super) async fn plan_each_chunk(db: &mut PgConnection) -> Result<(), Failure> {
    sqlx::raw_sql(
        "/* import: plan each chunk */
         set local enable_seqscan = off; set local enable_bitmapscan = on;
         set local enable_hashjoin = off; set local enable_mergejoin = off;
         set local plan_cache_mode = force_custom_plan",
    )
    .execute(db)
    .await?;
    Ok(())
}

/// For what writes a chunk. Its foreign keys are looked up row by row, and would each be planned again, which took as long as
/// all else together. They, and what joins a chunk to a table by its key, keep a plan that goes by an index.
pub(super) async fn keep_plans(db: &mut PgConnection) -> Result<(), Failure> {
    sqlx::raw_sql("/* import: keep plans */ set local plan_cache_mode = auto").execute(db).await?;
    Ok(())
}

/// An import was asked for by a person who watches it, and it waits for what is under way rather than to have read its
/// file for nothing. For the locks to come in this transaction.
pub(super) async fn be_patient(db: &mut PgConnection) -> Result<(), Failure> {
    sqlx::raw_sql("/* import: be patient */ set local lock_timeout = '2min'").execute(db).await?;
    Ok(())
}

/// Commits what is without a problem and not a dry run; undoes it otherwise.
pub(super) async fn finish(
    mut tx: Transaction,
    mut report: ImportReport,
    dry_run: bool,
) -> Result<ImportReport, Failure> {
    let by_line = |problem: &Problem| problem.line;
    report.problems.sort_by_key(by_line);
    report.notes.sort_by_key(by_line);
    if report.is_clean() && !dry_run {
        within(VERB_LIMIT, forget_plans(&mut tx)).await?;
        within(BULK_LIMIT, tx.commit()).await?;
        report.applied = true;
    } else {
        tx.rollback().await;
    }
    Ok(report)
}

/// Each step leaves what it found in a temporary table that is counted before the next one joins it: right after a
/// first import the planner knows nothing of the debits, and one statement for all took minutes for 50,000 of them.
async fn invoice_all(store: &PostgresStore, by: &Actor) -> Result<u64, Failure> {
    let mut tx = store.begin().await?;
    whole_tables(&mut tx).await?;
    let debits = gather_debits(&mut tx).await?;
    if debits == 0 {
        return Ok(0);
    }
    let issued = sqlx::query(
        "/* invoice all: issue */
         with issued as (
             insert into invoices (kind, account_id, currency, amount, tax, total, issued_at)
             select 'regular', a.id, a.currency, s.amount, s.tax, s.amount + s.tax, now.at
               from (select account_id, sum(amount)::bigint as amount, sum(tax)::bigint as tax
                       from invoiced_debits group by account_id) s
               join accounts a on a.id = s.account_id
              cross join (select max(at) as at from invoiced_at) now
              order by a.id
             returning id, account_id, number, issued_at
         )
         insert into issued_invoices select * from issued",
    )
    .execute(&mut *tx)
    .await?
    .rows_affected();
    sqlx::raw_sql(
        "/* invoice all: index invoices */
         create unique index on issued_invoices (account_id); analyze issued_invoices",
    )
    .execute(&mut *tx)
    .await?;
    let lines = sqlx::query(
        "/* invoice all: lines */
         insert into invoice_lines (invoice_id, position, debit_id, description, charged_on, amount, tax, total)
         select i.id, d.position, d.id, d.description, d.charged_on, d.amount, d.tax, d.amount + d.tax
           from invoiced_debits d
           join issued_invoices i on i.account_id = d.account_id",
    )
    .execute(&mut *tx)
    .await?;
    expect_rows("invoice lines", debits, lines.rows_affected())?;
    let invoiced = sqlx::query(
        "/* invoice all: debits */
         update debits d set invoice_id = i.id
           from invoiced_debits t
           join issued_invoices i on i.account_id = t.account_id
          where d.id = t.id and d.invoice_id is null",
    )
    .execute(&mut *tx)
    .await?;
    expect_rows("debits to invoice", debits, invoiced.rows_affected())?;
    write_log(&mut tx, by).await?;
    forget_plans(&mut tx).await?;
    tx.commit().await?;
    Ok(issued)
}

/// Chunk by chunk, in the words of the domain.
async fn write_log(db: &mut PgConnection, by: &Actor) -> Result<(), Failure> {
    let mut after = 0;
    loop {
        let issued: Vec<(i64, i64)> = sqlx::query_as(
            "/* invoice all: read a chunk of invoices */
             select account_id, number from issued_invoices where account_id > $1 order by account_id limit $2",
        )
        .bind(after)
        .bind(i64::try_from(CHUNK_ROWS).unwrap_or(i64::MAX))
        .fetch_all(&mut *db)
        .await?;
        let Some((last, _)) = issued.last() else { return Ok(()) };
        after = *last;
        let written = sqlx::query(
            "/* invoice all: write log */
             insert into account_log (account_id, at, kind, message, actor, source)
             select l.account_id, now.at, $3, l.message, $4, $5
               from unnest($1::bigint[], $2::text[]) with ordinality as l (account_id, message, n)
              cross join (select max(at) as at from invoiced_at) now
              order by l.n",
        )
        .bind(issued.iter().map(|(account, _)| *account).collect::<Vec<_>>())
        .bind(issued.iter().map(|(_, number)| story::invoiced(InvoiceNumber(*number))).collect::<Vec<_>>())
        .bind(LogKind::Invoiced.as_str())
        .bind(&by.name)
        .bind(by.source.as_str())
        .execute(&mut *db)
        .await?;
        expect_rows("log entries", issued.len(), written.rows_affected())?;
    }
}

/// Locks the accounts that have uninvoiced debits, and answers how many debits those have. The locks come in a
/// statement of their own: the next one sees what was committed while they were waited for, and of the locked alone.
async fn gather_debits(db: &mut PgConnection) -> Result<usize, Failure> {
    sqlx::raw_sql(
        "/* invoice all: lock accounts */
         create temp table invoiced_accounts on commit drop as
         select a.id from accounts a
          where exists (select from debits d where d.account_id = a.id and d.invoice_id is null)
          order by a.id
            for no key update;
         analyze invoiced_accounts;
         create temp table invoiced_at on commit drop as select clock_timestamp() as at;
         create temp table issued_invoices (id bigint, account_id bigint, number bigint, issued_at timestamptz)
             on commit drop;
         create temp table invoiced_debits on commit drop as
         select d.id, d.account_id, d.description, d.charged_on, d.amount, d.tax,
                row_number() over (partition by d.account_id order by d.charged_on, d.id)::integer as position
           from debits d
          where d.invoice_id is null and d.account_id in (select id from invoiced_accounts);
         analyze invoiced_debits",
    )
    .execute(&mut *db)
    .await?;
    let debits: i64 = sqlx::query_scalar("/* invoice all: count debits */ select count(*) from invoiced_debits")
        .fetch_one(db)
        .await?;
    Ok(usize::try_from(debits).unwrap_or_default())
}
