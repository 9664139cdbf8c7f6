//! Processes that serve: who has the database, how they stop, what their health pages say.

use serde_json::json;

use super::{both_pairs, installed, with_a_family};
use crate::program::Program;
use crate::support::database::{Engine, TestDatabase};

both_pairs!(
    sigterm_finishes_and_exits_with_0,
    the_health_pages_tell_the_truth,
    without_hints_everything_still_happens_at_the_sweep,
    a_database_newer_than_the_program_is_refused,
);

async fn sigterm_finishes_and_exits_with_0(db: &TestDatabase) {
    let program = with_a_family(db).await;
    let served = program.serve(&[]);
    served.until_ready_is(200);
    served.signal("TERM");
    let (code, log) = served.ended();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("stopped"), "{log}");
}

async fn the_health_pages_tell_the_truth(db: &TestDatabase) {
    let program = with_a_family(db).await;
    let served = program.serve(&[]);
    let ready: serde_json::Value = serde_json::from_str(&served.until_ready_is(200)).unwrap();
    assert_eq!((&ready["database"]["state"], &ready["queue"]["state"]), (&json!("up"), &json!("up")));
    assert_eq!(served.ask("/healthz").unwrap().0, 200);

    let (_, before) = served.ask("/metrics").unwrap();
    assert!(before.contains(r#"disconnectd_disconnects_total{outcome="disconnected"} 0"#), "at zero from the start");
    program.run(&["disconnect", "1001", "--yes", "--children", "keep"]).exits(0);
    let (_, after) = served.ask("/metrics").unwrap();
    assert!(after.contains(r#"disconnectd_disconnects_total{outcome="disconnected"} 1"#), "{after}");
}

async fn without_hints_everything_still_happens_at_the_sweep(db: &TestDatabase) {
    let program = with_a_family(db).await.configured("[scheduler]\nhints = false\nsweep = \"* * * * * *\"\n");
    let served = program.serve(&[]);
    served.until_ready_is(200);
    let event = program.json(&["disconnect", "1001", "--yes", "--children", "keep"]);
    assert_eq!(event["outcome"], "disconnected");
}

async fn a_database_newer_than_the_program_is_refused(db: &TestDatabase) {
    let program = installed(db).await;
    db.sql("update _sqlx_migrations set version = version + 9998").await;
    for arguments in [&["serve"][..], &["migrate"], &["accounts", "list"]] {
        let refused = program.run(arguments).exits(1);
        assert!(refused.stderr.contains("newer"), "{refused:#?}");
    }
    db.sql("update _sqlx_migrations set version = version - 9998").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_one_process_serves_and_a_second_says_who_has_it() {
    TestDatabase::run_on_empty(Engine::Sqlite, async |db: &TestDatabase| {
        let program = with_a_family(db).await;
        let served = program.serve(&[]);
        served.until_ready_is(200);
        // Commands work beside it.
        program.run(&["disconnect", "1001", "--yes", "--children", "keep"]).exits(0);
        let second = program.run(&["serve"]).exits(1);
        assert!(second.stderr.contains("serve"), "{second:#?}");
        assert!(second.stderr.contains("pid"), "{second:#?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_what_was_queued_when_the_last_process_died_is_done_by_the_next() {
    TestDatabase::run_on_empty(Engine::Sqlite, async |db: &TestDatabase| {
        let program = with_a_family(db).await;
        let event = program.json(&["schedule", "1001", "--on", "2020-01-01", "--late", "--yes", "--children", "keep"])
            ["id"]
            .to_string();
        db.sql("update disconnect_events set state = 'queued', attempt = 1, next_at = '2099-01-01T00:00:00.000000Z'")
            .await;
        let _served = program.serve(&[]);
        crate::support::wait_until(crate::program::DEADLINE, "the event is rescued", async || {
            program.json(&["events", "show", &event])["state"] == "completed"
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_usage_error_exits_with_2() {
    TestDatabase::run_on_empty(Engine::Sqlite, async |db: &TestDatabase| {
        let program = installed(db).await;
        program.run(&["serve", "--roles", "worker"]).exits(2);
        program.run(&["serve", "--roles", "cook"]).exits(2);
        program.run(&["frobnicate"]).exits(2);
        let pair = Program::new(db.folder(), db.url(), "amqp://127.0.0.1").run(&["accounts", "list"]).exits(2);
        assert!(pair.stderr.contains("`memory:` only"), "{pair:#?}");
    })
    .await;
}
