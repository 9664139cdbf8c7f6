//! `disconnect` and `schedule`: asking for a disconnect, now or then.

use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use clap::Args;
use serde::Serialize;

use super::overview::rendered;
use super::session::{CliError, Exit, Session};
use super::table::instant;
use super::{values, wait};
use crate::domain::account::AccountNumber;
use crate::domain::calendar::{Planned, When, parse_zone};
use crate::domain::event::{Attempt, EventId, EventView, Outcome, State};
use crate::domain::invoice::InvoiceSummary;
use crate::domain::overview::Overview;
use crate::domain::request::{Admission, DisconnectRequest, OpenEvent, RequestFacts, admit};
use crate::store::Requested;

/// Disconnect an account now, and wait for the outcome
#[derive(Debug, Args)]
#[command(after_help = "\
It shows the overview and asks first, unless --yes. An account with an open event has it brought forward to now. \
With nobody serving a SQLite database, the command does the work itself.

Examples:
  disconnectd disconnect 7590-VHVEG --reason 'moved away'
  disconnectd disconnect 7590-VHVEG --yes --no-wait
  disconnectd --json disconnect 7590-VHVEG --yes | jq .final_invoice")]
pub struct DisconnectArgs {
    /// The number of the account
    #[arg(value_name = "NUMBER", value_parser = AccountNumber::parse)]
    number: AccountNumber,
    /// Why, for the account's log
    #[arg(long, value_name = "TEXT", value_parser = values::text, allow_hyphen_values = true)]
    reason: Option<String>,
    /// Don't ask
    #[arg(long)]
    yes: bool,
    /// Don't wait for the outcome
    #[arg(long, conflicts_with = "wait")]
    no_wait: bool,
    /// How long to wait for the outcome, at most a day
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(0..=86_400)
    )]
    wait: u64,
}

/// Disconnect an account on a date
#[derive(Debug, Args)]
#[command(after_help = "\
WHEN is a date (the cutoff time of that day, see `disconnectd settings show`), a local date and time, RFC 3339, or \
now. It shows the overview and asks first, unless --yes. `disconnectd serve` does it when the time has come.

Examples:
  disconnectd schedule 7590-VHVEG --on 2026-12-01
  disconnectd schedule 7590-VHVEG --on 2026-12-01T09:00 --zone America/Denver --reason 'end of contract'
  disconnectd schedule 7590-VHVEG --on 2026-12-01T09:00:00-07:00 --yes")]
pub struct ScheduleArgs {
    /// The number of the account
    #[arg(value_name = "NUMBER", value_parser = AccountNumber::parse)]
    number: AccountNumber,
    /// 2026-12-01, 2026-12-01T09:00, RFC 3339, or now
    #[arg(long, value_name = "WHEN", value_parser = When::parse)]
    on: When,
    /// The IANA zone that the date is read in; the account's, unless said, else the company's
    #[arg(long, value_name = "ZONE", value_parser = parse_zone)]
    zone: Option<Tz>,
    /// A date in the past is meant
    #[arg(long)]
    late: bool,
    /// Why, for the account's log
    #[arg(long, value_name = "TEXT", value_parser = values::text, allow_hyphen_values = true)]
    reason: Option<String>,
    /// Don't ask
    #[arg(long)]
    yes: bool,
}

pub async fn run(args: DisconnectArgs, session: &Session) -> Result<Exit, CliError> {
    let request = DisconnectRequest {
        account: args.number,
        when: When::Now,
        zone: None,
        late: false,
        reason: args.reason,
        by: session.actor.clone(),
        failures_max: session.failures_max,
    };
    if !args.yes {
        propose(session, &request).await?;
    }
    let event = match session.store.request(&request).await? {
        Requested::AlreadyDisconnected { disconnected_at, event } => {
            return already_disconnected(session, request.account, disconnected_at, event).await;
        }
        Requested::Created(event) => event,
        Requested::BroughtForward(event) => {
            session.screen.note(&format!("event {event} was open already; it is brought forward to now"));
            event
        }
        Requested::UnderWay(event) => {
            session.screen.note(&format!("event {event} is under way already"));
            event
        }
    };
    if args.no_wait {
        return left_for_later(session, event).await;
    }
    let event = wait::for_outcome(session, event, Duration::from_secs(args.wait)).await?;
    ended(session, &event, args.wait)
}

pub async fn schedule(args: ScheduleArgs, session: &Session) -> Result<Exit, CliError> {
    let request = DisconnectRequest {
        account: args.number,
        when: args.on,
        zone: args.zone,
        late: args.late,
        reason: args.reason,
        by: session.actor.clone(),
        failures_max: session.failures_max,
    };
    if !args.yes {
        propose(session, &request).await?;
    }
    match session.store.request(&request).await? {
        Requested::AlreadyDisconnected { disconnected_at, event } => {
            already_disconnected(session, request.account, disconnected_at, event).await
        }
        Requested::Created(event) | Requested::BroughtForward(event) | Requested::UnderWay(event) => {
            left_for_later(session, event).await
        }
    }
}

/// Shows what would happen and asks. Returns where it may go on; what a rule refuses, it refuses before the question.
///
/// The question and the overview are one, so both go to standard error.
async fn propose(session: &Session, request: &DisconnectRequest) -> Result<(), CliError> {
    let facts = session.store.overview_facts(&request.account).await?;
    let admitted = admit(
        request,
        &RequestFacts {
            disconnected_at: facts.account.disconnected_at,
            zone: facts.account.zone,
            settings: session.store.settings().await?,
            statuses: session.store.statuses().await?,
            open: facts.open_event.as_ref().map(|event| OpenEvent {
                id: event.id,
                state: event.state,
                due_at: event.due_at,
                lane: event.campaign_id.unwrap_or(0),
            }),
            now: facts.now,
        },
    )?;
    let on = match admitted {
        Admission::AlreadyDisconnected { .. } | Admission::UnderWay { .. } => return Ok(()),
        Admission::BringForward { .. } => facts.now,
        Admission::Create { due_at, .. } => due_at,
    };
    let overview = Overview::of(facts, on);
    let account = format!("account {} ({})", overview.account.number, overview.account.name);
    // What blocks today may be mended before a later date.
    if request.when == When::Now && !overview.blockers.is_empty() {
        let message = format!("{account} can't be disconnected: {}", overview.blockers.join("; "));
        return Err(CliError::refused("blocked", message));
    }
    if !session.screen.can_ask() {
        let number = &overview.account.number;
        let message = format!(
            "nobody is there to confirm that {account} is to be disconnected; \
             `disconnectd overview {number}` shows what would happen, --yes confirms it"
        );
        return Err(CliError::refused("not_confirmed", message));
    }
    session.screen.note(&rendered(&overview, session.screen.width));
    let when = if request.when == When::Now { "now".into() } else { format!("on {} UTC", instant(&on)) };
    if session.screen.confirm(&format!("Disconnect {account} {when}?")).await? {
        Ok(())
    } else {
        Err(CliError::refused("not_confirmed", "nothing was done: the answer was no"))
    }
}

/// The answer for an account that has nothing left to be done: the event that disconnected it, where there is one, with
/// what came of asking again. It has all the fields of an [`EventView`], so that a program reads both alike.
#[derive(Debug, Serialize)]
struct AlreadyDisconnected {
    id: Option<EventId>,
    account_number: AccountNumber,
    state: State,
    outcome: Outcome,
    disconnected_at: DateTime<Utc>,
    due_at: Option<DateTime<Utc>>,
    #[serde(flatten)]
    planned: Planned,
    next_at: Option<DateTime<Utc>>,
    attempt: Option<Attempt>,
    failures: Option<i32>,
    failures_max: Option<i32>,
    last_error: Option<String>,
    reason: Option<String>,
    requested_by: Option<String>,
    requested_from: Option<String>,
    campaign_id: Option<i64>,
    final_invoice: Option<InvoiceSummary>,
    created_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
}

impl AlreadyDisconnected {
    fn of(account_number: AccountNumber, disconnected_at: DateTime<Utc>, by: Option<&EventView>) -> Self {
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
        }
    }
}

async fn already_disconnected(
    session: &Session,
    account: AccountNumber,
    disconnected_at: DateTime<Utc>,
    by: Option<EventId>,
) -> Result<Exit, CliError> {
    let by = match by {
        Some(event) => Some(session.store.event(event).await?),
        None => None,
    };
    let answer = AlreadyDisconnected::of(account, disconnected_at, by.as_ref());
    session.answer(&answer, || {
        let by = answer.id.map(|event| format!(", by event {event}")).unwrap_or_default();
        let at = instant(&disconnected_at);
        format!("Account {} is disconnected already, since {at} UTC{by}. Nothing was done.", answer.account_number)
    })?;
    Ok(Exit::Done)
}

async fn left_for_later(session: &Session, event: EventId) -> Result<Exit, CliError> {
    let event = session.store.event(event).await?;
    session.answer(&event, || {
        let (id, account, state) = (event.id, &event.account_number, event.state.as_str());
        format!("Event {id} is {state}: account {account} is due at {} UTC.", instant(&event.due_at))
    })?;
    if event.state.is_open() {
        session.note_unserved().await;
    }
    Ok(Exit::Done)
}

fn ended(session: &Session, event: &EventView, waited_s: u64) -> Result<Exit, CliError> {
    session.answer(event, || sentence(event))?;
    let id = event.id;
    Ok(match event.state {
        State::Completed => Exit::Done,
        State::Failed => {
            let error = event.last_error.as_deref().unwrap_or("for a reason that was not kept");
            session.screen.error(&format!("event {id} failed: {error}; `disconnectd events retry {id}` tries again"));
            Exit::Failed
        }
        State::Cancelled => {
            session
                .screen
                .error(&format!("event {id} was cancelled meanwhile; `disconnectd events show {id}` says more"));
            Exit::Failed
        }
        State::Scheduled | State::Queued => {
            session.screen.error(&format!(
                "event {id} was still under way after {waited_s} s; `disconnectd events show {id}` tells how it ends"
            ));
            Exit::UnderWay
        }
    })
}

/// What became of an event, for people.
fn sentence(event: &EventView) -> String {
    let (id, account) = (event.id, &event.account_number);
    match (event.state, event.outcome) {
        (State::Completed, Some(Outcome::Disconnected)) => {
            let at = event.ended_at.as_ref().map(|at| format!(" at {} UTC", instant(at))).unwrap_or_default();
            let invoice = match &event.final_invoice {
                Some(invoice) => format!("Final invoice {} over {}.", invoice.number, invoice.total),
                None => "There was nothing to invoice.".into(),
            };
            format!("Account {account} was disconnected{at} (event {id}). {invoice}")
        }
        (State::Completed, Some(Outcome::AlreadyDisconnected)) => {
            format!("Account {account} was disconnected already when its turn came (event {id}). Nothing was done.")
        }
        (State::Completed, _) => {
            format!("Account {account} was not eligible any more when its turn came (event {id}). Nothing was done.")
        }
        (state, _) => format!("Account {account} is not disconnected: event {id} is {}.", state.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, to_value};

    use super::*;
    use crate::domain::money::{Currency, Money};

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
            campaign_id: Some(3),
            final_invoice: Some(InvoiceSummary {
                number: crate::domain::invoice::InvoiceNumber(5),
                total: Money::new(100, Currency::USD),
            }),
            created_at: at,
            ended_at: Some(at),
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
