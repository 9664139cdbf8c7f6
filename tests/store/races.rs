//! Many at once: whatever the order of things, the rules hold. Each test has many rounds, since one proves little.

use std::sync::Arc;
use std::time::Duration;

use disconnectd::domain::dispositions::{Choice, Dispositions};
use disconnectd::domain::event::{Change, Order, Outcome, State};
use disconnectd::domain::refusal::Refusal;
use disconnectd::domain::request::DisconnectRequest;
use disconnectd::domain::retry::{FailedAttempt, Verdict};
use disconnectd::store::{Executed, Requested, Store, StoreError};
use futures_util::future::join_all;

use crate::support::both_engines;
use crate::support::database::TestDatabase;
use crate::support::rows::{account, debit, file, number};
use crate::support::scenario::{clerk, disconnect, import_options, outcome_of, request};

both_engines!(
    rule_2_an_order_delivered_to_many_workers_runs_once,
    rule_3_a_debit_that_arrives_during_a_disconnect_is_invoiced_or_refused,
    rule_3_a_debit_written_by_sql_during_a_disconnect_is_invoiced_or_refused,
    rule_6_many_requests_at_once_make_one_event,
    two_links_at_once_never_make_a_cycle,
    a_cancel_against_a_worker_has_a_definite_answer,
    a_link_against_the_parents_disconnect_is_made_before_it_or_refused,
    batches_that_share_accounts_in_opposite_orders_all_end,
    failures_are_written_while_their_events_are_changed,
    children_are_unlinked_while_their_families_are_disconnected,
    rule_5_a_family_that_changes_during_its_confirmation_is_decided_about_or_asks,
);

/// As the callers of a store do: what is busy is tried again at once. A macro, because a future over an async closure
/// can't be sent to another thread yet.
macro_rules! again_while_busy {
    ($verb:expr) => {{
        let mut tries = 0;
        loop {
            match $verb.await {
                // A database breaks a deadlock, so that all end; but who locks in one order never comes into one.
                Err(StoreError::Conflict(error)) if error.contains("deadlock") => panic!("{error}"),
                Err(StoreError::Conflict(error)) if tries == 100 => panic!("busy for a hundred times: {error}"),
                Err(StoreError::Conflict(_)) => tries += 1,
                answer => break answer,
            }
        }
    }};
}

pub(crate) use again_while_busy;

async fn work(store: Arc<dyn Store>, orders: Vec<Order>) -> Vec<Executed> {
    again_while_busy!(disconnect(&*store, &orders)).unwrap()
}

/// Two handles, as two processes have them.
async fn handles(db: &TestDatabase) -> [Arc<dyn Store>; 2] {
    [db.open().await, db.open().await]
}

async fn rule_2_an_order_delivered_to_many_workers_runs_once(db: &TestDatabase) {
    let stores = handles(db).await;
    let numbers: Vec<_> = (0..20).map(|n| format!("N-{n:02}")).collect();
    db.accounts(numbers.iter().map(|n| account(n).address("1 Main St"))).await;
    db.debits(numbers.iter().map(|n| debit(n, "d", "1.00"))).await;
    for number in &numbers {
        db.due(number).await;
    }
    let orders = db.claim(100).await;
    let workers = (0..6).map(|n: usize| {
        let mut orders = orders.clone();
        orders.rotate_left(n * 3);
        tokio::spawn(work(Arc::clone(&stores[n % 2]), orders))
    });
    let mut done = 0;
    for worker in join_all(workers).await {
        done += worker.unwrap().iter().filter(|one| outcome_of(one) == Some(Outcome::Disconnected)).count();
    }
    assert_eq!(done, numbers.len());
    assert_eq!(db.count("invoices").await, 20);
}

async fn rule_3_a_debit_that_arrives_during_a_disconnect_is_invoiced_or_refused(db: &TestDatabase) {
    let stores = handles(db).await;
    let (mut taken, mut refused) = (0, 0);
    for round in 0..40 {
        let name = format!("N-{round}");
        db.accounts([account(&name), account(&format!("{name}-other"))]).await;
        let order = db.queued(&name).await;
        let worker = tokio::spawn(work(Arc::clone(&stores[0]), vec![order]));
        let store = Arc::clone(&stores[1]);
        let debits = tokio::spawn(async move {
            let mut taken = 0;
            for n in 0..4 {
                let row = debit(&name, &format!("d-{n}"), "1.00");
                let report =
                    again_while_busy!(store.import_debits(file([row.clone()]), import_options(false))).unwrap();
                assert_eq!(report.applied, report.problems.is_empty());
                taken += i64::from(report.applied);
            }
            taken
        });
        let (worker, this_round) = (worker.await.unwrap(), debits.await.unwrap());
        assert_eq!(outcome_of(&worker[0]), Some(Outcome::Disconnected));
        let invoiced = match &worker[0] {
            Executed::Completed { final_invoice: Some(invoice), .. } => invoice.total.minor / 100,
            _ => 0,
        };
        assert_eq!(invoiced, this_round, "round {round}: a debit was taken and is on no invoice");
        taken += this_round;
        refused += 4 - this_round;
    }
    assert_eq!(db.count("debits").await, taken);
    assert_eq!(db.number("select count(*) from debits where invoice_id is null").await, 0);
    assert!(refused > 0, "{taken} taken, {refused} refused: they never met");
}

async fn rule_3_a_debit_written_by_sql_during_a_disconnect_is_invoiced_or_refused(db: &TestDatabase) {
    let store = db.open().await;
    for round in 0..40 {
        let name = format!("N-{round}");
        db.accounts([account(&name)]).await;
        let order = db.queued(&name).await;
        let worker = tokio::spawn(work(Arc::clone(&store), vec![order]));
        for n in 0..4 {
            let insert = format!(
                "insert into debits (account_id, reference, description, amount, tax, charged_on) \
                 select id, 'd-{n}', 'x', 100, 0, '2026-11-01' from accounts where number = '{name}'"
            );
            if let Err(refused) = db.try_sql(&insert).await {
                assert!(refused.contains("is disconnected") || refused.contains("locked"), "{refused}");
            }
        }
        worker.await.unwrap();
    }
    assert_eq!(db.number("select count(*) from debits where invoice_id is null").await, 0);
}

async fn rule_6_many_requests_at_once_make_one_event(db: &TestDatabase) {
    let stores = handles(db).await;
    for round in 0..10 {
        let name = format!("N-{round}");
        db.accounts([account(&name)]).await;
        let requests = (0..6).map(|n: usize| {
            let (store, name) = (Arc::clone(&stores[n % 2]), name.clone());
            let when = if n.is_multiple_of(3) { "2126-12-01" } else { "now" };
            tokio::spawn(async move { again_while_busy!(store.request(&request(&name, when))) })
        });
        let mut created = 0;
        for answer in join_all(requests).await {
            match answer.unwrap() {
                Ok(Requested::Created(_)) => created += 1,
                Ok(Requested::BroughtForward(_) | Requested::UnderWay(_))
                | Err(StoreError::Refused(Refusal::OpenEvent { .. })) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(created, 1);
    }
    assert_eq!(db.count("disconnect_events").await, 10);
}

async fn two_links_at_once_never_make_a_cycle(db: &TestDatabase) {
    let stores = handles(db).await;
    for round in 0..30 {
        let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| format!("{name}-{round}"));
        // a has c below it, and b has d.
        db.accounts([account(&a), account(&b), account(&c).parent(&a), account(&d).parent(&b)]).await;
        // Even rounds: the same two accounts. Odd ones: a cycle over all four, though the links have none in common.
        let links = if round % 2 == 0 { [(&a, &b), (&b, &a)] } else { [(&a, &d), (&b, &c)] };
        let links = links.into_iter().zip(&stores).map(|((child, parent), store)| {
            let (child, parent, store) = (number(child), number(parent), Arc::clone(store));
            tokio::spawn(async move { again_while_busy!(store.link(&child, &parent, &clerk())) })
        });
        let mut linked = 0;
        for answer in join_all(links).await {
            match answer.unwrap() {
                Ok(_) => linked += 1,
                Err(StoreError::Refused(Refusal::LinkCycle { .. })) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(linked, 1, "round {round}: all but the one that would close the ring");
    }
}

async fn a_cancel_against_a_worker_has_a_definite_answer(db: &TestDatabase) {
    let stores = handles(db).await;
    for round in 0..30 {
        let name = format!("N-{round}");
        db.accounts([account(&name)]).await;
        let order = db.queued(&name).await;
        let worker = tokio::spawn(work(Arc::clone(&stores[0]), vec![order]));
        let store = Arc::clone(&stores[1]);
        let cancelled = again_while_busy!(store.change(order.event_id, &Change::CANCEL, &clerk(), None));
        let executed = worker.await.unwrap();
        let account = db.account(&name).await;
        match cancelled {
            Ok(event) => {
                assert_eq!(event.state, State::Cancelled);
                assert_eq!(executed, [Executed::Stale { event_id: order.event_id }]);
                assert_eq!(account.disconnected_at, None);
            }
            Err(StoreError::Refused(Refusal::EventEnded { outcome: Some(Outcome::Disconnected), .. })) => {
                assert_eq!(outcome_of(&executed[0]), Some(Outcome::Disconnected));
                assert!(account.disconnected_at.is_some());
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn a_link_against_the_parents_disconnect_is_made_before_it_or_refused(db: &TestDatabase) {
    let stores = handles(db).await;
    for round in 0..20 {
        let (parent, child) = (format!("P-{round}"), format!("C-{round}"));
        db.accounts([account(&parent), account(&child)]).await;
        let order = db.queued(&parent).await;
        let worker = tokio::spawn(work(Arc::clone(&stores[0]), vec![order]));
        let linked = again_while_busy!(stores[1].link(&number(&child), &number(&parent), &clerk()));
        assert_eq!(outcome_of(&worker.await.unwrap()[0]), Some(Outcome::Disconnected));
        match linked {
            Ok(_) => {
                let linked_at = db.log(&child).await.pop().unwrap().at;
                assert!(linked_at <= db.account(&parent).await.disconnected_at.unwrap());
            }
            Err(StoreError::Refused(Refusal::Disconnected { account, .. })) => assert_eq!(account, number(&parent)),
            Err(other) => panic!("{other:?}"),
        }
    }
}

async fn batches_that_share_accounts_in_opposite_orders_all_end(db: &TestDatabase) {
    let stores = handles(db).await;
    let numbers: Vec<_> = (0..60).map(|n| format!("N-{n:02}")).collect();
    db.accounts(numbers.iter().map(|n| account(n))).await;
    for number in &numbers {
        db.due(number).await;
    }
    let forward = db.claim(100).await;
    let mut backward = forward.clone();
    backward.reverse();
    // Debits for the same accounts, in a third order, and links between them.
    let rows: Vec<_> = numbers.iter().rev().step_by(2).map(|n| debit(n, "d", "1.00")).collect();
    let debits = async {
        again_while_busy!(stores[1].import_debits(file(rows.clone()), import_options(false))).unwrap();
    };
    let links = async {
        for pair in numbers.chunks(2) {
            let (child, parent) = (number(&pair[1]), number(&pair[0]));
            let _ = again_while_busy!(stores[0].link(&child, &parent, &clerk()));
        }
    };
    let workers =
        [tokio::spawn(work(Arc::clone(&stores[0]), forward)), tokio::spawn(work(Arc::clone(&stores[1]), backward))];
    let (workers, (), ()) = tokio::join!(join_all(workers), debits, links);
    let done: usize =
        workers.into_iter().map(|worker| worker.unwrap().iter().filter(|one| outcome_of(one).is_some()).count()).sum();
    assert_eq!(done, numbers.len());
}

async fn failures_are_written_while_their_events_are_changed(db: &TestDatabase) {
    let stores = handles(db).await;
    let numbers: Vec<_> = (0..40).map(|n| format!("N-{n:02}")).collect();
    db.accounts(numbers.iter().map(|n| account(n))).await;
    for _ in 0..3 {
        for number in &numbers {
            db.due(number).await;
        }
        let orders = db.claim(100).await;
        let failed = |order: &Order| FailedAttempt {
            event_id: order.event_id,
            attempt: order.attempt,
            failures: 0,
            failures_max: 3,
            error: "it broke".into(),
        };
        let (first, last) = orders.split_at(20);
        let failures: Vec<_> = first.iter().map(|order| (failed(order), Verdict::RetryAfter(Duration::ZERO))).collect();
        let recorded = async { again_while_busy!(stores[0].record_failures(&failures)).unwrap() };
        let suspected = async {
            for order in last {
                again_while_busy!(stores[0].record_suspect(order.event_id, "it broke")).unwrap();
            }
        };
        let cancels = join_all(orders.iter().rev().map(|order| {
            let (store, event) = (Arc::clone(&stores[1]), order.event_id);
            tokio::spawn(async move { again_while_busy!(store.change(event, &Change::CANCEL, &clerk(), None)) })
        }));
        let (_, (), cancels) = tokio::join!(recorded, suspected, cancels);
        for cancelled in cancels {
            assert_eq!(cancelled.unwrap().unwrap().state, State::Cancelled);
        }
    }
}

async fn children_are_unlinked_while_their_families_are_disconnected(db: &TestDatabase) {
    let stores = handles(db).await;
    for round in 0..4 {
        let parents: Vec<_> = (0..12).map(|n| format!("P-{round}-{n}")).collect();
        let children: Vec<_> = (0..12).map(|n| format!("C-{round}-{n}")).collect();
        db.accounts(parents.iter().map(|n| account(n))).await;
        let rows = children.iter().zip(&parents);
        db.accounts(rows.map(|(child, parent)| account(child).parent(parent).email("c@example.com"))).await;
        for number in parents.iter().chain(&children) {
            db.due(number).await;
        }
        let orders = db.claim(100).await;
        let worker = tokio::spawn(work(Arc::clone(&stores[0]), orders));
        let store = Arc::clone(&stores[1]);
        let unlinks = async {
            for child in children.iter().rev() {
                match again_while_busy!(store.unlink(&number(child), &clerk())) {
                    Ok(_) | Err(StoreError::Refused(Refusal::Disconnected { .. })) => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
        };
        let (executed, ()) = tokio::join!(worker, unlinks);
        assert!(executed.unwrap().iter().all(|one| outcome_of(one) == Some(Outcome::Disconnected)));
    }
}

/// Whoever comes during the confirmation is decided about with it, or asked about from then on; nobody slips between.
async fn rule_5_a_family_that_changes_during_its_confirmation_is_decided_about_or_asks(db: &TestDatabase) {
    let stores = handles(db).await;
    let (mut before, mut after) = (0, 0);
    for round in 0..30 {
        let [parent, child, comes, goes] = ["P", "C", "N", "G"].map(|name| format!("{name}-{round}"));
        let with_email = |number: &str| account(number).email("x@example.com");
        db.accounts([
            with_email(&parent),
            with_email(&child).parent(&parent),
            with_email(&goes).parent(&parent),
            with_email(&comes),
        ])
        .await;
        // Now and then one is certainly first; else they race.
        if round % 10 == 0 {
            stores[1].link(&number(&comes), &number(&parent), &clerk()).await.unwrap();
        }
        let mut asks = {
            let (store, parent) = (Arc::clone(&stores[0]), parent.clone());
            tokio::spawn(async move {
                let asked = DisconnectRequest {
                    children: Dispositions::all(Choice::Disconnect { on: None }),
                    ..request(&parent, "2126-12-01")
                };
                again_while_busy!(store.request(&asked))
            })
        };
        let answered = if round % 10 == 5 { Some((&mut asks).await) } else { None };
        let links = {
            let (store, parent, comes) = (Arc::clone(&stores[1]), number(&parent), number(&comes));
            tokio::spawn(async move { again_while_busy!(store.link(&comes, &parent, &clerk())) })
        };
        let unlinks = {
            let (store, goes) = (Arc::clone(&stores[0]), number(&goes));
            tokio::spawn(async move { again_while_busy!(store.unlink(&goes, &clerk())) })
        };
        let answered = match answered {
            Some(answered) => answered,
            None => asks.await,
        };
        let Requested::Created(event) = answered.unwrap().unwrap() else { panic!("it is new") };
        links.await.unwrap().unwrap();
        unlinks.await.unwrap().unwrap();
        let view = db.event(event).await;
        let is_decided = |number: &str| view.children.iter().any(|child| child.number.as_str() == number);
        let asked = |number: &str| view.to_decide.iter().filter(|asked| asked.contains(number)).count();
        assert!(is_decided(&child));
        assert_eq!(asked(&comes), usize::from(!is_decided(&comes)), "{view:?}");
        assert_eq!(asked(&goes), usize::from(is_decided(&goes)), "{view:?}");
        before += usize::from(is_decided(&comes));
        after += usize::from(!is_decided(&comes));
    }
    assert!(before > 0 && after > 0, "they never met: {before} came before the confirmation, {after} after it");
}
