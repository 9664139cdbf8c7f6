//! `statuses`: list and add.

use clap::{Args, Subcommand};

use super::session::{CliError, Exit, Session};
use super::table::{Column, table};
use super::values;
use crate::domain::account::Status;
use crate::store::Paged;

#[derive(Debug, Subcommand)]
pub enum StatusesCommand {
    /// List the account statuses by name
    List,
    Add(AddArgs),
}

/// Add an account status
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  disconnectd statuses add 'On hold'
  disconnectd statuses add Seasonal --activates")]
pub struct AddArgs {
    /// The name of the new status
    #[arg(value_name = "NAME", value_parser = values::name)]
    name: String,
    /// Accounts with this status are served; a disconnect can't lead to it
    #[arg(long)]
    activates: bool,
}

pub async fn run(command: StatusesCommand, session: &Session) -> Result<Exit, CliError> {
    match command {
        StatusesCommand::List => list(session).await?,
        StatusesCommand::Add(args) => {
            let status = Status { name: args.name, activates_account: args.activates };
            session.store.add_status(&status).await?;
            session.answer(&status, || {
                format!("There is a status {} now; accounts with it are {}.", status.name, served(&status))
            })?;
        }
    }
    Ok(Exit::Done)
}

async fn list(session: &Session) -> Result<(), CliError> {
    let statuses = Paged { items: session.store.statuses().await?, next_cursor: None };
    let target = session.store.settings().await?.disconnect_status;
    session.answer(&statuses, || {
        let columns = [Column::Left("STATUS"), Column::Left("ITS ACCOUNTS ARE"), Column::Left("")];
        let rows = statuses.items.iter().map(|status| {
            let mark = if status.name == target { "a disconnect leads here" } else { "" };
            [status.name.clone(), served(status).to_owned(), mark.to_owned()]
        });
        table(session.screen.width, &columns, rows)
    })
}

fn served(status: &Status) -> &'static str {
    if status.activates_account { "served" } else { "not served" }
}
