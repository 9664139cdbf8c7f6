//! Writes that are sent again: one effect, and the same answer.

use std::thread;

use disconnectd::domain::token::Role;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::{get, later};
use crate::behaviour::{both_pairs, with_a_family};
use crate::http::{Answer, Request};
use crate::program::{DEADLINE, Served};
use crate::support::database::{Engine, TestDatabase};
use crate::support::wait_until;

both_pairs!(
    the_same_key_and_call_get_the_same_answer,
    the_same_key_for_another_call_is_refused,
    of_many_at_once_one_is_done,
);

const DISCONNECT: &str = "/api/v1/accounts/1001/disconnect";

fn with_key(served: &Served, path: &str, key: &str, body: &Value) -> Request {
    served.request("POST", path).header("Idempotency-Key", key).json(body)
}

fn replayed(answer: &Answer) -> bool {
    answer.header("idempotency-replayed") == Some("true")
}

async fn the_same_key_and_call_get_the_same_answer(db: &TestDatabase) {
    let served = with_a_family(db).await.serve(&[]);
    served.until_ready_is(200);
    let first = with_key(&served, DISCONNECT, "one", &later()).answer().is(201);
    assert!(!replayed(&first));
    let again = with_key(&served, DISCONNECT, "one", &later()).answer().is(201);
    assert!(replayed(&again), "{again:?}");
    for name in ["location", "content-type"] {
        assert_eq!(again.header(name), first.header(name));
    }
    assert_eq!(again.text(), first.text());
    assert_ne!(again.header("x-request-id"), first.header("x-request-id"), "it is another request all the same");
    assert_eq!(db.count("disconnect_events").await, 1);

    // What a rule refuses is an answer as well, and stays what it was.
    let refused = with_key(&served, DISCONNECT, "two", &later()).answer().is(409);
    let event = get(&served, "/api/v1/events")["items"][0]["id"].clone();
    super::post(&served, &format!("/api/v1/events/{event}/cancel"), &Value::Null).is(200);
    let again = with_key(&served, DISCONNECT, "two", &later()).answer().is(409);
    assert_eq!((replayed(&again), again.text()), (true, refused.text()));
    assert_eq!(db.count("disconnect_events").await, 1);
}

async fn the_same_key_for_another_call_is_refused(db: &TestDatabase) {
    let served = with_a_family(db).await.serve(&[]);
    served.until_ready_is(200);
    with_key(&served, "/api/v1/statuses", "one", &json!({ "name": "On hold" })).answer().is(201);
    for (path, body) in [
        ("/api/v1/statuses", json!({ "name": "Seasonal" })),
        ("/api/v1/statuses?", json!({ "name": "On hold" })),
        ("/api/v1/tokens/1/x", json!({ "name": "On hold" })),
    ] {
        let other = with_key(&served, path, "one", &body).answer();
        if other.status == 422 {
            other.problem(422, "idempotency_key_reused");
        } else {
            // An empty query is none; and where there is nothing, there is no key.
            assert!(replayed(&other) || other.status == 404, "{path}: {other:?}");
        }
    }
    assert_eq!(db.number("select count(*) from account_statuses where name = 'Seasonal'").await, 0);

    db.known_token("other", Role::Admin, "other").await;
    let others = served.bare_request("POST", "/api/v1/statuses").token("other").header("Idempotency-Key", "one");
    others.json(&json!({ "name": "Seasonal" })).answer().is(201);

    for bad in ["", "a b", &"x".repeat(256)] {
        with_key(&served, "/api/v1/statuses", bad, &json!({ "name": "Gone" })).answer().problem(422, "invalid");
    }
    let secret = with_key(&served, "/api/v1/tokens", "three", &json!({ "name": "ada", "role": "viewer" }));
    secret.answer().problem(422, "idempotency_key_not_taken");
    assert_eq!(db.number("select count(*) from tokens where name = 'ada'").await, 0);
}

async fn of_many_at_once_one_is_done(db: &TestDatabase) {
    const CALLS: usize = 8;
    let served = with_a_family(db).await.serve(&[]);
    served.until_ready_is(200);
    let answers: Vec<Answer> = thread::scope(|scope| {
        let calls: Vec<_> =
            (0..CALLS).map(|_| scope.spawn(|| with_key(&served, DISCONNECT, "one", &later()).answer())).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    let first = answers.iter().find(|answer| answer.status == 201 && !replayed(answer)).expect("one was done").text();
    for answer in answers {
        if answer.status == 201 {
            assert_eq!(answer.text(), first);
        } else {
            assert!(answer.header("retry-after").is_some(), "{answer:?}");
            answer.problem(409, "idempotency_key_in_use");
        }
    }
    assert_eq!(db.count("disconnect_events").await, 1);
}

/// A call that failed for no reason of its own keeps no answer: the key is free for the next.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_5xx_the_key_is_free() {
    TestDatabase::run_on_empty(Engine::Postgres, async |db: &TestDatabase| {
        let served = with_a_family(db).await.serve(&[]);
        served.until_ready_is(200);
        let mut lock = locked(db).await;
        // It waits for the account until PostgreSQL gives up.
        with_key(&served, DISCONNECT, "one", &later()).answer().problem(503, "database_busy");
        sqlx::raw_sql("rollback").execute(&mut lock).await.unwrap();
        let done = with_key(&served, DISCONNECT, "one", &later()).answer().is(201);
        assert!(!replayed(&done), "{done:?}");
        assert_eq!(db.count("disconnect_events").await, 1);
    })
    .await;
}

/// A client that hangs up has asked all the same: its write is done, and its answer kept.
#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_finds_the_answer_later() {
    TestDatabase::run_on_empty(Engine::Postgres, async |db: &TestDatabase| {
        let served = with_a_family(db).await.serve(&[]);
        served.until_ready_is(200);
        let mut lock = locked(db).await;
        let hung_up = with_key(&served, DISCONNECT, "one", &later()).sent().unwrap();
        let waiting = "select count(*) from pg_stat_activity
                        where datname = current_database() and wait_event_type = 'Lock'";
        wait_until(DEADLINE, "the call waits for the account", async || db.number(waiting).await > 0).await;
        drop(hung_up);
        with_key(&served, DISCONNECT, "one", &later()).answer().problem(409, "idempotency_key_in_use");
        sqlx::raw_sql("rollback").execute(&mut lock).await.unwrap();

        let mut answer = None;
        wait_until(DEADLINE, "its answer is kept", async || {
            answer = Some(with_key(&served, DISCONNECT, "one", &later()).answer());
            answer.as_ref().is_some_and(|answer| answer.status == 201)
        })
        .await;
        assert!(answer.is_some_and(|answer| replayed(&answer)));
        assert_eq!(db.count("disconnect_events").await, 1);
    })
    .await;
}

async fn locked(db: &TestDatabase) -> PgConnection {
    let mut lock = PgConnection::connect(&db.url()).await.unwrap();
    sqlx::raw_sql("begin; select from accounts for update").execute(&mut lock).await.unwrap();
    lock
}
