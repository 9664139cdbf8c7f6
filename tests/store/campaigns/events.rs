//! What people do with single events of a campaign, and how it counts.

use std::time::Duration;

use chrono::TimeDelta;
use disconnectd::domain::campaign::{CampaignId, State};
use disconnectd::domain::dispositions::{Choice, Dispositions};
use disconnectd::domain::event::{Along, Change, EventId, Outcome, State as EventState};
use disconnectd::domain::retry::Verdict;
use disconnectd::store::{EventFilter, Page, Requested};

use crate::support::both_engines;
use crate::support::campaigns::{Member, draft, member, members, numbered, terms};
use crate::support::database::TestDatabase;
use crate::support::rows::account;
use crate::support::scenario::{FAILURES_MAX, clerk, outcome_of, request, reschedule, reschedule_by};

both_engines!(
    events_are_listed_by_their_campaign,
    a_single_cancel_counts_and_the_campaign_goes_on,
    a_rescheduled_event_stays_in_its_campaign,
    one_that_is_brought_forward_overtakes_and_still_counts,
    an_event_of_a_paused_campaign_can_be_brought_forward,
    a_retry_by_a_person_brings_back_one_that_failed,
    children_cancelled_along_are_counted,
    a_child_decided_otherwise_is_counted,
);

impl TestDatabase {
    async fn listed(&self, filter: &EventFilter, limit: u32) -> Vec<EventId> {
        let mut page = Page { after: None, limit };
        let mut listed = Vec::new();
        loop {
            let part = self.store.events(filter, &page).await.unwrap();
            listed.extend(part.items.into_iter().map(|event| event.id));
            page.after = part.next_cursor;
            if page.after.is_none() {
                return listed;
            }
        }
    }

    async fn change(&self, event: EventId, change: &Change) {
        self.store.change(event, change, &clerk(), None).await.unwrap();
    }
}

async fn events_are_listed_by_their_campaign(db: &TestDatabase) {
    let numbers = numbered("A", 5);
    db.accounts(numbers.iter().map(|number| account(number)).chain([account("B"), account("single")])).await;
    let id = db.started(&numbers).await;
    db.disconnect(&db.claimed(2).await).await;
    let other = db.started(["B"]).await;
    db.due("single").await;
    let of = |campaign: CampaignId| EventFilter { campaign: Some(campaign), ..EventFilter::default() };
    let mut expected = Vec::new();
    for number in &numbers {
        expected.push(db.event_of(id, number).await);
    }
    expected.reverse();
    for limit in [2, 50] {
        assert_eq!(db.listed(&of(id), limit).await, expected, "newest first");
    }
    assert_eq!(db.listed(&of(other), 50).await.len(), 1);
    assert_eq!(db.listed(&of(CampaignId(404)), 50).await, []);
    let completed = EventFilter { state: Some(EventState::Completed), ..of(id) };
    assert_eq!(db.listed(&completed, 50).await, [expected[3], expected[4]]);
    let found = EventFilter { search: Some("a-3".into()), ..of(id) };
    assert_eq!(db.listed(&found, 50).await, [expected[2]]);
    let of_account = EventFilter { account: Some(crate::support::rows::number("B")), ..of(id) };
    assert_eq!(db.listed(&of_account, 50).await, []);
}

async fn a_single_cancel_counts_and_the_campaign_goes_on(db: &TestDatabase) {
    db.accounts(["A-1", "A-2", "A-3"].map(account)).await;
    let id = db.started(["A-1", "A-2", "A-3"]).await;
    let queued = db.claimed(1).await;
    for event in [queued[0].event_id, db.event_of(id, "A-2").await] {
        db.change(event, &Change::CANCEL).await;
        assert_eq!(db.counts(id).await, db.counted_anew(id).await);
    }
    let counts = db.counts(id).await;
    assert_eq!((counts.cancelled, counts.queued, counts.scheduled), (2, 0, 1));
    db.run_campaigns().await;
    assert_eq!((db.campaign_state(id).await, db.counts(id).await.disconnected), (State::Completed, 1));
    // The account can be asked for again, by itself.
    db.disconnected("A-1").await;
    assert_eq!(db.counts(id).await.disconnected, 1);
}

async fn a_rescheduled_event_stays_in_its_campaign(db: &TestDatabase) {
    db.accounts(["A-1", "A-2"].map(account)).await;
    let id = db.started(["A-1", "A-2"]).await;
    let queued = db.claimed(1).await[0];
    db.change(queued.event_id, &reschedule("2126-12-01", false)).await;
    let counts = db.counts(id).await;
    assert_eq!((counts.scheduled, counts.queued), (2, 0));
    db.run_campaigns().await;
    assert_eq!(db.campaign_state(id).await, State::Running, "one of it is for later");
    db.pause(id).await;
    db.resume(id).await;
    assert_eq!(db.event(queued.event_id).await.due_at.to_rfc3339(), "2126-12-01T00:00:00+00:00");
    assert_eq!(db.claimed(500).await, [], "a pause does not make it due");
    let now = reschedule_by(&*db.store, TimeDelta::seconds(-1), true).await;
    db.change(queued.event_id, &now).await;
    let again = db.claimed(500).await;
    assert_eq!((again.len(), again[0].attempt.0), (1, queued.attempt.0 + 1), "still in the campaign's lane");
    db.disconnect(&again).await;
    db.run_campaigns().await;
    assert_eq!((db.campaign_state(id).await, db.counts(id).await.disconnected), (State::Completed, 2));
}

async fn one_that_is_brought_forward_overtakes_and_still_counts(db: &TestDatabase) {
    db.accounts(["A-1", "A-2"].map(account)).await;
    let rows: Vec<Member> = ["A-1", "A-2"].map(|number| member(number).on("2126-12-01")).to_vec();
    let id = db.made(&draft("x"), members(rows)).await.id;
    db.start(id).await;
    let event = db.event_of(id, "A-2").await;
    assert_eq!(db.store.request(&request("A-2", "now")).await.unwrap(), Requested::BroughtForward(event));
    assert_eq!(db.event(event).await.campaign_id, Some(id));
    assert_eq!(db.claimed(500).await, []);
    let orders = db.claim(500).await;
    assert_eq!((orders.len(), orders[0].event_id), (1, event));
    let counts = db.counts(id).await;
    assert_eq!((counts.queued, counts.scheduled), (1, 1));
    // It is no campaign's business any more: a pause leaves it be.
    db.pause(id).await;
    assert_eq!(db.counts(id).await.queued, 1);
    assert_eq!(outcome_of(&db.disconnect(&orders).await[0]), Some(Outcome::Disconnected));
    let counts = db.counts(id).await;
    assert_eq!((counts.disconnected, counts.queued), (1, 0));
}

async fn an_event_of_a_paused_campaign_can_be_brought_forward(db: &TestDatabase) {
    db.accounts(["A-1", "A-2"].map(account)).await;
    let id = db.started(["A-1", "A-2"]).await;
    let queued = db.claimed(1).await[0];
    db.pause(id).await;
    let requested = db.store.request(&request("A-1", "now")).await.unwrap();
    assert_eq!(requested, Requested::BroughtForward(queued.event_id));
    let orders = db.claim(500).await;
    assert_eq!(orders.len(), 1);
    db.disconnect(&orders).await;
    assert_eq!(db.counts(id).await.disconnected, 1);
    db.resume(id).await;
    db.run_campaigns().await;
    assert_eq!(db.campaign_state(id).await, State::Completed);
}

async fn a_retry_by_a_person_brings_back_one_that_failed(db: &TestDatabase) {
    db.accounts(["A-1", "A-2"].map(account)).await;
    let id = db.started(["A-1", "A-2"]).await;
    let orders = db.claimed(500).await;
    db.fail_orders(&orders[..1], Verdict::GiveUp).await;
    db.change(orders[0].event_id, &Change::Retry).await;
    let counts = db.counts(id).await;
    assert_eq!((counts.failed, counts.scheduled, counts.queued), (0, 1, 1));
    db.disconnect(&orders[1..]).await;
    db.run_campaigns().await;
    assert_eq!(db.counts(id).await.disconnected, 2);
}

fn family() -> [crate::support::rows::Account; 3] {
    let child = |number: &str| account(number).parent("P").email("c@b.c");
    [account("P"), child("C"), child("D")]
}

/// A running campaign of all of the [`family`], for a date to come.
async fn family_campaign(db: &TestDatabase) -> CampaignId {
    use disconnectd::domain::dispositions::Disposition;
    db.accounts(family()).await;
    let mut draft = draft("x");
    draft.terms = disconnectd::domain::campaign::Terms {
        children: Some(Disposition::Disconnect),
        on: Some("2126-12-01".into()),
        ..terms()
    };
    let id = db.made(&draft, members([member("P")])).await.id;
    db.start(id).await;
    assert_eq!(db.counts(id).await.scheduled, 3);
    id
}

async fn children_cancelled_along_are_counted(db: &TestDatabase) {
    let id = family_campaign(db).await;
    let parents = db.event_of(id, "P").await;
    db.change(parents, &Change::Cancel { children: Some(Along::Along) }).await;
    let counts = db.counts(id).await;
    assert_eq!((counts.cancelled, counts.scheduled), (3, 0));
}

async fn a_child_decided_otherwise_is_counted(db: &TestDatabase) {
    let id = family_campaign(db).await;
    // Another child comes, so that there is something to decide; then the others are decided about anew too.
    db.accounts([account("late").parent("P").email("l@b.c")]).await;
    let parents = db.event_of(id, "P").await;
    assert_eq!(db.event(parents).await.to_decide.len(), 1);
    let keep = Dispositions::all(Choice::Keep);
    db.store.decide(parents, &keep, &clerk(), None, FAILURES_MAX).await.unwrap();
    assert_eq!(db.counts(id).await, db.counted_anew(id).await);
    assert_eq!(db.event(parents).await.to_decide, Vec::<String>::new());
    assert!(db.claim_campaigns(10).await.next.unwrap() > Duration::from_secs(3_600));
}
