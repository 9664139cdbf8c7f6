//! The sentences of the account log, in one place for both stores: who did what is told the same way everywhere.
//!
//! What a disconnect itself writes is told by its plan, and what an import changes by its decision.

use chrono::{DateTime, Utc};

use super::account::{AccountNumber, Contact, LogKind};
use super::calendar::Planned;
use super::campaign::CampaignId;
use super::dispositions::{ChildPlan, ChildStep, Disposition};
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

/// A member of a campaign that has become an event.
#[must_use]
pub fn enlisted(campaign: CampaignId, name: &str, due_at: &DateTime<Utc>, planned: &Planned) -> String {
    if planned.planned_for.is_none() {
        return format!("disconnect requested by campaign {campaign} ({name})");
    }
    format!("disconnect scheduled for {} by campaign {campaign} ({name})", when(due_at, planned))
}

/// What an aborted campaign has left behind makes way for another event of the same account.
#[must_use]
pub fn leftover_cancelled(event: EventId, campaign: CampaignId) -> String {
    format!("event {event} cancelled: its campaign {campaign} was aborted, and another disconnect is asked for")
}

#[must_use]
pub fn campaign_aborted(event: EventId, campaign: CampaignId) -> String {
    format!("event {event} cancelled: campaign {campaign} was aborted")
}

#[must_use]
pub fn campaign_retried(event: EventId, campaign: CampaignId) -> String {
    format!("event {event} tried again with campaign {campaign}")
}

/// In the log of a child: what was decided about it with the event of its parent. `own_event` is the child's own.
#[must_use]
pub fn decided(plan: &ChildPlan, parents_event: EventId, own_event: Option<EventId>) -> (LogKind, String) {
    let parent = &plan.parent;
    let own_event = own_event.map(|event| event.to_string()).unwrap_or_default();
    match &plan.step {
        ChildStep::Create { due_at, planned } => {
            let scheduled = scheduled(due_at, planned);
            (LogKind::Scheduled, format!("{scheduled}, with event {parents_event} of its parent {parent}"))
        }
        ChildStep::BringForward { event, .. } => (LogKind::Rescheduled, along(&brought_forward(*event), parents_event)),
        ChildStep::Adopt { .. } => (
            LogKind::FamilyDecided,
            format!("event {own_event} serves for the disconnect with its parent {parent} (event {parents_event})"),
        ),
        ChildStep::Unlink => {
            (LogKind::Unlinked, format!("{}, which event {parents_event} disconnects", unlinked(parent)))
        }
        ChildStep::Keep => {
            (LogKind::FamilyDecided, format!("stays under {parent}, which event {parents_event} disconnects"))
        }
        ChildStep::Acknowledge => {
            (LogKind::FamilyDecided, format!("is no child of {parent} any more; known for event {parents_event}"))
        }
    }
}

/// In the parent's log: what was decided about its children.
#[must_use]
pub fn family_decided(children: &[(AccountNumber, Disposition, Option<EventId>)]) -> String {
    /// How many an entry names; the children's own entries tell the rest.
    const NAMED_MAX: usize = 50;
    let named = children.iter().take(NAMED_MAX).map(|(child, disposition, event)| match event {
        Some(event) => format!("{child} {disposition} (event {event})"),
        None => format!("{child} {disposition}"),
    });
    let named = named.collect::<Vec<_>>().join(", ");
    let more = children.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("children decided: {named}{more}")
}

/// A child's event that was made with its parent's, where another choice is made for the child.
#[must_use]
pub fn decided_otherwise(message: &str, parents_event: EventId) -> String {
    format!("{message}: it was decided otherwise with event {parents_event}")
}

/// The same change as that of the parent's event.
#[must_use]
pub fn along(message: &str, parents_event: EventId) -> String {
    format!("{message}, along with event {parents_event}")
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
