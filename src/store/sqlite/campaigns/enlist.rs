//! Members become events, batch by batch in the order of the cohort, or are left out with a reason.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;

use super::super::failure::{failure, unreadable};
use super::super::rows::{at, expect_count, expect_rows, get, json};
use super::Tallies;
use super::families::{self, Child};
use super::leftovers::cancel_leftovers;
use super::members::{self, Found};
use super::stored::Stored;
use crate::domain::account::LogKind;
use crate::domain::actor::Actor;
use crate::domain::campaign::cohort::{BlockerKind, MemberAccount};
use crate::domain::campaign::{TallyKind, progress};
use crate::domain::event::EventId;
use crate::domain::story;
use crate::store::StoreResult;

/// A member that becomes an event.
struct Enlisted {
    rowid: i64,
    account: MemberAccount,
    number: crate::domain::account::AccountNumber,
    lane: i64,
    due_at: DateTime<Utc>,
    planned: crate::domain::calendar::Planned,
    reason: Option<String>,
}

/// Enlists up to `limit` of the members that come next, in the caller's transaction. Answers how many: none once all are.
pub async fn enlist(
    connection: &mut SqliteConnection,
    stored: &Stored,
    limit: u32,
    now: DateTime<Utc>,
) -> StoreResult<u64> {
    let page = members::page(connection, stored.id, stored.enlisted, limit).await?;
    let Some(last) = page.last().map(|found| found.facts.position) else { return Ok(0) };
    let taken = page.len() as u64;
    let by = stored.starter();
    let (enlisted, left_out) = sort_out(stored, page, now);

    let accounts: Vec<i64> = enlisted.iter().map(|member| member.account.id.0).collect();
    cancel_leftovers(connection, &accounts, &by, stored.terms.reason.as_deref(), now).await?;
    let events = create(connection, stored, &enlisted, &by, now).await?;
    note_left_out(connection, &left_out).await?;
    log(connection, stored, &enlisted, &events, &by, now).await?;
    tally(stored, &enlisted, left_out.len()).append(connection).await?;

    let mut children = Vec::new();
    for Enlisted { account, number, reason, .. } in enlisted {
        let event = event_of(&events, account.id.0)?;
        let of = |child| Child {
            parent: number.clone(),
            parent_id: account.id,
            event,
            outside: child,
            reason: reason.clone(),
        };
        children.extend(account.children.into_iter().map(of));
    }
    families::decide(connection, stored.terms.children, children, &by, now).await?;
    families::join(connection, stored.id, stored.enlisted, last, &by, now).await?;

    let written = sqlx::query("/* enlist: position */ update campaigns set enlisted = ?2 where id = ?1")
        .bind(stored.id.0)
        .bind(last)
        .execute(connection)
        .await
        .map_err(failure)?;
    expect_rows(&written, 1, "enlist: position")?;
    Ok(taken)
}

/// Those that become events, and by their rowid why others don't.
fn sort_out(stored: &Stored, page: Vec<Found>, now: DateTime<Utc>) -> (Vec<Enlisted>, Vec<(i64, BlockerKind, String)>) {
    let (mut enlisted, mut left_out) = (Vec::with_capacity(page.len()), Vec::new());
    let started_at = stored.started_at.unwrap_or(now);
    for Found { rowid, facts, planned, reason, .. } in page {
        if let Some((kind, why)) = facts.left_out() {
            left_out.push((rowid, kind, why));
        } else if let Some(account) = facts.account {
            enlisted.push(Enlisted {
                rowid,
                account,
                number: facts.number,
                lane: progress::lane(stored.id, facts.position, stored.terms.canary, stored.canary_passed),
                due_at: facts.due_at.unwrap_or(started_at),
                planned,
                reason: reason.or_else(|| stored.terms.reason.clone()),
            });
        }
    }
    (enlisted, left_out)
}

/// Answers the events by account.
async fn create(
    connection: &mut SqliteConnection,
    stored: &Stored,
    enlisted: &[Enlisted],
    by: &Actor,
    now: DateTime<Utc>,
) -> StoreResult<HashMap<i64, EventId>> {
    let events = enlisted.iter().map(|member| {
        let Enlisted { account, number, lane, due_at, planned, reason, .. } = member;
        (account.id.0, lane, at(*due_at), &planned.planned_for, &planned.zone, reason, number)
    });
    let rows = sqlx::query(
        "/* enlist: events */ insert into disconnect_events (account_id, state, lane, due_at, planned_for, zone, next_at,
                failures_max, reason, requested_by, requested_from, created_at, campaign_id,
                account_number)
         select value ->> 0, 'scheduled', value ->> 1, value ->> 2, value ->> 3, value ->> 4, max(value ->> 2, ?2), ?3,
                value ->> 5, ?4, ?5, ?2, ?6, value ->> 6
           from json_each(?1) order by key
         returning id, account_id",
    )
    .bind(json(&events.collect::<Vec<_>>())?)
    .bind(at(now))
    .bind(stored.failures_max)
    .bind(&by.name)
    .bind(by.source.as_str())
    .bind(stored.id.0)
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    expect_count(rows.len(), enlisted.len(), "enlist: events")?;
    let events = rows.iter().map(|row| Ok((get(row, "account_id")?, EventId(get(row, "id")?))));
    let events = events.collect::<StoreResult<HashMap<i64, EventId>>>()?;
    let members = enlisted
        .iter()
        .map(|member| Ok((member.rowid, event_of(&events, member.account.id.0)?.0, member.account.uninvoiced)));
    // By rowid: by campaign and position SQLite would go through the array for each member of the campaign.
    let written = sqlx::query(
        "/* enlist: members */ update campaign_members set event_id = w.value ->> 1, expected = w.value ->> 2
           from json_each(?1) as w
          where campaign_members.rowid = w.value ->> 0",
    )
    .bind(json(&members.collect::<StoreResult<Vec<_>>>()?)?)
    .execute(connection)
    .await
    .map_err(failure)?;
    expect_rows(&written, enlisted.len(), "enlist: members")?;
    Ok(events)
}

fn event_of(events: &HashMap<i64, EventId>, account: i64) -> StoreResult<EventId> {
    events.get(&account).copied().ok_or_else(|| unreadable("an event that was just written"))
}

async fn note_left_out(connection: &mut SqliteConnection, left_out: &[(i64, BlockerKind, String)]) -> StoreResult<()> {
    let rows: Vec<_> = left_out.iter().map(|(rowid, kind, why)| (rowid, kind.as_str(), why)).collect();
    let written = sqlx::query(
        "/* enlist: left out */ update campaign_members set left_out = w.value ->> 1, left_out_note = w.value ->> 2
           from json_each(?1) as w
          where campaign_members.rowid = w.value ->> 0",
    )
    .bind(json(&rows)?)
    .execute(connection)
    .await
    .map_err(failure)?;
    expect_rows(&written, rows.len(), "enlist: left out")
}

async fn log(
    connection: &mut SqliteConnection,
    stored: &Stored,
    enlisted: &[Enlisted],
    events: &HashMap<i64, EventId>,
    by: &Actor,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    let entries = enlisted.iter().map(|member| {
        let message = story::enlisted(stored.id, &stored.name, &member.due_at, &member.planned);
        Ok((member.account.id.0, message, event_of(events, member.account.id.0)?.0, &member.reason))
    });
    let written = sqlx::query(
        "/* enlist: log */ insert into account_log (account_id, at, kind, message, actor, source, event_id, reason)
         select value ->> 0, ?2, ?3, value ->> 1, ?4, ?5, value ->> 2, value ->> 3 from json_each(?1) order by key",
    )
    .bind(json(&entries.collect::<StoreResult<Vec<_>>>()?)?)
    .bind(at(now))
    .bind(LogKind::Scheduled.as_str())
    .bind(&by.name)
    .bind(by.source.as_str())
    .execute(connection)
    .await
    .map_err(failure)?;
    expect_rows(&written, enlisted.len(), "enlist: log")
}

fn tally(stored: &Stored, enlisted: &[Enlisted], left_out: usize) -> Tallies {
    let mut tallies = Tallies::default();
    for Enlisted { account, .. } in enlisted {
        let owed = (account.debits > 0).then_some((account.uninvoiced, account.currency));
        tallies.count(stored.id, TallyKind::Enlisted, 1, owed);
    }
    if left_out > 0 {
        tallies.count(stored.id, TallyKind::LeftOut, i64::try_from(left_out).unwrap_or(i64::MAX), None);
    }
    tallies
}
