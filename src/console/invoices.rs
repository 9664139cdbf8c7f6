//! One invoice, as it is shown and printed.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::Shared;
use super::accounts::path_of;
use super::gate::Visitor;
use super::reader::Moment;
use super::words;
use crate::api::problem::{Answer, Problem};
use crate::domain::account::{AccountNumber, Contact};
use crate::domain::glance::Glance;
use crate::domain::invoice::{InvoiceKind, InvoiceNumber};

struct Line {
    description: String,
    charged_on: String,
    amount: String,
    tax: String,
    total: String,
}

#[derive(Template)]
#[template(path = "invoice.html")]
struct InvoicePart {
    number: i64,
    is_final: bool,
    account: AccountNumber,
    account_path: String,
    name: String,
    /// Whose contact it is, where it is another account's: path, and who.
    through: Option<(String, String)>,
    recipient: Option<Contact>,
    issued_at: Moment,
    lines: Vec<Line>,
    amount: String,
    tax: String,
    total: String,
}

pub async fn show(State(console): State<Shared>, visitor: Visitor, Path(number): Path<String>) -> Answer<Response> {
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "unknown_invoice", "There is no such invoice.");
    let number = number.parse().map(InvoiceNumber).map_err(|_| unknown())?;
    let invoice = console.store.invoice(number).await.map_err(words::problem)?;
    let facts = console.store.glance_facts(&invoice.account_number).await.map_err(words::problem)?;
    let Glance { account, recipient, zone, .. } = Glance::of(facts);
    let reader = visitor.asked.reader;
    let through = recipient.as_ref().and_then(|one| one.through(&account.number));
    let through = through
        .map(|(number, name)| (path_of(&AccountNumber::from_stored(number.into())), format!("{number}, {name}")));
    let part = InvoicePart {
        number: invoice.number.0,
        is_final: invoice.kind == InvoiceKind::Final,
        account_path: path_of(&account.number),
        account: account.number,
        name: account.name,
        through,
        recipient: recipient.map(|one| one.contact),
        issued_at: reader.moment_in(invoice.issued_at, zone),
        lines: invoice
            .lines
            .iter()
            .map(|line| Line {
                description: line.description.clone(),
                charged_on: reader.date(line.charged_on),
                amount: reader.money(line.amount),
                tax: reader.money(line.tax),
                total: reader.money(line.total),
            })
            .collect(),
        amount: reader.money(invoice.amount),
        tax: reader.money(invoice.tax),
        total: reader.money(invoice.total),
    };
    visitor.view(&format!("Invoice {number}"), &part)
}
