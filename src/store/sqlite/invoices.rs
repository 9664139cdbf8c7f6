//! Invoices as they are shown, and regular ones for all that is not invoiced yet.

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::SqliteStore;
use super::accounts::id;
use super::failure::failure;
use super::rows::{at, currency, cursor, expect_rows, get, json, limit, number, word};
use crate::domain::account::{AccountNumber, LogKind};
use crate::domain::actor::Actor;
use crate::domain::event::EventId;
use crate::domain::invoice::{InvoiceKind, InvoiceNumber, InvoiceView, LineView};
use crate::domain::money::{Currency, Money};
use crate::domain::refusal::Refusal;
use crate::domain::story;
use crate::store::{CHUNK_ROWS, Page, Paged, StoreError, StoreResult};

impl SqliteStore {
    pub(super) async fn list_invoices(
        &self,
        account: Option<&AccountNumber>,
        page: &Page,
    ) -> StoreResult<Paged<InvoiceView>> {
        let mut tx = self.read().await?;
        let before = cursor(page)?;
        let rows = match account {
            Some(account) => {
                let account = id(&mut tx, account).await?;
                sqlx::query(
                    "/* invoices: of an account */ select i.number, i.kind, a.number as account_number, i.event_id,
                            i.issued_at, i.currency, i.amount, i.tax, i.total
                       from invoices i join accounts a on a.id = i.account_id
                      where i.account_id = ?1 and (?2 is null or i.number < ?2)
                      order by i.number desc limit ?3",
                )
                .bind(account.0)
                .bind(before)
                .bind(limit(page))
            }
            None => sqlx::query(
                "/* invoices: list */ select i.number, i.kind, a.number as account_number, i.event_id,
                        i.issued_at, i.currency, i.amount, i.tax, i.total
                   from invoices i cross join accounts a on a.id = i.account_id
                  where i.number < coalesce(?1, 9223372036854775807)
                  order by i.number desc limit ?2",
            )
            .bind(before)
            .bind(limit(page)),
        };
        let rows = rows.fetch_all(&mut *tx).await.map_err(failure)?;
        let views = rows.iter().map(invoice_view).collect::<StoreResult<_>>()?;
        Ok(Paged::cut(views, page.limit, |view: &InvoiceView| view.number.to_string()))
    }

    pub(super) async fn load_invoice(&self, number: InvoiceNumber) -> StoreResult<InvoiceView> {
        let mut tx = self.read().await?;
        let row = sqlx::query(
            "/* invoices: load */ select i.id, i.number, i.kind, a.number as account_number, i.event_id, i.issued_at,
                    i.currency, i.amount, i.tax, i.total
               from invoices i join accounts a on a.id = i.account_id where i.number = ?1",
        )
        .bind(number.0)
        .fetch_optional(&mut *tx)
        .await
        .map_err(failure)?
        .ok_or_else(|| Refusal::UnknownInvoice { number: number.to_string() })?;
        let mut invoice = invoice_view(&row)?;
        invoice.lines = lines(&mut tx, get(&row, "id")?, invoice.total.currency).await?;
        Ok(invoice)
    }

    pub(super) async fn issue_regular_invoices(&self, by: &Actor) -> StoreResult<u64> {
        let mut tx = self.write().await?;
        let now = at(self.now());
        let last: i64 = sqlx::query_scalar("/* invoice all: last */ select coalesce(max(id), 0) from invoices")
            .fetch_one(&mut *tx)
            .await
            .map_err(failure)?;
        let issued = sqlx::query(
            "/* invoice all: issue */ insert into invoices (number, kind, account_id, currency, amount, tax, total, issued_at)
             select (select coalesce(max(number), 0) from invoices) + row_number() over (order by a.id), 'regular', a.id,
                    a.currency, sum(d.amount), sum(d.tax), sum(d.amount) + sum(d.tax), ?1
               from debits d join accounts a on a.id = d.account_id
              where d.invoice_id is null group by a.id",
        )
        .bind(&now)
        .execute(&mut *tx)
        .await
        .map_err(too_large)?
        .rows_affected();
        let lines = sqlx::query(
            "/* invoice all: lines */ insert into invoice_lines
                    (invoice_id, position, debit_id, description, charged_on, amount, tax, total)
             select i.id, row_number() over (partition by i.id order by d.charged_on, d.id), d.id, d.description,
                    d.charged_on, d.amount, d.tax, d.amount + d.tax
               from debits d join invoices i on i.account_id = d.account_id and i.id > ?1
              where d.invoice_id is null",
        )
        .bind(last)
        .execute(&mut *tx)
        .await
        .map_err(failure)?
        .rows_affected();
        let invoiced = sqlx::query(
            "/* invoice all: debits */ update debits set invoice_id = i.id from invoices i
              where i.id > ?1 and i.account_id = debits.account_id and debits.invoice_id is null",
        )
        .bind(last)
        .execute(&mut *tx)
        .await
        .map_err(failure)?
        .rows_affected();
        if lines != invoiced {
            return Err(StoreError::Rejected(format!("{invoiced} debits came to {lines} lines; nothing was kept")));
        }
        log_issued(&mut tx, last, &now, by).await?;
        tx.commit().await.map_err(failure)?;
        Ok(issued)
    }
}

/// An entry for each invoice after `last`, chunk by chunk.
async fn log_issued(connection: &mut SqliteConnection, mut last: i64, now: &str, by: &Actor) -> StoreResult<()> {
    loop {
        let issued: Vec<(i64, i64, i64)> = sqlx::query_as(
            "/* invoice all: issued */ select id, account_id, number from invoices where id > ?1 order by id limit ?2",
        )
        .bind(last)
        .bind(i64::try_from(CHUNK_ROWS).unwrap_or(i64::MAX))
        .fetch_all(&mut *connection)
        .await
        .map_err(failure)?;
        let Some((end, _, _)) = issued.last() else { return Ok(()) };
        last = *end;
        let entries = issued.iter().map(|(_, account, number)| (account, story::invoiced(InvoiceNumber(*number))));
        let written = sqlx::query(
            "/* invoice all: log */ insert into account_log (account_id, at, kind, message, actor, source)
             select value ->> 0, ?2, ?3, value ->> 1, ?4, ?5 from json_each(?1) order by key",
        )
        .bind(json(&entries.collect::<Vec<_>>())?)
        .bind(now)
        .bind(LogKind::Invoiced.as_str())
        .bind(&by.name)
        .bind(by.source.as_str())
        .execute(&mut *connection)
        .await
        .map_err(failure)?;
        expect_rows(&written, issued.len(), "invoice all: log")?;
    }
}

/// SQLite's own words for a sum that does not fit are `integer overflow`.
fn too_large(error: sqlx::Error) -> StoreError {
    match failure(error) {
        StoreError::Rejected(why) => StoreError::Rejected(format!(
            "{why}; the uninvoiced debits of an account may add up to too much, correct them"
        )),
        other => other,
    }
}

fn invoice_view(row: &SqliteRow) -> StoreResult<InvoiceView> {
    let currency = currency(row, "currency")?;
    Ok(InvoiceView {
        number: InvoiceNumber(get(row, "number")?),
        kind: word(row, "kind", InvoiceKind::parse)?,
        account_number: number(row, "account_number")?,
        event_id: get::<Option<i64>, _>(row, "event_id")?.map(EventId),
        issued_at: get(row, "issued_at")?,
        amount: Money::new(get(row, "amount")?, currency),
        tax: Money::new(get(row, "tax")?, currency),
        total: Money::new(get(row, "total")?, currency),
        lines: Vec::new(),
    })
}

async fn lines(connection: &mut SqliteConnection, invoice: i64, currency: Currency) -> StoreResult<Vec<LineView>> {
    sqlx::query(
        "/* invoices: lines */ select description, charged_on, amount, tax, total from invoice_lines
          where invoice_id = ?1 order by position",
    )
    .bind(invoice)
    .fetch_all(connection)
    .await
    .map_err(failure)?
    .iter()
    .map(|row| {
        Ok(LineView {
            description: get(row, "description")?,
            charged_on: get(row, "charged_on")?,
            amount: Money::new(get(row, "amount")?, currency),
            tax: Money::new(get(row, "tax")?, currency),
            total: Money::new(get(row, "total")?, currency),
        })
    })
    .collect()
}
