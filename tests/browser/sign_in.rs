//! Sessions, as somebody at a browser meets their ends.

use disconnectd::domain::token::Role;

use super::embedded;
use super::window::{ENTER, Window};
use crate::behaviour::console::{PASSWORD, with_users};
use crate::support::database::TestDatabase;

embedded!(
    a_person_signs_in_and_out,
    the_colours_that_somebody_chooses_stay,
    a_session_that_ends_in_the_middle_leads_back,
);

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

    window.click("#sign-out");
    window.until_at("/sign-in");
    window.go("/accounts");
    window.until("#sign-in");
    window.ends_clean();
}

async fn the_colours_that_somebody_chooses_stay(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    for window in Window::with_and_without_javascript(&served, Role::Viewer) {
        window.looks(1280, "light");
        let light = window.colour("body", "background-color");
        window.go("/accounts/1001/invoices");
        window.until_says("#theme", "Auto");
        window.click("#theme");
        window.until_says("#theme", "Dark");
        window.until_at("/accounts/1001/invoices");
        let dark = window.colour("body", "background-color");
        assert_ne!(dark, light);
        // On other pages too, and for whoever has signed out and in again.
        window.click("#sign-out");
        window.until("#sign-in");
        assert_eq!(window.colour("body", "background-color"), dark);
        window.signs_in("viewer");
        window.until_says("#theme", "Dark");
        // What is chosen goes before what the system has.
        window.looks(1280, "dark");
        assert_eq!(window.colour("body", "background-color"), dark);
        window.click("#theme");
        window.until_says("#theme", "Light");
        assert_eq!(window.colour("body", "background-color"), light);
        window.click("#theme");
        window.until_says("#theme", "Auto");
        assert_eq!(window.colour("body", "background-color"), dark);
        window.ends_clean();
    }
}

async fn a_session_that_ends_in_the_middle_leads_back(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let before = db.dump().await;
    // A page, what leads from it to the form, the button, and where one is led back to: the form in the dialog has a page
    // of its own, and what a form without htmx is sent to may be none.
    let forms: [(&str, &[&str], &str, &str); 3] = [
        ("/accounts/1003", &[".head summary", ".head [data-window]"], "#disconnect", "/accounts/1003/disconnect"),
        ("/campaigns/new", &[], "#make", "/campaigns/new"),
        ("/system/settings", &[], "#setting-cutoff_time button", "/system/settings"),
    ];
    // One after the other, since all sessions end.
    for signed_in in [Window::of, Window::without_javascript_of] {
        let window = signed_in(&served, Role::Admin);
        for (page, steps, button, back) in forms {
            window.go(page);
            for step in steps {
                window.click(step);
            }
            window.until(button);
            db.sql(&format!("update console_sessions set revoked_at = {}", db.instant(0))).await;
            window.click(button);
            window.until_says("#message", "Your session has ended, so nothing was done.");
            assert!(!window.shows("dialog"), "{page}: the whole page says so, not the dialog");
            window.signs_in("admin");
            window.until_at(back);
            window.until(&format!("main {button}"));
        }
        // A list is searched in a page whose session has ended.
        window.go("/accounts");
        db.sql(&format!("update console_sessions set revoked_at = {}", db.instant(0))).await;
        window.types("#search", "miller");
        window.press(ENTER);
        window.until("#sign-in");
        window.signs_in("admin");
        window.until_says("#accounts", "Ben Miller");
        window.ends_clean();
    }
    let after = db.dump().await;
    for table in ["account_log", "disconnect_events", "campaigns", "settings"] {
        assert_eq!(before[table], after[table], "something was done");
    }
}
