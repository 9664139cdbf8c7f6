//! What somebody may not do is neither offered nor done, whichever way they come. With JavaScript and without.

use disconnectd::domain::token::Role;

use super::embedded;
use super::window::Window;
use crate::behaviour::console::events::{failed, scheduled};
use crate::behaviour::console::with_users;
use crate::support::database::TestDatabase;

embedded!(who_may_not_is_offered_nothing_and_refused_by_every_path, a_role_that_is_taken_away_counts_for_open_forms);

async fn who_may_not_is_offered_nothing_and_refused_by_every_path(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let (event, failed) = (scheduled(&program, "1002", "2099-12-01"), failed(db, &program, "1003").await);
    program.write("list.csv", "account_number\n1001\n");
    program.run(&["campaign", "create", "--name", "One", "--accounts", "list.csv", "--children", "keep"]).exits(0);
    let controls = "main form[method='post'] button, .menu, #new, .danger, [data-window]";
    for window in Window::with_and_without_javascript(&served, Role::Viewer) {
        for (path, needed) in [
            ("/accounts/1003/disconnect", Role::Operator),
            (&format!("/events/{event}/cancel"), Role::Operator),
            ("/campaigns/1/abort", Role::Operator),
            ("/system/users", Role::Admin),
        ] {
            window.is_refused(path, needed);
        }
        window.click("main a[href='/accounts']");
        window.until("#accounts");
        for path in ["/campaigns", "/events", &format!("/events/{failed}"), "/campaigns/1/dry-run", "/system/settings"]
        {
            window.go(path);
            window.until("main h1");
            assert_eq!(window.find(controls), None, "{path} offers what a viewer may not");
        }
        // The menu of an account has what may be looked at.
        for path in ["/accounts", "/accounts/1003"] {
            window.go(path);
            window.click("[aria-label='Edit account 1003']");
            window.until(".menu a[href='/accounts/1003/log']");
            assert_eq!(window.find("[data-window], [href$='/disconnect']"), None, "{path}");
        }
        window.ends_clean();
    }
    // An operator does all that, and lets nobody in.
    let operator = Window::without_javascript_of(&served, Role::Operator);
    operator.is_refused("/system/users", Role::Admin);
    operator.go("/campaigns/1/dry-run");
    operator.until("#start");
    operator.ends_clean();
}

impl Window {
    /// By a page that says which role it takes.
    #[track_caller]
    fn is_refused(&self, path: &str, needed: Role) {
        self.go(path);
        self.until_says("main", &format!("This needs the role {needed}, and you have the role"));
        self.until_says("h1", "Not allowed");
    }
}

async fn a_role_that_is_taken_away_counts_for_open_forms(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    for window in Window::with_and_without_javascript(&served, Role::Operator) {
        window.click("[data-account='1003'] summary");
        window.click("[data-account='1003'] [data-window]");
        window.types("#reason", "moved");
        db.sql("update users set role = 'viewer' where name = 'operator'").await;
        window.click("#disconnect");
        let says = if window.has_javascript() { "dialog #trouble" } else { "main" };
        window.until_says(says, "This needs the role operator, and you have the role viewer.");
        db.sql("update users set role = 'operator' where name = 'operator'").await;
        // The way back is the page as it was filled in, or the dialog that is there still.
        if !window.has_javascript() {
            window.back();
        }
        assert_eq!(window.value("#reason"), "moved");
        assert_eq!(db.count("disconnect_events").await, 0);
        window.ends_clean();
    }
}
