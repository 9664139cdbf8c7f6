//! The import of accounts.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::failure::{failure, unreadable};
use super::import_parents;
use super::imports::Intake;
use super::rows::{at, currency, expect_count, expect_rows, get, json, number, optional_number, texts, zone};
use super::settings::{settings, statuses};
use crate::domain::account::{AccountId, AccountNumber, Contact};
use crate::domain::actor::Source;
use crate::domain::import::{
    AccountContext, AccountRow, AccountWrite, AddressWrite, BeforeDisconnect, ExistingAccount, ImportReport,
    ParentWrite, decide_account,
};
use crate::domain::money::Currency;
use crate::domain::text::{folded, searched};
use crate::store::{CHUNK_ROWS, ImportOptions, Rows, StoreResult};

/// Takes the rows as they come into a temporary table.
pub async fn stage(
    connection: &mut SqliteConnection,
    rows: &mut Rows<AccountRow>,
    report: &mut ImportReport,
) -> StoreResult<()> {
    sqlx::raw_sql(
        "/* import accounts: staging */
         create temp table staged (
             seq integer primary key, line integer not null, number text not null, name text not null,
             status text not null, parent text, currency text, zone text, address text, email text,
             mailing_address text, groups text not null
         );
         create index temp.staged_number on staged (number, seq);
         create temp table parents (child_id integer primary key, line integer not null, number text not null, parent text);",
    )
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    let mut intake = Intake::new(rows);
    while let Some(chunk) = intake.next(report).await {
        let staged = chunk.into_iter().map(|row| {
            (
                row.line,
                row.number,
                row.name,
                row.status,
                row.parent,
                row.currency,
                row.zone,
                row.address,
                row.contact.email,
                row.contact.mailing_address,
                row.groups,
            )
        });
        sqlx::query(
            "/* import accounts: stage */ insert into temp.staged
                    (line, number, name, status, parent, currency, zone, address, email, mailing_address, groups)
             select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
                    value ->> 7, value ->> 8, value ->> 9, value ->> 10
               from jsonb_each(?1) order by key",
        )
        .bind(json(&staged.collect::<Vec<_>>())?)
        .execute(&mut *connection)
        .await
        .map_err(failure)?;
    }
    Ok(())
}

/// Decides and writes all rows, in order, chunk by chunk; then the parents, which may come later in the file than their
/// children. Problems go into the report; the caller commits, or not.
pub async fn merge(
    connection: &mut SqliteConnection,
    report: &mut ImportReport,
    options: &ImportOptions<'_>,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    let context = AccountContext {
        company_currency: settings(connection).await?.currency,
        statuses: statuses(connection).await?,
    };
    let mut last = 0;
    loop {
        let rows = load(connection, last).await?;
        let Some(end) = rows.last() else { break };
        last = get(end, "seq")?;
        let mut writes = Vec::with_capacity(rows.len());
        for row in &rows {
            let existing = existing(row)?;
            let decision = decide_account(staged(row)?, existing.as_ref(), get(row, "first_line")?, &context);
            writes.extend(report.count(decision, |write| write.id.is_none()));
        }
        if !writes.is_empty() {
            write(connection, writes, &options.by.name, now).await?;
        }
        (options.progress)(report.rows);
    }
    import_parents::resolve(connection, report).await
}

/// The rows after `last`, each with what the database knows of its account.
async fn load(connection: &mut SqliteConnection, last: i64) -> StoreResult<Vec<SqliteRow>> {
    #[expect(clippy::cast_possible_wrap, reason = "a thousand")]
    let limit = CHUNK_ROWS as i64;
    sqlx::query(
        "/* import accounts: load */ select s.seq, s.line, s.number, s.name, s.status, s.parent, s.currency, s.zone,
                s.address, s.email, s.mailing_address, s.groups,
                (select f.line from temp.staged f where f.number = s.number and f.seq < s.seq
                  order by f.seq limit 1) as first_line,
                a.id as old_id, a.name as old_name, st.name as old_status, p.number as old_parent,
                a.currency as old_currency, a.zone as old_zone, sa.address as old_address, a.email as old_email,
                a.mailing_address as old_mailing_address,
                (select json_group_array(g.name) from account_groups m join groups g on g.id = m.group_id
                  where m.account_id = a.id) as old_groups,
                exists (select 1 from debits d where d.account_id = a.id) as has_debits,
                a.disconnected_at, coalesce(sb.name, st.name) as status_before,
                (select b.address from address_assignments h join serviceable_addresses b on b.id = h.address_id
                  where h.account_id = a.id and h.assigned_until = a.disconnected_at
                  order by h.id desc limit 1) as address_before,
                u.number as unlinked_from
           from (select * from temp.staged where seq > ?1 order by seq limit ?2) as s
           left join accounts a on a.number = s.number
           left join account_statuses st on st.id = a.status_id
           left join account_statuses sb on sb.id = a.status_before_id
           left join accounts p on p.id = a.parent_id
           left join accounts u on u.id = a.unlinked_from_id
           left join address_assignments h on h.account_id = a.id and h.assigned_until is null
           left join serviceable_addresses sa on sa.id = h.address_id
          order by s.seq",
    )
    .bind(last)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(failure)
}

fn staged(row: &SqliteRow) -> StoreResult<AccountRow> {
    let given: Option<&str> = get(row, "currency")?;
    Ok(AccountRow {
        line: get(row, "line")?,
        number: number(row, "number")?,
        name: get(row, "name")?,
        status: get(row, "status")?,
        parent: optional_number(row, "parent")?,
        currency: given.map(Currency::parse).transpose().map_err(|error| unreadable(&error))?,
        zone: zone(row, "zone")?,
        address: get(row, "address")?,
        contact: Contact { email: get(row, "email")?, mailing_address: get(row, "mailing_address")? },
        groups: texts(row, "groups")?,
    })
}

fn existing(row: &SqliteRow) -> StoreResult<Option<ExistingAccount>> {
    let Some(id) = get::<Option<i64>, _>(row, "old_id")? else { return Ok(None) };
    let disconnected = match get::<Option<DateTime<Utc>>, _>(row, "disconnected_at")? {
        None => None,
        Some(disconnected_at) => Some(BeforeDisconnect {
            disconnected_at,
            status: get(row, "status_before")?,
            address: get(row, "address_before")?,
        }),
    };
    Ok(Some(ExistingAccount {
        id: AccountId(id),
        name: get(row, "old_name")?,
        status: get(row, "old_status")?,
        parent: optional_number(row, "old_parent")?,
        currency: currency(row, "old_currency")?,
        zone: zone(row, "old_zone")?,
        address: get(row, "old_address")?,
        contact: Contact { email: get(row, "old_email")?, mailing_address: get(row, "old_mailing_address")? },
        groups: texts(row, "old_groups")?,
        has_debits: get(row, "has_debits")?,
        disconnected,
        unlinked_from: optional_number(row, "unlinked_from")?,
    }))
}

/// Writes a chunk, one statement for each kind of change. Updates and inserts apart, and no upsert: the triggers that
/// refuse `replace` fire before SQLite looks for a conflict.
async fn write(
    connection: &mut SqliteConnection,
    writes: Vec<AccountWrite>,
    actor: &str,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    let now = at(now);
    let created = insert(connection, &writes, &now).await?;
    update(connection, &writes).await?;

    let (mut released, mut assigned) = (Vec::new(), Vec::new());
    let (mut regrouped, mut members) = (Vec::new(), Vec::new());
    let (mut parents, mut log) = (Vec::new(), Vec::new());
    for write in writes {
        let id = match write.id {
            Some(id) => id.0,
            None => *created.get(&write.number).ok_or_else(|| unreadable("an account that was just written"))?,
        };
        match write.address {
            AddressWrite::Keep => {}
            AddressWrite::Release => released.push(id),
            AddressWrite::Assign(address) => {
                released.push(id);
                assigned.push((id, address));
            }
        }
        match write.parent {
            ParentWrite::Keep => {}
            ParentWrite::Clear => parents.push((id, write.line, write.number, None)),
            ParentWrite::Put(parent) => parents.push((id, write.line, write.number, Some(parent))),
        }
        if let Some(groups) = write.groups {
            regrouped.push(id);
            members.extend(groups.into_iter().map(|group| (id, group)));
        }
        log.push((id, write.log.0.as_str(), write.log.1));
    }
    write_addresses(connection, &released, &assigned, &now).await?;
    write_groups(connection, &regrouped, &members).await?;
    if !parents.is_empty() {
        let written = sqlx::query(
            "/* import accounts: note parents */ insert into temp.parents (child_id, line, number, parent)
             select value ->> 0, value ->> 1, value ->> 2, value ->> 3 from jsonb_each(?1)",
        )
        .bind(json(&parents)?)
        .execute(&mut *connection)
        .await
        .map_err(failure)?;
        expect_rows(&written, parents.len(), "import accounts: note parents")?;
    }
    let written = sqlx::query(
        "/* import accounts: log */ insert into account_log (account_id, at, kind, message, actor, source)
         select value ->> 0, ?2, value ->> 1, value ->> 2, ?3, ?4 from jsonb_each(?1) order by key",
    )
    .bind(json(&log)?)
    .bind(&now)
    .bind(actor)
    .bind(Source::Import.as_str())
    .execute(connection)
    .await
    .map_err(failure)?;
    expect_rows(&written, log.len(), "import accounts: log")
}

/// Answers the new ids by number.
async fn insert(
    connection: &mut SqliteConnection,
    writes: &[AccountWrite],
    now: &str,
) -> StoreResult<HashMap<AccountNumber, i64>> {
    let new = writes.iter().filter(|write| write.id.is_none()).map(|write| {
        let (email, mailing_address) = (&write.contact.email, &write.contact.mailing_address);
        let searched = searched(write.number.as_str(), &write.name);
        (&write.number, &write.name, &write.status, write.currency, write.zone, email, mailing_address, searched)
    });
    let new: Vec<_> = new.collect();
    if new.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query(
        "/* import accounts: insert */ insert into accounts
                (number, name, status_id, currency, zone, email, mailing_address, searched, created_at)
         select value ->> 0, value ->> 1, (select id from account_statuses where name = value ->> 2), value ->> 3,
                value ->> 4, value ->> 5, value ->> 6, value ->> 7, ?2
           from jsonb_each(?1) order by key
         returning number, id",
    )
    .bind(json(&new)?)
    .bind(now)
    .fetch_all(connection)
    .await
    .map_err(failure)?;
    expect_count(rows.len(), new.len(), "import accounts: insert")?;
    rows.iter().map(|row| Ok((number(row, "number")?, get(row, "id")?))).collect()
}

async fn update(connection: &mut SqliteConnection, writes: &[AccountWrite]) -> StoreResult<()> {
    let known = writes.iter().filter_map(|write| {
        let (email, mailing_address) = (&write.contact.email, &write.contact.mailing_address);
        let id = write.id?.0;
        let searched = searched(write.number.as_str(), &write.name);
        Some((id, &write.name, &write.status, write.currency, write.zone, email, mailing_address, searched))
    });
    let known: Vec<_> = known.collect();
    if known.is_empty() {
        return Ok(());
    }
    let written = sqlx::query(
        "/* import accounts: update */ update accounts
            set name = w.value ->> 1, status_id = (select id from account_statuses where name = w.value ->> 2),
                currency = w.value ->> 3, zone = w.value ->> 4, email = w.value ->> 5, mailing_address = w.value ->> 6,
                searched = w.value ->> 7
           from jsonb_each(?1) as w where accounts.id = w.value ->> 0",
    )
    .bind(json(&known)?)
    .execute(connection)
    .await
    .map_err(failure)?;
    expect_rows(&written, known.len(), "import accounts: update")
}

async fn write_addresses(
    connection: &mut SqliteConnection,
    released: &[i64],
    assigned: &[(i64, String)],
    now: &str,
) -> StoreResult<()> {
    if !released.is_empty() {
        sqlx::query(
            "/* import accounts: release addresses */ update address_assignments set assigned_until = ?2
              where account_id in (select value from json_each(?1)) and assigned_until is null",
        )
        .bind(json(released)?)
        .bind(now)
        .execute(&mut *connection)
        .await
        .map_err(failure)?;
    }
    if assigned.is_empty() {
        return Ok(());
    }
    let expected = assigned.len();
    let assigned: Vec<_> = assigned.iter().map(|(account, address)| (account, address, folded(address))).collect();
    let assigned = json(&assigned)?;
    // `where true`: or the parser takes `on conflict` for a join's.
    sqlx::query(
        "/* import accounts: new addresses */ insert into serviceable_addresses (address, searched)
         select value ->> 1, value ->> 2 from jsonb_each(?1) where true on conflict (address) do nothing",
    )
    .bind(&assigned)
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    let written = sqlx::query(
        "/* import accounts: assign addresses */ insert into address_assignments (account_id, address_id, assigned_from)
         select w.value ->> 0, a.id, ?2
           from jsonb_each(?1) as w cross join serviceable_addresses a on a.address = w.value ->> 1",
    )
    .bind(&assigned)
    .bind(now)
    .execute(connection)
    .await
    .map_err(failure)?;
    expect_rows(&written, expected, "import accounts: assign addresses")
}

/// Replaces the groups of `accounts` by those of `members`.
async fn write_groups(
    connection: &mut SqliteConnection,
    accounts: &[i64],
    members: &[(i64, String)],
) -> StoreResult<()> {
    if accounts.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "/* import accounts: leave groups */ delete from account_groups
          where account_id in (select value from json_each(?1))",
    )
    .bind(json(accounts)?)
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    let expected = members.len();
    let members = json(members)?;
    sqlx::query(
        "/* import accounts: new groups */ insert into groups (name)
         select value ->> 1 from jsonb_each(?1) where true on conflict (name) do nothing",
    )
    .bind(&members)
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    let written = sqlx::query(
        "/* import accounts: join groups */ insert into account_groups (account_id, group_id)
         select w.value ->> 0, g.id from jsonb_each(?1) as w cross join groups g on g.name = w.value ->> 1",
    )
    .bind(&members)
    .execute(connection)
    .await
    .map_err(failure)?;
    expect_rows(&written, expected, "import accounts: join groups")
}
