//! Tokens: found by their hashes, revoked once, kept for ever.

use disconnectd::domain::actor::{Actor, Source};
use disconnectd::domain::refusal::Refusal;
use disconnectd::domain::token::{NewToken, Role, TokenId, TokenSecret, TokenView};
use disconnectd::store::{Page, StoreError};
use futures_util::future::join_all;

use crate::support::both_engines;
use crate::support::database::{Engine, TestDatabase};
use crate::support::scenario::{clerk, refusal};

both_engines!(
    a_token_is_found_by_its_hash_alone,
    the_token_itself_is_kept_nowhere,
    a_revoked_token_is_answered_as_revoked,
    a_token_is_revoked_once_and_the_first_stays,
    of_many_who_revoke_at_once_one_did,
    an_unknown_token_can_not_be_revoked,
    tokens_are_listed_newest_first_each_once,
    rule_4_a_token_is_not_deleted_or_replaced_by_sql,
    rule_4_a_token_stays_what_it_was_made,
    a_role_that_there_is_not_is_refused_by_the_database,
);

fn secret(n: u8) -> TokenSecret {
    TokenSecret::of([n; 32])
}

impl TestDatabase {
    async fn token(&self, n: u8, name: &str, role: Role) -> TokenView {
        let token = NewToken { name: name.into(), role, hash: secret(n).hash(), created_by: "root".into() };
        self.store.create_token(&token).await.unwrap()
    }

    async fn refuses(&self, sql: &str) {
        let before = self.dump().await;
        let refused = self.refusal_of(sql).await;
        assert!(refused.contains("of tokens is refused"), "{sql}: {refused}");
        assert_eq!(self.dump().await, before, "{sql}");
    }
}

async fn a_token_is_found_by_its_hash_alone(db: &TestDatabase) {
    let before = db.store.now().await.unwrap();
    for (n, role) in (1..).zip(Role::ALL) {
        let made = db.token(n, "Ada", role).await;
        assert_eq!((made.name.as_str(), made.role, made.created_by.as_str()), ("Ada", role, "root"));
        assert_eq!((made.revoked_at, &made.revoked_by), (None, &None));
        assert!(before <= made.created_at && made.created_at <= db.store.now().await.unwrap());
        assert_eq!(db.open().await.token(&secret(n).hash()).await.unwrap(), Some(made));
    }
    assert_eq!(db.store.token(&secret(9).hash()).await.unwrap(), None);
    let again = NewToken { name: "B".into(), role: Role::Viewer, hash: secret(1).hash(), created_by: "root".into() };
    let again = db.store.create_token(&again).await;
    assert!(matches!(again, Err(StoreError::Rejected(_))), "{again:?}");
}

async fn the_token_itself_is_kept_nowhere(db: &TestDatabase) {
    db.token(7, "Ada", Role::Admin).await;
    let text = format!("{:?}", db.dump().await).to_lowercase();
    let digits = |byte: &u8| [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap());
    let hex = |bytes: &[u8]| bytes.iter().flat_map(digits).collect::<String>();
    let token = secret(7);
    assert!(text.contains(&hex(&token.hash().0)), "the dump would show it");
    let body = token.expose().strip_prefix("dct_").unwrap();
    for form in [body.to_lowercase(), hex(body.as_bytes()), hex(&[7; 32])] {
        assert!(!text.contains(&form), "{form}");
    }
}

async fn a_revoked_token_is_answered_as_revoked(db: &TestDatabase) {
    let made = db.token(1, "Ada", Role::Operator).await;
    let other = db.token(2, "Ada", Role::Operator).await;
    let revoked = db.store.revoke_token(made.id, &clerk()).await.unwrap();
    assert_eq!(revoked.revoked_by.as_deref(), Some("clerk"));
    assert!(revoked.revoked_at.unwrap() >= made.created_at);
    assert_eq!(TokenView { revoked_at: None, revoked_by: None, ..revoked.clone() }, made);
    assert_eq!(db.store.token(&secret(1).hash()).await.unwrap(), Some(revoked));
    assert_eq!(db.store.token(&secret(2).hash()).await.unwrap(), Some(other), "its owner's other token is good");
}

async fn a_token_is_revoked_once_and_the_first_stays(db: &TestDatabase) {
    let made = db.token(1, "Ada", Role::Viewer).await;
    let first = db.store.revoke_token(made.id, &clerk()).await.unwrap();
    let again = db.store.revoke_token(made.id, &Actor::new("someone else", Source::Api)).await.unwrap();
    assert_eq!(again, first);
    assert_eq!(db.store.token(&secret(1).hash()).await.unwrap(), Some(first));
}

async fn of_many_who_revoke_at_once_one_did(db: &TestDatabase) {
    let stores = [db.open().await, db.open().await];
    for n in 0..10 {
        let made = db.token(n, "Ada", Role::Viewer).await;
        let revokes = (0..6).map(|by: usize| {
            let store = stores[by % 2].clone();
            tokio::spawn(async move { store.revoke_token(made.id, &Actor::new(by.to_string(), Source::Cli)).await })
        });
        let answers: Vec<_> = join_all(revokes).await.into_iter().map(|answer| answer.unwrap().unwrap()).collect();
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        assert_eq!(db.store.token(&secret(n).hash()).await.unwrap().as_ref(), answers.first());
    }
}

async fn an_unknown_token_can_not_be_revoked(db: &TestDatabase) {
    db.token(1, "Ada", Role::Viewer).await;
    let before = db.dump().await;
    let refused = refusal(db.store.revoke_token(TokenId(77), &clerk()).await);
    assert_eq!(refused, Refusal::UnknownToken { token: TokenId(77) });
    assert_eq!(db.dump().await, before);
}

async fn tokens_are_listed_newest_first_each_once(db: &TestDatabase) {
    assert_eq!(db.store.tokens(&Page::default()).await.unwrap().items, []);
    let mut made = Vec::new();
    for n in 0..5 {
        made.push(db.token(n, &format!("owner {n}"), Role::Viewer).await);
    }
    made[1] = db.store.revoke_token(made[1].id, &clerk()).await.unwrap();
    made.reverse();
    let mut listed = Vec::new();
    let mut page = Page { after: None, limit: 2 };
    for sizes in [2, 2, 1] {
        let part = db.store.tokens(&page).await.unwrap();
        assert_eq!(part.items.len(), sizes);
        listed.extend(part.items);
        page.after = part.next_cursor;
    }
    assert_eq!((listed, page.after), (made, None));
    let nonsense = db.store.tokens(&Page { after: Some("zzz".into()), limit: 2 }).await;
    assert!(matches!(nonsense, Err(StoreError::Rejected(_))), "{nonsense:?}");
}

async fn rule_4_a_token_is_not_deleted_or_replaced_by_sql(db: &TestDatabase) {
    db.token(1, "Ada", Role::Viewer).await;
    let revoked = db.token(2, "Bo", Role::Viewer).await;
    db.store.revoke_token(revoked.id, &clerk()).await.unwrap();
    db.refuses("delete from tokens").await;
    db.refuses("delete from tokens where revoked_at is not null").await;
    match db.engine() {
        Engine::Postgres => db.refuses("truncate tokens").await,
        Engine::Sqlite => {
            db.refuses("replace into tokens select * from tokens").await;
            // The same by a key other than the first one.
            db.refuses(
                "replace into tokens (id, name, role, hash, created_by) \
                 select 99, 'x', 'admin', hash, 'x' from tokens where id = 1",
            )
            .await;
            db.refuses("update or replace tokens set id = 2 where id = 1").await;
            db.refuses("update or replace tokens set hash = (select hash from tokens where id = 2) where id = 1").await;
        }
    }
}

async fn rule_4_a_token_stays_what_it_was_made(db: &TestDatabase) {
    let at = db.instant(60);
    db.token(1, "Ada", Role::Viewer).await;
    for change in ["role = 'admin'", "name = 'Bo'", "created_by = 'x'", &format!("created_at = {at}")] {
        db.refuses(&format!("update tokens set {change}")).await;
    }
    assert_eq!(db.sql(&format!("update tokens set revoked_at = {at}, revoked_by = 'x'")).await, 1);
    db.refuses("update tokens set revoked_at = null, revoked_by = null").await;
    db.refuses("update tokens set revoked_by = 'somebody else'").await;
}

async fn a_role_that_there_is_not_is_refused_by_the_database(db: &TestDatabase) {
    let hash = match db.engine() {
        Engine::Postgres => "sha256('x')",
        Engine::Sqlite => "zeroblob(32)",
    };
    let insert =
        |role: &str| format!("insert into tokens (name, role, hash, created_by) values ('Ada', '{role}', {hash}, 'x')");
    db.refusal_of(&insert("root")).await;
    for role in Role::ALL {
        db.token(role as u8, "Ada", role).await;
    }
    assert_eq!(db.sql(&insert("viewer")).await, 1);
}
