//! What a person sees before confirming: what the disconnect will do, planned by the same code that does it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::account::{AccountId, AccountNumber, AccountView, Contact, Status};
use super::actor::{Actor, Source};
use super::digest::Shown;
use super::event::{Attempt, Event, EventId, EventView, OpenEvent};
use super::family::{Family, Relative};
use super::invoice::{InvoiceDraft, LineView};
use super::money::Money;
use super::plan::{Effect, Plan, Snapshot, plan_disconnect};
use super::refusal::{Refusal, instant};
use super::review::nobody_gets_invoices;
use super::settings::Settings;

/// What an overview is made from, read in one transaction.
#[derive(Debug, Clone)]
pub struct OverviewFacts {
    pub account: AccountView,
    /// With the whole family.
    pub snapshot: Snapshot,
    pub open_event: Option<EventView>,
    pub settings: Settings,
    pub statuses: Vec<Status>,
    /// The database's now.
    pub now: DateTime<Utc>,
}

impl OverviewFacts {
    #[must_use]
    pub fn open(&self) -> Option<OpenEvent> {
        self.open_event.as_ref().map(|event| OpenEvent {
            id: event.id,
            state: event.state,
            due_at: event.due_at,
            lane: event.lane,
            made_with: event.parent_event_id,
        })
    }

    /// What is shown of it, as far as it is agreed to.
    #[must_use]
    pub fn shown(&self) -> Shown {
        let zone = self.account.zone.unwrap_or(self.settings.company_zone);
        Shown::of(&self.snapshot, self.open().as_ref()).with_dates(zone, self.settings.cutoff_time)
    }
}

/// The key details of a disconnect that has not happened yet.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Overview {
    /// To be sent back with the confirmation, which is refused if anything of this has changed.
    pub digest: String,
    pub account: AccountView,
    /// The instant that was asked about.
    pub on: DateTime<Utc>,
    pub status_now: String,
    pub status_after: Option<String>,
    pub address_to_release: Option<String>,
    /// Null where there is nothing to invoice.
    pub final_invoice: Option<FinalInvoice>,
    pub invoice_recipient: Option<Recipient>,
    /// Who gets its invoices once its parent is gone; null where nobody does, and without a parent.
    pub recipient_after_parent: Option<Recipient>,
    pub parent: Option<Relative>,
    pub children: Vec<Relative>,
    /// Below those children that are connected, however deep.
    pub descendants: Vec<Relative>,
    /// The children that somebody has to decide about: keep, disconnect or unlink.
    pub undecided_children: Vec<AccountNumber>,
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
    pub name: String,
    #[serde(flatten)]
    pub contact: Contact,
}

impl Recipient {
    /// See [`Snapshot::recipient`].
    pub(super) fn of(snapshot: &Snapshot) -> Option<Self> {
        let (number, contact) = snapshot.recipient()?;
        let parent = snapshot.family.parent.as_ref().filter(|parent| parent.number == *number);
        let name = parent.map_or(&snapshot.name, |parent| &parent.name);
        Some(Self { account_number: number.to_string(), name: name.clone(), contact: contact.clone() })
    }

    /// Through whom `account` gets its invoices, where that is another one: number and name.
    #[must_use]
    pub fn through(&self, account: &AccountNumber) -> Option<(&str, &str)> {
        (self.account_number != account.as_str()).then_some((self.account_number.as_str(), self.name.as_str()))
    }

    /// `ada@example.com`, or `ada@example.com, through 1001, Ada Miller`.
    #[must_use]
    pub fn in_words(&self, account: &AccountNumber) -> String {
        let ways = self.contact.ways();
        self.through(account).map_or_else(|| ways.clone(), |(number, name)| format!("{ways}, through {number}, {name}"))
    }
}

impl Overview {
    #[must_use]
    pub fn of(facts: OverviewFacts, on: DateTime<Utc>) -> Self {
        let plan = plan_disconnect(&facts.snapshot, &hypothetical(on, facts.now));
        let own = &facts.account.contact;
        let has_parent = facts.snapshot.family.parent.is_some();
        let undecided = if facts.account.disconnected_at.is_some() {
            Vec::new()
        } else {
            facts
                .snapshot
                .family
                .connected_children_of(&facts.account.number)
                .map(|child| child.number.clone())
                .collect()
        };
        let mut overview = Self {
            digest: facts.shown().digest(),
            on,
            status_now: facts.account.status.clone(),
            status_after: None,
            address_to_release: None,
            final_invoice: None,
            invoice_recipient: Recipient::of(&facts.snapshot),
            recipient_after_parent: (has_parent && !own.is_empty()).then(|| Recipient {
                account_number: facts.account.number.to_string(),
                name: facts.account.name.clone(),
                contact: own.clone(),
            }),
            undecided_children: undecided,
            blockers: Vec::new(),
            warnings: warnings(&facts, on),
            account: facts.account,
            parent: facts.snapshot.family.parent,
            children: facts.snapshot.family.children,
            descendants: facts.snapshot.family.descendants,
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
                Effect::Log { .. } | Effect::NoteChanges(_) | Effect::Complete(_) => {}
            }
        }
    }
}

impl FinalInvoice {
    pub(super) fn of(draft: &InvoiceDraft) -> Self {
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
        agreed: None,
        campaign: None,
        eligibility: None,
    }
}

/// How many children a warning names; the family lists all of them.
const CHILDREN_NAMED: usize = 20;

/// How many have a warning of their own, that nobody would get their invoices.
const CHILDREN_WITHOUT_CONTACT: usize = 5;

fn warnings(facts: &OverviewFacts, on: DateTime<Utc>) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(open) = &facts.open_event {
        warnings.push(format!("event {} is {} for {} already", open.id, open.state.as_str(), instant(&open.due_at)));
    }
    if facts.account.disconnected_at.is_none() {
        warnings.extend(of_the_family(&facts.account.number, &facts.snapshot.family));
    }
    if on < facts.now && facts.account.disconnected_at.is_none() {
        warnings.push(format!("{} is in the past", instant(&on)));
    }
    warnings
}

/// Who has to be decided about, and whose invoices nobody would get.
fn of_the_family(number: &AccountNumber, family: &Family) -> Vec<String> {
    let mut warnings = Vec::new();
    let connected: Vec<&Relative> = family.connected_children_of(number).collect();
    if !connected.is_empty() {
        let more = connected.len().saturating_sub(CHILDREN_NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let named: Vec<_> =
            connected.iter().take(CHILDREN_NAMED).map(|child| format!("{} ({})", child.number, child.name)).collect();
        warnings.push(format!(
            "somebody has to choose what becomes of these connected children (keep, disconnect, unlink): \
             {}{more}",
            named.join(", ")
        ));
    }
    let without: Vec<_> =
        connected.iter().filter(|child| child.contact.is_empty()).map(|child| &child.number).collect();
    warnings.extend(without.iter().take(CHILDREN_WITHOUT_CONTACT).map(|child| nobody_gets_invoices(number, child)));
    match without.len().saturating_sub(CHILDREN_WITHOUT_CONTACT) {
        0 => {}
        1 => warnings.push("the same holds for 1 more child without a contact of its own".into()),
        more => warnings.push(format!("the same holds for {more} more children without a contact of their own")),
    }
    if let Some(parent) = &family.parent
        && parent.disconnected_at.is_some()
    {
        warnings.push(format!("its parent {} is disconnected", parent.number));
    }
    warnings
}
