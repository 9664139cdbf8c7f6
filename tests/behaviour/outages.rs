//! The broker or the database goes away, at start or later: the process says so once, tells `/readyz`, loses nothing,
//! counts nothing against the events, and goes on by itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use disconnectd::config::{Config, Environment};
use disconnectd::domain::event::{Attempt, EventId, Order};
use disconnectd::health::{Condition, Health};
use disconnectd::queue::memory::MemoryQueue;
use disconnectd::queue::{LaneKind, Queue};
use disconnectd::shutdown::Shutdown;
use disconnectd::store::postgres::PostgresStore;
use disconnectd::worker::Worker;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Connection, ConnectionProperties};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use url::Url;

use super::amqp_url;
use crate::program::{DEADLINE, Program, Served};
use crate::support::database::{Engine, TestDatabase};
use crate::support::proxy::{Proxy, Reserved};
use crate::support::rows::{account, debit};
use crate::support::wait_until;

/// What a lost message or a lost claim holds up comes back soon; batches are small, so that a cut hits the middle.
const QUICK: &str = "\
[scheduler]
claim_max = 100
redispatch_seconds = 1
redispatch_max_seconds = 2
[worker]
batch_max = 4
";

const DATABASE_IS_AWAY: &str = "the database is away";
const DATABASE_IS_BACK: &str = "the database is back";
const BROKER_IS_AWAY: &str = "RabbitMQ is away";
const BROKER_IS_BACK: &str = "RabbitMQ is back";

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_at_start_is_waited_for_and_nothing_is_claimed_meanwhile() {
    on_postgres(async |db| {
        load(db, 1).await;
        let reserved = Reserved::new();
        let served = Program::new(db.folder(), db.url(), through(&amqp_url(), reserved.at)).serve(&[]);
        let down = until(&served, "the queue is down", |ready| ready["queue"]["state"] == "down").await;
        assert_eq!(down["ready"], false);
        assert_eq!(down["database"]["state"], "up");
        let why = down["queue"]["reason"].as_str().unwrap();
        assert!(why.contains("RabbitMQ") && why.contains(&reserved.at.to_string()), "{why}");
        assert_eq!(served.ask("/readyz").unwrap().0, 503);
        assert_eq!(served.ask("/healthz").unwrap().0, 200);
        let untouched = "select count(*) from disconnect_events where state = 'scheduled' and attempt = 0";
        assert_eq!(db.number(untouched).await, 1, "nothing is claimed meanwhile");

        let _proxy = reserved.start(host_and_port(&amqp_url()));
        served.until_ready_is(200);
        until_all_are_done(db, 1).await;
        let log = stopped(served);
        assert_eq!(lines(&log, BROKER_IS_AWAY), 1, "{log}");
        assert_eq!(lines(&log, BROKER_IS_BACK), 1, "{log}");
        assert_eq!(lines(&log, "WARN"), 1, "nothing else is to be said\n{log}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_at_start_is_waited_for() {
    on_postgres(async |db| {
        load(db, 1).await;
        let reserved = Reserved::new();
        let served = Program::new(db.folder(), through(&db.url(), reserved.at), amqp_url()).serve(&[]);
        let problem = served.request("GET", "/readyz").answer().problem(503, "database_unavailable");
        assert!(problem["detail"].as_str().is_some_and(|why| why.contains("no token")), "{problem}");
        served.request("GET", "/metrics").answer().problem(503, "database_unavailable");
        assert_eq!(served.ask("/healthz").unwrap().0, 200);
        for _ in 0..3 {
            assert_eq!(served.ask("/readyz").unwrap().0, 503); // each takes as long as the database may for an answer
        }

        let _proxy = reserved.start(host_and_port(&db.url()));
        served.until_ready_is(200);
        until_all_are_done(db, 1).await;
        let log = stopped(served);
        assert_eq!(lines(&log, DATABASE_IS_AWAY), 1, "{log}");
        assert_eq!(lines(&log, DATABASE_IS_BACK), 1, "{log}");
    })
    .await;
}

/// Rule 2, while the broker's connections break.
#[tokio::test(flavor = "multi_thread")]
async fn broker_connections_cut_in_the_middle_lose_and_double_nothing() {
    on_postgres(async |db| {
        const ACCOUNTS: i64 = 1_000;
        load(db, ACCOUNTS).await;
        let proxy = Proxy::start(host_and_port(&amqp_url()));
        let program = Program::new(db.folder(), db.url(), through(&amqp_url(), proxy.at)).configured(QUICK);
        let served = program.serve(&[]);
        for part in [50, 250, 500] {
            wait_until(DEADLINE, "so many are done", async || done(db).await >= part).await;
            assert!(done(db).await < ACCOUNTS, "the cut is in the middle");
            proxy.cut();
        }
        until_all_are_done(db, ACCOUNTS).await;
        assert_eq!(db.number("select count(*) from disconnect_events where failures > 0").await, 0);
        served.until_ready_is(200);
        let log = stopped(served);
        assert!((1..=3).contains(&lines(&log, BROKER_IS_AWAY)), "{log}");
        assert_eq!(lines(&log, BROKER_IS_AWAY), lines(&log, BROKER_IS_BACK), "{log}");
        assert_eq!(lines(&log, "subscribes again"), 0, "it was said already\n{log}");
    })
    .await;
}

/// Rule 2, while the database's connections break; and trouble of the database is no failure of an event.
#[tokio::test(flavor = "multi_thread")]
async fn database_connections_cut_in_the_middle_lose_and_double_nothing_and_count_for_no_event() {
    on_postgres(async |db| {
        const ACCOUNTS: i64 = 1_000;
        load(db, ACCOUNTS).await;
        let proxy = Proxy::start(host_and_port(&db.url()));
        let program = Program::new(db.folder(), through(&db.url(), proxy.at), amqp_url()).configured(QUICK);
        let served = program.serve(&[]);
        for part in [50, 250, 500] {
            wait_until(DEADLINE, "so many are done", async || done(db).await >= part).await;
            assert!(done(db).await < ACCOUNTS, "the cut is in the middle");
            proxy.cut();
        }
        until_all_are_done(db, ACCOUNTS).await;
        assert_eq!(db.number("select count(*) from disconnect_events where failures > 0").await, 0);
        // Each cut may lose the answer to one claim, whose events are claimed again.
        let attempts = db.number("select cast(max(attempt) as bigint) from disconnect_events").await;
        assert!(attempts <= 1 + 3 + 2, "{attempts} attempts of one event");
        served.until_ready_is(200);
        let log = stopped(served);
        assert!((1..=3).contains(&lines(&log, DATABASE_IS_AWAY)), "{log}");
        assert_eq!(lines(&log, DATABASE_IS_AWAY), lines(&log, DATABASE_IS_BACK), "{log}");
        assert_eq!(lines(&log, "runs alone"), 0, "no delivery came back often\n{log}");
        assert_eq!(lines(&log, "ERROR") + lines(&log, "WARN"), lines(&log, DATABASE_IS_AWAY), "once\n{log}");
    })
    .await;
}

/// A worker that holds deliveries while the database goes keeps them, and takes no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_holds_what_it_has_while_the_database_is_away() {
    on_postgres(async |db| {
        const ACCOUNTS: i64 = 20;
        load(db, ACCOUNTS).await;
        let (locker, proxy) = (lock_accounts(db).await, Proxy::start(host_and_port(&db.url())));
        let served = Program::new(db.folder(), through(&db.url(), proxy.at), amqp_url()).serve(&[]);
        served.until_ready_is(200); // it knows the token from here on
        let waiting = "select count(*) from pg_stat_activity
                        where datname = current_database() and wait_event_type = 'Lock'";
        wait_until(DEADLINE, "the worker waits for a lock", async || db.number(waiting).await > 0).await;
        let queued = "select count(*) from disconnect_events where state = 'queued'";
        wait_until(DEADLINE, "all are queued", async || db.number(queued).await == ACCOUNTS).await;

        let reserved = proxy.stop().await;
        until_metric(&served, "disconnectd_database_up 0").await;
        unlock(locker).await;
        for _ in 0..3 {
            assert_eq!(served.ask("/readyz").unwrap().0, 503); // each takes as long as the database may for an answer
        }
        assert_eq!(done(db).await, 0, "nothing can be done meanwhile");
        assert_eq!(ready_messages(db).await, 0, "the worker has them all, and gives none back");

        let _proxy = reserved.start(host_and_port(&db.url()));
        served.until_ready_is(200);
        until_all_are_done(db, ACCOUNTS).await;
        assert_eq!(db.number("select count(*) from disconnect_events where failures > 0").await, 0);
        let log = stopped(served);
        assert_eq!(lines(&log, DATABASE_IS_AWAY), 1, "{log}");
        assert_eq!(lines(&log, DATABASE_IS_BACK), 1, "{log}");
        assert_eq!(lines(&log, "runs alone"), 0, "{log}");
        assert_eq!(lines(&log, "ERROR") + lines(&log, "WARN"), 1, "once\n{log}");
    })
    .await;
}

/// Nothing comes again by itself in these tests.
const ONCE: &str = "[scheduler]\nredispatch_seconds = 600\nredispatch_max_seconds = 600\n";

/// What it could not do is not acknowledged: the next worker has it at once, and not after its redispatch time.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_ends_while_the_database_is_away_gives_back_what_it_has() {
    on_postgres(async |db| {
        const ACCOUNTS: i64 = 20;
        load(db, ACCOUNTS).await;
        let (locker, proxy) = (lock_accounts(db).await, Proxy::start(host_and_port(&db.url())));
        let program = Program::new(db.folder(), through(&db.url(), proxy.at), amqp_url()).configured(ONCE);
        let served = program.serve(&[]);
        served.until_ready_is(200); // it knows the token from here on
        let queued = "select count(*) from disconnect_events where state = 'queued'";
        wait_until(DEADLINE, "all are queued", async || db.number(queued).await == ACCOUNTS).await;
        wait_until(DEADLINE, "the worker has them", async || ready_messages(db).await == 0).await;
        let reserved = proxy.stop().await;
        until_metric(&served, "disconnectd_database_up 0").await;
        ends_soon(served);
        unlock(locker).await;
        assert_eq!(ready_messages(db).await, ACCOUNTS.unsigned_abs(), "all of it is in the queue again");

        let _proxy = reserved.start(host_and_port(&db.url()));
        let next = program.serve(&[]);
        until_all_are_done(db, ACCOUNTS).await;
        assert_eq!(db.number("select count(*) from disconnect_events where attempt <> 1").await, 0);
        stopped(next);
    })
    .await;
}

/// DESIGN 3, worker 7: what was not committed is given back at the stop, never acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_holds_at_its_stop_is_given_back_and_not_acknowledged() {
    let nobody_listens = Reserved::new();
    let url = format!("postgres://someone@{}/nothing", nobody_listens.at);
    let store = Arc::new(PostgresStore::connect(&url, 1).unwrap());
    let (queue, health) = (Arc::new(MemoryQueue::new()), Arc::new(Health::default()));
    let orders = [1, 2, 3].map(|id| Order { event_id: EventId(id), attempt: Attempt(1), trace: None });
    queue.publish(LaneKind::Single, &orders).await;
    let config = Config::load(None, &Environment::default()).unwrap().worker;
    let (stop, stopped) = Shutdown::new();
    let running = tokio::spawn(Worker::new(store, health.clone(), config).run(queue.clone(), stopped));
    let waiting = async || queue.depth().await.unwrap().single;
    wait_until(DEADLINE, "it has them", async || waiting().await == 0).await;
    let is_away = async || matches!(health.database(), Condition::Down(_));
    wait_until(DEADLINE, "it knows that the database is away", is_away).await;
    stop.stop();
    running.await.unwrap();
    assert_eq!(waiting().await, 3, "they wait for another worker");
}

/// Refused is not lost: what the broker did not take goes again after a moment, not after its redispatch time.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_refused_is_published_again_soon() {
    on_postgres(async |db| {
        const ACCOUNTS: i64 = 20;
        let program = Program::new(db.folder(), db.url(), amqp_url()).configured(ONCE);
        let scheduler = program.serve(&["--roles", "scheduler"]);
        scheduler.until_ready_is(200);
        remove_queues(db).await;
        load(db, ACCOUNTS).await;
        let all = ACCOUNTS.unsigned_abs();
        wait_until(DEADLINE, "all are published", async || ready_messages(db).await == all).await;
        let again = "select count(*) from disconnect_events where attempt > 1 and failures = 0";
        assert!(db.number(again).await > 0, "there was no queue at first");
        stopped(scheduler);
    })
    .await;
}

/// Connections stay open, and nothing answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_falls_silent_is_told_within_seconds_and_work_goes_on_afterwards() {
    on_postgres(async |db| {
        const ACCOUNTS: i64 = 1_000;
        load(db, ACCOUNTS).await;
        let proxy = Proxy::start(host_and_port(&db.url()));
        let program = Program::new(db.folder(), through(&db.url(), proxy.at), amqp_url()).configured(QUICK);
        let served = program.serve(&[]);
        served.until_ready_is(200); // it knows the token from here on
        wait_until(DEADLINE, "it has begun", async || done(db).await >= 50).await;
        proxy.fall_silent();
        let begun = Instant::now();
        let down = until(&served, "the database is down", |ready| ready["database"]["state"] == "down").await;
        assert!(begun.elapsed() < Duration::from_secs(10), "told after {:?}", begun.elapsed());
        assert!(down["database"]["reason"].as_str().unwrap().contains("does not answer"), "{down}");
        assert!(done(db).await < ACCOUNTS, "the silence is in the middle");

        proxy.speak();
        served.until_ready_is(200);
        until_all_are_done(db, ACCOUNTS).await;
        assert_eq!(db.number("select count(*) from disconnect_events where failures > 0").await, 0);
        stopped(served);
    })
    .await;
}

/// Connections that are dead without a word, as after a failover: the next ones work.
#[tokio::test(flavor = "multi_thread")]
async fn work_does_not_wait_for_answers_that_an_outage_took() {
    on_postgres(async |db| {
        const ACCOUNTS: i64 = 1_000;
        load(db, ACCOUNTS).await;
        let proxy = Proxy::start(host_and_port(&db.url()));
        let program = Program::new(db.folder(), through(&db.url(), proxy.at), amqp_url()).configured(QUICK);
        let served = program.serve(&[]);
        wait_until(DEADLINE, "it has begun", async || done(db).await >= 50).await;
        proxy.forget();
        let begun = Instant::now();
        assert!(done(db).await < ACCOUNTS, "they are dead in the middle");
        until_all_are_done(db, ACCOUNTS).await;
        assert!(begun.elapsed() < Duration::from_secs(30), "it took {:?}", begun.elapsed());
        assert_eq!(db.number("select count(*) from disconnect_events where failures > 0").await, 0);
        let log = stopped(served);
        assert_eq!(lines(&log, DATABASE_IS_AWAY), 1, "{log}");
        assert_eq!(lines(&log, DATABASE_IS_BACK), 1, "{log}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_while_the_database_is_away_ends_soon_and_loses_nothing() {
    on_postgres(async |db| {
        const ACCOUNTS: i64 = 1_000;
        load(db, ACCOUNTS).await;
        let proxy = Proxy::start(host_and_port(&db.url()));
        let program = Program::new(db.folder(), through(&db.url(), proxy.at), amqp_url()).configured(QUICK);
        let served = program.serve(&[]);
        served.until_ready_is(200); // it knows the token from here on
        wait_until(DEADLINE, "it has begun", async || done(db).await >= 50).await;
        let reserved = proxy.stop().await;
        until_metric(&served, "disconnectd_database_up 0").await;
        assert!(done(db).await < ACCOUNTS, "the stop is in the middle");
        ends_soon(served);

        let _proxy = reserved.start(host_and_port(&db.url()));
        let next = program.serve(&[]);
        until_all_are_done(db, ACCOUNTS).await;
        assert_eq!(db.number("select count(*) from disconnect_events where failures > 0").await, 0);
        stopped(next);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_while_the_database_was_never_there_ends_soon() {
    on_postgres(async |db| {
        let reserved = Reserved::new();
        let refused = Program::new(db.folder(), through(&db.url(), reserved.at), amqp_url()).serve(&[]);
        until_no_token_can_be_told(&refused).await;
        ends_soon(refused);

        let silent = reserved.start(host_and_port(&db.url()));
        silent.fall_silent();
        let waiting = Program::new(db.folder(), through(&db.url(), silent.at), amqp_url()).serve(&[]);
        until_no_token_can_be_told(&waiting).await;
        ends_soon(waiting);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_while_the_database_is_silent_ends_soon_and_loses_nothing() {
    on_postgres(async |db| {
        const ACCOUNTS: i64 = 1_000;
        load(db, ACCOUNTS).await;
        let proxy = Proxy::start(host_and_port(&db.url()));
        let program = Program::new(db.folder(), through(&db.url(), proxy.at), amqp_url()).configured(QUICK);
        let served = program.serve(&[]);
        served.until_ready_is(200); // it knows the token from here on
        wait_until(DEADLINE, "it has begun", async || done(db).await >= 50).await;
        proxy.fall_silent();
        until_metric(&served, "disconnectd_database_up 0").await;
        assert!(done(db).await < ACCOUNTS, "the silence is in the middle");
        ends_soon(served);

        proxy.cut();
        proxy.speak();
        let next = program.serve(&[]);
        until_all_are_done(db, ACCOUNTS).await;
        stopped(next);
    })
    .await;
}

/// Rule 7: what the broker lost is found in the database.
#[tokio::test(flavor = "multi_thread")]
async fn a_purged_queue_is_rebuilt_from_the_database() {
    on_postgres(async |db| {
        const ACCOUNTS: i64 = 100;
        load(db, ACCOUNTS).await;
        let program = Program::new(db.folder(), db.url(), amqp_url())
            .configured("[scheduler]\nredispatch_seconds = 1\nredispatch_max_seconds = 1\n");
        let scheduler = program.serve(&["--roles", "scheduler"]);
        wait_until(DEADLINE, "all are published", async || ready_messages(db).await >= ACCOUNTS.unsigned_abs()).await;
        stopped(scheduler);
        assert!(purge(db).await >= ACCOUNTS.unsigned_abs(), "everything was in the queue");
        let queued = "select count(*) from disconnect_events where state = 'queued'";
        assert_eq!(db.number(queued).await, ACCOUNTS);

        let served = program.serve(&[]);
        until_all_are_done(db, ACCOUNTS).await;
        let again = "select count(*) from disconnect_events where attempt > 1 and failures = 0";
        assert_eq!(db.number(again).await, ACCOUNTS);
        stopped(served);
    })
    .await;
}

async fn on_postgres(test: impl AsyncFnOnce(&TestDatabase)) {
    TestDatabase::run(Engine::Postgres, async |db: &TestDatabase| {
        db.probe_token().await;
        test(db).await;
        remove_queues(db).await;
    })
    .await;
}

/// Accounts with a debit each, all due now.
async fn load(db: &TestDatabase, accounts: i64) {
    let number = |n: i64| format!("A-{n}");
    db.accounts((0..accounts).map(|n| account(&number(n)))).await;
    db.debits((0..accounts).map(|n| debit(&number(n), "november", "12.34"))).await;
    db.sql(
        "insert into disconnect_events (account_id, state, due_at, next_at, failures_max, requested_by, requested_from)
         select id, 'scheduled', now(), now(), 8, 'test', 'cli' from accounts",
    )
    .await;
}

async fn done(db: &TestDatabase) -> i64 {
    db.number("select count(*) from disconnect_events where state = 'completed'").await
}

/// Each of them once: one completed event, one disconnect, one invoice.
async fn until_all_are_done(db: &TestDatabase, accounts: i64) {
    wait_until(DEADLINE, "all are done", async || done(db).await == accounts).await;
    assert_eq!(db.number("select count(*) from accounts where disconnected_at is not null").await, accounts);
    assert_eq!(db.number("select count(*) from invoices").await, accounts);
    assert_eq!(db.number("select count(distinct account_id) from invoices").await, accounts);
    assert_eq!(db.number("select count(*) from account_log where kind = 'disconnected'").await, accounts);
}

/// Waits until `/readyz` says so, and answers what it said.
async fn until(served: &Served, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let mut said = Value::Null;
    wait_until(DEADLINE, what, async || {
        said = served.ask("/readyz").ok().and_then(|(_, body)| serde_json::from_str(&body).ok()).unwrap_or_default();
        wanted(&said)
    })
    .await;
    said
}

/// Where the database was never there, `/readyz` knows nobody.
async fn until_no_token_can_be_told(served: &Served) {
    until(served, "the database is away", |said| said["type"] == "urn:disconnectd:problem:database_unavailable").await;
}

async fn until_metric(served: &Served, line: &str) {
    wait_until(DEADLINE, line, async || served.ask("/metrics").is_ok_and(|(_, body)| body.lines().any(|l| l == line)))
        .await;
}

/// Ends it in order. Answers what it logged.
fn stopped(served: Served) -> String {
    served.signal("TERM");
    let (code, log) = served.ended();
    assert_eq!(code, Some(0), "{log}");
    log
}

/// Ends it in order, and not by the grace period of 30 s.
fn ends_soon(served: Served) {
    let begun = Instant::now();
    let log = stopped(served);
    assert!(begun.elapsed() < Duration::from_secs(10), "it took {:?}\n{log}", begun.elapsed());
}

fn lines(log: &str, part: &str) -> usize {
    log.lines().filter(|line| line.contains(part)).count()
}

/// The same server, through a proxy.
fn through(url: &str, proxy: SocketAddr) -> String {
    let mut url = Url::parse(url).unwrap();
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(proxy.port())).unwrap();
    url.into()
}

fn host_and_port(url: &str) -> String {
    let url = Url::parse(url).unwrap();
    let default = if url.scheme() == "amqp" { 5672 } else { 5432 };
    format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(default))
}

async fn lock_accounts(db: &TestDatabase) -> PgConnection {
    let mut locker = PgConnection::connect(&db.url()).await.unwrap();
    sqlx::raw_sql("begin; select from accounts for update").execute(&mut locker).await.unwrap();
    locker
}

async fn unlock(mut locker: PgConnection) {
    sqlx::raw_sql("rollback").execute(&mut locker).await.unwrap();
}

async fn queue_of(db: &TestDatabase, kind: &str) -> ShortString {
    format!("disconnectd.{kind}.{}", db.store.installation().await.unwrap().id).into()
}

/// Messages that no worker has, in the queue of single disconnects. 0 where there is no queue yet.
async fn ready_messages(db: &TestDatabase) -> u64 {
    let connection = Connection::connect(&amqp_url(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let looking = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare(queue_of(db, "single").await, looking, FieldTable::default()).await;
    queue.map_or(0, |queue| queue.message_count().into())
}

/// Answers how many messages are gone.
async fn purge(db: &TestDatabase) -> u64 {
    let connection = Connection::connect(&amqp_url(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.queue_purge(queue_of(db, "single").await, QueuePurgeOptions::default()).await.unwrap().into()
}

/// A broker reserves file handles for each of them.
async fn remove_queues(db: &TestDatabase) {
    let connection = Connection::connect(&amqp_url(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    for kind in ["single", "campaign", "dead"] {
        channel.queue_delete(queue_of(db, kind).await, QueueDeleteOptions::default()).await.unwrap();
    }
}
