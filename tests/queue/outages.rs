//! RabbitMQ goes away, refuses, forgets queues: nothing fails, and everything comes back by itself.

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tokio::net::TcpListener;
use tokio::time::Instant;
use url::Url;

use super::*;
use crate::support::proxy::{Proxy, Reserved};

/// host:port of the broker.
fn upstream() -> String {
    let url = Url::parse(&broker()).unwrap();
    format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5672))
}

/// The broker's URL, changed in places.
fn changed(change: impl FnOnce(&mut Url)) -> String {
    let mut url = Url::parse(&broker()).unwrap();
    change(&mut url);
    url.into()
}

fn through(proxy: std::net::SocketAddr) -> String {
    changed(|url| {
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(proxy.port())).unwrap();
    })
}

fn down(now: &Connectivity) -> bool {
    matches!(now, Connectivity::Down(_))
}

/// Waits until it is down, and answers why.
async fn reason(queue: &dyn Queue) -> String {
    match until(queue, down).await {
        Connectivity::Down(reason) => reason,
        other => panic!("{other:?}"),
    }
}

/// Publishes until all of it is confirmed: around an outage some of it is refused or unknown.
async fn publish_at_last(queue: &dyn Queue, lane: LaneKind, orders: &[Order]) {
    let publishing = async {
        while queue.publish(lane, orders).await.iter().any(|answer| *answer != Published::Confirmed) {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, publishing).await.expect("it is never confirmed");
}

/// Takes and acks until all of `wanted` came, however often.
async fn drain_at_least_once(consumer: &mut dyn Deliveries, wanted: &[Order]) {
    let mut missing: BTreeSet<Order> = wanted.iter().copied().collect();
    while !missing.is_empty() {
        let batch = next(consumer, 50).await;
        for order in ids(&batch) {
            missing.remove(&order);
        }
        batch.ack().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absent_broker_is_waited_for() {
    let (reserved, installation) = (Reserved::new(), installation());
    let queue = RabbitQueue::new(&through(reserved.at), &installation).unwrap();
    let why = reason(&queue).await;
    assert!(why.contains("cannot be reached") && why.contains(&reserved.at.to_string()), "{why}");
    assert!(!why.contains("guest@") && !why.contains(":guest"), "{why}");

    let begun = Instant::now();
    assert_eq!(queue.publish(LaneKind::Single, &orders(1000)).await, vec![Published::Refused; 1000]);
    assert!(begun.elapsed() < Duration::from_secs(2), "refusing at once took {:?}", begun.elapsed());
    assert!(queue.depth().await.unwrap_err().to_string().contains("cannot be reached"));
    let mut consumer = queue.deliveries(LaneKind::Single).await.unwrap();
    assert!(timeout(LINGER, consumer.next(1, LINGER)).await.is_err(), "it waits");

    let _proxy = reserved.start(upstream());
    until(&queue, |now| *now == Connectivity::Up).await;
    let sent = orders(10);
    publish_at_last(&queue, LaneKind::Single, &sent).await;
    drain_at_least_once(&mut *consumer, &sent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_connection_comes_back_and_nothing_is_lost() {
    let (proxy, installation) = (Proxy::start(upstream()), installation());
    let queue = rabbit(&through(proxy.at), &installation).await;
    let mut consumer = queue.deliveries(LaneKind::Campaign).await.unwrap();
    for _ in 0..3 {
        let sent = orders(100);
        publish_at_last(&queue, LaneKind::Campaign, &sent).await;
        let held = next(&mut *consumer, 20).await;
        proxy.cut();
        reason(&queue).await;
        held.ack().await; // on a dead channel: no error, the messages come again
        drain_at_least_once(&mut *consumer, &sent).await;
    }
}

/// A log that a test can read, of what this thread says.
#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// On one thread, so that its log is this test's alone.
#[tokio::test]
async fn an_outage_is_one_warning_and_a_close_is_none() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .finish();
    // With one subscriber alone in the process, a line that another test's thread comes by first is switched off for
    // all threads; with two, it is asked of both.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
    let _logging = tracing::subscriber::set_default(subscriber);

    let (proxy, installation) = (Proxy::start(upstream()), installation());
    let queue = rabbit(&through(proxy.at), &installation).await;
    let mut consumers = Vec::new();
    for _ in 0..3 {
        let mut consumer = queue.deliveries(LaneKind::Single).await.unwrap();
        consumers.push(tokio::spawn(async move { consumer.next(1, LINGER).await.is_err() }));
    }
    let reserved = proxy.stop().await;
    let refused = |now: &Connectivity| matches!(now, Connectivity::Down(why) if why.contains("cannot be reached"));
    until(&queue, refused).await; // the broken connections are over, and new ones fail
    let proxy = reserved.start(upstream());
    until(&queue, |now| *now == Connectivity::Up).await;
    timeout(DEADLINE, queue.close()).await.expect("close hangs");
    for consumer in consumers {
        assert!(timeout(DEADLINE, consumer).await.expect("a consumer hangs").unwrap());
    }
    drop(proxy);

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let of = |level: &str| log.lines().filter(|line| line.contains(level) && line.contains("rabbitmq")).count();
    assert_eq!(of(" WARN "), 1, "{log}");
    assert_eq!(of(" INFO "), 1, "it is back: {log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_in_the_middle_of_publishing_confirms_nothing_that_is_not_there() {
    let proxy = Proxy::start(upstream());
    let installation = installation();
    let queue = Arc::new(rabbit(&through(proxy.at), &installation).await);
    let sent = orders(20_000);
    let publishing = {
        let (queue, sent) = (Arc::clone(&queue), sent.clone());
        tokio::spawn(async move { queue.publish(LaneKind::Campaign, &sent).await })
    };
    let direct = rabbit(&broker(), &installation).await;
    let mut consumer = direct.deliveries(LaneKind::Campaign).await.unwrap();
    let mut came: BTreeSet<Order> = BTreeSet::new();
    let first = next(&mut *consumer, 50).await; // it is under way
    came.extend(ids(&first));
    first.ack().await;
    proxy.cut();
    let answers = timeout(DEADLINE, publishing).await.expect("publishing hangs").unwrap();
    let of = |wanted: Published| answers.iter().filter(|answer| **answer == wanted).count();
    assert_eq!(answers.len(), sent.len());
    assert!(of(Published::Refused) > 0, "the cut came too late to show anything");
    assert!(of(Published::Unknown) <= 200, "no more than what is under way is unknown");
    let confirmed: Vec<Order> =
        sent.iter().zip(&answers).filter(|(_, a)| **a == Published::Confirmed).map(|(order, _)| *order).collect();
    let missing: Vec<Order> = confirmed.into_iter().filter(|order| !came.contains(order)).collect();
    let refused: BTreeSet<Order> =
        sent.iter().zip(&answers).filter(|(_, a)| **a == Published::Refused).map(|(order, _)| *order).collect();
    let mut missing: BTreeSet<Order> = missing.into_iter().collect();
    while !missing.is_empty() {
        let batch = next(&mut *consumer, 100).await;
        for order in ids(&batch) {
            assert!(!refused.contains(&order), "{order:?} was refused and is there");
            missing.remove(&order);
        }
        batch.ack().await;
    }
}

/// All consumers of a process share a connection, and a queue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_that_come_and_go_take_nothing_from_the_others() {
    let installation = installation();
    let queue = Arc::new(rabbit(&broker(), &installation).await);
    let mut connectivity = queue.connectivity();
    connectivity.mark_unchanged();
    let coming_and_going = (0..8).map(|_| {
        let queue = Arc::clone(&queue);
        tokio::spawn(async move {
            for _ in 0..25 {
                publish(&*queue, LaneKind::Single, &orders(1)).await;
                let mut consumer = queue.deliveries(LaneKind::Single).await.unwrap();
                let batch = next(&mut *consumer, 1).await;
                drop(consumer);
                batch.ack().await;
            }
        })
    });
    for each in coming_and_going.collect::<Vec<_>>() {
        each.await.unwrap();
    }
    assert!(!connectivity.has_changed().unwrap(), "{:?}", *connectivity.borrow());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_deleted_under_its_consumer_is_made_again() {
    let installation = installation();
    let queue = rabbit(&broker(), &installation).await;
    let mut consumer = queue.deliveries(LaneKind::Single).await.unwrap();
    let before = orders(1);
    publish(&queue, LaneKind::Single, &before).await;
    drain(&mut *consumer, &before).await; // it consumes
    let (_connection, channel) = side_channel().await;
    channel.queue_delete(queue_name("single", &installation), QueueDeleteOptions::default()).await.unwrap();
    let after = orders(5);
    publish_at_last(&queue, LaneKind::Single, &after).await;
    drain_at_least_once(&mut *consumer, &after).await;
}

/// The broker then believes that the subscription goes on, and withholds what it thinks was delivered before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_deleted_and_made_again_at_once_starves_nobody() {
    let installation = installation();
    let queue = rabbit(&broker(), &installation).await;
    let mut consumer = queue.deliveries(LaneKind::Single).await.unwrap();
    let before = orders(50);
    publish(&queue, LaneKind::Single, &before).await;
    drain(&mut *consumer, &before).await;
    let (_connection, channel) = side_channel().await;
    channel.queue_delete(queue_name("single", &installation), QueueDeleteOptions::default()).await.unwrap();
    queue.depth().await.unwrap(); // declares
    let after = orders(5);
    publish_at_last(&queue, LaneKind::Single, &after).await;
    drain_at_least_once(&mut *consumer, &after).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_finds_no_queue_is_refused_and_the_queue_is_made_again() {
    let installation = installation();
    let queue = rabbit(&broker(), &installation).await;
    let (_connection, channel) = side_channel().await;
    channel.queue_delete(queue_name("campaign", &installation), QueueDeleteOptions::default()).await.unwrap();
    let sent = orders(500);
    assert_eq!(queue.publish(LaneKind::Campaign, &sent).await, vec![Published::Refused; 500]);
    publish(&queue, LaneKind::Campaign, &sent).await;
    drain(&mut *queue.deliveries(LaneKind::Campaign).await.unwrap(), &sent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_with_other_properties_is_named_with_what_to_do() {
    let installation = installation();
    let (_connection, channel) = side_channel().await;
    let single = queue_name("single", &installation);
    let classic = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(single.clone(), classic, FieldTable::default()).await.unwrap();
    let queue = RabbitQueue::new(&broker(), &installation).unwrap();
    let why = reason(&queue).await;
    assert!(why.contains(single.as_str()) && why.contains("Delete it"), "{why}");
    channel.queue_delete(single, QueueDeleteOptions::default()).await.unwrap();
    until(&queue, |now| *now == Connectivity::Up).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_told_in_words_without_the_password() {
    let wrong = changed(|url| url.set_password(Some("open sesame")).unwrap());
    let why = reason(&RabbitQueue::new(&wrong, "refused").unwrap()).await;
    assert!(why.contains("refuses user") && why.contains("Check the user"), "{why}");
    assert!(!why.contains("sesame"), "{why}");

    let nowhere = changed(|url| url.set_path("no-such-place"));
    let why = reason(&RabbitQueue::new(&nowhere, "refused").unwrap()).await;
    assert!(why.contains("virtual host \"no-such-place\""), "{why}");

    let encrypted = broker().replacen("amqp://", "amqps://", 1);
    let why = reason(&RabbitQueue::new(&encrypted, "refused").unwrap()).await;
    assert!(why.contains("TLS"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_accepts_and_says_nothing_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let queue = RabbitQueue::new(&through(silent.local_addr().unwrap()), "silent").unwrap();
    let (mut first, _) = silent.accept().await.unwrap();
    let why = reason(&queue).await;
    assert!(why.contains("did not answer in time"), "{why}");
    // The socket is shut, and with it the client's thread ends: attempts do not pile up.
    let mut read = Vec::new();
    let shut = timeout(DEADLINE, tokio::io::AsyncReadExt::read_to_end(&mut first, &mut read)).await;
    assert!(shut.is_ok(), "the connection is left open");
    timeout(DEADLINE, queue.close()).await.expect("close hangs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn close_ends_in_time_while_the_broker_is_away() {
    let (proxy, installation) = (Proxy::start(upstream()), installation());
    let queue = rabbit(&through(proxy.at), &installation).await;
    let mut consumer = queue.deliveries(LaneKind::Single).await.unwrap();
    proxy.stop().await;
    reason(&queue).await;
    timeout(DEADLINE, queue.close()).await.expect("close hangs");
    assert!(consumer.next(1, LINGER).await.is_err());
}
