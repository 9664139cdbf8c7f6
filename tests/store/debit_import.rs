//! Importing debits: by account and reference, all or nothing, never for a disconnected account.

use disconnectd::domain::import::{ImportReport, Problem};

use crate::support::both_engines;
use crate::support::database::TestDatabase;
use crate::support::rows::{Debit, Row as _, account, channel, debit, file};
use crate::support::scenario::{clerk, import_options};

both_engines!(
    debits_are_written_in_the_currency_of_their_account,
    importing_the_same_debits_again_changes_nothing,
    an_uninvoiced_debit_is_corrected_by_its_reference,
    an_import_of_debits_is_all_or_nothing,
    a_dry_run_of_debits_writes_nothing,
    a_reference_that_stands_twice_is_reported,
    rule_3_a_later_debit_is_refused,
    rule_3_a_repeated_row_of_a_disconnected_account_asks_for_nothing,
    rule_10_an_invoiced_debit_is_not_touched,
    many_chunks_of_debits_are_one_import,
);

impl TestDatabase {
    async fn refused_debits(&self, rows: impl IntoIterator<Item = Debit>) -> Vec<(u64, &'static str)> {
        let before = self.dump().await;
        let report = self.import_debits(rows).await;
        assert!(!report.applied, "{report:?}");
        assert_eq!(self.dump().await, before);
        report.problems.iter().map(|problem| (problem.line, problem.column)).collect()
    }
}

fn counts(report: &ImportReport) -> (u64, u64, u64, u64, bool) {
    (report.rows, report.created, report.updated, report.unchanged, report.applied)
}

async fn debits_are_written_in_the_currency_of_their_account(db: &TestDatabase) {
    db.accounts([account("usd"), account("yen").currency("JPY"), account("kwd").currency("KWD")]).await;
    let report = db
        .import_debits([
            debit("usd", "d", "12.5").tax("0.05"),
            debit("yen", "d", "1250"),
            debit("kwd", "d", "1.005"),
            debit("usd", "e", "0"),
        ])
        .await;
    assert_eq!(counts(&report), (4, 4, 0, 0, true));
    let uninvoiced = async |number| db.account(number).await.uninvoiced.to_string();
    assert_eq!(uninvoiced("usd").await, "12.55 USD");
    assert_eq!(uninvoiced("yen").await, "1,250 JPY");
    assert_eq!(uninvoiced("kwd").await, "1.005 KWD");
}

async fn importing_the_same_debits_again_changes_nothing(db: &TestDatabase) {
    db.accounts([account("A-1"), account("A-2")]).await;
    let rows = || [debit("A-1", "d", "12.5").tax("1"), debit("A-2", "d", "12.50"), debit("A-1", "e", "3")];
    db.debits(rows()).await;
    let before = db.dump().await;
    assert_eq!(counts(&db.import_debits(rows()).await), (3, 0, 0, 3, true));
    assert_eq!(db.dump().await, before);
}

async fn an_uninvoiced_debit_is_corrected_by_its_reference(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    db.debits([debit("A-1", "d", "10.00"), debit("A-1", "e", "1.00")]).await;
    let report = db.import_debits([debit("A-1", "d", "20.00").on("2026-10-01"), debit("A-1", "e", "1.00")]).await;
    assert_eq!(counts(&report), (2, 0, 1, 1, true));
    assert_eq!(db.account("A-1").await.uninvoiced.minor, 2_100);
    assert_eq!(db.count("debits").await, 2);
}

async fn an_import_of_debits_is_all_or_nothing(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    db.debits([debit("A-1", "old", "5.00")]).await;
    let huge = "92233720368547758.07";
    let problems = db
        .refused_debits([
            debit("A-1", "new", "1.00"),
            debit("A-1", "old", "6.00"),
            debit("nobody", "d", "1.00"),
            debit("A-1", "decimals", "1.001"),
            debit("A-1", "tax", "1.00").tax("-1"),
            debit("A-1", "sum", huge).tax(huge),
        ])
        .await;
    assert_eq!(problems, [(4, "account_number"), (5, "amount"), (6, "tax"), (7, "amount")]);
    let before = db.dump().await;
    let unread = vec![Ok(debit("A-1", "new", "1.00").at_line(2)), Err(Problem::new(3, "charged_on", "no date"))];
    let report = db.store.import_debits(channel(unread), import_options(false)).await.unwrap();
    assert!(!report.applied && report.problems.len() == 1, "{report:?}");
    assert_eq!(db.dump().await, before);
}

async fn a_dry_run_of_debits_writes_nothing(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    db.debits([debit("A-1", "old", "5.00")]).await;
    let before = db.dump().await;
    let rows = || [debit("A-1", "new", "1.00"), debit("A-1", "old", "6.00")];
    let dry = db.store.import_debits(file(rows()), import_options(true)).await.unwrap();
    assert_eq!(counts(&dry), (2, 1, 1, 0, false));
    assert_eq!(db.dump().await, before);
    assert_eq!(counts(&db.import_debits(rows()).await), (2, 1, 1, 0, true));
}

async fn a_reference_that_stands_twice_is_reported(db: &TestDatabase) {
    db.accounts([account("A-1"), account("A-2")]).await;
    let problems =
        db.refused_debits([debit("A-1", "d", "1.00"), debit("A-2", "d", "1.00"), debit("A-1", "d", "1.00")]).await;
    assert_eq!(problems, [(4, "reference")]);
}

async fn rule_3_a_later_debit_is_refused(db: &TestDatabase) {
    db.accounts([account("A-1"), account("A-2")]).await;
    db.disconnected("A-1").await;
    let problems = db.refused_debits([debit("A-2", "d", "1.00"), debit("A-1", "d", "1.00")]).await;
    assert_eq!(problems, [(3, "account_number")]);
}

async fn rule_3_a_repeated_row_of_a_disconnected_account_asks_for_nothing(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    db.debits([debit("A-1", "d", "1.00")]).await;
    db.disconnected("A-1").await;
    let before = db.dump().await;
    assert_eq!(counts(&db.import_debits([debit("A-1", "d", "1.00")]).await), (1, 0, 0, 1, true));
    assert_eq!(db.dump().await, before);
}

async fn rule_10_an_invoiced_debit_is_not_touched(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    db.debits([debit("A-1", "d", "1.00")]).await;
    db.store.invoice_all(&clerk()).await.unwrap();
    let problems = db.refused_debits([debit("A-1", "d", "2.00")]).await;
    assert_eq!(problems, [(2, "reference")]);
    let report = db.import_debits([debit("A-1", "d", "1.00"), debit("A-1", "e", "3.00")]).await;
    assert_eq!(counts(&report), (2, 1, 0, 1, true));
}

async fn many_chunks_of_debits_are_one_import(db: &TestDatabase) {
    db.accounts((0..50).map(|n| account(&format!("N-{n}")))).await;
    let rows = || (0..2_500).map(|n| debit(&format!("N-{}", n % 50), &format!("d-{n}"), "1.00"));
    assert_eq!(counts(&db.import_debits(rows()).await), (2_500, 2_500, 0, 0, true));
    assert_eq!(counts(&db.import_debits(rows()).await), (2_500, 0, 0, 2_500, true));
    assert_eq!(db.account("N-7").await.uninvoiced.minor, 5_000);
    let problems = db.refused_debits(rows().chain([debit("N-0", "d-0", "1.00")])).await;
    assert_eq!(problems, [(2_502, "reference")]);
}
