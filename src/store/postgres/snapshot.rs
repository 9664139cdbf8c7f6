//! What a disconnect is decided from, for the worker and for the overview alike.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::failure::Failure;
use super::{family, rows};
use crate::domain::account::{AccountId, AccountNumber, Status};
use crate::domain::address::{Assignment, AssignmentId};
use crate::domain::family::Family;
use crate::domain::invoice::{Debit, DebitId};
use crate::domain::plan::Snapshot;
use crate::domain::refusal::Refusal;
use crate::domain::settings::{SettingKey, Settings};
use crate::store::StoreError;

/// An account's snapshot, or what of it can't be read: that is its own trouble, and keeps nobody from the others.
type Loaded = Result<Snapshot, StoreError>;

/// The snapshots of `accounts`, with their parents and children for `with_family`, and the database's now. The worker
/// holds the accounts' locks before it asks, in an earlier statement: what was committed while it waited for them must be
/// in here.
pub(super) async fn load(
    db: &mut PgConnection,
    accounts: &[i64],
    with_family: &[i64],
) -> Result<(HashMap<AccountId, Loaded>, DateTime<Utc>), Failure> {
    let (target, now) = target(db).await?;
    let mut snapshots = HashMap::with_capacity(accounts.len());
    let found = sqlx::query(
        "/* snapshot: accounts */
         select a.id, a.number, a.name, a.email, a.mailing_address, a.disconnected_at, a.currency, s.name as status, s.activates_account,
                o.id as assignment_id, o.assigned_from, p.address
           from accounts a
           join account_statuses s on s.id = a.status_id
           left join address_assignments o on o.account_id = a.id and o.assigned_until is null
           left join serviceable_addresses p on p.id = o.address_id
          where a.id = any($1)",
    )
    .bind(accounts)
    .fetch_all(&mut *db)
    .await?;
    for row in &found {
        snapshots.insert(AccountId(row.try_get("id")?), snapshot(row, &target).map_err(StoreError::from));
    }
    load_debits(db, accounts, &mut snapshots).await?;
    if !with_family.is_empty() {
        for (account, family) in family::relatives(db, with_family).await? {
            if let Some(Ok(snapshot)) = snapshots.get_mut(&account) {
                snapshot.family = family;
            }
        }
    }
    Ok((snapshots, now))
}

fn snapshot(row: &PgRow, target: &Result<Status, Refusal>) -> Result<Snapshot, Failure> {
    let assignment = match row.try_get::<Option<i64>, _>("assignment_id")? {
        None => None,
        Some(id) => Some(Assignment {
            id: AssignmentId(id),
            address: row.try_get("address")?,
            from: row.try_get("assigned_from")?,
        }),
    };
    Ok(Snapshot {
        number: AccountNumber::from_stored(row.try_get("number")?),
        name: row.try_get("name")?,
        contact: rows::contact(row)?,
        family: Family::default(),
        status: rows::status(row)?,
        disconnected_at: row.try_get("disconnected_at")?,
        currency: rows::currency(row.try_get("currency")?)?,
        debits: Vec::new(),
        assignment,
        standing: None,
        target: target.clone(),
    })
}

async fn load_debits(
    db: &mut PgConnection,
    accounts: &[i64],
    snapshots: &mut HashMap<AccountId, Loaded>,
) -> Result<(), Failure> {
    let debits = sqlx::query(
        "/* snapshot: uninvoiced debits */
         select account_id, id, description, amount, tax, charged_on
           from debits
          where account_id = any($1) and invoice_id is null",
    )
    .bind(accounts)
    .fetch_all(db)
    .await?;
    for row in &debits {
        let Some(account) = snapshots.get_mut(&AccountId(row.try_get("account_id")?)) else { continue };
        if let Ok(snapshot) = account {
            match debit(row) {
                Ok(debit) => snapshot.debits.push(debit),
                Err(failure) => *account = Err(failure.into()),
            }
        }
    }
    Ok(())
}

fn debit(row: &PgRow) -> Result<Debit, Failure> {
    Ok(Debit {
        id: DebitId(row.try_get("id")?),
        description: row.try_get("description")?,
        amount: row.try_get("amount")?,
        tax: row.try_get("tax")?,
        charged_on: row.try_get("charged_on")?,
    })
}

/// The status that a disconnect leads to, or why there is none; and the database's now.
async fn target(db: &mut PgConnection) -> Result<(Result<Status, Refusal>, DateTime<Utc>), Failure> {
    let found = sqlx::query(
        "/* snapshot: disconnect status */
         select c.value, s.name as status, s.activates_account, n.now
           from (select clock_timestamp() as now) n
           left join settings c on c.key = $1
           left join account_statuses s on s.name = c.value",
    )
    .bind(SettingKey::DisconnectStatus.as_str())
    .fetch_one(db)
    .await?;
    let mut settings = Settings::default();
    if let Some(value) = found.try_get("value")? {
        settings.disconnect_status = value;
    }
    let statuses = match found.try_get::<Option<String>, _>("status")? {
        Some(_) => vec![rows::status(&found)?],
        None => Vec::new(),
    };
    Ok((settings.target(&statuses).cloned(), found.try_get("now")?))
}
