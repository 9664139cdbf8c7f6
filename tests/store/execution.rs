//! What a disconnect writes: all of it or nothing, once.

use std::sync::Mutex;

use disconnectd::domain::account::{AccountView, LogKind};
use disconnectd::domain::event::{Attempt, Event, EventId, Order, Outcome, State};
use disconnectd::domain::invoice::InvoiceKind;
use disconnectd::domain::plan::{Effect, Plan, Snapshot, plan_disconnect};
use disconnectd::store::{Executed, StoreError};

use crate::support::both_engines;
use crate::support::database::TestDatabase;
use crate::support::rows::{account, debit, number};
use crate::support::scenario::{FAILURES_MAX, disconnect, event_of, outcome_of};

both_engines!(
    rule_1_a_disconnect_closes_the_books_frees_the_address_and_says_so,
    rule_1_whatever_the_database_refuses_nothing_of_a_disconnect_is_written,
    rule_1_a_batch_is_written_whole_or_not_at_all,
    rule_1_an_event_that_fails_in_a_batch_leaves_the_others_untouched,
    rule_2_a_redelivered_order_changes_nothing,
    rule_2_an_order_given_twice_in_one_call_runs_once,
    rule_2_whichever_message_comes_the_state_alone_admits_it,
    rule_3_no_debits_no_invoice_and_the_log_says_so,
    rule_5_a_parents_disconnect_touches_no_child,
    rule_9_a_worker_decides_from_the_facts_at_that_moment,
    rule_9_cancelled_and_already_disconnected_are_outcomes,
    rule_9_no_longer_eligible_is_an_outcome_and_leaves_the_account_alone,
    the_decision_is_given_all_that_is_known_of_the_event,
    a_batch_of_hundreds_is_one_call,
    no_orders_are_no_work,
);

async fn rule_1_a_disconnect_closes_the_books_frees_the_address_and_says_so(db: &TestDatabase) {
    db.accounts([account("A-1").address("1 Main St"), account("A-2").address("1 Main St")]).await;
    db.debits([
        debit("A-1", "late", "20.00").tax("1.50").on("2026-11-20"),
        debit("A-1", "early", "100.00").on("2026-11-01"),
        debit("A-2", "other", "7.00"),
    ])
    .await;
    let order = db.queued("A-1").await;

    let executed = db.disconnect(&[order]).await;

    let [Executed::Completed { event_id, outcome: Outcome::Disconnected, final_invoice: Some(summary) }] =
        &executed[..]
    else {
        panic!("{executed:?}")
    };
    assert_eq!((*event_id, summary.total.to_string().as_str()), (order.event_id, "121.50 USD"));
    let gone = db.account("A-1").await;
    let event = db.event(order.event_id).await;
    assert_eq!((gone.status.as_str(), gone.address, gone.open_event), ("Inactive", None, None));
    assert_eq!(gone.uninvoiced.minor, 0);
    assert_eq!((event.state, event.outcome, event.next_at), (State::Completed, Some(Outcome::Disconnected), None));
    assert_eq!(event.ended_at, gone.disconnected_at);
    assert!(gone.disconnected_at.is_some_and(|at| at >= event.due_at));
    assert_eq!(event.final_invoice.as_ref(), Some(summary));

    let invoice = db.store.invoice(summary.number).await.unwrap();
    assert_eq!((invoice.kind, invoice.event_id), (InvoiceKind::Final, Some(order.event_id)));
    assert_eq!(invoice.account_number, number("A-1"));
    assert_eq!((invoice.amount.minor, invoice.tax.minor, invoice.total.minor), (12_000, 150, 12_150));
    let lines: Vec<_> = invoice
        .lines
        .iter()
        .map(|line| (line.description.as_str(), line.charged_on.to_string(), line.total.minor))
        .collect();
    assert_eq!(
        lines,
        [("Charge early", "2026-11-01".to_owned(), 10_000), ("Charge late", "2026-11-20".to_owned(), 2_150)]
    );

    let log = db.log("A-1").await;
    let kinds: Vec<_> = log.iter().map(|entry| entry.kind).collect();
    assert_eq!(
        kinds,
        [LogKind::Created, LogKind::Scheduled, LogKind::FinalInvoice, LogKind::AddressReleased, LogKind::Disconnected,]
    );
    for entry in &log[2..] {
        assert_eq!(entry.event_id, Some(order.event_id), "{entry:?}");
        assert_eq!(Some(entry.at), gone.disconnected_at, "{entry:?}");
        assert!(!entry.actor.is_empty() && !entry.source.is_empty(), "{entry:?}");
    }
    assert!(log[4].message.contains("Active -> Inactive"), "{}", log[4].message);
    assert_eq!(log[4].reason.as_deref(), Some("moved away"));

    let stays = db.account("A-2").await;
    assert_eq!((stays.status.as_str(), stays.address.as_deref()), ("Active", Some("1 Main St")));
    assert_eq!((stays.uninvoiced.minor, stays.disconnected_at), (700, None));
    assert_eq!(db.logged("A-2").await, [LogKind::Created]);
    let history = "select count(*) from address_assignments where assigned_until is not null";
    assert_eq!(db.number(history).await, 1, "the assignment ended, and stays as history");
}

async fn rule_1_whatever_the_database_refuses_nothing_of_a_disconnect_is_written(db: &TestDatabase) {
    db.accounts([account("A-1").address("1 Main St")]).await;
    db.debits([debit("A-1", "d1", "10.00"), debit("A-1", "d2", "5.00")]).await;
    let order = db.queued("A-1").await;
    let before = db.dump().await;
    for table in
        ["invoices", "invoice_lines", "debits", "address_assignments", "accounts", "account_log", "disconnect_events"]
    {
        db.sabotage(table, "A-1").await;
        let executed = db.disconnect(&[order]).await;
        let [Executed::Failed(failed)] = &executed[..] else { panic!("{table}: {executed:?}") };
        assert_eq!((failed.event_id, failed.attempt), (order.event_id, order.attempt));
        assert_eq!((failed.failures, failed.failures_max), (0, FAILURES_MAX));
        assert!(failed.error.contains("sabotaged"), "{table}: {}", failed.error);
        db.end_sabotage().await;
        assert_eq!(db.dump().await, before, "refused in {table}");
    }
    assert_eq!(outcome_of(&db.disconnect(&[order]).await[0]), Some(Outcome::Disconnected));
}

async fn rule_1_a_batch_is_written_whole_or_not_at_all(db: &TestDatabase) {
    let numbers = ["A-1", "A-2", "A-3"];
    db.accounts(numbers.map(|number| account(number).address("1 Main St"))).await;
    db.debits(numbers.map(|number| debit(number, "d", "10.00"))).await;
    let mut orders = Vec::new();
    for number in numbers {
        orders.push(db.queued(number).await);
    }
    let before = db.dump().await;
    for table in ["invoices", "accounts", "account_log", "disconnect_events"] {
        db.sabotage(table, "A-2").await;
        let refused = disconnect(&*db.store, &orders).await;
        assert!(matches!(refused, Err(StoreError::Rejected(_))), "{table}: {refused:?}");
        db.end_sabotage().await;
        assert_eq!(db.dump().await, before, "refused in {table}");
    }
    // One by one, only the one with the trouble fails.
    db.sabotage("accounts", "A-2").await;
    let mut failed = Vec::new();
    for order in &orders {
        failed.push(matches!(db.disconnect(&[*order]).await[..], [Executed::Failed(_)]));
    }
    assert_eq!(failed, [false, true, false]);
    assert_eq!(db.state(orders[1].event_id).await, State::Queued);
}

async fn rule_1_an_event_that_fails_in_a_batch_leaves_the_others_untouched(db: &TestDatabase) {
    db.accounts([account("A-1"), account("A-2"), account("A-3")]).await;
    db.debits([debit("A-1", "d", "10.00"), debit("A-2", "d", "20.00"), debit("A-3", "d", "30.00")]).await;
    let orders = [db.queued("A-1").await, db.queued("A-2").await, db.queued("A-3").await];
    let before = db.account("A-2").await;
    let decide = |snapshot: &Snapshot, event: &Event| {
        if snapshot.number == number("A-2") { Plan::Fail("not today".into()) } else { plan_disconnect(snapshot, event) }
    };

    let mut executed = db.store.disconnect(&orders, &decide).await.unwrap();

    executed.sort_by_key(event_of);
    assert_eq!(outcome_of(&executed[0]), Some(Outcome::Disconnected));
    assert_eq!(outcome_of(&executed[2]), Some(Outcome::Disconnected));
    let Executed::Failed(failed) = &executed[1] else { panic!("{executed:?}") };
    assert_eq!((failed.event_id, failed.attempt), (orders[1].event_id, Attempt(1)));
    assert_eq!((failed.failures, failed.failures_max, failed.error.as_str()), (0, FAILURES_MAX, "not today"));
    assert_eq!(db.account("A-2").await, before);
    assert_eq!(db.state(orders[1].event_id).await, State::Queued);
}

async fn rule_2_a_redelivered_order_changes_nothing(db: &TestDatabase) {
    db.accounts([account("A-1").address("1 Main St")]).await;
    db.debits([debit("A-1", "d", "10.00")]).await;
    let order = db.queued("A-1").await;
    db.disconnect(&[order]).await;
    let after = db.dump().await;
    for _ in 0..3 {
        assert_eq!(db.disconnect(&[order]).await, [Executed::Stale { event_id: order.event_id }]);
    }
    assert_eq!(db.dump().await, after);
}

async fn rule_2_an_order_given_twice_in_one_call_runs_once(db: &TestDatabase) {
    db.accounts([account("A-1"), account("A-2")]).await;
    db.debits([debit("A-1", "d", "10.00")]).await;
    let (first, second) = (db.queued("A-1").await, db.queued("A-2").await);
    let older = Order { attempt: Attempt(0), ..first };
    let executed = db.disconnect(&[first, second, first, older, second]).await;
    assert_eq!(executed.iter().map(event_of).collect::<Vec<_>>(), [first.event_id, second.event_id]);
    assert!(executed.iter().all(|executed| outcome_of(executed) == Some(Outcome::Disconnected)), "{executed:?}");
    assert_eq!(db.count("invoices").await, 1);
}

async fn rule_2_whichever_message_comes_the_state_alone_admits_it(db: &TestDatabase) {
    db.accounts([account("A-1"), account("A-2")]).await;
    // The message of an earlier claim is as good as the one of the last.
    let first = db.queued("A-1").await;
    db.make_overdue(first.event_id, 1).await;
    let again = db.claim(10).await;
    assert_eq!(again, [Order { attempt: Attempt(2), ..first }]);
    assert_eq!(outcome_of(&db.disconnect(&[first]).await[0]), Some(Outcome::Disconnected));
    assert_eq!(db.disconnect(&again).await, [Executed::Stale { event_id: first.event_id }]);
    // An event that is not queued does not run, and one that never was neither.
    let scheduled = db.due("A-2").await;
    let unknown = EventId(scheduled.0 + 1_000);
    let orders = [scheduled, unknown].map(|event_id| Order { event_id, attempt: Attempt(1), trace: None });
    let executed = db.disconnect(&orders).await;
    assert_eq!(executed, [scheduled, unknown].map(|event_id| Executed::Stale { event_id }));
    assert_eq!(db.state(scheduled).await, State::Scheduled);
}

async fn rule_3_no_debits_no_invoice_and_the_log_says_so(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let order = db.queued("A-1").await;
    let executed = db.disconnect(&[order]).await;
    let [Executed::Completed { outcome: Outcome::Disconnected, final_invoice: None, .. }] = &executed[..] else {
        panic!("{executed:?}")
    };
    assert_eq!(db.count("invoices").await, 0);
    assert_eq!(db.event(order.event_id).await.final_invoice, None);
    let log = db.log("A-1").await;
    assert!(log.iter().any(|e| e.kind == LogKind::NothingToInvoice && e.message == "nothing to invoice"), "{log:?}");
}

async fn rule_5_a_parents_disconnect_touches_no_child(db: &TestDatabase) {
    db.accounts([
        account("P").address("1 Main St").email("p@example.com"),
        account("C").parent("P").address("1 Main St"),
        account("G").parent("C"),
    ])
    .await;
    db.debits([debit("P", "d", "1.00"), debit("C", "d", "2.00")]).await;
    let before = (db.account("C").await, db.account("G").await);
    db.disconnected("P").await;
    assert_eq!((db.account("C").await, db.account("G").await), before);
    assert_eq!(db.logged("C").await, [LogKind::Created, LogKind::FamilyDecided], "but that it was decided about");
    assert_eq!(db.logged("G").await, [LogKind::Created]);
}

async fn rule_9_a_worker_decides_from_the_facts_at_that_moment(db: &TestDatabase) {
    db.accounts([account("A-1").status("Lead")]).await;
    let order = db.queued("A-1").await;
    // After the claim, and before the worker has it:
    db.accounts([account("A-1").address("2 Side St")]).await;
    db.debits([debit("A-1", "later", "33.00")]).await;
    let executed = db.disconnect(&[order]).await;
    let [Executed::Completed { final_invoice: Some(invoice), .. }] = &executed[..] else { panic!("{executed:?}") };
    assert_eq!(invoice.total.minor, 3_300);
    let log = db.log("A-1").await;
    assert!(log.iter().any(|entry| entry.message.contains("2 Side St") && entry.kind == LogKind::AddressReleased));
    assert!(log.iter().any(|entry| entry.message.contains("Active -> Inactive")));
}

async fn rule_9_cancelled_and_already_disconnected_are_outcomes(db: &TestDatabase) {
    use disconnectd::domain::event::Change;
    use disconnectd::domain::retry::{FailedAttempt, Verdict};
    db.accounts(["A-1", "A-2", "A-3"].map(account)).await;
    // its event failed; another one disconnected it; then the failed one was retried.
    let failed = db.queued("A-1").await;
    let failure = FailedAttempt {
        event_id: failed.event_id,
        attempt: failed.attempt,
        failures: 0,
        failures_max: FAILURES_MAX,
        error: "no".into(),
    };
    db.store.record_failures(&[(failure, Verdict::GiveUp)]).await.unwrap();
    db.disconnected("A-1").await;
    let clerk = crate::support::scenario::clerk();
    db.store.change(failed.event_id, &Change::Retry, &clerk, None).await.unwrap();
    let retried = db.claim(10).await;
    assert_eq!(retried.len(), 1);
    // cancelled after its message was sent. A-3: nothing special.
    let (cancelled, plain) = (db.queued("A-2").await, db.queued("A-3").await);
    db.store.change(cancelled.event_id, &Change::CANCEL, &clerk, None).await.unwrap();
    let before = db.account("A-1").await;

    let executed = db.disconnect(&[plain, cancelled, retried[0]]).await;

    let already =
        Executed::Completed { event_id: failed.event_id, outcome: Outcome::AlreadyDisconnected, final_invoice: None };
    assert_eq!(executed[0], already);
    assert_eq!(executed[1], Executed::Stale { event_id: cancelled.event_id });
    assert_eq!(outcome_of(&executed[2]), Some(Outcome::Disconnected));
    assert_eq!(db.account("A-1").await, AccountView { open_event: None, ..before });
    assert_eq!(db.logged("A-1").await.last(), Some(&LogKind::AlreadyDisconnected));
    assert_eq!(db.event(failed.event_id).await.outcome, Some(Outcome::AlreadyDisconnected));
    assert_eq!(db.account("A-2").await.disconnected_at, None);
}

async fn rule_9_no_longer_eligible_is_an_outcome_and_leaves_the_account_alone(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let order = db.queued("A-1").await;
    let decide = |_: &Snapshot, _: &Event| Plan::Apply(vec![Effect::Complete(Outcome::NoLongerEligible)]);
    let executed = db.store.disconnect(&[order], &decide).await.unwrap();
    assert_eq!(outcome_of(&executed[0]), Some(Outcome::NoLongerEligible));
    let event = db.event(order.event_id).await;
    assert_eq!((event.state, event.outcome), (State::Completed, Some(Outcome::NoLongerEligible)));
    assert_eq!(db.account("A-1").await.disconnected_at, None);
}

async fn the_decision_is_given_all_that_is_known_of_the_event(db: &TestDatabase) {
    db.accounts([account("A-1").address("1 Main St").currency("EUR")]).await;
    db.debits([debit("A-1", "d", "10.00").tax("1.00")]).await;
    let order = db.queued("A-1").await;
    let shown = db.event(order.event_id).await;
    let seen = Mutex::new(None);
    let decide = |snapshot: &Snapshot, event: &Event| {
        *seen.lock().unwrap() = Some((snapshot.clone(), event.clone()));
        Plan::Fail("only looking".into())
    };
    db.store.disconnect(&[order], &decide).await.unwrap();
    let (snapshot, event) = seen.into_inner().unwrap().unwrap();
    assert_eq!((event.id, event.attempt), (order.event_id, order.attempt));
    assert_eq!((event.failures, event.failures_max), (0, FAILURES_MAX));
    assert_eq!((event.due_at, event.reason.as_deref()), (shown.due_at, Some("moved away")));
    assert_eq!(event.requested_by, crate::support::scenario::clerk());
    assert!(event.now >= event.due_at);
    assert_eq!((snapshot.number.as_str(), snapshot.currency.code()), ("A-1", "EUR"));
    assert_eq!((snapshot.status.name.as_str(), snapshot.status.activates_account), ("Active", true));
    assert_eq!(snapshot.target.unwrap().name, "Inactive");
    assert_eq!(snapshot.assignment.unwrap().address, "1 Main St");
    assert_eq!((snapshot.debits[0].amount, snapshot.debits[0].tax), (1_000, 100));
}

async fn a_batch_of_hundreds_is_one_call(db: &TestDatabase) {
    let numbers: Vec<_> = (0..300).map(|n| format!("N-{n:03}")).collect();
    db.accounts(numbers.iter().map(|number| account(number).address(&format!("{number} Main St")))).await;
    let debits = numbers.iter().flat_map(|n| [debit(n, "a", "1.00"), debit(n, "b", "2.00").tax("0.25")]);
    db.debits(debits).await;
    for number in &numbers {
        db.due(number).await;
    }
    let mut orders = db.claim(500).await;
    assert_eq!(orders.len(), 300);
    orders.reverse();
    let executed = db.disconnect(&orders).await;
    let invoices: Vec<_> = executed
        .iter()
        .map(|executed| match executed {
            Executed::Completed { outcome: Outcome::Disconnected, final_invoice: Some(invoice), .. } => invoice,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(invoices.iter().all(|invoice| invoice.total.minor == 325));
    let mut distinct: Vec<_> = invoices.iter().map(|invoice| invoice.number).collect();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 300);
    assert_eq!(db.count("invoice_lines").await, 600);
    assert_eq!(db.number("select count(*) from accounts where disconnected_at is null").await, 0);
}

async fn no_orders_are_no_work(db: &TestDatabase) {
    assert_eq!(db.disconnect(&[]).await, []);
    assert_eq!(db.store.record_failures(&[]).await.unwrap(), []);
}
