//! Writes that may be repeated: of all calls with a key one is done, and the others get its answer.

use std::sync::Arc;
use std::time::Duration;

use disconnectd::store::{ONCE_KEPT, ONCE_LOST, Once, OnceAnswer, OnceFence, OnceKey, Store, StoreError};
use futures_util::future::join_all;

use crate::support::database::TestDatabase;
use crate::support::{SOON, both_engines};

both_engines!(
    a_call_is_answered_again_with_the_same_answer,
    of_many_calls_at_once_one_begins,
    of_many_who_take_over_a_lost_call_one_begins,
    another_call_does_not_get_the_key,
    a_call_that_is_under_way_is_not_begun_again,
    a_call_that_was_lost_is_taken_over,
    a_call_that_was_taken_over_does_not_touch_its_successor,
    a_call_that_may_take_long_is_not_lost_early,
    a_call_that_came_to_nothing_frees_its_key,
    an_answer_stays_the_first_and_is_not_forgotten_early,
    only_a_call_that_began_can_be_answered,
    the_keys_of_different_owners_do_not_meet,
    an_answer_that_has_expired_counts_no_more,
    what_has_expired_is_forgotten_bit_by_bit,
    many_callers_forget_the_same_old_keys_at_once,
);

const CALL: [u8; 32] = [1; 32];
const OTHER: [u8; 32] = [2; 32];

const SECOND: Duration = Duration::from_secs(1);

fn key(owner: &str, key: &str) -> OnceKey {
    OnceKey { owner: owner.into(), key: key.into() }
}

fn answer(body: &str) -> OnceAnswer {
    let headers = [("content-type", "application/json"), ("location", "/api/v1/events/7"), ("etag", "\"a'b\"")];
    let headers = headers.map(|(name, value)| (name.into(), value.into()));
    OnceAnswer { status: 201, headers: headers.into(), body: body.into() }
}

impl TestDatabase {
    async fn begin(&self, call: &OnceKey, fingerprint: &[u8; 32]) -> Once {
        self.store.begin_once(call, fingerprint, ONCE_LOST).await.unwrap()
    }

    /// The same where nothing is in the way.
    async fn begun(&self, call: &OnceKey, fingerprint: &[u8; 32]) -> OnceFence {
        match self.begin(call, fingerprint).await {
            Once::Begun(fence) => fence,
            other => panic!("{other:?}"),
        }
    }

    /// Lets time pass for every key there is: this long after it began.
    async fn keys_grow_older(&self, than: Duration) {
        let at = self.instant(-i64::try_from(than.as_secs()).unwrap());
        assert!(self.sql(&format!("update idempotency_keys set begun_at = {at}")).await > 0);
    }

    /// Keys of a week ago.
    async fn old_keys(&self, count: usize) {
        for n in 0..count {
            self.begun(&key("past", &n.to_string()), &CALL).await;
        }
        let at = self.instant(-7 * 24 * 3_600);
        self.sql(&format!("update idempotency_keys set begun_at = {at} where owner = 'past'")).await;
    }
}

async fn a_call_is_answered_again_with_the_same_answer(db: &TestDatabase) {
    let call = key("ada", "k-1");
    let fence = db.begun(&call, &CALL).await;
    let body = "{\"reason\":\"Łódź 東京 \\u0000 'quoted'\"}\n";
    db.store.answer_once(&call, fence, &answer(body)).await.unwrap();
    let before = db.dump().await;
    for store in [db.store.clone(), db.open().await] {
        assert_eq!(store.begin_once(&call, &CALL, ONCE_LOST).await.unwrap(), Once::Answered(answer(body)));
    }
    assert_eq!(db.dump().await, before, "to answer again is not to write");
}

async fn of_many_calls_at_once_one_begins(db: &TestDatabase) {
    let stores = [db.open().await, db.open().await];
    for round in 0..20 {
        one_begins(&stores, &key("ada", &format!("k-{round}"))).await;
    }
}

async fn of_many_who_take_over_a_lost_call_one_begins(db: &TestDatabase) {
    let stores = [db.open().await, db.open().await];
    let call = key("ada", "k-1");
    db.begun(&call, &CALL).await;
    for lost in [ONCE_LOST, ONCE_KEPT].repeat(10) {
        db.keys_grow_older(lost + SECOND).await;
        one_begins(&stores, &call).await;
    }
}

async fn one_begins(stores: &[Arc<dyn Store>; 2], call: &OnceKey) {
    let calls = (0..8).map(|n: usize| {
        let (store, call) = (Arc::clone(&stores[n % 2]), call.clone());
        tokio::spawn(async move { store.begin_once(&call, &CALL, ONCE_LOST).await })
    });
    let mut begun = 0;
    for answer in join_all(calls).await {
        match answer.unwrap().unwrap() {
            Once::Begun(_) => begun += 1,
            Once::UnderWay => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(begun, 1);
}

async fn another_call_does_not_get_the_key(db: &TestDatabase) {
    let call = key("ada", "k-1");
    let fence = db.begun(&call, &CALL).await;
    assert_eq!(db.begin(&call, &OTHER).await, Once::OtherCall);
    db.store.answer_once(&call, fence, &answer("{}")).await.unwrap();
    assert_eq!(db.begin(&call, &OTHER).await, Once::OtherCall);
    db.keys_grow_older(ONCE_LOST + SECOND).await;
    assert_eq!(db.begin(&call, &OTHER).await, Once::OtherCall);
    assert_eq!(db.begin(&call, &CALL).await, Once::Answered(answer("{}")));
}

async fn a_call_that_is_under_way_is_not_begun_again(db: &TestDatabase) {
    let call = key("ada", "k-1");
    db.begun(&call, &CALL).await;
    assert_eq!(db.begin(&call, &CALL).await, Once::UnderWay);
    db.keys_grow_older(ONCE_LOST.saturating_sub(SOON)).await;
    assert_eq!(db.open().await.begin_once(&call, &CALL, ONCE_LOST).await.unwrap(), Once::UnderWay);
}

async fn a_call_that_was_lost_is_taken_over(db: &TestDatabase) {
    let call = key("ada", "k-1");
    db.begun(&call, &CALL).await;
    db.keys_grow_older(ONCE_LOST + SECOND).await;
    let fence = db.begun(&call, &CALL).await;
    assert_eq!(db.begin(&call, &CALL).await, Once::UnderWay, "its time begins anew");
    db.store.answer_once(&call, fence, &answer("{}")).await.unwrap();
    assert_eq!(db.begin(&call, &CALL).await, Once::Answered(answer("{}")));
}

async fn a_call_that_was_taken_over_does_not_touch_its_successor(db: &TestDatabase) {
    let call = key("ada", "k-1");
    let lost = db.begun(&call, &CALL).await;
    db.keys_grow_older(ONCE_LOST + SECOND).await;
    let successor = db.begun(&call, &CALL).await;
    db.store.forget_once(&call, lost).await.unwrap();
    assert_eq!(db.begin(&call, &CALL).await, Once::UnderWay, "the successor has the key still");
    let late = db.store.answer_once(&call, lost, &answer("late")).await;
    assert!(matches!(late, Err(StoreError::Rejected(_))), "{late:?}");
    assert_eq!(db.begin(&call, &CALL).await, Once::UnderWay, "and has not answered");
    db.store.answer_once(&call, successor, &answer("{}")).await.unwrap();
    assert_eq!(db.begin(&call, &CALL).await, Once::Answered(answer("{}")));
}

async fn a_call_that_may_take_long_is_not_lost_early(db: &TestDatabase) {
    let call = key("ada", "k-1");
    db.begun(&call, &CALL).await;
    db.keys_grow_older(ONCE_LOST + SECOND).await;
    for (lost_after, is_lost) in [(2 * ONCE_LOST, false), (ONCE_LOST, true)] {
        let once = db.store.begin_once(&call, &CALL, lost_after).await.unwrap();
        assert_eq!(matches!(once, Once::Begun(_)), is_lost, "{once:?}");
    }
}

async fn a_call_that_came_to_nothing_frees_its_key(db: &TestDatabase) {
    let call = key("ada", "k-1");
    for fingerprint in [CALL, OTHER] {
        let fence = db.begun(&call, &fingerprint).await;
        db.store.forget_once(&call, fence).await.unwrap();
        db.store.forget_once(&call, fence).await.unwrap();
    }
    assert_eq!(db.count("idempotency_keys").await, 0);
}

async fn an_answer_stays_the_first_and_is_not_forgotten_early(db: &TestDatabase) {
    let call = key("ada", "k-1");
    let fence = db.begun(&call, &CALL).await;
    db.store.answer_once(&call, fence, &answer("first")).await.unwrap();
    // By a process that was taken for lost, and was slow.
    let late = db.store.answer_once(&call, fence, &answer("second")).await;
    assert!(matches!(late, Err(StoreError::Rejected(_))), "{late:?}");
    db.store.forget_once(&call, fence).await.unwrap();
    assert_eq!(db.begin(&call, &CALL).await, Once::Answered(answer("first")));
}

async fn only_a_call_that_began_can_be_answered(db: &TestDatabase) {
    let call = key("ada", "k-1");
    let fence = OnceFence("2026-11-24T09:00:00Z".parse().unwrap());
    let answered = db.store.answer_once(&call, fence, &answer("{}")).await;
    assert!(matches!(answered, Err(StoreError::Rejected(_))), "{answered:?}");
    assert_eq!(db.count("idempotency_keys").await, 0);
    db.begun(&call, &CALL).await;
}

async fn the_keys_of_different_owners_do_not_meet(db: &TestDatabase) {
    let (ada, bo) = (key("ada", "k-1"), key("bo", "k-1"));
    let of_ada = db.begun(&ada, &CALL).await;
    let of_bo = db.begun(&bo, &OTHER).await;
    db.begun(&key("ada", "k-2"), &CALL).await;
    db.store.answer_once(&ada, of_ada, &answer("ada's")).await.unwrap();
    db.store.forget_once(&bo, of_bo).await.unwrap();
    db.begun(&bo, &CALL).await;
    assert_eq!(db.begin(&ada, &CALL).await, Once::Answered(answer("ada's")));
}

async fn an_answer_that_has_expired_counts_no_more(db: &TestDatabase) {
    let call = key("ada", "k-1");
    for fingerprint in [CALL, OTHER] {
        let fence = db.begun(&call, &fingerprint).await;
        db.store.answer_once(&call, fence, &answer("{}")).await.unwrap();
        db.keys_grow_older(ONCE_KEPT.saturating_sub(SOON)).await;
        assert_eq!(db.begin(&call, &fingerprint).await, Once::Answered(answer("{}")));
        db.keys_grow_older(ONCE_KEPT + SECOND).await;
    }
    db.begun(&call, &CALL).await;
    assert_eq!(db.begin(&call, &CALL).await, Once::UnderWay, "the old answer is gone");
}

async fn what_has_expired_is_forgotten_bit_by_bit(db: &TestDatabase) {
    db.old_keys(250).await;
    let mut left = vec![];
    for n in 0..3 {
        db.begun(&key("ada", &n.to_string()), &CALL).await;
        left.push(db.number("select count(*) from idempotency_keys where owner = 'past'").await);
    }
    assert!(left.is_sorted_by(|before, after| before > after), "{left:?}");
    assert!(left[0] > 0, "one call does not do it all: {left:?}");
    assert_eq!(left[2], 0, "{left:?}");
    assert_eq!(db.count("idempotency_keys").await, 3, "the new ones stay");
}

async fn many_callers_forget_the_same_old_keys_at_once(db: &TestDatabase) {
    let stores = [db.open().await, db.open().await];
    for _ in 0..5 {
        db.old_keys(40).await;
        // Some want the very keys that others forget.
        let calls = (0..16).map(|n: usize| {
            let owner = if n.is_multiple_of(2) { "past" } else { "ada" };
            let (store, call) = (Arc::clone(&stores[n % 2]), key(owner, &n.to_string()));
            tokio::spawn(async move { store.begin_once(&call, &OTHER, ONCE_LOST).await })
        });
        for answer in join_all(calls).await {
            assert!(matches!(answer.unwrap().unwrap(), Once::Begun(_)));
        }
        assert_eq!(db.number("select count(*) from idempotency_keys where owner = 'past'").await, 8);
        db.sql("delete from idempotency_keys").await;
    }
}
