//! The database itself: its clock, the demo's mark, and what the doctor looks at.

use chrono::Timelike as _;
use disconnectd::domain::refusal::Refusal;
use disconnectd::domain::retry::{FailedAttempt, Verdict};
use disconnectd::store::StoreError;

use crate::support::both_engines;
use crate::support::database::TestDatabase;
use crate::support::rows::{account, debit};
use crate::support::scenario::{FAILURES_MAX, refusal, unusable};

both_engines!(
    now_is_cut_to_microseconds_and_goes_on,
    only_a_database_without_accounts_becomes_the_demos,
    the_demo_may_be_started_over_and_nothing_else,
    a_database_with_tables_of_others_is_not_dropped,
    a_healthy_database_has_nothing_to_inspect,
    a_sum_that_went_wrong_is_found_by_the_doctor,
    an_open_event_that_no_list_would_show_is_found_by_the_doctor,
    what_is_late_or_failed_is_not_the_inspections,
    the_inspection_counts_all_and_names_a_few,
    a_closed_store_answers_with_an_error,
);

async fn now_is_cut_to_microseconds_and_goes_on(db: &TestDatabase) {
    let first = db.store.now().await.unwrap();
    let second = db.store.now().await.unwrap();
    assert!(first <= second);
    assert_eq!((first.nanosecond() % 1_000, second.nanosecond() % 1_000), (0, 0));
}

async fn only_a_database_without_accounts_becomes_the_demos(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    assert_eq!(refusal(db.store.mark_demo(None).await), Refusal::NotTheDemo);
    assert!(!db.store.installation().await.unwrap().is_demo);
    let before = db.dump().await;
    assert_eq!(refusal(db.store.drop_demo().await), Refusal::NotTheDemo);
    assert_eq!(db.dump().await, before);
}

async fn the_demo_may_be_started_over_and_nothing_else(db: &TestDatabase) {
    assert_eq!(refusal(db.store.drop_demo().await), Refusal::NotTheDemo);
    let id = db.store.installation().await.unwrap().id;
    db.store.mark_demo(None).await.unwrap();
    assert!(db.store.installation().await.unwrap().is_demo);
    db.accounts([account("A-1").address("1 Main St")]).await;
    db.debits([debit("A-1", "d", "1.00")]).await;
    db.disconnected("A-1").await;
    assert_eq!(db.store.drop_demo().await.unwrap(), Some(id.clone()));
    assert_eq!(db.columns().await, Vec::<String>::new(), "the schema is gone, whole");
    unusable(db.store.check_schema().await);
    assert_eq!(db.store.drop_demo().await.unwrap(), None);
    assert!(db.store.migrate().await.unwrap() >= 1);
    db.store.mark_demo(Some(&id)).await.unwrap();
    assert_eq!(db.store.installation().await.unwrap().id, id, "its queues are there already");
    assert_eq!(db.count("accounts").await, 0);
    db.accounts([account("A-1")]).await;
    db.disconnected("A-1").await;
}

async fn a_database_with_tables_of_others_is_not_dropped(db: &TestDatabase) {
    let other = TestDatabase::empty(db.engine()).await;
    other.store.drop_demo().await.unwrap();
    other.sql("create table recipes (name text)").await;
    assert_eq!(refusal(other.store.drop_demo().await), Refusal::NotTheDemo);
    assert_eq!(other.count("recipes").await, 0);
    other.remove().await;
}

async fn a_healthy_database_has_nothing_to_inspect(db: &TestDatabase) {
    db.accounts([account("P"), account("A-1").parent("P").address("1 Main St"), account("A-2")]).await;
    db.debits([debit("A-1", "d", "1.00"), debit("P", "d", "2.00")]).await;
    db.disconnected("A-1").await;
    db.scheduled("P").await;
    db.queued("A-2").await;
    assert_eq!(db.store.inspect().await.unwrap(), Vec::<String>::new());
}

async fn a_sum_that_went_wrong_is_found_by_the_doctor(db: &TestDatabase) {
    db.is_broken_on_purpose();
    db.accounts([account("A-1")]).await;
    let at = db.instant(0);
    db.sql(&format!(
        "insert into invoices (number, kind, account_id, currency, amount, tax, total, issued_at) \
         select 77, 'regular', id, 'USD', 100, 0, 100, {at} from accounts"
    ))
    .await;
    let found = db.store.inspect().await.unwrap();
    assert_eq!(found, ["invoices that their lines do not add up to, 1 in all: 77"]);
}

async fn an_open_event_that_no_list_would_show_is_found_by_the_doctor(db: &TestDatabase) {
    db.is_broken_on_purpose();
    db.accounts(["A-1", "A-2", "A-3"].map(account)).await;
    let (unnamed, misnamed) = (db.scheduled("A-1").await, db.scheduled("A-2").await);
    db.scheduled("A-3").await;
    db.sql(&format!("update disconnect_events set account_number = null where id = {unnamed}")).await;
    db.sql(&format!("update disconnect_events set account_number = 'A-3' where id = {misnamed}")).await;
    let found = db.store.inspect().await.unwrap();
    assert_eq!(
        found,
        [format!("open events that do not bear their account's number, 2 in all: {unnamed}, {misnamed}")]
    );
}

async fn what_is_late_or_failed_is_not_the_inspections(db: &TestDatabase) {
    db.accounts(["A-1", "A-2"].map(account)).await;
    let order = db.queued("A-1").await;
    let failure = FailedAttempt {
        event_id: order.event_id,
        attempt: order.attempt,
        failures: FAILURES_MAX - 1,
        failures_max: FAILURES_MAX,
        error: "it broke".into(),
    };
    db.store.record_failures(&[(failure, Verdict::GiveUp)]).await.unwrap();
    let late = db.due("A-2").await;
    db.make_overdue(late, 3_600).await;
    db.sql("update settings set value = 'Gone' where key = 'disconnect_status'").await;
    assert_eq!(db.store.inspect().await.unwrap(), Vec::<String>::new());
}

async fn the_inspection_counts_all_and_names_a_few(db: &TestDatabase) {
    db.is_broken_on_purpose();
    let numbers: Vec<_> = (0..7).map(|n| format!("A-{n}")).collect();
    db.accounts(numbers.iter().map(|n| account(n).address("1 Main St"))).await;
    db.debits(numbers.iter().map(|n| debit(n, &format!("d-{n}"), "1.00"))).await;
    let at = db.instant(0);
    db.sql(&format!("update accounts set disconnected_at = {at}")).await;
    let few = "7 in all: A-0, A-1, A-2, A-3, A-4, ...";
    assert_eq!(
        db.store.inspect().await.unwrap(),
        [
            format!("disconnected accounts with an uninvoiced debit, {few}"),
            format!("disconnected accounts with an address still assigned, {few}"),
            format!("disconnected accounts that no event disconnected, or more than one, {few}"),
        ]
    );
}

async fn a_closed_store_answers_with_an_error(db: &TestDatabase) {
    let store = db.open().await;
    store.close().await;
    let answer = store.settings().await;
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
}
