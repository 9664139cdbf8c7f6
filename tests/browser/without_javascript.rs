//! The same with JavaScript switched off: pages and forms are enough.

use super::embedded;
use super::window::Window;
use crate::behaviour::console::with_users;
use crate::support::database::TestDatabase;

embedded!(everything_works_without_javascript);

async fn everything_works_without_javascript(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let window = Window::without_javascript(&served);
    window.go("/accounts");
    window.signs_in("operator");
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
    window.types("#date", "12012099");
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
    window.click("#theme");
    window.until_says("#theme", "Dark");
    window.click("#sign-out");
    window.until("#sign-in");
    // A form is sent after the session has ended.
    window.go("/accounts/1003/disconnect");
    window.signs_in("operator");
    window.until_at("/accounts/1003/disconnect");
    db.sql(&format!("update console_sessions set revoked_at = {}", db.instant(0))).await;
    window.click("#disconnect");
    window.until_says("#message", "nothing was done");
    window.signs_in("operator");
    window.until_at("/accounts/1003/disconnect");
    assert_eq!(db.count("disconnect_events").await, 1);
    window.ends_clean();
}
