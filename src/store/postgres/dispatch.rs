//! The scheduler's verbs, for lane 0.
//!
//! Their predicates say `statement_timestamp()`, which an index can serve; `clock_timestamp()` it could not. It is not
//! `now()`: that is the same instant here, but only while each of these is a transaction of its own.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::AssertSqlSafe;

use super::failure::Failure;
use super::{PostgresStore, VERB_LIMIT, hints, within};
use crate::domain::event::{Attempt, EventId, Order};
use crate::domain::trace::TraceParent;
use crate::store::{Dispatch, Redispatch, StoreResult};

#[async_trait]
impl Dispatch for PostgresStore {
    async fn claim(&self, limit: u32, redispatch: Redispatch) -> StoreResult<Vec<Order>> {
        within(VERB_LIMIT, claim(self, limit, redispatch)).await
    }

    async fn claim_one(&self, event: EventId, redispatch: Redispatch) -> StoreResult<Option<Order>> {
        within(VERB_LIMIT, claim_one(self, event, redispatch)).await
    }

    async fn release(&self, orders: &[Order], delay: Duration) -> StoreResult<()> {
        if orders.is_empty() {
            return Ok(());
        }
        within(VERB_LIMIT, release(self, orders, delay)).await?;
        self.hint();
        Ok(())
    }

    async fn next_due(&self) -> StoreResult<Option<Duration>> {
        within(VERB_LIMIT, next_due(self)).await
    }

    async fn tend(&self) -> StoreResult<()> {
        within(VERB_LIMIT, tend(self)).await
    }
}

/// One statement, so that it is committed when it answers.
async fn claim(store: &PostgresStore, limit: u32, redispatch: Redispatch) -> Result<Vec<Order>, Failure> {
    // The ids come as an array, read once from the index of open events; a join against them made the planner read the
    // whole table.
    let claimed: Vec<Claimed> = sqlx::query_as(
        "/* claim: due events */
         update disconnect_events
            set state = 'queued', attempt = attempt + 1, dispatches = dispatches + 1,
                next_at = clock_timestamp()
                        + make_interval(secs => least($3::float8, $2::float8 * power(2, least(dispatches, 40))))
          where id = any(array(
                    select id from disconnect_events
                     where lane = 0 and state in ('scheduled', 'queued') and next_at <= statement_timestamp()
                     order by next_at
                     limit $1
                       for update skip locked))
         returning id, attempt, traceparent",
    )
    .bind(i64::from(limit))
    .bind(redispatch.base.as_secs_f64())
    .bind(redispatch.max.as_secs_f64())
    .fetch_all(&store.pool)
    .await?;
    Ok(claimed.into_iter().map(order).collect())
}

async fn claim_one(store: &PostgresStore, event: EventId, redispatch: Redispatch) -> Result<Option<Order>, Failure> {
    let claimed: Option<Claimed> = sqlx::query_as(
        "/* claim: one event */
         update disconnect_events
            set state = 'queued', attempt = attempt + 1, dispatches = dispatches + 1,
                next_at = clock_timestamp()
                        + make_interval(secs => least($3::float8, $2::float8 * power(2, least(dispatches, 40))))
          where id = $1 and state in ('scheduled', 'queued') and next_at <= statement_timestamp()
         returning id, attempt, traceparent",
    )
    .bind(event.0)
    .bind(redispatch.base.as_secs_f64())
    .bind(redispatch.max.as_secs_f64())
    .fetch_optional(&store.pool)
    .await?;
    Ok(claimed.map(order))
}

async fn release(store: &PostgresStore, orders: &[Order], delay: Duration) -> Result<(), Failure> {
    let mut tx = store.begin().await?;
    // Locked in ascending order first, as everywhere; what changed during the wait is looked at again and left out.
    // No `=` for the state: see where a disconnect locks its events.
    sqlx::query(
        "/* release: back to scheduled */
         update disconnect_events
            set state = 'scheduled', dispatches = 0, next_at = clock_timestamp() + make_interval(secs => $3::float8)
          where id = any(array(
                    select e.id
                      from unnest($1::bigint[], $2::integer[]) as o (id, attempt)
                      join disconnect_events e on e.id = o.id and e.attempt = o.attempt
                     where e.state is not distinct from 'queued'
                     order by e.id
                       for update of e))",
    )
    .bind(orders.iter().map(|order| order.event_id.0).collect::<Vec<_>>())
    .bind(orders.iter().map(|order| order.attempt.0).collect::<Vec<_>>())
    .bind(delay.as_secs_f64())
    .execute(&mut *tx)
    .await?;
    hints::notify(&mut tx).await?;
    tx.commit().await
}

async fn next_due(store: &PostgresStore) -> Result<Option<Duration>, Failure> {
    let seconds: Option<f64> = sqlx::query_scalar(
        "/* next due */
         select greatest(extract(epoch from next_at - clock_timestamp()), 0)::float8
           from disconnect_events
          where lane = 0 and state in ('scheduled', 'queued')
          order by next_at
          limit 1",
    )
    .fetch_optional(&store.pool)
    .await?;
    // Never negative; a date thousands of years ahead still fits.
    Ok(seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)))
}

/// The tables that disconnects and campaigns write.
const ANALYZED: [&str; 9] = [
    "account_log",
    "accounts",
    "address_assignments",
    "campaign_members",
    "debits",
    "disconnect_events",
    "family_decisions",
    "invoice_lines",
    "invoices",
];

/// Fewer changes than these make no plan bad enough to be worth a look at the table.
const CHANGES_MIN: i64 = 10_000;

async fn tend(store: &PostgresStore) -> Result<(), Failure> {
    let mut connection = store.pool.acquire().await?;
    // In orders that one index alone has. Lists of a state begin with its newest, counts with its oldest.
    sqlx::raw_sql(
        "/* tend: where lists begin */
         select (select id from disconnect_events where state in ('scheduled', 'queued') order by due_at, id limit 1),
                (select id from disconnect_events where state in ('scheduled', 'queued') order by account_number limit 1),
                (select id from disconnect_events where (state, id) >= ('scheduled', 0) order by state, id limit 1),
                (select id from disconnect_events where (state, id) <= ('scheduled', 9223372036854775807)
                  order by state desc, id desc limit 1),
                (select id from disconnect_events where (state, id) >= ('queued', 0) order by state, id limit 1),
                (select id from disconnect_events where (state, id) <= ('queued', 9223372036854775807)
                  order by state desc, id desc limit 1)",
    )
    .execute(&mut *connection)
    .await?;
    let changed: Vec<String> = sqlx::query_scalar(
        "/* tend: what changed much */
         select format('%I.%I', n.nspname, c.relname)
           from pg_class c join pg_namespace n on n.oid = c.relnamespace
          where n.nspname = current_schema() and c.relname = any($1) and c.relkind = 'r'
            and pg_stat_get_mod_since_analyze(c.oid) > greatest(c.reltuples, $2)
            and pg_has_role(c.relowner, 'usage')",
    )
    .bind(ANALYZED.as_slice())
    .bind(CHANGES_MIN)
    .fetch_all(&mut *connection)
    .await?;
    if !changed.is_empty() {
        // Skipped where autovacuum is at it already.
        let analyze = format!("/* tend: analyze */ analyze (skip_locked) {}", changed.join(", "));
        sqlx::raw_sql(AssertSqlSafe(analyze)).execute(&mut *connection).await?;
    }
    Ok(())
}

type Claimed = (i64, i32, Option<String>);

fn order((event, attempt, trace): Claimed) -> Order {
    let trace = trace.as_deref().and_then(TraceParent::parse);
    Order { event_id: EventId(event), attempt: Attempt(attempt), trace }
}
