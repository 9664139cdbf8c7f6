//! `queue dead`: what nobody could read, or what came back too often. Looked at, dropped, put back.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;
use tokio::time::timeout;

use super::plain::plain;
use super::session::{CliError, Exit, Session};
use super::table::{Column, count, instant, table};
use crate::queue::dead::{DeadLetter, Settlement, Which};
use crate::queue::{Connectivity, Queue, QueueError};
use crate::store::{Installation, StoreResult};

/// How long the broker may take to be reached.
const QUEUE_WAIT: Duration = Duration::from_secs(5);

/// Opens the queue of an installation, for a command that needs it.
pub type OpenQueue = dyn Fn(&Installation) -> StoreResult<std::sync::Arc<dyn Queue>> + Send + Sync;

#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// Look at the dead-letter queue, and empty it
    #[command(subcommand)]
    Dead(DeadCommand),
}

#[derive(Debug, Subcommand)]
pub enum DeadCommand {
    List(ListArgs),
    Drop(DropArgs),
    Requeue(RequeueArgs),
}

/// List what is in the dead-letter queue, and why; it stays there
#[derive(Debug, Args)]
#[command(after_help = "\
A message ends there when it is not one of this installation's orders (somebody else writes to these queues), or when it \
came back 20 times (it may have killed its worker each time). No disconnect waits for it: what is due is published \
again from the database.")]
pub struct ListArgs {
    /// How many to show, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

/// Drop messages from the dead-letter queue, for good
#[derive(Debug, Args)]
pub struct DropArgs {
    #[command(flatten)]
    which: WhichArgs,
}

/// Put orders of this installation back to the queue that they were in
#[derive(Debug, Args)]
pub struct RequeueArgs {
    #[command(flatten)]
    which: WhichArgs,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct WhichArgs {
    /// The ids of messages; `disconnectd queue dead list` shows them
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// All of them, 10,000 at a time
    #[arg(long)]
    all: bool,
}

impl WhichArgs {
    fn which(self) -> Which {
        if self.all { Which::All } else { Which::Ids(self.ids) }
    }
}

pub async fn run(command: QueueCommand, session: &Session) -> Result<Exit, CliError> {
    let QueueCommand::Dead(command) = command;
    let queue = (session.queue)(&session.store.installation().await?)?;
    let done = match reached(&*queue).await {
        Ok(()) => dead(command, &*queue, session).await,
        Err(error) => Err(error),
    };
    queue.close().await;
    done
}

async fn reached(queue: &dyn Queue) -> Result<(), CliError> {
    let mut connectivity = queue.connectivity();
    let up = connectivity.wait_for(|connectivity| *connectivity == Connectivity::Up);
    if matches!(timeout(QUEUE_WAIT, up).await, Ok(Ok(_))) {
        return Ok(());
    }
    Err(CliError::Failed(match &*queue.connectivity().borrow() {
        Connectivity::Down(reason) => reason.clone(),
        _ => "RabbitMQ does not answer in time".into(),
    }))
}

fn failed(error: &QueueError) -> CliError {
    CliError::Failed(error.to_string())
}

async fn dead(command: DeadCommand, queue: &dyn Queue, session: &Session) -> Result<Exit, CliError> {
    match command {
        DeadCommand::List(args) => {
            let items = queue.dead_letters(args.limit as usize).await.map_err(|error| failed(&error))?;
            let total = queue.depth().await.map_err(|error| failed(&error))?.dead.max(items.len() as u64);
            let listed = Listed { items, total };
            session.answer(&listed, || listed.told(session.screen.width))?;
            Ok(Exit::Done)
        }
        DeadCommand::Drop(args) => settle(args.which, Settlement::Drop, queue, session).await,
        DeadCommand::Requeue(args) => settle(args.which, Settlement::Requeue, queue, session).await,
    }
}

/// What `list` answers.
#[derive(Serialize)]
struct Listed {
    items: Vec<DeadLetter>,
    /// How many there are.
    total: u64,
}

impl Listed {
    fn told(&self, width: Option<u16>) -> String {
        if self.items.is_empty() {
            return "The dead-letter queue is empty.".into();
        }
        let columns = [
            Column::Firm("MESSAGE"),
            Column::Firm("QUEUE"),
            Column::Firm("CAME (UTC)"),
            Column::Right("BYTES"),
            Column::Left("WHAT"),
            Column::Left("BEGINS"),
        ];
        let rows = self.items.iter().map(|letter| {
            [
                letter.id.clone(),
                letter.lane.map_or_else(|| "-".into(), |lane| lane.as_str().to_owned()),
                letter.died_at.as_ref().map_or_else(|| "-".into(), instant),
                letter.bytes.to_string(),
                what(letter),
                plain(&letter.body).chars().take(60).collect(),
            ]
        });
        let more = match self.total - self.items.len() as u64 {
            0 => String::new(),
            more => format!("\n\n{} more; the same with --limit shows more of them.", count(more, "message")),
        };
        format!("{}{more}", table(width, &columns, rows))
    }
}

fn what(letter: &DeadLetter) -> String {
    match (letter.order(), &letter.error) {
        (Some(order), _) => format!("event {}, attempt {}", order.event_id, order.attempt),
        (None, Some(error)) => plain(error).into_owned(),
        (None, None) => String::new(),
    }
}

async fn settle(
    args: WhichArgs,
    settlement: Settlement,
    queue: &dyn Queue,
    session: &Session,
) -> Result<Exit, CliError> {
    let which = args.which();
    let settled = queue.settle_dead(&which, settlement).await.map_err(|error| failed(&error))?;
    if let Which::Ids(ids) = &which
        && let Some(unknown) = ids.iter().find(|id| !settled.done.contains(id) && !settled.left.contains(id))
    {
        let done = count(settled.done.len() as u64, "message");
        let message = format!(
            "there is no message {unknown} in the dead-letter queue (`disconnectd queue dead list` shows what is there); \
             done with {done}"
        );
        return Err(CliError::refused("unknown_message", message));
    }
    session.answer(&settled, || {
        let done = count(settled.done.len() as u64, "message");
        let verb = match settlement {
            Settlement::Drop => "dropped",
            Settlement::Requeue => "put back",
        };
        match settled.left.len() {
            0 => format!("{done} {verb}."),
            left => format!(
                "{done} {verb}. {} no order of this installation, or not taken by the broker, and stay: {}",
                if left == 1 { "1 is".into() } else { format!("{left} are") },
                settled.left.join(", ")
            ),
        }
    })?;
    Ok(if settled.left.is_empty() { Exit::Done } else { Exit::Refused })
}
