//! What became of each member, and how it adds up to what the dry run showed.

use disconnectd::domain::campaign::report::{MemberOutcome, ReportRow};
use disconnectd::domain::campaign::{CampaignId, Command};
use disconnectd::domain::event::Change;
use disconnectd::domain::retry::Verdict;

use crate::support::both_engines;
use crate::support::campaigns::{draft, filtered, list, member, members, numbered};
use crate::support::database::TestDatabase;
use crate::support::rows::{account, debit};
use crate::support::scenario::clerk;

both_engines!(
    each_member_has_a_row_in_the_order_of_the_list,
    a_report_of_one_that_went_as_shown_adds_up,
    what_changed_since_the_dry_run_is_the_difference,
    while_it_runs_what_is_to_come_is_the_difference,
    before_the_start_everybody_waits,
    a_long_report_comes_in_chunks_and_ends_when_nobody_listens,
    the_report_and_the_counts_say_the_same,
);

impl TestDatabase {
    /// The report says what the counts say.
    async fn is_counted_alike(&self, campaign: CampaignId) {
        let counts = self.counts(campaign).await;
        let accounts = self.reconciliation(campaign).await.accounts;
        let of = |outcome: MemberOutcome| accounts.get(outcome.as_str()).copied().unwrap_or(0);
        assert_eq!(accounts.values().sum::<i64>(), counts.accounts);
        let reported = [
            of(MemberOutcome::Waiting),
            of(MemberOutcome::LeftOut),
            of(MemberOutcome::Scheduled),
            of(MemberOutcome::Queued),
            of(MemberOutcome::Disconnected),
            of(MemberOutcome::AlreadyDisconnected),
            of(MemberOutcome::NoLongerEligible),
            of(MemberOutcome::Failed),
            of(MemberOutcome::Cancelled),
        ];
        let counted = [
            counts.waiting,
            counts.left_out,
            counts.scheduled,
            counts.queued,
            counts.disconnected,
            counts.already_disconnected,
            counts.no_longer_eligible,
            counts.failed,
            counts.cancelled,
        ];
        assert_eq!(reported, counted);
    }
}

fn shown(row: &ReportRow) -> (&str, MemberOutcome) {
    (row.account_number.as_str(), row.outcome)
}

async fn each_member_has_a_row_in_the_order_of_the_list(db: &TestDatabase) {
    db.accounts(["Z", "A", "M", "busy", "later"].map(account)).await;
    db.debits([debit("Z", "d", "5.00").tax("0.50"), debit("M", "d", "2.00")]).await;
    db.scheduled("busy").await;
    let rows = [
        member("Z").because("own reason"),
        member("ghost"),
        member("A"),
        member("M"),
        member("busy"),
        member("later").on("2126-12-01"),
    ];
    let id = db.made(&draft("x"), members(rows)).await.id;
    db.start(id).await;
    let orders = db.claimed(500).await;
    let failing: Vec<_> = {
        let event = db.event_of(id, "M").await;
        orders.iter().copied().filter(|order| order.event_id == event).collect()
    };
    db.fail_orders(&failing, Verdict::GiveUp).await;
    db.disconnect(&orders).await;
    let report = db.report(id).await;
    assert_eq!(
        report.iter().map(shown).collect::<Vec<_>>(),
        [
            ("Z", MemberOutcome::Disconnected),
            ("ghost", MemberOutcome::LeftOut),
            ("A", MemberOutcome::Disconnected),
            ("M", MemberOutcome::Failed),
            ("busy", MemberOutcome::LeftOut),
            ("later", MemberOutcome::Scheduled),
        ]
    );
    let first = &report[0];
    let event = db.event(db.event_of(id, "Z").await).await;
    assert_eq!((first.event_id, first.due_at, first.ended_at), (Some(event.id), Some(event.due_at), event.ended_at));
    let invoice = event.final_invoice.unwrap();
    assert_eq!((first.invoice_number, first.amount), (Some(invoice.number), Some(invoice.total)));
    assert_eq!(first.expected.unwrap().to_string(), "5.50 USD");
    assert_eq!((first.attempts, first.failures, &first.error), (1, 0, &None));
    assert_eq!(first.reason.as_deref(), Some("own reason"));
    assert!(report[1].error.as_ref().unwrap().contains("no account ghost"), "{:?}", report[1]);
    assert_eq!((report[1].event_id, report[1].attempts), (None, 0));
    assert_eq!((report[2].invoice_number, report[2].amount), (None, None), "nothing to invoice");
    assert_eq!((report[3].error.as_deref(), report[3].failures), (Some("the modem is on fire"), 1));
    assert!(report[4].error.as_ref().unwrap().contains("that one goes on"), "{:?}", report[4]);
    assert_eq!(report[5].due_at.unwrap().to_rfc3339(), "2126-12-01T00:00:00+00:00");
    db.is_counted_alike(id).await;
}

async fn a_report_of_one_that_went_as_shown_adds_up(db: &TestDatabase) {
    db.accounts([account("usd"), account("usd-2"), account("eur").currency("EUR"), account("none")]).await;
    db.debits([debit("usd", "d", "1.10"), debit("usd-2", "d", "2.02"), debit("eur", "d", "3.00").tax("0.57")]).await;
    let id = db.started(["usd", "ghost", "usd-2", "eur", "none"]).await;
    db.run_campaigns().await;
    let reconciliation = db.reconciliation(id).await;
    assert!(reconciliation.adds_up && reconciliation.differences.is_empty(), "{reconciliation:?}");
    let invoiced: Vec<_> = reconciliation.invoiced.iter().map(ToString::to_string).collect();
    assert_eq!(invoiced, ["3.57 EUR", "3.12 USD"]);
    assert_eq!(reconciliation.dry_run, reconciliation.invoiced);
    db.is_counted_alike(id).await;
}

async fn what_changed_since_the_dry_run_is_the_difference(db: &TestDatabase) {
    let tower = |number: &str| account(number).groups(&["tower"]);
    db.accounts(
        ["more", "failed", "cancelled", "left", "meanwhile", "fine"].map(tower).into_iter().chain([account("other")]),
    )
    .await;
    let numbers = ["more", "failed", "cancelled", "left", "meanwhile", "fine"];
    db.debits(numbers.map(|number| debit(number, "d", "10.00"))).await;
    let (draft, cohort) = filtered("x", "group = tower");
    let id = db.made(&draft, cohort).await.id;
    db.start(id).await;
    db.debits([debit("more", "d2", "0.75")]).await;
    db.store.change(db.event_of(id, "cancelled").await, &Change::CANCEL, &clerk(), None).await.unwrap();
    db.accounts([account("left").groups(&["fiber"])]).await;
    let orders = db.claimed(500).await;
    let mut failing = Vec::new();
    for number in ["failed", "meanwhile"] {
        let event = db.event_of(id, number).await;
        failing.extend(orders.iter().copied().filter(|order| order.event_id == event));
    }
    db.fail_orders(&failing, Verdict::GiveUp).await;
    db.disconnected("meanwhile").await;
    db.command(id, Command::Retry).await;
    let again = db.claimed(500).await;
    let failed = db.event_of(id, "failed").await;
    let failing: Vec<_> = again.iter().copied().filter(|order| order.event_id == failed).collect();
    db.fail_orders(&failing, Verdict::GiveUp).await;
    db.disconnect(&orders).await;
    db.disconnect(&again).await;
    let reconciliation = db.reconciliation(id).await;
    assert!(!reconciliation.adds_up);
    let differences: Vec<_> =
        reconciliation.differences.iter().map(|it| (it.why.as_str(), it.accounts, it.amount.minor)).collect();
    assert_eq!(
        differences,
        [
            ("cancelled", 1, -1_000),
            ("disconnected by somebody else meanwhile", 1, -1_000),
            ("failed", 1, -1_000),
            ("its debits changed between the start and its disconnect", 1, 75),
            ("no longer eligible when its turn came", 1, -1_000),
        ]
    );
    // To the minor unit.
    let sum = |sums: &[disconnectd::domain::money::Money]| sums.iter().map(|sum| sum.minor).sum::<i64>();
    let difference: i64 = differences.iter().map(|(.., amount)| amount).sum();
    assert_eq!(sum(&reconciliation.dry_run) + difference, sum(&reconciliation.invoiced));
    db.is_counted_alike(id).await;
}

async fn while_it_runs_what_is_to_come_is_the_difference(db: &TestDatabase) {
    db.accounts(["A-1", "A-2", "A-3"].map(account)).await;
    db.debits(["A-1", "A-2", "A-3"].map(|number| debit(number, "d", "10.00"))).await;
    let id = db.started(["A-1", "A-2", "A-3"]).await;
    db.disconnect(&db.claimed(1).await).await;
    db.claimed(1).await;
    let reconciliation = db.reconciliation(id).await;
    let differences: Vec<_> =
        reconciliation.differences.iter().map(|it| (it.why.as_str(), it.accounts, it.amount.minor)).collect();
    assert_eq!(differences, [("still to come", 2, -2_000)]);
    db.is_counted_alike(id).await;
}

async fn before_the_start_everybody_waits(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let id = db.drafted(["A-1", "ghost"]).await;
    let report = db.report(id).await;
    assert_eq!(
        report.iter().map(shown).collect::<Vec<_>>(),
        [("A-1", MemberOutcome::Waiting), ("ghost", MemberOutcome::Waiting)]
    );
    assert_eq!(db.reconciliation(id).await.dry_run, []);
    db.is_counted_alike(id).await;
}

async fn a_long_report_comes_in_chunks_and_ends_when_nobody_listens(db: &TestDatabase) {
    db.many_accounts("A-", 3_000).await;
    let numbers: Vec<_> = (1..=3_000).rev().map(|n| format!("A-{n}")).collect();
    let id = db.made(&draft("x"), list(&numbers)).await.id;
    let report = db.report(id).await;
    assert_eq!(report.iter().map(|row| row.account_number.as_str()).collect::<Vec<_>>(), numbers);
    let (sender, mut chunks) = tokio::sync::mpsc::channel::<Vec<ReportRow>>(1);
    let listens = async {
        assert!(chunks.recv().await.is_some_and(|chunk| chunk.len() < 3_000));
        drop(chunks);
    };
    let (reported, ()) = tokio::join!(db.store.report(id, sender), listens);
    reported.unwrap();
}

async fn the_report_and_the_counts_say_the_same(db: &TestDatabase) {
    let numbers = numbered("A", 12);
    db.accounts(numbers.iter().map(|number| account(number))).await;
    db.debits(numbers.iter().step_by(3).map(|number| debit(number, "d", "1.00"))).await;
    let id = db.started(&numbers).await;
    db.is_counted_alike(id).await;
    let orders = db.claimed(6).await;
    db.disconnect(&orders[..3]).await;
    db.fail_orders(&orders[3..4], Verdict::GiveUp).await;
    db.is_counted_alike(id).await;
    db.abort(id).await;
    db.upkeep().await;
    db.is_counted_alike(id).await;
    let reconciliation = db.reconciliation(id).await;
    assert!(reconciliation.sentence().contains("cancelled"), "{}", reconciliation.sentence());
}
