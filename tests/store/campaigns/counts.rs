//! The numbers of a campaign add up at every step, whatever happens to it, and are exact for whoever looks meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use disconnectd::domain::campaign::{CampaignId, Command, Counts, PauseCause, State, Terms};
use disconnectd::domain::dispositions::Disposition;
use disconnectd::domain::event::{Change, Outcome};
use disconnectd::domain::retry::Verdict;
use disconnectd::store::campaigns::UnderWay;

use crate::support::both_engines;
use crate::support::campaigns::{claim_of, draft_on, list, member, members, numbered, terms};
use crate::support::database::TestDatabase;
use crate::support::rows::{account, debit};
use crate::support::scenario::{clerk, disconnect, outcome_of, reschedule};

both_engines!(
    counts_and_totals_add_up_at_each_step,
    totals_are_kept_by_currency,
    one_that_was_disconnected_meanwhile_is_counted_as_such,
    many_small_batches_add_up_however_they_are_folded,
    somebody_who_looks_while_it_runs_sees_numbers_that_add_up,
    those_that_are_under_way_are_counted_by_what_paused_them,
);

/// `accounts` is all the others together.
fn assert_whole(counts: &Counts) {
    let ended = counts.completed + counts.failed + counts.cancelled;
    assert_eq!(
        counts.accounts,
        counts.waiting + counts.left_out + counts.scheduled + counts.queued + ended,
        "{counts:?}"
    );
    assert_eq!(counts.completed, counts.disconnected + counts.already_disconnected + counts.no_longer_eligible);
    assert!(counts.retrying <= counts.scheduled + counts.queued, "{counts:?}");
    let all = [counts.waiting, counts.left_out, counts.scheduled, counts.queued, counts.disconnected, counts.cancelled];
    assert!(all.into_iter().all(|count| count >= 0), "{counts:?}");
}

impl TestDatabase {
    /// As shown, and as the rows say.
    async fn step(&self, campaign: CampaignId) -> Counts {
        self.check_campaigns().await;
        let counts = self.counts(campaign).await;
        assert_whole(&counts);
        counts
    }
}

async fn counts_and_totals_add_up_at_each_step(db: &TestDatabase) {
    let numbers = numbered("A", 12);
    db.accounts(numbers.iter().map(|number| account(number).address("1 Main St").email("a@b.c"))).await;
    db.debits(numbers[..8].iter().map(|number| debit(number, "d", "1.25").tax("0.05"))).await;
    db.accounts([account("child").parent(&numbers[0]).email("c@b.c")]).await;
    db.scheduled(&numbers[11]).await;
    let draft = draft_on("x", Terms { children: Some(Disposition::Unlink), ..terms() });
    let rows = numbers.iter().chain([&"ghost".to_owned()]).map(member).collect::<Vec<_>>();
    let id = db.made(&draft, members(rows)).await.id;
    assert_eq!(db.step(id).await, Counts { accounts: 13, waiting: 13, ..Counts::default() });
    db.start(id).await;
    assert_eq!(db.step(id).await, Counts { accounts: 13, left_out: 2, scheduled: 11, ..Counts::default() });
    let orders = db.claimed(6).await;
    assert_eq!((db.step(id).await.scheduled, db.step(id).await.queued), (5, 6));
    db.disconnect(&orders[..2]).await;
    assert_eq!(db.step(id).await.disconnected, 2);
    db.fail_orders(&orders[2..3], Verdict::RetryAfter(Duration::from_secs(3_600))).await;
    let counts = db.step(id).await;
    assert_eq!((counts.retrying, counts.scheduled, counts.queued), (1, 6, 3));
    db.fail_orders(&orders[3..4], Verdict::GiveUp).await;
    assert_eq!(db.step(id).await.failed, 1);
    assert!(db.store.record_suspect(orders[4].event_id, "it may have killed its worker").await.unwrap().is_some());
    let counts = db.step(id).await;
    assert_eq!((counts.retrying, counts.queued), (2, 2));
    db.store.release(&orders[5..], Duration::ZERO).await.unwrap();
    assert_eq!(db.step(id).await.queued, 1);
    db.store.change(orders[5].event_id, &Change::CANCEL, &clerk(), None).await.unwrap();
    db.store.change(orders[4].event_id, &Change::CANCEL, &clerk(), None).await.unwrap();
    db.store.change(orders[3].event_id, &Change::CANCEL, &clerk(), None).await.unwrap();
    let counts = db.step(id).await;
    assert_eq!((counts.cancelled, counts.queued, counts.failed, counts.retrying), (3, 0, 0, 1));
    db.store.change(orders[2].event_id, &reschedule("2126-12-01", false), &clerk(), None).await.unwrap();
    db.step(id).await;
    db.pause(id).await;
    db.step(id).await;
    db.resume(id).await;
    let rest = db.claimed(500).await;
    assert_eq!(rest.len(), 5);
    db.fail_orders(&rest[..1], Verdict::GiveUp).await;
    db.disconnect(&rest[1..]).await;
    let counts = db.step(id).await;
    assert_eq!((counts.disconnected, counts.failed, counts.scheduled), (6, 1, 1));
    assert_eq!(db.command(id, Command::Retry).await.events, 1);
    assert_eq!(db.step(id).await.failed, 0);
    db.abort(id).await;
    db.step(id).await;
    db.upkeep().await;
    let last = db.step(id).await;
    let expected =
        Counts { accounts: 13, left_out: 2, completed: 6, disconnected: 6, cancelled: 5, ..Counts::default() };
    assert_eq!(last, expected);
}

async fn totals_are_kept_by_currency(db: &TestDatabase) {
    db.accounts([
        account("usd").address("1 Main St"),
        account("usd-2"),
        account("eur").currency("EUR"),
        account("jpy").currency("JPY").address("2 Main St"),
        account("none").currency("CHF").address("3 Main St"),
    ])
    .await;
    db.debits([
        debit("usd", "d", "1.25").tax("0.05"),
        debit("usd-2", "d", "2.00"),
        debit("eur", "d", "3.00"),
        debit("jpy", "d", "400"),
    ])
    .await;
    let id = db.started(["usd", "usd-2", "eur", "jpy", "none"]).await;
    let orders = db.claimed(2).await;
    db.disconnect(&orders).await;
    let totals = db.campaign(id).await.totals;
    let shown = |sums: &[disconnectd::domain::money::Money]| -> Vec<String> {
        sums.iter().filter(|sum| sum.minor != 0).map(ToString::to_string).collect()
    };
    assert_eq!((totals.invoices, shown(&totals.invoiced)), (2, vec!["3.30 USD".to_owned()]));
    db.run_campaigns().await;
    let totals = db.campaign(id).await.totals;
    assert_eq!((totals.invoices, totals.addresses_released), (4, 3));
    assert_eq!(shown(&totals.invoiced), ["3.00 EUR", "400 JPY", "3.30 USD"]);
    assert_eq!(shown(&totals.expected), shown(&totals.invoiced));
}

async fn one_that_was_disconnected_meanwhile_is_counted_as_such(db: &TestDatabase) {
    db.accounts(["A-1", "A-2"].map(account)).await;
    db.debits([debit("A-1", "d", "5.00")]).await;
    let id = db.started(["A-1", "A-2"]).await;
    let orders = db.claimed(500).await;
    db.fail_orders(&orders[..1], Verdict::GiveUp).await;
    let failed = db.event(orders[0].event_id).await.account_number;
    db.disconnected(failed.as_str()).await;
    assert_eq!(db.step(id).await.failed, 1, "that one was another event's doing");
    db.command(id, Command::Retry).await;
    let again = db.claimed(500).await;
    assert_eq!(outcome_of(&db.disconnect(&again).await[0]), Some(Outcome::AlreadyDisconnected));
    let counts = db.step(id).await;
    assert_eq!((counts.already_disconnected, counts.completed), (1, 1));
    assert_eq!(db.campaign(id).await.totals.invoices, 0, "nor is its invoice the campaign's");
}

async fn many_small_batches_add_up_however_they_are_folded(db: &TestDatabase) {
    let numbers = numbered("A", 240);
    db.accounts(numbers.iter().map(|number| account(number))).await;
    db.debits(numbers.iter().step_by(2).map(|number| debit(number, "d", "0.01"))).await;
    let ids = [db.started(&numbers[..120]).await, db.started(&numbers[120..]).await];
    let mut rounds = 0;
    loop {
        let claimed = claim_of(&*db.store, 3, 100).await;
        if claimed.orders.is_empty() {
            break;
        }
        for order in claimed.orders {
            db.disconnect(&[order]).await;
        }
        rounds += 1;
        if rounds % 20 == 0 {
            db.check_campaigns().await;
        }
    }
    for id in ids {
        let view = db.campaign(id).await;
        assert_eq!((view.state, view.counts.disconnected, view.totals.invoices), (State::Completed, 120, 60));
        assert_eq!(view.totals.invoiced[0].minor, 60);
    }
}

/// A fold, or a batch under way, never shows half of itself.
async fn somebody_who_looks_while_it_runs_sees_numbers_that_add_up(db: &TestDatabase) {
    let numbers = numbered("A", 200);
    db.accounts(numbers.iter().map(|number| account(number))).await;
    db.debits(numbers.iter().map(|number| debit(number, "d", "1.00"))).await;
    let id = db.made(&draft_on("x", terms()), list(&numbers)).await.id;
    db.start(id).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let (looking, over) = (db.open().await, Arc::clone(&is_over));
    let looks = tokio::spawn(async move {
        let (mut seen, mut last) = (0, Counts::default());
        loop {
            let is_last = over.load(Ordering::Relaxed);
            let view = looking.campaign(id).await.unwrap();
            assert_whole(&view.counts);
            assert_eq!(view.counts.accounts, 200);
            assert!(view.counts.disconnected >= last.disconnected, "{:?} after {last:?}", view.counts);
            assert_eq!(view.totals.invoices, view.counts.disconnected);
            assert_eq!(view.totals.invoiced.iter().map(|sum| sum.minor).sum::<i64>(), 100 * view.totals.invoices);
            (seen, last) = (seen + 1, view.counts);
            if is_last {
                return (seen, last);
            }
        }
    });
    loop {
        let claimed = claim_of(&*db.store, 5, 100).await;
        if claimed.orders.is_empty() {
            break;
        }
        disconnect(&*db.store, &claimed.orders).await.unwrap();
    }
    is_over.store(true, Ordering::Relaxed);
    let (seen, last) = looks.await.unwrap();
    assert!(seen > 2, "{seen}");
    assert_eq!(last.disconnected, 200);
}

async fn those_that_are_under_way_are_counted_by_what_paused_them(db: &TestDatabase) {
    assert_eq!(db.store.campaigns_under_way().await.unwrap(), UnderWay::default());
    db.accounts(["A-1", "A-2", "A-3", "A-4"].map(account)).await;
    db.started(["A-1"]).await;
    let paused = db.started(["A-2"]).await;
    db.pause(paused).await;
    let aborted = db.started(["A-3"]).await;
    db.command(aborted, Command::Abort { note: None }).await;
    db.made(&draft_on("x", terms()), list(["A-4"])).await;
    let counts = db.store.campaigns_under_way().await.unwrap();
    assert_eq!(counts, UnderWay { running: 1, paused: [(PauseCause::Person, 1)].into() });
}
