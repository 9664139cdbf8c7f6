//! The members of a campaign as they are at a moment, page by page in the order of the cohort.

use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::leftovers::stands;
use crate::domain::account::{AccountId, AccountNumber};
use crate::domain::calendar::Planned;
use crate::domain::campaign::CampaignId;
use crate::domain::campaign::cohort::{BlockerKind, MemberAccount, MemberFacts, OutsideChild};
use crate::domain::event::EventId;
use crate::store::postgres::events::events_of;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::rows::{self, unreadable};

/// How many members a page has. It bounds the memory of whoever goes through a cohort.
pub(super) const PAGE: i64 = 2_000;

pub(super) struct Member {
    pub(super) facts: MemberFacts,
    pub(super) planned: Planned,
    /// Its own, from the list.
    pub(super) reason: Option<String>,
    /// Why it was left out when its turn came.
    pub(super) left_out: Option<(BlockerKind, String)>,
}

/// The next `limit` members behind position `after`; none where there are no more.
///
/// The page has both its bounds, since positions have no gaps, and whatever is asked of a member is asked by a look-up of
/// its own (`limit`, or a scalar): right after a large cohort or a large import, without statistics, the planner would go
/// through whole tables for each page otherwise (with `limit` alone it read all members behind, and sorted them).
pub(super) async fn page(
    db: &mut PgConnection,
    campaign: CampaignId,
    after: i64,
    limit: i64,
) -> Result<Vec<Member>, Failure> {
    let found = sqlx::query(concat!(
        "/* members: a page */
         select m.position, m.account_number, m.due_at, m.planned_for, m.zone, m.reason, m.left_out, m.left_out_note,
                a.id, a.disconnected_at, a.currency, a.has_recipient, d.uninvoiced, d.debits,
                (select true from address_assignments o
                  where o.account_id = a.id and o.assigned_until is null limit 1) is not null as has_address,
                e.id as open_event, e.campaign_id as open_campaign
           from (select position, account_number, account_id, due_at, planned_for, zone, reason, left_out,
                        left_out_note
                   from campaign_members
                  where campaign_id = $1 and position > $2 and position <= $2 + $3
                  order by position
                 offset 0) m
           left join lateral (
                select a.id, a.disconnected_at, a.currency,
                       a.email is not null or a.mailing_address is not null
                       or (select true from accounts p
                            where p.id = a.parent_id and p.disconnected_at is null
                              and (p.email is not null or p.mailing_address is not null) limit 1) is not null
                           as has_recipient
                  from accounts a where a.id = m.account_id limit 1) a on true
           left join lateral (
                select least(coalesce(sum(d.amount::numeric + d.tax), 0), 9223372036854775807)::bigint as uninvoiced,
                       count(*) as debits
                  from debits d where d.account_id = a.id and d.invoice_id is null) d on true
           left join lateral (
                select e.id, e.campaign_id
                  from ",
        events_of!("a.id"),
        " e where e.state in ('scheduled', 'queued') and ",
        stands!("e"),
        "        limit 1) e on true
          order by m.position"
    ))
    .bind(campaign.0)
    .bind(after)
    .bind(limit)
    // Planned for each page: one from when there were no events yet goes through all of them for each member.
    .persistent(false)
    .fetch_all(&mut *db)
    .await?;
    let mut members = found.iter().map(member).collect::<Result<Vec<_>, _>>()?;
    add_children(db, campaign, &mut members).await?;
    Ok(members)
}

fn member(row: &PgRow) -> Result<Member, Failure> {
    let account = match row.try_get::<Option<i64>, _>("id")? {
        None => None,
        Some(id) => Some(MemberAccount {
            id: AccountId(id),
            disconnected_at: row.try_get("disconnected_at")?,
            currency: rows::currency(row.try_get("currency")?)?,
            uninvoiced: row.try_get("uninvoiced")?,
            debits: row.try_get("debits")?,
            has_address: row.try_get("has_address")?,
            has_recipient: row.try_get("has_recipient")?,
            open_event: row.try_get::<Option<i64>, _>("open_event")?.map(EventId),
            open_campaign: row.try_get::<Option<i64>, _>("open_campaign")?.map(CampaignId),
            children: Vec::new(),
        }),
    };
    Ok(Member {
        facts: MemberFacts {
            position: row.try_get("position")?,
            number: AccountNumber::from_stored(row.try_get("account_number")?),
            due_at: row.try_get("due_at")?,
            account,
        },
        planned: Planned { planned_for: row.try_get("planned_for")?, zone: row.try_get("zone")? },
        reason: row.try_get("reason")?,
        left_out: left_out(row)?,
    })
}

fn left_out(row: &PgRow) -> Result<Option<(BlockerKind, String)>, Failure> {
    let Some(kind) = row.try_get::<Option<&str>, _>("left_out")? else { return Ok(None) };
    let kind = BlockerKind::parse(kind).ok_or_else(|| unreadable("blocker", kind))?;
    Ok(Some((kind, row.try_get::<Option<String>, _>("left_out_note")?.unwrap_or_default())))
}

/// The connected children that are no members, by number.
async fn add_children(db: &mut PgConnection, campaign: CampaignId, members: &mut [Member]) -> Result<(), Failure> {
    let (mut places, mut accounts) = (Vec::with_capacity(members.len()), Vec::with_capacity(members.len()));
    for (place, member) in (0_i64..).zip(members.iter()) {
        if let Some(account) = &member.facts.account {
            places.push(place);
            accounts.push(account.id.0);
        }
    }
    let found: Vec<(i64, i64, String, String, bool)> = sqlx::query_as(
        "/* members: children of a page */
         select m.place, c.id, c.number, c.name, c.has_contact
           from unnest($2::bigint[], $3::bigint[]) as m (place, account_id)
          cross join lateral (
                select c.id, c.number, c.name, c.email is not null or c.mailing_address is not null as has_contact
                  from accounts c
                 where c.parent_id = m.account_id and c.disconnected_at is null
                   and (select true from campaign_members k
                         where k.campaign_id = $1 and k.account_number = c.number limit 1) is null
                offset 0) c
          order by m.place, c.number",
    )
    .bind(campaign.0)
    .bind(places)
    .bind(accounts)
    .persistent(false)
    .fetch_all(db)
    .await?;
    for (place, id, number, name, has_contact) in found {
        let member = usize::try_from(place).ok().and_then(|place| members.get_mut(place));
        if let Some(account) = member.and_then(|member| member.facts.account.as_mut()) {
            let number = AccountNumber::from_stored(number);
            account.children.push(OutsideChild { id: AccountId(id), number, name, has_contact });
        }
    }
    Ok(())
}
