//! What a verb costs with many events that are scheduled for later, against what it costs with few: `benches/growth`.
//!
//! Two databases of each engine, with 10,000 and with 1,000,000 scheduled events (`BENCH_SCHEDULED`; the long form has
//! 10,000,000), of as many accounts. Each verb runs in turn on the one and on the other, so that a slow moment of the
//! machine meets both; of the times the middle, and of those the ratio. None should be above 1.2 but by chance.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use disconnectd::domain::account::{AccountFilter, AccountOrder};
use disconnectd::domain::event::{Change, Order};
use disconnectd::domain::plan::plan_disconnect;
use disconnectd::store::{EventFilter, Page, Redispatch, Requested, StoreResult};
use url::Url;

use crate::side::{DUE, FREE, Side, by, number};

const REDISPATCH: Redispatch = Redispatch { base: Duration::from_secs(10), max: Duration::from_secs(300) };

/// Each verb's times are taken so often, in each database.
const ROUNDS: usize = 21;

pub async fn run() -> Result<()> {
    let many: i64 = std::env::var("BENCH_SCHEDULED").ok().map_or(Ok(1_000_000), |text| text.parse())?;
    let few = 10_000;
    println!("{few} and {many} scheduled events, the middle of {ROUNDS}, in milliseconds\n");
    let folder = tempfile::tempdir()?;
    let server =
        std::env::var("DISCONNECTD_TEST_POSTGRES_URL").context("run benches/growth, which starts the server")?;
    let server: Url = server.parse()?;
    let only = std::env::var("BENCH_ONLY").ok();
    ensure!(
        only.as_deref().is_none_or(|only| ["postgres", "sqlite"].contains(&only)),
        "BENCH_ONLY: postgres or sqlite"
    );
    for (engine, name) in [("postgres", "PostgreSQL"), ("sqlite", "SQLite (synchronous=FULL)")] {
        if only.as_deref().is_some_and(|only| only != engine) {
            continue;
        }
        println!("{name:<34} {few:>10} {many:>10}      ratio");
        let mut sides = Vec::new();
        for scheduled in [few, many] {
            sides.push(if engine == "postgres" {
                Side::on_postgres(&server, scheduled).await?
            } else {
                Side::on_sqlite(folder.path(), scheduled).await?
            });
        }
        for verb in Verb::ALL {
            let mut times = [Vec::new(), Vec::new()];
            // The first is not counted: it fills caches.
            for round in 0..=ROUNDS {
                for (side, times) in sides.iter_mut().zip(&mut times) {
                    let took = side.take(verb, round).await.with_context(|| verb.name())?;
                    if round > 0 {
                        times.push(took.as_secs_f64() * 1e3);
                    }
                }
            }
            let [few, many] = times.map(middle);
            println!("  {:<32} {few:>10.2} {many:>10.2} {:>10.2}", verb.name(), many / few);
        }
        println!();
        for side in sides {
            side.end().await?;
        }
    }
    Ok(())
}

fn middle(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

#[derive(Debug, Clone, Copy)]
enum Verb {
    Claim,
    FirstAccounts,
    LastAccounts,
    AccountsByName,
    OpenAccounts,
    LatestEvents,
    ComingEvents,
    Immediate,
    Schedule,
    Cancel,
    NextDue,
}

impl Verb {
    const ALL: [Self; 11] = [
        Self::Claim,
        Self::FirstAccounts,
        Self::LastAccounts,
        Self::AccountsByName,
        Self::OpenAccounts,
        Self::LatestEvents,
        Self::ComingEvents,
        Self::Immediate,
        Self::Schedule,
        Self::Cancel,
        Self::NextDue,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Claim => "claim 500 of 500 due",
            Self::FirstAccounts => "accounts, first page",
            Self::LastAccounts => "accounts, last page",
            Self::AccountsByName => "accounts by name, first page",
            Self::OpenAccounts => "accounts with an open event",
            Self::LatestEvents => "events, first page",
            Self::ComingEvents => "events to come, first page",
            Self::Immediate => "immediate disconnect, to commit",
            Self::Schedule => "schedule",
            Self::Cancel => "cancel",
            Self::NextDue => "when is the next one due",
        }
    }
}

impl Side {
    /// The time of the verb alone.
    async fn take(&mut self, verb: Verb, round: usize) -> Result<Duration> {
        let store = self.store.clone();
        let page = Page::default();
        match verb {
            Verb::Claim => {
                self.run(
                    "update disconnect_events set state = 'scheduled', next_at = now() - interval '1 second',
                            due_at = now() - interval '1 second', dispatches = 0
                      where id > $1 and id <= $1 + 500",
                    "update disconnect_events set state = 'scheduled', next_at = '2026-01-01T00:00:00.000000Z',
                            due_at = '2026-01-01T00:00:00.000000Z', dispatches = 0
                      where id > ?1 and id <= ?1 + 500",
                )
                .await?;
                let begun = Instant::now();
                let claimed = store.claim(u32::try_from(DUE)?, REDISPATCH).await?;
                let took = begun.elapsed();
                ensure!(claimed.len() == usize::try_from(DUE)?, "{} claimed", claimed.len());
                if round == ROUNDS {
                    self.run(
                        "update disconnect_events set state = 'scheduled', next_at = '2099-01-01', due_at = '2099-01-01'
                          where id > $1 and id <= $1 + 500",
                        "update disconnect_events set state = 'scheduled', next_at = '2099-01-01T00:00:00.000000Z',
                                due_at = '2099-01-01T00:00:00.000000Z'
                          where id > ?1 and id <= ?1 + 500",
                    )
                    .await?;
                }
                Ok(took)
            }
            Verb::FirstAccounts => timed(store.accounts(&AccountFilter::default(), &page)).await,
            Verb::LastAccounts => {
                let last = Page { after: Some(number(self.scheduled + DUE + FREE - 50)), ..page };
                timed(store.accounts(&AccountFilter::default(), &last)).await
            }
            Verb::AccountsByName => {
                let by_name = AccountFilter { order: AccountOrder::Name, ..AccountFilter::default() };
                timed(store.accounts(&by_name, &page)).await
            }
            Verb::OpenAccounts => {
                let open = AccountFilter { open_event: Some(true), ..AccountFilter::default() };
                timed(store.accounts(&open, &page)).await
            }
            Verb::LatestEvents => timed(store.events(&EventFilter::default(), &page)).await,
            Verb::ComingEvents => {
                let coming = EventFilter { coming: true, ..EventFilter::default() };
                timed(store.events(&coming, &page)).await
            }
            Verb::Immediate => {
                let request = self.ask("now")?;
                let begun = Instant::now();
                let Requested::Created(event) = store.request(&request).await? else { return Err(anyhow!("refused")) };
                let order: Order = store.claim_one(event, REDISPATCH).await?.context("it is due")?;
                store.disconnect(&[order], &plan_disconnect).await?;
                Ok(begun.elapsed())
            }
            Verb::Schedule => {
                let request = self.ask("2098-12-01")?;
                let begun = Instant::now();
                let Requested::Created(_) = store.request(&request).await? else { return Err(anyhow!("refused")) };
                Ok(begun.elapsed())
            }
            Verb::Cancel => {
                let request = self.ask("2098-12-01")?;
                let Requested::Created(event) = store.request(&request).await? else { return Err(anyhow!("refused")) };
                timed(store.change(event, &Change::CANCEL, &by(), None)).await
            }
            Verb::NextDue => timed(store.next_due()).await,
        }
    }
}

async fn timed<T>(verb: impl Future<Output = StoreResult<T>>) -> Result<Duration> {
    let begun = Instant::now();
    verb.await?;
    Ok(begun.elapsed())
}
