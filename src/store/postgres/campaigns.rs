//! Campaigns: made, commanded, looked at, and claimed.
//!
//! Who waits for whom: a claim holds the rows of the running campaigns and waits for none of them (`skip locked`). A
//! command holds its campaign's row and then waits for the events that workers have, which wait for nobody any more. A
//! batch of members that become events (and a retry) holds the lock of all who open events for many accounts, then
//! accounts, then events of its own making, and the campaign's row last: so a pause never waits for its accounts.

mod claim;
mod cohort;
mod commands;
mod counts;
mod dry_run;
mod eligibility;
mod enlist;
mod families;
mod filling;
mod leftovers;
mod log;
mod members;
mod report;
mod retry;
mod selection;
mod stored;
mod templates;
mod upkeep;

use async_trait::async_trait;
use sqlx::postgres::PgConnection;
use tokio::sync::mpsc;

pub(super) use self::counts::{Tallies, tally_cancelled};
pub(super) use self::eligibility::{eligible, standings, stopped_and_filters};
pub(super) use self::leftovers::{cancel_leftovers, stands};
use super::failure::Failure;
use super::{BULK_LIMIT, PostgresStore, VERB_LIMIT, within};
use crate::domain::actor::Actor;
use crate::domain::campaign::cohort::Blocker;
use crate::domain::campaign::dry_run::DryRun;
use crate::domain::campaign::log::Entry;
use crate::domain::campaign::report::ReportRow;
use crate::domain::campaign::template::{NewTemplate, TemplateCommand, TemplateId, TemplateView};
use crate::domain::campaign::{CampaignId, CampaignView, Command, Draft, Revision};
use crate::store::campaigns::{
    CampaignDispatch, CampaignFilter, Campaigns, Claimed, Cohort, Commanded, Made, Making, Ticked, UnderWay, Upkeep,
};
use crate::store::{Page, Paged, Redispatch, StoreResult};

#[async_trait]
impl Campaigns for PostgresStore {
    async fn create_campaign(&self, draft: &Draft, cohort: Cohort, making: Making<'_>) -> StoreResult<Made> {
        Ok(cohort::create(self, draft, cohort, making).await?)
    }

    async fn change_campaign(
        &self,
        campaign: CampaignId,
        revision: &Revision,
        cohort: Option<(Draft, Cohort)>,
        by: &Actor,
        making: Making<'_>,
    ) -> StoreResult<Made> {
        Ok(cohort::change(self, campaign, revision, cohort, by, making).await?)
    }

    async fn campaign(&self, campaign: CampaignId) -> StoreResult<CampaignView> {
        within(VERB_LIMIT, async {
            let mut tx = self.begin_view().await?;
            let view = stored::view(&mut tx, campaign).await?;
            tx.rollback().await;
            Ok(view)
        })
        .await
    }

    async fn campaigns(&self, filter: &CampaignFilter, page: &Page) -> StoreResult<Paged<CampaignView>> {
        within(VERB_LIMIT, async {
            let mut tx = self.begin_view().await?;
            let views = stored::list(&mut tx, filter, page).await?;
            tx.rollback().await;
            Ok(views)
        })
        .await
    }

    async fn campaigns_under_way(&self) -> StoreResult<UnderWay> {
        within(VERB_LIMIT, async {
            let counts = sqlx::query_as(
                "/* campaigns: under way */ select pause_cause, count(*) from campaigns
                  where state in ('running', 'paused') group by pause_cause",
            )
            .fetch_all(&self.pool)
            .await?;
            Ok(UnderWay::of(counts))
        })
        .await
    }

    async fn dry_run(&self, campaign: CampaignId) -> StoreResult<DryRun> {
        within(BULK_LIMIT, dry_run::show(self, campaign)).await
    }

    async fn blockers(&self, campaign: CampaignId, to: mpsc::Sender<Vec<Blocker>>) -> StoreResult<()> {
        Ok(dry_run::blockers(self, campaign, &to).await?)
    }

    async fn approve_campaign(
        &self,
        campaign: CampaignId,
        digest: Option<&str>,
        by: &Actor,
    ) -> StoreResult<CampaignView> {
        within(BULK_LIMIT, commands::approve(self, campaign, digest, by)).await
    }

    async fn start_campaign(&self, campaign: CampaignId, digest: Option<&str>, by: &Actor) -> StoreResult<Commanded> {
        let started = within(BULK_LIMIT, commands::start(self, campaign, digest, by)).await?;
        self.hint();
        Ok(started)
    }

    async fn command_campaign(&self, campaign: CampaignId, command: &Command, by: &Actor) -> StoreResult<Commanded> {
        let limit = if *command == Command::Retry { BULK_LIMIT } else { VERB_LIMIT };
        let commanded = within(limit, commands::command(self, campaign, command, by)).await?;
        self.hint();
        Ok(commanded)
    }

    async fn report(&self, campaign: CampaignId, to: mpsc::Sender<Vec<ReportRow>>) -> StoreResult<()> {
        Ok(report::stream(self, campaign, &to).await?)
    }

    async fn campaign_log(&self, campaign: CampaignId, page: &Page) -> StoreResult<Paged<Entry>> {
        let mut view = self.begin_view().await?;
        let entries = within(VERB_LIMIT, log::list(&mut view, campaign, page)).await?;
        view.rollback().await;
        Ok(entries)
    }

    async fn create_template(&self, template: &NewTemplate) -> StoreResult<TemplateView> {
        let view = within(VERB_LIMIT, templates::create(self, template)).await?;
        self.hint();
        Ok(view)
    }

    async fn template(&self, template: TemplateId) -> StoreResult<TemplateView> {
        within(VERB_LIMIT, async { templates::view(&mut *self.pool.acquire().await?, template).await }).await
    }

    async fn templates(&self, page: &Page) -> StoreResult<Paged<TemplateView>> {
        within(VERB_LIMIT, async { templates::list(&mut *self.pool.acquire().await?, page).await }).await
    }

    async fn command_template(
        &self,
        template: TemplateId,
        command: TemplateCommand,
        by: &Actor,
    ) -> StoreResult<TemplateView> {
        let view = within(VERB_LIMIT, templates::command(self, template, command, by)).await?;
        self.hint();
        Ok(view)
    }
}

#[async_trait]
impl CampaignDispatch for PostgresStore {
    async fn claim_campaigns(&self, limit: u32, in_flight_max: u32, redispatch: Redispatch) -> StoreResult<Claimed> {
        within(VERB_LIMIT, claim::claim(self, limit, in_flight_max, redispatch)).await
    }

    async fn upkeep(&self) -> StoreResult<Upkeep> {
        Ok(upkeep::step(self).await?)
    }

    async fn tick(&self, failures_max: i32) -> StoreResult<Ticked> {
        Ok(templates::tick(self, failures_max).await?)
    }
}

/// The lock of whoever opens or cancels events for many accounts at once. Before any row. It is waited for, since each
/// holder has it for a moment.
pub(super) async fn lock_masses(db: &mut PgConnection) -> Result<(), Failure> {
    sqlx::query("/* campaigns: lock masses */ select pg_advisory_xact_lock(1684632419, 4)").execute(db).await?;
    Ok(())
}
