//! How soon a disconnect is committed while a million others are scheduled: `benches/latency`.
//!
//! A scheduler and a worker as `serve` runs them, with the configuration that is there by itself: PostgreSQL with RabbitMQ,
//! and SQLite. An immediate one counts from when the request for it is committed, which is when the API answers; one with a
//! date counts from its instant. Each ends when another connection sees it completed, which is looked for every
//! millisecond or two.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use chrono::TimeDelta;
use disconnectd::clock::Clock;
use disconnectd::domain::event::{EventId, State};
use disconnectd::queue::Queue;
use disconnectd::queue::memory::MemoryQueue;
use disconnectd::queue::rabbitmq::RabbitQueue;
use disconnectd::store::{Requested, Store};
use url::Url;

use crate::serving::{Roles, Serving};
use crate::side::Side;

/// Of each kind.
const COUNT: usize = 200;

/// How far the dates are apart, and the first one from now.
const APART: TimeDelta = TimeDelta::milliseconds(50);
const FIRST: TimeDelta = TimeDelta::seconds(10);

const WAIT_MAX: Duration = Duration::from_secs(60);

pub async fn run() -> Result<()> {
    let scheduled: i64 = std::env::var("BENCH_SCHEDULED").ok().map_or(Ok(1_000_000), |text| text.parse())?;
    println!("{scheduled} others are scheduled; {COUNT} of each kind, in milliseconds\n");
    println!("{:<44} {:>8} {:>8} {:>8}", "", "p50", "p99", "most");
    let folder = tempfile::tempdir()?;
    let variable = |name: &str| std::env::var(name).context("run benches/latency, which starts the servers");
    let server: Url = variable("DISCONNECTD_TEST_POSTGRES_URL")?.parse()?;
    let amqp = variable("DISCONNECTD_TEST_AMQP_URL")?;

    let side = Side::on_postgres(&server, scheduled).await?;
    let installation = side.store.installation().await?;
    let queue = Arc::new(RabbitQueue::new(&amqp, &installation.id)?);
    measure("PostgreSQL + RabbitMQ", side, queue).await?;
    let side = Side::on_sqlite(folder.path(), scheduled).await?;
    measure("SQLite", side, Arc::new(MemoryQueue::new())).await
}

async fn measure(engine: &str, mut side: Side, queue: Arc<dyn Queue>) -> Result<()> {
    let serving = Serving::begin(Roles { scheduler: true, worker: true }, side.store.clone(), queue, &side.url).await?;
    report(&format!("{engine}: an immediate one"), immediate(&mut side).await?);
    report(&format!("{engine}: one at its instant"), dated(&mut side).await?);

    serving.end().await?;
    side.end().await
}

fn report(what: &str, mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
    println!("{what:<44} {:>8.1} {:>8.1} {:>8.1}", at(50), at(99), at(100));
}

/// One after the other, with nothing else to do.
async fn immediate(side: &mut Side) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for _ in 0..COUNT {
        let request = side.ask("now")?;
        let Requested::Created(event) = side.store.request(&request).await? else { return Err(anyhow!("refused")) };
        let begun = Instant::now();
        while !is_completed(&*side.store, event).await? {
            ensure!(begun.elapsed() < WAIT_MAX, "event {event} is not completed");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}

async fn dated(side: &mut Side) -> Result<Vec<f64>> {
    // The machine's clock and the database's are the same one here.
    let first = side.store.now().await? + FIRST;
    let mut waiting = HashMap::new();
    for n in 0..COUNT {
        let due = first + APART * i32::try_from(n)?;
        let request = side.ask(&due.to_rfc3339())?;
        let Requested::Created(event) = side.store.request(&request).await? else { return Err(anyhow!("refused")) };
        waiting.insert(event, due);
    }
    ensure!(side.store.now().await? < first, "the machine is too slow for this");
    let (mut times, begun) = (Vec::new(), Instant::now());
    while !waiting.is_empty() {
        ensure!(begun.elapsed() < WAIT_MAX, "{} are not completed", waiting.len());
        let now = Clock::system().now();
        let due: Vec<_> = waiting.iter().filter(|(_, due)| **due <= now).map(|(event, due)| (*event, *due)).collect();
        for (event, due) in due {
            if is_completed(&*side.store, event).await? {
                let late = Clock::system().now() - due;
                times.push(late.to_std().unwrap_or_default().as_secs_f64() * 1e3);
                waiting.remove(&event);
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(times)
}

async fn is_completed(store: &dyn Store, event: EventId) -> Result<bool> {
    Ok(store.event(event).await?.state == State::Completed)
}
