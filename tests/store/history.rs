//! Rule 4: nothing is deleted and what was issued stays, also not by SQL. Rule 3 holds against SQL too.

use crate::support::both_engines;
use crate::support::database::{Engine, TestDatabase};
use crate::support::rows::{account, debit};

both_engines!(
    rule_4_no_row_of_the_history_is_deleted,
    rule_4_no_table_of_the_history_is_emptied_or_replaced,
    rule_4_what_was_issued_or_logged_is_not_changed,
    rule_4_an_account_keeps_its_keys_and_its_disconnect,
    rule_4_an_issued_invoice_gets_no_more_lines,
    rule_3_a_debit_or_address_for_a_disconnected_account_is_refused_by_the_database,
);

const KEPT: [&str; 6] = ["accounts", "invoices", "invoice_lines", "debits", "account_log", "address_assignments"];

impl TestDatabase {
    /// Something in every table of the history.
    async fn lived(&self) {
        self.accounts([account("A-1").address("1 Main St"), account("A-2").address("1 Main St")]).await;
        self.debits([debit("A-1", "d", "10.00"), debit("A-1", "e", "5.00"), debit("A-2", "d", "7.00")]).await;
        self.disconnected("A-1").await;
        for table in KEPT {
            assert!(self.count(table).await > 0, "{table}");
        }
    }

    async fn assert_refuses(&self, sql: &str) {
        let before = self.dump().await;
        let refused = self.refusal_of(sql).await;
        assert!(refused.contains("is refused"), "{sql}: {refused}");
        assert_eq!(self.dump().await, before, "{sql}");
    }
}

async fn rule_4_no_row_of_the_history_is_deleted(db: &TestDatabase) {
    db.lived().await;
    for table in KEPT {
        db.assert_refuses(&format!("delete from {table}")).await;
    }
    db.assert_refuses("delete from debits where invoice_id is null").await;
}

async fn rule_4_no_table_of_the_history_is_emptied_or_replaced(db: &TestDatabase) {
    db.lived().await;
    match db.engine() {
        Engine::Postgres => {
            for table in KEPT {
                db.assert_refuses(&format!("truncate {table} cascade")).await;
            }
            db.assert_refuses("truncate disconnect_events cascade").await;
        }
        Engine::Sqlite => {
            // Without recursive triggers, REPLACE deletes what is in its way and no delete trigger fires.
            for table in KEPT {
                db.assert_refuses(&format!("replace into {table} select * from {table}")).await;
                db.assert_refuses(&format!("insert or replace into {table} select * from {table} limit 1")).await;
            }
            // The same by a key other than the first one.
            db.assert_refuses(
                "replace into accounts (id, number, name, status_id, currency) values (99, 'A-1', 'x', 1, 'USD')",
            )
            .await;
            db.assert_refuses(
                "replace into debits (id, account_id, reference, description, amount, tax, charged_on) \
                 select 99, account_id, reference, 'x', 0, 0, charged_on from debits where invoice_id is null",
            )
            .await;
            db.assert_refuses("update or replace accounts set number = 'A-2' where number = 'A-1'").await;
            db.assert_refuses("update or replace accounts set id = 2 where id = 1").await;
            db.assert_refuses("update or replace debits set reference = 'other' where invoice_id is null").await;
            db.assert_refuses("update or replace debits set id = 1 where id = 3").await;
            db.assert_refuses("update or replace invoice_lines set position = 2 where position = 1").await;
        }
    }
}

async fn rule_4_what_was_issued_or_logged_is_not_changed(db: &TestDatabase) {
    db.lived().await;
    for change in [
        "update invoices set issued_at = issued_at",
        "update invoices set number = number + 100",
        "update invoice_lines set description = 'x'",
        "update account_log set message = 'x'",
        "update debits set amount = 1 where invoice_id is not null",
        "update debits set invoice_id = null where invoice_id is not null",
    ] {
        db.assert_refuses(change).await;
    }
    db.assert_refuses("update debits set reference = 'other' where invoice_id is null").await;
    db.assert_refuses("update debits set account_id = (select id from accounts where number = 'A-1')").await;
    assert_eq!(db.sql("update debits set description = 'corrected' where invoice_id is null").await, 1);
}

async fn rule_4_an_account_keeps_its_keys_and_its_disconnect(db: &TestDatabase) {
    db.lived().await;
    db.assert_refuses("update accounts set number = 'B-1' where number = 'A-2'").await;
    db.assert_refuses("update accounts set disconnected_at = null where number = 'A-1'").await;
    let later = db.instant(60);
    db.assert_refuses(&format!("update accounts set disconnected_at = {later} where number = 'A-1'")).await;
    assert_eq!(db.sql("update accounts set name = 'x'").await, 2);
}

async fn rule_4_an_issued_invoice_gets_no_more_lines(db: &TestDatabase) {
    db.lived().await;
    let lines = |invoices: &str| {
        format!(
            "insert into invoice_lines (invoice_id, position, debit_id, description, charged_on, amount, tax, total) \
             select i.id, d.id + 10, d.id, d.description, d.charged_on, d.amount, d.tax, d.amount + d.tax \
             from {invoices} i, debits d where d.invoice_id is null"
        )
    };
    db.assert_refuses(&lines("invoices")).await;
    // One that is issued by SQL takes its line of 7.00, and no other.
    let at = db.instant(0);
    let issue = |amount: i64| {
        format!(
            "insert into invoices (number, kind, account_id, currency, amount, tax, total, issued_at) \
             select {amount}, 'regular', id, 'USD', {amount}, 0, {amount}, {at} from accounts where number = 'A-2'"
        )
    };
    db.sql(&issue(700)).await;
    assert_eq!(db.sql(&lines("(select id from invoices where number = 700)")).await, 1);
    db.sql("update debits set invoice_id = (select id from invoices where number = 700) where invoice_id is null")
        .await;
    db.debits([debit("A-2", "later", "1.00")]).await;
    db.assert_refuses(&lines("(select id from invoices where number = 700)")).await;
}

async fn rule_3_a_debit_or_address_for_a_disconnected_account_is_refused_by_the_database(db: &TestDatabase) {
    db.lived().await;
    let before = db.dump().await;
    let debit = |account: &str| {
        format!(
            "insert into debits (account_id, reference, description, amount, tax, charged_on) \
             select id, 'later', 'x', 1, 0, '2026-12-01' from accounts where number like '{account}'"
        )
    };
    let assignment = "insert into address_assignments (account_id, address_id, assigned_from) \
                      select account_id, address_id, assigned_from from address_assignments \
                      where assigned_until is not null";
    for sql in [debit("A-1"), debit("A-%"), assignment.to_owned()] {
        let refused = db.refusal_of(&sql).await;
        assert!(refused.contains("disconnected"), "{sql}: {refused}");
    }
    assert_eq!(db.dump().await, before);
    assert_eq!(db.sql(&debit("A-2")).await, 1);
}
