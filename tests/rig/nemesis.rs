//! Breaks one thing after another, and mends it again. What it draws is the seed's, so that a run can be repeated.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use disconnectd::fault::Step;
use disconnectd::queue::{LaneKind, Queue};
use lapin::options::{QueueDeleteOptions, QueuePurgeOptions};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use tokio::runtime::Handle;

use super::Log;
use super::cluster::{Cluster, Role};
use super::servers::{CONSUMER_TIMEOUT, Postgres, Rabbit};
use crate::support::database::TestDatabase;
use crate::support::proxy::Proxy;

/// What it can do. Each is of one kind; figures are told by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Kill(usize),
    Freeze(usize),
    Abort(usize),
    /// A worker holds its messages for longer than the broker waits.
    ConsumerTimeout(usize),
    ClockMoved(usize),
    PostgresStopped,
    BackendsTerminated,
    CommitUnanswered,
    PostgresSlow,
    PostgresSilent,
    PostgresCut,
    RabbitKilled,
    RabbitSlow,
    RabbitSilent,
    RabbitCut,
    ConnectionsClosed,
    MemoryAlarm,
    QueuePurged,
    QueueDeleted,
    Tripled,
}

impl Fault {
    /// All of them, members by their place.
    fn all(cluster: &Cluster) -> Vec<Self> {
        let of_members = (0..cluster.members.len())
            .flat_map(|n| [Self::Kill(n), Self::Freeze(n), Self::Abort(n), Self::ClockMoved(n)]);
        let workers = (0..cluster.members.len()).filter(|n| cluster.members[*n].role == Role::Worker);
        let others = [
            Self::PostgresStopped,
            Self::BackendsTerminated,
            Self::CommitUnanswered,
            Self::PostgresSlow,
            Self::PostgresSilent,
            Self::PostgresCut,
            Self::RabbitKilled,
            Self::RabbitSlow,
            Self::RabbitSilent,
            Self::RabbitCut,
            Self::ConnectionsClosed,
            Self::MemoryAlarm,
            Self::QueuePurged,
            Self::QueueDeleted,
            Self::Tripled,
        ];
        of_members.chain(workers.map(Self::ConsumerTimeout)).chain(others).collect()
    }

    fn kind(self, cluster: &Cluster) -> String {
        match self {
            Self::Kill(n) => format!("kill {}", cluster.members[n].role.as_str()),
            Self::Freeze(n) => format!("freeze {}", cluster.members[n].role.as_str()),
            Self::Abort(n) => format!("abort {}", cluster.members[n].role.as_str()),
            Self::ConsumerTimeout(_) => "consumer timeout".into(),
            Self::ClockMoved(n) => format!("wrong clock {}", cluster.members[n].role.as_str()),
            other => format!("{other:?}"),
        }
    }
}

pub struct Nemesis<'a> {
    pub cluster: &'a Cluster,
    pub db: &'a TestDatabase,
    pub postgres: &'a Mutex<Postgres>,
    pub rabbit: &'a Mutex<Rabbit>,
    pub to_postgres: &'a Proxy,
    pub to_rabbit: &'a Proxy,
    /// Straight to the broker, for what is put into the queues by hand.
    pub queue: Arc<dyn Queue>,
    pub broker: String,
    pub installation: String,
    pub log: &'a Log,
    pub runtime: Handle,
}

impl Nemesis<'_> {
    /// One fault after another, until the deadline; each once, in the order of chance that `seed` stands for, before any
    /// comes again. A run in pieces goes on behind those that were `drawn` before. Answers how many there were of each
    /// kind. All is mended in the end.
    pub fn rage(&self, seed: u64, drawn: u64, every: Duration, until: Instant) -> BTreeMap<String, u64> {
        let mut order = StdRng::seed_from_u64(seed);
        let mut random = StdRng::seed_from_u64(seed + drawn);
        let mut done = BTreeMap::new();
        let mut left: Vec<Fault> = Vec::new();
        let mut draw = || {
            if left.is_empty() {
                left = Fault::all(self.cluster);
            }
            left.swap_remove(order.random_range(0..left.len()))
        };
        for _ in 0..drawn {
            draw();
        }
        let mut next = Instant::now() + every;
        while next < until {
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            let fault = draw();
            let held = Duration::from_millis(random.random_range(300..4_000));
            let kind = fault.kind(self.cluster);
            let begun = Instant::now();
            let what = self.strike(fault, held, &mut random);
            self.log.write(&json!({
                "fault": kind, "detail": what, "took_ms": u64::try_from(begun.elapsed().as_millis()).unwrap_or(0),
            }));
            *done.entry(kind).or_insert(0) += 1;
            next = (next + every).max(Instant::now());
        }
        done
    }

    /// Breaks it, holds it for as long where it can be held, and mends it.
    fn strike(&self, fault: Fault, held: Duration, random: &mut StdRng) -> String {
        let member = |n: usize| &self.cluster.members[n];
        match fault {
            Fault::Kill(n) => {
                member(n).signal("KILL");
                member(n).name().to_owned()
            }
            Fault::Freeze(n) => {
                member(n).signal("STOP");
                std::thread::sleep(held);
                member(n).signal("CONT");
                format!("{} for {held:?}", member(n).name())
            }
            Fault::Abort(n) => {
                let steps: &[Step] = match member(n).role {
                    Role::Scheduler => &[Step::Claim, Step::Publish, Step::Confirm],
                    Role::Worker => &[Step::Delivery, Step::Lock, Step::Effect, Step::Commit, Step::Ack],
                    Role::Api => &[],
                };
                let nth = random.random_range(1..5);
                let Some(step) = steps.choose(random) else {
                    member(n).signal("ABRT");
                    return member(n).name().to_owned();
                };
                member(n).abort_behind(*step, nth);
                format!("{} behind {} {nth}", member(n).name(), step.as_str())
            }
            Fault::ConsumerTimeout(n) => {
                member(n).signal("STOP");
                std::thread::sleep(CONSUMER_TIMEOUT + held);
                member(n).signal("CONT");
                format!("{} for {held:?} more than the broker waits", member(n).name())
            }
            Fault::ClockMoved(n) => {
                let ahead = *[-3_600, 0, 3_600].choose(random).expect("there are three");
                member(n).move_clock(ahead);
                format!("{} by {ahead} s", member(n).name())
            }
            Fault::PostgresStopped => {
                let mut postgres = self.postgres.lock().unwrap();
                postgres.stop_immediately();
                std::thread::sleep(held);
                postgres.start_again();
                format!("for {held:?}")
            }
            Fault::BackendsTerminated => {
                let terminate = "select pg_terminate_backend(pid) from pg_stat_activity \
                                 where datname = current_database() and pid <> pg_backend_pid()";
                self.runtime.block_on(self.db.try_sql(terminate)).err().unwrap_or_default()
            }
            Fault::CommitUnanswered => {
                self.to_postgres.end_behind_next_commit();
                String::new()
            }
            Fault::PostgresSlow => slow(self.to_postgres, held),
            Fault::PostgresSilent => silent(self.to_postgres, held),
            Fault::PostgresCut => {
                self.to_postgres.cut();
                String::new()
            }
            Fault::RabbitKilled => {
                let mut rabbit = self.rabbit.lock().unwrap();
                rabbit.kill();
                std::thread::sleep(held);
                rabbit.start_again();
                format!("for {held:?}")
            }
            Fault::RabbitSlow => slow(self.to_rabbit, held),
            Fault::RabbitSilent => silent(self.to_rabbit, held),
            Fault::RabbitCut => {
                self.to_rabbit.cut();
                String::new()
            }
            Fault::ConnectionsClosed => {
                self.rabbit.lock().unwrap().control(&["close_all_connections", "by the nemesis"]);
                String::new()
            }
            Fault::MemoryAlarm => {
                let rabbit = self.rabbit.lock().unwrap();
                rabbit.control(&["set_vm_memory_high_watermark", "0.00001"]);
                std::thread::sleep(held);
                rabbit.control(&["set_vm_memory_high_watermark", "0.4"]);
                format!("for {held:?}")
            }
            Fault::QueuePurged => self.at_the_broker(true),
            Fault::QueueDeleted => self.at_the_broker(false),
            Fault::Tripled => self.runtime.block_on(self.triple()),
        }
    }

    /// Empties both queues, or deletes them.
    fn at_the_broker(&self, purged: bool) -> String {
        let done = async {
            let connection = lapin::Connection::connect(&self.broker, lapin::ConnectionProperties::default()).await?;
            let channel = connection.create_channel().await?;
            for lane in LaneKind::ALL {
                let queue = format!("disconnectd.{}.{}", lane.as_str(), self.installation);
                if purged {
                    channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await?;
                } else {
                    channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
                }
            }
            connection.close(200, "done".into()).await
        };
        match self.runtime.block_on(done) {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    /// Every message that may be under way, and those of some that are done, twice more.
    async fn triple(&self) -> String {
        let orders = "select id || ':' || attempt || ':' || lane from disconnect_events \
                      where attempt > 0 order by (state = 'queued') desc, id desc limit 500";
        let orders = self.db.try_texts(orders).await.unwrap_or_default();
        for lane in LaneKind::ALL {
            let of_lane: Vec<_> = orders.iter().filter_map(|text| super::order_in(text, lane)).collect();
            for _ in 0..2 {
                self.queue.publish(lane, &of_lane).await;
            }
        }
        format!("{} messages", 2 * orders.len())
    }
}

fn slow(line: &Proxy, held: Duration) -> String {
    line.delay(Duration::from_millis(60));
    std::thread::sleep(held);
    line.delay(Duration::ZERO);
    format!("60 ms more each way for {held:?}")
}

/// A line that swallows all and closes nothing.
fn silent(line: &Proxy, held: Duration) -> String {
    line.fall_silent();
    std::thread::sleep(held);
    line.speak();
    format!("for {held:?}")
}
