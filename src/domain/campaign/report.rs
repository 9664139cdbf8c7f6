//! The report: what became of each member, and how it adds up to what was agreed to.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::dry_run::{DryRun, sums};
use crate::domain::account::AccountNumber;
use crate::domain::event::{EventId, Outcome, State};
use crate::domain::invoice::InvoiceNumber;
use crate::domain::money::{Currency, Money};

/// What became of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MemberOutcome {
    Disconnected,
    AlreadyDisconnected,
    NoLongerEligible,
    Failed,
    Cancelled,
    LeftOut,
    Scheduled,
    Queued,
    /// Not an event: the campaign has not come to it, or was aborted before.
    Waiting,
}

impl MemberOutcome {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::AlreadyDisconnected => "already_disconnected",
            Self::NoLongerEligible => "no_longer_eligible",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::LeftOut => "left_out",
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Waiting => "waiting",
        }
    }

    #[must_use]
    pub fn of(is_left_out: bool, event: Option<(State, Option<Outcome>)>) -> Self {
        match event {
            None if is_left_out => Self::LeftOut,
            None => Self::Waiting,
            Some((State::Completed, Some(Outcome::AlreadyDisconnected))) => Self::AlreadyDisconnected,
            Some((State::Completed, Some(Outcome::NoLongerEligible))) => Self::NoLongerEligible,
            Some((State::Completed, _)) => Self::Disconnected,
            Some((State::Failed, _)) => Self::Failed,
            Some((State::Cancelled, _)) => Self::Cancelled,
            Some((State::Scheduled, _)) => Self::Scheduled,
            Some((State::Queued, _)) => Self::Queued,
        }
    }
}

/// One member in the report.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ReportRow {
    pub account_number: AccountNumber,
    pub outcome: MemberOutcome,
    pub event_id: Option<EventId>,
    pub due_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    pub invoice_number: Option<InvoiceNumber>,
    /// Of the final invoice.
    pub amount: Option<Money>,
    /// What it owed when its turn to become an event came.
    pub expected: Option<Money>,
    pub attempts: i32,
    pub failures: i32,
    /// The last error, or why it was left out.
    pub error: Option<String>,
    pub reason: Option<String>,
}

/// How the campaign adds up.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Reconciliation {
    /// What the dry run showed that was agreed to; empty before the start.
    pub dry_run: Vec<Money>,
    pub invoiced: Vec<Money>,
    pub accounts: BTreeMap<&'static str, i64>,
    /// Whether the invoices come to what the dry run showed.
    pub adds_up: bool,
    /// What makes the difference. With these it adds up, to the minor unit.
    pub differences: Vec<Difference>,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Difference {
    /// A sentence.
    pub why: String,
    pub accounts: i64,
    /// What it adds to the invoices, or takes from them.
    pub amount: Money,
}

/// Adds rows up, in any order and bounded memory.
#[derive(Debug, Default)]
pub struct Reconciling {
    accounts: BTreeMap<&'static str, i64>,
    invoiced: BTreeMap<Currency, i64>,
    expected: BTreeMap<Currency, i64>,
    differences: BTreeMap<(&'static str, Currency), (i64, i64)>,
}

impl Reconciling {
    pub fn add(&mut self, row: &ReportRow) {
        *self.accounts.entry(row.outcome.as_str()).or_default() += 1;
        if let Some(amount) = row.amount {
            *self.invoiced.entry(amount.currency).or_default() += amount.minor;
        }
        if let Some(expected) = row.expected {
            *self.expected.entry(expected.currency).or_default() += expected.minor;
        }
        let Some(currency) = row.expected.or(row.amount).map(|money| money.currency) else { return };
        let (expected, amount) = (row.expected.map_or(0, |it| it.minor), row.amount.map_or(0, |it| it.minor));
        if amount == expected {
            return;
        }
        let why = match row.outcome {
            MemberOutcome::Disconnected => "its debits changed between the start and its disconnect",
            MemberOutcome::AlreadyDisconnected => "disconnected by somebody else meanwhile",
            MemberOutcome::NoLongerEligible => "no longer eligible when its turn came",
            MemberOutcome::Failed => "failed",
            MemberOutcome::Cancelled => "cancelled",
            MemberOutcome::LeftOut => "left out",
            MemberOutcome::Scheduled | MemberOutcome::Queued | MemberOutcome::Waiting => "still to come",
        };
        let (accounts, difference) = self.differences.entry((why, currency)).or_default();
        *accounts += 1;
        *difference += amount - expected;
    }

    /// `agreed`: what the dry run showed at the start.
    #[must_use]
    pub fn end(self, agreed: Option<&DryRun>) -> Reconciliation {
        let money = |sums: &BTreeMap<Currency, i64>| -> Vec<Money> {
            sums.iter().filter(|(_, sum)| **sum != 0).map(|(currency, sum)| Money::new(*sum, *currency)).collect()
        };
        let invoiced = money(&self.invoiced);
        let dry_run: Vec<Money> = agreed.map(|agreed| agreed.final_invoices.clone()).unwrap_or_default();
        let dry_run: Vec<Money> = dry_run.into_iter().filter(|sum| sum.minor != 0).collect();
        let mut differences: Vec<Difference> = self
            .differences
            .iter()
            .filter(|(_, (_, amount))| *amount != 0)
            .map(|((why, currency), (accounts, amount))| Difference {
                why: (*why).into(),
                accounts: *accounts,
                amount: Money::new(*amount, *currency),
            })
            .collect();
        // Between the dry run and the moment that each became an event, or is to become one still. Of those that were left
        // out meanwhile nothing else tells what they owed.
        let mut rest: BTreeMap<Currency, i64> = self.expected.clone();
        for sum in &dry_run {
            *rest.entry(sum.currency).or_default() -= sum.minor;
        }
        if agreed.is_some() {
            for (currency, amount) in rest.into_iter().filter(|(_, amount)| *amount != 0) {
                let waiting = self.accounts.get(MemberOutcome::Waiting.as_str()).copied().unwrap_or(0);
                let why = if waiting > 0 {
                    "not begun, left out, or changed between the dry run and its turn"
                } else {
                    "left out or changed between the dry run and its turn"
                };
                let left_out = self.accounts.get(MemberOutcome::LeftOut.as_str()).copied().unwrap_or(0);
                let left_out_since = agreed.map_or(0, |agreed| left_out - agreed.left_out).max(0);
                differences.push(Difference {
                    why: why.into(),
                    accounts: waiting + left_out_since,
                    amount: Money::new(amount, currency),
                });
            }
        }
        Reconciliation {
            adds_up: agreed.is_some() && invoiced == dry_run,
            dry_run,
            invoiced,
            accounts: self.accounts,
            differences,
        }
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} account{}): {}", self.why, self.accounts, plural(self.accounts), self.amount)
    }
}

pub(super) fn plural(count: i64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

impl Reconciliation {
    /// One line for people.
    #[must_use]
    pub fn sentence(&self) -> String {
        let (invoiced, dry_run) = (sums(&self.invoiced), sums(&self.dry_run));
        if self.adds_up {
            return format!("the final invoices come to {invoiced}, as the dry run said");
        }
        if self.differences.is_empty() {
            return format!("the final invoices come to {invoiced}");
        }
        let why: Vec<_> = self.differences.iter().map(Difference::to_string).collect();
        format!("the final invoices come to {invoiced}, the dry run said {dry_run}; {}", why.join("; "))
    }
}
