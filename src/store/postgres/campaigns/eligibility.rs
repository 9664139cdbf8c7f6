//! Whether an account still is what its campaign's filter asks: loaded by the worker, under the locks, for those events
//! alone.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::{selection, stored};
use crate::domain::account::AccountId;
use crate::domain::campaign::CampaignId;
use crate::domain::campaign::cohort::{Place, stands};
use crate::domain::event::{EventId, Outcome, State};
use crate::domain::filter::Filter;
use crate::domain::plan::Standing;
use crate::domain::settings::{SettingKey, Settings};
use crate::store::StoreError;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::rows;

pub(in crate::store::postgres) type Filters = HashMap<CampaignId, Arc<Filter>>;

/// Those of `campaigns` of which nothing may begin, and the filters of the others, each parsed once. To be called when the
/// events are locked: a campaign that is stopped later than that is answered once they have ended.
pub(in crate::store::postgres) async fn stopped_and_filters(
    db: &mut PgConnection,
    campaigns: &[i64],
) -> Result<(HashSet<CampaignId>, Filters), Failure> {
    let found: Vec<(i64, bool, Option<String>)> = sqlx::query_as(
        "/* eligibility: campaigns */
         select id, state in ('paused', 'aborted'), filter from campaigns
          where id = any($1) and (state in ('paused', 'aborted') or filter is not null)",
    )
    .bind(campaigns)
    .fetch_all(&mut *db)
    .await?;
    let (mut stopped, mut filters) = (HashSet::new(), HashMap::new());
    for (id, is_stopped, filter) in found {
        if is_stopped {
            stopped.insert(CampaignId(id));
        } else if let Some(text) = filter {
            filters.insert(CampaignId(id), Arc::new(stored::filter(&text)?));
        }
    }
    Ok((stopped, filters))
}

/// The filters that the accounts of these events have to match still. Not of a child that is in the cohort because of its
/// parent, while that one's place in it [`stands`].
pub(in crate::store::postgres) async fn eligible(
    db: &mut PgConnection,
    filters: Filters,
    events: &[i64],
    now: DateTime<Utc>,
) -> Result<HashMap<EventId, Arc<Filter>>, Failure> {
    if filters.is_empty() {
        return Ok(HashMap::new());
    }
    let asked: Vec<(i64, i64, Option<i64>)> = sqlx::query_as(
        "/* eligibility: events */
         select e.id, e.campaign_id, m.parent_id
           from disconnect_events e
          cross join lateral (
                select m.parent_id
                  from accounts a
                  join campaign_members m on m.campaign_id = e.campaign_id and m.account_number = a.number
                 where a.id = e.account_id limit 1) m
          where e.id = any($1) and e.campaign_id is distinct from null",
    )
    .bind(events)
    .fetch_all(&mut *db)
    .await?;
    let mut parents: HashMap<CampaignId, BTreeSet<i64>> = HashMap::new();
    for (_, campaign, parent) in &asked {
        if filters.contains_key(&CampaignId(*campaign)) {
            parents.entry(CampaignId(*campaign)).or_default().extend(*parent);
        }
    }
    let mut places = HashMap::new();
    for (campaign, parents) in parents {
        places.insert(campaign, places_of(db, campaign, parents, &filters[&campaign], now).await?);
    }
    let mut eligible = HashMap::with_capacity(asked.len());
    for (event, campaign, parent) in asked {
        let campaign = CampaignId(campaign);
        let (Some(filter), Some(places)) = (filters.get(&campaign), places.get(&campaign)) else { continue };
        if parent.is_none_or(|parent| !stands(places, AccountId(parent))) {
            eligible.insert(EventId(event), Arc::clone(filter));
        }
    }
    Ok(eligible)
}

/// Account, parent, state and outcome of its event.
type Found = (i64, Option<i64>, Option<String>, Option<String>);

/// Of these members, and of those that they were taken in with, as far as that matters.
async fn places_of(
    db: &mut PgConnection,
    campaign: CampaignId,
    mut accounts: BTreeSet<i64>,
    filter: &Filter,
    now: DateTime<Utc>,
) -> Result<HashMap<AccountId, Place>, Failure> {
    let mut places = HashMap::new();
    while !accounts.is_empty() {
        let asked: Vec<i64> = std::mem::take(&mut accounts).into_iter().collect();
        let found: Vec<Found> = sqlx::query_as(
            "/* eligibility: places */
             select a.id, m.parent_id, e.state, e.outcome
               from accounts a
               join campaign_members m on m.campaign_id = $1 and m.account_number = a.number
               left join lateral (
                    select state, outcome from all_disconnect_events where id = m.event_id limit 1) e on true
              where a.id = any($2)",
        )
        .bind(campaign.0)
        .bind(&asked)
        .fetch_all(&mut *db)
        .await?;
        for (account, parent, state, outcome) in found {
            let event = state
                .as_deref()
                .and_then(State::parse)
                .map(|state| (state, outcome.as_deref().and_then(Outcome::parse)));
            if event.is_some_and(|(state, _)| state.is_open()) {
                accounts.extend(parent.filter(|parent| !places.contains_key(&AccountId(*parent))));
            }
            places.insert(AccountId(account), Place { parent: parent.map(AccountId), event, matches: false });
        }
    }
    let open = places.iter().filter(|(_, place)| place.event.is_some_and(|(state, _)| state.is_open()));
    let open: Vec<i64> = open.map(|(account, _)| account.0).collect();
    if !open.is_empty() {
        let settings = Settings { company_zone: company_zone(db).await?, ..Settings::default() };
        for account in selection::of(db, &open, &settings, now).await? {
            if let Some(place) = places.get_mut(&AccountId(account.id)) {
                place.matches = filter.matches(&account.candidate());
            }
        }
    }
    Ok(places)
}

/// What is wrong with other settings stops no disconnect.
async fn company_zone(db: &mut PgConnection) -> Result<Tz, Failure> {
    let value: Option<String> = sqlx::query_scalar("/* eligibility: zone */ select value from settings where key = $1")
        .bind(SettingKey::CompanyZone.as_str())
        .fetch_optional(db)
        .await?;
    let mut settings = Settings::default();
    if let Some(value) = value {
        settings.set(SettingKey::CompanyZone, &value).map_err(StoreError::Rejected)?;
    }
    Ok(settings.company_zone)
}

/// What a filter asks of accounts beside their snapshots.
pub(in crate::store::postgres) async fn standings(
    db: &mut PgConnection,
    accounts: &[i64],
    now: DateTime<Utc>,
) -> Result<HashMap<AccountId, Standing>, Failure> {
    let found = sqlx::query(
        r#"/* eligibility: standings */
           select a.id, a.zone, p.number as parent,
                  array(select g.name from account_groups m join groups g on g.id = m.group_id
                         where m.account_id = a.id order by g.name collate "C") as groups
             from accounts a
             left join accounts p on p.id = a.parent_id
            where a.id = any($1)"#,
    )
    .bind(accounts)
    .fetch_all(&mut *db)
    .await?;
    let company_zone = company_zone(db).await?;
    let mut standings = HashMap::with_capacity(found.len());
    for row in &found {
        let standing = Standing {
            groups: row.try_get("groups")?,
            parent: rows::number(row.try_get("parent")?),
            zone: rows::zone(row.try_get("zone")?)?.unwrap_or(company_zone),
            today: now.with_timezone(&company_zone).date_naive(),
        };
        standings.insert(AccountId(row.try_get("id")?), standing);
    }
    Ok(standings)
}
