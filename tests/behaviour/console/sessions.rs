//! Where somebody is signed in, and the end of that.

use disconnectd::domain::token::Role;

use super::{Browser, text_of, with_users};
use crate::behaviour::both_pairs;
use crate::support::database::TestDatabase;

both_pairs!(
    a_person_sees_where_they_are_signed_in_and_ends_it,
    an_admin_signs_a_user_out_everywhere,
    the_command_line_does_the_same,
);

/// The ids of the sessions that a page shows.
fn listed(page: &str) -> Vec<&str> {
    page.split("data-session=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

async fn a_person_sees_where_they_are_signed_in_and_ends_it(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let mut here = Browser::of(&served, Role::Operator);
    assert!(!here.page("/sessions").contains("id=\"everywhere\""), "there is nowhere else");
    let mut others: Vec<_> = (0..3).map(|_| Browser::of(&served, Role::Operator)).collect();
    let mut viewer = Browser::of(&served, Role::Viewer);
    let page = here.page("/sessions");
    assert_eq!((listed(&page).len(), page.matches("This browser").count()), (4, 1), "{page}");
    assert!(text_of(&page).contains("A session ends by itself after 12 hours without use, and after 7 days."));

    let newest = listed(&page)[0].to_owned();
    assert_eq!(
        here.post("/sessions", &[("id", &newest)]).is(303).header("location"),
        Some("/sessions?ended=1"),
        "{newest}"
    );
    others.pop().unwrap().get("/accounts").is(303);
    let page = here.page("/sessions?ended=1");
    assert!(page.contains("1 browser is signed out.") && listed(&page).len() == 3, "{page}");

    let theirs = listed(&viewer.page("/sessions"))[0].to_owned();
    here.post("/sessions", &[("id", &theirs)]).is(303);
    viewer.get("/accounts").is(200);
    here.post("/sessions", &[("id", "x")]).is(422);

    here.page("/sessions");
    here.post("/sessions", &[("others", "yes")]).is(303);
    for other in &mut others {
        other.get("/accounts").is(303);
    }
    assert_eq!(listed(&here.page("/sessions")).len(), 1);
}

async fn an_admin_signs_a_user_out_everywhere(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let mut admin = Browser::of(&served, Role::Admin);
    let (mut one, mut other) = (Browser::of(&served, Role::Operator), Browser::of(&served, Role::Operator));
    assert!(admin.page("/system/users").contains("href=\"/system/users/sessions?name=operator\""));
    let page = admin.page("/system/users/sessions?name=operator");
    let last = listed(&page)[0].to_owned();
    let to = admin.post("/system/users/sessions", &[("name", "operator"), ("id", &last)]).is(303);
    assert_eq!(to.header("location"), Some("/system/users/sessions?name=operator&ended=1"));
    other.get("/accounts").is(303);
    one.get("/accounts").is(200);
    admin.post("/system/users/sessions", &[("name", "operator"), ("all", "yes")]).is(303);
    one.get("/accounts").is(303);
    let page = admin.page("/system/users/sessions?name=operator&ended=1");
    assert!(text_of(&page).contains("operator is signed in nowhere."), "{page}");
    admin.get("/system/users/sessions?name=nobody").is(404);
    admin.post("/system/users/sessions", &[("name", "nobody"), ("all", "yes")]).is(404);
}

async fn the_command_line_does_the_same(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let mut browsers: Vec<_> = (0..3).map(|_| Browser::of(&served, Role::Viewer)).collect();
    let listed = program.json(&["users", "sessions", "viewer"]);
    let sessions = listed["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 3, "{listed}");
    let newest = sessions[0]["id"].to_string();
    assert_eq!(program.json(&["users", "sign-out", "viewer", "--session", &newest])["ended"], 1);
    browsers.pop().unwrap().get("/accounts").is(303);
    browsers[0].get("/accounts").is(200);
    let said = program.run(&["users", "sign-out", "viewer"]).exits(0).stdout;
    assert_eq!(said.trim(), "User viewer is signed out: 2 sessions ended.");
    browsers[0].get("/accounts").is(303);
    assert_eq!(
        program.run(&["users", "sessions", "viewer"]).exits(0).stdout.trim(),
        "User viewer is signed in nowhere."
    );
    program.run(&["users", "sign-out", "nobody"]).exits(3);
}
