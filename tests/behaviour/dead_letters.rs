//! `queue dead`: what nobody could read is looked at, dropped and put back from the command line.

use disconnectd::domain::event::{Attempt, EventId, Order};
use disconnectd::domain::message;
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Connection, ConnectionProperties};

use super::{amqp_url, both_pairs, installed};
use crate::program::DEADLINE;
use crate::support::database::{Engine, TestDatabase};
use crate::support::wait_until;

both_pairs!(an_empty_queue_is_told_so);

async fn an_empty_queue_is_told_so(db: &TestDatabase) {
    let program = installed(db).await;
    let said = program.run(&["queue", "dead", "list"]).exits(0).stdout;
    assert_eq!(said.trim(), "The dead-letter queue is empty.");
    assert_eq!(program.json(&["queue", "dead", "list"])["total"], 0);
    assert_eq!(program.json(&["queue", "dead", "drop", "--all"])["done"].as_array().unwrap().len(), 0);
    let unknown = program.run(&["--json", "queue", "dead", "requeue", "0123456789abcdef"]).exits(3).json();
    assert_eq!(unknown["error"]["code"], "unknown_message");
    program.run(&["queue", "dead", "drop"]).exits(2);
    program.run(&["queue", "dead", "drop", "--all", "0123456789abcdef"]).exits(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_could_read_is_shown_and_dropped_and_orders_go_back() {
    TestDatabase::run_on_empty(Engine::Postgres, async |db: &TestDatabase| {
        let program = installed(db).await;
        let installation = db.store.installation().await.unwrap().id;
        let dead = format!("disconnectd.dead.{installation}");
        // Makes the queues.
        program.run(&["queue", "dead", "list"]).exits(0);
        let connection = Connection::connect(&amqp_url(), ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let order = Order { event_id: EventId(7), attempt: Attempt(2), trace: None };
        for body in [b"\x1b[31mhello".to_vec(), message::write(&installation, order)] {
            let sent = channel.basic_publish(
                "".into(),
                dead.clone().into(),
                BasicPublishOptions::default(),
                &body,
                BasicProperties::default(),
            );
            sent.await.unwrap().await.unwrap();
        }
        wait_until(DEADLINE, "they came", async || program.json(&["queue", "dead", "list"])["total"] == 2).await;
        let said = program.run(&["queue", "dead", "list"]).exits(0).stdout;
        assert!(said.contains("event 7, attempt 2") && said.contains("not a disconnect order"), "{said}");
        assert!(!said.contains('\x1b'), "nothing of it acts on the terminal");
        let listed = program.json(&["queue", "dead", "list"]);
        let junk = listed["items"].as_array().unwrap().iter().find(|item| item["event_id"].is_null()).unwrap();
        let junk = junk["id"].as_str().unwrap();
        let doctor = program.run(&["doctor"]).stdout;
        assert!(doctor.contains("queue dead list"), "{doctor}");

        let requeued = program.run(&["queue", "dead", "requeue", "--all"]).exits(3).stdout;
        assert!(requeued.contains("1 message put back") && requeued.contains(junk), "{requeued}");
        let dropped = program.run(&["queue", "dead", "drop", junk]).exits(0).stdout;
        assert_eq!(dropped.trim(), "1 message dropped.");
        wait_until(DEADLINE, "it is empty", async || program.json(&["queue", "dead", "list"])["total"] == 0).await;
    })
    .await;
}
