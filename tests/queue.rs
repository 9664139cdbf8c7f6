//! The queue contract: every rule is tried on both engines by the same code. What only RabbitMQ can do wrong follows.

mod bad_messages;
mod contract;
mod outages;

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use disconnectd::domain::event::{Attempt, EventId, Order};
use disconnectd::domain::trace::TraceParent;
use disconnectd::queue::memory::MemoryQueue;
use disconnectd::queue::rabbitmq::RabbitQueue;
use disconnectd::queue::{Batch, Connectivity, Deliveries, LaneKind, Published, Queue};
use lapin::options::QueueDeleteOptions;
use lapin::types::ShortString;
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::time::timeout;

/// For anything that must happen. It never decides what does not happen.
const DEADLINE: Duration = Duration::from_secs(30);
const LINGER: Duration = Duration::from_millis(20);

/// One engine with a queue of its own that nobody else knows.
enum Engine {
    Memory(MemoryQueue),
    RabbitMq { installation: Installation },
}

impl Engine {
    fn memory() -> Self {
        Self::Memory(MemoryQueue::new())
    }

    fn rabbitmq() -> Self {
        Self::RabbitMq { installation: installation() }
    }

    /// Another handle on the same queue, as another process would have it where the engine knows processes.
    async fn open(&self) -> Arc<dyn Queue> {
        match self {
            Self::Memory(queue) => Arc::new(queue.clone()),
            Self::RabbitMq { installation } => Arc::new(rabbit(&broker(), installation).await),
        }
    }
}

/// Where the broker of this test run is.
fn broker() -> String {
    std::env::var("DISCONNECTD_TEST_AMQP_URL").expect("no broker: run tests/run")
}

/// An id that no other test has. Dropped, it takes its queues along: a broker reserves file handles for each quorum
/// queue, and one that keeps those of many tests accepts no more connections. Bind it before what uses it.
struct Installation(String);

fn installation() -> Installation {
    Installation(format!("test-{:016x}", rand::random::<u64>()))
}

impl Deref for Installation {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        let names = ["single", "campaign", "dead"].map(|kind| queue_name(kind, self));
        let sweeping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (_connection, channel) = side_channel().await;
                for name in names {
                    let deleting = channel.queue_delete(name, QueueDeleteOptions::default());
                    timeout(DEADLINE, deleting).await.unwrap().unwrap();
                }
            });
        });
        assert!(sweeping.join().is_ok() || std::thread::panicking(), "the test's queues are still there");
    }
}

/// A plain client beside the queue, to do what disconnectd never would.
async fn side_channel() -> (Connection, Channel) {
    let connection = Connection::connect(&broker(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

fn queue_name(kind: &str, installation: &str) -> ShortString {
    format!("disconnectd.{kind}.{installation}").into()
}

async fn rabbit(url: &str, installation: &str) -> RabbitQueue {
    let queue = RabbitQueue::new(url, installation).unwrap();
    until(&queue, |now| *now == Connectivity::Up).await;
    queue
}

/// Waits until the queue says so, and answers what it said.
async fn until(queue: &dyn Queue, wanted: impl Fn(&Connectivity) -> bool) -> Connectivity {
    let mut connectivity = queue.connectivity();
    let said = timeout(DEADLINE, connectivity.wait_for(|now| wanted(now))).await;
    let now = said.map(|said| said.unwrap().clone());
    now.unwrap_or_else(|_| panic!("it still says {:?}", *queue.connectivity().borrow()))
}

const TRACE: TraceParent = TraceParent { trace_id: u128::MAX - 1, span_id: 1, sampled: true };

/// Orders that no other test has.
fn orders(count: usize) -> Vec<Order> {
    static NEXT: AtomicI64 = AtomicI64::new(1);
    (0..count)
        .map(|_| Order { event_id: EventId(NEXT.fetch_add(1, Ordering::Relaxed)), attempt: Attempt(1), trace: None })
        .collect()
}

async fn publish(queue: &dyn Queue, lane: LaneKind, orders: &[Order]) {
    let answers = timeout(DEADLINE, queue.publish(lane, orders)).await.expect("publishing hangs");
    assert_eq!(answers, vec![Published::Confirmed; orders.len()]);
}

async fn next(consumer: &mut dyn Deliveries, max: usize) -> Batch {
    timeout(DEADLINE, consumer.next(max, LINGER)).await.expect("no delivery came").unwrap()
}

fn ids(batch: &Batch) -> Vec<Order> {
    batch.deliveries.iter().map(|delivery| delivery.order).collect()
}

/// Takes and acks until every one of `wanted` came; what comes beside them fails the test.
async fn drain(consumer: &mut dyn Deliveries, wanted: &[Order]) {
    let mut missing: BTreeSet<Order> = wanted.iter().copied().collect();
    while !missing.is_empty() {
        let batch = next(consumer, 50).await;
        for order in ids(&batch) {
            assert!(missing.remove(&order), "{order:?} was not expected");
        }
        batch.ack().await;
    }
}
