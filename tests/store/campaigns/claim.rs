//! What schedulers take of running campaigns: in order, in bounds, at the pace, in the window, and fairly.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{Datelike as _, TimeDelta, Weekday};
use chrono_tz::Tz;
use disconnectd::domain::campaign::{CampaignId, State, Terms};
use disconnectd::domain::event;
use disconnectd::domain::window::Window;
use disconnectd::store::{Executed, Redispatch};
use tokio::time::Instant;

use crate::support::campaigns::{claim_of, draft_on, list, member, members, numbered, terms};
use crate::support::database::TestDatabase;
use crate::support::rows::account;
use crate::support::{SOON, both_engines};

both_engines!(
    a_claim_follows_the_order_of_the_list,
    a_claim_takes_up_to_its_limit_and_no_more_than_is_due,
    in_flight_max_is_never_exceeded,
    two_campaigns_come_to_share_what_may_be_in_flight,
    a_pace_lets_no_more_than_so_many_a_minute_through,
    a_paced_campaign_has_no_more_in_flight_than_may_go_at_once,
    what_is_queued_when_the_window_closes_goes_back,
    in_a_closed_window_nothing_is_claimed_and_next_says_when_it_opens,
    single_disconnects_are_claimed_apart_from_campaigns,
    a_redispatch_needs_no_room_and_no_pace,
    a_claimed_event_is_left_to_the_queue_for_its_redispatch_time,
    what_the_broker_refused_is_claimed_again,
    drafts_paused_and_aborted_campaigns_are_not_claimed_from,
    next_says_when_a_date_comes,
    a_campaign_is_complete_once_nothing_of_it_is_open,
    a_campaign_that_is_not_all_enlisted_is_not_complete,
    many_claimers_never_get_the_same_event,
);

impl TestDatabase {
    async fn in_flight(&self) -> i64 {
        self.number("select count(*) from disconnect_events where state = 'queued' and lane <> 0").await
    }

    /// How much of a campaign is in the queue.
    async fn queued_of(&self, campaign: CampaignId) -> i64 {
        self.counts(campaign).await.queued
    }
}

async fn a_claim_follows_the_order_of_the_list(db: &TestDatabase) {
    // Made in another order than listed.
    db.accounts(["A", "B", "C", "D", "E"].map(account)).await;
    db.started(["D", "A", "E", "C", "B"]).await;
    let mut claimed = Vec::new();
    for _ in 0..3 {
        claimed.push(db.accounts_of(&db.claimed(2).await).await);
    }
    assert_eq!(claimed, [vec!["D", "A"], vec!["E", "C"], vec!["B"]]);
}

async fn a_claim_takes_up_to_its_limit_and_no_more_than_is_due(db: &TestDatabase) {
    db.accounts(["A", "B", "C", "later"].map(account)).await;
    let rows = ["A", "B", "C"].map(member).into_iter().chain([member("later").on("2126-12-01")]);
    let id = db.made(&draft_on("x", terms()), members(rows)).await.id;
    db.start(id).await;
    let first = db.claim_campaigns(2).await;
    assert_eq!((first.orders.len(), first.next), (2, Some(Duration::ZERO)), "there is more at once");
    assert!(first.orders.iter().all(|order| order.attempt.0 == 1));
    let event = db.event(first.orders[0].event_id).await;
    assert_eq!((event.state, event.attempt.0), (event::State::Queued, 1));
    assert_eq!(db.claimed(500).await.len(), 1);
    let nothing = db.claim_campaigns(500).await;
    assert_eq!(nothing.orders, []);
    assert!(nothing.next.is_none_or(|next| next > Duration::from_secs(1)), "{nothing:?}");
    assert_eq!(db.counts(id).await.scheduled, 1);
}

async fn in_flight_max_is_never_exceeded(db: &TestDatabase) {
    let numbers = numbered("A", 30);
    db.accounts(numbers.iter().map(|number| account(number))).await;
    let ids = [db.started(&numbers[..20]).await, db.started(&numbers[20..]).await];
    let mut waiting = Vec::new();
    let mut done = 0;
    for round in 0..60 {
        waiting.extend(claim_of(&*db.store, 4, 7).await.orders);
        assert!(db.in_flight().await <= 7, "round {round}");
        let some = waiting.drain(..waiting.len().min(round % 3)).collect::<Vec<_>>();
        done += db.disconnect(&some).await.len();
        if done == 30 {
            break;
        }
    }
    assert_eq!(done, 30);
    claim_of(&*db.store, 4, 7).await;
    assert_eq!([db.campaign_state(ids[0]).await, db.campaign_state(ids[1]).await], [State::Completed; 2]);
}

async fn two_campaigns_come_to_share_what_may_be_in_flight(db: &TestDatabase) {
    let numbers = numbered("A", 60);
    db.accounts(numbers.iter().map(|number| account(number))).await;
    let first = db.started(&numbers[..30]).await;
    let mut orders = claim_of(&*db.store, 500, 10).await.orders;
    assert_eq!(orders.len(), 10, "one alone has all");
    let second = db.started(&numbers[30..]).await;
    assert_eq!(claim_of(&*db.store, 500, 10).await.orders, [], "it is full");
    for _ in 0..5 {
        let done = orders.drain(..2).collect::<Vec<_>>();
        db.disconnect(&done).await;
        orders.extend(claim_of(&*db.store, 500, 10).await.orders);
    }
    assert_eq!((db.queued_of(first).await, db.queued_of(second).await), (5, 5));
    // Once one is paused, the other has all.
    db.pause(first).await;
    claim_of(&*db.store, 500, 10).await;
    assert_eq!((db.queued_of(first).await, db.queued_of(second).await), (0, 10));
}

async fn a_pace_lets_no_more_than_so_many_a_minute_through(db: &TestDatabase) {
    let numbers = numbered("A", 300);
    db.accounts(numbers.iter().map(|number| account(number))).await;
    let slow = db.started_on(Terms { per_minute: Some(30), ..terms() }, &numbers[..5]).await;
    let first = db.claimed(500).await;
    assert_eq!(first.len(), 1);
    db.disconnect(&first).await;
    let next = db.claim_campaigns(500).await;
    assert_eq!(next.orders, []);
    let wait = next.next.unwrap();
    assert!(wait > Duration::from_millis(200) && wait <= Duration::from_secs(2), "the next in two seconds: {wait:?}");
    // Time passes: what was not used in it is not saved up.
    let long_ago = db.instant(-3_600);
    db.sql(&format!("update campaigns set pace_at = {long_ago}")).await;
    assert_eq!(db.claimed(500).await.len(), 1);
    assert_eq!(db.claimed(500).await.len(), 0);
    // A pause and a resume are no way around it.
    db.pause(slow).await;
    db.resume(slow).await;
    assert_eq!(db.claimed(500).await.len(), 0);
    db.abort(slow).await;
    db.upkeep().await;
    // A hundred at once, then about one each hundredth of a second.
    let fast = db.started_on(Terms { per_minute: Some(6_000), ..terms() }, &numbers[5..]).await;
    let begun = db.store.now().await.unwrap();
    let mut claimed = 0;
    for _ in 0..20 {
        let orders = db.claimed(500).await;
        claimed += orders.len();
        // No more than a hundred are in flight: the workers keep up.
        db.disconnect(&orders).await;
        let elapsed = (db.store.now().await.unwrap() - begun).num_microseconds().unwrap();
        let at_most = 100 + usize::try_from(elapsed).unwrap() / 10_168 + 1;
        assert!(claimed >= 100 && claimed <= at_most, "{claimed} in {elapsed} microseconds, at most {at_most}");
    }
    assert_eq!(db.counts(fast).await.disconnected, i64::try_from(claimed).unwrap());
}

/// What gathered while the workers were away would all go at once when they are back.
async fn a_paced_campaign_has_no_more_in_flight_than_may_go_at_once(db: &TestDatabase) {
    let numbers = numbered("A", 10);
    db.accounts(numbers.iter().map(|number| account(number))).await;
    let id = db.started_on(Terms { per_minute: Some(60), ..terms() }, &numbers).await;
    let minute_passes = async || {
        let long_ago = db.instant(-60);
        db.sql(&format!("update campaigns set pace_at = {long_ago}")).await;
    };
    let mut orders = Vec::new();
    for _ in 0..6 {
        orders.extend(db.claimed(500).await);
        minute_passes().await;
    }
    assert_eq!(orders.len(), 4, "the workers are away");
    db.disconnect(&orders[..1]).await;
    assert_eq!(db.claimed(500).await.len(), 1);
    assert_eq!(db.queued_of(id).await, 4);
}

/// Workers ask for no window, so nothing may be left for them to find when it has closed.
async fn what_is_queued_when_the_window_closes_goes_back(db: &TestDatabase) {
    db.accounts(["A-1", "A-2"].map(account)).await;
    let window = |day: Weekday| format!("{} 00:00-24:00 UTC", day.to_string().to_lowercase());
    let today = db.store.now().await.unwrap().weekday();
    let id = db.started_on(Terms { window: Some(window(today)), ..terms() }, ["A-1", "A-2"]).await;
    let orders = db.claimed(500).await;
    assert_eq!(orders.len(), 2);
    // Midnight comes, and nobody had heard of them for long.
    let tomorrow = Terms { window: Some(window(today.succ())), ..terms() };
    let tomorrow = serde_json::to_string(&tomorrow).unwrap();
    let long_ago = db.instant(-3_600);
    db.sql(&format!("update campaigns set terms = '{tomorrow}'")).await;
    db.sql(&format!("update disconnect_events set next_at = {long_ago} where state = 'queued'")).await;
    let claimed = db.claim_campaigns(500).await;
    assert_eq!(claimed.orders, []);
    assert!(claimed.notes[0].1.contains("took 2 back"), "{:?}", claimed.notes);
    assert_eq!(db.queued_of(id).await, 0);
    for executed in db.disconnect(&orders).await {
        assert!(matches!(executed, Executed::Stale { .. }), "{executed:?}: whoever comes with it now");
    }
    assert_eq!(db.counts(id).await.disconnected, 0);
}

async fn in_a_closed_window_nothing_is_claimed_and_next_says_when_it_opens(db: &TestDatabase) {
    db.accounts(["A-1", "A-2"].map(account)).await;
    let now = db.store.now().await.unwrap();
    let opens_on = (now + TimeDelta::days(3)).weekday().to_string().to_lowercase();
    let window = Window::parse(&format!("{opens_on} 09:00-17:00 UTC"), Tz::UTC, &BTreeSet::new()).unwrap().unwrap();
    db.started_on(Terms { window: Some(window.text()), ..terms() }, ["A-1"]).await;
    let claimed = db.claim_campaigns(500).await;
    assert_eq!(claimed.orders, []);
    let until_then = (window.next_open(now).unwrap() - now).to_std().unwrap();
    let next = claimed.next.unwrap();
    assert!(next <= until_then && next + Duration::from_secs(60) > until_then, "{next:?}, not {until_then:?}");
    // Today is a holiday of the other one, which is open on every day.
    let whole_days = Terms { window: Some("mon-sun 00:00-24:00 UTC".into()), ..terms() };
    let holidays = format!("{} {}", now.date_naive(), (now + TimeDelta::days(1)).date_naive());
    let closed = Terms { holidays, ..whole_days.clone() };
    let closed = db.made(&draft_on("y", closed), list(["A-2"])).await.id;
    db.start(closed).await;
    assert_eq!(db.claimed(500).await, []);
    db.abort(closed).await;
    db.upkeep().await;
    db.started_on(whole_days, ["A-2"]).await;
    assert_eq!(db.accounts_of(&db.claimed(500).await).await, ["A-2"], "an open window is none");
}

async fn single_disconnects_are_claimed_apart_from_campaigns(db: &TestDatabase) {
    db.accounts(["A-1", "A-2", "single"].map(account)).await;
    db.started(["A-1", "A-2"]).await;
    let single = db.due("single").await;
    assert_eq!(claim_of(&*db.store, 500, 2).await.orders.len(), 2, "all there is room for");
    let orders = db.claim(500).await;
    assert_eq!(orders.iter().map(|order| order.event_id).collect::<Vec<_>>(), [single]);
    assert_eq!(db.claim(500).await, []);
    assert_eq!(db.claimed(500).await, []);
    // Nor does it take of their room.
    assert_eq!(db.in_flight().await, 2);
}

async fn a_redispatch_needs_no_room_and_no_pace(db: &TestDatabase) {
    db.accounts(["A-1", "A-2", "A-3"].map(account)).await;
    let id = db.started_on(Terms { per_minute: Some(120), ..terms() }, ["A-1", "A-2", "A-3"]).await;
    let mut first = claim_of(&*db.store, 500, 2).await.orders;
    assert_eq!(first.len(), 2);
    for order in &mut first {
        db.make_overdue(order.event_id, 1).await;
        order.attempt.0 += 1;
    }
    let mut again = claim_of(&*db.store, 500, 2).await.orders;
    first.sort_unstable();
    again.sort_unstable();
    assert_eq!(again, first);
    assert_eq!(db.queued_of(id).await, 2);
}

async fn a_claimed_event_is_left_to_the_queue_for_its_redispatch_time(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let id = db.started(["A-1"]).await;
    let event = db.event_of(id, "A-1").await;
    for expected in [10, 20, 40] {
        let redispatch = Redispatch { base: Duration::from_secs(10), max: Duration::from_secs(40) };
        assert_eq!(db.store.claim_campaigns(500, 10, redispatch).await.unwrap().orders.len(), 1);
        let left = db.event(event).await.next_at.unwrap() - db.store.now().await.unwrap();
        assert!(left.num_seconds() <= expected && left.num_seconds() > expected - 5, "{left}, not {expected} s");
        let claimed = db.claim_campaigns(500).await;
        assert_eq!(claimed.orders, [], "its message may be on its way");
        assert_ne!(claimed.next, Some(Duration::ZERO));
        db.make_overdue(event, 1).await;
    }
}

async fn what_the_broker_refused_is_claimed_again(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let id = db.started(["A-1"]).await;
    let orders = db.claimed(500).await;
    db.store.release(&orders, Duration::ZERO).await.unwrap();
    let counts = db.counts(id).await;
    assert_eq!((counts.scheduled, counts.queued), (1, 0));
    let again = db.claimed(500).await;
    assert_eq!(again[0].attempt.0, 2);
    db.disconnect(&again).await;
}

async fn drafts_paused_and_aborted_campaigns_are_not_claimed_from(db: &TestDatabase) {
    db.accounts(["A-1", "A-2", "A-3"].map(account)).await;
    db.drafted(["A-1"]).await;
    let [paused, aborted] = [db.started(["A-2"]).await, db.started(["A-3"]).await];
    db.pause(paused).await;
    db.abort(aborted).await;
    let claimed = db.claim_campaigns(500).await;
    assert_eq!((claimed.orders, claimed.next), (vec![], None), "nothing of them waits for the clock");
    assert_eq!(db.claim(500).await, [], "and they are in no other's lane");
    assert_eq!(db.store.next_due().await.unwrap(), None);
}

async fn next_says_when_a_date_comes(db: &TestDatabase) {
    db.accounts(["A-1", "A-2"].map(account)).await;
    assert_eq!(db.claim_campaigns(10).await.next, None);
    let at = (db.store.now().await.unwrap() + TimeDelta::hours(1)).to_rfc3339();
    let rows = [member("A-1").on(&at), member("A-2").on("2126-12-01")];
    let id = db.made(&draft_on("x", terms()), members(rows)).await.id;
    db.start(id).await;
    let next = db.claim_campaigns(10).await.next.unwrap();
    assert!(next > Duration::from_secs(3_500) && next <= Duration::from_secs(3_600), "{next:?}");
}

async fn a_campaign_is_complete_once_nothing_of_it_is_open(db: &TestDatabase) {
    db.accounts(["A-1", "A-2"].map(account)).await;
    let id = db.started(["A-1", "A-2"]).await;
    let orders = db.claimed(500).await;
    db.disconnect(&orders[..1]).await;
    assert_eq!(db.claimed(500).await, []);
    assert_eq!(db.campaign_state(id).await, State::Running);
    db.disconnect(&orders[1..]).await;
    let notes = db.claim_campaigns(500).await.notes;
    assert_eq!((notes.len(), notes[0].0), (1, id));
    let view = db.campaign(id).await;
    assert_eq!((view.state, view.counts.done()), (State::Completed, 2));
    assert!(view.ended_at >= view.started_at);
    assert_eq!(db.claim_campaigns(500).await.notes, [], "it is said once");
}

async fn a_campaign_that_is_not_all_enlisted_is_not_complete(db: &TestDatabase) {
    const COUNT: u32 = disconnectd::store::campaigns::ENLIST_AT_START + 5;
    db.many_accounts("N", COUNT).await;
    db.approval_over(1_000_000).await;
    let id = db.started((1..=COUNT).map(|n| format!("N{n}"))).await;
    // All that there are so far were done.
    let ended = db.instant(0);
    let outcome = format!(
        "update disconnect_events set state = 'cancelled', next_at = null, ended_at = {ended} where campaign_id = {id}"
    );
    let cancelled = db.sql(&outcome).await;
    db.sql(&format!("insert into campaign_tallies (campaign_id, kind, count) values ({id}, 'cancelled', {cancelled})"))
        .await;
    assert_eq!(db.claimed(500).await, []);
    assert_eq!(db.campaign_state(id).await, State::Running);
    db.upkeep().await;
    assert_eq!(db.accounts_of(&db.claimed(500).await).await.len(), 5);
}

async fn many_claimers_never_get_the_same_event(db: &TestDatabase) {
    let numbers = numbered("A", 200);
    db.accounts(numbers.iter().map(|number| account(number))).await;
    let ids = [db.started(&numbers[..100]).await, db.started(&numbers[100..]).await];
    let total = Arc::new(AtomicUsize::new(0));
    let mut claimers = Vec::new();
    for _ in 0..4 {
        let (store, total) = (db.open().await, Arc::clone(&total));
        claimers.push(tokio::spawn(async move {
            let (deadline, mut claimed) = (Instant::now() + SOON, Vec::new());
            // A claim that met another's comes back with nothing, so none of them is the last by itself.
            while total.load(Ordering::Relaxed) < 200 {
                assert!(Instant::now() < deadline, "there is more that nobody gets");
                let one = claim_of(&*store, 7, 5_000).await.orders;
                total.fetch_add(one.len(), Ordering::Relaxed);
                claimed.extend(one);
                tokio::task::yield_now().await;
            }
            claimed
        }));
    }
    let mut claimed = Vec::new();
    for claimer in claimers {
        claimed.extend(claimer.await.unwrap());
    }
    claimed.extend(db.claimed(500).await);
    assert_eq!(claimed.len(), 200);
    assert!(claimed.iter().all(|order| order.attempt.0 == 1));
    assert_eq!(claimed.iter().map(|order| order.event_id).collect::<BTreeSet<_>>().len(), 200);
    assert_eq!((db.queued_of(ids[0]).await, db.queued_of(ids[1]).await), (100, 100));
}
