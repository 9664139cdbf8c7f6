//! The cohort: who is in a campaign, and whether a member can become an event.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Terms;
use crate::domain::account::{AccountId, AccountNumber};
use crate::domain::calendar::{Planned, When};
use crate::domain::dispositions::Disposition;
use crate::domain::event::{EventId, Outcome, State};
use crate::domain::import::Problem;
use crate::domain::money::Currency;
use crate::domain::settings::Settings;

/// The columns of a campaign's list; the first alone must be there. `number` is read as `account_number`.
pub const COLUMNS: [&str; 3] = ["account_number", "date", "reason"];

/// One row of a campaign's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRow {
    /// Of the file, from 1, the header included.
    pub line: u64,
    pub account: AccountNumber,
    pub on: Option<When>,
    pub reason: Option<String>,
}

/// The date of a member, as it is frozen with it. `None`: when the campaign starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberDate {
    pub due_at: Option<DateTime<Utc>>,
    pub planned: Planned,
}

impl MemberDate {
    /// The row's own date, else the campaign's, read in the campaign's zone, else the account's, else the company's.
    ///
    /// # Errors
    /// A sentence: it is in the past, and that is not said to be meant.
    pub fn of(
        own: Option<When>,
        terms: &Terms,
        late: bool,
        zone: Option<Tz>,
        settings: &Settings,
        now: DateTime<Utc>,
    ) -> Result<Self, String> {
        let of_all = || terms.on.as_deref().map(When::parse).transpose();
        let Some(when) = own.map_or_else(of_all, |when| Ok(Some(when)))? else { return Ok(Self::default()) };
        if when == When::Now {
            return Ok(Self::default());
        }
        let zone = terms.on_zone.or(zone).unwrap_or(settings.company_zone);
        let (due_at, planned) = when.resolve(zone, settings.cutoff_time, now);
        if due_at < now && !late {
            return Err(format!(
                "{} is in the past; give a date to come, or say that it is meant (--late)",
                planned.planned_for.unwrap_or_default()
            ));
        }
        Ok(Self { due_at: Some(due_at), planned })
    }
}

/// The place in a cohort of an account whose children were taken in with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Where it was taken in itself: whose child it is.
    pub parent: Option<AccountId>,
    /// `None`: it is to become one still, or was left out.
    pub event: Option<(State, Option<Outcome>)>,
    /// Whether the filter selects it now; asked only while its event is open.
    pub matches: bool,
}

/// Whether the place of `account` stands, so that its children go whatever the filter says of them. Where its own turn is
/// still to come, it is asked as it will be itself: in a batch, and with several workers, a child may come first.
#[must_use]
pub fn stands<S: std::hash::BuildHasher>(places: &HashMap<AccountId, Place, S>, account: AccountId) -> bool {
    let mut next = Some(account);
    // A family has no cycle, and a cohort each account once; what says otherwise ends all the same.
    for _ in 0..=places.len() {
        let Some(place) = next.and_then(|account| places.get(&account)) else { return true };
        match place.event {
            Some((_, Some(Outcome::NoLongerEligible))) => return false,
            Some((state, _)) if state.is_open() => {}
            _ => return true,
        }
        if place.matches {
            return true;
        }
        next = match place.parent {
            None => return false,
            parent => parent,
        };
    }
    true
}

/// What is wrong with the rows of a list, all of them counted and the first ones kept. Nothing was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct BadRows {
    pub rows: u64,
    /// At most [`crate::domain::import::LISTED_MAX`].
    pub problems: Vec<Problem>,
    pub problems_not_listed: u64,
}

impl BadRows {
    pub fn add(&mut self, problem: Problem) {
        if self.problems.len() < crate::domain::import::LISTED_MAX {
            self.problems.push(problem);
        } else {
            self.problems_not_listed += 1;
        }
    }

    #[must_use]
    pub fn total(&self) -> u64 {
        self.problems.len() as u64 + self.problems_not_listed
    }
}

/// A member as it is found at a moment: what a dry run is made from, and what it becomes an event by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberFacts {
    pub position: i64,
    pub number: AccountNumber,
    /// Null: when the campaign starts.
    pub due_at: Option<DateTime<Utc>>,
    /// None: there was no such account when the cohort was made.
    pub account: Option<MemberAccount>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberAccount {
    pub id: AccountId,
    pub disconnected_at: Option<DateTime<Utc>>,
    pub currency: Currency,
    /// The sum of its uninvoiced debits, taxes included, in minor units, and how many they are.
    pub uninvoiced: i64,
    pub debits: i64,
    pub has_address: bool,
    /// It, or for it its connected parent, has an email or a mailing address.
    pub has_recipient: bool,
    /// Its open event, but one that an aborted campaign has left behind.
    pub open_event: Option<EventId>,
    /// Of that event, if it has one.
    pub open_campaign: Option<super::CampaignId>,
    /// Its connected children that are not members themselves, by number.
    pub children: Vec<OutsideChild>,
}

/// A connected child of a member that is not in the cohort.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutsideChild {
    pub id: AccountId,
    pub number: AccountNumber,
    pub name: String,
    pub has_contact: bool,
}

/// Why a member is not disconnected as it should be, or what to know of it before saying yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BlockerKind {
    /// There was no such account when the cohort was made.
    UnknownAccount,
    AlreadyDisconnected,
    /// It has an open event: of its own, or another campaign's.
    OpenEvent,
    /// It has children that nobody decided about, or that can't be unlinked, since they have no contact.
    UndecidedFamily,
    /// Neither it nor a connected parent has an email or a mailing address for the final invoice.
    NoRecipient,
    /// Its date has passed.
    DatePassed,
}

/// What a blocker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BlockerEffect {
    /// The campaign can't be started.
    Stops,
    /// The campaign starts without this account.
    LeavesOut,
    /// The account is disconnected all the same.
    Warns,
}

impl BlockerKind {
    pub const ALL: [Self; 6] = [
        Self::UndecidedFamily,
        Self::UnknownAccount,
        Self::AlreadyDisconnected,
        Self::OpenEvent,
        Self::NoRecipient,
        Self::DatePassed,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownAccount => "unknown_account",
            Self::AlreadyDisconnected => "already_disconnected",
            Self::OpenEvent => "open_event",
            Self::UndecidedFamily => "undecided_family",
            Self::NoRecipient => "no_recipient",
            Self::DatePassed => "date_passed",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    #[must_use]
    pub fn effect(self) -> BlockerEffect {
        match self {
            Self::UndecidedFamily => BlockerEffect::Stops,
            Self::UnknownAccount | Self::AlreadyDisconnected | Self::OpenEvent => BlockerEffect::LeavesOut,
            Self::NoRecipient | Self::DatePassed => BlockerEffect::Warns,
        }
    }
}

/// One blocker of one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Blocker {
    pub account_number: AccountNumber,
    pub kind: BlockerKind,
    pub effect: BlockerEffect,
    /// A sentence.
    pub detail: String,
}

impl MemberFacts {
    /// What stands in the way of this member, the gravest first. One that leaves it out is the only one.
    #[must_use]
    pub fn blockers(&self, terms: &Terms, now: DateTime<Utc>) -> Vec<Blocker> {
        let blocker = |kind: BlockerKind, detail: String| Blocker {
            account_number: self.number.clone(),
            kind,
            effect: kind.effect(),
            detail,
        };
        if let Some((kind, detail)) = self.left_out() {
            return vec![blocker(kind, detail)];
        }
        let Some(account) = &self.account else { return Vec::new() };
        let mut blockers = Vec::new();
        if let Some(detail) = account.undecided(terms.children) {
            blockers.push(blocker(BlockerKind::UndecidedFamily, detail));
        }
        if account.debits > 0 && !account.has_recipient {
            let detail = "nobody gets the final invoice: neither it nor a connected parent has an email or a mailing \
                          address; `disconnectd accounts contact` adds one";
            blockers.push(blocker(BlockerKind::NoRecipient, detail.into()));
        }
        if self.due_at.is_some_and(|due_at| due_at < now) {
            blockers.push(blocker(BlockerKind::DatePassed, "its date has passed: it is due at once".into()));
        }
        blockers
    }

    /// Why it does not become an event, in a sentence; `None` where it does.
    #[must_use]
    pub fn left_out(&self) -> Option<(BlockerKind, String)> {
        let Some(account) = &self.account else {
            let detail = format!("there was no account {} when the cohort was made", self.number);
            return Some((BlockerKind::UnknownAccount, detail));
        };
        if let Some(at) = account.disconnected_at {
            let detail = format!("it has been disconnected since {}", crate::domain::refusal::instant(&at));
            return Some((BlockerKind::AlreadyDisconnected, detail));
        }
        account.open_event.map(|event| {
            let of = account.open_campaign.map(|campaign| format!(" of campaign {campaign}")).unwrap_or_default();
            (BlockerKind::OpenEvent, format!("it has event {event}{of} already; that one goes on"))
        })
    }
}

/// How many children a sentence names.
const CHILDREN_NAMED: usize = 5;

impl MemberAccount {
    fn undecided(&self, children: Option<Disposition>) -> Option<String> {
        let (asked, why): (Vec<&OutsideChild>, _) = match children {
            // A child that came after the cohort was made is not in it: "disconnect" has not decided about it.
            None | Some(Disposition::Disconnect) => (
                self.children.iter().collect(),
                "somebody has to decide about its children: say keep, unlink or disconnect for all (--children ...)",
            ),
            Some(Disposition::Unlink) => (
                self.children.iter().filter(|child| !child.has_contact).collect(),
                "children without an email and a mailing address can't be unlinked from it",
            ),
            Some(Disposition::Keep) => (Vec::new(), ""),
        };
        if asked.is_empty() {
            return None;
        }
        let more = asked.len().saturating_sub(CHILDREN_NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let named: Vec<_> =
            asked.iter().take(CHILDREN_NAMED).map(|child| format!("{} ({})", child.number, child.name)).collect();
        Some(format!("{why}: {}{more}", named.join(", ")))
    }
}

/// The blockers of one kind, counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockersOfKind {
    pub kind: BlockerKind,
    pub effect: BlockerEffect,
    pub accounts: i64,
    /// The first few.
    pub examples: Vec<BlockerExample>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockerExample {
    pub account_number: String,
    pub detail: String,
}

/// How many examples each kind has.
pub const EXAMPLES_MAX: usize = 5;

/// Counts blockers by kind.
#[derive(Debug, Clone, Default)]
pub struct BlockersByKind(BTreeMap<BlockerKind, BlockersOfKind>);

impl BlockersByKind {
    pub fn add(&mut self, blocker: Blocker) {
        let Blocker { account_number, kind, effect, detail } = blocker;
        let of_kind =
            self.0.entry(kind).or_insert_with(|| BlockersOfKind { kind, effect, accounts: 0, examples: Vec::new() });
        of_kind.accounts += 1;
        if of_kind.examples.len() < EXAMPLES_MAX {
            of_kind.examples.push(BlockerExample { account_number: account_number.to_string(), detail });
        }
    }

    /// In the order of [`BlockerKind::ALL`].
    #[must_use]
    pub fn into_list(mut self) -> Vec<BlockersOfKind> {
        BlockerKind::ALL.into_iter().filter_map(|kind| self.0.remove(&kind)).collect()
    }
}
