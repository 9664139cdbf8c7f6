//! The log of a campaign.

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;

use super::super::failure::failure;
use super::super::rows::{at, cursor, expect_rows, get, limit, word};
use super::stored;
use crate::domain::actor::Actor;
use crate::domain::campaign::CampaignId;
use crate::domain::campaign::log::{Entry, Kind, Told};
use crate::store::{Page, Paged, StoreResult};

pub async fn write(
    connection: &mut SqliteConnection,
    campaign: CampaignId,
    (kind, message): Told,
    by: &Actor,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    let written = sqlx::query(
        "/* campaign log: write */ insert into campaign_log (campaign_id, at, kind, message, actor, source)
         values (?1, ?2, ?3, ?4, ?5, ?6)",
    )
    .bind(campaign.0)
    .bind(at(now))
    .bind(kind.as_str())
    .bind(message)
    .bind(&by.name)
    .bind(by.source.as_str())
    .execute(connection)
    .await
    .map_err(failure)?;
    expect_rows(&written, 1, "campaign log: write")
}

/// Oldest first. In a transaction.
pub async fn list(connection: &mut SqliteConnection, campaign: CampaignId, page: &Page) -> StoreResult<Paged<Entry>> {
    stored::load(connection, campaign).await?;
    let rows = sqlx::query(
        "/* campaign log: list */ select id, at, kind, message, actor, source from campaign_log
          where campaign_id = ?1 and id > ?2 order by id limit ?3",
    )
    .bind(campaign.0)
    .bind(cursor(page)?.unwrap_or(0))
    .bind(limit(page))
    .fetch_all(connection)
    .await
    .map_err(failure)?;
    let mut entries = Vec::with_capacity(rows.len());
    for row in &rows {
        let entry = Entry {
            at: get(row, "at")?,
            kind: word(row, "kind", Kind::parse)?,
            message: get(row, "message")?,
            actor: get(row, "actor")?,
            source: get(row, "source")?,
        };
        entries.push((get::<i64, _>(row, "id")?, entry));
    }
    let Paged { items, next_cursor } = Paged::cut(entries, page.limit, |(id, _)| id.to_string());
    Ok(Paged { items: items.into_iter().map(|(_, entry)| entry).collect(), next_cursor })
}
