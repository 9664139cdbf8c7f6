//! The accounts as a filter looks at them.

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use sqlx::SqliteConnection;

use super::super::failure::{failure, unreadable};
use super::super::rows::{json, saturated};
use super::members::read;
use crate::domain::account::AccountNumber;
use crate::domain::calendar::parse_zone;
use crate::domain::filter::Candidate;
use crate::domain::money::Currency;
use crate::domain::settings::Settings;
use crate::store::StoreResult;

/// How many a page has.
const PAGE: i64 = 2_000;

pub struct Account {
    pub id: i64,
    pub number: AccountNumber,
    pub own_zone: Option<Tz>,
    name: String,
    status: String,
    groups: Vec<String>,
    parent: Option<AccountNumber>,
    zone: Tz,
    currency: Currency,
    balance: i64,
    oldest_debit: Option<NaiveDate>,
    address: Option<String>,
    today: NaiveDate,
}

impl Account {
    pub fn candidate(&self) -> Candidate<'_> {
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

    fn of(row: Row, settings: &Settings, now: DateTime<Utc>) -> StoreResult<Self> {
        let (id, number, name, status, groups, parent, zone, currency, (high, low, oldest_debit), address) = row;
        let own_zone = zone.as_deref().map(parse_zone).transpose().map_err(|error| unreadable(&error))?;
        Ok(Self {
            id,
            number: AccountNumber::from_stored(number),
            own_zone,
            name,
            status,
            groups,
            parent: parent.map(AccountNumber::from_stored),
            zone: own_zone.unwrap_or(settings.company_zone),
            currency: Currency::parse(&currency).map_err(|error| unreadable(&error))?,
            balance: saturated(high, low),
            oldest_debit,
            address,
            today: now.with_timezone(&settings.company_zone).date_naive(),
        })
    }
}

/// Id, number, name, status, groups, parent, zone, currency, the balance in two halves and the oldest debit, address.
type Row = (
    i64,
    String,
    String,
    String,
    Vec<String>,
    Option<String>,
    Option<String>,
    String,
    (i64, i64, Option<NaiveDate>),
    Option<String>,
);

/// As one value: a row each takes longer than all else.
macro_rules! accounts_sql {
    ($name:literal, $from:literal) => {
        concat!(
            "/* ",
            $name,
            " */
             select json_group_array(json_array(a.id, a.number, a.name, s.name,
                        json((select json_group_array(g.name) from account_groups m join groups g on g.id = m.group_id
                               where m.account_id = a.id)),
                        p.number, a.zone, a.currency,
                        -- In halves of 32 bits, since sum() fails where an integer overflows.
                        json((select json_array(coalesce(sum((d.amount >> 32) + (d.tax >> 32)), 0),
                                    coalesce(sum((d.amount & 4294967295) + (d.tax & 4294967295)), 0), min(d.charged_on))
                                from debits d where d.account_id = a.id and d.invoice_id is null)),
                        sa.address))
               from (",
            $from,
            ") as a
               join account_statuses s on s.id = a.status_id
               left join accounts p on p.id = a.parent_id
               left join address_assignments h on h.account_id = a.id and h.assigned_until is null
               left join serviceable_addresses sa on sa.id = h.address_id"
        )
    };
}

/// The connected accounts behind an id, by id.
pub async fn page(
    connection: &mut SqliteConnection,
    after: i64,
    settings: &Settings,
    now: DateTime<Utc>,
) -> StoreResult<Vec<Account>> {
    let rows: String = sqlx::query_scalar(accounts_sql!(
        "selection: a page",
        "select * from accounts where id > ?1 and disconnected_at is null order by id limit ?2"
    ))
    .bind(after)
    .bind(PAGE)
    .fetch_one(connection)
    .await
    .map_err(failure)?;
    accounts(&rows, settings, now)
}

/// These accounts.
pub async fn of(
    connection: &mut SqliteConnection,
    ids: &[i64],
    settings: &Settings,
    now: DateTime<Utc>,
) -> StoreResult<Vec<Account>> {
    let rows: String = sqlx::query_scalar(accounts_sql!(
        "selection: these",
        "select o.* from json_each(?1) as asked cross join accounts o on o.id = asked.value"
    ))
    .bind(json(ids)?)
    .fetch_one(connection)
    .await
    .map_err(failure)?;
    accounts(&rows, settings, now)
}

fn accounts(rows: &str, settings: &Settings, now: DateTime<Utc>) -> StoreResult<Vec<Account>> {
    let mut rows: Vec<Row> = read(rows)?;
    rows.sort_unstable_by_key(|row| row.0);
    rows.into_iter().map(|row| Account::of(row, settings, now)).collect()
}
