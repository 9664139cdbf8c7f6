//! Plans that PostgreSQL makes with statistics from before a rush: what is looked up by id stays a look-up by id.

use std::time::Duration;

use disconnectd::domain::account::{AccountFilter, AccountOrder};
use disconnectd::domain::event::{Attempt, Change, EventId, Order, State};
use disconnectd::domain::retry::{FailedAttempt, Verdict};
use disconnectd::store::{EventFilter, Page, Store};

use crate::support::database::{Engine, TestDatabase};
use crate::support::scenario::{clerk, disconnect, outcome_of};
use crate::support::{SOON, wait_until};

const QUEUED: i64 = 20_000;
const BATCH: i64 = 64;

impl TestDatabase {
    /// Entries that were read from the events' indexes: of their ids, and of all others. A connection's are counted
    /// once it is closed.
    async fn entries_read(&self) -> (i64, i64) {
        let read = async |which: &str| {
            let sql = "select sum(idx_tup_read)::bigint from pg_stat_user_indexes where relname = 'disconnect_events'";
            self.number(&format!("{sql} and indexrelname {which} 'disconnect_events_pkey'")).await
        };
        (read("=").await, read("<>").await)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_stale_statistics_what_is_named_is_looked_up_and_no_index_is_walked() {
    TestDatabase::run(Engine::Postgres, async |db: &TestDatabase| {
        db.sql(&format!(
            "alter table disconnect_events set (autovacuum_enabled = false);
             insert into accounts (number, name, status_id, currency)
             select 'N-' || n, 'x', 2, 'USD' from generate_series(1, {QUEUED}) n;
             insert into disconnect_events (account_id, state, due_at, failures_max, requested_by, requested_from,
                                            ended_at)
             select id, 'cancelled', now(), 3, 'clerk', 'cli', now() from accounts;
             analyze;
             update disconnect_events set state = 'queued', attempt = 1, next_at = now() + interval '1 hour',
                                          ended_at = null"
        ))
        .await;
        let (_, walked) = db.entries_read().await;
        let first = db.number("select min(id) from disconnect_events").await;
        let batch = |n: i64| -> Vec<Order> {
            (first + n * BATCH..first + (n + 1) * BATCH)
                .map(|id| Order { event_id: EventId(id), attempt: Attempt(1), trace: None })
                .collect()
        };
        let store = db.open().await;
        // More often than a plan is made afresh.
        for n in 0..8 {
            let executed = disconnect(&*store, &batch(n)).await.unwrap();
            assert!(executed.iter().all(|one| outcome_of(one).is_some()), "{executed:?}");
        }
        store.release(&batch(8), Duration::ZERO).await.unwrap();
        let failed = |order: &Order| FailedAttempt {
            event_id: order.event_id,
            attempt: order.attempt,
            failures: 0,
            failures_max: 3,
            error: "it broke".into(),
        };
        let failures: Vec<_> = batch(9).iter().map(|order| (failed(order), Verdict::GiveUp)).collect();
        assert_eq!(store.record_failures(&failures).await.unwrap().len(), failures.len());
        store.record_suspect(batch(10)[0].event_id, "it broke").await.unwrap();
        let (read, _) = db.entries_read().await;
        store.close().await;
        wait_until(SOON, "the look-ups are counted", async || db.entries_read().await.0 >= read + BATCH).await;
        let walked = db.entries_read().await.1 - walked;
        assert!(walked < QUEUED / 4, "{walked} entries were read that nobody asked for");

        let (by_id, _) = db.entries_read().await;
        let store = db.open().await;
        for n in 11..19 {
            let order = batch(n)[0];
            store.change(order.event_id, &Change::CANCEL, &clerk(), None).await.unwrap();
            store.event(order.event_id).await.unwrap();
        }
        store.close().await;
        wait_until(SOON, "the look-ups are counted", async || db.entries_read().await.0 >= by_id + 8).await;
        let by_id = db.entries_read().await.0 - by_id;
        assert!(by_id < QUEUED, "{by_id} entries of the key were read");
    })
    .await;
}

impl TestDatabase {
    /// Invoices, of a line each, the debits of the accounts with these ids.
    async fn invoiced(&self, from: i64, to: i64) {
        self.sql(&format!(
            "insert into invoices (kind, account_id, currency, amount, tax, total, issued_at)
             select 'regular', id, 'USD', 100, 0, 100, now() from accounts where id >= {from} and id < {to};
             insert into invoice_lines (invoice_id, position, debit_id, description, charged_on, amount, tax, total)
             select i.id, 1, d.id, 'd', d.charged_on, 100, 0, 100
               from invoices i join debits d on d.account_id = i.account_id
              where i.account_id >= {from} and i.account_id < {to};
             update debits d set invoice_id = i.id from invoices i
              where i.account_id = d.account_id and d.account_id >= {from} and d.account_id < {to}"
        ))
        .await;
    }
}

/// A session keeps the plans of triggers until the tables are looked at again, which is a minute or a million invoices later.
#[tokio::test(flavor = "multi_thread")]
async fn with_plans_from_when_there_were_few_invoices_those_of_others_are_not_read() {
    TestDatabase::run(Engine::Postgres, async |db: &TestDatabase| {
        db.sql(&format!(
            "alter table invoices set (autovacuum_enabled = false);
             alter table invoice_lines set (autovacuum_enabled = false);
             insert into accounts (number, name, status_id, currency)
             select 'N-' || n, 'x', 2, 'USD' from generate_series(1, {QUEUED}) n;
             insert into debits (account_id, reference, description, amount, tax, charged_on)
             select id, 'r', 'd', 100, 0, '2026-10-31' from accounts;
             insert into disconnect_events (account_id, state, attempt, due_at, next_at, failures_max, requested_by,
                                            requested_from)
             select id, 'queued', 1, now(), now() + interval '1 hour', 3, 'clerk', 'cli' from accounts"
        ))
        .await;
        let account = db.number("select min(id) from accounts").await;
        let event = db.number("select min(id) from disconnect_events").await;
        db.invoiced(account, account + BATCH / 4).await;
        db.sql("analyze").await;
        let store = db.open().await;
        let mut batches = 1..;
        let mut disconnect_batches = async |count: usize| {
            for n in batches.by_ref().take(count) {
                let orders: Vec<_> = (event + n * BATCH..event + (n + 1) * BATCH)
                    .map(|id| Order { event_id: EventId(id), attempt: Attempt(1), trace: None })
                    .collect();
                let executed = disconnect(&*store, &orders).await.unwrap();
                assert!(executed.iter().all(|one| outcome_of(one).is_some()), "{executed:?}");
            }
        };
        disconnect_batches(2).await;
        db.invoiced(account + QUEUED / 2, account + QUEUED).await;

        let read = async || {
            db.number(
                "select sum(idx_tup_read)::bigint from pg_stat_user_indexes where relname in ('invoices', 'invoice_lines')",
            )
            .await
        };
        let (before, invoices) = (read().await, db.count("invoices").await);
        disconnect_batches(16).await;
        assert_eq!(db.count("invoices").await - invoices, 16 * BATCH);
        store.close().await;
        wait_until(SOON, "the look-ups are counted", async || read().await >= before + 16 * BATCH).await;
        let read = read().await - before;
        // What this test itself read to write invoices may be counted late: it is some of them, not all for each batch.
        assert!(read < 8 * invoices, "{read} invoices and lines were read for 16 batches, beside {invoices}");
    })
    .await;
}

impl TestDatabase {
    /// Entries that are read from the events' indexes, but of their ids, by what looks at them `looks` times at least.
    async fn entries_read_by(&self, looks: i64, by: impl AsyncFnOnce(&dyn Store)) -> i64 {
        let sum = async |what: &str| {
            let sql =
                format!("select sum({what})::bigint from pg_stat_user_indexes where relname = 'disconnect_events'");
            self.number(&format!("{sql} and indexrelname <> 'disconnect_events_pkey'")).await
        };
        let (read, looked) = (sum("idx_tup_read").await, sum("idx_scan").await);
        let store = self.open().await;
        by(&*store).await;
        store.close().await; // what a connection has read is counted then
        wait_until(SOON, "the looks are counted", async || sum("idx_scan").await >= looked + looks).await;
        sum("idx_tup_read").await - read
    }
}

/// What a campaign has done with stands at the beginning of the lists of what is to come until a vacuum, whether they begin
/// with the oldest or with the newest: whoever is served first would read it all.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_with_is_read_by_nobody_once_it_is_tended_to() {
    TestDatabase::run(Engine::Postgres, async |db: &TestDatabase| {
        db.sql(&format!(
            "alter table disconnect_events set (autovacuum_enabled = false);
             alter table accounts set (autovacuum_enabled = false);
             insert into accounts (number, name, status_id, currency)
             select 'N-' || n, 'x', 2, 'USD' from generate_series(1, {QUEUED}) n;
             insert into disconnect_events (account_id, state, due_at, next_at, failures_max, requested_by, requested_from)
             select id, 'scheduled', now(), now() + interval '1 hour', 3, 'clerk', 'cli' from accounts order by id;
             update disconnect_events set state = 'cancelled', next_at = null, ended_at = now()
              where id - (select min(id) from disconnect_events) not between {QUEUED} / 2 and {QUEUED} / 2 + 100"
        ))
        .await;
        let counted = "select reltuples::bigint from pg_class where oid = 'disconnect_events'::regclass";
        assert_eq!(db.number(counted).await, -1);
        let changes = "select pg_stat_get_mod_since_analyze('disconnect_events'::regclass)";
        wait_until(SOON, "the changes are counted", async || db.number(changes).await > QUEUED).await;
        // What somebody may still see is not marked: who wrote before, in whichever database, and autovacuum at other tables.
        wait_until(SOON, "it is marked", async || {
            db.entries_read_by(6, async |store| store.tend().await.unwrap()).await < QUEUED / 4
        })
        .await;
        assert_eq!(db.number(counted).await, QUEUED, "the planner knows");
        let read = db
            .entries_read_by(6, async |store| {
                let coming = EventFilter { coming: true, ..EventFilter::default() };
                let scheduled = EventFilter { state: Some(State::Scheduled), ..EventFilter::default() };
                for filter in [coming, scheduled] {
                    assert_eq!(store.events(&filter, &Page::default()).await.unwrap().items.len(), 50);
                }
                for order in [AccountOrder::Number, AccountOrder::Name] {
                    let filter = AccountFilter { open_event: Some(true), order, ..AccountFilter::default() };
                    assert_eq!(store.accounts(&filter, &Page::default()).await.unwrap().items.len(), 50);
                }
            })
            .await;
        assert!(read < QUEUED / 4, "{read} entries were read");
    })
    .await;
}
