//! Accounts, their statuses and contacts, and what is shown of them.

use std::fmt;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::event::EventId;
use super::money::{Currency, Money};

/// The database's own key. People and programs use the [`AccountNumber`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub i64);

/// The public key of an account: 1 to 64 characters, none of them a control character, no blank at either end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(min_length = 1, max_length = 64, example = "1001")]
pub struct AccountNumber(String);

impl TryFrom<String> for AccountNumber {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl AccountNumber {
    /// In characters.
    pub const LENGTH_MAX: usize = 64;

    /// # Errors
    /// A sentence that says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("an account number is missing".into());
        }
        if text.chars().count() > Self::LENGTH_MAX {
            return Err(format!("an account number has at most {} characters", Self::LENGTH_MAX));
        }
        if text.chars().any(char::is_control) {
            return Err("an account number has no control characters".into());
        }
        Ok(Self(text.to_owned()))
    }

    /// What the database holds was checked when it was written.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An account status: a name, and whether accounts in it are served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Status {
    pub name: String,
    pub activates_account: bool,
}

/// Who gets the invoices of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Contact {
    pub email: Option<String>,
    pub mailing_address: Option<String>,
}

impl Contact {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.email.is_none() && self.mailing_address.is_none()
    }

    /// In one line, a letter's lines too.
    #[must_use]
    pub fn ways(&self) -> String {
        let mailing_address = self.mailing_address.as_ref().map(|address| address.replace('\n', ", "));
        self.email.iter().chain(&mailing_address).map(String::as_str).collect::<Vec<_>>().join(", or ")
    }
}

/// What to change of a contact; what is not given stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContactChange {
    /// `Some(None)`: remove it.
    pub email: Option<Option<String>>,
    /// `Some(None)`: remove it.
    pub mailing_address: Option<Option<String>>,
}

impl ContactChange {
    #[must_use]
    pub fn of(&self, contact: &Contact) -> Contact {
        Contact {
            email: self.email.clone().unwrap_or_else(|| contact.email.clone()),
            mailing_address: self.mailing_address.clone().unwrap_or_else(|| contact.mailing_address.clone()),
        }
    }
}

/// An account as it is shown to people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AccountView {
    pub number: AccountNumber,
    pub name: String,
    pub status: String,
    pub disconnected_at: Option<DateTime<Utc>>,
    pub parent_number: Option<AccountNumber>,
    pub children: i64,
    pub address: Option<String>,
    pub currency: Currency,
    #[schema(value_type = Option<String>)]
    pub zone: Option<Tz>,
    pub contact: Contact,
    pub groups: Vec<String>,
    /// What is not invoiced yet, taxes included.
    pub uninvoiced: Money,
    pub open_event: Option<EventId>,
}

/// A label that accounts bear, and how many do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub name: String,
    pub accounts: i64,
}

/// Which accounts to list. Everything given must hold.
#[derive(Debug, Clone, Default)]
pub struct AccountFilter {
    /// In the number, the name or the address, whatever the case.
    pub search: Option<String>,
    pub status: Option<String>,
    pub group: Option<String>,
    pub parent: Option<AccountNumber>,
    pub disconnected: Option<bool>,
    /// With an event that is to come, or without one.
    pub open_event: Option<bool>,
    pub order: AccountOrder,
}

/// How accounts are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AccountOrder {
    #[default]
    Number,
    /// Those of the same name by number.
    Name,
}

/// One entry of the account log: who did what, when, from where, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LogEntry {
    pub at: DateTime<Utc>,
    pub kind: LogKind,
    /// A sentence for people.
    pub message: String,
    pub actor: String,
    pub source: String,
    pub event_id: Option<EventId>,
    pub reason: Option<String>,
}

/// What a log entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogKind {
    Created,
    Changed,
    Linked,
    Unlinked,
    Invoiced,
    Scheduled,
    Rescheduled,
    Cancelled,
    Retried,
    AttemptFailed,
    Failed,
    FinalInvoice,
    NothingToInvoice,
    AddressReleased,
    Disconnected,
    AlreadyDisconnected,
    /// Its campaign's filter did not select it any more when its turn came.
    NoLongerEligible,
    /// What is to become of the children was decided.
    FamilyDecided,
    /// What was confirmed is not what was found at the execution.
    FactsMoved,
}

impl LogKind {
    pub const ALL: [Self; 19] = [
        Self::Created,
        Self::Changed,
        Self::Linked,
        Self::Unlinked,
        Self::Invoiced,
        Self::Scheduled,
        Self::Rescheduled,
        Self::Cancelled,
        Self::Retried,
        Self::AttemptFailed,
        Self::Failed,
        Self::FinalInvoice,
        Self::NothingToInvoice,
        Self::AddressReleased,
        Self::Disconnected,
        Self::AlreadyDisconnected,
        Self::NoLongerEligible,
        Self::FamilyDecided,
        Self::FactsMoved,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Linked => "linked",
            Self::Unlinked => "unlinked",
            Self::Invoiced => "invoiced",
            Self::Scheduled => "scheduled",
            Self::Rescheduled => "rescheduled",
            Self::Cancelled => "cancelled",
            Self::Retried => "retried",
            Self::AttemptFailed => "attempt_failed",
            Self::Failed => "failed",
            Self::FinalInvoice => "final_invoice",
            Self::NothingToInvoice => "nothing_to_invoice",
            Self::AddressReleased => "address_released",
            Self::Disconnected => "disconnected",
            Self::AlreadyDisconnected => "already_disconnected",
            Self::NoLongerEligible => "no_longer_eligible",
            Self::FamilyDecided => "family_decided",
            Self::FactsMoved => "facts_moved",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}
