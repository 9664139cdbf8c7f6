//! Several schedulers and workers at once, some of them killed on the way.

use sqlx::{Connection, PgConnection};

use super::{installed, queue_url};
use crate::program::{DEADLINE, Program};
use crate::support::database::{Engine, TestDatabase};
use crate::support::rows::{account, debit};
use crate::support::wait_until;

const ACCOUNTS: i64 = 3_000;

/// Rule 2: 2 schedulers and 3 workers in processes of their own; one of each is killed with SIGKILL on the way.
#[tokio::test(flavor = "multi_thread")]
async fn no_disconnect_is_lost_or_doubled_when_processes_are_killed() {
    TestDatabase::run_on_empty(Engine::Postgres, async |db: &TestDatabase| {
        let program = installed(db).await.configured(
            // What the dead ones held comes back soon.
            "[scheduler]\nclaim_max = 100\nredispatch_seconds = 1\nredispatch_max_seconds = 2\n[worker]\nbatch_max = 16\n",
        );
        load(db, ACCOUNTS).await;
        let serve = |role: &'static str| program.serve(&["--roles", role]);
        let schedulers = [serve("scheduler"), serve("scheduler")];
        let workers = [serve("worker"), serve("worker"), serve("worker")];

        let done = async || db.number("select count(*) from disconnect_events where state = 'completed'").await;
        wait_until(DEADLINE, "a tenth is done", async || done().await >= ACCOUNTS / 10).await;
        workers[0].signal("KILL");
        schedulers[0].signal("KILL");
        assert!(done().await < ACCOUNTS, "they were killed on the way, not afterwards");
        wait_until(DEADLINE, "all are done", async || done().await == ACCOUNTS).await;

        assert_eq!(db.number("select count(*) from accounts where disconnected_at is not null").await, ACCOUNTS);
        assert_eq!(db.number("select count(*) from invoices").await, ACCOUNTS);
        assert_eq!(db.number("select count(*) from account_log where kind = 'disconnected'").await, ACCOUNTS);
        assert_eq!(
            db.number("select cast(sum(total) as bigint) from invoices").await,
            db.number("select cast(sum(amount + tax) as bigint) from debits").await,
        );
        for survivor in schedulers.into_iter().skip(1).chain(workers.into_iter().skip(1)) {
            survivor.signal("TERM");
            assert_eq!(survivor.ended().0, Some(0));
        }
    })
    .await;
}

/// An installation's queues bear its id.
#[tokio::test(flavor = "multi_thread")]
async fn two_databases_on_one_broker_never_meet() {
    TestDatabase::run_on_empty(Engine::Postgres, async |one: &TestDatabase| {
        TestDatabase::run_on_empty(Engine::Postgres, async |other: &TestDatabase| {
            let (here, there) = (installed(one).await, installed(other).await);
            load(one, 200).await;
            load(other, 200).await;
            // The other's are what its worker would run if a message came for them, and no message of its own will.
            other.sql("update disconnect_events set state = 'queued', next_at = now() + interval '1 day'").await;
            let scheduler = here.serve(&["--roles", "scheduler"]);
            let worker = there.serve(&["--roles", "worker"]);
            worker.until_ready_is(200);
            let queued = async |db: &TestDatabase| {
                db.number("select count(*) from disconnect_events where state = 'queued'").await
            };
            wait_until(DEADLINE, "all are queued", async || queued(one).await == 200).await;
            let own_worker = here.serve(&["--roles", "worker"]);
            wait_until(DEADLINE, "its own worker does them", async || queued(one).await == 0).await;
            assert_eq!(other.number("select count(*) from accounts where disconnected_at is not null").await, 0);
            assert_eq!(queued(other).await, 200);
            let (_, metrics) = worker.ask("/metrics").unwrap();
            for unwanted in ["disconnectd_stale_deliveries_total", "disconnectd_queue_rejected_total"] {
                let counted = metrics.lines().filter(|line| line.starts_with(unwanted));
                let counted: f64 = counted.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum();
                assert!(counted.abs() < f64::EPSILON, "{unwanted} is {counted}: {metrics}");
            }
            assert!(metrics.contains("disconnectd_"), "they are the metrics: {metrics}");
            drop((scheduler, worker, own_worker));
        })
        .await;
    })
    .await;
}

/// A worker that is asked to stop in the middle finishes what it has begun and gives the rest back.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_in_the_middle_loses_nothing() {
    TestDatabase::run_on_empty(Engine::Postgres, async |db: &TestDatabase| {
        let program = installed(db).await;
        load(db, ACCOUNTS).await;
        let open = "select count(*) from disconnect_events where state in ('scheduled', 'queued')";
        let first = program.serve(&[]);
        wait_until(DEADLINE, "it has begun", async || db.number(open).await < ACCOUNTS).await;
        first.signal("TERM");
        let (code, log) = first.ended();
        assert_eq!(code, Some(0), "{log}");
        let _second = program.serve(&[]);
        wait_until(DEADLINE, "the rest is done", async || db.number(open).await == 0).await;
        assert_eq!(db.number("select count(*) from invoices").await, ACCOUNTS);
    })
    .await;
}

/// See `store::plans` for what that does.
#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_tends_to_the_lists_once_it_has_claimed() {
    TestDatabase::run_on_empty(Engine::Postgres, async |db: &TestDatabase| {
        installed(db).await;
        let program = Program::new(db.folder(), db.url(), queue_url(db));
        db.accounts([account("1")]).await;
        let _served = program.serve(&["--roles", "scheduler"]);
        let tended = "select count(*) from pg_stat_activity
                       where datname = current_database() and query like '/* tend: what changed%'";
        let claimed = "select count(*) from disconnect_events where state = 'queued'";
        db.due("1").await;
        db.sql("notify disconnectd_due").await;
        wait_until(DEADLINE, "it is claimed", async || db.number(claimed).await == 1).await;
        wait_until(DEADLINE, "the lists are tended to", async || db.number(tended).await > 0).await;
    })
    .await;
}

/// The second signal does not wait for anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once() {
    TestDatabase::run_on_empty(Engine::Postgres, async |db: &TestDatabase| {
        installed(db).await;
        let program = Program::new(db.folder(), db.url(), queue_url(db));
        // A worker whose account is locked by someone else can't finish within the grace period.
        db.accounts([account("1")]).await;
        db.sql(
            "insert into disconnect_events
                    (account_id, state, due_at, next_at, failures_max, requested_by, requested_from)
             select id, 'scheduled', now(), now(), 8, 'test', 'cli' from accounts",
        )
        .await;
        let mut lock = PgConnection::connect(&db.url()).await.unwrap();
        sqlx::raw_sql("begin; select * from accounts for update").execute(&mut lock).await.unwrap();
        let served = program.serve(&[]);
        let queued = "select count(*) from disconnect_events where state = 'queued'";
        wait_until(DEADLINE, "it is queued", async || db.number(queued).await == 1).await;
        let waiting = "select count(*) from pg_stat_activity
                        where datname = current_database() and wait_event_type = 'Lock'";
        wait_until(DEADLINE, "the worker waits for the lock", async || db.number(waiting).await > 0).await;
        served.signal("TERM");
        served.until_stopping();
        served.signal("TERM");
        let begun = std::time::Instant::now();
        let (code, log) = served.ended();
        assert_eq!(code, Some(1), "{log}");
        assert!(begun.elapsed().as_secs() < 5, "at once, not after the grace period");
        sqlx::raw_sql("rollback").execute(&mut lock).await.unwrap();
    })
    .await;
}

/// Accounts with a debit and an address each, all due now.
async fn load(db: &TestDatabase, accounts: i64) {
    let number = |n: i64| format!("A-{n}");
    db.accounts((0..accounts).map(|n| account(&number(n)).address(&format!("{n} Elm Street")))).await;
    db.debits((0..accounts).map(|n| debit(&number(n), "november", "12.34").tax("1.02"))).await;
    db.sql(
        "insert into disconnect_events (account_id, state, due_at, next_at, failures_max, requested_by, requested_from)
         select id, 'scheduled', now(), now(), 8, 'test', 'cli' from accounts",
    )
    .await;
}
