//! A process that never rests leaves the others their turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::super::{Patience, SqliteStore};
use super::{Scratch, raw, within};
use crate::domain::account::Status;
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
    let with_patience = |max, tell| {
        let (url, clock) = (scratch.url(), scratch.clock.clone());
        async move { SqliteStore::open_with(&url, clock, Patience { max, tell }).await.unwrap() }
    };
    let is_told = Arc::new(AtomicBool::new(false));
    let tell = {
        let is_told = Arc::clone(&is_told);
        move |_: &str| is_told.store(true, Ordering::Relaxed)
    };
    let patient = with_patience(Duration::from_secs(60), Box::new(tell)).await;
    let hasty = with_patience(Duration::from_millis(10), Box::new(|_: &str| {})).await;

    let mut import = raw(&store).await;
    sqlx::query("begin immediate").execute(&mut import).await.unwrap();
    let waiting = tokio::spawn(async move { patient.add_status(&status("in the end")).await });
    within(Duration::from_secs(20), async {
        while !is_told.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let refused = hasty.add_status(&status("never")).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    assert!(!waiting.is_finished());
    sqlx::query("rollback").execute(&mut import).await.unwrap();
    waiting.await.unwrap().unwrap();
}
