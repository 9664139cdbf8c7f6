//! `import`: accounts and debits from CSV.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use super::plain::plain;
use super::session::{CliError, Exit, Session};
use super::table::count;
use crate::domain::actor::{Actor, Source as Origin};
use crate::domain::import::{ImportReport, Problem};
use crate::import::{self, Source};
use crate::store::ImportOptions;

#[derive(Debug, Subcommand)]
pub enum ImportCommand {
    /// Load accounts: new ones are made, those that there are get what the file says
    #[command(after_help = "\
The file is UTF-8 with this header, its columns in any order:
  number,name,status,parent_number,currency,zone,address,email,mailing_address,groups

number, name and status must be there in each row. Several groups are separated by `;`. A parent may come later in \
the file. Without a currency a new account gets the company's. Import is never a way around: it does not bring back \
what was disconnected or unlinked. A million rows take bounded memory.

Examples:
  disconnectd import accounts accounts.csv --dry-run
  zcat accounts.csv.gz | disconnectd import accounts -")]
    Accounts(FileArgs),
    /// Load debits: what accounts owe and has not been invoiced
    #[command(after_help = "\
The file is UTF-8 with this header, its columns in any order:
  account_number,reference,description,amount,tax,charged_on

All but tax must be there in each row. The reference is unique within its account: the same one again changes the \
debit, unless it is invoiced. Amounts are written like 120.50, in the account's currency; dates like 2026-11-30.

Example:
  disconnectd import debits debits.csv")]
    Debits(FileArgs),
}

#[derive(Debug, Args)]
pub struct FileArgs {
    /// The CSV file, or - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Look at everything, write nothing
    #[arg(long)]
    dry_run: bool,
}

pub async fn run(command: ImportCommand, session: &Session) -> Result<Exit, CliError> {
    let (ImportCommand::Accounts(args) | ImportCommand::Debits(args)) = &command;
    let source = Source::open(&args.file)?;
    let name = source.name.clone();
    let bar = progress_bar(session, source.length);
    let source = source.watched(|read| Box::new(bar.wrap_read(read)));

    let progress = |rows| bar.set_message(count(rows, "row"));
    let options = ImportOptions {
        dry_run: args.dry_run,
        by: Actor::new(session.actor.name.clone(), Origin::Import),
        progress: &progress,
    };
    let report = import(&command, source, options, session).await;
    bar.finish_and_clear();
    let report = report?;

    if session.screen.json {
        session.screen.print_json(&report)?;
    } else if report.is_clean() {
        session.screen.print(&summary(&report, &name, args.dry_run))?;
    }
    list(session, "note: ", &report.notes, report.notes_not_listed, NOTES_SHOWN);
    if report.is_clean() {
        return Ok(Exit::Done);
    }
    list(session, "", &report.problems, report.problems_not_listed, PROBLEMS_SHOWN);
    let problems = count(report.problems.len() as u64 + report.problems_not_listed, "problem");
    session.screen.error(&format!("nothing was imported: {problems} in {name}; correct them and import it again"));
    Ok(Exit::Failed)
}

async fn import(
    command: &ImportCommand,
    source: Source,
    options: ImportOptions<'_>,
    session: &Session,
) -> Result<ImportReport, CliError> {
    Ok(match command {
        ImportCommand::Accounts(_) => {
            let rows = import::account_rows(source).await?;
            session.store.import_accounts(rows, options).await?
        }
        ImportCommand::Debits(_) => {
            let rows = import::debit_rows(source).await?;
            session.store.import_debits(rows, options).await?
        }
    })
}

/// More than a person reads; a program gets [`crate::domain::import::LISTED_MAX`].
const PROBLEMS_SHOWN: usize = 100;
const NOTES_SHOWN: usize = 20;

/// On standard error, for people alone: a program has them in the report.
fn list(session: &Session, prefix: &str, problems: &[Problem], not_listed: u64, shown_max: usize) {
    if session.screen.json || problems.is_empty() {
        return;
    }
    let mut text = String::new();
    for Problem { line, column, message } in problems.iter().take(shown_max) {
        let column = if column.is_empty() { String::new() } else { format!(", {column}") };
        // A String takes everything.
        let _ = writeln!(text, "{prefix}line {line}{column}: {}", plain(message));
    }
    let rest = problems.len().saturating_sub(shown_max) as u64 + not_listed;
    if rest > 0 {
        let _ = writeln!(text, "{prefix}and {rest} more; with --json the report lists them");
    }
    session.screen.note(&text);
}

fn summary(report: &ImportReport, name: &str, dry_run: bool) -> String {
    let rows = count(report.rows, "row");
    let ImportReport { created, updated, unchanged, .. } = report;
    if dry_run {
        format!(
            "{rows} of {name} looked at, nothing written: {created} to create, {updated} to update, {unchanged} the same."
        )
    } else {
        format!("{rows} of {name} imported: {created} created, {updated} updated, {unchanged} the same.")
    }
}

/// How far the file is read, and how many rows are decided. Unseen where standard error is no terminal.
pub(super) fn progress_bar(session: &Session, length: Option<u64>) -> ProgressBar {
    if !session.screen.shows_progress {
        return ProgressBar::hidden();
    }
    let (bar, template) = match length {
        Some(length) => {
            (ProgressBar::new(length), "{bar:30} {bytes}/{total_bytes}  {msg}  {elapsed} (about {eta} to read)")
        }
        None => (ProgressBar::no_length(), "{spinner} {bytes}  {msg}  {elapsed}"),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    session.screen.with_bar(bar)
}
