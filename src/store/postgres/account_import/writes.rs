//! Writing a chunk of an accounts file, set by set. No other import runs meanwhile: the tree is locked.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use sqlx::postgres::PgConnection;

use crate::domain::account::AccountNumber;
use crate::domain::actor::{Actor, Source};
use crate::domain::import::{AccountWrite, AddressWrite, ParentWrite};
use crate::domain::text::{folded, searched};
use crate::store::postgres::failure::{Failure, expect_rows};

/// A write and the account that it is for, which exists by now.
type Placed<'w> = (i64, &'w AccountWrite);

pub(super) async fn write_chunk(
    db: &mut PgConnection,
    writes: &[AccountWrite],
    now: DateTime<Utc>,
    by: &Actor,
) -> Result<(), Failure> {
    if writes.is_empty() {
        return Ok(());
    }
    let (changed, new): (Vec<&AccountWrite>, Vec<&AccountWrite>) = writes.iter().partition(|write| write.id.is_some());
    let ids = insert_accounts(db, &new, now).await?;
    update_accounts(db, &changed).await?;
    let id = |write: &AccountWrite| write.id.map(|id| id.0).or_else(|| ids.get(&write.number).copied());
    let placed: Vec<Placed<'_>> = writes.iter().filter_map(|write| Some((id(write)?, write))).collect();
    write_addresses(db, &placed, now).await?;
    write_groups(db, &placed).await?;
    write_parents(db, &placed).await?;
    write_log(db, &placed, now, by).await
}

async fn insert_accounts(
    db: &mut PgConnection,
    new: &[&AccountWrite],
    now: DateTime<Utc>,
) -> Result<HashMap<AccountNumber, i64>, Failure> {
    if new.is_empty() {
        return Ok(HashMap::new());
    }
    let inserted: Vec<(i64, String)> = sqlx::query_as(
        "/* import accounts: insert */
         insert into accounts (number, name, status_id, currency, zone, email, mailing_address, created_at, searched)
         select w.number, w.name, s.id, w.currency, w.zone, w.email, w.mailing_address, $8, w.searched
           from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $9::text[])
                with ordinality as w (number, name, status, currency, zone, email, mailing_address, searched, n)
           join account_statuses s on s.name = w.status
          order by w.n
         returning id, number",
    )
    .bind(new.iter().map(|write| write.number.as_str()).collect::<Vec<_>>())
    .bind(new.iter().map(|write| write.name.as_str()).collect::<Vec<_>>())
    .bind(new.iter().map(|write| write.status.as_str()).collect::<Vec<_>>())
    .bind(new.iter().map(|write| write.currency.code()).collect::<Vec<_>>())
    .bind(new.iter().map(|write| write.zone.map(Tz::name)).collect::<Vec<_>>())
    .bind(new.iter().map(|write| write.contact.email.as_deref()).collect::<Vec<_>>())
    .bind(new.iter().map(|write| write.contact.mailing_address.as_deref()).collect::<Vec<_>>())
    .bind(now)
    .bind(new.iter().map(|write| searched(write.number.as_str(), &write.name)).collect::<Vec<_>>())
    .fetch_all(db)
    .await?;
    expect_rows("accounts to insert", new.len(), inserted.len() as u64)?;
    Ok(inserted.into_iter().map(|(id, number)| (AccountNumber::from_stored(number), id)).collect())
}

/// Where merely the address, the groups or the parent change, the account's own row is left alone.
async fn update_accounts(db: &mut PgConnection, changed: &[&AccountWrite]) -> Result<(), Failure> {
    if changed.is_empty() {
        return Ok(());
    }
    let found: i64 = sqlx::query_scalar(
        "/* import accounts: update */
         with wanted as (
             select w.*, s.id as status_id
               from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                           $8::text[])
                    as w (id, name, status, currency, zone, email, mailing_address, searched)
               join account_statuses s on s.name = w.status
         ), updated as (
             update accounts a
                set name = w.name, status_id = w.status_id, currency = w.currency, zone = w.zone, email = w.email,
                    mailing_address = w.mailing_address, searched = w.searched
               from wanted w
              where a.id = w.id
                and (a.name, a.status_id, a.currency, a.zone, a.email, a.mailing_address)
                    is distinct from (w.name, w.status_id, w.currency, w.zone, w.email, w.mailing_address)
         )
         select count(*) from wanted w where exists (select from accounts a where a.id = w.id)",
    )
    .bind(changed.iter().filter_map(|write| write.id).map(|id| id.0).collect::<Vec<_>>())
    .bind(changed.iter().map(|write| write.name.as_str()).collect::<Vec<_>>())
    .bind(changed.iter().map(|write| write.status.as_str()).collect::<Vec<_>>())
    .bind(changed.iter().map(|write| write.currency.code()).collect::<Vec<_>>())
    .bind(changed.iter().map(|write| write.zone.map(Tz::name)).collect::<Vec<_>>())
    .bind(changed.iter().map(|write| write.contact.email.as_deref()).collect::<Vec<_>>())
    .bind(changed.iter().map(|write| write.contact.mailing_address.as_deref()).collect::<Vec<_>>())
    .bind(changed.iter().map(|write| searched(write.number.as_str(), &write.name)).collect::<Vec<_>>())
    .fetch_one(db)
    .await?;
    expect_rows("accounts to update", changed.len(), found.cast_unsigned())
}

async fn write_addresses(db: &mut PgConnection, placed: &[Placed<'_>], now: DateTime<Utc>) -> Result<(), Failure> {
    let released: Vec<i64> = placed
        .iter()
        .filter(|(_, write)| write.id.is_some() && write.address != AddressWrite::Keep)
        .map(|(id, _)| *id)
        .collect();
    if !released.is_empty() {
        sqlx::query(
            "/* import accounts: release addresses */
             update address_assignments set assigned_until = $2 where account_id = any($1) and assigned_until is null",
        )
        .bind(released)
        .bind(now)
        .execute(&mut *db)
        .await?;
    }
    let (accounts, addresses): (Vec<i64>, Vec<&str>) = placed
        .iter()
        .filter_map(|(id, write)| match &write.address {
            AddressWrite::Assign(address) => Some((*id, address.as_str())),
            AddressWrite::Keep | AddressWrite::Release => None,
        })
        .unzip();
    if accounts.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "/* import accounts: addresses */
         insert into serviceable_addresses (address, searched)
         select distinct on (address) address, searched from unnest($1::text[], $2::text[]) as w (address, searched)
         on conflict do nothing",
    )
    .bind(&addresses)
    .bind(addresses.iter().map(|address| folded(address)).collect::<Vec<_>>())
    .execute(&mut *db)
    .await?;
    let assigned = sqlx::query(
        "/* import accounts: assign addresses */
         insert into address_assignments (account_id, address_id, assigned_from)
         select w.account_id, l.id, $3
           from unnest($1::bigint[], $2::text[]) with ordinality as w (account_id, address, n)
           join serviceable_addresses l on l.address = w.address
          order by w.n",
    )
    .bind(&accounts)
    .bind(&addresses)
    .bind(now)
    .execute(db)
    .await?;
    expect_rows("addresses to assign", accounts.len(), assigned.rows_affected())
}

async fn write_groups(db: &mut PgConnection, placed: &[Placed<'_>]) -> Result<(), Failure> {
    let grouped: Vec<(i64, &Vec<String>)> =
        placed.iter().filter_map(|(id, write)| Some((*id, write.groups.as_ref()?))).collect();
    if grouped.is_empty() {
        return Ok(());
    }
    let members: BTreeSet<(i64, &str)> =
        grouped.iter().flat_map(|(id, groups)| groups.iter().map(|group| (*id, group.as_str()))).collect();
    let (accounts, groups): (Vec<i64>, Vec<&str>) = members.into_iter().unzip();
    sqlx::query(
        "/* import accounts: groups */
         insert into groups (name) select distinct unnest($1::text[]) on conflict do nothing",
    )
    .bind(&groups)
    .execute(&mut *db)
    .await?;
    sqlx::query("/* import accounts: leave groups */ delete from account_groups where account_id = any($1)")
        .bind(grouped.iter().map(|(id, _)| *id).collect::<Vec<_>>())
        .execute(&mut *db)
        .await?;
    let joined = sqlx::query(
        "/* import accounts: join groups */
         insert into account_groups (account_id, group_id)
         select w.account_id, g.id
           from unnest($1::bigint[], $2::text[]) as w (account_id, name)
           join groups g on g.name = w.name",
    )
    .bind(&accounts)
    .bind(&groups)
    .execute(db)
    .await?;
    expect_rows("groups to join", accounts.len(), joined.rows_affected())
}

/// Leaves a parent at once; the new one may come later in the file.
async fn write_parents(db: &mut PgConnection, placed: &[Placed<'_>]) -> Result<(), Failure> {
    let cleared: Vec<i64> =
        placed.iter().filter(|(_, write)| write.parent == ParentWrite::Clear).map(|(id, _)| *id).collect();
    if !cleared.is_empty() {
        let left =
            sqlx::query("/* import accounts: leave parents */ update accounts set parent_id = null where id = any($1)")
                .bind(&cleared)
                .execute(&mut *db)
                .await?;
        expect_rows("parents to leave", cleared.len(), left.rows_affected())?;
    }
    let links: Vec<(i64, &AccountWrite, &str)> = placed
        .iter()
        .filter_map(|(id, write)| match &write.parent {
            ParentWrite::Put(parent) => Some((*id, *write, parent.as_str())),
            ParentWrite::Keep | ParentWrite::Clear => None,
        })
        .collect();
    if links.is_empty() {
        return Ok(());
    }
    let staged = sqlx::query(
        "/* import accounts: stage links */
         insert into import_links (child_id, child, parent, line)
         select * from unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[])",
    )
    .bind(links.iter().map(|(id, _, _)| *id).collect::<Vec<_>>())
    .bind(links.iter().map(|(_, write, _)| write.number.as_str()).collect::<Vec<_>>())
    .bind(links.iter().map(|(_, _, parent)| *parent).collect::<Vec<_>>())
    .bind(links.iter().map(|(_, write, _)| write.line.cast_signed()).collect::<Vec<_>>())
    .execute(db)
    .await?;
    expect_rows("links to stage", links.len(), staged.rows_affected())
}

async fn write_log(
    db: &mut PgConnection,
    placed: &[Placed<'_>],
    now: DateTime<Utc>,
    by: &Actor,
) -> Result<(), Failure> {
    let written = sqlx::query(
        "/* import accounts: write log */
         insert into account_log (account_id, at, kind, message, actor, source)
         select w.account_id, $4, w.kind, w.message, $5, $6
           from unnest($1::bigint[], $2::text[], $3::text[]) with ordinality as w (account_id, kind, message, n)
          order by w.n",
    )
    .bind(placed.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(placed.iter().map(|(_, write)| write.log.0.as_str()).collect::<Vec<_>>())
    .bind(placed.iter().map(|(_, write)| write.log.1.as_str()).collect::<Vec<_>>())
    .bind(now)
    .bind(&by.name)
    .bind(Source::Import.as_str())
    .execute(db)
    .await?;
    expect_rows("log entries", placed.len(), written.rows_affected())
}
