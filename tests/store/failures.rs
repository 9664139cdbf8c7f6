//! Failures are counted, fenced and bounded; a person brings an event back.

use std::time::Duration;

use disconnectd::domain::account::LogKind;
use disconnectd::domain::event::{Attempt, Change, Event, EventId, Order, Outcome, State};
use disconnectd::domain::plan::{Effect, Plan, Snapshot};
use disconnectd::domain::retry::{FailedAttempt, RetryPolicy, Verdict};
use disconnectd::store::Executed;

use crate::support::both_engines;
use crate::support::database::TestDatabase;
use crate::support::rows::account;
use crate::support::scenario::{FAILURES_MAX, REDISPATCH, clerk, outcome_of};

both_engines!(
    a_failure_is_written_and_the_event_waits_for_its_retry,
    failures_are_bounded_and_the_last_one_fails_the_event,
    a_failure_of_an_older_attempt_is_not_written,
    a_failure_of_an_event_that_is_not_queued_is_not_written,
    failures_are_written_each_for_itself,
    a_retry_by_a_person_brings_a_failed_event_back,
    a_suspect_is_counted_before_it_runs_and_stays_queued,
    a_suspect_with_its_last_failure_is_given_up,
    only_a_queued_event_is_suspect,
    what_cannot_be_read_is_the_events_own_failure_and_bounded,
    a_plan_that_does_not_complete_the_event_fails_it,
);

fn failed(order: Order, failures: i32) -> FailedAttempt {
    FailedAttempt {
        event_id: order.event_id,
        attempt: order.attempt,
        failures,
        failures_max: FAILURES_MAX,
        error: "the frob is unset".into(),
    }
}

const SOON: Verdict = Verdict::RetryAfter(Duration::from_secs(60));

impl TestDatabase {
    async fn fail(&self, order: Order, failures: i32, verdict: Verdict) -> Vec<EventId> {
        self.store.record_failures(&[(failed(order, failures), verdict)]).await.unwrap()
    }
}

async fn a_failure_is_written_and_the_event_waits_for_its_retry(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let order = db.queued("A-1").await;
    assert_eq!(db.fail(order, 0, SOON).await, [order.event_id]);
    let event = db.event(order.event_id).await;
    assert_eq!((event.state, event.failures, event.attempt), (State::Scheduled, 1, order.attempt));
    assert_eq!(event.last_error.as_deref(), Some("the frob is unset"));
    assert!(event.due_at < event.next_at.unwrap(), "the business instant stays, the machine waits");
    let wait = db.store.next_due().await.unwrap().unwrap();
    assert!(wait > Duration::from_secs(50) && wait <= Duration::from_secs(60), "{wait:?}");
    assert_eq!(db.claim(10).await, []);
    let entry = db.log("A-1").await.pop().unwrap();
    assert_eq!((entry.kind, entry.event_id), (LogKind::AttemptFailed, Some(order.event_id)));
    assert!(entry.message.contains("the frob is unset"), "{}", entry.message);
}

async fn failures_are_bounded_and_the_last_one_fails_the_event(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let mut order = db.queued("A-1").await;
    for failures in 0..FAILURES_MAX - 1 {
        assert_eq!(db.fail(order, failures, Verdict::RetryAfter(Duration::ZERO)).await.len(), 1);
        order = db.store.claim_one(order.event_id, REDISPATCH).await.unwrap().unwrap();
    }
    assert_eq!(db.fail(order, FAILURES_MAX - 1, Verdict::GiveUp).await, [order.event_id]);
    let event = db.event(order.event_id).await;
    assert_eq!((event.state, event.failures), (State::Failed, FAILURES_MAX));
    assert_eq!(event.attempt, Attempt(FAILURES_MAX));
    assert!(event.next_at.is_none() && event.ended_at.is_some());
    assert_eq!(db.logged("A-1").await.last(), Some(&LogKind::Failed));
    assert_eq!(db.claim(10).await, []);
    assert_eq!(db.store.next_due().await.unwrap(), None);
    // It is not open any more: another may be asked for.
    assert_ne!(db.due("A-1").await, order.event_id);
}

async fn a_failure_of_an_older_attempt_is_not_written(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let late = db.queued("A-1").await;
    db.make_overdue(late.event_id, 1).await;
    let newer = db.claim(10).await[0];
    let before = db.dump().await;
    assert_eq!(db.fail(late, 0, Verdict::GiveUp).await, []);
    assert_eq!(db.dump().await, before);
    assert_eq!(db.fail(newer, 0, SOON).await, [newer.event_id]);
}

async fn a_failure_of_an_event_that_is_not_queued_is_not_written(db: &TestDatabase) {
    db.accounts(["A-1", "A-2", "A-3", "A-4"].map(account)).await;
    let (completed, cancelled) = (db.queued("A-1").await, db.queued("A-2").await);
    let (released, failed_already) = (db.queued("A-3").await, db.queued("A-4").await);
    db.disconnect(&[completed]).await;
    db.store.change(cancelled.event_id, &Change::CANCEL, &clerk(), None).await.unwrap();
    db.store.release(&[released], Duration::from_secs(60)).await.unwrap();
    db.fail(failed_already, 0, Verdict::GiveUp).await;
    let before = db.dump().await;
    let all = [completed, cancelled, released, failed_already].map(|order| (failed(order, 0), SOON));
    assert_eq!(db.store.record_failures(&all).await.unwrap(), []);
    assert_eq!(db.dump().await, before);
}

async fn failures_are_written_each_for_itself(db: &TestDatabase) {
    db.accounts(["A-1", "A-2", "A-3"].map(account)).await;
    let orders = [db.queued("A-1").await, db.queued("A-2").await, db.queued("A-3").await];
    let stale = Order { attempt: Attempt(0), ..orders[1] };
    let failures = [(failed(orders[2], 0), Verdict::GiveUp), (failed(stale, 0), SOON), (failed(orders[0], 0), SOON)];
    let mut written = db.store.record_failures(&failures).await.unwrap();
    written.sort_unstable();
    assert_eq!(written, [orders[0].event_id, orders[2].event_id]);
    assert_eq!(db.state(orders[0].event_id).await, State::Scheduled);
    assert_eq!(db.state(orders[1].event_id).await, State::Queued);
    assert_eq!(db.state(orders[2].event_id).await, State::Failed);
}

async fn a_retry_by_a_person_brings_a_failed_event_back(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let order = db.queued("A-1").await;
    let due_at = db.event(order.event_id).await.due_at;
    db.fail(order, FAILURES_MAX - 1, Verdict::GiveUp).await;
    let event = db.store.change(order.event_id, &Change::Retry, &clerk(), Some("the frob is set")).await.unwrap();
    assert_eq!((event.state, event.failures, event.due_at), (State::Scheduled, 0, due_at));
    assert_eq!((event.attempt, event.ended_at), (order.attempt, None), "attempts are never counted down");
    let entry = db.log("A-1").await.pop().unwrap();
    assert_eq!((entry.kind, entry.actor.as_str(), entry.source.as_str()), (LogKind::Retried, "clerk", "cli"));
    assert_eq!(entry.reason.as_deref(), Some("the frob is set"));
    let again = db.claim(10).await;
    assert_eq!(again, [Order { attempt: Attempt(order.attempt.0 + 1), ..order }]);
    assert!(outcome_of(&db.disconnect(&again).await[0]).is_some());
}

async fn a_suspect_is_counted_before_it_runs_and_stays_queued(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let order = db.queued("A-1").await;
    let attempt = db.store.record_suspect(order.event_id, "a worker ended with it").await.unwrap().unwrap();
    let event = db.event(order.event_id).await;
    assert_eq!((event.state, event.failures, event.attempt), (State::Queued, 1, attempt));
    assert!(attempt >= order.attempt);
    assert_eq!(event.last_error.as_deref(), Some("a worker ended with it"));
    let now = Order { attempt, ..order };
    assert!(outcome_of(&db.disconnect(&[now]).await[0]).is_some());
}

async fn a_suspect_with_its_last_failure_is_given_up(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let order = db.queued("A-1").await;
    for _ in 0..FAILURES_MAX - 1 {
        assert!(db.store.record_suspect(order.event_id, "killed").await.unwrap().is_some());
    }
    assert_eq!(db.store.record_suspect(order.event_id, "killed").await.unwrap(), None);
    let event = db.event(order.event_id).await;
    assert_eq!((event.state, event.failures), (State::Failed, FAILURES_MAX));
    assert_eq!(db.logged("A-1").await.last(), Some(&LogKind::Failed));
    assert_eq!(db.account("A-1").await.disconnected_at, None);
}

async fn only_a_queued_event_is_suspect(db: &TestDatabase) {
    db.accounts(["A-1", "A-2"].map(account)).await;
    let done = db.disconnected("A-1").await;
    let scheduled = db.due("A-2").await;
    let before = db.dump().await;
    for event in [done, scheduled, EventId(scheduled.0 + 1_000)] {
        assert_eq!(db.store.record_suspect(event, "killed").await.unwrap(), None);
    }
    assert_eq!(db.dump().await, before);
}

async fn what_cannot_be_read_is_the_events_own_failure_and_bounded(db: &TestDatabase) {
    db.accounts(["A-1", "A-2"].map(account)).await;
    let (mut order, other) = (db.queued("A-1").await, db.queued("A-2").await);
    db.sql("update accounts set currency = 'ZZZ' where number = 'A-1'").await;
    let both = db.disconnect(&[order, other]).await;
    let failed = |one: &&Executed| matches!(one, Executed::Failed(failed) if failed.event_id == order.event_id);
    assert_eq!((both.len(), both.iter().filter(failed).count()), (2, 1), "{both:?}");
    assert_eq!(both.iter().find_map(outcome_of), Some(Outcome::Disconnected), "its trouble stays its own: {both:?}");
    assert_eq!(db.state(other.event_id).await, State::Completed);
    for failures in 0..FAILURES_MAX {
        let executed = db.disconnect(&[order]).await;
        let [Executed::Failed(failed)] = &executed[..] else { panic!("{executed:?}") };
        assert_eq!((failed.event_id, failed.attempt), (order.event_id, order.attempt));
        assert_eq!((failed.failures, failed.failures_max), (failures, FAILURES_MAX));
        assert!(failed.error.contains("ZZZ"), "{}", failed.error);
        let policy = RetryPolicy { base: Duration::ZERO, max: Duration::ZERO };
        let verdict = policy.after_failure(failed);
        assert_eq!(db.store.record_failures(&[(failed.clone(), verdict)]).await.unwrap(), [order.event_id]);
        match db.store.claim_one(order.event_id, REDISPATCH).await.unwrap() {
            Some(next) => order = next,
            None => assert_eq!((failures, verdict), (FAILURES_MAX - 1, Verdict::GiveUp)),
        }
    }
    assert_eq!(db.state(order.event_id).await, State::Failed);
}

async fn a_plan_that_does_not_complete_the_event_fails_it(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let order = db.queued("A-1").await;
    let before = db.dump().await;
    let decide = |_: &Snapshot, _: &Event| Plan::Apply(vec![Effect::Disconnect { status: "Inactive".into() }]);
    let executed = db.store.disconnect(&[order], &decide).await.unwrap();
    let [Executed::Failed(failed)] = &executed[..] else { panic!("{executed:?}") };
    assert_eq!((failed.event_id, failed.error.as_str()), (order.event_id, "the plan does not complete the event"));
    assert_eq!(db.dump().await, before);
}
