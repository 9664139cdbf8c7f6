//! The search of accounts on PostgreSQL, where few that are found are looked up and many are walked to: each list is what
//! a plain statement says it is.

use disconnectd::domain::account::{AccountFilter, AccountOrder};
use disconnectd::domain::event::Change;
use disconnectd::domain::retry::Verdict;
use disconnectd::store::Page;

use crate::support::database::{Engine, TestDatabase};
use crate::support::scenario::clerk;
use crate::support::{SOON, wait_until};

/// More than are looked up one by one.
const MANY: i64 = 10_200;

/// Half of the accounts at an address of their own, half at one together; and what lists are filtered by.
async fn provider(db: &TestDatabase) {
    db.sql(&format!(
        "insert into accounts (number, name, status_id, currency, searched)
         select 'N-' || n, 'Customer ' || n % 100 || ' of ' || n, 2, 'USD',
                'n-' || n || E'\\ncustomer ' || n % 100 || ' of ' || n
           from generate_series(1, 2 * {MANY}) n;
         insert into serviceable_addresses (address, searched)
         select n || ' Elm Street', n || ' elm street' from generate_series(1, {MANY}) n
         union all select '1 Tower Plaza', '1 tower plaza';
         insert into address_assignments (account_id, address_id, assigned_from)
         select id, id, now() from accounts where id <= {MANY}
         union all select id, {MANY} + 1, now() from accounts where id > {MANY};
         -- Released: nobody is found by it any more.
         update address_assignments set assigned_until = now() where account_id % 1000 = 7;
         insert into groups (name) values ('towers');
         insert into account_groups select id, 1 from accounts where id % 3 = 0;
         insert into disconnect_events (account_id, state, due_at, next_at, failures_max, requested_by, requested_from)
         select id, 'scheduled', now() + interval '1 year', now() + interval '1 year', 3, 'clerk', 'cli'
           from accounts where id % 7 = 0;
         -- What is not folded yet, as an older program leaves it.
         update accounts set searched = null where id in (11, 12013);
         update serviceable_addresses set searched = null where id in (13, 14);
         analyze"
    ))
    .await;
    for number in ["N-20", "N-40", "N-12016"] {
        db.disconnected(number).await;
    }
}

impl TestDatabase {
    async fn accounts_listed(&self, filter: &AccountFilter) -> Vec<String> {
        let mut numbers = Vec::new();
        let mut page = Page { after: None, limit: 7_000 };
        loop {
            let part = self.store.accounts(filter, &page).await.unwrap();
            numbers.extend(part.items.into_iter().map(|account| account.number.to_string()));
            page.after = part.next_cursor;
            if page.after.is_none() {
                return numbers;
            }
        }
    }

    /// The same by a plain statement.
    async fn accounts_expected(&self, filter: &AccountFilter) -> Vec<String> {
        let mut conditions = vec!["true".to_owned()];
        if let Some(search) = &filter.search {
            conditions.push(format!(
                "(a.number || E'\\n' || a.name ilike '%{search}%'
                  or a.id in (select g.account_id from address_assignments g
                                join serviceable_addresses l on l.id = g.address_id
                               where g.assigned_until is null and l.address ilike '%{search}%'))"
            ));
        }
        if let Some(group) = &filter.group {
            conditions.push(format!(
                "a.id in (select account_id from account_groups m join groups g on g.id = m.group_id
                           where g.name = '{group}')"
            ));
        }
        if let Some(disconnected) = filter.disconnected {
            conditions.push(format!("(a.disconnected_at is not null) = {disconnected}"));
        }
        if let Some(open) = filter.open_event {
            conditions.push(format!(
                "(a.id in (select account_id from disconnect_events where state = 'scheduled')) = {open}"
            ));
        }
        let order = match filter.order {
            AccountOrder::Number => r#"a.number collate "C""#,
            AccountOrder::Name => r#"a.name collate "C", a.number collate "C""#,
        };
        self.texts(&format!("select a.number from accounts a where {} order by {order}", conditions.join(" and ")))
            .await
    }

    /// Answers how many there were.
    async fn are_listed_as_expected(&self, filter: &AccountFilter) -> usize {
        let (listed, expected) = (self.accounts_listed(filter).await, self.accounts_expected(filter).await);
        let differs = listed.iter().zip(&expected).position(|(listed, expected)| listed != expected);
        assert_eq!((listed.len(), differs), (expected.len(), None), "{filter:?}");
        listed.len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_finds_what_matches_whether_few_do_or_many() {
    TestDatabase::run(Engine::Postgres, async |db: &TestDatabase| {
        provider(db).await;
        let all = 2 * usize::try_from(MANY).unwrap();
        let searches = [
            ("customer", all),       // many by their text
            ("elm s", 10_187),       // many by their addresses
            ("tower", 10_189),       // by one address
            ("1", 13_839),           // many by either, some by both
            ("customer 42 of", 204), // few
            ("n-11", 1_111),         // few, and one by its number that is not folded
            ("of 12013", 1),         // not folded, and not found by its address
            ("13 elm", 102),         // an address that is not folded among them
            ("7 elm street", 1_009), // some of them released
            ("no such", 0),
        ];
        for (search, count) in searches {
            for order in [AccountOrder::Number, AccountOrder::Name] {
                // Many are walked to alike, whatever finds them.
                if matches!(order, AccountOrder::Name) && ["customer", "tower"].contains(&search) {
                    continue;
                }
                let plain = AccountFilter { search: Some(search.into()), order, ..AccountFilter::default() };
                let found = db.are_listed_as_expected(&plain).await;
                assert_eq!(found, count, "{search}");
                // The filters are the same words in both orders, and for whatever else is found as these are.
                if matches!(order, AccountOrder::Name) || !["elm s", "1", "customer 42 of"].contains(&search) {
                    continue;
                }
                db.are_listed_as_expected(&AccountFilter { group: Some("towers".into()), ..plain.clone() }).await;
                db.are_listed_as_expected(&AccountFilter { disconnected: Some(true), ..plain.clone() }).await;
                for open in [true, false] {
                    db.are_listed_as_expected(&AccountFilter { open_event: Some(open), ..plain.clone() }).await;
                }
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_with_an_open_event_are_found_whether_few_have_one_or_many() {
    TestDatabase::run(Engine::Postgres, async |db: &TestDatabase| {
        provider(db).await;
        // One that failed before another one disconnected the account, and is tried again.
        let failed = db.queued("N-60").await;
        db.fail_orders(&[failed], Verdict::GiveUp).await;
        db.disconnected("N-60").await;
        db.store.change(failed.event_id, &Change::Retry, &clerk(), None).await.unwrap();
        for is_many in [false, true] {
            if is_many {
                db.sql(
                    "insert into disconnect_events (account_id, state, due_at, next_at, failures_max, requested_by,
                                                    requested_from)
                     select id, 'scheduled', now() + interval '1 year', now() + interval '1 year', 3, 'clerk', 'cli'
                       from accounts where id % 7 in (1, 2, 3)",
                )
                .await;
            }
            for order in [AccountOrder::Number, AccountOrder::Name] {
                for open in [true, false] {
                    let filter = AccountFilter { open_event: Some(open), order, ..AccountFilter::default() };
                    assert!(db.are_listed_as_expected(&filter).await > 1_000);
                    let in_group = AccountFilter { group: Some("towers".into()), ..filter.clone() };
                    assert!(db.are_listed_as_expected(&in_group).await > 300);
                    let disconnected = AccountFilter { disconnected: Some(true), ..filter };
                    assert!(db.are_listed_as_expected(&disconnected).await < 10);
                }
            }
        }
    })
    .await;
}

/// A search for what few have reads the index of trigrams, and not all accounts.
#[tokio::test(flavor = "multi_thread")]
async fn a_search_for_few_goes_by_trigrams() {
    TestDatabase::run(Engine::Postgres, async |db: &TestDatabase| {
        db.sql(
            "insert into accounts (number, name, status_id, currency, searched)
             select 'N-' || n, 'x', 2, 'USD', 'n-' || n || E'\\nx' from generate_series(1, 50000) n;
             insert into serviceable_addresses (address, searched)
             select n || ' Elm Street', n || ' elm street' from generate_series(1, 50000) n;
             insert into address_assignments (account_id, address_id, assigned_from) select id, id, now() from accounts;
             analyze",
        )
        .await;
        let store = db.open().await;
        let filter = AccountFilter { search: Some("n-12345".into()), ..AccountFilter::default() };
        assert_eq!(store.accounts(&filter, &Page::default()).await.unwrap().items.len(), 1);
        store.close().await; // its connections are counted now
        let scans = async |index: &str| {
            db.number(&format!("select idx_scan from pg_stat_user_indexes where indexrelname = '{index}'")).await
        };
        wait_until(SOON, "the index was used", async || {
            scans("accounts_searched").await > 0 && scans("serviceable_addresses_searched").await > 0
        })
        .await;
    })
    .await;
}
