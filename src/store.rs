//! The store port: what each verb promises. Decisions are the domain's; an engine locks, loads, asks, and writes.
//!
//! Locks are taken in one order everywhere: the tree (links alone), accounts by ascending id, then events. A
//! transaction never leaks out of a verb. "Now" in predicates and effects is the database's.

pub mod campaigns;
pub mod inspection;
mod installations;
mod like;
pub mod migrations;
mod once;
pub mod postgres;
pub mod sqlite;
pub mod users;

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::sync::mpsc;
use utoipa::ToSchema;

use crate::domain::account::{AccountFilter, AccountNumber, AccountView, ContactChange, Group, LogEntry};
use crate::domain::actor::Actor;
use crate::domain::campaign::CampaignId;
use crate::domain::dispositions::Dispositions;
use crate::domain::event::{Attempt, Change, EventId, EventView, Order, Outcome, State};
use crate::domain::glance::GlanceFacts;
use crate::domain::import::{AccountRow, DebitRow, ImportReport, Problem};
use crate::domain::invoice::{InvoiceNumber, InvoiceSummary, InvoiceView};
use crate::domain::overview::OverviewFacts;
use crate::domain::plan::Decide;
use crate::domain::refusal::Refusal;
use crate::domain::request::DisconnectRequest;
use crate::domain::retry::{FailedAttempt, Verdict};
use crate::domain::token::{NewToken, TokenHash, TokenId, TokenView};

/// Why a verb did not do what was asked. Whatever it is, nothing was written (but see [`StoreError::Unavailable`]).
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A rule says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database is away, restarting, or too busy. Try again later. If it went away during a commit, the commit may
    /// have landed all the same.
    #[error("the database does not answer: {0}")]
    Unavailable(String),
    /// A deadlock, a serialization failure, or SQLite's lock held by someone else for long. Try again at once.
    #[error("the database was busy with something else ({0}); try again in a moment")]
    Conflict(String),
    /// The database can't be used as it is: not migrated, newer than the program, or of another kind. A person has to
    /// do what the sentence says.
    #[error("{0}")]
    Unusable(String),
    /// The database refused a statement: a constraint, a trigger, a value out of range.
    #[error("the database refused: {0}")]
    Rejected(String),
}

impl StoreError {
    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Conflict(_))
    }

    /// What is wrong, without who says so: for where that is told beside it.
    #[must_use]
    pub fn reason(&self) -> String {
        if let Self::Rejected(reason) = self { reason.clone() } else { self.to_string() }
    }

    /// A stable name for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Unavailable(_) => "database_unavailable",
            Self::Conflict(_) => "database_busy",
            Self::Unusable(_) => "database_unusable",
            Self::Rejected(_) => "database_refused",
        }
    }
}

pub use campaigns::{CampaignDispatch, Campaigns};
pub use installations::{EventCounts, Installation, Installations, OpenCounts, ServerSeen, Serving};
pub use once::{Idempotency, ONCE_KEPT, ONCE_LOST, Once, OnceAnswer, OnceFence, OnceKey};
pub use users::Users;

pub type StoreResult<T> = Result<T, StoreError>;

/// How long a write of a process that serves waits for others, at most: on SQLite, where one writes at a time, for the end of
/// an import; on PostgreSQL for the rows that it needs, no longer than 20 seconds.
pub const WRITE_WAIT_MAX: Duration = Duration::from_secs(60);

/// Everything that the program asks of a database.
pub trait Store:
    Installations
    + Accounts
    + Imports
    + Events
    + Campaigns
    + Dispatch
    + CampaignDispatch
    + Archive
    + Execution
    + Tokens
    + Users
    + Idempotency
{
}
impl<T> Store for T where
    T: Installations
        + Accounts
        + Imports
        + Events
        + Campaigns
        + Dispatch
        + CampaignDispatch
        + Archive
        + Execution
        + Tokens
        + Users
        + Idempotency
{
}

/// The longest page that a list answers.
pub const PAGE_MAX: u32 = 1_000;

/// A part of a list.
#[derive(Debug, Clone)]
pub struct Page {
    /// `next_cursor` of the part before.
    pub after: Option<String>,
    /// 1 to [`PAGE_MAX`].
    pub limit: u32,
}

impl Default for Page {
    fn default() -> Self {
        Self { after: None, limit: 50 }
    }
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Paged<T> {
    pub items: Vec<T>,
    /// Null at the end of the list.
    pub next_cursor: Option<String>,
}

impl<T> Paged<T> {
    /// Cuts what was read with `limit + 1` to the page, and names the cursor of its last item where there is more.
    #[must_use]
    pub fn cut(mut items: Vec<T>, limit: u32, cursor: impl Fn(&T) -> String) -> Self {
        let limit = limit.clamp(1, PAGE_MAX) as usize;
        let more = items.len() > limit;
        items.truncate(limit);
        let next_cursor = if more { items.last().map(cursor) } else { None };
        Self { items, next_cursor }
    }
}

/// Accounts and what hangs on them.
#[async_trait]
pub trait Accounts: Send + Sync {
    async fn account(&self, number: &AccountNumber) -> StoreResult<AccountView>;

    /// By number.
    async fn accounts(&self, filter: &AccountFilter, page: &Page) -> StoreResult<Paged<AccountView>>;

    /// The groups that accounts are in, by name.
    async fn groups(&self, page: &Page) -> StoreResult<Paged<Group>>;

    /// All that an overview is made from, read in one consistent view.
    async fn overview_facts(&self, number: &AccountNumber) -> StoreResult<OverviewFacts>;

    /// What an account's own page is made from, read in one consistent view: quick for a parent of thousands too.
    async fn glance_facts(&self, number: &AccountNumber) -> StoreResult<GlanceFacts>;

    /// Newest first, of one account or of all. Without their lines.
    async fn invoices(&self, account: Option<&AccountNumber>, page: &Page) -> StoreResult<Paged<InvoiceView>>;

    /// With its lines.
    async fn invoice(&self, number: InvoiceNumber) -> StoreResult<InvoiceView>;

    /// Oldest first.
    async fn log(&self, number: &AccountNumber, page: &Page) -> StoreResult<Paged<LogEntry>>;

    /// Puts `child` under `parent`, from wherever it was. See [`crate::domain::family::link`].
    async fn link(&self, child: &AccountNumber, parent: &AccountNumber, by: &Actor) -> StoreResult<AccountView>;

    /// Takes `child` from under its parent, and remembers which one until it is linked to that one again. See [`crate::domain::family::unlink`].
    async fn unlink(&self, child: &AccountNumber, by: &Actor) -> StoreResult<AccountView>;

    /// Changes the parts of the contact that are given, under the account's lock. Also of a disconnected account, which
    /// may still get invoices.
    async fn change_contact(
        &self,
        number: &AccountNumber,
        change: &ContactChange,
        by: &Actor,
    ) -> StoreResult<AccountView>;
}

/// The rows of a file as they are read, in chunks. A row that could not be read is a problem: nothing will be written,
/// but the rest is read and looked at all the same. The end of the channel is the end of the file.
pub type Rows<T> = mpsc::Receiver<Vec<Result<T, Problem>>>;

/// How many rows a chunk has. It bounds the memory of an import, with the few chunks that the channel holds.
pub const CHUNK_ROWS: usize = 1_000;

/// What an import is told.
pub struct ImportOptions<'a> {
    /// Look at everything, write nothing.
    pub dry_run: bool,
    pub by: Actor,
    /// Called now and then with the rows that were decided so far.
    pub progress: &'a (dyn Fn(u64) + Send + Sync),
}

#[async_trait]
pub trait Imports: Send + Sync {
    /// Upserts accounts by number: all rows or none. Each row is decided by
    /// [`crate::domain::import::decide_account`], in the file's order, under the lock of its account; parents are
    /// resolved at the end, under the lock of the tree. Memory does not grow with the file.
    async fn import_accounts(&self, rows: Rows<AccountRow>, options: ImportOptions<'_>) -> StoreResult<ImportReport>;

    /// Upserts debits by account and reference: all rows or none. Each row is decided by
    /// [`crate::domain::import::decide_debit`] under the lock of its account, so that a debit lands on the final
    /// invoice or is refused, never neither.
    async fn import_debits(&self, rows: Rows<DebitRow>, options: ImportOptions<'_>) -> StoreResult<ImportReport>;

    /// A regular invoice for each account with uninvoiced debits, over all of them. Answers how many were issued.
    /// It is how balances that were billed elsewhere come into an installation as history.
    async fn invoice_all(&self, by: &Actor) -> StoreResult<u64>;
}

/// Which events to list. Everything given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    pub state: Option<State>,
    pub account: Option<AccountNumber>,
    /// In the number or the name of the account, whatever the case.
    pub search: Option<String>,
    /// Due at this instant or later.
    pub due_from: Option<DateTime<Utc>>,
    /// Due before this instant.
    pub due_until: Option<DateTime<Utc>>,
    /// Those whose family somebody has to decide about; see [`crate::domain::review::questions`].
    pub to_decide: bool,
    /// Of this campaign.
    pub campaign: Option<CampaignId>,
    /// Open ones, those that are due soonest first; else all of them, the newest first. Where the event that a page ended
    /// with is rescheduled meanwhile, the next page begins at its new date.
    pub coming: bool,
}

/// What came of a request for a disconnect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requested {
    Created(EventId),
    BroughtForward(EventId),
    UnderWay(EventId),
    AlreadyDisconnected {
        disconnected_at: DateTime<Utc>,
        /// The event that disconnected it.
        event: Option<EventId>,
    },
}

/// Disconnect events, as people ask for them.
#[async_trait]
pub trait Events: Send + Sync {
    /// Asks for a disconnect, decided by [`crate::domain::request::admit`] under the locks of the account and of its
    /// family: all that is decided about the children is written with it, or nothing. Hints at what is due. The logs of
    /// the accounts say who asked.
    async fn request(&self, request: &DisconnectRequest) -> StoreResult<Requested>;

    /// Cancels, reschedules or retries, decided by [`crate::domain::event::EventFacts::change`] under the locks of the
    /// account and the event, and of those that go along. Definite, also in a race with a worker.
    async fn change(&self, event: EventId, change: &Change, by: &Actor, reason: Option<&str>)
    -> StoreResult<EventView>;

    async fn event(&self, event: EventId) -> StoreResult<EventView>;

    /// Decides once more about the family of an event that has changed, by
    /// [`crate::domain::review::ReviewFacts::decide`] under the locks of the family. Hints at what is due.
    async fn decide(
        &self,
        event: EventId,
        choices: &Dispositions,
        by: &Actor,
        reason: Option<&str>,
        failures_max: i32,
    ) -> StoreResult<EventView>;

    /// Newest first.
    async fn events(&self, filter: &EventFilter, page: &Page) -> StoreResult<Paged<EventView>>;

    /// How many events are due between each of these instants and the next, for a calendar: one answer less than there
    /// are instants, which rise. Of each span the earliest [`DUE_COUNTED_MAX`] are counted.
    async fn due_counts(&self, bounds: &[DateTime<Utc>]) -> StoreResult<Vec<DueCounts>>;
}

/// How many events of one span are counted at most.
pub const DUE_COUNTED_MAX: u32 = 10_000;

/// How many events of a span of time are in each state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DueCounts(std::collections::BTreeMap<&'static str, i64>);

impl DueCounts {
    pub fn add(&mut self, state: State, count: i64) {
        *self.0.entry(state.as_str()).or_default() += count;
    }

    #[must_use]
    pub fn of(&self, state: State) -> i64 {
        self.0.get(state.as_str()).copied().unwrap_or(0)
    }

    #[must_use]
    pub fn total(&self) -> i64 {
        self.0.values().sum()
    }

    /// There may be more than were counted.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.total() >= i64::from(DUE_COUNTED_MAX)
    }
}

/// How long a queued event is left to the queue before it is published again: `base`, doubling with each dispatch, at
/// most `max`.
#[derive(Debug, Clone, Copy)]
pub struct Redispatch {
    pub base: Duration,
    pub max: Duration,
}

impl Redispatch {
    /// The longest that `max` may be. What came due and waits for no retry is looked at again within it, and so is found
    /// among what comes next, however much there is for later: [`Installations::open_counts`] goes by that.
    pub const LONGEST: Duration = Duration::from_secs(3_600);
}

/// The scheduler's verbs for lane 0, the single disconnects. For those of campaigns see [`CampaignDispatch`].
#[async_trait]
pub trait Dispatch: Send + Sync {
    /// Claims up to `limit` events that are due (scheduled, or queued and not heard of for their redispatch time):
    /// `queued`, attempt + 1, a new `next_at`. Events that another scheduler is claiming are passed over. Committed when
    /// it returns.
    async fn claim(&self, limit: u32, redispatch: Redispatch) -> StoreResult<Vec<Order>>;

    /// Claims this one event if it is open and due. For a command that runs its own event.
    async fn claim_one(&self, event: EventId, redispatch: Redispatch) -> StoreResult<Option<Order>>;

    /// Back to `scheduled`, looked at again after `delay`: those of `orders` that are still queued with that attempt.
    async fn release(&self, orders: &[Order], delay: Duration) -> StoreResult<()>;

    /// How long until the next event may be claimed: zero if one can be now, `None` without any open event.
    async fn next_due(&self) -> StoreResult<Option<Duration>>;

    /// Keeps lists and plans quick while much is written, and changes nothing that can be read. It waits for nobody's lock.
    ///
    /// PostgreSQL: the index entries of events that are no longer open stay until a vacuum, a minute or more, and the first
    /// list that begins there would read them all; a look at the beginning of each index marks them as dead. And each table
    /// that changed more often than it had rows is analyzed, where the tables are the user's own. SQLite: nothing, since
    /// nothing stays.
    async fn tend(&self) -> StoreResult<()>;
}

/// How many events one batch takes to the archive: some 20 milliseconds.
pub const ARCHIVE_MAX: u32 = 1_000;

/// What keeps the table of events small that the scheduler and the workers live from.
#[async_trait]
pub trait Archive: Send + Sync {
    /// Takes up to [`ARCHIVE_MAX`] events to the archive that ended at least `after` ago, those first that ended first;
    /// committed when it returns. Answers how many: fewer than that where there are no more. Completed and cancelled ones
    /// alone: a failed one waits for a person. From there they are shown as before, by every verb, and nothing changes
    /// them any more. Any number of schedulers may run it at once; it waits for nobody, and nobody's claim for it.
    ///
    /// SQLite: nothing goes there, since nothing that is done often goes through what has ended.
    async fn archive(&self, after: Duration) -> StoreResult<u64>;
}

/// What became of one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Executed {
    /// Committed.
    Completed { event_id: EventId, outcome: Outcome, final_invoice: Option<InvoiceSummary> },
    /// The event is not queued any more, or unknown: cancelled, rescheduled, done by another. Nothing to do.
    Stale { event_id: EventId },
    /// The plan was to fail, or its account can't be read, or (in a call with this one order alone) the database refused
    /// its effects. Nothing of it was written: [`Execution::record_failures`] comes next.
    Failed(FailedAttempt),
}

/// The worker's verbs.
#[async_trait]
pub trait Execution: Send + Sync {
    /// Runs the disconnects of `orders` in one transaction and commits: locks the accounts in ascending order, then the
    /// events; in the next statements loads what is decided from; asks `decide` for each; writes the effects set by
    /// set. Only an event that is `queued` runs, whichever of its messages came; an order given twice runs once.
    ///
    /// Answers one [`Executed`] for each distinct event, in any order. A plan that fails leaves the others untouched, and
    /// so does an account that can't be read.
    ///
    /// # Errors
    /// [`StoreError::Rejected`] where the database refused what was written for more than one order, or an event can't
    /// be read, and
    /// [`StoreError::Conflict`] where somebody holds one of their accounts for long: nothing was written, run them one
    /// by one. Transient errors otherwise.
    async fn disconnect(&self, orders: &[Order], decide: Decide<'_>) -> StoreResult<Vec<Executed>>;

    /// Writes failures, each only while its event is queued with that attempt: the error, failures + 1, and by its
    /// verdict back to `scheduled` or to `failed`; an entry in the account's log. Answers the events that were written;
    /// of the others someone newer has charge.
    async fn record_failures(&self, failures: &[(FailedAttempt, Verdict)]) -> StoreResult<Vec<EventId>>;

    /// Before an order runs that may have killed its worker: counts a failure with `error` while the event stays
    /// `queued`, or gives it up (`failed`) where that was the last. Answers the attempt that may run now.
    async fn record_suspect(&self, event: EventId, error: &str) -> StoreResult<Option<Attempt>>;
}

/// Tokens: who may ask over the API.
#[async_trait]
pub trait Tokens: Send + Sync {
    async fn create_token(&self, token: &NewToken) -> StoreResult<TokenView>;

    /// The token with this hash, a revoked one too.
    async fn token(&self, hash: &TokenHash) -> StoreResult<Option<TokenView>>;

    /// Newest first, revoked ones too.
    async fn tokens(&self, page: &Page) -> StoreResult<Paged<TokenView>>;

    /// Revokes a token. One that is revoked already stays as it is, and is answered.
    ///
    /// # Errors
    /// [`Refusal::UnknownToken`].
    async fn revoke_token(&self, token: TokenId, by: &Actor) -> StoreResult<TokenView>;
}
