//! `invoices`: list and show.

use clap::{Args, Subcommand};

use super::page::{NumberedPageArgs, note_more};
use super::session::{CliError, Exit, Session};
use super::table::{Column, indented, instant, sheet, table};
use super::values;
use crate::domain::account::AccountNumber;
use crate::domain::glance::Glance;
use crate::domain::invoice::{InvoiceInFull, InvoiceNumber, InvoiceView, LineView};
use crate::domain::money::Money;

#[derive(Debug, Subcommand)]
pub enum InvoicesCommand {
    List(ListArgs),
    /// Show one invoice with its lines
    Show {
        /// The number of the invoice
        #[arg(value_name = "NUMBER", value_parser = values::invoice_number)]
        number: InvoiceNumber,
    },
}

/// List invoices, newest first
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Of this account alone
    #[arg(long, value_name = "NUMBER", value_parser = AccountNumber::parse, allow_hyphen_values = true)]
    account: Option<AccountNumber>,
    #[command(flatten)]
    page: NumberedPageArgs,
}

pub async fn run(command: InvoicesCommand, session: &Session) -> Result<Exit, CliError> {
    match command {
        InvoicesCommand::List(args) => list(args, session).await?,
        InvoicesCommand::Show { number } => {
            let invoice = session.store.invoice(number).await?;
            let recipient = Glance::of(session.store.glance_facts(&invoice.account_number).await?).recipient;
            let invoice = InvoiceInFull { invoice, recipient };
            session.answer(&invoice, || shown(&invoice, session.screen.width))?;
        }
    }
    Ok(Exit::Done)
}

async fn list(args: ListArgs, session: &Session) -> Result<(), CliError> {
    if let Some(number) = &args.account {
        // An account without invoices is not an account that does not exist.
        session.store.account(number).await?;
    }
    let is_rest = args.page.after.is_some();
    let page = session.store.invoices(args.account.as_ref(), &args.page.page()).await?;
    session.answer(&page, || {
        if page.items.is_empty() && is_rest {
            "There are no more invoices.".into()
        } else if page.items.is_empty() {
            "There are no invoices; a disconnect issues the final one: disconnectd overview NUMBER".into()
        } else {
            listed(&page.items, session.screen.width)
        }
    })?;
    note_more(&session.screen, &page);
    Ok(())
}

fn listed(invoices: &[InvoiceView], width: Option<u16>) -> String {
    let columns = [
        Column::Right("INVOICE"),
        Column::Firm("KIND"),
        Column::Left("ACCOUNT"),
        Column::Firm("ISSUED (UTC)"),
        Column::Right("AMOUNT"),
        Column::Right("TAX"),
        Column::Right("TOTAL"),
    ];
    let rows = invoices.iter().map(|invoice| {
        [
            invoice.number.to_string(),
            invoice.kind.as_str().to_owned(),
            invoice.account_number.to_string(),
            instant(&invoice.issued_at),
            invoice.amount.to_string(),
            invoice.tax.to_string(),
            invoice.total.to_string(),
        ]
    });
    table(width, &columns, rows)
}

fn shown(InvoiceInFull { invoice, recipient }: &InvoiceInFull, width: Option<u16>) -> String {
    let recipient = recipient.as_ref().map(|recipient| recipient.in_words(&invoice.account_number));
    let event = invoice.event_id.map_or("none".into(), |event| event.to_string());
    let pairs = [
        ("Invoice", format!("{} ({})", invoice.number, invoice.kind.as_str())),
        ("Account", invoice.account_number.to_string()),
        ("Goes to", recipient.unwrap_or_else(|| "nobody".into())),
        ("Issued", format!("{} UTC", instant(&invoice.issued_at))),
        ("Event", event),
    ];
    let lines = lines(&invoice.lines, [invoice.amount, invoice.tax, invoice.total], width);
    format!("{}\n\n{}", sheet(width, &pairs), indented(&lines))
}

/// The lines of an invoice over its totals: amount, tax, and both.
pub(super) fn lines(lines: &[LineView], [amount, tax, total]: [Money; 3], width: Option<u16>) -> String {
    let columns = [
        Column::Firm("CHARGED ON"),
        Column::Left("DESCRIPTION"),
        Column::Right("AMOUNT"),
        Column::Right("TAX"),
        Column::Right("TOTAL"),
    ];
    let row = |line: &LineView| {
        [
            line.charged_on.to_string(),
            line.description.clone(),
            line.amount.to_string(),
            line.tax.to_string(),
            line.total.to_string(),
        ]
    };
    let sums = ["Total".to_owned(), String::new(), amount.to_string(), tax.to_string(), total.to_string()];
    // They are moved to the right by two.
    table(width.map(|width| width - 2), &columns, lines.iter().map(row).chain([sums]))
}
