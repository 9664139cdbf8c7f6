//! The same with JavaScript switched off: pages and forms are enough. What takes the same steps either way is tested beside
//! its subject, in both.

use disconnectd::domain::token::Role;

use super::embedded;
use super::window::Window;
use crate::behaviour::console::events::scheduled;
use crate::behaviour::console::with_users;
use crate::support::database::TestDatabase;

embedded!(
    an_account_is_found_and_disconnected,
    an_event_is_rescheduled_and_cancelled,
    a_campaign_runs_from_a_file_to_its_report,
);

async fn an_account_is_found_and_disconnected(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let window = Window::without_javascript_of(&served, Role::Operator);
    window.types("#search", "ben");
    window.click("#filters button");
    window.until_gone("[data-account='1001']");
    window.click("[data-account='1002'] summary");
    window.click("[data-account='1002'] [data-window]");
    window.until_at("/accounts/1002/disconnect");
    // At a date: what it means is shown first, what is wrong at its field.
    window.click("#when-date");
    window.click("#disconnect");
    window.until_says("#date-error", "Choose a date, or disconnect now.");
    // Somebody types a date, and overlooks that Now is chosen.
    window.click("input[value='now']");
    window.types("#date", "12012099");
    window.click("#disconnect");
    window.until_says("#date-error", "Now is chosen");
    window.click("#when-date");
    window.types("#reason", "moved");
    window.click("#show");
    window.until_says("#means", "12/01/2099");
    window.click("#disconnect");
    window.until_says("#notice", "will be disconnected at 12/01/2099");
    // And now.
    window.click(".head summary");
    window.click(".head [data-window]");
    window.until("main #disconnect");
    window.click("#disconnect");
    window.until_says("#notice", "Account 1002 is disconnected. Its final invoice is");
    assert_eq!(window.text("#account-status"), "Inactive");
    assert_eq!(window.text("#disconnected"), "Disconnected");
    assert_eq!(window.text("#address"), "none");
    window.click(".tabs a[href$='/invoices']");
    window.until_says("#invoices tbody tr", "Final");
    window.ends_clean();
}

async fn an_event_is_rescheduled_and_cancelled(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let event = scheduled(&program, "1002", "2099-12-01T12:00:00Z");
    let window = Window::without_javascript(&served);
    window.go("/events/calendar?month=2099-12");
    window.signs_in("operator");
    window.until_at("/events/calendar?month=2099-12");
    window.click("[data-day='2099-12-01'] .count");
    window.click("[data-event] summary");
    window.click("[data-event] a[href$='/reschedule']");
    window.until_at(&format!("/events/{event}/reschedule"));
    window.types("#date", "12082099");
    window.click("#show");
    window.until_says("#means", "12/08/2099 00:00 America/New_York");
    window.click("#confirm");
    window.until_says("#due", "12/08/2099 00:00");
    window.click(".head summary");
    window.click(".head a[href$='/cancel']");
    window.click("#confirm");
    window.until_says("#event-state", "cancelled");
    window.ends_clean();
}

async fn a_campaign_runs_from_a_file_to_its_report(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let window = Window::without_javascript_of(&served, Role::Operator);
    window.makes_campaign(&program, &[("canary", "1")]);
    window.click("#dry-run");
    window.until_says("main dl", "USD 21.54");
    window.click("#start");
    // Nothing follows it by itself: there is a link for that.
    program.run(&["campaign", "watch", "1", "--wait", "20"]).exits(4);
    window.click("#reload");
    window.until_says("#state", "is paused");
    window.click("#resume");
    window.until_at("/campaigns/1/resume");
    window.click("#confirm");
    program.run(&["campaign", "watch", "1", "--wait", "20"]).exits(0);
    window.go("/campaigns/1");
    window.until_says("#so-far", "2 disconnected, 1 left out");
    assert!(window.shows("#report-csv"));
    window.ends_clean();
}
