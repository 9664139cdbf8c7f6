//! Recurring campaigns: a template makes one at each tick of its cron expression.

use std::fmt;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CampaignId, Terms};
use crate::domain::actor::Actor;
use crate::domain::calendar::Cron;
use crate::domain::filter::Filter;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct TemplateId(pub i64);

impl fmt::Display for TemplateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a template is made with.
#[derive(Debug, Clone)]
pub struct NewTemplate {
    pub name: String,
    pub filter: Filter,
    /// By [`Cron::parse_user`].
    pub cron: Cron,
    pub zone: Tz,
    /// A larger cohort waits for a person.
    pub accounts_max: i64,
    pub terms: Terms,
    pub by: Actor,
}

/// A template as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TemplateView {
    pub id: TemplateId,
    pub name: String,
    #[serde(rename = "where")]
    pub filter: String,
    pub cron: String,
    #[schema(value_type = String)]
    pub zone: Tz,
    pub accounts_max: i64,
    pub terms: Terms,
    /// Whose standing approval lets its campaigns start by themselves.
    pub approved_by: Option<String>,
    /// When the next campaign is made; null while it is switched off.
    pub next_at: Option<DateTime<Utc>>,
    pub last_tick_at: Option<DateTime<Utc>>,
    /// What came of the last tick, in a sentence.
    pub last_note: Option<String>,
    pub last_campaign_id: Option<CampaignId>,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    /// Who approved it, took that back, or switched it on or off the last time.
    pub changed_at: Option<DateTime<Utc>>,
    pub changed_by: Option<String>,
}

/// What a person does with a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateCommand {
    /// Its campaigns may start by themselves from now on. By somebody else than its maker.
    Approve,
    /// The standing approval is taken back.
    Unapprove,
    /// No more campaigns are made.
    SwitchOff,
    /// From the next tick on.
    SwitchOn,
}

/// How far missed ticks are counted. Whoever reads the number wants to know whether it is 0, 1 or many.
const MISSED_MAX: u32 = 1_000;

/// What a tick does, decided under the lock of the template's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// The tick that the campaign is for: the last one that has passed.
    pub tick_at: DateTime<Utc>,
    /// How many passed before it without a campaign; 1,000 means that or more.
    pub missed: u32,
    pub next_at: Option<DateTime<Utc>>,
}

/// The tick that is due, where `next_at` is the one that was waited for. `None`: it is still to come.
#[must_use]
pub fn tick(cron: &Cron, zone: Tz, next_at: DateTime<Utc>, now: DateTime<Utc>) -> Option<Tick> {
    if next_at > now {
        return None;
    }
    let (mut tick_at, mut missed) = (next_at, 0);
    while missed < MISSED_MAX
        && let Some(next) = cron.next_after_in(tick_at, zone)
        && next <= now
    {
        tick_at = next;
        missed += 1;
    }
    if missed == MISSED_MAX {
        tick_at = cron.last_until_in(now, zone).unwrap_or(tick_at);
    }
    Some(Tick { tick_at, missed, next_at: cron.next_after_in(now, zone) })
}

impl Tick {
    /// For the template and the log: what was missed.
    #[must_use]
    pub fn missed_note(&self) -> String {
        match self.missed {
            0 => String::new(),
            1 => "; one tick before it was missed, since nobody served, and is not made up for".into(),
            missed => format!("; {missed} ticks before it were missed, since nobody served, and are not made up for"),
        }
    }
}

/// What becomes of a campaign that a tick has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// It starts by itself.
    Starts,
    /// It waits for a person, who starts it, after an approval where the setting asks for one.
    Waits,
    /// It waits for a person, since it is larger than the template lets it be.
    TooLarge,
}

#[must_use]
pub fn made(accounts: i64, accounts_max: i64, is_approved: bool) -> Made {
    if accounts > accounts_max {
        Made::TooLarge
    } else if is_approved {
        Made::Starts
    } else {
        Made::Waits
    }
}
