//! What the calls answer and refuse, and what all of them have in common.

use std::process::Command;

use serde_json::{Value, json};

use super::{encoded, get, later, post, send};
use crate::behaviour::{ACCOUNTS, DEBITS, both_pairs, header, installed, with_a_family};
use crate::http::Request;
use crate::program::{DEADLINE, Program};
use crate::support::database::{Engine, PROBE_TOKEN, TestDatabase};
use crate::support::wait_until;

both_pairs!(
    it_answers_what_the_command_line_answers,
    one_account_from_overview_to_final_invoice,
    what_was_looked_at_is_what_is_agreed_to,
    a_change_of_plan_is_answered_definitely,
    families_and_contacts_change,
    settings_and_statuses_change,
    what_can_not_be_read_is_named,
    lists_go_on_behind_their_cursor,
    files_are_imported_whole_or_not_at_all,
    a_request_has_an_id_and_a_line_in_the_log,
);

async fn it_answers_what_the_command_line_answers(db: &TestDatabase) {
    let program = with_a_family(db).await;
    let event = program.json(&["schedule", "1002", "--on", "2099-12-01", "--yes"]);
    let id = event["id"].to_string();
    let served = program.serve(&[]);
    served.until_ready_is(200);
    for (path, arguments) in [
        ("/api/v1/accounts", &["accounts", "list"][..]),
        ("/api/v1/accounts?search=MILLER&limit=1", &["accounts", "list", "--search", "MILLER", "--limit", "1"]),
        ("/api/v1/accounts?group=fiber&disconnected=false", &["accounts", "list", "--group", "fiber", "--connected"]),
        ("/api/v1/accounts?open_event=true", &["accounts", "list", "--open-event"]),
        ("/api/v1/accounts?open_event=false", &["accounts", "list", "--no-open-event"]),
        ("/api/v1/accounts?parent=1001&status=Active", &["accounts", "list", "--parent", "1001"]),
        ("/api/v1/accounts/1001", &["accounts", "show", "1001"]),
        ("/api/v1/accounts/1001/log", &["log", "1001"]),
        ("/api/v1/accounts/1001/overview?on=2099-01-01", &["overview", "1001", "--on", "2099-01-01"]),
        ("/api/v1/invoices", &["invoices", "list"]),
        ("/api/v1/events?state=scheduled&account=1002", &["events", "list", "--state", "scheduled"]),
        ("/api/v1/events?search=ben&due_from=2099-11-30", &["events", "list", "--search", "ben"]),
        (&format!("/api/v1/events/{id}"), &["events", "show", &id]),
        ("/api/v1/statuses", &["statuses", "list"]),
        ("/api/v1/settings", &["settings", "show"]),
        ("/api/v1/tokens", &["tokens", "list"]),
        ("/api/v1/doctor", &["doctor"]),
    ] {
        assert_eq!(get(&served, path), program.json(arguments), "{path}");
    }
    assert_eq!(get(&served, "/api/v1/events?due_until=2099-11-30")["items"], json!([]));
    let numbers = |path| {
        let page = get(&served, path);
        page["items"].as_array().unwrap().iter().map(|account| account["number"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(numbers("/api/v1/accounts?open_event=true"), ["1002"]);
    assert_eq!(numbers("/api/v1/accounts?open_event=false"), ["1001", "1003"]);
}

async fn one_account_from_overview_to_final_invoice(db: &TestDatabase) {
    let program = with_a_family(db).await;
    let served = program.serve(&[]);
    served.until_ready_is(200);
    let refused = post(&served, "/api/v1/accounts/1001/disconnect", &Value::Null).problem(409, "undecided_children");
    assert_eq!(refused["children"][0]["number"], "1002", "rule 5: somebody decides about each child");

    let asked = json!({ "reason": "moved away", "children": { "1002": "keep" } });
    let made = post(&served, "/api/v1/accounts/1001/disconnect", &asked).is(201);
    let location = made.header("location").unwrap().to_owned();
    assert_eq!(location, format!("/api/v1/events/{}", made.json()["id"]));
    wait_until(DEADLINE, "it is done", async || get(&served, &location)["state"] == "completed").await;
    let event = get(&served, &location);
    assert_eq!((&event["outcome"], &event["reason"]), (&json!("disconnected"), &json!("moved away")));
    assert_eq!((&event["requested_by"], &event["requested_from"]), (&json!("probe"), &json!("api")));
    let invoice = get(&served, &format!("/api/v1/invoices/{}", event["final_invoice"]["number"]));
    assert_eq!(invoice["total"], json!({ "amount": "140.62", "currency": "USD" }));

    let again = post(&served, "/api/v1/accounts/1001/disconnect", &Value::Null).is(200).json();
    assert_eq!(again["outcome"], "already_disconnected");
    assert_eq!(again, program.json(&["disconnect", "1001", "--yes"]));
}

/// Rule 8.
async fn what_was_looked_at_is_what_is_agreed_to(db: &TestDatabase) {
    let program = with_a_family(db).await;
    let served = program.serve(&[]);
    served.until_ready_is(200);
    let overview = served.request("GET", "/api/v1/accounts/1001/overview").answer().is(200);
    let etag = overview.header("etag").unwrap().to_owned();
    let digest = overview.json()["digest"].clone();
    assert_eq!(etag, format!("\"{}\"", digest.as_str().unwrap()));

    program.write("more.csv", format!("{}1001,late,One more charge,5.00,0.00,2026-11-20\n", header(DEBITS)));
    program.run(&["import", "debits", "more.csv"]).exits(0);
    let disconnect = || served.request("POST", "/api/v1/accounts/1001/disconnect");
    let stale = disconnect().header("If-Match", &etag).json(&later()).answer().problem(412, "stale_digest");
    assert!(stale["changes"][0].is_string(), "it says what has changed: {stale}");
    let mut asked = later();
    asked["digest"] = digest;
    let stale = disconnect().json(&asked).answer().problem(409, "stale_digest");
    assert!(stale["changes"][0].is_string(), "{stale}");
    disconnect().header("If-Match", &etag).json(&asked).answer().problem(422, "invalid");
    assert_eq!(db.count("disconnect_events").await, 0);

    let overview = served.request("GET", "/api/v1/accounts/1001/overview").answer().is(200);
    disconnect().header("If-Match", overview.header("etag").unwrap()).json(&later()).answer().is(201);
}

async fn a_change_of_plan_is_answered_definitely(db: &TestDatabase) {
    let served = with_a_family(db).await.serve(&[]);
    served.until_ready_is(200);
    let with_its_child = json!({ "on": "2099-12-01", "zone": "Europe/Berlin", "children": "disconnect" });
    let event = post(&served, "/api/v1/accounts/1001/disconnect", &with_its_child).is(201).json();
    assert_eq!(event["due_at"].as_str().map(|at| &at[..16]), Some("2099-11-30T23:00"));
    let path = |verb: &str| format!("/api/v1/events/{}/{verb}", event["id"]);

    let second = post(&served, "/api/v1/accounts/1001/disconnect", &later()).problem(409, "open_event");
    assert_eq!(second["event_id"], event["id"], "rule 6 names the one that is there");
    let past = json!({ "on": "2020-01-01" });
    post(&served, "/api/v1/accounts/1003/disconnect", &past).problem(422, "past_date");

    let moved = json!({ "on": "2100-01-31T09:00", "reason": "asked for more time" });
    let undecided = post(&served, &path("reschedule"), &moved).problem(409, "undecided_events");
    assert_eq!(undecided["events"][0]["account_number"], "1002");
    let moved = json!({ "on": "2100-01-31T09:00", "children": "along" });
    let moved = post(&served, &path("reschedule"), &moved).is(200).json();
    assert_eq!(moved["due_at"].as_str().map(|at| &at[..16]), Some("2100-01-31T14:00"), "the account's zone");
    post(&served, &path("retry"), &Value::Null).problem(409, "event_not_failed");
    post(&served, &path("decide"), &json!({ "children": "keep" })).problem(409, "nothing_to_decide");
    let cancelled = post(&served, &path("cancel"), &json!({ "children": "along" })).is(200).json();
    assert_eq!(cancelled["state"], "cancelled");
    post(&served, &path("cancel"), &Value::Null).problem(409, "event_ended");
    assert_eq!(get(&served, "/api/v1/events?state=cancelled")["items"].as_array().map(Vec::len), Some(2));
    post(&served, "/api/v1/events/999/cancel", &Value::Null).problem(404, "unknown_event");
}

async fn families_and_contacts_change(db: &TestDatabase) {
    let served = with_a_family(db).await.serve(&[]);
    served.until_ready_is(200);
    let parent = "/api/v1/accounts/1002/parent";
    send(&served, "DELETE", parent, &Value::Null).problem(409, "unlink_without_contact");
    let contact = json!({ "email": "ben@example.com", "mailing_address": "12 Elm Street\nSpringfield" });
    let account = send(&served, "PATCH", "/api/v1/accounts/1002/contact", &contact).is(200).json();
    assert_eq!(account["contact"], contact);
    let account = send(&served, "PATCH", "/api/v1/accounts/1002/contact", &json!({ "mailing_address": null }));
    assert_eq!(account.is(200).json()["contact"], json!({ "email": "ben@example.com", "mailing_address": null }));

    assert_eq!(send(&served, "DELETE", parent, &Value::Null).is(200).json()["parent_number"], Value::Null);
    send(&served, "DELETE", parent, &Value::Null).problem(409, "not_linked");
    let linked = send(&served, "PUT", parent, &json!({ "parent": "1001" })).is(200).json();
    assert_eq!(linked["parent_number"], "1001");
    send(&served, "PUT", parent, &json!({ "parent": "1002" })).problem(422, "self_link");
    send(&served, "PUT", "/api/v1/accounts/1001/parent", &json!({ "parent": "1002" })).problem(409, "link_cycle");
    let log = get(&served, "/api/v1/accounts/1002/log");
    let by = log["items"].as_array().unwrap().iter().filter(|entry| entry["source"] == "api");
    assert!(by.clone().count() >= 4 && by.clone().all(|entry| entry["actor"] == "probe"), "{log}");
}

async fn settings_and_statuses_change(db: &TestDatabase) {
    let served = installed(db).await.serve(&[]);
    served.until_ready_is(200);
    let status = json!({ "name": "Terminated", "activates_account": false });
    assert_eq!(post(&served, "/api/v1/statuses", &status).is(201).json(), status);
    post(&served, "/api/v1/statuses", &status).problem(409, "status_exists");
    let set =
        |key: &str, value: &str| send(&served, "PUT", &format!("/api/v1/settings/{key}"), &json!({ "value": value }));
    assert_eq!(set("disconnect_status", "Terminated").is(200).json()["disconnect_status"], "Terminated");
    set("disconnect_status", "Active").problem(409, "disconnect_status_activates");
    set("cutoff_time", "late").problem(422, "invalid");
    set("campaign_window", "mon 09:00-09:00").problem(422, "invalid");
    assert_eq!(set("campaign_window", "mon 09:00-17:00").is(200).json()["campaign_window"], "mon 09:00-17:00");
    assert_eq!(set("campaign_window", "").is(200).json()["campaign_window"], "always");
    set("colour", "red").problem(404, "unknown_setting");
    assert_eq!(get(&served, "/api/v1/settings")["disconnect_status"], "Terminated");
}

async fn what_can_not_be_read_is_named(db: &TestDatabase) {
    let program = with_a_family(db).await;
    let served = program.serve(&[]);
    served.until_ready_is(200);
    let before = db.count("disconnect_events").await;
    for (path, field) in [
        ("/api/v1/accounts?limit=0", "limit"),
        ("/api/v1/accounts?limit=1001", "limit"),
        ("/api/v1/accounts?limit=many", "query"),
        ("/api/v1/accounts?serach=x", "query"),
        ("/api/v1/accounts?search=a%00b", "search"),
        ("/api/v1/accounts?disconnected=maybe", "query"),
        ("/api/v1/events?state=lost", "query"),
        ("/api/v1/events?due_from=tomorrow", "due_from"),
        ("/api/v1/events?after=x", "query"),
        ("/api/v1/accounts/%20", "number"),
        ("/api/v1/accounts/1001/overview?zone=Mars", "zone"),
        ("/api/v1/settings?disconnect_status=x", "query"),
        ("/api/v1/events/x", "path"),
        ("/api/v1/invoices/99999999999999999999", "path"),
    ] {
        let problem = served.request("GET", path).answer().problem(422, "invalid");
        assert_eq!(problem["field"], field, "{path}: {problem}");
    }
    for (body, field) in [
        ("{", "body"),
        ("[]", "body"),
        (r#"{"resaon":"x"}"#, "body"),
        (r#"{"on":"tomorrow"}"#, "on"),
        (r#"{"zone":"Mars"}"#, "zone"),
        (r#"{"reason":" "}"#, "reason"),
        (r#"{"children":"drop"}"#, "children"),
    ] {
        let call = served.request("POST", "/api/v1/accounts/1001/disconnect").body("application/json", body);
        assert_eq!(call.answer().problem(422, "invalid")["field"], field, "{body}");
    }
    let disconnect = || served.request("POST", "/api/v1/accounts/1001/disconnect");
    disconnect().body("text/plain", "{}").answer().problem(415, "unsupported_media_type");
    let long = format!("{{\"reason\":\"{}\"}}", "x".repeat(1024 * 1024));
    disconnect().body("application/json", long).answer().problem(413, "body_too_large");
    assert_eq!(db.count("disconnect_events").await, before, "nothing was done");

    served.request("GET", "/api/v1/accounts/9999").answer().problem(404, "unknown_account");
    served.request("GET", "/api/v1/events?account=9999").answer().problem(404, "unknown_account");
    served.request("GET", "/api/v1/nothing").answer().problem(404, "unknown_route");
    let wrong = served.request("POST", "/api/v1/accounts/1001").answer();
    assert!(wrong.header("allow").is_some_and(|allow| allow.contains("GET")), "{wrong:?}");
    wrong.problem(405, "unknown_method");
}

async fn lists_go_on_behind_their_cursor(db: &TestDatabase) {
    let program = installed(db).await;
    let odd = ["A/1", "A 2", "Ä&3", "A%4"];
    let rows: Vec<_> = odd.iter().map(|number| format!("{number},Odd,Active,,USD,,,,,\n")).collect();
    program.write("odd.csv", format!("{}{}", header(ACCOUNTS), rows.concat()));
    program.run(&["import", "accounts", "odd.csv"]).exits(0);
    let served = program.serve(&[]);
    served.until_ready_is(200);
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(&served, &format!("/api/v1/accounts?limit=1{cursor}"));
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["number"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&after={}", encoded(next));
        assert!(seen.len() < 10, "{seen:?}");
    }
    seen.sort_unstable();
    let mut all = odd.map(str::to_owned).to_vec();
    all.sort_unstable();
    assert_eq!(seen, all, "each once");
    for number in odd {
        assert_eq!(get(&served, &format!("/api/v1/accounts/{}", encoded(number)))["number"], number);
    }
}

async fn files_are_imported_whole_or_not_at_all(db: &TestDatabase) {
    let program = installed(db).await;
    let served = program.serve(&[]);
    served.until_ready_is(200);
    let import =
        |what: &str, file: &str| served.request("POST", &format!("/api/v1/imports/{what}")).body("text/csv", file);
    let looked = import("accounts?dry_run=true", ACCOUNTS).answer().is(200).json();
    assert_eq!((&looked["created"], &looked["applied"]), (&json!(3), &json!(false)));
    assert_eq!(db.count("accounts").await, 0, "a dry run writes nothing");
    let done = import("accounts", ACCOUNTS).answer().is(200).json();
    assert_eq!((&done["created"], &done["applied"]), (&json!(3), &json!(true)));
    assert_eq!(import("debits", DEBITS).answer().is(200).json()["created"], 3);
    let before = db.dump().await;

    let again = import("accounts", ACCOUNTS).header("Idempotency-Key", "one").answer().is(200);
    assert_eq!(again.json()["unchanged"], 3);
    let other = ACCOUNTS.replace("Ada", "Eda");
    import("accounts", &other).header("Idempotency-Key", "one").answer().problem(422, "idempotency_key_reused");
    let bad = format!("{DEBITS}1001,x,Charge,twelve,,2026-11-01\n");
    let refused = import("debits", &bad).answer().problem(422, "bad_lines");
    let problem = &refused["report"]["problems"][0];
    assert_eq!((&problem["line"], &problem["column"]), (&json!(5), &json!("amount")), "{refused}");
    import("debits", ACCOUNTS).answer().problem(422, "bad_file");
    served.request("POST", "/api/v1/imports/debits").json(&json!({})).answer().problem(415, "unsupported_media_type");
    let log = get(&served, "/api/v1/accounts/1001/log");
    assert_eq!((&log["items"][0]["actor"], &log["items"][0]["source"]), (&json!("probe"), &json!("import")));
    let mut after = db.dump().await;
    for table in ["idempotency_keys", "tokens"] {
        after.remove(table);
    }
    assert!(after.iter().all(|(table, rows)| before.get(table) == Some(rows)), "nothing half done");
}

async fn a_request_has_an_id_and_a_line_in_the_log(db: &TestDatabase) {
    let program = with_a_family(db).await;
    let served = program.serve(&[]);
    served.until_ready_is(200);
    let given = served.request("GET", "/api/v1/accounts/9999?x=secret-name").header("X-Request-Id", "mine-1").answer();
    assert_eq!(given.header("x-request-id"), Some("mine-1"));
    given.problem(422, "invalid");
    let made = served.request("GET", "/api/v1/accounts?search=secret-name").answer().is(200);
    let id = made.header("x-request-id").unwrap().to_owned();
    let bad = served.request("GET", "/api/v1/accounts").header("X-Request-Id", "not one").answer().is(200);
    assert_ne!(bad.header("x-request-id"), Some("not one"));
    for (name, value) in [("x-content-type-options", "nosniff"), ("cache-control", "no-store")] {
        assert_eq!(made.header(name), Some(value));
    }
    served.signal("TERM");
    let (_, log) = served.ended();
    for (id, status) in [("mine-1", 422), (&*id, 200)] {
        let lines: Vec<_> = log.lines().filter(|line| line.contains(id)).collect();
        assert_eq!(lines.len(), 1, "one line each: {lines:?}");
        for part in ["owner=\"probe\"", "path=\"/api/v1/accounts", &format!("status={status}"), " ms="] {
            assert!(lines[0].contains(part), "{part}: {}", lines[0]);
        }
    }
    assert!(!log.contains(PROBE_TOKEN) && !log.contains("secret-name"), "neither a token nor who is looked for: {log}");
}

/// The page, the document, and who answers them.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_asks_nobody_else() {
    TestDatabase::run_on_empty(Engine::Sqlite, async |db: &TestDatabase| {
        let served = installed(db).await.serve(&[]);
        served.until_ready_is(200);
        let page = served.request("GET", "/api").answer().is(200);
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'; script-src 'self';"), "{policy}");
        let text = page.text();
        for outside in ["http:", "https:", "<script>", " onclick", " style="] {
            assert!(!text.contains(outside), "{outside}: {text}");
        }
        for file in text.split('"').filter(|part| part.starts_with("api/page/")) {
            let answer = served.request("GET", &format!("/{file}")).answer().is(200);
            assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("text/")), "{answer:?}");
            let is_packed = answer.body.starts_with(&[0x1f, 0x8b]);
            assert_eq!(answer.header("content-encoding"), is_packed.then_some("gzip"));
        }
        let document = get(&served, "/api/openapi.json");
        assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{document}");
    })
    .await;
}

/// Health in every role, calls in one.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_role_there_are_no_calls_and_without_a_token_it_says_how() {
    TestDatabase::run_on_empty(Engine::Sqlite, async |db: &TestDatabase| {
        let program = Program::new(db.folder(), db.url(), "memory:");
        program.run(&["migrate"]).exits(0);
        let served = program.serve(&["--roles", "api"]);
        Request::new(served.address, "GET", "/healthz").answer().is(200);
        Request::new(served.address, "GET", "/readyz").answer().problem(401, "token_missing");
        served.until_logged("disconnectd tokens create --name");
        drop(served);
        db.probe_token().await;

        let served = program.serve(&["--roles", "scheduler,worker"]);
        served.until_ready_is(200);
        served.request("GET", "/api/v1/accounts").answer().problem(404, "unknown_route");
        served.request("GET", "/api").answer().problem(404, "unknown_route");
        served.signal("TERM");
        let (_, log) = served.ended();
        assert!(!log.contains("tokens create"), "{log}");
    })
    .await;
}

/// As a scraper sends it.
#[tokio::test(flavor = "multi_thread")]
async fn the_token_may_come_as_a_password() {
    TestDatabase::run_on_empty(Engine::Sqlite, async |db: &TestDatabase| {
        let served = with_a_family(db).await.serve(&[]);
        served.until_ready_is(200);
        let output = Command::new("curl")
            .args(["--silent", "--fail", "--user", &format!("anybody:{PROBE_TOKEN}")])
            .arg(format!("http://{}/metrics", served.address))
            .output()
            .unwrap();
        assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("disconnectd_"));
    })
    .await;
}
