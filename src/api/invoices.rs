//! Invoices: list and show.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::extract::{Asked, Id, account_number, numbered_page};
use super::problem::Answer;
use crate::domain::glance::Glance;
use crate::domain::invoice::{InvoiceInFull, InvoiceNumber, InvoiceView};
use crate::store::Paged;

pub fn read() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(list_invoices)).routes(routes!(show_invoice))
}

/// Which invoices.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct InvoicesAsked {
    /// Of this account alone.
    #[param(min_length = 1, max_length = 64)]
    account: Option<String>,
    /// How many to answer.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: Option<u32>,
    /// Go on behind this cursor, the `next_cursor` of the page before.
    #[param(minimum = 0)]
    after: Option<u64>,
}

/// List invoices, newest first, without their lines.
#[utoipa::path(
    get,
    path = "/api/v1/invoices",
    tag = "invoices",
    params(InvoicesAsked),
    responses((status = 200, description = "A part of the list.", body = Paged<InvoiceView>))
)]
async fn list_invoices(
    State(api): State<Shared>,
    Asked(asked): Asked<InvoicesAsked>,
) -> Answer<Json<Paged<InvoiceView>>> {
    let page = numbered_page(asked.limit, asked.after)?;
    let account = asked.account.map(|number| account_number("account", &number)).transpose()?;
    if let Some(number) = &account {
        // An account without invoices is not an account that does not exist.
        api.store.account(number).await?;
    }
    Ok(Json(api.store.invoices(account.as_ref(), &page).await?))
}

/// The invoice that a path names.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
struct InvoiceInPath {
    /// The number of the invoice.
    #[param(minimum = 1, example = 1)]
    #[expect(dead_code, reason = "it is read by `Id`; this describes it")]
    number: i64,
}

/// Show one invoice with its lines.
#[utoipa::path(
    get,
    path = "/api/v1/invoices/{number}",
    tag = "invoices",
    params(InvoiceInPath),
    responses((status = 200, description = "The invoice.", body = InvoiceInFull))
)]
async fn show_invoice(State(api): State<Shared>, Id(number): Id) -> Answer<Json<InvoiceInFull>> {
    let invoice = api.store.invoice(InvoiceNumber(number)).await?;
    let recipient = Glance::of(api.store.glance_facts(&invoice.account_number).await?).recipient;
    Ok(Json(InvoiceInFull { invoice, recipient }))
}
