//! Asking for a disconnect: now, or at a date.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use utoipa::ToSchema;

use super::account::AccountNumber;
use super::actor::Actor;
use super::calendar::{Planned, When};
use super::campaign::CampaignId;
use super::digest::{Agreed, Shown};
use super::dispositions::{ChildPlan, Dates, Dispositions, leaving, settle};
use super::event::{Attempt, EventId, EventView, Outcome, State};
use super::invoice::InvoiceSummary;
use super::overview::OverviewFacts;
use super::refusal::Refusal;
use super::review::ChildView;
use super::trace::TraceParent;

/// What a person or a program asks for.
#[derive(Debug, Clone)]
pub struct DisconnectRequest {
    pub account: AccountNumber,
    pub when: When,
    /// The zone that a local date is read in; without one it is the account's, else the company's.
    pub zone: Option<Tz>,
    /// A date in the past is meant.
    pub late: bool,
    pub reason: Option<String>,
    pub by: Actor,
    /// How many failed executions end the event as failed.
    pub failures_max: i32,
    /// Of the overview that was looked at. Without one, what is true now is agreed to.
    pub digest: Option<String>,
    /// What is to become of the children.
    pub children: Dispositions,
    /// Kept with the events that it makes. None where it is not measured, or not sampled.
    pub trace: Option<TraceParent>,
}

/// What the store has to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// A new event in lane 0, next looked at when it is due.
    Create { due_at: DateTime<Utc>, planned: Planned },
    /// The account's open event: to `scheduled` in lane 0, due at `due_at`, looked at now. It is a plan for now from here
    /// on: what was planned for is forgotten, and requester and reason are those of this request (the log keeps the old).
    BringForward { event: EventId, due_at: DateTime<Utc> },
    /// The account's open event is in the queue for single disconnects already. Nothing to write of it.
    UnderWay { event: EventId },
    /// Nothing to do, nothing to write.
    AlreadyDisconnected { disconnected_at: DateTime<Utc> },
}

/// What a request comes to, for the account and for its children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    pub own: Admission,
    /// Each behind that of its parent.
    pub children: Vec<ChildPlan>,
    /// What is agreed to, to be kept with the event.
    pub agreed: Shown,
}

/// Decides what a request comes to, from facts that were read under the account's lock. Pure; the store writes the answer.
///
/// # Errors
/// A refusal. Nothing was written.
pub fn admit(request: &DisconnectRequest, facts: &OverviewFacts) -> Result<Admitted, Refusal> {
    let own = admit_own(request, facts)?;
    let (due_at, planned, event) = match &own {
        Admission::Create { due_at, planned } => (*due_at, planned.clone(), None),
        Admission::BringForward { event, .. } => (facts.now, Planned::default(), Some(*event)),
        // It was confirmed, its children too; whoever says something of them now is heard.
        Admission::UnderWay { event } if request.children != Dispositions::default() => {
            (facts.now, Planned::default(), Some(*event))
        }
        Admission::UnderWay { .. } | Admission::AlreadyDisconnected { .. } => {
            return Ok(Admitted { own, children: Vec::new(), agreed: facts.shown() });
        }
    };
    let dates = Dates {
        due_at,
        planned,
        zone: request.zone,
        company_zone: facts.settings.company_zone,
        cutoff_time: facts.settings.cutoff_time,
        late: request.late,
        event,
        now: facts.now,
    };
    let children = settle(&request.children, &facts.account.number, &facts.snapshot.family, &dates)?;
    let agreed = Shown::without_children(&facts.snapshot, &leaving(&children));
    Ok(Admitted { own, children, agreed })
}

/// What it comes to for the account itself, whatever becomes of its children.
///
/// # Errors
/// A refusal.
pub fn admit_own(request: &DisconnectRequest, facts: &OverviewFacts) -> Result<Admission, Refusal> {
    if let Some(disconnected_at) = facts.snapshot.disconnected_at {
        return Ok(Admission::AlreadyDisconnected { disconnected_at });
    }
    if let Some(digest) = &request.digest {
        check_digest(digest, facts)?;
    }
    // A setting that is wrong today may be mended before a future date; a disconnect that starts now would only fail.
    if request.when == When::Now {
        facts.settings.target(&facts.statuses)?;
    }
    let zone = request.zone.or(facts.account.zone).unwrap_or(facts.settings.company_zone);
    let (due_at, planned) = request.when.resolve(zone, facts.settings.cutoff_time, facts.now);
    match facts.open() {
        Some(open) if request.when == When::Now => Ok(if open.state == State::Queued && open.lane == 0 {
            Admission::UnderWay { event: open.id }
        } else {
            Admission::BringForward { event: open.id, due_at: open.due_at.min(facts.now) }
        }),
        Some(open) => Err(Refusal::OpenEvent {
            account: request.account.clone(),
            event: open.id,
            state: open.state,
            due_at: open.due_at,
        }),
        None if due_at < facts.now && !request.late => Err(Refusal::PastDate { due_at, now: facts.now }),
        None => Ok(Admission::Create { due_at, planned }),
    }
}

/// Rule 8: what the overview showed is what is agreed to.
///
/// # Errors
/// [`Refusal::StaleDigest`], with what has changed since.
pub fn check_digest(digest: &str, facts: &OverviewFacts) -> Result<(), Refusal> {
    let account = &facts.account.number;
    let changes = match Shown::read(digest) {
        Some(shown) if shown.account() == account => {
            shown.changes(&facts.shown(), &facts.snapshot, facts.open().as_ref())
        }
        Some(shown) => vec![format!("the digest is that of account {}", shown.account())],
        None => vec!["the digest is none that an overview showed".into()],
    };
    if changes.is_empty() { Ok(()) } else { Err(Refusal::StaleDigest { account: account.clone(), changes }) }
}

/// The answer for an account that has nothing left to be done: the event that disconnected it, where there is one, with
/// what came of asking again. It has all the fields of an [`EventView`], so that a program reads both alike.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlreadyDisconnected {
    pub id: Option<EventId>,
    pub account_number: AccountNumber,
    pub state: State,
    pub outcome: Outcome,
    pub disconnected_at: DateTime<Utc>,
    pub due_at: Option<DateTime<Utc>>,
    #[serde(flatten)]
    pub planned: Planned,
    pub next_at: Option<DateTime<Utc>>,
    pub attempt: Option<Attempt>,
    pub failures: Option<i32>,
    pub failures_max: Option<i32>,
    pub last_error: Option<String>,
    pub reason: Option<String>,
    pub requested_by: Option<String>,
    pub requested_from: Option<String>,
    pub campaign_id: Option<CampaignId>,
    pub final_invoice: Option<InvoiceSummary>,
    pub created_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub agreed: Option<Agreed>,
    pub changed_since: Vec<String>,
    pub parent_event_id: Option<EventId>,
    pub children: Vec<ChildView>,
    pub to_decide: Vec<String>,
}

impl AlreadyDisconnected {
    #[must_use]
    pub fn of(account_number: AccountNumber, disconnected_at: DateTime<Utc>, by: Option<&EventView>) -> Self {
        Self {
            id: by.map(|event| event.id),
            account_number,
            state: State::Completed,
            outcome: Outcome::AlreadyDisconnected,
            disconnected_at,
            due_at: by.map(|event| event.due_at),
            planned: by.map(|event| event.planned.clone()).unwrap_or_default(),
            next_at: by.and_then(|event| event.next_at),
            attempt: by.map(|event| event.attempt),
            failures: by.map(|event| event.failures),
            failures_max: by.map(|event| event.failures_max),
            last_error: by.and_then(|event| event.last_error.clone()),
            reason: by.and_then(|event| event.reason.clone()),
            requested_by: by.map(|event| event.requested_by.clone()),
            requested_from: by.map(|event| event.requested_from.clone()),
            campaign_id: by.and_then(|event| event.campaign_id),
            final_invoice: by.and_then(|event| event.final_invoice.clone()),
            created_at: by.map(|event| event.created_at),
            ended_at: by.and_then(|event| event.ended_at),
            agreed: by.and_then(|event| event.agreed.clone()),
            changed_since: by.map(|event| event.changed_since.clone()).unwrap_or_default(),
            parent_event_id: by.and_then(|event| event.parent_event_id),
            children: by.map(|event| event.children.clone()).unwrap_or_default(),
            to_decide: by.map(|event| event.to_decide.clone()).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::actor::Source;
    use crate::domain::invoice::InvoiceNumber;
    use crate::domain::money::{Currency, Money};
    use crate::domain::sample;
    use chrono::Duration;
    use serde_json::{Value, to_value};
    use std::collections::BTreeSet;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000, 0).unwrap()
    }

    fn request(when: &str) -> DisconnectRequest {
        DisconnectRequest {
            account: AccountNumber::parse("A-1").unwrap(),
            when: When::parse(when).unwrap(),
            zone: None,
            late: false,
            reason: None,
            by: Actor::new("clerk", Source::Cli),
            failures_max: 5,
            digest: None,
            children: Dispositions::default(),
            trace: None,
        }
    }

    fn facts() -> OverviewFacts {
        OverviewFacts { now: now(), ..sample::facts("A-1") }
    }

    fn with_open(state: State, lane: i64) -> OverviewFacts {
        let mut facts = facts();
        let event = sample::event(9, "A-1");
        facts.open_event = Some(EventView { state, due_at: now() + Duration::days(1), lane, ..event });
        facts
    }

    fn own(request: &DisconnectRequest, facts: &OverviewFacts) -> Result<Admission, Refusal> {
        admit(request, facts).map(|admitted| admitted.own)
    }

    #[test]
    fn rule_6_at_most_one_open_event_and_now_brings_it_forward() {
        let facts_open = with_open(State::Scheduled, 0);
        assert!(matches!(own(&request("2027-01-01"), &facts_open), Err(Refusal::OpenEvent { event: EventId(9), .. })));
        assert_eq!(own(&request("now"), &facts_open), Ok(Admission::BringForward { event: EventId(9), due_at: now() }));
        let queued = with_open(State::Queued, 0);
        assert_eq!(own(&request("now"), &queued), Ok(Admission::UnderWay { event: EventId(9) }));
        let in_a_campaign = with_open(State::Queued, 7);
        assert!(matches!(own(&request("now"), &in_a_campaign), Ok(Admission::BringForward { .. })));
    }

    #[test]
    fn a_date_in_the_past_must_be_meant() {
        assert!(matches!(own(&request("2020-01-01"), &facts()), Err(Refusal::PastDate { .. })));
        let late = DisconnectRequest { late: true, ..request("2020-01-01") };
        assert!(matches!(own(&late, &facts()), Ok(Admission::Create { .. })));
    }

    #[test]
    fn the_zone_is_the_one_given_else_the_accounts_else_the_companys() {
        let due = |request: &DisconnectRequest, facts: &OverviewFacts| match own(request, facts) {
            Ok(Admission::Create { due_at, .. }) => due_at.format("%dT%H").to_string(),
            other => panic!("{other:?}"),
        };
        let mut facts = facts();
        assert_eq!(due(&request("2027-01-10"), &facts), "10T00");
        facts.settings.company_zone = Tz::America__New_York;
        assert_eq!(due(&request("2027-01-10"), &facts), "10T05");
        facts.account.zone = Some(Tz::Asia__Tokyo);
        assert_eq!(due(&request("2027-01-10"), &facts), "09T15");
        let given = DisconnectRequest { zone: Some(Tz::Europe__Berlin), ..request("2027-01-10") };
        assert_eq!(due(&given, &facts), "09T23");
    }

    #[test]
    fn a_wrong_disconnect_status_stops_a_disconnect_now_but_not_a_plan() {
        let facts = OverviewFacts { statuses: vec![], ..facts() };
        assert!(matches!(own(&request("now"), &facts), Err(Refusal::DisconnectStatusMissing { .. })));
        assert!(own(&request("2027-01-01"), &facts).is_ok());
    }

    #[test]
    fn an_account_that_is_disconnected_has_nothing_left_to_do() {
        let mut facts = facts();
        facts.snapshot.disconnected_at = Some(now());
        assert_eq!(own(&request("now"), &facts), Ok(Admission::AlreadyDisconnected { disconnected_at: now() }));
    }

    fn keys(value: &Value) -> BTreeSet<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    /// A program that reads an event reads this.
    #[test]
    fn what_was_done_before_is_answered_with_all_that_an_event_has() {
        let number = AccountNumber::parse("1001").unwrap();
        let at: DateTime<Utc> = "2026-11-01T05:00:00Z".parse().unwrap();
        let event = EventView {
            id: EventId(7),
            account_number: number.clone(),
            state: State::Completed,
            outcome: Some(Outcome::Disconnected),
            due_at: at,
            planned: Planned { planned_for: Some("2026-11-01".into()), zone: Some("UTC".into()) },
            next_at: None,
            attempt: Attempt(2),
            failures: 1,
            failures_max: 8,
            last_error: Some("it was locked".into()),
            reason: Some("moved away".into()),
            requested_by: "ada".into(),
            requested_from: "cli".into(),
            campaign_id: Some(CampaignId(3)),
            final_invoice: Some(InvoiceSummary { number: InvoiceNumber(5), total: Money::new(100, Currency::USD) }),
            created_at: at,
            ended_at: Some(at),
            changed_since: vec!["the name is Ada now".into()],
            ..sample::event(7, "1001")
        };
        let mut wanted = to_value(&event).unwrap();
        wanted["outcome"] = "already_disconnected".into();
        wanted["disconnected_at"] = to_value(at).unwrap();
        let answer = to_value(AlreadyDisconnected::of(number.clone(), at, Some(&event))).unwrap();
        assert_eq!(answer, wanted);

        let without = to_value(AlreadyDisconnected::of(number, at, None)).unwrap();
        assert_eq!(keys(&without), keys(&wanted));
        assert_eq!((&without["id"], &without["state"]), (&Value::Null, &"completed".into()));
        assert_eq!(without["outcome"], "already_disconnected");
        assert!(without["final_invoice"].is_null() && without["due_at"].is_null() && without["attempt"].is_null());
    }
}
