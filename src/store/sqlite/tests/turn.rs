//! A process that never rests leaves the others their turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::super::{Patience, SqliteStore};
use super::{Scratch, raw, within};
use crate::domain::account::Status;
use crate::shutdown::Shutdown;
use crate::store::{Installations, StoreError};

/// Each store has its own connections and asks for the file's locks like a process of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_never_rests_leaves_others_their_turn() {
    const WRITES: u64 = 30;
    let scratch = Scratch::new();
    let busy = Arc::new(scratch.migrated().await);
    let written = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let (busy, written) = (Arc::clone(&busy), Arc::clone(&written));
            tokio::spawn(async move {
                loop {
                    let tx = busy.write().await.unwrap();
                    // A disconnect of some accounts takes as long, and that is when others begin to wait.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    tx.commit().await.unwrap();
                    written.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let other = scratch.open().await;
    within(Duration::from_secs(20), async {
        while written.load(Ordering::Relaxed) < 10 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let before = written.load(Ordering::Relaxed);
    for n in 0..WRITES {
        let name = format!("other {n}");
        other.add_status(&Status { name, activates_account: false }).await.unwrap();
    }
    let meanwhile = written.load(Ordering::Relaxed) - before;
    for writer in writers {
        writer.abort();
    }
    // One that had the lock already, and one that begins while the answer is on its way; some more for a busy machine.
    assert!(meanwhile < WRITES * 6, "{meanwhile} writes of the busy one beside {WRITES} of the other");
}

fn status(name: &str) -> Status {
    Status { name: name.into(), activates_account: false }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_patient_is_told_and_waits_and_the_others_give_up() {
    let scratch = Scratch::new();
    let store = scratch.migrated().await;
    let with = |patience| {
        let (url, clock) = (scratch.url(), scratch.clock.clone());
        async move { SqliteStore::open_with(&url, clock, patience).await.unwrap() }
    };
    let is_told = Arc::new(AtomicBool::new(false));
    let tell = {
        let is_told = Arc::clone(&is_told);
        move |_: &str| is_told.store(true, Ordering::Relaxed)
    };
    let patient = with(Patience::of_a_command(tell)).await;
    let hasty = with(Patience::new(Duration::from_millis(300), |_| {}, None)).await;
    let (handle, stop) = Shutdown::new();
    let stopping = with(Patience::of_a_server(|_| {}, stop)).await;
    handle.stop();
    for (store, seconds) in [(&patient, 120), (&stopping, 60)] {
        // SQLite's own waiting ends no sooner.
        let mut writer = store.writer.acquire().await.unwrap();
        let timeout: i64 = sqlx::query_scalar("pragma busy_timeout").fetch_one(&mut *writer).await.unwrap();
        assert_eq!(timeout, seconds * 1_000);
    }

    let mut import = raw(&store).await;
    sqlx::query("begin immediate").execute(&mut import).await.unwrap();
    // Once for the lock, and once behind the turn of the patient one.
    let gives_up = async || {
        let refused = within(Duration::from_secs(5), hasty.add_status(&status("never"))).await.unwrap_err();
        assert!(matches!(refused, StoreError::Conflict(_)), "{refused:?}");
    };
    gives_up().await;
    let waiting = tokio::spawn(async move { patient.add_status(&status("in the end")).await });
    within(Duration::from_secs(20), async {
        while !is_told.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    gives_up().await;
    let refused = within(Duration::from_secs(20), stopping.add_status(&status("never"))).await.unwrap_err();
    assert!(refused.to_string().contains("this process stops"), "{refused}");
    // It counts from the stop, however many wait one after the other.
    let refused = within(Duration::from_secs(5), stopping.add_status(&status("never"))).await.unwrap_err();
    assert!(refused.to_string().contains("this process stops"), "{refused}");
    // Whoever begins to serve waits for it: that others are writing is no other that serves.
    let mut serving = tokio::spawn(async move { hasty.serve("worker").await.map(drop) });
    assert!(tokio::time::timeout(Duration::from_secs(1), &mut serving).await.is_err());
    assert!(!waiting.is_finished());
    sqlx::query("rollback").execute(&mut import).await.unwrap();
    waiting.await.unwrap().unwrap();
    serving.await.unwrap().unwrap();
}
