//! The billing clerk's day: see, decide, disconnect, change one's mind.

use serde_json::{Value, json};

use super::{both_pairs, with_a_family};
use crate::support::database::{Engine, TestDatabase};

both_pairs!(
    one_account_from_overview_to_final_invoice,
    a_disconnect_at_a_date_happens_then_and_not_before,
    a_change_of_mind_is_answered_definitely,
    a_failed_event_says_why_and_a_retry_brings_it_back,
);

/// PostgreSQL leaves events to those who serve; on SQLite the command runs its own.
fn served_where_needed(db: &TestDatabase, program: &crate::program::Program) -> Option<crate::program::Served> {
    (db.engine() == Engine::Postgres).then(|| program.serve(&[]))
}

async fn one_account_from_overview_to_final_invoice(db: &TestDatabase) {
    let program = with_a_family(db).await;
    let overview = program.json(&["overview", "1001"]);
    assert_eq!(overview["account"]["number"], "1001");
    assert_eq!(overview["status_now"], "Active");
    assert_eq!(overview["status_after"], "Inactive");
    assert_eq!(overview["address_to_release"], "12 Elm Street");
    assert_eq!(overview["final_invoice"]["lines"].as_array().map(Vec::len), Some(2));
    assert_eq!(overview["final_invoice"]["total"], json!({"amount": "140.62", "currency": "USD"}));
    assert_eq!(overview["children"][0]["number"], "1002");
    assert_eq!(overview["blockers"], json!([]));

    let refused = program.run(&["disconnect", "1001", "--children", "keep"]).exits(3);
    assert!(refused.stderr.contains("--yes"), "{refused:#?}");
    assert_eq!(program.json(&["events", "list"])["items"], json!([]), "asking is not doing");

    let _served = served_where_needed(db, &program);
    let event = program.json(&["disconnect", "1001", "--reason", "moved away", "--yes", "--children", "keep"]);
    assert_eq!((&event["state"], &event["outcome"]), (&json!("completed"), &json!("disconnected")));
    assert_eq!(event["account_number"], "1001");
    assert_eq!(event["attempt"], 1);
    assert_eq!(event["campaign_id"], Value::Null);
    assert_eq!(event["final_invoice"]["total"]["amount"], "140.62");

    let account = program.json(&["accounts", "show", "1001"]);
    assert_eq!((&account["status"], &account["address"]), (&json!("Inactive"), &Value::Null));
    assert!(account["disconnected_at"].is_string());
    let child = program.json(&["accounts", "show", "1002"]);
    assert_eq!((&child["status"], &child["parent_number"]), (&json!("Active"), &json!("1001")), "rule 5");
    assert_eq!(child["disconnected_at"], Value::Null, "rule 5");

    let invoices = program.json(&["invoices", "list", "--account", "1001"]);
    let number = invoices["items"][0]["number"].to_string();
    let invoice = program.json(&["invoices", "show", &number]);
    assert_eq!(invoice["kind"], "final");
    assert_eq!(invoice["lines"][1]["description"], "Router not returned");
    assert_eq!(invoice["total"]["amount"], "140.62");

    let log = program.json(&["log", "1001"]);
    let kinds: Vec<&str> = log["items"].as_array().unwrap().iter().filter_map(|entry| entry["kind"].as_str()).collect();
    assert_eq!(kinds, ["created", "scheduled", "family_decided", "final_invoice", "address_released", "disconnected"]);
    assert_eq!(log["items"][5]["reason"], "moved away");

    let again = program.run(&["disconnect", "1001", "--yes", "--children", "keep"]).exits(0);
    assert!(again.stdout.contains("disconnected already"), "it says that it was done before: {again:#?}");
    for verb in [
        &["disconnect", "1001", "--yes", "--children", "keep"][..],
        &["schedule", "1001", "--on", "2099-01-01", "--yes", "--children", "keep"],
    ] {
        let mut again = program.json(verb);
        assert_eq!(again["outcome"], "already_disconnected");
        assert_eq!(again["disconnected_at"], account["disconnected_at"]);
        // Else it is the event that did it, in all its fields.
        again["outcome"] = "disconnected".into();
        again.as_object_mut().unwrap().remove("disconnected_at");
        assert_eq!(again, event);
    }
    assert_eq!(program.json(&["invoices", "list", "--account", "1001"])["items"].as_array().map(Vec::len), Some(1));

    let nothing = program.json(&["disconnect", "1003", "--yes"]);
    assert_eq!(nothing["final_invoice"], Value::Null);
    let log = program.run(&["log", "1003"]).exits(0);
    assert!(log.stdout.contains("nothing to invoice"), "{log:#?}");
}

async fn a_disconnect_at_a_date_happens_then_and_not_before(db: &TestDatabase) {
    let program = with_a_family(db).await;
    let due = (db.store.now().await.unwrap() + chrono::TimeDelta::seconds(3)).to_rfc3339();
    let told = program.run(&["schedule", "1001", "--on", &due, "--yes", "--children", "keep"]).exits(0);
    assert!(told.stderr.contains("serv"), "nobody serves, and it says so: {told:#?}");
    let event = program.json(&["events", "list"])["items"][0].clone();
    assert_eq!(event["state"], "scheduled");

    let _served = program.serve(&[]);
    let id = event["id"].to_string();
    crate::support::wait_until(crate::program::DEADLINE, "the event ends", async || {
        program.json(&["events", "show", &id])["state"] == "completed"
    })
    .await;
    let instant = |value: &Value| value.as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    let account = program.json(&["accounts", "show", "1001"]);
    assert!(instant(&account["disconnected_at"]) >= instant(&event["due_at"]), "not before its time");
}

async fn a_change_of_mind_is_answered_definitely(db: &TestDatabase) {
    let program = with_a_family(db).await;
    let event = program.json(&[
        "schedule",
        "1001",
        "--on",
        "2099-12-01",
        "--zone",
        "Europe/Berlin",
        "--yes",
        "--children",
        "keep",
    ]);
    let id = event["id"].to_string();
    assert_eq!(event["due_at"].as_str().map(|at| &at[..16]), Some("2099-11-30T23:00"));
    assert_eq!((&event["planned_for"], &event["zone"]), (&json!("2099-12-01"), &json!("Europe/Berlin")));

    let second = program.run(&["schedule", "1001", "--on", "2099-12-02", "--yes", "--children", "keep"]).exits(3);
    assert!(second.stderr.contains(&format!("event {id}")), "rule 6 names the one that is there: {second:#?}");

    let moved = program.json(&["events", "reschedule", &id, "--on", "2100-01-31T09:00"]);
    assert_eq!(moved["due_at"].as_str().map(|at| &at[..16]), Some("2100-01-31T14:00"), "the account's zone");
    assert_eq!(program.json(&["events", "cancel", &id])["state"], "cancelled");
    let too_late = program.run(&["events", "cancel", &id]).exits(3);
    assert!(too_late.stderr.contains("cancelled at"), "{too_late:#?}");

    let past = program.run(&["schedule", "1001", "--on", "2020-01-01", "--yes", "--children", "keep"]).exits(3);
    assert!(past.stderr.contains("--late"), "{past:#?}");
    let planned = program.json(&["schedule", "1001", "--on", "2099-12-01", "--yes", "--children", "keep"]);
    let _served = served_where_needed(db, &program);
    let now = program.json(&["disconnect", "1001", "--yes", "--children", "keep"]);
    assert_eq!(now["id"], planned["id"], "rule 6: now brings the open event forward");
    assert_eq!(now["outcome"], "disconnected");
    let ended = program.run(&["events", "cancel", &now["id"].to_string()]).exits(3);
    assert!(ended.stderr.contains("was disconnected by it at"), "{ended:#?}");
}

async fn a_failed_event_says_why_and_a_retry_brings_it_back(db: &TestDatabase) {
    let program = with_a_family(db).await.configured("[worker]\nfailures_max = 1\n");
    let event = program.json(&["schedule", "1001", "--on", "2020-01-01", "--late", "--yes", "--children", "keep"]);
    let id = event["id"].to_string();
    db.sql("update account_statuses set activates_account = not activates_account where name = 'Inactive'").await;
    let _served = program.serve(&[]);
    let state = |wanted: &'static str| {
        let (program, id) = (&program, &id);
        crate::support::wait_until(crate::program::DEADLINE, wanted, async move || {
            program.json(&["events", "show", id])["state"] == wanted
        })
    };
    state("failed").await;
    let failed = program.json(&["events", "show", &id]);
    assert!(failed["last_error"].as_str().unwrap().contains("settings set disconnect_status"), "{failed}");
    assert_eq!(program.json(&["accounts", "show", "1001"])["status"], "Active", "nothing half done");
    let doctor = program.run(&["doctor"]);
    assert_eq!(doctor.code, 1, "{doctor:#?}");

    db.sql("update account_statuses set activates_account = not activates_account where name = 'Inactive'").await;
    let doctor = program.run(&["--json", "doctor"]).exits(0).json();
    let row = |name: &str| doctor["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap();
    assert_eq!(
        row("events")["finding"],
        "warning",
        "a failed event is worth knowing, and no fault of the data: {doctor}"
    );
    assert_eq!(row("data")["finding"], "ok", "{doctor}");

    program.run(&["events", "retry", &id]).exits(0);
    state("completed").await;
    assert_eq!(program.json(&["accounts", "show", "1001"])["status"], "Inactive");
}
