//! The system's pages: health, settings, tokens, users.

use disconnectd::domain::token::Role;

use super::{Browser, hidden, text_of, with_users};
use crate::behaviour::both_pairs;
use crate::support::database::TestDatabase;

both_pairs!(
    its_health_is_told_in_sentences,
    settings_are_changed_and_checked,
    a_token_is_shown_once_and_revoked,
    users_are_made_changed_and_let_in,
);

async fn its_health_is_told_in_sentences(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Viewer);
    let page = browser.page("/system");
    let text = text_of(&page);
    for part in
        ["System", "database Well answers", "scheduler, worker, api, console", "0 scheduled, 0 queued, 0 failed"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!page.contains("/system/users"), "a viewer is not shown what a viewer may not");
    assert!(!text.contains("nothing that should not be"));
    assert!(text_of(&browser.page("/system?data=1")).contains("nothing that should not be"));
}

async fn settings_are_changed_and_checked(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Admin);
    let page = browser.page("/system/settings");
    assert!(page.contains("id=\"setting-company_zone\"") && text_of(&page).contains("a date alone means"), "{page}");
    let to = browser.post("/system/settings/cutoff_time", &[("value", "17:30")]).is(303);
    assert_eq!(to.header("location"), Some("/system/settings?saved=cutoff_time"));
    assert!(browser.page("/system/settings?saved=cutoff_time").contains("Cutoff time: saved."));
    assert_eq!(program.json(&["settings", "show"])["cutoff_time"], "17:30");
    for (key, value) in [("cutoff_time", "noon"), ("disconnect_status", "Active"), ("campaign_pause_percent", "0")] {
        let page = browser.post(&format!("/system/settings/{key}"), &[("value", value)]).is(422).text();
        assert!(page.contains(&format!("id=\"{key}-error\"")), "{key}: {page}");
    }
    browser.post("/system/settings/colour", &[("value", "red")]).is(404);
    assert_eq!(program.json(&["settings", "show"])["cutoff_time"], "17:30");
    let mut viewer = Browser::of(&served, Role::Viewer);
    assert!(!viewer.page("/system/settings").contains("<button aria-label=\"Save"));
}

async fn a_token_is_shown_once_and_revoked(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Admin);
    browser.page("/system/tokens");
    browser.post("/system/tokens", &[("name", " "), ("role", "viewer")]).is(422);
    let page = browser.post("/system/tokens", &[("name", "billing"), ("role", "viewer")]).is(200).text();
    let token = page.split("id=\"token\">").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let asks = || served.bare_request("GET", "/api/v1/accounts").token(&token).answer();
    asks().is(200);
    let list = browser.page("/system/tokens");
    assert!(!list.contains(&token) && text_of(&list).contains("billing"), "{list}");
    let id = hidden(&list, "id").unwrap();
    browser.post("/system/tokens/revoke", &[("id", &id)]).is(303);
    asks().is(401);
    assert!(text_of(&browser.page("/system/tokens")).contains("by admin"));
    browser.post("/system/tokens/revoke", &[("id", "x")]).is(404);
}

async fn users_are_made_changed_and_let_in(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Admin);
    browser.page("/system/users");
    let again = browser.post("/system/users", &[("name", "viewer"), ("role", "viewer")]).is(422).text();
    assert!(again.contains("id=\"name-error\""), "{again}");
    let page = browser.post("/system/users", &[("name", "ada"), ("role", "operator")]).is(200).text();
    let link = page.split("id=\"link\">").nth(1).unwrap().split('<').next().unwrap().replace("&#61;", "=");
    let secret = link.split_once("secret=").unwrap().1;
    let mut ada = Browser::new(&served);
    ada.page(&format!("/sign-in/link?secret={secret}"));
    ada.post("/sign-in/link", &[("secret", secret)]).is(303);
    assert!(ada.page("/accounts").contains("ada"));
    assert!(!browser.page("/system/users").contains(secret), "it is shown once");

    browser.post("/system/users/change", &[("name", "ada"), ("change", "disable")]).is(303);
    ada.get("/accounts").is(303);
    assert!(text_of(&browser.page("/system/users")).contains("by admin"));
    browser.post("/system/users/change", &[("name", "ada"), ("change", "enable")]).is(303);
    browser.post("/system/users/change", &[("name", "ada"), ("role", "approver")]).is(303);
    assert!(
        browser
            .post("/system/users/change", &[("name", "ada"), ("change", "link")])
            .is(200)
            .text()
            .contains("id=\"link\"")
    );
    for last in [("change", "disable"), ("role", "viewer")] {
        let kept = browser.post("/system/users/change", &[("name", "admin"), last]).is(422).text();
        assert!(kept.contains("id=\"refused\""), "{kept}");
    }
}
