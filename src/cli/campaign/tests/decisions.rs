//! What people decide about campaigns and templates, and what they are told: approvals, changes, lists, the log.

use super::super::super::session::Exit;
use super::by_hand::Installation;
use crate::store::Installations as _;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_shows_what_it_is_for_and_asks() {
    let it = Installation::new().await;
    it.says(&["settings", "set", "campaign_approval_over", "1"]).await.exits(Exit::Done);
    let id = it.made().await;
    it.says(&["campaign", "change", &id, "--children", "keep"]).await.exits(Exit::Done);
    let said = it.answered(&["campaign", "start", &id], Some("y")).await.exits(Exit::Refused);
    assert!(!said.stderr.contains("Start campaign"), "what can't be is not asked about: {}", said.stderr);

    let approve = ["campaign", "approve", &id];
    let said = it.answered_as("lead", &approve, Some("n"), None).await.exits(Exit::Refused);
    assert!(said.stderr.contains("What campaign 1 (n) would do"), "{}", said.stderr);
    assert!(said.stderr.contains("Approve campaign 1 (n): disconnect 2 accounts? [y/N]"), "{}", said.stderr);
    it.answered(&approve, Some("y")).await.exits(Exit::Refused);
    let said = it.answered_as("lead", &approve, Some("y"), None).await.exits(Exit::Done);
    assert!(said.stdout.contains("Campaign 1 (n) is approved by lead: 3 accounts."), "{}", said.stdout);

    let said = it.says(&["campaign", "change", &id, "--children", "keep"]).await.exits(Exit::Done);
    assert!(said.stdout.contains("is so already, and nothing was changed"), "{}", said.stdout);
    let said = it.says(&["--json", "campaign", "show", &id]).await;
    assert_eq!(said.json()["approved_by"], "lead", "so it is no change that voids an approval");
    it.store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_takes_away_what_it_calls_none() {
    let it = Installation::new().await;
    let id = it.made().await;
    let change = async |words: &[&str]| it.says(&[&["--json", "campaign", "change", &id], words].concat()).await;
    let terms = change(&["--reason", "moved", "--children", "keep"]).await.exits(Exit::Done).json()["terms"].clone();
    assert_eq!((&terms["reason"], &terms["children"]), (&"moved".into(), &"keep".into()));
    let terms = change(&["--reason", "none"]).await.exits(Exit::Done).json()["terms"].clone();
    assert_eq!((terms["reason"].as_str(), &terms["children"]), (None, &"keep".into()));
    let terms = change(&["--children", "none"]).await.exits(Exit::Done).json()["terms"].clone();
    assert_eq!(terms["children"].as_str(), None);
    let zone = async |zone| {
        let said = change(&["--where", "group = late", "--on", "2126-12-01", "--zone", zone]).await.exits(Exit::Done);
        said.json()["terms"]["on_zone"].as_str().map(str::to_owned)
    };
    assert_eq!(zone("Asia/Tokyo").await.as_deref(), Some("Asia/Tokyo"));
    assert_eq!(zone("none").await, None);

    let said = it.says(&["campaign", "change", &id, "--where", "group = nobody"]).await.exits(Exit::Refused);
    assert!(said.stderr.contains("so nothing was done"), "{}", said.stderr);
    let everyone = ["campaign", "change", &id, "--where", "balance >= 0"];
    let said = it.answered(&everyone, Some("n")).await.exits(Exit::Refused);
    assert!(said.stderr.contains("nothing was done: the answer was no"), "{}", said.stderr);
    it.store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_fits_a_terminal() {
    let it = Installation::new().await;
    let said = it.says(&["campaign", "list"]).await.exits(Exit::Done);
    assert!(said.stdout.starts_with("There are no campaigns yet"), "{}", said.stdout);
    let id = it.made().await;
    it.says(&["campaign", "change", &id, "--name", "leavers 11", "--children", "keep"]).await.exits(Exit::Done);
    it.says(&["campaign", "start", &id]).await.exits(Exit::Done);

    let said = it.says(&["campaign", "list"]).await.exits(Exit::Done);
    let lines: Vec<_> = said.stdout.lines().collect();
    let [titles, row] = &lines[..] else { panic!("{}", said.stdout) };
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        words(titles),
        ["CAMPAIGN", "NAME", "STATE", "ACCOUNTS", "DONE", "FAILED", "INVOICED", "MADE", "(UTC)", "BY"]
    );
    assert_eq!(words(row)[..6], ["1", "leavers", "11", "running", "3", "1"]);
    assert_eq!(words(row).last().map(String::as_str), Some("clerk"));

    let said = it.answered_as("clerk", &["campaign", "list"], None, Some(80)).await.exits(Exit::Done);
    assert_eq!(said.stdout.lines().count(), 2, "nothing is wrapped: {}", said.stdout);
    assert!(said.stdout.lines().all(|line| line.chars().count() <= 80), "{}", said.stdout);
    let said = it.says(&["campaign", "list", "--template", "1"]).await.exits(Exit::Refused);
    assert!(said.stderr.contains("there is no campaign template 1"), "{}", said.stderr);
    let said = it.says(&["events", "list"]).await.exits(Exit::Done);
    assert!(said.stdout.contains("CAMPAIGN") && said.stdout.contains(" 1  scheduled"), "{}", said.stdout);
    it.store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_done_with_a_campaign_is_in_its_log() {
    let it = Installation::new().await;
    let id = it.made().await;
    it.says(&["campaign", "change", &id, "--children", "keep"]).await.exits(Exit::Done);
    it.answered_as("lead", &["campaign", "start", &id], None, None).await.exits(Exit::Done);
    for verb in ["pause", "resume", "pause"] {
        it.says(&["campaign", verb, &id]).await.exits(Exit::Done);
    }
    let said = it.says(&["campaign", "log", &id]).await.exits(Exit::Done);
    let kinds = ["made", "changed", "started", "paused", "resumed", "paused"];
    assert_eq!(said.stdout.lines().count(), 1 + kinds.len(), "{}", said.stdout);
    assert!(said.stdout.contains("started: 2 accounts to disconnect") && said.stdout.contains("lead (cli)"));
    let page = it.says(&["--json", "campaign", "log", &id, "--limit", "2"]).await.exits(Exit::Done).json();
    assert_eq!((&page["items"][0]["kind"], &page["items"][1]["kind"]), (&"made".into(), &"changed".into()));
    let cursor = page["next_cursor"].as_str().expect("there is more").to_owned();
    let rest = it.says(&["--json", "campaign", "log", &id, "--after", &cursor]).await.exits(Exit::Done).json();
    let rest: Vec<_> = rest["items"].as_array().unwrap().iter().map(|entry| entry["kind"].as_str().unwrap()).collect();
    assert_eq!(rest, kinds[2..]);

    let said = it.says(&["campaign", "show", &id]).await.exits(Exit::Done);
    let (_, history) = said.stdout.split_once("History, the last 5; disconnectd campaign log 1 has all:").unwrap();
    assert!(!history.contains("made of 3 accounts") && history.contains("changed: revision 2"), "{history}");
    assert!(history.contains("campaign resume 1"), "what to do next comes last: {history}");
    it.says(&["campaign", "log", "9"]).await.exits(Exit::Refused);
    it.store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_says_what_it_does_and_who_changed_it() {
    let it = Installation::new().await;
    it.says(&["settings", "set", "company_zone", "Asia/Tokyo"]).await.exits(Exit::Done);
    let create = ["campaign", "template", "create", "--name", "late", "--where", "group = late", "--cron", "0 9 1 * *"];
    let said = it.says(&[&create[..], &["--max-accounts", "5"]].concat()).await.exits(Exit::Done);
    for part in ["Template 1 (late) is made.", "what matches group = late", "0 9 1 * * in Asia/Tokyo", "5 accounts; a"]
    {
        assert!(said.stdout.contains(part), "{part}: {}", said.stdout);
    }
    assert!(said.stdout.contains("none: its campaigns wait for a person") && !said.stdout.contains("Changed"));
    let said = it.says(&["campaign", "template", "off", "1"]).await.exits(Exit::Done);
    assert_eq!(said.stdout, "Template 1 (late) is off: it makes no more campaigns.\n");
    let said = it.answered_as("lead", &["campaign", "template", "show", "1"], None, None).await.exits(Exit::Done);
    assert!(said.stdout.contains("switched off; `disconnectd campaign template on 1`"), "{}", said.stdout);
    let said = it.answered_as("lead", &["campaign", "template", "approve", "1"], None, None).await.exits(Exit::Done);
    assert!(said.stdout.starts_with("Template 1 (late) is approved: campaigns of at most 5 accounts start by"));
    let said = it.answered_as("bo", &["campaign", "template", "on", "1"], None, None).await.exits(Exit::Done);
    assert!(
        said.stdout.starts_with("Template 1 (late) is on: it makes campaigns; the next one at "),
        "{}",
        said.stdout
    );
    assert!(said.stderr.contains("nothing is serving this database"), "{}", said.stderr);
    let said = it.says(&["campaign", "template", "show", "1"]).await.exits(Exit::Done);
    let sheet = said.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(sheet.contains("given by lead: its campaigns start by themselves"), "{sheet}");
    assert!(sheet.contains("Changed by bo at 20"), "{sheet}");

    let said = it.answered_as("clerk", &["campaign", "template", "list"], None, Some(80)).await.exits(Exit::Done);
    assert_eq!(said.stdout.lines().count(), 2, "nothing is wrapped: {}", said.stdout);
    let said = it.says(&["campaign", "list", "--template", "1"]).await.exits(Exit::Done);
    assert!(said.stdout.starts_with("No campaign matches"), "{}", said.stdout);
    it.store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_very_many_bad_rows_a_program_gets_the_first_and_the_file_has_all() {
    let it = Installation::new().await;
    let list = it.file("list.csv", &format!("account_number,date\n{}", "1003,someday\n".repeat(10_005)));
    let problems = it.file("gone", "");
    std::fs::remove_file(&problems).unwrap();
    let words = ["--json", "campaign", "create", "--name", "n", "--accounts", &list, "--problems", &problems];
    let said = it.says(&words).await.exits(Exit::Failed).json();
    assert_eq!(said["problems"].as_array().map(Vec::len), Some(10_000));
    assert_eq!(said["problems_not_listed"], 5);
    assert_eq!(std::fs::read_to_string(&problems).unwrap().lines().count(), 10_006);
    it.store.close().await;
}
