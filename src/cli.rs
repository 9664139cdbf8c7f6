//! The command line: what there is to say, and the verbs that speak to a store. A file per group of verbs.
//!
//! Standard output carries the answer alone: tables for people, or one JSON document with `--json`. Notes, questions,
//! progress and errors go to standard error.

pub mod accounts;
pub mod campaign;
pub mod children;
pub mod disconnect;
pub mod doctor;
pub mod events;
pub mod import;
pub mod invoices;
pub mod log;
pub mod overview;
pub mod own_event;
pub mod owner;
pub mod page;
pub mod plain;
pub mod queue;
pub mod screen;
pub mod session;
pub mod settings;
pub mod statuses;
pub mod table;
pub mod tokens;
pub mod users;
pub mod values;
pub mod wait;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::domain::token;

pub use screen::Screen;
pub use session::{CliError, Exit, RunOwn, Session, system_user};

/// Disconnects customer accounts: now, on a date, or many at once.
#[derive(Debug, Parser)]
#[command(
    name = "disconnectd",
    bin_name = "disconnectd",
    version,
    max_term_width = 120,
    long_about = LONG_ABOUT,
    after_help = AFTER_HELP,
    after_long_help = AFTER_LONG_HELP
)]
pub struct Cli {
    /// The configuration, a TOML file; environment variables win over it
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBAL)]
    pub config: Option<PathBuf>,

    /// Answer with one JSON document instead of tables
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub json: bool,

    #[command(subcommand)]
    pub command: Command,
}

const GLOBAL: &str = "Global options";

const LONG_ABOUT: &str = "\
Disconnects customer accounts: now, on a date, or many at once.

One disconnect closes the books of an account (a final invoice over every uninvoiced debit), frees its serviceable \
address and moves it to the disconnect status, all in one transaction. Nothing is deleted, ever.

Without any configuration it works on the SQLite file disconnectd.db in the current directory.";

const AFTER_HELP: &str = "\
Exit codes:
  0  done (also for an account that was disconnected already: the answer says so)
  1  failed: a bad file, a server that does not answer, a disconnect event that ended `failed`
  2  usage
  3  refused by a rule, or a question with nobody there to answer it (see --yes)
  4  still under way when the wait ended";

const AFTER_LONG_HELP: &str = "\
Examples:
  disconnectd demo                                  a sample provider, run to the end
  disconnectd import accounts accounts.csv          load accounts, and then:
  disconnectd import debits debits.csv              what they owe
  disconnectd overview 7590-VHVEG                   what a disconnect would do
  disconnectd disconnect 7590-VHVEG                 do it now, after a question
  disconnectd schedule 7590-VHVEG --on 2026-12-01   do it then; `disconnectd serve` must run
  disconnectd campaign create --name leavers --accounts leavers.csv
                                                    many at once: look (dry-run), start, watch
  disconnectd serve                                 run what is due, until it is stopped
  disconnectd --json events list --state failed | jq '.items[].last_error'

Output:
  The answer goes to standard output; notes, questions, progress and errors go to standard error.
  With --json standard output has exactly one document: what the HTTP API would answer, or where
  there is no answer {\"error\":{\"code\":\"unknown_account\",\"message\":\"...\"}}. A usage error (exit 2)
  writes nothing there.

Environment:
  DISCONNECTD_DATABASE_URL   sqlite://disconnectd.db (the default) or postgres://...
  DISCONNECTD_QUEUE_URL      memory: (the default), amqp://... or amqps://...
  DISCONNECTD_QUEUE_CA_FILE  whose CAs (PEM) vouch for RabbitMQ, with amqps://
  DISCONNECTD_HTTP_LISTEN    127.0.0.1:8080 (the default), for `serve`
  DISCONNECTD_PUBLIC_URL     where people find the console, if that is behind a proxy
  DISCONNECTD_TRACES_ENDPOINT
                             a collector of traces, such as http://127.0.0.1:4318
  DISCONNECTD_TOKEN          a token (see `tokens create`): commands bear its owner's name and may
                             do what its role allows; without one it is the system's user, who may
                             do everything
  DISCONNECTD_DATABASE_URL_FILE, DISCONNECTD_QUEUE_URL_FILE, DISCONNECTD_TOKEN_FILE
                             a file that holds the value, in place of the variable itself

Exit codes:
  0  done (also for an account that was disconnected already: the answer says so)
  1  failed: a bad file, a server that does not answer, a disconnect event that ended `failed`
  2  usage
  3  refused by a rule, or a question with nobody there to answer it (see --yes)
  4  still under way when the wait ended

A value that begins with a dash goes behind `--`: disconnectd accounts show -- -17";

#[derive(Debug, Subcommand)]
pub enum Command {
    Demo(DemoArgs),
    Serve(ServeArgs),
    Migrate(MigrateArgs),
    #[command(flatten)]
    Verb(Verb),
}

/// Load a sample provider and run its due disconnects to the end, with a summary
#[derive(Debug, Args)]
#[command(after_help = "\
Without configuration it works in a file of its own, which it starts over each time, and touches no other. A database \
given by DISCONNECTD_DATABASE_URL must be empty or bear the demo's mark; any other is left alone (exit 3).")]
pub struct DemoArgs {
    /// Load the sample provider and disconnect nobody: to try disconnects and campaigns on
    #[arg(long)]
    pub load: bool,

    /// Go on serving the sample provider afterwards
    #[arg(long)]
    pub serve: bool,
}

/// Run what is due, and answer over HTTP: the scheduler, the worker, the API and the console, until a signal
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  disconnectd serve                        everything, in one process
  disconnectd serve --roles worker         one of many, on PostgreSQL and RabbitMQ

The first SIGTERM or Ctrl-C finishes what has begun, the second ends at once. The console (/), the API, its page (/api), /healthz, \
/readyz and /metrics are answered on DISCONNECTD_HTTP_LISTEN; the address is printed at start. The console \
takes a user, see `disconnectd users create --help`; all but /healthz takes a token, see `disconnectd tokens create \
--help`.")]
pub struct ServeArgs {
    /// What this process does; everything, unless said
    #[arg(long, value_enum, value_delimiter = ',', value_name = "ROLE")]
    pub roles: Vec<Role>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Finds due events and gives them to the queue
    Scheduler,
    /// Takes events from the queue and does the disconnects
    Worker,
    /// Answers programs over HTTP; health and metrics are answered in every role
    Api,
    /// Answers people: the pages of the console
    Console,
}

/// Bring the database's schema up to date (`serve` does it as well)
#[derive(Debug, Args)]
pub struct MigrateArgs {}

/// The verbs that speak to a store.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Load accounts or debits from a CSV file: all rows or none
    #[command(subcommand)]
    Import(import::ImportCommand),
    /// List and show accounts, and change their families and contacts
    #[command(subcommand)]
    Accounts(accounts::AccountsCommand),
    /// List and show invoices
    #[command(subcommand)]
    Invoices(invoices::InvoicesCommand),
    Log(log::LogArgs),
    /// List account statuses, and add some
    #[command(subcommand)]
    Statuses(statuses::StatusesCommand),
    /// Show and set what a disconnect leads to, and how dates and money are read
    #[command(subcommand)]
    Settings(settings::SettingsCommand),
    Overview(overview::OverviewArgs),
    Disconnect(disconnect::DisconnectArgs),
    Schedule(disconnect::ScheduleArgs),
    /// List and show disconnect events, and change their plans
    #[command(subcommand)]
    Events(events::EventsCommand),
    /// Disconnect many accounts as one: made, looked at, started, paused and reported on
    #[command(subcommand)]
    Campaign(campaign::CampaignCommand),
    /// Make, list and revoke tokens: who may do what, and whose name the log bears
    #[command(subcommand)]
    Tokens(tokens::TokensCommand),
    /// Make, list and change users: who may sign in to the console
    #[command(subcommand)]
    Users(users::UsersCommand),
    /// The queue between schedulers and workers
    #[command(subcommand)]
    Queue(queue::QueueCommand),
    Doctor(doctor::DoctorArgs),
}

impl Verb {
    /// By its word.
    #[must_use]
    pub fn asks_for_a_disconnect(&self) -> Option<&'static str> {
        match self {
            Self::Disconnect(_) => Some("disconnectd disconnect"),
            Self::Schedule(_) => Some("disconnectd schedule"),
            _ => None,
        }
    }

    /// What the owner of the token in `DISCONNECTD_TOKEN` must be for it.
    #[must_use]
    pub fn role(&self) -> token::Role {
        use accounts::AccountsCommand as Accounts;
        use events::EventsCommand as Events;
        use settings::SettingsCommand as Settings;
        use statuses::StatusesCommand as Statuses;

        match self {
            Self::Accounts(Accounts::List(_) | Accounts::Show { .. })
            | Self::Invoices(_)
            | Self::Log(_)
            | Self::Statuses(Statuses::List)
            | Self::Settings(Settings::Show)
            | Self::Overview(_)
            | Self::Events(Events::List(_) | Events::Show { .. })
            | Self::Queue(queue::QueueCommand::Dead(queue::DeadCommand::List(_)))
            | Self::Doctor(_) => token::Role::Viewer,
            Self::Queue(_)
            | Self::Import(_)
            | Self::Accounts(Accounts::Link { .. } | Accounts::Unlink { .. } | Accounts::Contact(_))
            | Self::Disconnect(_)
            | Self::Schedule(_)
            | Self::Events(Events::Cancel { .. } | Events::Decide(_) | Events::Reschedule(_) | Events::Retry { .. }) => {
                token::Role::Operator
            }
            Self::Campaign(command) => command.role(),
            Self::Statuses(Statuses::Add(_)) | Self::Settings(Settings::Set(_)) | Self::Tokens(_) | Self::Users(_) => {
                token::Role::Admin
            }
        }
    }

    /// Whether it is somebody's in person, so that the system's user will not do.
    #[must_use]
    pub fn needs_token(&self) -> bool {
        matches!(self, Self::Campaign(command) if command.is_approval())
    }
}

/// Does what was asked, and says what came of it, errors included.
pub async fn run(verb: Verb, session: &Session) -> Exit {
    match dispatch(verb, session).await {
        Ok(exit) => exit,
        Err(error) => {
            session.screen.fail(&error);
            error.exit()
        }
    }
}

async fn dispatch(verb: Verb, session: &Session) -> Result<Exit, CliError> {
    match verb {
        Verb::Import(command) => import::run(command, session).await,
        Verb::Accounts(command) => accounts::run(command, session).await,
        Verb::Invoices(command) => invoices::run(command, session).await,
        Verb::Log(args) => log::run(args, session).await,
        Verb::Statuses(command) => statuses::run(command, session).await,
        Verb::Settings(command) => settings::run(command, session).await,
        Verb::Overview(args) => overview::run(args, session).await,
        Verb::Disconnect(args) => disconnect::run(args, session).await,
        Verb::Schedule(args) => disconnect::schedule(args, session).await,
        Verb::Events(command) => events::run(command, session).await,
        Verb::Campaign(command) => campaign::run(command, session).await,
        Verb::Tokens(command) => tokens::run(command, session).await,
        Verb::Users(command) => users::run(command, session).await,
        Verb::Queue(command) => queue::run(command, session).await,
        Verb::Doctor(args) => doctor::run(args, session).await,
    }
}

#[cfg(test)]
mod tests;
