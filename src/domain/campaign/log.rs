//! The log of a campaign: who did what with it, when and from where. What became of its accounts is in theirs.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::dry_run::{DryRun, sums};
use super::report::plural;
use crate::domain::actor::{Actor, Source};

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = CampaignLogEntry)]
pub struct Entry {
    pub at: DateTime<Utc>,
    pub kind: Kind,
    /// A sentence for people.
    pub message: String,
    pub actor: String,
    pub source: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = CampaignLogKind)]
pub enum Kind {
    Made,
    Changed,
    Approved,
    Started,
    Paused,
    Resumed,
    Aborted,
    Retried,
    Completed,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Made,
        Self::Changed,
        Self::Approved,
        Self::Started,
        Self::Paused,
        Self::Resumed,
        Self::Aborted,
        Self::Retried,
        Self::Completed,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Changed => "changed",
            Self::Approved => "approved",
            Self::Started => "started",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Aborted => "aborted",
            Self::Retried => "retried",
            Self::Completed => "completed",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What is written: the kind, and its sentence.
pub type Told = (Kind, String);

#[must_use]
pub fn made(accounts: i64, filter: Option<&str>) -> Told {
    let how = filter.map_or_else(|| "from a list".into(), |filter| format!("where {filter}"));
    (Kind::Made, format!("made of {accounts} account{} {how}", plural(accounts)))
}

#[must_use]
pub fn changed(revision: i32, accounts: i64) -> Told {
    (Kind::Changed, format!("changed: revision {revision}, of {accounts} account{}", plural(accounts)))
}

#[must_use]
pub fn approved(agreed: &DryRun) -> Told {
    (Kind::Approved, format!("approved: {}", shown(agreed)))
}

#[must_use]
pub fn started(agreed: &DryRun) -> Told {
    (Kind::Started, format!("started: {}", shown(agreed)))
}

fn shown(agreed: &DryRun) -> String {
    let accounts = agreed.to_disconnect;
    let sum = sums(&agreed.final_invoices);
    format!("{accounts} account{} to disconnect, final invoices of {sum}", plural(accounts))
}

/// By a person, or by itself.
#[must_use]
pub fn paused(note: Option<&str>) -> Told {
    (Kind::Paused, with_note("paused", note))
}

#[must_use]
pub fn resumed() -> Told {
    (Kind::Resumed, "resumed".into())
}

#[must_use]
pub fn aborted(note: Option<&str>) -> Told {
    (Kind::Aborted, with_note("aborted", note))
}

fn with_note(what: &str, note: Option<&str>) -> String {
    note.map_or_else(|| what.into(), |note| format!("{what}: {note}"))
}

#[must_use]
pub fn retried(events: i64) -> Told {
    (Kind::Retried, format!("{events} failed event{} tried again", plural(events)))
}

#[must_use]
pub fn completed() -> Told {
    (Kind::Completed, "completed".into())
}

/// Who does what a campaign does by itself.
#[must_use]
pub fn itself() -> Actor {
    Actor::new("scheduler", Source::Worker)
}
