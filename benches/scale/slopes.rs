//! What a disconnect costs each part as workers and schedulers are added: `benches/slopes`.
//!
//! Each worker and each scheduler has a pool and connections to the broker of its own, as processes have. Once with
//! everything due at once, where the machine sets the rate: on few cores that rate can't rise, so what is to be seen is
//! that a disconnect costs the same (processor time, statements, waits for locks) however many share the work, which is what
//! would let it rise on more. And once at a pace that leaves the processor room, where it is also seen how late a
//! disconnect is. All in turns, medians of the rounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use disconnectd::store::{Dispatch, Installations};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::meter::{Meter, Reading};
use crate::server::Server;
use crate::serving::Roles;
use crate::{Member, median, variable};

#[derive(Debug, Clone, Copy)]
struct Fleet {
    schedulers: usize,
    workers: usize,
    /// Disconnects that come due in a second; all at once otherwise.
    pace: Option<u32>,
    /// Whether the WAL gets whole pages; without them is what the disconnects alone write.
    pages: bool,
}

/// What a disconnect took, in one round.
struct Round {
    seconds: f64,
    used: Reading,
    waits: Waits,
    /// Claims beyond the first, of all events.
    again: f64,
    /// Milliseconds from when it was due to its commit.
    late: [f64; 2],
}

/// Of the sessions that serve, from looking at them now and then.
#[derive(Default)]
struct Waits {
    looks: f64,
    sessions_most: f64,
    /// Sessions that waited for a lock, and that waited for the WAL to be on the disk, summed over all looks.
    for_locks: f64,
    for_disk: f64,
}

pub async fn run() -> Result<()> {
    let events: usize = variable("BENCH_EVENTS", 10_000);
    let rounds: usize = variable("BENCH_ROUNDS", 5);
    let pace: u32 = variable("BENCH_PACE", 300);
    let flat_out = |schedulers, workers| Fleet { schedulers, workers, pace: None, pages: true };
    let paced = |schedulers, workers| Fleet { schedulers, workers, pace: Some(pace), pages: true };
    let fleets = [
        flat_out(1, 1),
        flat_out(1, 2),
        flat_out(1, 3),
        flat_out(1, 4),
        flat_out(2, 2),
        flat_out(3, 2),
        Fleet { pages: false, ..flat_out(1, 2) },
        paced(1, 1),
        paced(1, 2),
        paced(1, 4),
        paced(2, 2),
        paced(3, 2),
    ];
    let cores = std::thread::available_parallelism()?;
    println!("{events} due events with 3 debits each; {rounds} rounds in turn, on {cores} cores; per disconnect");

    let server = Server::from_environment()?;
    let meter = Meter::from_environment()?;
    let mut all: Vec<Vec<Round>> = fleets.iter().map(|_| Vec::new()).collect();
    server.prepare(events).await?;
    for round in 1..=rounds {
        for (fleet, rounds) in fleets.iter().zip(&mut all) {
            rounds.push(measure(&server, &meter, *fleet, events).await?);
        }
        eprintln!("round {round} of {rounds}");
    }
    println!(
        "\n{:<44} {:>9} {:>6} {:>6} {:>6} {:>6} {:>7} {:>6} {:>6} {:>6} {:>7} {:>6} {:>6} {:>6} {:>7} {:>7}",
        "",
        "per s",
        "cores",
        "ours",
        "PG",
        "MQ",
        "WAL kB",
        "pages",
        "stmts",
        "xacts",
        "again",
        "conns",
        "locks",
        "disk",
        "p50 ms",
        "p99 ms"
    );
    for (fleet, rounds) in fleets.iter().zip(&all) {
        report(*fleet, rounds, events);
    }
    println!(
        "\nours, PG, MQ: ms of processor time, of the workers and schedulers, of PostgreSQL, of RabbitMQ. cores: all of it by the
clock. pages: whole pages in the WAL. again: events claimed more than once, of all. conns: sessions at most. locks, disk:
sessions that wait for a lock, and for the WAL to be on the disk, at any moment. p50, p99: from when it was due."
    );
    server.clean_up().await
}

fn report(fleet: Fleet, rounds: &[Round], events: usize) {
    #[expect(clippy::cast_precision_loss, reason = "a count for people")]
    let events = events as f64;
    let of = |value: &dyn Fn(&Round) -> f64| median(rounds.iter().map(value).collect());
    // All at once, how late it is tells when it was made, and nothing else.
    let late = |which: usize| match fleet.pace {
        Some(_) => format!("{:.1}", of(&|round| round.late[which])),
        None => "-".to_owned(),
    };
    let each = |value: fn(&Reading) -> f64| of(&|round| value(&round.used) / events);
    let name = format!(
        "{} scheduler(s), {} worker(s), {}{}",
        fleet.schedulers,
        fleet.workers,
        fleet.pace.map_or("flat out".to_owned(), |pace| format!("{pace} a second")),
        if fleet.pages { "" } else { ", no pages" },
    );
    println!(
        "{name:<44} {:>9.0} {:>6.2} {:>6.3} {:>6.3} {:>6.3} {:>7.2} {:>6.2} {:>6.2} {:>6.3} {:>7.4} {:>6.0} {:>6.2} \
         {:>6.2} {:>7} {:>7}",
        of(&|round| events / round.seconds),
        of(&|round| (round.used.own + round.used.postgres + round.used.broker) / round.seconds),
        each(|used| used.own * 1e3),
        each(|used| used.postgres * 1e3),
        each(|used| used.broker * 1e3),
        each(|used| used.wal_bytes / 1e3),
        each(|used| used.wal_pages),
        each(|used| used.statements),
        each(|used| used.commits),
        of(&|round| round.again / events),
        of(&|round| round.waits.sessions_most),
        of(&|round| round.waits.for_locks / round.waits.looks.max(1.0)),
        of(&|round| round.waits.for_disk / round.waits.looks.max(1.0)),
        late(0),
        late(1),
    );
}

async fn measure(server: &Server, meter: &Meter, fleet: Fleet, events: usize) -> Result<Round> {
    let database = server.fresh().await?;
    let bench = PgPoolOptions::new().max_connections(2).connect(&database).await?;
    set_pages(&bench, fleet.pages).await?;
    sqlx::raw_sql("/* bench: */ create extension pg_stat_statements").execute(&bench).await?;
    // The workers are there before anything comes, and the schedulers begin together.
    let mut members = Vec::new();
    for _ in 0..fleet.workers {
        members.push(Member::begin(server, &database, Roles { scheduler: false, worker: true }).await?);
    }
    let first = if let Some(pace) = fleet.pace {
        sqlx::query(
            "/* bench: pace */
             update disconnect_events set due_at = at, next_at = at
               from (select id as of, clock_timestamp() + interval '3 s' + id * interval '1 s' / $1 as at
                       from disconnect_events) e
              where id = of",
        )
        .bind(f64::from(pace))
        .execute(&bench)
        .await?;
        for tidy in ["/* bench: */ vacuum disconnect_events", "/* bench: */ checkpoint"] {
            sqlx::raw_sql(tidy).execute(&bench).await?;
        }
        Duration::from_secs(3)
    } else {
        Duration::ZERO
    };
    let watch = Arc::new(AtomicBool::new(true));
    let waits = tokio::spawn(watch_sessions(bench.clone(), watch.clone()));
    let before = meter.read(&bench).await?;
    let begun = Instant::now();
    for _ in 0..fleet.schedulers {
        members.push(Member::begin(server, &database, Roles { scheduler: true, worker: false }).await?);
    }
    // The index of open events answers it, and it is empty in the end.
    while members[0].store.next_due().await?.is_some() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let seconds =
        (begun.elapsed().saturating_sub(if fleet.pace.is_some() { first } else { Duration::ZERO })).as_secs_f64();
    let used = meter.read(&bench).await? - before;
    watch.store(false, Ordering::Relaxed);
    let waits = waits.await??;
    let (done, again, late): (i64, f64, Vec<f64>) = sqlx::query_as(
        "/* bench: late */
         select count(*) filter (where outcome = 'disconnected'), sum(attempt - 1)::float8,
                percentile_disc(array[0.5, 0.99]) within group (order by extract(epoch from ended_at - due_at) * 1e3)::float8[]
           from disconnect_events",
    )
    .fetch_one(&bench)
    .await?;
    ensure!(usize::try_from(done)? == events, "{done} of {events} are disconnected");
    let wrong = members[0].store.inspect().await?;
    ensure!(wrong.is_empty(), "the result is wrong: {wrong:?}");
    for member in members {
        member.end().await?;
    }
    set_pages(&bench, true).await?;
    bench.close().await;
    Ok(Round { seconds, used, waits, again, late: [late[0], late[1]] })
}

async fn set_pages(bench: &PgPool, on: bool) -> Result<()> {
    let set = if on { "alter system reset full_page_writes" } else { "alter system set full_page_writes = off" };
    sqlx::raw_sql(set).execute(bench).await?;
    sqlx::raw_sql("/* bench: */ select pg_reload_conf()").execute(bench).await?;
    Ok(())
}

async fn watch_sessions(bench: PgPool, watch: Arc<AtomicBool>) -> Result<Waits> {
    let mut waits = Waits::default();
    while watch.load(Ordering::Relaxed) {
        let (sessions, for_locks, for_disk): (f64, f64, f64) = sqlx::query_as(
            "/* bench: sessions */
             select count(*)::float8, count(*) filter (where wait_event_type = 'Lock')::float8,
                    count(*) filter (where wait_event in ('WALSync', 'WALWrite'))::float8
               from pg_stat_activity where datname = current_database() and application_name = 'disconnectd'",
        )
        .fetch_one(&bench)
        .await?;
        waits.looks += 1.0;
        waits.sessions_most = waits.sessions_most.max(sessions);
        waits.for_locks += for_locks;
        waits.for_disk += for_disk;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(waits)
}
