//! Claiming what is due, giving it back, and knowing when to look again.

use std::collections::HashSet;
use std::time::Duration;

use disconnectd::domain::event::{Attempt, Change, EventId, Order, State};
use disconnectd::store::Redispatch;

use crate::support::both_engines;
use crate::support::database::TestDatabase;
use crate::support::rows::account;
use crate::support::scenario::{REDISPATCH, clerk, reschedule};

both_engines!(
    a_claim_takes_what_is_due_and_nothing_else,
    a_claim_takes_the_most_overdue_first_up_to_its_limit,
    a_claimed_event_is_left_to_the_queue_for_its_redispatch_time,
    the_redispatch_time_doubles_up_to_its_maximum,
    an_attempt_never_goes_down,
    a_claim_leaves_other_lanes_alone,
    two_claimers_never_get_the_same_attempt,
    one_event_is_claimed_if_it_is_open_and_due,
    a_release_brings_an_event_back_after_its_delay,
    a_release_is_fenced_by_the_attempt_and_the_state,
    next_due_says_when_to_look_again,
);

impl TestDatabase {
    /// How many seconds until the machine looks at the event again.
    async fn seconds_to_next(&self, event: EventId) -> f64 {
        let now = self.store.now().await.unwrap();
        let next_at = self.event(event).await.next_at.expect("it is open");
        (next_at - now).as_seconds_f64()
    }
}

async fn a_claim_takes_what_is_due_and_nothing_else(db: &TestDatabase) {
    db.accounts(["due", "future", "queued", "done", "cancelled"].map(account)).await;
    db.scheduled("future").await;
    db.queued("queued").await;
    db.disconnected("done").await;
    let cancelled = db.due("cancelled").await;
    db.store.change(cancelled, &Change::CANCEL, &clerk(), None).await.unwrap();
    let due = db.due("due").await;
    assert_eq!(db.claim(500).await, [Order { event_id: due, attempt: Attempt(1), trace: None }]);
    let event = db.event(due).await;
    assert_eq!((event.state, event.attempt, event.failures), (State::Queued, Attempt(1), 0));
    assert_eq!(db.claim(500).await, []);
}

async fn a_claim_takes_the_most_overdue_first_up_to_its_limit(db: &TestDatabase) {
    db.accounts(["A", "B", "C", "D"].map(account)).await;
    let events = [db.due("A").await, db.due("B").await, db.due("C").await, db.due("D").await];
    for (event, seconds) in events.into_iter().zip([10, 40, 20, 30]) {
        db.make_overdue(event, seconds).await;
    }
    let mut first: Vec<_> = db.claim(2).await.into_iter().map(|order| order.event_id).collect();
    first.sort_unstable();
    assert_eq!(first, [events[1], events[3]]);
    assert_eq!(db.claim(1).await[0].event_id, events[2]);
    assert_eq!(db.claim(10).await[0].event_id, events[0]);
}

async fn a_claimed_event_is_left_to_the_queue_for_its_redispatch_time(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let order = db.queued("A-1").await;
    let seconds = db.seconds_to_next(order.event_id).await;
    assert!(seconds > 5.0 && seconds <= 10.0, "{seconds}");
    assert_eq!(db.claim(10).await, [], "its message may be on its way");
    db.make_overdue(order.event_id, 1).await;
    assert_eq!(db.claim(10).await, [Order { attempt: Attempt(2), ..order }]);
}

async fn the_redispatch_time_doubles_up_to_its_maximum(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let event = db.due("A-1").await;
    for expected in [10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0] {
        db.make_overdue(event, 1).await;
        assert_eq!(db.claim(10).await.len(), 1);
        let seconds = db.seconds_to_next(event).await;
        assert!(seconds > expected - 5.0 && seconds <= expected, "{seconds}, not {expected}");
    }
    // However often: no overflow.
    db.sql("update disconnect_events set dispatches = 2000000000").await;
    db.make_overdue(event, 1).await;
    assert_eq!(db.claim(10).await.len(), 1);
    assert!(db.seconds_to_next(event).await <= 300.0);
}

async fn an_attempt_never_goes_down(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let mut last = db.queued("A-1").await;
    for _ in 0..3 {
        db.store.release(&[last], Duration::ZERO).await.unwrap();
        let next = db.claim(10).await[0];
        assert_eq!(next.attempt.0, last.attempt.0 + 1);
        last = next;
    }
    let change = reschedule("2126-12-01", false);
    let event = db.store.change(last.event_id, &change, &clerk(), None).await.unwrap();
    assert_eq!((event.state, event.attempt), (State::Scheduled, last.attempt));
}

async fn a_claim_leaves_other_lanes_alone(db: &TestDatabase) {
    db.accounts(["single", "campaign"].map(account)).await;
    let (single, other) = (db.due("single").await, db.due("campaign").await);
    db.sql(&format!("update disconnect_events set lane = 7 where id = {other}")).await;
    db.make_overdue(other, 100).await;
    assert_eq!(db.claim(10).await, [Order { event_id: single, attempt: Attempt(1), trace: None }]);
    assert_eq!(db.state(other).await, State::Scheduled);
    // Nor is it waited for: no lane but 0 may be claimed.
    assert!(db.store.next_due().await.unwrap().unwrap() > Duration::from_secs(5));
}

async fn two_claimers_never_get_the_same_attempt(db: &TestDatabase) {
    let numbers: Vec<_> = (0..200).map(|n| format!("N-{n}")).collect();
    db.accounts(numbers.iter().map(|number| account(number))).await;
    for number in &numbers {
        db.due(number).await;
    }
    let mut claimers = Vec::new();
    for _ in 0..4 {
        let store = db.open().await;
        claimers.push(tokio::spawn(async move {
            let mut claimed = Vec::new();
            // Claims that pass over what another is claiming may come back short, so no count of them is an end.
            while claimed.len() < 50 {
                let orders = store.claim(7, REDISPATCH).await.unwrap();
                if orders.is_empty() && store.next_due().await.unwrap().is_none_or(|due| due > Duration::ZERO) {
                    break;
                }
                claimed.extend(orders);
            }
            claimed
        }));
    }
    let mut claimed = Vec::new();
    for claimer in claimers {
        claimed.extend(claimer.await.unwrap());
    }
    let mut rest = db.claim(500).await;
    claimed.append(&mut rest);
    assert_eq!(claimed.len(), 200);
    assert_eq!(claimed.iter().collect::<HashSet<_>>().len(), 200);
    assert!(claimed.iter().all(|order| order.attempt == Attempt(1)));
}

async fn one_event_is_claimed_if_it_is_open_and_due(db: &TestDatabase) {
    db.accounts(["A", "B", "C"].map(account)).await;
    let (one, other, future) = (db.due("A").await, db.due("B").await, db.scheduled("C").await);
    let order = db.store.claim_one(one, REDISPATCH).await.unwrap().unwrap();
    assert_eq!(order, Order { event_id: one, attempt: Attempt(1), trace: None });
    assert_eq!(db.state(other).await, State::Scheduled);
    assert_eq!(db.store.claim_one(one, REDISPATCH).await.unwrap(), None, "it was just claimed");
    assert_eq!(db.store.claim_one(future, REDISPATCH).await.unwrap(), None);
    assert_eq!(db.store.claim_one(EventId(future.0 + 1_000), REDISPATCH).await.unwrap(), None);
    db.disconnect(&[order]).await;
    assert_eq!(db.store.claim_one(one, REDISPATCH).await.unwrap(), None, "it is over");
}

async fn a_release_brings_an_event_back_after_its_delay(db: &TestDatabase) {
    db.accounts(["A", "B"].map(account)).await;
    let orders = [db.queued("A").await, db.queued("B").await];
    db.store.release(&orders, Duration::from_secs(30)).await.unwrap();
    for order in orders {
        assert_eq!(db.state(order.event_id).await, State::Scheduled);
        let seconds = db.seconds_to_next(order.event_id).await;
        assert!(seconds > 25.0 && seconds <= 30.0, "{seconds}");
    }
    assert_eq!(db.claim(10).await, []);
}

async fn a_release_is_fenced_by_the_attempt_and_the_state(db: &TestDatabase) {
    db.accounts(["A", "B"].map(account)).await;
    let first = db.queued("A").await;
    db.make_overdue(first.event_id, 1).await;
    let newer = db.claim(10).await[0];
    let done = db.queued("B").await;
    db.disconnect(&[done]).await;
    let before = db.dump().await;
    db.store.release(&[first, done], Duration::ZERO).await.unwrap();
    assert_eq!(db.dump().await, before);
    db.store.release(&[newer], Duration::ZERO).await.unwrap();
    assert_eq!(db.state(newer.event_id).await, State::Scheduled);
    db.store.release(&[], Duration::ZERO).await.unwrap();
}

async fn next_due_says_when_to_look_again(db: &TestDatabase) {
    db.accounts(["A", "B"].map(account)).await;
    assert_eq!(db.store.next_due().await.unwrap(), None);
    let future = db.scheduled("A").await;
    let day = Duration::from_secs(86_400);
    assert!(db.store.next_due().await.unwrap().unwrap() > 365 * day);
    let at = db.instant(3600);
    db.sql(&format!("update disconnect_events set next_at = {at} where id = {future}")).await;
    let wait = db.store.next_due().await.unwrap().unwrap();
    assert!(wait > Duration::from_secs(3500) && wait <= Duration::from_secs(3600), "{wait:?}");
    let now = db.due("B").await;
    assert_eq!(db.store.next_due().await.unwrap(), Some(Duration::ZERO));
    db.store.claim_one(now, Redispatch { base: Duration::from_secs(60), ..REDISPATCH }).await.unwrap().unwrap();
    let wait = db.store.next_due().await.unwrap().unwrap();
    assert!(wait > Duration::from_secs(50) && wait <= Duration::from_secs(60), "queued ones too: {wait:?}");
}
