//! Whether an account still is what its campaign's filter asks: loaded by the worker, under the locks, for those events
//! alone.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::stored;
use crate::domain::account::AccountId;
use crate::domain::campaign::CampaignId;
use crate::domain::event::EventId;
use crate::domain::filter::Filter;
use crate::domain::plan::Standing;
use crate::domain::settings::{SettingKey, Settings};
use crate::store::StoreError;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::rows;

/// The filters that the accounts of these events, in the lanes of `campaigns`, have to match still. Each is parsed once.
/// Not of a child that is in the cohort because of its parent, while that one's place in it stands.
pub(in crate::store::postgres) async fn eligible(
    db: &mut PgConnection,
    campaigns: &[i64],
    events: &[i64],
) -> Result<HashMap<EventId, Arc<Filter>>, Failure> {
    let found: Vec<(i64, String)> = sqlx::query_as(
        "/* eligibility: filters */ select id, filter from campaigns where id = any($1) and filter is not null",
    )
    .bind(campaigns)
    .fetch_all(&mut *db)
    .await?;
    if found.is_empty() {
        return Ok(HashMap::new());
    }
    let filters = found
        .into_iter()
        .map(|(id, text)| Ok((CampaignId(id), Arc::new(stored::filter(&text)?))))
        .collect::<Result<HashMap<_, _>, Failure>>()?;
    let asked: Vec<(i64, i64)> = sqlx::query_as(
        "/* eligibility: events */
         select e.id, e.campaign_id
           from disconnect_events e
          cross join lateral (
                select m.parent_id
                  from accounts a
                  join campaign_members m on m.campaign_id = e.campaign_id and m.account_number = a.number
                 where a.id = e.account_id limit 1) m
          where e.id = any($1) and e.campaign_id is distinct from null
            and (m.parent_id is null
                 or (select true from disconnect_events p
                      where p.account_id = m.parent_id and p.campaign_id is not distinct from e.campaign_id
                        and p.outcome = 'no_longer_eligible' limit 1) is not null)",
    )
    .bind(events)
    .fetch_all(db)
    .await?;
    let of_event = |(event, campaign)| Some((EventId(event), Arc::clone(filters.get(&CampaignId(campaign))?)));
    Ok(asked.into_iter().filter_map(of_event).collect())
}

/// What a filter asks of accounts beside their snapshots.
pub(in crate::store::postgres) async fn standings(
    db: &mut PgConnection,
    accounts: &[i64],
    now: DateTime<Utc>,
) -> Result<HashMap<AccountId, Standing>, Failure> {
    let found = sqlx::query(
        r#"/* eligibility: standings */
           select a.id, a.zone, p.number as parent, c.value as company_zone,
                  array(select g.name from account_groups m join groups g on g.id = m.group_id
                         where m.account_id = a.id order by g.name collate "C") as groups
             from accounts a
             left join accounts p on p.id = a.parent_id
             left join settings c on c.key = $2
            where a.id = any($1)"#,
    )
    .bind(accounts)
    .bind(SettingKey::CompanyZone.as_str())
    .fetch_all(db)
    .await?;
    let mut standings = HashMap::with_capacity(found.len());
    for row in &found {
        let mut settings = Settings::default();
        if let Some(value) = row.try_get::<Option<&str>, _>("company_zone")? {
            settings.set(SettingKey::CompanyZone, value).map_err(StoreError::Rejected)?;
        }
        let standing = Standing {
            groups: row.try_get("groups")?,
            parent: rows::number(row.try_get("parent")?),
            zone: rows::zone(row.try_get("zone")?)?.unwrap_or(settings.company_zone),
            today: now.with_timezone(&settings.company_zone).date_naive(),
        };
        standings.insert(AccountId(row.try_get("id")?), standing);
    }
    Ok(standings)
}
