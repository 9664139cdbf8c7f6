//! Whatever breaks, nothing is lost, doubled or stuck, and every answer holds. The program as it runs at scale, each role a
//! process of its own, on a PostgreSQL and a RabbitMQ of the rig's own; people who ask for disconnects, campaigns and
//! changes of plan; and a [`nemesis`] that breaks one thing after another. In the end all is mended and drained, and
//! what was answered is held against what is there.
//!
//! `tests/faults` runs it for longer.

mod cluster;
mod load;
mod nemesis;
mod servers;
mod verdict;

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use disconnectd::domain::event::{Attempt, EventId, Order};
use disconnectd::queue::rabbitmq::RabbitQueue;
use disconnectd::queue::{LaneKind, Queue};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use self::cluster::{Cluster, Role};
use self::load::{Actor, CampaignLife, Counts, Life};
use self::nemesis::Nemesis;
use self::servers::{Postgres, Rabbit};
use self::verdict::Verdict;
use crate::program::Program;
use crate::support::database::TestDatabase;
use crate::support::proxy::Proxy;
use crate::support::rows::{account, debit};

/// What is lost, comes back soon; and what is tried again, is tried soon.
const CONFIG: &str = "\
[database]
max_connections = 6
[scheduler]
redispatch_seconds = 1
redispatch_max_seconds = 4
sweep = \"*/2 * * * * *\"
[worker]
retry_seconds = 1
retry_max_seconds = 2
[shutdown]
grace_seconds = 20
";

/// Until everything is done, once all is mended.
const DRAIN_MAX: Duration = Duration::from_secs(120);

const ACTORS: usize = 5;

const CAMPAIGN_ACCOUNTS: usize = 20;

/// A line for each thing that happened, in the order of their ends.
pub struct Log {
    file: Mutex<std::fs::File>,
    begun: Instant,
}

impl Log {
    fn new(path: &Path) -> Self {
        Self { file: Mutex::new(std::fs::File::create(path).unwrap()), begun: Instant::now() }
    }

    pub fn write(&self, line: &Value) {
        let at_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(0);
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(file, "{}", json!({ "at_ms": at_ms, "what": line }));
    }
}

/// Of `id:attempt:lane`, where it is of that lane.
fn order_in(text: &str, lane: LaneKind) -> Option<Order> {
    let mut parts = text.split(':');
    let (id, attempt) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let is_single = parts.next()? == "0";
    (is_single == (lane == LaneKind::Single)).then_some(Order {
        event_id: EventId(id),
        attempt: Attempt(attempt),
        trace: None,
    })
}

/// What is asked of a run.
struct Run {
    seconds: u64,
    every: Duration,
    seed: u64,
    /// How many faults the pieces before have drawn.
    drawn: u64,
    /// Where the log and the figures go; nothing of a short run stays.
    keep: Option<PathBuf>,
}

impl Run {
    /// Forty seconds, unless the environment says otherwise.
    fn asked() -> Self {
        let number = |name: &str| std::env::var(format!("DISCONNECTD_FAULTS_{name}")).ok()?.parse::<u64>().ok();
        Self {
            seconds: number("SECONDS").unwrap_or(40),
            every: Duration::from_millis(number("EVERY_MS").unwrap_or(2_500)),
            seed: number("SEED").unwrap_or(20_261_124),
            drawn: number("DRAWN").unwrap_or(0),
            keep: std::env::var_os("DISCONNECTD_FAULTS_KEEP").map(PathBuf::from),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_breaks_nothing_is_lost_doubled_or_stuck() {
    let run = Run::asked();
    // The servers' users pass through the folders above it.
    let base = std::env::var_os("DISCONNECTD_TEST_FOLDER").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::Builder::new().prefix("faults-").permissions(Permissions::from_mode(0o755)).tempdir_in(base);
    let temporary = folder.unwrap();
    let folder = temporary.path().to_owned();
    let (postgres, rabbit) = block_in_place(|| {
        std::thread::scope(|scope| {
            let postgres = scope.spawn(|| Postgres::start(&folder));
            let rabbit = Rabbit::start(&folder);
            (postgres.join().unwrap(), rabbit)
        })
    });
    let server = postgres.url();
    let (postgres, rabbit) = (Mutex::new(postgres), Mutex::new(rabbit));
    let mut figures = Value::Null;
    TestDatabase::run_on_server(server, async |db: &TestDatabase| {
        figures = rig(&run, &folder, db, &postgres, &rabbit).await;
    })
    .await;
    drop((postgres, rabbit));
    println!("{figures:#}");
    if let Some(keep) = &run.keep {
        std::fs::write(keep.join("figures.json"), format!("{figures:#}\n")).unwrap();
    }
    temporary.close().unwrap();
}

/// Answers the figures, where nothing is wrong with them.
async fn rig(run: &Run, folder: &Path, db: &TestDatabase, postgres: &Mutex<Postgres>, rabbit: &Mutex<Rabbit>) -> Value {
    db.store.migrate().await.unwrap();
    db.probe_token().await;
    let numbers = filled(db, run.seconds).await;
    let installation = db.store.installation().await.unwrap().id;

    let (postgres_port, rabbit_port) = (postgres.lock().unwrap().port, rabbit.lock().unwrap().port);
    let to_postgres = Proxy::start(format!("127.0.0.1:{postgres_port}"));
    let to_rabbit = Proxy::start(format!("127.0.0.1:{rabbit_port}"));
    let database = db.url().replace(&format!(":{postgres_port}/"), &format!(":{}/", to_postgres.at.port()));
    let broker = Rabbit::url(rabbit_port);
    let queue: Arc<dyn Queue> = Arc::new(RabbitQueue::new(&broker, &installation).unwrap());
    let through = Rabbit::url(to_rabbit.at.port());
    let keep = run.keep.as_deref().unwrap_or(folder);
    let program = Program::new(folder, database, through).configured(CONFIG);
    let cluster = Cluster::new(program, keep);
    let log = Log::new(&keep.join("log.jsonl"));
    let apis: Vec<_> =
        cluster.members.iter().filter(|member| member.role == Role::Api).map(|member| member.address).collect();
    let nemesis = Nemesis {
        cluster: &cluster,
        db,
        postgres,
        rabbit,
        to_postgres: &to_postgres,
        to_rabbit: &to_rabbit,
        queue: queue.clone(),
        broker,
        installation,
        log: &log,
        runtime: Handle::current(),
    };

    let until = Instant::now() + Duration::from_secs(run.seconds);
    let (mut lives, mut campaigns, mut counts) = (Vec::new(), Vec::new(), Counts::default());
    let faults: BTreeMap<String, u64> = block_in_place(|| {
        std::thread::scope(|scope| {
            // Whatever panics in here, the others come to their end.
            let _stopping = cluster.stopping_in_the_end();
            scope.spawn(|| cluster.supervise());
            let actors: Vec<_> = (0..ACTORS)
                .map(|n| {
                    let mine: Vec<_> = numbers.singles.iter().skip(n).step_by(ACTORS).collect();
                    let actor = Actor::new(format!("actor-{n}"), apis.clone(), run.seed + run.drawn + n as u64, &log);
                    scope.spawn(move || singles(actor, &mine, until))
                })
                .collect();
            let organizer = Actor::new("organizer".into(), apis.clone(), run.seed + run.drawn + 100, &log);
            let organizing = scope.spawn(|| organizes(organizer, &numbers.campaigns, until));
            let measuring = scope.spawn(|| {
                while Instant::now() < until {
                    std::thread::sleep(Duration::from_secs(5));
                    cluster.measure();
                }
            });
            let faults = nemesis.rage(run.seed, run.drawn, run.every, until);
            for actor in actors {
                let (of_actor, counted) = actor.join().unwrap();
                lives.extend(of_actor);
                counts.add(counted);
            }
            let (ran, counted) = organizing.join().unwrap();
            campaigns.extend(ran);
            counts.add(counted);
            measuring.join().unwrap();

            // All is mended: whatever is open has to come to its end.
            let drained = Handle::current().block_on(drained(db, &*queue));
            cluster.measure();
            let unwell = cluster.stop();
            assert!(drained.is_ok(), "{drained:?}");
            assert_eq!(unwell, Vec::<String>::new(), "they stop well in the end");
            faults
        })
    });
    queue.close().await;

    let verdict = Verdict::of(db, &lives, &campaigns).await;
    let figures = json!({
        "seed": run.seed, "seconds": run.seconds,
        "operations": { "answered": counts.done, "refused": counts.refused, "unknown": counts.unknown,
                        "asked_again": counts.repeats },
        "accounts": lives.len(), "campaigns": campaigns.len(), "faults": faults,
        "disconnected": db.number("select count(*) from accounts where disconnected_at is not null").await,
        "verdict": verdict.counts(),
        "processes": cluster.measured().into_iter().map(|(name, starts, memory)| json!({
            "name": name, "starts": starts, "memory_kib_first": memory.first(), "memory_kib_last": memory.last(),
        })).collect::<Vec<_>>(),
    });
    log.write(&figures);
    assert!(verdict.is_good(), "{verdict:#?}\n{figures:#}");
    figures
}

struct Numbers {
    singles: Vec<String>,
    campaigns: Vec<String>,
}

/// Accounts for as long as the run takes, each with an address and a debit.
async fn filled(db: &TestDatabase, seconds: u64) -> Numbers {
    let named = |kind: &str, count: u64| (0..count).map(|n| format!("{kind}-{n}")).collect::<Vec<_>>();
    let numbers = Numbers { singles: named("S", 10 * seconds), campaigns: named("C", 12 * seconds) };
    let all = || numbers.singles.iter().chain(&numbers.campaigns);
    db.accounts(all().map(|number| account(number).address(&format!("{number} Elm Street")))).await;
    db.debits(all().map(|number| debit(number, &format!("november-{number}"), "12.34").tax("1.02"))).await;
    numbers
}

fn singles(mut actor: Actor<'_>, accounts: &[&String], until: Instant) -> (Vec<Life>, Counts) {
    let turns = accounts.iter().take_while(|_| Instant::now() < until);
    let lives = turns.map(|account| actor.lives(account)).collect();
    (lives, actor.counts)
}

fn organizes(mut actor: Actor<'_>, accounts: &[String], until: Instant) -> (Vec<CampaignLife>, Counts) {
    let mut lives = Vec::new();
    for cohort in accounts.chunks(CAMPAIGN_ACCOUNTS) {
        if Instant::now() >= until {
            break;
        }
        lives.extend(actor.runs(cohort, until));
    }
    for life in &mut lives {
        actor.lets_it_end(life);
    }
    (lives, actor.counts)
}

/// Nothing is open, and nothing waits in a queue.
async fn drained(db: &TestDatabase, queue: &dyn Queue) -> Result<(), String> {
    let open = "select count(*) from disconnect_events where state in ('scheduled', 'queued')";
    let running = "select count(*) from campaigns where state in ('running', 'paused')";
    let is_empty = async || {
        let depth = queue.depth().await.ok();
        let waiting = depth.map(|depth| (depth.single, depth.campaign, depth.dead));
        (db.number(open).await, db.number(running).await, waiting) == (0, 0, Some((0, 0, 0)))
    };
    let begun = Instant::now();
    while !is_empty().await {
        if begun.elapsed() > DRAIN_MAX {
            let (open, running) = (db.number(open).await, db.number(running).await);
            return Err(format!("{open} events are open, {running} campaigns run, {:?} waits", queue.depth().await));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}
