//! Import of accounts: staged in a temporary table, then locked, then decided and written chunk by chunk; parents last.

mod parents;
mod writes;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::failure::Failure;
use super::imports::{Intake, be_patient, finish, keep_plans, plan_each_chunk, plan_for_all};
use super::{BULK_LIMIT, PostgresStore, VERB_LIMIT, family, installation, rows, within};
use crate::domain::account::{AccountId, AccountNumber, Contact};
use crate::domain::import::{
    AccountContext, AccountRow, BeforeDisconnect, ExistingAccount, ImportReport, decide_account,
};
use crate::domain::money::Currency;
use crate::store::{CHUNK_ROWS, ImportOptions, Rows, StoreError};

pub(super) async fn run(
    store: &PostgresStore,
    file: Rows<AccountRow>,
    options: &ImportOptions<'_>,
) -> Result<ImportReport, Failure> {
    let mut report = ImportReport::default();
    let mut tx = within(VERB_LIMIT, store.begin()).await?;
    let rows = stage(&mut tx, file, &mut report).await?;
    within(VERB_LIMIT, plan_for_all(&mut tx)).await?;
    let now = within(BULK_LIMIT, lock(&mut tx)).await?;
    let context = within(VERB_LIMIT, context(&mut tx)).await?;
    let step = i64::try_from(CHUNK_ROWS).unwrap_or(i64::MAX);
    let mut first = 0;
    while first < rows {
        within(VERB_LIMIT, plan_each_chunk(&mut tx)).await?;
        let chunk = within(VERB_LIMIT, read_chunk(&mut tx, first, first + step)).await?;
        let mut decided = Vec::with_capacity(chunk.len());
        for Staged { row, existing, first_line } in chunk {
            let decision = decide_account(row, existing.as_ref(), first_line, &context);
            decided.extend(report.count(decision, |write| write.id.is_none()));
        }
        within(VERB_LIMIT, keep_plans(&mut tx)).await?;
        within(VERB_LIMIT, writes::write_chunk(&mut tx, &decided, now, &options.by)).await?;
        (options.progress)(report.rows);
        first += step;
    }
    within(VERB_LIMIT, plan_for_all(&mut tx)).await?;
    within(BULK_LIMIT, parents::resolve(&mut tx, &mut report)).await?;
    finish(tx, report, options.dry_run).await
}

/// Answers how many rows were staged. Nothing is locked while the file is still being read.
async fn stage(db: &mut PgConnection, file: Rows<AccountRow>, report: &mut ImportReport) -> Result<i64, Failure> {
    sqlx::raw_sql(
        r#"/* import accounts: staging */
           -- The file may come from a person's keyboard. What decides later is quick again.
           set local idle_in_transaction_session_timeout = 0;
           create temp table import_accounts (
               seq             bigint not null,
               line            bigint not null,
               number          text collate "C" not null,
               name            text not null,
               status          text not null,
               parent          text collate "C",
               currency        text,
               zone            text,
               address         text,
               email           text,
               mailing_address text,
               -- An array as JSON: those of a chunk differ in length.
               groups          text not null
           ) on commit drop;
           -- Who is to be put under whom, once all accounts are there.
           create temp table import_links (
               child_id bigint not null,
               child    text collate "C" not null,
               parent   text collate "C" not null,
               line     bigint not null
           ) on commit drop"#,
    )
    .execute(&mut *db)
    .await?;
    let mut staged = 0;
    let mut intake = Intake::new(file);
    while let Some(chunk) = intake.next(report).await {
        within(VERB_LIMIT, stage_chunk(db, staged, &chunk)).await?;
        staged += i64::try_from(chunk.len()).unwrap_or(i64::MAX);
    }
    let index = async {
        sqlx::raw_sql(
            "/* import accounts: index */
             create unique index on import_accounts (seq);
             create index on import_accounts (number, seq);
             analyze import_accounts;
             set local idle_in_transaction_session_timeout = '30s'",
        )
        .execute(&mut *db)
        .await?;
        Ok(())
    };
    within(BULK_LIMIT, index).await?;
    Ok(staged)
}

async fn stage_chunk(db: &mut PgConnection, staged: i64, chunk: &[AccountRow]) -> Result<(), Failure> {
    let groups = |row: &AccountRow| serde_json::Value::from(row.groups.clone()).to_string();
    sqlx::query(
        "/* import accounts: stage */
         insert into import_accounts (seq, line, number, name, status, parent, currency, zone, address, email,
                                      mailing_address, groups)
         select $1 + r.n - 1, r.line, r.number, r.name, r.status, r.parent, r.currency, r.zone, r.address, r.email,
                r.mailing_address, r.groups
           from unnest($2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                       $9::text[], $10::text[], $11::text[], $12::text[])
                with ordinality as r (line, number, name, status, parent, currency, zone, address, email,
                                      mailing_address, groups, n)",
    )
    .bind(staged)
    .bind(chunk.iter().map(|row| row.line.cast_signed()).collect::<Vec<_>>())
    .bind(chunk.iter().map(|row| row.number.as_str()).collect::<Vec<_>>())
    .bind(chunk.iter().map(|row| row.name.as_str()).collect::<Vec<_>>())
    .bind(chunk.iter().map(|row| row.status.as_str()).collect::<Vec<_>>())
    .bind(chunk.iter().map(|row| row.parent.as_ref().map(AccountNumber::as_str)).collect::<Vec<_>>())
    .bind(chunk.iter().map(|row| row.currency.map(Currency::code)).collect::<Vec<_>>())
    .bind(chunk.iter().map(|row| row.zone.map(Tz::name)).collect::<Vec<_>>())
    .bind(chunk.iter().map(|row| row.address.as_deref()).collect::<Vec<_>>())
    .bind(chunk.iter().map(|row| row.contact.email.as_deref()).collect::<Vec<_>>())
    .bind(chunk.iter().map(|row| row.contact.mailing_address.as_deref()).collect::<Vec<_>>())
    .bind(chunk.iter().map(groups).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

/// The tree, which also makes one import of accounts wait for another; then all accounts that the file touches or puts
/// something under. Answers the instant that dates the import.
async fn lock(db: &mut PgConnection) -> Result<DateTime<Utc>, Failure> {
    be_patient(db).await?;
    family::lock_tree(db).await?;
    sqlx::query(
        "/* import accounts: lock accounts */
         select count(*) from (
             select id from accounts
              where number in (select number from import_accounts
                               union select parent from import_accounts where parent is not null)
              order by id
                for update) locked",
    )
    .execute(&mut *db)
    .await?;
    Ok(sqlx::query_scalar("/* import accounts: now */ select clock_timestamp()").fetch_one(db).await?)
}

async fn context(db: &mut PgConnection) -> Result<AccountContext, Failure> {
    Ok(AccountContext {
        company_currency: installation::settings(db).await?.currency,
        statuses: installation::statuses(db).await?,
    })
}

/// A row with what it is decided from.
struct Staged {
    row: AccountRow,
    existing: Option<ExistingAccount>,
    first_line: Option<u64>,
}

/// The rows from `first` up to `end`.
async fn read_chunk(db: &mut PgConnection, first: i64, end: i64) -> Result<Vec<Staged>, Failure> {
    let found = sqlx::query(
        r#"/* import accounts: read a chunk */
           select r.line, r.number, r.name, r.status, r.parent, r.currency, r.zone, r.address, r.email,
                  r.mailing_address, r.groups,
                  (select f.line from import_accounts f
                    where f.number = r.number and f.seq < r.seq
                    order by f.seq limit 1) as first_line,
                  a.id, a.name as old_name, s.name as old_status, p.number as old_parent, a.currency as old_currency,
                  a.zone as old_zone, o.address as old_address, a.email as old_email,
                  a.mailing_address as old_mailing_address,
                  -- Name by name: as a join it went through all groups for each row once the planner took memberships to be
                  -- many, which was most of what a chunk took.
                  array(select n.name
                          from (select (select g.name from groups g where g.id = m.group_id) as name
                                  from account_groups m where m.account_id = a.id offset 0) n
                         order by n.name collate "C") as old_groups,
                  (select true from debits d where d.account_id = a.id limit 1) is not null as has_debits,
                  a.disconnected_at, b.name as status_before,
                  -- The one that the disconnect released, at the instant that it dates everything with.
                  (select h.address from address_assignments t join serviceable_addresses h on h.id = t.address_id
                    where t.account_id = a.id and t.assigned_until = a.disconnected_at
                    order by t.id desc limit 1) as address_before,
                  u.number as unlinked_from
             from import_accounts r
             left join accounts a on a.number = r.number
             left join account_statuses s on s.id = a.status_id
             left join account_statuses b on b.id = a.status_before_id
             left join accounts p on p.id = a.parent_id
             left join accounts u on u.id = a.unlinked_from_id
             -- By its limit one look-up for each row, whatever the planner believes about open assignments.
             left join lateral (select l.address
                                  from address_assignments o join serviceable_addresses l on l.id = o.address_id
                                 where o.account_id = a.id and o.assigned_until is null limit 1) o on true
            where r.seq >= $1 and r.seq < $2
            order by r.seq"#,
    )
    .bind(first)
    .bind(end)
    .fetch_all(db)
    .await?;
    found.iter().map(staged).collect()
}

fn staged(row: &PgRow) -> Result<Staged, Failure> {
    let groups: &str = row.try_get("groups")?;
    let existing = match row.try_get::<Option<i64>, _>("id")? {
        None => None,
        Some(id) => Some(existing(AccountId(id), row)?),
    };
    Ok(Staged {
        row: AccountRow {
            line: row.try_get::<i64, _>("line")?.cast_unsigned(),
            number: AccountNumber::from_stored(row.try_get("number")?),
            name: row.try_get("name")?,
            status: row.try_get("status")?,
            parent: rows::number(row.try_get("parent")?),
            currency: row.try_get::<Option<&str>, _>("currency")?.map(rows::currency).transpose()?,
            zone: rows::zone(row.try_get("zone")?)?,
            address: row.try_get("address")?,
            contact: rows::contact(row)?,
            groups: serde_json::from_str(groups).map_err(|error| StoreError::Rejected(error.to_string()))?,
        },
        existing,
        first_line: row.try_get::<Option<i64>, _>("first_line")?.map(i64::cast_unsigned),
    })
}

fn existing(id: AccountId, row: &PgRow) -> Result<ExistingAccount, Failure> {
    let status: String = row.try_get("old_status")?;
    let disconnected = match row.try_get("disconnected_at")? {
        None => None,
        Some(disconnected_at) => Some(BeforeDisconnect {
            disconnected_at,
            status: row.try_get::<Option<String>, _>("status_before")?.unwrap_or_else(|| status.clone()),
            address: row.try_get("address_before")?,
        }),
    };
    Ok(ExistingAccount {
        id,
        name: row.try_get("old_name")?,
        status,
        parent: rows::number(row.try_get("old_parent")?),
        currency: rows::currency(row.try_get("old_currency")?)?,
        zone: rows::zone(row.try_get("old_zone")?)?,
        address: row.try_get("old_address")?,
        contact: Contact { email: row.try_get("old_email")?, mailing_address: row.try_get("old_mailing_address")? },
        groups: row.try_get("old_groups")?,
        has_debits: row.try_get("has_debits")?,
        disconnected,
        unlinked_from: rows::number(row.try_get("unlinked_from")?),
    })
}
