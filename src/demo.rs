//! The demo: a sample provider, its due disconnects run to the end, with a summary.
//!
//! The customers are real ones, published as a sample (see `demo/NOTICE.txt`). It runs through the same verbs, the same
//! scheduler and the same worker as everything else.

mod customers;
mod summary;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::config::{Config, DatabaseUrl};
use crate::domain::actor::{Actor, Source};
use crate::domain::calendar::When;
use crate::domain::dispositions::{Choice, Dispositions};
use crate::domain::import::{ImportReport, Problem};
use crate::domain::refusal::Refusal;
use crate::domain::request::DisconnectRequest;
use crate::domain::token::Role;
use crate::domain::user::{NewUser, SignInSecret};
use crate::engines;
use crate::health::Health;
use crate::queue::{Connectivity, Queue};
use crate::random;
use crate::scheduler::Scheduler;
use crate::shutdown::Shutdown;
use crate::store::{CHUNK_ROWS, ImportOptions, Installation, Requested, Rows, Store, StoreError, StoreResult};
use crate::worker::Worker;

pub use customers::Customer;
pub use summary::Summary;

/// Where the demo lives unless a database is named.
pub const DATABASE_URL: &str = "sqlite://disconnectd-demo.db";

/// How many of those who leave are due a little later than the others, so that the scheduler is seen to wait.
const LATER: usize = 60;

/// How much later the first of them is due after the rest was let loose, and the spread over all of them.
const LATER_BEGINS: TimeDelta = TimeDelta::seconds(3);
const LATER_SPREAD: TimeDelta = TimeDelta::seconds(3);

/// How long a broker may take to be reached.
const QUEUE_WAIT: Duration = Duration::from_secs(5);

/// The whole run may take this long before something is plainly wrong.
const RUN_MAX: Duration = Duration::from_secs(300);

/// One run of the demo.
pub struct Demo<'a> {
    pub config: &'a Config,
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    /// Told of each step that is done.
    pub tell: &'a (dyn Fn(&str) + Send + Sync),
}

/// The sample provider, with everybody connected.
#[derive(Debug, Clone, Serialize)]
pub struct Loaded {
    pub customers: usize,
    pub leaving: usize,
    /// Those who leave are in it.
    pub group: &'static str,
}

#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the queue can't be used, and nothing was begun: {0}")]
    Queue(String),
    #[error("{0}")]
    Random(String),
    #[error("another process serves the demo's database; stop that one first")]
    Served,
    #[error("only {ended} of {events} disconnects ended within {} s; `disconnectd doctor` may tell why", RUN_MAX.as_secs())]
    Stuck { ended: usize, events: usize },
}

type DemoResult<T> = Result<T, DemoError>;

/// The configuration that the demo runs with: its own file, unless a database is named.
#[must_use]
pub fn configuration(mut config: Config) -> Config {
    if !config.database_is_given {
        config.database = DatabaseUrl::Sqlite(DATABASE_URL.into());
    }
    config
}

impl Demo<'_> {
    /// Starts over, loads, disconnects, counts.
    ///
    /// # Errors
    /// A database that is not the demo's, or a server that is away: then nothing was begun.
    pub async fn run(&self, user: &str) -> DemoResult<Summary> {
        let installation = self.claim_database().await?;
        let queue = engines::open_queue(self.config, &installation)?;
        wait_until_up(&*queue).await?;
        self.start_over(&installation).await?;
        let serving = self.store.serve("demo").await?;

        let by = Actor::new(user, Source::Demo);
        let customers = customers::read();
        self.load(&customers, &by).await?;
        let leaving: Vec<&Customer> = customers.iter().filter(|customer| customer.leaves).collect();
        let at_once = self.request(&leaving, &by).await?;
        let run = self.disconnect(queue.clone(), leaving.len(), at_once).await?;

        queue.close().await;
        drop(serving);
        Ok(Summary::count(&*self.store, &customers, run).await?)
    }

    /// Starts over and loads, and disconnects nobody. Answers how many customers there are, and how many of them leave.
    ///
    /// # Errors
    /// As for [`Demo::run`].
    pub async fn load_alone(&self, user: &str) -> DemoResult<Loaded> {
        let installation = self.claim_database().await?;
        self.start_over(&installation).await?;
        let customers = customers::read();
        self.load(&customers, &Actor::new(user, Source::Demo)).await?;
        let leaving = customers.iter().filter(|customer| customer.leaves).count();
        Ok(Loaded { customers: customers.len(), leaving, group: customers::LEAVES })
    }

    /// Makes the demo's user an admin of the console, without a password. Answers what signs it in, once.
    ///
    /// # Errors
    /// Those of the store, or the system gives no random bytes.
    pub async fn sign_in(&self, user: &str) -> DemoResult<SignInSecret> {
        let secret = random::sign_in_secret().map_err(DemoError::Random)?;
        let made = NewUser { name: user.to_owned(), role: Role::Admin, password: None, created_by: user.to_owned() };
        self.store.create_user(&made).await?;
        self.store.create_link(user, &secret.hash(), &Actor::new(user, Source::Demo)).await?;
        Ok(secret)
    }

    /// The demo's database, from before or made of an empty one. Nothing is dropped yet.
    async fn claim_database(&self) -> DemoResult<Installation> {
        if self.store.is_served().await? {
            return Err(DemoError::Served);
        }
        match self.store.installation().await {
            Ok(installation) if installation.is_demo => Ok(installation),
            Ok(_) => Err(StoreError::Refused(Refusal::NotTheDemo).into()),
            Err(error) if error.is_transient() => Err(error.into()),
            // No schema of ours: an empty database is taken, another one refused.
            Err(_) => {
                self.store.drop_demo().await?;
                self.store.migrate().await?;
                self.store.mark_demo(None).await?;
                Ok(self.store.installation().await?)
            }
        }
    }

    /// Empties it; it goes on as the same installation, whose queues are there already.
    async fn start_over(&self, installation: &Installation) -> DemoResult<()> {
        self.store.drop_demo().await?;
        self.store.migrate().await?;
        self.store.mark_demo(Some(&installation.id)).await?;
        Ok(())
    }

    async fn load(&self, customers: &[Customer], by: &Actor) -> DemoResult<()> {
        let begun = Instant::now();
        let rows = feed(customers.iter().map(Customer::account_row));
        checked(&self.store.import_accounts(rows, options(by)).await?)?;
        let rows = feed(customers.iter().filter_map(Customer::debit_before));
        checked(&self.store.import_debits(rows, options(by)).await?)?;
        let invoices = self.store.invoice_all(by).await?;
        let rows = feed(customers.iter().map(Customer::debit_now));
        checked(&self.store.import_debits(rows, options(by)).await?)?;
        (self.tell)(&format!(
            "loaded     {} customers, {invoices} earlier invoices, a monthly charge each ({:.1} s)",
            customers.len(),
            begun.elapsed().as_secs_f64()
        ));
        Ok(())
    }

    /// Asks for the disconnect of each of `leaving`. Answers how many are due at once.
    async fn request(&self, leaving: &[&Customer], by: &Actor) -> DemoResult<usize> {
        let begun = Instant::now();
        let bar = bar(leaving.len(), "scheduling");
        let at_once = leaving.len() - LATER;
        for (i, customer) in leaving.iter().enumerate() {
            if i < at_once {
                self.request_one(customer, When::Now, by).await?;
            } else {
                let step = LATER_SPREAD * i32::try_from(i - at_once).unwrap_or(0) / i32::try_from(LATER).unwrap_or(1);
                let due = self.store.now().await? + LATER_BEGINS + step;
                self.request_one(customer, When::Instant(due.fixed_offset()), by).await?;
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        (self.tell)(&format!(
            "scheduled  {} who left: {at_once} now, {LATER} a few seconds later ({:.1} s)",
            leaving.len(),
            begun.elapsed().as_secs_f64()
        ));
        Ok(at_once)
    }

    async fn request_one(&self, customer: &Customer, when: When, by: &Actor) -> StoreResult<Requested> {
        let request = DisconnectRequest {
            account: customer.number.clone(),
            when,
            zone: None,
            late: false,
            reason: Some("left (sample data)".into()),
            by: by.clone(),
            failures_max: self.config.failures_max,
            digest: None,
            children: Dispositions::all(Choice::Keep),
            trace: None,
        };
        self.store.request(&request).await
    }

    /// Runs a scheduler and a worker until everything has ended.
    async fn disconnect(&self, queue: Arc<dyn Queue>, events: usize, at_once: usize) -> DemoResult<Run> {
        let (stop_handle, stop) = Shutdown::new();
        let health = Arc::new(Health::default());
        let scheduler = Scheduler {
            store: self.store.clone(),
            queue: queue.clone(),
            health: health.clone(),
            clock: self.clock.clone(),
            config: self.config.scheduler.clone(),
            failures_max: self.config.failures_max,
        };
        let worker = Worker::new(self.store.clone(), health, self.config.worker.clone());
        let begun = Instant::now();
        let scheduling = tokio::spawn(scheduler.run(stop.clone()));
        let working = tokio::spawn(worker.run(queue, stop));

        let bar = bar(events, "disconnecting");
        let mut at_once_took = None;
        let ended = loop {
            let counts = self.store.event_counts(None).await?;
            let ended = usize::try_from(counts.completed + counts.open.failed).unwrap_or(0);
            bar.set_position(ended as u64);
            if ended >= at_once && at_once_took.is_none() {
                at_once_took = Some(begun.elapsed());
            }
            if ended >= events || begun.elapsed() > RUN_MAX {
                break ended;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        bar.finish_and_clear();
        stop_handle.stop();
        let _ = tokio::join!(scheduling, working);
        if ended < events {
            return Err(DemoError::Stuck { ended, events });
        }
        Ok(Run { at_once, at_once_took: at_once_took.unwrap_or_default(), took: begun.elapsed() })
    }
}

/// It draws on standard error, and only where that is a terminal.
fn bar(length: usize, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:10} [{bar:40}] {human_pos} of {human_len} {per_sec:>12} {eta:>4}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length as u64).with_style(style.progress_chars("=> ")).with_message(what)
}

/// How the disconnects went.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    pub at_once: usize,
    pub at_once_took: Duration,
    pub took: Duration,
}

async fn wait_until_up(queue: &dyn Queue) -> DemoResult<()> {
    let mut connectivity = queue.connectivity();
    let up = connectivity.wait_for(|connectivity| *connectivity == Connectivity::Up);
    if matches!(tokio::time::timeout(QUEUE_WAIT, up).await, Ok(Ok(_))) {
        return Ok(());
    }
    let reason = match &*queue.connectivity().borrow() {
        Connectivity::Down(reason) => reason.clone(),
        _ => format!("no answer within {} s", QUEUE_WAIT.as_secs()),
    };
    queue.close().await;
    Err(DemoError::Queue(reason))
}

fn options(by: &Actor) -> ImportOptions<'static> {
    ImportOptions { dry_run: false, by: by.clone(), progress: &|_| {} }
}

/// Rows that are in memory already, as an import reads them.
fn feed<T: Send + 'static>(rows: impl Iterator<Item = T>) -> Rows<T> {
    let mut rows = rows.map(Ok).peekable();
    let mut chunks: Vec<Vec<Result<T, Problem>>> = Vec::new();
    while rows.peek().is_some() {
        chunks.push(rows.by_ref().take(CHUNK_ROWS).collect());
    }
    let (sender, receiver) = mpsc::channel(chunks.len().max(1));
    for chunk in chunks {
        // There is room for all of them.
        let _ = sender.try_send(chunk);
    }
    receiver
}

fn checked(report: &ImportReport) -> StoreResult<()> {
    match report.problems.first() {
        None => Ok(()),
        Some(problem) => Err(StoreError::Unusable(format!(
            "the sample data is damaged at line {}: {}",
            problem.line, problem.message
        ))),
    }
}
