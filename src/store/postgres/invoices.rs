//! Invoices, as they are shown.

use sqlx::Row;

use super::failure::Failure;
use super::{PostgresStore, accounts, rows};
use crate::domain::account::AccountNumber;
use crate::domain::invoice::{InvoiceNumber, InvoiceView};
use crate::domain::refusal::Refusal;
use crate::store::{Page, Paged};

/// Newest first, without lines.
pub(super) async fn list(
    store: &PostgresStore,
    account: Option<&AccountNumber>,
    page: &Page,
) -> Result<Paged<InvoiceView>, Failure> {
    let after = rows::id_cursor(page.after.as_deref())?;
    let mut account_id: Option<i64> = None;
    if let Some(number) = account {
        account_id = sqlx::query_scalar("/* invoices: account */ select id from accounts where number = $1")
            .bind(number.as_str())
            .fetch_optional(&store.pool)
            .await?;
        account_id.ok_or_else(|| accounts::unknown(number))?;
    }
    let found = sqlx::query(
        "/* invoices */
         select i.id, i.number, i.kind, a.number as account_number, i.event_id, i.issued_at, i.currency, i.amount,
                i.tax, i.total
           from invoices i
           join accounts a on a.id = i.account_id
          where ($1::bigint is null or i.account_id = $1) and ($2::bigint is null or i.id < $2)
          order by i.id desc
          limit $3",
    )
    .bind(account_id)
    .bind(after)
    .bind(i64::from(page.limit) + 1)
    .fetch_all(&store.pool)
    .await?;
    let invoices = found
        .iter()
        .map(|row| Ok((row.try_get::<i64, _>("id")?, rows::invoice_view(row)?)))
        .collect::<Result<Vec<_>, Failure>>()?;
    let Paged { items, next_cursor } = Paged::cut(invoices, page.limit, |(id, _)| id.to_string());
    Ok(Paged { items: items.into_iter().map(|(_, invoice)| invoice).collect(), next_cursor })
}

pub(super) async fn show(store: &PostgresStore, number: InvoiceNumber) -> Result<InvoiceView, Failure> {
    let found = sqlx::query(
        "/* invoice */
         select i.id, i.number, i.kind, a.number as account_number, i.event_id, i.issued_at, i.currency, i.amount,
                i.tax, i.total
           from invoices i
           join accounts a on a.id = i.account_id
          where i.number = $1",
    )
    .bind(number.0)
    .fetch_optional(&store.pool)
    .await?
    .ok_or_else(|| Refusal::UnknownInvoice { number: number.to_string() })?;
    let mut invoice = rows::invoice_view(&found)?;
    // Issued in one transaction and never changed: a second statement sees the same invoice.
    let lines = sqlx::query(
        "/* invoice: lines */
         select description, charged_on, amount, tax, total from invoice_lines where invoice_id = $1 order by position",
    )
    .bind(found.try_get::<i64, _>("id")?)
    .fetch_all(&store.pool)
    .await?;
    let currency = invoice.total.currency;
    invoice.lines = lines.iter().map(|row| rows::line_view(row, currency)).collect::<Result<_, _>>()?;
    Ok(invoice)
}
