//! Campaigns, as an operations lead runs them: through the commands, beside processes that serve.

use disconnectd::domain::event::State;
use serde_json::Value;

use super::{both_pairs, installed, queue_url};
use crate::program::{DEADLINE, Program, Served};
use crate::support::database::{Engine, TestDatabase};
use crate::support::rows::{account, debit};
use crate::support::wait_until;

both_pairs!(
    the_sample_campaign_adds_up_from_a_list,
    the_sample_campaign_adds_up_from_a_filter,
    when_a_pause_answers_nothing_more_begins,
    an_abort_takes_back_what_was_queued_and_a_new_request_goes_through,
    a_single_disconnect_overtakes_a_campaign,
    of_two_campaigns_none_waits_for_the_other,
    what_fails_pauses_it_and_is_tried_again,
    a_template_that_somebody_approved_starts_its_campaigns,
);

/// The 1,869 who left, 139,130.85 USD: through dry run, approval, canary, pause, resume and report.
async fn the_sample_campaign_adds_up_from_a_list(db: &TestDatabase) {
    the_sample_campaign(db, ["--accounts", "-"]).await;
}

async fn the_sample_campaign_adds_up_from_a_filter(db: &TestDatabase) {
    the_sample_campaign(db, ["--where", "group = \"churn: yes\""]).await;
}

async fn the_sample_campaign(db: &TestDatabase, cohort: [&str; 2]) {
    let program = Program::new(db.folder(), db.url(), queue_url(db));
    let sample = include_str!("../../src/demo/telco-customer-churn.csv");
    let leavers = sample.lines().filter(|line| line.trim_end().ends_with("Yes"));
    let numbers: Vec<&str> = leavers.filter_map(|line| line.split(',').next()).collect();
    assert_eq!(numbers.len(), 1869);
    let list = format!("account_number\n{}\n", numbers.join("\n"));
    let terms = ["--children", "keep", "--canary", "25", "--per-minute", "30000"];

    program.run(&["demo", "--load"]).exits(0);
    program.run(&["settings", "set", "campaign_approval_over", "1000"]).exits(0);
    let lead = token(&program, "approver");
    let create = [&["--json", "campaign", "create", "--name", "Leavers"], &cohort[..], &terms].concat();
    let campaign = program.run_with_input(&create, &list).exits(0).json();
    assert_eq!(campaign["state"], "awaiting_approval");
    let id = campaign["id"].to_string();
    let dry_run = program.json(&["campaign", "dry-run", &id]);
    assert_eq!((&dry_run["accounts"], &dry_run["to_disconnect"]), (&1869.into(), &1869.into()));
    assert_eq!(dry_run["final_invoices"][0]["amount"], "139130.85");
    assert_eq!(dry_run["addresses_released"], 1869);
    let digest = dry_run["digest"].as_str().unwrap();
    let refused = program.run(&["campaign", "start", &id]).exits(3);
    assert!(refused.stderr.contains("somebody else than its maker"), "{refused:#?}");
    let approved = program.bearing(&lead).json(&["campaign", "approve", &id, "--digest", digest]);
    assert_eq!(approved["approved_by"], "lead");
    program.run(&["campaign", "start", &id, "--digest", digest]).exits(0);

    let serving = program.serve(&[]);
    let paused = until(&program, &id, |campaign| campaign["state"] == "paused").await;
    assert_eq!((&paused["pause_cause"], &paused["counts"]["completed"]), (&"canary".into(), &25.into()), "{paused}");
    program.run(&["campaign", "resume", &id]).exits(0);
    let ended = "select count(*) from disconnect_events where state = 'completed'";
    wait_until(DEADLINE, "it goes on", async || db.number(ended).await > 25).await;
    let paused = program.json(&["campaign", "pause", &id]);
    assert!(paused["counts"]["completed"].as_i64() < Some(1869), "in the middle: {paused}");
    program.run(&["campaign", "resume", &id]).exits(0);
    program.run(&["campaign", "watch", &id]).exits(0);
    stop(serving);

    let done = program.json(&["campaign", "show", &id]);
    assert_eq!((&done["state"], &done["counts"]["disconnected"]), (&"completed".into(), &1869.into()));
    let report = program.run(&["campaign", "report", &id]).exits(0);
    let mut rows = csv::Reader::from_reader(report.stdout.as_bytes());
    let amount = rows.headers().unwrap().iter().position(|column| column == "amount").unwrap();
    let cents = |text: &str| text.replace('.', "").parse::<i64>().unwrap();
    let amounts: Vec<i64> = rows.records().map(|row| cents(&row.unwrap()[amount])).collect();
    assert_eq!((amounts.len(), amounts.iter().sum::<i64>()), (1869, 13_913_085));
    assert!(report.stderr.contains("139,130.85 USD, as the dry run said"), "{}", report.stderr);
    let report = program.json(&["campaign", "report", &id, "--format", "json"]);
    assert_eq!((&report["summary"]["adds_up"], report["rows"].as_array().unwrap().len()), (&true.into(), 1869));
    assert_eq!(db.number("select cast(sum(total) as bigint) from invoices where kind = 'final'").await, 13_913_085);
    assert_eq!(db.number("select count(*) from accounts where disconnected_at is not null").await, 1869);
    program.run(&["doctor"]).exits(0);
}

/// At scale with 2 schedulers and 3 workers in processes of their own.
async fn when_a_pause_answers_nothing_more_begins(db: &TestDatabase) {
    let program = with_accounts(db, 3_000).await;
    // Slow enough for commands that take their time on a busy machine; the store's races are held at full speed.
    let id = started(&program, &["--per-minute", "12000"]);
    let serving = serve(db, &program);
    let ended = "select count(*) from disconnect_events where campaign_id is not null and state = 'completed'";
    let mut pauses = Vec::new();
    let mut completed = 0;
    for n in [100, 900, 1_700] {
        // In the middle of it each time.
        let before = completed;
        wait_until(DEADLINE, "it has gone on", async || db.number(ended).await >= before + 100).await;
        let stopped = program.json(&["campaign", "pause", &id, "--reason", "a call from the field"]);
        completed = stopped["counts"]["completed"].as_i64().unwrap();
        assert_eq!(completed, db.number(ended).await, "the answer is exact");
        assert!(completed < 3_000, "in the middle");
        assert_eq!(stopped["counts"]["queued"], 0);
        // The workers are alive: a single one gets through meanwhile.
        program.run(&["disconnect", &format!("single-{n}"), "--yes"]).exits(0);
        assert_eq!(completed, db.number(ended).await, "nothing more began");
        let resumed = program.json(&["campaign", "resume", &id]);
        pauses.push((stopped["as_of"].as_str().unwrap().to_owned(), resumed["as_of"].as_str().unwrap().to_owned()));
    }
    wait_until(DEADLINE, "it has gone on", async || db.number(ended).await >= completed + 100).await;
    program.run(&["campaign", "abort", &id, "--yes"]).exits(0);
    for (paused, resumed) in pauses {
        let between = format!(
            "select count(*) from disconnect_events
              where campaign_id is not null and ended_at > '{paused}' and ended_at < '{resumed}'"
        );
        assert_eq!(db.number(&between).await, 0, "between {paused} and {resumed}");
    }
    // Stopped in order, so that nothing is in anybody's hands when all is counted.
    serving.into_iter().for_each(stop);
    let done = db.number("select count(*) from accounts where disconnected_at is not null").await;
    assert_eq!(db.number("select count(*) from invoices where kind = 'final'").await, done);
    program.run(&["doctor"]).exits(0);
}

async fn an_abort_takes_back_what_was_queued_and_a_new_request_goes_through(db: &TestDatabase) {
    let program = with_accounts(db, 3_000).await;
    // Slow enough for commands that take their time on a busy machine; the store's races are held at full speed.
    let id = started(&program, &["--per-minute", "12000"]);
    let serving = serve(db, &program);
    until(&program, &id, |campaign| campaign["counts"]["completed"].as_i64() >= Some(100)).await;
    let aborted = program.json(&["campaign", "abort", &id, "--yes"]);
    let completed = aborted["counts"]["completed"].as_i64().unwrap();
    assert!(completed < 3_000, "in the middle");
    // The last of the list: its event may not be cancelled yet.
    program.run(&["disconnect", "A-2999", "--yes"]).exits(0);
    let over = until(&program, &id, |campaign| campaign["counts"]["scheduled"] == 0).await;
    let counts = &over["counts"];
    assert_eq!((&over["state"], &counts["completed"]), (&"aborted".into(), &completed.into()), "{over}");
    let add = |keys: &[&str]| keys.iter().map(|key| counts[*key].as_i64().unwrap()).sum::<i64>();
    assert_eq!(add(&["completed", "cancelled", "waiting"]), 3_000, "{over}");
    assert_eq!(
        db.number("select count(*) from accounts where disconnected_at is not null").await,
        completed + 1,
        "and the one that was asked for by itself"
    );
    program.run(&["campaign", "resume", &id]).exits(3);
    drop(serving);
}

/// It goes to a queue of its own, so it never stands behind the campaign's messages.
async fn a_single_disconnect_overtakes_a_campaign(db: &TestDatabase) {
    // Small batches, so that the queue is long for a good while on any machine.
    let program = with_accounts(db, 4_000).await.configured("[worker]\nbatch_max = 4\n");
    let id = started(&program, &[]);
    let serving = serve(db, &program);
    let queued = format!("select count(*) from disconnect_events where campaign_id = {id} and state = 'queued'");
    wait_until(DEADLINE, "the campaign has filled the queue", async || db.number(&queued).await >= QUEUED).await;
    // Asked for here: a process would take its time to start, and the campaign goes on meanwhile.
    let single = db.due("single-100").await;
    wait_until(DEADLINE, "the single one is done", async || db.state(single).await == State::Completed).await;

    let of_the_campaign = |when: &str| {
        format!(
            "select count(*) from disconnect_events c, disconnect_events s
              where s.id = {single} and c.campaign_id = {id} and {when}"
        )
    };
    let before = db.number(&of_the_campaign("c.ended_at > s.created_at and c.ended_at <= s.ended_at")).await;
    wait_until(DEADLINE, "the campaign has gone on", async || {
        db.number(&of_the_campaign("c.ended_at > s.ended_at")).await >= QUEUED / 4
    })
    .await;
    assert!(before < QUEUED / 2, "it stood behind {before} of the {QUEUED} and more that were in the queue before it");
    program.run(&["campaign", "abort", &id, "--yes"]).exits(0);
    drop(serving);
}

/// What a single disconnect finds in the queue at least.
const QUEUED: i64 = 2_000;

async fn of_two_campaigns_none_waits_for_the_other(db: &TestDatabase) {
    let program = with_accounts(db, 2_400).await;
    let first = started_where(&program, "group = all and group = even");
    let second = started_where(&program, "group = all and not group = even");
    let serving = serve(db, &program);
    let done =
        |id: &str| format!("select count(*) from disconnect_events where campaign_id = {id} and state = 'completed'");
    wait_until(DEADLINE, "one has done half of its accounts", async || db.number(&done(&first)).await > 600).await;
    // By then the other had done a good part of its own.
    let shared = format!(
        "select count(*) from disconnect_events
          where campaign_id = {second} and ended_at < (select ended_at from disconnect_events
              where campaign_id = {first} and ended_at is not null order by ended_at limit 1 offset 600)"
    );
    let shared = db.number(&shared).await;
    assert!((200..=1_199).contains(&shared), "{shared} of the second when 600 of the first were done");
    drop(serving);
}

async fn what_fails_pauses_it_and_is_tried_again(db: &TestDatabase) {
    let program = installed(db).await.configured("[worker]\nfailures_max = 1\n");
    let in_it = (0..30).map(|n| format!("bad-{n}")).chain((0..120).map(|n| format!("good-{n}")));
    let in_it = in_it.map(|number| account(&number).groups(&["all"]));
    db.accounts(in_it.chain([account("another")])).await;
    db.sabotage("accounts", "bad-%").await;
    // So that not all of it has been tried before somebody looks at the failures.
    let id = started(&program, &["--per-minute", "3000"]);
    let serving = serve(db, &program);
    let paused = until(&program, &id, |campaign| campaign["state"] == "paused").await;
    assert_eq!(paused["pause_cause"], "failures", "{paused}");
    assert!(paused["counts"]["failed"].as_i64() >= Some(1), "{paused}");
    let told = program.run(&["campaign", "watch", &id]).exits(4);
    assert!(told.stderr.contains("accounts that were tried have failed, more than 10 %"), "{told:#?}");
    let told = program.run(&["campaign", "show", &id]).exits(0);
    assert!(told.stdout.contains("History") && told.stdout.contains("scheduler ("), "it paused by itself: {told:#?}");

    db.end_sabotage().await;
    program.run(&["campaign", "resume", &id]).exits(0);
    let told = program.run(&["campaign", "watch", &id]).exits(1);
    assert!(told.stderr.contains(&format!("of campaign {id} failed; `disconnectd campaign report {id}`")), "{told:#?}");
    let failed = program.json(&["campaign", "show", &id])["counts"]["failed"].to_string();
    let told = program.run(&["campaign", "retry", &id]).exits(0);
    // It may be completed again before it is told.
    assert!(told.stdout.contains(&format!(": {failed} account")), "{told:#?}");
    assert!(told.stdout.contains("tried again"), "{told:#?}");
    program.run(&["campaign", "watch", &id]).exits(0);
    let done = program.json(&["campaign", "show", &id]);
    assert_eq!((&done["state"], &done["counts"]["disconnected"]), (&"completed".into(), &150.into()), "{done}");
    drop(serving);
}

async fn a_template_that_somebody_approved_starts_its_campaigns(db: &TestDatabase) {
    // Another process's change of a tick is noticed at the sweep at the latest.
    let program = with_accounts(db, 40).await.configured("[scheduler]\nsweep = \"* * * * * *\"\n");
    let create = ["campaign", "template", "create", "--name", "Even", "--where", "group = even", "--cron", "0 9 1 * *"];
    let made = program.run(&[&create[..], &["--max-accounts", "25"]].concat()).exits(0);
    assert!(made.stdout.contains("Template 1 (Even) is made."), "{made:#?}");
    let lead = program.bearing(&token(&program, "approver"));
    let approved = lead.run(&["campaign", "template", "approve", "1"]).exits(0);
    assert!(approved.stdout.contains("campaigns of at most 25 accounts start by themselves"), "{approved:#?}");

    let serving = serve(db, &program);
    let tick_of = async |template: u32| {
        let due = format!("update campaign_templates set next_at = {} where id = {template}", db.instant(-60));
        assert_eq!(db.sql(&due).await, 1);
    };
    tick_of(1).await;
    let over = "select count(*) from campaigns where state = 'completed'";
    wait_until(DEADLINE, "the campaign of the tick is done", async || db.number(over).await == 1).await;
    let campaigns = program.json(&["campaign", "list", "--template", "1"]);
    let campaign = &campaigns["items"][0];
    assert_eq!((&campaign["counts"]["disconnected"], &campaign["template_id"]), (&20.into(), &1.into()), "{campaigns}");
    let shown = program.run(&["campaign", "template", "show", "1"]).exits(0).stdout;
    assert!(shown.contains(&format!(", campaign {}", campaign["id"])), "{shown}");

    // Without the standing approval of somebody, a campaign waits for a person.
    let create = ["--where", "group = all and not group = even", "--cron", "0 9 1 * *", "--max-accounts", "25"];
    program.run(&[&["campaign", "template", "create", "--name", "Odd"], &create[..]].concat()).exits(0);
    tick_of(2).await;
    let made = "select count(*) from campaigns where template_id = 2";
    wait_until(DEADLINE, "the tick has made a campaign", async || db.number(made).await == 1).await;
    assert_eq!(program.json(&["campaign", "list", "--template", "2"])["items"][0]["state"], "draft");
    let off = program.run(&["campaign", "template", "off", "2"]).exits(0);
    assert_eq!(off.stdout, "Template 2 (Odd) is off: it makes no more campaigns.\n");
    drop(serving);
}

/// Accounts `A-0`, `A-1` and so on in the group `all`, with a debit and an address each; and three that are in no campaign.
async fn with_accounts(db: &TestDatabase, accounts: i64) -> Program {
    let program = installed(db).await;
    let one = |number: &str| account(number).address(&format!("{number} Elm Street")).email("somebody@example.com");
    let in_it =
        (0..accounts).map(|n| one(&format!("A-{n}")).groups(if n % 2 == 0 { &["all", "even"] } else { &["all"] }));
    db.accounts(in_it.chain([100, 900, 1_700].map(|n| one(&format!("single-{n}"))))).await;
    let numbers = (0..accounts).map(|n| format!("A-{n}")).chain([100, 900, 1_700].map(|n| format!("single-{n}")));
    db.debits(numbers.map(|number| debit(&number, "november", "12.34").tax("1.02"))).await;
    program
}

fn started(program: &Program, terms: &[&str]) -> String {
    let create = [&["campaign", "create", "--name", "All", "--where", "group = all"], terms].concat();
    start(program, &program.json(&create))
}

fn started_where(program: &Program, filter: &str) -> String {
    start(program, &program.json(&["campaign", "create", "--name", "Some", "--where", filter]))
}

fn start(program: &Program, campaign: &Value) -> String {
    let id = campaign["id"].to_string();
    if campaign["needs_approval"] == true {
        program.bearing(&token(program, "approver")).run(&["campaign", "approve", &id, "--yes"]).exits(0);
    }
    program.run(&["campaign", "start", &id]).exits(0);
    id
}

fn token(program: &Program, role: &str) -> String {
    let made = program.json(&["tokens", "create", "--name", "lead", "--role", role]);
    made["token"].as_str().expect("it is shown once").to_owned()
}

/// Everything that serves this pair at its fullest.
fn serve(db: &TestDatabase, program: &Program) -> Vec<Served> {
    match db.engine() {
        Engine::Sqlite => vec![program.serve(&[])],
        Engine::Postgres => ["scheduler", "scheduler", "worker", "worker", "worker"]
            .into_iter()
            .map(|role| program.serve(&["--roles", role]))
            .collect(),
    }
}

fn stop(serving: Served) {
    serving.signal("TERM");
    assert_eq!(serving.ended().0, Some(0));
}

async fn until(program: &Program, id: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    wait_until(DEADLINE, "the campaign is so far", async || {
        last = program.json(&["campaign", "show", id]);
        is_so(&last)
    })
    .await;
    last
}
