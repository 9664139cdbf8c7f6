//! What a person sees before confirming: what the disconnect will do, planned by the same code that does it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::account::{AccountId, AccountView, Contact};
use super::actor::{Actor, Source};
use super::event::{Attempt, Event, EventId, EventView};
use super::family::Relative;
use super::invoice::{InvoiceDraft, LineView};
use super::money::Money;
use super::plan::{Effect, Plan, Snapshot, plan_disconnect};
use super::refusal::{Refusal, instant};

/// What an overview is made from, read in one transaction.
#[derive(Debug, Clone)]
pub struct OverviewFacts {
    pub account: AccountView,
    pub snapshot: Snapshot,
    pub parent: Option<Relative>,
    pub children: Vec<Relative>,
    pub open_event: Option<EventView>,
    /// The database's now.
    pub now: DateTime<Utc>,
}

/// The key details of a disconnect that has not happened yet.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Overview {
    pub account: AccountView,
    /// The instant that was asked about.
    pub on: DateTime<Utc>,
    pub status_now: String,
    pub status_after: Option<String>,
    pub address_to_release: Option<String>,
    /// Null where there is nothing to invoice.
    pub final_invoice: Option<FinalInvoice>,
    pub invoice_recipient: Option<Recipient>,
    pub parent: Option<Relative>,
    pub children: Vec<Relative>,
    pub open_event: Option<EventView>,
    /// Why the disconnect can't happen. Empty where it can.
    pub blockers: Vec<String>,
    /// What to know before saying yes.
    pub warnings: Vec<String>,
}

/// The final invoice to come.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FinalInvoice {
    pub lines: Vec<LineView>,
    pub amount: Money,
    pub tax: Money,
    pub total: Money,
}

/// Who gets the invoice: the account itself, or its parent for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Recipient {
    pub account_number: String,
    #[serde(flatten)]
    pub contact: Contact,
}

impl Overview {
    #[must_use]
    pub fn of(facts: OverviewFacts, on: DateTime<Utc>) -> Self {
        let plan = plan_disconnect(&facts.snapshot, &hypothetical(on, facts.now));
        let mut overview = Self {
            on,
            status_now: facts.account.status.clone(),
            status_after: None,
            address_to_release: None,
            final_invoice: None,
            invoice_recipient: recipient(&facts),
            blockers: Vec::new(),
            warnings: warnings(&facts, on),
            account: facts.account,
            parent: facts.parent,
            children: facts.children,
            open_event: facts.open_event,
        };
        if let Some(disconnected_at) = overview.account.disconnected_at {
            let account = overview.account.number.clone();
            overview.blockers.push(Refusal::Disconnected { account, disconnected_at }.to_string());
        }
        match plan {
            Plan::Fail(error) => overview.blockers.push(error),
            Plan::Apply(effects) => overview.foresee(effects),
        }
        if overview.final_invoice.is_some() && overview.invoice_recipient.is_none() {
            overview.warnings.push(format!(
                "nobody gets the final invoice: neither account {} nor a parent has an email or a mailing address",
                overview.account.number
            ));
        }
        overview
    }

    fn foresee(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::IssueFinalInvoice(draft) => self.final_invoice = Some(FinalInvoice::of(&draft)),
                Effect::ReleaseAddress(assignment) => self.address_to_release = Some(assignment.address),
                Effect::Disconnect { status } => self.status_after = Some(status),
                Effect::Log { .. } | Effect::Complete(_) => {}
            }
        }
    }
}

impl FinalInvoice {
    fn of(draft: &InvoiceDraft) -> Self {
        let money = |minor| Money::new(minor, draft.currency);
        let lines = draft.lines.iter().map(|line| LineView {
            description: line.description.clone(),
            charged_on: line.charged_on,
            amount: money(line.amount),
            tax: money(line.tax),
            total: money(line.total),
        });
        Self { lines: lines.collect(), amount: money(draft.amount), tax: money(draft.tax), total: draft.total() }
    }
}

/// The event that a confirmation would make.
fn hypothetical(due_at: DateTime<Utc>, now: DateTime<Utc>) -> Event {
    Event {
        id: EventId(0),
        account_id: AccountId(0),
        attempt: Attempt(0),
        failures: 0,
        failures_max: 1,
        due_at,
        now,
        reason: None,
        requested_by: Actor::new("", Source::Worker),
    }
}

fn recipient(facts: &OverviewFacts) -> Option<Recipient> {
    let own = (&facts.account.number, &facts.account.contact);
    let parents = facts.parent.as_ref().map(|parent| (&parent.number, &parent.contact));
    std::iter::once(own)
        .chain(parents)
        .find(|(_, contact)| !contact.is_empty())
        .map(|(number, contact)| Recipient { account_number: number.to_string(), contact: contact.clone() })
}

/// How many children a warning names; the family lists all of them.
const CHILDREN_NAMED: usize = 20;

fn warnings(facts: &OverviewFacts, on: DateTime<Utc>) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(open) = &facts.open_event {
        warnings.push(format!("event {} is {} for {} already", open.id, open.state.as_str(), instant(&open.due_at)));
    }
    let connected: Vec<_> =
        facts.children.iter().filter(|child| child.disconnected_at.is_none()).map(|c| c.number.as_str()).collect();
    if !connected.is_empty() {
        let more = connected.len().saturating_sub(CHILDREN_NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let named = connected.iter().take(CHILDREN_NAMED).copied().collect::<Vec<_>>().join(", ");
        warnings.push(format!("these children stay connected: {named}{more}"));
    }
    if on < facts.now && facts.account.disconnected_at.is_none() {
        warnings.push(format!("{} is in the past", instant(&on)));
    }
    warnings
}
