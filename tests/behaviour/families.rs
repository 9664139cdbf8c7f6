//! Families on the command line: decide about every child, change one's mind, and what is asked later.

use serde_json::{Value, json};

use super::{both_pairs, installed};
use crate::program::{DEADLINE, Program};
use crate::support::database::TestDatabase;
use crate::support::wait_until;

both_pairs!(
    a_family_with_three_dispositions,
    a_confirmation_holds_while_nothing_has_changed,
    a_parents_change_of_plan_asks_about_the_children,
    the_doctor_asks_what_is_to_become_of_a_family_that_changed,
    a_child_shows_who_gets_its_invoices,
);

const FAMILY: &str = "\
number,name,status,parent_number,currency,zone,address,email,mailing_address,groups
1001,Ada Miller,Active,,USD,America/New_York,12 Elm Street,ada@example.com,,
1002,Ben Miller,Active,1001,USD,America/New_York,12 Elm Street,,,
1003,Cleo Miller,Active,1001,USD,America/New_York,14 Elm Street,cleo@example.com,,
1004,Dan Miller,Active,1001,USD,America/New_York,16 Elm Street,dan@example.com,,
1005,Eve Miller,Active,,USD,America/New_York,18 Elm Street,,,
";

async fn family(db: &TestDatabase) -> Program {
    let program = installed(db).await;
    program.write("family.csv", FAMILY);
    program.run(&["import", "accounts", "family.csv"]).exits(0);
    let debits = "account_number,reference,description,amount,tax,charged_on\n1001,11,November,80.00,6.25,2026-11-01\n";
    program.write("debits.csv", debits);
    program.run(&["import", "debits", "debits.csv"]).exits(0);
    program
}

fn numbers(children: &Value, key: &str, value: &str) -> Vec<String> {
    let children = children.as_array().unwrap().iter().filter(|child| child[key] == value);
    children.map(|child| child["number"].as_str().unwrap().to_owned()).collect()
}

async fn a_family_with_three_dispositions(db: &TestDatabase) {
    let program = family(db).await;
    let refused = program.run(&["--json", "schedule", "1001", "--on", "2099-01-01", "--yes"]).exits(3);
    assert_eq!(refused.json()["error"]["code"], "undecided_children");
    for child in ["1002 (Ben Miller)", "1003 (Cleo Miller)", "1004 (Dan Miller)", "--children"] {
        assert!(refused.stderr.contains(child), "{child}: {refused:#?}");
    }
    let unlink = ["schedule", "1001", "--on", "2099-01-01", "--yes", "--children", "unlink"];
    let refused = program.run(&unlink).exits(3);
    assert!(refused.stderr.contains("1002 has neither an email nor a mailing address"), "{refused:#?}");
    assert!(refused.stderr.contains("accounts contact 1002"), "what to do: {refused:#?}");
    assert_eq!(program.json(&["events", "list"])["items"], json!([]), "nothing half done");
    program.run(&["schedule", "1001", "--on", "2099-01-01", "--yes", "--child", "1002=eat"]).exits(2);
    let refused = ["schedule", "1001", "--on", "2099-01-01", "--yes", "--children", "keep", "--child", "1005=keep"];
    program.run(&refused).exits(3);

    let told = program
        .run(&[
            "schedule",
            "1001",
            "--on",
            "2099-01-01",
            "--yes",
            "--children",
            "keep",
            "--child",
            "1003=unlink",
            "--child",
            "1004=disconnect@2099-02-01",
        ])
        .exits(0);
    for words in
        ["child 1002: keep", "nobody gets the invoices of 1002", "child 1003: unlink", "child 1004: disconnect"]
    {
        assert!(told.stdout.contains(words), "{words}: {told:#?}");
    }
    let event = program.json(&["events", "list", "--account", "1001"])["items"][0].clone();
    assert_eq!(numbers(&event["children"], "disposition", "unlink"), ["1003"]);
    assert_eq!(program.json(&["accounts", "show", "1003"])["parent_number"], Value::Null, "at the confirmation");
    let own = &program.json(&["events", "list", "--account", "1004"])["items"][0];
    assert_eq!((&own["due_at"], &own["parent_event_id"]), (&json!("2099-02-01T05:00:00Z"), &event["id"]));
    let log = program.run(&["log", "1001"]).exits(0);
    assert!(log.stdout.contains("children decided: 1002 keep, 1003 unlink, 1004 disconnect"), "{log:#?}");
}

async fn a_confirmation_holds_while_nothing_has_changed(db: &TestDatabase) {
    let program = family(db).await;
    let digest = program.json(&["overview", "1001"])["digest"].as_str().unwrap().to_owned();
    let more = "account_number,reference,description,amount,tax,charged_on\n1001,12,Router,12.50,,2026-11-12\n";
    program.write("more.csv", more);
    program.run(&["import", "debits", "more.csv"]).exits(0);
    let schedule = |digest: &str| {
        program.run(&["schedule", "1001", "--on", "2099-01-01", "--yes", "--children", "keep", "--digest", digest])
    };
    let refused = schedule(&digest).exits(3);
    assert!(refused.stderr.contains("a debit of 12.50 was added; the final invoice is now 98.75"), "{refused:#?}");
    schedule("nonsense").exits(3);
    assert_eq!(program.json(&["events", "list"])["items"], json!([]));
    let digest = program.json(&["overview", "1001"])["digest"].as_str().unwrap().to_owned();
    schedule(&digest).exits(0);
    let event = program.json(&["events", "list"])["items"][0].clone();
    assert_eq!(event["agreed"]["final_invoice"], json!({"amount": "98.75", "currency": "USD"}));

    // What changes between the confirmation and the date is recorded and not refused.
    program.write("more.csv", more.replace("1001,12", "1001,13").replace("12.50", "1.25"));
    program.run(&["import", "debits", "more.csv"]).exits(0);
    let _served = program.serve(&[]);
    let done = program.run(&["disconnect", "1001", "--yes", "--children", "keep"]).exits(0);
    assert!(done.stdout.contains("was disconnected"), "{done:#?}");
    let event = program.json(&["events", "show", &event["id"].to_string()]);
    assert_eq!(event["final_invoice"]["total"]["amount"], "100.00");
    assert_eq!(event["changed_since"], json!([]), "it was confirmed again, for now");
    program.json(&["schedule", "1004", "--on", "2099-01-01", "--yes"]);
    program.write("more.csv", more.replace("1001", "1004"));
    program.run(&["import", "debits", "more.csv"]).exits(0);
    let moved = format!("update disconnect_events set next_at = {} where state = 'scheduled'", db.instant(-1));
    db.sql(&moved).await;
    wait_until(DEADLINE, "the date has come", async || {
        program.json(&["accounts", "show", "1004"])["disconnected_at"].is_string()
    })
    .await;
    let event = program.json(&["events", "list", "--account", "1004"])["items"][0].clone();
    assert_eq!(event["changed_since"], json!(["a debit of 12.50 was added", "the final invoice is now 12.50"]));
    let shown = program.run(&["events", "show", &event["id"].to_string()]).exits(0);
    assert!(shown.stdout.contains("Changed since"), "{shown:#?}");
}

async fn a_parents_change_of_plan_asks_about_the_children(db: &TestDatabase) {
    let program = family(db).await;
    let event = program.json(&["schedule", "1001", "--on", "2099-01-01", "--yes", "--children", "disconnect"]);
    let id = event["id"].to_string();
    for change in [&["events", "cancel", &id][..], &["events", "reschedule", &id, "--on", "2099-03-01"]] {
        let refused = program.run(change).exits(3);
        assert!(refused.stderr.contains("--children along") && refused.stderr.contains("of 1003"), "{refused:#?}");
    }
    program.run(&["events", "cancel", &id, "--children", "perhaps"]).exits(2);
    program.run(&["events", "reschedule", &id, "--on", "2099-03-01", "--children", "along"]).exits(0);
    let dues = |program: &Program| {
        let events = program.json(&["events", "list", "--state", "scheduled"]);
        let dues = events["items"].as_array().unwrap().iter().map(|event| event["due_at"].to_string());
        dues.collect::<Vec<_>>()
    };
    assert_eq!(dues(&program), vec!["\"2099-03-01T05:00:00Z\""; 4]);
    let cancelled = program.run(&["events", "cancel", &id, "--children", "leave"]).exits(0);
    assert!(cancelled.stdout.contains("child 1003: disconnect, event"), "{cancelled:#?}");
    assert_eq!(dues(&program).len(), 3);
}

async fn the_doctor_asks_what_is_to_become_of_a_family_that_changed(db: &TestDatabase) {
    let program = family(db).await;
    let id = program.json(&["schedule", "1001", "--on", "2099-01-01", "--yes", "--children", "keep"])["id"].to_string();
    let families = |program: &Program| {
        let doctor = program.run(&["--json", "doctor"]).exits(0).json();
        doctor["checks"].as_array().unwrap().iter().find(|check| check["name"] == "families").unwrap().clone()
    };
    assert_eq!(families(&program)["finding"], "ok");
    program.run(&["accounts", "link", "1005", "--parent", "1001"]).exits(0);
    let asked = families(&program);
    assert_eq!(asked["finding"], "warning");
    assert!(asked["message"].as_str().unwrap().contains("child 1005 of 1001"), "{asked}");
    let listed = program.json(&["events", "list", "--to-decide"]);
    assert_eq!(listed["items"][0]["id"].to_string(), id);
    let shown = program.run(&["events", "show", &id]).exits(0);
    assert!(shown.stdout.contains("nobody decided about child 1005"), "{shown:#?}");
    program.run(&["events", "decide", &id, "--child", "1005=unlink"]).exits(3); // it has no contact
    program.run(&["events", "decide", &id, "--child", "1005=keep", "--reason", "asked her"]).exits(0);
    assert_eq!(families(&program)["finding"], "ok");
    program.run(&["events", "decide", &id, "--children", "keep"]).exits(3);
}

async fn a_child_shows_who_gets_its_invoices(db: &TestDatabase) {
    let program = family(db).await;
    let overview = program.json(&["overview", "1002"]);
    assert_eq!(overview["invoice_recipient"]["account_number"], "1001");
    assert_eq!(overview["invoice_recipient"]["email"], "ada@example.com");
    assert_eq!(overview["recipient_after_parent"], Value::Null);
    let overview = program.json(&["overview", "1003"]);
    assert_eq!(overview["recipient_after_parent"]["email"], "cleo@example.com");
    let shown = program.run(&["overview", "1002"]).exits(0);
    assert!(shown.stdout.contains("once 1001 is gone, to nobody"), "{shown:#?}");
    let parent = program.json(&["overview", "1001"]);
    assert_eq!(parent["undecided_children"], json!(["1002", "1003", "1004"]));
}
