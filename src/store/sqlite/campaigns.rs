//! Campaigns: made, commanded, looked at, and claimed. The lock of the whole database is the lock of the campaign's row.

mod claim;
mod cohort;
mod commands;
mod counts;
mod dry_run;
mod eligibility;
mod enlist;
mod families;
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
use tokio::sync::mpsc;

pub use self::counts::{Tallies, tally_cancelled};
pub use self::eligibility::{eligible, standings};
pub use self::leftovers::cancel_leftovers;
pub(super) use self::leftovers::stands;
use super::SqliteStore;
use super::failure::failure;
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
impl Campaigns for SqliteStore {
    async fn create_campaign(&self, draft: &Draft, cohort: Cohort, making: Making<'_>) -> StoreResult<Made> {
        self.make_campaign(draft, cohort, making).await
    }

    async fn change_campaign(
        &self,
        campaign: CampaignId,
        revision: &Revision,
        cohort: Option<(Draft, Cohort)>,
        by: &Actor,
        making: Making<'_>,
    ) -> StoreResult<Made> {
        self.revise_campaign(campaign, revision, cohort, by, making).await
    }

    async fn campaign(&self, campaign: CampaignId) -> StoreResult<CampaignView> {
        let mut tx = self.read().await?;
        stored::view(&mut tx, campaign, self.now()).await
    }

    async fn campaigns(&self, filter: &CampaignFilter, page: &Page) -> StoreResult<Paged<CampaignView>> {
        let mut tx = self.read().await?;
        let found = stored::found(&mut tx, filter, page).await?;
        let views = stored::views(&mut tx, &found, self.now()).await?;
        Ok(Paged::cut(views, page.limit, |view| view.id.to_string()))
    }

    async fn campaigns_under_way(&self) -> StoreResult<UnderWay> {
        let mut tx = self.read().await?;
        let counts = sqlx::query_as(
            "/* campaigns: under way */ select pause_cause, count(*) from campaigns
              where state in ('running', 'paused') group by pause_cause",
        )
        .fetch_all(&mut *tx)
        .await
        .map_err(failure)?;
        Ok(UnderWay::of(counts))
    }

    async fn dry_run(&self, campaign: CampaignId) -> StoreResult<DryRun> {
        let mut tx = self.read().await?;
        dry_run::shown(&mut tx, campaign, self.now()).await
    }

    async fn blockers(&self, campaign: CampaignId, to: mpsc::Sender<Vec<Blocker>>) -> StoreResult<()> {
        let mut tx = self.read().await?;
        dry_run::blockers(&mut tx, campaign, self.now(), &to).await
    }

    async fn approve_campaign(
        &self,
        campaign: CampaignId,
        digest: Option<&str>,
        by: &Actor,
    ) -> StoreResult<CampaignView> {
        self.approve(campaign, digest, by).await
    }

    async fn start_campaign(&self, campaign: CampaignId, digest: Option<&str>, by: &Actor) -> StoreResult<Commanded> {
        let commanded = self.start(campaign, digest, by).await;
        self.hints.hint();
        commanded
    }

    async fn command_campaign(&self, campaign: CampaignId, command: &Command, by: &Actor) -> StoreResult<Commanded> {
        let commanded = match command {
            Command::Start => self.start(campaign, None, by).await,
            Command::Retry => self.retry(campaign, by).await,
            Command::Pause { .. } | Command::Resume | Command::Abort { .. } => {
                self.command(campaign, command, by).await
            }
        };
        self.hints.hint();
        commanded
    }

    async fn report(&self, campaign: CampaignId, to: mpsc::Sender<Vec<ReportRow>>) -> StoreResult<()> {
        let mut tx = self.read().await?;
        report::report(&mut tx, campaign, &to).await
    }

    async fn campaign_log(&self, campaign: CampaignId, page: &Page) -> StoreResult<Paged<Entry>> {
        let mut tx = self.read().await?;
        log::list(&mut tx, campaign, page).await
    }

    async fn create_template(&self, template: &NewTemplate) -> StoreResult<TemplateView> {
        let view = self.add_template(template).await?;
        self.hints.hint();
        Ok(view)
    }

    async fn template(&self, template: TemplateId) -> StoreResult<TemplateView> {
        let mut tx = self.read().await?;
        templates::view(&mut tx, template).await
    }

    async fn templates(&self, page: &Page) -> StoreResult<Paged<TemplateView>> {
        let mut tx = self.read().await?;
        templates::list(&mut tx, page).await
    }

    async fn command_template(
        &self,
        template: TemplateId,
        command: TemplateCommand,
        by: &Actor,
    ) -> StoreResult<TemplateView> {
        let view = self.change_template(template, command, by).await?;
        self.hints.hint();
        Ok(view)
    }
}

#[async_trait]
impl CampaignDispatch for SqliteStore {
    async fn claim_campaigns(&self, limit: u32, in_flight_max: u32, redispatch: Redispatch) -> StoreResult<Claimed> {
        self.claim_lanes(limit, in_flight_max, redispatch).await
    }

    async fn upkeep(&self) -> StoreResult<Upkeep> {
        self.keep_up().await
    }

    async fn tick(&self, failures_max: i32) -> StoreResult<Ticked> {
        self.tick_templates(failures_max).await
    }
}
