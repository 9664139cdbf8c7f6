//! What an overview is made from; a request is decided from the same.

use sqlx::postgres::PgConnection;

use super::failure::Failure;
use super::{PostgresStore, accounts, events, family, installation, snapshot};
use crate::domain::account::{AccountId, AccountNumber};
use crate::domain::glance::GlanceFacts;
use crate::domain::overview::OverviewFacts;

pub(super) async fn facts(store: &PostgresStore, number: &AccountNumber) -> Result<OverviewFacts, Failure> {
    let mut tx = store.begin_view().await?;
    let facts = load(&mut tx, number).await?;
    tx.rollback().await;
    Ok(facts)
}

pub(super) async fn glance(store: &PostgresStore, number: &AccountNumber) -> Result<GlanceFacts, Failure> {
    let mut tx = store.begin_view().await?;
    let account = accounts::view(&mut tx, number).await?;
    let id = id(&mut tx, number).await?;
    let (mut snapshots, _) = snapshot::load(&mut tx, &[id], &[]).await?;
    let mut snapshot = snapshots.remove(&AccountId(id)).ok_or_else(|| accounts::unknown(number))??;
    let (parent, open_event) = family::around(&mut tx, id).await?;
    snapshot.family.parent = parent;
    let children = family::child_counts(&mut tx, id).await?;
    let company_zone = installation::settings(&mut tx).await?.company_zone;
    tx.rollback().await;
    Ok(GlanceFacts { account, snapshot, children, open_event, company_zone })
}

async fn id(db: &mut PgConnection, number: &AccountNumber) -> Result<i64, Failure> {
    Ok(sqlx::query_scalar("/* overview: account */ select id from accounts where number = $1")
        .bind(number.as_str())
        .fetch_one(db)
        .await?)
}

/// In one view of everything, or under the locks of the account and its family.
pub(super) async fn load(db: &mut PgConnection, number: &AccountNumber) -> Result<OverviewFacts, Failure> {
    let account = accounts::view(db, number).await?;
    let id = id(db, number).await?;
    let (mut snapshots, now) = snapshot::load(db, &[id], &[id]).await?;
    // Seen by the same view, or under the same lock, as the account a moment ago.
    let mut snapshot = snapshots.remove(&AccountId(id)).ok_or_else(|| accounts::unknown(number))??;
    if !snapshot.family.children.is_empty() {
        snapshot.family.descendants = family::descendants(db, id).await?;
    }
    let open_event = match account.open_event {
        None => None,
        Some(event) => Some(events::view(db, event).await?),
    };
    let settings = installation::settings(db).await?;
    let statuses = installation::statuses(db).await?;
    Ok(OverviewFacts { account, snapshot, open_event, settings, statuses, now })
}
