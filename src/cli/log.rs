//! `log`: what was done to an account, by whom and why.

use clap::Args;

use super::page::{NumberedPageArgs, note_more};
use super::session::{CliError, Exit, Session};
use super::table::{Column, instant, table};
use crate::domain::account::{AccountNumber, LogEntry};

/// Show what was done to an account, oldest first: when, what, by whom, why
#[derive(Debug, Args)]
pub struct LogArgs {
    /// The number of the account
    #[arg(value_name = "NUMBER", value_parser = AccountNumber::parse)]
    number: AccountNumber,
    #[command(flatten)]
    page: NumberedPageArgs,
}

pub async fn run(args: LogArgs, session: &Session) -> Result<Exit, CliError> {
    let page = session.store.log(&args.number, &args.page.page()).await?;
    session.answer(&page, || {
        if page.items.is_empty() {
            format!("Nothing more stands in the log of account {}.", args.number)
        } else {
            listed(&page.items, session.screen.width)
        }
    })?;
    note_more(&session.screen, &page);
    Ok(Exit::Done)
}

fn listed(entries: &[LogEntry], width: Option<u16>) -> String {
    let columns = [
        Column::Firm("AT (UTC)"),
        Column::Firm("WHAT"),
        Column::Left("MESSAGE"),
        Column::Left("BY"),
        Column::Right("EVENT"),
        Column::Left("REASON"),
    ];
    let rows = entries.iter().map(|entry| {
        [
            instant(&entry.at),
            entry.kind.as_str().replace('_', " "),
            entry.message.clone(),
            format!("{} ({})", entry.actor, entry.source),
            entry.event_id.map(|event| event.to_string()).unwrap_or_default(),
            entry.reason.clone().unwrap_or_default(),
        ]
    });
    table(width, &columns, rows)
}
