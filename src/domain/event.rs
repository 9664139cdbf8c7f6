//! Disconnect events: the unit of work, its states, and the changes of plan that a person may ask for.
//!
//! ```text
//! scheduled --claim--> queued --> completed (disconnected, already_disconnected, no_longer_eligible)
//!     ^  ^                |  \--> failed --retry, by a person--> scheduled
//!     |  +- failures + 1 -+
//!     +-- cancel, from scheduled, queued and failed --> cancelled
//! ```

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::account::{AccountId, AccountNumber};
use super::actor::Actor;
use super::calendar::{Planned, When};
use super::campaign::CampaignId;
use super::digest::{Agreed, Shown};
use super::filter::Filter;
use super::invoice::InvoiceSummary;
use super::refusal::Refusal;
use super::review::ChildView;
use super::settings::Settings;
use super::trace::TraceParent;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct EventId(pub i64);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Counts the claims of one event. It fences late writers and never goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Attempt(pub i32);

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What goes through the queue: which event, and which claim of it sent the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Order {
    pub event_id: EventId,
    pub attempt: Attempt,
    /// Where it is measured: what had it in hand last. From the claim it is the request that made the event.
    pub trace: Option<TraceParent>,
}

/// Where an event is in its life. Scheduled and queued are called open: something will look at them again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Scheduled,
    Queued,
    Completed,
    Failed,
    Cancelled,
}

impl State {
    pub const ALL: [Self; 5] = [Self::Scheduled, Self::Queued, Self::Completed, Self::Failed, Self::Cancelled];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Scheduled | Self::Queued)
    }
}

/// How a completed event ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Disconnected,
    AlreadyDisconnected,
    NoLongerEligible,
}

impl Outcome {
    pub const ALL: [Self; 3] = [Self::Disconnected, Self::AlreadyDisconnected, Self::NoLongerEligible];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::AlreadyDisconnected => "already_disconnected",
            Self::NoLongerEligible => "no_longer_eligible",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }
}

/// An event that has not ended, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct OpenEvent {
    pub id: EventId,
    pub state: State,
    pub due_at: DateTime<Utc>,
    /// 0 for single disconnects, else the campaign's.
    #[serde(skip)]
    pub lane: i64,
    /// The parent's event that it was made with.
    #[serde(skip)]
    pub made_with: Option<EventId>,
}

/// What a worker needs of an event to decide, read under its lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub id: EventId,
    pub account_id: AccountId,
    pub attempt: Attempt,
    /// Executions that failed because of the event itself.
    pub failures: i32,
    pub failures_max: i32,
    /// The business instant: it prices the disconnect.
    pub due_at: DateTime<Utc>,
    /// The database's now in this transaction: it dates the effects.
    pub now: DateTime<Utc>,
    pub reason: Option<String>,
    pub requested_by: Actor,
    /// What was true when it was confirmed; none for an event of a campaign.
    pub agreed: Option<Shown>,
    pub campaign: Option<CampaignId>,
    /// What its account has to match still; none but for a campaign whose cohort a filter made.
    pub eligibility: Option<Arc<Filter>>,
}

/// An event as it is shown to people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct EventView {
    pub id: EventId,
    pub account_number: AccountNumber,
    pub state: State,
    pub outcome: Option<Outcome>,
    /// The instant that the disconnect is for.
    pub due_at: DateTime<Utc>,
    /// The date as the person gave it, and the zone that it was read in.
    #[serde(flatten)]
    pub planned: Planned,
    /// When the machine looks at it again; null once it has ended.
    pub next_at: Option<DateTime<Utc>>,
    pub attempt: Attempt,
    pub failures: i32,
    pub failures_max: i32,
    pub last_error: Option<String>,
    pub reason: Option<String>,
    pub requested_by: String,
    pub requested_from: String,
    /// Also of one that was brought forward, out of its campaign's lane.
    pub campaign_id: Option<CampaignId>,
    /// 0 for single disconnects; see [`super::campaign::progress::lane`].
    #[serde(skip)]
    pub lane: i64,
    pub final_invoice: Option<InvoiceSummary>,
    pub created_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    /// What was confirmed.
    pub agreed: Option<Agreed>,
    /// What had changed since, when it was executed.
    pub changed_since: Vec<String>,
    /// The parent's event that it was made with.
    pub parent_event_id: Option<EventId>,
    /// What is to become of each child, as it was decided.
    pub children: Vec<ChildView>,
    /// What somebody has to decide about the family, since it has changed.
    pub to_decide: Vec<String>,
}

/// An event as a change of plan finds it, under the locks of its account and of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFacts {
    pub id: EventId,
    pub account_number: AccountNumber,
    pub state: State,
    pub outcome: Option<Outcome>,
    pub due_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    /// When the account was disconnected, by this event or another.
    pub disconnected_at: Option<DateTime<Utc>>,
    /// Another event of the same account that is open.
    pub other_open: Option<EventId>,
    /// The account's.
    pub zone: Option<Tz>,
    pub settings: Settings,
    /// The open events of children, and of their children, that were made with it.
    pub made_with: Vec<(EventId, AccountNumber)>,
    /// The database's now.
    pub now: DateTime<Utc>,
}

/// What becomes of the events that were made with a parent's, when that one's plan changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Along {
    /// The same happens to them.
    Along,
    /// They stay as they are.
    Leave,
}

/// What a person asks of an event that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Cancel {
        /// To be said where events were made with it that are open still.
        children: Option<Along>,
    },
    Reschedule {
        when: When,
        /// The zone that a local date is read in; without one it is the account's, else the company's.
        zone: Option<Tz>,
        /// The person said that a date in the past is meant.
        late: bool,
        /// As above.
        children: Option<Along>,
    },
    Retry,
}

impl Change {
    /// Of an event that no other was made with.
    pub const CANCEL: Self = Self::Cancel { children: None };
}

/// What the store has to write for an admitted change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// To `cancelled`, ended now, without a next instant.
    Cancel,
    /// To `scheduled` with this due instant, next looked at then.
    Reschedule { due_at: DateTime<Utc>, planned: Planned },
    /// From `failed` to `scheduled`, due as before, looked at now, with its failures forgotten.
    Retry,
}

/// An admitted change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangePlan {
    pub transition: Transition,
    /// The open events that the same happens to.
    pub along: Vec<EventId>,
}

impl EventFacts {
    /// Decides a change of plan. Pure; the store holds the locks and writes the answer.
    ///
    /// # Errors
    /// A refusal that says what became of the event instead, or which events of children somebody has to decide about.
    pub fn change(&self, change: &Change) -> Result<ChangePlan, Refusal> {
        match change {
            Change::Cancel { children } => match self.state {
                State::Scheduled | State::Queued | State::Failed => {
                    Ok(ChangePlan { transition: Transition::Cancel, along: self.along(*children)? })
                }
                State::Completed | State::Cancelled => Err(self.ended("cancelled")),
            },
            Change::Reschedule { when, zone, late, children } => {
                if !self.state.is_open() {
                    return Err(self.ended("rescheduled"));
                }
                let zone = zone.or(self.zone).unwrap_or(self.settings.company_zone);
                let (due_at, planned) = when.resolve(zone, self.settings.cutoff_time, self.now);
                if due_at < self.now && !late {
                    return Err(Refusal::PastDate { due_at, now: self.now });
                }
                let transition = Transition::Reschedule { due_at, planned };
                Ok(ChangePlan { transition, along: self.along(*children)? })
            }
            Change::Retry => {
                if self.state != State::Failed {
                    return Err(Refusal::NotFailed { event: self.id, state: self.state });
                }
                if let Some(other) = self.other_open {
                    return Err(Refusal::OtherOpenEvent { event: self.id, other });
                }
                Ok(ChangePlan { transition: Transition::Retry, along: Vec::new() })
            }
        }
    }

    fn along(&self, children: Option<Along>) -> Result<Vec<EventId>, Refusal> {
        match children {
            Some(Along::Along) => Ok(self.made_with.iter().map(|(event, _)| *event).collect()),
            Some(Along::Leave) => Ok(Vec::new()),
            None if self.made_with.is_empty() => Ok(Vec::new()),
            None => Err(Refusal::UndecidedEvents { event: self.id, events: self.made_with.clone() }),
        }
    }

    fn ended(&self, wanted: &'static str) -> Refusal {
        Refusal::EventEnded {
            event: self.id,
            account: self.account_number.clone(),
            wanted,
            state: self.state,
            outcome: self.outcome,
            ended_at: self.ended_at,
        }
    }
}
