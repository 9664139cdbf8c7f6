//! What an account's own page shows: what an overview has, with the children in numbers.

use disconnectd::domain::family::ChildCounts;
use disconnectd::domain::glance::Glance;
use disconnectd::domain::overview::Overview;
use disconnectd::domain::refusal::Refusal;

use crate::support::both_engines;
use crate::support::database::TestDatabase;
use crate::support::rows::{account, debit, number};
use crate::support::scenario::refusal;

both_engines!(a_glance_is_an_overview_with_the_children_in_numbers, an_account_alone_has_nothing_around_it,);

async fn a_glance_is_an_overview_with_the_children_in_numbers(db: &TestDatabase) {
    db.accounts([
        account("P").email("p@example.com"),
        account("A").parent("P").address("1 Main St"),
        account("C-1").parent("A"),
        account("C-2").parent("A").email("c@example.com"),
        account("C-3").parent("A"),
        account("C-4").parent("A"),
        account("G").parent("C-1"),
    ])
    .await;
    db.debits([debit("A", "d", "10.00").tax("1.00")]).await;
    db.disconnected("C-3").await;
    let (open, _, _) = (db.scheduled("A").await, db.scheduled("C-2").await, db.scheduled("C-4").await);

    let glance = Glance::of(db.store.glance_facts(&number("A")).await.unwrap());

    let facts = db.store.overview_facts(&number("A")).await.unwrap();
    let overview = Overview::of(facts.clone(), facts.now);
    assert_eq!((&glance.account, glance.parent.as_ref()), (&overview.account, overview.parent.as_ref()));
    assert_eq!(glance.recipient, overview.invoice_recipient);
    assert_eq!(glance.final_invoice.map(|it| it.total), overview.final_invoice.map(|it| it.total));
    assert_eq!(glance.open_event.map(|it| (it.id, it.due_at)), overview.open_event.map(|it| (it.id, it.due_at)));
    assert_eq!(facts.open_event.unwrap().id, open);
    let counts = ChildCounts { all: 4, connected: 3, without_contact: 2, with_open_event: 2 };
    assert_eq!(glance.children, counts, "who is below the children is not counted");
}

async fn an_account_alone_has_nothing_around_it(db: &TestDatabase) {
    db.accounts([account("A").zone("Asia/Tokyo")]).await;
    let glance = Glance::of(db.store.glance_facts(&number("A")).await.unwrap());
    assert_eq!((glance.parent, glance.open_event, glance.children), (None, None, ChildCounts::default()));
    assert!(glance.final_invoice.is_none() && glance.recipient.is_none());
    assert_eq!(glance.zone.name(), "Asia/Tokyo");
    let nobody = number("nobody");
    assert_eq!(refusal(db.store.glance_facts(&nobody).await), Refusal::UnknownAccount { number: nobody.clone() });
}
