//! The worker's verbs. Running disconnects is the hot path: twelve round trips for a batch, and two more where events of
//! campaigns are in it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Instant;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::campaigns::{self, Tallies};
use super::failure::{Failure, expect_rows};
use super::{PostgresStore, VERB_LIMIT, failed_attempts, rows, snapshot, within};
use crate::domain::account::{AccountId, LogKind};
use crate::domain::actor::{Actor, Source};
use crate::domain::address::Assignment;
use crate::domain::campaign::{CampaignId, TallyKind};
use crate::domain::event::{Attempt, Event, EventId, Order, Outcome};
use crate::domain::invoice::{InvoiceDraft, InvoiceNumber, InvoiceSummary};
use crate::domain::money::Currency;
use crate::domain::plan::{Decide, Effect, Plan};
use crate::domain::retry::{FailedAttempt, Verdict};
use crate::fault::{self, Step};
use crate::store::{Executed, Execution, StoreError, StoreResult};
use crate::traces;

#[async_trait]
impl Execution for PostgresStore {
    async fn disconnect(&self, orders: &[Order], decide: Decide<'_>) -> StoreResult<Vec<Executed>> {
        let mut ids: Vec<i64> = orders.iter().map(|order| order.event_id.0).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        within(VERB_LIMIT, disconnect(self, orders, &ids, decide)).await
    }

    async fn record_failures(&self, failures: &[(FailedAttempt, Verdict)]) -> StoreResult<Vec<EventId>> {
        if failures.is_empty() {
            return Ok(Vec::new());
        }
        let written = within(VERB_LIMIT, failed_attempts::record(self, failures)).await?;
        if !written.is_empty() {
            self.hint();
        }
        Ok(written)
    }

    async fn record_suspect(&self, event: EventId, error: &str) -> StoreResult<Option<Attempt>> {
        within(VERB_LIMIT, failed_attempts::record_suspect(self, event, error)).await
    }
}

async fn disconnect(
    store: &PostgresStore,
    orders: &[Order],
    ids: &[i64],
    decide: Decide<'_>,
) -> Result<Vec<Executed>, Failure> {
    let mut tx = store.begin().await?;
    let events = lock(&mut tx, ids).await?;
    let mut executed: Vec<Executed> = ids
        .iter()
        .map(|id| EventId(*id))
        .filter(|id| events.binary_search_by_key(id, |event| event.id).is_err())
        .map(|event_id| Executed::Stale { event_id })
        .collect();
    if events.is_empty() {
        tx.rollback().await;
        return Ok(executed);
    }
    fault::behind(Step::Lock);
    let ended = match run(&mut tx, &events, decide).await {
        Ok(done) => {
            fault::behind(Step::Effect);
            let (begun, measured) = (Instant::now(), traces::Commit::begin(orders));
            let committed = tx.commit().await;
            measured.ended(&committed);
            metrics::histogram!("disconnectd_commit_seconds").record(begun.elapsed());
            committed.map(|()| done)
        }
        Err(failure) => {
            tx.rollback().await;
            Err(failure)
        }
    };
    match (ended.map_err(StoreError::from), events.as_slice()) {
        (Ok(done), _) => {
            fault::behind(Step::Commit);
            executed.extend(done);
            Ok(executed)
        }
        // Alone, what can't be read or is refused is this event's own failure.
        (Err(StoreError::Rejected(error)), [event]) if ids.len() == 1 => {
            Ok(vec![Executed::Failed(FailedAttempt::of(event, error))])
        }
        (Err(error), _) => Err(error.into()),
    }
}

/// Locks the accounts, then the events. Answers those that are queued, ascending by id.
async fn lock(db: &mut PgConnection, ids: &[i64]) -> Result<Vec<Event>, Failure> {
    // The account of an event never changes, so it may be looked up before the locks. `for update` and nothing less:
    // it is what makes a debit that is being inserted (its foreign key takes `for key share`) wait, or be waited for.
    sqlx::query(
        "/* disconnect: lock accounts */
         select id from accounts
          where id = any(array(select account_id from disconnect_events where id = any($1)))
          order by id for update",
    )
    .bind(ids)
    .execute(&mut *db)
    .await?;
    // No `=` for the state: with statistics from when few were queued, the planner would go through all that are by an
    // index of the states instead of looking up the ids (18 ms for 64 of 20,000). No index serves `is not distinct`.
    // The statement begins once the accounts are locked, so its instant is after whatever they were waited for.
    let found = sqlx::query(
        "/* disconnect: lock events */
         select id, account_id, attempt, failures, failures_max, due_at, statement_timestamp() as now, reason,
                requested_by, requested_from, agreed, campaign_id, lane
           from disconnect_events
          where id = any($1) and state is not distinct from 'queued'
          order by id for update",
    )
    .bind(ids)
    .fetch_all(&mut *db)
    .await?;
    let mut events = found.iter().map(event).collect::<Result<Vec<_>, _>>()?;
    ask_campaigns(db, &found, &mut events).await?;
    // After a wait, a locking statement answers in the order that it began with.
    events.sort_unstable_by_key(|event| event.id);
    Ok(events)
}

fn event(row: &PgRow) -> Result<Event, Failure> {
    let from: &str = row.try_get("requested_from")?;
    Ok(Event {
        id: EventId(row.try_get("id")?),
        account_id: AccountId(row.try_get("account_id")?),
        attempt: Attempt(row.try_get("attempt")?),
        failures: row.try_get("failures")?,
        failures_max: row.try_get("failures_max")?,
        due_at: row.try_get("due_at")?,
        now: row.try_get("now")?,
        reason: row.try_get("reason")?,
        requested_by: Actor::new(
            row.try_get::<String, _>("requested_by")?,
            Source::parse(from).unwrap_or(Source::Worker),
        ),
        agreed: rows::shown(row)?,
        campaign: row.try_get::<Option<i64>, _>("campaign_id")?.map(CampaignId),
        eligibility: None,
    })
}

/// Events in the lane of a campaign that is stopped are not begun: whoever stops it takes them back. The others are asked
/// whether its filter still selects their accounts. Not one that a person brought forward: that is asked for by itself.
async fn ask_campaigns(db: &mut PgConnection, found: &[PgRow], events: &mut Vec<Event>) -> Result<(), Failure> {
    let (mut campaigns, mut asked) = (BTreeSet::new(), Vec::new());
    for (row, event) in found.iter().zip(&*events) {
        if let Some(campaign) = event.campaign
            && row.try_get::<i64, _>("lane")? != 0
        {
            campaigns.insert(campaign.0);
            asked.push(event.id.0);
        }
    }
    let Some(now) = events.first().map(|event| event.now).filter(|_| !asked.is_empty()) else { return Ok(()) };
    let campaigns: Vec<i64> = campaigns.into_iter().collect();
    let (stopped, filters) = campaigns::stopped_and_filters(db, &campaigns).await?;
    if !stopped.is_empty() {
        let asked: HashSet<i64> = asked.iter().copied().collect();
        events.retain(|event| {
            !(asked.contains(&event.id.0) && event.campaign.is_some_and(|campaign| stopped.contains(&campaign)))
        });
    }
    let mut eligible = campaigns::eligible(db, filters, &asked, now).await?;
    for event in events {
        event.eligibility = eligible.remove(&event.id);
    }
    Ok(())
}

/// Loads, decides, writes. Nothing is committed here.
async fn run(db: &mut PgConnection, events: &[Event], decide: Decide<'_>) -> Result<Vec<Executed>, Failure> {
    let accounts: Vec<i64> = events.iter().map(|event| event.account_id.0).collect();
    let with_family = events.iter().filter(|event| event.agreed.is_some()).map(|event| event.account_id.0);
    let (mut snapshots, now) = snapshot::load(db, &accounts, &with_family.collect::<Vec<_>>()).await?;
    let asked: Vec<i64> =
        events.iter().filter(|event| event.eligibility.is_some()).map(|event| event.account_id.0).collect();
    if !asked.is_empty() {
        for (account, standing) in campaigns::standings(db, &asked, now).await? {
            if let Some(Ok(snapshot)) = snapshots.get_mut(&account) {
                snapshot.standing = Some(standing);
            }
        }
    }
    let mut executed = Vec::with_capacity(events.len());
    let mut effects = Effects::default();
    for event in events {
        // A foreign key ties each event to an account, and no account is ever deleted.
        let snapshot = match snapshots.get(&event.account_id) {
            Some(Ok(snapshot)) => snapshot,
            Some(Err(error)) => {
                executed.push(Executed::Failed(FailedAttempt::of(event, error.reason())));
                continue;
            }
            None => return Err(StoreError::Rejected(format!("event {} has no account", event.id)).into()),
        };
        match decide(snapshot, event) {
            Plan::Apply(plan) if plan.iter().any(|effect| matches!(effect, Effect::Complete(_))) => {
                effects.add(event, plan);
            }
            Plan::Apply(_) => {
                let error = "the plan does not complete the event".to_owned();
                executed.push(Executed::Failed(FailedAttempt::of(event, error)));
            }
            Plan::Fail(error) => executed.push(Executed::Failed(FailedAttempt::of(event, error))),
        }
    }
    if let [event, ..] = events {
        executed.extend(effects.write(db, event.now).await?);
    }
    Ok(executed)
}

/// The effects of a batch, kind by kind: each kind is one statement.
#[derive(Default)]
struct Effects<'e> {
    invoices: Vec<(&'e Event, InvoiceDraft)>,
    releases: Vec<(&'e Event, Assignment)>,
    disconnects: Vec<(&'e Event, String)>,
    entries: Vec<(&'e Event, LogKind, String)>,
    notes: Vec<(&'e Event, Vec<String>)>,
    outcomes: Vec<(&'e Event, Outcome)>,
}

impl<'e> Effects<'e> {
    fn add(&mut self, event: &'e Event, plan: Vec<Effect>) {
        for effect in plan {
            match effect {
                Effect::IssueFinalInvoice(draft) => self.invoices.push((event, draft)),
                Effect::ReleaseAddress(assignment) => self.releases.push((event, assignment)),
                Effect::Disconnect { status } => self.disconnects.push((event, status)),
                Effect::NoteChanges(changes) => self.notes.push((event, changes)),
                Effect::Log { kind, message } => self.entries.push((event, kind, message)),
                Effect::Complete(outcome) => self.outcomes.push((event, outcome)),
            }
        }
    }

    /// Writes all of them at `now`. Answers the events that were completed.
    async fn write(self, db: &mut PgConnection, now: DateTime<Utc>) -> Result<Vec<Executed>, Failure> {
        let mut issued = HashMap::new();
        if !self.invoices.is_empty() {
            issued = issue_final_invoices(db, now, &self.invoices).await?;
        }
        if !self.releases.is_empty() {
            release_addresses(db, now, &self.releases).await?;
        }
        if !self.disconnects.is_empty() {
            disconnect_accounts(db, now, &self.disconnects).await?;
        }
        if !self.entries.is_empty() {
            write_log(db, now, &self.entries).await?;
        }
        if !self.notes.is_empty() {
            note_changes(db, &self.notes).await?;
        }
        if !self.outcomes.is_empty() {
            complete_events(db, now, &self.outcomes).await?;
        }
        self.tallies().append(db).await?;
        let completed = self.outcomes.into_iter().map(|(event, outcome)| Executed::Completed {
            event_id: event.id,
            outcome,
            final_invoice: issued.remove(&event.id),
        });
        Ok(completed.collect())
    }
}

impl Effects<'_> {
    /// Of the events that campaigns made: a few rows for the whole batch.
    fn tallies(&self) -> Tallies {
        let mut tallies = Tallies::default();
        let of_campaigns =
            self.outcomes.iter().filter_map(|(event, outcome)| Some((event.id, event.campaign?, outcome)));
        let mut of_campaigns = of_campaigns.peekable();
        if of_campaigns.peek().is_none() {
            return tallies;
        }
        let invoiced: HashMap<EventId, (i64, Currency)> =
            self.invoices.iter().map(|(event, draft)| (event.id, (draft.total, draft.currency))).collect();
        let released: HashSet<EventId> = self.releases.iter().map(|(event, _)| event.id).collect();
        for (event, campaign, outcome) in of_campaigns {
            match outcome {
                Outcome::Disconnected => {
                    let addresses = i64::from(released.contains(&event));
                    tallies.disconnected(campaign, invoiced.get(&event).copied(), addresses);
                }
                Outcome::AlreadyDisconnected => tallies.count(campaign, TallyKind::AlreadyDisconnected, 1, None),
                Outcome::NoLongerEligible => tallies.count(campaign, TallyKind::NoLongerEligible, 1, None),
            }
        }
        tallies
    }
}

async fn issue_final_invoices(
    db: &mut PgConnection,
    now: DateTime<Utc>,
    invoices: &[(&Event, InvoiceDraft)],
) -> Result<HashMap<EventId, InvoiceSummary>, Failure> {
    let drafts = || invoices.iter().map(|(_, draft)| draft);
    let lines = || {
        invoices
            .iter()
            .flat_map(|(event, draft)| (1_i32..).zip(&draft.lines).map(|(position, line)| (event.id, position, line)))
    };
    let found = sqlx::query(
        "/* disconnect: issue final invoices */
         with issued as (
             insert into invoices (kind, account_id, event_id, currency, amount, tax, total, issued_at)
             select 'final', i.account_id, i.event_id, i.currency, i.amount, i.tax, i.total, $7
               from unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[])
                    with ordinality as i (account_id, event_id, currency, amount, tax, total, n)
              order by i.n
             returning id, number, event_id
         ), lines as (
             insert into invoice_lines (invoice_id, position, debit_id, description, charged_on, amount, tax, total)
             select issued.id, l.position, l.debit_id, l.description, l.charged_on, l.amount, l.tax, l.total
               from unnest($8::bigint[], $9::integer[], $10::bigint[], $11::text[], $12::date[], $13::bigint[],
                           $14::bigint[], $15::bigint[])
                    as l (event_id, position, debit_id, description, charged_on, amount, tax, total)
               join issued on issued.event_id = l.event_id
             returning invoice_id, debit_id
         ), invoiced as (
             update debits d set invoice_id = lines.invoice_id
               from lines
              where d.id = lines.debit_id and d.invoice_id is null
             returning d.id
         )
         select event_id, number, (select count(*) from lines) as lines, (select count(*) from invoiced) as invoiced
           from issued",
    )
    .bind(invoices.iter().map(|(event, _)| event.account_id.0).collect::<Vec<_>>())
    .bind(invoices.iter().map(|(event, _)| event.id.0).collect::<Vec<_>>())
    .bind(drafts().map(|draft| draft.currency.code()).collect::<Vec<_>>())
    .bind(drafts().map(|draft| draft.amount).collect::<Vec<_>>())
    .bind(drafts().map(|draft| draft.tax).collect::<Vec<_>>())
    .bind(drafts().map(|draft| draft.total).collect::<Vec<_>>())
    .bind(now)
    .bind(lines().map(|(event, _, _)| event.0).collect::<Vec<_>>())
    .bind(lines().map(|(_, position, _)| position).collect::<Vec<_>>())
    .bind(lines().map(|(_, _, line)| line.debit.0).collect::<Vec<_>>())
    .bind(lines().map(|(_, _, line)| line.description.as_str()).collect::<Vec<_>>())
    .bind(lines().map(|(_, _, line)| line.charged_on).collect::<Vec<_>>())
    .bind(lines().map(|(_, _, line)| line.amount).collect::<Vec<_>>())
    .bind(lines().map(|(_, _, line)| line.tax).collect::<Vec<_>>())
    .bind(lines().map(|(_, _, line)| line.total).collect::<Vec<_>>())
    .fetch_all(db)
    .await?;
    expect_rows("final invoices", invoices.len(), found.len() as u64)?;
    let mut numbers = HashMap::with_capacity(found.len());
    for row in &found {
        let expected = lines().count();
        expect_rows("invoice lines", expected, row.try_get::<i64, _>("lines")?.cast_unsigned())?;
        expect_rows("debits to invoice", expected, row.try_get::<i64, _>("invoiced")?.cast_unsigned())?;
        numbers.insert(EventId(row.try_get("event_id")?), InvoiceNumber(row.try_get("number")?));
    }
    let summary = |(event, draft): &(&Event, InvoiceDraft)| {
        let number = *numbers.get(&event.id)?;
        Some((event.id, InvoiceSummary { number, total: draft.total() }))
    };
    Ok(invoices.iter().filter_map(summary).collect())
}

async fn release_addresses(
    db: &mut PgConnection,
    now: DateTime<Utc>,
    releases: &[(&Event, Assignment)],
) -> Result<(), Failure> {
    let written = sqlx::query(
        "/* disconnect: release addresses */
         update address_assignments set assigned_until = $2 where id = any($1) and assigned_until is null",
    )
    .bind(releases.iter().map(|(_, assignment)| assignment.id.0).collect::<Vec<_>>())
    .bind(now)
    .execute(db)
    .await?;
    expect_rows("addresses to release", releases.len(), written.rows_affected())
}

async fn disconnect_accounts(
    db: &mut PgConnection,
    now: DateTime<Utc>,
    disconnects: &[(&Event, String)],
) -> Result<(), Failure> {
    let disconnected = sqlx::query(
        "/* disconnect: accounts */
         update accounts a
            set status_id = s.id, status_before_id = a.status_id, disconnected_at = $3
           from unnest($1::bigint[], $2::text[]) as d (account_id, status)
           join account_statuses s on s.name = d.status
          where a.id = d.account_id and a.disconnected_at is null",
    )
    .bind(disconnects.iter().map(|(event, _)| event.account_id.0).collect::<Vec<_>>())
    .bind(disconnects.iter().map(|(_, status)| status.as_str()).collect::<Vec<_>>())
    .bind(now)
    .execute(db)
    .await?;
    expect_rows("accounts to disconnect", disconnects.len(), disconnected.rows_affected())
}

async fn note_changes(db: &mut PgConnection, notes: &[(&Event, Vec<String>)]) -> Result<(), Failure> {
    let written = sqlx::query(
        "/* disconnect: note changes */
         update disconnect_events e set changed_since = n.changes
           from unnest($1::bigint[], $2::text[]) as n (event_id, changes)
          where e.id = n.event_id",
    )
    .bind(notes.iter().map(|(event, _)| event.id.0).collect::<Vec<_>>())
    .bind(notes.iter().map(|(_, changes)| json!(changes).to_string()).collect::<Vec<_>>())
    .execute(db)
    .await?;
    expect_rows("events to note changes of", notes.len(), written.rows_affected())
}

/// In the order of the effects. What a worker does, it does for the person who asked.
async fn write_log(
    db: &mut PgConnection,
    now: DateTime<Utc>,
    entries: &[(&Event, LogKind, String)],
) -> Result<(), Failure> {
    let written = sqlx::query(
        "/* disconnect: write log */
         insert into account_log (account_id, at, kind, message, actor, source, event_id, reason)
         select l.account_id, $7, l.kind, l.message, l.actor, $8, l.event_id, l.reason
           from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[])
                with ordinality as l (account_id, kind, message, actor, event_id, reason, n)
          order by l.n",
    )
    .bind(entries.iter().map(|(event, _, _)| event.account_id.0).collect::<Vec<_>>())
    .bind(entries.iter().map(|(_, kind, _)| kind.as_str()).collect::<Vec<_>>())
    .bind(entries.iter().map(|(_, _, message)| message.as_str()).collect::<Vec<_>>())
    .bind(entries.iter().map(|(event, _, _)| event.requested_by.name.as_str()).collect::<Vec<_>>())
    .bind(entries.iter().map(|(event, _, _)| event.id.0).collect::<Vec<_>>())
    .bind(entries.iter().map(|(event, _, _)| event.reason.as_deref()).collect::<Vec<_>>())
    .bind(now)
    .bind(Source::Worker.as_str())
    .execute(db)
    .await?;
    expect_rows("log entries", entries.len(), written.rows_affected())
}

async fn complete_events(
    db: &mut PgConnection,
    now: DateTime<Utc>,
    outcomes: &[(&Event, Outcome)],
) -> Result<(), Failure> {
    let completed = sqlx::query(
        "/* disconnect: complete events */
         update disconnect_events e
            set state = 'completed', outcome = o.outcome, ended_at = $3, next_at = null
           from unnest($1::bigint[], $2::text[]) as o (event_id, outcome)
          where e.id = o.event_id and e.state is not distinct from 'queued'",
    )
    .bind(outcomes.iter().map(|(event, _)| event.id.0).collect::<Vec<_>>())
    .bind(outcomes.iter().map(|(_, outcome)| outcome.as_str()).collect::<Vec<_>>())
    .bind(now)
    // For several it is planned each time: a plan from when there were hardly any events joins them all, 0.2 s for each batch
    // of the first campaign. For one that would cost more than it saves.
    .persistent(outcomes.len() == 1)
    .execute(db)
    .await?;
    expect_rows("events to complete", outcomes.len(), completed.rows_affected())
}
