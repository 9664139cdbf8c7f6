//! Who serves the database, and how news travels between processes.

use std::time::Duration;

use disconnectd::domain::event::State;
use disconnectd::store::StoreError;

use crate::support::database::{Engine, TestDatabase};
use crate::support::rows::account;
use crate::support::scenario::request;
use crate::support::{SOON, both_engines, wait_until};

both_engines!(
    whether_somebody_serves_is_known_to_every_process,
    the_second_to_serve,
    what_was_queued_when_serving_begins,
    a_request_hints_at_once_in_its_own_process,
    a_request_of_another_process_is_heard_of_while_serving,
    a_change_that_makes_an_event_due_is_heard_of,
);

async fn whether_somebody_serves_is_known_to_every_process(db: &TestDatabase) {
    let other = db.open().await;
    assert!(!db.store.is_served().await.unwrap() && !other.is_served().await.unwrap());
    let serving = db.store.serve("scheduler, worker").await.unwrap();
    let pid = format!("pid {}", std::process::id());
    for store in [&db.store, &other] {
        let servers = store.servers().await.unwrap();
        assert_eq!(servers.len(), 1, "{servers:?}");
        assert!(servers[0].process.contains(&pid), "{servers:?}");
        assert_eq!(servers[0].roles, "scheduler, worker");
        let age = db.store.now().await.unwrap() - servers[0].since.unwrap();
        assert!(age.num_seconds().abs() < 60, "{servers:?}");
    }
    drop(serving);
    wait_until(SOON, "serving ended with its proof", async || !other.is_served().await.unwrap()).await;
    let _again = other.serve("scheduler, worker").await.unwrap();
    assert!(db.store.is_served().await.unwrap());
}

async fn the_second_to_serve(db: &TestDatabase) {
    let other = db.open().await;
    let serving = db.store.serve("scheduler, worker").await.unwrap();
    match (db.engine(), other.serve("scheduler, worker").await) {
        (Engine::Postgres, Ok(second)) => {
            drop(serving);
            assert!(db.store.is_served().await.unwrap(), "any number may, and one still does");
            drop(second);
        }
        (Engine::Sqlite, Err(StoreError::Conflict(sentence))) => {
            let pid = std::process::id().to_string();
            assert!(sentence.contains(&pid), "it says who has it: {sentence}");
            drop(serving);
            let _second = other.serve("scheduler, worker").await.unwrap();
        }
        (_, answer) => panic!("{:?}", answer.map(|serving| serving.rescued)),
    }
}

async fn what_was_queued_when_serving_begins(db: &TestDatabase) {
    db.accounts(["A-1", "A-2", "A-3"].map(account)).await;
    let (queued, scheduled, done) = (db.queued("A-1").await, db.scheduled("A-2").await, db.disconnected("A-3").await);
    let serving = db.open().await.serve("scheduler, worker").await.unwrap();
    assert_eq!(db.state(scheduled).await, State::Scheduled);
    assert_eq!(db.state(done).await, State::Completed);
    match db.engine() {
        Engine::Postgres => {
            assert_eq!(serving.rescued, 0, "the queue is a broker's, and others may be at work");
            assert_eq!(db.state(queued.event_id).await, State::Queued);
        }
        Engine::Sqlite => {
            assert_eq!(serving.rescued, 1, "its queue died with the last process");
            assert_eq!(db.state(queued.event_id).await, State::Scheduled);
            let again = db.claim(10).await;
            assert_eq!((again.len(), again[0].attempt.0), (1, queued.attempt.0 + 1));
        }
    }
}

async fn a_request_hints_at_once_in_its_own_process(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let mut hints = db.store.hints();
    hints.borrow_and_update();
    db.due("A-1").await;
    tokio::time::timeout(SOON, hints.changed()).await.expect("a hint").unwrap();
}

async fn a_request_of_another_process_is_heard_of_while_serving(db: &TestDatabase) {
    let numbers = ["A-1", "A-2", "A-3", "A-4", "A-5"];
    db.accounts(numbers.map(account)).await;
    let _serving = db.store.serve("scheduler, worker").await.unwrap();
    let other = db.open().await;
    let mut hints = db.store.hints();
    let mut waits = Vec::new();
    for number in numbers {
        // What the rounds before left behind may still be on its way.
        while tokio::time::timeout(Duration::from_millis(300), hints.changed()).await.is_ok() {}
        hints.borrow_and_update();
        other.request(&request(number, "now")).await.unwrap();
        let asked = std::time::Instant::now();
        tokio::time::timeout(SOON, hints.changed()).await.expect("a hint").unwrap();
        waits.push(asked.elapsed());
    }
    waits.sort_unstable();
    // The middle one, because the machine may be busy with other tests.
    assert!(waits[2] <= Duration::from_millis(150), "{waits:?}");
}

async fn a_change_that_makes_an_event_due_is_heard_of(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let event = db.scheduled("A-1").await;
    let _serving = db.store.serve("scheduler, worker").await.unwrap();
    let other = db.open().await;
    let mut hints = db.store.hints();
    hints.borrow_and_update();
    let change = crate::support::scenario::reschedule("now", false);
    other.change(event, &change, &crate::support::scenario::clerk(), None).await.unwrap();
    tokio::time::timeout(SOON, hints.changed()).await.expect("a hint").unwrap();
}
