//! Campaigns: many disconnects made, run, paused and reported on as one.
//!
//! ```text
//! draft, awaiting_approval --start--> running <--pause, resume--> paused
//!                                        |  \--> completed --retry--> running
//! any of them but completed --abort--> aborted
//! ```
//!
//! The cohort is a list of members, frozen when it is made. Once the campaign runs they become events in its lane, batch
//! by batch, or are left out with a reason. What it may claim, and when it pauses by itself, is in [`progress`].

pub mod cohort;
pub mod dry_run;
pub mod log;
pub mod progress;
pub mod rate;
pub mod report;
pub mod template;
pub mod terms;

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::actor::Actor;
use super::dispositions::Disposition;
use super::filter::Filter;
use super::money::Money;
use super::refusal::Refusal;

use self::dry_run::DryRun;

/// It names the campaign's lane too; that of its canary is the same with a minus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct CampaignId(pub i64);

impl fmt::Display for CampaignId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a campaign is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[schema(as = CampaignState)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Made, and may be started.
    Draft,
    /// Made, and somebody else has to approve it before it may be started.
    AwaitingApproval,
    Running,
    /// Nothing of it begins until somebody resumes it.
    Paused,
    /// Nothing of it is open any more.
    Completed,
    /// Stopped for good: what had not begun never will.
    Aborted,
}

impl State {
    pub const ALL: [Self; 6] =
        [Self::Draft, Self::AwaitingApproval, Self::Running, Self::Paused, Self::Completed, Self::Aborted];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::AwaitingApproval => "awaiting_approval",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Aborted => "aborted",
        }
    }

    /// What a sentence says of a campaign.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Draft => "has not started",
            Self::AwaitingApproval => "waits for somebody's approval",
            Self::Running => "is running",
            Self::Paused => "is paused",
            Self::Completed => "is completed",
            Self::Aborted => "was aborted",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// It was started, once.
    #[must_use]
    pub fn is_begun(self) -> bool {
        !matches!(self, Self::Draft | Self::AwaitingApproval)
    }

    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Aborted)
    }
}

/// Who or what paused a campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PauseCause {
    Person,
    /// Its first accounts are done; somebody has to look at them.
    Canary,
    /// Too large a share of what it tried has failed.
    Failures,
}

impl PauseCause {
    pub const ALL: [Self; 3] = [Self::Person, Self::Canary, Self::Failures];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Canary => "canary",
            Self::Failures => "failures",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == text)
    }
}

/// What holds for the whole campaign. Kept as JSON with it, so that a later change of a setting does not change it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = CampaignTerms)]
pub struct Terms {
    /// Why, for the accounts' logs; a row of the list may have its own.
    pub reason: Option<String>,
    /// The date for accounts without one of their own, as it was given; null: when the campaign starts.
    pub on: Option<String>,
    /// The zone that dates are read in; null: each account's, else the company's.
    #[schema(value_type = Option<String>)]
    pub on_zone: Option<chrono_tz::Tz>,
    /// What becomes of the connected children that are not in it themselves. Null: nobody decided, and a cohort with such
    /// children can't be started.
    pub children: Option<Disposition>,
    /// At most so many a minute; null: as fast as it goes.
    pub per_minute: Option<u32>,
    /// After so many of the first accounts it pauses by itself.
    pub canary: Option<u32>,
    /// When it may disconnect, as `mon-thu 08:00-16:00 America/New_York`; null: always.
    pub window: Option<String>,
    /// Days on which it does nothing, as dates.
    #[serde(default)]
    pub holidays: String,
    /// It pauses by itself when more than this share of what it tried has failed, in percent.
    pub pause_percent: u8,
}

/// What a campaign is made with, beside its cohort.
#[derive(Debug, Clone)]
pub struct Draft {
    pub name: String,
    pub terms: Terms,
    /// The filter that selects its accounts is checked again when the turn of each comes. None for a list.
    pub filter: Option<Filter>,
    /// A filter that selects every account is meant.
    pub everyone: bool,
    /// Dates in the past are meant.
    pub late: bool,
    pub failures_max: i32,
    pub by: Actor,
}

/// What is to change of one that has not begun. Everything that is not given stays.
#[derive(Debug, Clone)]
pub struct Revision {
    /// The revision that whoever changes it has looked at. Where it is no longer that one, nothing is done.
    pub of: i32,
    pub name: Option<String>,
    /// All of them anew.
    pub terms: Option<Terms>,
}

/// What a person does with a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Start,
    Pause {
        note: Option<String>,
    },
    Resume,
    Abort {
        note: Option<String>,
    },
    /// What failed is tried again.
    Retry,
}

impl Command {
    fn wanted(&self) -> &'static str {
        match self {
            Self::Start => "started",
            Self::Pause { .. } => "paused",
            Self::Resume => "resumed",
            Self::Abort { .. } => "aborted",
            Self::Retry => "retried",
        }
    }
}

/// What the store has to write for an admitted command. It holds the campaign's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// To `running`, for the first time.
    Start,
    /// To `paused`; what is queued goes back to `scheduled`.
    Pause { cause: PauseCause, note: Option<String> },
    /// To `running`. What was tried, and in trouble, until now does not count for the next pause by failures.
    Resume { canary_passed: bool },
    /// To `aborted`; what is queued goes back to `scheduled`, and all that is open is cancelled batch by batch.
    Abort,
    /// Its failed events go back to `scheduled`, their failures forgotten; a completed campaign runs again.
    Retry,
    /// It is so already. Nothing to write.
    Nothing,
}

/// A campaign as a command finds it, under the lock of its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub id: CampaignId,
    pub state: State,
    pub pause_cause: Option<PauseCause>,
    pub accounts: i64,
    pub revision: i32,
    pub approved_revision: Option<i32>,
    /// Those who made the cohort and the terms what they are.
    pub made_by: Vec<String>,
    pub failed: i64,
    /// The company's setting: more accounts than these need an approval.
    pub approval_over: u32,
}

impl Facts {
    #[must_use]
    pub fn needs_approval(&self) -> bool {
        self.accounts > i64::from(self.approval_over)
    }

    #[must_use]
    pub fn is_approved(&self) -> bool {
        self.approved_revision == Some(self.revision)
    }

    /// Decides what a command does. Pure.
    ///
    /// # Errors
    /// A refusal that says what to do instead.
    pub fn command(&self, command: &Command) -> Result<Transition, Refusal> {
        let refused = || Err(Refusal::CampaignState { campaign: self.id, wanted: command.wanted(), state: self.state });
        match (command, self.state) {
            (Command::Start, State::Draft | State::AwaitingApproval) => {
                if self.needs_approval() && !self.is_approved() {
                    let (campaign, accounts, limit) = (self.id, self.accounts, self.approval_over);
                    return Err(Refusal::CampaignNotApproved { campaign, accounts, limit });
                }
                Ok(Transition::Start)
            }
            (Command::Pause { note }, State::Running) => {
                Ok(Transition::Pause { cause: PauseCause::Person, note: note.clone() })
            }
            (Command::Pause { .. }, State::Paused)
            | (Command::Start | Command::Resume, State::Running)
            | (Command::Abort { .. }, State::Aborted) => Ok(Transition::Nothing),
            (Command::Resume, State::Paused) => {
                Ok(Transition::Resume { canary_passed: self.pause_cause == Some(PauseCause::Canary) })
            }
            (Command::Abort { .. }, State::Draft | State::AwaitingApproval | State::Running | State::Paused) => {
                Ok(Transition::Abort)
            }
            (Command::Retry, State::Running | State::Paused | State::Completed) if self.failed > 0 => {
                Ok(Transition::Retry)
            }
            (Command::Retry, State::Running | State::Paused | State::Completed) => {
                Err(Refusal::NothingFailed { campaign: self.id })
            }
            _ => refused(),
        }
    }

    /// Whether `by` may approve it as it is.
    ///
    /// # Errors
    /// It has begun, or `by` made it what it is.
    pub fn approve(&self, by: &Actor) -> Result<(), Refusal> {
        if self.state.is_begun() {
            return Err(Refusal::CampaignState { campaign: self.id, wanted: "approved", state: self.state });
        }
        if self.made_by.contains(&by.name) {
            return Err(Refusal::OwnApproval { campaign: self.id, maker: by.name.clone() });
        }
        Ok(())
    }

    /// Whether its cohort or its terms may be changed so.
    ///
    /// # Errors
    /// It has begun, or was changed since whoever changes it has looked.
    pub fn revise(&self, revision: &Revision) -> Result<(), Refusal> {
        revise(self.id, self.state)?;
        if revision.of != self.revision {
            return Err(Refusal::CampaignChanged { campaign: self.id });
        }
        Ok(())
    }
}

fn revise(campaign: CampaignId, state: State) -> Result<(), Refusal> {
    if state.is_begun() {
        return Err(Refusal::CampaignState { campaign, wanted: "changed", state });
    }
    Ok(())
}

impl CampaignView {
    /// Whether its cohort or its terms may be changed.
    ///
    /// # Errors
    /// It has begun.
    pub fn revise(&self) -> Result<(), Refusal> {
        revise(self.id, self.state)
    }
}

/// How many members of a campaign are where. They add up: `accounts` is `waiting`, `left_out`, `scheduled`, `queued` and
/// what ended, together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = CampaignCounts)]
pub struct Counts {
    /// All members.
    pub accounts: i64,
    /// Not an event yet: the campaign has not begun, or has not come to them.
    pub waiting: i64,
    /// Never became an event: unknown, disconnected already, or an open event elsewhere.
    pub left_out: i64,
    pub scheduled: i64,
    pub queued: i64,
    /// Of those that are scheduled or queued: failed at least once, and to be tried again.
    pub retrying: i64,
    /// Ended well, in one of the next three ways.
    pub completed: i64,
    pub disconnected: i64,
    pub already_disconnected: i64,
    pub no_longer_eligible: i64,
    pub failed: i64,
    pub cancelled: i64,
}

impl Counts {
    /// Ended, or never to begin.
    #[must_use]
    pub fn done(&self) -> i64 {
        self.left_out + self.completed + self.failed + self.cancelled
    }

    /// With an outcome, or in trouble: what the share of failures is a share of.
    #[must_use]
    pub fn tried(&self) -> i64 {
        self.completed + self.troubled()
    }

    #[must_use]
    pub fn troubled(&self) -> i64 {
        self.retrying + self.failed
    }
}

/// What a campaign came to so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = CampaignTotals)]
pub struct Totals {
    /// Final invoices issued.
    pub invoices: i64,
    /// Their sums, one for each currency, taxes included.
    pub invoiced: Vec<Money>,
    pub addresses_released: i64,
    /// What its members owed when they became events.
    pub expected: Vec<Money>,
}

/// One row of tallies, summed: what a store reads, and [`Counts`] and [`Totals`] are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    pub kind: TallyKind,
    pub currency: Option<super::money::Currency>,
    pub count: i64,
    pub amount: i64,
    pub invoices: i64,
    pub addresses: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TallyKind {
    Enlisted,
    LeftOut,
    Disconnected,
    AlreadyDisconnected,
    NoLongerEligible,
    Cancelled,
}

impl TallyKind {
    pub const ALL: [Self; 6] = [
        Self::Enlisted,
        Self::LeftOut,
        Self::Disconnected,
        Self::AlreadyDisconnected,
        Self::NoLongerEligible,
        Self::Cancelled,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enlisted => "enlisted",
            Self::LeftOut => "left_out",
            Self::Disconnected => "disconnected",
            Self::AlreadyDisconnected => "already_disconnected",
            Self::NoLongerEligible => "no_longer_eligible",
            Self::Cancelled => "cancelled",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What counts beside the tallies, read in the same view of the database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Live {
    pub accounts: i64,
    pub queued: i64,
    pub retrying: i64,
    pub failed: i64,
}

/// Counts and totals from what a store read in one view.
#[must_use]
pub fn add_up(live: Live, tallies: &[Tally]) -> (Counts, Totals) {
    let mut counts = Counts {
        accounts: live.accounts,
        queued: live.queued,
        retrying: live.retrying,
        failed: live.failed,
        ..Counts::default()
    };
    let mut totals = Totals::default();
    let mut enlisted = 0;
    let (mut invoiced, mut expected) = (BTreeMap::new(), BTreeMap::new());
    for tally in tallies {
        match tally.kind {
            TallyKind::Enlisted => enlisted += tally.count,
            TallyKind::LeftOut => counts.left_out += tally.count,
            TallyKind::Disconnected => counts.disconnected += tally.count,
            TallyKind::AlreadyDisconnected => counts.already_disconnected += tally.count,
            TallyKind::NoLongerEligible => counts.no_longer_eligible += tally.count,
            TallyKind::Cancelled => counts.cancelled += tally.count,
        }
        totals.invoices += tally.invoices;
        totals.addresses_released += tally.addresses;
        if let Some(currency) = tally.currency {
            let sums = if tally.kind == TallyKind::Enlisted { &mut expected } else { &mut invoiced };
            *sums.entry(currency).or_insert(0) += tally.amount;
        }
    }
    let money = |sums: BTreeMap<_, _>| sums.into_iter().map(|(currency, sum)| Money::new(sum, currency)).collect();
    (totals.invoiced, totals.expected) = (money(invoiced), money(expected));
    counts.completed = counts.disconnected + counts.already_disconnected + counts.no_longer_eligible;
    counts.waiting = live.accounts - enlisted - counts.left_out;
    counts.scheduled = enlisted - counts.completed - counts.cancelled - counts.failed - counts.queued;
    (counts, totals)
}

/// A campaign as it is shown to people and programs.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CampaignView {
    pub id: CampaignId,
    pub name: String,
    pub state: State,
    pub pause_cause: Option<PauseCause>,
    /// Why it is paused, in a sentence.
    pub pause_note: Option<String>,
    pub counts: Counts,
    pub totals: Totals,
    pub terms: Terms,
    /// What selected the accounts; null for a list.
    #[serde(rename = "where")]
    pub filter: Option<String>,
    /// Counts the cohorts and terms that it had.
    pub revision: i32,
    /// More accounts than the setting `campaign_approval_over`.
    pub needs_approval: bool,
    /// Who approved it as it is now.
    pub approved_by: Option<String>,
    pub approved_at: Option<DateTime<Utc>>,
    /// What the dry run showed when it was started, or else approved.
    pub agreed: Option<DryRun>,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    pub started_at: Option<DateTime<Utc>>,
    pub started_by: Option<String>,
    pub ended_at: Option<DateTime<Utc>>,
    /// The template that made it.
    pub template_id: Option<template::TemplateId>,
    pub tick_at: Option<DateTime<Utc>>,
    /// The database's now, for rates.
    pub as_of: DateTime<Utc>,
}
