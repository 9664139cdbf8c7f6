//! Changes of plan against workers that are at it: every answer agrees with what happened, whoever came first.

use std::sync::Arc;
use std::time::Duration;

use disconnectd::domain::calendar::When;
use disconnectd::domain::event::{Change, EventId, EventView, Outcome, State};
use disconnectd::domain::refusal::Refusal;
use disconnectd::store::{Store, StoreError, StoreResult};
use futures_util::future::join_all;

use super::{both_pairs, installed};
use crate::program::{DEADLINE, Served};
use crate::support::database::{Engine, TestDatabase};
use crate::support::rows::{account, debit};
use crate::support::scenario::clerk;
use crate::support::wait_until;

both_pairs!(changes_against_running_workers_are_answered_as_it_happened);

const EVENTS: i64 = 1_200;

/// How many ask at the same time. They begin at different places, so that they meet the workers everywhere.
const ASKERS: i64 = 4;

async fn changes_against_running_workers_are_answered_as_it_happened(db: &TestDatabase) {
    let program = installed(db).await.configured("[worker]\nbatch_max = 8\n");
    let number = |n: i64| format!("A-{n}");
    db.accounts((0..EVENTS).map(|n| account(&number(n)).address(&format!("{n} Elm Street")))).await;
    db.debits((0..EVENTS).map(|n| debit(&number(n), "november", "12.34"))).await;
    let now = db.instant(0);
    db.sql(&format!(
        "insert into disconnect_events (account_id, state, due_at, next_at, failures_max, requested_by, requested_from)
         select id, 'scheduled', {now}, {now}, 8, 'test', 'cli' from accounts order by id"
    ))
    .await;
    let first = db.number("select min(id) from disconnect_events").await;

    let processes: &[&str] = match db.engine() {
        Engine::Postgres => &["scheduler", "scheduler", "worker", "worker", "worker"],
        Engine::Sqlite => &["scheduler,worker"],
    };
    let processes: Vec<Served> = processes.iter().map(|role| program.serve(&["--roles", role])).collect();
    let done = async || db.number("select count(*) from disconnect_events where state = 'completed'").await;
    wait_until(DEADLINE, "the workers are at it", async || done().await > 0).await;

    let askers = (0..ASKERS).map(|asker| {
        let store = Arc::clone(&db.store);
        tokio::spawn(async move {
            let mut answers = Vec::new();
            for n in 0..EVENTS / ASKERS {
                // From the end: those that are done next come last.
                let event = EventId(first + EVENTS - 1 - n * ASKERS - asker);
                let cancels = n % 2 == 0;
                answers.push((event, cancels, ask(&*store, event, cancels).await));
            }
            answers
        })
    });
    let answers: Vec<_> = join_all(askers).await.into_iter().flat_map(Result::unwrap).collect();
    let open = "select count(*) from disconnect_events where state in ('scheduled', 'queued') and due_at <= ";
    let open = format!("{open}{}", db.instant(3_600));
    wait_until(DEADLINE, "all that is due has ended", async || db.number(&open).await == 0).await;

    assert_eq!(answers.len(), usize::try_from(EVENTS).unwrap());
    let (mut cancelled, mut rescheduled, mut too_late) = (0, 0, 0);
    for (event, cancels, answer) in answers {
        let view = db.event(event).await;
        match answer {
            Ok(answered) if cancels => {
                assert_eq!((answered.state, view.state), (State::Cancelled, State::Cancelled), "{event}");
                cancelled += 1;
            }
            Ok(answered) => {
                assert_eq!((answered.state, view.state), (State::Scheduled, State::Scheduled), "{event}");
                assert_eq!(view.due_at, answered.due_at);
                rescheduled += 1;
            }
            Err(StoreError::Refused(Refusal::EventEnded { outcome, ended_at, .. })) => {
                assert_eq!((view.state, view.outcome), (State::Completed, Some(Outcome::Disconnected)), "{event}");
                assert_eq!((outcome, ended_at), (view.outcome, view.ended_at), "{event}");
                too_late += 1;
            }
            Err(other) => panic!("{event}: {other:?}"),
        }
    }
    let disagree = "select count(*) from disconnect_events e join accounts a on a.id = e.account_id
                     where (e.state = 'completed') <> (a.disconnected_at is not null)";
    assert_eq!(db.number(disagree).await, 0, "an account is disconnected where its event says so, and nowhere else");
    let told = format!("{cancelled} cancelled, {rescheduled} rescheduled, {too_late} too late");
    eprintln!("{told}");
    assert!(cancelled > 0 && rescheduled > 0 && too_late > 0, "they never met: {told}");
    for process in processes {
        process.signal("TERM");
        assert_eq!(process.ended().0, Some(0));
    }
}

/// What is busy is tried again, as callers of a store do.
async fn ask(store: &dyn Store, event: EventId, cancels: bool) -> StoreResult<EventView> {
    let when = When::parse("2126-12-01").unwrap();
    let later = Change::Reschedule { when, zone: None, late: false, children: None };
    let change = if cancels { Change::CANCEL } else { later };
    loop {
        match store.change(event, &change, &clerk(), None).await {
            Err(StoreError::Conflict(_)) => tokio::time::sleep(Duration::from_millis(1)).await,
            answer => return answer,
        }
    }
}
