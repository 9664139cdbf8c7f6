//! Tokens on the command line: shown once, in whose name a command runs, and what their roles allow.

use serde_json::{Value, json};

use super::{ACCOUNTS, DEBITS, both_pairs, installed, queue_url, with_a_family};
use crate::program::{Answer, Program};
use crate::support::database::{Engine, TestDatabase};

both_pairs!(
    a_token_is_shown_once_on_standard_output_alone,
    what_is_done_with_a_token_bears_its_owners_name,
    a_role_that_is_not_enough_is_refused_and_nothing_happens,
    a_role_that_is_enough_may_do_it,
    an_unknown_token_is_refused_and_not_repeated,
    a_revoked_token_is_refused_from_then_on,
    tokens_are_listed_page_by_page,
    commands_that_start_and_migrate_ask_for_no_token,
);

/// A token of this owner, as whoever can open the database makes one.
fn token(program: &Program, name: &str, role: &str) -> String {
    let made = program.json(&["tokens", "create", "--name", name, "--role", role]);
    assert_eq!((&made["name"], &made["role"]), (&json!(name), &json!(role)));
    made["token"].as_str().unwrap().to_owned()
}

/// Refused by a rule, in a sentence that says this and holds no token.
#[track_caller]
fn refused(program: &Program, arguments: &[&str], token: &str, part: &str) {
    let refused = program.bearing(token).run(arguments).exits(3);
    assert!(refused.stderr.contains(part), "{arguments:?} should say {part}: {refused:#?}");
    assert!(!said(&refused).contains(token.trim()), "{refused:#?}");
}

fn said(answer: &Answer) -> String {
    answer.stdout.clone() + &answer.stderr
}

async fn a_token_is_shown_once_on_standard_output_alone(db: &TestDatabase) {
    let program = installed(db).await;
    let made = program.run(&["tokens", "create", "--name", "ada", "--role", "operator"]).exits(0);
    let shown = made.stdout.lines().next().and_then(|line| line.strip_prefix("Token")).unwrap().trim();
    assert!(shown.starts_with("dct_") && shown.len() == 47, "{made:#?}");
    assert!(made.stdout.contains("not shown again") && made.stderr.is_empty(), "{made:#?}");

    let made = program.run(&["--json", "tokens", "create", "--name", "bo", "--role", "viewer"]).exits(0);
    let view = made.json();
    let other = view["token"].as_str().unwrap();
    assert!(made.stderr.is_empty() && other != shown, "{made:#?}");
    let fields: Vec<_> = view.as_object().unwrap().keys().map(String::as_str).collect();
    let listed = program.json(&["tokens", "list"])["items"][0].clone();
    assert_eq!(fields.len(), listed.as_object().unwrap().len() + 1, "the view and the token: {view}");
    for (field, value) in listed.as_object().unwrap() {
        assert_eq!(&view[field], value);
    }

    for token in [shown, other] {
        program.bearing(token).run(&["accounts", "list"]).exits(0);
    }
    // Both are good, and nothing that comes later tells them.
    let number = view["id"].to_string();
    for arguments in [&["tokens", "list"][..], &["tokens", "revoke", &number], &["doctor"]] {
        for json in [&[][..], &["--json"]] {
            let told = said(&program.run(&[json, arguments].concat()));
            assert!(!told.contains(shown) && !told.contains(other), "{told}");
        }
    }
    let dump = format!("{:?}", db.dump().await);
    assert!(!dump.contains(shown) && !dump.contains(other));
}

async fn what_is_done_with_a_token_bears_its_owners_name(db: &TestDatabase) {
    let program = installed(db).await;
    let ada = program.bearing(&token(&program, "Ada Miller", "operator"));
    program.write("accounts.csv", ACCOUNTS);
    program.write("debits.csv", DEBITS);
    ada.run(&["import", "accounts", "accounts.csv"]).exits(0);
    program.run(&["import", "debits", "debits.csv"]).exits(0);
    let event = ada.json(&["schedule", "1001", "--on", "2099-12-01", "--children", "keep", "--yes"]);
    assert_eq!((&event["requested_by"], &event["requested_from"]), (&json!("Ada Miller"), &json!("cli")));
    ada.run(&["events", "cancel", &event["id"].to_string()]).exits(0);
    program.run(&["accounts", "contact", "1001", "--email", "b@example.com"]).exits(0);
    let log = program.json(&["log", "1001"]);
    let entries: Vec<_> =
        log["items"].as_array().unwrap().iter().map(|entry| (&entry["actor"], &entry["source"])).collect();
    let (ada, import, cli) = (&json!("Ada Miller"), &json!("import"), &json!("cli"));
    // Imported, scheduled, its children decided about, cancelled; and then the contact.
    assert_eq!(entries[..4], [(ada, import), (ada, cli), (ada, cli), (ada, cli)], "{log}");
    assert!(entries.len() == 5 && entries[4].0 != ada && entries[4].1 == cli, "else the system's user: {log}");
}

/// By the role that it takes: a command that may be refused without having begun.
const COMMANDS: [(&str, &[&str]); 16] = [
    ("operator", &["import", "accounts", "accounts.csv"]),
    ("operator", &["import", "debits", "debits.csv", "--dry-run"]),
    ("operator", &["disconnect", "1001", "--children", "keep", "--yes", "--no-wait"]),
    ("operator", &["schedule", "1001", "--on", "2099-12-01", "--children", "keep", "--yes"]),
    ("operator", &["events", "cancel", "1"]),
    ("operator", &["events", "reschedule", "1", "--on", "2099-12-01"]),
    ("operator", &["events", "retry", "1"]),
    ("operator", &["accounts", "link", "1003", "--parent", "1001"]),
    ("operator", &["accounts", "unlink", "1002"]),
    ("operator", &["accounts", "contact", "1001", "--no-email"]),
    ("admin", &["settings", "set", "cutoff_time", "17:30"]),
    ("admin", &["statuses", "add", "Seasonal"]),
    ("admin", &["tokens", "create", "--name", "eve", "--role", "admin"]),
    ("admin", &["tokens", "list"]),
    ("admin", &["tokens", "revoke", "1"]),
    ("admin", &["--json", "tokens", "list"]),
];

async fn a_role_that_is_not_enough_is_refused_and_nothing_happens(db: &TestDatabase) {
    let program = with_a_family(db).await;
    program.run(&["schedule", "1001", "--on", "2099-11-01", "--children", "keep", "--yes"]).exits(0);
    let tokens = ["viewer", "operator", "approver"].map(|role| (role, token(&program, "ada", role)));
    let before = db.dump().await;
    for (needed, arguments) in COMMANDS {
        for (role, token) in &tokens {
            if *role == "viewer" || needed == "admin" {
                let part =
                    format!("takes the role {needed}, and the token in DISCONNECTD_TOKEN, ada's, has the role {role}");
                refused(&program, arguments, token, &part);
            }
        }
    }
    assert_eq!(db.dump().await, before);
    let refused = program
        .bearing(&tokens[0].1)
        .run(&["--json", "disconnect", "1001", "--children", "keep", "--yes"])
        .exits(3)
        .json();
    assert_eq!(refused["error"]["code"], "role_missing");
}

async fn a_role_that_is_enough_may_do_it(db: &TestDatabase) {
    let program = with_a_family(db).await;
    let viewer = program.bearing(&token(&program, "vi", "viewer"));
    for arguments in [
        &["accounts", "list"][..],
        &["accounts", "show", "1001"],
        &["overview", "1001"],
        &["log", "1001"],
        &["events", "list"],
        &["invoices", "list"],
        &["statuses", "list"],
        &["settings", "show"],
        &["doctor"],
    ] {
        viewer.run(arguments).exits(0);
    }
    let approver = program.bearing(&token(&program, "pat", "approver"));
    approver.run(&["schedule", "1001", "--on", "2099-12-01", "--children", "keep", "--yes"]).exits(0);
    let admin = program.bearing(&token(&program, "root of all", "admin"));
    let made = admin.json(&["tokens", "create", "--name", "bo", "--role", "operator"]);
    assert_eq!(made["created_by"], "root of all");
    admin.run(&["settings", "set", "cutoff_time", "17:30"]).exits(0);
    let revoked = admin.json(&["tokens", "revoke", &made["id"].to_string()]);
    assert_eq!(revoked["revoked_by"], "root of all");
    admin.run(&["import", "accounts", "accounts.csv"]).exits(0);
}

async fn an_unknown_token_is_refused_and_not_repeated(db: &TestDatabase) {
    let program = with_a_family(db).await;
    let before = db.dump().await;
    for unknown in ["dct_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "hunter2", " hunter2\n", "Łódź"] {
        for arguments in [
            &["accounts", "list"][..],
            &["disconnect", "1001", "--children", "keep", "--yes"],
            &["tokens", "list"],
            &["doctor"],
        ] {
            refused(&program, arguments, unknown, "none of this database's");
        }
        let refused = program.bearing(unknown).run(&["--json", "accounts", "list"]).exits(3);
        assert_eq!(refused.json()["error"]["code"], "token_unknown");
    }
    assert_eq!(db.dump().await, before);
    for empty in ["", "  "] {
        program.bearing(empty).run(&["tokens", "list"]).exits(0);
    }
    let ada = token(&program, "ada", "viewer");
    program.bearing(&format!(" {ada}\n")).run(&["accounts", "list"]).exits(0);
}

async fn a_revoked_token_is_refused_from_then_on(db: &TestDatabase) {
    let program = installed(db).await;
    let token = token(&program, "ada", "admin");
    let ada = program.bearing(&token);
    let number = ada.json(&["tokens", "list"])["items"][0]["id"].to_string();
    let unknown = ada.run(&["tokens", "revoke", "77"]).exits(3);
    assert!(unknown.stderr.contains("no token 77"), "{unknown:#?}");
    // Also one's own.
    let revoked = ada.json(&["tokens", "revoke", &number]);
    assert_eq!(revoked["revoked_by"], "ada");
    for arguments in [&["accounts", "list"][..], &["tokens", "revoke", &number], &["doctor"]] {
        refused(&program, arguments, &token, "ada's, was revoked at");
    }
    assert_eq!(program.json(&["tokens", "revoke", &number]), revoked, "the first stays");
    let listed = program.run(&["tokens", "list"]).exits(0);
    assert!(listed.stdout.contains("revoked at") && listed.stdout.contains("by ada"), "{listed:#?}");
}

async fn tokens_are_listed_page_by_page(db: &TestDatabase) {
    // Without the token that looks at the health pages.
    let program = Program::new(db.folder(), db.url(), queue_url(db));
    program.run(&["migrate"]).exits(0);
    let none = program.run(&["tokens", "list"]).exits(0);
    assert!(none.stdout.contains("disconnectd tokens create"), "{none:#?}");
    for name in ["ada", "bo", "cy"] {
        token(&program, name, "viewer");
    }
    let first = program.json(&["tokens", "list", "--limit", "2"]);
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = program.json(&["tokens", "list", "--limit", "2", "--after", cursor]);
    assert_eq!(rest["next_cursor"], Value::Null);
    let items = [&first, &rest].into_iter().flat_map(|page| page["items"].as_array().unwrap());
    assert!(items.map(|token| token["name"].as_str().unwrap()).eq(["cy", "bo", "ada"]));
    let told = program.run(&["tokens", "list", "--limit", "2"]).exits(0);
    assert!(told.stderr.contains(&format!("--after {cursor}")), "{told:#?}");
    let behind = program.run(&["tokens", "list", "--after", "1"]).exits(0);
    assert!(behind.stdout.contains("no more tokens"), "{behind:#?}");
}

async fn commands_that_start_and_migrate_ask_for_no_token(db: &TestDatabase) {
    let program = installed(db).await.bearing("dct_nobody's");
    program.run(&["migrate"]).exits(0);
    program.serve(&[]).until_ready_is(200);
}

/// The doctor says what is wrong with a database in which no token can be looked up.
#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_looks_at_a_database_without_tokens() {
    TestDatabase::run_on_empty(Engine::Postgres, async |db: &TestDatabase| {
        let program = Program::new(db.folder(), db.url(), queue_url(db)).bearing("dct_anybody's");
        let doctor = program.run(&["--json", "doctor"]).exits(1).json();
        let schema = doctor["checks"].as_array().unwrap().iter().find(|check| check["name"] == "schema").unwrap();
        assert!(schema["message"].as_str().unwrap().contains("disconnectd migrate"), "{doctor}");
        let other = program.run(&["accounts", "list"]).exits(1);
        assert!(other.stderr.contains("disconnectd migrate"), "{other:#?}");
    })
    .await;
}
