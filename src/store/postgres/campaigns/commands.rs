//! What a person does with a campaign.

use sqlx::postgres::PgConnection;

use super::stored::{self, json};
use super::{counts, dry_run, enlist, log as campaign_log, retry};
use crate::domain::actor::{Actor, Source};
use crate::domain::campaign::dry_run::DryRun;
use crate::domain::campaign::{CampaignId, CampaignView, Command, PauseCause, State, Transition, log};
use crate::store::StoreError;
use crate::store::campaigns::{Commanded, ENLIST_AT_START, ENLIST_MAX};
use crate::store::postgres::failure::{Failure, expect_rows};
use crate::store::postgres::{PostgresStore, hints, installation};

/// How often a dry run is made anew for a campaign that somebody is changing.
const TRIES: usize = 3;

pub(super) async fn approve(
    store: &PostgresStore,
    campaign: CampaignId,
    digest: Option<&str>,
    by: &Actor,
) -> Result<CampaignView, Failure> {
    for _ in 0..TRIES {
        let mut view = store.begin_view().await?;
        let stored = stored::load(&mut view, campaign).await?;
        let settings = installation::settings(&mut view).await?;
        stored.facts(&settings, 0).approve(by)?;
        let tried = dry_run::of(&mut view, &stored).await?;
        view.rollback().await;
        tried.check(&stored, digest)?;
        let mut tx = store.begin().await?;
        let locked = stored::lock(&mut tx, campaign).await?;
        locked.facts(&settings, 0).approve(by)?;
        if locked.revision != stored.revision {
            continue;
        }
        let approved = sqlx::query(
            "/* campaign: approve */
             update campaigns
                set state = 'draft', approved_revision = revision, approved_at = clock_timestamp(), approved_by = $2,
                    agreed = $3
              where id = $1",
        )
        .bind(campaign.0)
        .bind(&by.name)
        .bind(json(&DryRun { is_approved: true, ..tried.dry_run.clone() })?)
        .execute(&mut *tx)
        .await?;
        expect_rows("campaigns to approve", 1, approved.rows_affected())?;
        campaign_log::write(&mut tx, campaign, log::approved(&tried.dry_run), by).await?;
        let view = stored::view(&mut tx, campaign).await?;
        tx.commit().await?;
        return Ok(view);
    }
    Err(keeps_changing(campaign))
}

/// The dry run is made before the row is locked: over a large cohort it takes its time, and an abort would wait for it.
/// What it is of, its revision says.
pub(super) async fn start(
    store: &PostgresStore,
    campaign: CampaignId,
    digest: Option<&str>,
    by: &Actor,
) -> Result<Commanded, Failure> {
    for _ in 0..TRIES {
        let mut view = store.begin_view().await?;
        let stored = stored::load(&mut view, campaign).await?;
        let settings = installation::settings(&mut view).await?;
        if stored.facts(&settings, 0).command(&Command::Start)? == Transition::Nothing {
            let campaign = stored::view(&mut view, campaign).await?;
            view.rollback().await;
            return Ok(Commanded { campaign, events: 0 });
        }
        let tried = dry_run::of(&mut view, &stored).await?;
        view.rollback().await;
        tried.check(&stored, digest)?;
        let mut tx = store.begin().await?;
        let locked = stored::lock(&mut tx, campaign).await?;
        if locked.facts(&settings, 0).command(&Command::Start)? == Transition::Nothing
            || locked.revision != stored.revision
        {
            continue;
        }
        run(&mut tx, campaign, &tried.dry_run, by).await?;
        hints::notify(&mut tx).await?;
        tx.commit().await?;
        enlist_the_first(store, campaign).await?;
        let mut view = store.begin_view().await?;
        let campaign = stored::view(&mut view, campaign).await?;
        view.rollback().await;
        return Ok(Commanded { campaign, events: 0 });
    }
    Err(keeps_changing(campaign))
}

fn keeps_changing(campaign: CampaignId) -> Failure {
    StoreError::Conflict(format!("campaign {campaign} was changing")).into()
}

/// To `running`, for the first time.
pub(super) async fn run(
    db: &mut PgConnection,
    campaign: CampaignId,
    agreed: &DryRun,
    by: &Actor,
) -> Result<(), Failure> {
    let started = sqlx::query(
        "/* campaign: start */
         update campaigns
            set state = 'running', started_at = clock_timestamp(), started_by = $2, started_from = $3, agreed = $4
          where id = $1",
    )
    .bind(campaign.0)
    .bind(&by.name)
    .bind(by.source.as_str())
    .bind(json(agreed)?)
    .execute(&mut *db)
    .await?;
    expect_rows("campaigns to start", 1, started.rows_affected())?;
    campaign_log::write(db, campaign, log::started(agreed), by).await
}

/// It has started, whatever comes of this: the upkeep goes on with it.
async fn enlist_the_first(store: &PostgresStore, campaign: CampaignId) -> Result<(), Failure> {
    for _ in 0..ENLIST_AT_START / ENLIST_MAX {
        match enlist::batch_of(store, campaign).await.map_err(StoreError::from) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.is_transient() => {
                tracing::debug!(%campaign, %error, "the members of campaign {campaign} are left to the upkeep");
                break;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

pub(super) async fn command(
    store: &PostgresStore,
    campaign: CampaignId,
    command: &Command,
    by: &Actor,
) -> Result<Commanded, Failure> {
    match command {
        Command::Start => return Box::pin(start(store, campaign, None, by)).await,
        Command::Retry => return Box::pin(retry::retry(store, campaign, by)).await,
        Command::Pause { .. } | Command::Resume | Command::Abort { .. } => {}
    }
    let mut tx = store.begin().await?;
    let cancelled = match obey(&mut tx, campaign, command, by).await {
        Ok(cancelled) => cancelled,
        Err(failure) => {
            // Not in the background: the next claim would find the row locked.
            tx.rollback().await;
            return Err(failure);
        }
    };
    hints::notify(&mut tx).await?;
    if *command == Command::Resume {
        let campaign = stored::view(&mut tx, campaign).await?;
        tx.commit().await?;
        return Ok(Commanded { campaign, events: 0 });
    }
    // From here on workers begin nothing of it, so that what has to be waited for is what they are at. In one transaction
    // with them taking batch after batch, it ran after them for seconds.
    tx.commit().await?;
    let state = if matches!(command, Command::Abort { .. }) { State::Aborted } else { State::Paused };
    settle(store, campaign, state, cancelled).await
}

/// After a pause or an abort: takes back what is queued still, and counts. Asked for again it goes on where it was cut
/// off. An abort had `cancelled` events cancelled when it began.
async fn settle(
    store: &PostgresStore,
    campaign: CampaignId,
    state: State,
    cancelled: i64,
) -> Result<Commanded, Failure> {
    let mut tx = store.begin().await?;
    if stored::lock(&mut tx, campaign).await?.state != state {
        // Somebody did something else with it meanwhile.
        tx.rollback().await;
        return Err(keeps_changing(campaign));
    }
    let mut events = take_back(&mut tx, campaign).await?;
    if state == State::Aborted {
        events = to_cancel(&mut tx, campaign, cancelled).await?;
    }
    let campaign = stored::view(&mut tx, campaign).await?;
    tx.commit().await?;
    Ok(Commanded { campaign, events })
}

/// A pause that was cut off before it had taken back what was queued: nobody else would. Not one that is under way, whose
/// events have not waited for so long.
pub(super) async fn finish_a_pause(store: &PostgresStore) -> Result<(), Failure> {
    let mut tx = store.begin().await?;
    let found: Option<i64> = sqlx::query_scalar(
        "/* campaigns: paused, and not taken back */
         select id from campaigns c
          where state = 'paused'
            and exists (select from disconnect_events e
                         where e.campaign_id = c.id and e.state = 'queued' and e.lane <> 0
                           and e.next_at <= clock_timestamp())
          order by id
          limit 1
            for no key update skip locked",
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(campaign) = found else {
        tx.rollback().await;
        return Ok(());
    };
    take_back(&mut tx, CampaignId(campaign)).await?;
    tx.commit().await
}

/// Answers how many of its events are cancelled by then.
async fn obey(db: &mut PgConnection, campaign: CampaignId, command: &Command, by: &Actor) -> Result<i64, Failure> {
    let stored = stored::lock(db, campaign).await?;
    let settings = installation::settings(db).await?;
    let counts = counts::of_one(db, campaign).await?.counts;
    match stored.facts(&settings, counts.failed).command(command)? {
        // A start and a retry have ways of their own.
        Transition::Start | Transition::Retry | Transition::Nothing => {}
        Transition::Pause { cause, note } => pause(db, campaign, cause, note.as_deref(), by).await?,
        Transition::Resume { canary_passed } => {
            // Left by a pause that was cut off: their messages are gone.
            take_back(db, campaign).await?;
            resume(db, campaign, canary_passed, counts.tried(), counts.troubled()).await?;
            campaign_log::write(db, campaign, log::resumed(), by).await?;
        }
        Transition::Abort => {
            let note = if let Command::Abort { note } = command { note.as_deref() } else { None };
            abort(db, campaign, note, by).await?;
        }
    }
    Ok(counts.cancelled)
}

/// Under the lock of its row. What is queued of it is yet to be taken back.
pub(super) async fn pause(
    db: &mut PgConnection,
    campaign: CampaignId,
    cause: PauseCause,
    note: Option<&str>,
    by: &Actor,
) -> Result<(), Failure> {
    let paused = sqlx::query(
        "/* campaign: pause */
         update campaigns set state = 'paused', pause_cause = $2, pause_note = $3 where id = $1",
    )
    .bind(campaign.0)
    .bind(cause.as_str())
    .bind(note)
    .execute(&mut *db)
    .await?;
    expect_rows("campaigns to pause", 1, paused.rows_affected())?;
    campaign_log::write(db, campaign, log::paused(note), by).await
}

/// What is queued of its lanes goes back to `scheduled`. It waits for the workers that have some of them under way, and
/// leaves out what they ended. No claim comes between: the campaign's row is held.
pub(super) async fn take_back(db: &mut PgConnection, campaign: CampaignId) -> Result<i64, Failure> {
    let taken = sqlx::query(
        "/* campaign: take back */
         update disconnect_events
            set state = 'scheduled', dispatches = 0, next_at = greatest(due_at, clock_timestamp())
          where id = any(array(
                    select id from disconnect_events
                     where campaign_id = $1 and state = 'queued' and lane <> 0
                     order by id
                       for no key update))",
    )
    .bind(campaign.0)
    .execute(db)
    .await?;
    Ok(i64::try_from(taken.rows_affected()).unwrap_or(i64::MAX))
}

async fn resume(
    db: &mut PgConnection,
    campaign: CampaignId,
    canary_passed: bool,
    tried: i64,
    troubled: i64,
) -> Result<(), Failure> {
    let resumed = sqlx::query(
        "/* campaign: resume */
         update campaigns
            set state = 'running', pause_cause = null, pause_note = null, canary_passed = canary_passed or $2,
                tried_before = $3, troubled_before = $4
          where id = $1",
    )
    .bind(campaign.0)
    .bind(canary_passed)
    .bind(tried)
    .bind(troubled)
    .execute(db)
    .await?;
    expect_rows("campaigns to resume", 1, resumed.rows_affected())
}

async fn abort(db: &mut PgConnection, campaign: CampaignId, note: Option<&str>, by: &Actor) -> Result<(), Failure> {
    let aborted = sqlx::query(
        "/* campaign: abort */
         update campaigns
            set state = 'aborted', pause_cause = null, pause_note = $2, ended_at = clock_timestamp(), ended_by = $3,
                ended_from = $4
          where id = $1",
    )
    .bind(campaign.0)
    .bind(note)
    .bind(&by.name)
    .bind(by.source.as_str())
    .execute(&mut *db)
    .await?;
    expect_rows("campaigns to abort", 1, aborted.rows_affected())?;
    campaign_log::write(db, campaign, log::aborted(note), by).await
}

/// How many events of an aborted campaign are cancelled by it, beside `cancelled` that were so before: those that are open
/// still, and those that somebody cancelled since.
async fn to_cancel(db: &mut PgConnection, campaign: CampaignId, cancelled: i64) -> Result<i64, Failure> {
    let counts = counts::of_one(db, campaign).await?.counts;
    // Those that were brought forward go on by themselves.
    let forward: i64 = sqlx::query_scalar(
        "/* campaign: brought forward */
         select count(*) from disconnect_events
          where lane = 0 and state in ('scheduled', 'queued') and campaign_id = $1",
    )
    .bind(campaign.0)
    .fetch_one(db)
    .await?;
    Ok(counts.scheduled + counts.queued - forward + (counts.cancelled - cancelled).max(0))
}

/// Who starts a campaign by a standing approval.
pub(super) fn standing(approver: &str) -> Actor {
    Actor::new(approver, Source::Worker)
}
