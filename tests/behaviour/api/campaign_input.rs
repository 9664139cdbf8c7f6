//! What can't be a campaign: each is refused with a status, a code, and a sentence that says what to do.

use serde_json::{Value, json};

use super::campaigns::with_a_tower;
use super::{encoded, post};
use crate::behaviour::both_pairs;
use crate::support::database::TestDatabase;

both_pairs!(what_can_not_be_read_is_named, bad_rows_are_all_named, what_can_not_be_meant_is_refused);

async fn what_can_not_be_read_is_named(db: &TestDatabase) {
    let served = with_a_tower(db).await.serve(&[]);
    served.until_ready_is(200);
    let of_the_tower = |more: Value| {
        let mut asked = json!({ "name": "x", "where": "group = tower" });
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        asked
    };
    let one = json!([{ "account_number": "T-01" }]);
    let many: Vec<_> = (0..10_001).map(|n| json!({ "account_number": n.to_string() })).collect();
    for (asked, field, part) in [
        (json!({}), "body", "`name`"),
        (json!({ "name": "x" }), "accounts", "`where`"),
        (of_the_tower(json!({ "accounts": one })), "accounts", "either"),
        (json!({ "name": " ", "accounts": one }), "name", "1 to 64"),
        (json!({ "name": "x", "accounts": many }), "accounts", "text/csv"),
        (json!({ "name": "x", "accounts": [{ "number": "T-01" }] }), "body", "account_number"),
        (json!({ "name": "x", "where": "colour = red" }), "where", "debit_age"),
        (json!({ "name": "x", "where": "group =" }), "where", "expected"),
        (json!({ "name": "x", "where": "" }), "where", ""),
        (of_the_tower(json!({ "on": "tomorrow" })), "on", "2026-12-01"),
        (of_the_tower(json!({ "zone": "Mars" })), "zone", "America/New_York"),
        (of_the_tower(json!({ "reason": " " })), "reason", "empty"),
        (of_the_tower(json!({ "children": "adopt" })), "children", "keep, unlink"),
        (of_the_tower(json!({ "per_minute": 0 })), "per_minute", "leave it out"),
        (of_the_tower(json!({ "per_minute": -1 })), "body", "u32"),
        (of_the_tower(json!({ "canary": 0 })), "canary", "leave it out"),
        (of_the_tower(json!({ "window": "at night" })), "window", "mon-fri 09:00-17:00"),
        (of_the_tower(json!({ "window": "mon 09:00-09:00" })), "window", "09:00"),
        (of_the_tower(json!({ "pause_percent": 101 })), "pause_percent", "1 to 100"),
        (of_the_tower(json!({ "per_hour": 5 })), "body", "per_minute"),
    ] {
        let problem = post(&served, "/api/v1/campaigns", &asked).problem(422, "invalid");
        assert_eq!(problem["field"], field, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(part), "{part}: {problem}");
    }
    let template = |more: Value| {
        let mut asked = json!({ "name": "x", "where": "group = tower", "cron": "0 2 1 * *", "accounts_max": 10 });
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        asked
    };
    for (asked, field, part) in [
        (template(json!({ "cron": "0 2 30 2 *" })), "cron", "never fires"),
        (template(json!({ "cron": "monthly" })), "cron", "minute, hour"),
        (template(json!({ "where": "colour = red" })), "where", "debit_age"),
        (template(json!({ "zone": "Mars" })), "zone", "America/New_York"),
        (template(json!({ "accounts_max": 0 })), "accounts_max", "1 to 5000000"),
        (template(json!({ "window": "at night" })), "window", "mon-fri"),
        (template(json!({ "on": "2099-01-01" })), "body", "unknown field"),
    ] {
        let problem = post(&served, "/api/v1/campaign-templates", &asked).problem(422, "invalid");
        assert_eq!(problem["field"], field, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(part), "{part}: {problem}");
    }

    let csv = |query: &str, list: &str| {
        served.request("POST", &format!("/api/v1/campaigns{query}")).body("text/csv", list).answer()
    };
    for (query, field) in [
        ("", "query"),
        ("?name=x&per_hour=5", "query"),
        ("?name=x&per_minute=many", "query"),
        ("?name=x&accounts=T-01", "query"),
        ("?name=x&where=group%20%3D%20tower", "where"),
        ("?name=x&on=tomorrow", "on"),
        (&format!("?name={}", encoded(&"x".repeat(65))), "name"),
    ] {
        let problem = csv(query, "account_number\nT-01\n").problem(422, "invalid");
        assert_eq!(problem["field"], field, "{query}: {problem}");
    }
    let both = served.request("POST", "/api/v1/campaigns?name=x").json(&of_the_tower(json!({})));
    assert_eq!(both.answer().problem(422, "invalid")["field"], "query");
    let other = served.request("POST", "/api/v1/campaigns").body("text/plain", "T-01");
    let other = other.answer().problem(415, "unsupported_media_type");
    assert!(other["detail"].as_str().unwrap().contains("application/json or text/csv"), "{other}");
    for path in ["/api/v1/campaigns/1/report?format=xml", "/api/v1/campaigns/1/dry-run?on=now", "/api/v1/campaigns?x=1"]
    {
        served.request("GET", path).answer().problem(422, "invalid");
    }
    assert_eq!(db.count("campaigns").await + db.count("campaign_templates").await, 0, "nothing was made");
}

async fn bad_rows_are_all_named(db: &TestDatabase) {
    let served = with_a_tower(db).await.serve(&[]);
    served.until_ready_is(200);
    let csv = |list: &str| served.request("POST", "/api/v1/campaigns?name=x").body("text/csv", list).answer();
    for (list, part) in [
        ("", "must be the header account_number,[date],[reason]"),
        ("account\nT-01\n", "there is no column `account`"),
        ("account_number,colour\nT-01,red\n", "there is no column `colour`"),
        ("date,reason\n2099-01-01,x\n", "the column `account_number` is missing"),
        ("account_number,number\nT-01,T-01\n", "there twice"),
    ] {
        let problem = csv(list).problem(422, "bad_file");
        assert!(problem["detail"].as_str().unwrap().contains(part), "{part}: {problem}");
    }

    let all_bad = (0..25).fold("account_number,date\n".to_owned(), |list, n| list + &format!("T-{n:02},soon\n"));
    let report = csv(&all_bad).problem(422, "bad_rows")["report"].clone();
    assert_eq!(report["problems"].as_array().map(Vec::len), Some(25), "all of them at once: {report}");
    assert_eq!((&report["problems"][24]["line"], &report["problems"][24]["column"]), (&json!(26), &json!("date")));

    let each =
        "account_number,date,reason\nT-01,,\n,2099-01-01,\nT-01,,\nT-02,2020-01-01,\nT-03\nT-04,2099-13-01,\nT-05,,\n";
    let problem = csv(each).problem(422, "bad_rows");
    assert!(problem["detail"].as_str().unwrap().contains("correct them"), "{problem}");
    let named: Vec<_> = problem["report"]["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| (problem["line"].as_u64().unwrap(), problem["message"].as_str().unwrap()))
        .collect();
    for (line, part) in [(3, "missing"), (4, "line 2 already"), (5, "in the past"), (6, "1 fields"), (7, "not a date")]
    {
        let is_named = |(of, message): &(u64, &str)| *of == line && message.contains(part);
        assert!(named.iter().any(is_named), "line {line}, {part}: {named:?}");
    }
    assert_eq!(named.len(), 5, "{named:?}");

    // The same of a list within the document: its lines are its places.
    let accounts = json!([
        { "account_number": "T-01" },
        { "account_number": " ", "date": "soon" },
        { "account_number": "T-01" },
    ]);
    let problem = post(&served, "/api/v1/campaigns", &json!({ "name": "x", "accounts": accounts }));
    let report = problem.problem(422, "bad_rows")["report"].clone();
    let named: Vec<_> =
        report["problems"].as_array().unwrap().iter().map(|problem| (&problem["line"], &problem["column"])).collect();
    let (two, three) = (json!(2), json!(3));
    for wanted in [(&two, &json!("account_number")), (&two, &json!("date")), (&three, &json!("account_number"))] {
        assert!(named.contains(&wanted), "{wanted:?}: {report}");
    }
    assert_eq!(db.count("campaigns").await, 0, "nothing was made");
}

async fn what_can_not_be_meant_is_refused(db: &TestDatabase) {
    let served = with_a_tower(db).await.serve(&[]);
    served.until_ready_is(200);
    let make = |asked: Value| post(&served, "/api/v1/campaigns", &asked);
    let nobody = make(json!({ "name": "x", "where": "group = castle" })).problem(422, "empty_cohort");
    assert!(nobody["detail"].as_str().unwrap().contains("so nothing was done"), "{nobody}");
    make(json!({ "name": "x", "accounts": [] })).problem(422, "empty_cohort");
    let empty = served.request("POST", "/api/v1/campaigns?name=x").body("text/csv", "account_number\n").answer();
    empty.problem(422, "empty_cohort");
    let all = json!({ "name": "x", "where": "not group = castle", "children": "keep" });
    let refused = make(all.clone()).problem(422, "everyone_selected");
    assert_eq!(refused["accounts"], 32, "{refused}");
    let past = json!({ "name": "x", "where": "group = tower", "on": "2020-01-01" });
    make(past.clone()).problem(422, "past_date");
    assert_eq!(db.count("campaigns").await, 0, "nothing was made");

    let meant = |mut asked: Value, field: &str| {
        asked[field] = json!(true);
        make(asked).is(201).json()["counts"]["accounts"].clone()
    };
    assert_eq!(meant(all, "everyone"), 32);
    assert_eq!(meant(past, "late"), 30);
}
