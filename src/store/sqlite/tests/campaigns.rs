//! A whole campaign on SQLite: what is shown, tallied and reported adds up.

use tokio::sync::mpsc;

use super::*;
use crate::domain::campaign::cohort::MemberRow;
use crate::domain::campaign::report::{MemberOutcome, ReportRow};
use crate::domain::campaign::{CampaignId, CampaignView, Draft, State as Campaign, Terms};
use crate::store::campaigns::{CampaignDispatch, Campaigns, Claimed, Cohort, Made, Making};

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

async fn with_accounts(store: &SqliteStore, numbers: &[&str]) {
    let accounts = numbers.iter().zip(2..).map(|(text, line)| Ok(account(line, text))).collect();
    assert!(import(store, accounts).await.applied);
    let debits = numbers.iter().zip(2..).map(|(text, line)| debit(line, text, "r1", "12.50")).collect();
    assert!(import_debits(store, debits).await.applied);
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
