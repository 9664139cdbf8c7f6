//! Asking for a disconnect: now, or at a date.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::account::{AccountNumber, Status};
use super::actor::Actor;
use super::calendar::{Planned, When};
use super::event::{EventId, State};
use super::refusal::Refusal;
use super::settings::Settings;

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
}

/// What the answer depends on, read under the account's lock.
#[derive(Debug, Clone)]
pub struct RequestFacts {
    pub disconnected_at: Option<DateTime<Utc>>,
    pub zone: Option<Tz>,
    pub settings: Settings,
    pub statuses: Vec<Status>,
    pub open: Option<OpenEvent>,
    /// The database's now.
    pub now: DateTime<Utc>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenEvent {
    pub id: EventId,
    pub state: State,
    pub due_at: DateTime<Utc>,
    /// 0 for single disconnects, else the campaign's.
    pub lane: i64,
}

/// What the store has to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// A new event in lane 0, next looked at when it is due.
    Create { due_at: DateTime<Utc>, planned: Planned },
    /// The account's open event: to `scheduled` in lane 0, due at `due_at`, looked at now. It is a plan for now from here
    /// on: what was planned for is forgotten, and requester and reason are those of this request (the log keeps the old).
    BringForward { event: EventId, due_at: DateTime<Utc> },
    /// The account's open event is in the queue for single disconnects already. Nothing to write.
    UnderWay { event: EventId },
    /// Nothing to do, nothing to write.
    AlreadyDisconnected { disconnected_at: DateTime<Utc> },
}

/// Decides what a request comes to. Pure; the store holds the account's lock and writes the answer.
///
/// # Errors
/// A refusal. Nothing was written.
pub fn admit(request: &DisconnectRequest, facts: &RequestFacts) -> Result<Admission, Refusal> {
    if let Some(disconnected_at) = facts.disconnected_at {
        return Ok(Admission::AlreadyDisconnected { disconnected_at });
    }
    // A setting that is wrong today may be mended before a future date; a disconnect that starts now would only fail.
    if request.when == When::Now {
        facts.settings.target(&facts.statuses)?;
    }
    let zone = request.zone.or(facts.zone).unwrap_or(facts.settings.company_zone);
    let (due_at, planned) = request.when.resolve(zone, facts.settings.cutoff_time, facts.now);
    match &facts.open {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::actor::Source;
    use chrono::Duration;

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
        }
    }

    fn facts() -> RequestFacts {
        RequestFacts {
            disconnected_at: None,
            zone: None,
            settings: Settings::default(),
            statuses: vec![Status { name: "Inactive".into(), activates_account: false }],
            open: None,
            now: now(),
        }
    }

    fn open(state: State, lane: i64) -> OpenEvent {
        OpenEvent { id: EventId(9), state, due_at: now() + Duration::days(1), lane }
    }

    #[test]
    fn rule_6_at_most_one_open_event_and_now_brings_it_forward() {
        let facts_open = RequestFacts { open: Some(open(State::Scheduled, 0)), ..facts() };
        assert!(matches!(
            admit(&request("2027-01-01"), &facts_open),
            Err(Refusal::OpenEvent { event: EventId(9), .. })
        ));
        assert_eq!(
            admit(&request("now"), &facts_open),
            Ok(Admission::BringForward { event: EventId(9), due_at: now() })
        );
        let queued = RequestFacts { open: Some(open(State::Queued, 0)), ..facts() };
        assert_eq!(admit(&request("now"), &queued), Ok(Admission::UnderWay { event: EventId(9) }));
        let in_a_campaign = RequestFacts { open: Some(open(State::Queued, 7)), ..facts() };
        assert!(matches!(admit(&request("now"), &in_a_campaign), Ok(Admission::BringForward { .. })));
    }

    #[test]
    fn a_date_in_the_past_must_be_meant() {
        assert!(matches!(admit(&request("2020-01-01"), &facts()), Err(Refusal::PastDate { .. })));
        let late = DisconnectRequest { late: true, ..request("2020-01-01") };
        assert!(matches!(admit(&late, &facts()), Ok(Admission::Create { .. })));
    }

    #[test]
    fn the_zone_is_the_one_given_else_the_accounts_else_the_companys() {
        let due = |request: &DisconnectRequest, facts: &RequestFacts| match admit(request, facts) {
            Ok(Admission::Create { due_at, .. }) => due_at.format("%dT%H").to_string(),
            other => panic!("{other:?}"),
        };
        let mut facts = facts();
        assert_eq!(due(&request("2027-01-10"), &facts), "10T00");
        facts.settings.company_zone = Tz::America__New_York;
        assert_eq!(due(&request("2027-01-10"), &facts), "10T05");
        facts.zone = Some(Tz::Asia__Tokyo);
        assert_eq!(due(&request("2027-01-10"), &facts), "09T15");
        let given = DisconnectRequest { zone: Some(Tz::Europe__Berlin), ..request("2027-01-10") };
        assert_eq!(due(&given, &facts), "09T23");
    }

    #[test]
    fn a_wrong_disconnect_status_stops_a_disconnect_now_but_not_a_plan() {
        let facts = RequestFacts { statuses: vec![], ..facts() };
        assert!(matches!(admit(&request("now"), &facts), Err(Refusal::DisconnectStatusMissing { .. })));
        assert!(admit(&request("2027-01-01"), &facts).is_ok());
    }

    #[test]
    fn an_account_that_is_disconnected_has_nothing_left_to_do() {
        let facts = RequestFacts { disconnected_at: Some(now()), ..facts() };
        assert_eq!(admit(&request("now"), &facts), Ok(Admission::AlreadyDisconnected { disconnected_at: now() }));
    }
}
