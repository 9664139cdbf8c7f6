//! Asking for a disconnect, and changing one's mind.

use chrono::{TimeDelta, Timelike as _};
use disconnectd::domain::account::LogKind;
use disconnectd::domain::actor::{Actor, Source};
use disconnectd::domain::calendar::{Planned, When};
use disconnectd::domain::event::{Change, EventId, Outcome, State};
use disconnectd::domain::refusal::Refusal;
use disconnectd::domain::request::DisconnectRequest;
use disconnectd::domain::retry::{FailedAttempt, Verdict};
use disconnectd::store::Requested;

use crate::support::both_engines;
use crate::support::database::TestDatabase;
use crate::support::rows::account;
use crate::support::scenario::{FAILURES_MAX, clerk, outcome_of, refusal, request, reschedule_by};

both_engines!(
    a_request_makes_an_event_that_shows_who_asked_for_what,
    a_date_is_kept_as_given_beside_the_instant_it_resolves_to,
    a_date_in_the_past_must_be_meant,
    a_request_for_an_unknown_account_is_refused,
    a_request_for_a_disconnected_account_names_the_event_that_did_it,
    rule_6_another_request_names_the_open_event,
    rule_6_now_brings_the_open_event_forward,
    rule_6_now_brings_an_event_of_another_lane_into_lane_0,
    rule_6_an_event_in_the_queue_is_under_way,
    rule_6_the_database_itself_refuses_a_second_open_event,
    rule_7_every_open_event_has_a_next_at,
    an_event_is_cancelled_from_scheduled_queued_and_failed,
    an_event_is_rescheduled_from_scheduled_and_queued,
    an_event_that_ended_is_not_changed_and_says_what_became_of_it,
    only_a_failed_event_is_retried,
    a_retry_beside_another_open_event_names_it,
    a_change_of_an_unknown_event_is_refused,
);

impl TestDatabase {
    async fn failed(&self, account: &str) -> EventId {
        let order = self.queued(account).await;
        let failure = FailedAttempt {
            event_id: order.event_id,
            attempt: order.attempt,
            failures: FAILURES_MAX - 1,
            failures_max: FAILURES_MAX,
            error: "it broke".into(),
        };
        self.store.record_failures(&[(failure, Verdict::GiveUp)]).await.unwrap();
        order.event_id
    }

    async fn cancel(&self, event: EventId) {
        self.store.change(event, &Change::CANCEL, &clerk(), None).await.unwrap();
    }

    async fn refused_change(&self, event: EventId, change: &Change) -> Refusal {
        let before = self.dump().await;
        let refusal = refusal(self.store.change(event, change, &clerk(), None).await);
        assert_eq!(self.dump().await, before, "{change:?} was refused");
        refusal
    }
}

async fn a_request_makes_an_event_that_shows_who_asked_for_what(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let before = db.store.now().await.unwrap();
    let id = db.due("A-1").await;
    let event = db.event(id).await;
    assert_eq!((event.id, event.account_number.as_str()), (id, "A-1"));
    assert_eq!((event.state, event.outcome, event.attempt.0), (State::Scheduled, None, 0));
    assert_eq!((event.failures, event.failures_max, event.last_error), (0, FAILURES_MAX, None));
    assert_eq!((event.requested_by.as_str(), event.requested_from.as_str()), ("clerk", "cli"));
    assert_eq!(event.reason.as_deref(), Some("moved away"));
    assert_eq!((event.planned, event.campaign_id, event.final_invoice), (Planned::default(), None, None));
    assert!(event.due_at >= before && event.due_at <= db.store.now().await.unwrap());
    assert_eq!((event.next_at, event.ended_at), (Some(event.due_at), None));
    assert_eq!(event.due_at.nanosecond() % 1_000, 0, "instants are cut to microseconds");
    assert_eq!(db.account("A-1").await.open_event, Some(id));
    let entry = db.log("A-1").await.pop().unwrap();
    assert_eq!((entry.kind, entry.event_id, entry.actor.as_str()), (LogKind::Scheduled, Some(id), "clerk"));
    assert_eq!(entry.reason.as_deref(), Some("moved away"));
}

async fn a_date_is_kept_as_given_beside_the_instant_it_resolves_to(db: &TestDatabase) {
    db.accounts([account("tokyo").zone("Asia/Tokyo"), account("company"), account("given")]).await;
    let planned = |at: &str, zone: &str| Planned { planned_for: Some(at.into()), zone: Some(zone.into()) };
    let event = db.event(db.scheduled("tokyo").await).await;
    assert_eq!(event.due_at.to_rfc3339(), "2126-11-30T15:00:00+00:00");
    assert_eq!(event.planned, planned("2126-12-01", "Asia/Tokyo"));
    let event = db.event(db.scheduled("company").await).await;
    assert_eq!(event.due_at.to_rfc3339(), "2126-12-01T00:00:00+00:00");
    assert_eq!(event.planned, planned("2126-12-01", "UTC"));
    let given = DisconnectRequest { zone: Some(chrono_tz::Europe::Berlin), ..request("given", "2126-12-01T09:30") };
    let Requested::Created(id) = db.store.request(&given).await.unwrap() else { panic!("it is new") };
    let event = db.event(id).await;
    assert_eq!(event.due_at.to_rfc3339(), "2126-12-01T08:30:00+00:00");
    assert_eq!(event.next_at, Some(event.due_at));
    assert_eq!(event.planned, planned("2126-12-01T09:30", "Europe/Berlin"));
}

async fn a_date_in_the_past_must_be_meant(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let past = request("A-1", "2026-01-01");
    let before = db.dump().await;
    assert!(matches!(refusal(db.store.request(&past).await), Refusal::PastDate { .. }));
    assert_eq!(db.dump().await, before);
    let late = DisconnectRequest { late: true, ..past };
    let Requested::Created(id) = db.store.request(&late).await.unwrap() else { panic!("it is new") };
    let event = db.event(id).await;
    assert_eq!(event.due_at.to_rfc3339(), "2026-01-01T00:00:00+00:00");
    assert_eq!(event.next_at, Some(event.created_at), "due long ago, it is overdue only from now on");
    assert_eq!(db.claim(10).await.len(), 1);
}

async fn a_request_for_an_unknown_account_is_refused(db: &TestDatabase) {
    let refused = refusal(db.store.request(&request("A-1", "now")).await);
    assert!(matches!(refused, Refusal::UnknownAccount { .. }), "{refused}");
}

async fn a_request_for_a_disconnected_account_names_the_event_that_did_it(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let event = db.disconnected("A-1").await;
    let disconnected_at = db.account("A-1").await.disconnected_at.unwrap();
    let before = db.dump().await;
    for when in ["now", "2126-12-01"] {
        let requested = db.store.request(&request("A-1", when)).await.unwrap();
        assert_eq!(requested, Requested::AlreadyDisconnected { disconnected_at, event: Some(event) });
    }
    assert_eq!(db.dump().await, before);
}

async fn rule_6_another_request_names_the_open_event(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let open = db.scheduled("A-1").await;
    let before = db.dump().await;
    match refusal(db.store.request(&request("A-1", "2127-01-01")).await) {
        Refusal::OpenEvent { event, state: State::Scheduled, .. } => assert_eq!(event, open),
        other => panic!("{other}"),
    }
    assert_eq!(db.dump().await, before);
    db.cancel(open).await;
    assert_ne!(db.scheduled("A-1").await, open, "after the cancellation there is room");
}

async fn rule_6_now_brings_the_open_event_forward(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let open = db.scheduled("A-1").await;
    let by = Actor::new("manager", Source::Api);
    let now = DisconnectRequest { reason: Some("unpaid".into()), by, ..request("A-1", "now") };
    let requested = db.store.request(&now).await.unwrap();
    assert_eq!(requested, Requested::BroughtForward(open));
    let event = db.event(open).await;
    assert_eq!(event.planned, Planned::default(), "what it was planned for is forgotten");
    assert_eq!((event.requested_by.as_str(), event.requested_from.as_str()), ("manager", Source::Api.as_str()));
    assert_eq!(event.reason.as_deref(), Some("unpaid"));
    let now = db.store.now().await.unwrap();
    assert!(event.due_at <= now && event.next_at.unwrap() <= now, "{event:?}");
    assert_eq!(db.count("disconnect_events").await, 1);
    assert_eq!(db.logged("A-1").await.last(), Some(&LogKind::Rescheduled));
    let orders = db.claim(10).await;
    assert_eq!(outcome_of(&db.disconnect(&orders).await[0]), Some(Outcome::Disconnected));
}

async fn rule_6_now_brings_an_event_of_another_lane_into_lane_0(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let order = db.queued("A-1").await;
    db.sql("update disconnect_events set lane = 7").await;
    let requested = db.store.request(&request("A-1", "now")).await.unwrap();
    assert_eq!(requested, Requested::BroughtForward(order.event_id));
    assert_eq!(db.number("select lane from disconnect_events").await, 0);
    let again = db.claim(10).await;
    assert_eq!((again.len(), again[0].attempt.0), (1, order.attempt.0 + 1));
}

async fn rule_6_an_event_in_the_queue_is_under_way(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let order = db.queued("A-1").await;
    let before = db.dump().await;
    let requested = db.store.request(&request("A-1", "now")).await.unwrap();
    assert_eq!(requested, Requested::UnderWay(order.event_id));
    assert_eq!(db.dump().await, before);
}

async fn rule_6_the_database_itself_refuses_a_second_open_event(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    db.scheduled("A-1").await;
    let copy = "insert into disconnect_events \
                (account_id, state, due_at, next_at, failures_max, requested_by, requested_from) \
                select account_id, 'queued', due_at, next_at, 1, 'x', 'x' from disconnect_events";
    let refused = db.refusal_of(copy).await.to_lowercase();
    assert!(refused.contains("unique"), "{refused}");
}

async fn rule_7_every_open_event_has_a_next_at(db: &TestDatabase) {
    db.accounts([account("A-1"), account("A-2")]).await;
    db.scheduled("A-1").await;
    db.queued("A-2").await;
    let refused = db.refusal_of("update disconnect_events set next_at = null").await.to_lowercase();
    assert!(refused.contains("check"), "{refused}");
    let at = db.instant(60);
    let ended = format!("update disconnect_events set state = 'cancelled', ended_at = {at} where state = 'queued'");
    assert!(db.refusal_of(&ended).await.to_lowercase().contains("check"), "an event that ended has none");
}

async fn an_event_is_cancelled_from_scheduled_queued_and_failed(db: &TestDatabase) {
    db.accounts(["A-1", "A-2", "A-3"].map(account)).await;
    let events = [db.scheduled("A-1").await, db.queued("A-2").await.event_id, db.failed("A-3").await];
    for id in events {
        let event = db.store.change(id, &Change::CANCEL, &clerk(), Some("came back")).await.unwrap();
        assert_eq!((event.state, event.next_at, event.outcome), (State::Cancelled, None, None));
        assert!(event.ended_at.is_some());
        assert_eq!(db.event(id).await, event);
        let entry = db.log(event.account_number.as_str()).await.pop().unwrap();
        assert_eq!((entry.kind, entry.event_id, entry.actor.as_str()), (LogKind::Cancelled, Some(id), "clerk"));
        assert_eq!(entry.reason.as_deref(), Some("came back"));
    }
    assert_eq!(db.claim(10).await, []);
    assert_eq!(db.account("A-1").await.open_event, None);
}

async fn an_event_is_rescheduled_from_scheduled_and_queued(db: &TestDatabase) {
    db.accounts(["A-1", "A-2"].map(account)).await;
    let queued = db.queued("A-2").await;
    for id in [db.scheduled("A-1").await, queued.event_id] {
        let change = Change::Reschedule {
            when: When::parse("2126-11-05T09:30").unwrap(),
            zone: Some(chrono_tz::Asia::Tokyo),
            late: false,
            children: None,
        };
        let event = db.store.change(id, &change, &clerk(), None).await.unwrap();
        let due_at = "2126-11-05T00:30:00Z".parse().unwrap();
        assert_eq!((event.state, event.due_at, event.next_at), (State::Scheduled, due_at, Some(due_at)));
        let planned = Planned { planned_for: Some("2126-11-05T09:30".into()), zone: Some("Asia/Tokyo".into()) };
        assert_eq!(event.planned, planned);
        assert_eq!(db.logged(event.account_number.as_str()).await.last(), Some(&LogKind::Rescheduled));
    }
    let executed = db.disconnect(&[queued]).await;
    assert_eq!(outcome_of(&executed[0]), None, "the message that was under way counts for nothing");
    let past = reschedule_by(&*db.store, TimeDelta::hours(-1), false).await;
    assert!(matches!(db.refused_change(queued.event_id, &past).await, Refusal::PastDate { .. }));
    let late = reschedule_by(&*db.store, TimeDelta::hours(-1), true).await;
    db.store.change(queued.event_id, &late, &clerk(), None).await.unwrap();
    assert_eq!(db.claim(10).await.len(), 1);
}

async fn an_event_that_ended_is_not_changed_and_says_what_became_of_it(db: &TestDatabase) {
    db.accounts(["A-1", "A-2", "A-3"].map(account)).await;
    let (completed, cancelled, failed) =
        (db.disconnected("A-1").await, db.scheduled("A-2").await, db.failed("A-3").await);
    db.cancel(cancelled).await;
    let later = reschedule_by(&*db.store, TimeDelta::hours(1), false).await;
    for (event, change, words) in [
        (completed, &Change::CANCEL, "was disconnected by it"),
        (completed, &later, "was disconnected by it"),
        (cancelled, &Change::CANCEL, "keeps its service"),
        (cancelled, &later, "keeps its service"),
        (failed, &later, "was not disconnected: the event failed"),
    ] {
        let refused = db.refused_change(event, change).await;
        assert!(matches!(refused, Refusal::EventEnded { .. }), "{refused}");
        assert!(refused.to_string().contains(words), "{refused}");
    }
}

async fn only_a_failed_event_is_retried(db: &TestDatabase) {
    db.accounts(["A-1", "A-2", "A-3", "A-4"].map(account)).await;
    let cancelled = db.scheduled("A-4").await;
    db.cancel(cancelled).await;
    for event in [db.disconnected("A-1").await, db.scheduled("A-2").await, db.queued("A-3").await.event_id, cancelled] {
        let refused = db.refused_change(event, &Change::Retry).await;
        assert!(matches!(refused, Refusal::NotFailed { .. }), "{refused}");
    }
}

async fn a_retry_beside_another_open_event_names_it(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let failed = db.failed("A-1").await;
    let open = db.scheduled("A-1").await;
    assert_eq!(db.refused_change(failed, &Change::Retry).await, Refusal::OtherOpenEvent { event: failed, other: open });
    db.cancel(open).await;
    db.store.change(failed, &Change::Retry, &clerk(), None).await.unwrap();
    assert_eq!(db.account("A-1").await.open_event, Some(failed));
}

async fn a_change_of_an_unknown_event_is_refused(db: &TestDatabase) {
    let event = EventId(404);
    for change in [Change::CANCEL, Change::Retry, reschedule_by(&*db.store, TimeDelta::hours(1), false).await] {
        assert_eq!(db.refused_change(event, &change).await, Refusal::UnknownEvent { event });
    }
    assert_eq!(refusal(db.store.event(event).await), Refusal::UnknownEvent { event });
}
