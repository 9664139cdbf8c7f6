//! Users and their sessions: who is let in, how often somebody may try, and what ends a session.

use chrono::TimeDelta;
use disconnectd::domain::refusal::Refusal;
use disconnectd::domain::token::Role;
use disconnectd::domain::user::{
    Attempts, Ending, NewSession, NewUser, PasswordHash, Proof, SESSIONS_LISTED, SignInSecret, UserChange, UserView,
};
use disconnectd::store::Page;
use futures_util::future::join_all;

use crate::support::both_engines;
use crate::support::database::{Engine, TestDatabase};
use crate::support::scenario::{clerk, refusal};

both_engines!(
    a_user_is_found_by_its_name,
    a_name_is_given_once,
    users_are_paged_by_name_each_once,
    the_last_admin_can_not_be_lost,
    of_two_admins_who_lose_each_other_one_stays,
    a_session_is_good_until_it_is_closed,
    a_session_ends_when_it_is_idle_or_old,
    a_change_of_a_user_ends_its_sessions_and_links,
    the_sessions_of_a_user_are_listed_and_ended,
    a_session_that_begins_while_all_end_is_ended_or_begins_after,
    a_password_that_was_changed_meanwhile_begins_no_session,
    of_many_who_use_a_link_at_once_one_is_let_in,
    a_link_that_is_too_old_or_of_a_disabled_user_is_good_for_nothing,
    of_many_who_try_at_once_no_more_are_let_try,
    unknown_names_have_the_same_limits,
    a_sign_in_forgets_the_failures,
    the_secrets_themselves_are_kept_nowhere,
    rule_4_a_user_is_not_deleted_or_replaced_by_sql,
);

fn hash(n: u8) -> PasswordHash {
    PasswordHash(format!("$argon2id$v=19$m=19456,t=2,p=1$salt$hash{n}"))
}

fn secret(n: u8) -> SignInSecret {
    SignInSecret::of([n; 32])
}

impl TestDatabase {
    async fn user(&self, name: &str, role: Role) -> UserView {
        let user = NewUser { name: name.into(), role, password: Some(hash(1)), created_by: "root".into() };
        self.store.create_user(&user).await.unwrap()
    }

    /// Begins the session of the n-th secret, by the first password.
    async fn signs_in(&self, user: &UserView, n: u8) -> bool {
        let proof = Proof::Password { user: user.id, checked: hash(1) };
        self.opens(proof, n).await
    }

    async fn opens(&self, proof: Proof, n: u8) -> bool {
        let session = NewSession { proof, hash: secret(n).hash(), browser: Some("test".into()) };
        self.store.open_session(&session).await.unwrap().is_some()
    }

    async fn is_in(&self, n: u8) -> bool {
        self.store.session(&secret(n).hash()).await.unwrap().is_some()
    }

    async fn sign_in_link(&self, name: &str, n: u8) {
        self.store.create_link(name, &secret(n).hash(), &clerk()).await.unwrap();
    }

    async fn changed(&self, name: &str, change: UserChange) -> UserView {
        self.store.change_user(name, &change, &clerk()).await.unwrap()
    }

    /// How many of so many tries, one after the other, are let through.
    async fn tries(&self, name: &str, n: usize) -> usize {
        let mut let_through = 0;
        for _ in 0..n {
            let_through += usize::from(self.store.begin_sign_in(name).await.unwrap().is_none());
        }
        let_through
    }
}

async fn a_user_is_found_by_its_name(db: &TestDatabase) {
    let made = db.user("Ada", Role::Operator).await;
    assert_eq!((made.name.as_str(), made.role, made.created_by.as_str()), ("Ada", Role::Operator, "root"));
    assert_eq!((made.disabled_at, &made.disabled_by), (None, &None));
    assert_eq!(db.open().await.user("Ada").await.unwrap(), made);
    assert_eq!(db.store.credentials("Ada").await.unwrap(), Some((made, hash(1))));
    assert_eq!(db.store.credentials("Bo").await.unwrap(), None);
    assert_eq!(refusal(db.store.user("ada").await), Refusal::UnknownUser { name: "ada".into() });
    let without = NewUser { name: "Bo".into(), role: Role::Viewer, password: None, created_by: "root".into() };
    db.store.create_user(&without).await.unwrap();
    assert_eq!(db.store.credentials("Bo").await.unwrap(), None, "it has no password that could be right");
}

async fn a_name_is_given_once(db: &TestDatabase) {
    let made = db.user("Ada", Role::Viewer).await;
    db.changed("Ada", UserChange::Disable).await;
    let again = NewUser { name: "Ada".into(), role: Role::Admin, password: Some(hash(2)), created_by: "x".into() };
    assert_eq!(refusal(db.store.create_user(&again).await), Refusal::UserExists { name: "Ada".into() });
    assert_eq!(db.store.user("Ada").await.unwrap().role, made.role);
    let makes = (0..6).map(|n| {
        let (store, user) =
            (db.store.clone(), NewUser { name: "Bo".into(), created_by: n.to_string(), ..again.clone() });
        tokio::spawn(async move { store.create_user(&user).await.is_ok() })
    });
    let made = join_all(makes).await.into_iter().filter(|made| *made.as_ref().unwrap()).count();
    assert_eq!(made, 1, "of many at once, one");
}

async fn users_are_paged_by_name_each_once(db: &TestDatabase) {
    for name in ["b", "Z", "a", "é", "a b"] {
        db.user(name, Role::Viewer).await;
    }
    let mut listed = Vec::new();
    let mut page = Page { after: None, limit: 2 };
    for size in [2, 2, 1] {
        let part = db.store.users(&page).await.unwrap();
        assert_eq!(part.items.len(), size);
        listed.extend(part.items.into_iter().map(|user| user.name));
        page.after = part.next_cursor;
    }
    assert_eq!((listed, page.after), (["Z", "a", "a b", "b", "é"].map(String::from).to_vec(), None));
}

async fn the_last_admin_can_not_be_lost(db: &TestDatabase) {
    db.user("Ada", Role::Admin).await;
    db.user("Bo", Role::Operator).await;
    let before = db.dump().await;
    for change in [UserChange::Disable, UserChange::Role(Role::Approver)] {
        let refused = refusal(db.store.change_user("Ada", &change, &clerk()).await);
        assert_eq!(refused, Refusal::LastAdmin { name: "Ada".into() });
    }
    assert_eq!(db.dump().await, before);
    db.changed("Bo", UserChange::Role(Role::Admin)).await;
    let disabled = db.changed("Ada", UserChange::Disable).await;
    assert_eq!(disabled.disabled_by.as_deref(), Some("clerk"));
    refusal(db.store.change_user("Bo", &UserChange::Disable, &clerk()).await);
    let enabled = db.changed("Ada", UserChange::Enable).await;
    assert_eq!((enabled.disabled_at, enabled.disabled_by), (None, None));
    let unknown = db.store.change_user("Cleo", &UserChange::Enable, &clerk()).await;
    assert_eq!(refusal(unknown), Refusal::UnknownUser { name: "Cleo".into() });
}

async fn of_two_admins_who_lose_each_other_one_stays(db: &TestDatabase) {
    for round in 0..5 {
        let names = [format!("a{round}"), format!("b{round}")];
        for name in &names {
            db.user(name, Role::Admin).await;
        }
        if round > 0 {
            let before = db.store.users(&Page::default()).await.unwrap().items;
            for user in before.iter().filter(|user| !names.contains(&user.name) && user.disabled_at.is_none()) {
                db.changed(&user.name, UserChange::Disable).await;
            }
        }
        let loses = names.clone().map(|name| {
            let store = db.store.clone();
            tokio::spawn(async move { store.change_user(&name, &UserChange::Disable, &clerk()).await.is_ok() })
        });
        let lost = join_all(loses).await.into_iter().filter(|lost| *lost.as_ref().unwrap()).count();
        assert_eq!(lost, 1, "one of them stays an admin");
    }
}

async fn a_session_is_good_until_it_is_closed(db: &TestDatabase) {
    let ada = db.user("Ada", Role::Operator).await;
    assert!(!db.is_in(1).await);
    assert!(db.signs_in(&ada, 1).await);
    assert!(db.signs_in(&ada, 2).await);
    let session = db.open().await.session(&secret(1).hash()).await.unwrap().unwrap();
    assert_eq!(session.user, ada);
    assert!(!session.is_to_be_touched());
    db.store.close_session(&secret(1).hash()).await.unwrap();
    assert!(!db.is_in(1).await);
    assert!(db.is_in(2).await, "the other one is another one");
    db.store.close_session(&secret(9).hash()).await.unwrap();
}

async fn a_session_ends_when_it_is_idle_or_old(db: &TestDatabase) {
    let ada = db.user("Ada", Role::Operator).await;
    for n in 1..=3 {
        assert!(db.signs_in(&ada, n).await);
    }
    let hours = |hours: i64| db.instant(-3_600 * hours);
    let nth = "(select max(id) - 2 from console_sessions)";
    db.sql(&format!("update console_sessions set last_seen_at = {} where id = {nth}", hours(13))).await;
    db.sql(&format!("update console_sessions set expires_at = {} where id = {nth} + 1", db.instant(-1))).await;
    db.sql(&format!("update console_sessions set last_seen_at = {} where id = {nth} + 2", hours(11))).await;
    assert!(!db.is_in(1).await, "idle for too long");
    assert!(!db.is_in(2).await, "too old");
    let seen = db.store.session(&secret(3).hash()).await.unwrap().unwrap();
    assert!(seen.is_to_be_touched());
    db.store.touch_session(&secret(3).hash()).await.unwrap();
    assert!(!db.store.session(&secret(3).hash()).await.unwrap().unwrap().is_to_be_touched());
    db.store.touch_session(&secret(2).hash()).await.unwrap();
    assert!(!db.is_in(2).await, "it does not come back");
}

async fn a_change_of_a_user_ends_its_sessions_and_links(db: &TestDatabase) {
    let (ada, bo) = (db.user("Ada", Role::Operator).await, db.user("Bo", Role::Operator).await);
    assert!(db.signs_in(&bo, 99).await);
    let changes =
        [UserChange::Role(Role::Viewer), UserChange::Disable, UserChange::Enable, UserChange::Password(hash(1))];
    for (n, change) in (1..).zip(changes) {
        let may = !matches!(change, UserChange::Enable);
        assert_eq!(db.signs_in(&ada, n).await, may, "{change:?}");
        if may {
            db.sign_in_link("Ada", 100 + n).await;
        }
        db.changed("Ada", change.clone()).await;
        assert!(!db.is_in(n).await, "{change:?}");
        assert!(!db.opens(Proof::Link(secret(100 + n).hash()), 50 + n).await, "{change:?}");
    }
    assert!(db.is_in(99).await, "nobody else's");
    assert!(db.signs_in(&ada, 9).await);
    db.changed("Ada", UserChange::Role(Role::Viewer)).await;
    assert!(db.is_in(9).await, "what changes nothing ends nothing");
}

async fn the_sessions_of_a_user_are_listed_and_ended(db: &TestDatabase) {
    let (ada, bo) = (db.user("Ada", Role::Operator).await, db.user("Bo", Role::Operator).await);
    for n in 1..=5 {
        assert!(db.signs_in(&ada, n).await);
    }
    assert!(db.signs_in(&bo, 99).await);
    let id = |n: u8| async move { db.store.session(&secret(n).hash()).await.unwrap().unwrap().id };
    let listed = || async { db.store.sessions("Ada").await.unwrap().sessions };
    let long_ago = db.instant(-13 * 3_600);
    db.sql(&format!("update console_sessions set last_seen_at = {long_ago} where id = {}", id(1).await.0)).await;
    let half_an_hour_ago = db.instant(-1_800);
    db.sql(&format!("update console_sessions set last_seen_at = {half_an_hour_ago} where id = {}", id(5).await.0))
        .await;
    let expected = [id(4).await, id(3).await, id(2).await, id(5).await];
    let found = listed().await;
    assert_eq!(found.iter().map(|session| session.id).collect::<Vec<_>>(), expected, "those used last first");
    assert_eq!(found[0].browser.as_deref(), Some("test"));
    assert_eq!(found[0].ends_at - found[0].last_seen_at, TimeDelta::hours(12));

    let end = |which| db.store.end_sessions("Ada", which);
    assert_eq!(end(Ending::One(id(99).await)).await.unwrap(), 0, "it is another user's");
    assert_eq!(end(Ending::One(id(2).await)).await.unwrap(), 1);
    db.sign_in_link("Ada", 101).await;
    assert_eq!(end(Ending::Others(id(3).await)).await.unwrap(), 2, "what was over is not counted");
    assert_eq!(listed().await.iter().map(|session| session.id).collect::<Vec<_>>(), [id(3).await]);
    assert!(!db.opens(Proof::Link(secret(101).hash()), 51).await, "a link could let somebody in again");
    db.sign_in_link("Ada", 102).await;
    assert_eq!((end(Ending::All).await.unwrap(), end(Ending::All).await.unwrap()), (1, 0));
    assert!(!db.is_in(3).await && listed().await.is_empty());
    assert!(!db.opens(Proof::Link(secret(102).hash()), 52).await);
    assert!(db.is_in(99).await, "nobody else's");
    assert!(db.signs_in(&ada, 6).await, "it may sign in again");
    // No more than that many are listed, and where there are more it is said.
    for n in 0..SESSIONS_LISTED {
        let is_cut = db.store.sessions("Ada").await.unwrap().is_cut;
        assert!(!is_cut, "{n}");
        assert!(db.signs_in(&ada, u8::try_from(110 + n).unwrap()).await);
    }
    let sessions = db.store.sessions("Ada").await.unwrap();
    assert_eq!((sessions.sessions.len(), sessions.is_cut), (SESSIONS_LISTED as usize, true));
    let unknown = || Refusal::UnknownUser { name: "Cleo".into() };
    assert_eq!(refusal(db.store.sessions("Cleo").await), unknown());
    assert_eq!(refusal(db.store.end_sessions("Cleo", Ending::All).await), unknown());
}

async fn a_session_that_begins_while_all_end_is_ended_or_begins_after(db: &TestDatabase) {
    let ada = db.user("Ada", Role::Operator).await;
    for round in 0..10u8 {
        let (begins, ends) = (db.signs_in(&ada, round), db.store.end_sessions("Ada", Ending::All));
        let (begun, ended) = tokio::join!(begins, ends);
        assert!(begun);
        assert_eq!(db.is_in(round).await, ended.unwrap() == 0);
        db.store.end_sessions("Ada", Ending::All).await.unwrap();
    }
}

async fn a_password_that_was_changed_meanwhile_begins_no_session(db: &TestDatabase) {
    let ada = db.user("Ada", Role::Operator).await;
    db.changed("Ada", UserChange::Password(hash(2))).await;
    assert!(!db.signs_in(&ada, 1).await);
    assert!(db.opens(Proof::Password { user: ada.id, checked: hash(2) }, 1).await);
    db.changed("Ada", UserChange::Disable).await;
    assert!(!db.opens(Proof::Password { user: ada.id, checked: hash(2) }, 2).await);
    assert_eq!(db.store.credentials("Ada").await.unwrap(), None);
}

async fn of_many_who_use_a_link_at_once_one_is_let_in(db: &TestDatabase) {
    db.user("Ada", Role::Operator).await;
    db.sign_in_link("Ada", 1).await;
    let stores = [db.open().await, db.open().await];
    let uses = (10..18u8).map(|n| {
        let store = stores[usize::from(n) % 2].clone();
        let session = NewSession { proof: Proof::Link(secret(1).hash()), hash: secret(n).hash(), browser: None };
        tokio::spawn(async move { store.open_session(&session).await.unwrap().is_some() })
    });
    let let_in = join_all(uses).await.into_iter().filter(|let_in| *let_in.as_ref().unwrap()).count();
    assert_eq!(let_in, 1);
    assert_eq!(db.count("console_sessions").await, 1);
}

async fn a_link_that_is_too_old_or_of_a_disabled_user_is_good_for_nothing(db: &TestDatabase) {
    db.user("Ada", Role::Operator).await;
    db.sign_in_link("Ada", 1).await;
    db.sql(&format!("update sign_in_links set expires_at = {}", db.instant(-1))).await;
    assert!(!db.opens(Proof::Link(secret(1).hash()), 10).await);
    assert!(!db.opens(Proof::Link(secret(2).hash()), 10).await, "nobody made it");
    db.changed("Ada", UserChange::Disable).await;
    let refused = refusal(db.store.create_link("Ada", &secret(3).hash(), &clerk()).await);
    assert_eq!(refused, Refusal::UserDisabled { name: "Ada".into() });
    let unknown = db.store.create_link("Bo", &secret(3).hash(), &clerk()).await;
    assert_eq!(refusal(unknown), Refusal::UnknownUser { name: "Bo".into() });
    assert_eq!(db.count("console_sessions").await, 0);
}

async fn of_many_who_try_at_once_no_more_are_let_try(db: &TestDatabase) {
    db.user("Ada", Role::Operator).await;
    let stores = [db.open().await, db.open().await];
    let tries = (0..20).map(|n: usize| {
        let store = stores[n % 2].clone();
        tokio::spawn(async move { store.begin_sign_in("Ada").await.unwrap().is_none() })
    });
    let let_try = join_all(tries).await.into_iter().filter(|let_try| *let_try.as_ref().unwrap()).count();
    assert_eq!(let_try, Attempts::FREE as usize);
}

async fn unknown_names_have_the_same_limits(db: &TestDatabase) {
    db.user("Ada", Role::Operator).await;
    assert_eq!(db.tries("Ada", 8).await, 5);
    assert_eq!(db.tries("nobody", 8).await, 5);
    assert_eq!(db.tries("somebody else", 1).await, 1, "each name has its own");
    let pause = db.store.begin_sign_in("nobody").await.unwrap().unwrap();
    assert!(pause.as_secs() < 5, "{pause:?}");
    assert!(!format!("{:?}", db.dump().await["sign_in_attempts"]).contains("nobody"));
    // What was long ago is forgotten.
    db.sql(&format!("update sign_in_attempts set last_at = {}", db.instant(-25 * 3_600))).await;
    assert_eq!(db.tries("Ada", 1).await, 1);
    assert_eq!(db.count("sign_in_attempts").await, 1);
}

async fn a_sign_in_forgets_the_failures(db: &TestDatabase) {
    let ada = db.user("Ada", Role::Operator).await;
    assert_eq!(db.tries("Ada", 4).await, 4);
    assert!(db.signs_in(&ada, 1).await);
    assert_eq!(db.tries("Ada", 8).await, 5);
    db.sign_in_link("Ada", 2).await;
    assert!(db.opens(Proof::Link(secret(2).hash()), 3).await, "a link is let in all the same");
    assert_eq!(db.tries("Ada", 1).await, 1);
}

async fn the_secrets_themselves_are_kept_nowhere(db: &TestDatabase) {
    let ada = db.user("Ada", Role::Operator).await;
    db.sign_in_link("Ada", 8).await;
    assert!(db.signs_in(&ada, 7).await);
    let text = format!("{:?}", db.dump().await);
    for n in [7, 8] {
        assert!(!text.contains(secret(n).expose()), "{n}");
        assert!(!text.contains(&secret(n).form_key()), "{n}");
    }
}

async fn rule_4_a_user_is_not_deleted_or_replaced_by_sql(db: &TestDatabase) {
    db.user("Ada", Role::Viewer).await;
    let mut refused = vec!["delete from users", "update users set name = 'Bo'", "update users set created_by = 'x'"];
    match db.engine() {
        Engine::Postgres => refused.push("truncate users cascade"),
        Engine::Sqlite => refused.extend([
            "replace into users (id, name, role, created_by) values (99, 'Ada', 'admin', 'x')",
            "update or replace users set id = id + 1",
        ]),
    }
    let before = db.dump().await;
    for sql in refused {
        let words = db.refusal_of(sql).await;
        assert!(words.contains("of users is refused"), "{sql}: {words}");
        assert_eq!(db.dump().await, before, "{sql}");
    }
    let twice = db.try_sql("insert into users (name, role, created_by) values ('Bo', 'root', 'x')").await;
    assert!(twice.is_err(), "there is no such role");
}
