//! One process that serves: a scheduler, a worker, the HTTP answers, or some of them.
//!
//! Nothing here ends because a server is away: it says so once, tries again with backoff, tells `/readyz`, and goes on
//! by itself when the server is back.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use crate::api::{self, Api, OneAtATime, Remembered, Room};
use crate::backoff::Backoff;
use crate::cli::Role;
use crate::clock::Clock;
use crate::config::{Config, QueueUrl};
use crate::console::{Console, Listeners};
use crate::health::Health;
use crate::kept::Kept;
use crate::passwords::Passwords;
use crate::queue::Queue;
use crate::queue::own::OwnQueue;
use crate::scheduler::Scheduler;
use crate::shutdown::Shutdown;
use crate::store::{Installation, Page, Serving, Store, StoreError};
use crate::watch::Watch;
use crate::worker::Worker;
use crate::{doctor, engines};

/// How long a second process waits for the lock of a SQLite database before it says who has it.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// How long a stop waits for what has begun once the database is known to be away.
const OUTAGE_GRACE: Duration = Duration::from_secs(2);

/// How long it may be kept how many accounts each group has.
const GROUPS_KEPT: Duration = Duration::from_mins(1);

/// How long the connections to the database may take to close.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each role is there or not, whatever the others are")]
pub struct Roles {
    pub scheduler: bool,
    pub worker: bool,
    pub api: bool,
    pub console: bool,
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all =
            [(self.scheduler, "scheduler"), (self.worker, "worker"), (self.api, "api"), (self.console, "console")];
        let there: Vec<_> = all.into_iter().filter(|(is_there, _)| *is_there).map(|(_, name)| name).collect();
        f.write_str(&there.join(", "))
    }
}

impl Roles {
    pub const ALL: Self = Self { scheduler: true, worker: true, api: true, console: true };

    /// Everything where none is named.
    ///
    /// # Errors
    /// A sentence: one of the two without the other on the in-process queue.
    pub fn of(named: &[Role], queue: &QueueUrl) -> Result<Self, String> {
        if named.is_empty() {
            return Ok(Self::ALL);
        }
        // Health and metrics are answered in every role.
        let roles = Self {
            scheduler: named.contains(&Role::Scheduler),
            worker: named.contains(&Role::Worker),
            api: named.contains(&Role::Api),
            console: named.contains(&Role::Console),
        };
        if *queue == QueueUrl::Memory && roles.scheduler != roles.worker {
            return Err(
                "with the queue `memory:` the scheduler and the worker are one process: name both or none".into()
            );
        }
        Ok(roles)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("can't listen on {address}: {error}; DISCONNECTD_HTTP_LISTEN chooses another address")]
    Listen { address: String, error: std::io::Error },
    #[error("what is answered over HTTP can't be made: {0}; this is a bug")]
    Answers(std::io::Error),
    #[error("nobody is answered over HTTP any more: {0}; start the process again")]
    Http(String),
    #[error("a part of the process ended by itself: {0}; start it again, nothing is lost")]
    Work(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Everything that one process runs with.
pub struct Server {
    pub config: Config,
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub roles: Roles,
    pub metrics: PrometheusHandle,
    pub stop: Shutdown,
}

impl Server {
    /// Serves until a stop is asked for, then finishes what has begun within the grace period. `announce` is told where
    /// it listens.
    ///
    /// # Errors
    /// What trying again can't mend: the address is taken, the database is unusable or another process has it.
    pub async fn run(self, announce: impl FnOnce(SocketAddr)) -> Result<(), ServeError> {
        let address = self.config.http_listen.to_string();
        let listening = |error| ServeError::Listen { address: address.clone(), error };
        let listener = TcpListener::bind(self.config.http_listen).await.map_err(listening)?;
        let listens_on = listener.local_addr().map_err(listening)?;

        let health = Arc::new(Health::default());
        let (queue_sender, queue) = watch::channel(None);
        let queue = OwnQueue::new(queue);
        let (http_stop, http_stopped) = Shutdown::new();
        let room = Room::beside(engines::connections(&self.config), self.stop.clone())
            .with_writes(engines::waiting_writes(&self.config));
        let api = Api {
            store: self.store.clone(),
            health: health.clone(),
            console: self.console(&room, &queue)?,
            probes: doctor::probes::of_server(&self.config, &self.store, &queue),
            queue,
            metrics: self.metrics.clone(),
            stop: self.stop.clone(),
            answers_calls: self.roles.api,
            failures_max: self.config.failures_max,
            room: room.clone(),
            examining: OneAtATime::default(),
            remembered: Remembered::default(),
        };
        let answers = api.answers().map_err(ServeError::Answers)?;
        let mut http = tokio::spawn(answers.serve(listener, http_stopped.clone()));
        announce(listens_on);

        let result = tokio::select! {
            result = self.work_and_answer(&health, &queue_sender, &room, &http_stopped) => {
                http_stop.stop();
                // Connections that are kept open are not worth waiting for.
                let _ = tokio::time::timeout(Duration::from_secs(1), http).await;
                result
            }
            // What the work has begun is done again by someone else: better than a process that only seems to live.
            ended = &mut http => Err(ended_early(ended)),
        };
        // A database that is away does not say goodbye.
        let _ = tokio::time::timeout(CLOSE_LIMIT, self.store.close()).await;
        result
    }

    /// The pages, where this process answers people.
    fn console(&self, room: &Room, queue: &OwnQueue) -> Result<Option<Console>, ServeError> {
        if !self.roles.console {
            return Ok(None);
        }
        Ok(Some(Console {
            store: self.store.clone(),
            queue: queue.clone(),
            room: room.clone(),
            passwords: Passwords::new().map_err(|error| ServeError::Answers(std::io::Error::other(error)))?,
            failures_max: self.config.failures_max,
            public_url: self.config.public_url.clone(),
            stop: self.stop.clone(),
            listeners: Listeners::default(),
            probes: doctor::probes::of_server(&self.config, &self.store, queue),
            touching: Arc::default(),
            groups: Arc::new(Kept::for_at_most(GROUPS_KEPT)),
            examining: Arc::default(),
            sent: Arc::default(),
            sent_links: Arc::default(),
        }))
    }

    /// Until the stop, and what has begun by then is done: the work and the calls drain beside each other.
    async fn work_and_answer(
        &self,
        health: &Arc<Health>,
        queue_sender: &watch::Sender<Option<Arc<dyn Queue>>>,
        room: &Room,
        end: &Shutdown,
    ) -> Result<(), ServeError> {
        let calls = async {
            self.stop.asked().await;
            if let Err(why) = self.within_grace(health, room.is_empty()).await {
                tracing::warn!("{why}; calls that are still under way are not answered, and may be sent again");
            }
            Ok(())
        };
        tokio::try_join!(self.work(health, queue_sender, end), calls).map(drop)
    }

    /// Waits for what has begun, as long as there is hope, else says why there is none. Begins with the stop.
    async fn within_grace(&self, health: &Health, done: impl Future<Output = ()>) -> Result<(), &'static str> {
        let hopeless = async {
            health.database_is_away().await;
            tokio::time::sleep(OUTAGE_GRACE).await;
        };
        tokio::select! {
            () = done => Ok(()),
            () = tokio::time::sleep(self.config.grace) => Err("the grace period is over"),
            () = hopeless => Err("the database is away"),
        }
    }

    async fn work(
        &self,
        health: &Arc<Health>,
        queue_sender: &watch::Sender<Option<Arc<dyn Queue>>>,
        end: &Shutdown,
    ) -> Result<(), ServeError> {
        let reached = tokio::select! {
            reached = self.reach_database(health) => reached?,
            () = self.stop.asked() => None,
        };
        let Some(installation) = reached else { return Ok(()) };
        if self.roles.api {
            self.tell_how_to_ask().await;
        }
        if self.roles.console {
            self.tell_how_to_sign_in().await;
        }
        let queue = engines::open_queue(&self.config, &installation)?;
        let serving = if self.roles.scheduler || self.roles.worker {
            let taken = tokio::select! {
                taken = self.take_over(health) => taken?,
                () = self.stop.asked() => None,
            };
            let Some(serving) = taken else { return Ok(()) };
            Some(serving)
        } else {
            None
        };
        // From here on it is ready, as far as it depends on itself.
        queue_sender.send_replace(Some(queue.clone()));
        tracing::info!(installation = installation.id, roles = ?self.roles, "serving");

        let mut tasks = JoinSet::new();
        if self.roles.scheduler {
            let scheduler = Scheduler {
                store: self.store.clone(),
                queue: queue.clone(),
                health: health.clone(),
                clock: self.clock.clone(),
                config: self.config.scheduler.clone(),
                failures_max: self.config.failures_max,
            };
            tasks.spawn(scheduler.run(self.stop.clone()));
        }
        if self.roles.worker {
            let worker = Worker::new(self.store.clone(), health.clone(), self.config.worker.clone());
            tasks.spawn(worker.run(queue.clone(), self.stop.clone()));
        }
        let watch = Watch {
            store: self.store.clone(),
            queue: queue.clone(),
            health: health.clone(),
            clock: self.clock.clone(),
        };
        let mut beside = JoinSet::new();
        let (metrics, stopped) = (self.metrics.clone(), end.clone());
        beside.spawn(async move { keep_metrics_small(&metrics, &stopped).await });
        beside.spawn(watch.run(end.clone()));
        // Until the end, so that a database which goes away while work drains is noticed as well.
        let (store, probed, end) = (self.store.clone(), health.clone(), end.clone());
        beside.spawn(async move { probed.probe_database(&*store, &end).await });

        let mut result = until_stopped(&self.stop, &mut tasks, &mut beside).await;
        if result.is_ok() {
            let done = async {
                while let Some(ended) = tasks.join_next().await {
                    if let Err(error) = ended {
                        result = Err(ServeError::Work(error.to_string()));
                    }
                }
            };
            if let Err(why) = self.within_grace(health, done).await {
                tracing::warn!("{why}; what is still under way will be done again by someone else");
            }
        }
        // What they held is given back.
        tasks.shutdown().await;
        queue.close().await;
        drop(serving);
        tracing::info!("stopped");
        result
    }

    /// Migrates, and learns which installation this is. `None`: a stop was asked for.
    async fn reach_database(&self, health: &Health) -> Result<Option<Installation>, ServeError> {
        let mut backoff = Backoff::new();
        loop {
            let asked = health.asking();
            let reached = async {
                let applied = self.store.migrate().await?;
                if applied > 0 {
                    tracing::info!(applied, "the database's schema is up to date now");
                }
                self.store.installation().await
            };
            match reached.await {
                Ok(installation) => {
                    health.database_answered(asked);
                    return Ok(Some(installation));
                }
                Err(error) if error.is_transient() => health.database_failed(asked, &error.to_string()),
                Err(error) => return Err(error.into()),
            }
            if !backoff.wait(&self.stop).await {
                return Ok(None);
            }
        }
    }

    /// Nobody can ask without a token, and the first one is made on the command line.
    async fn tell_how_to_ask(&self) {
        match api::has_token(&*self.store).await {
            Ok(true) => {}
            Ok(false) => tracing::info!(
                "there is no token yet, so nobody can ask over HTTP; \
                 `disconnectd tokens create --name NAME --role admin` makes one"
            ),
            Err(error) => tracing::debug!(%error, "whether there is a token can't be told"),
        }
    }

    /// The same for people: the first user is made on the command line.
    async fn tell_how_to_sign_in(&self) {
        match self.store.users(&Page { after: None, limit: 1 }).await {
            Ok(users) if users.items.is_empty() => tracing::info!(
                "there is no user yet, so nobody can sign in to the console; \
                 `disconnectd users create --name NAME --role admin` makes one"
            ),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "whether there is a user can't be told"),
        }
    }

    /// Becomes one of those who serve. `None`: a stop was asked for.
    async fn take_over(&self, health: &Health) -> Result<Option<Serving>, ServeError> {
        let begun = Instant::now();
        let mut backoff = Backoff::new();
        let mut said = false;
        loop {
            let asked = health.asking();
            match self.store.serve(&self.roles.to_string()).await {
                Ok(serving) => {
                    health.database_answered(asked);
                    if serving.rescued > 0 {
                        tracing::info!(
                            events = serving.rescued,
                            "events of the last process were queued; scheduled again"
                        );
                    }
                    return Ok(Some(serving));
                }
                Err(StoreError::Conflict(held)) if begun.elapsed() > LOCK_WAIT => {
                    return Err(StoreError::Unusable(held).into());
                }
                Err(StoreError::Conflict(held)) => {
                    if !std::mem::replace(&mut said, true) {
                        tracing::warn!("{held}; waiting for it to end");
                    }
                }
                Err(error) if error.is_transient() => health.database_failed(asked, &error.to_string()),
                Err(error) => return Err(error.into()),
            }
            if !backoff.wait(&self.stop).await {
                return Ok(None);
            }
        }
    }
}

/// How often what histograms have gathered is put together. A scrape does it too, where there is one.
const GATHERED_FOR: Duration = Duration::from_secs(15);

/// Without it, every measurement would be kept until somebody asks for the metrics.
async fn keep_metrics_small(metrics: &PrometheusHandle, end: &Shutdown) {
    let again_and_again = async {
        loop {
            tokio::time::sleep(GATHERED_FOR).await;
            metrics.run_upkeep();
        }
    };
    tokio::select! {
        () = again_and_again => {}
        () = end.asked() => {}
    }
}

/// # Errors
/// One of them ended before that, which nobody had asked it to: a process without a part of it only seems to live.
async fn until_stopped(stop: &Shutdown, tasks: &mut JoinSet<()>, beside: &mut JoinSet<()>) -> Result<(), ServeError> {
    let ended = tokio::select! {
        biased;
        () = stop.asked() => return Ok(()),
        Some(ended) = tasks.join_next() => ended,
        Some(ended) = beside.join_next() => ended,
    };
    if stop.is_asked() && ended.is_ok() {
        return Ok(());
    }
    Err(ServeError::Work(ended.map_or_else(|error| error.to_string(), |()| "for no reason that it told".into())))
}

/// Of the task that answers over HTTP, which nobody had asked to end.
fn ended_early(ended: Result<std::io::Result<()>, JoinError>) -> ServeError {
    ServeError::Http(match ended {
        Ok(Ok(())) => "it ended by itself".into(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_http_task_that_ends_early_ends_the_process_with_a_sentence() {
        let panicked = tokio::spawn(async { panic!("oops") }).await;
        for (ended, part) in [
            (panicked, "oops"),
            (Ok(Err(std::io::Error::other("no more files"))), "no more files"),
            (Ok(Ok(())), "by itself"),
        ] {
            let error = ended_early(ended).to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[tokio::test]
    async fn a_part_that_ends_by_itself_ends_the_process_with_a_sentence() {
        let (stop, stopped) = Shutdown::new();
        let forever = || {
            let mut set = JoinSet::new();
            set.spawn(std::future::pending::<()>());
            set
        };
        for is_work in [true, false] {
            let (mut tasks, mut beside) = (forever(), forever());
            let broken = if is_work { &mut tasks } else { &mut beside };
            broken.spawn(async { panic!("oops") });
            let error = until_stopped(&stopped, &mut tasks, &mut beside).await.unwrap_err().to_string();
            assert!(error.contains("oops"), "{error}");
        }
        stop.stop();
        assert!(until_stopped(&stopped, &mut forever(), &mut JoinSet::new()).await.is_ok());
    }

    #[test]
    fn roles_are_checked_against_the_queue() {
        use Role::{Api, Console, Scheduler, Worker};
        assert_eq!(Roles::of(&[], &QueueUrl::Memory), Ok(Roles::ALL));
        assert_eq!(Roles::of(&[Scheduler, Worker, Api, Console], &QueueUrl::Memory), Ok(Roles::ALL));
        assert!(Roles::of(&[Worker], &QueueUrl::Memory).is_err());
        assert_eq!(
            Roles::of(&[Api], &QueueUrl::Memory),
            Ok(Roles { scheduler: false, worker: false, api: true, console: false })
        );
    }
}
