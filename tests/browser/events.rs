//! Events: found by day, changed in the dialog.

use disconnectd::domain::token::Role;

use super::embedded;
use super::window::{DOWN, ENTER, ESCAPE, Window};
use crate::behaviour::console::events::{failed, scheduled};
use crate::behaviour::console::with_users;
use crate::support::database::TestDatabase;

embedded!(
    a_day_of_the_calendar_leads_to_its_events_and_one_is_rescheduled,
    what_failed_is_found_and_retried,
    of_two_operators_the_second_hears_what_the_first_did,
);

async fn a_day_of_the_calendar_leads_to_its_events_and_one_is_rescheduled(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let event = scheduled(&program, "1002", "2099-12-01T12:00:00Z");
    scheduled(&program, "1003", "2099-12-24");
    let window = Window::of(&served, Role::Operator);
    window.go("/events/calendar?month=2099-12");
    window.until_says("#month", "December 2099");
    window.click("[data-day='2099-12-01'] .count");
    window.until(&format!("[data-event='{event}']"));
    assert!(window.shows("[data-event] summary"));
    assert!(!window.text("#events").contains("1003"), "that day alone");
    // By keys, and what a date means is shown before anything is done.
    window.tabs_to(&format!("Change event {event}"));
    window.press(DOWN);
    window.until_focused("Cancel");
    window.press(DOWN);
    window.until_focused("Reschedule");
    window.press(ENTER);
    window.until_focused("#window-title");
    window.types("dialog #date", "12082099");
    window.until_says("dialog #means", "12/08/2099 00:00 America/New_York");
    window.press(ESCAPE);
    window.until_gone("dialog");
    assert!(window.text("#events").contains("12/01/2099"), "nothing was done");
    window.click("[data-event] summary");
    window.click("[data-event] a[href$='/reschedule']");
    window.types("dialog #date", "12082099");
    window.until("dialog #means");
    window.types("dialog #reason", "asked for a week more");
    window.click("dialog #confirm");
    window.until_says("#notice", "12/08/2099");
    window.until_says("#due", "12/08/2099 00:00");
    window.ends_clean();
}

async fn what_failed_is_found_and_retried(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let windows = Window::with_and_without_javascript(&served, Role::Operator);
    for (window, account) in windows.into_iter().zip(["1002", "1003"]) {
        let event = failed(db, &program, account).await;
        window.go("/events");
        window.chooses("state", "failed");
        window.until_says("#events", "the <till> is shut");
        window.click(&format!("[data-event='{event}'] th a"));
        window.until_says("#failed", "It failed 5 times");
        window.click("#failed [data-window]");
        window.until_says("#window-title", &format!("Retry event {event}"));
        window.types("#reason", "the till is open");
        window.click("#confirm");
        window.until("#notice");
        window.until_gone("#failed");
        window.go(&format!("/accounts/{account}/log"));
        window.until_says("main", "the till is open");
        window.go("/events?state=failed");
        window.until_says("main", "Nothing has failed here.");
        window.ends_clean();
    }
}

async fn of_two_operators_the_second_hears_what_the_first_did(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let event = scheduled(&program, "1002", "2099-12-01");
    let (first, second) = (Window::of(&served, Role::Operator), Window::of(&served, Role::Admin));
    for window in [&first, &second] {
        window.go(&format!("/events/{event}"));
        window.click(".head summary");
        window.click(".head a[href$='/cancel']");
        window.until("dialog #confirm");
    }
    first.click("dialog #confirm");
    first.until_says("#event-state", "cancelled");
    second.click("dialog #confirm");
    second.until_says("dialog #form-error", "it was cancelled, and the account keeps its service");
    second.until_focused("#form-error");
    first.ends_clean();
    second.ends_clean();
}
