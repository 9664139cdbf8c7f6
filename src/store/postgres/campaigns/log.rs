//! The log of a campaign.

use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::stored;
use crate::domain::actor::Actor;
use crate::domain::campaign::CampaignId;
use crate::domain::campaign::log::{Entry, Kind, Told};
use crate::store::postgres::failure::{Failure, expect_rows};
use crate::store::postgres::rows::{id_cursor, unreadable};
use crate::store::{Page, Paged};

pub(super) async fn write(
    db: &mut PgConnection,
    campaign: CampaignId,
    (kind, message): Told,
    by: &Actor,
) -> Result<(), Failure> {
    let written = sqlx::query(
        "/* campaign log: write */
         insert into campaign_log (campaign_id, at, kind, message, actor, source)
         values ($1, clock_timestamp(), $2, $3, $4, $5)",
    )
    .bind(campaign.0)
    .bind(kind.as_str())
    .bind(message)
    .bind(&by.name)
    .bind(by.source.as_str())
    .execute(db)
    .await?;
    expect_rows("entries of a campaign's log", 1, written.rows_affected())
}

/// Oldest first.
pub(super) async fn list(db: &mut PgConnection, campaign: CampaignId, page: &Page) -> Result<Paged<Entry>, Failure> {
    stored::load(db, campaign).await?;
    let found = sqlx::query(
        "/* campaign log: list */
         select id, at, kind, message, actor, source
           from campaign_log
          where campaign_id = $1 and ($2::bigint is null or id > $2)
          order by id
          limit $3",
    )
    .bind(campaign.0)
    .bind(id_cursor(page.after.as_deref())?)
    .bind(i64::from(page.limit) + 1)
    .fetch_all(db)
    .await?;
    let mut entries = Vec::with_capacity(found.len());
    for row in &found {
        let kind: &str = row.try_get("kind")?;
        let entry = Entry {
            at: row.try_get("at")?,
            kind: Kind::parse(kind).ok_or_else(|| unreadable("kind of a log entry", kind))?,
            message: row.try_get("message")?,
            actor: row.try_get("actor")?,
            source: row.try_get("source")?,
        };
        entries.push((row.try_get::<i64, _>("id")?, entry));
    }
    let Paged { items, next_cursor } = Paged::cut(entries, page.limit, |(id, _)| id.to_string());
    Ok(Paged { items: items.into_iter().map(|(_, entry)| entry).collect(), next_cursor })
}
