//! Invoices: numbered, with lines, regular and final.

use disconnectd::domain::account::LogKind;
use disconnectd::domain::invoice::{InvoiceKind, InvoiceNumber};
use disconnectd::domain::refusal::Refusal;
use disconnectd::store::Page;

use crate::support::both_engines;
use crate::support::database::TestDatabase;
use crate::support::rows::{account, debit, number};
use crate::support::scenario::{clerk, refusal};

both_engines!(
    a_regular_invoice_takes_all_that_is_uninvoiced_of_each_account,
    a_disconnect_after_it_invoices_only_what_came_later,
    invoice_numbers_are_unique_and_rise,
    an_unknown_invoice_is_refused,
);

async fn a_regular_invoice_takes_all_that_is_uninvoiced_of_each_account(db: &TestDatabase) {
    db.accounts([account("A-1"), account("A-2"), account("A-3").currency("JPY")]).await;
    db.debits([debit("A-1", "d", "1.00").tax("0.10"), debit("A-1", "e", "2.00"), debit("A-3", "d", "300")]).await;
    assert_eq!(db.store.invoice_all(&clerk()).await.unwrap(), 2);
    assert_eq!(db.store.invoice_all(&clerk()).await.unwrap(), 0, "there is nothing left to invoice");
    let all = db.store.invoices(None, &Page::default()).await.unwrap().items;
    let mut totals: Vec<_> =
        all.iter().map(|invoice| (invoice.account_number.as_str(), invoice.total.to_string())).collect();
    totals.sort_unstable();
    assert_eq!(totals, [("A-1", "3.10 USD".to_owned()), ("A-3", "300 JPY".to_owned())]);
    assert!(all.iter().all(|i| i.kind == InvoiceKind::Regular && i.event_id.is_none() && i.lines.is_empty()));
    let of_one = db.store.invoices(Some(&number("A-1")), &Page::default()).await.unwrap().items;
    let whole = db.store.invoice(of_one[0].number).await.unwrap();
    assert_eq!((of_one.len(), whole.lines.len(), whole.tax.minor), (1, 2, 10));
    assert_eq!(db.logged("A-1").await, [LogKind::Created, LogKind::Invoiced]);
    assert_eq!(db.account("A-1").await.uninvoiced.minor, 0);
}

async fn a_disconnect_after_it_invoices_only_what_came_later(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    db.debits([debit("A-1", "d", "1.00")]).await;
    db.store.invoice_all(&clerk()).await.unwrap();
    db.debits([debit("A-1", "e", "2.00")]).await;
    let event = db.disconnected("A-1").await;
    assert_eq!(db.event(event).await.final_invoice.unwrap().total.minor, 200);
    let newest_first = db.store.invoices(Some(&number("A-1")), &Page::default()).await.unwrap().items;
    let kinds: Vec<_> = newest_first.iter().map(|invoice| invoice.kind).collect();
    assert_eq!(kinds, [InvoiceKind::Final, InvoiceKind::Regular]);
    assert_eq!(db.store.invoice_all(&clerk()).await.unwrap(), 0);
}

async fn invoice_numbers_are_unique_and_rise(db: &TestDatabase) {
    db.accounts(["A-1", "A-2", "A-3"].map(account)).await;
    let mut last = 0;
    for account in ["A-1", "A-2", "A-3"] {
        db.debits([debit(account, "d", "1.00")]).await;
        let event = db.disconnected(account).await;
        let InvoiceNumber(number) = db.event(event).await.final_invoice.unwrap().number;
        assert!(number > last);
        last = number;
    }
}

async fn an_unknown_invoice_is_refused(db: &TestDatabase) {
    let refused = refusal(db.store.invoice(InvoiceNumber(404)).await);
    assert_eq!(refused, Refusal::UnknownInvoice { number: "404".into() });
    let refused = refusal(db.store.invoices(Some(&number("nobody")), &Page::default()).await);
    assert_eq!(refused, Refusal::UnknownAccount { number: number("nobody") });
}
