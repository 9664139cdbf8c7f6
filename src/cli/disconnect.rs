//! `disconnect` and `schedule`: asking for a disconnect, now or then.

use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use clap::Args;
use tokio::time::Instant;

use super::children::{self, ChildrenArgs};
use super::overview::rendered;
use super::session::{CliError, Exit, Session};
use super::table::instant;
use super::{values, wait};
use crate::domain::account::AccountNumber;
use crate::domain::calendar::{When, parse_zone};
use crate::domain::event::{EventId, EventView, Outcome, State};
use crate::domain::overview::Overview;
use crate::domain::request::{Admission, AlreadyDisconnected, DisconnectRequest, admit, admit_own};
use crate::store::Requested;

/// Disconnect an account now, and wait for the outcome
#[derive(Debug, Args)]
#[command(after_help = "\
It shows the overview and asks first, unless --yes. An account with an open event has it brought forward to now. \
With nobody serving a SQLite database, the command does the work itself. Somebody has to decide what is to become of \
each connected child: --children for all, --child for one.

Examples:
  disconnectd disconnect 7590-VHVEG --reason 'moved away'
  disconnectd disconnect 1001 --children keep --child 1002=unlink
  disconnectd disconnect 7590-VHVEG --yes --no-wait
  disconnectd --json disconnect 7590-VHVEG --yes | jq .final_invoice")]
pub struct DisconnectArgs {
    /// The number of the account
    #[arg(value_name = "NUMBER", value_parser = AccountNumber::parse)]
    number: AccountNumber,
    /// Why, for the account's log
    #[arg(long, value_name = "TEXT", value_parser = values::text, allow_hyphen_values = true)]
    reason: Option<String>,
    #[command(flatten)]
    confirm: ConfirmArgs,
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
now. It shows the overview and asks first, unless --yes. `disconnectd serve` does it when the time has come. Somebody \
has to decide what is to become of each connected child: --children for all, --child for one.

Examples:
  disconnectd schedule 7590-VHVEG --on 2026-12-01
  disconnectd schedule 7590-VHVEG --on 2026-12-01T09:00 --zone America/Denver --reason 'end of contract'
  disconnectd schedule 7590-VHVEG --on 2026-12-01T09:00:00-07:00 --yes
  disconnectd schedule 1001 --on 2026-12-01 --child 1002=disconnect@2026-12-15 --child 1003=keep")]
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
    #[command(flatten)]
    confirm: ConfirmArgs,
}

/// What is said yes to.
#[derive(Debug, Args)]
struct ConfirmArgs {
    /// Don't ask
    #[arg(long)]
    yes: bool,
    /// Only if nothing has changed since the overview with this digest (`disconnectd --json overview`)
    #[arg(long, value_name = "DIGEST", allow_hyphen_values = true)]
    digest: Option<String>,
    #[command(flatten)]
    children: ChildrenArgs,
}

pub async fn run(args: DisconnectArgs, session: &Session) -> Result<Exit, CliError> {
    let mut request = DisconnectRequest {
        account: args.number,
        when: When::Now,
        zone: None,
        late: false,
        reason: args.reason,
        by: session.actor.clone(),
        failures_max: session.failures_max,
        digest: args.confirm.digest,
        children: args.confirm.children.dispositions(),
        trace: session.trace,
    };
    if !args.confirm.yes {
        propose(session, &mut request).await?;
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
    let deadline = Instant::now() + Duration::from_secs(args.wait);
    let event = wait::for_outcome(session, event, Duration::from_secs(args.wait)).await?;
    let event = with_children(session, event, deadline).await?;
    ended(session, &event, args.wait)
}

pub async fn schedule(args: ScheduleArgs, session: &Session) -> Result<Exit, CliError> {
    let mut request = DisconnectRequest {
        account: args.number,
        when: args.on,
        zone: args.zone,
        late: args.late,
        reason: args.reason,
        by: session.actor.clone(),
        failures_max: session.failures_max,
        digest: args.confirm.digest,
        children: args.confirm.children.dispositions(),
        trace: session.trace,
    };
    if !args.confirm.yes {
        propose(session, &mut request).await?;
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

/// Shows what would happen and asks, also what is to become of each child that nobody decided about yet. Returns where
/// it may go on, with the digest of what was shown; what a rule refuses, it refuses before the question.
///
/// The question and the overview are one, so both go to standard error.
async fn propose(session: &Session, request: &mut DisconnectRequest) -> Result<(), CliError> {
    let facts = session.store.overview_facts(&request.account).await?;
    let on = match admit_own(request, &facts)? {
        Admission::AlreadyDisconnected { .. } | Admission::UnderWay { .. } => {
            // Nothing new is begun; and if that one is cancelled a moment later, nobody has confirmed another.
            request.digest = Some(facts.shown().digest());
            return Ok(());
        }
        Admission::BringForward { .. } => facts.now,
        Admission::Create { due_at, .. } => due_at,
    };
    let overview = Overview::of(facts.clone(), on);
    let account = format!("account {} ({})", overview.account.number, overview.account.name);
    // What blocks today may be mended before a later date.
    if request.when == When::Now && !overview.blockers.is_empty() {
        let message = format!("{account} can't be disconnected: {}", overview.blockers.join("; "));
        return Err(CliError::refused("blocked", message));
    }
    if !session.screen.can_ask() {
        admit(request, &facts)?;
        let number = &overview.account.number;
        let message = format!(
            "nobody is there to confirm that {account} is to be disconnected; \
             `disconnectd overview {number}` shows what would happen, --yes confirms it"
        );
        return Err(CliError::refused("not_confirmed", message));
    }
    session.screen.note(&rendered(&overview, session.screen.width));
    children::ask(session, request, &facts).await?;
    let when = if request.when == When::Now { "now".into() } else { format!("on {} UTC", instant(&on)) };
    let with = children::in_short(&admit(request, &facts)?.children);
    if session.screen.confirm(&format!("Disconnect {account} {when}{with}?")).await? {
        request.digest = Some(overview.digest);
        Ok(())
    } else {
        Err(CliError::refused("not_confirmed", "nothing was done: the answer was no"))
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

/// Waits for the children that are to go now as well, and for those below them; they are told with their parent.
async fn with_children(session: &Session, event: EventView, deadline: Instant) -> Result<EventView, CliError> {
    let mut going: Vec<EventId> = event.children.iter().filter_map(|child| child.event_id).collect();
    if going.is_empty() || event.state != State::Completed {
        return Ok(event);
    }
    let now = session.store.now().await?;
    let mut some_wait = false;
    while let Some(next) = going.pop() {
        let mut child = session.store.event(next).await?;
        if child.state.is_open() && child.due_at <= now {
            let left = deadline.saturating_duration_since(Instant::now());
            child = wait::for_outcome(session, next, left).await?;
        }
        some_wait |= child.state.is_open();
        going.extend(child.children.iter().filter_map(|grandchild| grandchild.event_id));
    }
    if some_wait {
        session.note_unserved().await;
    }
    Ok(session.store.event(event.id).await?)
}

async fn left_for_later(session: &Session, event: EventId) -> Result<Exit, CliError> {
    let event = session.store.event(event).await?;
    session.answer(&event, || {
        let (id, account, state) = (event.id, &event.account_number, event.state.as_str());
        let due = instant(&event.due_at);
        format!("Event {id} is {state}: account {account} is due at {due} UTC.{}", children::decided(&event))
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
            let changed = changed_since(event);
            let children = children::decided(event);
            format!("Account {account} was disconnected{at} (event {id}). {invoice}{changed}{children}")
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

/// What was not as it had been confirmed.
fn changed_since(event: &EventView) -> String {
    match event.changed_since.as_slice() {
        [] => String::new(),
        changes => format!(" Changed since it was confirmed: {}.", changes.join("; ")),
    }
}
