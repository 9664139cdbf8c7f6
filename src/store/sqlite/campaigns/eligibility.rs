//! What a campaign whose cohort a filter made asks once more when the turn of an account comes.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;

use super::super::failure::{failure, unreadable};
use super::super::rows::{get, json, optional_number, texts, zone};
use super::super::settings;
use crate::domain::account::AccountId;
use crate::domain::campaign::CampaignId;
use crate::domain::event::EventId;
use crate::domain::filter::Filter;
use crate::domain::plan::Standing;
use crate::store::StoreResult;

/// The filters that the accounts of these events have to match still, each parsed once. Not of one that a person asked
/// for by itself since (it is in lane 0), and not of a child that is in the cohort because of its parent, while that
/// one's place in it stands.
pub async fn eligible(
    connection: &mut SqliteConnection,
    events: &[EventId],
) -> StoreResult<HashMap<EventId, Arc<Filter>>> {
    let ids: Vec<i64> = events.iter().map(|event| event.0).collect();
    // `+`: or SQLite goes through all events of the campaign.
    let rows = sqlx::query(
        "/* eligibility: events */ select e.id, e.campaign_id
           from json_each(?1) as asked cross join disconnect_events e on e.id = asked.value
           join campaigns c on c.id = e.campaign_id
           join accounts a on a.id = e.account_id
           join campaign_members m on m.campaign_id = c.id and m.account_number = a.number
          where e.lane <> 0 and c.filter is not null
            and (m.parent_id is null
                 or exists (select 1 from disconnect_events p
                             where p.account_id = m.parent_id and +p.campaign_id = c.id
                               and p.outcome = 'no_longer_eligible'))",
    )
    .bind(json(&ids)?)
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    let mut filters: HashMap<CampaignId, Arc<Filter>> = HashMap::new();
    let mut eligible = HashMap::with_capacity(rows.len());
    for row in &rows {
        let campaign = CampaignId(get(row, "campaign_id")?);
        let filter = if let Some(filter) = filters.get(&campaign) {
            Arc::clone(filter)
        } else {
            let filter = Arc::new(filter(connection, campaign).await?);
            filters.insert(campaign, Arc::clone(&filter));
            filter
        };
        eligible.insert(EventId(get(row, "id")?), filter);
    }
    Ok(eligible)
}

async fn filter(connection: &mut SqliteConnection, campaign: CampaignId) -> StoreResult<Filter> {
    let text: String = sqlx::query_scalar("/* eligibility: filter */ select filter from campaigns where id = ?1")
        .bind(campaign.0)
        .fetch_one(connection)
        .await
        .map_err(failure)?;
    Filter::parse(&text).map_err(|error| unreadable(&format!("the filter of campaign {campaign}: {error}")))
}

/// What of these accounts a filter asks about, beside what a snapshot has anyway.
pub async fn standings(
    connection: &mut SqliteConnection,
    accounts: &[AccountId],
    now: DateTime<Utc>,
) -> StoreResult<HashMap<AccountId, Standing>> {
    // What is wrong with other settings stops no disconnect.
    let (settings, _) = settings::readable(connection).await?;
    let ids: Vec<i64> = accounts.iter().map(|account| account.0).collect();
    let rows = sqlx::query(
        "/* eligibility: standings */ select a.id, a.zone, p.number as parent_number,
                (select json_group_array(g.name) from account_groups m join groups g on g.id = m.group_id
                  where m.account_id = a.id) as member_of
           from json_each(?1) as asked cross join accounts a on a.id = asked.value
           left join accounts p on p.id = a.parent_id",
    )
    .bind(json(&ids)?)
    .fetch_all(connection)
    .await
    .map_err(failure)?;
    let standing = |row| {
        let standing = Standing {
            groups: texts(row, "member_of")?,
            parent: optional_number(row, "parent_number")?,
            zone: zone(row, "zone")?.unwrap_or(settings.company_zone),
            today: now.with_timezone(&settings.company_zone).date_naive(),
        };
        Ok((AccountId(get(row, "id")?), standing))
    };
    rows.iter().map(standing).collect()
}
