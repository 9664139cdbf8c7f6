//! Groups: which labels accounts bear, and how many do.

use disconnectd::store::Page;

use crate::support::both_engines;
use crate::support::database::TestDatabase;
use crate::support::rows::account;

both_engines!(groups_are_listed_by_name_with_how_many_accounts_are_in_them, groups_are_paged_each_once,);

impl TestDatabase {
    async fn groups(&self, limit: u32) -> Vec<(String, i64)> {
        let (mut groups, mut page) = (Vec::new(), Page { after: None, limit });
        loop {
            let part = self.store.groups(&page).await.unwrap();
            groups.extend(part.items.into_iter().map(|group| (group.name, group.accounts)));
            page.after = part.next_cursor;
            if page.after.is_none() {
                return groups;
            }
        }
    }
}

async fn groups_are_listed_by_name_with_how_many_accounts_are_in_them(db: &TestDatabase) {
    assert!(db.groups(10).await.is_empty());
    db.accounts([
        account("A-1").groups(&["tower-3", "fiber"]),
        account("A-2").groups(&["tower-3"]),
        account("A-3").groups(&["Tower"]),
        account("A-4"),
        account("A-5").groups(&["left"]),
    ])
    .await;
    // A label that nobody bears any more.
    db.accounts([account("A-5").groups(&["fiber"])]).await;
    let listed = [("Tower".into(), 1), ("fiber".into(), 2), ("tower-3".into(), 2)];
    assert_eq!(db.groups(10).await, listed);
}

async fn groups_are_paged_each_once(db: &TestDatabase) {
    let names = ["a", "a b", "b", "\u{e4}", "z"];
    db.accounts(names.map(|name| account(name).groups(&[name]))).await;
    for limit in [1, 2, 5] {
        let listed = db.groups(limit).await;
        let mut expected: Vec<_> = names.map(|name| (name.to_owned(), 1)).into();
        expected.sort();
        assert_eq!(listed, expected, "{limit} at a time");
    }
}
