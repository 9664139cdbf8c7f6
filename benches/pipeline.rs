//! The pipeline against its ceilings, measured in turns in one run: `benches/run`.
//!
//! 20,000 due events, each account with an address and 3 uninvoiced debits, durable settings, one confirmed message per
//! account. The ceilings are the same rows written by bare set-based statements in batches of 64, and the same number
//! of messages published with confirms, consumed and acked over bare channels; on SQLite also in batches as large as the
//! pipeline's are there. In trouble, one account in a hundred can't be read, which fails its batch. Machines are noisy: only
//! the ratios mean anything, and of those the median.

#[path = "pipeline/messages.rs"]
mod messages;
#[path = "pipeline/postgres.rs"]
mod postgres;
mod server;
mod serving;
#[path = "pipeline/sqlite.rs"]
mod sqlite;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use disconnectd::queue::Queue;
use disconnectd::store::Store;

use self::server::Server;
use self::serving::{Roles, Serving};

const BATCH: usize = 64;

/// What the program takes for a batch on SQLite, where nothing else is configured.
const SQLITE_BATCH: usize = 500;

/// In trouble, one account of so many fails.
const TROUBLE: usize = 100;

/// What one round came to, in seconds.
#[derive(Debug, Clone, Copy)]
struct Round {
    pipeline: f64,
    trouble: f64,
    rows: f64,
    /// The same in batches as large as the pipeline's, where those are others.
    large_rows: Option<f64>,
    messages: f64,
}

impl Round {
    fn ratio(&self) -> f64 {
        self.pipeline / (self.rows + self.messages)
    }

    fn trouble_ratio(&self) -> f64 {
        self.trouble / self.pipeline
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let events: usize = variable("BENCH_EVENTS").unwrap_or(20_000);
    let rounds: usize = variable("BENCH_ROUNDS").unwrap_or(5);
    println!("{events} due events, 3 debits each, batches of {BATCH}, {rounds} rounds in turn\n");

    let only = std::env::var("BENCH_ONLY").ok();
    ensure!(
        only.as_deref().is_none_or(|only| ["postgres", "sqlite"].contains(&only)),
        "BENCH_ONLY: postgres or sqlite"
    );
    let is_asked = |engine| only.as_deref().is_none_or(|only| only == engine);
    let server = if is_asked("postgres") { Some(Server::from_environment()?) } else { None };
    if let Some(server) = &server {
        server.prepare(events).await?;
    }
    let file = if is_asked("sqlite") { Some(sqlite::File::prepare(events).await?) } else { None };
    let (mut at_scale, mut embedded) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        if let Some(server) = &server {
            let scale = Round {
                pipeline: server.pipeline(events, Trouble::None).await?,
                trouble: server.pipeline(events, Trouble::OneInMany).await?,
                rows: server.bare_rows(events).await?,
                large_rows: None,
                messages: messages::bare(events).await?,
            };
            println!("round {round}: PostgreSQL + RabbitMQ {scale:.2?}");
            at_scale.push(scale);
        }
        if let Some(file) = &file {
            let sqlite = Round {
                pipeline: file.pipeline(events, Trouble::None).await?,
                trouble: file.pipeline(events, Trouble::OneInMany).await?,
                rows: file.bare_rows(events, BATCH).await?,
                large_rows: Some(file.bare_rows(events, SQLITE_BATCH).await?),
                messages: 0.0,
            };
            println!("round {round}: SQLite {sqlite:.2?}");
            embedded.push(sqlite);
        }
    }
    println!();
    if let Some(server) = server {
        report("PostgreSQL + RabbitMQ", events, &at_scale);
        server.clean_up().await?;
    }
    if file.is_some() {
        report("SQLite (WAL, synchronous=FULL)", events, &embedded);
    }
    Ok(())
}

fn report(name: &str, events: usize, rounds: &[Round]) {
    let rate = |seconds: f64| if seconds > 0.0 { per_second(events, seconds) } else { "-".into() };
    println!("{name}");
    println!("  pipeline            {:>10} disconnects/s", rate(median(rounds, |round| round.pipeline)));
    println!(
        "  bare rows           {:>10} accounts/s, {BATCH} a transaction",
        rate(median(rounds, |round| round.rows))
    );
    if rounds.iter().all(|round| round.large_rows.is_some()) {
        let large = |round: &Round| round.large_rows.unwrap_or_default();
        let (rows, ratio) = (median(rounds, large), median(rounds, |round| round.pipeline / large(round)));
        println!("                      {:>10} accounts/s, {SQLITE_BATCH} a transaction: ratio {ratio:.2}", rate(rows));
    }
    println!("  bare messages       {:>10} messages/s", rate(median(rounds, |round| round.messages)));
    println!("  pipeline / ceilings {:>10.2}  (to be at most 1.40)", median(rounds, Round::ratio));
    println!("  in trouble / not    {:>10.2}  (to be at most 1.33)", median(rounds, Round::trouble_ratio));
}

/// What the accounts of a round are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    OneInMany,
}

impl Trouble {
    /// Makes it, in either database: it fails at the first try, for good.
    const STATEMENTS: [&str; 2] = [
        "update accounts set currency = 'ZZZ' where id % 100 = 0",
        "update disconnect_events set failures_max = 1 where account_id % 100 = 0",
    ];

    fn failing(self, events: usize) -> usize {
        if self == Self::None { 0 } else { events / TROUBLE }
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
async fn run_pipeline(
    store: Arc<dyn Store>,
    queue: Arc<dyn Queue>,
    database: &str,
    events: usize,
    trouble: Trouble,
) -> Result<f64> {
    let serving = Serving::begin(Roles { scheduler: true, worker: true }, store.clone(), queue, database).await?;
    let begun = Instant::now();
    // Cheap to ask: the index of open events answers it, and it is empty in the end.
    while store.next_due().await?.is_some() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = begun.elapsed().as_secs_f64();
    serving.end().await?;
    let counts = store.event_counts(None).await?;
    let failing = trouble.failing(events);
    ensure!(usize::try_from(counts.completed)? == events - failing, "not all events completed: {counts:?}");
    ensure!(usize::try_from(counts.open.failed)? == failing, "others failed: {counts:?}");
    if trouble == Trouble::None {
        let wrong = store.inspect().await?;
        ensure!(wrong.is_empty(), "the result is wrong: {wrong:?}");
    }
    Ok(took)
}
