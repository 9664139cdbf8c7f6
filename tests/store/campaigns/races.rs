//! Workers and schedulers at full speed, and somebody who pauses or aborts in the middle: once the answer is there,
//! nothing of the campaign happens any more, and the numbers stand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use disconnectd::domain::campaign::{CampaignId, Command, Counts, State};
use disconnectd::domain::event::Change;
use disconnectd::domain::refusal::Refusal;
use disconnectd::store::campaigns::Upkeep;
use disconnectd::store::{Requested, Store, StoreError};
use futures_util::future::join_all;
use tokio::task::JoinHandle;

use crate::store::races::again_while_busy;
use crate::support::campaigns::{boss, claim_of, numbered};
use crate::support::database::{Engine, TestDatabase};
use crate::support::rows::{account, debit};
use crate::support::scenario::{REDISPATCH, clerk, disconnect, request};
use crate::support::{SOON, both_engines, wait_until};

both_engines!(
    when_a_pause_answers_nothing_of_it_begins,
    when_an_abort_answers_nothing_of_it_begins,
    pauses_and_resumes_of_many_people_at_once_all_answer,
    cancels_of_single_events_race_with_workers_pauses_and_an_abort,
    requests_race_with_the_upkeep_for_leftovers,
    a_member_is_in_one_of_two_campaigns_that_start_at_once,
    debits_are_added_while_a_campaign_is_dry_run_and_started,
);

/// Tasks that claim and disconnect until they are told to stop.
struct Crew {
    tasks: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    /// How often each has come round.
    rounds: Vec<Arc<AtomicU64>>,
}

impl Crew {
    async fn of(db: &TestDatabase, size: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut tasks, mut rounds) = (Vec::new(), Vec::new());
        // As they are served: on PostgreSQL by any number of processes, on SQLite by one, which takes commands as well.
        let stores = match db.engine() {
            Engine::Postgres => [db.open().await, db.open().await],
            Engine::Sqlite => [Arc::clone(&db.store), Arc::clone(&db.store)],
        };
        for n in 0..size {
            let (store, stop, round) = (Arc::clone(&stores[n % 2]), Arc::clone(&stop), Arc::new(AtomicU64::new(0)));
            rounds.push(Arc::clone(&round));
            tasks.push(tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let mut orders = claim_of(&*store, 8, 40).await.orders;
                    orders.extend(again_while_busy!(store.claim(8, REDISPATCH)).unwrap());
                    if !orders.is_empty() {
                        again_while_busy!(disconnect(&*store, &orders)).unwrap();
                    }
                    round.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            }));
        }
        Self { tasks, stop, rounds }
    }

    /// Whatever each of them had in hand is done, and each has looked for more.
    async fn comes_round(&self) {
        for round in &self.rounds {
            let before = round.load(Ordering::Relaxed);
            wait_until(SOON, "a worker comes round twice", async || round.load(Ordering::Relaxed) >= before + 2).await;
        }
    }

    async fn stops(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in join_all(self.tasks).await {
            task.unwrap();
        }
    }
}

/// The counts of its answer; none where the campaign was done before.
async fn commanded(store: &dyn Store, campaign: CampaignId, command: &Command) -> Option<Counts> {
    match again_while_busy!(store.command_campaign(campaign, command, &boss())) {
        Ok(commanded) => Some(commanded.campaign.counts),
        Err(StoreError::Refused(Refusal::CampaignState { state: State::Completed, .. })) => None,
        Err(error) => panic!("{error}"),
    }
}

impl TestDatabase {
    /// A running campaign of as many accounts, each with a debit.
    async fn busy_campaign(&self, prefix: &str, count: usize) -> CampaignId {
        let numbers = numbered(prefix, count);
        self.accounts(numbers.iter().map(|number| account(number))).await;
        self.debits(numbers.iter().map(|number| debit(number, "d", "1.00"))).await;
        self.started(&numbers).await
    }

    async fn done_of(&self, campaign: CampaignId) -> i64 {
        let done =
            format!("select count(*) from disconnect_events where campaign_id = {campaign} and state = 'completed'");
        self.number(&done).await
    }
}

const PAUSE: Command = Command::Pause { note: None };
const ABORT: Command = Command::Abort { note: None };

async fn when_a_pause_answers_nothing_of_it_begins(db: &TestDatabase) {
    let id = db.busy_campaign("A", 300).await;
    let other = db.busy_campaign("B", 60).await;
    let singles = numbered("S", 12);
    db.accounts(singles.iter().map(|number| account(number))).await;
    let crew = Crew::of(db, 4).await;
    let mut in_the_middle = 0;
    for (round, single) in singles.iter().enumerate() {
        let before = db.done_of(id).await;
        let target = (before + 5).min(300);
        wait_until(SOON, "some are disconnected", async || db.done_of(id).await >= target).await;
        let Some(counts) = commanded(&*db.store, id, &PAUSE).await else { break };
        let done = db.done_of(id).await;
        assert_eq!((counts.disconnected, counts.queued), (done, 0), "round {round}: as it stands when it answers");
        in_the_middle += i32::from(done < 300);
        // Meanwhile a single one is asked for: it is disconnected whatever is paused.
        let event = db.due(single).await;
        crew.comes_round().await;
        assert_eq!(db.done_of(id).await, done, "round {round}: something of it went on after the pause");
        assert_eq!(db.counts(id).await, counts);
        wait_until(SOON, "the single one is disconnected", async || db.event(event).await.outcome.is_some()).await;
        commanded(&*db.store, id, &Command::Resume).await;
    }
    assert!(in_the_middle > 3, "it was done before it was paused: {in_the_middle}");
    wait_until(SOON, "both are complete", async || {
        db.campaign_state(id).await == State::Completed && db.campaign_state(other).await == State::Completed
    })
    .await;
    crew.stops().await;
    assert_eq!((db.counts(id).await.disconnected, db.counts(other).await.disconnected), (300, 60));
}

async fn when_an_abort_answers_nothing_of_it_begins(db: &TestDatabase) {
    let crew = Crew::of(db, 4).await;
    let mut in_the_middle = 0;
    for round in 0..8 {
        let id = db.busy_campaign(&format!("R{round}"), 60).await;
        let single = format!("S-{round}");
        db.accounts([account(&single)]).await;
        wait_until(SOON, "some are disconnected", async || db.done_of(id).await >= 4).await;
        let Some(counts) = commanded(&*db.store, id, &ABORT).await else { continue };
        let done = db.done_of(id).await;
        assert_eq!((counts.disconnected, counts.queued), (done, 0), "round {round}");
        in_the_middle += i32::from(done < 60);
        let event = db.due(&single).await;
        crew.comes_round().await;
        assert_eq!(db.done_of(id).await, done, "round {round}: something of it went on after the abort");
        wait_until(SOON, "the single one is disconnected", async || db.event(event).await.outcome.is_some()).await;
        again_while_busy!(db.store.upkeep()).unwrap();
        let counts = db.counts(id).await;
        assert_eq!((counts.disconnected, counts.cancelled, counts.scheduled), (done, 60 - done, 0));
    }
    crew.stops().await;
    assert!(in_the_middle > 3, "they were done before they were aborted: {in_the_middle}");
}

async fn pauses_and_resumes_of_many_people_at_once_all_answer(db: &TestDatabase) {
    let ids = [db.busy_campaign("A", 120).await, db.busy_campaign("B", 120).await];
    let crew = Crew::of(db, 3).await;
    let stores = [db.open().await, db.open().await];
    let people = (0..4_usize).map(|n| {
        let (store, id) = (Arc::clone(&stores[n % 2]), ids[n / 2]);
        tokio::spawn(async move {
            for _ in 0..6 {
                for command in [&PAUSE, &Command::Resume] {
                    let counts = commanded(&*store, id, command).await;
                    assert!(*command != PAUSE || counts.is_none_or(|counts| counts.queued == 0), "{counts:?}");
                }
            }
        })
    });
    for person in join_all(people).await {
        person.unwrap();
    }
    for id in ids {
        commanded(&*db.store, id, &Command::Resume).await;
        wait_until(SOON, "it is complete", async || db.campaign_state(id).await == State::Completed).await;
        assert_eq!(db.counts(id).await.disconnected, 120);
    }
    crew.stops().await;
}

async fn cancels_of_single_events_race_with_workers_pauses_and_an_abort(db: &TestDatabase) {
    let id = db.busy_campaign("A", 150).await;
    let crew = Crew::of(db, 3).await;
    let store = db.open().await;
    let mut events = Vec::new();
    for number in numbered("A", 150).iter().rev().step_by(2) {
        events.push(db.event_of(id, number).await);
    }
    let cancels = tokio::spawn(async move {
        let mut cancelled = 0;
        for event in events {
            match again_while_busy!(store.change(event, &Change::CANCEL, &clerk(), None)) {
                Ok(_) => cancelled += 1,
                Err(StoreError::Refused(Refusal::EventEnded { .. })) => {}
                Err(error) => panic!("{error}"),
            }
        }
        cancelled
    });
    for _ in 0..4 {
        for command in [&PAUSE, &Command::Resume] {
            commanded(&*db.store, id, command).await;
        }
        assert_eq!(db.counts(id).await.accounts, 150);
    }
    commanded(&*db.store, id, &ABORT).await;
    let cancelled = cancels.await.unwrap();
    crew.stops().await;
    db.upkeep().await;
    db.claim_campaigns(10).await;
    let counts = db.counts(id).await;
    assert_eq!(counts.disconnected + counts.cancelled, 150, "{counts:?}");
    assert!(counts.cancelled >= cancelled, "{counts:?}, {cancelled} by hand");
}

async fn requests_race_with_the_upkeep_for_leftovers(db: &TestDatabase) {
    for round in 0..4 {
        let prefix = format!("R{round}");
        let id = db.busy_campaign(&prefix, 40).await;
        db.abort(id).await;
        let stores = [db.open().await, db.open().await];
        let requests = {
            let (store, numbers) = (Arc::clone(&stores[0]), numbered(&prefix, 40));
            tokio::spawn(async move {
                for number in numbers.iter().rev() {
                    let requested = again_while_busy!(store.request(&request(number, "2126-12-01"))).unwrap();
                    assert!(matches!(requested, Requested::Created(_)), "{number}: {requested:?}");
                }
            })
        };
        let upkeep = tokio::spawn(async move {
            loop {
                let upkeep = again_while_busy!(stores[1].upkeep()).unwrap();
                if upkeep == Upkeep::default() {
                    return;
                }
            }
        });
        requests.await.unwrap();
        upkeep.await.unwrap();
        db.upkeep().await;
        assert_eq!(db.counts(id).await.cancelled, 40, "round {round}: each once, whoever cancelled it");
    }
}

async fn a_member_is_in_one_of_two_campaigns_that_start_at_once(db: &TestDatabase) {
    for round in 0..5 {
        let numbers = numbered(&format!("R{round}"), 30);
        db.accounts(numbers.iter().map(|number| account(number))).await;
        // The same accounts, in opposite orders.
        let ids = [db.drafted(&numbers).await, db.drafted(numbers.iter().rev()).await];
        let starts = [db.open().await, db.open().await].into_iter().zip(ids).map(|(store, id)| {
            tokio::spawn(async move { again_while_busy!(store.start_campaign(id, None, &clerk())) })
        });
        for start in join_all(starts).await {
            match start.unwrap() {
                // Whoever comes second may find nobody left.
                Ok(_) | Err(StoreError::Refused(Refusal::NobodyLeft { .. })) => {}
                Err(error) => panic!("{error}"),
            }
        }
        db.run_campaigns().await;
        let counts = [db.counts(ids[0]).await, db.counts(ids[1]).await];
        assert_eq!(counts[0].disconnected + counts[1].disconnected, 30, "{counts:?}");
    }
}

async fn debits_are_added_while_a_campaign_is_dry_run_and_started(db: &TestDatabase) {
    let numbers = numbered("A", 60);
    db.accounts(numbers.iter().map(|number| account(number))).await;
    let id = db.drafted(&numbers).await;
    let store = db.open().await;
    let debits = tokio::spawn(async move {
        for number in numbers.iter().rev() {
            let row = debit(number, "d", "1.00");
            let options = crate::support::scenario::import_options(false);
            let report = store.import_debits(crate::support::rows::file([row]), options).await;
            assert!(report.is_ok_and(|report| report.applied), "{number}");
        }
    });
    // What the dry run says is of one moment: as many invoices as sums.
    for _ in 0..5 {
        let dry_run = db.dry_run(id).await;
        let sum = dry_run.final_invoices.first().map_or(0, |sum| sum.minor);
        assert_eq!((dry_run.invoices * 100, dry_run.invoices + dry_run.nothing_to_invoice), (sum, 60));
    }
    again_while_busy!(db.store.start_campaign(id, None, &clerk())).unwrap();
    debits.await.unwrap();
    db.run_campaigns().await;
    let view = db.campaign(id).await;
    assert_eq!((view.counts.disconnected, view.totals.invoices, view.totals.invoiced[0].minor), (60, 60, 6_000));
    let reconciliation = db.reconciliation(id).await;
    let difference: i64 = reconciliation.differences.iter().map(|it| it.amount.minor).sum();
    let agreed = reconciliation.dry_run.first().map_or(0, |sum| sum.minor);
    assert_eq!(agreed + difference, 6_000, "{reconciliation:?}");
}
