//! Importing accounts: an upsert, all or nothing, that is never a way around the rules.

use disconnectd::domain::account::LogKind;
use disconnectd::domain::import::{ImportReport, LISTED_MAX, Problem};

use crate::support::both_engines;
use crate::support::database::TestDatabase;
use crate::support::rows::{Account, Row as _, account, channel, debit, file, number};
use crate::support::scenario::{clerk, import_options};

both_engines!(
    a_new_account_is_written_whole,
    importing_the_same_file_again_changes_nothing,
    an_account_is_updated_by_its_number_and_the_log_says_how,
    an_address_that_changes_leaves_its_history,
    an_import_is_all_or_nothing,
    a_line_that_could_not_be_read_stops_the_import_and_the_rest_is_looked_at,
    a_dry_run_writes_nothing_and_reports_the_same,
    a_number_that_stands_twice_is_reported_with_its_first_line,
    an_unknown_status_or_parent_is_reported,
    a_parent_may_come_later_in_the_file,
    a_file_cannot_make_a_cycle_of_parents,
    a_file_may_turn_a_family_upside_down,
    rule_10_a_disconnected_account_keeps_its_status_address_and_parent,
    rule_10_the_row_from_before_the_disconnect_is_left_alone_with_a_note,
    rule_10_no_account_is_put_under_a_disconnected_parent,
    rule_10_an_unlinked_child_is_not_linked_again,
    rule_10_the_currency_of_an_account_with_debits_does_not_change,
    a_file_of_many_chunks_is_one_import,
    a_report_lists_so_many_problems_and_counts_the_rest,
    progress_is_told_and_an_empty_file_is_fine,
);

/// Line, column and a part of the message.
#[track_caller]
fn assert_problems(report: &ImportReport, expected: &[(u64, &str, &str)]) {
    assert_said(&report.problems, expected);
    assert!(!report.applied, "{report:?}");
}

#[track_caller]
fn assert_said(said: &[Problem], expected: &[(u64, &str, &str)]) {
    let mut said: Vec<_> = said.iter().collect();
    said.sort_by_key(|problem| (problem.line, problem.column));
    let places: Vec<_> = said.iter().map(|problem| (problem.line, problem.column)).collect();
    assert_eq!(places, expected.iter().map(|(line, column, _)| (*line, *column)).collect::<Vec<_>>(), "{said:#?}");
    for (problem, (_, _, part)) in said.iter().zip(expected) {
        assert!(problem.message.contains(part), "{problem:?} does not say `{part}`");
    }
}

fn counts(report: &ImportReport) -> (u64, u64, u64, u64) {
    (report.rows, report.created, report.updated, report.unchanged)
}

impl TestDatabase {
    /// Imports what must be reported, and holds that nothing of it was written.
    async fn refused_accounts(&self, rows: impl IntoIterator<Item = Account>) -> ImportReport {
        let before = self.dump().await;
        let report = self.import_accounts(rows).await;
        assert!(!report.problems.is_empty() && !report.applied, "{report:?}");
        assert_eq!(self.dump().await, before);
        report
    }
}

async fn a_new_account_is_written_whole(db: &TestDatabase) {
    let row = account("A-1")
        .name("Ana Ámbár 🏠")
        .status("Lead")
        .currency("EUR")
        .zone("Europe/Berlin")
        .address("1 Main St")
        .email("ana@example.com")
        .groups(&["north", "tower 7"]);
    let report = db.import_accounts([account("P"), row.parent("P")]).await;
    assert_eq!((counts(&report), report.applied), ((2, 2, 0, 0), true));
    let view = db.account("A-1").await;
    assert_eq!((view.name.as_str(), view.status.as_str()), ("Ana Ámbár 🏠", "Lead"));
    assert_eq!((view.currency.code(), view.zone), ("EUR", Some(chrono_tz::Europe::Berlin)));
    assert_eq!((view.address.as_deref(), view.contact.email.as_deref()), (Some("1 Main St"), Some("ana@example.com")));
    assert_eq!(view.groups, ["north", "tower 7"]);
    assert_eq!((view.parent_number, view.children), (Some(number("P")), 0));
    assert_eq!((view.disconnected_at, view.open_event, view.uninvoiced.minor), (None, None, 0));
    let parent = db.account("P").await;
    assert_eq!((parent.children, parent.currency.code(), parent.zone), (1, "USD", None));
    assert_eq!((parent.address, parent.groups.len()), (None, 0));
    let log = db.log("A-1").await;
    assert_eq!((log.len(), log[0].kind), (1, LogKind::Created));
    assert_eq!((log[0].actor.as_str(), log[0].source.as_str()), ("clerk", "import"));
}

async fn importing_the_same_file_again_changes_nothing(db: &TestDatabase) {
    let rows = || {
        [
            account("C").parent("P").address("1 Main St").groups(&["a", "b"]),
            account("P").email("p@example.com").zone("UTC").currency("JPY"),
            account("L").status("Lead"),
        ]
    };
    db.accounts(rows()).await;
    let before = db.dump().await;
    let report = db.import_accounts(rows()).await;
    assert_eq!((counts(&report), report.applied), ((3, 0, 0, 3), true));
    assert_eq!(db.dump().await, before);
}

async fn an_account_is_updated_by_its_number_and_the_log_says_how(db: &TestDatabase) {
    db.accounts([account("P"), account("A-1").email("old@example.com").groups(&["a", "b"]).parent("P")]).await;
    let row = account("A-1").name("New").status("Inactive").currency("EUR").email("new@example.com");
    let report = db.import_accounts([row.groups(&["b", "c"])]).await;
    assert_eq!((counts(&report), report.applied), ((1, 0, 1, 0), true));
    let view = db.account("A-1").await;
    assert_eq!((view.name.as_str(), view.status.as_str(), view.currency.code()), ("New", "Inactive", "EUR"));
    assert_eq!((view.contact.email.as_deref(), view.parent_number), (Some("new@example.com"), None));
    assert_eq!(view.groups, ["b", "c"]);
    assert_eq!(view.disconnected_at, None, "a status is not a disconnect");
    let entry = db.log("A-1").await.pop().unwrap();
    assert_eq!(entry.kind, LogKind::Changed);
    for part in ["name Customer A-1 -> New", "status Active -> Inactive", "parent P -> none", "groups a;b -> b;c"] {
        assert!(entry.message.contains(part), "{}", entry.message);
    }
}

async fn an_address_that_changes_leaves_its_history(db: &TestDatabase) {
    for address in ["1 Main St", "2 Side St", "1 Main St"] {
        db.accounts([account("A-1").address(address)]).await;
        assert_eq!(db.account("A-1").await.address.as_deref(), Some(address));
    }
    db.accounts([account("A-1")]).await;
    assert_eq!(db.account("A-1").await.address, None);
    assert_eq!(db.number("select count(*) from address_assignments where assigned_until is not null").await, 3);
    assert_eq!(db.count("serviceable_addresses").await, 2);
}

async fn an_import_is_all_or_nothing(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let report = db
        .refused_accounts([
            account("new").address("1 Main St"),
            account("A-1").name("Other"),
            account("bad").status("Gone"),
        ])
        .await;
    assert_problems(&report, &[(4, "status", "Gone")]);
    assert_eq!(report.rows, 3);
    // So it is when the database has something against a row.
    db.sabotage("accounts", "bad").await;
    let before = db.dump().await;
    let rows = file([account("new"), account("bad")]);
    let refused = db.store.import_accounts(rows, import_options(false)).await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(db.dump().await, before);
}

async fn a_line_that_could_not_be_read_stops_the_import_and_the_rest_is_looked_at(db: &TestDatabase) {
    let before = db.dump().await;
    let rows = channel(vec![
        Ok(account("good").at_line(2)),
        Err(Problem::new(3, "zone", "`Mars` is not a zone")),
        Ok(account("bad").status("Gone").at_line(4)),
    ]);
    let report = db.store.import_accounts(rows, import_options(false)).await.unwrap();
    assert_problems(&report, &[(3, "zone", "Mars"), (4, "status", "Gone")]);
    assert_eq!(db.dump().await, before);
}

async fn a_dry_run_writes_nothing_and_reports_the_same(db: &TestDatabase) {
    db.accounts([account("A-1"), account("A-2")]).await;
    let rows =
        || [account("A-1").name("New"), account("A-2"), account("A-3").parent("A-4"), account("A-4").groups(&["g"])];
    let before = db.dump().await;
    let dry = db.store.import_accounts(file(rows()), import_options(true)).await.unwrap();
    assert_eq!(db.dump().await, before);
    assert_eq!((counts(&dry), dry.applied), ((4, 2, 1, 1), false));
    let cycle = [account("A-3").parent("A-4"), account("A-4").parent("A-3")];
    let dry_cycle = db.store.import_accounts(file(cycle), import_options(true)).await.unwrap();
    assert!(!dry_cycle.problems.is_empty(), "parents are looked at too");
    assert_eq!(db.dump().await, before);
    let report = db.import_accounts(rows()).await;
    assert_eq!(ImportReport { applied: false, ..report }, dry);
}

async fn a_number_that_stands_twice_is_reported_with_its_first_line(db: &TestDatabase) {
    db.accounts([account("old")]).await;
    let report = db.refused_accounts([account("A-1"), account("old"), account("A-1"), account("old")]).await;
    assert_problems(&report, &[(4, "number", "line 2"), (5, "number", "line 3")]);
}

async fn an_unknown_status_or_parent_is_reported(db: &TestDatabase) {
    let report =
        db.refused_accounts([account("A-1").status("Gone").parent("A-1"), account("A-2").parent("nobody")]).await;
    assert_problems(
        &report,
        &[(2, "parent_number", "its own parent"), (2, "status", "Gone"), (3, "parent_number", "nobody")],
    );
}

async fn a_parent_may_come_later_in_the_file(db: &TestDatabase) {
    db.accounts([account("G").parent("C"), account("C").parent("P"), account("P")]).await;
    assert_eq!(db.account("G").await.parent_number, Some(number("C")));
    assert_eq!(db.account("C").await.parent_number, Some(number("P")));
}

async fn a_file_cannot_make_a_cycle_of_parents(db: &TestDatabase) {
    db.accounts([account("P"), account("C").parent("P"), account("G").parent("C")]).await;
    let two = db.refused_accounts([account("X").parent("Y"), account("Y").parent("X")]).await;
    assert!(two.problems.iter().all(|p| p.column == "parent_number" && p.message.contains("ancestor")), "{two:?}");
    // One new edge closes a cycle with those that are there.
    let with_old = db.refused_accounts([account("other"), account("P").parent("G")]).await;
    assert_problems(&with_old, &[(3, "parent_number", "its own ancestor")]);
    // Twenty in a ring, and a tail that only hangs on it.
    let ring = |n: u32| account(&format!("R-{n}")).parent(&format!("R-{}", (n + 1) % 20));
    let report = db.refused_accounts((0..20).map(ring).chain([account("tail").parent("R-3")])).await;
    assert!(report.problems.iter().any(|problem| problem.message.contains("ancestor")), "{report:?}");
    let own = db.refused_accounts([account("S").parent("S")]).await;
    assert_problems(&own, &[(2, "parent_number", "its own parent")]);
}

async fn a_file_may_turn_a_family_upside_down(db: &TestDatabase) {
    db.accounts([account("P"), account("C").parent("P")]).await;
    db.accounts([account("P").parent("C"), account("C").email("c@example.com")]).await;
    assert_eq!(db.account("P").await.parent_number, Some(number("C")));
    assert_eq!(db.account("C").await.parent_number, None);
}

async fn rule_10_a_disconnected_account_keeps_its_status_address_and_parent(db: &TestDatabase) {
    db.accounts([account("P"), account("A-1").address("1 Main St")]).await;
    db.disconnected("A-1").await;
    let report = db.refused_accounts([account("A-1").status("Lead").address("2 Side St").parent("P")]).await;
    assert_problems(
        &report,
        &[(2, "address", "disconnected"), (2, "parent_number", "disconnected"), (2, "status", "disconnected")],
    );
    let report = db.import_accounts([account("A-1").status("Inactive").name("New name").email("a@example.com")]).await;
    assert!(report.applied, "what is not about the service may change: {report:?}");
    let view = db.account("A-1").await;
    assert_eq!((view.name.as_str(), view.status.as_str()), ("New name", "Inactive"));
}

async fn rule_10_the_row_from_before_the_disconnect_is_left_alone_with_a_note(db: &TestDatabase) {
    let row = || account("A-1").address("1 Main St");
    db.accounts([row()]).await;
    db.disconnected("A-1").await;
    let before = db.dump().await;
    let report = db.import_accounts([row()]).await;
    assert_eq!((counts(&report), report.applied), ((1, 0, 0, 1), true));
    assert_said(&report.notes, &[(2, "address", "left alone"), (2, "status", "left alone")]);
    assert_eq!(db.dump().await, before);
}

async fn rule_10_no_account_is_put_under_a_disconnected_parent(db: &TestDatabase) {
    db.accounts([account("P"), account("C").parent("P"), account("A-1")]).await;
    db.disconnected("P").await;
    let report = db.refused_accounts([account("A-1").parent("P"), account("new").parent("P")]).await;
    assert_problems(&report, &[(2, "parent_number", "P is disconnected"), (3, "parent_number", "P is disconnected")]);
    let report = db.import_accounts([account("C").parent("P")]).await;
    assert!(report.applied, "where it is, it may stay: {report:?}");
}

async fn rule_10_an_unlinked_child_is_not_linked_again(db: &TestDatabase) {
    let child = || account("C").email("c@example.com");
    db.accounts([account("P"), account("Q"), child().parent("P")]).await;
    db.store.unlink(&number("C"), &clerk()).await.unwrap();
    let before = db.dump().await;
    let report = db.import_accounts([child().parent("P")]).await;
    assert!(report.applied, "{report:?}");
    assert_said(&report.notes, &[(2, "parent_number", "was unlinked from P")]);
    assert_eq!(db.dump().await, before);
    let report = db.refused_accounts([child().parent("Q")]).await;
    assert_problems(&report, &[(2, "parent_number", "was unlinked from P by a person")]);
    // A person may.
    db.store.link(&number("C"), &number("Q"), &clerk()).await.unwrap();
    let report = db.import_accounts([child().parent("P")]).await;
    assert_said(&report.notes, &[(2, "parent_number", "was unlinked from P")]);
    assert_eq!(db.account("C").await.parent_number, Some(number("Q")));
    db.store.link(&number("C"), &number("P"), &clerk()).await.unwrap();
    let report = db.import_accounts([child().parent("Q")]).await;
    assert!(report.applied, "it is linked to that parent again, so the file counts again: {report:?}");
    assert_eq!(db.account("C").await.parent_number, Some(number("Q")));
}

async fn rule_10_the_currency_of_an_account_with_debits_does_not_change(db: &TestDatabase) {
    db.accounts([account("A-1"), account("A-2")]).await;
    db.debits([debit("A-1", "d", "1.00")]).await;
    let report = db.refused_accounts([account("A-1").currency("JPY"), account("A-2").currency("JPY")]).await;
    assert_problems(&report, &[(2, "currency", "has debits in USD")]);
}

async fn a_file_of_many_chunks_is_one_import(db: &TestDatabase) {
    let rows = || {
        (0..2_500).map(|n| {
            let row = account(&format!("N-{n}")).address(&format!("{} Main St", n / 3)).groups(&["all"]);
            // The parent of most stands in another chunk.
            if n % 7 == 0 { row } else { row.parent(&format!("N-{}", (n * 7) % 2_100 / 7 * 7)) }
        })
    };
    let report = db.import_accounts(rows()).await;
    assert_eq!((counts(&report), report.applied), ((2_500, 2_500, 0, 0), true), "{:?}", report.problems.first());
    let report = db.import_accounts(rows()).await;
    assert_eq!(counts(&report), (2_500, 0, 0, 2_500));
    let duplicate = db.refused_accounts(rows().chain([account("N-7")])).await;
    assert_problems(&duplicate, &[(2_502, "number", "line 9")]);
}

async fn a_report_lists_so_many_problems_and_counts_the_rest(db: &TestDatabase) {
    let lines = LISTED_MAX + 5;
    let broken = (0..lines).map(|n| Err(Problem::new(n as u64 + 2, "zone", "no zone"))).collect();
    let report = db.store.import_accounts(channel(broken), import_options(false)).await.unwrap();
    assert_eq!((report.problems.len(), report.problems_not_listed), (LISTED_MAX, 5));
    assert!(!report.applied);
}

async fn progress_is_told_and_an_empty_file_is_fine(db: &TestDatabase) {
    let told = std::sync::Mutex::new(Vec::new());
    let progress = |rows| told.lock().unwrap().push(rows);
    let options = disconnectd::store::ImportOptions { progress: &progress, ..import_options(false) };
    let rows = (0..2_100).map(|n| account(&format!("N-{n}")));
    db.store.import_accounts(file(rows), options).await.unwrap();
    let told = told.into_inner().unwrap();
    assert!(told.is_sorted() && told.last().is_some_and(|&last| last <= 2_100), "{told:?}");
    let report = db.import_accounts([]).await;
    assert_eq!((counts(&report), report.applied), ((0, 0, 0, 0), true));
}
