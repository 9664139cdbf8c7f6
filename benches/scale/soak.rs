//! Whether the hot table stays small under a load that goes on and on: `benches/soak`.
//!
//! A feeder makes new accounts with 3 debits and an event each that is due at once, so many a second, while one scheduler and
//! two workers disconnect them. What is looked at: dead rows and sizes of the tables and of each index of the events,
//! vacuums, what a claim takes, what waits in the broker, what this process has resident. The schema is as the migrations
//! leave it, and so is the server.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use disconnectd::queue::Queue;
use disconnectd::queue::rabbitmq::RabbitQueue;
use disconnectd::store::{Dispatch, Installations};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::meter::{Meter, Reading, resident};
use crate::server::Server;
use crate::serving::{Roles, until_connected};
use crate::{Member, variable};

const WORKERS: usize = 2;

/// From one look to the next.
const EVERY: Duration = Duration::from_secs(10);

/// Looks in a line of the report.
const LINE: usize = 12;

/// Where so many seconds' worth waits already, no more is fed: the machine is too slow for the rate.
const BEHIND_MAX: i64 = 3;

struct Look {
    minutes: f64,
    /// Disconnects since the start.
    done: f64,
    open: f64,
    events: Table,
    debits: Table,
    accounts: Table,
    /// MiB: the heap of the events, the index that claims read, the other one of open events alone, all others.
    heap: f64,
    lane: f64,
    open_index: f64,
    others: f64,
    /// Of the whole database.
    database: f64,
    /// Since the start: calls, milliseconds, rows.
    claims: [f64; 3],
    resident: f64,
    queued: f64,
    used: Reading,
}

#[derive(Debug, Clone, Copy)]
struct Table {
    live: f64,
    dead: f64,
    vacuums: f64,
}

pub async fn run() -> Result<()> {
    let minutes: u64 = variable("SOAK_MINUTES", 30);
    let rate: i64 = variable("SOAK_PER_SECOND", 500);
    let cores = std::thread::available_parallelism()?;
    println!(
        "{rate} new events a second for {minutes} minutes, which is {} million a day; 1 scheduler, {WORKERS} workers, {cores} cores",
        rate * 86_400 / 1_000_000,
    );
    let server = Server::from_environment()?;
    let meter = Meter::from_environment()?;
    server.prepare(usize::try_from(rate)?).await?;
    let database = server.fresh().await?;
    let bench = PgPoolOptions::new().max_connections(2).connect(&database).await?;
    sqlx::raw_sql("/* bench: */ create extension pg_stat_statements").execute(&bench).await?;

    let mut members = Vec::new();
    for _ in 0..WORKERS {
        members.push(Member::begin(&server, &database, Roles { scheduler: false, worker: true }).await?);
    }
    members.push(Member::begin(&server, &database, Roles { scheduler: true, worker: false }).await?);
    let watching = RabbitQueue::new(&server.amqp, &members[0].store.installation().await?.id)?;
    until_connected(&watching).await?;

    let length = Duration::from_secs(minutes * 60);
    let feeder = tokio::spawn(feed(bench.clone(), rate, length));
    heading();
    let begun = Instant::now();
    let mut looks = Vec::new();
    while begun.elapsed() < length {
        looks.push(look(&bench, &meter, &watching, begun).await?);
        if looks.len() % LINE == 1 && looks.len() > 1 {
            line(&looks[looks.len() - 1 - LINE..]);
        }
        tokio::time::sleep(EVERY).await;
    }
    looks.push(look(&bench, &meter, &watching, begun).await?);
    let (fed, skipped) = feeder.await??;
    while members[0].store.next_due().await?.is_some() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    verdict(&looks, fed, skipped);
    let wrong = members[0].store.inspect().await?;
    ensure!(wrong.is_empty(), "the result is wrong: {wrong:?}");
    println!("all {fed} that were fed are disconnected, and nothing is wrong");
    for member in members {
        member.end().await?;
    }
    watching.close().await;
    bench.close().await;
    server.clean_up().await
}

/// Answers how many it made, and how many seconds it left out.
async fn feed(bench: PgPool, rate: i64, length: Duration) -> Result<(i64, u64)> {
    let (mut fed, mut skipped) = (0, 0);
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    // Seconds that it was too slow for are made up for: the rate is what counts.
    while begun.elapsed() < length {
        ticks.tick().await;
        let open: i64 = sqlx::query_scalar(
            "/* bench: open */ select count(*) from (select from disconnect_events
              where lane = 0 and state in ('scheduled', 'queued') limit $1) open",
        )
        .bind(BEHIND_MAX * rate)
        .fetch_one(&bench)
        .await?;
        if open >= BEHIND_MAX * rate {
            skipped += 1;
            continue;
        }
        let mut transaction = bench.begin().await?;
        // The first ids that are new. They are the same in all of these tables.
        let first: i64 = sqlx::query_scalar(
            "/* bench: feed accounts */
             with made as (
                 insert into accounts (number, name, status_id, currency, searched)
                 select 'S-' || ($1 + n), 'Customer ' || n, 2, 'USD', 's-' || ($1 + n) || E'\\ncustomer ' || n
                   from generate_series(1, $2) n
                 returning id
             ) select min(id) from made",
        )
        .bind(fed)
        .bind(rate)
        .fetch_one(&mut *transaction)
        .await?;
        for statement in [
            "/* bench: feed addresses */ insert into serviceable_addresses (address)
             select 'address ' || n from generate_series($1, $1 + $2 - 1) n",
            "/* bench: feed assignments */ insert into address_assignments (account_id, address_id, assigned_from)
             select n, l.id, now() from generate_series($1, $1 + $2 - 1) n
               join serviceable_addresses l on l.address = 'address ' || n",
            "/* bench: feed debits */ insert into debits (account_id, reference, description, amount, tax, charged_on)
             select n, 'r' || d, 'Monthly charge ' || d, 1000 + n % 997 + d, 80, date '2026-10-31'
               from generate_series($1, $1 + $2 - 1) n, generate_series(1, 3) d",
            "/* bench: feed events */ insert into disconnect_events
                    (account_id, state, due_at, next_at, failures_max, requested_by, requested_from)
             select n, 'scheduled', now(), now(), 8, 'bench', 'cli' from generate_series($1, $1 + $2 - 1) n",
            "/* bench: hint */ select pg_notify('disconnectd_due', '') where $1 + $2 > 0",
        ] {
            sqlx::query(statement).bind(first).bind(rate).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        fed += rate;
    }
    Ok((fed, skipped))
}

async fn look(bench: &PgPool, meter: &Meter, queue: &RabbitQueue, begun: Instant) -> Result<Look> {
    let tables: Vec<(String, f64, f64, f64)> = sqlx::query_as(
        "/* bench: tables */
         select relname::text, n_live_tup::float8, n_dead_tup::float8, autovacuum_count::float8 from pg_stat_user_tables",
    )
    .fetch_all(bench)
    .await?;
    let sizes: Vec<(String, f64)> = sqlx::query_as(
        "/* bench: sizes */
         select relname::text, pg_relation_size(oid) / 1048576.0::float8 from pg_class
          where oid = 'disconnect_events'::regclass
             or oid in (select indexrelid from pg_index where indrelid = 'disconnect_events'::regclass)",
    )
    .fetch_all(bench)
    .await?;
    let size = |name: &str| sizes.iter().find(|(of, _)| of == name).map_or(0.0, |(_, size)| *size);
    let (heap, lane, open_index) =
        (size("disconnect_events"), size("disconnect_events_lane"), size("disconnect_events_open"));
    let (calls, milliseconds, rows) = sqlx::query_as(
        "/* bench: claims */
         select coalesce(sum(calls), 0)::float8, coalesce(sum(total_exec_time), 0)::float8, coalesce(sum(rows), 0)::float8
           from pg_stat_statements s join pg_database d on d.oid = s.dbid
          where d.datname = current_database() and query like '/* claim: due events */%'",
    )
    .fetch_one(bench)
    .await?;
    let (done, database, open): (f64, f64, f64) = sqlx::query_as(
        "/* bench: open and done */
         select (select last_value from invoice_numbers)::float8, pg_database_size(current_database()) / 1048576.0::float8,
                (select count(*) from disconnect_events where state in ('scheduled', 'queued'))::float8",
    )
    .fetch_one(bench)
    .await?;
    let depth = queue.depth().await?;
    let table = |name: &str| {
        let (_, live, dead, vacuums) = tables.iter().find(|(of, ..)| of == name).context("a table is missing")?;
        anyhow::Ok(Table { live: *live, dead: *dead, vacuums: *vacuums })
    };
    let (accounts, debits, events) = (table("accounts")?, table("debits")?, table("disconnect_events")?);
    #[expect(clippy::cast_precision_loss, reason = "a count for people")]
    let queued = depth.single as f64;
    Ok(Look {
        minutes: begun.elapsed().as_secs_f64() / 60.0,
        done,
        open,
        events,
        debits,
        accounts,
        heap,
        lane,
        open_index,
        others: sizes.iter().map(|(_, size)| size).sum::<f64>() - heap - lane - open_index,
        database,
        claims: [calls, milliseconds, rows],
        resident: resident()?,
        queued,
        used: meter.read(bench).await?,
    })
}

fn heading() {
    println!(
        "\n{:>6} {:>7} {:>6} {:>9} {:>9} {:>4} {:>9} {:>9} {:>7} {:>7} {:>7} {:>7} {:>8} {:>8} {:>6} {:>6} {:>6}",
        "minute",
        "per s",
        "open",
        "events",
        "dead",
        "vac",
        "debits d.",
        "accts d.",
        "heap",
        "lane",
        "open i.",
        "others",
        "claim ms",
        "us a row",
        "MQ",
        "MiB",
        "cores"
    );
}

/// The looks of a line, the last of the line before being the first.
fn line(looks: &[Look]) {
    let [first, .., last] = looks else { return };
    let most = |of: fn(&Look) -> f64| looks.iter().map(of).fold(0.0, f64::max);
    let seconds = (last.minutes - first.minutes) * 60.0;
    let claims = between(first, last);
    println!(
        "{:>6.1} {:>7.0} {:>6.0} {:>9.0} {:>9.0} {:>4.0} {:>9.0} {:>9.0} {:>7.1} {:>7.2} {:>7.2} {:>7.1} {:>8.2} {:>8.1} \
         {:>6.0} {:>6.1} {:>6.2}",
        last.minutes,
        (last.done - first.done) / seconds,
        most(|look| look.open),
        last.events.live,
        most(|look| look.events.dead),
        last.events.vacuums,
        most(|look| look.debits.dead),
        most(|look| look.accounts.dead),
        last.heap,
        last.lane,
        last.open_index,
        last.others,
        claims[0],
        claims[1],
        most(|look| look.queued),
        last.resident,
        cores(first, last),
    );
}

/// Milliseconds of a claim, microseconds of a row of it.
fn between(first: &Look, last: &Look) -> [f64; 2] {
    let [calls, milliseconds, rows] = [0, 1, 2].map(|of| last.claims[of] - first.claims[of]);
    [milliseconds / calls.max(1.0), milliseconds * 1e3 / rows.max(1.0)]
}

fn cores(first: &Look, last: &Look) -> f64 {
    let used = last.used - first.used;
    (used.own + used.postgres + used.broker) / ((last.minutes - first.minutes) * 60.0)
}

/// The last third against the one before; the first is for warming up.
fn verdict(looks: &[Look], fed: i64, skipped: u64) {
    let third = looks.len() / 3;
    if third < 2 {
        println!("\ntoo short to say anything");
        return;
    }
    let (middle, end) = (&looks[third..2 * third], &looks[2 * third..]);
    let most = |looks: &[Look], of: fn(&Look) -> f64| looks.iter().map(of).fold(0.0, f64::max);
    println!("\nthe last third against the one before\n{:<44} {:>12} {:>12} {:>6}", "", "before", "last", "ratio");
    let row = |what: &str, before: f64, last: f64, target: &str| {
        println!("{what:<44} {before:>12.2} {last:>12.2} {:>6.2}  {target}", last / before.max(f64::MIN_POSITIVE));
    };
    let dead = |look: &Look| look.events.dead;
    row("dead rows of disconnect_events, at most", most(middle, dead), most(end, dead), "(bounded: to be at most 1.2)");
    let share = |look: &Look| look.events.dead / (look.events.live + look.events.dead).max(1.0);
    row("  as a share of all of its rows, at most", most(middle, share), most(end, share), "");
    row("dead rows of debits, at most", most(middle, |l| l.debits.dead), most(end, |l| l.debits.dead), "");
    row("dead rows of accounts, at most", most(middle, |l| l.accounts.dead), most(end, |l| l.accounts.dead), "");
    row("MiB of the index that claims read", most(middle, |l| l.lane), most(end, |l| l.lane), "(to be at most 1.2)");
    let claims = |looks: &[Look]| between(&looks[0], &looks[looks.len() - 1]);
    row("microseconds to claim an event", claims(middle)[1], claims(end)[1], "(to be at most 1.2)");
    row("milliseconds of a claim", claims(middle)[0], claims(end)[0], "");
    row("MiB resident, workers and scheduler", most(middle, |l| l.resident), most(end, |l| l.resident), "");
    let (first, last) = (&looks[0], &looks[looks.len() - 1]);
    let used = last.used - first.used;
    let done = (last.done - first.done).max(1.0);
    println!(
        "\n{:.2} kB of disk for each account with its disconnect, indexes included",
        (last.database - first.database) * 1_048.576 / done
    );
    println!(
        "{fed} fed, {skipped} seconds left out because too much waited. Per disconnect, the feeder's part of it included: {:.3} ms \
         of PostgreSQL, {:.3} ms of RabbitMQ, {:.2} kB of WAL with {:.2} whole pages; {:.3} ms of workers, scheduler and feeder",
        used.postgres * 1e3 / done,
        used.broker * 1e3 / done,
        used.wal_bytes / 1e3 / done,
        used.wal_pages / done,
        used.own * 1e3 / done,
    );
}
