//! Who looks after the installation: settings, tokens, users, and everybody's own password. With JavaScript and without.

use disconnectd::domain::token::Role;

use super::embedded;
use super::window::Window;
use crate::behaviour::console::{PASSWORD, with_users};
use crate::program::Served;
use crate::support::database::TestDatabase;

embedded!(
    the_installation_is_looked_after,
    whoever_is_new_comes_by_a_link_and_goes_when_told,
    a_password_is_changed_by_whoever_knows_it,
);

const NEW_PASSWORD: &str = "a staple for the battery";

async fn the_installation_is_looked_after(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    for (window, cutoff) in
        Window::with_and_without_javascript(&served, Role::Admin).into_iter().zip(["17:30", "18:45"])
    {
        window.click("header a[href='/system']");
        window.until("#verdict");
        window.click(".tabs a[href='/system/settings']");
        window.changes_the_cutoff(cutoff);
        assert_eq!(program.json(&["settings", "show"])["cutoff_time"], cutoff);
        window.click(".tabs a[href='/system/tokens']");
        window.makes_and_revokes_a_token(&served);
        window.ends_clean();
    }
    // Whoever may only look sees them, and has nothing to press.
    let viewer = Window::of(&served, Role::Viewer);
    viewer.go("/system/settings");
    assert_eq!(viewer.value("#cutoff_time"), "18:45");
    assert!(!viewer.shows("main button"), "a viewer saves nothing");
    assert!(!viewer.shows(".tabs a[href='/system/tokens']"));
    viewer.ends_clean();
}

impl Window {
    /// First to what no time is, then to one.
    fn changes_the_cutoff(&self, to: &str) {
        let before = self.value("#cutoff_time");
        self.types("#cutoff_time", "noon");
        self.click("#setting-cutoff_time button");
        self.until_says("#setting-cutoff_time .error", "noon");
        self.until("#cutoff_time[aria-invalid='true'][aria-describedby~='cutoff_time-error']");
        assert_eq!(self.value("#cutoff_time"), "noon", "what was typed stays");
        assert!(!self.shows("#notice"));
        self.go("/system/settings");
        assert_eq!(self.value("#cutoff_time"), before, "nothing was saved");
        self.types("#cutoff_time", to);
        self.click("#setting-cutoff_time button");
        self.until_says("#notice", "Cutoff time: saved.");
        assert_eq!(self.value("#cutoff_time"), to);
    }

    fn makes_and_revokes_a_token(&self, served: &Served) {
        self.types("#name", "billing");
        self.click("#role option:nth-child(2)");
        self.click("#new-token button");
        let token = self.text("#token");
        let asks = || served.bare_request("GET", "/api/v1/accounts").token(&token).answer();
        asks().is(200);
        self.until_says("#tokens tbody tr", "billing operator");
        self.go("/system/tokens");
        self.until("#tokens");
        assert!(!self.shows("#token") && !self.text("main").contains(&token), "it is shown once");
        self.click("#tokens tbody tr:nth-child(1) button");
        self.until_says("#tokens tbody tr", "by admin");
        asks().is(401);
    }
}

async fn whoever_is_new_comes_by_a_link_and_goes_when_told(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let admins = Window::with_and_without_javascript(&served, Role::Admin);
    // One of them is led by somebody with JavaScript, the other by somebody without; the newcomers the other way round.
    let newcomers = [Window::without_javascript(&served), Window::open(&served)];
    for ((admin, newcomer), name) in admins.into_iter().zip(newcomers).zip(["kim", "lee"]) {
        admin.go("/system/users");
        admin.types("#name", "viewer");
        admin.click("#new-user button");
        admin.until("#name-error");
        admin.types("#name", name);
        admin.click("#role option:nth-child(2)");
        admin.click("#new-user button");
        let link = admin.text("#link");
        let link = &link[link.find("/sign-in").unwrap()..];
        admin.go("/system/users");
        admin.until("#users");
        assert!(!admin.shows("#link"), "it is shown once");

        // Looking at the link does not use it up; pressing the button does.
        newcomer.go(link);
        newcomer.until("#sign-in");
        newcomer.go(link);
        newcomer.click("#sign-in button");
        newcomer.until_at("/password");
        newcomer.until_says("#user", &format!("{name} operator"));
        assert!(!newcomer.shows("#now"), "there is no password yet");
        newcomer.types("#new", NEW_PASSWORD);
        newcomer.types("#again", NEW_PASSWORD);
        newcomer.click("#password-form button");
        newcomer.until("#notice");
        newcomer.click("#sign-out");
        newcomer.until_at("/sign-in");
        newcomer.go(link);
        newcomer.click("#sign-in button");
        newcomer.until_says("#message", "This link is used");
        newcomer.tries_to_sign_in(name, NEW_PASSWORD);
        newcomer.until_at("/accounts");

        // A change of the role counts at once, and so does the end.
        let row = format!("[data-user='{name}']");
        admin.click(&format!("{row} select option:nth-child(1)"));
        admin.click(&format!("{row} button[aria-label^='Change']"));
        admin.until(&format!("{row} option:nth-child(1):checked"));
        newcomer.go("/accounts/1003/disconnect");
        newcomer.tries_to_sign_in(name, NEW_PASSWORD);
        newcomer.until_says("main", "This needs the role operator, and you have the role viewer.");
        admin.click(&format!("{row} button[value='disable']"));
        admin.until_says(&row, "Disabled");
        newcomer.go("/accounts");
        newcomer.tries_to_sign_in(name, NEW_PASSWORD);
        newcomer.until_says("#message", "The name or the password is wrong.");
        // A new link comes with the permission.
        admin.click(&format!("{row} button[value='enable']"));
        admin.until_says(&row, "May sign in");
        newcomer.tries_to_sign_in(name, NEW_PASSWORD);
        newcomer.until_says("#user", &format!("{name} viewer"));
        admin.click("[data-user='admin'] button[value='disable']");
        admin.until("#refused");
        admin.ends_clean();
        newcomer.ends_clean();
    }
}

async fn a_password_is_changed_by_whoever_knows_it(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let windows = [Window::of(&served, Role::Viewer), Window::without_javascript_of(&served, Role::Operator)];
    for (window, name) in windows.into_iter().zip(["viewer", "operator"]) {
        window.click("#user");
        for (now, new, again, wrong) in [
            ("wrong horse battery", NEW_PASSWORD, NEW_PASSWORD, "#now-error"),
            (PASSWORD, NEW_PASSWORD, "a staple for the buttery", "#again-error"),
            (PASSWORD, "short", "short", "#new-error"),
        ] {
            window.sets_password(now, new, again);
            window.until(wrong);
            assert_eq!(window.value("#new"), "", "no page has a password in it");
        }
        window.sets_password(PASSWORD, NEW_PASSWORD, NEW_PASSWORD);
        window.until_says("#notice", "Your password is set.");
        window.click("#sign-out");
        window.until_at("/sign-in");
        window.tries_to_sign_in(name, PASSWORD);
        window.until_says("#message", "The name or the password is wrong.");
        window.tries_to_sign_in(name, NEW_PASSWORD);
        window.until_says("#user", name);
        window.ends_clean();
    }
}

impl Window {
    fn sets_password(&self, now: &str, new: &str, again: &str) {
        self.types("#now", now);
        self.types("#new", new);
        self.types("#again", again);
        self.click("#password-form button");
    }
}
