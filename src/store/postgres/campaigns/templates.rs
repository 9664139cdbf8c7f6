//! Recurring campaigns: their templates, and the ticks that make a campaign of one.

use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::log as campaign_log;
use super::stored::{self, Stored, json};
use super::{cohort, commands, dry_run};
use crate::domain::actor::{Actor, Source};
use crate::domain::calendar::Cron;
use crate::domain::campaign::template::{self, NewTemplate, TemplateCommand, TemplateId, TemplateView, Tick};
use crate::domain::campaign::{CampaignId, Draft, log};
use crate::domain::refusal::Refusal;
use crate::store::campaigns::{Cohort, Making, Ticked};
use crate::store::postgres::failure::{Failure, expect_rows};
use crate::store::postgres::rows::{self, id_cursor, unreadable};
use crate::store::postgres::transaction::Transaction;
use crate::store::postgres::{BULK_LIMIT, PostgresStore, VERB_LIMIT, hints, within};
use crate::store::{Page, Paged, StoreError};

/// A template as it is shown: what is asked before the columns, and what comes after.
macro_rules! template_sql {
    ($name:literal, $rest:literal) => {
        concat!(
            "/* ",
            $name,
            " */
             select t.id, t.name, t.filter, t.cron, t.zone, t.accounts_max, t.terms, t.approved_by, t.next_at,
                    t.last_tick_at, t.last_note, t.created_at, t.created_by, t.changed_at, t.changed_by,
                    (select max(c.id) from campaigns c where c.template_id = t.id) as last_campaign_id
               from campaign_templates t ",
            $rest
        )
    };
}

fn of(row: &PgRow) -> Result<TemplateView, Failure> {
    let zone: String = row.try_get("zone")?;
    Ok(TemplateView {
        id: TemplateId(row.try_get("id")?),
        name: row.try_get("name")?,
        filter: row.try_get("filter")?,
        cron: row.try_get("cron")?,
        zone: rows::zone(Some(zone))?.unwrap_or(Tz::UTC),
        accounts_max: row.try_get("accounts_max")?,
        terms: stored::terms(row.try_get("terms")?)?,
        approved_by: row.try_get("approved_by")?,
        next_at: row.try_get("next_at")?,
        last_tick_at: row.try_get("last_tick_at")?,
        last_note: row.try_get("last_note")?,
        last_campaign_id: row.try_get::<Option<i64>, _>("last_campaign_id")?.map(CampaignId),
        created_at: row.try_get("created_at")?,
        created_by: row.try_get("created_by")?,
        changed_at: row.try_get("changed_at")?,
        changed_by: row.try_get("changed_by")?,
    })
}

/// # Errors
/// [`Refusal::UnknownTemplate`].
pub(super) async fn view(db: &mut PgConnection, template: TemplateId) -> Result<TemplateView, Failure> {
    let found = sqlx::query(template_sql!("template", "where t.id = $1")).bind(template.0).fetch_optional(db).await?;
    of(&found.ok_or(Refusal::UnknownTemplate { template })?)
}

pub(super) async fn list(db: &mut PgConnection, page: &Page) -> Result<Paged<TemplateView>, Failure> {
    let found =
        sqlx::query(template_sql!("templates", "where ($1::bigint is null or t.id < $1) order by t.id desc limit $2"))
            .bind(id_cursor(page.after.as_deref())?)
            .bind(i64::from(page.limit) + 1)
            .fetch_all(db)
            .await?;
    let templates = found.iter().map(of).collect::<Result<Vec<_>, _>>()?;
    Ok(Paged::cut(templates, page.limit, |template| template.id.to_string()))
}

pub(super) async fn create(store: &PostgresStore, template: &NewTemplate) -> Result<TemplateView, Failure> {
    let mut tx = store.begin().await?;
    let now = now(&mut tx).await?;
    let first = first(&template.cron, now, template.zone)?;
    let id: Option<i64> = sqlx::query_scalar(
        "/* templates: create */
         insert into campaign_templates (name, filter, cron, zone, accounts_max, terms, next_at, created_by,
                                         created_from)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict (name) do nothing
         returning id",
    )
    .bind(&template.name)
    .bind(template.filter.text())
    .bind(template.cron.text())
    .bind(template.zone.name())
    .bind(template.accounts_max)
    .bind(json(&template.terms)?)
    .bind(first)
    .bind(&template.by.name)
    .bind(template.by.source.as_str())
    .fetch_optional(&mut *tx)
    .await?;
    let id = id.ok_or_else(|| Refusal::TemplateExists { name: template.name.clone() })?;
    let view = view(&mut tx, TemplateId(id)).await?;
    hints::notify(&mut tx).await?;
    tx.commit().await?;
    Ok(view)
}

async fn now(db: &mut PgConnection) -> Result<DateTime<Utc>, Failure> {
    Ok(sqlx::query_scalar("/* templates: now */ select clock_timestamp()").fetch_one(db).await?)
}

fn first(cron: &Cron, after: DateTime<Utc>, zone: Tz) -> Result<DateTime<Utc>, Refusal> {
    cron.next_after_in(after, zone).ok_or_else(|| Refusal::NeverFires { cron: cron.text().into() })
}

fn cron(text: &str) -> Result<Cron, Failure> {
    Cron::parse_user(text).map_err(|_| unreadable("cron expression", text))
}

pub(super) async fn command(
    store: &PostgresStore,
    template: TemplateId,
    command: TemplateCommand,
    by: &Actor,
) -> Result<TemplateView, Failure> {
    let mut tx = store.begin().await?;
    let found = sqlx::query(template_sql!("templates: lock", "where t.id = $1 for update of t"))
        .bind(template.0)
        .fetch_optional(&mut *tx)
        .await?;
    let found = of(&found.ok_or(Refusal::UnknownTemplate { template })?)?;
    let now = now(&mut tx).await?;
    let (approved_by, next_at) = match command {
        TemplateCommand::Approve if found.created_by == by.name => {
            return Err(Refusal::OwnTemplateApproval { template, maker: by.name.clone() }.into());
        }
        TemplateCommand::Approve => (Some(by.name.clone()), found.next_at),
        TemplateCommand::Unapprove => (None, found.next_at),
        TemplateCommand::SwitchOff => (found.approved_by, None),
        TemplateCommand::SwitchOn if found.next_at.is_some() => return Ok(found),
        TemplateCommand::SwitchOn => (found.approved_by, Some(first(&cron(&found.cron)?, now, found.zone)?)),
    };
    let changed = sqlx::query(
        "/* templates: command */ 
         update campaign_templates
            set approved_by = $2, next_at = $3, changed_at = clock_timestamp(), changed_by = $4
          where id = $1",
    )
    .bind(template.0)
    .bind(approved_by)
    .bind(next_at)
    .bind(&by.name)
    .execute(&mut *tx)
    .await?;
    expect_rows("templates to command", 1, changed.rows_affected())?;
    let view = view(&mut tx, template).await?;
    hints::notify(&mut tx).await?;
    tx.commit().await?;
    Ok(view)
}

/// See [`crate::store::campaigns::CampaignDispatch::tick`].
pub(super) async fn tick(store: &PostgresStore, failures_max: i32) -> Result<Ticked, Failure> {
    let note = make_due(store, failures_max).await?;
    Ok(Ticked { note, next: within(VERB_LIMIT, next_tick(store)).await? })
}

/// How long until the next tick of any template.
async fn next_tick(store: &PostgresStore) -> Result<Option<Duration>, Failure> {
    let found: Option<f64> = sqlx::query_scalar(
        "/* templates: next tick */
         select extract(epoch from min(next_at) - clock_timestamp())::float8
           from campaign_templates where next_at is not null",
    )
    .fetch_one(&store.pool)
    .await?;
    // Never negative; a tick thousands of years ahead still fits.
    Ok(found.map(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)))
}

/// A template whose tick is due, under the lock of its row.
struct Due {
    template: TemplateView,
    tick: Tick,
}

/// The campaign of one tick that is due, made and where it may be started in one transaction. Answers a sentence for the
/// log, where there was such a tick.
async fn make_due(store: &PostgresStore, failures_max: i32) -> Result<Option<String>, Failure> {
    let mut tx = within(VERB_LIMIT, store.begin()).await?;
    let due = match within(VERB_LIMIT, due(&mut tx)).await? {
        Found::Due(due) => due,
        Found::SwitchedOff(note) => {
            within(VERB_LIMIT, tx.commit()).await?;
            return Ok(Some(note));
        }
        Found::Nothing => return Ok(None),
    };
    let made = within(BULK_LIMIT, make(&mut tx, &due, failures_max)).await;
    let note = match made {
        Ok(note) => note,
        Err(error) if error.is_transient() => return Err(error.into()),
        Err(error) => {
            // It would be no different the next time. The tick is over, and the template says why.
            tx.rollback().await;
            tx = within(VERB_LIMIT, store.begin()).await?;
            match error {
                StoreError::Refused(Refusal::EmptyCohort { why }) => format!("{why}, so no campaign was made"),
                error => format!("no campaign was made: {error}"),
            }
        }
    };
    let end = async {
        let note = format!("{note}{}", due.tick.missed_note());
        if !end(&mut tx, &due, &note).await? {
            return Ok(None);
        }
        hints::notify(&mut tx).await?;
        Ok(Some(format!("template {} ({}): {note}", due.template.id, due.template.name)))
    };
    let sentence = within(VERB_LIMIT, end).await?;
    within(BULK_LIMIT, tx.commit()).await?;
    Ok(sentence)
}

enum Found {
    Due(Box<Due>),
    /// It could not be read; with a sentence for the log.
    SwitchedOff(String),
    Nothing,
}

/// One that another process has in hand is passed over.
async fn due(tx: &mut Transaction) -> Result<Found, Failure> {
    let found = sqlx::query(template_sql!(
        "templates: a tick that is due",
        "where t.next_at <= statement_timestamp() order by t.next_at limit 1 for update of t skip locked"
    ))
    .fetch_optional(&mut **tx)
    .await?;
    let Some(found) = found else { return Ok(Found::Nothing) };
    let id = TemplateId(found.try_get("id")?);
    let template = match of(&found).map_err(StoreError::from) {
        Ok(template) => template,
        // It would come up first again, for ever, and hold up all others.
        Err(StoreError::Rejected(error)) => return switch_off(tx, id, &error).await,
        Err(error) => return Err(error.into()),
    };
    let Some(next_at) = template.next_at else { return Ok(Found::Nothing) };
    let now = now(tx).await?;
    let tick = match cron(&template.cron) {
        Ok(cron) => template::tick(&cron, template.zone, next_at, now),
        // Made by another program. It is over after this one, and `make` says why.
        Err(_) => Some(Tick { tick_at: next_at, missed: 0, next_at: None }),
    };
    Ok(tick.map_or(Found::Nothing, |tick| Found::Due(Box::new(Due { template, tick }))))
}

async fn switch_off(tx: &mut Transaction, template: TemplateId, error: &str) -> Result<Found, Failure> {
    let note = format!("it was switched off: {error}");
    let written = sqlx::query(
        "/* templates: switch off */ update campaign_templates set next_at = null, last_note = $2 where id = $1",
    )
    .bind(template.0)
    .bind(&note)
    .execute(&mut **tx)
    .await?;
    expect_rows("templates to switch off", 1, written.rows_affected())?;
    Ok(Found::SwitchedOff(format!("campaign template {template}: {note}")))
}

/// What came of it, in words.
async fn make(tx: &mut Transaction, due: &Due, failures_max: i32) -> Result<String, Failure> {
    let Due { template, tick } = due;
    cron(&template.cron)?;
    let filter = stored::filter(&template.filter)?;
    let draft = Draft {
        name: name(template, tick.tick_at),
        terms: template.terms.clone(),
        filter: Some(filter.clone()),
        // Whoever made the template meant what its filter selects.
        everyone: true,
        late: false,
        failures_max,
        by: Actor::new(template.created_by.clone(), Source::Worker),
    };
    let made = cohort::make(tx, &draft, Cohort::Filter(filter), Some((template.id, tick.tick_at)), &Making::QUIET);
    let campaign = match made.await {
        Ok(Ok(campaign)) => campaign,
        Ok(Err(bad)) => {
            let why = bad.problems.first().map(|problem| problem.message.clone()).unwrap_or_default();
            return Err(StoreError::Rejected(why).into());
        }
        Err(failure) => return Err(failure),
    };
    let stored = stored::load(tx, campaign).await?;
    let accounts = stored.accounts;
    Ok(match template::made(accounts, template.accounts_max, template.approved_by.is_some()) {
        template::Made::Waits => format!("made campaign {campaign} of {accounts} accounts, which waits to be started"),
        template::Made::TooLarge => format!(
            "made campaign {campaign} of {accounts} accounts, more than the {} that it may start by itself: it waits \
             to be started",
            template.accounts_max
        ),
        template::Made::Starts => {
            let approver = template.approved_by.as_deref().unwrap_or_default();
            match start(tx, stored, approver).await? {
                Ok(()) => format!("made campaign {campaign} of {accounts} accounts and started it"),
                Err(refusal) => {
                    format!("made campaign {campaign} of {accounts} accounts, which waits for a person: {refusal}")
                }
            }
        }
    })
}

/// By the name of its template and its tick, as its zone has it.
fn name(template: &TemplateView, tick_at: DateTime<Utc>) -> String {
    /// Of a campaign, in characters.
    const NAME_MAX: usize = 200;
    let at = tick_at.with_timezone(&template.zone).format(" %Y-%m-%d %H:%M").to_string();
    let room = NAME_MAX - at.chars().count();
    let name: String = template.name.chars().take(room).collect();
    format!("{name}{at}")
}

/// The standing approval counts as one of this cohort, where it may be started.
async fn start(tx: &mut Transaction, stored: Stored, approver: &str) -> Result<Result<(), Refusal>, Failure> {
    let stored = Stored { approved_revision: Some(stored.revision), ..stored };
    let tried = dry_run::of(tx, &stored).await?;
    if let Err(refusal) = tried.check(&stored, None) {
        return Ok(Err(refusal));
    }
    let written = sqlx::query(
        "/* templates: approve a campaign */
         update campaigns
            set state = 'draft', approved_revision = revision, approved_at = clock_timestamp(), approved_by = $2
          where id = $1",
    )
    .bind(stored.id.0)
    .bind(approver)
    .execute(&mut **tx)
    .await?;
    expect_rows("campaigns to approve", 1, written.rows_affected())?;
    let by = commands::standing(approver);
    campaign_log::write(tx, stored.id, log::approved(&tried.dry_run), &by).await?;
    commands::run(tx, stored.id, &tried.dry_run, &by).await?;
    Ok(Ok(()))
}

/// `false`: the tick was ended by somebody else.
async fn end(tx: &mut Transaction, due: &Due, note: &str) -> Result<bool, Failure> {
    let ended = sqlx::query(
        "/* templates: end a tick */
         update campaign_templates
            set last_tick_at = $2, last_note = $3, next_at = case when next_at is null then null else $4 end
          where id = $1 and (last_tick_at is null or last_tick_at < $2)",
    )
    .bind(due.template.id.0)
    .bind(due.tick.tick_at)
    .bind(note)
    .bind(due.tick.next_at)
    .execute(&mut **tx)
    .await?;
    Ok(ended.rows_affected() == 1)
}
