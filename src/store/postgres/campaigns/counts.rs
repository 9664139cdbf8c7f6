//! How many members are where: tallies that transactions append, and what is counted over small indexes.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use crate::domain::campaign::{CampaignId, Counts, Live, Tally, TallyKind, Totals, add_up};
use crate::domain::money::Currency;
use crate::domain::refusal::Refusal;
use crate::store::postgres::failure::{Failure, expect_rows};
use crate::store::postgres::rows;

/// So many rows of tallies of a campaign are folded into a few by its next claim: what a claim adds up stays short.
const ROWS_MAX: i64 = 200;

pub(super) struct Counted {
    pub(super) counts: Counts,
    pub(super) totals: Totals,
    pub(super) as_of: DateTime<Utc>,
}

/// In one statement, so that it is one view whatever the transaction is: what a worker commits is seen whole or not at
/// all, and so is a fold.
pub(super) async fn of(db: &mut PgConnection, campaigns: &[i64]) -> Result<HashMap<CampaignId, Counted>, Failure> {
    // Each count has an index that holds what it counts and little else. The conditions repeat those of the indexes.
    let found = sqlx::query(
        "/* campaigns: counts */
         with live as materialized (
             select c.id, c.accounts,
                    (select count(*) from disconnect_events e
                      where e.campaign_id = c.id and e.state = 'queued') as queued,
                    (select count(*) from disconnect_events e
                      where e.campaign_id = c.id and e.failures > 0 and e.state in ('scheduled', 'queued')) as retrying,
                    (select count(*) from disconnect_events e
                      where e.campaign_id = c.id and e.failures > 0 and e.state = 'failed') as failed
               from campaigns c
              where c.id = any($1)
         )
         select l.id, l.accounts, l.queued, l.retrying, l.failed, t.kind, t.currency, t.count, t.amount, t.invoices,
                t.addresses, clock_timestamp() as as_of
           from live l
           left join (select campaign_id, kind, currency, sum(count)::bigint as count,
                             least(sum(amount), 9223372036854775807)::bigint as amount,
                             sum(invoices)::bigint as invoices, sum(addresses)::bigint as addresses
                        from campaign_tallies
                       where campaign_id = any($1)
                       group by campaign_id, kind, currency) t on t.campaign_id = l.id",
    )
    .bind(campaigns)
    .fetch_all(db)
    .await?;
    let mut read: HashMap<CampaignId, (Live, DateTime<Utc>, Vec<Tally>)> = HashMap::with_capacity(campaigns.len());
    for row in &found {
        let live = Live {
            accounts: row.try_get("accounts")?,
            queued: row.try_get("queued")?,
            retrying: row.try_get("retrying")?,
            failed: row.try_get("failed")?,
        };
        let as_of = row.try_get("as_of")?;
        let (_, _, tallies) =
            read.entry(CampaignId(row.try_get("id")?)).or_insert_with(|| (live, as_of, Vec::with_capacity(8)));
        tallies.extend(tally(row)?);
    }
    let counted = read.into_iter().map(|(campaign, (live, as_of, tallies))| {
        let (counts, totals) = add_up(live, &tallies);
        (campaign, Counted { counts, totals, as_of })
    });
    Ok(counted.collect())
}

/// # Errors
/// [`Refusal::UnknownCampaign`].
pub(super) async fn of_one(db: &mut PgConnection, campaign: CampaignId) -> Result<Counted, Failure> {
    let found = of(db, &[campaign.0]).await?.remove(&campaign);
    Ok(found.ok_or(Refusal::UnknownCampaign { campaign })?)
}

/// `None`: the campaign has no tallies yet.
fn tally(row: &PgRow) -> Result<Option<Tally>, Failure> {
    let Some(kind) = row.try_get::<Option<&str>, _>("kind")? else { return Ok(None) };
    Ok(Some(Tally {
        kind: TallyKind::parse(kind).ok_or_else(|| rows::unreadable("kind of tally", kind))?,
        currency: row.try_get::<Option<&str>, _>("currency")?.map(rows::currency).transpose()?,
        count: row.try_get("count")?,
        amount: row.try_get("amount")?,
        invoices: row.try_get("invoices")?,
        addresses: row.try_get("addresses")?,
    }))
}

/// What a transaction is to append, summed by campaign, kind and currency.
#[derive(Default)]
pub(in crate::store::postgres) struct Tallies(BTreeMap<(CampaignId, &'static str, Option<Currency>), Sums>);

#[derive(Default, Clone, Copy)]
struct Sums {
    count: i64,
    amount: i64,
    invoices: i64,
    addresses: i64,
}

impl Tallies {
    /// `amount`: in minor units of the currency.
    pub(in crate::store::postgres) fn count(
        &mut self,
        campaign: CampaignId,
        kind: TallyKind,
        count: i64,
        amount: Option<(i64, Currency)>,
    ) {
        let sums = self.0.entry((campaign, kind.as_str(), amount.map(|(_, currency)| currency))).or_default();
        sums.count += count;
        // More than any installation has: rather the most there is than a panic.
        sums.amount = sums.amount.saturating_add(amount.map_or(0, |(amount, _)| amount));
    }

    /// One disconnect. `invoiced`: its final invoice.
    pub(in crate::store::postgres) fn disconnected(
        &mut self,
        campaign: CampaignId,
        invoiced: Option<(i64, Currency)>,
        addresses: i64,
    ) {
        self.count(campaign, TallyKind::Disconnected, 1, invoiced);
        let key = (campaign, TallyKind::Disconnected.as_str(), invoiced.map(|(_, currency)| currency));
        let sums = self.0.entry(key).or_default();
        sums.invoices += i64::from(invoiced.is_some());
        sums.addresses += addresses;
    }

    /// Appends a row for each sum, however many accounts are in it.
    pub(in crate::store::postgres) async fn append(&self, db: &mut PgConnection) -> Result<(), Failure> {
        if self.0.is_empty() {
            return Ok(());
        }
        let sums = || self.0.values();
        let appended = sqlx::query(
            "/* tallies: append */
             insert into campaign_tallies (campaign_id, kind, currency, count, amount, invoices, addresses)
             select * from unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[],
                                  $7::bigint[])",
        )
        .bind(self.0.keys().map(|(campaign, _, _)| campaign.0).collect::<Vec<_>>())
        .bind(self.0.keys().map(|(_, kind, _)| *kind).collect::<Vec<_>>())
        .bind(self.0.keys().map(|(_, _, currency)| currency.map(Currency::code)).collect::<Vec<_>>())
        .bind(sums().map(|sums| sums.count).collect::<Vec<_>>())
        .bind(sums().map(|sums| sums.amount).collect::<Vec<_>>())
        .bind(sums().map(|sums| sums.invoices).collect::<Vec<_>>())
        .bind(sums().map(|sums| sums.addresses).collect::<Vec<_>>())
        .execute(db)
        .await?;
        expect_rows("tallies", self.0.len(), appended.rows_affected())
    }
}

/// One event of a campaign was cancelled.
pub(in crate::store::postgres) async fn tally_cancelled(
    db: &mut PgConnection,
    campaign: CampaignId,
) -> Result<(), Failure> {
    let mut tallies = Tallies::default();
    tallies.count(campaign, TallyKind::Cancelled, 1, None);
    tallies.append(db).await
}

/// Folds the tallies of a campaign into a row for each kind and currency, where there are many. One at a time: in the
/// transaction of a claim. What workers append meanwhile is not seen here, and stays.
pub(super) async fn fold(db: &mut PgConnection, campaign: CampaignId) -> Result<(), Failure> {
    sqlx::query(
        "/* tallies: fold */
         with many as (
             select from campaign_tallies where campaign_id = $1 offset $2 limit 1
         ), gone as (
             delete from campaign_tallies where campaign_id = $1 and exists (select from many)
             returning campaign_id, kind, currency, count, amount, invoices, addresses
         )
         insert into campaign_tallies (campaign_id, kind, currency, count, amount, invoices, addresses)
         select campaign_id, kind, currency, sum(count), least(sum(amount), 9223372036854775807), sum(invoices),
                sum(addresses)
           from gone
          group by campaign_id, kind, currency",
    )
    .bind(campaign.0)
    .bind(ROWS_MAX)
    .execute(db)
    .await?;
    Ok(())
}
