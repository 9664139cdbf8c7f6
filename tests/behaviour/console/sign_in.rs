//! Signing in and out, and what a session takes.

use disconnectd::domain::token::Role;

use super::{Browser, PASSWORD, form, hidden, with_users};
use crate::behaviour::both_pairs;
use crate::support::database::TestDatabase;

both_pairs!(
    a_person_signs_in_and_out,
    a_wrong_password_and_an_unknown_name_are_answered_alike,
    too_many_tries_have_to_wait,
    a_link_signs_in_once,
    a_person_sets_another_password,
    whoever_came_by_a_link_sets_a_password,
    a_session_that_ended_leads_back_and_says_that_nothing_was_done,
    what_ends_a_user_ends_its_sessions,
    a_form_of_nobody_or_of_another_session_is_refused,
    what_another_site_sends_is_refused,
    the_users_of_the_command_line_are_those_of_the_console,
);

async fn a_person_signs_in_and_out(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let mut browser = Browser::new(&served);
    let to = browser.get("/accounts/1001?after=").is(303).header("location").unwrap().to_owned();
    assert_eq!(to, "/sign-in?next=%2Faccounts%2F1001%3Fafter%3D");
    let page = browser.page(&to);
    let next = hidden(&page, "next").unwrap();
    let fields = [("name", "viewer"), ("password", PASSWORD), ("next", next.as_str())];
    let signed_in = browser.post("/sign-in", &fields).is(303);
    assert_eq!(signed_in.header("location"), Some("/accounts/1001?after="), "it leads back");
    let cookie = signed_in
        .headers
        .iter()
        .find(|(name, value)| name == "set-cookie" && value.starts_with("disconnectd_session="));
    assert!(cookie.unwrap().1.contains("HttpOnly"), "{cookie:?}");
    assert!(browser.page("/accounts").contains("viewer"));

    let before = browser.cookies.clone();
    assert_eq!(browser.post("/sign-out", &[]).is(303).header("location"), Some("/sign-in"));
    assert!(!browser.cookies.contains_key("disconnectd_session"));
    browser.get("/accounts").is(303);
    browser.cookies = before;
    browser.get("/accounts").is(303);
}

async fn a_wrong_password_and_an_unknown_name_are_answered_alike(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let answered = |name: &str, password: &str| {
        let page = Browser::new(&served).signs_in(name, password).is(401).text();
        let page = page.replace(&hidden(&page, "form_key").unwrap(), "").replace(name, "NAME");
        assert!(page.contains("The name or the password is wrong."), "{page}");
        page
    };
    let wrong = answered("operator", "wrong horse battery");
    assert_eq!(wrong, answered("nobodyyy", "wrong horse battery"));
    assert_eq!(wrong, answered("nobodyyy", &"x".repeat(100_000)));
    assert_eq!(wrong, answered("operator", ""));
}

async fn too_many_tries_have_to_wait(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    for name in ["operator", "nobody"] {
        for _ in 0..5 {
            Browser::new(&served).signs_in(name, "wrong horse battery").is(401);
        }
        let waits = Browser::new(&served).signs_in(name, PASSWORD).is(429).text();
        assert!(waits.contains("too many tries"), "{waits}");
    }
    Browser::new(&served).signs_in("viewer", PASSWORD).is(303);
    db.sql(&format!("update sign_in_attempts set blocked_until = {}", db.instant(-1))).await;
    Browser::new(&served).signs_in("operator", PASSWORD).is(303);
}

async fn a_link_signs_in_once(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let link = program.json(&["users", "link", "approver"]);
    let path = link["url"].as_str().unwrap().split_once("/sign-in/").unwrap().1.to_owned();
    let mut browser = Browser::new(&served);
    for _ in 0..2 {
        // Looking at it does not use it up.
        let page = browser.page(&format!("/sign-in/{path}"));
        assert!(hidden(&page, "secret").is_some());
    }
    let secret = path.split_once('=').unwrap().1;
    browser.post("/sign-in/link", &[("secret", secret)]).is(303);
    assert!(browser.page("/accounts").contains("approver"));
    let mut other = Browser::new(&served);
    other.page(&format!("/sign-in/{path}"));
    other.post("/sign-in/link", &[("secret", secret)]).is(401);
    other.get("/accounts").is(303);
}

const NEW: &str = "a much better one";

async fn a_person_sets_another_password(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let (mut browser, mut elsewhere) = (Browser::of(&served, Role::Operator), Browser::of(&served, Role::Operator));
    let page = browser.page("/password");
    assert!(page.contains("id=\"now\""), "an open browser is not enough: {page}");
    for (now, new, again, wrong) in [
        ("wrong horse battery", NEW, NEW, "now-error"),
        (PASSWORD, "short", "short", "new-error"),
        (PASSWORD, NEW, "another one it is", "again-error"),
    ] {
        let page = browser.post("/password", &[("now", now), ("new", new), ("again", again)]).is(422).text();
        assert!(page.contains(&format!("id=\"{wrong}\"")), "{wrong}: {page}");
        assert!(!page.contains(NEW), "what was typed is not sent back");
        // Tries with a wrong one are counted, as at the door.
        db.sql("delete from sign_in_attempts").await;
    }
    let to = browser.post("/password", &[("now", PASSWORD), ("new", NEW), ("again", NEW)]).is(303);
    assert_eq!(to.header("location"), Some("/password?done=1"));
    assert!(browser.page("/password?done=1").contains("id=\"notice\""));
    elsewhere.get("/accounts").is(303);
    Browser::new(&served).signs_in("operator", PASSWORD).is(401);
    Browser::new(&served).signs_in("operator", NEW).is(303);
}

async fn whoever_came_by_a_link_sets_a_password(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let mut admin = Browser::of(&served, Role::Admin);
    admin.page("/system/users");
    let made = admin.post("/system/users", &[("name", "kim"), ("role", "viewer")]).is(200).text();
    let secret = made.split("secret=").nth(1).unwrap().split('<').next().unwrap();
    let mut kim = Browser::new(&served);
    kim.page(&format!("/sign-in/link?secret={secret}"));
    let to = kim.post("/sign-in/link", &[("secret", secret)]).is(303);
    assert_eq!(to.header("location"), Some("/password"), "the link was the last, otherwise");
    assert!(!kim.page("/password").contains("id=\"now\""), "there is none yet");
    kim.post("/password", &[("new", "kim knows it well"), ("again", "kim knows it well")]).is(303);
    Browser::new(&served).signs_in("kim", "kim knows it well").is(303);
}

async fn a_session_that_ended_leads_back_and_says_that_nothing_was_done(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    for end in [
        format!("update console_sessions set expires_at = {}", db.instant(-1)),
        format!("update console_sessions set last_seen_at = {}", db.instant(-13 * 3_600)),
        format!("update console_sessions set revoked_at = {}", db.instant(0)),
    ] {
        let mut browser = Browser::of(&served, Role::Operator);
        browser.page("/accounts/1003/disconnect");
        db.sql(&end).await;
        let page = browser.post("/accounts/1003/disconnect", &[("when", "now"), ("step", "confirm")]).is(401).text();
        assert!(page.contains("nothing was done"), "{page}");
        let next = hidden(&page, "next").unwrap();
        assert_eq!(next, "/accounts/1003/disconnect");
        let fields = [("name", "operator"), ("password", PASSWORD), ("next", next.as_str())];
        assert_eq!(browser.post("/sign-in", &fields).is(303).header("location"), Some(next.as_str()));
        // The same where htmx asked: the whole page goes there, not a part of it.
        db.sql(&end).await;
        let part = browser.request("GET", "/accounts/1003/disconnect").header("HX-Request", "true").answer().is(401);
        assert!(part.header("hx-redirect").unwrap().starts_with("/sign-in?next="));
    }
    assert_eq!(db.count("disconnect_events").await, 0);
}

async fn what_ends_a_user_ends_its_sessions(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    for arguments in [
        ["users", "role", "operator", "viewer"].as_slice(),
        &["users", "passwd", "viewer"],
        &["users", "disable", "approver"],
    ] {
        let name = arguments[2];
        let mut browser = Browser::new(&served);
        browser.signs_in(name, PASSWORD).is(303);
        browser.get("/accounts").is(200);
        program.run(arguments).exits(0);
        browser.get("/accounts").is(303);
    }
    Browser::new(&served).signs_in("approver", PASSWORD).is(401);
    program.run(&["users", "enable", "approver"]).exits(0);
    Browser::new(&served).signs_in("approver", PASSWORD).is(303);
    let refused = program.run(&["--json", "users", "disable", "admin"]).exits(3).json();
    assert_eq!(refused["error"]["code"], "last_admin");
}

async fn a_form_of_nobody_or_of_another_session_is_refused(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Operator);
    let window = browser.page("/accounts/1003/disconnect");
    let digest = hidden(&window, "digest").unwrap();
    let mut other = Browser::of(&served, Role::Operator);
    other.page("/accounts");
    for key in ["", "x", other.form_key.as_str()] {
        browser.form_key = key.to_owned();
        let fields = [("when", "now"), ("step", "confirm"), ("digest", digest.as_str())];
        let page = browser.post("/accounts/1003/disconnect", &fields).is(403).text();
        assert!(page.contains("nothing was done"), "{page}");
    }
    browser.request("POST", "/accounts/1003/disconnect").json(&serde_json::json!({})).answer().is(415);
    // The sign-in form, before there is any session, as well.
    let mut nobody = Browser::new(&served);
    nobody.post("/sign-in", &[("name", "viewer"), ("password", PASSWORD)]).is(403);
    nobody.page("/sign-in");
    nobody.cookies.clear();
    nobody.post("/sign-in", &[("name", "viewer"), ("password", PASSWORD)]).is(403);
    assert_eq!(db.count("disconnect_events").await, 0);
}

async fn what_another_site_sends_is_refused(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Operator);
    browser.page("/accounts");
    let key = browser.form_key.clone();
    let send = |name: &str, value: &str| {
        form(browser.request("POST", "/theme").header(name, value), &[("form_key", &key), ("theme", "dark")]).answer()
    };
    send("Origin", "http://evil.example").is(403);
    send("Origin", "null").is(403);
    send("Sec-Fetch-Site", "cross-site").is(403);
    send("Sec-Fetch-Site", "same-site").is(403);
    send("Origin", "http://localhost").is(303);
    send("Sec-Fetch-Site", "same-origin").is(303);
}

async fn the_users_of_the_command_line_are_those_of_the_console(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let made = program.json(&["users", "create", "--name", "ada", "--role", "operator"]);
    let password = made["password"].as_str().unwrap();
    assert!(password.len() >= 24, "{password}");
    Browser::new(&served).signs_in("ada", password).is(303);
    let too_short = ["users", "passwd", "ada", "--password-file", "-"];
    program.run_with_input(&too_short, "too short\n").exits(2);
    program.run_with_input(&too_short, "long enough for it\nand more").exits(0);
    Browser::new(&served).signs_in("ada", "long enough for it").is(303);
    let listed = program.json(&["users", "list"]);
    let names: Vec<_> = listed["items"].as_array().unwrap().iter().map(|user| user["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["ada", "admin", "approver", "operator", "viewer"]);
    assert!(!listed.to_string().contains("argon2"));
    let again = program.run(&["--json", "users", "create", "--name", "ada", "--role", "viewer"]).exits(3).json();
    assert_eq!(again["error"]["code"], "user_exists");
}
