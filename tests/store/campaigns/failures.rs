//! A campaign of which too much fails pauses by itself.

use std::time::Duration;

use disconnectd::domain::campaign::progress::TRIED_MIN;
use disconnectd::domain::campaign::{CampaignId, Command, PauseCause, State, Terms};
use disconnectd::domain::event::Order;
use disconnectd::domain::retry::Verdict;

use crate::support::both_engines;
use crate::support::campaigns::{numbered, terms};
use crate::support::database::TestDatabase;
use crate::support::rows::account;

both_engines!(
    more_than_its_share_of_failures_pauses_it,
    of_few_accounts_a_share_says_nothing,
    what_is_to_be_tried_again_counts_as_long_as_it_is,
    after_a_resume_the_share_is_counted_from_there,
    after_a_retry_the_share_is_counted_from_there,
);

impl TestDatabase {
    /// A campaign of as many accounts, which pauses when more than a tenth fails.
    async fn fragile(&self, count: usize) -> CampaignId {
        let numbers = numbered("A", count);
        self.accounts(numbers.iter().map(|number| account(number))).await;
        self.started_on(Terms { pause_percent: 10, ..terms() }, &numbers).await
    }

    /// So many of its next ones are disconnected, and so many fail.
    async fn tried(&self, well: usize, failing: usize, verdict: Verdict) -> Vec<Order> {
        let limit = u32::try_from(well + failing).unwrap();
        let orders = self.claimed(limit).await;
        assert_eq!(orders.len(), well + failing);
        self.fail_orders(&orders[..failing], verdict).await;
        assert_eq!(self.disconnect(&orders[failing..]).await.len(), well);
        orders[..failing].to_vec()
    }

    async fn pauses_by_failures(&self, campaign: CampaignId, share: &str) {
        let claimed = self.claim_campaigns(500).await;
        assert_eq!((claimed.orders.len(), claimed.notes.len()), (0, 1));
        assert!(claimed.notes[0].1.contains(share), "{claimed:?}");
        let view = self.campaign(campaign).await;
        assert_eq!((view.state, view.pause_cause), (State::Paused, Some(PauseCause::Failures)));
        assert!(view.pause_note.unwrap().contains(share));
    }
}

async fn more_than_its_share_of_failures_pauses_it(db: &TestDatabase) {
    let id = db.fragile(40).await;
    db.tried(18, 2, Verdict::GiveUp).await;
    assert_eq!(db.claimed(1).await.len(), 1, "two of twenty are not more than a tenth");
    let queued = db.claimed(3).await;
    db.fail_orders(&queued[..1], Verdict::GiveUp).await;
    db.pauses_by_failures(id, "3 of 21 accounts").await;
    let counts = db.counts(id).await;
    assert_eq!((counts.queued, counts.failed, counts.disconnected), (0, 3, 18), "what was queued is taken back");
}

async fn of_few_accounts_a_share_says_nothing(db: &TestDatabase) {
    let id = db.fragile(40).await;
    let few = usize::try_from(TRIED_MIN).unwrap() - 1;
    db.tried(0, few, Verdict::GiveUp).await;
    db.tried(1, 0, Verdict::GiveUp).await;
    db.pauses_by_failures(id, "19 of 20 accounts").await;
}

async fn what_is_to_be_tried_again_counts_as_long_as_it_is(db: &TestDatabase) {
    let id = db.fragile(60).await;
    let failing = db.tried(19, 1, Verdict::RetryAfter(Duration::ZERO)).await;
    assert_eq!(db.counts(id).await.retrying, 1);
    // It goes well the second time.
    db.make_overdue(failing[0].event_id, 100).await;
    let again = db.claimed(1).await;
    assert_eq!(again[0].event_id, failing[0].event_id);
    db.disconnect(&again).await;
    let counts = db.counts(id).await;
    assert_eq!((counts.retrying, counts.disconnected, counts.tried()), (0, 20, 20));
    db.tried(0, 2, Verdict::RetryAfter(Duration::from_secs(3_600))).await;
    assert_eq!(db.claimed(1).await.len(), 1, "two of twenty-two are not more than a tenth");
    db.tried(0, 1, Verdict::RetryAfter(Duration::from_secs(3_600))).await;
    db.pauses_by_failures(id, "3 of 23 accounts").await;
}

async fn after_a_resume_the_share_is_counted_from_there(db: &TestDatabase) {
    let id = db.fragile(80).await;
    db.tried(15, 5, Verdict::GiveUp).await;
    db.pauses_by_failures(id, "5 of 20 accounts").await;
    db.resume(id).await;
    db.tried(18, 2, Verdict::GiveUp).await;
    db.tried(1, 0, Verdict::GiveUp).await;
    db.tried(0, 1, Verdict::GiveUp).await;
    db.pauses_by_failures(id, "3 of 22 accounts").await;
    db.resume(id).await;
    db.run_campaigns().await;
    let counts = db.counts(id).await;
    assert_eq!((counts.failed, counts.disconnected), (8, 72));
}

async fn after_a_retry_the_share_is_counted_from_there(db: &TestDatabase) {
    let id = db.fragile(60).await;
    db.tried(15, 5, Verdict::GiveUp).await;
    db.pauses_by_failures(id, "5 of 20 accounts").await;
    assert_eq!(db.command(id, Command::Retry).await.events, 5);
    db.resume(id).await;
    // They are tried for the first time, as it were.
    db.tried(18, 2, Verdict::GiveUp).await;
    db.tried(0, 1, Verdict::GiveUp).await;
    db.pauses_by_failures(id, "3 of 21 accounts").await;
}
