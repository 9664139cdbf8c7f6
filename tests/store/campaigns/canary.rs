//! The first accounts are tried alone, and somebody looks at them before the others.

use std::time::Duration;

use disconnectd::domain::campaign::{CampaignId, PauseCause, State, Terms};
use disconnectd::domain::event::Change;
use disconnectd::domain::retry::Verdict;

use crate::support::both_engines;
use crate::support::campaigns::{draft_on, list, member, members, numbered, terms};
use crate::support::database::TestDatabase;
use crate::support::rows::account;
use crate::support::scenario::clerk;

both_engines!(
    the_first_of_the_list_are_tried_alone_then_it_pauses_by_itself,
    one_that_is_to_be_tried_again_has_been_tried,
    those_that_are_left_out_are_among_the_first,
    a_person_pauses_and_resumes_a_canary_without_passing_it,
    a_canary_of_the_whole_cohort_asks_nobody,
    the_canarys_dates_are_waited_for,
    a_canary_that_is_cancelled_asks_before_the_others_all_the_same,
);

impl TestDatabase {
    async fn with_canary(&self, canary: u32, numbers: &[String]) -> CampaignId {
        self.accounts(numbers.iter().map(|number| account(number))).await;
        self.started_on(Terms { canary: Some(canary), ..terms() }, numbers).await
    }

    async fn is_paused_by_its_canary(&self, campaign: CampaignId) {
        let claimed = self.claim_campaigns(500).await;
        assert_eq!((claimed.orders.len(), claimed.notes.len()), (0, 1));
        assert_eq!(claimed.notes[0].0, campaign);
        assert!(claimed.notes[0].1.contains("have been tried"), "{claimed:?}");
        let view = self.campaign(campaign).await;
        assert_eq!((view.state, view.pause_cause), (State::Paused, Some(PauseCause::Canary)));
        assert!(
            claimed.notes[0].1.ends_with(view.pause_note.as_deref().unwrap()),
            "{claimed:?}, {:?}",
            view.pause_note
        );
        assert_eq!(self.claim_campaigns(500).await.notes, [], "it is said once");
    }
}

async fn the_first_of_the_list_are_tried_alone_then_it_pauses_by_itself(db: &TestDatabase) {
    let numbers = numbered("A", 6);
    let id = db.with_canary(3, &numbers).await;
    let first = db.claimed(2).await;
    assert_eq!(db.accounts_of(&first).await, numbers[..2]);
    let last = db.claimed(500).await;
    assert_eq!(db.accounts_of(&last).await, numbers[2..3], "not the fourth");
    assert_eq!(db.claimed(500).await, []);
    db.disconnect(&first).await;
    assert_eq!(db.claimed(500).await, [], "one of them is under way");
    assert_eq!(db.campaign_state(id).await, State::Running);
    db.disconnect(&last).await;
    db.is_paused_by_its_canary(id).await;
    let resumed = db.resume(id).await.campaign;
    assert_eq!((resumed.state, resumed.pause_cause, resumed.pause_note), (State::Running, None, None));
    assert_eq!(db.accounts_of(&db.claimed(500).await).await, numbers[3..]);
    db.run_campaigns().await;
}

async fn one_that_is_to_be_tried_again_has_been_tried(db: &TestDatabase) {
    let numbers = numbered("A", 4);
    let id = db.with_canary(2, &numbers).await;
    let orders = db.claimed(500).await;
    db.disconnect(&orders[..1]).await;
    db.fail_orders(&orders[1..], Verdict::RetryAfter(Duration::from_secs(3_600))).await;
    db.is_paused_by_its_canary(id).await;
    let counts = db.counts(id).await;
    assert_eq!((counts.disconnected, counts.retrying, counts.scheduled), (1, 1, 3));
    db.resume(id).await;
    assert_eq!(db.accounts_of(&db.claimed(500).await).await, numbers[2..]);
    // What is left of the canary goes on with the others.
    db.make_overdue(orders[1].event_id, 1).await;
    let again = db.claimed(500).await;
    assert_eq!(again.iter().map(|order| order.event_id).collect::<Vec<_>>(), [orders[1].event_id]);
}

async fn those_that_are_left_out_are_among_the_first(db: &TestDatabase) {
    db.accounts(["A-1", "A-2", "A-3"].map(account)).await;
    let id = db.started_on(Terms { canary: Some(3), ..terms() }, ["A-1", "ghost", "A-2", "A-3"]).await;
    let orders = db.claimed(500).await;
    assert_eq!(db.accounts_of(&orders).await, ["A-1", "A-2"]);
    db.disconnect(&orders).await;
    db.is_paused_by_its_canary(id).await;
}

async fn a_person_pauses_and_resumes_a_canary_without_passing_it(db: &TestDatabase) {
    let numbers = numbered("A", 4);
    let id = db.with_canary(2, &numbers).await;
    assert_eq!(db.claimed(1).await.len(), 1);
    db.pause(id).await;
    db.resume(id).await;
    let orders = db.claimed(500).await;
    assert_eq!(db.accounts_of(&orders).await, numbers[..2]);
    db.disconnect(&orders).await;
    db.is_paused_by_its_canary(id).await;
}

async fn a_canary_of_the_whole_cohort_asks_nobody(db: &TestDatabase) {
    for canary in [3, 10] {
        let numbers = numbered(&format!("N{canary}"), 3);
        let id = db.with_canary(canary, &numbers).await;
        let notes = db.run_campaigns().await;
        assert_eq!(notes.len(), 1, "that it is complete: {notes:?}");
        assert_eq!((db.campaign_state(id).await, db.counts(id).await.disconnected), (State::Completed, 3));
    }
}

async fn the_canarys_dates_are_waited_for(db: &TestDatabase) {
    db.accounts(["A-1", "A-2"].map(account)).await;
    let draft = draft_on("x", Terms { canary: Some(1), ..terms() });
    let id = db.made(&draft, members([member("A-1").on("2126-12-01"), member("A-2")])).await.id;
    db.start(id).await;
    assert_eq!(db.claimed(500).await, [], "the second waits for the first, which waits for its date");
    assert_eq!(db.campaign_state(id).await, State::Running);
    let first = db.event_of(id, "A-1").await;
    db.make_overdue(first, 1).await;
    db.disconnect(&db.claimed(500).await).await;
    db.is_paused_by_its_canary(id).await;
}

async fn a_canary_that_is_cancelled_asks_before_the_others_all_the_same(db: &TestDatabase) {
    db.accounts(["A-1", "A-2"].map(account)).await;
    let draft = draft_on("x", Terms { canary: Some(1), ..terms() });
    let id = db.made(&draft, list(["A-1", "A-2"])).await.id;
    db.start(id).await;
    let first = db.event_of(id, "A-1").await;
    db.store.change(first, &Change::CANCEL, &clerk(), None).await.unwrap();
    db.is_paused_by_its_canary(id).await;
    db.resume(id).await;
    assert_eq!(db.accounts_of(&db.claimed(500).await).await, ["A-2"]);
}
