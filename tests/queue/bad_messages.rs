//! What is in the queue and not ours: it goes to the dead-letter queue, and stops nothing.

use disconnectd::domain::message;
use disconnectd::queue::dead::{Settlement, Which};
use lapin::BasicProperties;
use lapin::options::{BasicGetOptions, BasicPublishOptions};
use lapin::types::{AMQPValue, FieldTable};

use super::*;

async fn put(channel: &Channel, queue: &ShortString, body: &[u8]) {
    put_with(channel, queue, body, FieldTable::default()).await;
}

async fn put_with(channel: &Channel, queue: &ShortString, body: &[u8], headers: FieldTable) {
    let sending = channel.basic_publish(
        "".into(),
        queue.clone(),
        BasicPublishOptions::default(),
        body,
        BasicProperties::default().with_delivery_mode(2).with_headers(headers),
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

/// It is beside the message: whatever somebody writes there, the order is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_that_is_no_trace_is_none_and_one_that_is_goes_along() {
    let installation = installation();
    let queue = rabbit(&broker(), &installation).await;
    let (_connection, channel) = side_channel().await;
    channel.confirm_select(lapin::options::ConfirmSelectOptions::default()).await.unwrap();
    let single = queue_name("single", &installation);
    let text = |text: &[u8]| AMQPValue::LongString(text.into());
    let headers = [
        (AMQPValue::LongLongInt(7), None),
        (AMQPValue::Void, None),
        (AMQPValue::FieldTable(FieldTable::default()), None),
        (text(b""), None),
        (text(b"\xff\xfe"), None),
        (text("0".repeat(100_000).as_bytes()), None),
        (text(format!("{TRACE}-more").as_bytes()), None),
        (text(TRACE.to_string().as_bytes()), Some(TRACE)),
    ];
    let mut sent = orders(headers.len());
    for (order, (header, trace)) in sent.iter_mut().zip(headers) {
        order.trace = trace;
        let mut table = FieldTable::default();
        table.insert("traceparent".into(), header);
        put_with(&channel, &single, &message::write(&installation, *order), table).await;
    }
    drain(&mut *queue.deliveries(LaneKind::Single).await.unwrap(), &sent).await;
    assert_eq!(queue.depth().await.unwrap().dead, 0);
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
async fn dead_letters_are_looked_at_dropped_and_put_back() {
    let installation = installation();
    let queue = rabbit(&broker(), &installation).await;
    let (_connection, channel) = side_channel().await;
    channel.confirm_select(lapin::options::ConfirmSelectOptions::default()).await.unwrap();
    assert_eq!(queue.dead_letters(10).await.unwrap(), []);
    let mut consumer = queue.deliveries(LaneKind::Campaign).await.unwrap();
    let sent = orders(2);
    put(&channel, &queue_name("campaign", &installation), b"not json").await;
    publish(&queue, LaneKind::Campaign, &sent[..1]).await;
    drain(&mut *consumer, &sent[..1]).await;
    until_dead(&queue, 1).await;
    // As if it had come back too often.
    let mut headers = FieldTable::default();
    headers.insert("traceparent".into(), AMQPValue::LongString(TRACE.to_string().into()));
    put_with(&channel, &queue_name("dead", &installation), &message::write(&installation, sent[1]), headers).await;
    until_dead(&queue, 2).await;

    for _ in 0..2 {
        let letters = queue.dead_letters(10).await.unwrap();
        assert_eq!(letters.len(), 2, "looking takes nothing: {letters:?}");
        let junk = letters.iter().find(|letter| letter.body == "not json").unwrap();
        assert_eq!((junk.lane, junk.reason.as_deref()), (Some(LaneKind::Campaign), Some("rejected")));
        assert!(junk.died_at.is_some() && junk.order().is_none());
        assert!(letters.iter().any(|letter| letter.order() == Some(sent[1])));
        // What was looked at goes back when the channel is closed, which nobody waits for.
        until_dead(&queue, 2).await;
    }
    assert_eq!(queue.dead_letters(1).await.unwrap().len(), 1);
    until_dead(&queue, 2).await;

    let settled = queue.settle_dead(&Which::All, Settlement::Requeue).await.unwrap();
    assert_eq!((settled.done.len(), settled.left.len()), (1, 1), "what is no order stays: {settled:?}");
    let back = Order { trace: Some(TRACE), ..sent[1] };
    drain(&mut *queue.deliveries(LaneKind::Single).await.unwrap(), &[back]).await;
    until_dead(&queue, 1).await;

    let none = queue.settle_dead(&Which::Ids(vec!["0000000000000000".into()]), Settlement::Drop).await.unwrap();
    assert_eq!(none.done.len() + none.left.len(), 0, "{none:?}");
    until_dead(&queue, 1).await;
    let dropped = queue.settle_dead(&Which::Ids(settled.left.clone()), Settlement::Drop).await.unwrap();
    assert_eq!(dropped.done, settled.left);
    until_dead(&queue, 0).await;
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
