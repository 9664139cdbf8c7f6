//! The accounts, page by page, as a filter looks at them.

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::members::PAGE;
use crate::domain::account::AccountNumber;
use crate::domain::filter::Candidate;
use crate::domain::money::Currency;
use crate::domain::settings::Settings;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::rows;

pub(super) struct Account {
    pub(super) id: i64,
    pub(super) is_connected: bool,
    pub(super) number: AccountNumber,
    name: String,
    status: String,
    groups: Vec<String>,
    parent: Option<AccountNumber>,
    pub(super) own_zone: Option<Tz>,
    zone: Tz,
    currency: Currency,
    balance: i64,
    oldest_debit: Option<NaiveDate>,
    address: Option<String>,
    today: NaiveDate,
}

impl Account {
    pub(super) fn candidate(&self) -> Candidate<'_> {
        Candidate {
            number: &self.number,
            name: &self.name,
            status: &self.status,
            groups: &self.groups,
            parent: self.parent.as_ref(),
            zone: self.zone,
            currency: self.currency,
            balance: self.balance,
            oldest_debit: self.oldest_debit,
            address: self.address.as_deref(),
            today: self.today,
        }
    }
}

macro_rules! accounts_sql {
    ($name:literal, $from:literal) => {
        concat!(
            "/* ",
            $name,
            " */
             select a.id, a.number, a.name, s.name as status, a.zone, a.currency,
                    a.disconnected_at is null as is_connected, d.balance, d.oldest,
                    (select p.number from accounts p where p.id = a.parent_id) as parent,
                    (select l.address from address_assignments o join serviceable_addresses l on l.id = o.address_id
                      where o.account_id = a.id and o.assigned_until is null limit 1) as address,
                    array(select g.name from account_groups m join groups g on g.id = m.group_id
                           where m.account_id = a.id order by g.name collate \"C\") as groups
               from (select id, number, name, status_id, parent_id, zone, currency, disconnected_at from accounts ",
            $from,
            ") a
               join account_statuses s on s.id = a.status_id
               left join lateral (
                    select least(coalesce(sum(d.amount::numeric + d.tax), 0), 9223372036854775807)::bigint as balance,
                           min(d.charged_on) as oldest
                      from debits d where d.account_id = a.id and d.invoice_id is null) d on true
              order by a.id"
        )
    };
}

/// The next ones with ids behind `after`, also those that are disconnected: a condition that leaves them out would make
/// the planner believe that there are few. By look-ups, as a page of members is read.
pub(super) async fn page(
    db: &mut PgConnection,
    after: i64,
    settings: &Settings,
    now: DateTime<Utc>,
) -> Result<Vec<Account>, Failure> {
    let found = sqlx::query(accounts_sql!("selection: a page", "where id > $1 order by id limit $2"))
        .bind(after)
        .bind(PAGE)
        .fetch_all(db)
        .await?;
    accounts(&found, settings, now)
}

/// These accounts.
pub(super) async fn of(
    db: &mut PgConnection,
    ids: &[i64],
    settings: &Settings,
    now: DateTime<Utc>,
) -> Result<Vec<Account>, Failure> {
    let found = sqlx::query(accounts_sql!("selection: these", "where id = any($1)")).bind(ids).fetch_all(db).await?;
    accounts(&found, settings, now)
}

fn accounts(found: &[PgRow], settings: &Settings, now: DateTime<Utc>) -> Result<Vec<Account>, Failure> {
    let today = now.with_timezone(&settings.company_zone).date_naive();
    found.iter().map(|row| account(row, settings.company_zone, today)).collect()
}

fn account(row: &PgRow, company_zone: Tz, today: NaiveDate) -> Result<Account, Failure> {
    let own_zone = rows::zone(row.try_get("zone")?)?;
    Ok(Account {
        id: row.try_get("id")?,
        is_connected: row.try_get("is_connected")?,
        number: AccountNumber::from_stored(row.try_get("number")?),
        name: row.try_get("name")?,
        status: row.try_get("status")?,
        groups: row.try_get("groups")?,
        parent: rows::number(row.try_get("parent")?),
        own_zone,
        zone: own_zone.unwrap_or(company_zone),
        currency: rows::currency(row.try_get("currency")?)?,
        balance: row.try_get("balance")?,
        oldest_debit: row.try_get("oldest")?,
        address: row.try_get("address")?,
        today,
    })
}
