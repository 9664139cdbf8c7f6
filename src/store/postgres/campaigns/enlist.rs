//! Members become events, in the order of the cohort: one batch for each transaction.
//!
//! Whoever opens an event for an account holds that account `for update`, or as here `for key share` with the lock of
//! masses. So once the accounts are locked, nobody opens an event for them but this batch, and none of them is
//! disconnected. The campaign's row comes last: until then a pause goes ahead, and undoes the batch.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

use super::counts::Tallies;
use super::families::{self, Enlistee};
use super::leftovers::cancel_leftovers;
use super::lock_masses;
use super::members::{self, Member};
use super::stored::{self, Stored};
use crate::domain::account::LogKind;
use crate::domain::actor::Actor;
use crate::domain::campaign::cohort::BlockerKind;
use crate::domain::campaign::progress::lane;
use crate::domain::campaign::{CampaignId, State, TallyKind};
use crate::domain::dispositions::Disposition;
use crate::domain::event::EventId;
use crate::domain::story;
use crate::store::campaigns::ENLIST_MAX;
use crate::store::postgres::failure::{Failure, expect_rows};
use crate::store::postgres::transaction::Transaction;
use crate::store::postgres::{PostgresStore, family, hints};
use crate::store::{StoreError, StoreResult};

/// An import may hold accounts for minutes. A batch rather comes again than that others wait for it.
pub(super) async fn be_brief(db: &mut PgConnection) -> Result<(), Failure> {
    sqlx::raw_sql("/* campaigns: be brief */ set local lock_timeout = '500ms'").execute(db).await?;
    Ok(())
}

/// The next batch of that running campaign which has come least far. One whose accounts are held up lets the others
/// ahead. Answers how many members became events or were left out.
pub(super) async fn batch(store: &PostgresStore) -> StoreResult<u64> {
    let waiting = async {
        Ok(sqlx::query_scalar::<_, i64>(
            "/* enlist: campaigns */
             select id from campaigns where state = 'running' and enlisted < accounts order by enlisted, id",
        )
        .fetch_all(&store.pool)
        .await?)
    };
    let waiting: Vec<i64> = super::within(super::VERB_LIMIT, waiting).await?;
    let mut held_up = None;
    for campaign in waiting {
        let tried = super::within(super::VERB_LIMIT, batch_of(store, CampaignId(campaign))).await;
        match tried {
            // Paused meanwhile, or another process was quicker.
            Ok(0) => {}
            Ok(members) => return Ok(members),
            // What can't be read of one stops no other; the claim pauses it.
            Err(error @ (StoreError::Conflict(_) | StoreError::Rejected(_))) => held_up = Some(error),
            Err(error) => return Err(error),
        }
    }
    held_up.map_or(Ok(0), Err)
}

/// The next batch of this campaign, where it is running and not all there.
pub(super) async fn batch_of(store: &PostgresStore, campaign: CampaignId) -> Result<u64, Failure> {
    let mut tx = store.begin().await?;
    lock_masses(&mut tx).await?;
    end(tx, campaign).await
}

/// Nothing is left to a rollback in the background: it would keep the lock of masses from the next batch.
async fn end(mut tx: Transaction, campaign: CampaignId) -> Result<u64, Failure> {
    match enlist(&mut tx, campaign).await {
        Ok(0) => {
            tx.rollback().await;
            Ok(0)
        }
        Ok(members) => {
            tx.commit().await?;
            Ok(members)
        }
        Err(failure) => {
            tx.rollback().await;
            Err(failure)
        }
    }
}

/// Nothing is to be committed where it answers none.
async fn enlist(tx: &mut PgConnection, campaign: CampaignId) -> Result<u64, Failure> {
    let stored = stored::load(tx, campaign).await?;
    let Some(started_at) = stored.started_at.filter(|_| stored.state == State::Running) else {
        return Ok(0);
    };
    be_brief(tx).await?;
    let unlinks = stored.terms.children == Some(Disposition::Unlink) && families::has_outside(tx, &stored).await?;
    if unlinks {
        family::lock_tree(tx).await?;
    }
    families::lock_accounts(tx, &stored, unlinks).await?;
    let now = sqlx::query_scalar("/* enlist: now */ select clock_timestamp()").fetch_one(&mut *tx).await?;
    let members = members::page(tx, campaign, stored.enlisted, i64::from(ENLIST_MAX)).await?;
    let Some(last) = members.last().map(|member| member.facts.position) else { return Ok(0) };
    let batch = Batch { stored: &stored, by: stored.starter(), started_at, now, last };
    batch.write(tx, &members, unlinks).await?;
    if !advance(tx, &stored, last).await? {
        // Paused or aborted meanwhile.
        return Ok(0);
    }
    // Behind the campaign's row: a pause, which holds that, may wait for these events.
    families::join_members(tx, &stored, last, &batch.by, now).await?;
    hints::notify(tx).await?;
    Ok(members.len() as u64)
}

struct Batch<'a> {
    stored: &'a Stored,
    by: Actor,
    started_at: DateTime<Utc>,
    now: DateTime<Utc>,
    /// The position of its last member.
    last: i64,
}

impl Batch<'_> {
    /// Everything but what concerns events that are there already.
    async fn write(&self, db: &mut PgConnection, members: &[Member], unlinks: bool) -> Result<(), Failure> {
        let campaign = self.stored.id;
        let mut tallies = Tallies::default();
        let (mut left_out, mut accounts) = (Vec::new(), Vec::with_capacity(members.len()));
        for member in members {
            match (member.facts.left_out(), &member.facts.account) {
                (None, Some(account)) => {
                    let owed = (account.debits > 0).then_some((account.uninvoiced, account.currency));
                    tallies.count(campaign, TallyKind::Enlisted, 1, owed);
                    accounts.push((member, account));
                }
                (Some((kind, note)), _) => {
                    tallies.count(campaign, TallyKind::LeftOut, 1, None);
                    left_out.push((member, kind, note));
                }
                // Without an account it is left out.
                (None, None) => {}
            }
        }
        self.leave_out(db, &left_out).await?;
        let ids: Vec<i64> = accounts.iter().map(|(_, account)| account.id.0).collect();
        cancel_leftovers(db, &ids, &self.by, self.stored.terms.reason.as_deref()).await?;
        let chosen: Vec<&Member> = accounts.iter().map(|(member, _)| *member).collect();
        let events = self.make_events(db, &chosen, &ids).await?;
        let enlisted: Vec<Enlistee<'_>> = accounts
            .into_iter()
            .zip(events)
            .map(|((member, account), event)| Enlistee { event, number: &member.facts.number, account })
            .collect();
        families::decide_outside(db, self.stored, &enlisted, unlinks, &self.by, self.now).await?;
        tallies.append(db).await
    }

    async fn leave_out(
        &self,
        db: &mut PgConnection,
        left_out: &[(&Member, BlockerKind, String)],
    ) -> Result<(), Failure> {
        if left_out.is_empty() {
            return Ok(());
        }
        let written = sqlx::query(
            "/* enlist: left out */
             update campaign_members m
                set left_out = w.left_out, left_out_note = w.note
               from unnest($2::bigint[], $3::text[], $4::text[]) as w (position, left_out, note)
              where m.campaign_id = $1 and m.position = w.position and m.position > $5 and m.position <= $6",
        )
        .bind(self.stored.id.0)
        .bind(left_out.iter().map(|(member, _, _)| member.facts.position).collect::<Vec<_>>())
        .bind(left_out.iter().map(|(_, kind, _)| kind.as_str()).collect::<Vec<_>>())
        .bind(left_out.iter().map(|(_, _, note)| note.as_str()).collect::<Vec<_>>())
        .bind(self.stored.enlisted)
        .bind(self.last)
        .persistent(false)
        .execute(db)
        .await?;
        expect_rows("members to leave out", left_out.len(), written.rows_affected())
    }

    /// Answers the events in the order of `members`, whose accounts are `accounts`.
    async fn make_events(
        &self,
        db: &mut PgConnection,
        members: &[&Member],
        accounts: &[i64],
    ) -> Result<Vec<EventId>, Failure> {
        if members.is_empty() {
            return Ok(Vec::new());
        }
        let Stored { id: campaign, terms, name, failures_max, canary_passed, .. } = self.stored;
        let due_at = |member: &Member| member.facts.due_at.unwrap_or(self.started_at);
        let lane = |member: &&Member| lane(*campaign, member.facts.position, terms.canary, *canary_passed);
        let message = |member: &&Member| story::enlisted(*campaign, name, &due_at(member), &member.planned);
        let reason = |member: &&Member| member.reason.clone().or_else(|| terms.reason.clone());
        let owed = |member: &&Member| member.facts.account.as_ref().map(|account| account.uninvoiced);
        let made: Vec<(i64, i64, i64)> = sqlx::query_as(
            "/* enlist: events */
             with wanted as materialized (
                 select *
                   from unnest($3::bigint[], $4::bigint[], $5::bigint[], $6::timestamptz[], $7::text[], $8::text[],
                               $9::text[], $10::text[], $11::bigint[], $18::text[])
                        as w (position, account_id, lane, due_at, planned_for, zone, reason, message, expected, number)
             ), made as (
                 insert into disconnect_events (account_id, state, lane, due_at, planned_for, zone, next_at,
                                                failures_max, reason, requested_by, requested_from, created_at,
                                                campaign_id, account_number)
                 select account_id, 'scheduled', lane, due_at, planned_for, zone, greatest(due_at, $2), $12, reason,
                        $13, $14, $2, $1, number
                   from wanted
                  -- Of those that are due together the one with the lowest id comes first.
                  order by position
                 returning id, account_id
             ), logged as (
                 insert into account_log (account_id, at, kind, message, actor, source, event_id, reason)
                 select w.account_id, $2, $15, w.message, $13, $14, made.id, w.reason
                   from made join wanted w on w.account_id = made.account_id
                  order by made.id
                 returning id
             ), joined as (
                 update campaign_members m
                    set event_id = made.id, expected = w.expected
                   from made join wanted w on w.account_id = made.account_id
                  -- Without the bounds the planner may go through all members for each batch.
                  where m.campaign_id = $1 and m.position = w.position and m.position > $16 and m.position <= $17
                 returning m.position
             )
             select made.id, (select count(*) from logged), (select count(*) from joined) from made order by made.id",
        )
        .bind(campaign.0)
        .bind(self.now)
        .bind(members.iter().map(|member| member.facts.position).collect::<Vec<_>>())
        .bind(accounts)
        .bind(members.iter().map(lane).collect::<Vec<_>>())
        .bind(members.iter().map(|member| due_at(member)).collect::<Vec<_>>())
        .bind(members.iter().map(|member| member.planned.planned_for.as_deref()).collect::<Vec<_>>())
        .bind(members.iter().map(|member| member.planned.zone.as_deref()).collect::<Vec<_>>())
        .bind(members.iter().map(reason).collect::<Vec<_>>())
        .bind(members.iter().map(message).collect::<Vec<_>>())
        .bind(members.iter().map(owed).collect::<Vec<_>>())
        .bind(failures_max)
        .bind(&self.by.name)
        .bind(self.by.source.as_str())
        .bind(LogKind::Scheduled.as_str())
        .bind(self.stored.enlisted)
        .bind(self.last)
        .bind(members.iter().map(|member| member.facts.number.as_str()).collect::<Vec<_>>())
        // As for a page of members.
        .persistent(false)
        .fetch_all(db)
        .await?;
        expect_rows("events to make", members.len(), made.len() as u64)?;
        if let Some((_, logged, joined)) = made.first() {
            expect_rows("log entries", members.len(), logged.cast_unsigned())?;
            expect_rows("members to join to their events", members.len(), joined.cast_unsigned())?;
        }
        Ok(made.into_iter().map(|(event, _, _)| EventId(event)).collect())
    }
}

/// `false`: it is not running any more.
async fn advance(db: &mut PgConnection, stored: &Stored, to: i64) -> Result<bool, Failure> {
    let advanced = sqlx::query(
        "/* enlist: advance */
         update campaigns set enlisted = $3 where id = $1 and enlisted = $2 and state = 'running'",
    )
    .bind(stored.id.0)
    .bind(stored.enlisted)
    .bind(to)
    .execute(db)
    .await?;
    Ok(advanced.rows_affected() == 1)
}
