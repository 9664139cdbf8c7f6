//! The log's words, the same from both engines.

use std::time::Duration;

use disconnectd::domain::account::ContactChange;
use disconnectd::domain::event::Change;
use disconnectd::domain::refusal::Refusal;
use disconnectd::domain::request::DisconnectRequest;
use disconnectd::domain::retry::{FailedAttempt, Verdict};
use disconnectd::store::StoreError;

use crate::support::both_engines;
use crate::support::database::TestDatabase;
use crate::support::rows::{account, debit, number};
use crate::support::scenario::{REDISPATCH, clerk, request, reschedule};

both_engines!(
    the_log_tells_of_an_events_life,
    the_log_tells_of_failures,
    the_log_tells_of_a_disconnect,
    the_log_tells_of_families_and_contacts,
);

impl TestDatabase {
    /// The messages of an account's log after `created`.
    async fn told(&self, account: &str) -> Vec<String> {
        self.log(account).await.into_iter().skip(1).map(|entry| entry.message).collect()
    }
}

async fn the_log_tells_of_an_events_life(db: &TestDatabase) {
    db.accounts([account("A-1").zone("Asia/Tokyo")]).await;
    let event = db.scheduled("A-1").await;
    let change = reschedule("2126-12-24T12:00:00Z", false);
    db.store.change(event, &change, &clerk(), None).await.unwrap();
    db.store.request(&request("A-1", "now")).await.unwrap();
    db.store.change(event, &Change::CANCEL, &clerk(), None).await.unwrap();
    let again = db.due("A-1").await;
    assert!(again > event);
    let late = DisconnectRequest { late: true, ..request("A-1", "2020-02-03T04:05:06Z") };
    assert!(matches!(db.store.request(&late).await, Err(StoreError::Refused(Refusal::OpenEvent { .. }))));
    db.store.change(again, &Change::CANCEL, &clerk(), None).await.unwrap();
    db.store.request(&late).await.unwrap();
    assert_eq!(
        db.told("A-1").await,
        [
            "disconnect scheduled for 2126-11-30T15:00:00Z (as given: 2126-12-01, Asia/Tokyo)".to_owned(),
            format!("event {event} rescheduled to 2126-12-24T12:00:00Z (as given: 2126-12-24T12:00:00Z)"),
            format!("disconnect requested now: event {event} brought forward"),
            format!("event {event} cancelled"),
            "disconnect requested now".to_owned(),
            format!("event {again} cancelled"),
            "disconnect scheduled for 2020-02-03T04:05:06Z (as given: 2020-02-03T04:05:06Z)".to_owned(),
        ]
    );
}

async fn the_log_tells_of_failures(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let order = db.queued("A-1").await;
    let failed = |attempt, failures| FailedAttempt {
        event_id: order.event_id,
        attempt,
        failures,
        failures_max: 3,
        error: "the frob is unset".into(),
    };
    let soon = Verdict::RetryAfter(Duration::ZERO);
    db.store.record_failures(&[(failed(order.attempt, 0), soon)]).await.unwrap();
    let order = db.store.claim_one(order.event_id, REDISPATCH).await.unwrap().unwrap();
    db.store.record_suspect(order.event_id, "killed").await.unwrap();
    db.store.record_failures(&[(failed(order.attempt, 2), Verdict::GiveUp)]).await.unwrap();
    db.store.change(order.event_id, &Change::Retry, &clerk(), None).await.unwrap();
    db.store.claim_one(order.event_id, REDISPATCH).await.unwrap().unwrap();
    for _ in 0..3 {
        db.store.record_suspect(order.event_id, "killed").await.unwrap();
    }
    assert_eq!(
        db.told("A-1").await,
        [
            "disconnect requested now".to_owned(),
            "attempt 1 failed: the frob is unset".to_owned(),
            "attempt 2 is counted as failed before it runs: killed".to_owned(),
            "gave up after 3 failures: the frob is unset".to_owned(),
            format!("event {} retried", order.event_id),
            "attempt 3 is counted as failed before it runs: killed".to_owned(),
            "attempt 3 is counted as failed before it runs: killed".to_owned(),
            "gave up after 3 failures: killed".to_owned(),
        ]
    );
}

async fn the_log_tells_of_a_disconnect(db: &TestDatabase) {
    db.accounts([account("A-1").address("1 Main St")]).await;
    db.debits([debit("A-1", "d", "10.00")]).await;
    db.store.invoice_all(&clerk()).await.unwrap();
    db.debits([debit("A-1", "e", "5.00").tax("0.50"), debit("A-1", "f", "1.00")]).await;
    let event = db.disconnected("A-1").await;
    let numbers = db.texts("select cast(number as text) from invoices order by number").await;
    let due = db.event(event).await.due_at.format("%Y-%m-%dT%H:%M:%SZ");
    assert_eq!(
        db.told("A-1").await,
        [
            format!("invoice {} issued", numbers[0]),
            "disconnect requested now".to_owned(),
            "final invoice over 6.50 USD with 2 lines".to_owned(),
            "address released: 1 Main St".to_owned(),
            format!("disconnected: status Active -> Inactive (due {due})"),
        ]
    );
}

async fn the_log_tells_of_families_and_contacts(db: &TestDatabase) {
    db.accounts([account("P"), account("C")]).await;
    db.store.link(&number("C"), &number("P"), &clerk()).await.unwrap();
    let change = ContactChange { email: Some(Some("c@example.com".into())), mailing_address: None };
    db.store.change_contact(&number("C"), &change, &clerk()).await.unwrap();
    db.store.unlink(&number("C"), &clerk()).await.unwrap();
    assert_eq!(
        db.told("C").await,
        ["linked under P", "contact changed: email none -> c@example.com", "unlinked from P"]
    );
}
