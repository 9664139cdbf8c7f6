//! What a campaign whose cohort a filter made asks once more when the turn of an account comes.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;

use super::super::failure::{failure, unreadable};
use super::super::rows::{get, json, optional_number, texts, zone};
use super::super::settings;
use super::selection;
use crate::domain::account::AccountId;
use crate::domain::campaign::CampaignId;
use crate::domain::campaign::cohort::{Place, stands};
use crate::domain::event::{EventId, Outcome, State};
use crate::domain::filter::Filter;
use crate::domain::plan::Standing;
use crate::store::StoreResult;

/// The filters that the accounts of these events have to match still, each parsed once. Not of one that a person asked
/// for by itself since (it is in lane 0), and not of a child that is in the cohort because of its parent, while that
/// one's place in it [`stands`].
pub async fn eligible(
    connection: &mut SqliteConnection,
    events: &[EventId],
    now: DateTime<Utc>,
) -> StoreResult<HashMap<EventId, Arc<Filter>>> {
    let ids: Vec<i64> = events.iter().map(|event| event.0).collect();
    let rows: Vec<(i64, i64, Option<i64>)> = sqlx::query_as(
        "/* eligibility: events */ select e.id, e.campaign_id, m.parent_id
           from json_each(?1) as asked cross join disconnect_events e on e.id = asked.value
           join campaigns c on c.id = e.campaign_id
           join accounts a on a.id = e.account_id
           join campaign_members m on m.campaign_id = c.id and m.account_number = a.number
          where e.lane <> 0 and c.filter is not null",
    )
    .bind(json(&ids)?)
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    let mut parents: HashMap<CampaignId, BTreeSet<i64>> = HashMap::new();
    for (_, campaign, parent) in &rows {
        parents.entry(CampaignId(*campaign)).or_default().extend(*parent);
    }
    let mut asked = HashMap::with_capacity(parents.len());
    for (campaign, parents) in parents {
        let filter = Arc::new(filter(connection, campaign).await?);
        let places = places_of(connection, campaign, parents, &filter, now).await?;
        asked.insert(campaign, (filter, places));
    }
    let mut eligible = HashMap::with_capacity(rows.len());
    for (event, campaign, parent) in rows {
        let Some((filter, places)) = asked.get(&CampaignId(campaign)) else { continue };
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
    connection: &mut SqliteConnection,
    campaign: CampaignId,
    mut accounts: BTreeSet<i64>,
    filter: &Filter,
    now: DateTime<Utc>,
) -> StoreResult<HashMap<AccountId, Place>> {
    let mut places = HashMap::new();
    while !accounts.is_empty() {
        let asked: Vec<i64> = std::mem::take(&mut accounts).into_iter().collect();
        let found: Vec<Found> = sqlx::query_as(
            "/* eligibility: places */ select a.id, m.parent_id, e.state, e.outcome
               from json_each(?2) as asked cross join accounts a on a.id = asked.value
               join campaign_members m on m.campaign_id = ?1 and m.account_number = a.number
               left join disconnect_events e on e.id = m.event_id",
        )
        .bind(campaign.0)
        .bind(json(&asked)?)
        .fetch_all(&mut *connection)
        .await
        .map_err(failure)?;
        for (account, parent, state, outcome) in found {
            let outcome = outcome.as_deref().and_then(Outcome::parse);
            let event = state.as_deref().and_then(State::parse).map(|state| (state, outcome));
            if event.is_some_and(|(state, _)| state.is_open()) {
                accounts.extend(parent.filter(|parent| !places.contains_key(&AccountId(*parent))));
            }
            places.insert(AccountId(account), Place { parent: parent.map(AccountId), event, matches: false });
        }
    }
    let open = places.iter().filter(|(_, place)| place.event.is_some_and(|(state, _)| state.is_open()));
    let open: Vec<i64> = open.map(|(account, _)| account.0).collect();
    if !open.is_empty() {
        let (settings, _) = settings::readable(connection).await?;
        for account in selection::of(connection, &open, &settings, now).await? {
            if let Some(place) = places.get_mut(&AccountId(account.id)) {
                place.matches = filter.matches(&account.candidate());
            }
        }
    }
    Ok(places)
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
