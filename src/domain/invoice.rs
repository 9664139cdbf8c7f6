//! Debits and invoices.

use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::account::AccountNumber;
use super::event::EventId;
use super::money::{Currency, Money};
use super::overview::Recipient;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DebitId(pub i64);

/// The number that an invoice bears: unique and rising, gaps possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ToSchema)]
#[serde(transparent)]
pub struct InvoiceNumber(pub i64);

impl fmt::Display for InvoiceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A charge that is not invoiced yet. Amounts are minor units of the account's currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Debit {
    pub id: DebitId,
    pub description: String,
    pub amount: i64,
    pub tax: i64,
    pub charged_on: NaiveDate,
}

/// An invoice that is about to be issued. Its lines are in order; its totals are their sums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvoiceDraft {
    pub currency: Currency,
    pub lines: Vec<LineDraft>,
    pub amount: i64,
    pub tax: i64,
    pub total: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineDraft {
    pub debit: DebitId,
    pub description: String,
    pub charged_on: NaiveDate,
    pub amount: i64,
    pub tax: i64,
    pub total: i64,
}

impl InvoiceDraft {
    /// A line per debit, oldest charge first. `None` where there are no debits.
    ///
    /// # Errors
    /// A sentence where a sum does not fit into an `i64` of minor units.
    pub fn of(debits: &[Debit], currency: Currency) -> Result<Option<Self>, String> {
        if debits.is_empty() {
            return Ok(None);
        }
        let mut draft = Self { currency, lines: Vec::with_capacity(debits.len()), amount: 0, tax: 0, total: 0 };
        let mut debits: Vec<&Debit> = debits.iter().collect();
        debits.sort_by_key(|debit| (debit.charged_on, debit.id));
        for debit in debits {
            draft.add(debit).ok_or("the uninvoiced debits add up to more than an invoice can hold; correct them")?;
        }
        Ok(Some(draft))
    }

    fn add(&mut self, debit: &Debit) -> Option<()> {
        let total = debit.amount.checked_add(debit.tax)?;
        self.amount = self.amount.checked_add(debit.amount)?;
        self.tax = self.tax.checked_add(debit.tax)?;
        self.total = self.total.checked_add(total)?;
        self.lines.push(LineDraft {
            debit: debit.id,
            description: debit.description.clone(),
            charged_on: debit.charged_on,
            amount: debit.amount,
            tax: debit.tax,
            total,
        });
        Some(())
    }

    #[must_use]
    pub fn total(&self) -> Money {
        Money::new(self.total, self.currency)
    }
}

/// What an invoice was issued for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InvoiceKind {
    /// Issued while the account was served.
    Regular,
    /// Issued by a disconnect.
    Final,
}

impl InvoiceKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Regular => "regular",
            Self::Final => "final",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Regular, Self::Final].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// An invoice in one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct InvoiceSummary {
    pub number: InvoiceNumber,
    pub total: Money,
}

/// An issued invoice as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct InvoiceView {
    pub number: InvoiceNumber,
    pub kind: InvoiceKind,
    pub account_number: AccountNumber,
    pub event_id: Option<EventId>,
    pub issued_at: DateTime<Utc>,
    pub amount: Money,
    pub tax: Money,
    pub total: Money,
    /// Empty in lists.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<LineView>,
}

/// An invoice by itself: with its lines, and who gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct InvoiceInFull {
    #[serde(flatten)]
    pub invoice: InvoiceView,
    /// The account itself, or its parent for it, as things are now; null where nobody does.
    pub recipient: Option<Recipient>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LineView {
    pub description: String,
    pub charged_on: NaiveDate,
    pub amount: Money,
    pub tax: Money,
    pub total: Money,
}
