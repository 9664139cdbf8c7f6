//! Imports: a file is staged in a temporary table, outside the database, and merged in one transaction at the end.
//!
//! Whoever sends the rows may be slow; the database is locked for the merge alone. Temporary tables belong to one
//! connection and stand in a file of their own, so memory stays bounded, and both vanish with the connection.

use async_trait::async_trait;
use sqlx::{ConnectOptions, Connection, Sqlite, SqliteConnection, Transaction};

use super::SqliteStore;
use super::failure::failure;
use super::turn::LONGEST_WAIT;
use super::{account_import, debit_import};
use crate::domain::actor::Actor;
use crate::domain::import::{AccountRow, DebitRow, ImportReport};
use crate::store::{ImportOptions, Imports, Rows, StoreResult};

#[async_trait]
impl Imports for SqliteStore {
    async fn import_accounts(
        &self,
        mut rows: Rows<AccountRow>,
        options: ImportOptions<'_>,
    ) -> StoreResult<ImportReport> {
        let mut connection = self.importer().await?;
        let mut report = ImportReport::default();
        account_import::stage(&mut connection, &mut rows, &mut report).await?;
        let mut tx = self.write_on(&mut connection).await?;
        account_import::merge(&mut tx, &mut report, &options, self.now()).await?;
        finish(tx, &mut report, &options).await?;
        connection.close().await.map_err(failure)?;
        Ok(report)
    }

    async fn import_debits(&self, mut rows: Rows<DebitRow>, options: ImportOptions<'_>) -> StoreResult<ImportReport> {
        let mut connection = self.importer().await?;
        let mut report = ImportReport::default();
        debit_import::stage(&mut connection, &mut rows, &mut report).await?;
        let mut tx = self.write_on(&mut connection).await?;
        debit_import::merge(&mut tx, &mut report, &options, self.now()).await?;
        finish(tx, &mut report, &options).await?;
        connection.close().await.map_err(failure)?;
        Ok(report)
    }

    async fn invoice_all(&self, by: &Actor) -> StoreResult<u64> {
        self.issue_regular_invoices(by).await
    }
}

/// Takes the rows of a file as they come and hands on the good ones, chunk by chunk; the others are problems.
pub struct Intake<'r, T> {
    rows: &'r mut Rows<T>,
    /// A line with two problems is one row.
    last_bad_line: Option<u64>,
}

impl<'r, T> Intake<'r, T> {
    pub fn new(rows: &'r mut Rows<T>) -> Self {
        Self { rows, last_bad_line: None }
    }

    /// `None` at the end of the file.
    pub async fn next(&mut self, report: &mut ImportReport) -> Option<Vec<T>> {
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

impl SqliteStore {
    /// A connection of its own: its temporary tables and its large cache go with it.
    pub(super) async fn importer(&self) -> StoreResult<SqliteConnection> {
        // Negative: in KiB.
        let options = self.options.clone().pragma("temp_store", "file").pragma("cache_size", "-65536");
        let options = options.busy_timeout(LONGEST_WAIT);
        options.connect().await.map_err(failure)
    }
}

async fn finish(
    tx: Transaction<'_, Sqlite>,
    report: &mut ImportReport,
    options: &ImportOptions<'_>,
) -> StoreResult<()> {
    report.problems.sort_by_key(|problem| problem.line);
    report.notes.sort_by_key(|note| note.line);
    report.applied = report.is_clean() && !options.dry_run;
    if report.applied { tx.commit().await.map_err(failure) } else { tx.rollback().await.map_err(failure) }
}
