//! What is true of SQLite alone. What both engines promise is in the contract suite.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use sqlx::{ConnectOptions, Row};
use tokio::sync::mpsc;

use super::SqliteStore;
use crate::clock::Clock;
use crate::domain::account::{AccountFilter, AccountNumber, Contact};
use crate::domain::actor::{Actor, Source};
use crate::domain::calendar::When;
use crate::domain::event::{Attempt, Change, EventId, Order, State};
use crate::domain::import::{AccountRow, DebitRow, ImportReport, Problem};
use crate::domain::plan::plan_disconnect;
use crate::domain::request::DisconnectRequest;
use crate::domain::retry::Verdict;
use crate::store::{
    Accounts, Dispatch, EventFilter, Events, Executed, Execution, ImportOptions, Imports, Installations, Page,
    Redispatch, Requested, StoreError,
};

const REDISPATCH: Redispatch = Redispatch { base: Duration::from_secs(10), max: Duration::from_secs(300) };

/// A database in a folder of its own, which goes with it.
struct Scratch {
    folder: PathBuf,
    clock: Clock,
}

impl Scratch {
    fn new() -> Self {
        static FOLDERS: AtomicU32 = AtomicU32::new(0);
        let name = format!("disconnectd-sqlite-{}-{}", std::process::id(), FOLDERS.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Self { folder, clock: Clock::fixed(DateTime::from_timestamp(1_795_000_000, 0).unwrap()) }
    }

    fn url(&self) -> String {
        format!("sqlite://{}", self.folder.join("x.db").display())
    }

    async fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.url(), self.clock.clone()).await.unwrap()
    }

    async fn migrated(&self) -> SqliteStore {
        let store = self.open().await;
        store.migrate().await.unwrap();
        store
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn clerk() -> Actor {
    Actor::new("clerk", Source::Cli)
}

fn number(text: &str) -> AccountNumber {
    AccountNumber::parse(text).unwrap()
}

fn account(line: u64, text: &str) -> AccountRow {
    AccountRow {
        line,
        number: number(text),
        name: format!("Name of {text}"),
        status: "Active".into(),
        parent: None,
        currency: None,
        zone: None,
        address: Some(format!("{text} Main St")),
        contact: Contact { email: Some(format!("{text}@example.org")), mailing_address: None },
        groups: vec!["fiber".into(), "tower".into()],
    }
}

fn debit(line: u64, account: &str, reference: &str, amount: &str) -> DebitRow {
    DebitRow {
        line,
        account: number(account),
        reference: reference.into(),
        description: format!("Charge {reference}"),
        amount: amount.into(),
        tax: "0.10".into(),
        charged_on: NaiveDate::from_ymd_opt(2026, 11, 1).unwrap(),
    }
}

fn options(dry_run: bool) -> ImportOptions<'static> {
    ImportOptions { dry_run, by: clerk(), progress: &|_| {} }
}

async fn import(store: &SqliteStore, rows: Vec<Result<AccountRow, Problem>>, dry_run: bool) -> ImportReport {
    let (sender, receiver) = mpsc::channel(1);
    sender.send(rows).await.unwrap();
    drop(sender);
    store.import_accounts(receiver, options(dry_run)).await.unwrap()
}

async fn import_debits(store: &SqliteStore, rows: Vec<DebitRow>) -> ImportReport {
    let (sender, receiver) = mpsc::channel(1);
    sender.send(rows.into_iter().map(Ok).collect()).await.unwrap();
    drop(sender);
    store.import_debits(receiver, options(false)).await.unwrap()
}

async fn with_account(store: &SqliteStore, text: &str) {
    assert!(import(store, vec![Ok(account(2, text))], false).await.applied);
    assert!(import_debits(store, vec![debit(2, text, "r1", "12.50"), debit(3, text, "r2", "1")]).await.applied);
}

fn request(text: &str, when: &str) -> DisconnectRequest {
    DisconnectRequest {
        account: number(text),
        when: When::parse(when).unwrap(),
        zone: None,
        late: false,
        reason: Some("moved".into()),
        by: clerk(),
        failures_max: 3,
    }
}

async fn requested(store: &SqliteStore, text: &str) -> EventId {
    match store.request(&request(text, "now")).await.unwrap() {
        Requested::Created(event) => event,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn scratch_walk() {
    let scratch = Scratch::new();
    let store = scratch.open().await;
    assert!(store.was_created());
    println!("{}", store.check_schema().await.unwrap_err());
    println!("{}", store.settings().await.unwrap_err());
    assert_eq!(store.migrate().await.unwrap(), 1);
    assert_eq!(store.migrate().await.unwrap(), 0);
    store.check_schema().await.unwrap();
    store.ping().await.unwrap();
    println!("{:?}", store.installation().await.unwrap());
    println!("{:?} {:?}", store.settings().await.unwrap(), store.statuses().await.unwrap());

    let mut child = account(3, "C");
    child.parent = Some(number("A"));
    let mut report = import(&store, vec![Ok(account(2, "A")), Ok(child.clone()), Ok(account(4, "B"))], false).await;
    assert!(report.applied, "{report:?}");
    assert_eq!((report.rows, report.created), (3, 3));
    let changes = total_changes(&store).await;
    report = import(&store, vec![Ok(account(2, "A")), Ok(child.clone()), Ok(account(4, "B"))], false).await;
    assert_eq!((report.unchanged, report.applied), (3, true), "{report:?}");
    assert_eq!(total_changes(&store).await, changes);
    let mut a = account(2, "A");
    a.parent = Some(number("C"));
    let mut d = account(5, "D");
    d.parent = Some(number("nobody"));
    let mut bad = account(7, "E");
    bad.status = "Nope".into();
    let mut f = account(8, "F");
    f.parent = Some(number("E"));
    report = import(
        &store,
        vec![Ok(a), Ok(d), Ok(account(6, "B")), Ok(account(9, "B")), Ok(bad), Ok(f), Err(Problem::new(4, "zone", "x"))],
        false,
    )
    .await;
    println!("{report:#?}");
    assert!(!report.applied);

    let mut e = account(2, "B");
    e.address = Some("9 Elm".into());
    e.groups = vec!["x".into()];
    e.contact.mailing_address = Some("PO\u{0} box".into());
    e.zone = Some(chrono_tz::Tz::Europe__Berlin);
    report = import(&store, vec![Ok(e.clone())], false).await;
    println!("{report:?}");
    let again = import(&store, vec![Ok(e)], false).await;
    println!("{again:?}");
    println!("{:#?}", store.account(&number("B")).await.unwrap());

    let report = import_debits(&store, vec![debit(2, "A", "r1", "12.50"), debit(3, "A", "r2", "1"), debit(4, "C", "r", "3")]).await;
    assert_eq!((report.created, report.applied), (3, true), "{report:?}");
    let report = import_debits(&store, vec![debit(2, "A", "r1", "12.51"), debit(3, "A", "r2", "1"), debit(4, "Z", "r", "3"), debit(5, "A", "r1", "7")]).await;
    println!("{report:?}");
    println!("{:#?}", store.account(&number("A")).await.unwrap());

    let all = store.accounts(&AccountFilter { search: Some("MAIN".into()), disconnected: Some(false), group: Some("fiber".into()), status: Some("Active".into()), ..Default::default() }, &Page { after: None, limit: 1 }).await.unwrap();
    println!("{:?} {:?}", all.items.iter().map(|a| a.number.to_string()).collect::<Vec<_>>(), all.next_cursor);
    let all = store.accounts(&AccountFilter { parent: Some(number("A")), ..Default::default() }, &Page::default()).await.unwrap();
    assert_eq!(all.items.len(), 1);

    println!("{}", store.unlink(&number("B"), &clerk()).await.unwrap_err());
    println!("{}", store.link(&number("A"), &number("C"), &clerk()).await.unwrap_err());
    store.link(&number("B"), &number("C"), &clerk()).await.unwrap();
    println!("{}", store.link(&number("A"), &number("B"), &clerk()).await.unwrap_err());
    store.unlink(&number("C"), &clerk()).await.unwrap();
    let report = import(&store, vec![Ok(child.clone())], false).await;
    assert_eq!(report.notes.len(), 1, "{report:?}");
    store.set_contact(&number("A"), &Contact { email: None, mailing_address: Some("Box 1".into()) }, &clerk()).await.unwrap();

    let facts = store.overview_facts(&number("C")).await.unwrap();
    println!("{facts:#?}");

    // a plan, brought forward, claimed, run
    let event = match store.request(&request("A", "2027-01-01")).await.unwrap() {
        Requested::Created(event) => event,
        other => panic!("{other:?}"),
    };
    println!("{}", store.request(&request("A", "2027-01-02")).await.unwrap_err());
    assert!(store.next_due().await.unwrap().unwrap() > Duration::from_secs(3600));
    assert_eq!(store.claim(10, REDISPATCH).await.unwrap(), []);
    assert_eq!(store.request(&request("A", "now")).await.unwrap(), Requested::BroughtForward(event));
    assert_eq!(store.next_due().await.unwrap(), Some(Duration::ZERO));
    let other = requested(&store, "C").await;
    let orders = store.claim(10, REDISPATCH).await.unwrap();
    assert_eq!(orders.len(), 2);
    assert_eq!(store.next_due().await.unwrap(), Some(Duration::from_secs(10)));
    assert_eq!(store.request(&request("A", "now")).await.unwrap(), Requested::UnderWay(event));
    scratch.clock.advance(TimeDelta::seconds(10));
    let orders2 = store.claim(10, REDISPATCH).await.unwrap();
    assert_eq!(orders2.iter().map(|o| o.attempt.0).collect::<Vec<_>>(), [2, 2]);
    assert_eq!(store.next_due().await.unwrap(), Some(Duration::from_secs(20)));
    store.release(&[orders[0]], Duration::ZERO).await.unwrap();
    assert_eq!(store.event(orders[0].event_id).await.unwrap().state, State::Queued);
    let mut both = orders2.clone();
    both.push(orders2[0]);
    both.push(Order { event_id: EventId(99), attempt: Attempt(1) });
    let done = store.disconnect(&both, &plan_disconnect).await.unwrap();
    println!("{done:#?}");
    assert_eq!(done.len(), 3);
    println!("{:#?}", store.event(other).await.unwrap());
    println!("{:#?}", store.account(&number("A")).await.unwrap());
    for entry in store.log(&number("A"), &Page::default()).await.unwrap().items {
        println!("{} {:?} {} {} {:?} {:?}", entry.at, entry.kind, entry.message, entry.source, entry.event_id, entry.reason);
    }
    println!("{:?}", store.request(&request("A", "now")).await.unwrap());
    let invoices = store.invoices(None, &Page::default()).await.unwrap();
    println!("{:?}", store.invoice(invoices.items[0].number).await.unwrap());
    assert_eq!(store.invoices(Some(&number("A")), &Page::default()).await.unwrap().items.len(), 1);
    println!("{}", store.change(event, &Change::Cancel, &clerk(), None).await.unwrap_err());
    let report = import(&store, vec![Ok(account(2, "A")), Ok(account(3, "NEW"))], false).await;
    println!("{report:?}");
    let mut wrong = account(2, "A");
    wrong.status = "Lead".into();
    wrong.address = None;
    println!("{:?}", import(&store, vec![Ok(wrong)], true).await);
    println!("{:?}", import_debits(&store, vec![debit(2, "A", "r1", "12.50"), debit(2, "A", "r9", "12.50")]).await);

    // failures
    let event = requested(&store, "B").await;
    let order = store.claim_one(event, REDISPATCH).await.unwrap().unwrap();
    assert_eq!(store.claim_one(event, REDISPATCH).await.unwrap(), None);
    let fail = |_: &_, _: &_| crate::domain::plan::Plan::Fail("no way".into());
    let failed = match store.disconnect(&[order], &fail).await.unwrap().remove(0) {
        Executed::Failed(failed) => failed,
        other => panic!("{other:?}"),
    };
    let wrong = crate::domain::retry::FailedAttempt { attempt: Attempt(9), ..failed.clone() };
    assert_eq!(store.record_failures(&[(wrong, Verdict::GiveUp)]).await.unwrap(), []);
    assert_eq!(store.record_failures(&[(failed, Verdict::RetryAfter(Duration::ZERO))]).await.unwrap(), [event]);
    assert_eq!(store.event(event).await.unwrap().failures, 1);
    let _ = store.claim(10, REDISPATCH).await.unwrap();
    assert_eq!(store.record_suspect(event, "killer").await.unwrap(), Some(Attempt(2)));
    assert_eq!(store.record_suspect(event, "killer").await.unwrap(), None);
    let view = store.event(event).await.unwrap();
    println!("{view:?}");
    assert_eq!(view.state, State::Failed);
    assert_eq!(store.record_suspect(event, "killer").await.unwrap(), None);
    println!("{:?}", store.event_counts().await.unwrap());
    println!("{:?}", store.inspect().await.unwrap());
    let view = store.change(event, &Change::Retry, &clerk(), Some("again")).await.unwrap();
    assert_eq!((view.failures, view.attempt, view.state), (0, Attempt(2), State::Scheduled));
    assert!(view.last_error.is_some());
    let view = store.change(event, &Change::Reschedule { due_at: scratch.clock.now() + TimeDelta::days(1), planned: crate::domain::calendar::Planned::default(), late: false }, &clerk(), None).await.unwrap();
    println!("{view:?}");
    store.change(event, &Change::Cancel, &clerk(), None).await.unwrap();
    assert_eq!(store.events(&EventFilter { state: Some(State::Cancelled), account: Some(number("B")) }, &Page::default()).await.unwrap().items.len(), 1);
    assert_eq!(store.events(&EventFilter { state: Some(State::Completed), account: None }, &Page::default()).await.unwrap().items.len(), 2);
    assert_eq!(store.events(&EventFilter::default(), &Page { after: None, limit: 2 }).await.unwrap().next_cursor.as_deref(), Some("2"));
    for entry in store.log(&number("B"), &Page::default()).await.unwrap().items {
        println!("{} {:?} {} {} {:?} {:?}", entry.at, entry.kind, entry.message, entry.source, entry.event_id, entry.reason);
    }
    import_debits(&store, vec![debit(2, "B", "r1", "92233720368547758.07").clone()]).await;
    let mut one = debit(2, "B", "r1", "92233720368547758.07");
    one.tax = String::new();
    let mut two = debit(3, "B", "r2", "92233720368547758.07");
    two.tax = String::new();
    assert!(import_debits(&store, vec![one, two]).await.applied);
    assert_eq!(store.account(&number("B")).await.unwrap().uninvoiced.minor, i64::MAX);
    println!("{}", store.invoice_all(&clerk()).await.unwrap_err());
    println!("{:?}", store.inspect().await.unwrap());
    store.close().await;
}

async fn total_changes(store: &SqliteStore) -> (i64, i64) {
    let mut connection = store.options.connect().await.unwrap();
    let row = sqlx::query("select (select max(id) from account_log), (select max(id) from address_assignments)").fetch_one(&mut connection).await.unwrap();
    (row.get(0), row.get(1))
}
