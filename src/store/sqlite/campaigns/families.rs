//! What becomes of the children of members: those outside of the cohort as the terms say, and those in it by events of
//! their own.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;

use super::super::failure::failure;
use super::super::rows::{at, expect_rows, get, json};
use super::stands;
use crate::domain::account::{AccountId, AccountNumber};
use crate::domain::actor::Actor;
use crate::domain::campaign::CampaignId;
use crate::domain::campaign::cohort::OutsideChild;
use crate::domain::dispositions::{ChildPlan, ChildStep, Disposition};
use crate::domain::event::EventId;
use crate::domain::story;
use crate::store::StoreResult;

/// A connected child outside of the cohort, of a member that has just become an event.
pub struct Child {
    pub parent: AccountNumber,
    pub parent_id: AccountId,
    pub event: EventId,
    pub outside: OutsideChild,
    pub reason: Option<String>,
}

/// Account, kind, message, event, reason.
type LogRow = (i64, &'static str, String, i64, Option<String>);

/// Keeps or unlinks the children outside of the cohort. One that came after the campaign began and can't be unlinked, or
/// that nobody decided about, stays a question of the parent's event.
pub async fn decide(
    connection: &mut SqliteConnection,
    disposition: Option<Disposition>,
    mut children: Vec<Child>,
    by: &Actor,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    let (disposition, step) = match disposition {
        Some(Disposition::Keep) => (Disposition::Keep, ChildStep::Keep),
        Some(Disposition::Unlink) => {
            children.retain(|one| one.outside.has_contact);
            (Disposition::Unlink, ChildStep::Unlink)
        }
        Some(Disposition::Disconnect) | None => return Ok(()),
    };
    if children.is_empty() {
        return Ok(());
    }
    if step == ChildStep::Unlink {
        unlink(connection, &children).await?;
    }
    let decisions: Vec<_> = children
        .iter()
        .map(|one| (one.event.0, one.outside.id.0, disposition.as_str(), i64::from(one.outside.has_contact)))
        .collect();
    let written = sqlx::query(
        "/* families: decide */ insert into family_decisions (event_id, child_id, disposition, had_contact, decided_at,
                decided_by, decided_from)
         select value ->> 0, value ->> 1, value ->> 2, value ->> 3, ?2, ?3, ?4 from json_each(?1)",
    )
    .bind(json(&decisions)?)
    .bind(at(now))
    .bind(&by.name)
    .bind(by.source.as_str())
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    expect_rows(&written, decisions.len(), "families: decide")?;

    let mut entries: Vec<LogRow> = Vec::with_capacity(children.len() * 2);
    let mut told: BTreeMap<EventId, (AccountId, Option<String>, Vec<_>)> = BTreeMap::new();
    for Child { parent, parent_id, event, outside: child, reason } in children {
        let of_parent = told.entry(event).or_insert_with(|| (parent_id, reason.clone(), Vec::new()));
        of_parent.2.push((child.number.clone(), disposition, None));
        let (id, has_contact) = (child.id.0, child.has_contact);
        let plan =
            ChildPlan { child: child.number, parent, disposition, has_contact, cancels: None, step: step.clone() };
        let (kind, message) = story::decided(&plan, event, None);
        entries.push((id, kind.as_str(), message, event.0, reason));
    }
    for (event, (parent, reason, children)) in told {
        let kind = crate::domain::account::LogKind::FamilyDecided;
        entries.push((parent.0, kind.as_str(), story::family_decided(&children), event.0, reason));
    }
    let written = sqlx::query(
        "/* families: log */ insert into account_log (account_id, at, kind, message, actor, source, event_id, reason)
         select value ->> 0, ?2, value ->> 1, value ->> 2, ?3, ?4, value ->> 3, value ->> 4
           from json_each(?1) order by key",
    )
    .bind(json(&entries)?)
    .bind(at(now))
    .bind(&by.name)
    .bind(by.source.as_str())
    .execute(connection)
    .await
    .map_err(failure)?;
    expect_rows(&written, entries.len(), "families: log")
}

/// Their parents are remembered, so that an import does not link them again.
async fn unlink(connection: &mut SqliteConnection, children: &[Child]) -> StoreResult<()> {
    let ids: Vec<i64> = children.iter().map(|one| one.outside.id.0).collect();
    let written = sqlx::query(
        "/* families: unlink */ update accounts set unlinked_from_id = parent_id, parent_id = null
          where id in (select value from json_each(?1))",
    )
    .bind(json(&ids)?)
    .execute(connection)
    .await
    .map_err(failure)?;
    expect_rows(&written, ids.len(), "families: unlink")
}

/// Notes for parents and children that are both members that the child goes by its own event, once both have come to their
/// turn: one of them stands behind `after` and no further than `last`. A child that was left out since it has an event
/// already goes by that one.
pub async fn join(
    connection: &mut SqliteConnection,
    campaign: CampaignId,
    after: i64,
    last: i64,
    by: &Actor,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    macro_rules! join_sql {
        ($name:literal, $members:literal) => {
            concat!(
                "/* ",
                $name,
                " */ insert into family_decisions (event_id, child_id, disposition, child_event_id, had_contact,
                        decided_at, decided_by, decided_from)
                 select pm.event_id, c.id, 'disconnect', ce.id, c.email is not null or c.mailing_address is not null,
                        ?4, ?5, ?6
                   from ",
                $members,
                " cross join disconnect_events ce on ce.account_id = c.id
                   and (ce.id = cm.event_id
                        or (cm.left_out = 'open_event' and +ce.state in ('scheduled', 'queued') and ",
                stands!("ce"),
                ")) where true on conflict (event_id, child_id) do nothing
                 returning event_id, child_event_id"
            )
        };
    }
    let statements = [
        join_sql!(
            "families: parents that came",
            "campaign_members pm
              cross join accounts c
                 on pm.campaign_id = ?1 and pm.position > ?2 and pm.position <= ?3 and pm.event_id is not null
                and c.parent_id = pm.account_id
              cross join campaign_members cm
                 on cm.campaign_id = ?1 and cm.account_number = c.number and cm.account_id = c.id"
        ),
        join_sql!(
            "families: children that came",
            "campaign_members cm
              cross join accounts c
                 on cm.campaign_id = ?1 and cm.position > ?2 and cm.position <= ?3 and c.id = cm.account_id
              cross join accounts p on p.id = c.parent_id
              cross join campaign_members pm
                 on pm.campaign_id = ?1 and pm.account_number = p.number and pm.event_id is not null"
        ),
    ];
    let mut made_with: Vec<(i64, i64)> = Vec::new();
    for statement in statements {
        let rows = sqlx::query(statement)
            .bind(campaign.0)
            .bind(after)
            .bind(last)
            .bind(at(now))
            .bind(&by.name)
            .bind(by.source.as_str())
            .fetch_all(&mut *connection)
            .await
            .map_err(failure)?;
        for row in &rows {
            made_with.push((get(row, "child_event_id")?, get(row, "event_id")?));
        }
    }
    if made_with.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "/* families: made with */ update disconnect_events set parent_event_id = w.value ->> 1
           from json_each(?1) as w
          where disconnect_events.id = w.value ->> 0 and disconnect_events.parent_event_id is null
            and +disconnect_events.campaign_id = ?2",
    )
    .bind(json(&made_with)?)
    .bind(campaign.0)
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}
