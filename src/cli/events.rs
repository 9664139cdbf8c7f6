//! `events`: list, show, and changes of plan.

use chrono::{DateTime, NaiveTime, Utc};
use chrono_tz::Tz;
use clap::{Args, Subcommand};

use super::children::{self, ChildrenArgs};
use super::page::{NumberedPageArgs, note_more};
use super::session::{CliError, Exit, Session};
use super::table::{Column, instant, sheet, table};
use super::values;
use crate::domain::account::AccountNumber;
use crate::domain::calendar::{When, parse_zone};
use crate::domain::campaign::CampaignId;
use crate::domain::event::{Along, Change, EventId, EventView, State};
use crate::store::EventFilter;

#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    List(ListArgs),
    /// Show one event
    Show {
        /// The number of the event
        #[arg(value_name = "ID", value_parser = values::event_id)]
        event: EventId,
    },
    /// Cancel an event that has not ended well: scheduled, queued or failed
    Cancel {
        /// The number of the event
        #[arg(value_name = "ID", value_parser = values::event_id)]
        event: EventId,
        /// Where events of children were made with it: the same for them (along), or not (leave)
        #[arg(long, value_name = "along|leave", value_parser = values::along)]
        children: Option<Along>,
        /// Why, for the account's log
        #[arg(long, value_name = "TEXT", value_parser = values::text, allow_hyphen_values = true)]
        reason: Option<String>,
    },
    Decide(DecideArgs),
    Reschedule(RescheduleArgs),
    /// Bring a failed event back: it is tried again at once
    Retry {
        /// The number of the event
        #[arg(value_name = "ID", value_parser = values::event_id)]
        event: EventId,
        /// Why, for the account's log
        #[arg(long, value_name = "TEXT", value_parser = values::text, allow_hyphen_values = true)]
        reason: Option<String>,
    },
}

/// List disconnect events, newest first
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  disconnectd events list --state failed
  disconnectd events list --account 7590-VHVEG
  disconnectd events list --due-from now --due-until 2026-12-31
  disconnectd events list --campaign 7 --state failed
  disconnectd events list --to-decide")]
pub struct ListArgs {
    /// In this state: scheduled, queued, completed, failed or cancelled
    #[arg(long, value_name = "STATE", value_parser = values::state)]
    state: Option<State>,
    /// Of this account alone
    #[arg(long, value_name = "NUMBER", value_parser = AccountNumber::parse, allow_hyphen_values = true)]
    account: Option<AccountNumber>,
    /// Of this campaign alone
    #[arg(long, value_name = "ID", value_parser = values::campaign_id)]
    campaign: Option<CampaignId>,
    /// In the number or the name of the account, whatever the case
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    search: Option<String>,
    /// Due then or later: 2026-12-01 in the company's zone, 2026-12-01T09:00, RFC 3339, or now
    #[arg(long, value_name = "WHEN", value_parser = When::parse)]
    due_from: Option<When>,
    /// Due before then
    #[arg(long, value_name = "WHEN", value_parser = When::parse)]
    due_until: Option<When>,
    /// Whose family somebody has to decide about
    #[arg(long)]
    to_decide: bool,
    /// Scheduled or queued, and those that are due soonest first
    #[arg(long)]
    coming: bool,
    #[command(flatten)]
    page: NumberedPageArgs,
}

/// Move an open event to another date
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  disconnectd events reschedule 7 --on 2026-12-15 --reason 'asked for two more weeks'"
)]
pub struct RescheduleArgs {
    /// The number of the event
    #[arg(value_name = "ID", value_parser = values::event_id)]
    event: EventId,
    /// 2026-12-01, 2026-12-01T09:00, RFC 3339, or now
    #[arg(long, value_name = "WHEN", value_parser = When::parse)]
    on: When,
    /// The IANA zone that the date is read in; the account's, unless said, else the company's
    #[arg(long, value_name = "ZONE", value_parser = parse_zone)]
    zone: Option<Tz>,
    /// A date in the past is meant
    #[arg(long)]
    late: bool,
    /// Where events of children were made with it: the same date for them (along), or not (leave)
    #[arg(long, value_name = "along|leave", value_parser = values::along)]
    children: Option<Along>,
    /// Why, for the account's log
    #[arg(long, value_name = "TEXT", value_parser = values::text, allow_hyphen_values = true)]
    reason: Option<String>,
}

/// Decide about children of an event's account, where its family has changed since it was confirmed
#[derive(Debug, Args)]
#[command(after_help = "\
`disconnectd events show ID` says what there is to decide. --children concerns those that are in question, --child any \
child. A child that is to be disconnected gets an event of its own, for the parent's date or, once the parent is gone, \
for now.

Examples:
  disconnectd events decide 7 --child 1003=keep
  disconnectd events decide 7 --children unlink")]
pub struct DecideArgs {
    /// The number of the parent's event
    #[arg(value_name = "ID", value_parser = values::event_id)]
    event: EventId,
    #[command(flatten)]
    children: ChildrenArgs,
    /// Why, for the account's log
    #[arg(long, value_name = "TEXT", value_parser = values::text, allow_hyphen_values = true)]
    reason: Option<String>,
}

pub async fn run(command: EventsCommand, session: &Session) -> Result<Exit, CliError> {
    match command {
        EventsCommand::List(args) => list(args, session).await?,
        EventsCommand::Show { event } => {
            let event = session.store.event(event).await?;
            session.answer(&event, || shown(&event, session.screen.width))?;
        }
        EventsCommand::Cancel { event, children, reason } => {
            change(session, event, &Change::Cancel { children }, reason).await?;
        }
        EventsCommand::Decide(args) => decide(args, session).await?,
        EventsCommand::Reschedule(args) => reschedule(args, session).await?,
        EventsCommand::Retry { event, reason } => {
            change(session, event, &Change::Retry, reason).await?;
            session.note_unserved().await;
        }
    }
    Ok(Exit::Done)
}

async fn list(args: ListArgs, session: &Session) -> Result<(), CliError> {
    if let Some(number) = &args.account {
        // An account without events is not an account that does not exist.
        session.store.account(number).await?;
    }
    if let Some(campaign) = args.campaign {
        session.store.campaign(campaign).await?;
    }
    let filter = EventFilter {
        state: args.state,
        account: args.account,
        search: args.search,
        due_from: instant_of(args.due_from, session).await?,
        due_until: instant_of(args.due_until, session).await?,
        to_decide: args.to_decide,
        campaign: args.campaign,
        coming: args.coming,
    };
    let is_filtered = filter != EventFilter::default() || args.page.after.is_some();
    let page = session.store.events(&filter, &args.page.page()).await?;
    session.answer(&page, || match (page.items.is_empty(), is_filtered) {
        (true, true) => "No event matches; see them all: disconnectd events list".into(),
        (true, false) => "There are no events yet; make one: disconnectd schedule NUMBER --on DATE".into(),
        (false, _) => listed(&page.items, session.screen.width),
    })?;
    note_more(&session.screen, &page);
    Ok(())
}

/// A date alone begins at midnight in the company's zone.
async fn instant_of(when: Option<When>, session: &Session) -> Result<Option<DateTime<Utc>>, CliError> {
    let Some(when) = when else { return Ok(None) };
    let zone = session.store.settings().await?.company_zone;
    Ok(Some(when.resolve(zone, NaiveTime::MIN, session.store.now().await?).0))
}

fn listed(events: &[EventView], width: Option<u16>) -> String {
    let has_campaigns = events.iter().any(|event| event.campaign_id.is_some());
    let mut columns = vec![Column::Right("EVENT"), Column::Left("ACCOUNT")];
    if has_campaigns {
        columns.push(Column::Right("CAMPAIGN"));
    }
    columns.extend([
        Column::Left("STATE"),
        Column::Firm("DUE (UTC)"),
        Column::Firm("ENDED (UTC)"),
        Column::Right("FINAL INVOICE"),
        Column::Left("NOTE"),
    ]);
    let rows = events.iter().map(|event| {
        let mut row = vec![event.id.to_string(), event.account_number.to_string()];
        if has_campaigns {
            row.push(event.campaign_id.map(|campaign| campaign.to_string()).unwrap_or_default());
        }
        row.extend([
            state(event),
            instant(&event.due_at),
            event.ended_at.as_ref().map(instant).unwrap_or_default(),
            event.final_invoice.as_ref().map(|invoice| invoice.total.to_string()).unwrap_or_default(),
            note(event),
        ]);
        row
    });
    table(width, &columns, rows)
}

fn note(event: &EventView) -> String {
    let error = event.last_error.clone().filter(|_| event.state != State::Completed);
    let undecided = (!event.to_decide.is_empty()).then(|| format!("family: {} to decide", event.to_decide.len()));
    error.into_iter().chain(undecided).collect::<Vec<_>>().join("; ")
}

/// The state, and how it ended where that is not plain from it.
fn state(event: &EventView) -> String {
    match event.outcome {
        Some(outcome) => format!("{}: {}", event.state.as_str(), outcome.as_str().replace('_', " ")),
        None => event.state.as_str().to_owned(),
    }
}

fn shown(event: &EventView, width: Option<u16>) -> String {
    let mut pairs = vec![
        ("Event", event.id.to_string()),
        ("Account", event.account_number.to_string()),
        ("State", state(event)),
        ("Due", format!("{} UTC", instant(&event.due_at))),
    ];
    if let Some(date) = &event.planned.planned_for {
        let zone = event.planned.zone.as_ref().map(|zone| format!(" in {zone}")).unwrap_or_default();
        pairs.push(("Planned for", format!("{date}{zone}")));
    }
    if let Some(agreed) = &event.agreed {
        let invoice =
            agreed.final_invoice.map_or("nothing to invoice".into(), |total| format!("final invoice {total}"));
        let after = agreed.status_after.as_ref().map(|after| format!(" -> {after}")).unwrap_or_default();
        pairs.push(("Confirmed", format!("{invoice}, status {}{after}", agreed.status)));
    }
    if !event.changed_since.is_empty() {
        pairs.push(("Changed since", event.changed_since.join("\n")));
    }
    if let Some(campaign) = event.campaign_id {
        pairs.push(("Campaign", campaign.to_string()));
    }
    if let Some(parent) = event.parent_event_id {
        pairs.push(("Made with", format!("event {parent} of its parent")));
    }
    if !event.children.is_empty() {
        pairs.push(("Children", children::lines(event).join("\n")));
    }
    if !event.to_decide.is_empty() {
        let how = format!("`disconnectd events decide {}` does it", event.id);
        pairs.push(("To decide", format!("{}\n{how}", event.to_decide.join("\n"))));
    }
    if let Some(at) = &event.next_at {
        pairs.push(("Next look", format!("{} UTC", instant(at))));
    }
    pairs.push(("Attempts", event.attempt.to_string()));
    pairs.push(("Failures", format!("{} of at most {}", event.failures, event.failures_max)));
    if let Some(error) = &event.last_error {
        pairs.push(("Last error", error.clone()));
    }
    if let Some(invoice) = &event.final_invoice {
        pairs.push(("Final invoice", format!("{} over {}", invoice.number, invoice.total)));
    }
    pairs.push(("Reason", event.reason.clone().unwrap_or_else(|| "none given".into())));
    pairs.push(("Requested by", format!("{} ({})", event.requested_by, event.requested_from)));
    pairs.push(("Requested at", format!("{} UTC", instant(&event.created_at))));
    if let Some(at) = &event.ended_at {
        pairs.push(("Ended", format!("{} UTC", instant(at))));
    }
    sheet(width, &pairs)
}

async fn change(session: &Session, event: EventId, change: &Change, reason: Option<String>) -> Result<(), CliError> {
    let event = session.store.change(event, change, &session.actor, reason.as_deref()).await?;
    session.answer(&event, || {
        let (id, account, due) = (event.id, &event.account_number, instant(&event.due_at));
        let children = children::decided(&event);
        match change {
            Change::Cancel { .. } => format!("Event {id} is cancelled; account {account} stays as it is.{children}"),
            Change::Reschedule { .. } => {
                format!("Event {id} is moved: account {account} is due at {due} UTC.{children}")
            }
            Change::Retry => format!("Event {id} is tried again: account {account} was due at {due} UTC."),
        }
    })
}

async fn reschedule(args: RescheduleArgs, session: &Session) -> Result<(), CliError> {
    let RescheduleArgs { event, on, zone, late, children, reason } = args;
    change(session, event, &Change::Reschedule { when: on, zone, late, children }, reason).await?;
    session.note_unserved().await;
    Ok(())
}

async fn decide(args: DecideArgs, session: &Session) -> Result<(), CliError> {
    let choices = args.children.dispositions();
    let (by, reason) = (&session.actor, args.reason.as_deref());
    let event = session.store.decide(args.event, &choices, by, reason, session.failures_max).await?;
    session.answer(&event, || {
        let left = match event.to_decide.as_slice() {
            [] => "nothing is left to decide".to_owned(),
            left => format!("left to decide: {}", left.join("; ")),
        };
        format!("The family of event {} is decided about; {left}.{}", event.id, children::decided(&event))
    })?;
    if event.children.iter().any(|child| child.event_state.is_some_and(State::is_open)) {
        session.note_unserved().await;
    }
    Ok(())
}
