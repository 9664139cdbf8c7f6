//! The sentences of the account log, in one place for both stores: who did what is told the same way everywhere.
//!
//! What a disconnect itself writes is told by its plan, and what an import changes by its decision.

use chrono::{DateTime, Utc};

use super::account::{AccountNumber, Contact};
use super::calendar::Planned;
use super::event::{Attempt, EventId};
use super::invoice::InvoiceNumber;
use super::refusal::instant;
use super::retry::{FailedAttempt, Verdict};

/// A new event.
#[must_use]
pub fn scheduled(due_at: &DateTime<Utc>, planned: &Planned) -> String {
    if planned.planned_for.is_none() {
        return "disconnect requested now".into();
    }
    format!("disconnect scheduled for {}", when(due_at, planned))
}

#[must_use]
pub fn brought_forward(event: EventId) -> String {
    format!("disconnect requested now: event {event} brought forward")
}

#[must_use]
pub fn cancelled(event: EventId) -> String {
    format!("event {event} cancelled")
}

#[must_use]
pub fn rescheduled(event: EventId, due_at: &DateTime<Utc>, planned: &Planned) -> String {
    format!("event {event} rescheduled to {}", when(due_at, planned))
}

#[must_use]
pub fn retried(event: EventId) -> String {
    format!("event {event} retried")
}

#[must_use]
pub fn failed(attempt: &FailedAttempt, verdict: Verdict) -> String {
    match verdict {
        Verdict::RetryAfter(_) => format!("attempt {} failed: {}", attempt.attempt, attempt.error),
        Verdict::GiveUp => format!("gave up after {} failures: {}", attempt.failures.saturating_add(1), attempt.error),
    }
}

/// Before an execution that may have killed its worker; `failures` counts it.
#[must_use]
pub fn suspected(attempt: Attempt, failures: i32, gives_up: bool, error: &str) -> String {
    if gives_up {
        format!("gave up after {failures} failures: {error}")
    } else {
        format!("attempt {attempt} is counted as failed before it runs: {error}")
    }
}

#[must_use]
pub fn linked(parent: &AccountNumber) -> String {
    format!("linked under {parent}")
}

#[must_use]
pub fn unlinked(parent: &AccountNumber) -> String {
    format!("unlinked from {parent}")
}

#[must_use]
pub fn contact_changed(before: &Contact, after: &Contact) -> String {
    let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".into());
    let mut changes = Vec::new();
    if before.email != after.email {
        changes.push(format!("email {} -> {}", shown(&before.email), shown(&after.email)));
    }
    if before.mailing_address != after.mailing_address {
        let (before, after) = (shown(&before.mailing_address), shown(&after.mailing_address));
        changes.push(format!("mailing address {before} -> {after}"));
    }
    format!("contact changed: {}", changes.join(", "))
}

/// A regular invoice.
#[must_use]
pub fn invoiced(number: InvoiceNumber) -> String {
    format!("invoice {number} issued")
}

/// The instant, and the date that it was made from.
fn when(due_at: &DateTime<Utc>, planned: &Planned) -> String {
    let given: Vec<&str> = [&planned.planned_for, &planned.zone].into_iter().flatten().map(String::as_str).collect();
    if given.is_empty() {
        return instant(due_at);
    }
    format!("{} (as given: {})", instant(due_at), given.join(", "))
}
