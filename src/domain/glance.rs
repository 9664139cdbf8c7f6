//! What an account's own page shows: the same facts as an overview has, with the children in numbers alone, so that it
//! is as quick for a parent of thousands. Nobody agrees to anything on it.

use chrono_tz::Tz;

use super::account::AccountView;
use super::event::OpenEvent;
use super::family::{ChildCounts, Relative};
use super::invoice::InvoiceDraft;
use super::overview::{FinalInvoice, Recipient};
use super::plan::Snapshot;

/// Read in one view.
#[derive(Debug, Clone)]
pub struct GlanceFacts {
    pub account: AccountView,
    /// With its parent, and without any child.
    pub snapshot: Snapshot,
    pub children: ChildCounts,
    pub open_event: Option<OpenEvent>,
    pub company_zone: Tz,
}

#[derive(Debug, Clone)]
pub struct Glance {
    pub account: AccountView,
    pub parent: Option<Relative>,
    pub children: ChildCounts,
    pub open_event: Option<OpenEvent>,
    /// What a final invoice would have on it now; none where there is nothing, or more than an invoice can hold.
    pub final_invoice: Option<FinalInvoice>,
    /// Who gets its invoices.
    pub recipient: Option<Recipient>,
    /// Its own, else the company's.
    pub zone: Tz,
}

impl Glance {
    #[must_use]
    pub fn of(facts: GlanceFacts) -> Self {
        let GlanceFacts { account, snapshot, children, open_event, company_zone } = facts;
        let invoice = InvoiceDraft::of(&snapshot.debits, snapshot.currency).ok().flatten();
        Self {
            final_invoice: invoice.as_ref().map(FinalInvoice::of),
            recipient: Recipient::of(&snapshot),
            parent: snapshot.family.parent,
            zone: account.zone.unwrap_or(company_zone),
            account,
            children,
            open_event,
        }
    }
}
