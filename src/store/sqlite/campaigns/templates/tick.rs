//! A tick: the campaign is made, and started where somebody has approved that for good, in one transaction.

use chrono::{DateTime, Utc};
use sqlx::{Connection, SqliteConnection};

use super::super::super::SqliteStore;
use super::super::super::failure::{failure, unreadable};
use super::super::super::rows::at;
use super::super::super::settings::settings;
use super::super::cohort::{self, Built};
use super::super::{commands, stored};
use super::{note, view};
use crate::domain::actor::{Actor, Source};
use crate::domain::calendar::Cron;
use crate::domain::campaign::template::{self, Made, TemplateId, TemplateView, Tick};
use crate::domain::campaign::{CampaignId, Command, Draft};
use crate::domain::filter::Filter;
use crate::domain::refusal::Refusal;
use crate::store::campaigns::{Cohort, Ticked};
use crate::store::{StoreError, StoreResult};

/// The longest name of a campaign, in characters.
const NAME_MAX: usize = 200;

impl SqliteStore {
    pub(in super::super) async fn tick_templates(&self, failures_max: i32) -> StoreResult<Ticked> {
        let note = self.make_due(failures_max).await?;
        let next: Option<DateTime<Utc>> = sqlx::query_scalar(
            "/* template: next */ select min(next_at) from campaign_templates where next_at is not null",
        )
        .fetch_one(&self.readers)
        .await
        .map_err(failure)?;
        let now = self.now();
        Ok(Ticked { note, next: next.map(|at| (at - now).to_std().unwrap_or_default()) })
    }

    /// Makes the campaign of a template whose tick is due. Answers a sentence for the log.
    async fn make_due(&self, failures_max: i32) -> StoreResult<Option<String>> {
        let mut reader = self.reader().await?;
        let Some(id) = due(&mut reader, self.now()).await? else { return Ok(None) };
        let template = match view(&mut reader, id).await {
            Ok(template) => Ok(template),
            Err(StoreError::Rejected(error)) => Err(error),
            Err(error) => return Err(error),
        };
        drop(reader);
        let ready = template.and_then(|template| Ready::of(template, self.now(), failures_max));
        let ready = match ready {
            Ok(Some(ready)) => ready,
            Ok(None) => return Ok(None),
            // It would come up again at once, for ever.
            Err(error) => return self.switch_off(id, &error).await,
        };
        let mut connection = self.importer().await?;
        let cohort = Cohort::Filter(ready.filter.clone());
        let built = match self.build_for(&mut connection, &ready.draft, cohort).await {
            Ok(built) => Ok(built),
            Err(StoreError::Refused(Refusal::EmptyCohort { why })) => Err(why),
            Err(error @ (StoreError::Refused(_) | StoreError::Rejected(_))) => Err(error.to_string()),
            Err(error) => return Err(error),
        };
        let mut tx = self.write_on(&mut connection).await?;
        let now = self.now();
        let found = view(&mut tx, id).await?;
        if found != ready.template {
            // Somebody was at it meanwhile: the next round sees what it is now.
            return Ok(None);
        }
        let came = match built {
            // Where the clock was set back.
            Ok(_) if is_made(&mut tx, &ready).await? => "its campaign was made before".into(),
            Ok(built) => make(&mut tx, &ready, &built, now).await?,
            Err(why) => format!("no campaign was made: {why}"),
        };
        let came = format!("{came}{}", ready.tick.missed_note());
        note(&mut tx, id, ready.tick.tick_at, ready.tick.next_at, &came).await?;
        tx.commit().await.map_err(failure)?;
        connection.close().await.map_err(failure)?;
        Ok(Some(format!("campaign template {id} ({}): {came}", ready.template.name)))
    }

    async fn switch_off(&self, template: TemplateId, error: &str) -> StoreResult<Option<String>> {
        let mut tx = self.write().await?;
        let came = format!("it was switched off: {error}");
        note(&mut tx, template, self.now(), None, &came).await?;
        tx.commit().await.map_err(failure)?;
        Ok(Some(format!("campaign template {template}: {came}")))
    }
}

/// A template whose tick is due, with what the campaign is to be made by.
struct Ready {
    template: TemplateView,
    filter: Filter,
    tick: Tick,
    draft: Draft,
}

impl Ready {
    /// None: its tick is still to come.
    ///
    /// # Errors
    /// What of it can't be read.
    fn of(template: TemplateView, now: DateTime<Utc>, failures_max: i32) -> Result<Option<Self>, String> {
        let cron = Cron::parse_user(&template.cron)?;
        let filter = Filter::parse(&template.filter)?;
        let tick = template.next_at.and_then(|next_at| template::tick(&cron, template.zone, next_at, now));
        let Some(tick) = tick else { return Ok(None) };
        let when = tick.tick_at.with_timezone(&template.zone).format(" %Y-%m-%d %H:%M").to_string();
        let name: String = template.name.chars().take(NAME_MAX - when.chars().count()).collect();
        let draft = Draft {
            name: name + &when,
            terms: template.terms.clone(),
            filter: Some(filter.clone()),
            everyone: true,
            late: false,
            failures_max,
            by: Actor::new(template.created_by.clone(), Source::Worker),
        };
        Ok(Some(Self { template, filter, tick, draft }))
    }
}

async fn due(connection: &mut SqliteConnection, now: DateTime<Utc>) -> StoreResult<Option<TemplateId>> {
    let found: Option<i64> = sqlx::query_scalar(
        "/* template: due */ select id from campaign_templates where next_at <= ?1 order by next_at, id limit 1",
    )
    .bind(at(now))
    .fetch_optional(connection)
    .await
    .map_err(failure)?;
    Ok(found.map(TemplateId))
}

async fn is_made(connection: &mut SqliteConnection, ready: &Ready) -> StoreResult<bool> {
    sqlx::query_scalar(
        "/* template: is made */ select exists (select 1 from campaigns where template_id = ?1 and tick_at = ?2)",
    )
    .bind(ready.template.id.0)
    .bind(at(ready.tick.tick_at))
    .fetch_one(connection)
    .await
    .map_err(failure)
}

/// Answers what came of it, in a sentence.
async fn make(
    connection: &mut SqliteConnection,
    ready: &Ready,
    built: &Built,
    now: DateTime<Utc>,
) -> StoreResult<String> {
    let Ready { template, tick, draft, .. } = ready;
    let settings = settings(connection).await?;
    let id = cohort::insert(connection, draft, built, &settings, Some((template.id, tick.tick_at)), now).await?;
    let made = format!("campaign {id} over {} accounts was made", built.accounts);
    let waits = "and waits for somebody to start it";
    Ok(match template::made(built.accounts, template.accounts_max, template.approved_by.is_some()) {
        Made::Waits => format!("{made} {waits}"),
        Made::TooLarge => {
            format!("{made} {waits}, since the template lets at most {} start", template.accounts_max)
        }
        Made::Starts => match start(connection, id, template, now).await {
            Ok(()) => format!("{made} and started"),
            Err(StoreError::Refused(refusal)) => format!("{made} and could not start by itself: {refusal}"),
            Err(error) => return Err(error),
        },
    })
}

/// Starts it in the name of who has approved the template: that is the approval of each of its campaigns.
async fn start(
    connection: &mut SqliteConnection,
    id: CampaignId,
    template: &TemplateView,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    let by = template.approved_by.clone().ok_or_else(|| unreadable("a standing approval that is gone"))?;
    let by = Actor::new(by, Source::Worker);
    let stored = stored::load(connection, id).await?;
    let settings = settings(connection).await?;
    let agreed = commands::agree(connection, &stored, &settings, None, now).await?;
    commands::approve(connection, &stored, &agreed, &by, now).await?;
    let stored = stored::load(connection, id).await?;
    stored.facts(&settings, 0).command(&Command::Start)?;
    let agreed = crate::domain::campaign::dry_run::DryRun { is_approved: true, ..agreed };
    commands::begin(connection, id, &agreed, &by, now).await
}
