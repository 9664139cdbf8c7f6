//! Recurring campaigns: templates, and what their ticks make.

mod tick;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::super::SqliteStore;
use super::super::failure::{failure, unreadable};
use super::super::rows::{at, cursor, expect_rows, get, limit};
use super::cohort::to_json;
use super::stored;
use crate::domain::actor::Actor;
use crate::domain::calendar::{self, Cron};
use crate::domain::campaign::CampaignId;
use crate::domain::campaign::template::{NewTemplate, TemplateCommand, TemplateId, TemplateView};
use crate::domain::refusal::Refusal;
use crate::store::{Page, Paged, StoreResult};

impl SqliteStore {
    pub(in super::super) async fn add_template(&self, template: &NewTemplate) -> StoreResult<TemplateView> {
        let mut tx = self.write().await?;
        let now = self.now();
        let first = first(&template.cron, now, template.zone)?;
        let exists: bool = sqlx::query_scalar(
            "/* template: exists */ select exists (select 1 from campaign_templates where name = ?1)",
        )
        .bind(&template.name)
        .fetch_one(&mut *tx)
        .await
        .map_err(failure)?;
        if exists {
            return Err(Refusal::TemplateExists { name: template.name.clone() }.into());
        }
        let id: i64 = sqlx::query_scalar(
            "/* template: create */ insert into campaign_templates (name, filter, cron, zone, accounts_max, terms, next_at,
                    created_at, created_by, created_from)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) returning id",
        )
        .bind(&template.name)
        .bind(template.filter.text())
        .bind(template.cron.text())
        .bind(template.zone.name())
        .bind(template.accounts_max)
        .bind(to_json(&template.terms)?)
        .bind(at(first))
        .bind(at(now))
        .bind(&template.by.name)
        .bind(template.by.source.as_str())
        .fetch_one(&mut *tx)
        .await
        .map_err(failure)?;
        let view = view(&mut tx, TemplateId(id)).await?;
        tx.commit().await.map_err(failure)?;
        Ok(view)
    }

    pub(in super::super) async fn change_template(
        &self,
        template: TemplateId,
        command: TemplateCommand,
        by: &Actor,
    ) -> StoreResult<TemplateView> {
        let mut tx = self.write().await?;
        let found = view(&mut tx, template).await?;
        let (approved_by, next_at) = match command {
            TemplateCommand::Approve if found.created_by == by.name => {
                return Err(Refusal::OwnTemplateApproval { template, maker: found.created_by }.into());
            }
            TemplateCommand::Approve => (Some(by.name.clone()), found.next_at),
            TemplateCommand::Unapprove => (None, found.next_at),
            TemplateCommand::SwitchOff => (found.approved_by, None),
            TemplateCommand::SwitchOn if found.next_at.is_some() => return Ok(found),
            TemplateCommand::SwitchOn => {
                let cron = Cron::parse_user(&found.cron).map_err(|error| unreadable(&error))?;
                (found.approved_by, Some(first(&cron, self.now(), found.zone)?))
            }
        };
        let written = sqlx::query(
            "/* template: change */ update campaign_templates
                set approved_by = ?2, next_at = ?3, changed_at = ?4, changed_by = ?5
              where id = ?1",
        )
        .bind(template.0)
        .bind(approved_by)
        .bind(next_at.map(at))
        .bind(at(self.now()))
        .bind(&by.name)
        .execute(&mut *tx)
        .await
        .map_err(failure)?;
        expect_rows(&written, 1, "template: change")?;
        let view = view(&mut tx, template).await?;
        tx.commit().await.map_err(failure)?;
        Ok(view)
    }
}

fn first(cron: &Cron, after: DateTime<Utc>, zone: Tz) -> Result<DateTime<Utc>, Refusal> {
    cron.next_after_in(after, zone).ok_or_else(|| Refusal::NeverFires { cron: cron.text().into() })
}

/// What a template is shown by; the condition and the order are to be added.
macro_rules! templates_sql {
    ($name:literal, $rest:literal) => {
        concat!(
            "/* ",
            $name,
            " */ select t.id, t.name, t.filter, t.cron, t.zone, t.accounts_max, t.terms, t.approved_by, t.next_at,
                    t.last_tick_at, t.last_note, t.created_at, t.created_by, t.changed_at, t.changed_by,
                    (select c.id from campaigns c where c.template_id = t.id
                      order by c.tick_at desc limit 1) as last_campaign_id
               from campaign_templates t ",
            $rest
        )
    };
}

/// # Errors
/// [`Refusal::UnknownTemplate`].
pub async fn view(connection: &mut SqliteConnection, template: TemplateId) -> StoreResult<TemplateView> {
    let row = sqlx::query(templates_sql!("template: view", "where t.id = ?1"))
        .bind(template.0)
        .fetch_optional(connection)
        .await
        .map_err(failure)?;
    template_view(&row.ok_or(Refusal::UnknownTemplate { template })?)
}

/// Newest first.
pub async fn list(connection: &mut SqliteConnection, page: &Page) -> StoreResult<Paged<TemplateView>> {
    let rows = sqlx::query(templates_sql!("templates: list", "where t.id < ?1 order by t.id desc limit ?2"))
        .bind(cursor(page)?.unwrap_or(i64::MAX))
        .bind(limit(page))
        .fetch_all(connection)
        .await
        .map_err(failure)?;
    let views = rows.iter().map(template_view).collect::<StoreResult<Vec<_>>>()?;
    Ok(Paged::cut(views, page.limit, |view| view.id.to_string()))
}

fn template_view(row: &SqliteRow) -> StoreResult<TemplateView> {
    Ok(TemplateView {
        id: TemplateId(get(row, "id")?),
        name: get(row, "name")?,
        filter: get(row, "filter")?,
        cron: get(row, "cron")?,
        zone: calendar::parse_zone(get(row, "zone")?).map_err(|error| unreadable(&error))?,
        accounts_max: get(row, "accounts_max")?,
        terms: stored::terms(get(row, "terms")?)?,
        approved_by: get(row, "approved_by")?,
        next_at: get(row, "next_at")?,
        last_tick_at: get(row, "last_tick_at")?,
        last_note: get(row, "last_note")?,
        last_campaign_id: get::<Option<i64>, _>(row, "last_campaign_id")?.map(CampaignId),
        created_at: get(row, "created_at")?,
        created_by: get(row, "created_by")?,
        changed_at: get(row, "changed_at")?,
        changed_by: get(row, "changed_by")?,
    })
}

/// What came of a tick.
async fn note(
    connection: &mut SqliteConnection,
    template: TemplateId,
    tick_at: DateTime<Utc>,
    next_at: Option<DateTime<Utc>>,
    note: &str,
) -> StoreResult<()> {
    let written = sqlx::query(
        "/* template: note */ update campaign_templates set last_tick_at = ?2, next_at = ?3, last_note = ?4 where id = ?1",
    )
    .bind(template.0)
    .bind(at(tick_at))
    .bind(next_at.map(at))
    .bind(note)
    .execute(connection)
    .await
    .map_err(failure)?;
    expect_rows(&written, 1, "template: note")
}
