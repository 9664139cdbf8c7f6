//! What is in the queue and not ours: it goes to the dead-letter queue, and stops nothing.

use disconnectd::domain::message;
use lapin::BasicProperties;
use lapin::options::{BasicGetOptions, BasicPublishOptions};

use super::*;

async fn put(channel: &Channel, queue: &ShortString, body: &[u8]) {
    let sending = channel.basic_publish(
        "".into(),
        queue.clone(),
        BasicPublishOptions::default(),
        body,
        BasicProperties::default().with_delivery_mode(2),
    );
    sending.await.unwrap().await.unwrap();
}

/// Waits until the dead-letter queue holds `count` messages: dead-lettering takes a moment.
async fn until_dead(queue: &dyn Queue, count: u64) {
    let wait = async {
        while queue.depth().await.unwrap().dead != count {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, wait).await.expect("the dead-letter queue has another length");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_ours_goes_to_the_dead_letter_queue_and_what_is_behind_it_is_delivered() {
    let installation = installation();
    let queue = rabbit(&broker(), &installation).await;
    let (_connection, channel) = side_channel().await;
    channel.confirm_select(lapin::options::ConfirmSelectOptions::default()).await.unwrap();
    let single = queue_name("single", &installation);
    let sent = orders(6);
    let megabyte = vec![b'x'; 1024 * 1024];
    let foreign = message::write("another", sent[0]);
    let bad: [&[u8]; 5] = [b"not json", br#"{"v":2,"novelty":true}"#, &foreign, &megabyte, b""];
    for (bad, good) in bad.iter().zip(&sent) {
        put(&channel, &single, bad).await;
        publish(&queue, LaneKind::Single, &[*good]).await;
    }
    publish(&queue, LaneKind::Single, &sent[5..]).await;

    // In batches with bad ones between the good ones, each acked in one go.
    let mut consumer = queue.deliveries(LaneKind::Single).await.unwrap();
    let mut came = Vec::new();
    while came.len() < sent.len() {
        let batch = next(&mut *consumer, 4).await;
        came.extend(ids(&batch));
        batch.ack().await;
    }
    assert_eq!(came, sent);
    until_dead(&queue, 5).await;
    assert_eq!(queue.depth().await.unwrap().single, 0);

    let mut dead = Vec::new();
    while let Some(message) =
        channel.basic_get(queue_name("dead", &installation), BasicGetOptions { no_ack: true }).await.unwrap()
    {
        dead.push(message.delivery.data.clone());
    }
    assert_eq!(dead, bad.map(<[u8]>::to_vec));

    // Its consumer lives on: no channel was lost over it.
    let marker = orders(1);
    publish(&queue, LaneKind::Single, &marker).await;
    drain(&mut *consumer, &marker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_always_comes_back_ends_in_the_dead_letter_queue() {
    let installation = installation();
    let queue = rabbit(&broker(), &installation).await;
    let sent = orders(1);
    publish(&queue, LaneKind::Campaign, &sent).await;
    let mut consumer = queue.deliveries(LaneKind::Campaign).await.unwrap();
    for returns in 0..=20 {
        let batch = next(&mut *consumer, 1).await;
        assert_eq!(batch.deliveries[0].returns, returns);
        batch.give_back().await;
    }
    until_dead(&queue, 1).await;
    let marker = orders(1);
    publish(&queue, LaneKind::Campaign, &marker).await;
    drain(&mut *consumer, &marker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_installations_on_one_broker_never_meet() {
    let (one, other) = (installation(), installation());
    let (here, there) = (rabbit(&broker(), &one).await, rabbit(&broker(), &other).await);
    let (ours, theirs) = (orders(3), orders(3));
    publish(&here, LaneKind::Single, &ours).await;
    publish(&there, LaneKind::Single, &theirs).await;
    drain(&mut *here.deliveries(LaneKind::Single).await.unwrap(), &ours).await;
    drain(&mut *there.deliveries(LaneKind::Single).await.unwrap(), &theirs).await;
    assert_eq!(here.depth().await.unwrap().single + there.depth().await.unwrap().single, 0);
}
