//! Campaigns on SQLite: that statements go down their indexes, that nobody is held up, and that a whole campaign adds up.

use chrono::TimeDelta;
use tokio::sync::mpsc;

use super::*;
use crate::domain::campaign::cohort::MemberRow;
use crate::domain::campaign::dry_run::DryRun;
use crate::domain::campaign::report::{MemberOutcome, ReportRow};
use crate::domain::campaign::template::{NewTemplate, TemplateCommand};
use crate::domain::campaign::{
    CampaignId, CampaignView, Command, Draft, PauseCause, Revision, State as Campaign, Terms,
};
use crate::domain::dispositions::Disposition;
use crate::domain::filter::Filter;
use crate::domain::refusal::Refusal;
use crate::domain::retry::Verdict;
use crate::store::campaigns::{CampaignDispatch, Campaigns, Claimed, Cohort, Made, Making};
use crate::store::{EventFilter, Store};

fn terms() -> Terms {
    Terms { reason: Some("leavers".into()), pause_percent: 50, ..Terms::default() }
}

fn draft(terms: Terms) -> Draft {
    let name = "Leavers".into();
    Draft { name, terms, filter: None, everyone: false, late: false, failures_max: 3, by: clerk() }
}

fn rows(numbers: &[&str]) -> Cohort {
    let rows: Vec<_> = numbers.iter().zip(2..).map(|(text, line)| row(line, text)).map(Ok).collect();
    let (sender, receiver) = mpsc::channel(1);
    sender.try_send(rows).unwrap();
    Cohort::Rows(receiver)
}

fn row(line: u64, text: &str) -> MemberRow {
    MemberRow { line, account: number(text), on: None, reason: None }
}

async fn made(store: &SqliteStore, draft: &Draft, cohort: Cohort) -> CampaignView {
    match store.create_campaign(draft, cohort, Making::QUIET).await.unwrap() {
        Made::Campaign(view) => *view,
        Made::BadRows(bad) => panic!("{bad:?}"),
    }
}

async fn of_filter(store: &SqliteStore, filter: &str, terms: Terms) -> CampaignView {
    let filter = Filter::parse(filter).unwrap();
    let draft = Draft { filter: Some(filter.clone()), everyone: true, ..draft(terms) };
    made(store, &draft, Cohort::Filter(filter)).await
}

async fn with_accounts(store: &SqliteStore, numbers: &[&str]) {
    let accounts = numbers.iter().zip(2..).map(|(text, line)| Ok(account(line, text))).collect();
    assert!(import(store, accounts).await.applied);
    let debits = numbers.iter().zip(2..).map(|(text, line)| debit(line, text, "r1", "12.50")).collect();
    assert!(import_debits(store, debits).await.applied);
}

async fn started(store: &SqliteStore, terms: Terms, numbers: &[&str]) -> CampaignId {
    let id = made(store, &draft(terms), rows(numbers)).await.id;
    store.start_campaign(id, None, &clerk()).await.unwrap();
    id
}

async fn claimed(store: &SqliteStore) -> Claimed {
    store.claim_campaigns(500, 5_000, REDISPATCH).await.unwrap()
}

/// Claims and executes until nothing is left to claim now.
async fn run(store: &SqliteStore) -> usize {
    let mut all = 0;
    loop {
        let orders = claimed(store).await.orders;
        if orders.is_empty() {
            return all;
        }
        all += store.disconnect(&orders, &plan_disconnect).await.unwrap().len();
    }
}

async fn report(store: &SqliteStore, id: CampaignId) -> Vec<ReportRow> {
    let (sender, mut receiver) = mpsc::channel(4);
    let (sent, all) = tokio::join!(store.report(id, sender), async {
        let mut all = Vec::new();
        while let Some(chunk) = receiver.recv().await {
            all.extend(chunk);
        }
        all
    });
    sent.unwrap();
    all
}

async fn sound(store: &SqliteStore) {
    assert_eq!(store.inspect().await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_campaign_goes_from_a_list_to_a_report_that_adds_up() {
    let scratch = Scratch::new();
    let store = scratch.migrated().await;
    with_accounts(&store, &["A", "B", "C"]).await;
    let made = made(&store, &draft(terms()), rows(&["C", "A", "nobody", "B"])).await;
    assert_eq!((made.state, made.counts.accounts, made.counts.waiting), (Campaign::Draft, 4, 4));
    let dry_run = store.dry_run(made.id).await.unwrap();
    assert_eq!((dry_run.to_disconnect, dry_run.left_out, dry_run.final_invoices[0].minor), (3, 1, 3 * 1260));
    let started = store.start_campaign(made.id, Some(&dry_run.digest), &clerk()).await.unwrap().campaign;
    assert_eq!((started.counts.left_out, started.counts.scheduled, started.counts.waiting), (1, 3, 0));
    assert_eq!(started.totals.expected[0].minor, 3 * 1260);
    assert_eq!(run(&store).await, 3);
    let claimed = claimed(&store).await;
    assert_eq!(claimed.notes, [], "it was complete with the last claim, which found nothing: {claimed:?}");
    let done = store.campaign(made.id).await.unwrap();
    assert_eq!((done.state, done.counts.disconnected, done.totals.invoices), (Campaign::Completed, 3, 3));
    assert_eq!((done.totals.addresses_released, &done.totals.invoiced), (3, &done.totals.expected));
    let rows = report(&store, made.id).await;
    let outcomes: Vec<_> = rows.iter().map(|row| (row.account_number.as_str(), row.outcome)).collect();
    assert_eq!(
        outcomes,
        [
            ("C", MemberOutcome::Disconnected),
            ("A", MemberOutcome::Disconnected),
            ("nobody", MemberOutcome::LeftOut),
            ("B", MemberOutcome::Disconnected)
        ]
    );
    sound(&store).await;
}

#[tokio::test]
#[ignore = "a measurement"]
async fn measure() {
    let n: usize = std::env::var("MEASURE").map_or(100_000, |n| n.parse().unwrap());
    let scratch = Scratch::new();
    let store = std::sync::Arc::new(scratch.migrated().await);
    let numbers: Vec<String> = (0..n).map(|i| format!("A{i:07}")).collect();
    let clock = std::time::Instant::now();
    let (sender, receiver) = mpsc::channel(4);
    let (report, ()) = tokio::join!(store.import_accounts(receiver, options()), async {
        for (i, chunk) in numbers.chunks(1000).enumerate() {
            let rows = chunk.iter().enumerate().map(|(j, text)| {
                let parent = ((i * 1000 + j) % 20 == 1).then(|| number(&numbers[i * 1000 + j - 1]));
                Ok(AccountRow { parent, ..account((i * 1000 + j + 2) as u64, text) })
            });
            sender.send(rows.collect()).await.unwrap();
        }
        drop(sender);
    });
    assert!(report.unwrap().applied);
    let (sender, receiver) = mpsc::channel(4);
    let (report, ()) = tokio::join!(store.import_debits(receiver, options()), async {
        for (i, chunk) in numbers.chunks(1000).enumerate() {
            let rows = chunk.iter().enumerate().flat_map(|(j, text)| {
                let line = (i * 1000 + j + 2) as u64 * 2;
                [Ok(debit(line, text, "r1", "12.50")), Ok(debit(line + 1, text, "r2", "3"))]
            });
            sender.send(rows.collect()).await.unwrap();
        }
        drop(sender);
    });
    assert!(report.unwrap().applied);
    println!("imported {n} in {:?}", clock.elapsed());
    // Who wants to write meanwhile: how long the longest wait was.
    let other = std::sync::Arc::new(scratch.open().await);
    let worst = std::sync::Arc::new(std::sync::Mutex::new(Duration::ZERO));
    let waits = tokio::spawn({
        let (other, worst) = (other.clone(), worst.clone());
        async move {
            for i in 0.. {
                let begun = std::time::Instant::now();
                let change = crate::domain::account::ContactChange {
                    email: Some(Some(format!("x{i}@example.org"))),
                    mailing_address: None,
                };
                other.change_contact(&number("A0000000"), &change, &clerk()).await.unwrap();
                let mut worst = worst.lock().unwrap();
                *worst = (*worst).max(begun.elapsed());
                drop(worst);
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        }
    });
    let said = |what: &str, clock: std::time::Instant| {
        println!(
            "{what}: {:?}; the longest wait of a writer: {:?}",
            clock.elapsed(),
            std::mem::take(&mut *worst.lock().unwrap())
        );
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    said("idle", std::time::Instant::now());

    let clock = std::time::Instant::now();
    let (sender, receiver) = mpsc::channel(4);
    let draft = draft(Terms { children: Some(Disposition::Keep), ..terms() });
    let (made, ()) = tokio::join!(store.create_campaign(&draft, Cohort::Rows(receiver), Making::QUIET), async {
        for (i, chunk) in numbers.chunks(1000).enumerate() {
            let rows = chunk.iter().enumerate().map(|(j, text)| Ok(row((i * 1000 + j + 2) as u64, text)));
            sender.send(rows.collect()).await.unwrap();
        }
        drop(sender);
    });
    let Made::Campaign(_) = made.unwrap() else { panic!() };
    said("made from a list", clock);
    let clock = std::time::Instant::now();
    let made =
        of_filter(&store, "group = fiber and balance > 1", Terms { children: Some(Disposition::Keep), ..terms() })
            .await;
    said("made by a filter", clock);
    let id = made.id;
    let clock = std::time::Instant::now();
    store.dry_run(id).await.unwrap();
    said("dry run", clock);
    if n > 5_000 {
        let clock = std::time::Instant::now();
        store.approve_campaign(id, None, &Actor::new("boss", Source::Cli)).await.unwrap();
        said("approve", clock);
    }
    let clock = std::time::Instant::now();
    store.start_campaign(id, None, &clerk()).await.unwrap();
    said("start", clock);
    let clock = std::time::Instant::now();
    let mut rounds = 0;
    while store.upkeep(3).await.unwrap().more {
        rounds += 1;
    }
    said(&format!("enlisted the rest in {rounds} rounds"), clock);
    for what in ["show", "show again"] {
        let clock = std::time::Instant::now();
        store.campaign(id).await.unwrap();
        said(what, clock);
    }
    let clock = std::time::Instant::now();
    let (mut all, mut longest) = (0, Duration::ZERO);
    for _ in 0..40 {
        let begun = std::time::Instant::now();
        let orders = claimed(&store).await.orders;
        longest = longest.max(begun.elapsed());
        for orders in orders.chunks(100) {
            all += store.disconnect(orders, &plan_disconnect).await.unwrap().len();
        }
    }
    said(&format!("claimed and executed {all}, longest claim {longest:?}"), clock);
    claimed(&store).await;
    claimed(&store).await;
    for command in [Command::Pause { note: None }, Command::Resume] {
        let clock = std::time::Instant::now();
        store.command_campaign(id, &command, &clerk()).await.unwrap();
        said(&format!("{command:?}"), clock);
    }
    let clock = std::time::Instant::now();
    claimed(&store).await;
    said("claim", clock);
    let clock = std::time::Instant::now();
    store.events(&EventFilter { campaign: Some(id), ..EventFilter::default() }, &Page::default()).await.unwrap();
    said("events", clock);
    let clock = std::time::Instant::now();
    let failed = EventFilter { campaign: Some(id), state: Some(State::Failed), ..EventFilter::default() };
    store.events(&failed, &Page::default()).await.unwrap();
    said("failed events", clock);
    let clock = std::time::Instant::now();
    assert_eq!(report_of(&store, id).await, n);
    said("report", clock);
    let clock = std::time::Instant::now();
    let aborted = store.command_campaign(id, &Command::Abort { note: None }, &clerk()).await.unwrap();
    said(&format!("abort of {}", aborted.events), clock);
    let clock = std::time::Instant::now();
    let mut rounds = 0;
    while store.upkeep(3).await.unwrap().more {
        rounds += 1;
    }
    said(&format!("cancelled the rest in {rounds} rounds"), clock);
    let clock = std::time::Instant::now();
    sound(&store).await;
    said("doctor", clock);
    waits.abort();
}

async fn report_of(store: &SqliteStore, id: CampaignId) -> usize {
    report(store, id).await.len()
}
