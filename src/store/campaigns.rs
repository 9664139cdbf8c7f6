//! The store port for campaigns. Locks: a campaign's row comes before events. Whoever makes or brings back events of many
//! accounts (members that are enlisted, a retry) takes a lock of its own before accounts, and so never meets another.
//!
//! A claim and every command hold the campaign's row (on PostgreSQL `for no key update`: it keeps out other claims and
//! commands, and lets the foreign keys of workers' rows pass). So when a pause answers, nothing of it will begin.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use tokio::sync::mpsc;
use utoipa::ToSchema;

use super::{Page, Paged, Redispatch, Rows, StoreResult};
use crate::domain::actor::Actor;
use crate::domain::campaign::cohort::{BadRows, Blocker, MemberRow};
use crate::domain::campaign::dry_run::DryRun;
use crate::domain::campaign::log::Entry;
use crate::domain::campaign::report::ReportRow;
use crate::domain::campaign::template::{NewTemplate, TemplateCommand, TemplateId, TemplateView};
use crate::domain::campaign::{CampaignId, CampaignView, Command, Draft, PauseCause, Revision, State};
use crate::domain::event::Order;
use crate::domain::filter::Filter;
use crate::domain::import::Problem;

/// Where a cohort comes from.
pub enum Cohort {
    /// A list, each account once.
    Rows(Rows<MemberRow>),
    /// Every connected account that it matches at this moment.
    Filter(Filter),
}

/// What came of making a campaign.
#[derive(Debug, Clone, PartialEq)]
pub enum Made {
    Campaign(Box<CampaignView>),
    /// The list has rows that can't be used. Nothing was made.
    BadRows(BadRows),
}

/// What a person is told beside the campaign itself while it is made.
pub struct Making<'a> {
    /// Called with every problem, also with those that [`BadRows`] only counts.
    pub problem: &'a (dyn Fn(&Problem) + Send + Sync),
    /// Called now and then with the members that there are so far.
    pub progress: &'a (dyn Fn(u64) + Send + Sync),
}

impl Making<'static> {
    pub const QUIET: Self = Self { problem: &|_| {}, progress: &|_| {} };
}

/// Which campaigns to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CampaignFilter {
    pub state: Option<State>,
    /// In the name, whatever the case.
    pub search: Option<String>,
    pub template: Option<TemplateId>,
}

/// A campaign after a command.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = CampaignCommanded)]
pub struct Commanded {
    #[serde(flatten)]
    pub campaign: CampaignView,
    /// How many events were taken back from the queue, are being cancelled, or were brought back to be tried again.
    pub events: i64,
}

/// What a scheduler claimed of campaigns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claimed {
    pub orders: Vec<Order>,
    /// How long nothing more can be claimed, unless something changes: zero where there is more at once. `None`: no
    /// campaign waits for the clock.
    pub next: Option<Duration>,
    /// Campaigns that paused by themselves, or are complete, by this claim, with a sentence for the log.
    pub notes: Vec<(CampaignId, String)>,
}

/// What a step of the upkeep did. There may be more where it did something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Upkeep {
    /// Members that became events or were left out.
    pub enlisted: u64,
    /// Events of aborted campaigns.
    pub cancelled: u64,
}

/// What came of looking for a template's tick.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ticked {
    /// One was due: what came of it, in a sentence for the log.
    pub note: Option<String>,
    /// How long until the next one of any template. Zero: it is due, and somebody may have it in hand.
    pub next: Option<Duration>,
}

/// How many members one transaction enlists, and how many events of an aborted campaign it cancels: some hundred
/// milliseconds, which is what a pause may have to wait for.
pub const ENLIST_MAX: u32 = 2_000;

/// So many members become events within the start itself, so that a campaign of usual size is all there when it answers.
pub const ENLIST_AT_START: u32 = 10_000;

/// The largest cohort.
pub const MEMBERS_MAX: u64 = 5_000_000;

/// How many campaigns are under way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnderWay {
    pub running: i64,
    /// None for a cause that has paused none.
    pub paused: HashMap<PauseCause, i64>,
}

impl UnderWay {
    /// From how many there are of each cause; the running ones have none.
    #[must_use]
    pub fn of(counts: Vec<(Option<String>, i64)>) -> Self {
        let mut under_way = Self::default();
        for (cause, count) in counts {
            match cause.as_deref().map(PauseCause::parse) {
                None => under_way.running = count,
                Some(Some(cause)) => drop(under_way.paused.insert(cause, count)),
                Some(None) => {} // the database allows no other
            }
        }
        under_way
    }
}

/// Campaigns, as people make and command them.
#[async_trait]
pub trait Campaigns: Send + Sync {
    /// Makes a campaign with its cohort in one transaction: `draft`, or `awaiting_approval` where it has more accounts
    /// than the setting `campaign_approval_over`. Members are numbered in the order of the list (of a filter: of account
    /// ids). With `terms.children` = disconnect the connected children of its members, however deep, are members too, each
    /// marked with its parent, behind all others. Each member's date is frozen by
    /// [`crate::domain::campaign::cohort::MemberDate::of`]. Memory does not grow with the cohort.
    ///
    /// An account that stands in the list twice, and a date in the past, are bad rows. One that there is not is a member
    /// all the same, and will be left out: the dry run says so.
    ///
    /// # Errors
    /// [`crate::domain::refusal::Refusal::EmptyCohort`]; [`crate::domain::refusal::Refusal::EveryoneSelected`] for a filter
    /// that matches every connected account, unless `draft.everyone`.
    async fn create_campaign(&self, draft: &Draft, cohort: Cohort, making: Making<'_>) -> StoreResult<Made>;

    /// Changes one that has not begun: its name, its terms, its cohort (`filter` of the draft goes with the cohort).
    /// Its revision rises, an approval is void, and `draft.by` is among its makers. With new terms and no new cohort the
    /// dates of the members stay, and children are taken in or out as the terms say.
    async fn change_campaign(
        &self,
        campaign: CampaignId,
        revision: &Revision,
        cohort: Option<(Draft, Cohort)>,
        by: &Actor,
        making: Making<'_>,
    ) -> StoreResult<Made>;

    /// In one consistent view.
    async fn campaign(&self, campaign: CampaignId) -> StoreResult<CampaignView>;

    /// Newest first.
    async fn campaigns(&self, filter: &CampaignFilter, page: &Page) -> StoreResult<Paged<CampaignView>>;

    /// How many run, and how many are paused.
    async fn campaigns_under_way(&self) -> StoreResult<UnderWay>;

    /// What it would do if it were started now, by [`crate::domain::campaign::dry_run::Adding`] over all members in one
    /// consistent view. Writes nothing. Of one that has begun, what was agreed to.
    async fn dry_run(&self, campaign: CampaignId) -> StoreResult<DryRun>;

    /// All blockers, in the order of the cohort, into `to` in chunks; ends when there are no more, or nobody listens.
    async fn blockers(&self, campaign: CampaignId, to: mpsc::Sender<Vec<Blocker>>) -> StoreResult<()>;

    /// Approves what a dry run made now shows, decided by [`crate::domain::campaign::Facts::approve`] under the lock of
    /// its row. The state is `draft` from here on, whatever its size.
    ///
    /// # Errors
    /// With a digest: [`crate::domain::refusal::Refusal::StaleDryRun`] where it is not that of this dry run. Also where it
    /// is blocked or there is nobody to disconnect.
    async fn approve_campaign(
        &self,
        campaign: CampaignId,
        digest: Option<&str>,
        by: &Actor,
    ) -> StoreResult<CampaignView>;

    /// Starts one, by [`crate::domain::campaign::Facts::command`]: makes a dry run and keeps it as what was agreed to,
    /// becomes `running`, and enlists the first [`ENLIST_AT_START`] members. Hints.
    ///
    /// # Errors
    /// As for an approval; and [`crate::domain::refusal::Refusal::CampaignNotApproved`].
    async fn start_campaign(&self, campaign: CampaignId, digest: Option<&str>, by: &Actor) -> StoreResult<Commanded>;

    /// Pauses, resumes, aborts or retries, by [`crate::domain::campaign::Facts::command`] under the lock of its row. When
    /// a pause or an abort answers, nothing of it is queued, nothing of it will begin, and the counts are exact.
    async fn command_campaign(&self, campaign: CampaignId, command: &Command, by: &Actor) -> StoreResult<Commanded>;

    /// Every member in the order of the cohort, into `to` in chunks, in one consistent view; ends when there are no more,
    /// or nobody listens.
    async fn report(&self, campaign: CampaignId, to: mpsc::Sender<Vec<ReportRow>>) -> StoreResult<()>;

    /// Who did what with it. Oldest first.
    async fn campaign_log(&self, campaign: CampaignId, page: &Page) -> StoreResult<Paged<Entry>>;

    /// # Errors
    /// [`crate::domain::refusal::Refusal::TemplateExists`].
    async fn create_template(&self, template: &NewTemplate) -> StoreResult<TemplateView>;

    async fn template(&self, template: TemplateId) -> StoreResult<TemplateView>;

    /// Newest first.
    async fn templates(&self, page: &Page) -> StoreResult<Paged<TemplateView>>;

    async fn command_template(
        &self,
        template: TemplateId,
        command: TemplateCommand,
        by: &Actor,
    ) -> StoreResult<TemplateView>;
}

/// The scheduler's verbs for campaigns.
#[async_trait]
pub trait CampaignDispatch: Send + Sync {
    /// In one transaction, of which there is one at a time whatever number of schedulers run (another's claim under way
    /// answers nothing, and a short `next`): dispatches again what is queued and was not heard of for its redispatch time;
    /// takes the rows of the running campaigns, asks [`crate::domain::campaign::progress::Running::step`] for each, and
    /// pauses, completes or claims as it says, sharing `in_flight_max` out by
    /// [`crate::domain::campaign::progress::share_out`]. Claims at most `limit` new events. Committed when it returns.
    async fn claim_campaigns(&self, limit: u32, in_flight_max: u32, redispatch: Redispatch) -> StoreResult<Claimed>;

    /// One step of what campaigns need done beside the claim: enlists up to [`ENLIST_MAX`] members of running campaigns,
    /// and cancels as many events that aborted campaigns left. Any number of schedulers may run it at once.
    async fn upkeep(&self) -> StoreResult<Upkeep>;

    /// Makes the campaign of one template's tick that is due, in one transaction; it takes as long as the template's
    /// filter does. Each tick makes one at most, whatever number of schedulers run it. Dropped, it has made none.
    async fn tick(&self, failures_max: i32) -> StoreResult<Ticked>;
}
