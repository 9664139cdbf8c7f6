//! The members of a campaign as they are found at a moment, page by page.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use sqlx::SqliteConnection;

use super::super::failure::{failure, unreadable};
use super::super::rows::saturated;
use super::stands;
use crate::domain::account::{AccountId, AccountNumber};
use crate::domain::calendar::Planned;
use crate::domain::campaign::CampaignId;
use crate::domain::campaign::cohort::{BlockerKind, MemberAccount, MemberFacts, OutsideChild};
use crate::domain::event::EventId;
use crate::domain::money::Currency;
use crate::store::StoreResult;

/// How many members a page has: some milliseconds, and some hundred KiB.
pub const PAGE: u32 = 2_000;

pub struct Found {
    /// In the table.
    pub rowid: i64,
    pub facts: MemberFacts,
    pub planned: Planned,
    pub reason: Option<String>,
    pub left_out: Option<(BlockerKind, String)>,
}

/// Position, rowid, number, due at, planned for, zone, reason, left out with its note; the account.
type MemberRow = (
    i64,
    i64,
    String,
    Option<DateTime<Utc>>,
    Option<String>,
    Option<String>,
    Option<String>,
    (Option<String>, Option<String>),
    Option<AccountRow>,
);

/// Id, disconnected at, currency, uninvoiced debits with their sum in two halves, has an address, has a recipient, its
/// open event and that one's campaign.
type AccountRow = (i64, Option<DateTime<Utc>>, String, (i64, i64, i64), i64, i64, Option<i64>, Option<i64>);

/// The members behind a position, at most `limit`, in order. In a transaction.
pub async fn page(
    connection: &mut SqliteConnection,
    campaign: CampaignId,
    after: i64,
    limit: u32,
) -> StoreResult<Vec<Found>> {
    // As one value: of a cohort there are many, and a row each takes longer than all else.
    let rows: String = sqlx::query_scalar(concat!(
        "/* members: page */
         select json_group_array(json_array(m.position, m.rowid, m.account_number, m.due_at, m.planned_for, m.zone,
                    m.reason,
                    json_array(m.left_out, m.left_out_note),
                    iif(a.id is null, null, json_array(a.id, a.disconnected_at, a.currency,
                        -- In halves of 32 bits, since sum() fails where an integer overflows.
                        json((select json_array(count(*), coalesce(sum((d.amount >> 32) + (d.tax >> 32)), 0),
                                    coalesce(sum((d.amount & 4294967295) + (d.tax & 4294967295)), 0))
                                from debits d where d.account_id = a.id and d.invoice_id is null)),
                        exists (select 1 from address_assignments g
                                 where g.account_id = a.id and g.assigned_until is null),
                        coalesce(a.email, a.mailing_address, p.email, p.mailing_address) is not null,
                        e.id, e.campaign_id))))
           from (select rowid, * from campaign_members
                  where campaign_id = ?1 and position > ?2 order by position limit ?3) as m
           left join accounts a on a.id = m.account_id
           left join accounts p on p.id = a.parent_id and p.disconnected_at is null
           left join disconnect_events e on e.account_id = a.id and e.state in ('scheduled', 'queued') and ",
        stands!("e")
    ))
    .bind(campaign.0)
    .bind(after)
    .bind(limit)
    .fetch_one(&mut *connection)
    .await
    .map_err(failure)?;
    let mut rows: Vec<MemberRow> = read(&rows)?;
    rows.sort_unstable_by_key(|row| row.0);
    let Some(last) = rows.last().map(|row| row.0) else { return Ok(Vec::new()) };
    let mut children = children(connection, campaign, after, last).await?;
    let found = |row: MemberRow| {
        let (position, rowid, number, due_at, planned_for, zone, reason, (left_out, note), account) = row;
        let account = account.map(|account| member_account(account, children.remove(&position))).transpose()?;
        let left_out = left_out.as_deref().and_then(BlockerKind::parse);
        let number = AccountNumber::from_stored(number);
        Ok(Found {
            rowid,
            facts: MemberFacts { position, number, due_at, account },
            planned: Planned { planned_for, zone },
            reason,
            left_out: left_out.map(|kind| (kind, note.unwrap_or_default())),
        })
    };
    rows.into_iter().map(found).collect()
}

fn member_account(row: AccountRow, children: Option<Vec<OutsideChild>>) -> StoreResult<MemberAccount> {
    let (id, disconnected_at, currency, (debits, high, low), has_address, has_recipient, event, campaign) = row;
    Ok(MemberAccount {
        id: AccountId(id),
        disconnected_at,
        currency: Currency::parse(&currency).map_err(|error| unreadable(&error))?,
        uninvoiced: saturated(high, low),
        debits,
        has_address: has_address != 0,
        has_recipient: has_recipient != 0,
        open_event: event.map(EventId),
        open_campaign: campaign.map(CampaignId),
        children: children.unwrap_or_default(),
    })
}

/// The connected children that are not members themselves, of the members behind `after` up to `last`, by position.
async fn children(
    connection: &mut SqliteConnection,
    campaign: CampaignId,
    after: i64,
    last: i64,
) -> StoreResult<HashMap<i64, Vec<OutsideChild>>> {
    let rows: String = sqlx::query_scalar(
        "/* members: children */
         select json_group_array(json_array(m.position, c.id, c.number, c.name,
                    c.email is not null or c.mailing_address is not null))
           from campaign_members m
          cross join accounts c on c.parent_id = m.account_id and c.disconnected_at is null
          where m.campaign_id = ?1 and m.position > ?2 and m.position <= ?3
            and not exists (select 1 from campaign_members o
                             where o.campaign_id = ?1 and o.account_number = c.number and o.account_id = c.id)",
    )
    .bind(campaign.0)
    .bind(after)
    .bind(last)
    .fetch_one(connection)
    .await
    .map_err(failure)?;
    let mut rows: Vec<(i64, i64, String, String, i64)> = read(&rows)?;
    rows.sort_unstable_by(|a, b| (a.0, &a.2).cmp(&(b.0, &b.2)));
    let mut children: HashMap<i64, Vec<OutsideChild>> = HashMap::new();
    for (position, id, number, name, has_contact) in rows {
        let number = AccountNumber::from_stored(number);
        let child = OutsideChild { id: AccountId(id), number, name, has_contact: has_contact != 0 };
        children.entry(position).or_default().push(child);
    }
    Ok(children)
}

/// An array of rows that SQL made.
pub fn read<T: DeserializeOwned>(rows: &str) -> StoreResult<Vec<T>> {
    serde_json::from_str(rows).map_err(|error| unreadable(&error.to_string()))
}
