//! Campaigns, without JavaScript: made, looked at, approved, started, stopped; and their progress as it is told.

use std::io::{BufRead, BufReader};

use disconnectd::domain::token::Role;

use super::{Browser, hidden, text_of, with_users};
use crate::behaviour::both_pairs;
use crate::http::Answer;
use crate::support::database::TestDatabase;

both_pairs!(
    a_campaign_is_made_in_each_of_three_ways,
    what_is_wrong_makes_nothing,
    a_campaign_runs_from_dry_run_to_report,
    what_moved_since_the_dry_run_asks_again,
    an_approval_is_somebody_elses,
    a_campaign_is_paused_resumed_and_aborted,
    progress_is_told_and_ends,
    names_of_campaigns_are_shown_as_they_are,
);

const LONG: &str = "account_number,date,reason\n1002,,moved away\n1003,2099-12-24,\n";

impl Browser<'_> {
    /// Sends the form of a new campaign as a browser does: in parts, with a file that may be empty.
    pub(super) fn makes(&mut self, fields: &[(&str, &str)], file: &str) -> Answer {
        self.sends("/campaigns/new", fields, file)
    }

    pub(super) fn sends(&mut self, path: &str, fields: &[(&str, &str)], file: &str) -> Answer {
        let key = self.form_key.clone();
        let fields = [&[("form_key", key.as_str())], fields].concat();
        let part = |(name, value): &(&str, &str)| {
            format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let file = format!(
            "--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"list.csv\"\r\n\
             Content-Type: text/csv\r\n\r\n{file}\r\n--edge--\r\n"
        );
        let body = fields.iter().map(part).collect::<Vec<_>>().concat() + &file;
        let answer = self.request("POST", path).body("multipart/form-data; boundary=edge", body).answer();
        self.takes(answer)
    }

    /// Makes one and answers its path.
    #[track_caller]
    pub(super) fn made(&mut self, fields: &[(&str, &str)], file: &str) -> String {
        self.page("/campaigns/new");
        let to = self.makes(fields, file).is(303).header("location").unwrap().to_owned();
        to.split('?').next().unwrap().to_owned()
    }
}

async fn a_campaign_is_made_in_each_of_three_ways(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Operator);
    assert!(text_of(&browser.page("/campaigns")).contains("There are no campaigns yet."));
    let terms = [
        ("name", "Tower 3"),
        ("date", "2099-12-01"),
        ("zone", "Europe/Berlin"),
        ("children", "keep"),
        ("per_minute", "60"),
        ("canary", "1"),
        ("reason", "the tower is taken down"),
    ];
    let with = |more: (&'static str, &'static str)| [&terms[..], &[more]].concat();
    let by_file = browser.made(&terms, LONG);
    let by_list = browser.made(&with(("numbers", "1002\r\n\r\n 1003 \r\n")), "");
    let by_filter = browser.made(&with(("where", "group = tower-3")), "");
    let by_table = browser.made(&with(("numbers", "account_number,date\r\n1002,2099-12-05\r\n1003,")), "");
    for (path, from) in [
        (&by_file, "a list"),
        (&by_list, "a list"),
        (&by_filter, "what matches group = tower-3"),
        (&by_table, "a list"),
    ] {
        let page = text_of(&browser.page(path));
        for part in [
            "Tower 3",
            from,
            "Accounts 2",
            "2099-12-01 in Europe/Berlin",
            "at most 60 a minute",
            "pauses after the first 1",
        ] {
            assert!(page.contains(part), "{path}: {part}: {page}");
        }
    }
    let id = by_file.rsplit('/').next().unwrap();
    let dry_run = program.json(&["campaign", "dry-run", id]);
    assert_eq!(dry_run["days"].as_array().unwrap().len(), 2, "a row has its own date: {dry_run}");
    let list = browser.page("/campaigns?search=TOWER&state=draft");
    assert_eq!(list.matches("data-campaign=").count(), 4, "{list}");
    assert_eq!(browser.page("/campaigns?state=running").matches("data-campaign=").count(), 0);
    assert!(!Browser::of(&served, Role::Viewer).page("/campaigns").contains("/campaigns/new"));
}

async fn what_is_wrong_makes_nothing(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Operator);
    browser.page("/campaigns/new");
    let rows = (0..30).map(|n| format!("100{n},2026-02-30,\n")).collect::<Vec<_>>().concat();
    let bad = browser.makes(&[("name", "Bad")], &format!("account_number,date,reason\n1002,,\n{rows}1002,,\n")).is(422);
    let page = bad.text();
    assert!(page.contains("id=\"bad-rows\"") && page.contains("value=\"Bad\""), "what was typed stays: {page}");
    let text = text_of(&page);
    assert!(text.contains("3 date") && text.contains("and 11 more."), "{text}");
    assert_eq!(page.matches("<th scope=\"row\">").count(), 20);
    for (fields, file, id) in [
        (&[("name", "")][..], LONG, "name-error"),
        (&[("name", "x")], "", "cohort-error"),
        (&[("name", "x"), ("numbers", "1002")], LONG, "cohort-error"),
        (&[("name", "x"), ("where", "tower")], "", "where-error"),
        (&[("name", "x")], "what,ever\n1,2\n", "file-error"),
        (&[("name", "x"), ("canary", "few"), ("numbers", "1002")], "", "canary-error"),
        (&[("name", "x"), ("per_minute", "0"), ("numbers", "1002")], "", "per_minute-error"),
        (&[("name", "x"), ("date", "1999-01-01"), ("numbers", "1002")], "", "on-error"),
        (&[("name", "x"), ("zone", "Nowhere"), ("numbers", "1002")], "", "zone-error"),
        (&[("name", "x"), ("window", "often"), ("numbers", "1002")], "", "window-error"),
        (&[("name", "x"), ("where", "status = Active or status = Lead")], "", "where-error"),
    ] {
        let page = browser.makes(fields, file).is(422).text();
        assert!(page.contains(&format!("id=\"{id}\"")), "{fields:?}: {page}");
    }
    browser.form_key = "another".into();
    browser.makes(&[("name", "x"), ("numbers", "1002")], "").is(403);
    assert_eq!(db.count("campaigns").await, 0);
}

async fn a_campaign_runs_from_dry_run_to_report(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Operator);
    let path = browser.made(&[("name", "Leavers"), ("children", "keep"), ("numbers", "1002\n1003\nnone")], "");
    let page = browser.page(&format!("{path}/dry-run"));
    let text = text_of(&page);
    for part in [
        "To disconnect 2",
        "Left out 1",
        "1 over USD 21.54",
        "1 account: Unknown (left out, the rest goes on)",
        "there was no account none",
        "Start campaign",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(page.contains("<svg") && page.contains("<rect") && !page.contains(" style="), "{page}");
    let csv = browser.get(&format!("{path}/blockers?format=csv")).is(200);
    assert!(csv.text().starts_with("account_number,kind,effect,detail\nnone,unknown_account,"), "{csv:?}");
    let digest = hidden(&page, "digest").unwrap();
    let to =
        browser.post(&format!("{path}/start"), &[("digest", &digest)]).is(303).header("location").unwrap().to_owned();
    browser.page(&to);
    let id = path.rsplit('/').next().unwrap();
    program.run(&["campaign", "watch", id]).exits(0);
    let done = text_of(&browser.page(&path));
    assert!(done.contains("is completed") && done.contains("2 disconnected, 1 left out"), "{done}");
    assert!(done.contains("1 over USD 21.54") && done.contains("3 of 3 accounts done (100 %)"), "{done}");
    assert!(done.contains("started: 2 accounts to disconnect"), "its log: {done}");
    let report = browser.get(&format!("{path}/report?format=csv")).is(200);
    assert!(report.header("content-disposition").unwrap().contains("campaign-"), "{report:?}");
    assert_eq!(report.text().lines().count(), 4);
    let report = browser.get(&format!("{path}/report?format=json")).is(200).json();
    assert_eq!(report["summary"]["adds_up"], true, "{report}");
    let again = browser.post(&format!("{path}/start"), &[("digest", &digest)]);
    assert!(again.is(422).text().contains("is completed, so it can&#39;t be started"));
}

async fn what_moved_since_the_dry_run_asks_again(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Operator);
    let path = browser.made(&[("name", "Leavers"), ("children", "keep"), ("numbers", "1002")], "");
    let digest = hidden(&browser.page(&format!("{path}/dry-run")), "digest").unwrap();
    program.write(
        "more.csv",
        "account_number,reference,description,amount,tax,charged_on\n1002,late,A late charge,5.00,0.00,2026-11-20\n",
    );
    program.run(&["import", "debits", "more.csv"]).exits(0);
    browser.post(&format!("{path}/start"), &[]).is(422);
    let stale = browser.post(&format!("{path}/start"), &[("digest", &digest)]).is(409).text();
    assert!(stale.contains("id=\"stale\"") && text_of(&stale).contains("USD 26.54"), "{stale}");
    assert_eq!(db.count("disconnect_events").await, 0);
    let digest = hidden(&stale, "digest").unwrap();
    browser.post(&format!("{path}/start"), &[("digest", &digest)]).is(303);
}

async fn an_approval_is_somebody_elses(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    program.run(&["settings", "set", "campaign_approval_over", "1"]).exits(0);
    let fields = [("name", "Leavers"), ("children", "keep"), ("numbers", "1002\n1003")];
    let mut operator = Browser::of(&served, Role::Operator);
    let path = operator.made(&fields, "");
    let dry_run = operator.page(&format!("{path}/dry-run"));
    assert!(!dry_run.contains("id=\"start\"") && !dry_run.contains("id=\"approve\""), "{dry_run}");
    let digest = hidden(&Browser::of(&served, Role::Approver).page(&format!("{path}/dry-run")), "digest").unwrap();
    let digest = [("digest", digest.as_str())];
    let refused = operator.post(&format!("{path}/start"), &digest).is(422).text();
    assert!(text_of(&refused).contains("somebody else than its maker"), "{refused}");
    operator.post(&format!("{path}/approve"), &digest).is(403);
    let mut approver = Browser::of(&served, Role::Approver);
    let own = approver.made(&fields, "");
    let own_digest = hidden(&approver.page(&format!("{own}/dry-run")), "digest").unwrap();
    let refused = approver.post(&format!("{own}/approve"), &[("digest", &own_digest)]).is(422).text();
    assert!(text_of(&refused).contains("somebody else has to approve it"), "{refused}");
    let to = approver.post(&format!("{path}/approve"), &digest).is(303).header("location").unwrap().to_owned();
    assert!(text_of(&approver.page(&to)).contains("is approved. It may be started."));
    let dry_run = operator.page(&format!("{path}/dry-run"));
    assert!(dry_run.contains("id=\"start\""), "{dry_run}");
    operator.post(&format!("{path}/start"), &[("digest", &hidden(&dry_run, "digest").unwrap())]).is(303);
}

/// A campaign that goes on for long, started.
fn slow(browser: &mut Browser) -> String {
    let fields = [("name", "Slow"), ("children", "keep"), ("date", "2099-12-01"), ("numbers", "1002\n1003")];
    let path = browser.made(&fields, "");
    let digest = hidden(&browser.page(&format!("{path}/dry-run")), "digest").unwrap();
    browser.post(&format!("{path}/start"), &[("digest", &digest)]).is(303);
    path
}

async fn a_campaign_is_paused_resumed_and_aborted(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Operator);
    let path = slow(&mut browser);
    let running = browser.page(&path);
    assert!(running.contains("data-live=") && running.contains("id=\"pause\"") && running.contains("id=\"abort\""));
    assert!(running.contains("id=\"reload\""), "for those without a script");
    let seen = Browser::of(&served, Role::Viewer).page(&path);
    assert!(!seen.contains("id=\"pause\"") && !seen.contains("id=\"abort\""), "{seen}");
    for (command, fields, said) in [
        ("pause", &[("reason", "lunch <now>")][..], "is paused. Nothing more of it begins; 2 accounts are left."),
        ("resume", &[], "is running, with 2 accounts left."),
        ("abort", &[("reason", "wrong list")], "is aborted. What had not begun never will."),
    ] {
        let window = text_of(&browser.page(&format!("{path}/{command}")));
        assert!(window.contains("Slow") && window.contains("2 accounts"), "{command}: {window}");
        let to = browser.post(&format!("{path}/{command}"), fields).is(303).header("location").unwrap().to_owned();
        let page = browser.page(&to);
        assert!(text_of(&page).contains(said), "{command}: {}", text_of(&page));
        assert!(page.contains("lunch &#60;now&#62;"), "{command}: the log has it: {page}");
    }
    let refused = browser.post(&format!("{path}/resume"), &[]).is(422).text();
    assert!(text_of(&refused).contains("was aborted, so it can"), "{refused}");
    let nothing = browser.post(&format!("{path}/retry"), &[]).is(422).text();
    assert!(text_of(&nothing).contains("Campaign"), "{nothing}");
    for unknown in [format!("{path}/explode"), "/campaigns/999999".into(), "/campaigns/x".into()] {
        browser.get(&unknown).is(404);
    }
    assert_eq!(program.json(&["accounts", "show", "1002"])["disconnected_at"], serde_json::Value::Null);
}

/// The lines of a stream, from behind its head.
fn listening(browser: &Browser, path: &str) -> impl Iterator<Item = String> + use<> {
    let stream = browser.request("GET", &format!("{path}/live")).sent().unwrap();
    BufReader::new(stream).lines().map_while(Result::ok)
}

async fn progress_is_told_and_ends(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Operator);
    let path = slow(&mut browser);
    let mut lines = listening(&browser, &path);
    assert!(lines.next().unwrap().contains("200"));
    let mut until = |wanted: &str| {
        let found = lines.by_ref().take(200).find(|line| line.contains(wanted));
        assert!(found.is_some(), "it never said {wanted}");
    };
    until("text/event-stream");
    until("event: progress");
    until("is running");
    browser.page(&format!("{path}/pause"));
    browser.post(&format!("{path}/pause"), &[]).is(303);
    until("event: end");
    until("is paused");
    // What it told, it told whole; then the stream ends.
    assert!(lines.count() < 50);

    // A stop of the process ends it as well.
    browser.post(&format!("{path}/resume"), &[]).is(303);
    let mut lines = listening(&browser, &path);
    assert!(lines.by_ref().take(200).any(|line| line.contains("event: progress")));
    served.signal("TERM");
    assert!(lines.count() < 50);
    assert_eq!(served.ended().0, Some(0));
}

async fn names_of_campaigns_are_shown_as_they_are(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Operator);
    let hostile = "<script>alert(1)</script>\"'>";
    let path = browser.made(&[("name", hostile), ("reason", hostile), ("numbers", "1002\n<i>")], "");
    for page in [
        "/campaigns".to_owned(),
        format!("/campaigns?search={}", "%3Cscript%3E%22%3E"),
        path.clone(),
        format!("{path}/dry-run"),
        format!("{path}/abort"),
    ] {
        let page = browser.page(&page);
        for raw in ["<script>alert", "<i>", "\"><script>", " style=\"", "onclick="] {
            assert!(!page.contains(raw), "{raw}: {page}");
        }
    }
    let wrong = browser.makes(&[("name", ""), ("where", hostile)], "").is(422).text();
    assert!(!wrong.contains("<script>alert"), "{wrong}");
}
