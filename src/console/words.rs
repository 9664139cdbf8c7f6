//! What the rules refuse, for people who have a page before them and no command line.

use crate::api::problem::Problem;
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
        other => sentence(&other.to_string()),
    }
}

/// What is said in the middle of a line elsewhere, as a sentence.
pub fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect::<String>() + ".")
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
