//! Links and unlinks: a person's choice, never a cycle.

use disconnectd::domain::account::{ContactChange, LogKind};
use disconnectd::domain::refusal::Refusal;

use crate::support::both_engines;
use crate::support::database::TestDatabase;
use crate::support::rows::{account, number};
use crate::support::scenario::{clerk, refusal};

both_engines!(
    a_child_is_linked_and_linked_elsewhere,
    a_link_that_is_there_already_is_not_written_again,
    a_link_never_makes_a_cycle,
    a_disconnected_account_is_neither_linked_nor_linked_to,
    an_unlink_remembers_the_parent,
    an_unlink_is_remembered_until_the_child_is_linked_to_that_parent_again,
    a_child_is_unlinked_only_with_a_contact_of_its_own,
    an_unlink_needs_a_parent_and_a_served_child,
    a_link_of_unknown_accounts_is_refused,
    a_contact_is_changed_in_the_parts_that_are_given,
    two_people_who_change_a_contact_at_once_lose_nothing,
);

impl TestDatabase {
    async fn link(&self, child: &str, parent: &str) {
        let view = self.store.link(&number(child), &number(parent), &clerk()).await.unwrap();
        assert_eq!(view.parent_number, Some(number(parent)));
    }

    async fn refused_link(&self, child: &str, parent: &str) -> Refusal {
        let before = self.dump().await;
        let refusal = refusal(self.store.link(&number(child), &number(parent), &clerk()).await);
        assert_eq!(self.dump().await, before);
        refusal
    }

    async fn refused_unlink(&self, child: &str) -> Refusal {
        let before = self.dump().await;
        let refusal = refusal(self.store.unlink(&number(child), &clerk()).await);
        assert_eq!(self.dump().await, before);
        refusal
    }
}

async fn a_child_is_linked_and_linked_elsewhere(db: &TestDatabase) {
    db.accounts(["P", "Q", "C"].map(account)).await;
    db.link("C", "P").await;
    assert_eq!(db.account("P").await.children, 1);
    let entry = db.log("C").await.pop().unwrap();
    assert_eq!((entry.kind, entry.actor.as_str(), entry.source.as_str()), (LogKind::Linked, "clerk", "cli"));
    assert!(entry.message.contains('P'), "{}", entry.message);
    db.link("C", "Q").await;
    assert_eq!((db.account("P").await.children, db.account("Q").await.children), (0, 1));
}

async fn a_link_that_is_there_already_is_not_written_again(db: &TestDatabase) {
    db.accounts([account("P"), account("C").parent("P")]).await;
    let before = db.dump().await;
    db.link("C", "P").await;
    assert_eq!(db.dump().await, before);
}

async fn a_link_never_makes_a_cycle(db: &TestDatabase) {
    db.accounts([account("A-0")]).await;
    for n in 1..30 {
        db.accounts([account(&format!("A-{n}")).parent(&format!("A-{}", n - 1))]).await;
    }
    assert_eq!(db.refused_link("A-0", "A-0").await, Refusal::SelfLink { child: number("A-0") });
    for below in ["A-1", "A-2", "A-29"] {
        let cycle = Refusal::LinkCycle { child: number("A-0"), parent: number(below) };
        assert_eq!(db.refused_link("A-0", below).await, cycle);
    }
    db.link("A-29", "A-0").await;
    db.accounts([account("above")]).await;
    db.link("A-0", "above").await;
}

async fn a_disconnected_account_is_neither_linked_nor_linked_to(db: &TestDatabase) {
    db.accounts([account("gone"), account("A-1")]).await;
    db.disconnected("gone").await;
    for (child, parent) in [("A-1", "gone"), ("gone", "A-1")] {
        match db.refused_link(child, parent).await {
            Refusal::Disconnected { account, .. } => assert_eq!(account, number("gone")),
            other => panic!("{other}"),
        }
    }
}

async fn an_unlink_remembers_the_parent(db: &TestDatabase) {
    db.accounts([account("P"), account("C").parent("P").email("c@example.com")]).await;
    let view = db.store.unlink(&number("C"), &clerk()).await.unwrap();
    assert_eq!((view.number.as_str(), view.parent_number), ("C", None));
    assert_eq!(db.account("P").await.children, 0);
    let from = "select p.number from accounts c join accounts p on p.id = c.unlinked_from_id where c.number = 'C'";
    assert_eq!(db.texts(from).await, ["P"]);
    let entry = db.log("C").await.pop().unwrap();
    assert_eq!(entry.kind, LogKind::Unlinked);
    assert!(entry.message.contains('P'), "{}", entry.message);
}

async fn an_unlink_is_remembered_until_the_child_is_linked_to_that_parent_again(db: &TestDatabase) {
    db.accounts([account("P"), account("Q"), account("C").parent("P").email("c@example.com")]).await;
    db.store.unlink(&number("C"), &clerk()).await.unwrap();
    let remembered = "select count(*) from accounts where unlinked_from_id is not null";
    db.link("C", "Q").await;
    assert_eq!(db.number(remembered).await, 1, "another parent is no change of mind about the first");
    db.link("C", "P").await;
    assert_eq!(db.number(remembered).await, 0);
}

async fn a_child_is_unlinked_only_with_a_contact_of_its_own(db: &TestDatabase) {
    db.accounts([account("P").email("p@example.com"), account("C").parent("P")]).await;
    let refused = db.refused_unlink("C").await;
    assert_eq!(refused, Refusal::UnlinkWithoutContact { child: number("C"), parent: number("P") });
    let change = ContactChange { email: None, mailing_address: Some(Some("PO Box 1".into())) };
    db.store.change_contact(&number("C"), &change, &clerk()).await.unwrap();
    db.store.unlink(&number("C"), &clerk()).await.unwrap();
}

async fn an_unlink_needs_a_parent_and_a_served_child(db: &TestDatabase) {
    db.accounts([account("P"), account("C").parent("P").email("c@example.com")]).await;
    assert_eq!(db.refused_unlink("P").await, Refusal::NotLinked { child: number("P") });
    db.disconnected("C").await;
    assert!(matches!(db.refused_unlink("C").await, Refusal::Disconnected { .. }));
    assert_eq!(db.account("C").await.parent_number, Some(number("P")));
}

async fn a_link_of_unknown_accounts_is_refused(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let unknown = Refusal::UnknownAccount { number: number("nobody") };
    assert_eq!(db.refused_link("nobody", "A-1").await, unknown);
    assert_eq!(db.refused_link("A-1", "nobody").await, unknown);
    assert_eq!(db.refused_unlink("nobody").await, unknown);
    assert_eq!(refusal(db.store.change_contact(&number("nobody"), &ContactChange::default(), &clerk()).await), unknown);
}

async fn a_contact_is_changed_in_the_parts_that_are_given(db: &TestDatabase) {
    db.accounts([account("A-1").email("old@example.com")]).await;
    let box_one = ContactChange { email: None, mailing_address: Some(Some("PO Box 1".into())) };
    let view = db.store.change_contact(&number("A-1"), &box_one, &clerk()).await.unwrap();
    assert_eq!(view.contact.email.as_deref(), Some("old@example.com"), "what is not given stays");
    assert_eq!(view.contact.mailing_address.as_deref(), Some("PO Box 1"));
    assert_eq!(db.account("A-1").await, view);
    let entry = db.log("A-1").await.pop().unwrap();
    assert_eq!((entry.kind, entry.actor.as_str()), (LogKind::Changed, "clerk"));
    db.disconnected("A-1").await;
    let none = ContactChange { email: Some(None), mailing_address: None };
    let view = db.store.change_contact(&number("A-1"), &none, &clerk()).await.unwrap();
    assert_eq!(view.contact.email, None, "the final invoice may need another recipient after the disconnect");
}

async fn two_people_who_change_a_contact_at_once_lose_nothing(db: &TestDatabase) {
    for round in 0..20 {
        let name = format!("A-{round}");
        db.accounts([account(&name)]).await;
        let (number, by) = (number(&name), clerk());
        let email = ContactChange { email: Some(Some("a@example.com".into())), mailing_address: None };
        let mail = ContactChange { email: None, mailing_address: Some(Some("PO Box 1".into())) };
        let (one, other) =
            tokio::join!(db.store.change_contact(&number, &email, &by), db.store.change_contact(&number, &mail, &by));
        one.unwrap();
        other.unwrap();
        let contact = db.account(&name).await.contact;
        assert_eq!((contact.email.is_some(), contact.mailing_address.is_some()), (true, true), "{contact:?}");
    }
}
