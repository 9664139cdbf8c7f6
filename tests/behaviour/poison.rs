//! Work that fails in the program itself: a panic, a message that may have killed its worker. It stays one event's
//! trouble.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use disconnectd::clock::Clock;
use disconnectd::config::{Config, Environment};
use disconnectd::domain::account::LogKind;
use disconnectd::domain::event::{Event, State};
use disconnectd::domain::plan::{Plan, Snapshot, plan_disconnect};
use disconnectd::domain::retry::RetryPolicy;
use disconnectd::health::Health;
use disconnectd::queue::memory::MemoryQueue;
use disconnectd::queue::{LaneKind, Queue};
use disconnectd::scheduler::Scheduler;
use disconnectd::shutdown::{Shutdown, StopHandle};
use disconnectd::worker::Worker;
use tokio::task::JoinSet;

use crate::support::database::{Engine, TestDatabase};
use crate::support::rows::{account, debit};
use crate::support::scenario::FAILURES_MAX;
use crate::support::{SOON, wait_until};

/// DESIGN 3, worker 5: a panic in one event's work is that event's failure, not the worker's end.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_fails_its_own_event_and_no_other() {
    fn plan(snapshot: &Snapshot, event: &Event) -> Plan {
        assert!(snapshot.number.as_str() != "3", "account 3 is too much for it");
        plan_disconnect(snapshot, event)
    }
    TestDatabase::run(Engine::Sqlite, async |db: &TestDatabase| {
        db.accounts((1..=6).map(|n| account(&n.to_string()))).await;
        db.debits((1..=6).map(|n| debit(&n.to_string(), "november", "10.00"))).await;
        let mut events = Vec::new();
        for n in 1..=5 {
            events.push(db.due(&n.to_string()).await);
        }
        let mut running = Running::start(db, MemoryQueue::new(), plan, Schedule::Yes);
        let failed = events.remove(2);
        wait_until(SOON, "its failures are used up", async || db.state(failed).await == State::Failed).await;
        for event in events {
            wait_until(SOON, "the others complete", async || db.state(event).await == State::Completed).await;
            assert_eq!(db.event(event).await.failures, 0);
        }
        let failed = db.event(failed).await;
        assert_eq!(failed.failures, FAILURES_MAX);
        let error = failed.last_error.unwrap_or_default();
        assert!(error.contains("account 3 is too much for it") && error.contains("fault"), "{error}");
        assert_eq!(db.account("3").await.disconnected_at, None);

        let next = db.due("6").await;
        wait_until(SOON, "the worker lives", async || db.state(next).await == State::Completed).await;
        running.stop().await;
    })
    .await;
}

/// DESIGN 3, worker 3: a batch that fails runs again in smaller ones, so that one account's trouble stays its own.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_refuses_holds_up_nobody_of_its_batch() {
    TestDatabase::run(Engine::Sqlite, async |db: &TestDatabase| {
        db.accounts(["first", "refused", "last"].map(account)).await;
        let (first, refused) = (db.queued("first").await, db.queued("refused").await);
        let orders = [first, refused, db.queued("last").await];
        db.sabotage("accounts", "refused").await;
        let queue = MemoryQueue::new();
        queue.publish(LaneKind::Single, &orders).await;
        let mut running = Running::start(db, queue, plan_disconnect, Schedule::No);
        for order in [orders[0], orders[2]] {
            wait_until(SOON, "it completes", async || db.state(order.event_id).await == State::Completed).await;
        }
        let is_written = async || db.event(refused.event_id).await.failures == 1;
        wait_until(SOON, "its own failure is written", is_written).await;
        running.stop().await;
    })
    .await;
}

/// What the plan was asked: the account, the failures that its event had by then, and the batch's instant.
static ASKED: Mutex<Vec<(String, i32, DateTime<Utc>)>> = Mutex::new(Vec::new());

/// DESIGN 3, worker 5: a delivery that returns often runs alone, and its failure is written before it runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_may_have_killed_its_worker_runs_alone_with_its_failure_written_before() {
    fn plan(snapshot: &Snapshot, event: &Event) -> Plan {
        let asked = (snapshot.number.to_string(), event.failures, event.now);
        ASKED.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
        plan_disconnect(snapshot, event)
    }
    TestDatabase::run(Engine::Sqlite, async |db: &TestDatabase| {
        db.accounts(["suspect", "patient", "other"].map(account)).await;
        let suspect = db.queued("suspect").await;
        let patient = db.queued("patient").await;
        let other = db.queued("other").await;
        let queue = MemoryQueue::new();
        queue.publish(LaneKind::Single, &[suspect]).await;
        give_back(&queue, 1).await;
        queue.publish(LaneKind::Single, &[patient]).await;
        give_back(&queue, 3).await; // the suspect has come back 4 times, and the patient 3 times
        queue.publish(LaneKind::Single, &[other]).await;

        let mut running = Running::start(db, queue, plan, Schedule::No);
        for order in [suspect, patient, other] {
            wait_until(SOON, "it completes", async || db.state(order.event_id).await == State::Completed).await;
        }
        running.stop().await;
        let failures =
            |order: disconnectd::domain::event::Order| async move { db.event(order.event_id).await.failures };
        assert_eq!((failures(suspect).await, failures(patient).await, failures(other).await), (1, 0, 0));
        let logged = db.logged("suspect").await;
        let at = |kind| logged.iter().position(|logged| *logged == kind);
        assert!(at(LogKind::AttemptFailed).is_some() && at(LogKind::AttemptFailed) < at(LogKind::Disconnected));

        let asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let [one, another, alone] = &asked[..] else { panic!("{asked:?}") };
        assert_eq!(one.2, another.2, "the others are one batch");
        assert_eq!((alone.0.as_str(), alone.1), ("suspect", 1), "its failure is there before it runs: {asked:?}");
        assert_ne!(alone.2, one.2, "it runs alone");
    })
    .await;
}

/// Takes everything and gives it back, so many times.
async fn give_back(queue: &MemoryQueue, times: u32) {
    let mut deliveries = queue.deliveries(LaneKind::Single).await.unwrap();
    for _ in 0..times {
        deliveries.next(10, Duration::ZERO).await.unwrap().give_back().await;
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Schedule {
    Yes,
    No,
}

/// A worker with a plan of the test's own, and perhaps a scheduler, on the in-process queue.
struct Running {
    stop: StopHandle,
    tasks: JoinSet<()>,
}

impl Running {
    fn start(db: &TestDatabase, queue: MemoryQueue, plan: fn(&Snapshot, &Event) -> Plan, schedule: Schedule) -> Self {
        let config = Config::load(None, &Environment::default()).unwrap();
        let (stop, stopped) = Shutdown::new();
        let (health, queue): (_, Arc<dyn Queue>) = (Arc::new(Health::default()), Arc::new(queue));
        let mut tasks = JoinSet::new();
        if schedule == Schedule::Yes {
            let scheduler = Scheduler {
                store: db.store.clone(),
                queue: queue.clone(),
                health: health.clone(),
                clock: Clock::system(),
                config: config.scheduler.clone(),
                failures_max: config.failures_max,
            };
            tasks.spawn(scheduler.run(stopped.clone()));
        }
        let mut worker = Worker::new(db.store.clone(), health, config.worker.clone());
        worker.config.retry = RetryPolicy { base: Duration::ZERO, max: Duration::ZERO };
        worker.plan = plan;
        tasks.spawn(worker.run(queue, stopped));
        Self { stop, tasks }
    }

    async fn stop(&mut self) {
        self.stop.stop();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}
