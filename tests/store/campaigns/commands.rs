//! Pause, resume, abort, retry: when each answers, it is so, and the numbers are exact.

use disconnectd::domain::account::LogKind;
use disconnectd::domain::actor::{Actor, Source};
use disconnectd::domain::campaign::{Command, PauseCause, State, Terms};
use disconnectd::domain::event;
use disconnectd::domain::refusal::Refusal;
use disconnectd::domain::retry::Verdict;
use disconnectd::store::campaigns::Upkeep;
use disconnectd::store::{Executed, Page};

use crate::support::both_engines;
use crate::support::campaigns::{boss, claim_of, draft_on, list, member, members, numbered, terms};
use crate::support::database::{Engine, TestDatabase};
use crate::support::rows::account;
use crate::support::scenario::{clerk, outcome_of, refusal, request};

both_engines!(
    a_pause_takes_back_what_is_queued_and_counts_exactly,
    what_is_queued_of_a_stopped_campaign_does_not_begin,
    a_paused_campaign_says_why_and_its_log_who,
    a_resume_goes_on_where_the_pause_stopped,
    an_abort_ends_it_for_good_and_its_open_events_are_cancelled,
    an_abort_of_a_paused_one_cancels_dates_to_come_and_both_lanes,
    an_abort_before_the_start_leaves_nothing_behind,
    an_abort_stops_what_is_not_enlisted_yet,
    a_command_that_does_not_fit_its_state_is_refused,
    a_retry_brings_back_what_failed_and_the_campaign_runs_again,
    a_retry_takes_back_what_was_brought_forward_and_failed,
    a_retry_leaves_out_accounts_with_another_open_event,
    a_retry_of_nothing_is_refused,
);

async fn a_pause_takes_back_what_is_queued_and_counts_exactly(db: &TestDatabase) {
    let numbers = numbered("A", 6);
    db.accounts(numbers.iter().map(|number| account(number))).await;
    let id = db.started(&numbers).await;
    let orders = db.claimed(4).await;
    db.disconnect(&orders[..1]).await;
    let before = db.store.now().await.unwrap();
    let paused = db.pause(id).await;
    assert_eq!(paused.events, 3);
    let counts = paused.campaign.counts;
    assert_eq!((counts.queued, counts.scheduled, counts.disconnected), (0, 5, 1));
    assert_eq!(counts, db.counted_anew(id).await);
    for executed in db.disconnect(&orders[1..]).await {
        assert!(matches!(executed, Executed::Stale { .. }), "{executed:?}");
    }
    assert_eq!(db.counts(id).await, counts, "nothing of it has begun since");
    let event = db.event(orders[1].event_id).await;
    assert_eq!(
        (event.state, event.attempt),
        (event::State::Scheduled, orders[1].attempt),
        "an attempt never goes down"
    );
    assert!(event.next_at.unwrap() >= before);
    let dispatches = format!("select cast(dispatches as bigint) from disconnect_events where id = {}", event.id);
    assert_eq!(db.number(&dispatches).await, 0);
}

async fn what_is_queued_of_a_stopped_campaign_does_not_begin(db: &TestDatabase) {
    let numbers = numbered("A", 4);
    db.accounts(numbers.iter().map(|number| account(number))).await;
    let id = db.started(&numbers).await;
    let orders = db.claimed(4).await;
    // In one batch with somebody that was asked for alone.
    db.accounts([account("B")]).await;
    let single = db.queued("B").await;
    // A pause that was cut off before it took anything back.
    let cause = PauseCause::Person.as_str();
    db.sql(&format!("update campaigns set state = 'paused', pause_cause = '{cause}' where id = {id}")).await;
    let mut batch = orders.clone();
    batch.push(single);
    let executed = db.disconnect(&batch).await;
    assert_eq!(executed.iter().filter(|executed| matches!(executed, Executed::Stale { .. })).count(), 4);
    let ended = |executed: &&Executed| matches!(executed, Executed::Completed { .. });
    let ended: Vec<_> = executed.iter().filter(ended).collect();
    assert!(matches!(ended[..], [Executed::Completed { event_id, .. }] if *event_id == single.event_id), "{ended:?}");
    // Asked for again, it takes them back.
    let paused = db.pause(id).await;
    assert_eq!((paused.events, paused.campaign.counts.queued, paused.campaign.counts.scheduled), (4, 0, 4));
}

/// On SQLite a pause is one transaction, and is never cut off.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_was_cut_off_is_finished_by_the_upkeep_and_takes_nobodys_room() {
    TestDatabase::run(Engine::Postgres, async |db: &TestDatabase| {
        let numbers = numbered("A", 8);
        db.accounts(numbers.iter().map(|number| account(number))).await;
        let (stopped, other) = (db.started(&numbers[..4]).await, db.started(&numbers[4..]).await);
        assert_eq!(claim_of(&*db.store, 8, 4).await.orders.len(), 4, "as many as there is room for");
        let again = format!("state = 'scheduled', dispatches = 0, next_at = {}", db.instant(-1));
        db.sql(&format!("update disconnect_events set {again} where campaign_id = {other}")).await;
        let cause = PauseCause::Person.as_str();
        db.sql(&format!("update campaigns set state = 'paused', pause_cause = '{cause}' where id = {stopped}")).await;
        db.upkeep().await;
        let left = db.counts(stopped).await.queued;
        assert!(left > 0, "a pause that is under way takes back by itself");
        assert_eq!(claim_of(&*db.store, 8, 4).await.orders.len(), 4, "what is stopped needs no room");
        db.sql(&format!("update disconnect_events set next_at = {} where campaign_id = {stopped}", db.instant(-1)))
            .await;
        db.upkeep().await;
        assert_eq!(db.counts(stopped).await.queued, 0);
    })
    .await;
}

async fn a_paused_campaign_says_why_and_its_log_who(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let id = db.started(["A-1"]).await;
    let note = Some("the crew is stuck".to_owned());
    let view = db.command(id, Command::Pause { note: note.clone() }).await.campaign;
    assert_eq!((view.state, view.pause_cause), (State::Paused, Some(PauseCause::Person)));
    assert!(view.pause_note.as_ref().is_some_and(|shown| shown.contains("the crew is stuck")), "{:?}", view.pause_note);
    let again = db.pause(id).await;
    assert_eq!((again.events, &again.campaign.pause_note), (0, &view.pause_note), "it was so already");
    let resumed = db.resume(id).await.campaign;
    assert_eq!((resumed.state, resumed.pause_cause, resumed.pause_note), (State::Running, None, None));
    assert_eq!(db.resume(id).await.campaign.state, State::Running, "it is so already");
    db.store.command_campaign(id, &Command::Abort { note: None }, &clerk()).await.unwrap();
    let log = db.store.campaign_log(id, &Page { after: None, limit: 10 }).await.unwrap().items;
    let log: Vec<_> = log.iter().map(|entry| (entry.actor.as_str(), entry.message.as_str())).collect();
    let (clerk, boss) = (clerk().name, boss().name);
    assert_eq!(
        log,
        [
            (clerk.as_str(), "made of 1 account from a list"),
            (&clerk, "started: 1 account to disconnect, final invoices of nothing"),
            (&boss, "paused: the crew is stuck"),
            (&boss, "resumed"),
            (&clerk, "aborted"),
        ],
        "what changed nothing is not told"
    );
}

async fn a_resume_goes_on_where_the_pause_stopped(db: &TestDatabase) {
    let numbers = numbered("A", 6);
    db.accounts(numbers.iter().map(|number| account(number))).await;
    let id = db.started(&numbers).await;
    let first = db.claimed(3).await;
    db.pause(id).await;
    assert_eq!(db.claimed(500).await, []);
    db.resume(id).await;
    let again = db.claimed(500).await;
    assert_eq!(again.len(), 6);
    for order in again.iter().filter(|order| first.iter().any(|one| one.event_id == order.event_id)) {
        assert_eq!(order.attempt.0, 2);
    }
    // A message from before the pause runs the event that is queued again, once.
    let executed = db.disconnect(&first[..1]).await;
    assert!(outcome_of(&executed[0]).is_some());
    db.disconnect(&again).await;
    db.run_campaigns().await;
    assert_eq!((db.campaign_state(id).await, db.counts(id).await.disconnected), (State::Completed, 6));
}

async fn an_abort_ends_it_for_good_and_its_open_events_are_cancelled(db: &TestDatabase) {
    let numbers = numbered("A", 5);
    db.accounts(numbers.iter().map(|number| account(number))).await;
    let id = db.started(&numbers).await;
    let orders = db.claimed(3).await;
    db.disconnect(&orders[..1]).await;
    let aborted = db.command(id, Command::Abort { note: Some("wrong tower".into()) }).await;
    assert_eq!(aborted.events, 4, "as many are being cancelled");
    let counts = aborted.campaign.counts;
    assert_eq!((aborted.campaign.state, counts.queued, counts.disconnected), (State::Aborted, 0, 1));
    assert_eq!(counts.scheduled + counts.cancelled, 4);
    assert!(aborted.campaign.ended_at.is_some());
    for executed in db.disconnect(&orders[1..]).await {
        assert!(matches!(executed, Executed::Stale { .. }), "{executed:?}");
    }
    db.upkeep().await;
    let counts = db.counts(id).await;
    assert_eq!((counts.scheduled, counts.cancelled, counts.disconnected), (0, 4, 1));
    for number in &numbers[1..] {
        let event = db.event(db.event_of(id, number).await).await;
        assert_eq!((event.state, event.next_at, event.ended_at.is_some()), (event::State::Cancelled, None, true));
        let entry = db.log(number).await.pop().unwrap();
        assert_eq!((entry.kind, entry.event_id), (LogKind::Cancelled, Some(event.id)));
        let account = db.account(number).await;
        assert_eq!((account.open_event, account.disconnected_at), (None, None));
    }
    assert_eq!(db.store.upkeep().await.unwrap(), Upkeep::default());
    assert_eq!(db.abort(id).await.events, 0, "it was so already");
}

async fn an_abort_of_a_paused_one_cancels_dates_to_come_and_both_lanes(db: &TestDatabase) {
    db.accounts(["A-1", "A-2", "A-3", "A-4"].map(account)).await;
    let draft = draft_on("x", Terms { canary: Some(1), ..terms() });
    let rows = [member("A-1"), member("A-2").on("2126-12-01"), member("A-3"), member("A-4")];
    let id = db.made(&draft, members(rows)).await.id;
    db.start(id).await;
    let failing = db.claimed(500).await;
    db.fail_orders(&failing, Verdict::RetryAfter(std::time::Duration::from_secs(3_600))).await;
    db.claim_campaigns(500).await;
    assert_eq!(db.campaign_state(id).await, State::Paused);
    assert_eq!(db.abort(id).await.events, 4);
    db.upkeep().await;
    assert_eq!((db.counts(id).await.cancelled, db.counts(id).await.retrying), (4, 0));
    // What is done is in none of its lanes any more: nothing to claim, nothing to wait for.
    let claimed = db.claim_campaigns(500).await;
    assert_eq!((claimed.orders, claimed.next), (vec![], None));
}

async fn an_abort_before_the_start_leaves_nothing_behind(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let id = db.drafted(["A-1"]).await;
    let aborted = db.abort(id).await;
    assert_eq!((aborted.campaign.state, aborted.events), (State::Aborted, 0));
    assert_eq!((aborted.campaign.counts.waiting, aborted.campaign.started_at), (1, None));
    db.upkeep().await;
    assert_eq!(db.count("disconnect_events").await, 0);
    db.due("A-1").await;
}

async fn an_abort_stops_what_is_not_enlisted_yet(db: &TestDatabase) {
    const COUNT: u32 = disconnectd::store::campaigns::ENLIST_AT_START + 500;
    db.many_accounts("N", COUNT).await;
    db.approval_over(1_000_000).await;
    let id = db.started((1..=COUNT).map(|n| format!("N{n}"))).await;
    db.pause(id).await;
    db.upkeep().await;
    assert_eq!(db.counts(id).await.waiting, 500, "nor does a paused one enlist");
    let counts = db.abort(id).await.campaign.counts;
    assert_eq!((counts.waiting, counts.scheduled + counts.cancelled), (500, i64::from(COUNT) - 500));
    db.upkeep().await;
    let counts = db.counts(id).await;
    assert_eq!((counts.waiting, counts.cancelled), (500, i64::from(COUNT) - 500));
}

async fn a_command_that_does_not_fit_its_state_is_refused(db: &TestDatabase) {
    db.accounts(["A-1", "A-2", "A-3"].map(account)).await;
    let [draft, aborted, completed] = [db.drafted(["A-1"]).await, db.drafted(["A-2"]).await, db.started(["A-3"]).await];
    db.abort(aborted).await;
    db.run_campaigns().await;
    let before = db.dump().await;
    let (pause, abort) = (Command::Pause { note: None }, Command::Abort { note: None });
    for (id, state, refused) in [
        (draft, State::Draft, vec![(&pause, "paused"), (&Command::Resume, "resumed"), (&Command::Retry, "retried")]),
        (
            aborted,
            State::Aborted,
            vec![(&pause, "paused"), (&Command::Resume, "resumed"), (&Command::Retry, "retried")],
        ),
        (completed, State::Completed, vec![(&pause, "paused"), (&Command::Resume, "resumed"), (&abort, "aborted")]),
    ] {
        for (command, wanted) in refused {
            let refused = refusal(db.store.command_campaign(id, command, &clerk()).await);
            assert_eq!(refused, Refusal::CampaignState { campaign: id, wanted, state });
        }
    }
    for (id, state) in [(aborted, State::Aborted), (completed, State::Completed)] {
        let refused = refusal(db.store.start_campaign(id, None, &clerk()).await);
        assert_eq!(refused, Refusal::CampaignState { campaign: id, wanted: "started", state });
    }
    assert_eq!(db.dump().await, before);
}

async fn a_retry_brings_back_what_failed_and_the_campaign_runs_again(db: &TestDatabase) {
    db.accounts(["A-1", "A-2", "A-3"].map(account)).await;
    let id = db.started(["A-1", "A-2", "A-3"]).await;
    let orders = db.claimed(500).await;
    db.fail_orders(&orders[..2], Verdict::GiveUp).await;
    db.disconnect(&orders[2..]).await;
    db.run_campaigns().await;
    let counts = db.counts(id).await;
    assert_eq!((db.campaign_state(id).await, counts.failed, counts.done()), (State::Completed, 2, 3));
    let by = Actor::new("director", Source::Api);
    let retried = db.store.command_campaign(id, &Command::Retry, &by).await.unwrap();
    assert_eq!((retried.events, retried.campaign.state, retried.campaign.ended_at), (2, State::Running, None));
    let counts = retried.campaign.counts;
    assert_eq!((counts.failed, counts.retrying, counts.scheduled, counts.disconnected), (0, 0, 2, 1));
    let event = db.event(orders[0].event_id).await;
    assert_eq!((event.failures, event.attempt, event.ended_at), (0, orders[0].attempt, None));
    let account = event.account_number.as_str();
    let entry = db.log(account).await.pop().unwrap();
    assert_eq!((entry.kind, entry.event_id, entry.actor.as_str()), (LogKind::Retried, Some(event.id), "director"));
    let again = db.claimed(500).await;
    assert_eq!((again.len(), again[0].attempt.0), (2, 2));
    db.disconnect(&again).await;
    db.run_campaigns().await;
    assert_eq!((db.campaign_state(id).await, db.counts(id).await.disconnected), (State::Completed, 3));
}

/// One that was brought forward is the campaign's again, and stops with it.
async fn a_retry_takes_back_what_was_brought_forward_and_failed(db: &TestDatabase) {
    db.accounts(["A-1", "A-2"].map(account)).await;
    let id = db.started(["A-1", "A-2"]).await;
    db.store.request(&request("A-1", "now")).await.unwrap();
    let own = db.event_of(id, "A-1").await;
    let orders = db.claim(10).await;
    db.fail_orders(&orders, Verdict::GiveUp).await;
    db.pause(id).await;
    assert_eq!(db.command(id, Command::Retry).await.events, 1);
    assert_eq!(db.claim(10).await, [], "the campaign is paused");
    db.abort(id).await;
    db.upkeep().await;
    assert_eq!(db.state(own).await, event::State::Cancelled);
}

async fn a_retry_leaves_out_accounts_with_another_open_event(db: &TestDatabase) {
    db.accounts(["A-1", "A-2", "A-3"].map(account)).await;
    let id = db.started(["A-1", "A-2", "A-3"]).await;
    let orders = db.claimed(500).await;
    db.fail_orders(&orders, Verdict::GiveUp).await;
    let own = db.scheduled("A-1").await;
    let again = db.started(["A-2"]).await;
    assert_eq!(db.command(id, Command::Retry).await.events, 1);
    let counts = db.counts(id).await;
    assert_eq!((counts.failed, counts.scheduled), (2, 1));
    assert_eq!(db.account("A-1").await.open_event, Some(own));
    assert_eq!(db.account("A-2").await.open_event, Some(db.event_of(again, "A-2").await));
    db.run_campaigns().await;
}

async fn a_retry_of_nothing_is_refused(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let id = db.made(&draft_on("x", terms()), list(["A-1"])).await.id;
    db.start(id).await;
    let nothing = Refusal::NothingFailed { campaign: id };
    assert_eq!(refusal(db.store.command_campaign(id, &Command::Retry, &boss()).await), nothing);
    db.run_campaigns().await;
    assert_eq!(refusal(db.store.command_campaign(id, &Command::Retry, &boss()).await), nothing);
}
