//! Migrations: repeatable, safe side by side, and plain about databases of another version.

use std::collections::HashSet;

use disconnectd::domain::account::AccountFilter;
use disconnectd::domain::event::Change;
use disconnectd::domain::retry::Verdict;

use crate::support::both_engines;
use crate::support::database::{Engine, TestDatabase};
use crate::support::rows::account;
use crate::support::scenario::{clerk, unusable};

both_engines!(
    on_empty:
    an_empty_database_says_to_migrate,
    migrating_twice_is_migrating_once,
    several_processes_migrate_at_once,
    a_newer_database_is_refused_plainly,
    an_installation_has_an_id_that_stays_and_is_its_own,
    accounts_of_a_database_of_before_are_found_when_it_is_migrated,
    open_events_of_a_database_of_before_are_listed_when_it_is_migrated,
);

async fn an_empty_database_says_to_migrate(db: &TestDatabase) {
    let sentence = unusable(db.store.check_schema().await);
    assert!(sentence.contains("disconnectd migrate"), "{sentence}");
    db.store.ping().await.unwrap();
}

async fn migrating_twice_is_migrating_once(db: &TestDatabase) {
    assert!(db.store.migrate().await.unwrap() >= 1);
    db.store.check_schema().await.unwrap();
    let before = db.dump().await;
    assert_eq!(db.store.migrate().await.unwrap(), 0);
    assert_eq!(db.open().await.migrate().await.unwrap(), 0);
    assert_eq!(db.dump().await, before);
}

async fn several_processes_migrate_at_once(db: &TestDatabase) {
    let mut processes = Vec::new();
    for _ in 0..4 {
        let store = db.open().await;
        processes.push(tokio::spawn(async move { store.migrate().await }));
    }
    let mut applied = Vec::new();
    for process in processes {
        applied.push(process.await.unwrap().unwrap());
    }
    applied.sort_unstable();
    assert!(applied[3] >= 1 && applied[..3] == [0, 0, 0], "{applied:?}");
    db.store.check_schema().await.unwrap();
    assert_eq!(db.count("installation").await, 1);
}

async fn a_newer_database_is_refused_plainly(db: &TestDatabase) {
    db.store.migrate().await.unwrap();
    let bytes = match db.engine() {
        Engine::Postgres => "'\\x00'::bytea",
        Engine::Sqlite => "x'00'",
    };
    db.sql(&format!(
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
         values (9999, 'from the future', true, {bytes}, 0)"
    ))
    .await;
    let before = db.dump().await;
    for store in [db.open().await, db.store.clone()] {
        let check = unusable(store.check_schema().await);
        let migrate = unusable(store.migrate().await);
        assert!(check.contains("newer"), "{check}");
        assert!(migrate.contains("newer"), "{migrate}");
    }
    assert_eq!(db.dump().await, before);
}

async fn an_installation_has_an_id_that_stays_and_is_its_own(db: &TestDatabase) {
    db.store.migrate().await.unwrap();
    let installation = db.store.installation().await.unwrap();
    assert!(!installation.is_demo);
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    assert!(installation.id.len() == 16 && installation.id.chars().all(is_hex), "{installation:?}");
    assert_eq!(db.open().await.installation().await.unwrap(), installation);
    let mut ids = HashSet::from([installation.id]);
    for _ in 0..2 {
        let other = TestDatabase::empty(db.engine()).await;
        other.store.migrate().await.unwrap();
        assert!(ids.insert(other.store.installation().await.unwrap().id));
        other.remove().await;
    }
}

async fn accounts_of_a_database_of_before_are_found_when_it_is_migrated(db: &TestDatabase) {
    db.store.migrate().await.unwrap();
    db.accounts([account("A-1").name("Ada"), account("A-2").name("ÖZDEMİR").address("12 ÉLISÉE")]).await;
    db.disconnected("A-2").await;
    // More than are folded at a time.
    db.sql(
        "insert into accounts (number, name, status_id, currency, created_at)
         with recursive n (n) as (select 1 union all select n + 1 from n where n < 10001)
         select 'N-' || n, 'ÜBER ' || n, status_id, currency, created_at from accounts cross join n where number = 'A-1'",
    )
    .await;
    // As it was before the migration 8.
    for table in ["accounts", "serviceable_addresses"] {
        db.sql(&format!("drop index {table}_unfolded")).await;
        db.sql(&format!("alter table {table} drop column searched")).await;
    }
    db.sql("delete from _sqlx_migrations where version = 8").await;
    let store = db.open().await;
    assert_eq!(store.migrate().await.unwrap(), 1);
    for (text, numbers) in
        [("özdemi", &["A-2"][..]), ("über 10001", &["N-10001"]), ("n-1000", &["N-1000", "N-10000", "N-10001"])]
    {
        assert_eq!(db.searched(text).await, numbers, "{text}");
    }
    for table in ["accounts", "serviceable_addresses"] {
        assert_eq!(db.number(&format!("select count(*) from {table} where searched is null")).await, 0);
    }
}

async fn open_events_of_a_database_of_before_are_listed_when_it_is_migrated(db: &TestDatabase) {
    db.store.migrate().await.unwrap();
    db.accounts(["A-1", "A-2", "A-3"].map(account)).await;
    db.scheduled("A-1").await;
    let failed = db.queued("A-2").await;
    db.fail_orders(&[failed], Verdict::GiveUp).await;
    db.disconnected("A-3").await;
    // As it was before the migration 13.
    db.sql("drop view all_disconnect_events; drop index disconnect_events_open_numbers").await;
    db.sql(match db.engine() {
        Engine::Postgres => {
            "drop trigger disconnect_events_fill on disconnect_events; drop function fill_account_number;
             alter table archived_disconnect_events drop column account_number"
        }
        Engine::Sqlite => "drop trigger disconnect_events_fill",
    })
    .await;
    db.sql("alter table disconnect_events drop column account_number").await;
    if db.engine() == Engine::Sqlite {
        db.sql("create view all_disconnect_events as select * from disconnect_events").await;
    }
    db.sql("delete from _sqlx_migrations where version = 13").await;
    let store = db.open().await;
    assert_eq!(store.migrate().await.unwrap(), 1);
    let with_open_event = AccountFilter { open_event: Some(true), ..AccountFilter::default() };
    assert_eq!(db.found(with_open_event.clone()).await, ["A-1"]);
    db.store.change(failed.event_id, &Change::Retry, &clerk(), None).await.unwrap();
    assert_eq!(db.found(with_open_event).await, ["A-1", "A-2"]);
}
