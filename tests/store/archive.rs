//! The archive: what ended some time ago moves there, nothing else does, and nobody who looks can tell.

use std::sync::Arc;
use std::time::Duration;

use disconnectd::domain::dispositions::{Choice, Dispositions};
use disconnectd::domain::event::{Change, EventId, State};
use disconnectd::domain::request::DisconnectRequest;
use disconnectd::domain::retry::Verdict;
use disconnectd::store::{ARCHIVE_MAX, Store};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::support::campaigns::numbered;
use crate::support::database::{Engine, TestDatabase};
use crate::support::rows::{account, debit, number};
use crate::support::scenario::{clerk, request};
use crate::support::{SOON, wait_until};

mod shown;

/// Whatever has ended, however short ago.
const AT_ONCE: Duration = Duration::ZERO;

const DISCONNECT: Choice = Choice::Disconnect { on: None };

const MONTH: Duration = Duration::from_hours(30 * 24);

impl TestDatabase {
    async fn archive(&self, after: Duration) -> u64 {
        self.store.archive(after).await.unwrap()
    }

    /// Everything that may go; on SQLite nothing.
    async fn archive_all(&self) {
        let stays = "select count(*) from disconnect_events where state in ('completed', 'cancelled')";
        // Whatever was refused a moment ago may be rolling back still, and what it has locked is passed over.
        wait_until(SOON, "all that has ended is archived", async || {
            self.archive(AT_ONCE).await == 0 && (self.engine() == Engine::Sqlite || self.number(stays).await == 0)
        })
        .await;
    }

    /// As if it had ended that many days ago.
    async fn ended_days_ago(&self, events: &[EventId], days: i64) {
        let at = self.instant(-days * 24 * 60 * 60);
        for event in events {
            let sql =
                format!("update disconnect_events set ended_at = {at} where id = {event} and ended_at is not null");
            assert_eq!(self.sql(&sql).await, 1, "{event}");
        }
    }

    async fn archived(&self) -> Vec<EventId> {
        let ids = self.texts("select cast(e.id as text) from archived_disconnect_events e order by e.id").await;
        ids.iter().map(|id| EventId(id.parse().unwrap())).collect()
    }

    async fn cancelled(&self, account: &str) -> EventId {
        let event = self.scheduled(account).await;
        self.store.change(event, &Change::CANCEL, &clerk(), None).await.unwrap();
        event
    }

    async fn failed_event(&self, account: &str) -> EventId {
        let order = self.queued(account).await;
        self.fail_orders(&[order], Verdict::GiveUp).await;
        order.event_id
    }

    /// A family of which the parent and one child go, singles in every state, and a campaign that has ended. Answers the
    /// events that have.
    async fn lived_long(&self) -> Vec<EventId> {
        self.accounts([
            account("P").email("p@example.com"),
            account("C-1").parent("P").email("c1@example.com"),
            account("C-2").parent("P").email("c2@example.com"),
            account("G").parent("C-1").email("g@example.com"),
        ])
        .await;
        self.accounts(["gone", "twice", "failed", "later", "M-1", "M-2", "M-3", "M-4"].map(account)).await;
        self.debits([debit("P", "d", "10.00"), debit("gone", "d", "5.00"), debit("M-1", "d", "7.00")]).await;
        let mut children = Dispositions::all(Choice::Keep);
        children.each.insert(number("C-1"), DISCONNECT);
        self.store.request(&DisconnectRequest { children, ..request("P", "now") }).await.unwrap();
        let orders = self.claim(100).await;
        self.disconnect(&orders).await;
        let mut ended: Vec<EventId> = orders.iter().map(|order| order.event_id).collect();
        assert_eq!(ended.len(), 2);
        ended.push(self.disconnected("gone").await);
        ended.push(self.cancelled("twice").await);
        ended.push(self.cancelled("twice").await);
        self.failed_event("failed").await;
        self.scheduled("later").await;
        self.scheduled("twice").await;
        let campaign = self.started(numbered("M", 4)).await;
        let orders = self.claimed(500).await;
        self.store.change(orders[3].event_id, &Change::CANCEL, &clerk(), None).await.unwrap();
        self.fail_orders(&orders[2..3], Verdict::GiveUp).await;
        self.disconnect(&orders[..2]).await;
        self.run_campaigns().await;
        assert!(self.campaign_state(campaign).await.is_over());
        ended.extend([0, 1, 3].map(|n: usize| orders[n].event_id));
        ended
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_long_ago_moves_and_nothing_else() {
    TestDatabase::run(Engine::Postgres, async |db: &TestDatabase| {
        let ended = db.lived_long().await;
        assert_eq!(db.archive(MONTH).await, 0, "it ended a moment ago");
        db.ended_days_ago(&ended[1..3], 31).await;
        db.ended_days_ago(&ended[3..4], 29).await;
        let failed = db.texts("select cast(id as text) from disconnect_events where state = 'failed'").await;
        let failed: Vec<EventId> = failed.iter().map(|id| EventId(id.parse().unwrap())).collect();
        db.ended_days_ago(&failed, 400).await;
        let rows = "select cast(e.* as text) from all_disconnect_events e order by id";
        let before = db.texts(rows).await;
        assert_eq!(db.archive(MONTH).await, 2);
        assert_eq!(db.archived().await, ended[1..3]);
        assert_eq!(db.archive(MONTH).await, 0);
        db.archive_all().await;
        let mut all = ended.clone();
        all.sort_unstable();
        assert_eq!(db.archived().await, all);
        let stay = "select distinct state from disconnect_events order by state";
        assert_eq!(db.texts(stay).await, ["failed", "scheduled"]);
        assert_eq!(db.texts(rows).await, before, "each as it was, to the last column");
        // A person looks at one that failed, and it goes on.
        db.store.change(failed[0], &Change::Retry, &clerk(), None).await.unwrap();
        assert_eq!(db.archive(AT_ONCE).await, 0);
    })
    .await;
}

impl TestDatabase {
    /// Each of them ended a second after the one before, the last of them just now.
    async fn many_ended(&self, count: i64) {
        self.many_accounts("N-", u32::try_from(count).unwrap()).await;
        let sql = format!(
            "insert into disconnect_events (account_id, state, due_at, failures_max, requested_by, requested_from, ended_at)
             select id, 'cancelled', now(), 3, 'clerk', 'cli', now() - ({count} - row_number() over (order by id)) * interval '1 second'
               from accounts"
        );
        self.sql(&sql).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_bounded_and_takes_what_ended_first() {
    TestDatabase::run(Engine::Postgres, async |db: &TestDatabase| {
        let batch = i64::from(ARCHIVE_MAX);
        db.many_ended(batch + 10).await;
        assert_eq!(db.archive(AT_ONCE).await, u64::from(ARCHIVE_MAX));
        let newest_there = "select extract(epoch from max(ended_at))::bigint from archived_disconnect_events";
        let oldest_here = "select extract(epoch from min(ended_at))::bigint from disconnect_events";
        assert!(db.number(newest_there).await < db.number(oldest_here).await);
        assert_eq!((db.archive(AT_ONCE).await, db.archive(AT_ONCE).await), (10, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_archive_at_once_each_event_is_moved_by_one() {
    TestDatabase::run(Engine::Postgres, async |db: &TestDatabase| {
        let count = i64::from(ARCHIVE_MAX) * 4 + 7;
        db.many_ended(count).await;
        let mut movers = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let store: Arc<dyn Store> = db.open().await;
            movers.spawn(async move {
                let mut moved = 0;
                // What another has in hand is passed over, so that one may find nothing while there is more.
                while store.event_counts(None).await.unwrap().cancelled > 0 {
                    let batch = store.archive(AT_ONCE).await.unwrap();
                    moved += batch;
                    if batch == 0 {
                        break;
                    }
                }
                moved
            });
        }
        let moved: u64 = movers.join_all().await.into_iter().sum();
        let rest = db.archive(AT_ONCE).await;
        assert_eq!(moved + rest, u64::try_from(count).unwrap());
        let counts = (db.count("disconnect_events").await, db.count("archived_disconnect_events").await);
        assert_eq!(counts, (0, count));
    })
    .await;
}

/// A transaction beside the store, for what holds a lock until it ends.
async fn beside(db: &TestDatabase, sql: &str) -> PgConnection {
    let mut other = PgConnection::connect(&db.url()).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("begin; {sql}"))).execute(&mut other).await.unwrap();
    other
}

/// When this answers, its locks are gone.
async fn ends(mut other: PgConnection) {
    sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
}

impl TestDatabase {
    async fn until_it_waits(&self) {
        let waits = "select count(*) from pg_stat_activity where query like '/* archive: move%' and wait_event_type = 'Lock' \
                     and datname = current_database()";
        wait_until(SOON, "a batch is under way", async || self.number(waits).await == 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_broken_off_has_moved_nothing() {
    TestDatabase::run(Engine::Postgres, async |db: &TestDatabase| {
        let ended = db.lived_long().await;
        let before = db.dump().await;
        let holder = beside(db, "lock table archived_disconnect_events in share mode").await;
        let store = db.open().await;
        let batch = tokio::spawn(async move { store.archive(AT_ONCE).await });
        db.until_it_waits().await;
        let killed = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                      where query like '/* archive: move%' and datname = current_database()";
        assert_eq!(db.number(killed).await, 1);
        assert!(batch.await.unwrap().is_err());
        ends(holder).await;
        assert_eq!(db.dump().await, before, "each is where it was");
        db.archive_all().await;
        assert_eq!(db.count("archived_disconnect_events").await, i64::try_from(ended.len()).unwrap());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_waits_for_nobody_and_holds_up_nobody() {
    TestDatabase::run(Engine::Postgres, async |db: &TestDatabase| {
        let ended = db.lived_long().await;
        db.accounts([account("new"), account("waits")]).await;
        // One that somebody has in hand is left for later; so is nobody's account.
        let holder = beside(db, &format!("select from disconnect_events where id = {} for update", ended[0])).await;
        let account = beside(db, "select from accounts for update").await;
        assert_eq!(db.archive(AT_ONCE).await, ended.len() as u64 - 1);
        ends(account).await;
        ends(holder).await;
        // While a batch is under way, everything else goes on.
        let another = db.cancelled("waits").await;
        let holder = beside(db, "lock table archived_disconnect_events in share mode").await;
        let store = db.open().await;
        let batch = tokio::spawn(async move { store.archive(AT_ONCE).await });
        db.until_it_waits().await;
        let running = db.started(["M-3"]).await;
        db.run_campaigns().await;
        assert_eq!(db.counts(running).await.disconnected, 1);
        db.disconnected("new").await;
        let planned = db.scheduled("waits").await;
        db.store.change(planned, &Change::CANCEL, &clerk(), None).await.unwrap();
        assert_eq!(db.state(another).await, State::Cancelled);
        ends(holder).await;
        assert_eq!(batch.await.unwrap().unwrap(), 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_4_events_are_kept_in_the_archive_and_on_the_way_to_it() {
    TestDatabase::run(Engine::Postgres, async |db: &TestDatabase| {
        let ended = db.lived_long().await;
        db.ended_days_ago(&ended[..2], 31).await;
        assert_eq!(db.archive(MONTH).await, 2);
        let before = db.dump().await;
        for sql in [
            "delete from archived_disconnect_events",
            "update archived_disconnect_events set state = 'cancelled', outcome = null",
            "truncate archived_disconnect_events",
            "delete from disconnect_events",
            "delete from disconnect_events where state = 'completed'",
            "delete from disconnect_events where state = 'scheduled'",
            "truncate disconnect_events",
            "truncate disconnect_events cascade",
        ] {
            let refused = db.refusal_of(sql).await;
            assert!(refused.contains("keeps all history"), "{sql}: {refused}");
        }
        // What has not ended has no place in it.
        let copies = |changed: &str| {
            format!(
                "create temporary table copies as select * from archived_disconnect_events limit 1; \
                 update copies set {changed}; insert into archived_disconnect_events select * from copies"
            )
        };
        for state in ["scheduled", "queued", "failed"] {
            let refused = db.refusal_of(&copies(&format!("id = id + 1000, state = '{state}', outcome = null"))).await;
            assert!(refused.contains("state_check"), "{state}: {refused}");
        }
        // Nor does another row of the same number make room for its delete.
        let another = "create temporary table copies as select * from disconnect_events where state = 'scheduled' limit 1; \
                       update copies set state = 'cancelled', ended_at = now(), next_at = null; \
                       insert into archived_disconnect_events select * from copies; \
                       delete from disconnect_events where id = (select id from copies)";
        let refused = db.refusal_of(another).await;
        assert!(refused.contains("keeps all history"), "{refused}");
        assert_eq!(db.dump().await, before);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_what_names_an_event_that_is_missing() {
    TestDatabase::run(Engine::Postgres, async |db: &TestDatabase| {
        let ended = db.lived_long().await;
        db.archive_all().await;
        assert_eq!(db.store.inspect().await.unwrap(), Vec::<String>::new());
        db.is_broken_on_purpose();
        let gone = format!(
            "alter table archived_disconnect_events disable trigger user; \
             delete from archived_disconnect_events where id = {}; \
             alter table archived_disconnect_events enable trigger user",
            ended[3]
        );
        db.sql(&gone).await;
        let found = db.store.inspect().await.unwrap();
        let sentence = format!("and that are missing, 1 in all: {}", ended[3]);
        assert!(found.len() == 1 && found[0].contains(&sentence), "{found:?}");
        for names in [
            "insert into account_log (account_id, at, kind, message, actor, source, event_id) \
             select id, now(), 'cancelled', 'x', 'x', 'cli', 901 from accounts where number = 'later'",
            "update family_decisions set child_event_id = 902 where child_event_id is not null",
            "insert into family_decisions select 903, id, 'keep', null, false, now(), 'x', 'cli' from accounts where number = 'G'",
            "update disconnect_events set parent_event_id = 904 where state = 'scheduled'",
        ] {
            db.sql(names).await;
        }
        let found = db.store.inspect().await.unwrap();
        assert!(found[0].contains(&format!("5 in all: {}, 901, 902, 903, 904", ended[3])), "{found:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_events_stay_where_they_are() {
    TestDatabase::run(Engine::Sqlite, async |db: &TestDatabase| {
        db.lived_long().await;
        let before = db.dump().await;
        assert_eq!(db.archive(AT_ONCE).await, 0);
        assert_eq!(db.dump().await, before);
        assert_eq!(db.count("all_disconnect_events").await, db.count("disconnect_events").await);
    })
    .await;
}
