//! What the rules refuse, for people who have a page before them and no command line.

use super::plain::without_commands;
use crate::api::problem::Problem;
use crate::domain::event::State as EventState;
use crate::domain::refusal::{Refusal, instant};
use crate::store::StoreError;

/// In one or two sentences. Nothing was done.
pub fn refusal(refusal: &Refusal) -> String {
    match refusal {
        Refusal::UnknownAccount { number } => format!("There is no account {number}."),
        Refusal::UnknownInvoice { number } => format!("There is no invoice {number}."),
        Refusal::UnknownEvent { event } => format!("There is no event {event}."),
        Refusal::PastDate { due_at, now } => format!(
            "That is {}, which is in the past (it is now {}). Choose a later date, or say that a past date is meant.",
            instant(due_at),
            instant(now)
        ),
        Refusal::OpenEvent { event, due_at, .. } => format!(
            "The account has event {event} already, for {}. Disconnect it now, or cancel or reschedule that event first.",
            instant(due_at)
        ),
        Refusal::UndecidedChildren { children, .. } => {
            let more = children.len().saturating_sub(5);
            let named: Vec<_> = children.iter().take(5).map(ToString::to_string).collect();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("Choose what becomes of {}{more}.", named.join(", "))
        }
        Refusal::UnlinkWithoutContact { child, parent } => format!(
            "Account {child} has neither an email nor a mailing address, so nobody would get its invoices after it is \
             unlinked from {parent}. Give it a contact first, or choose otherwise."
        ),
        Refusal::DisconnectStatusMissing { name } | Refusal::DisconnectStatusActivates { name } => format!(
            "A disconnect leads to the status `{name}`, which is missing or activates accounts. An admin has to change \
             the setting first."
        ),
        Refusal::UndecidedEvents { events, .. } => {
            let named = events.iter().map(|(event, account)| format!("event {event} of {account}"));
            format!(
                "Events of children were made with this one: {}. Choose whether the same happens to them.",
                some_of(&named.collect::<Vec<_>>())
            )
        }
        Refusal::NothingToDecide { event, .. } => {
            format!("There is nothing to decide about the family of event {event}.")
        }
        Refusal::EventEnded { event, account, wanted, state, .. } => {
            let how = match state {
                EventState::Completed => "it is completed",
                EventState::Cancelled => "it was cancelled, and the account keeps its service",
                EventState::Failed => "it failed; retry it first",
                EventState::Scheduled | EventState::Queued => "it is open still",
            };
            format!("Event {event} of account {account} can't be {wanted}: {how}.")
        }
        Refusal::UnknownCampaign { campaign } => format!("There is no campaign {campaign}."),
        Refusal::CampaignState { campaign, wanted, state } => {
            format!("Campaign {campaign} {}, so it can't be {wanted}.", state.in_words())
        }
        Refusal::CampaignChanged { campaign } => {
            format!("Campaign {campaign} has been changed since this was shown, so nothing was done.")
        }
        Refusal::EmptyCohort { why } => format!("{}, so nothing was done.", capital(why)),
        Refusal::EveryoneSelected { accounts } => format!(
            "The filter selects every one of the {accounts} connected accounts. If all of them are to be disconnected, \
             say so below."
        ),
        Refusal::CampaignNotApproved { campaign, accounts, limit } => format!(
            "Campaign {campaign} has {accounts} accounts, more than {limit}: somebody else than its maker, with the role \
             approver, has to approve it first."
        ),
        Refusal::StaleDryRun { campaign, changes } => {
            format!(
                "Campaign {campaign} has changed since this was shown, so nothing was done: {}.",
                changes.join("; ")
            )
        }
        Refusal::CampaignBlocked { campaign, accounts, children } => format!(
            "Campaign {campaign} can't be started before somebody has decided what is to become of the children of \
             {accounts} of its accounts: {}. Change it, and choose what becomes of children.",
            some_of(children)
        ),
        Refusal::NobodyLeft { campaign } => {
            format!("Campaign {campaign} has nobody to disconnect: all of its accounts would be left out.")
        }
        other => sentence(&without_commands(&other.to_string())),
    }
}

/// What is said in the middle of a line elsewhere, as a sentence.
pub fn sentence(words: &str) -> String {
    capital(words) + "."
}

/// A sentence's first letter.
pub fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// How many a sentence names; the others are counted.
const NAMED_MAX: usize = 5;

fn some_of(all: &[String]) -> String {
    let more = all.len().saturating_sub(NAMED_MAX);
    let named = all.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{named} and {more} more") } else { named }
}

/// The same as a page of its own.
pub fn problem(error: StoreError) -> Problem {
    let words = if let StoreError::Refused(refused) = &error { Some(refusal(refused)) } else { None };
    let mut problem = Problem::from(error);
    if let Some(words) = words {
        problem.detail = words;
    }
    problem
}
