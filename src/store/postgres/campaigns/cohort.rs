//! Making a campaign with its cohort, and changing it before it has begun.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

use super::filling::{Filled, Filling};
use super::log as campaign_log;
use super::stored::{self, Stored, json};
use crate::domain::actor::Actor;
use crate::domain::campaign::cohort::BadRows;
use crate::domain::campaign::log;
use crate::domain::campaign::template::TemplateId;
use crate::domain::campaign::{CampaignId, Draft, Revision, State, Terms};
use crate::domain::dispositions::Disposition;
use crate::domain::filter::Filter;
use crate::domain::settings::Settings;
use crate::store::campaigns::{Cohort, Made, Making};
use crate::store::postgres::failure::{Failure, expect_rows};
use crate::store::postgres::{BULK_LIMIT, PostgresStore, VERB_LIMIT, installation, within};

pub(super) async fn create(
    store: &PostgresStore,
    draft: &Draft,
    cohort: Cohort,
    making: Making<'_>,
) -> Result<Made, Failure> {
    let mut tx = within(VERB_LIMIT, store.begin()).await?;
    let campaign = match make(&mut tx, draft, cohort, None, &making).await? {
        Ok(campaign) => campaign,
        Err(bad) => {
            tx.rollback().await;
            return Ok(Made::BadRows(bad));
        }
    };
    let view = within(VERB_LIMIT, stored::view(&mut tx, campaign)).await?;
    within(BULK_LIMIT, tx.commit()).await?;
    Ok(Made::Campaign(Box::new(view)))
}

/// In the transaction of `db`. `tick`: of the template that makes it.
pub(super) async fn make(
    db: &mut PgConnection,
    draft: &Draft,
    cohort: Cohort,
    tick: Option<(TemplateId, DateTime<Utc>)>,
    making: &Making<'_>,
) -> Result<Result<CampaignId, BadRows>, Failure> {
    let begin = async {
        prepare(db).await?;
        let campaign = insert(db, draft, tick).await?;
        Ok((campaign, installation::settings(db).await?, now(db).await?))
    };
    let (campaign, settings, now) = within(VERB_LIMIT, begin).await?;
    let of = Members { terms: &draft.terms, late: draft.late, everyone: draft.everyone, settings: &settings, now };
    let filled = match fill(db, campaign, &of, cohort, making).await? {
        Ok(filled) => filled,
        Err(bad) => return Ok(Err(bad)),
    };
    let counted = async {
        let done = sqlx::query(
            "/* cohort: counted */
             update campaigns set accounts = $2, fingerprint = $3, state = $4 where id = $1",
        )
        .bind(campaign.0)
        .bind(filled.accounts)
        .bind(&filled.fingerprint)
        .bind(state(filled.accounts, &settings).as_str())
        .execute(&mut *db)
        .await?;
        expect_rows("campaigns to count", 1, done.rows_affected())
    };
    within(VERB_LIMIT, counted).await?;
    let told = log::made(filled.accounts, draft.filter.as_ref().map(Filter::text));
    within(VERB_LIMIT, campaign_log::write(db, campaign, told, &draft.by)).await?;
    Ok(Ok(campaign))
}

/// The list may come from a person's keyboard.
async fn prepare(db: &mut PgConnection) -> Result<(), Failure> {
    sqlx::raw_sql("/* cohort: await the list */ set local idle_in_transaction_session_timeout = 0").execute(db).await?;
    Ok(())
}

async fn now(db: &mut PgConnection) -> Result<DateTime<Utc>, Failure> {
    Ok(sqlx::query_scalar("/* cohort: now */ select clock_timestamp()").fetch_one(db).await?)
}

/// Larger cohorts wait for somebody else.
fn state(accounts: i64, settings: &Settings) -> State {
    if accounts > i64::from(settings.campaign_approval_over) { State::AwaitingApproval } else { State::Draft }
}

/// What the members of a cohort are made by.
pub(super) struct Members<'a> {
    pub(super) terms: &'a Terms,
    pub(super) late: bool,
    pub(super) everyone: bool,
    pub(super) settings: &'a Settings,
    pub(super) now: DateTime<Utc>,
}

async fn fill(
    db: &mut PgConnection,
    campaign: CampaignId,
    of: &Members<'_>,
    cohort: Cohort,
    making: &Making<'_>,
) -> Result<Result<Filled, BadRows>, Failure> {
    let mut filling = Filling::new(db, campaign, of, making);
    match cohort {
        Cohort::Rows(rows) => {
            if let Some(bad) = filling.add_rows(rows).await? {
                return Ok(Err(bad));
            }
        }
        Cohort::Filter(filter) => filling.add_selected(&filter).await?,
    }
    if of.terms.children == Some(Disposition::Disconnect) {
        filling.add_children().await?;
    }
    Ok(Ok(filling.end()))
}

async fn insert(
    db: &mut PgConnection,
    draft: &Draft,
    tick: Option<(TemplateId, DateTime<Utc>)>,
) -> Result<CampaignId, Failure> {
    let id = sqlx::query_scalar(
        "/* cohort: campaign */
         insert into campaigns (name, state, terms, filter, failures_max, accounts, fingerprint, created_by,
                                created_from, changed_by, template_id, tick_at)
         values ($1, 'draft', $2, $3, $4, 0, '', $5, $6, $7, $8, $9)
         returning id",
    )
    .bind(&draft.name)
    .bind(json(&draft.terms)?)
    .bind(draft.filter.as_ref().map(Filter::text))
    .bind(draft.failures_max)
    .bind(&draft.by.name)
    .bind(draft.by.source.as_str())
    .bind(json(&[&draft.by.name])?)
    .bind(tick.map(|(template, _)| template.0))
    .bind(tick.map(|(_, at)| at))
    .fetch_one(db)
    .await?;
    Ok(CampaignId(id))
}

pub(super) async fn change(
    store: &PostgresStore,
    campaign: CampaignId,
    revision: &Revision,
    cohort: Option<(Draft, Cohort)>,
    by: &Actor,
    making: Making<'_>,
) -> Result<Made, Failure> {
    let mut tx = within(VERB_LIMIT, store.begin()).await?;
    let begin = async {
        let stored = stored::lock(&mut tx, campaign).await?;
        let settings = installation::settings(&mut tx).await?;
        stored.facts(&settings, 0).revise(revision)?;
        prepare(&mut tx).await?;
        Ok((stored, settings, now(&mut tx).await?))
    };
    let (stored, settings, now) = within(VERB_LIMIT, begin).await?;
    let mut changed = Changed::of(&stored, revision, by);
    let filled = if let Some((draft, cohort)) = cohort {
        changed.has_new_cohort = true;
        changed.filter = draft.filter.as_ref().map(|filter| filter.text().to_owned());
        changed.failures_max = draft.failures_max;
        changed.by.insert(draft.by.name);
        let of =
            Members { terms: &changed.terms, late: draft.late, everyone: draft.everyone, settings: &settings, now };
        within(BULK_LIMIT, remove_members(&mut tx, campaign)).await?;
        match fill(&mut tx, campaign, &of, cohort, &making).await? {
            Ok(filled) => filled,
            Err(bad) => {
                tx.rollback().await;
                return Ok(Made::BadRows(bad));
            }
        }
    } else {
        let of = Members { terms: &changed.terms, late: true, everyone: true, settings: &settings, now };
        refill(&mut tx, &stored, &of, &making).await?
    };
    let view = async {
        if changed.is_new(&stored, &filled) {
            changed.write(&mut tx, campaign, &filled, state(filled.accounts, &settings)).await?;
            let told = log::changed(stored.revision + 1, filled.accounts);
            campaign_log::write(&mut tx, campaign, told, by).await?;
        }
        stored::view(&mut tx, campaign).await
    };
    let view = within(VERB_LIMIT, view).await?;
    within(BULK_LIMIT, tx.commit()).await?;
    Ok(Made::Campaign(Box::new(view)))
}

/// The list stays as it is, and its members' dates. Children come or go where the terms say otherwise than before; those
/// who became children since are not added to what is frozen.
async fn refill(
    db: &mut PgConnection,
    stored: &Stored,
    of: &Members<'_>,
    making: &Making<'_>,
) -> Result<Filled, Failure> {
    let (were_in, are_in) =
        [&stored.terms, of.terms].map(|terms| terms.children == Some(Disposition::Disconnect)).into();
    if were_in && !are_in {
        let remove = async {
            // They stand behind all others, so that the positions have no gaps.
            sqlx::query(
                "/* cohort: without children */
                 delete from campaign_members where campaign_id = $1 and parent_id is not null",
            )
            .bind(stored.id.0)
            .execute(&mut *db)
            .await?;
            Ok(())
        };
        within(BULK_LIMIT, remove).await?;
    }
    let mut filling = Filling::new(db, stored.id, of, making);
    filling.read_again().await?;
    if are_in && !were_in {
        filling.add_children().await?;
    }
    Ok(filling.end())
}

async fn remove_members(db: &mut PgConnection, campaign: CampaignId) -> Result<(), Failure> {
    sqlx::query("/* cohort: no members */ delete from campaign_members where campaign_id = $1")
        .bind(campaign.0)
        .execute(db)
        .await?;
    Ok(())
}

/// A campaign as it is to be.
struct Changed {
    name: String,
    terms: Terms,
    filter: Option<String>,
    failures_max: i32,
    by: BTreeSet<String>,
    has_new_cohort: bool,
}

impl Changed {
    fn of(stored: &Stored, revision: &Revision, by: &Actor) -> Self {
        let mut makers = stored.changed_by.clone();
        makers.insert(by.name.clone());
        Self {
            name: revision.name.clone().unwrap_or_else(|| stored.name.clone()),
            terms: revision.terms.clone().unwrap_or_else(|| stored.terms.clone()),
            filter: stored.filter.clone(),
            failures_max: stored.failures_max,
            by: makers,
            has_new_cohort: false,
        }
    }

    /// Who changes nothing has not made it what it is.
    fn is_new(&self, stored: &Stored, filled: &Filled) -> bool {
        self.has_new_cohort
            || self.name != stored.name
            || self.terms != stored.terms
            || filled.fingerprint != stored.fingerprint
    }

    /// An approval was for what it was.
    async fn write(
        &self,
        db: &mut PgConnection,
        campaign: CampaignId,
        filled: &Filled,
        state: State,
    ) -> Result<(), Failure> {
        let written = sqlx::query(
            "/* cohort: change campaign */
             update campaigns
                set name = $2, terms = $3, filter = $4, failures_max = $5, changed_by = $6, accounts = $7,
                    fingerprint = $8, state = $9, revision = revision + 1, approved_revision = null,
                    approved_at = null, approved_by = null, agreed = null
              where id = $1",
        )
        .bind(campaign.0)
        .bind(&self.name)
        .bind(json(&self.terms)?)
        .bind(&self.filter)
        .bind(self.failures_max)
        .bind(json(&self.by)?)
        .bind(filled.accounts)
        .bind(&filled.fingerprint)
        .bind(state.as_str())
        .execute(db)
        .await?;
        expect_rows("campaigns to change", 1, written.rows_affected())
    }
}
