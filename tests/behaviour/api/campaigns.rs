//! Campaigns over HTTP, as an operations lead's own tools run them: made, looked at, approved, started, stopped, changed,
//! and accounted for.

use disconnectd::domain::token::Role;
use serde_json::{Value, json};

use super::{get, post, send};
use crate::behaviour::{both_pairs, installed};
use crate::http::Answer;
use crate::program::{DEADLINE, Program, Served};
use crate::support::database::{Engine, TestDatabase};
use crate::support::rows::{account, debit};
use crate::support::wait_until;

both_pairs!(
    a_list_from_its_dry_run_to_a_report_that_adds_up,
    a_filter_is_paused_resumed_and_aborted,
    a_campaign_that_has_not_begun_is_changed,
    children_that_nobody_decided_about_stop_it,
    templates_are_made_approved_and_switched,
    the_command_line_and_the_api_answer_the_same,
);

/// Thirty accounts in the group `tower`, with an address and a debit of 10.00 each; and a parent with a child, in none.
pub async fn with_a_tower(db: &TestDatabase) -> Program {
    let program = installed(db).await;
    let numbers = || (1..=30).map(|n| format!("T-{n:02}"));
    let in_it = |number: String| account(&number).groups(&["tower"]).address(&number).email("somebody@example.com");
    let family = [account("P-1").email("parent@example.com"), account("P-2").parent("P-1")];
    db.accounts(numbers().map(in_it).chain(family)).await;
    db.debits(numbers().map(|number| debit(&number, "november", "10.00"))).await;
    for (owner, role, token) in
        [("op", Role::Operator, "op"), ("op", Role::Approver, "op too"), ("lead", Role::Approver, "lead")]
    {
        db.known_token(owner, role, token).await;
    }
    program
}

/// Sends a document as the owner of this token, or nothing for null.
fn as_of(served: &Served, token: &str, path: &str, body: &Value) -> Answer {
    let request = served.bare_request("POST", path).token(token);
    if body.is_null() { request.answer() } else { request.json(body).answer() }
}

async fn until(served: &Served, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    wait_until(DEADLINE, &format!("{path} is so far"), async || {
        last = get(served, path);
        is_so(&last)
    })
    .await;
    last
}

fn money(amount: &str) -> Value {
    json!([{ "amount": amount, "currency": "USD" }])
}

fn new_campaign(served: &Served, body: &Value) -> String {
    let made = post(served, "/api/v1/campaigns", body).is(201);
    let location = made.header("location").expect("it says where the campaign is").to_owned();
    assert_eq!(location, format!("/api/v1/campaigns/{}", made.json()["id"]));
    location
}

async fn a_list_from_its_dry_run_to_a_report_that_adds_up(db: &TestDatabase) {
    let served = with_a_tower(db).await.serve(&[]);
    served.until_ready_is(200);
    send(&served, "PUT", "/api/v1/settings/campaign_approval_over", &json!({ "value": "20" })).is(200);
    let list = (1..=30).fold("account_number,reason\n".to_owned(), |list, n| list + &format!("T-{n:02},\n"));
    let list = list.replacen("T-01,", "T-01,\"asked for it, twice\"", 1) + "X-1,\n";
    let made = served
        .bare_request("POST", "/api/v1/campaigns?name=Tower%201&reason=sold&children=keep&canary=5")
        .token("op")
        .body("text/csv", list)
        .answer()
        .is(201);
    let path = made.header("location").unwrap().to_owned();
    let campaign = made.json();
    assert_eq!((&campaign["name"], &campaign["state"]), (&json!("Tower 1"), &json!("awaiting_approval")));
    assert_eq!((&campaign["counts"]["accounts"], &campaign["created_by"]), (&json!(31), &json!("op")));
    assert_eq!(get(&served, &path)["terms"], campaign["terms"]);
    let verb = |verb: &str| format!("{path}/{verb}");

    // What it would do, and what stands in its way.
    let looked = served.request("GET", &verb("dry-run")).answer().is(200);
    let (etag, dry_run) = (looked.header("etag").unwrap().to_owned(), looked.json());
    assert_eq!(etag, format!("\"{}\"", dry_run["digest"].as_str().unwrap()));
    assert_eq!((&dry_run["to_disconnect"], &dry_run["left_out"]), (&json!(30), &json!(1)));
    assert_eq!((&dry_run["final_invoices"], &dry_run["can_start"]), (&money("300.00"), &json!(true)));
    let blockers = served.request("GET", &verb("blockers")).answer().is(200);
    assert_eq!(blockers.header("content-type"), Some("text/csv; charset=utf-8"));
    let lines: Vec<_> = blockers.text().lines().map(str::to_owned).collect();
    assert_eq!((lines.len(), &*lines[0]), (2, "account_number,kind,effect,detail"));
    assert!(lines[1].starts_with("X-1,unknown_account,leaves_out,"), "{lines:?}");
    let blockers = served.request("GET", &verb("blockers")).header("Accept", "application/json").answer().is(200);
    assert_eq!(blockers.json()["blockers"][0]["kind"], "unknown_account");

    // Somebody else approves what the dry run showed.
    let refused = as_of(&served, "op", &verb("start"), &Value::Null).problem(409, "campaign_not_approved");
    assert_eq!((&refused["accounts"], &refused["approval_over"]), (&json!(31), &json!(20)));
    as_of(&served, "op too", &verb("approve"), &Value::Null).problem(403, "own_approval");
    let approve = || served.bare_request("POST", &verb("approve")).token("lead");
    let stale = approve().header("If-Match", "\"another\"").answer().problem(412, "stale_digest");
    assert!(stale["changes"][0].is_string(), "{stale}");
    approve().json(&json!({ "digest": "another" })).answer().problem(409, "stale_digest");
    approve().header("If-Match", &etag).json(&json!({ "digest": dry_run["digest"] })).answer().problem(422, "invalid");
    let approved = approve().header("If-Match", &etag).answer().is(200).json();
    assert_eq!((&approved["approved_by"], &approved["state"]), (&json!("lead"), &json!("draft")));

    // The facts move: what was looked at is not what would be done.
    let more = "account_number,reference,description,amount,tax,charged_on\nT-02,late,Late fee,5.00,,2026-11-20\n";
    served.request("POST", "/api/v1/imports/debits").body("text/csv", more).answer().is(200);
    let start = || served.bare_request("POST", &verb("start")).token("op");
    let stale = start().header("If-Match", &etag).answer().problem(412, "stale_digest");
    assert!(stale["changes"].to_string().contains("305.00"), "it says what has changed: {stale}");
    start().json(&json!({ "digest": dry_run["digest"] })).answer().problem(409, "stale_digest");
    assert_eq!(db.count("disconnect_events").await, 0, "rule 8: nothing was begun");
    let looked = served.request("GET", &verb("dry-run")).answer().is(200);
    let either = format!("{etag}, {}", looked.header("etag").unwrap());
    let started = start().header("If-Match", &either).answer().is(200).json();
    assert_eq!((&started["state"], &started["started_by"]), (&json!("running"), &json!("op")));
    assert_eq!(started["agreed"]["final_invoices"], money("305.00"));

    // The canary, then all.
    let paused = until(&served, &path, |campaign| campaign["state"] == "paused").await;
    assert_eq!((&paused["pause_cause"], &paused["counts"]["disconnected"]), (&json!("canary"), &json!(5)), "{paused}");
    as_of(&served, "op", &verb("resume"), &Value::Null).is(200);
    let done = until(&served, &path, |campaign| campaign["state"] == "completed").await;
    assert_eq!((&done["counts"]["disconnected"], &done["counts"]["left_out"]), (&json!(30), &json!(1)), "{done}");
    assert_eq!(done["totals"]["invoiced"], money("305.00"));
    let events = get(&served, &format!("/api/v1/events?campaign={}&limit=100", done["id"]));
    assert_eq!(events["items"].as_array().map(Vec::len), Some(30));
    let log = get(&served, "/api/v1/accounts/T-01/log").to_string();
    assert!(log.contains("\"op\"") && log.contains("asked for it, twice"), "{log}");

    // It adds up.
    let report = served.request("GET", &verb("report")).answer().is(200);
    let adds_up = "the final invoices come to 305.00 USD, as the dry run said";
    assert_eq!(report.header("x-report-summary"), Some(adds_up));
    assert_eq!(report.header("content-length"), Some(&*report.body.len().to_string()));
    assert!(report.header("content-disposition").is_some_and(|name| name.contains("-report.csv")), "{report:?}");
    let mut rows = csv::Reader::from_reader(&*report.body);
    let amount = rows.headers().unwrap().iter().position(|column| column == "amount").unwrap();
    let cents = |text: &str| text.replace('.', "").parse::<i64>().unwrap_or(0);
    let amounts: Vec<i64> = rows.records().map(|row| cents(&row.unwrap()[amount])).collect();
    assert_eq!((amounts.len(), amounts.iter().sum::<i64>()), (31, 30_500));
    let report = get(&served, &verb("report?format=json"));
    assert_eq!(report["summary"]["accounts"], json!({ "disconnected": 30, "left_out": 1 }));
    assert_eq!((&report["summary"]["adds_up"], &report["summary"]["sentence"]), (&json!(true), &json!(adds_up)));
    assert_eq!(report["rows"].as_array().map(Vec::len), Some(31));

    let over = as_of(&served, "op", &verb("abort"), &Value::Null).problem(409, "campaign_state");
    assert_eq!(over["state"], "completed");
    as_of(&served, "op", &verb("start"), &Value::Null).problem(409, "campaign_state");
    as_of(&served, "op", &verb("retry"), &Value::Null).problem(409, "nothing_failed");
}

async fn a_filter_is_paused_resumed_and_aborted(db: &TestDatabase) {
    let served = with_a_tower(db).await.serve(&[]);
    served.until_ready_is(200);
    let asked = json!({ "name": "Tower 1", "where": "group = tower", "on": "2099-12-01", "per_minute": 600 });
    let path = new_campaign(&served, &asked);
    let verb = |verb: &str| format!("{path}/{verb}");
    assert_eq!(get(&served, &path)["where"], "group = tower");
    post(&served, &verb("resume"), &Value::Null).problem(409, "campaign_state");
    let start = || served.request("POST", &verb("start")).header("Idempotency-Key", "one").answer().is(200);
    let started = start();
    assert_eq!(started.json()["counts"]["scheduled"], 30, "{}", started.text());
    assert_eq!(start().text(), started.text(), "sent again, it is answered the same");
    assert_eq!(post(&served, &verb("start"), &Value::Null).is(200).json()["counts"]["scheduled"], 30);

    let paused = post(&served, &verb("pause"), &json!({ "reason": "a storm" })).is(200).json();
    assert_eq!((&paused["state"], &paused["pause_cause"]), (&json!("paused"), &json!("person")));
    assert!(paused["pause_note"].as_str().is_some_and(|note| note.contains("a storm")), "{paused}");
    assert_eq!(post(&served, &verb("pause"), &Value::Null).is(200).json()["state"], "paused");
    for (method, path, body) in [
        ("PATCH", &*path, json!({ "per_minute": 60 })),
        ("PUT", &verb("cohort"), json!({ "where": "group = tower" })),
        ("POST", &verb("approve"), Value::Null),
    ] {
        let problem = send(&served, method, path, &body).problem(409, "campaign_state");
        assert_eq!(problem["state"], "paused", "{problem}");
    }
    assert_eq!(post(&served, &verb("resume"), &Value::Null).is(200).json()["state"], "running");

    let events = get(&served, &format!("/api/v1/events?campaign={}&state=scheduled", get(&served, &path)["id"]));
    let event = &events["items"][0]["id"];
    post(&served, &format!("/api/v1/events/{event}/cancel"), &json!({ "reason": "pays after all" })).is(200);
    assert_eq!(get(&served, &path)["counts"]["cancelled"], 1);
    let aborted = post(&served, &verb("abort"), &json!({ "reason": "the tower stays" })).is(200).json();
    assert_eq!((&aborted["state"], &aborted["counts"]["queued"]), (&json!("aborted"), &json!(0)), "{aborted}");
    until(&served, &path, |campaign| campaign["counts"]["cancelled"] == 30).await;
    let log = get(&served, &verb("log"));
    let kinds: Vec<_> = log["items"].as_array().unwrap().iter().map(|entry| entry["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["made", "started", "paused", "resumed", "aborted"]);
    assert_eq!(log["items"][4]["message"], "aborted: the tower stays");
    assert_eq!((&log["items"][4]["actor"], &log["items"][4]["source"]), (&json!("probe"), &json!("api")));
    let part = get(&served, &verb("log?limit=2"));
    let rest = get(&served, &verb(&format!("log?after={}", part["next_cursor"].as_str().unwrap())));
    assert_eq!(rest["items"].as_array().map(Vec::len), Some(3), "{rest}");
    served.request("GET", "/api/v1/campaigns/99/log").answer().problem(404, "unknown_campaign");
    post(&served, &verb("resume"), &Value::Null).problem(409, "campaign_state");
    assert_eq!(post(&served, &verb("abort"), &Value::Null).is(200).json()["state"], "aborted");
    let report = get(&served, &verb("report?format=json"));
    assert_eq!(report["summary"]["adds_up"], false);
    assert_eq!(report["summary"]["differences"][0]["accounts"], 30, "it says why not: {report}");
    assert_eq!(db.number("select count(*) from accounts where disconnected_at is not null").await, 0);

    let listed = |query: &str| get(&served, &format!("/api/v1/campaigns?{query}"))["items"].as_array().unwrap().len();
    assert_eq!((listed("state=aborted"), listed("state=running"), listed("search=TOWER")), (1, 0, 1));
    served.request("GET", "/api/v1/campaigns?template=99").answer().problem(404, "unknown_template");
    served.request("GET", "/api/v1/events?campaign=99").answer().problem(404, "unknown_campaign");
    for (method, call) in [
        ("GET", ""),
        ("GET", "/dry-run"),
        ("GET", "/blockers"),
        ("GET", "/report"),
        ("POST", "/approve"),
        ("POST", "/start"),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("POST", "/abort"),
        ("POST", "/retry"),
    ] {
        send(&served, method, &format!("/api/v1/campaigns/99{call}"), &Value::Null).problem(404, "unknown_campaign");
    }
    send(&served, "PATCH", "/api/v1/campaigns/99", &json!({ "name": "x" })).problem(404, "unknown_campaign");
    let cohort = json!({ "accounts": [{ "account_number": "T-01" }] });
    send(&served, "PUT", "/api/v1/campaigns/99/cohort", &cohort).problem(404, "unknown_campaign");
}

async fn a_campaign_that_has_not_begun_is_changed(db: &TestDatabase) {
    let served = with_a_tower(db).await.serve(&[]);
    served.until_ready_is(200);
    send(&served, "PUT", "/api/v1/settings/campaign_approval_over", &json!({ "value": "1" })).is(200);
    let path = new_campaign(
        &served,
        &json!({
            "name": "Tower 1", "where": "group = tower", "on": "2099-12-01", "reason": "sold", "children": "keep",
            "per_minute": 600, "canary": 5, "window": "mon-fri 09:00-17:00 UTC", "pause_percent": 3,
        }),
    );
    let change = |body: Value| send(&served, "PATCH", &path, &body);
    as_of(&served, "lead", &format!("{path}/approve"), &Value::Null).is(200);

    let same = change(json!({})).is(200).json();
    assert_eq!((&same["revision"], &same["approved_by"]), (&json!(1), &json!("lead")), "nothing has changed");
    assert_eq!(change(json!({ "per_minute": 600, "name": "Tower 1" })).is(200).json()["revision"], 1);
    let other = change(json!({ "per_minute": 60 })).is(200).json();
    assert_eq!((&other["terms"]["per_minute"], &other["terms"]["canary"]), (&json!(60), &json!(5)), "the rest stays");
    assert_eq!((&other["revision"], &other["approved_by"]), (&json!(2), &Value::Null), "an approval is void then");
    let nothing = json!({
        "name": "Tower 2", "reason": null, "children": null, "per_minute": null, "canary": null, "window": null,
        "pause_percent": null,
    });
    let without = change(nothing).is(200).json();
    assert_eq!(without["name"], "Tower 2");
    for term in ["reason", "children", "per_minute", "canary", "window"] {
        assert_eq!(without["terms"][term], Value::Null, "{term}");
    }
    assert_eq!((&without["terms"]["pause_percent"], &without["terms"]["on"]), (&json!(10), &json!("2099-12-01")));
    for (body, field) in [
        (json!({ "per_minute": 0 }), "per_minute"),
        (json!({ "canary": 0 }), "canary"),
        (json!({ "name": null }), "name"),
        (json!({ "window": "in the night" }), "window"),
        (json!({ "on": "2099-01-01" }), "body"),
        (json!([]), "body"),
    ] {
        assert_eq!(change(body.clone()).problem(422, "invalid")["field"], field, "{body}");
    }

    let cohort = format!("{path}/cohort");
    let one = json!({ "accounts": [{ "account_number": "T-01", "reason": "asked" }], "on": "2099-06-01" });
    let of_a_list = send(&served, "PUT", &cohort, &one).is(200).json();
    assert_eq!((&of_a_list["counts"]["accounts"], &of_a_list["where"]), (&json!(1), &Value::Null));
    assert_eq!((&of_a_list["terms"]["on"], &of_a_list["state"]), (&json!("2099-06-01"), &json!("draft")));
    let file = served.request("PUT", &format!("{cohort}?zone=UTC")).body("text/csv", "number\nT-02\nT-03\n");
    let of_a_file = file.answer().is(200).json();
    assert_eq!((&of_a_file["counts"]["accounts"], &of_a_file["terms"]["on_zone"]), (&json!(2), &json!("UTC")));
    assert_eq!(of_a_file["state"], "awaiting_approval", "it is larger than what needs none");
    let of_a_filter = send(&served, "PUT", &cohort, &json!({ "where": "number in (T-04, T-05, T-06)" }));
    let of_a_filter = of_a_filter.is(200).json();
    assert_eq!((&of_a_filter["counts"]["accounts"], &of_a_filter["terms"]["on_zone"]), (&json!(3), &json!("UTC")));
    let each = json!({ "where": "number in (T-04, T-05, T-06)", "zone": "none" });
    assert_eq!(send(&served, "PUT", &cohort, &each).is(200).json()["terms"]["on_zone"], Value::Null);
    let everyone = served.request("PUT", &format!("{cohort}?everyone=true")).body("text/csv", "account_number\nT-02\n");
    assert_eq!(everyone.answer().problem(422, "invalid")["field"], "everyone", "a file says who is in it");
    let nobody = send(&served, "PUT", &cohort, &json!({ "where": "group = nobody" })).problem(422, "empty_cohort");
    assert!(nobody["detail"].as_str().is_some_and(|detail| detail.contains("so nothing was done")), "{nobody}");
    let long = json!({ "accounts": [{ "account_number": "T-01", "reason": "x".repeat(1 << 20) }] });
    let long = send(&served, "PUT", &cohort, &long).problem(413, "body_too_large");
    assert!(long["detail"].as_str().is_some_and(|detail| detail.contains("comes as text/csv")), "{long}");
    let twice = served.request("PUT", &cohort).body("text/csv", "account_number\nT-02\nT-02\n").answer();
    assert_eq!(twice.problem(422, "bad_rows")["report"]["problems"][0]["line"], 3);
    assert_eq!(get(&served, &path)["counts"]["accounts"], 3, "nothing of it was taken");
}

async fn children_that_nobody_decided_about_stop_it(db: &TestDatabase) {
    let served = with_a_tower(db).await.serve(&[]);
    served.until_ready_is(200);
    let asked = json!({ "name": "Family", "accounts": [{ "account_number": "P-1", "date": "2099-01-01" }] });
    let path = new_campaign(&served, &asked);
    let dry_run = get(&served, &format!("{path}/dry-run"));
    assert_eq!((&dry_run["can_start"], &dry_run["blockers"][0]["effect"]), (&json!(false), &json!("stops")));
    let start = format!("{path}/start");
    let blocked = post(&served, &start, &Value::Null).problem(409, "campaign_blocked");
    assert!(blocked["children"].to_string().contains("P-"), "rule 5: {blocked}");
    send(&served, "PATCH", &path, &json!({ "children": "unlink" })).is(200);
    post(&served, &start, &Value::Null).problem(409, "campaign_blocked");
    let with_them = send(&served, "PATCH", &path, &json!({ "children": "disconnect" })).is(200).json();
    assert_eq!(with_them["counts"]["accounts"], 2, "the child is in it as well");
    send(&served, "PATCH", &path, &json!({ "children": "keep" })).is(200);
    let started = post(&served, &start, &Value::Null).is(200).json();
    assert_eq!(started["counts"]["scheduled"], 1, "{started}");

    let again = new_campaign(&served, &json!({ "name": "Again", "accounts": [{ "account_number": "P-1" }] }));
    post(&served, &format!("{again}/start"), &Value::Null).problem(409, "nobody_left");
}

async fn templates_are_made_approved_and_switched(db: &TestDatabase) {
    let served = with_a_tower(db).await.serve(&[]);
    served.until_ready_is(200);
    let asked = json!({
        "name": "Monthly", "where": "group = tower", "cron": "0 2 1 * *", "zone": "America/Denver", "accounts_max": 100,
        "children": "keep", "per_minute": 600,
    });
    let made = as_of(&served, "op", "/api/v1/campaign-templates", &asked).is(201);
    let path = made.header("location").unwrap().to_owned();
    let template = made.json();
    assert_eq!((&template["cron"], &template["zone"]), (&json!("0 2 1 * *"), &json!("America/Denver")));
    assert_eq!((&template["created_by"], &template["approved_by"]), (&json!("op"), &Value::Null));
    assert!(template["next_at"].is_string(), "{template}");
    assert_eq!(get(&served, &path), template);
    assert_eq!(get(&served, "/api/v1/campaign-templates")["items"], json!([template]));
    assert_eq!(get(&served, &format!("/api/v1/campaigns?template={}", template["id"]))["items"], json!([]));
    as_of(&served, "lead", "/api/v1/campaign-templates", &asked).problem(409, "template_exists");

    let command = |token: &str, verb: &str| as_of(&served, token, &format!("{path}/{verb}"), &Value::Null);
    command("op", "approve").problem(403, "role_missing");
    command("op too", "approve").problem(403, "own_approval");
    assert_eq!(command("lead", "approve").is(200).json()["approved_by"], "lead");
    assert_eq!(command("lead", "unapprove").is(200).json()["approved_by"], Value::Null);
    assert_eq!(command("op", "off").is(200).json()["next_at"], Value::Null);
    assert_eq!(command("op", "on").is(200).json()["next_at"], template["next_at"]);
    served.request("GET", "/api/v1/campaign-templates/99").answer().problem(404, "unknown_template");
    post(&served, "/api/v1/campaign-templates/99/approve", &Value::Null).problem(404, "unknown_template");
    post(&served, "/api/v1/campaign-templates/99/off", &Value::Null).problem(404, "unknown_template");
}

/// An answer has all of its fields: null is something, and nothing is left out.
#[tokio::test(flavor = "multi_thread")]
async fn the_document_says_that_answers_have_all_terms() {
    TestDatabase::run_on_empty(Engine::Sqlite, async |db: &TestDatabase| {
        let served = installed(db).await.serve(&[]);
        served.until_ready_is(200);
        let document = get(&served, "/api/openapi.json");
        let terms = &document["components"]["schemas"]["CampaignTerms"];
        let fields: Vec<_> = terms["properties"].as_object().unwrap().keys().collect();
        assert_eq!(fields.len(), 9, "{terms}");
        let required = terms["required"].as_array().unwrap();
        assert!(fields.iter().all(|field| required.contains(&json!(field))), "{terms}");
    })
    .await;
}

/// All but when they were asked.
async fn the_command_line_and_the_api_answer_the_same(db: &TestDatabase) {
    let program = with_a_tower(db).await;
    let served = program.serve(&[]);
    served.until_ready_is(200);
    let path = new_campaign(&served, &json!({ "name": "Tower 1", "where": "group = tower", "on": "2099-12-01" }));
    post(&served, &format!("{path}/start"), &Value::Null).is(200);
    let asked = json!({ "name": "Monthly", "where": "group = tower", "cron": "0 2 1 * *", "accounts_max": 100 });
    post(&served, "/api/v1/campaign-templates", &asked).is(201);
    let timeless = |mut value: Value| {
        value.as_object_mut().unwrap().remove("as_of");
        for item in value["items"].as_array_mut().into_iter().flatten() {
            item.as_object_mut().unwrap().remove("as_of");
        }
        value
    };
    let id = get(&served, &path)["id"].to_string();
    for (path, arguments) in [
        ("/api/v1/campaigns", &["campaign", "list"][..]),
        (&*path, &["campaign", "show", &id]),
        (&format!("{path}/dry-run"), &["campaign", "dry-run", &id]),
        (&format!("{path}/log"), &["campaign", "log", &id]),
        ("/api/v1/campaign-templates", &["campaign", "template", "list"]),
        (&format!("/api/v1/events?campaign={id}"), &["events", "list", "--campaign", &id]),
    ] {
        assert_eq!(timeless(get(&served, path)), timeless(program.json(arguments)), "{path}");
    }
    let report = served.request("GET", &format!("{path}/report")).answer().is(200);
    assert_eq!(report.text(), program.run(&["campaign", "report", &id]).exits(0).stdout);
}
