//! `overview`: what a disconnect would do.

use chrono_tz::Tz;
use clap::Args;

use super::accounts::{children, open_event, relative, status};
use super::invoices::lines;
use super::plain::plain;
use super::session::{CliError, Exit, Session};
use super::table::{indented, instant, sheet};
use crate::domain::account::AccountNumber;
use crate::domain::calendar::{When, parse_zone};
use crate::domain::overview::{FinalInvoice, Overview, Recipient};

/// Show what a disconnect would do: the final invoice line by line, the address, the family, what blocks
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  disconnectd overview 7590-VHVEG
  disconnectd overview 7590-VHVEG --on 2026-12-01T09:00 --zone America/Denver
  disconnectd --json overview 7590-VHVEG | jq .final_invoice.total")]
pub struct OverviewArgs {
    /// The number of the account
    #[arg(value_name = "NUMBER", value_parser = AccountNumber::parse)]
    number: AccountNumber,
    /// For a disconnect then: 2026-12-01, 2026-12-01T09:00, RFC 3339, or now
    #[arg(long, value_name = "WHEN", value_parser = When::parse, default_value = "now")]
    on: When,
    /// The IANA zone that the date is read in; the account's, unless said, else the company's
    #[arg(long, value_name = "ZONE", value_parser = parse_zone)]
    zone: Option<Tz>,
}

/// A question has an answer, also where it is that something blocks: exit 0.
pub async fn run(args: OverviewArgs, session: &Session) -> Result<Exit, CliError> {
    let facts = session.store.overview_facts(&args.number).await?;
    let zone = args.zone.or(facts.account.zone).unwrap_or(facts.settings.company_zone);
    let (on, _) = args.on.resolve(zone, facts.settings.cutoff_time, facts.now);
    let overview = Overview::of(facts, on);
    session.answer(&overview, || rendered(&overview, session.screen.width))?;
    Ok(Exit::Done)
}

/// The sheet that a person reads before saying yes.
#[must_use]
pub fn rendered(overview: &Overview, width: Option<u16>) -> String {
    let account = &overview.account;
    let now = status(&overview.status_now, account.disconnected_at.as_ref());
    let status = match &overview.status_after {
        Some(after) => format!("{now} -> {after}"),
        None => format!("{now}, stays as it is"),
    };
    let address = match (&overview.address_to_release, &account.address) {
        (Some(address), _) => format!("{}  (will be released)", plain(address)),
        (None, Some(address)) => format!("{}  (stays)", plain(address)),
        (None, None) => "none to release".into(),
    };
    let mut pairs = vec![
        ("Account", format!("{}  {}", account.number, plain(&account.name))),
        ("Disconnect on", format!("{} UTC", instant(&overview.on))),
        ("Status", status),
        ("Address", address),
        ("Parent", overview.parent.as_ref().map_or("none".into(), relative)),
        ("Children", children(&overview.children)),
        ("Below them", children(&overview.descendants)),
        ("Open event", overview.open_event.as_ref().map_or("none".into(), open_event)),
    ];
    if overview.descendants.is_empty() {
        pairs.retain(|(name, _)| *name != "Below them");
    }
    let invoice = overview.final_invoice.as_ref();
    pairs.push((
        "Final invoice",
        match invoice {
            Some(invoice) => format!("{} to {}", invoice.total, recipient(overview)),
            None if overview.status_after.is_some() => "none: nothing to invoice".into(),
            // Nothing would be done, so nothing is known of it.
            None => "none".into(),
        },
    ));
    if let Some(parent) = &overview.parent {
        let after = match &overview.recipient_after_parent {
            Some(recipient) => plain(&recipient.contact.ways()).into_owned(),
            None => "nobody: it has no contact of its own".into(),
        };
        pairs.push(("Its invoices", format!("to {}; once {} is gone, to {after}", recipient(overview), parent.number)));
    }
    let mut text = sheet(width, &pairs) + "\n";
    if let Some(FinalInvoice { lines: invoiced, amount, tax, total }) = invoice {
        text.push('\n');
        text.push_str(&indented(&lines(invoiced, [*amount, *tax, *total], width)));
    }
    text.push_str(&listed("It can't be done:", &overview.blockers));
    text.push_str(&listed("To know before:", &overview.warnings));
    text
}

fn recipient(overview: &Overview) -> String {
    let Some(Recipient { account_number, contact, .. }) = &overview.invoice_recipient else {
        return "nobody".into();
    };
    let ways = plain(&contact.ways()).into_owned();
    if account_number == overview.account.number.as_str() {
        ways
    } else {
        format!("{ways} (of its parent {account_number})")
    }
}

fn listed(title: &str, sentences: &[String]) -> String {
    if sentences.is_empty() {
        return String::new();
    }
    let sentences: Vec<_> = sentences.iter().map(|sentence| format!("  - {}", plain(sentence))).collect();
    format!("\n{title}\n{}\n", sentences.join("\n"))
}
