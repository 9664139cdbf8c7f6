//! What every engine must hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::time::Instant;

use super::*;

macro_rules! on_both_engines {
    ($($rule:ident)*) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $rule() { super::$rule(super::Engine::memory()).await; })*
        }
        mod rabbitmq {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $rule() { super::$rule(super::Engine::rabbitmq()).await; })*
        }
    };
}

on_both_engines! {
    what_is_confirmed_is_delivered_once_and_unchanged
    the_lanes_do_not_mix
    a_batch_has_max_at_most_and_a_full_one_does_not_linger
    a_batch_that_is_not_full_waits_for_more_while_it_lingers
    one_that_comes_alone_is_not_held_up_for_long
    consumers_share_without_overlap
    what_is_acked_never_comes_again
    batches_may_be_settled_in_any_order
    what_is_given_back_comes_again_and_counts_its_returns
    what_is_dropped_unsettled_comes_again_and_counts_its_returns
    a_consumer_that_goes_away_leaves_nothing_behind
    a_cancelled_next_loses_nothing
    many_cancelled_nexts_lose_nothing
    the_answers_are_in_the_order_asked
    publishing_nothing_answers_nothing
    publishes_may_run_side_by_side
    the_depth_counts_what_waits
    close_ends_the_consumers_and_refuses_the_rest
}

async fn what_is_confirmed_is_delivered_once_and_unchanged(engine: Engine) {
    let queue = engine.open().await;
    let mut sent = orders(250);
    sent[0].attempt = Attempt(i32::MAX);
    sent[1].trace = Some(TRACE);
    publish(&*queue, LaneKind::Campaign, &sent).await;
    let mut consumer = queue.deliveries(LaneKind::Campaign).await.unwrap();
    let mut came = Vec::new();
    while came.len() < sent.len() {
        let batch = next(&mut *consumer, 100).await;
        assert!(batch.deliveries.iter().all(|delivery| delivery.returns == 0));
        came.extend(ids(&batch));
        batch.ack().await;
    }
    assert_eq!(came, sent);
}

async fn the_lanes_do_not_mix(engine: Engine) {
    let queue = engine.open().await;
    let (single, campaign) = (orders(3), orders(3));
    publish(&*queue, LaneKind::Campaign, &campaign).await;
    publish(&*queue, LaneKind::Single, &single).await;
    drain(&mut *queue.deliveries(LaneKind::Single).await.unwrap(), &single).await;
    drain(&mut *queue.deliveries(LaneKind::Campaign).await.unwrap(), &campaign).await;
}

async fn a_batch_has_max_at_most_and_a_full_one_does_not_linger(engine: Engine) {
    let queue = engine.open().await;
    let sent = orders(25);
    publish(&*queue, LaneKind::Single, &sent).await;
    let mut consumer = queue.deliveries(LaneKind::Single).await.unwrap();
    let (mut came, begun) = (Vec::new(), Instant::now());
    for _ in 0..2 {
        let batch = timeout(DEADLINE, consumer.next(10, 2 * DEADLINE)).await.expect("a full batch lingers").unwrap();
        assert_eq!(batch.deliveries.len(), 10);
        came.extend(ids(&batch));
        batch.ack().await;
    }
    assert!(begun.elapsed() < DEADLINE);
    let rest = next(&mut *consumer, 10).await;
    came.extend(ids(&rest));
    rest.ack().await;
    assert_eq!(came, sent);
}

async fn a_batch_that_is_not_full_waits_for_more_while_it_lingers(engine: Engine) {
    let queue = engine.open().await;
    let sent = orders(2);
    publish(&*queue, LaneKind::Single, &sent[..1]).await;
    let mut consumer = queue.deliveries(LaneKind::Single).await.unwrap();
    let later = async {
        until_taken(&*queue).await;
        publish(&*queue, LaneKind::Single, &sent[1..]).await;
    };
    let (batch, ()) = tokio::join!(consumer.next(2, DEADLINE), later);
    assert_eq!(ids(&batch.unwrap()), sent);
}

async fn one_that_comes_alone_is_not_held_up_for_long(engine: Engine) {
    let queue = engine.open().await;
    publish(&*queue, LaneKind::Single, &orders(1)).await;
    let mut consumer = queue.deliveries(LaneKind::Single).await.unwrap();
    let alone = timeout(DEADLINE, consumer.next(10, 5 * DEADLINE)).await.expect("it waits for others").unwrap();
    assert_eq!(alone.deliveries.len(), 1);
    alone.ack().await;
}

/// Waits until the first message has left the queue, or, in memory, may leave it at any moment.
async fn until_taken(queue: &dyn Queue) {
    for _ in 0..1000 {
        if queue.depth().await.unwrap().single == 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
}

async fn consumers_share_without_overlap(engine: Engine) {
    let queue = engine.open().await;
    let sent = orders(400);
    let came = Arc::new(std::sync::Mutex::new(BTreeMap::<Order, u32>::new()));
    let mut consumers = Vec::new();
    for _ in 0..4 {
        let (queue, came, all) = (engine.open().await, Arc::clone(&came), sent.len());
        consumers.push(tokio::spawn(async move {
            let mut consumer = queue.deliveries(LaneKind::Campaign).await.unwrap();
            while came.lock().unwrap().len() < all {
                let Ok(batch) = timeout(10 * LINGER, consumer.next(7, LINGER)).await else { continue };
                let batch = batch.unwrap();
                for order in ids(&batch) {
                    *came.lock().unwrap().entry(order).or_default() += 1;
                }
                batch.ack().await;
            }
        }));
    }
    publish(&*queue, LaneKind::Campaign, &sent).await;
    for consumer in consumers {
        timeout(DEADLINE, consumer).await.expect("not everything came").unwrap();
    }
    let came = came.lock().unwrap();
    assert!(came.values().all(|times| *times == 1), "delivered more than once");
    assert!(came.keys().eq(sent.iter().collect::<BTreeSet<_>>()));
}

async fn what_is_acked_never_comes_again(engine: Engine) {
    let queue = engine.open().await;
    let sent = orders(30);
    publish(&*queue, LaneKind::Single, &sent).await;
    let mut consumer = queue.deliveries(LaneKind::Single).await.unwrap();
    drain(&mut *consumer, &sent).await;
    drop(consumer);
    if matches!(engine, Engine::RabbitMq { .. }) {
        queue.close().await; // a queue in memory ends with its process, and nothing is opened again
    }
    // Had anything come back it would stand in front of the marker.
    let (queue, marker) = (engine.open().await, orders(1));
    publish(&*queue, LaneKind::Single, &marker).await;
    drain(&mut *queue.deliveries(LaneKind::Single).await.unwrap(), &marker).await;
    assert_eq!(queue.depth().await.unwrap().single, 0);
}

async fn batches_may_be_settled_in_any_order(engine: Engine) {
    let queue = engine.open().await;
    let sent = orders(9);
    publish(&*queue, LaneKind::Single, &sent).await;
    let mut consumer = queue.deliveries(LaneKind::Single).await.unwrap();
    let mut opened = Vec::new();
    // Asks for 9 first, so that all are sent ahead.
    next(&mut *consumer, 9).await.give_back().await;
    for _ in 0..3 {
        opened.push(next(&mut *consumer, 3).await);
    }
    let (third, second, first) = (opened.pop().unwrap(), opened.pop().unwrap(), opened.pop().unwrap());
    let kept = ids(&first);
    third.ack().await;
    second.ack().await;
    first.give_back().await;
    let again = next(&mut *consumer, 9).await;
    assert_eq!(ids(&again).into_iter().collect::<BTreeSet<_>>(), kept.into_iter().collect());
    again.ack().await;
    let marker = orders(1);
    publish(&*queue, LaneKind::Single, &marker).await;
    drain(&mut *consumer, &marker).await;
}

async fn what_is_given_back_comes_again_and_counts_its_returns(engine: Engine) {
    let queue = engine.open().await;
    let sent = orders(5);
    publish(&*queue, LaneKind::Single, &sent).await;
    let mut consumer = queue.deliveries(LaneKind::Single).await.unwrap();
    comes_back(&mut *consumer, &sent, async |batch| batch.give_back().await).await;
}

async fn what_is_dropped_unsettled_comes_again_and_counts_its_returns(engine: Engine) {
    let queue = engine.open().await;
    let sent = orders(5);
    publish(&*queue, LaneKind::Single, &sent).await;
    let mut consumer = queue.deliveries(LaneKind::Single).await.unwrap();
    comes_back(&mut *consumer, &sent, async |batch| drop(batch)).await;
}

async fn comes_back(consumer: &mut dyn Deliveries, sent: &[Order], leave: impl AsyncFn(Batch)) {
    for round in 0..4 {
        let mut seen = BTreeSet::new();
        let mut batches = Vec::new();
        while seen.len() < sent.len() {
            let batch = next(consumer, sent.len()).await;
            assert!(batch.deliveries.iter().all(|delivery| delivery.returns == round), "{:?}", batch.deliveries);
            seen.extend(ids(&batch));
            batches.push(batch);
        }
        assert_eq!(seen, sent.iter().copied().collect());
        for batch in batches {
            leave(batch).await;
        }
    }
}

async fn a_consumer_that_goes_away_leaves_nothing_behind(engine: Engine) {
    let queue = engine.open().await;
    let sent = orders(60);
    publish(&*queue, LaneKind::Campaign, &sent).await;
    let mut leaving = queue.deliveries(LaneKind::Campaign).await.unwrap();
    let (done, unsettled) = (next(&mut *leaving, 20).await, next(&mut *leaving, 20).await);
    drop(leaving);
    // What it had taken can still be settled.
    let settled: BTreeSet<Order> = ids(&done).into_iter().collect();
    done.ack().await;
    drop(unsettled);
    let rest: Vec<Order> = sent.iter().copied().filter(|order| !settled.contains(order)).collect();
    drain(&mut *queue.deliveries(LaneKind::Campaign).await.unwrap(), &rest).await;
}

async fn a_cancelled_next_loses_nothing(engine: Engine) {
    let queue = engine.open().await;
    let sent = orders(3);
    publish(&*queue, LaneKind::Single, &sent).await;
    let mut consumer = queue.deliveries(LaneKind::Single).await.unwrap();
    let first = next(&mut *consumer, 1).await;
    // It takes the two that are left and waits for more, which do not come.
    assert!(timeout(LINGER, consumer.next(4, DEADLINE)).await.is_err());
    let batch = next(&mut *consumer, 4).await;
    assert_eq!([ids(&first), ids(&batch)].concat(), sent);
    assert!(batch.deliveries.iter().all(|delivery| delivery.returns == 0));
}

async fn many_cancelled_nexts_lose_nothing(engine: Engine) {
    let queue = engine.open().await;
    let sent = orders(300);
    let mut missing: BTreeSet<Order> = sent.iter().copied().collect();
    let publisher = {
        let (queue, sent) = (Arc::clone(&queue), sent.clone());
        tokio::spawn(async move {
            for some in sent.chunks(10) {
                publish(&*queue, LaneKind::Single, some).await;
            }
        })
    };
    let mut consumer = queue.deliveries(LaneKind::Single).await.unwrap();
    let give_up_at = Instant::now() + DEADLINE;
    for wait_us in (0..3000).step_by(70).cycle() {
        if missing.is_empty() {
            break;
        }
        assert!(Instant::now() < give_up_at, "{} are missing", missing.len());
        let patience = Duration::from_micros(wait_us);
        if let Ok(batch) = timeout(patience, consumer.next(8, Duration::from_millis(1))).await {
            let batch = batch.unwrap();
            for order in ids(&batch) {
                assert!(missing.remove(&order), "{order:?} came twice");
            }
            batch.ack().await;
        }
    }
    publisher.await.unwrap();
}

async fn the_answers_are_in_the_order_asked(engine: Engine) {
    let queue = engine.open().await;
    for count in [1, 7, 1000] {
        let sent = orders(count);
        publish(&*queue, LaneKind::Campaign, &sent).await;
        drain(&mut *queue.deliveries(LaneKind::Campaign).await.unwrap(), &sent).await;
    }
}

async fn publishing_nothing_answers_nothing(engine: Engine) {
    assert_eq!(engine.open().await.publish(LaneKind::Single, &[]).await, []);
}

async fn publishes_may_run_side_by_side(engine: Engine) {
    let queue = engine.open().await;
    let sent = orders(800);
    let publishers: Vec<_> = sent
        .chunks(100)
        .map(|some| {
            let (queue, some) = (Arc::clone(&queue), some.to_vec());
            tokio::spawn(async move { publish(&*queue, LaneKind::Campaign, &some).await })
        })
        .collect();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    drain(&mut *queue.deliveries(LaneKind::Campaign).await.unwrap(), &sent).await;
}

async fn the_depth_counts_what_waits(engine: Engine) {
    let queue = engine.open().await;
    publish(&*queue, LaneKind::Single, &orders(3)).await;
    publish(&*queue, LaneKind::Campaign, &orders(5)).await;
    let depth = queue.depth().await.unwrap();
    assert_eq!((depth.single, depth.campaign, depth.dead), (3, 5, 0));
}

async fn close_ends_the_consumers_and_refuses_the_rest(engine: Engine) {
    let queue = engine.open().await;
    let mut waiting = queue.deliveries(LaneKind::Single).await.unwrap();
    let mut later = queue.deliveries(LaneKind::Campaign).await.unwrap();
    let waits = tokio::spawn(async move { waiting.next(1, LINGER).await.is_err() });
    timeout(DEADLINE, queue.close()).await.expect("close hangs");
    assert!(timeout(DEADLINE, waits).await.expect("it still waits").unwrap());
    assert!(later.next(1, LINGER).await.is_err());
    assert!(queue.deliveries(LaneKind::Single).await.is_err());
    assert_eq!(queue.publish(LaneKind::Single, &orders(1)).await, [Published::Refused]);
    until(&*queue, |now| matches!(now, Connectivity::Down(_))).await;
    timeout(DEADLINE, queue.close()).await.expect("closing twice hangs");
}
