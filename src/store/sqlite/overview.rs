//! What a disconnect is decided from: for an overview of one, and for the worker's batch.

use std::collections::HashMap;

use chrono::NaiveDate;
use serde::Deserialize;
use serde_json::Value;
use sqlx::SqliteConnection;

use super::SqliteStore;
use super::accounts::{id, view};
use super::failure::{failure, unreadable};
use super::rows::{instant, json};
use super::{events, family, settings};
use crate::domain::account::{AccountId, AccountNumber, Contact, Status};
use crate::domain::address::{Assignment, AssignmentId};
use crate::domain::event::EventId;
use crate::domain::family::Family;
use crate::domain::glance::GlanceFacts;
use crate::domain::invoice::{Debit, DebitId};
use crate::domain::money::Currency;
use crate::domain::overview::OverviewFacts;
use crate::domain::plan::Snapshot;
use crate::domain::refusal::Refusal;
use crate::store::{StoreError, StoreResult};

impl SqliteStore {
    pub(super) async fn load_overview(&self, number: &AccountNumber) -> StoreResult<OverviewFacts> {
        let mut tx = self.read().await?;
        let account = id(&mut tx, number).await?;
        self.overview_facts_of(&mut tx, account).await
    }

    pub(super) async fn load_glance(&self, number: &AccountNumber) -> StoreResult<GlanceFacts> {
        let mut tx = self.read().await?;
        let id = id(&mut tx, number).await?;
        let account = view(&mut tx, id).await?;
        let snapshot = snapshots(&mut tx, &[id], &[]).await?.remove(&id);
        let mut snapshot = snapshot.ok_or_else(vanished)??;
        let (parent, open_event) = family::around(&mut tx, id).await?;
        snapshot.family.parent = parent;
        let children = family::child_counts(&mut tx, id).await?;
        let company_zone = settings::settings(&mut tx).await?.company_zone;
        Ok(GlanceFacts { account, snapshot, children, open_event, company_zone })
    }

    /// What an overview is made from; a request is decided from the same. In a transaction.
    pub(super) async fn overview_facts_of(
        &self,
        connection: &mut SqliteConnection,
        account_id: AccountId,
    ) -> StoreResult<OverviewFacts> {
        let account = view(connection, account_id).await?;
        let snapshot = snapshots(connection, &[account_id], &[account_id]).await?.remove(&account_id);
        let mut snapshot = snapshot.ok_or_else(vanished)??;
        if !snapshot.family.children.is_empty() {
            snapshot.family.descendants = family::descendants(connection, account_id).await?;
        }
        let open_event = match account.open_event {
            Some(EventId(open)) => events::views(connection, &[open]).await?.pop(),
            None => None,
        };
        Ok(OverviewFacts {
            account,
            snapshot,
            open_event,
            settings: settings::settings(connection).await?,
            statuses: settings::statuses(connection).await?,
            now: self.now(),
        })
    }
}

fn vanished() -> StoreError {
    StoreError::Rejected("an account vanished while it was read".into())
}

/// With their parents and children for `with_family`. In a transaction, so that all of it is true at one moment. What
/// can't be read of one account is that one's error, and keeps nobody from the others.
pub async fn snapshots(
    connection: &mut SqliteConnection,
    accounts: &[AccountId],
    with_family: &[AccountId],
) -> StoreResult<HashMap<AccountId, StoreResult<Snapshot>>> {
    let ids: Vec<i64> = accounts.iter().map(|account| account.0).collect();
    let ids = json(&ids)?;
    let target = settings::target(connection).await?;
    // As one value: of a batch there are hundreds, and a row each takes several times as long.
    let found: String = sqlx::query_scalar(
        "/* snapshot: accounts */ select json_group_array(json_array(a.id, a.number, a.name, a.email, a.mailing_address,
                s.name, s.activates_account, a.disconnected_at, a.currency, g.id, sa.address, g.assigned_from))
           from json_each(?1) as asked cross join accounts a on a.id = asked.value
           join account_statuses s on s.id = a.status_id
           left join address_assignments g on g.account_id = a.id and g.assigned_until is null
           left join serviceable_addresses sa on sa.id = g.address_id",
    )
    .bind(&ids)
    .fetch_one(&mut *connection)
    .await
    .map_err(failure)?;
    let found: Vec<Found> =
        serde_json::from_str(&found).map_err(|error| unreadable(&format!("an account: {error}")))?;
    let mut snapshots = HashMap::with_capacity(found.len());
    for found in found {
        snapshots.insert(AccountId(found.id), found.snapshot(&target));
    }
    for (account, debit) in debits(connection, &ids).await? {
        match (snapshots.get_mut(&account), debit) {
            (Some(Ok(snapshot)), Ok(debit)) => snapshot.debits.push(debit),
            (Some(snapshot @ Ok(_)), Err(error)) => *snapshot = Err(error),
            (Some(Err(_)) | None, _) => {}
        }
    }
    if !with_family.is_empty() {
        for (account, family) in family::relatives(connection, with_family).await? {
            if let Some(Ok(snapshot)) = snapshots.get_mut(&account) {
                snapshot.family = family;
            }
        }
    }
    Ok(snapshots)
}

/// An account as the snapshot's statement answers it, column by column.
#[derive(Deserialize)]
struct Found {
    id: i64,
    number: String,
    name: String,
    email: Option<String>,
    mailing_address: Option<String>,
    status: String,
    activates_account: i64,
    disconnected_at: Option<String>,
    currency: String,
    assignment: Option<i64>,
    address: Option<String>,
    assigned_from: Option<String>,
}

impl Found {
    fn snapshot(self, target: &Result<Status, Refusal>) -> StoreResult<Snapshot> {
        let assignment = match (self.assignment, self.address, self.assigned_from) {
            (Some(id), Some(address), Some(from)) => {
                Some(Assignment { id: AssignmentId(id), address, from: instant(&from)? })
            }
            (None, _, _) => None,
            (Some(id), _, _) => return Err(unreadable(&format!("its assignment {id} is to no address"))),
        };
        Ok(Snapshot {
            number: AccountNumber::from_stored(self.number),
            name: self.name,
            contact: Contact { email: self.email, mailing_address: self.mailing_address },
            family: Family::default(),
            status: Status { name: self.status, activates_account: self.activates_account != 0 },
            disconnected_at: self.disconnected_at.as_deref().map(instant).transpose()?,
            currency: Currency::parse(&self.currency).map_err(|error| unreadable(&error))?,
            debits: Vec::new(),
            assignment,
            standing: None,
            target: target.clone(),
        })
    }
}

/// A debit as its statement answers it: account, id, description, amount, tax, charged on.
type FoundDebit = (i64, i64, String, i64, i64, NaiveDate);

/// The uninvoiced debits of accounts, which are given as JSON.
async fn debits(
    connection: &mut SqliteConnection,
    accounts: &str,
) -> StoreResult<Vec<(AccountId, StoreResult<Debit>)>> {
    let found: String = sqlx::query_scalar(
        "/* snapshot: debits */ select json_group_array(json_array(d.account_id, d.id, d.description, d.amount, d.tax,
                d.charged_on))
           from json_each(?1) as asked cross join debits d on d.account_id = asked.value and d.invoice_id is null",
    )
    .bind(accounts)
    .fetch_one(connection)
    .await
    .map_err(failure)?;
    let debit = |(account, id, description, amount, tax, charged_on): FoundDebit| {
        (AccountId(account), Ok(Debit { id: DebitId(id), description, amount, tax, charged_on }))
    };
    if let Ok(found) = serde_json::from_str::<Vec<FoundDebit>>(&found) {
        return Ok(found.into_iter().map(debit).collect());
    }
    // One of them can't be read: they are looked at one by one.
    let unreadable = |error| unreadable(&format!("a debit: {error}"));
    let found: Vec<(i64, Value, Value, Value, Value, Value)> = serde_json::from_str(&found).map_err(unreadable)?;
    let read = |(account, id, description, amount, tax, charged_on)| {
        let row = serde_json::json!([account, id, description, amount, tax, charged_on]);
        serde_json::from_value::<FoundDebit>(row)
            .map_or_else(|error| (AccountId(account), Err(unreadable(error))), debit)
    };
    Ok(found.into_iter().map(read).collect())
}
