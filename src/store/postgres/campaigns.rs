//! Campaigns: made, commanded, looked at, and claimed.

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::PostgresStore;
use crate::domain::actor::Actor;
use crate::domain::campaign::cohort::Blocker;
use crate::domain::campaign::dry_run::DryRun;
use crate::domain::campaign::report::ReportRow;
use crate::domain::campaign::template::{NewTemplate, TemplateCommand, TemplateId, TemplateView};
use crate::domain::campaign::{CampaignId, CampaignView, Command, Draft, Revision};
use crate::store::campaigns::{
    CampaignDispatch, CampaignFilter, Campaigns, Claimed, Cohort, Commanded, Made, Making, Upkeep,
};
use crate::store::{Page, Paged, Redispatch, StoreError, StoreResult};

#[async_trait]
impl Campaigns for PostgresStore {
    async fn create_campaign(&self, _: &Draft, _: Cohort, _: Making<'_>) -> StoreResult<Made> {
        nothing()
    }

    async fn change_campaign(
        &self,
        _: CampaignId,
        _: &Revision,
        _: Option<(Draft, Cohort)>,
        _: &Actor,
        _: Making<'_>,
    ) -> StoreResult<Made> {
        nothing()
    }

    async fn campaign(&self, _: CampaignId) -> StoreResult<CampaignView> {
        nothing()
    }

    async fn campaigns(&self, _: &CampaignFilter, _: &Page) -> StoreResult<Paged<CampaignView>> {
        nothing()
    }

    async fn dry_run(&self, _: CampaignId) -> StoreResult<DryRun> {
        nothing()
    }

    async fn blockers(&self, _: CampaignId, _: mpsc::Sender<Vec<Blocker>>) -> StoreResult<()> {
        nothing()
    }

    async fn approve_campaign(&self, _: CampaignId, _: Option<&str>, _: &Actor) -> StoreResult<CampaignView> {
        nothing()
    }

    async fn start_campaign(&self, _: CampaignId, _: Option<&str>, _: &Actor) -> StoreResult<Commanded> {
        nothing()
    }

    async fn command_campaign(&self, _: CampaignId, _: &Command, _: &Actor) -> StoreResult<Commanded> {
        nothing()
    }

    async fn report(&self, _: CampaignId, _: mpsc::Sender<Vec<ReportRow>>) -> StoreResult<()> {
        nothing()
    }

    async fn create_template(&self, _: &NewTemplate) -> StoreResult<TemplateView> {
        nothing()
    }

    async fn template(&self, _: TemplateId) -> StoreResult<TemplateView> {
        nothing()
    }

    async fn templates(&self, _: &Page) -> StoreResult<Paged<TemplateView>> {
        nothing()
    }

    async fn command_template(&self, _: TemplateId, _: TemplateCommand, _: &Actor) -> StoreResult<TemplateView> {
        nothing()
    }
}

#[async_trait]
impl CampaignDispatch for PostgresStore {
    async fn claim_campaigns(&self, _: u32, _: u32, _: Redispatch) -> StoreResult<Claimed> {
        Ok(Claimed::default())
    }

    async fn upkeep(&self, _: i32) -> StoreResult<Upkeep> {
        Ok(Upkeep::default())
    }
}

fn nothing<T>() -> StoreResult<T> {
    Err(StoreError::Unusable("campaigns are not there yet".into()))
}
