//! What is true of SQLite alone. What both engines promise is in the contract suite.

mod campaigns;
mod turn;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chrono::{DateTime, NaiveDate};
use sqlx::{ConnectOptions, Row};
use tokio::sync::mpsc;

use super::SqliteStore;
use crate::clock::Clock;
use crate::domain::account::{AccountFilter, AccountNumber, Contact};
use crate::domain::actor::{Actor, Source};
use crate::domain::calendar::When;
use crate::domain::event::{EventId, State};
use crate::domain::import::{AccountRow, DebitRow, ImportReport, Problem};
use crate::domain::plan::plan_disconnect;
use crate::domain::request::DisconnectRequest;
use crate::domain::retry::{FailedAttempt, Verdict};
use crate::domain::settings::SettingKey;
use crate::store::inspection::Check;
use crate::store::{
    Accounts, Dispatch, Events, Executed, Execution, ImportOptions, Imports, Installations, Page, Redispatch,
    Requested, StoreError, migrations,
};

const REDISPATCH: Redispatch = Redispatch { base: Duration::from_secs(10), max: Duration::from_mins(5) };

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

/// How many a fresh database gets.
fn migrations_made() -> usize {
    migrations::sqlite().iter().count()
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

fn options() -> ImportOptions<'static> {
    ImportOptions { dry_run: false, by: clerk(), progress: &|_| {} }
}

async fn import(store: &SqliteStore, rows: Vec<Result<AccountRow, Problem>>) -> ImportReport {
    let (sender, receiver) = mpsc::channel(1);
    sender.send(rows).await.unwrap();
    drop(sender);
    store.import_accounts(receiver, options()).await.unwrap()
}

async fn import_debits(store: &SqliteStore, rows: Vec<DebitRow>) -> ImportReport {
    let (sender, receiver) = mpsc::channel(1);
    sender.send(rows.into_iter().map(Ok).collect()).await.unwrap();
    drop(sender);
    store.import_debits(receiver, options()).await.unwrap()
}

async fn with_account(store: &SqliteStore, text: &str) {
    assert!(import(store, vec![Ok(account(2, text))]).await.applied);
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
        digest: None,
        children: crate::domain::dispositions::Dispositions::default(),
        trace: None,
    }
}

async fn requested(store: &SqliteStore, text: &str) -> EventId {
    match store.request(&request(text, "now")).await.unwrap() {
        Requested::Created(event) => event,
        other => panic!("{other:?}"),
    }
}

/// Waits for a condition, with a deadline.
async fn within<F: Future>(deadline: Duration, future: F) -> F::Output {
    tokio::time::timeout(deadline, future).await.expect("it took too long")
}

async fn raw(store: &SqliteStore) -> sqlx::SqliteConnection {
    store.options.connect().await.unwrap()
}

#[tokio::test]
async fn what_is_no_database_file_is_refused_with_a_sentence() {
    let scratch = Scratch::new();
    std::fs::write(
        scratch.folder.join("text.db"),
        "hello, this is a text and not a database, long enough to be looked at",
    )
    .unwrap();
    let folder = scratch.folder.display();
    for (url, part) in [
        ("sqlite::memory:".to_owned(), "names no file"),
        ("sqlite://".to_owned(), "names no file"),
        ("postgres://x".to_owned(), "is not a SQLite URL"),
        ("sqlite://x.db?mode=memory".to_owned(), "has parameters"),
        (format!("sqlite://{folder}/missing/x.db"), "there is no folder"),
        (format!("sqlite://{folder}"), "is a folder"),
        (format!("sqlite://{folder}/text.db"), "not a SQLite database"),
    ] {
        match SqliteStore::open(&url, Clock::system()).await.map(|_| ()) {
            Err(StoreError::Unusable(why)) => assert!(why.contains(part), "{url}: {why}"),
            other => panic!("{url}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_may_create_and_migrate_the_same_file_at_once() {
    let scratch = Scratch::new();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (url, clock) = (scratch.url(), scratch.clock.clone());
        tasks.spawn(async move {
            let store = SqliteStore::open(&url, clock).await.unwrap();
            (store.was_created(), store.migrate().await.unwrap())
        });
    }
    let outcomes = tasks.join_all().await;
    assert_eq!(outcomes.iter().filter(|(created, _)| *created).count(), 1, "{outcomes:?}");
    assert_eq!(outcomes.iter().map(|(_, applied)| applied).sum::<usize>(), migrations_made(), "{outcomes:?}");
    scratch.open().await.check_schema().await.unwrap();
}

#[tokio::test]
async fn one_serves_at_a_time_and_the_other_is_told_who() {
    let scratch = Scratch::new();
    let first = scratch.migrated().await;
    let second = scratch.open().await;
    with_account(&first, "A").await;
    let event = requested(&first, "A").await;
    assert_eq!(first.claim(1, REDISPATCH).await.unwrap().len(), 1);
    assert!(!second.is_served().await.unwrap());

    let serving = first.serve("scheduler, worker").await.unwrap();
    assert_eq!(serving.rescued, 1, "its queue died with the process before");
    assert_eq!(first.event(event).await.unwrap().state, State::Scheduled);
    for store in [&first, &second] {
        assert!(store.is_served().await.unwrap());
        match store.serve("scheduler, worker").await.map(|_| ()) {
            Err(StoreError::Conflict(why)) => {
                assert!(why.contains(&format!("pid {}", std::process::id())), "{why}");
                assert!(why.contains("x.db"), "{why}");
            }
            other => panic!("{other:?}"),
        }
    }
    drop(serving);
    assert!(!second.is_served().await.unwrap());
    assert_eq!(second.serve("scheduler, worker").await.unwrap().rescued, 0);
}

#[tokio::test]
async fn who_serves_hears_of_another_connections_work() {
    let scratch = Scratch::new();
    let serving_store = scratch.migrated().await;
    let other = scratch.open().await;
    with_account(&other, "A").await;
    let mut hints = serving_store.hints();
    let _serving = serving_store.serve("scheduler, worker").await.unwrap();
    // the first look
    within(Duration::from_secs(5), hints.changed()).await.unwrap();
    requested(&other, "A").await;
    within(Duration::from_secs(5), hints.changed()).await.unwrap();
    other
        .change_contact(
            &number("A"),
            &crate::domain::account::ContactChange { email: Some(None), mailing_address: Some(None) },
            &clerk(),
        )
        .await
        .unwrap();
    within(Duration::from_secs(5), hints.changed()).await.unwrap();
}

#[tokio::test]
async fn rule_4_replace_into_is_refused_on_every_table_that_keeps_history() {
    let scratch = Scratch::new();
    let store = scratch.migrated().await;
    with_account(&store, "A").await;
    requested(&store, "A").await;
    let orders = store.claim(1, REDISPATCH).await.unwrap();
    store.disconnect(&orders, &plan_disconnect).await.unwrap();
    let mut connection = raw(&store).await;
    for sql in [
        "replace into accounts select * from accounts",
        "replace into debits select * from debits",
        "replace into invoices select * from invoices",
        "replace into invoice_lines select * from invoice_lines",
        "replace into account_log select * from account_log",
        "replace into address_assignments select * from address_assignments",
        "delete from accounts",
        "delete from debits",
        "delete from invoices",
        "delete from invoice_lines",
        "delete from account_log",
        "delete from address_assignments",
        "update or replace invoices set number = 7",
        "update or replace accounts set id = 7",
        "update account_log set message = ''",
    ] {
        let error = sqlx::query(sql).execute(&mut connection).await.expect_err(sql).to_string();
        // A disconnected account's rows meet the other trigger first.
        assert!(error.contains("keeps all history") || error.contains("is refused"), "{sql}: {error}");
    }
}

/// How SQLite would run the statement that begins with the comment `name` in `source`.
async fn plan_of(store: &SqliteStore, source: &str, name: &str) -> String {
    let (_, statement) = source.split_once(&format!("\"/* {name} */")).expect(name);
    let (statement, _) = statement.split_once('"').unwrap();
    let explain = sqlx::AssertSqlSafe(format!("explain query plan {statement}"));
    let rows = sqlx::query(explain).fetch_all(&mut raw(store).await).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>("detail")).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn the_claim_goes_down_the_index_of_open_events() {
    let scratch = Scratch::new();
    let store = scratch.migrated().await;
    let plan = plan_of(&store, include_str!("dispatch.rs"), "claim").await;
    assert!(plan.contains("disconnect_events_lane (lane=? AND next_at<?)"), "{plan}");
    assert!(!plan.contains("SCAN") && !plan.contains("B-TREE"), "{plan}");
}

#[tokio::test]
async fn what_is_written_by_id_is_not_looked_for_among_all_events() {
    let scratch = Scratch::new();
    let store = scratch.migrated().await;
    for (source, name) in [
        (include_str!("effects.rs"), "effects: complete"),
        (include_str!("execution.rs"), "failures: record"),
        (include_str!("execution.rs"), "disconnect: events"),
    ] {
        let plan = plan_of(&store, source, name).await;
        assert!(plan.contains("USING INTEGER PRIMARY KEY") && !plan.contains("_state"), "{name}: {plan}");
    }
}

#[tokio::test]
async fn the_demo_is_dropped_and_nothing_else() {
    let scratch = Scratch::new();
    let store = scratch.open().await;
    store.drop_demo().await.unwrap();
    store.migrate().await.unwrap();
    let refused = store.drop_demo().await.unwrap_err().to_string();
    assert!(refused.contains("something else than the demo"), "{refused}");
    store.mark_demo(None).await.unwrap();
    with_account(&store, "A").await;
    requested(&store, "A").await;
    let orders = store.claim(1, REDISPATCH).await.unwrap();
    store.disconnect(&orders, &plan_disconnect).await.unwrap();
    store.mark_demo(None).await.unwrap_err();
    store.drop_demo().await.unwrap();
    assert!(matches!(store.check_schema().await, Err(StoreError::Unusable(_))));
    assert_eq!(store.migrate().await.unwrap(), migrations_made());
    assert_eq!(store.accounts(&AccountFilter::default(), &Page::default()).await.unwrap().items, []);
    with_account(&store, "A").await;
    assert_eq!(requested(&store, "A").await, EventId(1));
}

#[tokio::test]
async fn what_the_database_refuses_of_one_event_is_its_own_failure_and_of_many_the_batchs() {
    let scratch = Scratch::new();
    let store = scratch.migrated().await;
    for account in ["A", "B"] {
        with_account(&store, account).await;
        requested(&store, account).await;
    }
    sqlx::query(
        "create trigger trouble before update on accounts when new.number = 'B'
         begin select raise(abort, 'trouble with B'); end",
    )
    .execute(&mut raw(&store).await)
    .await
    .unwrap();
    let orders = store.claim(10, REDISPATCH).await.unwrap();
    match store.disconnect(&orders, &plan_disconnect).await {
        Err(StoreError::Rejected(why)) => assert!(why.contains("trouble with B"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.invoices(None, &Page::default()).await.unwrap().items.len(), 0);
    let alone = store.disconnect(&orders[..1], &plan_disconnect).await.unwrap();
    assert!(matches!(alone[..], [Executed::Completed { .. }]), "{alone:?}");
    let alone = store.disconnect(&orders[1..], &plan_disconnect).await.unwrap();
    assert!(matches!(&alone[..], [Executed::Failed(failed)] if failed.error.contains("trouble with B")), "{alone:?}");
    assert_eq!(store.event(orders[1].event_id).await.unwrap().state, State::Queued);
}

#[tokio::test]
async fn a_full_disk_is_transient_and_the_store_goes_on_after_it() {
    let scratch = Scratch::new();
    let store = scratch.migrated().await;
    let mut writer = store.writer.acquire().await.unwrap();
    let pages: i64 = sqlx::query_scalar("pragma page_count").fetch_one(&mut *writer).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("pragma max_page_count = {pages}"))).execute(&mut *writer).await.unwrap();
    drop(writer);
    let status = |name: String| crate::domain::account::Status { name, activates_account: false };
    let mut full = None;
    for n in 0..1000 {
        if let Err(error) = store.add_status(&status(format!("{n:0>60}"))).await {
            full = Some(error);
            break;
        }
    }
    assert!(matches!(full, Some(StoreError::Unavailable(_))), "{full:?}");
    let mut writer = store.writer.acquire().await.unwrap();
    sqlx::query("pragma max_page_count = 1000000").execute(&mut *writer).await.unwrap();
    drop(writer);
    store.add_status(&status("there is room again".into())).await.unwrap();
}

#[tokio::test]
async fn a_verb_that_is_cancelled_leaves_the_writer_usable() {
    let scratch = Scratch::new();
    let store = scratch.migrated().await;
    with_account(&store, "A").await;
    let mut blocker = raw(&store).await;
    sqlx::query("begin immediate").execute(&mut blocker).await.unwrap();
    for micros in [0, 100, 1_000, 5_000, 20_000] {
        let cancelled = tokio::time::timeout(Duration::from_micros(micros), store.request(&request("A", "now"))).await;
        assert!(cancelled.is_err());
    }
    sqlx::query("rollback").execute(&mut blocker).await.unwrap();
    requested(&store, "A").await;
}

#[tokio::test]
async fn a_sum_that_overflows_is_shown_as_the_most_there_is_and_invoiced_by_nobody() {
    let scratch = Scratch::new();
    let store = scratch.migrated().await;
    with_account(&store, "A").await;
    let huge = |line, reference| DebitRow { tax: String::new(), ..debit(line, "A", reference, "92233720368547758.07") };
    assert!(import_debits(&store, vec![huge(2, "r3"), huge(3, "r4")]).await.applied);
    assert_eq!(store.account(&number("A")).await.unwrap().uninvoiced.minor, i64::MAX);
    assert!(matches!(store.invoice_all(&clerk()).await, Err(StoreError::Rejected(_))));
    requested(&store, "A").await;
    let orders = store.claim(1, REDISPATCH).await.unwrap();
    let executed = store.disconnect(&orders, &plan_disconnect).await.unwrap();
    assert!(matches!(executed[..], [Executed::Failed(_)]), "{executed:?}");
}

#[tokio::test]
async fn parents_are_resolved_at_the_end_of_a_file_and_cycles_reported_by_their_lines() {
    let scratch = Scratch::new();
    let store = scratch.migrated().await;
    let under = |line, text: &str, parent: &str| Ok(AccountRow { parent: Some(number(parent)), ..account(line, text) });
    let good = vec![under(2, "C", "B"), under(3, "B", "A"), Ok(account(4, "A"))];
    let report = import(&store, good.clone()).await;
    assert!(report.applied, "{report:?}");
    assert_eq!(store.account(&number("C")).await.unwrap().parent_number, Some(number("B")));
    let again = import(&store, good).await;
    assert_eq!((again.unchanged, again.applied), (3, true), "{again:?}");

    let report = import(&store, vec![under(2, "A", "C"), under(3, "D", "A"), under(4, "E", "nobody")]).await;
    let lines: Vec<_> = report.problems.iter().map(|problem| (problem.line, problem.column)).collect();
    // B and C are on the cycle as well, but not in this file; D is merely below it.
    assert_eq!(lines, [(2, "parent_number"), (4, "parent_number")], "{report:?}");
    assert!(!report.applied);
    assert_eq!(store.account(&number("A")).await.unwrap().parent_number, None);
}

#[tokio::test]
async fn invoices_over_all_debits_are_issued_once() {
    let scratch = Scratch::new();
    let store = scratch.migrated().await;
    with_account(&store, "A").await;
    with_account(&store, "B").await;
    assert_eq!(store.invoice_all(&clerk()).await.unwrap(), 2);
    assert_eq!(store.invoice_all(&clerk()).await.unwrap(), 0);
    let invoices = store.invoices(Some(&number("B")), &Page::default()).await.unwrap().items;
    let invoice = store.invoice(invoices[0].number).await.unwrap();
    assert_eq!((invoice.total.minor, invoice.lines.len()), (1370, 2));
    assert_eq!(store.account(&number("B")).await.unwrap().uninvoiced.minor, 0);
    assert_eq!(store.inspect().await.unwrap(), Vec::<String>::new());
}

async fn alter(store: &SqliteStore, sql: &'static str) {
    let sql = format!("pragma ignore_check_constraints = on; {sql}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut raw(store).await).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_read_of_one_event_is_its_own_failure() {
    let scratch = Scratch::new();
    let store = scratch.migrated().await;
    for account in ["A", "B", "C", "D"] {
        with_account(&store, account).await;
        requested(&store, account).await;
    }
    let orders = store.claim(10, REDISPATCH).await.unwrap();
    alter(
        &store,
        "update disconnect_events set due_at = 'soon' where id = 1;
         update accounts set currency = 'XXXX' where number = 'B';
         update debits set charged_on = 'yesterday' where account_id = (select id from accounts where number = 'C');
         update disconnect_events set requested_from = 'a newer program' where id = 4",
    )
    .await;
    let executed = store.disconnect(&orders, &plan_disconnect).await.unwrap();
    let failed: Vec<&FailedAttempt> = executed
        .iter()
        .filter_map(|one| match one {
            Executed::Failed(failed) => Some(failed),
            _ => None,
        })
        .collect();
    assert_eq!(failed.len(), 3, "{executed:?}");
    for order in &orders[..3] {
        let failed = failed.iter().find(|failed| failed.event_id == order.event_id).unwrap();
        assert_eq!((failed.attempt, failed.failures_max), (order.attempt, 3));
        assert_eq!(store.record_failures(&[((*failed).clone(), Verdict::GiveUp)]).await.unwrap(), [order.event_id]);
    }
    let completed =
        |one: &&Executed| matches!(one, Executed::Completed { event_id, .. } if *event_id == orders[3].event_id);
    assert_eq!(executed.iter().filter(completed).count(), 1, "{executed:?}");
}

/// Nor does it go on for ever: alone, its failures are counted.
#[tokio::test]
async fn an_event_whose_text_is_no_text_is_its_own_failure() {
    let scratch = Scratch::new();
    let store = scratch.migrated().await;
    for account in ["A", "B"] {
        with_account(&store, account).await;
        requested(&store, account).await;
    }
    let orders = store.claim(10, REDISPATCH).await.unwrap();
    alter(&store, "update disconnect_events set reason = cast(x'ff' as text) where id = 1").await;
    let batch = store.disconnect(&orders, &plan_disconnect).await;
    assert!(matches!(batch, Err(StoreError::Rejected(_))), "{batch:?}");
    let alone = store.disconnect(&orders[..1], &plan_disconnect).await.unwrap();
    let [Executed::Failed(failed)] = &alone[..] else { panic!("{alone:?}") };
    assert_eq!((failed.event_id, failed.attempt, failed.failures_max), (orders[0].event_id, orders[0].attempt, 3));
    let alone = store.disconnect(&orders[1..], &plan_disconnect).await.unwrap();
    assert!(matches!(alone[..], [Executed::Completed { .. }]), "{alone:?}");
}

/// A command beside an import of minutes looks at an account at once.
#[tokio::test]
async fn a_database_that_is_up_to_date_is_not_waited_for() {
    let scratch = Scratch::new();
    let store = scratch.migrated().await;
    let mut writer = raw(&store).await;
    sqlx::raw_sql("begin immediate").execute(&mut writer).await.unwrap();
    assert_eq!(store.migrate().await.unwrap(), 0);
    sqlx::raw_sql("rollback").execute(&mut writer).await.unwrap();
    alter(&store, "update _sqlx_migrations set checksum = x'00' where version = 2").await;
    assert!(matches!(store.migrate().await, Err(StoreError::Unusable(_))));
}

#[tokio::test]
async fn settings_that_cannot_be_read_stop_no_disconnect_are_named_and_can_be_mended() {
    let scratch = Scratch::new();
    let store = scratch.migrated().await;
    with_account(&store, "A").await;
    requested(&store, "A").await;
    alter(
        &store,
        "update settings set value = 'noon' where key = 'cutoff_time';
         update settings set value = 'Mars' where key = 'company_zone'",
    )
    .await;
    let orders = store.claim(10, REDISPATCH).await.unwrap();
    let executed = store.disconnect(&orders, &plan_disconnect).await.unwrap();
    assert!(matches!(executed[..], [Executed::Completed { .. }]), "{executed:?}");

    let findings = store.inspect().await.unwrap();
    for (finding, key) in findings.iter().zip(["company_zone", "cutoff_time"]) {
        assert!(finding.contains(&format!("`disconnectd settings set {key} VALUE`")), "{finding}");
    }
    assert_eq!(findings.len(), 2, "{findings:?}");
    match store.settings().await {
        Err(StoreError::Unusable(why)) => assert!(why.contains("settings set cutoff_time VALUE"), "{why}"),
        other => panic!("{other:?}"),
    }
    store.change_setting(SettingKey::CutoffTime, "12:00").await.unwrap();
    store.change_setting(SettingKey::CompanyZone, "Europe/Berlin").await.unwrap();
    assert_eq!(store.settings().await.unwrap().value(SettingKey::CutoffTime), "12:00");
    assert_eq!(store.inspect().await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn each_check_finds_what_it_is_for_and_names_a_few() {
    let scratch = Scratch::new();
    let store = scratch.migrated().await;
    for n in 0..7 {
        with_account(&store, &format!("A{n}")).await;
    }
    assert_eq!(store.invoice_all(&clerk()).await.unwrap(), 7);
    with_account(&store, "B").await;
    requested(&store, "B").await;
    let orders = store.claim(10, REDISPATCH).await.unwrap();
    store.disconnect(&orders, &plan_disconnect).await.unwrap();
    requested(&store, "A0").await;
    assert_eq!(store.inspect().await.unwrap(), Vec::<String>::new());

    let mut connection = raw(&store).await;
    let triggers: Vec<String> = sqlx::query_scalar("select name from sqlite_schema where type = 'trigger'")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    for trigger in triggers {
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("drop trigger {trigger}"))).execute(&mut connection).await.unwrap();
    }
    let sentence = |check: Check, count, examples: &[&str]| {
        check.finding(count, &examples.iter().map(|example| (*example).to_owned()).collect::<Vec<_>>())
    };
    let five = ["A0", "A1", "A2", "A3", "A4"];
    for (wrong, right, found) in [
        (
            "update accounts set disconnected_at = '2026-01-01T00:00:00.000000Z' where number like 'A%'",
            "update accounts set disconnected_at = null where number like 'A%'",
            vec![sentence(Check::OpenAssignment, 7, &five), sentence(Check::NotByOneEvent, 7, &five)],
        ),
        (
            "update accounts set disconnected_at = null where number = 'B'",
            "update accounts set disconnected_at = '2026-01-01T00:00:00.000000Z' where number = 'B'",
            vec![sentence(Check::NotDisconnected, 1, &["1"])],
        ),
        (
            "update invoices set account_id = 1 where number = 8",
            "update invoices set account_id = 8 where number = 8",
            vec![sentence(Check::InvoiceOfAnother, 1, &["8"])],
        ),
        (
            "update invoice_lines set amount = amount - 1, tax = tax + 1 where invoice_id = 3 and position = 1",
            "update invoice_lines set amount = amount + 1, tax = tax - 1 where invoice_id = 3 and position = 1",
            vec![sentence(Check::LinesAndInvoice, 1, &["3"])],
        ),
        (
            "update debits set invoice_id = 8 where account_id = 1 and reference = 'r1'",
            "update debits set invoice_id = 1 where account_id = 1 and reference = 'r1'",
            vec![sentence(Check::DebitWithoutLine, 1, &["r1 of A0"])],
        ),
        (
            "update debits set invoice_id = null where account_id = 8 and reference = 'r1'",
            "update debits set invoice_id = 8 where account_id = 8 and reference = 'r1'",
            vec![sentence(Check::UninvoicedDebit, 1, &["B"])],
        ),
    ] {
        alter(&store, wrong).await;
        assert_eq!(store.inspect().await.unwrap(), found, "{wrong}");
        alter(&store, right).await;
        assert_eq!(store.inspect().await.unwrap(), Vec::<String>::new(), "{right}");
    }
}

#[tokio::test]
async fn what_is_brought_forward_is_the_new_requests_and_a_plan_for_now() {
    let scratch = Scratch::new();
    let store = scratch.migrated().await;
    with_account(&store, "A").await;
    with_account(&store, "B").await;
    let planned = DisconnectRequest { zone: Some(chrono_tz::Tz::Europe__Berlin), ..request("A", "2027-01-01") };
    let Requested::Created(event) = store.request(&planned).await.unwrap() else { panic!() };
    let asked =
        DisconnectRequest { reason: Some("fraud".into()), by: Actor::new("robot", Source::Api), ..request("A", "now") };
    assert_eq!(store.request(&asked).await.unwrap(), Requested::BroughtForward(event));
    let view = store.event(event).await.unwrap();
    assert_eq!((view.planned.planned_for, view.planned.zone), (None, None));
    assert_eq!((view.requested_by.as_str(), view.requested_from.as_str()), ("robot", "api"));
    assert_eq!(view.reason.as_deref(), Some("fraud"));

    let late = DisconnectRequest { late: true, ..request("B", "2020-01-01") };
    let Requested::Created(event) = store.request(&late).await.unwrap() else { panic!() };
    let view = store.event(event).await.unwrap();
    assert!(view.due_at < scratch.clock.now());
    assert_eq!(view.next_at, Some(scratch.clock.now()), "nothing was late before it was asked for");
}

#[tokio::test]
async fn an_unlink_is_remembered_until_the_child_is_linked_to_that_very_parent() {
    let scratch = Scratch::new();
    let store = scratch.migrated().await;
    let (child, first, second) = (number("C"), number("P1"), number("P2"));
    let rows = ["P1", "P2", "C"].map(|text| Ok(account(2, text)));
    assert!(import(&store, rows.into()).await.applied);
    let remembered = async || -> bool {
        sqlx::query_scalar("select unlinked_from_id is not null from accounts where number = 'C'")
            .fetch_one(&mut raw(&store).await)
            .await
            .unwrap()
    };
    store.link(&child, &first, &clerk()).await.unwrap();
    store.unlink(&child, &clerk()).await.unwrap();
    store.link(&child, &second, &clerk()).await.unwrap();
    assert!(remembered().await);
    store.link(&child, &first, &clerk()).await.unwrap();
    assert!(!remembered().await);
}

#[tokio::test]
async fn a_claim_that_waited_for_the_lock_counts_from_when_it_got_it() {
    let scratch = Scratch::new();
    let store = std::sync::Arc::new(scratch.migrated().await);
    with_account(&store, "A").await;
    let event = requested(&store, "A").await;
    let mut blocker = raw(&store).await;
    sqlx::query("begin immediate").execute(&mut blocker).await.unwrap();
    let waiting = store.clone();
    let claim = tokio::spawn(async move { waiting.claim(1, REDISPATCH).await });
    // The writer's one connection is taken once the claim waits for the file's lock.
    within(Duration::from_secs(5), async {
        while store.writer.num_idle() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    scratch.clock.advance(chrono::TimeDelta::seconds(60));
    sqlx::query("rollback").execute(&mut blocker).await.unwrap();
    assert_eq!(claim.await.unwrap().unwrap().len(), 1);
    let next_at = store.event(event).await.unwrap().next_at.unwrap();
    assert_eq!(next_at, scratch.clock.now() + REDISPATCH.base);
}

#[tokio::test]
async fn rule_4_no_line_is_added_to_an_invoice_that_was_issued() {
    let scratch = Scratch::new();
    let store = scratch.migrated().await;
    with_account(&store, "A").await;
    assert_eq!(store.invoice_all(&clerk()).await.unwrap(), 1);
    assert!(import_debits(&store, vec![debit(2, "A", "r3", "1")]).await.applied);
    let added = "insert into invoice_lines
                     (invoice_id, position, debit_id, description, charged_on, amount, tax, total)
                 select 1, 3, id, description, charged_on, amount, tax, amount + tax from debits where reference = 'r3'";
    let error = sqlx::query(added).execute(&mut raw(&store).await).await.unwrap_err().to_string();
    assert!(error.contains("beyond its total is refused"), "{error}");
}

#[tokio::test]
async fn a_line_that_cannot_be_read_is_one_row_of_the_report() {
    let scratch = Scratch::new();
    let store = scratch.migrated().await;
    let bad = |line, column| Err(Problem::new(line, column, "no"));
    let rows = vec![Ok(account(2, "A")), bad(3, "zone"), bad(3, "currency"), bad(4, "zone"), Ok(account(5, "B"))];
    let report = import(&store, rows).await;
    assert_eq!((report.rows, report.created, report.problems.len()), (4, 2, 3), "{report:?}");
}

#[tokio::test]
async fn cycles_of_any_length_are_found_and_long_lines_are_none() {
    let scratch = Scratch::new();
    let store = scratch.migrated().await;
    let under = |n: u64, parent: Option<u64>| {
        let parent = parent.map(|parent| number(&format!("N{parent}")));
        Ok(AccountRow { parent, address: None, groups: vec![], ..account(n + 2, &format!("N{n}")) })
    };
    let line = (0..100).map(|n| under(n, n.checked_sub(1)));
    assert!(import(&store, line.collect()).await.applied);
    for length in [2, 3, 5, 8, 64, 100] {
        let report = import(&store, vec![under(0, Some(length - 1)), under(100, Some(99))]).await;
        let lines: Vec<_> = report.problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [2], "{length}: {report:?}");
    }
}
