//! The pipeline against its ceilings, measured in turns in one run: `benches/run`.
//!
//! 20,000 due events, each account with an address and 3 uninvoiced debits, durable settings, one confirmed message per
//! account. The ceilings are the same rows written by bare set-based statements in batches of 64, and the same number
//! of messages published with confirms, consumed and acked over bare channels. Machines are noisy: only the ratios mean
//! anything, and of those the median.

#[path = "pipeline/messages.rs"]
mod messages;
#[path = "pipeline/postgres.rs"]
mod postgres;
#[path = "pipeline/sqlite.rs"]
mod sqlite;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use disconnectd::clock::Clock;
use disconnectd::config::{Config, Environment};
use disconnectd::health::Health;
use disconnectd::queue::{Connectivity, Queue};
use disconnectd::scheduler::Scheduler;
use disconnectd::shutdown::Shutdown;
use disconnectd::store::Store;
use disconnectd::worker::Worker;

const BATCH: usize = 64;

/// What one round came to, in seconds.
#[derive(Debug, Clone, Copy)]
struct Round {
    pipeline: f64,
    rows: f64,
    messages: f64,
}

impl Round {
    fn ratio(self) -> f64 {
        self.pipeline / (self.rows + self.messages)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let events: usize = variable("BENCH_EVENTS").unwrap_or(20_000);
    let rounds: usize = variable("BENCH_ROUNDS").unwrap_or(5);
    println!("{events} due events, 3 debits each, batches of {BATCH}, {rounds} rounds in turn\n");

    let mut at_scale = Vec::new();
    let mut embedded = Vec::new();
    let server = postgres::Server::from_environment()?;
    server.prepare(events).await?;
    let file = sqlite::File::prepare(events).await?;
    for round in 1..=rounds {
        let scale = Round {
            pipeline: server.pipeline(events).await?,
            rows: server.bare_rows(events).await?,
            messages: messages::bare(events).await?,
        };
        let sqlite =
            Round { pipeline: file.pipeline(events).await?, rows: file.bare_rows(events).await?, messages: 0.0 };
        println!("round {round}: PostgreSQL + RabbitMQ {scale:.2?}, SQLite {sqlite:.2?}");
        at_scale.push(scale);
        embedded.push(sqlite);
    }
    println!();
    report("PostgreSQL + RabbitMQ", events, &at_scale);
    report("SQLite (WAL, synchronous=FULL)", events, &embedded);
    server.clean_up().await
}

fn report(name: &str, events: usize, rounds: &[Round]) {
    let rate = |seconds: f64| if seconds > 0.0 { per_second(events, seconds) } else { "-".into() };
    println!("{name}");
    println!("  pipeline            {:>10} disconnects/s", rate(median(rounds, |round| round.pipeline)));
    println!("  bare rows           {:>10} accounts/s", rate(median(rounds, |round| round.rows)));
    println!("  bare messages       {:>10} messages/s", rate(median(rounds, |round| round.messages)));
    println!("  pipeline / ceilings {:>10.2}  (the floor is 2.00)", median(rounds, Round::ratio_of));
}

impl Round {
    fn ratio_of(round: &Self) -> f64 {
        round.ratio()
    }
}

fn per_second(events: usize, seconds: f64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a count for people")]
    let rate = events as f64 / seconds;
    format!("{rate:.0}")
}

fn median(rounds: &[Round], of: impl Fn(&Round) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn variable(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs one scheduler and one worker, as `serve` does, until nothing is open. Answers the seconds that it took.
async fn run_pipeline(store: Arc<dyn Store>, queue: Arc<dyn Queue>, database: &str, events: usize) -> Result<f64> {
    let environment = Environment { database_url: Some(database.to_owned()), ..Environment::default() };
    let config = Config::load(None, &environment)?;
    let serving = store.serve("bench").await?;
    let mut connectivity = queue.connectivity();
    tokio::time::timeout(Duration::from_secs(10), connectivity.wait_for(|c| *c == Connectivity::Up)).await??;

    let (stop_handle, stop) = Shutdown::new();
    let health = Arc::new(Health::default());
    let scheduler = Scheduler {
        store: store.clone(),
        queue: queue.clone(),
        health: health.clone(),
        clock: Clock::system(),
        config: config.scheduler,
        failures_max: config.failures_max,
    };
    let worker = Worker::new(store.clone(), health, config.worker);
    let begun = Instant::now();
    let tasks = [tokio::spawn(scheduler.run(stop.clone())), tokio::spawn(worker.run(queue.clone(), stop))];
    // Cheap to ask: the index of open events answers it, and it is empty in the end.
    while store.next_due().await?.is_some() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = begun.elapsed().as_secs_f64();
    stop_handle.stop();
    for task in tasks {
        task.await?;
    }
    queue.close().await;
    drop(serving);
    let counts = store.event_counts().await?;
    ensure!(usize::try_from(counts.completed)? == events, "not all events completed: {counts:?}");
    let wrong = store.inspect().await?;
    ensure!(wrong.is_empty(), "the result is wrong: {wrong:?}");
    Ok(took)
}
