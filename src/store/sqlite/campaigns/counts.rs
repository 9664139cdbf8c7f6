//! How many members are where: tallies that transactions append, and what is counted over small indexes.

use std::collections::{BTreeMap, HashMap};

use sqlx::SqliteConnection;

use super::super::failure::failure;
use super::super::rows::{expect_rows, get, json, word};
use crate::domain::campaign::{CampaignId, Counts, Live, Tally, TallyKind, Totals, add_up};
use crate::domain::money::Currency;
use crate::store::StoreResult;

/// So many rows of tallies of a campaign are folded into a few by its next claim.
const ROWS_MAX: i64 = 100;

/// In a transaction, so that it is one view.
pub async fn of(
    connection: &mut SqliteConnection,
    campaigns: &[i64],
) -> StoreResult<HashMap<CampaignId, (Counts, Totals)>> {
    let ids = json(campaigns)?;
    // `indexed by`: each of these indexes holds little, and without them SQLite may go through all events.
    let live = sqlx::query(
        "/* counts: live */ select c.id, c.accounts,
                (select count(*) from disconnect_events e indexed by disconnect_events_in_flight
                  where e.campaign_id = c.id and e.state = 'queued') as queued,
                (select count(*) from disconnect_events e indexed by disconnect_events_troubled
                  where e.campaign_id = c.id and e.failures > 0 and e.state in ('scheduled', 'queued', 'failed')
                    and e.state <> 'failed') as retrying,
                (select count(*) from disconnect_events e indexed by disconnect_events_troubled
                  where e.campaign_id = c.id and e.failures > 0 and e.state in ('scheduled', 'queued', 'failed')
                    and e.state = 'failed') as failed
           from json_each(?1) as asked cross join campaigns c on c.id = asked.value",
    )
    .bind(&ids)
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    let mut tallied = Tallies::load(connection, &ids).await?.by_campaign();
    let mut all = HashMap::with_capacity(live.len());
    for row in &live {
        let id = CampaignId(get(row, "id")?);
        let live = Live {
            accounts: get(row, "accounts")?,
            queued: get(row, "queued")?,
            retrying: get(row, "retrying")?,
            failed: get(row, "failed")?,
        };
        all.insert(id, add_up(live, &tallied.remove(&id).unwrap_or_default()));
    }
    Ok(all)
}

pub async fn of_one(connection: &mut SqliteConnection, campaign: CampaignId) -> StoreResult<Counts> {
    let (counts, _) = of(connection, &[campaign.0]).await?.remove(&campaign).unwrap_or_default();
    Ok(counts)
}

/// What is to be appended, or was: summed by campaign, kind and currency.
#[derive(Default)]
pub struct Tallies(BTreeMap<(CampaignId, &'static str, Option<Currency>), Sums>);

#[derive(Default, Clone, Copy)]
struct Sums {
    count: i64,
    amount: i64,
    invoices: i64,
    addresses: i64,
}

impl Tallies {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `amount`: in minor units of the currency.
    pub fn count(&mut self, campaign: CampaignId, kind: TallyKind, count: i64, amount: Option<(i64, Currency)>) {
        let currency = amount.map(|(_, currency)| currency);
        let sums = self.0.entry((campaign, kind.as_str(), currency)).or_default();
        sums.count += count;
        // More than any installation has: rather the most there is than a panic.
        sums.amount = sums.amount.saturating_add(amount.map_or(0, |(amount, _)| amount));
    }

    /// One disconnect. `invoiced`: its final invoice.
    pub fn disconnected(&mut self, campaign: CampaignId, invoiced: Option<(i64, Currency)>, addresses: i64) {
        self.count(campaign, TallyKind::Disconnected, 1, invoiced);
        let key = (campaign, TallyKind::Disconnected.as_str(), invoiced.map(|(_, currency)| currency));
        let sums = self.0.entry(key).or_default();
        sums.invoices += i64::from(invoiced.is_some());
        sums.addresses += addresses;
    }

    /// Appends a row for each, whatever the number of accounts.
    pub async fn append(&self, connection: &mut SqliteConnection) -> StoreResult<()> {
        if self.is_empty() {
            return Ok(());
        }
        let rows = self.0.iter().map(|((campaign, kind, currency), sums)| {
            (campaign.0, kind, currency.map(Currency::code), sums.count, sums.amount, sums.invoices, sums.addresses)
        });
        let written = sqlx::query(
            "/* tallies: append */ insert into campaign_tallies
                    (campaign_id, kind, currency, count, amount, invoices, addresses)
             select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6
               from json_each(?1)",
        )
        .bind(json(&rows.collect::<Vec<_>>())?)
        .execute(connection)
        .await
        .map_err(failure)?;
        expect_rows(&written, self.0.len(), "tallies: append")
    }

    /// `campaigns`: ids, as JSON.
    async fn load(connection: &mut SqliteConnection, campaigns: &str) -> StoreResult<Self> {
        let rows = sqlx::query(
            "/* tallies: load */ select t.campaign_id, t.kind, t.currency, t.count, t.amount, t.invoices, t.addresses
               from json_each(?1) as asked cross join campaign_tallies t on t.campaign_id = asked.value",
        )
        .bind(campaigns)
        .fetch_all(connection)
        .await
        .map_err(failure)?;
        // Summed here: SQLite's sum() fails where an integer overflows.
        let mut tallies = Self::default();
        for row in &rows {
            let kind = word(row, "kind", TallyKind::parse)?;
            let currency = super::super::rows::optional_currency(row, "currency")?;
            let sums = tallies.0.entry((CampaignId(get(row, "campaign_id")?), kind.as_str(), currency)).or_default();
            sums.count += get::<i64, _>(row, "count")?;
            sums.amount = sums.amount.saturating_add(get(row, "amount")?);
            sums.invoices += get::<i64, _>(row, "invoices")?;
            sums.addresses += get::<i64, _>(row, "addresses")?;
        }
        Ok(tallies)
    }

    fn by_campaign(self) -> HashMap<CampaignId, Vec<Tally>> {
        let mut all: HashMap<CampaignId, Vec<Tally>> = HashMap::new();
        for ((campaign, kind, currency), sums) in self.0 {
            let Some(kind) = TallyKind::parse(kind) else { continue };
            let Sums { count, amount, invoices, addresses } = sums;
            all.entry(campaign).or_default().push(Tally { kind, currency, count, amount, invoices, addresses });
        }
        all
    }
}

/// One event of a campaign was cancelled.
pub async fn tally_cancelled(connection: &mut SqliteConnection, campaign: CampaignId) -> StoreResult<()> {
    let mut tallies = Tallies::default();
    tallies.count(campaign, TallyKind::Cancelled, 1, None);
    tallies.append(connection).await
}

/// Folds the tallies of a campaign into a row for each kind and currency, where there are many. Nobody sees it half
/// done: it is part of a transaction.
pub async fn fold(connection: &mut SqliteConnection, campaign: CampaignId) -> StoreResult<()> {
    let rows: i64 =
        sqlx::query_scalar("/* tallies: rows */ select count(*) from campaign_tallies where campaign_id = ?1")
            .bind(campaign.0)
            .fetch_one(&mut *connection)
            .await
            .map_err(failure)?;
    if rows <= ROWS_MAX {
        return Ok(());
    }
    let folded = Tallies::load(connection, &json(&[campaign.0])?).await?;
    sqlx::query("/* tallies: fold */ delete from campaign_tallies where campaign_id = ?1")
        .bind(campaign.0)
        .execute(&mut *connection)
        .await
        .map_err(failure)?;
    folded.append(connection).await
}
