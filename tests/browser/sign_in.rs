//! Sessions, as somebody at a browser meets their ends.

use disconnectd::domain::token::Role;

use super::embedded;
use super::window::Window;
use crate::behaviour::console::{PASSWORD, with_users};
use crate::support::database::TestDatabase;

embedded!(a_person_signs_in_and_out, a_session_that_ends_in_the_middle_leads_back);

async fn a_person_signs_in_and_out(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let window = Window::open(&served);
    window.go("/accounts/1001/invoices");
    window.types("#name", "viewer");
    window.types("#password", "wrong horse battery");
    window.click("#sign-in button");
    window.until_says("#message", "The name or the password is wrong.");
    window.types("#password", PASSWORD);
    window.click("#sign-in button");
    window.until_at("/accounts/1001/invoices");
    window.until_says("#user", "viewer");

    // The colours that somebody chooses stay.
    window.until_says("#theme", "Auto");
    window.click("#theme");
    window.until_says("#theme", "Dark");
    window.until_at("/accounts/1001/invoices");
    let paper = "return getComputedStyle(document.body).backgroundColor";
    let dark = window.script(paper, &[]);
    window.click("#theme");
    window.until_says("#theme", "Light");
    assert_ne!(window.script(paper, &[]), dark);

    window.click("#sign-out");
    window.until_at("/sign-in");
    window.go("/accounts");
    window.until("#sign-in");
    window.ends_clean();
}

async fn a_session_that_ends_in_the_middle_leads_back(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let window = Window::of(&served, Role::Operator);
    window.click("[data-account='1003'] summary");
    window.click("[data-account='1003'] [data-window]");
    window.until("dialog #disconnect");
    db.sql(&format!("update console_sessions set revoked_at = {}", db.instant(0))).await;
    window.click("#disconnect");
    window.until_says("#message", "nothing was done");
    assert!(!window.shows("dialog"), "the whole page says so, not the dialog");
    window.signs_in("operator");
    window.until_at("/accounts/1003/disconnect");
    window.until("main #disconnect");
    assert_eq!(db.count("disconnect_events").await, 0);
    // A search is typed into a page whose session has ended.
    window.go("/accounts");
    db.sql(&format!("update console_sessions set revoked_at = {}", db.instant(0))).await;
    window.types("#search", "miller");
    window.until("#sign-in");
    window.ends_clean();
}
