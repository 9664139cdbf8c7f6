//! What an aborted campaign has left open, until it is cancelled, is in nobody's way.

use disconnectd::domain::account::LogKind;
use disconnectd::domain::campaign::CampaignId;
use disconnectd::domain::dispositions::{Choice, Dispositions};
use disconnectd::domain::event::{EventId, Outcome, State};
use disconnectd::domain::request::DisconnectRequest;
use disconnectd::store::Requested;
use disconnectd::store::campaigns::{ENLIST_MAX, Upkeep};

use crate::support::both_engines;
use crate::support::campaigns::numbered;
use crate::support::database::TestDatabase;
use crate::support::rows::{account, number};
use crate::support::scenario::{outcome_of, request};

both_engines!(
    a_leftover_is_shown_as_no_open_event,
    a_request_cancels_the_leftover_and_is_made,
    a_request_for_the_parent_cancels_the_leftovers_of_its_children,
    another_campaign_takes_the_accounts_over,
    many_leftovers_are_cancelled_in_batches,
    one_that_was_brought_forward_is_no_leftover,
);

/// A campaign that was aborted, and its event for `account`, which nobody has cancelled yet.
async fn left(db: &TestDatabase, account: &str) -> (CampaignId, EventId) {
    let id = db.started([account]).await;
    db.abort(id).await;
    let event = db.event_of(id, account).await;
    assert_eq!(db.state(event).await, State::Scheduled);
    (id, event)
}

async fn a_leftover_is_shown_as_no_open_event(db: &TestDatabase) {
    db.accounts([account("P"), account("C").parent("P").email("c@b.c")]).await;
    left(db, "C").await;
    left(db, "P").await;
    assert_eq!(db.store.overview_facts(&number("P")).await.unwrap().open_event, None);
    let dry_run = db.dry_run(db.drafted(["P", "C"]).await).await;
    assert_eq!((dry_run.to_disconnect, dry_run.blockers), (2, vec![]));
}

async fn a_request_cancels_the_leftover_and_is_made(db: &TestDatabase) {
    db.accounts(["A-1", "A-2"].map(account)).await;
    for (account, when) in [("A-1", "now"), ("A-2", "2126-12-01")] {
        let (campaign, leftover) = left(db, account).await;
        let requested = db.store.request(&request(account, when)).await.unwrap();
        let Requested::Created(event) = requested else { panic!("{account}: {requested:?}") };
        assert_ne!(event, leftover);
        assert_eq!(db.state(leftover).await, State::Cancelled);
        assert_eq!((db.counts(campaign).await.cancelled, db.counts(campaign).await.scheduled), (1, 0));
        assert_eq!(db.account(account).await.open_event, Some(event));
        let log = db.log(account).await;
        let cancelled = log.iter().find(|entry| entry.kind == LogKind::Cancelled).expect("it was said");
        assert_eq!(cancelled.event_id, Some(leftover));
    }
    db.upkeep().await;
    let orders = db.claim(10).await;
    assert_eq!(outcome_of(&db.disconnect(&orders).await[0]), Some(Outcome::Disconnected));
}

async fn a_request_for_the_parent_cancels_the_leftovers_of_its_children(db: &TestDatabase) {
    db.accounts([account("P"), account("C").parent("P").email("c@b.c")]).await;
    let (campaign, leftover) = left(db, "C").await;
    let asked = DisconnectRequest {
        children: Dispositions::all(Choice::Disconnect { on: None }),
        ..request("P", "2126-12-01")
    };
    let Requested::Created(event) = db.store.request(&asked).await.unwrap() else { panic!("it is new") };
    let child = db.event(event).await.children.remove(0).event_id.unwrap();
    assert_ne!(child, leftover);
    assert_eq!((db.state(leftover).await, db.counts(campaign).await.cancelled), (State::Cancelled, 1));
    assert_eq!(db.account("C").await.open_event, Some(child));
}

async fn another_campaign_takes_the_accounts_over(db: &TestDatabase) {
    let numbers = numbered("A", 20);
    db.accounts(numbers.iter().map(|number| account(number))).await;
    let first = db.started(&numbers).await;
    db.claimed(5).await;
    db.abort(first).await;
    let second = db.started(&numbers[..10]).await;
    let counts = db.counts(second).await;
    assert_eq!((counts.scheduled, counts.left_out), (10, 0));
    assert_eq!((db.counts(first).await.cancelled, db.counts(first).await.scheduled), (10, 10));
    db.run_campaigns().await;
    assert_eq!(db.counts(second).await.disconnected, 10);
    assert_eq!((db.counts(first).await.cancelled, db.counts(first).await.disconnected), (20, 0));
}

async fn many_leftovers_are_cancelled_in_batches(db: &TestDatabase) {
    const COUNT: u32 = 2 * ENLIST_MAX + 100;
    db.many_accounts("N", COUNT).await;
    let id = db.started((1..=COUNT).map(|n| format!("N{n}"))).await;
    db.abort(id).await;
    let mut batches = Vec::new();
    loop {
        let upkeep = db.store.upkeep().await.unwrap();
        if upkeep == Upkeep::default() {
            break;
        }
        batches.push(upkeep.cancelled);
        assert_eq!(db.counts(id).await, db.counted_anew(id).await);
    }
    assert_eq!(batches.iter().sum::<u64>(), u64::from(COUNT));
    assert!(batches.len() >= 3, "{batches:?}");
    let logged = "select count(*) from account_log where kind = 'cancelled'";
    assert_eq!(db.number(logged).await, i64::from(COUNT));
}

async fn one_that_was_brought_forward_is_no_leftover(db: &TestDatabase) {
    db.accounts(["A-1", "A-2"].map(account)).await;
    let id = db.started(["A-1", "A-2"]).await;
    let own = db.event_of(id, "A-1").await;
    assert_eq!(db.store.request(&request("A-1", "now")).await.unwrap(), Requested::BroughtForward(own));
    db.abort(id).await;
    db.upkeep().await;
    assert_eq!(db.state(own).await, State::Scheduled, "a person asked for it on its own");
    let orders = db.claim(10).await;
    assert_eq!(outcome_of(&db.disconnect(&orders).await[0]), Some(Outcome::Disconnected));
    let counts = db.counts(id).await;
    assert_eq!((counts.disconnected, counts.cancelled), (1, 1));
}
