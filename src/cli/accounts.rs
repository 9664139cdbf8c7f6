//! `accounts`: list, show, families and contacts.

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};

use super::page::{PageArgs, note_more};
use super::session::{CliError, Exit, Session};
use super::table::{Column, instant, sheet, table};
use super::values;
use crate::domain::account::{AccountFilter, AccountNumber, AccountView, ContactChange};
use crate::domain::event::EventView;
use crate::domain::family::Relative;
use crate::domain::overview::OverviewFacts;

#[derive(Debug, Subcommand)]
pub enum AccountsCommand {
    List(ListArgs),
    /// Show one account with its family and its open event
    Show {
        /// The number of the account
        #[arg(value_name = "NUMBER", value_parser = AccountNumber::parse)]
        number: AccountNumber,
    },
    /// Put an account under a parent, from wherever it was
    #[command(after_help = "Example:\n  disconnectd accounts link 1002 --parent 1001")]
    Link {
        /// The number of the child account
        #[arg(value_name = "CHILD", value_parser = AccountNumber::parse)]
        child: AccountNumber,
        /// The number of the parent account
        #[arg(long, value_name = "NUMBER", value_parser = AccountNumber::parse, allow_hyphen_values = true)]
        parent: AccountNumber,
    },
    /// Take an account from under its parent; it must have a contact of its own
    Unlink {
        /// The number of the child account
        #[arg(value_name = "CHILD", value_parser = AccountNumber::parse)]
        child: AccountNumber,
    },
    Contact(ContactArgs),
}

/// List accounts by number; everything given must hold
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  disconnectd accounts list --search 'main st'
  disconnectd accounts list --group 'Tower A' --connected --no-open-event
  disconnectd --json accounts list --disconnected | jq -r '.items[].number'")]
pub struct ListArgs {
    /// In the number, the name or the address, whatever the case
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    search: Option<String>,
    /// With this status
    #[arg(long, value_name = "NAME")]
    status: Option<String>,
    /// With this label
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Under this account
    #[arg(long, value_name = "NUMBER", value_parser = AccountNumber::parse, allow_hyphen_values = true)]
    parent: Option<AccountNumber>,
    /// Disconnected accounts alone
    #[arg(long, conflicts_with = "connected")]
    disconnected: bool,
    /// Accounts that are not disconnected alone
    #[arg(long)]
    connected: bool,
    #[command(flatten)]
    event: EventArgs,
    #[command(flatten)]
    page: PageArgs,
}

#[derive(Debug, Args)]
struct EventArgs {
    /// Accounts with an event that is to come alone
    #[arg(long, conflicts_with = "no_open_event")]
    open_event: bool,
    /// Accounts without one alone
    #[arg(long)]
    no_open_event: bool,
}

/// Change who gets the invoices of an account; what is not given stays
#[derive(Debug, Args)]
#[command(
    override_usage = "disconnectd accounts contact [OPTIONS] <NUMBER>",
    group = clap::ArgGroup::new("change").required(true).multiple(true),
    after_help = "\
Examples:
  disconnectd accounts contact 1001 --email ada@example.com
  disconnectd accounts contact 1001 --mailing-address '12 Main St, Springfield' --no-email"
)]
pub struct ContactArgs {
    /// The number of the account
    #[arg(value_name = "NUMBER", value_parser = AccountNumber::parse)]
    number: AccountNumber,
    /// Where invoices are sent to
    #[arg(long, value_name = "ADDRESS", value_parser = values::text, group = "change")]
    email: Option<String>,
    /// Where letters are sent to
    #[arg(long, value_name = "ADDRESS", value_parser = values::text, group = "change")]
    mailing_address: Option<String>,
    /// Without an email
    #[arg(long, conflicts_with = "email", group = "change")]
    no_email: bool,
    /// Without a mailing address
    #[arg(long, conflicts_with = "mailing_address", group = "change")]
    no_mailing_address: bool,
}

pub async fn run(command: AccountsCommand, session: &Session) -> Result<Exit, CliError> {
    match command {
        AccountsCommand::List(args) => list(args, session).await?,
        AccountsCommand::Show { number } => show(&number, session).await?,
        AccountsCommand::Link { child, parent } => {
            let account = session.store.link(&child, &parent, &session.actor).await?;
            session.answer(&account, || format!("Account {child} is under {parent} now."))?;
        }
        AccountsCommand::Unlink { child } => {
            let account = session.store.unlink(&child, &session.actor).await?;
            session
                .answer(&account, || format!("Account {child} has no parent now; nothing else of it has changed."))?;
        }
        AccountsCommand::Contact(args) => contact(args, session).await?,
    }
    Ok(Exit::Done)
}

async fn list(args: ListArgs, session: &Session) -> Result<(), CliError> {
    let filter = AccountFilter {
        search: args.search,
        status: args.status,
        group: args.group,
        parent: args.parent,
        disconnected: one_of(args.disconnected, args.connected),
        open_event: one_of(args.event.open_event, args.event.no_open_event),
        ..AccountFilter::default()
    };
    let is_filtered = filter.search.is_some()
        || filter.status.is_some()
        || filter.group.is_some()
        || filter.parent.is_some()
        || filter.disconnected.is_some()
        || filter.open_event.is_some()
        || args.page.after.is_some();
    let page = session.store.accounts(&filter, &args.page.page()).await?;
    session.answer(&page, || match (page.items.is_empty(), is_filtered) {
        (true, true) => "No account matches; ask for less, or see them all: disconnectd accounts list".into(),
        (true, false) => "There are no accounts yet; load some: disconnectd import accounts FILE".into(),
        (false, _) => listed(&page.items, session.screen.width),
    })?;
    note_more(&session.screen, &page);
    Ok(())
}

/// Two flags that rule each other out; neither asks for all.
fn one_of(yes: bool, no: bool) -> Option<bool> {
    (yes || no).then_some(yes)
}

fn listed(accounts: &[AccountView], width: Option<u16>) -> String {
    let columns = [
        Column::Left("NUMBER"),
        Column::Left("NAME"),
        Column::Left("STATUS"),
        Column::Left("ADDRESS"),
        Column::Left("PARENT"),
        Column::Right("CHILDREN"),
        Column::Right("UNINVOICED"),
        Column::Right("EVENT"),
    ];
    let rows = accounts.iter().map(|account| {
        [
            account.number.to_string(),
            account.name.clone(),
            status(&account.status, account.disconnected_at.as_ref()),
            account.address.clone().unwrap_or_default(),
            account.parent_number.as_ref().map(ToString::to_string).unwrap_or_default(),
            if account.children == 0 { String::new() } else { account.children.to_string() },
            account.uninvoiced.to_string(),
            account.open_event.map(|event| event.to_string()).unwrap_or_default(),
        ]
    });
    table(width, &columns, rows)
}

/// The status, with the badge of a disconnected account.
pub(super) fn status(name: &str, disconnected_at: Option<&DateTime<Utc>>) -> String {
    match disconnected_at {
        Some(at) => format!("{name} [disconnected {}]", at.date_naive()),
        None => name.to_owned(),
    }
}

async fn show(number: &AccountNumber, session: &Session) -> Result<(), CliError> {
    if session.screen.json {
        return session.screen.print_json(&session.store.account(number).await?);
    }
    let facts = session.store.overview_facts(number).await?;
    session.screen.print(&shown(&facts, session.screen.width))
}

fn shown(facts: &OverviewFacts, width: Option<u16>) -> String {
    let account = &facts.account;
    let mut pairs = vec![
        ("Account", account.number.to_string()),
        ("Name", account.name.clone()),
        ("Status", status(&account.status, account.disconnected_at.as_ref())),
        ("Address", or_none(account.address.as_deref())),
        ("Email", or_none(account.contact.email.as_deref())),
        ("Mailing address", or_none(account.contact.mailing_address.as_deref())),
        ("Groups", or_none(Some(account.groups.join(", ").as_str()).filter(|groups| !groups.is_empty()))),
        ("Currency", account.currency.to_string()),
        ("Zone", account.zone.map_or("the company's".into(), |zone| zone.name().to_owned())),
        ("Uninvoiced", account.uninvoiced.to_string()),
        ("Parent", facts.snapshot.family.parent.as_ref().map_or("none".into(), relative)),
    ];
    if let Some(at) = &account.disconnected_at {
        pairs.insert(3, ("Disconnected", format!("{} UTC", instant(at))));
    }
    pairs.push(("Children", children(&facts.snapshot.family.children)));
    pairs.push(("Open event", facts.open_event.as_ref().map_or("none".into(), open_event)));
    sheet(width, &pairs)
}

fn or_none(text: Option<&str>) -> String {
    text.unwrap_or("none").to_owned()
}

pub(super) fn children(children: &[Relative]) -> String {
    if children.is_empty() {
        return "none".into();
    }
    let mut lines: Vec<_> = children.iter().take(CHILDREN_SHOWN).map(relative).collect();
    if children.len() > CHILDREN_SHOWN {
        lines.push(format!("and {} more; `accounts list --parent` shows them", children.len() - CHILDREN_SHOWN));
    }
    lines.join("\n")
}

/// A building may have hundreds.
const CHILDREN_SHOWN: usize = 20;

/// One line: `1002  Bo  (Active)`.
pub(super) fn relative(relative: &Relative) -> String {
    let status = status(&relative.status, relative.disconnected_at.as_ref());
    let event = relative.open_event.as_ref();
    let event =
        event.map(|event| format!(", event {} due at {} UTC", event.id, instant(&event.due_at))).unwrap_or_default();
    // Line breaks of others must not look like ours.
    let name = super::plain::plain(&relative.name);
    format!("{}  {name}  ({status}{event})", relative.number)
}

pub(super) fn open_event(event: &EventView) -> String {
    format!("{}, {} for {} UTC", event.id, event.state.as_str(), instant(&event.due_at))
}

async fn contact(args: ContactArgs, session: &Session) -> Result<(), CliError> {
    let change = ContactChange {
        email: if args.no_email { Some(None) } else { args.email.map(Some) },
        mailing_address: if args.no_mailing_address { Some(None) } else { args.mailing_address.map(Some) },
    };
    let account = session.store.change_contact(&args.number, &change, &session.actor).await?;
    session.answer(&account, || {
        let pairs = [
            ("Account", account.number.to_string()),
            ("Email", or_none(account.contact.email.as_deref())),
            ("Mailing address", or_none(account.contact.mailing_address.as_deref())),
        ];
        sheet(session.screen.width, &pairs)
    })
}
